//! Rows of a picture between two others, each pixel fetched from where the motion says. A band of four
//! rows shares what it says in their middle: over so few, motion differs by little more than the
//! filter's phases, but where it is torn anyway, and most of the work is finding out where pixels are.
//!
//! Fixed point: displacements have 5 fractional bits, as pixels on the way; shares and times 15.
//! What lies outside a plane is its nearest edge pixel.

use super::{Cpu, mulhrs};
use crate::media::{Motion, PlaneRef};

/// Pixels that a kernel makes at once.
pub const LANES: usize = 8;
/// Rows that are made at once; even.
pub const BAND: usize = 4;
/// The longest side of a plane that a kernel's positions, of 16 bits, have room for, with the farthest
/// vector.
pub const LONGEST: usize = 16_384;
/// Cells that stand before a row's first one, and behind its last: copies of these.
pub const CELLS_BEFORE: usize = 1;
pub const CELLS_BEHIND: usize = 8;

/// What cells say of a row of pixels, padded by [`CELLS_BEFORE`] and [`CELLS_BEHIND`].
#[derive(Clone, Copy)]
pub struct CellRow<'a> {
    /// From `a` to `b`, in pixels of luma; at most 500.
    pub dx: &'a [i16],
    pub dy: &'a [i16],
    /// Of `b` in the warped picture.
    pub share: &'a [i16],
    /// Of the warped picture in the result; the rest is a blend of both planes as they are.
    pub trust: &'a [i16],
}

/// As [`CellRow`], to be written, without what is before and behind.
pub struct CellRowMut<'a> {
    pub dx: &'a mut [i16],
    pub dy: &'a mut [i16],
    pub share: &'a mut [i16],
    pub trust: &'a mut [i16],
}

/// Which cells [`LANES`] pixels lie between, and how far.
#[repr(C, align(16))]
#[derive(Clone, Copy, Debug)]
pub struct Pattern {
    /// Bytes of 16-bit cells, from the block's first cell on: of the left one, and the right one.
    pub left: [u8; 16],
    pub right: [u8; 16],
    /// From left to right.
    pub weights: [i16; LANES],
}

/// Where a row's pixels lie between cells that are a power of two of pixels wide.
#[derive(Clone, Debug)]
pub struct Grid {
    cell: usize,
    /// Its logarithm: blocks are found without a division.
    shift: u32,
    /// Repeats along the row; a power of two.
    patterns: Vec<Pattern>,
}

/// How far a pixel is from the centre of the cell before it.
fn weight(at: usize, cell: usize) -> i16 {
    (((2 * ((at + cell / 2) % cell) + 1) << 15) / (2 * cell)) as i16
}

impl Grid {
    /// `cell`: its pixels, a power of two, at least 2.
    pub fn new(cell: usize) -> Self {
        let shift = cell.trailing_zeros();
        let pattern = |block: usize| {
            let first = Grid::before(block * LANES, shift);
            let mut pattern = Pattern { left: [0; 16], right: [0; 16], weights: [0; LANES] };
            for lane in 0..LANES {
                let x = block * LANES + lane;
                let left = 2 * (Grid::before(x, shift) - first) as u8;
                pattern.left[2 * lane..][..2].copy_from_slice(&[left, left + 1]);
                pattern.right[2 * lane..][..2].copy_from_slice(&[left + 2, left + 3]);
                pattern.weights[lane] = weight(x, cell);
            }
            pattern
        };
        Grid { cell, shift, patterns: (0..cell.div_ceil(LANES)).map(pattern).collect() }
    }

    /// The cell whose centre is before a pixel, in a padded row.
    fn before(at: usize, shift: u32) -> usize {
        (at + (1 << shift) / 2) >> shift
    }

    /// The two rows of cells (from 0 on, of `count`) around the middle of [`BAND`] rows of pixels,
    /// and the weight of the second one. `y`: the uppermost one.
    pub fn rows(&self, y: usize, count: usize) -> (usize, usize, i16) {
        let middle = y + BAND / 2;
        let below = Grid::before(middle, self.shift);
        let weight = (((middle + self.cell / 2) % self.cell) << 15) / self.cell;
        (below.saturating_sub(1).min(count - 1), below.min(count - 1), weight as i16)
    }

    /// The first cell of a block of [`LANES`] pixels, and its pattern.
    pub fn block(&self, x: usize) -> (usize, &Pattern) {
        (Grid::before(x, self.shift), &self.patterns[(x / LANES) & (self.patterns.len() - 1)])
    }
}

