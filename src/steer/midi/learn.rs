//! Which control was meant, and what sort it is, told from how it moves.
//!
//! Holds: a control that is touched by chance, or trembles, is not taken: a knob has to move by
//! three steps. What is remembered is bounded.

use std::collections::HashMap;
use std::time::Duration;

use super::binding::{Binding, Mode};
use super::event::{Control, Event};
use super::takeover::Encoding;
use crate::param::{Kind, Param};

/// Steps of 127 that a fader has to move.
const CLEARLY: f32 = 3.0 / 127.0;
/// Values that are remembered of one control, and controls.
const VALUES: usize = 32;
const CONTROLS: usize = 256;
/// Nobody moved anything for so long: it was forgotten.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Learning {
    pub param: &'static Param,
    /// When it began.
    pub since: Duration,
    seen: HashMap<(usize, Control), Vec<u16>>,
}

impl Learning {
    pub fn new(param: &'static Param, since: Duration) -> Self {
        Learning { param, since, seen: HashMap::new() }
    }

    /// Takes in what a device sends; returns the binding once it is clear which control is meant.
    pub fn hear(&mut self, device: usize, event: &Event) -> Option<Binding> {
        let control = event.control;
        let made =
            |mode, encoding| Some(Binding { encoding, ..Binding::new(control, self.param, mode) });
        match control {
            Control::Note(..) if event.value > 0 => return self.button(control),
            Control::ProgramOf(..) => return self.button(control),
            // What a key sends besides its note.
            Control::Note(..) | Control::Program(_) | Control::Poly(..) | Control::Pressure(_) => {
                return None;
            }
            // Parts of numbered parameters.
            Control::Cc(_, 96..=101) => return None,
            Control::Cc(c, n @ (6 | 38)) | Control::Cc14(c, n @ 6) => {
                let numbered = |seen: &Control| match seen {
                    Control::Nrpn(channel, _) | Control::Rpn(channel, _) => *channel == c,
                    _ => false,
                };
                let _ = n;
                if self.seen.keys().any(|(d, seen)| *d == device && numbered(seen)) {
                    return None;
                }
            }
            _ => {}
        }
        if event.step != 0 {
            return match self.is_number() {
                true => made(Mode::Relative, Encoding::default()),
                false => self.button(control),
            };
        }
        if self.seen.len() >= CONTROLS && !self.seen.contains_key(&(device, control)) {
            return None;
        }
        let values = self.seen.entry((device, control)).or_default();
        if values.len() == VALUES {
            values.remove(0);
        }
        values.push(event.value);
        let values = values.clone();
        let other = |control| self.seen.contains_key(&(device, control));
        match control {
            // Half of a pair: the pair decides.
            Control::Cc(c, n) if n < 32 && other(Control::Cc(c, n + 32)) => return None,
            Control::Cc(c, n) if (32..64).contains(&n) && other(Control::Cc(c, n - 32)) => {
                return None;
            }
            // No pair unless the fine half is heard.
            Control::Cc14(c, n) if !other(Control::Cc(c, n + 32)) || !other(Control::Cc(c, n)) => {
                return None;
            }
            _ => {}
        }
        if let Control::Cc(..) = control {
            match sort(&values) {
                Sort::Unclear => return None,
                Sort::Button => return self.button(control),
                Sort::Encoder(encoding) if self.is_number() => {
                    return made(Mode::Relative, encoding);
                }
                Sort::Encoder(_) => return self.button(control),
                Sort::Fader => {}
            }
        }
        let (least, most) = (values.iter().min()?, values.iter().max()?);
        let way = f32::from(most - least) / f32::from(control.max());
        if way < CLEARLY {
            return None;
        }
        match self.is_number() {
            true => made(Mode::Absolute, Encoding::default()),
            false => self.button(control),
        }
    }

    fn is_number(&self) -> bool {
        self.param.is_number()
    }

