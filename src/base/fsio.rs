//! Writing files so that a crash at any moment leaves either the old or the new content.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::base::error::{Error, Result};

/// Writes `content` to a temporary name in the folder of `path`, flushes it to the disk and
/// renames it to `path`.
pub fn write_atomic(path: &Path, content: &[u8]) -> Result<()> {
    let failed = |e| Error::io(format!("cannot write {}", path.display()), e);
    let folder = folder_of(path);
    let mut file = tempfile::Builder::new()
        .prefix(".vfaq-")
        .suffix(".tmp")
        .tempfile_in(folder)
        .map_err(failed)?;
    #[cfg(test)]
    let content = fault::content(path, content, &mut file).map_err(failed)?;
    file.write_all(content).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    set_usual_permissions(file.as_file());
    #[cfg(test)]
    let file = fault::before_rename(path, file).map_err(failed)?;
    file.persist(path).map_err(|e| failed(e.error))?;
    sync_folder(folder);
    Ok(())
}

/// Flushes a finished temporary file to the disk and gives it its name. The temporary file must
/// lie on the disk of `path`. A file that is there by now is only replaced if `over` says so.
pub fn publish(temporary: tempfile::TempPath, path: &Path, over: bool) -> Result<()> {
    let failed = |e| Error::io(format!("cannot write {}", path.display()), e);
    #[cfg(test)]
    fault::alive(path).map_err(failed)?;
    let file = File::open(&temporary).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    set_usual_permissions(&file);
    let named = match over {
        true => temporary.persist(path),
        false => temporary.persist_noclobber(path),
    };
    named.map_err(|e| failed(e.error))?;
    sync_folder(folder_of(path));
    Ok(())
}

/// The first name, from number 1 on, that nothing in the folder has; a link that leads nowhere is
/// something.
pub fn free_name(folder: &Path, name: impl Fn(u32) -> String) -> PathBuf {
    let mut number = 1;
    loop {
        let path = folder.join(name(number));
        if path.symlink_metadata().is_err() {
            return path;
        }
        number += 1;
    }
}

/// The same for all names of one content, where the system tells: `(disk, number)`.
pub fn content_id(about: &fs::Metadata) -> Option<(u64, u64)> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        Some((about.dev(), about.ino()))
    }
    #[cfg(not(unix))]
    {
        let _ = about;
        None
    }
}

/// A file in the making, in the folder where it is to be; without a name of its own it goes with the
/// value.
pub fn temporary(folder: &Path, suffix: &str) -> Result<tempfile::TempPath> {
    let file = tempfile::Builder::new().prefix(".vfaq-").suffix(suffix).tempfile_in(folder);
    let file = file.map_err(|e| Error::io(format!("cannot write in {}", folder.display()), e))?;
    Ok(file.into_temp_path())
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The rename itself must survive a power cut too; where folders cannot be synced, it is still
/// atomic.
fn sync_folder(folder: &Path) {
    if let Ok(dir) = File::open(folder) {
        let _ = dir.sync_all();
    }
}

/// Temporary files are made for the owner's eyes only; archives are for sharing.
fn set_usual_permissions(file: &File) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let _ = file.set_permissions(fs::Permissions::from_mode(0o644));
    }
    #[cfg(not(unix))]
    let _ = file;
}

/// Makes `path` another name of the content of `from`: a hard link, or a copy where the file
/// system has no links. An existing `path` is replaced.
pub fn link_or_copy(from: &Path, path: &Path) -> Result<()> {
    let failed = |e| Error::io(format!("cannot link {} to {}", from.display(), path.display()), e);
    let folder = folder_of(path);
    let linked = tempfile::Builder::new()
        .prefix(".vfaq-")
        .make_in(folder, |temporary| {
            #[cfg(test)]
            fault::alive(path)?;
            fs::hard_link(from, temporary)
        })
        .map(|linked| linked.into_temp_path());
    match linked {
        Ok(linked) => {
            fs::rename(&linked, path).map_err(failed)?;
            // A rename onto another name of the same content does nothing, and the guard takes the
            // temporary name away; where it did something there is none left.
            drop(linked);
            sync_folder(folder);
            Ok(())
        }
        Err(_) => {
            let copy = tempfile::Builder::new().prefix(".vfaq-").tempfile_in(folder);
            let copy = copy.map_err(failed)?.into_temp_path();
            fs::copy(from, &copy).map_err(failed)?;
            publish(copy, path, true)
        }
    }
}

