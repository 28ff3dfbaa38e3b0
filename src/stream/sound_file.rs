//! tmp
use crate::base::error::Result;
use std::path::Path;
pub fn write(_: &Path, _: f64, _: &Path, _: &dyn Fn() -> bool) -> Result<bool> {
    Ok(false)
}
