//! `factory_state.json`: where a project stands, so that the next run goes on from there.
//!
//! Holds: a field that this version does not know survives a rewrite; a missing or null one reads
//! as its default.

use std::path::Path;
use std::time::SystemTime;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::holdings::MOST_CYCLES;
use super::{or_default, random_hex};
use crate::base::clock::iso8601;
use crate::base::error::{Error, Result};
use crate::base::fsio::write_atomic;

/// Prompts kept in `prompt_history`; older ones stand in their briqs. The whole file is rewritten
/// after each cycle, so it must not grow by a prompt with each.
const PROMPTS_KEPT: usize = 200;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FactoryState {
    /// 12 hexadecimal digits; the same for every run that resumes.
    #[serde(deserialize_with = "or_default")]
    pub session_id: String,
    /// ISO 8601.
    #[serde(deserialize_with = "or_default")]
    pub started_at: String,
    /// The cycle in the making, or the next one.
    #[serde(deserialize_with = "cycle_number")]
    pub current_cycle: u32,
    /// 0: no limit.
    #[serde(deserialize_with = "or_default")]
    pub total_cycles_requested: u32,
    #[serde(deserialize_with = "or_default")]
    pub completed_briqs: Vec<String>,
    pub active_briq_id: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub prompt_history: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub qodeyard_path: String,
    /// Seconds.
    #[serde(deserialize_with = "or_default")]
    pub total_generation_time: f64,
    /// Seconds.
    #[serde(deserialize_with = "or_default")]
    pub total_video_duration: f64,
    /// The cycles' `cycleNNNN_video.mp4`, relative to the project; older files may hold absolute
    /// paths of another machine.
    #[serde(deserialize_with = "or_default")]
    pub cycle_video_paths: Vec<String>,
    /// Open failures: a cycle that is made after all leaves the list.
    #[serde(deserialize_with = "or_default")]
    pub failed_cycles: Vec<FailedCycle>,

    /// The number that this session's cycles began with: above 0 after `--fresh` in a folder that
    /// holds older cycles. Nothing below it is resumed from.
    #[serde(deserialize_with = "cycle_number")]
    pub first_cycle: u32,
    /// The seed that the cycles' seeds are counted from.
    pub base_seed: Option<i64>,
    #[serde(deserialize_with = "or_default")]
    pub recordings: Vec<Recording>,
    /// What `final_output.mp4` was put together from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_master: Option<BaseMaster>,

    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A number that no cycle can have is a damaged one.
fn cycle_number<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<u32, D::Error> {
    let number: u32 = or_default(from)?;
    match number <= MOST_CYCLES {
        true => Ok(number),
        false => Err(D::Error::custom(format!("{number} is no number of a cycle"))),
    }
}

/// The base master: every cycle's video, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BaseMaster {
    /// File name.
    pub file: String,
    /// ISO 8601.
    pub made_at: String,
    pub frames: u64,
    pub seconds: f64,
    /// Its cycles, in order.
    pub cycles: Vec<u32>,
    /// Failed cycles that were left out because that was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<u32>,
    /// False: encoded again, as the cycles' videos did not agree.
    pub copied: bool,
    /// Tells whether the cycles' videos are still those that it was made of.
    pub fingerprint: String,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// An entry of `failed_cycles`. Only the first form is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FailedCycle {
    Detailed {
        cycle_index: u32,
        briq_id: String,
        /// ISO 8601.
        failed_at: String,
        error: String,
    },
    Index(u32),
    Other(Value),
}

impl FailedCycle {
    /// Why it failed, where the entry says it.
    pub fn reason(&self) -> Option<&str> {
        match self {
            FailedCycle::Detailed { error, .. } => Some(error),
            FailedCycle::Index(_) => None,
            FailedCycle::Other(value) => value.get("error")?.as_str(),
        }
    }

    /// The briq's id, where the entry says it.
    pub fn briq(&self) -> Option<&str> {
        match self {
            FailedCycle::Detailed { briq_id, .. } => Some(briq_id),
            FailedCycle::Index(_) => None,
            FailedCycle::Other(value) => value.get("briq_id")?.as_str(),
        }
    }

    /// The cycle's number, where the entry says it.
    pub fn cycle(&self) -> Option<u32> {
        self.number().filter(|number| *number <= MOST_CYCLES)
    }

