//! `vfaq interpolate`: progress on standard error, what it did on standard output.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::line::{Line, Style};
use super::signals::{INTERRUPTED, stop_flag};
use crate::app::interpolate::{
    self, Counts, Ended, Film, InterpolateOptions, Method, Quality, Report, Settings, Step,
    WORST_CRF,
};
use crate::base::clock::{Clock, SystemClock};
use crate::base::error::{Error, Result};
use crate::base::time::FrameRate;
use crate::config::{self, Encoder};

/// Without a terminal progress is a line as often as this.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// No side of a picture is longer.
const LONGEST_SIDE: u32 = 8192;

/// Give a video another frame rate, and another size
///
/// Between two frames the picture is moved along its motion; where another scene begins nothing is
/// mixed. Frames that a generator emitted twice are recognised. Pictures become BT.709 in 8 bits;
/// interlaced ones are deinterlaced. Sound is copied, all tracks of it; sound that the container
/// does not take is encoded as AAC. Subtitles are left out.
#[derive(Args)]
#[command(after_help = "\
Examples:
  vfaq interpolate in.mp4 out.mp4              60 frames a second, H.264, sound as it is
  vfaq interpolate clip.mp4 out.mkv --size 1920x1080
                                               and as 1080p, in one pass
  vfaq interpolate in.mov out.mp4 --fps 59.94 --quality high --crf 12
                                               59.94 is 60000/1001; for an archive
  vfaq interpolate in.mp4 out.mp4 --method blend
                                               quicker: frames are only mixed
  vfaq interpolate in.mp4 - | ffplay -         look at it (y4m on standard output)
  ffmpeg -i in.webm -f yuv4mpegpipe - | vfaq interpolate - out.mp4
                                               y4m on standard input, too

OUT ends in .mp4 or .mkv (H.264), in .y4m (raw pictures, no sound), or is - (y4m on a pipe). It is
written under another name beside it until it is whole. A file that was cut short is an error.")]
pub struct InterpolateArgs {
    /// A video that GStreamer reads, a .y4m, or - for y4m on standard input
    #[arg(value_name = "IN")]
    input: PathBuf,

    /// The new file: .mp4, .mkv, .y4m, or - for y4m on standard output
    #[arg(value_name = "OUT")]
    output: PathBuf,

    /// Frames a second: 60, 29.97, 60000/1001; also fewer than there are
    #[arg(long, value_name = "RATE", default_value = "60", value_parser = rate)]
    fps: FrameRate,

    /// Width and height in pixels, such as 1920x1080; stretched to it [default: as IN]
    #[arg(long, value_name = "WxH", value_parser = size)]
    size: Option<(u32, u32)>,

    /// How the pictures in between are made
    #[arg(long, default_value = "flow")]
    method: MethodArg,

    /// How much work finding the motion is worth
    #[arg(long, default_value = "normal")]
    quality: QualityArg,

    /// Encoder: libx264, openh264, h264_nvenc, h264_vaapi [default: libx264]
    #[arg(long, value_parser = encoder)]
    encoder: Option<Encoder>,

    /// Quality of the encoding: 0 is without loss, 50 the worst [default: 16]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=i64::from(WORST_CRF)))]
    crf: Option<u32>,

    /// Threads that interpolate; 0: as many as there are cores
    #[arg(long, value_name = "N", default_value = "0",
        value_parser = clap::value_parser!(u32).range(0..=256))]
    threads: u32,

    /// Write over OUT if it is there
    #[arg(short, long)]
    force: bool,

    /// Say nothing but errors
    #[arg(short, long)]
    quiet: bool,

    /// Print what was done as JSON, on standard output
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum MethodArg {
    /// The source frame that is nearest
    Nearest,
    /// A mix of both frames
    Blend,
    /// Both frames moved along their motion
    Flow,
}

#[derive(Clone, Copy, ValueEnum)]
enum QualityArg {
    /// A quarter of the work
    Fast,
    Normal,
    /// Several times the work
    High,
}

fn rate(text: &str) -> Result<FrameRate> {
    text.parse()
}

fn size(text: &str) -> std::result::Result<(u32, u32), String> {
    let sides = text.split_once(['x', 'X']).and_then(|(width, height)| {
        let side = |side: &str| side.parse().ok().filter(|s| (1..=LONGEST_SIDE).contains(s));
        Some((side(width)?, side(height)?))
    });
    sides.ok_or_else(|| {
        format!("write width and height in pixels, such as 1920x1080, each 1 to {LONGEST_SIDE}")
    })
}

fn encoder(text: &str) -> std::result::Result<Encoder, String> {
    let kind = config::kind::encoder();
    kind.read(text).ok_or_else(|| format!("there is no such encoder; allowed: {}", kind.allowed))
}

