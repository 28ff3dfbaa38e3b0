//! Every file of a project folder, and what it is: what the program made, what was left over, and
//! what it does not know.
//!
//! Holds: nothing here writes, and no link is followed. A file counts as made by the program only if
//! both its place and its whole name say so.

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::holdings::briq_cycle;
use super::project::{LOCK, STATE, TEMPORARY};
use super::{FactoryState, read_json};
use crate::base::error::{Error, Result};
use crate::base::fsio::content_id;

/// Where a film is put together; left over if that was killed.
const FINALIZING: &str = ".finalizing";
/// What the name of a preview's temporary folder begins with: it is made beside others' work.
pub const PREVIEW_PREFIX: &str = ".preview-";
/// The page of `vfaq status --html`.
pub const CONTACT_SHEET: &str = "contact_sheet.html";
/// What `vfaq assemble --preview` writes.
const PREVIEW: &str = "preview.mp4";

/// The order is that in which a project is removed: what tells of the others goes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Written under a temporary name when the program was killed.
    Leftovers,
    /// Clips of cycles.
    Videos,
    Images,
    Briqs,
    /// Base masters, deliverables and recordings.
    Masters,
    /// Contact sheets.
    Pages,
    /// State, journal, log, settings.
    Records,
}

impl Kind {
    pub const ALL: [Kind; 7] = [
        Kind::Videos,
        Kind::Images,
        Kind::Briqs,
        Kind::Masters,
        Kind::Pages,
        Kind::Records,
        Kind::Leftovers,
    ];

    /// `n` of them, in words.
    pub fn count(self, n: usize) -> String {
        let one = match self {
            Kind::Leftovers => "leftover",
            Kind::Videos => "video",
            Kind::Images => "image",
            Kind::Briqs => "briq",
            Kind::Masters => "master",
            Kind::Pages => "page",
            Kind::Records => "record",
        };
        format!("{n} {one}{}", if n == 1 { "" } else { "s" })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub path: PathBuf,
    pub kind: Kind,
    /// What it takes of the disk; of one content under two names only the first takes something.
    pub bytes: u64,
}

/// What a file of this name is, in one of the folders.
type Naming = fn(&str) -> Option<Kind>;

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// What the program made, in order of kind.
    pub items: Vec<Item>,
    /// The folders that it made, innermost first.
    pub folders: Vec<PathBuf>,
    /// What it does not know: files, folders that are no part of its layout, links.
    pub unknown: Vec<PathBuf>,
}

impl Inventory {
    /// Looks through the project in `folder`. Of `briqs_dir` (`paths.briqs_dir`), which other
    /// projects may share, only the briqs that this project's files name count; the rest of it is
    /// left out.
    ///
    /// # Errors
    /// A folder cannot be listed.
    pub fn of(folder: &Path, briqs_dir: Option<&Path>) -> Result<Inventory> {
        let mut found = Inventory::default();
        let mut contents = HashSet::new();
        found.look(folder, folder, root_kind, &mut contents)?;
        let places: [(&str, Naming); 3] =
            [("videos", clip_kind), ("images", clip_kind), ("briqs", briq_kind)];
        for (name, kind) in places {
            let part = folder.join(name);
            if is_plain_folder(&part) {
                found.look(folder, &part, kind, &mut contents)?;
                found.folders.push(part);
            }
        }
        let finalizing = folder.join(FINALIZING);
        if is_plain_folder(&finalizing) {
            found.leftover_folder(&finalizing, &mut contents)?;
        }
        if let Some(elsewhere) = briqs_dir.filter(|dir| !same(dir, &folder.join("briqs"))) {
            found.briqs_elsewhere(folder, elsewhere, &mut contents)?;
        }
        found.items.sort_by(|a, b| (a.kind, &a.path).cmp(&(b.kind, &b.path)));
        found.unknown.sort();
        Ok(found)
    }

    /// Number and bytes of a kind.
    pub fn sum(&self, kind: Kind) -> (usize, u64) {
        let those = self.items.iter().filter(|item| item.kind == kind);
        those.fold((0, 0), |(count, bytes), item| (count + 1, bytes + item.bytes))
    }

