//! A server that speaks ComfyUI's protocol as it was recorded (0.3.64 and 0.33.0), with every race
//! and trap of it to be switched on. Node graphs are not computed: an output node leaves a picture,
//! or a clip, after the time that a job takes.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, reason = "each test uses a part")]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::{SinkExt, StreamExt};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use tokio::sync::{Notify, mpsc};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Message, Role};

/// What the server does otherwise than it should.
#[derive(Clone, Default)]
pub struct Faults {
    /// How long the history lags behind the event that says that a job is done.
    pub history_lag: Duration,
    /// No event is sent.
    pub silent: bool,
    /// The socket is closed when a job begins.
    pub drops_socket: bool,
    /// An interrupt takes effect only when the job has ended by itself.
    pub ignores_interrupts: bool,
    /// So many `/view` find their file gone.
    pub lost_files: u32,
    /// Jobs fail with this message.
    pub fails: Option<String>,
    /// Jobs run and leave nothing.
    pub leaves_nothing: bool,
    /// The key that files are listed under, in place of the usual one.
    pub key: Option<&'static str>,
    /// WebSockets are refused.
    pub no_socket: bool,
    /// Every event is followed by these.
    pub noise: Vec<Message>,
    /// What these paths answer instead: status, content type, body.
    pub answers: HashMap<&'static str, (u16, &'static str, Vec<u8>)>,
}

#[derive(Clone)]
struct Job {
    number: u64,
    id: String,
    client: String,
    graph: Map<String, Value>,
}

#[derive(Default)]
struct Inner {
    pending: Vec<Job>,
    running: Option<Job>,
    interrupted: bool,
    history: HashMap<String, Value>,
    files: HashMap<String, Vec<u8>>,
    uploads: Vec<String>,
    sockets: HashMap<String, mpsc::Sender<Message>>,
    silenced: Vec<mpsc::Sender<Message>>,
    faults: Faults,
    job_time: Duration,
    requests: Vec<String>,
    executed: u64,
    /// Signatures of output nodes that ran before, with what they left.
    cache: HashMap<String, Value>,
    /// Raised by a restart: whatever runs is forgotten.
    epoch: u64,
}

pub struct Comfy {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    server: tokio::task::JoinHandle<()>,
    worker: tokio::task::JoinHandle<()>,
}

struct Shared {
    inner: Mutex<Inner>,
    work: Notify,
    number: AtomicU64,
    version: &'static str,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }
}

impl Drop for Comfy {
    fn drop(&mut self) {
        self.server.abort();
        self.worker.abort();
    }
}

impl Comfy {
    /// Starts a server of this version (`0.3.64` or `0.33.0`) on a free port.
    pub async fn start(version: &'static str) -> Comfy {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let inner = Inner { job_time: Duration::from_millis(20), ..Inner::default() };
        let shared = Arc::new(Shared {
            inner: Mutex::new(inner),
            work: Notify::new(),
            number: AtomicU64::new(0),
            version,
        });
        let routes = Router::new()
            .route("/system_stats", get(stats))
            .route("/object_info", get(object_info))
            .route("/upload/image", post(upload))
            .route("/prompt", post(prompt))
            .route("/history/{id}", get(history))
            .route("/queue", get(queue).post(change_queue))
            .route("/interrupt", post(interrupt))
            .route("/view", get(view))
            .route("/ws", get(ws))
            .layer(axum::middleware::from_fn_with_state(shared.clone(), overrides))
            .with_state(shared.clone());
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, routes).await;
        });
        let worker = tokio::spawn(work(shared.clone()));
        Comfy { address, shared, server, worker }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn set(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.shared.lock().faults);
    }

    pub fn job_time(&self, time: Duration) {
        self.shared.lock().job_time = time;
    }

    /// As after a restart: queue, history and sockets are gone, and so is what ran.
    pub fn restart(&self) {
        let mut inner = self.shared.lock();
        inner.epoch += 1;
        inner.pending.clear();
        inner.running = None;
        inner.history.clear();
        inner.sockets.clear();
        inner.cache.clear();
    }

    /// Puts a job of somebody else into the queue; returns its id.
    pub fn foreign_job(&self) -> String {
        let id = format!("foreign-{}", self.shared.number.load(Ordering::SeqCst));
        let number = self.shared.number.fetch_add(1, Ordering::SeqCst);
        let graph = json!({"1": {"class_type": "SaveImage", "inputs": {"foreign": number}}});
        let graph = graph.as_object().unwrap().clone();
        let job = Job { number, id: id.clone(), client: "somebody else".into(), graph };
        self.shared.lock().pending.push(job);
        self.shared.work.notify_one();
        id
    }

    /// Takes over the socket of every client, as a second one with the same id does.
    pub fn steal_sockets(&self) {
        let mut inner = self.shared.lock();
        // They stay open, and hear nothing any more.
        let silent: Vec<_> = inner.sockets.drain().map(|(_, socket)| socket).collect();
        inner.silenced.extend(silent);
    }

    pub fn has_ended(&self, id: &str) -> Option<String> {
        let inner = self.shared.lock();
        Some(inner.history.get(id)?["status"]["status_str"].as_str()?.to_owned())
    }

    pub fn is_idle(&self) -> bool {
        let inner = self.shared.lock();
        inner.running.is_none() && inner.pending.is_empty()
    }

    pub fn is_running(&self) -> bool {
        self.shared.lock().running.is_some()
    }

    /// `METHOD /path` of every request, in their order.
    pub fn requests(&self) -> Vec<String> {
        self.shared.lock().requests.clone()
    }

    /// Jobs that were begun.
    pub fn executed(&self) -> u64 {
        self.shared.lock().executed
    }

    pub fn uploads(&self) -> Vec<String> {
        self.shared.lock().uploads.clone()
    }
}

