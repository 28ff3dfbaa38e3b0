//! YAML as a tree in which every node knows its line, so that a message can name it.
//!
//! Holds: scalars stay as they are written; what they mean is decided by the key they belong to,
//! not by their looks (`60000/1001`, `007`, `off`). Depth and size are bounded: no text makes this
//! overflow the stack or eat the memory.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle};

/// Deeper than any real file by far.
const DEEPEST: usize = 64;
/// Nodes in one document, those that aliases repeat included.
const MOST_NODES: usize = 100_000;

#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// From 1.
    pub line: usize,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Null,
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub key: String,
    /// Of the key, from 1.
    pub line: usize,
    pub node: Node,
}

/// Why a text is no YAML.
#[derive(Clone, Debug, PartialEq)]
pub struct SyntaxError {
    /// From 1.
    pub line: usize,
    pub message: String,
}

/// A list or mapping that is not closed yet.
struct Open {
    line: usize,
    anchor: usize,
    /// How many nodes stood before it.
    nodes: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    /// With the key that waits for its value.
    Map(Vec<Entry>, Option<(String, usize)>),
}

/// Reads one document. `skipped_lines` stand before `text` in its file. An empty text is
/// [`Value::Null`].
pub fn parse(text: &str, skipped_lines: usize) -> Result<Node, SyntaxError> {
    let mut parser = Parser::new_from_str(text);
    let mut open: Vec<Open> = Vec::new();
    let mut anchors: HashMap<usize, (Node, usize)> = HashMap::new();
    let mut root: Option<Node> = None;
    let mut nodes = 0;
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|e| SyntaxError {
            line: e.marker().line() + skipped_lines,
            message: e.info().to_owned(),
        })?;
        let line = span.start.line() + skipped_lines;
        let error = |message: &str| SyntaxError { line, message: message.to_owned() };
        let begins = matches!(event, Event::SequenceStart(..) | Event::MappingStart(..));
        if begins && open.len() == DEEPEST {
            return Err(error("nested deeper than 64 levels"));
        }
        // The node that is complete with this event, and how many nodes it is made of.
        let (node, anchor, size) = match event {
            Event::Scalar(text, style, anchor, _) => {
                let plain = style == ScalarStyle::Plain;
                let value = match &*text {
                    "" | "~" | "null" | "Null" | "NULL" if plain => Value::Null,
                    _ => Value::Text(text.into_owned()),
                };
                nodes += 1;
                (Node { line, value }, anchor, 1)
            }
            Event::Alias(id) => {
                let (node, size) =
                    anchors.get(&id).ok_or_else(|| error("an alias within its own anchor"))?;
                nodes += size;
                (node.clone(), 0, *size)
            }
            Event::SequenceStart(anchor, _) => {
                open.push(Open { line, anchor, nodes, content: Content::List(Vec::new()) });
                continue;
            }
            Event::MappingStart(anchor, _) => {
                let content = Content::Map(Vec::new(), None);
                open.push(Open { line, anchor, nodes, content });
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(Open { line, anchor, nodes: before, content }) = open.pop() else {
                    return Err(error("a list or mapping that ends before it starts"));
                };
                let value = match content {
                    Content::List(list) => Value::List(list),
                    Content::Map(entries, _) => Value::Map(entries),
                };
                nodes += 1;
                (Node { line, value }, anchor, nodes - before)
            }
            Event::DocumentStart(_) if root.is_some() => {
                return Err(error("a second document after a line '---'"));
            }
            _ => continue,
        };
        if nodes > MOST_NODES {
            return Err(error("more than 100000 values"));
        }
        if anchor > 0 {
            anchors.insert(anchor, (node.clone(), size));
        }
        match open.last_mut().map(|o| &mut o.content) {
            Some(Content::List(list)) => list.push(node),
            Some(Content::Map(entries, key)) => match (key.take(), node.value) {
                (Some((key, line)), value) => {
                    entries.push(Entry { key, line, node: Node { line: node.line, value } });
                }
                (None, Value::Text(text)) => *key = Some((text, line)),
                (None, Value::Null) => *key = Some(("null".to_owned(), line)),
                (None, _) => return Err(error("a list or mapping where a key must stand")),
            },
            None => root = Some(node),
        }
    }
    Ok(root.unwrap_or(Node { line: skipped_lines + 1, value: Value::Null }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn get<'a>(node: &'a Node, key: &str) -> &'a Node {
        let Value::Map(entries) = &node.value else { panic!("{node:?}") };
        &entries.iter().find(|e| e.key == key).unwrap().node
    }

    #[test]
    fn nodes_know_their_lines_and_keep_their_looks() {
        let tree =
            parse("# a\nlive:\n  fps: 60000/1001\n  listen: ~\n  list:\n  - a\n", 10).unwrap();
        let live = get(&tree, "live");
        assert_eq!(*get(live, "fps"), Node { line: 13, value: Value::Text("60000/1001".into()) });
        assert_eq!(get(live, "listen").value, Value::Null);
        let Value::List(list) = &get(live, "list").value else { panic!() };
        assert_eq!(list[0].line, 16);
    }

    #[test]
    fn anchors_are_repeated() {
        let tree = parse("a: &x {k: 1}\nb: *x\n", 0).unwrap();
        assert_eq!(get(get(&tree, "b"), "k").value, Value::Text("1".into()));
    }

    #[test]
    fn a_broken_text_names_its_line() {
        assert_eq!(parse("a: 1\nb: 2]\nc: ]\n", 0).unwrap_err().line, 3);
        assert_eq!(parse("a: 1\n---\nb: 1\n", 0).unwrap_err().line, 2);
        for text in ["a:\n\tb: 1", "a: *b", "a: &x [*x]", "[a]: 1", "a: 'x"] {
            assert!(parse(text, 0).is_err(), "{text}");
        }
    }

    #[test]
    fn hostile_texts_end_in_an_error() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for i in 1..12 {
            let last = format!("*a{}", i - 1);
            bomb += &format!("a{i}: &a{i} [{}]\n", [last.as_str(); 10].join(", "));
        }
        for text in [bomb, "[".repeat(100_000), "- ".repeat(100_000), "{a: ".repeat(100_000)] {
            assert!(parse(&text, 0).is_err());
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(?s).{0,200}") {
            let _ = parse(&text, 0);
        }

        #[test]
        fn no_text_of_yaml_signs_panics(text in r#"[a-c0-9 \n\t:\-\[\]{},&*!|>'"%#?@`~.$]{0,120}"#) {
            let _ = parse(&text, 0);
        }
    }
}
