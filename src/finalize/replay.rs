//! A session played again from its journal: for every output frame which clips are on air, where in
//! them the picture stands, how much each shows, and what the parameters are.
//!
//! Holds: it is a function of the journal's entries; no clip is looked at and nothing is read.
//! Where all that was drawn stands in the journal, the answers are those that the render thread had:
//! positions count from the same frames, and parameters follow their changes by the same steps,
//! none of them for a picture that was held. What the journal does not say is said to be unknown.

use std::collections::VecDeque;
use std::f64::consts::PI;

use crate::archive::beats::Frame as MusicFrame;
use crate::archive::journal::{Entry, Event, Grown, Role, Shot, StandIn};
use crate::base::error::{Error, Kind, Result};
use crate::base::time::FrameRate;
use crate::config::{Fit, Interpolation};
use crate::music::{CUTS, HOLDS, Holds, Modulators, cuts_wait, holds_wait};
use crate::param::{self, Param, ParamId, Smoother, Snapshot, Values};
use crate::playout::{Playhead, share};

/// What a journal says of one session.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// When it began: ISO 8601, UTC.
    pub at: String,
    pub canvas: (u32, u32),
    pub fps: FrameRate,
    /// What is `None` here was not written down by the version that it was played with.
    pub fit: Option<Fit>,
    pub interpolation: Option<Interpolation>,
    pub flash_limit: Option<bool>,
    pub stand_in: Option<StandIn>,
    /// Frames that were sent; `None`: the program was killed.
    pub frames: Option<u64>,
    /// Files of the recording, and the frame with which each begins.
    pub parts: Vec<(String, u64)>,
    params: Values,
    /// In the order of generations.
    changes: VecDeque<Changed>,
    /// From a frame on a generation is seen.
    applied: VecDeque<(u64, u64)>,
    /// From a frame on so many show the picture before.
    held: VecDeque<(u64, u64)>,
    /// What of the music moved the picture.
    music: VecDeque<MusicFrame>,
    /// What waited for a beat, and the frame with which it happened.
    on_beat: VecDeque<(u64, ParamId)>,
    shots: VecDeque<Shot>,
}

/// A change of a parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Changed {
    generation: u64,
    param: &'static Param,
    value: f32,
    fade_ms: f32,
}

/// A clip as it was on air.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// `None`: the built-in stand-in.
    pub cycle: Option<u32>,
    pub reversed: bool,
    pub grown: Option<Grown>,
}

/// A clip on air, and how it moves.
#[derive(Clone, Debug, PartialEq)]
pub struct OnAir {
    pub source: Source,
    clip: Option<u64>,
    /// Where the playhead was when `position` was shown.
    from: f64,
    position: f64,
    speed: f64,
    turn_frames: Option<f64>,
}

/// What an output frame shows.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    pub values: Values,
    /// Triggers that were sent since the frame before.
    pub fired: &'a [ParamId],
    /// `None`: the journal does not say.
    pub base: Option<&'a OnAir>,
    /// What is being joined in over it, and how much of it shows.
    pub over: Option<(&'a OnAir, f32)>,
    /// The picture before went out again on stage.
    pub held: bool,
    /// Where the playhead is.
    pub playhead: f64,
}

