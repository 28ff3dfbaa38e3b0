//! A show from its start to its end: starts the parts in order, runs the director, and takes the
//! parts down in order.

mod steer;
mod watch;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::awake::keep_awake;
use super::desk::{MusicSeen, ShowDesk};
use super::ears::{Ears, Shown};
use super::generator::{self, Generator, GeneratorInfo, Steer};
use super::music::Music;
use super::overlays;
use super::prepare_show::{Material, Show};
use super::presets::Presets;
use super::recall::{self, Recalls};
use super::recorder::Recorder;
use super::report::{Moment, Notice, Reporter, Sources};
use super::room::Room;
use super::sound::{Reading, Sound};
use super::steered::Steered;
use super::{Command, Surroundings, parts, runtime};
use crate::archive::journal::{self, Event as JournalEvent};
use crate::archive::{self, Archive};
use crate::base::clock::Clock;
use crate::base::effort::PresentEffort;
use crate::base::error::{Error, Result};
use crate::base::summary::Summary;
use crate::base::telemetry::{EffortStatus, EncoderChange, OutputState, Phase, Status};
use crate::config::output::Target;
use crate::config::{Config, Interpolation, JoinKind};
use crate::control::{self, Desk};
use crate::cycle::{self, Workshop};
use crate::generate::LookAhead;
use crate::llm::Ahead;
use crate::media::{Clip, CycleId, Frame, Origin};
use crate::music::Section;
use crate::param::{self, Accepted, Applies, Change, From, Op, ParamId, REGISTRY, Smoother, Value};
use crate::playout::{PlayoutCounters, RingView, Timeline, TimelineSettings};
use crate::prepare::{MotionCounters, MotionWork};
use crate::render::{self, Renderer};
use crate::ring::{self, Capacity, Starter};
use crate::show::{Director, Effect, Event, Ladder, Topic};
use crate::steer::midi::{self, Midi};
use crate::steer::os2l::Os2l;
use crate::steer::osc::Osc;
use crate::stream::beat::{Hearing, OnBeat};
use crate::stream::clip::{GstClipDecoder, GstClipEncoder};
use crate::stream::encoding::EncodeSettings;
use crate::stream::encodings::{AdaptSettings, Adapted, Encodings};
use crate::stream::live::{End, LivePipeline, LiveTelemetry};
use crate::stream::output::{Encode, Feeds, Outputs, Wish};
use crate::stream::picture::{Picture, PictureControl};
use crate::stream::raw::Tap;
use crate::stream::sound::{SoundFeed, SoundOut};
use crate::stream::source::SourceSetup;

/// How often the status is put together.
const STATUS_EVERY: Duration = Duration::from_millis(250);
/// How often the disk is looked at.
const DISK_EVERY: Duration = Duration::from_secs(1);
/// The main loop's patience.
const TICK: Duration = Duration::from_millis(50);
/// From the wish to end to everything encoded; then files are closed as they are.
const ENCODED_LIMIT: Duration = Duration::from_secs(2);
/// From the wish to end to the end of the process, nearly.
const END_LIMIT: Duration = Duration::from_millis(4500);
/// What every part gets, however late it is.
const LEAST_PATIENCE: Duration = Duration::from_millis(100);
/// Entries that may wait on their way from the render thread to the journal.
const EVENTS: usize = 1024;
/// Notices and commands that may wait for the main loop.
const NOTICES: usize = 64;
/// Changes that may wait for the main loop.
const STEERS: usize = 1024;
/// The number of the recording among the outputs.
const RECORDING: u32 = 0;
/// Half of what may wait for the recording.
const RECORDING_ALARM_MB: u64 = 32;

/// How long a failed encoder stays among the warnings: long enough to be seen. The encoder's line on
/// the terminal, the page and the journal tell of it to the end.
const ENCODER_WARNING: Duration = Duration::from_secs(30);
/// How long it is said why something was not done.
const REFUSAL_WARNING: Duration = Duration::from_secs(10);

