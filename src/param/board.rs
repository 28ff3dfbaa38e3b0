//! The desk with all parameters on it: the one place where changes are made, whoever steers.
//!
//! Holds: what is accepted is within its range, has a generation of its own, in one order for all,
//! and is told to the journal and to those who carry it out in that order. Nobody who only listens
//! has to keep up: what a listener asks for is what changed since a generation, so a fader that
//! was moved a thousand times is one value to it. Both receipts of a change are kept here.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};

use super::plans::Plans;
use super::registry::{self, Applies, Kind, Param, ParamId, REGISTRY, Value, Values};
use super::store::{Fired, Reader, Snapshot};
use crate::base::error::{Error, Result};
use crate::base::telemetry::{Counter, Percentiles, Timing};

/// Triggers that may wait for the next frame. When it is full a further one is refused.
const TRIGGERS: usize = 1024;
/// Changes whose receipts are remembered.
const RECEIPTS: usize = 8192;

/// What is to become of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    Set(Value),
    /// So much more, in the parameter's unit; never beyond its range.
    Add(f32),
    /// A knob stands there: 0 to 1 over its whole way.
    Place(f32),
    /// A knob was turned by so much of its whole way; never beyond it.
    Turn(f32),
    /// On and off in turn; the next choice.
    Toggle,
    /// To what it was when the show began.
    Reset,
}

/// A change that somebody asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub param: &'static Param,
    pub op: Op,
    /// How long it is to take; 0: as the parameter says.
    pub fade_ms: f32,
}

impl Change {
    pub fn new(param: &'static Param, op: Op) -> Self {
        Change { param, op, fade_ms: 0.0 }
    }

    pub fn set(id: ParamId, value: impl Into<Value>) -> Self {
        Change::new(registry::of(id), Op::Set(value.into()))
    }

    pub fn trigger(id: ParamId) -> Self {
        Change::new(registry::of(id), Op::Set(Value::Nothing))
    }
}

/// Who asks, and when it came.
#[derive(Clone, Debug, Default)]
pub struct From {
    /// `http`, `osc 127.0.0.1:9001`, `midi nanoKONTROL2`, `key`, ...
    pub source: Arc<str>,
    /// By the show's clock.
    pub received: Duration,
}

/// The first receipt of a change.
#[derive(Clone, Debug)]
pub struct Accepted {
    pub param: &'static Param,
    pub value: Value,
    pub fade_ms: f32,
    /// Of this change alone. The render thread reports from which frame on it is seen.
    pub generation: u64,
    pub from: From,
}

/// The second receipt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Applied {
    /// The first frame that has it.
    pub frame: u64,
    /// From when the change came until that frame went to the encoder.
    pub took: Duration,
}

/// A parameter that changed.
#[derive(Clone, Debug)]
pub struct Seen {
    pub param: &'static Param,
    pub value: Value,
    /// Of its last change.
    pub generation: u64,
    /// Who made that.
    pub source: Arc<str>,
}

/// Told of every change, in order. Must not wait, nor ask the board.
type Listener = Box<dyn Fn(&Accepted) + Send + Sync>;

/// Says what is wrong with a value that is in its range; asked before anything is changed.
type Check = Box<dyn Fn(&Param, &Value) -> Result<()> + Send + Sync>;

pub struct Board {
    state: Mutex<State>,
    /// As in the state, without a lock.
    generation: AtomicU64,
    listener: OnceLock<Listener>,
    check: OnceLock<Check>,
    fired: Sender<Fired>,
    /// Which cycles were made from what.
    pub plans: Arc<Plans>,
    pub accepted: Counter,
    pub refused: Counter,
    /// From when changes came until the first frame with them went to the encoder.
    latency: Timing,
}

struct State {
    latest: Snapshot,
    texts: Vec<Arc<str>>,
    start: Values,
    start_texts: Vec<Arc<str>>,
    /// Of the last change of each parameter, and who made it.
    changed: Vec<(u64, Arc<str>)>,
    output: triple_buffer::Input<Snapshot>,
    /// Changes that no frame was seen with yet, and when they came.
    waiting: VecDeque<(u64, Duration)>,
    receipts: BTreeMap<u64, Applied>,
}

