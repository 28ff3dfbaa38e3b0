//! What lies over the picture, as the audience gets it: switched over HTTP, read back out of the
//! recording and out of a stream.
#![cfg(feature = "gst")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop")]

mod support;

use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use support::show::{SOON, Show, Stage, small, with};

const CANVAS: (u32, u32) = (640, 360);
const URL: &str = "https://example.org/tonight";

fn set(show: &Show, address: &str, value: impl Into<Value>) {
    let answer =
        show.put(&format!("/api/v1/params/overlay/{address}"), &json!({"value": value.into()}));
    assert_eq!(answer.status(), 200, "{address}: {}", answer.text().unwrap());
}

fn frames_later(show: &mut Show, frames: u64) {
    let rendered = |state: &Value| state["frames"]["rendered"].as_u64().unwrap();
    let now = rendered(&show.state());
    show.until_state("further frames", |state| rendered(state) >= now + frames);
}

/// What is said of the machine's speed depends on who else uses it.
fn assert_no_trouble(state: &Value) {
    let of_speed = |text: &&Value| {
        let text = text.as_str().unwrap_or_default();
        text.starts_with("this machine") || text.starts_with("the generator is behind")
    };
    let warnings = state["warnings"].as_array().expect("a list");
    let trouble: Vec<&Value> = warnings.iter().filter(|text| !of_speed(text)).collect();
    assert!(trouble.is_empty(), "{trouble:?}");
}

fn until_warned(show: &mut Show, text: &str) {
    show.until_state(text, |state| state["warnings"].to_string().contains(text));
}

fn until_calm(show: &mut Show, text: &str) {
    show.until_state(text, |state| !state["warnings"].to_string().contains(text));
}

/// What a QR code in the picture says.
fn read_qr(luma: &[u8], (width, height): (u32, u32)) -> Option<String> {
    let pixel = |x: usize, y: usize| luma[y * width as usize + x];
    let (width, height) = (width as usize, height as usize);
    let mut picture = rqrr::PreparedImage::prepare_from_greyscale(width, height, pixel);
    picture.detect_grids().iter().find_map(|grid| Some(grid.decode().ok()?.1))
}

/// The preview as the page has it.
fn preview(show: &Show) -> image::RgbImage {
    let bytes = show.get("/preview.jpg").bytes().unwrap();
    image::load_from_memory(&bytes).unwrap().into_rgb8()
}

/// A magenta square as a PNG.
fn logo() -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let square = image::RgbaImage::from_pixel(64, 64, image::Rgba([255, 0, 255, 255]));
    square.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

fn stage(overlays: Value) -> Stage {
    let stage = Stage::new(&small());
    stage.write("w/overlays/README", "");
    std::fs::write(stage.path("w/overlays/logo.png"), logo()).unwrap();
    stage.settings(&with(small(), json!({"overlays": overlays})));
    stage
}

/// So few pictures a second that any machine shows each of them.
const CALM_FPS: u32 = 20;

fn recording(stage: &Stage) -> Vec<Vec<u8>> {
    let summary = stage.summary();
    let part = summary["recording"]["parts"][0].as_str().expect("a recording").to_owned();
    support::decode_luma(&stage.path("").join(part), CANVAS.0, CANVAS.1)
}

