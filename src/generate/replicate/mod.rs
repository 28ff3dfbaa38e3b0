//! Pictures and clips from models that run at replicate.com.
//!
//! `model` knows a model and its `inputs`; `prediction` has it work, by way of `api`; `outputs`
//! fetches what it made; `spend` keeps the account book of the show.
//!
//! Holds: nothing is asked for past the limits of the show. The token goes to the API's own host
//! and is shown nowhere. Uploaded pictures are deleted when their prediction has ended.

mod api;
mod inputs;
mod model;
mod outputs;
mod prediction;
mod spend;

#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::RgbImage;
use serde_json::Value;

use self::api::{Api, Pace};
use self::inputs::{FIRST, Fill, Inputs, LAST, NEGATIVE, PICTURE, PROMPT};
use self::model::{About, Model};
use self::spend::{Limits, Ticket};
use crate::base::clock::Clock;
use crate::base::error::{Error, Result};
use crate::base::redact::{Secret, secret_file};
use crate::config::BackendConfig;
use crate::generate::{
    Backend, Capabilities, Health, ImageRequest, OnProgress, Progress, Reader, VideoRequest,
    encode_png,
};
use crate::media::Frame;
use crate::web::{Options, Web, words};

pub use self::spend::Spending;

const DEFAULT_URL: &str = "https://api.replicate.com/v1";
const TOKEN_VARIABLE: &str = "REPLICATE_API_TOKEN";
/// Pictures up to here are sent within the input itself, in bytes.
const LARGEST_INLINE: usize = 256 << 10;
/// Longest wait for an uploaded picture to be deleted.
const DELETE_PATIENCE: Duration = Duration::from_secs(10);
/// Files of a clip that are fetched: frames, if it is no video.
const MOST_FILES: usize = 1000;

pub struct Replicate {
    api: Api,
    reader: Reader,
    clock: Arc<dyn Clock>,
    image: Option<Used>,
    video: Option<Used>,
    limits: Limits,
    spending: Arc<Spending>,
}

/// A model with what is known of it, once it was asked for.
struct Used {
    model: Model,
    about: OnceLock<About>,
}

impl Used {
    fn new(name: Option<&str>, key: &'static str) -> Result<Option<Used>> {
        let Some(name) = name else { return Ok(None) };
        Ok(Some(Used { model: Model::parse(name, key)?, about: OnceLock::new() }))
    }

    async fn inputs(&self, api: &Api) -> Result<&Inputs> {
        if let Some(known) = self.about.get() {
            return Ok(&known.inputs);
        }
        let found = self.model.about(api).await?;
        Ok(&self.about.get_or_init(|| found).inputs)
    }

    /// Whether it has one of these inputs, as far as is known.
    fn has(&self, names: &[&str]) -> bool {
        self.about.get().is_none_or(|about| about.inputs.has(names))
    }

    fn takes_no_picture(&self, inputs: &Inputs) -> Error {
        Error::usage(format!(
            "{}: {} takes no picture; its inputs are: {}",
            self.model.key,
            self.model,
            inputs.names()
        ))
    }
}

/// Uploaded pictures; deleted when dropped.
struct Uploads {
    api: Api,
    ids: Vec<String>,
}

impl Uploads {
    /// What a model is to be given for this picture.
    async fn address(&mut self, picture: &RgbImage) -> Result<String> {
        let png = encode_png(picture).await?;
        if png.len() <= LARGEST_INLINE {
            return Ok(format!("data:image/png;base64,{}", STANDARD.encode(png)));
        }
        let (id, address) = self.api.upload(&png).await?;
        self.ids.push(id);
        Ok(address)
    }
}

impl Drop for Uploads {
    fn drop(&mut self) {
        let (api, ids) = (self.api.clone(), std::mem::take(&mut self.ids));
        if ids.is_empty() {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let deleted = tokio::time::timeout(DELETE_PATIENCE, async {
                    for id in &ids {
                        api.delete(id).await?;
                    }
                    Ok::<_, Error>(())
                });
                if let Ok(Err(error)) = deleted.await {
                    tracing::debug!("an uploaded picture could not be deleted: {error}");
                }
            });
        }
    }
}

