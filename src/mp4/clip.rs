//! What is in an MP4: its picture, sample by sample, with the place of each on the grid of frames;
//! and its sound.
//!
//! Holds: every sample of a [`Clip`] or a [`Sound`] lies wholly in the file as it was looked at.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::boxes::{self, Fields};
use super::track::{self, Edit, Movie, Track};
use crate::base::error::{Error, Kind, Result};
use crate::base::time::FrameRate;

/// A box that describes more than this is damaged.
const LARGEST_TABLE: u64 = 1 << 30;
/// Bytes of a sample entry for pictures before the boxes in it, and of one for sound.
const PICTURE_ENTRY: usize = 78;
const SOUND_ENTRY: usize = 28;
/// Ticks that a time may be off its place: two roundings.
const ROUNDING: f64 = 1.5;
/// Bytes of a clip's first picture that are looked at.
const BEGINNING: usize = 64 << 10;

/// H.264 decodes at most 16 pictures ahead.
const MOST_AHEAD: u32 = 64;

/// A picture as it is stored, in the order of decoding.
#[derive(Clone, Copy, Debug)]
pub(super) struct Picture {
    pub offset: u64,
    pub bytes: u32,
    /// At which place it is shown, from 0 on.
    pub place: u32,
    pub is_key: bool,
}

/// The picture of an MP4.
#[derive(Clone, Debug)]
pub struct Clip {
    pub path: PathBuf,
    pub width: u32,
    pub height: u32,
    /// `avc1` is H.264.
    pub codec: [u8; 4],
    /// `None`: its pictures are not evenly spaced.
    pub rate: Option<FrameRate>,
    /// From its first picture to the end of its last.
    pub seconds: f64,
    /// Why it cannot be copied together with others, as words behind its name.
    pub(super) obstacle: Option<String>,
    /// Ticks of its timescale from the first picture to the last, and the steps between.
    span: (u64, u64),
    timescale: u32,
    /// The sample entry without what differs from file to file.
    pub(super) entry: Vec<u8>,
    pub(super) pictures: Vec<Picture>,
    /// Of the file.
    pub(super) length: u64,
}

impl Clip {
    /// Reads the tables of the MP4 at `path`, finished or in fragments.
    ///
    /// # Errors
    /// Names the file, and says what is wrong: missing, empty, cut off, no MP4, no picture.
    pub fn look(path: &Path) -> Result<Clip> {
        let mut file = open(path)?;
        let (movie, length) = tracks(&mut file).map_err(|why| why.of(path))?;
        let clip = Clip::from_movie(path, movie, length, &mut file);
        clip.map_err(|why| Fault::Says(why).of(path))
    }

    /// Pictures that are shown.
    pub fn frames(&self) -> u64 {
        self.pictures.len() as u64
    }

    /// Bytes of its pictures.
    pub fn bytes(&self) -> u64 {
        self.pictures.iter().map(|picture| u64::from(picture.bytes)).sum()
    }

    /// Whether its pictures stand at this rate, but for rounding; few pictures tell it less well.
    pub(super) fn has_rate(&self, rate: FrameRate) -> bool {
        let (ticks, steps) = self.span;
        let step = rate.frame_seconds() * f64::from(self.timescale);
        let off = (ticks as f64 - steps as f64 * step).abs();
        self.rate.is_some() && off <= f64::min(ROUNDING, step / 4.0)
    }

    /// The parameter sets of H.264 (`avcC`).
    pub(super) fn parameter_sets(&self) -> &[u8] {
        self.entry_boxes().find(b"avcC").map_or(&[], |fields| fields.0)
    }

