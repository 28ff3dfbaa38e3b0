//! Beginning a project anew, and removing it.
//!
//! Holds: nobody else has the project meanwhile. No link is followed, and nothing is removed but what
//! [`Inventory`] knows as the program's own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::inventory::{Inventory, Item, Kind, is_plain_folder};
use super::project::{LOCK, STATE, begin_anew, lock};
use super::{FactoryState, read_json, survey};
use crate::base::error::{Error, Kind as Fault, Result};

/// What there is to clean, and what would be done.
#[derive(Debug)]
pub struct Cleaning {
    folder: PathBuf,
    briqs_dir: Option<PathBuf>,
    /// Remove the project, instead of beginning it anew.
    all: bool,
    pub found: Inventory,
    /// The state is put aside, so that the next run begins anew.
    pub anew: bool,
}

/// What was done.
#[derive(Debug, Default)]
pub struct Cleaned {
    pub removed: Vec<Item>,
    /// Under which name the state is kept.
    pub aside: Option<PathBuf>,
    /// Where the next cycles' numbers begin.
    pub first_cycle: Option<u32>,
    /// The project's folder is gone too.
    pub folder_removed: bool,
}

impl Cleaning {
    /// Looks at what there is to do; changes nothing.
    ///
    /// # Errors
    /// There is no project (`Usage`); somebody has it (`Unavailable`); the folder is a link (`Usage`).
    pub fn plan(folder: &Path, briqs_dir: Option<&Path>, all: bool) -> Result<Cleaning> {
        // With a slash at the end a link would be followed.
        let folder = &folder.components().collect::<PathBuf>();
        let shown = folder.display();
        let about = fs::symlink_metadata(folder);
        if about.as_ref().is_ok_and(fs::Metadata::is_symlink) {
            return Err(Error::usage(format!(
                "{shown} is a link to a folder elsewhere, and links are not followed; name that \
                 folder itself with -o"
            )));
        }
        if !about.is_ok_and(|about| about.is_dir()) {
            return Err(survey::no_project(folder));
        }
        if let Some(holder) = super::project::holder(folder) {
            return Err(Error::unavailable(format!(
                "the project {shown} is in use by {holder}; end that first"
            )));
        }
        let found = Inventory::of(folder, briqs_dir)?;
        if found.items.is_empty() && found.folders.is_empty() {
            return Err(Error::usage(format!("{shown} holds no project; nothing was changed")));
        }
        if found.unknown.iter().any(|path| *path == folder.join(LOCK)) {
            return Err(Error::usage(format!(
                "{} is no file of this program; move it elsewhere first",
                folder.join(LOCK).display()
            )));
        }
        Ok(Cleaning {
            anew: !all && has_begun(folder, &found),
            folder: folder.to_owned(),
            briqs_dir: briqs_dir.map(Path::to_owned),
            all,
            found,
        })
    }

    /// What is removed, in this order.
    pub fn removes(&self) -> impl Iterator<Item = &Item> {
        let all = self.all;
        self.found.items.iter().filter(move |item| all || item.kind == Kind::Leftovers)
    }

    /// Does it.
    ///
    /// # Errors
    /// Somebody has the project now, or it changed since it was looked at (`Conflict`); then nothing
    /// was done. A file cannot be removed (`Io`): the others are gone all the same.
    pub fn carry_out(self, now: SystemTime) -> Result<Cleaned> {
        let lock_file = self.folder.join(LOCK);
        let had_lock = lock_file.exists();
        let hold = lock(&self.folder, "vfaq clean")?;
        let again = Inventory::of(&self.folder, self.briqs_dir.as_deref())?;
        let others = |found: &Inventory| {
            let of = |item: &&Item| item.path != lock_file;
            (found.items.iter().filter(of).cloned().collect::<Vec<_>>(), found.unknown.clone())
        };
        if others(&again) != others(&self.found) {
            if !had_lock {
                let _ = fs::remove_file(&lock_file);
            }
            return Err(Error::conflict(format!(
                "{} has changed since it was looked at, and nothing was done; try again",
                self.folder.display()
            )));
        }
        match self.all {
            true => remove_all(&self.folder, again, hold),
            false => self.begin(again, now),
        }
    }

