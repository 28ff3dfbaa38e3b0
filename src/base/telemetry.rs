//! What the running show says of itself: counters that any thread may raise, timings, and the
//! immutable [`Status`] that the terminal, HTTP, the metrics and the summary all read.
//!
//! Holds: raising a counter and recording a timing neither lock nor allocate.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use hdrhistogram::sync::{Recorder, SyncHistogram};
use serde::Serialize;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The last value of something, as an integer in the unit its name says.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Collects durations from one or more threads; reads out percentiles. Microseconds up to a
/// minute, three digits.
pub struct Timing {
    histogram: Mutex<SyncHistogram<u64>>,
}

/// A thread's end of a [`Timing`].
pub struct TimingRecorder(Recorder<u64>);

const LONGEST_US: u64 = 60_000_000;

impl Timing {
    pub fn new() -> Self {
        #[expect(clippy::expect_used, reason = "the library accepts these bounds")]
        let histogram = Histogram::new_with_bounds(1, LONGEST_US, 3).expect("valid bounds");
        Timing { histogram: Mutex::new(histogram.into()) }
    }

    pub fn recorder(&self) -> TimingRecorder {
        TimingRecorder(self.lock().recorder())
    }

    /// The percentiles so far, in ms; all 0 before anything was recorded. Waits for up to 10 ms
    /// for what the recorders still hold.
    pub fn percentiles(&self) -> Percentiles {
        let mut histogram = self.lock();
        histogram.refresh_timeout(Duration::from_millis(10));
        let at = |q| histogram.value_at_quantile(q) as f64 / 1000.0;
        if histogram.is_empty() {
            return Percentiles::default();
        }
        Percentiles { p50: at(0.5), p95: at(0.95), p99: at(0.99), p999: at(0.999), max: at(1.0) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, SyncHistogram<u64>> {
        self.histogram.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self::new()
    }
}

impl TimingRecorder {
    pub fn record(&mut self, took: Duration) {
        self.0.saturating_record((took.as_micros() as u64).clamp(1, LONGEST_US));
    }
}

/// Milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

/// Where the show stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// On the outputs, with a standby picture, waiting for *go*.
    #[default]
    Standby,
    Live,
    Draining,
    Ended,
}

/// Everything a user may see of a show, at one moment.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Status {
    pub version: &'static str,
    pub project: String,
    pub phase: Phase,
    /// Seconds since *go*.
    pub show_time_s: f64,
    /// Since process start, until the first frame went to the encoder; `None` before.
    pub first_frame_ms: Option<f64>,
    pub canvas: String,
    /// Frames a second that were handed to the encoder over the last few seconds, and the goal.
    pub fps: f64,
    pub target_fps: f64,
    pub encoder: String,
    pub on_air: OnAir,
    /// The cycle in the making.
    pub generating: Option<Generating>,
    pub frames: Frames,
    pub cycles: Cycles,
    pub underruns: u64,
    pub runway_s: Runway,
    pub lateness_ms: Percentiles,
    pub render_ms: Percentiles,
    pub encode_ms: Percentiles,
    pub cpu_ms_per_frame: Option<f64>,
    pub peak_rss_mb: Option<f64>,
    pub recording: Option<RecordingStatus>,
    pub outputs: Vec<OutputStatus>,
    /// Present values of the parameters by address.
    pub params: serde_json::Map<String, serde_json::Value>,
    /// In plain words, newest last; only what matters now.
    pub warnings: Vec<String>,
}

/// What is on air.
#[derive(Clone, Debug, Default, Serialize)]
pub struct OnAir {
    /// `None` while the built-in stand-in airs.
    pub cycle: Option<u32>,
    pub prompt: String,
    /// Played before: the next cycle is not there yet.
    pub replay: bool,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Generating {
    pub cycle: u32,
    /// `image`, `video`, `archive`, `retry`.
    pub stage: &'static str,
    pub elapsed_s: f64,
    /// How long a cycle took lately; `None` before the first.
    pub expected_s: Option<f64>,
}

/// `rendered` = `source` + `interpolated` + `blended` + `held`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Frames {
    pub rendered: u64,
    pub source: u64,
    pub interpolated: u64,
    pub blended: u64,
    pub held: u64,
    /// Places of the grid that never reached the encoder.
    pub dropped: u64,
    /// Handed over more than one frame time after they were due.
    pub late: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Cycles {
    pub generated: u64,
    /// Clips that went on air for the first time.
    pub played: u64,
    /// Times that a clip was shown again because nothing new was ready.
    pub replayed: u64,
    /// Times that the built-in stand-in went on air.
    pub stand_in: u64,
    pub failed: u64,
}

/// Seconds of timeline ready ahead of the picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Runway {
    pub now: f64,
    pub min: f64,
    pub mean: f64,
    pub target: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputState {
    #[default]
    Starting,
    Live,
    Failed,
    Stopped,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct RecordingStatus {
    pub path: String,
    pub state: OutputState,
    pub frames: u64,
    pub bytes: u64,
    pub bitrate_kbps: f64,
    /// Files that belong to it, in order; more than one after a gap.
    pub parts: Vec<String>,
    pub error: Option<String>,
    /// Time that its disk has room for at the present bitrate.
    pub room_s: Option<f64>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct OutputStatus {
    /// With secrets hidden.
    pub uri: String,
    pub state: OutputState,
    pub frames: u64,
    pub bytes: u64,
    pub bitrate_kbps: f64,
    pub reconnects: u64,
    pub error: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_read_what_a_thread_recorded() {
        let timing = Timing::new();
        assert_eq!(timing.percentiles(), Percentiles::default());
        let mut recorder = timing.recorder();
        std::thread::spawn(move || {
            for ms in 1..=100 {
                recorder.record(Duration::from_millis(ms));
            }
        })
        .join()
        .unwrap();
        let p = timing.percentiles();
        assert!((p.p50 - 50.0).abs() < 1.0 && (p.p99 - 99.0).abs() < 1.0, "{p:?}");
    }
}
