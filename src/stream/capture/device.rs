//! A life of a live source: a card, another program, an address.

use std::time::Duration;

use gstreamer as gst;

use super::open::{self, Open};
use super::{Capturing, Ending};
use crate::audio::drift::Drift;
use crate::config::AudioSource;

/// So long nothing may come from what was open.
const STILL_LIMIT: Duration = Duration::from_secs(3);
/// And from what has just been opened.
const OPENING_LIMIT: Duration = Duration::from_secs(10);
const PATIENCE: gst::ClockTime = gst::ClockTime::from_mseconds(20);
/// How long a source gives sound before it is missed.
const SETTLED: Duration = Duration::from_secs(1);

/// Adds the samples of a buffer; what is no number is silence.
pub fn append(sample: &gst::Sample, out: &mut Vec<f32>) {
    let Some(map) = sample.buffer().and_then(|buffer| buffer.map_readable().ok()) else { return };
    let (samples, _) = map.as_slice().as_chunks::<4>();
    let sound = samples.iter().map(|bytes| f32::from_le_bytes(*bytes));
    out.extend(sound.map(|sample| if sample.is_finite() { sample } else { 0.0 }));
}

impl Capturing {
    pub(super) fn plays_device(&mut self, source: &AudioSource, was_live: bool) -> Ending {
        #[cfg(target_os = "linux")]
        let mut cables = match source {
            AudioSource::Jack(pattern) => {
                match super::jack::Cables::new(pattern.as_deref(), &self.jack_name) {
                    Ok(cables) => Some(cables),
                    Err(error) => return Ending::Lost(error.to_string()),
                }
            }
            _ => None,
        };
        #[cfg(target_os = "linux")]
        let jack_name = cables.as_ref().map_or("", super::jack::Cables::name);
        #[cfg(not(target_os = "linux"))]
        let jack_name = "vfaq";
        let opened = open::open(source, jack_name).and_then(|open| Ok((open, Drift::new()?)));
        let (open, mut drift) = match opened {
            Ok(opened) => opened,
            Err(error) => return Ending::Lost(error.to_string()),
        };
        let (mut samples, mut out) = (Vec::new(), Vec::new());
        let (mut began, mut came_at) = (None, self.clock.now());
        loop {
            if let Some(ending) = self.wish(Duration::ZERO) {
                return ending;
            }
            if let Some(why) = open.failure() {
                return Ending::Lost(why);
            }
            let now = self.clock.now();
            #[cfg(target_os = "linux")]
            if let Some(cables) = &mut cables {
                match cables.look(now) {
                    Ok(connected) => self.shared.set_flowing(connected && is_settled(began, now)),
                    Err(error) if began.is_some() => return Ending::Lost(error.to_string()),
                    // Our own ports are not there yet.
                    Err(_) => {}
                }
                if let Some(why) = cables.missing() {
                    self.tell(super::SourceState::Lost, Some(why));
                } else if began.is_some() {
                    let again = was_live || super::lock(&self.now).reason.is_some();
                    self.is_live(again);
                }
            } else {
                self.shared.set_flowing(is_settled(began, now));
            }
            #[cfg(not(target_os = "linux"))]
            self.shared.set_flowing(is_settled(began, now));
            let Some(sample) = open.sink.try_pull_sample(PATIENCE) else {
                self.delivery.tell_due();
                if let Some(why) = is_still(&open, began.is_some(), now.saturating_sub(came_at)) {
                    return Ending::Lost(why);
                }
                continue;
            };
            came_at = self.clock.now();
            began.get_or_insert(came_at);
            #[cfg(target_os = "linux")]
            let is_jack = cables.is_some();
            #[cfg(not(target_os = "linux"))]
            let is_jack = false;
            if !is_jack {
                self.is_live(was_live);
            }
            // Before the first picture there is nothing to go with.
            let Some(line_ns) = self.shared.line_ns() else { continue };
            samples.clear();
            append(&sample, &mut samples);
            let line_s = line_ns as f64 / 1e9;
            let delivered = self.deliver(&mut drift, &samples, line_s, open.cushion_s, &mut out);
            if let Err(error) = delivered {
                return Ending::Lost(error.to_string());
            }
        }
    }
}

fn is_settled(began: Option<Duration>, now: Duration) -> bool {
    began.is_some_and(|began| now > began + SETTLED)
}

/// Why nothing comes any more.
fn is_still(open: &Open, began: bool, since: Duration) -> Option<String> {
    if open.sink.is_eos() {
        return Some("it has ended".into());
    }
    let limit = if began { STILL_LIMIT } else { OPENING_LIMIT };
    (since > limit).then(|| format!("nothing has come from it for {} s", limit.as_secs()))
}
