//! From finished clips to prepared ones: decoded, on a worker of low priority, in the order in
//! which they are due, laid into the ring as room comes free, and their motion found while they
//! wait there.
//!
//! A replan comes through here as well: it is passed on to the playout, and what replaces the tail
//! overtakes all that waits.
//!
//! Holds: clips keep their order. What waits here waits encoded, on the disk; only the one that
//! goes into the ring next is decoded. A clip that cannot be decoded is reported and left out. No
//! clip waits for its motion.

mod joint;
mod motion;
mod whole;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::base::clock::Clock;
use crate::base::effort::{Effort, PresentEffort};
use crate::base::error::{Error, Result};
use crate::media::{
    Clip, ClipDecoder, CycleId, DecodedClip, Frame, Grown, Motion, Origin, Passage, PreparedClip,
};
use crate::render::flow::{self, Quality};
use crate::render::retime;
use crate::ring::{Closed, Feeder, TailCut};
use joint::Joiner;
pub use motion::MotionCounters;
use motion::MotionFinder;
pub use whole::{Growth, Whole};

/// Clips that may wait to be prepared. A generator that is further ahead waits.
const WAITING: usize = 32;

/// How often a worker looks whether the ring has room.
const PATIENCE: Duration = Duration::from_millis(30);

/// Replans and replacements that may wait. There is one of each at a time.
const TALK: usize = 4;

/// With less than this in the ring the next clip comes before motion.
const HUNGRY_S: f64 = 3.0;

/// Pause behind a clip that could not be prepared.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// A clip to be prepared.
#[derive(Clone, Debug)]
pub struct Job {
    pub clip: Clip,
    pub origin: Origin,
    /// To be shown from its last frame to its first.
    pub reversed: bool,
    /// Of the plan that it belongs to; 0 before the first replan.
    pub revision: u64,
}

/// What became of a clip.
#[derive(Debug)]
pub enum Outcome {
    Ready(Clip),
    Failed(Clip, Error),
    /// It was taken out of the plan before it aired.
    Unused(CycleId),
}

/// What overtakes the jobs.
enum Talk {
    Replan {
        revision: u64,
        keep_s: f64,
        answer: Sender<TailCut>,
    },
    /// A clip for the place of all that belongs to earlier plans.
    Replace(Job),
}

/// The end of those who have clips.
#[derive(Clone)]
pub struct Preparer {
    jobs: Sender<Job>,
    talk: Sender<Talk>,
    waiting_ms: Arc<AtomicU64>,
}

impl Preparer {
    /// Hands over a clip; waits while too many are waiting. `Err` when the show is over.
    pub fn prepare(&self, job: Job) -> Result<(), Job> {
        self.waiting_ms.fetch_add(job_ms(&job), Ordering::Relaxed);
        self.jobs.send(job).map_err(|e| e.0)
    }

    /// Asks where the timeline can be cut so that `keep_s` seconds stay at least of what is ready. The
    /// answer comes within two or three frames; never, if the show is over or another replan
    /// follows.
    pub fn replan(&self, revision: u64, keep_s: f64) -> Receiver<TailCut> {
        let (answer, cut) = bounded(1);
        let _ = self.talk.try_send(Talk::Replan { revision, keep_s, answer });
        cut
    }

    /// Hands over the clip that comes in the place of all that belongs to earlier plans, at the cut
    /// of its own. `Err` when the show is over.
    pub fn replace(&self, job: Job) -> std::result::Result<(), Closed> {
        self.waiting_ms.fetch_add(job_ms(&job), Ordering::Relaxed);
        self.talk.send(Talk::Replace(job)).map_err(|_| Closed)
    }

    /// Whether a clip can be handed over without waiting.
    pub fn has_room(&self) -> bool {
        !self.jobs.is_full()
    }

    /// Seconds of clips that are not in the ring yet.
    pub fn waiting_seconds(&self) -> f64 {
        self.waiting_ms.load(Ordering::Relaxed) as f64 / 1000.0
    }
}

