//! Which devices are there: opens what has come, closes what has gone, twice a second.
//!
//! Holds: a device is known by its name, so its bindings wait for it. What cannot be opened is told
//! of once, and tried again each time.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;

use super::deck::Counters;
use super::device::{Found, devices};
use super::event::Decoder;
use super::parse::Parser;
use super::system::{CLIENT, In, OnBytes, Out, Port, System};
use super::tempo::{Clocks, Stamps};
use super::{Handle, Heard, lock};
use crate::base::clock::Clock;
use crate::base::error::Result;
use crate::config::{Midi as Settings, MidiUse};

pub const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Devices that are open at once; each takes a client or two of its system.
const MOST: usize = 16;

/// What is open.
struct Open {
    name: String,
    /// In `systems`.
    system: usize,
    /// What it was opened as; `None`: our own port, which others connect to.
    found: Option<Found>,
    /// In the core; closing the input ends the last sender of its events.
    device: usize,
    _input: Option<In>,
}

pub struct Ports {
    systems: Vec<Box<dyn System>>,
    wanted: Vec<String>,
    is_needed: bool,
    handle: Arc<Handle>,
    clock: Arc<dyn Clock>,
    heard: Sender<Heard>,
    clocks: Arc<Clocks>,
    counters: Arc<Counters>,
    open: Vec<Open>,
    /// What could not be opened, and was told of.
    told: Vec<String>,
    /// Devices that were seen and are not open.
    seen: Vec<Found>,
    /// Devices that were open once and are not.
    away: Vec<String>,
}

impl Ports {
    pub fn new(
        systems: Vec<Box<dyn System>>,
        settings: &Settings,
        handle: Arc<Handle>,
        clock: Arc<dyn Clock>,
        heard: Sender<Heard>,
        clocks: Arc<Clocks>,
        counters: Arc<Counters>,
    ) -> Self {
        Ports {
            systems,
            wanted: settings.ports.clone(),
            is_needed: settings.enabled == MidiUse::On,
            handle,
            clock,
            heard,
            clocks,
            counters,
            open: Vec::new(),
            told: Vec::new(),
            seen: Vec::new(),
            away: Vec::new(),
        }
    }

    /// Looks who is there.
    pub fn look(&mut self) {
        let names: Vec<&'static str> = self.systems.iter().map(|system| system.name()).collect();
        let there: Vec<Option<Vec<Port>>> =
            self.systems.iter_mut().map(|system| system.ports()).collect();
        let listed: Vec<(&str, Vec<Port>)> = names
            .iter()
            .zip(&there)
            .filter_map(|(name, ports)| Some((*name, ports.clone()?)))
            .collect();
        let mut found = devices(&listed, &self.wanted);
        self.close_what_is_gone(&found, &there);
        for (system, ports) in there.iter().enumerate() {
            let ours = |open: &Open| open.found.is_none() && open.system == system;
            if ports.is_some() && self.systems[system].has_virtual() && !self.open.iter().any(ours)
            {
                self.open_virtual(system);
            }
        }
        found.retain(|found| !self.open.iter().any(|open| open.found.as_ref() == Some(found)));
        // What was seen twice: ports of a program come and go one after another, and all of them go
        // when their system ends.
        let before = std::mem::replace(&mut self.seen, found.clone());
        for found in found.into_iter().filter(|found| before.contains(found)) {
            let of = |port: &Port| {
                there.iter().position(|ports| ports.as_ref().is_some_and(|p| p.contains(port)))
            };
            let Some(system) = found.input.as_ref().or(found.output.as_ref()).and_then(of) else {
                continue;
            };
            if self.open.len() >= MOST {
                let text = format!(
                    "{} is left out: {MOST} MIDI ports are open; name those that matter in \
                     live.midi.ports",
                    found.name
                );
                self.tell_once(text);
                continue;
            }
            self.open_device(system, found);
        }
        self.tell_trouble(listed.is_empty());
    }

    fn close_what_is_gone(&mut self, found: &[Found], there: &[Option<Vec<Port>>]) {
        let stays = |open: &Open| match &open.found {
            Some(device) => found.contains(device),
            None => there.get(open.system).is_some_and(Option::is_some),
        };
        let (stay, gone) = std::mem::take(&mut self.open).into_iter().partition(stays);
        self.open = stay;
        for open in gone {
            let out = lock(&self.handle.core).gone(open.device, self.clock.now());
            // Closed without anybody waiting for it.
            drop(out);
            self.clocks.gone(open.device, self.clock.now());
            if open.found.is_some() {
                tracing::warn!("MIDI: {} is gone; its bindings are kept", open.name);
                self.away.push(open.name);
            }
        }
    }

