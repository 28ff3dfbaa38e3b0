//! The playout: which pictures are on air at output frame `n`.
//!
//! Holds: [`Timeline::tick`] is a function of the frame number, the values that are steered, and the
//! commands that arrived before it; it reads no clock, waits for nothing and allocates nothing. There
//! is always a picture: when nothing new is ready the timeline walks back and forth over what was
//! shown.

mod history;
mod layer;
mod plan;
mod playhead;
mod replan;
mod report;
mod steering;
mod strand;
#[cfg(test)]
mod tests;
mod timeline;

pub use layer::{layer, share};
pub use playhead::Playhead;
pub use report::{InRing, Place, PlayoutCounters, RingView, ShotEvent};
pub use steering::Mode;
pub use strand::{Motion, Role};
pub use timeline::{Timeline, TimelineSettings};
