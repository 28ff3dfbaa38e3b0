//! What was shown, for walking back: the clips that the memory holds, oldest first.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::media::{CycleId, PreparedClip};

pub struct History {
    /// Neighbours followed one another.
    pub clips: VecDeque<Arc<PreparedClip>>,
    bytes: usize,
    most_bytes: usize,
    most: usize,
}

impl History {
    pub fn new(most_bytes: usize, most: usize) -> Self {
        History { clips: VecDeque::with_capacity(most + 1), bytes: 0, most_bytes, most }
    }

    /// Keeps a clip that goes on air.
    pub fn push(&mut self, clip: Arc<PreparedClip>) {
        self.bytes += clip.bytes();
        self.clips.push_back(clip);
    }

    /// The oldest clip, if there are too many.
    pub fn overflow(&mut self) -> Option<Arc<PreparedClip>> {
        let full = self.bytes > self.most_bytes || self.clips.len() > self.most;
        let oldest =
            if full && self.clips.len() > 1 { self.clips.pop_front()? } else { return None };
        self.bytes -= oldest.bytes();
        Some(oldest)
    }

    /// Keeps a clip of an earlier session; they come newest first, each goes before the last. Handed
    /// back, if there is no room.
    pub fn push_earlier(&mut self, clip: Arc<PreparedClip>) -> Result<(), Arc<PreparedClip>> {
        let bytes = clip.bytes();
        let room = self.bytes + bytes <= self.most_bytes && self.clips.len() < self.most;
        if !self.clips.is_empty() && !room {
            return Err(clip);
        }
        self.bytes += bytes;
        self.clips.push_front(clip);
        Ok(())
    }

    pub fn newest(&self) -> Option<&Arc<PreparedClip>> {
        self.clips.back()
    }

    /// The newest clip of a cycle.
    pub fn of(&self, cycle: CycleId) -> Option<&Arc<PreparedClip>> {
        self.clips.iter().rev().find(|clip| clip.clip.cycle == cycle)
    }

    fn place(&self, clip: &Arc<PreparedClip>) -> Option<usize> {
        self.clips.iter().position(|known| Arc::ptr_eq(known, clip))
    }

    /// The clip that continues another in a direction.
    pub fn neighbour(
        &self,
        clip: &Arc<PreparedClip>,
        direction: f64,
    ) -> Option<&Arc<PreparedClip>> {
        let here = self.place(clip)?;
        self.clips.get(if direction > 0.0 { here + 1 } else { here.checked_sub(1)? })
    }

    /// So many before a clip, or the oldest; `None`: it is the oldest itself.
    pub fn back(&self, clip: &Arc<PreparedClip>, steps: usize) -> Option<&Arc<PreparedClip>> {
        let here = self.place(clip)?;
        (here > 0).then(|| &self.clips[here.saturating_sub(steps.max(1))])
    }

    /// What follows a clip in a loop over the last `cycles`.
    pub fn in_loop(
        &self,
        clip: &Arc<PreparedClip>,
        direction: f64,
        cycles: usize,
    ) -> Option<&Arc<PreparedClip>> {
        let many = self.clips.len();
        let first = many.saturating_sub(cycles.max(1));
        let here = self.place(clip).filter(|here| *here >= first);
        let there = match here {
            Some(here) if direction > 0.0 => (here + 1 < many).then_some(here + 1),
            Some(here) => here.checked_sub(1).filter(|there| *there >= first),
            None => None,
        };
        let start = if direction > 0.0 { first } else { many.saturating_sub(1) };
        self.clips.get(there.unwrap_or(start))
    }
}
