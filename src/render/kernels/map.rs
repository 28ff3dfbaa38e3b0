//! A picture seen at other places: where each pixel comes from, and the pixels there.
//!
//! Where is computed in single precision, in plain Rust that is compiled twice (as in `effects`);
//! what is there is mixed of the four pixels around it, with 6 fractional bits.

use super::{Cpu, Range};

/// Pixels that are placed at once; rows of places are as long as a multiple of it.
pub const LANES: usize = 16;
/// Fractional bits of places.
pub const PHASE_BITS: u32 = 6;
/// Pixels around a plane that is sampled: above and on the left one, below and on the right more.
pub const BEFORE: usize = 1;
pub const BEHIND: usize = 4;

/// The fan of a kaleidoscope: mirrors meet in the middle.
#[derive(Clone, Copy, Debug)]
pub struct Fan {
    /// Turns that bring the farthest segment up.
    pub turns: usize,
    /// Of half a segment and of a whole one.
    pub half: [f32; 2],
    pub whole: [f32; 2],
}

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
const ROUND: f32 = 12_582_912.0;

#[inline(always)]
fn nearest(x: f32) -> f32 {
    (x + ROUND) - ROUND
}

/// Within 0 to `size`, mirrored as often as it takes.
#[inline(always)]
fn reflect(x: f32, size: f32, per_two: f32) -> f32 {
    (x - 2.0 * size * nearest(x * per_two)).abs()
}

#[inline(always)]
fn places<const FAN: bool>(way: &Way, line: &Line, xs: &mut [i32], ys: &mut [i32]) {
    let [a, b, c, d, e, f] = way.matrix;
    let [width, height] = way.size;
    let (per_two_x, per_two_y) = (0.5 / width, 0.5 / height);
    let [scale_x, scale_y] = line.scale;
    let [offset_x, offset_y] = line.offset;
    let (xs, _) = xs.as_chunks_mut::<LANES>();
    let (ys, _) = ys.as_chunks_mut::<LANES>();
    for (n, (xs, ys)) in xs.iter_mut().zip(ys).enumerate() {
        let (mut x, mut y) = ([0.0f32; LANES], [line.down; LANES]);
        for i in 0..LANES {
            x[i] = line.first + line.step * ((n * LANES + i) as i32 as f32);
        }
        if FAN && let Some(fan) = way.fan {
            // Up is the middle of the first segment.
            for i in 0..LANES {
                (x[i], y[i]) = (-y[i], x[i].abs());
            }
            let ([half_cos, half_sin], [cos, sin]) = (fan.half, fan.whole);
            for _ in 0..fan.turns {
                for i in 0..LANES {
                    let beyond = y[i] * half_cos - x[i] * half_sin > 0.0;
                    let (u, v) = (x[i] * cos + y[i] * sin, y[i] * cos - x[i] * sin);
                    x[i] = if beyond { u } else { x[i] };
                    y[i] = if beyond { v } else { y[i] };
                }
            }
            for i in 0..LANES {
                (x[i], y[i]) = (y[i].abs(), -x[i]);
            }
        }
        if way.mirror[0] {
            for x in &mut x {
                *x = -x.abs();
            }
        }
        if way.mirror[1] {
            for y in &mut y {
                *y = -y.abs();
            }
        }
        for i in 0..LANES {
            let u = reflect(a * x[i] + b * y[i] + c, width, per_two_x);
            let v = reflect(d * x[i] + e * y[i] + f, height, per_two_y);
            let u = (u * scale_x + offset_x) + ROUND;
            let v = (v * scale_y + offset_y) + ROUND;
            xs[i] = u.to_bits() as i32 - ROUND.to_bits() as i32;
            ys[i] = v.to_bits() as i32 - ROUND.to_bits() as i32;
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn places_wide<const FAN: bool>(way: &Way, line: &Line, xs: &mut [i32], ys: &mut [i32]) {
    places::<FAN>(way, line, xs, ys);
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
            return unsafe {
                match way.fan {
                    Some(_) => places_wide::<true>(way, line, xs, ys),
                    None => places_wide::<false>(way, line, xs, ys),
                }
            };
        }
        match way.fan {
            Some(_) => places::<true>(way, line, xs, ys),
            None => places::<false>(way, line, xs, ys),
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
