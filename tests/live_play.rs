//! Prepared sets, standby, and what a resumed show airs first.
#![cfg(feature = "gst")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop")]

mod support;

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::{Value, json};
use support::show::{SOON, Stage, small, with};

const SMALL: (u32, u32) = (640, 360);

/// A project with the cycles 0, 1, 2 and nothing else on air so far.
fn three_cycles() -> Stage {
    let stage = Stage::new(&with(small(), json!({"live": {"buffer_seconds": 4}})));
    let mut show = stage.live(&["--no-record"]);
    show.until("three cycles", SOON, |_| (stage.raw_cycles().len() >= 3).then_some(()));
    show.stop();
    for cycle in stage.raw_cycles().into_iter().skip(3) {
        forget(&stage, cycle);
    }
    stage
}

/// Removes a cycle from the project, as a performer does who does not like it.
fn forget(stage: &Stage, cycle: u64) {
    let belongs = |name: &str| {
        name.starts_with(&format!("cycle{cycle:04}_"))
            || name.starts_with(&format!("briq_{cycle:04}_"))
    };
    for folder in ["videos", "images", "briqs"] {
        for entry in std::fs::read_dir(stage.project(folder)).unwrap() {
            let entry = entry.unwrap();
            if belongs(&entry.file_name().to_string_lossy()) {
                std::fs::remove_file(entry.path()).unwrap();
            }
        }
    }
}

/// Clips that were joined in as planned: cycle, and whether it ran forwards.
fn planned(stage: &Stage) -> Vec<(u64, bool)> {
    stage
        .events("shot")
        .iter()
        .filter(|shot| shot["role"] == "fresh" && shot["fade_frames"].is_u64())
        .map(|shot| (shot["cycle"].as_u64().unwrap(), shot["speed"].as_f64().unwrap() > 0.0))
        .collect()
}

fn files(stage: &Stage) -> BTreeSet<PathBuf> {
    let folders = ["videos", "images", "briqs"].map(|folder| stage.project(folder));
    let entries = folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap());
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_prepared_set_airs_in_order_again_and_again_without_a_generator() {
    let stage = three_cycles();
    let before = files(&stage);
    // Not even a generator that cannot be had is missed.
    let settings = json!({"backend": {"type": "comfyui"}});
    stage.settings(&with(small(), settings));
    let summary = stage.whole_show(&["--play", "--for", "6"]);
    let order = planned(&stage);
    assert!(order.len() >= 6, "{order:?}");
    for (place, shot) in order.iter().enumerate() {
        assert_eq!(*shot, (place as u64 % 3, true), "{order:?}");
    }
    assert_eq!(summary["cycles"]["generated"], 0);
    assert_eq!(files(&stage), before, "something was made or removed");
    let path = stage.project("final_60fps_1080p.mp4");
    support::assert_recording(&path, 360, SMALL);
    support::assert_alive(&path, &summary);

    // The same set bounced; a clip that runs backwards is the same clip.
    let summary = stage.whole_show(&["--play=bounce", "--for", "8"]);
    let order = planned(&stage);
    let there_and_back =
        [(0, true), (1, true), (2, true), (2, false), (1, false), (0, false)].iter().cycle();
    assert!(order.len() >= 8, "{order:?}");
    assert!(order.iter().zip(there_and_back).all(|(a, b)| a == b), "{order:?}");
    assert_eq!(summary["frames"]["dropped"], 0);
    let path = stage.project("final_60fps_1080p_002.mp4");
    support::assert_recording(&path, 480, SMALL);
    support::assert_alive(&path, &summary);
}

#[test]
fn there_is_nothing_to_play_where_nothing_was_made() {
    let stage = Stage::new(&small());
    let play = |arguments: &[&str]| {
        let run: &mut std::process::Command = &mut stage.vfaq(&["-w", "w", "live", "--play"]);
        let output = run.args(["--listen", "off"]).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = play(&["-n", "nobody"]);
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("nobody"), "{said}");
    let (code, said) = play(&["-o", "nowhere"]);
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("nowhere"), "{said}");
    assert!(!stage.path("w/qonstructions").exists() && !stage.path("nowhere").exists());
    std::fs::create_dir(stage.path("empty")).unwrap();
    let (code, said) = play(&["-o", "empty"]);
    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains("empty"), "{said}");
}

