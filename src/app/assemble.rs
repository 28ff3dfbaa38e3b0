//! The parts of recordings joined into one file each.
//!
//! Holds: parts are never touched, and no file that is there is replaced. A joined file has its
//! name only when it is whole; what a failure leaves is removed.

use std::path::{Path, PathBuf};

use crate::archive::{Recording, Recordings, named_folder};
use crate::base::error::{Error, Result};
use crate::base::fsio::publish;
use crate::stream::join::{ENCODER, Plan};
use crate::worqspace;

/// What is asked for on the command line.
#[derive(Clone, Debug)]
pub struct AssembleOptions {
    pub worqspace: PathBuf,
    /// Project name; `None`: the folder `output`.
    pub name: Option<String>,
    /// The folder of an unnamed show; `None`: as in the settings.
    pub output: Option<PathBuf>,
    /// The file of one recording; `None`: all of them.
    pub recording: Option<PathBuf>,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// What happens, as it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// No recording has further parts, or the one that was named has none.
    NothingToJoin {
        folder: &'a Path,
    },
    /// It is there already, whole.
    IsThere {
        joined: &'a str,
    },
    /// It is being written, or would be. `encode`: why pictures are not copied, and with what they
    /// are encoded.
    Joins {
        parts: &'a [String],
        joined: &'a str,
        frames: u64,
        encode: Option<(&'a str, &'a str)>,
    },
    /// Of the pictures of this file so many are done.
    Progress {
        done: u64,
        of: u64,
    },
    Joined {
        joined: &'a str,
        frames: u64,
    },
}

/// Joins what there is to join.
///
/// # Errors
/// No project or recording of that name, a show that has the project, a part that cannot be read,
/// a disk that is full. What was joined before stays.
pub fn assemble(options: &AssembleOptions, on_step: &mut dyn FnMut(Step<'_>)) -> Result<()> {
    crate::stream::init()?;
    let folder = folder(options)?;
    let mut recordings = match options.dry_run {
        true => Recordings::read(&folder)?,
        false => Recordings::open(&folder, "vfaq assemble")?,
    };
    let wanted = wanted(&recordings, options.recording.as_deref())?;
    if wanted.is_empty() {
        on_step(Step::NothingToJoin { folder: &folder });
    }
    for recording in wanted {
        let joined = joined_name(&recording.file);
        if recordings.has_whole(&joined)? {
            on_step(Step::IsThere { joined: &joined });
        } else {
            join(&recording, &folder, &joined, options.dry_run, on_step)?;
        }
        if !options.dry_run {
            recordings.set_joined(&recording.file, &joined)?;
        }
    }
    Ok(())
}

/// The project's folder.
pub fn folder(options: &AssembleOptions) -> Result<PathBuf> {
    match (&options.name, &options.output) {
        (Some(_), Some(_)) => {
            Err(Error::usage("-n and -o both say which project; give one of them"))
        }
        (Some(name), None) => named_folder(&options.worqspace, name),
        (None, Some(output)) => Ok(output.clone()),
        (None, None) => Ok(worqspace::open(&options.worqspace)?.config.paths.output_dir),
    }
}

/// The recordings that have something to join: those with further parts.
fn wanted(recordings: &Recordings, named: Option<&Path>) -> Result<Vec<Recording>> {
    let list = recordings.list();
    let mut wanted = list.to_vec();
    if let Some(path) = named {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        wanted.retain(|recording| recording.file == file);
        if wanted.is_empty() {
            let known: Vec<&str> = list.iter().map(|recording| recording.file.as_str()).collect();
            return Err(Error::not_found(format!(
                "--recording {}: the project {} has no such recording; it has {}",
                path.display(),
                recordings.folder().display(),
                if known.is_empty() { "none".into() } else { known.join(", ") }
            )));
        }
    }
    wanted.retain(|recording| recording.parts.len() > 1);
    Ok(wanted)
}

/// `final_60fps_1080p_joined.mp4` beside `final_60fps_1080p.mp4`.
fn joined_name(file: &str) -> String {
    let stem = Path::new(file).file_stem().unwrap_or_default().to_string_lossy();
    format!("{stem}_joined.mp4")
}

fn join(
    recording: &Recording,
    folder: &Path,
    joined: &str,
    dry_run: bool,
    on_step: &mut dyn FnMut(Step<'_>),
) -> Result<()> {
    let paths: Vec<PathBuf> = recording.parts.iter().map(|part| folder.join(part)).collect();
    // Nothing is written into a project that is only looked at.
    let temp = std::env::temp_dir();
    let scratch = if dry_run { &temp } else { folder };
    let plan = Plan::look(&paths, scratch)?;
    let frames = plan.frames();
    let encode = plan.encode_because().map(|why| (why, ENCODER));
    on_step(Step::Joins { parts: &recording.parts, joined, frames, encode });
    if dry_run {
        return Ok(());
    }
    let path = folder.join(joined);
    let temporary = tempfile::Builder::new()
        .prefix(".vfaq-")
        .suffix(".mp4")
        .tempfile_in(folder)
        .map_err(|e| Error::io(format!("cannot write {}", path.display()), e))?
        .into_temp_path();
    plan.write(&temporary, &mut |done| on_step(Step::Progress { done, of: frames }))?;
    publish(temporary, &path, false)?;
    on_step(Step::Joined { joined, frames });
    Ok(())
}