/// Who finds the motion of clips.
pub struct MotionWork {
    /// Seconds over which a clip grows out of the one before; 0: it does not.
    pub grow_seconds: f64,
    /// What is on air before the first clip.
    pub stand_in: Arc<PreparedClip>,
    pub clock: Arc<dyn Clock>,
    pub effort: Arc<PresentEffort>,
    pub counters: Arc<MotionCounters>,
}

/// Starts the worker. `low_priority` is called on its thread first; `outcomes` are reported as
/// they come. Without `motion` none is looked for. It ends when every [`Preparer`] is gone or the
/// playout is, and drops `outcomes`.
pub fn start(
    feeder: Feeder,
    decoder: Arc<dyn ClipDecoder>,
    motion: Option<MotionWork>,
    low_priority: fn(),
    outcomes: impl Fn(Outcome) + Send + 'static,
) -> Result<Preparer> {
    let (jobs, queue) = bounded(WAITING);
    let (talk, told) = bounded(TALK);
    let waiting_ms = Arc::new(AtomicU64::new(0));
    let grow_seconds = motion.as_ref().map_or(0.0, |motion| motion.grow_seconds);
    let effort = motion.as_ref().map(|motion| motion.effort.clone()).unwrap_or_default();
    let motion = motion.map(|MotionWork { stand_in, clock, effort, counters, .. }| {
        let mut finder = MotionFinder::new(clock, effort, counters);
        finder.add(stand_in, true);
        finder
    });
    let mut worker = Worker {
        queue,
        backlog: VecDeque::new(),
        told,
        asked: None,
        cut: None,
        feeder,
        decoder,
        motion,
        joiner: Joiner::default(),
        grow_seconds,
        effort,
        before: None,
        decoded: None,
        waiting_ms: waiting_ms.clone(),
    };
    std::thread::Builder::new()
        .name("prepare".into())
        .spawn(move || {
            low_priority();
            while worker.step(&outcomes).is_ok() {}
        })
        .map_err(|e| Error::internal("cannot start preparing clips").with_source(e))?;
    Ok(Preparer { jobs, talk, waiting_ms })
}

struct Worker {
    queue: Receiver<Job>,
    /// Jobs of the present plan that were in the queue behind some of an earlier one.
    backlog: VecDeque<Job>,
    told: Receiver<Talk>,
    /// A replan that waits for its answer.
    asked: Option<(u64, Sender<TailCut>)>,
    /// The answer to the last one.
    cut: Option<TailCut>,
    feeder: Feeder,
    decoder: Arc<dyn ClipDecoder>,
    motion: Option<MotionFinder>,
    joiner: Joiner,
    grow_seconds: f64,
    effort: Arc<PresentEffort>,
    /// The clip that airs before the next one, and its last picture.
    before: Option<(Grown, Frame)>,
    /// Waits for room in the ring; with what it counts in `waiting_ms`, and its revision.
    decoded: Option<(Arc<PreparedClip>, u64, u64)>,
    waiting_ms: Arc<AtomicU64>,
}

impl Worker {
    /// Does what is most urgent, or waits a moment.
    fn step(&mut self, outcomes: &dyn Fn(Outcome)) -> Result<(), Closed> {
        self.collect(Duration::ZERO, outcomes)?;
        self.answer();
        match self.told.try_recv() {
            Ok(Talk::Replan { revision, keep_s, answer }) => {
                self.feeder.replan(revision, keep_s)?;
                self.asked = Some((revision, answer));
                return Ok(());
            }
            Ok(Talk::Replace(job)) => return self.replace(job, outcomes),
            Err(_) => {}
        }
        if let Some((clip, ms, _)) =
            self.decoded.take_if(|(clip, ..)| self.feeder.has_room(clip.bytes()))
        {
            self.feeder.append(clip)?;
            self.waiting_ms.fetch_sub(ms, Ordering::Relaxed);
            if let Some(motion) = &mut self.motion {
                motion.appended();
            }
            return Ok(());
        }
        let runway_s = self.feeder.runway().seconds();
        if self.decoded.is_none()
            && runway_s < HUNGRY_S
            && let Some(job) = self.next_job()
        {
            return self.take(job, outcomes);
        }
        if self.motion.as_mut().is_some_and(|motion| motion.step(runway_s)) {
            return Ok(());
        }
        if self.decoded.is_some() {
            return self.collect(PATIENCE, outcomes);
        }
        if let Some(job) = self.backlog.pop_front() {
            return self.take(job, outcomes);
        }
        match self.queue.recv_timeout(PATIENCE) {
            Ok(job) => self.take(job, outcomes),
            Err(crossbeam_channel::RecvTimeoutError::Timeout) => Ok(()),
            Err(crossbeam_channel::RecvTimeoutError::Disconnected) => Err(Closed),
        }
    }

