//! A film from a file to a file, or to a pipe, at another rate and size.
//!
//! ```text
//! file: filesrc ! decodebin --video--+
//!                     |              +--> queue ! deinterlace ! videoconvert ! vfaqinterpolate ! ...
//! y4m:  reader ! appsrc -------------+
//!                     |
//!                     +-------audio (each track, as it is)--> queue ! parser ! mux
//!
//! ... ! appsink (y4m)          ... ! encoder ! h264parse ! queue ! mux ! filesink
//! ```
//!
//! Holds: pictures are converted once, to I420, 8 bits, BT.709, limited range, progressive and
//! upright. Sound is copied where the container takes it, and encoded as AAC where not; subtitles
//! are left out. Of a part of a film ([`Job::part`]) the sound is left out too. The queues before the muxer are long, as sound runs ahead of pictures that take
//! work.

mod count;
mod encode;
mod input;
mod output;
mod part;
mod whole;
mod y4m;

use std::io::Write;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video as gst_video;

use self::part::Gate;
use super::encoding::ladder::Rung;
use super::interpolate::{Counts, Settings, VfaqInterpolate};
use super::{fraction, lock, make, posted_error, take_down};
use crate::base::error::{Error, Kind, Result};
use crate::base::time::FrameRate;

pub use count::{About, look};
pub use encode::{WORST_CRF, X264Preset, find as find_encoder, first_that_works};
pub(super) use input::add_pictures;

/// How much of the film before a part is looked at, so that it is known what repeats what.
pub const LEAD: Duration = Duration::from_secs(4);
/// How often progress is told, and a wish to stop heard.
const STEP: gst::ClockTime = gst::ClockTime::from_mseconds(100);
/// Steps without anything happening after which something hangs: two minutes.
const PATIENCE_STEPS: u32 = 1200;
/// How long a pipeline may take to end.
const END_LIMIT: Duration = Duration::from_secs(5);
/// The smallest picture that x264 takes.
const LEAST_SIDE: u32 = 16;
/// Errors of one fault that are looked at.
const MOST_ERRORS: usize = 8;
/// Pictures between two threads.
const QUEUED_PICTURES: u32 = 4;

/// Where a film comes from.
#[derive(Clone, Debug)]
pub enum Input {
    File(PathBuf),
    /// YUV4MPEG2 on standard input.
    Stdin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    Mp4,
    Mkv,
}

/// Where it goes.
pub enum Output {
    /// The file is there already, and is written over.
    Encoded {
        path: PathBuf,
        container: Container,
        encoder: Rung,
        crf: u32,
        /// x264's speed preset; other encoders have one of their own.
        preset: X264Preset,
    },
    /// YUV4MPEG2.
    Raw(Box<dyn Write + Send>),
}

/// What both are called, for messages.
#[derive(Clone, Debug)]
pub struct Names {
    pub input: String,
    pub output: String,
}

impl Names {
    fn unread(&self, error: Error) -> Error {
        error.context(format!("cannot read {}", self.input))
    }

    fn unwritten(&self, error: Error) -> Error {
        error.context(format!("cannot write {}", self.output))
    }
}

/// What is to be done.
pub struct Job {
    pub input: Input,
    pub output: Output,
    pub names: Names,
    pub fps: FrameRate,
    /// `None`: that of the source, made even for an encoder.
    pub size: Option<(u32, u32)>,
    pub settings: Settings,
    /// Only these frames of the new film, counted from 0; `None`: all of them. Parts put together are
    /// frame for frame what the whole is. One exception: where a picture fades more slowly than an
    /// encoder's noise for longer than [`LEAD`], a part may take another of its frames for a repeat.
    /// A part has no sound. One that begins behind the end of the film is an error.
    pub part: Option<Range<u64>>,
}

/// What happens, as it happens.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// The first picture is there.
    Begins { source: Film, out: Film },
    /// Something that the user should know.
    Note(String),
    /// So many frames are written, of as many as the film should have.
    Progress { frames: u64, of: Option<u64> },
}

/// Size and rate of a film.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Film {
    pub width: u32,
    pub height: u32,
    /// `None`: it has no constant one.
    pub fps: Option<FrameRate>,
}

