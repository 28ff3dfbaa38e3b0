//! Patch matching for optical flow: how a patch of one picture fits at a place of another, and
//! which way it would fit better.
//!
//! Fixed point: positions have 6 fractional bits, differences of pixels 4. Gradients are those of
//! two pixels (central differences, not halved).

use super::compare::Padded;
use super::{Cpu, mulhrs};

/// Pixels along the edge of a patch.
pub const PATCH: usize = 8;
pub const AREA: f32 = (PATCH * PATCH) as f32;

/// Added to the Hessian's diagonal, so that a flat patch stays where it is.
const DAMPING: f32 = 2.0;
/// A fit as good as this (mean square, in levels) needs no descent.
const GOOD: f32 = 0.5;
/// A step shorter than this (pixels, squared) ends the descent.
const SMALL_STEP: f32 = 0.01;
/// A fit that is this much worse than the best ends the descent.
const WORSE: f32 = 1.2;

/// A patch, and where it is looked for. The first picture and its gradients begin with the patch's
/// first pixel, and have the stride of the second picture.
#[derive(Clone, Copy)]
pub struct Sought<'a> {
    pub pixels: &'a [u8],
    pub dx: &'a [i16],
    pub dy: &'a [i16],
    pub slope: Slope,
    /// The same place in the other picture, from its padding's corner.
    pub from: [f32; 2],
    pub other: Padded<'a>,
}

/// What a step needs of a patch: sums of its gradients, and the inverse of its Hessian.
#[derive(Clone, Copy, Debug)]
pub struct Slope {
    sum_dx: f32,
    sum_dy: f32,
    inverse: [f32; 3],
}

/// Sums over the patch of the difference `d`: other picture less template.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Of `d`, 4 fractional bits.
    pub d: i32,
    /// Of `d * d`, 8 fractional bits.
    pub dd: i32,
    /// Of `d * dx` and `d * dy`, 5 fractional bits.
    pub d_dx: i32,
    pub d_dy: i32,
}

/// How a patch fits: the mean square of its difference, in levels and without its mean; and the
/// Gauss-Newton step, in pixels, to where it might fit better.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    pub error: f32,
    pub step: [f32; 2],
}

impl Slope {
    /// From sums over a patch: of dx, dy, dx², dx dy, dy².
    pub fn new([sum_dx, sum_dy, xx, xy, yy]: [f32; 5]) -> Self {
        // The gradients are doubled, so their products count four times.
        let xx = (xx - sum_dx * sum_dx / AREA) / 4.0 + DAMPING;
        let xy = (xy - sum_dx * sum_dy / AREA) / 4.0;
        let yy = (yy - sum_dy * sum_dy / AREA) / 4.0 + DAMPING;
        // With the damping it is positive.
        let determinant = xx * yy - xy * xy;
        Slope { sum_dx, sum_dy, inverse: [yy / determinant, -xy / determinant, xx / determinant] }
    }

    /// Of the patch's error: along x twice, x and y, and y twice.
    pub fn hessian(&self) -> [f32; 3] {
        let [a, b, c] = self.inverse;
        let determinant = a * c - b * b;
        [c / determinant, -b / determinant, a / determinant]
    }

    pub fn judge(&self, Sums { d, dd, d_dx, d_dy }: Sums) -> Fit {
        let d = d as f32 / 16.0;
        let gx = (d_dx as f32 / 16.0 - d * self.sum_dx / AREA) / 2.0;
        let gy = (d_dy as f32 / 16.0 - d * self.sum_dy / AREA) / 2.0;
        let [xx, xy, yy] = self.inverse;
        Fit {
            error: ((dd as f32 / 256.0 - d * d / AREA) / AREA).max(0.0),
            step: [-(xx * gx + xy * gy), -(xy * gx + yy * gy)],
        }
    }
}

