//! What the running show says of itself: counters that any thread may raise, timings, and the
//! immutable [`Status`] that the terminal, HTTP, the metrics and the summary all read.
//!
//! Holds: raising a counter and recording a timing neither lock nor allocate.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::effort::Effort;

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

/// The largest value since it was last asked for.
#[derive(Debug, Default)]
pub struct Peak(AtomicU64);

impl Peak {
    pub fn raise(&self, value: u64) {
        self.0.fetch_max(value, Ordering::Relaxed);
    }

    /// Begins anew.
    pub fn take(&self) -> u64 {
        self.0.swap(0, Ordering::Relaxed)
    }
}

/// Collects durations from one or more threads; reads out percentiles. (Histogram libraries hand
/// full histograms from thread to thread, which allocates on the recording one.)
///
/// Buckets are microseconds up to `FINE`, then `FINE` to a doubling: 1.6% wide at most.
#[derive(Clone)]
pub struct Timing(Arc<[AtomicU64; BUCKETS]>);

/// Buckets to a doubling.
const FINE: u64 = 64;
/// Up to 2^32 microseconds, over an hour.
const BUCKETS: usize = (FINE * 27) as usize;

fn bucket(us: u64) -> usize {
    if us < FINE {
        return us as usize;
    }
    let doublings = u64::from(us.ilog2() - FINE.ilog2());
    let index = (doublings + 1) * FINE + (us >> doublings) - FINE;
    (index as usize).min(BUCKETS - 1)
}

/// The longest duration of a bucket.
fn longest_us(bucket: usize) -> u64 {
    let (doublings, step) = (bucket as u64 / FINE, bucket as u64 % FINE);
    match doublings.checked_sub(1) {
        None => step,
        Some(doublings) => ((FINE + step + 1) << doublings) - 1,
    }
}

impl Timing {
    pub fn new() -> Self {
        Timing(Arc::new([const { AtomicU64::new(0) }; BUCKETS]))
    }

    pub fn record(&self, took: Duration) {
        self.0[bucket(took.as_micros() as u64)].fetch_add(1, Ordering::Relaxed);
    }

    /// The percentiles so far; all 0 before anything was recorded.
    pub fn percentiles(&self) -> Percentiles {
        let counts: Vec<u64> = self.0.iter().map(|b| b.load(Ordering::Relaxed)).collect();
        let total: u64 = counts.iter().sum();
        if total == 0 {
            return Percentiles::default();
        }
        let at = |quantile: f64| {
            let rank = ((total as f64 * quantile).ceil() as u64).max(1);
            let mut seen = 0;
            let bucket = counts.iter().position(|count| {
                seen += count;
                seen >= rank
            });
            longest_us(bucket.unwrap_or(BUCKETS - 1)) as f64 / 1000.0
        };
        Percentiles { p50: at(0.5), p95: at(0.95), p99: at(0.99), p999: at(0.999), max: at(1.0) }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self::new()
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
    /// The element that encodes the picture for the recording and most outputs.
    pub encoder: &'static str,
    /// What was tried before the show chose one.
    pub encoder_why: String,
    /// What the encoder is asked for at present.
    pub encoder_bitrate_kbps: u32,
    /// Times that an encoder failed and the same or another one took its place.
    pub encoder_rebuilds: u64,
    /// The latest of them, newest last.
    pub encoder_changes: Vec<EncoderChange>,
    pub on_air: OnAir,
    /// What the ring holds, oldest first.
    pub ring: Vec<RingClip>,
    /// The cycle in the making.
    pub generating: Option<Generating>,
    /// Who makes the cycles; empty where a prepared set is played.
    pub generators: Vec<GeneratorStatus>,
    pub frames: Frames,
    pub motion: MotionStatus,
    pub effort: EffortStatus,
    pub cycles: Cycles,
    pub underruns: u64,
    pub runway_s: Runway,
    pub losses: Losses,
    pub lateness_ms: Percentiles,
    pub render_ms: Percentiles,
    pub encode_ms: Percentiles,
    pub cpu_ms_per_frame: Option<f64>,
    pub peak_rss_mb: Option<f64>,
    pub recording: Option<RecordingStatus>,
    pub outputs: Vec<OutputStatus>,
    /// Present values of the parameters by address.
    pub params: serde_json::Map<String, serde_json::Value>,
    pub steering: SteeringStatus,
    /// `None`: the show listens to no OSC.
    pub osc: Option<OscStatus>,
    pub midi: MidiStatus,
    pub sound: SoundStatus,
    /// `None`: the show listens to no OS2L.
    pub os2l: Option<Os2lStatus>,
    pub tempo: TempoStatus,
    /// In plain words, newest last; only what matters now.
    pub warnings: Vec<String>,
}

/// One encoder took over from another, or began anew.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct EncoderChange {
    /// Seconds from the first frame to the first one that the new encoder gets.
    pub at_s: f64,
    /// The element that was left, and the one that took over; they may be the same.
    pub from: &'static str,
    pub to: &'static str,
    pub reason: String,
}