/// The sessions of a journal, in order.
///
/// # Errors
/// A session whose canvas or rate cannot be read; names it.
pub fn sessions(entries: Vec<Entry>) -> Result<Vec<Session>> {
    let mut sessions: Vec<Session> = Vec::new();
    for Entry { at, event } in entries {
        if let Event::SessionStart {
            canvas,
            fps,
            fit,
            interpolation,
            flash_limit,
            stand_in,
            params,
            ..
        } = event
        {
            let unreadable = || {
                let what = format!("the session of {at} has a canvas of '{canvas}' at '{fps}'");
                Error::new(Kind::Io, format!("{what}; write it as 1920x1080 and 60/1"))
            };
            let size =
                canvas.split_once('x').and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
            let mut values = Values::default();
            for (address, value) in params {
                // One that this version does not have changes nothing here.
                if let Ok(param) = param::find(&address) {
                    values[param.id] = value as f32;
                }
            }
            sessions.push(Session {
                canvas: size.ok_or_else(unreadable)?,
                fps: fps.parse().map_err(|_| unreadable())?,
                at,
                fit,
                interpolation,
                flash_limit,
                stand_in,
                frames: None,
                parts: Vec::new(),
                params: values,
                changes: VecDeque::new(),
                applied: VecDeque::new(),
                held: VecDeque::new(),
                music: VecDeque::new(),
                on_beat: VecDeque::new(),
                shots: VecDeque::new(),
            });
            continue;
        }
        // What stands before the first session belongs to none.
        let Some(session) = sessions.last_mut() else { continue };
        match event {
            Event::Shot(shot) => session.shots.push_back(shot),
            Event::Param { address, value, fade_ms, generation, .. } => {
                if let Ok(param) = param::find(&address) {
                    let (value, fade_ms) = (value as f32, fade_ms.unwrap_or(0.0));
                    session.changes.push_back(Changed { generation, param, value, fade_ms });
                }
            }
            Event::ParamApplied { frame, generation } => {
                session.applied.push_back((frame, generation));
            }
            Event::Held { frame, frames } => session.held.push_back((frame, frames)),
            Event::Music(music) => session.music.extend(music.frames()),
            Event::OnBeat { frame, address } => {
                if let Ok(param) = param::find(&address) {
                    session.on_beat.push_back((frame, param.id));
                }
            }
            Event::Recording { file, frame } => session.parts.push((file, frame)),
            Event::SessionEnd { frames, .. } => session.frames = Some(frames),
            _ => {}
        }
    }
    for session in &mut sessions {
        // They came by different ways; each way keeps its order.
        session.shots.make_contiguous().sort_by_key(|shot| shot.frame);
        session.changes.make_contiguous().sort_by_key(|change| change.generation);
        session.applied.make_contiguous().sort_by_key(|applied| applied.0);
        session.held.make_contiguous().sort_by_key(|held| held.0);
        session.music.make_contiguous().sort_by_key(|music| music.frame);
        session.on_beat.make_contiguous().sort_by_key(|happened| happened.0);
    }
    Ok(sessions)
}

/// A session being played again, from its first frame on.
pub struct Replay {
    /// What of it is still to come; what has been stands below.
    left: Session,
    next: u64,
    target: Snapshot,
    fired: Vec<ParamId>,
    smoother: Smoother,
    values: Values,
    /// The music as it was said last.
    music: MusicFrame,
    modulators: Modulators,
    holds: Holds,
    playhead: Playhead,
    held_until: u64,
    held: bool,
    base: Option<OnAir>,
    over: Option<Fade>,
}

struct Fade {
    to: OnAir,
    start: u64,
    frames: u32,
}

impl Replay {
    pub fn new(session: Session) -> Self {
        let values = session.params;
        Replay {
            playhead: Playhead::new(session.fps),
            left: session,
            next: 0,
            target: Snapshot { values, ..Snapshot::default() },
            fired: Vec::new(),
            smoother: Smoother::new(values),
            values,
            music: MusicFrame::default(),
            modulators: Modulators::default(),
            holds: Holds::default(),
            held_until: 0,
            held: false,
            base: None,
            over: None,
        }
    }

    /// How many frames have been shown, from the first on.
    pub fn shown(&self) -> u64 {
        self.next
    }

