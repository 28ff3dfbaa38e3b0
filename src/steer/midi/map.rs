//! Maps: which control of a device steers what, `presets/controllers/NAME.yaml`.
//!
//! Holds: a map that was read names parameters that exist, each control once, and can be carried
//! out. The shipped maps are part of the program; a file of the same name in the worqspace wins.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::binding::{Binding, Feedback, Mode};
use super::event::Control;
use super::takeover::{Curve, Encoding};
use crate::base::error::{Error, Result};
use crate::base::fsio;
use crate::config::kind::{self, choice, flag, number, text, whole};
use crate::config::problem::read_text;
use crate::config::read::{Item, Reader, Section};
use crate::config::yaml;
use crate::config::{Findings, Warning, name};
use crate::param::{self, Kind, Param, Value};

#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    pub name: String,
    pub title: String,
    pub file: PathBuf,
    pub shipped: bool,
    /// Parts of the names of ports that it is for; none: all.
    pub matches: Vec<String>,
    pub bindings: Vec<Arc<Binding>>,
}

/// The map of ports that no other is for.
pub const GENERIC: &str = "generic";

const SHIPPED: &[(&str, &str)] = &[
    ("apc_mini", include_str!("../../../presets/controllers/apc_mini.yaml")),
    (GENERIC, include_str!("../../../presets/controllers/generic.yaml")),
    ("launch_control_xl", include_str!("../../../presets/controllers/launch_control_xl.yaml")),
    ("nanokontrol2", include_str!("../../../presets/controllers/nanokontrol2.yaml")),
];

const LIMIT_BYTES: u64 = 256 << 10;
/// Bindings of one map.
const MOST: usize = 2000;

/// Where a user's maps are.
pub fn folder(worqspace: &Path) -> PathBuf {
    worqspace.join("presets").join("controllers")
}

impl Map {
    /// Whether it is for a port of one of these names.
    pub fn is_for(&self, names: &[&str]) -> bool {
        self.matches.is_empty() || self.matches.iter().any(|part| named(part, names))
    }
}

/// The maps for a port of these names: those that are `wanted`, else the user's that say so, else a
/// shipped one, else the generic one.
pub fn chosen<'m>(maps: &'m [Map], wanted: &[String], names: &[&str]) -> Vec<&'m Map> {
    let fits: Vec<&Map> = maps.iter().filter(|map| map.is_for(names)).collect();
    let only = |is: &dyn Fn(&Map) -> bool| -> Vec<&Map> {
        fits.iter().copied().filter(|map| is(map)).collect()
    };
    if !wanted.is_empty() {
        return only(&|map| wanted.contains(&map.name));
    }
    let says_so = |map: &Map| !map.matches.is_empty();
    let users = only(&|map| says_so(map) && !map.shipped);
    let shipped = only(&|map| says_so(map) && map.shipped);
    let generic = only(&|map| map.name == GENERIC);
    [users, shipped, generic].into_iter().find(|maps| !maps.is_empty()).unwrap_or_default()
}

/// Whether a part of a name is in one of the names; upper and lower case are the same.
pub fn named(part: &str, names: &[&str]) -> bool {
    let part = part.to_lowercase();
    names.iter().any(|name| name.to_lowercase().contains(&part))
}

/// All maps, the user's first, each in the order of their names; and what is odd about them. A file
/// that is wrong is left out, and said.
pub fn all(folder: &Path) -> (Vec<Map>, Vec<String>) {
    let (mut maps, mut said) = (Vec::new(), Vec::new());
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .collect();
    files.sort();
    for file in files {
        match load_file(&file) {
            Ok((map, warnings)) => {
                said.extend(warnings.iter().map(ToString::to_string));
                maps.push(map);
            }
            Err(error) => said.push(error.to_string()),
        }
    }
    for (name, content) in SHIPPED {
        if !maps.iter().any(|map| map.name == *name) {
            match read(name, content, &shipped_file(name), true) {
                Ok((map, _)) => maps.push(map),
                Err(error) => said.push(error.to_string()),
            }
        }
    }
    (maps, said)
}

