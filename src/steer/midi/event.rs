//! Controls: what a message is about, as bindings name it, and where it stands.
//!
//! Holds: pairs of coarse and fine values, and numbered parameters (RPN, NRPN), are put together
//! here; each message is told once as what it is, and once more as what it is part of.

use std::fmt;

use super::parse::Short;

/// One control of a device. Channel 0 is any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Control {
    Cc(u8, u8),
    /// The pair of controller n, 0 to 31, and n + 32.
    Cc14(u8, u8),
    Nrpn(u8, u16),
    Rpn(u8, u16),
    Note(u8, u8),
    /// How hard a key is held.
    Poly(u8, u8),
    Bend(u8),
    /// Every program; its number is the value.
    Program(u8),
    /// One program: a button without an end.
    ProgramOf(u8, u8),
    Pressure(u8),
}

impl Control {
    pub fn channel(self) -> u8 {
        match self {
            Control::Cc(c, _)
            | Control::Cc14(c, _)
            | Control::Nrpn(c, _)
            | Control::Rpn(c, _)
            | Control::Note(c, _)
            | Control::Poly(c, _)
            | Control::Bend(c)
            | Control::Program(c)
            | Control::ProgramOf(c, _)
            | Control::Pressure(c) => c,
        }
    }

    /// The same on another channel.
    pub fn on(self, channel: u8) -> Self {
        match self {
            Control::Cc(_, n) => Control::Cc(channel, n),
            Control::Cc14(_, n) => Control::Cc14(channel, n),
            Control::Nrpn(_, n) => Control::Nrpn(channel, n),
            Control::Rpn(_, n) => Control::Rpn(channel, n),
            Control::Note(_, n) => Control::Note(channel, n),
            Control::Poly(_, n) => Control::Poly(channel, n),
            Control::Bend(_) => Control::Bend(channel),
            Control::Program(_) => Control::Program(channel),
            Control::ProgramOf(_, n) => Control::ProgramOf(channel, n),
            Control::Pressure(_) => Control::Pressure(channel),
        }
    }

    /// A press is the news, not where it stands.
    pub fn is_button(self) -> bool {
        matches!(self, Control::Note(..) | Control::ProgramOf(..))
    }

    /// The greatest value.
    pub fn max(self) -> u16 {
        match self {
            Control::Cc14(..) | Control::Nrpn(..) | Control::Rpn(..) | Control::Bend(_) => 16383,
            _ => 127,
        }
    }

    /// Reads `cc 1.21`, `cc14 1.1`, `nrpn 1.300`, `note 1.36`, `bend 1`, `program 1`, ...; the
    /// channel is 1 to 16, or `*` for any.
    pub fn read(text: &str) -> Option<Control> {
        let mut words = text.split_whitespace();
        let (kind, place) = (words.next()?, words.next()?);
        if words.next().is_some() {
            return None;
        }
        let (channel, number) = match place.split_once('.') {
            Some((channel, number)) => (channel, Some(number.parse::<u16>().ok()?)),
            None => (place, None),
        };
        let channel = match channel {
            "*" => 0,
            channel => channel.parse().ok().filter(|c| (1..=16).contains(c))?,
        };
        let up_to = |most: u16| number.filter(|n| *n <= most);
        let small = |most: u16| up_to(most).map(|n| n as u8);
        Some(match (kind.to_ascii_lowercase().as_str(), number) {
            ("cc", _) => Control::Cc(channel, small(127)?),
            ("cc14", _) => Control::Cc14(channel, small(31)?),
            ("nrpn", _) => Control::Nrpn(channel, up_to(16383)?),
            ("rpn", _) => Control::Rpn(channel, up_to(16383)?),
            ("note", _) => Control::Note(channel, small(127)?),
            ("poly", _) => Control::Poly(channel, small(127)?),
            ("bend", None) => Control::Bend(channel),
            ("program", None) => Control::Program(channel),
            ("program", Some(_)) => Control::ProgramOf(channel, small(127)?),
            ("pressure", None) => Control::Pressure(channel),
            _ => return None,
        })
    }

    /// The forms that [`Control::read`] takes, for messages.
    pub const FORMS: &'static str = "cc CHANNEL.NUMBER, cc14, nrpn, rpn, note, poly or program \
                                     CHANNEL.NUMBER, bend, program or pressure CHANNEL; such as \
                                     \"cc 1.21\", with * for any channel";
}

impl fmt::Display for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let channel = match self.channel() {
            0 => "*".to_owned(),
            channel => channel.to_string(),
        };
        match self {
            Control::Cc(_, n) => write!(f, "cc {channel}.{n}"),
            Control::Cc14(_, n) => write!(f, "cc14 {channel}.{n}"),
            Control::Nrpn(_, n) => write!(f, "nrpn {channel}.{n}"),
            Control::Rpn(_, n) => write!(f, "rpn {channel}.{n}"),
            Control::Note(_, n) => write!(f, "note {channel}.{n}"),
            Control::Poly(_, n) => write!(f, "poly {channel}.{n}"),
            Control::Bend(_) => write!(f, "bend {channel}"),
            Control::Program(_) => write!(f, "program {channel}"),
            Control::ProgramOf(_, n) => write!(f, "program {channel}.{n}"),
            Control::Pressure(_) => write!(f, "pressure {channel}"),
        }
    }
}