/// What is on air.
#[derive(Clone, Debug, Default, Serialize)]
pub struct OnAir {
    /// `None` while the built-in stand-in airs.
    pub cycle: Option<u32>,
    pub prompt: String,
    /// Played before: the next cycle is not there yet.
    pub replay: bool,
    /// Where in the clip the picture stands, 0 to 1.
    pub position: f64,
    /// 1 as the clip was made; 0 while it stands still.
    pub speed: f64,
    /// `normal`, `freeze`, `reverse`, `bounce`, `hold` or `loop`.
    pub mode: &'static str,
    /// What waits for the beat: `next at bar`, ...
    pub waits: Vec<String>,
}

/// A clip of the ring.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RingClip {
    /// `None` for the built-in stand-in.
    pub cycle: Option<u32>,
    pub state: RingState,
    /// How long it shows at speed 1.
    pub seconds: f64,
    /// How much of it is done or shown, 0 to 1, where that is known.
    pub progress: Option<f64>,
    pub prompt: String,
}

/// Where a clip stands on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RingState {
    /// It can be gone back to.
    #[default]
    Played,
    OnAir,
    /// It waits in the ring.
    Ready,
    /// It is made, and not prepared yet.
    Waiting,
    Making,
    /// A change of the plan asks for it.
    Planned,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Generating {
    pub cycle: u32,
    /// `image`, `video`, `archive`, `retry`.
    pub stage: &'static str,
    pub elapsed_s: f64,
    /// How long a cycle took lately; `None` before the first.
    pub expected_s: Option<f64>,
    /// What the generator says that it does.
    pub progress: Option<String>,
    /// How much of that is done, 0 to 1.
    pub done: Option<f32>,
    /// Cycles in the making; this is the earliest.
    pub cycles: usize,
}

/// A generator: a server, a worker, an account, or the built-in one.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct GeneratorStatus {
    pub name: String,
    /// `mock`, `comfyui`, `diffusers` or `replicate`.
    pub backend: &'static str,
    /// It is given jobs.
    pub usable: bool,
    /// Why it is not.
    pub reason: Option<String>,
    /// Jobs in the making.
    pub busy: usize,
    /// Seconds that a picture and a clip take, lately.
    pub image_s: Option<f64>,
    pub video_s: Option<f64>,
    pub made: u64,
    pub failed: u64,
}

/// `rendered` = `source` + `interpolated` + `blended` + `held`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Frames {
    pub rendered: u64,
    pub source: u64,
    pub interpolated: u64,
    pub blended: u64,
    pub held: u64,
    /// The encoder was busy: the picture before went in its place.
    pub repeated: u64,
    /// Places of the grid that were never encoded.
    pub dropped: u64,
    /// Handed over more than one frame time after they were due.
    pub late: u64,
}

/// The motion between source frames, which is found before they are on air. All counts are 0 where
/// none is looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct MotionStatus {
    /// Pairs of frames whose motion was found at normal quality, and at a lower one.
    pub found: u64,
    pub fast: u64,
    /// Pairs that were on air before their motion was known; they were blended.
    pub late: u64,
    /// Pairs that are two scenes.
    pub cuts: u64,
    /// Frames that repeat the one before.
    pub repeats: u64,
    /// What a pair took, by the clock.
    pub pair_ms: Percentiles,
}

/// How much the show does, and how often it had to do less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct EffortStatus {
    pub now: Effort,
    pub steps_down: u64,
    pub steps_up: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Cycles {
    pub generated: u64,
    /// Times that a clip went on air as planned: for the first time, or at its turn in a prepared
    /// set.
    pub played: u64,
    /// Times that a clip was shown again because nothing new was ready.
    pub replayed: u64,
    /// Times that the built-in stand-in went on air.
    pub stand_in: u64,
    pub failed: u64,
}

