//! Reads a settings file key by key, expands `${ENV}`, and collects everything that is wrong.
//!
//! Holds: reading never stops at a problem; a value that is wrong is replaced by its default, and
//! noted. Every key that is asked for is known from then on, with its default and what is allowed:
//! that is the reference that documentation is checked against. Values are shown as they stand in
//! the file, secrets and whatever looks like an address with a key in it not at all.

use std::collections::HashMap;
use std::path::Path;

use super::kind::Kind;
use super::problem::{Findings, Problem};
use super::yaml::{self, Entry, Node, Value};
use crate::base::error;

/// A key that a file may have.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// Such as `live.join.seconds`.
    pub path: String,
    /// As one would write it; empty: not set.
    pub default: String,
    pub allowed: String,
}

/// Looks up an environment variable.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

pub struct Reader<'a> {
    file: &'a Path,
    /// `None`: `${NAME}` is a text like any other.
    env: Option<Env<'a>>,
    findings: Findings,
    keys: Vec<Key>,
    /// Lines of the keys that were found.
    lines: HashMap<String, usize>,
    unknown: Vec<Unknown>,
}

struct Unknown {
    section: String,
    key: String,
    line: usize,
    strict: bool,
    siblings: Vec<&'static str>,
}

/// One value of a list whose values may be texts or mappings.
pub struct Item<'n> {
    /// Such as `live.outputs[0]`.
    pub path: String,
    pub line: usize,
    pub node: &'n Node,
}

/// One mapping of a file, while its keys are asked for.
pub struct Section<'n> {
    path: String,
    entries: &'n [Entry],
    /// An unknown key is a problem, not a warning.
    strict: bool,
    /// The same keys are in the reference already, under another section.
    repeats: bool,
    known: Vec<&'static str>,
}

impl<'a> Reader<'a> {
    pub fn new(file: &'a Path, env: Option<Env<'a>>) -> Self {
        Reader {
            file,
            env,
            findings: Findings::default(),
            keys: Vec::new(),
            lines: HashMap::new(),
            unknown: Vec::new(),
        }
    }

    pub fn problem(&mut self, line: Option<usize>, key: &str, message: impl Into<String>) {
        self.findings.problems.push(Problem::new(self.file, message).at(line, key));
    }

    pub fn warn(&mut self, line: Option<usize>, key: &str, message: impl Into<String>) {
        self.findings.warnings.push(Problem::new(self.file, message).at(line, key));
    }

    /// The line of a key; `None` if the file does not have it.
    pub fn line(&self, path: &str) -> Option<usize> {
        self.lines.get(path).copied()
    }

    pub fn problem_count(&self) -> usize {
        self.findings.problems.len()
    }

