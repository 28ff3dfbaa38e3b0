//! `vfaq assemble --rerender`: a set that was played is drawn again from its clips, picture for
//! picture, under the sound that it had.
#![cfg(feature = "gst")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop")]

mod support;

use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use support::show::{SOON, Show, Stage, small, with};

const SMALL: (u32, u32) = (320, 180);
/// Pictures are compared at this size: what an encoder does to single pixels counts less.
const LOOK: (u32, u32) = (160, 90);

/// What costs so little that hardly a picture is held.
fn tiny() -> Value {
    let changes = json!({
        "generation": {"width": 128, "height": 72},
        "live": {"canvas": "320x180", "bitrate_kbps": 4000},
    });
    with(small(), changes)
}

fn set(show: &Show, address: &str, value: f64) {
    let answer = show.put(&format!("/api/v1/params/{address}"), &json!({"value": value}));
    assert_eq!(answer.status(), 200, "{address}");
}

fn frames_later(show: &mut Show, frames: u64) {
    let rendered = |state: &Value| state["frames"]["rendered"].as_u64().unwrap();
    let now = rendered(&show.state());
    show.until_state("further frames", |state| rendered(state) >= now + frames);
}

/// Rebuilds the set; returns what was said.
fn rerender(stage: &Stage, arguments: &[&str]) -> String {
    let mut command = stage.vfaq(&["-w", "w", "-o", "out", "assemble", "--rerender"]);
    let said = support::output_of(command.args(arguments));
    let said = String::from_utf8(said).unwrap();
    println!("{said}");
    said
}

fn psnr(a: &[u8], b: &[u8]) -> f64 {
    let square = |(a, b): (&u8, &u8)| f64::from(a.abs_diff(*b)).powi(2);
    let mse = a.iter().zip(b).map(square).sum::<f64>() / a.len() as f64;
    if mse == 0.0 { 99.0 } else { (10.0 * (255.0 * 255.0 / mse).log10()).min(99.0) }
}

fn look(path: &Path) -> Vec<Vec<u8>> {
    support::decode_luma(path, LOOK.0, LOOK.1)
}

/// The encoded sound, packet by packet, without that of the times.
fn sound(path: &Path) -> Vec<u8> {
    support::output_of(
        Command::new("ffmpeg")
            .args(["-v", "error", "-i"])
            .arg(path)
            .args(["-map", "0:a", "-c", "copy", "-f", "adts", "-"]),
    )
}

/// The frames of the session in which the picture before went out again.
fn held(stage: &Stage) -> Vec<bool> {
    let mut held = Vec::new();
    for event in stage.events("held") {
        let [first, frames] = ["frame", "frames"].map(|key| event[key].as_u64().unwrap() as usize);
        held.resize(held.len().max(first + frames), false);
        held[first..first + frames].fill(true);
    }
    held
}

/// What was recorded of a set.
struct Recorded {
    pictures: Vec<Vec<u8>>,
    /// The session's frame that it begins with.
    first: usize,
    held: Vec<bool>,
    /// Pictures that the encoder had no time for: the one before was encoded once more.
    repeated: u64,
}

impl Recorded {
    fn of(stage: &Stage, parts: &[&str]) -> Recorded {
        Recorded {
            pictures: parts.iter().flat_map(|part| look(&stage.project(part))).collect(),
            first: stage.events("recording")[0]["frame"].as_u64().unwrap() as usize,
            held: held(stage),
            repeated: stage.summary()["frames"]["repeated"].as_u64().unwrap(),
        }
    }

    /// Every picture is the one that was recorded, and none stands at a neighbour's place.
    fn assert_same(&self, new: &[Vec<u8>]) {
        let recorded = &self.pictures;
        assert_eq!(new.len(), recorded.len());
        let was_held = |n: usize| self.held.get(n + self.first) == Some(&true);
        // Behind pictures that were held the encoder may be too far behind for a while.
        let mut repeated = vec![false; new.len()];
        for n in (1..new.len()).filter(|n| !was_held(*n)) {
            repeated[n] =
                (was_held(n - 1) || repeated[n - 1]) && psnr(&recorded[n], &recorded[n - 1]) > 60.0;
        }
        let repeats = repeated.iter().filter(|repeated| **repeated).count() as u64;
        assert!(repeats <= self.repeated, "{repeats} stand still, {} repeated", self.repeated);
        let other = |n: usize| was_held(n) || repeated[n];
        let (mut sum, mut least, mut count, mut told) = (0.0, f64::MAX, 0, 0);
        for n in (0..new.len()).filter(|n| !other(*n)) {
            let here = psnr(&new[n], &recorded[n]);
            (sum, least, count) = (sum + here, here.min(least), count + 1);
            for near in [n.wrapping_sub(1), n + 1] {
                let Some(neighbour) = recorded.get(near).filter(|_| !other(near)) else { continue };
                // Where something moves, a neighbour is less alike.
                if psnr(neighbour, &recorded[n]) < here - 3.0 {
                    told += 1;
                    let there = psnr(&new[n], neighbour);
                    assert!(there < here, "frame {n}: {here:.1} dB, as frame {near} {there:.1}");
                }
            }
        }
        let mean = sum / f64::from(count);
        println!("{mean:.1} dB, at least {least:.1}; {told} neighbours of {count} are unlike");
        assert!(mean > 38.0 && least > 28.0, "{mean:.1} dB, at least {least:.1}");
        assert!(told > 20, "{told} neighbours of {count} frames tell apart");
    }
}

