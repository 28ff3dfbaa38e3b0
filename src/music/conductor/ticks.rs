//! The MIDI clock: ticks without numbers, which may be late, or missing.
//!
//! A tick is the one after the last. Only where a gap shows that some are missing, the line says
//! how many; and what the next few say of it is believed more.

use super::super::note::BPM;
use super::fit::{Fit, Line, Point};

pub const PER_BEAT: f64 = 24.0;
/// Ticks of the line: two seconds at 120 bpm. Six, where they come very unevenly.
const FEW: usize = 96;
const MOST: usize = 288;
/// So evenly, as a spread in seconds, and so unevenly.
const EVEN_S: f64 = 0.007;
const UNEVEN_S: f64 = 0.015;
/// A line is made from so many.
const ENOUGH: usize = 24;
/// With fewer it is not known well enough to say that one is missing.
const KNOWN: usize = 40;
/// So many behind a gap say whether it was counted well.
const JUDGES: usize = 12;
/// Longer than this between two is a gap, in parts of what is usual.
const GAP: f64 = 1.4;
/// Longer than this it is clear that some are missing.
const WIDE: f64 = 2.5;
/// Longer than this it is none that was made by two that were a little early and late.
const CLEAR_GAP: f64 = 1.6;
/// So many of those among the last 64, or this spread in parts of what is usual between two: ticks
/// come in heaps.
const MANY_GAPS: u32 = 8;
const UNEVEN: f64 = 0.5;
/// Two that came together, in parts of that.
const BURST: f64 = 0.4;
/// So long a machine may be late.
const STALL_S: f64 = 0.4;
/// So many ticks without one: the clock stood.
const STOOD: f64 = 4.0;
/// After that long nothing is known of how many were missed.
const PAUSE_S: f64 = 2.0;

/// What is late comes late together, so it takes more to say that the tempo changes.
const CLEARLY: f64 = 4.0;
/// A first line of a few this bad is not begun with.
const UNSTEADY_S: f64 = 0.012;

#[derive(Clone, Copy)]
struct Gap {
    /// As it was before.
    line: Line,
    /// How far beside it ticks were then, in ticks.
    before: f64,
    /// Ticks since, with the first.
    since: usize,
    /// And since the latest further gap.
    again: Option<usize>,
}

pub struct Ticks {
    fit: Fit,
    gap: Option<Gap>,
    /// So many were taken for missing, then.
    owed: (f64, f64),
    /// Which of the last 64 came behind a clear gap.
    gaps: u64,
    /// They come in heaps, and a gap says nothing.
    in_heaps: bool,
    /// How far beside the line the latest were, in ticks.
    beside: Vec<f64>,
    line: Option<Line>,
    spread: f64,
}

impl Ticks {
    pub fn new() -> Self {
        Ticks {
            fit: Fit::new(MOST, 24),
            gap: None,
            owed: (0.0, 0.0),
            gaps: 0,
            in_heaps: false,
            beside: Vec::with_capacity(JUDGES),
            line: None,
            spread: 0.0,
        }
    }

    /// A tick; `as_beat`: it is that beat. Whether it begins anew, and nobody knows where in a beat.
    pub fn tick(&mut self, at: f64, as_beat: Option<f64>) -> bool {
        let last = self.fit.last();
        let usual = self.line.map_or(0.0, |line| 1.0 / (line.rate * PER_BEAT));
        let paused = last.is_some_and(|last| at - last.at > PAUSE_S);
        // A clock that stood still goes on with its tempo, but at a moment of its own.
        let restarted = as_beat.is_some()
            && last.is_some_and(|last| usual > 0.0 && at - last.at > usual * STOOD);
        if let Some(last) = last.filter(|_| paused || restarted) {
            let beat = as_beat.unwrap_or(last.beat + 1.0 / PER_BEAT);
            self.begin_again(at, beat);
            return as_beat.is_none();
        }
        let Some(last) = last else {
            self.begin_again(at, as_beat.unwrap_or(0.0));
            return as_beat.is_none();
        };
        let mut beat = last.beat + 1.0 / PER_BEAT;
        if let Some(wanted) = as_beat {
            self.renumber(wanted - beat);
            beat = wanted;
        }
        if let Some(line) = self.line.filter(|_| self.fit.points.len() >= KNOWN) {
            self.gaps = self.gaps << 1 | u64::from(at - last.at > usual * CLEAR_GAP);
            let (gaps, spread) = (self.gaps.count_ones(), self.spread / usual);
            let was_uneven = self.in_heaps;
            self.in_heaps = match was_uneven {
                false => gaps >= MANY_GAPS || spread > UNEVEN,
                true => gaps >= MANY_GAPS / 2 || spread > UNEVEN * 0.7,
            };
            if self.in_heaps && !was_uneven {
                // What was taken for missing was late.
                beat -= last.beat;
                self.number_as_they_came();
                beat += self.fit.last().map_or(last.beat, |last| last.beat);
            }
            let stood = at - last.at > STALL_S;
            // Where they come so unevenly, only a long gap says anything.
            if at - last.at > usual * GAP && (stood || !self.in_heaps) {
                let first = Gap { line, before: mean(&self.beside), since: 0, again: None };
                let gap = self.gap.get_or_insert(first);
                if gap.since > 0 {
                    gap.again = Some(0);
                }
                let missing = (gap.line.beat_at(at) - beat) * PER_BEAT - gap.before;
                // One that is only late is not taken for two: one in a hundred is missing, perhaps,
                // and so much likelier the other must be. Those behind it will tell.
                let wide = at - last.at > usual * WIDE;
                let doubt = if wide { 0.0 } else { 5.0 * spread * spread };
                let missing = (missing + 0.5 - doubt).floor().max(0.0);
                beat += missing / PER_BEAT;
                self.owed = if missing >= 2.0 { (missing, at) } else { (0.0, at) };
            } else if self.owed.0 > 0.0
                && at - last.at < usual * BURST
                && at - self.owed.1 < STALL_S
            {
                // They were late together, not missing.
                self.owed.0 -= 1.0;
                let from = self.fit.points.iter().position(|point| point.at >= self.owed.1);
                let (from, n) = (from.unwrap_or(0), self.fit.points.len());
                self.shift(n - from, -1.0);
                beat -= 1.0 / PER_BEAT;
            }
            let line = self.gap.map_or(line, |gap| gap.line);
            if self.beside.len() == JUDGES {
                self.beside.remove(0);
            }
            self.beside.push((line.beat_at(at) - beat) * PER_BEAT);
        }
        self.fit.add(Point { at, beat });
        let uneven = ((self.spread - EVEN_S) / (UNEVEN_S - EVEN_S)).clamp(0.0, 1.0);
        self.fit.keep(FEW + ((MOST - FEW) as f64 * uneven) as usize);
        match &mut self.gap {
            Some(gap) => {
                gap.since += 1;
                gap.again = gap.again.map(|again| again + 1);
                if gap.since == JUDGES {
                    self.judge();
                }
            }
            // Every missed tick would be a new tempo, and every heap.
            None if !self.in_heaps => self.fit.forget(),
            None => {}
        }
        // As long as it is not known what the latest are, they say nothing.
        if self.gap.is_none() {
            self.draw();
        }
        false
    }

