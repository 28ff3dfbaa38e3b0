//! From prompt to picture: which changes wait for a cycle, which cycle is made with them, and when
//! that is on air; for the second receipts, the status and the summary.
//!
//! Holds: a change arrives with the first cycle on air that was ordered after it was made; each
//! arrives once. Which cycle is made from which changes stands in the board's plans alone. A change that makes no difference waits for nothing.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::base::telemetry::{PromptArrived, PromptSteering, PromptWaiting};
use crate::param::{Accepted, Applies, ParamId, Plans};

/// Changes that wait, and arrivals that are told of; the oldest give way.
const WAITING: usize = 256;
const ARRIVED: usize = 100;
/// Arrivals that percentiles are made of.
const MEASURED: usize = 4096;

pub struct Steered {
    plans: Arc<Plans>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    arrived: VecDeque<PromptArrived>,
    /// What those took that arrived lately, for percentiles; and how many there were.
    seconds: VecDeque<f64>,
    count: u64,
    /// Changes of the plan.
    revision: u64,
    /// When the replacement in the making is due.
    due: Option<Duration>,
}

struct Waiting {
    generation: u64,
    address: &'static str,
    received: Duration,
}

/// A change that is on air.
pub struct Arrival {
    pub generation: u64,
    pub cycle: u32,
    /// The first one with it.
    pub frame: u64,
    /// From when it came.
    pub took: Duration,
}

impl Steered {
    pub fn new(plans: Arc<Plans>) -> Self {
        Steered { plans, state: Mutex::default() }
    }

    /// A change was accepted.
    pub fn accepted(&self, accepted: &Accepted) {
        let param = accepted.param;
        if param.applies != Applies::Cycle || param.id == ParamId::Travel {
            return;
        }
        let mut state = self.state();
        // A fader that is moved is one change, the latest.
        state.waiting.retain(|waiting| waiting.address != param.address);
        if state.waiting.len() == WAITING {
            state.waiting.pop_front();
        }
        state.waiting.push_back(Waiting {
            generation: accepted.generation,
            address: param.address,
            received: accepted.from.received,
        });
    }

    /// Changes up to this one make no difference.
    pub fn forget(&self, generation: u64) {
        let mut state = self.state();
        // What a cycle was ordered with is on its way.
        let ordered = self.plans.latest();
        state.waiting.retain(|w| w.generation > generation || w.generation <= ordered);
    }

    /// The plan was changed; the replacement is due at this time of the show's clock.
    pub fn replanned(&self, revision: u64, due: Duration) {
        let mut state = self.state();
        (state.revision, state.due) = (revision, Some(due));
    }

    /// Whether a change waits that no cycle was ordered with.
    pub fn is_planned(&self) -> bool {
        let ordered = self.plans.latest();
        self.state().waiting.back().is_some_and(|waiting| waiting.generation > ordered)
    }

    /// A cycle is on air from `frame` on. Tells what arrived with it.
    pub fn on_air(&self, cycle: u32, frame: u64, now: Duration) -> Vec<Arrival> {
        self.plans.aired(cycle, now);
        let Some(generation) = self.plans.made_from(cycle) else { return Vec::new() };
        let mut state = self.state();
        let mut arrivals = Vec::new();
        while let Some(waiting) = state.waiting.pop_front_if(|w| w.generation <= generation) {
            let took = now.saturating_sub(waiting.received);
            if state.arrived.len() == ARRIVED {
                state.arrived.pop_front();
            }
            let seconds = took.as_secs_f64();
            state.arrived.push_back(PromptArrived {
                address: waiting.address,
                cycle,
                frame,
                seconds,
            });
            if state.seconds.len() == MEASURED {
                state.seconds.pop_front();
            }
            state.seconds.push_back(seconds);
            state.count += 1;
            arrivals.push(Arrival { generation: waiting.generation, cycle, frame, took });
        }
        if !arrivals.is_empty() {
            state.due = None;
        }
        arrivals
    }

    pub fn status(&self, now: Duration) -> PromptSteering {
        let state = self.state();
        let mut sorted: Vec<f64> = state.seconds.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |quantile: f64| {
            let rank = (sorted.len() as f64 * quantile).ceil() as usize;
            sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
        };
        let due_s = state.due.map(|due| due.saturating_sub(now).as_secs_f64());
        let waiting = state.waiting.iter().map(|waiting| PromptWaiting {
            address: waiting.address,
            since_s: now.saturating_sub(waiting.received).as_secs_f64(),
            due_s,
        });
        PromptSteering {
            count: state.count,
            revision: state.revision,
            due_s,
            p50_s: at(0.5),
            p95_s: at(0.95),
            max_s: at(1.0),
            waiting: waiting.collect(),
            arrived: state.arrived.iter().cloned().collect(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::param::{self, Change, From, Values};

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_change_arrives_with_the_first_cycle_that_was_ordered_after_it() {
        let (board, _reader) = param::board(Values::default(), &[]);
        let steered = Arc::new(Steered::new(board.plans.clone()));
        let told = steered.clone();
        board.listen(move |accepted| told.accepted(accepted));
        let set = |change: Change, ms: u64| {
            board.apply(&change, &From { source: "http".into(), received: at(ms) }).unwrap()
        };
        let first = set(Change::set(ParamId::PromptText, "moss"), 1000);
        board.plans.planned(5, board.generation());
        let second = set(Change::set(ParamId::PromptAppend, "rain"), 1500);
        set(Change::set(ParamId::Zoom, 2.0), 1600);
        board.plans.planned(6, board.generation());
        assert!(steered.on_air(4, 10, at(2000)).is_empty());
        let arrivals = steered.on_air(5, 20, at(3000));
        assert_eq!(arrivals.len(), 1);
        assert_eq!(arrivals[0].generation, first.generation);
        assert_eq!((arrivals[0].cycle, arrivals[0].took), (5, at(2000)));
        assert_eq!(board.plans.on_air_with(first.generation), Some((5, at(3000))));
        assert_eq!(board.plans.on_air_with(second.generation), None);
        assert_eq!(steered.status(at(3000)).waiting[0].address, "/prompt/append");
        assert_eq!(steered.on_air(6, 30, at(4000)).len(), 1);
        assert!(steered.on_air(6, 40, at(5000)).is_empty(), "once");
        let status = steered.status(at(5000));
        assert_eq!((status.count, status.p50_s, status.max_s), (2, 2.0, 2.5));
        assert!(status.waiting.is_empty());
    }
}
