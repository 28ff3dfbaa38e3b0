//! The routes; `docs/http.md` describes them.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router, middleware};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::Refusal;
use super::{Desk, guard, metrics, outputs, presets};
use crate::base::error::Error;
use crate::param::{self, Applies, Curve, From, Kind, Op, Param};

/// Largest body of a request, in bytes.
const MAX_BODY: usize = 64 * 1024;

pub(super) type Show = State<Arc<dyn Desk>>;

pub fn router(desk: Arc<dyn Desk>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/healthz", get(healthz))
        .route("/metrics", get(prometheus))
        .route("/preview.jpg", get(preview))
        .route("/making", get(making))
        .route("/api/v1/state", get(state))
        .route("/api/v1/go", post(go))
        .route("/api/v1/params", get(params))
        .route("/api/v1/params/{*address}", put(set_param))
        .merge(outputs::routes())
        .merge(presets::routes())
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn(guard::guard))
        .with_state(desk)
}

async fn page() -> impl IntoResponse {
    let policy = "default-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
                  frame-ancestors 'none'";
    ([(header::CONTENT_SECURITY_POLICY, policy)], Html(include_str!("page.html")))
}

async fn healthz(State(desk): Show) -> Response {
    match desk.healthy() {
        Ok(()) => "ok".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason).into_response(),
    }
}

async fn prometheus(State(desk): Show) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics::exposition(&desk.status()))
}

async fn preview(State(desk): Show) -> Result<Response, Refusal> {
    let jpeg = desk
        .preview_jpeg()
        .ok_or_else(|| Error::unavailable("there is no picture yet; ask again in a moment"))?;
    let headers = [(header::CONTENT_TYPE, "image/jpeg"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Bytes::from_owner(jpeg)).into_response())
}

/// What the generator is at, as far as it shows that.
async fn making(State(desk): Show) -> Result<Response, Refusal> {
    let picture = desk
        .making_picture()
        .ok_or_else(|| Error::not_found("the generator shows no picture in the making"))?;
    let kind = if picture.starts_with(b"\x89PNG") { "image/png" } else { "image/jpeg" };
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Bytes::from_owner(picture)).into_response())
}

async fn state(State(desk): Show) -> Response {
    Json(&*desk.status()).into_response()
}

async fn go(State(desk): Show) -> Result<Response, Refusal> {
    let started = desk.go()?;
    Ok(Json(json!({"started": started})).into_response())
}

async fn params(State(desk): Show) -> Json<Value> {
    let board = desk.board();
    Json(param::REGISTRY.iter().map(|param| describe(param, &board.value(param))).collect())
}

fn json_value(value: &param::Value) -> Value {
    match value {
        param::Value::Number(number) => json!(number),
        param::Value::Text(text) => json!(**text),
        param::Value::Nothing => Value::Null,
    }
}

fn describe(param: &Param, value: &param::Value) -> Value {
    let kind = match param.kind {
        Kind::Float { .. } => "float",
        Kind::Int { .. } => "int",
        Kind::Bool => "bool",
        Kind::Enum(_) => "enum",
        Kind::Text { .. } => "text",
        Kind::Trigger => "trigger",
    };
    let applies = match param.applies {
        Applies::Now => "now",
        Applies::Cycle => "cycle",
        Applies::Show => "show",
    };
    let curve = match param.curve {
        Curve::Linear => "linear",
        Curve::Log => "log",
    };
    let mut entry = json!({
        "address": param.address, "label": param.label, "help": param.help, "kind": kind,
        "unit": param.unit, "applies": applies, "value": json_value(value),
    });
    if let Some((min, max)) = param.range() {
        entry["min"] = json!(min);
        entry["max"] = json!(max);
        entry["default"] = json!(param.default);
        entry["curve"] = json!(curve);
        entry["smoothing_ms"] = json!(param.smoothing_ms);
    }
    match param.kind {
        Kind::Enum(choices) => entry["choices"] = json!(choices),
        Kind::Text { most } => entry["most"] = json!(most),
        _ => {}
    }
    entry
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    /// A number, a text, true or false; null for a trigger.
    #[serde(default)]
    value: Value,
}

async fn set_param(
    State(desk): Show,
    Path(address): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    let address = format!("/{address}");
    let param = param::find(&address).map_err(|e| Refusal::not_found(e.to_string()))?;
    let body = body.map_err(bad_body)?;
    let change: Change = serde_json::from_slice(&body).map_err(|e| {
        Refusal::usage(format!("{address}: the body must be like {{\"value\": 1.2}}: {e}"))
    })?;
    let value = match change.value {
        Value::Number(number) => param::Value::Number(number.as_f64().unwrap_or_default() as f32),
        Value::String(text) => param::Value::Text(text.into()),
        Value::Bool(on) => param::Value::Number(f32::from(u8::from(on))),
        Value::Null => param::Value::Nothing,
        Value::Array(_) | Value::Object(_) => {
            return Err(Refusal::usage(format!(
                "{address}: the value is a list or an object; send a number or text"
            )));
        }
    };
    let from = From { source: "http".into(), received: desk.now() };
    let accepted = desk.board().apply(&param::Change::new(param, Op::Set(value)), &from)?;
    let receipt = json!({
        "address": accepted.param.address, "value": json_value(&accepted.value),
        "generation": accepted.generation,
    });
    Ok(Json(receipt).into_response())
}

/// Why a body could not be had.
pub(super) fn bad_body(rejection: BytesRejection) -> Refusal {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            format!("the body is over {MAX_BODY} bytes"),
        ),
        _ => Refusal::usage("the body could not be read whole"),
    }
}

async fn unknown_path(uri: Uri) -> Refusal {
    Refusal::not_found(format!("there is nothing at {}", uri.path()))
}

async fn wrong_method(method: Method, uri: Uri) -> Refusal {
    Refusal::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        format!("{} does not answer to {method}", uri.path()),
    )
}
