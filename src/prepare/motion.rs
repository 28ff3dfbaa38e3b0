//! The motion of clips that wait for the picture: passage after passage, what airs first before the
//! rest, as well as the time that is left allows.
//!
//! Holds: a passage is late when it is on air before its motion is known; it is then blended, and
//! counted. What was late is found when there is nothing else to do, for replays.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::base::clock::Clock;
use crate::base::effort::{Effort, PresentEffort};
use crate::base::telemetry::{Counter, Timing};
use crate::media::{Motion, MotionKind, Origin, Passage, PreparedClip};
use crate::render::flow::{Analyser, Quality};

/// A passage that airs sooner than this, beyond what finding its motion takes, gets less quality.
const MARGIN_S: f64 = 0.25;
/// Of a new measurement, in the mean of what a passage takes.
const NEW_SHARE: f64 = 0.2;
/// What a passage takes before one was measured, at normal quality.
const FIRST_GUESS_S: f64 = 0.05;
/// Clips that were late and are still looked after.
const MOST_LATE: usize = 8;

/// What the finding of motion counts.
#[derive(Default)]
pub struct MotionCounters {
    /// Passages whose motion was found at normal quality, and at a lower one.
    pub found: Counter,
    pub fast: Counter,
    /// Passages that were on air before their motion was known.
    pub late: Counter,
    /// Passages into another scene.
    pub cuts: Counter,
    /// Frames that repeat the one before.
    pub repeats: Counter,
    /// What a passage takes.
    pub took: Timing,
}

pub struct MotionFinder {
    analyser: Analyser,
    clock: Arc<dyn Clock>,
    effort: Arc<PresentEffort>,
    counters: Arc<MotionCounters>,
    /// Seconds that a passage takes, lately: at low quality, and at normal quality.
    takes_s: [f64; 2],
    /// In the order in which they air.
    waiting: VecDeque<Waiting>,
    /// Not held: they count against the ring's memory only as long as somebody else has them.
    late: VecDeque<Weak<PreparedClip>>,
}

/// A clip whose motion is not all known.
struct Waiting {
    clip: Arc<PreparedClip>,
    /// The passage to be looked at next.
    next: usize,
    /// It is in the ring.
    appended: bool,
}

impl MotionFinder {
    pub fn new(
        clock: Arc<dyn Clock>,
        effort: Arc<PresentEffort>,
        counters: Arc<MotionCounters>,
    ) -> Self {
        MotionFinder {
            analyser: Analyser::new(),
            clock,
            effort,
            counters,
            takes_s: [FIRST_GUESS_S / 4.0, FIRST_GUESS_S],
            waiting: VecDeque::new(),
            late: VecDeque::new(),
        }
    }

    /// Takes on a clip that airs behind all others.
    pub fn add(&mut self, clip: Arc<PreparedClip>, appended: bool) {
        // A passage has no picture of its own between its ends.
        let repeats = |p: &Passage| p.to - p.from - usize::from(p.moves);
        self.counters.repeats.add(clip.passages.iter().map(repeats).sum::<usize>() as u64);
        self.waiting.push_back(Waiting { clip, next: 0, appended });
    }

    /// `clip`, the last that was added, airs in the place of all that wait but `stays`.
    pub fn replace(&mut self, stays: Option<&Arc<PreparedClip>>, clip: &Arc<PreparedClip>) {
        let same = |a: &Arc<PreparedClip>, b: &Arc<PreparedClip>| Arc::ptr_eq(a, b);
        self.waiting.retain(|waiting| {
            same(&waiting.clip, clip) || stays.is_some_and(|stays| same(&waiting.clip, stays))
        });
    }

    /// The last clip that was added is in the ring now.
    pub fn appended(&mut self) {
        if let Some(last) = self.waiting.back_mut() {
            last.appended = true;
        }
    }

