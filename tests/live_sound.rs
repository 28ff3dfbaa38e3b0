//! The set's sound in the stream, as a performer has it: programs on a JACK server, files, devices
//! that are not there, and sources that die and come back.
#![cfg(all(feature = "gst", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop")]

mod support;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use support::jack::Jack;
use support::nginx::Nginx;
use support::show::{Show, Stage, small, with};

const RATE: usize = 48_000;
/// From what happens to what comes of it, on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(40);

fn stage(source: &str) -> Stage {
    let sound = json!({"live": {"audio": {"source": source}, "midi": {"enabled": "off"}}});
    Stage::new(&with(small(), sound))
}

/// Another program that plays a tone into JACK.
struct Deck(Child);

impl Deck {
    fn start(jack: &Jack, hz: u32) -> Deck {
        // The server may have been started just before; then there is nobody to play to.
        for _ in 0..30 {
            let mut deck = Deck::once(jack, hz);
            std::thread::park_timeout(Duration::from_secs(1));
            if deck.0.try_wait().unwrap().is_none() {
                return deck;
            }
        }
        panic!("no program plays into JACK");
    }

    fn once(jack: &Jack, hz: u32) -> Deck {
        let child = Command::new("gst-launch-1.0")
            .args(["-q", "audiotestsrc", "is-live=true", "volume=0.5", &format!("freq={hz}"), "!"])
            .args(["audio/x-raw,channels=2,rate=48000", "!", "jackaudiosink", "client-name=deck"])
            .args(["connect=none", "buffer-time=200000"])
            .env("JACK_DEFAULT_SERVER", &jack.name)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Deck(child)
    }
}

