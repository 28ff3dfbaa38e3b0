//! `vfaq run` and `vfaq single` as a user runs them, on new projects and on old ones.
#![cfg(feature = "gst")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use support::disk::Disk;
use support::seed::{self, Age, Looping, Seed};
use support::show::{Stage, read_json, small, with};

const VIDEO: (u32, u32) = (256, 144);

/// Frames of a whole clip of these tests' size; it plays without a complaint.
fn frames_of(path: &Path) -> usize {
    assert_eq!(support::complaints(path), "", "{}", path.display());
    let probe = support::probe(path);
    let side = |key: &str| probe.video[key].as_u64().unwrap() as u32;
    assert_eq!((side("width"), side("height")), VIDEO, "{}", path.display());
    probe.video_pts.len()
}

/// In the project `out`, unless another is named.
fn run(stage: &Stage, arguments: &[&str]) -> Output {
    let named = arguments.contains(&"-n");
    let mut command = stage.vfaq(if named { &["-w", "w"] } else { &["-w", "w", "-o", "out"] });
    command.args(arguments).output().unwrap()
}

/// Runs it to a good end; returns what it printed.
fn runs(stage: &Stage, arguments: &[&str]) -> String {
    let output = run(stage, arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {}\n{said}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// Runs it to a bad end; returns its exit code and what it said.
fn fails(stage: &Stage, arguments: &[&str]) -> (i32, String) {
    let output = run(stage, arguments);
    assert!(!output.status.success(), "{arguments:?}");
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// Runs it in the background, its JSON lines at hand.
fn start(stage: &Stage, arguments: &[&str]) -> (Child, impl Iterator<Item = Value>) {
    let mut command = stage.vfaq(&["-w", "w", "-o", "out"]);
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines.map(|line| serde_json::from_str(&line.unwrap()).expect("a line of JSON")))
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id() as i32), signal).unwrap();
}

/// Everything in the project fits together: what the state lists is there, whole, and of `each`
/// frames; briqs tell of the same.
fn assert_project(stage: &Stage, cycles: std::ops::Range<u64>, each: usize) {
    let state = stage.state();
    assert_eq!(stage.raw_cycles(), cycles.clone().collect::<Vec<_>>());
    let listed: Vec<&str> =
        state["cycle_video_paths"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let wanted: Vec<String> =
        cycles.clone().map(|cycle| format!("videos/cycle{cycle:04}_video.mp4")).collect();
    assert_eq!(listed, wanted);
    assert_eq!(state["completed_briqs"].as_array().unwrap().len(), wanted.len());
    assert_eq!(state["current_cycle"], cycles.end);
    assert_eq!(state["active_briq_id"], Value::Null);
    assert_eq!(state["failed_cycles"], json!([]));
    for cycle in cycles {
        for kind in ["raw", "video"] {
            let path = stage.project(&format!("videos/cycle{cycle:04}_{kind}.mp4"));
            let frames = if kind == "raw" { 8 } else { each };
            assert_eq!(frames_of(&path), frames, "{}", path.display());
        }
        let briq = stage.briq(cycle);
        assert_eq!(briq["status"], "complete");
        let still = stage.project(briq["source_image_path"].as_str().unwrap());
        assert!(still.is_file(), "{}", still.display());
    }
    let leftovers: Vec<_> = ["", "videos", "images", "briqs"]
        .iter()
        .flat_map(|part| std::fs::read_dir(stage.project(part)).unwrap())
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(".vfaq-"))
        .collect();
    assert!(leftovers.is_empty(), "{leftovers:?}");
}

