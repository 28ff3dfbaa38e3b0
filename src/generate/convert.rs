//! Between the generators' sRGB pictures and the show's frames: BT.709, limited range. Chroma is
//! the mean of the two by two pixels that it covers.

use image::{Rgb, RgbImage};

use crate::media::Frame;

const KR: f32 = 0.2126;
const KB: f32 = 0.0722;
const KG: f32 = 1.0 - KR - KB;

/// To I420; any size, odd ones included.
pub fn rgb_to_frame(image: &RgbImage) -> Frame {
    let (width, height) = image.dimensions();
    let mut frame = Frame::black(width, height);
    let chroma_width = frame.chroma_width();
    let mut sums = vec![(0.0_f32, 0.0_f32, 0.0_f32); frame.u.len()];
    for (x, y, Rgb(rgb)) in image.enumerate_pixels() {
        let [r, g, b] = rgb.map(|c| f32::from(c) / 255.0);
        let luma = KR * r + KG * g + KB * b;
        frame.y[(y * width + x) as usize] = (16.0 + 219.0 * luma).round() as u8;
        let sum = &mut sums[(y / 2) as usize * chroma_width + (x / 2) as usize];
        sum.0 += (b - luma) / (2.0 * (1.0 - KB));
        sum.1 += (r - luma) / (2.0 * (1.0 - KR));
        sum.2 += 1.0;
    }
    for (i, (cb, cr, count)) in sums.into_iter().enumerate() {
        frame.u[i] = (128.0 + 224.0 * cb / count).round() as u8;
        frame.v[i] = (128.0 + 224.0 * cr / count).round() as u8;
    }
    frame
}

/// Back to sRGB; chroma of the nearest sample.
pub fn frame_to_rgb(frame: &Frame) -> RgbImage {
    let (width, chroma_width) = (frame.width, frame.chroma_width());
    RgbImage::from_fn(width, frame.height, |x, y| {
        let chroma = (y / 2) as usize * chroma_width + (x / 2) as usize;
        let luma = (f32::from(frame.y[(y * width + x) as usize]) - 16.0) / 219.0;
        let cb = (f32::from(frame.u[chroma]) - 128.0) / 224.0;
        let cr = (f32::from(frame.v[chroma]) - 128.0) / 224.0;
        let r = luma + 2.0 * (1.0 - KR) * cr;
        let b = luma + 2.0 * (1.0 - KB) * cb;
        let g = (luma - KR * r - KB * b) / KG;
        Rgb([r, g, b].map(|c| (c.clamp(0.0, 1.0) * 255.0).round() as u8))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flat_colours_survive_both_ways() {
        for rgb in [[255, 255, 255], [0, 0, 0], [200, 30, 60], [10, 120, 250], [90, 220, 40]] {
            let image = RgbImage::from_pixel(5, 3, Rgb(rgb));
            let back = frame_to_rgb(&rgb_to_frame(&image));
            for (a, b) in back.get_pixel(4, 2).0.into_iter().zip(rgb) {
                assert!(a.abs_diff(b) <= 3, "{rgb:?} came back as {:?}", back.get_pixel(4, 2));
            }
        }
        let white = rgb_to_frame(&RgbImage::from_pixel(2, 2, Rgb([255; 3])));
        assert_eq!((white.y[0], white.u[0], white.v[0]), (235, 128, 128));
    }
}
