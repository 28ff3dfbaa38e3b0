//! The sample ring between whoever brings the sound and the render thread.
//!
//! Samples are 32-bit float, little endian, two channels interleaved, 48 kHz.
//!
//! Holds: the reader never waits; what is not there is silence. The writer waits while the ring is
//! full, and learns when the reader is gone.

pub mod analysis;
mod listener;
pub mod synth;

use std::time::Duration;

pub use listener::{Ear, Ears, Listener};

pub const SAMPLE_RATE: u32 = 48_000;
pub const CHANNELS: usize = 2;

/// Bytes of a second of sound: what the ring holds.
const SECOND: usize = SAMPLE_RATE as usize * CHANNELS * size_of::<f32>();

pub struct Writer(rtrb::Producer<u8>);

pub struct Reader(rtrb::Consumer<u8>);

/// A ring of one second.
pub fn ring() -> (Writer, Reader) {
    let (producer, consumer) = rtrb::RingBuffer::new(SECOND);
    (Writer(producer), Reader(consumer))
}

/// The reader is gone.
#[derive(Debug)]
pub struct Closed;

impl Writer {
    /// Writes all of `bytes` (whole samples), waiting for room.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), Closed> {
        while !bytes.is_empty() {
            if self.0.is_abandoned() {
                return Err(Closed);
            }
            let room = self.0.slots().min(bytes.len());
            if room == 0 {
                // A fiftieth of the ring: it cannot run dry meanwhile.
                std::thread::park_timeout(Duration::from_millis(20));
                continue;
            }
            let (now, later) = bytes.split_at(room);
            if self.0.push_entire_slice(now).is_ok() {
                bytes = later;
            }
        }
        Ok(())
    }
}

impl Reader {
    /// Fills `out` (whole samples) with what is there, the rest with silence; whether all was there.
    pub fn read(&mut self, out: &mut [u8]) -> bool {
        let there = self.0.slots().min(out.len());
        let (sound, silence) = out.split_at_mut(there);
        if self.0.pop_entire_slice(sound).is_err() {
            sound.fill(0);
        }
        silence.fill(0);
        silence.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_silence() {
        let (mut writer, mut reader) = ring();
        writer.write(&[1; 8]).unwrap();
        let mut out = [9; 16];
        assert!(!reader.read(&mut out));
        assert_eq!(out, [1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_writer_waits_for_room_and_loses_nothing() {
        let (mut writer, mut reader) = ring();
        let sound: Vec<u8> = (0..3 * SECOND).map(|i| (i / 8 % 251) as u8).collect();
        let written = sound.clone();
        let thread = std::thread::spawn(move || writer.write(&written));
        let mut heard = Vec::new();
        while heard.len() < sound.len() {
            let there = reader.0.slots().min(6400);
            let mut chunk = vec![0; there];
            reader.read(&mut chunk);
            heard.extend(chunk);
        }
        assert!(thread.join().unwrap().is_ok());
        assert_eq!(heard, sound);
    }

    #[test]
    fn a_writer_learns_that_nobody_reads() {
        let (mut writer, reader) = ring();
        drop(reader);
        assert!(writer.write(&[0; 8]).is_err());
    }
}
