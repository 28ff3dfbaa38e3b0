//! tmp
use crate::base::error::Result;
use crate::mp4::Clip;
use std::path::Path;
pub fn write(
    _: &[Clip],
    _: u32,
    _: &Path,
    _: &mut dyn FnMut(u64, u64),
    _: &dyn Fn() -> bool,
) -> Result<bool> {
    Ok(false)
}
