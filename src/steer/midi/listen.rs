//! Devices that are only listened to, without a show: for a look at what they send, and to learn.
//!
//! Holds: it opens what comes, and closes what goes, each time that it is asked to look.

use std::sync::Arc;

use crossbeam_channel::Sender;

use super::device::{Found, devices};
use super::event::{Decoder, Events};
use super::parse::Parser;
use super::system::{CLIENT, In, OnBytes, Port, System};

/// Messages that may wait; when it is full, further ones are left out.
pub const WAITING: usize = 4096;

/// One message of a device, and all that it means.
pub struct Message {
    pub device: Arc<str>,
    pub events: Events,
}

pub struct Listener {
    systems: Vec<Box<dyn System>>,
    wanted: Vec<String>,
    heard: Sender<Message>,
    /// `None`: our own port, of the system of this name.
    open: Vec<(Option<Found>, &'static str, In)>,
}

impl Listener {
    /// `wanted` has parts of names; none: all.
    pub fn new(systems: Vec<Box<dyn System>>, wanted: Vec<String>, heard: Sender<Message>) -> Self {
        Listener { systems, wanted, heard, open: Vec::new() }
    }

    /// The devices that are there now, and the systems that are.
    pub fn there(&mut self) -> (Vec<Found>, Vec<&'static str>) {
        let mut listed: Vec<(&str, Vec<Port>)> = Vec::new();
        let mut names = Vec::new();
        for system in &mut self.systems {
            if let Some(ports) = system.ports() {
                names.push(system.name());
                listed.push((system.name(), ports));
            }
        }
        (devices(&listed, &self.wanted), names)
    }

    /// Opens what has come and closes what has gone; returns lines that say so.
    pub fn look(&mut self) -> Vec<String> {
        let (found, systems) = self.there();
        let mut said = Vec::new();
        self.open.retain(|(open, system, _)| match open {
            Some(device) if !found.contains(device) => {
                said.push(format!("{} is gone", device.name));
                false
            }
            Some(_) => true,
            None => systems.contains(system),
        });
        for device in found {
            let Some(port) = device.input.clone() else { continue };
            if self.open.iter().any(|(open, ..)| open.as_ref() == Some(&device)) {
                continue;
            }
            let on = self.on_bytes(device.name.as_str().into());
            // Whichever system knows it.
            let mut on = Some(on);
            for system in &mut self.systems {
                let knows = system.ports().is_some_and(|ports| ports.contains(&port));
                let Some(on) = on.take_if(|_| knows) else { continue };
                match system.open_in(Some(&port), on) {
                    Ok(input) => {
                        said.push(format!("listening to {} ({})", device.name, system.name()));
                        self.open.push((Some(device.clone()), system.name(), input));
                    }
                    Err(error) => said.push(format!("{}: {error}", device.name)),
                }
            }
        }
        for i in 0..self.systems.len() {
            let name = self.systems[i].name();
            let is_open =
                self.open.iter().any(|(open, system, _)| open.is_none() && *system == name);
            if is_open || !systems.contains(&name) || !self.systems[i].has_virtual() {
                continue;
            }
            let on = self.on_bytes(CLIENT.into());
            if let Ok(input) = self.systems[i].open_in(None, on) {
                said.push(format!("the port for other programs is {CLIENT} ({name})"));
                self.open.push((None, name, input));
            }
        }
        said
    }

    fn on_bytes(&self, device: Arc<str>) -> OnBytes {
        let heard = self.heard.clone();
        let (mut parser, mut decoder) = (Parser::default(), Decoder::default());
        Box::new(move |_, bytes| {
            parser.feed(bytes, |short| {
                let events = decoder.events(short);
                let _ = heard.try_send(Message { device: device.clone(), events });
            });
        })
    }
}
