//! Outputs that come and go while a show runs, over HTTP and by `vfaq outputs`; and what
//! `vfaq live --dry-run` says of them.
#![cfg(feature = "gst")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop")]

mod support;

use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};
use support::show::{SOON, Show, Stage, small, with};

const OUTPUTS: &str = "/api/v1/outputs";

fn output(show: &Show, key: &str) -> Value {
    show.get(&format!("{OUTPUTS}/{key}")).json().unwrap()
}

/// Waits until the output has sent that many further frames.
fn frames_later(show: &mut Show, key: &str, frames: u64) {
    let sent = |show: &Show| output(show, key)["frames"].as_u64().unwrap();
    let before = sent(show);
    show.until("further frames", support::show::SOON, |show| {
        (sent(show) >= before + frames).then_some(())
    });
}

fn until_output(show: &mut Show, key: &str, state: &str) -> Value {
    show.until(state, support::show::SOON, |show| {
        Some(output(show, key)).filter(|output| output["state"] == state)
    })
}

/// Frames of a file that decodes without a complaint.
fn decoded_frames(path: &Path) -> u64 {
    assert_eq!(support::complaints(path), "", "{}", path.display());
    support::probe(path).video_pts.len() as u64
}

fn said(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

#[test]
fn outputs_come_and_go_and_the_recording_misses_nothing() {
    let stage = Stage::new(&with(small(), json!({"live": {"keyframe_seconds": 0.5}})));
    let mut show = stage.live(&["--to", "null:#name=Count"]);
    show.until_state("on air", |state| state["frames"]["rendered"].as_u64() > Some(30));
    let copy = json!({"uri": "file:copy.mp4", "name": "Copy"});

    let added = show.post_json(OUTPUTS, &copy);
    assert_eq!(added.status(), 201);
    let added: Value = added.json().unwrap();
    assert_eq!(
        (&added["id"], &added["kind"], &added["name"]),
        (&json!(2), &json!("file"), &json!("Copy"))
    );
    let again = show.post_json(OUTPUTS, &copy);
    assert_eq!(again.status(), 409);
    until_output(&mut show, "Copy", "live");
    frames_later(&mut show, "Copy", 60);

    assert_eq!(show.post("/api/v1/outputs/Copy/stop").status(), 200);
    let stopped = until_output(&mut show, "2", "stopped");
    assert_eq!(stopped["reason"], Value::Null, "as was asked for");
    let first = stopped["frames"].as_u64().unwrap();
    let first_path = stage.path("copy.mp4");
    assert_eq!(decoded_frames(&first_path), first);

    // Started again it goes on in a further file; the first is not touched.
    assert_eq!(show.post("/api/v1/outputs/2/start").status(), 200);
    until_output(&mut show, "2", "live");
    frames_later(&mut show, "2", 60);
    // A retry of what is live changes nothing.
    assert_eq!(show.post("/api/v1/outputs/2/retry").status(), 200);
    frames_later(&mut show, "2", 30);
    assert_eq!(output(&show, "2")["state"], "live");
    let list: Value = show.get(OUTPUTS).json().unwrap();
    assert_eq!(list[1]["parts"], json!(["copy.mp4", "copy_002.mp4"]));

    // The same from the command line.
    let at = show.url.clone();
    let outputs = |arguments: &[&str]| {
        let mut command = stage.vfaq(&["outputs", "--at", &at]);
        command.args(arguments).output().unwrap()
    };
    let listed = outputs(&[]);
    assert_eq!(listed.status.code(), Some(0));
    assert!(said(&listed).contains("live") && said(&listed).contains("file:copy.mp4"));
    let removed = outputs(&["remove", "Copy"]);
    assert_eq!(removed.status.code(), Some(0), "{}", said(&removed));
    let missing = outputs(&["retry", "Copy"]);
    assert_eq!(missing.status.code(), Some(64));
    assert!(said(&missing).contains("there is no output 'Copy'"), "{}", said(&missing));
    let list: Value = serde_json::from_slice(&outputs(&["--json"]).stdout).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 1);
    assert_eq!(list[0]["name"], "Count");
    frames_later(&mut show, "Count", 60);
    show.stop();

    let second = decoded_frames(&stage.path("copy_002.mp4"));
    assert!(second >= 90, "{second} frames");
    assert_eq!(decoded_frames(&first_path), first);

    let summary = stage.summary();
    let recording = stage.project("final_60fps_1080p.mp4");
    assert_eq!(decoded_frames(&recording), summary["frames"]["rendered"].as_u64().unwrap());
    let places = support::probe(&recording).places();
    assert!(places.windows(2).all(|pair| (pair[1] - pair[0] - 1.0).abs() < 0.01), "a gap");
    assert_eq!(summary["outputs"].as_array().unwrap().len(), 1, "what was removed is gone");

    let actions: Vec<_> = stage
        .events("output")
        .iter()
        .map(|e| json!([e["output"], e["action"], e["source"]]))
        .collect();
    let http = |action| json!([2, action, "http"]);
    assert_eq!(actions, ["add", "stop", "start", "retry", "remove"].map(http));
    let states: Vec<_> = stage
        .events("output_state")
        .into_iter()
        .filter(|e| e["output"] == 2 && e["state"] != "starting" && e["state"] != "reconnecting")
        .map(|e| e["state"].clone())
        .collect();
    assert_eq!(states, ["live", "stopped", "live"]);
}

