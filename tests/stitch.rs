//! Clips become one film: copied where they agree, encoded again where not; with sound of its own
//! length, chapters and tags. What counts is what ffmpeg finds in the files.
#![cfg(feature = "gst")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use support::output_of;
use vfaq::base::time::{FrameRate, NS};
use vfaq::media::{ClipEncoder, Frame};
use vfaq::mp4::{self, Chapter, Clip, Concat, Sound, Tags, Written};
use vfaq::stream::clip::GstClipEncoder;
use vfaq::stream::{sound_file, stitch};

const SIZE: (u32, u32) = (160, 96);

/// A clip as this program makes them; every frame of every `cycle` is another picture.
fn program_clip(path: &Path, cycle: u32, frames: u32, fps: FrameRate) {
    program_clip_of(path, cycle, frames, fps, SIZE);
}

fn program_clip_of(path: &Path, cycle: u32, frames: u32, fps: FrameRate, size: (u32, u32)) {
    grainy_clip(path, cycle, frames, fps, size, 0);
}

/// With so much grain.
fn grainy_clip(
    path: &Path,
    cycle: u32,
    frames: u32,
    fps: FrameRate,
    (w, h): (u32, u32),
    grain: u8,
) {
    vfaq::stream::init().unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    let frames: Vec<Frame> = (0..frames)
        .map(|n| {
            let mut frame = Frame::black(w, h);
            for (i, y) in frame.y.iter_mut().enumerate() {
                let (i, n) = (i as u32, n + cycle * 31);
                *y = (16 + (i % w + i / w * 3 + n * 11) % 200) as u8 + random.u8(0..=grain);
            }
            frame
        })
        .collect();
    GstClipEncoder.encode(&mut frames.iter(), fps, path).unwrap();
}

/// A clip as old projects have them, by ffmpeg: with pictures that look ahead, and an edit list.
fn ffmpeg_clip(path: &Path, cycle: u32, seconds: f64, options: &[&str]) {
    let size = format!("{}x{}", SIZE.0, SIZE.1);
    let source = format!("testsrc2=size={size}:rate=25:duration={seconds},hue=h={}", cycle * 40);
    output_of(
        Command::new("ffmpeg")
            .args(["-v", "error", "-y", "-f", "lavfi", "-i", &source])
            .args(["-c:v", "libx264", "-pix_fmt", "yuv420p", "-bf", "3", "-crf", "20"])
            .args(options)
            .arg(path),
    );
}

fn looked_at(paths: &[PathBuf]) -> Vec<Clip> {
    paths.iter().map(|path| Clip::look(path).unwrap()).collect()
}

fn write(concat: &Concat, out: &Path) -> Written {
    let mut last = (0, 0);
    let written = concat.write(out, &mut |done, of| last = (done, of), &|| false).unwrap();
    assert_eq!(last.0, last.1, "all bytes were told");
    written.expect("nobody stopped it")
}

/// The checksums of all pictures, decoded, in the order in which they are shown.
fn pictures(path: &Path) -> Vec<String> {
    let text = output_of(Command::new("ffmpeg").args(["-v", "error", "-i"]).arg(path).args([
        "-map",
        "0:v",
        "-fps_mode",
        "passthrough",
        "-f",
        "framemd5",
        "-",
    ]));
    let text = String::from_utf8(text).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit(',').next().unwrap().trim().to_owned()).collect()
}

/// Asserts that every picture of the clips is in the film, as it was, and each on the grid.
#[track_caller]
fn assert_joined(out: &Path, clips: &[PathBuf], (num, den): (i64, i64)) {
    let expected: Vec<String> = clips.iter().flat_map(|clip| pictures(clip)).collect();
    assert_eq!(pictures(out), expected);
    let probe = support::probe(out);
    let base = probe.video["time_base"].as_str().unwrap();
    let scale: i64 = base.strip_prefix("1/").unwrap().parse().unwrap();
    let grid: Vec<i64> = (0..expected.len() as i64).map(|n| n * scale * den / num).collect();
    assert_eq!(scale * den % num, 0);
    assert_eq!(probe.video_pts, grid);
    assert_eq!(probe.video["nb_frames"], expected.len().to_string());
    assert_eq!(probe.video["r_frame_rate"], format!("{num}/{den}"));
    let seconds = expected.len() as f64 * den as f64 / num as f64;
    assert!((probe.video_span.1 - seconds).abs() < 1e-3, "{:?}", probe.video_span);
    assert_eq!(support::complaints(out), "");
    assert_eq!(support::mp4_boxes(out), ["ftyp", "moov", "mdat"]);
}

