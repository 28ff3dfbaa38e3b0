//! The small picture of what is on air: a cheap downscale on the render thread, and its JPEG,
//! made elsewhere.
//!
//! Holds: [`preview`] allocates nothing. Chroma is taken to sit in the middle of its pixels: at
//! this size the quarter of a pixel does not show.

use jpeg_encoder::{ColorType, Encoder};

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
        .encode(&to_rgb(frame), width, height, ColorType::Rgb)
        .map_err(|e| Error::internal(format!("cannot write {frame:?} as JPEG")).with_source(e))?;
    Ok(bytes)
}
