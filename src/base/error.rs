//! The one error of the program: a kind, a message that says what to do, and its source.
//!
//! Holds: the kind alone decides the exit code and the HTTP status. A message names the file and
//! key (or address), says what was found, what was expected, and what to do about it. No message
//! contains a secret.

use std::error::Error as StdError;
use std::fmt;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What sort of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The command line or a configuration file is wrong. Exit code 64.
    Usage,
    /// What was named is not there, such as an output of a running show. Exit code 64.
    NotFound,
    /// It does not go with what is there already. Exit code 64.
    Conflict,
    /// Something that is needed is not there: a port, an encoder, a backend. Exit code 69.
    Unavailable,
    /// A fault of this program. Exit code 70.
    Internal,
    /// A file or folder could not be read or written. Exit code 74.
    Io,
}

impl Kind {
    /// The process exit code, after BSD sysexits.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Usage | Kind::NotFound | Kind::Conflict => 64,
            Kind::Unavailable => 69,
            Kind::Internal => 70,
            Kind::Io => 74,
        }
    }
}

#[derive(Debug)]
pub struct Error {
    pub kind: Kind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), source: None }
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Error::new(Kind::Usage, message)
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Error::new(Kind::NotFound, message)
    }

    pub fn conflict(message: impl Into<String>) -> Self {
        Error::new(Kind::Conflict, message)
    }

    pub fn unavailable(message: impl Into<String>) -> Self {
        Error::new(Kind::Unavailable, message)
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Error::new(Kind::Internal, message)
    }

    /// Something that cannot fail did: a fault of ours, with what the library said.
    pub fn fault(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Error::internal("a fault of this program, please report it").with_source(source)
    }

    /// A failed file operation: `what` says what was tried on which path ("cannot write x/y.mp4").
    pub fn io(what: impl Into<String>, source: std::io::Error) -> Self {
        Error::new(Kind::Io, what).with_source(source)
    }

    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Puts what was being done before the message: `context: message`.
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }
}

impl fmt::Display for Error {
    /// The message, then every source behind it, joined by `: `.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let mut source = self.source.as_deref().map(|s| s as &dyn StdError);
        while let Some(s) = source {
            write!(f, ": {s}")?;
            source = s.source();
        }
        Ok(())
    }
}

impl StdError for Error {}
