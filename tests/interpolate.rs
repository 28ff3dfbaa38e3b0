//! `vfaq interpolate`: films at another rate, as a user sees them.
#![cfg(feature = "gst")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop")]

mod support;

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::json;
use support::film::{Film, Studio, texture};

/// A picture that moves by so many pixels a frame, along x and y.
fn pan(size: (usize, usize), fps: &str, frames: usize, speed: (f64, f64)) -> Film {
    Film::of(size, fps, frames, |n, x, y| {
        texture(x as f64 - n as f64 * speed.0, y as f64 - n as f64 * speed.1)
    })
}

#[test]
fn every_rate_gives_the_right_count_on_a_grid() {
    let studio = Studio::new();
    for (from, frames, to, expected) in [
        ("8:1", 16, "60", 120),
        ("24:1", 13, "60", 33),
        ("25:1", 9, "50", 18),
        ("30000:1001", 15, "60", 30),
        ("60:1", 31, "24", 12),
        ("60:1", 31, "8", 4),
        ("25:1", 20, "24000/1001", 19),
        ("12:1", 7, "12", 7),
        ("8:1", 1, "1000", 125),
        ("24:1", 241, "1/4", 3),
    ] {
        pan((64, 36), from, frames, (1.5, 0.0)).write(&studio.path("in.y4m"));
        let (counts, _) = studio.good(&format!("in.y4m out.mp4 --fps {to} --force"));
        assert_eq!(counts["frames_in"], frames);
        assert_eq!(counts["frames_out"], expected, "{from} to {to}");
        let probe = support::probe(&studio.path("out.mp4"));
        let whole = if to.contains('/') { to.to_owned() } else { format!("{to}/1") };
        assert_eq!(probe.video["r_frame_rate"], whole, "{from} to {to}");
        let fps: f64 = {
            let (num, den) = whole.split_once('/').unwrap();
            num.parse::<f64>().unwrap() / den.parse::<f64>().unwrap()
        };
        let places: Vec<f64> = probe.places().iter().map(|place| place / 60.0 * fps).collect();
        assert_eq!(places.len(), expected);
        for (n, place) in places.iter().enumerate() {
            assert!((place - n as f64).abs() < 1e-3, "{from} to {to}: {places:?}");
        }
        assert_eq!(support::complaints(&studio.path("out.mp4")), "");
    }
}

#[test]
fn a_pan_is_really_in_between_and_source_frames_stay_as_they_are() {
    let studio = Studio::new();
    let truth = pan((256, 144), "30:1", 25, (4.0, 1.5));
    truth.every(3).write(&studio.path("in.y4m"));
    let mut psnr = [0.0; 2];
    for (method, psnr) in ["blend", "flow"].into_iter().zip(&mut psnr) {
        studio.good(&format!("in.y4m out.y4m --fps 30 --method {method} --force"));
        let film = Film::read(&studio.path("out.y4m"));
        assert_eq!((film.size, film.fps.as_str(), film.frames.len()), (truth.size, "30:1", 27));
        for n in (0..25).step_by(3) {
            assert!(film.frames[n] == truth.frames[n], "source frame {n} was changed");
        }
        // The last picture is held to its end.
        assert!(film.frames[25..].iter().all(|frame| *frame == truth.frames[24]));
        let between = (0..24).filter(|n| n % 3 > 0);
        *psnr = between.map(|n| film.psnr(n, &truth)).sum::<f64>() / 16.0;
    }
    println!("PSNR: blended {:.1} dB, along the motion {:.1} dB", psnr[0], psnr[1]);
    assert!(psnr[1] > 36.0 && psnr[1] > psnr[0] + 10.0, "{psnr:?}");
}

#[test]
fn however_many_threads_work_the_film_is_the_same() {
    let studio = Studio::new();
    pan((160, 90), "10:1", 12, (3.0, 1.0)).write(&studio.path("in.y4m"));
    for threads in [1, 2, 5] {
        studio.good(&format!("in.y4m {threads}.y4m --size 240x136 --threads {threads}"));
    }
    let one = std::fs::read(studio.path("1.y4m")).unwrap();
    assert!(one == std::fs::read(studio.path("2.y4m")).unwrap());
    assert!(one == std::fs::read(studio.path("5.y4m")).unwrap());
    assert_eq!(Film::parse(&one).size, (240, 136));
}

