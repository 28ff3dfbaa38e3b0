//! How far the show has moved: the playhead counts output frames as they would be at speed 1.
//!
//! Holds: it is a function of the smoothed values in the frames that were drawn, by the same
//! arithmetic on stage and when a set is played again; at speed 1 it is the frame's number, exactly.

use crate::base::time::FrameRate;
use crate::param::{ParamId, Values};

/// Seconds that a freeze takes to come and go: it does not look like a fault then.
const EASE_SECONDS: f64 = 0.08;

#[derive(Clone, Debug)]
pub struct Playhead {
    at: f64,
    /// How far it moves for each output frame at present.
    rate: f64,
    /// How much of a freeze has come, 0 to 1.
    frozen: f64,
    /// The last frame that was drawn, plus one.
    next: u64,
    /// Of the ease, for each output frame.
    ease: f64,
}

impl Playhead {
    pub fn new(fps: FrameRate) -> Self {
        let ease = 1.0 / (EASE_SECONDS * fps.as_f64()).max(1.0);
        // So that it is at 0 in frame 0.
        Playhead { at: -1.0, rate: 1.0, frozen: 0.0, next: 0, ease }
    }

    /// On to frame `n`, which is drawn; returns where it is then.
    pub fn step(&mut self, n: u64, values: &Values) -> f64 {
        let frames = ((n + 1).saturating_sub(self.next)) as f64;
        self.next = n + 1;
        let goal = f64::from(values[ParamId::Freeze]);
        let way = self.ease * frames;
        self.frozen = if goal > self.frozen {
            (self.frozen + way).min(goal)
        } else {
            (self.frozen - way).max(goal)
        };
        let eased = self.frozen * self.frozen * (3.0 - 2.0 * self.frozen);
        self.rate = f64::from(values[ParamId::Speed]) * (1.0 - eased);
        self.at += self.rate * frames;
        self.at
    }

    /// Where it is in the last frame that was drawn.
    pub fn at(&self) -> f64 {
        self.at
    }

    /// Where it would be in a later frame, were all as it is.
    pub fn ahead(&self, n: u64) -> f64 {
        self.at + self.rate * (n + 1).saturating_sub(self.next) as f64
    }

    /// How far it moves for each output frame; 0 while it stands still.
    pub fn rate(&self) -> f64 {
        self.rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_speed_1_it_is_the_number_of_the_frame() {
        let mut playhead = Playhead::new(FrameRate::whole(60));
        let values = Values::default();
        for n in [0, 1, 2, 7, 8, 100_000, 100_001] {
            assert_eq!(playhead.ahead(n), n as f64);
            assert_eq!(playhead.step(n, &values), n as f64);
        }
    }

    #[test]
    fn a_freeze_eases_to_a_stop_within_five_frames_and_back() {
        let mut playhead = Playhead::new(FrameRate::whole(60));
        let mut values = Values::default();
        playhead.step(0, &values);
        values[ParamId::Freeze] = 1.0;
        let mut rates = Vec::new();
        for n in 1..=10 {
            playhead.step(n, &values);
            rates.push(playhead.rate());
        }
        assert!(rates[0] > 0.8 && rates[1] > rates[2] && rates[2] > rates[3], "{rates:?}");
        assert_eq!(rates[4..], [0.0; 6]);
        values[ParamId::Freeze] = 0.0;
        for n in 11..=15 {
            playhead.step(n, &values);
        }
        assert_eq!(playhead.rate(), 1.0);
    }
}
