//! The pictures and the sound of a show before they are encoded, to any number of takers.
//!
//! Holds: everything is sent from the render thread, which never waits here: a taker whose queue
//! is full misses the new unit, and the miss is counted. Buffers are shared, never copied, and
//! nobody writes to them. Where the takers' views have different overlays, there is a picture of its
//! own for each that differs; else all get the same one.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crossbeam_channel::{Receiver, Sender, bounded};
use gstreamer as gst;
use gstreamer_video as gst_video;

use super::fraction;
use crate::audio::{CHANNELS, SAMPLE_RATE};
use crate::base::error::{Error, Result};
use crate::base::telemetry::{Counter, Gauge};
use crate::base::time::FrameRate;
use crate::render::overlay::View;

/// A picture, or the sound of one frame.
#[derive(Clone, Debug)]
pub enum RawUnit {
    Picture(RawPicture),
    /// Stereo samples as [`audio_caps`] says.
    Sound {
        pts_ns: u64,
        duration_ns: u64,
        buffer: gst::Buffer,
    },
}

/// A picture as [`video_caps`] says.
#[derive(Clone, Debug)]
pub struct RawPicture {
    /// Its place in the grid. Places that are left out did not fit into the queue.
    pub index: u64,
    /// Show time at which it is to be presented.
    pub pts_ns: u64,
    pub duration_ns: u64,
    /// A recording begins here: the show starts, or goes on behind a gap in time. When the marked
    /// picture did not fit, the next one that did is marked.
    pub mark: bool,
    /// Its timestamps are those above.
    pub buffer: gst::Buffer,
}

/// What I420 at this size and rate is, in BT.709.
///
/// # Errors
/// A size that GStreamer has no format for.
pub fn video_info(canvas: (u32, u32), fps: FrameRate) -> Result<gst_video::VideoInfo> {
    gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, canvas.0, canvas.1)
        .fps(fraction(fps))
        .colorimetry(&gst_video::VideoColorimetry::new(
            gst_video::VideoColorRange::Range16_235,
            gst_video::VideoColorMatrix::Bt709,
            gst_video::VideoTransferFunction::Bt709,
            gst_video::VideoColorPrimaries::Bt709,
        ))
        .chroma_site(gst_video::VideoChromaSite::MPEG2)
        .build()
        .map_err(Error::fault)
}

/// The caps of every picture.
pub fn video_caps(canvas: (u32, u32), fps: FrameRate) -> Result<gst::Caps> {
    video_info(canvas, fps)?.to_caps().map_err(Error::fault)
}

/// The caps of all sound: F32LE, 48 kHz, interleaved stereo.
pub fn audio_caps() -> gst::Caps {
    gst::Caps::builder("audio/x-raw")
        .field("format", "F32LE")
        .field("layout", "interleaved")
        .field("rate", SAMPLE_RATE as i32)
        .field("channels", CHANNELS as i32)
        .build()
}

/// What pictures a taker missed, and what it might have.
#[derive(Debug, Default)]
pub struct RawLoad {
    /// Pictures that did not fit into its queue.
    pub pictures_dropped: Counter,
    /// The place of the newest picture, whether it fitted or not.
    pub newest: Gauge,
}

/// The pictures of those views that differ from the picture itself, by the number of the view.
pub type Others = [Option<gst::Buffer>; View::ALL.len()];

/// Where raw units go.
#[derive(Default)]
pub struct Tap {
    /// One bit for each view that somebody takes.
    views: AtomicU8,
    /// Of the picture that is sent next.
    others: Mutex<Others>,
    /// `None` once the show is over.
    takers: Mutex<Option<Vec<Taker>>>,
    /// Sounds of a frame that did not fit into a taker's queue.
    pub sounds_dropped: Counter,
}

struct Taker {
    /// Full: the new unit is dropped and counted in `load`.
    units: Sender<RawUnit>,
    load: Arc<RawLoad>,
    wants_sound: bool,
    view: View,
    /// A marked picture was dropped.
    mark_missed: bool,
}

impl Tap {
    pub fn new() -> Arc<Self> {
        Arc::new(Tap { takers: Mutex::new(Some(Vec::new())), ..Tap::default() })
    }

