//! What a film is, and how many frames it has at another rate, told without decoding it.
//!
//! ```text
//! filesrc ! parsebin --video--> appsink
//! ```

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::Film;
use super::whole;
use crate::base::error::{Error, Kind, Result};
use crate::base::time::FrameRate;
use crate::render::retime::Retimer;
use crate::stream::{lock, make, posted_error, take_down};

/// Pictures that may wait.
const WAITING: usize = 256;
/// A disk that takes longer than this for one picture is taken for dead.
const PATIENCE: Duration = Duration::from_secs(60);

/// What [`look`] tells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct About {
    pub film: Film,
    /// Pictures in it.
    pub pictures: u64,
    /// Frames of what [`super::run`] makes of it.
    pub frames: u64,
}

enum Event {
    Picture { pts_ns: Option<u64>, duration_ns: Option<u64> },
    Begins(Film),
    Failed(Error),
    Ended,
}

/// Looks through a file (MP4, Matroska and the like; not YUV4MPEG2) for what [`super::run`] would
/// make of it at the rate `fps`. `stop` is asked now and then; `None`: it said so.
///
/// # Errors
/// The file cannot be read, is cut short or holds no video; names the file.
pub fn look(path: &Path, fps: FrameRate, stop: &dyn Fn() -> bool) -> Result<Option<About>> {
    look_at(path, fps, stop)
        .map_err(|error| error.context(format!("cannot read {}", path.display())))
}

fn look_at(path: &Path, fps: FrameRate, stop: &dyn Fn() -> bool) -> Result<Option<About>> {
    let mut file = std::fs::File::open(path).map_err(|e| Error::io("opening failed", e))?;
    if let Some(missing) = whole::missing_bytes(&mut file) {
        let text =
            format!("it is cut short: its last {missing} bytes are missing, as it says itself");
        return Err(Error::new(Kind::Io, text));
    }
    drop(file);
    let pipeline = gst::Pipeline::new();
    let (say, events) = bounded(WAITING);
    let result = build(&pipeline, path, say)
        .and_then(|()| {
            pipeline.set_state(gst::State::Playing).map_err(|_| {
                let posted =
                    pipeline.bus().and_then(|bus| bus.pop_filtered(&[gst::MessageType::Error]));
                let posted = posted.and_then(|message| posted_error(&message));
                posted.unwrap_or_else(|| Error::internal("reading does not start"))
            })
        })
        .and_then(|_| count(&events, fps, stop));
    // So that nobody waits for room.
    drop(events);
    take_down(&pipeline);
    result
}

fn count(
    events: &Receiver<Event>,
    fps: FrameRate,
    stop: &dyn Fn() -> bool,
) -> Result<Option<About>> {
    let mut begun = None;
    let mut pictures = Vec::new();
    loop {
        if pictures.len() % WAITING == 0 && stop() {
            return Ok(None);
        }
        match events.recv_timeout(PATIENCE) {
            Ok(Event::Begins(film)) => begun = begun.or(Some(film)),
            Ok(Event::Picture { pts_ns, duration_ns }) => pictures.push((pts_ns, duration_ns)),
            Ok(Event::Failed(error)) => return Err(error),
            Ok(Event::Ended) => break,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                return Err(Error::new(Kind::Io, "nothing more comes from it"));
            }
        }
    }
    let film = begun.filter(|_| !pictures.is_empty());
    let film = film.ok_or_else(|| Error::new(Kind::Io, "there is no video in it"))?;
    // They come in the order of decoding.
    pictures.sort_by_key(|(pts_ns, _)| *pts_ns);
    let mut retimer = Retimer::new(fps);
    retimer.set_source(film.fps, false);
    for (pts_ns, duration_ns) in &pictures {
        let time_ns = pts_ns.or_else(|| retimer.expected_ns()).unwrap_or(0);
        // One that is late is left out.
        let _ = retimer.add(time_ns, *duration_ns, || false);
    }
    retimer.end(None);
    let frames =
        std::iter::from_fn(|| retimer.ready()).last().map_or(0, |stretch| stretch.outputs.1);
    Ok(Some(About { film, pictures: pictures.len() as u64, frames }))
}

