//! The pipeline of one RTMP connection, and what its troubles mean.
//!
//! Holds: texts are made of the error's domain, code and what the server said, with every known
//! secret hidden. Properties are set one by one, so a key may hold any character.

use std::net::SocketAddr;
use std::time::Duration;

use crossbeam_channel::Receiver;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::open_source;
use super::send_queue::SendQueue;
use super::srt::resolve;
use crate::base::error::{Error, Result};
use crate::base::redact::hide;
use crate::config::output::RtmpTarget;
use crate::stream::fanout::{StreamCaps, Unit};
use crate::stream::priority::{self, Importance};
use crate::stream::{make, take_down};

/// Of each step of connecting, and of one write.
const TIMEOUT_S: u32 = 5;
/// What may wait in front of the muxer, for picture and sound each.
const INSIDE_BYTES: u64 = 64 << 10;
/// What may be under way: a second of the stream, and at least this much.
const UNDER_WAY_BYTES: u64 = 128 << 10;
/// Less than this is no sign of anything: acknowledgements are on their way.
const SOME_BYTES: u64 = 16 << 10;

/// What a connection died of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The server said no; its words.
    Refused(String),
    ClosedSilently,
    /// TLS failed; why.
    Distrusted(String),
    /// This machine has no TLS.
    NoTls,
    /// Anything else that may pass; what happened.
    Lost(String),
}

pub struct Connection {
    pipeline: gst::Pipeline,
    video: gst_app::AppSrc,
    sound: gst_app::AppSrc,
    sink: gst::Element,
    /// The answer to which addresses the server has, and those.
    resolved: Receiver<Vec<SocketAddr>>,
    server: Vec<SocketAddr>,
    send_queue: Option<SendQueue>,
    /// In the kernel, at the last look.
    unsent: u64,
    /// Since the last look.
    pushed: u64,
    /// In all, and up to which time of the stream.
    pushed_in_all: u64,
    pushed_up_to: Duration,
}

impl Connection {
    /// Begins to connect.
    ///
    /// # Errors
    /// A missing element.
    pub fn open(target: &RtmpTarget, caps: &StreamCaps) -> Result<Self> {
        let resolved = resolve(&target.host, target.port)?;
        let pipeline = gst::Pipeline::new();
        priority::set_for(&pipeline, Importance::Picture);
        // Not live: the muxer takes by time whatever the clock says, so that a connection may lag.
        let (video, sound) = (open_source(&caps.video), open_source(&caps.audio));
        let parse = make("h264parse")?;
        // Parameter sets with each key frame: for who joins later, and when the encoder changes.
        parse.set_property("config-interval", -1i32);
        let mux = make("flvmux")?;
        mux.set_property("streamable", true);
        let sink = make("rtmp2sink")?;
        sink.set_property_from_str("scheme", if target.tls { "rtmps" } else { "rtmp" });
        sink.set_property("host", &target.host);
        sink.set_property("port", i32::from(target.port));
        sink.set_property("application", &target.application);
        sink.set_property("stream", target.key.reveal());
        if let Some(username) = &target.username {
            sink.set_property("username", username);
        }
        if let Some(password) = &target.password {
            sink.set_property("password", password.reveal());
        }
        sink.set_property("timeout", TIMEOUT_S);
        // Units come in time; the sink connects without waiting for the first.
        sink.set_property("sync", false);
        sink.set_property("async", false);
        pipeline
            .add_many([video.upcast_ref(), sound.upcast_ref(), &parse, &mux, &sink])
            .map_err(Error::fault)?;
        gst::Element::link_many([video.upcast_ref(), &parse]).map_err(Error::fault)?;
        parse.link_pads(Some("src"), &mux, Some("video")).map_err(Error::fault)?;
        sound.link_pads(Some("src"), &mux, Some("audio")).map_err(Error::fault)?;
        mux.link(&sink).map_err(Error::fault)?;
        let connection = Connection {
            pipeline,
            video,
            sound,
            sink,
            resolved,
            server: Vec::new(),
            send_queue: None,
            unsent: 0,
            pushed: 0,
            pushed_in_all: 0,
            pushed_up_to: Duration::ZERO,
        };
        connection.pipeline.set_state(gst::State::Playing).map_err(Error::fault)?;
        Ok(connection)
    }

    /// The server has accepted the stream. The sink has no figures before that.
    pub fn is_accepted(&mut self) -> bool {
        self.find_send_queue();
        self.figure("in-bytes-total") > 0
    }

