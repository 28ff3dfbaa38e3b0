//! What the index of an MP4 file says of its pictures (ISO/IEC 14496-12 and 14496-15).
//!
//! Holds: a file that is cut off anywhere has no index, or is shorter than its boxes say.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

/// No index of a deliverable is larger: that of a day at 60 frames a second has 100 MB.
const LARGEST: u64 = 1 << 30;
/// Of a box: its size and its name.
const HEAD: usize = 8;
/// Of the description of a video stream, before the boxes in it.
const VISUAL_ENTRY: usize = 78;

/// The first H.264 track of a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Index {
    pub frames: u64,
    /// `avcC`: what a decoder has to know, the parameter sets in it.
    pub parameters: Vec<u8>,
}

impl Index {
    /// `Err` says in a few words what is wrong, to be put behind the name of the file.
    pub fn read(path: &Path) -> Result<Self, String> {
        let mut file = File::open(path).map_err(|e| format!("cannot be opened: {e}"))?;
        let unreadable = |e| format!("cannot be read: {e}");
        let length = file.metadata().map_err(unreadable)?.len();
        let (mut at, mut index) = (0, None);
        while at < length {
            let mut head = [0; 16];
            let known = (length - at).min(16) as usize;
            file.seek(SeekFrom::Start(at)).map_err(unreadable)?;
            file.read_exact(&mut head[..known]).map_err(unreadable)?;
            let size = match be32(&head, 0) {
                Some(0) => length - at,
                Some(1) => be32(&head, 8).zip(be32(&head, 12)).map_or(0, |(a, b)| a << 32 | b),
                Some(size) => size,
                None => 0,
            };
            if known < HEAD || size < HEAD as u64 || size > length - at {
                return Err("is cut off".into());
            }
            if &head[4..8] == b"moov" {
                if size > LARGEST {
                    return Err("has an index that is too large".into());
                }
                let mut moov = vec![0; size as usize];
                file.seek(SeekFrom::Start(at)).map_err(unreadable)?;
                file.read_exact(&mut moov).map_err(unreadable)?;
                index = Some(moov);
            }
            at += size;
        }
        let moov = index.ok_or("has no index")?;
        video(&moov).ok_or_else(|| "has no H.264 video in its index".into())
    }
}

fn video(moov: &[u8]) -> Option<Index> {
    boxes(moov, HEAD..moov.len()).filter(|(kind, _)| kind == b"trak").find_map(|(_, trak)| {
        let inside = |range: Range<usize>, kind: &[u8; 4]| {
            boxes(moov, range).find(|(of, _)| of == kind).map(|(_, range)| range)
        };
        let minf = inside(inside(trak, b"mdia")?, b"minf")?;
        let stbl = inside(minf, b"stbl")?;
        let stsd = inside(stbl.clone(), b"stsd")?;
        let avc1 = inside(stsd.start + 8..stsd.end, b"avc1")?;
        let parameters = inside(avc1.start + VISUAL_ENTRY..avc1.end, b"avcC")?;
        let stsz = inside(stbl, b"stsz")?;
        let frames = be32(moov.get(stsz)?, 8)?;
        Some(Index { frames, parameters: moov.get(parameters)?.to_vec() })
    })
}

/// The boxes in a range of bytes: the name of each, and where its content is.
fn boxes(bytes: &[u8], range: Range<usize>) -> impl Iterator<Item = ([u8; 4], Range<usize>)> {
    let (mut at, end) = (range.start, range.end.min(bytes.len()));
    std::iter::from_fn(move || {
        let head = bytes.get(at..end)?;
        let size = usize::try_from(be32(head, 0)?).ok()?;
        let kind = head.get(4..HEAD)?.try_into().ok()?;
        if size < HEAD || size > head.len() {
            return None;
        }
        let content = at + HEAD..at + size;
        at += size;
        Some((kind, content))
    })
}

fn be32(bytes: &[u8], at: usize) -> Option<u64> {
    let four = bytes.get(at..at + 4)?;
    Some(four.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}
