//! The ConstruQtor: has the still and the clip of a briq made, and archives both.
//!
//! Holds: everything that takes a core for long runs on the blocking pool. A file gets its name
//! when it is whole. Dropping the future cancels the generators; a clip that is being encoded by
//! then is still finished, so do not give the same cycle number out again meanwhile.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::imageops::FilterType as Scaling;
use image::{DynamicImage, ImageDecoder, ImageEncoder, ImageReader, RgbImage};

use super::{Briq, Stage};
use crate::archive::Project;
use crate::base::error::{Error, Kind, Result};
use crate::base::fsio::write_atomic;
use crate::base::time::FrameRate;
use crate::generate::{Backend, ImageRequest, Init, VideoRequest};
use crate::media::{Clip, ClipEncoder, Frame, VideoFormat};

/// What a cycle's still is made of.
pub enum Source {
    /// The prompt alone.
    Text,
    /// The file itself is the still, scaled and cropped to size.
    Image(PathBuf),
    /// A new picture out of a frame of the cycle before.
    Chained(RgbImage),
}

/// Who makes and keeps the pictures.
pub struct Tools<'a> {
    pub image: &'a dyn Backend,
    pub video: &'a dyn Backend,
    pub encoder: Arc<dyn ClipEncoder>,
    pub project: &'a Project,
}

#[derive(Debug)]
pub struct Built {
    /// The archived raw clip.
    pub clip: Clip,
    /// Its frames; all of the size in `clip.format`, at least one.
    pub frames: Vec<Frame>,
}

/// Makes still and clip as the briq says, archives them and notes their paths in the briq.
pub async fn construct(
    briq: &mut Briq,
    source: Source,
    tools: &Tools<'_>,
    on_stage: &(dyn Fn(Stage) + Send + Sync),
) -> Result<Built> {
    let (cycle, project) = (briq.cycle(), tools.project);
    let (width, height) = (briq.spec.width, briq.spec.height);
    let fps = briq.spec.fps()?;

    on_stage(Stage::Image);
    let init = match source {
        Source::Text => None,
        Source::Image(path) => {
            let still = blocking(move || load(&path, width, height)).await?;
            return animate(briq, still, fps, tools, on_stage).await;
        }
        Source::Chained(frame) => {
            let path = project.chained_frame(cycle);
            briq.base_image_path = Some(project.recorded_path(&path));
            let fitted = move || {
                let frame = fit(DynamicImage::ImageRgb8(frame), width, height);
                write_png(&frame, &path).map(|()| frame)
            };
            let image = blocking(fitted).await?;
            Some(Init { image, strength: briq.spec.denoise_strength })
        }
    };
    let request = ImageRequest {
        cycle,
        prompt: briq.full_prompt(),
        negative_prompt: briq.negative_prompt.clone(),
        seed: briq.seed,
        width,
        height,
        steps: briq.spec.steps,
        cfg_scale: briq.spec.cfg_scale,
        sampler: briq.spec.sampler.clone(),
        init,
    };
    let still = tools.image.generate_image(&request, &|_| ()).await?;
    animate(briq, still, fps, tools, on_stage).await
}

/// Archives the still, has the clip made out of it, archives that.
async fn animate(
    briq: &mut Briq,
    still: RgbImage,
    fps: FrameRate,
    tools: &Tools<'_>,
    on_stage: &(dyn Fn(Stage) + Send + Sync),
) -> Result<Built> {
    let (cycle, project) = (briq.cycle(), tools.project);
    let path = project.source_image(&briq.briq_id);
    briq.source_image_path = Some(project.recorded_path(&path));
    let image = blocking(move || write_png(&still, &path).map(|()| still)).await?;

    on_stage(Stage::Video);
    let request = VideoRequest {
        cycle,
        first: Some(image),
        last: None,
        prompt: briq.video_prompt.clone(),
        negative_prompt: briq.negative_prompt.clone(),
        seed: briq.seed,
        width: briq.spec.width,
        height: briq.spec.height,
        frames: briq.spec.video_frames,
        fps,
        steps: briq.spec.steps,
        cfg_scale: briq.spec.cfg_scale,
        sampler: briq.spec.sampler.clone(),
        motion_bucket_id: briq.spec.motion_bucket_id,
        noise_aug_strength: briq.spec.noise_aug_strength,
    };
    let frames = tools.video.generate_video(&request, &|_| ()).await?;
    let format = match frames.first() {
        Some(first)
            if frames.iter().all(|f| (f.width, f.height) == (first.width, first.height)) =>
        {
            VideoFormat { width: first.width, height: first.height, fps }
        }
        _ => {
            return Err(Error::unavailable(format!(
                "backend {} made a clip without frames or with frames of several sizes",
                tools.video.name()
            )));
        }
    };

    on_stage(Stage::Archive);
    let path = project.raw_clip(cycle);
    let (encoder, target) = (tools.encoder.clone(), path.clone());
    let frames =
        blocking(move || encoder.encode(&mut frames.iter(), fps, &target).map(|()| frames)).await?;
    briq.raw_video_path = Some(project.recorded_path(&path));
    let prompt = briq.prompt.as_str().into();
    let clip = Clip { cycle, path, format, frames: frames.len() as u32, prompt };
    Ok(Built { clip, frames })
}

/// Runs `work` on the blocking pool.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| {
        Err(Error::new(Kind::Internal, "a worker ended by a fault").with_source(e))
    })
}

/// Reads a picture, turned upright as its camera says, scaled and cropped to the size.
fn load(path: &Path, width: u32, height: u32) -> Result<RgbImage> {
    let unreadable = |e: image::ImageError| {
        Error::usage(format!("the base image {} cannot be read", path.display())).with_source(e)
    };
    let reader = ImageReader::open(path).and_then(ImageReader::with_guessed_format);
    let mut decoder =
        reader.map_err(|e| unreadable(e.into()))?.into_decoder().map_err(unreadable)?;
    let orientation = decoder.orientation().map_err(unreadable)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(unreadable)?;
    image.apply_orientation(orientation);
    Ok(fit(image, width, height))
}

/// Scales the picture until it fills the size, and crops what hangs over, evenly.
fn fit(image: DynamicImage, width: u32, height: u32) -> RgbImage {
    if (image.width(), image.height()) == (width, height) {
        return image.into_rgb8();
    }
    image.resize_to_fill(width, height, Scaling::CatmullRom).into_rgb8()
}

/// Fast rather than small: a still is written for each cycle, beside a show.
fn write_png(image: &RgbImage, path: &Path) -> Result<()> {
    let mut png = Vec::new();
    PngEncoder::new_with_quality(&mut png, CompressionType::Fast, FilterType::Paeth)
        .write_image(image, image.width(), image.height(), image::ExtendedColorType::Rgb8)
        .map_err(|e| Error::internal(format!("cannot encode {}", path.display())).with_source(e))?;
    write_atomic(path, &png)
}
