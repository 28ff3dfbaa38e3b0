//! Where the pixels of a picture come from, eight at once, and what is there: two neighbours of eight
//! pixels come with one gather.
//!
//! Holds: gathers read within the plane, whatever the places say, as these are brought back into it
//! first; the plane's size is checked once.

use std::arch::x86_64::*;
use std::mem::transmute;

use super::Range;
use super::map::{Around, BEHIND, Line, ROUND, Turn, Way};

#[inline]
#[target_feature(enable = "avx2")]
fn load(places: &[i32; 8]) -> __m256i {
    // SAFETY: both are 32 bytes without invalid values.
    unsafe { transmute(*places) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(places: &mut [i32; 8], value: __m256i) {
    // SAFETY: both are 32 bytes without invalid values.
    *places = unsafe { transmute::<__m256i, [i32; 8]>(value) };
}

/// `a x + b y`.
#[inline]
#[target_feature(enable = "avx2")]
fn sum(a: f32, x: __m256, b: f32, y: __m256) -> __m256 {
    _mm256_add_ps(_mm256_mul_ps(_mm256_set1_ps(a), x), _mm256_mul_ps(_mm256_set1_ps(b), y))
}

/// `a x - b y`.
#[inline]
#[target_feature(enable = "avx2")]
fn difference(a: f32, x: __m256, b: f32, y: __m256) -> __m256 {
    _mm256_sub_ps(_mm256_mul_ps(_mm256_set1_ps(a), x), _mm256_mul_ps(_mm256_set1_ps(b), y))
}

#[inline]
#[target_feature(enable = "avx2")]
fn reflect(x: __m256, size: f32) -> __m256 {
    let round = _mm256_set1_ps(ROUND);
    let turns = _mm256_add_ps(_mm256_mul_ps(x, _mm256_set1_ps(0.5 / size)), round);
    let away = _mm256_mul_ps(_mm256_set1_ps(2.0 * size), _mm256_sub_ps(turns, round));
    _mm256_andnot_ps(_mm256_set1_ps(-0.0), _mm256_sub_ps(x, away))
}

#[inline]
#[target_feature(enable = "avx2")]
fn whole(x: __m256, line: &Line, axis: usize) -> __m256i {
    let scaled = _mm256_mul_ps(x, _mm256_set1_ps(line.scale[axis]));
    let at = _mm256_add_ps(scaled, _mm256_set1_ps(line.offset[axis]));
    let round = _mm256_set1_ps(ROUND);
    let bits = _mm256_castps_si256(_mm256_add_ps(at, round));
    _mm256_sub_epi32(bits, _mm256_castps_si256(round))
}

#[target_feature(enable = "avx2")]
pub fn places(way: &Way, line: &Line, xs: &mut [i32], ys: &mut [i32]) {
    let lanes = _mm256_setr_ps(0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0);
    let sign = _mm256_set1_ps(-0.0);
    let [a, b, c, d, e, f] = way.matrix;
    let (c, f) = (_mm256_set1_ps(c), _mm256_set1_ps(f));
    let ((xs, _), (ys, _)) = (xs.as_chunks_mut::<8>(), ys.as_chunks_mut::<8>());
    for (n, (xs, ys)) in xs.iter_mut().zip(ys).enumerate() {
        let index = _mm256_add_ps(_mm256_set1_ps((8 * n) as f32), lanes);
        let along = _mm256_mul_ps(_mm256_set1_ps(line.step), index);
        let mut x = _mm256_add_ps(_mm256_set1_ps(line.first), along);
        let mut y = _mm256_set1_ps(line.down);
        if let Some(fan) = &way.fan {
            let (mut up, mut side) = (_mm256_xor_ps(y, sign), _mm256_andnot_ps(sign, x));
            for Turn { border: [border_cos, border_sin], by: [cos, sin] } in fan {
                let over = difference(*border_cos, side, *border_sin, up);
                let beyond = _mm256_cmp_ps::<_CMP_GT_OQ>(over, _mm256_setzero_ps());
                let turned = sum(*cos, up, *sin, side);
                side = _mm256_blendv_ps(side, difference(*cos, side, *sin, up), beyond);
                up = _mm256_blendv_ps(up, turned, beyond);
            }
            (x, y) = (_mm256_andnot_ps(sign, side), _mm256_xor_ps(up, sign));
        }
        if way.mirror[0] {
            x = _mm256_or_ps(x, sign);
        }
        if way.mirror[1] {
            y = _mm256_or_ps(y, sign);
        }
        let u = reflect(_mm256_add_ps(sum(a, x, b, y), c), way.size[0]);
        let v = reflect(_mm256_add_ps(sum(d, x, e, y), f), way.size[1]);
        store(xs, whole(u, line, 0));
        store(ys, whole(v, line, 1));
    }
}

/// Returns how many pixels are done.
#[target_feature(enable = "avx2")]
pub fn sample(plane: Around, xs: &[i32], ys: &[i32], range: Range, out: &mut [u8]) -> usize {
    let Around { data, stride, rows } = plane;
    // Places with their fraction are 32 bits, and so are the pixels of a plane.
    if stride <= BEHIND || rows < 2 || data.len() < stride * rows || data.len() > 1 << 30 {
        return 0;
    }
    let [last_x, last_y] = plane.last();
    let zero = _mm256_setzero_si256();
    let (last_x, last_y) = (_mm256_set1_epi32(last_x), _mm256_set1_epi32(last_y));
    let (phase, whole) = (_mm256_set1_epi32(63), _mm256_set1_epi32(64));
    let (per_row, half) = (_mm256_set1_epi32(stride as i32), _mm256_set1_epi32(2048));
    let (min, max) = (_mm_set1_epi8(range.min as i8), _mm_set1_epi8(range.max as i8));
    let ((xs, _), (ys, _)) = (xs.as_chunks::<8>(), ys.as_chunks::<8>());
    let (out, _) = out.as_chunks_mut::<8>();
    for ((x, y), out) in xs.iter().zip(ys).zip(out.iter_mut()) {
        let x = _mm256_min_epi32(_mm256_max_epi32(load(x), zero), last_x);
        let y = _mm256_min_epi32(_mm256_max_epi32(load(y), zero), last_y);
        let (column, row) = (_mm256_srai_epi32::<6>(x), _mm256_srai_epi32::<6>(y));
        let at = _mm256_add_epi32(_mm256_mullo_epi32(row, per_row), column);
        // SAFETY: at most stride - BEHIND columns from the start of row rows - 2: four bytes there
        // are in the plane, and so are those a row below.
        let (above, below) = unsafe {
            let first = data.as_ptr();
            (
                _mm256_i32gather_epi32::<1>(first.cast(), at),
                _mm256_i32gather_epi32::<1>(first.add(stride).cast(), at),
            )
        };
        let (right, down) = (_mm256_and_si256(x, phase), _mm256_and_si256(y, phase));
        // 64 - right for the first byte of each four, right for the second, 0 for the others.
        let across =
            _mm256_add_epi32(_mm256_sub_epi32(_mm256_slli_epi32::<8>(right), right), whole);
        let along = _mm256_or_si256(_mm256_sub_epi32(whole, down), _mm256_slli_epi32::<16>(down));
        let rows = _mm256_or_si256(
            _mm256_maddubs_epi16(above, across),
            _mm256_slli_epi32::<16>(_mm256_maddubs_epi16(below, across)),
        );
        let mixed = _mm256_add_epi32(_mm256_madd_epi16(rows, along), half);
        let mixed = _mm256_srai_epi32::<12>(mixed);
        let words = _mm256_packs_epi32(mixed, mixed);
        let words = _mm256_permute4x64_epi64::<0b10_00_10_00>(words);
        let bytes = _mm256_castsi256_si128(_mm256_packus_epi16(words, words));
        let bytes = _mm_min_epu8(_mm_max_epu8(bytes, min), max);
        *out = _mm_cvtsi128_si64(bytes).to_le_bytes();
    }
    out.len() * 8
}
