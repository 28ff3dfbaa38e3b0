//! A window on a projector, from raw pictures.
//!
//! Policy: two pictures may wait for this thread, then new ones are dropped; what the window's own
//! process does not fetch in time gives way to the next. Both are counted.

use std::time::Duration;

use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;

use super::kind::{Ending, Kind, Life, Next};
use crate::config::output::Monitor;
use crate::media::{FrameRef, PlaneRef};
use crate::render::overlay::View;
use crate::stream::raw::{RawPicture, RawUnit};
use crate::window::{self, Closed, Failure, MonitorChoice, Request};

const WAITING: usize = 2;
/// How often the window is looked after while no picture comes.
const LOOK: Duration = Duration::from_millis(100);

pub struct Display {
    pub monitor: Monitor,
    /// Width and height of an ordinary window in pixels; `None`: full-screen.
    pub size: Option<(u32, u32)>,
    pub canvas: (u32, u32),
    pub fps: crate::base::time::FrameRate,
}

impl Kind for Display {
    fn live(&mut self, life: &mut Life<'_>) -> Ending {
        let monitor = match &self.monitor {
            Monitor::Default => MonitorChoice::Default,
            Monitor::Number(number) => MonitorChoice::Number(*number),
            Monitor::Name(name) => MonitorChoice::Name(name.clone()),
        };
        let request = Request { title: "Visual FaQtory Live".into(), monitor, size: self.size };
        let window = match window::open(request) {
            Ok(window) => window,
            // A projector that was there comes back when it is plugged in again.
            Err(failure) if life.was_live => return Ending::Lost(failure.to_string()),
            Err(Failure::NoDisplay(why) | Failure::NoSuchMonitor(why)) => {
                return Ending::Unavailable(why);
            }
            Err(Failure::Failed(why)) => return Ending::Failed(why),
        };
        let info = match crate::stream::raw::video_info(self.canvas, self.fps) {
            Ok(info) => info,
            Err(error) => return Ending::Failed(error.to_string()),
        };
        let units = life.raw(WAITING, false, View::Display);
        let (mut shown, mut dropped) = (0, 0);
        loop {
            let next = life.next(&units, LOOK);
            if let Some(why) = window.closed() {
                let text = why.to_string();
                return match why {
                    Closed::Key | Closed::WindowManager => Ending::Closed(text),
                    Closed::MonitorGone | Closed::Lost(_) => Ending::Lost(text),
                };
            }
            match next {
                Next::Got(RawUnit::Picture(picture)) => show(&window, &picture, &info),
                Next::Got(RawUnit::Sound { .. }) | Next::Nothing => {}
                Next::End => return Ending::Finished,
            }
            if shown == 0 && window.shown() > 0 {
                let (width, height) = window.size();
                life.is_live(Some(&format!("{width}x{height}")));
            }
            let so_far = window.shown();
            life.info.frames.add(so_far - std::mem::replace(&mut shown, so_far));
            let missed = window.dropped() + life.raw_missed();
            life.info.dropped_frames.add(missed - std::mem::replace(&mut dropped, missed));
        }
    }
}

fn show(window: &window::Window, picture: &RawPicture, info: &gst_video::VideoInfo) {
    let Ok(frame) = gst_video::VideoFrameRef::from_buffer_ref_readable(&picture.buffer, info)
    else {
        return;
    };
    let plane = |index: usize, width: u32, height: u32| {
        Some(PlaneRef {
            data: frame.plane_data(index as u32).ok()?,
            stride: frame.plane_stride()[index] as usize,
            width: width as usize,
            height: height as usize,
        })
    };
    let (width, height) = (info.width(), info.height());
    let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
    if let (Some(y), Some(u), Some(v)) = (
        plane(0, width, height),
        plane(1, half_width, half_height),
        plane(2, half_width, half_height),
    ) {
        window.show(&FrameRef { y, u, v });
    }
}