#[test]
fn nothing_is_mixed_across_a_cut() {
    let studio = Studio::new();
    let mut film = pan((128, 72), "10:1", 6, (2.0, 0.0));
    let other = Film::of((128, 72), "10:1", 6, |n, x, y| {
        if (x + n * 3) / 12 % 2 == y / 9 % 2 { 30.0 } else { 215.0 }
    });
    film.frames.extend(other.frames);
    film.write(&studio.path("in.y4m"));
    let (counts, _) = studio.good("in.y4m out.y4m");
    assert!(counts["cut"].as_u64() > Some(0), "{counts}");
    let out = Film::read(&studio.path("out.y4m"));
    for n in 30..36 {
        let nearer = if n < 33 { 5 } else { 6 };
        assert!(out.frames[n] == film.frames[nearer], "frame {n} is not source frame {nearer}");
    }
    // Before and behind something moves.
    assert!(
        (1..6)
            .all(|n| out.frames[24 + n] != out.frames[24] && out.frames[36 + n] != out.frames[36])
    );
}

#[test]
fn frames_shown_twice_count_as_one_and_a_standstill_stands_still() {
    let studio = Studio::new();
    let truth = pan((128, 72), "40:1", 33, (1.5, 0.5));
    // Every eighth at 10 frames a second, each of them twice: 5 pictures a second.
    let mut film = Film { fps: "10:1".into(), frames: Vec::new(), ..truth.clone() };
    for frame in truth.frames.iter().step_by(8) {
        film.frames.extend([frame.clone(), frame.clone()]);
    }
    film.write(&studio.path("in.y4m"));
    let (counts, _) = studio.good("in.y4m out.y4m --fps 40");
    // Four stretches of motion, each of eight frames; the last picture stands.
    assert_eq!((counts["interpolated"].clone(), counts["passed"].clone()), (json!(28), json!(6)));
    let out = Film::read(&studio.path("out.y4m"));
    let psnr = (0..32).filter(|n| n % 8 > 0).map(|n| out.psnr(n, &truth)).fold(99.0, f64::min);
    assert!(psnr > 30.0, "{psnr:.1} dB");

    // Six times the same is no accident.
    let [first, second] = [0, 8].map(|n| truth.frames[n].clone());
    film.frames = [vec![first.clone(); 6], vec![second; 2]].concat();
    film.write(&studio.path("in.y4m"));
    studio.good("in.y4m out.y4m --fps 40 --force");
    let out = Film::read(&studio.path("out.y4m"));
    assert!(out.frames[..=20].iter().all(|frame| *frame == first));
    assert!(out.frames[21..].iter().all(|frame| *frame != first));
}

#[test]
fn odd_sizes_and_single_frames() {
    let studio = Studio::new();
    let film = pan((101, 67), "10:1", 4, (2.0, 1.0));
    film.write(&studio.path("in.y4m"));
    studio.good("in.y4m out.y4m --fps 30");
    let out = Film::read(&studio.path("out.y4m"));
    assert_eq!((out.size, out.frames.len()), (film.size, 12));
    for n in 0..4 {
        assert!(out.frames[3 * n] == film.frames[n], "source frame {n} was changed");
    }
    // An encoder needs even ones, and that is said.
    let (counts, said) = studio.good("in.y4m out.mp4 --fps 30");
    assert!(said.contains("101x67 is scaled to 102x68"), "{said}");
    assert_eq!(counts["out"], json!({"width": 102, "height": 68, "fps": "30/1"}));
    assert_eq!(support::probe(&studio.path("out.mp4")).video["width"], 102);

    let one = Film { frames: film.frames[..1].to_vec(), ..film };
    one.write(&studio.path("one.y4m"));
    for (to, frames) in [("60", 6), ("25", 3), ("2", 1)] {
        studio.good(&format!("one.y4m out.y4m --fps {to} --force"));
        let out = Film::read(&studio.path("out.y4m"));
        assert_eq!(out.frames, vec![one.frames[0].clone(); frames], "at {to}");
    }
}

