//! Real requests over a real socket, against a desk made of cardboard.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Mutex;

use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};

use super::*;
use crate::base::error::Error;
use crate::base::telemetry::{OutputState, Phase};
use crate::config::preset;
use crate::param;

struct Cardboard {
    live: Mutex<bool>,
    board: Arc<Board>,
    preview: Mutex<Option<Arc<[u8]>>>,
    trouble: Mutex<Option<String>>,
    outputs: Mutex<Vec<OutputStatus>>,
    changes: Mutex<Vec<(OutputChange, u32)>>,
}

impl Desk for Cardboard {
    fn status(&self) -> Arc<Status> {
        let mut params = serde_json::Map::new();
        let zoom = self.board.number(param::ParamId::Zoom);
        params.insert("/fx/zoom".into(), json!(zoom));
        let phase = if *self.live.lock().unwrap() { Phase::Live } else { Phase::Standby };
        Arc::new(Status { version: "0.1.0", project: "neon".into(), phase, params, ..status() })
    }

    fn go(&self) -> Result<bool> {
        Ok(!std::mem::replace(&mut *self.live.lock().unwrap(), true))
    }

    fn board(&self) -> &Arc<Board> {
        &self.board
    }

    fn now(&self) -> Duration {
        Duration::ZERO
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
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = listener.local_addr().unwrap();
        let desk = Arc::new(Cardboard {
            live: Mutex::new(false),
            board: param::board(param::Values::default(), &[]).0,
            preview: Mutex::default(),
            trouble: Mutex::default(),
            outputs: Mutex::default(),
            changes: Mutex::default(),
        });
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(serve(listener, desk.clone(), async {
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

#[tokio::test]
async fn health_follows_the_show() {
    let server = Server::start();
    let response = server.get("/healthz").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.text().await.unwrap(), "ok");
    *server.desk.trouble.lock().unwrap() = Some("no frame for 2 s".into());
    let response = server.get("/healthz").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.text().await.unwrap(), "no frame for 2 s");
}

#[tokio::test]
async fn state_metrics_and_page_are_served() {
    let server = Server::start();
    let state: Value = server.get("/api/v1/state").await.json().await.unwrap();
    assert_eq!(state["project"], "neon");
    assert_eq!(state["phase"], "standby");
    assert_eq!(state["warnings"][0], "a \"warning\"");
    let metrics = server.get("/metrics").await;
    assert!(metrics.headers()["content-type"].to_str().unwrap().contains("version=0.0.4"));
    assert!(metrics.text().await.unwrap().contains("\nvfaq_show_time_seconds 12.5\n"));
    let page = server.get("/").await.text().await.unwrap();
    assert!(page.contains("<title>Visual FaQtory Live</title>"));
    assert!(!page.contains("://"), "the page asks no other host");
}

#[tokio::test]
async fn go_starts_the_show_once() {
    let server = Server::start();
    for started in [true, false] {
        let response = server.request(Method::POST, "/api/v1/go").send().await.unwrap();
        assert_eq!(response.json::<Value>().await.unwrap(), json!({"started": started}));
    }
    let state: Value = server.get("/api/v1/state").await.json().await.unwrap();
    assert_eq!(state["phase"], "live");
}

#[tokio::test]
async fn the_preview_is_the_newest_picture_and_never_cached() {
    let server = Server::start();
    let (status, kind, _) = refusal(server.get("/preview.jpg").await).await;
    assert_eq!((status, kind.as_str()), (503, "unavailable"));
    *server.desk.preview.lock().unwrap() = Some(Arc::from(&b"\xff\xd8picture"[..]));
    let response = server.get("/preview.jpg?123").await;
    assert_eq!(response.headers()["content-type"], "image/jpeg");
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(&response.bytes().await.unwrap()[..], b"\xff\xd8picture");
}

#[tokio::test]
async fn a_parameter_is_set_and_listed_with_its_present_value() {
    let server = Server::start();
    let receipt: Value =
        server.put("/api/v1/params/fx/zoom", r#"{"value": 1.5}"#).await.json().await.unwrap();
    assert_eq!(receipt, json!({"address": "/fx/zoom", "value": 1.5, "generation": 1}));
    assert_eq!(&*server.desk.board.changed_since(0).1[0].source, "http");
    let list: Value = server.get("/api/v1/params").await.json().await.unwrap();
    assert_eq!(list.as_array().unwrap().len(), param::REGISTRY.len());
    let entry = |address| list.as_array().unwrap().iter().find(|p| p["address"] == address);
    let zoom = entry("/fx/zoom").unwrap();
    assert_eq!((&zoom["value"], &zoom["max"]), (&json!(1.5), &json!(4.0)));
    assert_eq!((&zoom["kind"], &zoom["applies"]), (&json!("float"), &json!("now")));
    let hue = entry("/fx/hue").unwrap();
    assert_eq!(hue["value"], 0.0);
}

#[tokio::test]
async fn bad_changes_are_refused_and_change_nothing() {
    let server = Server::start();
    let zoom = "/api/v1/params/fx/zoom";
    for body in [
        "",
        "{",
        "1.5",
        "{\"value\": NaN}",
        "{\"value\": 1e999}",
        "{\"value\": 1e300}",
        "{\"value\": 9}",
        "{\"value\": \"wide\"}",
        "{\"value\": [1.5]}",
        "{\"value\": null}",
        "{\"value\": 1.5, \"ramp\": 3}",
        "\u{0}\u{feff}",
    ] {
        let (status, kind, message) = refusal(server.put(zoom, body).await).await;
        assert_eq!((status, kind.as_str()), (400, "usage"), "{body}: {message}");
        assert!(message.contains("/fx/zoom"), "{message}");
    }
    let (status, kind, message) =
        refusal(server.put("/api/v1/params/fx/zom", "{\"value\": 2}").await).await;
    assert_eq!((status, kind.as_str()), (404, "not_found"));
    assert!(message.contains("did you mean /fx/zoom"), "{message}");
    let deep = format!("{{\"value\": {}", "[".repeat(60_000));
    assert_eq!(refusal(server.put(zoom, deep).await).await.0, 400);
    assert_eq!(server.desk.board.values(), param::Values::default());
}

#[tokio::test]
async fn presets_are_listed_saved_and_removed() {
    let server = Server::start();
    let list: Value = server.get("/api/v1/presets").await.json().await.unwrap();
    assert_eq!((&list[0]["name"], &list[0]["kind"]), (&json!("noir"), &json!("look")));
    let path = "/api/v1/presets/mine%20own";
    let saved = server.post(path, r#"{"kind": "scene", "overwrite": true}"#).await;
    assert_eq!(saved.status(), 201);
    let saved: Value = saved.json().await.unwrap();
    assert_eq!((&saved["name"], &saved["kind"]), (&json!("mine own"), &json!("scene")));
    for body in ["", "{}", r#"{"kind": "mood"}"#, r#"{"kind": "look", "colour": 1}"#] {
        let (status, _, message) = refusal(server.post(path, body).await).await;
        assert_eq!(status, 400);
        assert!(message.contains("look, style or scene"), "{message}");
    }
    let gone = server.request(Method::DELETE, "/api/v1/presets/gone").send().await.unwrap();
    assert_eq!(refusal(gone).await.0, 404);
}

#[tokio::test]
async fn outputs_are_added_listed_and_changed() {
    let server = Server::start();
    let list: Value = server.get("/api/v1/outputs").await.json().await.unwrap();
    assert_eq!(list, json!([]));
    let added = server.post("/api/v1/outputs", r#"{"uri": "null:#name=Count"}"#).await;
    assert_eq!(added.status(), StatusCode::CREATED);
    let added: Value = added.json().await.unwrap();
    assert_eq!((&added["id"], &added["kind"]), (&json!(1), &json!("null")));
    // Options may stand beside the URI, as in config.yaml.
    let body = json!({
        "uri": "rtmp://live.example/app", "key": "outputs-secret/#1", "name": "Main stage",
        "bitrate": 4500, "adaptive": false, "profile": null,
    });
    let added = server.post("/api/v1/outputs", body.to_string()).await;
    assert_eq!(added.status(), StatusCode::CREATED);
    let text = added.text().await.unwrap();
    assert!(text.contains("rtmp://live.example/app/***"), "{text}");
    assert!(!text.contains("outputs-secret"), "{text}");

    let list: Value = server.get("/api/v1/outputs").await.json().await.unwrap();
    let uris: Vec<_> = list.as_array().unwrap().iter().map(|o| o["uri"].clone()).collect();
    assert_eq!(uris, [json!("null:"), json!("rtmp://live.example/app/***")]);
    for key in ["2", "Main%20stage"] {
        let one = server.get(&format!("/api/v1/outputs/{key}")).await;
        let one: Value = one.json().await.unwrap();
        assert_eq!((&one["id"], &one["state"]), (&json!(2), &json!("starting")));
    }
    for path in ["Count/stop", "1/start", "Main%20stage/retry"] {
        let answer = server.post(&format!("/api/v1/outputs/{path}"), "").await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        assert!(answer.json::<Value>().await.unwrap()["id"].is_u64(), "{path}");
    }
    let removed = server.request(Method::DELETE, "/api/v1/outputs/2").send().await.unwrap();
    assert_eq!(removed.status(), StatusCode::OK);
    let changes = [
        (OutputChange::Stop, 1),
        (OutputChange::Start, 1),
        (OutputChange::Retry, 2),
        (OutputChange::Remove, 2),
    ];
    assert_eq!(*server.desk.changes.lock().unwrap(), changes);
}

#[tokio::test]
async fn bad_outputs_are_refused_without_a_word_of_what_may_be_a_key() {
    let server = Server::start();
    for body in [
        "",
        "{",
        "\"sk-s3cr3t\"",
        "{\"uri\": 7}",
        "{\"uri\": \"sk-s3cr3t\"}",
        "{\"uri\": \"sk-s3cr3t://host/app\"}",
        "{\"uri\": \"rtmp://host\", \"sk-s3cr3t\": 1}",
        "{\"uri\": \"rtmp://host/app/sk-s3cr3t\", \"key\": [\"sk-s3cr3t\"]}",
        "{\"uri\": \"rtmp://host/app/sk-s3cr3t#nam=x\"}",
        "{\"uri\": \"srt://host:1\", \"passphrase\": \"sk-s3cr3t\", \"latency\": -1}",
        "{\"sk-s3cr3t\": \"null:\"}",
    ] {
        let (status, kind, message) = refusal(server.post("/api/v1/outputs", body).await).await;
        assert_eq!((status, kind.as_str()), (400, "usage"), "{body}: {message}");
        assert!(!message.contains("s3cr3t"), "{body}: {message}");
        assert!(message.len() > 10, "{body}: {message}");
    }
    let huge = format!("{{\"uri\": \"null:{}\"}}", "x".repeat(70_000));
    assert_eq!(refusal(server.post("/api/v1/outputs", huge).await).await.0, 413);
    assert!(server.desk.outputs().is_empty());
}

#[tokio::test]
async fn changes_of_outputs_that_cannot_be_say_why() {
    let server = Server::start();
    let null = r#"{"uri": "null:"}"#;
    assert_eq!(server.post("/api/v1/outputs", null).await.status(), StatusCode::CREATED);
    let (status, kind, message) = refusal(server.post("/api/v1/outputs", null).await).await;
    assert_eq!((status, kind.as_str()), (409, "conflict"));
    assert!(message.contains("null: is there already"), "{message}");

    for (method, path) in [
        (Method::GET, "9"),
        (Method::DELETE, "9"),
        (Method::POST, "9/stop"),
        (Method::POST, "9/start"),
        (Method::POST, "9/retry"),
    ] {
        let request = server.request(method, &format!("/api/v1/outputs/{path}"));
        let (status, kind, message) = refusal(request.send().await.unwrap()).await;
        assert_eq!((status, kind.as_str()), (404, "not_found"), "{path}");
        assert!(message.contains("'9'; there are: 1"), "{message}");
    }
    assert_eq!(refusal(server.post("/api/v1/outputs/1/pause", "").await).await.0, 404);
    assert_eq!(refusal(server.get("/api/v1/outputs/1/stop").await).await.0, 405);
    assert_eq!(refusal(server.put("/api/v1/outputs", null).await).await.0, 405);

    // This desk is ending when it is live.
    *server.desk.live.lock().unwrap() = true;
    for (path, body) in [("", r#"{"uri": "null:#name=b"}"#), ("/1/retry", "")] {
        let answer = server.post(&format!("/api/v1/outputs{path}"), body).await;
        let (status, kind, message) = refusal(answer).await;
        assert_eq!((status, kind.as_str()), (503, "unavailable"), "{path}");
        assert!(message.contains("ending"), "{message}");
    }
    assert!(server.desk.changes.lock().unwrap().is_empty());
    assert_eq!(server.desk.outputs()[0].state, OutputState::Starting);
}

#[tokio::test]
async fn a_huge_body_is_refused_before_it_is_read() {
    let server = Server::start();
    let mut stream = server.send_raw(
        b"PUT /api/v1/params/fx/zoom HTTP/1.1\r\nHost: localhost\r\n\
          Content-Length: 9000000000000\r\n\r\n",
    );
    let _ = stream.write_all(&vec![b' '; 66_000]);
    let answer = tokio::task::spawn_blocking(move || {
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        String::from_utf8_lossy(&head).into_owned()
    });
    assert_eq!(answer.await.unwrap(), "HTTP/1.1 413");
    assert_eq!(server.get("/healthz").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn pages_of_other_origins_and_rebound_names_can_do_nothing() {
    let server = Server::start();
    let attempts = [
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("origin", "http://localhost:1"),
        ("host", "evil.example"),
    ];
    for (header, value) in attempts {
        for (method, path) in [
            (Method::POST, "/api/v1/go"),
            (Method::DELETE, "/api/v1/outputs/1"),
            (Method::GET, "/nowhere"),
        ] {
            let request = server.request(method, path).header(header, value);
            let (status, kind, _) = refusal(request.send().await.unwrap()).await;
            assert_eq!((status, kind.as_str()), (403, "forbidden"), "{header}: {value}");
        }
    }
    assert!(!*server.desk.live.lock().unwrap());
    let own = format!("http://{}", server.addr);
    let request = server.request(Method::POST, "/api/v1/go").header("origin", own);
    assert_eq!(request.send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn unknown_paths_and_wrong_methods_are_named() {
    let server = Server::start();
    let (status, kind, message) = refusal(server.get("/api/v2/state").await).await;
    assert_eq!((status, kind.as_str()), (404, "not_found"));
    assert!(message.contains("/api/v2/state"), "{message}");
    let (status, kind, message) = refusal(server.get("/api/v1/go").await).await;
    assert_eq!((status, kind.as_str()), (405, "method_not_allowed"));
    assert!(message.contains("/api/v1/go does not answer to GET"), "{message}");
}

#[tokio::test]
async fn clients_that_never_read_hold_up_neither_the_others_nor_the_end() {
    let mut server = Server::start();
    *server.desk.preview.lock().unwrap() = Some(vec![0; 32 << 20].into());
    let stuck: Vec<_> = (0..20)
        .map(|_| server.send_raw(b"GET /preview.jpg HTTP/1.1\r\nHost: localhost\r\n\r\n"))
        .collect();
    let half_asked = server.send_raw(b"GET / HTTP/1.1\r\nHo");
    assert_eq!(server.get("/healthz").await.status(), StatusCode::OK);
    server.stop.take();
    tokio::time::timeout(Duration::from_secs(5), server.task).await.unwrap().unwrap().unwrap();
    assert!(std::net::TcpStream::connect(server.addr).is_err(), "the port is free again");
    drop((stuck, half_asked));
}

#[tokio::test]
async fn too_many_connections_cost_the_newest() {
    let server = Server::start();
    let open: Vec<_> = (0..MAX_CONNECTIONS).map(|_| server.send_raw(b"GET")).collect();
    let mut extra = server.send_raw(b"");
    let closed =
        tokio::task::spawn_blocking(move || matches!(extra.read(&mut [0]), Ok(0) | Err(_)));
    assert!(closed.await.unwrap());
    drop(open);
}

#[test]
fn an_address_that_cannot_be_had_says_what_to_do() {
    let taken = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = taken.local_addr().unwrap();
    let error = bind(addr).unwrap_err();
    assert_eq!(error.kind, crate::base::error::Kind::Unavailable);
    let message = error.to_string();
    for part in [&*addr.to_string(), "live.listen", "--listen 127.0.0.1:0", "in use"] {
        assert!(message.contains(part), "{message}");
    }
    let error = bind("0.0.0.0:8787".parse().unwrap()).unwrap_err();
    assert_eq!(error.kind, crate::base::error::Kind::Usage);
    assert!(error.to_string().contains("only loopback"), "{error}");
}
