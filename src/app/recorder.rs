//! The recording: begun, ended, split and marked while the show runs, and entered in the project.
//!
//! Holds: one file at a time is written. One that was asked to end is finished beside it, nothing of
//! it is lost; a split begins with a key frame, so its two files have every frame once. What cannot
//! be done is said and changes nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::archive::journal::Event as JournalEvent;
use crate::archive::{self, Recording, RecordingKind};
use crate::base::clock::{Clock, iso8601};
use crate::base::error::{Error, Result};
use crate::base::telemetry::OutputState;
use crate::base::time::FrameRate;
use crate::config::output::Target;
use crate::stream::output::{Chapters, Feeds, Output, Wish};

/// Files that may be on their way to an end; each keeps what waits for it in memory.
const MOST_ENDING: usize = 4;

pub struct Recorder {
    /// Of the show's own encode.
    feeds: Feeds,
    archive: archive::Handle,
    clock: Arc<dyn Clock>,
    fps: FrameRate,
    /// The last one is the present one, or was; those before it are being finished.
    takes: Vec<Take>,
}

struct Take {
    output: Output,
    chapters: Chapters,
    /// Parts that stand in the state.
    noted: usize,
    /// Parts that stand in the journal.
    entered: usize,
    /// It was asked to end.
    ending: bool,
    /// Its end stands in the state.
    closed: bool,
}

impl Recorder {
    pub fn new(
        feeds: Feeds,
        archive: archive::Handle,
        clock: Arc<dyn Clock>,
        fps: FrameRate,
    ) -> Self {
        Recorder { feeds, archive, clock, fps, takes: Vec::new() }
    }

    /// Begins to write `path`: with the show's start, or at once if it has started.
    pub fn begin(&mut self, path: PathBuf, started: bool) -> Result<()> {
        let first = path.clone();
        let name = Box::new(move |part| archive::recording_part(&first, part));
        let chapters = Chapters::default();
        let output = Output::record(path, name, !started, chapters.clone(), &self.feeds)?;
        let take = Take { output, chapters, noted: 0, entered: 0, ending: false, closed: false };
        self.takes.push(take);
        Ok(())
    }

    /// What is recorded at present, or was last.
    pub fn current(&self) -> Option<&Output> {
        self.takes.last().map(|take| &take.output)
    }

    /// Goes on in the next file that is free.
    ///
    /// # Errors
    /// `Conflict`: it is recording, or too many files are not finished; `Io`: there is no room.
    pub fn start(&mut self, started: bool, least_free_mb: u64) -> Result<()> {
        if self.running().is_some() {
            return Err(Error::conflict("the recording runs already; stop it first, or split it"));
        }
        self.look();
        if self.takes.iter().filter(|take| !take.closed).count() >= MOST_ENDING {
            return Err(Error::conflict("the disk is slow: earlier files are not finished yet"));
        }
        let path = self.archive.next_recording()?;
        if let Some(free) = archive::disk::free_bytes(path.parent().unwrap_or(Path::new(".")))
            && free >> 20 < least_free_mb
        {
            return Err(Error::unavailable(format!(
                "{} MB are free, and recording ends below {least_free_mb} MB; free some room",
                free >> 20
            )));
        }
        // One that ended by itself waits for a wish.
        self.end();
        self.begin(path, started)
    }

    /// Ends the file.
    ///
    /// # Errors
    /// `Conflict`: nothing is recorded.
    pub fn stop(&mut self) -> Result<()> {
        self.running().ok_or_else(nothing)?;
        self.end();
        Ok(())
    }

    /// Goes on in a new part, from the next key frame on.
    ///
    /// # Errors
    /// `Conflict`: nothing is recorded.
    pub fn split(&mut self) -> Result<()> {
        self.running().ok_or_else(nothing)?.output.wish(Wish::Split);
        Ok(())
    }

    /// A chapter begins with output frame `frame`.
    pub fn mark(&mut self, frame: u64, name: &str) {
        self.archive.journal(JournalEvent::Mark { frame, name: name.to_owned() });
        if let Some(take) = self.running() {
            take.chapters.add(self.fps.pts_ns(frame), name);
        }
    }

    fn running(&self) -> Option<&Take> {
        self.takes.last().filter(|take| {
            let lives =
                matches!(take.output.info.state(), OutputState::Starting | OutputState::Live);
            lives && !take.ending
        })
    }

    /// Enters what is new in the journal and the state.
    pub fn look(&mut self) {
        for take in &mut self.takes {
            take.enter_parts(&self.archive, self.fps);
            // A killed show still knows its files.
            if take.output.info.parts().len() != take.noted {
                take.note(&self.archive, &*self.clock, false);
            }
            if take.ending && !take.closed && take.output.join(Duration::ZERO) {
                take.close(&self.archive, &*self.clock, self.fps);
            }
        }
        // What is shown of the last one is its end.
        let last = self.takes.len().saturating_sub(1);
        let mut place = 0;
        self.takes.retain(|take| {
            place += 1;
            !take.closed || place > last
        });
    }

    /// Everything is to be finished.
    pub fn end(&mut self) {
        for take in self.takes.iter_mut().filter(|take| !take.ending) {
            take.ending = true;
            take.output.wish(Wish::End);
        }
    }

    /// All that may not be finished.
    pub fn outputs(&self) -> impl Iterator<Item = &Output> {
        self.takes.iter().map(|take| &take.output)
    }

    /// Enters how everything ended.
    pub fn close(&mut self) {
        for take in self.takes.iter_mut().filter(|take| !take.closed) {
            take.close(&self.archive, &*self.clock, self.fps);
        }
    }
}

fn nothing() -> Error {
    Error::conflict("nothing is recorded at present; start it first")
}

impl Take {
    fn close(&mut self, archive: &archive::Handle, clock: &dyn Clock, fps: FrameRate) {
        self.closed = true;
        self.enter_parts(archive, fps);
        let complete = self.output.info.state() == OutputState::Stopped;
        self.note(archive, clock, complete);
    }

    fn enter_parts(&mut self, archive: &archive::Handle, fps: FrameRate) {
        let starts = self.output.info.part_starts();
        for (path, start_ns) in starts.iter().skip(self.entered) {
            archive.journal(JournalEvent::Recording {
                file: name(path),
                frame: fps.frames_in(*start_ns),
            });
        }
        self.entered = starts.len();
    }

    /// Enters the recording in the project's state, once there is a file.
    fn note(&mut self, archive: &archive::Handle, clock: &dyn Clock, complete: bool) {
        let Target::File { path, .. } = &self.output.spec.target else { return };
        let parts: Vec<String> = self.output.info.parts().iter().map(|p| name(p)).collect();
        self.noted = parts.len();
        if parts.is_empty() {
            return;
        }
        let file = name(path);
        let frames = self.output.info.frames.get();
        let started_at = iso8601(clock.wall());
        archive.update_state(|state| match state.recordings.iter_mut().find(|r| r.file == file) {
            Some(known) => {
                known.frames = frames;
                known.parts = parts;
                known.complete = complete;
            }
            None => state.recordings.push(Recording {
                file,
                kind: RecordingKind::Live,
                started_at,
                frames,
                parts,
                complete,
                ..Default::default()
            }),
        });
    }
}

fn name(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}
