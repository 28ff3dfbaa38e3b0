//! What follows what: new clips as they come, joined; what is steered; and when nothing new is there,
//! a walk back and forth over what was shown.
//!
//! How the walk goes: a clip that ends with nothing new behind it turns round smoothly and runs
//! back to its beginning. Cycles grow out of one another, so its first frame continues the clip
//! before it: the walk goes on there, backwards, and so on to the oldest clip still held; there it
//! turns and comes forwards again. As soon as a new clip is ready it is joined in from wherever
//! the walk is.
//!
//! What is steered: while reverse, bounce, hold or a loop is on, nothing new is taken. Behind a
//! bounce, a hold or a loop the show goes on with what is ready at the end of the clip on air; behind
//! reverse, or a wish to be back somewhere, it walks forwards to the newest clip first.
//!
//! Holds: at most two clips are on air at once. Clips leave through the ring, never freed here.

use std::collections::VecDeque;
use std::sync::Arc;

use crossbeam_channel::Sender;

use super::history::History;
use super::layer::{layer, share};
use super::plan::{Plan, Ready};
use super::playhead::Playhead;
use super::report::{InRing, MOST_PLAYED, Place, PlayoutCounters, RingView, ShotEvent};
use super::steering::{Mode, Steering, Wish};
use super::strand::{Motion, Role, Strand};
use crate::base::time::FrameRate;
use crate::media::{CycleId, Origin, PreparedClip};
use crate::music::{Ahead, Cut};
use crate::param::{ParamId, Values};
// What is on air is said in the renderer's own terms: nothing is translated on the way.
use crate::render::Picture as Shot;
use crate::ring::{Command, Player};

/// Clips that may wait or be held at once; the ring's capacity in bytes binds long before.
const MANY: usize = 256;
/// Views of the ring for each second.
const VIEWS: u64 = 4;

#[derive(Clone, Copy, Debug)]
pub struct TimelineSettings {
    pub fps: FrameRate,
    /// Bytes of shown clips that are kept for walking back.
    pub history_bytes: usize,
    /// Whether the show may begin at this frame, so that the sound can begin with it.
    pub may_begin: fn(FrameRate, u64) -> bool,
}

pub(super) struct Fade {
    pub to: Strand,
    start: u64,
    frames: u32,
}

/// When what is ready follows a clip that is shown again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    /// Nothing was ready: as soon as something is.
    AtOnce,
    /// At the end of the clip.
    Clip,
    /// At the end of the newest clip; until then the show walks there.
    Walk,
}

