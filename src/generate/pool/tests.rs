//! Pools of simulated servers, in paused time.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use async_trait::async_trait;
use futures_util::stream::FuturesUnordered;

use super::*;
use crate::base::clock::RuntimeClock;
use crate::base::time::FrameRate;
use crate::generate::Init;
use crate::generate::keyframes::{Act, Keyframes, Situation};
use crate::media::CycleId;

/// A server that needs its time for each job.
struct Simulated {
    image: Duration,
    video: Duration,
    up: AtomicBool,
    /// Jobs that never end.
    stuck: AtomicU32,
    begun: AtomicU32,
    /// Jobs in the making; goes down when one ends or is given up.
    busy: Arc<AtomicU32>,
    most_busy: AtomicU32,
}

impl Simulated {
    fn new(image_s: f64, video_s: f64) -> Arc<Self> {
        Arc::new(Simulated {
            image: Duration::from_secs_f64(image_s),
            video: Duration::from_secs_f64(video_s),
            up: AtomicBool::new(true),
            stuck: AtomicU32::new(0),
            begun: AtomicU32::new(0),
            busy: Arc::new(AtomicU32::new(0)),
            most_busy: AtomicU32::new(0),
        })
    }

    fn go(&self, up: bool) {
        self.up.store(up, Ordering::SeqCst);
    }

    fn begun(&self) -> u32 {
        self.begun.load(Ordering::SeqCst)
    }

    /// Works for `takes`; a server that goes down meanwhile fails within 100 ms.
    async fn work(&self, takes: Duration) -> Result<()> {
        struct Busy(Arc<AtomicU32>);
        impl Drop for Busy {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        self.begun.fetch_add(1, Ordering::SeqCst);
        let busy = self.busy.fetch_add(1, Ordering::SeqCst) + 1;
        let _busy = Busy(self.busy.clone());
        self.most_busy.fetch_max(busy, Ordering::SeqCst);
        let stuck =
            self.stuck.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if stuck.is_ok() {
            std::future::pending::<()>().await;
        }
        let mut left = takes;
        while !left.is_zero() {
            self.check().await?;
            let step = left.min(Duration::from_millis(100));
            tokio::time::sleep(step).await;
            left -= step;
        }
        Ok(())
    }
}

#[async_trait]
impl Backend for Simulated {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            text_to_image: true,
            image_to_image: true,
            image_to_video: true,
            first_last_frame: true,
            ..Capabilities::NONE
        }
    }

    async fn check(&self) -> Result<Health> {
        if self.up.load(Ordering::SeqCst) {
            Ok(Health::default())
        } else {
            Err(Error::unavailable("connection refused"))
        }
    }

    async fn generate_image(&self, request: &ImageRequest, _: OnProgress<'_>) -> Result<RgbImage> {
        self.work(self.image).await?;
        Ok(RgbImage::new(request.width, request.height))
    }

    async fn generate_video(
        &self,
        request: &VideoRequest,
        _: OnProgress<'_>,
    ) -> Result<Vec<Frame>> {
        self.work(self.video).await?;
        Ok(vec![Frame::black(2, 2); request.frames as usize])
    }
}

/// The built-in generator's part: at once.
struct StandIn;

#[async_trait]
impl Backend for StandIn {
    fn name(&self) -> &'static str {
        "mock"
    }

    fn capabilities(&self) -> Capabilities {
        Simulated::new(0.0, 0.0).capabilities()
    }

    async fn check(&self) -> Result<Health> {
        Ok(Health::default())
    }

    async fn generate_image(&self, request: &ImageRequest, _: OnProgress<'_>) -> Result<RgbImage> {
        Ok(RgbImage::new(request.width, request.height))
    }

    async fn generate_video(
        &self,
        request: &VideoRequest,
        _: OnProgress<'_>,
    ) -> Result<Vec<Frame>> {
        Ok(vec![Frame::black(2, 2); request.frames as usize])
    }
}

fn image() -> ImageRequest {
    ImageRequest {
        cycle: CycleId(0),
        prompt: String::new(),
        negative_prompt: String::new(),
        seed: 0,
        width: 2,
        height: 2,
        steps: 1,
        cfg_scale: 1.0,
        sampler: String::new(),
        init: None,
    }
}

fn video() -> VideoRequest {
    VideoRequest {
        cycle: CycleId(0),
        first: Some(RgbImage::new(2, 2)),
        last: None,
        prompt: String::new(),
        negative_prompt: String::new(),
        seed: 0,
        width: 2,
        height: 2,
        frames: 2,
        fps: FrameRate::whole(8),
        steps: 1,
        cfg_scale: 1.0,
        sampler: String::new(),
        motion_bucket_id: 127,
        noise_aug_strength: 0.02,
    }
}