#[test]
fn clips_of_the_program_are_copied_picture_by_picture() {
    let folder = tempfile::tempdir().unwrap();
    for (fps, name) in [(FrameRate::whole(8), (8, 1)), (FrameRate::new(25, 3).unwrap(), (25, 3))] {
        let paths: Vec<PathBuf> = (0..5)
            .map(|cycle| {
                let path = folder.path().join(format!("cycle{cycle:04}_video.mp4"));
                // One of a single picture: two key frames meet.
                program_clip(&path, cycle, [24, 25, 1, 7, 24][cycle as usize], fps);
                path
            })
            .collect();
        let clips = looked_at(&paths);
        assert_eq!(mp4::agreement(&clips), Ok(()));
        let out = folder.path().join("final_output.mp4");
        let written = write(&Concat { clips, ..Concat::default() }, &out);
        assert_eq!(written.frames, 81);
        assert!((written.seconds - 81.0 / fps.as_f64()).abs() < 1e-9);
        assert_joined(&out, &paths, name);
        // The same once more: what was written is a clip like any other.
        let again = folder.path().join("again.mp4");
        write(&Concat { clips: looked_at(&[out]), ..Concat::default() }, &again);
        assert_joined(&again, &paths, name);
    }
}

#[test]
fn clips_of_ffmpeg_look_ahead_and_are_still_copied() {
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> = (0..4)
        .map(|cycle| {
            let path = folder.path().join(format!("cycle{cycle:04}_video.mp4"));
            ffmpeg_clip(
                &path,
                cycle,
                [1.0, 0.2, 2.2, 1.0][cycle as usize],
                match cycle {
                    // In fragments.
                    2 => &["-movflags", "frag_keyframe+empty_moov"],
                    3 => &["-movflags", "faststart"],
                    _ => &[],
                },
            );
            path
        })
        .collect();
    let clips = looked_at(&paths);
    assert_eq!(clips.iter().map(Clip::frames).sum::<u64>(), 25 + 5 + 55 + 25);
    let out = folder.path().join("final_output.mp4");
    write(&Concat { clips, ..Concat::default() }, &out);
    assert_joined(&out, &paths, (25, 1));
    let probe = support::probe(&out);
    assert_ne!(probe.video["has_b_frames"], 0, "the test is about those");
    // A player that jumps lands on the right picture.
    let jump = output_of(
        Command::new("ffmpeg").args(["-v", "error", "-ss", "1.2", "-i"]).arg(&out).args([
            "-frames:v",
            "1",
            "-f",
            "framemd5",
            "-",
        ]),
    );
    let jump = String::from_utf8(jump).unwrap();
    let hash = jump.lines().last().unwrap().rsplit(',').next().unwrap().trim().to_owned();
    assert_eq!(hash, pictures(&out)[30]);
}

#[test]
fn chapters_tags_and_sound_come_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join("clip.mp4");
    program_clip(&clip, 3, 16, FrameRate::whole(8));
    let clips = looked_at(&vec![clip; 150]);
    let wav = folder.path().join("beeps.wav");
    support::beeps(&wav);
    let aac = folder.path().join("sound.mp4");
    sound_file::write_aac(&wav, 300 * NS, &aac, &mut |_, _| {}, &|| false).unwrap();
    // More than the 255 that one old form has room for; the title of one is long.
    let title =
        |n: u64| format!("Zyklus {n}: \u{201e}Wälder & Wolken\u{201c} {}", "x".repeat(n as usize));
    let chapters = (0..290).map(|n| Chapter { title: title(n), start_ns: n * NS }).collect();
    let tags = Tags {
        title: Some("Nachtfahrt".into()),
        comment: Some("aus 150 Zyklen".into()),
        description: Some("über Wälder".into()),
        tool: Some("vfaq 0.1".into()),
        date: Some("2026-11-22".into()),
    };
    let out = folder.path().join("film.mp4");
    let sound = Some(Sound::look(&aac).unwrap());
    write(&Concat { clips, sound, chapters, tags }, &out);

    let json = output_of(
        Command::new("ffprobe")
            .args(["-v", "error", "-show_chapters", "-show_format", "-of", "json"])
            .arg(&out),
    );
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let found = json["chapters"].as_array().unwrap();
    assert_eq!(found.len(), 290);
    for (n, chapter) in found.iter().enumerate() {
        assert_eq!(chapter["tags"]["title"], title(n as u64));
        assert_eq!(chapter["start_time"], format!("{n}.000000"));
    }
    assert_eq!(found[289]["end_time"], "300.000000");
    let tags = &json["format"]["tags"];
    assert_eq!(tags["title"], "Nachtfahrt");
    assert_eq!(tags["comment"], "aus 150 Zyklen");
    assert_eq!(tags["description"], "über Wälder");
    assert_eq!(tags["encoder"], "vfaq 0.1");
    assert_eq!(tags["date"], "2026-11-22");
    assert_eq!(json["format"]["duration"], "300.000000");

    let probe = support::probe(&out);
    assert_eq!(probe.video_pts.len(), 2400);
    let (starts, ends) = probe.sound_off_by();
    assert!(starts.abs() < 0.005 && ends.abs() < 0.03, "{starts} {ends}");
    assert_beeps(&out, 300);
    assert_eq!(support::complaints(&out), "");
}

