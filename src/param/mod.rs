//! The one registry of everything that can be steered, the board on which it is, and the wait-free
//! way from those who steer to the render thread.
//!
//! Holds: addresses, ranges and defaults stand in [`REGISTRY`] and nowhere else. A value that
//! reaches a [`Values`] is finite and within its range. The writer never waits for the reader,
//! the reader never for the writer; the newest snapshot wins.

mod board;
mod plans;
mod reference;
mod registry;
mod smooth;
mod store;

pub use board::{Accepted, Applied, Board, Change, From, Op, Seen, board};
pub use plans::Plans;
pub use reference::markdown;
pub use registry::{
    Applies, Curve, Kind, MOD_SOURCES, MOD_TARGETS, MODULATORS, Param, ParamId, QUANTA, REGISTRY,
    TEMPO_SOURCES, Value, Values, find, of,
};
pub use smooth::Smoother;
pub use store::{Fired, Reader, Snapshot};