    fn button(&self, control: Control) -> Option<Binding> {
        let mode = match self.param.kind {
            Kind::Trigger => Mode::Trigger,
            Kind::Bool | Kind::Enum(_) => Mode::Toggle,
            _ => Mode::Momentary,
        };
        Some(Binding::new(control, self.param, mode))
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Sort {
    Unclear,
    Fader,
    Button,
    Encoder(Encoding),
}

/// What moves like this.
fn sort(values: &[u16]) -> Sort {
    let all = |among: &dyn Fn(u16) -> bool| values.iter().all(|v| among(*v));
    if values.len() < 2 {
        return Sort::Unclear;
    }
    if all(&|v| matches!(v, 0 | 127)) {
        return match values.contains(&0) && values.contains(&127) {
            true => Sort::Button,
            // Pressed twice, or turned back by two.
            false if values.len() >= 3 && all(&|v| v == 127) => {
                Sort::Encoder(Encoding::TwosComplement)
            }
            false => Sort::Unclear,
        };
    }
    // A fader sends no value twice in a row; an encoder sends its step again and again.
    let repeats = values.len() >= 3 && values.windows(2).any(|pair| pair[0] == pair[1]);
    let back_and_forth = |up: u16, down: u16| {
        all(&|v| v == up || v == down) && values.contains(&up) && values.contains(&down)
    };
    if back_and_forth(1, 127) || repeats && all(&|v| matches!(v, 1..=10 | 118..=127)) {
        return Sort::Encoder(Encoding::TwosComplement);
    }
    if back_and_forth(1, 65) || repeats && all(&|v| matches!(v, 1..=10 | 65..=74)) {
        return match values.iter().any(|v| *v < 11) {
            true => Sort::Encoder(Encoding::SignedBit),
            false => Sort::Encoder(Encoding::BinaryOffset),
        };
    }
    if back_and_forth(65, 63) || repeats && all(&|v| matches!(v, 54..=63 | 65..=74)) {
        return Sort::Encoder(Encoding::BinaryOffset);
    }
    Sort::Fader
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::param;
    use crate::steer::midi::event::Decoder;
    use crate::steer::midi::parse::Parser;

    /// The binding for what these bytes say, or what was left unclear.
    fn learn(address: &str, bytes: &[u8]) -> String {
        let mut learning = Learning::new(param::find(address).unwrap(), Duration::ZERO);
        let (mut parser, mut decoder) = (Parser::default(), Decoder::default());
        let mut learned = None;
        parser.feed(bytes, |m| {
            decoder.decode(m, |e| {
                if learned.is_none() {
                    learned = learning.hear(0, &e);
                }
            });
        });
        learned.map_or_else(|| "unclear".into(), |binding| binding.yaml())
    }

    #[test]
    fn the_sort_of_control_is_told_from_how_it_moves() {
        let zoom = |bytes: &[u8]| learn("/fx/zoom", bytes);
        let is = |control: &str, mode: &str| {
            format!("{{control: {control}, to: fx/zoom, mode: {mode}}}")
        };
        assert_eq!(zoom(&[0xB0, 21, 64, 21, 65, 21, 66]), "unclear", "it trembles");
        assert_eq!(zoom(&[0xB0, 21, 64, 22, 1, 21, 65, 21, 67]), is("cc 1.21", "absolute"));
        assert_eq!(zoom(&[0xB0, 21, 10, 60]), "unclear");
        assert_eq!(zoom(&[0xE0, 0, 64, 0, 70]), is("bend 1", "absolute"));
        assert_eq!(zoom(&[0x92, 36, 100]), is("note 3.36", "momentary"));
        for (values, encoding) in [
            (&[1, 127, 1][..], "twos_complement"),
            (&[1, 1, 1], "twos_complement"),
            (&[127, 127, 127], "twos_complement"),
            (&[1, 65], "signed_bit"),
            (&[65, 63], "binary_offset"),
            (&[65, 65, 65], "binary_offset"),
        ] {
            let bytes: Vec<u8> = values.iter().flat_map(|v| [0xB0, 21, *v]).collect();
            assert_eq!(zoom(&bytes), is("cc 1.21", &format!("relative, encoding: {encoding}")));
        }
        let coarse_and_fine = [0xB0, 7, 64, 39, 1, 7, 64, 39, 90, 7, 66, 39, 90, 7, 70, 39, 0];
        assert_eq!(zoom(&coarse_and_fine), is("cc14 1.7", "absolute"));
        let numbered = [0xB0, 99, 2, 98, 44, 6, 1, 99, 2, 98, 44, 6, 9];
        assert_eq!(zoom(&numbered), is("nrpn 1.300", "absolute"));
    }

    #[test]
    fn what_is_learned_goes_with_the_parameter() {
        let button = [0xB0, 41, 127, 41, 0];
        assert!(learn("/fx/blackout", &button).contains("cc 1.41, to: fx/blackout, mode: toggle"));
        assert!(learn("/fx/flash", &button).contains("mode: trigger"));
        assert!(learn("/fx/flash", &[0x90, 1, 1]).contains("mode: trigger"));
        assert!(
            learn("/fx/mirror", &[0xC0, 4]).contains("program 1.4, to: fx/mirror, mode: toggle")
        );
    }
}
