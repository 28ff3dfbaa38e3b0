//! A logo out of a PNG, at the size at which it is shown.

use std::io::Cursor;

use image::imageops::{FilterType, resize};
use image::{ImageFormat, ImageReader, Limits, RgbaImage};

use super::Bitmap;
use crate::base::error::{Error, Result};

/// The longest side of a PNG.
pub const MOST_PIXELS: u32 = 4096;

/// Reads a PNG. Colours are multiplied by alpha, so that scaling mixes no colour of what is clear.
///
/// # Errors
/// What is wrong with it, and what to do; without its name.
pub fn read(bytes: &[u8]) -> Result<RgbaImage> {
    let bad = |why: String| Error::usage(why);
    let mut reader = ImageReader::new(Cursor::new(bytes));
    reader.set_format(ImageFormat::Png);
    let mut limits = Limits::default();
    limits.max_image_width = Some(MOST_PIXELS);
    limits.max_image_height = Some(MOST_PIXELS);
    reader.limits(limits);
    if !bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        return Err(bad("this is no PNG; save the logo as PNG, with a clear background".into()));
    }
    let image = reader.decode().map_err(|e| match e {
        image::ImageError::Limits(_) => bad(format!(
            "the picture is larger than {MOST_PIXELS}x{MOST_PIXELS} pixels; save it smaller"
        )),
        e => bad(format!("the PNG cannot be read ({e}); save it again")),
    })?;
    let mut image = image.into_rgba8();
    for pixel in image.pixels_mut() {
        let alpha = u16::from(pixel.0[3]);
        for value in &mut pixel.0[..3] {
            *value = ((u16::from(*value) * alpha + 127) / 255) as u8;
        }
    }
    Ok(image)
}

/// As it is, or so much smaller that it fits.
pub fn within(logo: RgbaImage, (width, height): (u32, u32)) -> RgbaImage {
    let scale = (f64::from(width) / f64::from(logo.width()))
        .min(f64::from(height) / f64::from(logo.height()));
    if scale >= 1.0 {
        return logo;
    }
    let side = |pixels: u32| ((f64::from(pixels) * scale).round() as u32).max(1);
    resize(&logo, side(logo.width()), side(logo.height()), FilterType::CatmullRom)
}

/// The logo `height` pixels high, or less where it would be wider than `most_width`.
pub fn draw(logo: &RgbaImage, height: usize, most_width: usize) -> Bitmap {
    let (w, h) = (logo.width().max(1) as f64, logo.height().max(1) as f64);
    let scale = (height as f64 / h).min(most_width as f64 / w);
    let side = |pixels: f64| ((pixels * scale).round() as u32).max(1);
    let (width, height) = (side(w), side(h));
    let scaled = resize(logo, width, height, FilterType::CatmullRom);
    let pixels = scaled
        .pixels()
        .map(|pixel| {
            let [r, g, b, a] = pixel.0.map(|value| f32::from(value) / 255.0);
            // The filter overshoots.
            [r.min(a), g.min(a), b.min(a), a]
        })
        .collect();
    Bitmap { width: width as usize, height: height as usize, pixels }
}
