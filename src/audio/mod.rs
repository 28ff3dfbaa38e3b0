//! Sound as numbers: the way from whoever brings it to the render thread, the resampler that takes
//! drift out, and the strip that every sample passes before it is encoded.
//!
//! Samples are 32-bit float, two channels interleaved, 48 kHz. A *frame* of sound is one sample of
//! both channels; its place is counted from the show's first picture, so that frame `p` belongs to
//! `p / 48000` s of show time.
//!
//! Holds: the render thread never waits, and allocates nothing; what is not there is silence.

pub mod analysis;
pub mod drift;
mod limiter;
mod listener;
mod ring;
mod shared;
pub mod strip;
pub mod synth;
pub mod tone;

pub use ring::{Reader, Writer, ring};
pub use shared::{Levels, Shared};

pub use listener::{Ear, Ears, Listener};

pub const SAMPLE_RATE: u32 = 48_000;
pub const CHANNELS: usize = 2;

/// Frames of sound in so many seconds.
pub fn frames_in(seconds: f64) -> f64 {
    seconds * f64::from(SAMPLE_RATE)
}

/// Seconds that so many frames of sound take.
pub fn seconds_of(frames: f64) -> f64 {
    frames / f64::from(SAMPLE_RATE)
}
