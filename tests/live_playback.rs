//! Playback that is steered, over HTTP, as a performer does it: what the state says is on air.
#![cfg(feature = "gst")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop")]

mod support;

use serde_json::{Value, json};
use support::show::{Show, Stage, small, with};

fn set(show: &Show, address: &str, value: impl Into<Value>) {
    let answer = show.put(&format!("/api/v1/params/{address}"), &json!({"value": value.into()}));
    assert_eq!(answer.status(), 200, "{address}");
}

fn cycle(state: &Value) -> Option<u64> {
    state["on_air"]["cycle"].as_u64()
}

fn is_ready(state: &Value) -> bool {
    state["ring"].as_array().unwrap().iter().any(|clip| clip["state"] == "ready")
}

#[test]
fn a_performer_steers_what_is_on_air() {
    let stage = Stage::new(&with(
        small(),
        json!({
            "generation": {"width": 128, "height": 72},
            "live": {"canvas": "320x180", "bitrate_kbps": 1000},
        }),
    ));
    let mut show = stage.live(&["--no-record"]);
    show.until_state("two cycles, and one that waits", |state| {
        cycle(state) >= Some(1) && is_ready(state)
    });

    // Held: it stays, however many are ready, and nobody says that the generator is behind.
    set(&show, "playback/hold", true);
    show.until_state("hold", |state| state["on_air"]["mode"] == "hold");
    let held = cycle(&show.state());
    let frames = |state: &Value| state["frames"]["rendered"].as_u64().unwrap();
    let from = frames(&show.state());
    show.until_state("ten seconds of hold", |state| {
        assert_eq!(cycle(state), held);
        assert_eq!(state["on_air"]["replay"], false);
        frames(state) > from + 600
    });
    let ring = show.state()["ring"].clone();
    let place = |state: &str| {
        ring.as_array().unwrap().iter().position(|clip| clip["state"] == state).unwrap()
    };
    assert!(place("played") < place("on_air") && place("on_air") < place("ready"), "{ring}");
    assert!(ring[place("on_air")]["progress"].as_f64().is_some_and(|p| (0.0..=1.0).contains(&p)));
    assert_ne!(ring[place("ready")]["prompt"], "");

    // The next one all the same.
    set(&show, "playback/next", Value::Null);
    show.until_state("the next cycle", |state| cycle(state) > held);
    let newest = cycle(&show.state());
    set(&show, "playback/hold", false);
    set(&show, "playback/back", Value::Null);
    show.until_state("the one before", |state| cycle(state) < newest);

    set(&show, "playback/speed", 0.5);
    show.until_state("half the speed", |state| state["on_air"]["speed"] == 0.5);
    set(&show, "playback/freeze", true);
    show.until_state("stands still", |state| {
        state["on_air"]["mode"] == "freeze" && state["on_air"]["speed"] == 0.0
    });
    let position = show.state()["on_air"]["position"].clone();
    let from = frames(&show.state());
    show.until_state("a second", |state| frames(state) > from + 60);
    assert_eq!(show.state()["on_air"]["position"], position);
    set(&show, "playback/freeze", false);
    set(&show, "playback/speed", 1.0);

    set(&show, "playback/cycle", 999);
    show.until_state("that it is not there", |state| {
        state["warnings"].to_string().contains("cycle 0999 is not at hand any more")
    });
    set(&show, "playback/cycle", 0);
    show.until_state("the first cycle", |state| cycle(state) == Some(0));
    show.until_state("new ones again", |state| cycle(state) > newest);
    let state = show.state();
    assert_eq!(state["frames"]["dropped"], 0);
    show.stop();
}
