//! How a control takes hold of a value that was left elsewhere, and what its way makes of it.
//!
//! Holds: everything here is a function of places, 0 to 1; no value leaves that.

use std::f32::consts::LN_10;

/// What a control's way makes of the way of the parameter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Curve {
    #[default]
    Linear,
    /// Quick at first.
    Log,
    /// Slow at first.
    Exp,
    /// Slow at both ends.
    S,
}

impl Curve {
    pub const NAMES: &'static [(&'static str, Curve)] =
        &[("linear", Curve::Linear), ("log", Curve::Log), ("exp", Curve::Exp), ("s", Curve::S)];

    pub fn apply(self, t: f32) -> f32 {
        let t = t.clamp(0.0, 1.0);
        match self {
            Curve::Linear => t,
            Curve::Log => (1.0 + 9.0 * t).ln() / LN_10,
            Curve::Exp => ((t * LN_10).exp() - 1.0) / 9.0,
            Curve::S => t * t * (3.0 - 2.0 * t),
        }
        .clamp(0.0, 1.0)
    }

    /// Where the control stands for what it makes.
    pub fn inverse(self, y: f32) -> f32 {
        let y = y.clamp(0.0, 1.0);
        match self {
            Curve::Linear => y,
            Curve::Log => Curve::Exp.apply(y),
            Curve::Exp => Curve::Log.apply(y),
            Curve::S => 0.5 - ((1.0 - 2.0 * y).clamp(-1.0, 1.0).asin() / 3.0).sin(),
        }
        .clamp(0.0, 1.0)
    }
}

/// How an encoder says how far it was turned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// 1 is a step up, 127 one down.
    #[default]
    TwosComplement,
    /// 1 is a step up, 65 one down.
    SignedBit,
    /// 65 is a step up, 63 one down.
    BinaryOffset,
}

impl Encoding {
    pub const NAMES: &'static [(&'static str, Encoding)] = &[
        ("twos_complement", Encoding::TwosComplement),
        ("signed_bit", Encoding::SignedBit),
        ("binary_offset", Encoding::BinaryOffset),
    ];

    /// Steps that a value, 0 to 127, stands for.
    pub fn steps(self, value: u16) -> i32 {
        let value = i32::from(value.min(127));
        match self {
            Encoding::TwosComplement if value < 64 => value,
            Encoding::TwosComplement => value - 128,
            Encoding::SignedBit if value < 64 => value,
            Encoding::SignedBit => 64 - value,
            Encoding::BinaryOffset => value - 64,
        }
    }
}

/// A hand on a control.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Grip {
    last: Option<f32>,
    held: bool,
}

impl Grip {
    /// The value was changed by somebody else: the control has to find it again.
    pub fn let_go(&mut self) {
        self.held = false;
    }

    pub fn holds(&self) -> bool {
        self.held
    }

    /// The control has moved to `to` while the value stands at `value`. Nothing comes of it until
    /// it meets the value (closer than `near`) or passes it; from then on the value follows.
    pub fn pickup(&mut self, to: f32, value: f32, near: f32) -> Option<f32> {
        let passed = self.last.is_some_and(|last| (last - value) * (to - value) <= 0.0);
        self.last = Some(to);
        self.held |= passed || (to - value).abs() <= near;
        self.held.then_some(to)
    }

    /// The control has moved to `to`: the value goes along, in proportion to the ways that both
    /// have left to the end, so that they arrive there together.
    pub fn scale(&mut self, to: f32, value: f32) -> Option<f32> {
        let last = self.last.replace(to)?;
        self.held = true;
        let (left, rest) = if to > last { (1.0 - last, 1.0 - value) } else { (-last, -value) };
        if to == last || left == 0.0 {
            return None;
        }
        Some((value + (to - last) / left * rest).clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NEAR: f32 = 1.0 / 127.0;

    #[test]
    fn a_fader_that_jumps_over_the_value_takes_hold_of_it() {
        let mut grip = Grip::default();
        assert_eq!(grip.pickup(0.1, 0.5, NEAR), None);
        assert_eq!(grip.pickup(0.3, 0.5, NEAR), None);
        assert_eq!(grip.pickup(0.9, 0.5, NEAR), Some(0.9));
        // Somebody else moves the value.
        grip.let_go();
        assert_eq!(grip.pickup(0.8, 0.2, NEAR), None);
        assert_eq!(grip.pickup(0.2, 0.2, NEAR), Some(0.2));
    }

    #[test]
    fn the_encodings_agree_on_a_step() {
        for (encoding, up, down) in [
            (Encoding::TwosComplement, 1, 127),
            (Encoding::SignedBit, 1, 65),
            (Encoding::BinaryOffset, 65, 63),
        ] {
            assert_eq!((encoding.steps(up), encoding.steps(down)), (1, -1));
        }
    }

    fn place() -> impl Strategy<Value = f32> {
        prop_oneof![(0u8..=127).prop_map(|v| f32::from(v) / 127.0), 0.0f32..=1.0]
    }

    proptest! {
        #[test]
        fn pickup_never_makes_the_value_jump(
            value in place(), moves in prop::collection::vec(place(), 1..40)
        ) {
            let mut grip = Grip::default();
            let meets = moves.iter().enumerate().position(|(i, to)| {
                let passed = i > 0 && (moves[i - 1] - value) * (to - value) <= 0.0;
                passed || (to - value).abs() <= NEAR
            });
            for (i, to) in moves.iter().enumerate() {
                let follows = meets.is_some_and(|first| i >= first);
                prop_assert_eq!(grip.pickup(*to, value, NEAR), follows.then_some(*to));
            }
        }

        #[test]
        fn scale_moves_the_same_way_and_arrives_at_the_ends(
            start in place(), moves in prop::collection::vec(place(), 2..40)
        ) {
            let (mut grip, mut value) = (Grip::default(), start);
            for pair in moves.windows(2) {
                if grip.last.is_none() {
                    prop_assert_eq!(grip.scale(pair[0], value), None);
                }
                let Some(next) = grip.scale(pair[1], value) else { continue };
                prop_assert!((0.0..=1.0).contains(&next));
                let way = (pair[1] - pair[0]) * (next - value);
                prop_assert!(way >= 0.0, "{pair:?} {value} {next}");
                value = next;
            }
            for end in [1.0, 0.0] {
                if let Some(next) = grip.scale(end, value) {
                    prop_assert!((next - end).abs() < 1e-4);
                    value = next;
                }
            }
        }

        #[test]
        fn curves_are_inverse_and_keep_the_ends(t in 0.0f32..=1.0) {
            for (name, curve) in Curve::NAMES {
                prop_assert!((curve.inverse(curve.apply(t)) - t).abs() < 2e-3, "{name}");
                prop_assert!(curve.apply(0.0).abs() < 1e-6 && (curve.apply(1.0) - 1.0).abs() < 1e-6);
            }
        }
    }
}
