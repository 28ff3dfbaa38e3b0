//! Many servers as one generator.
//!
//! Each job goes where it is expected to be finished first (`schedule`). One that fails is made
//! elsewhere at once; one that is late against its server's own history is begun a second time on
//! an idle server, and the first to finish counts. A server that fails is left alone until it
//! answers checks again (`server`). When none is left for longer than a job can wait, the built-in
//! generator makes the job: the next one grows out of its picture, so nothing jumps.
//!
//! Holds: a job is delivered once. Dropping its future, or losing against a second attempt, cancels
//! it on its server. Somebody has to drive [`Pool::watch`], or no server is ever let back in.

mod schedule;
mod server;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use image::RgbImage;
use tokio::sync::Notify;

use self::schedule::{Load, Waiting, assign};
pub use self::server::JobKind;
use self::server::{Condition, History};
use super::{Backend, Capabilities, Health, ImageRequest, OnProgress, Progress, VideoRequest};
use crate::base::clock::Clock;
use crate::base::error::{Error, Kind, Result};
use crate::base::telemetry::GeneratorStatus;
use crate::media::Frame;

/// How often what waits is looked at again, for a server that takes longer than expected.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// Longest wait for the answer to a check; a diffusers worker that starts takes minutes.
const CHECK_PATIENCE: Duration = Duration::from_secs(190);
/// The place in the queue of a job that is late.
const FIRST: u8 = 0;

/// A server to be put into a pool.
pub struct Member {
    pub backend: Arc<dyn Backend>,
    /// What it is called on screen.
    pub name: String,
    /// Jobs that it is given at once.
    pub slots: usize,
    /// Until a job counts as failed.
    pub timeout: Duration,
    pub images: bool,
    pub videos: bool,
    /// Whether it may be given a late job of another one: not where each job costs money.
    pub helps_late: bool,
}

/// What a job made, and who did it.
#[derive(Debug)]
pub struct Made<T> {
    pub value: T,
    /// The kind of generator, as briqs name it.
    pub backend: &'static str,
    /// The server's name.
    pub by: String,
}

struct Server {
    member: Member,
    state: Mutex<ServerState>,
}

#[derive(Default)]
struct ServerState {
    /// What runs in each slot, and since when.
    slots: Vec<Option<(JobKind, Duration)>>,
    condition: Condition,
    image: History,
    video: History,
    made: u64,
    failed: u64,
}

impl ServerState {
    fn history(&mut self, kind: JobKind) -> &mut History {
        match kind {
            JobKind::Image => &mut self.image,
            JobKind::Video => &mut self.video,
        }
    }
}

impl Server {
    fn lock(&self) -> MutexGuard<'_, ServerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn makes(&self, kind: JobKind) -> bool {
        match kind {
            JobKind::Image => self.member.images,
            JobKind::Video => self.member.videos,
        }
    }
}

pub struct Pool {
    servers: Vec<Server>,
    stand_in: Option<Arc<dyn Backend>>,
    /// What was made last, it made.
    standing_in: AtomicBool,
    clock: Arc<dyn Clock>,
    queue: Mutex<Queue>,
    /// Something has changed: a job came, ended or was given up, a server failed or came back.
    changed: Notify,
}

/// Jobs that wait, in the order of their tickets.
#[derive(Default)]
struct Queue {
    next_ticket: u64,
    waiting: BTreeMap<(u8, u64), Wanted>,
}

struct Wanted {
    kind: JobKind,
    /// Servers that have failed this job, or have it already.
    not_on: Vec<usize>,
}

/// A place in the queue; given up when dropped.
struct Ticket<'p> {
    pool: &'p Pool,
    key: (u8, u64),
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.pool.queue().waiting.remove(&self.key);
        self.pool.changed.notify_waiters();
    }
}

/// A slot of a server; free again when dropped.
struct Lease<'p> {
    pool: &'p Pool,
    server: usize,
    slot: usize,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.pool.servers[self.server].lock().slots[self.slot] = None;
        self.pool.changed.notify_waiters();
    }
}

/// A request of either kind.
trait Job: Sync {
    type Value: Send;
    const KIND: JobKind;
    /// Keyframes go first: everything grows from them.
    const PRIORITY: u8;
    fn can_be_made_by(&self, capabilities: Capabilities) -> bool;
    fn begin<'a>(
        &'a self,
        backend: &'a dyn Backend,
        on_progress: OnProgress<'a>,
    ) -> BoxFuture<'a, Result<Self::Value>>;
}

