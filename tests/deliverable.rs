//! The deliverable of a project, and parts of films, as a user who looks at the frames sees them.
#![cfg(feature = "gst")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop")]

mod support;

use std::cell::Cell;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::film::{Film, Studio, texture};
use vfaq::base::clock::SystemClock;
use vfaq::base::error::{Kind, Result};
use vfaq::base::time::FrameRate;
use vfaq::config::Encoder;
use vfaq::finalize::deliverable::{Deliverable, Ended, Settings, Step, X264Preset};
use vfaq::render::Filter;
use vfaq::stream::convert::{self, Input, Job, Names, Output};

const CANVAS: (u32, u32) = (320, 180);

/// A base master: a texture that wanders, stands still for a while, and another scene behind a cut.
fn base_master(
    studio: &Studio,
    size: (usize, usize),
    fps: &str,
    frames: usize,
    gop: usize,
) -> PathBuf {
    let film = Film::of(size, fps, frames, |n, x, y| {
        let (n, other) = match n {
            n if n > frames * 3 / 4 => (n as f64, 60.0),
            // Six frames that are the same, and then pairs of them.
            n if n > frames / 2 => ((n / 2 * 2) as f64, 0.0),
            n if n > frames / 3 => ((n.max(frames / 3 + 7) - 6) as f64, 0.0),
            n => (n as f64, 0.0),
        };
        let (x, y) = (x as f64, y as f64);
        texture(x * if other > 0.0 { -2.0 } else { 1.0 } - n * 2.5, y - n * 0.75) - other
    });
    film.write(&studio.path("in.y4m"));
    studio.ffmpeg(&format!(
        "-i in.y4m -c:v libx264 -preset veryfast -crf 12 -bf 2 -g {gop} -pix_fmt yuv420p \
         -color_range tv -colorspace bt709 -color_primaries bt709 -color_trc bt709 master.mp4"
    ));
    studio.path("master.mp4")
}

/// What is written into it can be looked at afterwards.
#[derive(Clone, Default)]
struct Shelf(Arc<Mutex<Vec<u8>>>);

impl Write for Shelf {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The frames of a film, or of a part of it, as they are before they are encoded.
fn drawn(
    source: &Path,
    fps: FrameRate,
    size: (u32, u32),
    settings: Settings,
    part: Option<std::ops::Range<u64>>,
) -> Film {
    vfaq::stream::init().unwrap();
    let shelf = Shelf::default();
    let job = Job {
        input: Input::File(source.to_path_buf()),
        output: Output::Raw(Box::new(shelf.clone())),
        names: Names { input: source.display().to_string(), output: "memory".into() },
        fps,
        size: Some(size),
        settings,
        part,
    };
    let ended = convert::run(job, &AtomicBool::new(false), &mut |_| {}).unwrap();
    assert!(matches!(ended, convert::Ended::Done(_)));
    Film::parse(&shelf.0.lock().unwrap())
}

#[test]
fn parts_put_together_are_the_whole() {
    let studio = Studio::new();
    for (from, frames, gop, to, step) in [
        ("8:1", 144, 30, FrameRate::whole(60), 90),
        ("24000:1001", 400, 48, FrameRate::new(60_000, 1001).unwrap(), 271),
        ("30:1", 361, 400, FrameRate::whole(24), 64),
    ] {
        let source = base_master(&studio, (128, 72), from, frames, gop);
        let whole = drawn(&source, to, (128, 72), Settings::default(), None);
        let about = convert::look(&source, to, &|| false).unwrap().unwrap();
        assert_eq!(about.pictures, frames as u64);
        assert_eq!(about.frames, whole.frames.len() as u64, "{from}");
        let mut next = 0;
        while next < about.frames {
            let part = next..(next + step).min(about.frames);
            let film = drawn(&source, to, (128, 72), Settings::default(), Some(part.clone()));
            assert_eq!(film.frames.len() as u64, part.end - part.start, "{from}: {part:?}");
            for (n, frame) in part.zip(&film.frames) {
                assert!(*frame == whole.frames[n as usize], "{from}: frame {n} is another one");
            }
            next += step;
        }
    }
}

#[test]
fn a_part_of_raw_pictures_is_read_from_the_beginning() {
    let studio = Studio::new();
    base_master(&studio, (128, 72), "8:1", 96, 30);
    let (source, to) = (studio.path("in.y4m"), FrameRate::whole(60));
    let whole = drawn(&source, to, (128, 72), Settings::default(), None);
    let part = drawn(&source, to, (128, 72), Settings::default(), Some(601..650));
    assert!(part.frames[..] == whole.frames[601..650]);
}

struct Project {
    studio: Studio,
    deliverable: Deliverable,
}

/// What a run of it came to.
struct Outcome {
    ended: Result<Ended>,
    notes: Vec<String>,
    /// Frames that were there when it began.
    found: u64,
    /// Inodes of the segments that were joined.
    joined: Vec<u64>,
}

impl Project {
    fn new() -> Self {
        let studio = Studio::new();
        let source = base_master(&studio, (256, 144), "8:1", 48, 12);
        let deliverable = Deliverable {
            source,
            folder: studio.folder.path().into(),
            name: "final.mp4".into(),
            fps: FrameRate::whole(60),
            size: CANVAS,
            interpolation: Settings::default(),
            encoders: vec![Encoder::Nvenc, Encoder::X264],
            crf: 4,
            preset: X264Preset::Veryfast,
            segment: Duration::from_secs(1),
            at_once: 1,
            free_bytes: |_| None,
            least_free_mb: 64,
        };
        Project { studio, deliverable }
    }

