//! The recording and the outputs: exactly the frames that were asked for, in ordinary files, and
//! a summary that agrees with them.
#![cfg(feature = "gst")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop")]

mod support;

use std::process::Command;

use serde_json::{Value, json};
use support::show::{Stage, small, with};

const SMALL: (u32, u32) = (640, 360);

/// What every summary has to say of a show in which no place of the grid was missing.
fn assert_summary(summary: &Value, frames: u64) {
    let keys: Vec<&str> =
        summary.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "duration_s",
            "first_frame_ms",
            "frames",
            "motion",
            "effort",
            "cycles",
            "underruns",
            "runway_s",
            "render_ms",
            "encode_ms",
            "cpu_ms_per_frame",
            "peak_rss_mb",
            "encoder",
            "encoder_why",
            "encoder_bitrate_kbps",
            "encoder_rebuilds",
            "encoder_changes",
            "steering",
            "recording",
            "outputs",
        ]
    );
    let count = |kind: &str| summary["frames"][kind].as_u64().expect("a count");
    assert_eq!(count("rendered"), frames, "{summary:#}");
    assert_eq!(
        count("source") + count("interpolated") + count("blended") + count("held"),
        frames,
        "{summary:#}"
    );
    assert_eq!(count("dropped"), 0, "{summary:#}");
    assert!(count("late") <= frames);
    let duration_s = summary["duration_s"].as_f64().expect("a number");
    assert!((duration_s - frames as f64 / 60.0).abs() < 0.001, "{duration_s}");
    for timing in ["render_ms", "encode_ms"] {
        let at = |p: &str| summary[timing][p].as_f64().expect("a number");
        assert!(0.0 < at("p50") && at("p50") <= at("p95") && at("p95") <= at("p99"), "{timing}");
    }
    for key in ["first_frame_ms", "cpu_ms_per_frame", "peak_rss_mb"] {
        assert!(summary[key].as_f64().is_some_and(|n| n > 0.0), "{key}: {}", summary[key]);
    }
    assert!(summary["encoder"].as_str().is_some_and(|e| !e.is_empty()));
    for kind in ["generated", "played"] {
        assert!(summary["cycles"][kind].as_u64().is_some_and(|n| n > 0), "{summary:#}");
    }
}

#[test]
fn five_seconds_of_1080p_are_300_frames_and_every_output_has_them() {
    let stage = Stage::new(&json!({}));
    let summary = stage.whole_show(&["--for", "5", "--to", "null:", "--to", "file:copy.mp4", "-v"]);
    let path = stage.project("final_60fps_1080p.mp4");
    let probe = support::assert_recording(&path, 300, (1920, 1080));
    for key in ["color_space", "color_primaries", "color_transfer"] {
        assert_eq!(probe.video[key], "bt709", "{key}");
    }
    assert_eq!(probe.video["color_range"], "tv");
    assert_eq!(probe.video["pix_fmt"], "yuv420p");
    support::assert_alive(&path, &summary);

    assert_summary(&summary, 300);
    let parts = json!(["out/final_60fps_1080p.mp4"]);
    let recording = json!({"path": parts[0], "frames": 300, "parts": parts});
    assert_eq!(summary["recording"], recording);

    // A copy beside it, and one that is only counted; the recording is not among them.
    let copy = stage.path("copy.mp4");
    support::assert_recording(&copy, 300, (1920, 1080));
    let bytes = std::fs::metadata(&copy).unwrap().len();
    let outputs = summary["outputs"].as_array().unwrap();
    assert_eq!(outputs.len(), 2, "{outputs:?}");
    for (output, uri) in outputs.iter().zip(["null:", "file:copy.mp4"]) {
        assert_eq!(output["uri"], uri);
        assert_eq!(output["state"], "stopped");
        assert_eq!(output["frames"], 300);
        assert_eq!(output["reconnects"], 0);
        let counted = output["bytes"].as_u64().unwrap();
        assert!(counted <= bytes && counted * 10 > bytes * 9, "{counted} of {bytes} bytes");
    }

    // An ordinary file: a player may jump into it.
    let late = support::output_of(
        Command::new("ffmpeg").args(["-v", "error", "-ss", "4.5", "-i"]).arg(&path).args([
            "-vf",
            "scale=64:36",
            "-pix_fmt",
            "gray",
            "-f",
            "rawvideo",
            "-",
        ]),
    );
    assert_eq!(late.len(), 30 * 64 * 36, "the last half second");
}

#[test]
fn a_second_show_records_beside_the_first_and_both_are_live() {
    let stage = Stage::new(&small());
    let first = stage.project("final_60fps_1080p.mp4");
    assert_summary(&stage.whole_show(&["--for", "2s"]), 120);
    let before = std::fs::read(&first).unwrap();
    let summary = stage.whole_show(&["--for", "1500ms"]);
    assert_summary(&summary, 90);
    assert_eq!(summary["recording"]["path"], "out/final_60fps_1080p_002.mp4");

    assert!(before == std::fs::read(&first).unwrap(), "the first recording has changed");
    support::assert_recording(&first, 120, SMALL);
    support::assert_recording(&stage.project("final_60fps_1080p_002.mp4"), 90, SMALL);
    let recordings = stage.state()["recordings"].clone();
    let told: Vec<Value> = recordings
        .as_array()
        .unwrap()
        .iter()
        .map(|r| json!([r["file"], r["kind"], r["frames"], r["complete"]]))
        .collect();
    assert_eq!(
        told,
        [
            json!(["final_60fps_1080p.mp4", "live", 120, true]),
            json!(["final_60fps_1080p_002.mp4", "live", 90, true]),
        ]
    );
}

#[test]
fn without_a_recording_the_outputs_still_get_everything() {
    let stage = Stage::new(&with(small(), json!({"live": {"outputs": ["null:"]}})));
    let summary = stage.whole_show(&["--no-record", "--for", "2", "--to", "file:take.mp4"]);
    assert_summary(&summary, 120);
    assert_eq!(summary["recording"], Value::Null);
    let frames: Vec<_> =
        summary["outputs"].as_array().unwrap().iter().map(|o| o["frames"].clone()).collect();
    assert_eq!(frames, [json!(120), json!(120)]);
    support::assert_recording(&stage.path("take.mp4"), 120, SMALL);
    assert!(!stage.project("final_60fps_1080p.mp4").exists());
    assert_eq!(stage.state()["recordings"], json!([]));
}

#[test]
fn sound_from_a_file_is_in_the_recording() {
    let stage = Stage::new(&with(small(), json!({"live": {"audio": {"source": "file:a.wav"}}})));
    support::output_of(
        Command::new("ffmpeg")
            .args(["-v", "error", "-f", "lavfi", "-i", "sine=frequency=440:duration=10"])
            .args(["-ar", "48000", "-ac", "2"])
            .arg(stage.path("w/a.wav")),
    );
    stage.whole_show(&["--for", "2"]);
    let path = stage.project("final_60fps_1080p.mp4");
    support::assert_recording(&path, 120, SMALL);
    // ffmpeg's sine has an amplitude of an eighth: 440 Hz crosses zero 880 times a second.
    let sound = support::decode_sound(&path);
    let middle = &sound[24_000..72_000];
    let crossings = middle.windows(2).filter(|w| (w[0] < 0.0) != (w[1] < 0.0)).count();
    assert!((870..=890).contains(&crossings), "{crossings} crossings in a second");
}