    /// The boxes in the sample entry.
    pub(super) fn entry_boxes(&self) -> Fields<'_> {
        Fields(self.entry.get(8 + PICTURE_ENTRY..).unwrap_or_default())
    }

    fn from_movie(path: &Path, movie: Movie, length: u64, file: &mut File) -> track::Result<Clip> {
        let mut tracks = movie.tracks.into_iter();
        let track = tracks.find(|track| track.handler == *b"vide" && !track.samples.is_empty());
        let track = track.ok_or("holds no picture")?;
        all_in_file(&track, length)?;
        let first = track.entries.first().ok_or("does not say what its pictures are")?;
        let (entry, codec) = kept(first).ok_or("has a damaged index (stsd)")?;
        let side = |at: usize| Fields(&entry).u16(8 + at).map_or(0, u32::from);
        let (width, height) = (side(24), side(26));
        if width == 0 || height == 0 {
            return Err("does not say how large its picture is".into());
        }
        let mut obstacle = match track.entries.len() {
            1 => None,
            _ => Some("changes its H.264 parameter sets in the middle".to_owned()),
        };
        let shown = Shown::of(&track, movie.timescale)?;
        let mut find = |why: &str| {
            obstacle.get_or_insert_with(|| why.to_owned());
        };
        if shown.pieces > 1 {
            find("is put together of several pieces by its edit list");
        }
        if shown.hidden > 0 {
            find("holds pictures that its edit list hides");
        }
        let order = shown.pictures.iter().zip(0u32..);
        if order.clone().any(|(picture, n)| picture.place.abs_diff(n) > MOST_AHEAD) {
            find("stores its pictures far from where they are shown");
        }
        let rate = rate(track.timescale, &shown);
        if rate.is_none() {
            find("has pictures that are not evenly spaced");
        }
        let mut clip = Clip {
            path: path.to_path_buf(),
            width,
            height,
            codec,
            rate,
            seconds: shown.length as f64 / f64::from(track.timescale),
            span: span(&shown),
            timescale: track.timescale,
            obstacle: None,
            entry,
            pictures: shown.pictures,
            length,
        };
        if let Some(rate) = rate {
            clip.seconds = clip.frames() as f64 * rate.frame_seconds();
        }
        if clip.codec == *b"avc1" && !begins_anew(&clip, file) {
            find("does not begin with a key frame");
        }
        clip.obstacle = obstacle;
        Ok(clip)
    }
}

/// The AAC sound of an MP4.
#[derive(Clone, Debug)]
pub struct Sound {
    pub path: PathBuf,
    pub timescale: u32,
    pub(super) entry: Vec<u8>,
    /// Offset, bytes and duration.
    pub(super) units: Vec<(u64, u32, u32)>,
    /// Seconds after which it begins.
    pub(super) delay: f64,
    /// What is left out at the beginning: an encoder's priming. In its timescale.
    pub(super) priming: u64,
    /// How long it plays from there on, in its timescale.
    pub(super) plays: u64,
    pub(super) length: u64,
}

impl Sound {
    /// Reads the tables of the MP4 at `path`.
    ///
    /// # Errors
    /// Names the file, and says what is wrong: also, that it holds no AAC.
    pub fn look(path: &Path) -> Result<Sound> {
        let mut file = open(path)?;
        let (movie, length) = tracks(&mut file).map_err(|why| why.of(path))?;
        Sound::from_movie(path, movie, length).map_err(|why| Fault::Says(why).of(path))
    }

    /// How long it plays.
    pub fn seconds(&self) -> f64 {
        self.plays as f64 / f64::from(self.timescale)
    }

    fn from_movie(path: &Path, movie: Movie, length: u64) -> track::Result<Sound> {
        let mut tracks = movie.tracks.into_iter();
        let track = tracks.find(|track| track.handler == *b"soun" && !track.samples.is_empty());
        let track = track.ok_or("holds no sound")?;
        all_in_file(&track, length)?;
        let entry = match track.entries.as_slice() {
            [entry] if Fields(entry).kind(4) == Some(*b"mp4a") && entry.len() > 8 + SOUND_ENTRY => {
                entry.clone()
            }
            _ => return Err("holds sound that is no AAC".into()),
        };
        let media: u64 = track.samples.iter().map(|sample| u64::from(sample.duration)).sum();
        let pieces: Vec<Edit> =
            track.edits.iter().copied().skip_while(|edit| edit.from.is_none()).collect();
        let delay: u64 = match track.edits.iter().position(|edit| edit.from.is_some()) {
            Some(first) => track.edits[..first].iter().map(|edit| edit.duration).sum(),
            None => 0,
        };
        let (priming, plays) = match pieces.as_slice() {
            [] => (0, media),
            [Edit { duration, from: Some(from) }] => {
                let left = media.saturating_sub(*from);
                let plays = rescale(*duration, movie.timescale, track.timescale);
                (*from, if *duration == 0 { left } else { plays.min(left) })
            }
            _ => return Err("has sound that its edit list puts together of several pieces".into()),
        };
        Ok(Sound {
            path: path.to_path_buf(),
            timescale: track.timescale,
            entry,
            units: track.samples.iter().map(|s| (s.offset, s.bytes, s.duration)).collect(),
            delay: delay as f64 / f64::from(movie.timescale),
            priming,
            plays,
            length,
        })
    }
}

/// What stands in the way of reading a file.
enum Fault {
    Io(std::io::Error),
    /// Words behind its name.
    Says(String),
}

