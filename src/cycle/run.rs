//! Leads a cycle through its stages: pending, constructing, constructed, inspecting, complete; or
//! failed. The briq is saved at each.
//!
//! In a live show the raw clip is what airs, so [`make`] hands it out as soon as it is archived;
//! [`finish`] shapes the archived video afterwards, in no hurry. In keyframe mode still and clip are
//! made apart: [`make_key`], then [`make_between`].

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use image::RgbImage;

use super::construqtor::{Built, Source, Tools, make_clip, make_still};
use super::inspeqtor::inspect;
use super::instruqtor::{Instruction, instruct, new_id};
use super::{Briq, BriqStatus, Guidance};
use crate::archive::journal::{CycleStatus, Event};
use crate::archive::{FailedCycle, Handle, Project};
use crate::base::clock::{Clock, iso8601};
use crate::base::error::{Error, Kind, Result};
use crate::config::{ChainFrame, Chaining, Config, Generation, Looping};
use crate::generate::Progress;
use crate::generate::convert::frame_to_rgb;
use crate::generate::pool::Pool;
use crate::llm::{Ahead, Ask};
use crate::media::{Clip, ClipEncoder, CycleId, Frame};
use crate::worqspace::PromptBundle;

/// Everything that cycles are made with; the same for a whole show.
#[derive(Clone)]
pub struct Workshop {
    pub project: Arc<Project>,
    pub archive: Handle,
    pub pool: Arc<Pool>,
    pub encoder: Arc<dyn ClipEncoder>,
    pub clock: Arc<dyn Clock>,
    /// Writes prompts; without one they evolve by themselves.
    pub writer: Option<Arc<Ahead>>,
}

/// The parts of the configuration that a cycle is made by.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    pub generation: &'a Generation,
    pub chaining: &'a Chaining,
    pub looping: &'a Looping,
    pub quality_tags: &'a [String],
    /// Attempts after the first.
    pub max_retries: u32,
}

impl<'a> From<&'a Config> for Settings<'a> {
    fn from(config: &'a Config) -> Self {
        Settings {
            generation: &config.generation,
            chaining: &config.chaining,
            looping: &config.looping,
            quality_tags: &config.prompt_drift.quality_tags,
            max_retries: config.cycle.max_retries,
        }
    }
}

/// One cycle to be made.
pub struct Order<'a> {
    pub cycle: CycleId,
    pub bundle: &'a PromptBundle,
    pub settings: Settings<'a>,
    pub base_seed: i64,
    /// What performers ask of it beside brief and settings; `None`: nobody can.
    pub asked: Option<&'a Guidance>,
    /// `None`: begin from the brief.
    pub previous: Option<&'a Previous>,
    /// Between attempts.
    pub retry_delay: Duration,
    /// How long a job can wait for servers that are all gone.
    pub patience: &'a (dyn Fn() -> Duration + Send + Sync),
}

/// The cycle that the next one grows out of.
#[derive(Clone, Debug)]
pub struct Previous {
    /// `None`: lost, or never written by an older program.
    pub briq: Option<Briq>,
    /// Its raw clip.
    pub raw: PathBuf,
    /// The frame of the raw clip that is carried on.
    pub frame: RgbImage,
}

/// Hears where a cycle is. It is called often and must return at once.
pub type OnStage<'a> = &'a (dyn Fn(Stage) + Send + Sync);

/// Where a cycle is.
#[derive(Clone, Debug, PartialEq)]
pub enum Stage {
    Image,
    Video,
    /// How far the generator is with the picture or the clip.
    Progress(Progress),
    Archive,
    /// An attempt failed; the next one, of this number (the first retry is 1), follows.
    Retry {
        number: u32,
        error: String,
    },
}

impl Stage {
    /// As the status shows it; `None`: still in the one before.
    pub fn name(&self) -> Option<&'static str> {
        match self {
            Stage::Image => Some("image"),
            Stage::Video => Some("video"),
            Stage::Progress(_) => None,
            Stage::Archive => Some("archive"),
            Stage::Retry { .. } => Some("retry"),
        }
    }
}

/// A cycle whose raw clip is archived; after [`finish`], its video too.
#[derive(Debug)]
pub struct Made {
    pub briq: Briq,
    pub built: Arc<Built>,
    /// Retries that it took.
    pub retries: u32,
    /// Length of its archived video; 0 until that is finished.
    pub video_seconds: f64,
}