/// Faults of the disk, for tests: the process dies in the middle of a write or before a rename, or
/// the disk is full for a while.
#[cfg(test)]
pub(crate) mod fault {
    use std::io::{Error, ErrorKind, Result, Write};
    use std::path::{Path, PathBuf};
    use std::sync::{Mutex, PoisonError};

    use tempfile::NamedTempFile;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Fault {
        /// Half of it is written, and the process dies.
        Short,
        /// All of it is written, and the process dies before the file has its name.
        BeforeRename,
        /// So many writes find the disk full.
        Full(u32),
    }

    struct Plan {
        /// Only files below this folder.
        folder: PathBuf,
        /// Writes that go well before.
        after: u32,
        fault: Fault,
        dead: bool,
    }

    static PLAN: Mutex<Option<Plan>> = Mutex::new(None);

    /// From now on the write after `after` others in `folder` fails.
    pub fn plan(folder: &Path, after: u32, fault: Fault) {
        let plan = Plan { folder: folder.to_owned(), after, fault, dead: false };
        *PLAN.lock().unwrap_or_else(PoisonError::into_inner) = Some(plan);
    }

    /// The disk is well again.
    pub fn end() {
        *PLAN.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn dead() -> Error {
        Error::other("the process is dead")
    }

    fn with<T>(path: &Path, what: impl FnOnce(&mut Plan) -> Result<T>, well: T) -> Result<T> {
        let mut plan = PLAN.lock().unwrap_or_else(PoisonError::into_inner);
        match plan.as_mut().filter(|plan| path.starts_with(&plan.folder)) {
            None => Ok(well),
            Some(plan) if plan.dead => Err(dead()),
            Some(plan) => what(plan),
        }
    }

    pub fn content<'a>(
        path: &Path,
        content: &'a [u8],
        file: &mut NamedTempFile,
    ) -> Result<&'a [u8]> {
        let now = |plan: &mut Plan| {
            if plan.after > 0 {
                return Ok(content);
            }
            match &mut plan.fault {
                Fault::BeforeRename => Ok(content),
                Fault::Full(0) => Ok(content),
                Fault::Full(left) => {
                    *left -= 1;
                    Err(ErrorKind::StorageFull.into())
                }
                Fault::Short => {
                    plan.dead = true;
                    file.write_all(&content[..content.len() / 2])?;
                    file.disable_cleanup(true);
                    Err(dead())
                }
            }
        };
        with(path, now, content)
    }

    pub fn before_rename(path: &Path, mut file: NamedTempFile) -> Result<NamedTempFile> {
        let dies = |plan: &mut Plan| {
            if plan.after > 0 {
                plan.after -= 1;
            } else if plan.fault == Fault::BeforeRename {
                plan.dead = true;
                file.disable_cleanup(true);
                return Err(dead());
            }
            Ok(())
        };
        with(path, dies, ())?;
        Ok(file)
    }

    pub fn alive(path: &Path) -> Result<()> {
        with(path, |_| Ok(()), ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_meanwhile_is_only_written_over_if_that_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("film.mp4");
        let finished = || {
            let mut file = tempfile::NamedTempFile::new_in(&folder).unwrap();
            file.write_all(b"new").unwrap();
            file.into_temp_path()
        };
        fs::write(&path, "old").unwrap();
        assert!(publish(finished(), &path, false).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        publish(finished(), &path, true).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }
}
