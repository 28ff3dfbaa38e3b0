//! Which pictures are due when: source frames at whatever times they have, output frames on a grid.
//!
//! Holds: output frame `n` is due `n / rate` after the first one, computed from `n`. Every output
//! frame belongs to exactly one [`Stretch`], in order, without a gap. Source frames are taken in
//! rising order of time.

use std::collections::VecDeque;

use super::passages::{MAX_REPEATS, Passage, Passages};
use crate::base::time::{FrameRate, NS};

/// As far as a source frame may be from its place at a constant rate, and an output frame from a
/// source frame that it then is: containers that write milliseconds are off by one at most.
const ROUNDING_NS: u64 = 1_050_000;
/// That is never more than this part of a frame time.
const ROUNDING_PART: u64 = 16;
/// Where a source does not say its rate, a gap of more than this is a standstill...
const LONGEST_GAP_NS: u64 = NS / 2;
/// ...and this its last frame time.
const USUAL_FRAME_NS: u64 = NS / 8;
/// Of exact halves of a frame time the count of frames is rounded up, in spite of times that are
/// whole nanoseconds.
const HALF_NS: u128 = 10;

/// Frames of a stretch: both ends of a passage and its repeats.
const MAX_FRAMES: usize = MAX_REPEATS as usize + 2;

/// When output frames are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// The time of frame 0.
    pub anchor_ns: u64,
    pub rate: FrameRate,
}

impl Grid {
    pub fn time_ns(&self, n: u64) -> u64 {
        self.anchor_ns + self.rate.pts_ns(n)
    }

    /// How many frames are due before that time.
    fn before(&self, time_ns: u64) -> u64 {
        self.rate.frames_in(time_ns.saturating_sub(self.anchor_ns))
    }

    /// How many frames a film has that ends then, at least one.
    fn count(&self, end_ns: u64) -> u64 {
        let length_ns = u128::from(end_ns.saturating_sub(self.anchor_ns)) + HALF_NS;
        let frame_ns = u128::from(self.rate.den()) * u128::from(NS);
        let halves = 2 * length_ns * u128::from(self.rate.num()) / frame_ns;
        (halves.div_ceil(2) as u64).max(1)
    }
}

/// How the pictures of a stretch are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// From both ends.
    Between,
    /// The frame that is nearest in time.
    Nearest,
    /// Another scene begins with the last frame of the stretch.
    Cut,
}

/// What an output frame shows. Source frames are counted from 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shot {
    /// A source frame at its own time.
    Source(u64),
    /// A source frame once more.
    Again(u64),
    /// What is between the two ends of the stretch: 0 is the first, 1 the last.
    Between(f32),
}

/// A passage in time, with the output frames that fall into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    pub grid: Grid,
    /// First output frame, and the first one behind.
    pub outputs: (u64, u64),
    /// The picture of the first frame goes over into that of the last.
    pub moves: bool,
    first: u64,
    frames: usize,
    times_ns: [u64; MAX_FRAMES],
    /// Before this it stands still.
    moves_from_ns: u64,
    /// When the nearer frame is the last one, if that is another scene.
    cut_ns: u64,
}

impl Stretch {
    /// The source frames that it shows; pictures are drawn from the two ends.
    pub fn frames(&self) -> std::ops::RangeInclusive<u64> {
        self.first..=self.last()
    }

    fn last(&self) -> u64 {
        self.first + self.frames as u64 - 1
    }

    fn times_ns(&self) -> &[u64] {
        &self.times_ns[..self.frames]
    }

    /// When its last frame is due.
    fn end_ns(&self) -> u64 {
        self.times_ns[self.frames - 1]
    }

    /// Whether any picture has to be made from both ends.
    pub fn needs_motion(&self) -> bool {
        let (first, end) = self.outputs;
        // A standstill before may be hours long.
        let first = first.max(self.grid.before(self.moves_from_ns));
        self.moves && (first..end).any(|n| matches!(self.shot(n, How::Between), Shot::Between(_)))
    }

