//! Outputs: where the stream goes. Each has its own feed, thread and supervisor; what happens to
//! one is seen on no other.
//!
//! ```text
//! Fanout ---Unit--> Life -> Kind (null, file, RTMP, SRT; NDI, display)
//! Tap ---RawUnit----^
//! Outputs --Wish--> Supervisor (states, back-off)
//! ```

mod chapters;
mod congestion;
mod display;
mod file;
mod fragment_tables;
mod gop_queue;
mod info;
mod kind;
mod ndi;
mod progress;
mod rtmp;
mod rtmp_connection;

mod send_queue;
mod srt;
mod supervisor;
pub(in crate::stream) mod writer;

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use gstreamer as gst;
use gstreamer_app as gst_app;

pub use chapters::Chapters;
pub use file::{File, PartName};
pub use info::{Now, OutputInfo};
pub use kind::{Ending, Kind, Life, Next, Null};
pub use supervisor::Wish;

use super::encodings::Encodings;
use super::fanout::Fanout;
use super::lock;
use super::raw::Tap;
use crate::base::clock::Clock;
use crate::base::error::{Error, Result};
use crate::base::time::FrameRate;
use crate::config::output::{OutputSpec, Target};
use display::Display;
use ndi::Ndi;
use rtmp::Rtmp;
use srt::Srt;
use supervisor::{Backoff, Supervisor};

/// What may wait for a file, and for any output's thread.
const QUEUE_BYTES: u64 = 64 << 20;
/// Wishes that may wait; a further one is dropped.
const WISHES: usize = 16;
/// Outputs of a show: each has a thread.
const MOST_OUTPUTS: usize = 32;

/// A running output.
pub struct Output {
    /// Counted from 1 over the whole show; never used again.
    pub id: u32,
    pub spec: OutputSpec,
    pub info: Arc<OutputInfo>,
    wishes: Sender<Wish>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Closes when the thread has finished.
    finished: Receiver<()>,
}

/// What an output is fed from.
#[derive(Clone)]
pub struct Feeds {
    pub encode: Encode,
    pub tap: Arc<Tap>,
    /// What the pictures of the tap are: width and height in pixels, and rate.
    pub picture: ((u32, u32), FrameRate),
    pub clock: Arc<dyn Clock>,
}

/// Where encoded units come from.
#[derive(Clone)]
pub enum Encode {
    /// This one, whatever the output asks for.
    This(Arc<Fanout>),
    /// The one that fits the output; asked for anew by each life, so that an encode of its own
    /// costs nothing while the output is off air.
    Fitting(Arc<Encodings>),
}

impl Encode {
    fn fanout(&self, spec: &OutputSpec) -> Result<Arc<Fanout>> {
        match self {
            Encode::This(fanout) => Ok(fanout.clone()),
            Encode::Fitting(encodings) => match spec.target {
                // They take raw pictures.
                Target::Ndi { .. } | Target::Display { .. } => Ok(encodings.main().clone()),
                _ => encodings.for_output(spec),
            },
        }
    }

    /// The show has ended.
    fn is_over(&self) -> bool {
        match self {
            Encode::This(fanout) => fanout.is_closed(),
            Encode::Fitting(encodings) => encodings.main().is_closed(),
        }
    }
}

impl Output {
    /// Starts an output at the next key frame.
    pub fn start(id: u32, spec: OutputSpec, feeds: &Feeds) -> Result<Self> {
        let kind = kind_of(&spec, feeds);
        Output::spawn(id, spec, kind, feeds)
    }

    /// Starts the recording, at the next marked key frame (the show's start) or at any; at a
    /// further marked one (behind a gap in time) it goes on in a further file.
    pub fn record(
        path: std::path::PathBuf,
        part_name: PartName,
        waits_for_mark: bool,
        chapters: Chapters,
        feeds: &Feeds,
    ) -> Result<Self> {
        let spec = OutputSpec::file(path);
        let file = File::recording(part_name, waits_for_mark, chapters);
        Output::spawn(0, spec, Box::new(file), feeds)
    }

    fn spawn(id: u32, spec: OutputSpec, kind: Box<dyn Kind>, feeds: &Feeds) -> Result<Self> {
        let info = Arc::new(OutputInfo::default());
        let (wishes, wished) = bounded(WISHES);
        let supervisor = Supervisor {
            kind,
            spec: spec.clone(),
            info: info.clone(),
            feeds: feeds.clone(),
            wishes: wished,
            backoff: Backoff::new(fastrand::u64(..)),
        };
        let (running, finished) = bounded(0);
        let thread = std::thread::Builder::new()
            .name(format!("out{id} {}", spec.kind()))
            .spawn(move || {
                supervisor.run();
                drop(running);
            })
            .map_err(|e| Error::internal("cannot start an output").with_source(e))?;
        Ok(Output { id, spec, info, wishes, thread: Mutex::new(Some(thread)), finished })
    }

    /// Asks something of it; it does so in its own time.
    pub fn wish(&self, wish: Wish) {
        // An output that has ended wants nothing, and one with so many wishes hangs.
        let _ = self.wishes.try_send(wish);
    }

