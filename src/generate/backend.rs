//! What every generator can do, whatever machine it runs on.

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

/// A clip to be made out of its first frame.
#[derive(Clone, Debug)]
pub struct VideoRequest {
    pub cycle: CycleId,
    pub image: RgbImage,
    /// For generators whose motion follows text.
    pub prompt: String,
    pub negative_prompt: String,
    pub seed: i64,
    pub width: u32,
    pub height: u32,
    pub frames: u32,
    pub fps: FrameRate,
    pub motion_bucket_id: u32,
    pub noise_aug_strength: f64,
}

/// A generator. Its methods may be called at the same time for different cycles.
#[async_trait]
pub trait Backend: Send + Sync {
    /// As in `config.yaml`: `mock`, `comfyui`, ...
    fn name(&self) -> &'static str;

    /// Whether it can be reached and has what it needs; the error says what to do.
    async fn check(&self) -> Result<()>;

    /// sRGB, of the size asked for.
    async fn generate_image(&self, request: &ImageRequest) -> Result<RgbImage>;

    /// As many frames as asked for, of the size asked for. Dropping the future cancels the work.
    async fn generate_video(&self, request: &VideoRequest) -> Result<Vec<Frame>>;
}