type Server = State<Arc<Shared>>;

async fn overrides(
    State(server): Server,
    request: Request,
    next: axum::middleware::Next,
) -> Response {
    let path = request.uri().path().to_owned();
    let answer = {
        let mut inner = server.lock();
        inner.requests.push(format!("{} {path}", request.method()));
        let same = |known: &&&str| path.starts_with(**known);
        inner.faults.answers.keys().find(same).map(|key| inner.faults.answers[key].clone())
    };
    // As recorded: a page of somebody else's origin gets 403.
    if request.headers().contains_key(header::ORIGIN) {
        return StatusCode::FORBIDDEN.into_response();
    }
    match answer {
        Some((status, kind, body)) => {
            let status = StatusCode::from_u16(status).unwrap();
            (
                status,
                [(header::CONTENT_TYPE, kind), (header::LOCATION, "http://else.example/")],
                body,
            )
                .into_response()
        }
        None => next.run(request).await,
    }
}

fn json(value: Value) -> Response {
    axum::Json(value).into_response()
}

async fn stats(State(server): Server) -> Response {
    json(json!({
        "system": {"os": "linux", "comfyui_version": server.version, "pytorch_version": "2.8.0"},
        "devices": [{"name": "cpu", "type": "cpu", "vram_total": 25_000_000_000u64}],
    }))
}

