//! The work itself: one cycle after the other.
//!
//! Holds: while the video of a cycle is being shaped the next one is in the making already, never more
//! than these two. Where a run ends is told by its files: a clip without a video gets that first.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::complete::complete;
use super::progress::{Pace, Progress};
use super::room::{Room, Verdict};
use super::{BatchOptions, Checked, Event, Goal, Made, Outcome, Stop, Why, Work};
use crate::app::generator::{GeneratorInfo, keyframes, load_previous, seed_of};
use crate::app::{runtime, speeds};
use crate::archive::survey::Cycle;
use crate::archive::{Archive, Project, Survey};
use crate::base::clock::Clock;
use crate::base::error::{Error, Result};
use crate::config::Config;
use crate::cycle::{self, Key, Order, Previous, Settings, Stage, Workshop};
use crate::llm::Ahead;
use crate::media::{ClipDecoder, CycleId};
use crate::stream::clip::{GstClipDecoder, GstClipEncoder};
use crate::worqspace::PromptBundle;

/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_millis(250);
/// Between the attempts at one cycle: long enough for a server to come to its senses.
const RETRY_DELAY: Duration = Duration::from_secs(5);
/// How long a job waits for servers that are all gone: long enough for one to be started again.
const PATIENCE: Duration = Duration::from_secs(600);
/// So many cycles that fail one after the other end a run: it would go on so all night.
const MOST_FAILED_IN_A_ROW: u32 = 5;
/// What is encoded or decoded while a run is stopped at once.
const LEAVE_LIMIT: Duration = Duration::from_secs(5);

pub fn run(
    checked: Checked,
    options: &BatchOptions,
    project: Arc<Project>,
    clock: Arc<dyn Clock>,
    stop: watch::Receiver<Stop>,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Outcome> {
    let Checked { config, bundle, pool, writer, .. } = checked;
    let archive = Archive::start(project.clone(), clock.clone())?;
    let pool = Arc::new(pool);
    let info = Arc::new(GeneratorInfo::new(pool.clone()));
    let workshop = Workshop {
        project: project.clone(),
        archive: archive.handle(),
        pool: pool.clone(),
        encoder: Arc::new(GstClipEncoder),
        clock: clock.clone(),
        writer: writer.map(|writer| Arc::new(Ahead::new(writer, config.llm.timeout))),
    };
    let runtime = runtime()?;
    let mut run = Run {
        room: Room::new(config.live.min_free_mb),
        decoder: Arc::new(GstClipDecoder),
        teller: Teller {
            on_event,
            info: info.clone(),
            clock: clock.clone(),
            progress: Progress::default(),
        },
        makes_keyframes: false,
        key: None,
        config,
        bundle,
        workshop,
        stop,
        pace: Pace::default(),
        base_seed: 0,
        finishing: None,
        in_a_row: 0,
        failed: Vec::new(),
    };
    let ended = runtime.block_on(async {
        tokio::select! {
            // Servers are watched as long as somebody makes use of them.
            () = pool.watch() => Err(Error::internal("the generators are watched no more")),
            ended = run.go(options) => ended,
        }
    });
    let (made, failed) = (run.teller.progress.made, std::mem::take(&mut run.failed));
    drop(run);
    speeds::remember(&pool.status(), &*clock);
    runtime.shutdown_timeout(LEAVE_LIMIT);
    let seconds = archive.handle().state().total_video_duration;
    let closed = archive.close();
    let why = ended?;
    closed?;
    Ok(Outcome { why, folder: project.folder().to_owned(), made, failed, seconds })
}

struct Run<'a> {
    config: Config,
    bundle: PromptBundle,
    workshop: Workshop,
    decoder: Arc<dyn ClipDecoder>,
    stop: watch::Receiver<Stop>,
    teller: Teller<'a>,
    room: Room,
    pace: Pace,
    base_seed: i64,
    makes_keyframes: bool,
    /// Keyframe mode: the still that the next clip begins with.
    key: Option<Key>,
    /// The cycle whose video is being shaped.
    finishing: Option<Finishing>,
    in_a_row: u32,
    failed: Vec<u32>,
}

struct Finishing {
    cycle: CycleId,
    took: Duration,
    task: JoinHandle<Result<cycle::Made>>,
}

