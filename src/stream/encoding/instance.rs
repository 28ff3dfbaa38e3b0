//! One run of one encoder: a small pipeline, and the thread that owns it.
//!
//! ```text
//! appsrc ! (videoconvert !) encoder ! (profile !) h264parse ! appsink
//! ```
//!
//! Holds: whoever uses an instance never waits for it. What it has to say comes through
//! [`Instance::events`]; dropping the instance retires it: its late output goes nowhere, and its
//! own thread takes the pipeline down, however long a driver that hangs makes that last.

use std::convert::Infallible;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::EncodeSettings;
use super::ladder::{self, Rung};
use crate::base::error::{Error, Result};
use crate::stream::priority::{self, Importance};
use crate::stream::{clock_ns, make, posted_error, raw};

/// Events that may wait. When it is full the encoder waits; its user takes them at once.
const EVENTS: usize = 256;

/// What an instance says.
pub enum Event {
    /// It takes pictures now.
    Opened(Input),
    /// A picture entered the encoder.
    Took { at_ns: u64 },
    /// A picture left it, encoded. Its PTS is show time.
    Out { buffer: gst::Buffer, pts_ns: u64, at_ns: u64 },
    /// It will give no more.
    Failed(Error),
    /// Everything came out after [`Input::end`].
    Ended,
}

/// Where pictures and orders go in. None of this waits.
pub struct Input {
    source: gst_app::AppSrc,
    encoder: gst::Element,
}

impl Input {
    /// Hands over a picture. What fails here is told by an event.
    pub fn push(&self, buffer: gst::Buffer) {
        let _ = self.source.push_buffer(buffer);
    }

    /// No more pictures.
    pub fn end(&self) {
        let _ = self.source.end_of_stream();
    }

    /// The picture with this PTS, to be pushed next, becomes a key frame.
    pub fn force_key(&self, pts_ns: u64) {
        let event = gst_video::UpstreamForceKeyUnitEvent::builder()
            .running_time(gst::ClockTime::from_nseconds(pts_ns))
            .all_headers(true)
            .build();
        if let Some(pad) = self.encoder.static_pad("src") {
            pad.send_event(event);
        }
    }

    /// Changes the bitrate of a running encoder; false: this one cannot.
    pub fn set_bitrate(&self, rung: Rung, kbps: u32) -> bool {
        ladder::set_bitrate(&self.encoder, rung, kbps)
    }
}

pub struct Instance {
    pub events: Receiver<Event>,
    /// Dropped to end the thread.
    retire: Sender<Infallible>,
    /// Closes when the pipeline is down.
    down: Receiver<Infallible>,
    thread: JoinHandle<()>,
}

impl Instance {
    /// Starts opening the encoder.
    ///
    /// # Errors
    /// Only if there are no more threads; what else goes wrong is told by an event.
    pub fn start(rung: Rung, settings: &EncodeSettings) -> Result<Self> {
        let (say, events) = bounded(EVENTS);
        let (retire, retired) = bounded::<Infallible>(0);
        let (running, down) = bounded::<Infallible>(0);
        let settings = settings.clone();
        let thread = std::thread::Builder::new()
            .name("encoder".into())
            .spawn(move || {
                priority::set_current_thread(Importance::Picture);
                let pipeline = gst::Pipeline::new();
                match open(&pipeline, rung, &settings, &say) {
                    Ok(input) => {
                        let _ = say.send(Event::Opened(input));
                    }
                    Err(error) => {
                        let _ = say.send(Event::Failed(error));
                    }
                }
                let _ = retired.recv();
                let _ = pipeline.set_state(gst::State::Null);
                drop(running);
            })
            .map_err(|e| Error::internal("cannot start an encoder").with_source(e))?;
        Ok(Instance { events, retire, down, thread })
    }

    /// Has it taken down by its own thread; closes when that is done.
    pub fn retire(self) -> Receiver<Infallible> {
        self.down
    }

    /// Takes it down and waits for that; after `limit` it is left to itself.
    pub fn close(self, limit: Duration) {
        let Instance { events, retire, down, thread } = self;
        drop((events, retire));
        // Nothing is ever sent; the channel closes.
        if down.recv_timeout(limit) == Err(crossbeam_channel::RecvTimeoutError::Disconnected) {
            let _ = thread.join();
        }
    }
}

fn open(
    pipeline: &gst::Pipeline,
    rung: Rung,
    settings: &EncodeSettings,
    say: &Sender<Event>,
) -> Result<Input> {
    tell_bus(pipeline, say);
    let source = gst_app::AppSrc::builder()
        .caps(&raw::video_caps(settings.canvas, settings.fps)?)
        .format(gst::Format::Time)
        // The feeder knows how much is in it.
        .max_bytes(0)
        .build();
    let encoder = ladder::make_encoder(rung, settings)?;
    let parse = make("h264parse")?;
    // Parameter sets before every key frame: who joins, or goes on with another encoder, has them.
    parse.set_property("config-interval", -1i32);
    let sink = gst_app::AppSink::builder()
        .caps(
            &gst::Caps::builder("video/x-h264")
                .field("stream-format", "byte-stream")
                .field("alignment", "au")
                .build(),
        )
        .sync(false)
        .async_(false)
        .enable_last_sample(false)
        .build();
    let mut chain: Vec<gst::Element> = vec![source.clone().upcast()];
    if rung.takes_other_formats() {
        chain.push(make("videoconvert")?);
    }
    chain.push(encoder.clone());
    if let Some(caps) = ladder::profile_caps(&encoder, rung, settings) {
        let profile = make("capsfilter")?;
        profile.set_property("caps", caps);
        chain.push(profile);
    }
    chain.extend([parse, sink.clone().upcast()]);
    pipeline.add_many(&chain).map_err(Error::fault)?;
    gst::Element::link_many(&chain).map_err(Error::fault)?;

    let pad = encoder.static_pad("sink").ok_or_else(|| Error::internal("no pad"))?;
    let took = say.clone();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        let _ = took.send(Event::Took { at_ns: clock_ns() });
        gst::PadProbeReturn::Ok
    });
    let (out, ended) = (say.clone(), say.clone());
    sink.set_callbacks(
        gst_app::AppSinkCallbacks::builder()
            .new_sample(move |sink| {
                let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                let buffer = sample.buffer_owned().ok_or(gst::FlowError::Error)?;
                // Encoders may shift their timestamps; the running time is show time.
                let pts = sample
                    .segment()
                    .and_then(|s| s.downcast_ref::<gst::ClockTime>())
                    .and_then(|s| s.to_running_time(buffer.pts()))
                    .ok_or(gst::FlowError::Error)?;
                out.send(Event::Out { buffer, pts_ns: pts.nseconds(), at_ns: clock_ns() })
                    .map(|()| gst::FlowSuccess::Ok)
                    .map_err(|_| gst::FlowError::Flushing)
            })
            .eos(move |_| {
                let _ = ended.send(Event::Ended);
            })
            .build(),
    );
    pipeline
        .set_state(gst::State::Playing)
        .map_err(|_| Error::unavailable(format!("{} does not start", rung.factory)))?;
    Ok(Input { source, encoder })
}

/// Turns what elements post into events, at once and on the thread that posts it.
fn tell_bus(pipeline: &gst::Pipeline, say: &Sender<Event>) {
    let Some(bus) = pipeline.bus() else { return };
    let say = say.clone();
    bus.set_sync_handler(move |_, message| {
        priority::enter(message, Importance::Picture);
        if let Some(error) = posted_error(message) {
            let _ = say.send(Event::Failed(error));
        }
        // Nobody reads the bus.
        gst::BusSyncReply::Drop
    });
}