/// What was lost where nobody could wait; all 0 in a good show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Losses {
    /// Changes of shot and receipts that the journal missed.
    pub journal_entries: u64,
    /// Attempts to write a file of the archive that failed (it is tried again).
    pub archive_writes: u64,
    /// Times that the picture stood still for over a second and its clock was anchored anew.
    pub clock_breaks: u64,
    /// Frames whose sound was not there in time and became silence.
    pub silent_frames: u64,
    /// Frames whose sound an output of raw pictures was too busy to take.
    pub output_sounds: u64,
}

/// Changes that performers made.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SteeringStatus {
    pub accepted: u64,
    pub refused: u64,
    /// Times that what waited was given up for a new plan, and clips that were given up.
    pub replans: u64,
    pub dropped_clips: u64,
    /// Wishes for another cycle that nothing was there for.
    pub cycles_refused: u64,
    /// From when a change came until the first frame with it went to the encoder.
    pub latency_ms: Percentiles,
    pub prompts: PromptSteering,
}

/// Changes that apply to cycles, from when they came until a cycle made with them was on air.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PromptSteering {
    pub count: u64,
    pub p50_s: f64,
    pub p95_s: f64,
    pub max_s: f64,
    /// Changes of the plan so far.
    pub revision: u64,
    /// Until what is made for the last one is to be on air; `None`: nothing is awaited.
    pub due_s: Option<f64>,
    pub waiting: Vec<PromptWaiting>,
    /// The latest, newest last.
    pub arrived: Vec<PromptArrived>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PromptWaiting {
    pub address: &'static str,
    pub since_s: f64,
    /// Until it is to be on air; `None`: not known yet.
    pub due_s: Option<f64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PromptArrived {
    pub address: &'static str,
    pub cycle: u32,
    /// The first output frame of that cycle.
    pub frame: u64,
    pub seconds: f64,
}

/// OSC and OSCQuery.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct OscStatus {
    /// Where packets come in over UDP, and where OSCQuery is asked.
    pub listen: String,
    pub query: Option<String>,
    /// Packets that came, and messages that were taken.
    pub packets: u64,
    pub messages: u64,
    /// What was refused, by reason.
    pub refused: std::collections::BTreeMap<&'static str, u64>,
    pub last_refused: Option<OscRefused>,
    /// Bundles that wait for their time.
    pub waiting: usize,
    /// Who is sent changes over UDP, and how many are connected by WebSocket.
    pub subscribers: usize,
    pub listeners: usize,
    /// Datagrams and WebSocket messages with changes that were sent.
    pub feedback: u64,
}

/// The last packet that was refused.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct OscRefused {
    pub address: String,
    pub reason: &'static str,
    pub message: String,
    pub from: String,
}

/// MIDI controllers; all 0 where it is turned off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct MidiStatus {
    /// Ports that are open, our own included, and those that were and are gone.
    pub connected: usize,
    pub away: usize,
    /// Messages that came in, and of those what nothing is bound to.
    pub messages: u64,
    pub ignored: u64,
    /// Changes that were out of place.
    pub refused: u64,
    /// Messages that came in faster than they could be taken, and bytes that were part of none.
    pub lost: u64,
    pub stray_bytes: u64,
    /// What controllers were shown.
    pub sent: u64,
}

/// The sound that is captured and what becomes of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SoundStatus {
    pub source: String,
    /// `opening`, `live`, `lost` or `ended`.
    pub state: &'static str,
    /// Why it is lost.
    pub reason: Option<String>,
    /// Times that a source came back.
    pub returns: u64,
    /// As it is sent, in dBFS, left and right.
    pub peak_db: [f32; 2],
    pub rms_db: [f32; 2],
    /// What the limiter takes away at present.
    pub limited_db: f32,
    /// How much faster the source's clock is than the show's, in millionths; it is corrected by as
    /// much.
    pub drift_ppm: f64,
    /// How much later the sound stands than it should.
    pub error_ms: f64,
    /// Times that so much was missing that the sound began anew at its place.
    pub restarts: u64,
    /// Sound that lies ready.
    pub fill_ms: f64,
    /// Times that it was not there in time, and how much was missing.
    pub underruns: u64,
    pub missing_ms: f64,
}

