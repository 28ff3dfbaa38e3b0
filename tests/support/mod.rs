//! What the tests look at: files as ffprobe and ffmpeg see them, and `vfaq` as a user runs it.
#![allow(dead_code, reason = "every test binary uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop")]

pub mod disk;
#[cfg(feature = "gst")]
pub mod film;
#[cfg(all(feature = "gst", target_os = "linux"))]
pub mod jack;
#[cfg(feature = "gst")]
pub mod nginx;
pub mod seed;
#[cfg(feature = "gst")]
pub mod show;

use std::path::Path;
use std::process::Command;

/// Runs a command to its end and returns its standard output.
pub fn output_of(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// What ffprobe says of a file's streams and packets.
pub struct Probe {
    pub video: serde_json::Value,
    pub audio: Option<serde_json::Value>,
    /// Presentation times of the video packets in units of the stream's time base, sorted.
    pub video_pts: Vec<i64>,
    /// Seconds: start and duration of each.
    pub video_span: (f64, f64),
    pub audio_span: Option<(f64, f64)>,
}

impl Probe {
    /// Seconds by which the sound starts and ends later than the picture.
    pub fn sound_off_by(&self) -> (f64, f64) {
        let (video_start, video_length) = self.video_span;
        let (audio_start, audio_length) = self.audio_span.expect("sound");
        let ends = audio_start + audio_length - video_start - video_length;
        (audio_start - video_start, ends)
    }

    /// Presentation times of the pictures in sixtieths of a second.
    pub fn places(&self) -> Vec<f64> {
        let base = self.video["time_base"].as_str().and_then(|base| base.split_once('/'));
        let (num, den) = base.expect("a time base");
        let (num, den): (i64, i64) = (num.parse().expect("a number"), den.parse().expect("one"));
        self.video_pts.iter().map(|pts| (pts * 60 * num) as f64 / den as f64).collect()
    }
}

fn seconds(stream: &serde_json::Value, key: &str) -> f64 {
    stream[key].as_str().and_then(|s| s.parse().ok()).unwrap_or(f64::NAN)
}

/// Probes a video file. Panics if it cannot be read.
pub fn probe(path: &Path) -> Probe {
    let json = output_of(
        Command::new("ffprobe")
            .args(["-v", "error", "-show_streams", "-show_packets", "-of", "json"])
            .arg(path),
    );
    let json: serde_json::Value = serde_json::from_slice(&json).expect("ffprobe speaks JSON");
    let of_kind =
        |kind: &str| json["streams"].as_array()?.iter().find(|s| s["codec_type"] == kind).cloned();
    let video = of_kind("video").expect("a video stream");
    let audio = of_kind("audio");
    let mut video_pts: Vec<i64> = json["packets"]
        .as_array()
        .expect("packets")
        .iter()
        .filter(|p| p["codec_type"] == "video")
        .map(|p| p["pts"].as_i64().expect("a PTS"))
        .collect();
    video_pts.sort_unstable();
    let span = |s: &serde_json::Value| (seconds(s, "start_time"), seconds(s, "duration"));
    let (video_span, audio_span) = (span(&video), audio.as_ref().map(span));
    Probe { video, audio, video_pts, video_span, audio_span }
}

/// Decodes every frame to a small grey picture; each is `width * height` bytes.
pub fn decode_grey(path: &Path, width: u32, height: u32) -> Vec<Vec<u8>> {
    let raw = output_of(
        Command::new("ffmpeg")
            .args(["-v", "error", "-i"])
            .arg(path)
            .args(["-vf", &format!("scale={width}:{height}:flags=area,format=gray")])
            .args(["-fps_mode", "passthrough", "-f", "rawvideo", "-"]),
    );
    raw.chunks_exact((width * height) as usize).map(<[u8]>::to_vec).collect()
}

/// Writes a sound of one short beep a second.
pub fn beeps(path: &Path) {
    let beep = "aevalsrc='0.8*sin(2*PI*1000*t)*lt(mod(t\\,1)\\,0.05)':s=48000:d=60";
    output_of(Command::new("ffmpeg").args(["-v", "error", "-f", "lavfi", "-i", beep]).arg(path));
}

/// Decodes the sound to mono samples at 48 kHz.
pub fn decode_sound(path: &Path) -> Vec<f32> {
    let raw = output_of(
        Command::new("ffmpeg")
            .args(["-v", "error", "-i"])
            .arg(path)
            .args(["-vn", "-ac", "1", "-ar", "48000", "-f", "f32le", "-"]),
    );
    raw.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// Decodes the whole file as a player would. Returns what ffmpeg complained about.
pub fn complaints(path: &Path) -> String {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(path)
        .args(["-f", "null", "-"])
        .output()
        .unwrap_or_else(|e| panic!("cannot run ffmpeg: {e}"));
    let mut complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        complaints += &format!("{}", output.status);
    }
    complaints
}

/// The luma of every frame as it is in the file (black is 16), at `width * height`.
pub fn decode_luma(path: &Path, width: u32, height: u32) -> Vec<Vec<u8>> {
    let raw = output_of(
        Command::new("ffmpeg")
            .args(["-v", "error", "-i"])
            .arg(path)
            .args([
                "-vf",
                &format!("scale={width}:{height}:flags=area,format=yuv420p,extractplanes=y"),
            ])
            .args(["-fps_mode", "passthrough", "-f", "rawvideo", "-"]),
    );
    raw.chunks_exact((width * height) as usize).map(<[u8]>::to_vec).collect()
}

/// The types of a file's boxes at the top level.
pub fn mp4_boxes(path: &Path) -> Vec<String> {
    let file = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut boxes = Vec::new();
    let mut rest = &file[..];
    while let Some((head, _)) = rest.split_first_chunk::<8>() {
        let [a, b, c, d, kind @ ..] = *head;
        boxes.push(String::from_utf8_lossy(&kind).into_owned());
        let length = match u32::from_be_bytes([a, b, c, d]) {
            // To the end of the file, or said in 64 bits behind.
            0 => rest.len(),
            1 => rest.get(8..16).map_or(rest.len(), |long| {
                long.iter().fold(0, |length, byte| length << 8 | usize::from(*byte))
            }),
            length => length as usize,
        };
        rest = rest.get(length.max(8)..).unwrap_or_default();
    }
    boxes
}

/// Asserts that the file is an ordinary MP4 with `frames` frames at 60/1, each at its place, with
/// sound that begins and ends with the picture, and that it plays without a complaint.
pub fn assert_recording(path: &Path, frames: usize, canvas: (u32, u32)) -> Probe {
    let probe = assert_part(path, frames, canvas);
    let (starts, ends) = probe.sound_off_by();
    assert!(starts.abs() < 0.005, "{}: sound starts {starts} s late", path.display());
    assert!(ends.abs() < 0.005, "{}: sound ends {ends} s late", path.display());
    probe
}

/// As [`assert_recording`], for one of several parts: where they meet, sound is cut between two
/// AAC frames, not between two pictures.
pub fn assert_part(path: &Path, frames: usize, canvas: (u32, u32)) -> Probe {
    let shown = path.display();
    let probe = assert_grid(path, frames, canvas);
    let boxes = mp4_boxes(path);
    assert!(boxes.contains(&"moov".into()), "{shown}: {boxes:?}");
    assert!(!boxes.contains(&"moof".into()), "{shown}: still in fragments: {boxes:?}");
    assert_eq!(complaints(path), "", "{shown}");
    let audio = probe.audio.as_ref().expect("sound");
    assert_eq!(audio["codec_name"], "aac", "{shown}");
    assert_eq!(audio["sample_rate"], "48000", "{shown}");
    assert_eq!(audio["channels"], 2, "{shown}");
    let (_, length) = probe.video_span;
    assert!((length - frames as f64 / 60.0).abs() < 1e-3, "{shown}: {length} s");
    let (starts, ends) = probe.sound_off_by();
    // A part that ends in the middle of a show may end some samples beyond that.
    let most = 1.2 * 1024.0 / 48_000.0;
    assert!(starts.abs() < most && ends.abs() < most, "{shown}: {starts}, {ends} s");
    probe
}

/// Asserts that the file has `frames` frames at 60/1, each at its place, from 0 on.
pub fn assert_grid(path: &Path, frames: usize, canvas: (u32, u32)) -> Probe {
    let shown = path.display();
    let probe = probe(path);
    assert_eq!(probe.video_pts.len(), frames, "{shown}");
    let video = &probe.video;
    assert_eq!((video["width"].as_u64(), video["height"].as_u64()), {
        let (width, height) = canvas;
        (Some(width.into()), Some(height.into()))
    });
    assert_eq!(video["codec_name"], "h264", "{shown}");
    assert_eq!(video["r_frame_rate"], "60/1", "{shown}");
    let places = probe.places();
    let grid: Vec<f64> = (0..frames).map(|n| n as f64).collect();
    assert!(places == grid, "{shown}: PTS leave the grid: {places:?}");
    probe
}

/// Whether nothing is to be seen in a picture, given as luma: 98% of it within a tenth of black.
pub fn is_black(luma: &[u8]) -> bool {
    let dark = luma.iter().filter(|y| **y <= 38).count();
    dark * 100 >= luma.len() * 98
}

/// The longest run of frames in which nothing moves: no pixel of a small picture leaves its
/// value in the run's first one by more than what encoding does to a still.
pub fn longest_freeze(frames: &[Vec<u8>]) -> (usize, usize) {
    let still = |a: &[u8], b: &[u8]| a.iter().zip(b).all(|(a, b)| a.abs_diff(*b) <= 2);
    let (mut first, mut longest) = (0, (0, 0));
    for (n, frame) in frames.iter().enumerate() {
        if !still(&frames[first], frame) {
            first = n;
        }
        longest = longest.max((n - first, first));
    }
    longest
}

/// Asserts that a recording is never black and never stands still for over half a second, but for
/// the pictures that a busy machine held.
pub fn assert_alive(path: &Path, summary: &serde_json::Value) {
    let shown = path.display();
    let frames = decode_luma(path, 64, 36);
    let black: Vec<usize> = (0..frames.len()).filter(|n| is_black(&frames[*n])).collect();
    assert!(black.is_empty(), "{shown}: black at {black:?}");
    let held = summary["frames"]["held"].as_u64().expect("a count") as usize;
    let (longest, at) = longest_freeze(&frames);
    println!("{shown}: stands still for at most {longest} frames, at {at}; {held} were held");
    assert!(longest <= 30 + held, "{shown}: {longest} frames stand still at {at}");
}

/// Decodes a clip, or a still, to small pictures in RGB.
pub fn decode_rgb(path: &Path) -> Vec<Vec<u8>> {
    let raw = output_of(
        Command::new("ffmpeg")
            .args(["-v", "error", "-i"])
            .arg(path)
            .args(["-vf", "scale=64:36:flags=area,format=rgb24", "-fps_mode", "passthrough"])
            .args(["-f", "rawvideo", "-"]),
    );
    raw.chunks_exact(64 * 36 * 3).map(<[u8]>::to_vec).collect()
}

/// Mean difference of two pictures of one size, in levels.
pub fn mean_difference(a: &[u8], b: &[u8]) -> f64 {
    let sum: u64 = a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / a.len() as f64
}
