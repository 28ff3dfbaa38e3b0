//! `vfaq midi`: which controllers are there, what they send, which control is which, and whether a
//! map is right. None of it needs a show.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use crossbeam_channel::{bounded, never};

use super::Folders;
use super::progress::{say, tell};
use super::signals::watch_signals;
use crate::base::clock::{Clock, SystemClock};
use crate::base::error::{Error, Result};
use crate::param;
use crate::steer::midi::event::Control;
use crate::steer::midi::learn::{Learning, PATIENCE};
use crate::steer::midi::listen::{Listener, Message, WAITING};
use crate::steer::midi::{map, system};

/// How often devices are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(500);

#[derive(Subcommand)]
pub enum MidiCommand {
    /// Say which controllers are there, and which map each is used with
    List,
    /// Print what controllers send, one line for each message, until Ctrl-C
    Monitor(MonitorArgs),
    /// Move a control, and see (or save) its line for a map
    Learn(LearnArgs),
    /// Look into maps of controllers
    #[command(subcommand)]
    Map(MapCommand),
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  vfaq midi monitor                  all controllers
  vfaq midi monitor -p nano          those with nano in their name")]
pub struct MonitorArgs {
    /// Only ports with this in their name; may be repeated
    #[arg(short, long, value_name = "NAME")]
    port: Vec<String>,

    /// End after so many messages
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  vfaq midi learn fx/zoom            move a fader; its line for a map is printed
  vfaq midi learn fx/flash --save pads
                                     adds it to WORQSPACE/presets/controllers/pads.yaml
While a show runs, learn with its API or its page: docs/midi.md.")]
pub struct LearnArgs {
    /// Address of the parameter, such as fx/zoom; docs/parameters.md has all
    param: String,

    /// Write it into this map of the worqspace, beside what is in it
    #[arg(long, value_name = "NAME")]
    save: Option<String>,

