//! `vfaq doctor` as a user meets it: the screen, the verdict, the exit code.
#![cfg(feature = "gst")]
#![allow(clippy::unwrap_used, reason = "a test may stop where it cannot go on")]

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use unicode_width::UnicodeWidthStr;

const GOOD: &str = "
live: {canvas: 320x180, fps: 30, bitrate_kbps: 500, min_free_mb: 50, listen: off}
generation: {width: 128, height: 72, video_frames: 8, video_fps: 8}
";

/// Runs in `folder`, where the worqspace is.
fn doctor(folder: &Path, args: &[&str]) -> Output {
    command(folder, args).output().unwrap()
}

fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vfaq"));
    command.current_dir(folder).arg("doctor").args(args).env_remove("RUST_LOG");
    command
}

fn worqspace(config: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("worqspace")).unwrap();
    fs::write(folder.path().join("worqspace/config.yaml"), config).unwrap();
    fs::write(folder.path().join("worqspace/tasq.md"), "slow rivers of molten glass\n").unwrap();
    folder
}

/// What was printed, after a look at what holds for every screen.
fn screen(output: &Output) -> String {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(text.lines().count() <= 40, "{text}");
    assert!(text.lines().all(|line| line.width() <= 100), "{text}");
    assert!(!text.contains('\x1b'), "no colours in a pipe: {text}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{text}");
    text
}

#[track_caller]
fn line<'a>(screen: &'a str, name: &str) -> &'a str {
    let has = |line: &&str| line.split_whitespace().any(|word| word == name);
    screen.lines().find(has).unwrap_or_else(|| panic!("no line {name}:\n{screen}"))
}

fn verdict(screen: &str) -> &str {
    screen.lines().last().unwrap_or_default()
}

