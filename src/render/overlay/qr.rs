//! A QR code with its quiet zone, every module of the same whole number of pixels.

use qrcode::{Color, EcLevel, QrCode};

use super::Bitmap;
use crate::base::error::{Error, Result};

/// Modules of white around the code: ISO/IEC 18004 asks for four.
const QUIET: usize = 4;
/// Below that a phone does not read it off a stage.
const LEAST_MODULE_PX: usize = 2;

/// A code that leads to `address`, at most about `size_px` high.
///
/// # Errors
/// More text than a code holds, or too small to be read; says what to do.
pub fn draw(address: &str, size_px: usize) -> Result<Bitmap> {
    let code = QrCode::with_error_correction_level(address, EcLevel::M)
        .map_err(|e| Error::usage(format!("{address:?} does not fit into a QR code: {e}")))?;
    let modules = code.width() + 2 * QUIET;
    let module = size_px / modules;
    if module < LEAST_MODULE_PX {
        return Err(Error::usage(format!(
            "the QR code is too small to be read: it has {modules} modules across and {size_px} \
             pixels; make /overlay/qr/size at least {:.2} times as large, or shorten the address",
            (modules * LEAST_MODULE_PX) as f64 / size_px.max(1) as f64
        )));
    }
    let size = modules * module;
    let mut bitmap = Bitmap { width: size, height: size, pixels: vec![[1.0; 4]; size * size] };
    for (place, pixel) in bitmap.pixels.iter_mut().enumerate() {
        let within = |at: usize| (at / module).checked_sub(QUIET).filter(|m| *m < code.width());
        if let (Some(x), Some(y)) = (within(place % size), within(place / size))
            && code[(x, y)] == Color::Dark
        {
            *pixel = [0.0, 0.0, 0.0, 1.0];
        }
    }
    Ok(bitmap)
}
