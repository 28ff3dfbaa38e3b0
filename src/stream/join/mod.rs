//! Joining the parts of a recording into one file.
//!
//! Every part is read twice: once to see what it holds, before anything is written, and once to
//! be written.
//!
//! Holds: pictures keep their places on the grid of frames, and a part begins where the picture of
//! the one before ended. Sound stays with its part: it is cut where the picture ends, and silence
//! fills what it lacks of an AAC frame or more. Parts of one encoder are copied; other pictures
//! are decoded and encoded again, while sound is copied all the same.

mod draw;
mod encode;
mod fragments;
mod mend;
mod read;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video as gst_video;
use tempfile::TempPath;

pub use self::draw::{Draw, Drawn, Place};
pub use self::encode::{ENCODER, Quality};
use self::encode::{Encoder, JOINED};
use self::read::{Pictures, Reader};
use super::encoding::stream_caps;
use super::fanout::{StreamCaps, Unit, UnitKind};
use super::fraction;
use super::output::writer::FileWriter;
use crate::base::error::{Error, Kind, Result};
use crate::base::time::{FrameRate, NS};
use crate::config::output::Container;

/// Writing the index of a night's recording on a slow disk.
const FINISH_LIMIT: Duration = Duration::from_secs(120);
/// Samples of an AAC access unit.
const AU_SAMPLES: u64 = 1024;
/// A stereo AAC access unit of silence, after ISO 14496-3, 4.4: a channel pair with a common window
/// and no band of spectrum in either channel, and the end.
const SILENCE: [u8; 6] = [0x21, 0, 0, 0, 0, 0x1c];

/// What is to be joined, and how.
#[derive(Debug)]
pub struct Plan {
    parts: Vec<Part>,
    fps: FrameRate,
    canvas: (u32, u32),
    /// Why the pictures cannot be copied.
    encode_because: Option<String>,
}

#[derive(Debug)]
struct Part {
    path: PathBuf,
    /// Of a part that a kill left unfinished: what is read in its place.
    finished: Option<TempPath>,
    video: gst::Caps,
    audio: gst::Caps,
    pictures: u64,
    last_picture_ns: u64,
    /// The shortest time from one picture to another.
    step_ns: Option<u64>,
    /// Pictures are stored in the order in which they are shown.
    in_order: bool,
    sounds: u64,
    sound_end_ns: u64,
}

impl Plan {
    /// Reads the parts, which are given in order, and finds out how they go together. A part that
    /// a kill left unfinished is copied into `scratch` for that, as long as the plan lives.
    ///
    /// # Errors
    /// A part that cannot be read, that holds no picture or no sound, or that is of another size
    /// or sound than the first; names the file. One that a kill has cut short counts as far as it
    /// plays.
    pub fn look(paths: &[PathBuf], scratch: &Path) -> Result<Self> {
        let parts =
            paths.iter().map(|path| Part::look(path, scratch)).collect::<Result<Vec<_>>>()?;
        let first = parts.first().ok_or_else(|| Error::internal("a recording without a part"))?;
        let canvas = first.canvas()?;
        let mut encode_because = None;
        for part in &parts {
            let (here, there) = (part.path.display(), first.path.display());
            if part.canvas()? != canvas {
                let (w, h) = part.canvas()?;
                return Err(Error::conflict(format!(
                    "{here} is {w}x{h}, but {there} is {}x{}; only parts of one size are joined",
                    canvas.0, canvas.1
                )));
            }
            if !same(&first.audio, &part.audio, &["codec_data", "rate", "channels"]) {
                return Err(Error::conflict(format!(
                    "the sound of {here} is encoded in another way than that of {there}; parts of \
                     one show have the same"
                )));
            }
            if !same(&first.video, &part.video, &["codec_data", "stream-format"]) {
                encode_because
                    .get_or_insert_with(|| format!("{} is of another encoder", name(&part.path)));
            }
            if !part.in_order {
                encode_because.get_or_insert_with(|| {
                    format!("{} does not store its pictures in order", name(&part.path))
                });
            }
        }
        // A file's own word for its rate is an average, which pictures that are missing spoil.
        let step_ns = parts.iter().filter_map(|part| part.step_ns).min();
        let fps = step_ns
            .and_then(|ns| gst_video::guess_framerate(gst::ClockTime::from_nseconds(ns)))
            .and_then(|f| FrameRate::new(f.numer().max(0) as u32, f.denom().max(0) as u32))
            .unwrap_or(FrameRate::whole(60));
        Ok(Plan { parts, fps, canvas, encode_because })
    }

    /// Pictures in all parts.
    pub fn frames(&self) -> u64 {
        self.parts.iter().map(|part| part.pictures).sum()
    }

