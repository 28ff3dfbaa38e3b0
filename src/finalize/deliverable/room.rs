//! Whether the disk has room for what is still to be written.

use std::path::{Path, PathBuf};

use super::plan::Plan;
use crate::archive::disk;
use crate::base::error::Result;

/// Bytes a frame while nothing is known: little, so that nobody is refused for a guess.
const LEAST_FRAME: u64 = 1000;

pub struct Room {
    pub free_bytes: fn(&Path) -> Option<u64>,
    pub least_free_mb: u64,
    pub folder: PathBuf,
}

impl Room {
    /// For the segments that are missing, and for the film beside all of them while they are joined.
    pub fn for_the_rest(&self, plan: &Plan) -> Result<()> {
        let (frames, bytes) = plan.done();
        let frame = if frames == 0 { LEAST_FRAME } else { bytes.div_ceil(frames) };
        let all = frame.saturating_mul(plan.frames());
        self.check(plan, all.saturating_sub(bytes).saturating_add(all))
    }

    /// For the film, now that the size of the segments is known.
    pub fn for_joining(&self, plan: &Plan) -> Result<()> {
        self.check(plan, plan.done().1)
    }

    fn check(&self, plan: &Plan, needed: u64) -> Result<()> {
        let Some(free) = (self.free_bytes)(&self.folder) else { return Ok(()) };
        disk::has_room(&self.folder, free, needed, self.least_free_mb).map_err(|error| {
            let (whole, all) =
                (plan.segments().len() - plan.missing().len(), plan.segments().len());
            error.context(format!(
                "too little room: the film and its segments are both there while they are joined; \
                 {whole} of {all} segments are there and stay"
            ))
        })
    }
}
