//! The deliverable of the base master, with chapters and, where that is asked for, sound.

use std::path::{Path, PathBuf};

use super::master::{self, file_name};
use super::reel::Reel;
use super::{Ended, Sound, Step, Tags, Work, sha256};
use crate::archive::{self, Recording, RecordingKind, Recordings};
use crate::base::clock::iso8601;
use crate::base::error::{Error, Result};
use crate::base::fsio::temporary;
use crate::base::time::NS;
use crate::finalize::deliverable::{self, Deliverable};
use crate::mp4::{self, Clip, Concat};
use crate::stream::sound_file;

/// A file without an entry is this film's if it is that long, give or take.
const FITS_SECONDS: f64 = 0.5;

/// Makes the deliverable, unless it is there and current.
pub fn make(
    work: &mut Work<'_>,
    recordings: &mut Recordings,
    reel: &Reel,
    tags: &Tags,
) -> Result<Ended> {
    let sound = sound_of(work, recordings)?;
    let made_with = made_with(work, sound.as_deref())?;
    let is_this = |recording: &Recording| {
        recording.kind == RecordingKind::Assembled
            && recording.of.as_ref() == Some(&reel.fingerprint)
            && recording.made_with.as_ref().is_none_or(|with| *with == made_with)
    };
    let known = recordings.list().iter().rev().find(|recording| is_this(recording)).cloned();
    if let Some(known) = &known
        && recordings.has_whole(&known.file)?
    {
        (work.on_step)(Step::IsThere { file: &known.file, found: false });
        // A kill may have come between its name and the last word on it.
        if !known.complete && !work.options.dry_run {
            let frames = Clip::look(&work.folder.join(&known.file))?.frames();
            recordings.add(Recording { complete: true, frames, ..known.clone() })?;
        }
        return Ok(Ended::Done);
    }
    let source = work.folder.join(master::FILE);
    let clock = work.clock.clone();
    let entry = |file: &str, frames| Recording {
        file: file.to_owned(),
        kind: RecordingKind::Assembled,
        started_at: iso8601(clock.wall()),
        frames,
        parts: vec![file.to_owned()],
        complete: true,
        of: Some(reel.fingerprint.clone()),
        made_with: None,
        ..Default::default()
    };
    if sound.is_none()
        && recordings.takes_found()
        && let Some(found) = found(recordings, reel.seconds()?)?
    {
        (work.on_step)(Step::IsThere { file: deliverable::NAME, found: true });
        if !work.options.dry_run {
            recordings.add(entry(deliverable::NAME, found.frames()))?;
        }
        return Ok(Ended::Done);
    }
    if !work.options.dry_run {
        for file in given_up(recordings, is_this) {
            Deliverable::discard(&work.folder, &file);
            recordings.forget(&file)?;
        }
    }
    // One that was begun keeps its name, whatever came meanwhile.
    let name = match &known {
        Some(known) => known.file.clone(),
        None => file_name(&recordings.next()?),
    };
    let target = work.folder.join(&name);
    let settings = &work.config.finalizer;
    let least_mb = work.config.live.min_free_mb;
    let mut job = Deliverable::new(source.clone(), work.folder.clone(), settings, least_mb);
    job.name = name.clone();
    if work.options.dry_run {
        let seconds: f64 = reel.seconds()?;
        (work.on_step)(Step::Delivers {
            file: &name,
            frames: (seconds * job.fps.as_f64()).round() as u64,
            done: 0,
            encoder: "the first encoder of finalizer.encoder_preference that works",
            sound: sound.as_deref().map(file_name).as_deref(),
        });
        return Ok(Ended::Done);
    }
    let begun = Recording { made_with: Some(made_with), ..entry(&name, 0) };
    recordings.add(Recording { complete: false, ..begun.clone() })?;
    let seconds = Clip::look(&source)?.seconds;
    let track = match &sound {
        Some(sound) => match track(work, sound, seconds)? {
            Some(track) => Some(track),
            None => return Ok(Ended::Stopped),
        },
        None => None,
    };
    let chapters = master::chapters(reel)?;
    let stop = work.stop;
    let mut join = |segments: &[PathBuf], path: &Path| {
        let film = Concat {
            clips: segments.iter().map(|path| Clip::look(path)).collect::<Result<_>>()?,
            sound: track.as_ref().map(|(_, path)| mp4::Sound::look(path)).transpose()?,
            chapters: chapters.clone(),
            tags: tags.to_mp4(&iso8601(work.clock.wall())),
        };
        film.write(path, &mut |_, _| {}, &|| false).map(drop)
    };
    let on_step = &mut *work.on_step;
    let mut begins = None;
    let ended = job.make(&*work.clock, stop, &mut join, &mut |step| match step {
        deliverable::Step::Begins { frames, encoder, .. } => begins = Some((frames, encoder)),
        deliverable::Step::Note(text) => on_step(Step::Note { text: &text }),
        deliverable::Step::Progress(progress) => {
            if let Some((frames, encoder)) = begins.take() {
                let sound = sound.as_deref().map(file_name);
                let (done, sound) = (progress.done, sound.as_deref());
                on_step(Step::Delivers { file: &name, frames, done, encoder, sound });
            }
            on_step(Step::Progress { file: &name, done: progress.done, of: progress.of });
        }
        deliverable::Step::Joins { .. } => {}
    })?;
    match ended {
        deliverable::Ended::Done { frames, .. } => {
            recordings.add(Recording { frames, ..begun })?;
            (work.on_step)(Step::Made { file: &name, frames, seconds });
            Ok(Ended::Done)
        }
        // Its name was free a moment ago.
        deliverable::Ended::IsThere => Err(Error::conflict(format!(
            "{} has come from elsewhere meanwhile; move it away",
            target.display()
        ))),
        deliverable::Ended::Stopped => {
            (work.on_step)(Step::Stopped { file: &name });
            Ok(Ended::Stopped)
        }
    }
}

