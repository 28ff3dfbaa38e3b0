//! Sources that are read ahead, as they have no clock of their own: files and the test tone. And the
//! beep of a sync test, which has one.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Capturing, Ending, open_file};
use crate::audio::drift::Drift;
use crate::audio::{CHANNELS, SAMPLE_RATE, frames_in, seconds_of, tone};
use crate::base::error::Result;
use crate::stream::decode::Decoding;

/// So far ahead of its moment sound is written: a disk may stand still for so long.
const AHEAD_S: f64 = 0.5;
/// What stands further ahead by more than this was written before the show's time was set back.
const AHEAD_OFF_S: f64 = 0.1;
/// A source that begins in mid-show begins so far ahead.
const BEGIN_AHEAD_S: f64 = 0.02;
/// *Go* this long ago is just now.
const JUST_NOW_S: f64 = 0.03;
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Frames of sound that are made at once.
const BLOCK: u64 = 480;
/// How much later than it should a block of the beep comes, at most.
const BEEP_JITTER_S: f64 = 0.004;

/// The next samples of a source that is read ahead.
enum Got {
    Samples,
    End,
    Stop,
}

impl Capturing {
    pub(super) fn plays_tone(&mut self) -> Ending {
        let mut frame = 0;
        self.plays_ahead(|_, out| {
            out.extend((frame..frame + BLOCK).flat_map(tone::tone));
            frame += BLOCK;
            Ok(Got::Samples)
        })
    }

    pub(super) fn plays_file(&mut self, path: &Path, once: bool) -> Ending {
        let mut pass: Option<Decoding> = None;
        let mut is_empty = true;
        self.plays_ahead(|this, out| {
            let wishes = this.wishes.clone();
            let stop = || !wishes.is_empty() || this.over.load(Ordering::Relaxed);
            loop {
                let decoding = match &mut pass {
                    Some(decoding) => decoding,
                    None => pass.insert(open_file(path)?),
                };
                if let Some(sample) = decoding.next(&stop)? {
                    is_empty = false;
                    super::append(&sample, out);
                    return Ok(Got::Samples);
                }
                if stop() {
                    return Ok(Got::Stop);
                }
                if is_empty {
                    return Err(super::no_sound(path));
                }
                if once {
                    return Ok(Got::End);
                }
                if decoding.rewind().is_err() {
                    pass = None;
                }
            }
        })
    }

    /// Writes what `next` gives, a little ahead of the show; begins with *go*.
    fn plays_ahead(&mut self, mut next: impl FnMut(&Self, &mut Vec<f32>) -> Result<Got>) -> Ending {
        // What comes next, and where it stands.
        let mut samples: Vec<f32> = Vec::new();
        let mut place: Option<u64> = None;
        let mut began_s = None;
        // Length of what was written last.
        let mut last_s = 0.0;
        loop {
            if let Some(ending) = self.wish(LOOK_EVERY) {
                return ending;
            }
            self.delivery.tell_due();
            loop {
                if samples.is_empty() {
                    match next(self, &mut samples) {
                        Ok(Got::Samples) => {}
                        Ok(Got::End) => return self.ends(place),
                        // The wish is heard above.
                        Ok(Got::Stop) => break,
                        Err(error) => return Ending::Lost(error.to_string()),
                    }
                }
                // It waits for *go*.
                let Some(now_s) = self.show_now().filter(|_| self.shared.is_playing()) else {
                    place = None;
                    break;
                };
                // Behind a gap in time, or after a disk or the picture stood still, it goes on where
                // the show is.
                let now = frames_in(now_s.max(0.0)) as u64;
                let farthest = now + frames_in(AHEAD_S + AHEAD_OFF_S + last_s) as u64;
                if place.is_none_or(|place| !(now..=farthest).contains(&place)) {
                    let from = self.shared.playing_from();
                    let just_began = began_s.is_none()
                        && seconds_of(now.saturating_sub(from) as f64) < JUST_NOW_S;
                    let begin = match just_began {
                        true => from,
                        false => now + frames_in(BEGIN_AHEAD_S) as u64,
                    };
                    place = Some(begin);
                    began_s.get_or_insert(now_s);
                }
                if began_s.is_some_and(|began_s| now_s > began_s + AHEAD_S) {
                    self.shared.set_flowing(true);
                }
                let at = place.unwrap_or(now);
                if seconds_of(at as f64) > now_s + AHEAD_S {
                    break;
                }
                self.is_live(false);
                let at_s = self.shared.clock_of(at as f64).unwrap_or_default().as_secs_f64();
                self.delivery.give(&samples, at, at_s);
                last_s = seconds_of((samples.len() / CHANNELS) as f64);
                place = Some(at + (samples.len() / CHANNELS) as u64);
                samples.clear();
            }
        }
    }

