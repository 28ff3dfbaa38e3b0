//! Prompts that are steered in a running show, until they are on air.
#![cfg(feature = "gst")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop")]

mod support;

use serde_json::{Value, json};
use support::show::{SOON, Show, Stage, small, with};

fn set(show: &Show, address: &str, value: Value) -> u64 {
    let answer = show.put(&format!("/api/v1/params{address}"), &json!({ "value": value }));
    let receipt: Value = answer.json().expect("a receipt");
    receipt["generation"].as_u64().unwrap_or_else(|| panic!("{address}: {receipt}"))
}

/// Waits until the last change of a parameter has come to be seen; what is told of it.
fn arrived(show: &mut Show, address: &str) -> Value {
    let last = |state: &Value| {
        let arrived = state["steering"]["prompts"]["arrived"].as_array().unwrap();
        arrived.iter().rev().find(|entry| entry["address"] == address).cloned()
    };
    last(&show.until_state(address, |state| last(state).is_some())).unwrap()
}

/// Waits for so many frames.
fn frames(show: &mut Show, count: u64) {
    let sent = |state: &Value| state["frames"]["rendered"].as_u64().unwrap();
    let before = sent(&show.state());
    show.until_state("frames", |state| sent(state) >= before + count);
}

/// Pictures that cost next to nothing, and a ring that holds many more cycles than a change may wait
/// for.
fn stage() -> Stage {
    Stage::new(&with(
        small(),
        json!({
            "generation": {
                "width": 128, "height": 72, "video_frames": 8, "video_fps": 4, "clip_seconds": 2,
            },
            "live": {"canvas": "320x180", "fps": 30, "buffer_seconds": READY_S},
        }),
    ))
}

/// So much is ready or made when a show begins.
const READY_S: u64 = 24;

/// A show that has a full ring when it begins.
fn begun(stage: &Stage) -> Show {
    let mut show = stage.live(&["-b", "mock", "--standby"]);
    show.until_state("all that it wants", |state| {
        state["cycles"]["generated"].as_u64() >= Some(READY_S / 2)
    });
    assert!(show.post("/api/v1/go").status().is_success());
    show.until_state("a cycle", |state| state["cycles"]["played"].as_u64() > Some(0));
    show
}

fn unused(stage: &Stage) -> Vec<u64> {
    let cycles = stage.events("cycle");
    let unused = cycles.iter().filter(|entry| entry["status"] == "unused");
    unused.map(|entry| entry["cycle"].as_u64().unwrap()).collect()
}

#[test]
fn a_prompt_is_on_air_long_before_the_ring_is_through() {
    let stage = stage();
    let mut show = begun(&stage);
    let before = show.state()["on_air"]["cycle"].as_u64().unwrap();
    let generation = set(&show, "/prompt/text", json!("crimson ink in black water"));
    let seen = arrived(&mut show, "/prompt/text");
    assert_eq!(show.state()["underruns"], 0);
    show.stop();
    let (cycle, seconds) = (seen["cycle"].as_u64().unwrap(), seen["seconds"].as_f64().unwrap());
    println!("{seconds:.2} s");
    assert!(seconds < READY_S as f64 / 2.0, "{seconds} s with {READY_S} s in the ring");

    let briq = stage.briq(cycle);
    assert_eq!(briq["prompt"], "crimson ink in black water");
    assert_eq!(briq["steered"]["lead"], "text");
    assert_eq!(briq["steered"]["generation"], generation);
    assert_eq!(stage.briq(before).get("steered"), None, "nothing was asked of it");
    let events = stage.events("steered");
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["generation"], generation);
    let shots = stage.events("shot");
    let first = shots.iter().find(|shot| shot["cycle"] == cycle).unwrap();
    assert_eq!(events[0]["frame"], first["frame"]);
    let aired: Vec<u64> = shots.iter().filter_map(|shot| shot["cycle"].as_u64()).collect();
    let (unused, raw) = (unused(&stage), stage.raw_cycles());
    let made: Vec<u64> = unused.iter().copied().filter(|cycle| raw.contains(cycle)).collect();
    assert!(made.len() > 3, "a long ring was dropped: {unused:?}");
    assert!(unused.iter().all(|cycle| !aired.contains(cycle)), "{unused:?} of {aired:?}");
    let summary = stage.summary();
    assert_eq!(summary["steering"]["prompts"]["count"], 1);
    assert_eq!(summary["steering"]["prompts"]["arrived"][0]["cycle"], cycle);
}

