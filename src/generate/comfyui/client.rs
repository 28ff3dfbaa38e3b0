//! A ComfyUI server as a generator.
//!
//! Holds: a workflow is validated against what the server has before it is submitted. Every job has
//! a file name prefix of its own, so that nothing that two programs, or two servers on one disk,
//! make is ever mixed up, and no result of before is taken for a new one.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use image::RgbImage;
use serde_json::Value;

use super::job::{Graph, execute};
use super::server::Server;
use super::{Checkpoints, ObjectInfo, Role, Values, Workflow};
use crate::base::clock::Clock;
use crate::base::error::{Error, Kind, Result};
use crate::config::{BackendConfig, Lora};
use crate::generate::{
    Backend, Capabilities, Health, ImageRequest, OnProgress, Progress, Reader, VideoRequest,
    encode_png,
};
use crate::media::Frame;
use crate::web::{Options, Web};

const DEFAULT_URL: &str = "http://127.0.0.1:8188";
/// Uploaded pictures are written over in turn, so that they do not fill the server's disk; more
/// than jobs that can be in the making at once.
const UPLOADS: u32 = 256;

pub struct Comfyui {
    server: Server,
    reader: Reader,
    clock: Arc<dyn Clock>,
    workflows: Workflows,
    checkpoints: (String, String),
    loras: Vec<Lora>,
    /// What the server has, as far as it was asked.
    info: Mutex<Option<Arc<ObjectInfo>>>,
    /// Tells this program's files from others'.
    session: String,
    uploads: AtomicU32,
    uses: Uses,
}

/// What a generator is used for.
#[derive(Clone, Copy, Debug)]
pub struct Uses {
    pub images: bool,
    pub videos: bool,
}

/// The user's own workflows.
struct Workflows {
    image: Option<Arc<Workflow>>,
    img2img: Option<Arc<Workflow>>,
    video: Option<Arc<Workflow>>,
    morph: Option<Arc<Workflow>>,
}

impl Workflows {
    fn load(config: &BackendConfig) -> Result<Self> {
        let load = |path: &Option<std::path::PathBuf>, role: Role| {
            let read = |path: &Path| Workflow::load(path, role, &config.workflow_map).map(Arc::new);
            path.as_deref().map(read).transpose()
        };
        Ok(Workflows {
            image: load(&config.workflow_image, Role::Image)?,
            img2img: load(&config.workflow_img2img, Role::Img2img)?,
            video: load(&config.workflow_video, Role::Video)?,
            morph: load(&config.workflow_morph, Role::Morph)?,
        })
    }

    fn of(&self, role: Role) -> Option<&Arc<Workflow>> {
        match role {
            Role::Image => self.image.as_ref(),
            Role::Img2img => self.img2img.as_ref(),
            Role::Video => self.video.as_ref(),
            Role::Morph => self.morph.as_ref(),
        }
    }

    /// Whether the built-in graph is used: where the user has none of that kind at all.
    fn is_built_in(&self, role: Role) -> bool {
        match role {
            Role::Image | Role::Img2img => self.image.is_none() && self.img2img.is_none(),
            Role::Video => self.video.is_none() && self.morph.is_none(),
            Role::Morph => false,
        }
    }
}

impl Comfyui {
    /// Reads the workflows and certificates that are set; asks nobody.
    pub fn new(
        config: &BackendConfig,
        uses: Uses,
        reader: Reader,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let options = Options {
            headers: config.headers.clone(),
            bearer: None,
            ca_file: config.tls_ca_file.clone(),
        };
        let url = config.api_url.as_deref().unwrap_or(DEFAULT_URL);
        let mut session = uuid::Uuid::new_v4().simple().to_string();
        session.truncate(8);
        Ok(Comfyui {
            server: Server { web: Web::new(url, "backend.api_url", &options)? },
            reader,
            clock,
            workflows: Workflows::load(config)?,
            checkpoints: (config.sdxl_ckpt.clone(), config.svd_ckpt.clone()),
            loras: config.loras.clone(),
            info: Mutex::new(None),
            session,
            uploads: AtomicU32::new(0),
            uses,
        })
    }