    /// The keys of one value of a list. They are not in the reference.
    pub fn mapping<'n>(&mut self, item: &Item<'n>) -> Section<'n> {
        let mut section = self.open(item.path.clone(), Some((item.node, item.line)), true);
        section.repeats = true;
        section
    }

    /// One value of a list as a text, which is never shown.
    pub fn text(&mut self, found: &Item, allowed: &str) -> Option<String> {
        let kind = Kind::new(allowed, |t| Some(t.to_owned())).secret();
        item(self, found.node, found.line, &found.path, &kind, true)
    }

    /// Whether all of these are right, so that it makes sense to compare them.
    pub fn all_right(&self, paths: &[&str]) -> bool {
        // A problem of `outputs[2]` is one of `outputs`.
        let key = |p: &Problem| p.key.split('[').next().map(str::to_owned).unwrap_or_default();
        !self.findings.problems.iter().any(|p| paths.contains(&key(p).as_str()))
    }

    /// Reads the file's text. One that cannot be read is a problem, and then as if empty.
    pub fn parse(&mut self, text: &str, skipped_lines: usize) -> Node {
        yaml::parse(text, skipped_lines).unwrap_or_else(|e| {
            let message = format!(
                "this is no readable YAML: {}; look at the indentation, brackets and quotes of \
                 this line and the one before",
                e.message
            );
            self.problem(Some(e.line), "", message);
            Node { line: 1, value: Value::Null }
        })
    }

    /// The mapping that is the file.
    pub fn root<'n>(&mut self, node: &'n Node, strict: bool) -> Section<'n> {
        self.open(String::new(), Some((node, node.line)), strict)
    }

    fn open<'n>(
        &mut self,
        path: String,
        found: Option<(&'n Node, usize)>,
        strict: bool,
    ) -> Section<'n> {
        let entries: &[Entry] = match found.map(|(node, line)| (&node.value, line)) {
            None | Some((Value::Null, _)) => &[],
            Some((Value::Map(entries), _)) => entries,
            Some((other, line)) => {
                let what = if matches!(other, Value::List(_)) { "a list" } else { "a text" };
                let message = format!("found {what}, allowed: keys with their values, indented");
                self.problem(Some(line), &path, message);
                &[]
            }
        };
        for (i, entry) in entries.iter().enumerate() {
            if entries[..i].iter().any(|e| e.key == entry.key) {
                let path = join(&path, &shown_key(&entry.key));
                let message = "given twice; the last one counts, so delete the other";
                self.warn(Some(entry.line), &path, message);
            }
        }
        Section { path, entries, strict, repeats: false, known: Vec::new() }
    }

    /// Fills in `${NAME}`. A variable that is not set is a problem (a warning if it is not
    /// needed), and then there is no value.
    fn expand(&mut self, text: &str, line: usize, path: &str, needed: bool) -> Option<String> {
        let Some(env) = self.env else { return Some(text.to_owned()) };
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        let mut complete = true;
        while let Some(start) = rest.find("${") {
            let Some(length) = rest[start..].find('}') else { break };
            let name = &rest[start + 2..start + length];
            filled.push_str(&rest[..start]);
            rest = &rest[start + length + 1..];
            match env(name).filter(|value| !value.is_empty()) {
                Some(value) => filled.push_str(&value),
                None => {
                    complete = false;
                    let message = format!(
                        "the environment variable {} is not set or empty; set it (export {0}=...) \
                         or write the value here",
                        shown_key(name)
                    );
                    if needed {
                        self.problem(Some(line), path, message);
                    } else {
                        self.warn(Some(line), path, message + "; it is not needed now");
                    }
                }
            }
        }
        filled.push_str(rest);
        complete.then_some(filled)
    }

    /// Notes every unknown key, with the nearest known one.
    fn report_unknown(&mut self) {
        for Unknown { section, key, line, strict, siblings } in std::mem::take(&mut self.unknown) {
            let elsewhere = self.keys.iter().find(|k| k.path.rsplit('.').next() == Some(&key));
            let nearest = siblings.iter().max_by(|a, b| {
                strsim::jaro_winkler(a, &key).total_cmp(&strsim::jaro_winkler(b, &key))
            });
            let hint = match (elsewhere, nearest) {
                (Some(known), _) => format!("; did you mean {}?", known.path),
                (None, Some(nearest)) => format!("; did you mean {}?", join(&section, nearest)),
                (None, None) => String::new(),
            };
            let path = join(&section, &shown_key(&key));
            if strict {
                self.problem(Some(line), &path, format!("unknown key{hint}"));
            } else {
                self.warn(Some(line), &path, format!("unknown key, ignored{hint}"));
            }
        }
    }

    /// All that was found, in the order of the file.
    pub fn finish(mut self) -> (Findings, Vec<Key>) {
        self.report_unknown();
        self.findings.problems.sort_by_key(|p| p.line);
        self.findings.warnings.sort_by_key(|w| w.line);
        (self.findings, self.keys)
    }
}

