//! What goes where in a workflow, for people and for programs.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use super::workflow::{Role, Workflow};
use super::workflow_input::Input;

/// How it is known where something goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// By following the links of the workflow.
    Link,
    /// By `workflow_map`.
    Mapping,
    /// By a placeholder in the workflow.
    Placeholder,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Place {
    pub input: Input,
    pub node: String,
    pub class: String,
    pub title: Option<String>,
    pub field: String,
    pub how: How,
    /// What stands there in the file.
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Output {
    pub node: String,
    pub class: String,
    pub title: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    pub workflow: String,
    pub role: &'static str,
    pub places: Vec<Place>,
    /// What the role would have a use for and the workflow has no place for.
    pub missing: Vec<Input>,
    /// The first one's results are taken.
    pub outputs: Vec<Output>,
    pub notes: Vec<String>,
    pub size_step: u32,
    pub frame_step: u32,
}

impl Workflow {
    pub fn report(&self) -> Report {
        let graph = &self.graph;
        let places = self.slots.iter().map(|slot| Place {
            input: slot.input,
            node: slot.at.node.clone(),
            class: graph.class(&slot.at.node).to_owned(),
            title: graph.title(&slot.at.node).map(str::to_owned),
            field: slot.at.field.clone(),
            how: slot.how,
            value: graph.input(&slot.at.node, &slot.at.field).cloned().unwrap_or_default(),
        });
        let outputs = self.found.outputs.iter().map(|id| Output {
            node: id.clone(),
            class: graph.class(id).to_owned(),
            title: graph.title(id).map(str::to_owned),
        });
        let mut notes = self.found.notes.clone();
        let prompts: Vec<_> = self.slots.iter().filter(|s| s.input == Input::Prompt).collect();
        let nodes: std::collections::BTreeSet<_> = prompts.iter().map(|s| &s.at.node).collect();
        if nodes.len() > 1 && prompts.iter().all(|slot| slot.how == How::Link) {
            notes.push(format!(
                "the prompt goes to {} nodes; workflow_map.{}.prompt chooses one",
                nodes.len(),
                self.role.key()
            ));
        }
        Report {
            workflow: self.source.clone(),
            role: self.role.key(),
            places: places.collect(),
            missing: expected(self.role).iter().copied().filter(|i| !self.takes(*i)).collect(),
            outputs: outputs.collect(),
            notes,
            size_step: self.size_step(),
            frame_step: self.frame_step(),
        }
    }
}

fn expected(role: Role) -> &'static [Input] {
    use Input::*;
    match role {
        Role::Image => &[Prompt, NegativePrompt, Seed, Width, Height, Steps, Cfg, Sampler],
        Role::Img2img => {
            &[Prompt, NegativePrompt, Seed, Width, Height, Steps, Cfg, Sampler, Denoise, FirstImage]
        }
        Role::Video => &[Prompt, Seed, Width, Height, FirstImage, Frames],
        Role::Morph => &[Prompt, Seed, Width, Height, FirstImage, LastImage, Frames],
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} as workflow_{}", self.workflow, self.role)?;
        let rows: Vec<[String; 4]> = self
            .places
            .iter()
            .map(|place| {
                let node = match &place.title {
                    Some(title) if *title != place.class => format!("{} ({title})", place.class),
                    _ => place.class.clone(),
                };
                let how = match place.how {
                    How::Link => "found",
                    How::Mapping => "workflow_map",
                    How::Placeholder => "placeholder",
                };
                let at = format!("{}.{}", place.node, place.field);
                [place.input.key().to_owned(), at, node, how.to_owned()]
            })
            .collect();
        let width = |column: usize| {
            rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
        };
        let (a, b, c) = (width(0), width(1), width(2));
        for [input, at, node, how] in &rows {
            writeln!(f, "  {input:a$}  {at:b$}  {node:c$}  {how}")?;
        }
        for output in &self.outputs {
            writeln!(f, "  output: {} {}", output.node, output.class)?;
        }
        for input in &self.missing {
            writeln!(f, "  no place for {} (workflow_map can name one)", input.key())?;
        }
        for note in &self.notes {
            writeln!(f, "  note: {note}")?;
        }
        Ok(())
    }
}
