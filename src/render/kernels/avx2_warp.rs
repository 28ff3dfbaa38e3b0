//! [`super::warp`] in AVX2, without gathers: eight neighbouring pixels come, as a rule, from a
//! window of 16 by 3 pixels. Where the motion tears it apart they are fetched one by one.
//!
//! Holds: but for the gathers of [`follow`], memory is only read and written through slices and
//! arrays, as in `avx2`.

use std::arch::x86_64::*;
use std::mem::transmute;

use super::avx2::{load_half, load_half_i16};
use super::warp::{FROM_BYTE, LANES, Pattern, Row, UNSEEN, follow_factor, sample};
use crate::media::{Motion, PlaneRef};

/// Pixels and rows of a window.
const WINDOW: usize = 16;
const ROWS: usize = 3;

#[inline]
#[target_feature(enable = "avx2")]
fn stored(both: __m256i) -> [[i16; LANES]; 2] {
    // SAFETY: both are 32 bytes without invalid values.
    unsafe { transmute(both) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn lerp(a: __m128i, b: __m128i, weight: __m128i) -> __m128i {
    _mm_add_epi16(a, _mm_mulhrs_epi16(_mm_sub_epi16(b, a), weight))
}

#[inline]
#[target_feature(enable = "avx2")]
fn lerp_two(a: __m256i, b: __m256i, weight: __m256i) -> __m256i {
    _mm256_add_epi16(a, _mm256_mulhrs_epi16(_mm256_sub_epi16(b, a), weight))
}

/// Two vectors as one: the first in the lower half.
#[inline]
#[target_feature(enable = "avx2")]
fn two(a: __m128i, b: __m128i) -> __m256i {
    _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(a), b)
}

#[inline]
#[target_feature(enable = "avx2")]
fn halves(both: __m256i) -> (__m128i, __m128i) {
    (_mm256_castsi256_si128(both), _mm256_extracti128_si256::<1>(both))
}

/// A [`Pattern`] in both halves.
struct Spread {
    left: __m256i,
    right: __m256i,
    weights: __m256i,
}

impl Spread {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(pattern: &Pattern) -> Self {
        Spread {
            left: _mm256_broadcastsi128_si256(load_half(&pattern.left)),
            right: _mm256_broadcastsi128_si256(load_half(&pattern.right)),
            weights: _mm256_broadcastsi128_si256(load_half_i16(&pattern.weights)),
        }
    }

    /// What two rows of cells say of eight pixels.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn pixels(&self, one: &[i16], other: &[i16], first: usize) -> __m256i {
        let (Some(one), Some(other)) = (one[first..].first_chunk(), other[first..].first_chunk())
        else {
            // The rows are padded: never.
            return _mm256_setzero_si256();
        };
        let cells = two(load_half_i16(one), load_half_i16(other));
        let left = _mm256_shuffle_epi8(cells, self.left);
        let right = _mm256_shuffle_epi8(cells, self.right);
        lerp_two(left, right, self.weights)
    }
}

/// Where eight pixels are fetched from in two planes of one size; the first one's half of every
/// vector is the lower one.
struct Window {
    /// Its first pixel in either plane.
    columns: [usize; 2],
    rows: [usize; 2],
    /// Bytes of a window row: each pixel's left and right neighbour, and their weights.
    bytes: __m256i,
    across: __m256i,
    /// All bits set where the upper and the lower neighbour are in row 1, and row 2.
    upper: [__m256i; 2],
    lower: [__m256i; 2],
    down: __m256i,
}

#[inline]
#[target_feature(enable = "avx2")]
fn least(values: __m128i) -> i16 {
    _mm_extract_epi16::<0>(_mm_minpos_epu16(values)) as i16
}

