//! What is made of a project when no show runs: the deliverable, and sets as they were played.
//!
//! Holds: the base master and the clips are only read.

#[cfg(feature = "gst")]
pub mod deliverable;
pub mod replay;