    /// Adds a taker whose queue holds so many pictures, with the sound of as many if it wants
    /// sound. Units come from now on, until the show ends.
    pub fn subscribe(
        &self,
        capacity_pictures: usize,
        wants_sound: bool,
        view: View,
    ) -> (Receiver<RawUnit>, Arc<RawLoad>) {
        let (units, receiver) = bounded(capacity_pictures * if wants_sound { 2 } else { 1 });
        let load = Arc::new(RawLoad::default());
        if let Some(takers) = &mut *self.lock() {
            takers.push(Taker { units, load: load.clone(), wants_sound, view, mark_missed: false });
            self.note_views(takers);
        }
        (receiver, load)
    }

    /// Ends the taker whose load this is.
    pub fn unsubscribe(&self, load: &Arc<RawLoad>) {
        if let Some(takers) = &mut *self.lock() {
            takers.retain(|taker| !Arc::ptr_eq(&taker.load, load));
            self.note_views(takers);
        }
    }

    fn note_views(&self, takers: &[Taker]) {
        let bits = takers.iter().fold(0, |bits, taker| bits | 1 << taker.view as u8);
        self.views.store(bits, Ordering::Relaxed);
    }

    /// Whether somebody takes this view.
    pub fn wants(&self, view: View) -> bool {
        self.views.load(Ordering::Relaxed) & (1 << view as u8) != 0
    }

    /// Says which views of the next picture are others; to be called on the thread that sends it.
    pub fn set_others(&self, others: &Others) {
        self.lock_others().clone_from(others);
    }

    fn lock_others(&self) -> MutexGuard<'_, Others> {
        self.others.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Ends every taker, those to come as well.
    pub fn close(&self) {
        *self.lock() = None;
    }

    /// Hands a picture to every taker: the one of its view, if there is another.
    pub fn send_picture(&self, picture: &RawPicture) {
        let mut others = self.lock_others();
        for taker in self.lock().iter_mut().flatten() {
            let mark = picture.mark || taker.mark_missed;
            let mut picture = RawPicture { mark, ..picture.clone() };
            if let Some(other) = &others[taker.view as usize] {
                picture.buffer = other.clone();
            }
            taker.mark_missed = false;
            taker.load.newest.set(picture.index);
            if taker.units.try_send(RawUnit::Picture(picture)).is_err() {
                taker.load.pictures_dropped.add(1);
                taker.mark_missed = mark;
            }
        }
        *others = Others::default();
    }

    /// Hands the sound of a frame to every taker that wants sound.
    pub fn send_sound(&self, pts_ns: u64, duration_ns: u64, buffer: &gst::Buffer) {
        for taker in self.lock().iter_mut().flatten().filter(|taker| taker.wants_sound) {
            let buffer = buffer.clone();
            if taker.units.try_send(RawUnit::Sound { pts_ns, duration_ns, buffer }).is_err() {
                self.sounds_dropped.add(1);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<Taker>>> {
        self.takers.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_taker_gets_the_picture_of_its_view() {
        gst::init().unwrap();
        let tap = Tap::new();
        let takers = [View::Stream, View::Display].map(|view| tap.subscribe(4, false, view));
        assert!(tap.wants(View::Stream) && tap.wants(View::Display) && !tap.wants(View::Recording));
        let (picture, other) =
            (gst::Buffer::with_size(1).unwrap(), gst::Buffer::with_size(2).unwrap());
        let mut others = Others::default();
        others[View::Display as usize] = Some(other);
        tap.set_others(&others);
        for index in 0..2 {
            let buffer = picture.clone();
            let (pts_ns, duration_ns, mark) = (0, 0, false);
            tap.send_picture(&RawPicture { index, pts_ns, duration_ns, mark, buffer });
        }
        let got = takers.each_ref().map(|(units, _)| -> Vec<usize> {
            let size = |unit| match unit {
                RawUnit::Picture(picture) => picture.buffer.size(),
                RawUnit::Sound { .. } => 0,
            };
            units.try_iter().map(size).collect()
        });
        assert_eq!(got, [[1, 1], [2, 1]], "another picture is for one frame");
        tap.unsubscribe(&takers[1].1);
        assert!(!tap.wants(View::Display));
    }
}
