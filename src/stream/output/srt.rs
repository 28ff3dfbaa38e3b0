//! SRT: an MPEG-TS to a receiver that is called, or to all that call.
//!
//! Holds: this thread never waits for the network. Nothing is sent before a receiver is there, but
//! for one picture that makes the connection say whether it is wanted; then the stream begins at a
//! fresh key frame. Who joins a running stream gets a key frame soon, and nobody waits for it.

use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::kind::{Ending, Kind, Life, Next};
use crate::base::error::{Error, Result};
use crate::config::output::{SrtMode, SrtTarget};
use crate::stream::fanout::{StreamCaps, Unit};
use crate::stream::priority::{self, Importance};
use crate::stream::{make, take_down, wait_for_end};

/// What may wait for this output's thread, which only hands on.
const FEED_BYTES: u64 = 16 << 20;
/// SRT itself gives up on a call after 3 s.
const CALL_LIMIT: Duration = Duration::from_secs(4);
/// A receiver acknowledges every 10 ms. SRT itself gives up on a silent one after 5 s.
const SILENCE_LIMIT: Duration = Duration::from_secs(3);
/// Packets that were given up less than this ago mean that the way is too narrow.
const NARROW_FOR: Duration = Duration::from_secs(2);
/// How often the connection is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Media inside the pipeline, above which pictures are left out up to the next key frame.
const MOST_INSIDE: Duration = Duration::from_secs(1);
/// For what is still inside when the show ends.
const FINISH_LIMIT: Duration = Duration::from_secs(1);

pub struct Srt {
    target: SrtTarget,
    /// Which of a name's addresses is called next: a receiver may answer on one of them only.
    calls: usize,
}

impl Srt {
    pub fn new(target: SrtTarget) -> Self {
        Srt { target, calls: 0 }
    }

    /// `Ok`: as was asked for.
    fn run(&mut self, life: &mut Life<'_>) -> Result<(), Ending> {
        let units = life.encoded(FEED_BYTES);
        let port = self.target.port;
        let calling = self.target.mode == SrtMode::Caller;
        let waiting = (!calling).then(|| format!("waiting for a receiver on port {port}"));
        life.is_waiting(waiting.as_deref());
        let Some(address) = self.address(life, &units)? else { return Ok(()) };
        let Some((first, caps)) = first_key_frame(life, &units) else { return Ok(()) };
        let mut connection = Connection::open(&self.target, address, &caps, first.pts_ns)
            .map_err(|e| Ending::Unavailable(e.to_string()))?;
        connection.start().map_err(|said| self.why(&said, false))?;

        let began = life.clock.now();
        // The sound that belongs to the picture which calls.
        let mut greeting = calling;
        if calling {
            connection.push(&first);
        }
        let mut look_at = began;
        let mut here = 0;
        let mut stream = Stream::default();
        loop {
            let next = life.next(&units, LOOK_EVERY);
            if let Some(said) = connection.failure() {
                return Err(self.why(&said, here > 0));
            }
            let now = life.clock.now();
            if now >= look_at {
                look_at = now + LOOK_EVERY;
                let link = connection.look(now);
                if link.newcomers {
                    life.request_key_frame();
                }
                if calling {
                    self.still_there(here > 0, &link, began, now)?;
                } else if link.receivers == 0 && here > 0 {
                    stream = Stream::default();
                    life.is_waiting(waiting.as_deref());
                }
                here = link.receivers;
                life.set_waiting(connection.inside());
                life.set_congested(link.narrow);
                if stream.running {
                    life.is_live(remark(calling, &link).as_deref());
                }
            }
            match next {
                Next::Got(unit) if greeting && !unit.is_picture() => {
                    greeting = !connection.push(&unit);
                }
                Next::Got(unit) => {
                    if here > 0 && stream.takes(&unit, &connection, life) {
                        connection.push(&unit);
                        life.info.sent(&unit);
                    }
                }
                Next::Nothing => {}
                Next::End if life.was_cut_off() && !life.ending() => {
                    return Err(Ending::Lost("this machine was too busy to send".into()));
                }
                Next::End => {
                    connection.finish(here > 0, self.target.latency_ms);
                    return Ok(());
                }
            }
        }
    }

