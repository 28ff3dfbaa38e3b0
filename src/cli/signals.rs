//! Signals that ask the program to end.

use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Sender, bounded};
use tokio::sync::watch;

use super::progress::tell;
use crate::app::batch::Stop;

use crate::base::error::{Error, Result};

/// Exit code of who is interrupted.
pub const INTERRUPTED: u8 = 130;

/// What a signal asks for.
pub enum Signal {
    /// SIGINT, SIGTERM: the first ends cleanly, the second at once.
    Interrupt,
    /// The terminal was closed; the shell and the kernel may both say so.
    Hangup,
}

/// The first signal asks for a stop that loses nothing, the second for one at once; the third ends the
/// process. That the terminal was closed asks for the first alone, however often it is said.
pub fn stop_at_signals() -> Result<watch::Sender<Stop>> {
    let (sender, signals) = bounded(4);
    watch_signals(sender)?;
    let stop = watch::Sender::new(Stop::No);
    let wanted = stop.clone();
    std::thread::Builder::new()
        .name("stop".into())
        .spawn(move || {
            for signal in signals {
                let now = *wanted.borrow();
                let (next, said) = match (signal, now) {
                    (Signal::Hangup, now) => (now.max(Stop::AfterCycle), ""),
                    (Signal::Interrupt, Stop::No) => (
                        Stop::AfterCycle,
                        "it ends as soon as nothing is lost by it; Ctrl-C again stops at once",
                    ),
                    (Signal::Interrupt, Stop::AfterCycle) => (Stop::Now, "stopping"),
                    (Signal::Interrupt, Stop::Now) => exit(INTERRUPTED.into()),
                };
                wanted.send_replace(next);
                if !said.is_empty() {
                    tell(said);
                }
            }
        })
        .map_err(|e| Error::internal("cannot start a thread").with_source(e))?;
    Ok(stop)
}

/// A flag that the first signal sets. The second ends the process.
pub fn stop_flag() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let (sender, signals) = bounded(4);
    watch_signals(sender)?;
    let wanted = stop.clone();
    std::thread::Builder::new()
        .name("stop".into())
        .spawn(move || {
            for signal in signals {
                let again = wanted.swap(true, Ordering::Relaxed);
                if again && matches!(signal, Signal::Interrupt) {
                    exit(INTERRUPTED.into());
                }
            }
        })
        .map_err(|e| Error::internal("cannot start a thread").with_source(e))?;
    Ok(stop)
}

/// Passes on SIGINT, SIGTERM and SIGHUP, from a small runtime of its own.
pub fn watch_signals(signals: Sender<Signal>) -> Result<()> {
    let failed = |e| Error::internal("cannot listen to signals").with_source(e);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            // A system without signals leaves the keys.
            let _ = runtime.block_on(pass_on_signals(signals));
        })
        .map(drop)
        .map_err(failed)
}

#[cfg(unix)]
async fn pass_on_signals(signals: Sender<Signal>) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // Whoever starts it with `nohup` wants it to go on.
    let mut hangup = match hangup_is_ignored() {
        true => None,
        false => Some(signal(SignalKind::hangup())?),
    };
    loop {
        let hung_up = async {
            match &mut hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        let signal = tokio::select! {
            _ = interrupt.recv() => Signal::Interrupt,
            _ = terminate.recv() => Signal::Interrupt,
            _ = hung_up => Signal::Hangup,
        };
        let _ = signals.try_send(signal);
    }
}

/// As `/proc` says; elsewhere nobody knows.
#[cfg(unix)]
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 << (nix::sys::signal::Signal::SIGHUP as i32 - 1) != 0)
}

#[cfg(not(unix))]
async fn pass_on_signals(signals: Sender<Signal>) -> std::io::Result<()> {
    loop {
        tokio::signal::ctrl_c().await?;
        let _ = signals.try_send(Signal::Interrupt);
    }
}
