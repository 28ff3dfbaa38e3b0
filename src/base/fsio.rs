//! Writing files so that a crash at any moment leaves either the old or the new content.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

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
    file.write_all(content).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    set_usual_permissions(file.as_file());
    file.persist(path).map_err(|e| failed(e.error))?;
    sync_folder(folder);
    Ok(())
}

/// Flushes a finished temporary file to the disk and gives it its name. The temporary file must
/// lie in the folder of `path`. A file that is there by now is only replaced if `over` says so.
pub fn publish(temporary: tempfile::TempPath, path: &Path, over: bool) -> Result<()> {
    let failed = |e| Error::io(format!("cannot write {}", path.display()), e);
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
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(e)),
        _ => {}
    }
    fs::hard_link(from, path).or_else(|_| fs::copy(from, path).map(|_| ())).map_err(failed)
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
