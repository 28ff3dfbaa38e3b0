//! The line that a DJ program writes into a text file: which track is playing.
//!
//! Such files are in whatever the program's system writes: UTF-8 with or without a mark, UTF-16,
//! Windows' Latin 1. Holds: whatever is in the file, a line of at most so many characters comes of it.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::base::error::{Error, Result};

/// What is read of the file; its first line is in there.
const MOST_BYTES: u64 = 16 << 10;

pub struct NowPlayingFile {
    path: PathBuf,
    most_chars: usize,
    /// What it said last.
    said: Option<String>,
    /// It was empty when it was looked at last: programs empty a file before they write it.
    was_empty: bool,
}

impl NowPlayingFile {
    pub fn new(path: PathBuf, most_chars: usize) -> Self {
        NowPlayingFile { path, most_chars, said: None, was_empty: false }
    }

    /// What it says, if that is new.
    ///
    /// # Errors
    /// It is not there, or cannot be read; what it said last still holds.
    pub fn look(&mut self) -> Result<Option<String>> {
        let line = first_line(&read(&self.path)?, self.most_chars);
        let emptied = line.is_empty() && !std::mem::replace(&mut self.was_empty, line.is_empty());
        if emptied || self.said.as_ref() == Some(&line) {
            return Ok(None);
        }
        self.was_empty = line.is_empty();
        self.said = Some(line.clone());
        Ok(Some(line))
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let failed = |e: std::io::Error| {
        let what = match e.kind() {
            std::io::ErrorKind::NotFound => "is not there yet; it is looked for every second",
            _ => "cannot be read",
        };
        Error::io(format!("overlays.now_playing_file: {} {what}", path.display()), e)
    };
    if path.is_dir() {
        return Err(Error::usage(format!(
            "overlays.now_playing_file: {} is a folder; name a text file",
            path.display()
        )));
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MOST_BYTES).read_to_end(&mut bytes))
        .map_err(failed)?;
    Ok(bytes)
}

/// The first line that is not empty.
fn first_line(bytes: &[u8], most_chars: usize) -> String {
    let text = decode(bytes);
    let visible = |line: &str| -> String {
        let line = line.replace('\t', " ");
        line.chars().filter(|c| !c.is_control() && *c != '\u{feff}').collect::<String>()
    };
    let mut lines = text.lines().map(visible).filter(|line| !line.trim().is_empty());
    let line = lines.next().unwrap_or_default();
    line.trim().chars().take(most_chars).collect::<String>().trim().to_owned()
}

fn decode(bytes: &[u8]) -> String {
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.as_chunks::<2>().0.iter().map(|pair| unit(*pair)).collect();
        String::from_utf16_lossy(&units)
    };
    // Of European text in UTF-16 every second byte is 0, and a text file has no 0 otherwise.
    let zeros = |first: usize| bytes.iter().skip(first).step_by(2).filter(|b| **b == 0).count();
    match bytes {
        [0xef, 0xbb, 0xbf, text @ ..] => String::from_utf8_lossy(text).into_owned(),
        [0xff, 0xfe, text @ ..] => utf16(text, u16::from_le_bytes),
        [0xfe, 0xff, text @ ..] => utf16(text, u16::from_be_bytes),
        _ if zeros(1) > zeros(0) => utf16(bytes, u16::from_le_bytes),
        _ if zeros(0) > 0 => utf16(bytes, u16::from_be_bytes),
        _ => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            // Cut off within a character by the limit, not another encoding.
            Err(e) if e.error_len().is_none() => String::from_utf8_lossy(bytes).into_owned(),
            Err(_) => bytes.iter().map(|byte| latin1(*byte)).collect(),
        },
    }
}

/// Windows-1252, which is Latin 1 with printable characters where that has controls.
fn latin1(byte: u8) -> char {
    const FROM_80: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž',
        '\u{8f}', '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}',
        'ž', 'Ÿ',
    ];
    match byte {
        0x80..=0x9f => FROM_80[usize::from(byte - 0x80)],
        _ => char::from(byte),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn whatever_a_program_writes_is_read() {
        let title = "Björk – Jóga";
        let utf16 = |mark: &[u8], bytes: fn(u16) -> [u8; 2]| {
            let text: Vec<u8> = title.encode_utf16().flat_map(bytes).collect();
            [mark, &text].concat()
        };
        for bytes in [
            title.as_bytes().to_vec(),
            format!("\u{feff}{title}\r\nNext – Track\r\n").into_bytes(),
            format!("\n  \n\t{title}  \n").into_bytes(),
            b"Bj\xf6rk \x96 J\xf3ga\r\n".to_vec(),
            utf16(&[0xff, 0xfe], u16::to_le_bytes),
            utf16(&[0xfe, 0xff], u16::to_be_bytes),
            utf16(&[], u16::to_le_bytes),
            utf16(&[], u16::to_be_bytes),
        ] {
            assert_eq!(first_line(&bytes, 200), title, "{bytes:x?}");
        }
        assert_eq!(first_line("日本語".as_bytes(), 2), "日本");
        assert_eq!(first_line(b"", 200), "");
    }

    #[test]
    fn it_says_what_is_new_and_waits_for_the_second_half_of_a_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("now.txt");
        let mut file = NowPlayingFile::new(path.clone(), 200);
        let said = file.look().unwrap_err().to_string();
        assert!(said.contains("now.txt is not there yet"), "{said}");
        std::fs::write(&path, "One").unwrap();
        assert_eq!(file.look().unwrap().as_deref(), Some("One"));
        assert_eq!(file.look().unwrap(), None);
        std::fs::write(&path, "").unwrap();
        assert_eq!(file.look().unwrap(), None);
        std::fs::write(&path, "Two").unwrap();
        assert_eq!(file.look().unwrap().as_deref(), Some("Two"));
        std::fs::write(&path, "").unwrap();
        assert_eq!(file.look().unwrap(), None);
        assert_eq!(file.look().unwrap().as_deref(), Some(""));
        assert_eq!(file.look().unwrap(), None);
    }

    proptest! {
        #[test]
        fn any_bytes_make_a_line(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let line = first_line(&bytes, 40);
            prop_assert!(line.chars().count() <= 40);
            prop_assert!(!line.chars().any(char::is_control));
        }
    }
}
