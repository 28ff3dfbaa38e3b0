//! The small picture of what is on air: a cheap downscale on the render thread, and its JPEG,
//! made elsewhere.
//!
//! Holds: [`preview`] allocates nothing. Chroma is taken to sit in the middle of its pixels: at
//! this size the quarter of a pixel does not show.

use jpeg_encoder::{Encoder, ImageBuffer, JpegColorType};

use super::kernels::Cpu;
use crate::base::error::{Error, Result};
use crate::media::{Frame, FrameMut, PlaneMut};

/// About this many pixels a preview is wide.
const PREVIEW_WIDTH: u32 = 480;

/// The size of the preview of a canvas: both sides divided by the same whole number, even.
pub fn preview_size((width, height): (u32, u32)) -> (u32, u32) {
    let factor = ((width + PREVIEW_WIDTH / 2) / PREVIEW_WIDTH).max(1);
    let even = |side: u32| (side / factor / 2 * 2).max(2);
    (even(width), even(height))
}

/// Shrinks a rendered canvas into `out`, each pixel the average of a square. `out` has the size
/// that [`preview_size`] says (or any other that is a whole number of times smaller).
pub fn preview(canvas: &FrameMut, out: &mut Frame) {
    let cpu = Cpu::detect();
    let out = out.as_mut();
    for (canvas, out) in [(&canvas.y, out.y), (&canvas.u, out.u), (&canvas.v, out.v)] {
        let PlaneMut { data, stride, width, height } = out;
        let factor = (canvas.width / width.max(1)).min(canvas.height / height.max(1));
        if factor == 0 {
            continue;
        }
        for (y, row) in data.chunks_exact_mut(stride.max(1)).enumerate() {
            let rows = &canvas.data[y * factor * canvas.stride..];
            cpu.average(rows, canvas.stride, factor, row);
        }
    }
}

/// The picture as RGB bytes, full range (sRGB), three per pixel, rows from the top.
pub fn to_rgb(frame: &Frame) -> Vec<u8> {
    let (width, chroma_width) = (frame.width as usize, frame.chroma_width());
    let mut rgb = Vec::with_capacity(3 * frame.y.len());
    for (y, row) in frame.y.chunks_exact(width.max(1)).enumerate() {
        let chroma = y / 2 * chroma_width;
        for (x, &luma) in row.iter().enumerate() {
            let at = chroma + x / 2;
            let luma = (f32::from(luma) - 16.0) * (255.0 / 219.0);
            let cb = (f32::from(frame.u[at]) - 128.0) * (255.0 / 224.0);
            let cr = (f32::from(frame.v[at]) - 128.0) * (255.0 / 224.0);
            // ITU-R BT.709: Kr = 0.2126, Kb = 0.0722. Casts to u8 saturate.
            rgb.extend([
                (luma + 1.5748 * cr + 0.5) as u8,
                (luma - 0.1873 * cb - 0.4681 * cr + 0.5) as u8,
                (luma + 1.8556 * cb + 0.5) as u8,
            ]);
        }
    }
    rgb
}

/// The picture as a JPEG (JFIF, so BT.601 full range inside); `quality` from 1 to 100. A picture
/// without pixels, or with a side over 65535, is an error.
pub fn jpeg(frame: &Frame, quality: u8) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let (Ok(width), Ok(height)) = (u16::try_from(frame.width), u16::try_from(frame.height)) else {
        return Err(Error::internal(format!("{frame:?} is too large for a JPEG")));
    };
    Encoder::new(&mut bytes, quality.clamp(1, 100))
        .encode_image(Jfif { frame, width, height })
        .map_err(|e| Error::internal(format!("cannot write {frame:?} as JPEG")).with_source(e))?;
    Ok(bytes)
}

/// A frame as JFIF wants it, straight from limited range BT.709.
struct Jfif<'a> {
    frame: &'a Frame,
    width: u16,
    height: u16,
}

/// 16 bits behind the point.
const fn fixed(x: f64) -> i32 {
    (x * 65536.0) as i32
}

const HALF: i32 = 1 << 15;
const LUMA: f64 = 255.0 / 219.0;
const CHROMA: f64 = 255.0 / 224.0;
// The matrix of BT.709 to R'G'B' and that of BT.601 back (ITU-R BT.709-6, 3; BT.601-7, 2.5.1),
// multiplied: luma has the same weight in all three.
const Y_CB: i32 = fixed(0.10159 * CHROMA);
const Y_CR: i32 = fixed(0.19609 * CHROMA);
const CB_CB: i32 = fixed(0.98984 * CHROMA);
const CB_CR: i32 = fixed(-0.11066 * CHROMA);
const CR_CB: i32 = fixed(-0.07246 * CHROMA);
const CR_CR: i32 = fixed(0.98340 * CHROMA);

impl ImageBuffer for Jfif<'_> {
    fn get_jpeg_color_type(&self) -> JpegColorType {
        JpegColorType::Ycbcr
    }

    fn width(&self) -> u16 {
        self.width
    }

    fn height(&self) -> u16 {
        self.height
    }

    fn fill_buffers(&self, y: u16, [out_y, out_cb, out_cr, _]: &mut [Vec<u8>; 4]) {
        let (y, width) = (usize::from(y), usize::from(self.width));
        let chroma_width = self.frame.chroma_width();
        let luma = &self.frame.y[y * width..][..width];
        let chroma = y / 2 * chroma_width..(y / 2 + 1) * chroma_width;
        let (u, v) = (&self.frame.u[chroma.clone()], &self.frame.v[chroma]);
        let byte = |sum: i32| ((sum + HALF) >> 16).clamp(0, 255) as u8;
        for ((pair, u), v) in luma.chunks(2).zip(u).zip(v) {
            let (u, v) = (i32::from(*u) - 128, i32::from(*v) - 128);
            let cb = byte(CB_CB * u + CB_CR * v + fixed(128.0));
            let cr = byte(CR_CB * u + CR_CR * v + fixed(128.0));
            for luma in pair {
                out_y.push(byte(fixed(LUMA) * (i32::from(*luma) - 16) + Y_CB * u + Y_CR * v));
                out_cb.push(cb);
                out_cr.push(cr);
            }
        }
    }
}