async fn object_info(State(server): Server) -> Response {
    let text = match server.version {
        "0.3.64" => include_str!("../data/comfyui/object_info_0.3.64.json"),
        _ => include_str!("../data/comfyui/object_info_0.33.0.json"),
    };
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

async fn upload(State(server): Server, body: Bytes) -> Response {
    let text = String::from_utf8_lossy(&body);
    let part = |name: &str| {
        let from = text.find(&format!("name=\"{name}\""))?;
        let rest = &text[from..];
        let value = &rest[rest.find("\r\n\r\n")? + 4..];
        Some(value[..value.find("\r\n")?].to_owned())
    };
    let name = text.split("filename=\"").nth(1).and_then(|rest| rest.split('"').next());
    let Some(name) = name else { return StatusCode::BAD_REQUEST.into_response() };
    let subfolder = part("subfolder").unwrap_or_default();
    server.lock().uploads.push(format!("{subfolder}/{name}"));
    json(json!({"name": name, "subfolder": subfolder, "type": "input"}))
}

fn is_output(class: &str) -> bool {
    class.starts_with("Save") || class.starts_with("Preview") || class == "VHS_VideoCombine"
}

async fn prompt(State(server): Server, body: Bytes) -> Response {
    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
        return (StatusCode::INTERNAL_SERVER_ERROR, "500 Internal Server Error").into_response();
    };
    let Some(graph) = body["prompt"].as_object().cloned() else {
        return (StatusCode::INTERNAL_SERVER_ERROR, "500 Internal Server Error").into_response();
    };
    for (id, node) in &graph {
        let class = node["class_type"].as_str().unwrap_or_default();
        if class == "NoSuchNode" {
            return refuse(json!({
                "error": {"type": "missing_node_type", "extra_info": {}, "details": format!("Node ID '#{id}'"),
                    "message": "Node 'NoSuchNode' not found. The custom node may not be installed."},
                "node_errors": {},
            }));
        }
        if node["inputs"]["ckpt_name"] == "missing.safetensors" {
            return refuse(json!({
                "error": {"type": "prompt_outputs_failed_validation", "message": "Prompt outputs failed validation", "details": "", "extra_info": {}},
                "node_errors": {id: {"class_type": class, "dependent_outputs": ["9"], "errors": [{
                    "type": "value_not_in_list", "message": "Value not in list",
                    "details": "ckpt_name: 'missing.safetensors' not in ['tiny.safetensors']", "extra_info": {}}]}},
            }));
        }
    }
    if !graph.values().any(|n| is_output(n["class_type"].as_str().unwrap_or_default())) {
        return refuse(json!({
            "error": {"type": "prompt_no_outputs", "message": "Prompt has no outputs", "details": "", "extra_info": {}},
            "node_errors": [],
        }));
    }
    let number = server.number.fetch_add(1, Ordering::SeqCst);
    let id = body["prompt_id"].as_str().unwrap_or("none").to_owned();
    let client = body["client_id"].as_str().unwrap_or_default().to_owned();
    let partial: Vec<&String> =
        graph.iter().filter(|(_, n)| n["inputs"]["broken"] == true).map(|(id, _)| id).collect();
    let errors: Map<String, Value> = partial
        .into_iter()
        .map(|id| {
            let error = json!({"type": "custom_validation_failed", "message": "Custom validation failed for node", "details": "image - Invalid image file: gone.png", "extra_info": {}});
            (id.clone(), json!({"errors": [error], "dependent_outputs": [id], "class_type": graph[id]["class_type"]}))
        })
        .collect();
    server.lock().pending.push(Job { number, id: id.clone(), client, graph });
    server.work.notify_one();
    json(json!({"prompt_id": id, "number": number, "node_errors": errors}))
}

fn refuse(answer: Value) -> Response {
    (StatusCode::BAD_REQUEST, axum::Json(answer)).into_response()
}

async fn history(State(server): Server, Path(id): Path<String>) -> Response {
    let entry = server.lock().history.get(&id).cloned();
    json(entry.map_or_else(|| json!({}), |entry| json!({id: entry})))
}

async fn queue(State(server): Server) -> Response {
    let inner = server.lock();
    let entry = |job: &Job| json!([job.number, job.id, job.graph, {"client_id": job.client}, []]);
    json(json!({
        "queue_running": inner.running.iter().map(entry).collect::<Vec<_>>(),
        // A heap: not in order.
        "queue_pending": inner.pending.iter().rev().map(entry).collect::<Vec<_>>(),
    }))
}

