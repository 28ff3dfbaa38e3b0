//! One clip being shown: where in it the picture stands when the playhead is at `v`.
//!
//! Holds: the position is computed from the playhead and an anchor, never summed up. It is
//! continuous, and through a turn so is the speed: at `s` in 0..1 of a turn the speed is
//! `cos(pi s)` of the full one, so the position swings out and comes back to where the turn began.

use std::f64::consts::PI;
use std::sync::Arc;

use crate::base::time::FrameRate;
use crate::media::{Origin, PreparedClip};

/// How a clip moves from an anchor on. Positions are in source frames, fractional.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Motion {
    /// Steadily: `direction` is 1 or -1.
    Steady { direction: f64 },
    /// Turning round within `frames` steps of the playhead, having moved in `direction` before.
    Turn { direction: f64, frames: f64 },
}

/// Why a clip is on air.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// New material.
    Fresh,
    /// Shown before, or made in an earlier session.
    Replay,
    StandIn,
}

/// Seconds that a turn takes. Long enough to be felt as a sway, short enough not to stand still.
const TURN_SECONDS: f64 = 0.6;

pub struct Strand {
    pub clip: Arc<PreparedClip>,
    pub role: Role,
    /// Source frames for each step of the playhead.
    rate: f64,
    /// Playhead and source position from which `motion` counts.
    anchor: f64,
    position: f64,
    motion: Motion,
    fps: FrameRate,
    /// Position at which, forwards, what comes next is due: a frame behind the last one that shows.
    until: f64,
}

impl Strand {
    /// Starts at the first frame forwards (`direction` 1) or at the last one backwards (-1).
    pub fn new(
        clip: Arc<PreparedClip>,
        role: Role,
        direction: f64,
        v: f64,
        fps: FrameRate,
    ) -> Self {
        let rate = clip.clip.format.fps.as_f64() / fps.as_f64();
        let position = if direction > 0.0 { 0.0 } else { last(&clip) };
        let motion = Motion::Steady { direction };
        let until = clip.frames.len() as f64;
        Strand { clip, role, rate, anchor: v, position, motion, fps, until }
    }

    pub fn stand_in(clip: Arc<PreparedClip>, v: f64, fps: FrameRate) -> Self {
        debug_assert_eq!(clip.origin, Origin::StandIn);
        Strand::new(clip, Role::StandIn, 1.0, v, fps)
    }

    /// It is left when its frame `frame` (fractional) has been shown.
    pub fn cut(&mut self, frame: f64) {
        self.until = (frame + 1.0).min(self.until);
    }

    /// The last frame that shows before what comes next.
    pub fn end(&self) -> f64 {
        self.until - 1.0
    }

    /// How it moves, and the position from which that counts.
    pub fn motion(&self) -> (f64, Motion) {
        (self.position, self.motion)
    }

    /// Source position, within the clip.
    pub fn position(&self, v: f64) -> f64 {
        let elapsed = (v - self.anchor).max(0.0);
        let position = match self.motion {
            Motion::Steady { direction } => self.position + direction * self.rate * elapsed,
            Motion::Turn { direction, frames } => {
                let s = (elapsed / frames).min(1.0);
                self.position + direction * self.rate * frames * (PI * s).sin() / PI
            }
        };
        position.clamp(0.0, last(&self.clip))
    }

    /// 1 forwards, -1 backwards; in a turn, the direction before it.
    pub fn direction(&self) -> f64 {
        match self.motion {
            Motion::Steady { direction } | Motion::Turn { direction, .. } => direction,
        }
    }

