//! Where the samples of an MP4 are that was never finished: GStreamer's demuxer reads no further
//! than its first fragment.
//!
//! The boxes are those of ISO 14496-12. Read is what [`FileWriter`] leaves behind: a `moov` with
//! the first fragment in its tables, then fragments whose data stands before their `moof`.
//!
//! Holds: a sample that is not wholly in the file is left out, and everything behind it.
//!
//! [`FileWriter`]: crate::stream::output::writer::FileWriter

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use crate::base::time::NS;

/// A picture or an AAC access unit, and where its bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    pub is_picture: bool,
    pub is_key: bool,
    /// From the start of the file's movie.
    pub pts_ns: u64,
    pub duration_ns: u64,
    pub offset: u64,
    pub bytes: u32,
}

/// A box that describes more than this is damaged: tables of a fragment are a few kilobytes.
const LARGEST_TABLE: u64 = 64 << 20;
/// In a sample's flags: it is no key frame.
const NON_SYNC: u32 = 0x1_0000;

/// All samples by time if the file is unfinished; `None`: it is finished, or something else.
pub fn unfinished(file: &mut File) -> std::io::Result<Option<Vec<Sample>>> {
    let length = file.metadata()?.len();
    let mut tracks = Vec::new();
    let (mut at, mut fragments) = (0, 0);
    while at + 8 <= length {
        file.seek(SeekFrom::Start(at))?;
        let mut head = [0; 16];
        let there = (length - at).min(16) as usize;
        file.read_exact(&mut head[..there])?;
        let head = Fields(&head);
        let (header, size) = match head.u32(0) {
            Some(1) => (16, head.u64(8).unwrap_or(0)),
            size => (8, u64::from(size.unwrap_or(0))),
        };
        // The data behind has no `moof` yet.
        if size < header || size > length - at {
            break;
        }
        let kind = head.0.get(4..8).unwrap_or_default();
        if (kind == b"moov" || kind == b"moof") && size < LARGEST_TABLE {
            let mut table = vec![0; (size - header) as usize];
            file.seek(SeekFrom::Start(at + header))?;
            file.read_exact(&mut table)?;
            if kind == b"moov" {
                tracks = movie(Fields(&table)).unwrap_or_default();
            } else if fragment(Fields(&table), at, &mut tracks).is_some() {
                fragments += 1;
            }
        }
        at += size;
    }
    // One that was cut within its first fragments has its data at the end, without a table.
    if fragments == 0 && at == length {
        return Ok(None);
    }
    let mut samples: Vec<Sample> = tracks
        .into_iter()
        .flat_map(|track| {
            track.samples.into_iter().take_while(|s| s.offset + u64::from(s.bytes) <= length)
        })
        .collect();
    samples.sort_by_key(|sample| sample.pts_ns);
    Ok(Some(samples).filter(|samples| !samples.is_empty()))
}

struct Track {
    id: u32,
    timescale: u64,
    is_picture: bool,
    /// Of the first sample.
    start_ns: i128,
    /// Decoding time behind the last sample, in the track's timescale.
    next: u64,
    /// Of the last sample.
    duration: u32,
    /// Duration, size and flags, for fragments that do not say.
    defaults: [u32; 3],
    samples: Vec<Sample>,
}

impl Track {
    /// A sample without a duration, which mp4mux writes at a fragment's end, has that of the one
    /// before.
    fn add(&mut self, offset: u64, duration: u32, bytes: u32, is_key: bool) {
        let duration = if duration == 0 { self.duration } else { duration };
        self.duration = duration;
        let at = |ticks: u64| {
            let ns = i128::from(ticks) * i128::from(NS) / i128::from(self.timescale.max(1));
            (ns + self.start_ns).max(0) as u64
        };
        let (pts_ns, end_ns) = (at(self.next), at(self.next + u64::from(duration)));
        self.next += u64::from(duration);
        let (is_picture, duration_ns) = (self.is_picture, end_ns - pts_ns);
        self.samples.push(Sample { is_picture, is_key, pts_ns, duration_ns, offset, bytes });
    }
}

