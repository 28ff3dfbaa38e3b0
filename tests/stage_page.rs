//! The stage page in a real browser, with a real show behind it. `scripts/test` fetches what drives
//! the browser; where that, node or Chromium is missing, these tests say so and are skipped.
#![cfg(all(feature = "gst", unix))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop")]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use support::decode_luma;
use support::show::{Show, Stage, small};

/// Where playwright-core lies; `None`, and a word of it, if there is no browser to be driven.
fn driver() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/browser");
    let chromium = std::env::var("VFAQ_CHROMIUM").unwrap_or("/usr/bin/chromium".into());
    if !folder.join("node_modules/playwright-core").exists() || !Path::new(&chromium).exists() {
        println!(
            "skipped: no browser driver in target/browser (scripts/test makes it), or no {chromium}"
        );
        return None;
    }
    Some(folder)
}

/// Plays a scenario of `tests/browser/stage_page.mjs`; what it asks for is done by `answer`.
fn play(driver: &Path, scenario: &str, url: &str, mut answer: impl FnMut(&str)) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/stage_page.mjs");
    let mut node = Command::new("node")
        .arg(script)
        .args([scenario, url])
        .env("VFAQ_TEST_BROWSER", driver)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node");
    let mut questions = BufReader::new(node.stdout.take().expect("piped")).lines();
    let mut answers = node.stdin.take().expect("piped");
    while let Some(Ok(line)) = questions.next() {
        match line.strip_prefix("ask ") {
            Some(what) => {
                answer(what);
                writeln!(answers, "done").expect("a listener");
            }
            None => println!("{line}"),
        }
    }
    let status = node.wait().expect("an end");
    assert!(status.success(), "{scenario}: {status}");
}

/// A show that goes on for as long as the test does.
fn show(stage: &Stage) -> Show {
    let mut show = stage.live(&[]);
    show.until_state("the first cycle", |s| !s["on_air"]["cycle"].is_null());
    show
}

/// The most pictures in a row of which `is_so`, by their mean luma.
fn longest(luma: &[f64], is_so: impl Fn(f64) -> bool) -> usize {
    luma.split(|&mean| !is_so(mean)).map(<[f64]>::len).max().unwrap_or(0)
}

#[test]
fn what_is_done_on_the_page_is_in_the_recording() {
    let Some(driver) = driver() else { return };
    let stage = Stage::new(&small());
    let show = show(&stage);
    play(&driver, "steering", &show.url, |_| {});
    let recording = PathBuf::from(show.state()["recording"]["path"].as_str().expect("a path"));
    show.stop();

    let recording = stage.path("").join(recording);
    let luma: Vec<f64> = decode_luma(&recording, 64, 36)
        .iter()
        .map(|frame| frame.iter().map(|&y| f64::from(y)).sum::<f64>() / frame.len() as f64)
        .collect();
    let white = longest(&luma, |mean| mean > 225.0);
    let black = longest(&luma, |mean| mean < 18.0);
    assert!(white >= 40, "{white} white pictures in a row");
    assert!(black >= 40, "{black} black pictures in a row");
    assert!(longest(&luma, |mean| mean > 20.0 && mean < 220.0) >= 60, "and pictures beside them");

    let changes = stage.events("param");
    let by_page = |address: &str| {
        let of = changes.iter().filter(|e| e["address"] == address);
        of.filter(|e| e["source"].as_str().is_some_and(|s| s.starts_with("ws"))).count()
    };
    for address in ["/fx/hue", "/fx/brightness", "/fx/blackout"] {
        assert!(by_page(address) >= 2, "{address}: {changes:?}");
    }
}

#[test]
fn it_is_played_from_the_keyboard_alone() {
    let Some(driver) = driver() else { return };
    let stage = Stage::new(&small());
    let mut show = show(&stage);
    play(&driver, "keyboard", &show.url, |_| {});
    show.until_state("what was chosen", |state| state["params"]["/fx/mirror"] == 1.0);
    show.stop();
}

#[test]
fn a_line_that_is_lost_comes_back_by_itself() {
    let Some(driver) = driver() else { return };
    let stage = Stage::new(&small());
    let first = show(&stage);
    let url = first.url.clone();
    let address = url.trim_start_matches("http://").to_owned();
    let mut running = Some(first);
    play(&driver, "lines", &url, |what| match what {
        "freeze" => running.as_ref().expect("a show").signal(Signal::SIGSTOP),
        "thaw" => running.as_ref().expect("a show").signal(Signal::SIGCONT),
        "restart" => {
            running.take().expect("a show").stop();
            let mut again = stage.vfaq(&["-w", "w", "-o", "again", "live"]);
            again.args(["--listen", &address]);
            running = Some(Show::start(again));
        }
        other => panic!("it asks for {other}"),
    });
    running.expect("a show").stop();
}

#[test]
fn everything_has_a_name_and_is_large_enough_for_a_thumb() {
    let Some(driver) = driver() else { return };
    let stage = Stage::new(&small());
    let show = show(&stage);
    play(&driver, "access", &show.url, |_| {});
    show.stop();
}
