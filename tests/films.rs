//! `vfaq assemble` as a user runs it: what is made of a project's cycles, and what is refused.
#![cfg(feature = "gst")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop")]

mod support;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use support::seed::{Age, Looping, Seed};
use support::show::{Stage, small, with};

const MASTER: &str = "final_output.mp4";
const DELIVERABLE: &str = "final_60fps_1080p.mp4";
const SIZE: (u32, u32) = (320, 180);

/// Settings with a deliverable that costs little.
fn settings() -> Value {
    let finalizer = json!({"upscale_resolution": "320x180", "encoder_preference": ["libx264"]});
    with(small(), json!({"finalizer": finalizer}))
}

/// In the project `out`, unless another is named.
fn vfaq(stage: &Stage, arguments: &[&str]) -> Output {
    let named = arguments.contains(&"-n");
    let mut command = stage.vfaq(if named { &["-w", "w"] } else { &["-w", "w", "-o", "out"] });
    command.args(arguments).output().unwrap()
}

fn runs(stage: &Stage, arguments: &[&str]) -> String {
    let output = vfaq(stage, arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {}\n{said}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

fn fails(stage: &Stage, arguments: &[&str]) -> (i32, String) {
    let output = vfaq(stage, arguments);
    assert!(!output.status.success(), "{arguments:?}");
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// The luma of every frame, at a size at which nothing is lost that counts.
fn pictures(path: &Path) -> Vec<Vec<u8>> {
    support::decode_luma(path, 64, 36)
}

fn clips(stage: &Stage, cycles: &[u32]) -> Vec<PathBuf> {
    let name = |cycle| format!("videos/cycle{cycle:04}_video.mp4");
    cycles.iter().map(|cycle| stage.project(&name(*cycle))).collect()
}

/// The base master is the clips one after the other, picture for picture, evenly spaced.
fn assert_master(master: &Path, clips: &[PathBuf], copied: bool) -> usize {
    let whole: Vec<Vec<u8>> = clips.iter().flat_map(|clip| pictures(clip)).collect();
    let film = pictures(master);
    assert_eq!(film.len(), whole.len());
    for (n, (film, clip)) in film.iter().zip(&whole).enumerate() {
        let off = support::mean_difference(film, clip);
        assert!(off < if copied { 0.01 } else { 3.0 }, "frame {n} is off by {off}");
    }
    assert_eq!(support::complaints(master), "");
    let probe = support::probe(master);
    assert_eq!(probe.video["r_frame_rate"], "8/1");
    let places: Vec<f64> = probe.places().iter().map(|place| place * 8.0 / 60.0).collect();
    assert_eq!(places, (0..film.len()).map(|n| n as f64).collect::<Vec<_>>());
    film.len()
}

fn chapters(path: &Path) -> Vec<(f64, String)> {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args(["-v", "error", "-show_chapters", "-of", "json"]).arg(path);
    let json: Value = serde_json::from_slice(&support::output_of(&mut ffprobe)).unwrap();
    let chapter = |chapter: &Value| {
        let start = chapter["start_time"].as_str().unwrap().parse().unwrap();
        (start, chapter["tags"]["title"].as_str().unwrap().to_owned())
    };
    json["chapters"].as_array().unwrap().iter().map(chapter).collect()
}

fn tags(path: &Path) -> Value {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args(["-v", "error", "-show_format", "-of", "json"]).arg(path);
    let json: Value = serde_json::from_slice(&support::output_of(&mut ffprobe)).unwrap();
    json["format"]["tags"].clone()
}

/// Every file under a folder but the lock, by its name.
fn snapshot(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(snapshot(&path)),
            false if path.ends_with(".lock") => {}
            false => files.push((path.clone(), std::fs::read(&path).unwrap())),
        }
    }
    files.sort();
    files
}

#[test]
fn a_run_ends_with_its_film() {
    let stage = Stage::new(&settings());
    let said = runs(&stage, &["run", "-c", "3"]);
    assert!(said.contains("final_output.mp4: 24 frames"), "{said}");
    assert!(said.contains("final_60fps_1080p.mp4: 180 frames"), "{said}");
    let (master, deliverable) = (stage.project(MASTER), stage.project(DELIVERABLE));
    assert_eq!(assert_master(&master, &clips(&stage, &[0, 1, 2]), true), 24);
    support::assert_grid(&deliverable, 180, SIZE);
    assert_eq!(support::complaints(&deliverable), "");

    // It flows from picture to picture: every eighth of a second it is the one of the base master.
    let (slow, fast) = (pictures(&master), pictures(&deliverable));
    for (n, picture) in slow.iter().enumerate() {
        let at = &fast[(n * 60).div_ceil(8)];
        let off = support::mean_difference(picture, at);
        assert!(off < 4.0, "picture {n} is off by {off}");
    }
    let moves = |film: &[Vec<u8>]| {
        film.windows(2).filter(|two| support::mean_difference(&two[0], &two[1]) > 0.01).count()
    };
    assert!(moves(&fast) > 140, "{} of 179 steps move", moves(&fast));

    for film in [&master, &deliverable] {
        let chapters = chapters(film);
        let starts: Vec<f64> = chapters.iter().map(|(start, _)| *start).collect();
        assert_eq!(starts, [0.0, 1.0, 2.0]);
        assert!(chapters[1].1.starts_with("0001 Bright golden clouds"), "{chapters:?}");
        let tags = tags(film);
        assert_eq!(tags["title"], "out");
        assert!(tags["comment"].as_str().unwrap().starts_with("tasq.md sha256 "), "{tags}");
        assert!(tags["encoder"].as_str().unwrap().starts_with("Visual FaQtory Live "), "{tags}");
        let boxes = support::mp4_boxes(film);
        let at = |kind: &str| boxes.iter().position(|found| found == kind);
        assert!(at("moov") < at("mdat"), "it plays while it is still loaded: {boxes:?}");
    }
    let state = stage.state();
    assert_eq!(state["base_master"]["cycles"], json!([0, 1, 2]));
    assert_eq!(state["base_master"]["copied"], true);
    let recording = &state["recordings"][0];
    assert_eq!(recording["file"], DELIVERABLE);
    assert_eq!((&recording["kind"], &recording["frames"]), (&json!("assembled"), &json!(180)));

    // None is made twice, nothing is left over.
    let before = snapshot(&stage.path("out"));
    let said = runs(&stage, &["assemble"]);
    assert!(said.contains("final_output.mp4 is there already"), "{said}");
    assert!(said.contains("final_60fps_1080p.mp4 is there already"), "{said}");
    assert!(before == snapshot(&stage.path("out")));
    assert!(!before.iter().any(|(path, _)| path.display().to_string().contains(".vfaq-")));
    assert!(!stage.project(".finalizing").exists());
}

#[test]
fn what_grows_gets_a_new_film_and_the_old_one_stays() {
    let stage = Stage::new(&settings());
    runs(&stage, &["run", "-c", "2"]);
    let (master, film) =
        (std::fs::read(stage.project(MASTER)), std::fs::read(stage.project(DELIVERABLE)));
    let said = runs(&stage, &["run", "-c", "3"]);
    assert!(said.contains("kept as final_output_001.mp4"), "{said}");
    assert!(master.unwrap() == std::fs::read(stage.project("final_output_001.mp4")).unwrap());
    assert!(film.unwrap() == std::fs::read(stage.project(DELIVERABLE)).unwrap());
    assert_master(&stage.project(MASTER), &clips(&stage, &[0, 1, 2]), true);
    support::assert_grid(&stage.project("final_60fps_1080p_002.mp4"), 180, SIZE);
    let state = stage.state();
    let files = state["recordings"].as_array().unwrap().iter().map(|entry| &entry["file"]);
    assert_eq!(files.collect::<Vec<_>>(), [DELIVERABLE, "final_60fps_1080p_002.mp4"]);
    // Other settings make another deliverable, of the same base master.
    let finer = with(settings(), json!({"finalizer": {"quality": {"crf": 30}}}));
    stage.settings(&finer);
    let said = runs(&stage, &["assemble"]);
    assert!(said.contains("final_output.mp4 is there already"), "{said}");
    assert!(stage.project("final_60fps_1080p_003.mp4").is_file());
}

#[test]
fn films_of_the_predecessors_projects() {
    for (looping, mode, age) in [
        (Looping::Pingpong, "text", Age::Last),
        (Looping::Crossfade, "image", Age::Last),
        (Looping::PassThrough, "text", Age::Older),
    ] {
        let stage = Stage::new(&settings());
        let failed: &[u32] = if age == Age::Last { &[1] } else { &[] };
        let old = Seed { looping, mode, age, cycles: 4, failed };
        old.write(&stage.path("out"));
        let before = snapshot(&stage.path("out"));
        let (cycles, skip): (&[u32], &[&str]) = match age {
            Age::Last => {
                let (code, said) = fails(&stage, &["assemble"]);
                assert_eq!(code, 64, "{said}");
                assert!(
                    said.contains("cycle 1 failed") && said.contains("out of memory"),
                    "{said}"
                );
                assert!(
                    said.contains("--retry-failed") && said.contains("--skip-failed"),
                    "{said}"
                );
                assert!(before == snapshot(&stage.path("out")), "nothing is changed");
                (&[0, 2, 3], &["--skip-failed"])
            }
            Age::Older => (&[0, 1, 2, 3], &[]),
        };
        let said = runs(&stage, &[&["assemble"], skip].concat());
        let frames = assert_master(&stage.project(MASTER), &clips(&stage, cycles), true);
        assert_eq!(frames, cycles.len() * old.video_frames() as usize, "{old:?}: {said}");
        support::assert_grid(&stage.project(DELIVERABLE), frames * 60 / 8, SIZE);
        let state = stage.state();
        assert_eq!(state["mood_of_the_night"], json!({"deep": [1, 2]}));
        match age {
            Age::Last => assert_eq!(state["base_master"]["left_out"], json!([1])),
            Age::Older => assert_eq!(state["base_master"]["left_out"], Value::Null),
        }
        for (path, content) in &before {
            if !path.ends_with("factory_state.json") {
                assert!(std::fs::read(path).unwrap() == *content, "{}", path.display());
            }
        }
    }
}

#[test]
fn films_that_the_predecessor_made_are_not_made_again() {
    let stage = Stage::new(&settings());
    let old = Seed {
        looping: Looping::PassThrough,
        mode: "text",
        age: Age::Last,
        cycles: 3,
        failed: &[],
    };
    old.write(&stage.path("out"));
    let list = clips(&stage, &[0, 1, 2]);
    let list: String = list.iter().map(|clip| format!("file '{}'\n", clip.display())).collect();
    stage.write("list.txt", &list);
    let ffmpeg = |arguments: &[&str], to: &str| {
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error"]).args(arguments).arg(stage.project(to));
        support::output_of(&mut command);
    };
    let list = stage.path("list.txt");
    ffmpeg(&["-f", "concat", "-safe", "0", "-i", list.to_str().unwrap(), "-c", "copy"], MASTER);
    let master = stage.project(MASTER);
    ffmpeg(&["-i", master.to_str().unwrap(), "-vf", "fps=60,scale=320:180"], DELIVERABLE);
    let before =
        (std::fs::read(&master).unwrap(), std::fs::read(stage.project(DELIVERABLE)).unwrap());
    let said = runs(&stage, &["assemble"]);
    assert!(said.contains("final_output.mp4 is there already, and is this project's"), "{said}");
    assert!(said.contains("final_60fps_1080p.mp4 is there already, and is this"), "{said}");
    assert!(before.0 == std::fs::read(&master).unwrap());
    assert!(before.1 == std::fs::read(stage.project(DELIVERABLE)).unwrap());
    let state = stage.state();
    assert_eq!(state["base_master"]["cycles"], json!([0, 1, 2]));
    assert_eq!(state["recordings"][0]["kind"], "assembled");
    // One that is of other cycles is kept, and is not the film.
    runs(&stage, &["run", "-c", "4", "--no-assemble"]);
    runs(&stage, &["assemble"]);
    assert!(before.0 == std::fs::read(stage.project("final_output_001.mp4")).unwrap());
    assert_eq!(support::probe(&master).video_pts.len(), 32);
}

#[test]
fn clips_that_differ_are_encoded_again() {
    let stage = Stage::new(&settings());
    runs(&stage, &["run", "-c", "2", "--no-assemble"]);
    stage.settings(&with(settings(), json!({"generation": {"width": 128, "height": 72}})));
    runs(&stage, &["run", "-c", "3", "--no-assemble"]);
    let said = runs(&stage, &["assemble", "--no-deliverable"]);
    assert!(said.contains("encoded again") && said.contains("cycle0002_video.mp4"), "{said}");
    assert_master(&stage.project(MASTER), &clips(&stage, &[0, 1, 2]), false);
    let video = support::probe(&stage.project(MASTER)).video;
    assert_eq!((&video["width"], &video["height"]), (&json!(256), &json!(144)));
    assert_eq!(chapters(&stage.project(MASTER)).len(), 3);
    assert_eq!(stage.state()["base_master"]["copied"], false);
}

#[test]
fn a_live_recording_keeps_its_name() {
    let stage = Stage::new(&settings());
    stage.whole_show(&["--for", "3"]);
    let recorded = std::fs::read(stage.project(DELIVERABLE)).unwrap();
    runs(&stage, &["assemble"]);
    assert!(recorded == std::fs::read(stage.project(DELIVERABLE)).unwrap());
    let state = stage.state();
    let kinds: Vec<(&Value, &Value)> = state["recordings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (&entry["file"], &entry["kind"]))
        .collect();
    assert_eq!(
        kinds,
        [
            (&json!(DELIVERABLE), &json!("live")),
            (&json!("final_60fps_1080p_002.mp4"), &json!("assembled")),
        ]
    );
    let cycles = stage.raw_cycles().len();
    support::assert_grid(&stage.project("final_60fps_1080p_002.mp4"), cycles * 60, SIZE);
}

#[test]
fn what_a_kill_left_undone_is_done_first() {
    let stage = Stage::new(&with(settings(), json!({"looping": {"enabled": true}})));
    runs(&stage, &["run", "-c", "3", "--no-assemble"]);
    let video = stage.project("videos/cycle0002_video.mp4");
    std::fs::remove_file(&video).unwrap();
    // And one is cut off.
    let cut = stage.project("videos/cycle0001_video.mp4");
    let content = std::fs::read(&cut).unwrap();
    std::fs::write(&cut, &content[..content.len() / 2]).unwrap();
    let said = runs(&stage, &["assemble", "--dry-run"]);
    assert!(said.contains("cycle 2 has no video: its video would be made"), "{said}");
    assert!(!video.exists());
    let said = runs(&stage, &["assemble", "--no-deliverable"]);
    assert!(said.contains("cycle 1 has no video") && said.contains("cycle 2 has no"), "{said}");
    assert_master(&stage.project(MASTER), &clips(&stage, &[0, 1, 2]), true);

    // Without the clip there is nothing to make it of.
    std::fs::write(&cut, &content[..content.len() / 2]).unwrap();
    std::fs::remove_file(stage.project("videos/cycle0001_raw.mp4")).unwrap();
    let (code, said) = fails(&stage, &["assemble"]);
    assert_eq!(code, 64, "{said}");
    assert!(said.contains("cycle 1") && said.contains("cycle0001_video.mp4"), "{said}");
    runs(&stage, &["run", "-c", "3", "--retry-failed", "--no-assemble"]);
    runs(&stage, &["assemble", "--no-deliverable"]);
    assert_master(&stage.project(MASTER), &clips(&stage, &[0, 1, 2]), true);
    // A clip that somebody took away is told, and left out.
    std::fs::remove_file(stage.project("videos/cycle0001_raw.mp4")).unwrap();
    std::fs::remove_file(&cut).unwrap();
    let said = runs(&stage, &["assemble", "--no-deliverable"]);
    assert!(said.contains("cycle 1: no file is left"), "{said}");
    assert_master(&stage.project(MASTER), &clips(&stage, &[0, 2]), true);
}

#[test]
fn failed_cycles_end_a_run_without_a_film() {
    let failing = json!({"backend": {"mock_fail_rate": 1}, "cycle": {"max_retries": 0}});
    let stage = Stage::new(&settings());
    runs(&stage, &["run", "-c", "2", "--no-assemble"]);
    stage.settings(&with(settings(), failing));
    let (code, said) = fails(&stage, &["run", "-c", "3"]);
    assert_eq!(code, 64, "{said}");
    assert!(said.contains("cycle 2 failed") && said.contains("mock_fail_rate"), "{said}");
    assert!(!stage.project(MASTER).exists());
    let said = runs(&stage, &["run", "-c", "2", "--skip-failed"]);
    assert!(said.contains("without cycle 2"), "{said}");
    assert_master(&stage.project(MASTER), &clips(&stage, &[0, 1]), true);
}

#[test]
fn an_interrupted_film_is_gone_on_with() {
    let big = json!({"finalizer": {"upscale_resolution": "1920x1080"}});
    let stage = Stage::new(&with(settings(), big));
    runs(&stage, &["run", "-c", "4", "--no-assemble"]);
    let mut command = stage.vfaq(&["-w", "w", "-o", "out", "assemble", "--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("\"delivers\"")));
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    assert!(lines.any(|line| line.contains("\"stopped\"")));
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(!stage.project(DELIVERABLE).exists());
    let master = std::fs::read(stage.project(MASTER)).unwrap();
    stage.settings(&settings());
    runs(&stage, &["assemble"]);
    support::assert_grid(&stage.project(DELIVERABLE), 240, SIZE);
    assert!(master == std::fs::read(stage.project(MASTER)).unwrap());
    assert!(!stage.project(".finalizing").exists());
}

#[test]
fn a_killed_assembly_is_gone_on_with() {
    let stage = Stage::new(&settings());
    runs(&stage, &["run", "-c", "6", "--no-assemble"]);
    let mut progress = 0;
    // In the base master, at the start of the deliverable, and in its midst.
    for moment in ["\"stitches\"", "\"delivers\"", "\"progress\""] {
        let mut command = stage.vfaq(&["-w", "w", "-o", "out", "assemble", "--json"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        progress += usize::from(lines.any(|line| line.contains(moment)));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(progress > 0);
    runs(&stage, &["assemble"]);
    let all = clips(&stage, &[0, 1, 2, 3, 4, 5]);
    assert_master(&stage.project(MASTER), &all, true);
    support::assert_grid(&stage.project(DELIVERABLE), 360, SIZE);
    let files = snapshot(&stage.path("out"));
    let leftover = |path: &Path| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with(".vfaq-") || path.display().to_string().contains(".finalizing")
    };
    assert!(!files.iter().any(|(path, _)| leftover(path)));
}

#[test]
fn a_preview_is_made_while_a_run_goes_on() {
    let stage = Stage::new(&settings());
    runs(&stage, &["run", "-c", "3", "--no-assemble"]);
    stage.settings(&with(settings(), json!({"backend": {"mock_delay": 60}})));
    let mut command = stage.vfaq(&["-w", "w", "-o", "out", "run", "-c", "9", "--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("\"begins\"")));
    let (code, said) = fails(&stage, &["assemble"]);
    assert_eq!(code, 69, "{said}");
    assert!(said.contains("in use by vfaq run"), "{said}");
    for _ in 0..2 {
        let said = runs(&stage, &["assemble", "--preview", "--preview-count", "2"]);
        assert!(said.contains("preview.mp4: 16 frames"), "{said}");
        assert_master(&stage.project("preview.mp4"), &clips(&stage, &[1, 2]), true);
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_dry_run_of_a_film_writes_nothing() {
    let stage = Stage::new(&settings());
    runs(&stage, &["run", "-c", "2", "--no-assemble"]);
    let before = snapshot(&stage.path("out"));
    let said = runs(&stage, &["assemble", "--dry-run"]);
    assert!(said.contains("would make final_output.mp4 of 2 cycles: 0:02, copied"), "{said}");
    assert!(said.contains("would make final_60fps_1080p.mp4") && said.contains("120 frames"));
    assert!(before == snapshot(&stage.path("out")));
    let (code, said) = fails(&stage, &["assemble", "-n", "nobody"]);
    assert_eq!(code, 64, "{said}");
    let mut command = stage.vfaq(&["-w", "w", "-o", "none", "assemble"]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(!stage.path("none").exists());
}

#[test]
fn sound_is_cut_or_looped_to_the_film() {
    let stage = Stage::new(&settings());
    runs(&stage, &["run", "-c", "3", "--no-assemble"]);
    // In stereo, as what is made is: nobody has to say how loud mono is in two channels.
    support::beeps(&stage.path("mono.wav"));
    let ffmpeg = |arguments: &[&str], to: &str| {
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "error", "-i"]).arg(stage.path("mono.wav")).args(["-ac", "2"]);
        support::output_of(ffmpeg.args(arguments).arg(stage.path(to)));
    };
    ffmpeg(&[], "long.wav");
    ffmpeg(&["-t", "2"], "short.flac");
    let original = support::decode_sound(&stage.path("long.wav"));
    let level = |samples: &[f32], second: usize, from: f64, to: f64| {
        let at = |s: f64| ((second as f64 + s) * 48_000.0) as usize;
        let part = &samples[at(from)..at(to)];
        (part.iter().map(|s| s * s).sum::<f32>() / part.len() as f32).sqrt()
    };
    for (sound, film) in [("long.wav", DELIVERABLE), ("short.flac", "final_60fps_1080p_002.mp4")] {
        let said = runs(&stage, &["assemble", "--audio", sound]);
        assert!(said.contains(&format!("with sound of {sound}")), "{said}");
        let film = stage.project(film);
        support::assert_recording(&film, 180, SIZE);
        // A beep at the start of each second, as loud as it was.
        let samples = support::decode_sound(&film);
        for second in 0..3 {
            let loudness =
                level(&samples, second, 0.015, 0.045) / level(&original, 0, 0.015, 0.045);
            assert!((0.9..1.1).contains(&loudness), "{sound}, second {second}: {loudness}");
            let silence = level(&samples, second, 0.1, 0.9);
            assert!(silence < 0.01, "{sound}, second {second}: {silence}");
        }
    }
    let (code, said) = fails(&stage, &["assemble", "--audio", "none.wav"]);
    assert_eq!(code, 64, "{said}");
    assert!(said.contains("--audio none.wav"), "{said}");
    let (_, said) = fails(&stage, &["assemble", "--audio", "live"]);
    assert!(said.contains("no show was recorded"), "{said}");
    stage.write("text.wav", "this is no sound");
    let (_, said) = fails(&stage, &["assemble", "--audio", "text.wav"]);
    assert!(said.contains("text.wav"), "{said}");
}

#[test]
fn films_of_an_earlier_session_are_not_taken_for_those_of_this_one() {
    let stage = Stage::new(&settings());
    runs(&stage, &["run", "-c", "2"]);
    let old = std::fs::read(stage.project(MASTER)).unwrap();
    runs(&stage, &["run", "-c", "2", "--fresh", "-s", "999"]);
    assert!(old == std::fs::read(stage.project("final_output_001.mp4")).unwrap());
    assert_master(&stage.project(MASTER), &clips(&stage, &[2, 3]), true);
    assert!(stage.project("final_60fps_1080p_002.mp4").is_file());
}

#[test]
fn a_clip_that_cannot_be_decoded_is_no_weeded_one() {
    let stage = Stage::new(&settings());
    runs(&stage, &["run", "-c", "2", "--no-assemble"]);
    // Whole by its boxes, and no film.
    let clip = stage.project("videos/cycle0001_raw.mp4");
    let mut boxes = vec![0, 0, 0, 8, b'm', b'o', b'o', b'v'];
    boxes.extend([0, 0, 0, 12, b'm', b'd', b'a', b't', 1, 2, 3, 4]);
    std::fs::remove_file(stage.project("videos/cycle0001_video.mp4")).unwrap();
    std::fs::write(&clip, boxes).unwrap();
    let (code, said) = fails(&stage, &["assemble"]);
    assert_eq!(code, 64, "{said}");
    assert!(said.contains("cycle 1 failed") && said.contains("cycle0001_raw.mp4"), "{said}");
    assert!(!stage.project(MASTER).exists());
}

#[test]
fn a_failure_that_only_a_briq_tells_of_counts() {
    let stage = Stage::new(&settings());
    let old = Seed {
        looping: Looping::PassThrough,
        mode: "text",
        age: Age::Older,
        cycles: 3,
        failed: &[1],
    };
    old.write(&stage.path("out"));
    let (_, said) = fails(&stage, &["assemble"]);
    assert!(said.contains("cycle 1 failed") && said.contains("out of memory"), "{said}");
}

#[test]
fn a_deliverable_that_was_begun_keeps_its_name() {
    let big = json!({"finalizer": {"upscale_resolution": "1920x1080"}});
    let stage = Stage::new(&with(settings(), big));
    runs(&stage, &["run", "-c", "3", "--no-assemble"]);
    let mut command = stage.vfaq(&["-w", "w", "-o", "out", "assemble", "--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("\"delivers\"")));
    child.kill().unwrap();
    child.wait().unwrap();
    // A show comes in between.
    stage.whole_show(&["--for", "1", "--play"]);
    let live = std::fs::read(stage.project("final_60fps_1080p_002.mp4")).unwrap();
    runs(&stage, &["assemble"]);
    assert!(live == std::fs::read(stage.project("final_60fps_1080p_002.mp4")).unwrap());
    let state = stage.state();
    let kinds: Vec<&Value> =
        state["recordings"].as_array().unwrap().iter().map(|entry| &entry["kind"]).collect();
    assert_eq!(kinds, ["live", "assembled"], "{state:#}");
    support::assert_grid(&stage.project(DELIVERABLE), 180, (1920, 1080));
    assert!(!stage.project(".finalizing").exists());
}

#[test]
fn another_film_under_the_name_is_not_the_film() {
    let stage = Stage::new(&settings());
    runs(&stage, &["run", "-c", "2"]);
    let video = stage.project("videos/cycle0000_video.mp4");
    std::fs::remove_file(stage.project(MASTER)).unwrap();
    std::fs::copy(&video, stage.project(MASTER)).unwrap();
    let said = runs(&stage, &["assemble"]);
    assert!(said.contains("kept as final_output_001.mp4"), "{said}");
    assert_master(&stage.project(MASTER), &clips(&stage, &[0, 1]), true);

    // Another sound of the same name and size is another sound.
    support::beeps(&stage.path("sound.wav"));
    runs(&stage, &["assemble", "--audio", "sound.wav"]);
    let silence = vec![0; std::fs::read(stage.path("sound.wav")).unwrap().len() - 44];
    let mut wav = std::fs::read(stage.path("sound.wav")).unwrap();
    wav[44..].copy_from_slice(&silence);
    std::fs::write(stage.path("sound.wav"), wav).unwrap();
    let said = runs(&stage, &["assemble", "--audio", "sound.wav"]);
    assert!(said.contains("final_60fps_1080p_003.mp4: 120 frames"), "{said}");
}

#[test]
fn a_clip_with_a_damaged_index_is_told_and_can_be_left_out() {
    let stage = Stage::new(&settings());
    runs(&stage, &["run", "-c", "3", "--no-assemble"]);
    let video = stage.project("videos/cycle0001_video.mp4");
    let mut bytes = std::fs::read(&video).unwrap();
    let at = bytes.windows(4).position(|word| word == b"stsz").unwrap();
    bytes[at + 12..at + 16].fill(0xff);
    // The raw clip is the same file under another name.
    std::fs::remove_file(&video).unwrap();
    std::fs::write(&video, bytes).unwrap();
    let (code, said) = fails(&stage, &["assemble", "--no-deliverable"]);
    assert_eq!(code, 64, "{said}");
    assert!(said.contains("cycle0001_video.mp4") && said.contains("--skip-failed"), "{said}");
    runs(&stage, &["assemble", "--no-deliverable", "--skip-failed"]);
    assert_master(&stage.project(MASTER), &clips(&stage, &[0, 2]), true);
    std::fs::remove_file(&video).unwrap();
    runs(&stage, &["assemble", "--no-deliverable"]);
    assert_master(&stage.project(MASTER), &clips(&stage, &[0, 1, 2]), true);
}