/// The tracks, with the samples that the tables of `moov` have.
fn movie(moov: Fields<'_>) -> Option<Vec<Track>> {
    let movie_header = moov.find(b"mvhd")?;
    let movie_scale = movie_header.u32(if movie_header.version() == 1 { 20 } else { 12 })?;
    let mut tracks = Vec::new();
    for (_, trak) in moov.boxes().filter(|(kind, _)| kind == b"trak") {
        let header = trak.find(b"tkhd")?;
        let media = trak.find(b"mdia")?;
        let media_header = media.find(b"mdhd")?;
        let long = |fields: Fields<'_>| fields.version() == 1;
        let mut track = Track {
            id: header.u32(if long(header) { 20 } else { 12 })?,
            timescale: media_header.u32(if long(media_header) { 20 } else { 12 })?.into(),
            is_picture: media.find(b"hdlr")?.0.get(8..12)? == b"vide",
            start_ns: 0,
            next: 0,
            duration: 0,
            defaults: [0; 3],
            samples: Vec::new(),
        };
        if let Some(edits) = trak.find(b"edts").and_then(|edts| edts.find(b"elst")) {
            track.start_ns = start(edits, movie_scale.max(1), track.timescale.max(1))?;
        }
        if let Some(extends) = moov.find(b"mvex") {
            let of_track = |fields: &Fields<'_>| fields.u32(4) == Some(track.id);
            let mut trex = extends.boxes().filter(|(kind, _)| kind == b"trex").map(|(_, t)| t);
            if let Some(trex) = trex.find(of_track) {
                track.defaults = [trex.u32(12)?, trex.u32(16)?, trex.u32(20)?];
            }
        }
        tables(media.find(b"minf")?.find(b"stbl")?, &mut track)?;
        tracks.push(track);
    }
    Some(tracks)
}

/// When a track's first sample is shown, by its edit list: what stands before is empty.
fn start(edits: Fields<'_>, movie_scale: u32, timescale: u64) -> Option<i128> {
    let long = edits.version() == 1;
    let mut start_ns = 0;
    for n in 0..edits.u32(4)? as usize {
        let (duration, media_time) = match long {
            true => (edits.u64(8 + n * 20)?, edits.u64(16 + n * 20)? as i64),
            false => (edits.u32(8 + n * 12)?.into(), i64::from(edits.u32(12 + n * 12)? as i32)),
        };
        if media_time >= 0 {
            return Some(
                start_ns - i128::from(media_time) * i128::from(NS) / i128::from(timescale),
            );
        }
        start_ns += i128::from(duration) * i128::from(NS) / i128::from(movie_scale);
    }
    Some(start_ns)
}

/// Reads the sample tables of `moov`.
fn tables(stbl: Fields<'_>, track: &mut Track) -> Option<()> {
    let times = stbl.find(b"stts")?;
    let durations = (0..times.u32(4)? as usize).flat_map(|n| {
        let run = times.u32(8 + n * 8).zip(times.u32(12 + n * 8)).unwrap_or_default();
        std::iter::repeat_n(run.1, run.0 as usize)
    });
    let sizes = stbl.find(b"stsz")?;
    let keys = stbl.find(b"stss");
    let is_key = |sample: u32| match keys {
        Some(keys) => {
            (0..keys.u32(4).unwrap_or(0) as usize).any(|n| keys.u32(8 + n * 4) == Some(sample + 1))
        }
        None => true,
    };
    let runs = stbl.find(b"stsc")?;
    let run = |n: usize| runs.u32(8 + n * 12).zip(runs.u32(12 + n * 12));
    let (chunks, long) = match stbl.find(b"co64") {
        Some(chunks) => (chunks, true),
        None => (stbl.find(b"stco")?, false),
    };
    let mut durations = durations;
    let (mut sample, mut at_run) = (0, 0);
    for chunk in 0..chunks.u32(4)? as usize {
        while run(at_run + 1).is_some_and(|(first, _)| first as usize <= chunk + 1)
            && at_run + 1 < runs.u32(4)? as usize
        {
            at_run += 1;
        }
        let mut offset = match long {
            true => chunks.u64(8 + chunk * 8)?,
            false => chunks.u32(8 + chunk * 4)?.into(),
        };
        for _ in 0..run(at_run)?.1 {
            let bytes = match sizes.u32(4)? {
                0 => sizes.u32(12 + sample as usize * 4)?,
                all => all,
            };
            track.add(offset, durations.next()?, bytes, is_key(sample));
            offset += u64::from(bytes);
            sample += 1;
        }
    }
    Some(())
}

