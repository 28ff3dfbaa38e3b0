//! What is wrong is found before a show starts: the message says where and what to do, the exit
//! code says of which kind it is, and nothing was made or changed.
#![cfg(feature = "gst")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop")]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;
use support::show::{Stage, small, with};

/// What `vfaq` said, on both ways, and its exit code.
fn run(stage: &Stage, arguments: &[&str]) -> (Option<i32>, String) {
    let output = stage.vfaq(arguments).env_remove("VFAQ_NOT_SET").output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

/// All files and folders below `folder`; a folder's content is empty.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.append(&mut tree(&path));
            found.insert(path, Vec::new());
        } else {
            let content = std::fs::read(&path).unwrap();
            found.insert(path, content);
        }
    }
    found
}

/// Asserts that `vfaq live` with these arguments ends with `code`, says all of `says`, no secret,
/// and leaves everything as it was.
fn refused(stage: &Stage, arguments: &[&str], code: i32, says: &[&str]) {
    let before = tree(&stage.path(""));
    let mut all = vec!["live", "--for", "1"];
    if !arguments.contains(&"--listen") {
        all.extend(["--listen", "off"]);
    }
    if !arguments.contains(&"-w") {
        all.extend(["-w", "w"]);
    }
    if !arguments.contains(&"-o") {
        all.extend(["-o", "out"]);
    }
    all.extend(arguments);
    let (found, said) = run(stage, &all);
    assert_eq!(found, Some(code), "{arguments:?}: {said}");
    for text in says {
        assert!(said.contains(text), "{arguments:?}: not a word of {text:?} in:\n{said}");
    }
    assert!(!said.contains("s3cret"), "{arguments:?}: a secret was printed:\n{said}");
    let after = tree(&stage.path(""));
    let changed: Vec<_> =
        after.keys().filter(|path| before.get(*path) != after.get(*path)).collect();
    assert!(changed.is_empty() && before.len() == after.len(), "{arguments:?}: {changed:?}");
}

fn stage() -> Stage {
    Stage::new(&small())
}

fn stage_with_brief(brief: &str) -> Stage {
    let stage = stage();
    stage.write("w/tasq.md", brief);
    stage
}

#[test]
fn a_brief_that_is_missing_or_wrong() {
    let missing = stage();
    std::fs::remove_file(missing.path("w/tasq.md")).unwrap();
    refused(&missing, &[], 64, &["w/tasq.md", "there is no such file"]);
    refused(&missing, &["-w", "nowhere"], 64, &["nowhere", "no such folder", "-w DIR"]);

    let video = stage_with_brief("---\nmode: video\n---\nA tide.\n");
    refused(&video, &[], 64, &["w/tasq.md:2", "mode", "found video", "text, image"]);
    let no_image = stage_with_brief("---\nmode: image\n---\nA tide.\n");
    refused(&no_image, &[], 64, &["w/tasq.md:2", "mode", "input_image"]);
    let missing =
        stage_with_brief("---\nmode: image\ninput_image: inputs/none.png\n---\nA tide.\n");
    refused(&missing, &[], 64, &["w/tasq.md:3", "input_image", "inputs/none.png", "no such file"]);
    missing.write("w/inputs/none.png", "this is a text");
    refused(&missing, &[], 64, &["w/tasq.md:3", "input_image", "inputs/none.png", "no readable"]);
    let empty = stage_with_brief("# Only a title\n");
    refused(&empty, &[], 64, &["w/tasq.md", "no prompt"]);
}

#[test]
fn settings_that_are_missing_or_wrong() {
    let broken = stage();
    broken.write("w/config.yaml", "live:\n  canvas: [1920\n  fps: 60\n");
    refused(&broken, &[], 64, &["w/config.yaml:", "YAML"]);
    std::fs::remove_file(broken.path("w/config.yaml")).unwrap();
    refused(&broken, &[], 64, &["w/config.yaml", "no such file"]);

    let cases: &[(serde_json::Value, i32, &[&str])] = &[
        (
            json!({"backend": {"type": "dall-e"}}),
            64,
            &["w/config.yaml:", "backend.type", "dall-e", "mock, comfyui"],
        ),
        (
            json!({"backend": {"type": "comfyui", "workflow_image": "missing.json"}}),
            74,
            &["w/missing.json"],
        ),
        (
            json!({"live": {"encoder_preference": ["h265"]}}),
            64,
            &["w/config.yaml:", "live.encoder_preference", "h265", "libx264"],
        ),
        (
            json!({"live": {"encoder_preference": ["h264_nvenc"]}}),
            69,
            &["live.encoder_preference", "install", "libx264"],
        ),
        (
            json!({"live": {"intrpolation": "blend"}}),
            64,
            &[
                "w/config.yaml:",
                "live.intrpolation: unknown key",
                "did you mean live.interpolation?",
            ],
        ),
        (
            json!({"live": {"outputs": ["file:${VFAQ_NOT_SET}.mp4"]}}),
            64,
            &["w/config.yaml:", "live.outputs[0]", "VFAQ_NOT_SET", "is not set"],
        ),
        (
            json!({"live": {"outputs": ["rtmp://live.example/s3cret"]}}),
            64,
            &["w/config.yaml:", "live.outputs[0]", "without a stream key"],
        ),
        (
            json!({"live": {"canvas": "1921x1080"}}),
            64,
            &["w/config.yaml:", "live.canvas", "1921x1080", "both even"],
        ),
        (
            json!({"live": {"audio": {"source": "file:none.wav"}}}),
            64,
            &["w/config.yaml:", "live.audio.source", "none.wav", "exists"],
        ),
    ];
    for (settings, code, says) in cases {
        let stage = Stage::new(&with(small(), settings.clone()));
        refused(&stage, &[], *code, says);
    }
}

