//! Cycles made by a fake generator and a fake encoder into a real project folder.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use image::{Rgb, RgbImage};

use super::*;
use crate::archive::journal::{self, Event};
use crate::archive::tests::{clip_bytes, open};
use crate::archive::{Archive, FactoryState, FailedCycle};
use crate::base::clock::{ManualClock, RuntimeClock};
use crate::base::error::{Error, Kind, Result};
use crate::base::fsio::write_atomic;
use crate::base::time::FrameRate;
use crate::config::{ChainFrame, Chaining, Generation, Keyframes, LoopMethod, Looping};
use crate::generate::convert::rgb_to_frame;
use crate::generate::pool::Pool;
use crate::generate::{Backend, Capabilities, Health, ImageRequest, OnProgress, VideoRequest};
use crate::llm::{Ahead, Ask, Suggestion, Writer};
use crate::media::{ClipEncoder, CycleId, Frame};
use crate::worqspace::{Mode, NegativeSource, PromptBundle};

pub(crate) fn bundle() -> PromptBundle {
    PromptBundle {
        title: None,
        mode: Mode::Text,
        backend: None,
        base_image: None,
        base_video: None,
        seed: None,
        drift_preset: None,
        prompt: "a glass\nforest.".into(),
        negative_prompt: "text, watermark".into(),
        negative_source: NegativeSource::File,
        style_hints: "# Style\n- grainy film\n- soft light\n".into(),
        motion_prompt: "slow dolly forward\n".into(),
    }
}

pub(super) fn previous(briq: Briq) -> Previous {
    Previous { briq: Some(briq), raw: "raw.mp4".into(), frame: RgbImage::new(2, 2) }
}

pub(super) fn looping(method: Option<LoopMethod>) -> Looping {
    Looping {
        enabled: method.is_some(),
        method: method.unwrap_or(LoopMethod::Pingpong),
        crossfade_frames: 2,
        output_fps: None,
        output_codec: "h264_nvenc".into(),
        output_quality: None,
    }
}

pub(super) fn with_settings(test: impl FnOnce(&Settings<'_>)) {
    let (generation, chaining) = sections();
    let looping = looping(None);
    let quality_tags = ["masterpiece".to_owned()];
    test(&Settings {
        generation: &generation,
        chaining: &chaining,
        looping: &looping,
        quality_tags: &quality_tags,
        max_retries: 2,
    });
}

pub(super) fn sections() -> (Generation, Chaining) {
    let generation = Generation {
        clip_seconds: 1.0,
        width: 16,
        height: 8,
        cfg_scale: 7.0,
        steps: 30,
        sampler: "euler_ancestral".into(),
        video_frames: 6,
        video_fps: FrameRate::whole(8),
        motion_bucket_id: 127,
        noise_aug_strength: 0.02,
    };
    let chaining = Chaining {
        denoise_strength: 0.4,
        seed_step: 2,
        frame: ChainFrame::Last,
        keyframes: Keyframes::Off,
    };
    (generation, chaining)
}

/// Writes an MP4 of boxes alone, which holds how many frames it got.
struct FakeEncoder;

impl ClipEncoder for FakeEncoder {
    fn encode(
        &self,
        frames: &mut dyn Iterator<Item = &Frame>,
        _: FrameRate,
        path: &Path,
    ) -> Result<()> {
        write_atomic(path, &clip_bytes(frames.count() as u8))
    }
}

/// Paints a flat grey that grows lighter with each frame; fails as often as told first.
#[derive(Default)]
pub(super) struct FakeBackend {
    failures: AtomicU32,
    inits: Mutex<Vec<Option<(RgbImage, f64)>>>,
    clips: Mutex<Vec<RgbImage>>,
}

#[async_trait]
impl Backend for FakeBackend {
    fn name(&self) -> &'static str {
        "fake"
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
        Ok(Health::default())
    }

    async fn generate_image(&self, request: &ImageRequest, _: OnProgress<'_>) -> Result<RgbImage> {
        let left =
            self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if left.is_ok() {
            return Err(Error::unavailable("the GPU is on fire"));
        }
        let init = request.init.as_ref().map(|init| (init.image.clone(), init.strength));
        self.inits.lock().unwrap().push(init);
        Ok(RgbImage::from_pixel(request.width, request.height, Rgb([40; 3])))
    }

    async fn generate_video(
        &self,
        request: &VideoRequest,
        _: OnProgress<'_>,
    ) -> Result<Vec<Frame>> {
        self.clips.lock().unwrap().extend(request.first.clone());
        let grey = |i| Rgb([40 + 10 * i as u8; 3]);
        let frame = |i| rgb_to_frame(&RgbImage::from_pixel(request.width, request.height, grey(i)));
        Ok((0..request.frames).map(frame).collect())
    }
}