/// Deliverables that were begun, of other cycles or settings than now, and never finished.
fn given_up(recordings: &Recordings, is_this: impl Fn(&Recording) -> bool) -> Vec<String> {
    let those = recordings.list().iter().filter(|recording| {
        recording.kind == RecordingKind::Assembled
            && !recording.complete
            && !is_this(recording)
            && !recordings.folder().join(&recording.file).exists()
    });
    those.map(|recording| recording.file.clone()).collect()
}

/// A deliverable that no entry tells of, and that is as long as the film: the predecessor's,
/// or of a run that was killed at its very end.
fn found(recordings: &Recordings, seconds: f64) -> Result<Option<Clip>> {
    let name = deliverable::NAME;
    let told = recordings.list().iter().any(|recording| recording.file == name);
    if told || !recordings.has_whole(name)? {
        return Ok(None);
    }
    let film = Clip::look(&recordings.folder().join(name))?;
    let off = (film.seconds - seconds).abs();
    Ok(Some(film).filter(|_| off < FITS_SECONDS))
}

/// The file that the sound is in.
fn sound_of(work: &Work<'_>, recordings: &Recordings) -> Result<Option<PathBuf>> {
    match &work.options.sound {
        None => Ok(None),
        Some(Sound::File(path)) => match path.is_file() {
            true => Ok(Some(path.clone())),
            false => Err(Error::not_found(format!(
                "--audio {}: there is no such file; name a sound file, or say live for what was \
                 recorded with the show",
                path.display()
            ))),
        },
        Some(Sound::Live) => {
            let of_shows = |recording: &&Recording| recording.kind == RecordingKind::Live;
            let last = recordings.list().iter().rev().find(of_shows).ok_or_else(|| {
                Error::not_found(
                    "--audio live: no show was recorded in this project; name a sound file",
                )
            })?;
            let file = last.joined.as_ref().unwrap_or(&last.file);
            Ok(Some(work.folder.join(file)))
        }
    }
}

/// Tells one way of making a deliverable from another, beside what it is made of.
fn made_with(work: &Work<'_>, sound: Option<&Path>) -> Result<String> {
    let settings = &work.config.finalizer;
    let sound = match sound {
        Some(path) => archive::fingerprint_of(path)
            .map_err(|e| Error::io(format!("cannot read {}", path.display()), e))?,
        None => String::new(),
    };
    let text = format!(
        "{} {:?} {} {} {sound}",
        settings.interpolate_fps, settings.upscale_resolution, settings.scale_algo, settings.crf
    );
    Ok(sha256(text.as_bytes())[..16].to_owned())
}

/// The sound, cut or looped to `seconds`, in a file that goes with the first of the two; `None`:
/// stopped.
fn track(
    work: &Work<'_>,
    sound: &Path,
    seconds: f64,
) -> Result<Option<(tempfile::TempPath, PathBuf)>> {
    let temporary = temporary(&work.folder, ".m4a")?;
    let path = temporary.to_path_buf();
    let length_ns = (seconds * NS as f64).round() as u64;
    let whole = sound_file::write_aac(sound, length_ns, &path, &mut |_, _| {}, work.stop)?;
    Ok(whole.then_some((temporary, path)))
}