impl Job for ImageRequest {
    type Value = RgbImage;
    const KIND: JobKind = JobKind::Image;
    const PRIORITY: u8 = 1;

    fn can_be_made_by(&self, can: Capabilities) -> bool {
        if self.init.is_some() { can.image_to_image } else { can.text_to_image }
    }

    fn begin<'a>(
        &'a self,
        backend: &'a dyn Backend,
        on_progress: OnProgress<'a>,
    ) -> BoxFuture<'a, Result<RgbImage>> {
        backend.generate_image(self, on_progress)
    }
}

impl Job for VideoRequest {
    type Value = Vec<Frame>;
    const KIND: JobKind = JobKind::Video;
    const PRIORITY: u8 = 2;

    fn can_be_made_by(&self, can: Capabilities) -> bool {
        match (&self.first, &self.last) {
            (_, Some(_)) => can.first_last_frame,
            (Some(_), None) => can.image_to_video,
            (None, None) => can.text_to_video,
        }
    }

    fn begin<'a>(
        &'a self,
        backend: &'a dyn Backend,
        on_progress: OnProgress<'a>,
    ) -> BoxFuture<'a, Result<Vec<Frame>>> {
        backend.generate_video(self, on_progress)
    }
}

impl Pool {
    /// `stand_in` makes what no server can.
    pub fn new(
        members: Vec<Member>,
        stand_in: Option<Arc<dyn Backend>>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let server = |member: Member| {
            let slots = vec![None; member.slots.max(1)];
            Server { member, state: Mutex::new(ServerState { slots, ..Default::default() }) }
        };
        Pool {
            servers: members.into_iter().map(server).collect(),
            stand_in,
            standing_in: AtomicBool::new(false),
            clock,
            queue: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// One generator for everything, without a stand-in.
    pub fn single(backend: Arc<dyn Backend>, clock: Arc<dyn Clock>) -> Self {
        let member = Member {
            name: backend.name().to_owned(),
            backend,
            slots: 1,
            timeout: Duration::from_secs(86_400),
            images: true,
            videos: true,
            helps_late: true,
        };
        Pool::new(vec![member], None, clock)
    }

    /// What all servers that make jobs of this kind can do.
    pub fn capabilities(&self, kind: JobKind) -> Capabilities {
        let mut all = self.servers.iter().filter(|s| s.makes(kind));
        let Some(first) = all.next() else { return Capabilities::NONE };
        all.fold(first.member.backend.capabilities(), |known, server| {
            known.shared(server.member.backend.capabilities())
        })
    }

    /// Jobs of this kind that can be made at the same time by servers that can be used now.
    pub fn slots(&self, kind: JobKind) -> usize {
        let usable = |s: &&Server| s.makes(kind) && s.lock().condition.is_usable();
        self.servers.iter().filter(usable).map(|s| s.member.slots.max(1)).sum()
    }

    /// The kinds of generators, as briqs name them: `comfyui`, or `diffusers+replicate`.
    pub fn names(&self) -> String {
        let name = |kind| {
            let server = self.servers.iter().find(|s| s.makes(kind));
            server.map_or("none", |s| s.member.backend.name())
        };
        match (name(JobKind::Image), name(JobKind::Video)) {
            (image, video) if image == video => image.to_owned(),
            (image, video) => format!("{image}+{video}"),
        }
    }

    /// Whether the built-in generator stands in for all others.
    pub fn is_standing_in(&self) -> bool {
        self.standing_in.load(Ordering::Relaxed)
    }

    pub fn status(&self) -> Vec<GeneratorStatus> {
        let status = |server: &Server| {
            let state = server.lock();
            GeneratorStatus {
                name: server.member.name.clone(),
                backend: server.member.backend.name(),
                usable: state.condition.is_usable(),
                reason: state.condition.reason().map(str::to_owned),
                busy: state.slots.iter().flatten().count(),
                image_s: state.image.mean_s(),
                video_s: state.video.mean_s(),
                made: state.made,
                failed: state.failed,
            }
        };
        self.servers.iter().map(status).collect()
    }

    /// Makes a picture. `patience` is how long the job can wait for servers that are all gone.
    pub async fn generate_image(
        &self,
        request: &ImageRequest,
        patience: Duration,
        on_progress: OnProgress<'_>,
    ) -> Result<Made<RgbImage>> {
        self.run(request, patience, on_progress).await
    }

    /// Makes a clip; as [`Pool::generate_image`].
    pub async fn generate_video(
        &self,
        request: &VideoRequest,
        patience: Duration,
        on_progress: OnProgress<'_>,
    ) -> Result<Made<Vec<Frame>>> {
        self.run(request, patience, on_progress).await
    }

    /// Checks servers that nothing is known of, and those that failed; lets them back in. Never
    /// ends; to be dropped with the show.
    pub async fn watch(&self) {
        let mut checks = FuturesUnordered::new();
        loop {
            let now = self.clock.now();
            for (index, server) in self.servers.iter().enumerate() {
                if server.lock().condition.begin_check(now) {
                    checks.push(async move { (index, self.check(index).await) });
                }
            }
            tokio::select! {
                Some((index, result)) = checks.next() => {
                    self.note_check(index, result);
                }
                () = self.changed.notified() => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
    }

    async fn check(&self, index: usize) -> Result<Health> {
        let backend = &self.servers[index].member.backend;
        tokio::time::timeout(CHECK_PATIENCE, backend.check()).await.unwrap_or_else(|_| {
            Err(Error::unavailable(format!(
                "it does not answer a check within {} s",
                CHECK_PATIENCE.as_secs()
            )))
        })
    }

    fn note_check(&self, index: usize, result: Result<Health>) {
        let server = &self.servers[index];
        let name = &server.member.name;
        let now = self.clock.now();
        let mut state = server.lock();
        let before = state.condition.reason().map(str::to_owned);
        state.condition.checked(now, result);
        match (before, state.condition.reason()) {
            (Some(_), None) => tracing::info!("{name} can be used again"),
            (before, Some(reason)) if before.as_deref() != Some(reason) => {
                tracing::warn!("{name} cannot be used: {reason}");
            }
            _ => {}
        }
        drop(state);
        self.changed.notify_waiters();
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run<J: Job>(
        &self,
        job: &J,
        patience: Duration,
        on_progress: OnProgress<'_>,
    ) -> Result<Made<J::Value>> {
        let until = self.clock.now() + patience;
        // Servers that cannot make it at all, then those that failed it.
        let unfit = |(_, server): &(usize, &Server)| {
            !server.makes(J::KIND) || !job.can_be_made_by(server.member.backend.capabilities())
        };
        let mut not_on: Vec<usize> =
            self.servers.iter().enumerate().filter(unfit).map(|(index, _)| index).collect();
        if not_on.len() == self.servers.len() && self.stand_in.is_none() {
            return Err(Error::usage(
                "no generator that is set can make this; see `vfaq backends` for what each can",
            ));
        }
        let mut failed: Option<Error> = None;
        let mut attempts = FuturesUnordered::new();
        // What is in the making, and since when.
        let mut running: Vec<(usize, Duration)> = Vec::new();
        let mut late = Duration::MAX;
        // A second place for a job that is late.
        let mut second: Option<BoxFuture<'_, Option<Lease<'_>>>> = None;
        loop {
            if attempts.is_empty() {
                let Some(lease) = self.lease(J::KIND, J::PRIORITY, &not_on, until).await else {
                    return self.stand_in(job, failed, on_progress).await;
                };
                late = self.late(&lease, J::KIND);
                running.push((lease.server, self.clock.now()));
                attempts.push(self.attempt(job, lease, on_progress));
            }
            let wait = late.saturating_sub(self.clock.now());
            let place = async {
                match &mut second {
                    Some(second) => second.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some((index, result)) = attempts.next() => match result {
                    Ok(value) => {
                        self.lost_the_race(J::KIND, index, &running);
                        let member = &self.servers[index].member;
                        if self.standing_in.swap(false, Ordering::Relaxed) {
                            tracing::info!("{} takes over from the built-in generator", member.name);
                        }
                        let (backend, by) = (member.backend.name(), member.name.clone());
                        return Ok(Made { value, backend, by });
                    }
                    Err(error) => {
                        not_on.push(index);
                        running.retain(|(server, _)| *server != index);
                        second = None;
                        let error = error.context(&self.servers[index].member.name);
                        // Of several errors one after which it is worth to try again.
                        let error = match failed.take() {
                            Some(before) if error.kind == Kind::Usage => before,
                            _ => error,
                        };
                        if attempts.is_empty() && !self.is_any_usable(J::KIND, &not_on) {
                            // Another try may find it well again; that is quicker than to wait
                            // here for servers that are gone.
                            if self.clock.now() < until || self.stand_in.is_none() {
                                return Err(error);
                            }
                            return self.stand_in(job, Some(error), on_progress).await;
                        }
                        tracing::warn!("{error}; it is made elsewhere");
                        failed = Some(error);
                    }
                },
                lease = place => {
                    second = None;
                    match lease {
                        Some(lease) => {
                            tracing::info!(
                                "a job is late; {} tries it too",
                                self.servers[lease.server].member.name
                            );
                            running.push((lease.server, self.clock.now()));
                            attempts.push(self.attempt(job, lease, &|_| ()));
                        }
                        None => late = self.clock.now() + LOOK_AGAIN,
                    }
                }
                () = tokio::time::sleep(wait), if attempts.len() == 1 && late != Duration::MAX => {
                    late = Duration::MAX;
                    // Elsewhere, where it costs nothing, and before whatever waits: clips are shown
                    // in order, so others are of no use before this one.
                    let mut not_there = not_on.clone();
                    not_there.extend(running.iter().map(|(server, _)| *server));
                    let costs = |(index, server): (usize, &Server)| {
                        (!server.member.helps_late).then_some(index)
                    };
                    not_there.extend(self.servers.iter().enumerate().filter_map(costs));
                    let now = self.clock.now();
                    second = Some(Box::pin(async move {
                        self.lease(J::KIND, FIRST, &not_there, now).await
                    }));
                }
            }
        }
    }

    /// Whoever was slower is known to be at least that slow.
    fn lost_the_race(&self, kind: JobKind, winner: usize, running: &[(usize, Duration)]) {
        let now = self.clock.now();
        for (server, since) in running.iter().filter(|(server, _)| *server != winner) {
            self.servers[*server].lock().history(kind).add(now - *since);
        }
    }

    fn is_any_usable(&self, kind: JobKind, not_on: &[usize]) -> bool {
        self.servers.iter().enumerate().any(|(index, server)| {
            server.makes(kind) && !not_on.contains(&index) && server.lock().condition.is_usable()
        })
    }

    async fn attempt<J: Job>(
        &self,
        job: &J,
        lease: Lease<'_>,
        on_progress: OnProgress<'_>,
    ) -> (usize, Result<J::Value>) {
        let server = &self.servers[lease.server];
        let began = self.clock.now();
        let last = Mutex::new(None);
        let listen = |progress: Progress| {
            if !matches!(progress, Progress::Preview(_)) {
                *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(progress.to_string());
            }
            on_progress(progress);
        };
        let timeout = server.member.timeout;
        let made = job.begin(&*server.member.backend, &listen);
        let result = tokio::time::timeout(timeout, made).await.unwrap_or_else(|_| {
            let last = last.lock().unwrap_or_else(PoisonError::into_inner).take();
            let heard = last.map_or_else(String::new, |last| format!(" (last heard: {last})"));
            Err(Error::unavailable(format!(
                "nothing came within {} s{heard}; backend.timeout sets how long is waited",
                timeout.as_secs_f64()
            )))
        });
        let now = self.clock.now();
        let mut state = server.lock();
        match &result {
            Ok(_) => {
                state.made += 1;
                state.history(J::KIND).add(now - began);
                state.condition.job_succeeded();
            }
            Err(error) => {
                state.failed += 1;
                state.condition.job_failed(now, error);
            }
        }
        drop(state);
        let index = lease.server;
        drop(lease);
        (index, result)
    }

    /// What the built-in generator makes when there is nobody else.
    async fn stand_in<J: Job>(
        &self,
        job: &J,
        failed: Option<Error>,
        on_progress: OnProgress<'_>,
    ) -> Result<Made<J::Value>> {
        let reason = failed.unwrap_or_else(|| self.nobody(J::KIND));
        let Some(stand_in) = &self.stand_in else { return Err(reason) };
        if !self.standing_in.swap(true, Ordering::Relaxed) {
            tracing::warn!("the built-in generator stands in: {reason}");
        }
        let value = job.begin(&**stand_in, on_progress).await?;
        let by = "the built-in generator".to_owned();
        Ok(Made { value, backend: stand_in.name(), by })
    }

    /// Why no server can be used.
    fn nobody(&self, kind: JobKind) -> Error {
        let reason = |server: &Server| {
            let state = server.lock();
            let reason = state.condition.reason().unwrap_or("it cannot make this").to_owned();
            format!("{}: {reason}", server.member.name)
        };
        let reasons: Vec<_> = self.servers.iter().filter(|s| s.makes(kind)).map(reason).collect();
        Error::new(Kind::Unavailable, format!("no generator can be used: {}", reasons.join("; ")))
    }

    /// Waits for a slot where the job is finished soonest. `None`: all servers that it may go to
    /// are gone, and still were at the time `until`.
    async fn lease(
        &self,
        kind: JobKind,
        priority: u8,
        not_on: &[usize],
        until: Duration,
    ) -> Option<Lease<'_>> {
        let ticket = {
            let mut queue = self.queue();
            let key = (priority, queue.next_ticket);
            queue.next_ticket += 1;
            queue.waiting.insert(key, Wanted { kind, not_on: not_on.to_vec() });
            Ticket { pool: self, key }
        };
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(lease) = self.begin(&ticket) {
                return Some(lease);
            }
            let gone = !self.is_any_usable(kind, not_on);
            if gone && self.clock.now() >= until {
                return None;
            }
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
    }

    /// A slot for the job with this ticket, if it is its turn.
    fn begin(&self, ticket: &Ticket<'_>) -> Option<Lease<'_>> {
        // The queue stays locked, so that no two jobs are given one slot.
        let queue = self.queue();
        let now = self.clock.now();
        let loads: Vec<Load> = self.servers.iter().map(|server| load(server, now)).collect();
        let waiting: Vec<Waiting> = queue.waiting.values().map(|job| self.wish(job)).collect();
        let place = queue.waiting.keys().position(|key| *key == ticket.key)?;
        let server = assign(&loads, &waiting).get(place).copied().flatten()?;
        let kind = queue.waiting.get(&ticket.key)?.kind;
        self.take(server, kind)
    }

    fn take(&self, server: usize, kind: JobKind) -> Option<Lease<'_>> {
        let now = self.clock.now();
        let mut state = self.servers[server].lock();
        let slot = state.slots.iter().position(Option::is_none)?;
        state.slots[slot] = Some((kind, now));
        Some(Lease { pool: self, server, slot })
    }

    /// What a job would take on each server. One that is not known yet is taken for twice as quick
    /// as the quickest, so that it becomes known.
    fn wish(&self, job: &Wanted) -> Waiting {
        let known = |server: &Server| server.lock().history(job.kind).mean_s();
        let quickest = self.servers.iter().filter_map(known).min_by(f64::total_cmp);
        let guess = quickest.map_or(1.0, |s| s / 2.0);
        let takes = self.servers.iter().enumerate().map(|(index, server)| {
            let may = server.makes(job.kind)
                && !job.not_on.contains(&index)
                && server.lock().condition.is_usable();
            may.then(|| known(server).unwrap_or(guess))
        });
        Waiting { takes: takes.collect() }
    }

    fn late(&self, lease: &Lease<'_>, kind: JobKind) -> Duration {
        let late_s = self.servers[lease.server].lock().history(kind).late_s();
        late_s.map_or(Duration::MAX, |s| self.clock.now() + Duration::from_secs_f64(s))
    }
}

fn load(server: &Server, now: Duration) -> Load {
    /// Of its time, what a job is thought to need still when it is over it.
    const OVERRUN: f64 = 0.25;
    let state = server.lock();
    let free = |slot: &Option<(JobKind, Duration)>| {
        let Some((kind, since)) = slot else { return 0.0 };
        let history = match kind {
            JobKind::Image => &state.image,
            JobKind::Video => &state.video,
        };
        let takes = history.mean_s().unwrap_or(1.0);
        let elapsed = now.saturating_sub(*since).as_secs_f64();
        // More than nothing: it is not free.
        (takes - elapsed).max(OVERRUN * elapsed).max(0.001)
    };
    Load { free_in: state.slots.iter().map(free).collect() }
}
