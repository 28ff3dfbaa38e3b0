//! A session for Open Stage Control (version 1.2x), made from the registry: a tab for each group, a
//! widget for each parameter.

use serde_json::{Value, json};

use super::message::ROOT;
use super::value::plain;
use crate::param::{Curve, Kind, Param, REGISTRY};

/// Widgets beside one another.
const COLUMNS: usize = 8;

/// The session, as its file is written.
pub fn open_stage_control() -> String {
    let mut groups: Vec<&str> = Vec::new();
    for param in REGISTRY {
        if !groups.contains(&param.group()) {
            groups.push(param.group());
        }
    }
    let tabs: Vec<Value> = groups
        .iter()
        .map(|group| {
            let widgets: Vec<Value> =
                REGISTRY.iter().filter(|param| param.group() == *group).map(widget).collect();
            json!({
                "type": "tab", "id": group, "label": title(group),
                "layout": "grid", "gridTemplate": COLUMNS, "widgets": widgets,
            })
        })
        .collect();
    let session = json!({
        "createdWith": "Open Stage Control",
        "version": "1.29.0",
        "type": "session",
        "content": {"type": "root", "id": "root", "tabs": tabs},
    });
    format!("{session:#}\n")
}

fn title(group: &str) -> String {
    let mut letters = group.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

fn widget(param: &Param) -> Value {
    let mut widget = json!({
        "type": "fader",
        "id": param.address[1..].replace('/', "_"),
        "label": param.label,
        "address": format!("{ROOT}{}", param.address),
        "comments": param.help,
        "default": plain(param.default),
    });
    match param.kind {
        Kind::Float { min, max } => {
            widget["range"] = json!({"min": plain(min), "max": plain(max)});
            widget["logScale"] = json!(param.curve == Curve::Log);
            widget["decimals"] = json!(3);
            widget["typeTags"] = json!("f");
            widget["doubleTap"] = json!(true);
        }
        Kind::Int { min, max } => {
            widget["range"] = json!({"min": min, "max": max});
            widget["steps"] = json!((max - min).clamp(1, 1000));
            widget["decimals"] = json!(0);
            widget["typeTags"] = json!("i");
            widget["doubleTap"] = json!(true);
        }
        Kind::Bool => {
            widget["type"] = json!("button");
            widget["mode"] = json!("toggle");
            widget["on"] = json!(1);
            widget["off"] = json!(0);
            widget["typeTags"] = json!("i");
        }
        Kind::Enum(choices) => {
            widget["type"] = json!("dropdown");
            let values: serde_json::Map<String, Value> = choices
                .iter()
                .enumerate()
                .map(|(n, name)| ((*name).to_owned(), json!(n)))
                .collect();
            widget["values"] = Value::Object(values);
            widget["typeTags"] = json!("i");
        }
        Kind::Text { .. } => {
            widget["type"] = json!("input");
            widget["default"] = json!("");
            widget["typeTags"] = json!("s");
        }
        Kind::Trigger => {
            widget["type"] = json!("button");
            widget["mode"] = json!("tap");
            widget["on"] = json!(1);
            widget["off"] = json!(0);
            widget["default"] = json!("");
            widget["typeTags"] = json!("i");
        }
    }
    widget
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// `VFAQ_UPDATE_DOCS=1` writes the file anew.
    #[test]
    fn the_shipped_session_is_this_one() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("presets/open-stage-control.json");
        if std::env::var_os("VFAQ_UPDATE_DOCS").is_some() {
            std::fs::write(&file, open_stage_control()).unwrap();
        }
        let there = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            there == open_stage_control(),
            "{} is another; run this test with VFAQ_UPDATE_DOCS=1",
            file.display()
        );
    }

    #[test]
    fn every_parameter_has_a_widget_of_its_own() {
        let session: Value = serde_json::from_str(&open_stage_control()).unwrap();
        let tabs = session["content"]["tabs"].as_array().unwrap();
        let widgets: Vec<&Value> =
            tabs.iter().flat_map(|tab| tab["widgets"].as_array().unwrap()).collect();
        assert_eq!(widgets.len(), REGISTRY.len());
        let ids: std::collections::BTreeSet<_> =
            widgets.iter().map(|widget| widget["id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), REGISTRY.len());
        let mirror = widgets.iter().find(|w| w["address"] == "/vfaq/fx/mirror").unwrap();
        assert_eq!(mirror["values"]["quad"], 3);
    }
}
