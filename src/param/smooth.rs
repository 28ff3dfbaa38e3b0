//! What the picture makes of the snapshots, on the render thread: every value follows its target
//! smoothly, so that a stepped controller does not make the picture jump.
//!
//! Holds: it is a function of the snapshots and of the frames that were drawn, so a set that is
//! played again from its journal goes through the same values.

use super::registry::{Kind, Param, ParamId, REGISTRY, Values};
use super::store::Snapshot;

pub struct Smoother {
    current: Values,
    /// What each value moved towards in the frame before.
    target: Values,
    /// Where each value that is on its way within a given time began.
    from: Values,
    /// Milliseconds that it has been on its way, and that it takes; 0: it follows by itself.
    gone_ms: Values,
    takes_ms: Values,
}

impl Smoother {
    pub fn new(start: Values) -> Self {
        Smoother {
            current: start,
            target: start,
            from: start,
            gone_ms: Values::ZERO,
            takes_ms: Values::ZERO,
        }
    }

    /// Where every value is now.
    pub fn values(&self) -> &Values {
        &self.current
    }

    /// Moves every value towards its target by the time of one frame and returns where it is now.
    /// A change with a fade arrives when that is over; else a value follows with the time constant
    /// of its parameter, and arrives when it is closer than a thousandth of its range.
    pub fn step(&mut self, snapshot: &Snapshot, frame_ms: f32) -> &Values {
        for param in REGISTRY {
            let Some((min, max)) = param.range() else { continue };
            let id = param.id;
            let goal = snapshot.values[id];
            if goal != self.target[id] {
                self.target[id] = goal;
                self.from[id] = self.current[id];
                self.gone_ms[id] = 0.0;
                self.takes_ms[id] = match param.kind {
                    Kind::Float { .. } => snapshot.fades_ms[id],
                    _ if param.fades_over.is_some() => snapshot.fades_ms[id],
                    // Between two choices there is nothing.
                    _ => 0.0,
                };
            }
            let now = self.current[id];
            if now == goal {
                continue;
            }
            self.current[id] = if let Some(seconds) = param.fades_over {
                // A change that says how long it takes is not held up by the parameter's own time.
                let takes_ms = match self.takes_ms[id] {
                    0.0 => snapshot.values[seconds] * 1000.0,
                    asked => asked,
                };
                steady(now, goal, (max - min) * frame_ms / takes_ms)
            } else if self.takes_ms[id] > 0.0 {
                self.gone_ms[id] += frame_ms;
                let gone = self.gone_ms[id] / self.takes_ms[id];
                // Rounding must not leave it a frame short.
                if gone > 0.999 {
                    goal
                } else {
                    let share = gone * gone * (3.0 - 2.0 * gone);
                    along(param, self.from[id], goal, share)
                }
            } else if param.smoothing_ms == 0.0
                || way(param, now, goal).abs() < (max - min) / 1000.0
            {
                goal
            } else {
                along(param, now, goal, 1.0 - (-frame_ms / param.smoothing_ms).exp())
            };
        }
        &self.current
    }

    /// Where a value is now.
    pub fn value(&self, id: ParamId) -> f32 {
        self.current[id]
    }
}

/// One step of at most `step` (no number: the whole way).
fn steady(now: f32, goal: f32, step: f32) -> f32 {
    if !step.is_finite() || (goal - now).abs() <= step {
        goal
    } else {
        now + step.copysign(goal - now)
    }
}

/// From `from` to `to`: the shorter way, where the range is a circle.
fn way(param: &Param, from: f32, to: f32) -> f32 {
    match param.range() {
        Some((min, max)) if param.wraps => {
            let turn = max - min;
            let way = (to - from).rem_euclid(turn);
            if way > turn / 2.0 { way - turn } else { way }
        }
        _ => to - from,
    }
}

/// The value `share` of the way from `from` to `to`.
fn along(param: &Param, from: f32, to: f32, share: f32) -> f32 {
    let value = from + way(param, from, to) * share;
    match param.range() {
        Some((min, max)) if param.wraps => min + (value - min).rem_euclid(max - min),
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(values: Values) -> Snapshot {
        Snapshot { values, ..Snapshot::default() }
    }

    #[test]
    fn a_step_arrives_within_half_a_second_and_never_overshoots() {
        let mut target = Values::default();
        target[ParamId::Zoom] = 2.0;
        target[ParamId::Blackout] = 1.0;
        let target = snapshot(target);
        let mut smoother = Smoother::new(Values::default());
        let first = *smoother.step(&target, 16.7);
        assert!(first[ParamId::Zoom] > 1.0 && first[ParamId::Zoom] < 1.5);
        assert_eq!(first[ParamId::Blackout], 1.0, "a blackout is immediate");
        let mut before = first[ParamId::Zoom];
        for _ in 0..30 {
            let now = smoother.step(&target, 16.7)[ParamId::Zoom];
            assert!(now >= before && now <= 2.0);
            before = now;
        }
        assert_eq!(before, 2.0);
    }

    #[test]
    fn a_fade_takes_as_long_as_it_says() {
        let mut target = snapshot(Values::default());
        target.values[ParamId::Zoom] = 3.0;
        target.values[ParamId::Mirror] = 1.0;
        target.fades_ms[ParamId::Zoom] = 1000.0;
        target.fades_ms[ParamId::Mirror] = 1000.0;
        let mut smoother = Smoother::new(Values::default());
        let mut arrived = 0;
        for n in 1..=100 {
            let values = smoother.step(&target, 1000.0 / 60.0);
            assert_eq!(values[ParamId::Mirror], 1.0);
            if n == 30 {
                assert!((values[ParamId::Zoom] - 2.0).abs() < 0.01);
            }
            if values[ParamId::Zoom] == 3.0 && arrived == 0 {
                arrived = n;
            }
        }
        assert_eq!(arrived, 60);
    }

    #[test]
    fn a_blackout_takes_the_time_that_is_set() {
        let mut target = snapshot(Values::default());
        target.values[ParamId::Blackout] = 1.0;
        target.values[ParamId::BlackoutFade] = 0.5;
        let mut smoother = Smoother::new(target.values);
        target.values[ParamId::Blackout] = 0.0;
        for _ in 0..15 {
            smoother.step(&target, 1000.0 / 60.0);
        }
        assert!((smoother.value(ParamId::Blackout) - 0.5).abs() < 0.02);
        // PANIC says that it is to be at once, and is.
        target.values[ParamId::Blackout] = 1.0;
        target.fades_ms[ParamId::Blackout] = 1.0;
        assert_eq!(smoother.step(&target, 1000.0 / 60.0)[ParamId::Blackout], 1.0);
    }

    #[test]
    fn a_circle_is_followed_the_shorter_way() {
        let mut start = Values::default();
        start[ParamId::Hue] = 170.0;
        let mut target = snapshot(start);
        target.values[ParamId::Hue] = -170.0;
        let mut smoother = Smoother::new(start);
        for _ in 0..60 {
            let hue = smoother.step(&target, 16.7)[ParamId::Hue];
            assert!(hue.abs() >= 169.0, "{hue}");
        }
        assert_eq!(smoother.value(ParamId::Hue), -170.0);
    }
}
