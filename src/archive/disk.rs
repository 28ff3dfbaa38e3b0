//! How much room is left.

use std::path::Path;

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

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_disk_has_room_and_no_disk_has_none() {
        assert!(free_bytes(&std::env::temp_dir()).is_some_and(|free| free > 0));
        assert_eq!(free_bytes(Path::new("/no/such/place")), None);
    }
}