impl Window {
    /// `None`: they do not lie in one window.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(plane: &PlaneRef, x: usize, y: usize, dx: __m256i, dy: __m256i) -> Option<Self> {
        let (zero, one) = (_mm256_setzero_si256(), _mm256_set1_epi16(1));
        let lanes = _mm256_setr_epi16(0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7);
        let last_x = _mm256_set1_epi16(plane.width as i16 - 1);
        let last_y = _mm256_set1_epi16(plane.height as i16 - 1);
        let clamp = |at: __m256i, last: __m256i| _mm256_min_epi16(_mm256_max_epi16(at, zero), last);
        let own_x = _mm256_add_epi16(lanes, _mm256_set1_epi16(x as i16));
        let at_x = _mm256_add_epi16(_mm256_srai_epi16::<5>(dx), own_x);
        let at_y = _mm256_add_epi16(_mm256_srai_epi16::<5>(dy), _mm256_set1_epi16(y as i16));
        let (left, right) = (clamp(at_x, last_x), clamp(_mm256_add_epi16(at_x, one), last_x));
        let (above, below) = (clamp(at_y, last_y), clamp(_mm256_add_epi16(at_y, one), last_y));
        let ((left_a, left_b), (above_a, above_b)) = (halves(left), halves(above));
        // The window stays inside.
        let (most_x, most_y) = ((plane.width - WINDOW) as i16, (plane.height - ROWS) as i16);
        let columns = [least(left_a).min(most_x), least(left_b).min(most_x)];
        let rows = [least(above_a).min(most_y), least(above_b).min(most_y)];
        let from = |[a, b]: [i16; 2]| two(_mm_set1_epi16(a), _mm_set1_epi16(b));
        let (left, right) =
            (_mm256_sub_epi16(left, from(columns)), _mm256_sub_epi16(right, from(columns)));
        let (above, below) =
            (_mm256_sub_epi16(above, from(rows)), _mm256_sub_epi16(below, from(rows)));
        let second = _mm256_set1_epi16(2);
        let beyond = _mm256_or_si256(
            _mm256_cmpgt_epi16(right, _mm256_set1_epi16(WINDOW as i16 - 1)),
            _mm256_cmpgt_epi16(below, second),
        );
        if _mm256_testz_si256(beyond, beyond) == 0 {
            return None;
        }
        let fraction = _mm256_and_si256(dx, _mm256_set1_epi16(31));
        Some(Window {
            columns: columns.map(|column| column as usize),
            rows: rows.map(|row| row as usize),
            bytes: _mm256_or_si256(left, _mm256_slli_epi16::<8>(right)),
            across: _mm256_or_si256(
                _mm256_sub_epi16(_mm256_set1_epi16(32), fraction),
                _mm256_slli_epi16::<8>(fraction),
            ),
            upper: [_mm256_cmpeq_epi16(above, one), _mm256_cmpeq_epi16(above, second)],
            lower: [_mm256_cmpeq_epi16(below, one), _mm256_cmpeq_epi16(below, second)],
            down: _mm256_slli_epi16::<10>(_mm256_and_si256(dy, _mm256_set1_epi16(31))),
        })
    }

    /// Eight pixels of each plane.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn pixels(&self, a: &PlaneRef, b: &PlaneRef) -> (__m128i, __m128i) {
        let start =
            |plane: &PlaneRef, which: usize| self.rows[which] * plane.stride + self.columns[which];
        let (start_a, start_b) = (start(a, 0), start(b, 1));
        let row = |plane: &PlaneRef, start: usize, down: usize| {
            // Inside the plane: always.
            let pixels = plane.data[start + down * plane.stride..].first_chunk();
            pixels.map_or(_mm_setzero_si128(), |pixels| load_half(pixels))
        };
        let across = |down: usize| {
            let rows = two(row(a, start_a, down), row(b, start_b, down));
            let pairs = _mm256_shuffle_epi8(rows, self.bytes);
            _mm256_slli_epi16::<1>(_mm256_maddubs_epi16(pairs, self.across))
        };
        let rows = [across(0), across(1), across(2)];
        let pick = |[second, third]: [__m256i; 2]| {
            let upper = _mm256_blendv_epi8(rows[0], rows[1], second);
            _mm256_blendv_epi8(upper, rows[2], third)
        };
        halves(lerp_two(pick(self.upper), pick(self.lower), self.down))
    }
}