    /// Until what was written ahead has been heard.
    fn ends(&mut self, place: Option<u64>) -> Ending {
        self.shared.set_flowing(false);
        let end_s = seconds_of(place.unwrap_or(0) as f64);
        let left_s = self.show_now().map_or(0.0, |now_s| (end_s - now_s).clamp(0.0, 2.0 * AHEAD_S));
        self.pause(Duration::from_secs_f64(left_s)).unwrap_or(Ending::Ended)
    }

    /// Show time now, in seconds.
    fn show_now(&self) -> Option<f64> {
        self.shared.show_seconds(self.clock.now().as_secs_f64())
    }

    /// A card of its own: it beeps with every whole second of the show, and its clock is `ppm` off.
    pub(super) fn beeps(&mut self, ppm: f64) -> Ending {
        let mut drift = match Drift::new() {
            Ok(drift) => drift,
            Err(error) => return Ending::Lost(error.to_string()),
        };
        let rate = f64::from(SAMPLE_RATE) * (1.0 + ppm / 1e6);
        let mut chance = fastrand::Rng::with_seed(1);
        let begin_s = self.clock.now().as_secs_f64();
        let (mut made, mut block, mut out) = (0u64, Vec::new(), Vec::new());
        loop {
            let end_s = begin_s + (made + BLOCK) as f64 / rate;
            let comes_s = end_s + chance.f64() * BEEP_JITTER_S;
            let left_s = (comes_s - self.clock.now().as_secs_f64()).max(0.0);
            if let Some(ending) = self.wish(Duration::from_secs_f64(left_s)) {
                return ending;
            }
            let Some(line_ns) = self.shared.line_ns() else {
                made += BLOCK;
                continue;
            };
            let line_s = line_ns as f64 / 1e9;
            block.clear();
            // What a microphone before the flash would hear.
            block.extend(
                (made..made + BLOCK)
                    .flat_map(|frame| tone::beep(begin_s + frame as f64 / rate + line_s)),
            );
            made += BLOCK;
            if let Err(error) = self.deliver(&mut drift, &block, line_s, 0.0, &mut out) {
                return Ending::Lost(error.to_string());
            }
            self.is_live(false);
        }
    }

    /// Hands on samples that have just been captured, with the drift taken out; they are heard
    /// `cushion_s` later.
    pub(super) fn deliver(
        &mut self,
        drift: &mut Drift,
        samples: &[f32],
        line_s: f64,
        cushion_s: f64,
        out: &mut Vec<f32>,
    ) -> Result<()> {
        let at_s = self.clock.now().as_secs_f64();
        out.clear();
        drift.take(samples, at_s, line_s + cushion_s, out)?;
        if let Some(place) = drift.place() {
            let first = place - (out.len() / CHANNELS) as f64;
            self.delivery.give(out, first as u64, seconds_of(first) - line_s);
        }
        let mut now = super::lock(&self.now);
        now.drift_ppm = drift.drift_ppm();
        now.error_ms = drift.error_s() * 1000.0;
        now.restarts = drift.restarts();
        Ok(())
    }
}
