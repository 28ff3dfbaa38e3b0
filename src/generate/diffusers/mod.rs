//! Pictures and clips from models of the diffusers library, made by a Python worker on this machine.
//!
//! `worker` keeps the Python process running and gives it jobs; `process` is that process and
//! `protocol` what it is told. What the worker itself does is in `scripts/diffusers_worker.py`, which
//! is part of the program.
//!
//! Holds: one job at a time. Pictures go to and fro as PNG files in a temporary folder of the job.

mod process;
mod protocol;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use image::{ImageFormat, RgbImage};
use tempfile::TempDir;

use self::process::Launch;
use self::protocol::{Adapter, Job, JobKind};
use self::worker::Supervisor;
use crate::base::clock::Clock;
use crate::base::error::{Error, Result};
use crate::config::BackendConfig;
use crate::generate::{
    Backend, Capabilities, Health, ImageRequest, LARGEST_FILE, OnProgress, Reader, VideoRequest,
    blocking,
};
use crate::media::Frame;

const SCRIPT: &str = include_str!("../../../scripts/diffusers_worker.py");
const IMAGE_MODEL: &str = "stabilityai/stable-diffusion-xl-base-1.0";
const VIDEO_MODEL: &str = "stabilityai/stable-video-diffusion-img2vid-xt";
/// The picture that a job grows from.
const FIRST: &str = "first.png";

pub struct Diffusers {
    supervisor: Supervisor,
    reader: Reader,
    clock: Arc<dyn Clock>,
    /// Holds the script and a folder for each job.
    home: TempDir,
    model: String,
    video_model: String,
    family: Family,
    loras: Vec<Adapter>,
}

impl Diffusers {
    /// Writes the worker's script to a temporary folder; starts nothing.
    pub fn new(config: &BackendConfig, reader: Reader, clock: Arc<dyn Clock>) -> Result<Self> {
        Self::with_script(config, reader, clock, SCRIPT)
    }

    fn with_script(
        config: &BackendConfig,
        reader: Reader,
        clock: Arc<dyn Clock>,
        script: &str,
    ) -> Result<Self> {
        let unwritten = |e| Error::io("cannot write the diffusers worker to a temporary folder", e);
        let home =
            tempfile::Builder::new().prefix("vfaq-diffusers-").tempdir().map_err(unwritten)?;
        let path = home.path().join("diffusers_worker.py");
        std::fs::write(&path, script).map_err(unwritten)?;
        let model = config.model_id.clone().unwrap_or_else(|| IMAGE_MODEL.to_owned());
        let video_model = config.video_model_id.clone().unwrap_or_else(|| VIDEO_MODEL.to_owned());
        let mut arguments = Vec::new();
        let settings = [
            ("--model", Some(&model)),
            ("--video-model", Some(&video_model)),
            ("--device", config.device.as_ref()),
            ("--dtype", config.dtype.as_ref()),
        ];
        for (name, value) in settings {
            // In one word: a value may begin with a dash.
            arguments.extend(value.map(|value| format!("{name}={value}")));
        }
        let launch = Launch { python: python(config)?, script: path, arguments };
        let loras = config.loras.iter();
        Ok(Diffusers {
            supervisor: Supervisor::new(launch, clock.clone()),
            reader,
            clock,
            home,
            family: Family::of(&video_model),
            loras: loras.map(|l| Adapter { name: l.name.clone(), strength: l.strength }).collect(),
            model,
            video_model,
        })
    }

    /// A folder for a job, with the picture in it that it grows from.
    async fn folder(&self, first: Option<&RgbImage>) -> Result<TempDir> {
        let (home, first) = (self.home.path().to_owned(), first.cloned());
        blocking(move || {
            let folder = tempfile::Builder::new()
                .prefix("job-")
                .tempdir_in(home)
                .map_err(|e| Error::io("cannot make a temporary folder", e))?;
            if let Some(first) = first {
                let path = folder.path().join(FIRST);
                first.save_with_format(&path, ImageFormat::Png).map_err(|e| {
                    Error::unavailable(format!("cannot write {}", path.display())).with_source(e)
                })?;
            }
            Ok(folder)
        })
        .await
    }

    /// Has the job done; returns the content of its files.
    async fn make(
        &self,
        job: Job,
        folder: TempDir,
        on_progress: OnProgress<'_>,
    ) -> Result<Vec<Vec<u8>>> {
        let (files, folder) = self.supervisor.run(job, folder, on_progress).await?;
        blocking(move || {
            let mut contents = Vec::with_capacity(files.len());
            let mut room = LARGEST_FILE as u64;
            for file in &files {
                let unread = |e| Error::io(format!("cannot read {}", file.display()), e);
                let size = std::fs::metadata(file).map_err(unread)?.len();
                room = room.checked_sub(size).ok_or_else(|| {
                    Error::unavailable(format!(
                        "diffusers: the result is over {} MB, which is not taken",
                        LARGEST_FILE >> 20
                    ))
                })?;
                contents.push(std::fs::read(file).map_err(unread)?);
            }
            drop(folder);
            Ok(contents)
        })
        .await
    }
}

