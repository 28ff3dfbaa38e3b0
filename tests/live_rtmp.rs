//! Streaming to a real nginx: what it recorded is what the show was, servers that come and go are
//! survived, and what is wrong is said.
#![cfg(feature = "gst")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop")]

mod support;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use support::nginx::{Nginx, SlowWay, free_port};
use support::show::{Show, Stage, small, with};
use vfaq::base::clock::{Clock, SystemClock};

const SMALL: (u32, u32) = (640, 360);
const RECORDING: &str = "final_60fps_1080p.mp4";
/// Pictures of FLV stand on whole milliseconds.
const FRAME: f64 = 1.0 / 60.0 + 0.002;

/// The output whose address contains `text`; null before it is there.
fn output<'a>(state: &'a Value, text: &str) -> &'a Value {
    let outputs = state["outputs"].as_array().expect("outputs");
    let found = outputs.iter().find(|o| o["uri"].as_str().is_some_and(|uri| uri.contains(text)));
    found.unwrap_or(&Value::Null)
}

fn until_output(show: &mut Show, text: &str, is: &str) -> Value {
    let what = format!("{text} {is}");
    let state = show.until_state(&what, |state| output(state, text)["state"] == is);
    output(&state, text).clone()
}

/// Waits until a further two seconds of pictures have gone out.
fn two_seconds_on(show: &mut Show, text: &str) {
    let frames = |state: &Value| output(state, text)["frames"].as_u64().unwrap();
    let now = frames(&show.state());
    show.until_state("two seconds more", |state| frames(state) >= now + 120);
}

/// Presentation times of a kind of packets, in seconds, in the order of the file.
fn times(path: &Path, kind: &str) -> Vec<f64> {
    let text = support::output_of(
        Command::new("ffprobe")
            .args(["-v", "error", "-select_streams", kind])
            .args(["-show_entries", "packet=pts_time", "-of", "csv=p=0"])
            .arg(path),
    );
    let text = String::from_utf8(text).expect("text");
    // A packet with side data is followed by an empty line.
    let lines = text.lines().filter(|line| !line.is_empty());
    lines.map(|line| line.trim_matches(',').parse().expect("a time")).collect()
}

/// Asserts that all of a recorded stream can be decoded, from time 0 on, in order. Returns the
/// times of its pictures.
fn assert_stream(path: &Path) -> Vec<f64> {
    let shown = path.display();
    assert_eq!(support::complaints(path), "", "{shown}");
    let pictures = times(path, "v");
    assert_eq!(support::decode_grey(path, 16, 9).len(), pictures.len(), "{shown}");
    assert!(pictures[0] < 0.001, "{shown} begins at {}", pictures[0]);
    assert!(pictures.is_sorted_by(|a, b| a < b), "{shown}: {pictures:?}");
    let sound = times(path, "a");
    assert!(sound[0] < 0.023, "{shown}: sound begins at {}", sound[0]);
    for pair in sound.windows(2) {
        assert!((pair[1] - pair[0] - 1024.0 / 48_000.0).abs() < 0.0015, "{shown}: {pair:?}");
    }
    pictures
}

fn widest_gap(times: &[f64]) -> f64 {
    times.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max)
}

/// Where beeps begin, in seconds.
fn beeps_of(path: &Path) -> Vec<f64> {
    let sound = support::decode_sound(path);
    let start = times(path, "a")[0].max(0.0);
    let begins =
        |&i: &usize| sound[i].abs() > 0.2 && sound[i - 4000..i].iter().all(|s| s.abs() <= 0.2);
    // A stream may begin within one.
    (4000..sound.len()).filter(begins).map(|i| start + i as f64 / 48_000.0).collect()
}

