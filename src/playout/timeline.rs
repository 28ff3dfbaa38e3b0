//! What follows what: new clips as they come, joined; and when none is there, a walk back and
//! forth over what was shown.
//!
//! How the walk goes: a clip that ends with nothing new behind it turns round smoothly and runs
//! back to its beginning. Cycles grow out of one another, so its first frame continues the clip
//! before it: the walk goes on there, backwards, and so on to the oldest clip still held; there it
//! turns and comes forwards again. As soon as a new clip is ready it is joined in from wherever
//! the walk is.
//!
//! Holds: at most two clips are on air at once. Clips leave through the ring, never freed here.

use std::collections::VecDeque;
use std::sync::Arc;

use crossbeam_channel::Sender;

use super::plan::{Plan, Ready};
use super::strand::{Motion, Role, Strand};
use crate::base::telemetry::{Counter, Gauge};
use crate::base::time::FrameRate;
use crate::media::{Grown, MotionKind, Origin, PreparedClip};
// What is on air is said in the renderer's own terms: nothing is translated on the way.
use crate::render::{Layer, Picture as Shot};
use crate::ring::{Command, Player, Sent, TailCut};

/// Clips that may wait or be held at once; the ring's capacity in bytes binds long before.
pub(super) const MANY: usize = 256;

#[derive(Clone, Copy, Debug)]
pub struct TimelineSettings {
    pub fps: FrameRate,
    /// Length of a join. 0: the joint is one source frame long, like any other pair of frames.
    pub join_seconds: f64,
    /// Bytes of shown clips that are kept for walking back.
    pub history_bytes: usize,
    /// Whether the show may begin at this frame, so that the sound can begin with it.
    pub may_begin: fn(FrameRate, u64) -> bool,
}

/// A change of what is on air, for the journal: from output frame `frame` on, the strand moves
/// from `position` as `motion` says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ShotEvent {
    pub frame: u64,
    /// `None` for the stand-in.
    pub cycle: Option<u32>,
    pub role: Role,
    /// Source frame, fractional, in the order in which the clip was recorded.
    pub position: f64,
    /// Source frames per output frame at `frame`; negative backwards.
    pub speed: f64,
    /// Output frames that a turn takes, if one begins here.
    pub turn_frames: Option<f64>,
    /// Output frames over which it is faded in, if it is joined in here.
    pub fade_frames: Option<u32>,
    /// Tells the clip from every other.
    pub clip: u64,
    /// It was laid in back to front.
    pub reversed: bool,
    /// What it grows out of, if it is joined in here.
    pub grown: Option<Grown>,
}

/// What the timeline counts, readable from anywhere.
#[derive(Debug, Default)]
pub struct PlayoutCounters {
    pub played: Counter,
    pub replayed: Counter,
    pub stand_in: Counter,
    pub underruns: Counter,
    /// Cycle on air plus one; 0 for the stand-in.
    pub on_air: Gauge,
    /// 1 while something is shown again.
    pub replaying: Gauge,
    /// Replans that took effect, and clips that went home unused for them.
    pub replans: Counter,
    pub dropped: Counter,
    /// Journal entries that found the way full.
    pub events_lost: Counter,
}

struct Fade {
    to: Strand,
    start: u64,
    frames: u32,
}

pub struct Timeline {
    settings: TimelineSettings,
    player: Player,
    events: Sender<ShotEvent>,
    counters: Arc<PlayoutCounters>,
    live: bool,
    base: Strand,
    fade: Option<Fade>,
    /// Ready and not shown yet.
    plan: Plan,
    /// Shown (or made earlier), oldest first; neighbours grew out of one another.
    history: VecDeque<Arc<PreparedClip>>,
    history_bytes: usize,
    /// Clips on their way out that may still be in use, and whether they never aired.
    leaving: VecDeque<(Arc<PreparedClip>, bool)>,
}

impl Timeline {
    /// Starts with the stand-in on air, in standby: nothing is taken from the ring before
    /// *go*. `events` is bounded; when it is full an event is lost and counted.
    pub fn new(
        settings: TimelineSettings,
        player: Player,
        stand_in: Arc<PreparedClip>,
        events: Sender<ShotEvent>,
        counters: Arc<PlayoutCounters>,
    ) -> Self {
        Timeline {
            base: Strand::stand_in(stand_in, 0, settings.fps),
            settings,
            player,
            events,
            counters,
            live: false,
            fade: None,
            plan: Plan::new(MANY),
            history: VecDeque::with_capacity(MANY),
            history_bytes: 0,
            leaving: VecDeque::with_capacity(MANY),
        }
    }