/// Where the beeps begin, in samples.
fn beeps_of(path: &Path) -> Vec<usize> {
    let sound = support::decode_sound(path);
    let mut beeps = Vec::new();
    let mut quiet = 4800;
    for (n, sample) in sound.iter().enumerate() {
        if sample.abs() > 0.2 {
            if quiet >= 4800 {
                beeps.push(n);
            }
            quiet = 0;
        } else {
            quiet += 1;
        }
    }
    beeps
}

/// Asserts that there is a beep at every whole second, to a quarter of a millisecond.
#[track_caller]
fn assert_beeps(path: &Path, count: usize) {
    let beeps = beeps_of(path);
    assert_eq!(beeps.len(), count, "{beeps:?}");
    for (n, beep) in beeps.iter().enumerate() {
        assert!(beep.abs_diff(n * 48_000) <= 12, "beep {n} is at {beep}");
    }
}

fn aac(path: &Path, seconds: f64) -> PathBuf {
    let out = path.with_extension(format!("{seconds}.mp4"));
    let length_ns = (seconds * NS as f64) as u64;
    assert!(sound_file::write_aac(path, length_ns, &out, &mut |_, _| {}, &|| false).unwrap());
    let probe = output_of(
        Command::new("ffprobe").args(["-v", "error", "-show_streams", "-of", "json"]).arg(&out),
    );
    let probe: serde_json::Value = serde_json::from_slice(&probe).unwrap();
    let stream = &probe["streams"][0];
    assert_eq!((&stream["codec_name"], &stream["profile"]), (&"aac".into(), &"LC".into()));
    assert_eq!((&stream["sample_rate"], &stream["channels"]), (&"48000".into(), &2.into()));
    assert!((Sound::look(&out).unwrap().seconds() - seconds).abs() < 1e-4);
    assert_eq!(support::complaints(&out), "");
    out
}

#[test]
fn sound_is_cut_or_looped_to_the_sample() {
    vfaq::stream::init().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let wav = folder.path().join("beeps.wav");
    support::beeps(&wav);
    assert_beeps(&aac(&wav, 7.5), 8);
    // Looped: of 2 seconds, at another rate and mono; and out of other containers.
    for (name, options) in [
        ("loop.wav", &["-ac", "1", "-ar", "44100"][..]),
        ("loop.flac", &["-ar", "96000"]),
        ("loop.m4a", &["-c:a", "aac"]),
    ] {
        let short = folder.path().join(name);
        output_of(
            Command::new("ffmpeg")
                .args(["-v", "error", "-i"])
                .arg(&wav)
                .args(["-t", "2"])
                .args(options)
                .arg(&short),
        );
        if name == "loop.m4a" {
            // GStreamer may lose its last access unit, which is not full.
            let beeps = beeps_of(&aac(&short, 1.9));
            assert_eq!(beeps.len(), 2);
            assert!(beeps[0] <= 48 && beeps[1].abs_diff(48_000) <= 48, "{beeps:?}");
        } else {
            assert_beeps(&aac(&short, 9.25), 10);
        }
    }
    let mp3 = folder.path().join("beeps.mp3");
    output_of(
        Command::new("ffmpeg").args(["-v", "error", "-i"]).arg(&wav).args(["-t", "5"]).arg(&mp3),
    );
    assert_eq!(beeps_of(&aac(&mp3, 4.5)).len(), 5);
}

