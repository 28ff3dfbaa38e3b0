//! The generating half of a show: cycle after cycle, as far ahead as the settings say.

mod info;
pub(super) mod keyframes;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;

use super::report::Notice;
use crate::archive::{PlayableCycle, ResumePoint};
use crate::base::clock::Clock;
use crate::base::error::{Error, Result};
use crate::config::{ChainFrame, Config};
use crate::cycle::{self, Briq, Made, Order, Previous, Settings, Stage, Workshop};
use crate::generate::convert::frame_to_rgb;
use crate::generate::{LookAhead, blocking};
use crate::media::{Clip, ClipDecoder, CycleId, Origin, VideoFormat};
use crate::prepare::{Job, Preparer};
use crate::ring::Runway;
use crate::show::Topic;
use crate::worqspace::PromptBundle;

/// How often the scheduler looks.
const TICK: Duration = Duration::from_millis(50);
/// Between the attempts at one cycle.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// What of its time a stand-in needs to make a cycle, and a bit.
const STAND_IN_NEEDS: Duration = Duration::from_secs(3);

pub use info::GeneratorInfo;

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

/// Where a show begins.
struct Chain {
    base_seed: i64,
    previous: Option<Previous>,
    cycle: CycleId,
}

impl Generator {
    /// Makes cycles until the show is over. Dropping the future cancels what is in the making; a
    /// later session makes it again.
    pub async fn run(self) {
        let base_seed = self.resume.base_seed.or(self.bundle.seed);
        let chain = Chain {
            base_seed: base_seed.unwrap_or_else(|| seed_of(&*self.workshop.clock)),
            previous: self.previous().await,
            cycle: self.resume.next_cycle,
        };
        let work = async {
            if self.makes_keyframes() {
                self.keyframes(chain).await
            } else {
                self.chain(chain).await
            }
        };
        // Servers are watched as long as somebody makes use of them.
        tokio::select! {
            () = self.workshop.pool.watch() => {}
            () = work => {}
        }
        self.info.idle();
    }

    fn makes_keyframes(&self) -> bool {
        keyframes::wanted(&self.workshop.pool, self.config.chaining.keyframes).unwrap_or_else(
            |why| {
                self.notice(Some(why.to_owned()));
                false
            },
        )
    }

    /// One cycle after the other, each out of the last frame of the one before.
    async fn chain(&self, chain: Chain) {
        let Chain { base_seed, mut previous, mut cycle } = chain;
        let clock = self.workshop.clock.clone();
        let mut look_ahead = LookAhead::new(self.config.live.buffer_seconds);
        loop {
            let ahead = self.runway.seconds() + self.preparer.waiting_seconds();
            let ready = self.preparer.has_room() && !self.info.is_paused();
            if !ready || !look_ahead.should_start(clock.now(), ahead) {
                tokio::time::sleep(TICK).await;
                continue;
            }
            let patience = || self.patience();
            let order = Order {
                cycle,
                bundle: &self.bundle,
                settings: Settings::from(&self.config),
                base_seed,
                previous: previous.as_ref(),
                retry_delay: RETRY_DELAY,
                patience: &patience,
            };
            let began = clock.now();
            match self.one(&order).await {
                Ok(next) => {
                    look_ahead.made(clock.now() - began);
                    self.info.expect(look_ahead.expected().unwrap_or_default());
                    self.info.generated.add(1);
                    previous = Some(next);
                }
                Err(error) => {
                    if self.gives_up(&error, &mut look_ahead) {
                        self.info.ended(cycle.0);
                        return;
                    }
                }
            }
            self.info.ended(cycle.0);
            cycle = CycleId(cycle.0 + 1);
            let most = u64::from(self.config.cycle.max_cycles);
            if most > 0 && self.info.generated.get() >= most {
                self.notice(Some(self.enough()));
                return;
            }
        }
    }

    /// How long a job can wait for servers that are all gone, before the ring runs low.
    fn patience(&self) -> Duration {
        let ahead_s = self.runway.seconds() + self.preparer.waiting_seconds();
        let spare_s = ahead_s - self.config.live.min_runway_seconds;
        Duration::from_secs_f64(spare_s.clamp(0.0, 3600.0)).saturating_sub(STAND_IN_NEEDS)
    }

