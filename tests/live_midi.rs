//! MIDI as a performer has it: a JACK server, another program with ports on it, and a show.
//!
//! The other program is this test again, in a process of its own: it sends what it is told on its
//! standard input, and prints what it receives.
#![cfg(all(feature = "gst", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop")]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use midir_jack::os::unix::{VirtualInput, VirtualOutput};
use midir_jack::{MidiInput, MidiOutput};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use support::jack::{Jack, until_open};
use support::show::{SOON, Show, Stage, small, with};

const PADS: &str = "VFAQ_TEST_PADS";
/// From a message to what comes of it, on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(10);

/// Another program with a port each way.
fn plug(jack: &Jack, name: &str) -> Pads {
    Pads::start(name, &jack.name)
}

/// Another program with MIDI ports.
struct Pads {
    child: Child,
    tell: ChildStdin,
    lines: Receiver<String>,
    got: Vec<String>,
}

impl Pads {
    fn start(name: &str, server: &str) -> Pads {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_other_program", "--ignored", "--nocapture"])
            .env(PADS, name)
            .env("JACK_DEFAULT_SERVER", server)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                // The test may be over.
                let _ = sender.send(line);
            }
        });
        let tell = child.stdin.take().unwrap();
        let mut pads = Pads { child, tell, lines, got: Vec::new() };
        pads.wait_for("ready");
        pads
    }

    fn send(&mut self, bytes: &[u8]) {
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(self.tell, "send {}", hex.join(" ")).unwrap();
    }

    fn flood(&mut self, count: u32) {
        writeln!(self.tell, "flood {count}").unwrap();
        self.wait_for("flooded");
    }

    /// Waits for a line, received before or to come.
    fn wait_for(&mut self, text: &str) {
        while !self.got.iter().any(|line| line.contains(text)) {
            match self.lines.recv_timeout(SOON) {
                Ok(line) => self.got.push(line),
                Err(e) => panic!("no {text:?} ({e}); got {:?}", self.got),
            }
        }
    }

    /// Forgets what was received so far.
    fn forget(&mut self) {
        self.lines.try_iter().for_each(drop);
        self.got.clear();
    }

    /// As if the cable was pulled.
    fn unplug(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Pads {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "it is the other program of the tests"]
fn the_other_program() {
    let Ok(name) = std::env::var(PADS) else { return };
    let output = until_open(|| MidiOutput::new(&name));
    let mut out = output.create_virtual("out").unwrap();
    let input = MidiInput::new(&name).unwrap();
    let got = |_: u64, bytes: &[u8], (): &mut ()| {
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        println!("got {}", hex.join(" "));
    };
    let _input = input.create_virtual("in", got, ()).unwrap();
    println!("ready");
    for line in std::io::stdin().lines().map_while(Result::ok) {
        if let Some(hex) = line.strip_prefix("send ") {
            let bytes: Vec<u8> =
                hex.split(' ').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
            out.send(&bytes).unwrap();
        } else if let Some(count) = line.strip_prefix("flood ") {
            for i in 0..count.parse::<u32>().unwrap() {
                out.send(&[0xB0, 21, (i % 128) as u8]).unwrap();
                if i % 100 == 0 {
                    out.send(&[0x90, 38, 100]).unwrap();
                    out.send(&[0x80, 38, 0]).unwrap();
                }
                std::thread::park_timeout(Duration::from_millis(1));
            }
            println!("flooded");
        }
    }
}

const MAP: &str = "\
title: Pads of the test
match: [pads]
bindings:
  - {control: cc 1.21, to: fx/zoom, range: [1, 2]}
  - {control: cc 1.22, to: fx/blur, mode: pickup, feedback: true}
  - {control: note 1.36, to: fx/blackout, feedback: {on: 3, off: 1}}
  - {control: note 1.38, to: fx/glitch_hit}
";

fn stage() -> Stage {
    let stage = Stage::new(&with(small(), json!({"live": {"record": false}})));
    stage.write("w/presets/controllers/pads.yaml", MAP);
    stage
}

fn value(state: &Value, address: &str) -> f64 {
    state["params"][address].as_f64().unwrap()
}

fn midi(show: &Show) -> Value {
    show.get("/api/v1/midi").json().unwrap()
}

fn until_connected(show: &mut Show, name: &str, connected: bool) {
    show.until(&format!("{name} connected: {connected}"), SOON, |show| {
        let midi = midi(show);
        let port = midi["ports"].as_array().unwrap().iter().find(|p| p["name"] == name)?;
        (port["connected"] == connected).then_some(())
    });
    // JACK takes a connection up with one of its next periods.
    std::thread::park_timeout(Duration::from_millis(400));
}

fn until_value(show: &mut Show, address: &str, wanted: f64) {
    show.until(&format!("{address} = {wanted}"), AT_ONCE, |show| {
        // The state is put together a few times a second; the parameters are as they are.
        let params: Value = show.get("/api/v1/params").json().unwrap();
        let param = params.as_array()?.iter().find(|p| p["address"] == address)?.clone();
        ((param["value"].as_f64()? - wanted).abs() < 0.01).then_some(())
    });
}

#[test]
fn a_fader_steers_the_show_and_lamps_follow_also_after_it_was_unplugged() {
    let Some(jack) = Jack::start("show") else { return };
    let mut pads = plug(&jack, "pads");
    let stage = stage();
    let mut show = jack.live(&stage, &[]);
    until_connected(&mut show, "pads", true);
    // The whole state, once it is connected.
    pads.wait_for("got 90 24 01");
    pads.wait_for("got b0 16 00");

    pads.send(&[0xB0, 21, 127]);
    until_value(&mut show, "/fx/zoom", 2.0);
    // Half a SysEx, then a message; and a running status with a byte of the clock in it.
    pads.send(&[0xF0, 0x47, 0x7F]);
    pads.send(&[0xB0, 0xF8, 21, 64, 21, 0]);
    until_value(&mut show, "/fx/zoom", 1.0);

    // Lamps show what somebody else does; a fader is not moved under the hand.
    pads.forget();
    show.put("/api/v1/params/fx/blackout", &json!({"value": 1}));
    pads.wait_for("got 90 24 03");
    show.put("/api/v1/params/fx/blur", &json!({"value": 0.5}));
    pads.wait_for("got b0 16 40");
    pads.forget();
    pads.send(&[0xB0, 22, 10, 22, 100]);
    until_value(&mut show, "/fx/blur", 100.0 / 127.0);
    pads.send(&[0x90, 36, 100, 36, 0]);
    until_value(&mut show, "/fx/blackout", 0.0);
    pads.wait_for("got 90 24 01");
    assert!(!pads.got.iter().any(|line| line.starts_with("got b0 16")), "{:?}", pads.got);

    // The cable is pulled, and plugged in again.
    pads.unplug();
    until_connected(&mut show, "pads", false);
    show.until_state("a warning", |state| {
        state["warnings"].to_string().contains("pads is unplugged")
    });
    show.line("pads is gone; its bindings are kept");
    let mut pads = plug(&jack, "pads");
    until_connected(&mut show, "pads", true);
    show.until_state("no warning", |state| !state["warnings"].to_string().contains("unplugged"));
    pads.wait_for("got 90 24 01");
    pads.send(&[0xB0, 21, 127]);
    until_value(&mut show, "/fx/zoom", 2.0);

    // A thousand messages a second.
    let before = show.state()["steering"]["accepted"].as_u64().unwrap();
    pads.flood(2000);
    pads.send(&[0xB0, 21, 64]);
    until_value(&mut show, "/fx/zoom", 2f64.powf(64.0 / 127.0));
    let state =
        show.until_state("all of it", |state| state["midi"]["messages"].as_u64() >= Some(2040));
    let moved = state["steering"]["accepted"].as_u64().unwrap() - before;
    println!("2000 moves and 20 triggers in two seconds became {moved} changes");
    println!("from a message to the encoder: {}", state["steering"]["latency_ms"]);
    assert!(moved < 1500, "{moved}");
    assert_eq!((&state["midi"]["lost"], &state["midi"]["refused"]), (&json!(0), &json!(0)));
    assert!(value(&state, "/fx/zoom") > 1.0);
    let metrics = show.get("/metrics").text().unwrap();
    assert!(metrics.contains("vfaq_midi_ports{state=\"connected\"} 2"), "{metrics}");
    show.stop();

    let changes = stage.events("param");
    let by_midi: Vec<_> = changes.iter().filter(|e| e["source"] == "midi pads").collect();
    let hits = by_midi.iter().filter(|e| e["address"] == "/fx/glitch_hit").count();
    assert_eq!(hits, 20, "no trigger is lost");
    assert_eq!((&by_midi[0]["address"], &by_midi[0]["value"]), (&json!("/fx/zoom"), &json!(2.0)));
}

#[test]
fn a_control_is_learned_over_http_saved_and_used_by_the_next_show() {
    let Some(jack) = Jack::start("learn") else { return };
    let mut keys = plug(&jack, "my keys");
    let stage = stage();
    let mut show = jack.live(&stage, &[]);
    until_connected(&mut show, "my keys", true);
    let delete = |show: &Show, path: &str| -> (u16, Value) {
        let url = format!("{}{path}", show.url);
        let answer = reqwest::blocking::Client::new().delete(url).send().unwrap();
        (answer.status().as_u16(), answer.json().unwrap())
    };

    let answer = show.post_json("/api/v1/midi/learn", &json!({"address": "/fx/hue"}));
    assert_eq!(answer.json::<Value>().unwrap()["learning"], "/fx/hue");
    // It trembles, then it is moved.
    keys.send(&[0xB4, 70, 64, 70, 65]);
    keys.send(&[0xB4, 71, 10, 71, 30, 71, 50]);
    show.until("learned", AT_ONCE, |show| midi(show)["learning"].is_null().then_some(()));
    keys.send(&[0xB4, 71, 127]);
    until_value(&mut show, "/fx/hue", 180.0);
    assert_eq!(midi(&show)["last"], json!({"port": "my keys", "message": "cc 5.71 = 127"}));
    show.post_json("/api/v1/midi/learn", &json!({"address": "/fx/flash"}));
    keys.send(&[0x94, 60, 90, 60, 0]);
    let learned = show.until("a second one", AT_ONCE, |show| {
        let bindings = midi(show)["bindings"].as_array().unwrap().clone();
        let learned: Vec<Value> = bindings.into_iter().filter(|b| b["map"] == "learned").collect();
        (learned.len() == 2).then_some(learned)
    });
    assert_eq!(
        (&learned[1]["control"], &learned[1]["mode"]),
        (&json!("note 5.60"), &json!("trigger"))
    );
    assert_eq!(learned[0]["address"], "/fx/hue");

    // What is wrong is said.
    for (body, status) in [
        (json!({"address": "/fx/hua"}), 404),
        (json!({"a": 1}), 400),
        (json!({"address": "/prompt/text"}), 400),
    ] {
        assert_eq!(show.post_json("/api/v1/midi/learn", &body).status(), status, "{body}");
    }
    show.post_json("/api/v1/midi/learn", &json!({"address": "/fx/blur"}));
    assert!(delete(&show, "/api/v1/midi/learn").1["learning"].is_null());
    let n = learned[1]["n"].as_u64().unwrap();
    assert_eq!(delete(&show, &format!("/api/v1/midi/bindings/{n}")).0, 200);
    assert_eq!(delete(&show, &format!("/api/v1/midi/bindings/{n}")).0, 404);
    assert_eq!(show.post_json("/api/v1/midi/maps", &json!({"name": "../x"})).status(), 400);
    let saved = show.post_json("/api/v1/midi/maps", &json!({"name": "keys"}));
    assert_eq!(saved.status(), 201);
    show.stop();

    let file = "w/presets/controllers/keys.yaml";
    let text = std::fs::read_to_string(stage.path(file)).unwrap();
    assert!(text.contains("{control: cc 5.71, to: fx/hue, mode: absolute}"), "{text}");
    assert!(text.contains("match: [\"my keys\"]") && !text.contains("5.60"), "{text}");
    let said = support::output_of(&mut jack.vfaq(stage.vfaq(&["midi", "map", "check", file])));
    assert!(String::from_utf8(said).unwrap().contains("keys.yaml: all right"));
    let said = support::output_of(&mut jack.vfaq(stage.vfaq(&["-w", "w", "midi", "list"])));
    let said = String::from_utf8(said).unwrap();
    let line = said.lines().find(|line| line.contains("my keys")).unwrap();
    assert!(line.contains("in, out") && line.ends_with("keys"), "{said}");

    // The server ends and begins again in the next show.
    let mut show = jack.live(&stage, &[]);
    until_connected(&mut show, "my keys", true);
    keys.send(&[0xB4, 71, 0]);
    until_value(&mut show, "/fx/hue", -180.0);
    let name = jack.name.clone();
    drop((keys, jack));
    // At once, before anybody has seen that it was gone.
    let jack = Jack::of_name(name).unwrap();
    let mut keys = plug(&jack, "my keys");
    show.until("the fader in the new server", SOON, |show| {
        keys.send(&[0xB4, 71, 127]);
        let params: Value = show.get("/api/v1/params").json().unwrap();
        let hue = params.as_array()?.iter().find(|p| p["address"] == "/fx/hue")?.clone();
        (hue["value"] == 180.0).then_some(())
    });
    show.stop();
}

#[test]
fn messages_are_shown_and_learned_without_a_show() {
    let Some(jack) = Jack::start("cli") else { return };
    let mut pads = plug(&jack, "pads");
    let stage = stage();
    let spawn = |arguments: &[&str]| {
        let mut command = jack.vfaq(stage.vfaq(arguments));
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("vfaq");
        // It says so once it listens; see `until_connected`.
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening to pads") {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "it ended");
        }
        std::thread::park_timeout(Duration::from_millis(400));
        (child, said)
    };
    let (child, _said) = spawn(&["midi", "monitor", "-p", "PADS", "--count", "3"]);
    pads.send(&[0xB0, 1, 64, 33, 5]);
    pads.send(&[0x9F, 36, 100]);
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(output.status.success() && lines.len() == 3, "{text}");
    assert!(lines[0].ends_with("cc 1.1 = 64") && lines[0].contains("pads"), "{text}");
    assert!(lines[1].ends_with("cc 1.33 = 5  (cc14 1.1 = 8197)"), "{text}");
    assert!(lines[2].ends_with("note 16.36 = 100"), "{text}");

    // Ctrl-C ends it cleanly.
    let (child, _said) = spawn(&["midi", "monitor"]);
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    assert!(child.wait_with_output().unwrap().status.success());

    let (child, _said) = spawn(&["-w", "w", "midi", "learn", "fx/bloom"]);
    pads.send(&[0xB0, 40, 65, 40, 63, 40, 65]);
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    let line = "{control: cc 1.40, to: fx/bloom, mode: relative, encoding: binary_offset}";
    assert!(text.contains(line), "{text}");
    let (child, _said) = spawn(&["-w", "w", "midi", "learn", "fx/flash", "--save", "pads"]);
    pads.send(&[0x90, 36, 100]);
    assert!(child.wait_with_output().unwrap().status.success());
    let text = std::fs::read_to_string(stage.path("w/presets/controllers/pads.yaml")).unwrap();
    assert!(text.contains("{control: note 1.36, to: fx/flash, mode: trigger}"), "{text}");
    assert!(text.contains("cc 1.21, to: fx/zoom") && !text.contains("blackout"), "{text}");
}