    fn begin(&self, found: Inventory, now: SystemTime) -> Result<Cleaned> {
        let mut cleaned = Cleaned::default();
        if self.anew {
            let folder = &self.folder;
            let briqs = self.briqs_dir.clone().unwrap_or_else(|| folder.join("briqs"));
            let (state, aside) = begin_anew(folder, &briqs, now)?;
            cleaned.aside = aside;
            cleaned.first_cycle = Some(state.first_cycle);
        }
        let leftovers = found.items.into_iter().filter(|item| item.kind == Kind::Leftovers);
        remove(leftovers, &mut cleaned)?;
        for folder in found.folders {
            let name = folder.file_name().unwrap_or_default().to_string_lossy();
            // One of the layout, `videos`, stays; one that something is left in cannot be removed.
            if name.starts_with('.') || folder.parent() != Some(&self.folder) {
                let _ = fs::remove_dir(&folder);
            }
        }
        Ok(cleaned)
    }
}

/// There is something that a run would go on from.
fn has_begun(folder: &Path, found: &Inventory) -> bool {
    let state_file = folder.join(STATE);
    let made = || found.items.iter().any(|item| matches!(item.kind, Kind::Videos | Kind::Briqs));
    match (state_file.exists(), read_json::<FactoryState>(&state_file)) {
        // A predecessor's, whose state is lost.
        (false, _) => made(),
        (true, Err(_)) => true,
        (true, Ok(state)) => {
            let first = state.first_cycle;
            state.current_cycle > first
                || !state.completed_briqs.is_empty()
                || state.active_briq_id.is_some()
                || !state.failed_cycles.is_empty()
                || !state.recordings.is_empty()
                || state.base_master.is_some()
                || first == 0 && made()
        }
    }
}

fn remove_all(folder: &Path, found: Inventory, hold: File) -> Result<Cleaned> {
    let mut cleaned = Cleaned::default();
    // Whoever waits for the lock finds it gone with the rest of the project.
    let lock_file = folder.join(LOCK);
    let (mut last, items): (Vec<_>, Vec<_>) =
        found.items.into_iter().partition(|item| item.path == lock_file);
    remove(items.into_iter(), &mut cleaned)?;
    if cfg!(not(unix)) {
        drop(hold);
        remove(last.drain(..), &mut cleaned)?;
    } else {
        remove(last.drain(..), &mut cleaned)?;
        drop(hold);
    }
    for part in &found.folders {
        // Something that is not the program's is left in it: it stays.
        let _ = fs::remove_dir(part);
    }
    cleaned.folder_removed = fs::remove_dir(folder).is_ok();
    Ok(cleaned)
}

fn remove(items: impl Iterator<Item = Item>, cleaned: &mut Cleaned) -> Result<()> {
    let mut failed: Option<(PathBuf, Option<std::io::Error>)> = None;
    let mut kind = None;
    for item in items {
        // What tells of the others stays as long as they do.
        if failed.is_some() && kind != Some(item.kind) {
            break;
        }
        kind = Some(item.kind);
        // A folder that became a link meanwhile would lead elsewhere.
        let inside = item.path.parent().is_some_and(is_plain_folder);
        match inside.then(|| fs::remove_file(&item.path)) {
            Some(Ok(())) => cleaned.removed.push(item),
            Some(Err(e)) if e.kind() == std::io::ErrorKind::NotFound => {}
            Some(Err(e)) => failed = failed.or(Some((item.path, Some(e)))),
            None => failed = failed.or(Some((item.path, None))),
        }
    }
    let Some((path, error)) = failed else { return Ok(()) };
    let count = cleaned.removed.len();
    let what = format!("cannot remove {}; {count} others were removed", path.display());
    Err(match error {
        Some(error) => Error::io(what, error),
        None => Error::new(Fault::Io, format!("{what}: its folder is a link")),
    })
}
