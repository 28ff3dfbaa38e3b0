//! The show as HTTP sees it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use crossbeam_channel::Sender;

use super::ears::Shown;
use super::generator::GeneratorInfo;
use super::library::Library;
use super::presets::Presets;
use super::sound::Sound;
use super::{Command, report};
use crate::archive;
use crate::archive::journal::{self, OutputAction};
use crate::base::clock::Clock;
use crate::base::error::{Error, Result};
use crate::base::telemetry::{OutputState, OutputStatus, Phase, Status};
use crate::config::output::OutputSpec;
use crate::config::preset::{Preset, PresetKind};
use crate::control::{CycleEntry, CyclePage, Desk, Music, OutputChange};
use crate::media::Frame;
use crate::music::TempoCell;
use crate::param::{self, Board, Change, From, Op, ParamId};
use crate::render;
use crate::steer::midi;
use crate::stream::output::{Output, Outputs, Wish};
use crate::stream::picture::PictureControl;

/// JPEG quality of the preview: 20 KB of a busy picture, where 80 takes half as much again.
const QUALITY: u8 = 70;

pub struct ShowDesk {
    pub status: ArcSwap<Status>,
    board: Arc<Board>,
    presets: Arc<Presets>,
    preview: Mutex<Preview>,
    commands: Sender<Command>,
    archive: archive::Handle,
    outputs: Arc<Outputs>,
    clock: Arc<dyn Clock>,
    generator: OnceLock<Arc<GeneratorInfo>>,
    library: Library,
    midi: OnceLock<Arc<midi::Handle>>,
    music: OnceLock<MusicSeen>,
}

/// Where the music is seen.
pub struct MusicSeen {
    pub tempo: Arc<TempoCell>,
    pub heard: Arc<Shown>,
    pub sound: Arc<Sound>,
    pub picture: Arc<PictureControl>,
}

struct Preview {
    newest: triple_buffer::Output<Frame>,
    jpeg: Option<Arc<[u8]>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl ShowDesk {
    pub fn new(
        board: Arc<Board>,
        presets: Arc<Presets>,
        preview: triple_buffer::Output<Frame>,
        commands: Sender<Command>,
        archive: archive::Handle,
        outputs: Arc<Outputs>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        ShowDesk {
            status: ArcSwap::default(),
            board,
            presets,
            preview: Mutex::new(Preview { newest: preview, jpeg: None }),
            commands,
            library: Library::new(archive.clone()),
            archive,
            outputs,
            clock,
            generator: OnceLock::new(),
            midi: OnceLock::new(),
            music: OnceLock::new(),
        }
    }

    /// Who makes the cycles of this show.
    pub fn set_generator(&self, info: Arc<GeneratorInfo>) {
        // A show has one.
        let _ = self.generator.set(info);
    }

    pub fn set_midi(&self, midi: Arc<midi::Handle>) {
        // A show has one.
        let _ = self.midi.set(midi);
    }

    pub fn set_music(&self, music: MusicSeen) {
        // A show has one.
        let _ = self.music.set(music);
    }

    pub fn toggle_blackout(&self, source: &str) {
        let from = From { source: source.into(), received: self.clock.now() };
        // A switch can always be turned.
        let _ = self.board.apply(&Change::new(param::of(ParamId::Blackout), Op::Toggle), &from);
    }
}

impl ShowDesk {
    /// Has every output that is off the air, other than by a wish, connect now.
    pub fn retry_outputs(&self, source: &str) {
        for output in self.outputs.list() {
            let now = output.info.now();
            let waits = match now.state {
                OutputState::Reconnecting | OutputState::Unavailable | OutputState::Failed => true,
                OutputState::Starting => now.retry_at.is_some(),
                OutputState::Live | OutputState::Stopped => false,
            };
            if waits {
                output.wish(Wish::Retry);
                self.journal_output(&output, OutputAction::Retry, source);
            }
        }
    }

    /// How it is now. The bitrate takes a while to measure, and comes from the last status.
    fn output_status(&self, output: &Output) -> OutputStatus {
        let status = self.status.load();
        let last = status.outputs.iter().find(|known| known.id == output.id);
        let bitrate_kbps = last.map_or(0.0, |known| known.bitrate_kbps);
        report::output_status(output, bitrate_kbps, self.clock.now())
    }