#[test]
fn without_midi_a_show_goes_on_and_a_wrong_map_is_said() {
    let stage = stage();
    stage.write("w/presets/controllers/bad.yaml", "bindings:\n- {control: cc 1.1, to: fx/zom}\n");
    let nowhere = |mut command: Command| {
        command.env("JACK_DEFAULT_SERVER", "vfaq-there-is-none");
        command
    };
    let live = ["-w", "w", "-o", "out", "live", "--listen", "127.0.0.1:0"];
    let mut show = Show::start(nowhere(stage.vfaq(&[&live[..], &["--midi", "on"][..]].concat())));
    show.line("bad.yaml:2: bindings[0].to: no parameter /fx/zom; did you mean /fx/zoom?");
    if !std::path::Path::new("/dev/snd/seq").exists() {
        show.until_state("a warning", |state| state["warnings"].to_string().contains("MIDI"));
    }
    show.stop();
    let mut show = Show::start(nowhere(stage.vfaq(&[&live[..], &["--midi", "off"][..]].concat())));
    show.until_state("on air", |state| state["frames"]["rendered"].as_u64() > Some(0));
    assert_eq!(midi(&show)["ports"], json!([]));
    let answer = show.post_json("/api/v1/midi/learn", &json!({"address": "/fx/zoom"}));
    assert_eq!(answer.status(), 503);
    show.stop();

    let output = stage.vfaq(&["midi", "map", "check", "w/presets/controllers/bad.yaml"]).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).contains("did you mean /fx/zoom?"));
    let output = nowhere(stage.vfaq(&["midi", "list"])).output().unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("JACK is not there"));
}
