//! The last steps of cycles that a kill came upon: a clip gets its video, and state and briq hear of
//! what was made.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::Stop;
use crate::app::{backends, runtime};
use crate::archive::survey::Cycle;
use crate::archive::{self, Archive, Project, Survey, mp4};
use crate::base::clock::Clock;
use crate::base::error::Result;
use crate::config::{BackendKind, Config};
use crate::cycle::{self, Made, Workshop};
use crate::generate::blocking;
use crate::media::{Clip, ClipDecoder, CycleId, VideoFormat};
use crate::stream::clip::{GstClipDecoder, GstClipEncoder};

/// What is encoded while the work is stopped.
const LEAVE_LIMIT: Duration = Duration::from_secs(5);

/// Completes one cycle, whose raw clip is whole. `None`: all of it was there, and only entered.
///
/// # Errors
/// Its clip cannot be decoded, or its video not written; the cycle is recorded as failed.
pub(super) async fn complete(
    workshop: &Workshop,
    decoder: Arc<dyn ClipDecoder>,
    config: &Config,
    cycle: &Cycle,
    raw: &Path,
) -> Result<Option<Made>> {
    let clip = |format, frames| Clip {
        cycle: cycle.cycle,
        path: raw.to_owned(),
        format,
        frames,
        prompt: cycle.briq.as_ref().map(|briq| briq.prompt.as_str()).unwrap_or("").into(),
    };
    let without_pictures = || {
        let generation = &config.generation;
        let (width, height, fps) = (generation.width, generation.height, generation.video_fps);
        let clip = clip(VideoFormat { width, height, fps }, 0);
        cycle::resume_made(workshop, cycle.briq.clone(), clip, Vec::new())
    };
    if let Some(video) = cycle.video.whole() {
        let seconds = mp4::seconds(video).unwrap_or(0.0);
        cycle::acknowledge(workshop, without_pictures(), video, seconds);
        return Ok(None);
    }
    let path = raw.to_owned();
    let decoded = match blocking(move || decoder.decode(&path)).await {
        Ok(decoded) => decoded,
        Err(error) => return Err(cycle::give_up(workshop, without_pictures(), error)),
    };
    let clip = clip(decoded.format, decoded.frames.len() as u32);
    let made = cycle::resume_made(workshop, cycle.briq.clone(), clip, decoded.frames);
    cycle::finish(workshop, made, &config.looping).await.map(Some)
}

/// Completes all cycles of a project that need it. Nothing is generated, so neither brief nor
/// generators have to be there. `on_cycle` is told those that get a video. Returns whether all was
/// done: `stop` ends it behind a cycle.
///
/// # Errors
/// The project cannot be opened or written. A cycle that cannot be completed is recorded as failed.
pub fn complete_all(
    config: &Config,
    folder: &Path,
    clock: Arc<dyn Clock>,
    stop: &watch::Receiver<Stop>,
    on_cycle: &mut dyn FnMut(CycleId),
) -> Result<bool> {
    let mut config = config.clone();
    config.use_backend(BackendKind::Mock);
    let briqs_dir = config.paths.briqs_dir.clone();
    let project = Arc::new(Project::open(archive::Open {
        folder,
        briqs_dir: briqs_dir.as_deref(),
        fresh: false,
        must_exist: true,
        // The settings that the cycles were made with are kept already, or lost.
        config_text: "",
        who: "vfaq assemble",
        now: clock.wall(),
    })?);
    let survey = Survey::of(folder, briqs_dir.as_deref())?;
    let archive = Archive::start(project.clone(), clock.clone())?;
    let workshop = Workshop {
        project,
        archive: archive.handle(),
        pool: Arc::new(backends::pool(&config, clock.clone())?),
        encoder: Arc::new(GstClipEncoder),
        clock,
        writer: None,
    };
    let runtime = runtime()?;
    let mut all = true;
    for (cycle, raw) in survey.unfinished() {
        if *stop.borrow() != Stop::No {
            all = false;
            break;
        }
        if cycle.video.whole().is_none() {
            on_cycle(cycle.cycle);
        }
        let decoder = Arc::new(GstClipDecoder);
        if let Err(error) = runtime.block_on(complete(&workshop, decoder, &config, cycle, raw)) {
            tracing::warn!("{error}");
        }
    }
    drop(workshop);
    runtime.shutdown_timeout(LEAVE_LIMIT);
    archive.close()?;
    Ok(all)
}
