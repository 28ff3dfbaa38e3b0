//! SRT to and from ffmpeg: receivers that come, freeze, die, come back, join late, or have another
//! passphrase. What they wrote is decoded and counted.
#![cfg(feature = "gst")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop")]

mod support;

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use support::show::{SOON, Show, Stage, small};
use support::{decode_luma, is_black, longest_freeze, probe};

const PASSPHRASE: &str = "correct horse";

/// ffmpeg, writing what it gets from an SRT address into a file. Killed when it is dropped.
struct Receiver {
    child: Child,
    file: PathBuf,
}

impl Receiver {
    fn start(stage: &Stage, name: &str, uri: &str) -> Receiver {
        let file = stage.path(name);
        let child = Command::new("ffmpeg")
            // Half a second is enough to know what a stream is.
            .args(["-v", "error", "-analyzeduration", "500000", "-i", uri])
            .args(["-map", "0", "-c", "copy", "-flush_packets", "1", "-f", "mpegts", "-y"])
            .arg(&file)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("ffmpeg");
        Receiver { child, file }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("a running process");
    }

    /// Ends as a user ends it, and gives the file.
    fn end(mut self) -> PathBuf {
        self.signal(Signal::SIGINT);
        let _ = self.child.wait();
        self.file.clone()
    }