pub struct Timeline {
    settings: TimelineSettings,
    pub(super) player: Player,
    events: Sender<ShotEvent>,
    pub(super) counters: Arc<PlayoutCounters>,
    view: triple_buffer::Input<RingView>,
    begun: bool,
    live: bool,
    playhead: Playhead,
    pub(super) steering: Steering,
    pub(super) base: Strand,
    pub(super) fade: Option<Fade>,
    after: After,
    wish: Option<Wish>,
    /// Frames until somebody's cut begins, where that waits.
    coming: Option<f64>,
    /// Reverse has come, and the clip on air has not turned yet.
    turns_back: bool,
    /// Ready and not shown yet.
    pub(super) plan: Plan,
    pub(super) history: History,
    /// Clips on their way out that may still be in use, and whether they never aired.
    pub(super) leaving: VecDeque<(Arc<PreparedClip>, bool)>,
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
        view: triple_buffer::Input<RingView>,
    ) -> Self {
        Timeline {
            base: Strand::stand_in(stand_in, 0.0, settings.fps),
            settings,
            player,
            events,
            counters,
            view,
            begun: false,
            live: false,
            playhead: Playhead::new(settings.fps),
            steering: Steering::new(&Values::default()),
            fade: None,
            after: After::AtOnce,
            wish: None,
            coming: None,
            turns_back: false,
            plan: Plan::new(MANY),
            history: History::new(settings.history_bytes, MANY / 2),
            leaving: VecDeque::with_capacity(2 * MANY),
        }
    }

    /// What is on air at output frame `n`, `values` being the smoothed ones of that frame and `fired`
    /// its triggers. To be called for rising `n`; frames may be left out.
    pub fn tick(&mut self, n: u64, values: &Values, fired: &[ParamId]) -> Shot<'_> {
        self.playhead.step(n, values);
        self.steer(n, values, fired);
        if !self.begun {
            self.begun = true;
            self.counters.stand_in.add(1);
            self.report(n, false);
        }
        self.take_commands(n);
        self.finish_fade(n);
        self.turn(n);
        // A cut waits for no crossfade.
        if self.fade.is_some() && self.cuts_now() {
            self.end_fade();
        }
        if self.fade.is_none() {
            self.join_next(n);
        }
        self.release();
        self.publish(n);
        self.shot(n)
    }

    /// Whether *go* was given.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Where the playhead is.
    pub(super) fn v(&self) -> f64 {
        self.playhead.at()
    }

    /// What is on air; in a join, what comes in.
    pub(super) fn on_air(&self) -> &Strand {
        self.fade.as_ref().map_or(&self.base, |fade| &fade.to)
    }

    pub(super) fn on_air_mut(&mut self) -> &mut Strand {
        self.fade.as_mut().map_or(&mut self.base, |fade| &mut fade.to)
    }

    /// How far it is to the join that comes by itself at the end of the clip on air; `None`: none is
    /// due.
    pub fn ahead(&self) -> Option<Ahead> {
        let (on_air, steering) = (self.on_air(), &self.steering);
        if !self.live || steering.freeze || on_air.role == Role::StandIn || !on_air.is_steady() {
            return None;
        }
        let (clip, direction) = (&on_air.clip, on_air.direction());
        let ready = self.plan.queue.front().map(|ready| &ready.clip);
        let walks = || self.history.neighbour(clip, direction);
        let next = match on_air.role {
            _ if steering.bounce => return None,
            _ if steering.hold => Some(clip),
            _ if steering.cycles > 0 => self.history.in_loop(clip, direction, steering.cycles),
            _ if steering.reverse => Some(walks()?),
            // It may still come.
            Role::Fresh => ready,
            _ if self.after == After::AtOnce && ready.is_some() => return None,
            _ => Some(walks().or(ready)?),
        };
        let join_frames = self.frames_between(on_air, next.map(|clip| &**clip), true);
        Some(Ahead { left: on_air.frames_left(self.v()), join_frames })
    }

    /// How [`ParamId::Next`] or [`ParamId::Back`] would go in frame `n`, the next one.
    pub fn cut(&self, n: u64, id: ParamId) -> Cut {
        let on_air = self.on_air();
        let to = match id {
            ParamId::Back => self.history.back(&on_air.clip, 1),
            _ => self.plan.queue.front().map(|ready| &ready.clip),
        };
        let frames = self.steered_frames(on_air, to.map(|clip| &**clip));
        let over = self.fade.as_ref().map_or(0, |fade| fade.start + u64::from(fade.frames));
        // A cut waits for no crossfade.
        let after = if frames == 0 { 0 } else { over.saturating_sub(n) as u32 };
        Cut { frames, after, empty: id == ParamId::Next && to.is_none() }
    }

    /// In so many frames from the next one on a cut begins that was asked for; no join that comes by
    /// itself is to be on then.
    pub fn set_coming(&mut self, frames: Option<f64>) {
        self.coming = frames;
    }

    fn steer(&mut self, n: u64, values: &Values, fired: &[ParamId]) {
        let before = std::mem::replace(&mut self.steering, Steering::new(values));
        let reverse = self.steering.reverse;
        self.turns_back = reverse && (self.turns_back || !before.reverse);
        if self.steering.stays() {
            self.after = After::Clip;
        } else if reverse {
            self.after = After::Walk;
        }
        for id in fired {
            match id {
                ParamId::Next => {
                    let second = self.settings.fps.as_f64().ceil() as u64;
                    self.wish = Some(Wish::Next { until: n + second });
                }
                ParamId::Back => {
                    let before = match self.wish {
                        Some(Wish::Back(steps)) => steps,
                        _ => 0,
                    };
                    self.wish = Some(Wish::Back(before + 1));
                }
                _ => {}
            }
        }
        if let Some(cycle) = self.player.go_to() {
            self.wish = Some(Wish::Cycle(cycle));
        }
    }

    fn take_commands(&mut self, n: u64) {
        if !self.live && self.player.is_live() {
            self.live = (self.settings.may_begin)(self.settings.fps, n);
        }
        // A full queue stays in the ring.
        while self.plan.queue.len() < MANY / 2 {
            match self.player.poll() {
                Some(Command::Append(sent)) if sent.clip.origin == Origin::Earlier => {
                    if let Err(clip) = self.history.push_earlier(sent.clip) {
                        self.leave(clip);
                    }
                }
                Some(Command::Append(sent)) => self.accept(sent),
                Some(Command::Replan { revision, keep_s }) => self.ask(revision, keep_s),
                None => break,
            }
        }
        self.answer();
    }

    fn finish_fade(&mut self, n: u64) {
        if self.fade.as_ref().is_some_and(|f| n >= f.start + u64::from(f.frames)) {
            self.end_fade();
        }
    }

    fn end_fade(&mut self) {
        if let Some(fade) = self.fade.take() {
            let gone = std::mem::replace(&mut self.base, fade.to);
            if gone.role == Role::StandIn {
                self.leave(gone.clip);
            }
        }
    }

    /// Lets clips turn where they must, and where that is steered.
    fn turn(&mut self, n: u64) {
        let (v, speed) = (self.v(), self.steering.speed);
        if self.base.settle(v) {
            self.report(n, self.fade.is_some());
        }
        if self.fade.as_mut().is_some_and(|fade| fade.to.settle(v)) {
            self.report(n, false);
        }
        if let Some(fade) = &mut self.fade {
            let left = (fade.start + u64::from(fade.frames)).saturating_sub(n) as f64;
            let left = left * self.playhead.rate();
            // What ends with the join runs to its end; what would stand still there turns.
            let ends_early = |strand: &Strand| {
                strand.must_turn(v, speed) && left > strand.frames_left(v) + 1.0 / strand.rate()
            };
            let turns = [ends_early(&self.base), ends_early(&fade.to)];
            if turns[0] {
                self.base.turn(v, speed);
            }
            if turns[1] {
                fade.to.turn(v, speed);
            }
            for leaving in [true, false] {
                if turns[usize::from(!leaving)] {
                    self.report(n, leaving);
                }
            }
        }
        if self.turn_as_steered(v) {
            self.report(n, false);
        }
        if self.fade.is_none() && self.base.must_turn(v, speed) && !self.goes_on() {
            let again = !self.steering.keeps() && self.base.role != Role::StandIn;
            if again && (self.base.role == Role::Fresh || self.after != After::AtOnce) {
                // Nothing is due behind a clip that is ending.
                self.counters.underruns.add(1);
                self.counters.replayed.add(1);
                self.after = After::AtOnce;
            }
            if self.base.role == Role::Fresh {
                self.base.role = Role::Replay;
            }
            self.base.turn(v, speed);
            self.report(n, false);
        }
    }

    /// Turns the clip on air back because reverse has come, or forwards because what held it is over.
    fn turn_as_steered(&mut self, v: f64) -> bool {
        let (keeps, speed) = (self.steering.keeps(), self.steering.speed);
        let (turns_back, after) = (self.turns_back, self.after);
        let strand = self.on_air_mut();
        if strand.role == Role::StandIn || !strand.is_steady() {
            return false;
        }
        let forwards = strand.direction() > 0.0;
        let steered = strand.role == Role::Fresh || after != After::AtOnce;
        let turns = if forwards { turns_back } else { !keeps && steered };
        if turns {
            strand.turn(v, speed);
            if forwards {
                strand.role = Role::Replay;
            }
        }
        self.turns_back = false;
        turns
    }

    /// Whether something follows the clip on air in its direction.
    fn goes_on(&self) -> bool {
        let ready = self.live && !self.plan.queue.is_empty();
        let walks = self.history.neighbour(&self.base.clip, self.base.direction()).is_some();
        let steering = &self.steering;
        match self.base.role {
            Role::StandIn => false,
            _ if steering.bounce => false,
            _ if steering.stays() => true,
            _ if steering.reverse => walks,
            Role::Fresh => ready,
            Role::Replay if self.after == After::AtOnce => walks,
            Role::Replay => walks || ready,
        }
    }

    /// Begins a join if one is due.
    fn join_next(&mut self, n: u64) {
        if !self.live {
            if self.wish.take().is_some() {
                self.counters.refused.add(1);
            }
            return;
        }
        if self.grant(n) {
            return;
        }
        let left = self.base.frames_left(self.v());
        let rate = self.playhead.rate();
        let coming = self.coming.unwrap_or(f64::INFINITY);
        let is_due = |frames: u32| left <= f64::from(frames) * rate && coming >= f64::from(frames);
        let direction = self.base.direction();
        let role = self.base.role;
        if (role == Role::StandIn || !self.steering.keeps())
            && let Some(next) = self.plan.queue.front()
        {
            let at_once =
                role == Role::StandIn || (role == Role::Replay && self.after == After::AtOnce);
            let walks = role == Role::Replay
                && self.after == After::Walk
                && self.history.neighbour(&self.base.clip, 1.0).is_some();
            let frames = self.join_frames(&next.clip, !at_once);
            if at_once || (!walks && direction > 0.0 && is_due(frames)) {
                self.take_next(n, 1.0, frames);
                return;
            }
            if !walks {
                return;
            }
        }
        let steering = &self.steering;
        let clip = match role {
            // The newest clip of an earlier session comes first of them.
            Role::StandIn => self.history.newest(),
            _ if steering.bounce => None,
            _ if steering.hold => Some(&self.base.clip),
            _ if steering.cycles > 0 => {
                self.history.in_loop(&self.base.clip, direction, steering.cycles)
            }
            Role::Fresh if !steering.reverse => None,
            _ => self.history.neighbour(&self.base.clip, direction),
        };
        let Some(clip) = clip.cloned() else { return };
        let frames = self.join_frames(&clip, true);
        if role == Role::StandIn {
            self.after = After::AtOnce;
            self.counters.replayed.add(1);
            self.join(n, clip, Role::Replay, 1.0, frames);
        } else if is_due(frames) {
            if self.after == After::AtOnce {
                self.counters.replayed.add(1);
            }
            self.join(n, clip, Role::Replay, direction, frames);
        }
    }

    /// Whether somebody wants to be elsewhere, without a crossfade, and can.
    fn cuts_now(&self) -> bool {
        let there = match self.wish {
            Some(Wish::Next { .. }) => !self.plan.queue.is_empty(),
            Some(Wish::Back(steps)) => self.history.back(&self.on_air().clip, steps).is_some(),
            _ => false,
        };
        there && self.live && self.steering.crossfade_s == 0.0
    }

    /// Goes where somebody wants to be, if that can be now.
    fn grant(&mut self, n: u64) -> bool {
        let Some(wish) = self.wish else { return false };
        let direction = if self.steering.reverse { -1.0 } else { 1.0 };
        if let Wish::Next { until } = wish
            && self.plan.queue.is_empty()
            && n < until
        {
            return false;
        }
        self.wish = None;
        let back = match wish {
            Wish::Next { .. } => None,
            Wish::Back(steps) => self.history.back(&self.base.clip, steps),
            Wish::Cycle(cycle) => self.history.of(cycle),
        };
        if let Some(clip) = back.cloned() {
            let frames = self.steered_frames(&self.base, Some(&clip));
            if !self.steering.stays() {
                self.after = After::Walk;
            }
            self.join(n, clip, Role::Replay, direction, frames);
            return true;
        }
        let place = match wish {
            Wish::Next { .. } => (!self.plan.queue.is_empty()).then_some(0),
            Wish::Back(_) => None,
            Wish::Cycle(cycle) => self.plan.of(cycle),
        };
        let Some(place) = place else {
            self.counters.refused.add(1);
            if let Wish::Cycle(cycle) = wish {
                self.player.miss(cycle);
            }
            return false;
        };
        // What is passed over can be gone back to.
        for _ in 0..place {
            let Some(passed) = self.plan.queue.pop_front() else { break };
            self.remember(passed.clip);
        }
        let Some(next) = self.plan.queue.front() else { return false };
        let frames = self.steered_frames(&self.base, Some(&next.clip));
        self.take_next(n, direction, frames);
        true
    }

    /// Joins in the next clip that is ready.
    fn take_next(&mut self, n: u64, direction: f64, frames: u32) {
        let Some(Ready { clip, cut, .. }) = self.plan.queue.pop_front() else { return };
        self.counters.played.add(1);
        self.remember(clip.clone());
        self.join(n, clip, Role::Fresh, direction, frames);
        if let (Some(fade), Some(frame)) = (&mut self.fade, cut) {
            fade.to.cut(f64::from(frame));
        }
    }

    fn join(&mut self, n: u64, clip: Arc<PreparedClip>, role: Role, direction: f64, frames: u32) {
        let to = Strand::new(clip, role, direction, self.v(), self.settings.fps);
        self.fade = Some(Fade { to, start: n, frames });
        if let Some(fade) = &self.fade {
            self.emit(n, &fade.to, Some(frames), false);
        }
    }

    /// Output frames that joining `next` takes: one source frame's time if it grows out of the
    /// picture that the clip on air ends with, as it fades by itself then; else at most half of
    /// either clip, so that joins never meet, and at least one source frame's time.
    fn join_frames(&self, next: &PreparedClip, at_end: bool) -> u32 {
        self.frames_between(&self.base, Some(next), at_end)
    }

    /// As [`Self::join_frames`], of any two; what comes next may not be known yet.
    fn frames_between(&self, from: &Strand, next: Option<&PreparedClip>, at_end: bool) -> u32 {
        let fps = self.settings.fps.as_f64();
        let (base, speed) = (&from.clip, self.steering.speed);
        let to = next.unwrap_or(base);
        let half = base.clip.seconds().min(to.clip.seconds()) / 2.0;
        let source_frame = to.clip.format.fps.frame_seconds();
        let grown = at_end
            && from.direction() > 0.0
            && to.grown_from.is_some_and(|grown| {
                let at = grown.at.map_or((base.frames.len() - 1) as f64, f64::from);
                grown.serial == base.serial && (from.end() - at).abs() < 1e-6
            });
        let wanted = if grown { 0.0 } else { self.steering.crossfade_s };
        let seconds = wanted.max(source_frame / speed).min(half / speed);
        ((seconds * fps).floor() as u32).max(1)
    }

    /// As [`Self::frames_between`], where somebody asks for what comes: without a crossfade that is a
    /// cut, of no frames.
    fn steered_frames(&self, from: &Strand, next: Option<&PreparedClip>) -> u32 {
        match self.steering.crossfade_s {
            0.0 => 0,
            _ => self.frames_between(from, next, false),
        }
    }

    /// Keeps a clip for walking back; the oldest go when there are too many.
    fn remember(&mut self, clip: Arc<PreparedClip>) {
        self.history.push(clip);
        while let Some(oldest) = self.history.overflow() {
            self.leave(oldest);
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
    fn runway_seconds(&self) -> f64 {
        let (on_air, speed) = (self.on_air(), self.steering.speed);
        let rest = match on_air.role {
            Role::Fresh if on_air.is_steady() && on_air.direction() > 0.0 => {
                on_air.frames_left(self.v()).max(0.0) * self.settings.fps.frame_seconds() / speed
            }
            _ => 0.0,
        };
        let join = self.steering.crossfade_s;
        let queued = self.plan.queue.iter().map(|r| (r.seconds() / speed - join).max(0.0));
        rest + queued.sum::<f64>()
    }

    /// Tells how it stands.
    fn publish(&mut self, n: u64) {
        let runway = self.runway_seconds();
        self.player.report_runway(runway);
        let strand = self.on_air();
        let last = (strand.clip.frames.len() - 1).max(1) as f64;
        let counters = &self.counters;
        let cycle = cycle_of(strand.role, &strand.clip);
        counters.on_air.set(cycle.map_or(0, |c| u64::from(c.0) + 1));
        let replaying =
            strand.role == Role::Replay && self.after == After::AtOnce && !self.steering.keeps();
        counters.replaying.set(u64::from(replaying));
        counters.position.set((strand.position(self.v()) / last * 1000.0) as u64);
        counters.speed.set((self.playhead.rate() * 1000.0).round() as u64);
        let mode = self.steering.mode();
        counters.mode.set(Mode::ALL.iter().position(|m| *m == mode).unwrap_or(0) as u64);
        let every = (self.settings.fps.as_f64() as u64 / VIEWS).max(1);
        if n.is_multiple_of(every) {
            self.publish_view();
        }
    }

    fn publish_view(&mut self) {
        let on_air = self.fade.as_ref().map_or(&self.base, |fade| &fade.to);
        let view = self.view.input_buffer_mut();
        view.clear();
        let of = |clip: &PreparedClip, cycle: Option<CycleId>, place| InRing {
            cycle: cycle.map(|cycle| cycle.0),
            place,
            seconds: clip.clip.seconds() as f32,
        };
        let known = &self.history.clips;
        let mut seen = false;
        for clip in known.iter().skip(known.len().saturating_sub(MOST_PLAYED)) {
            let is_on_air = Arc::ptr_eq(clip, &on_air.clip);
            seen |= is_on_air;
            let place = if is_on_air { Place::OnAir } else { Place::Played };
            view.add(of(clip, Some(clip.clip.cycle), place));
        }
        if !seen {
            view.add(of(&on_air.clip, cycle_of(on_air.role, &on_air.clip), Place::OnAir));
        }
        for ready in &self.plan.queue {
            view.add(InRing {
                seconds: ready.seconds() as f32,
                ..of(&ready.clip, Some(ready.clip.clip.cycle), Place::Ready)
            });
        }
        self.view.publish();
    }

    fn shot(&self, n: u64) -> Shot<'_> {
        let v = self.v();
        let over = self.fade.as_ref().map(|fade| {
            (layer(&fade.to.clip, fade.to.position(v)), share(n - fade.start, fade.frames))
        });
        Shot { base: layer(&self.base.clip, self.base.position(v)), over }
    }

    /// Reports what is on air, or what `leaving` it is.
    fn report(&self, n: u64, leaving: bool) {
        let strand = if leaving { &self.base } else { self.on_air() };
        self.emit(n, strand, None, leaving);
    }

    fn emit(&self, n: u64, strand: &Strand, fade_frames: Option<u32>, leaving: bool) {
        let clip = &strand.clip;
        let (position, motion) = strand.motion();
        let turn_frames = match motion {
            Motion::Turn { frames, .. } => Some(frames),
            Motion::Steady { .. } => None,
        };
        let (position, sign) = if clip.reversed {
            ((clip.frames.len() - 1) as f64 - position, -1.0)
        } else {
            (position, 1.0)
        };
        let event = ShotEvent {
            frame: n,
            playhead: self.v(),
            cycle: cycle_of(strand.role, clip).map(|cycle| cycle.0),
            role: strand.role,
            position,
            speed: sign * strand.direction() * strand.rate(),
            turn_frames,
            fade_frames,
            leaving,
            clip: clip.serial,
            reversed: clip.reversed,
            grown: clip.grown_from.filter(|_| fade_frames.is_some()),
        };
        if self.events.try_send(event).is_err() {
            self.counters.events_lost.add(1);
        }
    }
}

fn cycle_of(role: Role, clip: &PreparedClip) -> Option<CycleId> {
    (role != Role::StandIn).then_some(clip.clip.cycle)
}
