//! `vfaq live`.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use crossbeam_channel::{Sender, bounded};

use super::keyboard::{Key, MAX_KEYS};
use super::signals::{INTERRUPTED, Signal, watch_signals};
use super::terminal::{Display, Kind, restore, say};
use super::{Folders, log};
use crate::app::{self, Command, Listen, LiveOptions, Play, Surroundings};
use crate::base::clock::SystemClock;
use crate::base::error::{Error, Result};
use crate::base::time::parse_duration;
use crate::config::{self, AudioSource, BackendKind, MidiUse};
use crate::control;

/// Run a live show: cycles are generated ahead, played at 60 fps, encoded once, recorded and sent
#[derive(Args)]
#[command(after_help = "\
Examples:
  vfaq live                               until Ctrl-C; recorded to ./qodeyard
  vfaq live -n friday --for 1h30m         a named project, an hour and a half
  vfaq live --to file:copy.mp4 --to ndi:Stage
                                          further outputs; docs/outputs.md has every service
  vfaq live -n friday --dry-run           check all of it, outputs too, and start nothing
  vfaq live -n friday --play=bounce       a prepared set: no generator needed
  vfaq live --standby                     fill the ring and wait for go (key g, or POST /api/v1/go)
  vfaq live --preset neon                 start with a look
  vfaq live --sound jack:mixxx --preset kick
                                          with the sound of a program; docs/music.md
  vfaq live --osc 127.0.0.1:7000          OSC comes in there; docs/osc.md

Outputs (--to; more in docs/outputs.md):
  rtmp://HOST/APPLICATION/KEY, rtmps://...    a streaming service or server
  srt://HOST:PORT, srt://:PORT                calls there; waits for callers
  ndi:NAME                                    a source in the local network
  display:, display:2, display:HDMI-1         a full-screen window
  file:PATH.mp4, .mkv, .ts                    a file
  null:                                       encodes and counts
Options follow behind #, with & between, such as srt://venue:9000#latency=200&name=Venue
  all: name; all that are encoded: bitrate, preset; rtmp and srt: adaptive
  rtmp: profile, key, username, password; display: size, monitor
  srt: mode, latency, passphrase, key_length, stream_id
vfaq outputs adds, stops, retries and removes them while the show runs.

Keys: g go, b blackout, o retry outputs, q stop, ? help. Ctrl-C finishes files and ends; again: at once.")]
pub struct LiveArgs {
    /// Project name; its folder is WORQSPACE/qonstructions/NAME, and a show there is resumed
    #[arg(short, long)]
    name: Option<String>,

    /// Generator, for image and video
    #[arg(short, long, value_parser = backend)]
    backend: Option<BackendKind>,

    /// A further output; may be repeated; see below
    #[arg(long, value_name = "URI")]
    to: Vec<String>,

    /// Check settings, prompts and outputs, say what would run, and start nothing
    #[arg(long)]
    dry_run: bool,

    /// Do not record
    #[arg(long)]
    no_record: bool,

    /// End the show after this time: 90, 90s, 10m, 1h30m
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    length: Option<Duration>,

    /// Begin anew in a project that has cycles (they are kept), instead of going on
    #[arg(long, conflicts_with = "play")]
    fresh: bool,

    /// Air the project's cycles, without a generator; at the end from the start again, or back
    #[arg(long, value_name = "HOW", num_args = 0..=1, require_equals = true,
        default_missing_value = "loop")]
    play: Option<PlayArg>,

    /// Fill the ring and wait for go, with a standby picture on the outputs
    #[arg(long)]
    standby: bool,

    /// Start with this look, from WORQSPACE/presets or a shipped one
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,

    /// Where the sound comes from: silence, tone, file:PATH, jack:NAME, pulse, alsa, an address; vfaq sound
    /// list shows what there is [default: live.audio.source]
    #[arg(long, value_name = "SOURCE", value_parser = sound)]
    sound: Option<AudioSource>,

    /// Address of page and API, port 0 for any free one; off: none; one that other machines can reach
    /// (0.0.0.0:8787) needs live.token [default: live.listen]
    #[arg(long, value_name = "ADDR", value_parser = listen)]
    listen: Option<Listen>,

    /// Address of OSC, port 0 for any free one; off: none [default: live.osc.listen]
    #[arg(long, value_name = "ADDR", value_parser = listen)]
    osc: Option<Listen>,
    /// MIDI controllers: auto, on, off [default: live.midi.enabled]
    #[arg(long, value_name = "HOW", value_parser = midi)]
    midi: Option<MidiUse>,

    /// Write numbers of the show to this file at its end, as JSON (docs/summary.schema.json)
    #[arg(long, value_name = "FILE")]
    summary: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum PlayArg {
    Loop,
    Bounce,
}

pub fn duration(text: &str) -> Result<Duration> {
    parse_duration(text)
}

