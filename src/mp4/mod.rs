//! MP4 files without GStreamer: what is in them, and new ones put together out of their samples.
//!
//! Holds: no byte of a picture or a sound is changed. Files are read as they come, also damaged
//! ones; those that are written are finished, with the index first where it can be.

mod agree;
pub mod boxes;
pub mod chapters;
mod clip;
mod concat;
mod index;
mod sound;
#[cfg(test)]
mod tests;
pub mod track;

pub use agree::{agreement, usual_format};
pub use clip::{Clip, Sound};
pub use concat::{Chapter, Concat, Written};
pub use index::Tags;
pub use sound::SoundWriter;