fn shipped_file(name: &str) -> PathBuf {
    Path::new("presets/controllers").join(format!("{name}.yaml"))
}

/// Reads one file.
///
/// # Errors
/// All that is wrong with it, each with its line.
pub fn load_file(file: &Path) -> Result<(Map, Vec<Warning>)> {
    let one = |problem| Findings { problems: vec![problem], warnings: Vec::new() };
    let content = read_text(file, LIMIT_BYTES).map_err(one)?.ok_or_else(|| {
        Error::usage(format!("{}: there is no such file; name a map", file.display()))
    })?;
    let name = file.file_stem().map(|stem| stem.to_string_lossy()).unwrap_or_default();
    read(&name, &content, file, false)
}

/// Reads the text of a map that stands at `file`.
fn read(name: &str, content: &str, file: &Path, shipped: bool) -> Result<(Map, Vec<Warning>)> {
    let mut reader = Reader::new(file, None);
    let r = &mut reader;
    let tree = r.parse(content, 0);
    let mut root = r.root(&tree, true);
    root.get(r, "version", "1", whole::<u32>(1..=1));
    let title = root.opt(r, "title", text()).unwrap_or_else(|| name.to_owned());
    let _ = root.opt(r, "description", text());
    let matches = root.list(r, "match", &[], text());
    let items = root.items(r, "bindings", "{control: ..., to: ...}");
    if items.len() > MOST {
        r.problem(None, "bindings", format!("found {}, allowed: at most {MOST}", items.len()));
    }
    let mut bindings: Vec<Arc<Binding>> = Vec::new();
    for item in items.iter().take(MOST) {
        let Some(binding) = binding(r, item) else { continue };
        let line = Some(item.line);
        if let Some(first) = bindings.iter().find(|b| fight(b.control, binding.control)) {
            let message = format!(
                "{} is bound at line {} already, to {}; one control steers one parameter, so \
                 delete one",
                binding.control, first.line, first.param.address
            );
            r.problem(line, &item.path, message);
            continue;
        }
        let jumps = |b: &Binding| b.mode == Mode::Absolute && !b.control.is_button();
        let rival = bindings.iter().find(|b| b.param.id == binding.param.id && jumps(b));
        if let Some(first) = rival.filter(|_| jumps(&binding)) {
            let message = format!(
                "{} and {} (line {}) both move {} at once, and it jumps between them; give both \
                 mode: pickup",
                binding.control, first.control, first.line, binding.param.address
            );
            r.warn(line, &item.path, message);
        }
        bindings.push(Arc::new(binding));
    }
    root.close(r);
    let (findings, _) = reader.finish();
    if !findings.problems.is_empty() {
        return Err(findings.into());
    }
    let (name, file) = (name.to_owned(), file.to_path_buf());
    Ok((Map { name, title, file, shipped, matches, bindings }, findings.warnings))
}

/// Whether one message would reach both.
pub fn fight(a: Control, b: Control) -> bool {
    let any = a.channel() == 0 || b.channel() == 0;
    a == b || any && a.on(0) == b.on(0)
}

fn control() -> kind::Kind<Control> {
    kind::Kind::new(Control::FORMS, Control::read)
}