#[test]
fn a_variable_rate_keeps_its_times() {
    let studio = Studio::new();
    // A grey level for each picture, at times of its own: Matroska knows milliseconds.
    let film = Film::of((64, 48), "25:1", 12, |n, _, _| 30.0 + 15.0 * n as f64);
    film.write(&studio.path("in.y4m"));
    studio.ffmpeg("-i in.y4m -vf settb=1/1000,setpts=(N*N*0.02+N*0.05)/TB -fps_mode passthrough -enc_time_base 1/1000 -c:v ffv1 in.mkv");
    let time = |n: usize| (n * n) as f64 * 0.02 + n as f64 * 0.05;
    studio.good("in.mkv out.y4m --method nearest");
    let out = Film::read(&studio.path("out.y4m"));
    for (n, frame) in out.frames.iter().enumerate() {
        let at = n as f64 / 60.0;
        let level = f64::from(frame[0]);
        let shown = ((level - 30.0) / 15.0).round() as usize;
        let away = (time(shown) - at).abs();
        let nearest = (0..12).map(|i| (time(i) - at).abs()).fold(f64::MAX, f64::min);
        assert!(away < nearest + 0.003 || shown == 11, "frame {n} shows {shown}");
    }
    let last = (time(11) * 60.0).round() as usize;
    assert!(out.frames.len() > last && out.frames.len() < last + 40, "{}", out.frames.len());
    // And what is in between fades on all the time, where gaps are short.
    studio.good("in.mkv flow.y4m --method flow");
    let flow = Film::read(&studio.path("flow.y4m"));
    assert_eq!(flow.frames.len(), out.frames.len());
    let levels: Vec<u8> = flow.frames.iter().map(|frame| frame[0]).collect();
    assert!(levels.windows(2).all(|pair| pair[0] <= pair[1]), "{levels:?}");
    let steps = levels[..25].windows(2).map(|pair| pair[1] - pair[0]).max();
    assert!(steps < Some(10), "{levels:?}");
}

#[test]
fn pictures_of_every_kind_become_the_same() {
    let studio = Studio::new();
    studio.ffmpeg("-f lavfi -i testsrc2=size=192x108:rate=10 -frames:v 4 -pix_fmt yuv444p16le -c:v ffv1 master.mkv");
    let limited = "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+full_chroma_int";
    studio.ffmpeg(&format!(
        "-i master.mkv -vf {limited},format=yuv420p -strict -1 -f yuv4mpegpipe truth.y4m"
    ));
    let truth = Film::read(&studio.path("truth.y4m"));
    let tags = "-colorspace bt709 -color_primaries bt709 -color_trc bt709";
    for (name, arguments) in [
        ("422p10.mkv", format!("-vf {limited},format=yuv422p10le {tags} -c:v ffv1")),
        ("420p10.mp4", format!("-vf {limited},format=yuv420p10le {tags} -c:v libx264 -crf 4")),
        ("rgb.mkv", "-vf format=bgr0 -c:v ffv1".to_owned()),
        (
            "full.mkv",
            format!(
                "-vf scale=out_color_matrix=bt709:out_range=pc,format=yuv420p -color_range pc {tags} -c:v libx264 -crf 4"
            ),
        ),
        (
            "601.mkv",
            "-vf scale=out_color_matrix=smpte170m:out_range=tv,format=yuv444p \
                     -colorspace smpte170m -color_primaries bt709 -color_trc bt709 -color_range tv \
                     -c:v libx264 -crf 4"
                .to_owned(),
        ),
        ("422p10.y4m", format!("-vf {limited},format=yuv422p10le -strict -1 -f yuv4mpegpipe")),
        ("mjpeg.avi", "-vf format=yuvj422p -c:v mjpeg -q:v 1".to_owned()),
    ] {
        studio.ffmpeg(&format!("-i master.mkv {arguments} {name}"));
        studio.good(&format!("{name} out.y4m --fps 10 --force"));
        let out = Film::read(&studio.path("out.y4m"));
        assert_eq!((out.size, out.frames.len()), (truth.size, 4), "{name}");
        let difference = support::mean_difference(&out.frames[2], &truth.frames[2]);
        println!("{name}: {difference:.2} levels");
        assert!(difference < 2.0, "{name}: {difference} levels off");
    }
}

