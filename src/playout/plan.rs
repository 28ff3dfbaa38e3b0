//! What waits for the picture, in order, and where it may be cut.
//!
//! Holds: what waits is of one revision, and of earlier ones only up to the cut. A cut that was asked
//! for changes nothing before what replaces the tail is there.

use std::collections::VecDeque;
use std::sync::Arc;

use super::strand::Strand;
use crate::media::{CycleId, PreparedClip};

/// A clip that waits.
pub struct Ready {
    pub clip: Arc<PreparedClip>,
    /// The last frame that shows; what waits behind it takes its place there.
    pub cut: Option<u32>,
}

impl Ready {
    fn frames(&self) -> f64 {
        self.cut.map_or(self.clip.frames.len() as f64, |cut| f64::from(cut) + 1.0)
    }

    /// How long it shows at its own rate.
    pub fn seconds(&self) -> f64 {
        self.frames() * self.clip.clip.format.fps.frame_seconds()
    }
}

/// A replan that nothing has come for.
struct Asked {
    revision: u64,
    /// Clip and frame of the cut.
    serial: u64,
    frame: u32,
    answered: bool,
}

pub struct Plan {
    pub queue: VecDeque<Ready>,
    /// Of what airs by now; clips of earlier ones come too late.
    pub revision: u64,
    asked: Option<Asked>,
}

impl Plan {
    pub fn new(many: usize) -> Self {
        Plan { queue: VecDeque::with_capacity(many), revision: 0, asked: None }
    }

    /// Whether a clip belongs to the plan, as it is or as it was asked to be.
    pub fn wants(&self, revision: u64, replaces: bool) -> bool {
        let superseded = self.asked.as_ref().is_some_and(|asked| revision < asked.revision);
        revision >= self.revision && !(replaces && revision > self.revision && superseded)
    }

    /// Whether a replan comes too late.
    pub fn is_known(&self, revision: u64) -> bool {
        let asked = self.asked.as_ref().map_or(0, |asked| asked.revision);
        revision <= asked.max(self.revision)
    }

    pub fn asked(&mut self, revision: u64, (serial, frame): (u64, u32)) {
        self.asked = Some(Asked { revision, serial, frame, answered: false });
    }

    /// Revision, clip and frame of a cut that was not told of.
    pub fn unanswered(&self) -> Option<(u64, u64, u32)> {
        let asked = self.asked.as_ref().filter(|asked| !asked.answered)?;
        Some((asked.revision, asked.serial, asked.frame))
    }

    pub fn answered(&mut self) {
        if let Some(asked) = &mut self.asked {
            asked.answered = true;
        }
    }

    /// From here on the plan is another; returns clip and frame of its cut.
    pub fn begin(&mut self, revision: u64) -> Option<(u64, u32)> {
        self.revision = revision;
        let asked = self.asked.take_if(|asked| asked.revision <= revision)?;
        (asked.revision == revision).then_some((asked.serial, asked.frame))
    }

    /// Where a clip waits.
    pub fn place(&self, serial: u64) -> Option<usize> {
        self.queue.iter().position(|ready| ready.clip.serial == serial)
    }

    /// Where a cycle waits.
    pub fn of(&self, cycle: CycleId) -> Option<usize> {
        self.queue.iter().position(|ready| ready.clip.clip.cycle == cycle)
    }

    /// Clip and frame of the first picture that is `keep_s` ahead; the last one that is ready, if
    /// none is. `fresh`: what is on air, and where it stands. Seconds are those of clips at their own
    /// rate.
    pub fn cut(
        &self,
        fresh: Option<(&Strand, f64)>,
        keep_s: f64,
        join_s: f64,
    ) -> Option<(u64, u32)> {
        let mut left_s = keep_s.max(0.0);
        let mut last = None;
        for (clip, from, until) in self.stretches(fresh) {
            let frame_s = clip.clip.format.fps.frame_seconds();
            let wanted = (from + left_s / frame_s - 1e-6).ceil().max(0.0);
            if wanted < until {
                return Some((clip.serial, wanted as u32));
            }
            last = Some((clip.serial, (until.ceil() as u32).saturating_sub(1)));
            left_s = (left_s - (until - from) * frame_s + join_s).max(0.0);
        }
        last
    }

    /// Seconds until a picture is on air.
    pub fn due_s(
        &self,
        fresh: Option<(&Strand, f64)>,
        serial: u64,
        frame: u32,
        join_s: f64,
    ) -> f64 {
        let mut seconds = 0.0;
        for (clip, from, until) in self.stretches(fresh) {
            let frame_s = clip.clip.format.fps.frame_seconds();
            if clip.serial == serial {
                return (seconds + (f64::from(frame) - from) * frame_s).max(0.0);
            }
            seconds = (seconds + (until - from) * frame_s - join_s).max(0.0);
        }
        0.0
    }

    /// What is ready, in order: each clip, and from where to where it is still to be shown.
    fn stretches<'a>(
        &'a self,
        fresh: Option<(&'a Strand, f64)>,
    ) -> impl Iterator<Item = (&'a PreparedClip, f64, f64)> {
        let on_air = fresh.into_iter().map(|(s, here)| (&*s.clip, here, s.end() + 1.0));
        on_air.chain(self.queue.iter().map(|r| (&*r.clip, 0.0, r.frames())))
    }
}