fn binding(r: &mut Reader, item: &Item) -> Option<Binding> {
    let before = r.problem_count();
    let mut s = r.mapping(item);
    let at = |key: &str| format!("{}.{key}", item.path);
    let control = s.opt(r, "control", control());
    let to = s.opt(r, "to", text());
    let mode = s.opt(r, "mode", choice(Mode::NAMES));
    let range = s.list(r, "range", &[], text());
    let curve = s.get(r, "curve", "linear", choice(Curve::NAMES));
    let encoding = s.get(r, "encoding", "twos_complement", choice(Encoding::NAMES));
    let value = s.opt(r, "value", text());
    let fade = s.get(r, "fade", "0", number(0.0..=60.0));
    let lamp = feedback(r, &mut s);
    s.close(r);
    for (key, missing) in [("control", !has(item, "control")), ("to", !has(item, "to"))] {
        if missing {
            r.problem(Some(item.line), &at(key), "is missing");
        }
    }
    if r.problem_count() > before {
        return None;
    }
    let (control, to) = (control?, to?);
    let line = |r: &Reader, key: &str| r.line(&at(key)).or(Some(item.line));
    let param = match param::find(&format!("/{}", to.trim_start_matches('/'))) {
        Ok(param) => param,
        Err(error) => {
            r.problem(line(r, "to"), &at("to"), error.to_string());
            return None;
        }
    };
    let mode = mode.unwrap_or_else(|| Mode::usual(control, param, value.is_some()));
    let mut made = Binding { curve, encoding, ..Binding::new(control, param, mode) };
    made.fade_ms = fade as f32 * 1000.0;
    made.line = item.line;
    if !range.is_empty() {
        match ends(param, &range) {
            Ok(range) => made.range = Some(range),
            Err(message) => r.problem(line(r, "range"), &at("range"), message),
        }
    }
    if let Some(value) = value {
        match admitted(param, &value) {
            Ok(value) => made.value = Some(value),
            Err(error) => r.problem(line(r, "value"), &at("value"), error.to_string()),
        }
    }
    made.feedback = lamp.map(|lamp| lamp.made(&made));
    if let Some(fault) = made.fault().filter(|_| r.problem_count() == before) {
        r.problem(line(r, "mode"), &at("mode"), fault);
    }
    (r.problem_count() == before).then_some(made)
}

fn has(item: &Item, key: &str) -> bool {
    match &item.node.value {
        yaml::Value::Map(entries) => entries.iter().any(|entry| entry.key == key),
        _ => true,
    }
}

/// What a file says of feedback, before it is known what it is for.
#[derive(Default)]
struct Lamp {
    control: Option<Control>,
    follow: Option<bool>,
    on: Option<u8>,
    off: Option<u8>,
}

impl Lamp {
    fn made(self, binding: &Binding) -> Feedback {
        let control = self.control.unwrap_or(binding.control);
        let lamp = self.on.is_some() || self.off.is_some();
        let follows = binding.mode.follows() && !control.is_button() && !lamp;
        match self.follow.unwrap_or(follows) {
            true => Feedback::Follow(control),
            false => {
                Feedback::Lamp { control, on: self.on.unwrap_or(127), off: self.off.unwrap_or(0) }
            }
        }
    }
}

fn feedback(r: &mut Reader, s: &mut Section) -> Option<Lamp> {
    let found = s.entries().iter().find(|entry| entry.key == "feedback");
    if !found.is_some_and(|entry| matches!(entry.node.value, yaml::Value::Map(_))) {
        return s.opt(r, "feedback", flag()).filter(|on| *on).map(|_| Lamp::default());
    }
    let mut s = s.section(r, "feedback");
    let lamp = Lamp {
        control: s.opt(r, "control", control()),
        follow: s.opt(r, "follow", flag()),
        on: s.opt(r, "on", whole(0..=127)),
        off: s.opt(r, "off", whole(0..=127)),
    };
    s.close(r);
    Some(lamp)
}

/// `[1, 2.5]` in the parameter's unit, or `[20%, 80%]` of its way.
fn ends(param: &Param, range: &[String]) -> Result<(f32, f32), String> {
    let [from, to] = range else {
        return Err(format!("found {} values, allowed: two, such as [0, 0.5]", range.len()));
    };
    let end = |text: &str| -> Result<f32, String> {
        if let Some(share) = text.strip_suffix('%') {
            let share = share.trim().parse::<f32>().ok().filter(|s| (0.0..=100.0).contains(s));
            return share
                .map(|share| param.at(share / 100.0))
                .ok_or_else(|| format!("found {text:?}, allowed: 0% to 100%"));
        }
        match admitted(param, text).map_err(|error| error.to_string())? {
            Value::Number(number) => Ok(number),
            _ => Err(format!("{} has no range", param.address)),
        }
    };
    Ok((end(from)?, end(to)?))
}

