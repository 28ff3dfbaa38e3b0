//! The show over HTTP: state, metrics, preview, parameters, outputs and *go*, for people and
//! machines.
//!
//! Holds: this room asks its [`Desk`] and tells it; it knows nothing of how a show works. From other
//! machines nobody gets anything without the token, and a web page of another origin can change
//! nothing. A client that reads slowly holds its own connection and nothing else: there are at
//! most `MAX_CONNECTIONS` of them, from one other machine `MAX_PER_ADDRESS`; a further one is closed
//! at once, and the end of the show waits for none longer than `DRAIN`.

mod access;
mod cycles;
mod error;
pub mod guard;
mod hub;
mod metrics;
mod midi;
mod openapi;
mod outputs;
mod page;
mod params;
mod presets;
mod prompts;
mod recording;
mod routes;
mod socket;
mod table;

use std::collections::HashMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::FromRef;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::archive::Recording;
use crate::base::error::{Error, Result};
use crate::base::telemetry::{OutputStatus, Status};
use crate::config::output::OutputSpec;
use crate::config::preset::{Preset, PresetKind};
use crate::music::{SIGNALS, Section};
use crate::param::{Board, MODULATORS};
pub use access::Access;
use access::LEAST_TOKEN;
use guard::Ends;
use hub::Hub;

/// Open connections at a time; each costs a file descriptor, which the show needs too.
const MAX_CONNECTIONS: usize = 128;
/// Of these, from one address that is not this machine's.
const MAX_PER_ADDRESS: usize = 32;
/// What waits in the system to be sent to one client, in bytes: what is live is not to grow old
/// there.
const SEND_BUFFER: usize = 128 * 1024;
/// How long a client may take to send the head of a request, idle time between two included.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long requests in progress may go on after the shutdown.
const DRAIN: Duration = Duration::from_secs(1);

/// What the control room may ask of the running show. Every method returns at once, but for those
/// of outputs: they may look at a disk or start an encoder, and are called where waiting harms
/// nobody.
pub trait Desk: Send + Sync {
    fn status(&self) -> Arc<Status>;
    /// Starts a show that stands by; `false` if it was live already.
    fn go(&self) -> Result<bool>;
    /// All that can be steered.
    fn board(&self) -> &Arc<Board>;
    /// By the show's clock.
    fn now(&self) -> Duration;
    /// Every output as it is now, in the order in which they were added.
    fn outputs(&self) -> Vec<OutputStatus>;
    /// The output with that number or name.
    ///
    /// # Errors
    /// `NotFound`: there is none; `Conflict`: several have that name.
    fn output(&self, key: &str) -> Result<OutputStatus>;
    /// Adds an output and starts it; returns what became of it so far.
    ///
    /// # Errors
    /// `Conflict`: it is there already, or its file exists; `Unavailable`: the show is ending.
    fn add_output(&self, spec: OutputSpec, source: &str) -> Result<OutputStatus>;
    /// Changes the output with that number or name, which follows in its own time; returns how it
    /// was.
    ///
    /// # Errors
    /// As [`Desk::output`]; `Unavailable`: the show is ending.
    fn change_output(&self, key: &str, change: OutputChange, source: &str) -> Result<OutputStatus>;
    /// The last `most` cycles of the project with a number below `before`, newest first. May wait for
    /// the disk, as what follows may.
    fn cycles(&self, before: Option<u32>, most: usize) -> Result<CyclePage>;
    /// One cycle.
    ///
    /// # Errors
    /// `NotFound`: there is none.
    fn cycle(&self, cycle: u32) -> Result<CycleEntry>;
    /// The file of its video.
    ///
    /// # Errors
    /// `NotFound`: there is none.
    fn cycle_video(&self, cycle: u32) -> Result<PathBuf>;
    /// A small picture of it, as JPEG.
    ///
    /// # Errors
    /// `NotFound`: there is none.
    fn thumbnail(&self, cycle: u32) -> Result<Arc<[u8]>>;
    /// What was recorded in this project, oldest first.
    fn recordings(&self) -> Vec<Recording>;
    /// All presets that can be recalled, by name.
    fn presets(&self) -> Vec<Preset>;
    /// Saves what is set at present.
    ///
    /// # Errors
    /// `Usage`: the name cannot be used; `Conflict`: it is taken, and not to be written over.
    fn save_preset(&self, name: &str, kind: PresetKind, title: &str, over: bool) -> Result<Preset>;
    /// # Errors
    /// `NotFound`: there is none of that name that was saved.
    fn remove_preset(&self, name: &str) -> Result<()>;
    /// MIDI controllers; `None`: it is turned off.
    fn midi(&self) -> Option<Arc<crate::steer::midi::Handle>> {
        None
    }
    /// What is heard, and where the beat is, this instant.
    fn music(&self) -> Music {
        Music::default()
    }
    /// The newest look at a picture in the making, a JPEG or PNG file; `None`: the generator shows
    /// none.
    fn making_picture(&self) -> Option<Arc<[u8]>>;
    /// The newest preview picture; `None` before the first frame.
    fn preview_jpeg(&self) -> Option<Arc<[u8]>>;
    /// `Err` says in plain words what is wrong.
    fn healthy(&self) -> std::result::Result<(), String>;
}

