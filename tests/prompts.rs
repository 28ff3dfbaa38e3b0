//! Prompts that are steered in a running show, until they are on air.

mod support;

use serde_json::{Value, json};
use support::show::{Show, Stage, small, with};

fn set(show: &Show, address: &str, value: Value) -> u64 {
    let answer = show.put(&format!("/api/v1/params{address}"), &json!({ "value": value }));
    let receipt: Value = answer.json().expect("a receipt");
    receipt["generation"].as_u64().unwrap_or_else(|| panic!("{address}: {receipt}"))
}

/// Waits until so many changes of prompts have come to be seen; they, newest last.
fn arrived(show: &mut Show, count: u64) -> Vec<Value> {
    let state = show.until_state("changes on air", |state| {
        state["steering"]["prompts"]["count"].as_u64() >= Some(count)
    });
    state["steering"]["prompts"]["arrived"].as_array().unwrap().clone()
}

/// Waits for so many frames.
fn frames(show: &mut Show, count: u64) {
    let sent = |state: &Value| state["frames"]["rendered"].as_u64().unwrap();
    let before = sent(&show.state());
    show.until_state("frames", |state| sent(state) >= before + count);
}

/// A ring that holds many more cycles than a change may wait for.
fn long_ring() -> Value {
    with(small(), json!({"live": {"buffer_seconds": 20}}))
}

fn full_ring(show: &mut Show) {
    show.until_state("a full ring", |state| state["runway_s"]["now"].as_f64() > Some(15.0));
}

#[test]
fn a_prompt_is_on_air_long_before_the_ring_is_through() {
    let stage = Stage::new(&long_ring());
    let mut show = stage.live(&["-b", "mock"]);
    full_ring(&mut show);
    let generation = set(&show, "/prompt/text", json!("crimson ink in black water"));
    let seen = arrived(&mut show, 1);
    show.stop();
    let (cycle, seconds) =
        (seen[0]["cycle"].as_u64().unwrap(), seen[0]["seconds"].as_f64().unwrap());
    assert_eq!(seen[0]["address"], "/prompt/text");
    assert!(seconds < 6.0, "{seconds} s with 15 s in the ring");

    let briq = stage.briq(cycle);
    assert_eq!(briq["prompt"], "crimson ink in black water");
    let events = stage.events("steered");
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["generation"], generation);
    let shots = stage.events("shot");
    let first = shots.iter().find(|shot| shot["cycle"] == cycle).unwrap();
    assert_eq!(events[0]["frame"], first["frame"]);
    let aired: Vec<u64> = shots.iter().filter_map(|shot| shot["cycle"].as_u64()).collect();
    let unused: Vec<u64> = stage
        .events("cycle")
        .iter()
        .filter(|entry| entry["status"] == "unused")
        .map(|entry| entry["cycle"].as_u64().unwrap())
        .collect();
    assert!(unused.len() > 5, "a ring of 15 cycles was dropped: {unused:?}");
    for cycle in &unused {
        assert!(!aired.contains(cycle), "cycle {cycle} aired and is unused");
        assert!(stage.raw_cycles().contains(cycle), "what was made is kept");
    }
    let summary = stage.summary();
    assert_eq!(summary["underruns"], 0);
    assert_eq!(summary["steering"]["prompts"]["count"], 1);
}

#[test]
fn a_blend_travels_and_the_brief_comes_back() {
    let stage = Stage::new(&long_ring());
    let mut show = stage.live(&["-b", "mock"]);
    full_ring(&mut show);
    set(&show, "/prompt/slot_a", json!("ice"));
    set(&show, "/prompt/slot_b", json!("fire"));
    set(&show, "/prompt/slots", json!(true));
    arrived(&mut show, 1);
    set(&show, "/prompt/travel", json!(4));
    set(&show, "/prompt/blend", json!(1));
    let began = arrived(&mut show, 4).last().unwrap()["cycle"].as_u64().unwrap();
    show.until_state("the way", |state| state["on_air"]["cycle"].as_u64() >= Some(began + 3));
    set(&show, "/prompt/brief", Value::Null);
    show.until_state("the brief", |state| {
        let arrived = state["steering"]["prompts"]["arrived"].as_array().unwrap();
        arrived.last().is_some_and(|last| last["cycle"].as_u64() > Some(began + 3))
    });
    show.stop();
    let prompts: Vec<String> =
        (began..began + 4).map(|n| stage.briq(n)["prompt"].as_str().unwrap().to_owned()).collect();
    assert_eq!(prompts, ["(fire:0.33), ice", "ice, fire", "(ice:0.33), fire", "fire"]);
    let last = *stage.raw_cycles().last().unwrap();
    let back = stage.briq(last)["prompt"].as_str().unwrap().to_owned();
    assert!(back.starts_with("Bright golden clouds over a coral sea, fast waves."), "{back}");
}

#[test]
fn changes_without_end_never_starve_the_picture() {
    let stage = Stage::new(&small());
    let mut show = stage.live(&["-b", "mock"]);
    show.until_state("a full ring", |state| state["runway_s"]["now"].as_f64() > Some(4.0));
    for n in 0..60 {
        set(&show, "/gen/denoise", json!(0.2 + f64::from(n % 7) * 0.1));
        if n % 10 == 0 {
            set(&show, "/prompt/text", json!(format!("smoke of colour {n}")));
        }
        frames(&mut show, 6);
    }
    set(&show, "/gen/now", Value::Null);
    frames(&mut show, 180);
    show.stop();
    let summary = stage.summary();
    assert_eq!(summary["underruns"], 0);
    assert_eq!(summary["cycles"]["failed"], 0);
    assert!(summary["steering"]["prompts"]["count"].as_u64() >= Some(2), "{summary}");
}

#[test]
fn the_seed_can_be_locked() {
    let stage = Stage::new(&small());
    let mut show = stage.live(&["-b", "mock"]);
    show.until_state("a full ring", |state| state["runway_s"]["now"].as_f64() > Some(4.0));
    set(&show, "/gen/seed", json!(4711));
    set(&show, "/gen/seed_lock", json!(true));
    let cycle = arrived(&mut show, 2)[1]["cycle"].as_u64().unwrap();
    show.until_state("the next", |state| state["on_air"]["cycle"].as_u64() > Some(cycle));
    show.stop();
    for n in [cycle, cycle + 1] {
        assert_eq!(stage.briq(n)["seed"], 4711, "cycle {n}");
    }
}