/// As [`Window::pixels`], from anywhere.
#[cold]
#[inline(never)]
#[target_feature(enable = "avx2")]
fn one_by_one(
    (a, b): (&PlaneRef, &PlaneRef),
    at: (usize, usize),
    dx: [[i16; LANES]; 2],
    dy: [[i16; LANES]; 2],
) -> (__m128i, __m128i) {
    let fetch = |plane: &PlaneRef, which: usize| {
        load_half_i16(&std::array::from_fn(|lane| {
            sample(plane, (at.0 + lane, at.1), (dx[which][lane], dy[which][lane]))
        }))
    };
    (fetch(a, 0), fetch(b, 1))
}

/// Eight pixels as they are, with 6 fractional bits.
#[inline]
#[target_feature(enable = "avx2")]
fn still(plane: &PlaneRef, x: usize, y: usize) -> __m128i {
    let Some(pixels) = plane.data[y * plane.stride + x..].first_chunk() else {
        return _mm_setzero_si128();
    };
    _mm_slli_epi16::<6>(_mm_cvtepu8_epi16(_mm_cvtsi64_si128(i64::from_le_bytes(*pixels))))
}

/// Eight 32-bit values as 16-bit ones, which they fit into.
#[inline]
#[target_feature(enable = "avx2")]
fn narrow(values: __m256i) -> [i16; LANES] {
    let (low, high) = halves(values);
    // SAFETY: both are 16 bytes without invalid values.
    unsafe { transmute(_mm_packs_epi32(low, high)) }
}

/// Returns how many cells it has written to each row of `out`.
///
/// # Safety
/// The motion has a vector and weights for each of its cells.
#[target_feature(enable = "avx2")]
pub unsafe fn follow(motion: &Motion, y: usize, t: f32, out: [&mut [i16]; 4]) -> usize {
    let vectors = motion.vectors.as_ptr().cast::<i32>();
    let weights = motion.weights.as_ptr().cast::<i32>();
    let width = _mm256_set1_epi32(motion.width as i32);
    let (last_x, last_y) =
        (_mm256_set1_ps((motion.width - 1) as f32), _mm256_set1_ps((motion.height - 1) as f32));
    let (zero, half) = (_mm256_setzero_ps(), _mm256_set1_ps(0.5));
    let back = _mm256_set1_ps(follow_factor(motion, t));
    let own_y = _mm256_set1_epi32(y as i32);
    let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    let place = |own: __m256i, along: __m256i, last: __m256| {
        let moved = _mm256_mul_ps(back, _mm256_cvtepi32_ps(along));
        let at = _mm256_add_ps(_mm256_add_ps(_mm256_cvtepi32_ps(own), moved), half);
        _mm256_cvttps_epi32(_mm256_min_ps(_mm256_max_ps(at, zero), last))
    };
    let (time, rest) = (_mm256_set1_ps(t), _mm256_set1_ps(1.0 - t));
    let (byte, unseen) = (_mm256_set1_epi32(255), _mm256_set1_ps(UNSEEN));
    let [out_dx, out_dy, out_share, out_trust] = out.map(|row| row.as_chunks_mut::<LANES>().0);
    let blocks = motion.width / LANES;
    let rows = out_dx.iter_mut().zip(out_dy).zip(out_share.iter_mut().zip(out_trust));
    for (block, ((to_dx, to_dy), (to_share, to_trust))) in rows.take(blocks).enumerate() {
        let own_x = _mm256_add_epi32(lanes, _mm256_set1_epi32((block * LANES) as i32));
        let mut from = _mm256_add_epi32(_mm256_mullo_epi32(own_y, width), own_x);
        let parts = |vectors: __m256i| {
            let dx = _mm256_srai_epi32::<16>(_mm256_slli_epi32::<16>(vectors));
            (dx, _mm256_srai_epi32::<16>(vectors))
        };
        for _ in 0..2 {
            // SAFETY: the index is that of a cell: it is clamped to the grid.
            let (dx, dy) = parts(unsafe { _mm256_i32gather_epi32::<4>(vectors, from) });
            let row = place(own_y, dy, last_y);
            from = _mm256_add_epi32(_mm256_mullo_epi32(row, width), place(own_x, dx, last_x));
        }
        // SAFETY: as above.
        let (dx, dy) = parts(unsafe { _mm256_i32gather_epi32::<4>(vectors, from) });
        let seen = unsafe { _mm256_i32gather_epi32::<4>(weights, from) };
        let share = |values: __m256i| _mm256_cvtepi32_ps(_mm256_and_si256(values, byte));
        let in_a = _mm256_add_ps(share(seen), unseen);
        let in_b = _mm256_add_ps(share(_mm256_srli_epi32::<8>(seen)), unseen);
        let trust = share(_mm256_srli_epi32::<16>(seen));
        let (a, b) = (_mm256_mul_ps(rest, in_a), _mm256_mul_ps(time, in_b));
        let of_b = _mm256_div_ps(b, _mm256_add_ps(a, b));
        *to_dx = narrow(dx);
        *to_dy = narrow(dy);
        *to_share = narrow(_mm256_cvttps_epi32(_mm256_mul_ps(of_b, _mm256_set1_ps(32767.0))));
        *to_trust = narrow(_mm256_cvttps_epi32(_mm256_mul_ps(trust, _mm256_set1_ps(FROM_BYTE))));
    }
    blocks * LANES
}

