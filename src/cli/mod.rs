//! The command line: one file per subcommand, each of which parses, calls and prints.
//!
//! Holds: everything on standard output is for the user; log lines go to standard error and into
//! the project. Exit codes are those of `base::error::Kind`; 130 after an interrupt that ended
//! it early.

#[cfg(feature = "gst")]
mod assemble;
#[cfg(feature = "gst")]
mod backends;
#[cfg(feature = "gst")]
mod clean;
mod completions;
mod config;
#[cfg(feature = "gst")]
mod doctor;
#[cfg(feature = "gst")]
mod interpolate;
pub mod keyboard;
mod line;
#[cfg(feature = "gst")]
mod live;
#[cfg(feature = "gst")]
mod log;
mod man;
#[cfg(feature = "gst")]
mod midi;
mod osc;
mod outputs;
mod presets;
mod progress;
#[cfg(feature = "gst")]
mod rerender;
#[cfg(feature = "gst")]
mod run;
#[cfg(feature = "gst")]
mod signals;
#[cfg(feature = "gst")]
mod single;
#[cfg(feature = "gst")]
mod sound;
pub mod stage;
#[cfg(feature = "gst")]
mod status;
mod tempo;
pub mod terminal;
#[cfg(feature = "gst")]
mod window;
mod workflow;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::base::error::{Kind, Result};

/// AI visuals that never stop: generated ahead, played at 60 fps, recorded and steered live.
#[derive(Parser)]
#[command(
    name = "vfaq",
    version,
    propagate_version = true,
    after_help = "\
Examples:
  vfaq live                          a live show of ./worqspace on the built-in generator
  vfaq live -n friday --for 1h30m    record a set as the project 'friday'
  vfaq live -n friday --play         play that set again, without a generator
  vfaq backends                      which generators can be used, and how quick they are
  vfaq outputs                       where a running show goes; add, stop, retry and remove
  vfaq presets                       looks, styles and scenes to recall
  vfaq osc send /vfaq/fx/zoom 1.5    steer a running show; list, monitor, layout
  vfaq tempo                         where the beat is, and who gives it
  vfaq run -n night --hours 2        cycles, unattended, and the finished film
  vfaq assemble -n night             put a project's films together
  vfaq status -n friday              where a project stands, and what to do next
  vfaq interpolate in.mp4 out.mp4    any video at 60 frames a second, moved along its motion
  vfaq config check                  check config.yaml and the prompt files, and start nothing
  vfaq workflow check clip.json      where prompt, seed and pictures go in a ComfyUI workflow
  vfaq midi list                     which controllers are there; monitor, learn, map check
  vfaq sound list                    where the sound may come from; meter
  vfaq sync-test                     how far sound and picture are apart
  vfaq doctor                        can this machine do a show?"
)]
struct Cli {
    #[command(flatten)]
    folders: Folders,
    #[command(subcommand)]
    command: Command,
}

/// Accepted before and after the subcommand.
#[derive(Args, Clone, Debug)]
pub struct Folders {
    /// The folder with tasq.md and config.yaml
    #[arg(short, long, global = true, value_name = "DIR", default_value = "worqspace")]
    pub worqspace: PathBuf,

    /// The folder of a project without a name [default: paths.output_dir, ./qodeyard]
    #[arg(short, long, global = true, value_name = "DIR")]
    pub output: Option<PathBuf>,

