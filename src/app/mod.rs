//! The composition root: what a show is wired of, in which order it starts, and how it ends.
//!
//! Start: everything that can be wrong is found first (settings, names, folders, ports, encoders),
//! then the archive, the picture, and last the generator; so the first picture is on air within
//! a moment, whatever the generator needs.
//!
//! End: the picture stops, the encoders drain, outputs finish their files, the state is saved, the
//! summary is written; each with a time limit.

pub mod assemble;
mod awake;
pub mod backends;
pub mod batch;
pub mod contact_sheet;
mod desk;
pub mod doctor;
mod ears;
mod generator;
pub mod interpolate;
mod library;
pub mod listen;
mod machine;
mod music;
mod overlays;
mod parts;
mod prepare_show;
mod presets;
pub mod project_folder;
mod recall;
mod recorder;
mod rehearsal;
mod report;
pub mod rerender;
mod room;
mod running;
pub mod save_as;
mod sound;
pub mod speeds;
pub mod status;
mod steered;
pub mod sync_test;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;

use crate::base::clock::Clock;
use crate::base::error::{Error, Result};
use crate::base::telemetry::Status;
use crate::config::{AudioSource, BackendKind, MidiUse};

/// What a live show is asked for on the command line.
#[derive(Clone, Debug)]
pub struct LiveOptions {
    pub worqspace: PathBuf,
    /// Project name; `None`: the folder `output`.
    pub name: Option<String>,
    /// The folder of an unnamed show; `None`: as in the settings.
    pub output: Option<PathBuf>,
    pub backend: Option<BackendKind>,
    /// Outputs beside those in the settings.
    pub to: Vec<String>,
    pub no_record: bool,
    /// The show ends after this time, counted from *go*.
    pub length: Option<Duration>,
    pub fresh: bool,
    pub play: Option<Play>,
    pub standby: bool,
    pub preset: Option<String>,
    pub listen: Option<Listen>,
    pub osc: Option<Listen>,
    /// Instead of `live.midi.enabled`.
    pub midi: Option<MidiUse>,
    /// Instead of `live.audio.source`.
    pub sound: Option<AudioSource>,
    pub summary: Option<PathBuf>,
}

/// How a prepared set goes on at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Play {
    /// From the start again.
    Loop,
    /// Back to the start, and forth again.
    Bounce,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    Off,
    On(SocketAddr),
}

/// What the performer wants from a running show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    Go,
    ToggleBlackout,
    /// Connect every output that waits, now.
    RetryOutputs,
    /// Drain and end.
    Stop,
}

/// How a show talks to whoever started it.
pub struct Surroundings<'a> {
    pub clock: Arc<dyn Clock>,
    pub commands: Receiver<Command>,
    /// Called a few times a second, on the calling thread.
    pub on_status: &'a mut dyn FnMut(&Status),
    /// Called once with a line that the user needs: where the page is.
    pub on_listening: &'a mut dyn FnMut(SocketAddr, Option<&'static str>),
    /// Called once where there is OSC: where it comes in, and where OSCQuery is asked.
    pub on_osc: &'a mut dyn FnMut(SocketAddr, Option<SocketAddr>),
    /// Called once the project's folder is known to be good: where its log goes.
    pub on_project: &'a mut dyn FnMut(&std::path::Path),
}

/// Runs a live show to its end.
///
/// # Errors
/// Before the show: whatever is wrong with what was asked for. After it: that the picture
/// stopped by a fault; all that was made is kept all the same.
pub fn live(options: LiveOptions, surroundings: Surroundings<'_>) -> Result<()> {
    crate::stream::init()?;
    let show = prepare_show::prepare(options, surroundings.clock.clone())?;
    running::run(show, surroundings)
}

/// Checks what a show needs as if it were to start, and starts nothing; returns in lines what would
/// run, without secrets.
///
/// # Errors
/// As those of [`live`] before the show.
pub fn rehearse(options: &LiveOptions, clock: Arc<dyn Clock>) -> Result<Vec<String>> {
    crate::stream::init()?;
    rehearsal::rehearse(options, clock)
}

/// A runtime for what waits for networks and generators: its threads yield to the picture.
fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("background")
        .on_thread_start(crate::stream::background_thread)
        .enable_all()
        .build()
        .map_err(|e| Error::internal("cannot start the background threads").with_source(e))
}
