//! The plain routes, and the router; `docs/http.md` describes them.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, middleware};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::error::Refusal;
use super::params::{self, Verb};
use super::{Desk, Site, guard, metrics, page, table};
use crate::base::error::Error;
use crate::param::{self, Accepted, Change, From, Param};

/// Largest body of a request, in bytes.
const MAX_BODY: usize = 64 * 1024;

pub(super) type Show = State<Arc<dyn Desk>>;
type Body = Result<Bytes, BytesRejection>;

pub fn router(site: Site) -> Router {
    let mut router = page::routes();
    for route in table::table() {
        router = router.route(route.path, route.handler);
    }
    router
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(site.clone(), guard::guard))
        .with_state(site)
}

pub async fn healthz(State(desk): Show) -> Response {
    match desk.healthy() {
        Ok(()) => "ok".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason).into_response(),
    }
}

pub async fn prometheus(State(site): State<Site>) -> impl IntoResponse {
    let text = metrics::exposition(&site.desk.status(), &site.hub);
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text)
}

pub async fn preview(State(site): State<Site>) -> Result<Response, Refusal> {
    let picture = site
        .hub
        .preview(&site.desk)
        .await
        .ok_or_else(|| Error::unavailable("there is no picture yet; ask again in a moment"))?;
    let headers = [(header::CONTENT_TYPE, "image/jpeg"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, picture.jpeg()).into_response())
}

/// What the generator is at, as far as it shows that.
pub async fn making(State(desk): Show) -> Result<Response, Refusal> {
    let picture = desk
        .making_picture()
        .ok_or_else(|| Error::not_found("the generator shows no picture in the making"))?;
    let kind = if picture.starts_with(b"\x89PNG") { "image/png" } else { "image/jpeg" };
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Bytes::from_owner(picture)).into_response())
}

pub async fn state(State(desk): Show) -> Response {
    Json(&*desk.status()).into_response()
}

pub async fn ring(State(desk): Show) -> Response {
    Json(&desk.status().ring).into_response()
}

pub async fn go(State(desk): Show) -> Result<Response, Refusal> {
    let started = desk.go()?;
    Ok(Json(json!({"started": started})).into_response())
}

pub async fn list_params(State(desk): Show) -> Json<Value> {
    Json(params::list(desk.board()))
}

/// The parameter at the end of a path.
fn param_at(address: &str) -> Result<&'static Param, Refusal> {
    param::find(&format!("/{address}")).map_err(|e| Refusal::not_found(e.to_string()))
}

pub async fn one_param(
    State(desk): Show,
    Path(address): Path<String>,
) -> Result<Json<Value>, Refusal> {
    let param = param_at(&address)?;
    Ok(Json(params::describe(param, &desk.board().value(param))))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    #[serde(default)]
    op: Verb,
    /// A number, a text, true or false; null for a trigger.
    #[serde(default)]
    value: Value,
    fade_ms: Option<f64>,
}

pub async fn set_param(
    State(desk): Show,
    Path(address): Path<String>,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    let param = param_at(&address)?;
    let wish = wish(param, body, r#"{"value": 1.2}"#)?;
    if wish.op != Verb::Set {
        return Err(Refusal::usage(format!("{}: send op with POST or PATCH", param.address)));
    }
    change(&desk, param, &wish)
}

pub async fn change_param(
    State(desk): Show,
    Path(address): Path<String>,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    let param = param_at(&address)?;
    change(&desk, param, &wish(param, body, r#"{"op": "add", "value": 0.1}"#)?)
}

fn wish(param: &Param, body: Body, form: &str) -> Result<Wish, Refusal> {
    let body = body.map_err(bad_body)?;
    serde_json::from_slice(&body).map_err(|e| {
        Refusal::usage(format!("{}: the body must be like {form}: {e}", param.address))
    })
}

fn change(desk: &Arc<dyn Desk>, param: &Param, wish: &Wish) -> Result<Json<Value>, Refusal> {
    let change = params::change(param.address, wish.op, &wish.value, wish.fade_ms)?;
    Ok(Json(params::receipt(&apply(desk, &change)?)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wishes {
    values: Map<String, Value>,
    fade_ms: Option<f64>,
}

pub async fn set_params(State(desk): Show, body: Body) -> Result<Json<Value>, Refusal> {
    let body = body.map_err(bad_body)?;
    let Wishes { values, fade_ms } = serde_json::from_slice(&body).map_err(|e| {
        let form = r#"{"values": {"/fx/zoom": 1.2}, "fade_ms": 500}"#;
        Refusal::usage(format!("the body must be like {form}: {e}"))
    })?;
    let changes: Vec<Change> = values
        .iter()
        .map(|(address, value)| params::change(address, Verb::Set, value, fade_ms))
        .collect::<Result<_, Error>>()?;
    Ok(Json(apply_all(&desk, &changes)?.iter().map(params::receipt).collect()))
}

fn from(desk: &Arc<dyn Desk>) -> From {
    From { source: "http".into(), received: desk.now() }
}

pub(super) fn apply(desk: &Arc<dyn Desk>, change: &Change) -> Result<Accepted, Refusal> {
    Ok(desk.board().apply(change, &from(desk))?)
}

/// All of them with one frame, or none.
pub(super) fn apply_all(
    desk: &Arc<dyn Desk>,
    changes: &[Change],
) -> Result<Vec<Accepted>, Refusal> {
    Ok(desk.board().apply_all(changes, &from(desk))?)
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