impl<'n> Section<'n> {
    /// Whether the file has this key with a value, without asking for it.
    pub fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|e| e.key == key && e.node.value != Value::Null)
    }

    /// The keys that the file has here, in its order.
    pub fn entries(&self) -> &'n [Entry] {
        self.entries
    }

    pub fn section(&mut self, r: &mut Reader, key: &'static str) -> Section<'n> {
        self.subsection(r, key, self.strict)
    }

    /// A section in which an unknown key is a problem.
    pub fn strict_section(&mut self, r: &mut Reader, key: &'static str) -> Section<'n> {
        self.subsection(r, key, true)
    }

    /// A section with the keys of another one.
    pub fn repeated_section(&mut self, r: &mut Reader, key: &'static str) -> Section<'n> {
        let mut section = self.subsection(r, key, self.strict);
        section.repeats = true;
        section
    }

    /// The sections of a list that have the keys of another one; one alone is a list of one. `None`
    /// if there is none.
    pub fn repeated_sections(
        &mut self,
        r: &mut Reader,
        key: &'static str,
    ) -> Option<Vec<Section<'n>>> {
        let Some(Value::List(nodes)) = self.find(key).map(|e| &e.node.value) else {
            let given = self.has(key);
            let section = self.repeated_section(r, key);
            return given.then(|| vec![section]);
        };
        self.known.push(key);
        let path = join(&self.path, key);
        if nodes.is_empty() {
            let line = self.find(key).map(|e| e.line);
            r.problem(line, &path, "found an empty list, allowed: at least one");
            return None;
        }
        let open = |(i, node): (usize, &'n Node)| {
            let mut section = r.open(format!("{path}[{i}]"), Some((node, node.line)), self.strict);
            section.repeats = true;
            section
        };
        Some(nodes.iter().enumerate().map(open).collect())
    }

    /// A section whose keys are the user's own names.
    pub fn free_section(
        &mut self,
        r: &mut Reader,
        key: &'static str,
        allowed: &str,
    ) -> Section<'n> {
        self.note(r, key, "", allowed);
        r.open(join(&self.path, key), self.find(key).map(|e| (&e.node, e.line)), self.strict)
    }

    /// All keys with their values, which are texts; those that are wrong are left out.
    pub fn pairs(&self, r: &mut Reader, secret: bool) -> Vec<(String, String)> {
        let mut kind = Kind::new("a text", |t| Some(t.trim().to_owned()));
        kind.secret = secret;
        let value = |entry: &Entry| {
            let path = join(&self.path, &shown_key(&entry.key));
            item(r, &entry.node, entry.line, &path, &kind, true)
                .map(|text| (entry.key.clone(), text))
        };
        self.entries.iter().filter_map(value).collect()
    }

    fn subsection(&mut self, r: &mut Reader, key: &'static str, strict: bool) -> Section<'n> {
        self.known.push(key);
        let found = self.find(key).map(|e| (&e.node, e.line));
        let mut section = r.open(join(&self.path, key), found, strict);
        section.repeats = self.repeats;
        section
    }

    /// A value; `default` is written as in the file.
    pub fn get<T: 'static>(
        &mut self,
        r: &mut Reader,
        key: &'static str,
        default: &'static str,
        kind: Kind<T>,
    ) -> T {
        let found = self.lookup(r, key, default, &kind, true);
        #[expect(clippy::expect_used, reason = "a test reads every default, through an empty file")]
        found.unwrap_or_else(|| kind.read(default).expect("the default is allowed"))
    }

    /// A value that need not be set.
    pub fn opt<T: 'static>(
        &mut self,
        r: &mut Reader,
        key: &'static str,
        kind: Kind<T>,
    ) -> Option<T> {
        self.lookup(r, key, "", &kind, true)
    }

    /// A value that need not be set; a variable in it that is not set is only warned about.
    pub fn unneeded<T: 'static>(
        &mut self,
        r: &mut Reader,
        key: &'static str,
        kind: Kind<T>,
    ) -> Option<T> {
        self.lookup(r, key, "", &kind, false)
    }

    fn lookup<T: 'static>(
        &mut self,
        r: &mut Reader,
        key: &'static str,
        default: &str,
        kind: &Kind<T>,
        needed: bool,
    ) -> Option<T> {
        let path = self.note(r, key, default, &kind.allowed);
        let entry = self.find(key)?;
        r.lines.insert(path.clone(), entry.line);
        match &entry.node.value {
            Value::Null => kind.null.and_then(|text| kind.read(text)),
            _ => item(r, &entry.node, entry.line, &path, kind, needed),
        }
    }

    /// A list; one value alone is a list of one. Values that are wrong are left out.
    pub fn list<T: 'static>(
        &mut self,
        r: &mut Reader,
        key: &'static str,
        default: &'static [&'static str],
        kind: Kind<T>,
    ) -> Vec<T> {
        let allowed = format!("a list of: {}", kind.allowed);
        let path = self.note(r, key, &format!("[{}]", default.join(", ")), &allowed);
        let found = self.find(key);
        if let Some(entry) = found {
            r.lines.insert(path.clone(), entry.line);
        }
        match found.map(|entry| (&entry.node.value, entry)) {
            None | Some((Value::Null, _)) =>
            {
                #[expect(clippy::expect_used, reason = "as in `get`")]
                default.iter().map(|d| kind.read(d).expect("the default is allowed")).collect()
            }
            Some((Value::List(nodes), _)) => nodes
                .iter()
                .enumerate()
                .filter_map(|(i, node)| {
                    item(r, node, node.line, &format!("{path}[{i}]"), &kind, true)
                })
                .collect(),
            Some((_, entry)) => {
                item(r, &entry.node, entry.line, &path, &kind, true).into_iter().collect()
            }
        }
    }

    /// A list of texts or mappings, empty by default; one alone is a list of one.
    pub fn items(&mut self, r: &mut Reader, key: &'static str, allowed: &str) -> Vec<Item<'n>> {
        let path = self.note(r, key, "[]", &format!("a list of: {allowed}"));
        let Some(entry) = self.find(key) else { return Vec::new() };
        r.lines.insert(path.clone(), entry.line);
        match &entry.node.value {
            Value::Null => Vec::new(),
            Value::List(nodes) => nodes
                .iter()
                .enumerate()
                .map(|(i, node)| Item { path: format!("{path}[{i}]"), line: node.line, node })
                .collect(),
            _ => vec![Item { path, line: entry.line, node: &entry.node }],
        }
    }

    /// Ends the section: keys that nobody asked for are unknown.
    pub fn close(self, r: &mut Reader) {
        for entry in self.entries {
            if !self.known.contains(&entry.key.as_str()) {
                r.unknown.push(Unknown {
                    section: self.path.clone(),
                    key: entry.key.clone(),
                    line: entry.line,
                    strict: self.strict,
                    siblings: self.known.clone(),
                });
            }
        }
    }

    fn find(&self, key: &str) -> Option<&'n Entry> {
        self.entries.iter().rev().find(|e| e.key == key)
    }

    /// Makes the key known; returns its path.
    fn note(&mut self, r: &mut Reader, key: &'static str, default: &str, allowed: &str) -> String {
        self.known.push(key);
        let path = join(&self.path, key);
        if !self.repeats {
            let (default, allowed) = (default.to_owned(), allowed.to_owned());
            r.keys.push(Key { path: path.clone(), default, allowed });
        }
        path
    }
}

