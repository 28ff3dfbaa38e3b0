//! Where the samples of an MP4 are that was never finished: GStreamer's demuxer reads no further
//! than its first fragment.
//!
//! Read is what [`FileWriter`] leaves behind: a `moov` with
//! the first fragment in its tables, then fragments whose data stands before their `moof`.
//!
//! Holds: a sample that is not wholly in the file is left out, and everything behind it.
//!
//! [`FileWriter`]: crate::stream::output::writer::FileWriter

use std::fs::File;

use crate::base::time::NS;
use crate::mp4::boxes::{self, Fields};
use crate::mp4::track::{self, Movie, Track};

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

/// All samples by time if the file is unfinished; `None`: it is finished, or something else.
pub fn unfinished(file: &mut File) -> std::io::Result<Option<Vec<Sample>>> {
    // The data behind the last whole box has no `moof` yet.
    let top = boxes::top(file)?;
    let mut movie = None;
    let mut fragments = 0;
    for place in top.boxes.iter().filter(|place| place.end - place.start < LARGEST_TABLE) {
        match &place.kind {
            b"moov" => {
                let table = boxes::read(file, *place)?;
                movie = track::movie(Fields(&table), top.length).ok();
            }
            b"moof" => {
                let table = boxes::read(file, *place)?;
                let Some(Movie { tracks, .. }) = &mut movie else { continue };
                let fields = Fields(&table);
                if track::fragment(fields, place.start, top.length, tracks).is_ok() {
                    fragments += 1;
                }
            }
            _ => {}
        }
    }
    // One that was cut within its first fragments has its data at the end, without a table.
    if fragments == 0 && top.end == top.length {
        return Ok(None);
    }
    let mut samples: Vec<Sample> =
        movie.iter().flat_map(|movie| in_file(movie, top.length)).flatten().collect();
    samples.sort_by_key(|sample| sample.pts_ns);
    Ok(Some(samples).filter(|samples| !samples.is_empty()))
}

/// The samples of each track, up to the first that is not wholly in the file.
fn in_file(movie: &Movie, length: u64) -> impl Iterator<Item = impl Iterator<Item = Sample>> {
    let read = |track: &&Track| matches!(&track.handler, b"vide" | b"soun");
    movie.tracks.iter().filter(read).map(move |track| {
        let start_ns = start_ns(track, movie.timescale);
        let is_picture = track.handler == *b"vide";
        // The times are those of decoding: here pictures are stored in order.
        let at = move |ticks: u64| {
            let ns = i128::from(ticks) * i128::from(NS) / i128::from(track.timescale);
            (ns + start_ns).max(0) as u64
        };
        let is_there = move |s: &&track::Sample| s.offset.saturating_add(s.bytes.into()) <= length;
        track.samples.iter().take_while(is_there).map(move |sample| Sample {
            is_picture,
            is_key: sample.is_key,
            pts_ns: at(sample.time),
            duration_ns: at(sample.time.saturating_add(sample.duration.into())) - at(sample.time),
            offset: sample.offset,
            bytes: sample.bytes,
        })
    })
}

/// When a track's first sample is shown, by its edit list: what stands before is empty.
fn start_ns(track: &Track, movie_scale: u32) -> i128 {
    let mut start_ns = 0;
    for edit in &track.edits {
        if let Some(from) = edit.from {
            return start_ns - i128::from(from) * i128::from(NS) / i128::from(track.timescale);
        }
        start_ns += i128::from(edit.duration) * i128::from(NS) / i128::from(movie_scale);
    }
    start_ns
}