impl Fault {
    fn of(self, path: &Path) -> Error {
        match self {
            Fault::Io(error) => Error::io(format!("cannot read {}", path.display()), error),
            Fault::Says(why) => Error::new(Kind::Io, format!("{} {why}", path.display())),
        }
    }
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|e| Error::io(format!("cannot open {}", path.display()), e))
}

/// The tracks with all their samples, and the length of the file.
fn tracks(file: &mut File) -> std::result::Result<(Movie, u64), Fault> {
    let top = boxes::top(file).map_err(Fault::Io)?;
    let says = |why: &str| Err(Fault::Says(why.to_owned()));
    if top.length == 0 {
        return says("is empty");
    }
    if let Some(missing) = top.missing {
        return Err(Fault::Says(format!("is cut off: {missing} bytes of it are missing")));
    }
    let known = |kind: &[u8; 4]| top.boxes.iter().any(|place| place.kind == *kind);
    if top.end != top.length {
        return says(match known(b"ftyp") || known(b"moov") {
            true => "is cut off or damaged",
            false => "is no MP4 file",
        });
    }
    let mut movie: Option<Movie> = None;
    for place in &top.boxes {
        if place.kind != *b"moov" && place.kind != *b"moof" {
            continue;
        }
        if place.end - place.content > LARGEST_TABLE {
            return says("has a damaged index");
        }
        let table = boxes::read(file, *place).map_err(Fault::Io)?;
        match &mut movie {
            None if place.kind == *b"moov" => {
                movie = Some(track::movie(Fields(&table), top.length).map_err(Fault::Says)?);
            }
            Some(movie) if place.kind == *b"moof" => {
                track::fragment(Fields(&table), place.start, top.length, &mut movie.tracks)
                    .map_err(Fault::Says)?;
            }
            _ => {}
        }
    }
    match movie {
        Some(movie) => Ok((movie, top.length)),
        None if known(b"ftyp") || known(b"mdat") => says("is cut off (it has no index)"),
        None => says("is no MP4 file"),
    }
}

fn all_in_file(track: &Track, length: u64) -> track::Result<()> {
    for sample in &track.samples {
        let end = sample.offset.saturating_add(sample.bytes.into());
        if end > length {
            return Err(format!("is cut off: {} bytes of it are missing", end - length));
        }
        if sample.bytes == 0 {
            return Err("has a damaged index (stsz)".into());
        }
    }
    Ok(())
}

/// A sample entry for pictures without what says how many bits a second there are, and its kind.
fn kept(entry: &[u8]) -> Option<(Vec<u8>, [u8; 4])> {
    let kind = Fields(entry).kind(4)?;
    let head = entry.get(8..8 + PICTURE_ENTRY)?;
    let inner = Fields(entry.get(8 + PICTURE_ENTRY..)?);
    let mut out = Vec::with_capacity(entry.len());
    boxes::put_box(&mut out, &kind, |out| {
        out.extend(head);
        for (kind, content) in inner.boxes().filter(|(kind, _)| kind != b"btrt") {
            boxes::put_box(out, &kind, |out| out.extend(content.0));
        }
    });
    Some((out, kind))
}

/// What of a track is shown.
struct Shown {
    pictures: Vec<Picture>,
    /// When they are shown, in order, in the track's timescale, from the first on.
    times: Vec<u64>,
    /// From the first picture to the end of the last.
    length: u64,
    /// Pieces of the edit list.
    pieces: usize,
    /// Pictures that stay among the others, and are not shown.
    hidden: usize,
}

