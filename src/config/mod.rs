//! The settings of a show: `config.yaml`, typed, with every default filled in.
//!
//! Holds: a [`Config`] has been validated whole; `${ENV}` is expanded in it (and nowhere written
//! back). Field names are the YAML keys.

pub(crate) mod kind;
mod load;
pub(crate) mod name;
pub mod net;
pub mod output;
pub mod preset;
pub(crate) mod problem;
pub(crate) mod read;
pub mod sound;
pub(crate) mod yaml;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::time::FrameRate;
use crate::param::ParamId;
use kind::Kind;

pub use crate::base::redact::Secret;
pub use load::{Loaded, check, keys, load};
pub use name::project_name;
pub use output::OutputSpec;
pub use problem::{Findings, Problem, Warning};
pub use read::Key;
pub use sound::AudioSource;

#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub paths: Paths,
    pub input: Input,
    /// At least one: the servers that pictures are spread over.
    pub image_backends: Vec<BackendConfig>,
    /// At least one.
    pub video_backends: Vec<BackendConfig>,
    pub generation: Generation,
    pub chaining: Chaining,
    pub looping: Looping,
    pub finalizer: Finalizer,
    pub prompt_drift: PromptDrift,
    pub cycle: CycleConfig,
    pub llm: Llm,
    pub live: Live,
    pub overlays: Overlays,
}

impl Config {
    /// Every generator is of this kind from now on; several that are then the same become one.
    pub fn use_backend(&mut self, kind: BackendKind) {
        for servers in [&mut self.image_backends, &mut self.video_backends] {
            servers.iter_mut().for_each(|server| server.kind = kind);
            if kind == BackendKind::Mock {
                servers.truncate(1);
            }
        }
    }
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

/// One generator: a server, a worker, an account, or the built-in one.
#[derive(Clone, Debug, PartialEq)]
pub struct BackendConfig {
    pub kind: BackendKind,
    /// What it is called on screen; `None`: by its kind and address.
    pub name: Option<String>,
    /// How many jobs it is given at once.
    pub jobs: u32,
    /// Mock: how long a cycle takes, for rehearsing with a slow GPU.
    pub mock_delay: Duration,
    /// Mock: the share of cycles that fail, 0 to 1.
    pub mock_fail_rate: f64,
    /// Mock: draw cycle number and prompt into the picture.
    pub mock_label: bool,
    pub api_url: Option<String>,
    /// Sent with every request, for proxies. The values are secrets.
    pub headers: Vec<(String, Secret)>,
    /// A certificate (PEM) that the server's is checked against, beside those of the system.
    pub tls_ca_file: Option<PathBuf>,
    /// Until a job counts as failed.
    pub timeout: Duration,
    pub workflow_image: Option<PathBuf>,
    pub workflow_img2img: Option<PathBuf>,
    pub workflow_video: Option<PathBuf>,
    /// For clips between two pictures.
    pub workflow_morph: Option<PathBuf>,
    /// Where in a workflow something goes, for what is not found by itself.
    pub workflow_map: Vec<Mapping>,
    pub loras: Vec<Lora>,
    /// Diffusers: the Python that the worker runs on.
    pub python: Option<PathBuf>,
    pub model_id: Option<String>,
    pub video_model_id: Option<String>,
    pub device: Option<String>,
    pub dtype: Option<String>,
    /// A secret: never printed.
    pub api_token: Option<Secret>,
    /// A file that holds the token, readable by its owner alone.
    pub api_token_file: Option<PathBuf>,
    pub image_model: Option<String>,
    pub video_model: Option<String>,
    /// Replicate: predictions that one show may start; `None`: no limit.
    pub max_predictions: Option<u32>,
    /// Replicate: what one show may cost; `None`: no limit.
    pub max_cost: Option<f64>,
    /// Replicate: what a second of a prediction costs, in the currency of `max_cost`.
    pub cost_per_second: Option<f64>,
    pub sdxl_ckpt: String,
    pub svd_ckpt: String,
}

/// `workflow_map.WORKFLOW.INPUT: "NODE.FIELD"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// `image`, `img2img`, `video` or `morph`.
    pub workflow: String,
    /// What goes there: `prompt`, `seed`, ...
    pub input: String,
    /// Node id and field, joined by a dot; for `output` the node id alone.
    pub target: String,
}

