//! What the tests look at: files as ffprobe and ffmpeg see them, and `vfaq` as a user runs it.
#![allow(dead_code, reason = "every test binary uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop")]

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