/// The token: of the settings, of a file, or of the environment.
fn token(config: &BackendConfig, environment: Option<String>) -> Result<Secret> {
    let token = match (&config.api_token, &config.api_token_file, environment) {
        (Some(token), ..) => token.clone(),
        (None, Some(file), _) => {
            secret_file(file).map_err(|e| e.context("backend.api_token_file"))?
        }
        (None, None, Some(token)) => Secret::new(token.trim()),
        (None, None, None) => Secret::new(""),
    };
    if token.reveal().trim().is_empty() {
        return Err(Error::usage(format!(
            "Replicate needs a token: put one from replicate.com/account/api-tokens into the \
             environment variable {TOKEN_VARIABLE}, or name a file with it in \
             backend.api_token_file"
        )));
    }
    Ok(token)
}

impl Replicate {
    /// Reads the token; asks nobody.
    pub fn new(
        config: &BackendConfig,
        reader: Reader,
        spending: Arc<Spending>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        const KEY: &str = "backend.api_url";
        let limits = Limits::new(config)?;
        let image = Used::new(config.image_model.as_deref(), "backend.image_model")?;
        let video = Used::new(config.video_model.as_deref(), "backend.video_model")?;
        let url = config.api_url.as_deref().unwrap_or(DEFAULT_URL);
        let options = Options {
            headers: config.headers.clone(),
            bearer: Some(token(config, std::env::var(TOKEN_VARIABLE).ok())?),
            ca_file: config.tls_ca_file.clone(),
        };
        let bare = Options { ca_file: config.tls_ca_file.clone(), ..Options::default() };
        let api = Api {
            web: Web::new(url, KEY, &options)?,
            other: Web::new(url, KEY, &bare)?,
            pace: Pace::NORMAL,
            cancel_after: config.timeout,
            plain_http: false,
        };
        Ok(Replicate { api, reader, clock, image, video, limits, spending })
    }

    fn uploads(&self) -> Uploads {
        Uploads { api: self.api.clone(), ids: Vec::new() }
    }

    fn reserve(&self, used: &Used) -> Result<Ticket> {
        self.spending.reserve(self.limits, &used.model.to_string())
    }

    /// Has the model work on `input`; the contents of at most `most` files that it makes.
    async fn make(
        &self,
        used: &Used,
        input: Value,
        ticket: Ticket,
        most: usize,
        on_progress: OnProgress<'_>,
    ) -> Result<Vec<Vec<u8>>> {
        let (api, model) = (&self.api, &used.model);
        let latest = used.about.get().and_then(|about| about.latest.as_deref());
        let clock = self.clock.clone();
        let output =
            prediction::predict(api, model, latest, input, ticket, clock, on_progress).await?;
        on_progress(Progress::Working { what: "fetching".into(), done: None });
        outputs::fetch_all(api, &output, most, &model.to_string()).await
    }
}

fn not_set(key: &str, what: &str) -> Error {
    Error::usage(format!(
        "{key} is not set, so Replicate cannot make {what}; name a model as on replicate.com, as \
         OWNER/NAME"
    ))
}

