//! The briq: one cycle's instruction and result, as `briqs/<briq_id>.json`.
//!
//! Holds: the field names are the predecessor's. A missing or null field reads as its default; one
//! that this version does not know survives a rewrite.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::archive::or_default;
use crate::base::error::Result;
use crate::base::time::FrameRate;
use crate::media::CycleId;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BriqStatus {
    #[default]
    Pending,
    Constructing,
    /// Its raw clip is finished.
    Constructed,
    Inspecting,
    Complete,
    Failed,
}

/// Paths are relative to the project where they lie in it; older briqs hold absolute ones.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Briq {
    /// `briq_NNNN_` and 8 hexadecimal digits.
    #[serde(deserialize_with = "or_default")]
    pub briq_id: String,
    #[serde(deserialize_with = "or_default")]
    pub cycle_index: u32,
    /// ISO 8601.
    #[serde(deserialize_with = "or_default")]
    pub created_at: String,
    /// `text`, `image`, or `video` for a cycle that grows out of another.
    #[serde(deserialize_with = "or_default")]
    pub mode: String,
    /// With its evolution, without tags.
    #[serde(deserialize_with = "or_default")]
    pub prompt: String,
    #[serde(deserialize_with = "or_default")]
    pub negative_prompt: String,
    #[serde(deserialize_with = "or_default")]
    pub style_tags: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub quality_tags: Vec<String>,
    /// Whole text of `style_hints.md`.
    #[serde(deserialize_with = "or_default")]
    pub style_hints: String,
    /// Whole text of `motion_prompt.md`.
    #[serde(deserialize_with = "or_default")]
    pub motion_prompt: String,
    #[serde(deserialize_with = "or_default")]
    pub video_prompt: String,
    #[serde(deserialize_with = "or_default")]
    pub motion_hint: String,
    #[serde(deserialize_with = "or_default")]
    pub seed: i64,
    pub base_image_path: Option<String>,
    pub base_video_path: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub spec: Spec,
    #[serde(deserialize_with = "or_default")]
    pub status: BriqStatus,
    pub raw_video_path: Option<String>,
    pub looped_video_path: Option<String>,
    pub source_image_path: Option<String>,
    /// Seconds, of the attempt that succeeded.
    #[serde(deserialize_with = "or_default")]
    pub generation_time: f64,
    #[serde(deserialize_with = "or_default")]
    pub backend_used: String,
    pub error_message: Option<String>,
    pub evolution_suggestion: Option<String>,
    pub suggested_prompt_delta: Option<String>,

    /// The changes that the prompt bears now, oldest first; a short window, so that it cannot grow
    /// without bound.
    #[serde(deserialize_with = "or_default")]
    pub evolution: Vec<String>,

    /// What performers asked of this cycle; the predecessor and an untouched show have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steered: Option<SteeredBy>,

    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// What performers asked of a cycle, as far as prompt, seed and spec do not say it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SteeredBy {
    /// The last change that it is made with, as the journal numbers them.
    pub generation: u64,
    /// Who wrote the main part of the prompt: `brief`, `text` or `slots`.
    pub lead: String,
    /// Where between the slots, 0 to 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blend: Option<f64>,
    /// What was appended and nudged.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub added: String,
}

/// What was asked of the generators.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spec {
    #[serde(deserialize_with = "or_default")]
    pub width: u32,
    #[serde(deserialize_with = "or_default")]
    pub height: u32,
    #[serde(deserialize_with = "or_default")]
    pub cfg_scale: f64,
    #[serde(deserialize_with = "or_default")]
    pub steps: u32,
    #[serde(deserialize_with = "or_default")]
    pub sampler: String,
    #[serde(deserialize_with = "or_default")]
    pub video_frames: u32,
    #[serde(deserialize_with = "or_default")]
    pub video_fps: f64,
    #[serde(deserialize_with = "or_default")]
    pub clip_seconds: f64,
    #[serde(deserialize_with = "or_default")]
    pub motion_bucket_id: u32,
    #[serde(deserialize_with = "or_default")]
    pub noise_aug_strength: f64,
    #[serde(deserialize_with = "or_default")]
    pub denoise_strength: f64,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Spec {
    /// `video_fps` as a fraction.
    pub fn fps(&self) -> Result<FrameRate> {
        self.video_fps.to_string().parse()
    }
}

impl Briq {
    pub fn cycle(&self) -> CycleId {
        CycleId(self.cycle_index)
    }

