//! The ConstruQtor: has the still and the clip of a briq made, and archives both.
//!
//! Holds: everything that takes a core for long runs on the blocking pool. A file gets its name
//! when it is whole. Dropping the future cancels the generators; a clip that is being encoded by
//! then is still finished, so do not give the same cycle number out again meanwhile.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{DynamicImage, ImageDecoder, ImageEncoder, ImageReader, RgbImage};

use super::{Briq, Stage};
use crate::archive::Project;
use crate::base::error::{Error, Result};
use crate::base::fsio::write_atomic;
use crate::generate::convert::frame_to_rgb;
use crate::generate::pool::{JobKind, Pool};
use crate::generate::{ImageRequest, Init, VideoRequest, blocking, fit};
use crate::media::{Clip, ClipEncoder, Frame, VideoFormat};

/// What a cycle's still is made of.
#[derive(Clone)]
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
    pub pool: &'a Pool,
    pub encoder: Arc<dyn ClipEncoder>,
    pub project: &'a Project,
    /// How long a job can wait for servers that are all gone.
    pub patience: &'a (dyn Fn() -> Duration + Send + Sync),
    pub on_stage: &'a (dyn Fn(Stage) + Send + Sync),
}

#[derive(Debug)]
pub struct Built {
    /// The archived raw clip.
    pub clip: Clip,
    /// Its frames; all of the size in `clip.format`, at least one.
    pub frames: Vec<Frame>,
}

/// Makes the still of a briq and archives it; notes in the briq where it is and who made it.
/// `None`: the clips that this pool makes begin without one.
pub async fn make_still(
    briq: &mut Briq,
    source: Source,
    tools: &Tools<'_>,
) -> Result<Option<RgbImage>> {
    let (cycle, project) = (briq.cycle(), tools.project);
    let (width, height) = (briq.spec.width, briq.spec.height);
    let clips = tools.pool.capabilities(JobKind::Video);
    if clips.text_to_video && !clips.image_to_video {
        return Ok(None);
    }
    (tools.on_stage)(Stage::Image);
    let init = match source {
        Source::Text => None,
        Source::Image(path) => {
            let still = blocking(move || load(&path, width, height)).await?;
            return archive_still(briq, still, project).await.map(Some);
        }
        Source::Chained(frame) => {
            let path = project.chained_frame(cycle);
            briq.base_image_path = Some(project.recorded_path(&path));
            let fitted = move || {
                let frame = fit(DynamicImage::ImageRgb8(frame), width, height);
                write_png(&frame, &path).map(|()| frame)
            };
            let image = blocking(fitted).await?;
            if !tools.pool.capabilities(JobKind::Image).image_to_image {
                // Then the clips alone carry the show on.
                return archive_still(briq, image, project).await.map(Some);
            }
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
    let listen = |progress| (tools.on_stage)(Stage::Progress(progress));
    let made = tools.pool.generate_image(&request, (tools.patience)(), &listen).await?;
    made.backend.clone_into(&mut briq.backend_used);
    archive_still(briq, made.value, project).await.map(Some)
}

async fn archive_still(briq: &mut Briq, still: RgbImage, project: &Project) -> Result<RgbImage> {
    let path = project.source_image(&briq.briq_id);
    briq.source_image_path = Some(project.recorded_path(&path));
    blocking(move || write_png(&still, &path).map(|()| still)).await
}

/// Has the clip of a briq made, out of its still and (in keyframe mode) towards the next one, and
/// archives it.
pub async fn make_clip(
    briq: &mut Briq,
    still: Option<RgbImage>,
    next: Option<RgbImage>,
    tools: &Tools<'_>,
) -> Result<Built> {
    let (cycle, project) = (briq.cycle(), tools.project);
    let fps = briq.spec.fps()?;
    (tools.on_stage)(Stage::Video);
    let without_still = still.is_none();
    // The last frame is the first of the next clip, which is not shown twice.
    let joint = u32::from(next.is_some());
    let request = VideoRequest {
        cycle,
        first: still,
        last: next,
        prompt: briq.video_prompt.clone(),
        negative_prompt: briq.negative_prompt.clone(),
        seed: briq.seed,
        width: briq.spec.width,
        height: briq.spec.height,
        frames: briq.spec.video_frames + joint,
        fps,
        steps: briq.spec.steps,
        cfg_scale: briq.spec.cfg_scale,
        sampler: briq.spec.sampler.clone(),
        motion_bucket_id: briq.spec.motion_bucket_id,
        noise_aug_strength: briq.spec.noise_aug_strength,
    };
    let listen = |progress| (tools.on_stage)(Stage::Progress(progress));
    let made = tools.pool.generate_video(&request, (tools.patience)(), &listen).await?;
    if briq.backend_used.is_empty() {
        made.backend.clone_into(&mut briq.backend_used);
    } else if !briq.backend_used.split('+').any(|name| name == made.backend) {
        briq.backend_used = format!("{}+{}", briq.backend_used, made.backend);
    }
    let mut frames = made.value;
    if joint == 1 && frames.len() > 2 {
        frames.pop();
    }
    let format = match frames.first() {
        Some(first)
            if frames.iter().all(|f| (f.width, f.height) == (first.width, first.height)) =>
        {
            VideoFormat { width: first.width, height: first.height, fps }
        }
        _ => {
            return Err(Error::unavailable(format!(
                "{} made a clip without frames or with frames of several sizes",
                made.by
            )));
        }
    };
    if without_still {
        let first = frame_to_rgb(&frames[0]);
        archive_still(briq, first, project).await?;
    }

    (tools.on_stage)(Stage::Archive);
    let path = project.raw_clip(cycle);
    let (encoder, target) = (tools.encoder.clone(), path.clone());
    let frames =
        blocking(move || encoder.encode(&mut frames.iter(), fps, &target).map(|()| frames)).await?;
    briq.raw_video_path = Some(project.recorded_path(&path));
    let prompt = briq.prompt.as_str().into();
    let clip = Clip { cycle, path, format, frames: frames.len() as u32, prompt };
    Ok(Built { clip, frames })
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

/// Fast rather than small: a still is written for each cycle, beside a show.
fn write_png(image: &RgbImage, path: &Path) -> Result<()> {
    let mut png = Vec::new();
    PngEncoder::new_with_quality(&mut png, CompressionType::Fast, FilterType::Paeth)
        .write_image(image, image.width(), image.height(), image::ExtendedColorType::Rgb8)
        .map_err(|e| Error::internal(format!("cannot encode {}", path.display())).with_source(e))?;
    write_atomic(path, &png)
}