fn pool(servers: &[Arc<Simulated>], stand_in: bool) -> Arc<Pool> {
    let member = |(number, server): (usize, &Arc<Simulated>)| Member {
        backend: server.clone(),
        name: format!("gpu{number}"),
        slots: 1,
        timeout: Duration::from_secs(120),
        images: true,
        videos: true,
        helps_late: true,
    };
    let stand_in = stand_in.then(|| Arc::new(StandIn) as Arc<dyn Backend>);
    let members = servers.iter().enumerate().map(member).collect();
    let pool = Arc::new(Pool::new(members, stand_in, Arc::new(RuntimeClock::new())));
    let watched = pool.clone();
    tokio::spawn(async move { watched.watch().await });
    pool
}

const NO_PATIENCE: Duration = Duration::ZERO;

async fn clip(pool: &Pool) -> Result<Made<Vec<Frame>>> {
    pool.generate_video(&video(), NO_PATIENCE, &|_| ()).await
}

/// Seconds that `work` takes.
async fn timed<T>(work: impl Future<Output = T>) -> (T, f64) {
    let clock = RuntimeClock::new();
    let made = work.await;
    (made, clock.now().as_secs_f64())
}

#[tokio::test(start_paused = true)]
async fn the_quicker_server_gets_more() {
    let servers = [Simulated::new(1.0, 10.0), Simulated::new(1.0, 30.0)];
    let pool = pool(&servers, false);
    let jobs: FuturesUnordered<_> = (0..40).map(|_| clip(&pool)).collect();
    let (made, took) = timed(jobs.collect::<Vec<_>>()).await;
    assert!(made.iter().all(Result::is_ok));
    // Together four clips in 30 seconds.
    assert!((300.0..345.0).contains(&took), "{took}");
    assert!(servers[0].begun() >= 29, "{}", servers[0].begun());
    assert_eq!(servers[0].most_busy.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_killed_in_mid_job_costs_at_most_one_job_time() {
    let servers = [Simulated::new(1.0, 20.0), Simulated::new(1.0, 20.0)];
    let pool = pool(&servers, false);
    for _ in 0..4 {
        clip(&pool).await.unwrap();
    }
    let killed = async {
        tokio::time::sleep(Duration::from_secs(15)).await;
        let busy = servers.iter().find(|s| s.busy.load(Ordering::SeqCst) > 0).unwrap();
        busy.go(false);
    };
    let ((made, took), ()) = tokio::join!(timed(clip(&pool)), killed);
    assert!(made.is_ok());
    assert!(took <= 15.2 + 20.0, "{took}");
    let status = pool.status();
    assert_eq!(status.iter().filter(|s| !s.usable).count(), 1);
    assert!(status.iter().any(|s| s.reason.as_deref() == Some("connection refused")), "{status:?}");
    // It is let back in when it answers again.
    servers.iter().for_each(|s| s.go(true));
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert!(pool.status().iter().all(|s| s.usable));
    let two: FuturesUnordered<_> = (0..2).map(|_| clip(&pool)).collect();
    let (_, took) = timed(two.collect::<Vec<_>>()).await;
    assert!(took < 21.0, "{took}");
}

#[tokio::test(start_paused = true)]
async fn a_late_job_is_tried_a_second_time_and_the_first_given_up() {
    let servers = [Simulated::new(1.0, 20.0), Simulated::new(1.0, 20.0)];
    let pool = pool(&servers, false);
    for _ in 0..8 {
        let pair: FuturesUnordered<_> = (0..2).map(|_| clip(&pool)).collect();
        pair.collect::<Vec<_>>().await;
    }
    servers[0].stuck.store(1, Ordering::SeqCst);
    servers[1].stuck.store(0, Ordering::SeqCst);
    // One of two jobs hangs; it is late after 30 s.
    let pair: FuturesUnordered<_> = (0..2).map(|_| clip(&pool)).collect();
    let (made, took) = timed(pair.collect::<Vec<_>>()).await;
    assert!(made.iter().all(Result::is_ok));
    assert!((45.0..51.0).contains(&took), "{took}");
    assert_eq!(servers[0].busy.load(Ordering::SeqCst), 0, "the job that hangs is cancelled");
}

#[tokio::test(start_paused = true)]
async fn the_stand_in_comes_when_patience_ends_and_hands_back() {
    let server = Simulated::new(1.0, 20.0);
    let pool = pool(std::slice::from_ref(&server), true);
    assert_eq!(clip(&pool).await.unwrap().by, "gpu0");
    server.go(false);
    // The first failure may be a hiccup, so with time left it is an error that is tried again.
    let patience = Duration::from_secs(10);
    let error = pool.generate_video(&video(), patience, &|_| ()).await.unwrap_err();
    assert!(error.to_string().contains("gpu0: connection refused"), "{error}");
    let (made, took) = timed(pool.generate_video(&video(), patience, &|_| ())).await;
    assert_eq!(made.unwrap().backend, "mock");
    assert!((10.0..10.6).contains(&took), "{took}");
    let (made, took) = timed(clip(&pool)).await;
    assert_eq!((made.unwrap().backend, took < 0.1), ("mock", true));
    server.go(true);
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!(clip(&pool).await.unwrap().by, "gpu0");
}

#[tokio::test(start_paused = true)]
async fn without_a_stand_in_the_error_names_every_server() {
    let servers = [Simulated::new(1.0, 20.0), Simulated::new(1.0, 20.0)];
    servers.iter().for_each(|s| s.go(false));
    let pool = pool(&servers, false);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let error = clip(&pool).await.unwrap_err().to_string();
    assert!(error.contains("gpu0: connection") && error.contains("gpu1: connection"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn pictures_go_before_clips_and_a_dropped_job_leaves_no_trace() {
    let server = Simulated::new(1.0, 20.0);
    let pool = pool(std::slice::from_ref(&server), false);
    let first = tokio::spawn({
        let pool = pool.clone();
        async move { clip(&pool).await.is_ok() }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let second = clip(&pool);
    tokio::pin!(second);
    // It waits; a picture that comes later goes first.
    assert!(tokio::time::timeout(Duration::from_secs(1), &mut second).await.is_err());
    let request = image();
    let picture = pool.generate_image(&request, NO_PATIENCE, &|_| ());
    tokio::select! {
        biased;
        _ = &mut second => panic!("the clip went first"),
        made = picture => assert!(made.is_ok()),
    }
    assert!(first.await.unwrap());
    tokio::time::timeout(Duration::from_secs(5), &mut second).await.unwrap_err();
    assert_eq!(server.busy.load(Ordering::SeqCst), 1);
    let third = clip(&pool);
    drop(third);
    second.await.unwrap();
    assert_eq!((server.busy.load(Ordering::SeqCst), pool.status()[0].busy), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_nobody_can_make_says_so_at_once() {
    let pool = pool(&[Simulated::new(1.0, 1.0)], false);
    let request = VideoRequest { first: None, ..video() };
    let error = pool.generate_video(&request, NO_PATIENCE, &|_| ()).await.unwrap_err();
    assert_eq!(error.kind, Kind::Usage);
    assert!(error.to_string().contains("vfaq backends"), "{error}");
}

/// A show in keyframe mode on simulated servers, for `show_s` seconds.
struct Show {
    /// The lowest seconds ready after the first half minute of a full ring.
    lowest_s: f64,
    clips: u32,
}

async fn show(servers: usize, video_s: f64, show_s: f64, consumes: f64) -> Show {
    const CLIP_S: f64 = 3.0;
    let servers: Vec<_> = (0..servers).map(|_| Simulated::new(1.0, video_s)).collect();
    let pool = pool(&servers, false);
    let clock = RuntimeClock::new();
    let mut plan = Keyframes::new(0, u32::MAX);
    let (mut ready_s, mut clips, mut last) = (0.0f64, 0, 0.0);
    let (mut lowest_s, mut full) = (f64::INFINITY, false);
    let mut jobs = FuturesUnordered::new();
    let mut expected = History::default();
    while clock.now().as_secs_f64() < show_s {
        let situation = Situation {
            ready_s,
            target_s: 24.0,
            clip_s: CLIP_S,
            expected_s: expected.mean_s().unwrap_or(video_s),
            slots: pool.slots(JobKind::Video),
        };
        while let Some(act) = plan.next(situation) {
            let (pool, began) = (pool.clone(), clock.now());
            jobs.push(async move {
                match act {
                    Act::Key(_) => {
                        let init = Some(Init { image: RgbImage::new(2, 2), strength: 0.4 });
                        let request = ImageRequest { init, ..image() };
                        pool.generate_image(&request, NO_PATIENCE, &|_| ()).await.unwrap();
                    }
                    Act::Clip(_) => {
                        let request = VideoRequest { last: video().first, ..video() };
                        pool.generate_video(&request, NO_PATIENCE, &|_| ()).await.unwrap();
                    }
                }
                (act, began)
            });
        }
        tokio::select! {
            Some((act, began)) = jobs.next() => match act {
                Act::Key(_) => plan.key_made(),
                Act::Clip(clip) => {
                    expected.add(clock.now() - began);
                    plan.clip_done(clip, Some(()));
                }
            },
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
        }
        let now = clock.now().as_secs_f64();
        ready_s = (ready_s - consumes * (now - last)).max(0.0);
        last = now;
        while plan.take().is_some() {
            ready_s += CLIP_S;
            clips += 1;
        }
        full |= ready_s >= 20.0;
        if full {
            lowest_s = lowest_s.min(ready_s);
        }
    }
    Show { lowest_s, clips }
}

#[tokio::test(start_paused = true)]
async fn eight_servers_of_twenty_seconds_keep_the_ring_filled_for_an_hour() {
    let show = show(8, 20.0, 3600.0, 1.0).await;
    assert!(show.lowest_s > 4.0, "the runway fell to {} s", show.lowest_s);
    assert!(show.clips >= 1200, "{}", show.clips);
}

#[tokio::test(start_paused = true)]
async fn throughput_grows_with_the_servers() {
    // Whatever is made is used up at once, so nobody ever has to stop.
    let mut alone = 0.0;
    for servers in [1usize, 2, 4, 8] {
        let show = show(servers, 20.0, 3600.0, 1000.0).await;
        let each = f64::from(show.clips) / servers as f64;
        if servers == 1 {
            alone = each;
        }
        assert!(each >= 0.95 * alone, "{servers} servers: {each} clips each, one alone {alone}");
    }
}
