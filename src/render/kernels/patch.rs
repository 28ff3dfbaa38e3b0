//! Patch matching for optical flow: how a patch of one picture fits at a place of another, and
//! which way it would fit better.
//!
//! Fixed point: positions have 6 fractional bits, differences of pixels 4. The template's gradient
//! is that of two pixels (central differences, not halved).

use super::Cpu;

/// Pixels along the edge of a patch.
pub const PATCH: usize = 8;
const AREA: usize = PATCH * PATCH;

/// What is looked for: a patch and its gradients, row by row.
#[repr(C, align(32))]
#[derive(Clone, Debug)]
pub struct Template {
    /// With 6 fractional bits.
    pub pixels: [i16; AREA],
    /// `p(x + 1) - p(x - 1)`.
    pub dx: [i16; AREA],
    /// `p(y + 1) - p(y - 1)`.
    pub dy: [i16; AREA],
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

/// Sums over a patch of its gradients and of their products.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gradients {
    pub dx: i32,
    pub dy: i32,
    pub dx_dx: i32,
    pub dx_dy: i32,
    pub dy_dy: i32,
}

impl Template {
    /// The patch whose first pixel is `plane[at]`; there is a pixel on every side of it.
    pub fn new(plane: &[u8], stride: usize, at: usize) -> Self {
        let mut template = Template { pixels: [0; AREA], dx: [0; AREA], dy: [0; AREA] };
        let around = &plane[at - stride - 1..][..(PATCH + 1) * stride + PATCH + 2];
        for y in 0..PATCH {
            // From the pixel before the row on, of the row above, the row, and the one below.
            let row = |down: usize| &around[(y + down) * stride..][..PATCH + 2];
            let (above, middle, below) = (row(0), row(1), row(2));
            let to = y * PATCH..(y + 1) * PATCH;
            let (pixels, dx) = (&mut template.pixels[to.clone()], &mut template.dx[to.clone()]);
            let dy = &mut template.dy[to];
            for x in 0..PATCH {
                pixels[x] = i16::from(middle[x + 1]) << 6;
                dx[x] = i16::from(middle[x + 2]) - i16::from(middle[x]);
                dy[x] = i16::from(below[x + 1]) - i16::from(above[x + 1]);
            }
        }
        template
    }

    pub fn gradients(&self) -> Gradients {
        let mut sums = Gradients::default();
        for (&dx, &dy) in self.dx.iter().zip(&self.dy) {
            let (dx, dy) = (i32::from(dx), i32::from(dy));
            sums.dx += dx;
            sums.dy += dy;
            sums.dx_dx += dx * dx;
            sums.dx_dy += dx * dy;
            sums.dy_dy += dy * dy;
        }
        sums
    }
}

impl Cpu {
    /// How `template` fits where the bilinear sample of its first pixel lies `fraction` (64ths of
    /// a pixel, below 64) behind `plane[at]`. The plane has [`PATCH`] further rows behind that, and
    /// 16 pixels in each.
    pub fn fit(
        self,
        template: &Template,
        plane: &[u8],
        stride: usize,
        at: usize,
        fraction: (u8, u8),
    ) -> Sums {
        let window = &plane[at..at + PATCH * stride + 16];
        #[cfg(target_arch = "x86_64")]
        if self.avx2 {
            // SAFETY: the processor has AVX2.
            return unsafe { super::avx2_patch::fit(template, window, stride, fraction) };
        }
        fit(template, window, stride, fraction)
    }
}

fn fit(template: &Template, window: &[u8], stride: usize, (fx, fy): (u8, u8)) -> Sums {
    let (fx, fy) = (i16::from(fx), i16::from(fy) << 9);
    let across = |row: usize| -> [i16; PATCH] {
        let row = &window[row * stride..][..PATCH + 1];
        std::array::from_fn(|x| i16::from(row[x]) * (64 - fx) + i16::from(row[x + 1]) * fx)
    };
    let mut sums = Sums::default();
    let mut top = across(0);
    for y in 0..PATCH {
        let bottom = across(y + 1);
        for x in 0..PATCH {
            let i = y * PATCH + x;
            let sample = top[x] + super::mulhrs(bottom[x] - top[x], fy);
            let d = i32::from((sample - template.pixels[i]) >> 2);
            sums.d += d;
            sums.dd += d * d;
            sums.d_dx += d * i32::from(template.dx[i]);
            sums.d_dy += d * i32::from(template.dy[i]);
        }
        top = bottom;
    }
    sums
}
