//! The MIDI clock: whose it is, and when its ticks really came.
//!
//! Holds: one port is listened to at a time, the first that ticks, as long as it does. Nothing here
//! waits; it runs on threads of the MIDI systems.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::lock;
use super::parse::Clock;
use crate::music::{Heard, Note, NoteSender, Source};

/// After that long without a tick another port may lead.
const SILENT: Duration = Duration::from_secs(2);
/// Sixteenths of a beat, as positions are told.
const SIXTEENTHS: f64 = 4.0;

pub struct Clocks {
    notes: NoteSender,
    leader: Mutex<Option<Leader>>,
}

struct Leader {
    device: usize,
    at: Duration,
}

impl Clocks {
    pub fn new(notes: NoteSender) -> Self {
        Clocks { notes, leader: Mutex::new(None) }
    }

    pub fn hear(&self, device: usize, name: &Arc<str>, said: Clock, at: Duration) {
        {
            let mut leader = lock(&self.leader);
            match &mut *leader {
                Some(leader) if leader.device == device => leader.at = leader.at.max(at),
                Some(leader) if at < leader.at + SILENT => return,
                other => {
                    *other = Some(Leader { device, at });
                    self.notes.name(Source::Midi, name);
                }
            }
        }
        let heard = match said {
            Clock::Tick => Heard::Tick,
            Clock::Start => Heard::Start,
            Clock::Continue => Heard::Continue,
            Clock::Stop => Heard::Stop,
            Clock::Position(sixteenths) => Heard::Position(f64::from(sixteenths) / SIXTEENTHS),
        };
        self.notes.send(Note::new(Source::Midi, at, heard));
    }

    /// A port was closed.
    pub fn gone(&self, device: usize, at: Duration) {
        let mut leader = lock(&self.leader);
        if leader.as_ref().is_some_and(|leader| leader.device == device) {
            *leader = None;
            self.notes.send(Note::new(Source::Midi, at, Heard::Gone));
        }
    }
}

/// How long the least late of them is remembered; twice that at most.
const WINDOW: Duration = Duration::from_secs(5);
/// A stamp that is further off than this is of no use.
const ODD: Duration = Duration::from_millis(250);
/// What is learned of the clocks comes in so slowly, in microseconds a second, that it is no tempo.
const LEARNS: f64 = 1000.0;

/// When messages came, by the show's clock, from the stamps of their system: it hands them over late,
/// many at a time, but stamps them well. The least late that was seen lately says how both clocks lie
/// to each other.
#[derive(Default)]
pub struct Stamps {
    began: Duration,
    /// By how much the show's clock is ahead, in microseconds: the least of this window, and of the
    /// one before.
    least: Option<i64>,
    before: Option<i64>,
    /// What is believed of it.
    ahead: f64,
    /// The last answer; nothing comes before it.
    last: Duration,
}

impl Stamps {
    pub fn at(&mut self, stamp_us: u64, now: Duration) -> Duration {
        self.last = self.came(stamp_us, now).max(self.last);
        self.last
    }

    fn came(&mut self, stamp_us: u64, now: Duration) -> Duration {
        let (Ok(now_us), Ok(stamp_us)) = (i64::try_from(now.as_micros()), i64::try_from(stamp_us))
        else {
            return now;
        };
        let ahead = now_us - stamp_us;
        if now >= self.began + WINDOW {
            self.before = self.least.take();
            self.began = now;
        }
        let least = self.least.map_or(ahead, |least| least.min(ahead));
        self.least = Some(least);
        let least = self.before.map_or(least, |before| before.min(least));
        let passed = now.saturating_sub(self.last).as_secs_f64().min(1.0);
        let step = LEARNS * passed;
        self.ahead += (least as f64 - self.ahead).clamp(-step, step);
        let late_us = ahead as f64 - self.ahead;
        if late_us.abs() > ODD.as_micros() as f64 {
            // The system's clock was set, or this thread stood still; or it is the first.
            (self.least, self.before, self.ahead) = (Some(ahead), None, ahead as f64);
            return now;
        }
        now.saturating_sub(Duration::from_micros(late_us.max(0.0) as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_ticks_leads_until_it_is_silent_or_gone() {
        let (notes, heard) = crate::music::notes();
        let clocks = Clocks::new(notes.clone());
        let (pads, deck): (Arc<str>, Arc<str>) = ("pads".into(), "deck".into());
        let ms = Duration::from_millis;
        let name = || notes.names()[Source::Midi as usize].clone();
        clocks.hear(1, &pads, Clock::Tick, ms(100));
        clocks.hear(2, &deck, Clock::Tick, ms(110));
        clocks.hear(2, &deck, Clock::Start, ms(120));
        assert_eq!((heard.try_iter().count(), name()), (1, Some(pads.clone())));
        clocks.hear(2, &deck, Clock::Position(6), ms(2200));
        clocks.hear(1, &pads, Clock::Tick, ms(2210));
        let said: Vec<Heard> = heard.try_iter().map(|note| note.heard).collect();
        assert_eq!((said, name()), (vec![Heard::Position(1.5)], Some(deck)));
        clocks.gone(1, ms(2300));
        assert!(heard.is_empty());
        clocks.gone(2, ms(2300));
        clocks.hear(1, &pads, Clock::Tick, ms(2310));
        let said: Vec<Heard> = heard.try_iter().map(|note| note.heard).collect();
        assert_eq!((said, name()), (vec![Heard::Gone, Heard::Tick], Some(pads)));
    }

    #[test]
    fn what_is_handed_over_late_is_known_by_its_stamp() {
        let mut stamps = Stamps::default();
        // Ticks every 20 ms, handed over every 85 ms, by a clock that began elsewhere.
        let mut worst = Duration::ZERO;
        for n in 1..8000u64 {
            let tick = Duration::from_millis(n * 20);
            let handed = Duration::from_millis((n * 20).div_ceil(85) * 85);
            let at = stamps.at(7_000_000_000 + n * 20_000, handed);
            if n > 6000 {
                worst = worst.max(at.abs_diff(tick));
            }
        }
        assert!(worst < Duration::from_millis(6), "{worst:?}");
        // The other clock is set.
        let now = Duration::from_secs(170);
        assert_eq!(stamps.at(5, now), now);
    }
}
