//! What comes in from controllers and other programs, and becomes changes on the board.

pub mod midi;
pub mod osc;
