//! From the settings to the generators of a show.

use std::sync::Arc;
use std::time::Duration;

use image::RgbImage;

use super::speeds::{self, Speed};
use crate::base::clock::Clock;
use crate::base::error::{Error, Result};
use crate::config::{BackendConfig, BackendKind, Config};
use crate::generate::comfyui::{Comfyui, Uses};
use crate::generate::diffusers::Diffusers;
use crate::generate::mock::{Mock, MockOptions};
use crate::generate::pool::{Member, Pool};
use crate::generate::replicate::{Replicate, Spending};
use crate::generate::{Backend, Capabilities, Health, ImageRequest, Init, Reader, VideoRequest};
use crate::media::CycleId;
use crate::stream::clip::GstClipDecoder;
use crate::worqspace::PromptBundle;

/// One generator that is set, and what it is used for.
pub struct Server<'c> {
    pub config: &'c BackendConfig,
    /// What it is called; no two have the same name.
    pub name: String,
    pub images: bool,
    pub videos: bool,
}

/// Every generator that is set, each once.
pub fn servers(config: &Config) -> Vec<Server<'_>> {
    let mut servers: Vec<Server> = Vec::new();
    let image = config.image_backends.iter().map(|backend| (backend, true));
    let video = config.video_backends.iter().map(|backend| (backend, false));
    for (backend, images) in image.chain(video) {
        match servers.iter_mut().find(|known| known.config == backend) {
            Some(known) if images => known.images = true,
            Some(known) => known.videos = true,
            None => {
                let name = name(backend);
                let same = servers
                    .iter()
                    .filter(|s| s.name == name || s.name.starts_with(&format!("{name} #")))
                    .count();
                let name = if same == 0 { name } else { format!("{name} #{}", same + 1) };
                servers.push(Server { config: backend, name, images, videos: !images });
            }
        }
    }
    servers
}

fn name(config: &BackendConfig) -> String {
    let address = config.api_url.as_deref().and_then(|url| reqwest::Url::parse(url).ok());
    match (&config.name, address, config.kind) {
        (Some(name), ..) => name.clone(),
        (None, Some(url), BackendKind::Comfyui) => {
            let shown = crate::web::shown(&url);
            let place = shown.split_once("://").map_or(&*shown, |(_, place)| place);
            format!("comfyui at {}", place.trim_end_matches('/'))
        }
        _ => config.kind.name().to_owned(),
    }
}

/// The generators of a show as one. Nothing is asked yet.
pub fn pool(config: &Config, clock: Arc<dyn Clock>) -> Result<Pool> {
    let maker = Maker::new(clock.clone());
    let mut members = Vec::new();
    for server in servers(config) {
        let backend = maker.backend(&server)?;
        let Server { config, name, images, videos } = server;
        let slots = config.jobs as usize;
        let (timeout, helps_late) = (config.timeout, config.kind != BackendKind::Replicate);
        members.push(Member { backend, name, slots, timeout, images, videos, helps_late });
    }
    // The built-in generator needs nobody to stand in for it.
    let is_real = members.iter().any(|member| member.backend.name() != "mock");
    let stand_in = (is_real && config.live.stand_in).then(|| Arc::new(mock_for_real()) as _);
    Ok(Pool::new(members, stand_in, clock))
}

fn mock_for_real() -> Mock {
    Mock::new(MockOptions { delay: Duration::ZERO, fail_rate: 0.0, label: false })
}

/// What there is to know of one generator.
pub struct Report {
    pub name: String,
    pub kind: &'static str,
    pub images: bool,
    pub videos: bool,
    pub capabilities: Capabilities,
    pub health: Result<Health>,
    pub speed: Option<Speed>,
}

/// Asks every generator that is set, all at the same time. With `measure` each makes a picture and
/// a clip.
pub fn report(
    config: &Config,
    bundle: &PromptBundle,
    measure: bool,
    clock: Arc<dyn Clock>,
) -> Result<Vec<Report>> {
    let maker = Maker::new(clock.clone());
    let mut asked = Vec::new();
    for server in servers(config) {
        asked.push((maker.backend(&server), server));
    }
    let work = async {
        let all = asked.into_iter().map(|(backend, server)| {
            let clock = clock.clone();
            async move {
                let mut report = Report {
                    name: server.name,
                    kind: server.config.kind.name(),
                    images: server.images,
                    videos: server.videos,
                    capabilities: Capabilities::NONE,
                    health: Ok(Health::default()),
                    speed: None,
                };
                report.health = match backend {
                    Ok(backend) => {
                        report.capabilities = backend.capabilities();
                        let health = check(&*backend).await;
                        match health {
                            Ok(health) if measure => {
                                let made = measure_one(&report, backend, config, bundle, clock);
                                made.await.map(|()| health)
                            }
                            other => other,
                        }
                    }
                    Err(error) => Err(error),
                };
                report
            }
        });
        futures_util::future::join_all(all).await
    };
    let mut reports = super::runtime()?.block_on(work);
    let speeds = speeds::read();
    for report in &mut reports {
        report.speed = speeds.get(&report.name).cloned();
    }
    Ok(reports)
}

