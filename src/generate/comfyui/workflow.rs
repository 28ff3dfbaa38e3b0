//! A workflow that jobs are made of: a user's, or a built-in one.
//!
//! Holds: a filled workflow differs from its file in the fields that its report names, and in
//! nothing else but LoRAs.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::Value;

use super::graph::{Field, Graph, MAX_FILE_BYTES};
use super::inject;
use super::workflow_find::{Found, find};
use super::workflow_input::{Input, Values};
use super::workflow_report::How;
use crate::base::error::{Error, Result};
use crate::config::Mapping;

/// What a workflow is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Image,
    Img2img,
    Video,
    Morph,
}

impl Role {
    pub const ALL: [Role; 4] = [Role::Image, Role::Img2img, Role::Video, Role::Morph];

    /// As in `workflow_map`, and behind `workflow_`.
    pub fn key(self) -> &'static str {
        match self {
            Role::Image => "image",
            Role::Img2img => "img2img",
            Role::Video => "video",
            Role::Morph => "morph",
        }
    }

    pub fn is_clip(self) -> bool {
        matches!(self, Role::Video | Role::Morph)
    }
}

/// A place that something goes to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Slot {
    pub input: Input,
    pub at: Field,
    pub how: How,
}

#[derive(Debug)]
pub struct Workflow {
    pub(super) role: Role,
    /// What it is called in messages: its file, or "the built-in workflow".
    pub(super) source: String,
    pub(super) graph: Graph,
    pub(super) slots: Vec<Slot>,
    pub(super) found: Found,
    /// Config keys that fields of a built-in workflow come from.
    pub(super) keys: Vec<(Field, &'static str)>,
}

impl Workflow {
    /// Reads a file that was exported for the API.
    pub fn load(path: &Path, role: Role, mappings: &[Mapping]) -> Result<Self> {
        let source = path.display().to_string();
        let failed =
            |error| Error::io(format!("cannot read {source} (workflow_{})", role.key()), error);
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(failed)?;
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(Error::usage(format!(
                "{source}: larger than {} MiB; is that a workflow?",
                MAX_FILE_BYTES >> 20
            )));
        }
        let text = String::from_utf8(bytes).map_err(|_| {
            Error::usage(format!("{source}: not a text file; {}", super::graph::HOW_TO_EXPORT))
        })?;
        Workflow::new(Graph::parse(&text, &source)?, source, role, mappings)
    }

    pub(super) fn new(
        graph: Graph,
        source: String,
        role: Role,
        mappings: &[Mapping],
    ) -> Result<Self> {
        let mut slots = placeholders(&graph, &source)?;
        let mut output = None;
        for mapping in mappings.iter().filter(|m| m.workflow == role.key()) {
            if mapping.input == "output" {
                let wanted = mapping.target.trim();
                if !graph.has(wanted) {
                    return Err(wrong(mapping, &source, "node", wanted, graph.ids()));
                }
                output = Some(wanted);
                continue;
            }
            let Some(input) = Input::from_key(&mapping.input) else {
                let known = Input::ALL.iter().map(|i| i.key()).chain(["output"]);
                return Err(wrong(mapping, &source, "input", &mapping.input, known));
            };
            let at = target(&graph, mapping, &source)?;
            slots.push(Slot { input, at, how: How::Mapping });
        }
        let found = find(&graph, role, output);
        let said: HashSet<Input> = slots.iter().map(|slot| slot.input).collect();
        let taken: HashSet<Field> = slots.iter().map(|slot| slot.at.clone()).collect();
        for (input, at) in &found.fields {
            if !said.contains(input) && !taken.contains(at) {
                slots.push(Slot { input: *input, at: at.clone(), how: How::Link });
            }
        }
        slots.sort_by_key(|slot| slot.input);
        let workflow = Workflow { role, source, graph, slots, found, keys: Vec::new() };
        workflow.must_have()?;
        Ok(workflow)
    }

    /// What the role cannot do without.
    fn must_have(&self) -> Result<()> {
        let lacks = |what: &str| {
            let role = self.role.key();
            Err(Error::usage(format!("{} (workflow_{role}): {what}", self.source)))
        };
        if self.found.outputs.is_empty() {
            let node = if self.role.is_clip() { "Save Video" } else { "Save Image" };
            return lacks(&format!(
                "has no output node; add {node} behind the last picture and export it again"
            ));
        }
        if matches!(self.role, Role::Img2img | Role::Morph) && !self.takes(Input::FirstImage) {
            return lacks(&format!(
                "has no picture to start from; add a Load Image node, or name the field with \
                 workflow_map.{}.first_image",
                self.role.key()
            ));
        }
        if self.role == Role::Morph && !self.takes(Input::LastImage) {
            return lacks(
                "has no picture to end with; add a second Load Image node, or name the field with \
                 workflow_map.morph.last_image",
            );
        }
        Ok(())
    }

    pub fn role(&self) -> Role {
        self.role
    }

    pub fn takes(&self, input: Input) -> bool {
        self.slots.iter().any(|slot| slot.input == input)
    }

    pub fn takes_prompt(&self) -> bool {
        self.takes(Input::Prompt)
    }

    pub fn takes_first_image(&self) -> bool {
        self.takes(Input::FirstImage)
    }

