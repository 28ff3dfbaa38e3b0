//! What the render thread, the capture and the status know of each other, as plain atomics.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::base::telemetry::Counter;

/// Not known yet.
const UNKNOWN: i64 = i64::MIN;

#[derive(Debug)]
pub struct Shared {
    /// Show time minus the show's clock, in ns: where a moment stands in the show.
    line_ns: AtomicI64,
    /// Frame of sound from which what is captured is heard, plus one; 0 in standby.
    playing_from: AtomicU64,
    /// Set while a source gives sound; without it silence is no fault.
    flowing: AtomicBool,
    /// Frames of sound that were not there in time, while a source gave sound.
    pub missing: Counter,
    /// Times that this began.
    pub underruns: Counter,
    /// Frames of sound that lie ready, at the last look of the render thread.
    fill: AtomicU64,
    levels: [AtomicU32; 4],
    /// What the limiter takes away at present, in dB.
    reduction: AtomicU32,
}

/// After the strip, in dBFS; left and right.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Levels {
    pub peak: [f32; 2],
    pub rms: [f32; 2],
    pub reduction: f32,
}

impl Default for Shared {
    fn default() -> Self {
        Shared {
            line_ns: AtomicI64::new(UNKNOWN),
            playing_from: AtomicU64::new(0),
            flowing: AtomicBool::new(false),
            missing: Counter::default(),
            underruns: Counter::default(),
            fill: AtomicU64::new(0),
            levels: Default::default(),
            reduction: AtomicU32::new(0),
        }
    }
}

impl Shared {
    pub fn set_line_ns(&self, line_ns: i64) {
        self.line_ns.store(line_ns, Ordering::Release);
    }

    /// `None` before the first picture.
    pub fn line_ns(&self) -> Option<i64> {
        Some(self.line_ns.load(Ordering::Acquire)).filter(|line| *line != UNKNOWN)
    }

    /// Show time at a moment of the show's clock, in seconds; below zero before the first picture.
    pub fn show_seconds(&self, clock_s: f64) -> Option<f64> {
        self.line_ns().map(|line| clock_s + line as f64 / 1e9)
    }

    /// The moment of the show's clock at which a frame of sound stands.
    pub fn clock_of(&self, frame: f64) -> Option<Duration> {
        let line_s = self.line_ns()? as f64 / 1e9;
        Some(Duration::from_secs_f64((super::seconds_of(frame) - line_s).max(0.0)))
    }

    /// From this frame of sound on what is captured is heard; `None`: it is not.
    pub fn set_playing(&self, from: Option<u64>) {
        self.playing_from.store(from.map_or(0, |from| from + 1), Ordering::Relaxed);
    }

    pub fn is_playing(&self) -> bool {
        self.playing_from.load(Ordering::Relaxed) > 0
    }

    pub fn playing_from(&self) -> u64 {
        self.playing_from.load(Ordering::Relaxed).saturating_sub(1)
    }

    pub fn set_flowing(&self, flowing: bool) {
        self.flowing.store(flowing, Ordering::Relaxed);
    }

    pub fn is_flowing(&self) -> bool {
        self.flowing.load(Ordering::Relaxed)
    }

    pub fn set_fill(&self, frames: u64) {
        self.fill.store(frames, Ordering::Relaxed);
    }

    pub fn fill(&self) -> u64 {
        self.fill.load(Ordering::Relaxed)
    }

    pub fn set_levels(&self, levels: &Levels) {
        let all = [levels.peak[0], levels.peak[1], levels.rms[0], levels.rms[1]];
        for (to, level) in self.levels.iter().zip(all) {
            to.store(level.to_bits(), Ordering::Relaxed);
        }
        self.reduction.store(levels.reduction.to_bits(), Ordering::Relaxed);
    }

    pub fn levels(&self) -> Levels {
        let level = |i: usize| f32::from_bits(self.levels[i].load(Ordering::Relaxed));
        Levels {
            peak: [level(0), level(1)],
            rms: [level(2), level(3)],
            reduction: f32::from_bits(self.reduction.load(Ordering::Relaxed)),
        }
    }
}
