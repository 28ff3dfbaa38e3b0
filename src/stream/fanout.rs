//! One stream of encoded access units to any number of outputs.
//!
//! Holds: units go out in decoding order; their timestamps are show time. Every output has a
//! queue of its own, and no output is waited for: one whose queue is full is cut off and says so.
//! Dropping the sender ends an output: it finishes what it has and closes. A picture goes out when
//! its sound has come, which is captured a little later; sound that is ahead of its picture is kept,
//! so that an output that joins has the sound of its first picture.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use crossbeam_channel::{Receiver, Sender, bounded};
use gstreamer as gst;

use crate::base::telemetry::{Counter, Gauge};

/// An encoded picture or piece of sound.
#[derive(Clone, Debug)]
pub struct Unit {
    pub kind: UnitKind,
    /// Show time at which it is to be presented.
    pub pts_ns: u64,
    pub duration_ns: u64,
    pub buffer: gst::Buffer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitKind {
    Video {
        /// Decodable without what was before.
        key: bool,
        /// A recording begins here: the show starts, or goes on behind a gap in time.
        mark: bool,
        /// Another encoder begins with this key frame: its parameter sets may be others.
        new_encoder: bool,
    },
    Audio,
}

/// What the units are. It stays the same when an encoder is replaced.
#[derive(Clone, Debug)]
pub struct StreamCaps {
    pub video: gst::Caps,
    pub audio: gst::Caps,
}

/// Units that may wait for one output: over a minute of 60 fps with sound. Bytes bind earlier.
const QUEUE_UNITS: usize = 8192;

/// Where units go.
#[derive(Default)]
pub struct Fanout {
    ends: Mutex<Ends>,
    video_caps: OnceLock<gst::Caps>,
    audio_caps: OnceLock<gst::Caps>,
    /// An output asks for a key frame.
    key_wanted: AtomicBool,
    closed: AtomicBool,
}

#[derive(Default)]
struct Ends {
    outputs: Vec<OutputEnd>,
    /// Sound whose picture has not come yet; the oldest of more than [`SOUND_AHEAD`] is forgotten.
    ahead: VecDeque<Unit>,
    /// Pictures whose sound has not come yet; the oldest of more than [`PICTURES_HELD`] goes on.
    held: VecDeque<Unit>,
    /// Show time up to which sound has come; 0: there is none.
    sound_to_ns: u64,
}

/// A second at 60 fps, many times what sound may be late.
const PICTURES_HELD: usize = 60;

/// Sound that is kept: over twenty seconds of AAC at 48 kHz.
const SOUND_AHEAD: usize = 1024;

struct OutputEnd {
    units: Sender<Unit>,
    load: Arc<QueueLoad>,
    max_bytes: u64,
}

/// How full an output's queue is.
#[derive(Debug, Default)]
pub struct QueueLoad {
    pub bytes: Gauge,
    /// Units that did not fit. The first one cuts the output off.
    pub refused: Counter,
    waiting: AtomicU64,
}

impl OutputEnd {
    /// False: it did not fit, or nobody takes any more.
    fn send(&self, unit: &Unit) -> bool {
        let bytes = unit.buffer.size() as u64;
        if self.load.waiting.load(Ordering::Acquire) + bytes <= self.max_bytes {
            self.load.add(bytes);
            if self.units.try_send(unit.clone()).is_ok() {
                return true;
            }
        }
        self.load.refused.add(1);
        false
    }
}

impl Unit {
    pub fn is_key(&self) -> bool {
        matches!(self.kind, UnitKind::Video { key: true, .. })
    }

    pub fn is_picture(&self) -> bool {
        matches!(self.kind, UnitKind::Video { .. })
    }

    /// Its buffer for a stream whose time 0 is `start_ns` of show time; `None`: it was before that.
    pub fn rebased(&self, start_ns: u64) -> Option<gst::Buffer> {
        let pts = gst::ClockTime::from_nseconds(self.pts_ns.checked_sub(start_ns)?);
        // The memory is shared: only what stands beside it is the stream's own.
        let mut buffer = self.buffer.clone();
        let own = buffer.make_mut();
        own.set_pts(pts);
        own.set_dts(pts);
        own.set_duration(gst::ClockTime::from_nseconds(self.duration_ns));
        Some(buffer)
    }
}

impl QueueLoad {
    fn add(&self, bytes: u64) {
        self.bytes.set(self.waiting.fetch_add(bytes, Ordering::AcqRel) + bytes);
    }

