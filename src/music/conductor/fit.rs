//! A straight line through the moments at which beats were heard: ordinary least squares over the
//! latest few, what lies far off left out (one step of Huber's M-estimator, 1964), and the older
//! half forgotten when the latest say that the tempo has changed.

use std::collections::VecDeque;

/// Beats over seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    pub at: f64,
    pub beat: f64,
    /// Beats a second.
    pub rate: f64,
}

impl Line {
    pub fn beat_at(&self, at: f64) -> f64 {
        self.beat + (at - self.at) * self.rate
    }
}

/// A moment, and the beat that it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub at: f64,
    pub beat: f64,
}

/// Residuals below are no sign of anything.
const CALM_S: f64 = 0.003;

pub struct Fit {
    pub points: VecDeque<Point>,
    /// No more of them are kept.
    most: usize,
    /// So many of the latest tell that the tempo has changed.
    latest: usize,
}

impl Fit {
    pub fn new(most: usize, latest: usize) -> Self {
        Fit { points: VecDeque::with_capacity(most), most, latest }
    }

    pub fn add(&mut self, point: Point) {
        if self.points.len() == self.most {
            self.points.pop_front();
        }
        self.points.push_back(point);
    }

    /// No more than the latest `n`.
    pub fn keep(&mut self, n: usize) {
        self.points.drain(..self.points.len().saturating_sub(n));
    }

    pub fn last(&self) -> Option<Point> {
        self.points.back().copied()
    }

    /// Every beat is another one by so much.
    pub fn renumber(&mut self, by: f64) {
        for point in &mut self.points {
            point.beat += by;
        }
    }

    /// The line, as of the last point; `rate`: the source knows it. And the spread around it in
    /// seconds.
    pub fn line(&self, rate: Option<f64>) -> Option<(Line, f64)> {
        let last = self.last()?;
        if rate.is_some() {
            // The few latest are enough for where beats are, and a tempo that changes bends less.
            let few = self.points.len().saturating_sub(4);
            let line = through(self.points.range(few..).copied(), last, rate)?;
            let spread = self.spread(&line);
            return Some((line, spread));
        }
        let all = || self.points.iter().copied();
        let first = through(all(), last, None)?;
        let spread = self.spread(&first);
        if self.points.len() < 6 {
            return Some((first, spread));
        }
        let off = |point: &Point| (first.beat_at(point.at) - point.beat).abs() / first.rate;
        let mut offs: Vec<f64> = self.points.iter().map(off).collect();
        let middle = offs.len() / 2;
        // Of a Gaussian spread the half lies within 0.67 of it.
        let usual = *offs.select_nth_unstable_by(middle, f64::total_cmp).1 / 0.67;
        let near = (usual * 3.0).max(CALM_S);
        let line = through(all().filter(|point| off(point) <= near), last, None).unwrap_or(first);
        Some((line, usual))
    }

    /// The tangent, at the last point, of a parabola through all of them: as a tempo that changes
    /// steadily has it. `None`: they do not say clearly that it does.
    /// `clearly`: how many times its own error the curve is, at least.
    pub fn tangent(&self, clearly: f64) -> Option<Line> {
        let last = self.last()?;
        let n = self.points.len() as f64;
        let straight = through(self.points.iter().copied(), last, None)?;
        let mean_t = self.points.iter().map(|p| p.at - last.at).sum::<f64>() / n;
        let (mut s2, mut s3) = (0.0, 0.0);
        for point in &self.points {
            let t = point.at - last.at - mean_t;
            s2 += t * t;
            s3 += t * t * t;
        }
        // Squares, without what a straight line has of them already.
        let bent = |at: f64| {
            let t = at - last.at - mean_t;
            t * t - s2 / n - s3 / s2 * t
        };
        let (mut qq, mut qb) = (0.0, 0.0);
        for point in &self.points {
            let q = bent(point.at);
            qq += q * q;
            qb += q * (point.beat - straight.beat_at(point.at));
        }
        let curve = qb / qq;
        let left: f64 = self
            .points
            .iter()
            .map(|p| (p.beat - straight.beat_at(p.at) - curve * bent(p.at)).powi(2))
            .sum();
        let spread = (left / (n - 3.0).max(1.0)).sqrt().max(CALM_S / 2.0 * straight.rate);
        let clear = curve.abs() > clearly * spread / qq.sqrt();
        if !clear {
            return None;
        }
        let slope = 2.0 * (-mean_t) - s3 / s2;
        let (beat, rate) = (straight.beat + curve * bent(last.at), straight.rate + curve * slope);
        (rate > 0.0).then_some(Line { at: last.at, beat, rate })
    }

