//! The parts that a show is put together from, one function each.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::Play;
use super::generator;
use super::report::Notice;
use super::steered::{Arrival, Steered};
use crate::archive;
use crate::archive::beats::{self, Gathered};
use crate::archive::journal::{self, Event as JournalEvent};
use crate::base::clock::Clock;
use crate::base::error::{Error, Result};
use crate::base::time::FrameRate;
use crate::config::{Config, Live};
use crate::generate::mock;
use crate::media::{Clip, CycleId, Grown, Origin, PreparedClip, VideoFormat};
use crate::param::{self, Accepted, Board, REGISTRY, Value, Values};
use crate::playout::{Role, ShotEvent};
use crate::prepare::{self, MotionWork, Outcome, Preparer};
use crate::ring::Feeder;
use crate::show::Topic;
use crate::stream::beat::MusicFrame;
use crate::stream::clip::GstClipDecoder;
use crate::stream::picture::Receipt;

/// Memory of a show beside its clips, measured: the libraries, the encoder and its buffers, a
/// cycle being painted, encoded and decoded, what the allocators keep.
const BESIDE_CLIPS_MB: u32 = 430;
/// Clips get this much at least.
const LEAST_CLIPS_MB: u32 = 60;
/// Size and length of the stand-in: soft on the canvas, and painted before anybody waits.
const STAND_IN: (u32, u32, u32) = (320, 180, 24);

/// What of the music came before a pause as long as this is entered in the journal.
const MUSIC_WAITS: Duration = Duration::from_secs(1);

/// Bytes of prepared clips that a show may hold.
pub fn clip_bytes(config: &Config) -> usize {
    let clips_mb = config.live.memory_mb.saturating_sub(BESIDE_CLIPS_MB).max(LEAST_CLIPS_MB);
    warn_of_large_clips(config, clips_mb);
    clips_mb as usize * 1_000_000
}

/// Says when two clips, the least that a join needs, do not fit into the memory.
fn warn_of_large_clips(config: &Config, clips_mb: u32) {
    let generation = &config.generation;
    let pixels = u64::from(generation.width) * u64::from(generation.height);
    let clip_mb = (pixels * 3 / 2 * u64::from(generation.video_frames) / 1_000_000) as u32;
    if clip_mb.saturating_mul(2) > clips_mb {
        tracing::warn!(
            "live.memory_mb: a clip takes {clip_mb} MB and there is room for {clips_mb} MB of \
             clips, so the next one cannot wait while one is on air; set it to at least {}",
            BESIDE_CLIPS_MB + clip_mb * 4
        );
    }
}

pub fn project_name(name: &Option<String>, folder: &Path) -> String {
    name.clone().unwrap_or_else(|| folder.display().to_string())
}

/// The picture before the first cycle.
pub fn stand_in(prompt: &str, seed: i64) -> Arc<PreparedClip> {
    let (width, height, frames) = STAND_IN;
    let frames = mock::stand_in(prompt, seed, width, height, frames);
    let format = VideoFormat { width, height, fps: FrameRate::whole(8) };
    let clip = Clip {
        cycle: CycleId(0),
        path: Default::default(),
        format,
        frames: frames.len() as u32,
        prompt: prompt.into(),
    };
    Arc::new(PreparedClip::without_repeats((Origin::StandIn, clip, false), frames, 0))
}

/// Starts the worker; the second value closes when it has ended.
pub fn start_preparing(
    feeder: Feeder,
    motion: Option<MotionWork>,
    notices: Sender<Notice>,
    ready: Sender<Clip>,
    archive: archive::Handle,
) -> Result<(Preparer, Receiver<()>)> {
    let (running, ended) = bounded(0);
    let outcomes = move |outcome| {
        let _ = &running;
        match outcome {
            Outcome::Ready(clip) => {
                // Only a prompt on the screen is lost when the main loop is busy.
                let _ = ready.try_send(clip);
            }
            Outcome::Unused(cycle) => archive.journal(JournalEvent::Cycle {
                cycle: cycle.0,
                status: journal::CycleStatus::Unused,
                seconds: None,
                reason: Some("another came in its place".into()),
            }),
            Outcome::Failed(clip, error) => {
                let text = Some(format!("cycle {} cannot be shown: {error}", clip.cycle));
                let _ = notices.try_send(Notice { topic: Topic::Clip, text });
            }
        }
    };
    let decoder = Arc::new(GstClipDecoder);
    let preparer =
        prepare::start(feeder, decoder, motion, crate::stream::background_thread, outcomes)?;
    Ok((preparer, ended))
}

/// Feeds a prepared set, over and over. The thread ends with the playout.
pub fn start_playing(
    cycles: Vec<archive::PlayableCycle>,
    play: Play,
    config: Config,
    preparer: Preparer,
) -> Result<()> {
    let feed = move || {
        loop {
            for cycle in &cycles {
                if preparer
                    .prepare(generator::archived(cycle, &config, Origin::Cycle, false))
                    .is_err()
                {
                    return;
                }
            }
            if play == Play::Bounce {
                for cycle in cycles.iter().rev() {
                    let job = generator::archived(cycle, &config, Origin::Cycle, true);
                    if preparer.prepare(job).is_err() {
                        return;
                    }
                }
            }
        }
    };
    std::thread::Builder::new()
        .name("play".into())
        .spawn(feed)
        .map(drop)
        .map_err(|e| Error::internal("cannot start playing").with_source(e))
}

