//! The client against a server that speaks the recorded protocol, with its races and traps.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;
use tokio_tungstenite::tungstenite::protocol::Message;

use super::testing::{Comfy, picture};
use super::*;
use crate::base::clock::SystemClock;
use crate::base::error::{Error, Kind, Result};
use crate::base::time::FrameRate;
use crate::config;
use crate::generate::{Backend, ImageRequest, Init, Progress, Reader, VideoRequest};
use crate::media::{ClipDecoder, CycleId, DecodedClip, Frame, VideoFormat};

const VERSIONS: [&str; 2] = ["0.3.64", "0.33.0"];

/// Stands for GStreamer: the recorded clip is 8 frames of 64x48.
struct Fake;

impl ClipDecoder for Fake {
    fn decode(&self, path: &Path) -> Result<DecodedClip> {
        let file = std::fs::read(path).unwrap();
        assert_eq!(&file[4..8], b"ftyp");
        let mut frame = Frame::black(64, 48);
        frame.y.fill(90);
        let format = VideoFormat { width: 64, height: 48, fps: FrameRate::whole(8) };
        Ok(DecodedClip { format, frames: vec![frame; 8] })
    }
}

/// A client of the server at `url`; `more` are further keys of `backend`.
fn client(url: &str, more: &str) -> Comfyui {
    let folder = tempfile::tempdir().unwrap();
    let graphs = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/comfyui/graphs");
    let more = more.replace("GRAPHS", &graphs.display().to_string());
    let text = format!(
        "backend:\n  type: comfyui\n  api_url: {url}\n{more}\ncomfyui:\n  sdxl_ckpt: \
         tiny_sdxl_random_fp16.safetensors\n  svd_ckpt: tiny_svd_random_fp16.safetensors\n"
    );
    std::fs::write(folder.path().join("config.yaml"), text).unwrap();
    let config = config::load(folder.path()).unwrap_or_else(|e| panic!("{}", Error::from(e)));
    let uses = Uses { images: true, videos: true };
    let reader = Reader::new(std::sync::Arc::new(Fake));
    let clock = std::sync::Arc::new(SystemClock::new());
    Comfyui::new(&config.config.image_backends[0], uses, reader, clock).unwrap()
}

fn image() -> ImageRequest {
    ImageRequest {
        cycle: CycleId(3),
        prompt: "a \"glass\" forest {{seed}}".into(),
        negative_prompt: "text".into(),
        seed: 7,
        width: 96,
        height: 56,
        steps: 2,
        cfg_scale: 5.0,
        sampler: "euler".into(),
        init: None,
    }
}

fn video() -> VideoRequest {
    VideoRequest {
        cycle: CycleId(3),
        first: Some(image::load_from_memory(&picture(1)).unwrap().into_rgb8()),
        last: None,
        prompt: "a glass forest".into(),
        negative_prompt: "text".into(),
        seed: 7,
        width: 64,
        height: 48,
        frames: 8,
        fps: FrameRate::whole(8),
        steps: 2,
        cfg_scale: 5.0,
        sampler: "euler".into(),
        motion_bucket_id: 127,
        noise_aug_strength: 0.02,
    }
}

async fn make(client: &Comfyui) -> Result<image::RgbImage> {
    client.generate_image(&image(), &|_| ()).await
}