    /// Quality tags, prompt and style tags, joined by commas.
    pub fn full_prompt(&self) -> String {
        let prompt = std::iter::once(&self.prompt);
        join(self.quality_tags.iter().chain(prompt).chain(&self.style_tags))
    }

    /// Whether the briq says that its raw clip was finished.
    pub fn has_raw(&self) -> bool {
        use BriqStatus::{Complete, Constructed, Inspecting};
        self.raw_video_path.is_some() || matches!(self.status, Constructed | Inspecting | Complete)
    }
}

/// Joins parts of a prompt by commas; empty ones are left out, and what ends one is trimmed.
pub(super) fn join<S: AsRef<str>>(parts: impl IntoIterator<Item = S>) -> String {
    let ends = |c: char| c.is_whitespace() || matches!(c, ',' | ';' | '.');
    let mut joined = String::new();
    for part in parts {
        let part = part.as_ref().trim_start().trim_end_matches(ends);
        if !part.is_empty() {
            if !joined.is_empty() {
                joined.push_str(", ");
            }
            joined.push_str(part);
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_briq_has_the_names_that_users_know() {
        let briq = serde_json::to_value(Briq::default()).unwrap();
        for name in [
            "briq_id",
            "cycle_index",
            "created_at",
            "mode",
            "prompt",
            "negative_prompt",
            "style_tags",
            "quality_tags",
            "style_hints",
            "motion_prompt",
            "video_prompt",
            "motion_hint",
            "seed",
            "base_image_path",
            "base_video_path",
            "spec",
            "status",
            "raw_video_path",
            "looped_video_path",
            "source_image_path",
            "generation_time",
            "backend_used",
            "error_message",
            "evolution_suggestion",
            "suggested_prompt_delta",
        ] {
            assert!(briq.get(name).is_some(), "{name}");
        }
        for name in [
            "width",
            "height",
            "cfg_scale",
            "steps",
            "sampler",
            "video_frames",
            "video_fps",
            "clip_seconds",
            "motion_bucket_id",
            "noise_aug_strength",
            "denoise_strength",
        ] {
            assert!(briq["spec"].get(name).is_some(), "spec.{name}");
        }
        assert_eq!(briq["status"], "pending");
    }

    #[test]
    fn an_old_briq_reads_and_keeps_what_is_unknown() {
        let old = json!({
            "briq_id": "briq_0002_deadbeef", "cycle_index": 2, "status": "complete",
            "prompt": "fog", "style_tags": null, "error_message": null,
            "spec": {"width": 1024, "cfg_scale": 7, "video_fps": 8, "lora": "x"},
            "mood_board": ["a"],
        });
        let briq: Briq = serde_json::from_value(old).unwrap();
        assert_eq!((briq.spec.cfg_scale, briq.spec.fps().unwrap()), (7.0, FrameRate::whole(8)));
        assert!(briq.has_raw());
        let again = serde_json::to_value(&briq).unwrap();
        assert_eq!((&again["mood_board"], &again["spec"]["lora"]), (&json!(["a"]), &json!("x")));
    }

    #[test]
    fn the_full_prompt_is_tags_prompt_tags() {
        let briq = Briq {
            quality_tags: vec!["masterpiece".into(), "".into()],
            prompt: "a city at night.\n".into(),
            style_tags: vec!["film grain,".into()],
            ..Default::default()
        };
        assert_eq!(briq.full_prompt(), "masterpiece, a city at night, film grain");
    }

    proptest! {
        #[test]
        fn briqs_survive_a_round_trip(
            id in ".{0,20}",
            cycle in any::<u32>(),
            seed in any::<i64>(),
            tags in prop::collection::vec(".{0,12}", 0..4),
            path in any::<Option<String>>(),
            eighths in any::<i16>(),
            unknown in prop::collection::btree_map("x_[a-z]{1,8}", ".{0,9}", 0..4),
        ) {
            let extra: Map<_, _> = unknown.into_iter().map(|(k, v)| (k, v.into())).collect();
            let spec = Spec {
                cfg_scale: f64::from(eighths) / 8.0,
                video_frames: cycle,
                extra: extra.clone(),
                ..Default::default()
            };
            let briq = Briq {
                briq_id: id,
                cycle_index: cycle,
                seed,
                style_tags: tags.clone(),
                evolution: tags,
                raw_video_path: path.clone(),
                error_message: path,
                status: BriqStatus::Inspecting,
                spec,
                extra,
                ..Default::default()
            };
            let text = serde_json::to_string_pretty(&briq).unwrap();
            prop_assert_eq!(serde_json::from_str::<Briq>(&text).unwrap(), briq);
        }
    }
}
