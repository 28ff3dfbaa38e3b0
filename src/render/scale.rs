//! Scaling of a part of a picture to a part of the canvas.
//!
//! The filter, bicubic unless another is chosen ([`Filter`]), is separable: rows are filtered horizontally
//! once, kept in a small ring, and mixed vertically. When scaling down it is widened by the same
//! factor, so that nothing aliases. Beyond its edges the source repeats its edge pixels.
//!
//! Holds: chroma is sited as in MPEG-2 and H.264's default: on every other luma column, between
//! two luma rows. Tables are made anew only when the geometry changes; for scaling up that is a
//! look-up per row and column. Nothing is allocated once a size has been seen.

use std::ops::Range;

use super::filter::Filter;
use super::geometry::Geometry;
use super::kernels::{self, BLOCK_WINDOW, Block, CHROMA, Cpu, LUMA, ONE};
use crate::media::{Frame, FrameMut, FrameRef, PlaneMut, PlaneRef};

/// Positions are rounded to 1/1024 of a source pixel.
const PHASES: usize = 1024;
const PHASE_BITS: u32 = PHASES.trailing_zeros();

/// Coefficients of the four pixels around a position that lies k/1024 behind the second.
static CATMULL_ROM: [[i16; 4]; PHASES] = catmull_rom_table();

const fn catmull_rom_table() -> [[i16; 4]; PHASES] {
    let mut table = [[0; 4]; PHASES];
    let mut k = 0;
    while k < PHASES {
        // The polynomials of t = k/n, times 2 n^3; then rounded from 31 to 14 fractional bits.
        let (t, n) = (k as i64, PHASES as i64);
        let (t2, t3) = (t * t, t * t * t);
        let half = 1 << (3 * PHASE_BITS + 1 - 14 - 1);
        let mut coefs = [
            (-t3 + 2 * t2 * n - t * n * n + half) >> (3 * PHASE_BITS + 1 - 14),
            (3 * t3 - 5 * t2 * n + 2 * n * n * n + half) >> (3 * PHASE_BITS + 1 - 14),
            (-3 * t3 + 4 * t2 * n + t * n * n + half) >> (3 * PHASE_BITS + 1 - 14),
            (t3 - t2 * n + half) >> (3 * PHASE_BITS + 1 - 14),
        ];
        let nearest = if 2 * k < PHASES { 1 } else { 2 };
        coefs[nearest] += ONE as i64 - coefs[0] - coefs[1] - coefs[2] - coefs[3];
        table[k] = [coefs[0] as i16, coefs[1] as i16, coefs[2] as i16, coefs[3] as i16];
        k += 1;
    }
    table
}

/// Coefficients that a filter for `step` source pixels per canvas pixel has: 4, or a multiple
/// of 8 when it scales down or is a wide one.
fn taps_for(step: f64, filter: Filter) -> usize {
    let radius = filter.radius(step);
    if step <= 1.0 && radius <= 2.0 {
        return 4;
    }
    ((2.0 * radius * step.max(1.0)).ceil() as usize).next_multiple_of(8)
}

/// The filter along one axis of one plane.
#[derive(Default)]
struct Axis {
    taps: usize,
    /// First source pixel of each output pixel; may lie outside the source, by less than `taps`.
    starts: Vec<i32>,
    /// `taps` for each output pixel; they sum to [`ONE`].
    coefs: Vec<i16>,
}

/// Where along an axis the output pixels of a plane lie in the source plane.
#[derive(Clone, Copy)]
struct Grid {
    /// Output pixels.
    size: usize,
    /// Source pixels per output pixel.
    step: f64,
    /// The source position, in pixel centres, of output pixel 0.
    first: f64,
}

impl Grid {
    /// `origin` is in pixels of this plane, from the edge. `siting` is where within its pixel a
    /// sample sits: 0.5 in the middle.
    fn new(origin: f64, step: f64, siting: f64, size: usize) -> Self {
        Grid { size, step, first: origin + siting * step - siting }
    }
}

impl Axis {
    fn reserve(&mut self, grid: Grid, filter: Filter) {
        self.starts.clear();
        self.starts.reserve(grid.size);
        self.coefs.clear();
        self.coefs.reserve(grid.size * taps_for(grid.step, filter));
    }

    fn fill(&mut self, grid: Grid, filter: Filter) {
        self.starts.clear();
        self.coefs.clear();
        self.taps = taps_for(grid.step, filter);
        if self.taps == 4 && filter == Filter::Bicubic {
            self.fill_narrow(grid);
        } else {
            self.fill_wide(grid, filter);
        }
    }

    fn fill_narrow(&mut self, grid: Grid) {
        // 32 fractional bits: the error of 8192 steps stays far below a phase.
        let fixed = |x: f64| (x * (1u64 << 32) as f64).round() as i64;
        let shift = 32 - PHASE_BITS;
        let step = fixed(grid.step);
        let mut position = fixed(grid.first) + (1 << (shift - 1));
        for _ in 0..grid.size {
            let phases = position >> shift;
            self.starts.push((phases >> PHASE_BITS) as i32 - 1);
            self.coefs.extend_from_slice(&CATMULL_ROM[phases as usize % PHASES]);
            position += step;
        }
    }

