//! Steering by MIDI: devices as they come and go, what their controls do, and what their lamps show.
//!
//! Bytes come in on threads of the MIDI systems; there they become events ([`parse`], [`event`]) in
//! one bounded queue. The thread `midi` takes them to the bindings (`deck`), which change the
//! board, and shows the devices what has changed (`feedback`). The thread `midi ports` looks for
//! devices twice a second.
//!
//! Holds: no MIDI system, no device and no bytes stop a show. Whoever is told something here is told
//! at once; opening and closing ports, which may take a while, happens on a thread of its own.

pub mod binding;
mod deck;
pub mod device;
pub mod event;
mod feedback;
pub mod learn;
pub mod listen;
pub mod map;
pub mod parse;
mod ports;
pub mod system;
pub mod takeover;
mod tempo;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use serde::Serialize;

use self::deck::Core;
use self::event::Events;
use self::system::System;
use crate::base::clock::Clock;
use crate::base::error::{Error, Result};
use crate::base::telemetry::MidiStatus;
use crate::config::{Midi as Settings, MidiUse};
use crate::music::NoteSender;
use crate::param::{self, Board};

/// Messages that may wait. When it is full further ones are lost, and counted: by then the thread
/// that takes them has stood still for seconds.
const EVENTS: usize = 8192;
/// How often devices are shown what has changed.
const SHOW_EVERY: Duration = Duration::from_nanos(16_666_667);
/// How often faders that move fast are looked after.
const TICK: Duration = Duration::from_millis(4);
/// Where nothing is shown and nothing waits.
const IDLE: Duration = Duration::from_millis(200);

/// A message on its way.
struct Heard {
    device: usize,
    events: Events,
    /// By the show's clock.
    at: Duration,
}

/// What anybody may ask of MIDI, from any thread.
pub struct Handle {
    core: Mutex<Core>,
    /// What is wrong with the devices, for the performer.
    trouble: Mutex<Option<String>>,
    clock: Arc<dyn Clock>,
    /// Where maps are saved.
    folder: PathBuf,
}

/// All there is to know at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct State {
    pub ports: Vec<PortState>,
    pub bindings: Vec<BindingState>,
    /// The address of the parameter that is being learned.
    pub learning: Option<&'static str>,
    pub last: Option<LastMessage>,
}