impl Sought<'_> {
    /// Lengths are such that a patch and a window can be read without further checks.
    fn is_whole(&self) -> bool {
        let Padded { data, stride, pad, width, height } = self.other;
        let own = (PATCH - 1) * stride + PATCH;
        pad >= 16
            && stride >= width + 2 * pad
            && data.len() >= stride * (height + 2 * pad)
            && self.pixels.len() >= own
            && self.dx.len() >= own
            && self.dy.len() >= own
    }

    /// The last places from which [`PATCH`] + 1 rows of 16 pixels can be read.
    pub fn farthest(&self) -> [f32; 2] {
        let Padded { pad, width, height, .. } = self.other;
        [(width + 2 * pad - 17) as f32, (height + 2 * pad - 17) as f32]
    }

    fn fit(&self, vector: [f32; 2]) -> Fit {
        let last = self.farthest();
        let [x, y] = std::array::from_fn(|i| {
            // Never below 0, so that cutting off rounds.
            ((self.from[i] + vector[i]).max(0.0).min(last[i]) * 64.0 + 0.5) as usize
        });
        let window = &self.other.data[(y >> 6) * self.other.stride + (x >> 6)..];
        self.slope.judge(self.sums(window, ((x & 63) as i16, (y & 63) as i16)))
    }

    fn sums(&self, window: &[u8], (fx, fy): (i16, i16)) -> Sums {
        let stride = self.other.stride;
        let across = |row: usize| -> [i16; PATCH] {
            let row = &window[row * stride..][..PATCH + 1];
            std::array::from_fn(|x| i16::from(row[x]) * (64 - fx) + i16::from(row[x + 1]) * fx)
        };
        let mut sums = Sums::default();
        let mut top = across(0);
        for y in 0..PATCH {
            let bottom = across(y + 1);
            for x in 0..PATCH {
                let i = y * stride + x;
                let sample = top[x] + mulhrs(bottom[x] - top[x], fy << 9);
                let d = i32::from((sample - (i16::from(self.pixels[i]) << 6)) >> 2);
                sums.d += d;
                sums.dd += d * d;
                sums.d_dx += d * i32::from(self.dx[i]);
                sums.d_dy += d * i32::from(self.dy[i]);
            }
            top = bottom;
        }
        sums
    }
}

/// Follows the gradient, at most `steps` times, from `vector` and its fit to the best that is met.
#[inline(always)]
pub fn descend(
    vector: [f32; 2],
    start: Fit,
    steps: u32,
    fit: impl Fn([f32; 2]) -> Fit,
) -> ([f32; 2], f32) {
    let (mut best, mut error) = (vector, start.error);
    let ([mut x, mut y], [mut dx, mut dy]) = (vector, start.step);
    for _ in 0..steps {
        if error < GOOD {
            break;
        }
        (x, y) = (x + dx, y + dy);
        let next = fit([x, y]);
        if next.error < error {
            (best, error) = ([x, y], next.error);
        } else if next.error > error * WORSE + 0.25 {
            break;
        }
        if dx * dx + dy * dy < SMALL_STEP {
            break;
        }
        [dx, dy] = next.step;
    }
    let (dx, dy) = (best[0] - vector[0], best[1] - vector[1]);
    if dx * dx + dy * dy > AREA { (vector, start.error) } else { (best, error) }
}

impl Cpu {
    /// How a patch fits, `vector` away from its own place.
    pub fn fit(self, sought: &Sought, vector: [f32; 2]) -> Fit {
        debug_assert!(sought.is_whole());
        #[cfg(target_arch = "x86_64")]
        if self.avx2 && sought.is_whole() {
            // SAFETY: the processor has AVX2, and the slices are as long as was seen.
            return unsafe { super::avx2_patch::fit(sought, vector) };
        }
        sought.fit(vector)
    }

    /// Where it fits better than at `vector`, where its fit is known: that place, and the error.
    pub fn descend(
        self,
        sought: &Sought,
        vector: [f32; 2],
        start: Fit,
        steps: u32,
    ) -> ([f32; 2], f32) {
        debug_assert!(sought.is_whole());
        #[cfg(target_arch = "x86_64")]
        if self.avx2 && sought.is_whole() {
            // SAFETY: as above.
            return unsafe { super::avx2_patch::descend(sought, vector, start, steps) };
        }
        descend(vector, start, steps, |vector| sought.fit(vector))
    }
}
