//! The ring as it is shown: what was on air, what is, and what comes.
//!
//! Holds: it is put together from what was told, in the order in which clips came ready, which is
//! the order in which they air; at most `KNOWN` clips are remembered.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::telemetry::{Generating, OnAir, RingEntry, RingState};
use crate::media::Clip;

const KNOWN: usize = 128;
/// Of what was on air, so many are shown.
const PLAYED: usize = 6;

#[derive(Default)]
pub struct RingView {
    clips: VecDeque<Known>,
}

struct Known {
    cycle: u32,
    seconds: f64,
    prompt: Arc<str>,
    /// It is or was on air.
    aired: bool,
}

impl RingView {
    /// A clip is ready.
    pub fn add(&mut self, clip: &Clip) {
        if self.clips.len() == KNOWN {
            self.clips.pop_front();
        }
        self.clips.push_back(Known {
            cycle: clip.cycle.0,
            seconds: f64::from(clip.frames) / clip.format.fps.as_f64(),
            prompt: clip.prompt.clone(),
            aired: false,
        });
    }

    /// What is on air, and what is in the making, say the rest.
    pub fn entries(&mut self, on_air: &OnAir, making: Option<&Generating>) -> Vec<RingEntry> {
        let now = self.clips.iter().rposition(|clip| Some(clip.cycle) == on_air.cycle);
        if let Some(now) = now.filter(|_| !on_air.replay) {
            // What came ready earlier was on air, or was left out.
            self.clips.range_mut(..=now).for_each(|clip| clip.aired = true);
        }
        let entry = |clip: &Known, state| RingEntry {
            cycle: Some(clip.cycle),
            state,
            seconds: clip.seconds,
            progress: None,
            prompt: clip.prompt.to_string(),
        };
        let aired = || self.clips.iter().enumerate().filter(|(_, clip)| clip.aired);
        let played = aired().filter(|(place, _)| Some(*place) != now);
        let mut entries: Vec<RingEntry> =
            played.map(|(_, clip)| entry(clip, RingState::Played)).collect();
        entries.drain(..entries.len().saturating_sub(PLAYED));
        entries.push(match now {
            Some(now) => entry(&self.clips[now], RingState::OnAir),
            None => RingEntry {
                cycle: on_air.cycle,
                state: RingState::OnAir,
                prompt: on_air.prompt.clone(),
                ..Default::default()
            },
        });
        let ready = self.clips.iter().filter(|clip| !clip.aired);
        let ready = ready.filter(|clip| Some(clip.cycle) != on_air.cycle);
        entries.extend(ready.map(|clip| entry(clip, RingState::Ready)));
        if let Some(making) = making {
            let by_time = making.expected_s.map(|expected| making.elapsed_s / expected.max(0.001));
            let progress = making.done.map(f64::from).or(by_time);
            entries.push(RingEntry {
                cycle: Some(making.cycle),
                state: RingState::Making,
                progress: progress.map(|done| done.clamp(0.0, 1.0)),
                ..Default::default()
            });
        }
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::FrameRate;
    use crate::media::{CycleId, VideoFormat};

    fn clip(cycle: u32) -> Clip {
        Clip {
            cycle: CycleId(cycle),
            path: Default::default(),
            format: VideoFormat { width: 2, height: 2, fps: FrameRate::whole(8) },
            frames: 16,
            prompt: format!("prompt {cycle}").as_str().into(),
        }
    }

    fn on_air(cycle: Option<u32>, replay: bool) -> OnAir {
        OnAir { cycle, replay, ..Default::default() }
    }

    #[test]
    fn cycles_go_from_ready_over_on_air_to_played() {
        let mut view = RingView::default();
        let states = |view: &mut RingView, on_air: OnAir| -> Vec<(Option<u32>, RingState)> {
            view.entries(&on_air, None).iter().map(|e| (e.cycle, e.state)).collect()
        };
        use RingState::{OnAir as Air, Played, Ready};
        assert_eq!(states(&mut view, on_air(None, false)), [(None, Air)]);
        (0..4).for_each(|cycle| view.add(&clip(cycle)));
        let ready: Vec<_> = (0..4).map(|cycle| (Some(cycle), Ready)).collect();
        assert_eq!(states(&mut view, on_air(None, false))[1..], ready);
        assert_eq!(
            states(&mut view, on_air(Some(2), false)),
            [(Some(0), Played), (Some(1), Played), (Some(2), Air), (Some(3), Ready)]
        );
        // What is shown again is on air again, and what is ready stays so.
        assert_eq!(
            states(&mut view, on_air(Some(1), true)),
            [(Some(0), Played), (Some(2), Played), (Some(1), Air), (Some(3), Ready)]
        );
        let making =
            Generating { cycle: 4, elapsed_s: 3.0, expected_s: Some(6.0), ..Default::default() };
        let entries = view.entries(&on_air(Some(2), false), Some(&making));
        let last = entries.last().unwrap();
        assert_eq!(
            (last.cycle, last.state, last.progress),
            (Some(4), RingState::Making, Some(0.5))
        );
        assert_eq!((entries[0].seconds, &*entries[0].prompt), (2.0, "prompt 0"));
    }
}
