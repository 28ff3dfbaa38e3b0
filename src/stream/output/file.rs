//! Files: the recording, and copies of the stream in MP4, Matroska or MPEG-TS.
//!
//! Policy when the disk is slow: nothing is left out; up to 64 MB wait (over a minute), then the
//! file is cut off, finished, and says so. A file begins anew ("part") when another encoder has
//! taken over, as one file has one set of parameters; a recording also behind a gap in time, and
//! where that is wished for: at the next key frame, so that the two files have every frame once.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::chapters::Chapters;
use super::kind::{Ending, Kind, Life, Next};
use super::{QUEUE_BYTES, writer::FileWriter};
use crate::base::error::{Error, Result};
use crate::config::output::Container;
use crate::stream::fanout::{Unit, UnitKind};

/// Names the file of part `n` (from 1).
pub type PartName = Box<dyn Fn(u32) -> PathBuf + Send>;

pub struct File {
    part_name: PartName,
    container: Container,
    /// Begins at a marked key frame: the show's start.
    waits_for_mark: bool,
    /// Begins anew at every marked key frame.
    at_marks: bool,
    chapters: Chapters,
    parts: u32,
}

impl File {
    /// A copy of the stream at `path`; what has to begin anew goes to `NAME_002.mp4` and on.
    pub fn copy(path: PathBuf, container: Container) -> Self {
        let part_name = Box::new(move |n| numbered(&path, n));
        File {
            part_name,
            container,
            waits_for_mark: false,
            at_marks: false,
            chapters: Chapters::default(),
            parts: 0,
        }
    }

    /// The recording, from the show's start, or from now on.
    pub fn recording(part_name: PartName, waits_for_mark: bool, chapters: Chapters) -> Self {
        let container = Container::Mp4;
        File { part_name, container, waits_for_mark, at_marks: true, chapters, parts: 0 }
    }

    /// The number and the path of the next part.
    fn next(&self) -> (u32, PathBuf) {
        let mut part = self.parts;
        loop {
            part += 1;
            let path = (self.part_name)(part);
            // The first was looked at before the show; later names are free or left out.
            if part == 1 || !path.exists() {
                return (part, path);
            }
        }
    }
}

/// `copy.mp4`, `copy_002.mp4`, `copy_003.mp4`...
fn numbered(path: &Path, n: u32) -> PathBuf {
    if n == 1 {
        return path.to_path_buf();
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let suffix = path.extension().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{stem}_{n:03}.{suffix}"))
}

impl Kind for File {
    fn live(&mut self, life: &mut Life<'_>) -> Ending {
        let units = life.encoded(QUEUE_BYTES);
        life.request_key_frame();
        let mut run = Run { file: self, open: None, sound: VecDeque::new(), picture_end_ns: 0 };
        let mut early = Early { at_mark: run.file.waits_for_mark, ..Early::default() };
        let mut started = false;
        let written = loop {
            let unit = match life.next(&units, Duration::from_secs(1)) {
                Next::Got(unit) => unit,
                Next::Nothing => continue,
                // What was encoded ahead of pictures that do not come is no part of it.
                Next::End => break run.put_sound_before(run.picture_end_ns, life),
            };
            let put = if started {
                run.put(unit, life)
            } else {
                early.add(unit);
                if !early.has_key() || life.fanout.caps().is_none() {
                    continue;
                }
                started = true;
                life.is_live(None);
                early.take().into_iter().try_for_each(|unit| run.put(unit, life))
            };
            if put.is_err() {
                break put;
            }
        };
        // The file is finished whatever happened: what is there stays playable.
        let finished = run.finish();
        match written.and(finished) {
            Err(error) => Ending::Failed(error.to_string()),
            Ok(()) if life.was_cut_off() => Ending::Failed(
                "cut off: the disk stood still until the queue was full; what is written plays"
                    .into(),
            ),
            Ok(()) => Ending::Finished,
        }
    }
}

struct Run<'a> {
    file: &'a mut File,
    open: Option<Part>,
    /// Waits for its picture.
    sound: VecDeque<Unit>,
    /// Show time at which the last picture ends.
    picture_end_ns: u64,
}

impl Run<'_> {
    /// Writes by time: sound is encoded sooner than the picture, and waits here for it, so that
    /// each part gets the sound that belongs to it.
    fn put(&mut self, unit: Unit, life: &mut Life<'_>) -> Result<()> {
        let UnitKind::Video { key, mark, new_encoder } = unit.kind else {
            self.sound.push_back(unit);
            return Ok(());
        };
        self.put_sound_before(unit.pts_ns, life)?;
        self.picture_end_ns = unit.pts_ns + unit.duration_ns;
        let split = key && std::mem::take(&mut life.split);
        if (mark && self.file.at_marks) || new_encoder || split {
            // The part plays all the same; what comes now matters more.
            if let Err(error) = self.finish() {
                tracing::warn!("{error}");
            }
        }
        self.write(&unit, life)
    }

    /// Finishes the part, if one is open.
    fn finish(&mut self) -> Result<()> {
        let Some(Part { writer, path, start_ns, end_ns }) = self.open.take() else {
            return Ok(());
        };
        writer.finish()?;
        self.file.chapters.write(&path, start_ns, end_ns);
        Ok(())
    }

    fn put_sound_before(&mut self, pts_ns: u64, life: &Life<'_>) -> Result<()> {
        while let Some(unit) = self.sound.pop_front_if(|unit| unit.pts_ns < pts_ns) {
            self.write(&unit, life)?;
        }
        Ok(())
    }

    fn write(&mut self, unit: &Unit, life: &Life<'_>) -> Result<()> {
        let part = match &mut self.open {
            Some(part) => part,
            None => self.open.insert(open(self.file, unit.pts_ns, life)?),
        };
        part.writer.write(unit)?;
        part.end_ns = part.end_ns.max(unit.pts_ns + unit.duration_ns);
        life.info.sent(unit);
        Ok(())
    }
}

/// The file that is being written, and the show time that it holds.
struct Part {
    writer: FileWriter,
    path: PathBuf,
    start_ns: u64,
    end_ns: u64,
}

fn open(file: &mut File, start_ns: u64, life: &Life<'_>) -> Result<Part> {
    let caps = life
        .fanout
        .caps()
        .ok_or_else(|| Error::internal("units came before the encoders were known"))?;
    let (part, path) = file.next();
    let writer = FileWriter::create(&path, file.container, &caps, start_ns)?;
    file.parts = part;
    life.info.begin_part(path.clone(), start_ns);
    Ok(Part { writer, path, start_ns, end_ns: start_ns })
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
