//! Who gives the beat, and where it is.
//!
//! Each source has an estimate of its own, all the time. The best that is there is chosen; the beat
//! that goes out is led to its beats by a phase-locked loop of first order: it runs at the source's
//! tempo, and faster or slower by what is amiss, within [`SLEW`].
//!
//! Holds: the beat that goes out never goes back. Between two calls it moves at the tempo of the
//! source, more or less by [`SLEW`] at most; only whole beats are left out, forwards, where a source
//! knows better which beat is the first of its bar, and what lies before a transport that is started
//! (both are counted, [`Conductor::jumps`]). When all are lost it goes on as it went.

mod beats;
mod fit;
mod source;
#[cfg(test)]
mod tests;
mod ticks;

use std::time::Duration;

use self::fit::Line;
use self::source::{Heeded, Knows};
use super::note::{BPM, Heard, Note, Refused};
use super::{Source, Tempo};

/// How much faster or slower than its source the beat may go to meet it.
pub const SLEW: f64 = 0.08;
/// In that time most of what is amiss is made up for.
const MEETS_S: f64 = 0.5;
/// Further off, in beats, it is another beat.
const JUMPED: f64 = 0.75;
/// A beat later than this is waited for; else a started transport begins where it says.
const NEAR: f64 = 0.25;
/// As far as beats can be nudged.
const NUDGE_S: f64 = 0.5;
/// In that time the trust in a tempo falls that nobody gives any more.
const FORGETS_S: f64 = 10.0;

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// `None`: the best that is there.
    pub source: Option<Source>,
    /// Until somebody gives the beat.
    pub bpm: f64,
    pub beats_per_bar: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { source: None, bpm: 120.0, beats_per_bar: 4 }
    }
}

/// How a source is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SourceState {
    pub source: Source,
    pub state: Presence,
    pub bpm: Option<f64>,
    pub confidence: f32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Nothing was ever heard of it.
    Silent,
    /// Something is heard, but not enough yet.
    Listening,
    Live,
    Lost,
}

impl Presence {
    pub fn name(self) -> &'static str {
        match self {
            Presence::Silent => "silent",
            Presence::Listening => "listening",
            Presence::Live => "live",
            Presence::Lost => "lost",
        }
    }
}

pub struct Conductor {
    sources: [Heeded; Source::ALL.len()],
    wanted: Option<Source>,
    per_bar: u32,
    chosen: Source,
    /// When `chosen` was last live.
    lost_at: Option<f64>,
    /// `/tempo/bpm` was set since everybody else was lost.
    fixed_is_meant: bool,
    /// The source's beats, times `times`, plus `offset`, are those that go out. Each source has its
    /// own: who hears 170 for 85 does so alone.
    times: [f64; Source::ALL.len()],
    /// To be taken with the next beat.
    times_next: Option<f64>,
    offset: f64,
    /// Downbeats were moved by so many beats by hand.
    downbeat: f64,
    nudge: f64,
    knew: Knows,
    /// What goes out.
    out: Line,
    /// The last answer.
    said: Tempo,
    jumps: u64,
    refused: [u64; Refused::ALL.len()],
}

impl Conductor {
    pub fn new(settings: Settings) -> Self {
        let mut sources = Source::ALL.map(Heeded::new);
        let bpm = if BPM.contains(&settings.bpm) { settings.bpm } else { 120.0 };
        let per_bar = settings.beats_per_bar.clamp(1, 16);
        let fixed = Note::new(Source::Fixed, Duration::ZERO, Heard::Bpm(bpm));
        // A good tempo is not refused.
        let _ = sources[Source::Fixed as usize].hear(&fixed, f64::from(per_bar));
        Conductor {
            sources,
            wanted: settings.source,
            per_bar,
            chosen: Source::Fixed,
            lost_at: None,
            fixed_is_meant: true,
            times: [1.0; Source::ALL.len()],
            times_next: None,
            offset: 0.0,
            downbeat: 0.0,
            nudge: 0.0,
            knew: Knows::Tempo,
            out: Line { at: 0.0, beat: 0.0, rate: bpm / 60.0 },
            said: Tempo { bpm, beats_per_bar: per_bar, confidence: 1.0, ..Tempo::default() },
            jumps: 0,
            refused: [0; Refused::ALL.len()],
        }
    }

    /// Takes in what a source says.
    ///
    /// # Errors
    /// It makes no sense; it is counted, and nothing has changed.
    pub fn hear(&mut self, note: Note) -> Result<(), Refused> {
        let per_bar = f64::from(self.per_bar);
        let heard = self.sources[note.source as usize].hear(&note, per_bar);
        match heard {
            Ok(()) if note.source == Source::Fixed => self.fixed_is_meant = true,
            Ok(()) => {}
            Err(refused) => self.refused[refused as usize] += 1,
        }
        heard
    }

