//! Presets: looks, styles and scenes by name, `presets/NAME.yaml`.
//!
//! Holds: a loaded preset only names parameters that exist, with values that they may have. The
//! shipped presets are part of the program, so that they are found from any folder; a file of the
//! same name wins.

mod write;

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::kind::{Kind, flag, number, text, whole};
use super::name;
use super::problem::read_text;
use super::read::{Reader, Section, shown_value};
use super::yaml::Value;
use crate::base::error::{Error, Result};
use crate::param::{self, Change, Op, Param, ParamId, REGISTRY};

pub use write::{Snapshot, remove, save};

/// Parameters that are set together.
#[derive(Clone, Debug, PartialEq)]
pub struct Preset {
    pub name: String,
    pub title: String,
    pub description: String,
    pub kind: PresetKind,
    /// Effects and speed go to their defaults where it does not name them.
    pub whole: bool,
    /// What it names, each once.
    pub values: Vec<(&'static Param, param::Value)>,
}

/// What a preset is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PresetKind {
    /// What is done to the picture.
    Look,
    /// What the generator is to make.
    Style,
    /// Both.
    Scene,
}

/// Groups of parameters that a section of a file may name.
const LOOK: &[&str] = &["fx", "playback", "overlay", "mod", "quantise", "listen"];
/// Of those, whose short names come first.
const SHORT: &[&str] = &["fx", "playback", "overlay"];
const STYLE: &[&str] = &["prompt", "gen"];

/// In a whole look, what stays as it is: nobody wants a light to go on because a look was recalled.
const NEVER_RESET: &[ParamId] = &[ParamId::Blackout, ParamId::BlackoutFade];

impl Preset {
    /// What it changes. A whole one puts effects that it does not name to their defaults, and switches
    /// modulators off that it does not name; of one that it names in part the rest is the default.
    pub fn changes(&self, fade_ms: f32) -> Vec<Change> {
        let named = |param: &Param| self.values.iter().any(|(p, _)| p.id == param.id);
        let of_one = |slot: &str, address: &str| {
            address.strip_prefix(slot).is_some_and(|part| part.starts_with('/'))
        };
        let modulator = |p: &Param| {
            let slot = p.address.rsplit_once('/').map_or("", |(slot, _)| slot);
            let in_use = self.values.iter().any(|(p, _)| of_one(slot, p.address));
            p.group() == "mod" && (in_use || p.address.ends_with("/source"))
        };
        let rest = REGISTRY.iter().filter(|p| {
            self.whole
                && (p.group() == "fx" || p.id == ParamId::Speed || modulator(p))
                && p.is_number()
                && !NEVER_RESET.contains(&p.id)
                && !named(p)
        });
        let rest = rest.map(|param| (param, param::Value::Number(param.default)));
        let all = rest.chain(self.values.iter().cloned());
        all.map(|(param, value)| Change { param, op: Op::Set(value), fade_ms }).collect()
    }
}

const SHIPPED: &[(&str, &str)] = &[
    ("ambient", include_str!("../../presets/ambient.yaml")),
    ("breathe", include_str!("../../presets/breathe.yaml")),
    ("clean", include_str!("../../presets/clean.yaml")),
    ("concrete", include_str!("../../presets/concrete.yaml")),
    ("depth", include_str!("../../presets/depth.yaml")),
    ("dnb", include_str!("../../presets/dnb.yaml")),
    ("drift", include_str!("../../presets/drift.yaml")),
    ("dusk", include_str!("../../presets/dusk.yaml")),
    ("house", include_str!("../../presets/house.yaml")),
    ("kick", include_str!("../../presets/kick.yaml")),
    ("neon", include_str!("../../presets/neon.yaml")),
    ("noir", include_str!("../../presets/noir.yaml")),
    ("pulse", include_str!("../../presets/pulse.yaml")),
    ("rave", include_str!("../../presets/rave.yaml")),
    ("silk", include_str!("../../presets/silk.yaml")),
    ("techno", include_str!("../../presets/techno.yaml")),
    ("velvet", include_str!("../../presets/velvet.yaml")),
    ("voltage", include_str!("../../presets/voltage.yaml")),
    ("warehouse", include_str!("../../presets/warehouse.yaml")),
];

