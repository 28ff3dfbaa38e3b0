//! Keyframe mode: a chain of pictures, and clips between them that are made at the same time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};

use super::steer::Ordered;
use super::{Chain, Generator, RETRY_DELAY, TICK};
use crate::base::error::Result;
use crate::config;
use crate::cycle::{self, Key, Made, Order, Previous};
use crate::generate::keyframes::{Act, Keyframes, Situation};
use crate::generate::pool::{JobKind, Pool};
use crate::media::CycleId;

/// Whether clips are made between pictures that were made ahead of them.
///
/// # Errors
/// It is asked for and cannot be: why, and what is done instead.
pub fn wanted(pool: &Pool, asked: config::Keyframes) -> std::result::Result<bool, &'static str> {
    let clips = pool.capabilities(JobKind::Video);
    // Without a still there is no picture to lead to.
    let needs_none = clips.text_to_video && !clips.image_to_video;
    let can = clips.first_last_frame && !needs_none;
    let only = can && !clips.image_to_video;
    match asked {
        config::Keyframes::Off => Ok(only),
        config::Keyframes::Auto => Ok(only || can && pool.slots(JobKind::Video) > 1),
        config::Keyframes::On if can => Ok(true),
        config::Keyframes::On => {
            Err("chaining.keyframes is on, but not every video backend makes clips between two \
             pictures; each cycle grows out of the last frame instead")
        }
    }
}

enum Done {
    Key(u32, Result<Box<Keyed>>),
    Clip(u32, Duration, Result<Box<Made>>),
}

/// A still, and what it was ordered by; the clip that begins with it is made by the same.
struct Keyed {
    key: Key,
    ordered: Ordered,
}

impl Generator {
    /// As [`Generator::chain`], for backends that lead from one picture to another.
    pub(super) async fn keyframes(&self, chain: Chain) {
        let Chain { base_seed, mut previous, cycle } = chain;
        let clock = &self.workshop.clock;
        let generation = &self.config.generation;
        let clip_s = f64::from(generation.video_frames) * generation.video_fps.frame_seconds();
        let end = match self.config.cycle.max_cycles {
            0 => u32::MAX,
            most => {
                let made = u32::try_from(self.info.generated.get()).unwrap_or(u32::MAX);
                cycle.0.saturating_add(most.saturating_sub(made))
            }
        };
        let mut plan: Keyframes<Made> = Keyframes::new(cycle.0, end);
        // Stills that a clip is still to begin or end with.
        let mut keys: BTreeMap<u32, Arc<Keyed>> = BTreeMap::new();
        let mut jobs: FuturesUnordered<BoxFuture<'_, Done>> = FuturesUnordered::new();
        while !plan.is_over() {
            // What comes in the place of what is ready does not wait for that.
            let ready_s = match self.steer.is_replacing() {
                true => 0.0,
                false => self.runway.seconds() + self.preparer.waiting_seconds(),
            };
            let situation = Situation {
                ready_s,
                target_s: self.config.live.buffer_seconds,
                clip_s,
                expected_s: self.look_ahead().expected().map_or(clip_s, |e| e.as_secs_f64()),
                slots: self.workshop.pool.slots(JobKind::Video).max(1),
            };
            let may_begin = !self.info.is_paused() && self.look_ahead().may_start(clock.now());
            while may_begin && let Some(act) = plan.next(situation) {
                match act {
                    Act::Key(number) => {
                        let previous = previous.clone();
                        jobs.push(Box::pin(async move {
                            Done::Key(number, self.key(number, base_seed, previous.as_ref()).await)
                        }));
                    }
                    Act::Clip(number) => {
                        let pair = keys.remove(&number).zip(keys.get(&(number + 1)).cloned());
                        // The plan begins a clip only when both are there.
                        let Some((from, to)) = pair else { continue };
                        let began = clock.now();
                        jobs.push(Box::pin(async move {
                            let made = self.between(number, base_seed, &from, &to).await;
                            Done::Clip(number, clock.now() - began, made.map(Box::new))
                        }));
                    }
                }
            }
            tokio::select! {
                Some(done) = jobs.next() => match done {
                    Done::Key(number, Ok(keyed)) => {
                        let key = &keyed.key;
                        self.steer.made(number, &keyed.ordered, &key.briq);
                        previous = Some(Previous {
                            briq: Some(key.briq.clone()),
                            raw: self.workshop.project.raw_clip(CycleId(number)),
                            frame: key.still.clone(),
                        });
                        super::lock(&self.latest).clone_from(&previous);
                        keys.insert(number, Arc::from(keyed));
                        plan.key_made();
                    }
                    Done::Key(number, Err(error)) => {
                        self.info.ended(number);
                        plan.key_failed();
                        if self.gives_up(&error) {
                            return;
                        }
                    }
                    Done::Clip(number, took, made) => {
                        self.info.ended(number);
                        if let Err(error) = &made
                            && self.gives_up(error)
                        {
                            return;
                        }
                        if made.is_ok() {
                            self.took(took);
                        }
                        plan.clip_done(number, made.ok().map(|made| *made));
                    }
                },
                () = tokio::time::sleep(TICK) => {}
            }
            while self.preparer.has_room()
                && let Some((_, made)) = plan.take()
            {
                let Some(made) = made else { continue };
                self.made_again();
                self.info.generated.add(1);
                self.on_its_way(&made);
                self.finish(made);
            }
        }
        while jobs.next().await.is_some() {}
        self.notice(Some(self.enough()));
    }

    async fn key(
        &self,
        number: u32,
        base_seed: i64,
        previous: Option<&Previous>,
    ) -> Result<Box<Keyed>> {
        let patience = || self.patience();
        let ordered = self.order(base_seed, number);
        let order = self.keyframe_order(number, base_seed, previous, &ordered, &patience);
        let on_stage = |stage| self.on_stage(number, &stage);
        let key = cycle::make_key(&self.workshop, &order, &on_stage).await?;
        Ok(Box::new(Keyed { key, ordered }))
    }

    async fn between(&self, number: u32, base_seed: i64, from: &Keyed, to: &Keyed) -> Result<Made> {
        let patience = || self.patience();
        let order = self.keyframe_order(number, base_seed, None, &from.ordered, &patience);
        let (from, next) = (from.key.clone(), to.key.still.clone());
        let on_stage = |stage| self.on_stage(number, &stage);
        cycle::make_between(&self.workshop, &order, from, next, &on_stage).await
    }

    fn keyframe_order<'a>(
        &'a self,
        number: u32,
        base_seed: i64,
        previous: Option<&'a Previous>,
        ordered: &'a Ordered,
        patience: &'a (dyn Fn() -> Duration + Send + Sync),
    ) -> Order<'a> {
        Order {
            cycle: CycleId(number),
            bundle: &ordered.guidance.bundle,
            settings: ordered.guidance.settings(&self.config),
            base_seed,
            asked: Some(&ordered.guidance),
            previous,
            retry_delay: RETRY_DELAY,
            patience,
        }
    }
}
