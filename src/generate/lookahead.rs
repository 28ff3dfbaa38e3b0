//! The look-ahead scheduler's decisions: when the next cycle is begun.
//!
//! Holds: it is a function of what it was told and of the time it is given, so tests turn the
//! clock. It asks for a cycle whenever less than the target lies ahead, one at a time (each grows
//! out of the one before), and backs off while cycles fail.

use std::collections::VecDeque;
use std::time::Duration;

/// Cycles over which the time of a cycle is measured.
const MEASURED: usize = 8;
/// First and longest pause after failed cycles.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
pub struct LookAhead {
    target_s: f64,
    /// What the last cycles took.
    took: VecDeque<Duration>,
    failures_in_a_row: u32,
    not_before: Duration,
}

impl LookAhead {
    /// `target_s`: seconds of timeline to keep ready ahead of the picture.
    pub fn new(target_s: f64) -> Self {
        LookAhead {
            target_s,
            took: VecDeque::with_capacity(MEASURED),
            failures_in_a_row: 0,
            not_before: Duration::ZERO,
        }
    }

    /// Whether the next cycle is to be begun at `now`, `ahead_s` seconds being ready or made.
    pub fn should_start(&self, now: Duration, ahead_s: f64) -> bool {
        self.may_start(now) && ahead_s < self.target_s
    }

    /// Whether nothing keeps a cycle from being begun: none has failed just now.
    pub fn may_start(&self, now: Duration) -> bool {
        now >= self.not_before
    }

    /// A cycle was made.
    pub fn made(&mut self, took: Duration) {
        if self.took.len() == MEASURED {
            self.took.pop_front();
        }
        self.took.push_back(took);
        self.failures_in_a_row = 0;
    }

    /// A cycle failed for good at `now`. Returns the pause before the next one.
    pub fn failed(&mut self, now: Duration) -> Duration {
        let doubled = FIRST_PAUSE.saturating_mul(1 << self.failures_in_a_row.min(10));
        let pause = doubled.min(LONGEST_PAUSE);
        self.failures_in_a_row += 1;
        self.not_before = now + pause;
        pause
    }

    /// The mean of what the last cycles took; `None` before the first.
    pub fn expected(&self) -> Option<Duration> {
        let count = u32::try_from(self.took.len()).ok().filter(|n| *n > 0)?;
        Some(self.took.iter().sum::<Duration>() / count)
    }

    /// The longest that one of the last cycles took.
    pub fn longest(&self) -> Option<Duration> {
        self.took.iter().max().copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::clock::{Clock, ManualClock};

    const STEP: Duration = Duration::from_millis(100);

    /// Runs a generator that takes `cycle_s` for clips of `clip_s` against a picture that uses
    /// them up; returns the lowest and highest runway after the first target was reached.
    fn run(target_s: f64, cycle_s: f64, clip_s: f64, show_s: f64) -> (f64, f64) {
        let clock = ManualClock::default();
        let mut look_ahead = LookAhead::new(target_s);
        let mut ahead = 0.0f64;
        let mut busy: Option<Duration> = None;
        let (mut low, mut high, mut warm) = (f64::INFINITY, 0.0f64, false);
        while clock.now().as_secs_f64() < show_s {
            clock.advance(STEP);
            if busy.is_some_and(|until| clock.now() >= until) {
                busy = None;
                look_ahead.made(Duration::from_secs_f64(cycle_s));
                ahead += clip_s;
            }
            if busy.is_none() && look_ahead.should_start(clock.now(), ahead) {
                busy = Some(clock.now() + Duration::from_secs_f64(cycle_s));
            }
            ahead = (ahead - STEP.as_secs_f64()).max(0.0);
            warm |= ahead >= target_s - 0.2;
            if warm {
                low = low.min(ahead);
            }
            high = high.max(ahead);
        }
        (low, high)
    }

    proptest! {
        /// A generator faster than the picture fills the ring and keeps it full, within one
        /// cycle's time; it never makes more than a clip too much.
        #[test]
        fn a_fast_generator_keeps_the_runway(
            target in 8.0f64..40.0, clip in 2.0f64..6.0, share in 0.1f64..0.8,
        ) {
            let cycle = clip * share;
            let (low, high) = run(target, cycle, clip, 300.0);
            prop_assert!(low >= target - cycle - 0.5, "low {low} of {target}");
            prop_assert!(high <= target + clip + 0.5, "high {high} of {target}");
        }
    }

    #[test]
    fn failures_back_off_and_success_forgives() {
        let mut look_ahead = LookAhead::new(10.0);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            pauses.push(look_ahead.failed(Duration::from_secs(100)).as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert!(!look_ahead.should_start(Duration::from_secs(101), 0.0));
        assert!(look_ahead.should_start(Duration::from_secs(130), 0.0));
        look_ahead.made(Duration::from_secs(3));
        assert_eq!(look_ahead.failed(Duration::ZERO), FIRST_PAUSE);
        assert_eq!(look_ahead.expected(), Some(Duration::from_secs(3)));
    }
}
