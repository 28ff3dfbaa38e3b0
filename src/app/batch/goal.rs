//! When there is enough.

use crate::base::error::{Error, Result};
use crate::config::CycleConfig;

/// More than a year, and less than any number of seconds that cannot be told.
const MOST_HOURS: f64 = 10_000.0;

/// What is reached first ends a run; neither: only a signal does.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Goal {
    /// Cycles that the project's session has by then, failed ones counted.
    pub cycles: Option<u32>,
    /// Content, in seconds.
    pub seconds: Option<f64>,
}

impl Goal {
    /// The command line wins over the settings as a whole; in the settings a number of cycles wins
    /// over hours.
    ///
    /// # Errors
    /// Hours that are no time.
    pub fn of(cycles: Option<u32>, hours: Option<f64>, settings: &CycleConfig) -> Result<Goal> {
        if let Some(hours) = hours
            && !(hours > 0.0 && hours <= MOST_HOURS)
        {
            return Err(Error::usage(format!(
                "--hours {hours}: give more than 0 and at most {MOST_HOURS}, such as 0.5 or 2; without it, -c or the settings \
                 (cycle.max_cycles, cycle.target_duration_hours) say when there is enough"
            )));
        }
        let seconds = |hours: f64| hours * 3600.0;
        // The predecessor's -c 0: as in the settings.
        let cycles = cycles.filter(|cycles| *cycles > 0);
        if cycles.is_some() || hours.is_some() {
            return Ok(Goal { cycles, seconds: hours.map(seconds) });
        }
        let of_settings = Some(settings.target_duration_hours).filter(|hours| *hours > 0.0);
        Ok(match settings.max_cycles {
            0 => Goal { cycles: None, seconds: of_settings.map(seconds) },
            cycles => Goal { cycles: Some(cycles), seconds: None },
        })
    }

    /// `done`: cycles of the session; `seconds`: its content.
    pub fn is_reached(&self, done: u32, seconds: f64) -> bool {
        // A rounding error is no reason for one more cycle.
        self.cycles.is_some_and(|cycles| done >= cycles)
            || self.seconds.is_some_and(|wanted| seconds >= wanted - 1e-3)
    }

    /// How many more cycles of `each_s` seconds it takes.
    pub fn cycles_left(&self, done: u32, seconds: f64, each_s: f64) -> Option<u32> {
        let by_count = self.cycles.map(|cycles| cycles.saturating_sub(done));
        let by_time = self
            .seconds
            .filter(|_| each_s > 0.0)
            .map(|wanted| ((wanted - seconds).max(0.0) / each_s).ceil() as u32);
        match (by_count, by_time) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn settings(max_cycles: u32, target_duration_hours: f64) -> CycleConfig {
        CycleConfig {
            max_cycles,
            target_duration_hours,
            delay: Duration::ZERO,
            auto_save_interval: 0,
            max_retries: 0,
            continue_on_error: true,
        }
    }

    #[test]
    fn the_command_line_wins_and_then_cycles_over_hours() {
        let goal = |cycles, hours, most, target| Goal::of(cycles, hours, &settings(most, target));
        let is = |cycles, seconds| Goal { cycles, seconds };
        assert_eq!(goal(Some(5), None, 9, 2.0).unwrap(), is(Some(5), None));
        assert_eq!(goal(None, Some(1.0), 9, 2.0).unwrap(), is(None, Some(3600.0)));
        assert_eq!(goal(Some(5), Some(1.0), 9, 2.0).unwrap(), is(Some(5), Some(3600.0)));
        assert_eq!(goal(Some(0), None, 9, 2.0).unwrap(), is(Some(9), None));
        assert_eq!(goal(None, None, 0, 2.0).unwrap(), is(None, Some(7200.0)));
        assert_eq!(goal(None, None, 0, 0.0).unwrap(), is(None, None));
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(goal(None, Some(bad), 0, 2.0).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_left_is_counted_by_what_comes_first() {
        let goal = Goal { cycles: Some(10), seconds: Some(24.0) };
        assert_eq!(goal.cycles_left(2, 6.0, 3.0), Some(6));
        assert_eq!(goal.cycles_left(8, 6.0, 3.0), Some(2));
        assert!(!goal.is_reached(9, 23.9) && goal.is_reached(10, 0.0) && goal.is_reached(3, 24.0));
        assert_eq!(Goal::default().cycles_left(2, 6.0, 3.0), None);
        assert!(!Goal::default().is_reached(u32::MAX, 1e12));
    }
}
