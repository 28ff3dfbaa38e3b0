//! `vfaq assemble`: the parts of a recording become one file, and stay what they are.
#![cfg(feature = "gst")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop")]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use gstreamer as gst;
use gstreamer::prelude::*;
use serde_json::{Value, json};

const SIZE: (u32, u32) = (320, 180);
const X264: &str = "x264enc bframes=0 key-int-max=60 speed-preset=ultrafast ! \
                    video/x-h264,profile=high";
const OPENH264: &str = "openh264enc";
const FINISHED: &str = "mp4mux";
/// As the program writes a recording, until it is finished.
const IN_FRAGMENTS: &str = "mp4mux fragment-duration=500 fragment-mode=first-moov-then-finalise";
/// What such a file is called as it was when the last picture had come.
const UNFINISHED: &str = "unfinished";

/// A project whose one recording has these parts.
struct Project {
    folder: tempfile::TempDir,
}

impl Project {
    fn new(parts: &[&str]) -> Self {
        let project = Project { folder: tempfile::tempdir().unwrap() };
        std::fs::create_dir(project.path("")).unwrap();
        let state = json!({
            "session_id": "0123456789ab",
            "recordings": [{
                "file": parts[0], "kind": "live", "frames": 1, "parts": parts, "complete": true,
                "from_the_future": [1, 2],
            }],
        });
        std::fs::write(project.path("factory_state.json"), state.to_string()).unwrap();
        project
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("out").join(name)
    }

    fn assemble(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vfaq"));
        command.current_dir(self.folder.path()).env_remove("RUST_LOG");
        command.args(["assemble", "-o", "out"]).args(arguments).output().unwrap()
    }

    /// What is in the folder, without the lock.
    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path("")).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name != ".lock");
        names.sort();
        names
    }

    fn state(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.path("factory_state.json")).unwrap()).unwrap()
    }
}

const PARTS: [&str; 2] = ["final_60fps_1080p.mp4", "final_60fps_1080p.part002.mp4"];
const JOINED: &str = "final_60fps_1080p_joined.mp4";

/// Makes a part of `frames` frames at 60 fps, with a tone.
fn make_part(path: &Path, frames: u32, video: &str, mux: &str) {
    gst::init().unwrap();
    let launch = format!(
        "videotestsrc num-buffers={frames} pattern=smpte ! \
         video/x-raw,format=I420,width={},height={},framerate=60/1,colorimetry=bt709 ! {video} ! \
         h264parse ! queue ! {mux} name=mux ! filesink location={} \
         audiotestsrc num-buffers={frames} samplesperbuffer=800 volume=0.2 ! \
         audio/x-raw,rate=48000,channels=2 ! avenc_aac ! aacparse ! queue ! mux.",
        SIZE.0,
        SIZE.1,
        path.display()
    );
    let launch = launch.replace("filesink", "filesink buffer-mode=unbuffered");
    let pipeline = gst::parse::launch(&launch).unwrap().downcast::<gst::Pipeline>().unwrap();
    if mux == IN_FRAGMENTS {
        let (from, to) = (path.to_owned(), path.with_extension(UNFINISHED));
        let pad = pipeline.by_name("mux").unwrap().static_pad("video_0").unwrap();
        pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
            if info.event().is_some_and(|event| event.type_() == gst::EventType::Eos) {
                std::fs::copy(&from, &to).unwrap();
            }
            gst::PadProbeReturn::Ok
        });
    }
    pipeline.set_state(gst::State::Playing).unwrap();
    let message = pipeline
        .bus()
        .unwrap()
        .timed_pop_filtered(
            gst::ClockTime::from_seconds(60),
            &[gst::MessageType::Eos, gst::MessageType::Error],
        )
        .expect("an end");
    assert!(!matches!(message.view(), gst::MessageView::Error(_)), "{message:?}");
    pipeline.set_state(gst::State::Null).unwrap();
}

#[track_caller]
fn text(output: &Output) -> String {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{text}{log}");
    text
}

#[track_caller]
fn refusal(output: &Output, code: i32) -> String {
    let log = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{log}");
    log
}

/// The encoded pictures of a file, without where they stand in it.
fn pictures(path: &Path) -> Vec<u8> {
    support::output_of(Command::new("ffmpeg").args(["-v", "error", "-i"]).arg(path).args([
        "-map",
        "0:v",
        "-c",
        "copy",
        "-f",
        "framehash",
        "-hash",
        "crc32",
        "-",
    ]))
    .split(|byte| *byte == b'\n')
    .filter(|line| line.first().is_some_and(|first| *first != b'#'))
    .flat_map(|line| [line.rsplit(|byte| *byte == b',').next().unwrap(), b"\n"].concat())
    .collect()
}

