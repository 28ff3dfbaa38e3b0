//! Motion between source frames, on air: found ahead, warped, counted; and how clips join.
#![cfg(feature = "gst")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop")]

mod support;

use serde_json::{Value, json};
use support::show::{Stage, small, with};

const RECORDING: &str = "final_60fps_1080p.mp4";
const SMALL: (u32, u32) = (640, 360);

/// Runs six seconds; returns the summary and the recording's pictures, small.
fn show(changes: Value) -> (Value, Vec<Vec<u8>>) {
    let stage = Stage::new(&with(small(), changes));
    let summary = stage.whole_show(&["--for", "6"]);
    println!("{:#}\n{:#}", summary["frames"], summary["motion"]);
    support::assert_recording(&stage.project(RECORDING), 360, SMALL);
    let pictures = support::decode_luma(&stage.project(RECORDING), 160, 90);
    (summary, pictures)
}

fn count(summary: &Value, part: &str, kind: &str) -> u64 {
    summary[part][kind].as_u64().unwrap()
}

/// How much a film's motion changes from picture to picture, against how much it moves: a film that
/// flows has little of it, one that jerks or pulses has more.
fn unevenness(pictures: &[Vec<u8>]) -> f64 {
    let steps: Vec<f64> =
        pictures.windows(2).map(|pair| support::mean_difference(&pair[0], &pair[1])).collect();
    let changes: f64 = steps.windows(2).map(|pair| (pair[1] - pair[0]).abs()).sum();
    changes / steps.iter().sum::<f64>()
}

#[test]
fn the_picture_flows_between_the_frames_that_were_generated() {
    let (flow, flowing) = show(json!({}));
    // But for the stand-in at the start all motion is known before it is due.
    assert!(count(&flow, "frames", "interpolated") > 250, "{:#}", flow["frames"]);
    assert!(count(&flow, "motion", "found") > 30, "{:#}", flow["motion"]);
    assert_eq!(count(&flow, "frames", "held"), 0);

    let (nearest, stepping) = show(json!({"live": {"interpolation": "nearest"}}));
    assert_eq!(count(&nearest, "frames", "interpolated"), 0);
    assert_eq!(count(&nearest, "motion", "found"), 0);
    // The first second belongs to the stand-in.
    let (flowing, stepping) = (unevenness(&flowing[60..]), unevenness(&stepping[60..]));
    println!("unevenness: flow {flowing:.3}, nearest {stepping:.3}");
    assert!(flowing < stepping / 3.0, "{flowing} against {stepping}");
}

#[test]
fn clips_grow_out_of_one_another() {
    let (summary, pictures) = show(json!({"live": {"join": {"kind": "morph", "seconds": 0.5}}}));
    assert!(count(&summary, "cycles", "played") >= 4, "{:#}", summary["cycles"]);
    assert!(count(&summary, "frames", "interpolated") > 250, "{:#}", summary["frames"]);
    let unevenness = unevenness(&pictures[60..]);
    println!("unevenness {unevenness:.3}");
    assert!(unevenness < 0.5, "{unevenness}");
}
