//! The kernels in AVX2. Each returns how many output values it has written; what is left at the
//! end of a row is done by its plain twin.
//!
//! Holds: memory is only read and written through slices and arrays, so the one thing a caller
//! must see to is that the processor has AVX2. Within a 128-bit lane
//! `unpack` and `pack` undo each other's order; where lanes come out crossed it is said.

use std::arch::x86_64::*;
use std::mem::transmute;

use super::super::grade::{ChromaGrade, LumaGrade};
use super::{BLOCK_WINDOW, Block, CHROMA, LUMA, Range, TO_RGB};

// Arrays become vectors by value: the load and store intrinsics go through pointer copies whose
// overlap checks cost a development build three times the arithmetic.

#[inline]
#[target_feature(enable = "avx2")]
fn load(bytes: &[u8; 32]) -> __m256i {
    // SAFETY: both are 32 bytes without invalid values.
    unsafe { transmute(*bytes) }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load_i16(values: &[i16; 16]) -> __m256i {
    // SAFETY: both are 32 bytes without invalid values.
    unsafe { transmute(*values) }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load_half(bytes: &[u8; 16]) -> __m128i {
    // SAFETY: both are 16 bytes without invalid values.
    unsafe { transmute(*bytes) }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load_half_i16(values: &[i16; 8]) -> __m128i {
    // SAFETY: both are 16 bytes without invalid values.
    unsafe { transmute(*values) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(bytes: &mut [u8; 32], value: __m256i) {
    // SAFETY: both are 32 bytes without invalid values.
    *bytes = unsafe { transmute::<__m256i, [u8; 32]>(value) };
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_half(bytes: &mut [u8; 16], value: __m128i) {
    // SAFETY: both are 16 bytes without invalid values.
    *bytes = unsafe { transmute::<__m128i, [u8; 16]>(value) };
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_i16(values: &mut [i16; 16], value: __m256i) {
    // SAFETY: both are 32 bytes without invalid values.
    *values = unsafe { transmute::<__m256i, [i16; 16]>(value) };
}

/// Two 16-bit factors for `madd`, in every 32-bit place.
#[inline]
#[target_feature(enable = "avx2")]
fn pair(first: i16, second: i16) -> __m256i {
    _mm256_set1_epi32(i32::from(first as u16) | (i32::from(second) << 16))
}

/// 32 bytes of two rows, interleaved and widened to 16 bits: ready for `madd`.
#[inline]
#[target_feature(enable = "avx2")]
fn interleave(a: __m256i, b: __m256i) -> [__m256i; 4] {
    let zero = _mm256_setzero_si256();
    let (low, high) = (_mm256_unpacklo_epi8(a, b), _mm256_unpackhi_epi8(a, b));
    [
        _mm256_unpacklo_epi8(low, zero),
        _mm256_unpackhi_epi8(low, zero),
        _mm256_unpacklo_epi8(high, zero),
        _mm256_unpackhi_epi8(high, zero),
    ]
}

/// Sums as 32 bits in the order of [`interleave`], plus `bias`, shifted, as saturated bytes.
#[inline]
#[target_feature(enable = "avx2")]
fn narrow<const SHIFT: i32>(sums: [__m256i; 4], bias: i32) -> __m256i {
    let bias = _mm256_set1_epi32(bias);
    let [a, b, c, d] = [
        _mm256_srai_epi32::<SHIFT>(_mm256_add_epi32(sums[0], bias)),
        _mm256_srai_epi32::<SHIFT>(_mm256_add_epi32(sums[1], bias)),
        _mm256_srai_epi32::<SHIFT>(_mm256_add_epi32(sums[2], bias)),
        _mm256_srai_epi32::<SHIFT>(_mm256_add_epi32(sums[3], bias)),
    ];
    _mm256_packus_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d))
}

#[inline]
#[target_feature(enable = "avx2")]
fn madd(pixels: [__m256i; 4], factors: __m256i) -> [__m256i; 4] {
    [
        _mm256_madd_epi16(pixels[0], factors),
        _mm256_madd_epi16(pixels[1], factors),
        _mm256_madd_epi16(pixels[2], factors),
        _mm256_madd_epi16(pixels[3], factors),
    ]
}

#[inline]
#[target_feature(enable = "avx2")]
fn clamp(bytes: __m256i, range: Range) -> __m256i {
    let (min, max) = (_mm256_set1_epi8(range.min as i8), _mm256_set1_epi8(range.max as i8));
    _mm256_min_epu8(_mm256_max_epu8(bytes, min), max)
}

/// Of the first two (`PAIRS` 1) or all four rows.
#[target_feature(enable = "avx2")]
pub fn combine<const PAIRS: usize>(rows: [&[u8]; 4], weights: [i16; 4], dst: &mut [u8]) -> usize {
    let factors = [pair(weights[0], weights[1]), pair(weights[2], weights[3])];
    let rows = rows.map(|row| row.as_chunks::<32>().0);
    let (out, _) = dst.as_chunks_mut::<32>();
    for (i, out) in out.iter_mut().enumerate() {
        let mut sums = madd(interleave(load(&rows[0][i]), load(&rows[1][i])), factors[0]);
        if PAIRS == 2 {
            let more = madd(interleave(load(&rows[2][i]), load(&rows[3][i])), factors[1]);
            sums = [
                _mm256_add_epi32(sums[0], more[0]),
                _mm256_add_epi32(sums[1], more[1]),
                _mm256_add_epi32(sums[2], more[2]),
                _mm256_add_epi32(sums[3], more[3]),
            ];
        }
        store(out, narrow::<14>(sums, 1 << 13));
    }
    out.len() * 32
}

#[target_feature(enable = "avx2")]
pub fn over(src: &[u8], alpha: &[u8], opacity: u16, dst: &mut [u8]) -> usize {
    let (half, full) = (_mm256_set1_epi16(128), _mm256_set1_epi16(255));
    let opacity = _mm256_set1_epi16(opacity as i16);
    let ((src, _), (alpha, _)) = (src.as_chunks::<16>(), alpha.as_chunks::<16>());
    let (out, _) = dst.as_chunks_mut::<16>();
    for ((src, alpha), out) in src.iter().zip(alpha).zip(out.iter_mut()) {
        // Products are below 2^16: taken as unsigned they are right.
        let alpha = _mm256_cvtepu8_epi16(load_half(alpha));
        let share =
            _mm256_srli_epi16::<8>(_mm256_add_epi16(_mm256_mullo_epi16(alpha, opacity), half));
        let below = _mm256_cvtepu8_epi16(load_half(out));
        let above = _mm256_cvtepu8_epi16(load_half(src));
        let sum = _mm256_add_epi16(
            _mm256_add_epi16(_mm256_mullo_epi16(below, _mm256_sub_epi16(full, share)), half),
            _mm256_mullo_epi16(above, share),
        );
        let mixed = _mm256_srli_epi16::<8>(_mm256_add_epi16(sum, _mm256_srli_epi16::<8>(sum)));
        // Lanes come out crossed: the second half of each is a copy.
        let bytes = _mm256_permute4x64_epi64::<0b1000>(_mm256_packus_epi16(mixed, mixed));
        store_half(out, _mm256_castsi256_si128(bytes));
    }
    out.len() * 16
}

#[target_feature(enable = "avx2")]
pub fn grade_luma(row: &mut [u8], grade: LumaGrade) -> usize {
    let zero = _mm256_setzero_si256();
    let gain = _mm256_set1_epi16(grade.gain_q13);
    let offset = _mm256_set1_epi16(grade.offset_q4 + 8);
    let (chunks, _) = row.as_chunks_mut::<32>();
    for chunk in chunks.iter_mut() {
        let y = load(chunk);
        let low = _mm256_slli_epi16::<6>(_mm256_unpacklo_epi8(y, zero));
        let high = _mm256_slli_epi16::<6>(_mm256_unpackhi_epi8(y, zero));
        let low = _mm256_add_epi16(_mm256_mulhrs_epi16(low, gain), offset);
        let high = _mm256_add_epi16(_mm256_mulhrs_epi16(high, gain), offset);
        let graded = _mm256_packus_epi16(_mm256_srai_epi16::<4>(low), _mm256_srai_epi16::<4>(high));
        store(chunk, clamp(graded, LUMA));
    }
    chunks.len() * 32
}

#[target_feature(enable = "avx2")]
pub fn grade_chroma(u: &mut [u8], v: &mut [u8], grade: ChromaGrade) -> usize {
    let (cos, sin) = (grade.cos_q12, grade.sin_q12);
    let (to_u, to_v) = (pair(cos, -sin), pair(sin, cos));
    // The 128 that the plain twin takes off before and adds again afterwards, in one number.
    let bias = |row_sum: i32| (128 << 12) + 2048 - 128 * row_sum;
    let bias_u = bias(i32::from(cos) - i32::from(sin));
    let bias_v = bias(i32::from(sin) + i32::from(cos));
    let ((u, _), (v, _)) = (u.as_chunks_mut::<32>(), v.as_chunks_mut::<32>());
    for (u, v) in u.iter_mut().zip(v) {
        let pixels = interleave(load(u), load(v));
        store(u, clamp(narrow::<12>(madd(pixels, to_u), bias_u), CHROMA));
        store(v, clamp(narrow::<12>(madd(pixels, to_v), bias_v), CHROMA));
    }
    u.len() * 32
}

#[target_feature(enable = "avx2")]
pub fn rgb(y: &[u8], u: &[u8], v: &[u8], dst: &mut [u32]) -> usize {
    let zero = _mm256_setzero_si256();
    let (black, half) = (_mm256_set1_epi16(16), _mm256_set1_epi16(32));
    let (grey, gain) = (_mm256_set1_epi16(128), _mm256_set1_epi16(TO_RGB.luma));
    let chroma = |bytes: &[u8; 16]| {
        let wide = _mm256_cvtepu8_epi16(load_half(bytes));
        _mm256_slli_epi16::<8>(_mm256_sub_epi16(wide, grey))
    };
    let times = |value: __m256i, factor: i16| _mm256_mulhrs_epi16(value, _mm256_set1_epi16(factor));
    let luma = |wide: __m256i| {
        let above = _mm256_slli_epi16::<7>(_mm256_sub_epi16(wide, black));
        _mm256_adds_epi16(_mm256_mulhrs_epi16(above, gain), half)
    };
    // Every chroma value counts for two pixels: doubled, its low half belongs to the low half of
    // the luma, and so does the high one.
    let bytes = |low: __m256i, high: __m256i, chroma: __m256i| {
        let low = _mm256_adds_epi16(low, _mm256_unpacklo_epi16(chroma, chroma));
        let high = _mm256_adds_epi16(high, _mm256_unpackhi_epi16(chroma, chroma));
        _mm256_packus_epi16(_mm256_srai_epi16::<6>(low), _mm256_srai_epi16::<6>(high))
    };
    let ((y, _), (out, _)) = (y.as_chunks::<32>(), dst.as_chunks_mut::<32>());
    let ((u, _), (v, _)) = (u.as_chunks::<16>(), v.as_chunks::<16>());
    for (((y, u), v), out) in y.iter().zip(u).zip(v).zip(out.iter_mut()) {
        let (y, cb, cr) = (load(y), chroma(u), chroma(v));
        let (low, high) =
            (luma(_mm256_unpacklo_epi8(y, zero)), luma(_mm256_unpackhi_epi8(y, zero)));
        let green = _mm256_add_epi16(times(cb, TO_RGB.cb_green), times(cr, TO_RGB.cr_green));
        let red = bytes(low, high, times(cr, TO_RGB.cr_red));
        let green = bytes(low, high, _mm256_sub_epi16(zero, green));
        let blue = bytes(low, high, times(cb, TO_RGB.cb_blue));
        let (bg_low, bg_high) =
            (_mm256_unpacklo_epi8(blue, green), _mm256_unpackhi_epi8(blue, green));
        let (r_low, r_high) = (_mm256_unpacklo_epi8(red, zero), _mm256_unpackhi_epi8(red, zero));
        // Pixels 0 to 3 and 16 to 19, 4 to 7 and 20 to 23, and so on.
        let (a, b) = (_mm256_unpacklo_epi16(bg_low, r_low), _mm256_unpackhi_epi16(bg_low, r_low));
        let (c, d) =
            (_mm256_unpacklo_epi16(bg_high, r_high), _mm256_unpackhi_epi16(bg_high, r_high));
        let pixels = [
            _mm256_permute2x128_si256::<0x20>(a, b),
            _mm256_permute2x128_si256::<0x20>(c, d),
            _mm256_permute2x128_si256::<0x31>(a, b),
            _mm256_permute2x128_si256::<0x31>(c, d),
        ];
        // SAFETY: both are 128 bytes without invalid values.
        *out = unsafe { transmute::<[__m256i; 4], [u32; 32]>(pixels) };
    }
    out.len() * 32
}

#[target_feature(enable = "avx2")]
pub fn columns_4(row: &[u8], blocks: &[Block], dst: &mut [[i16; 16]]) {
    let window = |base: u32| row[base as usize..].first_chunk::<BLOCK_WINDOW>();
    let sign = _mm256_set1_epi8(i8::MIN);
    let next = _mm256_set1_epi8(1);
    for (block, out) in blocks.iter().zip(dst) {
        let (Some(low), Some(high)) = (window(block.base[0]), window(block.base[1])) else {
            // Never: the row is padded by a window.
            return;
        };
        let pixels =
            _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(load_half(low)), load_half(high));
        // Flipping the top bit takes 128 off; the shuffle puts the byte above 8 zero bits.
        let pixels = _mm256_xor_si256(pixels, sign);
        let tap_0 = load(&block.shuffle);
        let tap_1 = _mm256_add_epi8(tap_0, next);
        let tap_2 = _mm256_add_epi8(tap_1, next);
        let tap_3 = _mm256_add_epi8(tap_2, next);
        let [a, b, c, d] = [
            _mm256_mulhrs_epi16(_mm256_shuffle_epi8(pixels, tap_0), load_i16(&block.coefs[0])),
            _mm256_mulhrs_epi16(_mm256_shuffle_epi8(pixels, tap_1), load_i16(&block.coefs[1])),
            _mm256_mulhrs_epi16(_mm256_shuffle_epi8(pixels, tap_2), load_i16(&block.coefs[2])),
            _mm256_mulhrs_epi16(_mm256_shuffle_epi8(pixels, tap_3), load_i16(&block.coefs[3])),
        ];
        store_i16(out, _mm256_add_epi16(_mm256_add_epi16(a, b), _mm256_add_epi16(c, d)));
    }
}

/// The products of coefficients and pixels from `start` on; their sum is that of four parts.
#[inline]
#[target_feature(enable = "avx2")]
fn dot(row: &[u8], start: i32, coefs: &[[i16; 8]]) -> __m128i {
    let (pixels, _) = row[start as usize..].as_chunks::<8>();
    let mut sum = _mm_setzero_si128();
    for (pixels, coefs) in pixels[..coefs.len()].iter().zip(coefs) {
        let pixels = _mm_cvtepu8_epi16(_mm_cvtsi64_si128(i64::from_le_bytes(*pixels)));
        let centred = _mm_sub_epi16(pixels, _mm_set1_epi16(128));
        sum = _mm_add_epi32(sum, _mm_madd_epi16(centred, load_half_i16(coefs)));
    }
    sum
}

#[target_feature(enable = "avx2")]
pub fn columns(row: &[u8], starts: &[i32], taps: usize, coefs: &[i16], dst: &mut [i16]) -> usize {
    let (starts, _) = starts.as_chunks::<4>();
    let coefs = coefs.chunks_exact(4 * taps);
    let (dst, _) = dst.as_chunks_mut::<4>();
    let mut done = 0;
    for ((starts, coefs), out) in starts.iter().zip(coefs).zip(dst) {
        let (coefs, _) = coefs.as_chunks::<8>();
        let n = taps / 8;
        let a = dot(row, starts[0], &coefs[..n]);
        let b = dot(row, starts[1], &coefs[n..2 * n]);
        let c = dot(row, starts[2], &coefs[2 * n..3 * n]);
        let d = dot(row, starts[3], &coefs[3 * n..4 * n]);
        let sums = _mm_hadd_epi32(_mm_hadd_epi32(a, b), _mm_hadd_epi32(c, d));
        let sums = _mm_srai_epi32::<7>(_mm_add_epi32(sums, _mm_set1_epi32(64)));
        let packed = _mm_cvtsi128_si64(_mm_packs_epi32(sums, sums));
        // SAFETY: both are 8 bytes without invalid values.
        *out = unsafe { transmute::<i64, [i16; 4]>(packed) };
        done += 4;
    }
    done
}

#[target_feature(enable = "avx2")]
pub fn rows(ring: &[i16], rows: &[usize], coefs: &[i16], range: Range, dst: &mut [u8]) -> usize {
    let (out, _) = dst.as_chunks_mut::<32>();
    let row = |start: usize| ring[start..].as_chunks::<32>().0;
    if let (&[a, b, c, d], &[ca, cb, cc, cd]) = (rows, coefs) {
        // The common case, with the loop over the taps unrolled.
        let n = out.len();
        let (a, b, c, d) = (&row(a)[..n], &row(b)[..n], &row(c)[..n], &row(d)[..n]);
        let [ca, cb, cc, cd] = [
            _mm256_set1_epi16(ca),
            _mm256_set1_epi16(cb),
            _mm256_set1_epi16(cc),
            _mm256_set1_epi16(cd),
        ];
        for (i, out) in out.iter_mut().enumerate() {
            let ([a0, a1], [b0, b1]) = (halves(&a[i]), halves(&b[i]));
            let ([c0, c1], [d0, d1]) = (halves(&c[i]), halves(&d[i]));
            let ab0 = _mm256_add_epi16(_mm256_mulhrs_epi16(a0, ca), _mm256_mulhrs_epi16(b0, cb));
            let cd0 = _mm256_add_epi16(_mm256_mulhrs_epi16(c0, cc), _mm256_mulhrs_epi16(d0, cd));
            let ab1 = _mm256_add_epi16(_mm256_mulhrs_epi16(a1, ca), _mm256_mulhrs_epi16(b1, cb));
            let cd1 = _mm256_add_epi16(_mm256_mulhrs_epi16(c1, cc), _mm256_mulhrs_epi16(d1, cd));
            let sums = [_mm256_add_epi16(ab0, cd0), _mm256_add_epi16(ab1, cd1)];
            store(out, finish_rows(sums, range));
        }
    } else {
        for (i, out) in out.iter_mut().enumerate() {
            let mut sums = [_mm256_setzero_si256(); 2];
            for (&start, &coef) in rows.iter().zip(coefs) {
                let coef = _mm256_set1_epi16(coef);
                let [low, high] = halves(&row(start)[i]);
                sums[0] = _mm256_add_epi16(sums[0], _mm256_mulhrs_epi16(low, coef));
                sums[1] = _mm256_add_epi16(sums[1], _mm256_mulhrs_epi16(high, coef));
            }
            store(out, finish_rows(sums, range));
        }
    }
    out.len() * 32
}

#[inline]
#[target_feature(enable = "avx2")]
fn halves(values: &[i16; 32]) -> [__m256i; 2] {
    let (halves, _) = values.as_chunks::<16>();
    [load_i16(&halves[0]), load_i16(&halves[1])]
}

/// Filtered sums to bytes: the 128 added again, rounded, clamped.
#[inline]
#[target_feature(enable = "avx2")]
fn finish_rows(sums: [__m256i; 2], range: Range) -> __m256i {
    let bias = _mm256_set1_epi16((128 << 6) + 32);
    let low = _mm256_srai_epi16::<6>(_mm256_add_epi16(sums[0], bias));
    let high = _mm256_srai_epi16::<6>(_mm256_add_epi16(sums[1], bias));
    // The two halves come out of the pack crossed by lane.
    let bytes = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi16(low, high));
    clamp(bytes, range)
}

#[target_feature(enable = "avx2")]
pub fn average_2(src: &[u8], stride: usize, dst: &mut [u8]) -> usize {
    let (out, _) = dst.as_chunks_mut::<16>();
    let n = out.len();
    let row = |k: usize| &src[k * stride..].as_chunks::<32>().0[..n];
    let (a, b) = (row(0), row(1));
    let (bytes_1, words_2) = (_mm256_set1_epi8(1), _mm256_set1_epi16(2));
    for (i, out) in out.iter_mut().enumerate() {
        let sums = _mm256_add_epi16(
            _mm256_maddubs_epi16(load(&a[i]), bytes_1),
            _mm256_maddubs_epi16(load(&b[i]), bytes_1),
        );
        let averages = _mm256_srli_epi16::<2>(_mm256_add_epi16(sums, words_2));
        let bytes = _mm256_packus_epi16(averages, averages);
        // Each half's eight bytes.
        let bytes = _mm256_permute4x64_epi64::<0b11_01_10_00>(bytes);
        // SAFETY: both are 16 bytes without invalid values.
        *out = unsafe { transmute::<__m128i, [u8; 16]>(_mm256_castsi256_si128(bytes)) };
    }
    n * 16
}

#[target_feature(enable = "avx2")]
pub fn average_4(src: &[u8], stride: usize, dst: &mut [u8]) -> usize {
    let (out, _) = dst.as_chunks_mut::<8>();
    let n = out.len();
    let row = |k: usize| &src[k * stride..].as_chunks::<32>().0[..n];
    let (a, b, c, d) = (row(0), row(1), row(2), row(3));
    let (bytes_1, words_1) = (_mm256_set1_epi8(1), _mm256_set1_epi16(1));
    let half = _mm256_set1_epi32(8);
    for (i, out) in out.iter_mut().enumerate() {
        let ab = _mm256_add_epi16(
            _mm256_maddubs_epi16(load(&a[i]), bytes_1),
            _mm256_maddubs_epi16(load(&b[i]), bytes_1),
        );
        let cd = _mm256_add_epi16(
            _mm256_maddubs_epi16(load(&c[i]), bytes_1),
            _mm256_maddubs_epi16(load(&d[i]), bytes_1),
        );
        let sums = _mm256_madd_epi16(_mm256_add_epi16(ab, cd), words_1);
        let averages = _mm256_srli_epi32::<4>(_mm256_add_epi32(sums, half));
        let words = _mm256_packs_epi32(averages, averages);
        let bytes = _mm256_packus_epi16(words, words);
        let low = _mm256_extract_epi32::<0>(bytes).to_le_bytes();
        let high = _mm256_extract_epi32::<4>(bytes).to_le_bytes();
        out[..4].copy_from_slice(&low);
        out[4..].copy_from_slice(&high);
    }
    n * 8
}
