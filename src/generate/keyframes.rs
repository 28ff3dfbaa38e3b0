//! Keyframe mode: in which order pictures and the clips between them are made.
//!
//! Pictures (keyframes) are made in a chain, each out of the one before, which is quick. Clip `n`
//! leads from keyframe `n` to keyframe `n + 1`, so clips do not wait for one another: as many are
//! made at a time as there are servers, although each cycle grows out of the one before.
//!
//! Holds: it decides, it does not wait or make anything. Clips are handed out in their order, each
//! once. Keyframes are made no further ahead than clips can begin, so that a new prompt is never
//! far from the picture.

use std::collections::BTreeMap;

/// Keyframes beyond the pair that the next clip needs.
const SPARE_KEYS: u32 = 1;

/// Something to be begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// The picture of cycle `n`, out of that of the cycle before.
    Key(u32),
    /// The clip of cycle `n`, from its picture to that of the next cycle.
    Clip(u32),
}

/// How things stand.
#[derive(Clone, Copy, Debug)]
pub struct Situation {
    /// Seconds of clips that are made and not yet shown.
    pub ready_s: f64,
    /// Seconds to keep ready.
    pub target_s: f64,
    /// Seconds of one clip.
    pub clip_s: f64,
    /// Seconds that the making of a clip takes, lately.
    pub expected_s: f64,
    /// Clips that can be made at the same time.
    pub slots: usize,
}

/// The plan, with what each clip made.
#[derive(Debug)]
pub struct Keyframes<T> {
    next_key: u32,
    key_is_made: bool,
    next_clip: u32,
    making: usize,
    /// The first cycle that is not made any more.
    end: u32,
    /// Clips that wait for an earlier one. `None`: it failed for good.
    done: BTreeMap<u32, Option<T>>,
    next_out: u32,
}

impl<T> Keyframes<T> {
    /// Begins with the cycle `first`, ends before `end`.
    pub fn new(first: u32, end: u32) -> Self {
        Keyframes {
            end,
            next_key: first,
            key_is_made: true,
            next_clip: first,
            making: 0,
            done: BTreeMap::new(),
            next_out: first,
        }
    }

    /// What is to be begun now; it is taken as begun.
    pub fn next(&mut self, now: Situation) -> Option<Act> {
        if self.clip_can_begin() && self.clip_is_wanted(now) {
            let clip = self.next_clip;
            self.next_clip += 1;
            self.making += 1;
            return Some(Act::Clip(clip));
        }
        // Clip `n` needs keyframes `n` and `n + 1`.
        let far = self.next_clip.saturating_add(1 + SPARE_KEYS);
        let busy = now.ready_s >= now.target_s && self.next_key > self.next_clip + 1;
        // The clip before the end leads to one more picture.
        if self.key_is_made && self.next_key <= far.min(self.end) && !busy {
            self.key_is_made = false;
            return Some(Act::Key(self.next_key));
        }
        None
    }

    fn clip_can_begin(&self) -> bool {
        self.next_clip < self.end && self.next_key >= self.next_clip + 2
    }

    /// While a clip is made, the picture uses up as much as that takes; so this much more than the
    /// target has to be in the making.
    fn clip_is_wanted(&self, now: Situation) -> bool {
        let waiting = self.done.values().flatten().count() + self.making;
        let ahead_s = now.ready_s + waiting as f64 * now.clip_s;
        // One more than there is room for: no server waits for the next job.
        self.making <= now.slots && ahead_s < now.target_s + now.expected_s
    }

    /// The keyframe that was begun is there.
    pub fn key_made(&mut self) {
        self.next_key += 1;
        self.key_is_made = true;
    }

    /// The keyframe that was begun failed; it will be asked for again.
    pub fn key_failed(&mut self) {
        self.key_is_made = true;
    }

    /// A clip is there, or (`None`) has failed for good.
    pub fn clip_done(&mut self, clip: u32, made: Option<T>) {
        self.making -= 1;
        self.done.insert(clip, made);
    }

    /// The next clip in order, if it is there; `None` within is one that failed.
    pub fn take(&mut self) -> Option<(u32, Option<T>)> {
        let made = self.done.remove(&self.next_out)?;
        self.next_out += 1;
        Some((self.next_out - 1, made))
    }

    /// Whether every clip before the end was handed out.
    pub fn is_over(&self) -> bool {
        self.next_out >= self.end
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever takes how long and fails: each clip is begun once, after both its keyframes,
        /// and handed out once, in order; and all the time something is in the making while less
        /// than the target is ready.
        #[test]
        fn clips_come_once_and_in_order(
            seed in any::<u64>(), slots in 1usize..9, steps in 50usize..400,
        ) {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut plan = Keyframes::new(5, 100);
            let (mut keys, mut key_busy) = (5u32, false);
            let mut making: Vec<u32> = Vec::new();
            let (mut begun, mut out) = (BTreeSet::new(), Vec::new());
            let mut ready_s = 0.0f64;
            for _ in 0..steps {
                let now = Situation { ready_s, target_s: 24.0, clip_s: 3.0, expected_s: 20.0, slots };
                while let Some(act) = plan.next(now) {
                    match act {
                        Act::Key(key) => {
                            prop_assert!(!key_busy && key == keys);
                            key_busy = true;
                        }
                        Act::Clip(clip) => {
                            prop_assert!(clip + 1 < keys, "clip {clip} with keys up to {keys}");
                            prop_assert!(begun.insert(clip));
                            making.push(clip);
                        }
                    }
                }
                prop_assert!(making.len() <= slots + 1);
                prop_assert!(begun.iter().all(|clip| *clip < 100));
                prop_assert!(
                    key_busy || !making.is_empty() || ready_s + 3.0 * begun.len() as f64 > 20.0
                        || plan.is_over()
                );
                if key_busy && random.bool() {
                    key_busy = false;
                    if random.u8(..) < 230 { keys += 1; plan.key_made() } else { plan.key_failed() }
                }
                if !making.is_empty() && random.u8(..) < 120 {
                    let clip = making.swap_remove(random.usize(..making.len()));
                    plan.clip_done(clip, (random.u8(..) < 230).then_some(clip));
                }
                while let Some((clip, made)) = plan.take() {
                    out.push(clip);
                    if made.is_some() { ready_s += 3.0 }
                }
                ready_s = (ready_s - 1.0).max(0.0);
            }
            let expected: Vec<u32> = (5..5 + out.len() as u32).collect();
            prop_assert_eq!(out, expected);
        }
    }
}
