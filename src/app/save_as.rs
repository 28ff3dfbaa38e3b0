//! A project gets a name: its folder is moved.
//!
//! Holds: a project that has the name already is put aside under another, never written over.

use std::fs;
use std::path::{Path, PathBuf};

use crate::archive::{Hold, hold};
use crate::base::error::{Error, Result};
use crate::base::fsio::free_name;

/// What was done besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Where the project is now that had the name before.
    pub put_aside: Option<PathBuf>,
}

/// Moves the project `from` to `to`.
///
/// # Errors
/// Somebody works on either of them, or the folder cannot be moved; then it is where it was.
pub fn save(from: &Path, to: &Path) -> Result<Saved> {
    let failed = |from: &Path, to: &Path, e| {
        Error::io(
            format!("cannot move {} to {}; it is where it was", from.display(), to.display()),
            e,
        )
    };
    // Of a link the folder itself is what moves.
    let from = &from.canonicalize().map_err(|e| failed(from, to, e))?;
    // A lock goes with its folder.
    let _here: Hold = hold(from, "vfaq run")?;
    let _there = match to.is_dir() {
        true => Some(hold(to, "vfaq run")?),
        false => None,
    };
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(|e| failed(from, to, e))?;
    }
    let mut put_aside = None;
    if to.exists() {
        let name = to.file_name().unwrap_or_default().to_string_lossy();
        let beside = to.parent().unwrap_or(Path::new("."));
        let aside = free_name(beside, |number| format!("{name}_{number:03}"));
        fs::rename(to, &aside).map_err(|e| failed(to, &aside, e))?;
        put_aside = Some(aside);
    }
    if let Err(error) = rename(from, to) {
        if let Some(aside) = &put_aside {
            let _ = fs::rename(aside, to);
        }
        return Err(failed(from, to, error));
    }
    Ok(Saved { put_aside })
}

/// A rename; to another file system a copy, which is only taken as done when it is whole.
fn rename(from: &Path, to: &Path) -> std::io::Result<()> {
    match fs::rename(from, to) {
        Err(e) if e.kind() == std::io::ErrorKind::CrossesDevices => {}
        other => return other,
    }
    if let Err(error) = copy(from, to) {
        let _ = fs::remove_dir_all(to);
        return Err(error);
    }
    // It is whole under its name; what cannot be removed is only told.
    if let Err(e) = fs::remove_dir_all(from) {
        tracing::warn!("{} was copied, and cannot be removed: {e}", from.display());
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        match entry.file_type()?.is_dir() {
            true => copy(&source, &target)?,
            false => {
                fs::copy(&source, &target)?;
                fs::File::open(&target)?.sync_all()?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_taken_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (name, text) in [("yard", "new"), ("q/night", "old"), ("q/night_001", "older")] {
            fs::create_dir_all(at(name)).unwrap();
            fs::write(at(name).join("x"), text).unwrap();
        }
        let saved = save(&at("yard"), &at("q/night")).unwrap();
        assert_eq!(saved.put_aside, Some(at("q/night_002")));
        let text = |name: &str| fs::read_to_string(at(name).join("x")).unwrap();
        assert_eq!((&*text("q/night"), &*text("q/night_002")), ("new", "old"));
        assert!(!at("yard").exists());
        let error = save(&at("yard"), &at("q/night")).unwrap_err().to_string();
        assert!(error.contains("yard"), "{error}");
        assert_eq!(text("q/night"), "new", "what was put aside is back");
    }

    #[test]
    fn a_copy_holds_all_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let from = folder.path().join("a");
        fs::create_dir_all(from.join("videos/deep")).unwrap();
        fs::write(from.join("videos/deep/x"), "1").unwrap();
        copy(&from, &folder.path().join("b")).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("b/videos/deep/x")).unwrap(), "1");
    }
}