    /// Finds the motion of one passage; false: there is none to be found. `runway_s`: until all that
    /// is in the ring has been shown.
    pub fn step(&mut self, runway_s: f64) -> bool {
        if self.effort.get() >= Effort::NoMotion {
            return self.give_up(runway_s);
        }
        while let Some(due_s) = self.due_s(runway_s) {
            let Some(front) = self.waiting.front_mut() else { break };
            let clip = front.clip.clone();
            let passage = front.next;
            front.next += 1;
            match self.quality(due_s, clip.origin) {
                Some(quality) => {
                    self.find(&clip, passage, quality);
                    return true;
                }
                None => self.miss(clip),
            }
        }
        self.find_late()
    }

    /// Seconds until the next passage is on air; below 0: it is. `None`: there is none.
    fn due_s(&mut self, runway_s: f64) -> Option<f64> {
        while let Some(front) = self.waiting.front_mut() {
            // Shown, gone home, and of use to nobody else.
            let is_gone = front.appended && Arc::strong_count(&front.clip) == 1;
            match front.clip.passages.get(front.next).filter(|_| !is_gone) {
                Some(passage) if passage.is_open() => break,
                Some(_) => front.next += 1,
                None => {
                    self.waiting.pop_front();
                }
            }
        }
        let front = self.waiting.front()?;
        let behind_s: f64 =
            self.waiting.iter().skip(1).filter(|w| w.appended).map(|w| w.clip.clip.seconds()).sum();
        let seconds = front.clip.clip.seconds();
        let start_s = if front.appended { runway_s - behind_s - seconds } else { runway_s };
        let first = front.clip.passages[front.next].from;
        Some(start_s + first as f64 * front.clip.clip.format.fps.frame_seconds())
    }

    fn quality(&self, due_s: f64, origin: Origin) -> Option<Quality> {
        let [fast_s, normal_s] = self.takes_s;
        let may_be_normal = self.effort.get() == Effort::Full && origin == Origin::Cycle;
        if may_be_normal && due_s > MARGIN_S + normal_s {
            Some(Quality::Normal)
        } else if due_s > fast_s || origin != Origin::Cycle {
            // When clips of an earlier session air is not planned.
            Some(Quality::Fast)
        } else {
            None
        }
    }

    fn find(&mut self, clip: &PreparedClip, number: usize, quality: Quality) {
        let passage = &clip.passages[number];
        let began = self.clock.now();
        let (a, b) = (&clip.frames[passage.from], &clip.frames[passage.to]);
        let mut motion = Motion::default();
        let found = catch_unwind(AssertUnwindSafe(|| {
            self.analyser.analyse(a.as_ref().y, b.as_ref().y, quality, &mut motion);
        }));
        if found.is_err() {
            // Shown as if another scene began, so that it is not tried again; what the fault left
            // behind is not trusted.
            self.analyser = Analyser::new();
            motion = Motion { kind: MotionKind::Cut, ..Motion::default() };
        }
        let took = self.clock.now().saturating_sub(began);
        if found.is_ok() && motion.kind == MotionKind::Cut {
            self.counters.cuts.add(1);
        }
        let _ = passage.motion.set(motion);
        self.measured(quality, took);
    }

    fn measured(&mut self, quality: Quality, took: Duration) {
        self.counters.took.record(took);
        let (counter, takes_s) = match quality {
            Quality::Fast => (&self.counters.fast, &mut self.takes_s[0]),
            Quality::Normal | Quality::High => (&self.counters.found, &mut self.takes_s[1]),
        };
        counter.add(1);
        *takes_s += NEW_SHARE * (took.as_secs_f64() - *takes_s);
    }

    fn miss(&mut self, clip: Arc<PreparedClip>) {
        self.counters.late.add(1);
        if self.late.back().is_none_or(|last| !std::ptr::eq(last.as_ptr(), Arc::as_ptr(&clip))) {
            if self.late.len() == MOST_LATE {
                self.late.pop_front();
            }
            self.late.push_back(Arc::downgrade(&clip));
        }
    }

    /// Passes over what is on air by now.
    fn give_up(&mut self, runway_s: f64) -> bool {
        while self.due_s(runway_s).is_some_and(|due_s| due_s < 0.0) {
            let Some(front) = self.waiting.front_mut() else { break };
            front.next += 1;
            let clip = front.clip.clone();
            self.miss(clip);
        }
        false
    }

