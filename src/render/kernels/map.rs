//! A picture seen at other places: where each pixel comes from, and the pixels there.
//!
//! Where is computed in single precision, always in the same order; what is there is mixed of the four
//! pixels around it, with 6 fractional bits.

use super::{Cpu, Range};

/// Pixels that are placed at once; rows of places are as long as a multiple of it.
pub const LANES: usize = 8;
/// Fractional bits of places.
pub const PHASE_BITS: u32 = 6;
/// Pixels around a plane that is sampled: above and on the left one, below and on the right more.
pub const BEFORE: usize = 1;
pub const BEHIND: usize = 4;

/// One of the turns that bring a segment of a kaleidoscope up: what lies beyond a border is turned.
/// Cosines and sines.
#[derive(Clone, Copy, Debug, Default)]
pub struct Turn {
    pub border: [f32; 2],
    pub by: [f32; 2],
}

/// The turns of a kaleidoscope, the largest first: the rest turns by nothing.
pub type Fan = [Turn; 4];

/// Where pixels come from: all in pixels of luma. Folded first, then moved.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    pub fan: Option<Fan>,
    /// 1 or -1 for a side that is mirrored into the other, 0 for none: across, and down.
    pub mirror: [bool; 2],
    /// `x' = a x + b y + c`, `y' = d x + e y + f`: from the middle of the picture to its corner.
    pub matrix: [f32; 6],
    /// Of the picture; what lies beyond is mirrored.
    pub size: [f32; 2],
    /// The left half is the right one mirrored; the upper half the lower one.
    pub alike: [bool; 2],
}

/// A row of pixels in one plane.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// Of the first pixel, from the middle of the picture, and to the next: in pixels of luma.
    pub first: f32,
    pub step: f32,
    pub down: f32,
    /// From a place in luma to one in the plane, with [`PHASE_BITS`]: factors and offsets.
    pub scale: [f32; 2],
    pub offset: [f32; 2],
}

/// Added and taken off again it leaves the nearest whole number.
pub(super) const ROUND: f32 = 12_582_912.0;

/// Within 0 to `size`, mirrored as often as it takes.
fn reflect(x: f32, size: f32) -> f32 {
    (x - 2.0 * size * ((x * (0.5 / size) + ROUND) - ROUND)).abs()
}

/// Where the pixel `n` of a line comes from.
fn place(way: &Way, line: &Line, n: usize) -> [i32; 2] {
    let (mut x, mut y) = (line.first + line.step * n as f32, line.down);
    if let Some(fan) = way.fan {
        // Up is the middle of the first segment.
        let (mut up, mut side) = (-y, x.abs());
        for Turn { border: [border_cos, border_sin], by: [cos, sin] } in fan {
            if side * border_cos - up * border_sin > 0.0 {
                (up, side) = (up * cos + side * sin, side * cos - up * sin);
            }
        }
        (x, y) = (side.abs(), -up);
    }
    x = if way.mirror[0] { -x.abs() } else { x };
    y = if way.mirror[1] { -y.abs() } else { y };
    let [a, b, c, d, e, f] = way.matrix;
    let u = reflect(a * x + b * y + c, way.size[0]);
    let v = reflect(d * x + e * y + f, way.size[1]);
    let whole = |x: f32, axis: usize| {
        let at = (x * line.scale[axis] + line.offset[axis]) + ROUND;
        (at.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32)
    };
    [whole(u, 0), whole(v, 1)]
}

/// A plane with pixels around it: [`BEFORE`] on the left and above, [`BEHIND`] on the right and
/// one below.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    pub data: &'a [u8],
    pub stride: usize,
    /// With those around.
    pub rows: usize,
}

impl Around<'_> {
    /// The greatest places whose pixels are all there.
    pub fn last(&self) -> [i32; 2] {
        let place = |pixels: usize| (pixels as i32) << PHASE_BITS;
        [place(self.stride.saturating_sub(BEHIND)), place(self.rows.saturating_sub(2))]
    }
}

impl Cpu {
    /// Where the pixels of a row come from, counted from the first pixel around the plane. Both
    /// are as long, a multiple of [`LANES`].
    pub fn places(self, way: &Way, line: &Line, xs: &mut [i32], ys: &mut [i32]) {
        #[cfg(target_arch = "x86_64")]
        if self.avx2 {
            // SAFETY: the processor has AVX2.
            return unsafe { super::avx2_map::places(way, line, xs, ys) };
        }
        for (n, (x, y)) in xs.iter_mut().zip(ys).enumerate() {
            [*x, *y] = place(way, line, n);
        }
    }

    /// The pixels at these places; a place outside becomes the nearest inside.
    pub fn sample(self, plane: Around, xs: &[i32], ys: &[i32], range: Range, out: &mut [u8]) {
        let (xs, ys) = (&xs[..out.len()], &ys[..out.len()]);
        let mut done = 0;
        #[cfg(target_arch = "x86_64")]
        if self.avx2 {
            // SAFETY: the processor has AVX2.
            done = unsafe { super::avx2_map::sample(plane, xs, ys, range, out) };
        }
        let [last_x, last_y] = plane.last();
        for ((out, &x), &y) in out.iter_mut().zip(xs).zip(ys).skip(done) {
            let (x, y) = (x.clamp(0, last_x), y.clamp(0, last_y));
            let at = (y >> PHASE_BITS) as usize * plane.stride + (x >> PHASE_BITS) as usize;
            let (right, below) = (x & 63, y & 63);
            let row = |at: usize| {
                i32::from(plane.data[at]) * (64 - right) + i32::from(plane.data[at + 1]) * right
            };
            let mixed = (row(at) * (64 - below) + row(at + plane.stride) * below + 2048) >> 12;
            *out = mixed.clamp(range.min.into(), range.max.into()) as u8;
        }
    }
}
