//! `vfaq assemble`: says what is made on standard output, and how far it is on standard error.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::sync::watch;

use super::Folders;
use super::progress::{Progress, clear, say};
use super::run::length;
use super::signals::{INTERRUPTED, stop_at_signals};
use crate::app::assemble::{self, AssembleOptions, Ended, Sound, Step, What};
use crate::app::batch::Stop;
use crate::base::clock::{Clock, SystemClock};
use crate::base::error::{Error, Result};
use crate::base::time::hms;

/// Without a terminal progress is a line as often as this.
const LINE_EVERY: Duration = Duration::from_secs(30);
/// What `--audio` takes for the sound of the show.
const LIVE: &str = "live";

/// Put a project's films together
///
/// Every cycle's video, one after the other, becomes final_output.mp4: copied as it is where all
/// agree. Of that the deliverable is made, final_60fps_1080p.mp4, or the next free number where a
/// show was recorded under that name: interpolated, scaled and encoded as `finalizer` in the settings
/// says. It takes its time; interrupted, the same command goes on. The parts of a recording are
/// joined into one file beside them. What is there and current is not made again.
#[derive(Args)]
#[command(after_help = "\
Examples:
  vfaq assemble -n night                  all there is to make
  vfaq assemble -n night --dry-run        say what would be made, and make nothing
  vfaq assemble -n night --skip-failed    without the cycles that failed
  vfaq assemble -n night --audio set.wav  a sound for it, cut or looped to its length
  vfaq assemble -n friday --audio live    the sound that was recorded with the show
  vfaq assemble -n night --preview        the last 10 cycles, at once, even while a run goes on
  vfaq assemble -o qodeyard --recording final_60fps_1080p_002.mp4
                                          only join the parts of this recording
  vfaq assemble -n friday --rerender      the last set, drawn again from its clips")]
pub struct AssembleArgs {
    /// Project name; its folder is WORQSPACE/qonstructions/NAME
    #[arg(short, long)]
    pub(super) name: Option<String>,

    /// Leave out the cycles that failed, instead of refusing to go on without them
    #[arg(long)]
    skip_failed: bool,

    /// Sound of the deliverable: a file, cut or looped to length, or `live` for that of the show
    #[arg(long, value_name = "FILE")]
    audio: Option<PathBuf>,

    /// Make final_output.mp4 only
    #[arg(long)]
    no_deliverable: bool,

    /// Put the last cycles together for a look, in preview.mp4
    #[arg(long, conflicts_with_all = ["audio", "no_deliverable", "recording"])]
    preview: bool,

    /// How many cycles --preview takes
    #[arg(long, value_name = "N", default_value_t = 10, requires = "preview")]
    preview_count: usize,

    /// Only join the parts of this recording: the name of its first file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["audio", "no_deliverable"])]
    pub(super) recording: Option<PathBuf>,

    /// Say what would be done, and write nothing
    #[arg(long)]
    dry_run: bool,

    /// Print what happens as JSON, an object a line
    #[arg(long)]
    json: bool,

    /// Rebuild the set from the archive and the journal instead, at the best quality, into
    /// final_60fps_1080p_rerender.mp4
    #[arg(long, conflicts_with_all = [
        "dry_run", "json", "skip_failed", "audio", "no_deliverable", "preview",
    ])]
    pub(super) rerender: bool,
}

pub fn run(folders: &Folders, args: AssembleArgs, clock: SystemClock) -> Result<ExitCode> {
    let options = AssembleOptions {
        worqspace: folders.worqspace.clone(),
        output: folders.output.clone(),
        name: args.name,
        what: match args.recording {
            Some(file) => What::Recording(file),
            None if args.preview => What::Preview { cycles: args.preview_count },
            None if args.no_deliverable => What::Films { deliverable: Some(false) },
            None => What::Films { deliverable: None },
        },
        skip_failed: args.skip_failed,
        sound: args.audio.map(|path| match path.as_os_str() == LIVE {
            true => Sound::Live,
            false => Sound::File(path),
        }),
        dry_run: args.dry_run,
    };
    let stop = stop_at_signals()?;
    films(&options, &Arc::new(clock), &stop, args.json, false)
}

