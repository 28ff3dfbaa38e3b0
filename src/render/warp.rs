//! The picture at any time between two frames, from the motion that is known between them.
//!
//! The motion is that of the picture half-way; for another time every cell asks what passes it
//! then: the vector there, followed from the middle (two fixed-point steps, as for inverting a
//! displacement field, Chen et al. 2008). Every pixel is fetched from both frames along its vector,
//! bicubic so that it is as sharp as they are; what only one of them shows is taken from that one;
//! and as far as the motion is not to be trusted, both frames are blended as they are.
//!
//! Holds: nothing is allocated while the size of pictures stays.

use super::kernels::warp::{
    BAND, CELLS_BEFORE, CELLS_BEHIND, CellRow, CellRowMut, Grid, Moment, Row,
};
use super::kernels::{Cpu, ONE};
use super::{blend_planes, unit};
use crate::media::{FrameMut, FrameRef, Motion, PlaneMut, PlaneRef};

/// What is done to the colour of a warped picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    Warped,
    /// Mixed in place: a third less work, and seen only at coloured edges that move.
    Blended,
}

/// Pixels of the cells that motion has at the usual sizes.
const USUAL_CELLS: [u32; 4] = [4, 8, 16, 32];

pub struct Warper {
    cpu: Cpu,
    /// For cells of luma, and of chroma; by the `cell_px` that there were so far.
    grids: Vec<(u32, [Grid; 2])>,
    cells: Cells,
    row: Cells,
}

/// What every cell says, padded in each row; as [`CellRow`].
#[derive(Default)]
struct Cells {
    stride: usize,
    dx: Vec<i16>,
    dy: Vec<i16>,
    share: Vec<i16>,
    trust: Vec<i16>,
}

impl Cells {
    fn resize(&mut self, width: usize, height: usize) {
        self.stride = width + CELLS_BEFORE + CELLS_BEHIND;
        for values in [&mut self.dx, &mut self.dy, &mut self.share, &mut self.trust] {
            values.resize(self.stride * height, 0);
        }
    }

    /// Interpolates between two rows of `from`.
    fn between(&mut self, cpu: Cpu, from: &Cells, (above, below, weight): (usize, usize, i16)) {
        let stride = from.stride;
        for (to, from) in [
            (&mut self.dx, &from.dx),
            (&mut self.dy, &from.dy),
            (&mut self.share, &from.share),
            (&mut self.trust, &from.trust),
        ] {
            let (above, below) = (&from[above * stride..], &from[below * stride..]);
            cpu.lerp_rows(above, below, weight, to);
        }
    }

    fn row(&self) -> CellRow<'_> {
        CellRow { dx: &self.dx, dy: &self.dy, share: &self.share, trust: &self.trust }
    }
}

impl Default for Warper {
    fn default() -> Self {
        Warper::new()
    }
}

impl Warper {
    pub fn new() -> Self {
        Warper::with_cpu(Cpu::detect())
    }

    pub(super) fn with_cpu(cpu: Cpu) -> Self {
        let mut warper =
            Warper { cpu, grids: Vec::new(), cells: Cells::default(), row: Cells::default() };
        for cell_px in USUAL_CELLS {
            warper.add_grids(cell_px);
        }
        warper
    }

    /// Writes the picture at time `t` (0: `a`, 1: `b`) into `out`. All are of the size for which
    /// `motion` was found; what kind of motion it is does not matter here.
    pub fn warp(
        &mut self,
        (a, b): (FrameRef, FrameRef),
        motion: &Motion,
        t: f32,
        colour: Colour,
        out: &mut FrameMut,
    ) {
        let t = unit(t);
        self.make_room(motion);
        self.at_time(motion, t);
        self.rows(motion, 0, t, [(a.y, b.y)], [&mut out.y]);
        match colour {
            Colour::Warped => {
                self.rows(motion, 1, t, [(a.u, b.u), (a.v, b.v)], [&mut out.u, &mut out.v]);
            }
            Colour::Blended => {
                let of_b = (t * f32::from(ONE)).round() as i16;
                for (a, b, out) in [(a.u, b.u, &mut out.u), (a.v, b.v, &mut out.v)] {
                    blend_planes(self.cpu, (a, b), [ONE - of_b, of_b], out);
                }
            }
        }
    }

    /// Makes room for motion of this size, so that following it allocates nothing.
    pub fn make_room(&mut self, motion: &Motion) {
        self.add_grids(motion.cell_px);
        self.cells.resize(motion.width, motion.height);
        self.row.resize(motion.width, 1);
    }

    /// Moves all of `a` along `motion`, to where the second of its frames has it. What that shows for
    /// the first time is filled with what was nearby.
    pub fn carry(&mut self, a: FrameRef, motion: &Motion, out: &mut FrameMut) {
        self.make_room(motion);
        self.at_time(motion, 1.0);
        self.cells.share.fill(0);
        self.rows(motion, 0, 1.0, [(a.y, a.y)], [&mut out.y]);
        self.rows(motion, 1, 1.0, [(a.u, a.u), (a.v, a.v)], [&mut out.u, &mut out.v]);
    }

    fn add_grids(&mut self, cell_px: u32) {
        if self.grids.iter().all(|(px, _)| *px != cell_px) {
            let cell = cell_px as usize;
            self.grids.push((cell_px, [Grid::new(cell), Grid::new(cell / 2)]));
        }
    }

    /// The cells as they are at `t`.
    fn at_time(&mut self, motion: &Motion, t: f32) {
        let (width, height) = (motion.width, motion.height);
        let stride = self.cells.stride;
        for y in 0..height {
            let to = y * stride + CELLS_BEFORE;
            let row = CellRowMut {
                dx: &mut self.cells.dx[to..to + width],
                dy: &mut self.cells.dy[to..to + width],
                share: &mut self.cells.share[to..to + width],
                trust: &mut self.cells.trust[to..to + width],
            };
            self.cpu.follow(motion, y, t, row);
            for values in [
                &mut self.cells.dx,
                &mut self.cells.dy,
                &mut self.cells.share,
                &mut self.cells.trust,
            ] {
                let (first, last) = (values[to], values[to + width - 1]);
                values[to - CELLS_BEFORE..to].fill(first);
                values[to + width..][..CELLS_BEHIND].fill(last);
            }
        }
    }

    fn rows<const N: usize>(
        &mut self,
        motion: &Motion,
        halvings: u32,
        t: f32,
        planes: [(PlaneRef, PlaneRef); N],
        out: [&mut PlaneMut; N],
    ) {
        let Some((_, grids)) = self.grids.iter().find(|(px, _)| *px == motion.cell_px) else {
            return;
        };
        let grid = &grids[halvings as usize];
        let moment = Moment::new(t, halvings);
        let (a, b) = (planes.map(|(a, _)| a), planes.map(|(_, b)| b));
        let mut out = out;
        let height = a[0].height;
        for y in (0..height).step_by(BAND) {
            self.row.between(self.cpu, &self.cells, grid.rows(y, motion.height));
            let row = Row { y, a, b, cells: self.row.row(), grid, moment };
            let rows = out.each_mut().map(|plane| {
                let width = plane.width;
                let mut rows = plane.data[y * plane.stride..].chunks_mut(plane.stride);
                let mut rows = rows.by_ref().take((height - y).min(BAND));
                [(); BAND].map(|()| rows.next().map_or(&mut [][..], |row| &mut row[..width]))
            });
            self.cpu.warp(&row, rows);
        }
    }
}
