//! What is wrong, or only odd, in the files of a worqspace: collected, so that all of it is shown
//! at once.
//!
//! Holds: a message never contains a secret, and never a value that came from the environment:
//! what was found is shown as it stands in the file.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::base::error::{Error, Kind};

/// One finding: where, and what was found, what is allowed, what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Decides the exit code.
    pub kind: Kind,
    pub file: PathBuf,
    /// From 1; `None` where the whole file is meant.
    pub line: Option<usize>,
    /// The path of the key, such as `live.fps`; empty where the whole file is meant.
    pub key: String,
    pub message: String,
}

/// Something that is put up with. Same shape as a [`Problem`]; it does not stop the show.
pub type Warning = Problem;

impl Problem {
    pub fn new(file: &Path, message: impl Into<String>) -> Self {
        Problem {
            kind: Kind::Usage,
            file: file.to_path_buf(),
            line: None,
            key: String::new(),
            message: message.into(),
        }
    }

    pub fn at(mut self, line: Option<usize>, key: impl Into<String>) -> Self {
        self.line = line;
        self.key = key.into();
        self
    }

    pub fn of_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }
}

impl fmt::Display for Problem {
    /// `worqspace/config.yaml:12: live.fps: found "fast", allowed: ...`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// All that was found; only `problems` keep a show from starting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    pub problems: Vec<Problem>,
    pub warnings: Vec<Warning>,
}

impl Findings {
    pub fn append(&mut self, mut other: Findings) {
        self.problems.append(&mut other.problems);
        self.warnings.append(&mut other.warnings);
    }
}

impl fmt::Display for Findings {
    /// A line for each problem; warnings are left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            let newline = if i == 0 { "" } else { "\n" };
            write!(f, "{newline}{problem}")?;
        }
        Ok(())
    }
}

impl From<Findings> for Error {
    /// An I/O error if nothing else is wrong, else a usage error.
    fn from(findings: Findings) -> Error {
        let only_io = findings.problems.iter().all(|p| p.kind == Kind::Io);
        Error::new(if only_io { Kind::Io } else { Kind::Usage }, findings.to_string())
    }
}

/// Reads a text file of at most `limit_bytes`. A byte order mark at its start is left out.
///
/// `Ok(None)` if there is no such file.
pub fn read_text(path: &Path, limit_bytes: u64) -> Result<Option<String>, Problem> {
    let failed =
        |e: std::io::Error| Problem::new(path, format!("cannot be read: {e}")).of_kind(Kind::Io);
    let meta = match std::fs::metadata(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(failed)?,
    };
    if !meta.is_file() {
        return Err(Problem::new(path, "this is no file; put a text file in its place"));
    }
    if meta.len() > limit_bytes {
        let (found, most) = (meta.len() / 1024, limit_bytes / 1024);
        return Err(Problem::new(path, format!("found {found} KiB, allowed: at most {most} KiB")));
    }
    let bytes = std::fs::read(path).map_err(failed)?;
    let text = String::from_utf8(bytes).map_err(|e| {
        let line = 1 + e.as_bytes()[..e.utf8_error().valid_up_to()]
            .iter()
            .filter(|b| **b == b'\n')
            .count();
        Problem::new(path, "this is no UTF-8 text; save it with the encoding UTF-8")
            .at(Some(line), "")
    })?;
    Ok(Some(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text)))
}
