//! What the show knows of the music: where the beat is, what is heard, and what that moves.
//!
//! ```text
//! Link, MIDI clock, OSC, OS2L, taps, the sound --> Conductor --> Tempo --+
//! the sound --> audio::analysis --> Signals -----------------------------+--> render thread
//! ```
//!
//! Holds: what the render thread reads are plain values, by wait-free ways; a beat is where a
//! [`Tempo`] says at a time of the show's clock, and nowhere else.

mod bend;
mod conductor;
mod landing;
mod modulate;
mod note;
mod notes;
mod quantise;
mod signal;
mod tempo;

pub use bend::{Ahead, Bend, Bender};
pub use conductor::{Conductor, Presence, SLEW, Settings, SourceState};
pub use landing::{TempoCell, ahead_seconds};
pub use modulate::{Modulators, Part, Stepped, Ticks, Used, param_of};
pub use note::{BPM, Heard, Note, Refused};
pub use notes::{NoteSender, notes};
pub use quantise::{CUTS, Cut, HOLDS, Holds, Moment, Quantiser, cuts_wait, holds_wait};
pub use signal::{SIGNALS, Section, Signal, Signals};
pub use tempo::{Quantum, Source, Tempo};