#[test]
fn a_command_line_that_is_wrong() {
    let stage = stage();
    stage.write("taken.mp4", "a film");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().to_string();
    let cases: &[(&[&str], i32, &[&str])] = &[
        (&["-b", "dall-e"], 64, &["dall-e", "mock"]),
        (&["--preset", "disco"], 64, &["disco", "neon"]),
        (&["--preset", "../disco"], 64, &["../disco"]),
        (&["--to", "rtmp://live.example/s3cret"], 64, &["--to", "without a stream key"]),
        (&["--to", "live_s3cret"], 64, &["--to", "no scheme", "null:"]),
        (&["--to", "file:taken.mp4"], 64, &["taken.mp4", "not overwritten"]),
        (&["--to", "file:take.avi"], 64, &["take.avi", ".mp4"]),
        (&["-n", "a/b"], 64, &["a/b", "'/'"]),
        (&["-n", ".."], 64, &["project name"]),
        (&["-n", "../other"], 64, &["../other"]),
        (&["--name="], 64, &["project name"]),
        (&["-o", "/proc/vfaq"], 74, &["/proc/vfaq"]),
        (&["-o", "taken.mp4/project"], 74, &["taken.mp4/project"]),
        (&["--listen", &port], 69, &[&port, "in use"]),
        (&["--listen", "0.0.0.0:0"], 64, &["0.0.0.0:0", "live.token"]),
        (&["--listen", "8787"], 64, &["8787", "127.0.0.1:8787"]),
        (&["--summary", "none/summary.json"], 74, &["none/summary.json"]),
        (&["--play", "--fresh"], 64, &["--fresh"]),
        (&["--encore"], 64, &["--encore"]),
    ];
    for (arguments, code, says) in cases {
        refused(&stage, arguments, *code, says);
    }
    for length in ["soon", "0", "-3", "1m1h", "1e9h"] {
        let before = tree(&stage.path(""));
        let (code, said) = run(&stage, &["live", "-w", "w", &format!("--for={length}")]);
        assert_eq!(code, Some(64), "{length}: {said}");
        assert!(said.contains(length) && said.contains("1h30m"), "{said}");
        assert!(before == tree(&stage.path("")));
    }
}

#[test]
fn a_damaged_state_is_kept_as_it_is() {
    let stage = stage();
    stage.write("out/factory_state.json", "{\"current_cycle\": 12, ");
    let (code, said) = run(&stage, &["-w", "w", "-o", "out", "live", "--listen", "off"]);
    assert_eq!(code, Some(74), "{said}");
    assert!(said.contains("out/factory_state.json") && said.contains("--fresh"), "{said}");
    let state = std::fs::read_to_string(stage.project("factory_state.json")).unwrap();
    assert_eq!(state, "{\"current_cycle\": 12, ");
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let stage = Stage::new(&json!({
        "backend": {"type": "dall-e", "mock_fail_rate": 2},
        "live": {"fps": 0, "outputs": ["rtmp:${VFAQ_NOT_SET}"]},
    }));
    stage.write("w/tasq.md", "---\nmode: video\nseed: many\n---\nA tide.\n");
    let says = [
        "backend.type",
        "backend.mock_fail_rate",
        "live.fps",
        "live.outputs[0]",
        "w/tasq.md:2: mode",
        "w/tasq.md:3: seed",
    ];
    refused(&stage, &[], 64, &says);
    let (code, said) = run(&stage, &["config", "check", "-w", "w"]);
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("6 problems"), "{said}");
    assert!(says.iter().all(|text| said.contains(text)), "{said}");
}

