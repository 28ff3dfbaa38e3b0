//! The settings of a show: `config.yaml`, typed, with every default filled in.
//!
//! Holds: a [`Config`] has been validated whole; `${ENV}` is expanded in it (and nowhere written
//! back). Field names are the YAML keys.

pub(crate) mod kind;
mod load;
mod name;
pub mod output;
pub mod preset;
pub(crate) mod problem;
pub(crate) mod read;
pub(crate) mod yaml;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use crate::base::time::FrameRate;
use kind::Kind;

pub use crate::base::redact::Secret;
pub use load::{Loaded, check, keys, load};
pub use name::project_name;
pub use output::OutputSpec;
pub use problem::{Findings, Problem, Warning};
pub use read::Key;

#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub paths: Paths,
    pub input: Input,
    pub image_backend: BackendConfig,
    pub video_backend: BackendConfig,
    pub generation: Generation,
    pub chaining: Chaining,
    pub looping: Looping,
    pub finalizer: Finalizer,
    pub prompt_drift: PromptDrift,
    pub cycle: CycleConfig,
    pub llm: Llm,
    pub live: Live,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Paths {
    pub output_dir: PathBuf,
    /// Where briqs go instead of `<project>/briqs`, if set.
    pub briqs_dir: Option<PathBuf>,
}

/// File names within the worqspace.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    pub tasq_file: String,
    pub negative_prompt_file: String,
    pub style_hints_file: String,
    pub motion_prompt_file: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendKind {
    Mock,
    Comfyui,
    Diffusers,
    Replicate,
}

impl BackendKind {
    /// As in `config.yaml`.
    pub fn name(self) -> &'static str {
        match self {
            BackendKind::Mock => "mock",
            BackendKind::Comfyui => "comfyui",
            BackendKind::Diffusers => "diffusers",
            BackendKind::Replicate => "replicate",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct BackendConfig {
    pub kind: BackendKind,
    /// Mock: how long a cycle takes, for rehearsing with a slow GPU.
    pub mock_delay: Duration,
    /// Mock: the share of cycles that fail, 0 to 1.
    pub mock_fail_rate: f64,
    /// Mock: draw cycle number and prompt into the picture.
    pub mock_label: bool,
    pub api_url: Option<String>,
    pub timeout: Duration,
    pub workflow_image: Option<PathBuf>,
    pub workflow_video: Option<PathBuf>,
    pub model_id: Option<String>,
    pub video_model_id: Option<String>,
    pub device: Option<String>,
    pub dtype: Option<String>,
    /// A secret: never printed.
    pub api_token: Option<Secret>,
    pub image_model: Option<String>,
    pub video_model: Option<String>,
    pub sdxl_ckpt: String,
    pub svd_ckpt: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Generation {
    /// Kept for the archive; `video_frames / video_fps` is what counts.
    pub clip_seconds: f64,
    pub width: u32,
    pub height: u32,
    pub cfg_scale: f64,
    pub steps: u32,
    pub sampler: String,
    pub video_frames: u32,
    pub video_fps: FrameRate,
    pub motion_bucket_id: u32,
    pub noise_aug_strength: f64,
}

/// Which frame of a clip the next cycle grows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainFrame {
    Last,
    Middle,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Chaining {
    pub denoise_strength: f64,
    pub seed_step: i64,
    pub frame: ChainFrame,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoopMethod {
    Pingpong,
    Crossfade,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Looping {
    pub enabled: bool,
    pub method: LoopMethod,
    pub crossfade_frames: u32,
    pub output_fps: Option<FrameRate>,
    pub output_codec: String,
    pub output_quality: Option<u32>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Finalizer {
    pub enabled: bool,
    pub interpolate_fps: FrameRate,
    pub upscale_resolution: (u32, u32),
    pub scale_algo: String,
    pub encoder_preference: Vec<Encoder>,
    pub crf: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PromptDrift {
    pub quality_tags: Vec<String>,
    pub negative_prompt: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct CycleConfig {
    /// 0: no limit.
    pub max_cycles: u32,
    pub target_duration_hours: f64,
    pub delay: Duration,
    pub auto_save_interval: u32,
    pub max_retries: u32,
    pub continue_on_error: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Llm {
    /// `mock`, `openai` or `google`; `None`: the built-in evolution.
    pub provider: Option<String>,
    pub model: Option<String>,
    pub api_key_env: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// Fills the canvas, cuts what hangs over.
    Cover,
    /// Shows all of the picture, black bars beside it.
    Contain,
    /// Fills the canvas, bends the picture.
    Stretch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinKind {
    Fade,
    Morph,
    Cut,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Join {
    pub kind: JoinKind,
    pub seconds: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interpolation {
    Flow,
    Blend,
    Nearest,
}

/// H.264 encoders, in the seed's names and GStreamer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoder {
    Nvenc,
    Vaapi,
    X264,
    OpenH264,
}

#[derive(Clone, Debug, PartialEq)]
pub enum AudioSource {
    Silence,
    File(PathBuf),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Live {
    /// Width and height in pixels; both even.
    pub canvas: (u32, u32),
    pub fps: FrameRate,
    pub fit: Fit,
    pub buffer_seconds: f64,
    pub min_runway_seconds: f64,
    pub memory_mb: u32,
    pub join: Join,
    pub interpolation: Interpolation,
    pub outputs: Vec<OutputSpec>,
    pub record: bool,
    /// Recording ends cleanly when less than this is free on its disk.
    pub min_free_mb: u64,
    pub encoder_preference: Vec<Encoder>,
    pub bitrate_kbps: u32,
    /// The bitrate is lowered while an uplink cannot carry it.
    pub adaptive_bitrate: bool,
    /// It is never lowered further than this.
    pub min_bitrate_kbps: u32,
    pub keyframe_seconds: f64,
    pub audio: AudioSource,
    /// `None`: no HTTP at all.
    pub listen: Option<std::net::SocketAddr>,
    /// Keep screen and machine from sleeping during a show.
    pub keep_awake: bool,
}
