//! The import table of `docs/DESIGN.md`, section 3, held against the sources.
//!
//! Holds: every path counts, not only `use`: in signatures, expressions, attributes and the insides
//! of macros, with `self`, `super` and names given by `use` resolved. Sources are read as tokens,
//! because that is the one form in which macros and all the rest look the same. Two things it does
//! not see: paths that a procedural macro makes, and what a foreign crate does inside.

#![allow(clippy::expect_used, reason = "a test may stop where it cannot go on")]

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// What a room must not name: a path and all below it; `x*` is every crate whose name begins with
/// x; `..::a::b` is any path with `a::b` in it. A bare keyword stands for its use.
type Bans = &'static [&'static str];

const GSTREAMER: Bans = &["gstreamer*", "gst_plugin*", "glib*", "gio*"];
const TOKIO: Bans = &["tokio*"];
const ASYNC: Bans = &["async", "await", "futures*", "async_trait", "tokio*"];
const NETWORK: Bans =
    &["std::net", "std::os::unix::net", "tokio::net", "axum*", "hyper*", "reqwest", "tower*"];
const FILES: Bans = &["std::fs", "std::os::unix::fs", "tokio::fs", "tempfile", "crate::base::fsio"];

enum Rooms {
    /// May import every room but these.
    Never(Bans),
    /// May import these and no other.
    Only(Bans),
}

use Rooms::{Never, Only};

struct Room {
    name: &'static str,
    rooms: Rooms,
    crates: &'static [Bans],
    why: &'static str,
}

const fn room(
    name: &'static str,
    rooms: Rooms,
    crates: &'static [Bans],
    why: &'static str,
) -> Room {
    Room { name, rooms, crates, why }
}

/// One row for every file or folder directly in `src`.
const ROOMS: &[Room] = &[
    room("main", Only(&["cli"]), &[], "it turns a result into an exit code and does no more"),
    room("lib", Only(&[]), &[], "it lists the rooms and does no more"),
    room("cli", Never(&[]), &[], ""),
    room("app", Never(&["cli"]), &[], "it wires what it is handed, whoever calls it"),
    room(
        "config",
        Never(&[]),
        &[TOKIO, GSTREAMER],
        "settings are values, read before anything runs",
    ),
    room(
        "worqspace",
        Never(&[]),
        &[TOKIO, GSTREAMER],
        "prompts are values, read before anything runs",
    ),
    room("base", Only(&[]), &[], "everything stands on it, so it stands on nothing"),
    room("media", Only(&["base"]), &[], "every room shares these types, so they know no room"),
    room("mp4", Only(&["base"]), &[GSTREAMER, TOKIO], "it moves bytes and knows no picture"),
    room(
        "music",
        Only(&["base", "param"]),
        &[GSTREAMER, TOKIO, NETWORK],
        "the render thread reads it",
    ),
    room("param", Never(&[]), &[GSTREAMER, TOKIO, NETWORK], "the render thread reads it"),
    room(
        "steer",
        Never(&["generate", "playout", "stream"]),
        &[],
        "inputs become events for the director and reach nothing past it",
    ),
    room("show", Never(&[]), &[TOKIO, FILES, GSTREAMER], "the director is a pure function"),
    room("cycle", Never(&["playout"]), &[GSTREAMER], "cycles are made ahead of the picture"),
    room(
        "generate",
        Never(&["playout", "control"]),
        &[GSTREAMER],
        "generators are slow; nothing of them may reach the picture but finished clips",
    ),
    room(
        "llm",
        Never(&["playout", "control", "generate"]),
        &[GSTREAMER],
        "it writes texts, and nobody waits for it",
    ),
    room("prepare", Never(&[]), &[GSTREAMER, NETWORK], "it decodes through the trait in `media`"),
    room("ring", Never(&[]), &[NETWORK, FILES, GSTREAMER], "the render thread uses one end of it"),
    room("playout", Never(&["generate"]), &[ASYNC, FILES, NETWORK], "it runs on the render thread"),
    room("render", Never(&[]), &[GSTREAMER, TOKIO], "pixels, the same live and offline"),
    room("audio", Never(&["generate", "control"]), &[TOKIO], "it runs on a streaming thread"),
    room(
        "stream",
        Never(&["show", "generate", "control"]),
        &[TOKIO],
        "its threads must not wait, and it knows media, not shows",
    ),
    room("web", Only(&["base"]), &[GSTREAMER], "it asks servers, whoever wants to know"),
    room(
        "window",
        Only(&["base", "media", "render"]),
        &[GSTREAMER, TOKIO],
        "it shows whatever pictures it is handed",
    ),
    room("archive", Never(&["playout", "control"]), &[], "it writes down; it decides nothing"),
    room("finalize", Never(&["control", "show"]), &[], "it works when no show runs"),
    room("control", Never(&["ring", "generate"]), &[GSTREAMER], "it asks the director"),
];

