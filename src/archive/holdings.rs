//! What cycles a project folder holds, wherever this program or its predecessor put them: raw
//! clips in `videos/` or `images/`, backends' files under a briq's name, videos in the root, and
//! paths of another machine, of which the file name still tells.
//!
//! Holds: nothing here writes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::inventory::own_briqs;
use super::project::{Project, list};
use super::{FactoryState, mp4, read_json};
use crate::base::error::{Error, Result};
use crate::cycle::{Briq, BriqStatus};
use crate::media::CycleId;

/// A number above this is no cycle's: it leaves room for many lifetimes of cycles.
pub(super) const MOST_CYCLES: u32 = 100_000_000;

/// A cycle that can be aired as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlayableCycle {
    pub cycle: CycleId,
    /// Its raw clip, or else its video.
    pub path: PathBuf,
    /// Empty if its briq is lost.
    pub prompt: String,
}

/// Where generation goes on.
#[derive(Clone, Debug, PartialEq)]
pub struct ResumePoint {
    pub next_cycle: CycleId,
    /// The cycle that the next one grows out of; `None`: begin from the brief.
    pub last_raw: Option<(CycleId, PathBuf)>,
    /// `None`: the project never had one.
    pub base_seed: Option<i64>,
    /// The briq of `last_raw`.
    pub last_briq: Option<Briq>,
}

/// What a file is to its cycle; the order is that of preference for airing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Raw,
    /// What a backend of the predecessor wrote, `<briq_id>_video.mp4`: the same as the raw clip.
    BackendClip,
    CycleVideo,
    Image,
}

#[derive(Debug)]
pub(super) struct Holdings {
    /// `videos`, `images`, root: the order of preference between files of one role.
    folders: [PathBuf; 3],
    /// By cycle; sorted.
    files: BTreeMap<u32, Vec<(Role, usize, PathBuf)>>,
    briqs: BTreeMap<u32, Vec<PathBuf>>,
}

impl Holdings {
    pub fn scan(folder: &Path, briqs_dir: &Path) -> Result<Self> {
        let folders = [folder.join("videos"), folder.join("images"), folder.to_owned()];
        let mut files: BTreeMap<u32, Vec<_>> = BTreeMap::new();
        for (place, folder) in folders.iter().enumerate() {
            for name in list(folder)? {
                if let Some((cycle, role)) = parse_name(&name) {
                    files.entry(cycle).or_default().push((role, place, folder.join(name)));
                }
            }
        }
        files.values_mut().for_each(|files| files.sort());
        // A folder elsewhere may hold the briqs of other projects too.
        let own = (*briqs_dir != folder.join("briqs")).then(|| {
            let paths = files.values().flatten();
            own_briqs(
                folder,
                paths.filter_map(|(.., path): &(_, _, PathBuf)| path.file_name()?.to_str()),
            )
        });
        let mut briqs: BTreeMap<u32, Vec<_>> = BTreeMap::new();
        for name in list(briqs_dir)? {
            let Some(id) = name.strip_suffix(".json") else { continue };
            if own.as_ref().is_some_and(|own| !own.contains(id)) {
                continue;
            }
            let path = briqs_dir.join(&name);
            let cycle = match briq_cycle(id) {
                Some((cycle, _)) => cycle,
                None => match read_json::<Briq>(&path) {
                    Ok(briq) if briq.cycle_index <= MOST_CYCLES => briq.cycle_index,
                    Ok(_) => continue,
                    Err(_) => continue,
                },
            };
            briqs.entry(cycle).or_default().push(path);
        }
        Ok(Holdings { folders, files, briqs })
    }

    /// One above every number that a file or briq bears.
    pub fn next_free_cycle(&self) -> u32 {
        let highest = self.files.keys().last().max(self.briqs.keys().last());
        highest.map_or(0, |highest| highest + 1)
    }

    /// Every cycle that a file or briq bears the number of, in order.
    pub fn numbers(&self) -> impl Iterator<Item = u32> {
        let both: BTreeSet<u32> = self.files.keys().chain(self.briqs.keys()).copied().collect();
        both.into_iter()
    }

    /// The briqs of a cycle, and what is wrong with those that cannot be read.
    pub fn read_briqs(&self, cycle: u32) -> (Vec<Briq>, Vec<Error>) {
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for path in self.briqs.get(&cycle).into_iter().flatten() {
            match read_json(path) {
                Ok(briq) => good.push(briq),
                Err(error) => bad.push(error),
            }
        }
        (good, bad)
    }

    fn briqs_of(&self, cycle: u32) -> Vec<Briq> {
        let (good, bad) = self.read_briqs(cycle);
        for error in bad {
            tracing::warn!("{error}; it is left out, its files are not");
        }
        good
    }

