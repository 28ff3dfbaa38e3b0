//! From finished clips to prepared ones: decoded, on a worker of low priority, in the order in
//! which they are due, and laid into the ring as room comes free.
//!
//! Holds: clips keep their order. What waits here waits encoded, on the disk; only the one that
//! goes into the ring next is decoded. A clip that cannot be decoded is reported and left out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::base::error::{Error, Result};
use crate::media::{Clip, ClipDecoder, Origin, PreparedClip};
use crate::ring::Feeder;

/// Clips that may wait to be prepared. A generator that is further ahead waits.
const WAITING: usize = 32;

/// How often a worker looks whether the ring has room.
const PATIENCE: Duration = Duration::from_millis(100);

/// Pause behind a clip that could not be prepared.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// A clip to be prepared.
#[derive(Clone, Debug)]
pub struct Job {
    pub clip: Clip,
    pub origin: Origin,
    /// To be shown from its last frame to its first.
    pub reversed: bool,
}

/// What became of a clip.
#[derive(Debug)]
pub enum Outcome {
    Ready(Clip),
    Failed(Clip, Error),
}

/// The end of those who have clips.
#[derive(Clone)]
pub struct Preparer {
    jobs: Sender<Job>,
    waiting_ms: Arc<AtomicU64>,
}

impl Preparer {
    /// Hands over a clip; waits while too many are waiting. `Err` when the show is over.
    pub fn prepare(&self, job: Job) -> Result<(), Job> {
        self.waiting_ms.fetch_add(job_ms(&job), Ordering::Relaxed);
        self.jobs.send(job).map_err(|e| e.0)
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

/// Starts the worker. `low_priority` is called on its thread first; `outcomes` are reported as
/// they come. It ends when every [`Preparer`] is gone or the playout is, and drops `outcomes`.
pub fn start(
    feeder: Feeder,
    decoder: Arc<dyn ClipDecoder>,
    low_priority: fn(),
    outcomes: impl Fn(Outcome) + Send + 'static,
) -> Result<Preparer> {
    let (jobs, queue) = bounded(WAITING);
    let waiting_ms = Arc::new(AtomicU64::new(0));
    let worker = Worker { queue, feeder, decoder, waiting_ms: waiting_ms.clone() };
    std::thread::Builder::new()
        .name("prepare".into())
        .spawn(move || {
            low_priority();
            worker.run(&outcomes);
        })
        .map_err(|e| Error::internal("cannot start preparing clips").with_source(e))?;
    Ok(Preparer { jobs, waiting_ms })
}

struct Worker {
    queue: Receiver<Job>,
    feeder: Feeder,
    decoder: Arc<dyn ClipDecoder>,
    waiting_ms: Arc<AtomicU64>,
}

impl Worker {
    fn run(self, outcomes: &dyn Fn(Outcome)) {
        loop {
            match self.queue.recv_timeout(PATIENCE) {
                Ok(job) => {
                    let (clip, ms) = (job.clip.clone(), job_ms(&job));
                    let laid = match prepare(job, &*self.decoder) {
                        Ok(prepared) => {
                            let laid = self.lay(prepared);
                            outcomes(Outcome::Ready(clip));
                            laid
                        }
                        Err(error) => {
                            outcomes(Outcome::Failed(clip, error));
                            // A set whose disk is gone fails at once, and comes again.
                            self.feeder.collect(AFTER_FAILURE)
                        }
                    };
                    self.waiting_ms.fetch_sub(ms, Ordering::Relaxed);
                    if laid.is_err() {
                        return;
                    }
                }
                Err(crossbeam_channel::RecvTimeoutError::Timeout) => {}
                Err(crossbeam_channel::RecvTimeoutError::Disconnected) => return,
            }
            if self.feeder.collect(Duration::ZERO).is_err() {
                return;
            }
        }
    }

    /// Waits for room in the ring and appends.
    fn lay(&self, clip: PreparedClip) -> Result<(), crate::ring::Closed> {
        let bytes = clip.bytes();
        while !self.feeder.has_room(bytes) {
            self.feeder.collect(PATIENCE)?;
        }
        self.feeder.append(Arc::new(clip))
    }
}

fn job_ms(job: &Job) -> u64 {
    (job.clip.seconds() * 1000.0) as u64
}

fn prepare(job: Job, decoder: &dyn ClipDecoder) -> Result<PreparedClip> {
    let Job { mut clip, origin, reversed } = job;
    let mut decoded = decoder.decode(&clip.path)?;
    clip.frames = decoded.frames.len() as u32;
    clip.format = decoded.format;
    if reversed {
        decoded.frames.reverse();
    }
    Ok(PreparedClip { origin, clip, reversed, frames: decoded.frames })
}