#[test]
fn what_servers_record_is_the_show() {
    let nginx = Nginx::start();
    let stage = Stage::new(&small());
    support::beeps(&stage.path("w/beeps.wav"));
    stage.settings(&with(small(), json!({"live": {"audio": {"source": "file:beeps.wav"}}})));
    let odd = nginx.url("live", "odd_%C3%A4%20+&%23$?token=a%2Fb&x='y'");
    let summary =
        stage.whole_show(&["--for", "6", "--to", &odd, "--to", &nginx.url("live", "two")]);

    let log = nginx.log();
    assert!(log.contains("name='odd_ä +&#$' args='token=a"), "{log}");
    let recording = support::probe(&stage.project(RECORDING));
    let (_, length) = recording.video_span;
    let heard = beeps_of(&stage.project(RECORDING));
    for (name, output) in ["odd_", "two"].iter().zip(summary["outputs"].as_array().unwrap()) {
        assert_eq!(output["dropped_groups"], 0, "{output:#}");
        let files = nginx.recorded(name);
        let [file] = &files[..] else { panic!("{files:?}") };
        let pictures = assert_stream(file);
        assert_eq!(output["frames"].as_u64(), Some(pictures.len() as u64), "{output:#}");
        assert!(pictures.len() > 180, "{} pictures", pictures.len());
        assert!(widest_gap(&pictures) < FRAME, "{}", widest_gap(&pictures));
        // Both end with the show, so times before the end can be compared.
        let end = pictures.last().unwrap() + 1.0 / 60.0;
        let streamed = beeps_of(file);
        assert!(streamed.len() >= 2, "{streamed:?}");
        for (streamed, heard) in streamed.iter().rev().zip(heard.iter().rev()) {
            let apart_ms = ((end - streamed) - (length - heard)) * 1000.0;
            println!("{name}: sound {apart_ms:.2} ms off the recording's");
            assert!(apart_ms.abs() < 5.0, "{name}: {apart_ms} ms");
        }
    }
}

#[test]
fn a_server_that_dies_or_freezes_is_found_again() {
    let mut nginx = Nginx::start();
    let stage = Stage::new(&small());
    let url = nginx.url("live", "steady");
    let mut show = stage.live(&["--to", &url, "--to", "null:"]);
    until_output(&mut show, "rtmp:", "live");
    two_seconds_on(&mut show, "rtmp:");
    let clock = SystemClock::new();

    nginx.kill();
    let lost = until_output(&mut show, "rtmp:", "reconnecting");
    println!("killed: {}", lost["reason"]);
    nginx.again();
    let up = clock.now();
    let wait = output(&show.state(), "rtmp:")["retry_in_s"].as_f64().unwrap_or(0.0);
    until_output(&mut show, "rtmp:", "live");
    let took = (clock.now() - up).as_secs_f64();
    println!("back on air after {took:.2} s, of which {wait:.2} s back-off");
    assert!(took < wait + 3.0, "{took} s, of which {wait} s back-off");
    two_seconds_on(&mut show, "rtmp:");

    nginx.freeze();
    let frozen = clock.now();
    let lost = until_output(&mut show, "rtmp:", "reconnecting");
    let took = clock.now() - frozen;
    println!("frozen, noticed after {took:?}: {}", lost["reason"]);
    assert!(took < Duration::from_secs(5), "{took:?}");
    nginx.thaw();
    until_output(&mut show, "rtmp:", "live");
    two_seconds_on(&mut show, "rtmp:");
    let log = show.stop();
    nginx.stop();

    assert!(!log.contains("steady"), "{log}");
    let summary = stage.summary();
    let streamed = output(&summary, "rtmp:");
    assert!(streamed["reconnects"].as_u64() >= Some(2), "{streamed:#}");
    let frames = summary["frames"]["rendered"].as_u64().unwrap() as usize;
    support::assert_recording(&stage.project(RECORDING), frames, SMALL);
    let files = nginx.recorded("steady");
    assert!(files.len() >= 3, "{files:?}");
    // What a killed server wrote may end within a picture; what came through has no gap.
    for file in &files[1..] {
        let pictures = times(file, "v");
        assert!(widest_gap(&pictures) < FRAME, "{}: {pictures:?}", file.display());
    }
    assert_stream(files.last().unwrap());
}

#[test]
fn what_is_wrong_is_said_of_that_output_alone() {
    let nginx = Nginx::start();
    let stage = Stage::new(&small());
    let at = |port: u16| format!("rtmp://127.0.0.1:{port}/app/hidden_key");
    let same = format!("rtmp://localhost:{}/live/hidden_twin", nginx.port);
    let (web, nobody) = (nginx.http_port, free_port());
    let mut show = stage.live(&[
        "--to",
        &nginx.url("live", "hidden_twin"),
        "--to",
        &nginx.url("deny", "hidden_deny"),
        "--to",
        &nginx.url("hook", "hidden_hook"),
        "--to",
        "rtmp://no-such-host.invalid/app/hidden_key",
        "--to",
        &at(web),
        "--to",
        &at(nobody),
    ]);
    until_output(&mut show, "/live/", "live");
    for text in ["/deny/", "/hook/"] {
        until_output(&mut show, text, "failed");
    }
    for (text, state, said) in [
        ("/deny/", "failed", "closes the connection when the stream begins"),
        ("/hook/", "failed", "closes the connection when the stream begins"),
        ("no-such-host", "starting", "this host name is not known"),
        (&format!(":{web}/"), "starting", "no RTMP server"),
        (&format!(":{nobody}/"), "starting", "nothing listens there"),
    ] {
        // While it is tried again there is none.
        let is_said = |state: &Value| {
            output(state, text)["reason"].as_str().is_some_and(|reason| reason.contains(said))
        };
        let found = show.until_state(said, is_said);
        println!("{text}: {}", output(&found, text)["reason"]);
        assert_eq!(output(&found, text)["state"], state);
    }
    let state = show.state().to_string();
    let log = show.stop();
    for text in [state, log, stage.summary().to_string()] {
        assert!(!text.contains("hidden_"), "{text}");
    }

    // Somebody else streams there already.
    let mut first = stage.live(&["--no-record", "--to", &same]);
    until_output(&mut first, "rtmp:", "live");
    let other = Stage::new(&small());
    let mut second = other.live(&["--no-record", "--to", &same]);
    let refused = until_output(&mut second, "rtmp:", "failed");
    let reason = refused["reason"].as_str().unwrap();
    println!("{reason}");
    assert!(reason.contains("Already publishing"), "{reason}");
    second.stop();
    first.stop();
}