    fn fill_wide(&mut self, grid: Grid, filter: Filter) {
        let (step, radius) = (grid.step.max(1.0), filter.radius(grid.step));
        for i in 0..grid.size {
            let position = grid.first + i as f64 * grid.step;
            let start = (position - radius * step).floor() + 1.0;
            let weight =
                |tap: usize| filter.weight((start + tap as f64 - position) / step, grid.step);
            let sum: f64 = (0..self.taps).map(weight).sum();
            let (mut left, mut largest) = (i32::from(ONE), (0, 0));
            for tap in 0..self.taps {
                let coef = (weight(tap) / sum * f64::from(ONE)).round() as i16;
                left -= i32::from(coef);
                if coef > largest.1 {
                    largest = (self.coefs.len(), coef);
                }
                self.coefs.push(coef);
            }
            self.coefs[largest.0] += left as i16;
            self.starts.push(start as i32);
        }
    }

    /// The pixels of a source of `len` that are used.
    fn used(&self, len: usize) -> Range<usize> {
        match (self.starts.first(), self.starts.last()) {
            (Some(&first), Some(&last)) => {
                let place = |at: i32| at.clamp(0, len as i32) as usize;
                place(first).min(len - 1)..place(last + self.taps as i32).max(1)
            }
            _ => 0..0,
        }
    }
}

/// Both axes of one plane.
#[derive(Default)]
struct Plan {
    x: Axis,
    /// The horizontal filter in the form of its kernel, where it has four taps.
    blocks: Vec<Block>,
    y: Axis,
}

impl Plan {
    fn reserve(&mut self, x: Grid, y: Grid, filter: Filter) {
        self.x.reserve(x, filter);
        self.y.reserve(y, filter);
        self.blocks.clear();
        self.blocks.reserve(x.size.div_ceil(16));
    }

    fn fill(&mut self, x: Grid, y: Grid, filter: Filter) {
        self.x.fill(x, filter);
        self.y.fill(y, filter);
        // The kernels count from the start of a row with `taps` pixels of padding before it.
        let padding = self.x.taps as i32;
        for start in &mut self.x.starts {
            *start = (*start + padding).max(0);
        }
        self.blocks.clear();
        if self.x.taps == 4 {
            let (starts, coefs) = (&self.x.starts, self.x.coefs.as_chunks::<4>().0);
            self.blocks.extend((0..x.size.div_ceil(16)).map(|block| {
                Block::new(|i| {
                    let i = (block * 16 + i).min(x.size - 1);
                    (starts[i] as u32, coefs[i])
                })
            }));
        }
    }
}

/// Scales pictures; keeps the tables of the last geometry.
pub(super) struct Scaler {
    cpu: Cpu,
    /// Of luma and of chroma.
    filters: [Filter; 2],
    geometry: Option<Geometry>,
    luma: Plan,
    chroma: Plan,
    /// What luma and chroma may hold.
    ranges: [kernels::Range; 2],
    work: Work,
}

/// Room to work in.
#[derive(Default)]
struct Work {
    /// A source row with its edge pixels repeated on both sides.
    row: Vec<u8>,
    /// The last `taps` horizontally filtered rows; source row r is in place r % taps.
    ring: Vec<i16>,
    /// Where in `ring` the rows of one output row begin.
    rows: Vec<usize>,
}

impl Scaler {
    pub fn new(cpu: Cpu) -> Self {
        Scaler::with(cpu, Filter::default())
    }

    pub fn with(cpu: Cpu, filter: Filter) -> Self {
        Scaler {
            cpu,
            filters: filter.of_planes(),
            geometry: None,
            luma: Plan::default(),
            chroma: Plan::default(),
            ranges: [LUMA, CHROMA],
            work: Work::default(),
        }
    }

    /// Whether pictures use all values from 0 to 255, or those of limited range, which is usual.
    pub fn set_full_range(&mut self, full_range: bool) {
        let full = kernels::Range { min: 0, max: 255 };
        self.ranges = if full_range { [full; 2] } else { [LUMA, CHROMA] };
    }

    /// Makes the tables for `geometry`. `unzoomed` is the same at zoom 1, which has the largest
    /// tables: they are reserved at once, so that no later zoom allocates.
    pub fn set(&mut self, geometry: Geometry, unzoomed: Geometry) {
        if self.geometry == Some(geometry) {
            return;
        }
        let sizes = |g: &Geometry| (g.source, g.canvas);
        if self.geometry.as_ref().map(sizes) != Some(sizes(&geometry)) {
            let [(x, y), (cx, cy)] = grids(&unzoomed);
            let [luma, chroma] = self.filters;
            self.luma.reserve(x, y, luma);
            self.chroma.reserve(cx, cy, chroma);
            let most_taps = |step| taps_for(step, luma).max(taps_for(step, chroma));
            let (taps_x, taps_y) = (most_taps(x.step), most_taps(y.step));
            let row = geometry.source.0 as usize + 2 * taps_x + BLOCK_WINDOW;
            let ring = taps_y * ring_stride(x.size);
            // Grown only: pictures of two sizes may take turns.
            self.work.row.resize(row.max(self.work.row.len()), 0);
            self.work.ring.resize(ring.max(self.work.ring.len()), 0);
            self.work.rows.clear();
            self.work.rows.reserve(taps_y);
        }
        let [(x, y), (cx, cy)] = grids(&geometry);
        self.luma.fill(x, y, self.filters[0]);
        self.chroma.fill(cx, cy, self.filters[1]);
        self.geometry = Some(geometry);
    }

