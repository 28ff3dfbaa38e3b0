//! [`super::patch`] and [`super::change`] in AVX2.
//!
//! Holds: but for the rows of a patch, whose length is checked once, memory is only read through
//! slices and arrays, as in `avx2`.

use std::arch::x86_64::*;

use super::avx2::load_half;
use super::change::{BLOCK, Change};
use super::patch::{Fit, PATCH, Sought, Sums};

/// The eight samples between neighbouring pixels of a row: pixels `x` and `x + 1`, interleaved,
/// times their weights.
#[inline]
#[target_feature(enable = "avx2")]
fn across(row: __m128i, weights: __m128i) -> __m128i {
    _mm_maddubs_epi16(_mm_unpacklo_epi8(row, _mm_srli_si128::<1>(row)), weights)
}

#[inline]
#[target_feature(enable = "avx2")]
fn total(sums: __m256i) -> i32 {
    let four = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
    let two = _mm_add_epi32(four, _mm_srli_si128::<8>(four));
    _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_srli_si128::<4>(two)))
}

/// Eight pixels or gradients of each of two rows, the first in the lower half.
///
/// # Safety
/// They are all there.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn two_rows<T>(first: *const T, stride: usize) -> __m256i {
    // SAFETY: as the function demands.
    unsafe {
        let second = first.add(stride);
        if size_of::<T>() == 1 {
            let (first, second) = (_mm_loadl_epi64(first.cast()), _mm_loadl_epi64(second.cast()));
            _mm256_cvtepu8_epi16(_mm_unpacklo_epi64(first, second))
        } else {
            let (first, second) = (_mm_loadu_si128(first.cast()), _mm_loadu_si128(second.cast()));
            _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(first), second)
        }
    }
}

/// As `Sought::fit`, two rows at a time.
///
/// # Safety
/// The slices are as long as `Sought::is_whole` wants them.
#[inline]
#[target_feature(enable = "avx2")]
pub unsafe fn fit(sought: &Sought, vector: [f32; 2]) -> Fit {
    let stride = sought.other.stride;
    let pair = |[x, y]: [f32; 2]| _mm_setr_ps(x, y, 0.0, 0.0);
    let place = _mm_add_ps(pair(sought.from), pair(vector));
    let place = _mm_min_ps(_mm_max_ps(place, _mm_setzero_ps()), pair(sought.farthest()));
    let place = _mm_add_ps(_mm_mul_ps(place, _mm_set1_ps(64.0)), _mm_set1_ps(0.5));
    let place = _mm_cvttps_epi32(place);
    let (x, y) = (_mm_cvtsi128_si32(place), _mm_extract_epi32::<1>(place));
    let at = (y >> 6) as usize * stride + (x >> 6) as usize;
    let (fx, fy) = ((x & 63) as i16, (y & 63) as i16);
    let weights = _mm_set1_epi16((64 - fx) | (fx << 8));
    let down = _mm256_set1_epi16(fy << 9);
    let ones = _mm256_set1_epi16(1);
    let zero = _mm256_setzero_si256();
    let (mut d_sum, mut dd_sum, mut x_sum, mut y_sum) = (zero, zero, zero, zero);
    // SAFETY: the place is clamped to where `PATCH` + 1 rows of 16 pixels are.
    let row = |y: usize| unsafe {
        across(_mm_loadu_si128(sought.other.data.as_ptr().add(at + y * stride).cast()), weights)
    };
    let mut top = row(0);
    for y in (0..PATCH).step_by(2) {
        let (middle, bottom) = (row(y + 1), row(y + 2));
        let upper = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(top), middle);
        let lower = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(middle), bottom);
        let step = _mm256_mulhrs_epi16(_mm256_sub_epi16(lower, upper), down);
        let sample = _mm256_add_epi16(upper, step);
        // SAFETY: the patch's rows are all there.
        let (pixels, dx, dy) = unsafe {
            let at = y * stride;
            (
                two_rows(sought.pixels.as_ptr().add(at), stride),
                two_rows(sought.dx.as_ptr().add(at), stride),
                two_rows(sought.dy.as_ptr().add(at), stride),
            )
        };
        let d = _mm256_sub_epi16(sample, _mm256_slli_epi16::<6>(pixels));
        let d = _mm256_srai_epi16::<2>(d);
        d_sum = _mm256_add_epi32(d_sum, _mm256_madd_epi16(d, ones));
        dd_sum = _mm256_add_epi32(dd_sum, _mm256_madd_epi16(d, d));
        x_sum = _mm256_add_epi32(x_sum, _mm256_madd_epi16(d, dx));
        y_sum = _mm256_add_epi32(y_sum, _mm256_madd_epi16(d, dy));
        top = bottom;
    }
    let sums = _mm256_hadd_epi32(_mm256_hadd_epi32(d_sum, dd_sum), _mm256_hadd_epi32(x_sum, y_sum));
    let sums = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
    sought.slope.judge(Sums {
        d: _mm_cvtsi128_si32(sums),
        dd: _mm_extract_epi32::<1>(sums),
        d_dx: _mm_extract_epi32::<2>(sums),
        d_dy: _mm_extract_epi32::<3>(sums),
    })
}

/// # Safety
/// As for [`fit`].
#[target_feature(enable = "avx2")]
pub unsafe fn descend(
    sought: &Sought,
    vector: [f32; 2],
    start: Fit,
    steps: u32,
) -> ([f32; 2], f32) {
    // SAFETY: as the function demands.
    super::patch::descend(vector, start, steps, |vector| unsafe { fit(sought, vector) })
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