    /// What is on air at output frame `n`. To be called for rising `n`; frames may be left out.
    pub fn tick(&mut self, n: u64) -> Shot<'_> {
        if n == 0 {
            self.counters.stand_in.add(1);
            self.report(n, None);
        }
        self.take_commands(n);
        self.finish_fade(n);
        self.advance(n);
        if self.fade.is_none() {
            self.join_next(n);
        }
        self.release();
        let runway = self.runway_seconds(n);
        self.player.report_runway(runway);
        self.shot(n)
    }

    /// Whether *go* was given.
    pub fn is_live(&self) -> bool {
        self.live
    }

    fn take_commands(&mut self, n: u64) {
        if !self.live && self.player.is_live() {
            self.live = (self.settings.may_begin)(self.settings.fps, n);
        }
        // A full queue stays in the ring.
        while self.plan.queue.len() < MANY / 2 {
            match self.player.poll() {
                Some(Command::Append(sent)) if sent.clip.origin == Origin::Earlier => {
                    self.remember_earlier(sent.clip);
                }
                Some(Command::Append(sent)) => self.accept(n, sent),
                Some(Command::Replan { revision, keep_s }) => self.ask(n, revision, keep_s),
                None => break,
            }
        }
        self.answer(n);
    }

    /// Takes a clip into the plan, or sends it home.
    fn accept(&mut self, n: u64, sent: Sent) {
        let Sent { clip, revision, replaces } = sent;
        if !self.plan.wants(revision, replaces) {
            self.counters.dropped.add(1);
            self.leaving.push_back((clip, true));
            return;
        }
        if replaces && revision > self.plan.revision {
            self.replace(n, revision);
        }
        self.plan.queue.push_back(Ready { clip, cut: None });
    }

    /// Cuts what waits, or is on air, for what comes in its place.
    fn replace(&mut self, n: u64, revision: u64) {
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
        let on_air = self.fade.as_mut().map_or(&mut self.base, |fade| &mut fade.to);
        let here = on_air.position(n);
        let ahead = cut.filter(|(serial, frame)| {
            *serial == on_air.clip.serial && here <= f64::from(*frame) + 1e-6
        });
        // Where the cut has been passed: at once.
        on_air.cut(ahead.map_or(here - 1.0, |(_, frame)| f64::from(frame)));
    }

    /// Finds where the timeline can be cut: at the first picture that is `keep_s` ahead.
    fn ask(&mut self, n: u64, revision: u64, keep_s: f64) {
        if self.plan.is_known(revision) {
            return;
        }
        let on_air = self.fade.as_ref().map_or(&self.base, |fade| &fade.to);
        let fresh = (on_air.role == Role::Fresh).then_some(on_air);
        let join_s = self.settings.join_seconds;
        let cut = self.plan.cut(fresh.map(|strand| (strand, strand.position(n))), keep_s, join_s);
        let newest = || self.history.back().unwrap_or(&self.base.clip);
        let cut = cut.unwrap_or_else(|| (newest().serial, newest().frames.len() as u32 - 1));
        self.plan.asked(revision, cut);
    }

    /// Says where the timeline can be cut, if that was asked.
    fn answer(&mut self, n: u64) {
        let Some((revision, serial, frame)) = self.plan.unanswered() else { return };
        let on_air = self.fade.as_ref().map_or(&self.base, |fade| &fade.to);
        let held = self.plan.queue.iter().map(|ready| &ready.clip).chain(&self.history);
        let held = held.chain([&on_air.clip, &self.base.clip]);
        // A clip that has gone home meanwhile is of no use.
        let clip = held.into_iter().find(|clip| clip.serial == serial).unwrap_or(&on_air.clip);
        let clip = clip.clone();
        let fresh = (on_air.role == Role::Fresh).then(|| (on_air, on_air.position(n)));
        let due_s = self.plan.due_s(fresh, serial, frame, self.settings.join_seconds);
        let frame = frame.min(clip.frames.len() as u32 - 1);
        if self.player.answer(TailCut { revision, clip, frame, due_s }) {
            self.plan.answered();
        }
    }

    fn finish_fade(&mut self, n: u64) {
        if self.fade.as_ref().is_some_and(|f| n >= f.start + u64::from(f.frames))
            && let Some(fade) = self.fade.take()
        {
            let gone = std::mem::replace(&mut self.base, fade.to);
            if gone.role == Role::StandIn {
                self.leave(gone.clip);
            }
        }
    }

    /// Lets both strands turn where they must.
    fn advance(&mut self, n: u64) {
        let next_ready = self.live && !self.plan.queue.is_empty();
        if self.base.settle(n) {
            self.report(n, None);
        }
        // While it is being faded out the last stretch runs to its end.
        let ends = self.fade.is_some() && self.base.role == Role::Fresh;
        let goes_on = match self.base.role {
            Role::Fresh => next_ready,
            Role::Replay => self.walks_on(),
            Role::StandIn => false,
        };
        if !ends && !goes_on && self.base.must_turn(n) {
            if self.base.role == Role::Fresh {
                // Nothing is due behind a clip that is ending.
                self.counters.underruns.add(1);
                self.counters.replayed.add(1);
                self.base.role = Role::Replay;
            }
            self.base.turn(n);
            self.report(n, None);
        }
        let mut changed = false;
        if let Some(fade) = &mut self.fade {
            changed = fade.to.settle(n);
            if fade.to.must_turn(n) {
                fade.to.turn(n);
                changed = true;
            }
        }
        if changed {
            self.report_incoming(n, None);
        }
    }

    /// Begins a join if one is due.
    fn join_next(&mut self, n: u64) {
        if !self.live {
            return;
        }
        let left = self.base.frames_left(n);
        if let Some(next) = self.plan.queue.front() {
            let frames = self.join_frames(&next.clip);
            let waiting = self.base.role != Role::Fresh;
            if waiting || left <= f64::from(frames) {
                let Some(Ready { clip, cut }) = self.plan.queue.pop_front() else { return };
                self.counters.played.add(1);
                self.remember(clip.clone());
                self.join(n, clip, Role::Fresh, 1.0, frames);
                if let (Some(fade), Some(frame)) = (&mut self.fade, cut) {
                    fade.to.cut(f64::from(frame));
                }
            }
            return;
        }
        match self.base.role {
            // The newest clip of an earlier session comes first of them.
            Role::StandIn => {
                if let Some(newest) = self.history.back().cloned() {
                    let frames = self.join_frames(&newest);
                    self.counters.replayed.add(1);
                    self.join(n, newest, Role::Replay, 1.0, frames);
                }
            }
            Role::Replay => {
                let direction = self.base.direction();
                let Some(neighbour) = self.neighbour(direction).cloned() else { return };
                let frames = self.join_frames(&neighbour);
                if left <= f64::from(frames) {
                    self.counters.replayed.add(1);
                    self.join(n, neighbour, Role::Replay, direction, frames);
                }
            }
            Role::Fresh => {}
        }
    }

    fn join(&mut self, n: u64, clip: Arc<PreparedClip>, role: Role, direction: f64, frames: u32) {
        let to = Strand::new(clip, role, direction, n, self.settings.fps);
        self.fade = Some(Fade { to, start: n, frames });
        self.report_incoming(n, Some(frames));
    }

    /// Whether the walk leads over the end of the clip on air into its neighbour.
    fn walks_on(&self) -> bool {
        self.neighbour(self.base.direction()).is_some_and(|neighbour| {
            self.fade.as_ref().is_none_or(|fade| Arc::ptr_eq(&fade.to.clip, neighbour))
        })
    }

    /// The clip of the history that continues the one on air in `direction`.
    fn neighbour(&self, direction: f64) -> Option<&Arc<PreparedClip>> {
        let here = self.history.iter().position(|c| Arc::ptr_eq(c, &self.base.clip))?;
        let there = if direction > 0.0 { here + 1 } else { here.checked_sub(1)? };
        self.history.get(there)
    }

    /// Output frames that joining `next` takes: one source frame's time if it grows out of the clip on
    /// air, as it fades by itself then; else at most half of either clip, so that joins never
    /// meet, and at least one source frame's time.
    fn join_frames(&self, next: &PreparedClip) -> u32 {
        let fps = self.settings.fps.as_f64();
        let half = self.base.clip.clip.seconds().min(next.clip.seconds()) / 2.0;
        let source_frame = next.clip.format.fps.frame_seconds();
        let serial = self.base.clip.serial;
        // Only at the picture that it grows out of.
        let grown = next.grown_from.is_some_and(|from| {
            let last = self.base.clip.frames.len() - 1;
            let at = from.at.map_or(last as f64, f64::from);
            from.serial == serial && (self.base.end() - at).abs() < 1e-6
        }) && self.base.direction() > 0.0;
        let wanted = if grown { 0.0 } else { self.settings.join_seconds };
        let seconds = wanted.max(source_frame).min(half);
        ((seconds * fps).floor() as u32).max(1)
    }

    /// Keeps a clip for walking back; the oldest go when there are too many.
    fn remember(&mut self, clip: Arc<PreparedClip>) {
        self.history_bytes += clip.bytes();
        self.history.push_back(clip);
        while self.history.len() > 1
            && (self.history_bytes > self.settings.history_bytes || self.history.len() > MANY / 2)
        {
            if let Some(oldest) = self.history.pop_front() {
                self.history_bytes -= oldest.bytes();
                self.leave(oldest);
            }
        }
    }

    /// Keeps a clip of an earlier session; they come newest first, each goes before the last.
    fn remember_earlier(&mut self, clip: Arc<PreparedClip>) {
        let bytes = clip.bytes();
        if self.history.is_empty() || self.history_bytes + bytes <= self.settings.history_bytes {
            self.history_bytes += bytes;
            self.history.push_front(clip);
        } else {
            self.leave(clip);
        }
    }

    fn leave(&mut self, clip: Arc<PreparedClip>) {
        self.leaving.push_back((clip, false));
    }

    /// Sends home what nobody here uses any more.
    fn release(&mut self) {
        for _ in 0..self.leaving.len() {
            let Some((clip, unused)) = self.leaving.pop_front() else { return };
            let in_use = Arc::ptr_eq(&clip, &self.base.clip)
                || self.fade.as_ref().is_some_and(|f| Arc::ptr_eq(&clip, &f.to.clip));
            if in_use {
                self.leaving.push_back((clip, unused));
            } else if let Err(clip) = self.player.retire(clip, unused) {
                self.leaving.push_back((clip, unused));
                return;
            }
        }
    }

    /// Seconds until nothing new would be there to show.
    fn runway_seconds(&self, n: u64) -> f64 {
        let on_air = self.fade.as_ref().map_or(&self.base, |f| &f.to);
        let rest = if on_air.role == Role::Fresh {
            on_air.frames_left(n).max(0.0) * self.settings.fps.frame_seconds()
        } else {
            0.0
        };
        let join = self.settings.join_seconds;
        let queued: f64 = self.plan.queue.iter().map(|r| (r.seconds() - join).max(0.0)).sum();
        if rest.is_finite() { rest + queued } else { queued }
    }

    fn shot(&self, n: u64) -> Shot<'_> {
        let over = self.fade.as_ref().map(|fade| {
            (layer(&fade.to.clip, fade.to.position(n)), share(n - fade.start, fade.frames))
        });
        Shot { base: layer(&self.base.clip, self.base.position(n)), over }
    }

    fn report(&self, n: u64, fade_frames: Option<u32>) {
        self.emit(n, &self.base, fade_frames);
    }

    fn report_incoming(&self, n: u64, fade_frames: Option<u32>) {
        if let Some(fade) = &self.fade {
            self.emit(n, &fade.to, fade_frames);
        }
    }

    fn emit(&self, n: u64, strand: &Strand, fade_frames: Option<u32>) {
        let clip = &strand.clip;
        let cycle = (strand.role != Role::StandIn).then_some(clip.clip.cycle.0);
        // What is being joined in counts as on air; what goes out may still turn.
        if self.fade.as_ref().is_none_or(|fade| std::ptr::eq(strand, &fade.to)) {
            self.counters.on_air.set(cycle.map_or(0, |c| u64::from(c) + 1));
            self.counters.replaying.set(u64::from(strand.role == Role::Replay));
        }
        let (_, position, motion) = strand.anchor();
        let turn_frames = match motion {
            Motion::Turn { frames, .. } => Some(frames),
            Motion::Steady { .. } => None,
        };
        let rate = clip.clip.format.fps.as_f64() / self.settings.fps.as_f64();
        let (position, sign) = if clip.reversed {
            ((clip.frames.len() - 1) as f64 - position, -1.0)
        } else {
            (position, 1.0)
        };
        let event = ShotEvent {
            frame: n,
            cycle,
            role: strand.role,
            position,
            speed: sign * strand.direction() * rate,
            turn_frames,
            fade_frames,
            clip: clip.serial,
            reversed: clip.reversed,
            grown: clip.grown_from.filter(|_| fade_frames.is_some()),
        };
        if self.events.try_send(event).is_err() {
            self.counters.events_lost.add(1);
        }
    }
}

