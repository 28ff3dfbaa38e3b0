//! What is known of one source: its estimate, whether it plays, and whether it is still there.

use super::super::Source;
use super::super::note::{BPM, Heard, Note, Refused};
use super::beats::Beats;
use super::fit::Line;
use super::ticks::Ticks;

/// What the numbers of a source's beats mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Knows {
    /// Nothing: only the tempo is known, as of a MIDI clock that was met on its way.
    Tempo,
    /// Whole ones are beats.
    Beats,
    /// Multiples of a bar's beats are downbeats.
    Bars,
}

enum Estimate {
    Ticks(Ticks),
    Beats(Beats),
    Exact(Option<Line>),
}

pub struct Heeded {
    source: Source,
    estimate: Estimate,
    pub knows: Knows,
    pub playing: bool,
    heard_at: Option<f64>,
    /// By what the source says.
    confidence: f32,
    gone: bool,
    /// The next tick is this beat.
    next: Option<f64>,
    /// Where it goes on when it does.
    position: Option<f64>,
    /// Where it was stopped.
    stopped: Option<f64>,
    /// It was started on purpose.
    started: bool,
}

/// As long as nothing is heard of a source it is believed, in seconds.
fn patience(source: Source) -> f64 {
    match source {
        // Asked twenty times a second.
        Source::Link => 1.0,
        // 24 a beat.
        Source::Midi => 2.0,
        Source::Osc | Source::Os2l | Source::Sound => 5.0,
        // Nobody taps all night.
        Source::Tap => 30.0,
        Source::Fixed => f64::INFINITY,
    }
}

/// Sound that is less sure is not begun with, and one that is much less is left.
const SURE: (f32, f32) = (0.4, 0.2);

impl Heeded {
    pub fn new(source: Source) -> Self {
        let estimate = match source {
            Source::Midi => Estimate::Ticks(Ticks::new()),
            Source::Link | Source::Fixed => Estimate::Exact(None),
            Source::Osc | Source::Os2l | Source::Tap | Source::Sound => {
                Estimate::Beats(Beats::new(source == Source::Tap))
            }
        };
        Heeded {
            source,
            estimate,
            knows: Knows::Tempo,
            playing: true,
            heard_at: None,
            confidence: 0.0,
            gone: false,
            next: None,
            position: None,
            stopped: None,
            started: false,
        }
    }

