//! An MP4 of sound alone, written as the encoder gives it.
//!
//! Holds: what the encoder put before the sound (its priming) is hidden by an edit list, and so is
//! what it put behind. The index comes last.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};

use super::boxes::{put, put_box};
use super::index::{self, Media, Runs, Tags, Track};

/// Samples of an AAC access unit.
pub const UNIT: u32 = 1024;

pub struct SoundWriter {
    file: BufWriter<File>,
    sizes: Vec<u32>,
    bytes: u64,
    /// Where the samples begin.
    begin: u64,
}

impl SoundWriter {
    /// Begins an empty file.
    pub fn new(file: File) -> std::io::Result<Self> {
        let mut head = Vec::new();
        put_box(&mut head, b"ftyp", |out| out.extend(b"M4A \0\0\x02\0M4A isomiso2"));
        put(&mut head, [1]);
        head.extend(b"mdat");
        // The length, later.
        head.extend([0; 8]);
        let mut file = BufWriter::new(file);
        file.write_all(&head)?;
        Ok(SoundWriter { file, sizes: Vec::new(), bytes: 0, begin: head.len() as u64 })
    }

    /// Adds an access unit.
    pub fn push(&mut self, unit: &[u8]) -> std::io::Result<()> {
        self.file.write_all(unit)?;
        self.sizes.push(unit.len() as u32);
        self.bytes += unit.len() as u64;
        Ok(())
    }

    /// Access units so far.
    pub fn units(&self) -> u64 {
        self.sizes.len() as u64
    }

    /// Writes the index: `samples` are heard behind `priming`; `config` is the AudioSpecificConfig.
    pub fn finish(
        mut self,
        config: &[u8],
        (rate, channels): (u32, u16),
        priming: u64,
        samples: u64,
    ) -> std::io::Result<()> {
        let mut durations = Runs::default();
        let mut left = priming + samples;
        self.sizes.truncate(left.div_ceil(UNIT.into()) as usize);
        for _ in &self.sizes {
            // The last is cut short.
            let duration = left.min(UNIT.into());
            durations.push(duration as u32);
            left -= duration;
        }
        let track = Track {
            media: Media::Sound,
            timescale: rate,
            duration: priming + samples - left,
            shown: samples,
            edits: vec![(samples, priming as i64)],
            entry: index::aac_entry(config, rate, channels),
            durations,
            shifts: Runs::default(),
            chunks: vec![(self.begin, self.sizes.len() as u32)],
            sizes: std::mem::take(&mut self.sizes),
            keys: None,
            chapters: None,
        };
        self.file.write_all(&index::moov(rate, &[track], &Tags::default(), true))?;
        self.file.seek(SeekFrom::Start(self.begin - 8))?;
        self.file.write_all(&(self.bytes + 16).to_be_bytes())?;
        self.file.flush()
    }
}
