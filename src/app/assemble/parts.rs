//! The parts of recordings joined into one file each.
//!
//! Holds: parts are never touched. What a failure leaves is removed.

use std::path::{Path, PathBuf};

use super::{Ended, Step, Work};
use crate::archive::{Recording, Recordings, disk};
use crate::base::error::{Error, Result};
use crate::base::fsio::{publish, temporary};
use crate::stream::join::{ENCODER, Plan};

/// Joins what there is to join, or would; `named`: of this recording alone, which is told if it has
/// nothing to join. Returns whether any recording has parts, too.
pub fn join(
    work: &mut Work<'_>,
    recordings: &mut Recordings,
    named: Option<&Path>,
) -> Result<(Ended, bool)> {
    let wanted = wanted(recordings, named)?;
    if wanted.is_empty() && named.is_some() {
        (work.on_step)(Step::Nothing { folder: &work.folder });
    }
    for recording in &wanted {
        let joined = joined_name(&recording.file);
        if recordings.has_whole(&joined)? {
            (work.on_step)(Step::IsThere { file: &joined, found: false });
        } else if join_one(work, recording, &joined)? == Ended::Stopped {
            return Ok((Ended::Stopped, true));
        }
        if !work.options.dry_run {
            recordings.set_joined(&recording.file, &joined)?;
        }
    }
    Ok((Ended::Done, !wanted.is_empty()))
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

fn join_one(work: &mut Work<'_>, recording: &Recording, joined: &str) -> Result<Ended> {
    let folder = &work.folder;
    let paths: Vec<PathBuf> = recording.parts.iter().map(|part| folder.join(part)).collect();
    // Nothing is written into a project that is only looked at.
    let temp = std::env::temp_dir();
    let scratch = if work.options.dry_run { &temp } else { folder };
    let plan = Plan::look(&paths, scratch)?;
    let (frames, seconds) = (plan.frames(), plan.seconds());
    let encode = plan.encode_because().map(|why| (why, ENCODER));
    (work.on_step)(Step::Joins { parts: &recording.parts, file: joined, frames, encode });
    if work.options.dry_run {
        return Ok(Ended::Done);
    }
    let bytes = paths.iter().filter_map(|path| path.metadata().ok()).map(|about| about.len()).sum();
    disk::need(folder, bytes, work.config.live.min_free_mb)?;
    let temporary = temporary(folder, ".mp4")?;
    let (on_step, stop) = (&mut *work.on_step, work.stop);
    let whole = plan.write(&temporary, stop, &mut |done| {
        on_step(Step::Progress { file: joined, done, of: frames });
    })?;
    if !whole {
        (work.on_step)(Step::Stopped { file: joined });
        return Ok(Ended::Stopped);
    }
    publish(temporary, &work.folder.join(joined), false)?;
    (work.on_step)(Step::Made { file: joined, frames, seconds });
    Ok(Ended::Done)
}
