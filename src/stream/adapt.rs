//! What bitrate the uplink can carry: lowered when groups of pictures had to be dropped for a
//! while, raised again with care.
//!
//! Holds: a pure function of time and congestion. It never leaves `floor..=target`.

use std::time::Duration;

/// Congestion that lasts this long lowers the bitrate; that long after a step there is a further.
const LOWER_AFTER: Duration = Duration::from_secs(5);
const LOWER_BY: f64 = 0.75;
/// A clear way raises it after this long; twice that each time that raising went wrong.
const RAISE_AFTER: Duration = Duration::from_secs(20);
const LONGEST_RAISE: Duration = Duration::from_secs(320);
const RAISE_BY: f64 = 1.15;

/// The bitrate of one encode.
#[derive(Debug)]
pub struct Adaptation {
    floor_kbps: u32,
    target_kbps: u32,
    kbps: u32,
    /// Since when it has been congested, or clear; moved on by every step.
    since: Duration,
    congested: bool,
    raise_after: Duration,
    /// The last step was upwards.
    raised: bool,
}

impl Adaptation {
    /// At `target_kbps`, the most that it will ever be.
    pub fn new(floor_kbps: u32, target_kbps: u32) -> Self {
        Adaptation {
            floor_kbps: floor_kbps.min(target_kbps),
            target_kbps,
            kbps: target_kbps,
            since: Duration::ZERO,
            congested: false,
            raise_after: RAISE_AFTER,
            raised: false,
        }
    }

    /// Whether it is below what was asked for.
    pub fn is_lowered(&self) -> bool {
        self.kbps < self.target_kbps
    }

    /// Looks at how things stand; a new bitrate if it is to change.
    pub fn step(&mut self, now: Duration, congested: bool) -> Option<u32> {
        if congested != self.congested {
            self.congested = congested;
            self.since = now;
        }
        let lasted = now.saturating_sub(self.since);
        let kbps = if congested && lasted >= LOWER_AFTER {
            if std::mem::take(&mut self.raised) {
                self.raise_after = (self.raise_after * 2).min(LONGEST_RAISE);
            }
            (f64::from(self.kbps) * LOWER_BY) as u32
        } else if !congested && self.is_lowered() && lasted >= self.raise_after {
            self.raised = true;
            (f64::from(self.kbps) * RAISE_BY) as u32
        } else {
            return None;
        };
        self.since = now;
        let kbps = kbps.clamp(self.floor_kbps, self.target_kbps);
        if kbps == self.target_kbps {
            self.raise_after = RAISE_AFTER;
            self.raised = false;
        }
        (kbps != std::mem::replace(&mut self.kbps, kbps)).then_some(kbps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    /// The bitrate after a minute's course: `(seconds, congested)` pieces.
    fn course(adaptation: &mut Adaptation, pieces: &[(u64, bool)]) -> Vec<(u64, u32)> {
        let (mut at, mut changes) = (0, Vec::new());
        for (length, congested) in pieces {
            for _ in 0..*length {
                if let Some(kbps) = adaptation.step(seconds(at), *congested) {
                    changes.push((at, kbps));
                }
                at += 1;
            }
        }
        changes
    }

    #[test]
    fn a_short_congestion_changes_nothing() {
        let mut adaptation = Adaptation::new(1500, 6000);
        assert_eq!(course(&mut adaptation, &[(10, false), (4, true), (30, false)]), []);
    }

    #[test]
    fn it_goes_down_in_steps_to_the_floor_and_up_again_to_the_target() {
        let mut adaptation = Adaptation::new(1500, 6000);
        let down = course(&mut adaptation, &[(60, true)]);
        assert_eq!(down[..2], [(5, 4500), (10, 3375)]);
        assert_eq!(down.last().unwrap().1, 1500);
        let mut at = 60;
        while adaptation.is_lowered() {
            adaptation.step(seconds(at), false);
            at += 1;
        }
        assert!((60 + 180..60 + 300).contains(&at), "back after {} s", at - 60);
    }

    #[test]
    fn a_rise_that_went_wrong_is_tried_again_later() {
        let mut adaptation = Adaptation::new(1500, 6000);
        let changes = course(&mut adaptation, &[(6, true), (22, false), (6, true), (100, false)]);
        let times: Vec<u64> = changes.iter().map(|change| change.0).collect();
        // Down at 5, up 20 s after it was clear (6), down again (28 + 5), up 40 s after 34.
        assert_eq!(times[..4], [5, 26, 33, 74]);
    }

    proptest! {
        #[test]
        fn it_never_leaves_its_bounds(pieces in prop::collection::vec((1u64..40, any::<bool>()), 0..30)) {
            let mut adaptation = Adaptation::new(1500, 6000);
            for (_, kbps) in course(&mut adaptation, &pieces) {
                prop_assert!((1500..=6000).contains(&kbps));
            }
        }
    }
}
