//! The director: what the show is doing, and what is to be done when something happens.
//!
//! Holds: [`Director::handle`] is a pure function of the state, the event and the time; it does
//! nothing itself. Whoever runs it carries out the [`Effect`]s it returns, in order.

mod ladder;

pub use ladder::{Ladder, Load};

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::telemetry::Phase;

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A performer gives *go*.
    Go,
    /// The show is to end: a signal, a key, or its time is up.
    Stop,
    /// The pipeline has ended.
    Ended,
    /// A problem that the performer should know of, by topic; `None`: it is over.
    Problem(Topic, Option<String>),
}

/// What a warning is about. A topic has at most one warning at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    Generator,
    Runway,
    Clip,
    Recording,
    Disk,
    /// Room for cycles.
    Room,
    Archive,
    /// By its number.
    Output(u32),
    Timing,
    /// The show does less than it would.
    Effort,
    /// The bitrate is lowered.
    Uplink,
    Encoder,
    /// Something that was asked for was not done.
    Steering,
    Midi,
    /// What the sound comes from.
    Sound,
    /// What lies over the picture.
    Overlays,
}

/// Something that is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Tell the playout to leave the standby picture.
    StartPlayout,
    /// End the picture, finish files, save the state.
    Drain,
    /// Write a line for the record: a warning that appeared.
    Warn(Topic, String),
    /// Write a line for the record: a warning that is over.
    Clear(Topic, String),
}

/// A warning that stays on the screen.
#[derive(Clone, Debug, PartialEq)]
struct Warning {
    text: String,
    since: Duration,
}

/// The state of the show.
#[derive(Debug)]
pub struct Director {
    phase: Phase,
    live_since: Option<Duration>,
    warnings: BTreeMap<Topic, Warning>,
}

impl Director {
    /// In standby.
    pub fn new() -> Self {
        Director { phase: Phase::Standby, live_since: None, warnings: BTreeMap::new() }
    }

    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Present warnings, oldest first.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<_> = self.warnings.values().collect();
        warnings.sort_by_key(|w| w.since);
        warnings.into_iter().map(|w| w.text.clone()).collect()
    }

    pub fn handle(&mut self, event: Event, now: Duration) -> Vec<Effect> {
        match event {
            Event::Go if self.phase == Phase::Standby => {
                self.phase = Phase::Live;
                self.live_since = Some(now);
                vec![Effect::StartPlayout]
            }
            Event::Go => Vec::new(),
            Event::Stop if matches!(self.phase, Phase::Standby | Phase::Live) => {
                self.phase = Phase::Draining;
                vec![Effect::Drain]
            }
            Event::Stop => Vec::new(),
            Event::Ended => {
                self.phase = Phase::Ended;
                Vec::new()
            }
            Event::Problem(topic, Some(text)) => {
                // A warning whose numbers move is told once, and kept up to date on the screen.
                if let Some(known) = self.warnings.get_mut(&topic) {
                    known.text = text;
                    return Vec::new();
                }
                self.warnings.insert(topic, Warning { text: text.clone(), since: now });
                vec![Effect::Warn(topic, text)]
            }
            Event::Problem(topic, None) => match self.warnings.remove(&topic) {
                Some(over) => vec![Effect::Clear(topic, over.text)],
                None => Vec::new(),
            },
        }
    }
}

impl Default for Director {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(5);

    #[test]
    fn go_starts_once_and_stop_drains_once() {
        let mut director = Director::new();
        assert_eq!(director.handle(Event::Go, NOW), [Effect::StartPlayout]);
        assert_eq!(director.handle(Event::Go, NOW), []);
        assert_eq!(director.handle(Event::Stop, NOW), [Effect::Drain]);
        assert_eq!(director.handle(Event::Stop, NOW), []);
        assert_eq!(director.handle(Event::Go, NOW), []);
        assert_eq!(director.phase(), Phase::Draining);
    }

    #[test]
    fn a_warning_is_told_once_and_stays_until_it_is_over() {
        let mut director = Director::new();
        let full = || Event::Problem(Topic::Disk, Some("the disk is nearly full".into()));
        assert_eq!(director.handle(full(), NOW).len(), 1);
        assert_eq!(director.handle(full(), NOW), []);
        assert_eq!(director.warnings(), ["the disk is nearly full"]);
        let over = director.handle(Event::Problem(Topic::Disk, None), NOW);
        assert_eq!(over, [Effect::Clear(Topic::Disk, "the disk is nearly full".into())]);
        assert!(director.warnings().is_empty());
    }
}
