//! Whether a file is as long as it says itself: demuxers take one that was cut short for one that
//! ends there.
//!
//! MP4 and MOV (ISO/IEC 14496-12, 4.2), Matroska and WebM (RFC 8794, RFC 9559), AVI and WAV (RIFF).
//! Other formats do not say how long they are.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

/// How many bytes are missing at the end of a file; `None`: none, or it does not say.
pub fn missing_bytes(file: &mut File) -> Option<u64> {
    let length = file.metadata().ok()?.len();
    let mut head = [0; 12];
    file.seek(SeekFrom::Start(0)).ok()?;
    file.read_exact(&mut head).ok()?;
    let said = match head {
        [0x1a, 0x45, 0xdf, 0xa3, ..] => matroska_length(file),
        [b'R', b'I', b'F', b'F', a, b, c, d, b'A', b'V', b'I', b' '] => {
            // Of more than 1 GiB only the first part says so.
            Some(u64::from(u32::from_le_bytes([a, b, c, d])) + 8).filter(|said| *said > length)
        }
        [_, _, _, _, kind @ ..] if is_box(&kind[..4]) => mp4_length(file, length),
        _ => None,
    }?;
    said.checked_sub(length).filter(|missing| *missing > 0)
}

fn is_box(kind: &[u8]) -> bool {
    [b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"].iter().any(|known| *known == kind)
}

/// Where the last box ends.
fn mp4_length(file: &mut File, length: u64) -> Option<u64> {
    let mut at = 0;
    while at + 8 <= length {
        let mut head = [0; 16];
        file.seek(SeekFrom::Start(at)).ok()?;
        file.read_exact(&mut head[..8]).ok()?;
        let size = match u32::from_be_bytes([head[0], head[1], head[2], head[3]]) {
            // To the end of the file.
            0 => return Some(length),
            1 => {
                file.read_exact(&mut head[8..]).ok()?;
                head[8..].iter().fold(0, |size, byte| size << 8 | u64::from(*byte))
            }
            size => u64::from(size),
        };
        at = at.checked_add(size.max(8))?;
    }
    Some(at)
}

/// Where the segment ends; `None`: it is of unknown length, as what is written live.
fn matroska_length(file: &mut File) -> Option<u64> {
    /// The element with all pictures and sounds.
    const SEGMENT: u64 = 0x1853_8067;
    let mut at = 0;
    // The header of the file, perhaps something void, the segment.
    for _ in 0..8 {
        file.seek(SeekFrom::Start(at)).ok()?;
        let (id, id_bytes) = number(file, false)?;
        let (size, size_bytes) = number(file, true)?;
        let unknown = (1u64 << (7 * size_bytes)) - 1;
        if size == unknown {
            return None;
        }
        at = at.checked_add(id_bytes + size_bytes)?.checked_add(size)?;
        if id == SEGMENT {
            return Some(at);
        }
    }
    None
}

/// A number of variable length, and its bytes; `plain`: without the bit that says how many.
fn number(file: &mut File, plain: bool) -> Option<(u64, u64)> {
    let mut bytes = [0; 8];
    file.read_exact(&mut bytes[..1]).ok()?;
    let count = bytes[0].leading_zeros() as usize + 1;
    if count > 8 {
        return None;
    }
    file.read_exact(&mut bytes[1..count]).ok()?;
    if plain {
        bytes[0] &= (0xff_u16 >> count) as u8;
    }
    let value = bytes[..count].iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
    Some((value, count as u64))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn missing(bytes: &[u8]) -> Option<u64> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        missing_bytes(&mut file)
    }

    #[test]
    fn what_files_say_is_held_against_their_length() {
        let mp4 = [&b"\0\0\0\x10ftypisom\0\0\0\0"[..], b"\0\0\0\x10mdat12345678"].concat();
        assert_eq!(missing(&mp4), None);
        assert_eq!(missing(&mp4[..mp4.len() - 3]), Some(3));
        let long =
            [&b"\0\0\0\x10ftypisom\0\0\0\0"[..], b"\0\0\0\x01mdat\0\0\0\0\0\0\0\x14abcd"].concat();
        assert_eq!(missing(&long), None);
        assert_eq!(missing(&long[..long.len() - 1]), Some(1));

        let mkv = b"\x1a\x45\xdf\xa3\x84abcd\x18\x53\x80\x67\x01\0\0\0\0\0\0\x06123456";
        assert_eq!(missing(mkv), None);
        assert_eq!(missing(&mkv[..mkv.len() - 2]), Some(2));
        let live = b"\x1a\x45\xdf\xa3\x84abcd\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff1234";
        assert_eq!(missing(live), None);

        assert_eq!(missing(b"RIFF\x0c\0\0\0AVI 12345678"), None);
        assert_eq!(missing(b"RIFF\x0c\0\0\0AVI 1234"), Some(4));
        assert_eq!(missing(b"anything else at all"), None);
        assert_eq!(missing(b""), None);
    }
}