/// A time between two frames, and the scale of a plane.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Of `b` in a plain blend.
    pub time: i16,
    /// Multiply a displacement: to where a pixel is in `a` (not above 0), and in `b`.
    pub to_a: i16,
    pub to_b: i16,
}

impl Moment {
    /// `t`: 0 to 1; planes are `halvings` times half as large as luma.
    pub fn new(t: f32, halvings: u32) -> Self {
        let one = 32767.0;
        let scale = one / (1 << halvings) as f32;
        Moment {
            time: (t * one) as i16,
            to_a: (-t * scale) as i16,
            to_b: ((1.0 - t) * scale) as i16,
        }
    }
}

/// From `a` to `b`.
pub fn lerp(a: i16, b: i16, weight: i16) -> i16 {
    a.wrapping_add(mulhrs(b.wrapping_sub(a), weight))
}

/// Everything that [`BAND`] rows of `N` planes are made of.
pub struct Row<'a, const N: usize> {
    /// The upper one.
    pub y: usize,
    pub a: [PlaneRef<'a>; N],
    pub b: [PlaneRef<'a>; N],
    pub cells: CellRow<'a>,
    pub grid: &'a Grid,
    pub moment: Moment,
}

impl<const N: usize> Row<'_, N> {
    /// Pixel `x` of plane `n`, in row `y`.
    fn pixel(&self, n: usize, (x, y): (usize, usize)) -> u8 {
        let (first, pattern) = self.grid.block(x / LANES * LANES);
        let lane = x % LANES;
        let left = first + usize::from(pattern.left[2 * lane]) / 2;
        let at = |cells: &[i16]| lerp(cells[left], cells[left + 1], pattern.weights[lane]);
        let (dx, dy) = (at(self.cells.dx), at(self.cells.dy));
        let Moment { time, to_a, to_b } = self.moment;
        let from = |plane: &PlaneRef, factor: i16| {
            sample(plane, (x, y), (mulhrs(dx, factor), mulhrs(dy, factor)))
        };
        let still = |plane: &PlaneRef| i16::from(plane.data[y * plane.stride + x]) << 5;
        let (a, b) = (&self.a[n], &self.b[n]);
        let warped = lerp(from(a, to_a), from(b, to_b), at(self.cells.share));
        let blended = lerp(still(a), still(b), time);
        ((lerp(blended, warped, at(self.cells.trust)) + 16) >> 5).clamp(0, 255) as u8
    }
}

/// The bicubic filter (Keys 1981) at every 16th of a pixel: the weights, with 6 fractional bits, of
/// the four pixels around a position behind the second of them. `[tap][phase]`. Its slope `a` of -0.6
/// lies between Catmull and Rom's -0.5 and what photographs like best.
pub static TAPS: [[i8; 16]; 4] = taps();

const fn taps() -> [[i8; 16]; 4] {
    let mut taps = [[0; 16]; 4];
    let mut phase = 0;
    while phase < 16 {
        // The polynomials of phase / 16, times 5 * 16^3.
        let (t, u, n) = (phase as i64, 16 - phase as i64, 16);
        let (one, scale) = (5 * n * n * n, 64);
        let third = 7 * u * u * u - 12 * u * u * n + one;
        let values = [-3 * t * u * u, 0, third, -3 * t * t * u];
        let mut sum = 0;
        let mut tap = 0;
        while tap < 4 {
            let rounded = (2 * scale * values[tap] + one).div_euclid(2 * one);
            taps[tap][phase] = rounded as i8;
            sum += rounded;
            tap += 1;
        }
        taps[1][phase] = (scale - sum) as i8;
        phase += 1;
    }
    taps
}

/// Where a displacement leads from pixel `at`: the second of four pixels, and the phase behind it.
fn place(at: usize, away: i16) -> (i32, usize) {
    let away = (away + 1) >> 1;
    (at as i32 + i32::from(away >> 4), (away & 15) as usize)
}

/// With 5 fractional bits, `(dx, dy)` away from a pixel.
pub fn sample(plane: &PlaneRef, (x, y): (usize, usize), (dx, dy): (i16, i16)) -> i16 {
    let ((x, across), (y, down)) = (place(x, dx), place(y, dy));
    let around = |at: i32, size: usize| -> [usize; 4] {
        std::array::from_fn(|tap| (at - 1 + tap as i32).clamp(0, size as i32 - 1) as usize)
    };
    let (columns, rows) = (around(x, plane.width), around(y, plane.height));
    let mut sum = 0;
    for (row, taps) in rows.into_iter().zip(&TAPS) {
        let row = &plane.data[row * plane.stride..][..plane.width];
        let pixels = columns.into_iter().zip(&TAPS);
        let value = pixels
            .fold(0, |sum, (column, taps)| sum + i16::from(row[column]) * i16::from(taps[across]));
        sum += mulhrs(value, i16::from(taps[down]) << 8);
    }
    sum
}

