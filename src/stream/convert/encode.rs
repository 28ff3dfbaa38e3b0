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

/// What a property is set to.
enum Set {
    /// The first of these that this element knows.
    To(&'static [&'static str]),
    /// The quality, worse by so much.
    Quality(u32),
    /// Frames from one key frame to the next.
    KeyInterval,
}

use Set::{KeyInterval, Quality, To};

const SETTINGS: &[(Encoder, &[(&str, Set)])] = &[
    (
        Encoder::X264,
        &[
            ("pass", To(&["qual"])),
            ("quantizer", Quality(0)),
            ("speed-preset", To(&["medium"])),
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
        };
        match ladder::trial(rung, &settings, TRIAL) {
            Ok(_) => return Ok(rung),
            Err(error) => why = error.to_string(),
        }
    }
    Err(Error::unavailable(format!(
        "--encoder: this encoder does not work here: {why}; libx264 needs no hardware"
    )))
}

/// Makes and sets an encoder.
pub fn make_encoder(rung: Rung, crf: u32, fps: FrameRate) -> Result<gst::Element> {
    let element = make(rung.factory)?;
    let settings = SETTINGS.iter().find(|(encoder, _)| *encoder == rung.encoder);
    for (property, to) in settings.map_or(&[][..], |(_, settings)| settings) {
        match to {
            To(values) => {
                values.iter().any(|value| ladder::set(&element, property, value));
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
            let element = make_encoder(rung, 23, FrameRate::whole(60)).unwrap();
            let (_, settings) = SETTINGS.iter().find(|(of, _)| *of == encoder).unwrap();
            for (property, _) in *settings {
                use gst::prelude::*;
                assert!(element.has_property(property), "{}: {property}", rung.factory);
            }
        }
    }
}
