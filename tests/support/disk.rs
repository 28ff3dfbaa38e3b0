//! A disk that is soon full.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A small disk of its own, taken away at the end.
pub struct Disk(pub PathBuf);

impl Disk {
    /// `None` where this user may not mount one.
    pub fn mount(at: &Path, megabytes: u32) -> Option<Disk> {
        std::fs::create_dir_all(at).expect("a folder");
        let size = format!("size={megabytes}m");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "vfaq"]).arg(at).output();
        mount.is_ok_and(|mount| mount.status.success()).then(|| Disk(at.to_owned()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}
