//! Keeps the machine from sleeping and the screens from going blank during a show, where the
//! desktop allows it.
//!
//! Holds: the desktop is asked on a thread of its own, as its answer may take long; without one
//! the show goes on all the same.

use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};
use keepawake::{Builder, KeepAwake};

/// Awake until it is dropped.
pub struct Awake {
    /// Nothing is ever sent; dropped, it lets the machine sleep again.
    _until: Sender<()>,
    thread: Option<JoinHandle<()>>,
}

impl Awake {
    pub fn start() -> Option<Self> {
        let (until, over) = bounded(0);
        let thread = std::thread::Builder::new()
            .name("awake".into())
            .spawn(move || keep_awake(&over))
            .inspect_err(|e| tracing::info!("the machine is not kept awake: {e}"))
            .ok()?;
        Some(Awake { _until: until, thread: Some(thread) })
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        // It may still wait for the desktop; the wish ends with the process at the latest.
        drop(self.thread.take());
    }
}

fn keep_awake(over: &Receiver<()>) {
    // Two services, of which a machine may have one: a stage computer without a desktop has no
    // screen saver, but a logind.
    let screen = ask(Builder::default().display(true));
    let machine = ask(Builder::default().idle(true).sleep(true));
    let left = match (&screen, &machine) {
        (None, None) => "the machine from sleeping and its screens from going blank",
        (None, Some(_)) => "its screens from going blank",
        (Some(_), None) => "the machine from sleeping",
        (Some(_), Some(_)) => "",
    };
    if !left.is_empty() {
        tracing::info!("nobody here can be asked to keep {left}; see to that in its settings");
    }
    let _ = over.recv();
}

fn ask(wish: &mut Builder) -> Option<KeepAwake> {
    wish.app_name("Visual FaQtory Live")
        .app_reverse_domain("org.visualfaqtory.Live")
        .reason("a show is on air")
        .create()
        .inspect_err(|e| tracing::debug!("keeping awake: {e}"))
        .ok()
}
