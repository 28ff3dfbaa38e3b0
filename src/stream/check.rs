//! What of GStreamer a show needs, where it comes from, and what of it is there.
//!
//! Package names are those of Debian and Ubuntu.

use gio::prelude::*;
use gstreamer as gst;

/// One thing that a show cannot do without: any of these elements will do; the first is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need(pub &'static [&'static str]);

/// All that a show needs, but for the encoder that [`super::encoding::ladder::choose`] chooses.
pub const NEEDS: &[Need] = &[
    // Every pipeline, and trying encoders.
    Need(&["appsrc"]),
    Need(&["appsink"]),
    Need(&["capsfilter"]),
    Need(&["filesrc"]),
    Need(&["filesink"]),
    Need(&["videoconvert"]),
    Need(&["audioconvert"]),
    Need(&["audioresample"]),
    // Clips and sound files.
    Need(&["decodebin"]),
    Need(&["qtdemux"]),
    // Archive, recording and the sound in them.
    Need(&["mp4mux"]),
    Need(&["h264parse"]),
    Need(&["x264enc"]),
    Need(&["avdec_h264", "openh264dec"]),
    Need(&["avenc_aac", "voaacenc"]),
    // RTMP.
    Need(&["flvmux"]),
    Need(&["rtmp2sink"]),
];

/// What gives GLib its TLS, which only `rtmps:` needs.
pub const TLS_PACKAGE: &str = "glib-networking";

/// Whether GLib can do TLS.
pub fn has_tls() -> bool {
    gio::TlsBackend::default().supports_tls()
}

impl Need {
    /// The element that is used: the first of them that is installed.
    pub fn found(&self) -> Option<&'static str> {
        self.0.iter().copied().find(|e| gst::ElementFactory::find(e).is_some())
    }

    /// What to install where none is.
    pub fn package(&self) -> &'static str {
        package(self.0[0])
    }
}

/// The package that an element is in.
pub fn package(factory: &str) -> &'static str {
    match factory {
        "capsfilter" | "filesrc" | "filesink" => "libgstreamer1.0-0",
        "x264enc" => "gstreamer1.0-plugins-ugly",
        "avenc_aac" | "avdec_h264" => "gstreamer1.0-libav",
        "h264parse" | "openh264enc" | "openh264dec" | "voaacenc" | "nvh264enc" | "vah264enc"
        | "rtmp2sink" | "mpegtsmux" | "srtsink" | "opusparse" => "gstreamer1.0-plugins-bad",
        "mp4mux" | "qtdemux" | "flvmux" | "matroskamux" | "aacparse" | "ac3parse" | "flacparse"
        | "mpegaudioparse" | "deinterlace" | "videoflip" => "gstreamer1.0-plugins-good",
        _ => "gstreamer1.0-plugins-base",
    }
}

/// Of the library that runs, such as `1.22.0`.
pub fn version() -> String {
    let (major, minor, micro, _) = gst::version();
    format!("{major}.{minor}.{micro}")
}