    /// Takes the connection's socket as soon as there is one, before another output to the same
    /// server has one too.
    fn find_send_queue(&mut self) {
        if let Ok(server) = self.resolved.try_recv() {
            self.server = server;
        }
        // Of several addresses that were tried at once, only one is kept.
        drop(self.send_queue.take_if(|queue| !queue.is_open()));
        if self.send_queue.is_none() && !self.server.is_empty() {
            self.send_queue = SendQueue::find(&self.server);
        }
    }

    /// Whether the connection's socket is known.
    pub fn has_socket(&self) -> bool {
        self.send_queue.is_some()
    }

    fn figure(&self, name: &str) -> u64 {
        self.sink.property::<gst::Structure>("stats").get(name).unwrap_or(0)
    }

    /// Bytes that the server has, as far as is known, and whether some are under way.
    pub fn look(&mut self) -> (u64, bool) {
        self.pushed = 0;
        match self.send_queue.as_ref().map(SendQueue::bytes) {
            Some(Some(bytes)) => self.unsent = bytes,
            // What was under way is not known to have arrived.
            Some(None) => self.find_send_queue(),
            // The answer may come later than the sink's own.
            None if self.server.is_empty() => self.find_send_queue(),
            None => {}
        }
        let taken = self.figure("out-bytes-total").saturating_sub(self.unsent);
        let inside = self.video.current_level_bytes() + self.sound.current_level_bytes();
        (taken, self.unsent > SOME_BYTES || inside > SOME_BYTES)
    }

    /// Pictures were pushed.
    pub fn has_begun(&self) -> bool {
        !self.pushed_up_to.is_zero()
    }

    /// Whether a further unit may be pushed.
    pub fn has_room(&self) -> bool {
        let per_second = if self.pushed_up_to > Duration::from_secs(1) {
            (self.pushed_in_all as f64 / self.pushed_up_to.as_secs_f64()) as u64
        } else {
            0
        };
        self.video.current_level_bytes() < INSIDE_BYTES
            && self.sound.current_level_bytes() < INSIDE_BYTES
            && self.unsent + self.pushed < UNDER_WAY_BYTES.max(per_second)
    }

    /// Pushes a unit; false: the pipeline takes none any more.
    #[must_use]
    pub fn push(&mut self, unit: &Unit, start_ns: u64) -> bool {
        // The queue gives nothing from before the start.
        let Some(buffer) = unit.rebased(start_ns) else { return true };
        let bytes = buffer.size() as u64;
        self.pushed += bytes;
        self.pushed_in_all += bytes;
        self.pushed_up_to = Duration::from_nanos(unit.pts_ns - start_ns + unit.duration_ns);
        let source = if unit.is_picture() { &self.video } else { &self.sound };
        source.push_buffer(buffer).is_ok()
    }

    /// Lets everything go out and unpublishes, for at most `limit`.
    pub fn finish(&self, limit: Duration) {
        let _ = self.video.end_of_stream();
        let _ = self.sound.end_of_stream();
        if let Some(bus) = self.pipeline.bus() {
            let limit = gst::ClockTime::from_nseconds(limit.as_nanos() as u64);
            bus.timed_pop_filtered(limit, &[gst::MessageType::Eos, gst::MessageType::Error]);
        }
    }

    /// What went wrong, once something has. The first error counts: the others follow from it.
    pub fn trouble(&self) -> Option<Trouble> {
        let bus = self.pipeline.bus()?;
        let message = bus.pop_filtered(&[gst::MessageType::Error])?;
        let gst::MessageView::Error(error) = message.view() else { return None };
        let text = error.error().message().to_owned();
        let cause = error.debug().map(|d| d.to_string()).unwrap_or_default();
        tracing::debug!("rtmp: {} ({})", hide(&text), hide(&cause));
        Some(trouble(&text, &cause))
    }
}

impl Drop for Connection {
    /// Takes milliseconds, whatever the server does: the sink calls everything off.
    fn drop(&mut self) {
        take_down(&self.pipeline);
    }
}

