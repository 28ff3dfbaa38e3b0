//! Modulators: waves in beats, and what is heard, move parameters of the picture.
//!
//! Holds: the result is a function of the values, the beats and what was heard in the frames that
//! were drawn, by the same arithmetic on stage and when a set is played again. No value leaves the
//! range of its parameter. A modulator that is off costs nothing; nothing is allocated.

use super::signal::{SIGNALS, Signal, Signals};
use crate::param::{self, Kind, MOD_SOURCES, MOD_TARGETS, MODULATORS, Param, ParamId, Values};

/// Sources below this are waves; 0 is off.
const FIRST_SIGNAL: usize = MOD_SOURCES.len() - SIGNALS;
/// Parts of a beat that are told apart: 8 microseconds at 120 bpm.
const TICKS: f64 = 65_536.0;

/// A parameter of a modulator, in the order of the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Part {
    Source,
    Target,
    Depth,
    Curve,
    Beats,
    Phase,
    Attack,
    Release,
}

/// The parameter of modulator `slot`, from 0.
pub fn param_of(slot: usize, part: Part) -> ParamId {
    param::REGISTRY[ParamId::Mod1Source as usize + 8 * slot + part as usize].id
}

/// A place in the music, as the journal keeps it: what moves the picture is computed from this, so
/// that it can be computed again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticks(pub i64);

impl Ticks {
    pub fn of(beat: f64) -> Self {
        Ticks((beat * TICKS).round() as i64)
    }

    pub fn beat(self) -> f64 {
        self.0 as f64 / TICKS
    }
}

/// What is heard, as the journal keeps it: 255 is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stepped(pub [u8; SIGNALS]);

impl Stepped {
    pub fn of(signals: &Signals) -> Self {
        Stepped(signals.values.map(|value| (value * 255.0).round() as u8))
    }

    fn get(&self, signal: usize) -> f32 {
        f32::from(self.0[signal]) / 255.0
    }
}

/// What the modulators went by in a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// At least one is on.
    pub any: bool,
    /// One bit for each signal.
    pub signals: u16,
}

impl Used {
    pub fn hears(self, signal: Signal) -> bool {
        self.signals & (1 << signal as usize) != 0
    }
}

pub struct Modulators {
    targets: [Option<&'static Param>; MOD_TARGETS.len()],
    slots: [Slot; MODULATORS],
    /// What is added to each target, in parts of its range.
    sums: [f32; MOD_TARGETS.len()],
}

/// A signal as a modulator follows it.
#[derive(Clone, Copy, Default)]
struct Slot {
    source: usize,
    level: f32,
    /// What it added last, in parts of its target's range.
    added: f32,
}

impl Default for Modulators {
    fn default() -> Self {
        let target = |name: &str| param::find(&format!("/{name}")).ok();
        let mut targets = [None; MOD_TARGETS.len()];
        for (param, name) in targets.iter_mut().zip(MOD_TARGETS).skip(1) {
            *param = target(name);
        }
        Modulators { targets, slots: Default::default(), sums: [0.0; MOD_TARGETS.len()] }
    }
}

impl Modulators {
    /// What each added in the last frame, in parts of its target's range.
    pub fn added(&self) -> [f32; MODULATORS] {
        self.slots.map(|slot| slot.added)
    }

