//! `vfaq run`: cycle after cycle, unattended, and the finished film at the end.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::assemble::films;
use super::progress::{Progress, clear, columns, say, tell};
use super::signals::{INTERRUPTED, stop_at_signals};
use super::{Folders, live, log};
use crate::app::assemble::{AssembleOptions, What};
use crate::app::batch::{self, BatchOptions, Event, Outcome, Stop, Why, Work};
use crate::app::save_as;
use crate::base::clock::{Clock, SystemClock};
use crate::base::error::{Error, Kind, Result};
use crate::base::time::{hms, parse_duration};
use crate::config::{self, BackendKind};
use crate::media::CycleId;

/// Without a terminal progress is a line as often as this.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// Make cycles unattended until there is enough, then put the film together
///
/// A project that has cycles is gone on with: after Ctrl-C, a crash or a power cut the same command
/// continues. The first Ctrl-C finishes the cycle, the second stops at once.
#[derive(Args)]
#[command(after_help = "\
Examples:
  vfaq run -n night --hours 2           until there are two hours of content, then the finished film
  vfaq run -n night -c 100 -b comfyui   until the project has 100 cycles
  vfaq run -n night                     go on as the settings say (cycle.max_cycles, or hours)
  vfaq run -n night --retry-failed      first make the cycles that failed
  vfaq run -n test -c 3 -b mock --dry-run
                                        check everything, say what would be made, and make nothing
  vfaq run -c 5                         without a name: in ./qodeyard; asks for a name at the end
  vfaq run -n night -c 20 --json        a JSON object a line, for scripts

docs/batch.md leads through a night from brief to film.")]
pub struct RunArgs {
    /// Project name; its folder is WORQSPACE/qonstructions/NAME, and a run there is gone on with
    #[arg(short, long)]
    name: Option<String>,

    /// Until the project has so many cycles, failed ones counted; 0: as in the settings
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, value_parser = cycles)]
    cycles: Option<u32>,

    /// Until the project has so many hours of content
    #[arg(long, value_name = "H", allow_negative_numbers = true)]
    hours: Option<f64>,

    /// Generator, for image and video: mock, comfyui, diffusers, replicate
    #[arg(short, long, value_parser = live::backend)]
    backend: Option<BackendKind>,

    /// Seed of cycle 0; cycle N has this and N times chaining.seed_step
    #[arg(short, long, allow_negative_numbers = true)]
    seed: Option<i64>,

    /// Between two cycles: seconds, or 500ms, 2m [default: cycle.delay_seconds]
    #[arg(long, value_name = "SECONDS", value_parser = delay)]
    delay: Option<Duration>,

    /// Begin anew in a project that has cycles (they are kept), instead of going on
    #[arg(long)]
    fresh: bool,

    /// First make the cycles again that failed
    #[arg(long, conflicts_with = "fresh")]
    retry_failed: bool,

    /// Make the cycles only; `vfaq assemble` makes the film later
    #[arg(long)]
    no_assemble: bool,

    /// Make the film without cycles that failed, instead of refusing to
    #[arg(long, conflicts_with = "no_assemble")]
    skip_failed: bool,

    /// Check settings, prompts and generators, say what would be made, and make nothing
    #[arg(long)]
    dry_run: bool,

    /// Print what happens as JSON, an object a line
    #[arg(long)]
    json: bool,

    /// Say nothing but what went wrong
    #[arg(short, long, conflicts_with = "json")]
    quiet: bool,
}

fn cycles(text: &str) -> std::result::Result<u32, String> {
    text.parse().map_err(|_| "give a number of cycles, such as 100; 0 is as in the settings".into())
}

fn delay(text: &str) -> Result<Duration> {
    match text.parse() {
        Ok(0.0) => Ok(Duration::ZERO),
        _ => parse_duration(text),
    }
}

