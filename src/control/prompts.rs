//! What cycles are made from, as one object: everything under `/prompt` and `/gen` but the triggers.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use serde_json::{Map, Value};

use super::error::Refusal;
use super::params::{self, Verb};
use super::routes::{Show, apply_all, bad_body};
use crate::param::{Board, Kind, REGISTRY};

const GROUPS: [&str; 2] = ["prompt", "gen"];

pub async fn get(State(desk): Show) -> Json<Value> {
    Json(now(desk.board()))
}

pub async fn set(
    State(desk): Show,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Refusal> {
    let form = "the body must be like {\"prompt\": {\"text\": \"...\"}, \"gen\": {\"steps\": 20}}";
    let body = body.map_err(bad_body)?;
    let groups: Map<String, Value> =
        serde_json::from_slice(&body).map_err(|e| Refusal::usage(format!("{form}: {e}")))?;
    let mut changes = Vec::new();
    for (group, values) in groups {
        let Value::Object(values) = values else { return Err(Refusal::usage(form)) };
        if !GROUPS.contains(&group.as_str()) {
            return Err(Refusal::usage(format!("{form}; there is no \"{group}\"")));
        }
        for (name, value) in values {
            changes.push(params::change(&format!("/{group}/{name}"), Verb::Set, &value, None)?);
        }
    }
    apply_all(&desk, &changes)?;
    Ok(Json(now(desk.board())))
}

fn now(board: &Board) -> Value {
    let mut groups = Map::new();
    for param in REGISTRY.iter().filter(|param| param.kind != Kind::Trigger) {
        let Some(group) = GROUPS.iter().find(|group| **group == param.group()) else { continue };
        let name = &param.address[group.len() + 2..];
        let entry = groups.entry(*group).or_insert_with(|| Value::Object(Map::new()));
        entry[name] = params::json_value(&board.value(param));
    }
    Value::Object(groups)
}