impl Made {
    /// What the next cycle grows out of.
    pub fn previous(&self, chain: ChainFrame) -> Previous {
        let frames = &self.built.frames;
        let index = match chain {
            ChainFrame::Last => frames.len() - 1,
            ChainFrame::Middle => frames.len() / 2,
        };
        Previous {
            briq: Some(self.briq.clone()),
            raw: self.built.clip.path.clone(),
            frame: frame_to_rgb(&frames[index]),
        }
    }
}

/// [`make`], then [`finish`].
pub async fn run_cycle(
    workshop: &Workshop,
    order: &Order<'_>,
    on_stage: OnStage<'_>,
) -> Result<Made> {
    let made = make(workshop, order, on_stage).await?;
    finish(workshop, made, order.settings.looping).await
}

/// Writes the briq and makes the raw clip, with as many retries as the settings allow. After the
/// last one the cycle is recorded as failed and its error returned. An error of the user's input
/// is not tried again.
pub async fn make(workshop: &Workshop, order: &Order<'_>, on_stage: OnStage<'_>) -> Result<Made> {
    let mut briq = begin(workshop, order);
    let source = source(order, &briq);
    let tools = workshop.tools(order, on_stage);
    let attempt = |briq: &mut Briq| {
        let (mut own, source, tools) = (briq.clone(), source.clone(), &tools);
        async move {
            own.backend_used.clear();
            let still = make_still(&mut own, source, tools).await?;
            let built = make_clip(&mut own, still, None, tools).await?;
            Ok((own, built))
        }
    };
    let (built, retries) = with_retries(workshop, &mut briq, order, on_stage, attempt).await?;
    Ok(constructed(workshop, briq, built, retries))
}

/// A cycle in keyframe mode whose still is there.
#[derive(Clone, Debug)]
pub struct Key {
    pub briq: Briq,
    pub still: RgbImage,
}

/// Keyframe mode: writes the briq and makes the still; as [`make`].
pub async fn make_key(
    workshop: &Workshop,
    order: &Order<'_>,
    on_stage: OnStage<'_>,
) -> Result<Key> {
    let mut briq = begin(workshop, order);
    let source = source(order, &briq);
    let tools = workshop.tools(order, on_stage);
    let attempt = |briq: &mut Briq| {
        let (mut own, source, tools) = (briq.clone(), source.clone(), &tools);
        async move {
            own.backend_used.clear();
            let still = make_still(&mut own, source, tools).await?.ok_or_else(|| {
                Error::usage(
                    "clips between two pictures need pictures; set chaining.keyframes: off",
                )
            })?;
            Ok((own, still))
        }
    };
    let (still, _) = with_retries(workshop, &mut briq, order, on_stage, attempt).await?;
    workshop.archive.save_briq(&briq);
    Ok(Key { briq, still })
}

/// Keyframe mode: makes the raw clip from one still to the `next`; as [`make`].
pub async fn make_between(
    workshop: &Workshop,
    order: &Order<'_>,
    key: Key,
    next: RgbImage,
    on_stage: OnStage<'_>,
) -> Result<Made> {
    let Key { mut briq, still } = key;
    let tools = workshop.tools(order, on_stage);
    let attempt = |briq: &mut Briq| {
        let (mut own, still, next, tools) = (briq.clone(), still.clone(), next.clone(), &tools);
        async move {
            let built = make_clip(&mut own, Some(still), Some(next), tools).await?;
            Ok((own, built))
        }
    };
    let (built, retries) = with_retries(workshop, &mut briq, order, on_stage, attempt).await?;
    Ok(constructed(workshop, briq, built, retries))
}

impl Workshop {
    fn tools<'a>(&'a self, order: &Order<'a>, on_stage: OnStage<'a>) -> Tools<'a> {
        Tools {
            pool: &self.pool,
            encoder: self.encoder.clone(),
            project: &self.project,
            patience: order.patience,
            on_stage,
        }
    }
}