/// A control that was moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    pub control: Control,
    /// 0 to the control's greatest.
    pub value: u16,
    /// It was stepped by this instead of being set; 0: it was set.
    pub step: i8,
}

impl Event {
    pub fn new(control: Control, value: u16) -> Self {
        Event { control, value, step: 0 }
    }

    /// 0 to 1.
    pub fn place(&self) -> f32 {
        f32::from(self.value) / f32::from(self.control.max())
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.control, self.step) {
            (control, 0) => write!(f, "{control} = {}", self.value),
            (control, step) => write!(f, "{control} {step:+}"),
        }
    }
}

/// What one message means: what it is, and what it completes.
#[derive(Clone, Copy, Debug)]
pub struct Events {
    list: [Event; 3],
    count: usize,
}

impl std::ops::Deref for Events {
    type Target = [Event];

    fn deref(&self) -> &[Event] {
        &self.list[..self.count]
    }
}

/// The numbered parameter that data is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Selected {
    Rpn,
    Nrpn,
}

/// A coarse value and its fine one.
#[derive(Clone, Copy, Debug, Default)]
struct Pair {
    coarse: u8,
    fine: u8,
    /// It sends fine values too: a coarse one alone is half of the news.
    has_fine: bool,
}

impl Pair {
    fn value(self) -> u16 {
        // Without fine values the coarse ones cover the whole way.
        let fine = if self.has_fine { self.fine } else { self.coarse };
        u16::from(self.coarse) << 7 | u16::from(fine)
    }
}

#[derive(Clone, Debug, Default)]
struct Channel {
    pairs: [Pair; 32],
    selected: Option<Selected>,
    rpn: [u8; 2],
    nrpn: [u8; 2],
    data: Pair,
}

/// Messages of one cable as events.
#[derive(Clone, Debug)]
pub struct Decoder(Box<[Channel; 16]>);

impl Default for Decoder {
    fn default() -> Self {
        Decoder(Box::new(std::array::from_fn(|_| Channel::default())))
    }
}

impl Decoder {
    /// All that a message means.
    pub fn events(&mut self, message: Short) -> Events {
        let mut events = Events { list: [Event::new(Control::Bend(0), 0); 3], count: 0 };
        self.decode(message, |event| {
            // A data entry is a controller, half of a pair, and a numbered parameter: all three.
            if let Some(place) = events.list.get_mut(events.count) {
                *place = event;
                events.count += 1;
            }
        });
        events
    }

    /// Calls `told` for what a message is, and for what it completes.
    pub fn decode(&mut self, message: Short, mut told: impl FnMut(Event)) {
        let Short { kind, channel, a, b } = message;
        let value = u16::from(b);
        match kind {
            0x80 => told(Event::new(Control::Note(channel, a), 0)),
            0x90 => told(Event::new(Control::Note(channel, a), value)),
            0xA0 => told(Event::new(Control::Poly(channel, a), value)),
            0xC0 => {
                told(Event::new(Control::Program(channel), a.into()));
                told(Event::new(Control::ProgramOf(channel, a), 127));
            }
            0xD0 => told(Event::new(Control::Pressure(channel), a.into())),
            0xE0 => told(Event::new(Control::Bend(channel), value << 7 | u16::from(a))),
            _ => {
                told(Event::new(Control::Cc(channel, a), value));
                self.controller(channel, a, b, told);
            }
        }
    }

    fn controller(&mut self, channel: u8, number: u8, value: u8, mut told: impl FnMut(Event)) {
        let state = &mut self.0[usize::from(channel - 1) & 15];
        match number {
            98 | 99 => {
                state.nrpn[usize::from(99 - number)] = value;
                state.select(Selected::Nrpn);
            }
            100 | 101 => {
                state.rpn[usize::from(101 - number)] = value;
                state.select(Selected::Rpn);
            }
            6 | 38 | 96 | 97 => {
                if let Some(event) = state.data(channel, number, value) {
                    told(event);
                }
            }
            _ => {}
        }
        // Data entry is a pair like any other, too.
        if let Some(pair) = state.pairs.get_mut(usize::from(number & 31)).filter(|_| number < 64) {
            let coarse = number < 32;
            if coarse {
                pair.coarse = value;
            } else {
                (pair.fine, pair.has_fine) = (value, true);
            }
            if !coarse || !pair.has_fine {
                told(Event::new(Control::Cc14(channel, number & 31), pair.value()));
            }
        }
    }
}