/// Adds the samples of a `moof`, which begins at `at` in the file.
fn fragment(moof: Fields<'_>, at: u64, tracks: &mut [Track]) -> Option<()> {
    for (_, traf) in moof.boxes().filter(|(kind, _)| kind == b"traf") {
        let header = traf.find(b"tfhd")?;
        let id = header.u32(4)?;
        let Some(track) = tracks.iter_mut().find(|track| track.id == id) else { continue };
        let flags = header.flags();
        let mut place = 8;
        let mut base = at;
        if flags & 1 != 0 {
            base = header.u64(place)?;
            place += 8;
        }
        if flags & 2 != 0 {
            place += 4;
        }
        let mut defaults = track.defaults;
        for (bit, value) in [8, 0x10, 0x20].into_iter().zip(&mut defaults) {
            if flags & bit != 0 {
                *value = header.u32(place)?;
                place += 4;
            }
        }
        if let Some(time) = traf.find(b"tfdt") {
            track.next = if time.version() == 1 { time.u64(4)? } else { time.u32(4)?.into() };
        }
        let mut offset = base;
        for (_, run) in traf.boxes().filter(|(kind, _)| kind == b"trun") {
            let flags = run.flags();
            let mut place = 8;
            let mut take = |wanted: bool| -> Option<Option<u32>> {
                if !wanted {
                    return Some(None);
                }
                place += 4;
                run.u32(place - 4).map(Some)
            };
            if let Some(from_base) = take(flags & 1 != 0)? {
                offset = base.checked_add_signed((from_base as i32).into())?;
            }
            let mut first_flags = take(flags & 4 != 0)?;
            for _ in 0..run.u32(4)? {
                let duration = take(flags & 0x100 != 0)?.unwrap_or(defaults[0]);
                let bytes = take(flags & 0x200 != 0)?.unwrap_or(defaults[1]);
                let own_flags = take(flags & 0x400 != 0)?;
                take(flags & 0x800 != 0)?;
                let sample_flags = first_flags.take().or(own_flags).unwrap_or(defaults[2]);
                track.add(offset, duration, bytes, sample_flags & NON_SYNC == 0);
                offset += u64::from(bytes);
            }
        }
    }
    Some(())
}

/// The content of a box.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn u32(self, at: usize) -> Option<u32> {
        Some(u32::from_be_bytes(*self.0.get(at..)?.first_chunk()?))
    }

    fn u64(self, at: usize) -> Option<u64> {
        Some(u64::from_be_bytes(*self.0.get(at..)?.first_chunk()?))
    }

    fn version(self) -> u32 {
        self.u32(0).unwrap_or(0) >> 24
    }

    fn flags(self) -> u32 {
        self.u32(0).unwrap_or(0) & 0xff_ffff
    }

    fn find(self, wanted: &[u8; 4]) -> Option<Fields<'a>> {
        self.boxes().find(|(kind, _)| kind == wanted).map(|(_, fields)| fields)
    }

    /// The boxes in it, up to one that is damaged.
    fn boxes(self) -> impl Iterator<Item = ([u8; 4], Fields<'a>)> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let size = Fields(rest).u32(0)? as usize;
            let kind = *rest.get(4..)?.first_chunk()?;
            let content = rest.get(8..size)?;
            rest = &rest[size..];
            Some((kind, Fields(content)))
        })
    }
}
