//! The way from the sources of the tempo to the conductor.

use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::{Note, Source};
use crate::base::telemetry::Counter;

/// Notes that may wait. When it is full a further one is lost, and counted: by then nobody has
/// taken any for seconds.
const WAITING: usize = 4096;
/// As much of a name as is kept.
const LONGEST_NAME: usize = 80;

/// Takes notes, from any thread; never waits.
#[derive(Clone)]
pub struct NoteSender {
    notes: Sender<Note>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    lost: Counter,
    /// Who it is, of each source: a port, an address.
    names: Mutex<[Option<Arc<str>>; Source::ALL.len()]>,
}

/// The sender, and where notes come out.
pub fn notes() -> (NoteSender, Receiver<Note>) {
    let (notes, heard) = bounded(WAITING);
    (NoteSender { notes, shared: Arc::default() }, heard)
}

impl NoteSender {
    pub fn send(&self, note: Note) {
        if self.notes.try_send(note).is_err() {
            self.shared.lost.add(1);
        }
    }

    /// Says who a source is, to be shown.
    pub fn name(&self, source: Source, name: &str) {
        let mut names = self.shared.names.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = &mut names[source as usize];
        if slot.as_deref() != Some(name) {
            let shown = |c: char| if c.is_control() { '?' } else { c };
            *slot = Some(name.chars().take(LONGEST_NAME).map(shown).collect::<String>().into());
        }
    }

    pub fn names(&self) -> [Option<Arc<str>>; Source::ALL.len()] {
        self.shared.names.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes that were lost.
    pub fn lost(&self) -> u64 {
        self.shared.lost.get()
    }
}
