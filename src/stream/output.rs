//! Outputs: where the encoded stream goes. Each has its own queue and thread; what happens to one
//! is seen on no other.
//!
//! Policies when a queue is full: the recording's and a file's never leak; at 64 MB
//! (over a minute of disk standing still) the output is cut off, finishes what it has and says so.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use super::fanout::{Fanout, QueueLoad, Unit, UnitKind};
use super::mp4::Mp4Writer;
use super::priority::{self, Importance};
use crate::base::error::{Error, Result};
use crate::base::telemetry::{Counter, Gauge, OutputState};

/// What may wait for an output.
const QUEUE_BYTES: u64 = 64 << 20;

/// A parsed output URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `null:`: encode and count.
    Null,
    /// `file:PATH`, an MP4.
    File(PathBuf),
}

impl Target {
    /// Reads an output URI. A relative path is relative to the current folder.
    pub fn parse(uri: &str) -> Result<Self> {
        // What has no scheme may be a bare key: it is not repeated.
        let (scheme, rest) = uri
            .split_once(':')
            .ok_or_else(|| Error::usage("an output has no scheme; use file:PATH.mp4 or null:"))?;
        match scheme {
            "null" if rest.is_empty() => Ok(Target::Null),
            "file" => {
                let path = rest.strip_prefix("//").unwrap_or(rest);
                if path.is_empty() {
                    return Err(Error::usage("output 'file:' names no file; write file:PATH.mp4"));
                }
                if !path.to_ascii_lowercase().ends_with(".mp4") {
                    return Err(Error::usage(format!(
                        "output 'file:{path}': only .mp4 can be written in this release"
                    )));
                }
                Ok(Target::File(path.into()))
            }
            _ => {
                // What stands behind an unknown scheme may hold a key: it is not repeated.
                let scheme: String = scheme.chars().take(20).collect();
                Err(Error::usage(format!(
                    "output '{scheme}:...' has a scheme that this release does not know; use \
                     file:PATH.mp4 or null:"
                )))
            }
        }
    }

    /// How it is shown; without secrets.
    pub fn shown(&self) -> String {
        match self {
            Target::Null => "null:".into(),
            Target::File(path) => format!("file:{}", path.display()),
        }
    }

    /// Whether it can be written, as far as that is known before it starts.
    pub fn check(&self) -> Result<()> {
        let Target::File(path) = self else { return Ok(()) };
        if path.exists() {
            return Err(Error::usage(format!(
                "output file:{}: the file exists and is not overwritten; name another",
                path.display()
            )));
        }
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        tempfile::tempfile_in(folder).map(drop).map_err(|e| {
            Error::io(format!("output file:{}: its folder cannot be written", path.display()), e)
        })
    }
}

/// What an output says of itself.
#[derive(Default)]
pub struct OutputInfo {
    pub frames: Counter,
    pub bytes: Counter,
    live: Gauge,
    ended: Mutex<Option<Result<(), String>>>,
    parts: Mutex<Vec<PathBuf>>,
}

impl OutputInfo {
    pub fn state(&self) -> OutputState {
        match &*lock(&self.ended) {
            Some(Ok(())) => OutputState::Stopped,
            Some(Err(_)) => OutputState::Failed,
            None if self.live.get() > 0 => OutputState::Live,
            None => OutputState::Starting,
        }
    }

    pub fn error(&self) -> Option<String> {
        lock(&self.ended).as_ref().and_then(|e| e.as_ref().err().cloned())
    }