    /// Source frames for each step of the playhead, at full speed.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    pub fn is_steady(&self) -> bool {
        matches!(self.motion, Motion::Steady { .. })
    }

    /// Steps of the playhead until the material ends in the present direction (the last picture is
    /// shown for one source frame's time).
    pub fn frames_left(&self, v: f64) -> f64 {
        let elapsed = (v - self.anchor).max(0.0);
        match self.motion {
            Motion::Steady { direction } if direction > 0.0 => {
                (self.until - self.position) / self.rate - elapsed
            }
            Motion::Steady { .. } => (self.position + 1.0) / self.rate - elapsed,
            Motion::Turn { .. } => f64::INFINITY,
        }
    }

    /// Lets a finished turn become steady motion the other way. True if it just did.
    pub fn settle(&mut self, v: f64) -> bool {
        let Motion::Turn { direction, frames } = self.motion else { return false };
        if v - self.anchor < frames {
            return false;
        }
        // The turn ends between two frames; what it is late by is already steady motion.
        let late = v - self.anchor - frames;
        self.position = (self.position - direction * self.rate * late).clamp(0.0, last(&self.clip));
        self.anchor = v;
        self.motion = Motion::Steady { direction: -direction };
        true
    }

    /// Whether a turn must begin to stay within the clip, at so many times its own speed.
    pub fn must_turn(&self, v: f64, speed: f64) -> bool {
        let Motion::Steady { direction } = self.motion else { return false };
        self.room(v, direction) <= self.depth(speed)
    }

    /// Begins a turn.
    pub fn turn(&mut self, v: f64, speed: f64) {
        let Motion::Steady { direction } = self.motion else { return };
        let position = self.position(v);
        // Late decisions leave less room than a full turn takes.
        let depth = self.room(v, direction).min(self.depth(speed)).max(0.0);
        let frames = (depth * PI / self.rate).max(1.0);
        self.position = position;
        self.anchor = v;
        self.motion = Motion::Turn { direction, frames };
    }

    /// Source frames between the position and the end in `direction`.
    fn room(&self, v: f64, direction: f64) -> f64 {
        let position = self.position(v);
        if direction > 0.0 { last(&self.clip) - position } else { position }
    }

    /// How far a full turn swings out, in source frames; at most a quarter of the clip.
    fn depth(&self, speed: f64) -> f64 {
        let full = self.rate * speed * TURN_SECONDS * self.fps.as_f64() / PI;
        full.min(last(&self.clip) / 4.0)
    }
}

/// Position of the last frame.
fn last(clip: &PreparedClip) -> f64 {
    (clip.frames.len() - 1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::testing::clip;

    const FPS: FrameRate = FrameRate::whole(60);

    #[test]
    fn a_bounce_never_jumps_and_never_leaves_the_clip() {
        for frames in [2, 3, 8, 24, 25] {
            let mut strand = Strand::new(clip(0, frames), Role::Fresh, 1.0, 0.0, FPS);
            let mut before = strand.position(0.0);
            let mut turns = 0;
            for n in (1..4000).map(f64::from) {
                strand.settle(n);
                if strand.must_turn(n, 1.0) {
                    strand.turn(n, 1.0);
                    turns += 1;
                }
                let now = strand.position(n);
                assert!((0.0..=f64::from(frames - 1)).contains(&now));
                let step = (now - before).abs();
                assert!(step <= 8.0 / 60.0 + 1e-9, "{frames} frames: jumped {step} at {n}");
                before = now;
            }
            assert!(turns > 10);
        }
    }

    #[test]
    fn a_turn_slows_down_smoothly() {
        let mut strand = Strand::new(clip(0, 24), Role::Fresh, 1.0, 0.0, FPS);
        let mut positions = vec![strand.position(0.0)];
        for n in (1..400).map(f64::from) {
            strand.settle(n);
            if strand.must_turn(n, 1.0) {
                strand.turn(n, 1.0);
            }
            positions.push(strand.position(n));
        }
        let speed: Vec<f64> = positions.windows(2).map(|w| w[1] - w[0]).collect();
        let jerk = speed.windows(2).map(|w| (w[1] - w[0]).abs()).fold(0.0, f64::max);
        assert!(jerk < 0.02, "speed changes by {jerk} source frames in one output frame");
        let still = speed.iter().filter(|s| s.abs() < 0.01).count();
        assert!(still < 12, "{still} of 400 frames stand still");
    }
}
