//! Whom a picture is to be on the beat for.

use std::sync::{Mutex, PoisonError};

use super::tempo::Tempo;
use crate::param::{ParamId, Values};

/// Frames from when a picture is drawn until a display shows it: its queue, the compositor, half of
/// the time that it is to be seen.
const DISPLAY_FRAMES: f64 = 2.5;

/// Seconds between the time of a frame and that of the music that it goes with, below 0 for music
/// that was before.
///
/// On a display a picture shows later than it is drawn, while the room hears the music at once. In a
/// stream sound stands where it was heard, but for its own delay.
pub fn ahead_seconds(values: &Values, frame_seconds: f64) -> f64 {
    let to_display = values[ParamId::LandOn] > 0.5;
    let way = match to_display {
        true => DISPLAY_FRAMES * frame_seconds,
        false => -f64::from(values[ParamId::SoundDelay]) / 1000.0,
    };
    way + f64::from(values[ParamId::Latency]) / 1000.0
}

/// The tempo for those who are not in a hurry: whoever waits for a beat beside the picture.
#[derive(Debug, Default)]
pub struct TempoCell(Mutex<Tempo>);

impl TempoCell {
    pub fn get(&self) -> Tempo {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set(&self, tempo: Tempo) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = tempo;
    }
}
