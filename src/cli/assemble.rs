//! `vfaq assemble`: says what is joined on standard output, and how far it is on standard error.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use clap::Args;

use super::Folders;
use crate::app::assemble::{self, AssembleOptions, Step};
use crate::base::error::Result;

/// Without a terminal progress is a line for each of these percents.
const PERCENT_A_LINE: u64 = 10;

/// Join the parts of a recording into one file
///
/// A recording goes on in a further part (final_60fps_1080p.part002.mp4) when another encoder took
/// over or the picture stood still. Its parts become final_60fps_1080p_joined.mp4 beside them;
/// they themselves stay as they are. What one encoder made is copied; other pictures are encoded
/// again with x264, which takes its time.
#[derive(Args)]
#[command(after_help = "\
Examples:
  vfaq assemble -n friday                 every recording of 'friday' that has parts
  vfaq assemble -n friday --dry-run       say what would be joined, and how
  vfaq assemble -o qodeyard --recording final_60fps_1080p_002.mp4
                                          one recording of a folder
  vfaq assemble -n friday --rerender      the last set, drawn again from its clips")]
pub struct AssembleArgs {
    /// Project name; its folder is WORQSPACE/qonstructions/NAME
    #[arg(short, long)]
    pub(super) name: Option<String>,

    /// Only this recording: the name of its first file
    #[arg(long, value_name = "FILE")]
    pub(super) recording: Option<PathBuf>,

    /// Say what would be done, and write nothing
    #[arg(long)]
    dry_run: bool,

    /// Rebuild the set from the archive and the journal instead, at the best quality, into
    /// final_60fps_1080p_rerender.mp4
    #[arg(long, conflicts_with = "dry_run")]
    pub(super) rerender: bool,
}

pub fn run(folders: &Folders, args: AssembleArgs) -> Result<()> {
    let options = AssembleOptions {
        worqspace: folders.worqspace.clone(),
        output: folders.output.clone(),
        name: args.name,
        recording: args.recording,
        dry_run: args.dry_run,
    };
    let mut progress = Progress { terminal: std::io::stderr().is_terminal(), shown: None };
    let result = assemble::assemble(&options, &mut |step| match step {
        Step::NothingToJoin { folder } => {
            println!("{}: nothing to join, no recording has further parts", folder.display());
        }
        Step::IsThere { joined } => println!("{joined} is there already"),
        Step::Joins { parts, joined, frames, encode } => {
            let verb = if options.dry_run { "would join" } else { "joining" };
            let how = encode.map_or("copied".to_owned(), |(why, encoder)| {
                format!("encoded again ({encoder}), as {why}; sound copied")
            });
            println!("{verb} {} into {joined}: {frames} frames, {how}", parts.join(" + "));
        }
        Step::Progress { done, of } => progress.show(done, of),
        Step::Joined { joined, frames } => {
            progress.end();
            println!("{joined}: {frames} frames");
        }
    });
    // An error begins on a line of its own.
    progress.end();
    result
}

struct Progress {
    terminal: bool,
    shown: Option<u64>,
}

impl Progress {
    fn show(&mut self, done: u64, of: u64) {
        let percent = done * 100 / of.max(1);
        let step = if self.terminal { 1 } else { PERCENT_A_LINE };
        let percent = percent - percent % step;
        if self.shown.is_some_and(|shown| shown >= percent) {
            return;
        }
        self.shown = Some(percent);
        let mut err = std::io::stderr();
        // Whether anybody sees it changes nothing.
        let _ = match self.terminal {
            true => write!(err, "\r{percent:3} %").and_then(|()| err.flush()),
            false => writeln!(err, "{percent} %"),
        };
    }

    /// Takes the line away.
    fn end(&mut self) {
        if self.shown.take().is_some() && self.terminal {
            eprint!("\r     \r");
        }
    }
}
