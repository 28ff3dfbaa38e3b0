//! One part of a recording, read from its start to its end: sound as it is encoded, pictures as
//! they are encoded, or decoded.
//!
//! ```text
//! filesrc ! qtdemux --video--> (h264parse ! decoder !) appsink --Event--> Reader
//!                   --audio--> appsink -----------------Event--^
//! ```
//!
//! Holds: units come in the order of the file, with times from the part's start.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use crate::base::error::{Error, Kind, Result};
use crate::stream::check::Need;
use crate::stream::priority::{self, Importance};
use crate::stream::{make, posted_error, take_down};

/// Units that may wait. When it is full the reading thread waits; decoded pictures are large.
const EVENTS: usize = 8;
/// A disk that takes longer than this for one unit is taken for dead.
const PATIENCE: Duration = Duration::from_secs(60);

const H264_DECODER: Need = Need(&["avdec_h264", "openh264dec"]);

/// Whether pictures are wanted as they are in the file or decoded to I420.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pictures {
    Encoded,
    Decoded,
}

/// A picture or an AAC access unit.
pub struct Piece {
    pub is_picture: bool,
    pub pts_ns: u64,
    pub sample: gst::Sample,
}

enum Event {
    Piece(Piece),
    /// One of the two streams is over.
    Ended,
    Failed(Error),
}

pub struct Reader {
    path: PathBuf,
    pipeline: gst::Pipeline,
    /// Taken first when the reader goes, so that no thread waits for room in it.
    events: Option<Receiver<Event>>,
    streams_left: u32,
}

impl Reader {
    /// # Errors
    /// Names the file.
    pub fn open(path: &Path, pictures: Pictures) -> Result<Self> {
        std::fs::File::open(path)
            .map_err(|e| Error::io(format!("cannot open {}", path.display()), e))?;
        let (say, events) = bounded(EVENTS);
        let pipeline = gst::Pipeline::new();
        let reader = Reader {
            path: path.to_path_buf(),
            pipeline: pipeline.clone(),
            events: Some(events),
            streams_left: 2,
        };
        build(&pipeline, path, pictures, say)?;
        pipeline.set_state(gst::State::Playing).map_err(|e| reader.unreadable(Error::fault(e)))?;
        Ok(reader)
    }

    /// The next piece; `None`: the part is over.
    ///
    /// # Errors
    /// Names the file and says what is wrong with it.
    pub fn next(&mut self) -> Result<Option<Piece>> {
        while self.streams_left > 0 {
            let event = self.events.as_ref().map(|events| events.recv_timeout(PATIENCE));
            match event {
                Some(Ok(Event::Piece(piece))) => return Ok(Some(piece)),
                Some(Ok(Event::Ended)) => self.streams_left -= 1,
                Some(Ok(Event::Failed(error))) => return Err(self.unreadable(error)),
                _ => {
                    let error = Error::new(Kind::Io, "nothing more comes from the file");
                    return Err(self.unreadable(error));
                }
            }
        }
        Ok(None)
    }

    /// That something is wrong with this part.
    pub fn unreadable(&self, error: Error) -> Error {
        error.context(format!("cannot read {}", self.path.display()))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.events = None;
        take_down(&self.pipeline);
    }
}

fn build(
    pipeline: &gst::Pipeline,
    path: &Path,
    pictures: Pictures,
    say: Sender<Event>,
) -> Result<()> {
    tell_bus(pipeline, &say);
    let source = make("filesrc")?;
    source.set_property("location", path.to_string_lossy().as_ref());
    let demux = make("qtdemux")?;
    pipeline.add_many([&source, &demux]).map_err(Error::fault)?;
    source.link(&demux).map_err(Error::fault)?;

    let mut chain = Vec::new();
    if pictures == Pictures::Decoded {
        let decoder = H264_DECODER.found().unwrap_or(H264_DECODER.0[0]);
        chain.extend([make("h264parse")?, make(decoder)?]);
    }
    let video = branch(pipeline, chain, pictures == Pictures::Decoded, true, &say)?;
    let audio = branch(pipeline, Vec::new(), false, false, &say)?;
    let (to_video, to_audio) = (video.clone(), audio.clone());
    demux.connect_pad_added(move |_, pad| {
        let caps = pad.current_caps();
        let name = caps.as_ref().and_then(|c| c.structure(0)).map(|s| s.name().to_string());
        let to = match name.as_deref() {
            Some("video/x-h264") => &to_video,
            Some("audio/mpeg") => &to_audio,
            _ => return,
        };
        if !to.is_linked() {
            let _ = pad.link(to);
        }
    });
    // A stream that is not there is over.
    demux.connect_no_more_pads(move |_| {
        for pad in [&video, &audio].into_iter().filter(|pad| !pad.is_linked()) {
            pad.send_event(gst::event::Eos::new());
        }
    });
    Ok(())
}

/// `chain ! appsink`; returns the pad at its beginning.
fn branch(
    pipeline: &gst::Pipeline,
    mut chain: Vec<gst::Element>,
    is_raw: bool,
    is_picture: bool,
    say: &Sender<Event>,
) -> Result<gst::Pad> {
    let sink = gst_app::AppSink::builder()
        .sync(false)
        .async_(false)
        .enable_last_sample(false)
        .max_buffers(1)
        .build();
    if is_raw {
        let i420 = gst::Caps::builder("video/x-raw").field("format", "I420").build();
        sink.set_caps(Some(&i420));
    }
    let (out, ended) = (say.clone(), say.clone());
    sink.set_callbacks(
        gst_app::AppSinkCallbacks::builder()
            .new_sample(move |sink| {
                let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                let pts = sample
                    .segment()
                    .and_then(|s| s.downcast_ref::<gst::ClockTime>())
                    .and_then(|s| s.to_running_time(sample.buffer()?.pts()));
                // What lies before the start is an encoder's priming.
                let Some(pts) = pts else { return Ok(gst::FlowSuccess::Ok) };
                out.send(Event::Piece(Piece { is_picture, pts_ns: pts.nseconds(), sample }))
                    .map(|()| gst::FlowSuccess::Ok)
                    .map_err(|_| gst::FlowError::Flushing)
            })
            .eos(move |_| {
                let _ = ended.send(Event::Ended);
            })
            .build(),
    );
    chain.push(sink.upcast());
    pipeline.add_many(&chain).map_err(Error::fault)?;
    gst::Element::link_many(&chain).map_err(Error::fault)?;
    chain[0].static_pad("sink").ok_or_else(|| Error::internal("no pad"))
}

/// Passes on what elements post.
fn tell_bus(pipeline: &gst::Pipeline, say: &Sender<Event>) {
    let Some(bus) = pipeline.bus() else { return };
    let say = say.clone();
    bus.set_sync_handler(move |_, message| {
        priority::enter(message, Importance::Background);
        if let Some(error) = posted_error(message) {
            let _ = say.send(Event::Failed(error));
        }
        // Nobody reads the bus.
        gst::BusSyncReply::Drop
    });
}