pub fn run(folders: &Folders, args: RunArgs, clock: SystemClock) -> Result<ExitCode> {
    let work =
        Work::Run { cycles: args.cycles, hours: args.hours, retry_failed: args.retry_failed };
    let options = options(folders, args.name, args.backend, work)?;
    let options = BatchOptions { seed: args.seed, delay: args.delay, fresh: args.fresh, ..options };
    let clock = Arc::new(clock);
    if args.dry_run {
        return rehearse(&options, clock);
    }
    let stop = stop_at_signals()?;
    let (outcome, shown) = work_on(&options, &clock, &stop, args.json, args.quiet)?;
    let code = match &outcome.why {
        Why::Enough => ExitCode::SUCCESS,
        Why::Stopped => {
            shown.note("stopped; the same command goes on from here");
            ExitCode::from(INTERRUPTED)
        }
        Why::NoRoom { free_mb, least_mb } => {
            let text = format!(
                "{}: {free_mb} MB are free, and {least_mb} MB stay free (live.min_free_mb), so the \
                 run ended before the disk is full; free some room, and the same command goes on",
                outcome.folder.display()
            );
            return Err(Error::new(Kind::Io, text));
        }
    };
    drop(shown);
    let filmed = match outcome.why == Why::Enough && !args.no_assemble {
        true => films(&film_of(&options, args.skip_failed), &clock, &stop, args.json, args.quiet),
        false => Ok(code),
    };
    if options.name.is_none() && !args.json && outcome.made > 0 {
        leave_at_signal(&stop, filmed.as_ref().map_or(1, |_| 0));
        offer_name(&options, &outcome)?;
    }
    filmed
}

/// While a question stands all is done: a signal is no answer, and ends the program.
fn leave_at_signal(stop: &watch::Sender<Stop>, code: i32) {
    let (mut stop, before) = (stop.subscribe(), *stop.borrow());
    let wait = move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().build() else { return };
        if runtime.block_on(stop.wait_for(|stop| *stop != before)).is_ok() {
            say("");
            std::process::exit(code);
        }
    };
    // Without it the third Ctrl-C does the same.
    let _ = std::thread::Builder::new().name("leave".into()).spawn(wait);
}

/// The film of what a run has made.
fn film_of(options: &BatchOptions, skip_failed: bool) -> AssembleOptions {
    AssembleOptions {
        worqspace: options.worqspace.clone(),
        name: options.name.clone(),
        output: options.output.clone(),
        what: What::Films { deliverable: None },
        skip_failed,
        sound: None,
        dry_run: false,
    }
}

/// What `run` and `single` share.
pub fn options(
    folders: &Folders,
    name: Option<String>,
    backend: Option<BackendKind>,
    work: Work,
) -> Result<BatchOptions> {
    if let Some(name) = &name {
        config::project_name(name)?;
    }
    Ok(BatchOptions {
        worqspace: folders.worqspace.clone(),
        name,
        output: folders.output.clone(),
        backend,
        seed: None,
        delay: None,
        fresh: false,
        work,
    })
}

