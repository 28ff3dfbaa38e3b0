//! The archive's thread: everything small that a show writes goes through it, so that no other
//! thread waits for a disk.
//!
//! Queues: journal entries, 4096, when full the entry is dropped and counted, the sender never
//! waits; saves, 64, when full the sender waits (workers only, never the render thread).
//! Holds: what could not be written is kept and tried again each second, within a bound; what
//! went wrong stands in [`Handle::last_error`] until it works again. Files are written in the
//! order in which they were handed in; the state is written after the briqs that it lists.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Receiver, Sender, bounded, select, tick};

use super::journal::{self, Entry, Event};
use super::survey::Cycle;
use super::{FactoryState, Project};
use crate::base::clock::{Clock, iso8601};
use crate::base::error::{Error, Kind, Result};
use crate::base::fsio::write_atomic;
use crate::base::telemetry::Counter;
use crate::cycle::Briq;

const JOURNAL_QUEUE: usize = 4096;
const SAVE_QUEUE: usize = 64;
/// How often the journal is written, and what failed is tried again.
const FLUSH_EVERY: Duration = Duration::from_secs(1);
/// A journal that waits with more than this is written before its second is over.
const FLUSH_BYTES: usize = 64 * 1024;
/// Files that wait for a disk that does not take them; the oldest goes when one more comes.
const FILES_WAITING: usize = 256;

/// Owns the thread; dropping it writes what is left and joins.
pub struct Archive {
    handle: Handle,
    /// Dropped to end the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What others hand their writing to.
#[derive(Clone)]
pub struct Handle {
    journal: Sender<(SystemTime, Event)>,
    saves: Sender<Save>,
    shared: Arc<Shared>,
}

enum Save {
    File {
        path: PathBuf,
        content: Vec<u8>,
    },
    /// The state as it was then, not later: briqs that a later one lists are still to come. Of two
    /// the one with the higher number is the later one.
    State {
        number: u64,
        state: Box<FactoryState>,
    },
}

struct Shared {
    clock: Arc<dyn Clock>,
    project: Arc<Project>,
    /// And how often it has changed.
    state: Mutex<(u64, FactoryState)>,
    last_error: Mutex<Option<String>>,
    journal_dropped: Counter,
    write_failures: Counter,
}

impl Archive {
    /// Opens the journal, writes the state once (so that a full disk shows now) and starts the
    /// thread.
    pub fn start(project: Arc<Project>, clock: Arc<dyn Clock>) -> Result<Archive> {
        let journal = journal::Writer::open(&project.journal_file())?;
        write_atomic(&project.state_file(), &pretty(project.state()))?;
        let (journal_sender, journal_entries) = bounded(JOURNAL_QUEUE);
        let (save_sender, saves) = bounded(SAVE_QUEUE);
        let (stop, stopped) = bounded(0);
        let shared = Arc::new(Shared {
            clock,
            state: Mutex::new((0, project.state().clone())),
            project,
            last_error: Mutex::default(),
            journal_dropped: Counter::default(),
            write_failures: Counter::default(),
        });
        let worker = Worker {
            shared: shared.clone(),
            journal,
            files: VecDeque::new(),
            changed: None,
            newest: 0,
        };
        let thread = std::thread::Builder::new()
            .name("archive".into())
            .spawn(move || worker.run(&journal_entries, &saves, &stopped))
            .map_err(|e| Error::new(Kind::Internal, "cannot start a thread").with_source(e))?;
        let handle = Handle { journal: journal_sender, saves: save_sender, shared };
        Ok(Archive { handle, stop: Some(stop), thread: Some(thread) })
    }

    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Writes everything that was handed in before, and ends the thread. The error is the last
    /// one that still stands. Handles that are left over count what they are given as dropped.
    pub fn close(mut self) -> Result<()> {
        self.end();
        match self.handle.last_error() {
            None => Ok(()),
            Some(error) => Err(Error::new(Kind::Io, error)),
        }
    }

    fn end(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            self.handle.shared.failed("the archive's thread ended by a fault".into());
        }
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        self.end();
    }
}

impl Handle {
    /// Adds an entry to the journal, stamped now. Never waits: with a full queue the entry is
    /// dropped and counted.
    pub fn journal(&self, event: Event) {
        if self.journal.try_send((self.shared.clock.wall(), event)).is_err() {
            self.shared.journal_dropped.add(1);
        }
    }

    /// Keeps the briq under its id. May wait for the disk.
    pub fn save_briq(&self, briq: &Briq) {
        let path = self.shared.project.briq_file(&briq.briq_id);
        self.send(Save::File { path, content: pretty(briq) });
    }

    /// Changes the state and has it written. May wait for the disk.
    pub fn update_state(&self, change: impl FnOnce(&mut FactoryState)) {
        let (number, state) = {
            let mut current = lock(&self.shared.state);
            current.0 += 1;
            change(&mut current.1);
            (current.0, Box::new(current.1.clone()))
        };
        self.send(Save::State { number, state });
    }

    /// The state as it is now.
    pub fn state(&self) -> FactoryState {
        lock(&self.shared.state).1.clone()
    }

