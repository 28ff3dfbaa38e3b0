//! What all clients share: the newest preview, the state as text, places for WebSocket clients, and
//! counters.
//!
//! Holds: a preview becomes a JPEG once, and a state becomes text once, however many look; neither
//! is made while nobody does.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::Utf8Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::Desk;
use crate::base::telemetry::{Counter, Status};

/// WebSocket clients at a time.
pub const MAX_CLIENTS: usize = 16;
/// A preview that was asked for less than this ago is not asked for again.
const PREVIEW_FRESH: Duration = Duration::from_millis(25);

pub struct Hub {
    places: Arc<Semaphore>,
    numbers: AtomicU64,
    preview: tokio::sync::Mutex<Newest>,
    state: Mutex<(Option<Arc<Status>>, Utf8Bytes)>,
    /// Changes, or closes, when the show is over.
    pub over: watch::Receiver<()>,
    pub counters: Counters,
}

#[derive(Default)]
struct Newest {
    asked: Option<Duration>,
    jpeg: Option<Arc<[u8]>>,
    picture: Option<Picture>,
}

/// A preview as the WebSocket sends it.
#[derive(Clone)]
pub struct Picture {
    /// Counted from 1.
    pub number: u64,
    pub message: Bytes,
}

impl Picture {
    pub fn jpeg(&self) -> Bytes {
        self.message.slice(1..)
    }
}

/// What the metrics tell of this room.
#[derive(Default)]
pub struct Counters {
    pub messages_in: Counter,
    pub messages_out: Counter,
    /// Clients that did not read.
    pub slow_readers: Counter,
    pub refused: Refused,
}

/// Requests that were refused, by why.
#[derive(Default)]
pub struct Refused {
    /// Further connections or WebSocket clients than may be.
    pub full: Counter,
    /// WebSocket clients that asked for too much in a second.
    pub rate: Counter,
    pub host: Counter,
    pub origin: Counter,
    pub no_token: Counter,
    pub wrong_token: Counter,
    /// From an address that had sent wrong tokens.
    pub slowed: Counter,
}

/// A client's place; free again when it is dropped.
pub struct Place {
    pub number: u64,
    _permit: OwnedSemaphorePermit,
}

impl Hub {
    pub fn new(over: watch::Receiver<()>) -> Self {
        Hub {
            places: Arc::new(Semaphore::new(MAX_CLIENTS)),
            numbers: AtomicU64::new(0),
            preview: Default::default(),
            state: Default::default(),
            over,
            counters: Counters::default(),
        }
    }

    /// `None`: all are taken.
    pub fn place(&self) -> Option<Place> {
        let permit = self.places.clone().try_acquire_owned().ok()?;
        let number = self.numbers.fetch_add(1, Ordering::Relaxed) + 1;
        Some(Place { number, _permit: permit })
    }

    pub fn clients(&self) -> usize {
        MAX_CLIENTS - self.places.available_permits()
    }

    /// Waits until no WebSocket client is left.
    pub async fn all_left(&self) {
        let _ = self.places.acquire_many(MAX_CLIENTS as u32).await;
    }

    /// The newest preview; `None` before the first frame.
    pub async fn preview(&self, desk: &Arc<dyn Desk>) -> Option<Picture> {
        let mut newest = self.preview.lock().await;
        let now = desk.now();
        let is_old = newest.asked.is_none_or(|asked| now >= asked + PREVIEW_FRESH);
        if is_old || newest.picture.is_none() {
            newest.asked = Some(now);
            let desk = desk.clone();
            let jpeg = tokio::task::spawn_blocking(move || desk.preview_jpeg()).await.ok()??;
            if !newest.jpeg.as_ref().is_some_and(|known| Arc::ptr_eq(known, &jpeg)) {
                let number = newest.picture.as_ref().map_or(1, |picture| picture.number + 1);
                let message = Bytes::from([&[1], &*jpeg].concat());
                newest.jpeg = Some(jpeg);
                newest.picture = Some(Picture { number, message });
            }
        }
        newest.picture.clone()
    }

    /// The `state` message.
    pub fn state_message(&self, status: Arc<Status>) -> Utf8Bytes {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.0.as_ref().is_some_and(|known| Arc::ptr_eq(known, &status)) {
            let text = serde_json::to_string(&*status).unwrap_or_else(|_| "null".into());
            *state = (Some(status), format!(r#"{{"type":"state","state":{text}}}"#).into());
        }
        state.1.clone()
    }
}
