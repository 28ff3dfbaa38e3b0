//! The base master, `final_output.mp4`: every cycle's video, one after the other. Copied where all
//! agree, else encoded again.

use std::path::Path;

use super::reel::Reel;
use super::{Ended, Step, Tags, Work};
use crate::archive::inventory::PREVIEW_PREFIX;
use crate::archive::{BaseMaster, Recordings, disk};
use crate::base::clock::iso8601;
use crate::base::error::{Error, Result};
use crate::base::fsio::{free_name, publish, temporary};
use crate::base::time::NS;
use crate::mp4::{Chapter, Clip, Concat, agreement, usual_format};
use crate::stream::stitch;

pub const FILE: &str = "final_output.mp4";
/// Of x264, for clips that are encoded again.
const PRESET: &str = "slow";
const PREVIEW: &str = "preview.mp4";

/// Makes the base master, unless it is there and current. One that is not is kept under another
/// name.
pub fn make(
    work: &mut Work<'_>,
    recordings: &mut Recordings,
    reel: &Reel,
    tags: &Tags,
) -> Result<Ended> {
    let path = work.folder.join(FILE);
    let clips = look(reel)?;
    let frames: u64 = clips.iter().map(Clip::frames).sum();
    let there = recordings.has_whole(FILE)?;
    let known = recordings.base_master();
    // Somebody may have put another film under the name.
    let is_it = |known: &BaseMaster| {
        known.fingerprint == reel.fingerprint
            && Clip::look(&path).is_ok_and(|film| film.frames() == known.frames)
    };
    if there && known.is_some_and(is_it) {
        (work.on_step)(Step::IsThere { file: FILE, found: false });
        return Ok(Ended::Done);
    }
    let clock = work.clock.clone();
    let entry = |frames, seconds, copied| BaseMaster {
        file: FILE.into(),
        made_at: iso8601(clock.wall()),
        frames,
        seconds,
        cycles: reel.shots.iter().map(|shot| shot.cycle).collect(),
        left_out: reel.left_out.clone(),
        copied,
        fingerprint: reel.fingerprint.clone(),
        ..Default::default()
    };
    // The predecessor's, or of a run that was killed before it could say so.
    if there && known.is_none() && recordings.takes_found() {
        let film = Clip::look(&path)?;
        if film.frames() == frames {
            (work.on_step)(Step::IsThere { file: FILE, found: true });
            if !work.options.dry_run {
                recordings.set_base_master(entry(frames, film.seconds, true))?;
            }
            return Ok(Ended::Done);
        }
    }
    let differ = agreement(&clips).err();
    let seconds = clips.iter().map(|clip| clip.seconds).sum();
    (work.on_step)(Step::Stitches {
        file: FILE,
        cycles: reel.shots.len(),
        left_out: &reel.left_out,
        frames,
        seconds,
        encode: differ.as_deref(),
    });
    let free = || free_name(&work.folder, |number| format!("final_output_{number:03}.mp4"));
    let aside = there.then(free);
    if let Some(aside) = &aside {
        let now = file_name(aside);
        (work.on_step)(Step::PutAside { file: FILE, now: &now });
    }
    if work.options.dry_run {
        return Ok(Ended::Done);
    }
    let bytes: u64 = clips.iter().map(Clip::bytes).sum();
    // What is encoded again is there twice while it gets its chapters.
    let copies = if differ.is_some() { 2 } else { 1 };
    disk::need(&work.folder, copies * bytes, work.config.live.min_free_mb)?;
    let copied = differ.is_none();
    let folder = work.folder.clone();
    let Some(written) = write(work, (&folder, FILE), clips, reel, tags, copied)? else {
        return Ok(Ended::Stopped);
    };
    if let Some(aside) = &aside {
        std::fs::rename(&path, aside).map_err(|e| {
            Error::io(format!("cannot rename {} to {}", path.display(), aside.display()), e)
        })?;
    }
    publish(written.file, &path, false)?;
    recordings.set_base_master(entry(written.frames, written.seconds, copied))?;
    (work.on_step)(Step::Made { file: FILE, frames: written.frames, seconds: written.seconds });
    Ok(Ended::Done)
}

