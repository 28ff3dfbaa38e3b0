//! The deliverable of a film, as `scripts/bench-finalizer` measures it: one run, without measuring
//! anything itself. ffmpeg joins the segments.
//!
//! `finalizer SOURCE FOLDER [AT_ONCE [SEGMENT_SECONDS]]` makes FOLDER/film.mp4, and says what it did.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark may stop")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use vfaq::base::clock::SystemClock;
use vfaq::base::time::FrameRate;
use vfaq::config::Encoder;
use vfaq::finalize::deliverable::{Deliverable, Settings, Step, X264Preset};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let [source, folder, more @ ..] = &arguments[..] else {
        println!(
            "finalizer SOURCE FOLDER [AT_ONCE [SEGMENT_SECONDS]]; see scripts/bench-finalizer"
        );
        return;
    };
    let number = |at: usize, usual: f64| more.get(at).map_or(usual, |text| text.parse().unwrap());
    let deliverable = Deliverable {
        source: source.into(),
        folder: folder.into(),
        name: "film.mp4".into(),
        fps: FrameRate::whole(60),
        size: (1920, 1080),
        interpolation: Settings::default(),
        encoders: vec![Encoder::X264],
        crf: 16,
        preset: X264Preset::Slow,
        segment: Duration::from_secs_f64(number(1, 30.0)),
        at_once: number(0, 1.0) as usize,
        free_bytes: |_| None,
        least_free_mb: 0,
    };
    let mut join = |segments: &[PathBuf], to: &Path| {
        let list = to.with_extension("txt");
        let lines = segments.iter().map(|path| format!("file '{}'\n", path.display()));
        std::fs::write(&list, lines.collect::<String>()).unwrap();
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-nostdin", "-y", "-f", "concat", "-safe", "0", "-i"]);
        assert!(command.arg(&list).args(["-c", "copy"]).arg(to).status().unwrap().success());
        Ok(())
    };
    let mut say = |step: Step| {
        if !matches!(step, Step::Progress(_)) {
            eprintln!("{step:?}");
        }
    };
    let ended = deliverable.make(&SystemClock::new(), &|| false, &mut join, &mut say);
    println!("{:?}", ended.unwrap());
}