#[test]
fn standby_waits_for_go_and_the_recording_begins_there() {
    let stage = Stage::new(&small());
    let mut show = stage.live(&["--standby", "--for", "3", "--to", "null:"]);
    // The ring is full, the outputs have a picture, and nothing of it counts yet.
    let state = show.until_state("a full ring", |state| {
        state["runway_s"]["now"].as_f64() > Some(4.0)
            && state["outputs"][0]["frames"].as_u64() > Some(60)
    });
    assert_eq!(state["phase"], "standby");
    assert_eq!(state["cycles"]["played"], 0);
    assert_eq!(state["show_time_s"], 0.0);
    assert_eq!(state["on_air"]["cycle"], Value::Null);
    assert_eq!(state["recording"]["state"], "starting");
    assert_eq!(state["recording"]["frames"], 0);
    assert!(!stage.project("final_60fps_1080p.mp4").exists());

    let go = |show: &support::show::Show| show.post("/api/v1/go").json::<Value>().unwrap();
    assert_eq!(go(&show), json!({"started": true}));
    show.until_state("live", |state| state["phase"] == "live");
    assert_eq!(go(&show), json!({"started": false}));
    let status = show.end(SOON);
    assert!(status.success(), "{}", show.log());

    let summary = stage.summary();
    assert_eq!(summary["duration_s"], 3.0);
    assert_eq!(summary["recording"]["frames"], 180);
    assert!(summary["outputs"][0]["frames"].as_u64() > Some(240), "standby was on the output");
    let path = stage.project("final_60fps_1080p.mp4");
    // The sound's encoder runs since before go, so its frames do not begin where the picture does.
    support::assert_part(&path, 180, SMALL);
    support::assert_alive(&path, &summary);
    let keys = support::output_of(
        std::process::Command::new("ffprobe")
            .args(["-v", "error", "-select_streams", "v", "-show_entries", "packet=flags"])
            .args(["-of", "csv=p=0"])
            .arg(&path),
    );
    assert!(keys.starts_with(b"K"), "it does not begin with a key frame");
    // Before go only the stand-in was on air; the first cycle came at once behind it.
    let shots = stage.events("shot");
    let first = shots.iter().find(|shot| shot["role"] != "stand_in").unwrap();
    assert_eq!((&first["cycle"], &first["role"]), (&json!(0), &json!("fresh")));
    let rendered = summary["frames"]["rendered"].as_u64().unwrap();
    assert_eq!(first["frame"], rendered - 180, "the first cycle is joined in at go");
}

#[test]
fn a_show_can_be_ended_in_standby() {
    let stage = Stage::new(&small());
    let mut show = stage.live(&["--standby"]);
    show.until_state("a picture", |state| state["frames"]["rendered"].as_u64() > Some(30));
    show.stop();
    assert_eq!(stage.summary()["duration_s"], 0.0);
    assert!(!stage.project("final_60fps_1080p.mp4").exists(), "nothing was to be recorded");
}

#[test]
fn a_resumed_show_airs_what_is_there_until_something_new_is_ready() {
    let stage = three_cycles();
    stage.settings(&with(small(), json!({"backend": {"mock_delay": 3}})));
    let mut show = stage.live(&[]);
    show.until_state("something new", |state| state["cycles"]["played"].as_u64() >= Some(1));
    show.stop();
    let shots = stage.events("shot");
    let aired: Vec<(&str, u64)> = shots
        .iter()
        .filter(|shot| shot["role"] != "stand_in" && shot["fade_frames"].is_u64())
        .map(|shot| (shot["role"].as_str().unwrap(), shot["cycle"].as_u64().unwrap()))
        .collect();
    assert_eq!(aired[0].0, "replay", "{aired:?}");
    let new = aired.iter().position(|(role, _)| *role == "fresh").unwrap();
    assert!(aired[..new].iter().all(|(role, cycle)| *role == "replay" && *cycle <= 2));
    assert_eq!(aired[new], ("fresh", 3), "{aired:?}");
    // Earlier material is on air within two seconds of the start, long before the new cycle.
    let first = shots.iter().find(|shot| shot["role"] == "replay").unwrap();
    assert!(first["frame"].as_u64().unwrap() <= 120, "{first}");
    support::assert_alive(&stage.project("final_60fps_1080p.mp4"), &stage.summary());
}