#[derive(Clone, Debug, Serialize)]
pub struct PortState {
    pub name: String,
    pub system: &'static str,
    pub connected: bool,
    #[serde(rename = "in")]
    pub input: bool,
    #[serde(rename = "out")]
    pub output: bool,
    /// Names of the maps that it is used with.
    pub maps: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct BindingState {
    /// As `DELETE /api/v1/midi/bindings/N` has it.
    pub n: u32,
    pub port: String,
    /// Such as `cc 1.21`.
    pub control: String,
    pub address: &'static str,
    pub mode: &'static str,
    /// `learned`, or the map that it is from.
    pub map: String,
    /// A fader of the mode pickup has met its value.
    pub holds: Option<bool>,
}

#[derive(Clone, Debug, Serialize)]
pub struct LastMessage {
    pub port: String,
    pub message: String,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Handle {
    pub fn state(&self) -> State {
        let core = lock(&self.core);
        let mut bindings = Vec::new();
        for device in &core.devices {
            bindings.extend(device.bound.iter().map(|bound| BindingState {
                n: bound.id,
                port: device.name.to_string(),
                control: bound.binding.control.to_string(),
                address: bound.binding.param.address,
                mode: bound.binding.mode.name(),
                map: bound.map.to_string(),
                holds: bound.holds(),
            }));
        }
        let port = |device: &deck::Device| PortState {
            name: device.name.to_string(),
            system: device.system,
            connected: device.connected,
            input: device.input,
            output: device.output,
            maps: device.maps.iter().map(ToString::to_string).collect(),
        };
        State {
            ports: core.devices.iter().map(port).collect(),
            bindings,
            learning: core.learning.as_ref().map(|learning| learning.param.address),
            last: core.last.as_ref().map(|(port, event)| LastMessage {
                port: port.to_string(),
                message: event.to_string(),
            }),
        }
    }

    /// Binds the parameter to the next control that moves clearly. Nothing is steered by MIDI
    /// until then, or for half a minute at most.
    ///
    /// # Errors
    /// There is no such parameter, or no control alone can steer it.
    pub fn learn(&self, address: &str) -> Result<()> {
        let param = param::find(address)?;
        lock(&self.core).learn(param, self.clock.now())
    }

    pub fn cancel(&self) {
        lock(&self.core).learning = None;
    }

    /// Takes the binding of this number away.
    ///
    /// # Errors
    /// `NotFound`: there is none.
    pub fn forget(&self, n: u32) -> Result<()> {
        lock(&self.core).forget(n)
    }

    /// Writes the bindings of the device that was learned on last as a map of this name, which is
    /// used for that device from the next show on. Returns the file.
    ///
    /// # Errors
    /// It is not clear which device is meant, the name is none for a file, or the disk's.
    pub fn save(&self, name: &str) -> Result<PathBuf> {
        let (matches, bindings) = {
            let core = lock(&self.core);
            let device = core.to_save()?;
            let bindings: Vec<_> = device.bound.iter().map(|b| b.binding.clone()).collect();
            (vec![device.name.to_string()], bindings)
        };
        map::save(&self.folder, name, &matches, &bindings)
    }

    /// What the performer should know of; `None`: all is well.
    pub fn trouble(&self) -> Option<String> {
        lock(&self.trouble).clone()
    }

    pub fn status(&self) -> MidiStatus {
        let core = lock(&self.core);
        let connected = core.devices.iter().filter(|device| device.connected).count();
        let counters = &core.counters;
        MidiStatus {
            connected,
            away: core.devices.len() - connected,
            messages: counters.messages.get(),
            ignored: counters.ignored.get(),
            refused: counters.refused.get(),
            lost: counters.lost.get(),
            stray_bytes: counters.stray.get(),
            sent: counters.sent.get(),
        }
    }
}

/// MIDI in a running show; dropping it closes all ports.
pub struct Midi {
    handle: Arc<Handle>,
    /// Dropped to end the threads.
    stop: Option<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Midi {
    /// Starts to listen on all `systems`; devices are found from then on. `None`: it is turned off.
    ///
    /// # Errors
    /// A map that is asked for does not exist, or a thread cannot be started.
    pub fn start(
        settings: &Settings,
        worqspace: &std::path::Path,
        board: Arc<Board>,
        clock: Arc<dyn Clock>,
        systems: Vec<Box<dyn System>>,
        notes: NoteSender,
    ) -> Result<Option<Midi>> {
        if settings.enabled == MidiUse::Off {
            return Ok(None);
        }
        let folder = map::folder(worqspace);
        let (maps, said) = map::all(&folder);
        for odd in said {
            tracing::warn!("MIDI: {odd}");
        }
        check_names(settings, &maps)?;
        let core = Core::new(board, maps, settings.maps.clone(), settings.feedback);
        let counters = core.counters.clone();
        let handle = Arc::new(Handle {
            core: Mutex::new(core),
            trouble: Mutex::new(None),
            clock: clock.clone(),
            folder,
        });
        let (heard_tx, heard) = bounded::<Heard>(EVENTS);
        let (stop, stopped) = bounded::<()>(0);
        let mut midi = Midi { handle: handle.clone(), stop: Some(stop), threads: Vec::new() };
        let failed = |e| Error::internal("cannot start a thread for MIDI").with_source(e);
        {
            let (handle, clock) = (handle.clone(), clock.clone());
            let run = move || take(&handle, &heard, &*clock);
            let thread = std::thread::Builder::new().name("midi".into()).spawn(run);
            midi.threads.push(thread.map_err(failed)?);
        }
        let mut ports = {
            let clocks = Arc::new(tempo::Clocks::new(notes));
            ports::Ports::new(systems, settings, handle, clock, heard_tx, clocks, counters)
        };
        let look = move || {
            while let Err(crossbeam_channel::RecvTimeoutError::Timeout) =
                stopped.recv_timeout(ports::LOOK_EVERY)
            {
                ports.look();
            }
        };
        let thread = std::thread::Builder::new().name("midi ports".into()).spawn(look);
        midi.threads.insert(0, thread.map_err(failed)?);
        Ok(Some(midi))
    }

    pub fn handle(&self) -> &Arc<Handle> {
        &self.handle
    }
}

impl Drop for Midi {
    fn drop(&mut self) {
        self.stop = None;
        // The one that looks for ports first: with it the last sender of events is gone.
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Checks the settings before a show.
///
/// # Errors
/// A map that is asked for does not exist.
pub fn check(settings: &Settings, worqspace: &std::path::Path) -> Result<()> {
    match settings.maps.is_empty() || settings.enabled == MidiUse::Off {
        true => Ok(()),
        false => check_names(settings, &map::all(&map::folder(worqspace)).0),
    }
}

/// A map that is asked for must be there.
fn check_names(settings: &Settings, maps: &[map::Map]) -> Result<()> {
    for name in &settings.maps {
        if !maps.iter().any(|map| map.name == *name) {
            let names: Vec<&str> = maps.iter().map(|map| map.name.as_str()).collect();
            return Err(Error::usage(format!(
                "live.midi.maps: there is no map {name:?}; these exist: {}",
                names.join(", ")
            )));
        }
    }
    Ok(())
}

/// The thread `midi`: until nobody sends events any more.
fn take(handle: &Handle, heard: &Receiver<Heard>, clock: &dyn Clock) {
    let mut shown_at = Duration::ZERO;
    let mut patience = IDLE;
    loop {
        let first = match heard.recv_timeout(patience) {
            Ok(first) => Some(first),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let mut core = lock(&handle.core);
        for one in first.into_iter().chain(heard.try_iter().take(EVENTS)) {
            core.hear(one.device, &one.events, one.at);
        }
        let now = clock.now();
        let waits = core.tick(now);
        let shows = core.has_feedback();
        if shows && now >= shown_at + SHOW_EVERY {
            core.send_feedback();
            shown_at = now;
        }
        patience = match (waits, shows) {
            (true, _) => TICK,
            (false, true) => (shown_at + SHOW_EVERY).saturating_sub(now).max(TICK),
            (false, false) => IDLE,
        };
    }
}
