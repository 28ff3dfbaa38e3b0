//! What waits for the beat: cuts, flashes and the ends of holds.
//!
//! A cut happens in the frame that is nearest to the beat; a crossfade begins so that its middle
//! falls there. What waits and is sent again happens now.
//!
//! Holds: a frame's beat is that of its middle, so the frame nearest to a beat is the first whose
//! beat is not before it. What a set is played again by is said: every cut that came while cuts
//! wait, and every hold that had to wait, with the frame in which it happened.

use super::tempo::{Quantum, Tempo};
use crate::param::{ParamId, Values};

/// What waits as `/quantise/cut` says.
pub const CUTS: [ParamId; 4] = [ParamId::Next, ParamId::Back, ParamId::Flash, ParamId::GlitchHit];
/// What ends as `/quantise/hold` says.
pub const HOLDS: [ParamId; 4] =
    [ParamId::Hold, ParamId::LoopCycles, ParamId::Bounce, ParamId::Freeze];

/// How a cut would go that begins now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Output frames of its crossfade; 0: none.
    pub frames: u32,
    /// Frames until it can begin: a crossfade is on.
    pub after: u32,
    /// There is nothing to go on to.
    pub empty: bool,
}

/// Where in the music a frame is.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    pub tempo: &'a Tempo,
    /// In its middle.
    pub beat: f64,
    /// That a frame lasts.
    pub frame_beats: f64,
}

impl Moment<'_> {
    /// The first beat of a quantum whose frame is this one or a later one, for what has to begin
    /// `lead` beats before.
    fn next(&self, quantum: Quantum, lead: f64) -> Option<f64> {
        // A beat that the frame before was nearest to is over.
        self.tempo.next(quantum, self.beat + lead - self.frame_beats + 2e-3)
    }

    /// How many frames are left until what waits for `beat` begins, `lead` beats before it; 0: it is
    /// due. Before `after` beats it cannot. A tempo that has jumped must not make anybody wait longer
    /// than the quantum lasts.
    fn left(&self, beat: &mut f64, quantum: Quantum, lead: f64, after: f64) -> f64 {
        let Some(next) = self.next(quantum, lead + after) else { return 0.0 };
        // Beats that were left out are no reason to come between two.
        let gone = self.beat + lead > *beat + 0.5;
        *beat = if gone { next } else { beat.min(next) };
        let left = (*beat - self.beat - lead) / self.frame_beats;
        // A tempo that stands still has no beats to wait for.
        if left.is_finite() { left.max(0.0) } else { 0.0 }
    }
}

/// What is held that must not end before its beat. Knows no beats itself, so that it is the same when
/// a set is played again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Holds([f32; HOLDS.len()]);

impl Holds {
    /// Keeps in `values` what was on and is not `released` yet; with `waits` false all is as set.
    pub fn step(
        &mut self,
        values: &mut Values,
        waits: bool,
        mut released: impl FnMut(usize) -> bool,
    ) {
        for (place, id) in HOLDS.into_iter().enumerate() {
            let kept = &mut self.0[place];
            if waits && *kept > 0.5 && values[id] <= 0.5 && !released(place) {
                values[id] = *kept;
            } else {
                *kept = values[id];
            }
        }
    }
}

/// Whether cuts wait, so that those of a journal stand where they happened.
pub fn cuts_wait(values: &Values) -> bool {
    Quantum::of(values[ParamId::QuantiseCut]) != Quantum::Off
}

pub fn holds_wait(values: &Values) -> bool {
    Quantum::of(values[ParamId::QuantiseHold]) != Quantum::Off
}

#[derive(Default)]
pub struct Quantiser {
    /// The beat that each waits for.
    cuts: [Option<f64>; CUTS.len()],
    ends: [Option<f64>; HOLDS.len()],
    holds: Holds,
    /// Frames until next or back begins.
    begins_in: Option<f64>,
}

