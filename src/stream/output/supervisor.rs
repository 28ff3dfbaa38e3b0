//! From one life of an output to the next: back-off, giving up, and what is wished meanwhile.
//!
//! Holds: an output's thread is the only one that changes its state; a fault in a kind ends that
//! life and nothing else.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::Feeds;
use super::info::{Now, OutputInfo};
use super::kind::{Ending, Kind, Life};
use crate::base::telemetry::OutputState;
use crate::config::OutputSpec;
use crate::stream::priority::{self, Importance};

/// The first wait; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(23);
/// A wait is up to this much longer (30 s then), so that many who lost one server do not come back
/// at once.
const JITTER: f64 = 0.3;
/// A connection that held this long begins the waits anew.
const STEADY: Duration = Duration::from_secs(5);

/// What the owner of an output may ask of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Connect now, whatever it is waiting for.
    Retry,
    /// Go on in a new file: of a recording.
    Split,
    /// End this life and wait; with the reason, if the user did not ask for it.
    Stop(Option<String>),
    /// End for good: the show is over, or the output is removed.
    End,
}

/// Waits between connections: 1 s doubling to 23 s, each up to 30% longer by chance.
pub struct Backoff {
    next: Duration,
    chance: fastrand::Rng,
}

impl Backoff {
    pub fn new(seed: u64) -> Self {
        Backoff { next: FIRST_WAIT, chance: fastrand::Rng::with_seed(seed) }
    }

    pub fn wait(&mut self) -> Duration {
        let wait = self.next.mul_f64(1.0 + JITTER * self.chance.f64());
        self.next = (self.next * 2).min(LONGEST_WAIT);
        wait
    }

    pub fn reset(&mut self) {
        self.next = FIRST_WAIT;
    }
}

/// The thread of an output.
pub(super) struct Supervisor {
    pub kind: Box<dyn Kind>,
    pub spec: OutputSpec,
    pub info: Arc<OutputInfo>,
    pub feeds: Feeds,
    pub wishes: Receiver<Wish>,
    pub backoff: Backoff,
}

impl Supervisor {
    pub fn run(mut self) {
        priority::set_current_thread(Importance::Picture);
        let mut was_live = false;
        loop {
            let began = self.feeds.clock.now();
            let Past { ending, wish, live } = self.life(was_live);
            was_live |= live;
            self.info.set_congested(false);
            self.info.queue_ms.set(0);
            if live && self.feeds.clock.now() > began + STEADY {
                self.backoff.reset();
            }
            match self.after(ending, wish, was_live) {
                Then::Over => return,
                Then::Again => {}
            }
        }
    }

    fn life(&mut self, was_live: bool) -> Past {
        let fanout = match self.feeds.encode.fanout(&self.spec) {
            Ok(fanout) => fanout,
            Err(error) => {
                let ending = Ending::Failed(error.to_string());
                return Past { ending, wish: None, live: false };
            }
        };
        self.info.set_fanout(Some(fanout.clone()));
        let mut life = Life {
            info: &self.info,
            fanout: &fanout,
            clock: &*self.feeds.clock,
            tap: &self.feeds.tap,
            was_live,
            live: false,
            wishes: &self.wishes,
            split: false,
            ended_by: None,
            feed: None,
            raw: None,
        };
        life.is_waiting(None);
        let kind = &mut self.kind;
        let mut ending = catch_unwind(AssertUnwindSafe(|| kind.live(&mut life)))
            .unwrap_or_else(|_| Ending::Failed("a fault of this program; please report it".into()));
        let wish = life.ended_by.take();
        if ending == Ending::Finished && wish.is_none() && life.was_cut_off() {
            ending = Ending::Lost("this machine was too busy to send".into());
        }
        let live = life.live;
        drop(life);
        self.info.set_fanout(None);
        Past { ending, wish, live }
    }

    /// Waits for what is to come.
    fn after(&mut self, ending: Ending, wish: Option<Wish>, was_live: bool) -> Then {
        // Who was asked to end and could not finish well says so all the same.
        let (state, reason, wait) = match ending {
            Ending::Finished => match &wish {
                Some(Wish::Stop(reason)) => (OutputState::Stopped, reason.clone(), None),
                _ => (OutputState::Stopped, None, None),
            },
            Ending::Closed(reason) => (OutputState::Stopped, Some(reason), None),
            Ending::Lost(reason) if wish.is_some() => (OutputState::Stopped, Some(reason), None),
            Ending::Lost(reason) => {
                let wait = self.backoff.wait();
                let state =
                    if was_live { OutputState::Reconnecting } else { OutputState::Starting };
                (state, Some(reason), Some(wait))
            }
            Ending::Unavailable(reason) => (OutputState::Unavailable, Some(reason), None),
            Ending::Refused(reason) | Ending::Failed(reason) => {
                (OutputState::Failed, Some(reason), None)
            }
        };
        // Who watches the state tells the user.
        tracing::debug!("output {}: {}, {reason:?}", self.spec.shown(), state.name());
        let now = self.feeds.clock.now();
        let until = wait.map(|wait| now + wait);
        self.info.set(Now { state, since: now, reason, retry_at: until });
        // Without a wish it ended by itself: the source of what it sends has closed.
        if wish == Some(Wish::End) || (state == OutputState::Stopped && self.feeds.encode.is_over())
        {
            return Then::Over;
        }
        self.wait_for(until)
    }

    /// Until it is time, or wished.
    fn wait_for(&mut self, until: Option<Duration>) -> Then {
        let wish = match until {
            Some(until) => {
                let left = until.saturating_sub(self.feeds.clock.now());
                match self.wishes.recv_timeout(left) {
                    Err(RecvTimeoutError::Timeout) => return Then::Again,
                    Err(RecvTimeoutError::Disconnected) => Wish::End,
                    Ok(wish) => wish,
                }
            }
            None => self.wishes.recv().unwrap_or(Wish::End),
        };
        match wish {
            Wish::Retry => {
                self.backoff.reset();
                Then::Again
            }
            Wish::Stop(reason) => {
                let now = self.feeds.clock.now();
                let state = OutputState::Stopped;
                self.info.set(Now { state, since: now, reason, retry_at: None });
                self.wait_for(None)
            }
            Wish::Split => self.wait_for(until),
            Wish::End => Then::Over,
        }
    }
}

/// A life that is over.
struct Past {
    ending: Ending,
    /// What ended it, if somebody wished so.
    wish: Option<Wish>,
    /// It was live.
    live: bool,
}

enum Then {
    Again,
    Over,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_half_a_minute_and_begin_anew() {
        for seed in 0..50 {
            let mut backoff = Backoff::new(seed);
            let waits: Vec<f64> = (0..8).map(|_| backoff.wait().as_secs_f64()).collect();
            for (wait, least) in waits.iter().zip([1.0, 2.0, 4.0, 8.0, 16.0, 23.0, 23.0, 23.0]) {
                assert!((least..=least * 1.3).contains(wait) && *wait <= 30.0, "{waits:?}");
            }
            backoff.reset();
            assert!(backoff.wait().as_secs_f64() < 1.31);
        }
    }
}
