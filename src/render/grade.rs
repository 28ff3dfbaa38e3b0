//! The colour of a [`Look`], in the form in which pictures are graded.
//!
//! Brightness, contrast, saturation and hue are one line for luma and one matrix for chroma. Gamma,
//! negative, steps and tint bend luma by a table, and chroma goes with the luma under it.
//!
//! Holds: a [`Grade`] is made once per frame; its numbers are in the ranges that the kernels are
//! proved for, whatever the look says. A neutral look makes an empty grade.

use super::Look;
use super::look::within;

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

/// What becomes of chroma over luma of one value: `c * gain + (cb, cr)`, about 128.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Over {
    /// 8 fractional bits, 0 to 2.
    pub gain_q8: i16,
    pub cb: i16,
    pub cr: i16,
}

/// By the value of luma before.
#[derive(Clone, Debug)]
pub(super) struct Tone {
    pub luma: [u8; 256],
    /// `None`: chroma stays as it is.
    pub chroma: Option<[Over; 256]>,
}

/// A look's colour; `None` leaves the planes alone.
#[derive(Clone, Debug)]
pub(super) struct Grade {
    /// Where there is a tone it is in that.
    pub luma: Option<LumaGrade>,
    pub chroma: Option<ChromaGrade>,
    pub tone: Option<Tone>,
}

/// Half way between black (16) and white (235).
const MID_GREY: f32 = 125.5;
const LUMA_RANGE: f32 = 219.0;
/// Steps of light where posterising begins.
const MOST_STEPS: f32 = 32.0;

impl Grade {
    pub fn new(look: &Look) -> Self {
        let contrast = within(look.contrast, 0.0, 2.0, 1.0);
        let brightness = within(look.brightness, -1.0, 1.0, 0.0);
        let negative = within(look.invert, 0.0, 1.0, 0.0);
        let offset = MID_GREY * (1.0 - contrast) + LUMA_RANGE * brightness;
        let luma = LumaGrade {
            gain_q13: (contrast * 8192.0).round() as i16,
            offset_q4: (offset * 16.0).round() as i16,
        };
        let (sin, cos) = within(look.hue_deg, -1e4, 1e4, 0.0).to_radians().sin_cos();
        let saturation = within(look.saturation, 0.0, 2.0, 1.0);
        let size = contrast * saturation * (1.0 - 2.0 * negative) * 4096.0;
        let chroma = ChromaGrade {
            cos_q12: (cos * size).round() as i16,
            sin_q12: (sin * size).round() as i16,
        };
        let neutral_luma = LumaGrade { gain_q13: 8192, offset_q4: 0 };
        let neutral_chroma = ChromaGrade { cos_q12: 4096, sin_q12: 0 };
        let tone = Tone::new(look, |y| y * contrast + offset - 16.0);
        Grade {
            luma: (tone.is_none() && luma != neutral_luma).then_some(luma),
            chroma: (chroma != neutral_chroma).then_some(chroma),
            tone,
        }
    }

    pub fn is_neutral(&self) -> bool {
        self.luma.is_none() && self.chroma.is_none() && self.tone.is_none()
    }
}

impl Tone {
    /// `lit`: light, from 0 to 219, of a value of luma before.
    fn new(look: &Look, lit: impl Fn(f32) -> f32) -> Option<Self> {
        let gamma = within(look.gamma, 0.2, 5.0, 1.0);
        let negative = within(look.invert, 0.0, 1.0, 0.0);
        let posterise = within(look.posterise, 0.0, 1.0, 0.0);
        let tint = within(look.tint, 0.0, 1.0, 0.0);
        if (gamma, negative, posterise, tint) == (1.0, 0.0, 0.0, 0.0) {
            return None;
        }
        let steps = (2.0 * (MOST_STEPS / 2.0).powf(1.0 - posterise)).round();
        let hue = Hue::new(within(look.tint_hue_deg, -1e4, 1e4, 0.0));
        let mut luma = [0; 256];
        let mut chroma = [Over { gain_q8: 256, cb: 0, cr: 0 }; 256];
        for (y, (luma, over)) in luma.iter_mut().zip(&mut chroma).enumerate() {
            let before = (lit(y as f32) / LUMA_RANGE).clamp(0.0, 1.0);
            let curved = if gamma == 1.0 { before } else { before.powf(1.0 / gamma) };
            let turned = curved + (1.0 - 2.0 * curved) * negative;
            let stepped = turned + (step(turned, steps) - turned) * (posterise * 20.0).min(1.0);
            *luma = (16.0 + LUMA_RANGE * stepped).round().clamp(16.0, 235.0) as u8;
            // Colours are differences of light: they go with how steep the curve is.
            let slope = match gamma {
                1.0 => 1.0,
                _ => (before.max(0.02).powf(1.0 / gamma - 1.0) / gamma).clamp(0.25, 1.99),
            };
            let [cb, cr] = hue.at(stepped).map(|c| c * 224.0 * tint);
            *over = Over {
                gain_q8: (256.0 * slope * (1.0 - tint)).round() as i16,
                cb: cb.round() as i16,
                cr: cr.round() as i16,
            };
        }
        let bends = gamma != 1.0 || tint > 0.0;
        Some(Tone { luma, chroma: bends.then_some(chroma) })
    }
}

/// `x` as one of so many steps between dark and light; the fewer, the farther from black and white,
/// so that there is colour in all of them.
fn step(x: f32, steps: f32) -> f32 {
    let at = (x * steps).floor().min(steps - 1.0) / (steps - 1.0);
    0.5 + (at - 0.5) * (1.0 - 0.6 / steps)
}

/// A colour of full saturation: its light, and (Cb, Cr) within +-0.5.
struct Hue {
    luma: f32,
    chroma: [f32; 2],
}

impl Hue {
    fn new(degrees: f32) -> Self {
        let channel = |at: f32| {
            let away = (degrees - at).rem_euclid(360.0);
            (2.0 - away.min(360.0 - away) / 60.0).clamp(0.0, 1.0)
        };
        let (red, green, blue) = (channel(0.0), channel(120.0), channel(240.0));
        // ITU-R BT.709: Kr = 0.2126, Kb = 0.0722.
        let luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
        Hue { luma, chroma: [(blue - luma) / 1.8556, (red - luma) / 1.5748] }
    }

    /// Its (Cb, Cr) as dark or light as that: from black over the pure colour to white.
    fn at(&self, luma: f32) -> [f32; 2] {
        let share = match luma <= self.luma {
            true => luma / self.luma,
            false => (1.0 - luma) / (1.0 - self.luma),
        };
        self.chroma.map(|c| c * share)
    }
}
