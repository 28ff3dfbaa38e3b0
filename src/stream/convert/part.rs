//! The beginning of a part of a film: what is before it is not decoded.
//!
//! The first picture of the film comes in every case: it says when the film begins, from which its
//! output frames are counted. Then the film is wound forward to the key frame before the part, less
//! [`LEAD`]; where that is not possible, or leads to the beginning, it goes on from there.
//!
//! Holds: nothing comes through before the interpolation knows of what film it is a part.

use std::ops::Range;
use std::sync::Mutex;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;

use super::{LEAD, Teller};
use crate::base::error::{Error, Kind};
use crate::base::time::FrameRate;
use crate::stream::interpolate::VfaqInterpolate;
use crate::stream::lock;

#[derive(Clone, Copy, PartialEq)]
enum State {
    /// The first picture has not come yet.
    Waiting,
    /// Being wound forward: what comes is from before that.
    Winding,
    Open,
}

/// Stands where the pictures of a film go in.
pub struct Gate {
    interpolate: glib::WeakRef<VfaqInterpolate>,
    fps: FrameRate,
    part: Range<u64>,
    teller: Teller,
}

impl Gate {
    pub fn new(to: &VfaqInterpolate, fps: FrameRate, part: Range<u64>, teller: &Teller) -> Self {
        Gate { interpolate: to.downgrade(), fps, part, teller: teller.clone() }
    }

    /// Lets through `pad`, of an element that takes the pictures in, what belongs to the part.
    pub fn put_before(self, pad: &gst::Pad) {
        let state = Mutex::new(State::Waiting);
        let mask = gst::PadProbeType::BUFFER
            | gst::PadProbeType::EVENT_DOWNSTREAM
            | gst::PadProbeType::EVENT_FLUSH;
        pad.add_probe(mask, move |pad, info| {
            let mut state = lock(&state);
            let passes = match &info.data {
                Some(gst::PadProbeData::Buffer(buffer)) => {
                    if *state == State::Waiting {
                        *state = self.begin(pad, buffer);
                    }
                    *state == State::Open
                }
                Some(gst::PadProbeData::Event(event)) => match event.type_() {
                    // What is behind knows nothing of the winding.
                    gst::EventType::FlushStart => false,
                    gst::EventType::FlushStop => {
                        *state = State::Open;
                        false
                    }
                    gst::EventType::Eos | gst::EventType::Gap => *state != State::Winding,
                    _ => true,
                },
                _ => true,
            };
            if passes {
                return gst::PadProbeReturn::Ok;
            }
            // GStreamer 1.22 frees what is dropped once more than there is; what is taken it leaves.
            info.data = None;
            gst::PadProbeReturn::Handled
        });
    }

    /// The first picture of the film is there.
    fn begin(&self, pad: &gst::Pad, first: &gst::Buffer) -> State {
        let segment = pad.sticky_event::<gst::event::Segment>(0);
        let segment =
            segment.and_then(|event| event.segment().downcast_ref::<gst::ClockTime>().cloned());
        let segment = segment.unwrap_or_default();
        // As the interpolation takes it where it sees all of the film.
        let start = segment.start().unwrap_or_default();
        let film = first.pts().map_or(start, |pts| pts.max(start));
        if let Some(interpolate) = self.interpolate.upgrade() {
            interpolate.begin_within(film.nseconds(), self.part.clone());
        }
        let lead = gst::ClockTime::from_nseconds(LEAD.as_nanos() as u64);
        let ahead = gst::ClockTime::from_nseconds(self.fps.pts_ns(self.part.start));
        let Some(ahead) = ahead.checked_sub(lead).filter(|ahead| *ahead > lead) else {
            return State::Open;
        };
        let Some(target) = segment.to_stream_time(film + ahead) else { return State::Open };
        let mut query = gst::query::Seeking::new(gst::Format::Time);
        if !pad.peer_query(&mut query) || !query.result().0 {
            return State::Open;
        }
        match self.wind(pad.clone(), target) {
            true => State::Winding,
            false => State::Open,
        }
    }

    /// From a thread of its own, as that which brings the picture has to stop for it, and be free.
    fn wind(&self, pad: gst::Pad, target: gst::ClockTime) -> bool {
        let teller = self.teller.clone();
        let seek = gst::event::Seek::new(
            1.0,
            gst::SeekFlags::FLUSH | gst::SeekFlags::KEY_UNIT | gst::SeekFlags::SNAP_BEFORE,
            gst::SeekType::Set,
            target,
            gst::SeekType::None,
            gst::ClockTime::NONE,
        );
        let wind = move || {
            if !pad.push_event(seek) {
                let text = format!("it cannot be wound forward to {target}");
                teller.unread(Error::new(Kind::Io, text));
            }
        };
        std::thread::Builder::new().name("wind".into()).spawn(wind).is_ok()
    }
}