    /// Where a file that a briq or the state names is now: under its bare name in this project,
    /// or else as it stands if that is absolute.
    fn locate(&self, recorded: &str) -> Option<PathBuf> {
        let name = recorded.rsplit(['/', '\\']).next().filter(|name| !name.is_empty())?;
        let here = self.folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
        let as_is = || Some(PathBuf::from(recorded)).filter(|p| p.is_absolute() && p.is_file());
        here.or_else(as_is)
    }

    fn with_role(&self, cycle: u32, role: Role) -> impl Iterator<Item = PathBuf> {
        let files = self.files.get(&cycle).into_iter().flatten();
        files.filter(move |(r, ..)| *r == role).map(|(.., path)| path.clone())
    }

    /// Every file that may be the cycle's raw clip, best first.
    pub fn raws(&self, cycle: u32, briqs: &[Briq]) -> Vec<PathBuf> {
        let recorded = briqs.iter().filter_map(|briq| self.locate(briq.raw_video_path.as_ref()?));
        self.with_role(cycle, Role::Raw)
            .chain(self.with_role(cycle, Role::BackendClip))
            .chain(recorded)
            .collect()
    }

    /// Every file that may be the cycle's video, best first.
    pub fn videos(&self, cycle: u32, briqs: &[Briq], state: &FactoryState) -> Vec<PathBuf> {
        let recorded =
            briqs.iter().filter_map(|briq| self.locate(briq.looped_video_path.as_ref()?));
        let listed = state
            .cycle_video_paths
            .iter()
            .filter(|path| listed_cycle(path) == Some(cycle))
            .filter_map(|path| self.locate(path));
        self.with_role(cycle, Role::CycleVideo).chain(recorded).chain(listed).collect()
    }

    /// The still that the cycle's clip starts from.
    pub fn image(&self, cycle: u32, briqs: &[Briq]) -> Option<PathBuf> {
        let recorded = briqs.iter().filter_map(|b| self.locate(b.source_image_path.as_ref()?));
        recorded.chain(self.with_role(cycle, Role::Image)).next()
    }
}

/// The raw clips of a project's cycles.
#[derive(Debug)]
pub struct Clips(Holdings);

impl Clips {
    pub(super) fn scan(folder: &Path, briqs_dir: Option<&Path>) -> Result<Self> {
        let briqs_dir = briqs_dir.map_or_else(|| folder.join("briqs"), Path::to_owned);
        Holdings::scan(folder, &briqs_dir).map(Clips)
    }

    /// The cycle's whole raw clip, wherever it is.
    pub fn raw(&self, cycle: CycleId) -> Option<PathBuf> {
        first_whole(&self.0.raws(cycle.0, &self.0.briqs_of(cycle.0)))
    }
}

impl Project {
    /// The cycle's whole raw clip, wherever it is.
    pub fn find_raw(&self, cycle: CycleId) -> Result<Option<PathBuf>> {
        let holdings = self.holdings()?;
        Ok(first_whole(&holdings.raws(cycle.0, &holdings.briqs_of(cycle.0))))
    }

    /// The cycle's whole video, wherever it is.
    pub fn find_cycle_video(&self, cycle: CycleId) -> Result<Option<PathBuf>> {
        let holdings = self.holdings()?;
        let briqs = holdings.briqs_of(cycle.0);
        Ok(first_whole(&holdings.videos(cycle.0, &briqs, self.state())))
    }

    /// The still that the cycle's clip starts from, wherever it is.
    pub fn find_source_image(&self, cycle: CycleId) -> Result<Option<PathBuf>> {
        let holdings = self.holdings()?;
        Ok(holdings.image(cycle.0, &holdings.briqs_of(cycle.0)))
    }

    /// The cycles that can be aired without a generator, in order. One whose files are missing,
    /// empty or cut off is left out with a warning; none at all is an error.
    pub fn playable(&self) -> Result<Vec<PlayableCycle>> {
        let playable = self.playable_in(CycleId(0)..=CycleId(u32::MAX))?;
        if playable.is_empty() {
            return Err(Error::unavailable(format!(
                "the project {} has no cycle that can be played; make some with `vfaq live` \
                 without --play",
                self.folder().display()
            )));
        }
        Ok(playable)
    }

