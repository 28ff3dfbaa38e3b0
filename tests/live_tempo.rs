//! The tempo as a performer's machines give it: a MIDI clock over JACK, OS2L over TCP, beats by OSC,
//! taps over HTTP; and what happens when one of them is lost.
//!
//! The other program is this test again, in a process of its own: it plays a MIDI clock with jitter and
//! dropouts as it is told on its standard input.
#![cfg(all(feature = "gst", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop")]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use midir_jack::MidiOutput;
use midir_jack::os::unix::VirtualOutput;
use rosc::{OscMessage, OscPacket, OscType, encoder};
use serde_json::{Value, json};
use support::jack::{Jack, until_open};
use support::show::{SOON, Show, Stage, small, with};
use vfaq::base::clock::{Clock, SystemClock};

const CLOCK: &str = "VFAQ_TEST_CLOCK";
/// From another source to its tempo, on a busy machine.
const FOUND: Duration = Duration::from_secs(20);

/// Another program that plays a clock.
struct Drummer {
    child: Child,
    tell: ChildStdin,
    lines: Receiver<String>,
}

impl Drummer {
    fn start(server: &str) -> Drummer {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_other_program", "--ignored", "--nocapture"])
            .env(CLOCK, "drummer")
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
                let _ = sender.send(line);
            }
        });
        let tell = child.stdin.take().unwrap();
        let drummer = Drummer { child, tell, lines };
        while !drummer.lines.recv_timeout(SOON).unwrap().contains("ready") {}
        drummer
    }

    fn say(&mut self, line: &str) {
        writeln!(self.tell, "{line}").unwrap();
    }
}