const LIMIT_BYTES: u64 = 64 << 10;

/// Loads a preset from the first of the folders that has it, else the shipped one.
pub fn load(name: &str, folders: &[PathBuf]) -> Result<Preset> {
    let name = name::checked(name, "preset")?;
    for folder in folders {
        let file = folder.join(format!("{name}.yaml"));
        if let Some(text) = read_text(&file, LIMIT_BYTES).map_err(one)? {
            return read(name, &text, &file);
        }
    }
    match SHIPPED.iter().find(|(shipped, _)| *shipped == name) {
        Some((_, text)) => read(name, text, &Path::new("presets").join(format!("{name}.yaml"))),
        None => Err(Error::usage(format!(
            "there is no preset {name:?}; these exist: {}",
            names(folders).join(", ")
        ))),
    }
}

/// Loads the preset in `file`, wherever that is.
pub fn load_file(file: &Path) -> Result<Preset> {
    let name = file.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    match read_text(file, LIMIT_BYTES).map_err(one)? {
        Some(text) => read(name, &text, file),
        None => Err(Error::not_found(format!("there is no file {}", file.display()))),
    }
}

/// The names of all presets that [`load`] finds, sorted.
pub fn names(folders: &[PathBuf]) -> Vec<String> {
    let mut names: Vec<String> = SHIPPED.iter().map(|(name, _)| (*name).to_owned()).collect();
    for entry in folders.iter().filter_map(|f| std::fs::read_dir(f).ok()).flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|e| e == "yaml") {
            names.extend(path.file_stem().and_then(|s| s.to_str()).map(str::to_owned));
        }
    }
    names.sort();
    names.dedup();
    names
}

fn one(problem: super::Problem) -> Error {
    super::Findings { problems: vec![problem], warnings: Vec::new() }.into()
}

fn read(name: &str, content: &str, file: &Path) -> Result<Preset> {
    let mut reader = Reader::new(file, None);
    let r = &mut reader;
    let tree = r.parse(content, 0);
    let mut root = r.root(&tree, true);
    root.get(r, "version", "1", whole::<u32>(1..=1));
    let title = root.opt(r, "title", text()).unwrap_or_else(|| name.to_owned());
    let description = root.opt(r, "description", text()).unwrap_or_default();
    let rest = root.opt(r, "rest", rest());
    let look = root.section(r, "look");
    let look = parameters(r, &look, LOOK);
    let style = root.section(r, "style");
    let style = parameters(r, &style, STYLE);
    root.close(r);
    let (findings, _) = reader.finish();
    if !findings.problems.is_empty() {
        return Err(findings.into());
    }
    let kind = match (look.is_empty(), style.is_empty()) {
        (_, true) => PresetKind::Look,
        (true, false) => PresetKind::Style,
        (false, false) => PresetKind::Scene,
    };
    let whole = rest.unwrap_or(kind != PresetKind::Style);
    let values = look.into_iter().chain(style).collect();
    Ok(Preset { name: name.to_owned(), title, description, kind, whole, values })
}

/// What becomes of effects that a preset does not name; `true`: they go to their defaults.
fn rest() -> Kind<bool> {
    Kind::new("default, keep", |t| match t.trim() {
        "default" => Some(true),
        "keep" => Some(false),
        _ => None,
    })
}