#[test]
fn a_run_goes_on_where_the_one_before_ended() {
    let stage = Stage::new(&small());
    let said = runs(&stage, &["run", "-c", "2", "--no-assemble"]);
    assert!(said.contains("out begins with cycle 0") && said.contains("2 cycles made"), "{said}");
    assert_project(&stage, 0..2, 8);
    let said = runs(&stage, &["run", "-c", "3", "--no-assemble"]);
    assert!(said.contains("out goes on with cycle 2") && said.contains("1 cycle made"), "{said}");
    assert_project(&stage, 0..3, 8);

    // Each grows out of the one before, with the next seed and one more change of its prompt.
    for cycle in 0..3 {
        let briq = stage.briq(cycle);
        assert_eq!(briq["seed"], 7 + cycle);
        assert_eq!(briq["mode"], if cycle == 0 { "text" } else { "video" });
        assert_eq!(briq["evolution"].as_array().unwrap().len() as u64, cycle);
    }
    assert!(stage.project("images/cycle0002_video_frame.png").is_file());
    let last_of = |cycle| {
        let clip = stage.project(&format!("videos/cycle{cycle:04}_raw.mp4"));
        support::decode_rgb(&clip).pop().unwrap()
    };
    let grown_from = support::decode_rgb(&stage.project("images/cycle0002_video_frame.png"));
    assert!(support::mean_difference(&last_of(1), &grown_from[0]) < 4.0);

    // There is enough: nothing is made, and nothing is changed.
    let before = std::fs::read(stage.project("videos/cycle0002_video.mp4")).unwrap();
    let said = runs(&stage, &["run", "-c", "3", "--no-assemble"]);
    assert!(said.contains("0 cycles made"), "{said}");
    assert!(before == std::fs::read(stage.project("videos/cycle0002_video.mp4")).unwrap());
}

#[test]
fn loops_are_made_as_the_settings_say() {
    let stage = Stage::new(&small());
    for (method, frames) in [("pingpong", 14), ("crossfade", 8 - 3)] {
        let looping = json!({"enabled": true, "method": method, "crossfade_frames": 3});
        stage.settings(&with(small(), json!({"looping": looping})));
        let name = method.to_owned();
        runs(&stage, &["run", "-c", "1", "--no-assemble", "-n", &name]);
        let video = stage.path(&format!("w/qonstructions/{name}/videos/cycle0000_video.mp4"));
        assert_eq!(frames_of(&video), frames, "{method}");
        let raw = stage.path(&format!("w/qonstructions/{name}/videos/cycle0000_raw.mp4"));
        let (raw, video) = (support::decode_rgb(&raw), support::decode_rgb(&video));
        match method {
            // Back again, without a picture that is shown twice.
            "pingpong" => {
                assert!(support::mean_difference(&video[13], &raw[1]) < 3.0);
                assert!(support::mean_difference(&video[7], &raw[7]) < 3.0);
            }
            // It ends where it began.
            _ => assert!(support::mean_difference(&video[4], &raw[4]) < 3.0),
        }
    }
}

#[test]
fn a_run_lasts_until_there_is_enough_content() {
    let stage = Stage::new(&small());
    // 3.6 s, in clips of one second.
    let said = runs(&stage, &["run", "--hours", "0.001", "--no-assemble"]);
    assert!(said.contains("4 cycles made; 0:04 of content"), "{said}");
    assert_project(&stage, 0..4, 8);
    let said = runs(&stage, &["run", "--hours", "0.001", "--no-assemble", "--json"]);
    let last: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(json!([last["why"], last["made"], last["seconds"]]), json!(["enough", 0, 4.0]));
    // As the settings say.
    stage.settings(&with(small(), json!({"cycle": {"max_cycles": 5}})));
    let said = runs(&stage, &["run", "--no-assemble"]);
    assert!(said.contains("1 cycle made"), "{said}");
    for (arguments, about) in [
        (&["run", "--hours", "0"][..], "--hours 0"),
        (&["run", "-c", "-3"], "-3"),
        (&["run", "--delay", "soon"], "soon"),
        (&["run", "-n", "../x"], "../x"),
    ] {
        let (code, said) = fails(&stage, arguments);
        assert_eq!(code, 64, "{arguments:?}: {said}");
        assert!(said.contains(about), "{said}");
    }
}

