//! Presets that wait for the beat: recalled so that they are in the frame of it.
//!
//! Holds: one waits at a time; another takes its place, and the same once more comes at once. The
//! thread ends with the last handle.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::presets::Presets;
use crate::base::clock::Clock;
use crate::base::error::{Error, Result};
use crate::base::time::FrameRate;
use crate::music::{Quantum, Section, Tempo, ahead_seconds};
use crate::param::{Board, From, ParamId, QUANTA};

/// Wishes on their way to the thread; a further one is refused.
const WISHES: usize = 16;
/// The tempo is looked at so often while something waits.
const LOOK_EVERY: Duration = Duration::from_millis(50);

struct Wish {
    name: Arc<str>,
    from: From,
}

/// What tells when the frame of a beat is drawn.
pub struct Timing {
    pub clock: Arc<dyn Clock>,
    pub fps: FrameRate,
    pub tempo: Box<dyn Fn() -> Tempo + Send>,
}

pub struct Recalls {
    board: Arc<Board>,
    presets: Arc<Presets>,
    wishes: Option<Sender<Wish>>,
    waiting: Arc<Mutex<Option<Arc<str>>>>,
    thread: Option<JoinHandle<()>>,
}

impl Recalls {
    pub fn start(board: Arc<Board>, presets: Arc<Presets>, timing: Timing) -> Result<Self> {
        let (wishes, came) = bounded(WISHES);
        let waiting = Arc::default();
        let waiter = Waiter {
            board: board.clone(),
            presets: presets.clone(),
            timing,
            came,
            waiting: Arc::clone(&waiting),
        };
        let thread = std::thread::Builder::new().name("recall".into());
        let thread = thread.spawn(move || waiter.run());
        let thread = thread.map_err(|e| Error::internal("cannot start recalls").with_source(e))?;
        Ok(Recalls { board, presets, wishes: Some(wishes), waiting, thread: Some(thread) })
    }

    /// Recalls a preset when `/preset/recall` may: at once, or with the beat.
    ///
    /// # Errors
    /// As [`Presets::recall`]; or too many wait.
    pub fn recall(&self, name: &str, from: &From) -> Result<()> {
        let quantum = Quantum::of(self.board.number(ParamId::QuantiseRecall));
        if name.is_empty() || (quantum == Quantum::Off && self.waiting().is_none()) {
            return self.presets.recall(name, from);
        }
        let sent = self
            .wishes
            .as_ref()
            .map(|wishes| wishes.try_send(Wish { name: name.into(), from: from.clone() }).is_ok());
        match sent {
            Some(true) => Ok(()),
            _ => Err(Error::unavailable(format!("preset {name:?}: too many recalls wait"))),
        }
    }

    /// The music went into another section: recalls what `/listen/on_drop` and the others say.
    ///
    /// # Errors
    /// As [`Recalls::recall`].
    pub fn section_changed(&self, section: Section, received: Duration) -> Result<()> {
        let (id, name) = match section {
            Section::Build => (ParamId::OnBuild, "build-up"),
            Section::Drop => (ParamId::OnDrop, "drop"),
            Section::Breakdown => (ParamId::OnBreakdown, "breakdown"),
            Section::Steady | Section::Silence => return Ok(()),
        };
        self.recall(&self.board.text(id), &From { source: name.into(), received })
    }

    /// The name of what waits.
    pub fn waiting(&self) -> Option<Arc<str>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What waits, in words.
    pub fn waits(&self) -> Option<String> {
        let name = self.waiting()?;
        let quantum = self.board.number(ParamId::QuantiseRecall).round() as usize;
        Some(format!("preset {name} at {}", QUANTA.get(quantum).unwrap_or(&"once")))
    }
}

