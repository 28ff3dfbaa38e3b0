//! Presets in a running show: recalled, morphed between, saved, and taken back.
//!
//! Holds: a recall is one list of changes, made whole with one frame, and can be undone. Nothing
//! here knows how a change is carried out: it goes onto the board like anybody's.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::base::error::{Error, Result};
use crate::config::preset::{self, Preset, PresetKind, Snapshot};
use crate::param::{Board, Change, From, Kind, Op, Param, ParamId, Value};

/// Recalls that can be taken back.
const UNDO: usize = 16;

/// Stands for what is set at the moment, as an end of a morph.
const NOW: &str = "now";

pub struct Presets {
    board: Arc<Board>,
    /// Where files are looked for; the first is where they are saved.
    folders: Vec<PathBuf>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What recalls changed, as it was before; the latest last.
    undo: VecDeque<Vec<Change>>,
    ends: [Option<End>; 2],
}

/// An end of the morph.
struct End {
    name: Arc<str>,
    values: Vec<(&'static Param, Value)>,
}

impl Presets {
    pub fn new(board: Arc<Board>, folder: PathBuf) -> Self {
        Presets { board, folders: vec![folder], state: Mutex::default() }
    }

    /// All that can be recalled, by name; one that cannot be read is left out, and told.
    pub fn list(&self) -> Vec<Preset> {
        let load = |name: String| match preset::load(&name, &self.folders) {
            Ok(preset) => Some(preset),
            Err(error) => {
                tracing::warn!("preset {name}: {error}");
                None
            }
        };
        preset::names(&self.folders).into_iter().filter_map(load).collect()
    }

    /// Whether a parameter that names a preset may have this value.
    ///
    /// # Errors
    /// Lists those that there are; or what is wrong with the file.
    pub fn check(&self, param: &Param, value: &Value) -> Result<()> {
        let Value::Text(name) = value else { return Ok(()) };
        match param.id {
            ParamId::MorphA | ParamId::MorphB if &**name == NOW => Ok(()),
            ParamId::Recall
            | ParamId::MorphA
            | ParamId::MorphB
            | ParamId::OnBuild
            | ParamId::OnDrop
            | ParamId::OnBreakdown
                if !name.is_empty() =>
            {
                preset::load(name, &self.folders).map(drop)
            }
            _ => Ok(()),
        }
    }

    /// Sets what the preset says, within the time of `/preset/fade`.
    pub fn recall(&self, name: &str, from: &From) -> Result<()> {
        if name.is_empty() {
            return Ok(());
        }
        let preset = preset::load(name, &self.folders)?;
        let changes = preset.changes(self.fade_ms());
        let before = |change: &Change| {
            let op = Op::Set(self.board.value(change.param));
            Change { param: change.param, op, fade_ms: change.fade_ms }
        };
        let before = changes.iter().map(before).collect();
        self.board.apply_all(&changes, &by(name, from))?;
        let mut state = self.state();
        if state.undo.len() == UNDO {
            state.undo.pop_front();
        }
        state.undo.push_back(before);
        Ok(())
    }

    /// The texts of the preset that a show starts with; its numbers are there from the first frame.
    pub fn begin(&self, name: &str) -> Result<()> {
        let mut changes = preset::load(name, &self.folders)?.changes(0.0);
        changes.retain(|change| matches!(change.op, Op::Set(Value::Text(_))));
        let from = From { source: format!("preset {name}").into(), ..From::default() };
        self.board.apply_all(&changes, &from).map(drop)
    }

    /// Takes the last recall back.
    ///
    /// # Errors
    /// `NotFound`: there is none.
    pub fn undo(&self, from: &From) -> Result<()> {
        let before = self.state().undo.pop_back();
        let before = before.ok_or_else(|| Error::not_found("no preset was recalled yet"))?;
        self.board.apply_all(&before, &by("undo", from)).map(drop)
    }

    /// Follows a change of `/preset/morph` and its ends.
    pub fn morph(&self, changed: &Param, from: &From) -> Result<()> {
        let mut state = self.state();
        let ends = [(ParamId::MorphA, 0), (ParamId::MorphB, 1)];
        for (id, place) in ends {
            let name = self.board.text(id);
            let known = state.ends[place].as_ref().is_some_and(|end| end.name == name);
            // What is set now is another each time that it is named.
            if !known || changed.id == id {
                state.ends[place] = self.end(name)?;
            }
        }
        let State { ends: [Some(a), Some(b)], .. } = &*state else { return Ok(()) };
        if changed.id != ParamId::Morph {
            return Ok(());
        }
        let share = self.board.number(ParamId::Morph);
        let mut changes = mixed(a, b, share, |param| self.board.start_value(param));
        // What stays as it is, is no change.
        changes.retain(|change| {
            let now = self.board.value(change.param);
            match &change.op {
                Op::Place(place) => now != Value::Number(change.param.at(*place)),
                Op::Set(value) => now != *value,
                _ => true,
            }
        });
        self.board.apply_all(&changes, &by("morph", from)).map(drop)
    }

    /// Saves what is set as a preset; the worqspace has it from then on.
    ///
    /// # Errors
    /// As [`preset::save`].
    pub fn save(&self, name: &str, kind: PresetKind, title: &str, over: bool) -> Result<Preset> {
        let title = if title.trim().is_empty() { name } else { title.trim() };
        let preset = self.snapshot().preset(name, title, kind);
        preset::save(&self.folders[0], &preset, over)?;
        Ok(preset)
    }