/// What is heard, and where the beat is.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Music {
    /// With its fraction; multiples of `beats_per_bar` are downbeats.
    pub beat: f64,
    pub bpm: f64,
    pub beats_per_bar: u32,
    /// Who gives the beat, as in `/tempo/source`.
    pub source: &'static str,
    /// 0 to 1.
    pub confidence: f32,
    pub section: Section,
    /// Of the sound that goes out, left and right, in dBFS; -100 is silence.
    pub peak_db: [f32; 2],
    pub rms_db: [f32; 2],
    /// Each from 0 to 1, in the order of [`Signal::ALL`](crate::music::Signal::ALL).
    pub signals: [f32; SIGNALS],
    /// What each modulator adds at present, in parts of its parameter's range.
    pub modulators: [f32; MODULATORS],
}

/// Some of the project's cycles.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CyclePage {
    pub cycles: Vec<CycleEntry>,
    /// How many the project has.
    pub total: usize,
    /// What to ask for as `before` to get those that are older; `None`: there are none.
    pub next: Option<u32>,
}

/// A cycle of the project.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CycleEntry {
    pub cycle: u32,
    pub prompt: String,
    pub seed: Option<i64>,
    /// How long its video plays.
    pub seconds: Option<f64>,
    /// `pending`, `constructing`, `constructed`, `inspecting`, `complete`, `failed` or `missing`.
    pub status: &'static str,
    /// Why it failed.
    pub error: Option<String>,
    /// ISO 8601.
    pub created_at: Option<String>,
    /// How long it took to make.
    pub took_s: Option<f64>,
    pub backend: Option<String>,
    pub files: CycleFiles,
}

/// Paths, from the project's folder on.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CycleFiles {
    pub raw: Option<String>,
    pub video: Option<String>,
    pub image: Option<String>,
}

/// What every route has at hand.
#[derive(Clone)]
struct Site {
    desk: Arc<dyn Desk>,
    hub: Arc<Hub>,
    access: Arc<Access>,
}

impl FromRef<Site> for Arc<dyn Desk> {
    fn from_ref(site: &Site) -> Self {
        site.desk.clone()
    }
}

/// What may be asked of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputChange {
    Stop,
    /// Start it if it has ended; a live one goes on as it is.
    Start,
    /// Connect now, whatever it waits for.
    Retry,
    Remove,
}

/// Takes the address, before anything else of the show starts. Port 0 takes a free one.
///
/// # Errors
/// `Usage` for an address that others can reach while there is no token, `Unavailable` if it cannot
/// be had.
pub fn bind(addr: SocketAddr, access: &Access) -> Result<TcpListener> {
    if !addr.ip().is_loopback() && access.token_from().is_none() {
        return Err(Error::usage(format!(
            "live.listen (--listen): {addr} can be reached from other machines, and whoever does \
             could steer the show; set live.token to ${{VFAQ_TOKEN}} and that variable to \
             {LEAST_TOKEN} characters or more (openssl rand -hex 16), or use 127.0.0.1:{port} and \
             an SSH tunnel (ssh -L {port}:127.0.0.1:{port} HOST) to steer from elsewhere",
            port = addr.port()
        )));
    }
    let listener = TcpListener::bind(addr).map_err(|e| {
        let problem = match e.kind() {
            std::io::ErrorKind::AddrInUse => "is in use by another program",
            _ => "cannot be listened on",
        };
        Error::unavailable(format!(
            "live.listen (--listen): {addr} {problem}; use another port, or --listen 127.0.0.1:0 \
             for any free one"
        ))
        .with_source(e)
    })?;
    // Connections have it from here. Without, what is shown elsewhere is older, and no more.
    let _ = socket2::SockRef::from(&listener).set_send_buffer_size(SEND_BUFFER);
    listener
        .set_nonblocking(true)
        .map_err(|e| Error::unavailable(format!("cannot listen on {addr}")).with_source(e))?;
    Ok(listener)
}

