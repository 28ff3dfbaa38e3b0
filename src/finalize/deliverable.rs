//! The deliverable of a project, `final_60fps_1080p.mp4`: the base master at 60 frames a second, at
//! 1080p, made in one pass, segment by segment.
//!
//! ```text
//! base master --> segment: decode, interpolate, scale, encode --> .finalizing/NAME/segment_0000.mp4
//!             --> segment ...                                     .finalizing/NAME/segment_0001.mp4
//!                                        all there: join, check, publish --> NAME
//! ```
//!
//! Holds: the base master is only read, and no deliverable that is there is written over. A segment
//! has its name only when it is whole, so whatever ends the work, `kill -9` included, costs the
//! segments that were under way and no more. `plan.json` beside the segments says of what source and
//! with what settings they were made; those of another plan are thrown away. Who calls sees to it
//! that nobody else works on the project.

mod index;
mod plan;
mod room;
mod work;

use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use self::index::Index;
use self::plan::Plan;
use self::room::Room;
use crate::archive::disk;
use crate::base::clock::Clock;
use crate::base::error::{Error, Kind, Result};
use crate::base::fsio::publish;
use crate::base::time::FrameRate;
use crate::config::{Encoder, Finalizer};
use crate::render::Filter;
use crate::stream::convert;

pub use crate::stream::convert::X264Preset;
pub use crate::stream::interpolate::Settings;

/// The usual name of the deliverable, whatever its rate and size.
pub const NAME: &str = "final_60fps_1080p.mp4";
/// More would not make a machine busier, as each has several threads.
const MOST_AT_ONCE: usize = 2;
/// Where segments wait to be joined.
const WORK_FOLDER: &str = ".finalizing";
/// Output of one segment.
const SEGMENT: Duration = Duration::from_secs(30);

/// Joins segments, in this order and without encoding again, to a file at the path, which is there,
/// empty, and is written over. Called once all segments are whole.
pub type Join<'a> = dyn FnMut(&[PathBuf], &Path) -> Result<()> + 'a;

/// What is to be made. [`Deliverable::new`] has what the settings say; fields may be changed then.
#[derive(Clone, Debug)]
pub struct Deliverable {
    /// The base master. Its sound, if it has any, is left out.
    pub source: PathBuf,
    /// The project's folder.
    pub folder: PathBuf,
    /// Of the file in it that is made.
    pub name: String,
    pub fps: FrameRate,
    pub size: (u32, u32),
    pub interpolation: Settings,
    /// The first that works is taken.
    pub encoders: Vec<Encoder>,
    /// Constant quality, as x264 counts.
    pub crf: u32,
    pub preset: X264Preset,
    /// How much of the deliverable is lost at most when the work is interrupted.
    pub segment: Duration,
    /// Segments that are made at the same time. Two keep two cores busy for good where one leaves them
    /// idle for a seventh of the time; they cost as much again in memory, and 2 % more work
    /// (`scripts/bench-finalizer`).
    pub at_once: usize,
    /// Bytes that may be written on the disk of a path; `None`: nobody knows.
    pub free_bytes: fn(&Path) -> Option<u64>,
    /// So much stays free.
    pub least_free_mb: u64,
}

/// What happens, as it happens.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// The film is looked at and the work is planned.
    Begins {
        frames: u64,
        segments: usize,
        encoder: &'static str,
    },
    /// Something that the user should know.
    Note(String),
    Progress(Progress),
    /// All segments are there.
    Joins {
        segments: usize,
    },
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Frames that are made, those of an earlier run included.
    pub done: u64,
    pub of: u64,
    /// Frames a second, of this run; 0: not known yet.
    pub per_second: f64,
}

impl Progress {
    /// How long it still takes; `None`: not known yet.
    pub fn left(&self) -> Option<Duration> {
        let seconds = self.of.saturating_sub(self.done) as f64 / self.per_second;
        (self.per_second > 0.0).then(|| Duration::try_from_secs_f64(seconds).ok()).flatten()
    }
}

/// How it ended, if not by an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It has its name.
    Done { frames: u64, bytes: u64 },
    /// It had its name before, and was not made again.
    IsThere,
    /// It was stopped. Segments that are whole are not made again.
    Stopped,
}

impl Deliverable {
    /// As the settings of a project say.
    pub fn new(source: PathBuf, folder: PathBuf, settings: &Finalizer, least_free_mb: u64) -> Self {
        // The settings know no other names.
        let scale = Filter::named(&settings.scale_algo).unwrap_or_default();
        Deliverable {
            source,
            folder,
            name: NAME.into(),
            fps: settings.interpolate_fps,
            size: settings.upscale_resolution,
            interpolation: Settings { scale, ..Settings::default() },
            encoders: settings.encoder_preference.clone(),
            crf: settings.crf,
            preset: X264Preset::Slow,
            segment: SEGMENT,
            at_once: thread::available_parallelism().map_or(1, NonZero::get).min(MOST_AT_ONCE),
            free_bytes: disk::free_bytes,
            least_free_mb,
        }
    }

