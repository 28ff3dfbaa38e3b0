//! The tables of an MP4: where the samples of its tracks are and when they are due, from `moov`
//! and from the fragments behind it (ISO 14496-12, 8.6 to 8.8).
//!
//! Holds: damaged tables give an error, never a panic, and never more samples than the tables, or
//! the bytes of the file, can have.

use super::boxes::Fields;

/// Says in a few words, behind "the file", what is wrong with it.
pub type Result<T> = std::result::Result<T, String>;

/// A picture or an access unit of sound, in the order of decoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    pub offset: u64,
    pub bytes: u32,
    pub is_key: bool,
    /// When it is decoded, in the track's timescale.
    pub time: u64,
    pub duration: u32,
    /// How much later it is shown.
    pub shift: i32,
}

/// A piece of an edit list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edit {
    /// In the movie's timescale; 0 in a file of fragments: to the end.
    pub duration: u64,
    /// Where it begins in the track. `None`: nothing is shown so long.
    pub from: Option<u64>,
}

#[derive(Debug)]
pub struct Movie {
    pub timescale: u32,
    pub tracks: Vec<Track>,
}

#[derive(Debug)]
pub struct Track {
    pub id: u32,
    /// `vide`, `soun`; the samples of others are not read.
    pub handler: [u8; 4],
    pub timescale: u32,
    /// The boxes in `stsd`, whole.
    pub entries: Vec<Vec<u8>>,
    pub edits: Vec<Edit>,
    pub samples: Vec<Sample>,
    /// Duration, size and flags, for fragments that do not say.
    defaults: [u32; 3],
    /// Decoding time behind the last sample.
    next: u64,
}

/// In a sample's flags: it is no key frame.
const NON_SYNC: u32 = 0x1_0000;

fn need<T>(value: Option<T>, what: &str) -> Result<T> {
    value.ok_or_else(|| format!("has a damaged index ({what})"))
}

/// Reads the content of `moov`; the file has `length` bytes.
pub fn movie(moov: Fields<'_>, length: u64) -> Result<Movie> {
    let header = need(moov.find(b"mvhd"), "mvhd")?;
    let mut tracks = Vec::new();
    for trak in moov.all(b"trak") {
        tracks.push(Track::read(trak, moov.find(b"mvex"), length)?);
    }
    Ok(Movie { timescale: scale(header, "mvhd")?, tracks })
}

/// The timescale in `mvhd` or `mdhd`.
fn scale(header: Fields<'_>, what: &str) -> Result<u32> {
    let scale = header.u32(if header.version() == 1 { 20 } else { 12 });
    need(scale.filter(|scale| *scale > 0), what)
}

impl Track {
    fn read(trak: Fields<'_>, mvex: Option<Fields<'_>>, length: u64) -> Result<Track> {
        let header = need(trak.find(b"tkhd"), "tkhd")?;
        let media = need(trak.find(b"mdia"), "mdia")?;
        let id = need(header.u32(if header.version() == 1 { 20 } else { 12 }), "tkhd")?;
        let handler = need(media.find(b"hdlr").and_then(|hdlr| hdlr.kind(8)), "hdlr")?;
        let mut track = Track {
            id,
            handler,
            timescale: scale(need(media.find(b"mdhd"), "mdhd")?, "mdhd")?,
            entries: Vec::new(),
            edits: Vec::new(),
            samples: Vec::new(),
            defaults: [0; 3],
            next: 0,
        };
        if handler != *b"vide" && handler != *b"soun" {
            return Ok(track);
        }
        if let Some(edits) = trak.find(b"edts").and_then(|edts| edts.find(b"elst")) {
            track.edits = need(edit_list(edits), "elst")?;
        }
        let mut extends = mvex.into_iter().flat_map(|mvex| mvex.all(b"trex"));
        if let Some(trex) = extends.find(|trex| trex.u32(4) == Some(id)) {
            let [duration, size, flags] = [12, 16, 20].map(|at| trex.u32(at));
            track.defaults = [need(duration, "trex")?, need(size, "trex")?, need(flags, "trex")?];
        }
        let stbl = media.find(b"minf").and_then(|minf| minf.find(b"stbl"));
        let stbl = need(stbl, "stbl")?;
        let stsd = need(stbl.find(b"stsd"), "stsd")?;
        let entries = Fields(need(stsd.0.get(8..), "stsd")?);
        track.entries = entries
            .boxes()
            .map(|(kind, content)| {
                let mut entry = Vec::with_capacity(content.0.len() + 8);
                super::boxes::put_box(&mut entry, &kind, |out| out.extend(content.0));
                entry
            })
            .collect();
        track.read_tables(stbl, length)?;
        Ok(track)
    }

    /// A sample without a duration, which mp4mux writes at a fragment's end, has that of the one
    /// before.
    fn add(&mut self, at: (u64, u32), duration: u32, shift: i32, is_key: bool) {
        let before = self.samples.last().map_or(0, |sample| sample.duration);
        let duration = if duration == 0 { before } else { duration };
        let ((offset, bytes), time) = (at, self.next);
        self.next = time.saturating_add(duration.into());
        self.samples.push(Sample { offset, bytes, is_key, time, duration, shift });
    }

