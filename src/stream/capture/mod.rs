//! Brings sound in: one source at a time, changed while the show runs, on a thread of its own.
//!
//! ```text
//! device, address --> pipeline --> Drift --+--> audio ring --> render thread
//! file, tone ------------------------------+--> whoever listens
//! ```
//!
//! Holds: whatever a source does, the ring has silence at least, and the show goes on. A source that
//! dies is told of and opened again, after waits that grow, until there is another wish. Only this
//! thread touches its pipelines.

mod delivery;
mod device;
#[cfg(target_os = "linux")]
mod jack;
pub mod list;
mod made;
mod open;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use delivery::Delivery;
pub use delivery::Listener;
pub(super) use device::append;

use super::decode::{Decoding, What};
use super::priority::{self, Importance};
use super::{lock, raw};
use crate::audio::{Shared, Writer};
use crate::base::clock::Clock;
use crate::base::error::{Error, Result};
use crate::config::AudioSource;

/// Waits between two tries, doubling.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(4);
/// A source that gave sound for so long begins the waits anew.
const STEADY: Duration = Duration::from_secs(5);
/// How long the show's end waits for a source to close.
const END_WITHIN: Duration = Duration::from_secs(1);
/// Wishes that may wait; a further one is refused.
const WISHES: usize = 16;

/// What sound is asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    Source(AudioSource),
    /// A beep with each whole second of the show, by a clock that is so many millionths off: what a
    /// sync test listens to.
    Beep {
        ppm: f64,
    },
}

impl Wanted {
    fn shown(&self) -> String {
        match self {
            Wanted::Source(source) => source.shown(),
            Wanted::Beep { .. } => "beep".to_owned(),
        }
    }
}

impl From<AudioSource> for Wanted {
    fn from(source: AudioSource) -> Self {
        Wanted::Source(source)
    }
}

/// How a source is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SourceState {
    /// It is being opened.
    #[default]
    Opening,
    Live,
    /// It is away; it is opened again.
    Lost,
    /// A file that was to be played once has ended.
    Ended,
}

impl SourceState {
    pub const ALL: [SourceState; 4] =
        [SourceState::Opening, SourceState::Live, SourceState::Lost, SourceState::Ended];

    pub fn name(self) -> &'static str {
        match self {
            SourceState::Opening => "opening",
            SourceState::Live => "live",
            SourceState::Lost => "lost",
            SourceState::Ended => "ended",
        }
    }
}

/// What others may know.
#[derive(Clone, Debug, Default)]
pub struct Now {
    pub source: String,
    pub state: SourceState,
    /// Why it is lost.
    pub reason: Option<String>,
    /// Times that it came back.
    pub returns: u64,
    /// How much faster its clock is than the show's, in millionths.
    pub drift_ppm: f64,
    /// How much later its sound stands than it should.
    pub error_ms: f64,
    /// Times that so much was missing that it began anew.
    pub restarts: u64,
}

/// What a capture is made of.
pub struct Setup {
    pub wanted: Wanted,
    pub clock: Arc<dyn Clock>,
    pub shared: Arc<Shared>,
    /// Where the sound goes; `None`: only to the listener.
    pub writer: Option<Writer>,
    /// Is given every sample as it comes, on the capture's thread.
    pub listener: Option<Listener>,
}

pub struct Capture {
    wishes: Sender<Wanted>,
    now: Arc<Mutex<Now>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// Nothing is sent: it is disconnected when the thread has ended.
    ended: Receiver<()>,
}

impl Capture {
    /// Starts the thread.
    ///
    /// # Errors
    /// Only a fault of the machine; what is wrong with a source is told by [`Capture::now`].
    pub fn start(setup: Setup) -> Result<Self> {
        let (wishes, heard) = bounded(WISHES);
        let now = Arc::new(Mutex::new(Now::default()));
        let over = Arc::new(AtomicBool::new(false));
        let capturing = Capturing {
            wanted: setup.wanted,
            // Who only listens is no show, and leaves a show's ports alone.
            jack_name: match &setup.writer {
                Some(_) => "vfaq".to_owned(),
                None => format!("vfaq-meter-{}", std::process::id()),
            },
            clock: setup.clock.clone(),
            shared: setup.shared.clone(),
            delivery: Delivery::new(setup.writer, setup.listener, setup.clock),
            wishes: heard,
            now: now.clone(),
            over: over.clone(),
        };
        let (ending, ended) = bounded(0);
        let thread = std::thread::Builder::new()
            .name("sound".into())
            .spawn(move || {
                let _ending = ending;
                capturing.run();
            })
            .map_err(|e| Error::internal("cannot start the sound").with_source(e))?;
        Ok(Capture { wishes, now, over, thread: Some(thread), ended })
    }

    /// Takes another source from now on.
    ///
    /// # Errors
    /// It is too busy to hear.
    pub fn switch(&self, wanted: Wanted) -> Result<()> {
        self.wishes
            .try_send(wanted)
            .map_err(|_| Error::unavailable("the sound is busy with another source; try again"))
    }

    pub fn now(&self) -> Now {
        lock(&self.now).clone()
    }

    /// What a performer should know.
    pub fn trouble(&self) -> Option<String> {
        let now = self.now();
        let why = now.reason.filter(|_| now.state == SourceState::Lost)?;
        Some(format!("no sound from {}: {why}; silence until it is there", now.source))
    }
}

