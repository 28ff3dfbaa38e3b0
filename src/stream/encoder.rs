//! The H.264 and AAC encoders: which exist, how each is set, and whether one works.
//!
//! Settings come from the elements' own documentation (x264enc, openh264enc, avenc_aac,
//! voaacenc). Both H.264 encoders make no B frames: at the `superfast` preset they cost more than
//! they bring, and without them decoding order is presentation order.

use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;

use super::{make, take_down, wait_for_end};
use crate::base::error::{Error, Result};
use crate::base::time::FrameRate;
use crate::config::Encoder;

/// What a video encoder is asked for.
#[derive(Clone, Copy, Debug)]
pub struct VideoSettings {
    /// Width and height in pixels.
    pub canvas: (u32, u32),
    pub fps: FrameRate,
    pub bitrate_kbps: u32,
    pub keyframe_seconds: f64,
}

impl VideoSettings {
    /// Frames from one key frame to the next, at least 1.
    fn keyframe_interval(&self) -> u32 {
        ((self.keyframe_seconds * self.fps.as_f64()).round() as u32).max(1)
    }
}

/// The element's name in GStreamer.
pub fn factory(encoder: Encoder) -> &'static str {
    match encoder {
        Encoder::Nvenc => "nvh264enc",
        Encoder::Vaapi => "vah264enc",
        Encoder::X264 => "x264enc",
        Encoder::OpenH264 => "openh264enc",
    }
}

/// The first encoder of `preference` that this release can drive and that is installed.
pub fn choose(preference: &[Encoder]) -> Result<Encoder> {
    for &encoder in preference {
        match encoder {
            Encoder::X264 | Encoder::OpenH264 => {
                if gst::ElementFactory::find(factory(encoder)).is_some() {
                    return Ok(encoder);
                }
                tracing::info!("{} is not installed", factory(encoder));
            }
            Encoder::Nvenc | Encoder::Vaapi => {
                tracing::debug!("{} is not driven by this release", factory(encoder));
            }
        }
    }
    Err(Error::unavailable(
        "live.encoder_preference: none of these encoders is there; install \
         gstreamer1.0-plugins-ugly (x264enc) and keep libx264 in the list",
    ))
}

/// Makes and sets an H.264 encoder.
pub fn video(encoder: Encoder, settings: &VideoSettings) -> Result<gst::Element> {
    let element = make(factory(encoder))?;
    let interval = settings.keyframe_interval();
    match encoder {
        Encoder::X264 => {
            element.set_property_from_str("speed-preset", "superfast");
            element.set_property("bitrate", settings.bitrate_kbps);
            element.set_property("key-int-max", interval);
            element.set_property("bframes", 0u32);
            element.set_property("vbv-buf-capacity", 1000u32);
            element.set_property("aud", true);
        }
        Encoder::OpenH264 => {
            element.set_property("bitrate", settings.bitrate_kbps * 1000);
            element.set_property("gop-size", interval);
            element.set_property_from_str("rate-control", "bitrate");
            element.set_property_from_str("complexity", "low");
            element.set_property_from_str("usage-type", "camera");
        }
        Encoder::Nvenc | Encoder::Vaapi => {
            return Err(Error::unavailable(format!(
                "{} is not driven by this release",
                factory(encoder)
            )));
        }
    }
    Ok(element)
}

/// What all video encoders are made to give: byte stream, one access unit per buffer.
pub fn video_caps() -> gst::Caps {
    gst::Caps::builder("video/x-h264")
        .field("stream-format", "byte-stream")
        .field("alignment", "au")
        .build()
}

/// An AAC encoder, and how many samples of silence it puts before the sound (its priming).
pub fn audio() -> Result<(gst::Element, u64)> {
    if let Ok(element) = make("avenc_aac") {
        element.set_property("bitrate", 160_000i32);
        return Ok((element, 1024));
    }
    let element = make("voaacenc").map_err(|_| {
        Error::unavailable(
            "no AAC encoder is installed; install gstreamer1.0-libav or gstreamer1.0-plugins-bad",
        )
    })?;
    element.set_property("bitrate", 160_000i32);
    Ok((element, 1600))
}

/// Encodes `frames` moving pictures with `encoder` at the real size.
///
/// # Errors
/// What the encoder said, or that it took longer than ten seconds.
pub fn trial(encoder: Encoder, settings: &VideoSettings, frames: u32) -> Result<Trial> {
    let (width, height) = settings.canvas;
    let source = make("videotestsrc")?;
    source.set_property("num-buffers", frames as i32);
    source.set_property_from_str("pattern", "smpte");
    source.set_property("horizontal-speed", 4i32);
    let caps = gst::Caps::builder("video/x-raw")
        .field("format", "I420")
        .field("width", width as i32)
        .field("height", height as i32)
        .field("framerate", fraction(settings.fps))
        .build();
    let filter = make("capsfilter")?;
    filter.set_property("caps", caps);
    let element = video(encoder, settings)?;
    let sink = make("fakesink")?;
    sink.set_property("sync", false);
    let pipeline = gst::Pipeline::new();
    let chain = [&source, &filter, &element, &sink];
    pipeline.add_many(chain).map_err(Error::fault)?;
    gst::Element::link_many(chain).map_err(Error::fault)?;
    let start_ns = super::clock_ns();
    let result = pipeline
        .set_state(gst::State::Playing)
        .map_err(Error::fault)
        .and_then(|_| wait_for_end(&pipeline, Duration::from_secs(10)));
    let took_s = (super::clock_ns() - start_ns) as f64 / 1e9;
    take_down(&pipeline);
    result.map_err(|e| e.context(factory(encoder)))?;
    Ok(Trial { fps: f64::from(frames) / took_s })
}

/// What a trial encode measured.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    /// Frames a second, the making of the test picture included.
    pub fps: f64,
}

pub(super) fn fraction(fps: FrameRate) -> gst::Fraction {
    gst::Fraction::new(fps.num() as i32, fps.den() as i32)
}
