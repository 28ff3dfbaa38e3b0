//! The interface described for programs (OpenAPI 3.1) and for people, out of the table of routes and
//! the registry of parameters.

use std::sync::LazyLock;

use axum::Json;
use axum::http::header;
use axum::response::{Html, IntoResponse};
use serde_json::{Map, Value, json};

use super::params::kind_name;
use super::table::{Answer, Route, Verb, table};
use crate::base::telemetry::{OutputStatus, RingEntry, Status};
use crate::param::{Kind, Param, REGISTRY};

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| describe(&table()));

pub async fn document() -> Json<&'static Value> {
    Json(&DOCUMENT)
}

pub async fn page() -> impl IntoResponse {
    let policy = "default-src 'none'; connect-src 'self'; script-src 'unsafe-inline'; \
                  style-src 'unsafe-inline'; frame-ancestors 'none'";
    ([(header::CONTENT_SECURITY_POLICY, policy)], Html(include_str!("api.html")))
}

impl Verb {
    pub fn name(self) -> &'static str {
        match self {
            Verb::Get => "get",
            Verb::Put => "put",
            Verb::Post => "post",
            Verb::Patch => "patch",
            Verb::Delete => "delete",
        }
    }
}

fn describe(routes: &[Route]) -> Value {
    let mut paths = Map::new();
    for route in routes {
        let path = route.path.replace("{*", "{");
        let entry = paths.entry(path).or_insert_with(|| json!({}));
        entry[route.verb.name()] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Visual FaQtory Live",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "A running show, steered and watched. docs/http.md says more.",
            "license": {"name": "AGPL-3.0-only", "identifier": "AGPL-3.0-only"},
        },
        "servers": [{"url": "/"}],
        // On the machine itself none is needed.
        "security": [{}, {"bearer": []}, {"cookie": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": super::access::COOKIE},
            },
            "schemas": {
                "Error": {
                    "type": "object",
                    "required": ["error"],
                    "properties": {"error": {
                        "type": "object",
                        "required": ["kind", "message"],
                        "properties": {"kind": {"type": "string"}, "message": {"type": "string"}},
                    }},
                },
                "Values": {
                    "type": "object",
                    "additionalProperties": false,
                    "description": "Every parameter by its address; null for a trigger.",
                    "properties": REGISTRY
                        .iter()
                        .map(|param| (param.address.to_owned(), value_schema(param)))
                        .collect::<Map<_, _>>(),
                },
                "State": example(Status::default()),
                "Output": example(OutputStatus::default()),
                "RingEntry": example(RingEntry::default()),
            },
        },
    })
}

/// A schema out of a value that has every field.
fn example(value: impl serde::Serialize) -> Value {
    let value = serde_json::to_value(value).unwrap_or_default();
    let fields = value.as_object().into_iter().flatten();
    let properties: Map<String, Value> = fields
        .map(|(name, value)| {
            let kind = match value {
                // What it is when it is known cannot be told from here.
                Value::Null => return (name.clone(), json!({})),
                Value::Bool(_) => "boolean",
                Value::Number(_) => "number",
                Value::String(_) => "string",
                Value::Array(_) => "array",
                Value::Object(_) => "object",
            };
            (name.clone(), json!({"type": kind}))
        })
        .collect();
    json!({"type": "object", "properties": properties})
}

fn operation(route: &Route) -> Value {
    let in_path = route.path.split('/').filter_map(|part| {
        let name = part.strip_prefix('{')?.strip_suffix('}')?.trim_start_matches('*');
        let schema = match name {
            "address" => json!({
                "type": "string",
                "enum": REGISTRY.iter().map(|param| &param.address[1..]).collect::<Vec<_>>(),
            }),
            "cycle" => json!({"type": "integer", "minimum": 0}),
            _ => json!({"type": "string"}),
        };
        Some(json!({"name": name, "in": "path", "required": true, "schema": schema}))
    });
    let in_query = route.query.iter().map(|(name, says)| {
        json!({"name": name, "in": "query", "description": says, "schema": {"type": "integer"}})
    });
    let parameters: Vec<Value> = in_path.chain(in_query).collect();
    let media = match route.answer {
        Answer::Json => "application/json",
        Answer::Text => "text/plain",
        Answer::Jpeg => "image/jpeg",
        Answer::Picture => "image/*",
        Answer::Video => "video/mp4",
        Answer::Html => "text/html",
        Answer::Socket => "",
    };
    let schema = match (route.path, route.verb) {
        ("/api/v1/state", _) => json!({"$ref": "#/components/schemas/State"}),
        ("/api/v1/ring", _) => {
            json!({"type": "array", "items": {"$ref": "#/components/schemas/RingEntry"}})
        }
        ("/api/v1/outputs", Verb::Get) => {
            json!({"type": "array", "items": {"$ref": "#/components/schemas/Output"}})
        }
        (path, _) if path.starts_with("/api/v1/outputs") => {
            json!({"$ref": "#/components/schemas/Output"})
        }
        _ => json!({}),
    };
    let good = match route.answer {
        Answer::Socket => json!({"101": {"description": "The WebSocket; see docs/http.md."}}),
        Answer::Video => json!({
            "200": {"description": "All of it.", "content": {media: {}}},
            "206": {"description": "The range that was asked for.", "content": {media: {}}},
            "416": {"description": "The range lies outside."},
        }),
        _ => {
            let status = match (route.path, route.verb) {
                ("/api/v1/outputs" | "/api/v1/presets/{name}", Verb::Post) => "201",
                ("/api/v1/presets/{name}", Verb::Delete) => "204",
                _ => "200",
            };
            json!({status: {"description": "Done.", "content": {media: {"schema": schema}}}})
        }
    };
    let mut responses = good;
    responses["default"] = json!({
        "description": "Refused; the message says why.",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    });
    let name = route.path.replace("/api/v1", "").replace(['/', '{', '}', '*', '.'], "_");
    let mut operation = json!({
        "operationId": format!("{}{}", route.verb.name(), name.trim_end_matches('_')),
        "summary": route.says,
        "responses": responses,
    });
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(body) = route.body {
        let schema = match (route.path, route.verb) {
            ("/api/v1/params", Verb::Put) => json!({
                "type": "object",
                "required": ["values"],
                "properties": {
                    "values": {"$ref": "#/components/schemas/Values"},
                    "fade_ms": {"type": "number", "minimum": 0, "maximum": 60_000},
                },
            }),
            _ => json!({"type": "object"}),
        };
        operation["requestBody"] =
            json!({"content": {"application/json": {"schema": schema, "example": body()}}});
    }
    operation
}

fn value_schema(param: &Param) -> Value {
    let mut schema = match param.kind {
        Kind::Float { min, max } => json!({
            "type": "number", "minimum": super::params::shortest(min),
            "maximum": super::params::shortest(max),
        }),
        Kind::Int { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        Kind::Bool => json!({"type": ["boolean", "number", "string"]}),
        Kind::Enum(choices) => json!({"anyOf": [
            {"type": "string", "enum": choices},
            {"type": "integer", "minimum": 0, "maximum": choices.len() - 1},
        ]}),
        Kind::Text { most } => json!({"type": "string", "maxLength": most}),
        Kind::Trigger => json!({"type": "null"}),
    };
    schema["title"] = json!(param.label);
    schema["description"] = json!(param.help);
    schema["x-kind"] = json!(kind_name(param.kind));
    if !param.unit.is_empty() {
        schema["x-unit"] = json!(param.unit);
    }
    schema
}