    /// Length of all parts.
    pub fn seconds(&self) -> f64 {
        self.frames() as f64 * self.fps.frame_seconds()
    }

    /// Width and height in pixels.
    pub fn canvas(&self) -> (u32, u32) {
        self.canvas
    }

    pub fn fps(&self) -> FrameRate {
        self.fps
    }

    /// Why the pictures have to be encoded again; `None`: they are copied.
    pub fn encode_because(&self) -> Option<&str> {
        self.encode_because.as_deref()
    }

    /// Writes an MP4 at `path`; `on_frame` is told how many pictures have been read. Returns false if
    /// `stop` said so; what was written is not whole then.
    ///
    /// # Errors
    /// A part that can be read no longer, or a disk that is full. What was written stays.
    pub fn write(
        &self,
        path: &Path,
        stop: &dyn Fn() -> bool,
        on_frame: &mut dyn FnMut(u64),
    ) -> Result<bool> {
        let first = &self.parts[0];
        let mut encoder = match self.encode_because {
            Some(_) => Some(Encoder::start(self.canvas, self.fps, JOINED)?),
            None => None,
        };
        let video = if encoder.is_some() {
            stream_caps(self.canvas, self.fps)
        } else {
            let mut caps = first.video.clone();
            caps.make_mut().set("framerate", fraction(self.fps));
            caps
        };
        let caps = StreamCaps { video, audio: first.audio.clone() };
        let mut file = Joined::create(path, &caps)?;
        let (mut frames, mut first_place) = (0, 0);
        for part in &self.parts {
            let mut next = || {
                frames += 1;
                on_frame(frames);
                !stop()
            };
            if !self.add(part, first_place, encoder.as_mut(), &mut file, &mut next)? {
                return Ok(false);
            }
            first_place += part.places(self.fps);
        }
        if let Some(encoder) = &mut encoder {
            encoder.end()?;
            while let Some(unit) = encoder.take_rest()? {
                file.put(unit)?;
            }
        }
        file.finish().map(|()| true)
    }

