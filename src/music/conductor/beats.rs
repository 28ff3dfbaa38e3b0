//! Sources that tell of beats one by one: OSC, OS2L, taps, the sound.

use super::super::note::{BPM, Refused};
use super::fit::{Fit, Line, Point};

/// Beats that are remembered, to see whether the tempo changes.
const MOST: usize = 12;
/// Beats of the line, if it does not.
const LINE: usize = 8;
/// See [`Fit::tangent`].
const CLEARLY: f64 = 3.0;
/// A line is made from so many, where the source does not know its tempo.
const ENOUGH: usize = 3;
/// A beat this far beside the line, in beats, is no late one but another tempo.
const BESIDE: f64 = 0.25;
/// After that long it begins anew.
const PAUSE_S: f64 = 6.0;

pub struct Beats {
    fit: Fit,
    /// As the source says.
    rate: Option<f64>,
    /// Two that agree with each other are believed against all before.
    quick: bool,
    /// The last one was beside the line; it counts if the next is too.
    odd: Option<f64>,
    line: Option<(Line, f64)>,
    /// The line is that of the beats that are remembered.
    is_theirs: bool,
    /// By how much the number of the last beat was another than counted, if it is not believed yet.
    wrong: Option<f64>,
}

impl Beats {
    pub fn new(quick: bool) -> Self {
        Beats {
            fit: Fit::new(MOST, 3),
            rate: None,
            quick,
            odd: None,
            line: None,
            is_theirs: false,
            wrong: None,
        }
    }

    /// The tempo alone; without a beat its line begins anywhere.
    pub fn bpm(&mut self, at: f64, bpm: f64) {
        let rate = bpm / 60.0;
        self.rate = Some(rate);
        if self.fit.last().is_none_or(|last| at - last.at >= PAUSE_S) {
            // Old beats do not gainsay a new tempo.
            self.fit.points.clear();
            let beat = self.line.map_or(0.0, |(line, _)| line.beat_at(at));
            self.line = Some((Line { at, beat, rate }, 0.0));
        }
        self.draw();
    }

    /// A beat, which is `number` of `per_bar`.
    pub fn beat(
        &mut self,
        at: f64,
        number: Option<f64>,
        bpm: Option<f64>,
        per_bar: f64,
    ) -> Result<(), Refused> {
        let latest = self.odd.or(self.last_at());
        if latest.is_some_and(|latest| at <= latest) {
            return Err(Refused::Order);
        }
        if latest.is_some_and(|latest| at - latest < 60.0 / BPM.end()) {
            return Err(Refused::TooSoon);
        }
        let told = bpm.map(|bpm| bpm / 60.0).or(self.rate);
        let changed = told.is_some() && told != self.rate;
        self.rate = told;
        let fraction = number.map_or(0.0, |number| number.rem_euclid(1.0));
        match self.fit.last().filter(|last| at - last.at < PAUSE_S) {
            None => {
                // What was before says nothing of what begins.
                self.line = None;
                self.wrong = None;
                self.begin_again(&[Point { at, beat: number.unwrap_or(0.0) }]);
            }
            Some(last) => {
                let gap = at - last.at;
                let line = self.line.filter(|_| self.is_theirs);
                let expected = match (line, told) {
                    // A tempo that is told anew holds from the beat on that told the old one.
                    (Some(_), Some(rate)) if changed => last.beat + gap * rate,
                    (Some((line, _)), _) => line.beat_at(at),
                    (None, Some(rate)) => last.beat + gap * rate,
                    (None, None) => self.guess(last, gap),
                };
                let whole = (expected - fraction).round();
                let beat = whole.max(last.beat.floor() + 1.0) + fraction;
                let is_odd = (beat - expected).abs() > BESIDE;
                match (is_odd, self.odd.take()) {
                    (false, Some(odd)) if self.quick && alike(odd - last.at, at - odd) => {
                        let point = |n: f64, at| Point { at, beat: last.beat.floor() + n };
                        self.begin_again(&[last, point(1.0, odd), point(2.0, at)]);
                    }
                    (false, _) => {
                        self.fit.add(Point { at, beat });
                        // A tempo that changes steadily is no other tempo.
                        if self.fit.tangent(CLEARLY).is_none() {
                            self.fit.forget();
                        }
                    }
                    (true, None) if line.is_some() => self.odd = Some(at),
                    (true, before) => {
                        let first =
                            Point { at: before.unwrap_or(last.at), beat: last.beat.floor() };
                        let next = Point { at, beat: first.beat + 1.0 + fraction };
                        self.begin_again(&[first, next]);
                    }
                }
            }
        }
        if let Some(number) = number.filter(|_| self.odd.is_none()) {
            // Which beat of a bar it is, is believed.
            let last = self.fit.last().map_or(0.0, |point| point.beat);
            let wrong = (number - last).round().rem_euclid(per_bar.max(1.0));
            // A roll that plays one beat again and again moves no bar: two in a row must agree.
            if wrong == 0.0 || self.wrong == Some(wrong) || self.fit.points.len() == 1 {
                self.fit.renumber(wrong);
                self.wrong = None;
            } else {
                self.wrong = Some(wrong);
            }
        }
        self.draw();
        Ok(())
    }

    /// Which beat the third is, when nothing but two is known.
    fn guess(&self, last: Point, gap: f64) -> f64 {
        match self.fit.points.iter().rev().nth(1) {
            Some(before) => last.beat + gap / (last.at - before.at) * (last.beat - before.beat),
            None => last.beat + 1.0,
        }
    }

    fn begin_again(&mut self, points: &[Point]) {
        self.fit.points.clear();
        self.odd = None;
        self.is_theirs = false;
        for point in points {
            self.fit.add(*point);
        }
        self.draw();
    }

    fn draw(&mut self) {
        let n = self.fit.points.len();
        let enough = if self.rate.is_some() { 1 } else { ENOUGH };
        if n < enough {
            return;
        }
        let free = || {
            let (line, spread) = self.fit.line_of_latest(LINE)?;
            let bent = if n > LINE { self.fit.tangent(CLEARLY) } else { None };
            Some((bent.unwrap_or(line), spread))
        };
        let line = match self.rate {
            // What it says of its tempo must fit its beats.
            Some(rate) if n >= ENOUGH => free()
                .filter(|(line, _)| (line.rate / rate - 1.0).abs() > 0.03)
                .or_else(|| self.fit.line(Some(rate))),
            Some(rate) => self.fit.line(Some(rate)),
            None => free(),
        };
        if let Some(line) = line.filter(|(line, _)| BPM.contains(&(line.rate * 60.0))) {
            self.line = Some(line);
            self.is_theirs = true;
        }
    }

    pub fn last_at(&self) -> Option<f64> {
        self.fit.last().map(|point| point.at)
    }

    pub fn count(&self) -> usize {
        self.fit.points.len()
    }

    pub fn line(&self) -> Option<(Line, f64)> {
        self.line
    }
}

/// Two gaps of one tempo.
fn alike(a: f64, b: f64) -> bool {
    (0.85..1.18).contains(&(a / b))
}