impl Drop for Recalls {
    fn drop(&mut self) {
        self.wishes = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Waiter {
    board: Arc<Board>,
    presets: Arc<Presets>,
    timing: Timing,
    came: Receiver<Wish>,
    waiting: Arc<Mutex<Option<Arc<str>>>>,
}

impl Waiter {
    fn run(self) {
        let mut waits: Option<(Wish, f64)> = None;
        loop {
            let left = waits.as_mut().map(|(_, beat)| self.left(beat));
            if left == Some(Duration::ZERO)
                && let Some((wish, _)) = waits.take()
            {
                self.recall(&wish);
            }
            self.show(waits.as_ref().map(|(wish, _)| wish.name.clone()));
            let came = match (&waits, left) {
                (Some(_), Some(left)) => self.came.recv_timeout(left.min(LOOK_EVERY)),
                _ => self.came.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match came {
                Ok(wish) => match waits.take() {
                    Some((before, _)) if before.name == wish.name => self.recall(&wish),
                    _ => waits = Some((wish, f64::INFINITY)),
                },
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// How long until the preset has to be set to be in the frame of its beat; the beat is moved where
    /// the tempo has jumped.
    fn left(&self, beat: &mut f64) -> Duration {
        let tempo = (self.timing.tempo)();
        let frame = self.timing.fps.frame_seconds();
        // Of the first frame that reads what is set now.
        let now = self.timing.clock.now().as_secs_f64()
            + ahead_seconds(&self.board.values(), frame)
            + frame / 2.0;
        let quantum = Quantum::of(self.board.number(ParamId::QuantiseRecall));
        let Some(next) = tempo.next(quantum, tempo.beat_at(now)) else { return Duration::ZERO };
        let gone = tempo.beat_at(now) > *beat + 0.5;
        *beat = if gone { next } else { beat.min(next) };
        Duration::try_from_secs_f64(tempo.time_of(*beat) - now).unwrap_or(Duration::ZERO)
    }

    fn recall(&self, wish: &Wish) {
        if let Err(error) = self.presets.recall(&wish.name, &wish.from) {
            tracing::warn!("{error}");
        }
    }

    fn show(&self, name: Option<Arc<str>>) {
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = name;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::SystemClock;
    use crate::param::{self, Change, Values};

    fn http() -> From {
        From { source: "http".into(), received: Duration::ZERO }
    }

    fn recalls(bpm: f64) -> (Recalls, Arc<Board>, Arc<SystemClock>, tempfile::TempDir) {
        let (board, _reader) = param::board(Values::default(), &[]);
        let folder = tempfile::tempdir().unwrap();
        let presets = Arc::new(Presets::new(board.clone(), folder.path().to_path_buf()));
        let clock = Arc::new(SystemClock::new());
        let timing = Timing {
            clock: clock.clone(),
            fps: FrameRate::whole(60),
            tempo: Box::new(move || Tempo { bpm, ..Tempo::default() }),
        };
        (Recalls::start(board.clone(), presets, timing).unwrap(), board, clock, folder)
    }

    fn set(board: &Board, id: ParamId, value: impl Into<param::Value>) {
        board.apply(&Change::set(id, value), &http()).unwrap();
    }

    /// Waits until the preset noir is set, and says when.
    fn seen(board: &Board, clock: &SystemClock) -> f64 {
        let noir = || board.number(ParamId::Saturation) == 0.0;
        while !noir() {
            assert!(clock.now() < Duration::from_secs(20));
            std::thread::yield_now();
        }
        clock.now().as_secs_f64()
    }

    #[test]
    fn a_preset_comes_half_a_frame_before_its_bar() {
        let (recalls, board, clock, _folder) = recalls(240.0);
        set(&board, ParamId::QuantiseRecall, 2.0);
        recalls.recall("noir", &http()).unwrap();
        let at = seen(&board, &clock);
        // A bar is a second; a machine may be slow.
        let early = at + 0.5 / 60.0;
        assert!(early.fract() < 0.1 && early >= 1.0, "{at}");
    }

    #[test]
    fn the_same_once_more_comes_at_once_and_so_does_what_waits_for_nothing() {
        let (recalls, board, clock, _folder) = recalls(30.0);
        set(&board, ParamId::QuantiseRecall, 6.0);
        recalls.recall("noir", &http()).unwrap();
        while recalls.waiting().is_none() {
            std::thread::yield_now();
        }
        assert_eq!(recalls.waits().as_deref(), Some("preset noir at 16 bars"));
        recalls.recall("noir", &http()).unwrap();
        assert!(seen(&board, &clock) < 15.0, "16 bars are over two minutes");
        set(&board, ParamId::QuantiseRecall, 0.0);
        set(&board, ParamId::Saturation, 1.0);
        while recalls.waiting().is_some() {
            std::thread::yield_now();
        }
        recalls.recall("noir", &http()).unwrap();
        assert_eq!(board.number(ParamId::Saturation), 0.0);
        assert!(recalls.recall("nior", &http()).is_err());
    }

    #[test]
    fn a_drop_recalls_what_is_named_for_it() {
        let (recalls, board, _clock, _folder) = recalls(120.0);
        recalls.section_changed(Section::Drop, Duration::ZERO).unwrap();
        assert_eq!(board.generation(), 0, "nothing is named");
        set(&board, ParamId::OnDrop, "noir");
        recalls.section_changed(Section::Build, Duration::ZERO).unwrap();
        assert_eq!(board.number(ParamId::Saturation), 1.0);
        recalls.section_changed(Section::Drop, Duration::ZERO).unwrap();
        assert_eq!(board.number(ParamId::Saturation), 0.0);
    }
}