async fn idle(server: &Comfy) {
    for _ in 0..200 {
        if server.is_idle() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the server is still at work");
}

#[tokio::test]
async fn everything_is_made_on_both_versions() {
    for version in VERSIONS {
        let server = Comfy::start(version).await;
        let built_in = client(&server.url(), "");
        let health = built_in.check().await.unwrap();
        assert_eq!(health.version, Some(format!("ComfyUI {version}")));
        assert!(health.models.iter().any(|m| m.contains("svd")), "{health:?}");
        let heard = Mutex::new(Vec::new());
        let listen = |progress: Progress| heard.lock().unwrap().push(progress);
        let made = built_in.generate_image(&image(), &listen).await.unwrap();
        assert_eq!(made.dimensions(), (96, 56));
        let heard = heard.into_inner().unwrap();
        assert!(heard.iter().any(|p| matches!(p, Progress::Preview(_))), "{heard:?}");
        let done = |p: &Progress| matches!(p, Progress::Working { done: Some(d), .. } if *d > 0.0);
        assert!(heard.iter().any(done), "{heard:?}");

        let init = Some(Init { image: made, strength: 0.4 });
        let request = ImageRequest { init, ..image() };
        built_in.generate_image(&request, &|_| ()).await.unwrap();
        assert_eq!(server.uploads().len(), 1);
        let frames = built_in.generate_video(&video(), &|_| ()).await.unwrap();
        assert_eq!((frames.len(), frames[0].width, frames[0].height), (8, 64, 48));

        let own = client(
            &server.url(),
            "  workflow_image: GRAPHS/sdxl_txt2img.json\n  workflow_img2img: \
             GRAPHS/sdxl_img2img.json\n  workflow_video: GRAPHS/wan_i2v.json\n  workflow_morph: \
             GRAPHS/wan_first_last_frame.json",
        );
        let can = own.capabilities();
        assert!(
            can.first_last_frame && can.image_to_video && can.text_conditioned_video,
            "{can:?}"
        );
        assert_eq!((can.frame_step, can.size_step), (4, 16));
        own.check().await.unwrap();
        make(&own).await.unwrap();
        let request = VideoRequest { last: video().first, ..video() };
        assert_eq!(own.generate_video(&request, &|_| ()).await.unwrap().len(), 8);
    }
}

/// Events are no more than a courtesy.
#[tokio::test]
async fn a_result_comes_without_events_too() {
    for version in VERSIONS {
        let server = Comfy::start(version).await;
        let client = client(&server.url(), "");
        server.set(|f| f.no_socket = true);
        make(&client).await.unwrap();
        server.set(|f| (f.no_socket, f.silent) = (false, true));
        make(&client).await.unwrap();
        server.set(|f| (f.silent, f.drops_socket) = (false, true));
        make(&client).await.unwrap();
        server.set(|f| f.drops_socket = false);
        // Somebody takes over the socket with a second one of the same id.
        server.job_time(Duration::from_millis(400));
        let thief = async {
            tokio::time::sleep(Duration::from_millis(150)).await;
            server.steal_sockets();
        };
        let (made, ()) = tokio::join!(make(&client), thief);
        made.unwrap();
    }
}

#[tokio::test]
async fn a_history_that_lags_is_waited_for() {
    let server = Comfy::start("0.3.64").await;
    server.set(|f| f.history_lag = Duration::from_millis(300));
    let client = client(&server.url(), "");
    make(&client).await.unwrap();
    assert_eq!(server.executed(), 1);
}

#[tokio::test]
async fn a_job_that_the_server_forgot_is_given_to_it_again() {
    let server = Comfy::start("0.33.0").await;
    let client = client(&server.url(), "");
    server.job_time(Duration::from_millis(500));
    let restart = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert!(server.is_running());
        server.restart();
    };
    let (made, ()) = tokio::join!(make(&client), restart);
    made.unwrap();
    assert_eq!(server.executed(), 2);
}

#[tokio::test]
async fn a_file_that_is_gone_is_made_again() {
    let server = Comfy::start("0.33.0").await;
    let client = client(&server.url(), "");
    server.set(|f| f.lost_files = 1);
    make(&client).await.unwrap();
    assert_eq!(server.executed(), 2);
    // And given up at some time.
    server.set(|f| f.lost_files = 100);
    let error = make(&client).await.unwrap_err();
    assert!(error.to_string().contains("lost the job, or its files, 3 times"), "{error}");
}

#[tokio::test]
async fn results_are_found_under_every_key() {
    let server = Comfy::start("0.33.0").await;
    let client = client(&server.url(), "");
    for key in ["images", "gifs", "videos", "video"] {
        server.set(|f| f.key = Some(key));
        client.generate_video(&video(), &|_| ()).await.unwrap();
    }
}

#[tokio::test]
async fn only_our_own_job_is_cancelled() {
    for version in VERSIONS {
        let server = Comfy::start(version).await;
        let client = client(&server.url(), "");
        client.check().await.unwrap();
        server.job_time(Duration::from_millis(600));
        // Ours waits behind that of somebody else.
        let foreign = server.foreign_job();
        let given_up = tokio::time::timeout(Duration::from_millis(150), make(&client)).await;
        assert!(given_up.is_err());
        idle(&server).await;
        assert_eq!(server.has_ended(&foreign).as_deref(), Some("success"));
        assert_eq!(server.executed(), 1, "ours never began");
        // Ours runs: it is interrupted, and that of somebody else behind it is not.
        let (given_up, foreign) =
            tokio::join!(tokio::time::timeout(Duration::from_millis(200), make(&client)), async {
                tokio::time::sleep(Duration::from_millis(100)).await;
                server.foreign_job()
            });
        assert!(given_up.is_err());
        idle(&server).await;
        assert_eq!(server.has_ended(&foreign).as_deref(), Some("success"));
        let interrupts = server.requests().iter().filter(|r| *r == "POST /interrupt").count();
        assert_eq!(interrupts, 1);
    }
}

