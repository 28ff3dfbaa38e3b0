//! A set rebuilt from the archive and the journal: the pictures that were on stage, drawn again from
//! the clips with all the time that they need, under the sound of the recording.
//!
//! Holds: as many pictures as the recording has places, each the one that was there; one that cannot
//! be rebuilt is the recording's own, and told of. A file has its name only when it is whole; what a
//! failure or a wish to stop leaves is removed. No file that is there is written over.

mod stock;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use self::stock::{Stock, Stocked};
use crate::archive::{Recording, RecordingKind, Recordings};
use crate::archive::{disk, journal};
use crate::base::clock::{Clock, iso8601};
use crate::base::error::{Error, Result};
use crate::base::fsio::publish;
use crate::base::time::FrameRate;
use crate::config::{Fit, Interpolation};
use crate::finalize::replay::{self, Moment, OnAir, Replay, Session};
use crate::media::{Frame, FrameMut, PreparedClip};
use crate::playout::layer;
use crate::prepare::Whole;
use crate::render::{Look, MEMORY_SECONDS, Picture, Renderer};
use crate::stream::clip::GstClipDecoder;
use crate::stream::join::{Drawn, Place, Plan};

pub use crate::stream::join::Quality;

/// What a deliverable is encoded with.
pub const FINAL: Quality = Quality { preset: "slow", crf: 16 };

#[derive(Clone, Debug)]
pub struct RerenderOptions {
    /// The project's folder.
    pub folder: PathBuf,
    /// `paths.briqs_dir` of the settings.
    pub briqs_dir: Option<PathBuf>,
    /// The file of one recording; `None`: the last live one.
    pub recording: Option<PathBuf>,
    pub quality: Quality,
    /// So much of the disk stays free.
    pub least_free_mb: u64,
}

/// Pictures in a row that are the recording's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// In the new file, from 0.
    pub first: u64,
    pub frames: u64,
    pub why: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// File name.
    pub file: String,
    pub frames: u64,
    pub as_recorded: Vec<Stretch>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    Done(Outcome),
    /// Nothing was written.
    Stopped,
}

/// Rebuilds a set. `on_progress` is told how many pictures of how many are done.
///
/// # Errors
/// No project, recording or journal of that name, a show that has the project, a part that cannot
/// be read, a disk that is full; then nothing is left.
pub fn rerender(
    options: &RerenderOptions,
    clock: &dyn Clock,
    stop: &AtomicBool,
    on_progress: &mut dyn FnMut(u64, u64),
) -> Result<Ended> {
    crate::stream::init()?;
    let mut recordings = Recordings::open(&options.folder, "vfaq assemble --rerender")?;
    let folder = recordings.folder().to_owned();
    let recording = chosen(&recordings, options.recording.as_deref())?;
    let (session, firsts) = session_of(&recording, &folder)?;
    let paths: Vec<PathBuf> = recording.parts.iter().map(|part| folder.join(part)).collect();
    let plan = Plan::look(&paths, &folder)?;
    if (plan.canvas(), plan.fps()) != (session.canvas, session.fps) {
        let ((w, h), (sw, sh)) = (plan.canvas(), session.canvas);
        return Err(Error::conflict(format!(
            "{} is {w}x{h} at {}, but its session in the journal {sw}x{sh} at {}; they do not \
             belong together",
            recording.file,
            plan.fps(),
            session.fps
        )));
    }
    let whole = Whole {
        decoder: Arc::new(GstClipDecoder),
        motion: session.interpolation.unwrap_or(Interpolation::Flow) == Interpolation::Flow,
        low_priority: crate::stream::background_thread,
    };
    let stock = Stock::new(
        whole,
        recordings.clips(options.briqs_dir.as_deref())?,
        session.stand_in.clone(),
        stop,
    );
    let mut painter = Painter::new(session, stock);
    // About as much as the recording takes.
    let bytes = paths.iter().filter_map(|path| path.metadata().ok()).map(|about| about.len()).sum();
    disk::need(&folder, bytes, options.least_free_mb)?;
    let name = recordings.free_name(&recording.file, "rerender")?;
    let path = folder.join(&name);
    let temporary = tempfile::Builder::new()
        .prefix(".vfaq-")
        .suffix(".mp4")
        .tempfile_in(&folder)
        .map_err(|e| Error::io(format!("cannot write {}", path.display()), e))?
        .into_temp_path();
    let (frames, mut done) = (plan.places(), 0);
    let mut as_recorded = Vec::new();
    let finished = plan.write_drawn(&temporary, options.quality, &mut |place, out| {
        on_progress(done, frames);
        let drawn = draw(&mut painter, &firsts, place, out);
        if let Shown::AsRecorded(why) = &drawn {
            note(&mut as_recorded, done, why);
        }
        done += 1;
        Ok(match drawn {
            Shown::Drawn => Drawn::Drawn,
            Shown::AsRecorded(_) => Drawn::AsRecorded,
            Shown::Stopped => Drawn::Stop,
        })
    })?;
    if !finished {
        return Ok(Ended::Stopped);
    }
    on_progress(done, frames);
    publish(temporary, &path, false)?;
    recordings.add(Recording {
        file: name.clone(),
        kind: RecordingKind::Rerendered,
        started_at: iso8601(clock.wall()),
        frames,
        parts: vec![name.clone()],
        complete: true,
        rerendered_from: Some(recording.file),
        ..Default::default()
    })?;
    Ok(Ended::Done(Outcome { file: name, frames, as_recorded }))
}

