//! A workflow as ComfyUI runs it: nodes by id, joined by links (the "API format").
//!
//! Holds: every link leads to a node of the graph, and no node is behind itself.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use crate::base::error::{Error, Result};

/// Far above any workflow that people draw.
pub const MAX_FILE_BYTES: u64 = 8 << 20;
const MAX_NODES: usize = 5000;

/// The output of a node that an input is fed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Link<'a> {
    pub node: &'a str,
    pub slot: u64,
}

/// An input of a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Field {
    pub node: String,
    pub field: String,
}

#[derive(Clone, Debug)]
pub struct Graph {
    nodes: Map<String, Value>,
}

/// What ComfyUI takes for a link: a list of a node's id and the number of an output.
pub fn as_link(value: &Value) -> Option<Link<'_>> {
    match value.as_array()?.as_slice() {
        [Value::String(node), slot] => Some(Link { node, slot: slot.as_u64()? }),
        _ => None,
    }
}

impl Graph {
    /// `source` is what the workflow is called in messages.
    pub fn parse(text: &str, source: &str) -> Result<Self> {
        if text.trim().is_empty() {
            return Err(Error::usage(format!("{source}: the file is empty; {HOW_TO_EXPORT}")));
        }
        let value = serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| {
            Error::usage(format!("{source}: not a JSON file; {HOW_TO_EXPORT}")).with_source(error)
        })?;
        Graph::from_value(value, source)
    }

    pub fn from_value(value: Value, source: &str) -> Result<Self> {
        let bad = |what: String| Err(Error::usage(format!("{source}: {what}")));
        let Value::Object(mut nodes) = value else {
            return bad(format!("not a workflow: it has no nodes by their ids; {HOW_TO_EXPORT}"));
        };
        if nodes.get("nodes").is_some_and(Value::is_array) {
            return bad(format!(
                "this is a workflow as the editor saves it, not as the server runs it; \
                 {HOW_TO_EXPORT}"
            ));
        }
        // As it was sent to the server, with what goes along.
        if let Some(Value::Object(inner)) = nodes.get_mut("prompt")
            && !inner.contains_key("class_type")
        {
            nodes = std::mem::take(inner);
        }
        if nodes.is_empty() {
            return bad(format!("the workflow has no nodes; {HOW_TO_EXPORT}"));
        }
        if nodes.len() > MAX_NODES {
            return bad(format!("{} nodes; at most {MAX_NODES} are allowed", nodes.len()));
        }
        for (id, node) in &nodes {
            if !node.get("class_type").is_some_and(Value::is_string) {
                return bad(format!("node {id}: has no class_type; {HOW_TO_EXPORT}"));
            }
            if !node.get("inputs").is_some_and(Value::is_object) {
                return bad(format!("node {id}: has no inputs; {HOW_TO_EXPORT}"));
            }
        }
        let graph = Graph { nodes };
        for id in graph.ids() {
            for (field, link) in graph.links(id) {
                if !graph.has(link.node) {
                    return bad(format!(
                        "node {} field {field}: linked to node {}, which is not there; export the \
                         workflow again",
                        graph.describe(id),
                        link.node
                    ));
                }
            }
        }
        if let Some(id) = graph.cycle() {
            return bad(format!(
                "node {}: needs its own result, the links go in a circle; take one of them out",
                graph.describe(id)
            ));
        }
        Ok(graph)
    }

    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.nodes.keys().map(String::as_str)
    }

    pub fn has(&self, id: &str) -> bool {
        self.nodes.contains_key(id)
    }

    pub fn class(&self, id: &str) -> &str {
        self.nodes.get(id).and_then(|n| n["class_type"].as_str()).unwrap_or_default()
    }

    pub fn title(&self, id: &str) -> Option<&str> {
        self.nodes.get(id)?.get("_meta")?.get("title")?.as_str()
    }

    /// "3 (KSampler)", for messages.
    pub fn describe(&self, id: &str) -> String {
        format!("{id} ({})", self.class(id))
    }

    pub fn inputs(&self, id: &str) -> impl Iterator<Item = (&str, &Value)> {
        let inputs = self.nodes.get(id).and_then(|n| n["inputs"].as_object());
        inputs.into_iter().flatten().map(|(field, value)| (field.as_str(), value))
    }

    pub fn input(&self, id: &str, field: &str) -> Option<&Value> {
        self.nodes.get(id)?.get("inputs")?.get(field)
    }

    pub fn link(&self, id: &str, field: &str) -> Option<Link<'_>> {
        as_link(self.input(id, field)?)
    }

    /// Inputs that are fed from other nodes.
    pub fn links(&self, id: &str) -> impl Iterator<Item = (&str, Link<'_>)> {
        self.inputs(id).filter_map(|(field, value)| Some((field, as_link(value)?)))
    }

    /// A value that stands in the node itself.
    pub fn literal(&self, id: &str, field: &str) -> Option<&Value> {
        self.input(id, field).filter(|value| as_link(value).is_none())
    }

    /// What is fed from a node: `(node, field, slot)`.
    pub fn consumers<'a>(
        &'a self,
        of: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a str, u64)> + 'a {
        self.ids().flat_map(move |id| {
            self.links(id)
                .filter(move |(_, link)| link.node == of)
                .map(move |(field, link)| (id, field, link.slot))
        })
    }

    /// The node and all that it needs, nearest first.
    pub fn ancestors<'a>(&'a self, of: &'a str) -> Vec<&'a str> {
        let mut found = vec![of];
        let mut seen: HashSet<&str> = HashSet::from([of]);
        let mut next = 0;
        while let Some(&id) = found.get(next) {
            next += 1;
            for (_, link) in self.links(id) {
                if seen.insert(link.node) {
                    found.push(link.node);
                }
            }
        }
        found
    }

    pub fn to_value(&self) -> Value {
        Value::Object(self.nodes.clone())
    }

    /// A node that is behind itself.
    fn cycle(&self) -> Option<&str> {
        // What is left when nodes without anything to wait for are taken away, again and again.
        let mut waits: HashMap<&str, usize> = HashMap::new();
        let mut feeds: HashMap<&str, Vec<&str>> = HashMap::new();
        for id in self.ids() {
            waits.insert(id, self.links(id).count());
            for (_, link) in self.links(id) {
                feeds.entry(link.node).or_default().push(id);
            }
        }
        let mut ready: Vec<&str> = self.ids().filter(|id| waits.get(id) == Some(&0)).collect();
        while let Some(id) = ready.pop() {
            waits.remove(id);
            for fed in feeds.remove(id).unwrap_or_default() {
                if let Some(count) = waits.get_mut(fed) {
                    *count -= 1;
                    if *count == 0 {
                        ready.push(fed);
                    }
                }
            }
        }
        self.ids().find(|id| waits.contains_key(id))
    }
}

pub const HOW_TO_EXPORT: &str = "in ComfyUI, choose Workflow > Export (API); in older versions \
                                 turn on \"Enable Dev mode Options\" in the settings and choose \
                                 \"Save (API Format)\"";
