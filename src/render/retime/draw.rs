//! Drawing one output frame: a source picture, or what is between two, at the size that is wanted.
//!
//! Holds: nothing is allocated while sizes stay. Between the two, pictures are made at the size of
//! the source and scaled then, which costs less than one step that does both.

use crate::config::Fit;
use crate::media::{Frame, FrameMut, FrameRef, Motion, PlaneMut, PlaneRef};
use crate::render::filter::Filter;
use crate::render::geometry::Geometry;
use crate::render::kernels::Cpu;
use crate::render::scale::Scaler;
use crate::render::warp::{Colour, Warper};
use crate::render::{blend_planes, quantise, resize, unit};

/// What is drawn.
#[derive(Clone, Copy)]
pub enum Image<'a> {
    One(FrameRef<'a>),
    /// Both frames as they are, with this much of the second.
    Blended(FrameRef<'a>, FrameRef<'a>, f32),
    /// Along the motion, at this time between them.
    Warped(FrameRef<'a>, FrameRef<'a>, &'a Motion, f32),
}

impl<'a> Image<'a> {
    fn first(&self) -> FrameRef<'a> {
        match *self {
            Image::One(a) | Image::Blended(a, ..) | Image::Warped(a, ..) => a,
        }
    }
}

/// Draws one frame after the other. Keeps its memory.
pub struct Drawer {
    cpu: Cpu,
    warper: Warper,
    scaler: Scaler,
    /// What was made at the size of the source.
    made: Frame,
}

impl Default for Drawer {
    fn default() -> Self {
        Drawer::new()
    }
}

impl Drawer {
    pub fn new() -> Self {
        Drawer::with(Filter::default())
    }

    /// One that scales with this filter.
    pub fn with(filter: Filter) -> Self {
        let cpu = Cpu::detect();
        let scaler = Scaler::with(cpu, filter);
        Drawer { cpu, warper: Warper::new(), scaler, made: Frame::black(0, 0) }
    }

    /// Draws into all of `out`. Both frames of a pair are of one size, and no plane is empty. A
    /// picture of another size is stretched; `full_range`: its values go from 0 to 255.
    pub fn draw(&mut self, image: Image, full_range: bool, out: &mut FrameMut) {
        let source = image.first();
        let size = |width: usize, height: usize| (width as u32, height as u32);
        let from = size(source.y.width, source.y.height);
        let to = size(out.y.width, out.y.height);
        if from == to {
            return self.make(image, out);
        }
        let geometry = Geometry::new(Fit::Stretch, from, to, 1.0);
        self.scaler.set(geometry, geometry);
        self.scaler.set_full_range(full_range);
        if let Image::One(frame) = image {
            return self.scaler.scale(frame, out);
        }
        let mut made = std::mem::replace(&mut self.made, Frame::black(0, 0));
        resize(&mut made, from);
        self.make(image, &mut made.as_mut());
        self.scaler.scale(made.as_ref(), out);
        self.made = made;
    }

    /// At the size of the source.
    fn make(&mut self, image: Image, out: &mut FrameMut) {
        match image {
            Image::One(frame) => {
                for (from, to) in planes(frame, out) {
                    copy(from, to);
                }
            }
            Image::Blended(a, b, share) => {
                let share = unit(share);
                let [of_a, of_b, ..] = quantise(&[1.0 - share, share]);
                let seconds = [b.y, b.u, b.v];
                for ((a, out), b) in planes(a, out).into_iter().zip(seconds) {
                    blend_planes(self.cpu, (a, b), [of_a, of_b], out);
                }
            }
            Image::Warped(a, b, motion, time) => {
                self.warper.warp((a, b), motion, time, Colour::Warped, out);
            }
        }
    }
}

fn planes<'a, 'b, 'c>(
    from: FrameRef<'a>,
    to: &'b mut FrameMut<'c>,
) -> [(PlaneRef<'a>, &'b mut PlaneMut<'c>); 3] {
    [(from.y, &mut to.y), (from.u, &mut to.u), (from.v, &mut to.v)]
}

fn copy(from: PlaneRef, to: &mut PlaneMut) {
    let rows = to.data.chunks_mut(to.stride.max(1)).take(to.height);
    for (from, to) in from.rows().zip(rows) {
        to[..from.len()].copy_from_slice(from);
    }
}