#[tokio::test]
async fn a_slow_interrupt_holds_nothing_up() {
    let server = Comfy::start("0.3.64").await;
    let client = client(&server.url(), "");
    client.check().await.unwrap();
    server.job_time(Duration::from_millis(500));
    server.set(|f| f.ignores_interrupts = true);
    let given_up = tokio::time::timeout(Duration::from_millis(150), make(&client)).await;
    assert!(given_up.is_err());
    // The next one waits in the server's queue, and comes.
    make(&client).await.unwrap();
}

#[tokio::test]
async fn what_a_server_refuses_is_explained() {
    let server = Comfy::start("0.33.0").await;
    let url = server.url();
    let folder = tempfile::tempdir().unwrap();
    let workflow = |name: &str, graph: serde_json::Value| {
        let file = folder.path().join(name);
        std::fs::write(&file, graph.to_string()).unwrap();
        client(&url, &format!("  workflow_image: {}", file.display()))
    };
    // What the server lacks is said before anything is submitted.
    let missing = "  loras: [none.safetensors]";
    let error = client(&url, missing).check().await.unwrap_err();
    assert_eq!(error.kind, Kind::Usage);
    assert!(error.to_string().contains("none.safetensors"), "{error}");
    let no_output = json!({"1": {"class_type": "EmptyImage", "inputs": {}}});
    let file = folder.path().join("no_output.json");
    std::fs::write(&file, no_output.to_string()).unwrap();
    let found = Workflow::load(&file, Role::Image, &[]).map(|_| ());
    let found = match found {
        Ok(()) => workflow("no_output.json", no_output).check().await.map(|_| ()),
        other => other,
    };
    assert!(found.unwrap_err().to_string().contains("no output node"));
    // The wanted output is among those that are refused.
    let broken = json!({"9": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "broken": true}},
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 5}}});
    let error = make(&workflow("broken.json", broken)).await.unwrap_err().to_string();
    assert!(error.contains("gone.png") && error.contains("node 9 (SaveImage)"), "{error}");
    idle(&server).await;

    server.set(|f| f.fails = Some("CUDA out of memory. Tried to allocate 2 GiB".into()));
    let error = make(&client(&url, "")).await.unwrap_err();
    assert_eq!(error.kind, Kind::Unavailable);
    assert!(error.to_string().contains("too little memory"), "{error}");
    server.set(|f| (f.fails, f.leaves_nothing) = (None, true));
    let error = make(&client(&url, "")).await.unwrap_err().to_string();
    assert!(error.contains("left no picture"), "{error}");
}

