//! [`super::warp`] in AVX2, without gathers: a block of eight pixels in each of four rows comes, as a
//! rule, from a window of 16 by 8 pixels. Where the motion tears it apart it is higher, or
//! they are fetched one by one.
//!
//! Holds: but for the gathers of [`follow`] and the rows of a window, memory is only read and
//! written through slices and arrays, as in `avx2`.

use std::arch::x86_64::*;
use std::mem::transmute;

use super::avx2::{load_half, load_half_i16};
use super::warp::{
    BAND, CellRow, FROM_BYTE, LANES, LONGEST, Pattern, Row, TAPS, UNSEEN, follow_factor, sample,
};
use crate::media::{Motion, PlaneRef};

/// Pixels of a window; rows that one row of pixels is made from, and the whole band.
const WINDOW: usize = 16;
const ROWS: usize = 5;
const WINDOW_ROWS: usize = ROWS + BAND - 1;

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
    ///
    /// # Safety
    /// Both have eight cells from `first` on.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn pixels(&self, one: &[i16], other: &[i16], first: usize) -> __m256i {
        debug_assert!(first + 8 <= one.len().min(other.len()));
        // SAFETY: as the function demands.
        let cells = unsafe {
            let load = |row: &[i16]| _mm_loadu_si128(row.as_ptr().add(first).cast());
            two(load(one), load(other))
        };
        let left = _mm256_shuffle_epi8(cells, self.left);
        let right = _mm256_shuffle_epi8(cells, self.right);
        lerp_two(left, right, self.weights)
    }
}

/// The weights that [`TAPS`] has for a tap: of phases in the low byte of each 16 bits in the low
/// byte, of those in the high byte there. What has its top bit set becomes 0.
#[inline]
#[target_feature(enable = "avx2")]
fn taps(tap: usize, phases: __m256i) -> __m256i {
    // SAFETY: both are 16 bytes without invalid values.
    let table = unsafe { transmute::<[i8; 16], __m128i>(TAPS[tap]) };
    _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), phases)
}

/// As `super::warp::place`: whole pixels, and phases.
#[inline]
#[target_feature(enable = "avx2")]
fn places(away: __m256i) -> (__m256i, __m256i) {
    let away = _mm256_srai_epi16::<1>(_mm256_add_epi16(away, _mm256_set1_epi16(1)));
    (_mm256_srai_epi16::<4>(away), _mm256_and_si256(away, _mm256_set1_epi16(15)))
}

/// In each half, everywhere, the smallest of its values; these are not negative.
#[inline]
#[target_feature(enable = "avx2")]
fn least(values: __m256i) -> __m256i {
    let (a, b) = halves(values);
    let both = two(_mm_minpos_epu16(a), _mm_minpos_epu16(b));
    _mm256_shuffle_epi8(both, _mm256_set1_epi16(0x0100))
}

/// One value of each half.
#[inline]
#[target_feature(enable = "avx2")]
fn apart(values: __m256i) -> [i16; 2] {
    let (a, b) = halves(values);
    [_mm_cvtsi128_si32(a) as i16, _mm_cvtsi128_si32(b) as i16]
}

/// Which columns eight pixels are made from in `N` pairs of planes of one size; the half of every
/// vector that belongs to a pair's first one is the lower. (What has an `N` has one caller for each,
/// so that it becomes part of that.)
#[derive(Clone, Copy)]
struct Across<const N: usize> {
    /// The first column of a window in either plane, inside.
    columns: [usize; 2],
    /// Bytes of a window row: each pixel's first two neighbours, and the other two; their weights.
    bytes: [__m256i; 2],
    weights: [__m256i; 2],
}

