//! Asks for the prompt of the next cycle while this one is being made.
//!
//! Holds: nobody ever waits for an answer. One question is open at most, with a deadline; a newer
//! one ends it. A writer that brings nothing three times in a row is asked every fifth time only.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;

use super::{Ask, Suggestion, Writer};
use crate::base::error::{Error, Result};
use crate::media::CycleId;

/// After as many asks in a row that brought nothing...
const PATIENCE: u32 = 3;
/// ...only one in so many cycles is asked for.
const RARELY: u32 = 5;
/// Errors that are told apart, so that each is told of once.
const TOLD: usize = 16;

/// How it went so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Answers that came in time for their cycle.
    pub answered: u64,
    /// Cycles that began before their answer was there.
    pub late: u64,
    /// Questions that ended with an error, or at their deadline.
    pub failed: u64,
    /// Of the newest failure; `None` again after an answer.
    pub last_error: Option<String>,
}

/// Whoever writes prompts, asked ahead of time.
pub struct Ahead {
    writer: Arc<dyn Writer>,
    timeout: Duration,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    open: Option<Question>,
    /// The number of the newest question: a cycle that is made again is asked for again.
    newest: u64,
    counters: Counters,
    /// Asks since the last answer that brought nothing.
    in_vain: u32,
    /// Cycles since then that were not asked for.
    skipped: u32,
    told: Vec<String>,
}

struct Question {
    number: u64,
    cycle: CycleId,
    answer: Answer,
    task: Option<AbortHandle>,
}

enum Answer {
    Awaited,
    Ready(Box<Suggestion>),
    Failed,
}

impl Ahead {
    pub fn new(writer: Arc<dyn Writer>, timeout: Duration) -> Self {
        Ahead { writer, timeout, state: Arc::default() }
    }

    /// Who is asked.
    pub fn name(&self) -> &str {
        self.writer.name()
    }

    /// Asks, on a task of the runtime that this is called on. What is open ends.
    pub fn begin(&self, ask: Ask) {
        let mut state = lock(&self.state);
        state.close();
        if state.in_vain >= PATIENCE {
            state.skipped += 1;
            if state.skipped < RARELY {
                return;
            }
            state.skipped = 0;
        }
        state.newest += 1;
        let (number, cycle) = (state.newest, ask.cycle);
        let (writer, timeout, shared) = (self.writer.clone(), self.timeout, self.state.clone());
        // The state stays locked until the question is entered, so that no answer comes before it.
        let task = tokio::spawn(async move {
            let answer = tokio::time::timeout(timeout, writer.write(&ask)).await;
            let answer = answer.unwrap_or_else(|_| {
                Err(Error::unavailable(format!(
                    "the language model ({}) gave no answer within {} s (llm.timeout)",
                    writer.name(),
                    timeout.as_secs_f64()
                )))
            });
            lock(&shared).enter(number, answer);
        });
        let task = Some(task.abort_handle());
        state.open = Some(Question { number, cycle, answer: Answer::Awaited, task });
    }

    /// The answer for this cycle, if it is there now. If not it is too late.
    pub fn take(&self, cycle: CycleId) -> Option<Suggestion> {
        let mut state = lock(&self.state);
        let question = state.open.take_if(|open| open.cycle == cycle)?;
        match question.answer {
            Answer::Ready(suggestion) => {
                state.counters.answered += 1;
                state.in_vain = 0;
                state.skipped = 0;
                Some(*suggestion)
            }
            Answer::Failed => None,
            Answer::Awaited => {
                question.end();
                state.counters.late += 1;
                state.in_vain += 1;
                None
            }
        }
    }

    pub fn counters(&self) -> Counters {
        lock(&self.state).counters.clone()
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        lock(&self.state).close();
    }
}

impl State {
    fn close(&mut self) {
        if let Some(question) = self.open.take() {
            question.end();
        }
    }

    /// An answer came; nobody wants one to a question that is closed.
    fn enter(&mut self, number: u64, answer: Result<Suggestion>) {
        let Some(open) = self.open.as_mut().filter(|open| open.number == number) else { return };
        open.task = None;
        match answer {
            Ok(suggestion) => {
                open.answer = Answer::Ready(Box::new(suggestion));
                self.counters.last_error = None;
            }
            Err(error) => {
                open.answer = Answer::Failed;
                self.failed(error.to_string());
            }
        }
    }