/// An address by which this machine can be reached, where it listens on all of them. Nothing is sent
/// to find it out.
pub fn reachable(listening: SocketAddr) -> SocketAddr {
    if !listening.ip().is_unspecified() {
        return listening;
    }
    // The way to an address of the documentation (RFC 5737) is the way out.
    let way_out = || {
        let socket = UdpSocket::bind(("0.0.0.0", 0)).ok()?;
        socket.connect(("192.0.2.1", 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    way_out().map_or(listening, |ip| SocketAddr::new(ip, listening.port()))
}

/// Serves until `shutdown` is done, then lets requests in progress end for up to `DRAIN`.
pub async fn serve(
    listener: TcpListener,
    desk: Arc<dyn Desk>,
    access: Arc<Access>,
    shutdown: impl Future<Output = ()>,
) -> Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)
        .map_err(|e| Error::internal("cannot serve HTTP").with_source(e))?;
    // Dropping the sender is the signal.
    let (draining, drain) = watch::channel(());
    let site = Site { desk, hub: Arc::new(Hub::new(drain.clone())), access };
    let hub = site.hub.clone();
    let service = TowerToHyperService::new(routes::router(site));
    let mut connections = JoinSet::new();
    let open = Arc::new(Mutex::new(HashMap::new()));
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(e) => {
                // Out of file descriptors, most likely: the client may be gone, the cause is not.
                tracing::warn!("cannot accept an HTTP connection: {e}");
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        if connections.len() >= MAX_CONNECTIONS {
            tracing::warn!("over {MAX_CONNECTIONS} HTTP connections; closed the newest");
            hub.counters.refused.full.add(1);
            continue;
        }
        let Some(counted) = Counted::new(&open, remote.ip()) else {
            tracing::debug!("over {MAX_PER_ADDRESS} HTTP connections from {remote}");
            hub.counters.refused.full.add(1);
            continue;
        };
        let Ok(local) = stream.local_addr() else { continue };
        let service = Known { service: service.clone(), ends: Ends { remote, local } };
        // A fader's way is many small messages.
        let _ = stream.set_nodelay(true);
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let conversation = converse(connection, drain.clone());
        connections.spawn(async move {
            conversation.await;
            drop(counted);
        });
    }
    drop(draining);
    let all_ended = async {
        while connections.join_next().await.is_some() {}
        hub.all_left().await;
    };
    // Whoever still reads then is cut off when `connections` is dropped.
    let _ = tokio::time::timeout(DRAIN, all_ended).await;
    Ok(())
}

type Connection =
    hyper::server::conn::http1::UpgradeableConnection<TokioIo<tokio::net::TcpStream>, Known>;

/// Tells every request which connection it came by.
struct Known {
    service: TowerToHyperService<axum::Router>,
    ends: Ends,
}

impl Service<Request<Incoming>> for Known {
    type Response = <TowerToHyperService<axum::Router> as Service<Request<Incoming>>>::Response;
    type Error = <TowerToHyperService<axum::Router> as Service<Request<Incoming>>>::Error;
    type Future = <TowerToHyperService<axum::Router> as Service<Request<Incoming>>>::Future;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.ends);
        self.service.call(request)
    }
}

/// Connections of each address that is not this machine's.
type Open = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// One of them; counted until it is dropped.
struct Counted {
    open: Open,
    from: Option<IpAddr>,
}

impl Counted {
    /// `None`: there are too many from there.
    fn new(open: &Open, from: IpAddr) -> Option<Self> {
        let from = Some(from.to_canonical()).filter(|from| !from.is_loopback());
        if let Some(from) = from {
            let mut counts = open.lock().unwrap_or_else(PoisonError::into_inner);
            let count = counts.entry(from).or_insert(0);
            if *count >= MAX_PER_ADDRESS {
                return None;
            }
            *count += 1;
        }
        Some(Counted { open: open.clone(), from })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let Some(from) = self.from else { return };
        let mut counts = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&from) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&from);
            }
        }
    }
}

/// Answers one client until it leaves, or, once `drain`'s sender is gone, until the request in
/// progress is answered.
async fn converse(connection: Connection, mut drain: watch::Receiver<()>) {
    let mut connection = std::pin::pin!(connection);
    // How a client breaks off is its own business.
    tokio::select! {
        _ = &mut connection => {}
        _ = drain.changed() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

#[cfg(test)]
mod tests;
