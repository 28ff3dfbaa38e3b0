//! Presets that are written: what is set at present, under a name.
//!
//! Holds: what is written reads as the same preset. A file is replaced only where that was asked
//! for, and whole.

use std::fmt::Write;
use std::path::Path;

use super::{LIMIT_BYTES, LOOK, NEVER_RESET, Preset, PresetKind, STYLE, read};
use crate::base::error::{Error, Result};
use crate::base::fsio;
use crate::config::name;
use crate::param::{Kind, Param, ParamId, REGISTRY, Value};

/// All parameters at one moment.
pub struct Snapshot(Vec<(&'static Param, Value)>);

impl Snapshot {
    /// `value` says what each is.
    pub fn new(value: impl Fn(&'static Param) -> Value) -> Self {
        let kept = REGISTRY.iter().filter(|param| param.kind != Kind::Trigger);
        Snapshot(kept.map(|param| (param, value(param))).collect())
    }

    /// As a preset. Of effects and texts only what is set; what a later recall is not to touch is
    /// left out, such as a blackout.
    pub fn preset(&self, name: &str, title: &str, kind: PresetKind) -> Preset {
        let groups: &[&[&str]] = match kind {
            PresetKind::Look => &[LOOK],
            PresetKind::Style => &[STYLE],
            PresetKind::Scene => &[LOOK, STYLE],
        };
        let values = self.0.iter().filter(|(param, value)| {
            let here = groups.iter().any(|groups| groups.contains(&param.group()));
            // What is on air now is of the moment, as a blackout is.
            let momentary = NEVER_RESET.contains(&param.id)
                || param.group() == "overlay"
                    && !param.address.ends_with("/where")
                    && !is_place(param)
                || param.group() == "playback"
                    && matches!(param.kind, Kind::Bool | Kind::Int { .. })
                    && param.id != ParamId::CycleBars;
            let set = match value {
                Value::Number(number) if param.group() == "mod" => {
                    let slot = param.address.rsplit_once('/').map_or("", |(slot, _)| slot);
                    let source = format!("{slot}/source");
                    // Nothing of a modulator that is off.
                    let on = self.0.iter().any(|(p, value)| {
                        p.address == source && *value != Value::Number(p.default)
                    });
                    on && *number != param.default
                }
                Value::Number(number)
                    if matches!(param.group(), "fx" | "overlay" | "quantise" | "listen") =>
                {
                    *number != param.default
                }
                Value::Text(text) => !text.is_empty(),
                _ => true,
            };
            here && !momentary && set
        });
        Preset {
            name: name.to_owned(),
            title: title.to_owned(),
            description: String::new(),
            kind,
            whole: kind != PresetKind::Style,
            values: values.cloned().collect(),
        }
    }

    /// What each parameter was.
    pub fn values(&self) -> &[(&'static Param, Value)] {
        &self.0
    }
}

/// Where and how large an overlay is; whether it shows, and what it says, is of the moment.
fn is_place(param: &Param) -> bool {
    matches!(param.kind, Kind::Float { .. }) && param.address.matches('/').count() == 3
}

/// Writes a preset as `NAME.yaml` into `folder`, which is made.
///
/// # Errors
/// `Usage`: the name cannot be used; `Conflict`: there is one of that name, and `over` does not
/// say to replace it; `Io`.
pub fn save(folder: &Path, preset: &Preset, over: bool) -> Result<()> {
    let name = name::checked(&preset.name, "preset")?;
    let file = folder.join(format!("{name}.yaml"));
    if file.exists() && !over {
        return Err(Error::conflict(format!(
            "there is a preset {name:?}; choose another name, or say that it is to be replaced"
        )));
    }
    let text = text_of(preset);
    if text.len() as u64 > LIMIT_BYTES {
        return Err(Error::usage(format!("preset {name:?} would be over {LIMIT_BYTES} bytes")));
    }
    // What cannot be read again must not be written.
    read(name, &text, &file)?;
    std::fs::create_dir_all(folder)
        .map_err(|e| Error::io(format!("cannot make {}", folder.display()), e))?;
    fsio::write_atomic(&file, text.as_bytes())
}

/// Removes the preset of that name from `folder`.
///
/// # Errors
/// `NotFound`: there is no file; a shipped one cannot be removed.
pub fn remove(folder: &Path, name: &str) -> Result<()> {
    let name = name::checked(name, "preset")?;
    let file = folder.join(format!("{name}.yaml"));
    match std::fs::remove_file(&file) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(Error::not_found(format!(
            "there is no {}; presets that are built in stay",
            file.display()
        ))),
        Err(e) => Err(Error::io(format!("cannot remove {}", file.display()), e)),
    }
}

fn text_of(preset: &Preset) -> String {
    let mut text = String::from("version: 1\n");
    let _ = writeln!(text, "title: {}", quoted(&preset.title));
    if !preset.description.is_empty() {
        let _ = writeln!(text, "description: {}", quoted(&preset.description));
    }
    if preset.whole == (preset.kind == PresetKind::Style) {
        let _ = writeln!(text, "rest: {}", if preset.whole { "default" } else { "keep" });
    }
    for (section, groups) in [("look", LOOK), ("style", STYLE)] {
        let here = preset.values.iter().filter(|(param, _)| groups.contains(&param.group()));
        let lines: Vec<String> = here.map(|(param, value)| line(param, value)).collect();
        if !lines.is_empty() {
            let _ = write!(text, "{section}:\n{}", lines.concat());
        }
    }
    text
}

fn line(param: &Param, value: &Value) -> String {
    let address = &param.address[1..];
    let value = match (param.kind, value) {
        (Kind::Bool, Value::Number(on)) => if *on > 0.5 { "on" } else { "off" }.to_owned(),
        (Kind::Enum(choices), Value::Number(place)) => quoted(choices[*place as usize]),
        (_, Value::Number(number)) => number.to_string(),
        (_, Value::Text(text)) => quoted(text),
        (_, Value::Nothing) => return String::new(),
    };
    format!("  {address}: {value}\n")
}

/// A JSON string is a YAML string.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::error::Kind as ErrorKind;
    use crate::config::preset::load;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever is set, what is saved is what is loaded again.
        #[test]
        fn what_is_saved_is_what_is_loaded(
            places in proptest::collection::vec(0.0f32..=1.0, REGISTRY.len()),
            words in "[ -~äß€\n\t\"':#{}-]{0,40}",
            title in "\\PC{1,20}",
        ) {
            let folder = tempfile::tempdir().unwrap();
            let snapshot = Snapshot::new(|param| match param.kind {
                Kind::Text { .. } => param.admit(&words.as_str().into()).unwrap(),
                _ => Value::Number(param.at(places[param.id as usize])),
            });
            for kind in [PresetKind::Look, PresetKind::Style, PresetKind::Scene] {
                let preset = snapshot.preset("mine", title.trim(), kind);
                save(folder.path(), &preset, true).unwrap();
                let mut loaded = load("mine", &[folder.path().to_path_buf()]).unwrap();
                loaded.values.sort_by_key(|(param, _)| param.id as usize);
                prop_assert_eq!(&loaded.values, &preset.values);
                prop_assert_eq!(loaded.kind, preset.kind);
            }
        }
    }

    #[test]
    fn a_preset_is_replaced_only_when_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let snapshot = Snapshot::new(|param| Value::Number(param.at(0.3)));
        let preset = snapshot.preset("mine", "Mine", PresetKind::Look);
        save(folder.path(), &preset, false).unwrap();
        let again = save(folder.path(), &preset, false).unwrap_err();
        assert_eq!(again.kind, ErrorKind::Conflict);
        remove(folder.path(), "mine").unwrap();
        assert_eq!(remove(folder.path(), "mine").unwrap_err().kind, ErrorKind::NotFound);
        for name in ["../mine", "", "a/b"] {
            let preset = Preset { name: name.into(), ..preset.clone() };
            assert_eq!(save(folder.path(), &preset, true).unwrap_err().kind, ErrorKind::Usage);
        }
    }
}