pub fn rehearse(options: &BatchOptions, clock: Arc<SystemClock>) -> Result<ExitCode> {
    for line in batch::rehearse(options, clock)? {
        println!("{line}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Does the work and shows it.
pub fn work_on(
    options: &BatchOptions,
    clock: &Arc<SystemClock>,
    stop: &watch::Sender<Stop>,
    json: bool,
    quiet: bool,
) -> Result<(Outcome, Shown)> {
    let mut shown = Shown {
        json,
        quiet,
        single: matches!(options.work, Work::Single { .. }),
        clock: clock.clone(),
        progress: Progress::new(quiet || json, LINE_EVERY),
    };
    let result = batch::run(
        options,
        clock.clone(),
        stop.subscribe(),
        &mut |folder| log::into_project(folder),
        &mut |event| shown.event(event),
    );
    clear();
    let outcome = result?;
    shown.ended(&outcome);
    Ok((outcome, shown))
}

/// The run on the screen, or for a script.
pub struct Shown {
    json: bool,
    quiet: bool,
    single: bool,
    clock: Arc<SystemClock>,
    progress: Progress,
}

impl Shown {
    fn event(&mut self, event: Event<'_>) {
        if self.json {
            if let Some(value) = as_json(&event) {
                say_json(&value);
            }
            return;
        }
        match event {
            Event::Progress(progress) => {
                let text = self.working(progress);
                self.progress.show(progress.share(), &text, self.clock.now());
            }
            Event::Begins { folder, next, resumed, .. } => {
                let how = if resumed { "goes on with" } else { "begins with" };
                self.say(&format!("{} {how} cycle {}", folder.display(), next.0));
            }
            Event::Completes { cycle } => {
                self.say(&format!("cycle {cycle}  its video is missing, and made from its clip"));
            }
            Event::Made(made) => {
                let retries = match made.retries {
                    0 => String::new(),
                    1 => "  1 retry".into(),
                    n => format!("  {n} retries"),
                };
                let line = format!(
                    "cycle {}  {:.1} s of video in {:.1} s{retries}  {}  seed {}  {}",
                    made.cycle,
                    made.seconds,
                    made.took.as_secs_f64(),
                    made.backend,
                    made.seed,
                    super::line::clean(&made.prompt)
                );
                self.say(&self.fitted(&line));
                if self.single {
                    self.say(&format!("            {}", made.video.display()));
                }
            }
            Event::Failed { cycle, error } => {
                tell(&said_of(cycle, error));
            }
            Event::Warning(text) => self.note(text),
        }
    }

    /// On a terminal one line; a pipe gets it whole.
    fn fitted(&self, line: &str) -> String {
        match std::io::stdout().is_terminal() {
            true => super::line::cut(line, columns()),
            false => line.to_owned(),
        }
    }

    fn working(&self, progress: &batch::Progress) -> String {
        let mut parts = Vec::new();
        let number = progress.generating.as_ref().map_or(progress.done, |making| making.cycle);
        parts.push(match progress.goal.cycles {
            // Numbers begin at 0.
            Some(cycles) => format!("cycle {number} ({} of {cycles})", progress.done),
            None => format!("cycle {number}"),
        });
        if let Some(making) = &progress.generating {
            let share = making.done.map(|done| format!(" {:.0} %", done * 100.0));
            let said = share.or_else(|| making.progress.as_ref().map(|said| format!(" {said}")));
            parts.push(format!(
                "{}{} {:.0} s",
                making.stage,
                said.unwrap_or_default(),
                making.elapsed_s
            ));
        }
        if let Some(each) = progress.per_cycle {
            parts.push(format!("{:.1} s a cycle", each.as_secs_f64()));
        }
        let made = length(progress.seconds);
        parts.push(match progress.goal.seconds {
            Some(wanted) => format!("{made} of {}", length(wanted)),
            None => format!("{made} made"),
        });
        if progress.failed > 0 {
            parts.push(format!("{} failed", progress.failed));
        }
        if let Some(left) = progress.left {
            parts.push(format!("{} left", hms(left)));
        }
        parts.join("  ")
    }

    fn say(&self, line: &str) {
        if !self.quiet {
            say(line);
        }
    }

    pub fn note(&self, text: &str) {
        match self.json {
            true => say_json(&json!({"event": "note", "text": text})),
            false => tell(text),
        }
    }

    fn ended(&self, outcome: &Outcome) {
        if self.json {
            let (why, free_mb) = match &outcome.why {
                Why::Enough => ("enough", None),
                Why::Stopped => ("stopped", None),
                Why::NoRoom { free_mb, .. } => ("no_room", Some(free_mb)),
            };
            say_json(&json!({
                "event": "ended", "why": why, "free_mb": free_mb, "made": outcome.made,
                "failed": outcome.failed, "seconds": outcome.seconds,
                "folder": outcome.folder.display().to_string(),
            }));
            return;
        }
        if self.single {
            return;
        }
        let failed = match outcome.failed.len() {
            0 => String::new(),
            n => format!(", {n} failed"),
        };
        self.say(&format!(
            "{}: {} made{failed}; {} of content",
            outcome.folder.display(),
            match outcome.made {
                1 => "1 cycle".to_owned(),
                n => format!("{n} cycles"),
            },
            length(outcome.seconds)
        ));
    }
}

/// Of content; what no time can be is none.
pub fn length(seconds: f64) -> String {
    hms(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

fn said_of(cycle: CycleId, error: &str) -> String {
    match error.starts_with("cycle ") {
        true => error.to_owned(),
        false => format!("cycle {}: {error}", cycle.0),
    }
}

fn say_json(value: &Value) {
    say(&value.to_string());
}

fn as_json(event: &Event<'_>) -> Option<Value> {
    Some(match event {
        Event::Begins { folder, goal, next, resumed } => json!({
            "event": "begins", "folder": folder.display().to_string(), "next": next.0,
            "resumed": resumed, "cycles": goal.cycles, "seconds": goal.seconds,
        }),
        Event::Completes { cycle } => json!({"event": "completes", "cycle": cycle.0}),
        Event::Progress(progress) => {
            let making = progress.generating.as_ref();
            json!({
                "event": "progress", "done": progress.done, "made": progress.made,
                "failed": progress.failed, "content_s": progress.seconds,
                "share": progress.share(),
                "cycle": making.map(|making| making.cycle),
                "stage": making.map(|making| making.stage),
                "stage_done": making.and_then(|making| making.done),
                "per_cycle_s": progress.per_cycle.map(|each| each.as_secs_f64()),
                "left_s": progress.left.map(|left| left.as_secs_f64()),
            })
        }
        Event::Made(made) => json!({
            "event": "made", "cycle": made.cycle.0, "took_s": made.took.as_secs_f64(),
            "retries": made.retries, "backend": made.backend, "seed": made.seed,
            "prompt": made.prompt, "video": made.video.display().to_string(),
            "seconds": made.seconds,
        }),
        Event::Failed { cycle, error } => {
            json!({"event": "failed", "cycle": cycle.0, "error": error})
        }
        Event::Warning(text) => json!({"event": "warning", "text": text}),
    })
}

/// A run without a name may become a project, if somebody is there to be asked.
fn offer_name(options: &BatchOptions, outcome: &Outcome) -> Result<()> {
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        return Ok(());
    }
    loop {
        print!(
            "Save as a project? Its name, or Enter to leave it in {}: ",
            outcome.folder.display()
        );
        let _ = std::io::stdout().flush();
        let Some(name) = answer()? else { return Ok(()) };
        let target = match config::project_name(&name)
            .and_then(|_| crate::archive::named_folder(&options.worqspace, &name))
        {
            Ok(target) => target,
            Err(error) => {
                tell(&error.to_string());
                continue;
            }
        };
        if target.exists() {
            print!(
                "{} is there already. Put it aside, and take its name? [y/N] ",
                target.display()
            );
            let _ = std::io::stdout().flush();
            if !answer()?.is_some_and(|said| matches!(&*said.to_lowercase(), "y" | "yes")) {
                continue;
            }
        }
        let saved = match save_as::save(&outcome.folder, &target) {
            Ok(saved) => saved,
            Err(error) => {
                tell(&error.to_string());
                continue;
            }
        };
        if let Some(aside) = saved.put_aside {
            println!("{} is now {}", target.display(), aside.display());
        }
        let worqspace = match options.worqspace == Path::new("worqspace") {
            true => String::new(),
            false => format!(" -w {}", options.worqspace.display()),
        };
        println!("saved as {}; go on with vfaq run{worqspace} -n {name}", target.display());
        return Ok(());
    }
}

/// A line from the terminal; `None`: nothing was said.
fn answer() -> Result<Option<String>> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(|e| Error::io("cannot read the terminal", e))?;
    Ok(Some(line.trim().to_owned()).filter(|line| !line.is_empty()))
}
