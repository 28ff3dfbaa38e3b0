//! The recording, steered while the show runs: begun, ended, split and marked, and no frame of it
//! lost or there twice.
#![cfg(feature = "gst")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop")]

mod support;

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use support::show::{Show, Stage, small, with};

const SMALL: (u32, u32) = (640, 360);
const FIRST: &str = "final_60fps_1080p.mp4";
const SECOND: &str = "final_60fps_1080p_002.mp4";

/// Key frames twice a second, so that a split comes soon.
fn stage() -> Stage {
    Stage::new(&with(small(), json!({"live": {"keyframe_seconds": 0.5}})))
}

fn recorded(state: &Value) -> u64 {
    state["recording"]["frames"].as_u64().unwrap_or(0)
}

fn until_recorded(show: &mut Show, frames: u64) -> Value {
    show.until_state("frames are recorded", |state| recorded(state) >= frames)
}

/// Frames as a player counts them: by decoding.
fn decoded(path: &Path) -> usize {
    support::decode_grey(path, 16, 9).len()
}

fn chapters(path: &Path) -> Vec<(f64, String)> {
    let probe = Command::new("ffprobe")
        .args(["-v", "error", "-show_chapters", "-of", "json"])
        .arg(path)
        .output()
        .unwrap();
    let probe: Value = serde_json::from_slice(&probe.stdout).unwrap();
    let chapters = probe["chapters"].as_array().unwrap().iter();
    let time = |c: &Value| c["start_time"].as_str().unwrap().parse().unwrap();
    chapters.map(|c| (time(c), c["tags"]["title"].as_str().unwrap().to_owned())).collect()
}

#[test]
fn a_split_loses_no_frame_and_marks_become_chapters() {
    let stage = stage();
    let mut show = stage.live(&["--to", "file:whole.mp4"]);
    until_recorded(&mut show, 60);
    let mark = |show: &Show, name: &str| {
        let answer = show.post_json("/api/v1/recording/mark", &json!({"name": name}));
        assert!(answer.status().is_success(), "{answer:?}");
    };
    mark(&show, "intro");
    // It is of the part that was being written: the split comes well after it.
    until_recorded(&mut show, 100);
    for parts in [2, 3] {
        assert!(show.post("/api/v1/recording/split").status().is_success());
        show.until_state("a new part", |state| {
            state["recording"]["parts"].as_array().is_some_and(|p| p.len() == parts)
        });
        let so_far = recorded(&show.state());
        until_recorded(&mut show, so_far + 40);
    }
    mark(&show, "höhepunkt");
    let so_far = recorded(&show.state());
    until_recorded(&mut show, so_far + 30);
    show.stop();

    let recording = stage.state()["recordings"][0].clone();
    assert_eq!((&recording["file"], &recording["complete"]), (&json!(FIRST), &json!(true)));
    let parts: Vec<_> = recording["parts"].as_array().unwrap().iter().collect();
    assert_eq!(parts.len(), 3, "{recording}");
    let counts: Vec<usize> = parts
        .iter()
        .map(|part| {
            let path = stage.project(part.as_str().unwrap());
            let count = decoded(&path);
            support::assert_part(&path, count, SMALL);
            count
        })
        .collect();
    let sum = counts.iter().sum::<usize>() as u64;
    assert_eq!(recording["frames"], sum);
    assert_eq!(stage.summary()["frames"]["rendered"], sum, "every frame of the show is in a part");

    // What the journal says of the parts agrees with them, frame for frame.
    let starts: Vec<(String, u64)> = stage
        .events("recording")
        .iter()
        .map(|e| (e["file"].as_str().unwrap().to_owned(), e["frame"].as_u64().unwrap()))
        .collect();
    let mut frame = starts[0].1;
    for ((file, start), (part, count)) in starts.iter().zip(parts.iter().zip(&counts)) {
        assert_eq!((file.as_str(), *start), (part.as_str().unwrap(), frame));
        frame += *count as u64;
    }

    let marks = stage.events("mark");
    let at = |n: usize| marks[n]["frame"].as_u64().unwrap();
    let first = chapters(&stage.project(parts[0].as_str().unwrap()));
    assert_eq!(first.len(), 1, "{first:?}");
    assert_eq!(first[0].1, "intro");
    assert!((first[0].0 - (at(0) - starts[0].1) as f64 / 60.0).abs() < 0.02, "{first:?}");
    let last = chapters(&stage.project(parts[2].as_str().unwrap()));
    assert_eq!(last[0].1, "höhepunkt");
    assert!((last[0].0 - (at(1) - starts[2].1) as f64 / 60.0).abs() < 0.02, "{last:?}");
    assert!(chapters(&stage.project(parts[1].as_str().unwrap())).is_empty());

    // The parts are one film, picture for picture: the copy beside them was never split.
    let whole = support::decode_grey(&stage.path("whole.mp4"), 64, 36);
    let pieces: Vec<Vec<u8>> = parts
        .iter()
        .flat_map(|part| support::decode_grey(&stage.project(part.as_str().unwrap()), 64, 36))
        .collect();
    assert!(whole.len() <= pieces.len() && whole.len() + 120 > pieces.len(), "{}", whole.len());
    let tail = &pieces[pieces.len() - whole.len()..];
    let differs = whole.iter().zip(tail).position(|(a, b)| a != b);
    assert_eq!(differs, None, "of {} pictures", whole.len());
}

