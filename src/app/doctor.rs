//! Whether this machine can do the show that a worqspace asks for: everything that can be known
//! beforehand, measured rather than assumed.
//!
//! Holds: nothing is changed (no folder, no file stays), and nothing stops the examination: what
//! cannot be read is judged by the defaults. `Bad` is what this machine lacks; what another
//! option or a change of the settings gets around is a warning.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::{backends, machine, runtime};
use crate::archive::disk;
use crate::base::clock::{Clock, SystemClock};
use crate::base::error::{Error, Result};
use crate::base::time::FrameRate;
use crate::config::{self, AudioSource, BackendKind, Config, Encoder, Live};
use crate::control::{self, Access};
use crate::generate::{ImageRequest, VideoRequest};
use crate::media::CycleId;
use crate::stream::capture;
use crate::stream::check::{self, NEEDS};
use crate::stream::encoding::EncodeSettings;
use crate::stream::encoding::ladder::{self, Patience, Rung};
use crate::stream::output;
use crate::window;
use crate::worqspace::{self, PromptBundle};

/// Encoders are tried for this long each.
const TRIAL: Patience = Patience {
    open: Duration::from_secs(3),
    measure: Duration::from_millis(1300),
    pictures: u32::MAX,
};
/// How much faster than the show an encoder should be, alone on the machine: the picture must be
/// drawn and clips be made as well.
const ENCODER_RESERVE: f64 = 1.2;
/// A cycle of more frames is measured on so many and reckoned up.
const MEASURED_FRAMES: u32 = 24;
/// Less room than this is worth a warning: clips and pictures are kept beside the recording.
const LITTLE_ROOM_H: f64 = 2.0;
/// Sound in the recording, in kb/s.
const SOUND_KBPS: f64 = 160.0;

/// What is examined.
#[derive(Clone, Debug)]
pub struct Patient {
    pub worqspace: PathBuf,
    /// The folder of an unnamed show; `None`: as in the settings.
    pub output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mark {
    Ok,
    /// Good to know, and nothing to be done.
    Note,
    Warn,
    /// With this the machine can do no show.
    Bad,
}

#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    pub group: &'static str,
    pub name: &'static str,
    pub mark: Mark,
    pub text: String,
    /// What to install or change.
    pub advice: Option<String>,
    /// What was measured, with the unit in the name: the same as in the text.
    pub numbers: BTreeMap<&'static str, f64>,
}

impl Finding {
    fn new(group: &'static str, name: &'static str, mark: Mark, text: impl Into<String>) -> Self {
        let text = text.into();
        Finding { group, name, mark, text, advice: None, numbers: BTreeMap::new() }
    }

    fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    fn number(mut self, name: &'static str, value: f64) -> Self {
        self.numbers.insert(name, (value * 1000.0).round() / 1000.0);
        self
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub can_run: bool,
    /// In one sentence.
    pub verdict: String,
    /// Number of findings marked so.
    pub warnings: usize,
    /// Debian packages that would help.
    pub install: Vec<&'static str>,
    pub findings: Vec<Finding>,
}

/// Examines the machine; takes some seconds. `on_finding` gets each finding as it is made.
///
/// # Errors
/// GStreamer does not start, or a fault: then nothing can be said.
pub fn examine(
    patient: &Patient,
    clock: &dyn Clock,
    on_finding: &mut dyn FnMut(&Finding),
) -> Result<Report> {
    let mut doctor = Doctor { findings: Vec::new(), install: BTreeSet::new(), on_finding };
    let (config, bundle) = doctor.settings(patient);
    crate::stream::init()?;
    doctor.gstreamer();
    doctor.encoders(&config.live);
    doctor.generator(&config, bundle.as_ref(), clock)?;
    doctor.sound(&config.live.audio);
    doctor.machine(&config);
    doctor.room(&config);
    doctor.port(&config.live);
    doctor.outputs(&config.live);
    Ok(doctor.report())
}

struct Doctor<'a> {
    findings: Vec<Finding>,
    install: BTreeSet<&'static str>,
    on_finding: &'a mut dyn FnMut(&Finding),
}