    fn look(
        &mut self,
        project: &Path,
        folder: &Path,
        kind_of: Naming,
        contents: &mut HashSet<(u64, u64)>,
    ) -> Result<()> {
        for (path, about) in entries(folder)? {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let part = ["videos", "images", "briqs", FINALIZING].contains(&name);
            match (about.is_file(), about.is_dir()) {
                (true, _) if kind_of(name).is_some() || is_temporary(name) => {
                    let kind = match is_temporary(name) {
                        true => Kind::Leftovers,
                        false => kind_of(name).unwrap_or(Kind::Leftovers),
                    };
                    self.add(path, kind, &about, contents);
                }
                (_, true) if folder == project && part => {}
                (_, true) if is_temporary(name) => self.leftover_folder(&path, contents)?,
                _ => self.unknown.push(path),
            }
        }
        Ok(())
    }

    /// All in it is left over; a link in it is not, and stays.
    fn leftover_folder(&mut self, folder: &Path, contents: &mut HashSet<(u64, u64)>) -> Result<()> {
        for (path, about) in entries(folder)? {
            if about.is_dir() {
                self.leftover_folder(&path, contents)?;
            } else if about.is_file() {
                self.add(path, Kind::Leftovers, &about, contents);
            } else {
                self.unknown.push(path);
            }
        }
        self.folders.push(folder.to_owned());
        Ok(())
    }