#[test]
fn interlaced_pictures_become_whole_ones() {
    let studio = Studio::new();
    // A bright bar that moves four pixels a field.
    let film =
        Film::of(
            (192, 96),
            "50:1",
            40,
            |n, x, _| {
                if x.abs_diff(10 + 4 * n) < 8 { 220.0 } else { 30.0 }
            },
        );
    film.write(&studio.path("in.y4m"));
    studio.ffmpeg("-i in.y4m -vf interlace=scan=tff:lowpass=off -c:v libx264 -flags +ildct+ilme -crf 5 in.mkv");
    let (counts, _) = studio.good("in.mkv out.y4m --fps 50");
    let out = Film::read(&studio.path("out.y4m"));
    println!("{counts}");
    assert!((39..=41).contains(&out.frames.len()), "{counts}");
    // Lines belong together: a comb has lines that differ from both neighbours.
    let combed = |luma: &[u8]| {
        (1..95)
            .flat_map(|y| (0..192).map(move |x| (x, y)))
            .filter(|(x, y)| {
                let [above, here, below] = [y - 1, *y, y + 1].map(|y| i32::from(luma[y * 192 + x]));
                (here - above).abs() > 60 && (here - below).abs() > 60
            })
            .count()
    };
    let worst = (4..36).map(|n| combed(out.luma(n))).max().unwrap();
    assert!(worst < 100, "{worst} pixels are combed");
}

#[test]
fn sound_passes_bit_by_bit_and_in_sync() {
    let studio = Studio::new();
    let sources = "-f lavfi -i testsrc2=size=96x54:rate=10:duration=2 \
                   -f lavfi -i sine=frequency=440:sample_rate=48000:duration=2 \
                   -f lavfi -i sine=frequency=880:sample_rate=44100:duration=2";
    // MPEG-TS has a header before each packet of AAC, which other containers do without.
    let hashes = |name: &str, track: usize| {
        let path = studio.path(name);
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-i"]).arg(path).args(["-map", &format!("0:a:{track}")]);
        command.args(["-c", "copy"]);
        if name.ends_with(".ts") {
            command.args(["-bsf:a", "aac_adtstoasc"]);
        }
        let text = support::output_of(command.args(["-f", "framehash", "-"]));
        let text = String::from_utf8(text).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.split(',').nth(5).unwrap().trim().to_owned()).collect::<Vec<_>>()
    };
    for (from, codecs, to) in [
        ("in.mp4", "-c:a aac", "out.mp4"),
        ("in.mp4", "-c:a aac", "out.mkv"),
        ("in.mkv", "-c:a:0 libmp3lame -c:a:1 ac3", "out.mp4"),
        ("in.mkv", "-c:a:0 flac -c:a:1 libopus", "out.mkv"),
        ("in.ts", "-c:a aac", "out.mp4"),
    ] {
        studio.ffmpeg(&format!("{sources} -map 0 -map 1 -map 2 -c:v libx264 {codecs} {from}"));
        let (counts, said) = studio.good(&format!("{from} {to} --force"));
        assert!(!said.contains("again"), "{said}");
        assert_eq!(counts["frames_out"], 120, "{from} {codecs} {to}");
        let mut left_out = 0;
        for track in [1, 0] {
            let (before, after) = (hashes(from, track), hashes(to, track));
            // An encoder's priming before the start, and what is cut at the end, may be left out.
            let first = before.iter().position(|hash| *hash == after[0]).expect("the same sound");
            let missing = before.len() - after.len();
            println!("{from} {codecs} {to}: {missing} of {} packets left out", before.len());
            let same = before[first..].starts_with(&after);
            assert!(same && missing <= 2, "{codecs}: track {track} of {to} differs");
            left_out = first;
        }
        // Other containers say themselves that priming is not to be heard.
        let later = if from == "in.ts" { left_out as f64 * 1024.0 / 48_000.0 } else { 0.0 };
        let [before, after] =
            [from, to].map(|name| support::probe(&studio.path(name)).sound_off_by().0);
        println!("{from} {codecs} {to}: sound begins {before} s later before, {after} s after");
        assert!((before + later - after).abs() < 0.002, "{from} {to}: {before}, {after}");
    }
    // What MP4 does not take is encoded, and that is said.
    studio.ffmpeg(&format!("{sources} -map 0 -map 1 -c:v libx264 -c:a pcm_s16le in.mov"));
    let (_, said) = studio.good("in.mov out.mp4 --force");
    assert!(said.contains("track 1 of the sound does not go into MP4"), "{said}");
    let probe = support::probe(&studio.path("out.mp4"));
    assert_eq!(probe.audio.as_ref().unwrap()["codec_name"], "aac");
    let sound = support::decode_sound(&studio.path("out.mp4"));
    assert!(sound.len().abs_diff(96_000) < 2100, "{} samples", sound.len());
    assert!(sound[9600..86_400].chunks(480).all(|part| part.iter().any(|s| s.abs() > 0.05)));
}

