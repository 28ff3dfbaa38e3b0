//! The supervisor against a worker of plain Python that misbehaves on demand; and, where a Python
//! with diffusers is there, the real one (`scripts/test-diffusers`).

use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::base::clock::{ManualClock, SystemClock};
use crate::base::error::Kind;
use crate::base::time::FrameRate;
use crate::generate::{Init, Progress};
use crate::media::{ClipDecoder, CycleId, DecodedClip};

const FAKE: &str = include_str!("../../../tests/support/fake_diffusers_worker.py");

struct NoDecoder;

impl ClipDecoder for NoDecoder {
    fn decode(&self, _: &Path) -> Result<DecodedClip> {
        Err(Error::internal("only pictures are expected"))
    }
}

fn python3() -> PathBuf {
    let folders = std::env::var_os("PATH").unwrap();
    let mut found = std::env::split_paths(&folders).map(|folder| folder.join("python3"));
    found.find(|path| path.is_file()).expect("python3 is on the path")
}

fn config(yaml: &str) -> BackendConfig {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("backend:\n  type: diffusers\n{yaml}");
    std::fs::write(folder.path().join("config.yaml"), text).unwrap();
    crate::config::check(folder.path()).0.image_backends[0].clone()
}

fn diffusers(config: &BackendConfig, clock: Arc<dyn Clock>, script: &str) -> Diffusers {
    let reader = Reader::new(Arc::new(NoDecoder));
    Diffusers::with_script(config, reader, clock, script).unwrap()
}

fn fake_on(device: &str, clock: Arc<dyn Clock>) -> Diffusers {
    let yaml = format!("  python: {}\n  device: {device}\n", python3().display());
    diffusers(&config(&yaml), clock, FAKE)
}

fn fake() -> Diffusers {
    fake_on("cpu", Arc::new(SystemClock::new()))
}

fn image(prompt: &str) -> ImageRequest {
    ImageRequest {
        cycle: CycleId(1),
        prompt: prompt.to_owned(),
        negative_prompt: String::new(),
        seed: 7,
        width: 64,
        height: 32,
        steps: 4,
        cfg_scale: 7.0,
        sampler: "euler".to_owned(),
        init: None,
    }
}

fn video(prompt: &str, frames: u32) -> VideoRequest {
    VideoRequest {
        cycle: CycleId(1),
        first: Some(RgbImage::from_pixel(64, 32, image::Rgb([10, 200, 30]))),
        last: None,
        prompt: prompt.to_owned(),
        negative_prompt: String::new(),
        seed: 7,
        width: 64,
        height: 32,
        frames,
        fps: FrameRate::whole(8),
        steps: 2,
        cfg_scale: 3.0,
        sampler: "euler".to_owned(),
        motion_bucket_id: 127,
        noise_aug_strength: 0.02,
    }
}

fn quiet(_: Progress) {}

async fn made(fake: &Diffusers, prompt: &str) -> Result<RgbImage> {
    fake.generate_image(&image(prompt), &quiet).await
}

async fn fails(prompt: &str, kind: Kind, words: &[&str]) {
    let fake = fake();
    let error = made(&fake, prompt).await.unwrap_err();
    assert_eq!(error.kind, kind, "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "{word:?} is not in: {error}");
    }
    made(&fake, "fine").await.expect("the next job is done all the same");
    assert_eq!(job_folders(&fake), 0);
}

fn job_folders(fake: &Diffusers) -> usize {
    let entries = std::fs::read_dir(fake.home.path()).unwrap();
    entries.filter(|entry| entry.as_ref().unwrap().path().is_dir()).count()
}

/// Drops the job once it is being worked on.
async fn give_up(fake: &Diffusers, prompt: &str) {
    let begun = tokio::sync::Notify::new();
    let note = |progress| {
        if matches!(progress, Progress::Working { done: Some(_), .. }) {
            begun.notify_one();
        }
    };
    let request = image(prompt);
    tokio::select! {
        made = fake.generate_image(&request, &note) => panic!("it ended: {made:?}"),
        () = begun.notified() => {}
    }
}

/// Starts of the worker so far are told apart by its process id.
async fn process_id(fake: &Diffusers) -> Option<u32> {
    fake.supervisor.process_id().await
}

