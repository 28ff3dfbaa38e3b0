//! A look-ahead peak limiter: what would be too loud is turned down before it comes, and let up
//! slowly.
//!
//! Holds: no sample leaves it above [`CEILING`]; what stays below passes unchanged, [`LOOK_AHEAD`]
//! frames later. Nothing is allocated once it is made.
//!
//! The gain that a frame needs is held over the look-ahead (its running minimum), and then averaged
//! over it, so that it has come down in full when that frame leaves.

use std::collections::VecDeque;

use super::{CHANNELS, SAMPLE_RATE};

/// -1 dBFS: what lossy encoding adds must fit as well.
pub const CEILING: f32 = 0.891_250_9;
/// 2 ms.
pub const LOOK_AHEAD: usize = 96;
/// Of the way up.
const RELEASE_S: f32 = 0.15;

pub struct Limiter {
    frames: VecDeque<[f32; CHANNELS]>,
    /// The least gains to come: frame numbers and gains, both rising.
    least: VecDeque<(u64, f32)>,
    held: VecDeque<f32>,
    sum: f64,
    now: u64,
    let_up: f32,
    release: f32,
}

impl Limiter {
    pub fn new() -> Self {
        let mut frames = VecDeque::with_capacity(LOOK_AHEAD + 1);
        frames.resize(LOOK_AHEAD, [0.0; CHANNELS]);
        let mut held = VecDeque::with_capacity(LOOK_AHEAD + 1);
        held.resize(LOOK_AHEAD, 1.0);
        Limiter {
            frames,
            least: VecDeque::with_capacity(LOOK_AHEAD + 2),
            held,
            sum: LOOK_AHEAD as f64,
            now: 0,
            let_up: 1.0,
            release: 1.0 - (-1.0 / (RELEASE_S * SAMPLE_RATE as f32)).exp(),
        }
    }

    /// Limits the frame of [`LOOK_AHEAD`] frames ago; returns it and its gain.
    pub fn pass(&mut self, frame: [f32; CHANNELS], on: bool) -> ([f32; CHANNELS], f32) {
        let peak = frame.iter().fold(0f32, |peak, s| peak.max(s.abs()));
        let needed = if on && peak > CEILING { CEILING / peak } else { 1.0 };
        while self.least.pop_back_if(|(_, gain)| *gain >= needed).is_some() {}
        self.least.push_back((self.now, needed));
        while self.least.pop_front_if(|(at, _)| *at + (LOOK_AHEAD as u64) < self.now).is_some() {}
        let least = self.least.front().map_or(1.0, |(_, gain)| *gain);
        // The last bit steadily, so that it gets there.
        self.let_up += (1.0 - self.let_up) * self.release + 1e-6;
        self.let_up = self.let_up.min(least);
        self.now += 1;

        self.sum += f64::from(self.let_up) - f64::from(self.held.pop_front().unwrap_or(1.0));
        self.held.push_back(self.let_up);
        let gain = (self.sum / LOOK_AHEAD as f64) as f32;
        // In full, so that what is soft passes as it is.
        let gain = if gain > 0.999_999 { 1.0 } else { gain };
        self.frames.push_back(frame);
        let due = self.frames.pop_front().unwrap_or_default();
        let limited = due.map(|sample| {
            let sample = sample * gain;
            // Rounding must not peep over it.
            if on { sample.clamp(-CEILING, CEILING) } else { sample }
        });
        (limited, gain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(limiter: &mut Limiter, sound: impl Iterator<Item = f32>) -> Vec<f32> {
        sound.map(|s| limiter.pass([s, -s], true).0[0]).collect()
    }

    #[test]
    fn soft_sound_passes_as_it_is() {
        let mut limiter = Limiter::new();
        let sound: Vec<f32> = (0..4800).map(|i| (i as f32 * 0.1).sin() * 0.89).collect();
        let out = all(&mut limiter, sound.iter().copied());
        assert_eq!(out[LOOK_AHEAD..], sound[..sound.len() - LOOK_AHEAD]);
    }

    #[test]
    fn loud_sound_is_turned_down_without_a_step() {
        let mut limiter = Limiter::new();
        // 6 dB too loud from the middle on.
        let sound = (0..9600).map(|i| {
            let gain = 0.5 + ((i as f32 - 4000.0) / 1000.0).clamp(0.0, 1.0) * 1.5;
            (i as f32 * 0.02).sin() * gain
        });
        let out = all(&mut limiter, sound);
        let most = out.iter().fold(0f32, |most, s| most.max(s.abs()));
        assert!(most <= CEILING, "{most}");
        assert!(out[9000..].iter().any(|s| s.abs() > CEILING * 0.9));
        let bend =
            out[200..].windows(3).map(|w| (w[2] - 2.0 * w[1] + w[0]).abs()).fold(0.0, f32::max);
        // A sine of this frequency at full scale bends by 0.0004.
        assert!(bend < 0.002, "{bend}");
    }

    proptest! {
        #[test]
        fn nothing_is_ever_louder_than_the_ceiling(
            sound in prop::collection::vec(-8f32..8.0, 200..2000),
        ) {
            let mut limiter = Limiter::new();
            let mut gains = Vec::new();
            for s in sound {
                let (out, gain) = limiter.pass([s, s / 2.0], true);
                gains.push(gain);
                prop_assert!(out[0].abs() <= CEILING && out[1].abs() <= CEILING);
            }
            prop_assert!(gains.iter().all(|gain| (0.0..=1.0).contains(gain)));
        }
    }
}