    fn has(&self, role: Role) -> bool {
        self.workflows.of(role).is_some() || self.workflows.is_built_in(role)
    }

    /// The roles that matter for what this generator is used for.
    fn roles(&self) -> impl Iterator<Item = Role> + '_ {
        let used = |role: &Role| match role {
            Role::Image | Role::Img2img => self.uses.images,
            Role::Video | Role::Morph => self.uses.videos,
        };
        let roles = [Role::Image, Role::Img2img, Role::Video, Role::Morph];
        roles.into_iter().filter(move |role| used(role) && self.has(*role))
    }

    async fn info(&self) -> Result<Arc<ObjectInfo>> {
        let known = self.info.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(info) = known {
            return Ok(info);
        }
        let found = self.server.object_info().await?;
        let info = Arc::new(ObjectInfo::from_value(found, self.server.web.shown())?);
        *self.info.lock().unwrap_or_else(PoisonError::into_inner) = Some(info.clone());
        Ok(info)
    }

    fn forget_info(&self) {
        *self.info.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn workflow(&self, role: Role, info: &ObjectInfo) -> Result<Arc<Workflow>> {
        match self.workflows.of(role) {
            Some(own) => Ok(own.clone()),
            None if self.workflows.is_built_in(role) => {
                let (sdxl, svd) = &self.checkpoints;
                let checkpoints = Checkpoints { sdxl, svd };
                Workflow::builtin(role, checkpoints, Some(info)).map(Arc::new)
            }
            None => Err(Error::usage(format!(
                "there is no workflow for this; set backend.workflow_{}",
                role.key()
            ))),
        }
    }

    /// Whether the server has all that the workflow needs, with these values in it.
    fn validate(&self, workflow: &Workflow, info: &ObjectInfo, values: &Values) -> Result<()> {
        workflow.validate_filled(info, values).map_err(|e| e.context(self.server.web.shown()))
    }

    async fn upload(&self, image: &RgbImage, what: &str) -> Result<String> {
        let number = self.uploads.fetch_add(1, Ordering::Relaxed) % UPLOADS;
        let name = format!("{}-{number}-{what}.png", self.session);
        let png = encode_png(image).await?;
        self.server.upload(&name, png).await
    }

    /// Has the workflow for `role` executed with these values.
    async fn make(
        &self,
        role: Role,
        info: &ObjectInfo,
        mut values: Values,
        on_progress: OnProgress<'_>,
    ) -> Result<Vec<Vec<u8>>> {
        let workflow = self.workflow(role, info)?;
        let mut unique = uuid::Uuid::new_v4().simple().to_string();
        unique.truncate(12);
        values.filename_prefix = Some(format!("vfaq/{}-{unique}", self.session));
        values.loras.clone_from(&self.loras);
        self.validate(&workflow, info, &values).inspect_err(|_| self.forget_info())?;
        let graph = Graph {
            nodes: workflow.fill(&values),
            outputs: workflow.outputs().to_vec(),
            wants_clip: role.is_clip(),
        };
        let made = execute(&self.server, &graph, on_progress).await;
        if matches!(&made, Err(error) if error.kind == Kind::Usage) {
            // Perhaps the server has something else now.
            self.forget_info();
        }
        made
    }

    fn from(&self) -> String {
        self.server.web.shown().to_owned()
    }
}

