//! The inner loops over rows of pixels. Each exists as plain Rust here and, where the processor
//! has it, as AVX2 in `avx2`; a test holds the two equal to the bit.
//!
//! Fixed point: blend weights and filter coefficients have 14 fractional bits and sum to exactly
//! [`ONE`]. Rows between the horizontal and the vertical filter are `(value - 128) * 128`.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx2_compare;
#[cfg(target_arch = "x86_64")]
mod avx2_map;
#[cfg(target_arch = "x86_64")]
mod avx2_patch;
#[cfg(target_arch = "x86_64")]
mod avx2_warp;
pub mod change;
pub mod compare;
mod effects;
pub mod map;
pub mod patch;
#[cfg(test)]
mod tests;
pub mod warp;

use super::grade::{ChromaGrade, LumaGrade};

/// 1.0 in weights and coefficients.
pub const ONE: i16 = 1 << 14;

/// Which instructions this processor has. Can only be made by [`Cpu::detect`] (or without any),
/// so whoever holds one that says AVX2 may use it.
#[derive(Clone, Copy, Debug)]
pub struct Cpu {
    avx2: bool,
}

/// Smallest and largest value that a plane may hold.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    pub min: u8,
    pub max: u8,
}

pub const LUMA: Range = Range { min: 16, max: 235 };
pub const CHROMA: Range = Range { min: 16, max: 240 };

/// The matrix of [`Cpu::rgb`]. ITU-R BT.709: Kr = 0.2126, Kb = 0.0722. Factors of what
/// [`mulhrs`] is given, luma as 7 and chroma as 8 fractional bits, for 6 in the result.
struct ToRgb {
    luma: i16,
    cr_red: i16,
    cb_green: i16,
    cr_green: i16,
    cb_blue: i16,
}

const TO_RGB: ToRgb = ToRgb {
    luma: (255.0 / 219.0 * 16384.0 + 0.5) as i16,
    cr_red: (1.5748 * 255.0 / 224.0 * 8192.0 + 0.5) as i16,
    cb_green: (0.187_324 * 255.0 / 224.0 * 8192.0 + 0.5) as i16,
    cr_green: (0.468_124 * 255.0 / 224.0 * 8192.0 + 0.5) as i16,
    cb_blue: (1.8556 * 255.0 / 224.0 * 8192.0 + 0.5) as i16,
};

/// Four-tap filter of 16 neighbouring output pixels, none of which lies more than a source pixel
/// behind the one before.
#[repr(C, align(32))]
#[derive(Clone, Copy, Debug)]
pub struct Block {
    /// `[tap][pixel]`.
    pub coefs: [[i16; 16]; 4],
    /// In the odd bytes, per pixel: its first source pixel, counted from the base. In the even
    /// bytes 0x80, which makes a byte shuffle write zero.
    pub shuffle: [u8; 32],
    /// First source pixel of the pixels 0 to 7 and of 8 to 15.
    pub base: [u32; 2],
}

/// Source pixels behind a block's base that the filter may touch.
pub const BLOCK_WINDOW: usize = 16;

impl Block {
    /// From the first source pixel and the coefficients of each of the 16.
    pub fn new(pixel: impl Fn(usize) -> (u32, [i16; 4])) -> Self {
        let base = [pixel(0).0, pixel(8).0];
        let mut block = Block { coefs: [[0; 16]; 4], shuffle: [0x80; 32], base };
        for i in 0..16 {
            let (start, coefs) = pixel(i);
            block.shuffle[2 * i + 1] = (start - base[i / 8]) as u8;
            for (tap, coef) in coefs.into_iter().enumerate() {
                block.coefs[tap][i] = coef;
            }
        }
        block
    }
}

/// What `pmulhrsw` computes: the product of two numbers with 15 fractional bits, rounded.
fn mulhrs(a: i16, b: i16) -> i16 {
    ((i32::from(a) * i32::from(b) + (1 << 14)) >> 15) as i16
}