impl Shown {
    fn of(track: &Track, movie_scale: u32) -> track::Result<Shown> {
        let at = |n: usize| {
            let sample = track.samples[n];
            i128::from(sample.time) + i128::from(sample.shift)
        };
        let mut order: Vec<usize> = (0..track.samples.len()).collect();
        order.sort_by_key(|n| at(*n));
        let mut steps: Vec<i128> = order.windows(2).map(|w| at(w[1]) - at(w[0])).collect();
        steps.sort_unstable();
        let usual = i128::from(track.samples[0].duration);
        let step = steps.get(steps.len() / 2).copied().unwrap_or(usual).max(1);

        // Edit lists are rounded to the movie's timescale.
        let near = step / 4;
        let pieces: Vec<(i128, i128)> = track
            .edits
            .iter()
            .filter_map(|edit| {
                let from = i128::from(edit.from?);
                let length = rescale(edit.duration, movie_scale, track.timescale);
                Some((from, if edit.duration == 0 { i128::MAX } else { from + i128::from(length) }))
            })
            .collect();
        let is_shown = |n: usize| {
            let inside = |(from, to): &(i128, i128)| at(n) >= from - near && at(n) < to - near;
            pieces.is_empty() || pieces.iter().any(inside)
        };
        // What is hidden at both ends goes, as far as nothing that is shown needs it.
        let all = 0..track.samples.len();
        let first = all.clone().find(|n| is_shown(*n)).ok_or("holds no picture that is shown")?;
        let last = all.clone().rfind(|n| is_shown(*n)).unwrap_or(first);
        let begin = (0..=first).rfind(|n| track.samples[*n].is_key).unwrap_or(0);

        let mut places = vec![u32::MAX; track.samples.len()];
        let mut times = Vec::new();
        let mut end = 0;
        let start = order.iter().find(|n| is_shown(**n)).map_or(0, |n| at(*n));
        for n in order.into_iter().filter(|n| is_shown(*n)) {
            places[n] = times.len() as u32;
            times.push((at(n) - start) as u64);
            end = at(n) - start + i128::from(track.samples[n].duration);
        }
        let hidden = (begin..=last).filter(|n| places[*n] == u32::MAX).count();
        let pictures = (begin..=last)
            .filter(|n| places[*n] != u32::MAX)
            .map(|n| {
                let sample = track.samples[n];
                let (offset, bytes, is_key) = (sample.offset, sample.bytes, sample.is_key);
                Picture { offset, bytes, place: places[n], is_key }
            })
            .collect();
        let length = end.max(0) as u64;
        Ok(Shown { pictures, times, length, pieces: pieces.len(), hidden })
    }
}

/// Ticks from the first picture to the last, and the steps between; of one picture, to its end.
fn span(shown: &Shown) -> (u64, u64) {
    match shown.times.as_slice() {
        [] | [_] => (shown.length, 1),
        [.., last] => (*last, shown.times.len() as u64 - 1),
    }
}

/// The rate at which every picture stands on its place, but for rounding. `None`: there is none.
fn rate(timescale: u32, shown: &Shown) -> Option<FrameRate> {
    let (last, steps) = span(shown);
    let step = u32::try_from(last / steps).ok().filter(|step| *step > 0)?;
    if shown.times.windows(2).all(|w| w[1] - w[0] == u64::from(step)) {
        return FrameRate::new(timescale, step);
    }
    let most_off = f64::min(ROUNDING, f64::from(step) / 4.0);
    let fits = |rate: &FrameRate| {
        let ticks = rate.frame_seconds() * f64::from(timescale);
        let times = shown.times.iter().enumerate();
        times.into_iter().all(|(n, time)| (*time as f64 - n as f64 * ticks).abs() <= most_off)
    };
    // A whole number, that of television, or the simplest fraction.
    let per_second = steps as f64 * f64::from(timescale) / last as f64;
    let nearest = |den: u32, of: u32| {
        let num = (per_second * f64::from(den) / f64::from(of)).round() as u32;
        FrameRate::new(num.checked_mul(of)?, den)
    };
    let usual = [nearest(1, 1), nearest(1001, 1000)].into_iter();
    usual.chain((2..=1000).map(|den| nearest(den, 1))).flatten().find(fits)
}

/// Whether the first picture of H.264 needs none before it: an IDR picture (ITU-T H.264, 7.4.1).
fn begins_anew(clip: &Clip, file: &mut File) -> bool {
    let Some(first) = clip.pictures.first() else { return false };
    let Some(length_bytes) = clip.parameter_sets().get(4).map(|byte| usize::from(byte & 3) + 1)
    else {
        return false;
    };
    let mut bytes = vec![0; BEGINNING.min(first.bytes as usize)];
    let read = file.seek(SeekFrom::Start(first.offset)).and_then(|_| file.read_exact(&mut bytes));
    let mut rest = bytes.as_slice();
    while read.is_ok() && rest.len() > length_bytes {
        let (size, unit) = rest.split_at(length_bytes);
        let size = size.iter().fold(0, |size, byte| size << 8 | usize::from(*byte));
        match unit[0] & 0x1f {
            5 => return true,
            1..=4 => return false,
            _ => rest = unit.get(size..).unwrap_or_default(),
        }
    }
    false
}

/// A time in another timescale, to the nearest.
pub(super) fn rescale(time: u64, from: u32, to: u32) -> u64 {
    let (time, from, to) = (u128::from(time), u128::from(from.max(1)), u128::from(to));
    u64::try_from((time * to + from / 2) / from).unwrap_or(u64::MAX)
}
