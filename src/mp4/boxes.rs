//! Boxes (ISO 14496-12, 4.2): those at the top of a file, those inside one another, and new ones.
//!
//! Holds: nothing here trusts a length that it reads.

use std::fs::File;
use std::io::{Read, Result, Seek, SeekFrom};

/// The content of a box.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    pub fn u16(self, at: usize) -> Option<u16> {
        Some(u16::from_be_bytes(*self.0.get(at..)?.first_chunk()?))
    }

    pub fn u32(self, at: usize) -> Option<u32> {
        Some(u32::from_be_bytes(*self.0.get(at..)?.first_chunk()?))
    }

    pub fn u64(self, at: usize) -> Option<u64> {
        Some(u64::from_be_bytes(*self.0.get(at..)?.first_chunk()?))
    }

    pub fn kind(self, at: usize) -> Option<[u8; 4]> {
        Some(*self.0.get(at..)?.first_chunk()?)
    }

    /// Of a full box.
    pub fn version(self) -> u32 {
        self.u32(0).unwrap_or(0) >> 24
    }

    /// Of a full box.
    pub fn flags(self) -> u32 {
        self.u32(0).unwrap_or(0) & 0xff_ffff
    }

    pub fn find(self, wanted: &[u8; 4]) -> Option<Fields<'a>> {
        self.all(wanted).next()
    }

    pub fn all(self, wanted: &[u8; 4]) -> impl Iterator<Item = Fields<'a>> {
        self.boxes().filter(move |(kind, _)| kind == wanted).map(|(_, fields)| fields)
    }

    /// The boxes in it, up to one that is damaged.
    pub fn boxes(self) -> impl Iterator<Item = ([u8; 4], Fields<'a>)> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let size = Fields(rest).u32(0)? as usize;
            let kind = Fields(rest).kind(4)?;
            let content = rest.get(8..size)?;
            rest = &rest[size..];
            Some((kind, Fields(content)))
        })
    }

    /// Rows of a table of 32-bit numbers. `None`: there are fewer than `count`.
    pub fn rows<const N: usize>(
        self,
        at: usize,
        count: u32,
    ) -> Option<impl ExactSizeIterator<Item = [u32; N]>> {
        let bytes = (count as usize).checked_mul(4 * N)?;
        let rows = self.0.get(at..)?.get(..bytes)?.chunks_exact(4 * N);
        Some(rows.map(|row| std::array::from_fn(|n| Fields(row).u32(n * 4).unwrap_or(0))))
    }
}

/// A box at the top of a file.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub kind: [u8; 4],
    pub start: u64,
    pub content: u64,
    pub end: u64,
}

/// What stands at the top of a file.
#[derive(Debug)]
pub struct Top {
    pub length: u64,
    pub boxes: Vec<Place>,
    /// Behind the last whole box.
    pub end: u64,
    /// By how many bytes the box that begins at `end` is longer than the file.
    pub missing: Option<u64>,
}

/// The boxes that files begin with.
const FIRST: [&[u8; 4]; 6] = [b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide"];

/// Finds the boxes up to one that is damaged or cut off.
pub fn top(file: &mut File) -> Result<Top> {
    let length = file.metadata()?.len();
    let mut top = Top { length, boxes: Vec::new(), end: 0, missing: None };
    while length - top.end >= 8 {
        let left = length - top.end;
        let mut head = [0; 16];
        file.seek(SeekFrom::Start(top.end))?;
        file.read_exact(&mut head[..left.min(16) as usize])?;
        let head = Fields(&head);
        let (header, size) = match head.u32(0).unwrap_or(0) {
            0 => (8, left),
            1 => (16, head.u64(8).unwrap_or(0)),
            size => (8, u64::from(size)),
        };
        let kind = head.kind(4).unwrap_or_default();
        if size < header || !kind.iter().all(|b| b.is_ascii_graphic() || matches!(b, b' ' | 0xa9)) {
            break;
        }
        if size > left {
            // In what is no MP4 at all any four bytes might be a length.
            let is_known = FIRST.contains(&&kind) || !top.boxes.is_empty();
            top.missing = is_known.then(|| size - left);
            break;
        }
        let start = top.end;
        top.end += size;
        top.boxes.push(Place { kind, start, content: start + header, end: top.end });
    }
    Ok(top)
}

/// Reads the content of a box.
pub fn read(file: &mut File, place: Place) -> Result<Vec<u8>> {
    let mut content = vec![0; (place.end - place.content) as usize];
    file.seek(SeekFrom::Start(place.content))?;
    file.read_exact(&mut content)?;
    Ok(content)
}

/// Writes numbers.
pub fn put(out: &mut Vec<u8>, values: impl IntoIterator<Item = u32>) {
    out.extend(values.into_iter().flat_map(u32::to_be_bytes));
}

/// Writes a box and what `content` puts into it.
pub fn put_box(out: &mut Vec<u8>, kind: &[u8; 4], content: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    put(out, [0]);
    out.extend(kind);
    content(out);
    let size = (out.len() - at) as u32;
    out[at..at + 4].copy_from_slice(&size.to_be_bytes());
}
