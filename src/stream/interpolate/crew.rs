//! Who does the work: threads of their own, or the one that asks.
//!
//! Holds: every job that is given comes back exactly once, in any order; a panic comes back as a
//! failure. Both queues have room for all jobs that may be out at once, so nobody waits to give.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};
use gstreamer as gst;
use gstreamer_video as gst_video;

use super::picture::{Canvas, Picture};
use crate::media::Motion;
use crate::render::Filter;
use crate::render::flow::{Analyser, Quality};
use crate::render::retime::Image;

/// Two pictures of one size.
pub type Pair = [Arc<Picture>; 2];

pub enum Task {
    /// Finds the motion between two pictures; `Motion` is memory for it.
    Analyse(Pair, Quality, Motion),
    Draw(Subject, gst::Buffer, Arc<gst_video::VideoInfo>),
    #[cfg(test)]
    Panic,
}

/// What is drawn.
pub enum Subject {
    One(Arc<Picture>),
    Blended(Pair, f32),
    Warped(Pair, Arc<Motion>, f32),
}

pub enum Outcome {
    Analysed(Motion),
    Drawn(gst::Buffer),
    /// Given up, as it was not wanted any more.
    Cancelled,
    Failed(String),
}

/// A task or its outcome with the number under which it was given.
struct Numbered<T> {
    number: u64,
    /// As of what call of [`Crew::cancel`].
    era: u64,
    it: T,
}

/// What a thread works with. Keeps its memory.
struct Hands {
    analyser: Analyser,
    canvas: Canvas,
    scale: Filter,
}

impl Hands {
    fn new(scale: Filter) -> Self {
        Hands { analyser: Analyser::new(), canvas: Canvas::new(scale), scale }
    }

    fn work(&mut self, task: Task) -> Outcome {
        match task {
            Task::Analyse([a, b], quality, mut motion) => {
                self.analyser.analyse(a.view().y, b.view().y, quality, &mut motion);
                Outcome::Analysed(motion)
            }
            Task::Draw(subject, buffer, info) => {
                let image = match &subject {
                    Subject::One(a) => Image::One(a.view()),
                    Subject::Blended([a, b], share) => Image::Blended(a.view(), b.view(), *share),
                    Subject::Warped([a, b], motion, time) => {
                        Image::Warped(a.view(), b.view(), motion, *time)
                    }
                };
                match self.canvas.draw(image, buffer, &info) {
                    Some(buffer) => Outcome::Drawn(buffer),
                    None => Outcome::Failed("a buffer for a picture cannot be written".into()),
                }
            }
            #[cfg(test)]
            Task::Panic => panic!("as the test wants it"),
        }
    }

    fn work_safely(&mut self, task: Task) -> Outcome {
        catch_unwind(AssertUnwindSafe(|| self.work(task))).unwrap_or_else(|panic| {
            // Whatever it left behind is not trusted.
            *self = Hands::new(self.scale);
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            Outcome::Failed(format!("a fault in drawing: {}", text.unwrap_or_default()))
        })
    }
}

pub struct Crew {
    how: How,
    /// Jobs that are out.
    out: usize,
    era: u64,
}

enum How {
    Alone {
        hands: Box<Hands>,
        done: VecDeque<(u64, Outcome)>,
    },
    Threads {
        /// `None` once they are to end.
        tasks: Option<Sender<Numbered<Task>>>,
        done: Receiver<Numbered<Outcome>>,
        threads: Vec<JoinHandle<()>>,
        /// Tasks of earlier eras are not worked on.
        era: Arc<AtomicU64>,
    },
}

