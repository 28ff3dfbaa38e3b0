//! The live look of the picture: what the performer does to it in one output frame.
//!
//! Holds: a look is plain numbers and may say anything; [`within`] brings each into its range where
//! it is used. The default changes nothing.

use crate::param::{ParamId, Values};

/// Which halves of the picture are mirrored into the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mirror {
    #[default]
    Off,
    /// The left half is seen in the right one.
    LeftRight,
    /// The upper half is seen in the lower one.
    TopBottom,
    Quad,
}

/// What the performer does to the picture. `docs/effects.md` says what each looks like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    /// The output frame that it is for: time goes by this, and chance is seeded by it.
    pub frame: u64,
    /// -1 (all black) to 1 (all white); 0 changes nothing.
    pub brightness: f32,
    /// 0 (flat grey) to 2, about mid grey; scales luma and chroma alike, as a contrast in RGB does.
    pub contrast: f32,
    /// 0 (grey) to 2.
    pub saturation: f32,
    /// Rotation of the chroma plane in degrees, from Cb towards Cr.
    pub hue_deg: f32,
    /// 0.2 to 5: the exponent is its inverse.
    pub gamma: f32,
    /// 0 to 1 (the negative).
    pub invert: f32,
    /// 0 (all steps of light) to 1 (two).
    pub posterise: f32,
    /// 0 to 1 (one hue only).
    pub tint: f32,
    /// On the colour wheel of RGB: 0 red, 120 green, 240 blue.
    pub tint_hue_deg: f32,
    /// 1 to 4, about the centre: at 2 the central half of width and height fills the canvas.
    pub zoom: f32,
    /// Clockwise, about the centre.
    pub rotation_deg: f32,
    /// To the right, in widths of the picture: -1 to 1.
    pub pan_x: f32,
    /// Downwards, in heights.
    pub pan_y: f32,
    pub mirror: Mirror,
    /// Segments, to 16; below 2 there is none.
    pub kaleidoscope: u32,
    /// 0 to 1; so with all that follow, but for those that say otherwise.
    pub rgb_split: f32,
    pub pixelate: f32,
    pub scan_lines: f32,
    pub glitch: f32,
    /// A burst of glitch begins in this frame.
    pub glitch_hit: bool,
    pub blur: f32,
    pub bloom: f32,
    pub edges: f32,
    pub trails: f32,
    /// 0.9 to 1.1, a frame of 1/60 s.
    pub trails_zoom: f32,
    /// -10 to 10 degrees, a frame of 1/60 s; clockwise.
    pub trails_rotation_deg: f32,
    /// 0 (off) to 25 flashes a second.
    pub strobe_hz: f32,
    pub strobe_depth: f32,
    /// A white flash begins in this frame.
    pub flash: bool,
    /// 1 is black.
    pub blackout: f32,
}

impl Look {
    /// The look of output frame `frame`: parameters as they are in it, and the triggers that were
    /// sent since the frame before.
    pub fn new(frame: u64, values: &Values, fired: &[ParamId]) -> Self {
        use ParamId as P;
        Look {
            frame,
            brightness: values[P::Brightness],
            contrast: values[P::Contrast],
            saturation: values[P::Saturation],
            hue_deg: values[P::Hue],
            gamma: values[P::Gamma],
            invert: values[P::Invert],
            posterise: values[P::Posterise],
            tint: values[P::Tint],
            tint_hue_deg: values[P::TintHue],
            zoom: values[P::Zoom],
            rotation_deg: values[P::Rotation],
            pan_x: values[P::PanX],
            pan_y: values[P::PanY],
            mirror: match values[P::Mirror].round() as i32 {
                1 => Mirror::LeftRight,
                2 => Mirror::TopBottom,
                3 => Mirror::Quad,
                _ => Mirror::Off,
            },
            kaleidoscope: values[P::Kaleidoscope].round() as u32,
            rgb_split: values[P::RgbSplit],
            pixelate: values[P::Pixelate],
            scan_lines: values[P::ScanLines],
            glitch: values[P::Glitch],
            glitch_hit: fired.contains(&P::GlitchHit),
            blur: values[P::Blur],
            bloom: values[P::Bloom],
            edges: values[P::Edges],
            trails: values[P::Trails],
            trails_zoom: values[P::TrailsZoom],
            trails_rotation_deg: values[P::TrailsRotation],
            strobe_hz: values[P::Strobe],
            strobe_depth: values[P::StrobeDepth],
            flash: fired.contains(&P::Flash),
            blackout: values[P::Blackout],
        }
    }
}

impl Default for Look {
    /// The look that changes nothing.
    fn default() -> Self {
        Look::new(0, &Values::default(), &[])
    }
}

/// `x` within these; what is no number is `neutral`.
pub(super) fn within(x: f32, min: f32, max: f32, neutral: f32) -> f32 {
    if x.is_nan() { neutral } else { x.clamp(min, max) }
}
