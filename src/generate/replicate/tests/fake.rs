//! A server that answers as a test wants it to, and remembers what it was asked.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use serde_json::json;

use super::super::*;
use crate::base::clock::ManualClock;
use crate::base::time::FrameRate;
use crate::config;
use crate::generate::Init;
use crate::media::{ClipDecoder, CycleId, DecodedClip, VideoFormat};

/// A header of an answer that is to come so much later.
pub const DELAY_MS: &str = "x-delay-ms";
pub const TOKEN: &str = "r8_the-token-of-the-tests";

#[derive(Clone, Debug)]
pub struct Asked {
    /// `GET /models/a/b`
    pub what: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// How often that was asked before.
    pub before: usize,
    /// The server's own address.
    pub base: String,
}

impl Asked {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

pub struct Fake {
    pub base: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Fake {
    /// Answers what `answer` leaves as Replicate does.
    pub async fn start(
        answer: impl Fn(&Asked) -> Option<Response> + Send + Sync + 'static,
    ) -> Fake {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (all, own, answer) = (asked.clone(), base.clone(), Arc::new(answer));
        let handle = move |request: Request| {
            let (all, base, answer) = (all.clone(), own.clone(), answer.clone());
            async move {
                let (head, body) = request.into_parts();
                let body = to_bytes(body, 64 << 20).await.unwrap();
                let what = format!("{} {}", head.method, head.uri.path());
                let asked =
                    remember(&all, Asked { what, headers: head.headers, body, before: 0, base });
                let answer = answer(&asked).unwrap_or_else(|| usual(&asked));
                let delay = answer.headers().get(DELAY_MS).and_then(|ms| ms.to_str().ok());
                if let Some(delay_ms) = delay.and_then(|ms| ms.parse().ok()) {
                    tokio::time::sleep(Duration::from_millis(delay_ms)).await;
                }
                answer
            }
        };
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(handle)).await });
        Fake { base, asked }
    }

    pub fn all(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub fn count(&self, what: &str) -> usize {
        self.all().iter().filter(|asked| asked.what == what).count()
    }

    pub fn first(&self, what: &str) -> Asked {
        self.all().into_iter().find(|asked| asked.what == what).unwrap()
    }

    /// Waits, not for long, until that was asked.
    pub async fn wait_for(&self, what: &str) {
        let asked = async {
            while self.count(what) == 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let patience = Duration::from_secs(3);
        if tokio::time::timeout(patience, asked).await.is_err() {
            let all: Vec<String> = self.all().into_iter().map(|asked| asked.what).collect();
            panic!("nobody asked {what}, but {all:?}");
        }
    }
}

fn remember(all: &Mutex<Vec<Asked>>, mut asked: Asked) -> Asked {
    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
    asked.before = all.iter().filter(|other| other.what == asked.what).count();
    all.push(asked.clone());
    asked
}

pub const START: &str = "POST /models/own/painter/predictions";
pub const START_CLIP: &str = "POST /models/own/mover/predictions";
pub const LOOK: &str = "GET /predictions/p1";
pub const CANCEL: &str = "POST /predictions/p1/cancel";

/// What Replicate answers when all is well.
fn usual(asked: &Asked) -> Response {
    let schema = |properties: Value| json!({"components": {"schemas": {"Input": {"properties": properties}}}});
    let painter = schema(json!({
        "prompt": {"type": "string"}, "image": {"type": "string", "format": "uri"},
        "prompt_strength": {"type": "number"}, "seed": {"type": "integer"},
        "width": {"type": "integer"}, "height": {"type": "integer"},
    }));
    let mover = schema(json!({
        "prompt": {"type": "string"}, "first_frame_image": {"type": "string"},
        "num_frames": {"type": "integer"},
    }));
    match &*asked.what {
        "GET /account" => Json(json!({"type": "user", "username": "ada"})).into_response(),
        "GET /models/own/painter" => Json(json!({
            "latest_version": {"id": "v1", "openapi_schema": painter}
        }))
        .into_response(),
        "GET /models/own/painter/versions/v0" => {
            Json(json!({"id": "v0", "openapi_schema": painter})).into_response()
        }
        "GET /models/own/mover" => {
            Json(json!({"latest_version": {"openapi_schema": mover}})).into_response()
        }
        START => created(&json!({"status": "succeeded", "output": data(&picture(90))})),
        "POST /files" => created_as(
            StatusCode::CREATED,
            &json!({"id": "f1", "urls": {"get": format!("{}/files/f1", asked.base)}}),
        ),
        "DELETE /files/f1" => StatusCode::NO_CONTENT.into_response(),
        CANCEL => Json(json!({"id": "p1", "status": "canceled"})).into_response(),
        _ => refusal(404, "Not found."),
    }
}

/// An answer to the start of a prediction.
pub fn created(more: &Value) -> Response {
    created_as(StatusCode::CREATED, more)
}

fn created_as(status: StatusCode, more: &Value) -> Response {
    let mut answer = json!({"id": "p1", "error": null, "logs": ""});
    for (key, value) in more.as_object().unwrap() {
        answer[key] = value.clone();
    }
    (status, Json(answer)).into_response()
}

pub fn refusal(status: u16, detail: &str) -> Response {
    let answer = json!({"title": "refused", "detail": detail, "status": status});
    (StatusCode::from_u16(status).unwrap(), Json(answer)).into_response()
}

pub fn picture(shade: u8) -> RgbImage {
    RgbImage::from_fn(64, 32, |x, y| image::Rgb([shade, (x * 3) as u8, (y * 5) as u8]))
}

pub fn png(picture: &RgbImage) -> Vec<u8> {
    let mut file = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut file, image::ImageFormat::Png).unwrap();
    file.into_inner()
}