    /// What output frame `n`, one of [`Stretch::outputs`], shows.
    pub fn shot(&self, n: u64, how: How) -> Shot {
        let at_ns = self.grid.time_ns(n);
        let times = self.times_ns();
        let away = |i: &usize| times[*i].abs_diff(at_ns);
        // A stretch has a frame.
        let nearest = (0..times.len()).min_by_key(away).unwrap_or(0);
        let begun = times.iter().rposition(|time| *time <= at_ns).unwrap_or(0);
        let exact = away(&nearest) <= self.tolerance_ns(nearest);
        let frame = |i: usize| self.first + i as u64;
        if self.moves && how == How::Between {
            if exact && nearest == 0 {
                return Shot::Source(frame(0));
            }
            if at_ns <= self.moves_from_ns {
                return Shot::Again(frame(0));
            }
            let length_ns = times[times.len() - 1] - self.moves_from_ns;
            return Shot::Between((at_ns - self.moves_from_ns) as f32 / length_ns as f32);
        }
        if exact {
            return Shot::Source(frame(nearest));
        }
        Shot::Again(frame(match how {
            How::Nearest => nearest,
            How::Cut if at_ns >= self.cut_ns => times.len() - 1,
            How::Cut => begun.min(times.len().saturating_sub(2)),
            How::Between => begun,
        }))
    }

    /// How far from frame `i` is still at its time.
    fn tolerance_ns(&self, i: usize) -> u64 {
        let times = self.times_ns();
        let gap = |a: usize, b: usize| times.get(b).map_or(u64::MAX, |b| b - times[a]);
        let around = gap(i, i + 1).min(if i > 0 { gap(i - 1, i) } else { u64::MAX });
        tolerance_ns(around.min(self.grid.rate.pts_ns(1)))
    }
}

fn tolerance_ns(frame_ns: u64) -> u64 {
    ROUNDING_NS.min(frame_ns / ROUNDING_PART)
}

/// Retimes one source after the other onto a grid.
#[derive(Clone, Debug)]
pub struct Retimer {
    rate: FrameRate,
    grid: Option<Grid>,
    /// The next output frame.
    next: u64,
    /// No output frame from this one on is wanted.
    end: u64,
    source: Source,
    /// Complete, but the source may end before the last of these frames are due: a film is as many
    /// frames long as it lasts, rounded. Only of rates below the half of the source's.
    waiting: VecDeque<Stretch>,
    ready: VecDeque<Stretch>,
}

/// What is known of the present source.
#[derive(Clone, Debug, Default)]
struct Source {
    rate: Option<FrameRate>,
    /// Repeats are looked for.
    spreads: bool,
    passages: Passages,
    /// Frames so far.
    count: u64,
    /// Times of the last frames: from the beginning of the next passage on.
    times_ns: Vec<u64>,
    /// Where the constant rate counts from.
    anchor_ns: u64,
    /// That was given, and holds for the first frame as well.
    is_anchored: bool,
    /// What the last frame said of its length.
    duration_ns: Option<u64>,
}

impl Retimer {
    pub fn new(rate: FrameRate) -> Self {
        Retimer {
            rate,
            grid: None,
            next: 0,
            end: u64::MAX,
            source: Source::default(),
            waiting: VecDeque::new(),
            ready: VecDeque::new(),
        }
    }

    /// Changes the rate of output frames that are not in a stretch yet.
    pub fn set_rate(&mut self, rate: FrameRate) {
        if rate != self.rate {
            self.rate = rate;
            self.ready.append(&mut self.waiting);
            if let Some(grid) = self.grid {
                self.grid = Some(Grid { anchor_ns: grid.time_ns(self.next), rate });
                self.next = 0;
            }
        }
    }

    /// A new source of frames, counted from 0. `rate`: if it has a constant one. `spreads`: motion
    /// is spread over repeats. The grid goes on where it is.
    pub fn set_source(&mut self, rate: Option<FrameRate>, spreads: bool) {
        let mut times_ns = std::mem::take(&mut self.source.times_ns);
        times_ns.clear();
        self.source = Source { rate, spreads, times_ns, ..Source::default() };
    }

    /// Forgets everything but what source it is: the grid begins anew with the next frame.
    pub fn reset(&mut self) {
        self.grid = None;
        self.next = 0;
        self.waiting.clear();
        self.ready.clear();
        self.set_source(self.source.rate, self.source.spreads);
    }

    /// Before the first frame of a source that begins somewhere in a film: `film_ns` is when the
    /// first frame of the film is due, and of the film's output frames only these are wanted. They
    /// are what they would be if the source began with the film, if it begins early enough for
    /// repeats before them to be told apart.
    pub fn begin_within(&mut self, film_ns: u64, outputs: std::ops::Range<u64>) {
        self.grid = Some(Grid { anchor_ns: film_ns, rate: self.rate });
        (self.next, self.end) = (outputs.start, outputs.end);
        (self.source.anchor_ns, self.source.is_anchored) = (film_ns, true);
    }