impl Work<'_> {
    /// Puts the last cycles together for a look, while others may work on the project.
    pub(super) fn preview(&mut self, cycles: usize) -> Result<Ended> {
        let mut reel = Reel::of(&self.survey()?, true, true)?;
        let first = reel.shots.len().saturating_sub(cycles);
        reel.shots.drain(..first);
        if reel.shots.is_empty() {
            (self.on_step)(Step::Nothing { folder: &self.folder });
            return Ok(Ended::Done);
        }
        let clips = look(&reel)?;
        let (frames, seconds) =
            (clips.iter().map(Clip::frames).sum(), clips.iter().map(|clip| clip.seconds).sum());
        let differ = agreement(&clips).err();
        (self.on_step)(Step::Stitches {
            file: PREVIEW,
            cycles: reel.shots.len(),
            left_out: &[],
            frames,
            seconds,
            encode: differ.as_deref(),
        });
        if self.options.dry_run {
            return Ok(Ended::Done);
        }
        // Whoever opens the project meanwhile takes away what others seem to have left in it.
        let scratch = scratch(&self.folder)?;
        let tags = Tags { title: "preview".into(), ..Tags::default() };
        let written =
            write(self, (scratch.path(), PREVIEW), clips, &reel, &tags, differ.is_none())?;
        let Some(written) = written else { return Ok(Ended::Stopped) };
        // It is a look at what changes all the time, so the one before is of no use.
        publish(written.file, &self.folder.join(PREVIEW), true)?;
        (self.on_step)(Step::Made {
            file: PREVIEW,
            frames: written.frames,
            seconds: written.seconds,
        });
        Ok(Ended::Done)
    }
}

impl Reel {
    /// Length of the film.
    pub fn seconds(&self) -> Result<f64> {
        Ok(look(self)?.iter().map(|clip| clip.seconds).sum())
    }
}

fn look(reel: &Reel) -> Result<Vec<Clip>> {
    reel.shots.iter().map(|shot| Clip::look(&shot.path)).collect()
}

/// Where each cycle begins in the film.
pub fn chapters(reel: &Reel) -> Result<Vec<Chapter>> {
    Ok(chapters_of(reel, &look(reel)?))
}

fn chapters_of(reel: &Reel, clips: &[Clip]) -> Vec<Chapter> {
    let mut start_ns = 0;
    let chapters = reel.shots.iter().zip(clips).map(|(shot, clip)| {
        let chapter = Chapter { title: shot.title.clone(), start_ns };
        start_ns += (clip.seconds * NS as f64).round() as u64;
        chapter
    });
    chapters.collect()
}

/// A film under a temporary name.
struct Written {
    file: tempfile::TempPath,
    frames: u64,
    seconds: f64,
}

/// Writes the film of the reel's `clips`, each a chapter, into a folder; `name` is what it is told by.
/// `None`: stopped. `copied`: they agree.
fn write(
    work: &mut Work<'_>,
    (folder, name): (&Path, &str),
    clips: Vec<Clip>,
    reel: &Reel,
    tags: &Tags,
    copied: bool,
) -> Result<Option<Written>> {
    let file = temporary(folder, ".mp4")?;
    let (on_step, stop) = (&mut *work.on_step, work.stop);
    let mut on_progress = |done, of| on_step(Step::Progress { file: name, done, of });
    let chapters = chapters_of(reel, &clips);
    let tags = tags.to_mp4(&iso8601(work.clock.wall()));
    // What is encoded again gets its chapters by a copy.
    let encoded = match copied {
        true => None,
        false => {
            let encoded = temporary(folder, ".mp4")?;
            let (size, fps) = usual_format(&clips)
                .ok_or_else(|| Error::internal("clips without a size or rate"))?;
            let settings = stitch::Settings {
                size,
                fps,
                preset: PRESET.into(),
                crf: work.config.finalizer.crf,
            };
            let frames = stitch::stitch(&clips, &settings, &encoded, &mut on_progress, stop)?;
            if frames.is_none() {
                (work.on_step)(Step::Stopped { file: name });
                return Ok(None);
            }
            Some(encoded)
        }
    };
    let clips = match &encoded {
        Some(encoded) => vec![Clip::look(encoded)?],
        None => clips,
    };
    let film = Concat { clips, sound: None, chapters, tags };
    let Some(written) = film.write(&file, &mut on_progress, stop)? else {
        (work.on_step)(Step::Stopped { file: name });
        return Ok(None);
    };
    Ok(Some(Written { file, frames: written.frames, seconds: written.seconds }))
}

/// A folder on the project's disk that nobody else sweeps; what killed previews left is taken away.
fn scratch(folder: &Path) -> Result<tempfile::TempDir> {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREVIEW_PREFIX) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    let scratch = tempfile::Builder::new().prefix(PREVIEW_PREFIX).tempdir_in(folder);
    scratch.map_err(|e| Error::io(format!("cannot write in {}", folder.display()), e))
}

pub fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
