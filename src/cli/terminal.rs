//! The show on a terminal: the status block, redrawn in place, keys, and log lines above it.
//!
//! Holds: one thread owns the screen; nobody else writes to it while a [`Display`] is up, and
//! nobody waits for it: status, keys and log lines cross by bounded queues. The terminal gets its
//! cooked mode and its cursor back when the display is dropped, before a panic is reported, and
//! by [`restore`].

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, RwLock, TryLockError};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use crossterm::terminal::{BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate};
use crossterm::{cursor, queue, terminal};

use crate::base::error::{Error, Result};
use crate::base::telemetry::Status;
use crate::cli::keyboard::{self, Key, Keyboard};
use crate::cli::line::{Line, Style, visible_width};
use crate::cli::progress;
use crate::cli::stage::{status_block, status_line};

/// Between two log lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// How soon a key, a new status or a log line is seen.
const TICK: Duration = Duration::from_millis(50);
/// Log lines that wait to be shown; further ones are counted and lost (a log file has them all).
const MAX_LOG_LINES: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The redrawn block.
    Terminal,
    /// A log line every ten seconds.
    Lines,
}

impl Kind {
    /// What standard output is.
    pub fn detect() -> Self {
        if io::stdout().is_terminal() { Kind::Terminal } else { Kind::Lines }
    }
}

/// Shows the show until it is dropped; the last block stays on the screen.
pub struct Display {
    latest: Arc<Mutex<Option<Status>>>,
    /// Dropped to stop the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Display {
    /// Takes the terminal; what is pressed goes to `keys` at once. Nothing is drawn before the first [`Display::update`]. At most one
    /// display is up at a time.
    pub fn start(kind: Kind, keys: Sender<Key>) -> Result<Display> {
        let latest = Arc::default();
        let (stop, stopped) = crossbeam_channel::bounded(0);
        let shown = Arc::clone(&latest);
        let run: Box<dyn FnOnce() + Send> = match kind {
            Kind::Lines => Box::new(move || log_lines(&shown, &stopped)),
            Kind::Terminal => {
                let keyboard = Keyboard::take(keys);
                let log = take_screen(keyboard.is_some());
                Box::new(move || draw_blocks(&shown, &stopped, keyboard, &log))
            }
        };
        let thread = std::thread::Builder::new().name("vfaq-display".into()).spawn(run);
        let thread = thread.map_err(|e| {
            restore();
            Error::internal("cannot start the display").with_source(e)
        })?;
        Ok(Display { latest, stop: Some(stop), thread: Some(thread) })
    }

    /// The newest status wins; it is drawn within `TICK`.
    pub fn update(&self, status: &Status) {
        *lock(&self.latest) = Some(status.clone());
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        // From here on, log lines find their own way; those before are shown by the thread.
        close_log();
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // A panic of the display was reported when it happened, and is no reason for another.
            let _ = thread.join();
        }
        restore();
    }
}

/// Gives the terminal back for good; to be called before `std::process::exit`, which drops no
/// [`Display`]. May be called at any time, from any thread.
pub fn restore() {
    close_log();
    match lock_soon(&MODE) {
        Some(mut mode) => {
            mode.wanted = None;
            mode.leave();
        }
        None => leave_anyhow(),
    }
}

/// Prints a line to standard output: above the block while there is one.
pub fn say(line: &str) {
    if !log_to_display(format!("{line}\n").as_bytes()) {
        println!("{line}");
    }
}

/// Where log lines go: to standard error, and if that is a terminal with a block on it, above the
/// block. Never waits for the display.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogWriter;

impl tracing_subscriber::fmt::MakeWriter<'_> for LogWriter {
    type Writer = LogWriter;

    fn make_writer(&self) -> LogWriter {
        LogWriter
    }
}

impl Write for LogWriter {
    /// Takes one event, which the subscriber writes in one piece.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        if io::stderr().is_terminal() && log_to_display(event) {
            return Ok(event.len());
        }
        progress::clear();
        io::stderr().write(event)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// The way above the block while one is up.
static LOG: RwLock<Option<Sender<Vec<u8>>>> = RwLock::new(None);
static LOST_LOG_LINES: AtomicU64 = AtomicU64::new(0);

fn close_log() {
    *LOG.write().unwrap_or_else(PoisonError::into_inner) = None;
}

/// `false` if no block is up.
fn log_to_display(event: &[u8]) -> bool {
    let log = LOG.read().unwrap_or_else(PoisonError::into_inner);
    let Some(log) = &*log else { return false };
    if log.try_send(event.to_vec()).is_err() {
        LOST_LOG_LINES.fetch_add(1, Ordering::Relaxed);
    }
    true
}