    /// Whether all output frames that are wanted are in stretches that are ready or were taken.
    pub fn is_over(&self) -> bool {
        let waits = |stretch: &Stretch| stretch.outputs.0 < stretch.outputs.1;
        self.next >= self.end && !self.waiting.iter().any(waits)
    }

    /// How far output is behind the source at most.
    pub fn latency_ns(&self) -> u64 {
        let spread_ns = match (self.source.rate, self.source.spreads) {
            (Some(rate), true) => rate.pts_ns(MAX_REPEATS + 1),
            (Some(rate), false) => rate.pts_ns(1),
            (None, _) => LONGEST_GAP_NS,
        };
        let frame_ns = self.source.frame_ns();
        spread_ns + (self.rate.pts_ns(1) / 2).saturating_sub(frame_ns)
    }

    /// The number of the next source frame.
    pub fn next_frame(&self) -> u64 {
        self.source.count
    }

    /// The frame with which the next one is compared: the first one of the present picture.
    pub fn picture(&self) -> u64 {
        self.source.passages.picture()
    }

    /// Which stretches the frames before this one are in, is decided.
    pub fn decided(&self) -> u64 {
        self.source.count - self.source.times_ns.len() as u64
    }

    /// Whether a frame before [`Retimer::decided`] is in a stretch that is still to come and has an
    /// output frame.
    pub fn shows(&self, number: u64) -> bool {
        let later = self.waiting.iter().rev().take_while(|s| *s.frames().end() >= number);
        later.chain(&self.ready).any(|s| s.outputs.0 < s.outputs.1 && s.frames().contains(&number))
    }

    /// When a source frame without a time comes; `None`: it is the first.
    pub fn expected_ns(&self) -> Option<u64> {
        let last_ns = *self.source.times_ns.last()?;
        Some(last_ns + self.source.duration_ns.unwrap_or(self.source.frame_ns()))
    }

    /// Takes the next source frame. `duration_ns`: if it has one. `repeats`: whether it shows the
    /// same as frame [`Retimer::picture`]; asked only where it matters. Returns false for one that
    /// is not later than the one before: it is left out, and has no number.
    #[must_use]
    pub fn add(
        &mut self,
        time_ns: u64,
        duration_ns: Option<u64>,
        repeats: impl FnOnce() -> bool,
    ) -> bool {
        let source = &mut self.source;
        if source.times_ns.last().is_some_and(|last| *last >= time_ns) {
            return false;
        }
        let mut time_ns = source.placed(time_ns);
        if source.count == 0 {
            let grid = *self.grid.get_or_insert(Grid { anchor_ns: time_ns, rate: self.rate });
            // A source that comes late begins where the one before ended.
            time_ns = time_ns.min(grid.time_ns(self.next));
        }
        source.count += 1;
        source.times_ns.push(time_ns);
        source.duration_ns = duration_ns.filter(|duration| *duration > 0);
        let repeats = source.count > 1 && source.spreads && repeats();
        if let Some(passage) = source.passages.add(repeats) {
            let early_ns = tolerance_ns(self.rate.pts_ns(1).min(source.last_gap_ns()));
            let stretch = self.stretch(passage, time_ns.saturating_sub(early_ns));
            self.waiting.push_back(stretch);
        }
        // The last output frame of a film is due half a frame time before its end, or earlier.
        let known_ns = time_ns + self.source.frame_ns();
        let half_ns = self.rate.pts_ns(1) / 2;
        while let Some(stretch) = self.waiting.pop_front_if(|s| s.end_ns() + half_ns <= known_ns) {
            self.ready.push_back(stretch);
        }
        true
    }