/// Writes the briq of the cycle and enters it in the state. Asks for the next one's prompt.
fn begin(workshop: &Workshop, order: &Order<'_>) -> Briq {
    let Workshop { project, archive, clock, writer, .. } = workshop;
    let writer = writer.as_ref().filter(|_| order.asked.is_none_or(|asked| asked.evolves));
    let suggestion = writer.and_then(|writer| writer.take(order.cycle));
    let mut briq = instruct(&Instruction {
        cycle: order.cycle,
        bundle: order.bundle,
        settings: &order.settings,
        base_seed: order.base_seed,
        asked: order.asked,
        previous: order.previous,
        suggestion: suggestion.as_ref(),
        now: clock.wall(),
    });
    if let Some(writer) = writer {
        writer.begin(ask(order, &briq));
    }
    briq.base_video_path = order.previous.map(|previous| project.recorded_path(&previous.raw));
    briq.backend_used = workshop.pool.names();
    archive.save_briq(&briq);
    archive.update_state(|state| {
        // One before the last may be made again; the next run goes on behind the last.
        state.current_cycle = state.current_cycle.max(order.cycle.0);
        state.active_briq_id = Some(briq.briq_id.clone());
        state.base_seed = Some(order.base_seed);
    });
    briq
}

/// What a language model is asked for the cycle after this one.
fn ask(order: &Order<'_>, briq: &Briq) -> Ask {
    let Order { bundle, previous, .. } = order;
    let before = previous.and_then(|previous| previous.briq.as_ref());
    Ask {
        cycle: CycleId(briq.cycle_index.saturating_add(1)),
        seed: briq.seed.wrapping_add(order.settings.chaining.seed_step),
        title: bundle.title.clone(),
        prompt: bundle.prompt.clone(),
        negative_prompt: briq.negative_prompt.clone(),
        style_hints: bundle.style_hints.clone(),
        motion_prompt: bundle.motion_prompt.clone(),
        history: briq.evolution.clone(),
        last_prompts: before.into_iter().chain([briq]).map(|briq| briq.prompt.clone()).collect(),
    }
}

fn source(order: &Order<'_>, briq: &Briq) -> Source {
    match (order.previous, &briq.base_image_path) {
        (Some(previous), _) => Source::Chained(previous.frame.clone()),
        (None, Some(path)) => Source::Image(path.into()),
        (None, None) => Source::Text,
    }
}

/// Tries until it succeeds or the settings allow no more; keeps the briq up to date. Returns what
/// was made, and the number of retries.
async fn with_retries<T, F: Future<Output = Result<(Briq, T)>> + Send>(
    workshop: &Workshop,
    briq: &mut Briq,
    order: &Order<'_>,
    on_stage: OnStage<'_>,
    attempt: impl Fn(&mut Briq) -> F + Send,
) -> Result<(T, u32)> {
    let mut retries = 0;
    loop {
        enter(workshop, briq, BriqStatus::Constructing);
        let began = workshop.clock.now();
        match attempt(briq).await {
            Ok((made_by, made)) => {
                *briq = made_by;
                briq.generation_time += (workshop.clock.now() - began).as_secs_f64();
                briq.error_message = None;
                return Ok((made, retries));
            }
            Err(error) if error.kind == Kind::Usage || retries >= order.settings.max_retries => {
                return Err(fail(workshop, briq.clone(), error));
            }
            Err(error) => {
                retries += 1;
                let error = error.to_string();
                tracing::warn!("cycle {} failed, retry {retries} follows: {error}", order.cycle.0);
                briq.error_message = Some(error.clone());
                on_stage(Stage::Retry { number: retries, error });
                tokio::time::sleep(order.retry_delay).await;
            }
        }
    }
}

fn constructed(workshop: &Workshop, mut briq: Briq, built: Built, retries: u32) -> Made {
    enter(workshop, &mut briq, BriqStatus::Constructed);
    workshop.archive.journal(Event::Cycle {
        cycle: briq.cycle_index,
        status: CycleStatus::Generated,
        seconds: Some(briq.generation_time),
        reason: None,
    });
    Made { briq, built: Arc::new(built), retries, video_seconds: 0.0 }
}

/// A cycle of which the raw clip was archived earlier, as far as [`finish`] needs it; `frames` are
/// those of `clip`. Without a briq it gets one that tells the little that is known.
pub fn resume_made(
    workshop: &Workshop,
    briq: Option<Briq>,
    clip: Clip,
    frames: Vec<Frame>,
) -> Made {
    let project = &workshop.project;
    let mut briq = briq.unwrap_or_else(|| Briq {
        briq_id: new_id(clip.cycle),
        cycle_index: clip.cycle.0,
        created_at: iso8601(workshop.clock.wall()),
        ..Default::default()
    });
    // A kill may have come between a file and the briq that tells of it.
    briq.error_message = None;
    briq.raw_video_path.get_or_insert_with(|| project.recorded_path(&clip.path));
    let still = project.source_image(&briq.briq_id);
    if briq.source_image_path.is_none() && still.is_file() {
        briq.source_image_path = Some(project.recorded_path(&still));
    }
    Made { briq, built: Arc::new(Built { clip, frames }), retries: 0, video_seconds: 0.0 }
}