    pub fn hear(&mut self, note: &Note, per_bar: f64) -> Result<(), Refused> {
        let at = note.at.as_secs_f64();
        let told = match note.heard {
            Heard::Bpm(bpm) | Heard::Line { bpm, .. } => Some(bpm),
            Heard::Beat { bpm, .. } => bpm,
            _ => None,
        };
        if told.is_some_and(|bpm| !BPM.contains(&bpm)) {
            return Err(Refused::Tempo);
        }
        let number = match note.heard {
            Heard::Beat { number, .. } => number,
            Heard::Position(beat) | Heard::Line { beat, .. } => Some(beat),
            _ => None,
        };
        // Beyond that a beat has no fraction any more.
        if number.is_some_and(|number| !number.is_finite() || number.abs() > 1e9) {
            return Err(Refused::Number);
        }
        match (note.heard, &mut self.estimate) {
            (Heard::Gone, _) => {
                self.gone = true;
                return Ok(());
            }
            (Heard::Tick, Estimate::Ticks(ticks)) => {
                if ticks.last_at().is_some_and(|last| at < last) {
                    return Err(Refused::Order);
                }
                let next = self.next.take();
                if next.is_some() {
                    self.knows = Knows::Bars;
                }
                if ticks.tick(at, next) {
                    (self.knows, self.stopped) = (Knows::Tempo, None);
                }
            }
            (Heard::Start, _) => {
                (self.next, self.position) = (Some(0.0), None);
                (self.playing, self.started) = (true, true);
            }
            (Heard::Continue, _) => {
                self.next = self.position.take().or(self.stopped);
                (self.playing, self.started) = (true, self.next.is_some());
            }
            (Heard::Stop, estimate) => {
                if self.playing
                    && let Estimate::Ticks(ticks) = estimate
                {
                    self.stopped = ticks.last_beat().filter(|_| self.knows == Knows::Bars);
                }
                self.playing = false;
            }
            (Heard::Position(beat), _) => {
                let to = if self.playing { &mut self.next } else { &mut self.position };
                *to = Some(beat.max(0.0));
            }
            (Heard::Beat { number, bpm }, Estimate::Beats(beats)) => {
                beats.beat(at, number, bpm, per_bar)?;
                let knows = if number.is_some() { Knows::Bars } else { Knows::Beats };
                self.knows = self.knows.max(knows);
                self.playing = true;
            }
            (Heard::Bpm(bpm), Estimate::Beats(beats)) => beats.bpm(at, bpm),
            (Heard::Bpm(bpm), Estimate::Exact(line)) => {
                let beat = line.map_or(0.0, |line| line.beat_at(at));
                *line = Some(Line { at, beat, rate: bpm / 60.0 });
            }
            (Heard::Line { beat, bpm }, estimate) => {
                *estimate = Estimate::Exact(Some(Line { at, beat, rate: bpm / 60.0 }));
                self.knows = if self.source == Source::Link { Knows::Bars } else { Knows::Beats };
            }
            // One that changed its mind: from a line to beats.
            (Heard::Beat { number, bpm }, estimate @ Estimate::Exact(_)) => {
                let mut beats = Beats::new(false);
                beats.beat(at, number, bpm, per_bar)?;
                *estimate = Estimate::Beats(beats);
            }
            (Heard::Tick | Heard::Beat { .. } | Heard::Bpm(_), _) => return Err(Refused::Number),
        }
        self.gone = false;
        self.heard_at = Some(self.heard_at.unwrap_or(at).max(at));
        let sure = note.confidence;
        self.confidence = if sure.is_finite() { sure.clamp(0.0, 1.0) } else { 0.0 };
        Ok(())
    }

    /// Whether what was begun on purpose has come to its first tick; asked once.
    pub fn has_begun(&mut self) -> bool {
        self.next.is_none() && std::mem::take(&mut self.started)
    }

    pub fn line(&self) -> Option<Line> {
        match &self.estimate {
            Estimate::Ticks(ticks) => ticks.line().map(|(line, _)| line),
            Estimate::Beats(beats) => beats.line().map(|(line, _)| line),
            Estimate::Exact(line) => *line,
        }
    }

    /// Seconds since something was heard.
    pub fn age(&self, now: f64) -> Option<f64> {
        self.heard_at.map(|at| (now - at).max(0.0))
    }

    /// 0 to 1: what the source says, and what its beats look like.
    pub fn confidence(&self) -> f32 {
        let (count, spread) = match &self.estimate {
            Estimate::Ticks(ticks) => (1.0, ticks.line().map_or(1.0, |(_, spread)| spread)),
            Estimate::Beats(beats) => {
                (beats.count() as f64 / 4.0, beats.line().map_or(1.0, |(_, spread)| spread))
            }
            Estimate::Exact(line) => (1.0, if line.is_some() { 0.0 } else { 1.0 }),
        };
        // A twentieth of a second beside the line is next to nothing.
        let steady = 1.0 - (spread / 0.05).clamp(0.0, 1.0);
        self.confidence * (count.min(1.0) * steady) as f32
    }

    /// Whether it gives the beat; `chosen`: it does so far.
    pub fn is_live(&self, now: f64, chosen: bool) -> bool {
        let patience = match self.source {
            // Beats that are far apart.
            Source::Osc | Source::Os2l => {
                self.line().map_or(5.0, |line| (4.0 / line.rate).max(patience(self.source)))
            }
            source => patience(source),
        };
        let is_sure = match self.source {
            Source::Sound => self.confidence >= if chosen { SURE.1 } else { SURE.0 },
            _ => true,
        };
        !self.gone
            && is_sure
            && self.line().is_some()
            && self.age(now).is_some_and(|age| age < patience)
    }

    pub fn is_gone(&self) -> bool {
        self.gone
    }
}
