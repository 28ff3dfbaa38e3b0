//! A project's folder: made or opened, checked to be writable, and locked.
//!
//! Holds: while a [`Project`] lives, no other program opens the same folder; the lock dies with
//! the process, however that ends.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::holdings::Holdings;
use super::{FactoryState, read_json};
use crate::base::error::{Error, Kind, Result};
use crate::base::fsio::{free_name, link_or_copy, write_atomic};
use crate::base::redact;
use crate::media::CycleId;

pub(super) const STATE: &str = "factory_state.json";
const SNAPSHOT: &str = "config_snapshot.yaml";
/// What every temporary file's name begins with.
pub(super) const TEMPORARY: &str = ".vfaq-";
/// How often and how long an attempt at a lock waits for one that may be gone at once.
const LOOKS: u32 = 10;
const LOOK_TIME: Duration = Duration::from_millis(20);
pub(super) const LOCK: &str = ".lock";
const RECORDING: &str = "final_60fps_1080p";

/// The folder of the project `name` in a worqspace. A name is one plain folder name.
pub fn named_folder(worqspace: &Path, name: &str) -> Result<PathBuf> {
    let mut parts = Path::new(name).components();
    let plain = matches!(parts.next(), Some(Component::Normal(_))) && parts.next().is_none();
    if !plain || name.contains(['/', '\\', ':']) || name.contains(char::is_control) {
        return Err(Error::usage(format!(
            "'{name}' is no project name; use letters, digits, '-' and '_', without '/' and '..'"
        )));
    }
    Ok(worqspace.join("qonstructions").join(name))
}

/// How a project is to be opened.
#[derive(Clone, Copy, Debug)]
pub struct Open<'a> {
    /// The project's folder: from [`named_folder`], or the one of `-o`.
    pub folder: &'a Path,
    /// `paths.briqs_dir` of the configuration.
    pub briqs_dir: Option<&'a Path>,
    /// Start anew in numbers above all that is there, ignoring the saved state.
    pub fresh: bool,
    /// Refuse a folder that does not exist, instead of making it.
    pub must_exist: bool,
    /// The configuration as the user wrote it, `${ENV}` unexpanded. It has been read: secrets that
    /// are written in it are known, and hidden in the project.
    /// Empty: not known, and not kept.
    pub config_text: &'a str,
    /// The command that opens it, `vfaq live`: told to another that finds it in use.
    pub who: &'a str,
    pub now: SystemTime,
}

#[derive(Debug)]
pub struct Project {
    folder: PathBuf,
    briqs: PathBuf,
    /// As it was when the project was opened.
    state: FactoryState,
    /// Holding the file open holds the lock.
    _lock: File,
}

