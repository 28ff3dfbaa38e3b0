//! Changes of the plan: where the timeline can be cut, and what comes in the place of its tail.
//!
//! Holds: a replan alone changes nothing of what is shown. Whatever is cut, what replaces it waits
//! behind the cut already.

use std::sync::Arc;

use super::plan::Ready;
use super::strand::{Role, Strand};
use super::timeline::Timeline;
use crate::media::PreparedClip;
use crate::ring::{Sent, TailCut};

impl Timeline {
    /// Takes a clip into the plan, or sends it home.
    pub(super) fn accept(&mut self, sent: Sent) {
        let Sent { clip, revision, replaces } = sent;
        if !self.plan.wants(revision, replaces) {
            self.counters.dropped.add(1);
            self.leaving.push_back((clip, true));
            return;
        }
        if replaces && revision > self.plan.revision {
            self.replace(revision);
        }
        self.plan.queue.push_back(Ready { clip, cut: None });
    }

    /// Cuts what waits, or is on air, for what comes in its place.
    fn replace(&mut self, revision: u64) {
        self.counters.replans.add(1);
        let cut = self.plan.begin(revision);
        let waiting = cut.and_then(|(serial, frame)| Some((self.plan.place(serial)?, frame)));
        let keep = waiting.map_or(0, |(place, _)| place + 1);
        while self.plan.queue.len() > keep
            && let Some(dropped) = self.plan.queue.pop_back()
        {
            self.counters.dropped.add(1);
            self.leaving.push_back((dropped.clip, true));
        }
        if let Some((place, frame)) = waiting {
            self.plan.queue[place].cut = Some(frame);
            return;
        }
        let (v, keeps) = (self.v(), self.steering.keeps());
        let on_air = self.on_air_mut();
        let here = on_air.position(v);
        let ahead = cut.filter(|(serial, frame)| {
            *serial == on_air.clip.serial && here <= f64::from(*frame) + 1e-6
        });
        match ahead {
            Some((_, frame)) => on_air.cut(f64::from(frame)),
            // It has been passed: at once. Who holds a clip, or is back somewhere, stays there.
            None if on_air.role == Role::Fresh && !keeps => on_air.cut(here - 1.0),
            None => {}
        }
    }

    /// What is on air and runs towards what waits, and where it stands.
    fn fresh(&self) -> Option<(&Strand, f64)> {
        let on_air = self.on_air();
        let runs = on_air.role == Role::Fresh && on_air.direction() > 0.0;
        runs.then(|| (on_air, on_air.position(self.v())))
    }

    /// Finds where the timeline can be cut: at the first picture that is `keep_s` ahead.
    pub(super) fn ask(&mut self, revision: u64, keep_s: f64) {
        if self.plan.is_known(revision) {
            return;
        }
        // Clips are measured at their own rate.
        let speed = self.steering.speed;
        let join_s = self.steering.crossfade_s * speed;
        let cut = self.plan.cut(self.fresh(), keep_s * speed, join_s);
        let newest = || self.history.newest().unwrap_or(&self.base.clip);
        let cut = cut.unwrap_or_else(|| (newest().serial, newest().frames.len() as u32 - 1));
        self.plan.asked(revision, cut);
    }

    /// Says where the timeline can be cut, if that was asked.
    pub(super) fn answer(&mut self) {
        let Some((revision, serial, frame)) = self.plan.unanswered() else { return };
        let clip = self.held(serial).clone();
        let speed = self.steering.speed;
        let join_s = self.steering.crossfade_s * speed;
        let due_s = self.plan.due_s(self.fresh(), serial, frame, join_s) / speed;
        let frame = frame.min(clip.frames.len() as u32 - 1);
        if self.player.answer(TailCut { revision, clip, frame, due_s }) {
            self.plan.answered();
        }
    }

    /// A clip that is here; what is on air, should it have gone home meanwhile.
    fn held(&self, serial: u64) -> &Arc<PreparedClip> {
        let waiting = self.plan.queue.iter().map(|ready| &ready.clip);
        let mut held = waiting.chain(&self.history.clips).chain([&self.base.clip]);
        held.find(|clip| clip.serial == serial).unwrap_or(&self.on_air().clip)
    }
}
