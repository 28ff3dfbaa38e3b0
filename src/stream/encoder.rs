//! The H.264 and AAC encoders: which exist, how each is set, and whether one works.
//!
//! Settings come from the elements' own documentation (x264enc, openh264enc, avenc_aac,
//! voaacenc). Both H.264 encoders make no B frames: at the `superfast` preset they cost more than
//! they bring, and without them decoding order is presentation order.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;

use super::{make, posted_error, take_down};
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

/// Whether this release can use it, where it is installed.
pub fn is_driven(encoder: Encoder) -> bool {
    match encoder {
        Encoder::X264 | Encoder::OpenH264 => true,
        Encoder::Nvenc | Encoder::Vaapi => false,
    }
}

pub fn is_installed(encoder: Encoder) -> bool {
    gst::ElementFactory::find(factory(encoder)).is_some()
}

/// The first encoder of `preference` that this release can drive and that is installed.
pub fn choose(preference: &[Encoder]) -> Result<Encoder> {
    for &encoder in preference {
        if !is_driven(encoder) {
            tracing::debug!("{} is not driven by this release", factory(encoder));
        } else if is_installed(encoder) {
            return Ok(encoder);
        } else {
            tracing::info!("{} is not installed", factory(encoder));
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

/// Encodes moving pictures at the real size for as long as `time`, and measures how fast.
///
/// # Errors
/// What the encoder said, or that not two pictures came out of it in that time.
pub fn trial(encoder: Encoder, settings: &VideoSettings, time: Duration) -> Result<Trial> {
    let (width, height) = settings.canvas;
    let source = make("videotestsrc")?;
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

    let passed = Arc::new(Mutex::new(Passed::default()));
    let pad = element.static_pad("src").ok_or_else(|| Error::internal("no pad"))?;
    let seen = passed.clone();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        lock(&seen).picture(super::clock_ns());
        gst::PadProbeReturn::Ok
    });
    let result = pipeline.set_state(gst::State::Playing).map_err(Error::fault).and_then(|_| {
        // The test picture has no end, so what comes before the time is over is an error.
        let limit = gst::ClockTime::from_nseconds(time.as_nanos() as u64);
        let bus = pipeline.bus().ok_or_else(|| Error::internal("a pipeline has no bus"))?;
        let message = bus.timed_pop_filtered(limit, &[gst::MessageType::Error]);
        message.as_ref().and_then(posted_error).map_or(Ok(()), Err)
    });
    let passed = *lock(&passed);
    take_down(&pipeline);
    result.map_err(|e| e.context(factory(encoder)))?;
    let fps = passed.fps().ok_or_else(|| {
        let seconds = time.as_secs_f64();
        Error::unavailable(format!("{}: no two pictures in {seconds} s", factory(encoder)))
    })?;
    Ok(Trial { fps })
}

/// What a trial encode measured.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    /// Frames a second, the making of the test picture included.
    pub fps: f64,
}

/// The pictures that came out of an encoder.
#[derive(Clone, Copy, Debug, Default)]
struct Passed {
    pictures: u32,
    first_ns: u64,
    last_ns: u64,
}

impl Passed {
    fn picture(&mut self, at_ns: u64) {
        if self.pictures == 0 {
            self.first_ns = at_ns;
        }
        self.last_ns = at_ns;
        self.pictures += 1;
    }

    /// From the first picture to the last, so that starting up does not count.
    fn fps(&self) -> Option<f64> {
        let seconds = (self.last_ns - self.first_ns) as f64 / 1e9;
        (self.pictures > 1 && seconds > 0.0).then(|| f64::from(self.pictures - 1) / seconds)
    }
}

fn lock(passed: &Mutex<Passed>) -> MutexGuard<'_, Passed> {
    passed.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

pub(super) fn fraction(fps: FrameRate) -> gst::Fraction {
    gst::Fraction::new(fps.num() as i32, fps.den() as i32)
}
