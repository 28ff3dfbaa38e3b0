//! The picture behind the words of a screen: the show's own, far out of focus and dark, with two
//! soft lights that wander, so that it moves whatever the show does.
//!
//! Holds: nothing is allocated after [`Backdrop::new`]. The blur is made in a picture a sixteenth as
//! wide and high, which is then scaled up.

use super::super::geometry::Geometry;
use super::super::kernels::Cpu;
use super::super::scale::Scaler;
use super::super::{blend_into, quantise};
use crate::config::Fit;
use crate::media::{Frame, FrameMut, FrameRef, PlaneRef};

/// What is left of the show's light, and of its colour.
const LIGHT: f32 = 0.42;
const COLOUR: f32 = 0.8;
/// Pixels of the small picture over which it is blurred.
const RADIUS: usize = 3;
/// A smaller canvas has no blurred picture, only the darkness.
const LEAST: u32 = 64;

/// A soft light: its colour as (Y, Cb, Cr), its size in heights of the picture, and how its way
/// across the picture is paced, in radians a frame at 60 fps.
struct Lamp {
    colour: [f32; 3],
    radius: f32,
    pace: (f32, f32),
    phase: f32,
}

const LAMPS: [Lamp; 2] = [
    Lamp { colour: [30.0, 22.0, -8.0], radius: 0.8, pace: (0.0061, 0.0043), phase: 0.0 },
    Lamp { colour: [24.0, 6.0, 20.0], radius: 0.7, pace: (0.0047, 0.0071), phase: 2.4 },
];

pub(super) struct Backdrop {
    cpu: Cpu,
    /// A quarter and a sixteenth as wide and high as the canvas.
    quarter: Frame,
    small: Frame,
    room: Vec<u8>,
    scaler: Scaler,
    full: Frame,
    row: Vec<u8>,
    blurred: bool,
}

impl Backdrop {
    pub fn new(canvas: (u32, u32), cpu: Cpu) -> Self {
        // Even, so that chroma is exactly half, and rounded down, so that every pixel has sources.
        let fourth = |(w, h): (u32, u32)| ((w / 8 * 2).max(2), (h / 8 * 2).max(2));
        let quarter = fourth(canvas);
        let small = fourth(quarter);
        let mut scaler = Scaler::new(cpu);
        let geometry = Geometry::new(Fit::Stretch, small, (canvas.0.max(1), canvas.1.max(1)), 1.0);
        scaler.set(geometry, geometry);
        let small = Frame::black(small.0, small.1);
        Backdrop {
            cpu,
            quarter: Frame::black(quarter.0, quarter.1),
            room: vec![0; small.y.len()],
            small,
            scaler,
            full: Frame::black(canvas.0, canvas.1),
            row: vec![0; canvas.0 as usize],
            blurred: canvas.0 >= LEAST && canvas.1 >= LEAST,
        }
    }

    /// Puts `share` of it over the picture that it is made of. `light` is what a blackout leaves.
    pub fn draw(&mut self, n: u64, share: f32, light: f32, out: &mut FrameMut) {
        if (out.y.width, out.y.height) != (self.full.width as usize, self.full.height as usize) {
            return;
        }
        if self.blurred {
            shrink(self.cpu, as_ref(out), &mut self.quarter);
            shrink(self.cpu, self.quarter.as_ref(), &mut self.small);
            let (width, height) = (self.small.width as usize, self.small.height as usize);
            for _ in 0..2 {
                blur(&mut self.small.y, (width, height), RADIUS, &mut self.room);
                for plane in [&mut self.small.u, &mut self.small.v] {
                    blur(plane, (width / 2, height / 2), RADIUS.div_ceil(2), &mut self.room);
                }
            }
        }
        self.light_up(n, light);
        if share >= 1.0 {
            self.scaler.scale(self.small.as_ref(), out);
            return;
        }
        self.scaler.scale(self.small.as_ref(), &mut self.full.as_mut());
        let weights = quantise(&[1.0 - share, share]);
        for (to, from) in
            [(&mut out.y, &self.full.y), (&mut out.u, &self.full.u), (&mut out.v, &self.full.v)]
        {
            blend_into(self.cpu, to, from, weights, &mut self.row);
        }
    }

