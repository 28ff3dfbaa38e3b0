//! Shows on generators of the network: several at once, killed and come back; and `vfaq backends`.
#![cfg(feature = "gst")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop")]

#[path = "support/comfyui.rs"]
mod comfyui;
mod support;

use std::time::Duration;

use comfyui::Comfy;
use serde_json::{Value, json};
use support::show::{Stage, small, with};
use tokio::runtime::Runtime;

fn graph(name: &str) -> String {
    format!("{}/tests/data/comfyui/graphs/{name}.json", env!("CARGO_MANIFEST_DIR"))
}

/// A server as `config.yaml` has it.
fn server(comfy: &Comfy, name: &str) -> Value {
    json!({
        "type": "comfyui", "name": name, "api_url": comfy.url(), "timeout": 20,
        "workflow_image": graph("sdxl_txt2img"), "workflow_img2img": graph("sdxl_img2img"),
        "workflow_video": graph("wan_i2v"), "workflow_morph": graph("wan_first_last_frame"),
    })
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn makers(stage: &Stage) -> Vec<String> {
    let maker = |cycle: &u64| stage.briq(*cycle)["backend_used"].as_str().unwrap().to_owned();
    stage.raw_cycles().iter().map(maker).collect()
}

/// Two servers share the clips between keyframes; one dies in mid-job: not a frame is lost, and not
/// a cycle.
#[test]
fn a_server_that_dies_is_not_noticed_on_screen() {
    let runtime = runtime();
    let (first, second) =
        runtime.block_on(async { (Comfy::start("0.3.64").await, Comfy::start("0.33.0").await) });
    for comfy in [&first, &second] {
        comfy.job_time(Duration::from_millis(300));
    }
    let both = json!([server(&first, "old"), server(&second, "new")]);
    let stage = Stage::new(&with(small(), json!({"backends": {"image": both, "video": both}})));
    let mut show = stage.live(&["--for", "20s"]);
    let state = show.until_state("both at work", |state| {
        let generators = state["generators"].as_array().unwrap();
        generators.iter().all(|g| g["made"].as_u64() > Some(1))
            && state["generators"][0]["busy"] == 1
            && state["runway_s"]["now"].as_f64() > Some(4.0)
    });
    assert_eq!(state["generators"][0]["name"], "old");
    drop(first);
    let state = show.until_state("the loss of one", |s| s["generators"][0]["usable"] == false);
    let reason = state["generators"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("cannot be reached"), "{reason}");
    let status = show.end(Duration::from_secs(60));
    assert!(status.success(), "{}", show.log());
    let summary = stage.summary();
    assert_eq!(summary["frames"]["rendered"], 1200);
    assert_eq!((&summary["frames"]["dropped"], &summary["underruns"]), (&json!(0), &json!(0)));
    assert_eq!(summary["cycles"]["failed"], 0);
    assert_eq!(summary["cycles"]["replayed"], 0);
    let makers = makers(&stage);
    assert!(makers.len() > 10 && makers.iter().all(|m| m == "comfyui"), "{makers:?}");
    support::assert_recording(&stage.project("final_60fps_1080p.mp4"), 1200, (640, 360));
    // The clips are whole: keyframe to keyframe, the last one of each left out.
    assert_eq!(stage.state()["failed_cycles"], json!([]));
}

/// When all are gone the built-in generator helps out, and hands back to the first that returns.
#[test]
fn the_built_in_generator_stands_in_and_hands_back() {
    let runtime = runtime();
    let comfy = runtime.block_on(Comfy::start("0.33.0"));
    comfy.job_time(Duration::from_millis(100));
    let stage = Stage::new(&with(small(), json!({"backend": server(&comfy, "gpu")})));
    let mut show = stage.live(&["--for", "30s"]);
    show.until_state("a full ring", |s| s["runway_s"]["now"].as_f64() > Some(5.0));
    let broken = (500, "text/plain", b"the disk is full".to_vec());
    comfy.set(|f| {
        f.answers.insert("/", broken.clone());
    });
    let state = show.until_state("a stand-in", |s| {
        s["warnings"]
            .as_array()
            .unwrap()
            .iter()
            .any(|w| w.as_str().unwrap().contains("the built-in generator stands in; gpu:"))
    });
    assert!(state["warnings"].to_string().contains("the disk is full"), "{}", state["warnings"]);
    comfy.set(|f| f.answers.clear());
    show.until_state("its return", |s| s["generators"][0]["usable"] == true);
    show.until_state("no warning", |s| s["warnings"] == json!([]));
    let status = show.end(Duration::from_secs(60));
    assert!(status.success(), "{}", show.log());
    let summary = stage.summary();
    assert_eq!(summary["frames"]["rendered"], 1800);
    assert_eq!((&summary["frames"]["dropped"], &summary["underruns"]), (&json!(0), &json!(0)));
    let makers = makers(&stage);
    let stood_in = makers.iter().filter(|m| m.contains("mock")).count();
    assert!(stood_in > 0 && makers.last().unwrap() == "comfyui", "{makers:?}");
}

#[test]
fn backends_are_listed_with_what_is_missing() {
    let runtime = runtime();
    let comfy = runtime.block_on(Comfy::start("0.33.0"));
    let mut lacking = server(&comfy, "lacking");
    lacking["loras"] = json!(["none.safetensors:0.5"]);
    let image = json!([server(&comfy, "good"), lacking]);
    let stage = Stage::new(&with(
        small(),
        json!({"backends": {"image": image, "video": {"type": "mock"}}}),
    ));
    let output = stage.vfaq(&["-w", "w", "backends", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(69));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found[0]["name"], "good");
    assert_eq!(
        (&found[0]["reachable"], &found[0]["version"]),
        (&json!(true), &json!("ComfyUI 0.33.0"))
    );
    assert_eq!(found[1]["reachable"], false);
    assert!(found[1]["error"].as_str().unwrap().contains("none.safetensors"));
    assert_eq!((&found[2]["type"], &found[2]["images"]), (&json!("mock"), &json!(false)));
    let output = stage.vfaq(&["-w", "w", "backends"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for part in ["good  (pictures)", "clip between two pictures", "missing", "not measured yet"] {
        assert!(text.contains(part), "{text}");
    }
}
