//! A project as it lies there, looked at from outside: nothing is locked, made or changed, and
//! whatever is damaged is told beside what is intact.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::holdings::Holdings;
use super::project::{STATE, holder};
use super::{FactoryState, Project, mp4, read_json};
use crate::base::error::{Error, Result};
use crate::cycle::{Briq, BriqStatus};
use crate::media::CycleId;

#[derive(Debug)]
pub struct Survey {
    pub folder: PathBuf,
    /// `None`: there is none, or it is damaged.
    pub state: Option<FactoryState>,
    /// In order of their numbers; all that any file, briq or the state knows of.
    pub cycles: Vec<Cycle>,
    /// What cannot be read, one line for each: a damaged state, briqs that are no JSON.
    pub faults: Vec<String>,
    /// Who has the project open at present.
    pub holder: Option<String>,
}

/// What there is of one cycle.
#[derive(Clone, Debug)]
pub struct Cycle {
    pub cycle: CycleId,
    /// The briq that counts, if several bear the number: a complete one before a failed one.
    pub briq: Option<Briq>,
    pub raw: Held,
    /// Looped or passed through.
    pub video: Held,
    /// The still that its clip starts from.
    pub image: Option<PathBuf>,
    /// Its failure is open: it was tried, and never made after that.
    pub failure: Option<String>,
}

/// A clip of a cycle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    Missing,
    Whole(PathBuf),
    /// And what is wrong with it.
    Damaged(PathBuf, String),
}

impl Held {
    /// The first whole one of them; or else the first that is damaged.
    fn of(candidates: &[PathBuf]) -> Held {
        let mut damaged = Held::Missing;
        for path in candidates {
            match mp4::check_whole(path) {
                Ok(()) => return Held::Whole(path.clone()),
                Err(what) if damaged == Held::Missing => {
                    damaged = Held::Damaged(path.clone(), what);
                }
                Err(_) => {}
            }
        }
        damaged
    }

    pub fn whole(&self) -> Option<&Path> {
        match self {
            Held::Whole(path) => Some(path),
            _ => None,
        }
    }
}

impl Cycle {
    fn of(
        holdings: &Holdings,
        number: u32,
        state: &FactoryState,
        failure: Option<String>,
        faults: &mut Vec<String>,
    ) -> Cycle {
        let (briqs, bad) = holdings.read_briqs(number);
        faults.extend(bad.into_iter().map(|error| error.to_string()));
        let raw = Held::of(&holdings.raws(number, &briqs));
        let video = Held::of(&holdings.videos(number, &briqs, state));
        let image = holdings.image(number, &briqs);
        let briq = telling(briqs, state);
        // Older states have no list of failures, and a kill may come before an entry.
        let nothing = raw.whole().is_none() && video.whole().is_none();
        let by_briq = briq.as_ref().is_some_and(|briq| briq.status == BriqStatus::Failed);
        let failure = failure.or((nothing && by_briq).then(String::new));
        let failure = failure.map(|reason| match reason.is_empty() {
            true => said_by(&briq).unwrap_or_else(|| "its reason was not kept".into()),
            false => reason,
        });
        Cycle { cycle: CycleId(number), briq, raw, video, image, failure }
    }

    /// Its clip or its video can be played.
    pub fn is_there(&self) -> bool {
        self.raw.whole().is_some() || self.video.whole().is_some()
    }

    /// Its clip was finished once.
    pub fn was_made(&self) -> bool {
        self.raw != Held::Missing
            || self.video != Held::Missing
            || self.briq.as_ref().is_some_and(Briq::has_raw)
    }
}

impl Project {
    /// The last `most` cycles with a number below `before`, newest first; how many cycles there
    /// are in all; and whether there are earlier ones than these. Other cycles' files are not read.
    pub(super) fn cycles(
        &self,
        before: u32,
        most: usize,
        state: &FactoryState,
    ) -> Result<(Vec<Cycle>, usize, bool)> {
        let holdings = self.holdings()?;
        let failures: BTreeMap<u32, String> = state
            .failed_cycles
            .iter()
            .filter_map(|failed| {
                Some((failed.cycle()?, failed.reason().unwrap_or_default().to_owned()))
            })
            .collect();
        let numbers: BTreeSet<u32> = holdings.numbers().chain(failures.keys().copied()).collect();
        let mut wanted = numbers.range(..before).rev().copied();
        let cycles = wanted.by_ref().take(most).map(|number| {
            Cycle::of(&holdings, number, state, failures.get(&number).cloned(), &mut Vec::new())
        });
        let cycles = cycles.collect();
        Ok((cycles, numbers.len(), wanted.next().is_some()))
    }
}

