//! The contract between the supervisor of an output and what is particular to its kind.
//!
//! A kind lives one [`Kind::live`] after the other: each connects, carries what it is fed, and says
//! how it ended. What comes between two lives (back-off, giving up, waiting for a wish) is the
//! supervisor's alone. A life starts from nothing: nothing that was fed before it is ever sent.
//! A wish is heard in [`Life::next`], so whatever else takes time (opening a window, a last goodbye)
//! has a limit of seconds.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, never};

use super::info::{Now, OutputInfo};
use super::supervisor::Wish;
use crate::base::clock::Clock;
use crate::base::telemetry::OutputState;
use crate::render::overlay::View;
use crate::stream::fanout::{Fanout, QueueLoad, Unit};
use crate::stream::raw::{RawLoad, RawUnit, Tap};

pub trait Kind: Send {
    /// From connecting to the end of the connection.
    fn live(&mut self, life: &mut Life<'_>) -> Ending;
}

/// How a life ended. The texts are for the user, without secrets: what happened, what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As was asked for: everything is sent or written.
    Finished,
    /// The viewer closed it.
    Closed(String),
    /// There is no connection, or no longer: it is made again after a while.
    Lost(String),
    /// The other side does not want it: not tried again unasked.
    Refused(String),
    /// Something is missing on this machine: not tried again unasked.
    Unavailable(String),
    /// It cannot go on here (a full disk): not tried again unasked.
    Failed(String),
}

/// What a life is given.
pub struct Life<'a> {
    pub info: &'a OutputInfo,
    pub fanout: &'a Arc<Fanout>,
    pub clock: &'a dyn Clock,
    /// It was `live` before, at some time in this show.
    pub was_live: bool,
    /// This life is, or was.
    pub(super) live: bool,
    pub(super) wishes: &'a Receiver<Wish>,
    /// What is written is to go on in a new file, from a key frame on.
    pub(super) split: bool,
    /// The wish that ended this life.
    pub(super) ended_by: Option<Wish>,
    pub(super) feed: Option<Arc<QueueLoad>>,
    pub(super) tap: &'a Tap,
    pub(super) raw: Option<Arc<RawLoad>>,
}

/// What a life may be fed with.
pub trait Fed {
    /// It was taken off its queue.
    fn taken(&self, life: &Life<'_>);
}

impl Fed for Unit {
    fn taken(&self, life: &Life<'_>) {
        if let Some(load) = &life.feed {
            load.taken(self);
        }
    }
}

impl Fed for RawUnit {
    fn taken(&self, _: &Life<'_>) {}
}

/// What [`Life::next`] found.
#[derive(Debug)]
pub enum Next<T> {
    Got(T),
    /// Nothing came in time.
    Nothing,
    /// The show has ended, or this output is to end: finish, and return [`Ending::Finished`].
    End,
}

impl Life<'_> {
    /// Encoded units from now on; up to `max_bytes` may wait, then the feed is cut off
    /// ([`Life::was_cut_off`]).
    pub fn encoded(&mut self, max_bytes: u64) -> Receiver<Unit> {
        let (units, load) = self.fanout.subscribe(max_bytes);
        self.info.set_feed(Some(load.clone()));
        self.feed = Some(load);
        units
    }

    /// Asks for a key frame soon. All outputs of the encode get it, so it is asked for when it can
    /// be used, not before.
    pub fn request_key_frame(&self) {
        self.fanout.request_key_frame();
    }

    /// Pictures before they are encoded, with their sound if wanted, from now on. What does not
    /// fit into the queue is dropped ([`Life::raw_missed`]).
    pub fn raw(&mut self, pictures: usize, sound: bool, view: View) -> Receiver<RawUnit> {
        let (units, load) = self.tap.subscribe(pictures, sound, view);
        self.raw = Some(load);
        units
    }

    /// Raw pictures that did not fit into this life's queue.
    pub fn raw_missed(&self) -> u64 {
        self.raw.as_ref().map_or(0, |load| load.pictures_dropped.get())
    }

    /// The next unit. After a wish to stop, those that were sent before it still come.
    pub fn next<T: Fed>(&mut self, units: &Receiver<T>, patience: Duration) -> Next<T> {
        let wishes = if self.ended_by.is_some() { &never() } else { self.wishes };
        crossbeam_channel::select! {
            recv(units) -> unit => match unit {
                Ok(unit) => {
                    unit.taken(self);
                    Next::Got(unit)
                }
                Err(_) => Next::End,
            },
            recv(wishes) -> wish => {
                // A supervisor without an owner ends.
                self.wished(wish.unwrap_or(Wish::End));
                Next::Nothing
            }
            default(patience) => Next::Nothing,
        }
    }

    fn wished(&mut self, wish: Wish) {
        match wish {
            // It is running already.
            Wish::Retry => {}
            Wish::Split => {
                self.split = true;
                self.request_key_frame();
            }
            Wish::Stop(_) | Wish::End => {
                self.unsubscribe();
                self.ended_by = Some(wish);
            }
        }
    }

    /// Whether this life is to end; what was fed before may still be sent.
    pub fn ending(&self) -> bool {
        self.ended_by.is_some()
    }

    /// Whether the feed was cut off because more waited than may.
    pub fn was_cut_off(&self) -> bool {
        self.feed.as_ref().is_some_and(|load| load.refused.get() > 0)
    }

    fn unsubscribe(&self) {
        if let Some(load) = &self.feed {
            self.fanout.unsubscribe(load);
        }
        if let Some(load) = &self.raw {
            self.tap.unsubscribe(load);
        }
    }

    /// It works: what is fed arrives. `remark` says more ("2 receivers").
    pub fn is_live(&mut self, remark: Option<&str>) {
        if !std::mem::replace(&mut self.live, true) && self.was_live {
            self.info.reconnects.add(1);
        }
        self.was_live = true;
        self.set_state(OutputState::Live, remark);
    }

    /// It waits for the other side; `reason` says for what.
    pub fn is_waiting(&self, reason: Option<&str>) {
        let state = if self.was_live { OutputState::Reconnecting } else { OutputState::Starting };
        self.set_state(state, reason);
    }

    fn set_state(&self, state: OutputState, reason: Option<&str>) {
        let reason = reason.map(str::to_owned);
        self.info.set(Now { state, since: self.clock.now(), reason, retry_at: None });
    }

    /// What waits to be sent.
    pub fn set_waiting(&self, media: Duration) {
        self.info.queue_ms.set(media.as_millis() as u64);
    }

    /// Whether the way out is too narrow for the bitrate at present.
    pub fn set_congested(&self, congested: bool) {
        self.info.set_congested(congested);
    }
}

impl Drop for Life<'_> {
    fn drop(&mut self) {
        self.unsubscribe();
        self.info.set_feed(None);
    }
}

/// An output that encodes and counts, and sends nowhere.
pub struct Null;

impl Kind for Null {
    fn live(&mut self, life: &mut Life<'_>) -> Ending {
        let units = life.encoded(super::QUEUE_BYTES);
        life.request_key_frame();
        let mut began = false;
        loop {
            match life.next(&units, Duration::from_secs(1)) {
                Next::Got(unit) if began || unit.is_key() => {
                    if !began {
                        began = true;
                        life.is_live(None);
                    }
                    life.info.sent(&unit);
                }
                Next::Got(_) | Next::Nothing => {}
                Next::End => return Ending::Finished,
            }
        }
    }
}
