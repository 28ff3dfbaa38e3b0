//! Steering, as far as the generating half is concerned: what the next cycle is made by, and when
//! the plan is to be changed.
//!
//! Holds: changes are waited for until the performer pauses, so that a fader on its way does not
//! begin a plan at each step. While a replacement is in the making no further one is begun: what
//! changes meanwhile follows behind it. A replan that fails leaves the show as it was.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::app::steered::Steered;
use crate::base::clock::Clock;
use crate::config::Config;
use crate::cycle::{Course, Guidance, Wishes};
use crate::generate::LookAhead;
use crate::param::{Applies, Board, ParamId};
use crate::prepare::Preparer;
use crate::ring::{Runway, TailCut};
use crate::worqspace::PromptBundle;

/// How often changes are looked for.
const LOOK: Duration = Duration::from_millis(20);
/// A pause that ends a change, and how long one may go on.
const PAUSE: Duration = Duration::from_millis(150);
const LONGEST_CHANGE: Duration = Duration::from_millis(600);
/// How long the playout may take to say where it can be cut; many times what it takes.
const CUT_PATIENCE: Duration = Duration::from_millis(500);
/// Of the time that a cycle takes, what is kept ready; and what preparing takes besides.
const MARGIN: f64 = 1.2;
const PREPARING_S: f64 = 0.25;
/// Runway that is kept at least, and before any cycle was measured.
const LEAST_KEEP_S: f64 = 0.6;
const FIRST_KEEP_S: f64 = 2.0;

pub struct Steer {
    board: Arc<Board>,
    pub steered: Arc<Steered>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    course: Course,
    /// What the last cycle was ordered by.
    wishes: Wishes,
    /// Up to which change that was looked at.
    seen: u64,
    /// A change that may go on: since when, and when it was last added to.
    changing: Option<(Duration, Duration)>,
    /// Of the present plan.
    revision: u64,
    /// The replacement of this plan was not handed over yet.
    replacing: bool,
}

/// What a cycle is ordered by. To be kept when it was made.
pub struct Ordered {
    pub guidance: Guidance,
    course: Course,
}

impl Steer {
    pub fn new(board: Arc<Board>, steered: Arc<Steered>, clock: Arc<dyn Clock>) -> Self {
        let state = State { wishes: Wishes::read(&board).effective(), ..State::default() };
        Steer { board, steered, clock, state: Mutex::new(state) }
    }

    /// What `cycle` is to be made by.
    pub fn order(&self, brief: (&PromptBundle, &Config), base_seed: i64, cycle: u32) -> Ordered {
        let generation = self.board.generation();
        let wishes = Wishes::read(&self.board);
        let mut state = self.state();
        let mut course = state.course.clone();
        let guidance = course.steer(&wishes, brief, base_seed, cycle);
        state.wishes = wishes.effective();
        self.steered.ordered(cycle, generation);
        Ordered { guidance, course }
    }

    /// The cycle was made.
    pub fn made(&self, ordered: &Ordered) {
        self.state().course = ordered.course.clone();
    }

    /// Returns when the plan is to be changed.
    pub async fn changed(&self) {
        while !self.look() {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Whether a change is over that makes a difference.
    fn look(&self) -> bool {
        let now = self.clock.now();
        let mut state = self.state();
        if self.board.generation() != state.seen {
            let (generation, seen) = self.board.changed_since(state.seen);
            state.seen = generation;
            let forced = seen.iter().any(|seen| seen.param.id == ParamId::Regenerate);
            let of_cycles = seen.iter().any(|seen| seen.param.applies == Applies::Cycle);
            let differs = of_cycles && Wishes::read(&self.board).effective() != state.wishes;
            if forced || differs {
                let since = state.changing.map_or(now, |(since, _)| since);
                state.changing = Some((since, now));
            } else if of_cycles && state.changing.is_none() {
                self.steered.forget(generation);
            }
        }
        let over = state
            .changing
            .is_some_and(|(since, last)| now >= last + PAUSE || now >= since + LONGEST_CHANGE);
        over && !state.replacing
    }

    /// Begins a new plan, and asks where the timeline can be cut for it. `None`: it says nothing, and
    /// the plan stays.
    pub async fn replan(
        &self,
        look_ahead: &LookAhead,
        preparer: &Preparer,
        runway: &Runway,
    ) -> Option<TailCut> {
        let expected = look_ahead.expected().map(|expected| expected.as_secs_f64());
        let keep_s = expected.map_or(FIRST_KEEP_S, |s| (s + PREPARING_S) * MARGIN);
        let keep_s = keep_s.max(LEAST_KEEP_S).min(runway.seconds().max(LEAST_KEEP_S));
        let revision = {
            let mut state = self.state();
            state.changing = None;
            state.revision += 1;
            state.revision
        };
        let answer = preparer.replan(revision, keep_s);
        let give_up = self.clock.now() + CUT_PATIENCE;
        loop {
            if let Ok(cut) = answer.try_recv() {
                let mut state = self.state();
                state.replacing = true;
                self.steered.due(self.clock.now() + Duration::from_secs_f64(cut.due_s.max(0.0)));
                tracing::debug!("replanned: cut in {:.2} s, kept {keep_s:.2} s", cut.due_s);
                return Some(cut);
            }
            if self.clock.now() >= give_up {
                tracing::warn!("the playout did not say where it can be cut");
                return None;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Whether a replacement is to be made now, whatever is ready.
    pub fn is_replacing(&self) -> bool {
        self.state().replacing
    }

    /// A clip is handed over: the plan that it belongs to, and whether it replaces earlier ones.
    pub fn hand_over(&self) -> (u64, bool) {
        let mut state = self.state();
        (state.revision, std::mem::take(&mut state.replacing))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