    fn collect(&self, patience: Duration, outcomes: &dyn Fn(Outcome)) -> Result<(), Closed> {
        let unused = self.feeder.collect(patience)?;
        unused.into_iter().for_each(|cycle| outcomes(Outcome::Unused(cycle)));
        Ok(())
    }

    fn next_job(&mut self) -> Option<Job> {
        self.backlog.pop_front().or_else(|| self.queue.try_recv().ok())
    }

    /// Passes the answer to a replan on.
    fn answer(&mut self) {
        while let Some(cut) = self.feeder.tail_cut() {
            if let Some((_, answer)) = self.asked.take_if(|(revision, _)| *revision == cut.revision)
            {
                // Whoever asked may have given up.
                let _ = answer.try_send(cut.clone());
            }
            self.cut = Some(cut);
        }
    }

    /// Lays a clip in the place of all that belongs to earlier plans. If it cannot be prepared they
    /// stay.
    fn replace(&mut self, job: Job, outcomes: &dyn Fn(Outcome)) -> Result<(), Closed> {
        let revision = job.revision;
        let cut = self.cut.take_if(|cut| cut.revision == revision);
        let stays = cut.as_ref().map(|cut| cut.clip.clone());
        let before = cut.filter(|_| self.grow_seconds > 0.0).and_then(|cut| before_cut(&cut));
        let before = std::mem::replace(&mut self.before, before);
        let waited = self.decoded.take();
        self.take(job, outcomes)?;
        let Some((clip, ms, _)) = self.decoded.take() else {
            (self.decoded, self.before) = (waited, before);
            return Ok(());
        };
        let stale = |of: u64| of < revision;
        match waited {
            Some((clip, ms, of)) if stale(of) => {
                self.waiting_ms.fetch_sub(ms, Ordering::Relaxed);
                outcomes(Outcome::Unused(clip.clip.cycle));
            }
            waited => self.decoded = waited,
        }
        self.backlog.extend(self.queue.try_iter());
        for dropped in self.backlog.iter().filter(|job| stale(job.revision)) {
            self.waiting_ms.fetch_sub(job_ms(dropped), Ordering::Relaxed);
            outcomes(Outcome::Unused(dropped.clip.cycle));
        }
        self.backlog.retain(|job| !stale(job.revision));
        if let Some(motion) = &mut self.motion {
            motion.replace(stays.as_ref(), &clip);
        }
        self.feeder.append_replacing(clip, revision)?;
        self.waiting_ms.fetch_sub(ms, Ordering::Relaxed);
        if let Some(motion) = &mut self.motion {
            motion.appended();
        }
        Ok(())
    }

    /// Decodes a clip.
    fn take(&mut self, job: Job, outcomes: &dyn Fn(Outcome)) -> Result<(), Closed> {
        let (clip, ms, revision) = (job.clip.clone(), job_ms(&job), job.revision);
        let prepared = catch_unwind(AssertUnwindSafe(|| self.prepare(job)));
        let prepared = prepared.unwrap_or_else(|_| {
            // What it left behind is not trusted.
            (self.joiner, self.before) = (Joiner::default(), None);
            Err(Error::internal(format!("a fault while {} was prepared", clip.path.display())))
        });
        match prepared {
            Ok(prepared) => {
                let prepared = Arc::new(prepared);
                if let Some(motion) = &mut self.motion {
                    motion.add(prepared.clone(), false);
                }
                self.decoded = Some((prepared, ms, revision));
                outcomes(Outcome::Ready(clip));
                Ok(())
            }
            Err(error) => {
                self.waiting_ms.fetch_sub(ms, Ordering::Relaxed);
                outcomes(Outcome::Failed(clip, error));
                // A set whose disk is gone fails at once, and comes again.
                self.collect(AFTER_FAILURE, outcomes)
            }
        }
    }