    /// More log lines; twice for all of them (RUST_LOG says it in detail)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

#[derive(Subcommand)]
enum Command {
    /// Run a live show
    #[cfg(feature = "gst")]
    Live(live::LiveArgs),
    #[cfg(feature = "gst")]
    Run(run::RunArgs),
    #[cfg(feature = "gst")]
    Single(single::SingleArgs),
    /// Ask the generators that are set what they can do, and whether they can be used
    #[cfg(feature = "gst")]
    Backends(backends::BackendsArgs),
    /// List and change the outputs of a running show
    Outputs(outputs::OutputsArgs),
    Osc(osc::OscArgs),
    Tempo(tempo::TempoArgs),
    #[cfg(feature = "gst")]
    Assemble(assemble::AssembleArgs),
    /// Say where a project stands, and what to do next
    #[cfg(feature = "gst")]
    Status(status::StatusArgs),
    /// Begin a project anew, or remove it
    #[cfg(feature = "gst")]
    Clean(clean::CleanArgs),
    /// Give a video another frame rate, and another size
    #[cfg(feature = "gst")]
    Interpolate(interpolate::InterpolateArgs),
    Presets(presets::PresetsArgs),
    /// Look after the settings
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// See MIDI controllers, learn their controls, check maps
    #[cfg(feature = "gst")]
    #[command(subcommand)]
    Midi(midi::MidiCommand),
    /// See where sound may come from, and how loud it is
    #[cfg(feature = "gst")]
    #[command(subcommand)]
    Sound(sound::SoundCommand),
    /// Play flash and beep through the whole chain, and measure how far apart they are
    #[cfg(feature = "gst")]
    SyncTest(sound::SyncTestArgs),
    /// Look into workflows for ComfyUI
    #[command(subcommand)]
    Workflow(workflow::WorkflowCommand),
    /// Say whether this machine can do a show, and what to install
    #[cfg(feature = "gst")]
    Doctor(doctor::DoctorArgs),
    /// Print completions for a shell: source <(vfaq completions bash)
    Completions(completions::CompletionsArgs),
    /// Write the manual pages
    Man(man::ManArgs),
    /// The process behind a full-screen window
    #[cfg(feature = "gst")]
    #[command(hide = true)]
    Window(window::WindowArgs),
}

/// Runs `vfaq`.
pub fn main() -> ExitCode {
    let clock = crate::base::clock::SystemClock::new();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            // Help and version are no errors; everything else is a fault of usage.
            let code = if error.use_stderr() { Kind::Usage.exit_code() } else { 0 };
            return ExitCode::from(code);
        }
    };
    #[cfg(feature = "gst")]
    log::start(cli.folders.verbose);
    match dispatch(cli, clock) {
        Ok(code) => code,
        Err(error) => {
            progress::tell(&error.to_string());
            ExitCode::from(error.kind.exit_code())
        }
    }
}

fn dispatch(cli: Cli, clock: crate::base::clock::SystemClock) -> Result<ExitCode> {
    #[cfg(not(feature = "gst"))]
    let _ = clock;
    match cli.command {
        #[cfg(feature = "gst")]
        Command::Live(args) => live::run(&cli.folders, args, clock)?,
        #[cfg(feature = "gst")]
        Command::Run(args) => return run::run(&cli.folders, args, clock),
        #[cfg(feature = "gst")]
        Command::Single(args) => return single::run(&cli.folders, args, clock),
        #[cfg(feature = "gst")]
        Command::Backends(args) => backends::run(&cli.folders, &args, clock)?,
        Command::Outputs(args) => outputs::run(&args)?,
        Command::Osc(args) => osc::run(&args)?,
        Command::Tempo(args) => tempo::run(&args)?,
        #[cfg(feature = "gst")]
        Command::Assemble(args) if args.rerender => {
            return rerender::run(&cli.folders, args, clock);
        }
        #[cfg(feature = "gst")]
        Command::Assemble(args) => return assemble::run(&cli.folders, args, clock),
        #[cfg(feature = "gst")]
        Command::Status(args) => status::run(&cli.folders, args)?,
        #[cfg(feature = "gst")]
        Command::Clean(args) => clean::run(&cli.folders, &args, &clock)?,
        #[cfg(feature = "gst")]
        Command::Interpolate(args) => return interpolate::run(args, clock),
        Command::Presets(args) => presets::run(&cli.folders, &args)?,
        Command::Config(command) => config::run(&cli.folders, &command)?,
        #[cfg(feature = "gst")]
        Command::Midi(command) => midi::run(&cli.folders, &command, clock)?,
        #[cfg(feature = "gst")]
        Command::Sound(command) => sound::run(&cli.folders, &command, clock)?,
        #[cfg(feature = "gst")]
        Command::SyncTest(args) => return sound::sync_test(&args, clock),
        Command::Workflow(command) => workflow::run(&cli.folders, &command)?,
        #[cfg(feature = "gst")]
        Command::Doctor(args) => return doctor::run(&cli.folders, &args, &clock),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args)?,
        #[cfg(feature = "gst")]
        Command::Window(args) => return Ok(window::run(&args)),
    }
    Ok(ExitCode::SUCCESS)
}
