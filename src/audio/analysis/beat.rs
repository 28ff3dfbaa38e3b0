//! Where the beat is, from how much begins when.
//!
//! The tempo: an autocorrelation of the onset strength that forgets, looked at by a comb of
//! multiples of each period, with a prior about 125 bpm (after D. Ellis, "Beat tracking by dynamic
//! programming", 2007). One octave of tempos is known, so that drum and bass is at 174, not at 87.
//! The phase: a cumulative score, A. Stark, M. Davies, M. Plumbley, "Real-time beat-synchronous
//! analysis of musical audio", DAFx 2009; a phase-locked loop follows its peaks, so that one odd
//! hit moves nothing.
//!
//! Holds: causal, the same work for every hop, nothing allocated once made. A tempo that is known is
//! kept until another has been clearer for seconds: without drums it goes on, less and less sure.

use std::time::Duration;

use super::HOPS_PER_SECOND;

/// The octave. A little more than one, so that at its ends nothing flips to and fro.
const SLOWEST_BPM: f64 = 91.0;
const FASTEST_BPM: f64 = 183.0;
const USUAL_BPM: f64 = 125.0;
/// Width of the prior, in octaves.
const PRIOR_OCTAVES: f64 = 1.3;
/// Multiples of a period that are looked at, with their weights.
const COMB: [(f64, f32); 8] = [
    (1.0, 1.0),
    (2.0, 1.0),
    (3.0, 0.5),
    (4.0, 1.0),
    (5.0, 0.4),
    (6.0, 0.5),
    (7.0, 0.4),
    (8.0, 1.0),
];
/// Hops of the longest multiple.
const LAGS: usize = (60.0 / SLOWEST_BPM * HOPS_PER_SECOND * 8.0) as usize + 3;
/// Seconds after which what was heard counts for a third.
const MEMORY_SECONDS: f64 = 6.0;
/// Hops between two looks at the tempo.
const LOOK_EVERY: u64 = 16;
/// No tempo before so many hops.
const FIRST_LOOK: u64 = (2.5 * HOPS_PER_SECOND) as u64;
/// Periods that are tried, evenly in octaves.
const PERIODS: usize = 240;
/// Another tempo must be clearer for so many looks.
const LOOKS_TO_CHANGE: u32 = (3.0 * HOPS_PER_SECOND) as u32 / LOOK_EVERY as u32;
const LOOKS_TO_CHANGE_UNSURE: u32 = LOOKS_TO_CHANGE / 4;
/// How much of the score is memory.
const SCORE_MEMORY: f32 = 0.9;
/// How strictly beats are a period apart.
const TIGHTNESS: f64 = 6.0;
/// Parts of a beat in which is added up how much begins there.
const PHASES: usize = 24;
/// How much of that is kept from beat to beat.
const PHASE_MEMORY: f32 = 0.94;
/// The beat is moved to where so much more begins, and not before so many beats.
const CLEARER: f32 = 1.15;
const BEATS_BEFORE_MOVE: u32 = 8;
/// Hops by which smoothing makes an onset later.
const SMOOTHING_LATE: f64 = 2.0;
/// Time stamps jitter; the hops are even. How much of a difference is followed in a hop.
const FOLLOW_TIME: f64 = 0.01;
/// A longer hole in time is not filled with silence.
const LONGEST_HOLE: Duration = Duration::from_secs(10);

/// A beat.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BeatEstimate {
    /// When it falls, by the show's clock; within a hop of now.
    pub at: Duration,
    pub bpm: f64,
    /// 0 to 1.
    pub confidence: f32,
}

pub struct BeatTracker {
    /// Hops heard.
    now: u64,
    /// Of hop zero, in seconds of the show's clock.
    origin: f64,
    smooth: [f32; 4],
    mean: f32,
    past: Past,
    autocorrelation: Vec<f32>,
    /// How much of its memory an autocorrelation has had time to fill, after n hops.
    filled: Vec<f32>,
    score: Past,
    /// Of each distance from half a period to two, for the present one.
    weights: Vec<f32>,
    period: Option<Period>,
    /// A period that may take over, and for how many looks it was better.
    rival: (f64, u32),
}