/// What is allowed in some places only, whatever the room.
struct Reserved {
    what: Bans,
    /// Files, or folders with their `/`, in `src`.
    places: &'static [&'static str],
    why: &'static str,
}

const RESERVED: &[Reserved] = &[
    Reserved { what: GSTREAMER, places: &["stream/"], why: "all else runs and is tested without" },
    Reserved {
        what: &["crate::app"],
        places: &["app.rs", "app/", "cli/"],
        why: "the composition root is at the top",
    },
    Reserved { what: &["crate::cli"], places: &["cli/", "main.rs"], why: "the CLI is at the top" },
    Reserved {
        what: &["unsafe"],
        places: &["render/", "main.rs"],
        why: "only SIMD kernels, and one option of the allocator, are worth it",
    },
    Reserved {
        what: &[
            "..::Instant::now",
            "..::SystemTime::now",
            "..::OffsetDateTime::now_utc",
            "..::OffsetDateTime::now_local",
            "..::UtcDateTime::now",
        ],
        places: &["base/clock.rs"],
        why: "all else takes a `Clock`, so that tests turn the time by hand",
    },
];

#[test]
fn no_room_imports_what_it_must_not() {
    let violations: Vec<String> =
        sources().iter().flat_map(|(file, text)| violations(file, text)).collect();
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

#[test]
fn every_file_says_what_it_owns() {
    for (file, text) in sources() {
        assert!(text.starts_with("//! "), "src/{file} does not begin with `//!` lines");
    }
}

#[test]
fn every_room_of_the_table_is_in_the_design() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/DESIGN.md");
    let design = fs::read_to_string(path).expect("docs/DESIGN.md is readable");
    for room in ROOMS.iter().filter(|room| room.name != "lib") {
        let rows = [format!("| `{}/` |", room.name), format!("| `{}.rs` |", room.name)];
        assert!(rows.iter().any(|row| design.contains(row)), "no row for {}", room.name);
    }
}