    /// Waits until it has finished, for at most `limit`; false: it has not. To be called after it
    /// was asked to end.
    #[must_use]
    pub fn join(&self, limit: Duration) -> bool {
        // Nothing is ever sent; the channel closes.
        if self.finished.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            return false;
        }
        if let Some(thread) = lock(&self.thread).take() {
            let _ = thread.join();
        }
        true
    }
}

/// Where a connection's units go in. It never makes anybody wait: how much may be inside is for who
/// pushes to say.
fn open_source(caps: &gst::Caps) -> gst_app::AppSrc {
    gst_app::AppSrc::builder().caps(caps).format(gst::Format::Time).max_bytes(0).build()
}

fn kind_of(spec: &OutputSpec, feeds: &Feeds) -> Box<dyn Kind> {
    let (canvas, fps) = feeds.picture;
    match spec.target.clone() {
        Target::Null => Box::new(Null),
        Target::File { path, container } => Box::new(File::copy(path, container)),
        Target::Display { monitor, size } => Box::new(Display { monitor, size, canvas, fps }),
        Target::Rtmp(target) => Box::new(Rtmp::new(target)),
        Target::Srt(target) => Box::new(Srt::new(target)),
        Target::Ndi { name } => Box::new(Ndi { name, canvas, fps }),
    }
}

/// All outputs of a show but the recording; shared by whoever steers and whoever reports.
pub struct Outputs {
    feeds: Feeds,
    running: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    outputs: Vec<Arc<Output>>,
    /// Removed, and not finished yet.
    leaving: Vec<Arc<Output>>,
    last_id: u32,
    ended: bool,
}

impl Outputs {
    pub fn new(feeds: Feeds) -> Self {
        Outputs { feeds, running: Mutex::default() }
    }

    /// All of them, in the order in which they were added.
    pub fn list(&self) -> Vec<Arc<Output>> {
        lock(&self.running).outputs.clone()
    }

    /// Adds and starts one.
    ///
    /// # Errors
    /// `Conflict`: it is there already, there are too many, or its file exists. `Unavailable`: the
    /// show is ending.
    pub fn add(&self, spec: OutputSpec) -> Result<Arc<Output>> {
        // A disk may take its time; nobody waits for it.
        let fits = check(&spec);
        let mut running = lock(&self.running);
        if running.ended {
            return Err(Error::unavailable("the show is ending; no output can be added"));
        }
        let shown = spec.shown();
        running.leaving.retain(|output| !output.join(Duration::ZERO));
        if running.outputs.len() + running.leaving.len() >= MOST_OUTPUTS {
            return Err(Error::conflict(format!(
                "output {shown}: there are {MOST_OUTPUTS} outputs already; remove one first"
            )));
        }
        // Anything else that is there twice is refused by whom it concerns, on that output alone.
        if running.outputs.iter().any(|output| output.spec.same_file(&spec)) {
            return Err(Error::conflict(format!(
                "output {shown} is there already; start or retry that one, or remove it first"
            )));
        }
        fits?;
        let id = running.last_id + 1;
        let output = Arc::new(Output::start(id, spec, &self.feeds)?);
        running.last_id = id;
        running.outputs.push(output.clone());
        Ok(output)
    }

    /// The output with that number or name.
    ///
    /// # Errors
    /// `NotFound`: there is none; `Conflict`: several have that name.
    pub fn find(&self, key: &str) -> Result<Arc<Output>> {
        let running = lock(&self.running);
        let number: Option<u32> = key.parse().ok();
        let mut found = running
            .outputs
            .iter()
            .filter(|output| number == Some(output.id) || output.spec.name.as_deref() == Some(key));
        match (found.next(), found.next()) {
            (Some(output), None) => Ok(output.clone()),
            (Some(_), Some(_)) => {
                Err(Error::conflict(format!("several outputs are called '{key}'; use the number")))
            }
            (None, _) => {
                let known: Vec<String> = running
                    .outputs
                    .iter()
                    .map(|output| match &output.spec.name {
                        Some(name) => format!("{} ({name})", output.id),
                        None => output.id.to_string(),
                    })
                    .collect();
                let known = if known.is_empty() { "none".into() } else { known.join(", ") };
                Err(Error::not_found(format!("there is no output '{key}'; there are: {known}")))
            }
        }
    }

    /// Ends one and forgets it; it finishes in the background.
    pub fn remove(&self, id: u32) {
        let mut running = lock(&self.running);
        if let Some(place) = running.outputs.iter().position(|output| output.id == id) {
            let output = running.outputs.remove(place);
            output.wish(Wish::End);
            running.leaving.push(output);
        }
    }

    /// The show is over: every output finishes what it was fed. No further one can be added.
    /// Returns all that may not have finished yet.
    pub fn end(&self) -> Vec<Arc<Output>> {
        let mut running = lock(&self.running);
        running.ended = true;
        for output in &running.outputs {
            output.wish(Wish::End);
        }
        running.outputs.iter().chain(&running.leaving).cloned().collect()
    }
}

/// What is better known before an output starts.
///
/// # Errors
/// `Conflict`: its file exists.
pub fn check(spec: &OutputSpec) -> Result<()> {
    match &spec.target {
        Target::File { path, .. } if path.exists() => Err(Error::conflict(format!(
            "output file:{}: the file exists and is not overwritten; name another",
            path.display()
        ))),
        _ => Ok(()),
    }
}
