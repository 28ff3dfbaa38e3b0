//! The main pipeline of a show: source, encoders, fan-out.
//!
//! ```text
//! vfaqsrc ! queue (4 frames) ! H.264 ! fan-out
//! sound   ! AAC                      ! fan-out
//! ```
//!
//! The queue does not leak: when the encoder is late the source waits, and then holds pictures
//! until it has caught up.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::encoder::{self, VideoSettings};
use super::fanout::Fanout;
use super::priority::{self, Importance};
use super::source::{SourceCounters, SourceSetup, VfaqSrc};
use super::{make, posted_error, take_down};
use crate::base::error::{Error, Result};
use crate::base::telemetry::{Counter, Timing};
use crate::config::Encoder;

/// Frames between source and encoder.
const QUEUE_FRAMES: u32 = 4;

/// What the pipeline measures.
#[derive(Default)]
pub struct LiveTelemetry {
    pub source: Arc<SourceCounters>,
    /// Frames whose sound was not there in time and became silence.
    pub silent_frames: Arc<Counter>,
    /// Frames that entered the encoder.
    pub encoder_in: Counter,
    /// Frames that left it.
    pub encoder_out: Counter,
    /// From due to handed over.
    pub lateness: Timing,
    /// Drawing a frame.
    pub render: Timing,
    /// From entering the encoder to leaving it; several frames are in it at once.
    pub encode: Timing,
}

/// What ended a pipeline.
#[derive(Debug)]
pub enum End {
    /// The source ended and everything went through.
    Finished,
    Failed(Error),
}

pub struct LivePipeline {
    pipeline: gst::Pipeline,
}

impl LivePipeline {
    /// Builds the pipeline. `setup` gets the sound feed and gives the source's setup.
    ///
    /// # Errors
    /// A missing element, named with its package.
    pub fn build(
        video: (Encoder, VideoSettings),
        sound: Option<crate::audio::Reader>,
        fanout: &Arc<Fanout>,
        telemetry: &Arc<LiveTelemetry>,
        setup: impl FnOnce(super::sound::SoundFeed) -> SourceSetup,
    ) -> Result<Self> {
        let (encoder, settings) = video;
        let pipeline = gst::Pipeline::new();
        priority::set_for(&pipeline, Importance::Picture);
        // Sound must never set the pace.
        pipeline.use_clock(Some(&gst::SystemClock::obtain()));
        let feed = super::sound::build(
            &pipeline,
            fanout,
            sound,
            settings.fps,
            telemetry.silent_frames.clone(),
        )?;

        let source = VfaqSrc::new(setup(feed));
        let queue = make("queue")?;
        queue.set_property("max-size-buffers", QUEUE_FRAMES);
        queue.set_property("max-size-bytes", 0u32);
        queue.set_property("max-size-time", 0u64);
        let encoder = encoder::video(encoder, &settings)?;
        let sink = gst_app::AppSink::builder()
            .name("picture-out")
            .caps(&encoder::video_caps())
            .sync(false)
            .async_(false)
            .build();
        let chain = [source.upcast_ref(), &queue, &encoder, sink.upcast_ref::<gst::Element>()];
        pipeline.add_many(chain).map_err(Error::fault)?;
        gst::Element::link_many(chain).map_err(Error::fault)?;

        measure(&encoder, telemetry);
        let frame_ns = settings.fps.pts_ns(1);
        let (fanout, counters) = (fanout.clone(), telemetry.source.clone());
        sink.set_callbacks(
            gst_app::AppSinkCallbacks::builder()
                .new_sample(move |sink| {
                    let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                    if let Some(caps) = sample.caps_owned() {
                        fanout.set_video_caps(caps);
                    }
                    let buffer = sample.buffer_owned().ok_or(gst::FlowError::Error)?;
                    // Encoders may shift their timestamps; the running time is show time.
                    let pts = sample
                        .segment()
                        .and_then(|s| s.downcast_ref::<gst::ClockTime>())
                        .and_then(|s| s.to_running_time(buffer.pts()))
                        .ok_or(gst::FlowError::Error)?;
                    if let Some(mark_ns) = counters.take_mark() {
                        fanout.set_mark(mark_ns);
                    }
                    fanout.send_video(buffer, pts.nseconds(), frame_ns);
                    Ok(gst::FlowSuccess::Ok)
                })
                .build(),
        );
        Ok(LivePipeline { pipeline })
    }

    /// Goes on air.
    pub fn start(&self) -> Result<()> {
        match self.pipeline.set_state(gst::State::Playing) {
            Ok(_) => Ok(()),
            Err(e) => Err(self.poll_end(Duration::ZERO).map_or_else(
                || Error::fault(e),
                |end| match end {
                    End::Failed(error) => error,
                    End::Finished => Error::internal("the pipeline ended before it started"),
                },
            )),
        }
    }

    /// Waits up to `patience` for the end.
    pub fn poll_end(&self, patience: Duration) -> Option<End> {
        let wanted = [gst::MessageType::Eos, gst::MessageType::Error];
        let bus = self.pipeline.bus()?;
        let message = if patience.is_zero() {
            bus.pop_filtered(&wanted)?
        } else {
            let patience = gst::ClockTime::from_nseconds(patience.as_nanos() as u64);
            bus.timed_pop_filtered(patience, &wanted)?
        };
        Some(posted_error(&message).map_or(End::Finished, End::Failed))
    }
}

impl Drop for LivePipeline {
    fn drop(&mut self) {
        take_down(&self.pipeline);
    }
}

/// Counts and times what passes through the encoder.
fn measure(encoder: &gst::Element, telemetry: &Arc<LiveTelemetry>) {
    // Without B frames pictures leave in the order in which they came.
    let inside: Arc<Mutex<VecDeque<gst::ClockTime>>> =
        Arc::new(Mutex::new(VecDeque::with_capacity(64)));
    let now = || gst::SystemClock::obtain().time();
    if let Some(pad) = encoder.static_pad("sink") {
        let (inside, telemetry) = (inside.clone(), telemetry.clone());
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            telemetry.encoder_in.add(1);
            if let Ok(mut inside) = inside.lock() {
                inside.push_back(now());
            }
            gst::PadProbeReturn::Ok
        });
    }
    if let Some(pad) = encoder.static_pad("src") {
        let telemetry = telemetry.clone();
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            telemetry.encoder_out.add(1);
            let began = inside.lock().ok().and_then(|mut inside| inside.pop_front());
            if let Some(began) = began {
                let took = now().saturating_sub(began);
                telemetry.encode.record(Duration::from_nanos(took.nseconds()));
            }
            gst::PadProbeReturn::Ok
        });
    }
}
