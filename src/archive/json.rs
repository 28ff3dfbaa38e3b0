//! Reading JSON that another program, or an older one, may have written.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Deserializer, de::DeserializeOwned};

use crate::base::error::{Error, Kind, Result};

/// For `deserialize_with`: `null` reads as the field's default, as a missing field does.
pub(crate) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads `path` as a `T`; the error names the file and the place in it.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes =
        fs::read(path).map_err(|e| Error::io(format!("cannot read {}", path.display()), e))?;
    serde_json::from_slice(&bytes)
        .map_err(|e| Error::new(Kind::Io, format!("{} is damaged", path.display())).with_source(e))
}