#[test]
fn what_was_cut_short_is_refused() {
    let studio = Studio::new();
    studio.ffmpeg("-f lavfi -i testsrc2=size=320x180:rate=10:duration=3 -c:v libx264 whole.mp4");
    studio.ffmpeg("-i whole.mp4 -c copy -movflags +faststart fast.mp4");
    studio.ffmpeg("-i whole.mp4 -c copy whole.mkv");
    studio.ffmpeg("-i whole.mp4 -c copy whole.avi");
    studio.ffmpeg("-i whole.mp4 -pix_fmt yuv420p whole.y4m");
    for name in ["whole.mp4", "fast.mp4", "whole.mkv", "whole.avi", "whole.y4m"] {
        let bytes = std::fs::read(studio.path(name)).unwrap();
        let cut = format!("cut_{name}");
        std::fs::write(studio.path(&cut), &bytes[..bytes.len() * 7 / 10]).unwrap();
        let said = studio.refusal(&format!("{cut} out.mp4"), 74);
        assert!(said.contains(&format!("cannot read {cut}: it is cut short")), "{said}");
    }
}

#[test]
fn bad_input_is_named() {
    let studio = Studio::new();
    studio.ffmpeg("-f lavfi -i testsrc2=size=64x36:rate=10:duration=1 -c:v libx264 in.mp4");
    studio.ffmpeg("-f lavfi -i sine=duration=1 sound.m4a");
    std::fs::write(studio.path("notes.txt"), "this is no video, whatever it is called\n").unwrap();
    std::fs::write(studio.path("notes.mp4"), "this is no video, whatever it is called\n").unwrap();
    std::fs::write(studio.path("empty.mp4"), "").unwrap();
    std::fs::create_dir(studio.path("folder.mp4")).unwrap();
    support::output_of(Command::new("mkfifo").arg(studio.path("pipe")));
    std::fs::write(studio.path("there.mp4"), "mine").unwrap();
    for (arguments, code, words) in [
        ("none.mp4 out.mp4", 74, &["cannot read none.mp4", "No such file"][..]),
        ("folder.mp4 out.mp4", 64, &["IN 'folder.mp4' is a folder"]),
        ("notes.txt out.mp4", 74, &["cannot read notes.txt"]),
        ("notes.mp4 out.mp4", 74, &["cannot read notes.mp4"]),
        ("empty.mp4 out.mp4", 74, &["cannot read empty.mp4", "it is empty"]),
        ("sound.m4a out.mp4", 74, &["cannot read sound.m4a", "no video in it", "audio/"]),
        ("sound.m4a out.y4m", 74, &["cannot read sound.m4a", "no video in it", "audio/"]),
        ("in.mp4 in.mp4", 64, &["same file", "in.mp4"]),
        ("in.mp4 ./in.mp4 --force", 64, &["same file", "in.mp4"]),
        ("in.mp4 there.mp4", 64, &["there.mp4", "--force"]),
        ("in.mp4 out.avi", 64, &["out.avi", ".mp4, .mkv or .y4m"]),
        ("in.mp4 out", 64, &["'out'", ".mp4, .mkv or .y4m"]),
        ("in.mp4 folder.mp4", 64, &["OUT 'folder.mp4' is a folder"]),
        ("in.mp4 none/out.mp4", 74, &["cannot write none/out.mp4", "no folder none"]),
        ("in.mp4 /proc/out.mp4", 74, &["cannot write /proc/out.mp4"]),
        ("in.mp4 out.mp4 --fps 0", 64, &["--fps", "above 0"]),
        ("in.mp4 out.mp4 --fps -5", 64, &["-5"]),
        ("in.mp4 out.mp4 --fps 100000", 64, &["--fps", "at most 1000"]),
        ("in.mp4 out.mp4 --fps fast", 64, &["--fps", "fast"]),
        ("in.mp4 out.mp4 --size 0x0", 64, &["--size", "1920x1080"]),
        ("in.mp4 out.mp4 --size 1920", 64, &["--size", "1920x1080"]),
        ("in.mp4 out.mp4 --size 99999x10", 64, &["--size", "8192"]),
        ("in.mp4 out.mp4 --size 641x361", 64, &["--size 641x361", "642x362"]),
        ("pipe out.mp4", 64, &["IN 'pipe'", "standard input"]),
        ("in.mp4 out.mp4 --size 8x8", 64, &["cannot write out.mp4", "8x8", "16x16"]),
        ("in.mp4 out.mp4 --encoder libvpx", 64, &["--encoder", "libx264"]),
        ("in.mp4 out.mp4 --encoder h264_nvenc", 69, &["--encoder", "libx264"]),
        ("in.mp4 out.mp4 --crf 99", 64, &["--crf"]),
        ("in.mp4 out.y4m --crf 20", 64, &["--crf is for .mp4 and .mkv"]),
        ("in.mp4 out.mp4 --method magic", 64, &["--method", "flow"]),
        ("in.mp4 - --json", 64, &["--json"]),
        ("- out.mp4", 74, &["cannot read standard input", "no YUV4MPEG2"]),
    ] {
        let said = studio.refusal(arguments, code);
        for word in words {
            assert!(said.contains(word), "{arguments}: no '{word}' in: {said}");
        }
        assert!(said.lines().count() < 12, "{arguments}: {said}");
    }
    assert_eq!(std::fs::read(studio.path("there.mp4")).unwrap(), b"mine");
    studio.good("in.mp4 there.mp4 --force");
    assert_eq!(support::probe(&studio.path("there.mp4")).video_pts.len(), 60);
}