    /// Those of [`Project::playable`] that are in a range; none at all is no error. Files of other
    /// cycles are not opened.
    pub fn playable_in(&self, range: RangeInclusive<CycleId>) -> Result<Vec<PlayableCycle>> {
        let holdings = self.holdings()?;
        let listed = self.state().cycle_video_paths.iter().filter_map(|path| listed_cycle(path));
        let mut numbers: Vec<u32> = holdings.numbers().chain(listed).collect();
        numbers.retain(|number| range.contains(&CycleId(*number)));
        numbers.sort_unstable();
        numbers.dedup();

        let mut playable = Vec::new();
        for number in numbers {
            let briqs = holdings.briqs_of(number);
            let candidates =
                [holdings.raws(number, &briqs), holdings.videos(number, &briqs, self.state())]
                    .concat();
            let briq = briqs
                .iter()
                .find(|briq| briq.status == BriqStatus::Complete)
                .or_else(|| briqs.first());
            match first_whole(&candidates) {
                Some(path) => playable.push(PlayableCycle {
                    cycle: CycleId(number),
                    path,
                    prompt: briq.map(|briq| briq.prompt.clone()).unwrap_or_default(),
                }),
                None if candidates.is_empty() && briq.is_some_and(Briq::has_raw) => {
                    tracing::warn!("cycle {number} is left out: its clip is missing");
                }
                None => {}
            }
        }
        Ok(playable)
    }

    /// The cycle after the last one whose raw clip was finished and is still there; a cycle that
    /// was in the making is made again. A finished cycle of which only the looped video is left
    /// cannot be grown from, but its number is not given out again, so that it is not overwritten.
    pub fn resume_point(&self) -> Result<ResumePoint> {
        let holdings = self.holdings()?;
        let first = self.state().first_cycle;
        let mut next_cycle = first;
        let mut last = None;
        let numbers: BTreeSet<u32> = holdings.numbers().collect();
        for number in numbers.range(first..).rev().copied() {
            let briqs = holdings.briqs_of(number);
            // A raw clip gets its name when it is whole. A kill may have come before its briq says so.
            if let Some(raw) = first_whole(&holdings.raws(number, &briqs)) {
                next_cycle = next_cycle.max(number + 1);
                let briq = briqs.iter().find(|briq| briq.has_raw()).or(briqs.last()).cloned();
                last = Some(((CycleId(number), raw), briq));
                break;
            }
            if first_whole(&holdings.videos(number, &briqs, self.state())).is_some() {
                next_cycle = next_cycle.max(number + 1);
            }
        }
        let (last_raw, last_briq) = last.unzip();
        // Before the seed was kept in the state, that of cycle 0 was the base.
        let base_seed = self
            .state()
            .base_seed
            .or_else(|| holdings.briqs_of(0).first().filter(|_| first == 0).map(|briq| briq.seed));
        Ok(ResumePoint {
            next_cycle: CycleId(next_cycle),
            last_raw,
            base_seed,
            last_briq: last_briq.flatten(),
        })
    }
}

/// The first file that is whole; those before it are warned about.
fn first_whole(candidates: &[PathBuf]) -> Option<PathBuf> {
    let whole = |path: &&PathBuf| {
        mp4::check_whole(path)
            .inspect_err(|wrong| tracing::warn!("{} is left out: it {wrong}", path.display()))
            .is_ok()
    };
    candidates.iter().find(whole).cloned()
}

/// `cycle0007_raw.mp4`, `cycle0007_video.mp4`, `briq_0007_1a2b3c4d_video.mp4`,
/// `briq_0007_1a2b3c4d_image.png`.
fn parse_name(name: &str) -> Option<(u32, Role)> {
    if let Some(rest) = name.strip_prefix("cycle") {
        let (cycle, rest) = leading_number(rest)?;
        return match rest {
            "_raw.mp4" => Some((cycle, Role::Raw)),
            "_video.mp4" => Some((cycle, Role::CycleVideo)),
            _ => None,
        };
    }
    let (cycle, rest) = briq_cycle(name)?;
    if rest.ends_with("_video.mp4") {
        Some((cycle, Role::BackendClip))
    } else if rest.ends_with("_image.png") {
        Some((cycle, Role::Image))
    } else {
        None
    }
}

/// The cycle of a `cycleNNNN_video.mp4` in the state's list.
pub(super) fn listed_cycle(path: &str) -> Option<u32> {
    parse_name(path.rsplit(['/', '\\']).next()?).map(|(cycle, _)| cycle)
}

/// The number in `briq_NNNN_...`, and what follows it.
pub(super) fn briq_cycle(id: &str) -> Option<(u32, &str)> {
    let (cycle, rest) = leading_number(id.strip_prefix("briq_")?)?;
    rest.starts_with('_').then_some((cycle, rest))
}

fn leading_number(text: &str) -> Option<(u32, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number = text[..end].parse().ok().filter(|number| *number <= MOST_CYCLES)?;
    Some((number, &text[end..]))
}
