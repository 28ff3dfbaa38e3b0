//! What a running show says of itself: one [`Status`] put together from everybody's counters.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::generator::GeneratorInfo;
use super::machine;
use super::recall::Recalls;
use super::room::Room;
use super::steered::Steered;
use crate::archive;
use crate::base::telemetry::{
    Cycles, EffortStatus, Frames, Losses, MidiStatus, MotionStatus, OnAir, OscStatus, OutputState,
    OutputStatus, Phase, RecordingStatus, RingClip, RingState, Runway, SoundStatus, Status,
    SteeringStatus,
};
use crate::base::time::FrameRate;
use crate::config::output::Target;
use crate::music::{CUTS, HOLDS};
use crate::param::{self, Board, ParamId, QUANTA, REGISTRY, Value};
use crate::playout::{InRing, Mode, Place, PlayoutCounters, RingView};
use crate::prepare::MotionCounters;
use crate::ring;
use crate::show::{Load, Topic};
use crate::stream::encoding::EncodingState;
use crate::stream::live::LiveTelemetry;
use crate::stream::output::{Output, OutputInfo};
use crate::stream::picture::PictureControl;
use crate::stream::raw::Tap;

/// A problem, or its end, from any thread.
#[derive(Debug)]
pub struct Notice {
    pub topic: Topic,
    pub text: Option<String>,
}

/// The fps that are shown are those of this time.
const FPS_WINDOW: Duration = Duration::from_secs(3);

/// Prompts that are remembered.
const PROMPTS: usize = 512;

/// Where the numbers are found.
pub struct Sources {
    pub recalls: Arc<Recalls>,
    pub room: Arc<Room>,
    pub telemetry: Arc<LiveTelemetry>,
    pub playout: Arc<PlayoutCounters>,
    pub ring: triple_buffer::Output<RingView>,
    pub picture: Arc<PictureControl>,
    pub generator: Option<Arc<GeneratorInfo>>,
    pub archive: archive::Handle,
    pub runway: ring::Runway,
    pub runway_target_s: f64,
    pub fps: FrameRate,
    pub canvas: (u32, u32),
    pub encoding: Arc<EncodingState>,
    pub motion: Arc<MotionCounters>,
    pub tap: Arc<Tap>,
    pub board: Arc<Board>,
    pub steered: Arc<Steered>,
    /// `None`: no OSC.
    pub osc: Option<Arc<dyn Fn() -> OscStatus + Send + Sync>>,
    pub project: String,
    /// Time of the program's clock at which GStreamer's clock showed 0.
    pub clock_offset: i128,
}

/// What only the running show knows, when a status is put together.
pub struct Moment<'a> {
    pub now: Duration,
    pub phase: Phase,
    pub warnings: Vec<String>,
    pub effort: EffortStatus,
    pub recording: Option<&'a Output>,
    pub outputs: &'a [Arc<Output>],
}

/// Puts the status together; keeps what needs a memory.
pub struct Reporter {
    sources: Sources,
    prompts: HashMap<u32, Arc<str>>,
    sent: VecDeque<(Duration, u64)>,
    bytes: HashMap<u32, VecDeque<(Duration, u64)>>,
    runway: RunwayStatistics,
    /// Pictures that were late, and that were held or repeated, at the last look.
    missed: (u64, u64),
    /// CPU time and frames when the first frame was on air.
    cpu_base: Option<(Duration, u64)>,
    cpu_ms_per_frame: Option<f64>,
}

#[derive(Default)]
struct RunwayStatistics {
    min: f64,
    sum: f64,
    count: u64,
}

impl Reporter {
    pub fn new(sources: Sources) -> Self {
        Reporter {
            sources,
            prompts: HashMap::new(),
            sent: VecDeque::new(),
            bytes: HashMap::new(),
            runway: RunwayStatistics::default(),
            missed: (0, 0),
            cpu_base: None,
            cpu_ms_per_frame: None,
        }
    }

    pub fn set_generator(&mut self, info: Arc<GeneratorInfo>) {
        self.sources.generator = Some(info);
    }

    pub fn set_osc(&mut self, osc: Arc<dyn Fn() -> OscStatus + Send + Sync>) {
        self.sources.osc = Some(osc);
    }

    /// A clip is ready: its prompt will be asked for.
    pub fn remember_prompt(&mut self, cycle: u32, prompt: Arc<str>) {
        // What is on air or held for walking back is among the last few.
        if self.prompts.len() >= PROMPTS {
            self.prompts.retain(|known, _| known + (PROMPTS as u32) / 2 > cycle);
        }
        self.prompts.insert(cycle, prompt);
    }