/// A board and the render thread's end of it. `texts` are those that are not empty at the start.
pub fn board(values: Values, texts: &[(ParamId, &str)]) -> (Arc<Board>, Reader) {
    let latest = Snapshot { values, ..Snapshot::default() };
    let (output, input) = triple_buffer::triple_buffer(&latest);
    let (fired, fired_out) = bounded(TRIGGERS);
    let mut start_texts: Vec<Arc<str>> = vec!["".into(); REGISTRY.len()];
    for (id, text) in texts {
        start_texts[*id as usize] = (*text).into();
    }
    let board = Board {
        state: Mutex::new(State {
            latest,
            texts: start_texts.clone(),
            start: values,
            start_texts,
            changed: vec![(0, "start".into()); REGISTRY.len()],
            output,
            waiting: VecDeque::with_capacity(RECEIPTS),
            receipts: BTreeMap::new(),
        }),
        generation: AtomicU64::new(0),
        listener: OnceLock::new(),
        check: OnceLock::new(),
        fired,
        plans: Arc::default(),
        accepted: Counter::default(),
        refused: Counter::default(),
        latency: Timing::new(),
    };
    (Arc::new(board), Reader { input, fired: fired_out, early: None })
}

impl Board {
    /// Has every change told to `listener` from now on; only the first one is taken.
    pub fn listen(&self, listener: impl Fn(&Accepted) + Send + Sync + 'static) {
        let _ = self.listener.set(Box::new(listener));
    }

    /// Has every value checked by `check` as well; only the first one is taken.
    pub fn check_with(&self, check: impl Fn(&Param, &Value) -> Result<()> + Send + Sync + 'static) {
        let _ = self.check.set(Box::new(check));
    }

    /// Makes a change.
    ///
    /// # Errors
    /// What is wrong with it; nothing is changed then, and it is counted.
    pub fn apply(&self, change: &Change, from: &From) -> Result<Accepted> {
        let mut accepted = self.apply_all(std::slice::from_ref(change), from)?;
        accepted.pop().ok_or_else(|| Error::internal("a change went unanswered"))
    }

    /// Makes all of the changes with one frame, or none.
    ///
    /// # Errors
    /// As [`Board::apply`], of the first that is wrong.
    pub fn apply_all(&self, changes: &[Change], from: &From) -> Result<Vec<Accepted>> {
        let made = self.checked(changes).and_then(|()| {
            let mut state = self.state();
            self.make(&mut state, changes, from)
        });
        match &made {
            Ok(accepted) => self.accepted.add(accepted.len() as u64),
            Err(_) => self.refused.add(1),
        }
        made
    }

    /// Before the lock is taken: a check may look at a disk.
    fn checked(&self, changes: &[Change]) -> Result<()> {
        let Some(check) = self.check.get() else { return Ok(()) };
        for change in changes {
            if let Op::Set(value) = &change.op {
                check(change.param, &change.param.admit(value)?)?;
            }
        }
        Ok(())
    }

    fn make(&self, state: &mut State, changes: &[Change], from: &From) -> Result<Vec<Accepted>> {
        let mut accepted: Vec<Accepted> = Vec::with_capacity(changes.len());
        let mut triggers = 0;
        for change in changes {
            // A later one of the same parameter builds on the earlier.
            let earlier = accepted.iter().rev().find(|a| a.param.id == change.param.id);
            let now = earlier.map_or_else(|| state.value(change.param), |a| a.value.clone());
            let value = state.outcome(change, &now)?;
            triggers += usize::from(reaches_the_picture(change.param));
            accepted.push(Accepted {
                param: change.param,
                value,
                fade_ms: change.fade_ms.clamp(0.0, 60_000.0),
                generation: state.latest.generation + accepted.len() as u64 + 1,
                from: from.clone(),
            });
        }
        if self.fired.capacity().unwrap_or(0) - self.fired.len() < triggers {
            return Err(Error::unavailable("too many triggers wait for the next frame"));
        }
        for made in &accepted {
            let id = made.param.id;
            match &made.value {
                Value::Number(number) => {
                    state.latest.values[id] = *number;
                    state.latest.fades_ms[id] = made.fade_ms;
                }
                Value::Text(text) => state.texts[id as usize] = text.clone(),
                Value::Nothing if reaches_the_picture(made.param) => {
                    // There is room, and nobody else sends.
                    let _ = self.fired.try_send(Fired { id, generation: made.generation });
                }
                Value::Nothing => {}
            }
            state.changed[id as usize] = (made.generation, from.source.clone());
            state.latest.generation = made.generation;
        }
        if let Some(last) = accepted.last() {
            if state.waiting.len() + accepted.len() > RECEIPTS {
                state.waiting.clear();
            }
            let soon = accepted.iter().filter(|a| a.param.applies != Applies::Cycle);
            let waiting = soon.map(|a| (a.generation, from.received));
            state.waiting.extend(waiting.take(RECEIPTS));
            let latest = state.latest;
            state.output.write(latest);
            if let Some(listener) = self.listener.get() {
                accepted.iter().for_each(listener);
            }
            self.generation.store(last.generation, Ordering::Release);
        }
        Ok(accepted)
    }

    /// Of the last change.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Present numbers of all parameters.
    pub fn values(&self) -> Values {
        self.state().latest.values
    }

    pub fn number(&self, id: ParamId) -> f32 {
        self.state().latest.values[id]
    }