impl Channel {
    fn select(&mut self, which: Selected) {
        let [high, low] = match which {
            Selected::Rpn => self.rpn,
            Selected::Nrpn => self.nrpn,
        };
        // 127 and 127 is none.
        self.selected = (high != 127 || low != 127).then_some(which);
        self.data = Pair::default();
    }

    fn data(&mut self, channel: u8, number: u8, value: u8) -> Option<Event> {
        let control = match self.selected? {
            Selected::Rpn => Control::Rpn(channel, joined(self.rpn)),
            Selected::Nrpn => Control::Nrpn(channel, joined(self.nrpn)),
        };
        let step = match number {
            6 => {
                self.data.coarse = value;
                return (!self.data.has_fine).then(|| Event::new(control, self.data.value()));
            }
            38 => {
                (self.data.fine, self.data.has_fine) = (value, true);
                return Some(Event::new(control, self.data.value()));
            }
            96 => 1i8,
            _ => -1,
        };
        self.data.coarse = self.data.coarse.saturating_add_signed(step).min(127);
        Some(Event { control, value: self.data.value(), step })
    }
}

fn joined([high, low]: [u8; 2]) -> u16 {
    u16::from(high) << 7 | u16::from(low)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::steer::midi::parse::Parser;

    fn events(bytes: &[u8]) -> Vec<String> {
        let (mut parser, mut decoder, mut told) =
            (Parser::default(), Decoder::default(), Vec::new());
        parser.feed(bytes, |m| decoder.decode(m, |e| told.push(e.to_string())));
        told
    }

    #[test]
    fn each_kind_of_message_is_told() {
        for (bytes, told) in [
            (&[0x9F, 36, 100][..], "note 16.36 = 100"),
            (&[0x80, 36, 64], "note 1.36 = 0"),
            (&[0xA0, 36, 64], "poly 1.36 = 64"),
            (&[0xB0, 70, 64], "cc 1.70 = 64"),
            (&[0xC0, 5], "program 1 = 5"),
            (&[0xD0, 5], "pressure 1 = 5"),
            (&[0xE0, 0, 64], "bend 1 = 8192"),
        ] {
            assert_eq!(events(bytes)[0], told);
        }
        assert_eq!(events(&[0xC0, 5])[1], "program 1.5 = 127");
    }

    #[test]
    fn coarse_and_fine_become_one_value() {
        let told = events(&[0xB0, 1, 64, 33, 1, 1, 65, 33, 2]);
        let pairs: Vec<_> = told.iter().filter(|t| t.starts_with("cc14")).collect();
        // The first coarse value may be all there is; later ones wait for their fine one.
        assert_eq!(pairs, ["cc14 1.1 = 8256", "cc14 1.1 = 8193", "cc14 1.1 = 8322"]);
        assert_eq!(events(&[0xB0, 1, 127])[1], "cc14 1.1 = 16383");
    }

    #[test]
    fn numbered_parameters_are_told_with_their_value_or_step() {
        let told = |bytes: &[u8]| -> Vec<String> {
            events(bytes).into_iter().filter(|t| t.contains("rpn")).collect()
        };
        let select = [0xB0, 99, 2, 98, 44];
        let with = |rest: &[u8]| told(&[&select, rest].concat());
        assert_eq!(with(&[6, 64, 38, 3]), ["nrpn 1.300 = 8256", "nrpn 1.300 = 8195"]);
        assert_eq!(with(&[96, 0, 97, 0]), ["nrpn 1.300 +1", "nrpn 1.300 -1"]);
        assert!(with(&[99, 127, 98, 127, 6, 1]).is_empty(), "none is selected");
        assert_eq!(told(&[0xB0, 101, 0, 100, 0, 6, 2]), ["rpn 1.0 = 258"]);
        assert!(told(&[0xB0, 6, 1]).is_empty());
    }

    #[test]
    fn controls_are_read_as_they_are_shown() {
        for text in [
            "cc 1.21",
            "cc14 16.31",
            "nrpn 1.300",
            "rpn 2.0",
            "note *.36",
            "poly 1.1",
            "bend 1",
            "program 1",
            "program 1.5",
            "pressure 3",
        ] {
            assert_eq!(Control::read(text).unwrap().to_string(), text);
        }
        for bad in [
            "cc 1",
            "cc 0.1",
            "cc 17.1",
            "cc 1.128",
            "cc14 1.32",
            "bend 1.2",
            "knob 1.1",
            "",
            "cc",
            "cc 1.2 3",
            "cc 1.x",
        ] {
            assert_eq!(Control::read(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_give_values_within_reach(
            bytes in prop::collection::vec(prop_oneof![Just(0xB0u8), any::<u8>(), 96u8..102], 0..200)
        ) {
            let (mut parser, mut decoder) = (Parser::default(), Decoder::default());
            let mut good = true;
            parser.feed(&bytes, |m| decoder.decode(m, |e| {
                good &= e.value <= e.control.max() && (0.0..=1.0).contains(&e.place());
                good &= Control::read(&e.control.to_string()) == Some(e.control);
            }));
            prop_assert!(good);
        }
    }
}