/// What is known once there is a tempo.
#[derive(Clone, Copy)]
struct Period {
    hops: f64,
    /// The coming beat, in hops.
    next: f64,
    /// Whether the loop has looked since the last beat.
    corrected: bool,
    beats: u32,
    /// How much begins in each part of a beat, and in how many beats that was added up.
    phases: [f32; PHASES],
    phases_of: u32,
    /// How clear the tempo is, and how many of the last beats were heard.
    clear: f32,
    evidence: f32,
    /// Strength at a beat, of the strongest of late.
    strongest: f32,
}

impl Period {
    fn add(&mut self, now: f64, x: f32) {
        let phase = ((now - self.next) / self.hops).rem_euclid(1.0);
        self.phases[(phase * PHASES as f64) as usize % PHASES] += x;
    }

    /// Into what part of a beat it should move.
    fn elsewhere(&self) -> Option<f64> {
        let all = (0..PHASES).map(|phase| (phase, self.around(phase)));
        let (most, strength) = all.clone().max_by(|a, b| a.1.total_cmp(&b.1))?;
        // What begins at any time is no beat.
        let (_, floor) = all.min_by(|a, b| a.1.total_cmp(&b.1))?;
        let clearer = strength - floor > CLEARER * (self.around(0) - floor);
        let apart = most.min(PHASES - most) > PHASES / 6;
        (clearer && apart && self.phases_of >= BEATS_BEFORE_MOVE)
            .then_some(most as f64 / PHASES as f64)
    }

    fn around(&self, phase: usize) -> f32 {
        let at = |off: usize| self.phases[(phase + PHASES + off - 2) % PHASES];
        (0..4).map(at).sum()
    }
}

impl Default for BeatTracker {
    fn default() -> Self {
        Self::new()
    }
}

impl BeatTracker {
    pub fn new() -> Self {
        let keep = keep();
        let mut filled = Vec::new();
        let mut rest = 1.0;
        while rest > 0.01 {
            rest *= keep;
            filled.push((1.0 - rest) as f32);
        }
        BeatTracker {
            now: 0,
            origin: 0.0,
            smooth: [0.0; 4],
            mean: 0.0,
            past: Past::new(),
            autocorrelation: vec![0.0; LAGS],
            filled,
            score: Past::new(),
            weights: Vec::with_capacity(LAGS),
            period: None,
            rival: (0.0, 0),
        }
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        self.now = 0;
        self.smooth = [0.0; 4];
        self.mean = 0.0;
        self.past.clear();
        self.score.clear();
        self.autocorrelation.fill(0.0);
        self.period = None;
        self.rival = (0.0, 0);
    }

    /// The present tempo.
    pub fn bpm(&self) -> Option<f64> {
        self.period.map(|period| 60.0 * HOPS_PER_SECOND / period.hops)
    }

    /// Hears how much began in a hop, at `at`; calls `beat` for a beat that falls now.
    pub fn hear(&mut self, strength: f32, at: Duration, beat: &mut impl FnMut(BeatEstimate)) {
        let hop = 1.0 / HOPS_PER_SECOND;
        let seconds = at.as_secs_f64();
        if self.now == 0 {
            self.origin = seconds;
        }
        let off = seconds - (self.origin + self.now as f64 * hop);
        if off > LONGEST_HOLE.as_secs_f64() || off < -0.05 {
            self.reset();
            self.origin = seconds;
        } else if off > 0.05 {
            // The beat went on meanwhile.
            for _ in 0..(off / hop).round() as u64 {
                self.step(0.0, beat);
            }
        } else {
            self.origin += FOLLOW_TIME * off;
        }
        self.step(if strength.is_finite() { strength.clamp(0.0, 100.0) } else { 0.0 }, beat);
    }

