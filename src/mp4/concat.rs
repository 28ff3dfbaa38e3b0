//! Clips one behind the other in one MP4, copied, with sound and chapters; also a single clip that
//! gets those.
//!
//! Holds: pictures stand strictly on the grid of frames, whatever the clips' own times; the index
//! comes first; memory does not grow with the pictures. Nothing is under the name before it is
//! whole and on the disk.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::agree::common_rate;
use super::boxes::{put, put_box};
use super::clip::{Clip, Sound, rescale};
use super::index::{self, Media, Runs, Tags, Track};
use crate::base::error::{Error, Kind, Result};
use crate::base::fsio;
use crate::base::time::{FrameRate, NS};

/// A place to jump to.
#[derive(Clone, Debug)]
pub struct Chapter {
    pub title: String,
    /// From the start of the film.
    pub start_ns: u64,
}

/// What goes into one file. The clips' own sound is left out.
#[derive(Default)]
pub struct Concat {
    pub clips: Vec<Clip>,
    /// Cut where the picture ends; what stands before its start (priming) is kept and hidden.
    pub sound: Option<Sound>,
    /// In any order. Those behind the end are left out.
    pub chapters: Vec<Chapter>,
    pub tags: Tags,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Written {
    pub frames: u64,
    pub seconds: f64,
}

/// Bytes between two looks at whether to stop.
const STEP: u64 = 8 << 20;
/// Ticks a second at least, so that sound is placed well.
const LEAST_TIMESCALE: u32 = 10_000;
/// Of chapters: most frame rates divide it.
const TEXT_TIMESCALE: u32 = 90_000;
/// More bytes than the boxes besides index and samples take.
const SMALL: u64 = 1024;

/// Samples that stand together.
enum Chunk {
    Text,
    /// Pictures of a clip.
    Pictures {
        clip: usize,
        from: usize,
        to: usize,
    },
    Sound {
        from: usize,
        to: usize,
    },
}

impl Concat {
    /// Writes the film to `out`, in the place of what is there. `None`: `stop` said so, and nothing
    /// has changed. `on_progress` is told bytes, done and of how many.
    ///
    /// # Errors
    /// Clips that do not agree; a file that has changed since it was looked at; a disk that is full.
    pub fn write(
        &self,
        out: &Path,
        on_progress: &mut dyn FnMut(u64, u64),
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<Written>> {
        let rate = common_rate(&self.clips)
            .map_err(|why| Error::conflict(format!("the clips cannot be copied: {why}")))?;
        let first = self.clips.first().ok_or_else(|| Error::internal("no clip"))?;
        let frames: u64 = self.clips.iter().map(Clip::frames).sum();
        if frames > u64::from(u32::MAX / 2) {
            return Err(Error::conflict("that are more pictures than one MP4 can have"));
        }
        let film = Film::plan(self, first, rate, frames);
        let failed = |e| Error::io(format!("cannot write {}", out.display()), e);
        let temporary = tempfile::Builder::new()
            .prefix(".vfaq-")
            .suffix(".mp4")
            .tempfile_in(
                out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")),
            )
            .map_err(failed)?;
        let (mut file, temporary) = temporary.into_parts();
        file.write_all(&film.head).map_err(failed)?;
        let mut copy =
            Copy { file, to: out, from: None, done: 0, of: film.bytes, on_progress, stop };
        for chunk in &film.chunks {
            let go_on = match *chunk {
                Chunk::Text => copy.write(&film.text)?,
                Chunk::Pictures { clip, from, to } => {
                    let clip = &self.clips[clip];
                    let pictures = clip.pictures[from..to].iter();
                    let ranges = pictures.map(|picture| (picture.offset, picture.bytes));
                    copy.ranges(&clip.path, clip.length, ranges)?
                }
                Chunk::Sound { from, to } => match &self.sound {
                    Some(sound) => {
                        let ranges = sound.units[from..to].iter().map(|unit| (unit.0, unit.1));
                        copy.ranges(&sound.path, sound.length, ranges)?
                    }
                    None => true,
                },
            };
            if !go_on {
                return Ok(None);
            }
        }
        drop(copy);
        fsio::publish(temporary, out, true)?;
        let seconds = frames as f64 * rate.frame_seconds();
        Ok(Some(Written { frames, seconds }))
    }
}

/// What is written.
struct Film {
    /// All before the samples.
    head: Vec<u8>,
    text: Vec<u8>,
    chunks: Vec<Chunk>,
    /// Of the samples.
    bytes: u64,
}

impl Film {
    fn plan(concat: &Concat, first: &Clip, rate: FrameRate, frames: u64) -> Film {
        let times = LEAST_TIMESCALE.div_ceil(rate.num());
        // One frame lasts a whole number of ticks.
        let (timescale, ticks) = (rate.num() * times, rate.den().saturating_mul(times));
        let shown = frames * u64::from(ticks);

        let mut tracks = vec![picture_track(concat, first, (timescale, ticks), shown)];
        let mut sound = None;
        if let Some(of) = &concat.sound {
            let (track, units) = sound_track(of, timescale, shown);
            if units > 0 {
                sound = Some((tracks.len(), of, units));
                tracks.push(track);
            }
        }
        let mut text = Vec::new();
        let chapters = sorted(&concat.chapters, shown as f64 / f64::from(timescale));
        let text_track = tracks.len();
        if !chapters.is_empty() {
            tracks.push(chapter_track(&chapters, timescale, shown, &mut text));
            tracks[0].chapters = Some(text_track as u32 + 1);
        }

        let mut chunks = Vec::new();
        // The track, samples and bytes of each.
        let mut extents: Vec<(usize, u32, u64)> = Vec::new();
        if !text.is_empty() {
            chunks.push(Chunk::Text);
            extents.push((text_track, tracks[text_track].sizes.len() as u32, text.len() as u64));
        }
        let (mut frame, mut unit, mut heard) = (0, 0, 0);
        let second = rate.as_f64().ceil() as usize;
        for (clip, of) in concat.clips.iter().enumerate() {
            let mut from = 0;
            while from < of.pictures.len() {
                let to = of.pictures.len().min(from + second);
                let bytes = of.pictures[from..to].iter().map(|p| u64::from(p.bytes)).sum();
                chunks.push(Chunk::Pictures { clip, from, to });
                extents.push((0, (to - from) as u32, bytes));
                frame += (to - from) as u64;
                from = to;
                // The sound of these pictures; at the end, all.
                let Some((track, sound, units)) = sound else { continue };
                let time = frame as f64 * rate.frame_seconds() * f64::from(sound.timescale);
                let (begin, mut bytes) = (unit, 0);
                while unit < units && (frame == frames || (heard as f64) < time) {
                    bytes += u64::from(sound.units[unit].1);
                    heard += u64::from(sound.units[unit].2);
                    unit += 1;
                }
                if unit > begin {
                    chunks.push(Chunk::Sound { from: begin, to: unit });
                    extents.push((track, (unit - begin) as u32, bytes));
                }
            }
        }
        let bytes = extents.iter().map(|(_, _, bytes)| bytes).sum();
        let head = Film::head(&mut tracks, &extents, bytes, timescale, &concat.tags);
        Film { head, text, chunks, bytes }
    }