#[test]
fn the_first_interrupt_finishes_the_cycle_and_the_second_stops_at_once() {
    let stage = Stage::new(&with(small(), json!({"backend": {"mock_delay": 2}})));
    let (mut child, mut lines) = start(&stage, &["run", "-c", "9", "--no-assemble", "--json"]);
    assert!(lines.any(|line| line["event"] == "progress" && line["cycle"] == 1));
    signal(&child, Signal::SIGINT);
    let rest: Vec<Value> = lines.filter(|line| line["event"] != "progress").collect();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let made = rest.iter().rev().find(|line| line["event"] == "made").unwrap();
    assert_eq!(made["cycle"], 1, "{rest:?}");
    assert_eq!(rest.iter().find(|line| line["event"] == "ended").unwrap()["why"], "stopped");
    assert_project(&stage, 0..2, 8);

    let (mut child, mut lines) = start(&stage, &["run", "-c", "9", "--no-assemble", "--json"]);
    assert!(lines.any(|line| line["event"] == "progress" && line["cycle"] == 2));
    signal(&child, Signal::SIGINT);
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("Ctrl-C again stops at once") {
        line.clear();
        assert_ne!(said.read_line(&mut line).unwrap(), 0, "it says what to do");
    }
    signal(&child, Signal::SIGINT);
    let ended: Vec<Value> = lines.filter(|line| line["event"] == "ended").collect();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!((ended.len(), &ended[0]["made"]), (1, &json!(0)));
    assert_eq!(stage.raw_cycles(), [0, 1]);

    stage.settings(&small());
    runs(&stage, &["run", "-c", "3", "--no-assemble"]);
    assert_project(&stage, 0..3, 8);
}

#[test]
fn a_killed_run_goes_on_from_its_last_cycle() {
    let settings = with(small(), json!({"looping": {"enabled": true, "method": "pingpong"}}));
    let stage = Stage::new(&settings);
    // At moments that differ: before, in and behind every stage.
    for (turn, wait_ms) in [0, 40, 110, 170, 260, 330].into_iter().enumerate() {
        let (mut child, mut lines) = start(&stage, &["run", "-c", "99", "--no-assemble", "--json"]);
        let begun = lines.find(|line| line["event"] == "begins").expect("a line").clone();
        assert_eq!(begun["resumed"], turn > 0, "{begun}");
        assert!(lines.any(|line| line["event"] == "made"));
        #[expect(clippy::disallowed_methods, reason = "a kill comes at no event's moment")]
        std::thread::sleep(Duration::from_millis(wait_ms));
        child.kill().unwrap();
        child.wait().unwrap();
        let done = stage.raw_cycles().len() as u64;
        assert!(done > turn as u64);
    }
    let done = stage.raw_cycles().len() as u64;
    runs(&stage, &["run", "-c", &(done + 1).to_string(), "--no-assemble"]);
    assert_project(&stage, 0..done + 1, 14);
}

#[test]
fn one_project_has_one_run_at_a_time() {
    let stage = Stage::new(&with(small(), json!({"backend": {"mock_delay": 60}})));
    let (mut child, mut lines) = start(&stage, &["run", "-c", "2", "--no-assemble", "--json"]);
    assert!(lines.any(|line| line["event"] == "begins"));
    for second in [&["run", "-c", "2"][..], &["single"], &["live", "--listen", "off"]] {
        let (code, said) = fails(&stage, second);
        assert_eq!(code, 69, "{said}");
        assert!(said.contains("in use by vfaq run (process"), "{said}");
    }
    let said = runs(&stage, &["run", "-c", "2", "--dry-run"]);
    assert!(said.contains("in use by vfaq run"), "{said}");
    child.kill().unwrap();
    child.wait().unwrap();
    stage.settings(&small());
    runs(&stage, &["run", "-c", "1", "--no-assemble"]);
}