impl<const N: usize> Across<N> {
    /// `None`: a window is not wide enough.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(plane: &PlaneRef, x: usize, dx: __m256i) -> Option<Self> {
        let zero = _mm256_setzero_si256();
        let lanes = _mm256_setr_epi16(0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7);
        // The second of a pixel's four columns, counted from two outside so that it is positive;
        // further out it looks the same.
        let (away, phase) = places(dx);
        let own = _mm256_add_epi16(lanes, _mm256_set1_epi16(x as i16 + 2));
        let at = _mm256_max_epi16(_mm256_add_epi16(away, own), zero);
        let at = _mm256_min_epi16(at, _mm256_set1_epi16(plane.width as i16 + 2));
        let most = (plane.width - WINDOW) as i16;
        let first = _mm256_sub_epi16(least(at), _mm256_set1_epi16(3));
        let first = _mm256_min_epi16(_mm256_max_epi16(first, zero), _mm256_set1_epi16(most));
        let columns = apart(first);
        let column = _mm256_sub_epi16(_mm256_sub_epi16(at, _mm256_set1_epi16(2)), first);
        // Behind the window there are more columns, unless it ends where the plane does.
        let behind = _mm256_cmpgt_epi16(column, _mm256_set1_epi16(WINDOW as i16 - 3));
        let behind = _mm256_movemask_epi8(behind) as u32;
        if behind != 0 {
            let inside = columns.map(|column| column < most);
            if (inside[0] && behind as u16 != 0) || (inside[1] && behind >> 16 != 0) {
                return None;
            }
        }
        let doubled = _mm256_setr_epi8(
            0, 0, 2, 2, 4, 4, 6, 6, 8, 8, 10, 10, 12, 12, 14, 14, 0, 0, 2, 2, 4, 4, 6, 6, 8, 8, 10,
            10, 12, 12, 14, 14,
        );
        let column = _mm256_shuffle_epi8(column, doubled);
        // What lies outside the plane is its edge.
        let clamp = |bytes: __m256i| {
            _mm256_min_epi8(_mm256_max_epi8(bytes, zero), _mm256_set1_epi8(WINDOW as i8 - 1))
        };
        // A pair of taps in the bytes of 16 bits.
        let low = _mm256_or_si256(phase, _mm256_set1_epi16(0x8000_u16 as i16));
        let high = _mm256_or_si256(_mm256_slli_epi16::<8>(phase), _mm256_set1_epi16(0x80));
        let pair = |tap: usize| _mm256_or_si256(taps(tap, low), taps(tap + 1, high));
        Some(Across {
            columns: columns.map(|column| column as usize),
            bytes: [
                clamp(_mm256_add_epi8(column, _mm256_set1_epi16(0x00ff))),
                clamp(_mm256_add_epi8(column, _mm256_set1_epi16(0x0201))),
            ],
            weights: [pair(0), pair(2)],
        })
    }

    /// Of a window row of both planes.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn filter(&self, rows: __m256i) -> __m256i {
        let [left, right] = self.bytes;
        _mm256_add_epi16(
            _mm256_maddubs_epi16(_mm256_shuffle_epi8(rows, left), self.weights[0]),
            _mm256_maddubs_epi16(_mm256_shuffle_epi8(rows, right), self.weights[1]),
        )
    }

    /// A window row, or the nearest one that there is.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn row(&self, (a, b): (&PlaneRef, &PlaneRef), rows: [i32; 2]) -> __m256i {
        let row = |plane: &PlaneRef, which: usize| {
            let row = rows[which].clamp(0, plane.height as i32 - 1) as usize;
            let pixels = &plane.data[row * plane.stride + self.columns[which]..];
            // A plane is at least as wide as a window: always.
            pixels.first_chunk().map_or(_mm_setzero_si128(), |pixels| load_half(pixels))
        };
        two(row(a, 0), row(b, 1))
    }
}

/// The second of the four rows of each pixel, from that of the topmost one on; where that is; and
/// their weights, with 14 fractional bits.
#[inline]
#[target_feature(enable = "avx2")]
fn rows(y: usize, dy: __m256i) -> (__m256i, [i32; 2], [__m256i; 4]) {
    // Counted from far outside.
    const FAR: i16 = 1 << 13;
    let (away, phase) = places(dy);
    let at = _mm256_add_epi16(away, _mm256_set1_epi16(y as i16 + FAR));
    let top = least(at);
    let high = _mm256_or_si256(_mm256_slli_epi16::<8>(phase), _mm256_set1_epi16(0x80));
    (
        _mm256_sub_epi16(at, top),
        apart(top).map(|row| i32::from(row) - i32::from(FAR)),
        [taps(0, high), taps(1, high), taps(2, high), taps(3, high)],
    )
}

/// Which rows eight pixels are made from, as [`Across`].
struct Down<const N: usize> {
    /// The first one, which may lie outside.
    top: [i32; 2],
    weights: [__m256i; ROWS],
}

impl<const N: usize> Down<N> {
    /// `None`: a window is not high enough.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(y: usize, dy: __m256i) -> Option<Self> {
        let (below, top, [first, second, third, last]) = rows(y, dy);
        let one = _mm256_set1_epi16(1);
        if _mm256_movemask_epi8(_mm256_cmpgt_epi16(below, one)) != 0 {
            return None;
        }
        let lower = _mm256_cmpeq_epi16(below, one);
        let pick = |upper: __m256i, other: __m256i| _mm256_blendv_epi8(upper, other, lower);
        Some(Down {
            top: top.map(|row| row - 1),
            weights: [
                _mm256_andnot_si256(lower, first),
                pick(second, first),
                pick(third, second),
                pick(last, third),
                _mm256_and_si256(lower, last),
            ],
        })
    }
}