fn draw(painter: &mut Painter<'_>, firsts: &[u64], place: Place, out: &mut FrameMut<'_>) -> Shown {
    match firsts.get(place.part) {
        Some(first) => painter.draw(first + place.frame, out),
        None => Shown::AsRecorded("the journal does not say when this part began".into()),
    }
}

/// Adds a picture to the stretches.
fn note(stretches: &mut Vec<Stretch>, frame: u64, why: &Arc<str>) {
    match stretches.last_mut() {
        Some(last) if last.first + last.frames == frame && last.why == *why => last.frames += 1,
        _ => stretches.push(Stretch { first: frame, frames: 1, why: why.clone() }),
    }
}

/// The recording that is asked for.
fn chosen(recordings: &Recordings, named: Option<&Path>) -> Result<Recording> {
    let live = recordings.list().iter().filter(|r| r.kind == RecordingKind::Live);
    let known: Vec<&str> = live.clone().map(|recording| recording.file.as_str()).collect();
    let file = named.map(|path| path.file_name().unwrap_or_default().to_string_lossy());
    let mut wanted = live.rev().filter(|r| file.as_ref().is_none_or(|file| r.file == *file));
    wanted.next().cloned().ok_or_else(|| {
        let folder = recordings.folder().display();
        let known = if known.is_empty() { "none".into() } else { known.join(", ") };
        match named {
            Some(path) => Error::not_found(format!(
                "--recording {}: the project {folder} has no such recording of a show; it has \
                 {known}",
                path.display()
            )),
            None => Error::not_found(format!(
                "the project {folder} has no recording of a show; only what was recorded live can \
                 be rebuilt"
            )),
        }
    })
}

/// The session of a recording, and the frames of it with which its parts begin: as many as are
/// known.
fn session_of(recording: &Recording, folder: &Path) -> Result<(Session, Vec<u64>)> {
    let path = folder.join("journal.jsonl");
    if !path.is_file() {
        return Err(Error::not_found(format!(
            "{} is not there; a set is rebuilt from what it says",
            path.display()
        )));
    }
    let (entries, _) = journal::read(&path)?;
    let sessions = replay::sessions(entries).map_err(|e| e.context(path.display()))?;
    let has = |session: &Session| session.parts.iter().any(|(file, _)| *file == recording.file);
    let mut backwards = sessions.iter().rev();
    if let Some(session) = backwards.find(|session| has(session)) {
        let first = |part: &String| {
            let known = session.parts.iter().find(|(file, _)| file == part);
            known.map(|(_, frame)| *frame)
        };
        let firsts = recording.parts.iter().map_while(first).collect();
        return Ok((session.clone(), firsts));
    }
    // Written by an older version: the session that ran when the recording began. One that was not
    // cut short ends with it.
    let session =
        sessions.iter().rev().find(|s| s.parts.is_empty() && s.at <= recording.started_at);
    let first = session
        .filter(|_| recording.complete && recording.parts.len() == 1)
        .and_then(|session| session.frames?.checked_sub(recording.frames));
    match (session, first) {
        (Some(session), Some(first)) => Ok((session.clone(), vec![first])),
        _ => Err(Error::not_found(format!(
            "{} does not say which frames {} holds, as older versions did not write that down; \
             it cannot be rebuilt",
            path.display(),
            recording.file
        ))),
    }
}

/// What became of a frame.
#[derive(Debug, PartialEq)]
enum Shown {
    Drawn,
    /// It cannot be drawn, for this reason.
    AsRecorded(Arc<str>),
    Stopped,
}

