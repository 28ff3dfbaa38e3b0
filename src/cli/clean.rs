//! `vfaq clean`: says what is removed, asks, and removes it.

use std::io::{IsTerminal, Write};
use std::path::Path;

use clap::Args;
use serde_json::{Value, json};

use super::Folders;
use super::line::clean;
use super::progress;
use super::status::bytes;
use crate::app::project_folder;
use crate::archive::clean::{Cleaned, Cleaning};
use crate::archive::inventory::{Item, Kind};
use crate::base::clock::{Clock, SystemClock};
use crate::base::error::{Error, Result};
use crate::base::redact::hide;
use crate::config;

/// So many files that are left are named.
const MOST_NAMED: usize = 20;

/// Begin a project anew, or remove it
///
/// Without --all everything that was made stays: the state is put aside as factory_state_001.json, so
/// that the next run begins anew with numbers above those that are there, and what a killed program
/// left half written is removed. With --all the project is removed: every file that the program made
/// in its folder. Files that it does not know stay, and so does whatever a link leads to.
#[derive(Args)]
#[command(after_help = "\
Examples:
  vfaq clean -n night               the next run begins anew; all cycles and films stay
  vfaq clean -n night --all         remove the project; asks for its name first
  vfaq clean -n night --all --dry-run
                                    say what would be removed
  vfaq clean -n night --all --yes   in a script, where nobody can be asked")]
pub struct CleanArgs {
    /// Project name; its folder is WORQSPACE/qonstructions/NAME
    #[arg(short, long)]
    name: Option<String>,

    /// Remove everything that the program made in the project's folder
    #[arg(long)]
    all: bool,

    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,

    /// Ask nothing
    #[arg(short, long)]
    yes: bool,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(folders: &Folders, args: &CleanArgs, clock: &SystemClock) -> Result<()> {
    let settings = config::load(&folders.worqspace);
    let folder = project_folder::folder(
        &folders.worqspace,
        args.name.as_deref(),
        folders.output.as_deref(),
    )?;
    // Where the briqs are must be known; a project in a folder of its own has them inside.
    let briqs_dir = match settings {
        Ok(loaded) => loaded.config.paths.briqs_dir,
        Err(_) if folder.join("briqs").is_dir() => None,
        Err(findings) => return Err(findings.into()),
    };
    let plan = Cleaning::plan(&folder, briqs_dir.as_deref(), args.all)?;
    let removed: Vec<Item> = plan.removes().cloned().collect();
    let unknown = plan.found.unknown.clone();
    if args.dry_run {
        match args.json {
            true => say_json(&as_json(&folder, args, &removed, None, &unknown)),
            false => {
                if plan.anew {
                    say("would put the state aside; the next run would begin anew");
                }
                tell(&folder, "would remove", &removed);
                tell_left(&folder, args.all, &unknown);
            }
        }
        return Ok(());
    }
    if args.all && !args.yes {
        confirm(&folder, &removed, &unknown, args.json)?;
    }
    let anew = plan.anew;
    let cleaned = plan.carry_out(clock.wall())?;
    if args.json {
        say_json(&as_json(&folder, args, &cleaned.removed, Some(&cleaned), &unknown));
        return Ok(());
    }
    if anew {
        let first = cleaned.first_cycle.unwrap_or_default();
        match cleaned.aside.as_deref().and_then(Path::file_name) {
            Some(aside) => say(&format!(
                "the state is kept as {}; the next run begins anew with cycle {first}",
                aside.to_string_lossy()
            )),
            None => say(&format!("the next run begins anew with cycle {first}")),
        }
    } else if !args.all && cleaned.removed.is_empty() {
        say(&format!("{}: nothing to clean", folder.display()));
    }
    tell(&folder, "removed", &cleaned.removed);
    tell_left(&folder, args.all, &unknown);
    Ok(())
}

/// Asks on a terminal whether all of it is to go.
fn confirm(
    folder: &Path,
    items: &[Item],
    unknown: &[std::path::PathBuf],
    json: bool,
) -> Result<()> {
    let what = format!("{} of {}", in_words(items), folder.display());
    if json || !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Error::usage(format!(
            "{} would be removed; nobody can be asked here, so say --yes (--dry-run shows it)",
            clean(&what)
        )));
    }
    tell_left(folder, true, unknown);
    let name = folder.canonicalize().ok();
    let name = name.as_deref().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    eprint!("Remove {}? Type its name ({}) to do so: ", clean(&hide(&what)), clean(&name));
    let _ = std::io::stderr().flush();
    let mut said = String::new();
    std::io::stdin().read_line(&mut said).map_err(|e| Error::io("cannot read the terminal", e))?;
    match said.trim() == name {
        true => Ok(()),
        false => Err(Error::usage("that is not its name; nothing was removed")),
    }
}

