//! The films of a project that nobody is making at present: recordings of shows, the base master,
//! and deliverables put together afterwards.
//!
//! Holds: a film is in the state before or after its file has its name, never the other way round
//! for long: whoever finds a file without an entry tells by looking at it whose it is.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::holdings::{Clips, Holdings};
use super::inventory::states_aside;
use super::project::{STATE, free_recording, list, lock, sweep};
use super::{BaseMaster, FactoryState, Recording, mp4, random_hex, read_json};
use crate::base::error::{Error, Kind, Result};

#[derive(Debug)]
pub struct Recordings {
    folder: PathBuf,
    state: FactoryState,
    /// Holding the file open holds the lock.
    _lock: Option<File>,
}

impl Recordings {
    /// What the project in `folder` says of its recordings; nothing is changed.
    ///
    /// # Errors
    /// There is no project (`Usage`), or its state is damaged (`Io`).
    pub fn read(folder: &Path) -> Result<Self> {
        let state_file = folder.join(STATE);
        if state_file.is_file() {
            let state = read_json(&state_file)?;
            return Ok(Recordings { folder: folder.to_owned(), state, _lock: None });
        }
        // Its state is lost, its cycles are not.
        if !folder.is_dir() || Holdings::scan(folder, &folder.join("briqs"))?.next_free_cycle() == 0
        {
            return Err(Error::usage(format!(
                "there is no project at {}; name one with -n or its folder with -o",
                folder.display()
            )));
        }
        let state = FactoryState {
            session_id: random_hex(12),
            qodeyard_path: folder.display().to_string(),
            ..Default::default()
        };
        Ok(Recordings { folder: folder.to_owned(), state, _lock: None })
    }

    /// As [`Recordings::read`], and keeps shows away while it lives.
    ///
    /// # Errors
    /// A show has the project (`Unavailable`), or those of [`Recordings::read`].
    pub fn open(folder: &Path, who: &str) -> Result<Self> {
        // Before anything is made there.
        Self::read(folder)?;
        let lock = lock(folder, who)?;
        sweep(folder);
        Ok(Recordings { _lock: Some(lock), ..Self::read(folder)? })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn list(&self) -> &[Recording] {
        &self.state.recordings
    }

    /// Whether there is a file of this name; one that is cut off is an error.
    pub fn has_whole(&self, name: &str) -> Result<bool> {
        let path = self.folder.join(name);
        if !path.exists() {
            return Ok(false);
        }
        mp4::check_whole(&path).map(|()| true).map_err(|what| {
            Error::new(
                Kind::Conflict,
                format!("{} is there already, but {what}; move it elsewhere", path.display()),
            )
        })
    }

    /// Notes that all parts of the recording `file` are in `joined` now.
    pub fn set_joined(&mut self, file: &str, joined: &str) -> Result<()> {
        let known = self.state.recordings.iter_mut().find(|recording| recording.file == file);
        let Some(recording) = known.filter(|r| r.joined.as_deref() != Some(joined)) else {
            return Ok(());
        };
        recording.joined = Some(joined.to_owned());
        self.save()
    }

    /// Whether films that no entry tells of can be of the present cycles: not where cycles of an
    /// earlier session are.
    pub fn takes_found(&self) -> bool {
        self.state.first_cycle == 0 && states_aside(&self.folder).is_empty()
    }

    pub fn base_master(&self) -> Option<&BaseMaster> {
        self.state.base_master.as_ref()
    }

    /// Notes what the base master holds.
    pub fn set_base_master(&mut self, base_master: BaseMaster) -> Result<()> {
        self.state.base_master = Some(base_master);
        self.save()
    }

    /// Enters a film; one of the same name is the same film.
    pub fn add(&mut self, recording: Recording) -> Result<()> {
        self.state.recordings.retain(|known| known.file != recording.file);
        self.state.recordings.push(recording);
        self.save()
    }

    /// Forgets a film that never came to be.
    pub fn forget(&mut self, file: &str) -> Result<()> {
        self.state.recordings.retain(|known| known.file != file);
        self.save()
    }

    /// The file of the next deliverable; what has the name `final_60fps_1080p.mp4` keeps it.
    pub fn next(&self) -> Result<PathBuf> {
        free_recording(&self.folder, &self.state)
    }

    /// `final_60fps_1080p_KIND.mp4` for the recording `final_60fps_1080p.mp4`, or the first of
    /// `final_60fps_1080p_KIND_002.mp4`, ... of which there is neither the file nor an entry.
    pub fn free_name(&self, recording: &str, kind: &str) -> Result<String> {
        let stem = Path::new(recording).file_stem().unwrap_or_default().to_string_lossy();
        let mut taken = list(&self.folder)?;
        taken.extend(self.state.recordings.iter().map(|recording| recording.file.clone()));
        let mut number = 1;
        loop {
            let name = match number {
                1 => format!("{stem}_{kind}.mp4"),
                n => format!("{stem}_{kind}_{n:03}.mp4"),
            };
            if !taken.contains(&name) {
                return Ok(name);
            }
            number += 1;
        }
    }

    /// The cycles' clips as they are there now.
    pub fn clips(&self, briqs_dir: Option<&Path>) -> Result<Clips> {
        Clips::scan(&self.folder, briqs_dir)
    }

    fn save(&self) -> Result<()> {
        self.state.write(&self.folder.join(STATE))
    }
}