#[test]
fn a_set_is_drawn_again_as_it_was_played() {
    let stage = Stage::new(&Value::Null);
    support::beeps(&stage.path("w/beeps.wav"));
    let settings = json!({"live": {
        "audio": {"source": "file:beeps.wav"}, "fit": "contain",
    }});
    stage.settings(&with(tiny(), settings));
    let mut show = stage.live(&["--standby"]);
    show.until_state("on air", |state| state["frames"]["rendered"].as_u64() > Some(40));
    set(&show, "fx/saturation", 0.5);
    assert!(show.post("/api/v1/go").status().is_success());
    show.until_state("a cycle", |state| state["cycles"]["played"].as_u64() > Some(0));
    set(&show, "fx/zoom", 2.0);
    frames_later(&mut show, 40);
    set(&show, "fx/zoom", 1.2);
    set(&show, "fx/brightness", 0.15);
    frames_later(&mut show, 30);
    set(&show, "fx/blackout", 1.0);
    frames_later(&mut show, 10);
    set(&show, "fx/blackout", 0.0);
    // Steered movement is in the journal as well.
    set(&show, "playback/speed", 2.0);
    frames_later(&mut show, 60);
    set(&show, "playback/reverse", 1.0);
    frames_later(&mut show, 90);
    set(&show, "playback/speed", 0.6);
    set(&show, "playback/reverse", 0.0);
    frames_later(&mut show, 60);
    set(&show, "playback/freeze", 1.0);
    frames_later(&mut show, 20);
    set(&show, "playback/freeze", 0.0);
    set(&show, "playback/speed", 1.0);
    // So is what goes with the beat: modulators, cycles of whole bars, cuts that wait.
    let recall = |show: &Show, name: &str| {
        let body = json!({"value": name});
        assert_eq!(show.put("/api/v1/params/preset/recall", &body).status(), 200);
    };
    recall(&show, "kick");
    set(&show, "playback/cycle_bars", 1.0);
    set(&show, "playback/bend", 0.5);
    set(&show, "quantise/cut", 1.0);
    frames_later(&mut show, 90);
    assert_eq!(show.put("/api/v1/params/fx/glitch_hit", &json!({})).status(), 200);
    frames_later(&mut show, 60);
    recall(&show, "clean");
    set(&show, "playback/cycle_bars", 0.0);
    // What waits is cut, and another cycle grows out of the picture there.
    let prompt = json!({"value": "crimson ink in black water"});
    assert_eq!(show.put("/api/v1/params/prompt/text", &prompt).status(), 200);
    show.until_state("the prompt", |state| {
        state["steering"]["prompts"]["count"].as_u64() == Some(1)
    });
    show.until_state("cycles", |state| state["cycles"]["played"].as_u64() > Some(4));
    show.stop();

    let original = stage.project("final_60fps_1080p.mp4");
    let begins = stage.events("recording")[0].clone();
    assert_eq!(begins["file"], "final_60fps_1080p.mp4");
    let first = begins["frame"].as_u64();
    assert!(first > Some(40), "the recording begins at go, not with frame {first:?}");

    let said = rerender(&stage, &[]);
    assert!(said.starts_with("final_60fps_1080p_rerender.mp4: "), "{said}");
    assert!(!said.contains("could not be rebuilt"), "{said}");
    let glitches = stage.events("on_beat");
    assert_eq!(glitches.len(), 1, "{glitches:?}");
    assert!(stage.events("music").iter().any(|e| e["bends"].is_array()));
    let path = stage.project("final_60fps_1080p_rerender.mp4");
    let recorded = Recorded::of(&stage, &["final_60fps_1080p.mp4"]);
    let (new, length) = (look(&path), recorded.pictures.len());
    recorded.assert_same(&new);
    support::assert_recording(&path, length, SMALL);
    assert!(sound(&path) == sound(&original), "the sound is another");
    assert_eq!(support::complaints(&path), "");

    let state = stage.state();
    assert_eq!(state["recordings"].as_array().unwrap().len(), 2);
    let entry = &state["recordings"][1];
    assert_eq!(entry["kind"], "rerendered");
    assert_eq!(entry["file"], "final_60fps_1080p_rerender.mp4");
    assert_eq!(entry["rerendered_from"], "final_60fps_1080p.mp4");
    assert_eq!(entry["frames"].as_u64(), Some(length as u64));

    // Without one of its clips: the recording's own pictures stand there, and that is said.
    let before = std::fs::read(&path).unwrap();
    let video = stage.project("videos/cycle0002_raw.mp4");
    std::fs::rename(&video, stage.path("elsewhere.mp4")).unwrap();
    let said = rerender(&stage, &["--recording", "final_60fps_1080p.mp4"]);
    assert!(said.contains("the clip of cycle 0002 is missing"), "{said}");
    let count: usize = said.lines().nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    let stretch = said.lines().nth(2).unwrap().trim().split(' ').collect::<Vec<_>>();
    let [from, to] = [1, 3].map(|word| {
        let number: &str = stretch[word];
        number.trim_end_matches(':').parse::<usize>().unwrap()
    });
    assert!(to + 1 - from <= count && count < length, "{said}");
    let path = stage.project("final_60fps_1080p_rerender_002.mp4");
    let partly = look(&path);
    recorded.assert_same(&partly);
    assert!(sound(&path) == sound(&original), "the sound is another");
    // Encoded once more, not drawn again.
    let mean = |films: [&Vec<Vec<u8>>; 2]| {
        (from..=to).map(|n| psnr(&films[0][n], &films[1][n])).sum::<f64>() / (to + 1 - from) as f64
    };
    let (as_recorded, as_drawn) = (mean([&partly, &recorded.pictures]), mean([&partly, &new]));
    println!("as recorded {as_recorded:.1} dB, as drawn {as_drawn:.1}");
    assert!(as_recorded > as_drawn, "{as_recorded:.1} dB, as drawn {as_drawn:.1}");
    assert!(before == std::fs::read(stage.project("final_60fps_1080p_rerender.mp4")).unwrap());
}

