//! The routes of outputs; `docs/http.md` describes them.
//!
//! Holds: what a client sends may be nothing but a stream key, so no answer repeats any of it.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

use super::OutputChange;
use super::error::Refusal;
use super::routes::{Show, bad_body};
use crate::base::error::{Error, Result};
use crate::base::telemetry::OutputStatus;
use crate::config::output::OutputSpec;

/// Who asks, for the journal.
const SOURCE: &str = "http";
const FORM: &str = "the body must be like {\"uri\": \"rtmp://HOST/APPLICATION/KEY\"}, with options \
                    beside uri such as \"name\": \"Stage\"";

pub async fn list(State(desk): Show) -> Result<Json<Vec<OutputStatus>>, Refusal> {
    Ok(Json(aside(move || Ok(desk.outputs())).await?))
}

pub async fn one(State(desk): Show, Path(key): Path<String>) -> Result<Response, Refusal> {
    let output = aside(move || desk.output(&key)).await?;
    Ok(Json(output).into_response())
}

pub async fn add(
    State(desk): Show,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    let spec = spec(&body.map_err(bad_body)?)?;
    let output = aside(move || desk.add_output(spec, SOURCE)).await?;
    Ok((StatusCode::CREATED, Json(output)).into_response())
}

pub async fn stop(desk: Show, key: Path<String>) -> Result<Response, Refusal> {
    change(desk, key, OutputChange::Stop).await
}

pub async fn start(desk: Show, key: Path<String>) -> Result<Response, Refusal> {
    change(desk, key, OutputChange::Start).await
}

pub async fn retry(desk: Show, key: Path<String>) -> Result<Response, Refusal> {
    change(desk, key, OutputChange::Retry).await
}

pub async fn remove(desk: Show, key: Path<String>) -> Result<Response, Refusal> {
    change(desk, key, OutputChange::Remove).await
}

async fn change(
    State(desk): Show,
    Path(key): Path<String>,
    change: OutputChange,
) -> Result<Response, Refusal> {
    let output = aside(move || desk.change_output(&key, change, SOURCE)).await?;
    Ok(Json(output).into_response())
}

/// Calls what may look at a disk, or wait for somebody who does, on a thread that may wait.
pub(super) async fn aside<T: Send + 'static>(
    call: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T, Refusal> {
    let done = tokio::task::spawn_blocking(call).await;
    Ok(done.map_err(Error::fault)??)
}

/// The output that a body asks for.
fn spec(body: &[u8]) -> Result<OutputSpec, Refusal> {
    let form = || Refusal::usage(FORM);
    let mut settings: Map<String, Value> = serde_json::from_slice(body).map_err(|_| form())?;
    let Some(Value::String(uri)) = settings.remove("uri") else { return Err(form()) };
    let mut options = Vec::new();
    for (name, value) in settings {
        let text = match value {
            Value::String(text) => text,
            value @ (Value::Number(_) | Value::Bool(_)) => value.to_string(),
            // Not set, as in the settings.
            Value::Null => continue,
            Value::Array(_) | Value::Object(_) => return Err(form()),
        };
        options.push((name, text));
    }
    Ok(OutputSpec::with_options(&uri, &options)?)
}