/// How much shows of a clip that is faded in over `frames`, in the frame `elapsed` of them.
pub fn share(elapsed: u64, frames: u32) -> f32 {
    let mix = (elapsed as f32 + 1.0) / (frames as f32 + 1.0);
    // Smoothstep: a fade that neither starts nor stops with a jolt.
    mix * mix * (3.0 - 2.0 * mix)
}

/// The pictures around a position in a clip. Frames that repeat the one before are passed over;
/// into another scene the picture changes half a frame time before it.
pub fn layer(clip: &PreparedClip, position: f64) -> Layer<'_> {
    // Rounding errors of a position that means a source frame exactly.
    let nearest = position.round();
    let position = if (position - nearest).abs() < 1e-6 { nearest } else { position };
    let frame = position as usize;
    let Some(passage) = clip.passage(frame).filter(|passage| passage.moves) else {
        return Layer::still(&clip.frames[frame.min(clip.frames.len() - 1)]);
    };
    let motion = passage.motion.get();
    let (from, to) = (passage.from as f64, passage.to as f64);
    let phase = match motion {
        Some(motion) if motion.kind == MotionKind::Cut => position - to + 1.0,
        _ => (position - from) / (to - from),
    };
    Layer {
        a: &clip.frames[passage.from],
        b: &clip.frames[passage.to],
        phase: phase.max(0.0) as f32,
        motion,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crossbeam_channel::{Receiver, bounded};
    use proptest::prelude::*;

    use super::*;
    use crate::media::testing::{clip, clip_from};
    use crate::media::{CycleId, Passage};
    use crate::ring::{Capacity, Feeder, ring};

    /// The layer of a clip of these passages at a position, as luma of both pictures and phase.
    fn at(passages: &[(usize, usize, bool)], cut: Option<usize>, position: f64) -> (u8, u8, f32) {
        let plain = clip(0, 8);
        let passages = passages.iter().map(|&(from, to, moves)| Passage::new(from, to, moves));
        let passages: Vec<Passage> = passages.collect();
        if let Some(cut) = cut {
            let motion = crate::media::Motion { kind: MotionKind::Cut, ..Default::default() };
            passages[cut].motion.set(motion).unwrap();
        }
        let about = (Origin::Cycle, plain.clip.clone(), false);
        let clip = Arc::new(PreparedClip::new(about, plain.frames.clone(), passages, 0));
        // One source frame of 8 fps is 60 frames of 480 fps.
        let strand = Strand::new(clip, Role::Fresh, 1.0, 0, FrameRate::whole(480));
        let layer = layer(&strand.clip, strand.position((position * 60.0).round() as u64));
        (layer.a.y[0] - 16, layer.b.y[0] - 16, layer.phase)
    }

    #[test]
    fn motion_goes_on_over_frames_that_repeat() {
        // Pictures 0 and 2 stand twice, 4 stands still, 6 to 7 is a cut.
        let passages = [(0, 2, true), (2, 4, true), (4, 5, false), (5, 6, true), (6, 7, true)];
        let at = |position| at(&passages, Some(4), position);
        assert_eq!(at(0.0), (0, 2, 0.0));
        assert_eq!(at(0.5), (0, 2, 0.25));
        assert_eq!(at(1.5), (0, 2, 0.75));
        assert_eq!(at(2.0), (2, 4, 0.0));
        let (a, b, _) = at(4.5);
        assert_eq!((a, b), (4, 4), "it stands still");
        assert_eq!(at(6.25), (6, 7, 0.25));
        assert_eq!(at(7.0), (7, 7, 0.0));
    }

    #[test]
    fn into_another_scene_the_picture_changes_half_a_frame_before_it() {
        // The old scene's last picture stands three times.
        let passages = [(0, 3, true), (3, 4, true), (4, 5, true), (5, 6, true), (6, 7, true)];
        for (position, phase) in [(0.5, 0.0), (2.25, 0.25), (2.75, 0.75)] {
            assert_eq!(at(&passages, Some(0), position), (0, 3, phase));
        }
    }

    struct Rig {
        timeline: Timeline,
        feeder: Feeder,
        events: Receiver<ShotEvent>,
        counters: Arc<PlayoutCounters>,
        stand_in: Arc<PreparedClip>,
    }

    fn rig(join_seconds: f64, history_clips: usize) -> Rig {
        let (feeder, player) = ring(Capacity { seconds: 1000.0, bytes: usize::MAX });
        let (tx, events) = bounded(10_000);
        let counters = Arc::new(PlayoutCounters::default());
        let history_bytes = history_clips * clip(0, 24).bytes();
        let settings = TimelineSettings {
            fps: FrameRate::whole(60),
            join_seconds,
            history_bytes,
            may_begin: |_, _| true,
        };
        let stand_in = clip_from(Origin::StandIn, 0, 24);
        let timeline = Timeline::new(settings, player, stand_in.clone(), tx, counters.clone());
        feeder.starter().go();
        Rig { timeline, feeder, events, counters, stand_in }
    }

    /// The luma that would be seen, to follow the motion.
    fn seen(shot: &Shot) -> f64 {
        let value = |l: &Layer| {
            let (a, b) = (f64::from(l.a.y[0]), f64::from(l.b.y[0]));
            a + (b - a) * f64::from(l.phase)
        };
        let base = value(&shot.base);
        shot.over.as_ref().map_or(base, |(l, mix)| base + (value(l) - base) * f64::from(*mix))
    }

    #[test]
    fn in_standby_nothing_is_taken() {
        let (feeder, player) = ring(Capacity { seconds: 100.0, bytes: usize::MAX });
        let (tx, _events) = bounded(100);
        let counters = Arc::new(PlayoutCounters::default());
        let settings = TimelineSettings {
            fps: FrameRate::whole(60),
            join_seconds: 0.5,
            history_bytes: usize::MAX,
            may_begin: |_, _| true,
        };
        let stand_in = clip_from(Origin::StandIn, 0, 24);
        let mut timeline = Timeline::new(settings, player, stand_in, tx, counters.clone());
        feeder.append(clip(0, 24)).unwrap();
        for n in 0..600 {
            timeline.tick(n);
        }
        assert_eq!(counters.played.get(), 0);
        assert_eq!(counters.on_air.get(), 0);
        feeder.starter().go();
        for n in 600..700 {
            timeline.tick(n);
        }
        assert_eq!(counters.played.get(), 1);
        assert_eq!(counters.on_air.get(), 1);
    }

    #[test]
    fn ready_clips_follow_one_another_without_a_replay() {
        let mut rig = rig(0.5, 10);
        for cycle in 0..10 {
            rig.feeder.append(clip(cycle, 24)).unwrap();
        }
        // Ten clips of 3 s, overlapping by half a second.
        for n in 0..(60 * 24) {
            rig.timeline.tick(n);
        }
        assert_eq!(rig.counters.played.get(), 10);
        assert_eq!(rig.counters.replayed.get(), 0);
        assert_eq!(rig.counters.underruns.get(), 0);
        let cycles: Vec<_> =
            rig.events.try_iter().filter(|e| e.fade_frames.is_some()).map(|e| e.cycle).collect();
        assert_eq!(cycles, (0..10).map(Some).collect::<Vec<_>>());
    }

    #[test]
    fn a_late_clip_is_bridged_and_joined_as_soon_as_it_is_there() {
        let mut rig = rig(0.5, 10);
        rig.feeder.append(clip(0, 24)).unwrap();
        for n in 0..600 {
            rig.timeline.tick(n);
        }
        assert_eq!(rig.counters.underruns.get(), 1, "one wait is one underrun");
        assert!(rig.counters.replayed.get() >= 1);
        assert_eq!(rig.counters.replaying.get(), 1);
        rig.feeder.append(clip(1, 24)).unwrap();
        let shot = rig.timeline.tick(600);
        assert!(shot.over.is_some(), "the new clip is joined in at once");
        assert_eq!(rig.counters.on_air.get(), 2);
        assert_eq!(rig.counters.replaying.get(), 0);
    }

    #[test]
    fn the_walk_reaches_earlier_cycles_and_comes_back() {
        for join in [0.0, 0.1, 0.5] {
            let mut rig = rig(join, 3);
            for cycle in 0..5 {
                rig.feeder.append(clip(cycle, 24)).unwrap();
            }
            for n in 0..(60 * 60) {
                rig.timeline.tick(n);
            }
            let walked: Vec<u32> = rig
                .events
                .try_iter()
                .filter(|e| e.role == Role::Replay && e.fade_frames.is_some())
                .filter_map(|e| e.cycle)
                .collect();
            assert!(walked.starts_with(&[3, 2, 3, 4, 3, 2]), "join {join}: {walked:?}");
            assert!(!walked.contains(&1), "only what fits into memory is held: {walked:?}");
        }
    }

    #[test]
    fn what_goes_out_does_not_claim_to_be_on_air() {
        let mut rig = rig(2.0, 10);
        rig.feeder.append(clip(0, 24)).unwrap();
        // The next one comes during the turn, which ends while the old clip fades out.
        for n in 0..165 {
            rig.timeline.tick(n);
        }
        rig.feeder.append(clip(1, 24)).unwrap();
        for n in 165..250 {
            rig.timeline.tick(n);
            assert_eq!(rig.counters.on_air.get(), 2, "at {n}");
            assert_eq!(rig.counters.replaying.get(), 0, "at {n}");
        }
    }

    #[test]
    fn clips_come_home_when_they_are_done() {
        let mut rig = rig(0.5, 2);
        let clips: Vec<_> = (0..6).map(|cycle| clip(cycle, 24)).collect();
        for clip in &clips {
            rig.feeder.append(clip.clone()).unwrap();
        }
        for n in 0..(60 * 18) {
            rig.timeline.tick(n);
        }
        rig.feeder.collect(Duration::ZERO).unwrap();
        let out: Vec<_> = clips.iter().map(|c| Arc::strong_count(c) > 1).collect();
        assert_eq!(out, [false, false, false, false, true, true]);
        assert_eq!(Arc::strong_count(&rig.stand_in), 1);
    }

    /// A clip that grows out of a picture of another.
    fn grown(cycle: u32, from: &PreparedClip, at: u32) -> Arc<PreparedClip> {
        let mut clip = Arc::into_inner(clip(cycle, 24)).unwrap();
        clip.grown_from = Some(Grown {
            serial: from.serial,
            cycle: from.clip.cycle,
            reversed: false,
            frames: 4,
            at: Some(at),
        });
        Arc::new(clip)
    }

    #[test]
    fn a_new_plan_takes_over_at_the_cut() {
        let mut rig = rig(0.5, 10);
        for cycle in 0..4 {
            rig.feeder.append(clip(cycle, 24)).unwrap();
        }
        for n in 0..61 {
            rig.timeline.tick(n);
        }
        rig.feeder.replan(1, 1.0).unwrap();
        rig.timeline.tick(61);
        let cut = rig.feeder.tail_cut().unwrap();
        // One second at 8 fps is on air, one more stays.
        assert_eq!((cut.revision, cut.clip.clip.cycle.0, cut.frame), (1, 0, 17));
        assert!((cut.due_s - 1.1).abs() < 0.1, "{}", cut.due_s);
        let runway = rig.feeder.runway().seconds();
        assert!(runway > 7.0, "nothing is dropped yet");
        rig.feeder.append_replacing(grown(9, &cut.clip, cut.frame), 1).unwrap();
        rig.feeder.append(clip(10, 24)).unwrap();
        for n in 62..600 {
            rig.timeline.tick(n);
            if n == 62 {
                assert!(rig.feeder.runway().seconds() < runway - 2.0, "what was dropped is gone");
            }
        }
        let joined: Vec<_> = rig.events.try_iter().filter(|e| e.fade_frames.is_some()).collect();
        let cycles: Vec<_> = joined[..3].iter().filter_map(|e| e.cycle).collect();
        assert_eq!(cycles, [0, 9, 10]);
        // It grows out of the picture at the cut: the joint is one source frame long.
        assert_eq!(joined[1].fade_frames, Some(7));
        assert!((joined[1].frame as f64 - 17.0 * 7.5).abs() < 2.0, "at {}", joined[1].frame);
        assert_eq!(joined[2].fade_frames, Some(30));
        let unused = rig.feeder.collect(Duration::ZERO).unwrap();
        assert_eq!(unused, [CycleId(3), CycleId(2), CycleId(1)]);
        assert_eq!((rig.counters.replans.get(), rig.counters.dropped.get()), (1, 3));
    }

    #[test]
    fn behind_the_cut_a_new_plan_takes_over_at_once() {
        let mut rig = rig(0.5, 10);
        for cycle in 0..3 {
            rig.feeder.append(clip(cycle, 24)).unwrap();
        }
        rig.feeder.replan(1, 0.5).unwrap();
        for n in 0..100 {
            rig.timeline.tick(n);
        }
        let cut = rig.feeder.tail_cut().unwrap();
        assert_eq!(cut.frame, 4);
        rig.feeder.append_replacing(grown(9, &cut.clip, cut.frame), 1).unwrap();
        let shot = rig.timeline.tick(100);
        assert!(shot.over.is_some());
        let last = rig.events.try_iter().last().unwrap();
        assert_eq!((last.cycle, last.fade_frames), (Some(9), Some(30)), "crossfaded");
    }

    #[test]
    fn with_too_little_ready_the_cut_is_the_end_of_it() {
        let mut rig = rig(0.5, 10);
        rig.feeder.append(clip(0, 24)).unwrap();
        rig.feeder.append(clip(1, 16)).unwrap();
        rig.feeder.replan(1, 30.0).unwrap();
        rig.timeline.tick(0);
        let cut = rig.feeder.tail_cut().unwrap();
        assert_eq!((cut.clip.clip.cycle.0, cut.frame), (1, 15));
        // The show has none: nothing is ready at all.
        let mut rig = super::tests::rig(0.5, 10);
        rig.feeder.replan(1, 30.0).unwrap();
        rig.timeline.tick(0);
        assert_eq!(rig.feeder.tail_cut().unwrap().clip.origin, Origin::StandIn);
    }

    #[test]
    fn a_later_replan_supersedes_the_earlier_one() {
        let mut rig = rig(0.5, 10);
        for cycle in 0..3 {
            rig.feeder.append(clip(cycle, 24)).unwrap();
        }
        rig.feeder.replan(1, 0.5).unwrap();
        rig.feeder.replan(2, 0.5).unwrap();
        rig.timeline.tick(0);
        rig.feeder.append_replacing(clip(8, 24), 1).unwrap();
        rig.timeline.tick(1);
        assert_eq!(rig.feeder.collect(Duration::ZERO).unwrap(), [CycleId(8)], "it is too late");
        rig.feeder.append_replacing(clip(9, 24), 2).unwrap();
        rig.timeline.tick(2);
        assert_eq!(rig.feeder.collect(Duration::ZERO).unwrap(), [CycleId(2), CycleId(1)]);
    }

    #[test]
    fn an_earlier_session_airs_until_something_new_is_there() {
        let mut rig = rig(0.5, 10);
        rig.feeder.append(clip_from(Origin::Earlier, 7, 24)).unwrap();
        for n in 0..300 {
            rig.timeline.tick(n);
        }
        assert_eq!(rig.counters.on_air.get(), 8);
        assert_eq!((rig.counters.played.get(), rig.counters.underruns.get()), (0, 0));
        rig.feeder.append(clip(8, 24)).unwrap();
        rig.timeline.tick(300);
        assert_eq!((rig.counters.played.get(), rig.counters.on_air.get()), (1, 9));
    }

    proptest! {
        /// However clips arrive, and whatever their length: there is always a picture, nothing
        /// jumps more than a join may, the picture never stands still for long, every new clip
        /// airs exactly once as new, and in order.
        #[test]
        fn the_show_never_stops(
            join in prop_oneof![Just(0.0), Just(0.5), Just(2.0)],
            arrivals in proptest::collection::vec((0u64..900, 2u32..40), 0..30),
            history in 1usize..6,
        ) {
            let mut rig = rig(join, history);
            let mut pending: VecDeque<(u64, u32)> = VecDeque::new();
            let mut at = 0;
            for (gap, frames) in arrivals {
                at += gap;
                pending.push_back((at, frames));
            }
            let total = at + 3000;
            let clips = pending.len() as u64;
            let mut cycle = 0;
            let mut last = None;
            let mut still = 0;
            for n in 0..total {
                while pending.front().is_some_and(|(due, _)| *due <= n) {
                    let (_, frames) = pending.pop_front().unwrap();
                    rig.feeder.append(clip(cycle, frames)).unwrap();
                    cycle += 1;
                }
                let shot = rig.timeline.tick(n);
                let now = seen(&shot);
                if let Some(before) = last {
                    // 8 grey levels a second of motion, and joins of up to 39 levels over at
                    // least a source frame's time.
                    let step: f64 = now - before;
                    prop_assert!(step.abs() < 40.0 / 3.0, "jump of {step} at {n}");
                    still = if step.abs() < 1e-4 { still + 1 } else { 0 };
                    prop_assert!(still < 60, "stands still at {n}");
                }
                last = Some(now);
                if n % 50 == 0 {
                    rig.feeder.collect(Duration::ZERO).unwrap();
                }
            }
            let aired: Vec<u32> = rig.events.try_iter()
                .filter(|e| e.role == Role::Fresh && e.fade_frames.is_some())
                .filter_map(|e| e.cycle)
                .collect();
            // What arrived close to the end may still wait.
            prop_assert!(aired.iter().copied().eq(0..aired.len() as u32), "{aired:?}");
            prop_assert_eq!(rig.counters.played.get(), aired.len() as u64);
            prop_assert!(aired.len() as u64 <= clips);
            prop_assert_eq!(rig.counters.events_lost.get(), 0);
        }

        /// The same commands at the same frames give the same shots.
        #[test]
        fn ticks_are_deterministic(gaps in proptest::collection::vec(0u64..400, 1..10)) {
            let run = || {
                let mut rig = rig(0.5, 3);
                let mut lumas = Vec::new();
                let (mut due, mut cycle) = (0, 0);
                for gap in &gaps {
                    for n in due..due + gap {
                        lumas.push(seen(&rig.timeline.tick(n)));
                    }
                    due += gap;
                    rig.feeder.append(clip(cycle, 24)).unwrap();
                    cycle += 1;
                }
                lumas
            };
            prop_assert_eq!(run(), run());
        }
    }
}
