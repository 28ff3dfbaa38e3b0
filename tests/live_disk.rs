//! A disk that fills up: the recording ends cleanly while there is still room for that, and the
//! show goes on.
#![cfg(feature = "gst")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop")]

mod support;

use std::process::Command;

use serde_json::json;
use support::disk::Disk;
use support::show::{Show, Stage, small, with};

#[test]
fn the_recording_ends_before_the_disk_is_full_and_the_show_goes_on() {
    let stage = Stage::new(&with(small(), json!({"live": {"min_free_mb": 60}})));
    let Some(disk) = Disk::mount(&stage.path("disk"), 160) else {
        println!("skipped: mounting a small disk needs root and the right to mount");
        return;
    };
    let mut show = Show::start({
        let mut command = stage.vfaq(&["-w", "w", "-o", "disk/out", "live", "--to", "null:"]);
        command.args(["--listen", "127.0.0.1:0", "--summary", "summary.json"]);
        command
    });
    show.until_state("recording", |state| state["recording"]["frames"].as_u64() > Some(60));
    // Somebody else fills the disk, but for 40 MB.
    std::fs::write(disk.0.join("ballast"), vec![7; 120 << 20]).expect("room for this");
    let state = show.until_state("the end of the recording", |state| {
        state["recording"]["state"] == "stopped" && state["warnings"] != json!([])
    });
    let warnings = state["warnings"].to_string();
    assert!(warnings.contains("the recording has ended") && warnings.contains("min_free_mb"));
    assert_eq!(state["phase"], "live");
    let recorded = state["recording"]["frames"].as_u64().unwrap();

    // It is a whole file already, while picture and outputs go on.
    let path = stage.path("disk/out/final_60fps_1080p.mp4");
    support::assert_part(&path, recorded as usize, (640, 360));
    let sent = state["outputs"][0]["frames"].as_u64().unwrap();
    let state = show.until_state("the output goes on", |state| {
        state["outputs"][0]["frames"].as_u64() > Some(sent + 60)
    });
    assert_eq!(state["recording"]["frames"], recorded);
    show.stop();
    let summary = stage.summary();
    assert_eq!(summary["recording"]["frames"], recorded);
    assert_eq!(summary["outputs"][0]["frames"], summary["frames"]["rendered"]);
    assert_eq!(summary["frames"]["dropped"], 0);

    // And none is begun where there is no room for one.
    let run: &mut Command = &mut stage.vfaq(&["-w", "w", "-o", "disk/out", "live"]);
    let output = run.args(["--listen", "off", "--for", "1"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(74), "{said}");
    assert!(said.contains("min_free_mb") && said.contains("--no-record"), "{said}");
}