/// What rtmp2sink's words mean. Behind most of its errors stands one of GIO, whose domain and code
/// it tells in the debug text only.
fn trouble(text: &str, debug: &str) -> Trouble {
    let (domain, code) = gio_error(debug);
    let said = text
        .strip_prefix("Failed to connect: ")
        .or_else(|| text.strip_prefix("Not authorized: "))
        .or_else(|| text.strip_prefix("Connection error: "))
        .unwrap_or(text);
    if text.starts_with("Connection refused") {
        return Trouble::Lost("nothing listens there; check the port, or start the server".into());
    }
    if text.starts_with("Not authorized") {
        return Trouble::Refused(servers_words(said));
    }
    if text.contains("closed remotely") {
        return Trouble::ClosedSilently;
    }
    match (domain, code) {
        ("g-resolver-error-quark", _) => {
            Trouble::Lost("this host name is not known; check it, and the network".into())
        }
        ("g-tls-error-quark", 0) => Trouble::NoTls,
        ("g-tls-error-quark", 1 | 3) => {
            Trouble::Lost("what answers there speaks no TLS; check the port, or use rtmp://".into())
        }
        ("g-tls-error-quark", _) => Trouble::Distrusted(hide(said).into_owned()),
        ("g-io-error-quark", 24) => {
            Trouble::Lost(format!("it has not answered within {TIMEOUT_S} s"))
        }
        // Closed with something of ours unread: broken pipe, reset by peer.
        ("g-io-error-quark", 44) => Trouble::ClosedSilently,
        ("g-io-error-quark", 34) => {
            Trouble::Lost("what answers there is no RTMP server; check the port".into())
        }
        // rtmp2sink gives the server's own answers these: failed, not found, exists, permission.
        ("g-io-error-quark", 0 | 1 | 2 | 14) if text.starts_with("Failed to connect") => {
            Trouble::Refused(servers_words(said))
        }
        _ => Trouble::Lost(hide(said).into_owned()),
    }
}

/// `domain g-io-error-quark, code 2` at the end of a debug text.
fn gio_error(debug: &str) -> (&str, i32) {
    let found = debug.rsplit_once("domain ").and_then(|(_, rest)| rest.split_once(", code "));
    found.map_or(("", -1), |(domain, code)| (domain, code.trim().parse().unwrap_or(-1)))
}

/// The sentence in what a server said, from the object that rtmp2sink shows whole.
fn servers_words(said: &str) -> String {
    let object = said.find('{').and_then(|at| serde_json::from_str(&said[at..]).ok());
    let object: serde_json::Value = object.unwrap_or_default();
    let words = match (object["description"].as_str(), object["code"].as_str()) {
        (Some(description), Some(code)) => format!("{description} ({code})"),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) => said.to_owned(),
    };
    hide(&words).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SINK: &str =
        "gstrtmp2sink.c(1117): send_connect_error (): /GstPipeline:p/GstRtmp2Sink:s:";

    fn with(text: &str, domain: &str, code: i32) -> Trouble {
        trouble(text, &format!("{SINK}\ndomain {domain}, code {code}"))
    }

    #[test]
    fn what_the_sink_says_is_understood() {
        let io = |text, code| with(text, "g-io-error-quark", code);
        let twice = "Failed to connect: publish denied; stream already exists: { \"level\": \
                     \"error\", \"code\": \"NetStream.Publish.BadName\", \"description\": \"Already \
                     publishing\" }";
        assert_eq!(
            io(twice, 2),
            Trouble::Refused("Already publishing (NetStream.Publish.BadName)".into())
        );
        for text in [
            "Connection error: connection closed remotely",
            "Failed to connect: 'publish' cmd failed: connection closed remotely",
        ] {
            assert_eq!(io(text, 0), Trouble::ClosedSilently);
        }
        let reset = "Failed to connect: Error receiving data: Connection reset by peer";
        assert_eq!(io(reset, 44), Trouble::ClosedSilently);
        let lost = |trouble, part: &str| match trouble {
            Trouble::Lost(text) => assert!(text.contains(part), "{text}"),
            other => panic!("{other:?}"),
        };
        lost(trouble("Connection refused: Could not connect to h", SINK), "nothing listens");
        lost(io("Failed to connect: Socket I/O timed out", 24), "has not answered");
        lost(io("Failed to connect: Short read (want 3073 have 309)", 34), "no RTMP server");
        lost(with("Failed to connect: Error resolving “h”", "g-resolver-error-quark", 0), "host");
        lost(with("Failed to connect: unexpected packet", "g-tls-error-quark", 1), "no TLS");
        assert_eq!(with("Failed to connect: none", "g-tls-error-quark", 0), Trouble::NoTls);
        assert_eq!(
            with("Failed to connect: Unacceptable TLS certificate", "g-tls-error-quark", 2),
            Trouble::Distrusted("Unacceptable TLS certificate".into())
        );
    }

    #[test]
    fn a_key_that_the_server_repeats_is_hidden() {
        crate::base::redact::remember("live_77_secret");
        let text = "Failed to connect: rejected: { \"description\": \"no stream live_77_secret\" }";
        let Trouble::Refused(said) = with(text, "g-io-error-quark", 0) else { panic!() };
        assert_eq!(said, "no stream ***");
    }
}