    pub fn text(&self, id: ParamId) -> Arc<str> {
        self.state().texts[id as usize].clone()
    }

    pub fn value(&self, param: &Param) -> Value {
        self.state().value(param)
    }

    /// What a parameter was when the show began.
    pub fn start_value(&self, param: &Param) -> Value {
        self.state().start_value(param)
    }

    /// Every parameter that changed after `generation`, once, and the generation up to which that
    /// goes.
    pub fn changed_since(&self, generation: u64) -> (u64, Vec<Seen>) {
        let state = self.state();
        let seen = |param: &&'static Param| {
            let (last, source) = &state.changed[param.id as usize];
            (*last > generation).then(|| Seen {
                param,
                value: state.value(param),
                generation: *last,
                source: source.clone(),
            })
        };
        (state.latest.generation, REGISTRY.iter().filter_map(|param| seen(&param)).collect())
    }

    /// From `frame` on, which went to the encoder at `at`, changes up to `generation` are seen.
    pub fn applied(&self, generation: u64, frame: u64, at: Duration) {
        let mut state = self.state();
        while let Some((seen, received)) = state.waiting.pop_front_if(|w| w.0 <= generation) {
            let took = at.saturating_sub(received);
            self.latency.record(took);
            if state.receipts.len() == RECEIPTS {
                state.receipts.pop_first();
            }
            state.receipts.insert(seen, Applied { frame, took });
        }
    }

    /// The second receipt of a change of the picture; `None`: not yet, or too long ago. Of changes that
    /// apply to cycles [`Board::plans`] tells.
    pub fn receipt(&self, generation: u64) -> Option<Applied> {
        self.state().receipts.get(&generation).copied()
    }

    /// How long changes took so far, from when they came to the first frame with them.
    pub fn latency(&self) -> Percentiles {
        self.latency.percentiles()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A trigger that the render thread carries out.
fn reaches_the_picture(param: &Param) -> bool {
    param.kind == Kind::Trigger && param.applies == Applies::Now
}

impl State {
    fn value(&self, param: &Param) -> Value {
        value_of(param, &self.latest.values, &self.texts)
    }

    fn start_value(&self, param: &Param) -> Value {
        value_of(param, &self.start, &self.start_texts)
    }

    /// What a change makes of a parameter that is `now`.
    fn outcome(&self, change: &Change, now: &Value) -> Result<Value> {
        let param = change.param;
        let number = |what: &str| match now {
            Value::Number(number) => Ok(*number),
            _ => Err(Error::usage(format!("{}: it is no number to {what}", param.address))),
        };
        let finite = |x: f32| match x.is_finite() {
            true => Ok(x),
            false => Err(Error::usage(format!("{}: {x} is no number to go by", param.address))),
        };
        match &change.op {
            Op::Set(value) => param.admit(value),
            Op::Reset => Ok(self.start_value(param)),
            _ if param.kind == Kind::Trigger => Ok(Value::Nothing),
            Op::Add(by) => {
                let sum = number("add to")? + finite(*by)?;
                let (min, max) = param.range().unwrap_or_default();
                let within = if param.wraps {
                    min + (sum - min).rem_euclid(max - min)
                } else {
                    sum.clamp(min, max)
                };
                let whole = !matches!(param.kind, Kind::Float { .. });
                Ok(Value::Number(if whole { within.round() } else { within }))
            }
            Op::Place(place) => {
                number("set by a knob")?;
                Ok(Value::Number(param.at(finite(*place)?)))
            }
            Op::Turn(by) => {
                let now = number("turn")?;
                let by = finite(*by)?;
                let (min, max) = param.range().unwrap_or_default();
                let turned = param.at(param.place(now) + by);
                // However little a knob is turned, a whole number moves on.
                let whole = !matches!(param.kind, Kind::Float { .. });
                let stuck = whole && turned == now && by != 0.0;
                let step = if stuck { 1f32.copysign(by) } else { 0.0 };
                Ok(Value::Number((turned + step).clamp(min, max)))
            }
            Op::Toggle => {
                let now = number("toggle")?;
                let (min, max) = param.range().unwrap_or_default();
                Ok(Value::Number(match param.kind {
                    Kind::Enum(_) if now >= max => min,
                    Kind::Enum(_) => now + 1.0,
                    _ if now > min => min,
                    _ => max,
                }))
            }
        }
    }
}

fn value_of(param: &Param, values: &Values, texts: &[Arc<str>]) -> Value {
    match param.kind {
        Kind::Text { .. } => Value::Text(texts[param.id as usize].clone()),
        Kind::Trigger => Value::Nothing,
        _ => Value::Number(values[param.id]),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn from(source: &str) -> From {
        From { source: source.into(), received: Duration::from_millis(100) }
    }

    fn any_op() -> impl Strategy<Value = Op> {
        prop_oneof![
            any::<f32>().prop_map(|x| Op::Set(x.into())),
            ".{0,8}".prop_map(|text| Op::Set((&*text).into())),
            Just(Op::Set(Value::Nothing)),
            any::<f32>().prop_map(Op::Add),
            any::<f32>().prop_map(Op::Place),
            any::<f32>().prop_map(Op::Turn),
            Just(Op::Toggle),
            Just(Op::Reset),
        ]
    }

    proptest! {
        /// Whatever is sent to whatever parameter, all values stay what they may be, and each
        /// change has a generation of its own.
        #[test]
        fn nothing_gets_out_of_its_range(
            changes in proptest::collection::vec((0..REGISTRY.len(), any_op()), 1..200),
        ) {
            let (board, mut reader) = board(Values::default(), &[]);
            let mut accepted = 0;
            for (place, op) in changes {
                let change = Change::new(&REGISTRY[place], op);
                if let Ok(made) = board.apply(&change, &from("test")) {
                    accepted += 1;
                    prop_assert_eq!(made.generation, accepted);
                }
            }
            prop_assert_eq!(board.generation(), accepted);
            let snapshot = *reader.latest();
            prop_assert_eq!(snapshot.generation, accepted);
            for param in REGISTRY.iter().filter(|p| p.is_number()) {
                prop_assert!(param.check(snapshot.values[param.id]).is_ok(), "{}", param.address);
            }
        }
    }

    #[test]
    fn a_list_is_made_whole_or_not_at_all() {
        let (board, mut reader) = board(Values::default(), &[]);
        let zoom = Change::set(ParamId::Zoom, 2.0);
        let wrong = Change::set(ParamId::Hue, 999.0);
        assert!(board.apply_all(&[zoom.clone(), wrong], &from("osc")).is_err());
        assert_eq!(board.number(ParamId::Zoom), 1.0);
        let more = Change::new(zoom.param, Op::Add(1.0));
        let made = board.apply_all(&[zoom, more], &from("osc")).unwrap();
        assert_eq!(made[1].value, Value::Number(3.0));
        assert_eq!((reader.latest().generation, reader.latest().values[ParamId::Zoom]), (2, 3.0));
        assert_eq!((board.accepted.get(), board.refused.get()), (2, 1));
    }

    #[test]
    fn who_listens_late_hears_the_last_value_once() {
        let (board, _reader) = board(Values::default(), &[(ParamId::SlotA, "moss")]);
        for n in 0..1000 {
            let change = Change::set(ParamId::Zoom, 1.0 + n as f32 / 999.0);
            board.apply(&change, &from(if n == 999 { "b" } else { "a" })).unwrap();
        }
        let (generation, seen) = board.changed_since(0);
        assert_eq!((generation, seen.len()), (1000, 1));
        assert_eq!((&seen[0].value, &*seen[0].source), (&Value::Number(2.0), "b"));
        assert!(board.changed_since(1000).1.is_empty());
        let slot = registry::of(ParamId::SlotA);
        board.apply(&Change::set(ParamId::SlotA, "rust"), &from("a")).unwrap();
        board.apply(&Change::new(slot, Op::Reset), &from("a")).unwrap();
        assert_eq!(board.value(slot), "moss".into());
    }

    #[test]
    fn no_trigger_is_lost_and_too_many_are_refused() {
        let (board, mut reader) = board(Values::default(), &[]);
        let flash = Change::trigger(ParamId::Flash);
        for _ in 0..TRIGGERS {
            board.apply(&flash, &from("midi")).unwrap();
        }
        assert!(board.apply(&flash, &from("midi")).is_err());
        let fired = std::iter::from_fn(|| reader.fired(u64::MAX)).count();
        assert_eq!(fired, TRIGGERS);
    }

    #[test]
    fn each_change_has_its_second_receipt() {
        let (board, _reader) = board(Values::default(), &[]);
        for _ in 0..3 {
            board.apply(&Change::set(ParamId::Zoom, 2.0), &from("http")).unwrap();
        }
        board.applied(2, 40, Duration::from_millis(112));
        let applied = Applied { frame: 40, took: Duration::from_millis(12) };
        assert_eq!(board.receipt(1), Some(applied));
        assert_eq!(board.receipt(2), Some(applied));
        assert_eq!(board.receipt(3), None);
        assert!(board.latency().p99 >= 12.0);
    }

    #[test]
    fn an_encoder_moves_whole_numbers_however_little_it_turns() {
        let (board, _reader) = board(Values::default(), &[]);
        let steps = registry::of(ParamId::Steps);
        let made = board.apply(&Change::new(steps, Op::Turn(1.0 / 1024.0)), &from("midi")).unwrap();
        assert_eq!(made.value, Value::Number(31.0));
    }
}