/// Has a picture and a clip made, whatever of both it is used for, and remembers the times.
async fn measure_one(
    report: &Report,
    backend: Arc<dyn Backend>,
    config: &Config,
    bundle: &PromptBundle,
    clock: Arc<dyn Clock>,
) -> Result<()> {
    let generation = &config.generation;
    let can = report.capabilities;
    let pool = Pool::new(
        vec![Member {
            backend,
            name: report.name.clone(),
            slots: 1,
            timeout: Duration::from_secs(3600),
            images: true,
            videos: true,
            helps_late: false,
        }],
        None,
        clock.clone(),
    );
    let (width, height) = (generation.width, generation.height);
    let mut image = RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([(x * 255 / width) as u8, (y * 255 / height) as u8, 128])
    });
    if report.images {
        let init = (!can.text_to_image).then(|| Init { image: image.clone(), strength: 0.5 });
        let request = ImageRequest {
            cycle: CycleId(0),
            prompt: bundle.prompt.clone(),
            negative_prompt: bundle.negative_prompt.clone(),
            seed: bundle.seed.unwrap_or(1),
            width,
            height,
            steps: generation.steps,
            cfg_scale: generation.cfg_scale,
            sampler: generation.sampler.clone(),
            init,
        };
        image = pool.generate_image(&request, Duration::ZERO, &|_| ()).await?.value;
    }
    if report.videos {
        let request = VideoRequest {
            cycle: CycleId(0),
            last: (can.first_last_frame && !can.image_to_video && !can.text_to_video)
                .then(|| image.clone()),
            first: (can.image_to_video || can.first_last_frame).then_some(image),
            prompt: bundle.prompt.clone(),
            negative_prompt: bundle.negative_prompt.clone(),
            seed: bundle.seed.unwrap_or(1),
            width,
            height,
            frames: generation.video_frames,
            fps: generation.video_fps,
            steps: generation.steps,
            cfg_scale: generation.cfg_scale,
            sampler: generation.sampler.clone(),
            motion_bucket_id: generation.motion_bucket_id,
            noise_aug_strength: generation.noise_aug_strength,
        };
        pool.generate_video(&request, Duration::ZERO, &|_| ()).await?;
    }
    speeds::remember(&pool.status(), &*clock);
    Ok(())
}

/// Asks a generator whether it can be used; not for longer than a person waits.
pub async fn check(backend: &dyn Backend) -> Result<Health> {
    /// A diffusers worker that starts takes minutes.
    const PATIENCE: Duration = Duration::from_secs(190);
    tokio::time::timeout(PATIENCE, backend.check()).await.unwrap_or_else(|_| {
        Err(Error::unavailable(format!("it does not answer within {} s", PATIENCE.as_secs())))
    })
}

/// Makes generators that share what a show has only once.
pub struct Maker {
    reader: Reader,
    clock: Arc<dyn Clock>,
    /// One account book for the whole show.
    spending: Arc<Spending>,
}

impl Maker {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Maker {
            reader: Reader::new(Arc::new(GstClipDecoder)),
            clock,
            spending: Arc::new(Spending::default()),
        }
    }

    /// The generator that is set. Its files (workflows, certificates, keys) are read, nobody is
    /// asked.
    pub fn backend(&self, server: &Server<'_>) -> Result<Arc<dyn Backend>> {
        let Server { config, images, videos, .. } = *server;
        match config.kind {
            BackendKind::Mock => Ok(Arc::new(Mock::new(MockOptions {
                delay: config.mock_delay,
                fail_rate: config.mock_fail_rate,
                label: config.mock_label,
            }))),
            BackendKind::Comfyui => {
                let uses = Uses { images, videos };
                let (reader, clock) = (self.reader.clone(), self.clock.clone());
                Ok(Arc::new(Comfyui::new(config, uses, reader, clock)?))
            }
            BackendKind::Replicate => {
                let (reader, clock) = (self.reader.clone(), self.clock.clone());
                let spending = self.spending.clone();
                Ok(Arc::new(Replicate::new(config, reader, spending, clock)?))
            }
            BackendKind::Diffusers => {
                let (reader, clock) = (self.reader.clone(), self.clock.clone());
                Ok(Arc::new(Diffusers::new(config, reader, clock)?))
            }
        }
    }
}
