//! What is put into a workflow: the names of it, and the values of one job.

use serde::Serialize;
use serde_json::Value;

use super::samplers;
use crate::config::Lora;

/// Something that goes into a workflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    Prompt,
    NegativePrompt,
    Seed,
    Width,
    Height,
    Steps,
    Cfg,
    Sampler,
    Scheduler,
    Denoise,
    FirstImage,
    LastImage,
    Frames,
    Fps,
    MotionBucketId,
    NoiseAugStrength,
    FilenamePrefix,
}

impl Input {
    pub const ALL: [Input; 17] = [
        Input::Prompt,
        Input::NegativePrompt,
        Input::Seed,
        Input::Width,
        Input::Height,
        Input::Steps,
        Input::Cfg,
        Input::Sampler,
        Input::Scheduler,
        Input::Denoise,
        Input::FirstImage,
        Input::LastImage,
        Input::Frames,
        Input::Fps,
        Input::MotionBucketId,
        Input::NoiseAugStrength,
        Input::FilenamePrefix,
    ];

    /// As in `workflow_map` and in placeholders.
    pub fn key(self) -> &'static str {
        match self {
            Input::Prompt => "prompt",
            Input::NegativePrompt => "negative_prompt",
            Input::Seed => "seed",
            Input::Width => "width",
            Input::Height => "height",
            Input::Steps => "steps",
            Input::Cfg => "cfg",
            Input::Sampler => "sampler",
            Input::Scheduler => "scheduler",
            Input::Denoise => "denoise",
            Input::FirstImage => "first_image",
            Input::LastImage => "last_image",
            Input::Frames => "frames",
            Input::Fps => "fps",
            Input::MotionBucketId => "motion_bucket_id",
            Input::NoiseAugStrength => "noise_aug_strength",
            Input::FilenamePrefix => "filename_prefix",
        }
    }

    /// By its key, or by the name that ComfyUI or `config.yaml` has for it.
    pub fn from_key(key: &str) -> Option<Self> {
        let key = match key {
            "cfg_scale" => "cfg",
            "sampler_name" => "sampler",
            "strength" | "denoise_strength" => "denoise",
            "image" | "init_image" | "start_image" => "first_image",
            "end_image" => "last_image",
            "video_frames" | "length" => "frames",
            "video_fps" => "fps",
            "noise_seed" => "seed",
            key => key,
        };
        Input::ALL.into_iter().find(|input| input.key() == key)
    }
}

/// What a job is made of. `None` leaves what the workflow has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Values {
    pub prompt: Option<String>,
    pub negative_prompt: Option<String>,
    pub seed: Option<i64>,
    pub width: Option<u32>,
    pub height: Option<u32>,
    pub steps: Option<u32>,
    pub cfg: Option<f64>,
    /// As the configuration names it.
    pub sampler: Option<String>,
    pub denoise: Option<f64>,
    /// Names of pictures on the server, with their subfolder.
    pub first_image: Option<String>,
    pub last_image: Option<String>,
    pub frames: Option<u32>,
    pub fps: Option<f64>,
    pub motion_bucket_id: Option<u32>,
    pub noise_aug_strength: Option<f64>,
    pub filename_prefix: Option<String>,
    pub loras: Vec<Lora>,
}

impl Values {
    pub(super) fn get(&self, input: Input) -> Option<Value> {
        let text = |t: &Option<String>| t.clone().map(Value::from);
        let whole = |n: Option<u32>| n.map(Value::from);
        let real = |n: Option<f64>| n.filter(|n| n.is_finite()).map(Value::from);
        match input {
            Input::Prompt => text(&self.prompt),
            Input::NegativePrompt => text(&self.negative_prompt),
            // The server's seeds are not negative: the same bits, read without a sign.
            Input::Seed => self.seed.map(|seed| Value::from(seed.cast_unsigned())),
            Input::Width => whole(self.width),
            Input::Height => whole(self.height),
            Input::Steps => whole(self.steps),
            Input::Cfg => real(self.cfg),
            Input::Sampler => {
                self.sampler.as_deref().map(|name| Value::from(samplers::comfyui(name).0))
            }
            Input::Scheduler => {
                self.sampler.as_deref().and_then(|name| samplers::comfyui(name).1).map(Value::from)
            }
            Input::Denoise => real(self.denoise),
            Input::FirstImage => text(&self.first_image),
            Input::LastImage => text(&self.last_image),
            Input::Frames => whole(self.frames),
            Input::Fps => real(self.fps),
            Input::MotionBucketId => whole(self.motion_bucket_id),
            Input::NoiseAugStrength => real(self.noise_aug_strength),
            Input::FilenamePrefix => text(&self.filename_prefix),
        }
    }
}
