//! `vfaq assemble --rerender`: how far it is on standard error, what became of it on standard
//! output.

use std::process::ExitCode;
use std::time::Duration;

use super::Folders;
use super::assemble::AssembleArgs;
use super::progress::{Progress, say, tell};
use super::signals::{INTERRUPTED, stop_flag};
use crate::app::project_folder;
use crate::app::rerender::{self, Ended, FINAL, Quality, RerenderOptions};
use crate::base::clock::{Clock, SystemClock};
use crate::base::error::Result;

/// Without a terminal: how often there is a line.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// Stretches that are told one by one.
const STRETCHES: usize = 20;

pub fn run(folders: &Folders, args: AssembleArgs, clock: SystemClock) -> Result<ExitCode> {
    let (name, output) = (args.name.as_deref(), folders.output.as_deref());
    let folder = project_folder::folder(&folders.worqspace, name, output)?;
    let config = project_folder::settings(&folders.worqspace, name, output)?;
    let options = RerenderOptions {
        folder,
        briqs_dir: config.paths.briqs_dir.clone(),
        recording: args.recording,
        quality: Quality { crf: config.finalizer.crf, ..FINAL },
        least_free_mb: config.live.min_free_mb,
    };
    let stop = stop_flag()?;
    let mut progress = Progress::new(false, TELL_EVERY);
    let ended = rerender::rerender(&options, &clock, &stop, &mut |done, of| {
        let share = done as f64 / of.max(1) as f64;
        progress.show(Some(share), &format!("{done} of {of} frames"), clock.now());
    });
    // Whatever is said now begins on a line of its own.
    drop(progress);
    let Ended::Done(outcome) = ended? else {
        tell("stopped; nothing was written");
        return Ok(ExitCode::from(INTERRUPTED));
    };
    say(&format!("{}: {} frames", outcome.file, outcome.frames));
    let recorded: u64 = outcome.as_recorded.iter().map(|stretch| stretch.frames).sum();
    if recorded > 0 {
        say(&format!("{recorded} of them could not be rebuilt and are the recording's own:"));
        for stretch in outcome.as_recorded.iter().take(STRETCHES) {
            let last = stretch.first + stretch.frames - 1;
            say(&format!("  frames {} to {last}: {}", stretch.first, stretch.why));
        }
        if let more @ 1.. = outcome.as_recorded.len().saturating_sub(STRETCHES) {
            say(&format!("  and {more} more stretches"));
        }
    }
    Ok(ExitCode::SUCCESS)
}
