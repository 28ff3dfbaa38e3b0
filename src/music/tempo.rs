//! Where beats are in time.

use std::time::Duration;

use crate::param::{QUANTA, TEMPO_SOURCES};

/// Who gives the beat. In the order of `/tempo/source`, without `auto`; which is also the order in
/// which `auto` takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(usize)]
pub enum Source {
    Link,
    Midi,
    Osc,
    Os2l,
    Tap,
    Sound,
    Fixed,
}

impl Source {
    pub const ALL: [Source; 7] = [
        Source::Link,
        Source::Midi,
        Source::Osc,
        Source::Os2l,
        Source::Tap,
        Source::Sound,
        Source::Fixed,
    ];

    pub fn name(self) -> &'static str {
        TEMPO_SOURCES[self as usize + 1]
    }
}

/// Beats as a straight line over the show's clock. Whole multiples of `beats_per_bar` are
/// downbeats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tempo {
    pub source: Source,
    /// At this time of the show's clock it is this beat.
    pub at: Duration,
    pub beat: f64,
    pub bpm: f64,
    pub beats_per_bar: u32,
    /// 0 to 1.
    pub confidence: f32,
    /// Whether the source's transport runs; one without a transport always does.
    pub playing: bool,
}

impl Default for Tempo {
    fn default() -> Self {
        Tempo {
            source: Source::Fixed,
            at: Duration::ZERO,
            beat: 0.0,
            bpm: 120.0,
            beats_per_bar: 4,
            confidence: 0.0,
            playing: true,
        }
    }
}

impl Tempo {
    /// The beat, with its fraction, `seconds` after zero of the show's clock.
    pub fn beat_at(&self, seconds: f64) -> f64 {
        self.beat + (seconds - self.at.as_secs_f64()) * self.bpm / 60.0
    }

    /// When a beat falls, in seconds of the show's clock.
    pub fn time_of(&self, beat: f64) -> f64 {
        self.at.as_secs_f64() + (beat - self.beat) * 60.0 / self.bpm
    }

    pub fn beat_seconds(&self) -> f64 {
        60.0 / self.bpm
    }

    pub fn bar_seconds(&self) -> f64 {
        self.beat_seconds() * f64::from(self.beats_per_bar)
    }

    /// The first beat at or behind `beat` that a quantum falls on; `None`: nothing is waited for.
    pub fn next(&self, quantum: Quantum, beat: f64) -> Option<f64> {
        let every = match quantum {
            Quantum::Off => return None,
            Quantum::Beat => 1.0,
            Quantum::Bars(bars) => f64::from(bars * self.beats_per_bar),
        };
        // What is a thousandth of a beat late is on it.
        Some(((beat - 1e-3) / every).ceil() * every)
    }
}

/// What something waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantum {
    Off,
    Beat,
    Bars(u32),
}

impl Quantum {
    /// Of the value of a parameter with the choices [`QUANTA`].
    pub fn of(value: f32) -> Self {
        const ALL: [Quantum; QUANTA.len()] = [
            Quantum::Off,
            Quantum::Beat,
            Quantum::Bars(1),
            Quantum::Bars(2),
            Quantum::Bars(4),
            Quantum::Bars(8),
            Quantum::Bars(16),
        ];
        ALL.get(value.max(0.0).round() as usize).copied().unwrap_or(Quantum::Off)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_bar_is_a_multiple_of_its_beats() {
        let tempo =
            Tempo { at: Duration::from_secs(10), beat: 8.0, bpm: 120.0, ..Tempo::default() };
        assert_eq!(tempo.beat_at(11.0), 10.0);
        assert_eq!(tempo.time_of(10.0), 11.0);
        assert_eq!(tempo.next(Quantum::Bars(1), 8.2), Some(12.0));
        assert_eq!(tempo.next(Quantum::Bars(4), 8.2), Some(16.0));
        assert_eq!(tempo.next(Quantum::Beat, 9.0), Some(9.0));
        assert_eq!(tempo.next(Quantum::Off, 9.0), None);
        assert_eq!(Quantum::of(6.0), Quantum::Bars(16));
    }
}