fn build(pipeline: &gst::Pipeline, path: &Path, say: Sender<Event>) -> Result<()> {
    let source = make("filesrc")?;
    let location = path.to_str().ok_or_else(|| {
        Error::usage("GStreamer takes names in UTF-8 only; give the file such a name")
    })?;
    source.set_property("location", location);
    let parse = make("parsebin")?;
    pipeline.add_many([&source, &parse]).map_err(Error::fault)?;
    source.link(&parse).map_err(Error::fault)?;
    if let Some(bus) = pipeline.bus() {
        let say = say.clone();
        bus.set_sync_handler(move |_, message| {
            if let Some(mut error) = posted_error(message) {
                error.kind = Kind::Io;
                let _ = say.send(Event::Failed(error));
            }
            gst::BusSyncReply::Drop
        });
    }
    let weak = pipeline.downgrade();
    let taken = Arc::new(Mutex::new(false));
    let (ending, is_taken) = (say.clone(), taken.clone());
    parse.connect_pad_added(move |_, pad| {
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let is_video = caps.structure(0).is_some_and(|s| s.name().starts_with("video/"));
        let Some(pipeline) = weak.upgrade().filter(|_| is_video) else { return };
        if std::mem::replace(&mut *lock(&is_taken), true) {
            return;
        }
        if let Err(error) = add_sink(&pipeline, pad, say.clone()) {
            let _ = say.send(Event::Failed(error));
        }
    });
    parse.connect_no_more_pads(move |_| {
        if !*lock(&taken) {
            let _ = ending.send(Event::Ended);
        }
    });
    Ok(())
}

fn add_sink(pipeline: &gst::Pipeline, pad: &gst::Pad, say: Sender<Event>) -> Result<()> {
    let sink =
        gst_app::AppSink::builder().sync(false).async_(false).enable_last_sample(false).build();
    sink.set_max_buffers(WAITING as u32);
    let ended = say.clone();
    let mut begun = false;
    sink.set_callbacks(
        gst_app::AppSinkCallbacks::builder()
            .new_sample(move |sink| {
                let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                if !std::mem::replace(&mut begun, true) {
                    let film = sample.caps().map(about);
                    say.send(Event::Begins(film.ok_or(gst::FlowError::Error)?))
                        .map_err(|_| gst::FlowError::Eos)?;
                }
                let buffer = sample.buffer().ok_or(gst::FlowError::Error)?;
                // As the interpolation sees them: pictures outside of the segment never come.
                let segment = sample.segment().and_then(|s| s.downcast_ref::<gst::ClockTime>());
                let mut pts = buffer.pts();
                if let (Some(segment), Some(start)) = (segment, pts) {
                    let end = start + buffer.duration().unwrap_or(gst::ClockTime::from_nseconds(1));
                    match segment.clip(start, end) {
                        Some((Some(clipped), _)) => pts = Some(clipped),
                        _ => return Ok(gst::FlowSuccess::Ok),
                    }
                }
                let ns = gst::ClockTime::nseconds;
                let picture =
                    Event::Picture { pts_ns: pts.map(ns), duration_ns: buffer.duration().map(ns) };
                say.send(picture).map(|()| gst::FlowSuccess::Ok).map_err(|_| gst::FlowError::Eos)
            })
            .eos(move |_| {
                let _ = ended.send(Event::Ended);
            })
            .build(),
    );
    pipeline.add(&sink).map_err(Error::fault)?;
    sink.sync_state_with_parent().map_err(Error::fault)?;
    let to = sink.static_pad("sink").ok_or_else(|| Error::internal("no pad"))?;
    pad.link(&to).map(drop).map_err(Error::fault)
}

fn about(caps: &gst::CapsRef) -> Film {
    let number = |field: &str| {
        let structure = caps.structure(0);
        structure.and_then(|s| s.get::<i32>(field).ok()).and_then(|n| u32::try_from(n).ok())
    };
    let fps = caps.structure(0).and_then(|s| s.get::<gst::Fraction>("framerate").ok());
    let part = |n: i32| u32::try_from(n).unwrap_or_default();
    Film {
        width: number("width").unwrap_or_default(),
        height: number("height").unwrap_or_default(),
        fps: fps.and_then(|fps| FrameRate::new(part(fps.numer()), part(fps.denom()))),
    }
}