/// Reads one value; what is wrong with it is noted. An empty text is a value that is not set.
fn item<T: 'static>(
    r: &mut Reader,
    node: &Node,
    line: usize,
    path: &str,
    kind: &Kind<T>,
    needed: bool,
) -> Option<T> {
    let found = match &node.value {
        Value::Text(text) if text.trim().is_empty() => return None,
        Value::Text(text) => {
            let filled = r.expand(text, line, path, needed)?;
            match kind.read(&filled) {
                Some(value) => return Some(value),
                None => shown_value(text, kind.secret),
            }
        }
        Value::Null => "nothing".to_owned(),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "keys with values (a text with a colon needs quotes)".to_owned(),
    };
    r.problem(Some(line), path, format!("found {found}, allowed: {}", kind.allowed));
    None
}

fn join(section: &str, key: &str) -> String {
    if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") }
}

/// A key as messages show it: what does not look like a name may be a secret in the wrong place.
fn shown_key(key: &str) -> String {
    let name = |c: char| c.is_ascii_alphanumeric() || "_-. ".contains(c);
    if key.len() <= 40 && key.chars().all(name) { key.to_owned() } else { "(hidden)".to_owned() }
}

/// A value as messages show it, within quotes; long ones are cut, addresses keep their scheme.
pub fn shown_value(text: &str, secret: bool) -> String {
    if secret {
        return "a value that is kept secret".to_owned();
    }
    if let Some((scheme, _)) = text.split_once("://") {
        return format!("\"{}://(hidden)\"", shown_key(scheme));
    }
    let mut cut: String = text.chars().take(60).collect();
    if cut.len() < text.len() {
        cut.push_str("...");
    }
    format!("{cut:?}")
}

/// Reads a settings file as text, with the problem of one that is missing.
pub fn required_text(path: &Path, what_to_do: &str) -> Result<String, Problem> {
    const LIMIT_BYTES: u64 = 1 << 20;
    super::problem::read_text(path, LIMIT_BYTES)?.ok_or_else(|| {
        Problem::new(path, format!("there is no such file; {what_to_do}"))
            .of_kind(error::Kind::Usage)
    })
}