    fn prepare(&mut self, job: Job) -> Result<PreparedClip> {
        let Job { mut clip, origin, reversed, .. } = job;
        let mut decoded = decode(&*self.decoder, &mut clip, reversed)?;
        let passages = passages(&decoded.frames);
        let last = decoded.frames.last().cloned();
        let grown = self.grow(&clip, &mut decoded.frames, &passages);
        let motion_bytes = flow::motion_bytes(clip.format.width, clip.format.height);
        let about = (origin, clip, reversed);
        let mut prepared = PreparedClip::new(about, decoded.frames, passages, motion_bytes);
        prepared.grown_from = grown;
        self.before = last.filter(|_| self.grow_seconds > 0.0).map(|last| {
            let (serial, cycle) = (prepared.serial, prepared.clip.cycle);
            (Grown { serial, cycle, reversed, frames: 0, at: None }, last)
        });
        Ok(prepared)
    }

    /// Lets a clip grow out of the one before, if there is time for that.
    fn grow(&mut self, clip: &Clip, frames: &mut [Frame], passages: &[Passage]) -> Option<Grown> {
        let (from, before) = self.before.as_ref()?;
        let quality = match self.effort.get() {
            Effort::Full => Quality::Normal,
            Effort::FastMotion => Quality::Fast,
            _ => return None,
        };
        if self.feeder.runway().seconds() < HUNGRY_S {
            return None;
        }
        let count = (self.grow_seconds * clip.format.fps.as_f64()).round() as usize;
        // Never into its second half: a joint may follow there.
        let count = count.min(frames.len() / 2);
        let motions = self.joiner.join(before, frames, count, quality)?;
        let grown = Grown { frames: count as u32, ..*from };
        keep(motions, passages);
        Some(grown)
    }
}

/// The picture at a cut, for a clip to grow out of. The stand-in has no place in an archive from which
/// that could be done again.
fn before_cut(cut: &TailCut) -> Option<(Grown, Frame)> {
    let clip = &cut.clip;
    let picture = clip.frames.get(cut.frame as usize).filter(|_| clip.origin != Origin::StandIn)?;
    let from = Grown {
        serial: clip.serial,
        cycle: clip.clip.cycle,
        reversed: clip.reversed,
        frames: 0,
        at: Some(cut.frame),
    };
    Some((from, picture.clone()))
}

/// Decodes a clip, the way that it is to be played; it hears what it holds.
fn decode(decoder: &dyn ClipDecoder, clip: &mut Clip, reversed: bool) -> Result<DecodedClip> {
    let mut decoded = decoder.decode(&clip.path)?;
    clip.frames = decoded.frames.len() as u32;
    clip.format = decoded.format;
    if reversed {
        decoded.frames.reverse();
    }
    Ok(decoded)
}

fn passages(frames: &[Frame]) -> Vec<Passage> {
    let passages = retime::passages(frames).into_iter();
    passages.map(|p| Passage::new(p.from as usize, p.to as usize, p.moves)).collect()
}

/// The motion from each of the first frames to the next, found while they were joined.
fn keep(motions: Vec<Motion>, passages: &[Passage]) {
    for (n, motion) in motions.into_iter().enumerate() {
        let found = passages.iter().find(|p| p.moves && (p.from, p.to) == (n, n + 1));
        if let Some(passage) = found {
            let _ = passage.motion.set(motion);
        }
    }
}

fn job_ms(job: &Job) -> u64 {
    (job.clip.seconds() * 1000.0) as u64
}