#[test]
fn overlays_and_screens_fade_in_and_out_in_the_recording() {
    let overlays = json!({"qr_url": URL, "text": "Übergang Привет Ωμέγα", "fade": 1});
    let stage = stage(overlays.clone());
    let calm = json!({"overlays": overlays, "live": {"fps": CALM_FPS}});
    stage.settings(&with(small(), calm));
    let mut show = stage.live(&[]);
    show.until_state("the show", |state| state["frames"]["rendered"].as_u64() > Some(10));
    // A code in the middle, half as high as the picture.
    for (part, value) in [("x", 0.5), ("y", 0.5), ("size", 0.5)] {
        set(&show, &format!("qr/{part}"), value);
    }
    frames_later(&mut show, 15);
    set(&show, "qr/on", true);
    frames_later(&mut show, 60);
    set(&show, "qr/on", false);
    frames_later(&mut show, 40);

    set(&show, "logo/file", "logo.png");
    set(&show, "logo/size", 0.3);
    set(&show, "logo/x", 0.0);
    set(&show, "logo/y", 0.0);
    set(&show, "logo/on", true);
    show.until("the logo in the corner of the preview", SOON, |show| {
        let pixel = preview(show).get_pixel(20, 20).0;
        (pixel[0] > 200 && pixel[1] < 80 && pixel[2] > 200).then_some(())
    });
    set(&show, "logo/on", false);
    set(&show, "screen_line", "Doors at eight");
    set(&show, "screen", "be_right_back");
    frames_later(&mut show, 60);
    set(&show, "screen", "off");
    frames_later(&mut show, 40);
    let state = show.state();
    assert_no_trouble(&state);
    show.stop();

    let frames = recording(&stage);
    let codes: Vec<bool> =
        frames.iter().map(|luma| read_qr(luma, CANVAS).as_deref() == Some(URL)).collect();
    let first = codes.iter().position(|code| *code).expect("a QR code in the recording");
    let last = codes.iter().rposition(|code| *code).expect("one");
    let read = codes.iter().filter(|code| **code).count();
    println!("{} frames, the code is read in {read}: {first} to {last}", frames.len());
    assert!(first > 10 && last + 40 < frames.len() && read >= 30, "{read} of {first} to {last}");
    // A place in the quiet zone becomes white over 20 frames, the second half over 10; those in which
    // a busy machine showed the picture before once more do not count.
    let quiet = |n: usize| frames[n][(180 - 66) * 640 + 320];
    let offset = stage.events("recording")[0]["frame"].as_u64().unwrap() as usize;
    let held: Vec<(usize, usize)> = stage
        .events("held")
        .iter()
        .map(|e| ["frame", "frames"].map(|key| e[key].as_u64().unwrap() as usize))
        .map(|[frame, frames]| (frame, frame + frames))
        .collect();
    let drawn = |n: &usize| !held.iter().any(|(from, to)| (*from..*to).contains(&(n + offset)));
    let start = first.saturating_sub(30);
    let white = (start..last).map(quiet).max().expect("frames");
    println!("{} before, {white} at its lightest", quiet(start));
    assert!(white > 200, "{white} is not white");
    let full = (start..last).find(|n| quiet(*n) > white - 10).expect("white");
    let half = |n: &usize| quiet(*n) < white - (white - quiet(start).min(white - 30)) / 2;
    let middle = (start..full).rev().find(half).expect("half of it");
    let fading = (middle..full).filter(drawn).count();
    println!("half at {middle}, white at {full}; {fading} pictures between");
    assert!((3..=20).contains(&fading), "{fading} pictures from half to white");

    // The screen: a dark picture with white words in its middle.
    let waits = |luma: &Vec<u8>| {
        let bright = |range: std::ops::Range<usize>| {
            let rows = &luma[range.start * 640..range.end * 640];
            rows.iter().filter(|y| **y > 215).count() * 1000 / rows.len()
        };
        bright(140..220) > 25 && bright(0..80) == 0 && bright(280..360) == 0
    };
    let waiting: Vec<usize> = (last..frames.len()).filter(|n| waits(&frames[*n])).collect();
    println!("{} frames of the screen", waiting.len());
    assert!(waiting.len() >= 20, "{waiting:?}");
    // Where it had words, whatever picture is there instead.
    let screen = &frames[waiting[waiting.len() / 2]];
    let words: Vec<usize> = (140 * 640..220 * 640).filter(|at| screen[*at] > 215).collect();
    let left = words.iter().filter(|at| frames[frames.len() - 1][**at] > 215).count();
    assert!(left * 2 < words.len(), "the screen stayed: {left} of {}", words.len());
}

