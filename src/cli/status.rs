//! `vfaq status`: where a project stands, and the list of all projects.
//!
//! Holds: what is printed holds no control characters and no secrets, whatever a file contains.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::Folders;
use super::line::{Line, Style, clean};
use super::progress::say;
use crate::app::contact_sheet;
use crate::app::status::{self, Film, FilmState, Listed, ProjectStatus, Recorded, StatusOptions};
use crate::archive::RecordingKind;
use crate::archive::inventory::{CONTACT_SHEET, Kind};
use crate::base::error::{Error, Result};
use crate::base::redact::hide;
use crate::base::time::hms;

/// So many failures and damaged files are shown; the rest is counted.
const MOST_SHOWN: usize = 12;

/// Say where a project stands, and what to do next
///
/// Without -n and -o: the project without a name, where there is one, and the list of all projects of
/// the worqspace. Nothing is changed, so a project may be looked at while it is worked on.
#[derive(Args)]
#[command(after_help = "\
Examples:
  vfaq status                    the unnamed project, and all projects of ./worqspace
  vfaq status -n night           cycles, failures, damaged files, disk, films, and what to do next
  vfaq status -n night --html    a page with every cycle: WORQSPACE/qonstructions/night/contact_sheet.html
  vfaq status -n night --html sheet.html
                                 the page elsewhere
  vfaq status --all --json       every project, for scripts

docs/status.md describes the JSON and the page.")]
pub struct StatusArgs {
    /// Project name; its folder is WORQSPACE/qonstructions/NAME
    #[arg(short, long)]
    name: Option<String>,

    /// List all projects of the worqspace, whatever else is asked for
    #[arg(long)]
    all: bool,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    /// Write a page with a picture of every cycle [default file: contact_sheet.html in the project]
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    html: Option<Option<PathBuf>>,
}

pub fn run(folders: &Folders, args: StatusArgs) -> Result<()> {
    let options = StatusOptions {
        worqspace: folders.worqspace.clone(),
        name: args.name,
        output: folders.output.clone(),
        all: args.all,
    };
    let statuses = status::look(&options)?;
    let mut sheet = None;
    if let Some(file) = args.html {
        let Some(looked) = &statuses.project else {
            return Err(Error::usage("--html is of one project; name it with -n"));
        };
        let file = file.unwrap_or_else(|| looked.survey.folder.join(CONTACT_SHEET));
        contact_sheet::write(looked, &file)?;
        sheet = Some(file);
    }
    if args.json {
        let value = json!({
            "project": statuses.project.as_ref().map(|looked| &looked.status),
            "projects": statuses.projects,
            "contact_sheet": sheet.map(|file| file.display().to_string()),
        });
        say(&pretty(&value));
        return Ok(());
    }
    let screen = Screen::of_stdout();
    if let Some(looked) = &statuses.project {
        screen.project(&looked.status);
    }
    if let Some(projects) = &statuses.projects {
        if let Some(looked) = &statuses.project {
            screen.next(&looked.status);
            say("");
        }
        screen.list(projects, statuses.project.is_some());
    }
    if let Some(file) = sheet {
        screen.line(|line| {
            line.put(Style::Dim, "page     ");
            line.put(Style::Plain, &file.display().to_string());
        });
    }
    // What to do stands last, where it is seen.
    if let Some(looked) = statuses.project.as_ref().filter(|_| statuses.projects.is_none()) {
        screen.next(&looked.status);
    }
    Ok(())
}

/// JSON with the control characters that a terminal obeys escaped: those of C1 too.
fn pretty(value: &Value) -> String {
    let text = format!("{value:#}");
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{7f}'..='\u{9f}' => out += &format!("\\u{:04x}", u32::from(c)),
            c => out.push(c),
        }
    }
    out
}

