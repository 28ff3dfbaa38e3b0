//! The generating half of a show: cycle after cycle, as far ahead as the settings say.

mod info;
pub(super) mod keyframes;
mod steer;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::Sender;

use super::report::Notice;
use crate::archive::journal::{CycleStatus, Event as JournalEvent};
use crate::archive::{PlayableCycle, ResumePoint};
use crate::base::clock::Clock;
use crate::base::error::{Error, Result};
use crate::config::{ChainFrame, Config};
use crate::cycle::{self, Briq, Made, Order, Previous, Stage, Workshop};
use crate::generate::convert::frame_to_rgb;
use crate::generate::{LookAhead, blocking};
use crate::media::{Clip, ClipDecoder, CycleId, Origin, VideoFormat};
use crate::prepare::{Job, Preparer};
use crate::ring::Runway;
use crate::show::Topic;
use crate::worqspace::PromptBundle;

/// How often the scheduler looks.
const TICK: Duration = Duration::from_millis(50);
/// As long as somebody waits for a change.
const SOON: Duration = Duration::from_millis(10);
/// Between the attempts at one cycle.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// What of its time a stand-in needs to make a cycle, and a bit.
const STAND_IN_NEEDS: Duration = Duration::from_secs(3);

pub use info::GeneratorInfo;
use steer::Ordered;
pub use steer::Steer;

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
    pub steer: Steer,
    /// What cycles take; outlives a plan.
    pub look_ahead: Mutex<LookAhead>,
    /// The first number that no cycle was begun with: one that was given up keeps its own.
    pub next_cycle: AtomicU32,
    /// What the next cycle grows out of, as long as no plan is changed.
    pub latest: Mutex<Option<Previous>>,
    /// Videos of cycles that are being finished, one after the other.
    pub finishing: Mutex<Option<tokio::task::JoinHandle<()>>>,
    pub unfinished: Arc<AtomicU32>,
}