    /// Where to call or to listen; `None`: the life ends.
    fn address(
        &mut self,
        life: &mut Life<'_>,
        units: &Receiver<Unit>,
    ) -> Result<Option<SocketAddr>, Ending> {
        let (host, port) = (self.target.host.clone(), self.target.port);
        let host = if host.is_empty() { "0.0.0.0".into() } else { host };
        let found = resolve(&host, port).map_err(|e| Ending::Failed(e.to_string()))?;
        let addresses = loop {
            if let Ok(found) = found.try_recv() {
                break found;
            }
            if matches!(life.next(units, LOOK_EVERY), Next::End) {
                return Ok(None);
            }
        };
        if addresses.is_empty() {
            let hint = "check the name, and that this machine is online";
            return Err(Ending::Lost(format!("the host {host} is not known; {hint}")));
        }
        let address = addresses[self.calls % addresses.len()];
        self.calls += 1;
        if self.target.mode == SrtMode::Listener {
            // SRT's own error does not say why.
            UdpSocket::bind(address).map_err(|e| {
                Ending::Lost(match e.kind() {
                    std::io::ErrorKind::AddrInUse => {
                        format!("port {port} is in use by another program; choose another")
                    }
                    _ => format!("cannot listen on {address}: {e}"),
                })
            })?;
        }
        Ok(Some(address))
    }

    /// Whether the receiver that is called answers, and goes on to do so.
    fn still_there(
        &self,
        was_there: bool,
        link: &Link,
        began: Duration,
        now: Duration,
    ) -> Result<(), Ending> {
        let shown = self.shown();
        match (was_there, link.receivers > 0) {
            (true, false) => Err(Ending::Lost(format!("{shown} has ended the connection"))),
            (false, false) if now > began + CALL_LIMIT => Err(Ending::Lost(format!(
                "no answer from {shown}; is a receiver listening there (UDP)?"
            ))),
            (_, true) if now > link.heard_at + SILENCE_LIMIT => {
                let seconds = SILENCE_LIMIT.as_secs();
                Err(Ending::Lost(format!("{shown} has not answered for {seconds} s")))
            }
            _ => Ok(()),
        }
    }

    /// The end that an error means.
    fn why(&self, said: &str, connected: bool) -> Ending {
        let shown = self.shown();
        let ours = self.target.passphrase.is_some();
        if said.contains("Incorrect passphrase") {
            Ending::Refused(format!(
                "{shown} does not accept the passphrase; use the one that is set there"
            ))
        } else if said.contains("Password required or unexpected") && ours {
            Ending::Refused(format!(
                "{shown} takes no passphrase; leave it out here, or set it there too"
            ))
        } else if said.contains("Password required or unexpected") {
            Ending::Refused(format!(
                "{shown} asks for a passphrase; add ?passphrase=... with the one that is set there"
            ))
        } else if connected {
            Ending::Lost(format!("{shown} has ended the connection"))
        } else if said.contains("rejected") || said.contains("rejection") {
            Ending::Refused(format!("{shown} does not want this stream ({said})"))
        } else {
            Ending::Lost(format!("cannot connect to {shown} ({said})"))
        }
    }

    fn shown(&self) -> String {
        match self.target.mode {
            SrtMode::Caller => format!("{}:{}", self.target.host, self.target.port),
            SrtMode::Listener => format!("port {}", self.target.port),
        }
    }
}

impl Kind for Srt {
    fn live(&mut self, life: &mut Life<'_>) -> Ending {
        self.run(life).err().unwrap_or(Ending::Finished)
    }
}

/// The addresses of a host; none if it is not known. Asking may take long, so a thread does it,
/// which ends by itself when the system has an answer: nobody can end it sooner.
pub(super) fn resolve(host: &str, port: u16) -> Result<Receiver<Vec<SocketAddr>>> {
    let (answer, found) = bounded(1);
    let host = host.to_owned();
    std::thread::Builder::new()
        .name("host name".into())
        .spawn(move || {
            let addresses = (host.as_str(), port).to_socket_addrs();
            // Whoever asked may have gone.
            let _ = answer.send(addresses.map(Iterator::collect).unwrap_or_default());
        })
        .map_err(|e| Error::internal("cannot look up a host").with_source(e))?;
    Ok(found)
}

/// `None`: the life ends.
fn first_key_frame(life: &mut Life<'_>, units: &Receiver<Unit>) -> Option<(Unit, StreamCaps)> {
    life.request_key_frame();
    loop {
        match life.next(units, LOOK_EVERY) {
            Next::Got(unit) if unit.is_key() => {
                if let Some(caps) = life.fanout.caps() {
                    return Some((unit, caps));
                }
            }
            Next::Got(_) | Next::Nothing => {}
            Next::End => return None,
        }
    }
}