    /// Stops once so many frames are made.
    fn make(&self, most: u64) -> Outcome {
        let stop = Cell::new(false);
        let (mut notes, mut found, mut joined) = (Vec::new(), None, Vec::new());
        let mut join = |segments: &[PathBuf], to: &Path| {
            joined = segments.iter().map(|path| fs::metadata(path).unwrap().ino()).collect();
            let list: String =
                segments.iter().map(|path| format!("file '{}'\n", path.display())).collect();
            let list_path = to.with_extension("txt");
            fs::write(&list_path, list).unwrap();
            let mut command = Command::new("ffmpeg");
            command.args(["-v", "error", "-nostdin", "-y", "-f", "concat", "-safe", "0", "-i"]);
            command.arg(&list_path).args(["-c", "copy"]).arg(to);
            support::output_of(&mut command);
            Ok(())
        };
        let ended =
            self.deliverable.make(&SystemClock::new(), &|| stop.get(), &mut join, &mut |step| {
                match step {
                    Step::Progress(progress) => {
                        assert_eq!(progress.of, 360);
                        found.get_or_insert(progress.done);
                        stop.set(progress.done >= most);
                    }
                    Step::Note(note) => notes.push(note),
                    _ => {}
                }
            });
        Outcome { ended, notes, found: found.unwrap_or(360), joined }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.deliverable.folder.join(name)
    }

    fn segment(&self, number: usize) -> PathBuf {
        self.path(&format!(".finalizing/final.mp4/segment_{number:04}.mp4"))
    }

    /// Which segments there are, by inode.
    fn segments(&self) -> Vec<Option<u64>> {
        (0..6).map(|n| fs::metadata(self.segment(n)).ok().map(|about| about.ino())).collect()
    }

    /// Looks at every frame of what was made.
    #[track_caller]
    fn assert_good(&self, outcome: &Outcome) {
        let bytes = fs::metadata(self.path("final.mp4")).unwrap().len();
        let done = Ended::Done { frames: 360, bytes };
        assert_eq!(*outcome.ended.as_ref().unwrap(), done);
        assert!(!self.path(".finalizing").exists());
        let path = self.path("final.mp4");
        assert_eq!(support::complaints(&path), "");
        let probe = support::probe(&path);
        assert_eq!(probe.video["r_frame_rate"], "60/1");
        assert_eq!(probe.video["profile"], "High");
        let places: Vec<i64> = probe.places().iter().map(|place| place.round() as i64).collect();
        assert_eq!(places, (0..360).collect::<Vec<i64>>());
        self.studio.ffmpeg("-i final.mp4 -fps_mode passthrough -pix_fmt yuv420p final.y4m");
        let film = Film::read(&self.path("final.y4m"));
        let Deliverable { source, fps, interpolation, .. } = &self.deliverable;
        let whole = drawn(source, *fps, CANVAS, *interpolation, None);
        assert_eq!((film.frames.len(), whole.frames.len()), (360, 360));
        let worst = (0..360).map(|n| film.psnr(n, &whole)).fold(99.0, f64::min);
        assert!(worst > 45.0, "{worst:.1} dB");
        fs::remove_file(self.path("final.y4m")).unwrap();
    }
}

#[test]
fn it_has_every_frame_and_leaves_the_base_master_alone() {
    let mut project = Project::new();
    project.deliverable.at_once = 2;
    let master = fs::read(&project.deliverable.source).unwrap();
    let outcome = project.make(u64::MAX);
    project.assert_good(&outcome);
    assert_eq!((outcome.found, outcome.notes.len()), (0, 0));
    assert!(fs::read(&project.deliverable.source).unwrap() == master);
    // Never twice.
    let before = fs::metadata(project.path("final.mp4")).unwrap().ino();
    assert_eq!(project.make(u64::MAX).ended.unwrap(), Ended::IsThere);
    assert_eq!(fs::metadata(project.path("final.mp4")).unwrap().ino(), before);
}

#[test]
fn what_was_interrupted_goes_on_with_the_segments_that_are_whole() {
    let project = Project::new();
    let outcome = project.make(150);
    assert_eq!(outcome.ended.unwrap(), Ended::Stopped);
    let before = project.segments();
    let whole = before.iter().flatten().count();
    assert!((2..5).contains(&whole), "{before:?}");
    // Whole segments and the plan, nothing of the one under way.
    let entries = fs::read_dir(project.path(".finalizing/final.mp4")).unwrap();
    assert_eq!(entries.count(), whole + 1);
    assert!(!project.path("final.mp4").exists());

    let outcome = project.make(u64::MAX);
    assert!(outcome.found >= 60 * whole as u64, "{} frames found", outcome.found);
    assert_eq!(outcome.joined[..whole], before.into_iter().flatten().collect::<Vec<_>>());
    project.assert_good(&outcome);
}

#[test]
fn what_a_kill_leaves_is_seen_through() {
    let project = Project::new();
    assert_eq!(project.make(210).ended.unwrap(), Ended::Stopped);
    let before = project.segments();
    // Half of a segment under its temporary name, one that lost its end, one that lost what is in it,
    // and one that the plan does not list.
    let work = project.path(".finalizing/final.mp4");
    let first = fs::read(project.segment(0)).unwrap();
    fs::write(work.join(".vfaq-abc.mp4"), &first[..first.len() / 2]).unwrap();
    fs::write(project.segment(0), &first[..first.len() - 100]).unwrap();
    fs::write(project.segment(1), &first).unwrap();
    let plan = fs::read_to_string(work.join("plan.json")).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&plan).unwrap();
    assert!(json["whole"].as_object_mut().unwrap().remove("2").is_some());
    fs::write(work.join("plan.json"), json.to_string()).unwrap();

