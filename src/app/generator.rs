//! The generating half of a show: cycle after cycle, as far ahead as the settings say.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam_channel::Sender;

use super::prepare_show::Backends;
use super::report::Notice;
use crate::archive::{PlayableCycle, ResumePoint};
use crate::base::clock::Clock;
use crate::base::error::Result;
use crate::base::telemetry::{Counter, Generating};
use crate::config::{ChainFrame, Config};
use crate::cycle::{self, Order, Previous, Settings, Workshop};
use crate::generate::LookAhead;
use crate::generate::convert::frame_to_rgb;
use crate::media::{Clip, ClipDecoder, CycleId, Origin, VideoFormat};
use crate::prepare::{Job, Preparer};
use crate::ring::Runway;
use crate::show::Topic;
use crate::worqspace::PromptBundle;

/// How often the scheduler looks.
const TICK: Duration = Duration::from_millis(50);
/// Between the attempts at one cycle.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// What the generating half says of itself.
#[derive(Default)]
pub struct GeneratorInfo {
    pub generated: Counter,
    pub failed: Counter,
    paused: AtomicBool,
    now: Mutex<Option<Making>>,
    expected_ms: AtomicU64,
}

struct Making {
    cycle: u32,
    stage: &'static str,
    since: Duration,
}

impl GeneratorInfo {
    /// The cycle in the making.
    pub fn generating(&self, now: Duration) -> Option<Generating> {
        let making = self.now.lock().unwrap_or_else(|p| p.into_inner());
        making.as_ref().map(|m| Generating {
            cycle: m.cycle,
            stage: m.stage,
            elapsed_s: now.saturating_sub(m.since).as_secs_f64(),
            expected_s: self.expected_s(),
        })
    }

    /// What a cycle takes, lately.
    pub fn expected_s(&self) -> Option<f64> {
        match self.expected_ms.load(Ordering::Relaxed) {
            0 => None,
            ms => Some(ms as f64 / 1000.0),
        }
    }

    /// Begin no cycle for the time being.
    pub fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }

    fn stage(&self, cycle: u32, stage: &'static str, now: Duration) {
        let mut making = self.now.lock().unwrap_or_else(|p| p.into_inner());
        let since = making.as_ref().filter(|m| m.cycle == cycle).map_or(now, |m| m.since);
        *making = Some(Making { cycle, stage, since });
    }

    fn idle(&self) {
        *self.now.lock().unwrap_or_else(|p| p.into_inner()) = None;
    }
}

pub struct Generator {
    pub config: Config,
    pub bundle: PromptBundle,
    pub workshop: Workshop,
    pub decoder: Arc<dyn ClipDecoder>,
    pub resume: ResumePoint,
    pub preparer: Preparer,
    pub runway: Runway,
    pub info: Arc<GeneratorInfo>,
    pub notices: Sender<Notice>,
}

impl Generator {
    /// Makes cycles until the show is over. Dropping the future cancels the cycle in the making;
    /// a later session makes it again.
    pub async fn run(self) {
        let clock = self.workshop.clock.clone();
        let base_seed =
            self.resume.base_seed.or(self.bundle.seed).unwrap_or_else(|| seed_of(&*clock));
        let mut previous = self.previous().await;
        let mut cycle = self.resume.next_cycle;
        let mut look_ahead = LookAhead::new(self.config.live.buffer_seconds);
        loop {
            let ahead = self.runway.seconds() + self.preparer.waiting_seconds();
            let ready = self.preparer.has_room() && !self.info.paused.load(Ordering::Relaxed);
            if !ready || !look_ahead.should_start(clock.now(), ahead) {
                tokio::time::sleep(TICK).await;
                continue;
            }
            let order = Order {
                cycle,
                bundle: &self.bundle,
                settings: Settings::from(&self.config),
                base_seed,
                previous: previous.as_ref(),
                retry_delay: RETRY_DELAY,
            };
            let began = clock.now();
            match self.one(&order).await {
                Ok(next) => {
                    look_ahead.made(clock.now() - began);
                    let expected = look_ahead.expected().unwrap_or_default();
                    self.info.expected_ms.store(expected.as_millis() as u64, Ordering::Relaxed);
                    self.info.generated.add(1);
                    previous = Some(next);
                }
                Err(error) => {
                    self.info.failed.add(1);
                    if !self.config.cycle.continue_on_error {
                        self.notice(Some(format!(
                            "{error}; no more cycles are made (cycle.continue_on_error is off), \
                             earlier ones are shown again"
                        )));
                        self.info.idle();
                        return;
                    }
                    let pause = look_ahead.failed(clock.now());
                    self.notice(Some(format!("{error}; the next one in {} s", pause.as_secs())));
                }
            }
            self.info.idle();
            cycle = CycleId(cycle.0 + 1);
            let most = u64::from(self.config.cycle.max_cycles);
            if most > 0 && self.info.generated.get() >= most {
                self.notice(Some(format!(
                    "{most} cycles are made (cycle.max_cycles); from here on they are shown again"
                )));
                return;
            }
        }
    }

