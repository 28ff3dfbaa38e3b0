//! Whether the other side still takes data.

use std::time::Duration;

/// How long nothing has moved although something waits.
#[derive(Default)]
pub struct Progress {
    most: u64,
    since: Option<Duration>,
}

impl Progress {
    /// `taken`: bytes that the other side has, as far as is known. Returns for how long it has
    /// taken none of what waits.
    pub fn stalled(&mut self, taken: u64, waits: bool, now: Duration) -> Duration {
        if taken > self.most || !waits {
            self.most = self.most.max(taken);
            self.since = Some(now);
        }
        now.saturating_sub(*self.since.get_or_insert(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_waits_and_does_not_move_is_stalled() {
        let at = Duration::from_secs;
        let mut progress = Progress::default();
        assert_eq!(progress.stalled(0, true, at(10)), at(0));
        assert_eq!(progress.stalled(500, true, at(11)), at(0));
        assert_eq!(progress.stalled(500, true, at(13)), at(2));
        // TLS overhead: what is taken may seem to shrink.
        assert_eq!(progress.stalled(490, true, at(14)), at(3));
        assert_eq!(progress.stalled(490, false, at(15)), at(0));
        assert_eq!(progress.stalled(501, true, at(16)), at(0));
    }
}
