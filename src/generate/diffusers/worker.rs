//! The supervisor: keeps one worker running, gives it one job at a time, and cancels.
//!
//! Holds: whoever holds the lock of the slot owns the worker. A job whose future is dropped hands
//! the lock to a task that cancels it; until the worker has let go of it, or is killed, nobody else
//! gets the lock, and the folder of the job stays. A worker that dies is started anew by the next
//! job; one that keeps dying is given more and more time.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use tokio::time::sleep;

use super::process::{Launch, Process, failed};
use super::protocol::{Command, Event, Hello, Job};
use crate::base::clock::Clock;
use crate::base::error::{Error, Kind, Result};
use crate::generate::{OnProgress, Progress};

const CANCEL_PATIENCE: Duration = Duration::from_secs(10);
/// How long a worker that loads a model has to let go of a cancelled job.
const LOADING_PATIENCE: Duration = Duration::from_secs(900);
/// Longest pause after a worker that keeps dying.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

pub struct Supervisor {
    /// How long a worker has to let go of a cancelled job before it is killed.
    pub cancel_patience: Duration,
    launch: Arc<Launch>,
    clock: Arc<dyn Clock>,
    slot: Arc<AsyncMutex<Slot>>,
    /// Jobs that run or wait.
    jobs: AtomicU32,
    next_id: AtomicU64,
    /// Of the worker that was started last.
    hello: Mutex<Option<Hello>>,
}

#[derive(Default)]
struct Slot {
    process: Option<Process>,
    /// Workers in a row that died before they had finished a job.
    deaths: u32,
    /// No new one is started before.
    not_before: Duration,
    last_error: String,
}

impl Slot {
    /// The worker is of no more use.
    fn lost(&mut self, error: &Error, now: Duration) {
        self.process = None;
        self.deaths = self.deaths.saturating_add(1);
        // The first death may have been an accident.
        let pause = match self.deaths {
            0 | 1 => Duration::ZERO,
            n => Duration::from_secs(1 << (n - 1).min(6)).min(LONGEST_PAUSE),
        };
        self.not_before = now + pause;
        self.last_error = error.to_string();
    }
}

/// One in [`Supervisor::jobs`].
struct Counted<'a>(&'a AtomicU32);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A job that the worker is at. Dropping it cancels the job.
struct Running {
    /// `None` only after the end.
    held: Option<(OwnedMutexGuard<Slot>, TempDir)>,
    id: u64,
    patience: Duration,
    clock: Arc<dyn Clock>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some((mut slot, folder)) = self.held.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            slot.process = None;
            return;
        };
        let (id, patience, clock) = (self.id, self.patience, self.clock.clone());
        runtime.spawn(async move {
            if let Err(error) = cancel(&mut slot, id, patience).await {
                tracing::warn!("{error}; it is killed, and started anew by the next job");
                slot.lost(&error, clock.now());
            }
            drop(folder);
        });
    }
}

/// Waits until the worker is free of the job.
async fn cancel(slot: &mut Slot, id: u64, patience: Duration) -> Result<()> {
    let Some(process) = slot.process.as_mut() else { return Ok(()) };
    process.send(&Command::Cancel { id }).await?;
    let mut alarm = pin!(sleep(patience));
    let mut loading = false;
    loop {
        let event = tokio::select! {
            event = process.next() => event?,
            () = &mut alarm => {
                return Err(Error::unavailable(
                    "the diffusers worker does not let go of a cancelled job",
                ));
            }
        };
        match event {
            Event::Loading { id: its } if its == id => {
                loading = true;
                alarm.set(sleep(LOADING_PATIENCE));
            }
            // The model is there.
            Event::Progress { id: its, .. } if its == id && loading => {
                loading = false;
                alarm.set(sleep(patience));
            }
            Event::Done { id: its, .. } if its == id => return Ok(()),
            Event::Failed(failure) if failure.id == Some(id) => return Ok(()),
            _ => {}
        }
    }
}

impl Supervisor {
    pub fn new(launch: Launch, clock: Arc<dyn Clock>) -> Self {
        Supervisor {
            cancel_patience: CANCEL_PATIENCE,
            launch: Arc::new(launch),
            clock,
            slot: Arc::default(),
            jobs: AtomicU32::new(0),
            next_id: AtomicU64::new(1),
            hello: Mutex::new(None),
        }
    }

    /// What the worker says about itself; it is started if need be.
    pub async fn hello(&self) -> Result<Hello> {
        if let Ok(slot) = self.slot.clone().try_lock_owned() {
            return Ok(self.started(slot).await?.1);
        }
        // A job holds it, which may take minutes.
        let known = self.hello.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match known {
            Some(hello) => Ok(hello),
            None => Ok(self.started(self.slot.clone().lock_owned().await).await?.1),
        }
    }

    #[cfg(test)]
    pub async fn process_id(&self) -> Option<u32> {
        self.slot.lock().await.process.as_ref().and_then(Process::id)
    }

