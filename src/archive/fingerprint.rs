//! Tells whether a project's cycles are still those that a film was made of.
//!
//! Holds: it depends on the clips' numbers and contents alone, not on where the folder lies or when
//! its files were written, so it survives a copy. Of each clip the size and both ends are looked at:
//! the index of an MP4 stands at one of them, and names the size of every picture.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::survey::Cycle;

/// So much is read at either end of a clip.
const END_BYTES: u64 = 64 << 10;

/// The fingerprint of the cycles' videos, or raw clips where there is no video: 16 hexadecimal
/// digits. A cycle without a whole clip adds nothing.
pub fn fingerprint(session: &[Cycle]) -> String {
    let mut hash = Fnv::default();
    for cycle in session {
        let Some(clip) = cycle.video.whole().or_else(|| cycle.raw.whole()) else { continue };
        hash.number(cycle.cycle.0.into());
        // What cannot be read differs from whatever can.
        if ends(clip, &mut hash).is_err() {
            hash.number(u64::MAX);
        }
    }
    format!("{:016x}", hash.0)
}

/// The fingerprint of one file.
pub fn fingerprint_of(path: &Path) -> std::io::Result<String> {
    let mut hash = Fnv::default();
    ends(path, &mut hash)?;
    Ok(format!("{:016x}", hash.0))
}

fn ends(path: &Path, hash: &mut Fnv) -> std::io::Result<()> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut bytes = Vec::with_capacity(2 * END_BYTES as usize);
    (&mut file).take(END_BYTES).read_to_end(&mut bytes)?;
    let tail = length.saturating_sub(END_BYTES).max(END_BYTES);
    if tail < length {
        file.seek(SeekFrom::Start(tail))?;
        file.take(END_BYTES).read_to_end(&mut bytes)?;
    }
    hash.number(length);
    hash.bytes(&bytes);
    Ok(())
}

/// FNV-1a (Fowler, Noll, Vo), 64 bits: the same on every machine and in every version.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn number(&mut self, number: u64) {
        self.bytes(&number.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::archive::Survey;

    /// The smallest whole MP4 with `content` in it.
    fn clip(content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 0, 8, b'm', b'o', b'o', b'v'];
        bytes.extend((8 + content.len() as u32).to_be_bytes());
        bytes.extend(b"mdat");
        bytes.extend(content);
        bytes
    }

    fn of(folder: &Path) -> String {
        fingerprint(Survey::of(folder, None).unwrap().session())
    }

    #[test]
    fn it_survives_a_copy_and_tells_every_change() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let long: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
        for (project, first) in [("a", "0000"), ("b", "0000"), ("moved", "0001")] {
            fs::create_dir_all(at(project).join("videos")).unwrap();
            let put = |name: String, bytes: &[u8]| {
                fs::write(at(project).join("videos").join(name), clip(bytes)).unwrap();
            };
            put(format!("cycle{first}_raw.mp4"), b"raw");
            put(format!("cycle{first}_video.mp4"), &long);
            put("cycle0002_raw.mp4".into(), b"two");
        }
        let before = of(&at("a"));
        assert_eq!(before.len(), 16);
        assert_eq!(of(&at("b")), before, "a copy is the same");
        assert_ne!(of(&at("moved")), before, "other numbers");

        let video = at("a/videos/cycle0000_video.mp4");
        let change = |at_byte: usize| {
            let mut bytes = clip(&long);
            bytes[at_byte] ^= 1;
            fs::write(&video, bytes).unwrap();
        };
        for at_byte in [20, 65_000, long.len() - 65_000, long.len() + 15] {
            change(at_byte);
            assert_ne!(of(&at("a")), before, "byte {at_byte}");
        }
        fs::write(&video, clip(&long[1..])).unwrap();
        assert_ne!(of(&at("a")), before, "another length");
        fs::write(&video, clip(&long)).unwrap();
        assert_eq!(of(&at("a")), before);

        fs::write(at("a/videos/cycle0000_raw.mp4"), clip(b"new")).unwrap();
        assert_eq!(of(&at("a")), before, "of a cycle its video counts");
        fs::write(at("a/videos/cycle0003_raw.mp4"), clip(b"three")).unwrap();
        assert_ne!(of(&at("a")), before, "a further cycle");
        fs::write(at("a/videos/cycle0003_raw.mp4"), "cut").unwrap();
        assert_eq!(of(&at("a")), before, "what is not whole is no part of a film");
    }
}
