//! What every sample passes before it is encoded: gain and mute, limiter, delay, meter.
//!
//! Holds: a change of any of them makes no click; nothing is allocated once a strip is made. Sound
//! leaves it [`LATENCY`] frames later than it came, and the delay that is set.

use super::limiter::{LOOK_AHEAD, Limiter};
use super::{CHANNELS, Levels, SAMPLE_RATE};

/// Frames of sound that it takes by itself.
pub const LATENCY: usize = LOOK_AHEAD;
/// Of a gain that is turned all the way down.
const SILENT_DB: f32 = -60.0;
/// 2 s, the most that can be set.
const LONGEST_DELAY: usize = 2 * SAMPLE_RATE as usize;
/// Frames over which one delay gives way to another.
const CROSSFADE: usize = 1024;
/// How the meter falls.
const PEAK_FALLS_DB_PER_S: f32 = 20.0;
const RMS_SECONDS: f32 = 0.3;
/// What the meter shows at least.
pub const FLOOR_DB: f32 = -120.0;

/// How the strip is set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Controls {
    pub gain_db: f32,
    pub mute: bool,
    pub limiter: bool,
    pub delay_ms: f32,
}

impl Default for Controls {
    fn default() -> Self {
        Controls { gain_db: 0.0, mute: false, limiter: true, delay_ms: 0.0 }
    }
}

pub struct Strip {
    /// At the end of what came last; `None` before.
    gain: Option<f32>,
    limiter: Limiter,
    delay: Delay,
    meter: Meter,
}

impl Strip {
    pub fn new() -> Self {
        Strip { gain: None, limiter: Limiter::new(), delay: Delay::new(), meter: Meter::new() }
    }

    /// Changes whole frames in their place; the gain gets to where it is set at their end.
    pub fn pass(&mut self, sound: &mut [f32], controls: &Controls) {
        let loud = !controls.mute && controls.gain_db > SILENT_DB;
        let target = if loud { 10f32.powf(controls.gain_db / 20.0) } else { 0.0 };
        let begin = self.gain.replace(target).unwrap_or(target);
        let frames = sound.len() / CHANNELS;
        self.delay.set((controls.delay_ms.max(0.0) / 1000.0 * SAMPLE_RATE as f32) as usize);
        let mut lowest = 1f32;
        for (i, frame) in sound.chunks_exact_mut(CHANNELS).enumerate() {
            let gain = begin + (target - begin) * (i + 1) as f32 / frames as f32;
            let loud = [frame[0] * gain, frame[1] * gain];
            let (limited, turned) = self.limiter.pass(loud, controls.limiter);
            lowest = lowest.min(turned);
            let late = self.delay.pass(limited);
            self.meter.hear(late);
            frame.copy_from_slice(&late);
        }
        self.meter.reduction = -decibels(lowest);
    }

    pub fn levels(&self) -> Levels {
        self.meter.levels()
    }
}

impl Default for Strip {
    fn default() -> Self {
        Self::new()
    }
}

/// A line in which every frame waits.
struct Delay {
    line: Vec<[f32; CHANNELS]>,
    /// Where the next frame is written.
    at: usize,
    now: usize,
    /// What it goes over to, and how far it is.
    next: usize,
    crossed: usize,
    wanted: usize,
}

impl Delay {
    fn new() -> Self {
        let line = vec![[0.0; CHANNELS]; LONGEST_DELAY + 1];
        Delay { line, at: 0, now: 0, next: 0, crossed: 0, wanted: 0 }
    }

    fn set(&mut self, frames: usize) {
        self.wanted = frames.min(LONGEST_DELAY);
    }

    fn pass(&mut self, frame: [f32; CHANNELS]) -> [f32; CHANNELS] {
        self.line[self.at] = frame;
        let behind =
            |frames: usize| self.line[(self.at + self.line.len() - frames) % self.line.len()];
        let mut out = behind(self.now);
        if self.next != self.now {
            let to = behind(self.next);
            let mix = self.crossed as f32 / CROSSFADE as f32;
            out = [out[0] + (to[0] - out[0]) * mix, out[1] + (to[1] - out[1]) * mix];
            self.crossed += 1;
            if self.crossed == CROSSFADE {
                self.now = self.next;
            }
        } else if self.wanted != self.now {
            (self.next, self.crossed) = (self.wanted, 0);
        }
        self.at = (self.at + 1) % self.line.len();
        out
    }
}