pub fn data(picture: &RgbImage) -> String {
    format!("data:image/png;base64,{}", STANDARD.encode(png(picture)))
}

/// Stands for GStreamer.
struct Decoder;

impl ClipDecoder for Decoder {
    fn decode(&self, _: &std::path::Path) -> Result<DecodedClip> {
        let format = VideoFormat { width: 64, height: 32, fps: FrameRate::whole(8) };
        let mut frame = Frame::black(64, 32);
        frame.y.fill(120);
        Ok(DecodedClip { format, frames: vec![frame; 8] })
    }
}

/// A backend of `own/painter` and `own/mover` at this server, in a hurry. `settings`: more lines of
/// YAML below `backend`.
pub fn backend(fake: &Fake, settings: &[(&str, &str)]) -> Result<Replicate> {
    backend_in(fake, settings, Arc::default(), Arc::new(ManualClock::default()))
}

pub fn backend_in(
    fake: &Fake,
    settings: &[(&str, &str)],
    spending: Arc<Spending>,
    clock: Arc<dyn Clock>,
) -> Result<Replicate> {
    let mut all = BTreeMap::from([
        ("type", "replicate"),
        ("api_url", &*fake.base),
        ("api_token", TOKEN),
        ("image_model", "own/painter"),
        ("video_model", "own/mover"),
    ]);
    all.extend(settings.iter().copied());
    all.retain(|_, value| !value.is_empty());
    let lines: Vec<String> = all.iter().map(|(k, v)| format!("  {k}: {v}\n")).collect();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.yaml"), format!("backend:\n{}", lines.concat()))
        .unwrap();
    let (config, _, findings) = config::check(folder.path());
    let ours: Vec<_> = findings
        .problems
        .iter()
        .map(ToString::to_string)
        .filter(|p| p.contains("config.yaml"))
        .collect();
    assert!(ours.is_empty(), "{ours:?}");
    let reader = Reader::new(Arc::new(Decoder));
    let mut backend = Replicate::new(&config.image_backends[0], reader, spending, clock)?;
    backend.api.pace = Pace {
        wait_s: 1,
        poll: Duration::from_millis(2),
        retry: Duration::from_millis(2),
        longest_retry_after: Duration::from_millis(50),
    };
    backend.api.plain_http = true;
    Ok(backend)
}

pub fn image_request(init: Option<RgbImage>) -> ImageRequest {
    ImageRequest {
        cycle: CycleId(0),
        prompt: "a lake".into(),
        negative_prompt: String::new(),
        seed: 7,
        width: 64,
        height: 32,
        steps: 4,
        cfg_scale: 3.0,
        sampler: "euler".into(),
        init: init.map(|image| Init { image, strength: 0.4 }),
    }
}

pub fn video_request() -> VideoRequest {
    VideoRequest {
        cycle: CycleId(0),
        first: Some(picture(90)),
        last: None,
        prompt: "waves".into(),
        negative_prompt: String::new(),
        seed: 7,
        width: 64,
        height: 32,
        frames: 8,
        fps: FrameRate::whole(8),
        steps: 4,
        cfg_scale: 3.0,
        sampler: String::new(),
        motion_bucket_id: 127,
        noise_aug_strength: 0.02,
    }
}

pub async fn paint(backend: &Replicate) -> Result<RgbImage> {
    backend.generate_image(&image_request(None), &|_| ()).await
}
