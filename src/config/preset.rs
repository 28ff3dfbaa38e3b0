//! Presets: looks by name, `presets/NAME.yaml`.
//!
//! Holds: a loaded preset only names parameters that exist, with values in their range. The
//! shipped presets are part of the program, so that they are found from any folder; a file of the
//! same name wins.

use std::path::{Path, PathBuf};

use super::kind::{Kind, flag, number, text, whole};
use super::name;
use super::problem::read_text;
use super::read::{Reader, Section, shown_value};
use super::yaml::Value;
use crate::base::error::{Error, Result};
use crate::param::{self, Param, REGISTRY};

/// Parameter values that are set together.
#[derive(Clone, Debug)]
pub struct Preset {
    pub name: String,
    pub title: String,
    pub description: String,
    pub look: Vec<(&'static Param, f32)>,
}

const SHIPPED: &[(&str, &str)] = &[
    ("clean", include_str!("../../presets/clean.yaml")),
    ("dusk", include_str!("../../presets/dusk.yaml")),
    ("neon", include_str!("../../presets/neon.yaml")),
    ("noir", include_str!("../../presets/noir.yaml")),
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
    let look = root.section(r, "look");
    let look = parameters(r, &look);
    root.close(r);
    let (findings, _) = reader.finish();
    if findings.problems.is_empty() {
        Ok(Preset { name: name.to_owned(), title, description, look })
    } else {
        Err(findings.into())
    }
}

/// The values of a look; its keys are addresses, checked against the registry.
fn parameters(r: &mut Reader, section: &Section) -> Vec<(&'static Param, f32)> {
    let mut look: Vec<(&'static Param, f32)> = Vec::new();
    for entry in section.entries() {
        let key = format!("look.{}", entry.key);
        let line = Some(entry.line);
        let param = match resolve(&entry.key) {
            Ok(param) => param,
            Err(e) => {
                r.problem(line, &key, e.to_string());
                continue;
            }
        };
        let Value::Text(text) = &entry.node.value else {
            r.problem(line, &key, "found no single value, allowed: a number");
            continue;
        };
        match value(param).read(text).map(|v| param.check(v)) {
            Some(Ok(value)) => {
                look.retain(|(p, _)| p.id != param.id);
                look.push((param, value));
            }
            Some(Err(e)) => r.problem(line, &key, e.to_string()),
            None => {
                let allowed = value(param).allowed;
                let found = shown_value(text, false);
                r.problem(line, &key, format!("found {found}, allowed: {allowed}"));
            }
        }
    }
    look
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

/// `/fx/zoom`, `/vfaq/fx/zoom`, `fx/zoom`, or `zoom` alone where only one parameter ends so.
fn resolve(key: &str) -> Result<&'static Param> {
    if key.starts_with('/') {
        return param::find(key);
    }
    let ending = format!("/{key}");
    let mut same = REGISTRY.iter().filter(|p| p.address.ends_with(&ending));
    match (same.next(), same.next()) {
        (Some(param), None) => Ok(param),
        _ if key.contains('/') => param::find(&ending),
        _ => param::find(&format!("/fx/{key}")),
    }
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
            assert!(!preset.look.is_empty(), "{name}");
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
            assert_eq!((preset.look[0].0.address, preset.look[0].1), ("/fx/zoom", 1.5), "{key}");
        }
        assert_eq!(parse("look: {blackout: on}").unwrap().look[0].1, 1.0);
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
    fn an_unknown_preset_lists_those_that_exist() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("mine.yaml"), "look: {zoom: 2}").unwrap();
        let folders = [folder.path().to_path_buf()];
        let error = load("neo", &folders).unwrap_err().to_string();
        assert!(error.contains("clean, dusk, mine, neon, noir"), "{error}");
        assert_eq!(load("mine", &folders).unwrap().look.len(), 1);
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
