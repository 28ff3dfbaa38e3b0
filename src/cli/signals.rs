//! Signals that ask the program to end.

use crossbeam_channel::Sender;

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
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        let signal = tokio::select! {
            _ = interrupt.recv() => Signal::Interrupt,
            _ = terminate.recv() => Signal::Interrupt,
            _ = hangup.recv() => Signal::Hangup,
        };
        let _ = signals.try_send(signal);
    }
}

#[cfg(not(unix))]
async fn pass_on_signals(signals: Sender<Signal>) -> std::io::Result<()> {
    loop {
        tokio::signal::ctrl_c().await?;
        let _ = signals.try_send(Signal::Interrupt);
    }
}