    /// The rows of luma and of chroma that the geometry needs from a source of its size.
    pub fn source_rows(&self, source: &Frame) -> (Range<usize>, Range<usize>) {
        (self.luma.y.used(source.height as usize), self.chroma.y.used(source.chroma_height()))
    }

    /// Scales `source`, of the size in the geometry, to its place on the canvas; black around it.
    pub fn scale(&mut self, source: FrameRef, out: &mut FrameMut) {
        let Some(geometry) = self.geometry else { return };
        let (x, y) = (geometry.x.start, geometry.y.start);
        let (cx, cy) = (x / 2, y / 2);
        let ([luma, chroma], cpu, work) = (self.ranges, self.cpu, &mut self.work);
        scale_plane(cpu, &self.luma, source.y, (&mut out.y, x, y), luma, work);
        scale_plane(cpu, &self.chroma, source.u, (&mut out.u, cx, cy), chroma, work);
        scale_plane(cpu, &self.chroma, source.v, (&mut out.v, cx, cy), chroma, work);
        bars(&mut out.y, &self.luma, (x, y), 16);
        bars(&mut out.u, &self.chroma, (cx, cy), 128);
        bars(&mut out.v, &self.chroma, (cx, cy), 128);
    }
}

/// The grids (x, y) of luma and of chroma.
fn grids(geometry: &Geometry) -> [(Grid, Grid); 2] {
    let (x, y) = (&geometry.x, &geometry.y);
    [
        (
            Grid::new(x.source_start, x.step(), 0.5, x.size),
            Grid::new(y.source_start, y.step(), 0.5, y.size),
        ),
        (
            Grid::new(x.source_start / 2.0, x.step(), 0.25, x.size.div_ceil(2)),
            Grid::new(y.source_start / 2.0, y.step(), 0.5, y.size.div_ceil(2)),
        ),
    ]
}

/// Values from one row of the ring to the next: room for whole vectors.
fn ring_stride(width: usize) -> usize {
    width.next_multiple_of(32)
}

/// Scales the plane `source` to `target` (plane, x, y).
fn scale_plane(
    cpu: Cpu,
    plan: &Plan,
    source: PlaneRef,
    (target, left, top): (&mut PlaneMut, usize, usize),
    range: kernels::Range,
    work: &mut Work,
) {
    let (size, taps, padding) = (plan.x.starts.len(), plan.y.taps, plan.x.taps);
    let (width, height) = (source.width, source.height);
    let stride = ring_stride(size);
    let row = &mut work.row[..width + 2 * padding + BLOCK_WINDOW];
    let mut next = 0;
    for (y, (&start, coefs)) in
        plan.y.starts.iter().zip(plan.y.coefs.chunks_exact(taps)).enumerate()
    {
        let last = height as i32 - 1;
        let wanted = |tap: usize| (start + tap as i32).clamp(0, last) as usize;
        next = next.max(wanted(0));
        while next <= wanted(taps - 1) {
            let pixels = &source.data[next * source.stride..][..width];
            row[..padding].fill(pixels[0]);
            row[padding..][..width].copy_from_slice(pixels);
            row[padding + width..].fill(pixels[width - 1]);
            let filtered = &mut work.ring[next % taps * stride..][..stride];
            if plan.x.taps == 4 {
                cpu.columns_4(row, &plan.blocks, filtered);
            } else {
                cpu.columns(row, &plan.x.starts, plan.x.taps, &plan.x.coefs, filtered);
            }
            next += 1;
        }
        work.rows.clear();
        work.rows.extend((0..taps).map(|tap| wanted(tap) % taps * stride));
        let out = &mut target.data[(top + y) * target.stride + left..][..size];
        cpu.rows(&work.ring, &work.rows, coefs, range, out);
    }
}

/// Fills what lies around the picture that begins at (left, top).
fn bars(plane: &mut PlaneMut, plan: &Plan, (left, top): (usize, usize), value: u8) {
    let (right, bottom) = (left + plan.x.starts.len(), top + plan.y.starts.len());
    if (left, top, right, bottom) == (0, 0, plane.width, plane.height) {
        return;
    }
    for y in 0..plane.height {
        let row = &mut plane.data[y * plane.stride..][..plane.width];
        if (top..bottom).contains(&y) {
            row[..left].fill(value);
            row[right..].fill(value);
        } else {
            row.fill(value);
        }
    }
}
