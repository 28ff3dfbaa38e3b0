//! A machine that stands still for a while: a long gap begins a new part of the recording, a short
//! one is filled with held pictures.
#![cfg(feature = "gst")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop")]
#![expect(clippy::disallowed_methods, reason = "the gap is a stretch of real time")]

mod support;

use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;
use support::show::{SOON, Show, Stage, small};

const SMALL: (u32, u32) = (640, 360);

/// Lets a show of four seconds run, and stand still for `gap` in the middle.
fn show_with_gap(stage: &Stage, gap: Duration) -> Show {
    let mut show = stage.live(&["--for", "4"]);
    show.until_state("on air", |state| state["frames"]["rendered"].as_u64() >= Some(60));
    show.signal(Signal::SIGSTOP);
    sleep(gap);
    show.signal(Signal::SIGCONT);
    let status = show.end(SOON);
    assert!(status.success(), "{}", show.log());
    show
}

#[test]
fn behind_a_long_gap_the_recording_goes_on_in_a_second_part() {
    let stage = Stage::new(&small());
    show_with_gap(&stage, Duration::from_millis(2500));
    let summary = stage.summary();
    assert_eq!(summary["frames"]["rendered"], 240, "show time stands still in a gap");
    assert_eq!(summary["frames"]["dropped"], 0);
    assert_eq!(summary["recording"]["frames"], 240);
    let names = ["final_60fps_1080p.mp4", "final_60fps_1080p.part002.mp4"];
    let paths = names.map(|name| stage.project(name));
    assert_eq!(
        summary["recording"]["parts"],
        json!(names.map(|name| format!("out/{name}"))),
        "{summary:#}"
    );
    let recordings = stage.state()["recordings"].clone();
    assert_eq!(recordings.as_array().unwrap().len(), 1);
    assert_eq!(recordings[0]["file"], names[0]);
    assert_eq!(recordings[0]["parts"], json!(names));
    assert_eq!(recordings[0]["frames"], 240);
    assert_eq!(recordings[0]["complete"], true);

    let first = support::probe(&paths[0]).video_pts.len();
    assert!((60..240).contains(&first), "{first} frames before the gap");
    let first = support::assert_part(&paths[0], first, SMALL);
    let second = support::assert_part(&paths[1], 240 - first.video_pts.len(), SMALL);
    let (starts, _) = first.sound_off_by();
    let (_, ends) = second.sound_off_by();
    assert!(starts.abs() < 0.005 && ends.abs() < 0.005, "{starts}, {ends} s apart");
}

#[test]
fn a_short_gap_is_filled_with_the_last_picture() {
    let stage = Stage::new(&small());
    show_with_gap(&stage, Duration::from_millis(500));
    let summary = stage.summary();
    assert_eq!(summary["frames"]["rendered"], 240);
    assert_eq!(summary["frames"]["dropped"], 0);
    // Half a second is 30 places of the grid; a busy machine may hold a few more.
    let held = summary["frames"]["held"].as_u64().unwrap();
    assert!((25..=120).contains(&held), "{held} held");
    assert_eq!(summary["recording"]["parts"], json!(["out/final_60fps_1080p.mp4"]));
    let path = stage.project("final_60fps_1080p.mp4");
    support::assert_recording(&path, 240, SMALL);
    let frames = support::decode_luma(&path, 64, 36);
    let (longest, at) = support::longest_freeze(&frames);
    println!("{held} held, {longest} of them in a row at {at}");
    assert!(longest >= 20, "the pictures in the gap are not those before it");
}