    fn step(&mut self, strength: f32, beat: &mut impl FnMut(BeatEstimate)) {
        // What is usual does not count, and a hit is as wide as players are exact.
        self.mean += (strength - self.mean) / (0.4 * HOPS_PER_SECOND as f32);
        let over = (strength - self.mean).max(0.0);
        let [a, b, c, d] = self.smooth;
        let x = (over + 2.0 * a + 3.0 * b + 2.0 * c + d) / 9.0;
        let x = if x < 1e-6 { 0.0 } else { x };
        self.smooth = [over, a, b, c];

        self.past.push(x);
        let keep = keep() as f32;
        let new = 1.0 - keep;
        for (sum, &before) in self.autocorrelation.iter_mut().zip(self.past.newest_first()) {
            let next = keep * *sum + new * x * before;
            *sum = if next < 1e-15 { 0.0 } else { next };
        }
        self.step_score(x);
        self.now += 1;
        if self.now >= FIRST_LOOK && self.now.is_multiple_of(LOOK_EVERY) {
            self.look_at_tempo();
        }
        self.step_phase(beat);
    }

    fn step_score(&mut self, x: f32) {
        let mut most: f32 = 0.0;
        if let Some(period) = self.period {
            let nearest = nearest(period.hops);
            let before = self.score.newest_first().get(nearest - 1..).unwrap_or_default();
            for (&score, &weight) in before.iter().zip(&self.weights) {
                most = most.max(score * weight);
            }
        }
        self.score.push((1.0 - SCORE_MEMORY) * x + SCORE_MEMORY * most);
    }

    /// How well the autocorrelation fits a period, from 0 to about 1.
    fn fit(&self, hops: f64) -> f32 {
        let energy = self.autocorrelation[0] / self.share(0);
        if energy < 1e-9 {
            return 0.0;
        }
        let (mut sum, mut weights) = (0.0, 0.0);
        for (multiple, weight) in COMB {
            let lag = hops * multiple;
            let (whole, part) = (lag as usize, lag.fract() as f32);
            let share = self.share(whole);
            if share < 0.15 {
                // Not heard for long enough.
                continue;
            }
            // Slow tempos reach beyond its end.
            let Some(near) = self.autocorrelation.get(whole..whole + 2) else { continue };
            sum += weight * (near[0] + part * (near[1] - near[0])) / share;
            weights += weight;
        }
        if weights == 0.0 { 0.0 } else { sum / weights / energy }
    }

    /// How much of its memory the autocorrelation at a lag is full.
    fn share(&self, lag: usize) -> f32 {
        let Some(hops) = (self.now as usize).checked_sub(lag + 1) else { return 0.0 };
        self.filled.get(hops).copied().unwrap_or(1.0)
    }

    fn look_at_tempo(&mut self) {
        let (mut best, mut best_score) = (0.0, 0.0);
        for n in 0..PERIODS {
            let hops = period_of(n);
            let score = self.fit(hops) * prior(hops);
            if score > best_score {
                (best, best_score) = (hops, score);
            }
        }
        if best_score <= 0.0 {
            return;
        }
        // Between the periods that were tried.
        let step = period_of(1) / period_of(0);
        let around = [best / step, best, best * step].map(|hops| self.fit(hops) * prior(hops));
        let curve = around[0] - 2.0 * around[1] + around[2];
        if curve < 0.0 {
            let off = f64::from(0.5 * (around[0] - around[2]) / curve).clamp(-0.5, 0.5);
            best *= step.powf(off);
        }

        let clear = self.fit(best);
        let Some(mut period) = self.period else {
            if clear > 0.15 {
                self.begin(best, clear);
            }
            return;
        };
        let present = self.fit(period.hops);
        period.clear += 0.1 * (present - period.clear);
        if (best / period.hops - 1.0).abs() < 0.04 {
            // Fast at first.
            let follow = if period.beats < 8 { 0.25 } else { 0.06 };
            period.hops += follow * (best - period.hops);
            self.rival.1 = 0;
            self.period = Some(period);
            self.weigh(period.hops);
            return;
        }
        self.period = Some(period);
        let near_rival = (best / self.rival.0 - 1.0).abs() < 0.04;
        self.rival = (best, if near_rival { self.rival.1 + 1 } else { 1 });
        let better = best_score > 1.1 * present * prior(period.hops);
        let unsure = period.clear < 0.3 || period.beats < 8;
        let looks = if unsure { LOOKS_TO_CHANGE_UNSURE } else { LOOKS_TO_CHANGE };
        if !better {
            self.rival.1 = 0;
        } else if self.rival.1 >= looks {
            self.begin(best, clear);
        }
    }