impl Drop for Deck {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn until_sound(show: &mut Show, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    show.until(what, AT_ONCE, |show| Some(show.state()).filter(|state| is_so(&state["sound"])))
}

fn rms(sound: &Value) -> f64 {
    sound["rms_db"][0].as_f64().unwrap()
}

/// How much of each tenth of a second is a sine of this frequency, 0 to 1, after Goertzel; `None`
/// where it is silent.
fn share_of(sound: &[f32], hz: f64) -> Vec<Option<f64>> {
    let turn = std::f64::consts::TAU * hz / RATE as f64;
    sound
        .chunks_exact(RATE / 10)
        .map(|block| {
            let power: f64 = block.iter().map(|s| f64::from(s * s)).sum();
            let (mut re, mut im) = (0.0, 0.0);
            for (i, s) in block.iter().enumerate() {
                re += f64::from(*s) * (turn * i as f64).cos();
                im += f64::from(*s) * (turn * i as f64).sin();
            }
            let tone = (re * re + im * im) * 2.0 / block.len() as f64;
            (power > 0.01).then_some(tone / power)
        })
        .collect()
}

/// The longest stretch of tenths for which something holds, in seconds.
fn longest(tenths: &[Option<f64>], holds: impl Fn(&Option<f64>) -> bool) -> f64 {
    let (mut longest, mut now) = (0, 0);
    for tenth in tenths {
        now = if holds(tenth) { now + 1 } else { 0 };
        longest = longest.max(now);
    }
    f64::from(longest) / 10.0
}

/// The sound of a recording, which is as long as its picture and has no gap.
fn whole_sound(path: &Path) -> Vec<f32> {
    assert_eq!(support::complaints(path), "");
    let probe = support::probe(path);
    let (starts, ends) = probe.sound_off_by();
    assert!(starts.abs() < 0.006 && ends.abs() < 0.03, "{starts} {ends}");
    let json = support::output_of(
        Command::new("ffprobe")
            .args(["-v", "error", "-select_streams", "a", "-show_entries", "packet=pts_time"])
            .args(["-of", "csv=p=0"])
            .arg(path),
    );
    let times: Vec<f64> = String::from_utf8(json)
        .unwrap()
        .lines()
        .filter_map(|line| line.trim_end_matches(',').parse().ok())
        .collect();
    let gap = times.windows(2).map(|w| w[1] - w[0]).fold(0.0, f64::max);
    assert!(gap < 0.022, "a gap of {gap} s in the sound");
    support::decode_sound(path)
}

fn recording(stage: &Stage) -> std::path::PathBuf {
    stage.project("final_60fps_1080p.mp4")
}

#[test]
fn a_program_of_jack_is_heard_and_comes_back_after_it_died() {
    let Some(jack) = Jack::for_sound("sound") else { return };
    let stage = stage("jack:deck");
    let deck = Deck::start(&jack, 440);
    let mut show = jack.live(&stage, &[]);
    until_sound(&mut show, "the program is heard", |sound| {
        sound["state"] == "live" && rms(sound) > -15.0
    });
    show.until("three seconds of it", AT_ONCE, |show| {
        (show.state()["show_time_s"].as_f64().unwrap() > 6.0).then_some(())
    });
    let metrics = show.get("/metrics").text().unwrap();
    assert!(metrics.contains("vfaq_sound_state{state=\"live\"} 1"), "{metrics}");
    assert!(metrics.contains("vfaq_sound_drift_ratio "), "{metrics}");

    drop(deck);
    let state = until_sound(&mut show, "it is missed", |sound| {
        sound["state"] == "lost" && rms(sound) < -60.0
    });
    let warnings = state["warnings"].to_string();
    assert!(warnings.contains("no sound from jack:deck"), "{warnings}");
    let died_s = state["show_time_s"].as_f64().unwrap();
    show.until("a second of silence", AT_ONCE, |show| {
        (show.state()["show_time_s"].as_f64().unwrap() > died_s + 1.5).then_some(())
    });

    let _deck = Deck::start(&jack, 440);
    let state = until_sound(&mut show, "it is heard again", |sound| {
        sound["state"] == "live" && rms(sound) > -15.0
    });
    assert_eq!(state["sound"]["returns"], 1, "{}", state["sound"]);
    let back_s = state["show_time_s"].as_f64().unwrap();
    let state = show.until("two seconds more", AT_ONCE, |show| {
        Some(show.state()).filter(|state| state["show_time_s"].as_f64().unwrap() > back_s + 3.0)
    });
    assert!(!state["warnings"].to_string().contains("no sound"), "{}", state["warnings"]);
    println!("{:#}", state["sound"]);
    show.stop();

    let tenths = share_of(&whole_sound(&recording(&stage)), 440.0);
    let is_tone = |tenth: &Option<f64>| tenth.is_some_and(|share| share > 0.9);
    assert!(longest(&tenths, is_tone) >= 0.5, "{tenths:?}");
    assert!(longest(&tenths, Option::is_none) >= 1.0, "{tenths:?}");
    // Before and behind: a server without realtime loses a period now and then.
    let silent = tenths.windows(10).rposition(|w| w.iter().all(Option::is_none)).unwrap();
    for part in [&tenths[..silent], &tenths[silent + 10..]] {
        let (heard, tones) =
            (part.iter().flatten().count(), part.iter().filter(|t| is_tone(t)).count());
        assert!(heard > 15 && tones * 10 > heard * 6, "{tones} of {heard}: {tenths:?}");
    }
}

#[test]
fn sources_are_switched_while_live_and_what_is_wrong_is_refused() {
    let stage = stage("tone");
    // 5.1 and two more: a tone in front on the left, silence else.
    support::output_of(
        Command::new("ffmpeg")
            .args(["-v", "error", "-f", "lavfi", "-i"])
            .arg("aevalsrc='0.5*sin(2*PI*300*t)|0|0|0|0|0|0|0':c=7.1:s=44100:d=2")
            .arg(stage.path("w/eight.wav")),
    );
    stage.write("w/words.wav", "these are words\n");
    let mut show = stage.live(&[]);
    // -20 dBFS, and a sine's power 3 dB below its peak.
    until_sound(&mut show, "the tone is heard", |sound| (rms(sound) + 23.0).abs() < 0.5);
    let set = |show: &Show, address: &str, value: Value| {
        show.put(&format!("/api/v1/params/sound/{address}"), &json!({"value": value}))
    };
    for (source, says) in [
        ("file:none.wav", "none.wav"),
        ("microphone", "silence, tone"),
        ("srt://host:9000?passphrase=secretsecret", "config.yaml"),
    ] {
        let answer = set(&show, "source", source.into());
        assert!(answer.status().is_client_error(), "{source}: {}", answer.status());
        let text = answer.text().unwrap();
        assert!(text.contains(says), "{source}: {text}");
    }
    until_sound(&mut show, "the tone goes on", |sound| (rms(sound) + 23.0).abs() < 0.5);

    // What holds no sound is silence, and told of.
    assert!(set(&show, "source", json!("file:words.wav")).status().is_success());
    until_sound(&mut show, "the file is no sound", |sound| {
        sound["state"] == "lost"
            && sound["reason"].as_str().is_some_and(|why| why.contains("words.wav"))
            && rms(sound) < -60.0
    });
    show.until("a warning of it", AT_ONCE, |show| {
        show.state()["warnings"].to_string().contains("words.wav").then_some(())
    });
    assert!(set(&show, "source", json!("tone")).status().is_success());
    until_sound(&mut show, "the tone is back", |sound| (rms(sound) + 23.0).abs() < 0.5);

    assert!(set(&show, "gain", json!(-20)).status().is_success());
    until_sound(&mut show, "it is turned down", |sound| (rms(sound) + 43.0).abs() < 0.5);
    assert!(set(&show, "gain", json!(24)).status().is_success());
    assert!(set(&show, "source", json!("file:eight.wav")).status().is_success());
    // Far too loud, so the limiter is at work.
    let state = until_sound(&mut show, "the file is heard", |sound| {
        sound["source"].as_str().unwrap().ends_with("eight.wav")
            && sound["limited_db"].as_f64().unwrap() > 1.0
    });
    assert!(state["sound"]["peak_db"][0].as_f64().unwrap() < -0.95, "{}", state["sound"]);
    assert!(set(&show, "gain", json!(0)).status().is_success());
    assert!(set(&show, "mute", json!(true)).status().is_success());
    until_sound(&mut show, "it is mute", |sound| rms(sound) < -80.0);
    assert!(set(&show, "mute", json!(false)).status().is_success());
    until_sound(&mut show, "it is heard again", |sound| rms(sound) > -30.0);

    assert!(set(&show, "source", json!("alsa:no_such_card")).status().is_success());
    let state = until_sound(&mut show, "there is no such card", |sound| sound["state"] == "lost");
    let warnings = show.until("a warning", AT_ONCE, |show| {
        let warnings = show.state()["warnings"].to_string();
        warnings.contains("alsa:no_such_card").then_some(warnings)
    });
    println!("{warnings} {:#}", state["sound"]);
    assert!(set(&show, "source", json!("")).status().is_success());
    let state = until_sound(&mut show, "back to the settings", |sound| {
        sound["source"] == "tone" && (rms(sound) + 23.0).abs() < 0.5
    });
    println!("{:#}", state["sound"]);
    show.stop();
    let sound = whole_sound(&recording(&stage));
    let (tones, eights) = (share_of(&sound, 1000.0), share_of(&sound, 300.0));
    let is_tone = |tenth: &Option<f64>| tenth.is_some_and(|share| share > 0.9);
    assert!(longest(&tones, is_tone) >= 0.5, "{tones:?}");
    assert!(longest(&eights, is_tone) >= 0.5, "{eights:?}");
}

#[test]
fn what_cannot_play_is_named_before_a_show() {
    let stage = stage("file:words.wav");
    stage.write("w/words.wav", "these are words\n");
    let output = stage.vfaq(&["-w", "w", "-o", "out", "live", "--for", "1"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(said.contains("live.audio.source") && said.contains("words.wav"), "{said}");

    let settings = |source: &str| with(small(), json!({"live": {"audio": {"source": source}}}));
    stage.settings(&settings("alsa:no_such_card"));
    let output = stage.vfaq(&["-w", "w", "-o", "out", "live", "--dry-run"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("live.audio.source: alsa:no_such_card"), "{said}");

    let mut list = stage.vfaq(&["sound", "list"]);
    let listed = String::from_utf8(support::output_of(&mut list)).unwrap();
    assert!(listed.contains("silence, tone, file:PATH"), "{listed}");
    stage.write("w/tone.txt", "");
    let mut meter = stage.vfaq(&["-w", "w", "sound", "meter", "tone", "--for", "2"]);
    let metered = String::from_utf8(support::output_of(&mut meter)).unwrap();
    assert!(metered.contains("-20.0"), "{metered}");
}

/// How far apart a line of `vfaq sync-test` says that they are.
fn apart(said: &str) -> Vec<f64> {
    said.split(" ms").filter_map(|part| part.rsplit(' ').next()?.parse().ok()).collect()
}

#[test]
fn flash_and_beep_are_together_in_the_file_and_at_the_server() {
    let nginx = Nginx::start();
    let stage = stage("silence");
    let url = nginx.url("live", "sync");
    // A card whose clock is 200 ppm off.
    let arguments =
        ["sync-test", "--for", "12", "--ppm", "200", "--to", &url, "--keep", "sync.mp4"];
    let output = stage.vfaq(&arguments).output().unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{out}{err}");
    assert!(output.status.success(), "{out}\n{err}");
    let ms = apart(&out);
    assert!(ms.len() >= 3 && ms.iter().all(|ms| ms.abs() <= 20.0), "{out}");

    let files = nginx.recorded("sync");
    let [file] = &files[..] else { panic!("{files:?}\n{err}") };
    let output = stage.vfaq(&["sync-test", "--measure"]).arg(file).output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    println!("{out}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}");

    // What is out of sync is found: the sound 100 ms later.
    let late = stage.path("late.mp4");
    support::output_of(
        Command::new("ffmpeg")
            .args(["-v", "error", "-i"])
            .arg(stage.path("sync.mp4"))
            .args(["-itsoffset", "0.1", "-i"])
            .arg(stage.path("sync.mp4"))
            .args(["-map", "0:v", "-map", "1:a", "-c", "copy"])
            .arg(&late),
    );
    let output = stage.vfaq(&["sync-test", "--measure"]).arg(&late).output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{out}");
    assert!(apart(&out).iter().any(|ms| (70.0..130.0).contains(&ms.abs())), "{out}");
}