/// `450 videos (2.1 GB), 450 briqs (1.2 MB)`.
fn in_words(items: &[Item]) -> String {
    let sums = Kind::ALL.into_iter().filter_map(|kind| {
        let (files, size) = sum(items, kind);
        (files > 0).then(|| format!("{} ({})", kind.count(files), bytes(size)))
    });
    let sums: Vec<String> = sums.collect();
    if sums.is_empty() { "nothing".into() } else { sums.join(", ") }
}

fn sum(items: &[Item], kind: Kind) -> (usize, u64) {
    let those = items.iter().filter(|item| item.kind == kind);
    those.fold((0, 0), |(files, bytes), item| (files + 1, bytes + item.bytes))
}

fn tell(folder: &Path, verb: &str, items: &[Item]) {
    if items.is_empty() {
        return;
    }
    say(&format!("{verb} {} of {}", in_words(items), folder.display()));
    let elsewhere = items.iter().filter(|item| !item.path.starts_with(folder));
    let mut elsewhere: Vec<_> = elsewhere.filter_map(|item| item.path.parent()).collect();
    elsewhere.dedup();
    for place in elsewhere {
        say(&format!("  briqs of this project in {} too", place.display()));
    }
}

/// With `--all`: what stays, as the program does not know it.
fn tell_left(folder: &Path, all: bool, unknown: &[std::path::PathBuf]) {
    if !all || unknown.is_empty() {
        return;
    }
    say("not this program's, and left:");
    for path in unknown.iter().take(MOST_NAMED) {
        let link = if path.is_symlink() { " (a link)" } else { "" };
        say(&format!("  {}{link}", path.strip_prefix(folder).unwrap_or(path).display()));
    }
    if unknown.len() > MOST_NAMED {
        say(&format!("  and {} more", unknown.len() - MOST_NAMED));
    }
}

fn say(text: &str) {
    progress::say(&clean(text));
}

fn say_json(value: &Value) {
    progress::say(&format!("{value:#}"));
}

fn as_json(
    folder: &Path,
    args: &CleanArgs,
    removed: &[Item],
    cleaned: Option<&Cleaned>,
    unknown: &[std::path::PathBuf],
) -> Value {
    let text = |path: &Path| path.display().to_string();
    let kinds = Kind::ALL.into_iter().filter_map(|kind| {
        let (files, bytes) = sum(removed, kind);
        let name = serde_json::to_value(kind).ok()?.as_str()?.to_owned();
        (files > 0).then(|| (name, json!({"files": files, "bytes": bytes})))
    });
    json!({
        "folder": text(folder),
        "all": args.all,
        "dry_run": args.dry_run,
        "removed": kinds.collect::<serde_json::Map<_, _>>(),
        "files": removed.iter().map(|item| text(&item.path)).collect::<Vec<_>>(),
        "left": unknown.iter().map(|path| text(path)).collect::<Vec<_>>(),
        "state_kept_as": cleaned.and_then(|cleaned| cleaned.aside.as_deref()).map(text),
        "first_cycle": cleaned.and_then(|cleaned| cleaned.first_cycle),
        "folder_removed": cleaned.is_some_and(|cleaned| cleaned.folder_removed),
    })
}