    /// The beat from `now` on. To be asked again soon, and with times that do not go back.
    pub fn tempo(&mut self, now: Duration) -> Tempo {
        let at = now.as_secs_f64();
        if at < self.out.at {
            return self.said;
        }
        let last_at = self.out.at;
        self.out.beat = self.out.beat_at(at);
        self.out.at = at;
        let (chosen, live) = self.choose(at);
        let changed = chosen != self.chosen;
        if changed {
            self.downbeat = 0.0;
            self.times_next = None;
            if chosen == Source::Fixed {
                // It takes over where the others were.
                self.sources[chosen as usize].knows = Knows::Tempo;
            }
            self.chosen = chosen;
        }
        self.lost_at = match live {
            true => None,
            false => self.lost_at.or(Some(at)),
        };
        let heeded = &mut self.sources[chosen as usize];
        let (knows, playing) = (heeded.knows, heeded.playing || !live);
        // One that is only now chosen is met without a jump.
        let begun = heeded.has_begun() && live && !changed;
        // What is lost goes on by its last line.
        let Some(line) = heeded.line() else {
            return self.say(playing, 0.0);
        };
        let other = knows != self.knew;
        self.knew = knows;
        if begun {
            self.downbeat = 0.0;
        }
        if let Some(times) = self.times_next
            && (line.beat_at(at + self.nudge).floor() > line.beat_at(last_at + self.nudge).floor()
                || knows == Knows::Tempo)
        {
            self.times_next = None;
            self.times[chosen as usize] = times;
            let apart = self.out.beat - self.raw(&line, at);
            // Half as many beats: every other one of the source is one.
            let step = times.min(1.0);
            self.offset = match knows {
                Knows::Tempo => apart,
                Knows::Beats | Knows::Bars => (apart / step).round() * step,
            };
            self.downbeat = self.offset.rem_euclid(f64::from(self.per_bar));
        }
        let mut anew = changed || other || begun;
        let times = &mut self.times[chosen as usize];
        if *times != 1.0 && !BPM.contains(&(line.rate * *times * 60.0)) {
            // Twice as many of a faster tempo would be too many.
            (*times, self.times_next, anew) = (1.0, None, true);
        }
        if anew {
            self.align(&line, at, knows);
        }
        let mut amiss = self.raw(&line, at) + self.offset - self.out.beat;
        if amiss.abs() > JUMPED {
            self.align(&line, at, knows);
            amiss = self.raw(&line, at) + self.offset - self.out.beat;
        }
        if begun && !(-NEAR..=0.0).contains(&amiss) {
            // Somebody pressed start: it starts.
            let ahead = if amiss < 0.0 { amiss + 1.0 } else { amiss };
            self.offset += ahead - amiss;
            self.jump(ahead);
            if amiss < 0.0 {
                // The rest of the bar as well.
                self.align(&line, at, knows);
            }
            amiss = 0.0;
        }
        let rate = line.rate * self.times[chosen as usize];
        self.out.rate = rate + (amiss / MEETS_S).clamp(-rate * SLEW, rate * SLEW);
        let confidence = match self.lost_at {
            None => self.sources[chosen as usize].confidence(),
            Some(lost) => {
                let old = self.sources[chosen as usize].confidence();
                old * (-(at - lost) / FORGETS_S).exp() as f32
            }
        };
        self.say(playing, confidence)
    }

    fn say(&mut self, playing: bool, confidence: f32) -> Tempo {
        self.said = Tempo {
            source: self.chosen,
            at: Duration::from_secs_f64(self.out.at),
            beat: self.out.beat,
            bpm: self.out.rate * 60.0,
            beats_per_bar: self.per_bar,
            confidence,
            playing,
        };
        self.said
    }

    /// Who gives the beat now, and whether it is there.
    fn choose(&mut self, now: f64) -> (Source, bool) {
        let is_live =
            |source: Source| self.sources[source as usize].is_live(now, source == self.chosen);
        if let Some(wanted) = self.wanted {
            // One that never said anything has no tempo to go by.
            return match self.sources[wanted as usize].line() {
                Some(_) => (wanted, is_live(wanted)),
                None => (self.chosen, false),
            };
        }
        let others = Source::ALL.into_iter().filter(|source| *source != Source::Fixed);
        match others.into_iter().find(|source| is_live(*source)) {
            Some(source) => {
                self.fixed_is_meant = false;
                (source, true)
            }
            None if self.fixed_is_meant || self.chosen == Source::Fixed => (Source::Fixed, true),
            None => (self.chosen, false),
        }
    }

