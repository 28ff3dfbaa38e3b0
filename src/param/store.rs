//! The snapshot that the render thread reads, and the way of triggers to it.

use super::registry::{ParamId, Values};

/// Numbers of all parameters, with the number of the change that made them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Snapshot {
    pub generation: u64,
    pub values: Values,
    /// How long the last change of each is to take; 0: as its parameter says.
    pub fades_ms: Values,
}

impl Default for Snapshot {
    fn default() -> Self {
        Snapshot { generation: 0, values: Values::default(), fades_ms: Values::ZERO }
    }
}

/// A trigger that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fired {
    pub id: ParamId,
    pub generation: u64,
}

/// The render thread's end.
pub struct Reader {
    pub(super) input: triple_buffer::Output<Snapshot>,
    pub(super) fired: crossbeam_channel::Receiver<Fired>,
    /// Sent after the snapshot that was read last.
    pub(super) early: Option<Fired>,
}

impl Reader {
    /// The newest snapshot; never waits, never allocates.
    pub fn latest(&mut self) -> &Snapshot {
        self.input.read()
    }

    /// A trigger that belongs to the snapshot of `generation` and was not handed out before,
    /// oldest first. One that is later than that waits for its own.
    pub fn fired(&mut self, generation: u64) -> Option<Fired> {
        let next = self.early.take().or_else(|| self.fired.try_recv().ok())?;
        if next.generation > generation {
            self.early = Some(next);
            return None;
        }
        Some(next)
    }
}
