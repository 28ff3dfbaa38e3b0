//! `vfaq sound`: which sources of sound there are, and how loud one is. And `vfaq sync-test`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::Folders;
use super::progress::tell;
use super::signals::stop_flag;
use crate::app::listen::{Listening, devices};
use crate::app::sync_test::{self, Apart, LIMIT_MS, Playing};
use crate::base::clock::{Clock, SystemClock};
use crate::base::error::{Error, Result};
use crate::cli::live::duration;
use crate::config::{AudioSource, OutputSpec, sound};
use crate::stream;

/// Between two lines of the meter.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// What the meter's bar begins with, and its width.
const LOWEST_DB: f32 = -60.0;
const BAR: usize = 30;

#[derive(Subcommand)]
pub enum SoundCommand {
    /// Say which sources of sound there are, as live.audio.source and /sound/source take them
    List,
    /// Show how loud a source is, until Ctrl-C
    #[command(after_help = "\
Examples:
  vfaq sound meter pulse             the default input of PulseAudio or PipeWire
  vfaq sound meter jack:mixxx        what the program mixxx plays into JACK
  vfaq sound meter file:set.wav      a file")]
    Meter {
        /// As in live.audio.source
        source: String,

        /// End after this time
        #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
        length: Option<Duration>,
    },
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  vfaq sync-test                     ten seconds of flash and beep, and how far apart they are
  vfaq sync-test --for 3h --ppm 200  a night, with a card whose clock is off
  vfaq sync-test --to rtmp://server/live/test
                                     to a server as well; measure what it recorded:
  vfaq sync-test --measure recorded.flv")]
pub struct SyncTestArgs {
    /// How long to play
    #[arg(long = "for", value_name = "DURATION", value_parser = duration, default_value = "10s")]
    length: Duration,

    /// Send it there as well; may be repeated
    #[arg(long, value_name = "URI", conflicts_with = "measure")]
    to: Vec<String>,

    /// How far the clock of the sound card is off, in millionths
    #[arg(long, value_name = "PPM", default_value_t = 0.0, allow_negative_numbers = true)]
    ppm: f64,

    /// Keep the recording under this name
    #[arg(long, value_name = "FILE", conflicts_with = "measure")]
    keep: Option<PathBuf>,

    /// Play nothing; measure this recording of a sync test
    #[arg(long, value_name = "FILE")]
    measure: Option<PathBuf>,
}

pub fn run(folders: &Folders, command: &SoundCommand, clock: SystemClock) -> Result<()> {
    stream::init()?;
    match command {
        SoundCommand::List => list(),
        SoundCommand::Meter { source, length } => meter(folders, source, *length, Arc::new(clock)),
    }
}

fn list() -> Result<()> {
    println!("silence, tone, file:PATH, file-once:PATH, rtmp://..., srt://..., ndi:NAME");
    let found = devices();
    for device in &found {
        println!("  {:<40}  {}", device.source, device.name);
    }
    if found.is_empty() {
        println!("no devices: neither PulseAudio, PipeWire, JACK nor ALSA has one here");
    }
    Ok(())
}

fn meter(
    folders: &Folders,
    source: &str,
    length: Option<Duration>,
    clock: Arc<dyn Clock>,
) -> Result<()> {
    let source = AudioSource::parse(source, &folders.worqspace)
        .or_else(|| AudioSource::parse(source, Path::new(".")))
        .ok_or_else(|| Error::usage(format!("found {source:?}, allowed: {}", sound::ALLOWED)))?;
    let source = match source {
        // What is typed is meant from here, if it is there.
        AudioSource::File { path, once } if !path.is_file() => {
            let here = path.strip_prefix(&folders.worqspace).unwrap_or(&path).to_path_buf();
            AudioSource::File { path: here, once }
        }
        source => source,
    };
    if let AudioSource::File { path, .. } = &source {
        stream::capture::check_file(path)?;
    }
    let listening = Listening::start(source, clock.clone())?;
    let stop = stop_flag()?;
    let begin = clock.now();
    let mut reason = None;
    while !stop.load(Ordering::Relaxed) && length.is_none_or(|length| clock.now() < begin + length)
    {
        std::thread::park_timeout(LOOK_EVERY);
        let (levels, now) = (listening.levels(), listening.now());
        if now.reason != reason {
            if let Some(why) = &now.reason {
                tell(&format!("\r\x1b[K{}: {why}", now.source));
            }
            reason = now.reason;
        }
        let bar = |db: f32| {
            let full = ((db - LOWEST_DB) / -LOWEST_DB * BAR as f32).clamp(0.0, BAR as f32) as usize;
            format!("{}{}", "#".repeat(full), "-".repeat(BAR - full))
        };
        let [left, right] = levels.peak;
        let mut out = std::io::stdout();
        let written = write!(
            out,
            "\rL {} {left:6.1}  R {} {right:6.1} dBFS  {:+.0} ppm ",
            bar(left),
            bar(right),
            now.drift_ppm
        );
        // Whoever reads may have closed the pipe.
        if written.and_then(|()| out.flush()).is_err() {
            break;
        }
    }
    println!();
    Ok(())
}

pub fn sync_test(args: &SyncTestArgs, clock: SystemClock) -> Result<ExitCode> {
    stream::init()?;
    if let Some(path) = &args.measure {
        return Ok(said(path, &sync_test::measure(path)?));
    }
    let outputs: Vec<OutputSpec> = args
        .to
        .iter()
        .map(|uri| OutputSpec::parse(uri).map_err(|e| e.context("--to")))
        .collect::<Result<_>>()?;
    let folder =
        tempfile::tempdir().map_err(|e| Error::io("cannot make a folder for the recording", e))?;
    let recording = args.keep.clone().unwrap_or_else(|| folder.path().join("sync-test.mp4"));
    if recording.exists() {
        return Err(Error::conflict(format!(
            "{} exists and is not overwritten; name another file",
            recording.display()
        )));
    }
    let stop = stop_flag()?;
    let playing =
        Playing { length: args.length, ppm: args.ppm, recording: recording.clone(), outputs };
    tell(&format!("flash and beep for {} s", args.length.as_secs()));
    sync_test::play(playing, Arc::new(clock), &stop, &mut |line| tell(&line))?;
    Ok(said(&recording, &sync_test::measure(&recording)?))
}

fn said(path: &Path, apart: &Apart) -> ExitCode {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    println!(
        "{name}: the sound is {:+.1} ms behind the picture at the start, {:+.1} ms at the end, \
         {:+.1} ms at most ({} beeps)",
        apart.at_start_ms, apart.at_end_ms, apart.most_ms, apart.pairs
    );
    if apart.is_in_sync() {
        println!("in sync: within {LIMIT_MS} ms");
        ExitCode::SUCCESS
    } else {
        println!("out of sync: further apart than {LIMIT_MS} ms");
        ExitCode::FAILURE
    }
}
