//! Whether an MP4 file is whole, told from its top-level boxes alone (ISO 14496-12, 4.2): cheap
//! enough to look at every clip of a project, and it needs no decoder.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// `Err` says in a few words what is wrong: missing, empty, cut off, or no MP4.
pub fn check_whole(path: &Path) -> Result<(), String> {
    let mut file = File::open(path).map_err(|e| format!("cannot be opened: {e}"))?;
    let unreadable = |e| format!("cannot be read: {e}");
    let length = file.metadata().map_err(unreadable)?.len();
    if length == 0 {
        return Err("is empty".into());
    }
    let mut at = 0;
    let mut has_index = false;
    while at < length {
        let left = length - at;
        if left < 8 {
            return Err("is cut off".into());
        }
        file.seek(SeekFrom::Start(at)).map_err(unreadable)?;
        let mut header = [0; 16];
        let wanted = left.min(16) as usize;
        file.read_exact(&mut header[..wanted]).map_err(unreadable)?;
        let [s0, s1, s2, s3, kind @ .., _, _, _, _, _, _, _, _] = header;
        if !kind.iter().all(|b| b.is_ascii_graphic() || *b == b' ' || *b == 0xa9) {
            return Err("is no MP4 file".into());
        }
        let size = match u32::from_be_bytes([s0, s1, s2, s3]) {
            0 => left,
            1 if wanted == 16 => u64::from_be_bytes([
                header[8], header[9], header[10], header[11], header[12], header[13], header[14],
                header[15],
            ]),
            short => u64::from(short),
        };
        if size < 8 {
            return Err("is no MP4 file".into());
        }
        if size > left {
            return Err("is cut off".into());
        }
        has_index |= &kind == b"moov";
        at += size;
    }
    if has_index { Ok(()) } else { Err("is cut off (it has no index)".into()) }
}

/// How long the file plays, as its index says (`mvhd`, ISO 14496-12, 8.2.2).
pub fn seconds(path: &Path) -> Option<f64> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    let (start, end) = find(&mut file, b"moov", 0, length)?;
    let (start, _) = find(&mut file, b"mvhd", start, end)?;
    file.seek(SeekFrom::Start(start)).ok()?;
    let mut head = [0; 32];
    file.read_exact(&mut head).ok()?;
    let short = |at: usize| Some(u32::from_be_bytes(head.get(at..at + 4)?.try_into().ok()?));
    // Version, flags, two times, time scale, length; times and length have 64 bits in version 1.
    let (scale, length) = match head[0] {
        0 => (short(12)?, u64::from(short(16)?)),
        _ => (short(20)?, u64::from_be_bytes(head.get(24..32)?.try_into().ok()?)),
    };
    let seconds = length as f64 / f64::from(scale);
    Some(seconds).filter(|seconds| seconds.is_finite() && *seconds > 0.0 && *seconds < 1e6)
}

/// Where the content of the first box of this kind begins and ends, between two places.
fn find(file: &mut File, kind: &[u8; 4], mut at: u64, end: u64) -> Option<(u64, u64)> {
    while at + 8 <= end {
        file.seek(SeekFrom::Start(at)).ok()?;
        let mut head = [0; 8];
        file.read_exact(&mut head).ok()?;
        let [s0, s1, s2, s3, found @ ..] = head;
        let (header, size) = match u32::from_be_bytes([s0, s1, s2, s3]) {
            0 => (8, end - at),
            1 => {
                let mut long = [0; 8];
                file.read_exact(&mut long).ok()?;
                (16, u64::from_be_bytes(long))
            }
            short => (8, u64::from(short)),
        };
        if size < header || size > end - at {
            return None;
        }
        if found == *kind {
            return Some((at + header, at + size));
        }
        at += size;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
        let mut bytes = (8 + content.len() as u32).to_be_bytes().to_vec();
        bytes.extend(kind);
        bytes.extend(content);
        bytes
    }

    #[test]
    fn only_a_whole_file_passes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clip.mp4");
        let whole =
            [boxed(b"ftyp", b"isom"), boxed(b"moov", &[0; 40]), boxed(b"mdat", &[7; 90])].concat();
        std::fs::write(&path, &whole).unwrap();
        assert_eq!(check_whole(&path), Ok(()));
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            // Cut exactly behind the index the boxes are whole; only a decoder could tell.
            let passes = cut == 12 + 48;
            assert_eq!(check_whole(&path).is_ok(), passes, "cut at {cut}");
        }
        std::fs::write(&path, "this is not a video at all").unwrap();
        assert!(check_whole(&path).is_err());
        assert!(check_whole(&folder.path().join("none.mp4")).is_err());
    }

    #[test]
    fn the_index_tells_how_long_it_plays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clip.mp4");
        let mut short = vec![0; 100];
        short[12..16].copy_from_slice(&600u32.to_be_bytes());
        short[16..20].copy_from_slice(&900u32.to_be_bytes());
        let mut long = vec![0; 112];
        long[0] = 1;
        long[20..24].copy_from_slice(&600u32.to_be_bytes());
        long[24..32].copy_from_slice(&900u64.to_be_bytes());
        for header in [short, long] {
            let index =
                boxed(b"moov", &[boxed(b"udta", &[1; 9]), boxed(b"mvhd", &header)].concat());
            std::fs::write(&path, [boxed(b"mdat", &[7; 90]), index].concat()).unwrap();
            assert_eq!(seconds(&path), Some(1.5));
        }
        std::fs::write(&path, boxed(b"moov", &boxed(b"mvhd", &[0; 100]))).unwrap();
        assert_eq!(seconds(&path), None, "no time scale");
        std::fs::write(&path, "no video").unwrap();
        assert_eq!(seconds(&path), None);
    }

    #[test]
    fn a_box_of_64_bits_and_one_to_the_end_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clip.mp4");
        let mut large = 1u32.to_be_bytes().to_vec();
        large.extend(b"mdat");
        large.extend(20u64.to_be_bytes());
        large.extend([0; 4]);
        let mut open_ended = 0u32.to_be_bytes().to_vec();
        open_ended.extend(b"mdat");
        open_ended.extend([0; 9]);
        std::fs::write(&path, [boxed(b"moov", b""), large, open_ended].concat()).unwrap();
        assert_eq!(check_whole(&path), Ok(()));
    }
}
