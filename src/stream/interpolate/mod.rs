//! `vfaqinterpolate`: takes raw video, gives it at another rate, and at another size if that is
//! wanted.
//!
//! ```text
//! gst-launch-1.0 filesrc location=slow.mp4 ! decodebin ! videoconvert ! vfaqinterpolate !
//!     video/x-raw,framerate=60/1,width=1920,height=1080 ! videoconvert ! autovideosink
//! ```
//!
//! Rate and size are those that the element behind it asks for in its caps; without a wish they
//! stay what they are (60/1 where the source has no constant rate). Output frame `n` has the PTS of
//! the first input frame plus `n / rate`, computed from `n`: nothing drifts. A frame that is due
//! when a source frame is, passes unchanged; others are made of the two frames around them, as
//! [`Method`] says. Where another scene begins the nearer frame is shown. A source that shows every
//! frame up to four times is taken for one that shows each once, and as much longer; a longer
//! standstill stands still. A picture of another size is scaled (with a bicubic filter, unless another is set), and stretched.
//!
//! I420 and NV12, of any size and stride; what is interlaced is refused (`deinterlace` before it
//! helps). It plays forwards only.
//!
//! Policies:
//! * **Late input** (a PTS that is not after the one before) is left out. **Lost input** is bridged
//!   up to four frame times; a longer gap stands still until its last frame time. Where the source
//!   has no constant rate the limit is half a second.
//! * **Early input** waits: one picture can be drawn only when the next other one is there, so the
//!   element is up to four source frame times behind (`latency` says so).
//! * **Late output**: no output frame is ever left out. While a sink says that pictures come too
//!   late (QoS; `qos=false` turns that off), they are blended instead of warped (`degraded`).
//! * **End of stream**, of a segment, or of its caps: the last picture is held to its end. A source
//!   of N frames at rate r gives N / r * rate frames, rounded, at least one.
//!
//! Work is done ahead on `threads` threads, unless the source is live; the order of frames never
//! changes. Every output frame counts in exactly one of `passed`, `interpolated`, `repeated`, `cut`
//! and `degraded`; together they are `frames-out`.

mod crew;
mod imp;
mod picture;
mod run;

use std::ops::Range;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer::subclass::prelude::*;

use crate::render::{Filter, flow};

glib::wrapper! {
    pub struct VfaqInterpolate(ObjectSubclass<imp::VfaqInterpolate>)
        @extends gstreamer_video::VideoFilter, gstreamer_base::BaseTransform, gst::Element,
            gst::Object;
}

/// How the pictures between two source frames are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "VfaqInterpolateMethod")]
#[repr(i32)]
pub enum Method {
    /// The source frame that is nearest in time.
    #[enum_value(name = "Nearest: source frames only", nick = "nearest")]
    Nearest,
    /// A weighted mix of both.
    #[enum_value(name = "Blend: a mix of both frames", nick = "blend")]
    Blend,
    /// Both warped along their motion.
    #[default]
    #[enum_value(name = "Flow: warped along the motion between both frames", nick = "flow")]
    Flow,
}

/// How much work the motion between two frames is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "VfaqInterpolateQuality")]
#[repr(i32)]
pub enum Quality {
    #[enum_value(name = "Fast: a quarter of the normal cost", nick = "fast")]
    Fast,
    #[default]
    #[enum_value(name = "Normal", nick = "normal")]
    Normal,
    #[enum_value(name = "High: several times the normal cost", nick = "high")]
    High,
}

impl From<Quality> for flow::Quality {
    fn from(quality: Quality) -> Self {
        match quality {
            Quality::Fast => flow::Quality::Fast,
            Quality::Normal => flow::Quality::Normal,
            Quality::High => flow::Quality::High,
        }
    }
}

/// What a user sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    pub method: Method,
    pub quality: Quality,
    /// 0: as many as there are cores. 1: everything on the thread that brings the pictures.
    pub threads: u32,
    /// How pictures of another size are scaled.
    pub scale: Filter,
}

/// What the element has done since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub frames_in: u64,
    pub frames_out: u64,
    /// Made of two source frames.
    pub interpolated: u64,
    /// Source frames at their own time.
    pub passed: u64,
    /// The nearer frame, where another scene begins.
    pub cut: u64,
    /// A source frame once more: a standstill, the end, or all that `nearest` shows.
    pub repeated: u64,
    /// Blended, as they were late.
    pub degraded: u64,
}

impl VfaqInterpolate {
    pub fn new(settings: Settings) -> Self {
        let element: Self = glib::Object::builder().build();
        element.imp().set(settings);
        element
    }

    /// Of a film that it does not see from the beginning, only these output frames are wanted:
    /// `film_ns` is the PTS of the film's first frame, from which output frames are counted. To be
    /// called before the first picture; holds for what comes then. The first frame that comes out has
    /// running time 0, and behind the last the stream ends.
    pub fn begin_within(&self, film_ns: u64, outputs: Range<u64>) {
        self.imp().begin_within(film_ns, outputs);
    }

    pub fn counts(&self) -> Counts {
        self.imp().counts()
    }
}

/// Makes the element known to GStreamer under its name.
///
/// # Errors
/// The name is taken.
pub fn register(plugin: Option<&gst::Plugin>) -> Result<(), glib::BoolError> {
    let rank = gst::Rank::NONE;
    gst::Element::register(plugin, "vfaqinterpolate", rank, VfaqInterpolate::static_type())
}