/// Videos that may be unfinished when a cycle is begun; the picture has the same processors. One that
/// somebody waits for is begun beside some.
const UNFINISHED: u32 = 0;
const UNFINISHED_BESIDE: u32 = 3;

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
        let base_seed = base_seed.unwrap_or_else(|| seed_of(&*self.workshop.clock));
        *lock(&self.latest) = self.previous().await;
        self.next_cycle.store(self.resume.next_cycle.0, Ordering::Relaxed);
        let keyframes = self.makes_keyframes();
        let work = async {
            loop {
                let cycle = CycleId(self.next_cycle.load(Ordering::Relaxed));
                let chain = Chain { base_seed, previous: lock(&self.latest).clone(), cycle };
                // What is in the making for an earlier plan is cancelled.
                tokio::select! {
                    () = async {
                        match keyframes {
                            true => self.keyframes(chain).await,
                            false => self.chain(chain).await,
                        }
                    } => {
                        // There is nothing more to be made.
                        std::future::pending::<()>().await;
                    }
                    () = self.steer.changed(|| self.may_give_up()) => {}
                }
                self.give_up();
                if let Some(picture) = self.replan().await {
                    *lock(&self.latest) = Some(picture);
                }
            }
        };
        // Servers are watched as long as somebody makes use of them.
        tokio::select! {
            () = self.workshop.pool.watch() => {}
            () = work => {}
        }
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
        if self.has_enough() {
            return;
        }
        loop {
            let ahead = self.runway.seconds() + self.preparer.waiting_seconds();
            let replaces = self.steer.is_replacing();
            let due = match replaces {
                true => self.look_ahead().may_start(clock.now()),
                false => {
                    self.preparer.has_room() && self.look_ahead().should_start(clock.now(), ahead)
                }
            };
            let beside = if replaces { UNFINISHED_BESIDE } else { UNFINISHED };
            let busy = self.unfinished.load(Ordering::Relaxed) > beside;
            if !due || busy || self.info.is_paused() {
                tokio::time::sleep(if replaces { SOON } else { TICK }).await;
                continue;
            }
            let ordered = self.order(base_seed, cycle.0);
            let guidance = &ordered.guidance;
            let patience = || self.patience();
            let order = Order {
                cycle,
                bundle: &guidance.bundle,
                settings: guidance.settings(&self.config),
                base_seed,
                asked: Some(guidance),
                previous: previous.as_ref(),
                retry_delay: RETRY_DELAY,
                patience: &patience,
            };
            let began = clock.now();
            match self.one(&order).await {
                Ok(next) => {
                    if let Some(briq) = &next.briq {
                        self.steer.made(cycle.0, &ordered, briq);
                    }
                    self.took(clock.now() - began);
                    self.info.generated.add(1);
                    *lock(&self.latest) = Some(next.clone());
                    previous = Some(next);
                }
                Err(error) => {
                    if self.gives_up(&error) {
                        self.info.ended(cycle.0);
                        return;
                    }
                }
            }
            self.info.ended(cycle.0);
            cycle = CycleId(cycle.0 + 1);
            if self.has_enough() {
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
    fn gives_up(&self, error: &Error) -> bool {
        self.info.failed.add(1);
        if !self.config.cycle.continue_on_error {
            self.notice(Some(format!(
                "{error}; no more cycles are made (cycle.continue_on_error is off), earlier ones \
                 are shown again"
            )));
            return true;
        }
        let pause = self.look_ahead().failed(self.workshop.clock.now());
        self.notice(Some(format!("{error}; the next one in {} s", pause.as_secs())));
        false
    }

    /// Whether all cycles are made that the show may make.
    fn has_enough(&self) -> bool {
        let most = u64::from(self.config.cycle.max_cycles);
        most > 0 && self.info.generated.get() >= most
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
        self.info.handed_over(&clip);
        let (revision, replaces) = self.steer.hand_over();
        let job = Job { clip, origin: Origin::Cycle, reversed: false, revision };
        if replaces {
            let _ = self.preparer.replace(job);
        } else {
            let _ = self.preparer.prepare(job);
        }
    }

    /// Makes a cycle, sends it on its way to the picture, and archives it.
    async fn one(&self, order: &Order<'_>) -> Result<Previous> {
        let number = order.cycle.0;
        let on_stage = |stage| self.on_stage(number, &stage);
        let made = cycle::make(&self.workshop, order, &on_stage).await?;
        self.made_again();
        let next = made.previous(self.config.chaining.frame);
        self.on_its_way(&made);
        self.finish(made);
        Ok(next)
    }

    /// Has the video of a cycle finished, behind those before it. A new plan does not cancel that.
    fn finish(&self, made: Made) {
        let (workshop, looping) = (self.workshop.clone(), self.config.looping.clone());
        let (notices, unfinished) = (self.notices.clone(), self.unfinished.clone());
        unfinished.fetch_add(1, Ordering::Relaxed);
        let mut finishing = lock(&self.finishing);
        let before = finishing.take();
        *finishing = Some(tokio::spawn(async move {
            if let Some(before) = before {
                let _ = before.await;
            }
            if let Err(error) = cycle::finish(&workshop, made, &looping).await {
                let text = Some(missing_video(&error));
                let _ = notices.try_send(Notice { topic: Topic::Generator, text });
            }
            unfinished.fetch_sub(1, Ordering::Relaxed);
        }));
    }

    /// What the cycle is made by. Its number is not given out again: what is given up may still be
    /// written to its file.
    fn order(&self, base_seed: i64, cycle: u32) -> Ordered {
        self.next_cycle.fetch_max(cycle + 1, Ordering::Relaxed);
        let ordered = self.steer.order(&self.bundle, base_seed, cycle);
        if !self.steer.is_replacing() && !self.lasts() {
            self.steer.carried();
        }
        let words = [&*ordered.guidance.bundle.prompt, &ordered.guidance.added];
        let words: Vec<&str> = words.into_iter().filter(|words| !words.is_empty()).collect();
        self.info.begun(cycle, words.join(", "), self.workshop.clock.now());
        ordered
    }

    /// Whether the ring lasts for a cycle that is begun now.
    fn lasts(&self) -> bool {
        let ready_s = self.runway.seconds() + self.preparer.waiting_seconds();
        ready_s >= steer::keep_s(&self.look_ahead())
    }

    /// Whether what is in the making can be given up: the ring lasts for another, or would run dry
    /// all the same.
    fn may_give_up(&self) -> bool {
        let expected_s = self.look_ahead().expected().map(|expected| expected.as_secs_f64());
        let making = self.info.generating(self.workshop.clock.now());
        let Some((making, expected_s)) = making.zip(expected_s) else { return true };
        let ready_s = self.runway.seconds() + self.preparer.waiting_seconds();
        self.lasts() || ready_s < expected_s - making.elapsed_s
    }

    /// What is in the making was given up.
    fn give_up(&self) {
        for cycle in self.info.idle() {
            self.workshop.archive.journal(JournalEvent::Cycle {
                cycle,
                status: CycleStatus::Unused,
                seconds: None,
                reason: Some("the plan was changed before it was made".into()),
            });
        }
    }

    /// Begins a new plan: what the next cycle grows out of. `None`: it goes on as it was, as the
    /// playout says nothing, or nothing was made yet.
    async fn replan(&self) -> Option<Previous> {
        let look_ahead = self.look_ahead().clone();
        let cut = self.steer.replan(&look_ahead, &self.preparer).await?;
        let clip = &cut.clip;
        let picture = clip.frames.get(cut.frame as usize);
        let picture = picture.filter(|_| clip.origin != Origin::StandIn)?;
        let cycle = clip.clip.cycle;
        Some(Previous {
            briq: self.steer.back_to(cycle.0).or_else(|| self.resume.last_briq.clone()),
            raw: self.workshop.project.raw_clip(cycle),
            frame: frame_to_rgb(picture),
        })
    }

    fn look_ahead(&self) -> MutexGuard<'_, LookAhead> {
        lock(&self.look_ahead)
    }

    /// A cycle was made in this time.
    fn took(&self, took: Duration) {
        let mut look_ahead = self.look_ahead();
        look_ahead.made(took);
        self.info.expect(look_ahead.expected().unwrap_or_default());
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
    Job { clip, origin, reversed, revision: 0 }
}