#[tokio::test]
async fn something_else_that_answers_is_told() {
    let server = Comfy::start("0.33.0").await;
    let url = server.url();
    for (answer, part) in [
        ((200, "text/html", b"<html>nginx</html>".to_vec()), "a web page"),
        ((200, "application/json", b"{}".to_vec()), "not as ComfyUI does"),
        ((401, "text/plain", Vec::new()), "401"),
        ((403, "text/plain", Vec::new()), "403"),
        ((302, "text/plain", Vec::new()), "sends one on to http://else.example"),
        ((500, "text/plain", b"boom".to_vec()), "boom"),
    ] {
        server.set(|f| {
            f.answers.insert("/system_stats", answer.clone());
        });
        let error = client(&url, "").check().await.unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    server.set(|f| f.answers.clear());
    // Garbage where a picture, a history or the queue should be.
    for path in ["/view", "/history", "/upload", "/prompt", "/object_info"] {
        server.set(|f| {
            f.answers.insert(path, (200, "application/json", b"[[[".to_vec()));
        });
        let client = client(&url, "");
        let init = Some(Init { image: image::RgbImage::new(8, 8), strength: 0.4 });
        let request = ImageRequest { init, ..image() };
        assert!(client.generate_image(&request, &|_| ()).await.is_err(), "{path}");
        server.set(|f| f.answers.clear());
        idle(&server).await;
    }
}

#[tokio::test]
async fn noise_on_the_socket_harms_nothing() {
    let server = Comfy::start("0.33.0").await;
    server.set(|f| {
        f.noise = vec![
            Message::text("{"),
            Message::text("[1, 2]"),
            Message::text(r#"{"type": "executing", "data": {"node": 5, "prompt_id": null}}"#),
            Message::binary(vec![0, 0, 0, 4, 255, 255, 255, 255]),
            Message::binary(vec![9; 100]),
        ];
    });
    make(&client(&server.url(), "")).await.unwrap();
}

#[tokio::test]
async fn a_server_that_dies_in_mid_job_is_noticed_at_once() {
    let server = Comfy::start("0.33.0").await;
    let client = client(&server.url(), "");
    client.check().await.unwrap();
    server.job_time(Duration::from_secs(30));
    let url = server.url();
    let death = async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        drop(server);
    };
    let clock = crate::base::clock::RuntimeClock::new();
    let (made, ()) = tokio::join!(make(&client), death);
    assert_eq!(made.unwrap_err().kind, Kind::Unavailable, "{url}");
    use crate::base::clock::Clock;
    assert!(clock.now() < Duration::from_secs(8));
}

/// What our server sends for the recorded scenario is what real ones sent.
#[tokio::test]
async fn the_test_server_behaves_as_recorded() {
    for version in VERSIONS {
        let file = format!("tests/data/comfyui/recorded/{version}.jsonl");
        let recorded =
            std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
        let recorded: Vec<String> = recorded
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .filter_map(|line| Some(line.get("text")?.get("type")?.as_str()?.to_owned()))
            .collect();
        // The first job of the recording: fresh, four nodes. Repeats of one kind count once.
        let end = recorded.iter().position(|t| t == "execution_success").unwrap();
        let tail = |t: &[String]| {
            let mut kinds: Vec<String> = t.to_vec();
            kinds.retain(|t| t != "feature_flags" && t != "status");
            kinds.dedup();
            kinds
        };
        let expected = tail(&recorded[..=end + 2]);
        let server = Comfy::start(version).await;
        let graph = json!({
            "1": {"class_type": "LoadImage", "inputs": {"image": "frame.png"}},
            "2": {"class_type": "ImageScale", "inputs": {"image": ["1", 0]}},
            "3": {"class_type": "ImageInvert", "inputs": {"image": ["2", 0]}},
            "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "x"}},
        });
        let heard = listen(&server, &graph).await;
        assert_eq!(tail(&heard), expected, "{version}");
        // The same again is known from before.
        let again = listen(&server, &graph).await;
        let cached = [
            "execution_start",
            "execution_cached",
            "executed",
            "progress_state",
            "execution_success",
            "executing",
        ];
        assert_eq!(tail(&again), cached, "{version}");
        let second: Vec<String> =
            recorded[end + 3..].iter().take_while(|t| *t != "execution_success").cloned().collect();
        assert_eq!(tail(&second), cached[..4], "{version}");
    }
}

/// The kinds of events of a job, as they come.
async fn listen(server: &Comfy, graph: &serde_json::Value) -> Vec<String> {
    use futures_util::StreamExt;
    let options = crate::web::Options::default();
    let web = crate::web::Web::new(&server.url(), "url", &options).unwrap();
    let server = super::server::Server { web };
    let mut socket = super::socket::Socket::connect(&server, "listener").await.unwrap();
    server.submit(graph, "listener", "the-id", &[]).await.unwrap();
    let mut kinds = Vec::new();
    loop {
        let Some(Ok(message)) = socket.stream.next().await else { return kinds };
        let Message::Text(text) = message else { continue };
        let event: serde_json::Value = serde_json::from_str(&text).unwrap();
        kinds.push(event["type"].as_str().unwrap().to_owned());
        if event["type"] == "executing" && event["data"]["node"].is_null() {
            return kinds;
        }
    }
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|b| json!(b)),
        any::<i64>().prop_map(|n| json!(n)),
        "[a-z0-9./\\\\]{0,12}".prop_map(|t| json!(t)),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        let keys = prop::sample::select(vec![
            "id",
            "outputs",
            "status",
            "status_str",
            "completed",
            "messages",
            "images",
            "filename",
            "queue_running",
            "queue_pending",
            "name",
            "subfolder",
            "error",
            "node_errors",
            "errors",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(|v| json!(v)),
            prop::collection::vec((keys, inner), 0..5).prop_map(|pairs| {
                let map: serde_json::Map<_, _> =
                    pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
                json!(map)
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a server answers, wherever: no panic, and an end.
    #[test]
    fn any_answer_is_survived(answer in any_json(), place in 0usize..6) {
        let paths = ["/history", "/queue", "/prompt", "/upload", "/object_info", "/system_stats"];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = Comfy::start("0.33.0").await;
            server.job_time(Duration::from_millis(1));
            server.set(|f| {
                f.answers.insert(paths[place], (200, "application/json", answer.to_string().into_bytes()));
            });
            let client = client(&server.url(), "");
            let _ = client.check().await;
            let init = Some(Init { image: image::RgbImage::new(8, 8), strength: 0.4 });
            let request = ImageRequest { init, ..image() };
            let work = client.generate_image(&request, &|_| ());
            let _ = tokio::time::timeout(Duration::from_millis(100), work).await;
        });
        let _ = refusal::explain(&answer, &answer);
        let _ = refusal::failure(&answer);
        let _ = refusal::execution_error(&answer, &answer);
    }
}
