//! `vfaq single`: one cycle, to see whether everything works.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::run::{options, rehearse, work_on};
use super::signals::{INTERRUPTED, stop_at_signals};
use super::{Folders, live};
use crate::app::batch::{Why, Work};
use crate::base::clock::SystemClock;
use crate::base::error::{Error, Kind, Result};
use crate::config::BackendKind;
use crate::media::CycleId;

/// Make one cycle
#[derive(Args)]
#[command(after_help = "\
Examples:
  vfaq single -b mock            does everything but the generator work?
  vfaq single                    one cycle with the generators of the settings
  vfaq single -n night           the next cycle of a project
  vfaq single -n night --cycle 7 cycle 7, if the project has none")]
pub struct SingleArgs {
    /// Project name; without one the cycle goes to ./qodeyard
    #[arg(short, long)]
    name: Option<String>,

    /// Number of the cycle; it grows out of the nearest one before it [default: the next one]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number)]
    cycle: Option<u32>,

    /// Generator, for image and video: mock, comfyui, diffusers, replicate
    #[arg(short, long, value_parser = live::backend)]
    backend: Option<BackendKind>,

    /// Check everything, say what would be made, and make nothing
    #[arg(long)]
    dry_run: bool,

    /// Print what happens as JSON, an object a line
    #[arg(long)]
    json: bool,
}

const MOST: u32 = 10_000_000;

fn number(text: &str) -> std::result::Result<u32, String> {
    text.parse()
        .ok()
        .filter(|n| *n <= MOST)
        .ok_or_else(|| format!("give a cycle's number, from 0 to {MOST}"))
}

pub fn run(folders: &Folders, args: SingleArgs, clock: SystemClock) -> Result<ExitCode> {
    let work = Work::Single { cycle: args.cycle.map(CycleId) };
    let options = options(folders, args.name, args.backend, work)?;
    let clock = Arc::new(clock);
    if args.dry_run {
        return rehearse(&options, clock);
    }
    let stop = stop_at_signals()?;
    let (outcome, shown) = work_on(&options, &clock, &stop, args.json, false)?;
    match outcome.why {
        Why::Enough => Ok(ExitCode::SUCCESS),
        Why::Stopped => {
            shown.note("stopped; nothing that was there before has changed");
            Ok(ExitCode::from(INTERRUPTED))
        }
        Why::NoRoom { free_mb, .. } => {
            Err(Error::new(Kind::Io, format!("the disk is full: {free_mb} MB are free")))
        }
    }
}