#[test]
fn a_loop_has_no_seam() {
    vfaq::stream::init().unwrap();
    let folder = tempfile::tempdir().unwrap();
    // A whole number of waves: looped it is one long tone.
    let tone = folder.path().join("tone.wav");
    let source = "sine=frequency=480:sample_rate=48000:duration=0.5";
    output_of(Command::new("ffmpeg").args(["-v", "error", "-f", "lavfi", "-i", source]).arg(&tone));
    let left =
        output_of(Command::new("ffmpeg").args(["-v", "error", "-i"]).arg(aac(&tone, 6.0)).args([
            "-af",
            "pan=mono|c0=c0",
            "-f",
            "f32le",
            "-",
        ]));
    let left = left.chunks_exact(4);
    let sound: Vec<f32> = left.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let period = 100;
    let inside = &sound[4800..6 * 48_000 - 4800];
    let worst = inside
        .windows(period + 1)
        .map(|wave| (wave[0] - wave[period]).abs())
        .fold(0.0f32, f32::max);
    let loudest = inside.iter().fold(0.0f32, |most, sample| most.max(sample.abs()));
    assert!(worst < 0.125 * 0.05, "{worst}");
    // As loud as it was.
    assert!((loudest - 0.125).abs() < 0.125 * 0.03, "{loudest}");
}

#[test]
fn what_is_no_sound_is_said() {
    vfaq::stream::init().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let refusal = |path: &Path| {
        let out = folder.path().join("out.mp4");
        let error = sound_file::write_aac(path, NS, &out, &mut |_, _| {}, &|| false).unwrap_err();
        assert!(!out.exists());
        let error = error.to_string();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
        error
    };
    let none = refusal(&folder.path().join("none.wav"));
    assert!(none.contains("cannot open"), "{none}");
    let film = folder.path().join("film.mp4");
    program_clip(&film, 1, 8, FrameRate::whole(8));
    let error = refusal(&film);
    assert!(error.contains("no sound"), "{error}");
    let text = folder.path().join("text.wav");
    std::fs::write(&text, "these are words, and nothing to be heard ".repeat(50)).unwrap();
    let error = refusal(&text);
    assert!(error.contains("no sound"), "{error}");
}

#[test]
fn clips_that_disagree_are_encoded_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    program_clip(&path("a.mp4"), 0, 24, FrameRate::whole(8));
    program_clip(&path("b.mp4"), 1, 24, FrameRate::whole(8));
    program_clip_of(&path("c.mp4"), 2, 16, FrameRate::whole(8), (320, 96));
    ffmpeg_clip(&path("d.mp4"), 3, 2.0, &[]);
    let clips = looked_at(&["a.mp4", "b.mp4", "c.mp4", "d.mp4"].map(path));
    let why = mp4::agreement(&clips).unwrap_err();
    assert_eq!(why, "c.mp4 is 320x96, but a.mp4 is 160x96");
    let (size, fps) = mp4::usual_format(&clips).unwrap();
    assert_eq!((size, fps), (SIZE, FrameRate::whole(8)));
    let settings = stitch::Settings { size, fps, preset: "veryfast".into(), crf: 12 };
    let encoded = path("encoded.mp4");
    let mut last = (0, 0);
    let frames =
        stitch::stitch(&clips, &settings, &encoded, &mut |n, of| last = (n, of), &|| false);
    assert_eq!(frames.unwrap(), Some(24 + 24 + 16 + 16));
    assert_eq!(last, (80, 80));

    let out = path("final_output.mp4");
    write(&Concat { clips: looked_at(std::slice::from_ref(&encoded)), ..Concat::default() }, &out);
    assert_joined(&out, &[encoded], (8, 1));
    let luma = support::decode_luma(&out, SIZE.0, SIZE.1);
    let of = |name: &str| support::decode_luma(&path(name), SIZE.0, SIZE.1);
    let (a, b) = (of("a.mp4"), of("b.mp4"));
    for n in 0..24 {
        assert!(support::mean_difference(&luma[n], &a[n]) < 3.0, "frame {n}");
        assert!(support::mean_difference(&luma[24 + n], &b[n]) < 3.0, "frame {}", 24 + n);
    }
    // About every third of 25 a second; colours of an unknown kind were converted.
    let d = of("d.mp4");
    for n in 0..16 {
        let at = ((n as f64 + 0.5) / 8.0 * 25.0) as usize;
        let off = |m: &usize| support::mean_difference(&luma[64 + n], &d[*m]);
        let nearest = (0..d.len()).min_by(|a, b| off(a).total_cmp(&off(b))).unwrap();
        assert_eq!(nearest, at, "frame {}", 64 + n);
    }
    // Twice as wide as the others: borders above and below.
    assert!(luma[50][..(SIZE.0 * 20) as usize].iter().all(|y| *y <= 20));
    let video = support::probe(&out).video;
    assert_eq!((&video["color_space"], &video["color_range"]), (&"bt709".into(), &"tv".into()));
}