/// A server that failed is used again as soon as it has answered a check.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Studio {
    pub folder: Arc<tempfile::TempDir>,
    pub archive: Archive,
    pub workshop: Workshop,
    backend: Arc<FakeBackend>,
    bundle: PromptBundle,
    pub loop_method: Option<LoopMethod>,
}

impl Studio {
    fn new(failures: u32) -> Self {
        Self::open(Arc::new(tempfile::tempdir().unwrap()), failures)
    }

    /// In a folder that may hold cycles.
    pub fn open(folder: Arc<tempfile::TempDir>, failures: u32) -> Self {
        let project = Arc::new(open(folder.path()).unwrap());
        let clock = Arc::new(ManualClock::default());
        let archive = Archive::start(project.clone(), clock.clone()).unwrap();
        let backend = Arc::new(FakeBackend { failures: failures.into(), ..Default::default() });
        let pool = Arc::new(Pool::single(backend.clone(), Arc::new(RuntimeClock::new())));
        let watched = pool.clone();
        tokio::spawn(async move { watched.watch().await });
        let workshop = Workshop {
            project,
            archive: archive.handle(),
            pool,
            encoder: Arc::new(FakeEncoder),
            clock,
            writer: None,
        };
        Studio { folder, archive, workshop, backend, bundle: bundle(), loop_method: None }
    }

    pub async fn run(
        &self,
        cycle: u32,
        previous: Option<&Previous>,
    ) -> (Result<Made>, Vec<&'static str>) {
        let (generation, chaining) = sections();
        let looping = looping(self.loop_method);
        let order = Order {
            cycle: CycleId(cycle),
            bundle: &self.bundle,
            settings: Settings {
                generation: &generation,
                chaining: &chaining,
                looping: &looping,
                quality_tags: &[],
                max_retries: 2,
            },
            base_seed: 7,
            asked: None,
            previous,
            retry_delay: Duration::ZERO,
            patience: &|| PATIENCE,
        };
        let stages = Mutex::new(Vec::new());
        let on_stage = |stage: Stage| stages.lock().unwrap().extend(stage.name());
        let made = run_cycle(&self.workshop, &order, &on_stage).await;
        (made, stages.into_inner().unwrap())
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Ends the archive; hands out what it left on the disk.
    fn close(self) -> (Arc<tempfile::TempDir>, FactoryState, Vec<Event>) {
        self.archive.close().unwrap();
        let read = std::fs::read(self.folder.path().join("factory_state.json")).unwrap();
        let (entries, torn) = journal::read(&self.folder.path().join("journal.jsonl")).unwrap();
        assert_eq!(torn, None);
        let events = entries.into_iter().map(|entry| entry.event).collect();
        (self.folder, serde_json::from_slice(&read).unwrap(), events)
    }
}

fn briq_on_disk(folder: &Path, id: &str) -> Briq {
    let text = std::fs::read(folder.join(format!("briqs/{id}.json"))).unwrap();
    serde_json::from_slice(&text).unwrap()
}

#[tokio::test]
async fn two_cycles_chain_and_everything_is_archived() {
    let stage = Studio::new(0);
    let (first, stages) = stage.run(0, None).await;
    let first = first.unwrap();
    assert_eq!(stages, ["image", "video", "archive"]);
    assert_eq!((first.built.frames.len(), first.built.clip.frames), (6, 6));
    let before = first.previous(ChainFrame::Last);
    let middle = first.previous(ChainFrame::Middle).frame;
    assert!(middle.get_pixel(0, 0)[0] < before.frame.get_pixel(0, 0)[0]);
    let second = stage.run(1, Some(&before)).await.0.unwrap();

    let (image, strength) = stage.backend.inits.lock().unwrap()[1].clone().unwrap();
    assert_eq!((&image, strength), (&before.frame, 0.4));
    assert!(image.get_pixel(0, 0)[0].abs_diff(90) <= 1, "the last frame is carried on");
    let chained = image::open(stage.path("images/cycle0001_video_frame.png")).unwrap().to_rgb8();
    assert_eq!(chained, image);
    assert!(stage.path(&format!("images/{}_image.png", second.briq.briq_id)).exists());
    assert_eq!(std::fs::read(stage.path("videos/cycle0001_raw.mp4")).unwrap(), clip_bytes(6));
    assert_eq!(std::fs::read(stage.path("videos/cycle0001_video.mp4")).unwrap(), clip_bytes(6));
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let inode = |name| std::fs::metadata(stage.path(name)).unwrap().ino();
        assert_eq!(inode("videos/cycle0001_raw.mp4"), inode("videos/cycle0001_video.mp4"));
    }