    /// The same as if only the latest `n` were there.
    pub fn line_of_latest(&self, n: usize) -> Option<(Line, f64)> {
        self.line_of(self.points.len().saturating_sub(n)..self.points.len())
    }

    /// The same without the latest `n`.
    pub fn line_without(&self, n: usize) -> Option<(Line, f64)> {
        self.line_of(0..self.points.len().saturating_sub(n))
    }

    fn line_of(&self, range: std::ops::Range<usize>) -> Option<(Line, f64)> {
        let points: VecDeque<Point> = self.points.range(range).copied().collect();
        Fit { points, most: self.most, latest: self.latest }.line(None)
    }

    /// Root mean square of the residuals, in seconds.
    fn spread(&self, line: &Line) -> f64 {
        let sum: f64 = self
            .points
            .iter()
            .map(|point| ((line.beat_at(point.at) - point.beat) / line.rate).powi(2))
            .sum();
        (sum / self.points.len().max(1) as f64).sqrt()
    }

    /// Forgets the older half when the latest lie all beside the line through what was before.
    pub fn forget(&mut self) {
        let n = self.points.len();
        if n < self.latest * 2 {
            return;
        }
        let Some(last) = self.last() else { return };
        let before = n - self.latest;
        let Some(line) = through(self.points.iter().copied().take(before), last, None) else {
            return;
        };
        let off = |point: &Point| (point.beat - line.beat_at(point.at)) / line.rate;
        let spread_before = {
            let sum: f64 = self.points.iter().take(before).map(|p| off(p).powi(2)).sum();
            (sum / before as f64).sqrt().max(0.001)
        };
        let mean = self.points.iter().skip(before).map(off).sum::<f64>() / self.latest as f64;
        // The line's own error, as far ahead as the latest are, is what counts most.
        let ahead = (before as f64 + self.latest as f64) / 2.0;
        let sxx = (before as f64).powi(3) / 12.0;
        let error = (1.0 / before as f64 + ahead * ahead / sxx + 1.0 / self.latest as f64).sqrt();
        if mean.abs() > 4.0 * spread_before * error {
            self.points.drain(..before / 2);
        }
    }
}

/// The line through points, its origin at `last`.
fn through(
    points: impl Iterator<Item = Point> + Clone,
    last: Point,
    rate: Option<f64>,
) -> Option<Line> {
    let (mut n, mut sum_t, mut sum_b) = (0.0, 0.0, 0.0);
    for point in points.clone() {
        n += 1.0;
        sum_t += point.at - last.at;
        sum_b += point.beat - last.beat;
    }
    if n == 0.0 {
        return None;
    }
    let (mean_t, mean_b) = (sum_t / n, sum_b / n);
    let rate = match rate {
        Some(rate) => rate,
        None => {
            let (mut stt, mut stb) = (0.0, 0.0);
            for point in points {
                let t = point.at - last.at - mean_t;
                stt += t * t;
                stb += t * (point.beat - last.beat - mean_b);
            }
            stb / stt
        }
    };
    let good = rate.is_finite() && rate > 0.0;
    good.then_some(Line { at: last.at, beat: last.beat + mean_b - rate * mean_t, rate })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_and_one_that_lies_far_off_does_not_bend_it() {
        let mut fit = Fit::new(8, 3);
        for n in 0..8 {
            let late = if n == 5 { 0.09 } else { 0.0 };
            fit.add(Point { at: 100.0 + f64::from(n) * 0.5 + late, beat: f64::from(n) });
        }
        let (line, _) = fit.line(None).unwrap();
        assert!((line.rate - 2.0).abs() < 0.02, "{line:?}");
        assert!((line.beat_at(104.0) - 8.0).abs() < 0.02, "{line:?}");
    }
}