    /// What frame `n` shows. To be called for rising `n`; frames may be left out.
    pub fn frame(&mut self, n: u64) -> Moment<'_> {
        while self.next <= n {
            self.advance(self.next);
            self.next += 1;
        }
        let base = self.base.as_ref();
        let over = self.over.as_ref().map(|fade| (&fade.to, share(n - fade.start, fade.frames)));
        let playhead = self.playhead.ahead(n);
        Moment { values: self.values, fired: &self.fired, base, over, held: self.held, playhead }
    }

    fn advance(&mut self, n: u64) {
        while let Some((frame, frames)) = self.left.held.pop_front_if(|held| held.0 <= n) {
            self.held_until = self.held_until.max(frame + frames);
        }
        self.held = n < self.held_until;
        if !self.held {
            self.step_values(n);
        }
        if let Some(fade) = self.over.take_if(|fade| n >= fade.start + u64::from(fade.frames)) {
            self.base = Some(fade.to);
        }
        while let Some(shot) = self.left.shots.pop_front_if(|shot| shot.frame <= n) {
            self.take(shot, self.playhead.ahead(n));
        }
    }

    /// As the render thread does for every picture that it draws.
    fn step_values(&mut self, n: u64) {
        self.fired.clear();
        while let Some((_, seen)) = self.left.applied.pop_front_if(|applied| applied.0 <= n) {
            while let Some(change) = self.left.changes.pop_front_if(|c| c.generation <= seen) {
                let id = change.param.id;
                match change.param.kind {
                    param::Kind::Trigger => self.fired.push(id),
                    param::Kind::Text { .. } => {}
                    _ => {
                        self.target.values[id] = change.value;
                        self.target.fades_ms[id] = change.fade_ms;
                    }
                }
            }
        }
        let frame_ms = self.left.fps.frame_seconds() as f32 * 1000.0;
        self.values = *self.smoother.step(&self.target, frame_ms);
        self.step_music(n, frame_ms);
        self.playhead.step(n, &self.values);
    }

    /// As `stream/beat` does, with what it said.
    fn step_music(&mut self, n: u64, frame_ms: f32) {
        self.music.bend = Default::default();
        while let Some(music) = self.left.music.pop_front_if(|music| music.frame <= n) {
            self.music = music;
        }
        if self.music.frame != n {
            self.music.bend = Default::default();
        }
        let values = &mut self.values;
        self.modulators.step(values, self.music.beat.beat(), &self.music.heard, frame_ms);
        self.music.bend.apply(values);
        if cuts_wait(values) {
            self.fired.retain(|id| !CUTS.contains(id));
        }
        let (mut ends, fired) = ([false; HOLDS.len()], &mut self.fired);
        while let Some((_, id)) = self.left.on_beat.pop_front_if(|happened| happened.0 <= n) {
            match HOLDS.iter().position(|hold| *hold == id) {
                Some(place) => ends[place] = true,
                None => fired.push(id),
            }
        }
        let waits = holds_wait(values);
        self.holds.step(values, waits, |place| ends[place]);
    }

    fn take(&mut self, shot: Shot, from: f64) {
        let on_air = OnAir::new(&shot, from);
        let Some(frames) = shot.fade_frames else {
            // It moves on in a new way. Where that is said of a clip that is not on air, it must
            // have come there unseen.
            let over = self.over.as_mut().map(|fade| &mut fade.to).filter(|_| !shot.leaving);
            match over.into_iter().chain(&mut self.base).find(|known| known.is(&shot)) {
                Some(known) => *known = OnAir { source: known.source.clone(), ..on_air },
                None => (self.base, self.over) = (Some(on_air), None),
            }
            return;
        };
        if let Some(fade) = self.over.take() {
            self.base = Some(fade.to);
        }
        match self.base {
            Some(_) => self.over = Some(Fade { to: on_air, start: shot.frame, frames }),
            None => self.base = Some(on_air),
        }
    }
}

impl OnAir {
    /// What a shot says, the playhead being at `from` there.
    fn new(shot: &Shot, from: f64) -> Self {
        let cycle = shot.cycle.filter(|_| shot.role != Role::StandIn);
        OnAir {
            source: Source { cycle, reversed: shot.reversed, grown: shot.grown },
            clip: shot.clip,
            from,
            position: shot.position,
            speed: shot.speed,
            turn_frames: shot.turn_frames,
        }
    }

    fn is(&self, shot: &Shot) -> bool {
        match (self.clip, shot.clip) {
            (Some(known), Some(clip)) => known == clip,
            _ => self.source.cycle == shot.cycle,
        }
    }

    /// Where it stands when the playhead is at `playhead`: a frame of the clip as it was on air,
    /// whose last frame is `last`; fractional.
    pub fn position(&self, playhead: f64, last: f64) -> f64 {
        self.unbounded(playhead, last).clamp(0.0, last)
    }

