//! Cycles that last whole bars: how much faster or slower the clip on air runs, so that the middle of
//! the join at its end falls on a bar.
//!
//! Holds: the speed is bent within what is allowed and never jumps. Where the bars asked for cannot be
//! had within that, the nearest bar is taken, then the nearest beat; at worst the nearest speed.

use super::tempo::Tempo;
use crate::param::{ParamId, Values, of};

/// Steps of a bend, so that the journal can keep it.
const STEPS: f64 = 4096.0;
/// Time constant with which the speed follows.
const FOLLOWS_MS: f64 = 80.0;
/// Nothing is bent to a standstill.
const LEAST: f64 = 0.05;

/// What is on air, and what comes at its end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ahead {
    /// Steps of the playhead until its material ends; a step is a frame at speed 1.
    pub left: f64,
    /// Output frames that the join at its end takes.
    pub join_frames: u32,
}

/// How the speed is bent, in 4096ths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bend(pub i16);

impl Bend {
    fn of(factor: f64) -> Self {
        Bend(((factor - 1.0) * STEPS).round() as i16)
    }

    /// Bends the speed of a frame.
    pub fn apply(self, values: &mut Values) {
        if self.0 == 0 {
            return;
        }
        let factor = (1.0 + f64::from(self.0) / STEPS) as f32;
        let (min, max) = of(ParamId::Speed).range().unwrap_or_default();
        values[ParamId::Speed] = (values[ParamId::Speed] * factor).clamp(min, max);
    }
}

/// Follows the factor that is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Bender {
    factor: f64,
}

impl Default for Bender {
    fn default() -> Self {
        Bender { factor: 1.0 }
    }
}

impl Bender {
    /// The bend of a frame with the values `values`, in whose middle it is `beat`.
    pub fn step(
        &mut self,
        values: &Values,
        (tempo, beat, frame_beats): (&Tempo, f64, f64),
        ahead: Option<Ahead>,
        frame_ms: f32,
    ) -> Bend {
        let bars = values[ParamId::CycleBars].round().max(0.0);
        let most = f64::from(values[ParamId::Bend]);
        let goal = match ahead {
            Some(ahead) if bars > 0.0 && most > 0.0 => {
                let bar = f64::from(tempo.beats_per_bar.max(1));
                let wanted = Wanted {
                    speed: f64::from(values[ParamId::Speed]),
                    beat,
                    frame_beats,
                    quanta: [bar * f64::from(bars), bar, 1.0],
                    most,
                };
                wanted.factor(ahead)
            }
            _ => 1.0,
        };
        self.factor += (goal - self.factor) * (1.0 - (-f64::from(frame_ms) / FOLLOWS_MS).exp());
        Bend::of(self.factor)
    }
}

/// What is to be had.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    /// Unbent.
    speed: f64,
    beat: f64,
    frame_beats: f64,
    /// Beats on whose multiples the end may fall, the best first.
    quanta: [f64; 3],
    /// How far the factor may be from 1.
    most: f64,
}