impl Drop for Drummer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "it is the other program of the tests"]
fn the_other_program() {
    let Ok(name) = std::env::var(CLOCK) else { return };
    let output = until_open(|| MidiOutput::new(&name));
    let mut out = output.create_virtual("out").unwrap();
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    println!("ready");
    let clock = SystemClock::new();
    // Beats a minute; 0: it is silent.
    let (mut bpm, mut next, mut count) = (0.0f64, 0.0f64, 0u64);
    loop {
        let now = clock.now().as_secs_f64();
        // Up to 5 ms either way; one of a thousand is lost.
        let dice = count.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1) >> 33;
        let jitter = (dice % 1001) as f64 / 1000.0 * 0.01 - 0.005;
        let due = next + jitter + 0.005;
        let wait = if bpm > 0.0 { (due - now).max(0.0) } else { 1.0 };
        match lines.recv_timeout(Duration::from_secs_f64(wait)) {
            Ok(line) => {
                let (what, value) = line.split_once(' ').unwrap_or((&line, ""));
                match what {
                    "bpm" => {
                        bpm = value.parse().unwrap();
                        next = clock.now().as_secs_f64();
                    }
                    "start" => out.send(&[0xFA]).unwrap(),
                    "stop" => out.send(&[0xFC]).unwrap(),
                    other => panic!("{other}?"),
                }
            }
            Err(RecvTimeoutError::Timeout) if bpm > 0.0 => {
                count += 1;
                next += 60.0 / bpm / 24.0;
                if dice % 1000 != 0 {
                    out.send(&[0xF8]).unwrap();
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn stage(tempo: Value) -> Stage {
    let live = json!({
        "record": false, "canvas": "320x180", "interpolation": "blend",
        "osc": {"listen": "127.0.0.1:0", "query": "off"},
        "tempo": with(json!({"os2l": "127.0.0.1:0"}), tempo),
    });
    Stage::new(&with(small(), json!({"live": live})))
}

fn tempo(show: &mut Show, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let found = show.until(what, FOUND, |show| {
        let tempo = show.state()["tempo"].clone();
        is(&tempo).then_some(tempo)
    });
    println!("{what}: {} at {} bpm", found["source"], found["bpm"]);
    found
}

/// Within half a percent.
fn about(value: &Value, bpm: f64) -> bool {
    value.as_f64().is_some_and(|is| (is / bpm - 1.0).abs() < 0.005)
}

fn from(source: &'static str, bpm: f64) -> impl Fn(&Value) -> bool {
    move |tempo| tempo["source"] == source && tempo["led"] == true && about(&tempo["bpm"], bpm)
}

fn state<'a>(tempo: &'a Value, source: &str) -> &'a Value {
    let sources = tempo["sources"].as_array().unwrap();
    sources.iter().find(|one| one["source"] == source).unwrap()
}

fn press(show: &Show, param: &str) {
    show.put(&format!("/api/v1/params/tempo/{param}"), &json!({}));
}

/// Until `stop` is dropped, `beat` is called so often, with its number.
fn drum(bpm: f64, mut beat: impl FnMut(u32) + Send + 'static) -> std::sync::mpsc::Sender<()> {
    let (stop, stopped) = channel::<()>();
    std::thread::spawn(move || {
        let clock = SystemClock::new();
        for n in 0.. {
            let due = Duration::from_secs_f64(f64::from(n) * 60.0 / bpm);
            let wait = due.saturating_sub(clock.now());
            if stopped.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            beat(n);
        }
    });
    stop
}

#[test]
fn a_midi_clock_gives_the_beat_and_taps_go_on_when_it_is_lost() {
    let Some(jack) = Jack::start("tempo") else { return };
    let mut drummer = Drummer::start(&jack.name);
    let stage = stage(json!({"bpm": 100}));
    let mut command = stage.vfaq(&["-w", "w", "-o", "out", "live", "--listen", "127.0.0.1:0"]);
    command.env("JACK_DEFAULT_SERVER", &jack.name);
    let mut show = Show::start(command);
    let first = tempo(&mut show, "as it is set", from("fixed", 100.0));
    assert_eq!(state(&first, "midi")["state"], "silent");
    show.until("the drummer is connected", SOON, |show| {
        let midi: Value = show.get("/api/v1/midi").json().unwrap();
        let port = midi["ports"].as_array()?.iter().find(|p| p["name"] == "drummer")?.clone();
        (port["connected"] == true).then_some(())
    });
    std::thread::park_timeout(Duration::from_millis(500));

    drummer.say("start");
    drummer.say("bpm 128");
    let found = tempo(&mut show, "the clock", from("midi", 128.0));
    assert_eq!((&found["from"], &found["playing"]), (&json!("drummer"), &json!(true)));
    // It stays there, with jitter and what is missing. A busy machine is late with whole periods of
    // JACK; the mean is what counts then.
    std::thread::park_timeout(Duration::from_secs(3));
    let mut seen = Vec::new();
    for _ in 0..20 {
        let now = show.state()["tempo"].clone();
        assert!(now["source"] == "midi" && now["led"] == true, "{now}");
        seen.push(now["bpm"].as_f64().unwrap());
        std::thread::park_timeout(Duration::from_millis(250));
    }
    let mean = seen.iter().sum::<f64>() / seen.len() as f64;
    println!("128 bpm is {mean:.2}, of {seen:.2?}");
    assert!((mean / 128.0 - 1.0).abs() < 0.005, "{seen:?}");
    assert!(seen.iter().all(|bpm| (bpm / 128.0 - 1.0).abs() < 0.02), "{seen:?}");
    drummer.say("stop");
    tempo(&mut show, "stopped", |tempo| tempo["playing"] == false);
    drummer.say("start");
    tempo(&mut show, "started", |tempo| tempo["playing"] == true);
    drummer.say("bpm 140");
    tempo(&mut show, "a faster clock", from("midi", 140.0));
    press(&show, "double");
    tempo(&mut show, "twice", from("midi", 280.0));
    press(&show, "half");
    tempo(&mut show, "once", from("midi", 140.0));
    press(&show, "earlier");
    tempo(&mut show, "nudged", |tempo| tempo["nudge_ms"] == 10.0);

    // The cable is pulled: it goes on as it went.
    drop(drummer);
    let lost = tempo(&mut show, "lost", |tempo| tempo["led"] == false);
    assert!(lost["source"] == "midi" && about(&lost["bpm"], 140.0), "{lost}");
    assert_eq!(state(&lost, "midi")["state"], "lost");
    let later = tempo(&mut show, "the beat goes on", |tempo| {
        tempo["beat"].as_f64() > lost["beat"].as_f64().map(|beat| beat + 4.0)
    });
    assert!(about(&later["bpm"], 140.0), "{later}");

    // Somebody taps. A request takes a while, each a little different: see what came of it.
    for _ in 0..8 {
        press(&show, "tap");
        std::thread::park_timeout(Duration::from_millis(600));
    }
    let tapped = tempo(&mut show, "tapped", |tempo| tempo["source"] == "tap");
    let bpm = tapped["bpm"].as_f64().unwrap();
    assert!((80.0..101.0).contains(&bpm), "{bpm}");
    let params: Value = show.get("/api/v1/params").json().unwrap();
    let set = params.as_array().unwrap().iter().find(|p| p["address"] == "/tempo/bpm").unwrap();
    assert!((set["value"].as_f64().unwrap() - bpm).abs() < 1.0, "{set}");

    let mut command = stage.vfaq(&["tempo", "--at", show.url.trim_start_matches("http://")]);
    let said = String::from_utf8(support::output_of(&mut command)).unwrap();
    assert!(said.contains("tap") && said.contains("lost"), "{said}");
    let metrics = show.get("/metrics").text().unwrap();
    assert!(metrics.contains("vfaq_tempo_source{source=\"tap\"} 1"), "{metrics}");
    show.stop();
    let changes = stage.events("tempo");
    let sources: Vec<&str> = changes.iter().map(|e| e["source"].as_str().unwrap()).collect();
    assert!(sources.starts_with(&["midi"]), "{changes:?}");
    assert_eq!(sources.last(), Some(&"tap"), "{changes:?}");
}

#[test]
fn os2l_and_osc_give_the_beat_and_take_over_from_each_other() {
    let stage = stage(json!({}));
    let mut show = stage.live(&[]);
    let osc: SocketAddr = {
        let line = show.line("osc on ");
        line.trim_start_matches("osc on ").trim().parse().unwrap()
    };
    let os2l: SocketAddr = show
        .until("OS2L listens", SOON, |show| {
            show.state()["os2l"]["listen"].as_str().map(str::to_owned)
        })
        .parse()
        .unwrap();

    // As VirtualDJ speaks, and what it never would.
    let mut deck = TcpStream::connect(os2l).unwrap();
    deck.write_all(
        b"GET / HTTP/1.1\n{\"evt\":\"beat\",\"pos\":1e300}{\"evt\":\"btn\",\"name\":\"x\"}",
    )
    .unwrap();
    let playing = drum(126.0, move |n| {
        let beat = json!({"evt": "beat", "change": n == 0, "pos": n, "bpm": 126.0, "strength": 50});
        let _ = deck.write_all(beat.to_string().as_bytes());
    });
    let found = tempo(&mut show, "os2l", from("os2l", 126.0));
    assert!(found["from"].as_str().unwrap().starts_with("127.0.0.1:"), "{found}");
    let status = show.until_state("what was heard", |s| s["os2l"]["beats"].as_u64() > Some(4));
    let status = &status["os2l"];
    assert_eq!((&status["clients"], &status["ignored"]), (&json!(1), &json!(1)));
    assert!(status["refused"].as_u64() >= Some(2), "{status}");
    // Its first beat was the first of a bar: 1, 5, 9.
    let beat = |tempo: &Value| tempo["beat"].as_f64().unwrap();
    let before = beat(&found);

    // OSC comes before it; beats without numbers.
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let say = move |socket: &UdpSocket, addr: &str, args: Vec<OscType>| {
        let packet = OscPacket::Message(OscMessage { addr: addr.into(), args });
        socket.send_to(&encoder::encode(&packet).unwrap(), osc).unwrap();
    };
    for bpm in [0.0f32, 999.0, f32::NAN] {
        say(&socket, "/vfaq/bpm", vec![bpm.into()]);
    }
    let other = socket.try_clone().unwrap();
    let clicking = drum(133.0, move |_| say(&other, "/beat", vec![]));
    let found = tempo(&mut show, "osc", from("osc", 133.0));
    assert!(beat(&found) > before);
    let refused = show.state()["osc"]["refused"].clone();
    assert_eq!(refused["out_of_range"], 3);

    // It falls silent: OS2L leads again, and the beat never went back.
    drop(clicking);
    let mut last = beat(&found);
    let back = show.until("back to os2l", FOUND, |show| {
        let tempo = show.state()["tempo"].clone();
        assert!(beat(&tempo) >= last, "{tempo}");
        last = beat(&tempo);
        from("os2l", 126.0)(&tempo).then_some(tempo)
    });
    assert_eq!(state(&back, "osc")["state"], "lost");
    // By hand, although the other is there.
    show.put("/api/v1/params/tempo/bpm", &json!({"value": 90}));
    show.put("/api/v1/params/tempo/source", &json!({"value": "fixed"}));
    tempo(&mut show, "fixed", from("fixed", 90.0));
    show.put("/api/v1/params/tempo/source", &json!({"value": "auto"}));
    tempo(&mut show, "auto", from("os2l", 126.0));
    // The deck is switched off.
    drop(playing);
    let lost = tempo(&mut show, "lost", |tempo| tempo["led"] == false);
    assert!(about(&lost["bpm"], 126.0), "{lost}");
    show.stop();
}
