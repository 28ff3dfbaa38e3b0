//! Smoothing on the render thread: a one-pole low pass per parameter, so that a stepped
//! controller does not make the picture jump.

use super::registry::{REGISTRY, Values};

pub struct Smoother {
    current: Values,
}

impl Smoother {
    pub fn new(start: Values) -> Self {
        Smoother { current: start }
    }

    /// Where every value is now.
    pub fn values(&self) -> &Values {
        &self.current
    }

    /// Moves every value towards `target` by the time of one frame and returns where it is now.
    /// A value closer than a thousandth of its range arrives.
    pub fn step(&mut self, target: &Values, frame_ms: f32) -> &Values {
        for param in REGISTRY {
            let (now, goal) = (self.current[param.id], target[param.id]);
            let close = match param.kind {
                super::Kind::Float { min, max } => (max - min) / 1000.0,
                super::Kind::Bool => 0.001,
            };
            self.current[param.id] = if param.smoothing_ms == 0.0 || (goal - now).abs() < close {
                goal
            } else {
                now + (goal - now) * (1.0 - (-frame_ms / param.smoothing_ms).exp())
            };
        }
        &self.current
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::param::ParamId;

    #[test]
    fn a_step_arrives_within_half_a_second_and_never_overshoots() {
        let mut target = Values::default();
        target[ParamId::Zoom] = 2.0;
        target[ParamId::Blackout] = 1.0;
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
}