/// Tells whoever started the run how it goes.
struct Teller<'a> {
    on_event: &'a mut dyn FnMut(Event<'_>),
    info: Arc<GeneratorInfo>,
    clock: Arc<dyn Clock>,
    progress: Progress,
}

/// The run was asked to end at once.
struct EndNow;

impl Teller<'_> {
    fn tell(&mut self) {
        self.progress.generating = self.info.generating(self.clock.now());
        (self.on_event)(Event::Progress(&self.progress));
    }

    /// Waits for `work`, and tells how far it is.
    async fn watching<T>(
        &mut self,
        stop: &watch::Receiver<Stop>,
        work: impl Future<Output = T>,
    ) -> std::result::Result<T, EndNow> {
        let mut stop = stop.clone();
        let now = async move {
            // Whoever could have asked for it is gone: then nobody does.
            if stop.wait_for(|stop| *stop == Stop::Now).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::pin!(work, now);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                () = &mut now => return Err(EndNow),
                () = tokio::time::sleep(TELL_EVERY) => self.tell(),
            }
        }
    }
}

impl Run<'_> {
    async fn go(&mut self, options: &BatchOptions) -> Result<Why> {
        let project = self.workshop.project.clone();
        let resume = project.resume_point()?;
        let survey = self.survey()?;
        let goal = match options.work {
            Work::Run { cycles, hours, .. } => Goal::of(cycles, hours, &self.config.cycle)?,
            Work::Single { .. } => Goal::default(),
        };
        self.base_seed = options
            .seed
            .or(resume.base_seed)
            .or(self.bundle.seed)
            .unwrap_or_else(|| seed_of(&*self.workshop.clock));
        let asked = self.config.chaining.keyframes;
        self.makes_keyframes =
            keyframes::wanted(&self.workshop.pool, asked).unwrap_or_else(|why| {
                (self.teller.on_event)(Event::Warning(why));
                false
            });
        let first = project.state().first_cycle;
        self.teller.progress.goal = goal;
        self.teller.progress.done = resume.next_cycle.0.saturating_sub(first);
        self.teller.progress.seconds = survey.content_seconds();
        if let Work::Run { .. } = options.work {
            self.workshop
                .archive
                .update_state(|state| state.total_cycles_requested = goal.cycles.unwrap_or(0));
        }
        (self.teller.on_event)(Event::Begins {
            folder: project.folder(),
            goal,
            next: resume.next_cycle,
            resumed: resume.next_cycle.0 > first,
        });
        if self.complete(&survey).await?.is_err() {
            return Ok(Why::Stopped);
        }
        let survey = self.survey()?;
        let session = survey.session();
        // Clips may have been taken away, or made again.
        let seconds = survey.content_seconds();
        self.teller.progress.seconds = seconds;
        self.workshop.archive.update_state(|state| state.total_video_duration = seconds);
        match options.work {
            Work::Single { cycle } => {
                let cycle = cycle.unwrap_or(resume.next_cycle);
                let there = session.iter().any(|c| c.cycle == cycle && c.is_there());
                if there {
                    return Err(Error::conflict(format!(
                        "--cycle {}: the project has this cycle already, and keeps it; leave --cycle \
                         out for the next one, which is {}",
                        cycle.0, resume.next_cycle.0
                    )));
                }
                if let Some(full) = self.look_at_disk() {
                    return Ok(full);
                }
                let previous = self.before(cycle, session).await?;
                self.only(cycle, previous).await?
            }
            Work::Run { retry_failed, .. } => {
                if retry_failed {
                    for failed in survey.failed() {
                        if let Some(full) = self.look_at_disk() {
                            return Ok(full);
                        }
                        // One that was made before may be the nearest now.
                        let now = self.survey()?;
                        let previous = self.before(failed.cycle, now.session()).await?;
                        match self.only(failed.cycle, previous).await? {
                            Ok(Why::Enough) => {}
                            Ok(other) => return Ok(other),
                            // One that never works keeps no other from being tried.
                            Err(error) if !self.config.cycle.continue_on_error => {
                                self.gives_up(error)?;
                            }
                            Err(_) => self.in_a_row = 0,
                        }
                        if *self.stop.borrow() != Stop::No {
                            return Ok(Why::Stopped);
                        }
                    }
                }
                // A failed cycle that was made after all may be what the next one grows from.
                let resume = project.resume_point()?;
                self.teller.progress.done = resume.next_cycle.0.saturating_sub(first);
                let previous = match resume.last_raw {
                    Some((_, raw)) => Some(self.load(raw, resume.last_briq).await?),
                    None => None,
                };
                self.cycles(resume.next_cycle, previous, goal).await
            }
        }
    }

    fn survey(&self) -> Result<Survey> {
        Survey::of(self.workshop.project.folder(), self.config.paths.briqs_dir.as_deref())
    }

    /// Ends what an earlier run was stopped at.
    async fn complete(&mut self, survey: &Survey) -> Result<std::result::Result<(), EndNow>> {
        for (cycle, raw) in survey.unfinished() {
            if *self.stop.borrow() != Stop::No {
                return Ok(Err(EndNow));
            }
            if cycle.video.whole().is_none() {
                (self.teller.on_event)(Event::Completes { cycle: cycle.cycle });
            }
            let decoder = self.decoder.clone();
            let work = complete(&self.workshop, decoder, &self.config, cycle, raw);
            match self.teller.watching(&self.stop, work).await {
                Err(EndNow) => return Ok(Err(EndNow)),
                Ok(Ok(None)) => {}
                Ok(Ok(Some(made))) => self.count(&made, Duration::ZERO),
                Ok(Err(error)) => {
                    self.failed.push(cycle.cycle.0);
                    let error = error.to_string();
                    (self.teller.on_event)(Event::Failed { cycle: cycle.cycle, error: &error });
                }
            }
        }
        Ok(Ok(()))
    }

    /// What a cycle grows out of: the whole raw clip of the nearest one before it.
    async fn before(&self, cycle: CycleId, session: &[Cycle]) -> Result<Option<Previous>> {
        let earlier = session.iter().rev().filter(|earlier| earlier.cycle < cycle);
        for earlier in earlier {
            if let Some(raw) = earlier.raw.whole() {
                return self.load(raw.to_owned(), earlier.briq.clone()).await.map(Some);
            }
        }
        Ok(None)
    }

    async fn load(&self, raw: PathBuf, briq: Option<cycle::Briq>) -> Result<Previous> {
        load_previous(self.decoder.clone(), raw, briq, self.config.chaining.frame).await
    }

    /// Makes one cycle. The inner error is that of a cycle that failed for good, told already.
    async fn only(&mut self, cycle: CycleId, previous: Option<Previous>) -> Result<Result<Why>> {
        // Two pictures are needed for a clip between them, whatever comes later.
        self.key = None;
        match self.one(cycle, previous.as_ref()).await {
            Err(EndNow) => return Ok(Ok(Why::Stopped)),
            Ok(Err(error)) => return Ok(Err(error)),
            Ok(Ok(_)) => {}
        }
        Ok(Ok(match self.finished().await? {
            Ok(()) => Why::Enough,
            Err(EndNow) => Why::Stopped,
        }))
    }

    /// Makes cycles until there is enough.
    async fn cycles(
        &mut self,
        mut cycle: CycleId,
        mut previous: Option<Previous>,
        goal: Goal,
    ) -> Result<Why> {
        self.key = None;
        loop {
            // How long a cycle's video becomes is known from the first one on.
            if goal.seconds.is_some()
                && self.pace.seconds_each().is_none()
                && self.finished().await?.is_err()
            {
                return Ok(Why::Stopped);
            }
            // What is being finished counts: it will be there.
            let expected_s = match &self.finishing {
                Some(_) => self.pace.seconds_each().unwrap_or(0.0),
                None => 0.0,
            };
            let progress = &self.teller.progress;
            let enough = goal.is_reached(progress.done, progress.seconds + expected_s);
            if enough || *self.stop.borrow() != Stop::No {
                let stopped = match self.finished().await? {
                    Ok(()) => *self.stop.borrow() != Stop::No,
                    Err(EndNow) => true,
                };
                let progress = &self.teller.progress;
                if goal.is_reached(progress.done, progress.seconds) {
                    return Ok(Why::Enough);
                }
                if stopped {
                    return Ok(Why::Stopped);
                }
                continue;
            }
            if let Some(full) = self.look_at_disk() {
                let _ = self.finished().await?;
                return Ok(full);
            }
            match self.one(cycle, previous.as_ref()).await {
                Err(EndNow) => return Ok(Why::Stopped),
                Ok(Ok(next)) => previous = Some(next),
                Ok(Err(error)) => self.gives_up(error)?,
            }
            self.teller.progress.done += 1;
            cycle = CycleId(cycle.0 + 1);
            if self.pause().await.is_err() {
                return Ok(Why::Stopped);
            }
        }
    }

    /// Between two cycles, as long as the settings say; not before the end.
    async fn pause(&mut self) -> std::result::Result<(), EndNow> {
        let progress = &self.teller.progress;
        if progress.goal.is_reached(progress.done, progress.seconds) {
            return Ok(());
        }
        let mut stop = self.stop.clone();
        let delay = self.config.cycle.delay;
        let work = async move {
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                Ok(_) = stop.wait_for(|stop| *stop != Stop::No) => {}
            }
        };
        self.teller.watching(&self.stop, work).await
    }

    fn look_at_disk(&mut self) -> Option<Why> {
        let progress = &self.teller.progress;
        let each_s = self.pace.seconds_each().unwrap_or(0.0);
        let left = progress.goal.cycles_left(progress.done, progress.seconds, each_s);
        match self.room.look(self.workshop.project.folder(), left) {
            Verdict::Enough => None,
            Verdict::Scarce(warning) => {
                (self.teller.on_event)(Event::Warning(&warning));
                None
            }
            Verdict::Full { free_mb, least_mb } => Some(Why::NoRoom { free_mb, least_mb }),
        }
    }

    /// A cycle has failed for good; an error if that ends the run.
    fn gives_up(&mut self, error: Error) -> Result<()> {
        self.in_a_row += 1;
        if !self.config.cycle.continue_on_error {
            return Err(error.context(
                "the run ends, as cycle.continue_on_error is off; what was made is kept",
            ));
        }
        if self.in_a_row >= MOST_FAILED_IN_A_ROW {
            return Err(error.context(format!(
                "{} cycles in a row have failed, so the run ends; what was made is kept, and \
                 `vfaq backends` says how the generators are",
                self.in_a_row
            )));
        }
        Ok(())
    }

    /// Makes a cycle as far as its raw clip, and has its video shaped behind that. The inner error is
    /// that of a cycle that failed for good, told already.
    async fn one(
        &mut self,
        cycle: CycleId,
        previous: Option<&Previous>,
    ) -> std::result::Result<Result<Previous>, EndNow> {
        let clock = self.workshop.clock.clone();
        let began = clock.now();
        let key = self.key.take();
        let info = self.teller.info.clone();
        let maker = Maker {
            config: &self.config,
            bundle: &self.bundle,
            workshop: &self.workshop,
            base_seed: self.base_seed,
            info: &info,
        };
        let work = async {
            match self.makes_keyframes {
                true => maker.between(cycle, key, previous).await,
                false => maker.chained(cycle, previous).await.map(|made| (made, None)),
            }
        };
        let made = self.teller.watching(&self.stop, work).await?;
        info.ended(cycle.0);
        let (made, next) = match made {
            Ok(made) => made,
            Err(error) => {
                self.teller.progress.failed += 1;
                self.failed.push(cycle.0);
                (self.teller.on_event)(Event::Failed { cycle, error: &error.to_string() });
                return Ok(Err(error));
            }
        };
        let previous = made.previous(self.config.chaining.frame);
        self.key = next;
        // One video is shaped at a time, in the order of the cycles.
        match self.finished().await {
            Ok(Ok(())) => {}
            Ok(Err(EndNow)) => return Err(EndNow),
            Err(error) => return Ok(Err(error)),
        }
        self.finish_behind(made, clock.now() - began);
        Ok(Ok(previous))
    }

    fn finish_behind(&mut self, made: cycle::Made, took: Duration) {
        let (workshop, looping) = (self.workshop.clone(), self.config.looping.clone());
        let cycle = made.briq.cycle();
        let task = async move { cycle::finish(&workshop, made, &looping).await };
        self.finishing = Some(Finishing { cycle, took, task: tokio::spawn(task) });
    }

    /// Waits for the video that is being shaped, and tells of its cycle.
    async fn finished(&mut self) -> Result<std::result::Result<(), EndNow>> {
        let Some(Finishing { cycle, took, task }) = self.finishing.take() else {
            return Ok(Ok(()));
        };
        let finished = match self.teller.watching(&self.stop, task).await {
            Ok(finished) => finished.map_err(Error::fault)?,
            Err(EndNow) => return Ok(Err(EndNow)),
        };
        match finished {
            Ok(made) => self.count(&made, took),
            Err(error) => {
                self.teller.progress.failed += 1;
                self.failed.push(cycle.0);
                (self.teller.on_event)(Event::Failed { cycle, error: &error.to_string() });
                self.gives_up(error)?;
            }
        }
        Ok(Ok(()))
    }

    fn count(&mut self, made: &cycle::Made, took: Duration) {
        let project = &self.workshop.project;
        let cycle = made.briq.cycle();
        let video = project.cycle_video(cycle);
        self.in_a_row = 0;
        self.failed.retain(|failed| *failed != cycle.0);
        let still = project.source_image(&made.briq.briq_id);
        let frame = project.chained_frame(cycle);
        self.room.took([made.built.clip.path.as_path(), &video, &still, &frame].map(Path::new));
        if !took.is_zero() {
            self.pace.made(took + self.config.cycle.delay, made.video_seconds);
        }
        let progress = &mut self.teller.progress;
        progress.made += 1;
        progress.seconds = self.workshop.archive.state().total_video_duration;
        progress.per_cycle = self.pace.per_cycle();
        let left = self
            .pace
            .seconds_each()
            .and_then(|each_s| progress.goal.cycles_left(progress.done, progress.seconds, each_s));
        progress.left = left.zip(progress.per_cycle).map(|(cycles, each)| each * cycles);
        if let Some(each) = progress.per_cycle {
            self.teller.info.expect(each);
        }
        (self.teller.on_event)(Event::Made(Made {
            cycle,
            took,
            retries: made.retries,
            backend: made.briq.backend_used.clone(),
            seed: made.briq.seed,
            prompt: made.briq.prompt.clone(),
            video,
            seconds: made.video_seconds,
        }));
    }
}

