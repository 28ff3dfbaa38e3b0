//! Shows that are ended from outside: whatever was recorded plays, and the next show goes on
//! where the last one stood.
#![cfg(feature = "gst")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop")]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use support::show::{SOON, Stage, read_json, small, with};
use vfaq::base::clock::{Clock, SystemClock};

const SMALL: (u32, u32) = (640, 360);
/// A fragment of the file, what was in the encoder, and the age of what the state says.
const LOST_S: f64 = 1.6;

/// Numbers that are different in every run, unless `VFAQ_TEST_SEED` says where to start.
struct Random(u64);

impl Random {
    fn new() -> Random {
        let now = || SystemClock::new().wall().duration_since(std::time::UNIX_EPOCH).unwrap();
        let given = std::env::var("VFAQ_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| now().as_nanos() as u64);
        println!("VFAQ_TEST_SEED={seed}");
        Random(seed)
    }

    /// At least `from`, below `to`. (SplitMix64: Steele, Lea and Flood 2014.)
    fn between(&mut self, from: u64, to: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        from + (z ^ (z >> 31)) % (to - from)
    }
}

/// With sound that is silent for the most part: its packets are of one size, but for those of the
/// beeps.
fn beeping() -> Stage {
    let sound = json!({"live": {"audio": {"source": "file:beeps.wav"}}});
    let stage = Stage::new(&with(small(), sound));
    support::beeps(&stage.path("w/beeps.wav"));
    stage
}

/// Everything finished that the project holds, with its content.
fn finished(stage: &Stage) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut keep = |path: PathBuf| {
        let content = std::fs::read(&path).unwrap();
        files.insert(path, content);
    };
    for entry in std::fs::read_dir(stage.project("")).unwrap() {
        let path = entry.unwrap().path();
        if path.to_string_lossy().contains("final_60fps_1080p") {
            keep(path);
        }
    }
    for entry in std::fs::read_dir(stage.project("briqs")).unwrap() {
        let briq = entry.unwrap().path();
        let content = read_json(&briq);
        if content["status"] == "complete" {
            keep(briq);
            for key in ["raw_video_path", "looped_video_path", "source_image_path"] {
                keep(stage.project(content[key].as_str().unwrap()));
            }
        }
    }
    files
}

#[test]
fn a_killed_show_loses_a_second_at_most_and_goes_on_from_there() {
    let mut random = Random::new();
    let stage = beeping();
    let (mut before, mut last_cycle) = (BTreeMap::new(), None);
    for round in 1..=4u64 {
        let mut show = stage.live(&[]);
        // Not before something new is made: so that there is something to go on from.
        let frames = random.between(100, 300);
        let state = show.until_state("on air", |state| {
            state["frames"]["rendered"].as_u64() >= Some(frames)
                && state["cycles"]["generated"].as_u64() >= Some(1)
        });
        show.signal(Signal::SIGKILL);
        assert!(!show.end(SOON).success());
        let on_air = state["frames"]["rendered"].as_u64().unwrap();

        // What there is plays.
        let name = match round {
            1 => "final_60fps_1080p.mp4".to_owned(),
            n => format!("final_60fps_1080p_{n:03}.mp4"),
        };
        let recording = stage.project(&name);
        println!("{name}: {on_air} frames were on air");
        let decoded = support::decode_grey(&recording, 64, 36).len() as u64;
        println!("{name}: {decoded} play");
        assert!(decoded as f64 >= on_air as f64 - LOST_S * 60.0, "{decoded} of {on_air} play");
        assert_plays_killed(&recording, decoded as usize);

        // The project is whole: everything in it can be read, and this recording says that it
        // was not finished.
        let state = stage.state();
        let last = state["recordings"].as_array().unwrap().last().unwrap().clone();
        assert_eq!((&last["file"], &last["complete"]), (&json!(name), &json!(false)));
        for entry in std::fs::read_dir(stage.project("briqs")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "json") {
                assert!(read_json(&path)["briq_id"].is_string(), "{}", path.display());
            }
        }

        // What this show made grew out of what the one before had made.
        let made: Vec<u64> = stage
            .events("cycle")
            .iter()
            .filter(|e| e["status"] == "generated")
            .map(|e| e["cycle"].as_u64().unwrap())
            .collect();
        if let (Some(&first), Some(last)) = (made.first(), last_cycle) {
            assert_eq!(first, last + 1, "cycles were left out or made again");
            assert_chained(&stage, first);
        }
        last_cycle = last_finished(&stage);
        assert_untouched(&before);
        before = finished(&stage);
    }
    stage.whole_show(&["--for", "1"]);
    assert_untouched(&before);
    support::assert_recording(&stage.project("final_60fps_1080p_005.mp4"), 60, SMALL);
}

