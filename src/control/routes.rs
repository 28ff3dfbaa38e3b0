//! The routes; `docs/http.md` describes them.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post, put};
use axum::{Json, Router, middleware};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::Refusal;
use super::params::{self, Verb};
use super::{Desk, Site, guard, metrics, outputs, page, socket};
use crate::base::error::Error;
use crate::param::{self, From};

/// Largest body of a request, in bytes.
const MAX_BODY: usize = 64 * 1024;

pub(super) type Show = State<Arc<dyn Desk>>;

pub fn router(site: Site) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/metrics", get(prometheus))
        .route("/preview.jpg", get(preview))
        .route("/making", get(making))
        .route("/api/v1/state", get(state))
        .route("/api/v1/go", post(go))
        .route("/api/v1/params", get(list_params))
        .route("/api/v1/ws", any(socket::open))
        .route("/api/v1/params/{*address}", put(set_param))
        .merge(outputs::routes())
        .merge(page::routes())
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn(guard::guard))
        .with_state(site)
}

async fn healthz(State(desk): Show) -> Response {
    match desk.healthy() {
        Ok(()) => "ok".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason).into_response(),
    }
}

async fn prometheus(State(site): State<Site>) -> impl IntoResponse {
    let text = metrics::exposition(&site.desk.status(), &site.hub);
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text)
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

async fn list_params(State(desk): Show) -> Json<Value> {
    Json(params::list(desk.board()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    /// A number, a text, true or false; null for a trigger.
    #[serde(default)]
    value: Value,
    fade_ms: Option<f64>,
}

async fn set_param(
    State(desk): Show,
    Path(address): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    let address = format!("/{address}");
    param::find(&address).map_err(|e| Refusal::not_found(e.to_string()))?;
    let body = body.map_err(bad_body)?;
    let change: Change = serde_json::from_slice(&body).map_err(|e| {
        Refusal::usage(format!("{address}: the body must be like {{\"value\": 1.2}}: {e}"))
    })?;
    let from = From { source: "http".into(), received: desk.now() };
    let change = params::change(&address, Verb::Set, &change.value, change.fade_ms)?;
    Ok(Json(params::receipt(&desk.board().apply(&change, &from)?)).into_response())
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
