//! Making the segments that are missing, some at once.
//!
//! Holds: segments are made on threads of their own, which end before [`Run::make_missing`] does; who
//! calls is told everything on the own thread, which alone writes the plan.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::index::Index;
use super::plan::{Plan, segment_name};
use super::room::Room;
use super::{Deliverable, Progress, Step, temporary, too_short};
use crate::base::clock::Clock;
use crate::base::error::{Error, Result};
use crate::base::fsio::publish;
use crate::stream::convert::{self, Container, Input, Job, Names, Output};
use crate::stream::encoding::ladder::Rung;

/// How often a wish to stop is heard.
const STEP: Duration = Duration::from_millis(100);
/// What may wait to be told. When it is full the threads wait, which keep the encoders going all the
/// same.
const WAITING: usize = 64;

pub struct Run<'a> {
    pub of: &'a Deliverable,
    pub rung: Rung,
    pub folder: &'a Path,
    pub room: &'a Room,
}

/// What a thread has to tell.
enum Told {
    /// So many frames of a segment are made.
    Frames(usize, u64),
    Whole {
        number: usize,
        frames: u64,
        bytes: u64,
    },
    Note(String),
    Failed(Error),
}

impl Run<'_> {
    /// Makes the segments that are missing; false: it was stopped before all were there.
    pub fn make_missing(
        &self,
        plan: &mut Plan,
        clock: &dyn Clock,
        stop: &dyn Fn() -> bool,
        on_step: &mut dyn FnMut(Step),
    ) -> Result<bool> {
        let (missing, segments) = (plan.missing(), plan.segments());
        if missing.is_empty() {
            return Ok(true);
        }
        self.room.for_the_rest(plan)?;
        let stopping = AtomicBool::new(false);
        let (give, numbers) = bounded(missing.len());
        for number in &missing {
            let _ = give.send((*number, segments[*number].clone()));
        }
        drop(give);
        std::thread::scope(|scope| {
            let (tell, told) = bounded(WAITING);
            for n in 0..self.of.at_once.clamp(1, missing.len()) {
                let (own, numbers, stopping) = (tell.clone(), numbers.clone(), &stopping);
                let thread = std::thread::Builder::new().name(format!("segment-{n}"));
                let started = thread.spawn_scoped(scope, move || {
                    for (number, frames) in numbers {
                        if stopping.load(Ordering::Relaxed) {
                            return;
                        }
                        match self.make(number, frames, stopping, &own) {
                            Ok(true) => {}
                            Ok(false) => return,
                            Err(error) => {
                                stopping.store(true, Ordering::Relaxed);
                                let _ = own.send(Told::Failed(error));
                                return;
                            }
                        }
                    }
                });
                if let Err(e) = started {
                    stopping.store(true, Ordering::Relaxed);
                    let error = Error::internal("cannot start a thread").with_source(e);
                    let _ = tell.send(Told::Failed(error));
                    break;
                }
            }
            drop(tell);
            self.listen(plan, told, &stopping, (clock, stop), on_step)
        })?;
        Ok(plan.missing().is_empty())
    }

    /// Takes down what the threads tell, until all of them have ended.
    fn listen(
        &self,
        plan: &mut Plan,
        told: Receiver<Told>,
        stopping: &AtomicBool,
        (clock, stop): (&dyn Clock, &dyn Fn() -> bool),
        on_step: &mut dyn FnMut(Step),
    ) -> Result<()> {
        let (begun, before) = (clock.now(), plan.done().0);
        let mut under_way = std::collections::BTreeMap::new();
        let mut result = Ok(());
        // What was found is done.
        on_step(Step::Progress(Progress { done: before, of: plan.frames(), per_second: 0.0 }));
        loop {
            let outcome = match told.recv_timeout(STEP) {
                Ok(Told::Frames(number, frames)) => {
                    under_way.insert(number, frames);
                    Ok(())
                }
                Ok(Told::Whole { number, frames, bytes }) => {
                    under_way.remove(&number);
                    let added = plan.add(number, frames, bytes, self.folder);
                    match plan.missing().is_empty() {
                        true => added,
                        false => added.and_then(|()| self.room.for_the_rest(plan)),
                    }
                }
                Ok(Told::Note(note)) => {
                    on_step(Step::Note(note));
                    continue;
                }
                Ok(Told::Failed(error)) => Err(error),
                Err(RecvTimeoutError::Timeout) => Ok(()),
                Err(RecvTimeoutError::Disconnected) => return result,
            };
            if result.is_ok() {
                result = outcome;
            }
            if result.is_err() || stop() {
                stopping.store(true, Ordering::Relaxed);
            }
            let done = plan.done().0 + under_way.values().sum::<u64>();
            let seconds = clock.now().saturating_sub(begun).as_secs_f64();
            let per_second =
                if seconds > 0.0 { done.saturating_sub(before) as f64 / seconds } else { 0.0 };
            on_step(Step::Progress(Progress { done, of: plan.frames(), per_second }));
        }
    }

    /// Makes a segment; false: it was stopped.
    fn make(
        &self,
        number: usize,
        frames: std::ops::Range<u64>,
        stopping: &AtomicBool,
        tell: &Sender<Told>,
    ) -> Result<bool> {
        let name = segment_name(number);
        let temporary = temporary(self.folder)?;
        let wanted = frames.end - frames.start;
        let job = Job {
            input: Input::File(self.of.source.clone()),
            output: Output::Encoded {
                path: temporary.to_path_buf(),
                container: Container::Mp4,
                encoder: self.rung,
                crf: self.of.crf,
                preset: self.of.preset,
            },
            names: Names {
                input: self.of.source.display().to_string(),
                output: self.folder.join(&name).display().to_string(),
            },
            fps: self.of.fps,
            size: Some(self.of.size),
            settings: self.of.interpolation,
            part: Some(frames),
        };
        let ended = convert::run(job, stopping, &mut |step| {
            let told = match step {
                convert::Step::Progress { frames, .. } => Told::Frames(number, frames.min(wanted)),
                convert::Step::Note(note) if number == 0 => Told::Note(note),
                _ => return,
            };
            let _ = tell.send(told);
        })?;
        if ended == convert::Ended::Stopped {
            return Ok(false);
        }
        let index = Index::read(&temporary)
            .map_err(|why| Error::internal(format!("{name}, just written, {why}")))?;
        if index.frames != wanted {
            return Err(too_short(&self.of.source, number, index.frames, wanted));
        }
        let bytes = std::fs::metadata(&temporary).map_or(0, |about| about.len());
        publish(temporary, &self.folder.join(&name), true)?;
        let _ = tell.send(Told::Whole { number, frames: wanted, bytes });
        Ok(true)
    }
}
