//! What is heard in the sound: levels of bands, loudness, brightness, onsets, the beat and where in
//! a track the music is.
//!
//! ```text
//! samples --> hops of 256 --> Spectrum --+--> bands, brightness
//!                 |                      +--> Onsets --+--> kick, snare, hat
//!                 +--> loudness                        +--> BeatTracker --> beats
//!                        all of them --> Form --> energy, section
//! ```
//!
//! Holds: it runs where the sound is captured, never on the render thread; nothing is allocated
//! once it is made; every sample is taken as it comes, in pieces of any length, and what is no
//! number is silence. What begins is published within 20 ms of its first sample being here.

pub mod beat;
mod form;
mod level;
mod onset;
mod spectrum;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use ebur128::{EbuR128, Mode};

use self::form::{Form, Hop};
use self::level::{BELOW_WHOLE_DB, Gain, QUIETEST_DB, decibels};
use self::onset::Onsets;
use self::spectrum::{BIN_HERTZ, Spectrum, power_between};
use super::{CHANNELS, SAMPLE_RATE};
use crate::base::error::{Error, Kind, Result};
use crate::music::{Signal, Signals};

/// Samples of each channel between two looks at the sound: 5.3 ms.
pub const HOP: usize = 256;
pub const HOPS_PER_SECOND: f64 = SAMPLE_RATE as f64 / HOP as f64;
const HOP_SECONDS: f32 = HOP as f32 / SAMPLE_RATE as f32;
/// How long the sound of an onset is back when it is told.
const ONSET_LATE: Duration = Duration::from_micros(11_200);

const BANDS: [(Signal, f32, f32); 4] = [
    (Signal::Sub, 20.0, 60.0),
    (Signal::Bass, 60.0, 250.0),
    (Signal::Mid, 250.0, 2000.0),
    (Signal::High, 2000.0, 20_000.0),
];
const ONSETS: [Signal; 3] = [Signal::Kick, Signal::Snare, Signal::Hat];
/// An onset's signal is down to a tenth after so long.
const ONSET_FALL_SECONDS: f32 = 0.12;
/// Brightness runs from here to there.
const DARK_HERTZ: f32 = 150.0;
const BRIGHT_HERTZ: f32 = 8000.0;
/// The loudness is of 400 ms; looking four times as rarely is often enough.
const HOPS_OF_LOUDNESS: u32 = 4;

/// What is set while it runs; shared between who sets and who listens.
pub struct Settings {
    custom_low: AtomicU32,
    custom_high: AtomicU32,
    auto_gain: AtomicBool,
}

impl Default for Settings {
    fn default() -> Self {
        let settings = Settings {
            custom_low: AtomicU32::new(0),
            custom_high: AtomicU32::new(0),
            auto_gain: AtomicBool::new(true),
        };
        settings.set_custom(300.0, 900.0);
        settings
    }
}

impl Settings {
    /// The ends of the custom band, in hertz, in either order.
    pub fn set_custom(&self, low: f32, high: f32) {
        self.custom_low.store(low.to_bits(), Ordering::Relaxed);
        self.custom_high.store(high.to_bits(), Ordering::Relaxed);
    }

    pub fn set_auto_gain(&self, on: bool) {
        self.auto_gain.store(on, Ordering::Relaxed);
    }

    fn custom(&self) -> (f32, f32) {
        let low = f32::from_bits(self.custom_low.load(Ordering::Relaxed));
        let high = f32::from_bits(self.custom_high.load(Ordering::Relaxed));
        (low.min(high), low.max(high))
    }
}

/// A hop later.
#[derive(Clone, Copy, Debug)]
pub struct Heard {
    pub signals: Signals,
    /// How much begins, and when that was.
    pub strength: f32,
    pub began: Duration,
}

pub struct Analyser {
    settings: Arc<Settings>,
    /// What is not a whole hop yet, interleaved, and how much of it is there.
    hop: [f32; HOP * CHANNELS],
    filled: usize,
    /// Of what stands still in each channel: in and out one sample ago.
    still: [(f32, f32); CHANNELS],
    spectrum: Spectrum,
    onsets: Onsets,
    gains: [Gain; BANDS.len()],
    custom_gain: Gain,
    whole: Gain,
    loudness: EbuR128,
    loudness_gain: Gain,
    hops: u32,
    form: Form,
    signals: Signals,
}

impl Analyser {
    pub fn new(settings: Arc<Settings>) -> Result<Self> {
        let loudness = EbuR128::new(CHANNELS as u32, SAMPLE_RATE, Mode::M).map_err(|e| {
            Error::new(Kind::Internal, format!("the loudness meter cannot be made: {e}"))
        })?;
        Ok(Analyser {
            settings,
            hop: [0.0; HOP * CHANNELS],
            filled: 0,
            still: [(0.0, 0.0); CHANNELS],
            spectrum: Spectrum::new(),
            onsets: Onsets::new(),
            gains: BANDS.map(|_| Gain::new(0.0)),
            custom_gain: Gain::new(0.0),
            whole: Gain::new(0.0),
            loudness,
            loudness_gain: Gain::new(0.0),
            hops: 0,
            form: Form::new(),
            signals: Signals::default(),
        })
    }

