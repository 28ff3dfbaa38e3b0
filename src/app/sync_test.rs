//! Flash and beep through the whole chain, and how far apart they are in a recording.
//!
//! The flash is drawn by the source of pictures; the beep is captured as from a sound card with a
//! clock of its own. It passes the resampler, the ring, the strip, the encoder and the muxer.
//!
//! Holds: what is measured is what is in the file, by the timestamps that a player goes by.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::audio::{self, Shared};
use crate::base::clock::Clock;
use crate::base::error::{Error, Kind, Result};
use crate::base::time::FrameRate;
use crate::config::{Encoder, OutputSpec};
use crate::media::FrameMut;
use crate::render::Rendered;
use crate::stream::capture::{self, Capture, Wanted};
use crate::stream::encoding::{EncodeSettings, Encoding, ladder};
use crate::stream::flashes;
use crate::stream::live::{End, LivePipeline, LiveTelemetry};
use crate::stream::output::{Chapters, Encode, Feeds, Output, Outputs};
use crate::stream::raw::Tap;
use crate::stream::sound::{SoundFeed, SoundIn, SoundOut};
use crate::stream::source::{Drawn, FrameSource, SourceSetup};

/// What is further apart than this is seen.
pub const LIMIT_MS: f64 = 20.0;
/// A flash and a beep that are further apart do not belong together.
const TOGETHER_S: f64 = 0.45;
/// How many at each end of a file are looked at.
const AT_AN_END: usize = 3;
const CANVAS: (u32, u32) = (640, 360);
/// How long a flash lasts.
const FLASH_S: f64 = 0.06;
const PATIENCE: Duration = Duration::from_millis(100);
const END_LIMIT: Duration = Duration::from_secs(10);

/// What is played.
pub struct Playing {
    pub length: Duration,
    /// How far the card's clock is off, in millionths.
    pub ppm: f64,
    pub recording: PathBuf,
    pub outputs: Vec<OutputSpec>,
}

/// How much later beeps are than their flashes, in ms.
#[derive(Clone, Debug, PartialEq)]
pub struct Apart {
    pub at_start_ms: f64,
    pub at_end_ms: f64,
    /// The furthest of all, with its sign.
    pub most_ms: f64,
    pub pairs: usize,
}

impl Apart {
    pub fn is_in_sync(&self) -> bool {
        [self.at_start_ms, self.at_end_ms, self.most_ms].iter().all(|ms| ms.abs() <= LIMIT_MS)
    }
}

/// Measures a recording of flashes and beeps.
///
/// # Errors
/// Names the file: it cannot be read, or it neither flashes nor beeps.
pub fn measure(path: &Path) -> Result<Apart> {
    let (flashes, beeps) = (flashes::flashes(path)?, flashes::beeps(path)?);
    let apart: Vec<f64> = flashes
        .iter()
        .filter_map(|flash| {
            let apart = beeps.iter().map(|beep| beep - flash);
            apart.min_by(|a, b| a.abs().total_cmp(&b.abs())).filter(|s| s.abs() < TOGETHER_S)
        })
        .map(|seconds| seconds * 1000.0)
        .collect();
    if apart.len() < 2 || apart.len() + 2 < flashes.len().max(beeps.len()) {
        return Err(Error::new(
            Kind::Io,
            format!(
                "{}: {} flashes and {} beeps, {} of them together; it is no whole recording of a \
                 sync test",
                path.display(),
                flashes.len(),
                beeps.len(),
                apart.len()
            ),
        ));
    }
    let mean = |some: &[f64]| some.iter().sum::<f64>() / some.len() as f64;
    let ends = AT_AN_END.min(apart.len() / 2).max(1);
    Ok(Apart {
        at_start_ms: mean(&apart[..ends]),
        at_end_ms: mean(&apart[apart.len() - ends..]),
        most_ms: apart.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or(0.0),
        pairs: apart.len(),
    })
}

