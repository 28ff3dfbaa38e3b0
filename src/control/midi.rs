//! The routes of MIDI; `docs/http.md` describes them.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::Desk;
use super::error::Refusal;
use super::routes::{Show, bad_body};
use crate::base::error::{Error, Kind};
use crate::steer::midi::Handle;

fn midi(desk: &Arc<dyn Desk>) -> Result<Arc<Handle>, Refusal> {
    Ok(desk.midi().ok_or_else(|| {
        Error::unavailable("MIDI is turned off: live.midi.enabled, or --midi off")
    })?)
}

pub async fn state(State(desk): Show) -> Response {
    match desk.midi() {
        Some(midi) => Json(midi.state()).into_response(),
        None => Json(json!({"ports": [], "bindings": [], "learning": null, "last": null}))
            .into_response(),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Learn {
    address: String,
}

pub async fn learn(
    State(desk): Show,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    let Learn { address } = read(body, "{\"address\": \"/fx/zoom\"}")?;
    let midi = midi(&desk)?;
    crate::param::find(&address).map_err(|e| Refusal::not_found(e.to_string()))?;
    midi.learn(&address)?;
    Ok(Json(midi.state()).into_response())
}

pub async fn cancel(State(desk): Show) -> Result<Response, Refusal> {
    let midi = midi(&desk)?;
    midi.cancel();
    Ok(Json(midi.state()).into_response())
}

pub async fn forget(State(desk): Show, Path(n): Path<String>) -> Result<Response, Refusal> {
    let midi = midi(&desk)?;
    let n = n.parse().map_err(|_| Refusal::not_found(format!("there is no MIDI binding {n}")))?;
    midi.forget(n)?;
    Ok(Json(midi.state()).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Save {
    name: String,
}

pub async fn save(
    State(desk): Show,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    let Save { name } = read(body, "{\"name\": \"my-pads\"}")?;
    let midi = midi(&desk)?;
    let shown = name.clone();
    // The disk may take its time.
    let saved =
        tokio::task::spawn_blocking(move || midi.save(&name)).await.map_err(Error::fault)?;
    saved.map_err(|error| match error.kind {
        // Folders of this machine are nobody else's business.
        Kind::Io => {
            tracing::warn!("{error}");
            Error::new(Kind::Io, format!("the map {shown:?} could not be written; see the log"))
        }
        _ => error,
    })?;
    Ok((StatusCode::CREATED, Json(json!({"name": shown}))).into_response())
}

fn read<T: DeserializeOwned>(
    body: Result<Bytes, BytesRejection>,
    form: &str,
) -> Result<T, Refusal> {
    let body = body.map_err(bad_body)?;
    serde_json::from_slice(&body)
        .map_err(|e| Refusal::usage(format!("the body must be like {form}: {e}")))
}