/// A text of a file as what the parameter keeps.
fn admitted(param: &Param, text: &str) -> Result<Value> {
    let value = match (param.kind, text.to_ascii_lowercase().as_str()) {
        (Kind::Bool, "true" | "yes") => Value::Number(1.0),
        (Kind::Bool, "false" | "no") => Value::Number(0.0),
        _ => Value::from(text),
    };
    param.admit(&value)
}

/// A map as a file that people read and change.
pub fn yaml(title: &str, matches: &[String], bindings: &[Arc<Binding>]) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let matches: Vec<String> = matches.iter().map(|part| quoted(part)).collect();
    let mut text = format!(
        "# What each control does; docs/midi.md explains every key.\nversion: 1\ntitle: {}\n\
         match: [{}]\nbindings:\n",
        quoted(title),
        matches.join(", ")
    );
    for binding in bindings {
        text.push_str("  - ");
        text.push_str(&binding.yaml());
        text.push('\n');
    }
    text
}

/// Writes a map to the user's folder; one of the same name gives way to it.
///
/// # Errors
/// `Usage`: the name is none for a file; else the disk's.
pub fn save(
    folder: &Path,
    name: &str,
    matches: &[String],
    bindings: &[Arc<Binding>],
) -> Result<PathBuf> {
    let name = name::checked(name, "map")?;
    let file = folder.join(format!("{name}.yaml"));
    let text = yaml(name, matches, bindings);
    // What is written can be read.
    read(name, &text, &file, false)?;
    std::fs::create_dir_all(folder)
        .map_err(|e| Error::io(format!("cannot make {}", folder.display()), e))?;
    fsio::write_atomic(&file, text.as_bytes())?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<(Map, Vec<Warning>)> {
        read("test", text, Path::new("presets/controllers/test.yaml"), false)
    }

    fn message(bindings: &str) -> String {
        parse(&format!("bindings:\n{bindings}")).unwrap_err().to_string()
    }

    #[test]
    fn the_shipped_maps_are_right_and_say_what_they_are() {
        let (maps, said) = all(Path::new("nowhere"));
        assert_eq!(said, Vec::<String>::new());
        assert_eq!(maps.len(), SHIPPED.len());
        for map in &maps {
            let (_, text) = SHIPPED.iter().find(|(name, _)| *name == map.name).unwrap();
            assert!(map.bindings.len() >= 8, "{}", map.name);
            assert_eq!(map.matches.is_empty(), map.name == GENERIC, "{}", map.name);
            assert!(map.name == GENERIC || text.contains("Untested on the hardware"));
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("presets/controllers");
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), SHIPPED.len());
    }

    #[test]
    fn a_binding_says_as_little_as_it_needs() {
        let (map, _) = parse(
            "match: pads\nbindings:\n\
             - {control: cc 1.21, to: fx/zoom, range: [1, 2], curve: exp, fade: 0.5}\n\
             - {control: note 1.36, to: /fx/blackout, feedback: {on: 3}}\n\
             - {control: note 1.37, to: fx/strobe, value: 8, mode: momentary, feedback: true}\n\
             - {control: note 1.38, to: preset/recall, value: neon}\n\
             - {control: note 1.39, to: fx/flash}\n\
             - {control: \"cc *.1\", to: fx/blur, range: [0%, 50%], feedback: true}\n",
        )
        .unwrap();
        let modes: Vec<_> = map.bindings.iter().map(|b| b.mode.name()).collect();
        assert_eq!(modes, ["absolute", "toggle", "momentary", "set", "trigger", "absolute"]);
        let zoom = &map.bindings[0];
        assert_eq!((zoom.value_at(0.0), zoom.value_at(1.0), zoom.fade_ms), (1.0, 2.0, 500.0));
        assert!((zoom.place_of(zoom.value_at(0.3)) - 0.3).abs() < 1e-3);
        let lamp = Feedback::Lamp { control: Control::Note(1, 36), on: 3, off: 0 };
        assert_eq!(map.bindings[1].feedback, Some(lamp));
        assert_eq!(map.bindings[5].feedback, Some(Feedback::Follow(Control::Cc(0, 1))));
        assert!(map.is_for(&["My PADS 2"]) && !map.is_for(&["keys"]));
        // What is written is what was read.
        let again = yaml("test", &map.matches, &map.bindings);
        let (again, _) = parse(&again).unwrap();
        for (a, b) in map.bindings.iter().zip(&again.bindings) {
            assert_eq!(Binding { line: 0, ..(**a).clone() }, Binding { line: 0, ..(**b).clone() });
        }
    }

    #[test]
    fn all_that_is_wrong_is_said_with_line_and_nearest_name() {
        for (bindings, says) in [
            (
                "- {control: cc 1.21, to: fx/zom}\n",
                "test.yaml:2: bindings[0].to: no parameter \
              /fx/zom; did you mean /fx/zoom?",
            ),
            (
                "- {control: cc 1.21, to: fx/zoom}\n- {control: cc 1.21, to: fx/hue}\n",
                "test.yaml:3: bindings[1]: cc 1.21 is bound at line 2 already, to /fx/zoom",
            ),
            (
                "- {control: \"cc *.2\", to: fx/zoom}\n- {control: cc 3.2, to: fx/hue}\n",
                "bound at line 2",
            ),
            (
                "- {control: knob 3, to: fx/zoom}\n",
                "control: found \"knob 3\", allowed: cc CHANNEL",
            ),
            ("- {to: fx/zoom}\n", "bindings[0].control: is missing"),
            ("- {control: cc 1.1, to: fx/zoom, range: [0, 2]}\n", "0 is out of range"),
            ("- {control: cc 1.1, to: fx/zoom, mode: trigger}\n", "is no trigger"),
            ("- {control: cc 1.1, to: fx/flash, mode: absolute}\n", "is a trigger"),
            ("- {control: cc 1.1, to: preset/recall}\n", "value"),
            ("- {control: note 1.1, to: fx/zoom, mode: pickup}\n", "is a button"),
            ("- {control: cc 1.1, to: fx/zoom, mod: pickup}\n", "did you mean bindings[0].mode?"),
            ("- {control: cc 1.1, to: fx/mirror, value: octo}\n", "none of its choices"),
        ] {
            let error = message(bindings);
            assert!(error.contains(says), "{says}\n{error}");
        }
        let (_, warnings) = parse(
            "bindings:\n- {control: cc 1.1, to: fx/zoom}\n- {control: cc 1.2, to: fx/zoom}\n",
        )
        .unwrap();
        assert!(warnings[0].to_string().contains("mode: pickup"), "{warnings:?}");
    }

    #[test]
    fn a_users_map_wins_and_a_broken_one_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let one = [Arc::new(Binding::new(
            Control::Cc(1, 7),
            param::find("/fx/hue").unwrap(),
            Mode::Pickup,
        ))];
        let file = save(folder.path(), "generic", &["pads \"x\"".into()], &one).unwrap();
        std::fs::write(folder.path().join("bad.yaml"), "bindings: [{control: x}]").unwrap();
        let (maps, said) = all(folder.path());
        let generic = maps.iter().find(|map| map.name == GENERIC).unwrap();
        assert_eq!((generic.bindings.len(), generic.file.clone()), (1, file));
        assert_eq!(generic.matches, ["pads \"x\""]);
        assert!(said[0].contains("bad.yaml"), "{said:?}");
        assert!(save(folder.path(), "../x", &[], &one).is_err());
    }
}
