//! What every generator can do, whatever machine it runs on.
//!
//! Holds: a request is a value; it may be sent again, to the same generator or to another one.
//! Dropping the future of a job cancels it, on the far machine too, as soon as that is possible.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use image::RgbImage;

use crate::base::error::Result;
use crate::base::time::FrameRate;
use crate::media::{CycleId, Frame};

/// A still picture to be made: from nothing, or out of another picture.
#[derive(Clone, Debug)]
pub struct ImageRequest {
    pub cycle: CycleId,
    pub prompt: String,
    pub negative_prompt: String,
    pub seed: i64,
    pub width: u32,
    pub height: u32,
    pub steps: u32,
    pub cfg_scale: f64,
    /// As the configuration names it; a backend maps it to its own name.
    pub sampler: String,
    pub init: Option<Init>,
}

/// The picture that a new one grows from.
#[derive(Clone, Debug)]
pub struct Init {
    pub image: RgbImage,
    /// Denoise strength: 0 keeps the picture, 1 forgets it.
    pub strength: f64,
}

/// A clip to be made.
#[derive(Clone, Debug)]
pub struct VideoRequest {
    pub cycle: CycleId,
    /// Its first frame. `None` only where [`Capabilities::text_to_video`] says so.
    pub first: Option<RgbImage>,
    /// Its last frame. `Some` only where [`Capabilities::first_last_frame`] says so.
    pub last: Option<RgbImage>,
    /// For generators whose motion follows text.
    pub prompt: String,
    pub negative_prompt: String,
    pub seed: i64,
    pub width: u32,
    pub height: u32,
    pub frames: u32,
    pub fps: FrameRate,
    pub steps: u32,
    pub cfg_scale: f64,
    pub sampler: String,
    pub motion_bucket_id: u32,
    pub noise_aug_strength: f64,
}

/// What a generator can make, as it is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// A picture from a prompt.
    pub text_to_image: bool,
    /// A picture out of another one.
    pub image_to_image: bool,
    /// A clip that begins with a given picture.
    pub image_to_video: bool,
    /// A clip from a prompt alone.
    pub text_to_video: bool,
    /// A clip that begins with one picture and ends with another.
    pub first_last_frame: bool,
    /// Its clips follow the prompt, not only the picture.
    pub text_conditioned_video: bool,
    /// Width and height are multiples of this many pixels.
    pub size_step: u32,
    /// Smallest and largest side, in pixels.
    pub sides: (u32, u32),
    /// Fewest and most frames of a clip.
    pub frames: (u32, u32),
    /// Clips have a multiple of this many frames, and one more (1: any number).
    pub frame_step: u32,
}

impl Capabilities {
    /// Nothing at all, of any size.
    pub const NONE: Self = Capabilities {
        text_to_image: false,
        image_to_image: false,
        image_to_video: false,
        text_to_video: false,
        first_last_frame: false,
        text_conditioned_video: false,
        size_step: 1,
        sides: (16, 8192),
        frames: (1, 10_000),
        frame_step: 1,
    };

    /// What both of two generators can.
    pub fn shared(self, other: Self) -> Self {
        Capabilities {
            text_to_image: self.text_to_image && other.text_to_image,
            image_to_image: self.image_to_image && other.image_to_image,
            image_to_video: self.image_to_video && other.image_to_video,
            text_to_video: self.text_to_video && other.text_to_video,
            first_last_frame: self.first_last_frame && other.first_last_frame,
            text_conditioned_video: self.text_conditioned_video && other.text_conditioned_video,
            size_step: self.size_step.max(other.size_step),
            sides: (self.sides.0.max(other.sides.0), self.sides.1.min(other.sides.1)),
            frames: (self.frames.0.max(other.frames.0), self.frames.1.min(other.frames.1)),
            frame_step: self.frame_step.max(other.frame_step),
        }
    }
}

/// What a check found out about a generator that can be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Of the program that answers.
    pub version: Option<String>,
    /// Models that it has and that are used here.
    pub models: Vec<String>,
    /// What the user should know although it works ("runs on the CPU, which is slow").
    pub notes: Vec<String>,
    /// What it took to answer.
    pub took: Duration,
}

/// How far a job is.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// It waits behind this many others on the server.
    Queued(u32),
    /// It is being worked on: by what (a node, "loading the model"), and how much of that is done,
    /// 0 to 1, where that is known.
    Working { what: Cow<'static, str>, done: Option<f32> },
    /// The picture as it looks so far: a JPEG or PNG file.
    Preview(Arc<[u8]>),
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Progress::Queued(ahead) => write!(f, "waiting behind {ahead}"),
            Progress::Working { what, done: Some(done) } => {
                write!(f, "{what}, {:.0} %", 100.0 * done)
            }
            Progress::Working { what, done: None } => f.write_str(what),
            Progress::Preview(_) => f.write_str("a first look"),
        }
    }
}

/// Hears how far a job is. It is called often and must return at once.
pub type OnProgress<'a> = &'a (dyn Fn(Progress) + Send + Sync);

/// A generator. Its methods may be called at the same time for different cycles.
///
/// Errors: [`Unavailable`](crate::base::error::Kind::Unavailable) if another try (or another
/// server) may succeed, [`Usage`](crate::base::error::Kind::Usage) if somebody has to change a
/// setting, a workflow or a model first. Each message says where, what was found and what to do.
#[async_trait]
pub trait Backend: Send + Sync {
    /// As in `config.yaml`: `mock`, `comfyui`, ...
    fn name(&self) -> &'static str;

    /// What it can make. Known without asking anybody.
    fn capabilities(&self) -> Capabilities;

    /// Whether it can be reached and has what it needs.
    async fn check(&self) -> Result<Health>;

    /// sRGB, of the size asked for.
    async fn generate_image(
        &self,
        request: &ImageRequest,
        on_progress: OnProgress<'_>,
    ) -> Result<RgbImage>;

    /// At least two frames of the size asked for, at the rate asked for; as many as asked for where
    /// the generator can.
    async fn generate_video(
        &self,
        request: &VideoRequest,
        on_progress: OnProgress<'_>,
    ) -> Result<Vec<Frame>>;
}
