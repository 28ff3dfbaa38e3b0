//! The show over HTTP: what it says, and that what is sent is seen at the frame that it says.
#![cfg(feature = "gst")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop")]

mod support;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use support::show::{SOON, Show, Stage, small};

/// Sets a parameter; returns the number of the change.
fn set(show: &Show, address: &str, value: f64) -> u64 {
    let answer = show.put(&format!("/api/v1/params/{address}"), &json!({"value": value}));
    assert_eq!(answer.status(), 200, "{address}");
    let receipt: Value = answer.json().unwrap();
    assert_eq!(receipt["address"], format!("/{address}"));
    assert_eq!(receipt["value"].as_f64(), Some(value));
    receipt["generation"].as_u64().unwrap()
}

/// Waits for further frames on air.
fn frames_later(show: &mut Show, frames: u64) {
    let rendered = |state: &Value| state["frames"]["rendered"].as_u64().unwrap();
    let now = rendered(&show.state());
    show.until_state("further frames", |state| rendered(state) >= now + frames);
}

/// The frame from which on a change is seen, as the journal says.
fn applied(stage: &Stage, generation: u64) -> usize {
    let receipts = stage.events("param_applied");
    let receipt = receipts.iter().find(|e| e["generation"].as_u64() >= Some(generation)).unwrap();
    receipt["frame"].as_u64().unwrap() as usize
}

#[test]
fn a_change_is_in_the_recording_from_the_frame_that_the_journal_names() {
    let stage = Stage::new(&small());
    let mut show = stage.live(&[]);
    show.until_state("on air", |state| state["frames"]["rendered"].as_u64() > Some(60));
    let zoomed = set(&show, "fx/zoom", 4.0);
    frames_later(&mut show, 60);
    let dark = set(&show, "fx/blackout", 1.0);
    frames_later(&mut show, 30);
    let light = set(&show, "fx/blackout", 0.0);
    frames_later(&mut show, 30);
    assert_eq!(show.state()["params"]["/fx/zoom"], 4.0);
    show.stop();

    let frames = support::decode_luma(&stage.project("final_60fps_1080p.mp4"), 64, 36);
    let (zoomed, dark, light) =
        (applied(&stage, zoomed), applied(&stage, dark), applied(&stage, light));
    println!("zoom from frame {zoomed}, black from {dark} to {light}");
    assert!(60 <= zoomed && zoomed < dark && dark < light && light < frames.len());
    for (n, frame) in frames.iter().enumerate() {
        if (dark..light).contains(&n) {
            let (least, most) = (frame.iter().min().unwrap(), frame.iter().max().unwrap());
            assert!((15..=17).contains(least) && (15..=17).contains(most), "{n}: {least}-{most}");
        } else {
            assert!(!support::is_black(frame), "frame {n} is black");
        }
    }
    // The first step of a zoom is far more than what moves by itself.
    let step = |n: usize| support::mean_difference(&frames[n - 1], &frames[n]);
    let before = (zoomed - 15..zoomed).map(step).fold(0.0, f64::max);
    println!("zoom changes {:.2}, motion at most {before:.2}", step(zoomed));
    assert!(step(zoomed) > 2.0 * before, "{} after at most {before}", step(zoomed));

    let changes = stage.events("param");
    let told: Vec<_> = changes.iter().map(|e| json!([e["address"], e["value"]])).collect();
    assert_eq!(
        told,
        [json!(["/fx/zoom", 4.0]), json!(["/fx/blackout", 1.0]), json!(["/fx/blackout", 0.0])]
    );
    assert!(changes.iter().all(|e| e["source"] == "http"));
}

