//! The live look of the picture: colour, zoom, blackout; and its fixed-point form.
//!
//! Holds: a [`Grade`] is made once per frame from a [`Look`]; its numbers are in the ranges that
//! the kernels are proved for, whatever the look says. A neutral look makes an empty grade.

use crate::param::{ParamId, Values};

/// What the performer does to the picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    /// -1 (all black) to 1 (all white); 0 changes nothing.
    pub brightness: f32,
    /// 0 (flat grey) to 2, about mid grey; scales luma and chroma alike, as a contrast in RGB does.
    pub contrast: f32,
    /// 0 (grey) to 2.
    pub saturation: f32,
    /// Rotation of the chroma plane in degrees, from Cb towards Cr.
    pub hue_deg: f32,
    /// 1 to 4, about the centre: at 2 the central half of width and height fills the canvas.
    pub zoom: f32,
    pub blackout: bool,
}

impl Look {
    /// The look of output frame `frame`: parameters as they are in it, and the triggers that were
    /// sent since the frame before.
    pub fn new(_frame: u64, values: &Values, _fired: &[ParamId]) -> Self {
        Look {
            brightness: values[ParamId::Brightness],
            contrast: values[ParamId::Contrast],
            saturation: values[ParamId::Saturation],
            hue_deg: values[ParamId::Hue],
            zoom: values[ParamId::Zoom],
            blackout: values[ParamId::Blackout] >= 0.5,
        }
    }
}

impl Default for Look {
    /// The look that changes nothing.
    fn default() -> Self {
        Look::new(0, &Values::default(), &[])
    }
}

/// `y * gain + offset`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct LumaGrade {
    /// 13 fractional bits, 0 to 2.
    pub gain_q13: i16,
    /// 4 fractional bits, within +-345.
    pub offset_q4: i16,
}

/// Rotation and scaling of (Cb, Cr) about 128: `[cos, -sin; sin, cos]`, 12 fractional bits each,
/// within +-4.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ChromaGrade {
    pub cos_q12: i16,
    pub sin_q12: i16,
}

/// A look's colour; `None` leaves the planes alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Grade {
    pub luma: Option<LumaGrade>,
    pub chroma: Option<ChromaGrade>,
}

/// Half way between black (16) and white (235).
const MID_GREY: f32 = 125.5;
const LUMA_RANGE: f32 = 219.0;

impl Grade {
    pub fn new(look: &Look) -> Self {
        let contrast = look.contrast.clamp(0.0, 2.0);
        let brightness = look.brightness.clamp(-1.0, 1.0);
        let offset = MID_GREY * (1.0 - contrast) + LUMA_RANGE * brightness;
        let luma = LumaGrade {
            gain_q13: (contrast * 8192.0).round() as i16,
            offset_q4: (offset * 16.0).round() as i16,
        };
        let (sin, cos) = look.hue_deg.to_radians().sin_cos();
        let size = contrast * look.saturation.clamp(0.0, 2.0) * 4096.0;
        let chroma = ChromaGrade {
            cos_q12: (cos * size).round() as i16,
            sin_q12: (sin * size).round() as i16,
        };
        let neutral_luma = LumaGrade { gain_q13: 8192, offset_q4: 0 };
        let neutral_chroma = ChromaGrade { cos_q12: 4096, sin_q12: 0 };
        Grade {
            luma: (luma != neutral_luma).then_some(luma),
            chroma: (chroma != neutral_chroma).then_some(chroma),
        }
    }

    pub fn is_neutral(&self) -> bool {
        self.luma.is_none() && self.chroma.is_none()
    }
}