    /// The tempo by which bars are counted.
    pub fn follow(&mut self, bpm: f64) {
        self.form.follow(bpm);
    }

    /// Hears `samples`, 48 kHz and interleaved, the first of them at `at`; calls `each` for every
    /// hop that is whole.
    pub fn hear(&mut self, samples: &[f32], at: Duration, each: &mut impl FnMut(&Heard)) {
        for (n, frame) in samples.chunks_exact(CHANNELS).enumerate() {
            for (&sample, (last_in, last_out)) in frame.iter().zip(&mut self.still) {
                let sample = if sample.is_finite() { sample.clamp(-2.0, 2.0) } else { 0.0 };
                // A high pass at 8 Hz.
                let out = sample - *last_in + 0.999 * *last_out;
                (*last_in, *last_out) = (sample, if out.abs() < 1e-15 { 0.0 } else { out });
                self.hop[self.filled] = *last_out;
                self.filled += 1;
            }
            if self.filled == self.hop.len() {
                self.filled = 0;
                let samples = (n + 1) as u64;
                let now =
                    at + Duration::from_nanos(samples * 1_000_000_000 / u64::from(SAMPLE_RATE));
                each(&self.step(now));
            }
        }
    }

    fn step(&mut self, now: Duration) -> Heard {
        let automatic = self.settings.auto_gain.load(Ordering::Relaxed);
        let power = self.spectrum.step(&self.hop);
        let values = &mut self.signals.values;

        let whole_db = decibels(power.iter().sum());
        self.whole.step(whole_db, HOP_SECONDS, automatic, QUIETEST_DB);
        let least_db = self.whole.loudest_db() - BELOW_WHOLE_DB;
        for ((signal, low, high), gain) in BANDS.into_iter().zip(&mut self.gains) {
            let db = decibels(power_between(power, low, high));
            values[signal as usize] = gain.step(db, HOP_SECONDS, automatic, least_db);
        }
        let (low, high) = self.settings.custom();
        let db = decibels(power_between(power, low, high));
        values[Signal::Custom as usize] =
            self.custom_gain.step(db, HOP_SECONDS, automatic, least_db);

        // The last stands where nothing is heard.
        if whole_db > QUIETEST_DB {
            let bright = brightness(power);
            let value = &mut values[Signal::Brightness as usize];
            *value += (bright - *value) * 0.2;
        }

        // The only error is a wrong number of samples.
        let added = self.loudness.add_frames_f32(&self.hop);
        debug_assert!(added.is_ok());
        if self.hops.is_multiple_of(HOPS_OF_LOUDNESS) {
            let lufs = self.loudness.loudness_momentary().unwrap_or(f64::NEG_INFINITY) as f32;
            let seconds = HOP_SECONDS * HOPS_OF_LOUDNESS as f32;
            values[Signal::Loudness as usize] =
                self.loudness_gain.step(lufs.max(-120.0), seconds, automatic, QUIETEST_DB);
        }
        self.hops = self.hops.wrapping_add(1);

        let begun = self.onsets.step(power);
        let fall = 0.1_f32.powf(HOP_SECONDS / ONSET_FALL_SECONDS);
        for (n, signal) in ONSETS.into_iter().enumerate() {
            let value = &mut values[signal as usize];
            *value = if *value < 1e-3 { 0.0 } else { *value * fall };
            if begun.onsets[n] {
                *value = 1.0;
                self.signals.onsets[n] = self.signals.onsets[n].wrapping_add(1);
            }
        }

        let heard = Hop {
            whole_db,
            low_db: decibels(power_between(power, 20.0, 150.0)),
            high_db: decibels(power_between(power, 2000.0, 20_000.0)),
            kick: begun.onsets[0],
            strength: begun.strength,
        };
        self.form.step(&heard);
        self.signals.values[Signal::Energy as usize] = self.form.energy();
        self.signals.section = self.form.section();
        self.signals.at = now;
        let began = now.saturating_sub(ONSET_LATE);
        Heard { signals: self.signals, strength: begun.strength, began }
    }
}

/// The centre of the spectrum (of amplitudes, as it is heard, on a scale of octaves).
fn brightness(power: &[f32]) -> f32 {
    let (mut sum, mut weighted) = (1e-12, 0.0);
    for (bin, power) in power.iter().enumerate().skip(1) {
        let amplitude = power.sqrt();
        sum += amplitude;
        weighted += amplitude * bin as f32;
    }
    let hertz = (weighted / sum * BIN_HERTZ).max(1.0);
    ((hertz / DARK_HERTZ).log2() / (BRIGHT_HERTZ / DARK_HERTZ).log2()).clamp(0.0, 1.0)
}
