//! One H.264 encode of the picture into a fan-out, which goes on whatever its encoder does.
//!
//! ```text
//! Tap --(8 pictures, drops)--> feeder thread <--> Instance (one encoder)
//!                                   |
//!                                   +--> Fanout
//! ```
//!
//! Holds: every place of the grid comes out exactly once, in order: a picture that did not fit
//! into the queue is replaced by the one before (`repeated`), and pictures that were in an encoder
//! when it failed are encoded again by the next. Only an encoder that is over ten seconds behind the
//! picture leaves a gap, which is marked. The show never ends because of an encoder.

mod feeder;
mod instance;
pub mod ladder;
mod recovery;

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use gstreamer as gst;

use super::fanout::Fanout;
use super::fraction;
use super::raw::{RawLoad, Tap};
use super::sound::SoundOut;
use crate::base::effort::PresentEffort;
use crate::base::error::{Error, Result};
use crate::base::telemetry::{Counter, EncoderChange, Gauge, Peak, Timing};
use crate::base::time::FrameRate;
use crate::config::Live;
use crate::render::overlay::View;
use feeder::Feeder;
use ladder::Choice;
use recovery::Recovery;

/// Pictures that may wait for the encoder. Full: the new one is dropped and its place is filled
/// with the one before.
const QUEUE_PICTURES: usize = 8;

/// What an encoder is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct EncodeSettings {
    /// Width and height in pixels.
    pub canvas: (u32, u32),
    pub fps: FrameRate,
    pub bitrate_kbps: u32,
    pub keyframe_seconds: f64,
    /// The speed preset of x264; `None`: the default.
    pub preset: Option<String>,
    /// As quick as it goes, while the machine is too busy.
    pub lean: bool,
    /// Whose overlays its pictures have.
    pub view: View,
}

impl EncodeSettings {
    /// Frames from one key frame to the next, at least 1.
    fn key_interval(&self) -> u32 {
        ((self.keyframe_seconds * self.fps.as_f64()).round() as u32).max(1)
    }

    /// The caps of the encoded stream. They say nothing that changes with the encoder.
    fn caps(&self) -> gst::Caps {
        stream_caps(self.canvas, self.fps)
    }
}

/// What every encoder of ours gives.
pub(super) fn stream_caps(canvas: (u32, u32), fps: FrameRate) -> gst::Caps {
    gst::Caps::builder("video/x-h264")
        .field("stream-format", "byte-stream")
        .field("alignment", "au")
        .field("width", canvas.0 as i32)
        .field("height", canvas.1 as i32)
        .field("framerate", fraction(fps))
        .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
        .field("colorimetry", "bt709")
        .build()
}

impl From<&Live> for EncodeSettings {
    fn from(live: &Live) -> Self {
        EncodeSettings {
            canvas: live.canvas,
            fps: live.fps,
            bitrate_kbps: live.bitrate_kbps,
            keyframe_seconds: live.keyframe_seconds,
            preset: None,
            lean: false,
            view: View::default(),
        }
    }
}

/// What an encoding says of itself.
#[derive(Clone, Debug, Default)]
pub struct EncodingInfo {
    /// The element in use.
    pub encoder: &'static str,
    /// What was tried before it was chosen.
    pub why: String,
    /// The latest ones, newest last.
    pub changes: Vec<EncoderChange>,
    /// Pictures that entered an encoder; those that were encoded again count again.
    pub frames_in: u64,
    pub frames_out: u64,
    pub repeated: u64,
    pub in_flight: u64,
    pub rebuilt: u64,
    pub bitrate_kbps: u32,
    /// Nothing is encoded until an encoder that hangs in its driver comes back.
    pub stuck: bool,
}

/// Changes that are remembered.
const CHANGES: usize = 32;

/// What an encoding counts; shared with who reports.
#[derive(Default)]
pub struct EncodingState {
    pub frames_in: Counter,
    pub frames_out: Counter,
    /// Places of the grid that got the picture before, because the encoder was busy.
    pub repeated: Counter,
    /// Pictures in the encoder.
    pub in_flight: Gauge,
    /// Times that an encoder was replaced.
    pub rebuilt: Counter,
    /// Pictures that waited for the encoder.
    pub waiting: Peak,
    /// From entering the encoder to leaving it; several pictures are in it at once.
    pub encode: Timing,
    bitrate_kbps: AtomicU32,
    /// Too many encoders hang in their drivers to build another.
    stuck: AtomicBool,
    text: Mutex<Text>,
}

#[derive(Default)]
struct Text {
    encoder: &'static str,
    why: String,
    changes: Vec<EncoderChange>,
}

impl EncodingState {
    pub fn bitrate_kbps(&self) -> u32 {
        self.bitrate_kbps.load(Ordering::Relaxed)
    }