/// What a cycle is made with; does not change from cycle to cycle.
struct Maker<'a> {
    config: &'a Config,
    bundle: &'a PromptBundle,
    workshop: &'a Workshop,
    base_seed: i64,
    info: &'a GeneratorInfo,
}

impl Maker<'_> {
    fn order<'a>(
        &'a self,
        cycle: CycleId,
        previous: Option<&'a Previous>,
        patience: &'a (dyn Fn() -> Duration + Send + Sync),
    ) -> Order<'a> {
        Order {
            cycle,
            bundle: self.bundle,
            settings: Settings::from(self.config),
            base_seed: self.base_seed,
            asked: None,
            previous,
            retry_delay: RETRY_DELAY,
            patience,
        }
    }

    fn on_stage(&self, cycle: CycleId, stage: &Stage) {
        self.info.stage(cycle.0, stage, self.workshop.clock.now());
    }

    async fn chained(&self, cycle: CycleId, previous: Option<&Previous>) -> Result<cycle::Made> {
        let order = self.order(cycle, previous, &|| PATIENCE);
        cycle::make(self.workshop, &order, &|stage| self.on_stage(cycle, &stage)).await
    }

    /// Keyframe mode: from the still of this cycle (`key`, if it was made already) to that of the
    /// next, which is returned too.
    async fn between(
        &self,
        cycle: CycleId,
        key: Option<Key>,
        previous: Option<&Previous>,
    ) -> Result<(cycle::Made, Option<Key>)> {
        let on_stage = |stage| self.on_stage(cycle, &stage);
        let order = self.order(cycle, previous, &|| PATIENCE);
        let key = match key {
            Some(key) => key,
            None => cycle::make_key(self.workshop, &order, &on_stage).await?,
        };
        let grown_from = Previous {
            briq: Some(key.briq.clone()),
            raw: self.workshop.project.raw_clip(cycle),
            frame: key.still.clone(),
        };
        let next = CycleId(cycle.0 + 1);
        let next = self.order(next, Some(&grown_from), &|| PATIENCE);
        let next = match cycle::make_key(self.workshop, &next, &on_stage).await {
            Ok(next) => next,
            // This one cannot be made without it.
            Err(error) => return Err(cycle::give_up_key(self.workshop, key, error)),
        };
        let still = next.still.clone();
        let made = cycle::make_between(self.workshop, &order, key, still, &on_stage).await?;
        Ok((made, Some(next)))
    }
}
