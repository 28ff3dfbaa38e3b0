//! [`super::patch`] and [`super::change`] in AVX2.
//!
//! Holds: as in `avx2`, memory is only read through slices and arrays.

use std::arch::x86_64::*;

use super::avx2::{load_half, load_i16};
use super::change::{BLOCK, Change};
use super::patch::{PATCH, Sums, Template};

/// The eight samples between neighbouring pixels of a row: pixels `x` and `x + 1`, interleaved,
/// times their weights.
#[inline]
#[target_feature(enable = "avx2")]
fn across(pixels: &[u8; 16], weights: __m128i) -> __m128i {
    let row = load_half(pixels);
    _mm_maddubs_epi16(_mm_unpacklo_epi8(row, _mm_srli_si128::<1>(row)), weights)
}

#[inline]
#[target_feature(enable = "avx2")]
fn total(sums: __m256i) -> i32 {
    let four = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
    let two = _mm_add_epi32(four, _mm_srli_si128::<8>(four));
    _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_srli_si128::<4>(two)))
}

/// Two rows at a time. `window` has 16 pixels in each of its [`PATCH`] + 1 rows.
#[target_feature(enable = "avx2")]
pub fn fit(template: &Template, window: &[u8], stride: usize, (fx, fy): (u8, u8)) -> Sums {
    let row = |y: usize| window[y * stride..].first_chunk::<16>();
    let weights = _mm_set1_epi16(i16::from(64 - fx) | (i16::from(fx) << 8));
    let down = _mm256_set1_epi16(i16::from(fy) << 9);
    let ones = _mm256_set1_epi16(1);
    let zero = _mm256_setzero_si256();
    let (mut d_sum, mut dd_sum, mut x_sum, mut y_sum) = (zero, zero, zero, zero);
    let ((pixels, _), (dx, _)) = (template.pixels.as_chunks(), template.dx.as_chunks());
    let (dy, _) = template.dy.as_chunks();
    // The window is long enough: it always has these rows.
    let Some(first) = row(0) else { return Sums::default() };
    let mut top = across(first, weights);
    for pair in 0..PATCH / 2 {
        let (Some(middle), Some(bottom)) = (row(2 * pair + 1), row(2 * pair + 2)) else {
            return Sums::default();
        };
        let (middle, bottom) = (across(middle, weights), across(bottom, weights));
        let upper = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(top), middle);
        let lower = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(middle), bottom);
        let step = _mm256_mulhrs_epi16(_mm256_sub_epi16(lower, upper), down);
        let sample = _mm256_add_epi16(upper, step);
        let d = _mm256_srai_epi16::<2>(_mm256_sub_epi16(sample, load_i16(&pixels[pair])));
        d_sum = _mm256_add_epi32(d_sum, _mm256_madd_epi16(d, ones));
        dd_sum = _mm256_add_epi32(dd_sum, _mm256_madd_epi16(d, d));
        x_sum = _mm256_add_epi32(x_sum, _mm256_madd_epi16(d, load_i16(&dx[pair])));
        y_sum = _mm256_add_epi32(y_sum, _mm256_madd_epi16(d, load_i16(&dy[pair])));
        top = bottom;
    }
    Sums { d: total(d_sum), dd: total(dd_sum), d_dx: total(x_sum), d_dy: total(y_sum) }
}

/// A whole block wide, see [`super::change`].
#[target_feature(enable = "avx2")]
pub fn change((a, a_stride): (&[u8], usize), (b, b_stride): (&[u8], usize), rows: usize) -> Change {
    const WIDE: usize = BLOCK + 2;
    let zero = _mm256_setzero_si256();
    let (mut d_sum, mut dd, mut d_dx, mut d_dy) = (zero, zero, zero, zero);
    let (mut dx_dx, mut dx_dy, mut dy_dy) = (zero, zero, zero);
    let mut pixels = 0;
    for y in (0..rows).step_by(2) {
        let row = |down: usize| a[(y + down) * a_stride..].first_chunk::<WIDE>();
        let other = b[y * b_stride..].first_chunk::<BLOCK>();
        let (Some(above), Some(middle), Some(below), Some(other)) = (row(0), row(1), row(2), other)
        else {
            // The block is inside both planes: never.
            return Change::default();
        };
        for x in [0, 16] {
            let d = _mm256_sub_epi16(wide(&other[x..]), wide(&middle[x + 1..]));
            let dx = _mm256_sub_epi16(wide(&middle[x + 2..]), wide(&middle[x..]));
            let dy = _mm256_sub_epi16(wide(&below[x + 1..]), wide(&above[x + 1..]));
            let ones = _mm256_set1_epi16(1);
            d_sum = _mm256_add_epi32(d_sum, _mm256_madd_epi16(_mm256_abs_epi16(d), ones));
            dd = _mm256_add_epi32(dd, _mm256_madd_epi16(d, d));
            d_dx = _mm256_add_epi32(d_dx, _mm256_madd_epi16(d, dx));
            d_dy = _mm256_add_epi32(d_dy, _mm256_madd_epi16(d, dy));
            dx_dx = _mm256_add_epi32(dx_dx, _mm256_madd_epi16(dx, dx));
            dx_dy = _mm256_add_epi32(dx_dy, _mm256_madd_epi16(dx, dy));
            dy_dy = _mm256_add_epi32(dy_dy, _mm256_madd_epi16(dy, dy));
            pixels += 16;
        }
    }
    Change {
        pixels,
        d: total(d_sum),
        dd: total(dd),
        d_dx: total(d_dx),
        d_dy: total(d_dy),
        dx_dx: total(dx_dx),
        dx_dy: total(dx_dy),
        dy_dy: total(dy_dy),
    }
}

/// The first sixteen pixels as 16-bit values.
#[inline]
#[target_feature(enable = "avx2")]
fn wide(pixels: &[u8]) -> __m256i {
    let pixels = pixels.first_chunk();
    pixels.map_or(_mm256_setzero_si256(), |pixels| _mm256_cvtepu8_epi16(load_half(pixels)))
}