    pub fn status(&mut self, moment: Moment) -> Status {
        let Moment { now, phase, warnings, effort, recording, outputs } = moment;
        self.measure_cpu();
        self.measure_runway(phase);
        let ring = self.ring();
        let sources = &self.sources;
        let sent = sources.telemetry.source.sent.get();
        let fps = rate(&mut self.sent, now, sent, FPS_WINDOW).unwrap_or(0.0);
        let bytes = &mut self.bytes;
        bytes.retain(|id, _| *id == 0 || outputs.iter().any(|output| output.id == *id));
        let mut kbps = |output: &Output| {
            let seen = bytes.entry(output.id).or_default();
            rate(seen, now, output.info.bytes.get(), FPS_WINDOW).unwrap_or(0.0) * 8.0 / 1000.0
        };
        let recording =
            recording.map(|output| recording_status(output, kbps(output), &sources.room));
        let outputs =
            outputs.iter().map(|output| output_status(output, kbps(output), now)).collect();
        let sources = &self.sources;
        let encoding = sources.encoding.info();
        let mut params = serde_json::Map::new();
        for param in REGISTRY {
            let value = match sources.board.value(param) {
                Value::Number(number) => number.into(),
                Value::Text(text) => (*text).into(),
                Value::Nothing => continue,
            };
            params.insert(param.address.into(), value);
        }
        Status {
            version: env!("CARGO_PKG_VERSION"),
            project: sources.project.clone(),
            phase,
            show_time_s: sources.picture.show_frames() as f64 * sources.fps.frame_seconds(),
            first_frame_ms: self.first_frame_ms(),
            canvas: format!("{}x{}", sources.canvas.0, sources.canvas.1),
            fps,
            target_fps: sources.fps.as_f64(),
            encoder: encoding.encoder,
            encoder_why: encoding.why,
            encoder_bitrate_kbps: encoding.bitrate_kbps,
            encoder_rebuilds: encoding.rebuilt,
            encoder_changes: encoding.changes,
            on_air: self.on_air(),
            ring,
            generating: sources.generator.as_ref().and_then(|g| g.generating(now)),
            generators: sources.generator.as_ref().map(|g| g.generators()).unwrap_or_default(),
            frames: self.frames(phase),
            motion: self.motion(),
            effort,
            cycles: self.cycles(),
            underruns: sources.playout.underruns.get(),
            runway_s: Runway {
                now: sources.runway.seconds(),
                min: self.runway.min,
                mean: self.runway.sum / self.runway.count.max(1) as f64,
                target: sources.runway_target_s,
            },
            losses: Losses {
                journal_entries: sources.playout.events_lost.get()
                    + sources.picture.receipts_lost.get()
                    + sources.archive.journal_dropped(),
                archive_writes: sources.archive.write_failures(),
                clock_breaks: sources.telemetry.source.breaks.get(),
                silent_frames: sources.telemetry.silent_frames.get(),
                output_sounds: sources.tap.sounds_dropped.get(),
            },
            lateness_ms: sources.telemetry.lateness.percentiles(),
            render_ms: sources.telemetry.render.percentiles(),
            encode_ms: sources.encoding.encode.percentiles(),
            cpu_ms_per_frame: self.cpu_ms_per_frame,
            peak_rss_mb: machine::peak_rss_mb(),
            recording,
            outputs,
            params,
            steering: SteeringStatus {
                accepted: sources.board.accepted.get(),
                refused: sources.board.refused.get(),
                replans: sources.playout.replans.get(),
                dropped_clips: sources.playout.dropped.get(),
                cycles_refused: sources.playout.refused.get(),
                latency_ms: sources.board.latency(),
                prompts: sources.steered.status(now),
            },
            osc: sources.osc.as_ref().map(|osc| osc()),
            // Whoever publishes it knows.
            midi: MidiStatus::default(),
            sound: SoundStatus::default(),
            os2l: None,
            tempo: Default::default(),
            warnings,
        }
    }

    /// Frames that the picture held so far.
    pub fn held(&self) -> u64 {
        self.sources.telemetry.source.held.get()
    }

    /// Whether something is shown again because nothing new is ready.
    pub fn replaying(&self) -> bool {
        self.sources.playout.replaying.get() > 0
    }

    /// What a cycle takes, lately, in seconds.
    pub fn cycle_takes_s(&self) -> Option<f64> {
        self.sources.generator.as_ref()?.expected_s()
    }

    fn first_frame_ms(&self) -> Option<f64> {
        let sent_ns = self.sources.telemetry.source.first_sent.get().checked_sub(1)?;
        Some((i128::from(sent_ns) + self.sources.clock_offset) as f64 / 1e6)
    }

