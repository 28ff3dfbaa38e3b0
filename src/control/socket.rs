//! The WebSocket `/api/v1/ws`: a client sees every change and the state, and steers. The messages
//! stand in `docs/http.md`.
//!
//! Holds: a client is told how things are, not what happened: it remembers up to which generation it
//! was told, so nothing is queued for it, and a slow one gets fewer and newer values. One that does
//! not take a message within `PATIENCE` is dropped. Each has a task of its own and waits for no
//! other.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::Site;
use super::error::Refusal;
use super::hub::{MAX_CLIENTS, Picture, Place};
use super::params::{self, Verb};
use crate::base::redact;
use crate::param::{Applies, From};

/// How often a client is told what is new.
const BEAT: Duration = Duration::from_millis(33);
const STATE_EVERY: Duration = Duration::from_millis(250);
/// How long a client may take to read a message.
const PATIENCE: Duration = Duration::from_secs(2);
const PING_EVERY: Duration = Duration::from_secs(10);
/// A client of which nothing was heard for so long is gone.
const SILENCE: Duration = Duration::from_secs(30);
/// Largest message of a client, in bytes.
const MAX_MESSAGE: usize = 64 * 1024;
/// Messages that a client may send in a second; the next one ends it.
const MAX_MESSAGES: u32 = 2000;
/// Changes that wait for their second receipt; the oldest goes without when one more comes.
const MAX_PENDING: usize = 256;
/// Whoever waits longer for a second receipt gets none.
const RECEIPT_WITHIN: Duration = Duration::from_secs(600);
const MAX_PREVIEW_FPS: f64 = 15.0;
/// How often at most a client is told what is heard.
const MAX_MUSIC_FPS: f64 = 30.0;

/// What a client may send.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
struct Asked {
    r#type: Kind,
    /// The client's own number for the request; every answer has it.
    id: Option<u64>,
    address: Option<String>,
    #[serde(default)]
    value: Value,
    fade_ms: Option<f64>,
    fps: Option<f64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Set,
    Add,
    Place,
    Turn,
    Toggle,
    Reset,
    Preview,
    Music,
}

pub async fn open(
    State(site): State<Site>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Refusal> {
    let upgrade = upgrade
        .map_err(|_| Refusal::usage("this is a WebSocket; open it with ws://, not with http://"))?;
    let Some(place) = site.hub.place() else {
        site.hub.counters.refused.full.add(1);
        return Err(Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            format!("{MAX_CLIENTS} pages are open already; close one first"),
        ));
    };
    Ok(upgrade
        .max_message_size(MAX_MESSAGE)
        .max_frame_size(MAX_MESSAGE)
        .on_upgrade(move |socket| async move { Client::new(site, place).serve(socket).await }))
}

/// Why a client is served no further; it is told so where it can be.
enum Gone {
    Left,
    NotReading,
    TooMuch,
    Over,
}

struct Client {
    site: Site,
    place: Place,
    source: Arc<str>,
    /// Up to which generation it was told.
    seen: u64,
    pending: VecDeque<Pending>,
    preview: Option<Preview>,
    /// How often it is told what is heard, and when next.
    music: Option<(Duration, Option<Instant>)>,
    /// A preview in the making; one at a time, beside all that must not wait for it.
    making: Option<JoinHandle<Option<Picture>>>,
    state_at: Option<Instant>,
    heard_at: Option<Instant>,
    ping_at: Option<Instant>,
    /// Messages in the second that began then.
    second: (Option<Instant>, u32),
}

/// Waits for its second receipt.
struct Pending {
    id: Option<u64>,
    generation: u64,
    applies: Applies,
    since: Duration,
}

struct Preview {
    every: Duration,
    next: Option<Instant>,
    /// The number of the last one that was sent.
    sent: u64,
}

impl Client {
    fn new(site: Site, place: Place) -> Self {
        let source = format!("ws {}", place.number).into();
        Client {
            site,
            place,
            source,
            seen: 0,
            pending: VecDeque::new(),
            preview: None,
            music: None,
            making: None,
            state_at: None,
            heard_at: None,
            ping_at: None,
            second: (None, 0),
        }
    }

    async fn serve(mut self, mut socket: WebSocket) {
        tracing::debug!("WebSocket client {} is here", self.place.number);
        let gone = match self.converse(&mut socket).await {
            Ok(never) => match never {},
            Err(gone) => gone,
        };
        let (code, reason) = match gone {
            Gone::Left => return,
            Gone::NotReading => {
                self.site.hub.counters.slow_readers.add(1);
                tracing::warn!("WebSocket client {} does not read; dropped", self.place.number);
                return;
            }
            Gone::TooMuch => {
                self.site.hub.counters.refused.rate.add(1);
                tracing::warn!("WebSocket client {} sent too much; closed", self.place.number);
                (close_code::POLICY, "too many messages")
            }
            Gone::Over => (close_code::AWAY, "the show is over"),
        };
        let close = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
        let _ = timeout(PATIENCE, socket.send(close)).await;
    }