/// Every source file: its path in `src`, with `/`, and its text.
fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("src is readable") {
            let path = entry.expect("src is readable").path();
            if path.is_dir() {
                walk(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&src, &mut files);
    files.sort();
    let name = |path: &Path| {
        let parts: Vec<_> = path.strip_prefix(&src).into_iter().flatten().collect();
        parts.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/")
    };
    files.iter().map(|f| (name(f), fs::read_to_string(f).expect("a source is text"))).collect()
}

/// What the file (its path in `src`) must not name but does, one message each.
fn violations(file: &str, text: &str) -> Vec<String> {
    let place = file.trim_end_matches(".rs").trim_end_matches("/mod");
    let own = place.split('/').next().unwrap_or(place);
    let Some(room) = ROOMS.iter().find(|room| room.name == own) else {
        return vec![format!("src/{file}: the room `{own}` has no row in tests/rooms.rs")];
    };
    let mut bans: Vec<(Vec<String>, &str)> = Vec::new();
    let barred: Vec<&str> = match room.rooms {
        Never(rooms) => rooms.to_vec(),
        Only(rooms) => {
            let others = ROOMS.iter().map(|other| other.name);
            others.filter(|other| *other != own && !rooms.contains(other)).collect()
        }
    };
    bans.extend(barred.iter().map(|other| (vec!["crate".into(), other.to_string()], room.why)));
    let outside = room.crates.iter().flat_map(|crates| crates.iter());
    bans.extend(outside.map(|ban| (split(ban), room.why)));
    for reserved in RESERVED {
        let at_home = |home: &&str| file == *home || home.ends_with('/') && file.starts_with(*home);
        if !reserved.places.iter().any(at_home) {
            bans.extend(reserved.what.iter().map(|ban| (split(ban), reserved.why)));
        }
    }

    let module = match place {
        "main" | "lib" => vec!["crate".to_owned()],
        _ => std::iter::once("crate").chain(place.split('/')).map(str::to_owned).collect(),
    };
    let tokens = TokenStream::from_str(text).expect("a source is Rust");
    let mut scanner = Scanner { module, found: Vec::new(), aliases: HashMap::new() };
    scanner.scan(tokens);
    let mut messages = Vec::new();
    for (path, line) in &scanner.found {
        let path = scanner.resolved(path);
        if let Some((ban, why)) = bans.iter().find(|(ban, _)| is_banned(&path, ban)) {
            let (path, ban) = (path.join("::"), ban.join("::"));
            messages.push(format!("src/{file}:{line}: `{path}` names {ban}, not allowed: {why}"));
        }
    }
    messages
}

fn split(path: &str) -> Vec<String> {
    path.split("::").map(str::to_owned).collect()
}

fn is_banned(path: &[String], ban: &[String]) -> bool {
    if ban[0] == ".." {
        return path.windows(ban.len() - 1).any(|part| part == &ban[1..]);
    }
    if let Some(beginning) = ban[0].strip_suffix('*') {
        return path[0].starts_with(beginning);
    }
    // `use crate::*` brings everything below into scope.
    let glob = path.last().is_some_and(|last| last == "*")
        && path.len() <= ban.len()
        && ban.starts_with(&path[..path.len() - 1]);
    glob || path.starts_with(ban)
}

/// Collects the paths of one file.
struct Scanner {
    /// Of the tokens being read, from `crate`.
    module: Vec<String>,
    /// Each path with its line; `self` and `super` resolved.
    found: Vec<(Vec<String>, usize)>,
    /// What `use` gave a name to, anywhere in the file.
    aliases: HashMap<String, Vec<String>>,
}

impl Scanner {
    fn scan(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at = match token {
                TokenTree::Group(group) => {
                    self.scan(group.stream());
                    at + 1
                }
                TokenTree::Ident(word) if word == "mod" => match tokens.get(at + 1..at + 3) {
                    Some([TokenTree::Ident(name), TokenTree::Group(body)]) => {
                        self.module.push(name.to_string());
                        self.scan(body.stream());
                        self.module.pop();
                        at + 3
                    }
                    _ => at + 1,
                },
                TokenTree::Ident(word) if word == "use" => self.path(&tokens, at + 1, &[], true),
                // `extern crate name`
                TokenTree::Ident(word) if word == "crate" && !colons(&tokens, at + 1) => {
                    self.path(&tokens, at + 1, &[], true)
                }
                TokenTree::Ident(_) => self.path(&tokens, at, &[], false),
                _ => at + 1,
            };
        }
    }

    /// Reads one path from `at` on, below `prefix`; in a `use` a whole tree. Returns where to go on.
    fn path(
        &mut self,
        tokens: &[TokenTree],
        mut at: usize,
        prefix: &[String],
        in_use: bool,
    ) -> usize {
        let mut path = prefix.to_vec();
        let line = tokens.get(at).map_or(0, |token| token.span().start().line);
        if colons(tokens, at) {
            at += 2;
        }
        loop {
            match tokens.get(at) {
                Some(TokenTree::Ident(word)) => path.push(word.to_string()),
                Some(TokenTree::Punct(star)) if in_use && star.as_char() == '*' => {
                    path.push("*".into());
                }
                Some(TokenTree::Group(group))
                    if in_use && group.delimiter() == Delimiter::Brace =>
                {
                    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                    for part in inner.split(is_comma).filter(|part| !part.is_empty()) {
                        self.path(part, 0, &path, true);
                    }
                    return at + 1;
                }
                _ => break,
            }
            at += 1;
            if !colons(tokens, at) {
                break;
            }
            at += 2;
        }
        let keyword =
            matches!(path.as_slice(), [w] if w == "unsafe" || w == "async" || w == "await");
        if path.len() > 1 || in_use && !path.is_empty() || keyword {
            if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
                path.pop();
            }
            let path = self.absolute(path);
            if in_use {
                let name = match tokens.get(at..at + 2) {
                    Some([TokenTree::Ident(word), TokenTree::Ident(name)]) if word == "as" => {
                        name.to_string()
                    }
                    _ => path[path.len() - 1].clone(),
                };
                self.aliases.insert(name, path.clone());
            }
            self.found.push((path, line));
        }
        at
    }

    /// With `self` and `super` at the beginning resolved, and the library's name as `crate`.
    fn absolute(&self, path: Vec<String>) -> Vec<String> {
        let mut module = self.module.clone();
        match path[0].as_str() {
            "vfaq" => module = vec!["crate".into()],
            "self" => {}
            "super" => {
                module.pop();
            }
            _ => return path,
        }
        let mut rest = &path[1..];
        while rest.first().is_some_and(|part| part == "super") {
            module.pop();
            rest = &rest[1..];
        }
        module.extend_from_slice(rest);
        module
    }

    /// With a first part that `use` gave a meaning replaced by that.
    fn resolved(&self, path: &[String]) -> Vec<String> {
        let mut path = path.to_vec();
        // Names may be given to names; a name that leads to itself ends after a few rounds.
        for _ in 0..4 {
            match self.aliases.get(&path[0]) {
                Some(meaning) if path[0] != meaning[0] => {
                    path = meaning.iter().chain(&path[1..]).cloned().collect();
                }
                _ => break,
            }
        }
        path
    }
}

/// Whether `::` stands at `at`.
fn colons(tokens: &[TokenTree], at: usize) -> bool {
    let colon = |token: &TokenTree| matches!(token, TokenTree::Punct(p) if p.as_char() == ':');
    tokens.get(at..at + 2).is_some_and(|pair| pair.iter().all(colon))
}

