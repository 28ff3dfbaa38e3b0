//! Music made by rule, with every beat and drum known: what the listening is tested and measured
//! with, and what `examples/test-track.rs` writes to a file.
//!
//! Holds: the same recipe gives the same samples.

use std::f64::consts::TAU;

use super::SAMPLE_RATE;

/// Seconds of silence before the first beat.
const LEAD_IN: f64 = 0.237;
const BEATS_PER_BAR: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Groove {
    /// A kick on every beat, claps on two and four, hats between.
    FourOnTheFloor,
    /// Drum and bass: the kick on one and before three, the snare on two and four.
    Breakbeat,
    /// Like the first, but with what is between the beats late, as a triplet.
    Swung,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Drums, bass and chords.
    Full,
    /// Chords alone.
    Breakdown,
    /// Chords, and a snare that gets faster; no kick and no bass.
    Build,
    /// Nothing at all.
    Silence,
}

/// What is played.
#[derive(Clone, Debug)]
pub struct Recipe {
    pub bpm: f64,
    pub groove: Groove,
    /// Parts, with their bars.
    pub parts: Vec<(Part, usize)>,
    /// Something like a voice over all of it, with no regard for the beat.
    pub voice: bool,
}

impl Recipe {
    pub fn new(bpm: f64, groove: Groove, bars: usize) -> Self {
        Recipe { bpm, groove, parts: vec![(Part::Full, bars)], voice: false }
    }
}

/// A rendered recipe; times are in seconds from its first sample.
pub struct Track {
    /// 48 kHz, two channels interleaved.
    pub samples: Vec<f32>,
    pub beats: Vec<f64>,
    pub kicks: Vec<f64>,
    pub snares: Vec<f64>,
    pub hats: Vec<f64>,
    /// When each part begins.
    pub parts: Vec<(f64, Part)>,
}

impl Track {
    pub fn render(recipe: &Recipe) -> Self {
        let beat = 60.0 / recipe.bpm;
        let bars: usize = recipe.parts.iter().map(|(_, bars)| bars).sum();
        let seconds = LEAD_IN + beat * (bars * BEATS_PER_BAR) as f64;
        let mut pen = Pen {
            left: vec![0.0; (seconds * f64::from(SAMPLE_RATE)) as usize],
            noise: Noise(0x9e37_79b9),
        };
        let mut track = Track {
            samples: Vec::new(),
            beats: Vec::new(),
            kicks: Vec::new(),
            snares: Vec::new(),
            hats: Vec::new(),
            parts: Vec::new(),
        };
        let mut bar = 0;
        for &(part, bars) in &recipe.parts {
            let time = |bar: usize| LEAD_IN + beat * (bar * BEATS_PER_BAR) as f64;
            track.parts.push((time(bar), part));
            for n in 0..bars {
                track.bar(&mut pen, recipe, part, time(bar), n as f64 / bars as f64, bar);
                bar += 1;
            }
        }
        if recipe.voice {
            pen.voice(seconds);
        }
        // A hair of width, as in any mix.
        track.samples = pen.left.iter().flat_map(|&s| [soft(s), soft(s * 0.94)]).collect();
        track
    }

    /// One bar; `way` of its part is over.
    fn bar(&mut self, pen: &mut Pen, recipe: &Recipe, part: Part, at: f64, way: f64, bar: usize) {
        let beat = 60.0 / recipe.bpm;
        if part == Part::Silence {
            return;
        }
        self.beats.extend((0..BEATS_PER_BAR).map(|n| at + beat * n as f64));
        pen.chord(at, beat * BEATS_PER_BAR as f64, bar);
        let (kicks, snares, hats, basses): (&[f64], &[f64], &[f64], &[f64]) = match recipe.groove {
            Groove::FourOnTheFloor => (
                &[0.0, 1.0, 2.0, 3.0],
                &[1.0, 3.0],
                &[0.5, 1.5, 2.5, 3.5],
                &[0.5, 0.75, 1.5, 1.75, 2.5, 2.75, 3.5, 3.75],
            ),
            Groove::Breakbeat if bar.is_multiple_of(2) => (
                &[0.0, 2.5],
                &[1.0, 3.0],
                &[0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5],
                &[0.0, 1.5, 2.5],
            ),
            Groove::Breakbeat => (
                &[0.0, 0.5, 2.5],
                &[1.0, 3.0, 3.75],
                &[0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5],
                &[0.0, 1.5, 2.5],
            ),
            Groove::Swung => (
                &[0.0, 1.0, 2.0, 3.0],
                &[1.0, 3.0],
                &[0.0, 0.667, 1.0, 1.667, 2.0, 2.667, 3.0, 3.667],
                &[0.667, 1.667, 2.0, 2.667, 3.667],
            ),
        };
        match part {
            Part::Full => {
                for &b in kicks {
                    self.kicks.push(at + beat * b);
                    pen.kick(at + beat * b);
                }
                for &b in snares {
                    self.snares.push(at + beat * b);
                    pen.snare(at + beat * b, 0.5);
                }
                for &b in hats {
                    self.hats.push(at + beat * b);
                    pen.hat(at + beat * b);
                }
                for &b in basses {
                    let long = if recipe.groove == Groove::Breakbeat { 0.9 } else { 0.22 };
                    pen.bass(at + beat * b, beat * long, bar);
                }
            }
            Part::Build => {
                let steps = if way < 0.5 { 4 } else { 8 };
                for n in 0..steps {
                    let time = at + beat * (n * BEATS_PER_BAR) as f64 / f64::from(steps as u32);
                    self.snares.push(time);
                    pen.snare(time, 0.2 + 0.4 * way);
                }
            }
            Part::Breakdown | Part::Silence => {}
        }
    }
}