#[test]
fn a_good_machine_can_do_the_show_and_its_encoders_are_measured() {
    let folder = worqspace(GOOD);
    let output = doctor(folder.path(), &[]);
    let text = screen(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(verdict(&text).starts_with("This machine can do the show"), "{text}");
    assert!(line(&text, "worqspace").contains("no problems"), "{text}");
    let encoder = line(&text, "libx264");
    assert!(encoder.contains(" fps") && encoder.contains("the show takes it"), "{text}");
    assert!(line(&text, "mock").contains("a clip of 1.0 s takes"), "{text}");
    assert!(line(&text, "disk").contains("h of recording"), "{text}");
    // It leaves nothing behind.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn the_same_for_machines() {
    let folder = worqspace(GOOD);
    let output = doctor(folder.path(), &["--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{report:#}");
    assert_eq!(report["can_run"], true);
    let findings = report["findings"].as_array().unwrap();
    let named = |name: &str| findings.iter().find(|f| f["name"] == name).unwrap();
    assert_eq!(named("libx264")["mark"], "ok", "{report:#}");
    assert!(named("libx264")["numbers"]["fps"].as_f64().unwrap() > 36.0, "{report:#}");
    assert_eq!(named("mock")["numbers"]["clip_seconds"], 1.0);
    assert!(named("mock")["numbers"]["cycle_seconds"].as_f64().unwrap() > 0.0);
    assert!(named("disk")["numbers"]["recording_hours"].as_f64().unwrap() > 0.0);
}

#[test]
fn broken_settings_are_said_and_the_machine_is_judged_all_the_same() {
    let broken = GOOD.replace("fps: 30", "fps: fast, no_such_key: 1");
    let folder = worqspace(&broken);
    let output = doctor(folder.path(), &[]);
    let text = screen(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(line(&text, "worqspace").contains("2 problems"), "{text}");
    assert!(text.contains("vfaq config check -w worqspace"), "{text}");
    assert!(text.contains("320x180 at 60 fps"), "{text}");
    assert!(line(&text, "libx264").contains(" fps"), "{text}");
    assert!(verdict(&text).contains("warning"), "{text}");
    assert!(verdict(&text).contains("worqspace"), "{text}");
}

#[test]
fn it_needs_no_worqspace() {
    let folder = tempfile::tempdir().unwrap();
    let output = doctor(folder.path(), &["-w", "nowhere"]);
    let text = screen(&output);
    assert!(line(&text, "worqspace").contains("there is no folder nowhere"), "{text}");
    assert!(line(&text, "show").contains("1920x1080 at 60 fps"), "{text}");
    assert!(verdict(&text).starts_with("This machine can"), "{text}");
}

#[test]
fn a_port_in_use_and_a_generator_that_does_not_answer_are_warned_about() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let config = GOOD.replace("listen: off", &format!("listen: '{address}'"));
    let folder =
        worqspace(&format!("{config}backend: {{type: comfyui, api_url: 'http://127.0.0.1:1'}}\n"));
    let output = doctor(folder.path(), &[]);
    let text = screen(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    let port = line(&text, "port");
    assert!(port.contains("warn") && port.contains(&address), "{text}");
    let comfyui = line(&text, "comfyui");
    assert!(comfyui.contains("warn") && comfyui.contains("127.0.0.1:1"), "{text}");
    assert!(text.contains("stood in for by the built-in one"), "{text}");
    assert!(verdict(&text).contains("with 2 warnings: comfyui, port."), "{text}");
}

#[test]
fn a_rehearsal_left_in_the_settings_is_noticed() {
    let backend = "backend: {mock_delay: 30, mock_fail_rate: 0.25}\n";
    let folder = worqspace(&format!("{GOOD}{backend}"));
    let text = screen(&doctor(folder.path(), &[]));
    let mock = line(&text, "mock");
    assert!(mock.contains("warn") && mock.contains("takes 30.00 s"), "{text}");
    assert!(text.contains("25 % fail"), "{text}");
}

#[test]
fn a_project_that_cannot_be_written_stops_a_show() {
    let folder = worqspace(GOOD);
    let output = doctor(folder.path(), &["-o", "worqspace/tasq.md/show"]);
    let text = screen(&output);
    assert_eq!(output.status.code(), Some(69), "{text}");
    let disk = line(&text, "disk");
    assert!(disk.contains("bad") && disk.contains("worqspace/tasq.md/show"), "{text}");
    assert_eq!(verdict(&text), "This machine cannot do the show: disk.");
}

#[test]
fn what_gstreamer_lacks_is_named_with_its_packages() {
    let folder = worqspace(GOOD);
    let empty = tempfile::tempdir().unwrap();
    let output = command(folder.path(), &[])
        .env("GST_PLUGIN_SYSTEM_PATH_1_0", empty.path())
        .env("GST_PLUGIN_SYSTEM_PATH", empty.path())
        .env("GST_PLUGIN_PATH_1_0", empty.path())
        .env("GST_PLUGIN_PATH", empty.path())
        .env("GST_REGISTRY_1_0", empty.path().join("registry.bin"))
        .env("GST_REGISTRY", empty.path().join("registry.bin"))
        .output()
        .unwrap();
    let text = screen(&output);
    assert_eq!(output.status.code(), Some(69), "{text}");
    for name in ["x264enc", "mp4mux", "h264parse", "avdec_h264", "videoconvert"] {
        assert!(text.contains(name), "{name}: {text}");
    }
    let install = text.lines().find(|line| line.contains("sudo apt install")).unwrap();
    let install = &text[text.find(install).unwrap()..];
    for package in ["plugins-base", "plugins-good", "plugins-bad", "plugins-ugly", "libav"] {
        assert!(install.contains(&format!("gstreamer1.0-{package}")), "{package}: {text}");
    }
    assert_eq!(verdict(&text), "This machine cannot do the show: elements, encoder.");
}

/// Every package name once more against the system, where that is Debian or a child of it.
#[test]
fn installed_elements_come_from_the_packages_that_are_named() {
    let Ok(dpkg) = Command::new("dpkg").arg("--version").output() else { return };
    if !dpkg.status.success() {
        return;
    }
    for need in vfaq::stream::check::NEEDS {
        for element in need.0 {
            let Ok(inspect) = Command::new("gst-inspect-1.0").arg(element).output() else { return };
            let text = String::from_utf8_lossy(&inspect.stdout);
            let file = text.lines().find_map(|l| l.trim().strip_prefix("Filename "));
            let Some(plugin) = file.and_then(|f| f.trim().rsplit('/').next()) else { continue };
            let owner = Command::new("dpkg").arg("-S").arg(format!("*/{plugin}")).output().unwrap();
            let owner = String::from_utf8_lossy(&owner.stdout);
            let package = vfaq::stream::check::package(element);
            assert!(owner.contains(package), "{element} is in {owner}, not in {package}");
        }
    }
}
