//! What comes in from controllers and other programs, and becomes changes on the board.

#[cfg(feature = "link")]
pub mod link;
pub mod midi;
pub mod os2l;
pub mod osc;