pub fn run(args: InterpolateArgs, clock: SystemClock) -> Result<ExitCode> {
    let options = InterpolateOptions {
        input: args.input,
        output: args.output,
        fps: args.fps,
        size: args.size,
        settings: Settings {
            scale: Default::default(),
            method: match args.method {
                MethodArg::Nearest => Method::Nearest,
                MethodArg::Blend => Method::Blend,
                MethodArg::Flow => Method::Flow,
            },
            quality: match args.quality {
                QualityArg::Fast => Quality::Fast,
                QualityArg::Normal => Quality::Normal,
                QualityArg::High => Quality::High,
            },
            threads: args.threads,
        },
        encoder: args.encoder,
        crf: args.crf,
        force: args.force,
    };
    if args.json && options.writes_pipe() {
        return Err(Error::usage("--json writes to standard output, which OUT '-' needs"));
    }
    let stop = stop_flag()?;
    let mut progress = Progress {
        clock: &clock,
        start: clock.now(),
        fps: args.fps,
        terminal: std::io::stderr().is_terminal(),
        quiet: args.quiet,
        told: clock.now(),
        shown: false,
    };
    let mut films = None;
    let result = interpolate::interpolate(&options, &clock, &stop, &mut |step| match step {
        Step::Begins { source, out } => films = Some((source, out)),
        Step::Note(note) => progress.note(&note),
        Step::Progress { frames, of } => progress.show(frames, of),
    });
    // An error begins on a line of its own.
    progress.end();
    let report = result?;
    let Ended::Done(counts) = report.ended else {
        progress.note("stopped; nothing was written");
        return Ok(ExitCode::from(INTERRUPTED));
    };
    if let Some((source, out)) = films {
        let done = Done { options: &options, source, out, counts, report: &report };
        if args.json {
            println!("{}", done.json());
        } else if !args.quiet && options.writes_pipe() {
            eprintln!("{}", done.line());
        } else if !args.quiet {
            println!("{}", done.line());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What was done.
struct Done<'a> {
    options: &'a InterpolateOptions,
    source: Film,
    out: Film,
    counts: Counts,
    report: &'a Report,
}

impl Done<'_> {
    fn seconds(&self) -> f64 {
        self.report.took.as_secs_f64()
    }

    /// Times real time.
    fn speed(&self) -> f64 {
        let film = self.counts.frames_out as f64 * self.options.fps.frame_seconds();
        film / self.seconds().max(1e-9)
    }

    fn line(&self) -> String {
        let Counts { frames_out, passed, interpolated, repeated, cut, .. } = self.counts;
        format!(
            "{}: {frames_out} frames of {}x{} at {} ({passed} as they were, {interpolated} in \
             between, {repeated} repeated, {cut} at cuts) in {:.1} s, {:.1} times real time",
            self.options.output.display(),
            self.out.width,
            self.out.height,
            number(self.options.fps),
            self.seconds(),
            self.speed()
        )
    }

    fn json(&self) -> serde_json::Value {
        let film = |film: Film| {
            let fps = film.fps.map(|fps| fps.to_string());
            json!({"width": film.width, "height": film.height, "fps": fps})
        };
        let counts = self.counts;
        json!({
            "input": self.options.input.display().to_string(),
            "output": self.options.output.display().to_string(),
            "source": film(self.source),
            "out": film(self.out),
            "frames_in": counts.frames_in,
            "frames_out": counts.frames_out,
            "interpolated": counts.interpolated,
            "passed": counts.passed,
            "cut": counts.cut,
            "repeated": counts.repeated,
            "seconds": (self.seconds() * 1000.0).round() / 1000.0,
            "speed": (self.speed() * 100.0).round() / 100.0,
        })
    }
}

/// `60`, `59.94`.
fn number(fps: FrameRate) -> String {
    if fps.den() == 1 { fps.num().to_string() } else { format!("{:.2}", fps.as_f64()) }
}

struct Progress<'a> {
    clock: &'a SystemClock,
    start: Duration,
    fps: FrameRate,
    terminal: bool,
    quiet: bool,
    /// When progress was last told.
    told: Duration,
    /// There is a line to be taken away.
    shown: bool,
}

impl Progress<'_> {
    fn show(&mut self, frames: u64, of: Option<u64>) {
        let now = self.clock.now();
        if self.quiet || frames == 0 || !self.terminal && now < self.told + LINE_EVERY {
            return;
        }
        self.told = now;
        let seconds = now.saturating_sub(self.start).as_secs_f64().max(1e-3);
        let rate = frames as f64 / seconds;
        let speed = rate * self.fps.frame_seconds();
        // A film may be longer than it says.
        let of = of.filter(|of| *of >= frames);
        let left = of.map(|of| Duration::from_secs_f64((of - frames) as f64 / rate));
        let mut text = match of {
            Some(of) => format!("{:3} %  {frames}/{of}", frames * 100 / of),
            None => format!("{frames} frames"),
        };
        text += &format!("  {rate:.0} fps  {speed:.1}x");
        if let Some(left) = left {
            let seconds = left.as_secs();
            text += &format!("  {}:{:02} left", seconds / 60, seconds % 60);
        }
        let mut err = std::io::stderr();
        // Whether anybody sees it changes nothing.
        if !self.terminal {
            let _ = writeln!(err, "{text}");
            return;
        }
        let columns = crossterm::terminal::size().map_or(80, |(columns, _)| columns);
        let mut line = Line::unlabelled(usize::from(columns).saturating_sub(1), true);
        match of {
            Some(of) => line.bar(Style::Accent, frames as f64 / of as f64, &text),
            None => line.put(Style::Plain, &text),
        }
        let _ = write!(err, "\r\x1b[K{}", line.finish()).and_then(|()| err.flush());
        self.shown = true;
    }

    fn note(&mut self, note: &str) {
        self.end();
        if !self.quiet {
            eprintln!("vfaq: {note}");
        }
    }

    /// Takes the line away.
    fn end(&mut self) {
        if std::mem::take(&mut self.shown) {
            eprint!("\r\x1b[K");
        }
    }
}
