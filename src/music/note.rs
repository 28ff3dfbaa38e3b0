//! What a source of the tempo says.

use std::time::Duration;

use super::Source;

/// Slower and faster than any music; what is outside is a mistake, and refused.
pub const BPM: std::ops::RangeInclusive<f64> = 20.0..=400.0;

/// Something that a source said.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Note {
    pub source: Source,
    /// When it held, by the show's clock; not when it was read.
    pub at: Duration,
    pub heard: Heard,
    /// 0 to 1: how sure the source itself is. Only that of the sound is looked at when one is
    /// chosen.
    pub confidence: f32,
}

impl Note {
    pub fn new(source: Source, at: Duration, heard: Heard) -> Self {
        Note { source, at, heard, confidence: 1.0 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Heard {
    /// MIDI clock: 24 of them are a beat.
    Tick,
    /// The next tick is the first beat of the song.
    Start,
    Stop,
    /// The next tick is where it stopped, or where `Position` says.
    Continue,
    /// The song is at this beat.
    Position(f64),
    /// A beat falls here. `number`: which one, from 0; multiples of a bar's beats are downbeats. It
    /// need not go on for ever: 0, 1, 2, 3, 0, 1 will do. `bpm`: as the source knows it.
    Beat {
        number: Option<f64>,
        bpm: Option<f64>,
    },
    /// The tempo, without where its beats are.
    Bpm(f64),
    /// All of it, exactly.
    Line {
        beat: f64,
        bpm: f64,
    },
    /// The source is no more: unplugged, or without peers.
    Gone,
}

/// Why a note is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No tempo that music has.
    Tempo,
    /// No number of a beat.
    Number,
    /// It belongs before what was heard already.
    Order,
    /// Beats that come faster than beats do.
    TooSoon,
}

impl Refused {
    pub const ALL: [Refused; 4] =
        [Refused::Tempo, Refused::Number, Refused::Order, Refused::TooSoon];

    /// As in the metrics.
    pub fn name(self) -> &'static str {
        match self {
            Refused::Tempo => "tempo",
            Refused::Number => "number",
            Refused::Order => "order",
            Refused::TooSoon => "too_soon",
        }
    }

    /// What is wrong, and what would be right.
    pub fn text(self, note: &Note) -> String {
        let name = note.source.name();
        let bpm = match note.heard {
            Heard::Bpm(bpm) | Heard::Line { bpm, .. } | Heard::Beat { bpm: Some(bpm), .. } => bpm,
            _ => 0.0,
        };
        match self {
            Refused::Tempo => format!(
                "the tempo {bpm} bpm from {name} is none; send {} to {}",
                BPM.start(),
                BPM.end()
            ),
            Refused::Number => format!("{name} sends a beat whose number is none"),
            Refused::Order => format!("{name} sends beats out of their order"),
            Refused::TooSoon => {
                format!("{name} sends beats faster than {} in a minute", BPM.end())
            }
        }
    }
}
