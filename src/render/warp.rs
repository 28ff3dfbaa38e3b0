//! The picture at any time between two frames, from the motion that is known between them.
//!
//! The motion is that of the picture half-way; for another time every cell asks what passes it
//! then: the vector there, followed from the middle (two fixed-point steps, as for inverting a
//! displacement field, Chen et al. 2008). Every pixel is fetched from both frames along its vector,
//! bicubic so that it is as sharp as they are; what only one of them shows is taken from that one;
//! and as far as the motion is not to be trusted, both frames are blended as they are.
//!
//! Holds: nothing is allocated while the size of pictures stays.

use super::kernels::Cpu;
use super::kernels::warp::{CELLS_BEFORE, CELLS_BEHIND, CellRow, CellRowMut, Grid, Moment, Row};
use crate::media::{FrameMut, FrameRef, Motion, PlaneMut, PlaneRef};

pub struct Warper {
    cpu: Cpu,
    /// For cells of luma, and of chroma, of `cell_px`.
    grids: [Grid; 2],
    cell_px: u32,
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
        let grids = [Grid::new(4), Grid::new(2)];
        Warper {
            cpu: Cpu::detect(),
            grids,
            cell_px: 4,
            cells: Cells::default(),
            row: Cells::default(),
        }
    }

    /// Writes the picture at time `t` (0: `a`, 1: `b`) into `out`. All are of the size for which
    /// `motion` was found; what kind of motion it is does not matter here.
    pub fn warp(
        &mut self,
        (a, b): (FrameRef, FrameRef),
        motion: &Motion,
        t: f32,
        out: &mut FrameMut,
    ) {
        let t = if t > 0.0 { t.min(1.0) } else { 0.0 };
        if self.cell_px != motion.cell_px {
            self.cell_px = motion.cell_px;
            let cell = motion.cell_px as usize;
            self.grids = [Grid::new(cell), Grid::new(cell / 2)];
        }
        self.at_time(motion, t);
        self.row.resize(motion.width, 1);
        self.rows(motion, 0, t, [(a.y, b.y)], [&mut out.y]);
        self.rows(motion, 1, t, [(a.u, b.u), (a.v, b.v)], [&mut out.u, &mut out.v]);
    }

    /// The cells as they are at `t`.
    fn at_time(&mut self, motion: &Motion, t: f32) {
        let (width, height) = (motion.width, motion.height);
        self.cells.resize(width, height);
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
        let grid = &self.grids[halvings as usize];
        let moment = Moment::new(t, halvings);
        let (a, b) = (planes.map(|(a, _)| a), planes.map(|(_, b)| b));
        let mut out = out;
        for y in 0..a[0].height {
            self.row.between(self.cpu, &self.cells, grid.rows(y, motion.height));
            let row = Row { y, a, b, cells: self.row.row(), grid, moment };
            self.cpu.warp(
                &row,
                out.each_mut().map(|plane| {
                    let (width, stride) = (plane.width, plane.stride);
                    &mut plane.data[y * stride..][..width]
                }),
            );
        }
    }
}
