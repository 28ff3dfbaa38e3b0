//! Which project a command is about, from `-n`, `-o` or the settings.

use std::path::{Path, PathBuf};

use crate::archive::named_folder;
use crate::base::error::{Error, Result};
use crate::config::{self, Config};

/// The folder of the project `name`, or `output`, or that of the settings.
///
/// # Errors
/// Both are given, the name is none, or the settings are needed and wrong.
pub fn folder(worqspace: &Path, name: Option<&str>, output: Option<&Path>) -> Result<PathBuf> {
    match given(worqspace, name, output)? {
        Some(folder) => Ok(folder),
        None => Ok(config::load(worqspace)?.config.paths.output_dir),
    }
}

/// The settings for work on that project. A folder that is named itself needs no worqspace.
///
/// # Errors
/// What is wrong with them, or that they are missing.
pub fn settings(worqspace: &Path, name: Option<&str>, output: Option<&Path>) -> Result<Config> {
    let (config, _, findings) = config::check(worqspace);
    let needed = name.is_some() || output.is_none();
    let there = worqspace.join("config.yaml").exists();
    match findings.problems.is_empty() || !(needed || there) {
        true => Ok(config),
        false => Err(findings.into()),
    }
}

/// As [`folder`], if `-n` or `-o` says which.
pub(super) fn given(
    worqspace: &Path,
    name: Option<&str>,
    output: Option<&Path>,
) -> Result<Option<PathBuf>> {
    match (name, output) {
        (Some(_), Some(_)) => {
            Err(Error::usage("-n and -o both say which project; give one of them"))
        }
        (Some(name), None) => named_folder(worqspace, config::project_name(name)?).map(Some),
        (None, output) => Ok(output.map(Path::to_owned)),
    }
}
