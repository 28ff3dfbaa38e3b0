//! The pipeline of a show's source: pictures and sound, before they are encoded.
//!
//! ```text
//! vfaqsrc ! appsink            --> Tap --> encodings, raw outputs
//! sound   ! AAC encoder ! appsink --> SoundOut --> every fan-out
//! ```
//!
//! Holds: nothing behind the tap can make the source wait.

use std::sync::Arc;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::priority::{self, Importance};
use super::raw::{RawPicture, Tap};
use super::sound::{SoundFeed, SoundIn, SoundOut};
use super::source::{SourceCounters, SourceSetup, VfaqSrc};
use super::{posted_error, take_down};
use crate::base::error::{Error, Result};
use crate::base::telemetry::{Counter, Timing};
use crate::base::time::FrameRate;

/// What the pipeline measures.
#[derive(Default)]
pub struct LiveTelemetry {
    pub source: Arc<SourceCounters>,
    /// Frames whose sound was not there in time and became silence.
    pub silent_frames: Arc<Counter>,
    /// From due to handed over.
    pub lateness: Timing,
    /// Drawing a frame.
    pub render: Timing,
}

/// What ended a pipeline.
#[derive(Debug)]
pub enum End {
    /// The source ended, and all sound is encoded; encodings may still have pictures.
    Finished,
    Failed(Error),
}

pub struct LivePipeline {
    pipeline: gst::Pipeline,
    tap: Arc<Tap>,
}

impl LivePipeline {
    /// Builds the pipeline. `setup` gets the sound feed and gives the source's setup.
    ///
    /// # Errors
    /// A missing element, named with its package.
    pub fn build(
        fps: FrameRate,
        sound: Option<SoundIn>,
        tap: &Arc<Tap>,
        sound_out: &Arc<SoundOut>,
        telemetry: &Arc<LiveTelemetry>,
        setup: impl FnOnce(SoundFeed) -> SourceSetup,
    ) -> Result<Self> {
        let pipeline = gst::Pipeline::new();
        priority::set_for(&pipeline, Importance::Picture);
        // Sound must never set the pace.
        pipeline.use_clock(Some(&gst::SystemClock::obtain()));
        let silent = telemetry.silent_frames.clone();
        let feed = super::sound::build(&pipeline, tap, sound_out, sound, fps, silent)?;

        let source = VfaqSrc::new(setup(feed), tap.clone());
        let sink = gst_app::AppSink::builder()
            .name("picture-out")
            .sync(false)
            .async_(false)
            .enable_last_sample(false)
            .build();
        let chain = [source.upcast_ref(), sink.upcast_ref::<gst::Element>()];
        pipeline.add_many(chain).map_err(Error::fault)?;
        gst::Element::link_many(chain).map_err(Error::fault)?;

        let counters = telemetry.source.clone();
        let (to, ended) = (tap.clone(), tap.clone());
        sink.set_callbacks(
            gst_app::AppSinkCallbacks::builder()
                .new_sample(move |sink| {
                    let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                    let buffer = sample.buffer_owned().ok_or(gst::FlowError::Error)?;
                    let (pts, duration) =
                        buffer.pts().zip(buffer.duration()).ok_or(gst::FlowError::Error)?;
                    to.send_picture(&RawPicture {
                        index: buffer.offset(),
                        pts_ns: pts.nseconds(),
                        duration_ns: duration.nseconds(),
                        mark: counters.take_mark(),
                        buffer,
                    });
                    Ok(gst::FlowSuccess::Ok)
                })
                .eos(move |_| ended.close())
                .build(),
        );
        Ok(LivePipeline { pipeline, tap: tap.clone() })
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
        self.tap.close();
    }
}