    fn read_tables(&mut self, stbl: Fields<'_>, length: u64) -> Result<()> {
        let table = |kind: &[u8; 4], name| need(stbl.find(kind), name);
        let stts = table(b"stts", "stts")?;
        let runs = need(stts.u32(4).and_then(|count| stts.rows::<2>(8, count)), "stts")?;
        let mut durations =
            runs.flat_map(|[count, duration]| std::iter::repeat_n(duration, count as usize));
        let ctts = stbl.find(b"ctts");
        let runs = match ctts {
            Some(ctts) => {
                Some(need(ctts.u32(4).and_then(|count| ctts.rows::<2>(8, count)), "ctts")?)
            }
            None => None,
        };
        let mut shifts = runs
            .into_iter()
            .flatten()
            .flat_map(|[count, shift]| std::iter::repeat_n(shift as i32, count as usize));
        let keys: Option<Vec<u32>> = match stbl.find(b"stss") {
            Some(stss) => {
                let rows = stss.u32(4).and_then(|count| stss.rows::<1>(8, count));
                Some(need(rows, "stss")?.flatten().collect())
            }
            None => None,
        };
        let stsz = table(b"stsz", "stsz")?;
        let (all, count) = (need(stsz.u32(4), "stsz")?, need(stsz.u32(8), "stsz")?);
        let mut sizes = need(stsz.rows::<1>(12, if all == 0 { count } else { 0 }), "stsz")?;
        if u64::from(all) * u64::from(count) > length {
            return Err("has a damaged index (stsz)".into());
        }
        let stsc = table(b"stsc", "stsc")?;
        let runs = need(stsc.u32(4).and_then(|count| stsc.rows::<3>(8, count)), "stsc")?;
        let mut runs = runs.peekable();
        let (chunks, wide) = match stbl.find(b"co64") {
            Some(chunks) => (chunks, true),
            None => (table(b"stco", "stco")?, false),
        };
        let (mut sample, mut in_chunk) = (0, 0);
        for chunk in 0..need(chunks.u32(4), "stco")? {
            while let Some([_, samples, _]) = runs.next_if(|[first, ..]| *first <= chunk + 1) {
                in_chunk = samples;
            }
            let at = chunk as usize;
            let offset = match wide {
                true => chunks.u64(8 + at * 8),
                false => chunks.u32(8 + at * 4).map(u64::from),
            };
            let mut offset = need(offset, "stco")?;
            for _ in 0..in_chunk.min(count - sample) {
                sample += 1;
                let bytes = match all {
                    0 => sizes.next().map_or(0, |[bytes]| bytes),
                    all => all,
                };
                let is_key = keys.as_ref().is_none_or(|keys| keys.binary_search(&sample).is_ok());
                let duration = need(durations.next(), "stts")?;
                self.add((offset, bytes), duration, shifts.next().unwrap_or(0), is_key);
                offset = need(offset.checked_add(bytes.into()), "stco")?;
            }
            if sample == count {
                break;
            }
        }
        need((sample == count).then_some(()), "stsc")
    }
}

/// `None`: it is damaged.
fn edit_list(elst: Fields<'_>) -> Option<Vec<Edit>> {
    let count = elst.u32(4)?;
    let edit = |duration, from: i64| Edit { duration, from: u64::try_from(from).ok() };
    Some(match elst.version() {
        1 => elst
            .rows::<5>(8, count)?
            .map(|[d1, d0, t1, t0, _]| {
                let long = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
                edit(long(d1, d0), long(t1, t0) as i64)
            })
            .collect(),
        _ => elst
            .rows::<3>(8, count)?
            .map(|[duration, time, _]| edit(duration.into(), (time as i32).into()))
            .collect(),
    })
}

/// Adds the samples of a `moof`, which begins at `at` in a file of `length` bytes.
pub fn fragment(moof: Fields<'_>, at: u64, length: u64, tracks: &mut [Track]) -> Result<()> {
    for traf in moof.all(b"traf") {
        need(track_fragment(traf, at, length, tracks), "traf")?;
    }
    Ok(())
}

fn track_fragment(traf: Fields<'_>, at: u64, length: u64, tracks: &mut [Track]) -> Option<()> {
    let header = traf.find(b"tfhd")?;
    let id = header.u32(4)?;
    let Some(track) = tracks.iter_mut().find(|track| track.id == id) else { return Some(()) };
    let flags = header.flags();
    let (mut place, mut base) = (8, at);
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
    for run in traf.all(b"trun") {
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
        let count = run.u32(4)?;
        let says_sizes = flags & 0x200 != 0;
        // All of one size: the table does not limit them.
        if !says_sizes && (defaults[1] == 0 || u64::from(count) * u64::from(defaults[1]) > length) {
            return None;
        }
        for _ in 0..count {
            let duration = take(flags & 0x100 != 0)?.unwrap_or(defaults[0]);
            let bytes = take(says_sizes)?.unwrap_or(defaults[1]);
            let own_flags = take(flags & 0x400 != 0)?;
            let shift = take(flags & 0x800 != 0)?.unwrap_or(0) as i32;
            let sample_flags = first_flags.take().or(own_flags).unwrap_or(defaults[2]);
            track.add((offset, bytes), duration, shift, sample_flags & NON_SYNC == 0);
            offset = offset.checked_add(bytes.into())?;
        }
    }
    Some(())
}