impl Project {
    /// Opens the project, or begins it. Fails before it has changed anything of the user's if the
    /// folder cannot be written (`Io`), another program has it (`Unavailable`), or its state file
    /// is damaged (`Io`).
    pub fn open(options: Open<'_>) -> Result<Project> {
        let folder = options.folder.to_owned();
        if options.must_exist && !folder.is_dir() {
            return Err(Error::usage(format!(
                "there is no project at {}; check the name, or make it with `vfaq live` first",
                folder.display()
            )));
        }
        let briqs = options.briqs_dir.map_or_else(|| folder.join("briqs"), Path::to_owned);
        for part in [&folder, &briqs, &folder.join("images"), &folder.join("videos")] {
            make_writable(part)?;
        }
        let lock = lock(&folder, options.who)?;
        for part in [&folder, &briqs, &folder.join("images"), &folder.join("videos")] {
            sweep(part);
        }

        let state_file = folder.join(STATE);
        let fresh_state = || FactoryState::new(options.now, folder.display().to_string());
        let state = if options.fresh {
            begin_anew(&folder, &briqs, options.now)?.0
        } else if state_file.exists() {
            read_json(&state_file).map_err(|e| {
                Error::new(
                    Kind::Io,
                    "the project's state cannot be used; mend the file, or start anew with \
                     --fresh (it is kept under another name, and so is every cycle)",
                )
                .with_source(e)
            })?
        } else {
            fresh_state()
        };
        let snapshot = folder.join(SNAPSHOT);
        if !snapshot.exists() && !options.config_text.is_empty() {
            write_atomic(&snapshot, redact::hide(options.config_text).as_bytes())?;
        }
        Ok(Project { folder, briqs, state, _lock: lock })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The state as it was when the project was opened; from then on the archive owns it.
    pub fn state(&self) -> &FactoryState {
        &self.state
    }

    pub fn state_file(&self) -> PathBuf {
        self.folder.join(STATE)
    }

    pub fn journal_file(&self) -> PathBuf {
        self.folder.join("journal.jsonl")
    }

    pub fn briq_file(&self, briq_id: &str) -> PathBuf {
        self.briqs.join(format!("{briq_id}.json"))
    }

    /// Where the cycle's raw clip is written; [`Project::find_raw`] says where one is.
    pub fn raw_clip(&self, cycle: CycleId) -> PathBuf {
        self.folder.join(format!("videos/cycle{cycle}_raw.mp4"))
    }

    /// Where the cycle's video, looped or passed through, is written.
    pub fn cycle_video(&self, cycle: CycleId) -> PathBuf {
        self.folder.join(format!("videos/cycle{cycle}_video.mp4"))
    }

    /// Where the still that a cycle's clip starts from is written.
    pub fn source_image(&self, briq_id: &str) -> PathBuf {
        self.folder.join(format!("images/{briq_id}_image.png"))
    }

    /// Where the frame of the cycle before, out of which this cycle grows, is written.
    pub fn chained_frame(&self, cycle: CycleId) -> PathBuf {
        self.folder.join(format!("images/cycle{cycle}_video_frame.png"))
    }

    /// `path` as the project's files say it: relative to the folder, with `/`, so that the project
    /// can be moved; paths outside as they are.
    pub fn recorded_path(&self, path: &Path) -> String {
        match path.strip_prefix(&self.folder) {
            Ok(inside) => {
                let parts: Vec<_> = inside.iter().map(|part| part.to_string_lossy()).collect();
                parts.join("/")
            }
            Err(_) => path.display().to_string(),
        }
    }

    /// The file of the next recording: `final_60fps_1080p.mp4`, or the next number that is free.
    pub fn next_recording(&self) -> Result<PathBuf> {
        self.next_recording_in(&self.state)
    }

    /// As [`Project::next_recording`], by a later state.
    pub(super) fn next_recording_in(&self, state: &FactoryState) -> Result<PathBuf> {
        free_recording(&self.folder, state)
    }

    pub(super) fn holdings(&self) -> Result<Holdings> {
        Holdings::scan(&self.folder, &self.briqs)
    }
}

/// The file of the next deliverable: `final_60fps_1080p.mp4`, or the first of
/// `final_60fps_1080p_002.mp4`, `_003`, ... of which neither the file nor a part nor an entry in the
/// state exists.
pub(super) fn free_recording(folder: &Path, state: &FactoryState) -> Result<PathBuf> {
    let mut taken: Vec<String> = list(folder)?;
    taken.extend(state.recordings.iter().map(|recording| recording.file.clone()));
    let mut number = 1;
    loop {
        let stem = match number {
            1 => RECORDING.to_owned(),
            n => format!("{RECORDING}_{n:03}"),
        };
        let (file, part) = (format!("{stem}.mp4"), format!("{stem}.part"));
        if !taken.iter().any(|name| *name == file || name.starts_with(&part)) {
            return Ok(folder.join(file));
        }
        number += 1;
    }
}

/// The file of part `part` (from 1) of a recording: the recording itself, then
/// `final_60fps_1080p.part002.mp4` and so on.
pub fn recording_part(recording: &Path, part: u32) -> PathBuf {
    match part {
        0 | 1 => recording.to_owned(),
        n => recording.with_extension(format!("part{n:03}.mp4")),
    }
}

/// File names in a folder; none if there is no such folder.
pub(super) fn list(folder: &Path) -> Result<Vec<String>> {
    let failed = |e| Error::io(format!("cannot list {}", folder.display()), e);
    let entries = match fs::read_dir(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        if let Ok(name) = entry.map_err(failed)?.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn make_writable(folder: &Path) -> Result<()> {
    let failed = |e| {
        let what = format!(
            "cannot write in the folder {}; check its permissions, or choose another with -o",
            folder.display()
        );
        Error::io(what, e)
    };
    fs::create_dir_all(folder).map_err(failed)?;
    tempfile::Builder::new().prefix(".vfaq-").tempfile_in(folder).map_err(failed)?;
    Ok(())
}

/// Removes what a killed program left under a temporary name; nobody else writes here now.
pub(super) fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Who has the project open at present, if anybody has. Makes nothing.
pub(super) fn holder(folder: &Path) -> Option<String> {
    let mut file = File::open(folder.join(LOCK)).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Some(holder_in(&mut file)),
        _ => None,
    }
}

/// `vfaq run (process 4711)`.
fn holder_in(file: &mut File) -> String {
    let mut text = String::new();
    let known = file.read_to_string(&mut text).is_ok();
    match text.trim().split_once(' ').unwrap_or((text.trim(), "")) {
        ("", _) => "another program".into(),
        _ if !known => "another program".into(),
        (process, "") => format!("process {process}"),
        (process, what) => format!("{what} (process {process})"),
    }
}

/// Whoever only looks who has a project holds its lock for a moment.
fn patiently(file: &File) -> std::result::Result<(), TryLockError> {
    for _ in 0..LOOKS {
        match file.try_lock() {
            // Nobody tells when a lock is free.
            Err(TryLockError::WouldBlock) => std::thread::park_timeout(LOOK_TIME),
            other => return other,
        }
    }
    file.try_lock()
}

/// A project that nobody else opens as long as this lives.
#[derive(Debug)]
pub struct Hold(#[allow(dead_code, reason = "holding the file open holds the lock")] File);

/// Keeps others away from the project in `folder`; `who` is told to them.
///
/// # Errors
/// Another program has it (`Unavailable`).
pub fn hold(folder: &Path, who: &str) -> Result<Hold> {
    lock(folder, who).map(Hold)
}

/// `who` is told to whoever finds it locked.
pub(super) fn lock(folder: &Path, who: &str) -> Result<File> {
    let path = folder.join(LOCK);
    let failed = |e| Error::io(format!("cannot lock {}", path.display()), e);
    // What a link leads to is not this program's to write into.
    if path.symlink_metadata().is_ok_and(|about| !about.is_file()) {
        return Err(Error::conflict(format!(
            "{} is no file of this program; move it elsewhere first",
            path.display()
        )));
    }
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(failed)?;
    match patiently(&file) {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(Error::unavailable(format!(
                "the project {} is in use by {}; end that first, or choose another project with \
                 -n or -o",
                folder.display(),
                holder_in(&mut file)
            )));
        }
        // Some network file systems have no locks; a show there is worth more than the lock.
        Err(TryLockError::Error(e)) if e.kind() == std::io::ErrorKind::Unsupported => {
            tracing::warn!("{} cannot be locked here: {e}", folder.display());
        }
        Err(TryLockError::Error(e)) => return Err(failed(e)),
    }
    file.set_len(0).and_then(|()| file.rewind()).map_err(failed)?;
    let holder = format!("{} {who}", std::process::id());
    write!(file, "{holder}").and_then(|()| file.flush()).map_err(failed)?;
    Ok(file)
}

/// Puts the state aside, if there is one, and begins a session whose cycles have numbers above all
/// that is there. Returns its state and the name of the old one. There is a state at any moment.
pub(super) fn begin_anew(
    folder: &Path,
    briqs: &Path,
    now: SystemTime,
) -> Result<(FactoryState, Option<PathBuf>)> {
    let first_cycle = Holdings::scan(folder, briqs)?.next_free_cycle();
    let fresh = FactoryState::new(now, folder.display().to_string());
    let fresh = FactoryState { first_cycle, current_cycle: first_cycle, ..fresh };
    let aside = keep_aside(folder)?;
    fresh.write(&folder.join(STATE))?;
    Ok((fresh, aside))
}

/// Gives the state, if there is one, a second name: the next free of `factory_state_001.json`, ...
fn keep_aside(folder: &Path) -> Result<Option<PathBuf>> {
    let from = folder.join(STATE);
    if !from.exists() {
        return Ok(None);
    }
    let to = free_name(folder, |number| format!("factory_state_{number:03}.json"));
    link_or_copy(&from, &to)?;
    Ok(Some(to))
}