/// A change of what is on air, as the journal says it.
pub fn journal_shot(event: ShotEvent) -> journal::Shot {
    journal::Shot {
        frame: event.frame,
        cycle: event.cycle,
        role: match event.role {
            Role::Fresh => journal::Role::Fresh,
            Role::Replay => journal::Role::Replay,
            Role::StandIn => journal::Role::StandIn,
        },
        position: event.position,
        speed: event.speed,
        playhead: (event.playhead != event.frame as f64).then_some(event.playhead),
        turn_frames: event.turn_frames,
        leaving: event.leaving,
        fade_frames: event.fade_frames,
        clip: Some(event.clip),
        reversed: event.reversed,
        grown: event.grown.map(|Grown { cycle, reversed, frames, at, .. }| journal::Grown {
            cycle: cycle.0,
            reversed,
            frames,
            at,
        }),
    }
}

/// What of the music is not a whole entry yet waits in `music`.
pub fn journal_receipt(receipt: Receipt, music: &mut Gathered) -> Option<JournalEvent> {
    match receipt {
        Receipt::Applied { frame, generation, .. } => {
            Some(JournalEvent::ParamApplied { frame, generation })
        }
        Receipt::Held { frame, frames } => Some(JournalEvent::Held { frame, frames }),
        Receipt::OnBeat { frame, id } => {
            Some(JournalEvent::OnBeat { frame, address: param::of(id).address.into() })
        }
        Receipt::Music(MusicFrame { frame, beat, bend, heard, used }) => {
            let frame = beats::Frame { frame, beat, bend, heard };
            music.add(frame, used.signals).map(JournalEvent::Music)
        }
    }
}

/// A change as the journal says it.
pub fn journal_change(accepted: &Accepted) -> JournalEvent {
    let (value, text) = match &accepted.value {
        Value::Number(number) => (f64::from(*number), None),
        Value::Text(text) => (0.0, Some(text.to_string())),
        Value::Nothing => (0.0, None),
    };
    JournalEvent::Param {
        address: accepted.param.address.into(),
        value,
        text,
        fade_ms: (accepted.fade_ms > 0.0).then_some(accepted.fade_ms),
        source: accepted.from.source.to_string(),
        generation: accepted.generation,
    }
}

/// The second receipt of a change that applies to cycles.
fn journal_arrival(arrival: &Arrival) -> JournalEvent {
    JournalEvent::Steered {
        generation: arrival.generation,
        cycle: arrival.cycle,
        frame: arrival.frame,
        seconds: arrival.took.as_secs_f64(),
    }
}

/// How the journal begins a session: all that what is on air is made of, beside clips.
pub fn session_start(
    session: String,
    live: &Live,
    stand_in: journal::StandIn,
    params: &Values,
) -> JournalEvent {
    JournalEvent::SessionStart {
        session,
        version: env!("CARGO_PKG_VERSION").into(),
        canvas: format!("{}x{}", live.canvas.0, live.canvas.1),
        fps: live.fps.to_string(),
        fit: Some(live.fit),
        interpolation: Some(live.interpolation),
        flash_limit: Some(live.flash_limit),
        stand_in: Some(stand_in),
        params: REGISTRY
            .iter()
            .filter(|param| param.is_number())
            .map(|param| (param.address.to_owned(), f64::from(params[param.id])))
            .collect(),
    }
}

/// Carries what the render thread says into the journal.
pub fn spawn_journal(
    shots: Receiver<ShotEvent>,
    receipts: Receiver<Receipt>,
    (board, steered): (Arc<Board>, Arc<Steered>),
    clock: Arc<dyn Clock>,
    archive: archive::Handle,
) -> Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name("journal".into())
        .spawn(move || {
            let (mut shots, mut receipts) = (shots, receipts);
            let mut music = Gathered::default();
            let never = crossbeam_channel::never();
            let mut open = 2;
            // Ends when the render thread has dropped both of its ends.
            while open > 0 {
                crossbeam_channel::select! {
                    recv(shots) -> event => match event {
                        Ok(event) => {
                            archive.journal(JournalEvent::Shot(journal_shot(event)));
                            if let (Role::Fresh, Some(cycle)) = (event.role, event.cycle) {
                                let now = clock.now();
                                for arrival in steered.on_air(cycle, event.frame, now) {
                                    archive.journal(journal_arrival(&arrival));
                                }
                            }
                        }
                        Err(_) => { shots = never_shots(); open -= 1; }
                    },
                    recv(receipts) -> receipt => match receipt {
                        Ok(receipt) => {
                            if let Receipt::Applied { frame, generation, at } = receipt {
                                board.applied(generation, frame, at);
                            }
                            if let Some(event) = journal_receipt(receipt, &mut music) {
                                archive.journal(event);
                            }
                        }
                        Err(_) => { receipts = never.clone(); open -= 1; }
                    },
                    default(MUSIC_WAITS) => {
                        if let Some(rest) = music.take() {
                            archive.journal(JournalEvent::Music(rest));
                        }
                    }
                }
            }
            if let Some(rest) = music.take() {
                archive.journal(JournalEvent::Music(rest));
            }
        })
        .map_err(|e| Error::internal("cannot start the journal").with_source(e))
}

fn never_shots() -> Receiver<ShotEvent> {
    crossbeam_channel::never()
}