#[async_trait]
impl Backend for Comfyui {
    fn name(&self) -> &'static str {
        "comfyui"
    }

    fn capabilities(&self) -> Capabilities {
        let own = |role: Role| self.workflows.of(role);
        let takes_first = own(Role::Video).is_none_or(|workflow| workflow.takes_first_image());
        let prompted = |role| own(role).is_some_and(|workflow| workflow.takes_prompt());
        let steps = |role| own(role).map_or(8, |w: &Arc<Workflow>| w.size_step());
        let size_step = self.roles().map(steps).max().unwrap_or(1);
        let clips = self.roles().filter(|role| role.is_clip()).filter_map(own);
        let frame_step = clips.map(|workflow| workflow.frame_step()).max().unwrap_or(1);
        Capabilities {
            text_to_image: self.has(Role::Image),
            image_to_image: self.has(Role::Img2img),
            image_to_video: self.has(Role::Video) && takes_first,
            text_to_video: self.has(Role::Video) && !takes_first,
            first_last_frame: self.has(Role::Morph),
            text_conditioned_video: prompted(Role::Video) || prompted(Role::Morph),
            size_step,
            frame_step,
            ..Capabilities::NONE
        }
    }

    async fn check(&self) -> Result<Health> {
        let began = self.clock.now();
        let (version, devices) = self.server.stats().await?;
        let took = self.clock.now() - began;
        self.forget_info();
        let info = self.info().await?;
        let mut models = Vec::new();
        for role in self.roles() {
            let workflow = self.workflow(role, &info)?;
            let values = Values { loras: self.loras.clone(), ..Values::default() };
            self.validate(&workflow, &info, &values)?;
            models.extend(models_in(&workflow.fill(&values)));
        }
        models.sort();
        models.dedup();
        let mut notes = devices;
        if self.uses.images && !self.has(Role::Img2img) {
            notes.push(
                "no workflow makes pictures out of pictures (backend.workflow_img2img): each clip \
                 goes on from the last frame of the one before"
                    .to_owned(),
            );
        }
        Ok(Health { version, models, notes, took })
    }

    async fn generate_image(
        &self,
        request: &ImageRequest,
        on_progress: OnProgress<'_>,
    ) -> Result<RgbImage> {
        let info = self.info().await?;
        let mut values = Values {
            prompt: Some(request.prompt.clone()),
            negative_prompt: Some(request.negative_prompt.clone()),
            seed: Some(request.seed),
            width: Some(request.width),
            height: Some(request.height),
            steps: Some(request.steps),
            cfg: Some(request.cfg_scale),
            sampler: Some(request.sampler.clone()),
            denoise: Some(1.0),
            ..Values::default()
        };
        let role = match &request.init {
            Some(init) => {
                on_progress(Progress::Working { what: "uploading".into(), done: None });
                values.first_image = Some(self.upload(&init.image, "first").await?);
                values.denoise = Some(init.strength);
                Role::Img2img
            }
            None => Role::Image,
        };
        let files = self.make(role, &info, values, on_progress).await?;
        let first = files.into_iter().next().unwrap_or_default();
        self.reader.image(first, (request.width, request.height), &self.from()).await
    }

    async fn generate_video(
        &self,
        request: &VideoRequest,
        on_progress: OnProgress<'_>,
    ) -> Result<Vec<Frame>> {
        let info = self.info().await?;
        on_progress(Progress::Working { what: "uploading".into(), done: None });
        let mut values = Values {
            prompt: Some(request.prompt.clone()),
            negative_prompt: Some(request.negative_prompt.clone()),
            seed: Some(request.seed),
            width: Some(request.width),
            height: Some(request.height),
            steps: Some(request.steps),
            cfg: Some(request.cfg_scale),
            sampler: Some(request.sampler.clone()),
            frames: Some(request.frames),
            fps: Some(request.fps.as_f64()),
            motion_bucket_id: Some(request.motion_bucket_id),
            noise_aug_strength: Some(request.noise_aug_strength),
            ..Values::default()
        };
        if let Some(first) = &request.first {
            values.first_image = Some(self.upload(first, "first").await?);
        }
        let role = match &request.last {
            Some(last) => {
                values.last_image = Some(self.upload(last, "last").await?);
                Role::Morph
            }
            None => Role::Video,
        };
        let files = self.make(role, &info, values, on_progress).await?;
        self.reader.video(files, request, &self.from()).await
    }
}

/// Files of models that a graph names.
fn models_in(graph: &Value) -> Vec<String> {
    const ENDINGS: [&str; 6] = [".safetensors", ".ckpt", ".pt", ".pth", ".gguf", ".sft"];
    let nodes = graph.as_object().into_iter().flatten();
    let inputs = nodes.filter_map(|(_, node)| node.get("inputs")?.as_object()).flatten();
    let names = inputs.filter_map(|(_, value)| value.as_str());
    names.filter(|name| ENDINGS.iter().any(|e| name.ends_with(e))).map(str::to_owned).collect()
}
