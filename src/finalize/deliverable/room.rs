//! Whether the disk has room for what is still to be written.

use std::path::{Path, PathBuf};

use super::plan::Plan;
use crate::base::error::{Error, Kind, Result};

/// What is left free in any case.
const SPARE: u64 = 64 << 20;
/// Bytes a frame while nothing is known: little, so that nobody is refused for a guess.
const LEAST_FRAME: u64 = 1000;

pub struct Room {
    pub free_bytes: fn(&Path) -> Option<u64>,
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
        let needed = needed.saturating_add(SPARE);
        if free >= needed {
            return Ok(());
        }
        let (whole, all) = (plan.segments().len() - plan.missing().len(), plan.segments().len());
        Err(Error::new(
            Kind::Io,
            format!(
                "too little room on the disk of {}: about {} are needed, as the film and its segments \
                 are both there while they are joined, and {} are free; make room and start again: \
                 {whole} of {all} segments are there and stay",
                self.folder.display(),
                shown(needed),
                shown(free)
            ),
        ))
    }
}

fn shown(bytes: u64) -> String {
    match bytes >> 20 {
        mib @ 0..10_240 => format!("{mib} MiB"),
        mib => format!("{} GiB", mib >> 10),
    }
}