/// What the terminal was asked to be, and is. A process has one terminal. Held while it is
/// written to.
static MODE: Mutex<Mode> = Mutex::new(Mode { wanted: None, entered: false });

struct Mode {
    /// By a display that is up: whether keys are read one by one (raw).
    wanted: Option<bool>,
    entered: bool,
}

impl Mode {
    /// `true` if the terminal was not in the wanted mode, but now is.
    fn enter(&mut self) -> bool {
        let Some(raw) = self.wanted else { return false };
        if self.entered {
            return false;
        }
        self.entered = true;
        // A terminal that cannot do this shows the block all the same.
        if raw {
            let _ = terminal::enable_raw_mode();
        }
        let _ = crossterm::execute!(io::stdout(), cursor::Hide);
        true
    }

    fn leave(&mut self) {
        if self.entered {
            self.entered = false;
            leave_anyhow();
        }
    }
}

fn leave_anyhow() {
    let _ = terminal::disable_raw_mode();
    let _ = crossterm::execute!(io::stdout(), cursor::Show);
}

/// The lock, unless somebody keeps it for long: a terminal that takes no more text, or a panic
/// of the very thread that has it.
fn lock_soon<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    for _ in 0..100 {
        match mutex.try_lock() {
            Ok(guard) => return Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
            #[expect(
                clippy::disallowed_methods,
                reason = "a lock has no wait with a limit, and the terminal must be given back"
            )]
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    None
}

/// Sets the mode, makes sure that a panic is reported on a usable terminal, and opens the way for
/// log lines.
fn take_screen(raw: bool) -> Receiver<Vec<u8>> {
    static PANIC_HOOK: Once = Once::new();
    PANIC_HOOK.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            // The display waits while the lock is held; if the show goes on, it then takes the
            // terminal again and draws below the report.
            let mode = lock_soon(&MODE).map(|mut mode| {
                mode.leave();
                mode
            });
            if mode.is_none() {
                leave_anyhow();
            }
            report(info);
        }));
    });
    let mut mode = lock(&MODE);
    mode.wanted = Some(raw);
    mode.enter();
    let (sender, receiver) = crossbeam_channel::bounded(MAX_LOG_LINES);
    *LOG.write().unwrap_or_else(PoisonError::into_inner) = Some(sender);
    receiver
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread where there is no terminal.
fn log_lines(latest: &Mutex<Option<Status>>, stopped: &Receiver<()>) {
    while stopped.recv_timeout(LINE_EVERY) == Err(RecvTimeoutError::Timeout) {
        if let Some(status) = lock(latest).take() {
            tracing::info!("{}", status_line(&status));
        }
    }
}

/// The thread where there is one.
fn draw_blocks(
    latest: &Mutex<Option<Status>>,
    stopped: &Receiver<()>,
    mut keyboard: Option<Keyboard>,
    log: &Receiver<Vec<u8>>,
) {
    let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut screen = Screen::default();
    let mut status = None;
    let mut keys_shown = keyboard.is_some();
    let mut drawn_for = None;
    loop {
        let mut changed = false;
        if let Some(board) = &keyboard {
            match board.read(TICK) {
                Ok(toggled) => {
                    changed = toggled;
                    keys_shown ^= toggled;
                }
                Err(e) => {
                    tracing::warn!("the keyboard cannot be read any more: {e}");
                    keyboard = None;
                    keys_shown = false;
                }
            }
        } else {
            let _ = stopped.recv_timeout(TICK);
        }
        let stopping = stopped.try_recv() == Err(TryRecvError::Disconnected);
        let mut mode = lock(&MODE);
        if mode.enter() {
            screen.forget();
            changed = true;
        }
        if let Some(newest) = lock(latest).take() {
            status = Some(newest);
            changed = true;
        }
        let above = log_text(log);
        let (columns, rows) = terminal::size().unwrap_or((80, 24));
        changed |= drawn_for.replace((columns, rows)) != Some((columns, rows));
        if changed || !above.is_empty() || stopping {
            // The last column stays free: some terminals wrap as soon as it is written.
            let width = usize::from(columns.max(2) - 1);
            let mut block = status.as_ref().map_or(vec![], |s| status_block(s, width, colour));
            if keys_shown && !stopping && !block.is_empty() {
                block.push(keys_line(width, colour));
            }
            block.truncate(usize::from(rows.max(2) - 1));
            let bytes = screen.redraw(&above, &block, usize::from(columns));
            // A terminal that has gone away must not end the show.
            let mut stdout = io::stdout().lock();
            let _ = stdout.write_all(&bytes).and_then(|()| stdout.flush());
        }
        drop(mode);
        if stopping {
            return;
        }
    }
}