    /// The files written so far, in order.
    pub fn parts(&self) -> Vec<PathBuf> {
        lock(&self.parts).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A running output.
pub struct Output {
    pub target: Target,
    pub info: Arc<OutputInfo>,
    pub load: Arc<QueueLoad>,
    thread: Option<JoinHandle<()>>,
    /// Closes when the thread has finished.
    finished: Receiver<()>,
}

/// Names the file of part `n` (from 2) of a recording.
pub type PartName = Box<dyn Fn(u32) -> PathBuf + Send>;

impl Output {
    /// Starts an output at the next key frame.
    pub fn start(target: Target, fanout: &Arc<Fanout>) -> Result<Self> {
        let writer: Box<dyn Writer> = match &target {
            Target::Null => Box::new(Null),
            Target::File(path) => Box::new(File { path: path.clone(), parts: None, open: None }),
        };
        Output::spawn(target, writer, false, fanout)
    }

    /// Starts the recording at `path`, at the next marked key frame (the show's start); at a
    /// further one (behind a gap in time), and where another encoder begins, it goes on in a further
    /// file.
    pub fn record(path: PathBuf, part_name: PartName, fanout: &Arc<Fanout>) -> Result<Self> {
        let writer = File { path: path.clone(), parts: Some(part_name), open: None };
        Output::spawn(Target::File(path), Box::new(writer), true, fanout)
    }

    fn spawn(
        target: Target,
        writer: Box<dyn Writer>,
        at_mark: bool,
        fanout: &Arc<Fanout>,
    ) -> Result<Self> {
        let (units, load) = fanout.subscribe(QUEUE_BYTES);
        let info = Arc::new(OutputInfo::default());
        let run = Run {
            units,
            writer,
            at_mark,
            sound: VecDeque::new(),
            info: info.clone(),
            load: load.clone(),
        };
        let fanout = fanout.clone();
        let (running, finished) = bounded(0);
        let thread = std::thread::Builder::new()
            .name("output".into())
            .spawn(move || {
                run.run(&fanout);
                drop(running);
            })
            .map_err(|e| Error::internal("cannot start an output").with_source(e))?;
        Ok(Output { target, info, load, thread: Some(thread), finished })
    }

    /// Ends this output alone; it finishes in the background.
    pub fn detach(&self, fanout: &Fanout) {
        fanout.unsubscribe(&self.load);
    }

    /// Waits until it has finished, for at most `limit`; false: it has not. To be called after the
    /// fan-out was closed or it was detached.
    #[must_use]
    pub fn join(&mut self, limit: Duration) -> bool {
        // Nothing is ever sent; the channel closes.
        if self.finished.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            return false;
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        true
    }
}

trait Writer: Send {
    /// Takes a unit; the first is a key frame.
    fn write(&mut self, unit: &Unit, fanout: &Fanout, info: &OutputInfo) -> Result<()>;
    fn finish(&mut self) -> Result<()>;
}

struct Null;

impl Writer for Null {
    fn write(&mut self, _: &Unit, _: &Fanout, _: &OutputInfo) -> Result<()> {
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

struct File {
    path: PathBuf,
    parts: Option<PartName>,
    open: Option<Mp4Writer>,
}

impl Writer for File {
    fn write(&mut self, unit: &Unit, fanout: &Fanout, info: &OutputInfo) -> Result<()> {
        // An MP4 cannot carry the parameter sets of a second encoder.
        let new_part = matches!(
            unit.kind,
            UnitKind::Video { mark: true, .. } | UnitKind::Video { new_encoder: true, .. }
        );
        if let Some(part_name) = self.parts.as_ref().filter(|_| new_part && self.open.is_some()) {
            self.path = part_name(lock(&info.parts).len() as u32 + 1);
            // The part plays all the same; what comes now matters more.
            if let Some(Err(error)) = self.open.take().map(Mp4Writer::finish) {
                tracing::warn!("{error}");
            }
        }
        let writer = match &mut self.open {
            Some(writer) => writer,
            None => {
                let caps = fanout
                    .caps()
                    .ok_or_else(|| Error::internal("units came before the encoders were known"))?;
                lock(&info.parts).push(self.path.clone());
                self.open.insert(Mp4Writer::create(&self.path, &caps, unit.pts_ns)?)
            }
        };
        writer.write(unit)
    }

    fn finish(&mut self) -> Result<()> {
        self.open.take().map_or(Ok(()), Mp4Writer::finish)
    }
}

/// An output's thread.
struct Run {
    units: Receiver<Unit>,
    writer: Box<dyn Writer>,
    /// Begins at a marked key frame, not at any.
    at_mark: bool,
    /// Waits for its picture.
    sound: VecDeque<Unit>,
    info: Arc<OutputInfo>,
    load: Arc<QueueLoad>,
}

impl Run {
    fn run(mut self, fanout: &Fanout) {
        priority::set_current_thread(Importance::Picture);
        let written = self.write_all(fanout);
        // The file is finished whatever happened: what is there stays playable.
        let finished = self.writer.finish();
        let mut result = written.and(finished);
        if result.is_ok() && self.load.refused.get() > 0 {
            result = Err(Error::new(
                crate::base::error::Kind::Io,
                "cut off: the disk stood still until the queue was full",
            ));
        }
        if let Err(error) = &result {
            tracing::error!("an output failed: {error}");
        }
        *lock(&self.info.ended) = Some(result.map_err(|e| e.to_string()));
    }

    fn write_all(&mut self, fanout: &Fanout) -> Result<()> {
        let mut early = Early { at_mark: self.at_mark, ..Early::default() };
        let mut started = false;
        for unit in self.units.clone() {
            self.load.taken(&unit);
            if started {
                self.put(unit, fanout)?;
                continue;
            }
            early.add(unit);
            if early.has_key() && fanout.caps().is_some() {
                started = true;
                self.info.live.set(1);
                for unit in early.take() {
                    self.put(unit, fanout)?;
                }
            }
        }
        self.put_sound_before(u64::MAX, fanout)
    }

    /// Writes by time: sound is encoded sooner than the picture, and waits here for it, so that
    /// each part of a recording gets the sound that belongs to it.
    fn put(&mut self, unit: Unit, fanout: &Fanout) -> Result<()> {
        if unit.kind == UnitKind::Audio {
            self.sound.push_back(unit);
            return Ok(());
        }
        self.put_sound_before(unit.pts_ns, fanout)?;
        self.writer.write(&unit, fanout, &self.info)?;
        self.info.frames.add(1);
        self.info.bytes.add(unit.buffer.size() as u64);
        Ok(())
    }

    fn put_sound_before(&mut self, pts_ns: u64, fanout: &Fanout) -> Result<()> {
        while let Some(unit) = self.sound.pop_front_if(|unit| unit.pts_ns < pts_ns) {
            self.writer.write(&unit, fanout, &self.info)?;
            self.info.bytes.add(unit.buffer.size() as u64);
        }
        Ok(())
    }
}

/// What came before an output could start: pictures from the first key frame on, and the sound
/// that belongs to them, which is often encoded sooner.
#[derive(Default)]
struct Early {
    at_mark: bool,
    video: Vec<Unit>,
    audio: VecDeque<Unit>,
}

/// Sound that may wait for a key frame: the longest key frame distance is twenty seconds.
const EARLY_AUDIO: usize = 1024;

impl Early {
    fn add(&mut self, unit: Unit) {
        match unit.kind {
            UnitKind::Video { key, mark, .. } => {
                if self.has_key() || if self.at_mark { mark } else { key } {
                    self.video.push(unit);
                }
            }
            UnitKind::Audio => {
                if self.audio.len() == EARLY_AUDIO {
                    self.audio.pop_front();
                }
                self.audio.push_back(unit);
            }
        }
    }

    fn has_key(&self) -> bool {
        !self.video.is_empty()
    }

    /// All that is to be written, by time, the key frame first.
    fn take(&mut self) -> Vec<Unit> {
        let start_ns = self.video.first().map_or(0, |u| u.pts_ns);
        let mut units = std::mem::take(&mut self.video);
        units.extend(self.audio.drain(..).filter(|u| u.pts_ns >= start_ns));
        // Stable: at equal times the picture stays before the sound.
        units.sort_by_key(|u| u.pts_ns);
        units
    }
}
