//! What the generating half says of itself, for the status and the page.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::base::telemetry::{Counter, Generating, GeneratorStatus};
use crate::cycle::Stage;
use crate::generate::Progress;
use crate::generate::pool::Pool;
use crate::media::Clip;

pub struct GeneratorInfo {
    pool: Arc<Pool>,
    pub generated: Counter,
    pub failed: Counter,
    paused: AtomicBool,
    /// By cycle.
    making: Mutex<BTreeMap<u32, Making>>,
    /// The last ones on their way to the picture; the oldest give way.
    handed: Mutex<VecDeque<Handed>>,
    preview: Mutex<Option<Arc<[u8]>>>,
    expected_ms: AtomicU64,
}

struct Making {
    /// What it is made by, as far as it is known.
    prompt: String,
    stage: &'static str,
    since: Duration,
    progress: Option<String>,
    done: Option<f32>,
}

impl Default for Making {
    fn default() -> Self {
        let since = Duration::ZERO;
        Making { prompt: String::new(), stage: "image", since, progress: None, done: None }
    }
}

/// Clips on their way that are told of: more than wait to be prepared.
const HANDED: usize = 40;

/// A clip on its way to the picture.
#[derive(Clone, Debug)]
pub struct Handed {
    pub cycle: u32,
    pub prompt: Arc<str>,
    pub seconds: f64,
}

impl GeneratorInfo {
    pub fn new(pool: Arc<Pool>) -> Self {
        GeneratorInfo {
            pool,
            generated: Counter::default(),
            failed: Counter::default(),
            paused: AtomicBool::new(false),
            making: Mutex::default(),
            handed: Mutex::default(),
            preview: Mutex::default(),
            expected_ms: AtomicU64::new(0),
        }
    }

    /// Who makes the cycles.
    pub fn generators(&self) -> Vec<GeneratorStatus> {
        self.pool.status()
    }

    /// The earliest cycle in the making.
    pub fn generating(&self, now: Duration) -> Option<Generating> {
        let making = self.making();
        let (cycle, first) = making.iter().next()?;
        Some(Generating {
            cycle: *cycle,
            stage: first.stage,
            elapsed_s: now.saturating_sub(first.since).as_secs_f64(),
            expected_s: self.expected_s(),
            progress: first.progress.clone(),
            done: first.done,
            cycles: making.len(),
        })
    }

    /// What a cycle takes, lately.
    pub fn expected_s(&self) -> Option<f64> {
        match self.expected_ms.load(Ordering::Relaxed) {
            0 => None,
            ms => Some(ms as f64 / 1000.0),
        }
    }

    pub(in crate::app) fn expect(&self, cycle: Duration) {
        self.expected_ms.store(cycle.as_millis() as u64, Ordering::Relaxed);
    }

    /// Begin no cycle for the time being.
    pub fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }

    pub(in crate::app) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    /// The newest look at a picture in the making: a JPEG or PNG file.
    pub fn preview(&self) -> Option<Arc<[u8]>> {
        self.preview.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A cycle has come to this stage.
    pub(in crate::app) fn stage(&self, cycle: u32, stage: &Stage, now: Duration) {
        if let Stage::Progress(Progress::Preview(picture)) = stage {
            *self.preview.lock().unwrap_or_else(PoisonError::into_inner) = Some(picture.clone());
            return;
        }
        let mut making = self.making();
        let entry = making.entry(cycle).or_insert(Making { since: now, ..Making::default() });
        if let Some(name) = stage.name() {
            entry.stage = name;
            (entry.progress, entry.done) = (None, None);
        }
        if let Stage::Progress(progress) = stage {
            entry.progress = Some(progress.to_string());
            entry.done = match progress {
                Progress::Working { done, .. } => *done,
                _ => None,
            };
        }
    }

    /// A cycle is not in the making any more.
    pub(in crate::app) fn ended(&self, cycle: u32) {
        self.making().remove(&cycle);
    }

    /// Nothing is in the making any more; what was.
    pub(in crate::app) fn idle(&self) -> Vec<u32> {
        std::mem::take(&mut *self.making()).into_keys().collect()
    }

    /// A cycle is begun, with this prompt.
    pub(in crate::app) fn begun(&self, cycle: u32, prompt: String, now: Duration) {
        self.making().insert(cycle, Making { prompt, since: now, ..Making::default() });
    }

    /// A clip is on its way to the picture.
    pub(in crate::app) fn handed_over(&self, clip: &Clip) {
        let mut handed = self.handed.lock().unwrap_or_else(PoisonError::into_inner);
        if handed.len() == HANDED {
            handed.pop_front();
        }
        let (cycle, prompt) = (clip.cycle.0, clip.prompt.clone());
        handed.push_back(Handed { cycle, prompt, seconds: clip.seconds() });
        drop(handed);
        self.ended(cycle);
    }

    /// Clips behind `last` that are on their way to the ring, oldest first.
    pub(in crate::app) fn waiting(&self, last: Option<u32>) -> Vec<Handed> {
        let handed = self.handed.lock().unwrap_or_else(PoisonError::into_inner);
        let behind = handed.iter().filter(|clip| last.is_none_or(|last| clip.cycle > last));
        behind.cloned().collect()
    }

    /// Cycles in the making, with their prompts and how much of each is done.
    pub(in crate::app) fn in_the_making(&self) -> Vec<(u32, String, Option<f32>)> {
        let making = self.making();
        making.iter().map(|(cycle, m)| (*cycle, m.prompt.clone(), m.done)).collect()
    }

    fn making(&self) -> MutexGuard<'_, BTreeMap<u32, Making>> {
        self.making.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