impl Doctor<'_> {
    fn found(&mut self, finding: Finding) {
        (self.on_finding)(&finding);
        self.findings.push(finding);
    }

    fn report(self) -> Report {
        let names = |mark| {
            let mut names: Vec<&str> = Vec::new();
            for finding in self.findings.iter().filter(|f| f.mark == mark) {
                if !names.contains(&finding.name) {
                    names.push(finding.name);
                }
            }
            names.join(", ")
        };
        let warnings = self.findings.iter().filter(|f| f.mark == Mark::Warn).count();
        let can_run = self.findings.iter().all(|f| f.mark != Mark::Bad);
        let verdict = match (can_run, warnings) {
            (false, _) => format!("This machine cannot do the show: {}.", names(Mark::Bad)),
            (true, 0) => "This machine can do the show.".into(),
            (true, n) => {
                let s = if n == 1 { "" } else { "s" };
                format!("This machine can do the show, with {n} warning{s}: {}.", names(Mark::Warn))
            }
        };
        let install = self.install.into_iter().collect();
        Report { can_run, verdict, warnings, install, findings: self.findings }
    }

    /// The settings that the machine is judged by, and the brief where it can be read.
    fn settings(&mut self, patient: &Patient) -> (Config, Option<PromptBundle>) {
        const GROUP: &str = "settings";
        let folder = &patient.worqspace;
        let (mut config, _, mut findings) = config::check(folder);
        let there = folder.is_dir();
        let mut bundle = None;
        if there {
            match worqspace::load(folder, &config) {
                Ok((brief, warnings)) => {
                    bundle = Some(brief);
                    findings.warnings.extend(warnings);
                }
                Err(more) => findings.append(more),
            }
        }
        let warn = |text: String| Finding::new(GROUP, "worqspace", Mark::Warn, text);
        let shown = folder.display();
        let check = format!("vfaq config check -w {shown}");
        self.found(match (findings.problems.len(), findings.warnings.len()) {
            _ if !there => warn(format!("there is no folder {shown}: judged by the defaults"))
                .advice("name your worqspace with -w DIR"),
            (0, 0) => Finding::new(GROUP, "worqspace", Mark::Ok, format!("{shown}: no problems")),
            (0, n) => {
                let s = if n == 1 { "" } else { "s" };
                let text = format!("{shown}: no problems; {n} warning{s} by {check}");
                Finding::new(GROUP, "worqspace", Mark::Ok, text)
            }
            (n, _) => {
                let s = if n == 1 { "" } else { "s" };
                warn(format!("{shown}: {n} problem{s}; judged by defaults where it is broken"))
                    .advice(format!("mend what {check} says; no show starts before"))
            }
        });
        if let Some(kind) = bundle.as_ref().and_then(|b| b.backend) {
            config.use_backend(kind);
        }
        if let Some(output) = &patient.output {
            config.paths.output_dir = output.clone();
        }
        let (live, generation) = (&config.live, &config.generation);
        let text = format!(
            "{}x{} at {} fps, {} kb/s; clips of {} frames {}x{} at {} fps",
            live.canvas.0,
            live.canvas.1,
            shown_rate(live.fps),
            live.bitrate_kbps,
            generation.video_frames,
            generation.width,
            generation.height,
            shown_rate(generation.video_fps),
        );
        self.found(Finding::new(GROUP, "show", Mark::Ok, text));
        (config, bundle)
    }

    fn gstreamer(&mut self) {
        const GROUP: &str = "GStreamer";
        self.found(Finding::new(GROUP, "version", Mark::Ok, check::version()));
        let mut missing: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for need in NEEDS.iter().filter(|need| need.found().is_none()) {
            missing.entry(need.package()).or_default().push(need.0[0]);
            self.install.insert(need.package());
        }
        if missing.is_empty() {
            let text = format!("all {} that a show needs", NEEDS.len());
            self.found(Finding::new(GROUP, "elements", Mark::Ok, text));
        }
        if !check::has_tls() {
            self.found(
                Finding::new(GROUP, "TLS", Mark::Warn, "GLib has none; rtmps: outputs need it")
                    .advice(format!("install {}", check::TLS_PACKAGE)),
            );
        }
        for (package, elements) in missing {
            let text = format!("missing: {}", elements.join(", "));
            self.found(
                Finding::new(GROUP, "elements", Mark::Bad, text)
                    .advice(format!("install {package}")),
            );
        }
    }

    fn encoders(&mut self, live: &Live) {
        const GROUP: &str = "encoders";
        let ladder = [Encoder::Nvenc, Encoder::Vaapi, Encoder::X264, Encoder::OpenH264];
        let mut order = Vec::new();
        for encoder in live.encoder_preference.iter().copied().chain(ladder) {
            if !order.contains(&encoder) {
                order.push(encoder);
            }
        }
        // The show takes the first that works.
        let mut taken = None;
        for encoder in order {
            let name = encoder_name(encoder);
            let rungs = ladder::installed(encoder);
            if rungs.is_empty() {
                let text = format!("not there ({})", ladder::family(encoder).package);
                self.found(Finding::new(GROUP, name, Mark::Note, text));
            }
            for rung in rungs {
                let wanted = taken.is_none() && live.encoder_preference.contains(&encoder);
                let trial = ladder::trial(rung, &EncodeSettings::from(live), TRIAL);
                if wanted && trial.is_ok() {
                    taken = Some(encoder);
                }
                self.found(tried(GROUP, rung, live, wanted, trial));
            }
        }
        if taken.is_none() {
            let package = ladder::family(Encoder::X264).package;
            self.install.insert(package);
            let text = "none of live.encoder_preference can be used";
            self.found(
                Finding::new(GROUP, "encoder", Mark::Bad, text)
                    .advice(format!("install {package} and keep libx264 in the list")),
            );
        }
    }

    fn generator(
        &mut self,
        config: &Config,
        bundle: Option<&PromptBundle>,
        clock: &dyn Clock,
    ) -> Result<()> {
        const GROUP: &str = "generator";
        let maker = backends::Maker::new(Arc::new(SystemClock::new()));
        let servers = backends::servers(config);
        for server in servers.iter().filter(|s| s.config.kind != BackendKind::Mock) {
            let (name, kind) = (server.name.clone(), server.config.kind.name());
            let checked = maker
                .backend(server)
                .and_then(|backend| runtime()?.block_on(backends::check(&*backend)));
            self.found(match checked {
                Ok(health) => {
                    let mut text = health.version.unwrap_or_else(|| "it answers".to_owned());
                    for note in &health.notes {
                        text = format!("{text}; {note}");
                    }
                    Finding::new(GROUP, kind, Mark::Ok, format!("{name}: {text}"))
                }
                Err(error) => Finding::new(GROUP, kind, Mark::Warn, format!("{name}: {error}"))
                    .advice("a generator that does not answer is stood in for by the built-in one"),
            });
        }
        if servers.iter().any(|server| server.config.kind != BackendKind::Mock) {
            return Ok(());
        }
        let made = runtime()?.block_on(one_cycle(config, bundle, clock));
        let finding = match made {
            Ok(work) => {
                let delay = servers.iter().map(|s| s.config.mock_delay).max().unwrap_or_default();
                let fails = servers.iter().map(|s| s.config.mock_fail_rate).fold(0.0, f64::max);
                mock_finding(GROUP, config, work, delay, fails)
            }
            Err(error) => Finding::new(GROUP, "mock", Mark::Bad, error.to_string()),
        };
        self.found(finding);
        Ok(())
    }

    fn sound(&mut self, source: &AudioSource) {
        const GROUP: &str = "sound";
        let shown = source.shown();
        self.found(match (source, capture::check(source)) {
            (AudioSource::Silence, _) => Finding::new(GROUP, "source", Mark::Ok, "silence"),
            (_, Ok(())) => Finding::new(GROUP, "source", Mark::Ok, format!("{shown} plays")),
            (_, Err(error)) => {
                Finding::new(GROUP, "source", Mark::Warn, format!("{shown}: {error}"))
                    .advice("vfaq sound list says what there is for live.audio.source")
            }
        });
    }

    fn machine(&mut self, config: &Config) {
        const GROUP: &str = "machine";
        self.found(match std::thread::available_parallelism().map(|n| n.get()) {
            Ok(1) => Finding::new(GROUP, "cores", Mark::Warn, "1; a show wants 2")
                .advice("lower live.canvas or live.fps if the picture is late")
                .number("cores", 1.0),
            Ok(n) => {
                Finding::new(GROUP, "cores", Mark::Ok, n.to_string()).number("cores", n as f64)
            }
            Err(_) => Finding::new(GROUP, "cores", Mark::Note, "unknown on this system"),
        });
        let wanted = f64::from(config.live.memory_mb);
        self.found(match machine::available_memory_mb() {
            None => Finding::new(GROUP, "memory", Mark::Note, "unknown on this system"),
            Some(free) => {
                let text = format!("{free:.0} MB available; the show may use {wanted:.0} MB");
                let finding = if free < wanted {
                    Finding::new(GROUP, "memory", Mark::Warn, text)
                        .advice("close other programs, or lower live.memory_mb")
                } else {
                    Finding::new(GROUP, "memory", Mark::Ok, text)
                };
                finding.number("available_mb", free).number("wanted_mb", wanted)
            }
        });
    }

    fn room(&mut self, config: &Config) {
        const GROUP: &str = "machine";
        let project = &config.paths.output_dir;
        let folder = existing_part(project);
        let shown = project.display();
        if let Err(e) = tempfile::tempfile_in(folder) {
            let text = format!("{shown}: cannot be written in: {e}");
            self.found(
                Finding::new(GROUP, "disk", Mark::Bad, text)
                    .advice("check its permissions, or choose another folder with -o"),
            );
            return;
        }
        let live = &config.live;
        let Some(free) = disk::free_bytes(folder) else {
            let text = format!("{shown}: free space is unknown on this system");
            return self.found(Finding::new(GROUP, "disk", Mark::Note, text));
        };
        let kept = live.min_free_mb << 20;
        let kbps = f64::from(live.bitrate_kbps) + SOUND_KBPS;
        let hours = free.saturating_sub(kept) as f64 * 8.0 / (kbps * 1000.0) / 3600.0;
        let gb = free as f64 / 1e9;
        let text = format!("{shown}: {gb:.1} GB free, {hours:.1} h of recording");
        let free_some = "free some room, or choose another disk with -o";
        let finding = match live.record {
            false => {
                let text = format!("{shown}: {gb:.1} GB free; live.record is off");
                Finding::new(GROUP, "disk", Mark::Ok, text)
            }
            true if free < kept => Finding::new(
                GROUP,
                "disk",
                Mark::Bad,
                format!("{shown}: {gb:.1} GB free, less than live.min_free_mb"),
            )
            .advice(format!("{free_some}, lower live.min_free_mb, or start with --no-record")),
            true if hours < LITTLE_ROOM_H => {
                Finding::new(GROUP, "disk", Mark::Warn, text).advice(free_some)
            }
            true => Finding::new(GROUP, "disk", Mark::Ok, text),
        };
        self.found(finding.number("free_gb", gb).number("recording_hours", hours));
    }

    fn port(&mut self, live: &Live) {
        const GROUP: &str = "machine";
        self.found(match live.listen {
            None => Finding::new(GROUP, "port", Mark::Note, "live.listen is off: no page, no API"),
            Some(address) => match Access::new(live).and_then(|a| control::bind(address, &a)) {
                Ok(_) => Finding::new(GROUP, "port", Mark::Ok, format!("{address} is free")),
                Err(error) => Finding::new(GROUP, "port", Mark::Warn, error.to_string()),
            },
        });
    }

    fn outputs(&mut self, live: &Live) {
        for spec in &live.outputs {
            let target = output::check(spec).map(|()| spec);
            self.found(match target {
                Ok(target) => Finding::new("outputs", "output", Mark::Ok, target.shown()),
                Err(error) => Finding::new("outputs", "output", Mark::Warn, error.to_string()),
            });
        }
        // Their numbers are for `display:`.
        match window::monitors() {
            Ok(monitors) => {
                for monitor in monitors {
                    let (width, height) = monitor.size;
                    let hz = monitor.refresh_hz.map_or(String::new(), |hz| format!(" {hz:.0} Hz"));
                    let text = format!("{}: {} {width}x{height}{hz}", monitor.number, monitor.name);
                    self.found(Finding::new("outputs", "display", Mark::Ok, text));
                }
            }
            Err(none) => {
                self.found(Finding::new("outputs", "display", Mark::Note, none.to_string()));
            }
        }
    }
}

