//! Chapters for a finished MP4 whose index stands last: a list (`chpl`, as Nero's programs write it
//! and players and ffmpeg read it) put behind the index's last box.
//!
//! Holds: nothing that is there moves. A crash on the way leaves a file that plays as before.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use super::Chapter;
use super::boxes::{self, put, put_box};
use crate::base::error::{Error, Result};

/// The count has one byte, and so has the length of a title.
const MOST: usize = 255;

/// Writes `chapters`, in order; a file whose index does not stand last is left as it is.
/// Returns whether they are in.
pub fn add(path: &Path, chapters: &[Chapter]) -> Result<bool> {
    let failed = |e| Error::io(format!("cannot write chapters into {}", path.display()), e);
    let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(failed)?;
    add_to(&mut file, chapters).map_err(failed)
}

fn add_to(file: &mut File, chapters: &[Chapter]) -> std::io::Result<bool> {
    let top = boxes::top(file)?;
    let Some(moov) = top.boxes.last().filter(|last| &last.kind == b"moov") else {
        return Ok(false);
    };
    let list = list(chapters);
    let size = moov.end - moov.start + list.len() as u64;
    let (Ok(size), 8, true) =
        (u32::try_from(size), moov.content - moov.start, moov.end == top.length)
    else {
        return Ok(false);
    };
    // Behind the index it is a box that nobody knows, until the index is said to reach over it.
    file.seek(SeekFrom::Start(moov.end))?;
    file.write_all(&list)?;
    file.sync_data()?;
    file.seek(SeekFrom::Start(moov.start))?;
    file.write_all(&size.to_be_bytes())?;
    file.sync_data()?;
    Ok(true)
}

fn list(chapters: &[Chapter]) -> Vec<u8> {
    let chapters = &chapters[..chapters.len().min(MOST)];
    let mut out = Vec::new();
    put_box(&mut out, b"udta", |out| {
        put_box(out, b"chpl", |out| {
            // Version 1, and four bytes that nobody uses.
            put(out, [1 << 24, 0]);
            out.push(chapters.len() as u8);
            for Chapter { start_ns, title } in chapters {
                // In tenths of a microsecond.
                out.extend((start_ns / 100).to_be_bytes());
                let mut end = title.len().min(MOST);
                while !title.is_char_boundary(end) {
                    end -= 1;
                }
                out.push(end as u8);
                out.extend(&title.as_bytes()[..end]);
            }
        });
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(parts: &[(&[u8; 4], usize)]) -> tempfile::NamedTempFile {
        let mut bytes = Vec::new();
        for (kind, length) in parts {
            put_box(&mut bytes, kind, |out| out.extend(vec![7; *length]));
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        file
    }

    #[test]
    fn the_list_is_the_last_box_of_the_index() {
        let file = file(&[(b"ftyp", 8), (b"mdat", 100), (b"moov", 50)]);
        let before = std::fs::read(file.path()).unwrap();
        let chapters = [
            Chapter { title: "intro".into(), start_ns: 0 },
            Chapter { title: "ü".repeat(200), start_ns: 90_000_000_000 },
        ];
        assert!(add(file.path(), &chapters).unwrap());
        let after = std::fs::read(file.path()).unwrap();
        let top = boxes::top(&mut File::open(file.path()).unwrap()).unwrap();
        assert_eq!((top.boxes.len(), top.missing, top.end), (3, None, after.len() as u64));
        assert_eq!(after[..124], before[..124], "nothing moves");
        let added = boxes::Fields(&after[before.len()..]);
        let list = added.find(b"udta").unwrap().find(b"chpl").unwrap();
        assert_eq!((list.version(), list.0[8]), (1, 2));
        assert_eq!(list.u64(9), Some(0));
        assert_eq!(&list.0[17..23], b"\x05intro");
        assert_eq!(list.u64(23), Some(900_000_000));
        let title = std::str::from_utf8(&list.0[32..]).unwrap();
        assert_eq!((list.0[31], title.chars().count()), (254, 127), "cut between two letters");
    }

    #[test]
    fn an_index_that_does_not_stand_last_is_left_alone() {
        let file = file(&[(b"ftyp", 8), (b"moov", 50), (b"mdat", 100)]);
        let before = std::fs::read(file.path()).unwrap();
        let chapter = Chapter { title: "intro".into(), start_ns: 0 };
        assert!(!add(file.path(), &[chapter]).unwrap());
        assert_eq!(std::fs::read(file.path()).unwrap(), before);
    }
}
