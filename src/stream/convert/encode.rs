//! Encoders for work that is not live: constant quality, pictures that look ahead and back.
//!
//! The elements are those of a show (`stream/encoding/ladder`); what stands here in [`SETTINGS`]
//! comes from the same documentation. A setting is made only where the element has that property.

use std::time::Duration;

use gstreamer as gst;

use crate::base::error::{Error, Result};
use crate::base::time::FrameRate;
use crate::config::Encoder;
use crate::stream::encoding::EncodeSettings;
use crate::stream::encoding::ladder::{self, Patience, Rung};
use crate::stream::make;

/// Seconds from key frame to key frame, so that players jump to where they should.
const KEY_SECONDS: f64 = 2.0;
/// The worst quality, as x264 counts.
pub const WORST_CRF: u32 = 50;

/// At which size an encoder is tried where none is known yet.
const TRIAL_SIZE: (u32, u32) = (1920, 1080);
const TRIAL: Patience =
    Patience { open: Duration::from_secs(10), measure: Duration::from_millis(10), pictures: 3 };

/// How much work x264 puts into every bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum X264Preset {
    Ultrafast,
    Superfast,
    Veryfast,
    Faster,
    Fast,
    #[default]
    Medium,
    Slow,
    Slower,
    Veryslow,
}

impl X264Preset {
    /// Its name in x264.
    pub fn name(self) -> &'static str {
        match self {
            X264Preset::Ultrafast => "ultrafast",
            X264Preset::Superfast => "superfast",
            X264Preset::Veryfast => "veryfast",
            X264Preset::Faster => "faster",
            X264Preset::Fast => "fast",
            X264Preset::Medium => "medium",
            X264Preset::Slow => "slow",
            X264Preset::Slower => "slower",
            X264Preset::Veryslow => "veryslow",
        }
    }
}

/// What a property is set to.
enum Set {
    /// x264's speed preset.
    Preset,
    /// The first of these that this element knows.
    To(&'static [&'static str]),
    /// The quality, worse by so much.
    Quality(u32),
    /// Frames from one key frame to the next.
    KeyInterval,
}

use Set::{KeyInterval, Preset, Quality, To};

const SETTINGS: &[(Encoder, &[(&str, Set)])] = &[
    (
        Encoder::X264,
        &[
            ("pass", To(&["qual"])),
            ("quantizer", Quality(0)),
            ("speed-preset", Preset),
            // Without a limit: x264enc keeps to `bitrate`, 2 Mb/s, otherwise, whatever the quality.
            ("vbv-buf-capacity", To(&["0"])),
            ("key-int-max", KeyInterval),
        ],
    ),
    (
        Encoder::Nvenc,
        &[
            ("preset", To(&["p5", "hq"])),
            ("tune", To(&["high-quality"])),
            ("rc-mode", To(&["vbr"])),
            ("const-quality", Quality(0)),
            ("bframes", To(&["2"])),
            ("b-frames", To(&["2"])),
            ("gop-size", KeyInterval),
        ],
    ),
    (
        Encoder::Vaapi,
        &[
            ("rate-control", To(&["cqp"])),
            ("qpi", Quality(0)),
            ("qpp", Quality(2)),
            ("qpb", Quality(4)),
            ("init-qp", Quality(0)),
            ("b-frames", To(&["2"])),
            ("max-bframes", To(&["2"])),
            ("target-usage", To(&["2"])),
            ("quality-level", To(&["2"])),
            ("key-int-max", KeyInterval),
            ("keyframe-period", KeyInterval),
        ],
    ),
    (
        Encoder::OpenH264,
        &[
            ("rate-control", To(&["quality"])),
            // It has no constant quality; between equal limits it has no choice.
            ("qp-min", Quality(0)),
            ("qp-max", Quality(0)),
            ("bitrate", To(&["100000000"])),
            ("complexity", To(&["high"])),
            ("gop-size", KeyInterval),
        ],
    ),
];

/// Finds the element for an encoder. One that needs hardware is tried.
///
/// # Errors
/// It is not installed, or does not work here.
pub fn find(encoder: Encoder, size: Option<(u32, u32)>, fps: FrameRate) -> Result<Rung> {
    try_out(encoder, size, fps).map_err(|why| {
        Error::unavailable(format!(
            "--encoder: this encoder does not work here: {why}; libx264 needs no hardware"
        ))
    })
}

/// `Err` says why it does not work.
fn try_out(
    encoder: Encoder,
    size: Option<(u32, u32)>,
    fps: FrameRate,
) -> std::result::Result<Rung, String> {
    let family = ladder::family(encoder);
    let mut why = format!("{} is not installed; it is in {}", family.factories[0], family.package);
    for rung in ladder::installed(encoder) {
        if matches!(encoder, Encoder::X264 | Encoder::OpenH264) {
            return Ok(rung);
        }
        let settings = EncodeSettings {
            canvas: size.unwrap_or(TRIAL_SIZE),
            fps,
            bitrate_kbps: 6000,
            keyframe_seconds: KEY_SECONDS,
            preset: None,
            lean: false,
            view: Default::default(),
        };
        match ladder::trial(rung, &settings, TRIAL) {
            Ok(_) => return Ok(rung),
            Err(error) => why = error.to_string(),
        }
    }
    Err(why)
}

/// The first encoder in the order of preference that works here.
///
/// # Errors
/// None does; says what is wrong with each.
pub fn first_that_works(preference: &[Encoder], size: (u32, u32), fps: FrameRate) -> Result<Rung> {
    let mut why = Vec::new();
    for encoder in preference {
        match try_out(*encoder, Some(size), fps) {
            Ok(rung) => return Ok(rung),
            Err(text) => why.push(text),
        }
    }
    Err(Error::unavailable(format!(
        "finalizer.encoder_preference: no encoder in it works here: {}; libx264 needs no hardware",
        why.join("; ")
    )))
}

/// Makes and sets an encoder.
pub fn make_encoder(
    rung: Rung,
    crf: u32,
    preset: X264Preset,
    fps: FrameRate,
) -> Result<gst::Element> {
    let element = make(rung.factory)?;
    let settings = SETTINGS.iter().find(|(encoder, _)| *encoder == rung.encoder);
    for (property, to) in settings.map_or(&[][..], |(_, settings)| settings) {
        match to {
            To(values) => {
                values.iter().any(|value| ladder::set(&element, property, value));
            }
            Preset => {
                ladder::set(&element, property, preset.name());
            }
            Quality(worse) => {
                ladder::set(&element, property, &(crf + worse).min(51).to_string());
            }
            KeyInterval => {
                let frames = (fps.as_f64() * KEY_SECONDS).ceil() as u32;
                ladder::set(&element, property, &frames.to_string());
            }
        }
    }
    Ok(element)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoder_has_settings() {
        for family in ladder::FAMILIES {
            assert!(SETTINGS.iter().any(|(encoder, _)| *encoder == family.encoder));
        }
    }

    #[test]
    fn what_is_installed_takes_its_settings() {
        gst::init().unwrap();
        for encoder in [Encoder::X264, Encoder::OpenH264] {
            let rung = find(encoder, None, FrameRate::whole(60)).unwrap();
            let element = make_encoder(rung, 23, X264Preset::Slow, FrameRate::whole(60)).unwrap();
            let (_, settings) = SETTINGS.iter().find(|(of, _)| *of == encoder).unwrap();
            for (property, _) in *settings {
                use gst::prelude::*;
                assert!(element.has_property(property), "{}: {property}", rung.factory);
            }
        }
    }
}