/// ffmpeg, writing what it gets from an SRT address into a file.
struct Receiver(Child);

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_clean_recording_is_without_what_is_for_the_stream_alone() {
    let stage = stage(json!({
        "clean_recording": true, "qr_url": URL, "text": "IN BOTH", "show": ["qr", "text"],
    }));
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let stream = stage.path("stream.ts");
    let mut receiver = Receiver(
        Command::new("ffmpeg")
            .args(["-v", "error", "-analyzeduration", "500000"])
            .args(["-i", &format!("srt://127.0.0.1:{port}?mode=listener")])
            .args(["-map", "0:v", "-c", "copy", "-flush_packets", "1", "-f", "mpegts", "-y"])
            .arg(&stream)
            .stdin(Stdio::null())
            .spawn()
            .expect("ffmpeg"),
    );
    let mut show = stage.live(&["--to", &format!("srt://127.0.0.1:{port}")]);
    set(&show, "qr/where", "stream");
    set(&show, "qr/size", 0.6);
    set(&show, "text/size", 0.2);
    set(&show, "text/y", 0.9);
    set(&show, "qr/x", 0.5);
    set(&show, "qr/y", 0.35);
    show.until("some seconds of stream", SOON, |_| {
        std::fs::metadata(&stream).is_ok_and(|file| file.len() > 300_000).then_some(())
    });
    frames_later(&mut show, 60);
    let state = show.state();
    assert_no_trouble(&state);
    show.stop();
    kill(Pid::from_raw(receiver.0.id() as i32), Signal::SIGINT).expect("a running process");
    let _ = receiver.0.wait();

    let frames = support::decode_luma(&stream, CANVAS.0, CANVAS.1);
    let read = frames.iter().filter(|f| read_qr(f, CANVAS).as_deref() == Some(URL)).count();
    println!("the stream has {} frames, and the code in {read}", frames.len());
    assert!(read > 60 && read + 30 > frames.len() / 2, "{read} of {}", frames.len());
    let recorded = recording(&stage);
    // The first pictures are from before the change.
    let later = &recorded[recorded.len() / 2..];
    assert!(later.len() > 60);
    assert!(later.iter().all(|f| read_qr(f, CANVAS).is_none()), "the code is in the recording");
    // Both have the text.
    for frame in [later.last().unwrap(), frames.last().unwrap()] {
        let white = frame[290 * 640..350 * 640].iter().filter(|y| **y > 215).count();
        assert!(white > 1000, "{white}");
    }
}

#[test]
fn what_is_wrong_with_an_overlay_is_said_and_the_show_goes_on() {
    let stage = stage(json!({"now_playing_file": "now.txt", "show": ["now_playing"]}));
    stage.write("w/overlays/text.png", "no picture");
    let mut show = stage.live(&["--to", "null:"]);
    until_warned(&mut show, "now.txt is not there yet");
    // As a DJ program on Windows writes it.
    let line: Vec<u8> = [0xff, 0xfe]
        .into_iter()
        .chain("Sigur Rós – Svefn-g-englar\r\nmore".encode_utf16().flat_map(u16::to_le_bytes))
        .collect();
    std::fs::write(stage.path("w/now.txt"), line).unwrap();
    until_calm(&mut show, "now.txt");
    let playing = |show: &Show| -> Value {
        let params: Value = show.get("/api/v1/params").json().unwrap();
        let found = params
            .as_array()
            .unwrap()
            .iter()
            .find(|p| p["address"] == "/overlay/now_playing/value");
        found.unwrap()["value"].clone()
    };
    show.until("what is playing", SOON, |show| {
        (playing(show) == "Sigur Rós – Svefn-g-englar").then_some(())
    });

    set(&show, "logo/on", true);
    until_warned(&mut show, "the logo is on, but none is chosen");
    for (file, said) in [
        ("none.png", "there is no such file"),
        ("../config.yaml", "no name of a file"),
        ("text.png", "this is no PNG"),
    ] {
        set(&show, "logo/file", file);
        until_warned(&mut show, said);
    }
    // It is looked for again when it is repaired.
    std::fs::write(stage.path("w/overlays/text.png"), logo()).unwrap();
    until_calm(&mut show, "the logo");
    set(&show, "logo/where", "stream");
    until_warned(&mut show, "overlays.clean_recording: true");
    set(&show, "logo/where", "everywhere");
    until_calm(&mut show, "the logo");

    set(&show, "qr/on", true);
    until_warned(&mut show, "leads nowhere");
    set(&show, "qr/value", "x".repeat(200));
    set(&show, "qr/size", 0.1);
    until_warned(&mut show, "too small to be read");
    set(&show, "qr/on", false);
    until_calm(&mut show, "QR");

    for text in [
        "🎉🕺🏽 العربية 日本語 \u{1f468}\u{200d}\u{1f469}",
        &"W".repeat(200),
        &"wide words ".repeat(18),
    ] {
        set(&show, "text/value", text);
        set(&show, "text/on", true);
        frames_later(&mut show, 30);
    }
    let long = show.put("/api/v1/params/overlay/text/value", &json!({"value": "x".repeat(201)}));
    assert_eq!(long.status(), 400);
    frames_later(&mut show, 30);
    let state = show.state();
    assert_no_trouble(&state);
    show.stop();
    assert!(recording(&stage).len() > 100);
}