/// Makes films and shows how it goes; a wish to stop is heard at once.
pub fn films(
    options: &AssembleOptions,
    clock: &Arc<SystemClock>,
    stop: &watch::Sender<Stop>,
    json: bool,
    quiet: bool,
) -> Result<ExitCode> {
    if options.sound == Some(Sound::File(PathBuf::new())) {
        return Err(Error::usage("--audio: name a file, or say live"));
    }
    let mut shown = Shown {
        json,
        quiet,
        dry_run: options.dry_run,
        clock: clock.clone(),
        progress: Progress::new(json || quiet, LINE_EVERY),
        begun: None,
    };
    let stop = stop.subscribe();
    let ended = assemble::assemble(options, clock.clone(), stop, &mut |step| shown.step(&step));
    // An error begins on a line of its own.
    clear();
    Ok(match ended? {
        Ended::Done => ExitCode::SUCCESS,
        Ended::Stopped => ExitCode::from(INTERRUPTED),
    })
}

/// The work on the screen, or for a script.
struct Shown {
    json: bool,
    quiet: bool,
    dry_run: bool,
    clock: Arc<SystemClock>,
    progress: Progress,
    /// When the film in the making was begun, and how much of it was there.
    begun: Option<(Duration, u64)>,
}

impl Shown {
    fn step(&mut self, step: &Step<'_>) {
        if let Step::Progress { done, of, .. } = step {
            self.far(*done, *of, step);
            return;
        }
        if let Step::Stitches { .. } | Step::Joins { .. } | Step::Delivers { .. } = step {
            self.begun = None;
        }
        if self.json {
            say_json(step);
            return;
        }
        if let Some(line) = self.line(step).filter(|_| !self.quiet) {
            say(&line);
        }
    }

    fn line(&self, step: &Step<'_>) -> Option<String> {
        let verb = |does: &str, would: &str| if self.dry_run { would } else { does }.to_owned();
        Some(match step {
            Step::Progress { .. } => return None,
            Step::Nothing { folder } => {
                format!("{}: nothing to assemble, there are no cycles or parts", folder.display())
            }
            Step::IsThere { file, found: false } => format!("{file} is there already"),
            Step::IsThere { file, found: true } => {
                format!("{file} is there already, and is this project's film")
            }
            Step::Note { text } => format!("note: {text}"),
            Step::Joins { parts, file, frames, encode } => {
                let how = encode.map_or("copied".to_owned(), |(why, encoder)| {
                    format!("encoded again ({encoder}), as {why}; sound copied")
                });
                let verb = verb("joining", "would join");
                format!("{verb} {} into {file}: {frames} frames, {how}", parts.join(" + "))
            }
            Step::Completes { cycle } => {
                let verb = verb("its video is made", "its video would be made");
                format!("cycle {cycle} has no video: {verb} from its clip")
            }
            Step::Stitches { file, cycles, left_out, seconds, encode, .. } => {
                let verb = verb("making", "would make");
                let without = match left_out.len() {
                    0 => String::new(),
                    1 => format!(", without cycle {}", left_out[0]),
                    n => format!(", without {n} that failed"),
                };
                let how =
                    encode.map_or("copied".to_owned(), |why| format!("encoded again, as {why}"));
                let long = length(*seconds);
                format!("{verb} {file} of {cycles} cycles{without}: {long}, {how}")
            }
            Step::PutAside { file, now } => {
                let verb = verb("is", "would be");
                format!("the {file} of other cycles {verb} kept as {now}")
            }
            Step::Delivers { file, frames, done, encoder, sound } => {
                let verb = verb("making", "would make");
                let there = match done {
                    0 => String::new(),
                    done => format!(", {} % of it there already", done * 100 / frames.max(&1)),
                };
                let sound = sound.map_or(String::new(), |sound| format!(", with sound of {sound}"));
                format!("{verb} {file} with {encoder}: {frames} frames{there}{sound}")
            }
            Step::Made { file, frames, seconds } => {
                let long = length(*seconds);
                format!("{file}: {frames} frames, {long}")
            }
            Step::Stopped { file } => {
                format!("{file}: stopped; the same command goes on from here")
            }
        })
    }

    fn far(&mut self, done: u64, of: u64, step: &Step<'_>) {
        let now = self.clock.now();
        let (since, from) = *self.begun.get_or_insert((now, done));
        let took = (now - since).as_secs_f64();
        let share = done as f64 / of.max(1) as f64;
        let left = (done > from && took >= 1.0)
            .then(|| took * of.saturating_sub(done) as f64 / (done - from) as f64)
            .and_then(|left| Duration::try_from_secs_f64(left).ok());
        if self.json {
            if self.progress.is_due(now) {
                say_json(step);
            }
            return;
        }
        let left = left.map_or(String::new(), |left| format!("  {} left", hms(left)));
        self.progress.show(Some(share), &format!("{:.1} %{left}", share * 100.0), now);
    }
}

fn say_json(step: &Step<'_>) {
    match serde_json::to_string(step) {
        Ok(text) => say(&text),
        Err(e) => tracing::warn!("cannot tell a step: {e}"),
    }
}