/// Eight pixels of each row and plane, from a window; in the halves.
///
/// # Safety
/// The planes are of the size that the window was made for, and their data is [`whole`].
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn pixels<const N: usize>(
    row: &Row<N>,
    across: &Across<N>,
    down: &Down<N>,
) -> [[__m256i; BAND]; N] {
    let ([top_a, top_b], height) = (down.top, row.a[0].height as i32);
    let inside = top_a.min(top_b) >= 0 && top_a.max(top_b) + WINDOW_ROWS as i32 <= height;
    let mut pixels = [[_mm256_setzero_si256(); BAND]; N];
    for ((a, b), pixels) in row.a.iter().zip(&row.b).zip(&mut pixels) {
        let mut add = |n: usize, rows: __m256i| {
            let filtered = across.filter(rows);
            for (own, sum) in pixels.iter_mut().enumerate() {
                if (own..own + ROWS).contains(&n) {
                    let weight = down.weights[n - own];
                    *sum = _mm256_add_epi16(*sum, _mm256_mulhrs_epi16(filtered, weight));
                }
            }
        };
        if inside {
            // SAFETY: the columns are inside, and so are all rows.
            unsafe {
                let at = |plane: &PlaneRef, which: usize| {
                    let first = down.top[which] as usize * plane.stride;
                    plane.data.as_ptr().add(first + across.columns[which])
                };
                let (at_a, at_b) = (at(a, 0), at(b, 1));
                for n in 0..WINDOW_ROWS {
                    let (a, b) = (at_a.add(n * a.stride), at_b.add(n * b.stride));
                    add(n, two(_mm_loadu_si128(a.cast()), _mm_loadu_si128(b.cast())));
                }
            }
        } else {
            for (n, rows) in rows_at_edge((a, b), *across, down.top).into_iter().enumerate() {
                add(n, rows);
            }
        }
    }
    pixels
}

/// The rows of a window that reaches out of the planes above or below.
#[cold]
#[inline(never)]
#[target_feature(enable = "avx2")]
fn rows_at_edge<const N: usize>(
    planes: (&PlaneRef, &PlaneRef),
    across: Across<N>,
    top: [i32; 2],
) -> [__m256i; WINDOW_ROWS] {
    let mut rows = [_mm256_setzero_si256(); WINDOW_ROWS];
    for (down, rows) in rows.iter_mut().enumerate() {
        *rows = across.row(planes, top.map(|row| row + down as i32));
    }
    rows
}

/// One row of eight pixels of each plane, where the motion tears them apart: from as many rows as it
/// takes, or one by one.
#[cold]
#[inline(never)]
#[target_feature(enable = "avx2")]
fn torn_pixels<const N: usize>(
    row: &Row<N>,
    (x, y): (usize, usize),
    across: Option<Across<N>>,
    (dx, dy): (__m256i, __m256i),
) -> [__m256i; N] {
    let (below, top, taps) = rows(y, dy);
    let most = stored(below).into_iter().flatten().max().unwrap_or(0);
    // A pixel by itself costs about as much as three rows.
    let Some(across) = across.filter(|_| most < 20) else {
        let (dx, dy) = (stored(dx), stored(dy));
        let fetch = |plane: &PlaneRef, which: usize| {
            load_half_i16(&std::array::from_fn(|lane| {
                sample(plane, (x + lane, y), (dx[which][lane], dy[which][lane]))
            }))
        };
        return std::array::from_fn(|n| two(fetch(&row.a[n], 0), fetch(&row.b[n], 1)));
    };
    let mut sums = [_mm256_setzero_si256(); N];
    for down in 0..most + 4 {
        let mut weight = _mm256_setzero_si256();
        for (n, tap) in taps.into_iter().enumerate() {
            let own = _mm256_cmpeq_epi16(below, _mm256_set1_epi16(down - n as i16));
            weight = _mm256_or_si256(weight, _mm256_and_si256(own, tap));
        }
        for ((a, b), sum) in row.a.iter().zip(&row.b).zip(&mut sums) {
            let rows = across.row((a, b), top.map(|row| row - 1 + i32::from(down)));
            let filtered = _mm256_mulhrs_epi16(across.filter(rows), weight);
            *sum = _mm256_add_epi16(*sum, filtered);
        }
    }
    sums
}

/// A plane's data has all its pixels.
fn whole(plane: &PlaneRef) -> bool {
    plane.stride >= plane.width
        && plane.data.len() >= (plane.height - 1) * plane.stride + plane.width
}

