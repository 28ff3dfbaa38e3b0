//! A project's films: the parts of its recordings joined, every cycle's video one after the other
//! (`final_output.mp4`), and of that the deliverable (`final_60fps_1080p.mp4`).
//!
//! Holds: what was made is never touched, and no file that is there is replaced. A film has its name
//! only when it is whole, and is made once: what is there and current stays. No failed cycle is left
//! out unless that was asked for.

mod deliverable;
mod master;
mod parts;
mod reel;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::{batch, project_folder};
use crate::archive::{Recordings, Survey};
use crate::base::clock::Clock;
use crate::base::error::Result;
use crate::config::Config;
use crate::mp4;
use crate::worqspace;
use reel::Reel;

/// What is asked for on the command line.
#[derive(Clone, Debug)]
pub struct AssembleOptions {
    pub worqspace: PathBuf,
    /// Project name; `None`: the folder `output`.
    pub name: Option<String>,
    /// The folder of an unnamed project; `None`: as in the settings.
    pub output: Option<PathBuf>,
    pub what: What,
    /// Leave out cycles that failed.
    pub skip_failed: bool,
    /// The deliverable's sound.
    pub sound: Option<Sound>,
    /// Only say what would be done.
    pub dry_run: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// All there is to make; `deliverable`: whether that too, `None`: as in the settings.
    Films { deliverable: Option<bool> },
    /// Join the parts of one recording: the name of its first file.
    Recording(PathBuf),
    /// `preview.mp4` of the last so many cycles, while others work on the project too.
    Preview { cycles: usize },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sound {
    /// Cut or looped to length.
    File(PathBuf),
    /// That of the last recording of a show.
    Live,
}

/// What happens, as it happens.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Step<'a> {
    /// There is neither a recording in parts nor a cycle.
    Nothing {
        folder: &'a Path,
    },
    /// It is there already, and current. `found`: it was not in the project's state, and was taken
    /// as it is.
    IsThere {
        file: &'a str,
        found: bool,
    },
    Note {
        text: &'a str,
    },
    /// The parts of a recording are joined, or would be. `encode`: why pictures are not copied, and
    /// with what they are encoded.
    Joins {
        parts: &'a [String],
        file: &'a str,
        frames: u64,
        encode: Option<(&'a str, &'a str)>,
    },
    /// A cycle has a clip and no video: that is made first, or would be.
    Completes {
        cycle: u32,
    },
    /// The base master is put together, or would be. `encode`: why its clips are not copied.
    Stitches {
        file: &'a str,
        cycles: usize,
        left_out: &'a [u32],
        frames: u64,
        seconds: f64,
        encode: Option<&'a str>,
    },
    /// The file had the name that a new one takes now.
    PutAside {
        file: &'a str,
        now: &'a str,
    },
    /// The deliverable is made, or would be. `done`: frames that an earlier run has made.
    Delivers {
        file: &'a str,
        frames: u64,
        done: u64,
        encoder: &'a str,
        sound: Option<&'a str>,
    },
    /// Of what is being made so much is done: frames, or bytes where pictures are copied.
    Progress {
        file: &'a str,
        done: u64,
        of: u64,
    },
    Made {
        file: &'a str,
        frames: u64,
        seconds: f64,
    },
    /// Asked to stop: the same command goes on from here.
    Stopped {
        file: &'a str,
    },
}

/// Whether all was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Done,
    Stopped,
}

/// Where it is done, and for whom.
struct Work<'a> {
    folder: PathBuf,
    options: &'a AssembleOptions,
    config: Config,
    clock: Arc<dyn Clock>,
    stop: &'a dyn Fn() -> bool,
    stopping: watch::Receiver<batch::Stop>,
    on_step: &'a mut dyn FnMut(Step<'_>),
}

