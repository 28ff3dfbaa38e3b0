//! What goes on by itself once it was begun: the beat of the strobe, a flash that fades, a burst of
//! glitch.
//!
//! Holds: it goes by the numbers of frames, so a set that is drawn again has every flash where it
//! was; frames that are left out take their time all the same.

use super::super::look::{Look, within};

/// How long a flash takes to fade, and a burst of glitch.
const FLASH_SECONDS: f32 = 0.4;
const BURST_SECONDS: f32 = 0.25;
/// No strobe is faster while flashes are limited: flashes a second (WCAG 2.3.1).
pub const MOST_HZ: f32 = 3.0;

#[derive(Clone, Copy, Debug, Default)]
pub struct Beat {
    last: Option<u64>,
    /// Of the strobe: dark before the half, light behind it.
    phase: f32,
    /// Seconds since they began.
    flash: Option<f32>,
    burst: Option<f32>,
}

/// What that is in one frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pulse {
    /// How much of the picture is left, and how much white is over it: 0 to 1.
    pub light: f32,
    pub white: f32,
    /// Glitch: how much, and the number of its pattern.
    pub glitch: f32,
    pub slot: u64,
    /// Frames of 1/60 s since the one before.
    pub ticks: f32,
    /// Frames of the show.
    pub frames: u64,
}

impl Beat {
    /// On to the frame of `look`.
    pub fn step(&mut self, look: &Look, fps: f32, limited: bool) -> Pulse {
        // One that is drawn twice is the next one.
        let frames = match self.last {
            Some(last) if look.frame > last => look.frame - last,
            _ => 1,
        };
        self.last = Some(look.frame);
        let seconds = frames.min(1_000_000) as f32 / fps;
        let hz = within(look.strobe_hz, 0.0, 25.0, 0.0);
        let hz = if limited { hz.min(MOST_HZ) } else { hz };
        let dark = hz > 0.0 && self.phase < 0.5;
        self.phase = if hz > 0.0 { (self.phase + hz * seconds).fract() } else { 0.0 };
        let depth = within(look.strobe_depth, 0.0, 1.0, 1.0);
        let going = |since: &mut Option<f32>, begins: bool, lasts: f32| {
            *since = if begins { Some(0.0) } else { since.map(|since| since + seconds) };
            *since = since.filter(|since| *since < lasts - 0.5 / fps);
            since.map_or(0.0, |since| 1.0 - since / lasts)
        };
        let flash = going(&mut self.flash, look.flash, FLASH_SECONDS);
        let burst = going(&mut self.burst, look.glitch_hit, BURST_SECONDS);
        let glitch = within(look.glitch, 0.0, 1.0, 0.0).max(if burst > 0.0 { 0.9 } else { 0.0 });
        // A pattern stays for a fifteenth of a second, of a burst for half of that.
        let stays = (fps / if burst > 0.0 { 30.0 } else { 15.0 }).round().max(1.0) as u64;
        let blackout = within(look.blackout, 0.0, 1.0, 0.0);
        Pulse {
            light: (1.0 - blackout) * if dark { 1.0 - depth } else { 1.0 },
            white: (1.0 - blackout) * flash * flash,
            glitch,
            slot: look.frame / stays,
            ticks: seconds * 60.0,
            frames,
        }
    }
}