    /// The slot with a worker in it.
    async fn started(
        &self,
        mut slot: OwnedMutexGuard<Slot>,
    ) -> Result<(OwnedMutexGuard<Slot>, Hello)> {
        if let Some(process) = slot.process.as_mut() {
            if process.is_alive() {
                let hello = process.hello.clone();
                *self.hello.lock().unwrap_or_else(PoisonError::into_inner) = Some(hello.clone());
                return Ok((slot, hello));
            }
            tracing::warn!("the diffusers worker has ended between two jobs; it is started anew");
            slot.process = None;
        }
        let wait = slot.not_before.saturating_sub(self.clock.now());
        if !wait.is_zero() {
            return Err(Error::unavailable(format!(
                "the diffusers worker has died {} times in a row and is not started again for {:.0} \
                 s; last time: {}",
                slot.deaths,
                wait.as_secs_f64().ceil(),
                slot.last_error
            )));
        }
        // In a task of its own: a check that is given up must not throw away half a start.
        let (launch, clock) = (self.launch.clone(), self.clock.clone());
        let start = tokio::spawn(async move {
            match Process::start(&launch).await {
                Ok(process) => slot.process = Some(process),
                // Somebody has to do something first, and may have done so by the next job.
                Err(error) if error.kind == Kind::Usage => return Err(error),
                Err(error) => {
                    slot.lost(&error, clock.now());
                    return Err(error);
                }
            }
            Ok(slot)
        });
        let slot = start.await.map_err(Error::fault)??;
        let Some(hello) = slot.process.as_ref().map(|process| process.hello.clone()) else {
            return Err(Error::internal("the diffusers worker was started and is not there"));
        };
        *self.hello.lock().unwrap_or_else(PoisonError::into_inner) = Some(hello.clone());
        Ok((slot, hello))
    }

    /// Has the job done in `folder`. Returns its files, and the folder that they are in.
    pub async fn run(
        &self,
        mut job: Job,
        folder: TempDir,
        on_progress: OnProgress<'_>,
    ) -> Result<(Vec<PathBuf>, TempDir)> {
        let ahead = self.jobs.fetch_add(1, Ordering::Relaxed);
        let _counted = Counted(&self.jobs);
        let slot = match self.slot.clone().try_lock_owned() {
            Ok(slot) => slot,
            Err(_) => {
                on_progress(Progress::Queued(ahead));
                self.slot.clone().lock_owned().await
            }
        };
        if slot.process.is_none() {
            on_progress(Progress::Working { what: "starting Python".into(), done: None });
        }
        let (slot, _) = self.started(slot).await?;
        job.id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let mut running = Running {
            held: Some((slot, folder)),
            id: job.id,
            patience: self.cancel_patience,
            clock: self.clock.clone(),
        };
        let made = running.follow(&job, on_progress).await;
        let Some((mut slot, folder)) = running.held.take() else {
            return Err(Error::internal("a diffusers job has lost its worker"));
        };
        match made {
            Ok(Ok(files)) => {
                slot.deaths = 0;
                let files =
                    files.iter().map(|name| inside(&folder, name)).collect::<Result<_>>()?;
                Ok((files, folder))
            }
            Ok(Err(error)) => Err(error),
            Err(error) => {
                slot.lost(&error, self.clock.now());
                Err(error)
            }
        }
    }
}

impl Running {
    /// The job from sending it to its end. The outer error is the worker's end, the inner one that
    /// of the job alone.
    async fn follow(
        &mut self,
        job: &Job,
        on_progress: OnProgress<'_>,
    ) -> Result<Result<Vec<String>>> {
        let process = self.held.as_mut().and_then(|(slot, _)| slot.process.as_mut());
        let Some(process) = process else {
            return Err(Error::internal("a diffusers job has no worker"));
        };
        process.send(&Command::Job(job)).await?;
        loop {
            match process.next().await? {
                Event::Progress { id, what, done } if id == job.id => {
                    let done = done.map(|done| done.clamp(0.0, 1.0));
                    on_progress(Progress::Working { what: what.into(), done });
                }
                Event::Done { id, files, notes } if id == job.id => {
                    for note in notes {
                        tracing::warn!("diffusers: {note}");
                    }
                    return Ok(Ok(files));
                }
                Event::Failed(failure) if failure.id == Some(job.id) => {
                    return Ok(Err(failed(&failure)));
                }
                Event::Failed(failure) if failure.id.is_none() => return Err(failed(&failure)),
                _ => {}
            }
        }
    }
}

/// The path of a file that the worker names: in the folder of the job, nowhere else.
fn inside(folder: &TempDir, name: &str) -> Result<PathBuf> {
    let plain = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', ':']);
    if !plain {
        return Err(Error::unavailable(format!(
            "the diffusers worker names {name:?} as its result, which is no plain file name"
        )));
    }
    Ok(folder.path().join(name))
}
