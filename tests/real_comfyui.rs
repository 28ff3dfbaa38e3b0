//! A show from a real ComfyUI server, killed and started again: `scripts/test-comfyui` runs this.
#![cfg(feature = "gst")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop")]

mod support;

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use support::show::{Stage, small, with};

/// The server, and how to start it again.
struct Server {
    port: u16,
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Server {
    fn start() -> Server {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Server { port, child: launch(port) }
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn start_again(&mut self) {
        self.child = launch(self.port);
    }
}

fn launch(port: u16) -> Child {
    let set = |name: &str| std::env::var(name).expect("scripts/test-comfyui sets this");
    Command::new(set("VFAQ_COMFYUI_PYTHON"))
        .arg(set("VFAQ_COMFYUI_MAIN"))
        .args(["--cpu", "--disable-auto-launch", "--port", &port.to_string()])
        .args(["--base-directory", &set("VFAQ_COMFYUI_BASE")])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn core(name: &str) -> String {
    format!("{}/tests/data/comfyui/core/{name}.json", env!("CARGO_MANIFEST_DIR"))
}

fn settings(server: &Server) -> Value {
    let url = format!("http://127.0.0.1:{}", server.port);
    with(
        small(),
        json!({"backend": {
            "type": "comfyui", "api_url": url, "timeout": 60, "workflow_image": core("image"),
            "workflow_img2img": core("img2img"), "workflow_video": core("video"),
            "workflow_morph": core("morph"),
        }}),
    )
}

fn is_up(server: &Server) -> bool {
    std::net::TcpStream::connect(("127.0.0.1", server.port)).is_ok()
}

#[expect(clippy::disallowed_methods, reason = "nobody tells when another program listens")]
fn wait_for(server: &Server) {
    for _ in 0..600 {
        if is_up(server) {
            return;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    panic!("the server does not come up");
}

/// In a chain and in keyframe mode: the server is killed and comes back; not a frame is lost.
#[test]
#[ignore = "scripts/test-comfyui runs it, with a real server"]
fn a_show_survives_the_kill_and_restart_of_its_server() {
    let mut server = Server::start();
    wait_for(&server);
    for keyframes in ["off", "on"] {
        let stage = Stage::new(&with(
            settings(&server),
            json!({"chaining": {"keyframes": keyframes, "seed_step": 40503}}),
        ));
        let mut show = stage.live(&["--for", "70s"]);
        show.until_state("real cycles on air", |s| s["on_air"]["cycle"].as_u64() >= Some(3));
        server.kill();
        show.until_state("the loss", |s| s["generators"][0]["usable"] == false);
        show.until_state("a stand-in", |s| s["warnings"].to_string().contains("stands in"));
        server.start_again();
        show.until_state("the return", |s| s["generators"][0]["usable"] == true);
        show.until_state("no warning", |s| s["warnings"] == json!([]));
        let status = show.end(Duration::from_secs(120));
        assert!(status.success(), "{}", show.log());
        let summary = stage.summary();
        println!("keyframes {keyframes}: {summary:#}");
        assert_eq!(summary["frames"]["rendered"], 4200);
        assert_eq!((&summary["frames"]["dropped"], &summary["underruns"]), (&json!(0), &json!(0)));
        let makers: Vec<String> = stage
            .raw_cycles()
            .iter()
            .map(|c| stage.briq(*c)["backend_used"].as_str().unwrap().to_owned())
            .collect();
        println!("{makers:?}");
        assert_eq!(makers.first().unwrap(), "comfyui");
        assert_eq!(makers.last().unwrap(), "comfyui");
        support::assert_recording(&stage.project("final_60fps_1080p.mp4"), 4200, (640, 360));
    }
}

/// With real checkpoints: the built-in graphs.
#[test]
#[ignore = "scripts/test-comfyui runs it, with --models"]
fn the_built_in_graphs_make_a_picture_and_a_clip() {
    let Some(models) = std::env::var_os("VFAQ_COMFYUI_MODELS").filter(|m| !m.is_empty()) else {
        println!("no --models, so the built-in graphs are not run");
        return;
    };
    println!("models of {}", models.display());
    let server = Server::start();
    wait_for(&server);
    let url = format!("http://127.0.0.1:{}", server.port);
    let stage = Stage::new(&with(
        small(),
        json!({"backend": {"type": "comfyui", "api_url": url, "timeout": 3600}}),
    ));
    let output = stage.vfaq(&["-w", "w", "backends", "--measure"]).output().unwrap();
    println!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
