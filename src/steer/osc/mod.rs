//! OSC: packets over UDP steer the show, and changes are sent back; OSCQuery says what there is.
//!
//! Holds: addresses, types and ranges are those of the registry and of nothing else. Nothing that
//! is sent can stop the show, or make this room wait, or grow: packets are bounded in size, depth
//! and number, and every queue has its limit. Ports are taken before the show starts. Two named
//! threads, `osc in` and `osc out`, end when [`Osc`] is dropped, which joins them.

pub(super) mod announce;
mod core;
pub mod layout;
mod message;
mod packet;
mod pattern;
mod query;
mod refusal;
mod subscribers;
mod tree;
mod value;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use rosc::{OscMessage, OscPacket, encoder};

use self::core::{Core, Later, Peer, WAITING};
use self::subscribers::{Subscribers, source};
use crate::base::clock::Clock;
use crate::base::error::{Error, Result};
use crate::base::telemetry::{Counter, OscStatus};
use crate::config;
use crate::music::NoteSender;
use crate::param::Board;

pub use self::message::ROOT;
pub use self::refusal::Why;

/// Feedback goes out this often: 30 times a second.
const FEEDBACK_EVERY: Duration = Duration::from_nanos(1_000_000_000 / 30);
/// How long `osc in` waits for a packet before it looks whether the show has ended.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// What may wait in the system's own queue.
const RECEIVE_BUFFER: usize = 1 << 20;
/// The largest datagram there is.
const LARGEST: usize = 65_536;
/// Packets that are looked at within `WINDOW`; more wait in the system's queue, and what does not
/// fit there is lost. So a flood takes a part of one core at most.
const MOST_IN_WINDOW: u32 = 200;
const WINDOW: Duration = Duration::from_millis(10);
/// A network that takes nothing is not waited for.
const SEND_LIMIT: Duration = Duration::from_millis(10);

/// Ports that are taken, before anything of the show starts.
pub struct Bound {
    socket: UdpSocket,
    query: Option<TcpListener>,
    settings: config::Osc,
}

impl Bound {
    /// Where it will listen, in words.
    pub fn shown(&self) -> String {
        let at = |address: std::io::Result<SocketAddr>| {
            address.map_or_else(|_| "nowhere".to_owned(), |address| address.to_string())
        };
        let query = self.query.as_ref().map(|query| at(query.local_addr()));
        let query = query.map_or(String::new(), |query| format!(", OSCQuery on http://{query}"));
        format!("{}{query}", at(self.socket.local_addr()))
    }
}

/// Takes the ports. `None`: no OSC is wanted, or its own port, which nobody asked for, is in use.
///
/// # Errors
/// `Usage`: it could be reached from elsewhere, and nobody says by whom. `Unavailable`: a port
/// cannot be had.
pub fn bind(settings: &config::Osc) -> Result<Option<Bound>> {
    let Some(listen) = settings.listen else { return Ok(None) };
    for (key, address) in [("listen (--osc)", Some(listen)), ("query", settings.query)] {
        if address.is_some_and(|a| !a.ip().is_loopback()) && settings.allow.is_empty() {
            return Err(Error::usage(format!(
                "live.osc.{key}: {} can be reached from other machines; say in live.osc.allow \
                 which of them may steer, such as [192.168.1.7] or [192.168.1.0/24], or use \
                 127.0.0.1",
                address.unwrap_or(listen)
            )));
        }
    }
    let reaches = |to: SocketAddr| {
        let (own, to) = (listen.ip(), to.ip());
        own.is_ipv4() == to.is_ipv4() && (to.is_loopback() || !own.is_loopback())
    };
    if let Some(lost) = settings.send.iter().find(|fixed| !reaches(fixed.to)) {
        return Err(Error::usage(format!(
            "live.osc.send: {} cannot be reached from {listen}, where live.osc.listen (--osc) \
             says that packets come and go; listen on {} to reach other machines",
            lost.to,
            if lost.to.is_ipv4() { "0.0.0.0:9000" } else { "[::]:9000" }
        )));
    }
    let in_use = |key: &str, address: SocketAddr, e: std::io::Error| {
        let problem = match e.kind() {
            std::io::ErrorKind::AddrInUse => "is in use by another program",
            _ => "cannot be listened on",
        };
        Error::unavailable(format!(
            "live.osc.{key}: {address} {problem}; use another port, port 0 for any free one, or off"
        ))
        .with_source(e)
    };
    let socket = match UdpSocket::bind(listen) {
        Ok(socket) => socket,
        Err(e) => {
            let error = in_use("listen (--osc)", listen, e);
            if settings.listen_is_asked {
                return Err(error);
            }
            tracing::warn!("no OSC: {error}");
            return Ok(None);
        }
    };
    let query = match settings.query.map(|address| (address, TcpListener::bind(address))) {
        None => None,
        Some((_, Ok(listener))) => Some(listener),
        Some((address, Err(e))) => {
            let error = in_use("query", address, e);
            if settings.query_is_asked {
                return Err(error);
            }
            tracing::warn!("no OSCQuery: {error}");
            None
        }
    };
    let fault = |e| Error::unavailable(format!("cannot listen on {listen}")).with_source(e);
    socket.set_read_timeout(Some(LOOK_EVERY)).map_err(fault)?;
    socket.set_write_timeout(Some(SEND_LIMIT)).map_err(fault)?;
    if let Some(query) = &query {
        query.set_nonblocking(true).map_err(fault)?;
    }
    // The system may give less, or none more; it is of use, not of need.
    let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER);
    Ok(Some(Bound { socket, query, settings: settings.clone() }))
}

