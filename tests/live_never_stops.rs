//! Generators that are slow or broken: the show is never black and never stands still, and says
//! what is wrong.
#![cfg(feature = "gst")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop")]

mod support;

use serde_json::{Value, json};
use support::show::{Stage, small, with};

const SMALL: (u32, u32) = (640, 360);

fn count(summary: &Value, kind: &str) -> u64 {
    summary["cycles"][kind].as_u64().expect("a count")
}

#[test]
fn a_generator_three_times_too_slow_costs_freshness_and_nothing_else() {
    // A cycle of one second takes three.
    let stage = Stage::new(&with(small(), json!({"backend": {"mock_delay": 3}})));
    let summary = stage.whole_show(&["--for", "40s"]);
    println!("{summary:#}");
    assert_eq!(summary["frames"]["rendered"], 2400);
    assert_eq!(summary["frames"]["dropped"], 0);
    assert!(summary["underruns"].as_u64() > Some(0), "{summary:#}");
    assert!(count(&summary, "replayed") > 0, "{summary:#}");
    // The generator worked all the time, and all that it made was shown.
    let played = count(&summary, "played");
    assert!((8..=14).contains(&played), "{played} cycles of 3 s in 40 s");
    assert!(count(&summary, "generated").abs_diff(played) <= 1, "{summary:#}");
    assert_eq!(count(&summary, "failed"), 0);

    let path = stage.project("final_60fps_1080p.mp4");
    support::assert_recording(&path, 2400, SMALL);
    support::assert_alive(&path, &summary);

    // Every clip went on air for the first time once, in order.
    let fresh: Vec<u64> = stage
        .events("shot")
        .iter()
        .filter(|shot| shot["role"] == "fresh" && shot["fade_frames"].is_u64())
        .map(|shot| shot["cycle"].as_u64().unwrap())
        .collect();
    assert_eq!(fresh, (0..played).collect::<Vec<_>>());
}

#[test]
fn before_the_first_cycle_the_stand_in_moves() {
    let stage = Stage::new(&with(small(), json!({"backend": {"mock_delay": 60}})));
    let summary = stage.whole_show(&["--for", "6"]);
    assert_eq!(summary["frames"]["rendered"], 360);
    assert_eq!(count(&summary, "played"), 0);
    assert!(count(&summary, "stand_in") > 0);
    let path = stage.project("final_60fps_1080p.mp4");
    support::assert_recording(&path, 360, SMALL);
    support::assert_alive(&path, &summary);
    let shots = stage.events("shot");
    assert!(shots.iter().all(|shot| shot["role"] == "stand_in" && shot["cycle"].is_null()));
}

#[test]
fn a_generator_that_always_fails_is_reported_and_the_show_goes_on() {
    let stage = Stage::new(&with(
        small(),
        json!({"backend": {"mock_fail_rate": 1}, "cycle": {"max_retries": 0}}),
    ));
    let mut show = stage.live(&["--for", "8"]);
    let state = show.until_state("a warning", |state| {
        state["cycles"]["failed"].as_u64() >= Some(2) && state["warnings"] != json!([])
    });
    let warnings = state["warnings"].to_string();
    assert!(warnings.contains("cycle "), "{warnings}");
    assert_eq!(state["phase"], "live");
    let status = show.end(support::show::SOON);
    assert!(status.success(), "{}", show.log());

    let summary = stage.summary();
    assert_eq!(summary["frames"]["rendered"], 480);
    assert_eq!((count(&summary, "generated"), count(&summary, "played")), (0, 0));
    assert!(count(&summary, "failed") >= 2);
    let path = stage.project("final_60fps_1080p.mp4");
    support::assert_recording(&path, 480, SMALL);
    support::assert_alive(&path, &summary);
    // What failed is written down, in the state and in the journal.
    let failed = stage.state()["failed_cycles"].as_array().unwrap().len() as u64;
    assert_eq!(failed, count(&summary, "failed"));
    assert!(stage.events("cycle").iter().all(|e| e["status"] == "failed"));
}

#[test]
fn a_cycle_that_fails_now_and_then_is_made_again() {
    let stage = Stage::new(&with(
        small(),
        json!({"backend": {"mock_fail_rate": 0.5}, "cycle": {"max_retries": 20}}),
    ));
    let mut show = stage.live(&["--no-record"]);
    let state = show.until_state("cycles", |state| state["cycles"]["played"].as_u64() >= Some(3));
    assert_eq!(state["cycles"]["failed"], 0);
    show.stop();
}