    fn failed(&mut self, error: String) {
        self.counters.failed += 1;
        self.in_vain += 1;
        if !self.told.contains(&error) && self.told.len() < TOLD {
            tracing::warn!("{error}; the prompt evolves by itself meanwhile");
            self.told.push(error.clone());
        }
        self.counters.last_error = Some(error);
    }
}

impl Question {
    fn end(self) {
        if let Some(task) = self.task {
            task.abort();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use async_trait::async_trait;
    use tokio::time::{advance, sleep};

    use super::*;

    /// Answers after its delay; `fails` instead if told so. Counts what was begun and ended.
    #[derive(Default)]
    struct Slow {
        delay: Duration,
        fails: bool,
        begun: AtomicU32,
        ended: Arc<AtomicU32>,
    }

    struct Ended(Arc<AtomicU32>);

    impl Drop for Ended {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[async_trait]
    impl Writer for Slow {
        fn name(&self) -> &str {
            "slow"
        }

        async fn write(&self, ask: &Ask) -> Result<Suggestion> {
            self.begun.fetch_add(1, Ordering::SeqCst);
            let _ended = Ended(self.ended.clone());
            sleep(self.delay).await;
            if self.fails {
                return Err(Error::unavailable("out of words"));
            }
            let prompt_delta = format!("change {}", ask.cycle.0);
            Ok(Suggestion { prompt_delta, ..Suggestion::default() })
        }
    }

    fn slow(seconds: u64, fails: bool) -> (Arc<Slow>, Ahead) {
        let delay = Duration::from_secs(seconds);
        let slow = Arc::new(Slow { delay, fails, ..Slow::default() });
        (slow.clone(), Ahead::new(slow, Duration::from_secs(20)))
    }

    fn ask(cycle: u32) -> Ask {
        Ask { cycle: CycleId(cycle), ..Ask::default() }
    }

    /// Lets the time pass, and tasks that are due run.
    async fn pass(seconds: u64) {
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
        advance(Duration::from_secs(seconds)).await;
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_in_time_is_for_its_cycle_alone_and_taken_once() {
        let (_, ahead) = slow(5, false);
        ahead.begin(ask(7));
        pass(6).await;
        assert_eq!(ahead.take(CycleId(6)), None);
        assert_eq!(ahead.take(CycleId(7)).unwrap().prompt_delta, "change 7");
        assert_eq!(ahead.take(CycleId(7)), None);
        let counters = ahead.counters();
        assert_eq!((counters.answered, counters.late, counters.failed), (1, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_answer_is_not_waited_for_and_its_question_ends() {
        let (slow, ahead) = slow(5, false);
        ahead.begin(ask(1));
        pass(4).await;
        assert_eq!(ahead.take(CycleId(1)), None);
        pass(0).await;
        assert_eq!(slow.ended.load(Ordering::SeqCst), 1);
        pass(9).await;
        assert_eq!(ahead.take(CycleId(1)), None);
        assert_eq!(ahead.counters().late, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_newer_question_and_the_end_of_the_show_end_an_older_one() {
        let (slow, ahead) = slow(5, false);
        ahead.begin(ask(1));
        pass(1).await;
        ahead.begin(ask(2));
        pass(1).await;
        let ended = || slow.ended.load(Ordering::SeqCst);
        assert_eq!((slow.begun.load(Ordering::SeqCst), ended()), (2, 1));
        drop(ahead);
        pass(0).await;
        assert_eq!(ended(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_is_kept() {
        let (slow, ahead) = slow(1000, false);
        ahead.begin(ask(1));
        pass(21).await;
        assert_eq!(slow.ended.load(Ordering::SeqCst), 1);
        let counters = ahead.counters();
        assert_eq!(counters.failed, 1);
        assert!(counters.last_error.unwrap().contains("within 20 s (llm.timeout)"));
        assert_eq!(ahead.take(CycleId(1)), None);
        assert_eq!(ahead.counters().late, 0, "a failure is not late as well");
    }

    #[tokio::test(start_paused = true)]
    async fn who_fails_is_asked_rarely() {
        let (slow, ahead) = slow(0, true);
        for cycle in 0..23 {
            ahead.begin(ask(cycle));
            pass(1).await;
            assert_eq!(ahead.take(CycleId(cycle)), None);
        }
        // Three, and of the twenty cycles after them every fifth.
        assert_eq!(slow.begun.load(Ordering::SeqCst), 7);
        let counters = ahead.counters();
        assert_eq!((counters.failed, counters.late), (7, 0));
        assert_eq!(counters.last_error.as_deref(), Some("out of words"));
        assert_eq!(lock(&ahead.state).told.len(), 1, "each error is told of once");
    }
}
