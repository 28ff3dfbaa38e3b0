//! Which cycle was made from which changes, and since when it is on air: the second receipt of changes
//! that apply to cycles.
//!
//! Holds: the last `KEPT` cycles are remembered, in the order in which they were begun.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const KEPT: usize = 256;

#[derive(Default)]
pub struct Plans(Mutex<VecDeque<Plan>>);

struct Plan {
    cycle: u32,
    generation: u64,
    /// When it was first on air.
    aired: Option<Duration>,
}

impl Plans {
    /// Cycle `cycle` is made from what stood on the board at `generation`. One that is planned anew
    /// counts as the later plan.
    pub fn planned(&self, cycle: u32, generation: u64) {
        let mut plans = self.lock();
        plans.retain(|plan| plan.cycle != cycle);
        if plans.len() == KEPT {
            plans.pop_front();
        }
        plans.push_back(Plan { cycle, generation, aired: None });
    }

    /// Up to which generation `cycle` is made from the board; `None`: not begun, or too long ago.
    pub fn made_from(&self, cycle: u32) -> Option<u64> {
        self.lock().iter().find(|plan| plan.cycle == cycle).map(|plan| plan.generation)
    }

    /// The same of the cycle that was begun last; 0 before the first.
    pub fn latest(&self) -> u64 {
        self.lock().back().map_or(0, |plan| plan.generation)
    }

    /// Cycle `cycle` went on air `at` that time.
    pub fn aired(&self, cycle: u32, at: Duration) {
        if let Some(plan) = self.lock().iter_mut().find(|plan| plan.cycle == cycle) {
            plan.aired.get_or_insert(at);
        }
    }

    /// The first cycle on air that was made from what stood at `generation` or later, and since
    /// when; `None`: not yet, or too long ago.
    pub fn on_air_with(&self, generation: u64) -> Option<(u32, Duration)> {
        let plans = self.lock();
        let made = plans.iter().filter(|plan| plan.generation >= generation);
        made.filter_map(|plan| Some((plan.cycle, plan.aired?))).min_by_key(|(_, at)| *at)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Plan>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_cycle_with_a_change_is_told_once_it_is_on_air() {
        let plans = Plans::default();
        let s = Duration::from_secs;
        plans.planned(4, 10);
        plans.planned(5, 12);
        plans.planned(6, 12);
        plans.aired(4, s(1));
        assert_eq!(plans.on_air_with(10), Some((4, s(1))));
        assert_eq!(plans.on_air_with(11), None);
        plans.aired(5, s(2));
        plans.aired(6, s(3));
        plans.aired(5, s(4));
        assert_eq!(plans.on_air_with(11), Some((5, s(2))));
        // One that was made again before it aired has what was changed until then.
        plans.planned(7, 12);
        plans.planned(7, 20);
        plans.aired(7, s(5));
        assert_eq!(plans.on_air_with(20), Some((7, s(5))));
        assert_eq!(plans.on_air_with(21), None);
        (0..10_000).for_each(|cycle| plans.planned(cycle, 30));
        assert_eq!(plans.lock().len(), KEPT);
    }
}
