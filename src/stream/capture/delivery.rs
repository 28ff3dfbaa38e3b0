//! Where captured samples go: into the ring, each at its place in the show, and to whoever listens,
//! at the moment at which they are heard.
//!
//! Holds: the listener gets samples when their time has come, never before, in order, and none of a
//! time that it has heard. Where no source gives sound it goes on hearing silence.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::audio::{CHANNELS, SAMPLE_RATE, Writer, frames_in, seconds_of};
use crate::base::clock::Clock;

/// Given samples as they come (48 kHz, stereo, interleaved), and when the first of them was heard,
/// by the show's clock. Must not wait.
pub type Listener = Box<dyn FnMut(&[f32], Duration) + Send>;

/// Samples that may wait for the listener; older ones are dropped.
const WAITING: usize = 4 * SAMPLE_RATE as usize * CHANNELS;
/// Samples that the listener is given at once, at most: 10 ms.
const AT_ONCE: usize = SAMPLE_RATE as usize / 100 * CHANNELS;
/// What stands further from what is before it than this was placed anew.
const ANEW_S: f64 = 0.002;
/// So long nothing comes before that is heard as silence.
const SILENT_AFTER_S: f64 = 0.25;
/// Silence is told so far behind, so that a source that comes back is heard whole.
const SILENT_BEHIND_S: f64 = 0.2;
/// Of a longer time than this only the end is told.
const CATCH_UP_S: f64 = 1.0;

pub struct Delivery {
    writer: Option<Writer>,
    listener: Option<Listener>,
    clock: Arc<dyn Clock>,
    /// Not heard yet, and when the first of it is.
    waiting: VecDeque<f32>,
    due_s: f64,
    told: Vec<f32>,
    /// Up to when the listener has heard, and whether the last of it was the silence of no source.
    told_s: f64,
    is_silent: bool,
}

impl Delivery {
    pub fn new(writer: Option<Writer>, listener: Option<Listener>, clock: Arc<dyn Clock>) -> Self {
        let told_s = clock.now().as_secs_f64();
        Delivery {
            writer,
            listener,
            clock,
            waiting: VecDeque::with_capacity(WAITING),
            due_s: told_s,
            told: Vec::with_capacity(AT_ONCE),
            told_s,
            is_silent: false,
        }
    }

    /// Hands on samples whose first stands at `place` of the show, and is heard at `at_s`, by the
    /// show's clock.
    pub fn give(&mut self, samples: &[f32], place: u64, at_s: f64) {
        if let Some(writer) = &mut self.writer {
            // Where there was no room for those before, too.
            writer.go_to(place);
            writer.write(samples);
        }
        if self.listener.is_none() || samples.is_empty() {
            return;
        }
        let next_s = self.due_s + seconds_of((self.waiting.len() / CHANNELS) as f64);
        if self.waiting.len() + samples.len() > WAITING || (next_s - at_s).abs() > ANEW_S {
            self.waiting.clear();
        }
        let mut heard = 0;
        if self.waiting.is_empty() {
            if self.told_s - at_s > ANEW_S {
                heard = (frames_in(self.told_s - at_s) as usize).min(samples.len() / CHANNELS);
            }
            self.due_s = at_s + seconds_of(heard as f64);
        }
        self.waiting.extend(&samples[heard * CHANNELS..]);
        self.tell_waiting();
    }

    /// Tells the listener what is heard by now, silence included.
    pub fn tell_due(&mut self) {
        self.tell_waiting();
        let Some(listener) = self.listener.as_mut().filter(|_| self.waiting.is_empty()) else {
            return;
        };
        let now_s = self.clock.now().as_secs_f64();
        self.is_silent |= now_s - self.told_s > SILENT_AFTER_S;
        if !self.is_silent {
            return;
        }
        if now_s - self.told_s > CATCH_UP_S {
            self.told_s = now_s - SILENT_AFTER_S;
        }
        let piece_s = seconds_of((AT_ONCE / CHANNELS) as f64);
        while self.told_s + piece_s <= now_s - SILENT_BEHIND_S {
            self.told.clear();
            self.told.resize(AT_ONCE, 0.0);
            listener(&self.told, Duration::from_secs_f64(self.told_s.max(0.0)));
            self.told_s += piece_s;
        }
    }

