//! Trails: pictures linger, each moved a little further than the one before (feedback, as of a camera
//! that films its own screen).
//!
//! Holds: what lingers is always rounded towards the picture, so at 8 bits too all of it is gone
//! after 219 frames at most, and as a rule much sooner: a tenth is left of it after 116 frames of
//! 1/60 s with trails at 1, after 30 at 0.5.

use super::super::kernels::Cpu;
use super::super::look::{Look, Mirror, within};
use super::super::{resize, row_mut};
use super::place::{Move, Placer};
use crate::media::Frame;

/// What is kept of the difference with trails at 1, in 1/60 s: 1 - 1/(1 + this).
const LONGEST: f32 = 50.0;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Linger {
    /// How long: 0 to 1.
    pub amount: f32,
    pub zoom: f32,
    pub rotation_deg: f32,
}

impl Linger {
    pub fn new(look: &Look) -> Self {
        Linger {
            amount: within(look.trails, 0.0, 1.0, 0.0),
            zoom: within(look.trails_zoom, 0.9, 1.1, 1.0),
            rotation_deg: within(look.trails_rotation_deg, -10.0, 10.0, 0.0),
        }
    }
}

pub struct Trails {
    cpu: Cpu,
    /// The picture that was shown last.
    before: Frame,
    /// It is one, of the show that goes on.
    known: bool,
    moved: Frame,
}

impl Trails {
    pub fn new(cpu: Cpu) -> Self {
        let [before, moved] = [Frame::black(0, 0), Frame::black(0, 0)];
        Trails { cpu, before, known: false, moved }
    }

    pub fn make_room(&mut self, size: (u32, u32)) {
        if (self.before.width, self.before.height) != size {
            self.known = false;
        }
        resize(&mut self.before, size);
        resize(&mut self.moved, size);
    }

    /// Nothing lingers of what was.
    pub fn forget(&mut self) {
        self.known = false;
    }

    /// Adds what lingers to `frame`, `ticks` of 1/60 s after the one before.
    pub fn draw(&mut self, linger: Linger, ticks: f32, placer: &mut Placer, frame: &mut Frame) {
        let longest = LONGEST * linger.amount * linger.amount;
        let keep = (longest / (1.0 + longest)).powf(ticks.min(600.0));
        let keep_q14 = (keep * 16384.0) as i16;
        if self.known && keep_q14 > 0 {
            let ticks = ticks.min(60.0);
            let turn = Move {
                zoom: linger.zoom.powf(ticks).clamp(0.2, 5.0),
                rotation_deg: linger.rotation_deg * ticks,
                pan: [0.0; 2],
                mirror: Mirror::Off,
                segments: 0,
            };
            if (turn.zoom, turn.rotation_deg) != (1.0, 0.0) {
                let way = turn.way((frame.width, frame.height));
                placer.draw(&self.before, &way, &mut self.moved.as_mut());
                std::mem::swap(&mut self.before, &mut self.moved);
            }
            let now = frame.as_mut();
            let planes =
                [(now.y, &self.before.y), (now.u, &self.before.u), (now.v, &self.before.v)];
            for (mut now, before) in planes {
                let width = now.width;
                for (y, before) in before.chunks_exact(width).enumerate() {
                    self.cpu.linger(row_mut(&mut now, y), before, keep_q14);
                }
            }
        }
        copy(frame, &mut self.before);
        self.known = true;
    }
}

/// Copies a picture into one of the same size.
pub fn copy(from: &Frame, to: &mut Frame) {
    to.y.copy_from_slice(&from.y);
    to.u.copy_from_slice(&from.u);
    to.v.copy_from_slice(&from.v);
}
