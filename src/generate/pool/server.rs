//! What a pool knows of one of its servers: how quick it is, and whether it can be used.
//!
//! Holds: a server that fails a job is not given another one before it has answered a check. Checks
//! back off while they fail, and jobs back off while they fail although the checks do not.

use std::time::Duration;

use crate::base::error::Error;
use crate::generate::Health;

/// The kinds of jobs, whose times are kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobKind {
    Image,
    Video,
}

/// How much the newest time counts.
const NEWEST: f64 = 0.3;
/// Times that have to be known before a job can be called late.
const ENOUGH: u32 = 3;

/// What jobs of one kind took on one server.
#[derive(Clone, Copy, Debug, Default)]
pub struct History {
    count: u32,
    /// Exponentially weighted, in seconds; the deviation is a mean absolute one (as in RFC 6298).
    mean_s: f64,
    deviation_s: f64,
}

impl History {
    pub fn add(&mut self, took: Duration) {
        let took = took.as_secs_f64();
        if self.count == 0 {
            self.mean_s = took;
        } else {
            let off = (took - self.mean_s).abs();
            self.deviation_s += NEWEST * (off - self.deviation_s);
            self.mean_s += NEWEST * (took - self.mean_s);
        }
        self.count = self.count.saturating_add(1);
    }

    pub fn mean_s(&self) -> Option<f64> {
        (self.count > 0).then_some(self.mean_s)
    }

    /// After how many seconds a job is late against what its like took before.
    pub fn late_s(&self) -> Option<f64> {
        let spread = (4.0 * self.deviation_s).max(0.5 * self.mean_s);
        (self.count >= ENOUGH).then_some(self.mean_s + spread)
    }
}

const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Failures in a row from which on a check that succeeds is no reason to go on at once.
const MANY: u32 = 3;
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Whether a server may be given jobs (a circuit breaker: Nygard, "Release It!").
#[derive(Debug)]
pub enum Breaker {
    /// It may.
    Closed,
    /// It may not, before a check has succeeded, which is due at `check_at`.
    Open { check_at: Duration, checking: bool, reason: String },
}

#[derive(Debug)]
pub struct Condition {
    pub breaker: Breaker,
    /// Jobs and checks that failed since the last job that succeeded.
    failures: u32,
    /// What the last check that succeeded has found.
    pub health: Option<Health>,
    /// A first check is due, although jobs are given before.
    pub unknown: bool,
}

impl Default for Condition {
    fn default() -> Self {
        Condition { breaker: Breaker::Closed, failures: 0, health: None, unknown: true }
    }
}

impl Condition {
    pub fn is_usable(&self) -> bool {
        matches!(self.breaker, Breaker::Closed)
    }

    pub fn reason(&self) -> Option<&str> {
        match &self.breaker {
            Breaker::Closed => None,
            Breaker::Open { reason, .. } => Some(reason),
        }
    }

    pub fn job_succeeded(&mut self) {
        self.failures = 0;
        self.breaker = Breaker::Closed;
    }

    /// The first failures are followed by a check at once: most often that tells what is wrong.
    pub fn job_failed(&mut self, now: Duration, error: &Error) {
        self.failures = self.failures.saturating_add(1);
        let pause = if self.failures < MANY { Duration::ZERO } else { self.pause() };
        self.breaker =
            Breaker::Open { check_at: now + pause, checking: false, reason: error.to_string() };
    }

    pub fn checked(&mut self, now: Duration, result: Result<Health, Error>) {
        self.unknown = false;
        match result {
            Ok(health) => {
                self.health = Some(health);
                self.breaker = Breaker::Closed;
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                self.breaker = Breaker::Open {
                    check_at: now + self.pause(),
                    checking: false,
                    reason: error.to_string(),
                };
            }
        }
    }

    fn pause(&self) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(10);
        FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE)
    }

    /// Whether a check is to be begun; it is taken as begun then.
    pub fn begin_check(&mut self, now: Duration) -> bool {
        if std::mem::take(&mut self.unknown) {
            return true;
        }
        match &mut self.breaker {
            Breaker::Open { check_at, checking, .. } if !*checking && *check_at <= now => {
                *checking = true;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_job_is_late_against_its_own_history() {
        let mut history = History::default();
        assert_eq!((history.mean_s(), history.late_s()), (None, None));
        for _ in 0..3 {
            history.add(at(20));
        }
        assert_eq!(history.late_s(), Some(30.0));
        // One that varies a lot is given longer.
        for took in [10, 30, 10, 30, 10, 30] {
            history.add(at(took));
        }
        assert!(history.late_s().unwrap() > 40.0, "{history:?}");
    }

    #[test]
    fn a_recovered_server_is_let_back_in_and_a_broken_one_asked_less_and_less() {
        let mut condition = Condition::default();
        assert!(condition.is_usable() && condition.begin_check(at(0)));
        condition.checked(at(0), Ok(Health::default()));
        condition.job_failed(at(10), &Error::unavailable("gone"));
        assert!(!condition.is_usable());
        let mut now = at(10);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let before = now;
            while !condition.begin_check(now) {
                now += Duration::from_millis(500);
            }
            pauses.push((now - before).as_secs());
            assert!(!condition.begin_check(now), "one check at a time");
            condition.checked(now, Err(Error::unavailable("still gone")));
        }
        assert_eq!(pauses, [0, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(condition.reason(), Some("still gone"));
        condition.checked(now, Ok(Health::default()));
        assert!(condition.is_usable());
        condition.job_succeeded();
        // Forgiven: the next failure is checked at once.
        condition.job_failed(now, &Error::unavailable("gone"));
        assert!(condition.begin_check(now));
    }

    #[test]
    fn a_server_that_answers_checks_but_fails_jobs_is_asked_less_and_less() {
        let mut condition = Condition::default();
        condition.checked(at(0), Ok(Health::default()));
        condition.job_failed(at(0), &Error::unavailable("boom"));
        assert!(condition.begin_check(at(0)));
        condition.checked(at(0), Ok(Health::default()));
        condition.job_failed(at(1), &Error::unavailable("boom"));
        assert!(condition.begin_check(at(1)));
        condition.checked(at(1), Ok(Health::default()));
        condition.job_failed(at(2), &Error::unavailable("boom"));
        assert!(!condition.begin_check(at(5)) && condition.begin_check(at(6)));
    }
}