fn remark(calling: bool, link: &Link) -> Option<String> {
    match (calling, link.receivers) {
        (true, _) if link.narrow => Some("packets are late: the way is too narrow".into()),
        (true, _) => None,
        (false, 1) => Some("1 receiver".into()),
        (false, n) => Some(format!("{n} receivers")),
    }
}

/// What of the units is sent: whole groups of pictures, and the sound with them.
#[derive(Default)]
struct Stream {
    running: bool,
    skipping: bool,
}

impl Stream {
    fn takes(&mut self, unit: &Unit, connection: &Connection, life: &Life<'_>) -> bool {
        if !unit.is_picture() {
            return self.running && !self.skipping;
        }
        let full = connection.inside() > MOST_INSIDE;
        if unit.is_key() && !full {
            self.running = true;
            self.skipping = false;
        }
        if self.running && full && !self.skipping {
            self.skipping = true;
            life.info.dropped_groups.add(1);
        }
        if self.skipping {
            life.info.dropped_frames.add(1);
        }
        self.running && !self.skipping
    }
}

/// How the other side does.
#[derive(Clone, Copy, Debug)]
struct Link {
    receivers: u32,
    /// Someone is there who was not at the last look.
    newcomers: bool,
    /// When the receiver that was called last acknowledged something.
    heard_at: Duration,
    /// Packets were given up lately because they could not be sent in time.
    narrow: bool,
}

/// Who has called the listener.
#[derive(Default)]
struct Callers {
    now: AtomicU32,
    joined: AtomicBool,
}

/// One small pipeline: `appsrc ! h264parse ! mpegtsmux ! srtsink`, with the sound.
struct Connection {
    pipeline: gst::Pipeline,
    video: gst_app::AppSrc,
    audio: gst_app::AppSrc,
    sink: gst::Element,
    calling: bool,
    callers: Arc<Callers>,
    /// Show time that is time 0 of the stream.
    start_ns: u64,
    link: Link,
    acknowledged: i64,
    given_up: i64,
    given_up_at: Option<Duration>,
}

impl Connection {
    fn open(
        target: &SrtTarget,
        address: SocketAddr,
        caps: &StreamCaps,
        start_ns: u64,
    ) -> Result<Self> {
        let pipeline = gst::Pipeline::new();
        priority::set_for(&pipeline, Importance::Picture);
        let source = |name: &str, caps: &gst::Caps| {
            // How much may be inside is for `Stream` to say.
            gst_app::AppSrc::builder()
                .name(name)
                .caps(caps)
                .format(gst::Format::Time)
                .max_bytes(0)
                .build()
        };
        let video = source("video", &caps.video);
        let audio = source("audio", &caps.audio);
        let parse = make("h264parse")?;
        // Parameter sets with every key frame, for those who join.
        parse.set_property("config-interval", -1i32);
        let sound = make("aacparse")?;
        let mux = make("mpegtsmux")?;
        // As many packets as fit into one of SRT.
        mux.set_property("alignment", 7i32);
        let sink = sink(target, address)?;
        pipeline
            .add_many([video.upcast_ref(), audio.upcast_ref(), &parse, &sound, &mux, &sink])
            .map_err(Error::fault)?;
        gst::Element::link_many([video.upcast_ref(), &parse, &mux, &sink]).map_err(Error::fault)?;
        gst::Element::link_many([audio.upcast_ref(), &sound, &mux]).map_err(Error::fault)?;
        let callers = watch_callers(&sink);
        let calling = target.mode == SrtMode::Caller;
        let heard_at = Duration::ZERO;
        let link = Link { receivers: 0, newcomers: false, heard_at, narrow: false };
        Ok(Connection {
            pipeline,
            video,
            audio,
            sink,
            calling,
            callers,
            start_ns,
            link,
            acknowledged: -1,
            given_up: 0,
            given_up_at: None,
        })
    }

    /// Starts to call or to listen.
    ///
    /// # Errors
    /// What GStreamer said.
    fn start(&self) -> Result<(), String> {
        match self.pipeline.set_state(gst::State::Playing) {
            Ok(_) => Ok(()),
            Err(e) => Err(self.failure().unwrap_or_else(|| e.to_string())),
        }
    }

    /// What went wrong since the last call, in SRT's words.
    fn failure(&self) -> Option<String> {
        let message = self.pipeline.bus()?.pop_filtered(&[gst::MessageType::Error])?;
        let gst::MessageView::Error(error) = message.view() else { return None };
        let details = error.debug().unwrap_or_default();
        tracing::debug!("SRT: {} ({details})", error.error());
        // Why a socket could not be opened stands only there.
        let said = match details.split_once("Failed to open SRT: ") {
            Some((_, why)) => why.to_owned(),
            None => error.error().to_string(),
        };
        Some(said.trim_start_matches("Failed to write to SRT socket: ").to_owned())
    }