    let (folder, state, events) = stage.close();
    let briq = briq_on_disk(folder.path(), &second.briq.briq_id);
    assert_eq!(briq, second.briq);
    assert_eq!((briq.status, briq.seed, briq.mode.as_str()), (BriqStatus::Complete, 9, "video"));
    assert_eq!(briq.raw_video_path.as_deref(), Some("videos/cycle0001_raw.mp4"));
    assert_eq!(briq.base_video_path.as_deref(), Some("videos/cycle0000_raw.mp4"));
    assert!(briq.evolution_suggestion.is_some());
    assert_eq!(briq.evolution, [first.briq.suggested_prompt_delta.unwrap()]);
    assert_eq!(state.completed_briqs, [first.briq.briq_id, second.briq.briq_id]);
    assert_eq!((state.current_cycle, state.base_seed, state.active_briq_id), (2, Some(7), None));
    assert_eq!(state.cycle_video_paths[1], "videos/cycle0001_video.mp4");
    assert_eq!(state.total_video_duration, 1.5);
    assert_eq!(events.len(), 2);
}

#[tokio::test]
async fn a_base_image_is_cropped_to_size_and_animated_without_a_new_still() {
    let mut stage = Studio::new(0);
    let wide =
        RgbImage::from_fn(64, 8, |x, _| Rgb([if (24..40).contains(&x) { 10 } else { 255 }; 3]));
    let path = stage.path("base.png");
    wide.save(&path).unwrap();
    stage.bundle.mode = Mode::Image;
    stage.bundle.base_image = Some(path);
    let made = stage.run(0, None).await.0.unwrap();
    assert_eq!(made.briq.mode, "image");
    assert!(stage.backend.inits.lock().unwrap().is_empty());
    let still = stage.backend.clips.lock().unwrap()[0].clone();
    assert_eq!(still.dimensions(), (16, 8));
    assert_eq!(still.get_pixel(8, 4), &Rgb([10; 3]), "the middle of the picture is kept");
}

