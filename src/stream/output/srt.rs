//! SRT: an MPEG-TS to a receiver that is called, or to all that call.
//!
//! Holds: this thread never waits for the network. Nothing is sent before a receiver is there, but
//! for one picture that makes the connection say whether it is wanted; then the stream begins at a
//! fresh key frame. Who joins a running stream gets a key frame soon, and nobody waits for it. What
//! waits, waits in the [`GopQueue`]; packets that SRT itself gives up, as they would come too late,
//! count as a dropped group, once for each group. Only a receiver that is called is congestion:
//! among those who call, one poor way must not lower the bitrate for all.

use std::io::ErrorKind;
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::congestion::Congestion;
use super::gop_queue::{GopQueue, Limit};
use super::kind::{Ending, Kind, Life, Next};
use super::open_source;
use super::progress::Progress;
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
/// SRT lets go of a port a moment after its socket was closed.
const RELEASE_LIMIT: Duration = Duration::from_secs(1);
/// How often the connection is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Media inside the pipeline; more waits in the queue.
const MOST_INSIDE: Duration = Duration::from_millis(200);
/// What may wait in the queue. What is later than SRT's latency is given up by SRT anyway.
const MOST_WAITING: Limit = Limit { media: Duration::from_secs(1), bytes: 16 << 20 };
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
        let mut stream = Stream::new(began);
        loop {
            let next = life.next(&units, LOOK_EVERY);
            if let Some(said) = connection.failure() {
                return Err(self.why(&said, here > 0));
            }
            let now = life.clock.now();
            if now >= look_at {
                look_at = now + LOOK_EVERY;
                let health = connection.look(now);
                if health.newcomers {
                    life.request_key_frame();
                }
                if calling {
                    self.still_there(here > 0, &health, began, now)?;
                } else if health.receivers == 0 && here > 0 {
                    stream = Stream::new(now);
                    life.is_waiting(waiting.as_deref());
                }
                here = health.receivers;
                stream.look(&health, &connection, now, life);
                if stream.queue.sound_is_stuck() {
                    let said = "the way there is too narrow for the sound alone";
                    return Err(Ending::Lost(said.into()));
                }
                if stream.running() {
                    life.is_live(remark(calling, here, stream.congested).as_deref());
                }
            }
            match next {
                Next::Got(unit) if greeting && !unit.is_picture() => {
                    greeting = !connection.push(&unit);
                }
                // Sound is encoded sooner than the picture that the stream will begin with.
                Next::Got(unit) if here > 0 || !unit.is_picture() => stream.add(unit, life),
                Next::Got(_) | Next::Nothing => {}
                Next::End if life.was_cut_off() && !life.ending() => {
                    return Err(Ending::Lost("this machine was too busy to send".into()));
                }
                Next::End => {
                    stream.send(&connection, Duration::MAX, life);
                    connection.finish(here > 0, self.target.latency_ms);
                    return Ok(());
                }
            }
            stream.send(&connection, MOST_INSIDE, life);
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
            let until = life.clock.now() + RELEASE_LIMIT;
            // SRT's own error does not say why.
            while let Err(e) = UdpSocket::bind(address) {
                let in_use = e.kind() == ErrorKind::AddrInUse;
                if in_use && life.clock.now() < until {
                    if matches!(life.next(units, LOOK_EVERY), Next::End) {
                        return Ok(None);
                    }
                    continue;
                }
                return Err(Ending::Lost(if in_use {
                    format!("port {port} is in use by another program; choose another")
                } else {
                    format!("cannot listen on {address}: {e}")
                }));
            }
        }
        Ok(Some(address))
    }

    /// Whether the receiver that is called answers, and goes on to do so.
    fn still_there(
        &self,
        was_there: bool,
        health: &Health,
        began: Duration,
        now: Duration,
    ) -> Result<(), Ending> {
        let shown = self.shown();
        match (was_there, health.receivers > 0) {
            (true, false) => Err(Ending::Lost(format!("{shown} has ended the connection"))),
            (false, false) if now > began + CALL_LIMIT => Err(Ending::Lost(format!(
                "no answer from {shown}; is a receiver listening there (UDP)?"
            ))),
            (_, true) if health.silent >= SILENCE_LIMIT => {
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
        match self.run(life) {
            Ok(()) => Ending::Finished,
            // It may still hold the connection that was lost.
            Err(Ending::Refused(said)) if life.was_live => Ending::Lost(said),
            Err(ending) => ending,
        }
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

fn remark(calling: bool, receivers: u32, congested: bool) -> Option<String> {
    match (calling, receivers) {
        (true, _) if congested => Some("packets are late: the way is too narrow".into()),
        (true, _) => None,
        (false, 1) => Some("1 receiver".into()),
        (false, n) => Some(format!("{n} receivers")),
    }
}

/// What waits to be sent, since a receiver is there.
struct Stream {
    queue: GopQueue,
    congestion: Congestion,
    congested: bool,
    /// Of the group that is being sent, packets were given up.
    spoiled: bool,
}

impl Stream {
    fn new(now: Duration) -> Self {
        Stream {
            queue: GopQueue::new(MOST_WAITING),
            congestion: Congestion::new(now),
            congested: false,
            spoiled: false,
        }
    }

    fn running(&self) -> bool {
        self.queue.start_ns().is_some()
    }

    fn add(&mut self, unit: Unit, life: &Life<'_>) {
        self.congestion.queue(unit, &mut self.queue, life);
    }

    fn send(&mut self, connection: &Connection, most_inside: Duration, life: &Life<'_>) {
        while connection.inside() < most_inside {
            let Some(unit) = self.queue.pop() else { return };
            self.spoiled &= !unit.is_key();
            if connection.push(&unit) {
                life.info.sent(&unit);
            }
        }
    }

    fn look(&mut self, health: &Health, connection: &Connection, now: Duration, life: &Life<'_>) {
        if health.given_up > 0 {
            tracing::debug!("SRT: {} packets given up", health.given_up);
            self.congestion.dropped(now);
            if !std::mem::replace(&mut self.spoiled, true) {
                life.info.dropped_groups.add(1);
            }
        }
        let waiting = self.queue.waiting() + connection.inside();
        life.set_waiting(waiting);
        self.congested = connection.calling && self.congestion.is_so(waiting, now);
        life.set_congested(self.congested);
    }
}

/// How the other side does.
#[derive(Clone, Copy, Debug)]
struct Health {
    receivers: u32,
    /// Someone is there who was not at the last look.
    newcomers: bool,
    /// For how long the receiver that was called has acknowledged nothing of what was sent.
    silent: Duration,
    /// Packets that SRT has not sent since the last look, as they would have come too late.
    given_up: i32,
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
    /// At the last look.
    receivers: u32,
    acknowledged: i32,
    /// Packets that were sent when something was acknowledged last.
    sent: i64,
    progress: Progress,
    given_up: i32,
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
        let video = open_source(&caps.video);
        let audio = open_source(&caps.audio);
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
        Ok(Connection {
            pipeline,
            video,
            audio,
            sink,
            calling,
            callers,
            start_ns,
            receivers: 0,
            acknowledged: 0,
            sent: 0,
            progress: Progress::default(),
            given_up: 0,
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

    fn look(&mut self, now: Duration) -> Health {
        let before = self.receivers;
        if !self.calling {
            self.receivers = self.callers.now.load(Ordering::Acquire);
            let newcomers = self.callers.joined.swap(false, Ordering::AcqRel);
            return Health {
                receivers: self.receivers,
                newcomers,
                silent: Duration::ZERO,
                given_up: 0,
            };
        }
        let stats: gst::Structure = self.sink.property("stats");
        // There is no such number before SRT has shaken hands.
        let acknowledged = stats.get::<i32>("packet-ack-received").ok();
        self.receivers = u32::from(acknowledged.is_some());
        let acknowledged = acknowledged.unwrap_or(0);
        let sent = stats.get::<i64>("packets-sent").unwrap_or(0);
        if acknowledged != self.acknowledged {
            self.acknowledged = acknowledged;
            self.sent = sent;
        }
        // Only data is acknowledged: who was sent none is silent with good reason.
        let silent = self.progress.stalled(acknowledged.max(0) as u64, sent > self.sent, now);
        let given_up = stats.get::<i32>("packets-sent-dropped").unwrap_or(0);
        let given_up_before = std::mem::replace(&mut self.given_up, given_up);
        Health {
            receivers: self.receivers,
            newcomers: self.receivers > before,
            silent,
            given_up: given_up - given_up_before,
        }
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