impl Cpu {
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        let avx2 = std::arch::is_x86_feature_detected!("avx2");
        #[cfg(not(target_arch = "x86_64"))]
        let avx2 = false;
        Cpu { avx2 }
    }

    /// Plain Rust only.
    #[cfg(test)]
    pub fn plain() -> Self {
        Cpu { avx2: false }
    }

    /// `dst = sum of rows[i] * weights[i]`, rounded. The weights are not negative and sum to
    /// [`ONE`]; rows are at least as long as `dst`.
    pub fn combine(self, rows: [&[u8]; 4], weights: [i16; 4], dst: &mut [u8]) {
        let rows = rows.map(|row| &row[..dst.len()]);
        let mut done = 0;
        #[cfg(target_arch = "x86_64")]
        if self.avx2 {
            // SAFETY: the processor has AVX2.
            done = unsafe {
                if weights[2] == 0 && weights[3] == 0 {
                    avx2::combine::<1>(rows, weights, dst)
                } else {
                    avx2::combine::<2>(rows, weights, dst)
                }
            };
        }
        for (i, out) in dst.iter_mut().enumerate().skip(done) {
            let sum: i32 = (0..4).map(|k| i32::from(rows[k][i]) * i32::from(weights[k])).sum();
            *out = ((sum + (1 << 13)) >> 14) as u8;
        }
    }

    /// Blends `src` over `dst`, as much of each value as its `alpha` (of 255) says, and of that so
    /// much as `opacity` (0 to 256) says. All are equally long.
    pub fn over(self, src: &[u8], alpha: &[u8], opacity: u16, dst: &mut [u8]) {
        let (src, alpha) = (&src[..dst.len()], &alpha[..dst.len()]);
        let opacity = opacity.min(256);
        let mut done = 0;
        #[cfg(target_arch = "x86_64")]
        if self.avx2 {
            // SAFETY: the processor has AVX2.
            done = unsafe { avx2::over(src, alpha, opacity, dst) };
        }
        for ((out, &src), &alpha) in dst.iter_mut().zip(src).zip(alpha).skip(done) {
            let share = (u16::from(alpha) * opacity + 128) >> 8;
            let sum = u16::from(*out) * (255 - share) + u16::from(src) * share + 128;
            // Divided by 255, exactly rounded.
            *out = ((sum + (sum >> 8)) >> 8) as u8;
        }
    }

    /// Grades a row of luma in place.
    pub fn grade_luma(self, row: &mut [u8], grade: LumaGrade) {
        let mut done = 0;
        #[cfg(target_arch = "x86_64")]
        if self.avx2 {
            // SAFETY: the processor has AVX2.
            done = unsafe { avx2::grade_luma(row, grade) };
        }
        for y in &mut row[done..] {
            let scaled = mulhrs(i16::from(*y) << 6, grade.gain_q13);
            let graded = (scaled + grade.offset_q4 + 8) >> 4;
            *y = graded.clamp(LUMA.min.into(), LUMA.max.into()) as u8;
        }
    }

    /// Grades a row of both chroma planes in place; they are equally long.
    pub fn grade_chroma(self, u: &mut [u8], v: &mut [u8], grade: ChromaGrade) {
        let v = &mut v[..u.len()];
        let mut done = 0;
        #[cfg(target_arch = "x86_64")]
        if self.avx2 {
            // SAFETY: the processor has AVX2.
            done = unsafe { avx2::grade_chroma(u, v, grade) };
        }
        let (cos, sin) = (i32::from(grade.cos_q12), i32::from(grade.sin_q12));
        for (u, v) in u[done..].iter_mut().zip(&mut v[done..]) {
            let (cb, cr) = (i32::from(*u) - 128, i32::from(*v) - 128);
            let place = |q12: i32| {
                (((q12 + 2048) >> 12) + 128).clamp(CHROMA.min.into(), CHROMA.max.into()) as u8
            };
            *u = place(cb * cos - cr * sin);
            *v = place(cb * sin + cr * cos);
        }
    }

    /// Filters a padded row horizontally with four taps. `dst` is 16 pixels per block; every
    /// block's base has [`BLOCK_WINDOW`] pixels of `row` behind it.
    pub fn columns_4(self, row: &[u8], blocks: &[Block], dst: &mut [i16]) {
        let (dst, _) = dst.as_chunks_mut::<16>();
        #[cfg(target_arch = "x86_64")]
        if self.avx2 {
            // SAFETY: the processor has AVX2.
            return unsafe { avx2::columns_4(row, blocks, dst) };
        }
        for (block, out) in blocks.iter().zip(dst) {
            for (i, out) in out.iter_mut().enumerate() {
                let start = block.base[i / 8] as usize + usize::from(block.shuffle[2 * i + 1]);
                *out = (0..4).fold(0i16, |sum, tap| {
                    let pixel = (i16::from(row[start + tap]) - 128) << 8;
                    sum.wrapping_add(mulhrs(pixel, block.coefs[tap][i]))
                });
            }
        }
    }

    /// Filters a padded row horizontally with `taps` (a multiple of 8) coefficients per pixel,
    /// from `starts[i]` on.
    pub fn columns(self, row: &[u8], starts: &[i32], taps: usize, coefs: &[i16], dst: &mut [i16]) {
        let mut done = 0;
        #[cfg(target_arch = "x86_64")]
        if self.avx2 {
            // SAFETY: the processor has AVX2.
            done = unsafe { avx2::columns(row, starts, taps, coefs, dst) };
        }
        let pixels = starts.iter().zip(coefs.chunks_exact(taps)).zip(dst).skip(done);
        for ((&start, coefs), out) in pixels {
            let pixels = &row[start as usize..][..taps];
            let sum: i32 =
                pixels.iter().zip(coefs).map(|(&p, &c)| (i32::from(p) - 128) * i32::from(c)).sum();
            *out = ((sum + 64) >> 7) as i16;
        }
    }

    /// Filters vertically: `dst` from the rows of filtered pixels that begin at `rows` in `ring`,
    /// one coefficient each.
    pub fn rows(self, ring: &[i16], rows: &[usize], coefs: &[i16], range: Range, dst: &mut [u8]) {
        let mut done = 0;
        #[cfg(target_arch = "x86_64")]
        if self.avx2 {
            // SAFETY: the processor has AVX2.
            done = unsafe { avx2::rows(ring, rows, coefs, range, dst) };
        }
        for (i, out) in dst.iter_mut().enumerate().skip(done) {
            let sum = rows
                .iter()
                .zip(coefs)
                .fold(0i16, |sum, (&row, &coef)| sum.wrapping_add(mulhrs(ring[row + i], coef)));
            let value = (sum.wrapping_add((128 << 6) + 32)) >> 6;
            *out = value.clamp(range.min.into(), range.max.into()) as u8;
        }
    }

    /// A row as `0x00RRGGBB`, full range, from BT.709 limited range; `u` and `v` are half as long,
    /// rounded up. Rounded to 6 fractional bits on the way: a value may be off by one.
    pub fn rgb(self, y: &[u8], u: &[u8], v: &[u8], dst: &mut [u32]) {
        let y = &y[..dst.len()];
        let (u, v) = (&u[..dst.len().div_ceil(2)], &v[..dst.len().div_ceil(2)]);
        let mut done = 0;
        #[cfg(target_arch = "x86_64")]
        if self.avx2 {
            // SAFETY: the processor has AVX2.
            done = unsafe { avx2::rgb(y, u, v, dst) };
        }
        for (i, out) in dst.iter_mut().enumerate().skip(done) {
            let luma = mulhrs((i16::from(y[i]) - 16) << 7, TO_RGB.luma).saturating_add(32);
            let cb = (i16::from(u[i / 2]) - 128) << 8;
            let cr = (i16::from(v[i / 2]) - 128) << 8;
            let red = luma.saturating_add(mulhrs(cr, TO_RGB.cr_red));
            let green = luma - mulhrs(cb, TO_RGB.cb_green) - mulhrs(cr, TO_RGB.cr_green);
            let blue = luma.saturating_add(mulhrs(cb, TO_RGB.cb_blue));
            let byte = |value: i16| (value >> 6).clamp(0, 255) as u32;
            *out = byte(red) << 16 | byte(green) << 8 | byte(blue);
        }
    }

    /// The average of every `k` by `k` pixels, rounded: `dst` from `k` rows, `stride` apart.
    pub fn average(self, src: &[u8], stride: usize, k: usize, dst: &mut [u8]) {
        let mut done = 0;
        #[cfg(target_arch = "x86_64")]
        if self.avx2 {
            // SAFETY: the processor has AVX2.
            done = match k {
                2 => unsafe { avx2::average_2(src, stride, dst) },
                4 => unsafe { avx2::average_4(src, stride, dst) },
                _ => 0,
            };
        }
        let area = (k * k) as u32;
        for (i, out) in dst.iter_mut().enumerate().skip(done) {
            let sum: u32 = (0..k)
                .flat_map(|row| &src[row * stride + i * k..][..k])
                .map(|&pixel| u32::from(pixel))
                .sum();
            *out = ((sum + area / 2) / area) as u8;
        }
    }
}