/// A show on air.
struct Running<'a> {
    config: Config,
    clock: Arc<dyn Clock>,
    pipeline: LivePipeline,
    encodings: Arc<Encodings>,
    recorder: Recorder,
    outputs: Arc<Outputs>,
    picture: Arc<PictureControl>,
    starter: Starter,
    reporter: Reporter,
    desk: Arc<ShowDesk>,
    archive: archive::Handle,
    director: Director,
    notices: Receiver<Notice>,
    ready: Receiver<Clip>,
    /// Changes that are not the picture's alone.
    steers: Receiver<Accepted>,
    presets: Arc<Presets>,
    recalls: Arc<Recalls>,
    /// Where in a track the music was when that was looked at last.
    section: Section,
    refused_at: Option<Duration>,
    /// Keeps both channels open: a closed one would keep the main loop busy.
    _open: (Sender<Notice>, Sender<Clip>),
    session_frames: Arc<LiveTelemetry>,
    held_seen: (Duration, u64),
    ladder: Ladder,
    effort: Arc<PresentEffort>,
    /// When the show was asked to end, or had shown its last frame.
    ending_since: Option<Duration>,
    /// State and reason of each output as the journal has them.
    outputs_seen: HashMap<u32, (OutputState, Option<String>)>,
    /// Changes of encoder that were told of, and when the last one was.
    encoder_seen: (u64, Option<Duration>),
    room: Arc<Room>,
    /// What ended for want of room, by the output's number.
    disk_full: BTreeMap<u32, String>,
    /// Outputs that were asked to end for want of room and have not yet.
    ending_full: BTreeSet<u32>,
    /// A file in the project's folder.
    archive_file: std::path::PathBuf,
    generator: Option<Arc<GeneratorInfo>>,
    midi: Option<Midi>,
    sound: Arc<Sound>,
    heard: Arc<Shown>,
    os2l: Option<Os2l>,
    music: Music,
    on_status: &'a mut dyn FnMut(&Status),
}