fn keys_line(width: usize, colour: bool) -> String {
    let mut line = Line::unlabelled(width, colour);
    line.put(Style::Dim, keyboard::HELP);
    line.finish()
}

/// The log lines that wait, and how many were lost.
fn log_text(log: &Receiver<Vec<u8>>) -> Vec<u8> {
    let mut text: Vec<u8> = log.try_iter().flatten().collect();
    let lost = LOST_LOG_LINES.swap(0, Ordering::Relaxed);
    if lost > 0 {
        text.extend_from_slice(format!("{lost} log lines were lost here\n").as_bytes());
    }
    text
}

/// What stands on the screen: the block, with the cursor at the start of the row below it.
#[derive(Default)]
struct Screen {
    /// Columns that each line of it takes.
    drawn: Vec<usize>,
}

impl Screen {
    /// Somebody else has written; the next block is drawn where the cursor is now.
    fn forget(&mut self) {
        self.drawn.clear();
    }

    /// What to send to a terminal of `columns` to have `above` printed and the block below it.
    fn redraw(&mut self, above: &[u8], block: &[String], columns: usize) -> Vec<u8> {
        // A terminal that became narrower may have wrapped the lines.
        let rows: usize = self.drawn.iter().map(|w| w.div_ceil(columns.max(1)).max(1)).sum();
        self.drawn = block.iter().map(|line| visible_width(line)).collect();
        let mut bytes = Vec::new();
        // Writing to a Vec cannot fail.
        let _ = queue!(bytes, BeginSynchronizedUpdate);
        if rows > 0 {
            let _ = queue!(bytes, cursor::MoveUp(rows.try_into().unwrap_or(u16::MAX)));
        }
        if !above.is_empty() {
            let _ = queue!(bytes, Clear(ClearType::FromCursorDown));
        }
        // Raw mode does not return the carriage for a line feed.
        for line in above.strip_suffix(b"\n").unwrap_or(above).split(|b| *b == b'\n') {
            if !above.is_empty() {
                bytes.extend_from_slice(line);
                bytes.extend_from_slice(b"\r\n");
            }
        }
        for line in block {
            bytes.extend_from_slice(line.as_bytes());
            let _ = queue!(bytes, Clear(ClearType::UntilNewLine));
            bytes.extend_from_slice(b"\r\n");
        }
        let _ = queue!(bytes, Clear(ClearType::FromCursorDown), EndSynchronizedUpdate);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|t| t.to_string()).collect()
    }

    /// The rows of the screen that are not empty.
    fn shown(terminal: &vt100::Parser) -> Vec<String> {
        let rows = terminal.screen().rows(0, 40);
        rows.map(|row| row.trim_end().to_owned()).filter(|row| !row.is_empty()).collect()
    }

    #[test]
    fn the_block_is_redrawn_in_place_below_the_log() {
        let mut terminal = vt100::Parser::new(10, 40, 0);
        let mut screen = Screen::default();
        terminal.process(b"$ vfaq live\r\n");
        terminal.process(&screen.redraw(b"", &lines(&["LIVE 1", "long long line", "gone"]), 40));
        terminal.process(&screen.redraw(b"", &lines(&["LIVE 2", "\x1b[32mline\x1b[0m"]), 40));
        assert_eq!(shown(&terminal), ["$ vfaq live", "LIVE 2", "line"]);
        let log = b"WARN a\nWARN b\n";
        terminal.process(&screen.redraw(log, &lines(&["LIVE 3", "line"]), 40));
        assert_eq!(shown(&terminal), ["$ vfaq live", "WARN a", "WARN b", "LIVE 3", "line"]);
    }

    #[test]
    fn at_the_bottom_of_the_screen_the_log_scrolls_and_the_block_stays_whole() {
        let mut terminal = vt100::Parser::new(5, 40, 0);
        let mut screen = Screen::default();
        let block = lines(&["LIVE", "runway"]);
        for n in 0..20 {
            terminal.process(&screen.redraw(format!("line {n}\n").as_bytes(), &block, 40));
        }
        assert_eq!(shown(&terminal), ["line 18", "line 19", "LIVE", "runway"]);
    }

    #[test]
    fn what_a_panic_wrote_is_not_drawn_over() {
        let mut terminal = vt100::Parser::new(10, 40, 0);
        let mut screen = Screen::default();
        terminal.process(&screen.redraw(b"", &lines(&["LIVE 1"]), 40));
        terminal.process(b"panicked\r\n");
        screen.forget();
        terminal.process(&screen.redraw(b"", &lines(&["LIVE 2"]), 40));
        terminal.process(&screen.redraw(b"", &lines(&["LIVE 3"]), 40));
        assert_eq!(shown(&terminal), ["LIVE 1", "panicked", "LIVE 3"]);
    }
}
