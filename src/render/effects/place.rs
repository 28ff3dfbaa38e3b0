//! Where everything comes from: zoom, rotation, pan, mirror and kaleidoscope as one way from the
//! pixels that are made to those of the picture.
//!
//! The picture is moved first and folded then, so a mirrored picture is symmetric wherever it was
//! moved to. What comes in at the edges is the picture mirrored.
//!
//! Holds: nothing is allocated once a size has been seen.

use std::f32::consts::PI;

use super::super::kernels::map::{Around, BEFORE, BEHIND, LANES, Line, Turn, Way};
use super::super::kernels::{CHROMA, Cpu, LUMA, Range};
use super::super::look::{Look, Mirror, within};
use super::super::row_mut;
use crate::media::{Frame, FrameMut, PlaneMut};

/// How a look moves the picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Move {
    pub zoom: f32,
    pub rotation_deg: f32,
    pub pan: [f32; 2],
    pub mirror: Mirror,
    pub segments: u32,
}

impl Move {
    pub fn new(look: &Look) -> Self {
        Move {
            zoom: within(look.zoom, 1.0, 4.0, 1.0),
            rotation_deg: within(look.rotation_deg, -180.0, 180.0, 0.0),
            pan: [within(look.pan_x, -1.0, 1.0, 0.0), within(look.pan_y, -1.0, 1.0, 0.0)],
            mirror: look.mirror,
            segments: look.kaleidoscope.min(16),
        }
    }

    /// Only by the zoom, if at all.
    pub fn only_zooms(&self) -> bool {
        (self.rotation_deg, self.pan) == (0.0, [0.0; 2])
            && self.mirror == Mirror::Off
            && self.segments < 2
    }

    /// The way back, for a picture of that size.
    pub fn way(&self, (width, height): (u32, u32)) -> Way {
        let size = [width as f32, height as f32];
        let (sin, cos) = self.rotation_deg.to_radians().sin_cos();
        let (sin, cos) = (sin / self.zoom, cos / self.zoom);
        let [px, py] = [self.pan[0] * size[0] * self.zoom, self.pan[1] * size[1] * self.zoom];
        let fan = (self.segments >= 2).then(|| {
            let half = PI / self.segments as f32;
            let direction = |angle: f32| [angle.cos(), angle.sin()];
            // As many segments as there are on one side, in turns of 8, 4, 2 and 1 of them.
            [8, 4, 2, 1].map(|segments| match segments <= self.segments / 2 {
                true => Turn {
                    border: direction((2 * segments - 1) as f32 * half),
                    by: direction((2 * segments) as f32 * half),
                },
                // Nothing is beyond it.
                false => Turn::default(),
            })
        });
        Way {
            fan,
            mirror: [
                matches!(self.mirror, Mirror::LeftRight | Mirror::Quad),
                matches!(self.mirror, Mirror::TopBottom | Mirror::Quad),
            ],
            matrix: [
                cos,
                sin,
                size[0] / 2.0 - cos * px - sin * py,
                -sin,
                cos,
                size[1] / 2.0 + sin * px - cos * py,
            ],
            size,
            alike: [
                matches!(self.mirror, Mirror::LeftRight | Mirror::Quad) || self.segments >= 2,
                matches!(self.mirror, Mirror::TopBottom | Mirror::Quad) && self.segments < 2
                    || self.segments >= 2 && self.segments.is_multiple_of(2),
            ],
        }
    }
}

/// Moves pictures.
pub struct Placer {
    cpu: Cpu,
    /// The planes with pixels around them, one after the other.
    around: [Vec<u8>; 3],
    xs: Vec<i32>,
    ys: Vec<i32>,
}

impl Placer {
    pub fn new(cpu: Cpu) -> Self {
        Placer { cpu, around: [const { Vec::new() }; 3], xs: Vec::new(), ys: Vec::new() }
    }

