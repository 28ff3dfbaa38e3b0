//! Where a run is, in numbers.

use std::collections::VecDeque;
use std::time::Duration;

use super::Goal;
use crate::base::telemetry::Generating;

/// Cycles that the time of one is averaged over: a server may become slower, or quicker.
const AVERAGED: usize = 20;

#[derive(Clone, Debug, Default)]
pub struct Progress {
    pub goal: Goal,
    /// Cycles of the session that are done, failed ones counted.
    pub done: u32,
    /// Content of the session, in seconds.
    pub seconds: f64,
    /// Made by this run.
    pub made: u32,
    pub failed: u32,
    /// What is in the making.
    pub generating: Option<Generating>,
    /// What a cycle took lately, delay included.
    pub per_cycle: Option<Duration>,
    /// Until there is enough.
    pub left: Option<Duration>,
}

impl Progress {
    /// How much of the goal is reached, 0 to 1.
    pub fn share(&self) -> Option<f64> {
        let by_count =
            self.goal.cycles.map(|cycles| f64::from(self.done) / f64::from(cycles.max(1)));
        let by_time = self.goal.seconds.map(|wanted| self.seconds / wanted.max(1e-9));
        match (by_count, by_time) {
            (None, None) => None,
            (a, b) => Some(a.unwrap_or(0.0).max(b.unwrap_or(0.0)).min(1.0)),
        }
    }
}

/// Times of the last cycles.
#[derive(Default)]
pub struct Pace {
    /// Time and content of each.
    last: VecDeque<(Duration, f64)>,
}

impl Pace {
    pub fn made(&mut self, took: Duration, seconds: f64) {
        if self.last.len() == AVERAGED {
            self.last.pop_front();
        }
        self.last.push_back((took, seconds));
    }

    pub fn per_cycle(&self) -> Option<Duration> {
        let all: Duration = self.last.iter().map(|(took, _)| *took).sum();
        all.checked_div(self.last.len() as u32)
    }

    /// Content of a cycle, in seconds; `None` before the first.
    pub fn seconds_each(&self) -> Option<f64> {
        let all: f64 = self.last.iter().map(|(_, seconds)| seconds).sum();
        (!self.last.is_empty()).then(|| all / self.last.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_follows_the_last_cycles() {
        let mut pace = Pace::default();
        assert_eq!((pace.per_cycle(), pace.seconds_each()), (None, None));
        pace.made(Duration::from_secs(100), 8.0);
        for _ in 0..AVERAGED {
            pace.made(Duration::from_secs(10), 3.0);
        }
        assert_eq!(pace.per_cycle(), Some(Duration::from_secs(10)));
        assert_eq!(pace.seconds_each(), Some(3.0));
    }

    #[test]
    fn the_share_is_of_what_comes_first() {
        let goal = Goal { cycles: Some(10), seconds: Some(100.0) };
        let progress = Progress { goal, done: 2, seconds: 50.0, ..Default::default() };
        assert_eq!(progress.share(), Some(0.5));
        assert_eq!(Progress::default().share(), None);
    }
}
