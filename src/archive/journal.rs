//! `journal.jsonl`: what was on air and what was steered, one JSON object a line, only ever
//! appended to. `docs/archive.md` is the schema for readers outside this program.
//!
//! Holds: frames count from 0 after each `session_start`. A file on disk is whole lines, but for
//! the last one after a crash; opening it to write cuts such a torn line off first.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::beats::Music;
use crate::base::error::{Error, Kind, Result};
use crate::base::telemetry::OutputState;
use crate::config::{Fit, Interpolation};

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// ISO 8601, UTC.
    pub at: String,
    #[serde(flatten)]
    pub event: Event,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    SessionStart {
        /// The project's session id.
        session: String,
        /// Of the program.
        version: String,
        /// `1920x1080`.
        canvas: String,
        /// `60/1`.
        fps: String,
        /// How pictures fill the canvas. Older journals say nothing of this and what follows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fit: Option<Fit>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        interpolation: Option<Interpolation>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        flash_limit: Option<bool>,
        /// What the built-in stand-in is painted from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stand_in: Option<StandIn>,
        /// Every parameter at the start, by its address.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        params: BTreeMap<String, f64>,
    },
    SessionEnd {
        session: String,
        /// Frames of the session.
        frames: u64,
    },
    /// From output frame `frame` on a clip moves in a new way.
    Shot(Shot),
    /// A change was accepted.
    Param {
        address: String,
        /// 0 of a text, and of a trigger.
        value: f64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        /// How long it is to take, if the sender said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fade_ms: Option<f32>,
        /// Who sent it: `http`, `osc 127.0.0.1:9001`, ...
        source: String,
        generation: u64,
    },
    /// From output frame `frame` on, changes up to `generation` are seen.
    ParamApplied { frame: u64, generation: u64 },
    /// The change of `generation` applied to cycles: from output frame `frame` on `cycle` is on air,
    /// the first that was made with it, so many seconds after the change came.
    Steered { generation: u64, cycle: u32, frame: u64, seconds: f64 },
    /// From now on the beat comes from there, at about this tempo; `led`: somebody gives it still.
    Tempo { source: String, bpm: f64, led: bool },
    /// For `frames` from output frame `frame` on the picture before went out again; parameters
    /// stood still meanwhile.
    Held { frame: u64, frames: u64 },
    /// What modulators and bend went by in frames that follow one another.
    Music(Music),
    /// A cut that came while cuts wait for the beat, or the end of a hold that had to wait, happened
    /// with output frame `frame`.
    OnBeat { frame: u64, address: String },
    /// A part of the recording begins with output frame `frame`.
    Recording {
        /// File name.
        file: String,
        frame: u64,
    },
    /// A chapter begins with output frame `frame`.
    Mark { frame: u64, name: String },
    Cycle {
        cycle: u32,
        status: CycleStatus,
        /// How long it took to make.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seconds: Option<f64>,
        /// Why it failed or was not used.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Somebody changed an output.
    Output {
        /// Its number in this session.
        output: u32,
        action: OutputAction,
        /// With secrets hidden.
        uri: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// Who asked: `http`, `key`.
        source: String,
    },
    /// An encoder failed, and the same or another one took its place.
    Encoder {
        /// Seconds from the first frame of the session.
        at_s: f64,
        from: String,
        to: String,
        reason: String,
    },
    /// An output is in another state, or in this one for another reason.
    OutputState {
        output: u32,
        /// With secrets hidden.
        uri: String,
        state: OutputState,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputAction {
    Add,
    Stop,
    Start,
    Retry,
    Remove,
}

/// What a clip does from output frame `frame` on. At most two clips are on air: the one that was
/// joined in last, and while it fades in the one before.
///
/// Clips move with the playhead, which is at `playhead` in frame `frame`. At `p` it shows source frame
/// `position + speed * (p - playhead)`; in a turn, for `turn_frames` steps of the playhead,
/// `position + speed * turn_frames * sin(pi * (p - playhead) / turn_frames) / pi`;
/// never beyond its first or last frame. With `fade_frames` it is joined in: with
/// `s = (f - frame + 1) / (fade_frames + 1)` its share is `s * s * (3 - 2 * s)`, then all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shot {
    pub frame: u64,
    /// `None`: the built-in stand-in.
    pub cycle: Option<u32>,
    pub role: Role,
    /// In frames of the raw clip.
    pub position: f64,
    /// Frames of the raw clip for each step of the playhead; negative runs backwards.
    pub speed: f64,
    /// Where the playhead is; `None`: at `frame`, as all of the session was at speed 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub playhead: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn_frames: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fade_frames: Option<u32>,
    /// It is said of the clip that another is being joined in over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaving: bool,
    /// Tells a clip on air from every other of the session, were it the same cycle again. Older
    /// journals do not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<u64>,
    /// The clip was laid in back to front; what moves backwards above moves forwards in it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reversed: bool,
    /// Where it is joined in: the clip that its first frames grow out of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grown: Option<Grown>,
}

/// The first `frames` frames of a clip grow out of a picture of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Grown {
    /// The other one.
    pub cycle: u32,
    /// It was laid in back to front.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reversed: bool,
    pub frames: u32,
    /// Place of that picture in the clip as it was laid in, from 0; not said of the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<u32>,
}

