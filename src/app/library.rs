//! The cycles of the project while a show runs, for whoever looks at them: what there is of each, its
//! files, and a small picture.
//!
//! Holds: a picture is made once and kept, the last `PICTURES` of them; one is made at a time, so
//! that a page full of them takes nothing from the show.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jpeg_encoder::{ColorType, Encoder};

use super::contact_sheet;
use crate::archive::{self, survey::Cycle};
use crate::base::error::{Error, Result};
use crate::base::redact::hide;
use crate::control::{CycleEntry, CycleFiles, CyclePage};
use crate::cycle::BriqStatus;

/// Pictures that are kept, of about ten kilobytes each.
const PICTURES: usize = 256;
const QUALITY: u8 = 75;

pub struct Library {
    archive: archive::Handle,
    /// The newest last.
    pictures: Mutex<VecDeque<(u32, Arc<[u8]>)>>,
    /// Held while a picture is made.
    making: Mutex<()>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Library {
    pub fn new(archive: archive::Handle) -> Self {
        Library { archive, pictures: Mutex::default(), making: Mutex::default() }
    }

    /// The cycles with a number below `before`, newest first.
    pub fn page(&self, before: Option<u32>, most: usize) -> Result<CyclePage> {
        let (cycles, total, more) = self.archive.cycles(before, most)?;
        let next = cycles.last().filter(|_| more).map(|cycle| cycle.cycle.0);
        Ok(CyclePage { cycles: cycles.iter().map(|c| self.entry(c)).collect(), total, next })
    }

    pub fn cycle(&self, number: u32) -> Result<CycleEntry> {
        Ok(self.entry(&self.find(number)?))
    }

    /// What is best played of a cycle: its video, or else its raw clip.
    pub fn video(&self, number: u32) -> Result<PathBuf> {
        let cycle = self.find(number)?;
        let video = cycle.video.whole().or(cycle.raw.whole());
        video
            .map(Path::to_owned)
            .ok_or_else(|| Error::not_found(format!("cycle {number} has no video")))
    }

    /// A small picture of a cycle, as JPEG.
    pub fn thumbnail(&self, number: u32) -> Result<Arc<[u8]>> {
        let kept = || {
            let pictures = lock(&self.pictures);
            pictures.iter().find(|(cycle, _)| *cycle == number).map(|(_, jpeg)| jpeg.clone())
        };
        if let Some(jpeg) = kept() {
            return Ok(jpeg);
        }
        let _making = lock(&self.making);
        // Somebody else may have wanted the same.
        if let Some(jpeg) = kept() {
            return Ok(jpeg);
        }
        let cycle = self.find(number)?;
        let none = || Error::not_found(format!("cycle {number} has no picture"));
        let rgb = contact_sheet::small_picture(&cycle).ok_or_else(none)?;
        let size = |side: u32| u16::try_from(side).map_err(Error::fault);
        let mut jpeg = Vec::new();
        Encoder::new(&mut jpeg, QUALITY)
            .encode(&rgb, size(rgb.width())?, size(rgb.height())?, ColorType::Rgb)
            .map_err(Error::fault)?;
        let jpeg: Arc<[u8]> = jpeg.into();
        let mut pictures = lock(&self.pictures);
        if pictures.len() == PICTURES {
            pictures.pop_front();
        }
        pictures.push_back((number, jpeg.clone()));
        Ok(jpeg)
    }

    fn find(&self, number: u32) -> Result<Cycle> {
        self.archive
            .cycle(number)?
            .ok_or_else(|| Error::not_found(format!("the project has no cycle {number}")))
    }

    fn entry(&self, cycle: &Cycle) -> CycleEntry {
        let briq = cycle.briq.as_ref();
        let clip = cycle.video.whole().or(cycle.raw.whole());
        let status = match briq.map(|briq| briq.status) {
            _ if cycle.failure.is_some() => "failed",
            None if clip.is_some() => "complete",
            None => "missing",
            Some(BriqStatus::Pending) => "pending",
            Some(BriqStatus::Constructing) => "constructing",
            Some(BriqStatus::Constructed) => "constructed",
            Some(BriqStatus::Inspecting) => "inspecting",
            Some(BriqStatus::Complete) => "complete",
            Some(BriqStatus::Failed) => "failed",
        };
        let path = |path: &Path| self.archive.recorded_path(path);
        CycleEntry {
            cycle: cycle.cycle.0,
            prompt: briq.map(|briq| briq.prompt.clone()).unwrap_or_default(),
            seed: briq.map(|briq| briq.seed),
            seconds: clip.and_then(archive::mp4::seconds),
            status,
            error: cycle.failure.as_deref().map(|text| hide(text).into_owned()),
            created_at: briq.map(|briq| briq.created_at.clone()),
            took_s: briq.map(|briq| briq.generation_time).filter(|took| *took > 0.0),
            backend: briq.map(|briq| briq.backend_used.clone()),
            files: CycleFiles {
                raw: cycle.raw.whole().map(path),
                video: cycle.video.whole().map(path),
                image: cycle.image.as_deref().map(path),
            },
        }
    }
}