    /// All before the samples: the index says where they are, so its own length counts.
    fn head(
        tracks: &mut [Track],
        extents: &[(usize, u32, u64)],
        bytes: u64,
        timescale: u32,
        tags: &Tags,
    ) -> Vec<u8> {
        let mut head = Vec::new();
        put_box(&mut head, b"ftyp", |out| out.extend(b"isom\0\0\x02\0isomiso2avc1mp41"));
        // The size of the index does not hang on where chunks are, only on whether that is wide.
        place(tracks, extents, 0);
        let narrow = index::moov(timescale, tracks, tags, false).len() as u64;
        let wide = bytes + narrow + SMALL > u64::from(u32::MAX);
        let size = index::moov(timescale, tracks, tags, wide).len() as u64;
        let header = if wide { 16 } else { 8 };
        place(tracks, extents, head.len() as u64 + size + header);
        head.extend(index::moov(timescale, tracks, tags, wide));
        match wide {
            true => {
                put(&mut head, [1]);
                head.extend(b"mdat");
                head.extend((bytes + header).to_be_bytes());
            }
            false => {
                put(&mut head, [(bytes + header) as u32]);
                head.extend(b"mdat");
            }
        }
        head
    }
}

/// Lays the chunks one behind the other.
fn place(tracks: &mut [Track], extents: &[(usize, u32, u64)], begin: u64) {
    let mut offset = begin;
    tracks.iter_mut().for_each(|track| track.chunks.clear());
    for (track, samples, bytes) in extents {
        tracks[*track].chunks.push((offset, *samples));
        offset += bytes;
    }
}

fn picture_track(
    concat: &Concat,
    first: &Clip,
    (timescale, ticks): (u32, u32),
    shown: u64,
) -> Track {
    // Decoding must not come after showing: how many pictures are decoded ahead at most.
    let pictures = || concat.clips.iter().flat_map(|clip| clip.pictures.iter().zip(0u32..));
    let ahead = pictures().map(|(picture, n)| n.saturating_sub(picture.place)).max().unwrap_or(0);
    let (mut durations, mut shifts) = (Runs::default(), Runs::default());
    let (mut sizes, mut keys) = (Vec::new(), Vec::new());
    for (picture, n) in pictures() {
        durations.push(ticks);
        // A rate that leads beyond is no film's; nobody is to fall over it.
        shifts.push((picture.place + ahead - n).saturating_mul(ticks));
        sizes.push(picture.bytes);
        if picture.is_key {
            keys.push(sizes.len() as u32);
        }
    }
    let mut entry = first.entry.clone();
    // The one place that samples are in.
    entry[14..16].copy_from_slice(&1u16.to_be_bytes());
    let aspect = first.entry_boxes().find(b"pasp");
    let aspect = aspect.and_then(|pasp| pasp.u32(0).zip(pasp.u32(4)));
    let aspect = aspect.filter(|(h, v)| *h > 0 && *v > 0).map_or(1.0, |(h, v)| h as f64 / v as f64);
    Track {
        media: Media::Picture(
            (f64::from(first.width) * aspect).round() as u32 & 0xffff,
            first.height,
        ),
        timescale,
        duration: shown,
        shown,
        edits: vec![(shown, i64::from(ahead) * i64::from(ticks))],
        entry,
        durations,
        shifts,
        keys: (keys.len() < sizes.len()).then_some(keys),
        sizes,
        chunks: Vec::new(),
        chapters: None,
    }
}

/// The track, and how many of the access units it takes.
fn sound_track(sound: &Sound, timescale: u32, film: u64) -> (Track, usize) {
    let delay = (sound.delay * f64::from(timescale)).round() as u64;
    let plays = rescale(sound.plays, sound.timescale, timescale).min(film.saturating_sub(delay));
    let end = sound.priming + rescale(plays, timescale, sound.timescale);
    let (mut durations, mut sizes, mut duration) = (Runs::default(), Vec::new(), 0);
    for (_, bytes, length) in &sound.units {
        if duration >= end {
            break;
        }
        durations.push(*length);
        sizes.push(*bytes);
        duration += u64::from(*length);
    }
    let mut edits = Vec::new();
    if delay > 0 {
        edits.push((delay, -1));
    }
    edits.push((plays, sound.priming as i64));
    let mut entry = sound.entry.clone();
    entry[14..16].copy_from_slice(&1u16.to_be_bytes());
    let units = if plays == 0 { 0 } else { sizes.len() };
    let track = Track {
        media: Media::Sound,
        timescale: sound.timescale,
        duration,
        shown: delay + plays,
        edits,
        entry,
        durations,
        shifts: Runs::default(),
        sizes,
        keys: None,
        chunks: Vec::new(),
        chapters: None,
    };
    (track, units)
}

/// The chapters in order, each with its start in ticks; one without a title where the first begins
/// later.
fn sorted(chapters: &[Chapter], seconds: f64) -> Vec<(u64, &str)> {
    let at = |chapter: &Chapter| rescale(chapter.start_ns, NS as u32, TEXT_TIMESCALE);
    let mut sorted: Vec<(u64, &str)> =
        chapters.iter().map(|chapter| (at(chapter), chapter.title.as_str())).collect();
    sorted.sort_by_key(|(start, _)| *start);
    sorted.retain(|(start, _)| (*start as f64) < seconds * f64::from(TEXT_TIMESCALE));
    if sorted.first().is_some_and(|(start, _)| *start > 0) {
        sorted.insert(0, (0, ""));
    }
    sorted
}

fn chapter_track(
    chapters: &[(u64, &str)],
    timescale: u32,
    shown: u64,
    text: &mut Vec<u8>,
) -> Track {
    let end = rescale(shown, timescale, TEXT_TIMESCALE);
    let (mut durations, mut sizes) = (Runs::default(), Vec::new());
    for (n, (start, title)) in chapters.iter().enumerate() {
        let next = chapters.get(n + 1).map_or(end, |(next, _)| *next);
        durations.push(u32::try_from(next.saturating_sub(*start)).unwrap_or(u32::MAX));
        let sample = index::text_sample(title);
        sizes.push(sample.len() as u32);
        text.extend(sample);
    }
    Track {
        media: Media::Text,
        timescale: TEXT_TIMESCALE,
        duration: end,
        shown,
        edits: vec![(shown, 0)],
        entry: index::text_entry(),
        durations,
        shifts: Runs::default(),
        sizes,
        keys: None,
        chunks: Vec::new(),
        chapters: None,
    }
}

/// Copies pieces of files, one file open at a time.
struct Copy<'a> {
    file: File,
    to: &'a Path,
    from: Option<(PathBuf, File)>,
    done: u64,
    of: u64,
    on_progress: &'a mut dyn FnMut(u64, u64),
    stop: &'a dyn Fn() -> bool,
}

impl Copy<'_> {
    /// Copies what lies there, neighbours at once. Returns whether to go on.
    fn ranges(
        &mut self,
        path: &Path,
        length: u64,
        ranges: impl Iterator<Item = (u64, u32)>,
    ) -> Result<bool> {
        let changed = || {
            let why = format!("{} has changed since it was looked at", path.display());
            Error::new(Kind::Io, why)
        };
        let failed = |e| Error::io(format!("cannot read {}", path.display()), e);
        if self.from.as_ref().is_none_or(|(open, _)| open != path) {
            let file = File::open(path).map_err(failed)?;
            if file.metadata().map_err(failed)?.len() != length {
                return Err(changed());
            }
            self.from = Some((path.to_path_buf(), file));
        }
        let Some((_, from)) = &mut self.from else { return Ok(true) };
        let mut ranges = ranges.map(|(offset, bytes)| (offset, u64::from(bytes))).peekable();
        while let Some((offset, mut left)) = ranges.next() {
            while let Some((_, more)) = ranges.next_if(|(next, _)| *next == offset + left) {
                left += more;
            }
            from.seek(SeekFrom::Start(offset)).map_err(failed)?;
            while left > 0 {
                if (self.stop)() {
                    return Ok(false);
                }
                let step = left.min(STEP);
                // In the kernel, where the system can.
                let copied = std::io::copy(&mut from.take(step), &mut self.file).map_err(|e| {
                    let what = format!("cannot copy {} to {}", path.display(), self.to.display());
                    Error::io(what, e)
                })?;
                if copied != step {
                    return Err(changed());
                }
                left -= step;
                self.done += step;
                (self.on_progress)(self.done, self.of);
            }
        }
        Ok(true)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<bool> {
        let failed = |e| Error::io(format!("cannot write {}", self.to.display()), e);
        self.file.write_all(bytes).map_err(failed)?;
        self.done += bytes.len() as u64;
        Ok(true)
    }
}