#[test]
fn failed_cycles_are_told_and_can_be_made_later() {
    let stage = Stage::new(&small());
    runs(&stage, &["run", "-c", "1", "--no-assemble"]);
    let failing = json!({"backend": {"mock_fail_rate": 1}, "cycle": {"max_retries": 0}});
    stage.settings(&with(small(), failing.clone()));
    let output = run(&stage, &["run", "-c", "3", "--no-assemble"]);
    let (said, told) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(told.contains("cycle 1: mock") && told.contains("cycle 2: mock"), "{told}");
    assert!(said.contains("0 cycles made, 2 failed"), "{said}");
    let state = stage.state();
    assert_eq!(state["failed_cycles"][0]["cycle_index"], 1);
    assert!(state["failed_cycles"][1]["error"].as_str().unwrap().contains("mock"));

    // The next one is made behind them; they stay open.
    stage.settings(&small());
    runs(&stage, &["single", "--cycle", "3"]);
    assert_eq!(stage.raw_cycles(), [0, 3]);
    assert_eq!(stage.state()["failed_cycles"].as_array().unwrap().len(), 2);
    let said = runs(&stage, &["run", "-c", "4", "--retry-failed", "--no-assemble"]);
    assert!(said.contains("2 cycles made"), "{said}");
    assert_eq!(stage.raw_cycles(), [0, 1, 2, 3]);
    assert_eq!(stage.state()["failed_cycles"], json!([]));

    // Where a failure is to end the run it does so at once.
    let stops = with(failing, json!({"cycle": {"continue_on_error": false}}));
    stage.settings(&with(small(), stops));
    let (code, said) = fails(&stage, &["run", "-c", "9", "--no-assemble"]);
    assert_ne!(code, 0);
    assert!(said.contains("continue_on_error") && said.contains("cycle 4"), "{said}");
    assert_eq!(stage.state()["failed_cycles"].as_array().unwrap().len(), 1);
}

#[test]
fn one_cycle_is_made_and_none_twice() {
    let stage = Stage::new(&small());
    let said = runs(&stage, &["single"]);
    assert!(said.contains("cycle0000_video.mp4"), "{said}");
    runs(&stage, &["single"]);
    assert_project(&stage, 0..2, 8);
    let (code, said) = fails(&stage, &["single", "--cycle", "1"]);
    assert_eq!(code, 64, "{said}");
    assert!(said.contains("--cycle 1") && said.contains("which is 2"), "{said}");
    assert_project(&stage, 0..2, 8);
}

#[test]
fn a_dry_run_makes_nothing() {
    let stage = Stage::new(&small());
    let said = runs(&stage, &["run", "-c", "3", "--dry-run"]);
    assert!(said.contains("about 3 cycles") && said.contains("nothing was made"), "{said}");
    assert!(!stage.path("out").exists());
    // What is wrong is found.
    stage.settings(&with(
        small(),
        json!({"backend": {"type": "comfyui", "api_url": "http://127.0.0.1:9"}}),
    ));
    let (code, said) = fails(&stage, &["run", "-c", "3", "--dry-run"]);
    assert_eq!(code, 69, "{said}");
    assert!(said.contains("127.0.0.1:9"), "{said}");
    assert!(!stage.path("out").exists());
}

#[test]
fn a_fresh_run_leaves_what_is_there() {
    let stage = Stage::new(&small());
    runs(&stage, &["run", "-c", "2", "--no-assemble"]);
    let old = std::fs::read(stage.project("factory_state.json")).unwrap();
    runs(&stage, &["run", "-c", "1", "--fresh", "--no-assemble"]);
    assert_eq!(stage.raw_cycles(), [0, 1, 2]);
    assert!(old == std::fs::read(stage.project("factory_state_001.json")).unwrap());
    let state = stage.state();
    assert_eq!((&state["first_cycle"], &state["current_cycle"]), (&json!(2), &json!(3)));
    assert_eq!(stage.briq(2)["mode"], "text");
    // Two cycles of the new session.
    runs(&stage, &["run", "-c", "2", "--no-assemble"]);
    assert_eq!(stage.raw_cycles(), [0, 1, 2, 3]);
}