/// The values of a section; its keys are addresses, checked against the registry.
fn parameters(
    r: &mut Reader,
    section: &Section,
    groups: &[&str],
) -> Vec<(&'static Param, param::Value)> {
    let part = if groups == LOOK { "look" } else { "style" };
    let mut values: Vec<(&'static Param, param::Value)> = Vec::new();
    for entry in section.entries() {
        let key = format!("{part}.{}", entry.key);
        let line = Some(entry.line);
        let param = match resolve(&entry.key, groups) {
            Ok(param) => param,
            Err(e) => {
                r.problem(line, &key, e.to_string());
                continue;
            }
        };
        if param.kind == param::Kind::Trigger {
            r.problem(line, &key, format!("{} is a trigger, which has no value", param.address));
            continue;
        }
        let Value::Text(text) = &entry.node.value else {
            r.problem(line, &key, "found no single value, allowed: a number or text");
            continue;
        };
        let value = match param.kind {
            param::Kind::Text { .. } => Some(param.admit(&text.as_str().into())),
            _ => value(param).read(text).map(|v| param.admit(&v.into())),
        };
        match value {
            Some(Ok(value)) => {
                values.retain(|(p, _)| p.id != param.id);
                values.push((param, value));
            }
            Some(Err(e)) => r.problem(line, &key, e.to_string()),
            None => {
                let allowed = self::value(param).allowed;
                let found = shown_value(text, false);
                r.problem(line, &key, format!("found {found}, allowed: {allowed}"));
            }
        }
    }
    values
}

fn value(param: &Param) -> Kind<f32> {
    match param.kind {
        param::Kind::Text { .. } | param::Kind::Trigger => {
            Kind::new("nothing: it is no number", |_| None)
        }
        param::Kind::Enum(choices) => {
            let named = choices.iter().zip(0u8..);
            let named: Vec<_> = named.map(|(name, at)| (*name, f32::from(at))).collect();
            let allowed = choices.join(", ");
            Kind::new(&allowed, move |t| {
                let t = t.trim();
                let found = named.iter().find(|(name, _)| name.eq_ignore_ascii_case(t));
                found.map(|(_, at)| *at).or_else(|| t.parse().ok())
            })
        }
        param::Kind::Float { .. } | param::Kind::Int { .. } => {
            let mut kind = number(f64::MIN..=f64::MAX).map(|n| n as f32);
            kind.allowed = "a number".to_owned();
            kind
        }
        param::Kind::Bool => Kind::new("true or false", |t| match t.trim() {
            "0" => Some(0.0),
            "1" => Some(1.0),
            t => flag().read(t).map(|on| f32::from(u8::from(on))),
        }),
    }
}

/// `/fx/zoom`, `/vfaq/fx/zoom`, `fx/zoom`, or `zoom` alone where only one parameter of the groups
/// ends so.
fn resolve(key: &str, groups: &[&str]) -> Result<&'static Param> {
    let here = |param: &Param| groups.contains(&param.group());
    let ending = format!("/{key}");
    let only = |wanted: &dyn Fn(&Param) -> bool| {
        let ends = |p: &&Param| !key.starts_with('/') && p.address.ends_with(&ending);
        let mut same = REGISTRY.iter().filter(ends).filter(|p| wanted(p));
        same.next().filter(|_| same.next().is_none())
    };
    let first = |param: &Param| here(param) && SHORT.contains(&param.group());
    let param = match only(&first).or_else(|| only(&here)).or_else(|| only(&|_| true)) {
        Some(param) => param,
        _ if key.starts_with('/') => param::find(key)?,
        _ if key.contains('/') => param::find(&ending)?,
        _ => param::find(&format!("/{}/{key}", groups[0]))?,
    };
    if !here(param) {
        let belongs = if STYLE.contains(&param.group()) { "style" } else { "look" };
        let known = LOOK.contains(&param.group()) || STYLE.contains(&param.group());
        return Err(Error::usage(match known {
            true => format!("{} belongs under {belongs}:", param.address),
            false => format!("{} cannot be in a preset", param.address),
        }));
    }
    Ok(param)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::error::Kind as ErrorKind;

    fn parse(text: &str) -> Result<Preset> {
        read("test", text, Path::new("presets/test.yaml"))
    }

    fn message(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn shipped_presets_are_found_from_anywhere_and_described() {
        for name in names(&[]) {
            let preset = load(&name, &[]).unwrap();
            assert!(!preset.values.is_empty(), "{name}");
            assert!(preset.description.len() > 20 && preset.title != preset.name, "{name}");
        }
    }

    #[test]
    fn every_shipped_file_is_part_of_the_program() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("presets");
        let embedded: Vec<_> = SHIPPED.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(names(&[folder]), embedded);
    }

    #[test]
    fn the_reference_names_every_preset() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
        let reference = std::fs::read_to_string(file).unwrap();
        let presets = names(&[]).into_iter().map(|name| {
            let preset = load(&name, &[]).unwrap();
            format!("| `{name}` | {} |", preset.description)
        });
        for row in presets {
            assert!(reference.contains(&row), "docs/configuration.md lacks {row}");
        }
    }

    #[test]
    fn a_parameter_has_long_and_short_names() {
        for key in ["/vfaq/fx/zoom", "/fx/zoom", "fx/zoom", "zoom"] {
            let preset = parse(&format!("look:\n  {key}: 1.5\n")).unwrap();
            let (param, value) = &preset.values[0];
            assert_eq!((param.address, value), ("/fx/zoom", &1.5.into()), "{key}");
        }
        assert_eq!(parse("look: {blackout: on}").unwrap().values[0].1, 1.0.into());
        assert_eq!(parse("look: {mirror: quad}").unwrap().values[0].1, 3.0.into());
    }

    #[test]
    fn all_that_is_wrong_is_said_with_line_and_nearest_name() {
        let error = message("look:\n  fx/zom: 2\n  hue: 999\n  zoom: much\ntitel: x\n");
        for part in [
            "presets/test.yaml:2: look.fx/zom: no parameter /fx/zom; did you mean /fx/zoom?",
            "test.yaml:3: look.hue: /fx/hue: 999 is out of range; send -180 to 180",
            "test.yaml:4: look.zoom: found \"much\", allowed: a number",
            "test.yaml:5: titel: unknown key; did you mean title?",
        ] {
            assert!(error.contains(part), "{part}\n{error}");
        }
        assert!(message("version: 2").contains("version: found \"2\""));
    }

    #[test]
    fn what_a_file_names_says_what_it_is() {
        let kind = |text: &str| parse(text).unwrap().kind;
        assert_eq!(kind("look: {zoom: 2}"), PresetKind::Look);
        assert_eq!(kind("style: {text: moss, denoise: 0.3}"), PresetKind::Style);
        assert_eq!(kind("look: {zoom: 2}\nstyle: {text: moss}"), PresetKind::Scene);
        let error =
            message("look: {denoise: 0.3}\nstyle: {fx/zoom: 2, /preset/recall: a, flash: 1}");
        for part in ["belongs under style:", "belongs under look:", "cannot be in a preset"] {
            assert!(error.contains(part), "{part}\n{error}");
        }
        assert!(message("look: {flash: 1}").contains("is a trigger"));
    }

    #[test]
    fn a_whole_look_takes_back_what_another_left_but_never_a_blackout() {
        let zoom = parse("look: {zoom: 2}").unwrap();
        let changes = zoom.changes(500.0);
        let of = |id| changes.iter().find(|c| c.param.id == id).map(|c| c.op.clone());
        assert_eq!(of(ParamId::Zoom), Some(Op::Set(2.0.into())));
        assert_eq!(of(ParamId::Hue), Some(Op::Set(0.0.into())));
        assert_eq!(of(ParamId::Speed), Some(Op::Set(1.0.into())));
        assert_eq!((of(ParamId::Blackout), of(ParamId::Hold)), (None, None));
        let kept = parse("rest: keep\nlook: {zoom: 2}").unwrap().changes(0.0);
        assert_eq!(kept.len(), 1);
        assert_eq!(parse("style: {text: moss}").unwrap().changes(0.0).len(), 1);
    }

    #[test]
    fn an_unknown_preset_lists_those_that_exist() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("mine.yaml"), "look: {zoom: 2}").unwrap();
        let folders = [folder.path().to_path_buf()];
        let error = load("neo", &folders).unwrap_err().to_string();
        assert!(error.contains("house, kick, mine, neon, noir"), "{error}");
        assert_eq!(load("mine", &folders).unwrap().values.len(), 1);
    }

    #[test]
    fn a_file_of_the_same_name_wins() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("neon.yaml"), "title: Mine\n").unwrap();
        assert_eq!(load("neon", &[folder.path().to_path_buf()]).unwrap().title, "Mine");
    }

    #[test]
    fn names_that_lead_out_of_the_folder_are_refused() {
        for name in ["../neon", "a/b", "", "..", "/etc/passwd"] {
            let error = load(name, &[PathBuf::from(".")]).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Usage, "{name}");
        }
    }
}