    fn journal_output(&self, output: &Output, action: OutputAction, source: &str) {
        self.archive.journal(journal::Event::Output {
            output: output.id,
            action,
            uri: output.spec.shown(),
            name: output.spec.name.clone(),
            source: source.into(),
        });
    }
}

impl Desk for ShowDesk {
    fn music(&self) -> Music {
        let Some(seen) = self.music.get() else { return Music::default() };
        let (tempo, heard, levels) = (seen.tempo.get(), seen.heard.signals(), seen.sound.levels());
        Music {
            beat: tempo.beat_at(self.clock.now().as_secs_f64()),
            bpm: tempo.bpm,
            beats_per_bar: tempo.beats_per_bar,
            source: tempo.source.name(),
            confidence: tempo.confidence,
            section: heard.section,
            peak_db: levels.peak,
            rms_db: levels.rms,
            signals: heard.values,
            modulators: seen.picture.modulators(),
        }
    }

    fn status(&self) -> Arc<Status> {
        self.status.load_full()
    }

    fn go(&self) -> Result<bool> {
        let standing_by = self.status.load().phase == Phase::Standby;
        if standing_by {
            // A full queue holds a go already.
            let _ = self.commands.try_send(Command::Go);
        }
        Ok(standing_by)
    }

    fn board(&self) -> &Arc<Board> {
        &self.board
    }

    fn now(&self) -> Duration {
        self.clock.now()
    }

    fn outputs(&self) -> Vec<OutputStatus> {
        self.outputs.list().iter().map(|output| self.output_status(output)).collect()
    }

    fn output(&self, key: &str) -> Result<OutputStatus> {
        Ok(self.output_status(&*self.outputs.find(key)?))
    }

    fn add_output(&self, spec: OutputSpec, source: &str) -> Result<OutputStatus> {
        let output = self.outputs.add(spec)?;
        self.journal_output(&output, OutputAction::Add, source);
        Ok(self.output_status(&output))
    }

    fn change_output(&self, key: &str, change: OutputChange, source: &str) -> Result<OutputStatus> {
        if matches!(self.status.load().phase, Phase::Draining | Phase::Ended) {
            return Err(Error::unavailable("the show is ending; its outputs end with it"));
        }
        let output = self.outputs.find(key)?;
        let before = self.output_status(&output);
        let action = match change {
            OutputChange::Stop => {
                output.wish(Wish::Stop(None));
                OutputAction::Stop
            }
            OutputChange::Start => {
                output.wish(Wish::Retry);
                OutputAction::Start
            }
            OutputChange::Retry => {
                output.wish(Wish::Retry);
                OutputAction::Retry
            }
            OutputChange::Remove => {
                self.outputs.remove(output.id);
                OutputAction::Remove
            }
        };
        self.journal_output(&output, action, source);
        Ok(before)
    }

    fn cycles(&self, before: Option<u32>, most: usize) -> Result<CyclePage> {
        self.library.page(before, most)
    }

    fn cycle(&self, cycle: u32) -> Result<CycleEntry> {
        self.library.cycle(cycle)
    }

    fn cycle_video(&self, cycle: u32) -> Result<PathBuf> {
        self.library.video(cycle)
    }

    fn thumbnail(&self, cycle: u32) -> Result<Arc<[u8]>> {
        self.library.thumbnail(cycle)
    }

    fn recordings(&self) -> Vec<archive::Recording> {
        self.archive.state().recordings
    }

    fn presets(&self) -> Vec<Preset> {
        self.presets.list()
    }

    fn save_preset(&self, name: &str, kind: PresetKind, title: &str, over: bool) -> Result<Preset> {
        self.presets.save(name, kind, title, over)
    }

    fn remove_preset(&self, name: &str) -> Result<()> {
        self.presets.remove(name)
    }

    fn midi(&self) -> Option<Arc<midi::Handle>> {
        self.midi.get().cloned()
    }

    fn making_picture(&self) -> Option<Arc<[u8]>> {
        self.generator.get()?.preview()
    }

    fn preview_jpeg(&self) -> Option<Arc<[u8]>> {
        let mut preview = lock(&self.preview);
        if preview.newest.update() {
            match render::jpeg(preview.newest.output_buffer(), QUALITY) {
                Ok(jpeg) => preview.jpeg = Some(jpeg.into()),
                Err(error) => tracing::debug!("no preview: {error}"),
            }
        }
        preview.jpeg.clone()
    }

    fn healthy(&self) -> std::result::Result<(), String> {
        let status = self.status.load();
        match status.phase {
            Phase::Draining | Phase::Ended => Err("the show is ending".into()),
            _ if status.first_frame_ms.is_none() => Err("no picture has been sent yet".into()),
            _ if status.fps < status.target_fps / 2.0 => Err(format!(
                "the picture runs at {:.0} of {:.0} fps",
                status.fps, status.target_fps
            )),
            _ => Ok(()),
        }
    }
}
