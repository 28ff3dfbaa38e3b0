//! NDI, received as a mixing desk receives it. NDI's runtime listens on all interfaces, so these
//! tests run in a network of their own; where that or the receiver (`scripts/test` makes it) cannot
//! be had, they say so and are skipped.
#![cfg(all(feature = "gst", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop")]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use support::output_of;
use support::show::{SOON, Show, Stage, small, with};

/// Set in the process that runs in a network of its own.
const INSIDE: &str = "VFAQ_TEST_NETWORK";

fn receiver() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/ndi-receiver");
    folder.join("ready").exists().then_some(folder)
}

/// The folder with NDI's runtime, that came with the receiver.
fn runtime(receiver: &Path) -> PathBuf {
    let libraries = std::fs::read_dir(receiver.join("lib")).expect("lib");
    let mut folders = libraries.map(|entry| entry.unwrap().path().join("site-packages/NDIlib"));
    folders.find(|folder| folder.is_dir()).expect("the package's folder")
}

/// Runs the named test again in a network of its own. True: this is that run.
fn in_own_network(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    if receiver().is_none() {
        println!("skipped: no NDI receiver in target/ndi-receiver; scripts/test makes it");
        return false;
    }
    let enter = |user: &'static [&'static str]| {
        let mut command = Command::new("unshare");
        command.args(user).args(["--net", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"]);
        command
    };
    let ways: [&[&str]; 2] = [&[], &["--map-root-user"]];
    let way = ways.into_iter().find(|way| {
        let tried = enter(way).arg("true").stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    });
    let Some(way) = way else {
        println!("skipped: no network namespaces here (unshare --net, ip)");
        return false;
    };
    let this = std::env::current_exe().expect("this program");
    let mut command = enter(way);
    command.arg(this).args(["--exact", test, "--nocapture"]).env(INSIDE, "1");
    assert!(command.status().expect("unshare").success(), "{test} failed in its own network");
    false
}

/// A show in the folder of `stage` that finds NDI's runtime in `runtime` alone.
fn show(stage: &Stage, runtime: &Path, arguments: &[&str]) -> Show {
    let mut command = stage.vfaq(&["-w", "w", "-o", "out", "live", "--summary", "summary.json"]);
    command.args(["--listen", "127.0.0.1:0"]).args(arguments);
    command.env_remove("LD_LIBRARY_PATH").env_remove("NDI_RUNTIME_DIR_V5");
    command.env("NDI_RUNTIME_DIR_V6", runtime);
    Show::start(command)
}

fn until_output(show: &mut Show, state: &str, reason: &str) -> Value {
    show.until(&format!("NDI {state}"), SOON, |show| {
        let output = show.state()["outputs"][0].clone();
        let said = output["reason"].as_str().unwrap_or_default();
        (output["state"] == state && said.contains(reason)).then_some(output)
    })
}

#[test]
fn picture_and_sound_arrive_by_ndi_and_a_name_is_had_once() {
    if !in_own_network("picture_and_sound_arrive_by_ndi_and_a_name_is_had_once") {
        return;
    }
    let python = receiver().expect("a receiver");
    let runtime = runtime(&python);
    let sound = json!({"live": {"audio": {"source": "file:tone.wav"}}});
    let stage = Stage::new(&with(small(), sound));
    let tone = ["-v", "error", "-f", "lavfi", "-i", "sine=f=440:d=120,volume=4"];
    output_of(Command::new("ffmpeg").args(tone).arg(stage.path("w/tone.wav")));
    let mut first = show(&stage, &runtime, &["--to", "ndi:Stage"]);
    until_output(&mut first, "live", "");
    first.until_state("on air", |state| state["phase"] == "live");

    let picture = stage.path("received.png");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/ndi_receive.py");
    let mut command = Command::new(python.join("bin/python"));
    command.arg(script).args(["Stage", "4"]).arg(&picture);
    let got: Value = serde_json::from_slice(&output_of(&mut command)).expect("JSON");
    println!("{got}");
    assert_eq!((&got["size"], &got["rate"]), (&json!([640, 360]), &json!([60, 1])));
    let (frames, seconds) = (got["frames"].as_f64().unwrap(), got["seconds"].as_f64().unwrap());
    assert!(frames / seconds > 54.0 && frames / seconds < 66.0, "{got}");
    assert!(got["distinct"].as_f64().unwrap() > frames * 0.8, "it stands still: {got}");
    assert_eq!((&got["sample_rate"], &got["channels"]), (&json!(48000), &json!(2)));
    let rate = got["samples"].as_f64().unwrap() / seconds;
    assert!((rate / 48_000.0 - 1.0).abs() < 0.1, "{rate} samples a second: {got}");
    assert!(got["rms"].as_f64().unwrap() > 0.1, "silent: {got}");
    let picture = image::open(&picture).expect("a picture").to_luma8();
    let bright = picture.pixels().filter(|pixel| pixel[0] > 40).count();
    assert!(bright * 10 > picture.len(), "black");

    let other = Stage::new(&small());
    let mut second = show(&other, &runtime, &["--no-record", "--to", "ndi:Stage"]);
    until_output(&mut second, "failed", "choose another name");
    second.stop();
    assert_eq!(first.state()["outputs"][0]["state"], "live");
    first.stop();
}

#[test]
fn without_ndis_runtime_the_show_goes_on_and_says_what_to_install() {
    let stage = Stage::new(&small());
    let empty = tempfile::tempdir().expect("a folder");
    let mut show = show(&stage, empty.path(), &["--to", "ndi:Stage"]);
    let output = until_output(&mut show, "unavailable", "https://ndi.video");
    let said = output["reason"].as_str().unwrap();
    for what in ["libndi", "NDI_RUNTIME_DIR_V6", "LD_LIBRARY_PATH"] {
        assert!(said.contains(what), "{said}");
    }
    show.until("two seconds recorded", Duration::from_secs(60), |show| {
        (show.state()["recording"]["frames"].as_u64()? > 120).then_some(())
    });
    show.stop();
}
