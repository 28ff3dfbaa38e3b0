//! A window on a projector: pictures of the show, full-screen.
//!
//! Holds: every window is a process of its own, this program started again as `vfaq window`, and
//! [`Window`] is its handle. A display server that dies takes its clients with it (Xlib calls
//! `exit`), and so may a graphics driver: they take the window, not the show. Pictures go to it
//! through a pipe as I420; scaling, RGB and the display server cost the show nothing. The way back
//! is a pipe of reports (`wire`).

pub mod child;
mod wire;

use std::fmt;
use std::io::{BufRead, BufReader, PipeReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use serde::{Deserialize, Serialize};

use crate::media::{Frame, FrameRef};
use wire::{Order, Report};

/// How long a window may take until it is on the monitor.
const OPENS_WITHIN: Duration = Duration::from_secs(5);

/// Which monitor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MonitorChoice {
    /// The one that the desktop calls its first.
    Default,
    /// From 1, in the order of [`monitors`].
    Number(u32),
    /// By its name, in any case.
    Name(String),
}

/// A window that is wanted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    pub title: String,
    pub monitor: MonitorChoice,
    /// An ordinary window of this size in pixels, for rehearsal. Without it full-screen, the
    /// mouse pointer hidden.
    pub size: Option<(u32, u32)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Monitor {
    /// From 1.
    pub number: u32,
    pub name: String,
    /// In pixels.
    pub size: (u32, u32),
    pub refresh_hz: Option<f64>,
    /// Of its upper left corner, in pixels of the desktop.
    pub position: (i32, i32),
}

/// Why there is no window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Failure {
    /// No display server, or none that lets this program in.
    NoDisplay(String),
    /// The message lists those that there are.
    NoSuchMonitor(String),
    Failed(String),
}

/// Why a window is no longer there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Closed {
    /// Esc or Q was pressed in it.
    Key,
    /// By the window manager: its close button, for one.
    WindowManager,
    MonitorGone,
    /// The display server ended, or the window failed: its last words.
    Lost(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::NoDisplay(why) | Failure::NoSuchMonitor(why) | Failure::Failed(why) => {
                f.write_str(why)
            }
        }
    }
}

impl std::error::Error for Failure {}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Closed::Key => f.write_str("closed with Esc or Q"),
            Closed::WindowManager => f.write_str("closed by the window manager"),
            Closed::MonitorGone => f.write_str("its monitor was unplugged"),
            // Its last words are a library's, and for the log.
            Closed::Lost(_) => f.write_str("the window was lost: the display server is gone"),
        }
    }
}

/// The monitors that there are.
pub fn monitors() -> Result<Vec<Monitor>, Failure> {
    monitors_by(&this_program()?)
}

/// Opens a window and waits, for 5 s at most, until it is there: black.
pub fn open(request: Request) -> Result<Window, Failure> {
    open_by(&this_program()?, request)
}

/// As [`monitors`], asking `program`, which is a `vfaq`.
pub fn monitors_by(program: &Path) -> Result<Vec<Monitor>, Failure> {
    // Dropped, and so ended, as soon as it has answered.
    match Process::start(program, &Order::List)?.1 {
        Report::Monitors(monitors) => Ok(monitors),
        other => Err(unexpected(&other)),
    }
}

/// As [`open`], with the window in `program`, which is a `vfaq`.
pub fn open_by(program: &Path, request: Request) -> Result<Window, Failure> {
    match Process::start(program, &Order::Open(request))? {
        (process, Report::Open(_)) => Ok(Window { process }),
        (_, other) => Err(unexpected(&other)),
    }
}

fn unexpected(report: &Report) -> Failure {
    Failure::Failed(format!("the window's process gave an odd answer: {report:?}"))
}

/// The very program that runs, also when its file has been replaced by a newer one since.
fn this_program() -> Result<PathBuf, Failure> {
    if cfg!(target_os = "linux") {
        return Ok(PathBuf::from("/proc/self/exe"));
    }
    std::env::current_exe()
        .map_err(|e| Failure::Failed(format!("cannot find this program's own file: {e}")))
}

/// An open window. Dropping it closes it.
pub struct Window {
    process: Process,
}

impl Window {
    /// Hands a picture over: the cost of a copy, and no waiting. It is scaled to the window with
    /// its shape kept. One that nobody has fetched by the next call gives way to that, and counts
    /// as dropped.
    pub fn show(&self, picture: &FrameRef<'_>) {
        self.process.shared.put(picture);
    }

    /// Why it is closed; as long as it is not, nothing.
    pub fn closed(&self) -> Option<Closed> {
        self.process.shared.state().closed.clone()
    }

    /// Pictures that were on the monitor.
    pub fn shown(&self) -> u64 {
        self.process.shared.shown.load(Ordering::Relaxed)
    }

    /// Pictures that gave way to newer ones.
    pub fn dropped(&self) -> u64 {
        self.process.shared.dropped.load(Ordering::Relaxed)
    }

    /// Width and height of the window in pixels.
    pub fn size(&self) -> (u32, u32) {
        self.process.shared.state().size
    }
}

/// What the handle shares with its two threads.
#[derive(Default)]
struct Shared {
    slot: Mutex<Slot>,
    changed: Condvar,
    state: Mutex<State>,
    shown: AtomicU64,
    dropped: AtomicU64,
}

/// Room for one picture on its way to the feeder.
#[derive(Default)]
struct Slot {
    picture: Option<Frame>,
    /// The last one's memory.
    spare: Option<Frame>,
    ended: bool,
}

#[derive(Default)]
struct State {
    size: (u32, u32),
    closed: Option<Closed>,
}