    fn number(&self) -> Option<u32> {
        match self {
            FailedCycle::Detailed { cycle_index, .. } => Some(*cycle_index),
            FailedCycle::Index(index) => Some(*index),
            FailedCycle::Other(value) => {
                let number = value.get("cycle_index").or_else(|| value.get("cycle"))?.as_u64()?;
                u32::try_from(number).ok()
            }
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordingKind {
    /// What was on air.
    #[default]
    Live,
    /// Put together afterwards from the archived cycles.
    Assembled,
    /// What was on air, drawn again from the archived cycles.
    Rerendered,
}

/// A deliverable in the project folder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Recording {
    /// File name of the first part.
    pub file: String,
    pub kind: RecordingKind,
    /// ISO 8601.
    pub started_at: String,
    /// Of all parts.
    pub frames: u64,
    /// File names in order; more than one after a gap.
    pub parts: Vec<String>,
    /// False while it is written, and for ever if the program was killed.
    pub complete: bool,
    /// File name of all parts in one file, once `vfaq assemble` has made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub joined: Option<String>,
    /// Of an assembled one: the fingerprint of the base master that it was made of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// Of an assembled one: tells the settings and the sound that it was made with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub made_with: Option<String>,
    /// Of one that was rebuilt from the archive: the recording whose pictures were drawn anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rerendered_from: Option<String>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl FactoryState {
    /// The state of a project that begins now, at `qodeyard_path`.
    pub fn new(now: SystemTime, qodeyard_path: String) -> Self {
        FactoryState {
            session_id: random_hex(12),
            started_at: iso8601(now),
            qodeyard_path,
            ..Default::default()
        }
    }

    /// Writes it; readers find it whole, old or new.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut text = serde_json::to_vec_pretty(self).map_err(Error::fault)?;
        text.push(b'\n');
        write_atomic(path, &text)
    }

    /// A prompt was used.
    pub fn remember_prompt(&mut self, prompt: &str) {
        if self.prompt_history.len() >= PROMPTS_KEPT {
            self.prompt_history.remove(0);
        }
        self.prompt_history.push(prompt.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_old_state_reads_with_fields_missing_null_and_unknown() {
        let old = json!({
            "session_id": "0123456789ab",
            "started_at": "2025-05-01T22:00:00.123456",
            "current_cycle": 3,
            "completed_briqs": ["briq_0000_aaaaaaaa"],
            "active_briq_id": null,
            "prompt_history": null,
            "total_generation_time": 12,
            "failed_cycles": [1, {"cycle": 2}],
            "from_the_future": {"deep": [1, 2]},
        });
        let state: FactoryState = serde_json::from_value(old).unwrap();
        assert_eq!(state.current_cycle, 3);
        assert_eq!(state.total_generation_time, 12.0);
        assert_eq!(state.failed_cycles[0].cycle(), Some(1));
        let again = serde_json::to_value(&state).unwrap();
        assert_eq!(again["from_the_future"], json!({"deep": [1, 2]}));
        assert_eq!(again["failed_cycles"], json!([1, {"cycle": 2}]));
        assert_eq!(again["cycle_video_paths"], json!([]));
    }

    #[test]
    fn the_history_of_prompts_is_bounded() {
        let mut state = FactoryState::new(SystemTime::UNIX_EPOCH, "x".into());
        assert_eq!(state.session_id.len(), 12);
        for i in 0..1000 {
            state.remember_prompt(&i.to_string());
        }
        assert_eq!(state.prompt_history.len(), PROMPTS_KEPT);
        assert_eq!(state.prompt_history.last().unwrap(), "999");
    }

    proptest! {
        #[test]
        fn states_survive_a_round_trip(
            current in 0..=MOST_CYCLES,
            texts in prop::collection::vec(".{0,20}", 0..4),
            seed in any::<Option<i64>>(),
            failed in prop::collection::vec(0..=MOST_CYCLES, 0..3),
            frames in any::<u64>(),
            unknown in prop::collection::btree_map("x_[a-z]{1,8}", any::<i64>(), 0..4),
        ) {
            let recording = Recording {
                file: "final_60fps_1080p.mp4".into(),
                kind: RecordingKind::Assembled,
                frames,
                parts: texts.clone(),
                ..Default::default()
            };
            let failed = failed.into_iter().map(|cycle_index| FailedCycle::Detailed {
                cycle_index,
                briq_id: "briq_0001_00000000".into(),
                failed_at: String::new(),
                error: "no \"GPU\"".into(),
            });
            let state = FactoryState {
                current_cycle: current,
                completed_briqs: texts.clone(),
                prompt_history: texts,
                base_seed: seed,
                failed_cycles: failed.collect(),
                recordings: vec![recording],
                total_generation_time: f64::from(current) / 8.0,
                extra: unknown.into_iter().map(|(k, v)| (k, v.into())).collect(),
                ..Default::default()
            };
            let text = serde_json::to_string_pretty(&state).unwrap();
            prop_assert_eq!(serde_json::from_str::<FactoryState>(&text).unwrap(), state);
        }
    }
}
