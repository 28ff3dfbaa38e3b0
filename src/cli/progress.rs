//! Progress of long work on standard error: a line that is redrawn in place, or where that is no
//! terminal a line now and then.
//!
//! Holds: whatever else is printed begins on a line of its own.

#![cfg_attr(
    not(feature = "gst"),
    allow(dead_code, reason = "all work that takes long needs GStreamer")
)]

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::line::{Line, Style};
use crate::base::redact::hide;

/// A line is on the terminal that has to be taken away before anything else is printed.
static SHOWN: AtomicBool = AtomicBool::new(false);

pub struct Progress {
    terminal: bool,
    quiet: bool,
    /// Without a terminal: how often there is a line.
    every: Duration,
    told: Option<Duration>,
}

impl Progress {
    /// `quiet`: nothing is shown.
    pub fn new(quiet: bool, every: Duration) -> Self {
        Progress { terminal: io::stderr().is_terminal(), quiet, every, told: None }
    }

    /// Whether a line is due, for whoever prints it elsewhere.
    pub fn is_due(&mut self, now: Duration) -> bool {
        // The first one comes when something has happened.
        let told = *self.told.get_or_insert(now);
        let due = now >= told + self.every;
        if due {
            self.told = Some(now);
        }
        due
    }

    /// Shows `text`, behind a bar if a share is known; `now` is the time on any clock.
    pub fn show(&mut self, share: Option<f64>, text: &str, now: Duration) {
        if self.quiet {
            return;
        }
        let mut err = io::stderr();
        // Whether anybody sees it changes nothing.
        if !self.terminal {
            if self.is_due(now) {
                let _ = writeln!(err, "{text}");
            }
            return;
        }
        let mut line = Line::unlabelled(columns(), true);
        match share {
            Some(share) => line.bar(Style::Accent, share, text),
            None => line.put(Style::Plain, text),
        }
        let _ = write!(err, "\r\x1b[K{}", line.finish()).and_then(|()| err.flush());
        SHOWN.store(true, Ordering::Relaxed);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        clear();
    }
}

/// Columns of the terminal that a line may take; one that does not say how wide it is has 80.
pub fn columns() -> usize {
    let said = crossterm::terminal::size().map_or(0, |(columns, _)| columns);
    usize::from(if said == 0 { 80 } else { said }) - 1
}

/// Takes the line away. To be called before anything else is printed.
pub fn clear() {
    if SHOWN.swap(false, Ordering::Relaxed) {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
}

/// Prints a line on standard output. Long work goes on when nobody reads it any more.
pub fn say(line: &str) {
    clear();
    let mut out = io::stdout();
    // A reader behind a pipe waits for each line.
    let _ = writeln!(out, "{}", printable(line)).and_then(|()| out.flush());
}

/// Says on standard error what the user should know.
pub fn tell(text: &str) {
    clear();
    let _ = writeln!(io::stderr(), "vfaq: {}", printable(text));
}

/// Secrets hidden, and nothing in it that a terminal would obey: texts come from files and servers.
/// Colours are the program's own.
fn printable(text: &str) -> String {
    let text = hide(text);
    let colours = !text.contains('\x1b') || is_coloured(&text);
    text.chars().filter(|c| !c.is_control() || *c == '\n' || (*c == '\x1b' && colours)).collect()
}

/// Every escape sets a colour, as `Line` writes them.
fn is_coloured(text: &str) -> bool {
    text.split('\x1b').skip(1).all(|rest| {
        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == ';' || c == '['));
        rest.starts_with('[') && end.is_some_and(|end| rest[end..].starts_with('m'))
    })
}