fn soft(sample: f64) -> f32 {
    (0.8 * sample).tanh() as f32
}

struct Noise(u32);

impl Noise {
    /// From -1 to 1.
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        f64::from(self.0) / f64::from(u32::MAX) * 2.0 - 1.0
    }
}

struct Pen {
    left: Vec<f64>,
    noise: Noise,
}

impl Pen {
    /// Adds what `sound` gives for the seconds since `at`.
    fn add(&mut self, at: f64, seconds: f64, mut sound: impl FnMut(f64, &mut Noise) -> f64) {
        let rate = f64::from(SAMPLE_RATE);
        let first = (at * rate).ceil() as usize;
        let samples = (seconds * rate) as usize;
        for i in first..(first + samples).min(self.left.len()) {
            self.left[i] += sound(i as f64 / rate - at, &mut self.noise);
        }
    }

    fn kick(&mut self, at: f64) {
        let (mut dull, mut duller) = (0.0, 0.0);
        self.add(at, 0.3, |t, noise| {
            // From 170 down to 50 Hz.
            let phase = TAU * (50.0 * t + 120.0 * 0.03 * (1.0 - (-t / 0.03).exp()));
            // A beater, up to some 2.5 kHz.
            dull += 0.3 * (noise.next() - dull);
            duller += 0.3 * (dull - duller);
            let click = if t < 0.004 { 0.8 * duller } else { 0.0 };
            0.9 * (phase.sin() * (-t / 0.1).exp() + click)
        });
    }

    fn snare(&mut self, at: f64, level: f64) {
        self.add(at, 0.25, |t, noise| {
            let body = 0.5 * (TAU * 190.0 * t).sin() * (-t / 0.05).exp();
            level * (body + noise.next() * (-t / 0.07).exp())
        });
    }

    fn hat(&mut self, at: f64) {
        let mut last = [0.0; 2];
        self.add(at, 0.08, |t, noise| {
            let new = noise.next();
            let high = new - 2.0 * last[0] + last[1];
            last = [new, last[0]];
            0.07 * high * (-t / 0.02).exp()
        });
    }

    fn bass(&mut self, at: f64, seconds: f64, bar: usize) {
        let hertz = [55.0, 55.0, 65.4, 49.0][bar / 2 % 4];
        self.add(at, seconds, |t, _| {
            let swell = (t / 0.01).min(1.0) * ((seconds - t) / 0.02).clamp(0.0, 1.0);
            let wave: f64 =
                (1..5).map(|n| (TAU * hertz * f64::from(n) * t).sin() / f64::from(n)).sum();
            0.25 * swell * wave
        });
    }

    fn chord(&mut self, at: f64, seconds: f64, bar: usize) {
        let root = [220.0, 220.0, 261.6, 196.0][bar / 2 % 4];
        self.add(at, seconds, |t, _| {
            let swell = (t / 0.15).min(1.0) * ((seconds - t) / 0.1).clamp(0.0, 1.0);
            let mut wave = 0.0;
            for (ratio, level) in
                [(1.0, 1.0), (1.189, 0.8), (1.498, 0.8), (2.004, 0.5), (3.01, 0.3)]
            {
                let phase = TAU * root * ratio * (at + t);
                wave += level * (phase.sin() + 0.4 * (2.003 * phase).sin());
            }
            0.04 * swell * wave
        });
    }

    /// Syllables at odd times: a pitched buzz through two formants, with breath.
    fn voice(&mut self, seconds: f64) {
        let mut at = 0.1;
        while at < seconds {
            let long = 0.12 + 0.18 * (0.5 + 0.5 * self.noise.next());
            let pitch = 180.0 + 60.0 * self.noise.next();
            let formants = [600.0 + 200.0 * self.noise.next(), 1500.0 + 600.0 * self.noise.next()];
            self.add(at, long, |t, noise| {
                let swell = (t / 0.02).min(1.0) * ((long - t) / 0.04).clamp(0.0, 1.0);
                let mut wave = 0.3 * noise.next() * (-t / 0.03).exp();
                let vibrato = pitch * (t + 0.002 * (TAU * 5.5 * t).sin());
                for n in 1..14 {
                    let hertz = pitch * f64::from(n);
                    let level: f64 =
                        formants.iter().map(|f| (-((hertz - f) / 250.0).powi(2)).exp()).sum();
                    wave += level * (TAU * f64::from(n) * vibrato).sin();
                }
                0.14 * swell * wave
            });
            at += long + 0.05 + 0.25 * (0.5 + 0.5 * self.noise.next());
        }
    }
}
