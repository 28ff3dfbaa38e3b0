//! What a server says of a workflow that it refuses, or that failed, in words that help.
//!
//! Holds: the server's texts are shortened and never trusted to be of any shape.

use std::fmt::Write;

use serde_json::Value;

use crate::web::words;

/// Faults that are told; of more only their number.
const TOLD: usize = 4;

/// Nodes are named by title and class, as people see them.
pub fn node_name(graph: &Value, id: &str) -> String {
    let node = graph.get(id);
    let class = node.and_then(|n| n.get("class_type")).and_then(Value::as_str);
    let title = node.and_then(|n| n.pointer("/_meta/title")).and_then(Value::as_str);
    let id = words(id.as_bytes());
    match (title, class) {
        (Some(title), Some(class)) if title != class => {
            format!("node {id} ({}, {})", words(title.as_bytes()), words(class.as_bytes()))
        }
        (_, Some(class)) => format!("node {id} ({})", words(class.as_bytes())),
        _ => format!("node {id}"),
    }
}

/// The answer to a workflow that was not accepted.
pub fn explain(answer: &Value, graph: &Value) -> String {
    let mut told = Vec::new();
    let mut more = 0;
    let nodes = answer.get("node_errors").and_then(Value::as_object);
    for (id, node) in nodes.into_iter().flatten() {
        for error in node.get("errors").and_then(Value::as_array).into_iter().flatten() {
            if told.len() == TOLD {
                more += 1;
                continue;
            }
            told.push(format!("{}: {}", node_name(graph, id), fault(error)));
        }
    }
    if told.is_empty() {
        let error = answer.get("error");
        let text = |key: &str| {
            let text = error.and_then(|e| e.get(key)).and_then(Value::as_str).unwrap_or_default();
            words(text.as_bytes())
        };
        let mut said = [text("message"), text("details")].join(" ").trim().to_owned();
        if text("type") == "missing_node_type" {
            let _ = write!(said, "; install the custom nodes that the workflow needs");
        }
        return if said.is_empty() { "it does not say why".to_owned() } else { said };
    }
    let mut all = told.join("; ");
    if more > 0 {
        let _ = write!(all, "; and {more} more");
    }
    all
}

fn fault(error: &Value) -> String {
    let text =
        |key: &str| words(error.get(key).and_then(Value::as_str).unwrap_or_default().as_bytes());
    let details = text("details");
    match text("type").as_str() {
        "value_not_in_list" => {
            // "ckpt_name: 'a' not in ['b', 'c']", or only the length of the list.
            let has = error.pointer("/extra_info/input_config/0").and_then(Value::as_array);
            let has: Vec<&str> =
                has.into_iter().flatten().filter_map(Value::as_str).take(8).collect();
            let hint = match (details.contains('['), has.is_empty()) {
                (true, _) | (false, true) => String::new(),
                (false, false) => format!(" (it has {})", has.join(", ")),
            };
            format!("the server does not have it: {details}{hint}")
        }
        "custom_validation_failed" => format!("refused: {details}"),
        "required_input_missing" => format!("the input {details} is missing"),
        _ if details.is_empty() => text("message"),
        _ => format!("{}: {details}", text("message")),
    }
}

/// An entry of the history that ended in an error.
pub fn failure(entry: &Value) -> String {
    let graph = entry.pointer("/prompt/2").unwrap_or(&Value::Null);
    let messages = entry.pointer("/status/messages").and_then(Value::as_array);
    for message in messages.into_iter().flatten().rev() {
        let kind = message.get(0).and_then(Value::as_str).unwrap_or_default();
        let data = message.get(1).unwrap_or(&Value::Null);
        match kind {
            "execution_error" => return execution_error(data, graph),
            "execution_interrupted" => {
                return "somebody has stopped the job on the server".to_owned();
            }
            _ => {}
        }
    }
    "the job has failed; the server does not say why".to_owned()
}

/// The data of an `execution_error`.
pub fn execution_error(data: &Value, graph: &Value) -> String {
    let text =
        |key: &str| words(data.get(key).and_then(Value::as_str).unwrap_or_default().as_bytes());
    let node = node_name(graph, &text("node_id"));
    let (kind, message) = (text("exception_type"), text("exception_message"));
    let memory = ["OutOfMemory", "out of memory", "MemoryError"];
    let advice = if memory.iter().any(|m| kind.contains(m) || message.contains(m)) {
        "; the GPU has too little memory: lower generation.width, height or video_frames, or start \
         ComfyUI with --lowvram"
    } else {
        ""
    };
    format!("{node} failed: {kind}: {message}{advice}")
}
