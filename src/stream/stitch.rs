//! Clips that cannot be copied behind one another, encoded again into one MP4 of one size and
//! rate.
//!
//! ```text
//! each clip: filesrc ! decodebin ! videoconvert ! videoscale ! appsink --> frames on the grid
//! frames:    appsrc ! x264enc ! h264parse ! mp4mux ! filesink
//! ```
//!
//! Holds: a clip takes as many frames as its length has at the rate, at least one, and at its own
//! rate every picture is there once. A picture of another shape gets borders. Nothing is under the
//! name before it is whole.

use std::path::Path;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::convert::add_pictures;
use super::decode::{Decoding, What};
use super::encoding::ladder;
use super::priority::{self, Importance};
use super::{make, posted_error, raw, take_down, wait_for_end};
use crate::base::error::{Error, Kind, Result};
use crate::base::fsio;
use crate::base::time::FrameRate;
use crate::mp4::Clip;

/// How all clips are to be.
#[derive(Clone, Debug)]
pub struct Settings {
    pub size: (u32, u32),
    pub fps: FrameRate,
    /// Of x264: `ultrafast` to `placebo`.
    pub preset: String,
    /// Of x264, 0 to 51.
    pub crf: u32,
}

/// Seconds from key frame to key frame, so that players jump to where they should.
const KEY_SECONDS: f64 = 2.0;
/// Pictures that may wait for the encoder, in bytes.
const INSIDE: u64 = 32 << 20;
/// x264 looks some tens of pictures ahead, which come out at the end; then the index is written.
const END_PATIENCE: Duration = Duration::from_secs(120);

/// Frames that a clip takes.
pub fn frames_of(clip: &Clip, fps: FrameRate) -> u64 {
    ((clip.seconds * fps.as_f64()).round() as u64).max(1)
}

/// Writes the clips to `out`, in the place of what is there; returns its frames. `None`: `stop`
/// said so, and nothing has changed. `on_frame` is told frames, done and of how many.
///
/// # Errors
/// A clip that cannot be decoded, named; a preset that x264 does not know; a disk that is full.
pub fn stitch(
    clips: &[Clip],
    settings: &Settings,
    out: &Path,
    on_frame: &mut dyn FnMut(u64, u64),
    stop: &dyn Fn() -> bool,
) -> Result<Option<u64>> {
    let all: u64 = clips.iter().map(|clip| frames_of(clip, settings.fps)).sum();
    let folder = out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let unwritten = |e: Error| e.context(format!("cannot write {}", out.display()));
    let temporary = tempfile::Builder::new()
        .prefix(".vfaq-")
        .suffix(".mp4")
        .tempfile_in(folder)
        .map_err(|e| Error::io(format!("cannot write {}", out.display()), e))?
        .into_temp_path();
    let mut encoder = Encoder::start(settings, &temporary).map_err(unwritten)?;
    for clip in clips {
        let mut put = |buffer: gst::Buffer| -> Result<()> {
            encoder.push(buffer).map_err(unwritten)?;
            on_frame(encoder.frames, all);
            Ok(())
        };
        if !add(clip, settings, &mut put, stop)? {
            return Ok(None);
        }
    }
    encoder.finish().map_err(unwritten)?;
    fsio::publish(temporary, out, true)?;
    Ok(Some(all))
}

/// Hands the frames of a clip to `put`. Returns false if `stop` said so.
fn add(
    clip: &Clip,
    settings: &Settings,
    put: &mut dyn FnMut(gst::Buffer) -> Result<()>,
    stop: &dyn Fn() -> bool,
) -> Result<bool> {
    let frames = frames_of(clip, settings.fps);
    let caps = raw::video_caps(settings.size, settings.fps)?;
    let mut pictures = open(clip, &caps)?;
    let (mut start_ns, mut done, mut held) = (None, 0, None::<gst::Buffer>);
    // A frame shows the last picture that has begun by its middle.
    let middle_ns = |n: u64| settings.fps.pts_ns(2 * n + 1) / 2;
    while done < frames {
        let next = pictures.next(stop)?;
        if stop() {
            return Ok(false);
        }
        let time_ns = match &next {
            Some(sample) => {
                let time_ns = Decoding::time_ns(sample).unwrap_or(0);
                time_ns.saturating_sub(*start_ns.get_or_insert(time_ns))
            }
            None => u64::MAX,
        };
        if let Some(picture) = &held {
            while done < frames && middle_ns(done) < time_ns {
                put(picture.clone())?;
                done += 1;
            }
        }
        match next {
            Some(sample) => held = sample.buffer_owned(),
            // `next` says so itself if there was none at all.
            None => break,
        }
    }
    Ok(true)
}