/// Asserts that a file that was not finished plays without a complaint, every frame in its place.
fn assert_plays_killed(recording: &Path, decoded: usize) {
    let shown = recording.display();
    let places = support::probe(recording).places();
    let off: Vec<_> = (0..places.len()).filter(|n| places[*n] != *n as f64).collect();
    assert!(off.is_empty(), "{shown}: off their places: {off:?} of {places:?}");
    assert_eq!(decoded, places.len(), "{shown}");
    assert_eq!(support::complaints(recording), "", "{shown}");
}

fn assert_untouched(before: &BTreeMap<PathBuf, Vec<u8>>) {
    for (path, content) in before {
        assert!(std::fs::read(path).unwrap() == *content, "{} has changed", path.display());
    }
}

/// The last cycle whose raw clip is finished.
fn last_finished(stage: &Stage) -> Option<u64> {
    let finished = |cycle: &u64| stage.briq(*cycle)["raw_video_path"].is_string();
    stage.raw_cycles().into_iter().rfind(finished)
}

/// Asserts that a cycle grew out of the last picture of the one before.
fn assert_chained(stage: &Stage, cycle: u64) {
    let raw = format!("videos/cycle{:04}_raw.mp4", cycle - 1);
    let briq = stage.briq(cycle);
    assert_eq!(briq["base_video_path"], json!(raw));
    assert_eq!(briq["mode"], "video");
    let chained = stage.project(&format!("images/cycle{cycle:04}_video_frame.png"));
    let chained = support::decode_rgb(&chained).remove(0);
    let clip = support::decode_rgb(&stage.project(&raw));
    let apart: Vec<f64> =
        clip.iter().map(|picture| support::mean_difference(picture, &chained)).collect();
    // Coding and conversion change a picture a little, a frame's time of motion far more.
    let (last, others) = apart.split_last().unwrap();
    let nearest = others.iter().copied().fold(f64::INFINITY, f64::min);
    assert!(*last < 8.0 && *last < 0.8 * nearest, "cycle {cycle} did not begin there: {apart:?}");
}

#[test]
fn the_first_signal_drains_and_the_file_is_whole() {
    let stage = Stage::new(&small());
    for (round, signal) in [(1, Signal::SIGINT), (2, Signal::SIGTERM)] {
        let mut show = stage.live(&["--to", "null:"]);
        show.until_state("on air", |state| state["frames"]["rendered"].as_u64() >= Some(90));
        let clock = SystemClock::new();
        show.signal(signal);
        let status = show.end(SOON);
        let took = clock.now();
        println!("{signal}: ended after {took:?}");
        assert_eq!(status.code(), Some(0), "{signal}:\n{}", show.log());
        assert!(took < Duration::from_secs(5), "{signal}: {took:?}");

        let summary = stage.summary();
        let frames = summary["frames"]["rendered"].as_u64().unwrap();
        assert!(frames >= 90);
        assert_eq!(summary["frames"]["dropped"], 0);
        assert_eq!(summary["recording"]["frames"], frames);
        assert_eq!(summary["outputs"][0]["frames"], frames);
        let recording = stage.state()["recordings"][round - 1].clone();
        assert_eq!((&recording["complete"], &recording["frames"]), (&json!(true), &json!(frames)));
        let path = stage.project(recording["file"].as_str().unwrap());
        support::assert_recording(&path, frames as usize, SMALL);
        assert_eq!(stage.events("session_end").len(), 1);
    }
}

#[test]
fn two_interrupts_end_at_once_and_the_recording_plays() {
    let stage = beeping();
    let mut show = stage.live(&[]);
    let state =
        show.until_state("on air", |state| state["frames"]["rendered"].as_u64() >= Some(150));
    let clock = SystemClock::new();
    show.signal(Signal::SIGINT);
    show.line("ending: finishing files");
    show.signal(Signal::SIGINT);
    let status = show.end(SOON);
    assert_eq!(status.code(), Some(130), "{}", show.log());
    assert!(clock.now() < Duration::from_secs(2), "{:?}", clock.now());
    let recording = stage.project("final_60fps_1080p.mp4");
    let decoded = support::decode_grey(&recording, 64, 36).len();
    let on_air = state["frames"]["rendered"].as_u64().unwrap();
    assert!(decoded as f64 >= on_air as f64 - LOST_S * 60.0, "{decoded} of {on_air} play");
    assert_plays_killed(&recording, decoded);
    // The next one starts as if nothing had been.
    stage.whole_show(&["--for", "500ms"]);
}

#[test]
fn one_project_has_one_show_at_a_time() {
    let stage = Stage::new(&small());
    let mut show = stage.live(&["--no-record"]);
    show.until_state("on air", |state| state["frames"]["rendered"].as_u64() >= Some(1));
    let second: &mut Command = &mut stage.vfaq(&["-w", "w", "-o", "out", "live"]);
    let second = second.args(["--listen", "off", "--for", "1"]).output().unwrap();
    assert_eq!(second.status.code(), Some(69));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("in use by vfaq live (process"), "{said}");
    let state: Value = show.state();
    assert_eq!(state["phase"], "live");
    show.stop();
}