#[test]
fn parts_of_one_encoder_are_copied_one_behind_the_other() {
    let project = Project::new(&PARTS);
    make_part(&project.path(PARTS[0]), 100, X264, FINISHED);
    make_part(&project.path(PARTS[1]), 77, X264, FINISHED);
    let before: Vec<_> = PARTS.map(|part| std::fs::read(project.path(part)).unwrap()).into();

    let output = project.assemble(&[]);
    let said = text(&output);
    assert!(said.contains("177 frames, copied"), "{said}");

    support::assert_part(&project.path(JOINED), 177, SIZE);
    let parts = PARTS.map(|part| pictures(&project.path(part)));
    assert!(pictures(&project.path(JOINED)) == parts.concat(), "pictures are not the same");
    // The tone goes on behind the seam, and all of it is there.
    let sound = support::decode_sound(&project.path(JOINED));
    assert!(sound.len().abs_diff(177 * 800) <= 2 * 1024, "{} samples", sound.len());
    let loudest = |from: usize| sound[from..from + 2400].iter().fold(0f32, |a, b| a.max(b.abs()));
    assert!(loudest(20_000) > 0.1 && loudest(100 * 800 + 4800) > 0.1 && loudest(130_000) > 0.1);

    // The parts are as they were, and the project knows.
    for (part, before) in PARTS.iter().zip(before) {
        assert!(std::fs::read(project.path(part)).unwrap() == before, "{part} has changed");
    }
    let recording = &project.state()["recordings"][0];
    assert_eq!(recording["joined"], JOINED);
    assert_eq!(recording["parts"], json!(PARTS));
    assert_eq!(recording["from_the_future"], json!([1, 2]));
    assert_eq!(project.files(), ["factory_state.json", PARTS[0], PARTS[1], JOINED]);

    // Again: it is there, and stays.
    let joined = std::fs::read(project.path(JOINED)).unwrap();
    let said = text(&project.assemble(&["--recording", PARTS[0]]));
    assert!(said.contains("is there already"), "{said}");
    assert!(std::fs::read(project.path(JOINED)).unwrap() == joined);
}

#[test]
fn parts_of_two_encoders_are_encoded_again() {
    let project = Project::new(&PARTS);
    make_part(&project.path(PARTS[0]), 70, X264, FINISHED);
    make_part(&project.path(PARTS[1]), 95, OPENH264, FINISHED);
    let said = text(&project.assemble(&[]));
    assert!(said.contains("encoded again (x264, CRF 18, preset medium)"), "{said}");
    assert!(said.contains(&format!("{} is of another encoder", PARTS[1])), "{said}");

    let path = project.path(JOINED);
    let probe = support::assert_part(&path, 165, SIZE);
    for key in ["color_space", "color_primaries", "color_transfer"] {
        assert_eq!(probe.video[key], "bt709", "{key}");
    }
    // What is seen is what was seen, at both sides of the seam.
    let frames = support::decode_luma(&path, 64, 36);
    for (part, first) in PARTS.iter().zip([0, 70]) {
        let seen = support::decode_luma(&project.path(part), 64, 36);
        for (n, picture) in seen.iter().enumerate() {
            let difference = support::mean_difference(picture, &frames[first + n]);
            assert!(difference < 3.0, "{part}, picture {n}: {difference} levels");
        }
    }
}

#[test]
fn a_part_that_a_kill_cut_short_is_joined_as_far_as_it_plays() {
    let project = Project::new(&PARTS);
    let cut = project.path(PARTS[0]);
    make_part(&cut, 150, X264, IN_FRAGMENTS);
    let whole = std::fs::read(cut.with_extension(UNFINISHED)).unwrap();
    std::fs::write(&cut, &whole[..whole.len() * 7 / 10]).unwrap();
    assert!(support::mp4_boxes(&cut).contains(&"moof".into()));
    let plays = support::probe(&cut).video_pts.len();
    assert!((60..140).contains(&plays), "{plays} pictures are left");
    make_part(&project.path(PARTS[1]), 60, X264, FINISHED);

    let said = text(&project.assemble(&[]));
    println!("{said}; ffmpeg sees {plays} pictures in the cut part");
    let frames: usize =
        said.rsplit(": ").next().unwrap().split(' ').next().unwrap().parse().unwrap();
    // At most the fragment that was being written is lost.
    assert!(frames >= plays + 60 - 30 && frames <= plays + 60, "{said}");
    support::assert_part(&project.path(JOINED), frames, SIZE);
}

#[test]
fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let project = Project::new(&PARTS);
    make_part(&project.path(PARTS[0]), 30, X264, FINISHED);
    make_part(&project.path(PARTS[1]), 30, OPENH264, FINISHED);
    let state = project.state();
    let said = text(&project.assemble(&["--dry-run"]));
    assert!(said.contains("would join") && said.contains("60 frames"), "{said}");
    assert!(said.contains(JOINED) && said.contains("encoded again"), "{said}");
    assert_eq!(project.files(), ["factory_state.json", PARTS[0], PARTS[1]]);
    assert!(!project.path(".lock").exists());
    assert_eq!(project.state(), state);
}

#[test]
fn a_part_that_is_missing_or_broken_is_named_and_nothing_is_left_behind() {
    let project = Project::new(&PARTS);
    make_part(&project.path(PARTS[0]), 30, X264, FINISHED);
    let log = refusal(&project.assemble(&[]), 74);
    assert!(log.contains(PARTS[1]) && log.contains("No such file"), "{log}");
    for content in ["", "this is no recording at all, whatever its name says"] {
        std::fs::write(project.path(PARTS[1]), content).unwrap();
        let output = project.assemble(&[]);
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && log.contains(PARTS[1]), "{log}");
    }
    assert_eq!(project.files(), ["factory_state.json", PARTS[0], PARTS[1]]);
    assert_eq!(project.state()["recordings"][0]["joined"], Value::Null);
}

#[test]
fn where_nothing_is_to_be_joined_it_says_so() {
    let project = Project::new(&PARTS[..1]);
    let said = text(&project.assemble(&[]));
    assert!(said.contains("nothing to assemble"), "{said}");
    assert!(text(&project.assemble(&["--recording", PARTS[0]])).contains("nothing to assemble"));

    let log = refusal(&project.assemble(&["--recording", "other.mp4"]), 64);
    assert!(log.contains("other.mp4") && log.contains(PARTS[0]), "{log}");
    let log = refusal(&project.assemble(&["-n", "friday"]), 64);
    assert!(log.contains("-n and -o"), "{log}");
    std::fs::remove_file(project.path("factory_state.json")).unwrap();
    let log = refusal(&project.assemble(&[]), 64);
    assert!(log.contains("there is no project at out"), "{log}");
}