#[tokio::test]
async fn pictures_come_from_text_and_from_pictures() {
    let fake = fake();
    let heard = Mutex::new(Vec::new());
    let listen = |progress| heard.lock().unwrap().push(progress);
    let from_text = fake.generate_image(&image("fine"), &listen).await.unwrap();
    assert_eq!(from_text.dimensions(), (64, 32));
    assert_eq!(from_text.get_pixel(5, 5).0, [200, 100, 50]);
    let sampling = Progress::Working { what: "sampling".into(), done: Some(0.5) };
    assert!(heard.lock().unwrap().contains(&sampling), "{heard:?}");

    let mut request = image("fine");
    let init = RgbImage::from_pixel(64, 32, image::Rgb([1, 2, 3]));
    request.init = Some(Init { image: init, strength: 0.5 });
    let from_picture = fake.generate_image(&request, &quiet).await.unwrap();
    assert_eq!(from_picture.get_pixel(5, 5).0, [50, 100, 200]);
    assert_eq!(job_folders(&fake), 0);
}

#[tokio::test]
async fn clips_have_the_frames_asked_for_in_order() {
    let frames = fake().generate_video(&video("fine", 5), &quiet).await.unwrap();
    assert_eq!(frames.len(), 5);
    assert!(frames.windows(2).all(|pair| pair[0].y[0] < pair[1].y[0]));
}

#[tokio::test]
async fn a_clip_without_a_first_picture_is_refused() {
    let mut request = video("fine", 5);
    request.first = None;
    let error = fake().generate_video(&request, &quiet).await.unwrap_err();
    assert_eq!(error.kind, Kind::Usage);
}

#[tokio::test]
async fn the_check_tells_versions_and_what_it_runs_on() {
    let health = fake().check().await.unwrap();
    assert_eq!(health.version.as_deref(), Some("0.1 (torch 2.0, Python 3.0)"));
    assert_eq!(health.models, [IMAGE_MODEL, VIDEO_MODEL]);
    assert_eq!(health.notes, ["runs on cpu, float32", "runs on the CPU"]);
}

#[tokio::test]
async fn a_killed_worker_is_started_anew_by_the_next_job() {
    fails("die", Kind::Unavailable, &["signal 9", "memory", "about to die"]).await;
}

#[tokio::test]
async fn a_worker_that_ends_tells_its_last_words() {
    fails("exit", Kind::Unavailable, &["code 3", "Traceback: it broke"]).await;
}

#[tokio::test]
async fn garbage_on_stdout_is_an_error() {
    fails("garbage", Kind::Unavailable, &["not of the protocol", "Downloading"]).await;
}

#[tokio::test]
async fn a_line_without_an_end_is_an_error() {
    fails("long", Kind::Unavailable, &["more than 1048576 bytes"]).await;
}

#[tokio::test]
async fn results_are_taken_from_the_folder_of_the_job_only() {
    fails("escape", Kind::Unavailable, &["../secret.png"]).await;
    fails("lost", Kind::Io, &["gone.png"]).await;
}

#[tokio::test]
async fn failures_say_what_to_do() {
    fails("fail memory", Kind::Unavailable, &["out of memory", "backend.dtype: float16"]).await;
    fails("fail model", Kind::Usage, &["this is a failure of model"]).await;
    fails("fail package", Kind::Usage, &["scripts/diffusers-setup", "backend.python"]).await;
    fails("fail network", Kind::Unavailable, &["failure of network"]).await;
    fails("fail some_new_kind", Kind::Unavailable, &["some_new_kind"]).await;
}

#[tokio::test]
async fn a_dropped_job_is_cancelled_and_the_worker_kept() {
    let fake = fake();
    for prompt in ["wait", "load"] {
        made(&fake, "fine").await.unwrap();
        let before = process_id(&fake).await;
        give_up(&fake, prompt).await;
        made(&fake, "fine").await.unwrap();
        assert_eq!(process_id(&fake).await, before, "{prompt}");
    }
    assert_eq!(job_folders(&fake), 0);
}

#[tokio::test]
async fn a_worker_that_does_not_let_go_is_killed() {
    let mut fake = fake();
    fake.supervisor.cancel_patience = Duration::from_millis(200);
    made(&fake, "fine").await.unwrap();
    let before = process_id(&fake).await;
    give_up(&fake, "hang").await;
    made(&fake, "fine").await.unwrap();
    assert_ne!(process_id(&fake).await, before);
    assert_eq!(job_folders(&fake), 0);
}