async fn change_queue(State(server): Server, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let gone: Vec<&str> =
        body["delete"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    server.lock().pending.retain(|job| !gone.contains(&&*job.id));
    StatusCode::OK.into_response()
}

async fn interrupt(State(server): Server, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut inner = server.lock();
    let hit = match body["prompt_id"].as_str() {
        Some(id) => inner.running.as_ref().is_some_and(|job| job.id == id),
        // Whatever runs, whosever it is.
        None => true,
    };
    inner.interrupted |= hit;
    StatusCode::OK.into_response()
}

async fn view(State(server): Server, Query(query): Query<HashMap<String, String>>) -> Response {
    let mut inner = server.lock();
    if inner.faults.lost_files > 0 {
        inner.faults.lost_files -= 1;
        return StatusCode::NOT_FOUND.into_response();
    }
    let name = query.get("filename").cloned().unwrap_or_default();
    match inner.files.get(&name) {
        // The type is by the name, which may be wrong.
        Some(file) => ([(header::CONTENT_TYPE, "image/png")], file.clone()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn ws(
    State(server): Server,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    mut request: Request,
) -> Response {
    if server.lock().faults.no_socket {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    let Some(key) = headers.get(header::SEC_WEBSOCKET_KEY).cloned() else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let client = query.get("clientId").cloned().unwrap_or_default();
    let (sender, mut events) = mpsc::channel::<Message>(1000);
    // A second socket with the same id silences the first.
    server.lock().sockets.insert(client.clone(), sender.clone());
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let io = TokioIo::new(upgraded);
        let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
        let hello = json!({"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 0}}, "sid": client}});
        let _ = socket.send(Message::text(hello.to_string())).await;
        drop(sender);
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => {
                        if socket.send(event).await.is_err() {
                            return;
                        }
                    }
                    None => return,
                },
                message = socket.next() => match message {
                    Some(Ok(Message::Text(text))) if text.contains("feature_flags") => {
                        let flags = json!({"type": "feature_flags", "data": {"supports_preview_metadata": true}});
                        let _ = socket.send(Message::text(flags.to_string())).await;
                    }
                    Some(Ok(_)) => {}
                    _ => return,
                },
            }
        }
    });
    let accept = derive_accept_key(key.as_bytes());
    let headers = [
        (header::CONNECTION, "Upgrade".to_owned()),
        (header::UPGRADE, "websocket".to_owned()),
        (header::SEC_WEBSOCKET_ACCEPT, accept),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

/// Executes jobs, one after the other.
async fn work(server: Arc<Shared>) {
    loop {
        let next = {
            let mut inner = server.lock();
            inner.pending.sort_by_key(|job| job.number);
            if inner.pending.is_empty() { None } else { Some(inner.pending.remove(0)) }
        };
        match next {
            Some(job) => execute(&server, job).await,
            None => server.work.notified().await,
        }
    }
}

async fn execute(server: &Arc<Shared>, job: Job) {
    let (faults, time, epoch) = {
        let mut inner = server.lock();
        inner.running = Some(job.clone());
        inner.interrupted = false;
        inner.executed += 1;
        (inner.faults.clone(), inner.job_time, inner.epoch)
    };
    let id = job.id.clone();
    let send = |message: Message| {
        let inner = server.lock();
        if inner.faults.silent {
            return;
        }
        if let Some(socket) = inner.sockets.get(&job.client) {
            let _ = socket.try_send(message);
            for noise in &inner.faults.noise {
                let _ = socket.try_send(noise.clone());
            }
        }
    };
    let event = |kind: &str, data: Value| {
        let mut data = data;
        data["prompt_id"] = json!(id);
        send(Message::text(json!({"type": kind, "data": data}).to_string()));
    };
    let status = || {
        send(Message::text(
            json!({"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 0}}}})
                .to_string(),
        ));
    };
    status();
    status();
    event("execution_start", json!({"timestamp": 1}));
    if faults.drops_socket {
        server.lock().sockets.remove(&job.client);
    }
    let signature = |node: &Value| node.to_string();
    let known: Vec<String> = {
        let inner = server.lock();
        let outputs = job
            .graph
            .iter()
            .filter(|(_, n)| is_output(n["class_type"].as_str().unwrap_or_default()));
        outputs
            .filter(|(_, n)| inner.cache.contains_key(&signature(n)))
            .map(|(id, _)| id.clone())
            .collect()
    };
    let all_cached = !known.is_empty()
        && job
            .graph
            .values()
            .filter(|n| is_output(n["class_type"].as_str().unwrap_or_default()))
            .count()
            == known.len();
    let cached: Vec<&String> = if all_cached { job.graph.keys().collect() } else { Vec::new() };
    event("execution_cached", json!({"nodes": cached, "timestamp": 1}));
    let mut outputs = Map::new();
    let mut failure: Option<(&str, Value)> = None;
    let nodes = job.graph.len().max(1) as u32;
    for (node, content) in &job.graph {
        let class = content["class_type"].as_str().unwrap_or_default();
        if all_cached {
            if is_output(class) {
                let left = server.lock().cache[&signature(content)].clone();
                event("executed", json!({"node": node, "display_node": node, "output": left}));
                outputs.insert(node.clone(), left);
            }
            continue;
        }
        event(
            "progress_state",
            json!({"nodes": {node: {"value": 0.0, "max": 1.0, "state": "running"}}}),
        );
        event("executing", json!({"node": node, "display_node": node}));
        if class.contains("Sampler") {
            event("progress", json!({"value": 1, "max": 2, "node": node}));
            send(Message::binary(
                [&1u32.to_be_bytes()[..], &1u32.to_be_bytes(), b"\xff\xd8\xffpreview"].concat(),
            ));
        }
        let step = time / nodes;
        let mut left = step;
        while !left.is_zero() {
            let nap = left.min(Duration::from_millis(20));
            tokio::time::sleep(nap).await;
            left -= nap;
            let inner = server.lock();
            if inner.epoch != epoch {
                return;
            }
            if inner.interrupted && !faults.ignores_interrupts {
                break;
            }
        }
        if server.lock().interrupted && !faults.ignores_interrupts {
            failure = Some((
                "execution_interrupted",
                json!({"node_id": node, "node_type": class, "executed": []}),
            ));
            break;
        }
        if let Some(message) = &faults.fails {
            failure = Some((
                "execution_error",
                json!({
                    "node_id": node, "node_type": class, "exception_type": "RuntimeError",
                    "exception_message": message, "traceback": [], "executed": [],
                }),
            ));
            break;
        }
        if is_output(class) && !faults.leaves_nothing && content["inputs"]["broken"] != true {
            let left = leave(server, class, content, &faults);
            server.lock().cache.insert(signature(content), left.clone());
            event("executed", json!({"node": node, "display_node": node, "output": left}));
            outputs.insert(node.clone(), left);
        }
        event(
            "progress_state",
            json!({"nodes": {node: {"value": 1.0, "max": 1.0, "state": "finished"}}}),
        );
    }
    if all_cached {
        event("progress_state", json!({"nodes": {}}));
    }
    let (kind, data) = failure.clone().unwrap_or(("execution_success", json!({"timestamp": 1})));
    let entry = json!({
        "prompt": [job.number, job.id, job.graph, {"client_id": job.client}, []],
        "outputs": outputs,
        "status": {
            "status_str": if failure.is_some() { "error" } else { "success" },
            "completed": failure.is_none(),
            "messages": [["execution_start", {"prompt_id": job.id}], [kind, data]],
        },
    });
    event(kind, data);
    tokio::time::sleep(faults.history_lag).await;
    {
        let mut inner = server.lock();
        if inner.epoch != epoch {
            return;
        }
        inner.history.insert(job.id.clone(), entry);
        inner.running = None;
    }
    status();
    event("executing", json!({"node": null}));
}

/// Makes the files of an output node; returns what the history says of them.
fn leave(server: &Arc<Shared>, class: &str, node: &Value, faults: &Faults) -> Value {
    let number = server.number.fetch_add(1, Ordering::SeqCst);
    let prefix = node["inputs"]["filename_prefix"].as_str().unwrap_or("file");
    let (subfolder, stem) = prefix.rsplit_once('/').unwrap_or(("", prefix));
    let moves = !matches!(class, "SaveImage" | "PreviewImage");
    let name = format!("{stem}_{number:05}_.{}", if moves { "mp4" } else { "png" });
    let content = if moves { clip() } else { picture(number as u8) };
    server.lock().files.insert(name.clone(), content);
    let kind = if class == "PreviewImage" { "temp" } else { "output" };
    let files = json!([{"filename": name, "subfolder": subfolder, "type": kind}]);
    match faults.key {
        Some(key) => json!({key: files}),
        None if class == "VHS_VideoCombine" => json!({"gifs": files}),
        None if moves => json!({"images": files, "animated": [true]}),
        None => json!({"images": files}),
    }
}

/// A picture that differs with `shade`.
pub fn picture(shade: u8) -> Vec<u8> {
    let picture = image::RgbImage::from_fn(96, 54, |x, y| {
        image::Rgb([shade.wrapping_mul(37) | 64, (2 * x) as u8, (4 * y) as u8])
    });
    let mut png = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut png, image::ImageFormat::Png).unwrap();
    png.into_inner()
}

/// A clip that a real server has made: 8 frames of 64x48 in two colours, at 8 fps.
pub fn clip() -> Vec<u8> {
    include_bytes!("../data/comfyui/recorded/clip.mp4").to_vec()
}
