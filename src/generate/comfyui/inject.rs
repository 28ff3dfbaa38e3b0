//! Putting values into a graph: into fields, for placeholders, and LoRAs between its nodes.
//!
//! Holds: text of the user is a value; it is never read as a placeholder.

use serde_json::{Value, json};

use super::graph::as_link;
use super::workflow_find::Found;
use super::workflow_input::{Input, Values};
use crate::config::Lora;

/// The names between `{{` and `}}`.
pub fn placeholders(text: &str) -> Vec<&str> {
    pieces(text).into_iter().filter_map(Result::err).collect()
}

/// Text (`Ok`) and the names of placeholders (`Err`), in turn. What is in double braces and cannot
/// be a name (a list of wildcards, say) is text.
fn pieces(text: &str) -> Vec<Result<&str, &str>> {
    let mut found = Vec::new();
    let (mut from, mut at) = (0, 0);
    while let Some(begin) = text[at..].find("{{").map(|n| at + n) {
        let Some(end) = text[begin + 2..].find("}}").map(|n| begin + 2 + n) else { break };
        let name = text[begin + 2..end].trim();
        let plain = |c: char| c.is_ascii_lowercase() || c == '_';
        if name.is_empty() || !name.chars().all(plain) {
            at = begin + 2;
            continue;
        }
        if from < begin {
            found.push(Ok(&text[from..begin]));
        }
        found.push(Err(name));
        (from, at) = (end + 2, end + 2);
    }
    if from < text.len() {
        found.push(Ok(&text[from..]));
    }
    found
}

/// A placeholder without a value stays as it is.
pub fn replace(value: &mut Value, get: &dyn Fn(Input) -> Option<Value>) {
    match value {
        Value::String(text) => {
            let pieces = pieces(text);
            let of = |name: &str| Input::from_key(name).and_then(get);
            let new = match pieces.as_slice() {
                [Err(name)] => of(name),
                pieces if pieces.iter().any(Result::is_err) => {
                    let mut whole = String::new();
                    for piece in pieces {
                        match piece {
                            Ok(text) => whole.push_str(text),
                            Err(name) => match of(name) {
                                Some(Value::String(text)) => whole.push_str(&text),
                                Some(value) => whole.push_str(&value.to_string()),
                                None => whole.push_str(&format!("{{{{{name}}}}}")),
                            },
                        }
                    }
                    Some(Value::String(whole))
                }
                _ => None,
            };
            if let Some(new) = new {
                *value = new;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, get)),
        Value::Object(map) => map.values_mut().for_each(|item| replace(item, get)),
        _ => {}
    }
}

/// In the type that the field has already.
pub fn like(old: Option<&Value>, new: Value, input: Input, class: &str) -> Value {
    match (old, &new) {
        (Some(Value::String(_)), Value::Number(number)) => Value::String(number.to_string()),
        // Other nodes than samplers have smaller numbers than these.
        (_, Value::Number(number)) if input == Input::Seed && !takes_large_seeds(class) => {
            number.as_u64().map_or(new, |seed| Value::from(seed & ((1 << 50) - 1)))
        }
        (Some(Value::Number(old)), Value::Number(number)) if !old.is_f64() && number.is_f64() => {
            let number = number.as_f64().unwrap_or_default();
            // The conditioning of SVD has whole frames a second only.
            match class.starts_with("SVD_") {
                true => Value::from(number.round().max(1.0) as u64),
                false if number.fract() == 0.0 && number >= 0.0 => Value::from(number as u64),
                false => new,
            }
        }
        _ => new,
    }
}

fn takes_large_seeds(class: &str) -> bool {
    class.contains("Sampler") || class == "RandomNoise"
}

/// Adds a chain of LoRAs behind the loaders of the graph, and feeds from it what they fed.
pub fn loras(graph: &mut Value, found: &Found, loras: &[Lora]) {
    let Some(nodes) = graph.as_object_mut() else { return };
    for (loader, slot) in &found.models {
        let refines = nodes
            .get(loader)
            .and_then(|n| n["inputs"]["ckpt_name"].as_str())
            .is_some_and(|name| name.to_lowercase().contains("refiner"));
        if refines {
            continue;
        }
        let clip = found.clips.iter().find(|(node, _)| node == loader).map(|(_, slot)| *slot);
        let mut model = json!([loader, slot]);
        let mut text = clip.map(|slot| json!([loader, slot]));
        let mut added = Vec::new();
        for lora in loras {
            let mut id = nodes.keys().filter_map(|id| id.parse::<u64>().ok()).max().unwrap_or(0);
            id = id.saturating_add(1 + added.len() as u64);
            let mut id = id.to_string();
            while nodes.contains_key(&id) || added.iter().any(|(other, _)| *other == id) {
                id.push('0');
            }
            let mut inputs = json!({
                "model": model, "lora_name": lora.name, "strength_model": lora.strength,
            });
            let mut class = "LoraLoaderModelOnly";
            if let Some(text) = &text {
                class = "LoraLoader";
                inputs["clip"] = text.clone();
                inputs["strength_clip"] = json!(lora.strength);
            }
            added.push((
                id.clone(),
                json!({"class_type": class, "inputs": inputs, "_meta": {"title": "LoRA"}}),
            ));
            model = json!([id, 0]);
            text = text.map(|_| json!([id, 1]));
        }
        for node in nodes.values_mut() {
            let Some(inputs) = node["inputs"].as_object_mut() else { continue };
            for value in inputs.values_mut() {
                let Some(link) = as_link(value).filter(|link| link.node == loader) else {
                    continue;
                };
                if link.slot == *slot {
                    *value = model.clone();
                } else if Some(link.slot) == clip
                    && let Some(text) = &text
                {
                    *value = text.clone();
                }
            }
        }
        nodes.extend(added);
    }
}

/// Sizes and lengths that nodes of this class can have.
pub fn steps(class: &str) -> (u32, u32) {
    match class {
        c if c.contains("LTXV") => (32, 8),
        c if c.contains("Cosmos") => (16, 8),
        c if c.contains("Mochi") => (16, 6),
        c if c.contains("Wan22") => (32, 4),
        c if c.contains("Wan") || c.contains("Hunyuan") => (16, 4),
        c if c.contains("SD3") || c.contains("Flux") => (16, 1),
        c if c.contains("Scale") || c.contains("Resize") || c == "EmptyImage" => (1, 1),
        _ => (8, 1),
    }
}

/// The values with sizes and lengths that these steps allow, and what had to change.
pub fn fitting(values: &Values, size_step: u32, frame_step: u32) -> (Values, Vec<String>) {
    let mut fitting = values.clone();
    let mut notes = Vec::new();
    let step = size_step.max(1);
    for (name, size) in [("width", &mut fitting.width), ("height", &mut fitting.height)] {
        if let Some(asked) = *size {
            let near = (asked.saturating_add(step / 2) / step).max(1).saturating_mul(step);
            if near != asked {
                notes.push(format!("{name} {near} instead of {asked}: a multiple of {step}"));
                *size = Some(near);
            }
        }
    }
    if let Some(asked) = fitting.frames {
        let step = frame_step.max(1);
        let up =
            asked.max(1).saturating_sub(1).div_ceil(step).saturating_mul(step).saturating_add(1);
        if up != asked {
            notes.push(format!("{up} frames instead of {asked}: a multiple of {step}, and one"));
            fitting.frames = Some(up);
        }
    }
    (fitting, notes)
}