impl Crew {
    /// `most`: jobs that are out at once.
    ///
    /// # Errors
    /// The system gives no more threads.
    pub fn new(threads: usize, most: usize, scale: Filter) -> std::io::Result<Self> {
        if threads <= 1 {
            let how = How::Alone { hands: Box::new(Hands::new(scale)), done: VecDeque::new() };
            return Ok(Crew { how, out: 0, era: 0 });
        }
        let (task_sender, tasks) = bounded::<Numbered<Task>>(most);
        let (done_sender, done) = bounded(most);
        let era = Arc::new(AtomicU64::new(0));
        let mut list = Vec::with_capacity(threads);
        for n in 0..threads {
            let (tasks, done, present) = (tasks.clone(), done_sender.clone(), era.clone());
            let thread = std::thread::Builder::new().name(format!("interpolate-{n}"));
            list.push(thread.spawn(move || {
                let mut hands = Hands::new(scale);
                for Numbered { number, era, it } in tasks {
                    let wanted = era == present.load(Ordering::Relaxed);
                    let it = if wanted { hands.work_safely(it) } else { Outcome::Cancelled };
                    if done.send(Numbered { number, era, it }).is_err() {
                        return;
                    }
                }
            })?);
        }
        let how = How::Threads { tasks: Some(task_sender), done, threads: list, era };
        Ok(Crew { how, out: 0, era: 0 })
    }

    /// Gives a job a number to come back under.
    pub fn give(&mut self, number: u64, task: Task) {
        self.out += 1;
        match &mut self.how {
            How::Alone { hands, done } => done.push_back((number, hands.work_safely(task))),
            How::Threads { tasks, .. } => {
                let era = self.era;
                if let Some(tasks) = tasks {
                    // The threads live as long as this.
                    let _ = tasks.send(Numbered { number, era, it: task });
                }
            }
        }
    }

    /// A job that is done. `wait`: until there is one. `None`: none is, or none is out.
    pub fn take(&mut self, wait: bool) -> Option<(u64, Outcome)> {
        while self.out > 0 {
            let (number, era, outcome) = match &mut self.how {
                How::Alone { done, .. } => {
                    let (number, outcome) = done.pop_front()?;
                    (number, self.era, outcome)
                }
                How::Threads { done, .. } => {
                    let done = if wait { done.recv().ok() } else { done.try_recv().ok() };
                    let Numbered { number, era, it } = done?;
                    (number, era, it)
                }
            };
            self.out -= 1;
            if era == self.era {
                return Some((number, outcome));
            }
        }
        None
    }

    /// Nothing that is out is wanted any more. Waits for what is being worked on.
    pub fn cancel(&mut self) {
        self.era += 1;
        match &mut self.how {
            How::Alone { done, .. } => {
                done.clear();
                self.out = 0;
            }
            How::Threads { era, .. } => {
                era.store(self.era, Ordering::Relaxed);
                // All of it is of an earlier era.
                let none = self.take(true);
                debug_assert!(none.is_none());
            }
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.cancel();
        if let How::Threads { tasks, threads, .. } = &mut self.how {
            *tasks = None;
            for thread in threads.drain(..) {
                let _ = thread.join();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_failure_and_the_next_job_is_done() {
        for threads in [1, 2] {
            let mut crew = Crew::new(threads, 4, Filter::default()).unwrap();
            for number in 0..4 {
                crew.give(number, Task::Panic);
            }
            let mut numbers: Vec<u64> = std::iter::from_fn(|| crew.take(true))
                .map(|(number, outcome)| {
                    let Outcome::Failed(text) = outcome else { panic!("no failure") };
                    assert!(text.contains("as the test wants it"), "{text}");
                    number
                })
                .collect();
            numbers.sort_unstable();
            assert_eq!(numbers, [0, 1, 2, 3]);
        }
    }

    #[test]
    fn what_was_cancelled_never_comes_back() {
        for threads in [1, 3] {
            let mut crew = Crew::new(threads, 8, Filter::default()).unwrap();
            (0..8).for_each(|number| crew.give(number, Task::Panic));
            crew.cancel();
            assert!(crew.take(false).is_none());
            crew.give(9, Task::Panic);
            assert_eq!(crew.take(true).map(|(number, _)| number), Some(9));
        }
    }
}