#[test]
fn a_recording_is_ended_and_another_begun_while_the_show_goes_on() {
    let stage = stage();
    let mut show = stage.live(&[]);
    until_recorded(&mut show, 60);
    assert_eq!(show.post("/api/v1/recording/start").status(), 409, "it is running");
    assert!(show.post("/api/v1/recording/stop").status().is_success());
    let state = show.until_state("stopped", |s| s["recording"]["state"] == "stopped");
    let first_frames = recorded(&state);
    let entry = |show: &Show| -> Value {
        show.get("/api/v1/recording").json::<Value>().unwrap()["recordings"][0].clone()
    };
    show.until("the first is complete", support::show::SOON, |show| {
        (entry(show)["complete"] == true).then_some(())
    });
    // It is an ordinary file while the show goes on.
    let first = stage.project(FIRST);
    support::assert_part(&first, first_frames as usize, SMALL);
    assert_eq!(show.post("/api/v1/recording/split").status(), 409, "nothing is recorded");
    assert_eq!(show.state()["phase"], "live");

    // Over the board, as from any controller; asked twice it begins once.
    for _ in 0..2 {
        let start = show.put("/api/v1/params/record/start", &json!({}));
        assert!(start.status().is_success());
    }
    let state = show.until_state("the second is live", |s| {
        s["recording"]["state"] == "live" && recorded(s) >= 60
    });
    assert!(state["recording"]["path"].as_str().unwrap().ends_with(SECOND), "{state:#}");
    show.stop();

    let second = decoded(&stage.project(SECOND));
    support::assert_part(&stage.project(SECOND), second, SMALL);
    let told: Vec<Value> = stage.state()["recordings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| json!([r["file"], r["frames"], r["parts"], r["complete"]]))
        .collect();
    assert_eq!(
        told,
        [json!([FIRST, first_frames, [FIRST], true]), json!([SECOND, second, [SECOND], true]),]
    );
    let starts = stage.events("recording");
    let start = |n: usize| starts[n]["frame"].as_u64().unwrap();
    assert_eq!(starts.len(), 2);
    assert!(start(1) >= start(0) + first_frames, "{starts:?}");
    let rendered = stage.summary()["frames"]["rendered"].as_u64().unwrap();
    assert_eq!(start(1) + second as u64, start(0) + rendered, "up to the last frame of the show");
}

#[test]
fn a_show_that_does_not_record_begins_to_when_asked() {
    let stage = stage();
    let mut show = stage.live(&["--no-record", "--standby"]);
    assert_eq!(show.state()["recording"], Value::Null);
    assert_eq!(show.post("/api/v1/recording/stop").status(), 409);
    assert!(show.post("/api/v1/recording/start").status().is_success());
    show.until_state("it waits for the show", |s| s["recording"]["state"] == "starting");
    assert!(show.post("/api/v1/go").status().is_success());
    until_recorded(&mut show, 60);
    show.stop();
    let frames = decoded(&stage.project(FIRST));
    support::assert_part(&stage.project(FIRST), frames, SMALL);
    assert_eq!(stage.state()["recordings"][0]["frames"], frames);
}

#[test]
fn cycles_are_listed_and_seen_while_they_are_made() {
    let stage = stage();
    let mut show = stage.live(&["--no-record"]);
    show.until_state("two cycles", |state| state["cycles"]["played"].as_u64() >= Some(2));
    let page: Value = show.get("/api/v1/cycles?limit=1").json().unwrap();
    assert_eq!(page["cycles"].as_array().unwrap().len(), 1);
    let next = page["next"].as_u64().unwrap();
    assert_eq!(page["cycles"][0]["cycle"], next);
    let first: Value = show.get("/api/v1/cycles/0").json().unwrap();
    assert_eq!((&first["status"], &first["error"]), (&json!("complete"), &Value::Null));
    assert!((first["seconds"].as_f64().unwrap() - 1.0).abs() < 0.2, "{first}");
    assert!(first["prompt"].as_str().unwrap().contains("golden clouds"), "{first}");
    let thumbnail = show.get("/api/v1/cycles/0/thumbnail").bytes().unwrap();
    let picture = stage.path("thumbnail.jpg");
    std::fs::write(&picture, &thumbnail).unwrap();
    assert_eq!(decoded(&picture), 1);
    assert!(thumbnail.len() < 40_000, "{}", thumbnail.len());
    let video = show.get("/api/v1/cycles/0/video").bytes().unwrap();
    let raw = stage.path("video.mp4");
    std::fs::write(&raw, &video).unwrap();
    assert!(decoded(&raw) >= 8);
    let ring = show.state()["ring"].clone();
    let states: Vec<&str> =
        ring.as_array().unwrap().iter().map(|e| e["state"].as_str().unwrap()).collect();
    assert_eq!(states.iter().filter(|state| **state == "on_air").count(), 1, "{ring}");
    show.stop();
}
