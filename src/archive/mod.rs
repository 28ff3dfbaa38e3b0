//! The project folder: where everything that a show makes is kept, in the layout that
//! `docs/archive.md` describes.
//!
//! Holds: one program at a time writes a project. Nothing finished is ever deleted or
//! overwritten, but by `clean` where that is asked for. A crash at any moment leaves every state
//! file either old or new, and costs the journal at most its last second. A full disk is reported,
//! it stops nothing.

pub mod beats;
pub mod clean;
pub mod disk;
mod fingerprint;
mod holdings;
pub mod inventory;
pub mod journal;
mod json;
pub mod mp4;
mod project;
mod recordings;
mod state;
pub mod survey;
mod writer;

pub use fingerprint::{fingerprint, fingerprint_of};
use holdings::listed_cycle;
pub use holdings::{Clips, PlayableCycle, ResumePoint};
pub(crate) use json::{or_default, read_json};
pub use project::{Hold, Open, Project, hold, named_folder, recording_part};
pub use recordings::Recordings;
pub use state::{BaseMaster, FactoryState, FailedCycle, Recording, RecordingKind};
pub use survey::Survey;
pub use writer::{Archive, Handle};

/// `digits` (at most 16) random hexadecimal digits, for names that must not meet by chance.
pub(crate) fn random_hex(digits: usize) -> String {
    use std::hash::{BuildHasher, Hasher};
    // Every `RandomState` is keyed differently, from the system's randomness.
    let bits = std::hash::RandomState::new().build_hasher().finish();
    format!("{bits:016x}")[..digits].to_owned()
}

#[cfg(test)]
pub(crate) mod tests;
