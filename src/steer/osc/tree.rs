//! The registry as the tree of OSCQuery (the proposal of Vidvox): one JSON object for each node,
//! with its attributes.
//!
//! Holds: a node is what is left after the last slash; those that hold others have `CONTENTS`. A
//! method can be written, all but triggers can be read. `CLIPMODE` is `none`: what is out of range
//! is refused, not clipped.

use rosc::OscType;
use serde_json::{Map, Value as Json, json};

use super::message::ROOT;
use super::value::{self, Style};
use crate::param::{Applies, Board, Kind, Param, REGISTRY};

/// Attributes that a node may have, and that can be asked for alone.
pub const ATTRIBUTES: [&str; 10] = [
    "FULL_PATH",
    "CONTENTS",
    "DESCRIPTION",
    "ACCESS",
    "TYPE",
    "VALUE",
    "RANGE",
    "CLIPMODE",
    "UNIT",
    "TAGS",
];

/// The node at a path, with all below it; `None`: there is none.
pub fn node(path: &str, board: &Board) -> Option<Json> {
    let path = path.trim_end_matches('/');
    if let Some(param) = method(path) {
        return Some(leaf(param, board));
    }
    let below = REGISTRY.iter().filter_map(|param| {
        let whole = format!("{ROOT}{}", param.address);
        let rest = whole.strip_prefix(path)?.strip_prefix('/')?;
        Some(rest.split('/').next().unwrap_or_default().to_owned())
    });
    let mut contents = Map::new();
    for name in below {
        if !contents.contains_key(&name) {
            let child = node(&format!("{path}/{name}"), board)?;
            contents.insert(name, child);
        }
    }
    if contents.is_empty() {
        return None;
    }
    let full = if path.is_empty() { "/" } else { path };
    Some(json!({"FULL_PATH": full, "ACCESS": 0, "CONTENTS": contents}))
}

/// The parameter at a path.
pub fn method(path: &str) -> Option<&'static Param> {
    let short = path.strip_prefix(ROOT)?;
    REGISTRY.iter().find(|param| param.address == short)
}

fn leaf(param: &Param, board: &Board) -> Json {
    let (kind, range) = match param.kind {
        Kind::Float { min, max } => {
            ("f", Some(json!({"MIN": value::plain(min), "MAX": value::plain(max)})))
        }
        Kind::Int { min, max } => ("i", Some(json!({"MIN": min, "MAX": max}))),
        Kind::Bool => ("T", None),
        Kind::Enum(choices) => ("s", Some(json!({"VALS": choices}))),
        Kind::Text { .. } => ("s", None),
        Kind::Trigger => ("I", None),
    };
    let mut leaf = json!({
        "FULL_PATH": format!("{ROOT}{}", param.address),
        "DESCRIPTION": format!("{}. {}", param.label, param.help),
        "TYPE": kind,
        "ACCESS": if param.kind == Kind::Trigger { 2 } else { 3 },
    });
    if let Some(value) = present(param, board) {
        leaf["VALUE"] = json!([value]);
    }
    if let Some(range) = range {
        leaf["RANGE"] = json!([range]);
        leaf["CLIPMODE"] = json!(["none"]);
    }
    if let Some(unit) = unit(param.unit) {
        leaf["UNIT"] = json!([unit]);
    }
    let applies = match param.applies {
        Applies::Now => "now",
        Applies::Cycle => "cycle",
        Applies::Show => "show",
    };
    leaf["TAGS"] = json!([param.group(), applies]);
    leaf
}

fn present(param: &Param, board: &Board) -> Option<Json> {
    let message = value::message(param, &board.value(param), Style::Typed);
    match message.args.into_iter().next()? {
        OscType::Float(number) => Some(json!(value::plain(number))),
        OscType::Int(number) => Some(json!(number)),
        OscType::Bool(on) => Some(json!(on)),
        OscType::String(text) => Some(json!(text)),
        _ => None,
    }
}

/// The proposal's names for units that have one.
fn unit(unit: &str) -> Option<&str> {
    match unit {
        "" => None,
        "deg" => Some("angle.degree"),
        "s" => Some("time.second"),
        "Hz" => Some("speed.Hz"),
        other => Some(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::param::{self, Values};

    #[test]
    fn the_tree_has_every_parameter_with_its_range() {
        let (board, _reader) = param::board(Values::default(), &[]);
        let tree = node("/", &board).unwrap();
        assert_eq!(tree["FULL_PATH"], "/");
        for param in REGISTRY {
            let mut at = &tree;
            for part in format!("{ROOT}{}", param.address)[1..].split('/') {
                at = &at["CONTENTS"][part];
            }
            assert_eq!(at["FULL_PATH"], format!("{ROOT}{}", param.address));
            assert_eq!(at, &node(&format!("{ROOT}{}", param.address), &board).unwrap());
            assert_eq!(at.get("VALUE").is_some(), param.kind != Kind::Trigger);
            for key in at.as_object().unwrap().keys() {
                assert!(ATTRIBUTES.contains(&key.as_str()), "{key}");
            }
        }
        let zoom = node("/vfaq/fx/zoom", &board).unwrap();
        assert_eq!(zoom["RANGE"], json!([{"MIN": 1.0, "MAX": 4.0}]));
        assert_eq!(zoom["TYPE"], "f");
        assert_eq!(node("/vfaq/fx/mirror", &board).unwrap()["RANGE"][0]["VALS"][3], "quad");
        assert!(node("/vfaq/fx/zom", &board).is_none());
        assert!(node("/vfaq/f", &board).is_none());
    }
}
