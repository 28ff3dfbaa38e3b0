//! The MIDI systems of a machine, behind one trait: ALSA and JACK on Linux, elsewhere the system's
//! own.
//!
//! Holds: a system that is not there is no fault, and asking for it prints nothing. Whatever is
//! returned is closed when it is dropped.

use crate::base::error::{Error, Result};

/// How other programs see this one.
pub const CLIENT: &str = "Visual FaQtory";

/// A port of another program or device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// The system's own name for it, as long as it is there.
    pub id: String,
    /// As users know it.
    pub name: String,
    /// Ports of one device have the same; the name of each but of the device's own number.
    pub device: String,
    /// What tells two devices of one name apart.
    pub key: String,
    /// Messages come from it; else they go to it.
    pub input: bool,
}

/// Called with bytes as they come in, on a thread of the system, and with when they came by its own
/// clock, in microseconds from anywhere.
pub type OnBytes = Box<dyn FnMut(u64, &[u8]) + Send>;

/// The way to a device.
pub trait Out: Send {
    /// Sends one message; `false`: it cannot be sent.
    fn send(&mut self, bytes: &[u8]) -> bool;
}

/// An open input; dropping it closes it.
pub type In = Box<dyn Send>;

pub trait System: Send {
    /// `ALSA`, `JACK`, ...
    fn name(&self) -> &'static str;
    /// All ports but our own; `None`: the system is not there at present.
    fn ports(&mut self) -> Option<Vec<Port>>;
    /// Whether ports can be made that others connect to.
    fn has_virtual(&self) -> bool;
    /// Opens an input; `None`: a port of our own, which others connect to.
    fn open_in(&mut self, port: Option<&Port>, on: OnBytes) -> Result<In>;
    fn open_out(&mut self, port: Option<&Port>) -> Result<Box<dyn Out>>;
}

/// The systems that this program is made for, here.
pub fn systems() -> Vec<Box<dyn System>> {
    #[cfg(target_os = "linux")]
    let systems: Vec<Box<dyn System>> =
        vec![Box::<native::Native>::default(), Box::<jack::Jack>::default()];
    #[cfg(not(target_os = "linux"))]
    let systems: Vec<Box<dyn System>> = vec![Box::<native::Native>::default()];
    systems
}

fn failed(what: &str, error: impl std::fmt::Display) -> Error {
    Error::unavailable(format!("MIDI {what}: {error}"))
}

/// One version of midir as a [`System`]; it knows one at a time, so there are two.
macro_rules! midir_system {
    ($System:ident, $midir:ident, $name:expr, $there:path, $split:path) => {
        use $midir::{MidiInput, MidiInputConnection, MidiOutput, MidiOutputConnection};

        use super::*;

        #[derive(Default)]
        pub struct $System {
            /// Open to ask for ports as long as the system is there.
            asking: Option<(MidiInput, MidiOutput)>,
            /// Which run of the system that is.
            run: Option<u64>,
        }

        struct Sender(MidiOutputConnection);

        impl Out for Sender {
            fn send(&mut self, bytes: &[u8]) -> bool {
                self.0.send(bytes).is_ok()
            }
        }

        impl System for $System {
            fn name(&self) -> &'static str {
                $name
            }

            fn ports(&mut self) -> Option<Vec<Port>> {
                let run = $there();
                if run != self.run || run.is_none() {
                    // Whoever holds on to one that has ended hears nothing more: all is opened anew,
                    // also where the next one began before anybody looked.
                    self.asking = None;
                    let first = self.run.is_none();
                    self.run = run;
                    if !first || run.is_none() {
                        return None;
                    }
                }
                if self.asking.is_none() {
                    let (input, output) = (MidiInput::new(CLIENT), MidiOutput::new(CLIENT));
                    self.asking = Some((input.ok()?, output.ok()?));
                }
                let (input, output) = self.asking.as_ref()?;
                let port = |id: String, name: Option<String>, is_input: bool| {
                    // One without a name is just going.
                    let name = name?;
                    let (device, key) = $split(&name, &id);
                    let ours = device.starts_with(CLIENT);
                    (!ours).then(|| Port { id, name, device, key, input: is_input })
                };
                let inputs = input.ports();
                let inputs =
                    inputs.iter().filter_map(|p| port(p.id(), input.port_name(p).ok(), true));
                let outputs = output.ports();
                let outputs =
                    outputs.iter().filter_map(|p| port(p.id(), output.port_name(p).ok(), false));
                Some(inputs.chain(outputs).collect())
            }

            fn has_virtual(&self) -> bool {
                cfg!(unix)
            }

            fn open_in(&mut self, port: Option<&Port>, mut on: OnBytes) -> Result<In> {
                if $there().is_none() {
                    return Err(failed($name, "it has ended"));
                }
                let input = MidiInput::new(CLIENT).map_err(|e| failed($name, e))?;
                let heard = move |stamp_us: u64, bytes: &[u8], (): &mut ()| on(stamp_us, bytes);
                let opened: std::result::Result<MidiInputConnection<()>, String> = match port {
                    // Asked for as late as can be: what is gone by now cannot be connected.
                    Some(port) => match input.ports().into_iter().find(|p| p.id() == port.id) {
                        Some(found) => {
                            input.connect(&found, "in", heard, ()).map_err(|e| e.to_string())
                        }
                        None => Err("it is gone".into()),
                    },
                    #[cfg(unix)]
                    None => {
                        use $midir::os::unix::VirtualInput;
                        input.create_virtual("in", heard, ()).map_err(|e| e.to_string())
                    }
                    #[cfg(not(unix))]
                    None => Err("it has no ports of programs".into()),
                };
                Ok(Box::new(opened.map_err(|e| failed($name, e))?))
            }

            fn open_out(&mut self, port: Option<&Port>) -> Result<Box<dyn Out>> {
                if $there().is_none() {
                    return Err(failed($name, "it has ended"));
                }
                let output = MidiOutput::new(CLIENT).map_err(|e| failed($name, e))?;
                let opened: std::result::Result<MidiOutputConnection, String> = match port {
                    Some(port) => match output.ports().into_iter().find(|p| p.id() == port.id) {
                        Some(found) => output.connect(&found, "out").map_err(|e| e.to_string()),
                        None => Err("it is gone".into()),
                    },
                    #[cfg(unix)]
                    None => {
                        use $midir::os::unix::VirtualOutput;
                        output.create_virtual("out").map_err(|e| e.to_string())
                    }
                    #[cfg(not(unix))]
                    None => Err("it has no ports of programs".into()),
                };
                Ok(Box::new(Sender(opened.map_err(|e| failed($name, e))?)))
            }
        }
    };
}

