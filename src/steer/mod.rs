//! Those who steer from outside, each in a room of its own; all of them steer through the board.

pub mod midi;
