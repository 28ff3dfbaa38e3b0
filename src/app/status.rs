//! Where projects stand: what is made, failed and open, what is damaged, whether the films are those
//! of the present cycles, and what to do next.
//!
//! Holds: projects are only looked at; nothing in them is made, locked or changed. Settings that are
//! wrong do not keep anybody from looking.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::project_folder;
use crate::archive::inventory::{Inventory, Kind, states_aside};
use crate::archive::survey::{Cycle, Held};
use crate::archive::{
    FactoryState, Recording, RecordingKind, Survey, disk, fingerprint, mp4, read_json,
};
use crate::base::error::Result;
use crate::config;
use crate::cycle::BriqStatus;

const BASE_MASTER: &str = "final_output.mp4";
const DELIVERABLE: &str = "final_60fps_1080p.mp4";

/// What is asked for on the command line.
#[derive(Clone, Debug)]
pub struct StatusOptions {
    pub worqspace: PathBuf,
    pub name: Option<String>,
    pub output: Option<PathBuf>,
    /// The list of projects, whatever else.
    pub all: bool,
}

#[derive(Debug)]
pub struct Statuses {
    /// The project that was named, or the unnamed one where there is one.
    pub project: Option<Looked>,
    /// Of the worqspace, by name; `None`: not asked for.
    pub projects: Option<Vec<Listed>>,
}

/// A project that was looked at.
#[derive(Debug)]
pub struct Looked {
    pub status: ProjectStatus,
    pub survey: Survey,
}

/// A project in the list.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Listed {
    Good(Box<ProjectStatus>),
    /// It cannot be looked at.
    Bad {
        name: String,
        error: String,
    },
}

#[derive(Debug, Serialize)]
pub struct ProjectStatus {
    /// `None`: the project without a name.
    pub name: Option<String>,
    pub folder: String,
    pub session_id: Option<String>,
    pub started_at: Option<String>,
    /// Who has it open.
    pub holder: Option<String>,
    pub cycles: Counts,
    /// Of the whole clips of this session.
    pub content_s: f64,
    /// Time that generators took.
    pub generation_s: f64,
    pub failures: Vec<Failure>,
    pub damaged: Vec<Damage>,
    /// What cannot be read: a state, briqs.
    pub faults: Vec<String>,
    pub disk: Disk,
    pub base_master: Film,
    pub deliverable: Film,
    /// What was recorded live, and older deliverables.
    pub recordings: Vec<Recorded>,
    pub next: Next,
}

/// Of the cycles of the present session, but for `earlier`.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Counts {
    /// `None`: no limit.
    pub requested: Option<u32>,
    /// They have a whole clip.
    pub made: u32,
    /// Tried, and never made after that.
    pub failed: u32,
    /// Still to be made, of those that were requested.
    pub open: Option<u32>,
    /// Begun, and neither made nor failed.
    pub unfinished: u32,
    /// Made once; now no clip of them can be played.
    pub lost: u32,
    /// Made in sessions before the last fresh start.
    pub earlier: u32,
}

#[derive(Debug, Serialize)]
pub struct Failure {
    pub cycle: u32,
    pub reason: String,
}

#[derive(Debug, Serialize)]
pub struct Damage {
    pub cycle: Option<u32>,
    /// As the project says it.
    pub file: String,
    pub what: String,
}

