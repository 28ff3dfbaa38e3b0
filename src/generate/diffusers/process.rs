//! The Python process: started, spoken to line by line, ended.
//!
//! Holds: an error of [`Process::next`] or [`Process::send`] means that the process is of no more
//! use, and says why: how it ended and what it last wrote to stderr. Dropping it kills it and
//! whatever it started. It also ends by itself when its stdin is closed, so it never outlives vfaq.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::protocol::{Command, Event, Failure, FailureKind, Hello, VERSION};
use crate::base::error::{Error, Result};
use crate::base::redact;

/// Longest line that is taken.
const LONGEST_LINE: usize = 1 << 20;
/// Longest wait for the first line: importing torch from a cold disk takes its time.
const START_PATIENCE: Duration = Duration::from_secs(180);
/// Longest wait for the worker to read a line.
const SEND_PATIENCE: Duration = Duration::from_secs(10);
/// Longest wait for a process to end whose stdout has ended, and for the rest of its stderr.
const END_PATIENCE: Duration = Duration::from_secs(2);
/// Lines of stderr that are kept, and characters of each.
const KEPT_LINES: usize = 40;
const KEPT_CHARS: usize = 500;
/// Lines of stderr that go into an error.
const TOLD_LINES: usize = 6;

pub const SETUP: &str =
    "run scripts/diffusers-setup, or set backend.python to a Python that has it";

/// How the process is started.
pub struct Launch {
    pub python: PathBuf,
    pub script: PathBuf,
    pub arguments: Vec<String>,
}

pub struct Process {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    errors: Errors,
    /// Whether a line was begun and, its future dropped, never ended.
    torn: bool,
    pub hello: Hello,
}

/// The last lines of stderr, and the task that reads them.
struct Errors {
    kept: Arc<Mutex<VecDeque<String>>>,
    reader: JoinHandle<()>,
}

impl Process {
    /// Starts it and waits for its first line.
    pub async fn start(launch: &Launch) -> Result<Self> {
        if !launch.python.is_file() {
            return Err(Error::usage(format!(
                "there is no Python at {}, which the diffusers worker runs on; {SETUP}",
                launch.python.display()
            )));
        }
        let mut command = tokio::process::Command::new(&launch.python);
        command
            .arg("-u")
            .arg(&launch.script)
            .args(&launch.arguments)
            .env("PYTHONUTF8", "1")
            .env("TOKENIZERS_PARALLELISM", "false")
            .env("HF_HUB_DISABLE_TELEMETRY", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        // Ctrl-C in the terminal is for vfaq alone.
        #[cfg(unix)]
        command.process_group(0);
        let mut child = command.spawn().map_err(|e| {
            Error::usage(format!(
                "{} (backend.python) cannot be started; {SETUP}",
                launch.python.display()
            ))
            .with_source(e)
        })?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(Error::internal("the diffusers worker has no pipes"));
        };
        let unknown = Hello {
            protocol: 0,
            python: String::new(),
            diffusers: String::new(),
            torch: String::new(),
            device: String::new(),
            notes: Vec::new(),
        };
        let mut process = Process {
            child,
            stdin,
            lines: Lines::new(BufReader::new(stdout)),
            errors: Errors::read(stderr),
            torn: false,
            hello: unknown,
        };
        process.hello = process.greeting().await?;
        Ok(process)
    }

    async fn greeting(&mut self) -> Result<Hello> {
        let event = timeout(START_PATIENCE, self.next()).await.unwrap_or_else(|_| {
            Err(Error::unavailable(format!(
                "the diffusers worker has not said anything for {} s after its start{}",
                START_PATIENCE.as_secs(),
                self.errors.told()
            )))
        })?;
        match event {
            Event::Hello(hello) if hello.protocol == VERSION => Ok(hello),
            Event::Hello(hello) => Err(Error::usage(format!(
                "the diffusers worker speaks version {} of the protocol, expected {VERSION}: vfaq \
                 and diffusers_worker.py are not of one build",
                hello.protocol
            ))),
            Event::Failed(failure) => Err(failed(&failure)),
            _ => Err(Error::unavailable("the diffusers worker began without a greeting")),
        }
    }

    pub async fn send(&mut self, command: &Command<'_>) -> Result<()> {
        if std::mem::replace(&mut self.torn, true) {
            return Err(Error::unavailable("the diffusers worker was sent half a line"));
        }
        let mut line = serde_json::to_vec(command).map_err(Error::fault)?;
        line.push(b'\n');
        let write = async {
            self.stdin.write_all(&line).await?;
            self.stdin.flush().await
        };
        match timeout(SEND_PATIENCE, write).await {
            Ok(Ok(())) => {
                self.torn = false;
                Ok(())
            }
            Ok(Err(_)) => Err(self.ended().await),
            Err(_) => Err(Error::unavailable(format!(
                "the diffusers worker has not read what it was sent for {} s{}",
                SEND_PATIENCE.as_secs(),
                self.errors.told()
            ))),
        }
    }