    pub fn remove(&self, name: &str) -> Result<()> {
        preset::remove(&self.folders[0], name)
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::new(|param| self.board.value(param))
    }

    fn end(&self, name: Arc<str>) -> Result<Option<End>> {
        let preset = match &*name {
            "" => return Ok(None),
            NOW => self.snapshot().preset(NOW, NOW, PresetKind::Scene),
            name => preset::load(name, &self.folders)?,
        };
        let set = |change: Change| match change.op {
            Op::Set(value) => Some((change.param, value)),
            _ => None,
        };
        let values = preset.changes(0.0).into_iter().filter_map(set).collect();
        Ok(Some(End { name, values }))
    }

    fn fade_ms(&self) -> f32 {
        self.board.number(ParamId::RecallFade) * 1000.0
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// On behalf of somebody.
fn by(what: &str, from: &From) -> From {
    From { source: format!("preset {what} ({})", from.source).into(), received: from.received }
}

/// The values `share` of the way from `a` to `b`; what only one of them names goes from or to
/// what it was at the start. Between choices and texts it changes in the middle.
fn mixed(a: &End, b: &End, share: f32, start: impl Fn(&Param) -> Value) -> Vec<Change> {
    let of = |end: &End, param: &Param| {
        let named = end.values.iter().find(|(p, _)| p.id == param.id);
        named.map_or_else(|| start(param), |(_, value)| value.clone())
    };
    let only_b =
        b.values.iter().filter(|(param, _)| !a.values.iter().any(|(p, _)| p.id == param.id));
    let params = a.values.iter().chain(only_b).map(|(param, _)| *param);
    let mix = |param: &'static Param| {
        let op = match (of(a, param), of(b, param)) {
            (Value::Number(a), Value::Number(b)) if matches!(param.kind, Kind::Float { .. }) => {
                let (a, b) = (param.place(a), param.place(b));
                Op::Place(a + (b - a) * share)
            }
            (a, b) => Op::Set(if share < 0.5 { a } else { b }),
        };
        Change::new(param, op)
    };
    params.map(mix).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::param::{self, Values};

    fn http() -> From {
        From { source: "http".into(), received: Duration::ZERO }
    }

    fn presets() -> (Presets, Arc<Board>, tempfile::TempDir) {
        let (board, _reader) = param::board(Values::default(), &[]);
        let folder = tempfile::tempdir().unwrap();
        (Presets::new(board.clone(), folder.path().to_path_buf()), board, folder)
    }

    fn set(board: &Board, id: ParamId, value: impl Into<Value>) {
        board.apply(&Change::set(id, value), &http()).unwrap();
    }

    #[test]
    fn a_recall_can_be_taken_back() {
        let (presets, board, _folder) = presets();
        set(&board, ParamId::Hue, 40.0);
        presets.recall("noir", &http()).unwrap();
        assert_eq!(board.number(ParamId::Saturation), 0.0);
        assert_eq!(board.number(ParamId::Hue), 0.0);
        let source = board.changed_since(1).1[0].source.clone();
        assert_eq!(&*source, "preset noir (http)");
        presets.undo(&http()).unwrap();
        assert_eq!(board.number(ParamId::Saturation), 1.0);
        assert_eq!(board.number(ParamId::Hue), 40.0);
        assert!(presets.undo(&http()).is_err());
    }

    #[test]
    fn a_morph_goes_from_one_look_to_another_and_back() {
        let (presets, board, _folder) = presets();
        let morph = |id: ParamId, value: Value| {
            set(&board, id, value);
            presets.morph(param::of(id), &http()).unwrap();
        };
        morph(ParamId::MorphB, "noir".into());
        set(&board, ParamId::Hue, 60.0);
        morph(ParamId::MorphA, NOW.into());
        assert_eq!(board.number(ParamId::Saturation), 1.0, "until the fader moves");
        morph(ParamId::Morph, 0.5.into());
        assert_eq!(board.number(ParamId::Saturation), 0.5);
        assert!((board.number(ParamId::Hue) - 30.0).abs() < 0.01);
        morph(ParamId::Morph, 1.0.into());
        assert_eq!(board.number(ParamId::Saturation), 0.0);
        morph(ParamId::Morph, 0.0.into());
        assert!((board.number(ParamId::Hue) - 60.0).abs() < 0.01);
    }

    #[test]
    fn what_is_saved_can_be_recalled_and_what_is_not_there_is_refused() {
        let (presets, board, _folder) = presets();
        set(&board, ParamId::Zoom, 2.0);
        set(&board, ParamId::PromptText, "moss: \"deep\"");
        presets.save("mine", PresetKind::Scene, "", false).unwrap();
        set(&board, ParamId::Zoom, 1.0);
        set(&board, ParamId::PromptText, "");
        presets.recall("mine", &http()).unwrap();
        assert_eq!(board.number(ParamId::Zoom), 2.0);
        assert_eq!(&*board.text(ParamId::PromptText), "moss: \"deep\"");
        let recall = param::of(ParamId::Recall);
        assert!(presets.check(recall, &"mine".into()).is_ok());
        let error = presets.check(recall, &"mien".into()).unwrap_err().to_string();
        assert!(error.contains("mine") && error.contains("noir"), "{error}");
        presets.remove("mine").unwrap();
        assert!(presets.recall("mine", &http()).is_err());
    }
}
