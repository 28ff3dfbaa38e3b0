//! How much room is left.

use std::path::Path;

use crate::base::error::{Error, Kind, Result};

/// Bytes that this user may still write on the disk of `path`, which must exist; `None` where the
/// system does not say.
pub fn free_bytes(path: &Path) -> Option<u64> {
    #[cfg(unix)]
    {
        let disk = nix::sys::statvfs::statvfs(path).ok()?;
        // The types of these fields differ between systems.
        #[allow(clippy::useless_conversion, clippy::unnecessary_cast)]
        Some((disk.blocks_available() as u64).saturating_mul(disk.fragment_size() as u64))
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}

/// Whether `bytes` more have room on the disk of `folder` while `least_mb` stay free.
///
/// # Errors
/// They have not (`Io`); says what to do.
pub fn need(folder: &Path, bytes: u64, least_mb: u64) -> Result<()> {
    match free_bytes(folder) {
        Some(free) => has_room(folder, free, bytes, least_mb),
        None => Ok(()),
    }
}

/// As [`need`], for a disk of which so much is free.
pub fn has_room(folder: &Path, free: u64, bytes: u64, least_mb: u64) -> Result<()> {
    if free >> 20 >= (bytes >> 20).saturating_add(least_mb) {
        return Ok(());
    }
    Err(Error::new(
        Kind::Io,
        format!(
            "{}: {} MB are free, and about {} MB are needed while {least_mb} MB stay free \
             (live.min_free_mb); make room, and the same command goes on",
            folder.display(),
            free >> 20,
            bytes >> 20
        ),
    ))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_disk_has_room_and_no_disk_has_none() {
        assert!(free_bytes(&std::env::temp_dir()).is_some_and(|free| free > 0));
        assert_eq!(free_bytes(Path::new("/no/such/place")), None);
    }
}