/// OSC of a running show.
pub struct Osc {
    core: Arc<Core>,
    listen: SocketAddr,
    query: Option<SocketAddr>,
    /// Nothing is ever sent; dropped, it ends both threads.
    ending: Option<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
    /// Dropped, it ends OSCQuery.
    _serving: Option<tokio::sync::watch::Sender<()>>,
    _announced: Option<announce::Announced>,
}

impl Osc {
    /// Starts to listen. `name` is the show's, for programs that look for one.
    pub fn start(
        bound: Bound,
        board: Arc<Board>,
        clock: Arc<dyn Clock>,
        name: &str,
        runtime: &tokio::runtime::Handle,
        notes: NoteSender,
    ) -> Result<Self> {
        let Bound { socket, query, settings } = bound;
        let fault = |e| Error::internal("cannot start OSC").with_source(e);
        let listen = socket.local_addr().map_err(fault)?;
        let query_at = query.as_ref().and_then(|query| query.local_addr().ok());
        let (later, due) = bounded(WAITING);
        let fixed = settings.send.iter().map(|fixed| (fixed.to, fixed.place));
        let core = Arc::new(Core {
            board,
            clock,
            subscribers: Mutex::new(Subscribers::new(fixed)),
            refusals: Default::default(),
            packets: Counter::default(),
            messages: Counter::default(),
            feedback: Counter::default(),
            listeners: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            allow: settings.allow.clone(),
            notes,
            later,
            listen: listen.to_string(),
            query: query_at.map(|address| address.to_string()),
        });
        let (ending, over) = bounded(0);
        let out = socket.try_clone().map_err(fault)?;
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.into()).spawn(work).map_err(fault)
        };
        let mut osc = Osc {
            core: core.clone(),
            listen,
            query: query_at,
            ending: Some(ending),
            threads: Vec::with_capacity(2),
            _serving: None,
            _announced: announce::announce(&settings, listen, query_at, name),
        };
        let (core_in, over_in) = (core.clone(), over.clone());
        osc.threads.push(spawn("osc in", Box::new(move || hear(&core_in, &socket, &over_in)))?);
        let core_out = core.clone();
        osc.threads.push(spawn("osc out", Box::new(move || tell(&core_out, &out, &due, &over)))?);
        if let Some(query) = query {
            let (serving, ended) = tokio::sync::watch::channel(());
            let host = query::Host { core, name: name.to_owned(), osc: listen };
            runtime.spawn(async move {
                if let Err(error) = query::serve(query, host, ended).await {
                    tracing::error!("OSCQuery ended: {error}");
                }
            });
            osc._serving = Some(serving);
        }
        Ok(osc)
    }

    /// Where packets come in, and where OSCQuery is.
    pub fn addresses(&self) -> (SocketAddr, Option<SocketAddr>) {
        (self.listen, self.query)
    }

    /// Says how it is at any time.
    pub fn teller(&self) -> Arc<dyn Fn() -> OscStatus + Send + Sync> {
        let core = self.core.clone();
        Arc::new(move || core.status())
    }
}