/// The name in `live.encoder_preference`.
fn encoder_name(encoder: Encoder) -> &'static str {
    match encoder {
        Encoder::Nvenc => "h264_nvenc",
        Encoder::Vaapi => "h264_vaapi",
        Encoder::X264 => "libx264",
        Encoder::OpenH264 => "openh264",
    }
}

fn shown_rate(fps: FrameRate) -> String {
    let text = format!("{:.2}", fps.as_f64());
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Only the encoder that the show takes (`taken`) can be bad.
fn tried(
    group: &'static str,
    rung: Rung,
    live: &Live,
    taken: bool,
    trial: Result<ladder::Trial>,
) -> Finding {
    let (fps, result) = match trial {
        Ok(trial) => (trial.fps.unwrap_or(0.0), Ok(())),
        Err(error) => (0.0, Err(error)),
    };
    let speed = fps / live.fps.as_f64();
    let wanted = live.fps.as_f64() * ENCODER_RESERVE;
    let mark = match speed {
        _ if !taken => Mark::Note,
        s if s < 1.0 => Mark::Bad,
        s if s < ENCODER_RESERVE => Mark::Warn,
        _ => Mark::Ok,
    };
    let text = match result {
        Ok(()) => {
            let role = if taken { "; the show takes it" } else { "" };
            format!("{fps:.0} fps, {speed:.1} x the show{role}")
        }
        Err(error) => format!("does not work: {error}"),
    };
    let name = encoder_name(rung.encoder);
    let finding =
        Finding::new(group, name, mark, text).number("fps", fps).number("wanted_fps", wanted);
    match mark {
        Mark::Warn | Mark::Bad => finding.advice(format!(
            "it should reach {wanted:.0} fps: close other programs, put a faster encoder first \
             in live.encoder_preference, or lower live.canvas or live.fps"
        )),
        _ => finding,
    }
}

/// Makes the picture and the clip of a first cycle as a show would, without the delay and the
/// failures of a rehearsal. Gives the time that a whole one takes.
async fn one_cycle(
    config: &Config,
    bundle: Option<&PromptBundle>,
    clock: &dyn Clock,
) -> Result<Duration> {
    let maker = backends::Maker::new(Arc::new(SystemClock::new()));
    let ready = |backend: &config::BackendConfig| {
        let config = config::BackendConfig {
            mock_delay: Duration::ZERO,
            mock_fail_rate: 0.0,
            ..backend.clone()
        };
        let name = String::new();
        maker.backend(&backends::Server { config: &config, name, images: true, videos: true })
    };
    let (painter, animator) =
        (ready(&config.image_backends[0])?, ready(&config.video_backends[0])?);
    painter.check().await?;
    animator.check().await?;
    let generation = &config.generation;
    let (width, height) = (generation.width, generation.height);
    let prompt = bundle.map_or("a slow river of light", |b| &b.prompt).to_owned();
    let negative_prompt = bundle.map(|b| b.negative_prompt.clone()).unwrap_or_default();
    let seed = bundle.and_then(|b| b.seed).unwrap_or(1);
    let frames = generation.video_frames.min(MEASURED_FRAMES);

    let began = clock.now();
    let image = painter
        .generate_image(
            &ImageRequest {
                cycle: CycleId(0),
                prompt: prompt.clone(),
                negative_prompt: negative_prompt.clone(),
                seed,
                width,
                height,
                steps: generation.steps,
                cfg_scale: generation.cfg_scale,
                sampler: generation.sampler.clone(),
                init: None,
            },
            &|_| (),
        )
        .await?;
    let painted = clock.now();
    let clip = animator
        .generate_video(
            &VideoRequest {
                cycle: CycleId(0),
                first: Some(image),
                last: None,
                prompt,
                negative_prompt,
                seed,
                width,
                height,
                frames,
                fps: generation.video_fps,
                steps: generation.steps,
                cfg_scale: generation.cfg_scale,
                sampler: generation.sampler.clone(),
                motion_bucket_id: generation.motion_bucket_id,
                noise_aug_strength: generation.noise_aug_strength,
            },
            &|_| (),
        )
        .await?;
    let animated = clock.now();
    if clip.is_empty() {
        return Err(Error::internal("the generator made no frames"));
    }
    let share = f64::from(generation.video_frames) / f64::from(frames);
    Ok((painted - began) + (animated - painted).mul_f64(share))
}

fn mock_finding(
    group: &'static str,
    config: &Config,
    work: Duration,
    delay: Duration,
    fail_rate: f64,
) -> Finding {
    let generation = &config.generation;
    let clip_s = f64::from(generation.video_frames) * generation.video_fps.frame_seconds();
    let takes_s = work.max(delay).as_secs_f64();
    let speed = clip_s / takes_s;
    let mut text = format!("a clip of {clip_s:.1} s takes {takes_s:.2} s, {speed:.1} x real time");
    if delay > work {
        text.push_str(" (mock_delay)");
    }
    if fail_rate > 0.0 {
        text.push_str(&format!("; {:.0} % fail (mock_fail_rate)", fail_rate * 100.0));
    }
    let rehearsal = delay > work || fail_rate > 0.0;
    let finding = match (speed < 1.0, rehearsal) {
        (false, _) if fail_rate == 0.0 => Finding::new(group, "mock", Mark::Ok, text),
        (_, true) => Finding::new(group, "mock", Mark::Warn, text)
            .advice("a rehearsal? for a show set mock_delay and mock_fail_rate to 0"),
        (_, false) => Finding::new(group, "mock", Mark::Warn, text).advice(
            "the show goes on, but shows clips again; lower generation.width, height or \
             video_frames",
        ),
    };
    finding.number("cycle_seconds", takes_s).number("clip_seconds", clip_s).number("speed", speed)
}

/// The folder, or what of the way to it there is.
fn existing_part(folder: &Path) -> &Path {
    let above = folder.ancestors().find(|part| part.exists());
    above.filter(|part| !part.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