    /// Moves the smoothed `values` of a frame of `frame_ms`, in which it is `beat`.
    pub fn step(&mut self, values: &mut Values, beat: f64, heard: &Stepped, frame_ms: f32) -> Used {
        let mut used = Used::default();
        for (n, slot) in self.slots.iter_mut().enumerate() {
            let part = |part| values[param_of(n, part)];
            let source = part(Part::Source).round() as usize;
            let target = part(Part::Target).round() as usize;
            if source == 0 || source >= MOD_SOURCES.len() || target == 0 {
                *slot = Slot::default();
                continue;
            }
            let Some(Some(_)) = self.targets.get(target) else { continue };
            if slot.source != source {
                *slot = Slot { source, ..Slot::default() };
            }
            used.any = true;
            let moved = if let Some(signal) = source.checked_sub(FIRST_SIGNAL) {
                used.signals |= 1 << signal;
                let goal = heard.get(signal);
                let takes_ms =
                    if goal > slot.level { part(Part::Attack) } else { part(Part::Release) };
                slot.level += (goal - slot.level) * share(frame_ms, takes_ms);
                slot.level
            } else {
                wave(source, beat, f64::from(part(Part::Beats)), f64::from(part(Part::Phase)), n)
            };
            let moved = bent(moved, part(Part::Curve)) * part(Part::Depth);
            slot.added = if moved.is_finite() { moved } else { 0.0 };
            self.sums[target] += slot.added;
        }
        if used.any {
            for (sum, target) in self.sums.iter_mut().zip(&self.targets) {
                let Some(param) = target else { continue };
                if *sum != 0.0 {
                    values[param.id] = moved(param, values[param.id], *sum);
                    *sum = 0.0;
                }
            }
        }
        used
    }
}

/// How much of its way something goes in a frame that it makes in `takes_ms`.
fn share(frame_ms: f32, takes_ms: f32) -> f32 {
    if takes_ms > 0.0 { 1.0 - (-frame_ms / takes_ms).exp() } else { 1.0 }
}

/// A wave at `beat`, 0 to 1. At the multiples of `beats` it stands where `phase` says, exactly.
fn wave(source: usize, beat: f64, beats: f64, phase: f64, slot: usize) -> f32 {
    let waves = beat / beats.max(1e-3);
    // Rounding must not make a beat the end of the wave before.
    let nearest = (waves + phase).round();
    let at = if ((waves + phase) - nearest).abs() < 1e-6 { nearest } else { waves + phase };
    let number = at.floor();
    let p = at - number;
    (match source {
        1 => 0.5 - 0.5 * (std::f64::consts::TAU * p).cos(),
        2 => 1.0 - (2.0 * p - 1.0).abs(),
        3 => p,
        4 => f64::from(u8::from(p < 0.5)),
        5 => random(number as i64, slot),
        _ => 1.0 - p,
    }) as f32
}

/// A number by chance, 0 to 1; the same for the same wave, another for every modulator.
fn random(number: i64, slot: usize) -> f64 {
    // SplitMix64 (Steele, Lea, Flood 2014).
    let mut x = (number as u64 ^ (slot as u64) << 56).wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ (x >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

fn bent(x: f32, curve: f32) -> f32 {
    match curve.round() as usize {
        1 => x * x * x,
        2 => 1.0 - (1.0 - x) * (1.0 - x) * (1.0 - x),
        3 => x * x * (3.0 - 2.0 * x),
        4 => f32::from(u8::from(x >= 0.5)),
        _ => x,
    }
}

/// `value` moved by so many parts of the range; equal parts of a logarithmic one multiply by the
/// same. A circle goes round, all else stops at its ends.
fn moved(param: &Param, value: f32, by: f32) -> f32 {
    let Some((min, max)) = param.range() else { return value };
    // More than all modulators together can ask for.
    let by = by.clamp(-16.0, 16.0);
    let value = value.clamp(min, max);
    if !param.wraps {
        return param.at(param.place(value) + by);
    }
    let round = min + (value - min + by * (max - min)).rem_euclid(max - min);
    let round = if matches!(param.kind, Kind::Float { .. }) { round } else { round.round() };
    round.clamp(min, max)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::param::REGISTRY;

    const FRAME_MS: f32 = 1000.0 / 60.0;

    fn set(values: &mut Values, slot: usize, parts: &[(Part, f32)]) {
        for (part, value) in parts {
            values[param_of(slot, *part)] = *value;
        }
    }

    fn source(name: &str) -> f32 {
        MOD_SOURCES.iter().position(|s| *s == name).unwrap() as f32
    }

    fn target(name: &str) -> f32 {
        MOD_TARGETS.iter().position(|t| *t == name).unwrap() as f32
    }

    /// What becomes of brightness, which stands at -0.5, moved by up to half its range.
    fn brightness(name: &str, beat: f64, parts: &[(Part, f32)]) -> f32 {
        let mut values = Values::default();
        values[ParamId::Brightness] = -0.5;
        let on = [(Part::Source, source(name)), (Part::Target, target("fx/brightness"))];
        set(&mut values, 0, &on);
        set(&mut values, 0, parts);
        Modulators::default().step(&mut values, beat, &Stepped::default(), FRAME_MS);
        values[ParamId::Brightness]
    }

    #[test]
    fn every_signal_is_a_source_in_its_order() {
        let names: Vec<_> = Signal::ALL.iter().map(|signal| signal.name()).collect();
        assert_eq!(MOD_SOURCES[FIRST_SIGNAL..], names[..]);
        assert_eq!(param_of(7, Part::Release), ParamId::Mod8Release);
        assert!(Modulators::default().targets[1..].iter().all(Option::is_some));
    }

    #[test]
    fn waves_have_their_shapes_from_where_the_parameter_is_set() {
        let one = |name, beat| (brightness(name, beat, &[]) * 1000.0).round() / 1000.0;
        assert_eq!([0.0, 1.0, 2.0, 3.0].map(|b| one("sine", b)), [-0.5, 0.0, 0.5, 0.0]);
        assert_eq!([0.0, 1.0, 2.0, 3.0].map(|b| one("triangle", b)), [-0.5, 0.0, 0.5, 0.0]);
        assert_eq!([0.0, 1.0, 2.0, 3.0].map(|b| one("saw", b)), [-0.5, -0.25, 0.0, 0.25]);
        assert_eq!(
            [0.0, 1.9, 2.0, 3.9, 4.0].map(|b| one("square", b)),
            [0.5, 0.5, -0.5, -0.5, 0.5]
        );
        assert_eq!([0.0, 1.0, 4.0].map(|b| one("envelope", b)), [0.5, 0.25, 0.5]);
        let random = [8.0, 9.0, 11.9].map(|b| one("random", b));
        assert!(random[0] == random[1] && random[1] == random[2]);
        assert_ne!(random[0], one("random", 12.0));
    }

    #[test]
    fn several_add_up_and_stop_at_the_ends_or_go_round() {
        let mut values = Values::default();
        values[ParamId::Hue] = 170.0;
        for slot in 0..2 {
            let on = [
                (Part::Source, source("square")),
                (Part::Target, target("fx/hue")),
                (Part::Depth, 0.25),
            ];
            set(&mut values, slot, &on);
        }
        let on = [
            (Part::Source, source("square")),
            (Part::Target, target("fx/kaleidoscope")),
            (Part::Depth, 0.3),
        ];
        set(&mut values, 2, &on);
        let on = [
            (Part::Source, source("square")),
            (Part::Target, target("fx/zoom")),
            (Part::Depth, -1.0),
        ];
        set(&mut values, 3, &on);
        Modulators::default().step(&mut values, 0.0, &Stepped::default(), FRAME_MS);
        assert_eq!(values[ParamId::Hue], -10.0);
        assert_eq!(values[ParamId::Kaleidoscope], 5.0);
        assert_eq!(values[ParamId::Zoom], 1.0);
    }

    #[test]
    fn a_kick_comes_at_once_and_goes_slowly() {
        let mut values = Values::default();
        let on = [
            (Part::Source, source("kick")),
            (Part::Target, target("fx/brightness")),
            (Part::Attack, 0.0),
            (Part::Release, 200.0),
        ];
        set(&mut values, 0, &on);
        let mut modulators = Modulators::default();
        let mut kick = Stepped::default();
        kick.0[Signal::Kick as usize] = 255;
        let mut seen = Vec::new();
        for n in 0..60 {
            let mut values = values;
            let heard = if n == 0 { kick } else { Stepped::default() };
            let used = modulators.step(&mut values, 0.0, &heard, FRAME_MS);
            assert!(used.hears(Signal::Kick) && !used.hears(Signal::Snare));
            seen.push(values[ParamId::Brightness]);
        }
        assert_eq!(seen[0], 1.0);
        assert!(seen.windows(2).all(|two| two[1] < two[0]), "{seen:?}");
        assert!((0.3..0.45).contains(&seen[12]) && seen[59] < 0.02, "{seen:?}");
    }

    #[test]
    fn off_changes_nothing() {
        let mut values = Values::default();
        let used = Modulators::default().step(&mut values, 1.3, &Stepped([200; SIGNALS]), FRAME_MS);
        assert_eq!((used, values), (Used::default(), Values::default()));
    }

    proptest! {
        /// Whatever is set and heard, every value is one that its parameter may have.
        #[test]
        fn nothing_leaves_its_range(
            places in proptest::collection::vec(0.0f32..=1.0, REGISTRY.len()),
            frames in proptest::collection::vec((any::<f64>(), any::<[u8; SIGNALS]>()), 1..6),
            wild in any::<f32>(),
        ) {
            let mut set = Values::default();
            for param in REGISTRY.iter().filter(|p| p.is_number()) {
                set[param.id] = param.at(places[param.id as usize]);
            }
            let mut modulators = Modulators::default();
            for (beat, heard) in frames {
                let mut values = set;
                modulators.step(&mut values, beat, &Stepped(heard), FRAME_MS);
                for param in REGISTRY.iter().filter(|p| p.is_number()) {
                    prop_assert!(param.check(values[param.id]).is_ok(), "{}", param.address);
                }
            }
            // No number at all as a depth or length: the parameters stay.
            let mut values = set;
            for slot in 0..MODULATORS {
                values[param_of(slot, Part::Depth)] = wild;
                values[param_of(slot, Part::Beats)] = wild;
            }
            modulators.step(&mut values, 1.5, &Stepped::default(), FRAME_MS);
            for param in REGISTRY.iter().filter(|p| p.is_number() && p.group() != "mod") {
                prop_assert!(param.check(values[param.id]).is_ok(), "{}", param.address);
            }
        }

        /// At every whole number of its lengths a wave stands where it stood at the first.
        #[test]
        fn a_wave_begins_on_its_beat(
            source in 1usize..FIRST_SIGNAL,
            beats in prop_oneof![Just(0.125), Just(0.5), Just(1.0), Just(3.0), Just(4.0), 0.125f64..64.0],
            number in 0i64..100_000,
            phase in prop_oneof![Just(0.0), Just(0.25), 0.0f64..1.0],
        ) {
            let at = wave(source, beats * number as f64, beats, phase, 0);
            if source != 5 {
                let start = wave(source, 0.0, beats, phase, 0);
                prop_assert!((at - start).abs() < 1e-4, "{at} {start}");
            } else {
                let later = wave(source, beats * (number as f64 + (1.0 - phase) * 0.99), beats, phase, 0);
                prop_assert_eq!(at, later);
            }
        }
    }
}
