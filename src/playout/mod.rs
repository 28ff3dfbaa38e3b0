//! The playout: which pictures are on air at output frame `n`.
//!
//! Holds: [`Timeline::tick`] is a function of the frame number and of the commands that arrived
//! before it; it reads no clock, waits for nothing and allocates nothing. There is always a
//! picture: when nothing new is ready the timeline walks back and forth over what was shown.

mod plan;
mod strand;
mod timeline;

pub use strand::{Motion, Role};
pub use timeline::{PlayoutCounters, ShotEvent, Timeline, TimelineSettings, layer, share};