/// `1.4 GB`.
pub fn bytes(bytes: u64) -> String {
    let units = [("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)];
    match units.iter().find(|(_, unit)| bytes as f64 >= *unit) {
        Some((name, unit)) => format!("{:.1} {name}", bytes as f64 / unit),
        None => format!("{bytes} bytes"),
    }
}

pub fn time(seconds: f64) -> String {
    hms(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

struct Screen {
    width: usize,
    colour: bool,
}

impl Screen {
    /// A pipe gets lines whole and without colour.
    fn of_stdout() -> Screen {
        if !std::io::stdout().is_terminal() {
            return Screen { width: 4096, colour: false };
        }
        let width = crossterm::terminal::size().map_or(80, |(columns, _)| usize::from(columns));
        let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Screen { width: width.max(20), colour }
    }

    fn line(&self, fill: impl FnOnce(&mut Line)) {
        let mut line = Line::unlabelled(self.width, self.colour);
        fill(&mut line);
        say(&line.finish());
    }

    /// Text that is cut by nothing but the terminal: commands are to be copied, errors to be read.
    fn whole(&self, label: &str, style: Style, text: &str) {
        let text = clean(&hide(text));
        let mut line = Line::unlabelled(text.len() + label.len() + 1, self.colour);
        line.put(Style::Dim, label);
        line.put(style, &text);
        say(&line.finish());
    }

    fn labelled(&self, label: &str, pieces: &[(Style, String)]) {
        let mut line = Line::new(label, self.width, self.colour);
        for (n, (style, text)) in pieces.iter().filter(|(_, text)| !text.is_empty()).enumerate() {
            if n > 0 {
                line.put(Style::Plain, "  ");
            }
            line.put(*style, &hide(text));
        }
        say(&line.finish());
    }

    fn project(&self, status: &ProjectStatus) {
        self.line(|line| {
            line.put(Style::Bold, status.name.as_deref().unwrap_or("unnamed project"));
            line.put(Style::Dim, &format!("  {}", status.folder));
        });
        if let Some(holder) = &status.holder {
            self.labelled("in use", &[(Style::Accent, format!("by {holder}"))]);
        }
        let counts = &status.cycles;
        let some = |n: u32, what: &str| match n {
            0 => String::new(),
            n => format!("{n} {what}"),
        };
        let made = match counts.requested {
            Some(requested) => format!("{} of {requested} made", counts.made),
            None => format!("{} made", counts.made),
        };
        self.labelled(
            "cycles",
            &[
                (Style::Plain, made),
                (Style::Bad, some(counts.failed, "failed")),
                (Style::Bad, some(counts.lost, "lost")),
                (Style::Warn, some(counts.open.unwrap_or(0), "open")),
                (Style::Dim, some(counts.unfinished, "begun and not finished")),
                (Style::Dim, some(counts.earlier, "of earlier sessions")),
            ],
        );
        self.labelled(
            "content",
            &[
                (Style::Plain, time(status.content_s)),
                (Style::Dim, format!("made in {}", time(status.generation_s))),
            ],
        );
        self.disk(status);
        self.film("base", &status.base_master);
        self.film("film", &status.deliverable);
        for recording in &status.recordings {
            self.recording(recording);
        }
        let failures = status.failures.iter().map(|f| format!("cycle {}: {}", f.cycle, f.reason));
        self.several("failed", Style::Bad, failures.collect());
        let damaged = status.damaged.iter().map(|d| format!("{} {}", d.file, d.what));
        self.several("damaged", Style::Bad, damaged.collect());
        self.several("damaged", Style::Bad, status.faults.clone());
    }

    fn several(&self, label: &str, style: Style, texts: Vec<String>) {
        for text in texts.iter().take(MOST_SHOWN) {
            self.whole(&format!("{label:9}"), style, text);
        }
        if texts.len() > MOST_SHOWN {
            let more = format!("and {} more; --json names all of them", texts.len() - MOST_SHOWN);
            self.labelled("", &[(Style::Dim, more)]);
        }
    }

    fn disk(&self, status: &ProjectStatus) {
        let disk = &status.disk;
        let mut pieces = vec![(Style::Plain, bytes(disk.used_bytes))];
        for kind in Kind::ALL {
            match disk.kinds.get(&kind) {
                Some(sum) if sum.files > 0 => {
                    let text = format!("{} {}", kind.count(sum.files), bytes(sum.bytes));
                    pieces.push((Style::Dim, text));
                }
                _ => {}
            }
        }
        if disk.unknown > 0 {
            pieces.push((Style::Dim, format!("{} not known", disk.unknown)));
        }
        if let Some(free) = disk.free_bytes {
            pieces.push((Style::Plain, format!("{} free", bytes(free))));
        }
        self.labelled("disk", &pieces);
    }

    fn film(&self, label: &str, film: &Film) {
        let (style, text) = film_state(film.state);
        let file = match film.state {
            FilmState::Missing => String::new(),
            _ => film.file.clone(),
        };
        let length = film.seconds.map(time).unwrap_or_default();
        let size = film.bytes.map(bytes).unwrap_or_default();
        let left_out = match film.left_out.as_slice() {
            [] => String::new(),
            cycles => {
                let cycles: Vec<String> = cycles.iter().map(u32::to_string).collect();
                format!("without cycle {}", cycles.join(", "))
            }
        };
        self.labelled(
            label,
            &[
                (Style::Plain, file),
                (style, text.to_owned()),
                (Style::Plain, length),
                (Style::Dim, size),
                (Style::Warn, left_out),
            ],
        );
    }

    fn recording(&self, recording: &Recorded) {
        let kind = match recording.kind {
            RecordingKind::Live => "live",
            RecordingKind::Assembled => "assembled",
            RecordingKind::Rerendered => "rerendered",
        };
        let parts = match (recording.parts, &recording.joined) {
            (0 | 1, _) => String::new(),
            (n, None) => format!("{n} parts"),
            (n, Some(joined)) => format!("{n} parts, joined in {joined}"),
        };
        let broken = match recording.complete {
            false => "not ended well".to_owned(),
            true => String::new(),
        };
        self.labelled(
            "recorded",
            &[
                (Style::Plain, recording.file.clone()),
                (Style::Plain, kind.to_owned()),
                (Style::Plain, format!("{} frames", recording.frames)),
                (Style::Plain, parts),
                (Style::Dim, recording.bytes.map(bytes).unwrap_or_default()),
                (Style::Warn, broken),
            ],
        );
    }

    fn next(&self, status: &ProjectStatus) {
        let next = &status.next;
        match &next.command {
            Some(command) => {
                self.whole("next     ", Style::Accent, &format!("{command}  ({})", next.text))
            }
            None => self.whole("next     ", Style::Plain, &next.text),
        }
    }

    fn list(&self, projects: &[Listed], after: bool) {
        if projects.is_empty() {
            if !after {
                say("no project yet; vfaq run -n NAME makes one");
            }
            return;
        }
        let rows: Vec<[String; 6]> = projects.iter().map(row).collect();
        let head = ["project", "cycles", "failed", "content", "disk", "film"].map(str::to_owned);
        let width = |column: usize| {
            let widest = rows.iter().chain([&head]).map(|row| row[column].chars().count()).max();
            // A long name does not push the rest away.
            widest.unwrap_or(0).min(40)
        };
        let widths: Vec<usize> = (0..6).map(width).collect();
        let print = |row: &[String; 6], head: bool| {
            self.line(|line| {
                for (n, (text, width)) in row.iter().zip(&widths).enumerate() {
                    let style = match n {
                        _ if head => Style::Dim,
                        0 => Style::Bold,
                        2 if text != "-" => Style::Bad,
                        _ => Style::Plain,
                    };
                    let text = super::line::cut(text, *width);
                    let last = n + 1 == row.len();
                    let pad = if last { 0 } else { width + 2 - text.chars().count().min(*width) };
                    line.put(style, &text);
                    line.put(Style::Plain, &" ".repeat(pad));
                }
            });
        };
        print(&head, true);
        for row in &rows {
            print(row, false);
        }
    }
}

fn film_state(state: FilmState) -> (Style, &'static str) {
    match state {
        FilmState::Missing => (Style::Dim, "not made"),
        FilmState::Current => (Style::Good, "current"),
        FilmState::Outdated => (Style::Warn, "outdated: the cycles are others now"),
        FilmState::Unknown => {
            (Style::Warn, "the predecessor's: nothing tells which cycles it was made of")
        }
        FilmState::Damaged => (Style::Bad, "damaged"),
    }
}

fn row(project: &Listed) -> [String; 6] {
    let status = match project {
        Listed::Good(status) => status,
        Listed::Bad { name, error } => {
            let dash = || "-".to_owned();
            return [shown(name), dash(), dash(), dash(), dash(), shown(error)];
        }
    };
    let counts = &status.cycles;
    let film = match (&status.holder, status.deliverable.state) {
        (Some(holder), _) => format!("in use by {holder}"),
        _ if !status.faults.is_empty() => "its files are damaged".into(),
        (None, FilmState::Missing) if !status.recordings.is_empty() => {
            format!("{} recorded", status.recordings.len())
        }
        (None, FilmState::Missing) => "-".into(),
        (None, FilmState::Current) => "current".into(),
        (None, FilmState::Outdated) => "outdated".into(),
        (None, FilmState::Unknown) => "the predecessor's".into(),
        (None, FilmState::Damaged) => "damaged".into(),
    };
    [
        shown(status.name.as_deref().unwrap_or_default()),
        match counts.requested {
            Some(requested) => format!("{}/{requested}", counts.made),
            None => counts.made.to_string(),
        },
        match counts.failed + counts.lost {
            0 => "-".into(),
            n => n.to_string(),
        },
        time(status.content_s),
        bytes(status.disk.used_bytes),
        shown(&film),
    ]
}

fn shown(text: &str) -> String {
    clean(&hide(text))
}