    let outcome = project.make(u64::MAX);
    assert_eq!(Some(outcome.joined[2]), before[2], "a whole segment was made again");
    project.assert_good(&outcome);
}

#[test]
fn segments_of_another_source_or_other_settings_are_not_used() {
    let mut project = Project::new();
    for change in 0..3 {
        assert_eq!(project.make(150).ended.unwrap(), Ended::Stopped);
        assert!(project.segment(1).exists());
        match change {
            0 => project.deliverable.interpolation.scale = Filter::Lanczos,
            1 => project.deliverable.crf = 5,
            _ => {
                // The same content, but who knows.
                let source = &project.deliverable.source;
                let other = source.with_extension("other");
                fs::copy(source, &other).unwrap();
                fs::rename(&other, source).unwrap();
            }
        }
        let outcome = project.make(1);
        assert_eq!((outcome.ended.unwrap(), outcome.found), (Ended::Stopped, 0), "{change}");
        assert!(outcome.notes[0].contains("thrown away"), "{:?}", outcome.notes);
        fs::remove_dir_all(project.path(".finalizing")).unwrap();
    }
    let outcome = project.make(u64::MAX);
    project.assert_good(&outcome);
}

#[test]
fn segments_that_another_encoder_made_are_made_again() {
    let project = Project::new();
    assert_eq!(project.make(150).ended.unwrap(), Ended::Stopped);
    // As an older version of the library would have made it: other parameter sets.
    let before = project.segments();
    let path = project.segment(0);
    project.studio.ffmpeg(&format!("-i {} -c:v libx264 -refs 5 -bf 0 odd.mp4", path.display()));
    fs::rename(project.path("odd.mp4"), &path).unwrap();
    let plan = project.path(".finalizing/final.mp4/plan.json");
    let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&plan).unwrap()).unwrap();
    json["whole"]["0"]["bytes"] = fs::metadata(&path).unwrap().len().into();
    fs::write(&plan, json.to_string()).unwrap();

    let outcome = project.make(u64::MAX);
    assert!(outcome.notes[0].contains("1 of the segments"), "{:?}", outcome.notes);
    assert_eq!(Some(outcome.joined[1]), before[1]);
    project.assert_good(&outcome);
}

#[test]
fn a_disk_that_is_too_small_is_told_before_it_is_full() {
    let mut project = Project::new();
    project.deliverable.free_bytes = |_| Some(63 << 20);
    let error = project.make(u64::MAX).ended.unwrap_err();
    assert_eq!(error.kind, Kind::Io);
    let text = error.to_string();
    assert!(text.contains("63 MB are free") && text.contains("0 of 6 segments"), "{text}");
    assert!(!project.path("final.mp4").exists());
}

#[test]
fn a_source_that_is_no_film_is_named() {
    let project = Project::new();
    let master = &project.deliverable.source;
    let whole = fs::read(master).unwrap();
    for (content, word) in [
        (&b"no film at all"[..], "master.mp4"),
        (&whole[..whole.len() / 2], "cut short"),
        (b"", "master.mp4"),
    ] {
        fs::write(master, content).unwrap();
        let error = project.make(u64::MAX).ended.unwrap_err().to_string();
        assert!(error.contains(word) && error.contains("master.mp4"), "{error}");
        assert!(!project.path(".finalizing").exists(), "{error}");
    }
}

#[test]
fn the_settings_of_a_project_say_what_is_made() {
    let text = "finalizer:\n  scale_algo: lanczos\n  interpolate_fps: 50\n  quality: { crf: 20 }\n";
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.yaml"), text).unwrap();
    fs::write(folder.path().join("tasq.md"), "waves\n").unwrap();
    let config = vfaq::worqspace::open(folder.path()).unwrap().config;
    let made = Deliverable::new("in.mp4".into(), folder.path().into(), &config.finalizer, 64);
    assert_eq!((made.interpolation.scale, made.crf), (Filter::Lanczos, 20));
    assert_eq!((made.fps, made.size), (FrameRate::whole(50), (1920, 1080)));
    assert_eq!(made.preset, X264Preset::Slow);
}
