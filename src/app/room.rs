//! How much room the disks have that a show writes to.
//!
//! Holds: a disk is asked on a thread of its own, as one that hangs (a stick pulled out, a network
//! that is gone) answers never; who wants to know gets the last answer at once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::archive::disk;
use crate::base::error::{Error, Result};

const ASK_EVERY: Duration = Duration::from_secs(1);

type Answers = Arc<Mutex<HashMap<PathBuf, Option<u64>>>>;

pub struct Room {
    answers: Answers,
    /// Nothing is ever sent; dropped, it ends the thread, which nobody waits for.
    _asking: Sender<()>,
}

impl Room {
    pub fn start() -> Result<Self> {
        let answers = Answers::default();
        let (asking, over) = bounded(0);
        let to = answers.clone();
        std::thread::Builder::new()
            .name("room".into())
            .spawn(move || ask(&to, &over))
            .map_err(|e| Error::internal("cannot watch the disks").with_source(e))?;
        Ok(Room { answers, _asking: asking })
    }

    /// Bytes free for the file at `path`. `None`: not known, or not yet.
    pub fn free_bytes(&self, path: &Path) -> Option<u64> {
        *lock(&self.answers).entry(path.to_path_buf()).or_default()
    }
}

fn ask(answers: &Answers, over: &Receiver<()>) {
    while over.recv_timeout(ASK_EVERY) == Err(RecvTimeoutError::Timeout) {
        let paths: Vec<PathBuf> = lock(answers).keys().cloned().collect();
        for path in paths {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            let free = disk::free_bytes(folder.unwrap_or(Path::new(".")));
            lock(answers).insert(path, free);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