    /// Darkens the small picture and lights it with the lamps.
    fn light_up(&mut self, n: u64, light: f32) {
        let (width, height) = (self.small.width as usize, self.small.height as usize);
        // Whole turns are taken off first, so that a long show does not lose the fraction.
        let angle =
            |pace: f32| (n as f64 * f64::from(pace)).rem_euclid(std::f64::consts::TAU) as f32;
        let aspect = width as f32 / height as f32;
        let lamps = LAMPS.each_ref().map(|lamp| {
            let (x, y) = (angle(lamp.pace.0) + lamp.phase, angle(lamp.pace.1) + lamp.phase * 1.7);
            (lamp, (0.5 + 0.42 * x.sin()) * aspect, 0.5 + 0.38 * y.cos())
        });
        let lit = |x: f32, y: f32, part: usize| -> f32 {
            let of = |(lamp, at_x, at_y): &(&Lamp, f32, f32)| {
                let (dx, dy) = (x - at_x, y - at_y);
                let near = (1.0 - (dx * dx + dy * dy) / (lamp.radius * lamp.radius)).max(0.0);
                near * near * lamp.colour[part] * light
            };
            lamps.iter().map(of).sum()
        };
        let steps = [(1, 0), (2, 1), (2, 2)];
        let planes = [&mut self.small.y, &mut self.small.u, &mut self.small.v];
        for (plane, (step, part)) in planes.into_iter().zip(steps) {
            let (black, kept) = if part == 0 { (16.0, LIGHT) } else { (128.0, COLOUR * LIGHT) };
            let row_length = (width / step).max(1);
            for (y, row) in plane.chunks_exact_mut(row_length).enumerate() {
                let down = (y as f32 + 0.5) * step as f32 / height as f32;
                for (x, value) in row.iter_mut().enumerate() {
                    let across = (x as f32 + 0.5) * step as f32 / height as f32;
                    let shown = black + (f32::from(*value) - black) * kept;
                    *value = (shown + lit(across, down, part) + 0.5) as u8;
                }
            }
        }
    }
}

fn as_ref<'a>(frame: &'a FrameMut) -> FrameRef<'a> {
    let plane = |plane: &'a crate::media::PlaneMut| PlaneRef {
        data: plane.data,
        stride: plane.stride,
        width: plane.width,
        height: plane.height,
    };
    FrameRef { y: plane(&frame.y), u: plane(&frame.u), v: plane(&frame.v) }
}

/// Each pixel of `to` is the average of four by four.
fn shrink(cpu: Cpu, from: FrameRef, to: &mut Frame) {
    let to = to.as_mut();
    for (from, to) in [(from.y, to.y), (from.u, to.u), (from.v, to.v)] {
        for (y, row) in to.data.chunks_exact_mut(to.stride.max(1)).enumerate() {
            cpu.average(&from.data[y * 4 * from.stride..], from.stride, 4, row);
        }
    }
}

/// Averages over `2 * radius + 1` pixels across, then down; edges repeat.
fn blur(plane: &mut [u8], (width, height): (usize, usize), radius: usize, room: &mut [u8]) {
    let room = &mut room[..plane.len()];
    line_blur(plane, room, (width, height), (1, width), radius);
    line_blur(room, plane, (height, width), (width, 1), radius);
}

/// Along lines of `length` pixels, `step` apart; the lines are `apart` apart.
fn line_blur(
    from: &[u8],
    to: &mut [u8],
    (length, lines): (usize, usize),
    (step, apart): (usize, usize),
    radius: usize,
) {
    let size = (2 * radius + 1) as u32;
    for line in 0..lines {
        let at = |i: i64| {
            let i = i.clamp(0, length as i64 - 1) as usize;
            u32::from(from[line * apart + i * step])
        };
        let radius = radius as i64;
        let mut sum: u32 = (-radius..=radius).map(at).sum();
        for i in 0..length as i64 {
            to[line * apart + i as usize * step] = ((sum + size / 2) / size) as u8;
            sum = sum + at(i + radius + 1) - at(i - radius);
        }
    }
}