#[test]
fn stopping_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join("a.mp4");
    program_clip(&clip, 0, 24, FrameRate::whole(8));
    let clips = looked_at(&[clip]);
    let settings =
        stitch::Settings { size: SIZE, fps: FrameRate::whole(8), preset: "medium".into(), crf: 20 };
    let out = folder.path().join("out.mp4");
    let seen = std::cell::Cell::new(0);
    let frames =
        stitch::stitch(&clips, &settings, &out, &mut |n, _| seen.set(n), &|| seen.get() > 5);
    assert_eq!(frames.unwrap(), None);
    let unknown = stitch::Settings { preset: "hasty".into(), ..settings };
    let error = stitch::stitch(&clips, &unknown, &out, &mut |_, _| {}, &|| false).unwrap_err();
    assert!(error.to_string().contains("\"hasty\""), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_clip_that_is_cut_off_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cycle0007_video.mp4");
    for fragments in [false, true] {
        match fragments {
            true => {
                ffmpeg_clip(&path, 0, 2.0, &["-movflags", "frag_keyframe+empty_moov", "-g", "10"])
            }
            false => program_clip(&path, 0, 24, FrameRate::whole(8)),
        }
        let whole = std::fs::read(&path).unwrap();
        for part in [0.1, 0.5, 0.97] {
            std::fs::write(&path, &whole[..(whole.len() as f64 * part) as usize]).unwrap();
            let error = Clip::look(&path).unwrap_err().to_string();
            assert!(error.contains("cycle0007_video.mp4 is cut off"), "{error}");
        }
    }
}

/// `cargo test --test stitch -- --ignored --nocapture`: 450 clips of 3 s, against ffmpeg.
#[test]
#[ignore = "a measurement"]
fn how_long_450_clips_take() {
    let folder =
        tempfile::tempdir_in(std::env::var("MEASURE_IN").unwrap_or("/tmp".into())).unwrap();
    let clip = folder.path().join("cycle0000_video.mp4");
    grainy_clip(&clip, 0, 24, FrameRate::whole(8), (1024, 576), 8);
    let mut list = String::new();
    let paths: Vec<PathBuf> = (1..=450)
        .map(|n| {
            let path = folder.path().join(format!("cycle{n:04}_video.mp4"));
            std::fs::copy(&clip, &path).unwrap();
            list += &format!("file '{}'\n", path.display());
            path
        })
        .collect();
    std::fs::write(folder.path().join("list.txt"), list).unwrap();
    let sync = || output_of(&mut Command::new("sync"));
    for round in 0..3 {
        sync();
        let out = folder.path().join("ours.mp4");
        #[expect(clippy::disallowed_methods, reason = "a measurement")]
        let begun = std::time::Instant::now();
        let clips = looked_at(&paths);
        let looked = begun.elapsed();
        let written = write(&Concat { clips, ..Concat::default() }, &out);
        let ours = begun.elapsed();
        sync();
        #[expect(clippy::disallowed_methods, reason = "a measurement")]
        let begun = std::time::Instant::now();
        let theirs_out = folder.path().join("theirs.mp4");
        output_of(
            Command::new("ffmpeg")
                .args(["-v", "error", "-y", "-f", "concat", "-safe", "0", "-i"])
                .arg(folder.path().join("list.txt"))
                .args(["-c", "copy"])
                .arg(&theirs_out),
        );
        let theirs = begun.elapsed();
        output_of(Command::new("sync").arg(&theirs_out));
        println!(
            "round {round}: {} MB, {} frames: ours {ours:?} with sync ({looked:?} to look), \
             ffmpeg {theirs:?}, with sync {:?}",
            std::fs::metadata(&out).unwrap().len() >> 20,
            written.frames,
            begun.elapsed()
        );
    }
}