#[test]
fn settings_are_checked_without_a_show() {
    let stage = Stage::new(&with(small(), json!({"backend": {"kind": "mock"}})));
    let before = tree(&stage.path(""));
    // The folder may be named before and after the subcommand.
    for arguments in [["-w", "w", "config", "check"], ["config", "check", "-w", "w"]] {
        let (code, said) = run(&stage, &arguments);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("w: all right"), "{said}");
        // Files of the predecessor may say what this program does not know; it warns.
        assert!(said.contains("warning") && said.contains("backend.kind"), "{said}");
    }
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/worqspace");
    let (code, said) = run(&stage, &["config", "check", "--worqspace", shipped]);
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("warning"), "the shipped worqspace: {said}");
    assert!(before == tree(&stage.path("")), "something was made");
}

#[test]
fn a_shell_gets_its_completions() {
    let (code, said) = run(&stage(), &["completions", "bash"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("complete") && said.contains("vfaq") && said.contains("--no-record"));
    assert_eq!(run(&stage(), &["completions", "tcsh"]).0, Some(64));
}

#[test]
fn folders_are_taken_before_and_after_the_subcommand() {
    for arguments in [
        ["-w", "w", "-o", "there", "live", "--for=100ms", "--listen=off"],
        ["live", "--for=100ms", "--listen=off", "-w", "w", "-o", "there"],
    ] {
        let stage = stage();
        let (code, said) = run(&stage, &arguments);
        assert_eq!(code, Some(0), "{said}");
        assert!(stage.path("there/final_60fps_1080p.mp4").exists(), "{said}");
        assert!(!stage.path("qodeyard").exists());
    }
}

#[test]
fn what_comes_from_the_environment_is_used_and_never_written_down() {
    let stage =
        Stage::new(&with(small(), json!({"live": {"outputs": ["file:${VFAQ_TEST_TAKE}.mp4"]}})));
    let arguments = ["-w", "w", "-o", "out", "live", "--for", "200ms", "--listen", "off"];
    let output = stage.vfaq(&arguments).env("VFAQ_TEST_TAKE", "take").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(stage.path("take.mp4").exists());
    let snapshot = std::fs::read_to_string(stage.project("config_snapshot.yaml")).unwrap();
    assert!(snapshot.contains("file:${VFAQ_TEST_TAKE}.mp4"), "{snapshot}");
}

#[test]
fn secrets_written_in_the_settings_reach_no_file_of_the_project() {
    let secrets = ["t0ken-literal", "key-in-a-uri", "it's a key", "a pass & phrase", "stream-1d"];
    let [token, in_uri, key, passphrase, stream_id] = secrets;
    let stage = Stage::new(&with(
        small(),
        json!({
            "backend": {"api_token": token},
            "live": {"outputs": [
                format!("rtmp://127.0.0.1:1/app/{in_uri}"),
                {"to": "rtmp://127.0.0.1:1/app", "key": key},
                {"to": "srt://127.0.0.1:1", "passphrase": passphrase, "stream_id": stream_id},
            ]},
        }),
    ));
    let arguments = ["-w", "w", "-o", "out", "live", "--for", "500ms", "--listen", "off"];
    let output = stage.vfaq(&arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let snapshot = std::fs::read_to_string(stage.project("config_snapshot.yaml")).unwrap();
    assert!(snapshot.contains("rtmp://127.0.0.1:1/app/***"), "{snapshot}");
    assert!(!stage.journal().is_empty());
    for (path, content) in tree(&stage.project("")) {
        let text = String::from_utf8_lossy(&content);
        for secret in secrets {
            assert!(!text.contains(secret), "{secret} stands in {}", path.display());
        }
    }
}

#[test]
fn no_log_shows_a_secret_not_even_that_of_gstreamer() {
    // As the name of a file, a token goes through elements that log all that they are given.
    let token = "t0ken-s3cret";
    let stage = Stage::new(&with(small(), json!({"backend": {"api_token": token}})));
    let to = format!("file:{token}.mp4");
    let arguments = [
        "-w", "w", "-o", "out", "-v", "-v", "live", "--for", "200ms", "--listen", "off", "--to",
        &to,
    ];
    let mut show = stage.vfaq(&arguments);
    show.env("GST_DEBUG", "filesink:6").env("GST_DEBUG_FILE", "gst-%p.log");
    let output = show.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(stage.path(&format!("{token}.mp4")).exists());

    let logged = |name: &str| {
        tree(&stage.path("")).into_iter().find(|(p, c)| {
            p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(name)) && !c.is_empty()
        })
    };
    let (_, gstreamer) = logged("gst-").unwrap();
    let gstreamer = String::from_utf8_lossy(&gstreamer);
    assert!(gstreamer.contains("***.mp4") && gstreamer.contains("filesink"), "{gstreamer}");
    assert!(!gstreamer.contains(token) && !gstreamer.contains('\u{1b}'), "{gstreamer}");
    let (_, own) = logged("vfaq.log").unwrap();
    assert!(!String::from_utf8_lossy(&own).contains(token));
}