    /// Only ports with this in their name; may be repeated
    #[arg(short, long, value_name = "NAME")]
    port: Vec<String>,
}

#[derive(Subcommand)]
pub enum MapCommand {
    /// Check a map: all that is wrong with it at once, each with its line
    #[command(after_help = "\
Examples:
  vfaq midi map check worqspace/presets/controllers/pads.yaml
  vfaq midi map check presets/controllers/*.yaml")]
    Check {
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

pub fn run(folders: &Folders, command: &MidiCommand, clock: SystemClock) -> Result<()> {
    match command {
        MidiCommand::List => list(folders),
        MidiCommand::Monitor(args) => monitor(args, &clock),
        MidiCommand::Learn(args) => learn(folders, args, &clock),
        MidiCommand::Map(MapCommand::Check { files }) => check(files),
    }
}

fn list(folders: &Folders) -> Result<()> {
    let systems = system::systems();
    let known: Vec<&str> = systems.iter().map(|system| system.name()).collect();
    let (heard, _) = bounded(1);
    let (found, there) = Listener::new(systems, Vec::new(), heard).there();
    for name in &known {
        let is = if there.contains(name) { "is there" } else { "is not there" };
        println!("{name} {is}");
    }
    let (maps, odd) = map::all(&map::folder(&folders.worqspace));
    for device in &found {
        let ways = match (&device.input, &device.output) {
            (Some(_), Some(_)) => "in, out",
            (Some(_), None) => "in",
            _ => "out",
        };
        let names = device.names();
        let used: Vec<&str> =
            map::chosen(&maps, &[], &names).iter().map(|map| map.name.as_str()).collect();
        println!("  {:<32}  {ways:<7}  {}", device.name, used.join(", "));
    }
    if found.is_empty() {
        println!("no controllers");
    }
    for odd in odd {
        tell(&format!("warning: {odd}"));
    }
    Ok(())
}

/// Hands over message after message until `done`, an interrupt, or for `patience` at most.
fn hear(
    ports: &[String],
    patience: Option<Duration>,
    mut done: impl FnMut(Message) -> bool,
) -> Result<()> {
    let (heard_tx, heard) = bounded(WAITING);
    let mut listener = Listener::new(system::systems(), ports.to_vec(), heard_tx);
    let (signal_tx, signals) = bounded(4);
    watch_signals(signal_tx)?;
    let looks = crossbeam_channel::tick(LOOK_EVERY);
    let over = patience.map_or_else(never, crossbeam_channel::after);
    let look = |listener: &mut Listener| {
        for line in listener.look() {
            tell(&line);
        }
    };
    if listener.there().1.is_empty() {
        tell("there is no MIDI system on this machine at present; waiting for one");
    }
    look(&mut listener);
    loop {
        crossbeam_channel::select! {
            recv(heard) -> message => match message {
                Ok(message) => if done(message) {
                    return Ok(());
                },
                Err(_) => return Ok(()),
            },
            recv(looks) -> _ => look(&mut listener),
            recv(over) -> _ => return Ok(()),
            recv(signals) -> _ => return Ok(()),
        }
    }
}

fn monitor(args: &MonitorArgs, clock: &dyn Clock) -> Result<()> {
    let mut count = 0;
    let mut coarse = None;
    hear(&args.port, None, |message| {
        let line = line(&message, &mut coarse);
        let at = clock.now().as_secs_f64();
        count += 1;
        // Whoever reads may have closed the pipe.
        let written = writeln!(std::io::stdout(), "{at:10.3}  {:<24}  {line}", message.device);
        written.is_err() || args.count.is_some_and(|most| count >= most)
    })?;
    Ok(())
}

/// What a message is, and what it is the last part of. `coarse` is the coarse half that came before.
fn line(message: &Message, coarse: &mut Option<Control>) -> String {
    let Some(first) = message.events.first() else { return String::new() };
    let mut line = first.to_string();
    for event in message.events.iter().skip(1) {
        match event.control {
            Control::Nrpn(..) | Control::Rpn(..) => line.push_str(&format!("  ({event})")),
            Control::Cc14(c, n) if *coarse == Some(Control::Cc(c, n)) => {
                line.push_str(&format!("  ({event})"));
            }
            _ => {}
        }
    }
    *coarse = Some(first.control);
    line
}

fn learn(folders: &Folders, args: &LearnArgs, clock: &dyn Clock) -> Result<()> {
    let param = param::find(&format!("/{}", args.param.trim_start_matches('/')))?;
    if let param::Kind::Text { .. } = param.kind {
        return Err(Error::usage(format!(
            "{} is a text, and no control says which; write a line like this into a map: \
             {{control: note 1.36, to: {}, value: TEXT}}",
            param.address,
            &param.address[1..]
        )));
    }
    let mut learning = Learning::new(param, clock.now());
    let mut names: Vec<String> = Vec::new();
    let mut learned = None;
    tell(&format!("move the control for {} ({}) now", param.label, param.address));
    hear(&args.port, Some(PATIENCE), |message| {
        let place = names.iter().position(|name| **name == *message.device).unwrap_or_else(|| {
            names.push(message.device.to_string());
            names.len() - 1
        });
        let binding = message.events.iter().find_map(|event| learning.hear(place, event));
        learned = binding.map(|binding| (message.device.to_string(), binding));
        learned.is_some()
    })?;
    let Some((device, binding)) = learned else {
        return Err(Error::unavailable(
            "no control was moved clearly; vfaq midi monitor shows what comes in",
        ));
    };
    let Some(name) = &args.save else {
        print!("{}", map::yaml(&device, std::slice::from_ref(&device), &[binding.into()]));
        return Ok(());
    };
    let folder = map::folder(&folders.worqspace);
    let file = folder.join(format!("{name}.yaml"));
    let (mut matches, mut bindings) = (vec![device.clone()], Vec::new());
    if file.exists() {
        let (known, _) = map::load_file(&file)?;
        (matches, bindings) = (known.matches, known.bindings);
        if !matches.is_empty() && !matches.contains(&device) {
            matches.push(device);
        }
    }
    bindings.retain(|known| !map::fight(known.control, binding.control));
    bindings.push(binding.into());
    let file = map::save(&folder, name, &matches, &bindings)?;
    say(&format!("{} has {} bindings now", file.display(), bindings.len()));
    Ok(())
}

fn check(files: &[PathBuf]) -> Result<()> {
    let mut wrong: Option<Error> = None;
    for file in files {
        match map::load_file(file) {
            Ok((map, warnings)) => {
                for warning in warnings {
                    println!("warning: {warning}");
                }
                let count = map.bindings.len();
                println!("{}: all right ({}, {count} bindings)", file.display(), map.title);
            }
            // The last one decides the exit code.
            Err(error) => {
                if let Some(before) = wrong.replace(error) {
                    tell(&before.to_string());
                }
            }
        }
    }
    wrong.map_or(Ok(()), Err)
}
