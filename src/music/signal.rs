//! What is heard, as numbers from 0 to 1.

use std::time::Duration;

macro_rules! signals {
    ($($id:ident $name:literal),* $(,)?) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Signal {
            $($id,)*
        }

        impl Signal {
            pub const ALL: &'static [Signal] = &[$(Signal::$id,)*];

            /// As among the sources of a modulator.
            pub fn name(self) -> &'static str {
                match self {
                    $(Signal::$id => $name,)*
                }
            }
        }
    };
}

signals! {
    Loudness "loudness",
    // Bands: below 60, 60 to 250, 250 to 2000, above 2000 Hz, and one that is set.
    Sub "sub",
    Bass "bass",
    Mid "mid",
    High "high",
    Custom "custom",
    // Onsets: 1 when one is heard, then falling.
    Kick "kick",
    Snare "snare",
    Hat "hat",
    // The spectral centroid.
    Brightness "brightness",
    // Over bars.
    Energy "energy",
}

pub const SIGNALS: usize = Signal::ALL.len();

/// Where in a track the music is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Section {
    #[default]
    Silence,
    Steady,
    Build,
    Drop,
    Breakdown,
}

/// What was heard at an instant; each from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Signals {
    pub values: [f32; SIGNALS],
    /// Counts up with every onset of kick, snare and hat.
    pub onsets: [u32; 3],
    pub section: Section,
    /// When it was heard, by the show's clock.
    pub at: Duration,
}

impl Signals {
    pub fn get(&self, signal: Signal) -> f32 {
        self.values[signal as usize]
    }
}
