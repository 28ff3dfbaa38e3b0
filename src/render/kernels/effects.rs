//! The inner loops of the effects over rows. Each is written once, in plain Rust, and compiled
//! twice: as it is, and for AVX2. So both agree to the bit by construction, as nothing here is
//! rounded in an order that a compiler may choose; a test holds that.
//!
//! Factors are 16 bits so that a compiler sees that no sum overflows, and vectors are used also where
//! overflow is checked for.

use super::{CHROMA, Cpu, LUMA, Range};
use crate::render::grade::Over;

/// Methods of [`Cpu`] that are compiled a second time for AVX2.
macro_rules! rows {
    ($($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),* $(,)?) $body:block)*) => {
        impl Cpu {
            $($(#[$doc])*
            pub fn $name(self, $($arg: $type),*) {
                #[inline(always)]
                fn plain($($arg: $type),*) $body
                #[cfg(target_arch = "x86_64")]
                #[target_feature(enable = "avx2")]
                fn wide($($arg: $type),*) {
                    plain($($arg),*);
                }
                #[cfg(target_arch = "x86_64")]
                if self.avx2 {
                    // SAFETY: the processor has AVX2.
                    return unsafe { wide($($arg),*) };
                }
                plain($($arg),*);
            })*
        }
    };
}

fn clamp(value: i32, range: Range) -> u8 {
    value.clamp(range.min.into(), range.max.into()) as u8
}

