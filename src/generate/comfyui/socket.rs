//! The stream of events of a ComfyUI server.
//!
//! Holds: events are a courtesy. They may stop, be lost, or be of a shape that nobody knows; what a
//! job has come to, only its history says. The upgrade goes through the HTTP client, so headers,
//! certificates and base paths are the same as everywhere. No `Origin` is sent: the server would
//! refuse one that is not its own.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt, StreamExt};
use reqwest::Method;
use reqwest::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use serde_json::{Value, json};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};

use super::server::Server;
use crate::base::error::{Error, Result};

/// Bytes of one message, at most; a preview picture is under 1 MB.
const LARGEST_MESSAGE: usize = 16 << 20;
/// Longest wait for a connection: without it, polling does.
const PATIENCE: Duration = Duration::from_secs(5);

/// Something that a server says of a job.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The job has begun.
    Started,
    /// These nodes are known from before.
    Cached(Vec<String>),
    /// A node is at work.
    Executing(String),
    /// A node is so far: of so much.
    Progress { node: Option<String>, value: f64, max: f64 },
    /// All that was to be done is done; the history may lag behind.
    Succeeded,
    /// Nothing more comes of this job.
    Ended,
    /// It has failed; the history says how.
    Failed,
    /// The picture so far: a JPEG or PNG file.
    Preview(Arc<[u8]>),
}

pub struct Socket {
    pub(super) stream: WebSocketStream<reqwest::Upgraded>,
}

impl Socket {
    /// Connects as `client`, an id that nobody else has.
    pub async fn connect(server: &Server, client: &str) -> Result<Socket> {
        tokio::time::timeout(PATIENCE, open(server, client)).await.unwrap_or_else(|_| {
            Err(Error::unavailable(format!(
                "{}: no WebSocket within {} s",
                server.web.shown(),
                PATIENCE.as_secs()
            )))
        })
    }

    /// The next event of the job `id`. `None`: the connection is over.
    pub async fn next(&mut self, id: &str) -> Option<Event> {
        loop {
            let event = match self.stream.next().await?.ok()? {
                Message::Text(text) => text_event(&text, id),
                Message::Binary(data) => preview(&data).map(Event::Preview),
                Message::Close(_) => return None,
                _ => None,
            };
            if event.is_some() {
                return event;
            }
        }
    }
}

async fn open(server: &Server, client: &str) -> Result<Socket> {
    const WHAT: &str = "opening the WebSocket";
    let key = STANDARD.encode(uuid::Uuid::new_v4().as_bytes());
    let request = server
        .web
        .request(Method::GET, "ws")
        .query(&[("clientId", client)])
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_VERSION, "13")
        .header(SEC_WEBSOCKET_KEY, &key);
    let response = server.web.send(request, WHAT).await?;
    let accept = response.headers().get(SEC_WEBSOCKET_ACCEPT).and_then(|a| a.to_str().ok());
    if response.status() != 101 || accept != Some(&derive_accept_key(key.as_bytes())) {
        return Err(Error::unavailable(format!(
            "{WHAT}: {} does not open one ({}); does a proxy in between let WebSockets through?",
            server.web.shown(),
            response.status().as_u16()
        )));
    }
    let upgraded = response.upgrade().await.map_err(|e| server.web.failed(e, WHAT))?;
    let config = WebSocketConfig::default()
        .max_message_size(Some(LARGEST_MESSAGE))
        .max_frame_size(Some(LARGEST_MESSAGE));
    let stream = WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(config)).await;
    let mut socket = Socket { stream };
    // It has to be the first message, or previews come without the job that they belong to.
    let flags = json!({"type": "feature_flags", "data": {"supports_preview_metadata": true}});
    let sent = socket.stream.send(Message::text(flags.to_string())).await;
    sent.map_err(|e| Error::unavailable(format!("{WHAT}: it closed at once")).with_source(e))?;
    Ok(socket)
}

/// What a text message says of the job `id`.
fn text_event(text: &str, id: &str) -> Option<Event> {
    let message: Value = serde_json::from_str(text).ok()?;
    let data = message.get("data")?;
    if data.get("prompt_id").and_then(Value::as_str) != Some(id) {
        return None;
    }
    let node = || data.get("node").and_then(Value::as_str).map(str::to_owned);
    let number = |key: &str| data.get(key).and_then(Value::as_f64).unwrap_or(0.0);
    match message.get("type")?.as_str()? {
        "execution_start" => Some(Event::Started),
        "execution_cached" => {
            let nodes = data.get("nodes").and_then(Value::as_array)?;
            let nodes = nodes.iter().filter_map(Value::as_str).map(str::to_owned);
            Some(Event::Cached(nodes.collect()))
        }
        "executing" => Some(node().map_or(Event::Ended, Event::Executing)),
        "progress" => {
            Some(Event::Progress { node: node(), value: number("value"), max: number("max") })
        }
        "execution_success" => Some(Event::Succeeded),
        "execution_error" | "execution_interrupted" => Some(Event::Failed),
        _ => None,
    }
}

/// The picture in a binary message, of either form (events 1 and 4, big-endian).
fn preview(data: &[u8]) -> Option<Arc<[u8]>> {
    let word = |at: usize| data.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
    let picture = match word(0)? {
        1 => data.get(8..)?,
        4 => data.get(8 + word(4)? as usize..)?,
        _ => return None,
    };
    let known = picture.starts_with(b"\xff\xd8\xff") || picture.starts_with(b"\x89PNG");
    known.then(|| Arc::from(picture))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn events_of_other_jobs_are_none_of_ours() {
        let text = r#"{"type": "executing", "data": {"node": null, "prompt_id": "a"}}"#;
        assert_eq!(text_event(text, "a"), Some(Event::Ended));
        assert_eq!(text_event(text, "b"), None);
        let text = r#"{"type": "progress", "data": {"value": 3, "max": 20, "node": "3", "prompt_id": "a"}}"#;
        let progress = Event::Progress { node: Some("3".into()), value: 3.0, max: 20.0 };
        assert_eq!(text_event(text, "a"), Some(progress));
    }

    #[test]
    fn previews_come_in_two_forms() {
        let picture = b"\xff\xd8\xffpicture";
        let old = [&1u32.to_be_bytes()[..], &1u32.to_be_bytes(), picture].concat();
        let new = [&4u32.to_be_bytes()[..], &2u32.to_be_bytes(), b"{}", picture].concat();
        for message in [old, new] {
            assert_eq!(preview(&message).as_deref(), Some(&picture[..]));
        }
        let html = [&1u32.to_be_bytes()[..], &1u32.to_be_bytes(), b"<html>"].concat();
        assert_eq!(preview(&html), None);
    }

    proptest! {
        #[test]
        fn whatever_comes_is_an_event_or_nothing(
            text in "\\PC{0,60}", data in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let _ = text_event(&text, "a");
            let _ = preview(&data);
            let json = json!({"type": "progress", "data": {"prompt_id": "a", "node": data, "max": text}});
            let _ = text_event(&json.to_string(), "a");
            let long = [&4u32.to_be_bytes()[..], &u32::MAX.to_be_bytes(), &data].concat();
            prop_assert_eq!(preview(&long), None);
        }
    }
}
