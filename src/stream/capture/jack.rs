//! Who is connected to our inputs of JACK: looked for again and again, so that a program that comes
//! back is heard again.
//!
//! Holds: where there is no server, asking for one prints nothing. What a performer connects by hand
//! stays.

use std::time::Duration;

use ::jack::{Client, ClientOptions, LoggerType, PortFlags};

use crate::base::error::{Error, Result};

const LOOK_EVERY: Duration = Duration::from_millis(250);
const SOUND: &str = "32 bit float mono audio";
/// How the names of a capture's ports begin: GStreamer names them by its element.
const PORTS: &str = ":in_jackaudiosrc_";

pub struct Cables {
    client: Client,
    /// The capture's own, whose ports are looked after; no other program's.
    name: String,
    /// Of the ports to listen to; `None`: the card's.
    pattern: Option<String>,
    looked_at: Option<Duration>,
    connected: bool,
    missing: Option<String>,
}

impl Cables {
    /// For a capture that is called `name`, with a number behind it where another program is.
    ///
    /// # Errors
    /// There is no server.
    pub fn new(pattern: Option<&str>, name: &str) -> Result<Self> {
        ::jack::set_logger(LoggerType::None);
        let no_server =
            || Error::unavailable("no JACK server is running; start one, or choose another source");
        let (client, _) = Client::new("vfaq-cables", ClientOptions::NO_START_SERVER)
            .map_err(|e| no_server().with_source(e))?;
        let pattern = pattern.map(str::to_owned);
        let is_taken =
            !client.ports(Some(&format!("^{name}:")), None, PortFlags::empty()).is_empty();
        let name = match is_taken {
            true => format!("{name}-{}", std::process::id()),
            false => name.to_owned(),
        };
        Ok(Cables { client, name, pattern, looked_at: None, connected: false, missing: None })
    }

    /// Connects what is not connected; whether something is.
    ///
    /// # Errors
    /// The server is gone.
    pub fn look(&mut self, now: Duration) -> Result<bool> {
        if self.looked_at.is_some_and(|at| now < at + LOOK_EVERY) {
            return Ok(self.connected);
        }
        self.looked_at = Some(now);
        let inputs = self.inputs();
        if inputs.is_empty() {
            return Err(Error::unavailable("the JACK server is gone"));
        }
        let outputs = self.outputs();
        self.connected = false;
        for (i, input) in inputs.iter().enumerate() {
            let Some(port) = self.client.port_by_name(input) else { continue };
            let mut is_connected = port.connected_count().unwrap_or(0) > 0;
            // What has one output is heard on both sides.
            if !is_connected && let Some(output) = outputs.get(i).or(outputs.first()) {
                is_connected = self.client.connect_ports_by_name(output, input).is_ok();
            }
            self.connected |= is_connected;
        }
        self.missing = (!self.connected).then(|| missing(self.pattern.as_deref()));
        Ok(self.connected)
    }

    /// What the capture has to be called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is not there.
    pub fn missing(&self) -> Option<String> {
        self.missing.clone()
    }

    fn inputs(&self) -> Vec<String> {
        let ours = format!("^{}{PORTS}", self.name);
        self.client.ports(Some(&ours), Some(SOUND), PortFlags::IS_INPUT)
    }

    fn outputs(&self) -> Vec<String> {
        match &self.pattern {
            Some(pattern) => {
                let found = self.client.ports(Some(pattern), Some(SOUND), PortFlags::IS_OUTPUT);
                found.into_iter().filter(|port| !port.starts_with("vfaq")).collect()
            }
            None => {
                let card = PortFlags::IS_OUTPUT | PortFlags::IS_PHYSICAL;
                self.client.ports(None, Some(SOUND), card)
            }
        }
    }
}

fn missing(pattern: Option<&str>) -> String {
    match pattern {
        Some(pattern) => format!(
            "no program or port of JACK is called like {pattern:?} (vfaq sound list says which \
             there are)"
        ),
        None => "JACK has no card with inputs; name a program, such as jack:mixxx".to_owned(),
    }
}

/// Whether there is a server with such ports.
///
/// # Errors
/// What is missing.
pub fn check(pattern: Option<&str>) -> Result<()> {
    let cables = Cables::new(pattern, "vfaq-check")?;
    match cables.outputs().is_empty() {
        true => Err(Error::unavailable(missing(pattern))),
        false => Ok(()),
    }
}

/// The programs that give sound, each with what it has.
pub fn programs() -> Vec<String> {
    let Ok(cables) = Cables::new(None, "vfaq-list") else { return Vec::new() };
    let ports = cables.client.ports(None, Some(SOUND), PortFlags::IS_OUTPUT);
    let mut programs: Vec<String> =
        ports.iter().filter_map(|port| Some(port.split_once(':')?.0.to_owned())).collect();
    programs.dedup();
    programs
}
