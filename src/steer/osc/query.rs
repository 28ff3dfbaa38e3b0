//! OSCQuery over HTTP and WebSocket: what can be steered, what it is now, and changes as they
//! happen.
//!
//! Holds: only loopback is served, or who is in `live.osc.allow`; the name in `Host` must be one
//! that no foreign web page can have, and an `Origin` this very server (see `control::guard`). A
//! client that reads slowly hears less often, as values wait for it nowhere, and one that takes
//! nothing for `SLOW` is dropped. Of connections there are at most `MOST`.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rosc::OscMessage;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use super::core::{Core, Peer};
use super::message::ROOT;
use super::value::Style;
use super::{FEEDBACK_EVERY, bytes, tree, value};
use crate::base::error::{Error, Result};
use crate::control::guard;
use crate::param::{REGISTRY, Seen};

/// Connections at a time, WebSockets among them; a further one is closed at once.
const MOST: usize = 32;
/// How long a client may take for the head of a request.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// How long a client may take nothing.
const SLOW: Duration = Duration::from_secs(2);
/// The largest message of a client.
const LARGEST: usize = 64 * 1024;

#[derive(Clone)]
pub struct Host {
    pub core: Arc<Core>,
    /// Of the show.
    pub name: String,
    /// Where packets come in over UDP.
    pub osc: SocketAddr,
}

/// Who is connected, and its place among the `MOST`, which is free when nobody has this any more.
#[derive(Clone)]
struct Connected {
    peer: SocketAddr,
    _place: Arc<OwnedSemaphorePermit>,
}

/// Serves until the sender of `ended` is gone.
pub async fn serve(
    listener: TcpListener,
    host: Host,
    mut ended: watch::Receiver<()>,
) -> Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)
        .map_err(|e| Error::internal("cannot serve OSCQuery").with_source(e))?;
    let core = host.core.clone();
    let at_home = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
    let router = Router::new()
        .fallback(answer)
        .layer(middleware::from_fn(move |request: Request, next: Next| {
            checked(request, next, at_home)
        }))
        .layer(Extension(ended.clone()))
        .with_state(host);
    let places = Arc::new(Semaphore::new(MOST));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = ended.changed() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        if !core.hears(peer.ip()) {
            continue;
        }
        // A WebSocket keeps it beyond the end of its connection's task.
        let Ok(place) = places.clone().try_acquire_owned() else { continue };
        let connected = Connected { peer, _place: Arc::new(place) };
        let service = TowerToHyperService::new(router.clone().layer(Extension(connected)));
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_LIMIT)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut ended = ended.clone();
        connections.spawn(async move {
            tokio::select! {
                _ = connection => {}
                _ = ended.changed() => {}
            }
        });
    }
    Ok(())
}

async fn checked(request: Request, next: Next, at_home: bool) -> Response {
    let known = |name: &str| guard::is_loopback(name) || !at_home && is_safe(name);
    match guard::check_for(request.headers(), known) {
        Ok(()) => next.run(request).await,
        Err(message) => (StatusCode::FORBIDDEN, message).into_response(),
    }
}

/// Names that no page of the web can have: bare addresses, and those of the local network.
fn is_safe(name: &str) -> bool {
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>().is_ok() || name.ends_with(".local")
}

async fn answer(
    State(host): State<Host>,
    Extension(connected): Extension<Connected>,
    Extension(ended): Extension<watch::Receiver<()>>,
    upgrade: std::result::Result<
        WebSocketUpgrade,
        axum::extract::ws::rejection::WebSocketUpgradeRejection,
    >,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    if method != Method::GET {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET")]).into_response();
    }
    if let Ok(upgrade) = upgrade {
        let upgrade = upgrade.max_message_size(LARGEST).max_frame_size(LARGEST);
        return upgrade.on_upgrade(move |socket| converse(socket, host.core, connected, ended));
    }
    let attribute = uri.query().unwrap_or_default();
    let attribute = attribute.split(['&', '=']).next().unwrap_or_default();
    if attribute == "HOST_INFO" {
        return Json(host_info(&host, &headers)).into_response();
    }
    let path = percent_encoding::percent_decode_str(uri.path()).decode_utf8_lossy();
    let Some(mut node) = tree::node(&path, &host.core.board) else {
        return (StatusCode::NOT_FOUND, "there is no such address").into_response();
    };
    if attribute.is_empty() {
        return Json(node).into_response();
    }
    if !tree::ATTRIBUTES.contains(&attribute) {
        let text = format!("attributes are HOST_INFO, {}", tree::ATTRIBUTES.join(", "));
        return (StatusCode::BAD_REQUEST, text).into_response();
    }
    match node.as_object_mut().and_then(|node| node.remove(attribute)) {
        Some(value) => Json(json!({ attribute: value })).into_response(),
        // It has no such attribute.
        None => StatusCode::NO_CONTENT.into_response(),
    }
}