/// How a job ended, if not by an error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ended {
    Done(Counts),
    /// It was stopped; what was written is not whole.
    Stopped,
}

/// What threads of the pipeline tell the one that runs it.
enum Event {
    Step(Step),
    Failed(Error),
}

/// Tells the thread that runs the job. Nobody waits for it: it keeps up with what little comes.
#[derive(Clone)]
struct Teller {
    events: Sender<Event>,
    names: Names,
}

impl Teller {
    fn step(&self, step: Step) {
        let _ = self.events.try_send(Event::Step(step));
    }

    fn note(&self, note: impl Into<String>) {
        self.step(Step::Note(note.into()));
    }

    /// The input is not as it should be.
    fn unread(&self, error: Error) {
        let _ = self.events.try_send(Event::Failed(self.names.unread(error)));
    }

    fn unwritten(&self, error: Error) {
        let _ = self.events.try_send(Event::Failed(self.names.unwritten(error)));
    }
}

/// Runs a job to its end, or until `stop` is set.
///
/// # Errors
/// What is wrong with the input, or why the output cannot be written. What was written is not whole
/// then.
pub fn run(job: Job, stop: &AtomicBool, on_step: &mut dyn FnMut(Step)) -> Result<Ended> {
    let source = match &job.input {
        Input::Stdin => match input::begin_y4m(stop).map_err(|error| job.names.unread(error))? {
            Some(reader) => Source::Pictures(Box::new(reader)),
            None => return Ok(Ended::Stopped),
        },
        Input::File(path) => Source::File(path.clone()),
    };
    let pipeline = gst::Pipeline::new();
    let (sender, events) = bounded(64);
    let teller = Teller { events: sender, names: job.names.clone() };
    let result = Running::start(&pipeline, job, source, teller, events)
        .and_then(|mut running| running.watch(stop, on_step));
    end(pipeline);
    result
}

/// Takes the pipeline down. A part of it that hangs is left to its thread.
fn end(pipeline: gst::Pipeline) {
    let (sender, ended) = bounded::<()>(1);
    let taking = pipeline.clone();
    let thread = std::thread::Builder::new().name("end".into()).spawn(move || {
        take_down(&taking);
        drop(sender);
    });
    match thread {
        Ok(_) => {
            let _ = ended.recv_timeout(END_LIMIT);
        }
        Err(_) => take_down(&pipeline),
    }
}

/// An [`Input`] that has begun.
enum Source {
    Pictures(Box<y4m::Reader>),
    File(PathBuf),
}

struct Running {
    pipeline: gst::Pipeline,
    interpolate: VfaqInterpolate,
    events: Receiver<Event>,
    names: Names,
    fps: FrameRate,
    part: Option<Range<u64>>,
    feeder: Option<input::Feeder>,
    raw: Option<output::Raw>,
}

impl Running {
    fn start(
        pipeline: &gst::Pipeline,
        job: Job,
        source: Source,
        teller: Teller,
        events: Receiver<Event>,
    ) -> Result<Self> {
        let interpolate = VfaqInterpolate::new(job.settings);
        let filter = make("capsfilter")?;
        pipeline.add_many([interpolate.upcast_ref(), &filter]).map_err(Error::fault)?;
        interpolate.link(&filter).map_err(Error::fault)?;
        let is_encoded = matches!(job.output, Output::Encoded { .. });
        choose_format(&interpolate, &filter, (job.fps, job.size, is_encoded), teller.clone());

        let (mux, raw) = match job.output {
            Output::Encoded { path, container, encoder, crf, preset } => {
                let encoded =
                    output::Encoded { path, container, encoder, crf, preset, fps: job.fps };
                (Some(output::encode(pipeline, &filter, encoded)?), None)
            }
            Output::Raw(out) => (None, Some(output::write_raw(pipeline, &filter, out, &teller)?)),
        };
        let gate = job.part.clone().map(|part| Gate::new(&interpolate, job.fps, part, &teller));
        let to = interpolate.upcast_ref();
        let feeder = match source {
            Source::Pictures(reader) => {
                input::feed_y4m(pipeline, to, *reader, None, gate, teller).map(Some)
            }
            Source::File(path) => input::open_file(pipeline, to, mux, path, gate, teller),
        };
        let feeder = feeder.map_err(|error| job.names.unread(error))?;
        let (names, fps, part) = (job.names, job.fps, job.part);
        let pipeline = pipeline.clone();
        let running = Running { pipeline, interpolate, events, names, fps, part, feeder, raw };
        if running.pipeline.set_state(gst::State::Playing).is_err() {
            let error = running.failure(None);
            return Err(error.unwrap_or_else(|| Error::internal("it does not start")));
        }
        Ok(running)
    }

