//! How much the show takes upon itself: everything, or less while the machine is too busy.
//!
//! Holds: reading it neither locks nor allocates; one place sets it (the ladder of the director).

use std::sync::atomic::{AtomicU8, Ordering};

use serde::Serialize;

/// The rungs of the quality ladder, from everything down. Each leaves out what those before it do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effort {
    #[default]
    Full,
    /// Motion is looked for in smaller pictures.
    FastMotion,
    /// No more motion is looked for: what has none yet is blended.
    NoMotion,
    /// Of the pictures on air only luma is warped; colour is blended.
    LumaWarp,
    /// Pictures on air are blended.
    Blend,
    /// The encoder takes fewer pains as well.
    LeanEncoder,
}

impl Effort {
    pub const ALL: [Effort; 6] = [
        Effort::Full,
        Effort::FastMotion,
        Effort::NoMotion,
        Effort::LumaWarp,
        Effort::Blend,
        Effort::LeanEncoder,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Effort::Full => "full",
            Effort::FastMotion => "fast_motion",
            Effort::NoMotion => "no_motion",
            Effort::LumaWarp => "luma_warp",
            Effort::Blend => "blend",
            Effort::LeanEncoder => "lean_encoder",
        }
    }

    fn rung(self) -> u8 {
        self as u8
    }

    /// The next lower rung, if there is one.
    pub fn less(self) -> Option<Effort> {
        Effort::ALL.get(usize::from(self.rung()) + 1).copied()
    }

    /// The next higher rung, if there is one.
    pub fn more(self) -> Option<Effort> {
        Effort::ALL.get(usize::from(self.rung()).checked_sub(1)?).copied()
    }
}

/// The effort of a running show, to be read from any thread.
#[derive(Debug, Default)]
pub struct PresentEffort(AtomicU8);

impl PresentEffort {
    pub fn get(&self) -> Effort {
        let rung = self.0.load(Ordering::Relaxed);
        Effort::ALL.get(usize::from(rung)).copied().unwrap_or(Effort::LeanEncoder)
    }

    pub fn set(&self, effort: Effort) {
        self.0.store(effort.rung(), Ordering::Relaxed);
    }
}