/// Eight pixels as they are, with 5 fractional bits.
///
/// # Safety
/// They are in the plane's data.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn still(plane: &PlaneRef, x: usize, y: usize) -> __m128i {
    let at = y * plane.stride + x;
    debug_assert!(at + LANES <= plane.data.len());
    // SAFETY: as the function demands.
    let pixels = unsafe { _mm_loadl_epi64(plane.data.as_ptr().add(at).cast()) };
    _mm_slli_epi16::<5>(_mm_cvtepu8_epi16(pixels))
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

/// Planes are at least 16 pixels wide, and at most [`LONGEST`] wide and high. Returns the pixels made
/// of each row.
#[target_feature(enable = "avx2")]
pub fn warp<const N: usize>(row: &Row<N>, out: &mut [[&mut [u8]; BAND]; N]) -> usize {
    let size = |plane: &PlaneRef| (plane.width, plane.height);
    let first = &row.a[0];
    assert!((WINDOW..=LONGEST).contains(&first.width));
    assert!(first.height <= LONGEST && row.y < first.height);
    assert!(row.a.iter().chain(&row.b).all(|plane| size(plane) == size(first) && whole(plane)));
    let factors = two(_mm_set1_epi16(row.moment.to_a), _mm_set1_epi16(row.moment.to_b));
    let time = _mm256_set1_epi16(row.moment.time);
    // Of rows below the last one; they are made all the same.
    let own: [usize; BAND] = std::array::from_fn(|n| (row.y + n).min(first.height - 1));
    let blocks = first.width / LANES;
    let CellRow { dx: cells_x, dy: cells_y, share, trust } = row.cells;
    let (last_cell, _) = row.grid.block((blocks - 1) * LANES);
    for cells in [cells_x, cells_y, share, trust] {
        assert!(last_cell + 8 <= cells.len());
    }
    for block in 0..blocks {
        let x = block * LANES;
        let (cell, pattern) = row.grid.block(x);
        let spread = Spread::new(pattern);
        // SAFETY: the last block's cells are there, and cells do not go back.
        let (away, mix) =
            unsafe { (spread.pixels(cells_x, cells_y, cell), spread.pixels(share, trust, cell)) };
        let share = _mm256_permute2x128_si256::<0x00>(mix, mix);
        let trust = _mm256_permute2x128_si256::<0x11>(mix, mix);
        let dx = _mm256_mulhrs_epi16(_mm256_permute2x128_si256::<0x00>(away, away), factors);
        let dy = _mm256_mulhrs_epi16(_mm256_permute2x128_si256::<0x11>(away, away), factors);
        let across = Across::<N>::new(first, x, dx);
        let pixels = match (&across, Down::<N>::new(row.y, dy)) {
            // SAFETY: all planes are of one size and whole, as was seen above.
            (Some(across), Some(down)) => unsafe { pixels(row, across, &down) },
            _ => {
                let rows = own.map(|y| torn_pixels(row, (x, y), across, (dx, dy)));
                std::array::from_fn(|n| rows.map(|planes| planes[n]))
            }
        };
        let all = _mm256_cmpeq_epi16(trust, _mm256_set1_epi16(i16::MAX));
        let trusted = _mm256_movemask_epi8(all) == -1;
        let planes = row.a.iter().zip(&row.b).zip(pixels);
        for (((a, b), rows), out) in planes.zip(out.iter_mut()) {
            let (rows, _) = rows.as_chunks::<2>();
            let (own, _) = own.as_chunks::<2>();
            let (out, _) = out.as_chunks_mut::<2>();
            for ((&[upper, lower], &[y, below]), out) in rows.iter().zip(own).zip(out) {
                let from_a = _mm256_permute2x128_si256::<0x20>(upper, lower);
                let from_b = _mm256_permute2x128_si256::<0x31>(upper, lower);
                let mut mixed = lerp_two(from_a, from_b, share);
                if !trusted {
                    // SAFETY: the block is inside, and the planes are whole.
                    let [a, b] = unsafe {
                        [a, b].map(|plane| two(still(plane, x, y), still(plane, x, below)))
                    };
                    mixed = lerp_two(lerp_two(a, b, time), mixed, trust);
                }
                let mixed = _mm256_srai_epi16::<5>(_mm256_add_epi16(mixed, _mm256_set1_epi16(16)));
                let (upper, lower) = halves(_mm256_packus_epi16(mixed, mixed));
                for (out, bytes) in out.iter_mut().zip([upper, lower]) {
                    if let Some(to) = out.get_mut(x..).and_then(|out| out.first_chunk_mut()) {
                        *to = _mm_cvtsi128_si64(bytes).to_le_bytes();
                    }
                }
            }
        }
    }
    blocks * LANES
}