    fn briqs_elsewhere(
        &mut self,
        project: &Path,
        folder: &Path,
        contents: &mut HashSet<(u64, u64)>,
    ) -> Result<()> {
        let names = self.items.iter().filter_map(|item| item.path.file_name()?.to_str());
        let own = own_briqs(project, names);
        let found = match entries(folder) {
            Err(_) if !folder.exists() => return Ok(()),
            found => found?,
        };
        for (path, about) in found {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let id = name.strip_suffix(".json").unwrap_or_default();
            if about.is_file() && briq_kind(name).is_some() && own.contains(id) {
                self.add(path, Kind::Briqs, &about, contents);
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        path: PathBuf,
        kind: Kind,
        about: &Metadata,
        contents: &mut HashSet<(u64, u64)>,
    ) {
        let is_new = content_id(about).is_none_or(|content| contents.insert(content));
        self.items.push(Item { path, kind, bytes: if is_new { about.len() } else { 0 } });
    }
}

/// The state files that were put aside, `factory_state_001.json`, in order.
pub fn states_aside(folder: &Path) -> Vec<PathBuf> {
    let names = super::project::list(folder).unwrap_or_default();
    let aside = names.iter().filter(|name| name.as_str() != STATE && is_state(name));
    aside.map(|name| folder.join(name)).collect()
}

/// The briqs that the project's states and files name.
pub(super) fn own_briqs<'a>(
    folder: &Path,
    names: impl IntoIterator<Item = &'a str>,
) -> HashSet<String> {
    let mut own = HashSet::new();
    for path in states_aside(folder).into_iter().chain([folder.join(STATE)]) {
        let Ok(state) = read_json::<FactoryState>(&path) else { continue };
        own.extend(
            state.failed_cycles.iter().filter_map(|failed| failed.briq().map(str::to_owned)),
        );
        own.extend(state.completed_briqs);
        own.extend(state.active_briq_id);
    }
    for name in names {
        let id = name.strip_suffix("_image.png").or_else(|| name.strip_suffix("_video.mp4"));
        own.extend(id.filter(|id| id.starts_with("briq_")).map(str::to_owned));
    }
    own
}

fn root_kind(name: &str) -> Option<Kind> {
    let record = ["config_snapshot.yaml", "journal.jsonl", "vfaq.log", "vfaq.1.log", LOCK];
    match name {
        CONTACT_SHEET => Some(Kind::Pages),
        PREVIEW => Some(Kind::Masters),
        _ if record.contains(&name) || is_state(name) => Some(Kind::Records),
        _ if is_master(name) => Some(Kind::Masters),
        // The predecessor put a cycle's video here.
        _ => clip_kind(name).filter(|_| name.ends_with("_video.mp4")),
    }
}

fn is_temporary(name: &str) -> bool {
    name.starts_with(TEMPORARY) || name.starts_with(PREVIEW_PREFIX)
}

/// `factory_state.json`, `factory_state_001.json`.
fn is_state(name: &str) -> bool {
    let middle = name.strip_prefix("factory_state").and_then(|rest| rest.strip_suffix(".json"));
    middle
        .is_some_and(|middle| middle.is_empty() || middle.strip_prefix('_').is_some_and(is_number))
}

/// `final_output.mp4`, `final_60fps_1080p.mp4`, `final_60fps_1080p_002.part003.mp4`,
/// `final_60fps_1080p_joined.mp4`, `final_60fps_1080p_rerender_002.mp4`.
fn is_master(name: &str) -> bool {
    let Some(stem) = name.strip_prefix("final_").and_then(|rest| rest.strip_suffix(".mp4")) else {
        return false;
    };
    let rest = match stem.strip_prefix("output") {
        Some(rest) => rest,
        None => {
            let Some((rate, rest)) = stem.split_once("fps_") else { return false };
            let Some((size, rest)) = rest.split_once('p') else { return false };
            if !is_number(rate) || !is_number(size) {
                return false;
            }
            rest
        }
    };
    let spaced = rest.replace(".part", "_");
    let mut words = spaced.split('_');
    words.next() == Some("")
        && words.all(|word| ["joined", "rerender"].contains(&word) || is_number(word))
}

/// `cycle0007_raw.mp4`, `cycle0007_video.mp4`, `cycle0007_video_frame.png`,
/// `briq_0007_1a2b3c4d_video.mp4`, `briq_0007_1a2b3c4d_image.png`.
fn clip_kind(name: &str) -> Option<Kind> {
    let rest = match name.strip_prefix("cycle") {
        Some(rest) => {
            let (number, rest) = rest.split_once('_')?;
            is_number(number).then_some(rest)?
        }
        None => briq_rest(name)?.strip_prefix('_')?,
    };
    match rest {
        "raw.mp4" | "video.mp4" => Some(Kind::Videos),
        "image.png" | "video_frame.png" => Some(Kind::Images),
        _ => None,
    }
}

/// `briq_0007_1a2b3c4d.json`.
fn briq_kind(name: &str) -> Option<Kind> {
    (briq_rest(name)? == ".json").then_some(Kind::Briqs)
}

/// What follows `briq_0007_1a2b3c4d`.
fn briq_rest(name: &str) -> Option<&str> {
    let (_, rest) = briq_cycle(name)?;
    let rest = rest.strip_prefix('_')?;
    let end = rest.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(rest.len());
    (end > 0).then_some(&rest[end..])
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// What lies in a folder, links as links; sorted.
fn entries(folder: &Path) -> Result<Vec<(PathBuf, Metadata)>> {
    let failed = |e| Error::io(format!("cannot list {}", folder.display()), e);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        // It may be gone by now.
        if let Ok(about) = fs::symlink_metadata(&path) {
            found.push((path, about));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

/// A folder itself, not a link to one.
pub(super) fn is_plain_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|about| about.is_dir())
}

fn same(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_a_file_is() {
        let masters = [
            "final_output.mp4",
            "final_60fps_1080p.mp4",
            "final_60fps_1080p_002.mp4",
            "final_60fps_1080p_002.part003.mp4",
            "final_60fps_1080p_joined.mp4",
            "final_60fps_1080p_rerender_002.mp4",
            "final_30fps_720p.mp4",
        ];
        for name in masters {
            assert_eq!(root_kind(name), Some(Kind::Masters), "{name}");
        }
        for name in ["factory_state.json", "factory_state_012.json", "journal.jsonl", ".lock"] {
            assert_eq!(root_kind(name), Some(Kind::Records), "{name}");
        }
        assert_eq!(root_kind("preview.mp4"), Some(Kind::Masters));
        assert_eq!(root_kind("cycle0001_video.mp4"), Some(Kind::Videos));
        let foreign = [
            "final_cut.mp4",
            "final_output_graded.mp4",
            "final_60fps_1080p_joined.mov",
            "final_60fps_1080pretty.mp4",
            "final_.mp4",
            "factory_state_old.json",
            "factory_state_.json",
            "notes.md",
            "cycle0001_raw.mp4",
            "cycle_video.mp4",
            "",
        ];
        for name in foreign {
            assert_eq!(root_kind(name), None, "{name}");
        }
        assert_eq!(clip_kind("cycle0007_raw.mp4"), Some(Kind::Videos));
        assert_eq!(clip_kind("briq_0007_1a2b3c4d_video.mp4"), Some(Kind::Videos));
        assert_eq!(clip_kind("briq_0007_1a2b3c4d_image.png"), Some(Kind::Images));
        assert_eq!(clip_kind("cycle12345_video_frame.png"), Some(Kind::Images));
        for name in
            ["cycle0007_raw.mp4.bak", "cycle0007_best.mp4", "briq_7.mp4", "briq_0007__image.png"]
        {
            assert_eq!(clip_kind(name), None, "{name}");
        }
        assert_eq!(briq_kind("briq_0007_1a2b3c4d.json"), Some(Kind::Briqs));
        assert_eq!(briq_kind("briq_0007_1a2b3c4d_mine.json"), None);
    }
}