    /// Makes a cycle, sends it on its way to the picture, and archives it.
    async fn one(&self, order: &Order<'_>) -> Result<Previous> {
        let clock = self.workshop.clock.clone();
        let number = order.cycle.0;
        self.info.stage(number, "image", clock.now());
        let info = self.info.clone();
        let made = cycle::make(&self.workshop, order, &move |stage| {
            info.stage(number, stage.name(), clock.now());
        })
        .await?;
        self.notice(None);
        let next = made.previous(self.config.chaining.frame);
        let clip = made.built.clip.clone();
        // Room was there before the cycle was begun, and nobody else hands clips over meanwhile.
        let _ = self.preparer.prepare(Job { clip, origin: Origin::Cycle, reversed: false });
        if let Err(error) = cycle::finish(&self.workshop, made, &self.config.looping).await {
            // It is on its way to the picture all the same.
            self.notice(Some(format!("{error}; its archived video is missing")));
        }
        Ok(next)
    }

    /// The frame that the first new cycle grows out of, when a show is resumed.
    async fn previous(&self) -> Option<Previous> {
        let (cycle, raw) = self.resume.last_raw.clone()?;
        let decoder = self.decoder.clone();
        let path = raw.clone();
        let decoded = tokio::task::spawn_blocking(move || decoder.decode(&path)).await;
        let frames = match decoded {
            Ok(Ok(decoded)) => decoded.frames,
            Ok(Err(error)) => {
                self.notice(Some(format!("cycle {cycle} cannot be continued: {error}")));
                return None;
            }
            Err(_) => return None,
        };
        let index = match self.config.chaining.frame {
            ChainFrame::Last => frames.len() - 1,
            ChainFrame::Middle => frames.len() / 2,
        };
        Some(Previous {
            briq: self.resume.last_briq.clone(),
            raw,
            frame: frame_to_rgb(&frames[index]),
        })
    }

    fn notice(&self, text: Option<String>) {
        let _ = self.notices.try_send(Notice { topic: Topic::Generator, text });
    }
}

/// A seed for a project whose brief names none.
fn seed_of(clock: &dyn Clock) -> i64 {
    let since = clock.wall().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    (since.as_nanos() % u128::from(u32::MAX)) as i64
}

/// Workers and folders that cycles are made with.
pub fn workshop(
    backends: Backends,
    project: Arc<crate::archive::Project>,
    archive: crate::archive::Handle,
    encoder: Arc<dyn crate::media::ClipEncoder>,
    clock: Arc<dyn Clock>,
) -> Workshop {
    Workshop { project, archive, image: backends.image, video: backends.video, encoder, clock }
}

/// A job for an archived cycle; its format is found when it is decoded.
pub fn archived(cycle: &PlayableCycle, config: &Config, origin: Origin, reversed: bool) -> Job {
    let generation = &config.generation;
    let format = VideoFormat {
        width: generation.width,
        height: generation.height,
        fps: generation.video_fps,
    };
    let clip = Clip {
        cycle: cycle.cycle,
        path: cycle.path.clone(),
        format,
        frames: generation.video_frames,
        prompt: cycle.prompt.as_str().into(),
    };
    Job { clip, origin, reversed }
}
