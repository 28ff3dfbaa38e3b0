//! Log lines: to the terminal, and from the moment that there is a project into its `vfaq.log`.
//!
//! Holds: neither way ever stops the show; a log that cannot be written is given up silently.
//! No secret gets through, whoever wrote the line.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use super::terminal::LogWriter;
use crate::base::redact::hide;

/// A log of an earlier show that is longer than this is put aside.
const ROTATE_BYTES: u64 = 8 << 20;
/// Lines from before there is a project.
const EARLY_BYTES: usize = 64 << 10;

static FILE: Mutex<LogFile> = Mutex::new(LogFile::Early(Vec::new()));

enum LogFile {
    Early(Vec<u8>),
    Open(File),
    None,
}

fn file() -> MutexGuard<'static, LogFile> {
    FILE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Starts logging. `RUST_LOG` wins over `verbose`.
pub fn start(verbose: u8) {
    let level = match verbose {
        0 => "info,jack_sys=warn",
        1 => "vfaq=debug,info,jack_sys=warn",
        _ => "vfaq=trace,debug",
    };
    let filter = || EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let terminal = fmt::layer()
        .with_writer(|| Hiding(LogWriter))
        .with_target(false)
        .with_timer(Clock)
        .with_ansi(std::io::IsTerminal::is_terminal(&io::stderr()))
        .with_filter(filter());
    let file = fmt::layer()
        .with_writer(|| Hiding(ToFile))
        .with_timer(Clock)
        .with_ansi(false)
        .with_filter(filter());
    // A second start (in a test) keeps the first.
    let _ = tracing_subscriber::registry().with(terminal).with(file).try_init();
}

/// From now on log lines go into `folder/vfaq.log` too, those from before first.
pub fn into_project(folder: &Path) {
    let path = folder.join("vfaq.log");
    if std::fs::metadata(&path).is_ok_and(|m| m.len() > ROTATE_BYTES) {
        let _ = std::fs::rename(&path, folder.join("vfaq.1.log"));
    }
    let opened = OpenOptions::new().create(true).append(true).open(path);
    let mut log = file();
    if let LogFile::Early(early) = &*log {
        *log = match opened {
            Ok(mut open) => {
                let _ = open.write_all(early);
                LogFile::Open(open)
            }
            Err(_) => LogFile::None,
        };
    }
}

/// Passes lines on without the secrets in them.
struct Hiding<W>(W);

impl<W: Write> Write for Hiding<W> {
    /// Takes one event, which the subscriber writes in one piece.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0.write_all(hide(&String::from_utf8_lossy(event)).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

struct ToFile;

impl Write for ToFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match &mut *file() {
            LogFile::Early(early) if early.len() + line.len() <= EARLY_BYTES => {
                early.extend_from_slice(line);
            }
            LogFile::Open(open) => open.write_all(line).unwrap_or_default(),
            LogFile::Early(_) | LogFile::None => {}
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Date and time as people read them.
struct Clock;

impl fmt::time::FormatTime for Clock {
    fn format_time(&self, w: &mut fmt::format::Writer<'_>) -> std::fmt::Result {
        w.write_str(&crate::base::clock::iso8601(crate::base::clock::wall_now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::redact::Secret;

    #[test]
    fn a_line_of_the_log_shows_no_secret() {
        #[derive(Clone, Default)]
        struct Lines(std::sync::Arc<Mutex<Vec<u8>>>);
        impl Write for Lines {
            fn write(&mut self, line: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().write(line)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        let key = Secret::new("log-k3y \"ö\"/1");
        let lines = Lines::default();
        let writer = lines.clone();
        let log = tracing_subscriber::registry()
            .with(fmt::layer().with_ansi(false).with_writer(move || Hiding(writer.clone())));
        tracing::subscriber::with_default(log, || {
            tracing::info!(key = key.reveal(), debug = ?key.reveal(), "cannot reach {}", key.reveal());
            tracing::warn!("rtmp://host/app/log-k3y%20%22%C3%B6%22%2F1 refused");
        });
        let said = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert!(said.contains("cannot reach ***") && said.contains("app/*** refused"), "{said}");
        assert!(!said.contains("log-k3y"), "{said}");
    }
}
