//! What the show knows of the music: where the beat is, what is heard, and what that moves.
//!
//! ```text
//! Link, MIDI clock, OSC, OS2L, taps, the sound --> Conductor --> Tempo --+
//! the sound --> audio::analysis --> Signals -----------------------------+--> render thread
//! ```
//!
//! Holds: what the render thread reads are plain values, by wait-free ways; a beat is where a
//! [`Tempo`] says at a time of the show's clock, and nowhere else.

mod signal;
mod tempo;

pub use signal::{SIGNALS, Section, Signal, Signals};
pub use tempo::{Quantum, Source, Tempo};