/// Where the beat is, and who gives it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TempoStatus {
    /// As in `/tempo/source`; empty before the first.
    pub source: &'static str,
    /// Which port or address that is, where there are several.
    pub from: Option<String>,
    /// `false`: it is lost, and the beat goes on as it went.
    pub led: bool,
    pub bpm: f64,
    /// Beats since the show began, with their fraction, when this was put together. Multiples of
    /// `beats_per_bar` are downbeats.
    pub beat: f64,
    /// Whole bars, and which beat of the bar it is, from 1.
    pub bar: u64,
    pub beat_of_bar: u32,
    pub beats_per_bar: u32,
    /// 0 to 1.
    pub confidence: f32,
    pub playing: bool,
    /// How much earlier beats come, by hand.
    pub nudge_ms: f64,
    /// Beats for one of the source: 2 doubles the tempo.
    pub times: f64,
    pub sources: Vec<TempoSource>,
    /// How often beats were left out so that bars begin where they should.
    pub jumps: u64,
    /// What made no sense, by reason.
    pub refused: std::collections::BTreeMap<&'static str, u64>,
    /// What came in faster than it could be taken.
    pub lost: u64,
}

/// One who may give the beat.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TempoSource {
    pub source: &'static str,
    /// silent, listening, live, lost
    pub state: &'static str,
    pub from: Option<String>,
    pub bpm: Option<f64>,
    pub confidence: f32,
}

/// OS2L.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Os2lStatus {
    /// Where programs connect.
    pub listen: String,
    pub clients: usize,
    pub beats: u64,
    /// Events that are no beats.
    pub ignored: u64,
    /// What is no OS2L.
    pub refused: u64,
}

/// Seconds of timeline ready ahead of the picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Runway {
    pub now: f64,
    pub min: f64,
    pub mean: f64,
    pub target: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputState {
    /// Connecting for the first time.
    #[default]
    Starting,
    /// What is sent arrives, as far as can be seen.
    Live,
    /// It was live and will be tried again.
    Reconnecting,
    /// Something on this machine is missing.
    Unavailable,
    /// Given up until it is started again.
    Failed,
    /// Ended, or waiting to be started again, as was asked for.
    Stopped,
}

impl OutputState {
    pub const ALL: [OutputState; 6] = [
        OutputState::Starting,
        OutputState::Live,
        OutputState::Reconnecting,
        OutputState::Unavailable,
        OutputState::Failed,
        OutputState::Stopped,
    ];

    pub fn name(self) -> &'static str {
        match self {
            OutputState::Starting => "starting",
            OutputState::Live => "live",
            OutputState::Reconnecting => "reconnecting",
            OutputState::Unavailable => "unavailable",
            OutputState::Failed => "failed",
            OutputState::Stopped => "stopped",
        }
    }
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

/// No text in it holds a secret.
#[derive(Clone, Debug, Default, Serialize)]
pub struct OutputStatus {
    /// Counted from 1; never used again in this show.
    pub id: u32,
    /// The user's name for it.
    pub name: Option<String>,
    /// `rtmp`, `srt`, `ndi`, `display`, `file`, `null`.
    pub kind: &'static str,
    pub uri: String,
    pub state: OutputState,
    /// Why it is in this state, in plain words.
    pub reason: Option<String>,
    /// Seconds that it has been in this state.
    pub since_s: f64,
    /// Seconds until it is tried again.
    pub retry_in_s: Option<f64>,
    pub frames: u64,
    pub bytes: u64,
    pub bitrate_kbps: f64,
    /// Groups of pictures that did not fit through, and pictures that were left out in all.
    pub dropped_groups: u64,
    pub dropped_frames: u64,
    pub reconnects: u64,
    /// Milliseconds of media that wait to be sent.
    pub queue_ms: u64,
    /// Files written, in order.
    pub parts: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_read_what_a_thread_recorded() {
        let timing = Timing::new();
        assert_eq!(timing.percentiles(), Percentiles::default());
        let recorder = timing.clone();
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

    #[test]
    fn every_duration_has_a_bucket_that_is_narrow() {
        for us in (0..5_000_000u64).step_by(997).chain([0, 63, 64, 65, 127, 128]) {
            let longest = longest_us(bucket(us));
            assert!(longest >= us, "{us} in a bucket up to {longest}");
            assert!(longest <= us + us / 60, "{us} in a bucket up to {longest}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }
}