    /// The error to tell of all that were told or posted; `first` was posted.
    fn failure(&self, first: Option<gst::Message>) -> Option<Error> {
        // What a thread of ours met is nearer to the cause.
        let told = self.events.try_iter().find_map(|event| match event {
            Event::Failed(error) => Some(error),
            Event::Step(_) => None,
        });
        if told.is_some() {
            return told;
        }
        let bus = self.pipeline.bus()?;
        let next = || bus.timed_pop_filtered(STEP, &[gst::MessageType::Error]);
        let posted: Vec<gst::Message> =
            first.into_iter().chain(std::iter::from_fn(next)).take(MOST_ERRORS).collect();
        // So is what the system said, which may come behind what follows from it.
        let of_system = posted.iter().find(|message| system_error(message).is_some());
        self.posted(of_system.or(posted.first())?)
    }

    /// The error in a message, with the file that it is about.
    fn posted(&self, message: &gst::Message) -> Option<Error> {
        let mut error = posted_error(message)?;
        let source = message.src()?.name();
        if source == self.interpolate.name() {
            return Some(error);
        }
        error.kind = Kind::Io;
        if let Some(text) = system_error(message) {
            error = error.with_source(text);
        }
        Some(match output::is_output(&source) {
            true => self.names.unwritten(error),
            false => self.names.unread(error),
        })
    }

    fn watch(&mut self, stop: &AtomicBool, on_step: &mut dyn FnMut(Step)) -> Result<Ended> {
        let bus = self.pipeline.bus().ok_or_else(|| Error::internal("a pipeline has no bus"))?;
        let wanted = [gst::MessageType::Eos, gst::MessageType::Error];
        let (mut seen, mut idle) = (Counts::default(), 0);
        loop {
            let message = bus.timed_pop_filtered(STEP, &wanted);
            if stop.load(Ordering::Relaxed) {
                return Ok(Ended::Stopped);
            }
            for event in self.events.try_iter() {
                match event {
                    Event::Failed(error) => return Err(error),
                    Event::Step(step) => on_step(step),
                }
            }
            let counts = self.interpolate.counts();
            match message.as_ref().map(|message| message.view()) {
                Some(gst::MessageView::Eos(_)) => break,
                Some(gst::MessageView::Error(_)) => {
                    let error = self.failure(message);
                    return Err(error.unwrap_or_else(|| Error::internal("an unknown fault")));
                }
                _ => {}
            }
            (seen, idle) = if counts == seen { (seen, idle + 1) } else { (counts, 0) };
            // Who is at the other end of a pipe has all the time.
            let may_wait =
                self.raw.is_some() || self.feeder.as_ref().is_some_and(input::Feeder::may_wait);
            if idle > PATIENCE_STEPS && !may_wait {
                return Err(Error::internal("nothing has happened for two minutes"));
            }
            on_step(Step::Progress { frames: counts.frames_out, of: self.expected() });
        }
        // A thread of ours ends a stream that it cannot go on with.
        let failed = |event| matches!(event, Event::Failed(_)).then_some(event);
        if let Some(Event::Failed(error)) = self.events.try_iter().find_map(failed) {
            return Err(error);
        }
        if let Some(raw) = &self.raw {
            raw.flush().map_err(|error| self.names.unwritten(error))?;
        }
        let counts = self.interpolate.counts();
        if counts.frames_out == 0 {
            let error = Error::new(Kind::Io, "no picture of it can be decoded");
            return Err(self.names.unread(error));
        }
        Ok(Ended::Done(counts))
    }