    fn on_air(&self) -> OnAir {
        let cycle = self.sources.playout.on_air.get().checked_sub(1).map(|c| c as u32);
        let prompt = cycle.and_then(|c| self.prompts.get(&c)).map_or("", |p| p);
        let playout = &self.sources.playout;
        OnAir {
            cycle,
            prompt: prompt.into(),
            replay: self.replaying(),
            position: playout.position.get() as f64 / 1000.0,
            speed: playout.speed.get() as f64 / 1000.0,
            mode: Mode::ALL.get(playout.mode.get() as usize).map_or("", |mode| mode.name()),
            waits: self.waits(),
        }
    }

    /// What waits for the beat.
    fn waits(&self) -> Vec<String> {
        let waiting = self.sources.picture.waiting.get();
        let all = CUTS.iter().map(|id| (*id, ParamId::QuantiseCut));
        let all = all.chain(HOLDS.iter().map(|id| (*id, ParamId::QuantiseHold)));
        let waits = all.enumerate().filter(|(bit, _)| waiting & (1 << bit) != 0);
        let told = waits.map(|(_, (id, quantum))| {
            let name = param::of(id).address.rsplit('/').next().unwrap_or_default();
            let quantum = self.sources.board.number(quantum).round() as usize;
            let ends = if HOLDS.contains(&id) { " ends" } else { "" };
            format!("{name}{ends} at {}", QUANTA.get(quantum).unwrap_or(&"once"))
        });
        told.chain(self.sources.recalls.waits()).collect()
    }

    /// What the ring holds, as the timeline said it last.
    fn ring(&mut self) -> Vec<RingClip> {
        let position = self.sources.playout.position.get() as f64 / 1000.0;
        let clips = self.sources.ring.read().clips().iter();
        let mut ring: Vec<RingClip> = clips
            .map(|InRing { cycle, place, seconds }| RingClip {
                cycle: *cycle,
                state: match place {
                    Place::Played => RingState::Played,
                    Place::OnAir => RingState::OnAir,
                    Place::Ready => RingState::Ready,
                },
                seconds: f64::from(*seconds),
                progress: (*place == Place::OnAir).then_some(position),
                prompt: cycle.and_then(|c| self.prompts.get(&c)).map_or("", |p| p).into(),
            })
            .collect();
        ring.extend(self.to_come(ring.iter().filter_map(|clip| clip.cycle).max()));
        ring
    }

    /// What is on its way to the ring, in the making, and planned; `last`: the newest in the ring.
    fn to_come(&self, last: Option<u32>) -> Vec<RingClip> {
        let Some(generator) = &self.sources.generator else { return Vec::new() };
        let mut coming: Vec<RingClip> = Vec::new();
        for clip in generator.waiting(last) {
            coming.push(RingClip {
                cycle: Some(clip.cycle),
                state: RingState::Waiting,
                seconds: clip.seconds,
                progress: None,
                prompt: (*clip.prompt).into(),
            });
        }
        for (cycle, prompt, done) in generator.in_the_making() {
            coming.push(RingClip {
                cycle: Some(cycle),
                state: RingState::Making,
                seconds: 0.0,
                progress: done.map(f64::from),
                prompt,
            });
        }
        if self.sources.steered.is_planned() {
            coming.push(RingClip { state: RingState::Planned, ..RingClip::default() });
        }
        coming
    }

    fn frames(&self, phase: Phase) -> Frames {
        let source = &self.sources.telemetry.source;
        let (drawn, interpolated) = (source.source.get(), source.interpolated.get());
        let (blended, held) = (source.blended.get(), source.held.get());
        let encoding = &self.sources.encoding;
        // While frames are on their way through the encoder, they are not missing.
        let dropped = match phase {
            Phase::Ended => source.sent.get().saturating_sub(encoding.frames_out.get()),
            _ => 0,
        };
        Frames {
            rendered: drawn + interpolated + blended + held,
            source: drawn,
            interpolated,
            blended,
            held,
            repeated: encoding.repeated.get(),
            dropped,
            late: source.late.get(),
        }
    }

    fn motion(&self) -> MotionStatus {
        let motion = &self.sources.motion;
        MotionStatus {
            found: motion.found.get(),
            fast: motion.fast.get(),
            late: motion.late.get(),
            cuts: motion.cuts.get(),
            repeats: motion.repeats.get(),
            pair_ms: motion.took.percentiles(),
        }
    }