#[async_trait]
impl Backend for Replicate {
    fn name(&self) -> &'static str {
        "replicate"
    }

    fn capabilities(&self) -> Capabilities {
        let video = self.video.as_ref();
        Capabilities {
            text_to_image: self.image.is_some(),
            image_to_image: self.image.as_ref().is_some_and(|used| used.has(PICTURE)),
            image_to_video: video.is_some(),
            text_conditioned_video: video.is_some_and(|used| used.has(PROMPT)),
            ..Capabilities::NONE
        }
    }

    async fn check(&self) -> Result<Health> {
        let began = self.clock.now();
        let account = self.api.json("account", "asking for the account").await?;
        let took = self.clock.now().saturating_sub(began);
        let user = account.get("username").and_then(Value::as_str).unwrap_or_default();
        let mut notes = Vec::new();
        if !user.is_empty() {
            notes.push(format!("account {}", words(user.as_bytes())));
        }
        let mut models = Vec::new();
        for used in [&self.image, &self.video].into_iter().flatten() {
            used.inputs(&self.api).await?;
            models.push(used.model.to_string());
        }
        if models.is_empty() {
            return Err(not_set("backend.image_model or backend.video_model", "anything"));
        }
        if let Some(used) = &self.image
            && !used.has(PICTURE)
        {
            notes.push(format!(
                "{} takes no picture: each clip goes on from the last frame of the one before",
                used.model
            ));
        }
        if let Some(used) = &self.video
            && let Some(about) = used.about.get()
            && !about.inputs.has(FIRST)
        {
            return Err(used.takes_no_picture(&about.inputs));
        }
        if !self.limits.any() {
            notes.push(
                "a show may cost any amount: neither backend.max_predictions nor backend.max_cost \
                 is set"
                    .to_owned(),
            );
        }
        Ok(Health { version: None, models, notes, took })
    }

    async fn generate_image(
        &self,
        request: &ImageRequest,
        on_progress: OnProgress<'_>,
    ) -> Result<RgbImage> {
        let used = self.image.as_ref().ok_or_else(|| not_set("backend.image_model", "pictures"))?;
        let ticket = self.reserve(used)?;
        let inputs = used.inputs(&self.api).await?;
        let mut uploads = self.uploads();
        let mut fill = Fill::new(inputs);
        fill.text(PROMPT, &request.prompt);
        fill.text(NEGATIVE, &request.negative_prompt);
        if let Some(init) = &request.init {
            if !inputs.has(PICTURE) {
                return Err(used.takes_no_picture(inputs));
            }
            on_progress(Progress::Working { what: "uploading".into(), done: None });
            fill.picture(PICTURE, &uploads.address(&init.image).await?);
            fill.strength(init.strength);
        }
        fill.seed(request.seed);
        fill.size(request.width, request.height);
        fill.steps(request.steps);
        fill.guidance(request.cfg_scale);
        fill.sampler(&request.sampler);
        let files = self.make(used, fill.finish(), ticket, 1, on_progress).await?;
        let first = files.into_iter().next().unwrap_or_default();
        self.reader.image(first, (request.width, request.height), &used.model.to_string()).await
    }

    async fn generate_video(
        &self,
        request: &VideoRequest,
        on_progress: OnProgress<'_>,
    ) -> Result<Vec<Frame>> {
        let used = self.video.as_ref().ok_or_else(|| not_set("backend.video_model", "clips"))?;
        let ticket = self.reserve(used)?;
        let inputs = used.inputs(&self.api).await?;
        let mut uploads = self.uploads();
        let mut fill = Fill::new(inputs);
        fill.text(PROMPT, &request.prompt);
        fill.text(NEGATIVE, &request.negative_prompt);
        if let Some(first) = &request.first {
            if !inputs.has(FIRST) {
                return Err(used.takes_no_picture(inputs));
            }
            on_progress(Progress::Working { what: "uploading".into(), done: None });
            fill.picture(FIRST, &uploads.address(first).await?);
        }
        if let Some(last) = &request.last
            && inputs.has(LAST)
        {
            fill.picture(LAST, &uploads.address(last).await?);
        }
        fill.seed(request.seed);
        fill.size(request.width, request.height);
        fill.length(request.frames, request.fps.as_f64());
        fill.steps(request.steps);
        fill.guidance(request.cfg_scale);
        fill.sampler(&request.sampler);
        fill.motion(request.motion_bucket_id, request.noise_aug_strength);
        let files = self.make(used, fill.finish(), ticket, MOST_FILES, on_progress).await?;
        self.reader.video(files, request, &used.model.to_string()).await
    }
}