/// A cycle whose clip and video were made earlier, and on which the last word was not said: says it.
/// `seconds`: of the video.
pub fn acknowledge(workshop: &Workshop, mut made: Made, video: &Path, seconds: f64) {
    made.briq.looped_video_path = Some(workshop.project.recorded_path(video));
    complete(workshop, made, seconds);
}

/// Records a cycle as failed that was made too far to be tried again.
pub fn give_up(workshop: &Workshop, made: Made, error: Error) -> Error {
    fail(workshop, made.briq, error)
}

/// Keyframe mode: records a cycle as failed, as there is no picture for its clip to lead to.
pub fn give_up_key(workshop: &Workshop, key: Key, error: Error) -> Error {
    fail(workshop, key.briq, error)
}

/// Makes the archived video of a cycle, completes its briq and enters it in the state. If that
/// fails the cycle is recorded as failed, while its raw clip stays.
pub async fn finish(workshop: &Workshop, made: Made, looping: &Looping) -> Result<Made> {
    let Workshop { project, encoder, .. } = workshop;
    let Made { mut briq, built, retries, .. } = made;
    enter(workshop, &mut briq, BriqStatus::Inspecting);
    let video_seconds = match inspect(&mut briq, &built, looping, encoder.clone(), project).await {
        Ok(seconds) => seconds,
        Err(error) => return Err(fail(workshop, briq, error)),
    };
    Ok(complete(workshop, Made { briq, built, retries, video_seconds }, video_seconds))
}

/// Completes the briq and enters the cycle in the state.
fn complete(workshop: &Workshop, made: Made, video_seconds: f64) -> Made {
    let Workshop { project, archive, .. } = workshop;
    let Made { mut briq, built, retries, .. } = made;
    enter(workshop, &mut briq, BriqStatus::Complete);
    archive.update_state(|state| {
        let cycle = briq.cycle_index;
        state.current_cycle = state.current_cycle.max(cycle + 1);
        state.active_briq_id.take_if(|active| *active == briq.briq_id);
        // A video that was lost is made again, and counts once.
        if !state.completed_briqs.contains(&briq.briq_id) {
            state.completed_briqs.push(briq.briq_id.clone());
            state.remember_prompt(&briq.prompt);
            state.total_generation_time += briq.generation_time;
            state.total_video_duration += video_seconds;
        }
        let video = project.recorded_path(&project.cycle_video(CycleId(cycle)));
        // Older entries are paths of another machine.
        let name = format!("cycle{}_video.mp4", CycleId(cycle));
        if !state.cycle_video_paths.iter().any(|listed| listed.ends_with(&name)) {
            state.cycle_video_paths.push(video);
        }
        state.failed_cycles.retain(|failed| failed.cycle() != Some(cycle));
    });
    Made { briq, built, retries, video_seconds }
}

fn enter(workshop: &Workshop, briq: &mut Briq, status: BriqStatus) {
    briq.status = status;
    workshop.archive.save_briq(briq);
}

/// Records the cycle as failed; hands the error back with its number.
fn fail(workshop: &Workshop, mut briq: Briq, error: Error) -> Error {
    let cycle_index = briq.cycle_index;
    let text = error.to_string();
    briq.error_message = Some(text.clone());
    enter(workshop, &mut briq, BriqStatus::Failed);
    let failed = FailedCycle::Detailed {
        cycle_index,
        briq_id: briq.briq_id.clone(),
        failed_at: iso8601(workshop.clock.wall()),
        error: text.clone(),
    };
    workshop.archive.update_state(|state| {
        state.active_briq_id.take_if(|active| *active == briq.briq_id);
        state.failed_cycles.retain(|failed| failed.cycle() != Some(cycle_index));
        state.failed_cycles.push(failed);
    });
    workshop.archive.journal(Event::Cycle {
        cycle: cycle_index,
        status: CycleStatus::Failed,
        seconds: None,
        reason: Some(text),
    });
    error.context(format!("cycle {cycle_index}"))
}