    /// One passage of a clip that was late.
    fn find_late(&mut self) -> bool {
        while let Some(late) = self.late.back() {
            let open = late.upgrade().and_then(|clip| {
                let passage = clip.passages.iter().position(Passage::is_open)?;
                Some((clip, passage))
            });
            let Some((clip, passage)) = open else {
                self.late.pop_back();
                continue;
            };
            self.find(&clip, passage, Quality::Fast);
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::ManualClock;
    use crate::media::testing::{clip, clip_from};

    struct Rig {
        finder: MotionFinder,
        effort: Arc<PresentEffort>,
        counters: Arc<MotionCounters>,
    }

    fn rig() -> Rig {
        let (effort, counters) = (Arc::new(PresentEffort::default()), Arc::default());
        let clock = Arc::new(ManualClock::default());
        let finder = MotionFinder::new(clock, effort.clone(), Arc::clone(&counters));
        Rig { finder, effort, counters }
    }

    fn known(clip: &PreparedClip) -> Vec<bool> {
        clip.passages.iter().map(|passage| passage.motion.get().is_some()).collect()
    }

    #[test]
    fn what_airs_first_is_found_first_and_all_of_it_in_time() {
        let mut rig = rig();
        let clips = [clip(0, 4), clip(1, 4)];
        for clip in &clips {
            rig.finder.add(clip.clone(), true);
        }
        // Both last half a second.
        for n in 1..=6 {
            assert!(rig.finder.step(10.0));
            let found = clips.iter().flat_map(|clip| known(clip)).take_while(|known| *known);
            assert_eq!(found.count(), n);
        }
        assert!(!rig.finder.step(10.0));
        let counters = &rig.counters;
        assert_eq!((counters.found.get(), counters.fast.get(), counters.late.get()), (6, 0, 0));
    }

    #[test]
    fn what_is_on_air_already_is_late_and_found_last() {
        let mut rig = rig();
        let clip = clip(0, 8);
        rig.finder.add(clip.clone(), true);
        // Half of the second is over; the pair behind that comes too soon for all pains.
        assert!(rig.finder.step(0.48));
        assert_eq!(known(&clip), [false, false, false, false, false, true, false]);
        let counters = rig.counters.clone();
        assert_eq!((counters.found.get(), counters.fast.get(), counters.late.get()), (0, 1, 5));
        while rig.finder.step(0.48) {}
        assert_eq!(known(&clip), [true; 7], "for when it is shown again");
    }

    #[test]
    fn clips_that_are_gone_are_let_go() {
        let mut rig = rig();
        rig.finder.add(clip(0, 8), true);
        assert!(!rig.finder.step(10.0));
        assert_eq!(rig.counters.found.get(), 0);
    }

    #[test]
    fn clips_that_were_late_are_not_kept() {
        let mut rig = rig();
        let clip = clip(0, 8);
        rig.finder.add(clip.clone(), true);
        rig.effort.set(Effort::NoMotion);
        // It is over.
        assert!(!rig.finder.step(-1.0));
        assert_eq!(rig.counters.late.get(), 7);
        assert!(!rig.finder.step(-1.0));
        assert_eq!(Arc::strong_count(&clip), 1);
    }

    #[test]
    fn under_load_less_is_found_and_then_nothing() {
        let mut rig = rig();
        let (early, cycle) = (clip_from(Origin::Earlier, 0, 2), clip(1, 3));
        rig.finder.add(early.clone(), true);
        rig.finder.add(cycle.clone(), true);
        rig.effort.set(Effort::FastMotion);
        assert!(rig.finder.step(10.0) && rig.finder.step(10.0));
        assert_eq!((rig.counters.found.get(), rig.counters.fast.get()), (0, 2));
        rig.effort.set(Effort::NoMotion);
        assert!(!rig.finder.step(10.0));
        assert_eq!(rig.counters.late.get(), 0, "there is time yet");
        assert!(!rig.finder.step(0.1));
        assert_eq!(rig.counters.late.get(), 1);
        rig.effort.set(Effort::Full);
        assert!(rig.finder.step(0.1));
        assert_eq!(known(&cycle), [true, true]);
    }
}