/// Makes what there is to make. Any stop ends it early; what is done by then is kept.
///
/// # Errors
/// No project of that name, another program that has it, failed cycles that are not to be left out,
/// a clip or part that cannot be read, a disk that is full. What was made before stays.
pub fn assemble(
    options: &AssembleOptions,
    clock: Arc<dyn Clock>,
    stopping: watch::Receiver<batch::Stop>,
    on_step: &mut dyn FnMut(Step<'_>),
) -> Result<Ended> {
    crate::stream::init()?;
    let (name, output) = (options.name.as_deref(), options.output.as_deref());
    let folder = project_folder::folder(&options.worqspace, name, output)?;
    let config = project_folder::settings(&options.worqspace, name, output)?;
    let stop = || *stopping.borrow() != batch::Stop::No;
    let stopping = stopping.clone();
    let mut work = Work { folder, options, config, clock, stop: &stop, stopping, on_step };
    match &options.what {
        What::Preview { cycles } => work.preview(*cycles),
        What::Recording(file) => {
            let mut recordings = work.recordings()?;
            parts::join(&mut work, &mut recordings, Some(file)).map(|(ended, _)| ended)
        }
        What::Films { deliverable } => {
            work.films(deliverable.unwrap_or(work.config.finalizer.enabled))
        }
    }
}

/// What stands in a film beside picture and sound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Tags {
    title: String,
    /// What it was made from.
    comment: Option<String>,
    tool: String,
}

impl Tags {
    /// `now`: ISO 8601.
    fn to_mp4(&self, now: &str) -> mp4::Tags {
        mp4::Tags {
            title: Some(self.title.clone()),
            comment: self.comment.clone(),
            description: None,
            tool: Some(self.tool.clone()),
            date: Some(now.to_owned()),
        }
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Work<'_> {
    fn recordings(&self) -> Result<Recordings> {
        match self.options.dry_run {
            true => Recordings::read(&self.folder),
            false => Recordings::open(&self.folder, "vfaq assemble"),
        }
    }

    fn survey(&self) -> Result<Survey> {
        Survey::of(&self.folder, self.config.paths.briqs_dir.as_deref())
    }

    fn films(&mut self, deliverable: bool) -> Result<Ended> {
        // Before anything else: whose it is, and whether it is a project.
        let mut recordings = self.recordings()?;
        let mut survey = self.survey()?;
        if self.options.dry_run {
            for (cycle, _) in survey.unfinished().filter(|(cycle, _)| cycle.video.whole().is_none())
            {
                (self.on_step)(Step::Completes { cycle: cycle.cycle.0 });
            }
        } else if survey.unfinished().next().is_some() {
            drop(recordings);
            let (config, clock) = (&self.config, self.clock.clone());
            let on_step = &mut *self.on_step;
            let all =
                batch::complete_all(config, &self.folder, clock, &self.stopping, &mut |cycle| {
                    on_step(Step::Completes { cycle: cycle.0 });
                })?;
            if !all {
                return Ok(Ended::Stopped);
            }
            recordings = self.recordings()?;
            survey = self.survey()?;
        }
        let (ended, joined) = parts::join(self, &mut recordings, None)?;
        if ended == Ended::Stopped {
            return Ok(ended);
        }
        let reel = Reel::of(&survey, self.options.skip_failed, self.options.dry_run)?;
        if reel.shots.is_empty() {
            if !joined {
                (self.on_step)(Step::Nothing { folder: &self.folder });
            }
            return Ok(Ended::Done);
        }
        for text in &reel.notes {
            (self.on_step)(Step::Note { text });
        }
        let tags = self.tags(&survey);
        if master::make(self, &mut recordings, &reel, &tags)? == Ended::Stopped {
            return Ok(Ended::Stopped);
        }
        match deliverable {
            true => deliverable::make(self, &mut recordings, &reel, &tags),
            false => Ok(Ended::Done),
        }
    }

    /// What stands in the films beside the picture.
    fn tags(&self, survey: &Survey) -> Tags {
        let opened = worqspace::load(&self.options.worqspace, &self.config);
        let title = opened.ok().and_then(|(bundle, _)| bundle.title);
        let named = survey.folder.canonicalize();
        let name = named.as_deref().unwrap_or(&survey.folder).file_name();
        let tasq = self.options.worqspace.join(&self.config.input.tasq_file);
        Tags {
            title: title.unwrap_or_else(|| {
                name.map_or_else(|| "untitled".into(), |name| name.to_string_lossy().into_owned())
            }),
            comment: std::fs::read(&tasq).ok().map(|text| {
                let name = tasq.file_name().unwrap_or_default().to_string_lossy().into_owned();
                format!("{name} sha256 {}", sha256(&text))
            }),
            tool: format!("Visual FaQtory Live {}", env!("CARGO_PKG_VERSION")),
        }
    }
}