#[test]
fn state_metrics_preview_and_page_tell_of_the_show() {
    let stage = Stage::new(&small());
    let mut show = stage.live(&["--to", "null:"]);
    let state = show.until_state("a second on air", |state| {
        state["show_time_s"].as_f64() > Some(1.0) && state["cycles"]["played"].as_u64() > Some(0)
    });
    assert_eq!(state["phase"], "live");
    assert_eq!(state["canvas"], "640x360");
    assert_eq!(state["target_fps"], 60.0);
    assert_eq!(state["project"], "out");
    assert_eq!(state["outputs"][0]["uri"], "null:");
    assert_eq!(state["outputs"][0]["state"], "live");
    assert_eq!(state["recording"]["state"], "live");
    assert!(state["on_air"]["prompt"].as_str().is_some_and(|p| p.contains("golden clouds")));
    assert!(state["first_frame_ms"].as_f64() > Some(0.0));

    let health = show.until("good health", SOON, |show| {
        let answer = show.get("/healthz");
        answer.status().is_success().then(|| answer.text().unwrap())
    });
    assert_eq!(health, "ok");

    let preview = show.get("/preview.jpg");
    assert_eq!(preview.headers()["content-type"], "image/jpeg");
    let jpeg = preview.bytes().unwrap();
    let picture = image::load_from_memory_with_format(&jpeg, image::ImageFormat::Jpeg).unwrap();
    let luma = picture.to_luma8();
    assert!(
        luma.width() >= 160 && luma.width() * 9 == luma.height() * 16,
        "{:?}",
        luma.dimensions()
    );
    assert!(!support::is_black(&luma), "the preview is black");
    // It shows what is on air: half a second later something has moved.
    frames_later(&mut show, 30);
    assert!(jpeg != show.get("/preview.jpg").bytes().unwrap(), "the preview stands still");

    let page = show.get("/");
    assert!(page.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
    let page = page.text().unwrap();
    assert!(page.contains("<html") && page.contains("PANIC"), "{page}");

    let params: Value = show.get("/api/v1/params").json().unwrap();
    let addresses: BTreeSet<_> =
        params.as_array().unwrap().iter().filter_map(|p| p["address"].as_str()).collect();
    for address in ["brightness", "contrast", "saturation", "hue", "zoom", "blackout"] {
        assert!(addresses.contains(format!("/fx/{address}").as_str()), "{addresses:?}");
    }

    let metrics = show.get("/metrics");
    assert!(metrics.headers()["content-type"].to_str().unwrap().starts_with("text/plain"));
    assert_metrics(&metrics.text().unwrap());

    // What is wrong is said, and changes nothing.
    for (path, body, status) in [
        ("/api/v1/params/fx/zom", json!({"value": 2}), 404),
        ("/api/v1/params/fx/zoom", json!({"value": 9}), 400),
        ("/api/v1/params/fx/zoom", json!({"volume": 2}), 400),
    ] {
        let answer = show.put(path, &body);
        assert_eq!(answer.status(), status, "{path} {body}");
        let error: Value = answer.json().unwrap();
        assert!(error["error"]["message"].as_str().is_some_and(|m| m.contains("/fx/zoom")));
    }
    assert_eq!(show.get("/api/v1/nothing").status(), 404);
    assert_eq!(show.get("/api/v1/go").status(), 405);
    assert_eq!(show.state()["params"]["/fx/zoom"], 1.0);
    show.stop();
}

/// Asserts that the text is what Prometheus reads, and that names say whose and in what unit.
fn assert_metrics(text: &str) {
    let mut described = BTreeSet::new();
    let mut samples = 0;
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.split(' ');
            let (kind, name) = (words.next().unwrap(), words.next().unwrap());
            assert!(["HELP", "TYPE"].contains(&kind), "{line}");
            described.insert((kind, name));
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        assert!(value.parse::<f64>().is_ok(), "{line}");
        let name = series.split('{').next().unwrap();
        assert!(name.starts_with("vfaq_"), "{line}");
        let family = name.strip_suffix("_sum").or(name.strip_suffix("_count")).unwrap_or(name);
        for kind in ["HELP", "TYPE"] {
            assert!(described.contains(&(kind, family)), "{kind} of {name} is missing");
        }
        assert!(!["_ms", "_mb", "_kbps", "_s"].iter().any(|u| name.ends_with(u)), "{line}");
        samples += 1;
    }
    assert!(samples > 30, "{text}");
    for (name, unit) in [
        ("vfaq_frames_total", "counter"),
        ("vfaq_runway_seconds", "gauge"),
        ("vfaq_peak_resident_memory_bytes", "gauge"),
        ("vfaq_lateness_seconds", "summary"),
    ] {
        assert!(text.contains(&format!("# TYPE {name} {unit}\n")), "{name}");
    }
    let drawn = text
        .lines()
        .filter(|line| line.starts_with("vfaq_frames_total{"))
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
    assert!(drawn.sum::<f64>() >= 60.0, "{text}");
}

#[test]
fn a_port_in_use_is_found_before_anything_starts() {
    let stage = Stage::new(&small());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let run: &mut std::process::Command = &mut stage.vfaq(&["-w", "w", "-o", "out", "live"]);
    let output = run.args(["--for", "1", "--listen", &address]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(69), "{said}");
    assert!(said.contains(&address) && said.contains("live.listen"), "{said}");
    assert!(!stage.path("out").exists(), "a project was begun");
}