    pub fn make_room(&mut self, (width, height): (u32, u32)) {
        let room = |width: u32, height: u32| {
            (width as usize + BEFORE + BEHIND) * (height as usize + BEFORE + 1)
        };
        let chroma = room(width.div_ceil(2), height.div_ceil(2));
        for (plane, room) in self.around.iter_mut().zip([room(width, height), chroma, chroma]) {
            plane.resize(room.max(plane.len()), 0);
        }
        let places = (width as usize).next_multiple_of(LANES);
        self.xs.resize(places.max(self.xs.len()), 0);
        self.ys.resize(places.max(self.ys.len()), 0);
    }

    /// Draws `from` moved by `way` into `to`, of the same size.
    pub fn draw(&mut self, from: &Frame, way: &Way, to: &mut FrameMut) {
        let [width, height] = way.size;
        let whole = 64.0;
        let before = 64.0 * BEFORE as f32;
        // Chroma lies on every other column of luma, and between rows.
        let lines = [
            (0.5, 1.0, 0.5, 1.0, [whole; 2], [before - 32.0; 2]),
            (0.5, 2.0, 1.0, 2.0, [whole / 2.0; 2], [before - 16.0, before - 32.0]),
        ];
        for (n, (first, step, down, rows, scale, offset)) in lines.into_iter().enumerate() {
            let planes: &mut [(&[u8], &mut PlaneMut, Range)] = match n {
                0 => &mut [(&from.y, &mut to.y, LUMA)],
                _ => &mut [(&from.u, &mut to.u, CHROMA), (&from.v, &mut to.v, CHROMA)],
            };
            for ((from, to, _), around) in planes.iter().zip(&mut self.around[n..]) {
                surround(from, to.width, around);
            }
            let line = Line { first: first - width / 2.0, step, down: 0.0, scale, offset };
            let (columns, rows_of_plane) = (planes[0].1.width, planes[0].1.height);
            // Chroma lies beside the middle of its pixels, and so has no half like the other.
            let across = way.alike[0] && n == 0;
            let down_too = way.alike[1] && (n == 0 || height % 2.0 == 0.0);
            let made = if across { columns.div_ceil(2) } else { columns };
            let made_rows = if down_too { rows_of_plane.div_ceil(2) } else { rows_of_plane };
            let places = made.next_multiple_of(LANES);
            for y in 0..made_rows {
                let down = down + rows * y as f32 - height / 2.0;
                let (xs, ys) = (&mut self.xs[..places], &mut self.ys[..places]);
                self.cpu.places(way, &Line { down, ..line }, xs, ys);
                for ((_, to, range), data) in planes.iter_mut().zip(&self.around[n..]) {
                    let (stride, rows) = (to.width + BEFORE + BEHIND, to.height + BEFORE + 1);
                    let plane = Around { data: &data[..stride * rows], stride, rows };
                    let row = row_mut(to, y);
                    self.cpu.sample(plane, xs, ys, *range, &mut row[..made]);
                    let (left, right) = row.split_at_mut(made);
                    for (left, right) in left.iter().zip(right.iter_mut().rev()) {
                        *right = *left;
                    }
                }
            }
            for (_, to, _) in planes.iter_mut() {
                for y in made_rows..rows_of_plane {
                    let from = (rows_of_plane - 1 - y) * to.stride;
                    to.data.copy_within(from..from + columns, y * to.stride);
                }
            }
        }
    }
}

/// Copies a plane, with its edge pixels around it.
fn surround(from: &[u8], width: usize, to: &mut [u8]) {
    let stride = width + BEFORE + BEHIND;
    let rows = from.len() / width.max(1);
    for (from, to) in from.chunks_exact(width).zip(to[stride..].chunks_exact_mut(stride)) {
        to[..BEFORE].fill(from[0]);
        to[BEFORE..][..width].copy_from_slice(from);
        to[BEFORE + width..].fill(from[width - 1]);
    }
    to.copy_within(stride..2 * stride, 0);
    to.copy_within(rows * stride..(rows + 1) * stride, (rows + 1) * stride);
}