    fn tell_waiting(&mut self) {
        let Some(listener) = &mut self.listener else { return };
        let now_s = self.clock.now().as_secs_f64();
        loop {
            let due = frames_in(now_s - self.due_s).max(0.0) as usize;
            let count = (due * CHANNELS).min(AT_ONCE).min(self.waiting.len());
            if count == 0 {
                return;
            }
            self.told.clear();
            self.told.extend(self.waiting.drain(..count));
            listener(&self.told, Duration::from_secs_f64(self.due_s.max(0.0)));
            self.due_s += seconds_of((count / CHANNELS) as f64);
            (self.told_s, self.is_silent) = (self.due_s, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::audio::ring;
    use crate::base::clock::ManualClock;

    /// When it was told, from when to when in seconds, and the first sample.
    type Told = Arc<Mutex<Vec<(f64, f64, f64, f32)>>>;

    fn listened(clock: &Arc<ManualClock>) -> (Delivery, Told) {
        let told = Told::default();
        let (heard, watch) = (told.clone(), clock.clone());
        let listener = Box::new(move |samples: &[f32], at: Duration| {
            let at_s = at.as_secs_f64();
            let end_s = at_s + seconds_of((samples.len() / CHANNELS) as f64);
            heard.lock().unwrap().push((watch.now().as_secs_f64(), at_s, end_s, samples[0]));
        });
        (Delivery::new(None, Some(listener), clock.clone()), told)
    }

    fn assert_in_order(told: &[(f64, f64, f64, f32)]) {
        for pair in told.windows(2) {
            assert!(pair[1].1 > pair[0].2 - 1e-6, "{pair:?}");
        }
        assert!(told.iter().all(|(now_s, _, end_s, _)| *end_s < now_s + 1e-6));
    }

    const BLOCK: [f32; 960] = [0.5; 960];

    #[test]
    fn silence_is_heard_where_no_source_is_and_a_source_that_comes_back_at_its_own_time() {
        let clock = Arc::new(ManualClock::default());
        let (mut delivery, told) = listened(&clock);
        let ten = Duration::from_millis(10);
        let turn = |delivery: &mut Delivery, sounds: bool| {
            clock.advance(ten);
            let now_s = clock.now().as_secs_f64();
            if sounds {
                delivery.give(&BLOCK, 0, now_s - 0.01);
            } else {
                delivery.tell_due();
            }
        };
        // From the start.
        (0..100).for_each(|_| turn(&mut delivery, false));
        assert!(told.lock().unwrap().last().unwrap().2 > 0.75);
        (0..100).for_each(|_| turn(&mut delivery, true));
        (0..100).for_each(|_| turn(&mut delivery, false));
        // It comes back, and the first of it stands where silence was told.
        (0..100).for_each(|_| turn(&mut delivery, true));
        let told = told.lock().unwrap().clone();
        assert_in_order(&told);
        for (_, at_s, end_s, sample) in &told {
            let middle_s = (at_s + end_s) / 2.0;
            let sounds = (1.0..2.0).contains(&middle_s) || middle_s > 3.0;
            assert_eq!(*sample != 0.0, sounds, "{at_s} {end_s} {sample}");
        }
        // Of the second of silence all but its end, which was not told yet.
        let silent = told.iter().filter(|t| t.3 == 0.0 && t.1 > 1.5).count();
        assert!((78..=81).contains(&silent), "{silent}");
        assert!((told.last().unwrap().2 - 4.0).abs() < 1e-4);
    }

    #[test]
    fn what_is_placed_anew_is_heard_at_its_own_time() {
        let clock = Arc::new(ManualClock::default());
        let (mut delivery, told) = listened(&clock);
        // Half a second ahead, and then another source.
        for n in 0..50 {
            delivery.give(&BLOCK, n * 480, f64::from(n as u32) * 0.01);
        }
        clock.advance(Duration::from_millis(100));
        delivery.tell_due();
        delivery.give(&[0.25; 960], 0, 0.05);
        delivery.give(&[0.25; 960], 0, 0.12);
        clock.advance(Duration::from_millis(50));
        delivery.tell_due();
        let told = told.lock().unwrap().clone();
        assert_in_order(&told);
        let (_, at_s, end_s, sample) = *told.last().unwrap();
        assert_eq!(sample, 0.25);
        assert!((at_s - 0.12).abs() < 1e-6 && (end_s - 0.13).abs() < 1e-6, "{at_s} {end_s}");
    }

    #[test]
    fn a_long_pause_is_not_caught_up_with() {
        let clock = Arc::new(ManualClock::default());
        let (mut delivery, told) = listened(&clock);
        clock.advance(Duration::from_secs(3600));
        delivery.tell_due();
        assert!(told.lock().unwrap().len() <= 5, "{}", told.lock().unwrap().len());
        assert!(told.lock().unwrap()[0].1 > 3599.0);
    }

    #[test]
    fn sound_is_heard_again_after_there_was_no_room() {
        let (writer, mut reader) = ring();
        let mut delivery = Delivery::new(Some(writer), None, Arc::new(ManualClock::default()));
        let mut place = 0;
        // Two seconds that nobody reads.
        for _ in 0..200 {
            delivery.give(&BLOCK, place, 0.0);
            place += 480;
        }
        let mut out = vec![0.0; 960];
        for n in 0..200 {
            reader.read(n * 480, &mut out);
        }
        delivery.give(&BLOCK, place, 0.0);
        assert_eq!(reader.read(place, &mut out), 480);
    }
}