#[test]
fn a_dry_run_says_what_would_run_and_starts_nothing() {
    let stage = Stage::new(&small());
    let dry = |arguments: &[&str]| {
        let mut command = stage.vfaq(&["-w", "w", "-o", "out", "live", "--dry-run"]);
        command.args(["--listen", "127.0.0.1:0"]).args(arguments).output().unwrap()
    };
    let good = dry(&[
        "--to",
        "rtmp://live.twitch.tv/app/dry-run-s3cr3t#bitrate=4000",
        "--to",
        "srt://:9000#latency=200&passphrase=dry-run-passphrase",
        "--to",
        "display:2#size=640x360",
        "--to",
        "file:copy.mkv#name=Copy",
    ]);
    let text = said(&good);
    assert_eq!(good.status.code(), Some(0), "{text}");
    for part in [
        "640x360",
        "rtmp://live.twitch.tv/app/***",
        "profile twitch: at most 6000 kb/s",
        "an encode of its own: 4000 kb/s",
        "waits for callers on port 9000, latency 200 ms, encrypted",
        "a window of 640x360 on monitor 2",
        "Copy  file:copy.mkv",
        "nothing was started",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    assert!(!text.contains("s3cr3t") && !text.contains("dry-run-pass"), "{text}");
    let bad = dry(&["--to", "rtmp://live.twitch.tv/app#key=dry-run-s3cr3t&profile=twich"]);
    let text = said(&bad);
    assert_eq!(bad.status.code(), Some(64), "{text}");
    assert!(text.contains("--to") && text.contains("profile"), "{text}");
    assert!(!text.contains("s3cr3t"), "{text}");
    for name in ["out", "copy.mkv", "summary.json"] {
        assert!(!stage.path(name).exists(), "{name} was made");
    }
}

#[test]
fn what_is_wrong_with_an_output_is_seen_on_it_alone() {
    let stage = Stage::new(&small());
    let closed = support::nginx::free_port();
    let mut command = stage.vfaq(&["-w", "w", "-o", "out", "live", "--summary", "summary.json"]);
    command.args(["--listen", "127.0.0.1:0", "--for", "6"]);
    for (name, uri) in [
        ("folder", "file:none/take.mp4".to_owned()),
        ("screen", "display:".to_owned()),
        ("host", "rtmp://no.such.host.invalid/app/s3cretkey".to_owned()),
        ("port", format!("rtmp://127.0.0.1:{closed}/app/s3cretkey")),
        ("good", "null:".to_owned()),
    ] {
        command.args(["--to", &format!("{uri}#name={name}")]);
    }
    command.env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
    let mut show = Show::start(command);
    let mut reason = |name: &str, is: &str| {
        let state = show.until_state(name, |state| {
            let mut outputs = state["outputs"].as_array().into_iter().flatten();
            let output = outputs.find(|output| output["name"] == name);
            output.is_some_and(|output| {
                output["state"] == is && (is == "live" || output["reason"].is_string())
            })
        });
        let output = state["outputs"].as_array().unwrap().iter().find(|o| o["name"] == name);
        output.unwrap()["reason"].as_str().unwrap_or_default().to_owned()
    };
    assert!(reason("folder", "failed").contains("none/take.mp4"));
    assert!(reason("screen", "unavailable").contains("DISPLAY"));
    assert!(reason("host", "starting").contains("host name is not known"));
    assert!(reason("port", "starting").contains("nothing listens there"));
    assert_eq!(reason("good", "live"), "");
    let status = show.end(SOON);
    assert!(status.success() && !show.log().contains("s3cretkey"), "{}", show.log());
    let summary = stage.summary();
    let frames = summary["frames"]["rendered"].as_u64().unwrap();
    assert_eq!(summary["recording"]["frames"], frames);
    assert_eq!(decoded_frames(&stage.project("final_60fps_1080p.mp4")), frames);
    assert!(!summary.to_string().contains("s3cretkey"));
}
