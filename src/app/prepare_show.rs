//! From what was asked for to a show that can start: everything checked, nothing running.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Listen, LiveOptions, Play, backends, project_folder};
use crate::archive::{self, PlayableCycle, Project, ResumePoint};
use crate::base::clock::Clock;
use crate::base::error::{Error, Kind, Result};
use crate::config::{AudioSource, Config, JoinKind, OutputSpec, preset};
use crate::control;
use crate::cycle;
use crate::generate::pool::Pool;
use crate::llm::{self, Writer};
use crate::media::CycleId;
use crate::param::{ParamId, Value, Values};
use crate::steer::{os2l, osc};
use crate::stream::capture;
use crate::stream::encoding::EncodeSettings;
use crate::stream::encoding::ladder::{self, Choice};
use crate::stream::output;
use crate::worqspace::{self, PromptBundle};

/// Earlier clips that a resumed show has at hand until something new is ready.
const EARLIER_CLIPS: u32 = 3;

/// A show that has been checked.
pub struct Show {
    pub options: LiveOptions,
    pub config: Config,
    pub bundle: PromptBundle,
    pub project: Arc<Project>,
    pub encoder: Choice,
    pub outputs: Vec<OutputSpec>,
    pub recording: Option<PathBuf>,
    pub params: Values,
    pub listener: Option<TcpListener>,
    pub access: Arc<control::Access>,
    pub osc: Option<osc::Bound>,
    pub os2l: Option<os2l::Bound>,
    pub material: Material,
    pub clock: Arc<dyn Clock>,
}

/// Where the cycles come from.
pub enum Material {
    Generated {
        pool: Pool,
        writer: Option<Arc<dyn Writer>>,
        resume: Box<ResumePoint>,
        earlier: Vec<PlayableCycle>,
    },
    Prepared {
        cycles: Vec<PlayableCycle>,
        play: Play,
    },
}

/// What makes or has the cycles, before the project is opened.
enum Source {
    Archive(Play),
    Generators(Pool, Option<Arc<dyn Writer>>),
}

/// What was asked for, checked as far as that leaves nothing behind.
pub struct Checked {
    pub config: Config,
    pub config_text: String,
    pub bundle: PromptBundle,
    pub outputs: Vec<OutputSpec>,
    pub params: Values,
    pub encoder: Choice,
    source: Source,
    pub listener: Option<TcpListener>,
    access: Arc<control::Access>,
    pub osc: Option<osc::Bound>,
    pub os2l: Option<os2l::Bound>,
}

/// Checks what a show needs; of all that is kept only the port is taken.
pub fn check(options: &LiveOptions, clock: Arc<dyn Clock>) -> Result<Checked> {
    let opened = worqspace::open(&options.worqspace)?;
    let mut config = opened.config;
    let bundle = opened.bundle;
    for warning in &opened.warnings {
        tracing::warn!("{warning}");
    }
    override_settings(&mut config, &bundle, options);

    let mut outputs = config.live.outputs.clone();
    for uri in &options.to {
        outputs.push(OutputSpec::parse(uri).map_err(|e| e.context("--to"))?);
    }
    check_files(&outputs)?;
    if let Some(summary) = &options.summary {
        check_summary(summary)?;
    }
    crate::steer::midi::check(&config.live.midi, &options.worqspace)?;
    if let AudioSource::File { path, .. } = &config.live.audio {
        capture::check_file(path).map_err(|e| e.context("live.audio.source"))?;
    }
    let params = starting_params(options, &config)?;
    let settings = EncodeSettings::from(&config.live);
    let encoder = ladder::choose(&config.live.encoder_preference, &settings)?;
    tracing::info!(
        "encoding with {}, {} kb/s ({})",
        encoder.factory(),
        config.live.bitrate_kbps,
        encoder.why
    );

    let source = match options.play {
        Some(play) => Source::Archive(play),
        None => Source::Generators(backends::pool(&config, clock)?, llm::writer(&config.llm)?),
    };
    let access = Arc::new(control::Access::new(&config.live)?);
    let listener = config.live.listen.map(|addr| control::bind(addr, &access)).transpose()?;
    let config_text = opened.config_text;
    let osc = osc::bind(&config.live.osc)?;
    let os2l = os2l::bind(config.live.tempo.os2l, config.live.tempo.os2l_is_asked)?;
    Ok(Checked {
        config,
        config_text,
        bundle,
        outputs,
        params,
        encoder,
        source,
        listener,
        access,
        osc,
        os2l,
    })
}

/// Checks and opens everything that a show needs.
pub fn prepare(options: LiveOptions, clock: Arc<dyn Clock>) -> Result<Show> {
    let Checked {
        config,
        config_text,
        bundle,
        outputs,
        params,
        encoder,
        source,
        listener,
        access,
        osc,
        os2l,
    } = check(&options, clock.clone())?;
    // What comes before leaves nothing behind; from here on there is a project.
    let project = Arc::new(open_project(&options, &config, &config_text, &*clock)?);
    let material = match source {
        Source::Archive(play) => Material::Prepared { cycles: project.playable()?, play },
        Source::Generators(pool, writer) => generated(pool, writer, &project)?,
    };
    let recording = config.live.record.then(|| project.next_recording()).transpose()?;
    if let Some(path) = &recording {
        let file = OutputSpec::file(path.clone());
        if outputs.iter().any(|output| output.same_file(&file)) {
            return Err(Error::usage(format!(
                "output {} is the file of the recording; name another",
                file.shown()
            )));
        }
        check_room(project.folder(), config.live.min_free_mb)?;
    }
    Ok(Show {
        options,
        config,
        bundle,
        project,
        encoder,
        outputs,
        recording,
        params,
        listener,
        access,
        osc,
        os2l,
        material,
        clock,
    })
}