    fn begin_again(&mut self, at: f64, beat: f64) {
        self.fit.points.clear();
        self.fit.add(Point { at, beat });
        self.beside.clear();
        self.gap = None;
        self.owed = (0.0, 0.0);
        self.line = self.line.map(|line| Line { at, beat, ..line });
    }

    /// Looks whether what came behind a gap was numbered well, and numbers it anew.
    fn judge(&mut self) {
        let Some(gap) = self.gap.take() else { return };
        let from = self.beside.len().saturating_sub(gap.since);
        // Those up to the next gap, if they are enough.
        let to = self.beside.len() - gap.again.unwrap_or(0).min(gap.since);
        let to = if to >= from + 4 { to } else { self.beside.len() };
        let beside = mean(&self.beside[from..to]) - gap.before;
        if beside.abs() > 0.6 {
            self.shift(gap.since, beside.round());
        }
        if let Some(since) = gap.again {
            // What came behind the later one is still to be judged, by what is known before it.
            let Some((line, spread)) = self.fit.line_without(since) else { return };
            (self.line, self.spread) = (Some(line), spread);
            let points = self.fit.points.iter().rev();
            for (beside, point) in self.beside.iter_mut().rev().zip(points) {
                *beside = (line.beat_at(point.at) - point.beat) * PER_BEAT;
            }
            self.gap = Some(Gap { line, before: 0.0, since, again: None });
        }
    }

    /// Numbers the latest `n` anew, by so many ticks.
    fn shift(&mut self, n: usize, by: f64) {
        let from = self.fit.points.len().saturating_sub(n);
        for point in self.fit.points.range_mut(from..) {
            point.beat += by / PER_BEAT;
        }
        let from = self.beside.len().saturating_sub(n);
        for beside in &mut self.beside[from..] {
            *beside -= by;
        }
    }

    /// As if none was missing, but where the clock stood.
    fn number_as_they_came(&mut self) {
        let mut next: Option<Point> = None;
        for point in self.fit.points.iter_mut().rev() {
            if let Some(next) = next {
                if next.at - point.at > STALL_S {
                    break;
                }
                point.beat = next.beat - 1.0 / PER_BEAT;
            }
            next = Some(*point);
        }
        self.beside.clear();
        (self.gap, self.owed) = (None, (0.0, 0.0));
    }

    fn draw(&mut self) {
        let enough = if self.line.is_some() { 12 } else { ENOUGH };
        if self.fit.points.len() < enough {
            return;
        }
        if let Some((line, spread)) = self.fit.line(None) {
            if self.line.is_none() && spread > UNSTEADY_S && self.fit.points.len() < FEW {
                // They come in heaps, or some were missed: more of them will tell.
                return;
            }
            // A tempo that changes: half a tick would be something else.
            let bent = self.fit.tangent(CLEARLY).filter(|bent| {
                self.fit.points.len() >= KNOWN
                    && (bent.beat - line.beat).abs() * PER_BEAT < 0.5
                    && (bent.rate / line.rate - 1.0).abs() < 0.1
            });
            let line = bent.unwrap_or(line);
            if BPM.contains(&(line.rate * 60.0)) {
                (self.line, self.spread) = (Some(line), spread);
            }
        }
    }

    pub fn renumber(&mut self, by: f64) {
        self.fit.renumber(by);
        let gap = self.gap.as_mut().map(|gap| &mut gap.line);
        for line in self.line.iter_mut().chain(gap) {
            line.beat += by;
        }
    }

    pub fn last_at(&self) -> Option<f64> {
        self.fit.last().map(|point| point.at)
    }

    /// The number of the last tick as a beat.
    pub fn last_beat(&self) -> Option<f64> {
        self.fit.last().map(|point| point.beat)
    }

    pub fn line(&self) -> Option<(Line, f64)> {
        self.line.map(|line| (line, self.spread))
    }
}

/// 0 of nothing.
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}