impl Quantiser {
    /// Holds back what came with a frame, and lets go of what is due in it. `cut` says how a cut
    /// would go. `tell` hears of what happens by a beat.
    pub fn step(
        &mut self,
        moment: &Moment<'_>,
        values: &mut Values,
        fired: &mut Vec<ParamId>,
        cut: impl Fn(ParamId) -> Cut,
        mut tell: impl FnMut(ParamId),
    ) {
        let quantum = Quantum::of(values[ParamId::QuantiseCut]);
        self.begins_in = None;
        for (waits, id) in self.cuts.iter_mut().zip(CUTS) {
            if quantum == Quantum::Off {
                if waits.take().is_some() {
                    fired.push(id);
                    tell(id);
                }
                continue;
            }
            let came = fired.iter().filter(|fired| **fired == id).count();
            if waits.is_none() && came == 0 {
                continue;
            }
            fired.retain(|fired| *fired != id);
            let moves_on = matches!(id, ParamId::Next | ParamId::Back);
            let cut = if moves_on { cut(id) } else { Cut::default() };
            // In frame k of its join a clip shows by (k + 1) / (frames + 1).
            let lead = f64::from(cut.frames.saturating_sub(1)) / 2.0 * moment.frame_beats;
            let after = f64::from(cut.after) * moment.frame_beats;
            let again = came > usize::from(waits.is_none());
            let beat = waits.get_or_insert(f64::INFINITY);
            let left = moment.left(beat, quantum, lead, after);
            if left == 0.0 && cut.empty && !again {
                // A beat later there may be.
                *beat = f64::INFINITY;
            } else if again || left == 0.0 {
                *waits = None;
                fired.push(id);
                tell(id);
            } else if moves_on {
                self.begins_in = Some(self.begins_in.map_or(left, |other| other.min(left)));
            }
        }
        let quantum = Quantum::of(values[ParamId::QuantiseHold]);
        let ends = &mut self.ends;
        let mut waiting = [false; HOLDS.len()];
        self.holds.step(values, quantum != Quantum::Off, |place| {
            waiting[place] = true;
            let beat = ends[place].get_or_insert(f64::INFINITY);
            let due = moment.left(beat, quantum, 0.0, 0.0) == 0.0;
            if due {
                waiting[place] = false;
                tell(HOLDS[place]);
            }
            due
        });
        for (end, waits) in ends.iter_mut().zip(waiting) {
            *end = end.filter(|_| waits);
        }
    }

    /// Frames until a cut that waits begins.
    pub fn begins_in(&self) -> Option<f64> {
        self.begins_in
    }

