//! The spectrum of the newest samples.
//!
//! Holds: power is in mean squares such that a sine at full scale has 1 (0 dBFS) in all its bins
//! together; both channels count, so what is out of phase is heard too.

use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

use super::HOP;
use crate::audio::{CHANNELS, SAMPLE_RATE};

pub(super) const WINDOW: usize = 2048;
/// Bins from zero to half the sampling rate.
pub(super) const BINS: usize = WINDOW / 2 + 1;
/// The window falls within this much of its new end: long enough to know a bass, and what begins
/// now is heard now. (As in codecs of low delay.)
const FALL: usize = 384;
pub(super) const BIN_HERTZ: f32 = SAMPLE_RATE as f32 / WINDOW as f32;

pub(super) struct Spectrum {
    fft: Arc<dyn RealToComplex<f32>>,
    window: Vec<f32>,
    /// The newest samples of each channel.
    past: [Vec<f32>; CHANNELS],
    input: Vec<f32>,
    output: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
    power: Vec<f32>,
}

impl Spectrum {
    pub(super) fn new() -> Self {
        let fft = RealFftPlanner::new().plan_fft_forward(WINDOW);
        let mut window = vec![0.0; WINDOW];
        let half = |n: usize, of: usize| {
            let sine = (std::f32::consts::FRAC_PI_2 * (n as f32 + 0.5) / of as f32).sin();
            sine * sine
        };
        let rise = WINDOW - FALL;
        for (n, w) in window.iter_mut().enumerate() {
            *w = if n < rise { half(n, rise) } else { half(WINDOW - 1 - n, FALL) };
        }
        let energy: f32 = window.iter().map(|w| w * w).sum();
        // So that squares of magnitudes are power at once, half of it from each channel.
        let scale = (4.0 / CHANNELS as f32 / (WINDOW as f32 * energy)).sqrt();
        window.iter_mut().for_each(|w| *w *= scale);
        Spectrum {
            input: fft.make_input_vec(),
            output: fft.make_output_vec(),
            scratch: fft.make_scratch_vec(),
            fft,
            window,
            past: [vec![0.0; WINDOW], vec![0.0; WINDOW]],
            power: vec![0.0; BINS],
        }
    }

    /// Takes a hop in, interleaved; gives the power in each bin.
    pub(super) fn step(&mut self, hop: &[f32]) -> &[f32] {
        self.power.fill(0.0);
        for (channel, past) in self.past.iter_mut().enumerate() {
            past.copy_within(HOP.., 0);
            let newest = hop.iter().skip(channel).step_by(CHANNELS);
            past[WINDOW - HOP..].iter_mut().zip(newest).for_each(|(to, from)| *to = *from);
            for ((to, from), w) in self.input.iter_mut().zip(past.iter()).zip(&self.window) {
                *to = from * w;
            }
            // All lengths are the plan's own.
            let made =
                self.fft.process_with_scratch(&mut self.input, &mut self.output, &mut self.scratch);
            debug_assert!(made.is_ok());
            for (power, bin) in self.power.iter_mut().zip(&self.output) {
                *power += bin.norm_sqr();
            }
        }
        // What stands still is no sound.
        self.power[0] = 0.0;
        &self.power
    }
}

/// The power from `low` to `high` hertz; a bin that is cut gives its part.
pub(super) fn power_between(power: &[f32], low: f32, high: f32) -> f32 {
    let (low, high) = (low / BIN_HERTZ + 0.5, high / BIN_HERTZ + 0.5);
    let last = (high as usize).min(power.len() - 1);
    let first = (low as usize).min(last);
    let whole: f32 = power[first..last].iter().sum();
    let before = power[first] * (low - first as f32).min(1.0);
    let after = power[last] * (high - last as f32).min(1.0);
    (whole - before + after).max(0.0)
}