#[tokio::test]
async fn loops_are_written_beside_the_raw_clip() {
    for (method, frames) in [(LoopMethod::Pingpong, 10), (LoopMethod::Crossfade, 4)] {
        let mut stage = Studio::new(0);
        stage.loop_method = Some(method);
        let made = stage.run(0, None).await.0.unwrap();
        assert_eq!(std::fs::read(&made.built.clip.path).unwrap(), clip_bytes(6));
        let video = std::fs::read(stage.path("videos/cycle0000_video.mp4")).unwrap();
        assert_eq!(video, clip_bytes(frames), "{method:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_cycle_is_retried_then_recorded_and_forgiven_when_made_after_all() {
    let stage = Studio::new(5);
    let (made, stages) = stage.run(0, None).await;
    let error = made.unwrap_err();
    assert_eq!(error.kind, Kind::Unavailable);
    assert!(error.to_string().contains("on fire"), "{error}");
    assert_eq!(stages, ["image", "retry", "image", "retry", "image"]);
    let failed = stage.workshop.archive.state().failed_cycles;
    assert!(
        matches!(&failed[..], [FailedCycle::Detailed { cycle_index: 0, error, .. }]
            if error.contains("on fire")),
        "{failed:?}"
    );

    let made = stage.run(0, None).await.0.unwrap();
    assert_eq!((made.retries, made.briq.error_message), (2, None));
    let (_folder, state, events) = stage.close();
    assert!(state.failed_cycles.is_empty());
    let status = |event: &Event| match event {
        Event::Cycle { status, reason, .. } => (*status, reason.is_some()),
        other => panic!("{other:?}"),
    };
    use journal::CycleStatus::{Failed, Generated};
    assert_eq!(events.iter().map(status).collect::<Vec<_>>(), [(Failed, true), (Generated, false)]);
}

#[tokio::test]
async fn a_base_image_that_is_none_is_not_tried_again() {
    let mut stage = Studio::new(0);
    let path = stage.path("base.png");
    std::fs::write(&path, "hello").unwrap();
    stage.bundle.mode = Mode::Image;
    stage.bundle.base_image = Some(path);
    let (made, stages) = stage.run(0, None).await;
    assert!(made.unwrap_err().to_string().contains("base.png"));
    assert_eq!(stages, ["image"]);
}

#[tokio::test]
async fn a_stopped_show_goes_on_where_it_was() {
    let stage = Studio::new(0);
    let first = stage.run(0, None).await.0.unwrap();
    let (folder, ..) = stage.close();
    let project = open(folder.path()).unwrap();
    let resume = project.resume_point().unwrap();
    assert_eq!(resume.next_cycle, CycleId(1));
    assert_eq!(resume.last_raw, Some((CycleId(0), first.built.clip.path.clone())));
    assert_eq!((resume.base_seed, resume.last_briq), (Some(7), Some(first.briq)));
}

/// Writes at once, or never.
struct FakeWriter {
    answers: bool,
    asks: Mutex<Vec<Ask>>,
}

#[async_trait]
impl Writer for FakeWriter {
    fn name(&self) -> &str {
        "fake"
    }

    async fn write(&self, ask: &Ask) -> Result<Suggestion> {
        self.asks.lock().unwrap().push(ask.clone());
        if !self.answers {
            std::future::pending::<()>().await;
        }
        let prompt_delta = format!("change for {}", ask.cycle.0);
        Ok(Suggestion { prompt_delta, ..Suggestion::default() })
    }
}

/// The prompts of three cycles, and what was asked meanwhile.
async fn three_prompts(answers: Option<bool>) -> (Vec<String>, Vec<Ask>) {
    let mut stage = Studio::new(0);
    let writer = Arc::new(FakeWriter { answers: answers == Some(true), asks: Mutex::default() });
    stage.workshop.writer =
        answers.map(|_| Arc::new(Ahead::new(writer.clone(), Duration::from_secs(3600))));
    let (mut prompts, mut previous) = (Vec::new(), None);
    for cycle in 0..3 {
        let made = stage.run(cycle, previous.as_ref()).await.0.unwrap();
        prompts.push(made.briq.prompt.clone());
        previous = Some(made.previous(ChainFrame::Last));
    }
    let asks = writer.asks.lock().unwrap().clone();
    (prompts, asks)
}

#[tokio::test]
async fn a_language_model_in_time_writes_the_next_prompt() {
    let (prompts, asks) = three_prompts(Some(true)).await;
    assert_eq!(prompts[0], "a glass forest");
    assert_eq!(prompts[1], "a glass forest, change for 1");
    assert_eq!(prompts[2], "a glass forest, change for 1, change for 2");
    let second = &asks[1];
    assert_eq!((second.cycle, second.seed), (CycleId(2), 11));
    assert_eq!(second.prompt, "a glass\nforest.");
    assert_eq!(second.history, ["change for 1"]);
    assert_eq!(second.last_prompts, prompts[..2]);
}

#[tokio::test]
async fn a_language_model_that_is_late_or_absent_changes_nothing() {
    let (alone, _) = three_prompts(None).await;
    let (late, asks) = three_prompts(Some(false)).await;
    assert_eq!(late, alone);
    assert!(!asks.is_empty());
}

/// As the scheduler will run it: on another thread.
#[test]
fn a_cycle_can_be_sent() {
    fn send<T: Send>(_: &impl FnOnce(Workshop, PromptBundle) -> T) {}
    send(&|workshop: Workshop, bundle: PromptBundle| async move {
        let (generation, chaining) = sections();
        let looping = looping(None);
        let order = Order {
            cycle: CycleId(0),
            bundle: &bundle,
            settings: Settings {
                generation: &generation,
                chaining: &chaining,
                looping: &looping,
                quality_tags: &[],
                max_retries: 0,
            },
            base_seed: 0,
            asked: None,
            previous: None,
            retry_delay: Duration::ZERO,
            patience: &|| PATIENCE,
        };
        run_cycle(&workshop, &order, &|_| ()).await.is_ok()
    });
}