/// Runs a show that has been checked.
pub fn run(show: Show, surroundings: Surroundings<'_>) -> Result<()> {
    let Show { options, config, bundle, project, clock, .. } = show;
    let live = &config.live;
    let archive = Archive::start(project.clone(), clock.clone())?;
    (surroundings.on_project)(project.folder());
    let runtime = runtime()?;

    // The ring, and the picture at its end.
    let clip_bytes = parts::clip_bytes(&config);
    let (feeder, player) = ring::ring(Capacity { seconds: live.buffer_seconds, bytes: clip_bytes });
    let starter = feeder.starter();
    let runway = feeder.runway();
    let (shot_tx, shots) = bounded(EVENTS);
    let playout_counters = Arc::new(PlayoutCounters::default());
    let (ring_in, ring_view) = RingView::channel();
    let painted_from =
        journal::StandIn { prompt: bundle.prompt.clone(), seed: bundle.seed.unwrap_or(0) };
    let stand_in = parts::stand_in(&painted_from.prompt, painted_from.seed);
    let timeline = Timeline::new(
        TimelineSettings {
            fps: live.fps,
            history_bytes: clip_bytes / 4,
            may_begin: crate::stream::sound::begins_together,
        },
        player,
        stand_in.clone(),
        shot_tx,
        playout_counters.clone(),
        ring_in,
    );
    let mut texts = overlays::start_texts(&config.overlays);
    let source = live.audio.shown();
    texts.push((ParamId::SoundSource, &source));
    let (board, reader) = param::board(show.params, &texts);
    let (overlays, sprites) = render::overlay::overlays(live.canvas);
    let preview_frame = {
        let (width, height) = render::preview_size(live.canvas);
        Frame::black(width, height)
    };
    let (preview_in, preview_out) = triple_buffer::triple_buffer(&preview_frame);
    let (receipt_tx, receipts) = bounded(EVENTS);
    let picture = Arc::new(PictureControl::default());
    let telemetry = Arc::new(LiveTelemetry::default());
    let effort = Arc::new(PresentEffort::default());
    let (music, tempo) =
        Music::start(&show.params, &live.tempo, board.clone(), clock.clone(), archive.handle())?;
    let ears = Ears::open(&show.params, music.note_sender())?;
    let hearing = Hearing { tempo, signals: ears.picture };
    let (tap, sound_out) = (Tap::new(), SoundOut::new());
    let (sound, sound_in) =
        Sound::start(&live.audio, &options.worqspace, clock.clone(), Some(ears.listener))?;
    let sound = Arc::new(sound);
    let adapt = AdaptSettings { enabled: live.adaptive_bitrate, floor_kbps: live.min_bitrate_kbps };
    let view = overlays::main_view(&config);
    let settings = EncodeSettings { view, ..EncodeSettings::from(live) };
    let encodings = Encodings::start(settings, show.encoder, adapt, &effort, &tap, &sound_out)?;
    let frames_to_show = options.length.map(|length| live.fps.frames_in(length.as_nanos() as u64));
    let pipeline = {
        let (picture, encoding) = (picture.clone(), encodings.main_state().clone());
        let show_effort = effort.clone();
        let clock = clock.clone();
        let mut renderer = Renderer::new(live.canvas, live.fit, live.interpolation, show_effort);
        renderer.set_time(live.fps, live.flash_limit);
        let source = |feed: SoundFeed| SourceSetup {
            canvas: live.canvas,
            fps: live.fps,
            frames: Box::new(Picture {
                timeline,
                params: reader,
                smoother: Smoother::new(show.params),
                on_beat: OnBeat::new(hearing, live.fps),
                renderer,
                overlays,
                fps: live.fps,
                frames_to_show,
                control: picture,
                receipts: receipt_tx,
                preview: preview_in,
                sound: feed,
                clock: clock.clone(),
                generation: 0,
                unsent: None,
                fired: Vec::with_capacity(EVENTS),
                next: 0,
            }),
            counters: telemetry.source.clone(),
            encoder_ready: Box::new(move || encoding.frames_in.get() > 0),
            lateness: telemetry.lateness.clone(),
            render: telemetry.render.clone(),
        };
        LivePipeline::build(live.fps, Some(sound_in), &tap, &sound_out, &telemetry, source)?
    };

    // Those who are told.
    let (command_tx, own_commands) = bounded(NOTICES);
    let feeds = Feeds {
        encode: Encode::Fitting(encodings.clone()),
        tap: tap.clone(),
        picture: (live.canvas, live.fps),
        clock: clock.clone(),
    };
    let outputs = Arc::new(Outputs::new(feeds.clone()));
    let presets = Arc::new(Presets::new(board.clone(), options.worqspace.join("presets")));
    {
        let presets = presets.clone();
        let sounds = Reading::new(&live.audio, &options.worqspace);
        board.check_with(move |param, value| match (param.id, value) {
            (ParamId::SoundSource, Value::Text(text)) => sounds.read(text).map(drop),
            _ => presets.check(param, value),
        });
    }
    let desk = Arc::new(ShowDesk::new(
        board.clone(),
        presets.clone(),
        preview_out,
        command_tx,
        archive.handle(),
        outputs.clone(),
        clock.clone(),
    ));
    desk.set_music(MusicSeen {
        tempo: music.cell(),
        heard: ears.shown.clone(),
        sound: sound.clone(),
        picture: picture.clone(),
    });
    let (notice_tx, notices) = bounded(NOTICES);
    let (ready_tx, ready) = bounded(NOTICES);
    let (steer_tx, steers) = bounded(STEERS);
    let steered = Arc::new(Steered::new(board.plans.clone()));
    {
        let (hands, hearing) = (music.hands(), ears.settings);
        let (archive, steered) = (archive.handle(), steered.clone());
        let generates = matches!(show.material, Material::Generated { .. });
        board.listen(move |accepted| {
            archive.journal(parts::journal_change(accepted));
            hands.changed(accepted);
            hearing.changed(accepted);
            if generates {
                steered.accepted(accepted);
            }
            let of_the_show = accepted.param.applies == Applies::Show;
            let asks = matches!(accepted.param.id, ParamId::Brief | ParamId::SeedDice);
            // Prompts are the generator's own business; where there is none, that is told.
            if (of_the_show || asks || !generates) && accepted.param.applies != Applies::Now {
                let sent = steer_tx.try_send(accepted.clone());
                if sent.is_err() && accepted.param.kind == param::Kind::Trigger {
                    tracing::error!(
                        "{} was lost, as the show is too busy; send it again",
                        accepted.param.address
                    );
                }
            }
        });
    }
    let midi = {
        let (board, clock) = (board.clone(), clock.clone());
        let (systems, notes) = (midi::system::systems(), music.note_sender());
        Midi::start(&live.midi, &options.worqspace, board, clock, systems, notes)?
    };
    if let Some(midi) = &midi {
        desk.set_midi(midi.handle().clone());
    }
    let overlays_thread = overlays::start(overlays::Setup {
        board: board.clone(),
        sprites,
        canvas: live.canvas,
        folder: options.worqspace.join(crate::config::OVERLAYS_FOLDER),
        now_playing_file: config.overlays.now_playing_file.clone(),
        main_view: view,
        outputs: outputs.clone(),
        notices: notice_tx.clone(),
        clock: clock.clone(),
    })?;
    let journal_thread = parts::spawn_journal(
        shots,
        receipts,
        (board.clone(), steered.clone()),
        clock.clone(),
        archive.handle(),
    )?;
    let room = Arc::new(Room::start()?);
    let motion_counters = Arc::new(MotionCounters::default());
    let recalls = {
        let tempo = music.cell();
        let timing = recall::Timing {
            clock: clock.clone(),
            fps: live.fps,
            tempo: Box::new(move || tempo.get()),
        };
        Arc::new(Recalls::start(board.clone(), presets.clone(), timing)?)
    };
    let mut reporter = Reporter::new(Sources {
        recalls: recalls.clone(),
        room: room.clone(),
        telemetry: telemetry.clone(),
        playout: playout_counters,
        ring: ring_view,
        picture: picture.clone(),
        generator: None,
        archive: archive.handle(),
        runway: runway.clone(),
        runway_target_s: live.buffer_seconds,
        fps: live.fps,
        canvas: live.canvas,
        encoding: encodings.main_state().clone(),
        motion: motion_counters.clone(),
        tap: tap.clone(),
        board: board.clone(),
        steered: steered.clone(),
        osc: None,
        project: parts::project_name(&options.name, project.folder()),
        clock_offset: clock.now().as_nanos() as i128 - i128::from(crate::stream::clock_ns()),
    });

    // On air.
    let session = archive.handle().state().session_id;
    archive.handle().journal(parts::session_start(session, live, painted_from, &show.params));
    if let Some(name) = &options.preset {
        presets.begin(name)?;
    }
    for spec in show.outputs {
        // What is wrong with one is seen on it alone.
        if let Err(error) = outputs.add(spec) {
            tracing::error!("{error}");
        }
    }
    let main_feeds = Feeds { encode: Encode::This(encodings.main().clone()), ..feeds };
    let mut recorder = Recorder::new(main_feeds, archive.handle(), clock.clone(), live.fps);
    if let Some(path) = show.recording.clone() {
        recorder.begin(path, false)?;
    }
    if live.keep_awake {
        keep_awake();
    }
    let mut director = Director::new();
    if !options.standby {
        // The playout leaves standby with its first frame.
        director.handle(Event::Go, clock.now());
        starter.go();
    }
    pipeline.start()?;

    // Dropped when the show is over.
    let (on_air, off_air) = tokio::sync::oneshot::channel();
    if let Some(listener) = show.listener {
        if let Ok(address) = listener.local_addr() {
            (surroundings.on_listening)(address, show.access.token_from());
        }
        let (desk, access): (Arc<dyn Desk>, _) = (desk.clone(), show.access.clone());
        runtime.spawn(async move {
            let ended = async move {
                let _: std::result::Result<(), _> = off_air.await;
            };
            if let Err(error) = control::serve(listener, desk, access, ended).await {
                tracing::error!("HTTP ended: {error}");
            }
        });
    }
    // Ends when the show is over, before the runtime that it asks.
    let osc = match show.osc {
        Some(bound) => {
            let name = parts::project_name(&options.name, project.folder());
            let (runtime, notes) = (runtime.handle(), music.note_sender());
            let osc = Osc::start(bound, board.clone(), clock.clone(), &name, runtime, notes)?;
            let (listen, query) = osc.addresses();
            (surroundings.on_osc)(listen, query);
            reporter.set_osc(osc.teller());
            Some(osc)
        }
        None => None,
    };
    let os2l = match show.os2l {
        Some(bound) => {
            let name = parts::project_name(&options.name, project.folder());
            let os2l = Os2l::start(bound, music.note_sender(), clock.clone(), &name)?;
            tracing::info!("OS2L on {}", os2l.address());
            Some(os2l)
        }
        None => None,
    };
    let grow_seconds = if live.join.kind == JoinKind::Morph { live.join.seconds } else { 0.0 };
    let motion = (live.interpolation == Interpolation::Flow).then(|| MotionWork {
        grow_seconds,
        stand_in,
        clock: clock.clone(),
        effort: effort.clone(),
        counters: motion_counters,
    });
    let (preparer, preparing) = parts::start_preparing(
        feeder,
        motion,
        notice_tx.clone(),
        ready_tx.clone(),
        archive.handle(),
    )?;
    let mut making = None;
    let generator_task = match show.material {
        Material::Generated { pool, writer, resume, earlier } => {
            let pool = Arc::new(pool);
            let info = Arc::new(GeneratorInfo::new(pool.clone()));
            desk.set_generator(info.clone());
            reporter.set_generator(info.clone());
            making = Some(info.clone());
            // Newest first: that is the one to begin with.
            for cycle in earlier.iter().rev() {
                let _ =
                    preparer.prepare(generator::archived(cycle, &config, Origin::Earlier, false));
            }
            if let Some(writer) = &writer {
                tracing::info!("prompts are written by {}", writer.name());
            }
            let workshop = Workshop {
                project: project.clone(),
                archive: archive.handle(),
                pool,
                encoder: Arc::new(GstClipEncoder),
                clock: clock.clone(),
                writer: writer.map(|writer| Arc::new(Ahead::new(writer, config.llm.timeout))),
            };
            let generator = Generator {
                config: config.clone(),
                bundle,
                workshop,
                decoder: Arc::new(GstClipDecoder),
                resume: *resume,
                preparer,
                runway,
                info,
                notices: notice_tx.clone(),
                steer: Steer::new(board.clone(), steered, clock.clone(), config.clone()),
                look_ahead: Mutex::new(LookAhead::new(live.buffer_seconds)),
                next_cycle: AtomicU32::new(0),
                latest: Mutex::default(),
                finishing: Mutex::default(),
                unfinished: Arc::default(),
            };
            Some(runtime.spawn(generator.run()))
        }
        Material::Prepared { cycles, play } => {
            parts::start_playing(cycles, play, config.clone(), preparer)?;
            None
        }
    };

    let mut running = Running {
        clock: clock.clone(),
        pipeline,
        encodings,
        recorder,
        outputs,
        picture,
        starter,
        reporter,
        desk,
        archive: archive.handle(),
        director,
        notices,
        ready,
        steers,
        presets,
        recalls,
        section: Section::default(),
        refused_at: None,
        _open: (notice_tx, ready_tx),
        session_frames: telemetry,
        held_seen: (Duration::ZERO, 0),
        ladder: Ladder::default(),
        effort,
        ending_since: None,
        outputs_seen: HashMap::new(),
        encoder_seen: (0, None),
        room,
        disk_full: BTreeMap::new(),
        ending_full: BTreeSet::new(),
        archive_file: project.state_file(),
        generator: making,
        midi,
        sound: sound.clone(),
        heard: ears.shown,
        os2l,
        music,
        on_status: surroundings.on_status,
        config,
    };
    let ended = running.until_the_end(&surroundings.commands, &own_commands);
    // Nobody steers a show that has ended.
    running.midi = None;
    running.os2l = None;

    // Off air: first the files that the audience keeps, then everything else.
    if let Some(task) = generator_task {
        task.abort();
    }
    let last = running.finish();
    if let Some(generator) = &running.generator {
        super::speeds::remember(&generator.generators(), &*clock);
    }
    let left = running.time_left().max(LEAST_PATIENCE);
    drop(running);
    drop(on_air);
    drop(osc);
    overlays_thread.end();
    drop(sound);
    let _: std::result::Result<(), _> = preparing.recv_timeout(left);
    runtime.shutdown_timeout(left);
    let _ = journal_thread.join();
    let archived = archive.close();
    if let Some(path) = &options.summary {
        Summary::from(&last).write(path)?;
    }
    ended.and(archived)
}