/// Plays into a recording and outputs, in real time. `tell` is given a line now and then.
///
/// # Errors
/// A missing element, or what went wrong with the recording.
pub fn play(
    playing: Playing,
    clock: Arc<dyn Clock>,
    stop: &AtomicBool,
    tell: &mut dyn FnMut(String),
) -> Result<()> {
    let fps = FrameRate::whole(60);
    let settings = EncodeSettings {
        canvas: CANVAS,
        fps,
        bitrate_kbps: 2000,
        keyframe_seconds: 2.0,
        preset: None,
        lean: false,
        view: Default::default(),
    };
    let choice = ladder::choose(&[Encoder::X264, Encoder::OpenH264], &settings)?;
    let (tap, sound_out) = (Tap::new(), SoundOut::new());
    let mut encoding = Encoding::start(settings, choice, &Arc::default(), &tap, &sound_out)?;
    let (fanout, state) = (encoding.fanout().clone(), encoding.state().clone());

    let (writer, reader) = audio::ring();
    let shared = Arc::new(Shared::default());
    let capture = Capture::start(capture::Setup {
        wanted: Wanted::Beep { ppm: playing.ppm },
        clock: clock.clone(),
        shared: shared.clone(),
        writer: Some(writer),
        listener: None,
    })?;
    let telemetry = Arc::new(LiveTelemetry::default());
    let frames = fps.frames_in(playing.length.as_nanos() as u64);
    let over = Arc::new(AtomicBool::new(false));
    let sound_in = SoundIn { reader, shared };
    let pipeline = {
        let (clock, over) = (clock.clone(), over.clone());
        let source = |sound: SoundFeed| SourceSetup {
            canvas: CANVAS,
            fps,
            frames: Box::new(Flashing { sound, fps, frames, clock, over }),
            counters: telemetry.source.clone(),
            encoder_ready: Box::new(move || state.frames_in.get() > 0),
            lateness: telemetry.lateness.clone(),
            render: telemetry.render.clone(),
        };
        LivePipeline::build(fps, Some(sound_in), &tap, &sound_out, &telemetry, source)?
    };
    let feeds = Feeds {
        encode: Encode::This(fanout),
        tap: tap.clone(),
        picture: (CANVAS, fps),
        clock: clock.clone(),
    };
    let path = playing.recording.clone();
    let same = path.clone();
    let part_name = Box::new(move |part: u32| match part {
        1 => same.clone(),
        part => same.with_extension(format!("part{part}.mp4")),
    });
    let recording = Output::record(path, part_name, true, Chapters::default(), &feeds)?;
    let outputs = Outputs::new(feeds);
    for output in playing.outputs {
        outputs.add(output)?;
    }
    pipeline.start()?;
    let mut told = clock.now();
    let ended = loop {
        match pipeline.poll_end(PATIENCE) {
            Some(End::Finished) => break Ok(()),
            Some(End::Failed(error)) => break Err(error),
            None => {}
        }
        if stop.load(Ordering::Relaxed) {
            over.store(true, Ordering::Relaxed);
        }
        if clock.now() > told + Duration::from_secs(5) {
            told = clock.now();
            let now = capture.now();
            tell(format!(
                "drift {:+.0} ppm, sound {:+.2} ms off its place",
                now.drift_ppm, now.error_ms
            ));
        }
    };
    let drained = encoding.close(END_LIMIT);
    let outputs = outputs.end();
    let finished = recording.join(END_LIMIT);
    for output in &outputs {
        if !output.join(END_LIMIT) {
            tell(format!("{} did not end in time", output.spec.shown()));
        }
    }
    drop(pipeline);
    ended?;
    match recording.info.error() {
        Some(error) => Err(Error::new(Kind::Io, format!("the recording has failed: {error}"))),
        None if !(drained && finished) => Err(Error::internal("the recording did not end in time")),
        None => Ok(()),
    }
}

/// White as each second begins, else dark.
struct Flashing {
    sound: SoundFeed,
    fps: FrameRate,
    frames: u64,
    clock: Arc<dyn Clock>,
    over: Arc<AtomicBool>,
}

impl FrameSource for Flashing {
    fn is_over(&mut self, n: u64) -> bool {
        n >= self.frames || self.over.load(Ordering::Relaxed)
    }

    fn draw(&mut self, n: u64, out: &mut FrameMut<'_>) -> Drawn {
        self.sound.due(n, self.clock.now());
        let seconds = self.fps.pts_ns(n) as f64 / 1e9 + 1e-6;
        // As the beep: not before the first whole second.
        let flashes = seconds >= 1.0 && seconds.fract() < FLASH_S;
        out.y.data.fill(if flashes { 235 } else { 16 });
        out.u.data.fill(128);
        out.v.data.fill(128);
        Drawn { rendered: Rendered::Source, mark: n == 0 }
    }

    fn sent(&mut self, n: u64) {
        self.sound.send(n, true);
    }

    fn ended(&mut self, frames: u64) {
        self.sound.end(frames);
    }
}