#[derive(Debug, Serialize)]
pub struct Disk {
    pub used_bytes: u64,
    pub kinds: BTreeMap<Kind, Sum>,
    /// Files, folders and links that the program does not know.
    pub unknown: usize,
    pub free_bytes: Option<u64>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Sum {
    pub files: usize,
    pub bytes: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct Film {
    /// File name in the project.
    pub file: String,
    pub state: FilmState,
    pub bytes: Option<u64>,
    pub seconds: Option<f64>,
    /// Failed cycles that were left out.
    pub left_out: Vec<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FilmState {
    Missing,
    /// Made of the cycles that are there.
    Current,
    /// Cycles came, went or changed since.
    Outdated,
    /// Nothing says what it was made of: the predecessor's.
    Unknown,
    Damaged,
}

#[derive(Clone, Debug, Serialize)]
pub struct Recorded {
    pub file: String,
    pub kind: RecordingKind,
    pub parts: usize,
    pub frames: u64,
    /// False: it is being written, or the program was killed.
    pub complete: bool,
    pub joined: Option<String>,
    pub bytes: Option<u64>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Next {
    /// What is to be done, in words.
    pub text: String,
    /// With which command, if one does it.
    pub command: Option<String>,
}

/// Looks at what was asked for.
///
/// # Errors
/// What was named is no project.
pub fn look(options: &StatusOptions) -> Result<Statuses> {
    let given = project_folder::given(
        &options.worqspace,
        options.name.as_deref(),
        options.output.as_deref(),
    )?;
    // Reading the settings makes the secrets in them known, so that none of them is shown.
    let (config, _, _) = config::check(&options.worqspace);
    let briqs = config.paths.briqs_dir.as_deref();
    let is_given = given.is_some();
    let folder = given.unwrap_or(config.paths.output_dir.clone());
    let project = match is_given || folder.is_dir() {
        true => {
            let args = arguments(options, options.name.as_deref());
            Some(project(&folder, briqs, options.name.clone(), &args)?)
        }
        false => None,
    };
    let projects = (!is_given || options.all).then(|| list(options, briqs)).transpose()?;
    Ok(Statuses { project, projects })
}

fn list(options: &StatusOptions, briqs: Option<&Path>) -> Result<Vec<Listed>> {
    let mut names = Vec::new();
    let home = options.worqspace.join("qonstructions");
    for entry in fs::read_dir(home).into_iter().flatten().flatten() {
        if entry.path().is_dir()
            && let Ok(name) = entry.file_name().into_string()
            && !name.starts_with('.')
        {
            names.push((name, entry.path()));
        }
    }
    names.sort();
    let look = |(name, folder): (String, PathBuf)| {
        let args = arguments(options, Some(&name));
        match project(&folder, briqs, Some(name.clone()), &args) {
            Ok(looked) => Listed::Good(Box::new(looked.status)),
            Err(error) => Listed::Bad { name, error: error.to_string() },
        }
    };
    Ok(names.into_iter().map(look).collect())
}

/// What a command needs to be about this project, ` -n night`.
fn arguments(options: &StatusOptions, name: Option<&str>) -> String {
    let mut args = String::new();
    if options.worqspace != Path::new("worqspace") {
        args += &format!(" -w {}", quoted(&options.worqspace.to_string_lossy()));
    }
    match (name, &options.output) {
        (Some(name), _) => args += &format!(" -n {}", quoted(name)),
        (None, Some(output)) => args += &format!(" -o {}", quoted(&output.to_string_lossy())),
        (None, None) => {}
    }
    args
}

/// As a shell reads it as one word.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:".contains(c);
    match text.is_empty() || !text.chars().all(plain) {
        true => format!("'{}'", text.replace('\'', r"'\''")),
        false => text.to_owned(),
    }
}

fn project(
    folder: &Path,
    briqs: Option<&Path>,
    name: Option<String>,
    args: &str,
) -> Result<Looked> {
    let survey = Survey::of(folder, briqs)?;
    let inventory = Inventory::of(folder, briqs)?;
    let status = status_of(&survey, &inventory, name, args);
    Ok(Looked { status, survey })
}

fn status_of(
    survey: &Survey,
    inventory: &Inventory,
    name: Option<String>,
    args: &str,
) -> ProjectStatus {
    let session = survey.session();
    let (content_s, generation_s) = times(survey);
    let failures = session
        .iter()
        .filter_map(|cycle| Some(Failure { cycle: cycle.cycle.0, reason: cycle.failure.clone()? }));
    let kinds = Kind::ALL.map(|kind| {
        let (files, bytes) = inventory.sum(kind);
        (kind, Sum { files, bytes })
    });
    let state = survey.state.as_ref();
    let mut status = ProjectStatus {
        name,
        folder: survey.folder.display().to_string(),
        session_id: state.map(|state| state.session_id.clone()).filter(|id| !id.is_empty()),
        started_at: state.map(|state| state.started_at.clone()).filter(|at| !at.is_empty()),
        holder: survey.holder.clone(),
        cycles: counts(survey),
        content_s,
        generation_s,
        failures: failures.collect(),
        damaged: damaged(survey),
        faults: survey.faults.clone(),
        disk: Disk {
            used_bytes: kinds.iter().map(|(_, sum)| sum.bytes).sum(),
            kinds: BTreeMap::from(kinds),
            unknown: inventory.unknown.len(),
            free_bytes: disk::free_bytes(&survey.folder),
        },
        base_master: film(survey, BASE_MASTER),
        deliverable: film(survey, DELIVERABLE),
        recordings: Vec::new(),
        next: Next { text: String::new(), command: None },
    };
    films(survey, &mut status);
    status.next = next(survey, &status, args);
    status
}

fn counts(survey: &Survey) -> Counts {
    let session = survey.session();
    let has_clip = |cycle: &Cycle| cycle.video.whole().or(cycle.raw.whole()).is_some();
    let count = |is: &dyn Fn(&Cycle) -> bool| session.iter().filter(|c| is(c)).count() as u32;
    let made = count(&has_clip);
    let failed = count(&|c| c.failure.is_some() && !has_clip(c));
    let lost = count(&|c| c.failure.is_none() && c.was_made() && !has_clip(c));
    let requested = survey.state.as_ref().map_or(0, |state| state.total_cycles_requested);
    let earlier = &survey.cycles[..survey.cycles.len() - session.len()];
    Counts {
        requested: Some(requested).filter(|requested| *requested > 0),
        made,
        failed,
        open: (requested > 0).then(|| requested.saturating_sub(made + failed + lost)),
        unfinished: count(&|c| c.failure.is_none() && !c.was_made()),
        lost,
        earlier: earlier.iter().filter(|c| has_clip(c)).count() as u32,
    }
}

/// Seconds of content, and of generation.
fn times(survey: &Survey) -> (f64, f64) {
    let session = survey.session();
    let by_briqs = || {
        let briqs = session.iter().filter_map(|cycle| cycle.briq.as_ref());
        briqs.map(|briq| briq.generation_time.max(0.0)).sum::<f64>()
    };
    let by_state = survey.state.as_ref().map(|state| state.total_generation_time);
    (
        survey.content_seconds(),
        by_state.filter(|seconds| *seconds > 0.0).unwrap_or_else(|| by_briqs() + 0.0),
    )
}

/// Clips that cannot be played, and those that should be there.
fn damaged(survey: &Survey) -> Vec<Damage> {
    let mut damaged = Vec::new();
    for cycle in survey.session() {
        let number = Some(cycle.cycle.0);
        for held in [&cycle.raw, &cycle.video] {
            if let Held::Damaged(path, what) = held {
                let file = relative(&survey.folder, path);
                damaged.push(Damage { cycle: number, file, what: what.clone() });
            }
        }
        let none = cycle.raw == Held::Missing && cycle.video == Held::Missing;
        if none && cycle.was_made() {
            let file = format!("videos/cycle{}_raw.mp4", cycle.cycle);
            damaged.push(Damage { cycle: number, file, what: "is missing".into() });
        }
    }
    damaged
}

fn relative(folder: &Path, path: &Path) -> String {
    path.strip_prefix(folder).unwrap_or(path).display().to_string()
}

/// A film of which nothing but the file is known.
fn film(survey: &Survey, file: &str) -> Film {
    let path = survey.folder.join(file);
    let bytes = fs::metadata(&path).ok().filter(fs::Metadata::is_file).map(|about| about.len());
    let state = match bytes {
        None => FilmState::Missing,
        Some(_) if mp4::check_whole(&path).is_err() => FilmState::Damaged,
        Some(_) => FilmState::Unknown,
    };
    let seconds = bytes.and_then(|_| mp4::seconds(&path));
    Film { file: file.to_owned(), state, bytes, seconds, left_out: Vec::new() }
}

/// What the state says of the films, held against what is there.
fn films(survey: &Survey, status: &mut ProjectStatus) {
    let state = survey.state.clone().unwrap_or_default();
    // Of the whole session: finding it takes a while, so only where it is asked for.
    let print = std::cell::OnceCell::new();
    let is_current =
        |of: &str| !of.is_empty() && print.get_or_init(|| fingerprint(survey.session())) == of;
    let judged = |film: &mut Film, of: Option<&str>| {
        if film.state == FilmState::Unknown
            && let Some(of) = of
        {
            film.state = match is_current(of) {
                true => FilmState::Current,
                false => FilmState::Outdated,
            };
        }
    };
    if let Some(entry) = &state.base_master {
        if is_file_name(&entry.file) {
            status.base_master = film(survey, &entry.file);
        }
        status.base_master.left_out = entry.left_out.clone();
        judged(&mut status.base_master, Some(&entry.fingerprint));
    }

    // Those of sessions before a fresh start are still known for what they are.
    let mut entries: Vec<Recording> = Vec::new();
    for path in states_aside(&survey.folder) {
        let old: FactoryState = read_json(&path).unwrap_or_default();
        let old_master = old.base_master.is_some() && state.base_master.is_none();
        if old_master {
            judged(&mut status.base_master, Some("an earlier session's"));
        }
        entries.extend(old.recordings);
    }
    entries.extend(state.recordings.iter().cloned());
    entries.retain(|recording| is_file_name(&recording.file));

    // The last one that was assembled is the deliverable.
    let assembled = entries.iter().rev().find(|r| r.kind == RecordingKind::Assembled);
    match assembled {
        Some(recording) => {
            status.deliverable = film(survey, &recording.file);
            if !recording.complete && status.deliverable.state == FilmState::Unknown {
                status.deliverable.state = FilmState::Damaged;
            }
            judged(&mut status.deliverable, Some(recording.of.as_deref().unwrap_or_default()));
        }
        None if entries.iter().any(|r| r.file == DELIVERABLE) => {
            status.deliverable = Film {
                state: FilmState::Missing,
                bytes: None,
                seconds: None,
                ..status.deliverable.clone()
            };
        }
        None => {}
    }
    let deliverable = assembled.cloned();
    for recording in entries.iter().filter(|recording| Some(*recording) != deliverable.as_ref()) {
        let parts: Vec<&String> = recording.parts.iter().filter(|p| is_file_name(p)).collect();
        let sizes = parts.iter().filter_map(|part| {
            fs::metadata(survey.folder.join(part)).ok().map(|about| about.len())
        });
        status.recordings.push(Recorded {
            file: recording.file.clone(),
            kind: recording.kind,
            parts: parts.len().max(1),
            frames: recording.frames,
            complete: recording.complete,
            joined: recording.joined.clone(),
            bytes: sizes.reduce(|a, b| a + b),
        });
    }
}

fn is_file_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\'])
}

fn next(survey: &Survey, status: &ProjectStatus, args: &str) -> Next {
    let say = |text: &str| Next { text: text.to_owned(), command: None };
    let run = |text: &str, command: &str, rest: &str| Next {
        text: text.to_owned(),
        command: Some(format!("vfaq {command}{args}{rest}")),
    };
    let counts = &status.cycles;
    if let Some(holder) = &status.holder {
        return say(&format!("nothing: {holder} is at work on it"));
    }
    if survey.state.is_none() && !status.faults.is_empty() {
        return run(
            "the state is damaged: mend the file, or begin anew beside all that is there",
            "clean",
            "",
        );
    }
    if counts.failed > 0 {
        return run("make the failed cycles", "run", " --retry-failed");
    }
    // What somebody took away is not wanted; what is damaged and has no other clip is.
    if survey.failed().next().is_some() {
        return run("make the damaged cycles again", "run", " --retry-failed");
    }
    let first = survey.state.as_ref().map_or(0, |state| state.first_cycle);
    let done = survey.session().last().map_or(0, |cycle| cycle.cycle.0 + 1 - first);
    if let (Some(open @ 1..), Some(requested)) = (counts.open, counts.requested)
        && done < requested
    {
        let text = format!("make the {open} cycles that are open");
        return run(&text, "run", &format!(" -c {requested}"));
    }
    if counts.made == 0 {
        return run("make cycles", "run", "");
    }
    let session = survey.session();
    let shaped = |cycle: &Cycle| {
        cycle.video.whole().is_some()
            || cycle.briq.as_ref().is_none_or(|b| b.status == BriqStatus::Complete)
            || cycle.raw.whole().is_none()
    };
    if !session.iter().all(shaped) && counts.requested.is_some() {
        return run("make the videos of the last cycles", "run", "");
    }
    if status.recordings.iter().any(|r| r.parts > 1 && r.joined.is_none()) {
        return run("join the parts of the recording", "assemble", "");
    }
    let film_states = [status.base_master.state, status.deliverable.state];
    if film_states.contains(&FilmState::Damaged) {
        return run("move the damaged film elsewhere, and make it again", "assemble", "");
    }
    if film_states.contains(&FilmState::Outdated) {
        return run("make the film of the present cycles", "assemble", "");
    }
    if status.base_master.state == FilmState::Missing {
        return run("put the film together", "assemble", "");
    }
    if film_states[1] == FilmState::Missing {
        return run("make the deliverable of the base master", "assemble", "");
    }
    say(&format!("nothing; the film is {}", status.deliverable.file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_names_the_project_so_that_a_shell_finds_it() {
        let options = |worqspace: &str, output: Option<&str>| StatusOptions {
            worqspace: worqspace.into(),
            name: None,
            output: output.map(PathBuf::from),
            all: false,
        };
        assert_eq!(arguments(&options("worqspace", None), Some("night")), " -n night");
        assert_eq!(arguments(&options("worqspace", None), None), "");
        assert_eq!(arguments(&options("w", Some("my films")), None), " -w w -o 'my films'");
        assert_eq!(arguments(&options("worqspace", None), Some("it's; rm")), r" -n 'it'\''s; rm'");
    }
}