fn open(clip: &Clip, caps: &gst::Caps) -> Result<Decoding> {
    let mut caps = caps.clone();
    // Every rate is taken as it comes.
    if let Some(structure) = caps.make_mut().structure_mut(0) {
        structure.remove_field("framerate");
        structure.remove_field("chroma-site");
    }
    Decoding::open(&clip.path, What::Pictures, &caps, |pipeline, sink| {
        let scale = make("videoscale")?;
        scale.set_property_from_str("method", "lanczos");
        pipeline.add(&scale).map_err(Error::fault)?;
        scale.link(sink).map_err(Error::fault)?;
        add_pictures(pipeline, &scale, false, false)
    })
}

/// The pipeline that encodes and writes.
struct Encoder {
    pipeline: gst::Pipeline,
    source: gst_app::AppSrc,
    fps: FrameRate,
    /// That went in.
    frames: u64,
}

impl Encoder {
    fn start(settings: &Settings, path: &Path) -> Result<Self> {
        let pipeline = gst::Pipeline::new();
        priority::set_for(&pipeline, Importance::Background);
        let source = gst_app::AppSrc::builder()
            .caps(&raw::video_caps(settings.size, settings.fps)?)
            .format(gst::Format::Time)
            .block(true)
            .max_bytes(INSIDE)
            .build();
        let encoder = make("x264enc")?;
        encoder.set_property_from_str("pass", "qual");
        encoder.set_property("quantizer", settings.crf.min(50));
        // Otherwise it keeps to `bitrate`, 2 Mb/s, whatever the quality.
        encoder.set_property("vbv-buf-capacity", 0u32);
        if !ladder::set(&encoder, "speed-preset", &settings.preset) {
            return Err(Error::usage(format!(
                "x264 knows no preset {:?}; there are ultrafast, superfast, veryfast, faster, \
                 fast, medium, slow, slower, veryslow and placebo",
                settings.preset
            )));
        }
        // Pictures are stored in the order in which they are shown.
        encoder.set_property("bframes", 0u32);
        encoder.set_property("key-int-max", (settings.fps.as_f64() * KEY_SECONDS).ceil() as u32);
        let (parse, mux, sink) = (make("h264parse")?, make("mp4mux")?, make("filesink")?);
        sink.set_property("location", path.to_string_lossy().as_ref());
        let chain = [source.upcast_ref(), &encoder, &parse, &mux, &sink];
        pipeline.add_many(chain).map_err(Error::fault)?;
        gst::Element::link_many(chain).map_err(Error::fault)?;
        let encoder = Encoder { pipeline, source, fps: settings.fps, frames: 0 };
        let started = encoder.pipeline.set_state(gst::State::Playing);
        started.map_err(|e| encoder.failure().unwrap_or_else(|| Error::fault(e)))?;
        Ok(encoder)
    }

    /// Adds a frame. May wait.
    fn push(&mut self, mut buffer: gst::Buffer) -> Result<()> {
        let at = |n| gst::ClockTime::from_nseconds(self.fps.pts_ns(n));
        {
            // Shares the pixels.
            let buffer = buffer.make_mut();
            buffer.set_pts(at(self.frames));
            buffer.set_dts(gst::ClockTime::NONE);
            buffer.set_duration(at(self.frames + 1) - at(self.frames));
        }
        self.frames += 1;
        self.source
            .push_buffer(buffer)
            .map(drop)
            .map_err(|e| self.failure().unwrap_or_else(|| Error::fault(e)))
    }

    fn finish(&self) -> Result<()> {
        self.source.end_of_stream().map_err(Error::fault)?;
        wait_for_end(&self.pipeline, END_PATIENCE)
    }

    fn failure(&self) -> Option<Error> {
        let message = self.pipeline.bus()?.pop_filtered(&[gst::MessageType::Error])?;
        posted_error(&message).map(|e| Error::new(Kind::Io, e.to_string()))
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        take_down(&self.pipeline);
    }
}