/// Added to what is seen of either frame, so that what neither shows is divided between both.
pub const UNSEEN: f32 = 0.1;
/// From a byte to 15 fractional bits.
pub const FROM_BYTE: f32 = 32767.0 / 255.0;

/// What passes cell (x, y) at `t`.
fn follow(motion: &Motion, (x, y): (usize, usize), t: f32) -> ([i16; 2], i16, i16) {
    let back = follow_factor(motion, t);
    let (last_x, last_y) = ((motion.width - 1) as f32, (motion.height - 1) as f32);
    let mut from = y * motion.width + x;
    for _ in 0..2 {
        let [dx, dy] = motion.vectors[from].map(f32::from);
        let column = (x as f32 + back * dx + 0.5).max(0.0).min(last_x) as usize;
        let row = (y as f32 + back * dy + 0.5).max(0.0).min(last_y) as usize;
        from = row * motion.width + column;
    }
    let [in_a, in_b, trust, _] = motion.weights[from].map(f32::from);
    let (a, b) = ((1.0 - t) * (in_a + UNSEEN), t * (in_b + UNSEEN));
    let share = b / (a + b) * 32767.0;
    (motion.vectors[from], share as i16, (trust * FROM_BYTE) as i16)
}

/// Cells that a vector moves from `t` back to the middle between the frames.
pub fn follow_factor(motion: &Motion, t: f32) -> f32 {
    (0.5 - t) / (motion.cell_px as f32 * f32::from(Motion::ONE_PX))
}

impl Cpu {
    /// What passes the cells of row `y` at time `t`: the vector there, followed from the middle
    /// in two fixed-point steps.
    pub fn follow(self, motion: &Motion, y: usize, t: f32, out: CellRowMut) {
        let cells = motion.width * motion.height;
        assert!(
            motion.vectors.len() >= cells && motion.weights.len() >= cells && y < motion.height
        );
        let mut done = 0;
        #[cfg(target_arch = "x86_64")]
        if self.avx2 {
            // SAFETY: the processor has AVX2, and there are as many cells as the motion says.
            done = unsafe {
                super::avx2_warp::follow(motion, y, t, [out.dx, out.dy, out.share, out.trust])
            };
        }
        for x in done..motion.width {
            let ([dx, dy], share, trust) = follow(motion, (x, y), t);
            (out.dx[x], out.dy[x]) = (dx, dy);
            (out.share[x], out.trust[x]) = (share, trust);
        }
    }

    /// Interpolates from `above` to `below`, which are as long as `to`.
    pub fn lerp_rows(self, above: &[i16], below: &[i16], weight: i16, to: &mut [i16]) {
        let (above, below) = (&above[..to.len()], &below[..to.len()]);
        let mut done = 0;
        #[cfg(target_arch = "x86_64")]
        if self.avx2 {
            // SAFETY: the processor has AVX2.
            done = unsafe { super::avx2_warp::lerp_rows(above, below, weight, to) };
        }
        for ((to, &above), &below) in to.iter_mut().zip(above).zip(below).skip(done) {
            *to = lerp(above, below, weight);
        }
    }

    /// Makes [`BAND`] rows of `N` planes of one size. `out`: rows as long as the planes are wide; those
    /// below a plane's last one are empty.
    pub fn warp<const N: usize>(self, row: &Row<N>, out: [[&mut [u8]; BAND]; N]) {
        let mut out = out;
        let mut done = 0;
        #[cfg(target_arch = "x86_64")]
        if self.avx2 && (16..=LONGEST).contains(&row.a[0].width) && row.a[0].height <= LONGEST {
            // SAFETY: the processor has AVX2.
            done = unsafe { super::avx2_warp::warp(row, &mut out) };
        }
        for (n, rows) in out.into_iter().enumerate() {
            for (down, out) in rows.into_iter().enumerate() {
                for (x, out) in out.iter_mut().enumerate().skip(done) {
                    *out = row.pixel(n, (x, row.y + down));
                }
            }
        }
    }
}