rows! {
    /// Luma by a table.
    fn bend(row: &mut [u8], table: &[u8; 256]) {
        for y in row {
            *y = table[usize::from(*y)];
        }
    }

    /// A row of both chroma planes by the luma over it: that of two rows, whose every other pixel
    /// counts.
    fn bend_chroma(u: &mut [u8], v: &mut [u8], luma: [&[u8]; 2], table: &[Over; 256]) {
        let v = &mut v[..u.len()];
        let above = luma[0].iter().step_by(2).zip(luma[1].iter().step_by(2));
        for ((u, v), (a, b)) in u.iter_mut().zip(v).zip(above) {
            let over = table[usize::from(a.midpoint(*b))];
            let place = |c: u8, to: i16| {
                let scaled = ((i32::from(c) - 128) * i32::from(over.gain_q8) + 128) >> 8;
                clamp(scaled + i32::from(to) + 128, CHROMA)
            };
            (*u, *v) = (place(*u, over.cb), place(*v, over.cr));
        }
    }

    /// What lingers of `before` is added to `now`: so much of the difference, with 14 fractional
    /// bits. Always rounded towards `now`, so that nothing stays for ever.
    fn linger(now: &mut [u8], before: &[u8], keep_q14: i16) {
        for (now, &before) in now.iter_mut().zip(before) {
            let away = i32::from(before) - i32::from(*now);
            *now = (i32::from(*now) + away * i32::from(keep_q14) / (1 << 14)) as u8;
        }
    }

    /// Light over light, as two projectors on one screen; `share` with 8 fractional bits.
    fn screen(row: &mut [u8], light: &[u8], share_q8: i16) {
        for (y, &light) in row.iter_mut().zip(light) {
            let light = ((i32::from(light) - 16).max(0) * i32::from(share_q8)) >> 8;
            // 299 / 2^16: of the range of luma.
            let more = ((235 - i32::from(*y)) * light.clamp(0, 1023) * 299 + (1 << 15)) >> 16;
            *y = clamp(i32::from(*y) + more, LUMA);
        }
    }

    /// Adds the colour of `light` to a row of chroma.
    fn screen_chroma(row: &mut [u8], light: &[u8], share_q8: i16) {
        for (c, &light) in row.iter_mut().zip(light) {
            let more = ((i32::from(light) - 128) * i32::from(share_q8) + 128) >> 8;
            *c = clamp(i32::from(*c) + more, CHROMA);
        }
    }

    /// How steep a row of luma is (Sobel), from rows with a pixel more on both sides: what is above
    /// `least`, times `gain` with 4 fractional bits.
    fn steepness(rows: [&[u8]; 3], least: i16, gain_q4: i16, out: &mut [u8]) {
        let n = out.len();
        // Each row three times: the pixel before, here, and behind.
        let [a, b, c] = rows.map(|row| [&row[..n], &row[1..][..n], &row[2..][..n]]);
        for i in 0..n {
            let at = |row: &[u8]| i32::from(row[i]);
            let right = at(a[2]) + 2 * at(b[2]) + at(c[2]);
            let left = at(a[0]) + 2 * at(b[0]) + at(c[0]);
            let below = at(c[0]) + 2 * at(c[1]) + at(c[2]);
            let above = at(a[0]) + 2 * at(a[1]) + at(a[2]);
            // The length of the gradient, within a few hundredths.
            let (across, down) = ((right - left).abs(), (below - above).abs());
            let (more, less) = (across.max(down), across.min(down));
            let steep = (more + ((3 * less) >> 3) - i32::from(least)).max(0);
            out[i] = ((steep * i32::from(gain_q4)) >> 4).min(219) as u8;
        }
    }

    /// Luma gives way to its outlines.
    fn outline(row: &mut [u8], edge: &[u8], share_q8: i16) {
        for (y, &edge) in row.iter_mut().zip(edge) {
            let away = 16 + i32::from(edge) - i32::from(*y);
            *y = (i32::from(*y) + ((away * i32::from(share_q8) + 128) >> 8)) as u8;
        }
    }

    /// So does chroma: `edge` is that of the luma over it, every other pixel of which counts.
    fn outline_chroma(row: &mut [u8], edge: &[u8], share_q8: i16) {
        let share = i32::from(share_q8);
        let soften = |c: &mut u8, edge: u8| {
            // Up to twice its colour, in full on outlines as bright as half.
            let gain = 256 - share + ((share * i32::from(edge.min(110)) * 19) >> 10);
            *c = clamp(128 + (((i32::from(*c) - 128) * gain + 128) >> 8), CHROMA);
        };
        let (pairs, last) = edge.as_chunks::<2>();
        for (c, edge) in row.iter_mut().zip(pairs) {
            soften(c, edge[0]);
        }
        if let (Some(c), Some(edge)) = (row.get_mut(pairs.len()), last.first()) {
            soften(c, *edge);
        }
    }

    /// `sum += row * weight`.
    fn weigh(sum: &mut [u16], row: &[u8], weight: u16) {
        for (sum, &p) in sum.iter_mut().zip(row) {
            *sum = sum.wrapping_add(u16::from(p).wrapping_mul(weight));
        }
    }

    /// `sum += (a + b) * weight`.
    fn weigh_two(sum: &mut [u16], a: &[u8], b: &[u8], weight: u16) {
        for ((sum, &a), &b) in sum.iter_mut().zip(a).zip(b) {
            *sum = sum.wrapping_add((u16::from(a) + u16::from(b)).wrapping_mul(weight));
        }
    }

    /// Sums of weights that are 256 together, as bytes.
    fn weighed(sum: &[u16], out: &mut [u8]) {
        for (out, &sum) in out.iter_mut().zip(sum) {
            *out = (sum.saturating_add(128) >> 8) as u8;
        }
    }

    /// A row from the places `at` on, moved by a part of a pixel (6 fractional bits).
    fn shift(row: &[u8], part_q6: i16, out: &mut [u8]) {
        let n = out.len();
        let (here, next) = (&row[..n], &row[1..][..n]);
        let part = i32::from(part_q6);
        for i in 0..n {
            out[i] = ((i32::from(here[i]) * (64 - part) + i32::from(next[i]) * part + 32) >> 6) as u8;
        }
    }

    /// Every value twice.
    fn twice(row: &[i16], out: &mut [i16]) {
        let (pairs, last) = out.as_chunks_mut::<2>();
        for (pair, &value) in pairs.iter_mut().zip(row) {
            *pair = [value; 2];
        }
        if let (Some(out), Some(value)) = (last.first_mut(), row.last()) {
            *out = *value;
        }
    }

    /// A row of luma whose red and blue come from elsewhere: `red` and `blue` are the luma there,
    /// `chroma` is what [`Cpu::split_light`] says, each value twice.
    fn split_luma(row: &mut [u8], red: &[u8], blue: &[u8], chroma: &[i16]) {
        let n = row.len();
        let (red, blue, chroma) = (&red[..n], &blue[..n], &chroma[..n]);
        for i in 0..n {
            let (r, b) = (i32::from(red[i]), i32::from(blue[i]));
            // Kr, Kg and Kb of BT.709 with 12 fractional bits.
            let sum = 871 * r + 2929 * i32::from(row[i]) + 296 * b;
            let more = i32::from(chroma[i]) << 4;
            row[i] = clamp((sum + more + 2048) >> 12, LUMA);
        }
    }

    /// What red and blue of other chroma add to luma, with 8 fractional bits: `u` and `v` are the
    /// chroma here, and where blue and red come from.
    fn split_light(u: [&[u8]; 2], v: [&[u8]; 2], out: &mut [i16]) {
        let n = out.len();
        let ([u, blue], [v, red]) = (u.map(|row| &row[..n]), v.map(|row| &row[..n]));
        for i in 0..n {
            let cr = i32::from(red[i]) - i32::from(v[i]);
            let cb = i32::from(blue[i]) - i32::from(u[i]);
            // Kr 1.5748 and Kb 1.8556, times 219/224, with 8 fractional bits.
            out[i] = (84 * cr + 34 * cb) as i16;
        }
    }

    /// Chroma of a channel that comes from elsewhere, in place: the luma of two rows there and what
    /// luma has become here; `factor` has 12 fractional bits.
    fn split_colour(row: &mut [u8], there: [&[u8]; 2], here: [&[u8]; 2], factor_q12: i16) {
        let place = |c: &mut u8, there: [u8; 2], here: [u8; 2]| {
            let sum = |two: [u8; 2]| i32::from(two[0]) + i32::from(two[1]);
            let away = sum(there) - sum(here);
            *c = clamp(i32::from(*c) + ((away * i32::from(factor_q12) + 4096) >> 13), CHROMA);
        };
        let [(a, a_last), (b, b_last)] = there.map(<[u8]>::as_chunks::<2>);
        let [(c, c_last), (d, d_last)] = here.map(<[u8]>::as_chunks::<2>);
        let n = a.len();
        let (b, c, d) = (&b[..n], &c[..n], &d[..n]);
        for (i, row) in row.iter_mut().take(n).enumerate() {
            place(row, [a[i][0], b[i][0]], [c[i][0], d[i][0]]);
        }
        if let ([a], [b], [c], [d]) = (a_last, b_last, c_last, d_last)
            && let Some(row) = row.get_mut(n)
        {
            place(row, [*a, *b], [*c, *d]);
        }
    }
}
