//! The library as a plugin of GStreamer: `vfaqinterpolate` for `gst-launch-1.0` and other people's
//! programs.
//!
//! `scripts/plugin` builds it: the same crate as a `cdylib`, `libvfaq.so`. The program's allocator
//! is not in it, as only `main.rs` names that.

use gstreamer as gst;
use gstreamer::glib;

use super::interpolate;

fn plugin_init(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    interpolate::register(Some(plugin))
}

gst::plugin_define!(
    vfaq,
    "Motion interpolation of Visual FaQtory Live",
    plugin_init,
    env!("CARGO_PKG_VERSION"),
    "AGPL-3.0-only",
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_NAME"),
    "Visual FaQtory Live"
);
