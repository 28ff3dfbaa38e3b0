//! Steering, as far as the generating half is concerned: what the next cycle is made by, and when
//! the plan is to be changed.
//!
//! Holds: changes are waited for until the performer pauses, so that a fader on its way does not
//! begin a plan at each step. While a replacement is in the making no further one is begun: what
//! changes meanwhile follows behind it. A replan that fails leaves the show as it was. A new plan
//! goes on from where the picture is at the cut, not from what was made behind it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::app::steered::Steered;
use crate::base::clock::Clock;
use crate::config::Config;
use crate::cycle::{Briq, Course, Guidance, Wishes};
use crate::generate::LookAhead;
use crate::param::{Applies, Board, ParamId};
use crate::prepare::Preparer;
use crate::ring::TailCut;
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
/// Cycles to which a plan can go back: more than a ring holds. The oldest give way.
const PAST: usize = 512;

pub struct Steer {
    board: Arc<Board>,
    pub steered: Arc<Steered>,
    clock: Arc<dyn Clock>,
    config: Config,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    course: Course,
    /// Of each cycle that was made: where it left the course, and its briq.
    past: BTreeMap<u32, Past>,
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

#[derive(Clone, Default)]
struct Past {
    course: Course,
    briq: Option<Briq>,
}

/// What a cycle is ordered by. To be kept when it was made.
pub struct Ordered {
    pub guidance: Guidance,
    course: Course,
}

impl Steer {
    pub fn new(
        board: Arc<Board>,
        steered: Arc<Steered>,
        clock: Arc<dyn Clock>,
        config: Config,
    ) -> Self {
        // What the show begins with is no change.
        let seen = board.generation();
        let wishes = Wishes::read(&board, &config).effective();
        let state = State { wishes, seen, ..State::default() };
        Steer { board, steered, clock, config, state: Mutex::new(state) }
    }

    /// What `cycle` is to be made by.
    pub fn order(&self, bundle: &PromptBundle, base_seed: i64, cycle: u32) -> Ordered {
        // First: a change that comes in between is seen as one that was not carried out yet.
        let generation = self.board.generation();
        let wishes = Wishes::read(&self.board, &self.config);
        let mut state = self.state();
        let mut course = state.course.clone();
        let mut guidance = course.steer(&wishes, (bundle, &self.config), base_seed, cycle);
        if let Some(record) = &mut guidance.record {
            record.generation = generation;
        }
        state.wishes = wishes.effective();
        self.board.plans.planned(cycle, generation);
        Ordered { guidance, course }
    }

    /// The cycle was made.
    pub fn made(&self, cycle: u32, ordered: &Ordered, briq: &Briq) {
        let mut state = self.state();
        state.course = ordered.course.clone();
        if state.past.len() == PAST {
            state.past.pop_first();
        }
        let past = Past { course: ordered.course.clone(), briq: Some(briq.clone()) };
        state.past.insert(cycle, past);
    }

    /// The next cycle follows `cycle`, whatever was made since. Its briq, if this session made it.
    pub fn back_to(&self, cycle: u32) -> Option<Briq> {
        let mut state = self.state();
        let past = state.past.get(&cycle).cloned().unwrap_or_default();
        state.course = past.course;
        past.briq
    }