    /// From now on this is the period.
    fn begin(&mut self, hops: f64, clear: f32) {
        let strongest = self.period.map_or(0.0, |period| period.strongest);
        self.weigh(hops);
        self.rival.1 = 0;
        // The score, again, by the new period, from what began in the last seconds.
        self.score.clear();
        for back in (0..LAGS - 1).rev() {
            let x = self.past.newest_first()[back];
            self.period = Some(Period {
                hops,
                next: 0.0,
                corrected: true,
                beats: 0,
                phases: [0.0; PHASES],
                phases_of: 0,
                clear,
                evidence: 0.5,
                strongest,
            });
            self.step_score(x);
        }
        if let Some(period) = &mut self.period {
            let (back, _) = highest(&self.score, 0.0, period.hops);
            period.next = self.now as f64 - back + period.hops;
            // What has been heard so far says whether that is the beat or between two.
            for (back, &x) in self.past.newest_first().iter().enumerate() {
                period.add(self.now as f64 - back as f64, x);
            }
            period.phases_of = BEATS_BEFORE_MOVE;
            if let Some(part) = period.elsewhere() {
                period.next += part * period.hops;
                period.phases = [0.0; PHASES];
                period.phases_of = 0;
            }
        }
    }

    fn weigh(&mut self, hops: f64) {
        let (nearest, farthest) = (nearest(hops), (2.0 * hops) as usize);
        self.weights.clear();
        let weight = |distance: usize| {
            let off = TIGHTNESS * (distance as f64 / hops).ln();
            (-0.5 * off * off).exp() as f32
        };
        self.weights.extend((nearest..farthest.min(LAGS)).map(weight));
    }

    fn step_phase(&mut self, beat: &mut impl FnMut(BeatEstimate)) {
        let Some(mut period) = self.period else { return };
        let now = self.now as f64;
        period.add(now, self.past.newest_first()[0]);
        if !period.corrected && now + 0.5 * period.hops >= period.next {
            period.corrected = true;
            self.correct(&mut period);
        }
        // The smoothed hit of a beat comes so much later than the beat.
        let late = SMOOTHING_LATE + 1.0;
        if now >= period.next - late {
            let at = self.origin + (period.next - late) / HOPS_PER_SECOND;
            period.next += period.hops;
            period.corrected = false;
            period.beats = period.beats.saturating_add(1);
            let clear = (1.6 * period.clear).min(1.0);
            beat(BeatEstimate {
                at: Duration::from_secs_f64(at.max(0.0)),
                bpm: 60.0 * HOPS_PER_SECOND / period.hops,
                confidence: (clear * period.evidence).clamp(0.0, 1.0),
            });
        }
        self.period = Some(period);
    }

    /// Half-way between two beats: how far off was the last?
    fn correct(&self, period: &mut Period) {
        let now = self.now as f64;
        let back = now - (period.next - period.hops);
        let reach = 0.2 * period.hops;
        let (heard, _) = highest(&self.score, (back - reach).max(0.0), back + reach);

        let hit = self.strongest_near(back, 0.1 * period.hops);
        period.strongest = (0.99 * period.strongest).max(hit);
        let share =
            if period.strongest > 0.0 { (hit / (0.5 * period.strongest)).min(1.0) } else { 0.0 };
        period.evidence += 0.12 * (share - period.evidence);

        period.phases_of += 1;
        if let Some(part) = period.elsewhere() {
            period.phases = [0.0; PHASES];
            period.phases_of = 0;
            period.next += (part - 1.0) * period.hops;
            if period.next < now + 0.25 * period.hops {
                period.next += period.hops;
            }
            return;
        }
        period.phases.iter_mut().for_each(|phase| *phase *= PHASE_MEMORY);
        let gain = if period.beats < 6 { 0.5 } else { 0.2 };
        let off = back - heard;
        period.next += gain * f64::from(share) * off;
    }