    /// How busy the machine is since this was asked last.
    pub fn load(&mut self) -> Load {
        let (source, encoding) = (&self.sources.telemetry.source, &self.sources.encoding);
        let (late, lost) = (source.late.get(), source.held.get() + encoding.repeated.get());
        let (late_before, lost_before) = std::mem::replace(&mut self.missed, (late, lost));
        Load {
            waiting: encoding.waiting.take(),
            late: late - late_before,
            lost: lost - lost_before,
        }
    }

    fn cycles(&self) -> Cycles {
        let playout = &self.sources.playout;
        let generator = self.sources.generator.as_deref();
        Cycles {
            generated: generator.map_or(0, |g| g.generated.get()),
            played: playout.played.get(),
            replayed: playout.replayed.get(),
            stand_in: playout.stand_in.get(),
            failed: generator.map_or(0, |g| g.failed.get()),
        }
    }

    fn measure_cpu(&mut self) {
        let frames = self.sources.telemetry.source.sent.get();
        let Some(cpu) = machine::cpu_time().filter(|_| frames > 0) else { return };
        let (base_cpu, base_frames) = *self.cpu_base.get_or_insert((cpu, frames));
        if frames > base_frames {
            let spent_ms = (cpu - base_cpu).as_secs_f64() * 1000.0;
            self.cpu_ms_per_frame = Some(spent_ms / (frames - base_frames) as f64);
        }
    }

    /// From the first cycle on air to the end; before, there is no runway to speak of.
    fn measure_runway(&mut self, phase: Phase) {
        if phase != Phase::Live || self.sources.playout.played.get() == 0 {
            return;
        }
        let now = self.sources.runway.seconds();
        let statistics = &mut self.runway;
        statistics.min = if statistics.count == 0 { now } else { statistics.min.min(now) };
        statistics.sum += now;
        statistics.count += 1;
    }
}

pub fn output_status(output: &Output, bitrate_kbps: f64, now: Duration) -> OutputStatus {
    let (spec, info) = (&output.spec, &output.info);
    let state = info.now();
    OutputStatus {
        id: output.id,
        name: spec.name.clone(),
        kind: spec.kind(),
        uri: spec.shown(),
        state: state.state,
        reason: state.reason,
        since_s: now.saturating_sub(state.since).as_secs_f64(),
        retry_in_s: state.retry_at.map(|at| at.saturating_sub(now).as_secs_f64()),
        frames: info.frames.get(),
        bytes: info.bytes.get(),
        bitrate_kbps,
        dropped_groups: info.dropped_groups.get(),
        dropped_frames: info.dropped_frames.get(),
        reconnects: info.reconnects.get(),
        queue_ms: queue_ms(info, bitrate_kbps),
        parts: paths(&info.parts()),
    }
}

/// What waits within the output, or before its thread, as media at the present bitrate.
fn queue_ms(info: &OutputInfo, bitrate_kbps: f64) -> u64 {
    let before = info.queue_bytes() as f64 * 8.0;
    info.queue_ms.get() + if bitrate_kbps > 1.0 { (before / bitrate_kbps) as u64 } else { 0 }
}

fn paths(paths: &[std::path::PathBuf]) -> Vec<String> {
    paths.iter().map(|path| path.display().to_string()).collect()
}

fn recording_status(output: &Output, bitrate_kbps: f64, room: &Room) -> RecordingStatus {
    let parts = paths(&output.info.parts());
    let path = match &output.spec.target {
        Target::File { path, .. } => path.display().to_string(),
        _ => String::new(),
    };
    let room_s = room
        .free_bytes(std::path::Path::new(&path))
        .filter(|_| bitrate_kbps > 0.0 && output.info.state() == OutputState::Live)
        .map(|free| free as f64 * 8.0 / 1000.0 / bitrate_kbps);
    RecordingStatus {
        path,
        state: output.info.state(),
        frames: output.info.frames.get(),
        bytes: output.info.bytes.get(),
        bitrate_kbps,
        parts,
        error: output.info.error(),
        room_s,
    }
}

/// What a counter grew by per second over the last `window`.
fn rate(
    seen: &mut VecDeque<(Duration, u64)>,
    now: Duration,
    value: u64,
    window: Duration,
) -> Option<f64> {
    while seen.front().is_some_and(|(at, _)| *at + window < now) {
        seen.pop_front();
    }
    // Another recording counts from nothing.
    if seen.back().is_some_and(|(_, last)| *last > value) {
        seen.clear();
    }
    seen.push_back((now, value));
    let (then, before) = *seen.front()?;
    let elapsed = now.checked_sub(then).filter(|d| *d > Duration::ZERO)?;
    Some((value - before) as f64 / elapsed.as_secs_f64())
}