    /// Returns when the plan is to be changed. `may`: whether what is in the making can be given up.
    pub async fn changed(&self, may: impl Fn() -> bool) {
        while !(self.look() && may()) {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// A change that was waited with is carried by the cycle that is begun now.
    pub fn carried(&self) {
        self.state().changing = None;
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
            let differs =
                of_cycles && Wishes::read(&self.board, &self.config).effective() != state.wishes;
            if forced || differs {
                let since = state.changing.map_or(now, |(since, _)| since);
                state.changing = Some((since, now));
            } else if of_cycles && state.changing.is_none() && !state.replacing {
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
    pub async fn replan(&self, look_ahead: &LookAhead, preparer: &Preparer) -> Option<TailCut> {
        let keep_s = keep_s(look_ahead);
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
                self.state().replacing = true;
                let due = self.clock.now() + Duration::from_secs_f64(cut.due_s.max(0.0));
                self.steered.replanned(revision, due);
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

/// How much of what is ready has to stay, so that what replaces the rest is there in time.
pub fn keep_s(look_ahead: &LookAhead) -> f64 {
    // The longest of late, not the mean: on a busy machine they differ.
    let longest = look_ahead.longest().map(|longest| longest.as_secs_f64());
    longest.map_or(FIRST_KEEP_S, |s| (s + PREPARING_S) * MARGIN).max(LEAST_KEEP_S)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::clock::ManualClock;
    use crate::cycle::tests::bundle;
    use crate::param::{self, Change, From, Op, Values, of};

    fn rig() -> (Steer, Arc<Board>, Arc<ManualClock>, param::Reader) {
        let config = crate::config::check(tempfile::tempdir().unwrap().path()).0;
        let mut values = Values::default();
        for (id, value) in crate::cycle::faders(&config) {
            values[id] = value;
        }
        let (board, reader) = param::board(values, &[]);
        let clock = Arc::new(ManualClock::default());
        let steer = Steer::new(
            board.clone(),
            Arc::new(Steered::new(board.plans.clone())),
            clock.clone(),
            config,
        );
        (steer, board, clock, reader)
    }

    fn apply(board: &Board, change: Change) {
        board.apply(&change, &From { source: "test".into(), received: Duration::ZERO }).unwrap();
    }

    #[test]
    fn a_change_is_over_when_the_performer_pauses_or_goes_on_for_too_long() {
        let (steer, board, clock, _reader) = rig();
        let wait = |ms: u64| clock.advance(Duration::from_millis(ms));
        apply(&board, Change::set(ParamId::PromptText, "moss"));
        assert!(!steer.look());
        wait(149);
        assert!(!steer.look());
        wait(1);
        assert!(steer.look());
        let _ = steer.order(&bundle(), 1, 0);
        steer.state().changing = None;
        // A fader that never rests.
        for n in 0..6 {
            apply(&board, Change::set(ParamId::Denoise, 0.1 + n as f32 * 0.1));
            assert!(!steer.look(), "{n}");
            wait(100);
        }
        apply(&board, Change::set(ParamId::Denoise, 0.9));
        assert!(steer.look());
        // While something is made in the place of the tail, nothing else is begun.
        steer.state().replacing = true;
        assert!(!steer.look());
        assert_eq!(steer.hand_over(), (0, true));
        assert!(steer.look());
    }

    #[test]
    fn what_makes_no_difference_changes_no_plan_but_now_always_does() {
        let (steer, board, clock, _reader) = rig();
        let looks = |change: Change| {
            apply(&board, change);
            steer.look();
            clock.advance(Duration::from_secs(1));
            steer.look()
        };
        assert!(!looks(Change::set(ParamId::PromptNudgeWeight, 1.5)), "there is no nudge");
        assert!(!looks(Change::set(ParamId::Blend, 2.0)), "the slots are off");
        assert!(!looks(Change::set(ParamId::Travel, 8.0)));
        assert!(!looks(Change::set(ParamId::Zoom, 2.0)), "an effect");
        assert!(!looks(Change::new(of(ParamId::Denoise), Op::Reset)), "as it was");
        assert!(looks(Change::trigger(ParamId::Regenerate)));
    }

    #[test]
    fn a_new_plan_goes_on_from_the_picture_at_the_cut() {
        let (steer, board, _clock, _reader) = rig();
        for (id, text) in [(ParamId::SlotA, "ice"), (ParamId::SlotB, "fire")] {
            apply(&board, Change::set(id, text));
        }
        apply(&board, Change::set(ParamId::SlotsOn, 1.0));
        apply(&board, Change::set(ParamId::Travel, 4.0));
        let cycle = |n: u32| {
            let ordered = steer.order(&bundle(), 1000, n);
            let briq = Briq { cycle_index: n, ..Briq::default() };
            steer.made(n, &ordered, &briq);
            ordered.guidance.record.unwrap().blend.unwrap()
        };
        assert_eq!(cycle(0), 0.0);
        apply(&board, Change::set(ParamId::Blend, 1.0));
        assert_eq!([1, 2, 3, 4].map(cycle), [0.25, 0.5, 0.75, 1.0]);
        // Cycle 1 is on air, the others wait, and the performer goes back.
        assert_eq!(steer.back_to(1).unwrap().cycle_index, 1);
        apply(&board, Change::set(ParamId::Travel, 1.0));
        apply(&board, Change::set(ParamId::Blend, 0.5));
        assert_eq!(cycle(5), 0.5);
        steer.back_to(1);
        apply(&board, Change::set(ParamId::Blend, 0.0));
        apply(&board, Change::set(ParamId::Travel, 2.0));
        assert_eq!(cycle(6), 0.125);
        assert!(steer.back_to(77).is_none());
    }

    proptest! {
        /// Whatever is changed and however often, with cycles that take as long as they did lately:
        /// what is ready never runs out, for a replacement is there before the cut.
        #[test]
        fn a_plan_that_changes_never_empties_the_ring(
            pauses in proptest::collection::vec(1u32..400, 1..30),
            cycle_s in 0.1f64..2.5,
            wobble in 0.0f64..0.15,
            target_s in 8.0f64..30.0,
        ) {
            const STEP_S: f64 = 0.01;
            let clip_s = 3.0;
            let mut look_ahead = LookAhead::new(target_s);
            let (mut ready, mut warm) = (0.0f64, false);
            // A cycle in the making: until when, and where the timeline is cut for it.
            let mut making: Option<(f64, Option<f64>)> = None;
            let (mut next, mut changes) = (f64::INFINITY, pauses.into_iter());
            let (mut replace, mut made) = (false, 0u32);
            for step in 0..20_000u32 {
                let now_s = f64::from(step) * STEP_S;
                let now = Duration::from_secs_f64(now_s);
                if let Some((until, cut)) = making && now_s >= until {
                    making = None;
                    made += 1;
                    look_ahead.made(Duration::from_secs_f64(cycle_s));
                    // What waits behind the cut gives way; before it, all airs.
                    let stays = cut.map_or(ready, |cut| (cut - now_s).clamp(0.0, ready));
                    prop_assert!(cut.is_none_or(|cut| cut >= now_s), "behind the cut");
                    ready = stays + clip_s;
                }
                warm |= ready >= target_s;
                if warm && next.is_infinite() {
                    next = now_s + changes.next().map_or(1e9, |pause| f64::from(pause) * STEP_S);
                }
                if now_s >= next {
                    replace = true;
                    next = now_s + changes.next().map_or(1e9, |pause| f64::from(pause) * STEP_S);
                }
                let replacing = making.is_some_and(|making| making.1.is_some());
                let takes = cycle_s * (1.0 + if made % 2 == 0 { wobble } else { -wobble });
                // What is in the making is given up only if the ring lasts for another.
                let may = making.is_none() || ready >= keep_s(&look_ahead);
                if replace && !replacing && may {
                    replace = false;
                    let cut = now_s + keep_s(&look_ahead).min(ready);
                    making = Some((now_s + takes, Some(cut)));
                } else if making.is_none() && look_ahead.should_start(now, ready) {
                    making = Some((now_s + takes, None));
                }
                ready -= STEP_S;
                prop_assert!(!warm || ready > 0.0, "dry at {now_s} s");
                ready = ready.max(0.0);
            }
        }
    }
}