#[tokio::test]
async fn jobs_wait_for_each_other() {
    let fake = fake();
    let waited = Mutex::new(Vec::new());
    let listen = |progress| {
        if let Progress::Queued(ahead) = progress {
            waited.lock().unwrap().push(ahead);
        }
    };
    let slow = image("slow");
    let (one, other) =
        tokio::join!(fake.generate_image(&slow, &listen), fake.generate_image(&slow, &listen));
    one.unwrap();
    other.unwrap();
    // Which of the two comes first is left to chance.
    assert_eq!(*waited.lock().unwrap(), [1]);
}

#[tokio::test]
async fn a_check_does_not_wait_for_a_job() {
    let fake = fake();
    fake.check().await.unwrap();
    let hanging = image("hang");
    tokio::select! {
        made = fake.generate_image(&hanging, &quiet) => panic!("it ended: {made:?}"),
        health = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            fake.check().await
        } => { health.unwrap(); }
    }
}

#[tokio::test]
async fn a_worker_that_keeps_dying_is_left_alone_for_a_while() {
    let clock = Arc::new(ManualClock::default());
    let fake = fake_on("dies", clock.clone());
    for _ in 0..2 {
        let error = made(&fake, "fine").await.unwrap_err().to_string();
        assert!(error.contains("code 1") && error.contains("libcuda"), "{error}");
    }
    let error = fake.check().await.unwrap_err();
    assert_eq!(error.kind, Kind::Unavailable);
    assert!(error.to_string().contains("died 2 times in a row"), "{error}");
    assert!(error.to_string().contains("libcuda"), "{error}");
    clock.advance(Duration::from_secs(61));
    let error = made(&fake, "fine").await.unwrap_err().to_string();
    assert!(error.contains("code 1") && !error.contains("in a row"), "{error}");
}