    /// The strongest beginning about so many hops ago.
    fn strongest_near(&self, back: f64, reach: f64) -> f32 {
        let first = (back - reach).max(0.0) as usize;
        let last = ((back + reach) as usize + 1).min(LAGS - 1);
        self.past.newest_first()[first..last].iter().fold(0.0, |most: f32, &x| most.max(x))
    }
}

fn keep() -> f64 {
    (-1.0 / (MEMORY_SECONDS * HOPS_PER_SECOND)).exp()
}

fn period_of(n: usize) -> f64 {
    let octaves = (FASTEST_BPM / SLOWEST_BPM).log2() * n as f64 / (PERIODS - 1) as f64;
    60.0 * HOPS_PER_SECOND / FASTEST_BPM * 2.0_f64.powf(octaves)
}

fn prior(hops: f64) -> f32 {
    let octaves = (60.0 * HOPS_PER_SECOND / hops / USUAL_BPM).log2() / PRIOR_OCTAVES;
    (-0.5 * octaves * octaves).exp() as f32
}

fn nearest(hops: f64) -> usize {
    ((0.5 * hops) as usize).max(1)
}

/// Where the score is highest, between so many hops ago and so many, and how high.
fn highest(score: &Past, from: f64, to: f64) -> (f64, f32) {
    let score = score.newest_first();
    let first = from as usize;
    let last = (to as usize + 1).clamp(first + 1, score.len() - 1);
    let (mut best, mut most) = (first, score[first]);
    for (back, &score) in score.iter().enumerate().take(last).skip(first) {
        if score > most {
            (best, most) = (back, score);
        }
    }
    let mut at = best as f64;
    if best > 0 && best + 1 < score.len() {
        let curve = score[best - 1] - 2.0 * most + score[best + 1];
        if curve < 0.0 {
            let off = 0.5 * (score[best - 1] - score[best + 1]) / curve;
            at += f64::from(off).clamp(-0.5, 0.5);
        }
    }
    (at, most)
}

/// The last `LAGS` values, in one piece, newest first: each is written twice.
struct Past {
    values: Vec<f32>,
    newest: usize,
}

impl Past {
    fn new() -> Self {
        Past { values: vec![0.0; 2 * LAGS], newest: 0 }
    }

    fn clear(&mut self) {
        self.values.fill(0.0);
    }

    fn push(&mut self, value: f32) {
        self.newest = (self.newest + LAGS - 1) % LAGS;
        self.values[self.newest] = value;
        self.values[self.newest + LAGS] = value;
    }

    fn newest_first(&self) -> &[f32] {
        &self.values[self.newest..self.newest + LAGS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beats_as_slow_as_any_that_are_looked_for_are_heard() {
        let mut tracker = BeatTracker::new();
        let mut beats = 0;
        for n in 0..(40.0 * HOPS_PER_SECOND) as u64 {
            let at = n as f64 / HOPS_PER_SECOND;
            // Slower by a little: the best period is the longest.
            let strength = if (at * (SLOWEST_BPM - 0.3) / 60.0).fract() < 0.02 { 1.0 } else { 0.0 };
            tracker.hear(strength, Duration::from_secs_f64(at), &mut |_| beats += 1);
        }
        assert!(beats > 30, "{beats}");
        let bpm = tracker.bpm().unwrap();
        assert!((bpm - SLOWEST_BPM).abs() < 2.0, "{bpm}");
    }
}
