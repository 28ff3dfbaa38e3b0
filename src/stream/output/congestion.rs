//! Whether the way out of a connection is too narrow for the bitrate.
//!
//! Holds: the opinion does not flutter, so that the bitrate can be fitted to it.

use std::time::Duration;

use super::gop_queue::GopQueue;
use super::kind::Life;
use crate::stream::fanout::Unit;

/// What was dropped this lately means that the way is too narrow.
const CONGESTED_FOR: Duration = Duration::from_secs(10);
/// Without a wait for this long there is room for more.
const FREE_AFTER: Duration = Duration::from_secs(20);

/// What has been dropped lately, and what has waited.
pub struct Congestion {
    /// When something was dropped last.
    dropped: Option<Duration>,
    /// Since when hardly anything has waited.
    free_since: Duration,
    so: bool,
}

impl Congestion {
    /// What waits on a way that is wide enough is less than this.
    const HARDLY: Duration = Duration::from_millis(250);

    pub fn new(now: Duration) -> Self {
        Congestion { dropped: None, free_since: now, so: false }
    }

    /// Puts a unit into a connection's queue, and counts what had to make room.
    pub fn queue(&mut self, unit: Unit, queue: &mut GopQueue, life: &Life<'_>) {
        let dropped = queue.push(unit);
        life.info.dropped_frames.add(dropped.pictures);
        if dropped.groups == 0 {
            return;
        }
        life.info.dropped_groups.add(dropped.groups);
        self.dropped(life.clock.now());
        if !queue.has_next() {
            // Nothing is sent before there is one, not even sound.
            life.request_key_frame();
        }
    }

    /// Something did not get through.
    pub fn dropped(&mut self, now: Duration) {
        self.dropped = Some(now);
    }

    /// Whether it is so. `waiting`: media that waits to be sent.
    pub fn is_so(&mut self, waiting: Duration, now: Duration) -> bool {
        let lately = self.dropped.is_some_and(|at| now <= at + CONGESTED_FOR);
        if waiting > Self::HARDLY || lately {
            self.free_since = now;
        }
        self.so = lately || (self.so && now < self.free_since + FREE_AFTER);
        self.so
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn congestion_lasts_until_nothing_has_waited_for_a_while() {
        let at = Duration::from_secs;
        let mut congestion = Congestion::new(at(0));
        assert!(!congestion.is_so(at(2), at(1)));
        congestion.dropped(at(5));
        assert!(congestion.is_so(at(3), at(6)));
        assert!(congestion.is_so(at(1), at(16)));
        assert!(congestion.is_so(at(0), at(35)));
        assert!(!congestion.is_so(at(0), at(36)));
    }
}
