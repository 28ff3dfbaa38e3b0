//! sRGB pictures to and from frames: BT.709, limited range, chroma averaged over 2x2 pixels.
//!
//! Holds: fixed point with 16 fractional bits, rounded to nearest, so the same picture gives the
//! same bytes on every machine. Chroma samples sit in the middle of their four pixels, both ways.

use image::RgbImage;

use crate::media::Frame;

/// `value * 2^16`, rounded.
const fn fix(value: f64) -> i32 {
    (value * 65_536.0 + if value < 0.0 { -0.5 } else { 0.5 }) as i32
}

const KR: f64 = 0.2126;
const KB: f64 = 0.0722;
const KG: f64 = 1.0 - KR - KB;
/// Limited range: 219 steps of luma, 224 of chroma, for 255 of RGB.
const LUMA: f64 = 219.0 / 255.0;
const CHROMA: f64 = 224.0 / 255.0;

const Y_R: i32 = fix(KR * LUMA);
const Y_G: i32 = fix(KG * LUMA);
const Y_B: i32 = fix(KB * LUMA);
const U_R: i32 = fix(-0.5 * KR / (1.0 - KB) * CHROMA);
const U_B: i32 = fix(0.5 * CHROMA);
/// The three add up to nothing, so that grey is exactly 128.
const U_G: i32 = -U_R - U_B;
const V_R: i32 = fix(0.5 * CHROMA);
const V_B: i32 = fix(-0.5 * KB / (1.0 - KR) * CHROMA);
const V_G: i32 = -V_R - V_B;

const R_V: i32 = fix(2.0 * (1.0 - KR) / CHROMA);
const G_U: i32 = fix(-2.0 * (1.0 - KB) * KB / KG / CHROMA);
const G_V: i32 = fix(-2.0 * (1.0 - KR) * KR / KG / CHROMA);
const B_U: i32 = fix(2.0 * (1.0 - KB) / CHROMA);
const FROM_Y: i32 = fix(1.0 / LUMA);

#[inline]
fn luma(p: &[u8]) -> u8 {
    let sum = Y_R * i32::from(p[0]) + Y_G * i32::from(p[1]) + Y_B * i32::from(p[2]);
    ((sum + (16 << 16) + 32_768) >> 16) as u8
}

/// Converts a whole picture of any size, odd ones included.
pub fn rgb_to_frame(picture: &RgbImage) -> Frame {
    let (width, height) = picture.dimensions();
    let mut frame = Frame::black(width, height);
    if width == 0 || height == 0 {
        return frame;
    }
    let (w, h, cw) = (width as usize, height as usize, frame.chroma_width());
    let rgb = picture.as_raw();
    for (out, row) in frame.y.chunks_exact_mut(w).zip(rgb.chunks_exact(3 * w)) {
        for (y, p) in out.iter_mut().zip(row.chunks_exact(3)) {
            *y = luma(p);
        }
    }
    let chroma = frame.u.chunks_exact_mut(cw).zip(frame.v.chunks_exact_mut(cw));
    for (cy, (u_row, v_row)) in chroma.enumerate() {
        let top = &rgb[2 * cy * 3 * w..][..3 * w];
        // The last row and column of an odd size stand in for what is missing.
        let bottom = &rgb[(2 * cy + 1).min(h - 1) * 3 * w..][..3 * w];
        let pairs = top.chunks(6).zip(bottom.chunks(6));
        for ((u, v), (t, b)) in u_row.iter_mut().zip(v_row.iter_mut()).zip(pairs) {
            let right = if t.len() == 6 { 3 } else { 0 };
            let sum = |c: usize| {
                i32::from(t[c])
                    + i32::from(t[right + c])
                    + i32::from(b[c])
                    + i32::from(b[right + c])
            };
            let (r, g, b) = (sum(0), sum(1), sum(2));
            let round = (128 << 18) + 131_072;
            *u = ((U_R * r + U_G * g + U_B * b + round) >> 18) as u8;
            *v = ((V_R * r + V_G * g + V_B * b + round) >> 18) as u8;
        }
    }
    frame
}

