//! Where captured samples go: into the ring, each at its place in the show, and to whoever listens,
//! at the moment at which they are heard.
//!
//! Holds: the listener gets samples when their time has come, never before, and in order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::audio::{CHANNELS, SAMPLE_RATE, Writer};
use crate::base::clock::Clock;

/// Given samples as they come (48 kHz, stereo, interleaved), and when the first of them was heard,
/// by the show's clock. Must not wait.
pub type Listener = Box<dyn FnMut(&[f32], Duration) + Send>;

/// Samples that may wait for the listener; older ones are dropped.
const WAITING: usize = 4 * SAMPLE_RATE as usize * CHANNELS;
/// Samples that the listener is given at once, at most: 10 ms.
const AT_ONCE: usize = SAMPLE_RATE as usize / 100 * CHANNELS;

pub struct Delivery {
    writer: Option<Writer>,
    listener: Option<Listener>,
    clock: Arc<dyn Clock>,
    /// Not heard yet, and when the first of it is.
    waiting: VecDeque<f32>,
    due_s: f64,
    told: Vec<f32>,
}

impl Delivery {
    pub fn new(writer: Option<Writer>, listener: Option<Listener>, clock: Arc<dyn Clock>) -> Self {
        Delivery {
            writer,
            listener,
            clock,
            waiting: VecDeque::with_capacity(WAITING),
            due_s: 0.0,
            told: Vec::with_capacity(AT_ONCE),
        }
    }

    /// What comes next stands at this place of the show.
    pub fn go_to(&mut self, place: u64) {
        if let Some(writer) = &mut self.writer {
            writer.go_to(place);
        }
    }

    /// Hands on samples whose first is heard at `at_s`, by the show's clock.
    pub fn give(&mut self, samples: &[f32], at_s: f64) {
        if let Some(writer) = &mut self.writer {
            writer.write(samples);
        }
        if self.listener.is_some() {
            if self.waiting.len() + samples.len() > WAITING {
                self.waiting.clear();
            }
            if self.waiting.is_empty() {
                self.due_s = at_s;
            }
            self.waiting.extend(samples);
            self.tell_due();
        }
    }

    /// Tells the listener what is heard by now.
    pub fn tell_due(&mut self) {
        let Some(listener) = &mut self.listener else { return };
        let now_s = self.clock.now().as_secs_f64();
        loop {
            let due = ((now_s - self.due_s) * f64::from(SAMPLE_RATE)).max(0.0) as usize;
            let count = (due * CHANNELS).min(AT_ONCE).min(self.waiting.len());
            if count == 0 {
                return;
            }
            self.told.clear();
            self.told.extend(self.waiting.drain(..count));
            listener(&self.told, Duration::from_secs_f64(self.due_s.max(0.0)));
            self.due_s += (count / CHANNELS) as f64 / f64::from(SAMPLE_RATE);
        }
    }
}