    /// A bit for each of [`CUTS`] that waits, then for each of [`HOLDS`].
    pub fn waiting(&self) -> u64 {
        let all = self.cuts.iter().chain(&self.ends);
        all.enumerate().map(|(bit, waits)| u64::from(waits.is_some()) << bit).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::param::QUANTA;

    /// Plays frames at 60 fps, 120 bpm; frame n lasts from beat n / 30 + `offset` on. Returns in which
    /// frames which happened.
    fn play(
        values: &mut Values,
        offset: f64,
        frames: u32,
        join: u32,
        came: impl Fn(u32, &mut Values) -> Vec<ParamId>,
    ) -> Vec<(u32, ParamId)> {
        let tempo = Tempo::default();
        let mut quantiser = Quantiser::default();
        let mut happened = Vec::new();
        for n in 0..frames {
            let beat = (f64::from(n) + 0.5) / 30.0 + offset;
            let moment = Moment { tempo: &tempo, beat, frame_beats: 1.0 / 30.0 };
            let mut fired = came(n, values);
            let mut now = *values;
            let cut = Cut { frames: join, ..Cut::default() };
            quantiser.step(&moment, &mut now, &mut fired, |_| cut, |_| ());
            happened.extend(fired.into_iter().map(|id| (n, id)));
            if values[ParamId::Hold] < now[ParamId::Hold] {
                assert!(quantiser.waiting() & 16 != 0);
                happened.push((n, ParamId::Hold));
            }
        }
        happened
    }

    fn once(at: u32, id: ParamId) -> impl Fn(u32, &mut Values) -> Vec<ParamId> {
        move |n, _| if n == at { vec![id] } else { vec![] }
    }

    fn bars(quantum: &str) -> Values {
        let mut values = Values::default();
        let place = QUANTA.iter().position(|q| *q == quantum).unwrap() as f32;
        values[ParamId::QuantiseCut] = place;
        values[ParamId::QuantiseHold] = place;
        values
    }

    #[test]
    fn a_cut_is_in_the_frame_of_the_beat_and_a_crossfade_in_the_middle_of_it() {
        let next = ParamId::Next;
        let at = |quantum, join, came| play(&mut bars(quantum), 0.0, 2100, join, once(came, next));
        assert_eq!(at("bar", 0, 10), [(120, next)]);
        assert_eq!(at("beat", 0, 10), [(30, next)]);
        assert_eq!(at("16 bars", 0, 130), [(1920, next)]);
        assert_eq!(at("bar", 0, 120), [(120, next)], "it came in time");
        assert_eq!(at("bar", 0, 121), [(240, next)]);
        assert_eq!(at("off", 0, 10), [(10, next)]);
        // Half of 31 frames before it: in the 16th of them half of each shows.
        assert_eq!(at("bar", 31, 10), [(105, next)]);
        assert_eq!(at("bar", 31, 106), [(225, next)], "its middle would be too late");
        let flash = play(&mut bars("bar"), 0.0, 300, 31, once(10, ParamId::Flash));
        assert_eq!(flash, [(120, ParamId::Flash)]);
    }

    #[test]
    fn beats_that_are_left_out_and_a_ring_that_is_empty_put_a_cut_off_to_the_next_bar() {
        let tempo = Tempo::default();
        let when = |jump: u32, filled: u32| {
            let mut quantiser = Quantiser::default();
            let (mut values, mut fired) = (bars("bar"), Vec::new());
            for n in 0..600u32 {
                if n == 10 {
                    fired.push(ParamId::Next);
                }
                // In frame 50 beats are left out, past the one that is waited for.
                let left_out = if n >= 50 { f64::from(jump) } else { 0.0 };
                let beat = (f64::from(n) + 0.5) / 30.0 + left_out;
                let moment = Moment { tempo: &tempo, beat, frame_beats: 1.0 / 30.0 };
                let cut = Cut { empty: n < filled, ..Cut::default() };
                quantiser.step(&moment, &mut values, &mut fired, |_| cut, |_| ());
                if fired.pop().is_some() {
                    return n;
                }
            }
            panic!("it never came");
        };
        assert_eq!(when(0, 0), 120);
        // Beat 8 is 3 beats sooner.
        assert_eq!(when(3, 0), 150);
        assert_eq!(when(0, 121), 240);
    }

    #[test]
    fn a_crossfade_that_is_on_is_waited_for_as_long_as_it_takes() {
        let tempo = Tempo::default();
        let mut quantiser = Quantiser::default();
        let (mut values, mut fired) = (bars("beat"), Vec::new());
        for n in 0..200u32 {
            if n == 10 {
                fired.push(ParamId::Next);
            }
            let beat = (f64::from(n) + 0.5) / 30.0;
            let moment = Moment { tempo: &tempo, beat, frame_beats: 1.0 / 30.0 };
            // One of 31 frames is on until frame 50, so at beat 2 this one cannot be half over.
            let cut = Cut { frames: 31, after: 50u32.saturating_sub(n), ..Cut::default() };
            quantiser.step(&moment, &mut values, &mut fired, |_| cut, |_| ());
            if fired.pop().is_some() {
                assert_eq!(n, 75);
                return;
            }
            assert_eq!(quantiser.begins_in().map(f64::ceil), (n >= 10).then(|| f64::from(75 - n)));
        }
        panic!("it never came");
    }

    #[test]
    fn what_is_sent_again_happens_now() {
        let again = |n: u32, _: &mut Values| match n {
            10 | 40 => vec![ParamId::Next],
            _ => vec![],
        };
        assert_eq!(play(&mut bars("bar"), 0.0, 600, 0, again), [(40, ParamId::Next)]);
        // So does what waits when nothing is to wait any more.
        let off = |n: u32, values: &mut Values| {
            if n == 50 {
                values[ParamId::QuantiseCut] = 0.0;
            }
            if n == 10 { vec![ParamId::Next] } else { vec![] }
        };
        assert_eq!(play(&mut bars("bar"), 0.0, 600, 0, off), [(50, ParamId::Next)]);
    }

    #[test]
    fn a_hold_ends_on_its_beat_and_begins_at_once() {
        let hold = |n: u32, values: &mut Values| {
            values[ParamId::Hold] = f32::from(u8::from((5..50).contains(&n)));
            vec![]
        };
        let held = play(&mut bars("bar"), 0.0, 400, 0, hold);
        assert_eq!((held[0].0, held[held.len() - 1].0), (50, 119));
        assert!(play(&mut bars("off"), 0.0, 400, 0, hold).is_empty());
    }

    #[test]
    fn a_jump_of_the_tempo_makes_nobody_wait_longer() {
        let mut quantiser = Quantiser::default();
        let mut fired = Vec::with_capacity(4);
        let tempo = Tempo::default();
        for n in 0..400 {
            // Another source, far behind.
            let beat = f64::from(n) / 30.0 + if n < 20 { 1000.0 } else { 0.0 };
            fired.clear();
            if n == 10 {
                fired.push(ParamId::Next);
            }
            let moment = Moment { tempo: &tempo, beat, frame_beats: 1.0 / 30.0 };
            quantiser.step(&moment, &mut bars("bar"), &mut fired, |_| Cut::default(), |_| ());
            if !fired.is_empty() {
                assert_eq!(n, 120);
                return;
            }
        }
        panic!("it never came");
    }

    proptest! {
        /// Wherever frames lie against the beat: within half a frame of it, and never before it was
        /// asked for.
        #[test]
        fn a_cut_is_within_half_a_frame_of_its_beat(
            offset in -1000.0f64..1000.0,
            came in 0u32..300,
            quantum in 1usize..4,
            join in 0u32..60,
        ) {
            let mut values = bars(QUANTA[quantum]);
            let happened = play(&mut values, offset, 1200, join, once(came, ParamId::Next));
            prop_assert_eq!(happened.len(), 1);
            let begins = happened[0].0;
            prop_assert!(begins >= came);
            let middle = f64::from(begins) + f64::from(join.saturating_sub(1)) / 2.0;
            let beat = (middle + 0.5) / 30.0 + offset;
            let every = [1.0, 4.0, 8.0][quantum - 1];
            let off = beat / every - (beat / every).floor();
            prop_assert!(off * every <= 1.0 / 30.0 + 1e-9, "{}", off * every);
        }
    }
}
