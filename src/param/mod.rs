//! The one registry of everything that can be steered, and the wait-free way from those who
//! steer to the render thread.
//!
//! Holds: addresses, ranges and defaults stand in [`REGISTRY`] and nowhere else. A value that
//! reaches a [`Values`] is finite and within its range. The writer never waits for the reader,
//! the reader never for the writer; the newest snapshot wins.

mod registry;
mod smooth;
mod store;

pub use registry::{Applies, Kind, Param, ParamId, REGISTRY, Values, find};
pub use smooth::Smoother;
pub use store::{Accepted, Reader, Snapshot, Store, channel};