    /// The source's beat, before the offset.
    fn raw(&self, line: &Line, at: f64) -> f64 {
        line.beat_at(at + self.nudge) * self.times[self.chosen as usize]
    }

    /// Finds the offset with which the source's beats are next to those that go out.
    fn align(&mut self, line: &Line, at: f64, knows: Knows) {
        let raw = self.raw(line, at);
        match knows {
            Knows::Tempo => self.offset = self.out.beat - raw,
            Knows::Beats => {
                let part = self.downbeat.fract();
                self.offset = (self.out.beat - raw - part).round() + part;
            }
            Knows::Bars => {
                let apart = (raw + self.downbeat - self.out.beat).round();
                let forward = apart.rem_euclid(f64::from(self.per_bar));
                if forward > 0.0 {
                    self.jump(forward);
                }
                self.offset = self.downbeat - (apart - forward);
            }
        }
    }

    fn jump(&mut self, beats: f64) {
        self.out.beat += beats;
        self.jumps += 1;
    }

    /// The beat nearest to `at` is the first of a bar.
    pub fn downbeat(&mut self, at: Duration) {
        let at = at.as_secs_f64();
        let beat = self.out.beat_at(at);
        let heeded = &self.sources[self.chosen as usize];
        let per_bar = f64::from(self.per_bar);
        let nearest = if heeded.knows == Knows::Tempo {
            // Nobody knows where its beats are: here.
            beat
        } else {
            beat.round()
        };
        let forward = (-nearest).rem_euclid(per_bar);
        if forward > 0.0 {
            self.jump(forward);
            self.offset += forward;
            self.downbeat = (self.downbeat + forward).rem_euclid(per_bar);
        }
    }

    /// Beats come so much later; below 0 earlier.
    pub fn nudge(&mut self, seconds: f64) {
        self.nudge = (self.nudge - seconds).clamp(-NUDGE_S, NUDGE_S);
    }

    /// How much earlier beats come, in seconds.
    pub fn nudged(&self) -> f64 {
        self.nudge
    }

    /// So many times as many beats, from the next on; `false`: that would be no tempo.
    pub fn multiply(&mut self, by: f64) -> bool {
        let times = self.times() * by;
        let rate = self.sources[self.chosen as usize].line().map_or(self.out.rate, |l| l.rate);
        let good = BPM.contains(&(rate * times * 60.0));
        if good {
            self.times_next = Some(times);
        }
        good
    }

    /// How many beats go out for one of the source.
    pub fn times(&self) -> f64 {
        self.times_next.unwrap_or(self.times[self.chosen as usize])
    }

    pub fn set_source(&mut self, source: Option<Source>) {
        self.wanted = source;
    }

    pub fn set_beats_per_bar(&mut self, beats: u32) {
        self.per_bar = beats.clamp(1, 16);
        // Bars are found anew.
        self.knew = Knows::Tempo;
    }

    /// The tempo of who gives the beat, without what is made up for.
    pub fn bpm(&self) -> f64 {
        let line = self.sources[self.chosen as usize].line();
        line.map_or(self.out.rate, |line| line.rate * self.times[self.chosen as usize]) * 60.0
    }

    /// `false`: nobody gives the beat any more, and it goes on as it went.
    pub fn is_led(&self) -> bool {
        self.lost_at.is_none()
    }

    /// How often beats were left out, so that bars begin where they should.
    pub fn jumps(&self) -> u64 {
        self.jumps
    }

    /// What was refused, by why.
    pub fn refused(&self) -> impl Iterator<Item = (Refused, u64)> + '_ {
        Refused::ALL.into_iter().map(|why| (why, self.refused[why as usize]))
    }

    pub fn sources(&self, now: Duration) -> [SourceState; Source::ALL.len()] {
        let now = now.as_secs_f64();
        Source::ALL.map(|source| {
            let heeded = &self.sources[source as usize];
            let state = match (heeded.age(now), heeded.is_live(now, source == self.chosen)) {
                (_, true) => Presence::Live,
                (None, _) => Presence::Silent,
                (Some(_), _) if heeded.is_gone() => Presence::Lost,
                (Some(age), _) if age < 5.0 => Presence::Listening,
                (Some(_), _) => Presence::Lost,
            };
            let bpm = heeded.line().map(|line| line.rate * 60.0);
            let confidence = if state == Presence::Live { heeded.confidence() } else { 0.0 };
            SourceState { source, state, bpm, confidence }
        })
    }
}
