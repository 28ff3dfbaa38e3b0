//! The only module that reads a wall clock. Everything else is handed a [`Clock`], so tests turn
//! the time by hand. (The pipeline has GStreamer's clock, in `stream`.)

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

pub trait Clock: Send + Sync {
    /// Time since some fixed moment; never goes back.
    fn now(&self) -> Duration;
    /// Date and time, for what people read.
    fn wall(&self) -> SystemTime;
}

pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// Starts at zero now.
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn new() -> Self {
        SystemClock { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// A clock that stands still until it is turned.
#[derive(Default)]
pub struct ManualClock {
    now_ns: AtomicU64,
}

impl ManualClock {
    pub fn advance(&self, by: Duration) {
        self.now_ns.fetch_add(by.as_nanos() as u64, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Duration {
        Duration::from_nanos(self.now_ns.load(Ordering::SeqCst))
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.now()
    }
}

/// The time of the asynchronous runtime, which tests can pause.
#[cfg(test)]
pub struct RuntimeClock {
    start: tokio::time::Instant,
}

#[cfg(test)]
impl RuntimeClock {
    #[expect(clippy::new_without_default, reason = "it starts now, which is no default")]
    pub fn new() -> Self {
        RuntimeClock { start: tokio::time::Instant::now() }
    }
}

#[cfg(test)]
impl Clock for RuntimeClock {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.now()
    }
}

/// `2026-11-22T20:15:00.123Z`, for state files and the journal.
pub fn iso8601(at: SystemTime) -> String {
    let format = time::macros::format_description!(
        "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"
    );
    time::OffsetDateTime::from(at).format(&format).unwrap_or_default()
}

/// Date and time now, for log lines, which no test turns.
#[expect(clippy::disallowed_methods, reason = "this is the module that reads the clock")]
pub fn wall_now() -> SystemTime {
    SystemTime::now()
}