    /// Whether it would have ended before, and what came then is unknown.
    pub fn is_over(&self, playhead: f64, last: f64, fps: FrameRate) -> bool {
        // The last picture shows for the time of a frame. Pictures that were held, for a second at
        // most, put off what comes then; a speed of up to four makes that longer.
        let position = self.unbounded(playhead, last);
        let beyond = (position - last - 1.0).max(-1.0 - position);
        self.turn_frames.is_none() && beyond > self.speed.abs() * fps.as_f64() * 4.0
    }

    fn unbounded(&self, playhead: f64, last: f64) -> f64 {
        let elapsed = (playhead - self.from).max(0.0);
        let (start, speed) = match self.source.reversed {
            true => (last - self.position, -self.speed),
            false => (self.position, self.speed),
        };
        match self.turn_frames {
            None => start + speed * elapsed,
            Some(frames) => {
                let s = (elapsed / frames).min(1.0);
                start + speed * frames * (PI * s).sin() / PI
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const FPS: FrameRate = FrameRate::whole(60);

    /// A journal written by hand: each entry without its time.
    fn session(entries: &[Value]) -> Session {
        let start = json!({
            "event": "session_start", "session": "0123456789ab", "version": "1",
            "canvas": "640x360", "fps": "60/1", "params": {"/fx/zoom": 2.0, "/fx/gone": 1.0},
        });
        let entries = std::iter::once(&start).chain(entries).map(|entry| {
            let mut entry = entry.clone();
            entry["at"] = json!("2026-11-22T20:15:00.123Z");
            serde_json::from_value(entry).unwrap()
        });
        sessions(entries.collect()).unwrap().pop().unwrap()
    }

    fn shot(frame: u64, clip: u64, more: Value) -> Value {
        let mut shot = json!({
            "event": "shot", "frame": frame, "clip": clip, "cycle": clip, "role": "fresh",
            "position": 0.0, "speed": 0.125,
        });
        for (key, value) in more.as_object().unwrap() {
            shot[key] = value.clone();
        }
        shot
    }

    /// Cycle and position of what is on air, clips of 25 frames.
    fn seen(moment: &Moment<'_>) -> Vec<(Option<u32>, Option<f64>)> {
        let over = moment.over.map(|(over, _)| over);
        let on_air = moment.base.into_iter().chain(over);
        let position = |on_air: &OnAir| {
            let over = on_air.is_over(moment.playhead, 24.0, FPS);
            (!over).then(|| on_air.position(moment.playhead, 24.0))
        };
        on_air.map(|on_air| (on_air.source.cycle, position(on_air))).collect()
    }

    #[test]
    fn clips_follow_one_another_as_they_did() {
        let stand_in = shot(0, 9, json!({"cycle": null, "role": "stand_in"}));
        let mut replay = Replay::new(session(&[
            stand_in,
            shot(10, 1, json!({"fade_frames": 3})),
            // The clip that goes out turns.
            shot(
                11,
                9,
                json!({"cycle": null, "role": "stand_in", "position": 1.375,
                "turn_frames": 8.0}),
            ),
            shot(40, 1, json!({"position": 3.75, "speed": -0.125})),
        ]));
        assert_eq!(seen(&replay.frame(0)), [(None, Some(0.0))]);
        assert_eq!(seen(&replay.frame(9)), [(None, Some(1.125))]);
        let moment = replay.frame(10);
        assert_eq!(seen(&moment), [(None, Some(1.25)), (Some(1), Some(0.0))]);
        assert_eq!(moment.over.unwrap().1, share(0, 3));
        let turned = 1.375 + 0.125 * 8.0 * (PI / 8.0).sin() / PI;
        assert_eq!(seen(&replay.frame(12)), [(None, Some(turned)), (Some(1), Some(0.25))]);
        assert_eq!(seen(&replay.frame(13)), [(Some(1), Some(0.375))]);
        assert_eq!(seen(&replay.frame(39)), [(Some(1), Some(3.625))]);
        assert_eq!(seen(&replay.frame(41)), [(Some(1), Some(3.625))]);
        assert_eq!(seen(&replay.frame(80)), [(Some(1), Some(0.0))], "not beyond its start");
        assert_eq!(seen(&replay.frame(600)), [(Some(1), None)], "it cannot have stayed");
    }

    #[test]
    fn one_cycle_twice_on_air_is_told_apart_by_the_clip() {
        let mut replay = Replay::new(session(&[
            shot(0, 1, json!({"fade_frames": 1})),
            shot(
                10,
                2,
                json!({"cycle": 1, "fade_frames": 30, "reversed": true,
                "position": 24.0, "speed": -0.125, "grown": {"cycle": 1, "frames": 4}}),
            ),
            shot(20, 1, json!({"position": 2.5, "speed": -0.125})),
        ]));
        let moment = replay.frame(24);
        let (over, _) = moment.over.unwrap();
        assert_eq!(moment.base.unwrap().position(24.0, 24.0), 2.0);
        assert_eq!(over.position(24.0, 24.0), 1.75, "forwards in the reversed clip");
        let grown = Some(Grown { cycle: 1, reversed: false, frames: 4, at: None });
        assert_eq!(over.source, Source { cycle: Some(1), reversed: true, grown });
    }

    #[test]
    fn parameters_follow_their_changes_as_on_the_render_thread() {
        let zoom = |generation: u64, value: f64| {
            json!({"event": "param", "address": "/fx/zoom", "value": value, "source": "http",
                "generation": generation})
        };
        let mut replay = Replay::new(session(&[
            // Of two changes at once the second is seen; a receipt may come before its change.
            json!({"event": "param_applied", "frame": 5, "generation": 2}),
            zoom(1, 4.0),
            zoom(2, 3.0),
            json!({"event": "held", "frame": 7, "frames": 3}),
        ]));
        let mut live = Smoother::new(replay.values);
        let mut target = Snapshot { values: replay.values, ..Snapshot::default() };
        let frame_ms = FPS.frame_seconds() as f32 * 1000.0;
        for n in 0..40 {
            if n == 5 {
                target.values[ParamId::Zoom] = 3.0;
            }
            let moment = replay.frame(n);
            assert_eq!(moment.held, (7..10).contains(&n));
            if !moment.held {
                live.step(&target, frame_ms);
            }
            assert_eq!(moment.values, *live.values(), "frame {n}");
            match n {
                0..5 => assert_eq!(moment.values[ParamId::Zoom], 2.0),
                _ => assert!(moment.values[ParamId::Zoom] > 2.0),
            }
        }
    }

    #[test]
    fn what_a_journal_does_not_say_is_unknown() {
        let mut replay = Replay::new(session(&[shot(60, 3, json!({"position": 4.0}))]));
        assert!(replay.frame(59).base.is_none());
        assert_eq!(seen(&replay.frame(60)), [(Some(3), Some(4.0))]);
    }

    #[test]
    fn every_session_is_one_of_its_own() {
        let start = json!({"at": "1", "event": "session_start", "session": "0123456789ab",
            "version": "1", "canvas": "640x360", "fps": "60/1"});
        let end = json!({"at": "2", "event": "session_end", "session": "0123456789ab",
            "frames": 70});
        let part = json!({"at": "3", "event": "recording", "file": "a.mp4", "frame": 7});
        let entries = [&end, &start, &end, &start, &part];
        let entries = entries.map(|entry| serde_json::from_value(entry.clone()).unwrap());
        let sessions = sessions(entries.into()).unwrap();
        let known: Vec<_> = sessions.iter().map(|s| (s.frames, s.parts.clone())).collect();
        assert_eq!(known, [(Some(70), vec![]), (None, vec![("a.mp4".into(), 7)])]);

        let mut bad = start;
        bad["canvas"] = json!("wide");
        let error = super::sessions(vec![serde_json::from_value(bad).unwrap()]).unwrap_err();
        assert!(error.to_string().contains("'wide'"), "{error}");
    }
}
