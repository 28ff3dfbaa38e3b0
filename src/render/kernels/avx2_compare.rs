//! [`super::compare`] in AVX2: eight cells at a time, gathered.

use std::arch::x86_64::*;

use super::compare::{CellsAt, Padded, farthest};

/// A coordinate of eight cells in a plane.
struct Places {
    /// From the padding's corner.
    whole: __m256i,
    /// In 32nds.
    fraction: __m256i,
}

#[inline]
#[target_feature(enable = "avx2")]
fn places(at: __m256i, away: __m256i, shift: __m128i, last: i32) -> Places {
    let fixed = _mm256_slli_epi32::<5>(_mm256_sll_epi32(at, shift));
    let place = _mm256_sra_epi32(_mm256_add_epi32(fixed, away), shift);
    let place = _mm256_max_epi32(place, _mm256_setzero_si256());
    let place = _mm256_min_epi32(place, _mm256_set1_epi32(last << 5));
    Places {
        whole: _mm256_srai_epi32::<5>(place),
        fraction: _mm256_and_si256(place, _mm256_set1_epi32(31)),
    }
}

/// A 16-bit value in both halves of each 32 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn twice(values: __m256i) -> __m256i {
    _mm256_or_si256(values, _mm256_slli_epi32::<16>(values))
}

/// The upper and the lower two samples of eight cells, with 5 fractional bits.
///
/// # Safety
/// Four pixels of three rows are inside the plane's data from every place on.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn samples(plane: &Padded, x: Places, y: Places) -> [__m256i; 2] {
    let stride = _mm256_set1_epi32(plane.stride as i32);
    let first = _mm256_add_epi32(_mm256_mullo_epi32(y.whole, stride), x.whole);
    let ones = _mm256_set1_epi32(32);
    let across = _mm256_sub_epi32(ones, x.fraction);
    let across = twice(_mm256_or_si256(across, _mm256_slli_epi32::<8>(x.fraction)));
    let down = twice(_mm256_slli_epi32::<10>(y.fraction));
    // Pixels 0 and 1, 1 and 2 of each four.
    let pairs = _mm256_setr_epi8(
        0, 1, 1, 2, 4, 5, 5, 6, 8, 9, 9, 10, 12, 13, 13, 14, 0, 1, 1, 2, 4, 5, 5, 6, 8, 9, 9, 10,
        12, 13, 13, 14,
    );
    let row = |at: __m256i| {
        // SAFETY: as the function demands.
        let four = unsafe { _mm256_i32gather_epi32::<1>(plane.data.as_ptr().cast(), at) };
        _mm256_maddubs_epi16(_mm256_shuffle_epi8(four, pairs), across)
    };
    let second = _mm256_add_epi32(first, stride);
    let (top, middle, bottom) = (row(first), row(second), row(_mm256_add_epi32(second, stride)));
    let lerp = |a: __m256i, b: __m256i| {
        _mm256_add_epi16(a, _mm256_mulhrs_epi16(_mm256_sub_epi16(b, a), down))
    };
    [lerp(top, middle), lerp(middle, bottom)]
}

/// Returns how many cells it has compared.
///
/// # Safety
/// The planes are of one size and have all their data, and four pixels of three rows can be read
/// there from every cell's first one on.
#[target_feature(enable = "avx2")]
pub unsafe fn compare(
    (a, b): (Padded, Padded),
    cells: CellsAt,
    sums: &mut [i32],
    squares: &mut [i32],
) -> usize {
    let (vectors, _) = cells.vectors.as_chunks::<8>();
    let shift = _mm_cvtsi32_si128(cells.shift as i32);
    let (last_x, last_y) = (farthest(a.pad, a.width), farthest(a.pad, a.height));
    let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    let lanes = _mm256_mullo_epi32(lanes, _mm256_set1_epi32(cells.step as i32));
    let y = _mm256_set1_epi32((cells.y + a.pad) as i32);
    let ones = _mm256_set1_epi16(1);
    let out = sums.as_chunks_mut::<8>().0.iter_mut().zip(squares.as_chunks_mut::<8>().0);
    for (i, (vectors, (sums, squares))) in vectors.iter().zip(out).enumerate() {
        let first = cells.first + a.pad + 8 * i * cells.step;
        let x = _mm256_add_epi32(lanes, _mm256_set1_epi32(first as i32));
        // SAFETY: both are 32 bytes without invalid values.
        let vectors = unsafe { std::mem::transmute::<[[i16; 2]; 8], __m256i>(*vectors) };
        let dx = _mm256_srai_epi32::<16>(_mm256_slli_epi32::<16>(vectors));
        let dy = _mm256_srai_epi32::<16>(vectors);
        let (dx_b, dy_b) = (_mm256_srai_epi32::<1>(dx), _mm256_srai_epi32::<1>(dy));
        let (dx_a, dy_a) = (_mm256_sub_epi32(dx_b, dx), _mm256_sub_epi32(dy_b, dy));
        // SAFETY: places are clamped to where this holds.
        let samples = |plane: &Padded, dx: __m256i, dy: __m256i| unsafe {
            samples(plane, places(x, dx, shift, last_x), places(y, dy, shift, last_y))
        };
        let (a, b) = (samples(&a, dx_a, dy_a), samples(&b, dx_b, dy_b));
        let (top, bottom) = (_mm256_sub_epi16(a[0], b[0]), _mm256_sub_epi16(a[1], b[1]));
        let sum = _mm256_madd_epi16(_mm256_add_epi16(top, bottom), ones);
        let square =
            _mm256_add_epi32(_mm256_madd_epi16(top, top), _mm256_madd_epi16(bottom, bottom));
        // SAFETY: all are 32 bytes without invalid values.
        unsafe {
            *sums = std::mem::transmute::<__m256i, [i32; 8]>(sum);
            *squares = std::mem::transmute::<__m256i, [i32; 8]>(square);
        }
    }
    8 * vectors.len()
}