impl Shared {
    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, picture: &FrameRef) {
        let mut slot = self.slot();
        if slot.ended {
            return;
        }
        let waiting = slot.picture.take();
        if waiting.is_some() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        let mut frame = waiting.or_else(|| slot.spare.take()).unwrap_or_else(|| Frame::black(0, 0));
        wire::copy(picture, &mut frame);
        slot.picture = Some(frame);
        self.changed.notify_one();
    }

    /// Waits for the next picture; `used` is the memory of the last one.
    fn next(&self, used: Option<Frame>) -> Option<Frame> {
        let mut slot = self.slot();
        slot.spare = used;
        loop {
            if slot.ended {
                return None;
            }
            if let Some(picture) = slot.picture.take() {
                return Some(picture);
            }
            slot = self.changed.wait(slot).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn end(&self) {
        self.slot().ended = true;
        self.changed.notify_one();
    }
}

/// A started `vfaq window`. Dropping it kills the process: it holds nothing worth saving.
struct Process {
    child: Child,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Process {
    /// Starts it, and waits for its first report.
    fn start(program: &Path, order: &Order) -> Result<(Self, Report), Failure> {
        let failed = |what: &str, e: &dyn fmt::Display| {
            Failure::Failed(format!("cannot {what} for the window: {e}"))
        };
        let order = serde_json::to_string(order).map_err(|e| failed("write the order", &e))?;
        let (reports, sink) = std::io::pipe().map_err(|e| failed("make a pipe", &e))?;
        let mut command = Command::new(program);
        // Ordinary log lines are no last words.
        command.arg("window").arg(order).env("RUST_LOG", "error").env("RUST_BACKTRACE", "0");
        command.stdin(Stdio::piped());
        // What Xlib or a panic says comes between the reports: that is its last words.
        command.stdout(sink.try_clone().map_err(|e| failed("make a pipe", &e))?).stderr(sink);
        #[cfg(unix)]
        {
            use std::os::unix::process::CommandExt;
            // The terminal's Ctrl-C is for the show, which then decides when the window closes.
            command.arg0("vfaq").process_group(0);
        }
        let child = command.spawn().map_err(|e| failed("start a process", &e))?;
        // It holds our copies of the pipe's other end: without them, the pipe ends with the child.
        drop(command);

        let shared = Arc::new(Shared::default());
        let mut process = Process { shared: shared.clone(), threads: Vec::new(), child };
        let pictures = process.child.stdin.take();
        let (first, answer) = bounded(1);
        process.spawn("window-reports", {
            let shared = shared.clone();
            move || listen(reports, &shared, &first)
        })?;
        let report = process.first_report(&answer)?;
        if let (Report::Open(_), Some(pictures)) = (&report, pictures) {
            process.spawn("window-feeder", move || feed(pictures, &shared))?;
        }
        Ok((process, report))
    }

    fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
        let thread = thread::Builder::new()
            .name(name.into())
            .spawn(run)
            .map_err(|e| Failure::Failed(format!("cannot start a thread for the window: {e}")))?;
        self.threads.push(thread);
        Ok(())
    }

    fn first_report(&self, answer: &Receiver<Report>) -> Result<Report, Failure> {
        match answer.recv_timeout(OPENS_WITHIN) {
            Ok(Report::Failed(failure)) => Err(failure),
            Ok(report) => Ok(report),
            Err(RecvTimeoutError::Timeout) => Err(Failure::Failed(format!(
                "the window did not come up within {} s: the display server does not answer",
                OPENS_WITHIN.as_secs()
            ))),
            Err(RecvTimeoutError::Disconnected) => {
                let closed = self.shared.state().closed.clone();
                let why = closed.map_or_else(String::new, |closed| closed.to_string());
                Err(Failure::Failed(format!("the window did not come up: {why}")))
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.shared.end();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Writes pictures to the process until either ends.
fn feed(mut pictures: ChildStdin, shared: &Shared) {
    wire::widen(&pictures);
    let mut used = None;
    while let Some(picture) = shared.next(used.take()) {
        if wire::write(&mut pictures, &picture).is_err() {
            break;
        }
        used = Some(picture);
    }
    shared.end();
}

/// Lines of last words that are kept, and characters of each.
const LAST_WORDS: (usize, usize) = (2, 300);

/// Reads reports until the process ends. Sends on the first one.
fn listen(reports: PipeReader, shared: &Shared, first: &Sender<Report>) {
    let mut words = Vec::new();
    let mut lines = BufReader::new(reports).split(b'\n');
    while let Some(Ok(line)) = lines.next() {
        let line = String::from_utf8_lossy(&line);
        let Ok(report) = serde_json::from_str::<Report>(&line) else {
            // Where to find a backtrace is none of them.
            if !line.trim().is_empty() && !line.starts_with("note:") {
                words.push(line.trim().chars().take(LAST_WORDS.1).collect::<String>());
                if words.len() > LAST_WORDS.0 {
                    words.remove(0);
                }
            }
            continue;
        };
        match &report {
            Report::Shown => _ = shared.shown.fetch_add(1, Ordering::Relaxed),
            Report::Skipped => _ = shared.dropped.fetch_add(1, Ordering::Relaxed),
            Report::Open(size) | Report::Size(size) => shared.state().size = *size,
            Report::Closed(why) => shared.state().closed = Some(why.clone()),
            Report::Monitors(_) | Report::Failed(_) => {}
        }
        // Full from the second one on.
        let _ = first.try_send(report);
    }
    shared.state().closed.get_or_insert_with(|| {
        let words = words.join(": ");
        tracing::debug!("a window ended by itself: {words}");
        Closed::Lost(words)
    });
    shared.end();
}
