//! The parts of recordings joined into one file each.
//!
//! Holds: parts are never touched. What a failure leaves is removed.

use std::path::{Path, PathBuf};

use super::Step;
use crate::archive::{Recording, Recordings};
use crate::base::error::{Error, Result};
use crate::base::fsio::publish;
use crate::stream::join::{ENCODER, Plan};

/// Joins what there is to join, or would; `named`: of this recording alone, which is told if it has
/// nothing to join. Returns whether any recording has parts.
pub fn join(
    recordings: &mut Recordings,
    named: Option<&Path>,
    dry_run: bool,
    on_step: &mut dyn FnMut(Step<'_>),
) -> Result<bool> {
    let folder = recordings.folder().to_owned();
    let wanted = wanted(recordings, named)?;
    if wanted.is_empty() && named.is_some() {
        on_step(Step::Nothing { folder: &folder });
    }
    for recording in &wanted {
        let joined = joined_name(&recording.file);
        if recordings.has_whole(&joined)? {
            on_step(Step::IsThere { file: &joined, found: false });
        } else {
            join_one(recording, &folder, &joined, dry_run, on_step)?;
        }
        if !dry_run {
            recordings.set_joined(&recording.file, &joined)?;
        }
    }
    Ok(!wanted.is_empty())
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

fn join_one(
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
    on_step(Step::Joins { parts: &recording.parts, file: joined, frames, encode });
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
    plan.write(&temporary, &mut |done| {
        on_step(Step::Progress { file: joined, done, of: frames });
    })?;
    publish(temporary, &path, false)?;
    let seconds = plan.seconds();
    on_step(Step::Made { file: joined, frames, seconds });
    Ok(())
}