    fn has(&self, bytes: u64) -> Option<()> {
        std::fs::metadata(&self.file).is_ok_and(|file| file.len() > bytes).then_some(())
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.local_addr().expect("an address").port()
}

/// Waits until output `n` is in that state for a reason that has `reason` in it.
fn until_output(show: &mut Show, n: usize, state: &str, reason: &str, within: Duration) -> Value {
    let what = format!("output {n} {state} ({reason})");
    show.until(&what, within, |show| {
        let output = show.state()["outputs"][n].clone();
        let said = output["reason"].as_str().unwrap_or_default();
        (output["state"] == state && said.contains(reason)).then_some(output)
    })
}

/// Asserts that a file has at least so many pictures that play, that they show the show, and that
/// they are one frame apart, but for `joints` places and what came before the first key frame.
fn assert_received(file: &Path, pictures: usize, joints: usize) {
    let shown = file.display();
    let places = probe(file).places();
    let apart = places.windows(2).filter(|two| (two[1] - two[0] - 1.0).abs() > 0.01).count();
    println!("{shown}: {} pictures, {apart} joints", places.len());
    assert!(apart <= joints, "{shown}: {apart} times not one frame apart: {places:?}");
    let luma = decode_luma(file, 64, 36);
    assert!(luma.len() >= pictures, "{shown}: {} of {} play", luma.len(), places.len());
    assert!(luma.iter().all(|picture| !is_black(picture)), "{shown}: black");
    assert!(longest_freeze(&luma).0 < 45, "{shown}: {:?}", longest_freeze(&luma));
}

fn assert_whole_recording(stage: &Stage) {
    let summary = stage.summary();
    let file = summary["recording"]["parts"][0].as_str().map(PathBuf::from).expect("a recording");
    let places = probe(&stage.path("").join(file)).places();
    let grid: Vec<f64> = (0..places.len()).map(|n| n as f64).collect();
    assert!(places == grid, "the recording leaves the grid: {places:?}");
}

/// Nothing that the show has said holds a passphrase.
fn assert_discreet(stage: &Stage, log: &str, secrets: &[&str]) {
    let summary = stage.summary().to_string();
    for secret in secrets {
        assert!(!log.contains(secret) && !summary.contains(secret), "{secret} is told");
    }
}

#[test]
fn a_receiver_that_freezes_and_dies_is_called_again() {
    let stage = Stage::new(&small());
    let port = free_port();
    let uri = format!("srt://127.0.0.1:{port}?mode=listener");
    let first = Receiver::start(&stage, "first.ts", &uri);
    let mut show = stage.live(&["--to", &format!("srt://127.0.0.1:{port}"), "--to", "null:"]);
    until_output(&mut show, 0, "live", "", SOON);
    show.until("some seconds of stream", SOON, |_| first.has(400_000));

    first.signal(Signal::SIGSTOP);
    until_output(&mut show, 0, "reconnecting", "has not answered", Duration::from_secs(5));
    let file = first.file.clone();
    drop(first);
    assert_received(&file, 60, 2);

    let second = Receiver::start(&stage, "second.ts", &uri);
    until_output(&mut show, 0, "live", "", SOON);
    show.until("some seconds of stream", SOON, |_| second.has(400_000));
    // One that says that it goes is known to have gone at once.
    let file = second.end();
    until_output(&mut show, 0, "reconnecting", "", Duration::from_secs(2));
    assert_received(&file, 90, 2);

    let state = show.state();
    assert!(state["outputs"][0]["reconnects"].as_u64().unwrap() >= 1, "{state:#}");
    assert_eq!(state["outputs"][1]["state"], "live");
    show.stop();
    assert_whole_recording(&stage);
}

#[test]
fn who_is_not_let_in_or_not_there_is_told_apart() {
    let stage = Stage::new(&small());
    let (open, locked, nobody) = (free_port(), free_port(), free_port());
    let _open = Receiver::start(&stage, "a.ts", &format!("srt://127.0.0.1:{open}?mode=listener"));
    let uri = format!("srt://127.0.0.1:{locked}?mode=listener&passphrase={PASSPHRASE}");
    let _locked = Receiver::start(&stage, "b.ts", &uri);
    let to = [
        format!("srt://127.0.0.1:{locked}?passphrase=wrong%20staple%20battery"),
        format!("srt://127.0.0.1:{locked}"),
        format!("srt://127.0.0.1:{open}?passphrase=wrong%20staple%20battery"),
        format!("srt://127.0.0.1:{nobody}"),
        format!("srt://no-such-host.invalid:{nobody}"),
    ];
    let arguments: Vec<&str> = to.iter().flat_map(|to| ["--to", to.as_str()]).collect();
    let mut show = stage.live(&arguments);
    for (n, state, reason) in [
        (0, "failed", "does not accept the passphrase"),
        (1, "failed", "asks for a passphrase"),
        (2, "failed", "takes no passphrase"),
        (3, "starting", "no answer"),
        (4, "starting", "is not known"),
    ] {
        until_output(&mut show, n, state, reason, SOON);
    }
    let state = show.state();
    assert_eq!(state["outputs"][0]["reconnects"], 0, "{state:#}");
    let log = show.stop();
    assert_discreet(&stage, &log, &["wrong staple", "wrong%20staple"]);
    assert_whole_recording(&stage);
}

#[test]
fn a_listener_serves_whoever_calls() {
    let stage = Stage::new(&small());
    let (port, taken) = (free_port(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let taken_port = taken.local_addr().unwrap().port();
    let mut show = stage.live(&[
        "--to",
        &format!("srt://127.0.0.1:{port}?mode=listener&passphrase=correct%20horse"),
        "--to",
        &format!("srt://127.0.0.1:{taken_port}?mode=listener"),
    ]);
    let waiting = format!("waiting for a receiver on port {port}");
    until_output(&mut show, 0, "starting", &waiting, SOON);
    until_output(&mut show, 1, "starting", "is in use by another program", SOON);
    drop(taken);
    until_output(&mut show, 1, "starting", "waiting for a receiver", SOON);

    let uri = format!("srt://127.0.0.1:{port}?mode=caller&passphrase={PASSPHRASE}");
    let early = Receiver::start(&stage, "early.ts", &uri);
    until_output(&mut show, 0, "live", "1 receiver", SOON);
    show.until("a second of stream", SOON, |_| early.has(150_000));
    let late = Receiver::start(&stage, "late.ts", &uri);
    until_output(&mut show, 0, "live", "2 receivers", SOON);
    let wrong = format!("srt://127.0.0.1:{port}?mode=caller&passphrase=wrong staple");
    let mut unwanted = Receiver::start(&stage, "unwanted.ts", &wrong);
    assert!(!unwanted.child.wait().unwrap().success(), "let in with a wrong passphrase");
    show.until("two seconds of stream", SOON, |_| late.has(300_000));

    // One that stands still disturbs no other, and is given up.
    early.signal(Signal::SIGSTOP);
    until_output(&mut show, 0, "live", "1 receiver", Duration::from_secs(7));
    let early_file = early.file.clone();
    drop(early);
    let late_file = late.end();
    until_output(&mut show, 0, "reconnecting", &waiting, Duration::from_secs(7));
    assert_received(&early_file, 60, 1);
    assert_received(&late_file, 120, 1);

    let again = Receiver::start(&stage, "again.ts", &uri);
    until_output(&mut show, 0, "live", "1 receiver", SOON);
    show.until("a second of stream", SOON, |_| again.has(150_000));
    let log = show.stop();
    assert_received(&again.end(), 30, 1);
    assert_discreet(&stage, &log, &[PASSPHRASE]);
    assert_whole_recording(&stage);
}
