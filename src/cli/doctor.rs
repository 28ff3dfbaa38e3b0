//! `vfaq doctor`.
use super::Folders;
use crate::base::error::Result;
pub fn run(_folders: &Folders) -> Result<()> {
    Ok(())
}
