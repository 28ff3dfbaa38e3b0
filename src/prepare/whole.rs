//! A clip prepared all at once, with all the time in the world: for pictures that are not live.
//!
//! Holds: frames and passages are those that the worker of a show makes of the same clip, grown out
//! of the same one; but all motion is known, found at the best quality.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::joint::Joiner;
use super::{Job, decode, keep, passages};
use crate::base::error::Result;
use crate::media::{ClipDecoder, Frame, Grown, Motion, MotionKind, PreparedClip};
use crate::render::flow::{Analyser, Quality, motion_bytes};

/// Joints are found with less pains where more of it finds nothing that both pictures share: on
/// stage they were.
const JOINT_QUALITIES: [Quality; 3] = [Quality::High, Quality::Normal, Quality::Fast];

pub struct Whole {
    pub decoder: Arc<dyn ClipDecoder>,
    /// Whether motion is wanted.
    pub motion: bool,
    /// Called on each thread that looks for motion.
    pub low_priority: fn(),
}

/// What a clip grows out of.
pub struct Growth<'a> {
    pub from: Grown,
    /// The other's last picture.
    pub before: &'a Frame,
}

impl Whole {
    /// Prepares a clip; `None`: `stop` was set meanwhile.
    ///
    /// # Errors
    /// It cannot be decoded; names the file.
    pub fn prepare(
        &self,
        job: Job,
        growth: Option<Growth<'_>>,
        stop: &AtomicBool,
    ) -> Result<Option<PreparedClip>> {
        let Job { mut clip, origin, reversed, .. } = job;
        let mut decoded = decode(&*self.decoder, &mut clip, reversed)?;
        let passages = passages(&decoded.frames);
        let grown_from = growth.and_then(|Growth { from, before }| {
            let count = from.frames as usize;
            let mut joined = JOINT_QUALITIES.iter().filter_map(|quality| {
                Joiner::default().join(before, &mut decoded.frames, count, *quality)
            });
            let motions = joined.next()?;
            if self.motion {
                keep(motions, &passages);
            }
            Some(from)
        });
        let motion_bytes = motion_bytes(clip.format.width, clip.format.height);
        let about = (origin, clip, reversed);
        let mut prepared = PreparedClip::new(about, decoded.frames, passages, motion_bytes);
        prepared.grown_from = grown_from;
        if self.motion {
            self.find_motion(&prepared, stop);
        }
        Ok((!stop.load(Ordering::Relaxed)).then_some(prepared))
    }

    /// Finds what motion of a clip is not known yet.
    pub fn find_motion(&self, clip: &PreparedClip, stop: &AtomicBool) {
        let next = AtomicUsize::new(0);
        let work = || {
            (self.low_priority)();
            let mut analyser = Analyser::new();
            while !stop.load(Ordering::Relaxed) {
                let place = next.fetch_add(1, Ordering::Relaxed);
                let Some(passage) = clip.passages.get(place) else { break };
                if passage.is_open() {
                    let (a, b) = (&clip.frames[passage.from], &clip.frames[passage.to]);
                    let mut motion = Motion::default();
                    let found = catch_unwind(AssertUnwindSafe(|| {
                        analyser.analyse(a.as_ref().y, b.as_ref().y, Quality::High, &mut motion);
                    }));
                    if found.is_err() {
                        // As on stage: shown as if another scene began.
                        analyser = Analyser::new();
                        motion = Motion { kind: MotionKind::Cut, ..Motion::default() };
                    }
                    let _ = passage.motion.set(motion);
                }
            }
        };
        let threads = thread::available_parallelism().map_or(1, |n| n.get());
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(work);
            }
        });
    }
}