    /// The file of the next recording, which is none that this show has written.
    pub fn next_recording(&self) -> Result<PathBuf> {
        self.shared.project.next_recording_in(&self.state())
    }

    /// The last `most` cycles of the project with a number below `before`, newest first; how many
    /// there are in all; and whether there are earlier ones. Reads the folder: may wait for the disk.
    pub fn cycles(&self, before: Option<u32>, most: usize) -> Result<(Vec<Cycle>, usize, bool)> {
        self.shared.project.cycles(before.unwrap_or(u32::MAX), most, &self.state())
    }

    /// One of them.
    pub fn cycle(&self, number: u32) -> Result<Option<Cycle>> {
        let (mut cycles, ..) = self.cycles(number.checked_add(1), 1)?;
        Ok(cycles.pop().filter(|cycle| cycle.cycle.0 == number))
    }

    /// See [`Project::recorded_path`].
    pub fn recorded_path(&self, path: &Path) -> String {
        self.shared.project.recorded_path(path)
    }

    /// What cannot be written at present, in words for the user.
    pub fn last_error(&self) -> Option<String> {
        lock(&self.shared.last_error).clone()
    }

    /// Journal entries that were lost because the queue or the disk was full.
    pub fn journal_dropped(&self) -> u64 {
        self.shared.journal_dropped.get()
    }

    /// Attempts to write that failed.
    pub fn write_failures(&self) -> u64 {
        self.shared.write_failures.get()
    }

    fn send(&self, save: Save) {
        if self.saves.send(save).is_err() {
            self.shared.failed("the archive is closed already".into());
        }
    }
}

impl Shared {
    fn failed(&self, error: String) {
        self.write_failures.add(1);
        let mut last = lock(&self.last_error);
        if last.as_ref() != Some(&error) {
            tracing::error!("archive: {error}");
            *last = Some(error);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn pretty<T: serde::Serialize>(value: &T) -> Vec<u8> {
    // Briqs and states are maps with string keys, which always serialise.
    let mut text = serde_json::to_vec_pretty(value).unwrap_or_default();
    text.push(b'\n');
    text
}

struct Worker {
    shared: Arc<Shared>,
    journal: journal::Writer,
    /// Not yet written; in order, each path once.
    files: VecDeque<(PathBuf, Vec<u8>)>,
    /// The state that is to be written.
    changed: Option<Box<FactoryState>>,
    /// The number of the latest state that came.
    newest: u64,
}

impl Worker {
    fn run(
        mut self,
        entries: &Receiver<(SystemTime, Event)>,
        saves: &Receiver<Save>,
        stopped: &Receiver<()>,
    ) {
        let second = tick(FLUSH_EVERY);
        loop {
            select! {
                recv(entries) -> entry => match entry {
                    Ok(entry) => self.add(entry),
                    Err(_) => break,
                },
                recv(saves) -> save => match save {
                    Ok(save) => {
                        self.take(save);
                        // Saves that came together cost one write of the state.
                        if saves.is_empty() {
                            self.write();
                        }
                    }
                    Err(_) => break,
                },
                recv(second) -> _ => self.write(),
                recv(stopped) -> _ => break,
            }
        }
        entries.try_iter().for_each(|entry| self.add(entry));
        saves.try_iter().for_each(|save| self.take(save));
        self.write();
    }

    fn add(&mut self, (at, event): (SystemTime, Event)) {
        if !self.journal.add(&Entry { at: iso8601(at), event }) {
            self.shared.journal_dropped.add(1);
        }
        if self.journal.waiting() > FLUSH_BYTES {
            self.flush_journal();
        }
    }

    fn take(&mut self, save: Save) {
        match save {
            Save::State { number, state } => {
                if number > self.newest {
                    self.newest = number;
                    self.changed = Some(state);
                }
            }
            Save::File { path, content } => {
                self.files.retain(|(waiting, _)| *waiting != path);
                if self.files.len() == FILES_WAITING
                    && let Some((lost, _)) = self.files.pop_front()
                {
                    self.shared.failed(format!("{} could not be written", lost.display()));
                }
                self.files.push_back((path, content));
            }
        }
    }

    /// Writes all that waits; what fails goes on waiting.
    fn write(&mut self) {
        let mut ok = self.flush_journal();
        let shared = &self.shared;
        let mut attempt = |path: &PathBuf, content: &[u8]| {
            let written = write_atomic(path, content);
            if let Err(e) = &written {
                shared.failed(e.to_string());
                ok = false;
            }
            written.is_ok()
        };
        self.files.retain(|(path, content)| !attempt(path, content));
        self.changed.take_if(|state| attempt(&shared.project.state_file(), &pretty(state)));
        if ok {
            *lock(&shared.last_error) = None;
        }
    }

    fn flush_journal(&mut self) -> bool {
        let flushed = self.journal.flush();
        if let Err(e) = &flushed {
            let path = self.shared.project.journal_file();
            self.shared.failed(format!("cannot write {}: {e}", path.display()));
        }
        flushed.is_ok()
    }
}