fn is_comma(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',')
}

#[test]
fn whatever_form_a_forbidden_import_has_it_is_found() {
    for (file, text) in [
        ("base/time.rs", "use crate::media::Frame;"),
        ("media.rs", "use crate::{base::time::FrameRate, config::Fit};"),
        ("playout/mod.rs", "use crate::generate::Backend;"),
        ("playout/mod.rs", "use super::generate;"),
        ("playout/turn.rs", "use super::super::generate::Backend;"),
        ("playout/mod.rs", "mod tests { use super::super::generate::Backend; }"),
        ("playout/mod.rs", "use crate::*;"),
        ("playout/mod.rs", "use std::*;"),
        ("playout/mod.rs", "use std::{fs, sync};"),
        ("playout/mod.rs", "use std::fs as disk;"),
        ("playout/mod.rs", "use std as s; fn f() { s::fs::remove_file(p); }"),
        ("playout/mod.rs", "use crate::base; fn f() { base::fsio::write_atomic(p, b) }"),
        ("playout/mod.rs", "use crate::base::{self as b}; fn f() { b::fsio::write_atomic(p, b) }"),
        ("playout/mod.rs", "async fn tick() {}"),
        ("playout/mod.rs", "fn f() { x.await; }"),
        ("playout/mod.rs", "fn f(to: &mut std::net::TcpStream) {}"),
        ("show/mod.rs", "fn f() -> Option<tokio::sync::mpsc::Sender<u8>> { None }"),
        ("show/mod.rs", "#[tokio::test] fn f() {}"),
        ("show/mod.rs", "fn f() { println!(\"{}\", std::fs::read(p)); }"),
        ("show/mod.rs", "macro_rules! m { () => { $crate::base::fsio::link_or_copy }; }"),
        ("stream/mod.rs", "type D = crate::show::Director;"),
        ("stream/imp.rs", "impl crate::control::Steer for X {}"),
        ("stream/imp.rs", "fn f() { let _: Box<dyn crate::generate::Backend>; }"),
        ("stream/imp.rs", "use ::tokio::task;"),
        ("control/mod.rs", "extern crate gstreamer as gst;"),
        ("app.rs", "use gstreamer_app::AppSink;"),
        ("app.rs", "use crate::cli::Args;"),
        ("archive/mod.rs", "use crate::app;"),
        ("main.rs", "fn main() { vfaq::stream::init() }"),
        ("archive/mod.rs", "unsafe impl Send for X {}"),
        ("config/mod.rs", "fn f() { m!(unsafe { g() }) }"),
        ("app.rs", "fn f() { std::time::Instant::now(); }"),
        ("app.rs", "use std::time::*; fn f() { Instant::now(); }"),
        ("app.rs", "use std::time::SystemTime as T; fn f() { then(T::now); }"),
        ("novelty/mod.rs", ""),
    ] {
        assert_eq!(violations(file, text).len(), 1, "{file}: {text}: {:?}", violations(file, text));
    }
}

#[test]
fn what_is_allowed_is_let_through() {
    for (file, text) in [
        ("media.rs", "use crate::base::time::FrameRate; mod tests { use super::*; }"),
        ("base/mod.rs", "use crate::base::time; pub mod clock;"),
        ("base/clock.rs", "fn f() { std::time::Instant::now(); }"),
        ("render/warp.rs", "unsafe fn f() {} #[target_feature(enable = \"avx2\")] fn g() {}"),
        (
            "render/mod.rs",
            "//! Never uses tokio::spawn, nor crate::stream.\nuse crate::media::Frame;",
        ),
        ("stream/mod.rs", "use gstreamer as gst; fn f(x: gst::Element) { glib::ok(); }"),
        ("cli/live.rs", "use crate::app; fn f() { app::run(); }"),
        ("main.rs", "fn main() -> ExitCode { vfaq::cli::main() }"),
        ("playout/mod.rs", "struct S { tempfile: u8 } fn f(s: S) { s.tempfile; s.generate(); }"),
        ("playout/mod.rs", "fn f() -> impl Sized + use<'static> { \"std::fs\" }"),
        ("ring/mod.rs", "use super::playout; #![deny(unsafe_op_in_unsafe_fn)]"),
    ] {
        assert_eq!(violations(file, text), Vec::<String>::new(), "{file}: {text}");
    }
}

#[test]
fn a_violation_says_where_and_why() {
    let message = &violations("playout/mod.rs", "//! Doc.\n\nuse std::fs;")[0];
    assert!(message.starts_with("src/playout/mod.rs:3: `std::fs`"), "{message}");
    assert!(message.contains("render thread"), "{message}");
}