    fn open_device(&mut self, system: usize, found: Found) {
        let name = found.name.clone();
        let names: Vec<String> = found.names().into_iter().map(str::to_owned).collect();
        let (input, output) = (found.input.clone(), found.output.clone());
        match self.open_both(system, &names, input.as_ref().map(Some), output.as_ref().map(Some)) {
            Ok((device, input)) => {
                self.away.retain(|away| *away != name);
                self.told.retain(|told| !told.starts_with(&format!("{name}:")));
                tracing::info!("MIDI: {name} is connected ({})", self.systems[system].name());
                self.open.push(Open { name, system, found: Some(found), device, _input: input });
            }
            Err(error) => self.tell_once(format!("{name}: {error}")),
        }
    }

    fn open_virtual(&mut self, system: usize) {
        let kind = self.systems[system].name();
        let taken = self.open.iter().any(|open| open.found.is_none());
        let name = if taken { format!("{CLIENT} ({kind})") } else { CLIENT.to_owned() };
        match self.open_both(system, std::slice::from_ref(&name), Some(None), Some(None)) {
            Ok((device, input)) => {
                tracing::info!("MIDI: {kind} is there; its port for other programs is {CLIENT}");
                self.open.push(Open { name, system, found: None, device, _input: input });
            }
            Err(error) => self.tell_once(format!("{name}: {error}")),
        }
    }

    /// Opens what there is of a device: the other's port, or one of our own.
    fn open_both(
        &mut self,
        system: usize,
        names: &[String],
        input: Option<Option<&Port>>,
        output: Option<Option<&Port>>,
    ) -> Result<(usize, Option<In>)> {
        let kind = self.systems[system].name();
        let out: Option<Box<dyn Out>> =
            output.map(|port| self.systems[system].open_out(port)).transpose()?;
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (device, said) = lock(&self.handle.core).connect(&names, kind, input.is_some(), out)?;
        for odd in said {
            tracing::warn!("MIDI: {odd}");
        }
        let opened = match input {
            None => Ok(None),
            Some(port) => {
                let on = self.on_bytes(device, names[0]);
                self.systems[system].open_in(port, on).map(Some)
            }
        };
        if opened.is_err() {
            let out = lock(&self.handle.core).gone(device, self.clock.now());
            drop(out);
        }
        let input = opened?;
        lock(&self.handle.core).is_open(device);
        Ok((device, input))
    }

    /// What becomes of a device's bytes; it starts from nothing with each connection.
    fn on_bytes(&self, device: usize, name: &str) -> OnBytes {
        let (clocks, name, mut stamps) =
            (self.clocks.clone(), Arc::<str>::from(name), Stamps::default());
        let (heard, clock) = (self.heard.clone(), self.clock.clone());
        let counters = self.counters.clone();
        let (mut parser, mut decoder) = (Parser::default(), Decoder::default());
        Box::new(move |stamp_us, bytes| {
            let at = clock.now();
            let before = parser.stray;
            let take = |message| {
                counters.messages.add(1);
                let events = decoder.events(message);
                if heard.try_send(Heard { device, events, at }).is_err() {
                    counters.lost.add(1);
                }
            };
            let sent_at = stamps.at(stamp_us, at);
            parser.feed_all(bytes, take, |said| clocks.hear(device, &name, said, sent_at));
            counters.stray.add(parser.stray - before);
        })
    }

    fn tell_once(&mut self, text: String) {
        if !self.told.contains(&text) {
            tracing::warn!("MIDI: {text}");
            // Devices come and go all night.
            if self.told.len() >= 64 {
                self.told.clear();
            }
            self.told.push(text);
        }
    }

    fn tell_trouble(&mut self, nothing_there: bool) {
        self.away.sort();
        self.away.dedup();
        let away = self.away.join(", ");
        *lock(&self.handle.trouble) = match self.away.len() {
            0 if nothing_there && self.is_needed => Some(
                "live.midi.enabled is on, but this machine has no MIDI system at present; start \
                 JACK or PipeWire, or load the module snd-seq"
                    .into(),
            ),
            0 => None,
            1 => Some(format!("MIDI: {away} is unplugged; its bindings wait for it")),
            _ => Some(format!("MIDI: {away} are unplugged; their bindings wait for them")),
        };
    }
}

impl Drop for Ports {
    fn drop(&mut self) {
        for open in self.open.drain(..) {
            let out = lock(&self.handle.core).gone(open.device, self.clock.now());
            drop(out);
        }
    }
}