impl Wanted {
    /// The factor by which the speed has to be multiplied from now on.
    fn factor(&self, ahead: Ahead) -> f64 {
        let (low, high) = ((1.0 - self.most).max(LEAST), 1.0 + self.most);
        let per_second = self.speed > 0.0 && self.frame_beats > 0.0 && ahead.left > 0.0;
        if !per_second || !ahead.left.is_finite() {
            return 1.0;
        }
        // The join begins in the frame, counted from this one, in which what is left is no more than
        // the join needs: left / speed - join - 1, half a frame later on the average; and is half
        // over (join - 1) / 2 later.
        let late = f64::from(ahead.join_frames.max(1)) / 2.0 + 1.0;
        let natural = self.beat + self.frame_beats * (ahead.left / self.speed - late);
        let mut nearest = 1.0;
        for quantum in self.quanta {
            let below = (natural / quantum).floor() * quantum;
            let factor = |end: f64| {
                let frames = (end - self.beat) / self.frame_beats + late;
                if frames > 0.0 { ahead.left / (self.speed * frames) } else { f64::INFINITY }
            };
            let both = [factor(below), factor(below + quantum)];
            let off = |factor: f64| factor.ln().abs();
            let best = if off(both[0]) < off(both[1]) { both[0] } else { both[1] };
            if (low..=high).contains(&best) {
                return best;
            }
            if best.is_finite() {
                nearest = best.clamp(low, high);
            }
        }
        nearest
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Set {
        clip_frames: f64,
        join: u32,
        bars: f32,
        bend: f32,
        speed: f32,
        bpm: f64,
        offset: f64,
    }

    /// Plays clips one after another; returns the beats of the middles of their joins.
    fn play(set: &Set, cycles: usize) -> Vec<f64> {
        let tempo = Tempo { bpm: set.bpm, beat: set.offset, ..Tempo::default() };
        let mut values = Values::default();
        values[ParamId::CycleBars] = set.bars;
        values[ParamId::Bend] = set.bend;
        values[ParamId::Speed] = set.speed;
        let mut bender = Bender::default();
        let (mut left, mut middles, mut n) = (set.clip_frames, Vec::new(), 0u32);
        while middles.len() < cycles && n < 1_000_000 {
            let at = |frame: f64| tempo.beat_at((frame + 0.5) / 60.0);
            let frame_beats = set.bpm / 3600.0;
            let ahead = Ahead { left, join_frames: set.join };
            let now = (&tempo, at(f64::from(n)), frame_beats);
            let bend = bender.step(&values, now, Some(ahead), 1000.0 / 60.0);
            let mut bent = values;
            bend.apply(&mut bent);
            let factor = bent[ParamId::Speed] / set.speed;
            assert!((factor - 1.0).abs() <= set.bend + 1e-3, "{factor}");
            let rate = f64::from(bent[ParamId::Speed]);
            left -= rate;
            if left <= f64::from(set.join) * rate {
                middles.push(at(f64::from(n) + (f64::from(set.join) - 1.0) / 2.0));
                // The next one begins in this frame.
                left = set.clip_frames;
            }
            n += 1;
        }
        middles
    }

    #[test]
    fn cycles_last_the_bars_that_are_asked_for() {
        // 7 seconds for the 8 of four bars.
        let set = Set {
            clip_frames: 435.0,
            join: 30,
            bars: 4.0,
            bend: 0.2,
            speed: 1.0,
            bpm: 120.0,
            offset: 0.7,
        };
        let middles = play(&set, 6);
        for two in middles[1..].windows(2) {
            assert!((two[1] - two[0] - 16.0).abs() < 2.0 / 30.0, "{middles:?}");
        }
        assert!(middles[1..].iter().all(|m| (m / 16.0 - (m / 16.0).round()).abs() * 16.0 < 0.034));
    }

    #[test]
    fn without_bars_or_bend_nothing_is_bent() {
        let values = Values::default();
        let ahead = Some(Ahead { left: 400.0, join_frames: 30 });
        let tempo = Tempo::default();
        let mut bender = Bender::default();
        assert_eq!(bender.step(&values, (&tempo, 3.3, 1.0 / 30.0), ahead, 16.7), Bend(0));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Clips that can be bent to a beat end on one, within a frame; on bars where a bar can be
        /// had.
        #[test]
        fn joins_fall_on_the_beat(
            clip_frames in 200.0f64..900.0,
            join in 1u32..60,
            bars in 1u8..8,
            speed in 0.5f32..2.0,
            bpm in 70.0f64..180.0,
            offset in 0.0f64..16.0,
        ) {
            let set = Set { clip_frames, join, bars: f32::from(bars), bend: 0.3, speed, bpm, offset };
            let frames = clip_frames / f64::from(speed) - f64::from(join);
            prop_assume!(frames > 90.0);
            let frame_beats = bpm / 3600.0;
            // A third of it, either way, holds a whole bar for sure.
            let sure = frames * frame_beats * 0.3 > 4.0;
            let every = if sure { 4.0 } else { 1.0 };
            let middles = play(&set, 8);
            prop_assert_eq!(middles.len(), 8);
            for middle in &middles {
                let off = (middle / every - (middle / every).round()).abs() * every;
                prop_assert!(off <= frame_beats, "{} frames off", off / frame_beats);
            }
        }

        #[test]
        fn whatever_is_ahead_the_factor_is_within_bounds(
            left in any::<f64>(),
            join_frames in any::<u32>(),
            beat in any::<f64>(),
            frame_beats in any::<f64>(),
            speed in any::<f64>(),
            most in 0.0f64..=1.0,
        ) {
            let wanted = Wanted { speed, beat, frame_beats, quanta: [16.0, 4.0, 1.0], most };
            let factor = wanted.factor(Ahead { left, join_frames });
            prop_assert!((1.0 - most).max(LEAST) <= factor && factor <= 1.0 + most, "{factor}");
        }
    }
}