#[tokio::test]
async fn what_keeps_the_worker_from_starting_is_said() {
    let clock = || Arc::new(SystemClock::new());
    for (device, words) in [
        ("no-package", ["transformers", "scripts/diffusers-setup"]),
        ("old", ["version 99", "expected 1"]),
    ] {
        let error = fake_on(device, clock()).check().await.unwrap_err();
        assert_eq!(error.kind, Kind::Usage, "{error}");
        assert!(words.iter().all(|word| error.to_string().contains(word)), "{error}");
    }
    let nowhere = diffusers(&config("  python: /nowhere/python\n"), clock(), FAKE);
    let error = nowhere.check().await.unwrap_err();
    assert_eq!(error.kind, Kind::Usage, "{error}");
    for word in ["/nowhere/python", "scripts/diffusers-setup", "backend.python"] {
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[tokio::test]
async fn dropping_the_generator_ends_the_worker_and_removes_its_folder() {
    let fake = fake();
    made(&fake, "fine").await.unwrap();
    let home = fake.home.path().to_owned();
    #[cfg(unix)]
    let id = nix::unistd::Pid::from_raw(process_id(&fake).await.unwrap() as i32);
    drop(fake);
    assert!(!home.exists());
    #[cfg(unix)]
    for turn in 0.. {
        // A process that has ended has nobody to signal once it is reaped.
        if nix::sys::signal::kill(id, None).is_err() {
            break;
        }
        assert!(turn < 200, "it still runs");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[test]
fn the_folder_of_an_environment_stands_for_its_python() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = format!("  python: {}\n", folder.path().display());
    assert_eq!(python(&config(&yaml)).unwrap(), folder.path().join("bin/python"));
}

#[test]
fn families_of_video_models_are_known_by_name() {
    assert!(!Family::of(VIDEO_MODEL).takes_prompt);
    let wan = Family::of("Wan-AI/Wan2.1-I2V-14B-480P-Diffusers");
    assert_eq!((wan.takes_prompt, wan.frame_step), (true, 4));
    assert_eq!(Family::of("Lightricks/LTX-Video").frame_step, 8);
}

/// Needs `VFAQ_TEST_PYTHON` (with diffusers) and `VFAQ_TEST_MODELS` (made by
/// `tests/support/tiny_diffusers.py`).
#[tokio::test]
#[ignore = "needs Python with diffusers; scripts/test-diffusers runs it"]
async fn the_real_worker_makes_pictures_and_clips() {
    let set = |name| PathBuf::from(std::env::var_os(name).expect("scripts/test-diffusers sets it"));
    let (python, models) = (set("VFAQ_TEST_PYTHON"), set("VFAQ_TEST_MODELS"));
    let yaml = format!(
        "  python: {}\n  model_id: {}\n  video_model_id: {}\n  device: cpu\n",
        python.display(),
        models.join("sdxl").display(),
        models.join("svd").display(),
    );
    let real = diffusers(&config(&yaml), Arc::new(SystemClock::new()), SCRIPT);
    let health = real.check().await.unwrap();
    assert!(health.notes.iter().any(|note| note.contains("CPU")), "{health:?}");

    let steps = Mutex::new(0);
    let count = |progress| {
        if matches!(progress, Progress::Working { done: Some(_), .. }) {
            *steps.lock().unwrap() += 1;
        }
    };
    let mut request = image("a red bird");
    (request.width, request.height) = (120, 72);
    let first = real.generate_image(&request, &count).await.unwrap();
    assert_eq!(first.dimensions(), (120, 72));
    assert!(*steps.lock().unwrap() >= 4);
    let again = real.generate_image(&request, &quiet).await.unwrap();
    assert_eq!(first, again, "equal seeds give equal pictures");
    request.seed = 8;
    assert_ne!(first, real.generate_image(&request, &quiet).await.unwrap());

    request.init = Some(Init { image: first.clone(), strength: 0.0 });
    assert_eq!(first, real.generate_image(&request, &quiet).await.unwrap());
    for sampler in ["DPM++ 2M Karras", "ddim", "something new"] {
        request.sampler = sampler.to_owned();
        request.init = Some(Init { image: first.clone(), strength: 0.3 });
        let grown = real.generate_image(&request, &quiet).await.unwrap();
        assert_eq!(grown.dimensions(), (120, 72));
        assert_ne!(first, grown);
    }

    let mut clip = video("", 4);
    (clip.width, clip.height, clip.first) = (120, 72, Some(first));
    let frames = real.generate_video(&clip, &quiet).await.unwrap();
    assert_eq!(frames.len(), 4);
    assert!(frames.iter().all(|frame| (frame.width, frame.height) == (120, 72)));

    let before = process_id(&real).await.unwrap();
    request.steps = 1000;
    request.init = None;
    let begun = tokio::sync::Notify::new();
    let note = |progress| {
        if matches!(progress, Progress::Working { done: Some(_), .. }) {
            begun.notify_one();
        }
    };
    tokio::select! {
        made = real.generate_image(&request, &note) => panic!("it ended: {made:?}"),
        () = begun.notified() => {}
    }
    request.steps = 2;
    real.generate_image(&request, &quiet).await.unwrap();
    assert_eq!(process_id(&real).await, Some(before), "a cancelled job leaves the worker running");

    #[cfg(unix)]
    {
        let id = nix::unistd::Pid::from_raw(before as i32);
        request.steps = 1000;
        let kill = |progress| {
            if matches!(progress, Progress::Working { done: Some(_), .. }) {
                let _ = nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGKILL);
            }
        };
        let error = real.generate_image(&request, &kill).await.unwrap_err();
        assert!(error.to_string().contains("signal 9"), "{error}");
        request.steps = 2;
        real.generate_image(&request, &quiet).await.unwrap();
    }
}

/// The same two, and what goes wrong with models.
#[tokio::test]
#[ignore = "needs Python with diffusers; scripts/test-diffusers runs it"]
async fn the_real_worker_says_what_is_wrong_with_a_model() {
    let set = |name| PathBuf::from(std::env::var_os(name).expect("scripts/test-diffusers sets it"));
    let (python, models) = (set("VFAQ_TEST_PYTHON"), set("VFAQ_TEST_MODELS"));
    let failing = async |model: &str, more: &str| {
        let yaml = format!("  python: {}\n  model_id: {model}\n{more}", python.display());
        let real = diffusers(&config(&yaml), Arc::new(SystemClock::new()), SCRIPT);
        let error = made(&real, "a bird").await.unwrap_err();
        assert_eq!(error.kind, Kind::Usage, "{error}");
        error.to_string()
    };
    let missing = failing("/nowhere/model", "").await;
    assert!(missing.contains("backend.model_id") && missing.contains("/nowhere"), "{missing}");
    let empty = failing(&models.join("sdxl/unet").display().to_string(), "").await;
    assert!(empty.contains("model_index.json"), "{empty}");
    let offline = failing("vfaq/no-such-model", "").await;
    assert!(offline.contains("HF_HUB_OFFLINE"), "{offline}");
    let device = failing("vfaq/no-such-model", "  device: cuda:7\n").await;
    assert!(device.contains("backend.device"), "{device}");
    let sdxl = models.join("sdxl").display().to_string();
    let lora = failing(&sdxl, "  loras: [\"/nowhere/style.safetensors:0.5\"]\n").await;
    assert!(lora.contains("backend.loras"), "{lora}");
}