fn host_info(host: &Host, headers: &HeaderMap) -> serde_json::Value {
    let mut info = json!({
        "NAME": format!("Visual FaQtory Live ({})", host.name),
        "OSC_PORT": host.osc.port(),
        "OSC_TRANSPORT": "UDP",
        "EXTENSIONS": {
            "ACCESS": true, "VALUE": true, "RANGE": true, "DESCRIPTION": true, "TAGS": true,
            "CLIPMODE": true, "UNIT": true, "LISTEN": true,
        },
    });
    // Where it is asked is where OSC is sent, unless packets come in at one address alone.
    if !host.osc.ip().is_unspecified() {
        info["OSC_IP"] = json!(host.osc.ip());
    } else if let Some(name) = headers.get(header::HOST).and_then(|name| name.to_str().ok())
        && let Ok(authority) = name.parse::<axum::http::uri::Authority>()
    {
        info["OSC_IP"] = json!(authority.host());
    }
    info
}

/// What a client says as text.
#[derive(Deserialize)]
struct Command {
    #[serde(rename = "COMMAND")]
    command: String,
    #[serde(rename = "DATA", default)]
    data: serde_json::Value,
}

/// Counts a client for as long as it is there.
struct Listening(Arc<Core>);

impl Listening {
    fn count(&self) -> &AtomicUsize {
        &self.0.listeners
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.count().fetch_sub(1, Ordering::AcqRel);
    }
}

async fn converse(
    mut socket: WebSocket,
    core: Arc<Core>,
    connected: Connected,
    mut ended: watch::Receiver<()>,
) {
    let address = connected.peer;
    let peer = Peer { address, source: format!("oscquery {address}").into(), typed: true };
    core.listeners.fetch_add(1, Ordering::AcqRel);
    let listening = Listening(core.clone());
    let mut tick = tokio::time::interval(FEEDBACK_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // Those it listens to, by place in the registry.
    let mut to: BTreeSet<usize> = BTreeSet::new();
    let mut heard = core.board.generation();
    loop {
        let messages: Vec<OscMessage> = tokio::select! {
            _ = ended.changed() => break,
            came = socket.recv() => match came {
                Some(Ok(Message::Text(text))) => command(&core, &text, &mut to),
                Some(Ok(Message::Binary(bytes))) => {
                    core.take(&bytes, &peer, core.clock.now())
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => Vec::new(),
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
            },
            _ = tick.tick() => {
                if core.board.generation() == heard {
                    continue;
                }
                let (newest, seen) = core.board.changed_since(heard);
                heard = newest;
                let own = |seen: &&Seen| {
                    to.contains(&(seen.param.id as usize)) && seen.source != peer.source
                };
                seen.iter()
                    .filter(own)
                    .map(|seen| value::message(seen.param, &seen.value, Style::Typed))
                    .collect()
            }
        };
        for message in messages {
            let sent = socket.send(Message::Binary(bytes(message).into()));
            if !matches!(tokio::time::timeout(SLOW, sent).await, Ok(Ok(()))) {
                return;
            }
            core.feedback.add(1);
        }
    }
    drop(listening);
}

/// Carries out LISTEN and IGNORE, for a method or all below a path; what is listened to is told
/// once at the start. Other commands are not for us.
fn command(core: &Core, text: &str, to: &mut BTreeSet<usize>) -> Vec<OscMessage> {
    let Ok(command) = serde_json::from_str::<Command>(text) else { return Vec::new() };
    let Some(path) = command.data.as_str().map(|path| path.trim_end_matches('/')) else {
        return Vec::new();
    };
    let below = |address: &str| {
        let whole = format!("{ROOT}{address}");
        whole.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let params = REGISTRY.iter().filter(|param| below(param.address));
    match command.command.as_str() {
        "LISTEN" => {
            let new: Vec<_> = params.filter(|param| to.insert(param.id as usize)).collect();
            let values = new.into_iter().filter(|p| p.kind != crate::param::Kind::Trigger);
            values.map(|p| value::message(p, &core.board.value(p), Style::Typed)).collect()
        }
        "IGNORE" => {
            params.for_each(|param| {
                to.remove(&(param.id as usize));
            });
            Vec::new()
        }
        _ => Vec::new(),
    }
}
