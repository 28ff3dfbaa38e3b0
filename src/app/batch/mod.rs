//! Unattended runs: cycle after cycle until there is enough, then the finished film.
//!
//! Holds: no picture is on air, so nothing here is in a hurry. A run that is stopped or killed at any
//! moment goes on from its last finished cycle. The built-in generator never stands in for another:
//! what is asked of a server is made by it, or the cycle fails and is said to have failed.

mod complete;
mod goal;
mod progress;
mod rehearsal;
mod room;
mod work;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::{backends, project_folder};
use crate::archive::{self, Project};
use crate::base::clock::Clock;
use crate::base::error::{Error, Result};
use crate::config::{BackendKind, Config};
use crate::generate::pool::Pool;
use crate::llm::{self, Writer};
use crate::media::CycleId;
use crate::worqspace::{self, PromptBundle};

pub use complete::complete_all;
pub use goal::Goal;
pub use progress::Progress;
pub use rehearsal::rehearse;

/// What is asked for on the command line.
#[derive(Clone, Debug)]
pub struct BatchOptions {
    pub worqspace: PathBuf,
    /// Project name; `None`: the folder `output`.
    pub name: Option<String>,
    /// The folder of an unnamed run; `None`: as in the settings.
    pub output: Option<PathBuf>,
    pub backend: Option<BackendKind>,
    /// The seed that cycles are counted from, in place of the brief's or the project's.
    pub seed: Option<i64>,
    /// Between cycles; `None`: as in the settings.
    pub delay: Option<Duration>,
    /// Begin anew in numbers above all that is there.
    pub fresh: bool,
    pub work: Work,
}

/// What is to be made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Work {
    /// Cycles until there is enough: `cycles` in the project, or `hours` of content; whichever is
    /// reached first. Neither: as in the settings. With `retry_failed` failed cycles first.
    Run { cycles: Option<u32>, hours: Option<f64>, retry_failed: bool },
    /// One cycle; `None`: the next one.
    Single { cycle: Option<CycleId> },
}

/// When to end before there is enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    #[default]
    No,
    AfterCycle,
    Now,
}

/// What happens, as it happens.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// Everything is checked and work begins.
    Begins {
        folder: &'a Path,
        goal: Goal,
        next: CycleId,
        resumed: bool,
    },
    /// The video of a cycle whose clip was made before is made up for.
    Completes {
        cycle: CycleId,
    },
    /// A few times a second.
    Progress(&'a Progress),
    Made(Made),
    /// For good: every retry failed too.
    Failed {
        cycle: CycleId,
        error: &'a str,
    },
    Warning(&'a str),
}

/// A cycle that was made.
#[derive(Clone, Debug)]
pub struct Made {
    pub cycle: CycleId,
    pub took: Duration,
    pub retries: u32,
    pub backend: String,
    pub seed: i64,
    pub prompt: String,
    /// The cycle's video.
    pub video: PathBuf,
    /// Of its video.
    pub seconds: f64,
}

/// Why a run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Why {
    Enough,
    Stopped,
    /// The disk is nearly full: what is free, and what has to stay so.
    NoRoom {
        free_mb: u64,
        least_mb: u64,
    },
}

/// What a run has done.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub why: Why,
    pub folder: PathBuf,
    pub made: u32,
    /// Failures of this run that are still open.
    pub failed: Vec<u32>,
    /// Content that the project has now.
    pub seconds: f64,
}

/// What was asked for, checked; nothing is kept yet.
struct Checked {
    config: Config,
    config_text: String,
    bundle: PromptBundle,
    pool: Pool,
    writer: Option<Arc<dyn Writer>>,
    folder: PathBuf,
}

fn check(options: &BatchOptions, clock: Arc<dyn Clock>) -> Result<Checked> {
    let opened = worqspace::open(&options.worqspace)?;
    let (mut config, bundle) = (opened.config, opened.bundle);
    for warning in &opened.warnings {
        tracing::warn!("{warning}");
    }
    if let Some(kind) = options.backend.or(bundle.backend) {
        config.use_backend(kind);
    }
    if let Some(delay) = options.delay {
        config.cycle.delay = delay;
    }
    config.live.stand_in = false;
    let (name, output) = (options.name.as_deref(), options.output.as_deref());
    let given = project_folder::given(&options.worqspace, name, output)?;
    let folder = given.unwrap_or_else(|| config.paths.output_dir.clone());
    let (pool, writer) = (backends::pool(&config, clock)?, llm::writer(&config.llm)?);
    Ok(Checked { config, config_text: opened.config_text, bundle, pool, writer, folder })
}

/// Whether somebody can be expected to make pictures and clips. A run would find that out too, but
/// only after all its patience.
fn check_generators(checked: &Checked, clock: Arc<dyn Clock>) -> Result<()> {
    let reports = backends::report(&checked.config, &checked.bundle, false, clock)?;
    for (what, makes) in [
        ("pictures", (|r: &backends::Report| r.images) as fn(&backends::Report) -> bool),
        ("clips", |r| r.videos),
    ] {
        let mut those = reports.iter().filter(|report| makes(report)).peekable();
        let reason = |report: &backends::Report| {
            report.health.as_ref().err().map(|error| format!("{}: {error}", report.name))
        };
        if those.peek().is_some() && those.clone().all(|report| report.health.is_err()) {
            let reasons: Vec<_> = those.filter_map(reason).collect();
            return Err(Error::unavailable(format!(
                "nobody can make {what}: {}; `vfaq backends` says more",
                reasons.join("; ")
            )));
        }
        for reason in those.filter_map(reason) {
            tracing::warn!("{reason}; the others make its {what}");
        }
    }
    Ok(())
}

fn open(checked: &Checked, options: &BatchOptions, clock: &dyn Clock) -> Result<Project> {
    let who = match options.work {
        Work::Run { .. } => "vfaq run",
        Work::Single { .. } => "vfaq single",
    };
    Project::open(archive::Open {
        folder: &checked.folder,
        briqs_dir: checked.config.paths.briqs_dir.as_deref(),
        fresh: options.fresh,
        must_exist: false,
        config_text: &checked.config_text,
        who,
        now: clock.wall(),
    })
}

/// Runs until there is enough, or until `stop` says otherwise.
///
/// # Errors
/// Whatever is wrong with what was asked for; then nothing was made. Later: a cycle that failed
/// where `cycle.continue_on_error` is off, or several in a row where it is on. What was made before
/// is kept.
pub fn run(
    options: &BatchOptions,
    clock: Arc<dyn Clock>,
    stop: watch::Receiver<Stop>,
    on_project: &mut dyn FnMut(&Path),
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Outcome> {
    crate::stream::init()?;
    let checked = check(options, clock.clone())?;
    check_generators(&checked, clock.clone())?;
    let project = Arc::new(open(&checked, options, &*clock)?);
    on_project(project.folder());
    work::run(checked, options, project, clock, stop, on_event)
}
