//! Pictures encoded once more: `appsrc ! x264enc ! appsink`, at a constant quality.

use std::collections::VecDeque;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use crate::base::error::{Error, Result};
use crate::base::time::FrameRate;
use crate::stream::encoding::stream_caps;
use crate::stream::fanout::{Unit, UnitKind};
use crate::stream::priority::{self, Importance};
use crate::stream::{make, posted_error, raw, take_down};

/// What pictures are encoded with, for people.
pub const ENCODER: &str = "x264, CRF 18, preset medium";
/// That in numbers: hard to tell from the original.
pub const JOINED: Quality = Quality { preset: "medium", crf: 18 };
/// Seconds from key frame to key frame, so that players jump to where they should.
const KEY_SECONDS: f64 = 2.0;
/// Pictures that may wait, in bytes; above that whoever brings them waits for the encoder.
const INSIDE_BYTES: u64 = 32 << 20;
/// x264 looks some tens of pictures ahead, which come out at the end.
const END_PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(60);

/// How carefully x264 encodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quality {
    /// One of x264's speed presets, `medium`.
    pub preset: &'static str,
    /// Its constant rate factor: the lower, the better.
    pub crf: u32,
}

pub struct Encoder {
    pipeline: gst::Pipeline,
    source: gst_app::AppSrc,
    sink: gst_app::AppSink,
    fps: FrameRate,
    /// When the pictures in the encoder are to be shown, in order.
    times_ns: VecDeque<u64>,
}

impl Encoder {
    pub fn start(canvas: (u32, u32), fps: FrameRate, quality: Quality) -> Result<Self> {
        let pipeline = gst::Pipeline::new();
        priority::set_for(&pipeline, Importance::Background);
        let source = gst_app::AppSrc::builder()
            .caps(&raw::video_caps(canvas, fps)?)
            .format(gst::Format::Time)
            .block(true)
            .max_bytes(INSIDE_BYTES)
            .build();
        let encoder = make("x264enc")?;
        encoder.set_property_from_str("pass", "qual");
        encoder.set_property("quantizer", quality.crf);
        // Otherwise it keeps to `bitrate`, 2 Mb/s, whatever the quality.
        encoder.set_property("vbv-buf-capacity", 0u32);
        encoder.set_property_from_str("speed-preset", quality.preset);
        // As in the parts: pictures are stored in the order in which they are shown.
        encoder.set_property("bframes", 0u32);
        encoder.set_property("key-int-max", (fps.as_f64() * KEY_SECONDS).ceil() as u32);
        let sink = gst_app::AppSink::builder()
            .caps(&stream_caps(canvas, fps))
            .sync(false)
            .async_(false)
            .enable_last_sample(false)
            .build();
        let chain = [source.upcast_ref(), &encoder, sink.upcast_ref::<gst::Element>()];
        pipeline.add_many(chain).map_err(Error::fault)?;
        gst::Element::link_many(chain).map_err(Error::fault)?;
        let encoder = Encoder { pipeline, source, sink, fps, times_ns: VecDeque::new() };
        encoder
            .pipeline
            .set_state(gst::State::Playing)
            .map_err(|e| encoder.failure().unwrap_or_else(|| Error::fault(e)))?;
        Ok(encoder)
    }

    /// Hands over a picture in I420, to be shown at `place` of the grid. May wait.
    pub fn push(&mut self, mut buffer: gst::Buffer, place: u64) -> Result<()> {
        let at = |place| gst::ClockTime::from_nseconds(self.fps.pts_ns(place));
        {
            // Shares the pixels.
            let buffer = buffer.make_mut();
            buffer.set_pts(at(place));
            buffer.set_dts(gst::ClockTime::NONE);
            buffer.set_duration(at(place + 1) - at(place));
        }
        self.times_ns.push_back(at(place).nseconds());
        self.source
            .push_buffer(buffer)
            .map(drop)
            .map_err(|e| self.failure().unwrap_or_else(|| Error::fault(e)))
    }

    /// A picture that has come out, if there is one.
    pub fn take(&mut self) -> Result<Option<Unit>> {
        self.pull(gst::ClockTime::ZERO)
    }

    /// No more pictures; [`Encoder::take_rest`] has those that are left.
    pub fn end(&mut self) -> Result<()> {
        self.source.end_of_stream().map(drop).map_err(Error::fault)
    }

    /// As [`Encoder::take`], waiting for it; `None`: that was all.
    pub fn take_rest(&mut self) -> Result<Option<Unit>> {
        let unit = self.pull(END_PATIENCE)?;
        if unit.is_none() && !self.times_ns.is_empty() {
            let lost = || Error::internal(format!("{} pictures are lost", self.times_ns.len()));
            return Err(self.failure().unwrap_or_else(lost).context("x264enc"));
        }
        Ok(unit)
    }

    fn pull(&mut self, patience: gst::ClockTime) -> Result<Option<Unit>> {
        let Some(sample) = self.sink.try_pull_sample(patience) else { return Ok(None) };
        let buffer = sample.buffer_owned().ok_or_else(|| Error::internal("an empty sample"))?;
        // Without pictures that look ahead they come out in order.
        let pts_ns = self
            .times_ns
            .pop_front()
            .ok_or_else(|| Error::internal("x264enc gave more pictures than it got"))?;
        let key = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        let kind = UnitKind::Video { key, mark: false, new_encoder: false };
        let duration_ns = buffer.duration().map_or(0, gst::ClockTime::nseconds);
        Ok(Some(Unit { kind, pts_ns, duration_ns, buffer }))
    }

    fn failure(&self) -> Option<Error> {
        let message = self.pipeline.bus()?.pop_filtered(&[gst::MessageType::Error])?;
        posted_error(&message)
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        take_down(&self.pipeline);
    }
}
