//! What the music did to the picture, frame by frame, as the journal keeps it: whole numbers, so that
//! a set that is played again goes through the same values.

use serde::{Deserialize, Serialize};

use crate::music::{Bend, Signal, Stepped, Ticks};

/// Frames of an entry.
const MOST: usize = 60;

/// Frames that follow one another without a gap.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Music {
    /// The first of them.
    pub frame: u64,
    /// In its middle, in 65536ths.
    pub beat: i64,
    /// How much further each later one is.
    pub steps: Vec<i64>,
    /// How much faster each ran to fit its bars, in 4096ths; left out where none did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bends: Vec<i16>,
    /// What modulators heard.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signals: Vec<String>,
    /// For each frame each of those signals: two hexadecimal digits, `ff` is 1.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub heard: String,
}

/// A frame of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    pub frame: u64,
    pub beat: Ticks,
    pub bend: Bend,
    pub heard: Stepped,
}

impl Music {
    /// The frames that it says. What cannot be read is 0.
    pub fn frames(&self) -> impl Iterator<Item = Frame> {
        let place = |name: &String| Signal::ALL.iter().position(|signal| signal.name() == name);
        let places: Vec<Option<usize>> = self.signals.iter().map(place).collect();
        let steps = std::iter::once(0).chain(self.steps.iter().copied());
        let mut beat = self.beat;
        steps.enumerate().map(move |(n, step)| {
            beat = beat.saturating_add(step);
            let mut heard = Stepped::default();
            for (at, place) in places.iter().enumerate() {
                let from = 2 * (n * places.len() + at);
                let digits = self.heard.get(from..from + 2).unwrap_or_default();
                if let (Some(place), Ok(value)) = (*place, u8::from_str_radix(digits, 16)) {
                    heard.0[place] = value;
                }
            }
            let bend = Bend(self.bends.get(n).copied().unwrap_or(0));
            Frame { frame: self.frame + n as u64, beat: Ticks(beat), bend, heard }
        })
    }
}

/// Gathers frames into entries.
#[derive(Default)]
pub struct Gathered {
    frames: Vec<Frame>,
    /// A bit for each signal that is heard.
    signals: u16,
}

impl Gathered {
    /// Takes a frame in, in which `signals` were heard; returns an entry that is full.
    pub fn add(&mut self, frame: Frame, signals: u16) -> Option<Music> {
        let follows = self.frames.last().is_some_and(|last| last.frame + 1 == frame.frame);
        let full = !follows || self.frames.len() >= MOST || self.signals != signals;
        let entry = if full { self.take() } else { None };
        self.signals = signals;
        self.frames.push(frame);
        entry
    }

    /// What there is.
    pub fn take(&mut self) -> Option<Music> {
        let frames = std::mem::take(&mut self.frames);
        let first = frames.first()?;
        let here = Signal::ALL.iter().filter(|signal| self.signals & (1 << **signal as u16) != 0);
        let here: Vec<Signal> = here.copied().collect();
        let heard = frames.iter().flat_map(|frame| {
            here.iter().map(|signal| format!("{:02x}", frame.heard.0[*signal as usize]))
        });
        let bent = frames.iter().any(|frame| frame.bend != Bend::default());
        Some(Music {
            frame: first.frame,
            beat: first.beat.0,
            steps: frames.windows(2).map(|two| two[1].beat.0 - two[0].beat.0).collect(),
            bends: frames.iter().map(|frame| frame.bend.0).filter(|_| bent).collect(),
            signals: here.iter().map(|signal| signal.name().to_owned()).collect(),
            heard: heard.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gathered_is_what_is_read() {
        let kick = 1 << Signal::Kick as u16 | 1 << Signal::Sub as u16;
        let frame = |n: u64| {
            let mut heard = Stepped::default();
            heard.0[Signal::Kick as usize] = (n * 7 % 256) as u8;
            heard.0[Signal::Sub as usize] = 255 - (n % 256) as u8;
            let bend = Bend(if n > 100 { n as i16 - 100 } else { 0 });
            Frame { frame: n, beat: Ticks(n as i64 * 2184 - 70_000), bend, heard }
        };
        // Some were held.
        let all: Vec<Frame> = (5..200).filter(|n| n % 50 != 13).map(frame).collect();
        let mut gathered = Gathered::default();
        let mut entries: Vec<Music> =
            all.iter().filter_map(|frame| gathered.add(*frame, kick)).collect();
        entries.extend(gathered.take());
        assert!(entries.len() <= 8 && entries[0].signals == ["sub", "kick"]);
        let lines = entries.iter().map(|entry| serde_json::to_string(entry).unwrap());
        let lines: Vec<String> = lines.collect();
        assert!(lines.iter().all(|line| line.len() < 1500));
        let read = lines.iter().flat_map(|line| {
            serde_json::from_str::<Music>(line).unwrap().frames().collect::<Vec<_>>()
        });
        assert_eq!(read.collect::<Vec<_>>(), all);
    }

    #[test]
    fn rubbish_is_silence() {
        let music = Music {
            steps: vec![i64::MAX, 1],
            signals: vec!["kick".into(), "gong".into()],
            heard: "zzäö".into(),
            ..Music::default()
        };
        assert_eq!(music.frames().count(), 3);
        assert!(music.frames().all(|frame| frame.heard == Stepped::default()));
    }
}
