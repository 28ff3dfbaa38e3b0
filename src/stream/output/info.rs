//! What an output says of itself: raised by its own thread, read by everybody.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::base::redact;
use crate::base::telemetry::{Counter, Gauge, OutputState};
use crate::stream::fanout::{Fanout, QueueLoad, Unit, UnitKind};
use crate::stream::lock;

#[derive(Default)]
pub struct OutputInfo {
    /// Pictures and bytes that were handed on.
    pub frames: Counter,
    pub bytes: Counter,
    /// Groups of pictures that did not fit through, and the pictures in them.
    pub dropped_groups: Counter,
    pub dropped_frames: Counter,
    /// Times that a connection was made again.
    pub reconnects: Counter,
    /// Media that waits to be sent.
    pub queue_ms: Gauge,
    /// The feed of the present life.
    feed: Mutex<Option<Arc<QueueLoad>>>,
    /// The encode that the present life sends.
    fanout: Mutex<Option<Arc<Fanout>>>,
    congested: AtomicBool,
    now: Mutex<Now>,
    parts: Mutex<Vec<(PathBuf, u64)>>,
}

/// The state, and what belongs to it.
#[derive(Clone, Debug, Default)]
pub struct Now {
    pub state: OutputState,
    /// Show clock at which it became so.
    pub since: Duration,
    /// Why, in plain words and without secrets.
    pub reason: Option<String>,
    /// When it is tried again.
    pub retry_at: Option<Duration>,
}

impl OutputInfo {
    pub fn now(&self) -> Now {
        lock(&self.now).clone()
    }

    pub fn state(&self) -> OutputState {
        lock(&self.now).state
    }

    /// Why it is not live, if it should be.
    pub fn error(&self) -> Option<String> {
        let now = lock(&self.now);
        let failed = matches!(now.state, OutputState::Failed | OutputState::Unavailable);
        now.reason.clone().filter(|_| failed)
    }

    /// The files written so far, in order.
    pub fn parts(&self) -> Vec<PathBuf> {
        lock(&self.parts).iter().map(|(path, _)| path.clone()).collect()
    }

    /// The files written so far, and the show time at which each begins.
    pub fn part_starts(&self) -> Vec<(PathBuf, u64)> {
        lock(&self.parts).clone()
    }

    /// Bytes that wait for this output's thread.
    pub fn queue_bytes(&self) -> u64 {
        lock(&self.feed).as_ref().map_or(0, |feed| feed.bytes.get())
    }

    pub(super) fn set_feed(&self, feed: Option<Arc<QueueLoad>>) {
        *lock(&self.feed) = feed;
    }

    /// Whether the present life sends this encode.
    pub fn sends(&self, fanout: &Arc<Fanout>) -> bool {
        lock(&self.fanout).as_ref().is_some_and(|present| Arc::ptr_eq(present, fanout))
    }

    pub(super) fn set_fanout(&self, fanout: Option<Arc<Fanout>>) {
        *lock(&self.fanout) = fanout;
    }

    pub fn is_congested(&self) -> bool {
        self.congested.load(Ordering::Relaxed)
    }

    pub(super) fn set_congested(&self, congested: bool) {
        self.congested.store(congested, Ordering::Relaxed);
    }

    pub(super) fn begin_part(&self, path: PathBuf, start_ns: u64) {
        lock(&self.parts).push((path, start_ns));
    }

    /// `since` is kept while the state stays.
    pub(super) fn set(&self, new: Now) {
        let mut now = lock(&self.now);
        let since = if new.state == now.state { now.since } else { new.since };
        // Whatever a server, a library or a system call said.
        let reason = new.reason.map(|reason| redact::hide(&reason).into_owned());
        *now = Now { since, reason, ..new };
    }

    pub(super) fn sent(&self, unit: &Unit) {
        if matches!(unit.kind, UnitKind::Video { .. }) {
            self.frames.add(1);
        }
        self.bytes.add(unit.buffer.size() as u64);
    }
}