/// A LoRA that every picture is made with.
#[derive(Clone, Debug, PartialEq)]
pub struct Lora {
    /// The file's name as the server lists it.
    pub name: String,
    pub strength: f64,
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

/// Whether clips are made between pictures that are made ahead of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keyframes {
    /// Where the video backends can, and there is more than one to make clips at a time.
    Auto,
    On,
    Off,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Chaining {
    pub denoise_strength: f64,
    pub seed_step: i64,
    pub frame: ChainFrame,
    pub keyframes: Keyframes,
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
    /// The base of an interface other than the provider's own: Ollama, vLLM, llama.cpp.
    pub api_url: Option<String>,
    pub api_key_env: Option<String>,
    /// A file that holds the key, readable by its owner alone.
    pub api_key_file: Option<PathBuf>,
    /// An answer that takes longer is not waited for.
    pub timeout: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MidiUse {
    /// Where there is a MIDI system.
    Auto,
    /// And that there is none is a trouble.
    On,
    Off,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Midi {
    pub enabled: MidiUse,
    /// Parts of the names of ports; none: all.
    pub ports: Vec<String>,
    /// Names of maps; none: by the names of ports.
    pub maps: Vec<String>,
    /// Lamps and faders with motors show what is.
    pub feedback: bool,
}

/// Who gives the beat.
#[derive(Clone, Debug, PartialEq)]
pub struct Tempo {
    /// Number of the choice in `/tempo/source`.
    pub source: f32,
    pub bpm: f64,
    pub beats_per_bar: u32,
    /// Where OS2L comes in; `None`: nowhere.
    pub os2l: Option<std::net::SocketAddr>,
    /// Somebody wrote it down.
    pub os2l_is_asked: bool,
    /// Sessions of Ableton Link in the local network are joined.
    pub link: bool,
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
    /// No more than three large flashes a second reach the audience.
    pub flash_limit: bool,
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
    /// What other machines have to show; a secret.
    pub token: Option<Secret>,
    /// A file that holds it, readable by its owner alone.
    pub token_file: Option<PathBuf>,
    /// Names by which the page may be asked for, beside this machine's own addresses.
    pub hosts: Vec<String>,
    pub osc: Osc,
    pub midi: Midi,
    pub tempo: Tempo,
    /// The built-in generator makes cycles while no other can.
    pub stand_in: bool,
    /// Keep screen and machine from sleeping during a show.
    pub keep_awake: bool,
}

/// OSC, and OSCQuery beside it.
#[derive(Clone, Debug, PartialEq)]
pub struct Osc {
    /// Where packets come in; `None`: no OSC at all.
    pub listen: Option<std::net::SocketAddr>,
    /// Where it is asked what there is; `None`: nowhere.
    pub query: Option<std::net::SocketAddr>,
    /// The only ones who are heard; empty: everybody on this machine.
    pub allow: Vec<net::Network>,
    /// Where feedback goes without being asked for.
    pub send: Vec<net::FeedbackTo>,
    /// Told in the local network; `None`: when it can be reached from there.
    pub announce: Option<bool>,
    /// Somebody wrote these addresses down, so a show without them is not what was asked for.
    pub listen_is_asked: bool,
    pub query_is_asked: bool,
}

/// The folder of a worqspace with the pictures that may lie over the show's.
pub const OVERLAYS_FOLDER: &str = "overlays";

/// What lies over the picture, as it is when a show starts.
#[derive(Clone, Debug, PartialEq)]
pub struct Overlays {
    /// Switches that are on from the start.
    pub show: Vec<ParamId>,
    /// File name in `overlays` of the worqspace.
    pub logo: Option<String>,
    pub text: Option<String>,
    /// A text file whose first line says what is playing.
    pub now_playing_file: Option<PathBuf>,
    pub qr_url: Option<String>,
    /// Seconds.
    pub fade: f64,
    /// The recording is an encode of its own, with only the overlays that are to be in it.
    pub clean_recording: bool,
}