    async fn converse(&mut self, socket: &mut WebSocket) -> Result<std::convert::Infallible, Gone> {
        let mut over = self.site.hub.over.clone();
        self.snapshot(socket).await?;
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                at = beat.tick() => self.beat(socket, at).await?,
                message = socket.recv() => match message {
                    Some(Ok(message)) => self.hear(socket, message).await?,
                    // Whatever a client breaks off with is its own business.
                    Some(Err(_)) | None => return Err(Gone::Left),
                },
                _ = over.changed() => return Err(Gone::Over),
            }
        }
    }

    async fn snapshot(&mut self, socket: &mut WebSocket) -> Result<(), Gone> {
        let board = self.site.desk.board();
        // What changes meanwhile is told again.
        self.seen = board.generation();
        let snapshot = json!({
            "type": "snapshot", "version": self.seen, "source": &*self.source,
            "params": params::list(board), "state": &*self.site.desk.status(),
        });
        self.tell(socket, &snapshot).await
    }

    /// Tells what is new.
    async fn beat(&mut self, socket: &mut WebSocket, at: Instant) -> Result<(), Gone> {
        if at >= *self.second.0.get_or_insert(at) + Duration::from_secs(1) {
            self.second = (Some(at), 0);
        }
        self.changes(socket).await?;
        self.receipts(socket).await?;
        self.picture(socket, at).await?;
        if let Some((every, next)) = &mut self.music
            && is_due(next, at, *every)
        {
            let message = json!({"type": "music", "music": self.site.desk.music()});
            self.tell(socket, &message).await?;
        }
        if is_due(&mut self.state_at, at, STATE_EVERY) {
            let text = self.site.hub.state_message(self.site.desk.status());
            self.send(socket, Message::Text(text)).await?;
        }
        if at >= *self.heard_at.get_or_insert(at) + SILENCE {
            return Err(Gone::NotReading);
        }
        if is_due(&mut self.ping_at, at, PING_EVERY) {
            self.send(socket, Message::Ping(Bytes::new())).await?;
        }
        Ok(())
    }

    async fn changes(&mut self, socket: &mut WebSocket) -> Result<(), Gone> {
        let board = self.site.desk.board();
        if board.generation() == self.seen {
            return Ok(());
        }
        let (version, seen) = board.changed_since(self.seen);
        self.seen = version;
        let changes: Vec<Value> = seen
            .iter()
            .map(|seen| {
                json!({
                    "address": seen.param.address, "value": params::json_value(&seen.value),
                    "version": seen.generation, "source": &*seen.source,
                })
            })
            .collect();
        let message = json!({"type": "params", "version": version, "changes": changes});
        self.tell(socket, &message).await
    }

    /// Second receipts.
    async fn receipts(&mut self, socket: &mut WebSocket) -> Result<(), Gone> {
        let board = self.site.desk.board().clone();
        let now = self.site.desk.now();
        let mut applied = Vec::new();
        self.pending.retain(|pending| {
            let ms = |took: Duration| took.as_secs_f64() * 1000.0;
            // The picture does not have it before the cycle that is made from it.
            let message = match pending.applies {
                Applies::Cycle => board.plans.on_air_with(pending.generation).map(|(cycle, at)| {
                    let took_ms = ms(at.saturating_sub(pending.since));
                    json!({"cycle": cycle, "took_ms": took_ms})
                }),
                Applies::Now | Applies::Show => board
                    .receipt(pending.generation)
                    .map(|receipt| json!({"frame": receipt.frame, "took_ms": ms(receipt.took)})),
            };
            let Some(mut message) = message else {
                return now < pending.since + RECEIPT_WITHIN;
            };
            message["type"] = json!("applied");
            message["id"] = json!(pending.id);
            message["generation"] = json!(pending.generation);
            applied.push(message);
            false
        });
        for message in applied {
            self.tell(socket, &message).await?;
        }
        Ok(())
    }

    async fn picture(&mut self, socket: &mut WebSocket, at: Instant) -> Result<(), Gone> {
        let Some(preview) = &mut self.preview else { return Ok(()) };
        // A beat comes a little early or late; the rate holds in the mean.
        if at + BEAT / 2 < *preview.next.get_or_insert(at) {
            return Ok(());
        }
        let making = self.making.get_or_insert_with(|| {
            let site = self.site.clone();
            tokio::spawn(async move { site.hub.preview(&site.desk).await })
        });
        if !making.is_finished() {
            return Ok(());
        }
        let made = making.await;
        self.making = None;
        let Ok(Some(picture)) = made else { return Ok(()) };
        if picture.number == preview.sent {
            return Ok(());
        }
        preview.sent = picture.number;
        preview.next = preview.next.map(|next| (next + preview.every).max(at));
        self.send(socket, Message::Binary(picture.message)).await
    }

    async fn hear(&mut self, socket: &mut WebSocket, message: Message) -> Result<(), Gone> {
        self.heard_at = None;
        self.site.hub.counters.messages_in.add(1);
        self.second.1 += 1;
        if self.second.1 > MAX_MESSAGES {
            let message = format!("over {MAX_MESSAGES} messages in a second");
            self.refuse(socket, None, &message).await?;
            return Err(Gone::TooMuch);
        }
        match message {
            Message::Text(text) => self.carry_out(socket, &text).await,
            Message::Binary(_) => self.refuse(socket, None, "send text, not binary data").await,
            Message::Close(_) => Err(Gone::Left),
            Message::Ping(_) | Message::Pong(_) => Ok(()),
        }
    }

    async fn carry_out(&mut self, socket: &mut WebSocket, text: &str) -> Result<(), Gone> {
        let asked: Asked = match serde_json::from_str(text) {
            Ok(asked) => asked,
            Err(error) => {
                // What can be read of it tells the client which request it was.
                let id = serde_json::from_str::<Value>(text).ok().and_then(|v| v["id"].as_u64());
                let form = r#"{"type":"set","id":1,"address":"/fx/zoom","value":1.2}"#;
                let message = format!("a message must be like {form}: {error}");
                return self.refuse(socket, id, &message).await;
            }
        };
        let verb = match asked.r#type {
            Kind::Set => Verb::Set,
            Kind::Add => Verb::Add,
            Kind::Place => Verb::Place,
            Kind::Turn => Verb::Turn,
            Kind::Toggle => Verb::Toggle,
            Kind::Reset => Verb::Reset,
            Kind::Preview => return self.want_preview(socket, &asked).await,
            Kind::Music => return self.want_music(socket, &asked).await,
        };
        let Some(address) = &asked.address else {
            return self.refuse(socket, asked.id, "address is missing").await;
        };
        let desk = &self.site.desk;
        let from = From { source: self.source.clone(), received: desk.now() };
        let made = params::change(address, verb, &asked.value, asked.fade_ms)
            .and_then(|change| desk.board().apply(&change, &from));
        let accepted = match made {
            Ok(accepted) => accepted,
            Err(error) => return self.refuse(socket, asked.id, &error.to_string()).await,
        };
        if self.pending.len() == MAX_PENDING {
            self.pending.pop_front();
        }
        self.pending.push_back(Pending {
            id: asked.id,
            generation: accepted.generation,
            applies: accepted.param.applies,
            since: from.received,
        });
        let mut message = params::receipt(&accepted);
        message["type"] = json!("accepted");
        message["id"] = json!(asked.id);
        self.tell(socket, &message).await
    }

    async fn want_preview(&mut self, socket: &mut WebSocket, asked: &Asked) -> Result<(), Gone> {
        let Some(every) = self.every(socket, asked, MAX_PREVIEW_FPS).await? else { return Ok(()) };
        let sent = self.preview.as_ref().map_or(0, |preview| preview.sent);
        self.preview = every.map(|every| Preview { every, next: None, sent });
        Ok(())
    }

    async fn want_music(&mut self, socket: &mut WebSocket, asked: &Asked) -> Result<(), Gone> {
        if let Some(every) = self.every(socket, asked, MAX_MUSIC_FPS).await? {
            self.music = every.map(|every| (every, None));
        }
        Ok(())
    }

    /// How long from one to the next of what is asked for, `Some(None)`: no more of it; `None`: that
    /// was refused.
    async fn every(
        &self,
        socket: &mut WebSocket,
        asked: &Asked,
        most: f64,
    ) -> Result<Option<Option<Duration>>, Gone> {
        match asked.fps {
            Some(0.0) => Ok(Some(None)),
            Some(fps) if fps > 0.0 && fps.is_finite() => {
                Ok(Some(Some(Duration::from_secs_f64(1.0 / fps.clamp(0.1, most)))))
            }
            _ => {
                let message = format!("fps: send 0 to stop, or up to {most}");
                self.refuse(socket, asked.id, &message).await?;
                Ok(None)
            }
        }
    }

    async fn refuse(
        &self,
        socket: &mut WebSocket,
        id: Option<u64>,
        message: &str,
    ) -> Result<(), Gone> {
        let message = redact::hide(message);
        self.tell(socket, &json!({"type": "refused", "id": id, "message": message})).await
    }

    async fn tell(&self, socket: &mut WebSocket, message: &Value) -> Result<(), Gone> {
        self.send(socket, Message::Text(Utf8Bytes::from(message.to_string()))).await
    }

    async fn send(&self, socket: &mut WebSocket, message: Message) -> Result<(), Gone> {
        self.site.hub.counters.messages_out.add(1);
        match timeout(PATIENCE, socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Gone::Left),
            Err(_) => Err(Gone::NotReading),
        }
    }
}

/// Whether it is time again; if so, the next time is `every` after this one.
fn is_due(next: &mut Option<Instant>, at: Instant, every: Duration) -> bool {
    if next.is_some_and(|next| at + BEAT / 2 < next) {
        return false;
    }
    *next = Some(next.map_or(at + every, |next| (next + every).max(at)));
    true
}
