//! The quality ladder: what the show leaves out while the machine is too busy for all of it.
//!
//! Down at once, rung by rung, while pictures queue up before the encoder or are lost, or when they
//! come late again and again; up again, one rung at a time, when all has been well for a while. If a
//! step up was too much, the next one waits twice as long.
//!
//! Holds: [`Ladder::look`] is a function of what it has been told; it reads no clock.

use std::time::Duration;

use crate::base::effort::Effort;

/// Pictures that wait for the encoder: from so many on its queue is in danger; up to so many all is
/// well. The queue holds eight.
const DANGER: u64 = 5;
const WELL: u64 = 2;
/// Looks in a row with more than [`WELL`] waiting, or late ones, that are a reason to step down, too.
const SLOW_LOOKS: u32 = 3;
/// How long all has to be well before a step up: at first, and at most.
const FIRST_PATIENCE: Duration = Duration::from_secs(5);
const LONGEST_PATIENCE: Duration = Duration::from_secs(80);
/// A step up that is taken back within this time was too much.
const TOO_MUCH: Duration = Duration::from_secs(15);

/// How busy the machine is, since the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// The most pictures that waited for the encoder at a time.
    pub waiting: u64,
    /// Pictures that came late: a hiccup that nobody sees.
    pub late: u64,
    /// Pictures that were held or repeated.
    pub lost: u64,
}

#[derive(Debug)]
pub struct Ladder {
    effort: Effort,
    /// Looks in a row that were not well.
    slow: u32,
    well_since: Option<Duration>,
    patience: Duration,
    stepped_up: Option<Duration>,
    /// Steps so far.
    pub down: u64,
    pub up: u64,
}

impl Default for Ladder {
    fn default() -> Self {
        Ladder {
            effort: Effort::Full,
            slow: 0,
            well_since: None,
            patience: FIRST_PATIENCE,
            stepped_up: None,
            down: 0,
            up: 0,
        }
    }
}

impl Ladder {
    pub fn effort(&self) -> Effort {
        self.effort
    }

    /// Looks at the load; to be called a few times a second. The new effort if it changes.
    pub fn look(&mut self, now: Duration, load: Load) -> Option<Effort> {
        let well = load.lost == 0 && load.late == 0 && load.waiting <= WELL;
        self.slow = if well { 0 } else { self.slow + 1 };
        if !well {
            self.well_since = None;
        }
        if load.lost > 0 || load.waiting >= DANGER || self.slow >= SLOW_LOOKS {
            self.slow = 0;
            return self.step_down(now);
        }
        if !well {
            return None;
        }
        let since = *self.well_since.get_or_insert(now);
        if now.saturating_sub(since) < self.patience {
            return None;
        }
        let effort = self.effort.more()?;
        self.well_since = Some(now);
        self.stepped_up = Some(now);
        self.up += 1;
        self.effort = effort;
        Some(effort)
    }

    fn step_down(&mut self, now: Duration) -> Option<Effort> {
        let effort = self.effort.less()?;
        match self.stepped_up.take() {
            Some(up) if now.saturating_sub(up) < TOO_MUCH => {
                self.patience = (self.patience * 2).min(LONGEST_PATIENCE);
            }
            Some(_) => self.patience = FIRST_PATIENCE,
            None => {}
        }
        self.down += 1;
        self.effort = effort;
        Some(effort)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOOK: Duration = Duration::from_millis(250);

    /// A machine: what it can do at which effort.
    fn run(
        ladder: &mut Ladder,
        from: Duration,
        looks: u32,
        load: impl Fn(Effort) -> Load,
    ) -> Duration {
        for n in 0..looks {
            ladder.look(from + LOOK * n, load(ladder.effort()));
        }
        from + LOOK * looks
    }

    const FINE: Load = Load { waiting: 1, late: 0, lost: 0 };
    const OVERRUN: Load = Load { waiting: 8, late: 0, lost: 3 };

    #[test]
    fn a_busy_machine_leads_down_at_once_and_up_when_it_is_over() {
        let mut ladder = Ladder::default();
        let now = run(&mut ladder, Duration::ZERO, 40, |_| FINE);
        assert_eq!(ladder.effort(), Effort::Full);
        let now = run(&mut ladder, now, 5, |_| OVERRUN);
        assert_eq!(ladder.effort(), Effort::LeanEncoder);
        let now = run(&mut ladder, now, 40, |_| OVERRUN);
        assert_eq!((ladder.effort(), ladder.down), (Effort::LeanEncoder, 5));
        run(&mut ladder, now, 4 * 40, |_| FINE);
        assert_eq!((ladder.effort(), ladder.up), (Effort::Full, 5));
    }

    #[test]
    fn a_queue_that_grows_slowly_is_reason_enough() {
        let mut ladder = Ladder::default();
        run(&mut ladder, Duration::ZERO, 3, |_| Load { waiting: 3, ..FINE });
        assert_eq!(ladder.effort(), Effort::FastMotion);
    }

    #[test]
    fn a_hiccup_is_no_reason_but_hiccups_are() {
        let mut ladder = Ladder::default();
        for n in 0..40 {
            let late = u64::from(n % 3 == 0);
            ladder.look(LOOK * n, Load { late, ..FINE });
        }
        assert_eq!(ladder.effort(), Effort::Full);
        run(&mut ladder, LOOK * 40, 3, |_| Load { late: 2, ..FINE });
        assert_eq!(ladder.effort(), Effort::FastMotion);
    }

    #[test]
    fn what_the_machine_cannot_do_is_tried_ever_more_rarely() {
        let mut ladder = Ladder::default();
        let can = |effort: Effort| if effort >= Effort::Blend { FINE } else { OVERRUN };
        // Five minutes.
        run(&mut ladder, Duration::ZERO, 4 * 300, can);
        assert!(ladder.effort() >= Effort::LumaWarp);
        // At first every five seconds, in the end every eighty.
        assert!(ladder.up <= 8, "{} steps up", ladder.up);
    }

    proptest! {
        #[test]
        fn steps_are_counted_and_end_at_both_ends(
            loads in prop::collection::vec((0u64..9, 0u64..2, 0u64..2), 0..400)
        ) {
            let mut ladder = Ladder::default();
            for (n, (waiting, late, lost)) in (0..).zip(loads) {
                let before = ladder.effort();
                let changed = ladder.look(LOOK * n, Load { waiting, late, lost });
                prop_assert_eq!(changed.is_some(), before != ladder.effort());
                prop_assert_eq!(ladder.down - ladder.up, ladder.effort() as u64);
            }
        }
    }
}