#[test]
fn pipes_carry_pictures_and_nothing_else() {
    let studio = Studio::new();
    let film = pan((64, 36), "10:1", 5, (1.0, 0.0));
    let mut command = studio.command("- - --fps 20");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(&film.stream()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let out = Film::parse(&output.stdout);
    assert_eq!((out.fps.as_str(), out.frames.len()), ("20:1", 10));
    assert!(out.frames[2] == film.frames[1]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("10 frames") && said.contains("times real time"), "{said}");

    // A reader that goes away is an error like any other.
    pan((320, 180), "10:1", 30, (1.0, 0.0)).write(&studio.path("in.y4m"));
    let mut command = studio.command("in.y4m - -q");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(74), "{said}");
    assert!(said.contains("cannot write standard output"), "{said}");
}

#[test]
fn an_interrupt_leaves_nothing_behind() {
    for out in ["out.mp4", "out.y4m"] {
        let studio = Studio::new();
        let mut command = studio.command(&format!("- {out}"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let film = pan((64, 36), "10:1", 5, (1.0, 0.0));
        // More would come: it waits.
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&film.stream()).unwrap();
        while studio.files().is_empty() {
            std::thread::yield_now();
        }
        let files = studio.files();
        assert!(files.len() == 1 && files[0] != out, "{files:?}");
        support::output_of(Command::new("kill").args(["-INT", &child.id().to_string()]));
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(130), "{said}");
        assert!(said.contains("nothing was written"), "{said}");
        assert!(studio.files().is_empty(), "{:?}", studio.files());
        drop(stdin);
    }
}