/// The Python that is set (a file, or the folder of a virtual environment), or the one that
/// `scripts/diffusers-setup` makes.
fn python(config: &BackendConfig) -> Result<PathBuf> {
    let program = if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" };
    if let Some(python) = &config.python {
        return Ok(if python.is_dir() { python.join(program) } else { python.clone() });
    }
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    let cache = cache.or_else(|| set("LOCALAPPDATA")).ok_or_else(|| {
        Error::usage("there is no home folder to look for Python in; set backend.python")
    })?;
    Ok(cache.join("vfaq/diffusers").join(program))
}

/// What is known of a video model by its name, or by its folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Family {
    takes_prompt: bool,
    frame_step: u32,
    fewest_frames: u32,
}

impl Family {
    fn of(model: &str) -> Self {
        let index = std::fs::read_to_string(Path::new(model).join("model_index.json"));
        let class = index.ok().and_then(|text| {
            let index: serde_json::Value = serde_json::from_str(&text).ok()?;
            Some(index.get("_class_name")?.as_str()?.to_lowercase())
        });
        let name = class.unwrap_or_else(|| model.to_lowercase());
        let has = |part: &str| name.contains(part);
        let svd = ["stable-video-diffusion", "stablevideodiffusion", "svd"].iter().any(|p| has(p));
        let frame_step = match () {
            () if has("ltx") => 8,
            () if has("wan") || has("cogvideo") || has("hunyuanvideo") => 4,
            () => 1,
        };
        Family { takes_prompt: !svd, frame_step, fewest_frames: (frame_step + 1).max(2) }
    }
}

#[async_trait]
impl Backend for Diffusers {
    fn name(&self) -> &'static str {
        "diffusers"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            text_to_image: true,
            image_to_image: true,
            image_to_video: true,
            text_conditioned_video: self.family.takes_prompt,
            size_step: 8,
            frames: (self.family.fewest_frames, Capabilities::NONE.frames.1),
            frame_step: self.family.frame_step,
            ..Capabilities::NONE
        }
    }

    async fn check(&self) -> Result<Health> {
        let began = self.clock.now();
        let hello = self.supervisor.hello().await?;
        let mut notes = vec![format!("runs on {}", hello.device)];
        notes.extend(hello.notes);
        Ok(Health {
            version: Some(format!(
                "{} (torch {}, Python {})",
                hello.diffusers, hello.torch, hello.python
            )),
            models: vec![self.model.clone(), self.video_model.clone()],
            notes,
            took: self.clock.now() - began,
        })
    }

    async fn generate_image(
        &self,
        request: &ImageRequest,
        on_progress: OnProgress<'_>,
    ) -> Result<RgbImage> {
        let init = request.init.as_ref();
        let folder = self.folder(init.map(|init| &init.image)).await?;
        let job = Job {
            id: 0,
            folder: folder.path().to_owned(),
            model: self.model.clone(),
            prompt: request.prompt.clone(),
            negative_prompt: request.negative_prompt.clone(),
            seed: request.seed,
            width: request.width,
            height: request.height,
            steps: request.steps,
            cfg_scale: request.cfg_scale,
            first: init.map(|_| FIRST),
            kind: JobKind::Image {
                sampler: request.sampler.clone(),
                strength: init.map_or(1.0, |init| init.strength),
                loras: self.loras.clone(),
            },
        };
        let file = self.make(job, folder, on_progress).await?.into_iter().next();
        self.reader
            .image(file.unwrap_or_default(), (request.width, request.height), "diffusers")
            .await
    }

    async fn generate_video(
        &self,
        request: &VideoRequest,
        on_progress: OnProgress<'_>,
    ) -> Result<Vec<Frame>> {
        let Some(first) = request.first.as_ref().filter(|_| request.last.is_none()) else {
            return Err(Error::usage(
                "diffusers makes clips that begin with a picture, not from a prompt alone and not \
                 between two pictures",
            ));
        };
        let folder = self.folder(Some(first)).await?;
        let job = Job {
            id: 0,
            folder: folder.path().to_owned(),
            model: self.video_model.clone(),
            prompt: request.prompt.clone(),
            negative_prompt: request.negative_prompt.clone(),
            seed: request.seed,
            width: request.width,
            height: request.height,
            steps: request.steps,
            cfg_scale: request.cfg_scale,
            first: Some(FIRST),
            kind: JobKind::Video {
                frames: request.frames,
                fps: request.fps.as_f64(),
                motion_bucket_id: request.motion_bucket_id,
                noise_aug_strength: request.noise_aug_strength,
            },
        };
        let files = self.make(job, folder, on_progress).await?;
        self.reader.video(files, request, "diffusers").await
    }
}

#[cfg(test)]
mod tests;