    /// What it says next. May be dropped and called again without losing a line.
    pub async fn next(&mut self) -> Result<Event> {
        let line = match self.lines.next().await {
            Ok(Some(line)) => line,
            Ok(None) => return Err(self.ended().await),
            Err(error) => return Err(error),
        };
        serde_json::from_slice(&line).map_err(|_| {
            let text = String::from_utf8_lossy(&line[..line.len().min(200)]).into_owned();
            let text = redact::hide(&text).into_owned();
            Error::unavailable(format!(
                "the diffusers worker said something that is not of the protocol: {text:?}"
            ))
        })
    }

    /// Whether it runs, as far as is known.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    #[cfg(test)]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// The error of a process whose pipes are closed.
    async fn ended(&mut self) -> Error {
        let status = timeout(END_PATIENCE, self.child.wait()).await;
        let _ = timeout(END_PATIENCE, &mut self.errors.reader).await;
        let how = match status {
            Ok(Ok(status)) => ending(status),
            _ => "closed its output without ending".to_owned(),
        };
        Error::unavailable(format!("the diffusers worker {how}{}", self.errors.told()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.errors.reader.abort();
        // Whatever it has started too; the child itself is killed and reaped by tokio.
        #[cfg(unix)]
        if let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok()) {
            let group = nix::unistd::Pid::from_raw(id);
            let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
        }
    }
}

fn ending(status: ExitStatus) -> String {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        let why = match signal {
            9 => " (the system does so when main memory runs out)",
            11 => " (a fault in torch or the GPU driver)",
            _ => "",
        };
        return format!("was killed by signal {signal}{why}");
    }
    match status.code() {
        Some(code) => format!("ended by itself with code {code}"),
        None => "ended by itself".to_owned(),
    }
}

/// The error that the worker has found by itself.
pub fn failed(failure: &Failure) -> Error {
    let message = cut(&redact::hide(&failure.message), 2000);
    match failure.kind {
        FailureKind::Cancelled => Error::unavailable("diffusers: the job was cancelled"),
        FailureKind::Memory => Error::unavailable(format!(
            "diffusers: out of memory: {message}; make generation.width and height (or \
             video_frames) smaller, take a smaller model (backend.model_id, \
             backend.video_model_id), set backend.dtype: float16, or close what else uses the GPU"
        )),
        FailureKind::Package => Error::usage(format!("diffusers: {message}; {SETUP}")),
        FailureKind::Model | FailureKind::Setting => Error::usage(format!("diffusers: {message}")),
        FailureKind::Network | FailureKind::Other => {
            Error::unavailable(format!("diffusers: {message}"))
        }
    }
}

impl Errors {
    fn read(stderr: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let kept = Arc::new(Mutex::new(VecDeque::new()));
        let ring = kept.clone();
        let reader = tokio::spawn(async move {
            let mut lines = Lines::new(BufReader::new(stderr));
            lines.cuts = true;
            while let Ok(Some(line)) = lines.next().await {
                let text = String::from_utf8_lossy(&line);
                // Progress bars write over themselves; the last state is the one to read.
                let text = text.trim_end().rsplit('\r').next().unwrap_or_default();
                let text = cut(&redact::hide(text), KEPT_CHARS);
                if text.trim().is_empty() {
                    continue;
                }
                tracing::debug!("diffusers worker: {text}");
                let mut ring = ring.lock().unwrap_or_else(PoisonError::into_inner);
                if ring.len() == KEPT_LINES {
                    ring.pop_front();
                }
                ring.push_back(text);
            }
        });
        Errors { kept, reader }
    }

    /// The end of a message: what it last wrote.
    fn told(&self) -> String {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let skip = kept.len().saturating_sub(TOLD_LINES);
        let last: Vec<&str> = kept.iter().skip(skip).map(|line| line.trim()).collect();
        if last.is_empty() {
            return "; it wrote nothing to stderr".to_owned();
        }
        format!("; the last it wrote: {}", last.join(" | "))
    }
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// Lines of bounded length.
struct Lines<R> {
    reader: R,
    line: Vec<u8>,
    /// Whether a line that is too long is cut, or else an error.
    cuts: bool,
}

impl<R: AsyncBufReadExt + Unpin> Lines<R> {
    fn new(reader: R) -> Self {
        Lines { reader, line: Vec::new(), cuts: false }
    }

    /// `None` at the end. What is read of a line stays here when the future is dropped.
    async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            // A pipe that breaks has ended.
            let Ok(read) = self.reader.fill_buf().await else { return Ok(None) };
            if read.is_empty() {
                return Ok(
                    (self.cuts && !self.line.is_empty()).then(|| std::mem::take(&mut self.line))
                );
            }
            let end = read.iter().position(|&byte| byte == b'\n');
            let part = &read[..end.unwrap_or(read.len())];
            if self.line.len() + part.len() <= LONGEST_LINE {
                self.line.extend_from_slice(part);
            } else if !self.cuts {
                return Err(Error::unavailable(format!(
                    "the diffusers worker said a line of more than {LONGEST_LINE} bytes, which is \
                     not taken"
                )));
            }
            let used = end.map_or(read.len(), |end| end + 1);
            self.reader.consume(used);
            if end.is_some() {
                return Ok(Some(std::mem::take(&mut self.line)));
            }
        }
    }
}
