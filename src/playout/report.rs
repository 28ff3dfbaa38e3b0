//! What the timeline tells others: shots for the journal, counters, and what the ring holds.

use super::strand::Role;
use crate::base::telemetry::{Counter, Gauge};
use crate::media::Grown;

/// A change of what is on air, for the journal: from output frame `frame` on, the strand moves
/// from `position` as `motion` says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ShotEvent {
    pub frame: u64,
    /// Where the playhead stands in that frame.
    pub playhead: f64,
    /// `None` for the stand-in.
    pub cycle: Option<u32>,
    pub role: Role,
    /// Source frame, fractional, in the order in which the clip was recorded.
    pub position: f64,
    /// Source frames for each step of the playhead; negative backwards.
    pub speed: f64,
    /// Steps of the playhead that a turn takes, if one begins here.
    pub turn_frames: Option<f64>,
    /// Output frames over which it is faded in, if it is joined in here.
    pub fade_frames: Option<u32>,
    /// It is said of the clip that another is being joined in over.
    pub leaving: bool,
    /// Tells the clip from every other.
    pub clip: u64,
    /// It was laid in back to front.
    pub reversed: bool,
    /// What it grows out of, if it is joined in here.
    pub grown: Option<Grown>,
}

/// What the timeline counts, readable from anywhere.
#[derive(Debug, Default)]
pub struct PlayoutCounters {
    pub played: Counter,
    /// Times that something was shown again because nothing new was ready.
    pub replayed: Counter,
    pub stand_in: Counter,
    pub underruns: Counter,
    /// Cycle on air plus one; 0 for the stand-in.
    pub on_air: Gauge,
    /// 1 while something is shown again because nothing new is ready.
    pub replaying: Gauge,
    /// Where in the clip on air the picture stands, in thousandths of its length.
    pub position: Gauge,
    /// Speed in thousandths; 0 while it stands still.
    pub speed: Gauge,
    /// Place in [`Mode::ALL`](super::Mode::ALL).
    pub mode: Gauge,
    /// Replans that took effect, and clips that went home unused for them.
    pub replans: Counter,
    pub dropped: Counter,
    /// Wishes for another cycle that nothing was there for.
    pub refused: Counter,
    /// Journal entries that found the way full.
    pub events_lost: Counter,
}

/// Why a clip is in the ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    #[default]
    Played,
    OnAir,
    Ready,
}

/// A clip in the ring.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct InRing {
    /// `None` for the stand-in.
    pub cycle: Option<u32>,
    pub place: Place,
    /// At its own rate.
    pub seconds: f32,
}

/// Clips that a view has room for.
const MOST: usize = 64;
/// Of those, at most so many that were played.
pub(super) const MOST_PLAYED: usize = 24;

/// What the ring holds, oldest first; what does not fit is left out at both ends.
#[derive(Clone, Copy, Debug)]
pub struct RingView {
    clips: [InRing; MOST],
    many: usize,
}

impl Default for RingView {
    fn default() -> Self {
        RingView { clips: [InRing::default(); MOST], many: 0 }
    }
}

impl RingView {
    /// The timeline's end, and that of whoever looks at it; the newest view wins.
    pub fn channel() -> (triple_buffer::Input<RingView>, triple_buffer::Output<RingView>) {
        triple_buffer::triple_buffer(&RingView::default())
    }

    pub fn clips(&self) -> &[InRing] {
        &self.clips[..self.many]
    }

    pub(super) fn clear(&mut self) {
        self.many = 0;
    }

    pub(super) fn add(&mut self, clip: InRing) {
        if let Some(free) = self.clips.get_mut(self.many) {
            *free = clip;
            self.many += 1;
        }
    }
}
