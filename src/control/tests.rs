//! Real requests over a real socket, against a desk made of cardboard.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Mutex;

use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};

use super::*;
use crate::base::clock::{Clock, SystemClock};
use crate::base::error::Error;
use crate::base::telemetry::{OutputState, Phase, RecordingStatus};
use crate::config::preset;
use crate::param;

mod access;
mod cycles;
mod outputs;
mod params;
mod presets;
mod recording;
mod routes;
mod socket;
mod table;
mod token;

struct Cardboard {
    clock: SystemClock,
    live: Mutex<bool>,
    board: Arc<Board>,
    preview: Mutex<Option<Arc<[u8]>>>,
    trouble: Mutex<Option<String>>,
    recording: Mutex<Option<RecordingStatus>>,
    /// The video of cycle 7.
    video: tempfile::NamedTempFile,
    outputs: Mutex<Vec<OutputStatus>>,
    changes: Mutex<Vec<(OutputChange, u32)>>,
}

impl Desk for Cardboard {
    fn status(&self) -> Arc<Status> {
        let mut params = serde_json::Map::new();
        let zoom = self.board.number(param::ParamId::Zoom);
        params.insert("/fx/zoom".into(), json!(zoom));
        let phase = if *self.live.lock().unwrap() { Phase::Live } else { Phase::Standby };
        let recording = self.recording.lock().unwrap().clone();
        let project = "neon".into();
        Arc::new(Status { version: "0.1.0", project, phase, params, recording, ..status() })
    }

    fn go(&self) -> Result<bool> {
        Ok(!std::mem::replace(&mut *self.live.lock().unwrap(), true))
    }

    fn board(&self) -> &Arc<Board> {
        &self.board
    }

    fn now(&self) -> Duration {
        self.clock.now()
    }

    fn outputs(&self) -> Vec<OutputStatus> {
        self.outputs.lock().unwrap().clone()
    }

    fn output(&self, key: &str) -> Result<OutputStatus> {
        let outputs = self.outputs();
        let is = |o: &&OutputStatus| o.id.to_string() == key || o.name.as_deref() == Some(key);
        outputs
            .iter()
            .find(is)
            .cloned()
            .ok_or_else(|| Error::not_found(format!("there is no output '{key}'; there are: 1")))
    }

    fn add_output(&self, spec: OutputSpec, source: &str) -> Result<OutputStatus> {
        assert_eq!(source, "http");
        let mut outputs = self.outputs.lock().unwrap();
        if *self.live.lock().unwrap() {
            return Err(Error::unavailable("the show is ending; no output can be added"));
        }
        if outputs.iter().any(|output| output.uri == spec.shown()) {
            return Err(Error::conflict(format!("output {} is there already", spec.shown())));
        }
        let id = outputs.len() as u32 + 1;
        let (kind, uri, name) = (spec.kind(), spec.shown(), spec.name);
        outputs.push(OutputStatus { id, kind, uri, name, ..Default::default() });
        Ok(outputs[id as usize - 1].clone())
    }

    fn change_output(&self, key: &str, change: OutputChange, source: &str) -> Result<OutputStatus> {
        assert_eq!(source, "http");
        let output = self.output(key)?;
        if *self.live.lock().unwrap() {
            return Err(Error::unavailable("the show is ending; its outputs end with it"));
        }
        self.changes.lock().unwrap().push((change, output.id));
        Ok(output)
    }

    fn cycles(&self, before: Option<u32>, most: usize) -> Result<CyclePage> {
        let all = (0..before.unwrap_or(8).min(8)).rev();
        let cycles: Vec<_> = all.take(most).filter_map(|cycle| self.cycle(cycle).ok()).collect();
        let next = cycles.last().map(|last| last.cycle).filter(|last| *last > 0);
        Ok(CyclePage { cycles, total: 8, next })
    }

    fn cycle(&self, cycle: u32) -> Result<CycleEntry> {
        match cycle {
            0..8 => Ok(CycleEntry { cycle, status: "complete", ..Default::default() }),
            _ => Err(Error::not_found(format!("the project has no cycle {cycle}"))),
        }
    }

    fn cycle_video(&self, cycle: u32) -> Result<PathBuf> {
        self.cycle(cycle)?;
        Ok(self.video.path().to_owned())
    }

    fn thumbnail(&self, cycle: u32) -> Result<Arc<[u8]>> {
        self.cycle(cycle)?;
        Ok(Arc::from(&b"\xff\xd8small"[..]))
    }

    fn recordings(&self) -> Vec<Recording> {
        vec![Recording { file: "final_60fps_1080p.mp4".into(), ..Default::default() }]
    }

    fn presets(&self) -> Vec<Preset> {
        vec![preset::load("noir", &[]).unwrap()]
    }

    fn save_preset(&self, name: &str, kind: PresetKind, _: &str, over: bool) -> Result<Preset> {
        assert!(over, "as it was asked for");
        let preset = preset::load("noir", &[])?;
        Ok(Preset { name: name.into(), kind, ..preset })
    }

    fn remove_preset(&self, name: &str) -> Result<()> {
        Err(Error::not_found(format!("there is no {name}")))
    }

    fn making_picture(&self) -> Option<Arc<[u8]>> {
        Some(Arc::from(*b"\x89PNG picture"))
    }

    fn preview_jpeg(&self) -> Option<Arc<[u8]>> {
        self.preview.lock().unwrap().clone()
    }

    fn healthy(&self) -> std::result::Result<(), String> {
        self.trouble.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

fn status() -> Status {
    Status { show_time_s: 12.5, warnings: vec!["a \"warning\"".into()], ..Default::default() }
}

struct Server {
    addr: SocketAddr,
    desk: Arc<Cardboard>,
    client: Client,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<Result<()>>,
}

impl Server {
    fn start() -> Self {
        Server::at("127.0.0.1:0", super::access::tests::access(None, &[]))
    }

    /// Listens there, with that access.
    fn at(listen: &str, access: Access) -> Self {
        let listener = bind(listen.parse().unwrap(), &access).unwrap();
        let addr = listener.local_addr().unwrap();
        let desk = Arc::new(Cardboard {
            clock: SystemClock::new(),
            live: Mutex::new(false),
            board: param::board(param::Values::default(), &[]).0,
            preview: Mutex::default(),
            trouble: Mutex::default(),
            recording: Mutex::default(),
            video: tempfile::NamedTempFile::new().unwrap(),
            outputs: Mutex::default(),
            changes: Mutex::default(),
        });
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(serve(listener, desk.clone(), Arc::new(access), async {
            let _ = stopped.await;
        }));
        crate::web::use_ring();
        let client = Client::builder().no_proxy().build().unwrap();
        Server { addr, desk, client, stop: Some(stop), task }
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.addr))
    }

    async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> Response {
        self.request(Method::POST, path).body(body).send().await.unwrap()
    }

    async fn put(&self, path: &str, body: impl Into<reqwest::Body>) -> Response {
        self.request(Method::PUT, path).body(body).send().await.unwrap()
    }

    /// Opens a connection of its own and sends `bytes` as they are.
    fn send_raw(&self, bytes: &[u8]) -> std::net::TcpStream {
        let mut stream = std::net::TcpStream::connect(self.addr).unwrap();
        stream.write_all(bytes).unwrap();
        stream
    }
}

/// The status of a refusal, its kind, and its message.
async fn refusal(response: Response) -> (u16, String, String) {
    let status = response.status().as_u16();
    let body: Value = response.json().await.expect("a refusal is JSON");
    let text = |key: &str| body["error"][key].as_str().unwrap().to_owned();
    (status, text("kind"), text("message"))
}