#[test]
fn a_slow_way_costs_groups_of_pictures_and_nothing_else() {
    let mut nginx = Nginx::start();
    let way = SlowWay::to(nginx.port, 700);
    let stage = Stage::new(&small());
    let url = format!("rtmp://127.0.0.1:{}/live/slow#adaptive=false", way.port);
    let summary = stage.whole_show(&["--for", "14", "--to", &url]);

    let slow = output(&summary, "rtmp:");
    println!("{slow:#}");
    assert!(slow["dropped_groups"].as_u64() > Some(0), "{slow:#}");
    assert!(slow["dropped_frames"].as_u64() > slow["dropped_groups"].as_u64(), "{slow:#}");
    assert_eq!(slow["reconnects"], 0, "{slow:#}");
    let frames = summary["frames"]["rendered"].as_u64().unwrap() as usize;
    support::assert_recording(&stage.project(RECORDING), frames, SMALL);
    // What is on its way may yet be written.
    nginx.stop();
    let files = nginx.recorded("slow");
    let [file] = &files[..] else { panic!("{files:?}") };
    let pictures = assert_stream(file);
    assert!(pictures.len() > 60 && widest_gap(&pictures) > 0.1, "{}", pictures.len());
}

#[test]
fn a_frozen_server_is_seen_on_its_own_output_alone() {
    let nginx = Nginx::start();
    let other = Nginx::start_at("127.0.0.2", nginx.port);
    let stage = Stage::new(&small());
    let (frozen, fine) = (nginx.url("live", "frozen"), other.url("live", "fine"));
    let mut show = stage.live(&["--no-record", "--to", &frozen, "--to", &fine]);
    for server in ["127.0.0.1", "127.0.0.2"] {
        until_output(&mut show, server, "live");
    }
    two_seconds_on(&mut show, "127.0.0.2");
    nginx.freeze();
    let clock = SystemClock::new();
    let lost = until_output(&mut show, "127.0.0.1", "reconnecting");
    println!("noticed after {:?}: {}", clock.now(), lost["reason"]);
    assert!(clock.now() < Duration::from_secs(5), "{:?}", clock.now());
    two_seconds_on(&mut show, "127.0.0.2");
    let state = show.state();
    let unharmed = output(&state, "127.0.0.2");
    assert_eq!(unharmed["state"], "live", "{unharmed:#}");
    assert_eq!(unharmed["reconnects"], 0, "{unharmed:#}");
    assert_eq!(unharmed["dropped_groups"], 0, "{unharmed:#}");
    nginx.thaw();
    show.stop();
}

#[test]
fn a_slow_way_lowers_the_bitrate_and_the_recording_misses_nothing() {
    let nginx = Nginx::start();
    let way = SlowWay::to(nginx.port, 700);
    let stage = Stage::new(&with(small(), json!({"live": {"min_bitrate_kbps": 300}})));
    let url = format!("rtmp://127.0.0.1:{}/live/slow", way.port);
    let mut show = stage.live(&["--to", &url]);
    show.until("a lower bitrate", Duration::from_secs(60), |show| {
        show.state()["warnings"].to_string().contains("encoding at").then_some(())
    });
    two_seconds_on(&mut show, "rtmp:");
    let log = show.stop();
    let lowered: Vec<&str> = log.lines().filter(|line| line.contains("encoding at")).collect();
    println!("{lowered:#?}");
    let summary = stage.summary();
    assert_eq!(output(&summary, "rtmp:")["reconnects"], 0, "{summary:#}");
    let frames = summary["frames"]["rendered"].as_u64().unwrap() as usize;
    support::assert_recording(&stage.project(RECORDING), frames, SMALL);
}
