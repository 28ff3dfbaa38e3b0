//! What segments there are, and of what they are made: `plan.json`.
//!
//! Holds: a segment that the plan lists was whole, with as many bytes, when it was listed.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::Path;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::index::Index;
use super::{Deliverable, Step};
use crate::base::error::{Error, Result};
use crate::base::fsio::write_atomic;
use crate::stream::encoding::ladder::Rung;

const FILE: &str = "plan.json";
/// Rises whenever the program makes other segments of the same source and settings.
const FORMAT: u32 = 1;

/// By what a source is known again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceState {
    bytes: u64,
    modified_ns: u64,
}

/// What a source is like now.
pub fn state_of(source: &Path) -> Result<SourceState> {
    let cannot = |e| Error::io(format!("cannot read {}", source.display()), e);
    let about = fs::metadata(source).map_err(cannot)?;
    let modified = about.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let modified_ns = modified.map_or(0, |time| time.as_nanos() as u64);
    Ok(SourceState { bytes: about.len(), modified_ns })
}

/// All that segments depend on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct MadeOf {
    format: u32,
    source: SourceState,
    frames: u64,
    segment_frames: u64,
    fps: String,
    size: (u32, u32),
    interpolation: String,
    encoder: String,
    crf: u32,
    preset: String,
}

/// A segment that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Whole {
    frames: u64,
    bytes: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    made_of: MadeOf,
    /// By number.
    whole: BTreeMap<usize, Whole>,
    /// Those of them that an earlier run made.
    #[serde(skip)]
    found: Vec<usize>,
}

pub fn segment_name(number: usize) -> String {
    format!("segment_{number:04}.mp4")
}

impl Plan {
    pub fn new(of: &Deliverable, source: SourceState, frames: u64, rung: Rung) -> Self {
        let Deliverable { fps, size, interpolation: how, crf, preset, .. } = of;
        let made_of = MadeOf {
            format: FORMAT,
            source,
            frames,
            segment_frames: fps.frames_in(of.segment.as_nanos() as u64).max(1),
            fps: fps.to_string(),
            size: *size,
            interpolation: format!("{:?} {:?} {:?}", how.method, how.quality, how.scale),
            encoder: rung.factory.to_owned(),
            crf: *crf,
            preset: preset.name().to_owned(),
        };
        Plan { made_of, whole: BTreeMap::new(), found: Vec::new() }
    }

    /// Frames of the deliverable.
    pub fn frames(&self) -> u64 {
        self.made_of.frames
    }

    /// The frames of each segment.
    pub fn segments(&self) -> Vec<Range<u64>> {
        let (frames, step) = (self.made_of.frames, self.made_of.segment_frames);
        let count = frames.div_ceil(step);
        (0..count).map(|n| n * step..((n + 1) * step).min(frames)).collect()
    }

    /// Those that are not whole.
    pub fn missing(&self) -> Vec<usize> {
        (0..self.segments().len()).filter(|number| !self.whole.contains_key(number)).collect()
    }

    /// Frames and bytes of those that are whole.
    pub fn done(&self) -> (u64, u64) {
        self.whole.values().fold((0, 0), |(f, b), whole| (f + whole.frames, b + whole.bytes))
    }

    /// Takes over what an earlier run left in the folder as far as it fits, and removes the rest.
    pub fn take_over(&mut self, folder: &Path, on_step: &mut dyn FnMut(Step)) -> Result<()> {
        let cannot = |e| Error::io(format!("cannot use {}", folder.display()), e);
        match read(folder) {
            None => self.throw_away(folder)?,
            Some(old) if old.made_of != self.made_of => {
                let text = "what an earlier run left is of another source or other settings; it is \
                            thrown away";
                on_step(Step::Note(text.into()));
                self.throw_away(folder)?;
            }
            Some(old) => {
                for (number, frames) in self.segments().into_iter().enumerate() {
                    let path = folder.join(segment_name(number));
                    // One that is not listed was whole just before the run ended.
                    let whole = whole(&path).filter(|whole| {
                        whole.frames == frames.end - frames.start
                            && old.whole.get(&number).is_none_or(|listed| listed == whole)
                    });
                    if let Some(whole) = whole {
                        self.whole.insert(number, whole);
                        self.found.push(number);
                    }
                }
                self.remove_all_else(folder)?;
            }
        }
        fs::create_dir_all(folder).map_err(cannot)?;
        self.write(folder)
    }

    /// Removes everything in the folder that is no whole segment, nor the plan.
    fn remove_all_else(&self, folder: &Path) -> Result<()> {
        let names: Vec<String> = self.whole.keys().map(|number| segment_name(*number)).collect();
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name != FILE && !names.iter().any(|kept| name == kept.as_str()) {
                let path = entry.path();
                fs::remove_file(&path)
                    .map_err(|e| Error::io(format!("cannot remove {}", path.display()), e))?;
            }
        }
        Ok(())
    }

    /// Removes the folder of the segments.
    pub fn throw_away(&self, folder: &Path) -> Result<()> {
        match fs::remove_dir_all(folder) {
            Err(e) if e.kind() != ErrorKind::NotFound => {
                Err(Error::io(format!("cannot remove {}", folder.display()), e))
            }
            _ => Ok(()),
        }
    }

    /// A segment has its name.
    pub fn add(&mut self, number: usize, frames: u64, bytes: u64, folder: &Path) -> Result<()> {
        self.whole.insert(number, Whole { frames, bytes });
        self.write(folder)
    }

    /// Those of an earlier run whose parameter sets are not those of this one.
    ///
    /// # Errors
    /// Segments of one run differ.
    pub fn odd_ones(&self, folder: &Path) -> Result<Vec<usize>> {
        let mut parameters = Vec::new();
        for number in self.whole.keys() {
            let name = segment_name(*number);
            let index = Index::read(&folder.join(&name)).map_err(|why| {
                Error::conflict(format!("{name} in {} {why}; start again", folder.display()))
            })?;
            parameters.push((*number, index.parameters));
        }
        let is_new = |number: &usize| !self.found.contains(number);
        let own = parameters.iter().find(|(number, _)| is_new(number)).or(parameters.first());
        let Some((_, own)) = own else { return Ok(Vec::new()) };
        let odd: Vec<usize> = parameters
            .iter()
            .filter(|(_, other)| other != own)
            .map(|(number, _)| *number)
            .collect();
        if odd.iter().any(is_new) {
            return Err(Error::internal(format!(
                "{} gives segments that cannot be joined; another one in \
                 finalizer.encoder_preference may do better",
                self.made_of.encoder
            )));
        }
        Ok(odd)
    }

    /// These are to be made again.
    pub fn forget(&mut self, numbers: &[usize], folder: &Path) -> Result<()> {
        self.whole.retain(|number, _| !numbers.contains(number));
        self.found.retain(|number| !numbers.contains(number));
        self.write(folder)?;
        self.remove_all_else(folder)
    }

    fn write(&self, folder: &Path) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).map_err(Error::fault)?;
        write_atomic(&folder.join(FILE), &text)
    }
}

/// That of an earlier run; one that cannot be read is none.
fn read(folder: &Path) -> Option<Plan> {
    serde_json::from_slice(&fs::read(folder.join(FILE)).ok()?).ok()
}

fn whole(path: &Path) -> Option<Whole> {
    let frames = Index::read(path).ok()?.frames;
    Some(Whole { frames, bytes: fs::metadata(path).ok()?.len() })
}
