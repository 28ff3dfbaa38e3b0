//! A session of Ableton Link with another program in it. `scripts/test-link` runs this, in a network of
//! its own.
#![cfg(all(feature = "gst", feature = "link", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop")]

mod support;

use std::time::Duration;

use rusty_link::{AblLink, SessionState};
use serde_json::{Value, json};
use support::show::{Show, Stage, small, with};

const FOUND: Duration = Duration::from_secs(30);

fn tempo(show: &mut Show, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    show.until(what, FOUND, |show| {
        let tempo = show.state()["tempo"].clone();
        is(&tempo).then_some(tempo)
    })
}

/// How far two beats are apart within a bar of four.
fn apart(a: f64, b: f64) -> f64 {
    let apart = (a - b).rem_euclid(4.0);
    apart.min(4.0 - apart)
}

#[test]
#[ignore = "it needs a network of its own: scripts/test-link"]
fn a_show_joins_the_session_and_stays_with_it() {
    let live = json!({"record": false, "osc": {"listen": "off", "query": "off"}, "tempo": {"os2l": "off"}});
    let stage = Stage::new(&with(small(), json!({"live": live})));
    let mut show = stage.live(&[]);
    tempo(&mut show, "alone", |tempo| tempo["source"] == "fixed");

    let other = AblLink::new(133.0);
    other.enable(true);
    let mut state = SessionState::new();
    let mut set = |bpm: f64, jump: f64| {
        other.capture_app_session_state(&mut state);
        let now = other.clock_micros();
        let beat = state.beat_at_time(now, 4.0);
        state.set_tempo(bpm, now);
        if jump != 0.0 {
            state.force_beat_at_time(beat + jump, now, 4.0);
        }
        other.commit_app_session_state(&state);
    };
    let is = |bpm: f64| {
        move |tempo: &Value| {
            tempo["source"] == "link"
                && tempo["led"] == true
                && (tempo["bpm"].as_f64().unwrap() - bpm).abs() < 0.01 * bpm
        }
    };
    tempo(&mut show, "both", |tempo| tempo["source"] == "link" && tempo["from"] == "1 peer");
    set(133.0, 0.0);
    tempo(&mut show, "133 bpm", is(133.0));
    set(128.0, 1.3);
    let before = tempo(&mut show, "128 bpm", is(128.0));
    // What jumped is met within a few beats.
    std::thread::park_timeout(Duration::from_secs(5));
    let mut best = f64::INFINITY;
    let mut last = before["beat"].as_f64().unwrap();
    for _ in 0..40 {
        let seen = show.state()["tempo"]["beat"].as_f64().unwrap();
        assert!(seen >= last, "{seen} {last}");
        last = seen;
        // The status is a while old, by at most a third of a second.
        let mut state = SessionState::new();
        other.capture_app_session_state(&mut state);
        best = best.min(apart(state.beat_at_time(other.clock_micros(), 4.0), seen));
        std::thread::park_timeout(Duration::from_millis(50));
    }
    println!("{best:.3} beats apart, with the age of the status");
    assert!(best < 0.8, "{best}");

    other.enable(false);
    let lost = tempo(&mut show, "alone again", |tempo| tempo["led"] == false);
    assert!((lost["bpm"].as_f64().unwrap() - 128.0).abs() < 1.3, "{lost}");
    show.stop();
}