/// What the built-in stand-in is painted from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandIn {
    pub prompt: String,
    pub seed: i64,
}

/// Why a clip is on air.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Fresh,
    Replay,
    StandIn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CycleStatus {
    /// Its raw clip is finished.
    Generated,
    Failed,
    /// Finished but taken out of the plan before it aired.
    Unused,
}

/// A last line that a crash cut short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// From 1.
    pub line: usize,
    pub text: String,
}

/// Reads a journal. A last line that was cut short is handed back as it is; any other unreadable
/// line is an error that names it.
pub fn read(path: &Path) -> Result<(Vec<Entry>, Option<Torn>)> {
    let bytes =
        fs::read(path).map_err(|e| Error::io(format!("cannot read {}", path.display()), e))?;
    let mut entries = Vec::new();
    for (index, line) in bytes.split_inclusive(|b| *b == b'\n').enumerate() {
        match serde_json::from_slice(line) {
            Ok(entry) => entries.push(entry),
            Err(_) if !line.ends_with(b"\n") => {
                let text = String::from_utf8_lossy(line).into_owned();
                return Ok((entries, Some(Torn { line: index + 1, text })));
            }
            Err(e) => {
                return Err(Error::new(
                    Kind::Io,
                    format!(
                        "{} line {} is no journal entry; remove or mend that line",
                        path.display(),
                        index + 1
                    ),
                )
                .with_source(e));
            }
        }
    }
    Ok((entries, None))
}

/// Lines that wait for a disk that does not take them; what comes on top is counted and dropped.
const BUFFER_BYTES: usize = 1 << 20;

/// Far longer than any line.
const TAIL_BYTES: u64 = 64 * 1024;

/// The appending end. Only the archive's thread has one.
pub(super) struct Writer {
    file: File,
    /// Bytes of whole lines in the file; the file's cursor stands here.
    length: u64,
    buffer: Vec<u8>,
}

impl Writer {
    pub fn open(path: &Path) -> Result<Self> {
        let failed = |e| Error::io(format!("cannot open {}", path.display()), e);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let start = length.saturating_sub(TAIL_BYTES);
        let mut tail = Vec::new();
        file.seek(SeekFrom::Start(start)).map_err(failed)?;
        file.read_to_end(&mut tail).map_err(failed)?;
        let mut writer = Writer { file, length, buffer: Vec::new() };
        let line = tail.iter().rposition(|b| *b == b'\n').map_or(0, |newline| newline + 1);
        let last = &tail[line..];
        if !last.is_empty() {
            if serde_json::from_slice::<Entry>(last).is_ok() {
                writer.buffer.push(b'\n');
            } else {
                tracing::warn!(
                    "{}: the last line was cut short by a crash and is left out: {}",
                    path.display(),
                    String::from_utf8_lossy(last)
                );
                writer.length = start + line as u64;
                writer.file.set_len(writer.length).map_err(failed)?;
            }
        }
        writer.file.seek(SeekFrom::Start(writer.length)).map_err(failed)?;
        Ok(writer)
    }