/// Peak and power of each channel, falling slowly.
pub struct Meter {
    peak: [f32; CHANNELS],
    power: [f32; CHANNELS],
    peak_falls: f32,
    power_falls: f32,
    reduction: f32,
}

impl Meter {
    pub fn new() -> Self {
        let rate = SAMPLE_RATE as f32;
        Meter {
            peak: [0.0; CHANNELS],
            power: [0.0; CHANNELS],
            peak_falls: 10f32.powf(-PEAK_FALLS_DB_PER_S / 20.0 / rate),
            power_falls: (-1.0 / (RMS_SECONDS * rate)).exp(),
            reduction: 0.0,
        }
    }

    pub fn hear(&mut self, frame: [f32; CHANNELS]) {
        for (i, sample) in frame.into_iter().enumerate() {
            self.peak[i] = (self.peak[i] * self.peak_falls).max(sample.abs());
            self.power[i] = sample * sample + (self.power[i] - sample * sample) * self.power_falls;
        }
    }

    pub fn levels(&self) -> Levels {
        Levels {
            peak: self.peak.map(decibels),
            rms: self.power.map(|power| decibels(power.max(0.0).sqrt())),
            reduction: self.reduction,
        }
    }
}

impl Default for Meter {
    fn default() -> Self {
        Self::new()
    }
}

fn decibels(level: f32) -> f32 {
    if level <= 1e-6 { FLOOR_DB } else { 20.0 * level.log10() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(from: usize, frames: usize) -> Vec<f32> {
        let sine = |i: usize| ((from + i) as f32 * 1000.0 / 48000.0 * std::f32::consts::TAU).sin();
        (0..frames).flat_map(|i| [sine(i) * 0.5; 2]).collect()
    }

    /// The largest second difference of the left channel.
    fn bend(sound: &[f32]) -> f32 {
        let left: Vec<f32> = sound.iter().step_by(2).copied().collect();
        left.windows(3).map(|w| (w[2] - 2.0 * w[1] + w[0]).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn no_control_clicks() {
        let mut strip = Strip::new();
        let (mut sound, mut out) = (Vec::new(), Vec::new());
        for n in 0..240 {
            let controls = Controls {
                gain_db: if n % 20 < 10 { 0.0 } else { -12.0 },
                mute: n % 50 > 40,
                limiter: n % 70 > 35,
                delay_ms: if n > 120 { 250.0 } else { 3.0 },
            };
            let mut block = tone(n * 800, 800);
            strip.pass(&mut block, &controls);
            sound.extend(tone(n * 800, 800));
            out.extend(block);
        }
        // It begins out of nothing.
        let out = &out[4000..];
        assert!(bend(out) < bend(&sound) * 1.5, "{} of {}", bend(out), bend(&sound));
        assert!(out.iter().any(|s| s.abs() > 0.45));
    }

    #[test]
    fn a_delay_is_as_long_as_it_says() {
        let mut strip = Strip::new();
        let controls = Controls { delay_ms: 250.0, ..Controls::default() };
        // Until it has gone over.
        strip.pass(&mut vec![0.0; 2 * 2000], &controls);
        let mut out = vec![0.0; 2 * 24_000];
        out[0] = 0.5;
        strip.pass(&mut out, &controls);
        let heard = out.iter().step_by(2).position(|s| *s > 0.4);
        assert_eq!(heard, Some(12_000 + LATENCY));
    }

    #[test]
    fn the_meter_says_what_comes_out() {
        let mut strip = Strip::new();
        for n in 0..120 {
            let controls = Controls { gain_db: -6.0, ..Controls::default() };
            strip.pass(&mut tone(n * 800, 800), &controls);
        }
        let levels = strip.levels();
        // Half of full scale and 6 dB less; a sine's power is 3 dB below its peak.
        for (peak, rms) in levels.peak.into_iter().zip(levels.rms) {
            assert!((peak + 12.0).abs() < 0.2, "{peak}");
            assert!((rms + 15.0).abs() < 0.2, "{rms}");
        }
        for _ in 0..60 {
            strip.pass(&mut tone(0, 800), &Controls { mute: true, ..Controls::default() });
        }
        assert!(strip.levels().peak[0] < -25.0);
        assert_eq!(strip.levels().reduction, 0.0);
    }
}