/// `to` from `above` and `below`. Returns how many it has written.
#[target_feature(enable = "avx2")]
pub fn lerp_rows(above: &[i16], below: &[i16], weight: i16, to: &mut [i16]) -> usize {
    let weight = _mm_set1_epi16(weight);
    let ((above, _), (below, _)) = (above.as_chunks(), below.as_chunks());
    let (to, _) = to.as_chunks_mut::<LANES>();
    for ((above, below), to) in above.iter().zip(below).zip(to.iter_mut()) {
        // SAFETY: both are 16 bytes without invalid values.
        *to = unsafe {
            transmute::<__m128i, [i16; LANES]>(lerp(
                load_half_i16(above),
                load_half_i16(below),
                weight,
            ))
        };
    }
    to.len() * LANES
}

/// Planes are at least 16 pixels wide, and 3 high. Returns the pixels made of each.
#[target_feature(enable = "avx2")]
pub fn warp<const N: usize>(row: &Row<N>, out: &mut [&mut [u8]; N]) -> usize {
    let factors = two(_mm_set1_epi16(row.moment.to_a), _mm_set1_epi16(row.moment.to_b));
    let time = _mm_set1_epi16(row.moment.time);
    let y = row.y;
    let blocks = row.a[0].width / LANES;
    for block in 0..blocks {
        let x = block * LANES;
        let (first, pattern) = row.grid.block(x);
        let spread = Spread::new(pattern);
        let away = spread.pixels(row.cells.dx, row.cells.dy, first);
        let mix = spread.pixels(row.cells.share, row.cells.trust, first);
        let (share, trust) = halves(mix);
        let dx = _mm256_mulhrs_epi16(_mm256_permute2x128_si256::<0x00>(away, away), factors);
        let dy = _mm256_mulhrs_epi16(_mm256_permute2x128_si256::<0x11>(away, away), factors);
        let window = Window::new(&row.a[0], x, y, dx, dy);
        for ((a, b), out) in row.a.iter().zip(&row.b).zip(out.iter_mut()) {
            let (from_a, from_b) = match &window {
                Some(window) => window.pixels(a, b),
                None => one_by_one((a, b), (x, y), stored(dx), stored(dy)),
            };
            let warped = lerp(from_a, from_b, share);
            let blended = lerp(still(a, x, y), still(b, x, y), time);
            let mixed = _mm_add_epi16(lerp(blended, warped, trust), _mm_set1_epi16(32));
            let mixed = _mm_srai_epi16::<6>(mixed);
            let bytes = _mm_cvtsi128_si64(_mm_packus_epi16(mixed, mixed)).to_le_bytes();
            if let Some(to) = out[x..].first_chunk_mut() {
                *to = bytes;
            }
        }
    }
    blocks * LANES
}