    pub fn info(&self) -> EncodingInfo {
        let text = self.text();
        EncodingInfo {
            encoder: text.encoder,
            why: text.why.clone(),
            changes: text.changes.clone(),
            frames_in: self.frames_in.get(),
            frames_out: self.frames_out.get(),
            repeated: self.repeated.get(),
            in_flight: self.in_flight.get(),
            rebuilt: self.rebuilt.get(),
            bitrate_kbps: self.bitrate_kbps(),
            stuck: self.is_stuck(),
        }
    }

    /// Nothing is encoded until an encoder that hangs in its driver comes back.
    pub fn is_stuck(&self) -> bool {
        self.stuck.load(Ordering::Relaxed)
    }

    fn set_stuck(&self, stuck: bool) {
        self.stuck.store(stuck, Ordering::Relaxed);
    }

    fn changed(&self, change: EncoderChange) {
        // Together: whoever sees the number sees the change.
        let mut text = self.text();
        self.rebuilt.add(1);
        text.encoder = change.to;
        if text.changes.len() == CHANGES {
            text.changes.remove(0);
        }
        text.changes.push(change);
    }

    fn text(&self) -> MutexGuard<'_, Text> {
        self.text.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A running encode.
pub struct Encoding {
    fanout: Arc<Fanout>,
    state: Arc<EncodingState>,
    tap: Arc<Tap>,
    load: Arc<RawLoad>,
    /// Dropped to end the feeder at once.
    abandon: Option<Sender<Infallible>>,
    /// Closes when everything has come out.
    finished: Receiver<Infallible>,
    thread: Option<JoinHandle<()>>,
}

impl Encoding {
    /// Opens the chosen encoder and takes pictures from `tap` from now on; the sound of the show
    /// goes into the same fan-out. While `effort` says so another encoder of the same kind takes
    /// fewer pains. An encoder that fails later is replaced, so this does not wait
    /// for it.
    ///
    /// # Errors
    /// A choice without an encoder, or no more threads.
    pub fn start(
        settings: EncodeSettings,
        choice: Choice,
        effort: &Arc<PresentEffort>,
        tap: &Arc<Tap>,
        sound: &SoundOut,
    ) -> Result<Self> {
        let Choice { ladder, why } = choice;
        let recovery = Recovery::new(ladder).ok_or_else(|| Error::internal("no encoder"))?;
        let fanout = Fanout::new();
        fanout.set_video_caps(settings.caps());
        sound.add(&fanout);
        let state = Arc::new(EncodingState::default());
        state.bitrate_kbps.store(settings.bitrate_kbps, Ordering::Relaxed);
        *state.text() = Text { encoder: recovery.rung().factory, why, changes: Vec::new() };
        let (pictures, load) = tap.subscribe(QUEUE_PICTURES, false, settings.view);
        let (abandon, abandoned) = bounded(0);
        let (running, finished) = bounded(0);
        let (to, told) = (fanout.clone(), state.clone());
        let source = (pictures, load.clone());
        let feeder = Feeder::new(source, abandoned, (to, told), settings, recovery, effort.clone());
        let thread = std::thread::Builder::new()
            .name("encoding".into())
            .spawn(move || {
                feeder.run();
                drop::<Sender<Infallible>>(running);
            })
            .map_err(|e| Error::internal("cannot start an encoding").with_source(e))?;
        Ok(Encoding {
            fanout,
            state,
            tap: tap.clone(),
            load,
            abandon: Some(abandon),
            finished,
            thread: Some(thread),
        })
    }

    /// Where the encoded stream goes.
    pub fn fanout(&self) -> &Arc<Fanout> {
        &self.fanout
    }

    /// The counters, for who reports.
    pub fn state(&self) -> &Arc<EncodingState> {
        &self.state
    }

    pub fn info(&self) -> EncodingInfo {
        self.state.info()
    }

    /// Changes the bitrate, from the next picture on where the encoder can do that while it runs,
    /// else with the next encoder.
    pub fn set_bitrate(&self, kbps: u32) {
        self.state.bitrate_kbps.store(kbps.max(1), Ordering::Relaxed);
    }

    pub fn bitrate_kbps(&self) -> u32 {
        self.state.bitrate_kbps()
    }

    /// Takes no more pictures, waits at most `limit` until what it has is encoded, and ends the
    /// fan-out; false: not everything came out in time.
    pub fn close(&mut self, limit: Duration) -> bool {
        self.tap.unsubscribe(&self.load);
        // Nothing is ever sent; the channel closes.
        let in_time = self.finished.recv_timeout(limit) == Err(RecvTimeoutError::Disconnected);
        // The feeder never waits, so it ends soon.
        self.abandon = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.fanout.close();
        in_time
    }
}

/// How long dropping waits for what is in the encoder.
const DROP_LIMIT: Duration = Duration::from_millis(500);

impl Drop for Encoding {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.close(DROP_LIMIT);
        }
    }
}
