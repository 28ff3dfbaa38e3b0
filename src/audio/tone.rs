//! Sounds that are made here: the test tone, and the beep of a sync test.

use super::{CHANNELS, SAMPLE_RATE};

const TONE_HZ: f64 = 1000.0;
/// -20 dBFS.
const TONE_LEVEL: f32 = 0.1;
const BEEP_LEVEL: f32 = 0.5;
/// A beep begins with each whole second and lasts this many frames of sound: 60 ms.
const BEEP_FRAMES: u64 = 2880;

/// The test tone at a frame of sound.
pub fn tone(frame: u64) -> [f32; CHANNELS] {
    [sine(frame % u64::from(SAMPLE_RATE)) * TONE_LEVEL; CHANNELS]
}

/// The sound of a sync test, `seconds` after its beginning: a beep with each whole second but the
/// beginning itself.
pub fn beep(seconds: f64) -> [f32; CHANNELS] {
    let within = seconds.rem_euclid(1.0) * f64::from(SAMPLE_RATE);
    let sounds = seconds >= 1.0 && within < BEEP_FRAMES as f64;
    let turn = within / f64::from(SAMPLE_RATE) * TONE_HZ * std::f64::consts::TAU;
    // It begins at its loudest.
    [if sounds { turn.cos() as f32 * BEEP_LEVEL } else { 0.0 }; CHANNELS]
}

fn sine(frame: u64) -> f32 {
    let turns = frame as f64 * TONE_HZ / f64::from(SAMPLE_RATE);
    (turns.fract() * std::f64::consts::TAU).sin() as f32
}