    /// A cycle has failed for good; whether that ends the making of cycles.
    fn gives_up(&self, error: &Error, look_ahead: &mut LookAhead) -> bool {
        self.info.failed.add(1);
        if !self.config.cycle.continue_on_error {
            self.notice(Some(format!(
                "{error}; no more cycles are made (cycle.continue_on_error is off), earlier ones \
                 are shown again"
            )));
            return true;
        }
        let pause = look_ahead.failed(self.workshop.clock.now());
        self.notice(Some(format!("{error}; the next one in {} s", pause.as_secs())));
        false
    }

    fn enough(&self) -> String {
        format!(
            "{} cycles are made (cycle.max_cycles); from here on they are shown again",
            self.info.generated.get()
        )
    }

    /// A cycle was made: nothing is wrong, but for who made it.
    fn made_again(&self) {
        let pool = &self.workshop.pool;
        let gone = pool.is_standing_in().then(|| {
            let reasons = pool.status().into_iter().filter_map(|s| Some((s.name, s.reason?)));
            let reasons: Vec<_> =
                reasons.map(|(name, reason)| format!("{name}: {reason}")).collect();
            format!("the built-in generator stands in; {}", reasons.join("; "))
        });
        self.notice(gone);
    }

    fn on_stage(&self, cycle: u32, stage: &Stage) {
        self.info.stage(cycle, stage, self.workshop.clock.now());
    }

    /// Sends a clip on its way to the picture.
    fn on_its_way(&self, made: &Made) {
        let clip = made.built.clip.clone();
        // Room was there, and nobody else hands clips over meanwhile.
        let _ = self.preparer.prepare(Job { clip, origin: Origin::Cycle, reversed: false });
    }

    /// Makes a cycle, sends it on its way to the picture, and archives it.
    async fn one(&self, order: &Order<'_>) -> Result<Previous> {
        let number = order.cycle.0;
        let on_stage = |stage| self.on_stage(number, &stage);
        let made = cycle::make(&self.workshop, order, &on_stage).await?;
        self.made_again();
        let next = made.previous(self.config.chaining.frame);
        self.on_its_way(&made);
        if let Err(error) = cycle::finish(&self.workshop, made, &self.config.looping).await {
            self.notice(Some(missing_video(&error)));
        }
        Ok(next)
    }

    /// The frame that the first new cycle grows out of, when a show is resumed.
    async fn previous(&self) -> Option<Previous> {
        let (cycle, raw) = self.resume.last_raw.clone()?;
        let (briq, chain) = (self.resume.last_briq.clone(), self.config.chaining.frame);
        match load_previous(self.decoder.clone(), raw, briq, chain).await {
            Ok(previous) => Some(previous),
            Err(error) => {
                self.notice(Some(format!("cycle {cycle} cannot be continued: {error}")));
                None
            }
        }
    }

    fn notice(&self, text: Option<String>) {
        let _ = self.notices.try_send(Notice { topic: Topic::Generator, text });
    }
}

/// Reads the raw clip of a cycle for the frame that the next one grows out of.
pub(super) async fn load_previous(
    decoder: Arc<dyn ClipDecoder>,
    raw: PathBuf,
    briq: Option<Briq>,
    chain: ChainFrame,
) -> Result<Previous> {
    let path = raw.clone();
    let frames = blocking(move || decoder.decode(&path)).await?.frames;
    let index = match chain {
        ChainFrame::Last => frames.len() - 1,
        ChainFrame::Middle => frames.len() / 2,
    };
    Ok(Previous { briq, raw, frame: frame_to_rgb(&frames[index]) })
}

/// A seed for a project whose brief names none.
pub(super) fn seed_of(clock: &dyn Clock) -> i64 {
    let since = clock.wall().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    (since.as_nanos() % u128::from(u32::MAX)) as i64
}

/// It is on its way to the picture all the same.
fn missing_video(error: &Error) -> String {
    format!("{error}; its archived video is missing")
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
