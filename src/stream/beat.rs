//! The picture on the beat: which beat each frame goes with, and what that does to its values.
//!
//! Holds: everything here runs on the render thread and neither waits nor allocates. What a set is
//! played again by leaves as receipts: beats, what was heard, and what happened when.

use std::time::Duration;

use super::picture::Receipt;
use crate::base::time::FrameRate;
use crate::music::{
    Bend, Bender, Modulators, Moment, Quantiser, Signals, Stepped, Tempo, Ticks, Used,
    ahead_seconds,
};
use crate::param::{MODULATORS, ParamId, Values};
use crate::playout::Timeline;

/// What was heard in so many frames is kept, for sound that is delayed by up to two seconds.
const RECENT: usize = 256;

/// What a frame went by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MusicFrame {
    pub frame: u64,
    pub beat: Ticks,
    pub bend: Bend,
    pub heard: Stepped,
    pub used: Used,
}

/// How the music reaches the picture.
pub struct Hearing {
    pub tempo: triple_buffer::Output<Tempo>,
    pub signals: triple_buffer::Output<Signals>,
}

pub struct OnBeat {
    hearing: Hearing,
    fps: FrameRate,
    grid: Grid,
    recent: Recent,
    modulators: Modulators,
    bender: Bender,
    quantiser: Quantiser,
}

impl OnBeat {
    pub fn new(hearing: Hearing, fps: FrameRate) -> Self {
        OnBeat {
            hearing,
            fps,
            grid: Grid::default(),
            recent: Recent::default(),
            modulators: Modulators::default(),
            bender: Bender::default(),
            quantiser: Quantiser::default(),
        }
    }

    /// Moves the smoothed `values` of frame `n`, which is being drawn `now`, and holds back or lets go
    /// of what was `fired`.
    pub fn step(
        &mut self,
        (n, now): (u64, Duration),
        values: &mut Values,
        fired: &mut Vec<ParamId>,
        timeline: &mut Timeline,
        mut tell: impl FnMut(Receipt),
    ) {
        let frame_seconds = self.fps.frame_seconds();
        let time = self.grid.time_of(n, self.fps, now);
        let time = time + ahead_seconds(values, frame_seconds);
        let tempo = *self.hearing.tempo.read();
        // In the middle of the time that it shows.
        let ticks = Ticks::of(tempo.beat_at(time + frame_seconds / 2.0));
        let (beat, frame_beats) = (ticks.beat(), frame_seconds * tempo.bpm / 60.0);
        let heard = self.recent.heard(self.hearing.signals.read(), time);

        let frame_ms = frame_seconds as f32 * 1000.0;
        let used = self.modulators.step(values, beat, &heard, frame_ms);
        let ahead = if values[ParamId::CycleBars] > 0.5 { timeline.ahead() } else { None };
        let bend = self.bender.step(values, (&tempo, beat, frame_beats), ahead, frame_ms);
        bend.apply(values);
        if used.any || bend != Bend::default() {
            tell(Receipt::Music(MusicFrame { frame: n, beat: ticks, bend, heard, used }));
        }
        let moment = Moment { tempo: &tempo, beat, frame_beats };
        let cut = |id| timeline.cut(n, id);
        let happened = |id| tell(Receipt::OnBeat { frame: n, id });
        self.quantiser.step(&moment, values, fired, cut, happened);
        timeline.set_coming(self.quantiser.begins_in());
    }

    /// What each modulator adds, as [`Modulators::added`] says it.
    pub fn added(&self) -> [f32; MODULATORS] {
        self.modulators.added()
    }

    /// What waits, as [`Quantiser::waiting`] says it.
    pub fn waiting(&self) -> u64 {
        self.quantiser.waiting()
    }
}

/// When frames are due, by the show's clock: the grid of frames as those show it that were drawn in
/// time.
#[derive(Default)]
struct Grid {
    /// Show time of frame 0, as near as is known.
    zero_ns: Option<i64>,
}

impl Grid {
    /// A frame so much later than the grid follows a gap, behind which the grid begins anew.
    const GAP_NS: i64 = 500_000_000;
    /// So much later the grid is taken to be with every frame; what is drawn in time pulls it back. So
    /// it follows a clock that runs otherwise.
    const CREEP_NS: i64 = 500;

    /// In seconds of the show's clock.
    fn time_of(&mut self, n: u64, fps: FrameRate, now: Duration) -> f64 {
        let pts_ns = fps.pts_ns(n) as i64;
        let seen = now.as_nanos() as i64 - pts_ns;
        let zero = match self.zero_ns {
            Some(zero) if seen - zero < Self::GAP_NS => seen.min(zero + Self::CREEP_NS),
            _ => seen,
        };
        // The first frame goes out before the encoder is open; the grid begins behind it.
        self.zero_ns = (n > 0).then_some(zero);
        (zero + pts_ns) as f64 / 1e9
    }
}

/// What was heard of late.
struct Recent {
    heard: [(Duration, Stepped); RECENT],
    /// Where the next one goes.
    next: usize,
}

impl Default for Recent {
    fn default() -> Self {
        Recent { heard: [Default::default(); RECENT], next: 0 }
    }
}

impl Recent {
    /// Takes in what is heard, and says what was heard last up to `time`, in seconds.
    fn heard(&mut self, signals: &Signals, time: f64) -> Stepped {
        let newest = self.heard[(self.next + RECENT - 1) % RECENT];
        let now = (signals.at, Stepped::of(signals));
        if now != newest {
            self.heard[self.next] = now;
            self.next = (self.next + 1) % RECENT;
        }
        let backwards = (1..=RECENT).map(|back| self.heard[(self.next + RECENT - back) % RECENT]);
        let mut until = backwards.filter(|(at, _)| at.as_secs_f64() <= time);
        until.next().map_or(Stepped::default(), |(_, heard)| heard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FPS: FrameRate = FrameRate::whole(60);

    #[test]
    fn late_pictures_do_not_move_the_grid_and_gaps_do() {
        let mut grid = Grid::default();
        let due = |n: u64, gap_ms: u64| Duration::from_nanos(FPS.pts_ns(n) + gap_ms * 1_000_000);
        grid.time_of(0, FPS, due(0, 1000));
        for n in 1..2000 {
            // The encoder took 250 ms to open; two of three are drawn late.
            let late = Duration::from_millis(n % 3 * 9);
            let time = grid.time_of(n, FPS, due(n, 1250) + late);
            assert!(n < 3 || (time - due(n, 1250).as_secs_f64()).abs() < 1e-4, "{n}: {time}");
        }
        let time = grid.time_of(2000, FPS, due(2000, 3000));
        assert!((time - due(2000, 3000).as_secs_f64()).abs() < 1e-4);
    }

    #[test]
    fn what_is_heard_reaches_the_picture_with_the_sound() {
        let mut recent = Recent::default();
        let kick = |ms: u64| {
            let mut signals = Signals { at: Duration::from_millis(ms), ..Signals::default() };
            signals.values[6] = if ms == 500 { 1.0 } else { 0.0 };
            signals
        };
        let mut seen = Vec::new();
        for ms in (0..2000u64).step_by(10) {
            let heard = recent.heard(&kick(ms), ms as f64 / 1000.0 - 0.3);
            if heard.0[6] == 255 {
                seen.push(ms);
            }
        }
        assert_eq!(seen, [800]);
    }
}