    /// Makes it, or goes on where an earlier run ended. `stop` is asked about ten times a second; what
    /// is whole by then stays.
    ///
    /// # Errors
    /// The source cannot be read or changes meanwhile, no encoder works, the disk is too small or
    /// full, or what `join` says. Segments that are whole stay.
    pub fn make(
        &self,
        clock: &dyn Clock,
        stop: &dyn Fn() -> bool,
        join: &mut Join<'_>,
        on_step: &mut dyn FnMut(Step),
    ) -> Result<Ended> {
        let (target, work_folder) = (self.folder.join(&self.name), self.work_folder());
        if target.exists() {
            self.tidy_up(on_step);
            return Ok(Ended::IsThere);
        }
        crate::stream::init()?;
        let state = plan::state_of(&self.source)?;
        let Some(about) = convert::look(&self.source, self.fps, stop)? else {
            return Ok(Ended::Stopped);
        };
        let rung = convert::first_that_works(&self.encoders, self.size, self.fps)?;
        let mut plan = Plan::new(self, state, about.frames, rung);
        let (segments, encoder) = (plan.segments().len(), rung.factory);
        on_step(Step::Begins { frames: about.frames, segments, encoder });
        plan.take_over(&work_folder, on_step)?;
        let room = Room {
            free_bytes: self.free_bytes,
            least_free_mb: self.least_free_mb,
            folder: work_folder.clone(),
        };
        loop {
            let run = work::Run { of: self, rung, folder: &work_folder, room: &room };
            if !run.make_missing(&mut plan, clock, stop, on_step)? {
                return Ok(Ended::Stopped);
            }
            // Whoever joins copies pictures, and there is one header for all of them.
            let odd = plan.odd_ones(&work_folder)?;
            if odd.is_empty() {
                break;
            }
            on_step(Step::Note(format!(
                "{} of the segments that were there are encoded in another way; they are made again",
                odd.len()
            )));
            plan.forget(&odd, &work_folder)?;
        }
        if plan::state_of(&self.source)? != state {
            plan.throw_away(&work_folder)?;
            return Err(Error::conflict(format!(
                "{} was changed while the deliverable was made of it; start again",
                self.source.display()
            )));
        }
        if stop() {
            return Ok(Ended::Stopped);
        }
        room.for_joining(&plan)?;
        on_step(Step::Joins { segments });
        let bytes = self.join(&plan, &target, join)?;
        self.tidy_up(on_step);
        Ok(Ended::Done { frames: about.frames, bytes })
    }

    /// Removes the segments of a deliverable that is not made any more.
    pub fn discard(folder: &Path, name: &str) {
        // What cannot be removed is a leftover, and `vfaq clean` tells of it.
        let _ = fs::remove_dir_all(folder.join(WORK_FOLDER).join(name));
    }

    /// Where the segments are until they are joined.
    fn work_folder(&self) -> PathBuf {
        self.folder.join(WORK_FOLDER).join(&self.name)
    }

    /// Joins the segments; the bytes of what has its name now.
    fn join(&self, plan: &Plan, target: &Path, join: &mut Join<'_>) -> Result<u64> {
        let work_folder = self.work_folder();
        let temporary = temporary(&work_folder)?;
        let names = 0..plan.segments().len();
        let paths: Vec<PathBuf> = names.map(|n| work_folder.join(plan::segment_name(n))).collect();
        join(&paths, &temporary)?;
        let joined = Index::read(&temporary)
            .map_err(|why| Error::internal(format!("the joined {} {why}", self.name)))?;
        if joined.frames != plan.frames() {
            return Err(Error::internal(format!(
                "the joined {} has {} frames, and its segments {}",
                self.name,
                joined.frames,
                plan.frames()
            )));
        }
        let bytes = fs::metadata(&temporary).map_or(0, |about| about.len());
        publish(temporary, target, false).map_err(|error| match target.exists() {
            true => Error::conflict(format!(
                "{} came into being meanwhile, and is not written over",
                target.display()
            )),
            false => error,
        })?;
        Ok(bytes)
    }

    /// Removes the segments, which nobody needs now.
    fn tidy_up(&self, on_step: &mut dyn FnMut(Step)) {
        let folder = self.work_folder();
        if let Err(e) = fs::remove_dir_all(&folder)
            && e.kind() != std::io::ErrorKind::NotFound
        {
            let text = format!("{} cannot be removed ({e}); it is not needed", folder.display());
            on_step(Step::Note(text));
        }
        // That of other deliverables stays.
        let _ = fs::remove_dir(self.folder.join(WORK_FOLDER));
    }
}

/// A file of its own in the folder of the segments, which is removed when it goes.
fn temporary(folder: &Path) -> Result<tempfile::TempPath> {
    tempfile::Builder::new()
        .prefix(".vfaq-")
        .suffix(".mp4")
        .tempfile_in(folder)
        .map(tempfile::NamedTempFile::into_temp_path)
        .map_err(|e| Error::io(format!("cannot write into {}", folder.display()), e))
}

/// That the source gives less than it said.
fn too_short(source: &Path, segment: usize, frames: u64, wanted: u64) -> Error {
    Error::new(
        Kind::Io,
        format!(
            "{}: segment {segment} has {frames} frames, and should have {wanted}; pictures of the file \
             cannot be decoded",
            source.display()
        ),
    )
}
