//! A JACK server of its own, without sound.
//!
//! Holds: a server that a test leaves behind is ended.

use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::show::{Show, Stage};

pub struct Jack {
    pub name: String,
    child: Child,
}

impl Jack {
    /// `None` where there is no jackd.
    pub fn start(what: &str) -> Option<Jack> {
        // JACK has room for eight names, and keeps that of a server that was killed.
        Jack::of_name(format!("vfaq-test-{what}"))
    }

    pub fn of_name(name: String) -> Option<Jack> {
        let mut command = Command::new("jackd");
        // Long periods: a busy machine is late for short ones, and JACK goes on without whoever is
        // late, and what they sent.
        command.args(["--no-realtime", "-d", "dummy", "-r", "48000", "-p", "4096"]);
        Jack::with(name, command)
    }

    /// With a card's usual periods, and patience with programs that are late.
    pub fn for_sound(what: &str) -> Option<Jack> {
        let mut command = Command::new("jackd");
        command.args(["--no-realtime", "-t", "5000", "-d", "dummy", "-r", "48000", "-p", "1024"]);
        Jack::with(format!("vfaq-test-{what}"), command)
    }

    fn with(name: String, mut command: Command) -> Option<Jack> {
        command.env("JACK_DEFAULT_SERVER", &name).stdout(Stdio::null()).stderr(Stdio::null());
        let child = match command.spawn() {
            Ok(child) => child,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                println!("skipped: there is no jackd");
                return None;
            }
            Err(e) => panic!("jackd: {e}"),
        };
        Some(Jack { name, child })
    }

    pub fn vfaq(&self, mut command: Command) -> Command {
        command.env("JACK_DEFAULT_SERVER", &self.name);
        command
    }

    pub fn live(&self, stage: &Stage, more: &[&str]) -> Show {
        let mut command = stage.vfaq(&["-w", "w", "-o", "out", "live", "--listen", "127.0.0.1:0"]);
        command.args(more);
        Show::start(self.vfaq(command))
    }
}

impl Drop for Jack {
    fn drop(&mut self) {
        // It takes its sockets along.
        let _ = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

/// What is opened on a server that was started just before.
pub fn until_open<T, E: std::fmt::Display>(open: impl Fn() -> Result<T, E>) -> T {
    let mut tries = 0;
    loop {
        match open() {
            Ok(opened) => return opened,
            Err(_) if tries < 200 => tries += 1,
            Err(e) => panic!("{e}"),
        }
        std::thread::park_timeout(std::time::Duration::from_millis(50));
    }
}
