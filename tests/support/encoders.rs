//! Encoders that can be made to fail, and a picture whose frames can be told apart after decoding.
#![allow(clippy::unwrap_used, reason = "a test may stop")]

use std::path::Path;

use vfaq::base::time::FrameRate;
use vfaq::media::FrameMut;
use vfaq::render::Rendered;
use vfaq::stream::encoding::EncodeSettings;
use vfaq::stream::sound::SoundFeed;
use vfaq::stream::source::{Drawn, FrameSource};

use crate::support;

pub const FPS: FrameRate = FrameRate::whole(60);
pub const CANVAS: (u32, u32) = (320, 180);

/// An encoder with x264 inside that goes wrong after so many pictures: `$goes_wrong` is called.
macro_rules! stand_in {
    ($module:ident, $name:literal, $opens:literal, $good_for:expr, $goes_wrong:expr) => {
        mod $module {
            use super::*;

            #[derive(Default)]
            pub struct StandIn;

            #[glib::object_subclass]
            impl ObjectSubclass for StandIn {
                const NAME: &'static str = $name;
                type Type = Wrapper;
                type ParentType = gst::Bin;
            }

            impl ObjectImpl for StandIn {
                fn constructed(&self) {
                    self.parent_constructed();
                    let bin = self.obj();
                    let inner = gst::ElementFactory::make("x264enc")
                        .property_from_str("speed-preset", "superfast")
                        .property("bframes", 0u32)
                        .property("key-int-max", 30u32)
                        .build()
                        .unwrap();
                    bin.add(&inner).unwrap();
                    for name in ["sink", "src"] {
                        let target = inner.static_pad(name).unwrap();
                        let pad = gst::GhostPad::builder_with_target(&target).unwrap();
                        bin.add_pad(&pad.name(name).build()).unwrap();
                    }
                    let seen = vfaq::base::telemetry::Counter::default();
                    let weak = bin.downgrade();
                    inner.static_pad("sink").unwrap().add_probe(
                        gst::PadProbeType::BUFFER,
                        move |_, _| {
                            seen.add(1);
                            if seen.get() > $good_for {
                                let wrong: fn(&gst::Element) = $goes_wrong;
                                wrong(weak.upgrade().unwrap().upcast_ref());
                            }
                            gst::PadProbeReturn::Ok
                        },
                    );
                }
            }

            impl GstObjectImpl for StandIn {}

            impl ElementImpl for StandIn {
                fn change_state(
                    &self,
                    change: gst::StateChange,
                ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
                    if !$opens && change == gst::StateChange::NullToReady {
                        gst::element_imp_error!(self, gst::LibraryError::Init, ("no such device"));
                        return Err(gst::StateChangeError);
                    }
                    self.parent_change_state(change)
                }
            }

            impl BinImpl for StandIn {}

            glib::wrapper! {
                pub struct Wrapper(ObjectSubclass<StandIn>) @extends gst::Bin, gst::Element, gst::Object;
            }
        }
    };
}
pub(crate) use stand_in;

pub fn settings() -> EncodeSettings {
    EncodeSettings {
        canvas: CANVAS,
        fps: FPS,
        bitrate_kbps: 1500,
        keyframe_seconds: 1.0,
        preset: None,
        lean: false,
        view: Default::default(),
    }
}

/// Bars of this many pixels show a picture's number in binary.
const BARS: usize = 10;

pub struct Numbers {
    pub frames: u64,
    pub sound: SoundFeed,
}

impl FrameSource for Numbers {
    fn is_over(&mut self, n: u64) -> bool {
        n >= self.frames
    }

    fn draw(&mut self, n: u64, out: &mut FrameMut<'_>) -> Drawn {
        for (i, luma) in out.y.data.iter_mut().enumerate() {
            let x = i % out.y.stride;
            *luma =
                if n >> (x * BARS / CANVAS.0 as usize).min(BARS - 1) & 1 == 1 { 220 } else { 30 };
        }
        out.u.data.fill(128);
        out.v.data.fill(128);
        Drawn { rendered: Rendered::Source, mark: n == 0 }
    }

    fn sent(&mut self, n: u64) {
        self.sound.send(n, false);
    }

    fn ended(&mut self, frames: u64) {
        self.sound.end(frames);
    }
}

/// The number that a decoded picture shows.
fn number(grey: &[u8]) -> u64 {
    let width = grey.len() / 9;
    (0..BARS)
        .filter(|bar| grey[width * 4 + (bar * 2 + 1) * width / BARS / 2] > 125)
        .map(|b| 1 << b)
        .sum()
}

/// The numbers that the pictures of a file show. Panics if it does not decode cleanly.
pub fn numbers(path: &Path) -> Vec<u64> {
    assert_eq!(support::complaints(path), "");
    support::decode_grey(path, 40, 9).iter().map(|grey| number(grey)).collect()
}