/// An output that would overwrite something is a mistake better known before the show; what else
/// may be wrong with one is seen on it alone.
fn check_files(outputs: &[OutputSpec]) -> Result<()> {
    for (place, output) in outputs.iter().enumerate() {
        output::check(output)?;
        let twice = outputs[..place].iter().any(|other| other.same_file(output));
        if twice {
            return Err(Error::usage(format!("output {} is named twice", output.shown())));
        }
    }
    Ok(())
}

/// The command line wins over the brief, the brief over the settings.
fn override_settings(config: &mut Config, bundle: &PromptBundle, options: &LiveOptions) {
    if let Some(kind) = options.backend.or(bundle.backend) {
        config.use_backend(kind);
    }
    if options.no_record {
        config.live.record = false;
    }
    match options.listen {
        Some(Listen::Off) => config.live.listen = None,
        Some(Listen::On(address)) => config.live.listen = Some(address),
        None => {}
    }
    match options.osc {
        Some(Listen::Off) => config.live.osc.listen = None,
        Some(Listen::On(address)) => {
            config.live.osc.listen = Some(address);
            config.live.osc.listen_is_asked = true;
        }
        None => {}
    }
    if let Some(sound) = &options.sound {
        config.live.audio = sound.clone();
    }
    if let Some(midi) = options.midi {
        config.live.midi.enabled = midi;
    }
    if let Some(output) = &options.output {
        config.paths.output_dir = output.clone();
    }
}

/// Parameters begin as the settings say, as far as a fader can stand there; what no fader says is
/// used all the same, until it is moved.
fn starting_params(options: &LiveOptions, config: &Config) -> Result<Values> {
    let mut values = Values::default();
    for (id, value) in cycle::faders(config) {
        values[id] = value;
    }
    let join = &config.live.join;
    let seconds = if join.kind == JoinKind::Cut { 0.0 } else { join.seconds };
    values[ParamId::Crossfade] = seconds as f32;
    let tempo = &config.live.tempo;
    values[ParamId::TempoSource] = tempo.source;
    values[ParamId::TempoBpm] = tempo.bpm as f32;
    values[ParamId::BeatsPerBar] = tempo.beats_per_bar as f32;
    values[ParamId::OverlayFade] = config.overlays.fade as f32;
    for switch in &config.overlays.show {
        values[*switch] = 1.0;
    }
    if let Some(name) = &options.preset {
        let preset = preset::load(name, &[options.worqspace.join("presets")])?;
        for (param, value) in &preset.values {
            if let Value::Number(number) = value {
                values[param.id] = *number;
            }
        }
        tracing::info!("preset {}: {}", preset.name, preset.title);
    }
    Ok(values)
}

pub fn folder_of(options: &LiveOptions, config: &Config) -> Result<PathBuf> {
    let (name, output) = (options.name.as_deref(), options.output.as_deref());
    let given = project_folder::given(&options.worqspace, name, output)?;
    Ok(given.unwrap_or_else(|| config.paths.output_dir.clone()))
}

fn open_project(
    options: &LiveOptions,
    config: &Config,
    config_text: &str,
    clock: &dyn Clock,
) -> Result<Project> {
    let folder = folder_of(options, config)?;
    Project::open(archive::Open {
        folder: &folder,
        briqs_dir: config.paths.briqs_dir.as_deref(),
        fresh: options.fresh,
        must_exist: options.play.is_some(),
        config_text,
        who: "vfaq live",
        now: clock.wall(),
    })
}

fn generated(pool: Pool, writer: Option<Arc<dyn Writer>>, project: &Project) -> Result<Material> {
    let resume = Box::new(project.resume_point()?);
    let earlier = match resume.last_raw {
        Some((CycleId(last), _)) => {
            let first = CycleId((last + 1).saturating_sub(EARLIER_CLIPS));
            project.playable_in(first..=CycleId(last))?
        }
        None => Vec::new(),
    };
    Ok(Material::Generated { pool, writer, resume, earlier })
}

/// The summary is written last; that it cannot be is better known first.
fn check_summary(path: &Path) -> Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if path.is_dir() {
        return Err(Error::usage(format!("--summary {}: this is a folder", path.display())));
    }
    // A device or a pipe is written straight, its folder never.
    if path.exists() && !path.is_file() {
        return Ok(());
    }
    tempfile::tempfile_in(folder).map(drop).map_err(|e| {
        Error::io(format!("--summary {}: its folder cannot be written", path.display()), e)
    })
}

/// A recording needs room from the start.
fn check_room(folder: &Path, min_free_mb: u64) -> Result<()> {
    match archive::disk::free_bytes(folder) {
        Some(free) if free >> 20 < min_free_mb => Err(Error::new(
            Kind::Io,
            format!(
                "{}: {} MB are free, and recording ends below {min_free_mb} MB; free some room, \
                 lower live.min_free_mb, or start with --no-record",
                folder.display(),
                free >> 20
            ),
        )),
        _ => Ok(()),
    }
}