impl Drop for Capture {
    /// A dropped sender ends the thread. A driver or a server may hold it; then it is left behind.
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.wishes = bounded(0).0;
        let Some(thread) = self.thread.take() else { return };
        match self.ended.recv_timeout(END_WITHIN) {
            Err(RecvTimeoutError::Timeout) => {
                tracing::warn!("the sound's source does not close; it is left behind");
            }
            _ => drop(thread.join()),
        }
    }
}

/// Whether a file holds sound that can be played.
///
/// # Errors
/// Names the file and what is wrong with it.
pub fn check_file(path: &Path) -> Result<()> {
    match open_file(path)?.next(&|| false)? {
        Some(_) => Ok(()),
        None => Err(no_sound(path)),
    }
}

fn no_sound(path: &Path) -> Error {
    Error::usage(format!("there is no sound in {}", path.display()))
}

/// Whether a source can be opened at this moment.
///
/// # Errors
/// What is missing, and what to do.
pub fn check(source: &AudioSource) -> Result<()> {
    match source {
        AudioSource::Silence | AudioSource::Tone => Ok(()),
        AudioSource::File { path, .. } => check_file(path),
        device => open::check(device),
    }
}

pub(super) fn open_file(path: &Path) -> Result<Decoding> {
    Decoding::open(path, What::Sound, &raw::audio_caps(), |pipeline, sink| {
        open::converting(pipeline, sink)
    })
}

/// How a life of a source ended.
#[derive(Debug)]
enum Ending {
    /// Another is wanted.
    Switched(Wanted),
    /// The show is over.
    Over,
    Lost(String),
    /// It has played to its end.
    Ended,
}

/// The thread.
struct Capturing {
    wanted: Wanted,
    jack_name: String,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
    delivery: Delivery,
    wishes: Receiver<Wanted>,
    now: Arc<Mutex<Now>>,
    /// The show is over: whatever is waited for is not.
    over: Arc<AtomicBool>,
}

impl Capturing {
    fn run(mut self) {
        priority::set_current_thread(Importance::Picture);
        let mut wait = FIRST_WAIT;
        let mut was_live = false;
        self.opens();
        loop {
            let began = self.clock.now();
            let ending = self.life(was_live);
            self.shared.set_flowing(false);
            let live = lock(&self.now).state == SourceState::Live;
            was_live |= live;
            if live && self.clock.now() > began + STEADY {
                wait = FIRST_WAIT;
            }
            let ending = match ending {
                Ending::Lost(reason) => {
                    self.tell(SourceState::Lost, Some(reason));
                    let ending = self.pause(wait);
                    wait = (wait * 2).min(LONGEST_WAIT);
                    ending
                }
                Ending::Ended => {
                    self.tell(SourceState::Ended, None);
                    Some(self.rest())
                }
                other => Some(other),
            };
            match ending {
                Some(Ending::Switched(wanted)) => {
                    self.wanted = wanted;
                    (wait, was_live) = (FIRST_WAIT, false);
                    self.opens();
                }
                Some(Ending::Over) => return,
                Some(Ending::Lost(_) | Ending::Ended) | None => {}
            }
        }
    }

    /// From opening the source to its end.
    fn life(&mut self, was_live: bool) -> Ending {
        match self.wanted.clone() {
            Wanted::Beep { ppm } => self.beeps(ppm),
            Wanted::Source(AudioSource::Silence) => {
                self.is_live(was_live);
                self.rest()
            }
            Wanted::Source(AudioSource::Tone) => self.plays_tone(),
            Wanted::Source(AudioSource::File { path, once }) => self.plays_file(&path, once),
            Wanted::Source(device) => self.plays_device(&device, was_live),
        }
    }

    /// The next wish, if there is one within `patience`.
    fn wish(&self, patience: Duration) -> Option<Ending> {
        let wish = match patience.is_zero() {
            true => self.wishes.try_recv().map_err(|e| match e.is_empty() {
                true => RecvTimeoutError::Timeout,
                false => RecvTimeoutError::Disconnected,
            }),
            false => self.wishes.recv_timeout(patience),
        };
        match wish {
            // The last one counts.
            Ok(wanted) => Some(Ending::Switched(self.wishes.try_iter().last().unwrap_or(wanted))),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Ending::Over),
        }
    }

    /// Lets time pass, and hands on what is still due to the listener.
    fn pause(&mut self, patience: Duration) -> Option<Ending> {
        let until = self.clock.now() + patience;
        loop {
            let left = until.saturating_sub(self.clock.now());
            self.delivery.tell_due();
            if left.is_zero() {
                return None;
            }
            if let Some(ending) = self.wish(left.min(Duration::from_millis(20))) {
                return Some(ending);
            }
        }
    }

    /// Until there is a wish.
    fn rest(&mut self) -> Ending {
        loop {
            if let Some(ending) = self.pause(Duration::from_secs(1)) {
                return ending;
            }
        }
    }

    fn opens(&self) {
        *lock(&self.now) = Now { source: self.wanted.shown(), ..Now::default() };
    }

    fn is_live(&self, again: bool) {
        let mut now = lock(&self.now);
        if now.state != SourceState::Live {
            now.returns += u64::from(again);
            now.state = SourceState::Live;
            now.reason = None;
        }
    }

    fn tell(&self, state: SourceState, reason: Option<String>) {
        let mut now = lock(&self.now);
        (now.state, now.reason) = (state, reason);
    }
}