    pub fn takes_last_image(&self) -> bool {
        self.takes(Input::LastImage)
    }

    /// Ids of the nodes whose results count, best first.
    pub fn outputs(&self) -> &[String] {
        &self.found.outputs
    }

    pub fn class(&self, node: &str) -> &str {
        self.graph.class(node)
    }

    pub fn title(&self, node: &str) -> Option<&str> {
        self.graph.title(node)
    }

    /// Width and height are multiples of this.
    pub fn size_step(&self) -> u32 {
        let steps = self.classes_of(&[Input::Width, Input::Height]).map(|c| inject::steps(c).0);
        steps.max().unwrap_or(1)
    }

    /// Lengths are multiples of this, and one.
    pub fn frame_step(&self) -> u32 {
        self.classes_of(&[Input::Frames]).map(|c| inject::steps(c).1).max().unwrap_or(1)
    }

    fn classes_of<'a>(&'a self, inputs: &'a [Input]) -> impl Iterator<Item = &'a str> {
        let slots = self.slots.iter().filter(|slot| inputs.contains(&slot.input));
        slots.map(|slot| self.graph.class(&slot.at.node))
    }

    /// What has to be another way than these values say.
    pub fn changes(&self, values: &Values) -> Vec<String> {
        inject::fitting(values, self.size_step(), self.frame_step()).1
    }

    /// The graph to submit.
    pub fn fill(&self, values: &Values) -> Value {
        let (values, _) = inject::fitting(values, self.size_step(), self.frame_step());
        let mut graph = self.graph.to_value();
        let mut replaced = HashSet::new();
        for slot in &self.slots {
            let field = &slot.at.field;
            let class = self.graph.class(&slot.at.node);
            let Some(old) = graph[&slot.at.node]["inputs"].get_mut(field) else { continue };
            if slot.how == How::Placeholder {
                // All placeholders of a field at once: what one puts in is not read for another.
                if replaced.insert(&slot.at) {
                    inject::replace(old, &|input| values.get(input));
                }
            } else if let Some(new) = values.get(slot.input) {
                *old = inject::like(Some(old), new, slot.input, class);
            }
        }
        if !values.loras.is_empty() {
            inject::loras(&mut graph, &self.found, &values.loras);
        }
        graph
    }
}

fn placeholders(graph: &Graph, source: &str) -> Result<Vec<Slot>> {
    let mut slots = Vec::new();
    for id in graph.ids() {
        for (field, value) in graph.inputs(id) {
            let mut texts = Vec::new();
            strings(value, &mut texts);
            for name in texts.into_iter().flat_map(inject::placeholders) {
                let Some(input) = Input::from_key(name) else {
                    let known: Vec<&str> = Input::ALL.iter().map(|i| i.key()).collect();
                    return Err(Error::usage(format!(
                        "{source}: node {} field {field}: unknown placeholder {{{{{name}}}}}; \
                         known are {}",
                        graph.describe(id),
                        known.join(", ")
                    )));
                };
                let at = Field { node: id.to_owned(), field: field.to_owned() };
                slots.push(Slot { input, at, how: How::Placeholder });
            }
        }
    }
    slots.dedup();
    Ok(slots)
}

fn strings<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(items) => items.iter().for_each(|item| strings(item, found)),
        Value::Object(map) => map.values().for_each(|item| strings(item, found)),
        _ => {}
    }
}

/// `NODE.FIELD`; both may have dots of their own.
fn target(graph: &Graph, mapping: &Mapping, source: &str) -> Result<Field> {
    let target = mapping.target.trim();
    let mut node = None;
    for (dot, _) in target.match_indices('.') {
        let (id, field) = (&target[..dot], &target[dot + 1..]);
        if graph.input(id, field).is_some() {
            return Ok(Field { node: id.to_owned(), field: field.to_owned() });
        }
        if graph.has(id) {
            node = Some((id, field));
        }
    }
    match node {
        Some((id, field)) => {
            let fields = graph.inputs(id).map(|(field, _)| field);
            let what = format!("field of node {}", graph.describe(id));
            Err(wrong(mapping, source, &what, field, fields))
        }
        None => {
            let id = target.split_once('.').map_or(target, |(id, _)| id);
            Err(wrong(mapping, source, "node", id, graph.ids()))
        }
    }
}

fn wrong<'a>(
    mapping: &Mapping,
    source: &str,
    what: &str,
    name: &str,
    known: impl Iterator<Item = &'a str>,
) -> Error {
    let Mapping { workflow, input, target } = mapping;
    Error::usage(format!(
        "workflow_map.{workflow}.{input}: {target}: {source} has no {what} {name:?}; there {}",
        super::workflow_validate::nearest(name, known)
    ))
}

/// What the file is for, by what it saves and loads.
pub fn guess_role(path: &Path) -> Result<Role> {
    let clip = Workflow::load(path, Role::Video, &[])?;
    let saved = clip.found.outputs.first().map(|id| clip.class(id)).unwrap_or_default();
    let frames = clip.takes(Input::Frames) || super::workflow_find::saves_clips(saved);
    Ok(match frames {
        true if clip.takes_last_image() => Role::Morph,
        true => Role::Video,
        false if clip.takes_first_image() => Role::Img2img,
        false => Role::Image,
    })
}