impl Running<'_> {
    /// The main loop: runs the director until the picture has ended.
    fn until_the_end(
        &mut self,
        commands: &Receiver<Command>,
        own: &Receiver<Command>,
    ) -> Result<()> {
        let (mut next_status, mut next_disk) = (Duration::ZERO, DISK_EVERY);
        loop {
            crossbeam_channel::select! {
                recv(commands) -> command => match command {
                    Ok(command) => self.command(command),
                    // Whoever started the show is gone.
                    Err(_) => self.event(Event::Stop),
                },
                recv(own) -> command => if let Ok(command) = command {
                    self.command(command);
                },
                recv(self.notices) -> notice => if let Ok(notice) = notice {
                    self.event(Event::Problem(notice.topic, notice.text));
                },
                recv(self.ready) -> clip => if let Ok(clip) = clip {
                    self.reporter.remember_prompt(clip.cycle.0, clip.prompt);
                    self.event(Event::Problem(Topic::Clip, None));
                },
                recv(self.steers) -> accepted => if let Ok(accepted) = accepted {
                    self.steer(&accepted);
                },
                default(TICK) => {}
            }
            let now = self.clock.now();
            if let Some(cycle) = self.starter.not_at_hand() {
                self.refuse(format!("cycle {cycle} is not at hand any more"));
            }
            match self.pipeline.poll_end(Duration::ZERO) {
                Some(End::Finished) => return Ok(()),
                Some(End::Failed(error)) => {
                    return Err(error.context("the picture stopped by a fault"));
                }
                None => {}
            }
            if self.director.phase() == Phase::Draining
                || self.picture.ended.load(Ordering::Acquire)
            {
                let since = *self.ending_since.get_or_insert(now);
                if now > since + ENCODED_LIMIT {
                    tracing::warn!("the sound did not end in time; files are closed as they are");
                    return Ok(());
                }
            }
            if self.refused_at.is_some_and(|at| now >= at + REFUSAL_WARNING) {
                self.refused_at = None;
                self.event(Event::Problem(Topic::Steering, None));
            }
            self.watch_section(now);
            if now >= next_disk {
                next_disk = now + DISK_EVERY;
                self.watch_disk();
                self.watch_timing(now);
                self.watch_runway();
                self.watch_outputs();
                self.watch_encoder(now);
                self.watch_midi();
                self.watch_sound();
                self.adapt(now);
            }
            if now >= next_status {
                next_status = now + STATUS_EVERY;
                self.watch_load(now);
                self.publish(now);
            }
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Go => self.event(Event::Go),
            Command::Stop => self.event(Event::Stop),
            Command::ToggleBlackout => self.desk.toggle_blackout("key"),
            Command::RetryOutputs => self.desk.retry_outputs("key"),
        }
    }

    fn event(&mut self, event: Event) {
        for effect in self.director.handle(event, self.clock.now()) {
            match effect {
                Effect::StartPlayout => {
                    tracing::info!("go");
                    self.starter.go();
                }
                Effect::Drain => {
                    tracing::info!("ending: finishing files and saving the state");
                    self.picture.stop.store(true, Ordering::Release);
                }
                // Every change of an output is told where it is entered in the journal.
                Effect::Warn(Topic::Output(_), _) | Effect::Clear(Topic::Output(_), _) => {}
                Effect::Warn(_, text) => tracing::warn!("{text}"),
                Effect::Clear(_, text) => tracing::info!("over: {text}"),
            }
        }
    }

    fn publish(&mut self, now: Duration) -> Status {
        let mut status = self.reporter.status(Moment {
            now,
            phase: self.director.phase(),
            warnings: self.director.warnings(),
            effort: EffortStatus {
                now: self.ladder.effort(),
                steps_down: self.ladder.down,
                steps_up: self.ladder.up,
            },
            recording: self.recorder.current(),
            outputs: &self.outputs.list(),
        });
        status.sound = self.sound.status();
        status.midi = self.midi.as_ref().map(|midi| midi.handle().status()).unwrap_or_default();
        status.os2l = self.os2l.as_ref().map(Os2l::status);
        status.tempo = self.music.status();
        self.journal_outputs(&status);
        (self.on_status)(&status);
        self.desk.status.store(Arc::new(status.clone()));
        status
    }

    /// Finishes outputs and recording; returns the last status.
    fn finish(&mut self) -> Status {
        self.ending_since.get_or_insert(self.clock.now());
        self.event(Event::Ended);
        self.watch_encoder(self.clock.now());
        let since = self.ending_since.unwrap_or_default();
        let left = (since + ENCODED_LIMIT).saturating_sub(self.clock.now());
        if !self.encodings.close(left.max(LEAST_PATIENCE)) {
            tracing::warn!("the encoder did not drain in time; files are closed as they are");
        }
        let outputs = self.outputs.end();
        self.recorder.end();
        let mut patience = LEAST_PATIENCE;
        let recordings = self.recorder.outputs();
        for output in recordings.chain(outputs.iter().map(|output| &**output)) {
            let since = self.ending_since.unwrap_or_default();
            let left = (since + END_LIMIT).saturating_sub(self.clock.now());
            if !output.join(left.max(patience)) {
                // The others have had their time as well.
                patience = Duration::ZERO;
                let name = output.spec.shown();
                match output.spec.target {
                    Target::File { .. } => tracing::error!(
                        "{name} was not finished in time; it plays up to its last second"
                    ),
                    _ => tracing::warn!("{name} did not end in time"),
                }
            }
        }
        self.recorder.close();
        let last = self.publish(self.clock.now());
        self.archive.journal(JournalEvent::SessionEnd {
            session: self.archive.state().session_id,
            frames: self.session_frames.source.sent.get(),
        });
        last
    }

    /// How long the process may still take.
    fn time_left(&self) -> Duration {
        let since = self.ending_since.unwrap_or_default();
        (since + END_LIMIT).saturating_sub(self.clock.now())
    }
}
