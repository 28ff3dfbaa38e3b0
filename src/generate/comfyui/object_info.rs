//! What a server has: its answer to `/object_info`.

use serde_json::{Map, Value};

use crate::base::error::{Error, Result};

/// Node classes with their inputs and the models to choose from.
#[derive(Clone, Debug)]
pub struct ObjectInfo {
    classes: Map<String, Value>,
}

impl ObjectInfo {
    /// `source`: the address or file that it comes from, for messages.
    pub fn from_value(value: Value, source: &str) -> Result<Self> {
        match value {
            Value::Object(classes)
                if classes.values().all(|class| class.get("input").is_some()) =>
            {
                Ok(ObjectInfo { classes })
            }
            _ => Err(Error::unavailable(format!(
                "{source}: not a list of ComfyUI's nodes; expected the answer to /object_info"
            ))),
        }
    }

    pub fn has(&self, class: &str) -> bool {
        self.classes.contains_key(class)
    }

    pub fn classes(&self) -> impl Iterator<Item = &str> {
        self.classes.keys().map(String::as_str)
    }

    /// Names of required and optional inputs.
    pub fn inputs<'a>(&'a self, class: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let input = self.classes.get(class).and_then(|class| class.get("input"));
        ["required", "optional"]
            .into_iter()
            .filter_map(move |kind| input?.get(kind)?.as_object())
            .flat_map(|inputs| inputs.keys().map(String::as_str))
    }

    fn spec(&self, class: &str, input: &str) -> Option<&[Value]> {
        let inputs = self.classes.get(class)?.get("input")?;
        ["required", "optional"]
            .iter()
            .find_map(|kind| inputs.get(kind)?.get(input)?.as_array().map(Vec::as_slice))
    }

    /// What an input may be, where it is one of a list.
    pub fn choices(&self, class: &str, input: &str) -> Option<Vec<String>> {
        let spec = self.spec(class, input)?;
        let list = match spec {
            [Value::Array(list), ..] => list,
            [Value::String(_), options, ..] => options.get("options")?.as_array()?,
            _ => return None,
        };
        let name = |value: &Value| match value {
            Value::String(text) => text.clone(),
            // Choices that bring further inputs have their name as `key`.
            Value::Object(choice) => {
                choice.get("key").and_then(Value::as_str).unwrap_or_default().to_owned()
            }
            other => other.to_string(),
        };
        Some(list.iter().map(name).collect())
    }

    /// Whether what can be chosen are uploaded files, which the server looks for by itself.
    pub(super) fn is_upload(&self, class: &str, input: &str) -> bool {
        let options = self.spec(class, input).and_then(|spec| spec.get(1)?.as_object());
        options.is_some_and(|options| {
            options.iter().any(|(key, value)| key.ends_with("_upload") && value == true)
        })
    }

    pub fn is_output_node(&self, class: &str) -> bool {
        self.classes.get(class).and_then(|class| class.get("output_node"))
            == Some(&Value::Bool(true))
    }
}