/// Whether a clip that grew out of another is joined in here.
fn grew(shot: &Value) -> bool {
    shot["grown"].is_object()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the gap is a stretch of real time")]
fn parts_held_pictures_and_joints_are_as_they_were() {
    let settings = json!({"live": {"join": {"kind": "morph", "seconds": 0.4}}});
    let stage = Stage::new(&with(tiny(), settings));
    // A set that is there plays with everything ahead: clips forth and back, over and over.
    let mut show = stage.live(&["--no-record"]);
    show.until("three cycles", SOON, |_| (stage.raw_cycles().len() >= 3).then_some(()));
    show.stop();
    let mut show = stage.live(&["--play=bounce"]);
    show.until("clips that grow out of others", SOON, |_| {
        let shots = stage.events("shot");
        let (grown, back) = (shots.iter().any(grew), shots.iter().any(|s| s["reversed"] == true));
        (grown && back).then_some(())
    });
    for gap in [500, 2500] {
        show.signal(Signal::SIGSTOP);
        sleep(Duration::from_millis(gap));
        show.signal(Signal::SIGCONT);
        frames_later(&mut show, 60);
    }
    show.stop();
    let parts = ["final_60fps_1080p.mp4", "final_60fps_1080p.part002.mp4"];
    let known: Vec<Value> = stage.events("recording").iter().map(|e| e["file"].clone()).collect();
    assert_eq!(known, parts);
    println!(
        "{} clips grew out of others",
        stage.events("shot").iter().filter(|shot| grew(shot)).count()
    );

    let said = rerender(&stage, &[]);
    assert!(!said.contains("could not be rebuilt"), "{said}");
    let path = stage.project("final_60fps_1080p_rerender.mp4");
    let recorded = Recorded::of(&stage, &parts);
    assert!(recorded.held.iter().filter(|held| **held).count() >= 20);
    let new = look(&path);
    recorded.assert_same(&new);
    support::assert_recording(&path, recorded.pictures.len(), SMALL);
    // What was held moves on.
    let longest = |film: &[Vec<u8>]| support::longest_freeze(film).0;
    let (on_stage, now) = (longest(&recorded.pictures), longest(&new));
    println!("{on_stage} frames stand still on stage, {now} now");
    assert!(now < on_stage, "{now} frames stand still, {on_stage} on stage");
}
