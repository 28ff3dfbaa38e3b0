//! The show over HTTP: state, metrics, preview, parameters, outputs and *go*, for people and
//! machines.
//!
//! Holds: this room asks its [`Desk`] and tells it; it knows nothing of how a show works. Only
//! loopback is served, only under a loopback name, and a web page of another origin can change
//! nothing. A client that reads slowly holds its own connection and nothing else: there are at
//! most `MAX_CONNECTIONS` of them, a further one is closed at once, and the end of the show
//! waits for none longer than `DRAIN`.

mod error;
mod guard;
mod hub;
mod metrics;
mod outputs;
mod page;
mod params;
mod routes;
mod socket;

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRef;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::base::error::{Error, Result};
use crate::base::telemetry::{OutputStatus, Status};
use crate::config::output::OutputSpec;
use crate::param::Board;
use hub::Hub;

/// Open connections at a time; each costs a file descriptor, which the show needs too.
const MAX_CONNECTIONS: usize = 128;
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
    /// The newest look at a picture in the making, a JPEG or PNG file; `None`: the generator shows
    /// none.
    fn making_picture(&self) -> Option<Arc<[u8]>>;
    /// The newest preview picture; `None` before the first frame.
    fn preview_jpeg(&self) -> Option<Arc<[u8]>>;
    /// `Err` says in plain words what is wrong.
    fn healthy(&self) -> std::result::Result<(), String>;
}

/// What every route has at hand.
#[derive(Clone)]
struct Site {
    desk: Arc<dyn Desk>,
    hub: Arc<Hub>,
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
/// `Usage` for an address that is not loopback, `Unavailable` if it cannot be had.
pub fn bind(addr: SocketAddr) -> Result<TcpListener> {
    if !addr.ip().is_loopback() {
        return Err(Error::usage(format!(
            "live.listen (--listen): {addr} can be reached from other machines, and only \
             loopback is supported for now; use 127.0.0.1:{port} or [::1]:{port}, and an SSH \
             tunnel (ssh -L {port}:127.0.0.1:{port} HOST) to steer from elsewhere",
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
    listener
        .set_nonblocking(true)
        .map_err(|e| Error::unavailable(format!("cannot listen on {addr}")).with_source(e))?;
    Ok(listener)
}

/// Serves until `shutdown` is done, then lets requests in progress end for up to `DRAIN`.
pub async fn serve(
    listener: TcpListener,
    desk: Arc<dyn Desk>,
    shutdown: impl Future<Output = ()>,
) -> Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)
        .map_err(|e| Error::internal("cannot serve HTTP").with_source(e))?;
    // Dropping the sender is the signal.
    let (draining, drain) = watch::channel(());
    let site = Site { desk, hub: Arc::new(Hub::new(drain.clone())) };
    let hub = site.hub.clone();
    let service = TowerToHyperService::new(routes::router(site));
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
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
        // A fader's way is many small messages.
        let _ = stream.set_nodelay(true);
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service.clone())
            .with_upgrades();
        connections.spawn(converse(connection, drain.clone()));
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

type Connection = hyper::server::conn::http1::UpgradeableConnection<
    TokioIo<tokio::net::TcpStream>,
    TowerToHyperService<axum::Router>,
>;

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