/// Draws the frames of a session again.
struct Painter<'a> {
    session: Session,
    replay: Replay,
    renderer: Renderer,
    stock: Stock<'a>,
    /// Where pictures are drawn that nobody sees.
    unseen: Frame,
}

impl<'a> Painter<'a> {
    fn new(session: Session, stock: Stock<'a>) -> Self {
        if session.fit.is_none() {
            tracing::warn!(
                "the journal is of an older version: it is taken that live.fit was 'cover', that \
                 clips did not grow out of one another, and that no parameter was set at the start"
            );
        }
        let renderer = renderer(&session);
        let unseen = Frame::black(session.canvas.0, session.canvas.1);
        Painter { replay: Replay::new(session.clone()), session, renderer, stock, unseen }
    }

    /// Draws frame `n` of the session. Frames before it that were not asked for are gone through, and
    /// the last [`MEMORY_SECONDS`] of them drawn, so that what lingers of them is there: trails then
    /// are within a few steps of light of what they were, all else is the same.
    fn draw(&mut self, n: u64, out: &mut FrameMut<'_>) -> Shown {
        if n + 1 < self.replay.shown() {
            self.replay = Replay::new(self.session.clone());
            self.renderer = renderer(&self.session);
        }
        let counts = (MEMORY_SECONDS * self.session.fps.as_f64()).ceil() as u64;
        for m in self.replay.shown()..n {
            let moment = self.replay.frame(m);
            if moment.held {
                continue;
            }
            if n - m > counts {
                self.renderer.pass(&Look::new(m, &moment.values, moment.fired));
                continue;
            }
            let mut unseen = std::mem::replace(&mut self.unseen, Frame::black(0, 0));
            let shown = self.paint(m, &mut unseen.as_mut());
            self.unseen = unseen;
            if shown == Shown::Stopped {
                return shown;
            }
        }
        self.paint(n, out)
    }

    fn paint(&mut self, n: u64, out: &mut FrameMut<'_>) -> Shown {
        if self.stock.stop.load(Ordering::Relaxed) {
            return Shown::Stopped;
        }
        let moment = self.replay.frame(n);
        let Some(base) = moment.base else {
            return Shown::AsRecorded("the journal does not say what was on air".into());
        };
        let on_air = [Some(base), moment.over.map(|(over, _)| over)];
        let mut found = [None, None];
        for (on_air, found) in on_air.into_iter().zip(&mut found) {
            let Some(on_air) = on_air else { continue };
            match self.stock.get(&on_air.source) {
                None => return Shown::Stopped,
                Some(stocked) => match stands(on_air, stocked, &moment, self.session.fps) {
                    Ok(there) => *found = Some(there),
                    Err(why) => return Shown::AsRecorded(why),
                },
            }
        }
        let [Some(base), over] = &found else { return Shown::Stopped };
        let picture = Picture {
            base: layer(&base.0, base.1),
            over: over
                .as_ref()
                .zip(moment.over)
                .map(|((clip, position), (_, share))| (layer(clip, *position), share)),
        };
        // A picture that was held has had its triggers.
        let fired = if moment.held { &[] } else { moment.fired };
        self.renderer.render(&picture, &Look::new(n, &moment.values, fired), out);
        Shown::Drawn
    }
}

fn renderer(session: &Session) -> Renderer {
    let fit = session.fit.unwrap_or(Fit::Cover);
    let method = session.interpolation.unwrap_or(Interpolation::Flow);
    let mut renderer = Renderer::new(session.canvas, fit, method, Arc::default());
    renderer.set_time(session.fps, session.flash_limit.unwrap_or(false));
    renderer
}

/// The clip and the position at which it stands, or why that is not known.
fn stands(
    on_air: &OnAir,
    stocked: Stocked,
    moment: &Moment<'_>,
    fps: FrameRate,
) -> std::result::Result<(Arc<PreparedClip>, f64), Arc<str>> {
    let (clip, spoilt) = match stocked {
        Stocked::Clip { clip, spoilt } => (clip, spoilt),
        Stocked::Missing(why) => return Err(why),
    };
    let last = (clip.frames.len() - 1) as f64;
    // While another is joined in over it, it may stand at its end.
    if moment.over.is_none() && on_air.is_over(moment.playhead, last, fps) {
        return Err("the journal does not say what was on air".into());
    }
    let position = on_air.position(moment.playhead, last);
    match spoilt {
        Some((frames, why)) if position < f64::from(frames) => Err(why),
        _ => Ok((clip, position)),
    }
}
