//! `vfaqsrc`: the live source element. It owns the render thread and pulls every picture.
//!
//! For output frame `n` it waits until the frame is due, asks its [`FrameSource`] to draw the
//! frame into a pooled buffer, and pushes it with PTS `n / fps`. So whatever was changed before
//! that instant is in the very next frame. (GstBaseSrc would wait *after* `create()`, which makes
//! every picture a frame old; so the element returns no times and waits by itself.)
//!
//! Policy when late: a frame that is more than three frame times overdue is not drawn; the last
//! picture goes out again under the next PTS (`held`) until the source has caught up, so every
//! place of the grid is filled. After a gap of over a second (a process that was stopped, a machine that stood still) the clock is
//! anchored anew: show time stood still, and the next frame is marked as a break.
//!
//! Holds: one frame per place of the grid, PTS computed from the index; show time is zero at
//! frame 0, which goes out the moment the element starts to run. Encoders open with the first frame
//! and take their time: the clock is anchored when that is done.

mod imp;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::subclass::prelude::*;

use super::raw::Tap;
use crate::base::telemetry::{Counter, Gauge, Timing};
use crate::base::time::FrameRate;
use crate::media::FrameMut;
use crate::render::Rendered;
use crate::render::overlay::View;

glib::wrapper! {
    pub struct VfaqSrc(ObjectSubclass<imp::VfaqSrc>)
        @extends gstreamer_base::PushSrc, gstreamer_base::BaseSrc, gst::Element, gst::Object;
}

/// Draws the pictures and hands out the sound. Lives on the render thread: no waiting, no I/O.
pub trait FrameSource: Send {
    /// Whether the show ends before frame `n`.
    fn is_over(&mut self, n: u64) -> bool;

    /// Draws frame `n`, without what lies over it. Frames are asked for in rising order; held ones
    /// are left out.
    fn draw(&mut self, n: u64, out: &mut FrameMut<'_>) -> Drawn;

    /// What lies over the frame that was drawn last, in this view: views with the same number are
    /// the same picture.
    fn lying_over(&self, _view: View) -> u16 {
        0
    }

    /// Draws that over the picture.
    fn lay_over(&mut self, _view: View, _out: &mut FrameMut<'_>) {}

    /// The frame that was drawn last is complete, as most see it.
    fn complete(&mut self, _n: u64, _out: &FrameMut<'_>) {}

    /// Frame `n` went out, drawn or held.
    fn sent(&mut self, n: u64);

    /// The show is over: `frames` went out.
    fn ended(&mut self, frames: u64);
}

/// How a frame was made.
#[derive(Clone, Copy, Debug)]
pub struct Drawn {
    pub rendered: Rendered,
    /// A recording begins here: the encoder makes a key frame.
    pub mark: bool,
}

/// What the element counts.
#[derive(Debug, Default)]
pub struct SourceCounters {
    pub source: Counter,
    pub interpolated: Counter,
    pub blended: Counter,
    pub held: Counter,
    /// Handed over more than one frame time after they were due.
    pub late: Counter,
    /// All frames handed over.
    pub sent: Counter,
    /// Times that the clock was anchored anew after a gap.
    pub breaks: Counter,
    /// A recording begins with the frame that is on its way.
    mark: AtomicBool,
    /// Nanoseconds of the system clock at the first frame handed over, plus one. 0: none yet.
    pub first_sent: Gauge,
}

impl SourceCounters {
    /// Whether recordings begin, or go on in a new part, with the frame that was just handed over;
    /// to be asked once for each, on the same thread.
    pub(super) fn take_mark(&self) -> bool {
        self.mark.swap(false, Ordering::Relaxed)
    }

    fn set_mark(&self) {
        self.mark.store(true, Ordering::Relaxed);
    }
}

/// What the element needs to run.
pub struct SourceSetup {
    /// Width and height in pixels.
    pub canvas: (u32, u32),
    pub fps: FrameRate,
    pub frames: Box<dyn FrameSource>,
    pub counters: Arc<SourceCounters>,
    /// Whether the encoder has taken its first frame.
    pub encoder_ready: Box<dyn Fn() -> bool + Send>,
    /// From due to handed over.
    pub lateness: Timing,
    /// From the start of drawing to its end.
    pub render: Timing,
}

impl VfaqSrc {
    /// Its pictures go to `tap`, in whichever way.
    pub fn new(setup: SourceSetup, tap: Arc<Tap>) -> Self {
        let element: Self = glib::Object::builder().build();
        element.imp().set_up(setup, tap);
        element
    }
}