impl Drop for Osc {
    fn drop(&mut self) {
        drop(self.ending.take());
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// `osc in`: takes packets until the show is over.
fn hear(core: &Core, socket: &UdpSocket, over: &Receiver<()>) {
    let mut buffer = vec![0; LARGEST];
    let mut last: Option<Peer> = None;
    let mut window = (Duration::ZERO, 0);
    while over.try_recv() != Err(TryRecvError::Disconnected) {
        let (length, address) = match socket.recv_from(&mut buffer) {
            Ok(came) => came,
            Err(e) => {
                use std::io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
                if !matches!(e.kind(), Interrupted | TimedOut | WouldBlock) {
                    // Of a packet that was sent to nobody, most likely.
                    let _ = over.recv_timeout(WINDOW);
                }
                continue;
            }
        };
        let received = core.clock.now();
        if received >= window.0 + WINDOW {
            window = (received, 0);
        }
        window.1 += 1;
        if window.1 > MOST_IN_WINDOW {
            let _ = over.recv_timeout((window.0 + WINDOW).saturating_sub(received));
        }
        if !core.hears(address.ip()) {
            core.packets.add(1);
            let text = "it is not in live.osc.allow";
            core.refuse(&refusal::Refusal::new(Why::Sender, "", text), address, received);
            continue;
        }
        if last.as_ref().is_none_or(|peer| peer.address != address) {
            last = Some(Peer { address, source: source(address).into(), typed: false });
        }
        let Some(peer) = &last else { continue };
        // A fault in reading one packet must not be the end of all others.
        let take = AssertUnwindSafe(|| core.take(&buffer[..length], peer, received));
        match std::panic::catch_unwind(take) {
            Ok(answers) => {
                send(socket, address, answers);
            }
            Err(_) => tracing::error!("a fault of this program: a packet of OSC from {address}"),
        }
    }
}

/// Answers that cannot be sent are lost, as any packet may be.
fn send(socket: &UdpSocket, to: SocketAddr, messages: Vec<OscMessage>) -> usize {
    let mut sent = 0;
    for datagram in value::datagrams(messages) {
        sent += usize::from(socket.send_to(&datagram, to).is_ok());
    }
    sent
}

/// `osc out`: carries out what waits for its time, and sends changes to those who want them.
fn tell(core: &Core, socket: &UdpSocket, due: &Receiver<Later>, over: &Receiver<()>) {
    let mut waiting: BTreeMap<(Duration, u64), Later> = BTreeMap::new();
    let mut count = 0;
    let mut next_feedback = core.clock.now();
    loop {
        let now = core.clock.now();
        let first = waiting.keys().next().map_or(next_feedback, |(due, _)| *due);
        let patience = first.min(next_feedback).saturating_sub(now);
        crossbeam_channel::select! {
            recv(over) -> _ => return,
            recv(due) -> later => match later {
                Ok(later) => {
                    count += 1;
                    waiting.insert((later.due, count), later);
                }
                Err(_) => return,
            },
            default(patience) => {}
        }
        let now = core.clock.now();
        while let Some(entry) = waiting.first_entry().filter(|entry| entry.key().0 <= now) {
            let later = entry.remove();
            core.waiting.fetch_sub(1, Ordering::AcqRel);
            // It was asked for that moment: from there on it is late.
            if let Err(refusal) = core.apply(&later.changes, &later.source, later.due) {
                let answer = core.refuse(&refusal, later.sender, now);
                if later.answer {
                    send(socket, later.sender, answer.into_iter().collect());
                }
            }
        }
        if now >= next_feedback {
            next_feedback = (next_feedback + FEEDBACK_EVERY).max(now);
            let to_send = core.subscribers().due(&core.board, now);
            for (to, messages) in to_send {
                core.feedback.add(send(socket, to, messages) as u64);
            }
        }
    }
}

/// One message as bytes; it cannot fail for what is made here.
fn bytes(message: OscMessage) -> Vec<u8> {
    encoder::encode(&OscPacket::Message(message)).unwrap_or_default()
}