    /// How many frames the film should have.
    fn expected(&self) -> Option<u64> {
        if let Some(part) = &self.part {
            return Some(part.end - part.start);
        }
        let length_ns = match &self.feeder {
            Some(feeder) => feeder.length_ns?,
            None => self.pipeline.query_duration::<gst::ClockTime>()?.nseconds(),
        };
        Some(self.fps.frames_in(length_ns)).filter(|frames| *frames > 0)
    }
}

/// What the operating system said, which GStreamer puts into a message's details.
fn system_error(message: &gst::Message) -> Option<String> {
    let gst::MessageView::Error(error) = message.view() else { return None };
    let details = error.debug()?;
    let (_, text) = details.split_once("system error: ")?;
    Some(text.lines().next()?.trim().to_owned())
}

/// Fixes what comes out when the first picture is known: later ones of another size are scaled to
/// it.
fn choose_format(
    interpolate: &VfaqInterpolate,
    filter: &gst::Element,
    (fps, size, is_encoded): (FrameRate, Option<(u32, u32)>, bool),
    teller: Teller,
) {
    let Some(pad) = interpolate.static_pad("sink") else { return };
    let filter = filter.downgrade();
    let chosen = Mutex::new(false);
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        let Some(gst::EventView::Caps(caps)) = info.event().map(|event| event.view()) else {
            return gst::PadProbeReturn::Ok;
        };
        let Ok(source) = gst_video::VideoInfo::from_caps(caps.caps()) else {
            return gst::PadProbeReturn::Ok;
        };
        let mut chosen = lock(&chosen);
        if std::mem::replace(&mut *chosen, true) {
            return gst::PadProbeReturn::Ok;
        }
        let own = (source.width(), source.height());
        let even = |side: u32| side.next_multiple_of(2);
        let (width, height) = match size {
            Some(size) => size,
            None if is_encoded => (even(own.0), even(own.1)),
            None => own,
        };
        if is_encoded && width.min(height) < LEAST_SIDE {
            teller.unwritten(Error::usage(format!(
                "{width}x{height} is too small for H.264, which begins at {LEAST_SIDE}x{LEAST_SIDE}; \
                 --size makes it larger"
            )));
            return gst::PadProbeReturn::Drop;
        }
        if size.is_none() && (width, height) != own {
            teller.note(format!(
                "{}x{} is scaled to {width}x{height}, as H.264 needs even sizes",
                own.0, own.1
            ));
        }
        let aspect = if size.is_some() { gst::Fraction::new(1, 1) } else { source.par() };
        let rate = |n: i32| u32::try_from(n).unwrap_or_default();
        let source_fps = FrameRate::new(rate(source.fps().numer()), rate(source.fps().denom()));
        teller.step(Step::Begins {
            source: Film { width: own.0, height: own.1, fps: source_fps },
            out: Film { width, height, fps: Some(fps) },
        });
        if let Some(filter) = filter.upgrade() {
            let caps = gst_video::VideoCapsBuilder::new()
                .format(gst_video::VideoFormat::I420)
                .width(width as i32)
                .height(height as i32)
                .framerate(fraction(fps))
                .pixel_aspect_ratio(aspect)
                .build();
            filter.set_property("caps", caps);
        }
        gst::PadProbeReturn::Ok
    });
}

/// The caps that every picture is brought to.
fn picture_caps() -> gst::Caps {
    gst_video::VideoCapsBuilder::new()
        .format(gst_video::VideoFormat::I420)
        .field("colorimetry", "bt709")
        .build()
}

/// A queue for pictures.
fn picture_queue() -> Result<gst::Element> {
    let queue = make("queue")?;
    queue.set_property("max-size-buffers", QUEUED_PICTURES);
    queue.set_property("max-size-bytes", 0u32);
    queue.set_property("max-size-time", 0u64);
    Ok(queue)
}

/// A queue for what is encoded; it holds minutes.
fn encoded_queue() -> Result<gst::Element> {
    const BYTES: u32 = 256 << 20;
    let queue = make("queue")?;
    queue.set_property("max-size-buffers", 0u32);
    queue.set_property("max-size-bytes", BYTES);
    queue.set_property("max-size-time", 0u64);
    Ok(queue)
}
