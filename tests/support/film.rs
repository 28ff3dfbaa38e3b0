//! Films for the tests: made by computing or by ffmpeg, retimed by `vfaq`, and read again.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A film in YUV4MPEG2, 4:2:0.
#[derive(Clone)]
pub struct Film {
    pub size: (usize, usize),
    /// As in the header: `30000:1001`.
    pub fps: String,
    /// All planes of each, tight.
    pub frames: Vec<Vec<u8>>,
}

/// Bytes of a picture.
fn bytes((width, height): (usize, usize)) -> usize {
    width * height + 2 * width.div_ceil(2) * height.div_ceil(2)
}

impl Film {
    /// Of pictures whose luma is `pixel(frame, x, y)`, without colour.
    pub fn of(
        size: (usize, usize),
        fps: &str,
        frames: usize,
        pixel: impl Fn(usize, usize, usize) -> f64,
    ) -> Film {
        let frame = |n: usize| {
            let mut frame = vec![128; bytes(size)];
            for (i, luma) in frame[..size.0 * size.1].iter_mut().enumerate() {
                *luma = pixel(n, i % size.0, i / size.0).round().clamp(16.0, 235.0) as u8;
            }
            frame
        };
        Film { size, fps: fps.into(), frames: (0..frames).map(frame).collect() }
    }

    pub fn write(&self, path: &Path) {
        std::fs::write(path, self.stream()).unwrap();
    }

    pub fn stream(&self) -> Vec<u8> {
        let (width, height) = self.size;
        let header = format!("YUV4MPEG2 W{width} H{height} F{} Ip A1:1 C420mpeg2\n", self.fps);
        let mut stream = header.into_bytes();
        for frame in &self.frames {
            stream.extend(b"FRAME\n");
            stream.extend(frame);
        }
        stream
    }

    pub fn read(path: &Path) -> Film {
        Film::parse(&std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
    }

    pub fn parse(stream: &[u8]) -> Film {
        let end = stream.iter().position(|byte| *byte == b'\n').expect("a header");
        let header = String::from_utf8(stream[..end].to_vec()).unwrap();
        let word = |key: char| {
            let word = header.split(' ').skip(1).find(|word| word.starts_with(key));
            word.unwrap_or_else(|| panic!("no {key} in {header}"))[1..].to_owned()
        };
        assert!(word('C').starts_with("420"), "{header}");
        let size = (word('W').parse().unwrap(), word('H').parse().unwrap());
        let one = bytes(size) + 6;
        let frames = stream[end + 1..].chunks(one).map(|frame| {
            assert_eq!((frame.len(), &frame[..6]), (one, &b"FRAME\n"[..]));
            frame[6..].to_vec()
        });
        Film { size, fps: word('F'), frames: frames.collect() }
    }

    /// Every `step`-th frame, at that part of the rate.
    pub fn every(&self, step: usize) -> Film {
        let (num, den) = self.fps.split_once(':').unwrap();
        let fps = format!("{num}:{}", den.parse::<usize>().unwrap() * step);
        Film { fps, frames: self.frames.iter().step_by(step).cloned().collect(), ..*self }
    }

    pub fn luma(&self, n: usize) -> &[u8] {
        &self.frames[n][..self.size.0 * self.size.1]
    }

    /// PSNR of the luma of frame `n` against that of `other`, within a border of a tenth.
    pub fn psnr(&self, n: usize, other: &Film) -> f64 {
        let (width, height) = self.size;
        let (mut sum, mut count) = (0.0, 0);
        for y in height / 10..height - height / 10 {
            for x in width / 10..width - width / 10 {
                let [a, b] = [self.luma(n), other.luma(n)].map(|luma| luma[y * width + x]);
                sum += f64::from(a.abs_diff(b)).powi(2);
                count += 1;
            }
        }
        10.0 * (255.0f64.powi(2) / (sum / f64::from(count)).max(1e-9)).log10()
    }
}

/// Waves of several lengths: fine enough to be followed, and none repeats soon.
pub fn texture(x: f64, y: f64) -> f64 {
    let wave = |fx: f64, fy: f64| (x * fx + y * fy + (y * 0.031).sin() * 2.0).sin();
    125.0 + 40.0 * wave(0.11, 0.07) + 30.0 * wave(-0.23, 0.31) + 20.0 * wave(0.47, 0.41)
}

/// A folder in which films are made.
pub struct Studio {
    pub folder: tempfile::TempDir,
}

impl Studio {
    pub fn new() -> Self {
        Studio { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs ffmpeg in the folder.
    #[track_caller]
    pub fn ffmpeg(&self, arguments: &str) {
        let mut command = Command::new("ffmpeg");
        command.current_dir(self.folder.path()).args(["-v", "error", "-nostdin", "-y"]);
        super::output_of(command.args(arguments.split_whitespace()));
    }

    /// `vfaq interpolate` with these arguments, in the folder.
    pub fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vfaq"));
        command.current_dir(self.folder.path()).env_remove("RUST_LOG").arg("interpolate");
        command.args(arguments.split_whitespace());
        command
    }

    pub fn run(&self, arguments: &str) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs it with `--json`, and expects it to go well; what it said on standard error as well.
    #[track_caller]
    pub fn good(&self, arguments: &str) -> (Value, String) {
        let output = self.run(&format!("{arguments} --json"));
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments}: {said}");
        let counts: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let count = |key: &str| counts[key].as_u64().unwrap_or_else(|| panic!("{key}: {counts}"));
        let kinds = ["passed", "interpolated", "cut", "repeated"];
        assert_eq!(count("frames_out"), kinds.into_iter().map(count).sum::<u64>(), "{counts}");
        (counts, said)
    }

    /// Runs it and expects a refusal, which leaves the folder as it was; what it said.
    #[track_caller]
    pub fn refusal(&self, arguments: &str, code: i32) -> String {
        let before = self.files();
        let output = self.run(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments}: {said}");
        assert!(output.stdout.is_empty() && !said.contains("panicked"), "{arguments}: {said}");
        assert_eq!(self.files(), before, "{arguments} left something behind");
        said
    }

    /// What is in the folder.
    pub fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}