#[test]
fn projects_of_the_predecessor_are_gone_on_with() {
    for (looping, mode, age) in [
        (Looping::Pingpong, "text", Age::Last),
        (Looping::Crossfade, "image", Age::Older),
        (Looping::PassThrough, "text", Age::Older),
    ] {
        let stage = Stage::new(&small());
        let old = Seed { looping, mode, age, cycles: 3, failed: &[1] };
        old.write(&stage.path("out"));
        let before = snapshot(&stage.path("out"));
        let said = runs(&stage, &["run", "-c", "4", "--no-assemble"]);
        assert!(said.contains("out goes on with cycle 3"), "{old:?}: {said}");
        // What was there is as it was, down to the byte; new is what this cycle brought.
        for (path, content) in &before {
            if !path.ends_with("factory_state.json") {
                assert!(std::fs::read(path).unwrap() == *content, "{}", path.display());
            }
        }
        assert_eq!(frames_of(&stage.project("videos/cycle0003_raw.mp4")), seed::CLIP.0 as usize);
        let grown_from = stage.project("images/cycle0003_video_frame.png");
        let raw = support::decode_rgb(&stage.project("images/cycle0002_raw.mp4"));
        let grown_from = support::decode_rgb(&grown_from);
        let nearest = (0..raw.len())
            .min_by_key(|n| (support::mean_difference(&raw[*n], &grown_from[0]) * 1e3) as u64);
        assert_eq!(nearest, Some(raw.len() - 1), "it grew out of the last frame");
        let briq = stage.briq(3);
        assert_eq!(briq["mode"], "video");
        assert_eq!(briq["base_video_path"], "images/cycle0002_raw.mp4");

        let state = stage.state();
        assert_eq!(state["mood_of_the_night"], json!({"deep": [1, 2]}), "{old:?}");
        assert_eq!(state["session_id"], "0123456789ab");
        assert_eq!(state["current_cycle"], 4);
        let id = briq["briq_id"].as_str().unwrap();
        assert!(state["completed_briqs"].as_array().unwrap().contains(&json!(id)));
        let listed = state["cycle_video_paths"].as_array().unwrap();
        assert_eq!(listed.last().unwrap(), "videos/cycle0003_video.mp4");
        assert_is_readable_by_the_predecessor(&stage.path("out"));
    }
}

/// Every file under a folder.
fn snapshot(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(snapshot(&path)),
            false => {
                let content = std::fs::read(&path).unwrap();
                files.push((path, content));
            }
        }
    }
    files
}