pub fn backend(text: &str) -> std::result::Result<BackendKind, String> {
    let kind = config::kind::backend();
    kind.read(text).ok_or_else(|| format!("there is no such generator; allowed: {}", kind.allowed))
}

fn listen(text: &str) -> std::result::Result<Listen, String> {
    if text == "off" {
        return Ok(Listen::Off);
    }
    text.parse::<SocketAddr>()
        .map(Listen::On)
        .map_err(|_| "write an address and a port, such as 127.0.0.1:8787, or off".into())
}

/// A file's path is from where the program is started.
fn sound(text: &str) -> std::result::Result<AudioSource, String> {
    let source = AudioSource::parse(text, Path::new(""));
    source.ok_or_else(|| format!("allowed: {}", config::sound::ALLOWED))
}

fn midi(text: &str) -> std::result::Result<MidiUse, String> {
    let kind = config::kind::midi();
    kind.read(text).ok_or_else(|| format!("allowed: {}", kind.allowed))
}

pub fn run(folders: &Folders, args: LiveArgs, clock: SystemClock) -> Result<()> {
    if let Some(name) = &args.name {
        config::project_name(name)?;
    }
    let options = LiveOptions {
        worqspace: folders.worqspace.clone(),
        name: args.name,
        output: folders.output.clone(),
        backend: args.backend,
        to: args.to,
        no_record: args.no_record,
        length: args.length,
        fresh: args.fresh,
        play: args.play.map(|how| match how {
            PlayArg::Loop => Play::Loop,
            PlayArg::Bounce => Play::Bounce,
        }),
        standby: args.standby,
        preset: args.preset,
        listen: args.listen,
        osc: args.osc,
        midi: args.midi,
        sound: args.sound,
        summary: args.summary,
    };
    if args.dry_run {
        for line in app::rehearse(&options, Arc::new(clock))? {
            println!("{line}");
        }
        return Ok(());
    }
    let (commands, received) = bounded(16);
    let mut interrupts = Interrupts { commands: commands.clone(), seen: 0 };
    let (signal_tx, signals) = bounded(4);
    watch_signals(signal_tx)?;

    // The display starts with the first status: what is wrong before belongs on a plain terminal.
    let mut display: Option<Display> = None;
    let (key_tx, keys) = bounded::<Key>(MAX_KEYS);
    std::thread::Builder::new()
        .name("keys".into())
        .spawn(move || {
            loop {
                crossbeam_channel::select! {
                    recv(signals) -> signal => match signal {
                        Ok(Signal::Interrupt) => interrupts.stop(),
                        Ok(Signal::Hangup) => interrupts.send(Command::Stop),
                        Err(_) => return,
                    },
                    recv(keys) -> key => match key {
                        Ok(Key::Interrupt) => interrupts.stop(),
                        Ok(Key::Drain) => interrupts.send(Command::Stop),
                        Ok(Key::Go) => interrupts.send(Command::Go),
                        Ok(Key::RetryOutputs) => interrupts.send(Command::RetryOutputs),
                        Ok(Key::Blackout) => interrupts.send(Command::ToggleBlackout),
                        Err(_) => return,
                    },
                }
            }
        })
        .map_err(|e| Error::internal("cannot listen to keys").with_source(e))?;

    let result = app::live(
        options,
        Surroundings {
            clock: Arc::new(clock),
            commands: received,
            on_status: &mut |status| {
                if display.is_none() {
                    display = Display::start(Kind::detect(), key_tx.clone()).ok();
                }
                if let Some(display) = &display {
                    display.update(status);
                }
            },
            on_listening: &mut |address, token_from| {
                say(&format!("listening on http://{address}"));
                if let Some(setting) = token_from.filter(|_| !address.ip().is_loopback()) {
                    let reachable = control::reachable(address);
                    say(&format!(
                        "from other machines: open http://{reachable}/?token=TOKEN once, with the \
                         token that {setting} holds"
                    ));
                }
            },
            on_osc: &mut |listen, query| {
                let query = query.map(|at| format!(", OSCQuery on http://{at}"));
                say(&format!("osc on {listen}{}", query.unwrap_or_default()));
            },
            on_project: &mut |folder| log::into_project(folder),
        },
    );
    drop(display);
    drop(commands);
    result
}

/// Counts interrupts: the first ends the show cleanly, the second ends the process.
struct Interrupts {
    commands: Sender<Command>,
    seen: u32,
}

impl Interrupts {
    fn stop(&mut self) {
        self.seen += 1;
        if self.seen > 1 {
            restore();
            // The terminal may be gone.
            let _ = writeln!(std::io::stderr(), "vfaq: ended at once; what was recorded plays");
            std::process::exit(INTERRUPTED.into());
        }
        self.send(Command::Stop);
    }

    fn send(&self, command: Command) {
        // A full queue holds the same wishes already.
        let _ = self.commands.try_send(command);
    }
}