    fn look(&mut self, now: Duration) -> Link {
        let before = self.link.receivers;
        if self.calling {
            let stats: gst::Structure = self.sink.property("stats");
            // There is no such number before SRT has shaken hands.
            let acknowledged = stats.get::<i32>("packet-ack-received").ok().map(i64::from);
            self.link.receivers = u32::from(acknowledged.is_some());
            self.link.newcomers = self.link.receivers > before;
            if acknowledged.is_some_and(|n| n != self.acknowledged) || self.link.newcomers {
                self.acknowledged = acknowledged.unwrap_or(-1);
                self.link.heard_at = now;
            }
            let given_up = stats.get::<i32>("packets-sent-dropped").map_or(0, i64::from);
            if given_up > self.given_up {
                self.given_up = given_up;
                self.given_up_at = Some(now);
            }
            self.link.narrow = self.given_up_at.is_some_and(|at| now < at + NARROW_FOR);
        } else {
            self.link.receivers = self.callers.now.load(Ordering::Acquire);
            self.link.newcomers = self.callers.joined.swap(false, Ordering::AcqRel);
        }
        self.link
    }

    /// Hands a unit on; false: it belongs before the start of the stream.
    fn push(&self, unit: &Unit) -> bool {
        let Some(buffer) = unit.rebased(self.start_ns) else { return false };
        let source = if unit.is_picture() { &self.video } else { &self.audio };
        // An error here stands on the bus as well.
        source.push_buffer(buffer).is_ok()
    }

    /// Media that waits to be sent.
    fn inside(&self) -> Duration {
        Duration::from_nanos(self.video.current_level_time().nseconds())
    }

    /// Sends what is inside, and lets the receivers get it before the connection ends.
    fn finish(self, someone_is_there: bool, latency_ms: u32) {
        if !someone_is_there {
            return;
        }
        let _ = self.video.end_of_stream();
        let _ = self.audio.end_of_stream();
        if wait_for_end(&self.pipeline, FINISH_LIMIT).is_ok() {
            let flight = Duration::from_millis(latency_ms.into()).min(FINISH_LIMIT);
            let _ = crossbeam_channel::never::<()>().recv_timeout(flight);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        take_down(&self.pipeline);
    }
}

fn sink(target: &SrtTarget, address: SocketAddr) -> Result<gst::Element> {
    let sink = make("srtsink")?;
    let mode = match target.mode {
        SrtMode::Caller => "caller",
        SrtMode::Listener => "listener",
    };
    sink.set_property("uri", format!("srt://{address}?mode={mode}"));
    sink.set_property("latency", target.latency_ms as i32);
    if let Some(passphrase) = &target.passphrase {
        sink.set_property("passphrase", passphrase.reveal());
        sink.set_property_from_str("pbkeylen", &target.key_length.to_string());
    }
    if let Some(stream_id) = &target.stream_id {
        sink.set_property("streamid", stream_id.reveal());
    }
    sink.set_property("wait-for-connection", false);
    sink.set_property("auto-reconnect", false);
    sink.set_property("sync", false);
    sink.set_property("async", false);
    let pad = sink.static_pad("sink").ok_or_else(|| Error::internal("no pad"))?;
    // With a stream header srtsink sends that first, and then loses the reason of a refusal. The
    // tables in it are repeated in the stream ten times a second.
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, |_, info| {
        if let Some(gst::PadProbeData::Event(event)) = &mut info.data
            && let gst::EventView::Caps(caps) = event.view()
        {
            let mut caps = caps.caps_owned();
            if let Some(mpeg_ts) = caps.make_mut().structure_mut(0) {
                mpeg_ts.remove_field("streamheader");
            }
            *event = gst::event::Caps::new(&caps);
        }
        gst::PadProbeReturn::Ok
    });
    Ok(sink)
}

fn watch_callers(sink: &gst::Element) -> Arc<Callers> {
    let callers = Arc::new(Callers::default());
    let joined = callers.clone();
    sink.connect("caller-added", false, move |_| {
        joined.now.fetch_add(1, Ordering::AcqRel);
        joined.joined.store(true, Ordering::Release);
        None
    });
    let left = callers.clone();
    sink.connect("caller-removed", false, move |_| {
        left.now.fetch_sub(1, Ordering::AcqRel);
        None
    });
    callers
}