impl Survey {
    /// Looks at the project in `folder`; `briqs_dir` is `paths.briqs_dir` of the settings.
    ///
    /// # Errors
    /// There is no such project (`Usage`), or the folder cannot be read (`Io`).
    pub fn of(folder: &Path, briqs_dir: Option<&Path>) -> Result<Survey> {
        let found = fs::metadata(folder).map(|about| about.is_dir());
        if !matches!(found, Ok(true)) {
            return Err(no_project(folder));
        }
        let briqs_dir = briqs_dir.map_or_else(|| folder.join("briqs"), Path::to_owned);
        let holdings = Holdings::scan(folder, &briqs_dir)?;
        let mut faults = Vec::new();
        let state_file = folder.join(STATE);
        let state: Option<FactoryState> = match state_file.exists() {
            true => read_json(&state_file).map_err(|e| faults.push(e.to_string())).ok(),
            false => None,
        };
        let known = state.clone().unwrap_or_default();

        let mut failures: BTreeMap<u32, String> = BTreeMap::new();
        for failed in &known.failed_cycles {
            if let Some(cycle) = failed.cycle() {
                failures.insert(cycle, failed.reason().unwrap_or_default().to_owned());
            }
        }
        let listed = known.cycle_video_paths.iter().filter_map(|path| super::listed_cycle(path));
        let numbers: BTreeSet<u32> =
            holdings.numbers().chain(listed).chain(failures.keys().copied()).collect();
        let cycles = numbers.into_iter().map(|number| {
            Cycle::of(&holdings, number, &known, failures.remove(&number), &mut faults)
        });
        let cycles: Vec<Cycle> = cycles.collect();
        Ok(Survey { holder: holder(folder), folder: folder.to_owned(), state, cycles, faults })
    }

    /// The cycles of the present session: those before the last `--fresh` are left out.
    pub fn session(&self) -> &[Cycle] {
        let first = self.state.as_ref().map_or(0, |state| state.first_cycle);
        &self.cycles[self.cycles.partition_point(|cycle| cycle.cycle.0 < first)..]
    }

    /// Seconds of all clips of the session that can be played.
    pub fn content_seconds(&self) -> f64 {
        let seconds = self.session().iter().filter_map(|cycle| {
            let clip = cycle.video.whole().or(cycle.raw.whole())?;
            let said = || cycle.briq.as_ref().map(|briq| briq.spec.clip_seconds);
            mp4::seconds(clip).or_else(said).filter(|seconds| *seconds > 0.0)
        });
        // A sum of nothing is -0.0.
        seconds.sum::<f64>() + 0.0
    }

    /// Cycles of the session that failed or are damaged, and of which nothing whole is there.
    pub fn failed(&self) -> impl Iterator<Item = &Cycle> {
        let damaged = |held: &Held| matches!(held, Held::Damaged(..));
        self.session().iter().filter(move |cycle| {
            !cycle.is_there()
                && (cycle.failure.is_some() || damaged(&cycle.raw) || damaged(&cycle.video))
        })
    }

    /// Cycles of the session that a kill came upon between their clip and the last word on them: there
    /// is no video yet, or it is there and state or briq do not know.
    pub fn unfinished(&self) -> impl Iterator<Item = (&Cycle, &Path)> {
        let known = self.state.as_ref();
        self.session().iter().filter_map(move |cycle| {
            let raw = cycle.raw.whole()?;
            let untold = known.is_some_and(|state| !is_told(cycle, state));
            (untold || cycle.video.whole().is_none()).then_some((cycle, raw))
        })
    }
}

pub(super) fn no_project(folder: &Path) -> Error {
    Error::usage(format!(
        "there is no project at {}; name one with -n or its folder with -o",
        folder.display()
    ))
}

/// Whether state and briq know that the cycle was made.
fn is_told(cycle: &Cycle, state: &FactoryState) -> bool {
    let number = |path: &String| super::listed_cycle(path) == Some(cycle.cycle.0);
    match &cycle.briq {
        Some(briq) => {
            briq.status == BriqStatus::Complete && state.completed_briqs.contains(&briq.briq_id)
        }
        None => state.cycle_video_paths.iter().any(number),
    }
}

/// Of the briqs of one cycle the one that tells most of what is there.
fn telling(mut briqs: Vec<Briq>, state: &FactoryState) -> Option<Briq> {
    let rank = |briq: &Briq| {
        let listed = state.completed_briqs.contains(&briq.briq_id);
        let made = match briq.status {
            BriqStatus::Complete => 3,
            BriqStatus::Inspecting | BriqStatus::Constructed => 2,
            BriqStatus::Failed => 1,
            BriqStatus::Pending | BriqStatus::Constructing => 0,
        };
        (listed, made, briq.created_at.clone())
    };
    briqs.sort_by_cached_key(rank);
    briqs.pop()
}

fn said_by(briq: &Option<Briq>) -> Option<String> {
    briq.as_ref()?.error_message.clone()
}
