//! The routes of presets; `docs/http.md` describes them. Recalling one is setting `/preset/recall`.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::Refusal;
use super::outputs::aside;
use super::routes::{Show, bad_body};
use crate::config::preset::{Preset, PresetKind};

const FORM: &str = "the body must be like {\"kind\": \"look\", \"title\": \"Ember\"}; kind is look, \
                    style or scene, and \"overwrite\": true replaces one";

fn shown(preset: &Preset) -> Value {
    json!({
        "name": preset.name, "title": preset.title, "kind": preset.kind,
        "description": preset.description,
    })
}

pub async fn list(State(desk): Show) -> Result<Json<Value>, Refusal> {
    let presets = aside(move || Ok(desk.presets())).await?;
    Ok(Json(presets.iter().map(shown).collect()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    kind: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    overwrite: bool,
}

pub async fn save(
    State(desk): Show,
    Path(name): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    let body = body.map_err(bad_body)?;
    let wish: Wish =
        serde_json::from_slice(&body).map_err(|e| Refusal::usage(format!("{FORM}: {e}")))?;
    let kind = match &*wish.kind {
        "look" => PresetKind::Look,
        "style" => PresetKind::Style,
        "scene" => PresetKind::Scene,
        _ => return Err(Refusal::usage(FORM)),
    };
    let saved = aside(move || desk.save_preset(&name, kind, &wish.title, wish.overwrite)).await?;
    Ok((StatusCode::CREATED, Json(shown(&saved))).into_response())
}

pub async fn remove(State(desk): Show, Path(name): Path<String>) -> Result<StatusCode, Refusal> {
    aside(move || desk.remove_preset(&name)).await?;
    Ok(StatusCode::NO_CONTENT)
}