mod native {
    #[cfg(target_os = "linux")]
    const NAME: &str = "ALSA";
    #[cfg(target_os = "macos")]
    const NAME: &str = "CoreMIDI";
    #[cfg(not(any(target_os = "linux", target_os = "macos")))]
    const NAME: &str = "Windows";

    midir_system!(Native, midir, NAME, is_there, split);

    /// ALSA's library prints a complaint where there is no sequencer.
    fn is_there() -> Option<u64> {
        (!cfg!(target_os = "linux") || std::path::Path::new("/dev/snd/seq").exists()).then_some(0)
    }

    /// ALSA's `nanoKONTROL2:nanoKONTROL2 SLIDER 20:0`: a device, its port, and its present number.
    fn split(name: &str, id: &str) -> (String, String) {
        if !cfg!(target_os = "linux") {
            return (name.to_owned(), name.to_owned());
        }
        let device = name.split(':').next().unwrap_or(name).to_owned();
        let number = id.split(':').next().unwrap_or(id).to_owned();
        (device, number)
    }
}

#[cfg(target_os = "linux")]
mod jack {
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::UnixStream;
    use std::path::PathBuf;

    midir_system!(Jack, midir_jack, "JACK", is_there, split);

    /// `device:port`; no two programs have one name.
    fn split(name: &str, _id: &str) -> (String, String) {
        let device = name.split(':').next().unwrap_or(name).to_owned();
        (device.clone(), device)
    }

    /// Whether a server can be asked, and which: JACK's library prints complaints where there is none,
    /// and a program that holds on to one that is gone hears nothing more.
    fn is_there() -> Option<u64> {
        let server = std::env::var("JACK_DEFAULT_SERVER").unwrap_or_else(|_| "default".into());
        // Without the library there is nobody to ask, and midir would panic.
        let answers = |socket: &PathBuf| UnixStream::connect(socket).is_ok();
        // Every server makes its socket anew.
        let made = |socket: PathBuf| Some(std::fs::metadata(socket).ok()?.ino());
        let run = match sockets(&server).into_iter().find(answers) {
            Some(socket) => made(socket),
            None => is_pipewire().then_some(0),
        };
        run.filter(|_| jack_sys::library().is_ok())
    }

    /// Where a server listens: `jack_SERVER_USER_0`.
    fn sockets(server: &str) -> Vec<PathBuf> {
        let start = format!("jack_{server}_");
        let is_one = |path: &PathBuf| {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            name.is_some_and(|name| name.starts_with(&start) && name.ends_with("_0"))
        };
        ["/dev/shm", "/tmp"]
            .iter()
            .filter_map(|folder| std::fs::read_dir(folder).ok())
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(is_one)
            .collect()
    }

    /// Whether the library is that of PipeWire, which needs no server of JACK.
    fn is_pipewire() -> bool {
        static IS: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
        let runs = || {
            let folder = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
            folder.is_some_and(|folder| folder.join("pipewire-0").exists())
        };
        runs()
            && *IS.get_or_init(|| {
                let maps = || std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
                jack_sys::library().is_ok() && maps().contains("pipewire")
            })
    }
}
