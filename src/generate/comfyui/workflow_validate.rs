//! Whether a server has what a workflow needs.

use serde_json::Value;

use super::graph::{Field, Graph};
use super::object_info::ObjectInfo;
use super::workflow::Workflow;
use super::workflow_input::{Input, Values};
use crate::base::error::{Error, Result};

/// Beginnings of class names, and where those nodes come from.
const PACKS: [(&str, &str); 9] = [
    ("VHS_", "ComfyUI-VideoHelperSuite"),
    ("ADE_", "ComfyUI-AnimateDiff-Evolved"),
    ("WanVideo", "ComfyUI-WanVideoWrapper"),
    ("IPAdapter", "ComfyUI_IPAdapter_plus"),
    ("UnetLoaderGGUF", "ComfyUI-GGUF"),
    ("CLIPLoaderGGUF", "ComfyUI-GGUF"),
    ("RIFE", "ComfyUI-Frame-Interpolation"),
    ("FaceDetailer", "ComfyUI-Impact-Pack"),
    ("UltimateSDUpscale", "ComfyUI_UltimateSDUpscale"),
];

const SHOWN: usize = 10;

impl Workflow {
    /// Every problem at once, as the workflow stands.
    pub fn validate(&self, info: &ObjectInfo) -> Result<()> {
        self.validate_filled(info, &Values::default())
    }

    /// The same with these values in it: samplers and LoRAs are looked for, too.
    pub fn validate_filled(&self, info: &ObjectInfo, values: &Values) -> Result<()> {
        let filled = Graph::from_value(self.fill(values), &self.source)?;
        let mut problems = Vec::new();
        let mut unknown = Vec::new();
        for id in filled.ids() {
            let class = filled.class(id);
            if !info.has(class) {
                if !unknown.contains(&class) {
                    unknown.push(class);
                    problems.push(self.unknown_class(info, &filled, id));
                }
                continue;
            }
            for (field, value) in filled.inputs(id) {
                if info.is_upload(class, field) || self.is_open(id, field, values) {
                    continue;
                }
                let text = match value {
                    Value::String(text) => text.clone(),
                    Value::Number(number) => number.to_string(),
                    _ => continue,
                };
                let Some(choices) = info.choices(class, field) else { continue };
                if !choices.contains(&text) {
                    let key = self.key(id, field, values);
                    problems.push(format!(
                        "{}: node {} field {field}{key}: {text:?} is not on the server; there {}",
                        self.source,
                        filled.describe(id),
                        nearest(&text, choices.iter().map(String::as_str))
                    ));
                }
            }
        }
        let has_output = self.found.outputs.iter().any(|id| {
            let class = filled.class(id);
            !info.has(class) || info.is_output_node(class)
        });
        if !has_output {
            problems.push(format!(
                "{}: has no output node that the server knows; add Save Image or Save Video",
                self.source
            ));
        }
        if problems.is_empty() { Ok(()) } else { Err(Error::usage(problems.join("\n"))) }
    }

    fn unknown_class(&self, info: &ObjectInfo, graph: &Graph, id: &str) -> String {
        let class = graph.class(id);
        let pack = PACKS.iter().find(|(begin, _)| class.starts_with(begin));
        let what = match pack {
            Some((_, pack)) => format!("install {pack} there (ComfyUI-Manager has it)"),
            None => format!(
                "install the custom nodes that it comes from; there {}",
                nearest(class, info.classes())
            ),
        };
        format!(
            "{}: node {}: the server does not have this node; {what}",
            self.source,
            graph.describe(id)
        )
    }

    /// A placeholder or a picture that gets its value with the job.
    fn is_open(&self, node: &str, field: &str, values: &Values) -> bool {
        self.slots.iter().any(|slot| {
            slot.at.node == node
                && slot.at.field == field
                && (matches!(slot.input, Input::FirstImage | Input::LastImage)
                    || slot.how == super::workflow_report::How::Placeholder
                        && values.get(slot.input).is_none())
        })
    }

    /// " (the.config.key)" that a value comes from.
    fn key(&self, node: &str, field: &str, values: &Values) -> String {
        let at = Field { node: node.to_owned(), field: field.to_owned() };
        if let Some((_, key)) = self.keys.iter().find(|(field, _)| *field == at) {
            return format!(" ({key})");
        }
        let slot = self.slots.iter().find(|slot| slot.at == at);
        match slot.map(|slot| slot.input) {
            Some(Input::Sampler | Input::Scheduler) if values.sampler.is_some() => {
                " (generation.sampler)".to_owned()
            }
            _ if !self.graph.has(node) => " (loras)".to_owned(),
            _ => format!(" (workflow_{})", self.role.key()),
        }
    }
}

/// "are a, b, c and 12 more", the likeliest first.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let wanted = name.to_lowercase();
    let mut known: Vec<(f64, &str)> =
        known.map(|k| (strsim::jaro_winkler(&wanted, &k.to_lowercase()), k)).collect();
    known.sort_by(|a, b| b.0.total_cmp(&a.0));
    if known.is_empty() {
        return "is none".to_owned();
    }
    let shown: Vec<&str> = known.iter().take(SHOWN).map(|(_, name)| *name).collect();
    let more = match known.len() - shown.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let verb = if known.len() == 1 { "is" } else { "are" };
    format!("{verb} {}{more}", shown.join(", "))
}
