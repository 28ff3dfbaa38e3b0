//! Archived clips as they were on air, prepared again: the few that are needed now.
//!
//! Holds: whatever is asked for stays until two others have been; beyond that clips go, the one
//! that was not needed for longest first, once they take more than [`MOST_BYTES`].

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::app::parts;
use crate::archive::Clips;
use crate::archive::journal::{self, StandIn};
use crate::base::error::Result;
use crate::base::time::FrameRate;
use crate::finalize::replay::Source;
use crate::media::{Clip, CycleId, Frame, Grown, Origin, PreparedClip, VideoFormat};
use crate::prepare::{Growth, Job, Whole};

/// Clips that are held beyond the two on air: enough for a show that goes back and forth.
const MOST_BYTES: usize = 512 << 20;

pub struct Stock<'a> {
    pub whole: Whole,
    pub clips: Clips,
    pub stand_in: Option<StandIn>,
    pub stop: &'a AtomicBool,
    /// The one needed last is in front.
    held: VecDeque<(Source, Stocked)>,
}

#[derive(Clone)]
pub enum Stocked {
    Clip {
        clip: Arc<PreparedClip>,
        /// Frames at its beginning that are not as they were on air, and why.
        spoilt: Option<(u32, Arc<str>)>,
    },
    /// Why there is none.
    Missing(Arc<str>),
}

impl<'a> Stock<'a> {
    pub fn new(
        whole: Whole,
        clips: Clips,
        stand_in: Option<StandIn>,
        stop: &'a AtomicBool,
    ) -> Self {
        Stock { whole, clips, stand_in, stop, held: VecDeque::new() }
    }

    /// The clip; `None`: a wish to stop came meanwhile.
    pub fn get(&mut self, source: &Source) -> Option<Stocked> {
        if let Some(place) = self.held.iter().position(|(held, _)| held == source) {
            let known = self.held.remove(place)?;
            let stocked = known.1.clone();
            self.held.push_front(known);
            return Some(stocked);
        }
        let stocked = match source.cycle {
            Some(cycle) => self.prepare(CycleId(cycle), source)?,
            None => self.paint_stand_in(),
        };
        self.held.push_front((source.clone(), stocked.clone()));
        while self.held.len() > 2 && self.bytes() > MOST_BYTES {
            self.held.pop_back();
        }
        Some(stocked)
    }

    #[cfg(test)]
    pub fn put(&mut self, source: Source, clip: Arc<PreparedClip>) {
        self.held.push_back((source, Stocked::Clip { clip, spoilt: None }));
    }

    fn bytes(&self) -> usize {
        let bytes = |(_, stocked): &(Source, Stocked)| match stocked {
            Stocked::Clip { clip, .. } => clip.bytes(),
            Stocked::Missing(_) => 0,
        };
        self.held.iter().map(bytes).sum()
    }

    fn paint_stand_in(&self) -> Stocked {
        let Some(StandIn { prompt, seed }) = &self.stand_in else {
            let why = "the journal does not say what was on air before the first cycle";
            return Stocked::Missing(why.into());
        };
        let clip = parts::stand_in(prompt, *seed);
        if self.whole.motion {
            self.whole.find_motion(&clip, self.stop);
        }
        Stocked::Clip { clip, spoilt: None }
    }

    fn prepare(&self, cycle: CycleId, source: &Source) -> Option<Stocked> {
        let Some(path) = self.clips.raw(cycle) else {
            return Some(Stocked::Missing(format!("the clip of cycle {cycle} is missing").into()));
        };
        let before = source.grown.map(|grown| (grown, self.picture(&grown)));
        let growth = before.as_ref().and_then(|(grown, before)| {
            let from = Grown {
                serial: 0,
                cycle: CycleId(grown.cycle),
                reversed: grown.reversed,
                frames: grown.frames,
                at: grown.at,
            };
            before.as_ref().ok().map(|before| Growth { from, before })
        });
        let job = job(cycle, path, source.reversed);
        let prepared = match self.whole.prepare(job, growth, self.stop) {
            Ok(prepared) => prepared?,
            Err(error) => return Some(Stocked::Missing(error.to_string().into())),
        };
        let spoilt = before.filter(|_| prepared.grown_from.is_none()).map(|(grown, before)| {
            let why = match before {
                Err(why) => why,
                Ok(_) => format!("cycle {cycle} does not grow out of cycle {}", grown.cycle),
            };
            (grown.frames, why.into())
        });
        Some(Stocked::Clip { clip: Arc::new(prepared), spoilt })
    }

    /// The picture of a clip that another grew out of, or why there is none.
    fn picture(&self, of: &journal::Grown) -> Result<Frame, String> {
        let cycle = CycleId(of.cycle);
        let absent = || format!("cycle {cycle} has no picture {}", of.at.unwrap_or(0));
        let place = |frames: usize| match of.at {
            Some(at) => at as usize,
            None => frames.saturating_sub(1),
        };
        // It was on air just before. (Its own joint is at its beginning; a picture from there is
        // only right as it was on air.)
        let same =
            |source: &Source| (source.cycle, source.reversed) == (Some(of.cycle), of.reversed);
        for (source, stocked) in &self.held {
            if let Stocked::Clip { clip, .. } = stocked
                && same(source)
            {
                return clip.frames.get(place(clip.frames.len())).cloned().ok_or_else(absent);
            }
        }
        let path =
            self.clips.raw(cycle).ok_or_else(|| format!("the clip of cycle {cycle} is missing"))?;
        let mut frames = self.whole.decoder.decode(&path).map_err(|e| e.to_string())?.frames;
        if of.reversed {
            frames.reverse();
        }
        let place = place(frames.len());
        if place < frames.len() { Ok(frames.swap_remove(place)) } else { Err(absent()) }
    }
}

/// What is not known of the clip is found when it is decoded.
fn job(cycle: CycleId, path: PathBuf, reversed: bool) -> Job {
    let format = VideoFormat { width: 0, height: 0, fps: FrameRate::whole(8) };
    let clip = Clip { cycle, path, format, frames: 0, prompt: "".into() };
    Job { clip, origin: Origin::Cycle, reversed, revision: 0 }
}