    /// The source has ended. `stop_ns`: its last picture is held until then, if that is before its
    /// own end.
    pub fn end(&mut self, stop_ns: Option<u64>) {
        let (Some(grid), Some(mut end_ns)) = (self.grid, self.source.end_ns(self.rate)) else {
            return;
        };
        if let Some(stop_ns) = stop_ns {
            end_ns = end_ns.min(stop_ns);
        }
        let last_ns = self.source.times_ns.last().copied().unwrap_or(end_ns);
        if let Some(passage) = self.source.passages.end() {
            let stretch = self.stretch(passage, last_ns);
            self.waiting.push_back(stretch);
        }
        let last = self.source.count - 1;
        let mut held = self.stretch(Passage { from: last, to: last, moves: false }, last_ns);
        held.outputs.1 = held.outputs.1.max(grid.count(end_ns)).min(self.end);
        self.waiting.push_back(held);
        // What is out is out.
        let first = self.waiting.front().map_or(0, |stretch| stretch.outputs.0);
        let count = grid.count(end_ns).min(self.end).max(first);
        for mut stretch in self.waiting.drain(..) {
            stretch.outputs.0 = stretch.outputs.0.min(count);
            stretch.outputs.1 = stretch.outputs.1.min(count);
            self.ready.push_back(stretch);
        }
        self.next = count;
        self.set_source(self.source.rate, self.source.spreads);
    }

    /// The next stretch that nothing can change any more. Each of them is to be taken, as their
    /// frames are counted on; some hold no output frame.
    pub fn ready(&mut self) -> Option<Stretch> {
        self.ready.pop_front()
    }

    /// The passage with the output frames that are due before `end_ns`.
    fn stretch(&mut self, passage: Passage, end_ns: u64) -> Stretch {
        let source = &mut self.source;
        let frames = (passage.to - passage.from) as usize + 1;
        let mut times_ns = [0; MAX_FRAMES];
        times_ns[..frames].copy_from_slice(&source.times_ns[..frames]);
        source.times_ns.drain(..frames - 1);
        let (from_ns, to_ns) = (times_ns[0], times_ns[frames - 1]);

        // What moves longer than repeats may explain stands still, but for the last frame time.
        let gap_ns = to_ns - times_ns[frames.saturating_sub(2)];
        let last_ns = gap_ns.min(source.frame_ns());
        let moves_from_ns =
            if to_ns - from_ns > source.longest_ns() { to_ns - last_ns } else { from_ns };

        let grid = self.grid.unwrap_or(Grid { anchor_ns: from_ns, rate: self.rate });
        let first = self.next;
        self.next = first.max(grid.before(end_ns).min(self.end));
        Stretch {
            grid,
            outputs: (first, self.next),
            moves: passage.moves,
            first: passage.from,
            frames,
            times_ns,
            moves_from_ns,
            cut_ns: to_ns - last_ns / 2,
        }
    }
}

impl Source {
    fn frame_ns(&self) -> u64 {
        self.rate.map_or(USUAL_FRAME_NS, |rate| rate.pts_ns(1))
    }

    /// The longest passage that moves all the time.
    fn longest_ns(&self) -> u64 {
        match self.rate {
            Some(rate) => rate.pts_ns(MAX_REPEATS + 1) + rate.pts_ns(1) / 2,
            None => LONGEST_GAP_NS,
        }
    }

    fn last_gap_ns(&self) -> u64 {
        match self.times_ns[..] {
            [.., a, b] => b - a,
            _ => self.frame_ns(),
        }
    }

    /// A time in its exact place, if it is one that is only rounded.
    fn placed(&mut self, time_ns: u64) -> u64 {
        let Some(rate) = self.rate.filter(|_| self.count > 0 || self.is_anchored) else {
            self.anchor_ns = time_ns;
            return time_ns;
        };
        let away_ns = time_ns.saturating_sub(self.anchor_ns);
        let place = rate.frames_in(away_ns.saturating_sub(rate.pts_ns(1) / 2));
        let exact_ns = self.anchor_ns + rate.pts_ns(place);
        let is_later = self.times_ns.last().is_none_or(|last| *last < exact_ns);
        if is_later && exact_ns.abs_diff(time_ns) <= tolerance_ns(rate.pts_ns(1)) {
            return exact_ns;
        }
        self.anchor_ns = time_ns;
        time_ns
    }

    /// When its last frame ends.
    fn end_ns(&self, out: FrameRate) -> Option<u64> {
        let last_ns = *self.times_ns.last()?;
        let Some(rate) = self.rate else {
            return Some(last_ns + self.duration_ns.unwrap_or(out.pts_ns(1)));
        };
        // Frames of a constant rate are as long as that says, however it was rounded.
        let place = rate.frames_in(last_ns.saturating_sub(self.anchor_ns + HALF_NS as u64));
        let exact_ns = self.anchor_ns + rate.pts_ns(place + 1);
        match self.duration_ns {
            Some(own) if own.abs_diff(rate.pts_ns(1)) > ROUNDING_NS => Some(last_ns + own),
            _ => Some(exact_ns),
        }
    }
}