#[test]
fn a_blend_travels_and_the_brief_comes_back() {
    let stage = stage();
    let mut show = begun(&stage);
    set(&show, "/prompt/slot_a", json!("ice"));
    set(&show, "/prompt/slot_b", json!("fire"));
    set(&show, "/prompt/slots", json!(true));
    arrived(&mut show, "/prompt/slots");
    set(&show, "/prompt/travel", json!(4));
    set(&show, "/prompt/blend", json!(1));
    let began = arrived(&mut show, "/prompt/blend")["cycle"].as_u64().unwrap();
    show.until_state("the way", |state| state["on_air"]["cycle"].as_u64() >= Some(began + 3));
    set(&show, "/prompt/brief", Value::Null);
    let back = arrived(&mut show, "/prompt/text")["cycle"].as_u64().unwrap();
    show.stop();
    let steered: Vec<Value> = (began..began + 4).map(|n| stage.briq(n)).collect();
    let prompts: Vec<&str> = steered.iter().map(|briq| briq["prompt"].as_str().unwrap()).collect();
    assert_eq!(prompts, ["(fire:0.33), ice", "ice, fire", "(ice:0.33), fire", "fire"]);
    let blends: Vec<f64> =
        steered.iter().map(|briq| briq["steered"]["blend"].as_f64().unwrap()).collect();
    assert_eq!(blends, [0.25, 0.5, 0.75, 1.0]);
    let [first, back] = [0, back].map(|n| stage.briq(n));
    let brief = first["prompt"].as_str().unwrap();
    assert!(back["prompt"].as_str().unwrap().starts_with(brief), "{} of {brief}", back["prompt"]);
    assert_eq!(back.get("steered"), None);
}

#[test]
fn changes_without_end_never_starve_the_picture() {
    let stage = stage();
    let mut show = begun(&stage);
    for n in 0..60 {
        set(&show, "/gen/denoise", json!(0.2 + f64::from(n % 7) * 0.1));
        if n % 10 == 0 {
            set(&show, "/prompt/text", json!(format!("smoke of colour {n}")));
        }
        frames(&mut show, 6);
    }
    set(&show, "/gen/now", Value::Null);
    arrived(&mut show, "/gen/now");
    show.stop();
    let summary = stage.summary();
    // A machine that is too busy to make cycles as fast as they are shown runs dry all the same.
    let seconds: Vec<f64> = stage
        .events("cycle")
        .iter()
        .filter(|cycle| cycle["status"] == "generated")
        .filter_map(|cycle| cycle["seconds"].as_f64())
        .collect();
    let slowest = seconds.iter().copied().fold(0.0, f64::max);
    println!("{} underruns; the slowest cycle took {slowest} s", summary["underruns"]);
    assert!(summary["underruns"] == 0 || slowest > 1.5, "{summary}");
    assert_eq!(summary["cycles"]["failed"], 0);
    assert!(summary["steering"]["prompts"]["count"].as_u64() >= Some(2), "{summary}");
}

#[test]
fn the_seed_can_be_locked() {
    let stage = stage();
    let mut show = begun(&stage);
    set(&show, "/gen/seed", json!(4711));
    set(&show, "/gen/seed_lock", json!(true));
    let cycle = arrived(&mut show, "/gen/seed_lock")["cycle"].as_u64().unwrap();
    show.until_state("the next", |state| state["on_air"]["cycle"].as_u64() > Some(cycle));
    show.stop();
    for n in [cycle, cycle + 1] {
        assert_eq!(stage.briq(n)["seed"], 4711, "cycle {n}");
    }
}

#[test]
fn where_nothing_is_generated_a_prompt_says_so() {
    let stage = stage();
    let mut show = stage.live(&["-b", "mock", "--no-record"]);
    show.until("two cycles", SOON, |_| (stage.raw_cycles().len() >= 2).then_some(()));
    show.stop();
    let mut show = stage.live(&["--play", "--no-record"]);
    show.until_state("a cycle", |state| state["cycles"]["played"].as_u64() > Some(0));
    set(&show, "/prompt/text", json!("crimson ink"));
    let state = show.until_state("a warning", |state| {
        state["warnings"].as_array().is_some_and(|warnings| !warnings.is_empty())
    });
    let warnings = state["warnings"].to_string();
    assert!(warnings.contains("/prompt/text") && warnings.contains("--play"), "{warnings}");
    assert!(state["steering"]["prompts"]["waiting"].as_array().unwrap().is_empty());
    show.stop();
}