/// What that program needs to find in the files to go on with them: it reads them into classes
/// whose fields are these, and knows no others than those in the fourth column.
fn assert_is_readable_by_the_predecessor(folder: &Path) {
    let state = read_json(&folder.join("factory_state.json"));
    let state_fields = [
        ("session_id", "string"),
        ("started_at", "string"),
        ("current_cycle", "number"),
        ("total_cycles_requested", "number"),
        ("completed_briqs", "array"),
        ("prompt_history", "array"),
        ("qodeyard_path", "string"),
        ("total_generation_time", "number"),
        ("total_video_duration", "number"),
        ("cycle_video_paths", "array"),
        ("failed_cycles", "array"),
    ];
    for (field, kind) in state_fields {
        assert_eq!(kind_of(&state[field]), kind, "{field}");
    }
    for entry in std::fs::read_dir(folder.join("briqs")).unwrap() {
        let briq = read_json(&entry.unwrap().path());
        for (field, kind) in [
            ("briq_id", "string"),
            ("cycle_index", "number"),
            ("created_at", "string"),
            ("mode", "string"),
            ("prompt", "string"),
            ("negative_prompt", "string"),
            ("style_tags", "array"),
            ("quality_tags", "array"),
            ("seed", "number"),
            ("status", "string"),
            ("generation_time", "number"),
            ("backend_used", "string"),
        ] {
            assert_eq!(kind_of(&briq[field]), kind, "{field} of {}", briq["briq_id"]);
        }
        for field in ["width", "height", "steps", "video_frames", "video_fps", "clip_seconds"] {
            assert_eq!(kind_of(&briq["spec"][field]), "number", "spec.{field}");
        }
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[test]
fn a_run_without_a_name_is_offered_one() {
    let stage = Stage::new(&small());
    runs(&stage, &["run", "-c", "1", "--no-assemble"]);
    // Without a terminal nobody is asked.
    assert!(stage.path("out").is_dir());
    std::fs::create_dir_all(stage.path("w/qonstructions/taken")).unwrap();

    let pty = nix::pty::openpty(None, None).unwrap();
    // The program must not hold the other end of its terminal open.
    nix::fcntl::fcntl(&pty.master, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
    let mut command = stage.vfaq(&["-w", "w", "-o", "out", "run", "-c", "2", "--no-assemble"]);
    let end = |fd: &std::os::fd::OwnedFd| Stdio::from(fd.try_clone().unwrap());
    command.stdin(end(&pty.slave)).stdout(end(&pty.slave)).stderr(end(&pty.slave));
    let mut child = command.spawn().unwrap();
    drop((command, pty.slave));
    let mut terminal = std::fs::File::from(pty.master);
    let mut said = String::new();
    let mut answers = [
        ("Its name", "../x\n"),
        ("cannot be used", ""),
        ("Its name", "taken\n"),
        ("[y/N]", "\n"),
        ("Its name", "night\n"),
        ("saved as", ""),
    ]
    .into_iter();
    let mut expected = answers.next();
    let mut buffer = [0; 4096];
    while let Some((text, answer)) = expected {
        if let Some(at) = said.find(text) {
            said.drain(..at + text.len());
            terminal.write_all(answer.as_bytes()).unwrap();
            expected = answers.next();
            continue;
        }
        let read = terminal.read(&mut buffer).unwrap_or_else(|e| panic!("{e}: {said}"));
        said += &String::from_utf8_lossy(&buffer[..read]);
    }
    assert!(child.wait().unwrap().success());
    assert!(!stage.path("out").exists());
    assert!(stage.path("w/qonstructions/night/videos/cycle0001_video.mp4").is_file());
    assert_eq!(std::fs::read_dir(stage.path("w/qonstructions/taken")).unwrap().count(), 0);
    runs(&stage, &["run", "-n", "night", "-c", "3", "--no-assemble"]);
    assert!(stage.path("w/qonstructions/night/videos/cycle0002_video.mp4").is_file());
}

#[test]
fn a_run_ends_before_the_disk_is_full() {
    let stage = Stage::new(&with(small(), json!({"live": {"min_free_mb": 60}})));
    let Some(disk) = Disk::mount(&stage.path("disk"), 64) else {
        println!("skipped: mounting a small disk needs root and the right to mount");
        return;
    };
    let mut command = stage.vfaq(&["-w", "w", "-o", "disk/out", "run", "-c", "500"]);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(74), "{said}");
    assert!(said.contains("room for") && said.contains("of 4"), "warned in time: {said}");
    assert!(said.contains("min_free_mb") && said.contains("60 MB stay free"), "{said}");
    let free = nix::sys::statvfs::statvfs(&disk.0).unwrap();
    let free = free.blocks_available() * free.fragment_size();
    assert!(free >= 60 << 20, "{free} bytes are free");
    // With room again it goes on, and nothing is damaged.
    stage.settings(&with(small(), json!({"live": {"min_free_mb": 50}})));
    let state = read_json(&stage.path("disk/out/factory_state.json"));
    let made = state["completed_briqs"].as_array().unwrap().len();
    assert!(made > 5, "{made}");
    let more = (made + 2).to_string();
    let mut command = stage.vfaq(&["-w", "w", "-o", "disk/out", "run", "-c", &more]);
    let output = command.arg("--no-assemble").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for cycle in 0..made + 2 {
        let video = stage.path(&format!("disk/out/videos/cycle{cycle:04}_video.mp4"));
        assert_eq!(frames_of(&video), 8);
    }
    // A film that has no room is not begun.
    let ballast = nix::sys::statvfs::statvfs(&disk.0).unwrap();
    let free = ballast.blocks_available() * ballast.fragment_size();
    std::fs::write(disk.0.join("ballast"), vec![7; free as usize - (50 << 20)]).unwrap();
    let mut command = stage.vfaq(&["-w", "w", "-o", "disk/out", "assemble"]);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(74), "{said}");
    assert!(said.contains("MB are free") && said.contains("are needed"), "{said}");
    assert!(!stage.path("disk/out/final_output.mp4").exists());
}

#[test]
fn retries_count_and_one_that_fails_again_keeps_no_other_from_being_made() {
    let stage = Stage::new(&small());
    runs(&stage, &["run", "-c", "2", "--no-assemble"]);
    // Half of all fail, by their numbers.
    let half = json!({"backend": {"mock_fail_rate": 0.5}, "cycle": {"max_retries": 0}});
    stage.settings(&with(small(), half));
    run(&stage, &["run", "-c", "12", "--no-assemble"]);
    let failed = stage.state()["failed_cycles"].as_array().unwrap().len();
    assert!(failed > 1, "{failed}");
    // They fail again, and each of them is tried.
    let tried = run(&stage, &["run", "-c", "12", "--retry-failed", "--no-assemble", "--json"]);
    let tried = String::from_utf8(tried.stdout).unwrap();
    let tried = tried.lines().filter(|line| line.contains("\"failed\",\"cycle\"")).count();
    assert!(tried >= failed, "{tried} of {failed}");
    assert!(stage.raw_cycles().iter().all(|cycle| *cycle < 12));
    stage.settings(&small());
    runs(&stage, &["run", "-c", "12", "--retry-failed", "--no-assemble"]);
    assert_eq!(stage.raw_cycles(), (0..12).collect::<Vec<_>>());
    let state = stage.state();
    assert_eq!(state["current_cycle"], 12, "an earlier one sets nothing back");
    assert_eq!(state["total_video_duration"], 12.0);
    // What was taken away is no content.
    std::fs::remove_file(stage.project("videos/cycle0004_video.mp4")).unwrap();
    std::fs::remove_file(stage.project("videos/cycle0004_raw.mp4")).unwrap();
    let said = runs(&stage, &["run", "--hours", "0.0033333", "--no-assemble"]);
    assert!(said.contains("1 cycle made") && said.contains("0:12 of content"), "{said}");
}

#[test]
fn a_closed_terminal_lets_the_cycle_finish() {
    let stage = Stage::new(&with(small(), json!({"backend": {"mock_delay": 2}})));
    let pty = nix::pty::openpty(None, None).unwrap();
    // The program must not hold the other end of its terminal open.
    nix::fcntl::fcntl(&pty.master, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
    let mut command = stage.vfaq(&["-w", "w", "-o", "out", "run", "-c", "9"]);
    let end = |fd: &std::os::fd::OwnedFd| Stdio::from(fd.try_clone().unwrap());
    command.stdin(end(&pty.slave)).stdout(end(&pty.slave)).stderr(end(&pty.slave));
    let mut child = command.spawn().unwrap();
    drop((command, pty.slave));
    let mut terminal = std::fs::File::from(pty.master);
    let mut said = String::new();
    let mut buffer = [0; 4096];
    while !said.contains("cycle 1") {
        let read = terminal.read(&mut buffer).unwrap();
        said += &String::from_utf8_lossy(&buffer[..read]);
    }
    // The shell tells it, and so may the kernel.
    drop(terminal);
    signal(&child, Signal::SIGHUP);
    signal(&child, Signal::SIGHUP);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_project(&stage, 0..2, 8);
}

#[test]
fn a_project_in_use_is_not_put_aside() {
    let stage = Stage::new(&with(small(), json!({"backend": {"mock_delay": 60}})));
    let mut command = stage.vfaq(&["-w", "w", "run", "-n", "busy", "-c", "2", "--json"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("begins")));
    let (from, to) = (stage.path("out"), stage.path("w/qonstructions/busy"));
    std::fs::create_dir(&from).unwrap();
    let error = vfaq::app::save_as::save(&from, &to).unwrap_err().to_string();
    assert!(error.contains("in use by vfaq run"), "{error}");
    assert!(from.is_dir() && to.is_dir());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn videos_that_the_state_does_not_list_are_not_made_again() {
    let looping = json!({"looping": {"enabled": true, "method": "pingpong"}});
    let stage = Stage::new(&with(small(), looping));
    runs(&stage, &["run", "-c", "3", "--no-assemble"]);
    // Other settings than the videos were made with.
    stage.settings(&small());
    for state in [None, Some("{}"), Some(r#"{"current_cycle": 3, "completed_briqs": []}"#)] {
        let file = stage.project("factory_state.json");
        match state {
            None => std::fs::remove_file(&file).unwrap(),
            Some(text) => std::fs::write(&file, text).unwrap(),
        }
        let said = runs(&stage, &["run", "-c", "3", "--no-assemble"]);
        assert!(!said.contains("is missing"), "{said}");
        assert_project(&stage, 0..3, 14);
        assert_eq!(stage.state()["total_video_duration"], 3.0 * 14.0 / 8.0, "each counts once");
    }
}

#[test]
fn numbers_that_no_cycle_can_have_are_no_end_of_the_program() {
    let stage = Stage::new(&small());
    runs(&stage, &["run", "-c", "1", "--no-assemble"]);
    let good = stage.state();
    stage.write("out/briqs/foo.json", r#"{"briq_id": "foo", "cycle_index": 4294967295}"#);
    stage.write("out/videos/cycle4294967294_raw.mp4", "x");
    runs(&stage, &["run", "-c", "2", "--no-assemble"]);
    for (key, value) in [("first_cycle", json!(4_294_967_295_u32)), ("current_cycle", json!(-1))] {
        let text = with(good.clone(), json!({ key: value })).to_string();
        stage.write("out/factory_state.json", &text);
        let (code, said) = fails(&stage, &["run", "-c", "2"]);
        assert_eq!(code, 74, "{said}");
        assert!(said.contains("factory_state.json"), "{said}");
    }
    let wild =
        json!({"failed_cycles": [4_294_967_295_u32, {"x": 1}], "total_video_duration": 1e308});
    stage.write("out/factory_state.json", &with(good, wild).to_string());
    runs(&stage, &["run", "-c", "2", "--retry-failed", "--no-assemble"]);
}

#[test]
fn whoever_reads_no_more_ends_nothing() {
    let stage = Stage::new(&small());
    let mut command = stage.vfaq(&["-w", "w", "-o", "out", "run", "-c", "4", "--no-assemble"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("begins with cycle 0"), "{line}");
    assert!(child.wait().unwrap().success());
    assert_project(&stage, 0..4, 8);
    // What a server says is no command for the terminal.
    let state = stage.state();
    let evil = json!([{"cycle_index": 9, "error": "\u{1b}[2J\u{7}gone", "briq_id": "x"}]);
    stage.write("out/factory_state.json", &with(state, json!({"failed_cycles": evil})).to_string());
    let (_, said) = fails(&stage, &["assemble"]);
    assert!(said.contains("gone") && !said.contains('\u{1b}') && !said.contains('\u{7}'), "{said}");
    // A lock that leads elsewhere is not written through.
    stage.write("precious", "mine");
    std::fs::remove_file(stage.project(".lock")).unwrap();
    std::os::unix::fs::symlink(stage.path("precious"), stage.project(".lock")).unwrap();
    let (code, said) = fails(&stage, &["run", "-c", "5"]);
    assert_eq!(code, 64, "{said}");
    assert_eq!(std::fs::read_to_string(stage.path("precious")).unwrap(), "mine");
}

#[test]
fn briqs_in_one_folder_belong_to_their_own_projects() {
    let shared = json!({"paths": {"briqs_dir": "briqs"}});
    let stage = Stage::new(&with(small(), shared));
    runs(&stage, &["run", "-n", "a", "-c", "3", "--no-assemble"]);
    let said = runs(&stage, &["run", "-n", "b", "-c", "1", "--no-assemble"]);
    assert!(said.contains("begins with cycle 0"), "{said}");
    let said = runs(&stage, &["status", "-n", "a", "--json"]);
    let status: Value = serde_json::from_str(&said).unwrap();
    let cycles = &status["project"]["cycles"];
    assert_eq!((&cycles["made"], &cycles["lost"]), (&json!(3), &json!(0)), "{cycles}");
    let said = runs(&stage, &["run", "-n", "b", "-c", "2", "--no-assemble"]);
    assert!(said.contains("goes on with cycle 1"), "{said}");
}
