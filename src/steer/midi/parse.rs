//! Bytes of a MIDI cable as messages, however they are cut into pieces.
//!
//! Holds: no bytes make it fail. What does not fit is left out and counted, and the next status
//! byte is understood again. It keeps a message at most; a SysEx is skipped as it passes.

/// A message of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Short {
    /// 0x80 to 0xE0, without the channel.
    pub kind: u8,
    /// 1 to 16.
    pub channel: u8,
    pub a: u8,
    /// 0 where the kind has one value.
    pub b: u8,
}

/// What the clock of another device says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// 24 of them are a beat.
    Tick,
    Start,
    Continue,
    Stop,
    /// The place in the song, in sixteenths.
    Position(u16),
}

enum Found {
    Short(Short),
    Clock(Clock),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Nothing is understood before a status byte.
    #[default]
    Lost,
    /// Values of this status follow: a channel's, which may run on.
    Channel(u8),
    /// Of a system message: so many bytes still belong to it.
    System(u8),
    Position,
    SysEx,
}

/// The state of one cable.
#[derive(Clone, Debug, Default)]
pub struct Parser {
    place: Place,
    first: Option<u8>,
    /// Bytes that belonged to nothing.
    pub stray: u64,
}

impl Parser {
    /// Takes bytes in, and calls `found` for each message that is complete with them.
    pub fn feed(&mut self, bytes: &[u8], found: impl FnMut(Short)) {
        self.feed_all(bytes, found, |_| {});
    }

    /// The same, and `clock` for what the clock says.
    pub fn feed_all(
        &mut self,
        bytes: &[u8],
        mut found: impl FnMut(Short),
        mut clock: impl FnMut(Clock),
    ) {
        for byte in bytes {
            match self.byte(*byte) {
                Some(Found::Short(message)) => found(message),
                Some(Found::Clock(said)) => clock(said),
                None => {}
            }
        }
    }

    fn byte(&mut self, byte: u8) -> Option<Found> {
        match byte {
            // Real time: may stand anywhere, within other messages too, and changes nothing.
            0xF8 => Some(Found::Clock(Clock::Tick)),
            0xFA => Some(Found::Clock(Clock::Start)),
            0xFB => Some(Found::Clock(Clock::Continue)),
            0xFC => Some(Found::Clock(Clock::Stop)),
            0xF9 | 0xFD..=0xFF => None,
            0x80..=0xEF => {
                self.begin(Place::Channel(byte));
                None
            }
            0xF0 => {
                self.begin(Place::SysEx);
                None
            }
            0xF1 | 0xF3 => {
                self.begin(Place::System(1));
                None
            }
            0xF2 => {
                self.begin(Place::Position);
                None
            }
            // The end of a SysEx, a tune request, or undefined: nothing follows.
            0xF4..=0xF7 => {
                self.begin(Place::Lost);
                None
            }
            value => self.value(value),
        }
    }

    fn begin(&mut self, place: Place) {
        self.stray += u64::from(self.first.take().is_some());
        self.place = place;
    }

    fn value(&mut self, value: u8) -> Option<Found> {
        match self.place {
            Place::SysEx => None,
            Place::Lost => {
                self.stray += 1;
                None
            }
            Place::System(left) => {
                self.place = if left > 1 { Place::System(left - 1) } else { Place::Lost };
                None
            }
            Place::Position => {
                let Some(low) = self.first.take() else {
                    self.first = Some(value);
                    return None;
                };
                self.place = Place::Lost;
                let position = u16::from(value) << 7 | u16::from(low);
                Some(Found::Clock(Clock::Position(position)))
            }
            Place::Channel(status) => {
                let (kind, channel) = (status & 0xF0, (status & 0x0F) + 1);
                if matches!(kind, 0xC0 | 0xD0) {
                    return Some(Found::Short(Short { kind, channel, a: value, b: 0 }));
                }
                let Some(a) = self.first.take() else {
                    self.first = Some(value);
                    return None;
                };
                Some(Found::Short(Short { kind, channel, a, b: value }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(bytes: &[u8]) -> Vec<Short> {
        let mut found = Vec::new();
        Parser::default().feed(bytes, |m| found.push(m));
        found
    }

    fn cc(channel: u8, a: u8, b: u8) -> Short {
        Short { kind: 0xB0, channel, a, b }
    }

    #[test]
    fn a_running_status_and_bytes_of_the_clock_are_understood() {
        let bytes = [0xB0, 0xF8, 21, 64, 21, 0xFE, 65, 0xC3, 5, 6, 0x90, 36, 0];
        let program = |a| Short { kind: 0xC0, channel: 4, a, b: 0 };
        let note = Short { kind: 0x90, channel: 1, a: 36, b: 0 };
        assert_eq!(parse(&bytes), [cc(1, 21, 64), cc(1, 21, 65), program(5), program(6), note]);
    }

    #[test]
    fn a_clock_is_heard_between_all_else() {
        let bytes = [0xFA, 0xB0, 0xF8, 21, 0xF8, 64, 0xF2, 8, 1, 0xFC, 0xF2, 3, 0xFB, 0xFE, 0xF9];
        let (mut messages, mut said) = (Vec::new(), Vec::new());
        Parser::default().feed_all(&bytes, |m| messages.push(m), |c| said.push(c));
        assert_eq!(messages, [cc(1, 21, 64)]);
        use Clock::{Continue, Position, Start, Stop, Tick};
        assert_eq!(said, [Start, Tick, Tick, Position(136), Stop, Continue]);
    }

    #[test]
    fn a_sysex_is_skipped_whole_or_half() {
        let whole = [0xF0, 0x47, 1, 0xF8, 2, 0xF7, 9, 0xB1, 7, 1];
        assert_eq!(parse(&whole), [cc(2, 7, 1)]);
        // It breaks off: the next status byte is a new message.
        assert_eq!(parse(&[0xF0, 0x47, 1, 2, 0xB1, 7, 1]), [cc(2, 7, 1)]);
        // And it ends a running status.
        assert_eq!(parse(&[0xB1, 7, 1, 0xF0, 1, 0xF7, 7, 2, 0xF2, 1, 2, 7, 3]), [cc(2, 7, 1)]);
    }

    #[test]
    fn what_belongs_to_nothing_is_counted() {
        let mut parser = Parser::default();
        parser.feed(&[1, 2, 3, 0xB0, 4, 0xB0], |_| panic!("there is no message"));
        assert_eq!(parser.stray, 4);
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_give_the_same_and_it_finds_its_way_back(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            cut in 0usize..200,
        ) {
            let whole = parse(&bytes);
            let cut = cut.min(bytes.len());
            let (mut parser, mut pieces) = (Parser::default(), Vec::new());
            for piece in [&bytes[..cut], &bytes[cut..]] {
                parser.feed(piece, |m| pieces.push(m));
            }
            prop_assert_eq!(&whole, &pieces);
            for m in &whole {
                prop_assert!(m.a < 128 && m.b < 128 && (1..=16).contains(&m.channel));
            }
            let mut after = Vec::new();
            parser.feed(&[0xB4, 21, 99], |m| after.push(m));
            prop_assert_eq!(after, [cc(5, 21, 99)]);
        }
    }
}