/// Converts a whole frame back; chroma is interpolated between its samples.
pub fn frame_to_rgb(frame: &Frame) -> RgbImage {
    let mut picture = RgbImage::new(frame.width, frame.height);
    if frame.width == 0 || frame.height == 0 {
        return picture;
    }
    let (w, cw, ch) = (frame.width as usize, frame.chroma_width(), frame.chroma_height());
    // One row of each chroma plane, three parts of the nearer row and one of the farther.
    let mut u_mix = vec![0i32; cw];
    let mut v_mix = vec![0i32; cw];
    for (y, (out, luma)) in picture.chunks_exact_mut(3 * w).zip(frame.y.chunks_exact(w)).enumerate()
    {
        let near = y / 2;
        let far = if y % 2 == 0 { near.saturating_sub(1) } else { (near + 1).min(ch - 1) };
        for (mix, plane) in [(&mut u_mix, &frame.u), (&mut v_mix, &frame.v)] {
            let (near, far) = (&plane[near * cw..][..cw], &plane[far * cw..][..cw]);
            for ((m, &n), &f) in mix.iter_mut().zip(near).zip(far) {
                *m = 3 * i32::from(n) + i32::from(f) - 4 * 128;
            }
        }
        for (x, (p, &l)) in out.chunks_exact_mut(3).zip(luma).enumerate() {
            let near = x / 2;
            let far = if x % 2 == 0 { near.saturating_sub(1) } else { (near + 1).min(cw - 1) };
            // Sixteen times the chroma, about zero.
            let u = 3 * u_mix[near] + u_mix[far];
            let v = 3 * v_mix[near] + v_mix[far];
            let l = FROM_Y * (i32::from(l) - 16) + 32_768;
            p[0] = ((l + ((R_V * v) >> 4)) >> 16).clamp(0, 255) as u8;
            p[1] = ((l + ((G_U * u + G_V * v) >> 4)) >> 16).clamp(0, 255) as u8;
            p[2] = ((l + ((B_U * u) >> 4)) >> 16).clamp(0, 255) as u8;
        }
    }
    picture
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    #[test]
    fn known_colours_land_where_bt709_says() {
        for (rgb, yuv) in [
            ([255, 255, 255], [235, 128, 128]),
            ([0, 0, 0], [16, 128, 128]),
            ([128, 128, 128], [126, 128, 128]),
            ([255, 0, 0], [63, 102, 240]),
            ([0, 255, 0], [173, 42, 26]),
            ([0, 0, 255], [32, 240, 118]),
        ] {
            let frame = rgb_to_frame(&RgbImage::from_pixel(4, 2, Rgb(rgb)));
            assert_eq!([frame.y[0], frame.u[0], frame.v[0]], yuv, "{rgb:?}");
            let back = frame_to_rgb(&frame).get_pixel(1, 1).0;
            for c in 0..3 {
                assert!(back[c].abs_diff(rgb[c]) <= 2, "{rgb:?} came back as {back:?}");
            }
        }
    }

    #[test]
    fn smooth_pictures_survive_the_round_trip() {
        for (w, h) in [(64, 48), (65, 49), (1, 1), (2, 3)] {
            let picture = RgbImage::from_fn(w, h, |x, y| {
                Rgb([(40 + 2 * x) as u8, (200 - 2 * y) as u8, (60 + x + y) as u8])
            });
            let frame = rgb_to_frame(&picture);
            assert_eq!(frame.u.len(), frame.chroma_width() * frame.chroma_height());
            let back = frame_to_rgb(&frame);
            assert_eq!(back.dimensions(), (w, h));
            let worst = picture.iter().zip(back.iter()).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(worst.unwrap() <= 4, "{w}x{h}: {worst:?}");
        }
    }
}