    /// Adds a part whose first picture stands at `first_place` of the joined file; `on_frame` says
    /// whether to go on, and so does what is returned.
    fn add(
        &self,
        part: &Part,
        first_place: u64,
        mut encoder: Option<&mut Encoder>,
        file: &mut Joined,
        on_frame: &mut dyn FnMut() -> bool,
    ) -> Result<bool> {
        let start_ns = self.fps.pts_ns(first_place);
        let end_ns = self.fps.pts_ns(first_place + part.places(self.fps));
        let pictures = if encoder.is_some() { Pictures::Decoded } else { Pictures::Encoded };
        let mut reader = Reader::open(part.source(), pictures)?;
        let mut sounds = 0;
        while let Some(piece) = reader.next()? {
            let buffer =
                piece.sample.buffer_owned().ok_or_else(|| Error::internal("an empty sample"))?;
            if !piece.is_picture {
                sounds += 1;
                file.put_sound(buffer, start_ns + piece.pts_ns, end_ns)?;
                if sounds == part.sounds {
                    part.fill_with_silence(start_ns, end_ns, file)?;
                }
                continue;
            }
            let place = first_place + nearest_place(self.fps, piece.pts_ns);
            match &mut encoder {
                Some(encoder) => {
                    encoder.push(buffer, place)?;
                    while let Some(unit) = encoder.take()? {
                        file.put(unit)?;
                    }
                }
                None => {
                    let key = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
                    let kind = UnitKind::Video { key, mark: false, new_encoder: false };
                    let pts_ns = self.fps.pts_ns(place);
                    let duration_ns = self.fps.pts_ns(place + 1) - pts_ns;
                    file.put(Unit { kind, pts_ns, duration_ns, buffer })?;
                }
            }
            if !on_frame() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Part {
    fn look(path: &Path, scratch: &Path) -> Result<Self> {
        let finished = mend::finished_copy(path, scratch)?;
        let mut reader = Reader::open(finished.as_deref().unwrap_or(path), Pictures::Encoded)?;
        let (mut video, mut audio) = (None, None);
        let (mut pictures, mut sounds) = (0, 0);
        let (mut last_picture_ns, mut sound_end_ns) = (0, 0);
        let (mut previous, mut step_ns, mut in_order) = (None::<u64>, None::<u64>, true);
        while let Some(piece) = reader.next()? {
            let caps = piece.sample.caps_owned();
            if piece.is_picture {
                video = video.or(caps);
                pictures += 1;
                last_picture_ns = piece.pts_ns.max(last_picture_ns);
                if let Some(previous) = previous {
                    in_order &= piece.pts_ns > previous;
                    let step = piece.pts_ns.abs_diff(previous);
                    step_ns = Some(step_ns.map_or(step, |known| known.min(step)));
                }
                previous = Some(piece.pts_ns);
            } else {
                audio = audio.or(caps);
                sounds += 1;
                let rate = audio.as_ref().map_or(0, |caps| number(caps, "rate"));
                sound_end_ns = piece.pts_ns + AU_SAMPLES * NS / u64::from(rate.max(1));
            }
        }
        let lacks =
            |what: &str| reader.unreadable(Error::new(Kind::Io, format!("no {what} in it")));
        Ok(Part {
            video: video.ok_or_else(|| lacks("H.264 picture"))?,
            audio: audio.ok_or_else(|| lacks("AAC sound"))?,
            path: path.to_path_buf(),
            finished,
            pictures,
            last_picture_ns,
            step_ns,
            in_order,
            sounds,
            sound_end_ns,
        })
    }

    /// The file that is read.
    fn source(&self) -> &Path {
        self.finished.as_deref().unwrap_or(&self.path)
    }

    fn canvas(&self) -> Result<(u32, u32)> {
        match (number(&self.video, "width"), number(&self.video, "height")) {
            (0, _) | (_, 0) => Err(Error::new(
                Kind::Io,
                format!("{} does not say how large its picture is", self.path.display()),
            )),
            size => Ok(size),
        }
    }

    /// Places of the grid that its picture takes.
    fn places(&self, fps: FrameRate) -> u64 {
        nearest_place(fps, self.last_picture_ns) + 1
    }

    /// Behind the last sound: what is missing of it until the picture ends.
    fn fill_with_silence(&self, start_ns: u64, end_ns: u64, file: &mut Joined) -> Result<()> {
        let rate = u64::from(number(&self.audio, "rate").max(1));
        if number(&self.audio, "channels") != 2 {
            return Ok(());
        }
        let at = |n: u64| start_ns + self.sound_end_ns + n * AU_SAMPLES * NS / rate;
        for n in (0..).take_while(|n| at(n + 1) <= end_ns) {
            file.put_sound(gst::Buffer::from_slice(SILENCE), at(n), end_ns)?;
        }
        Ok(())
    }
}

/// The file that is written: units go in by time, as the muxer waits for the one that is behind.
struct Joined {
    writer: FileWriter,
    /// Both are short: as far as sound and picture lie apart in a part, and in the encoder.
    pictures: VecDeque<Unit>,
    sound: VecDeque<Unit>,
}

impl Joined {
    fn create(path: &Path, caps: &StreamCaps) -> Result<Self> {
        Ok(Joined {
            writer: FileWriter::replace(path, Container::Mp4, caps)?,
            pictures: VecDeque::new(),
            sound: VecDeque::new(),
        })
    }

    /// Sound that begins before `end_ns`; it ends there.
    fn put_sound(&mut self, buffer: gst::Buffer, pts_ns: u64, end_ns: u64) -> Result<()> {
        let left_ns = end_ns.saturating_sub(pts_ns);
        if left_ns == 0 {
            return Ok(());
        }
        let duration_ns = buffer.duration().map_or(left_ns, |own| own.nseconds().min(left_ns));
        self.put(Unit { kind: UnitKind::Audio, pts_ns, duration_ns, buffer })
    }

    fn put(&mut self, unit: Unit) -> Result<()> {
        match unit.kind {
            UnitKind::Video { .. } => self.pictures.push_back(unit),
            UnitKind::Audio => self.sound.push_back(unit),
        }
        while let (Some(picture), Some(sound)) = (self.pictures.front(), self.sound.front()) {
            let queue = match picture.pts_ns <= sound.pts_ns {
                true => &mut self.pictures,
                false => &mut self.sound,
            };
            if let Some(unit) = queue.pop_front() {
                self.writer.write(&unit)?;
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        for unit in self.pictures.iter().chain(&self.sound) {
            self.writer.write(unit)?;
        }
        self.writer.finish_within(FINISH_LIMIT)
    }
}

/// The place of the grid that is nearest to a time; files round it.
fn nearest_place(fps: FrameRate, pts_ns: u64) -> u64 {
    fps.frames_in(pts_ns.saturating_sub(fps.pts_ns(1) / 2))
}

fn same(a: &gst::Caps, b: &gst::Caps, fields: &[&str]) -> bool {
    let (Some(a), Some(b)) = (a.structure(0), b.structure(0)) else { return false };
    fields.iter().all(|field| match (a.value(*field), b.value(*field)) {
        (Ok(a), Ok(b)) => a.compare(b) == Some(std::cmp::Ordering::Equal),
        (a, b) => a.is_err() && b.is_err(),
    })
}

fn number(caps: &gst::Caps, field: &str) -> u32 {
    let value = caps.structure(0).and_then(|s| s.get::<i32>(field).ok());
    value.unwrap_or_default().max(0) as u32
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