#[test]
fn an_interrupt_is_heard_before_anything_comes() {
    let studio = Studio::new();
    let mut command = studio.command("- out.mp4");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    while studio.files().is_empty() {
        std::thread::yield_now();
    }
    support::output_of(Command::new("kill").args(["-INT", &child.id().to_string()]));
    // Whoever would write goes on holding the pipe.
    let stdin = child.stdin.take();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    drop(stdin);
    assert!(studio.files().is_empty(), "{:?}", studio.files());
}

#[test]
fn a_full_disk_is_an_error_and_leaves_nothing() {
    let studio = Studio::new();
    let disk = studio.path("disk");
    std::fs::create_dir(&disk).unwrap();
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "vfaq"]).arg(&disk).output();
    if !mounted.is_ok_and(|mounted| mounted.status.success()) {
        println!("skipped: mounting a small disk needs root and the right to mount");
        return;
    }
    pan((320, 180), "10:1", 30, (1.0, 0.0)).write(&studio.path("in.y4m"));
    let results: Vec<_> =
        ["out.y4m", "out.mp4 --crf 0"].map(|out| studio.run(&format!("in.y4m disk/{out}"))).into();
    let left = std::fs::read_dir(&disk).unwrap().count();
    support::output_of(Command::new("umount").arg("-l").arg(&disk));
    for output in results {
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(74), "{said}");
        assert!(said.contains("cannot write disk/out") && said.contains("space"), "{said}");
    }
    assert_eq!(left, 0);
}

#[test]
fn every_encoder_that_is_here_writes_a_film_that_plays() {
    let studio = Studio::new();
    pan((128, 72), "10:1", 10, (2.0, 1.0)).write(&studio.path("in.y4m"));
    for (encoder, out) in [("libx264", "a.mp4"), ("openh264", "b.mkv"), ("x264enc", "c.mkv")] {
        studio.good(&format!("in.y4m {out} --encoder {encoder} --crf 20"));
        let probe = support::probe(&studio.path(out));
        assert_eq!((probe.video["codec_name"].as_str(), probe.video_pts.len()), (Some("h264"), 60));
        assert_eq!(probe.video["color_space"], "bt709", "{encoder}");
        assert_eq!(support::complaints(&studio.path(out)), "", "{encoder}");
    }
    // A better quality is a larger file.
    studio.good("in.y4m small.mp4 --crf 40");
    let size = |name: &str| std::fs::metadata(studio.path(name)).unwrap().len();
    assert!(size("a.mp4") > size("small.mp4"));
}

#[test]
fn quality_is_constant_however_many_bits_that_takes() {
    let studio = Studio::new();
    // Noise, which x264 cannot predict: far more than the 2 Mb/s that its element is set to.
    let mut seed = 1u32;
    let noise = std::cell::RefCell::new(move || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(seed >> 24)
    });
    let film = Film::of((256, 144), "30:1", 30, |_, _, _| (noise.borrow_mut())());
    film.write(&studio.path("in.y4m"));
    studio.good("in.y4m out.mp4 --fps 30 --crf 16");
    studio.ffmpeg("-i out.mp4 -fps_mode passthrough -pix_fmt yuv420p out.y4m");
    let out = Film::read(&studio.path("out.y4m"));
    let worst = (0..30).map(|n| out.psnr(n, &film)).fold(99.0, f64::min);
    assert!(worst > 33.0, "{worst:.1} dB");
}
