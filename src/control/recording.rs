//! The recording: what it is at, and starting, stopping, splitting and marking it. What is asked for
//! goes over the board, as from every other controller.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Desk;
use super::error::Refusal;
use super::outputs::aside;
use super::params;
use super::routes::{Show, apply, bad_body};
use crate::base::error::Error;
use crate::base::telemetry::OutputState;
use crate::param::{Change, ParamId};

pub async fn get(State(desk): Show) -> Result<Json<Value>, Refusal> {
    let now = desk.status().recording.clone();
    let recordings = aside(move || Ok(desk.recordings())).await?;
    Ok(Json(json!({"now": now, "recordings": recordings})))
}

pub async fn start(State(desk): Show) -> Result<Json<Value>, Refusal> {
    if is_running(&desk) {
        return Err(Error::conflict("it is recording already; stop it first, or split it").into());
    }
    carry_out(&desk, Change::trigger(ParamId::RecordStart))
}

pub async fn stop(State(desk): Show) -> Result<Json<Value>, Refusal> {
    must_run(&desk)?;
    carry_out(&desk, Change::trigger(ParamId::RecordStop))
}

pub async fn split(State(desk): Show) -> Result<Json<Value>, Refusal> {
    must_run(&desk)?;
    carry_out(&desk, Change::trigger(ParamId::RecordSplit))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mark {
    name: String,
}

pub async fn mark(
    State(desk): Show,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Refusal> {
    let body = body.map_err(bad_body)?;
    let mark: Mark = serde_json::from_slice(&body)
        .map_err(|e| Refusal::usage(format!("the body must be like {{\"name\": \"...\"}}: {e}")))?;
    carry_out(&desk, Change::set(ParamId::RecordMark, mark.name.as_str()))
}

fn carry_out(desk: &Arc<dyn Desk>, change: Change) -> Result<Json<Value>, Refusal> {
    Ok(Json(params::receipt(&apply(desk, &change)?)))
}

/// As far as the last state tells.
fn is_running(desk: &Arc<dyn Desk>) -> bool {
    let state = desk.status().recording.as_ref().map(|recording| recording.state);
    matches!(state, Some(OutputState::Starting | OutputState::Live))
}

fn must_run(desk: &Arc<dyn Desk>) -> Result<(), Refusal> {
    match is_running(desk) {
        true => Ok(()),
        false => Err(Error::conflict("nothing is recorded at present; start it first").into()),
    }
}