    /// Takes a line in; `false` if there is no room for it.
    #[must_use]
    pub fn add(&mut self, entry: &Entry) -> bool {
        let before = self.buffer.len();
        if before > BUFFER_BYTES || serde_json::to_writer(&mut self.buffer, entry).is_err() {
            self.buffer.truncate(before);
            return false;
        }
        self.buffer.push(b'\n');
        true
    }

    /// Bytes that wait to be written.
    pub fn waiting(&self) -> usize {
        self.buffer.len()
    }

    /// Writes what waits. After an error it still waits, and the file is whole lines.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let written = self.file.write_all(&self.buffer).and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => {
                self.length += self.buffer.len() as u64;
                self.buffer.clear();
                Ok(())
            }
            Err(e) => {
                self.file.set_len(self.length)?;
                self.file.seek(SeekFrom::Start(self.length))?;
                Err(e)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            (any::<u64>(), any::<Option<u32>>(), 0..6400u32, -16..16i32).prop_map(
                |(frame, cycle, position, speed)| Event::Shot(Shot {
                    frame,
                    cycle,
                    role: if cycle.is_some() { Role::Fresh } else { Role::StandIn },
                    position: f64::from(position) / 64.0,
                    speed: f64::from(speed) / 8.0,
                    turn_frames: (frame % 3 == 0).then_some(36.0),
                    playhead: (frame % 4 == 1).then_some(f64::from(position) / 32.0),
                    leaving: frame % 11 == 0,
                    fade_frames: (frame % 2 == 0).then_some(30),
                    clip: (frame % 5 == 0).then_some(frame),
                    reversed: frame % 7 == 0,
                    grown: cycle.filter(|_| frame % 2 == 0).map(|cycle| Grown {
                        cycle,
                        reversed: speed < 0,
                        frames: 4,
                        at: (frame % 4 == 0).then_some(cycle),
                    }),
                })
            ),
            (
                ("/[a-z]{1,9}", any::<Option<String>>(), any::<Option<u16>>()),
                any::<i16>(),
                ".{0,9}",
                any::<u64>()
            )
                .prop_map(|((address, text, fade_ms), value, source, generation)| {
                    Event::Param {
                        text,
                        fade_ms: fade_ms.map(f32::from),
                        address,
                        value: f64::from(value) / 4.0,
                        source,
                        generation,
                    }
                }),
            (any::<u32>(), ".{0,9}", any::<Option<String>>()).prop_map(|(output, uri, name)| {
                let action = OutputAction::Retry;
                Event::Output { output, action, uri, name, source: "http".into() }
            }),
            (any::<u32>(), ".{0,9}", any::<Option<String>>()).prop_map(|(output, uri, reason)| {
                let state = OutputState::Reconnecting;
                Event::OutputState { output, uri, state, reason }
            }),
            any::<(u64, u64)>()
                .prop_map(|(frame, generation)| Event::ParamApplied { frame, generation }),
            ("[a-z0-9]{2,5}", 80u32..1600, any::<bool>()).prop_map(|(source, quarters, led)| {
                Event::Tempo { source, bpm: f64::from(quarters) / 4.0, led }
            }),
            any::<(u64, u64)>().prop_map(|(frame, frames)| Event::Held { frame, frames }),
            (any::<u64>(), any::<i64>(), "[0-9a-f]{0,4}").prop_map(|(frame, beat, heard)| {
                Event::Music(Music {
                    frame,
                    beat,
                    steps: vec![2184; frame as usize % 3],
                    bends: vec![-7; beat.unsigned_abs() as usize % 3],
                    signals: vec!["kick".into(); heard.len() / 2],
                    heard,
                })
            }),
            (any::<u64>(), "/[a-z]{1,9}")
                .prop_map(|(frame, address)| Event::OnBeat { frame, address }),
            (".{0,9}", any::<u64>()).prop_map(|(file, frame)| Event::Recording { file, frame }),
            (".{0,9}", any::<i64>(), any::<i16>()).prop_map(|(prompt, seed, value)| {
                Event::SessionStart {
                    session: "0123456789ab".into(),
                    version: "1".into(),
                    canvas: "1920x1080".into(),
                    fps: "60/1".into(),
                    fit: Some(Fit::Cover),
                    interpolation: (seed % 2 == 0).then_some(Interpolation::Flow),
                    flash_limit: (seed % 3 == 0).then_some(seed > 0),
                    stand_in: Some(StandIn { prompt, seed }),
                    params: [("/fx/zoom".to_owned(), f64::from(value) / 4.0)].into(),
                }
            }),
            (any::<u32>(), any::<Option<u8>>(), any::<Option<String>>()).prop_map(
                |(cycle, seconds, reason)| Event::Cycle {
                    cycle,
                    status: CycleStatus::Unused,
                    seconds: seconds.map(f64::from),
                    reason
                }
            ),
            (".{0,9}", any::<u64>())
                .prop_map(|(session, frames)| Event::SessionEnd { session, frames }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// A crash may cut the file anywhere: every whole line before is read, and what is
        /// written afterwards is read too.
        #[test]
        fn a_journal_cut_anywhere_loses_at_most_its_last_line(
            events in prop::collection::vec(event(), 1..8),
            cut in any::<prop::sample::Index>(),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("journal.jsonl");
            let at = "2026-11-22T20:15:00.123Z";
            let entries: Vec<Entry> =
                events.into_iter().map(|event| Entry { at: at.into(), event }).collect();
            let mut writer = Writer::open(&path).unwrap();
            for entry in &entries {
                prop_assert!(writer.add(entry));
            }
            writer.flush().unwrap();
            prop_assert_eq!(&read(&path).unwrap(), &(entries.clone(), None));

            let bytes = fs::read(&path).unwrap();
            let cut = cut.index(bytes.len());
            fs::write(&path, &bytes[..cut]).unwrap();
            let whole_lines = bytes[..cut].iter().filter(|b| **b == b'\n').count();
            let (read_back, torn) = read(&path).unwrap();
            prop_assert!(read_back.len() >= whole_lines);
            prop_assert_eq!(&read_back[..], &entries[..read_back.len()]);
            prop_assert!(torn.is_none_or(|torn| torn.line == read_back.len() + 1));

            let mut writer = Writer::open(&path).unwrap();
            prop_assert!(writer.add(&entries[0]));
            writer.flush().unwrap();
            let (after, torn) = read(&path).unwrap();
            prop_assert_eq!(torn, None);
            prop_assert_eq!(after.len(), read_back.len() + 1);
            prop_assert_eq!(after.last(), Some(&entries[0]));
        }
    }

    #[test]
    fn the_schema_is_the_documented_one() {
        let entry = Entry {
            at: "2026-11-22T20:15:00.123Z".into(),
            event: Event::Shot(Shot {
                playhead: None,
                leaving: false,
                frame: 90,
                cycle: Some(7),
                role: Role::Fresh,
                position: 0.0,
                speed: 0.125,
                turn_frames: None,
                fade_frames: Some(30),
                clip: Some(9),
                reversed: false,
                grown: Some(Grown { cycle: 6, reversed: false, frames: 8, at: None }),
            }),
        };
        let line = r#"{"at":"2026-11-22T20:15:00.123Z","event":"shot","frame":90,"cycle":7,"role":"fresh","position":0.0,"speed":0.125,"fade_frames":30,"clip":9,"grown":{"cycle":6,"frames":8}}"#;
        assert_eq!(serde_json::to_string(&entry).unwrap(), line);
    }

    #[test]
    fn the_lines_of_older_versions_are_read() {
        for line in [
            r#"{"at":"","event":"session_start","session":"0123456789ab","version":"0.1.0","canvas":"1920x1080","fps":"60/1"}"#,
            r#"{"at":"","event":"shot","frame":90,"cycle":7,"role":"fresh","position":0.0,"speed":0.125,"fade_frames":30}"#,
        ] {
            let entry: Entry = serde_json::from_str(line).unwrap();
            assert_eq!(serde_json::to_string(&entry).unwrap(), line);
        }
    }

    #[test]
    fn a_damaged_line_in_the_middle_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let good = "{\"at\":\"\",\"event\":\"param_applied\",\"frame\":1,\"generation\":2}";
        fs::write(&path, format!("{good}\nrubbish\n{good}\n")).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
    }
}