    /// The output has taken a unit off its queue.
    pub fn taken(&self, unit: &Unit) {
        let bytes = unit.buffer.size() as u64;
        self.bytes.set(self.waiting.fetch_sub(bytes, Ordering::AcqRel) - bytes);
    }
}

impl Ends {
    fn forward(&mut self, unit: Unit) {
        self.outputs.retain(|output| output.send(&unit));
        if unit.kind == UnitKind::Audio {
            if self.ahead.len() == SOUND_AHEAD {
                self.ahead.pop_front();
            }
            self.ahead.push_back(unit);
        } else {
            while self.ahead.pop_front_if(|sound| sound.pts_ns < unit.pts_ns).is_some() {}
        }
    }
}

impl Fanout {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Adds an output whose queue holds up to `max_bytes`. Units come from now on; the output
    /// itself waits for a key frame.
    pub fn subscribe(&self, max_bytes: u64) -> (Receiver<Unit>, Arc<QueueLoad>) {
        let (units, receiver) = bounded(QUEUE_UNITS);
        let load = Arc::new(QueueLoad::default());
        let mut ends = self.lock();
        if self.is_closed() {
            return (receiver, load);
        }
        let end = OutputEnd { units, load: load.clone(), max_bytes };
        if ends.ahead.iter().all(|unit| end.send(unit)) {
            ends.outputs.push(end);
        }
        (receiver, load)
    }

    /// Ends every output, and those that would yet come.
    pub fn close(&self) {
        let mut ends = self.lock();
        self.closed.store(true, Ordering::Release);
        while let Some(picture) = ends.held.pop_front() {
            ends.forward(picture);
        }
        ends.outputs.clear();
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Ends the output whose queue this is.
    pub fn unsubscribe(&self, load: &Arc<QueueLoad>) {
        self.lock().outputs.retain(|o| !Arc::ptr_eq(&o.load, load));
    }

    /// What the units are, once the sound encoder has said its part.
    pub fn caps(&self) -> Option<StreamCaps> {
        Some(StreamCaps {
            video: self.video_caps.get()?.clone(),
            audio: self.audio_caps.get()?.clone(),
        })
    }

    pub(super) fn set_video_caps(&self, caps: gst::Caps) {
        let _ = self.video_caps.set(caps);
    }

    pub(super) fn set_audio_caps(&self, caps: gst::Caps) {
        let _ = self.audio_caps.set(caps);
    }

    /// Asks for a key frame soon; requests within a second become one.
    pub fn request_key_frame(&self) {
        self.key_wanted.store(true, Ordering::Relaxed);
    }

    /// Whether one was asked for since the last call.
    pub(super) fn take_key_request(&self) -> bool {
        self.key_wanted.swap(false, Ordering::Relaxed)
    }

    pub(super) fn send_video(
        &self,
        buffer: gst::Buffer,
        pts_ns: u64,
        duration_ns: u64,
        mark: bool,
        new_encoder: bool,
    ) {
        let key = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        let kind = UnitKind::Video { key, mark, new_encoder };
        self.send(Unit { kind, pts_ns, duration_ns, buffer });
    }

    pub(super) fn send_audio(&self, buffer: gst::Buffer, pts_ns: u64, duration_ns: u64) {
        self.send(Unit { kind: UnitKind::Audio, pts_ns, duration_ns, buffer });
    }

    fn send(&self, unit: Unit) {
        let mut ends = self.lock();
        if unit.kind == UnitKind::Audio {
            ends.sound_to_ns = unit.pts_ns + unit.duration_ns;
            ends.forward(unit);
        } else if ends.sound_to_ns == 0 {
            ends.forward(unit);
        } else {
            ends.held.push_back(unit);
        }
        let sound_to_ns = ends.sound_to_ns;
        while let Some(picture) = ends.held.front()
            && (picture.pts_ns + picture.duration_ns <= sound_to_ns
                || ends.held.len() > PICTURES_HELD)
        {
            if let Some(picture) = ends.held.pop_front() {
                ends.forward(picture);
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Ends> {
        self.ends.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
