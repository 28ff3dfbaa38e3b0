//! Where in a track the music is: its energy over bars, and whether it is in a breakdown, builds up
//! or has dropped.
//!
//! Holds: all is measured against the track itself, over beats. A section that begins is told once,
//! and lasts: what ends it is clearer than what would begin it again.

use super::HOP_SECONDS;
use super::level::{QUIETEST_DB, decibels};
use crate::music::Section;

/// Where no tempo is known.
const USUAL_BPM: f64 = 120.0;
const BEATS_PER_BAR: f32 = 4.0;
/// Kick and bass are back, or gone, this far below their loudest.
const BACK_DB: f32 = 8.0;
const GONE_DB: f32 = 14.0;
/// The loudest is forgotten by so much a second while they play, and while they are gone.
const FORGET_DB: f32 = 0.3;
const FORGET_GONE_DB: f32 = 0.03;
/// They are gone for so many bars: a breakdown.
const BREAKDOWN_BARS: f32 = 2.0;
/// It gets busier without them for so many beats: a build.
const BUILD_BEATS: f32 = 2.0;
const BUSIER: f32 = 1.4;
/// Not busier for so many bars: no build any more.
const BUILD_ENDS_BARS: f32 = 8.0;
/// How long a drop is one.
const DROP_BARS: f32 = 8.0;
/// After so long with nothing it is silent; after so much of something it no longer is.
const SILENT_SECONDS: f32 = 1.0;
const LOUD_SECONDS: f32 = 0.3;
/// Of each part of the energy.
const ENERGY_RANGE_DB: f32 = 24.0;
/// The energy is a mean that forgets in so many bars.
const ENERGY_BARS: f32 = 4.0;

/// What of a hop counts here.
pub(super) struct Hop {
    pub(super) whole_db: f32,
    /// Kick and bass.
    pub(super) low_db: f32,
    pub(super) high_db: f32,
    pub(super) kick: bool,
    /// How much begins.
    pub(super) strength: f32,
}

pub(super) struct Form {
    beat_seconds: f32,
    section: Section,
    /// Bars since it began.
    bars: f32,
    low: Band,
    high: Band,
    /// The loudest single hop of kick and bass.
    low_peak_db: f32,
    /// How much of the last beat kick and bass sounded.
    low_share: f32,
    gone_beats: f32,
    silent_seconds: f32,
    loud_seconds: f32,
    /// How busy it is over a bar, and was before.
    busy: f32,
    busy_before: f32,
    busiest: f32,
    busier_beats: f32,
    calm_bars: f32,
    /// Beats since the first kick that is back.
    returned: Option<f32>,
    energy: f32,
}

/// The power of a band over a beat, against its loudest.
struct Band {
    mean: f32,
    db: f32,
    loudest_db: f32,
}

impl Band {
    fn new() -> Self {
        Band { mean: 0.0, db: -120.0, loudest_db: QUIETEST_DB }
    }

    fn step(&mut self, db: f32, beats: f32, forget_db: f32) {
        self.mean += (10.0_f32.powf(db / 10.0) - self.mean) * beats.min(1.0);
        self.db = decibels(self.mean);
        self.loudest_db = (self.loudest_db - forget_db).max(self.db).max(QUIETEST_DB);
    }

    fn below(&self) -> f32 {
        self.loudest_db - self.db
    }

    fn share(&self) -> f32 {
        (1.0 - self.below() / ENERGY_RANGE_DB).clamp(0.0, 1.0)
    }
}

impl Form {
    pub(super) fn new() -> Self {
        Form {
            beat_seconds: (60.0 / USUAL_BPM) as f32,
            section: Section::Silence,
            bars: 0.0,
            low: Band::new(),
            high: Band::new(),
            low_peak_db: QUIETEST_DB,
            low_share: 0.0,
            gone_beats: 0.0,
            silent_seconds: 0.0,
            loud_seconds: 0.0,
            busy: 0.0,
            busy_before: 0.0,
            busiest: 0.0,
            busier_beats: 0.0,
            calm_bars: 0.0,
            returned: None,
            energy: 0.0,
        }
    }

    pub(super) fn follow(&mut self, bpm: f64) {
        if bpm.is_finite() && bpm > 0.0 {
            self.beat_seconds = (60.0 / bpm) as f32;
        }
    }

    pub(super) fn energy(&self) -> f32 {
        self.energy
    }

    pub(super) fn section(&self) -> Section {
        self.section
    }

    pub(super) fn step(&mut self, hop: &Hop) {
        let beats = HOP_SECONDS / self.beat_seconds;
        let bars = beats / BEATS_PER_BAR;
        self.measure(hop, beats, bars);
        let next = self.next(hop, beats);
        self.bars += bars;
        if next != self.section {
            self.section = next;
            self.bars = 0.0;
            self.busier_beats = 0.0;
            self.calm_bars = 0.0;
            self.returned = None;
        }
    }

    fn measure(&mut self, hop: &Hop, beats: f32, bars: f32) {
        let gone = self.low.below() > GONE_DB;
        let forget_db = HOP_SECONDS * if gone { FORGET_GONE_DB } else { FORGET_DB };
        self.low.step(hop.low_db, beats, forget_db);
        self.high.step(hop.high_db, beats, forget_db);
        self.low_peak_db = (self.low_peak_db - forget_db).max(hop.low_db).max(QUIETEST_DB);
        let sounds = f32::from(u8::from(hop.low_db > self.low_peak_db - 15.0));
        self.low_share += (sounds - self.low_share) * beats.min(1.0);
        self.gone_beats = if gone { self.gone_beats + beats } else { 0.0 };

        self.busy += (hop.strength - self.busy) * bars.min(1.0);
        // Down within a bar, up within four: so that what rises is seen to rise.
        let follow = if self.busy < self.busy_before { bars } else { 0.25 * bars };
        self.busy_before += (self.busy - self.busy_before) * follow.min(1.0);
        self.busiest = (self.busiest * (1.0 - 0.01 * bars.min(1.0))).max(self.busy);
        let busier = self.busy > BUSIER * self.busy_before && self.busy > 0.1 * self.busiest;
        self.busier_beats = if busier { self.busier_beats + beats } else { 0.0 };
        self.calm_bars = if busier { 0.0 } else { self.calm_bars + bars };

        let silent = hop.whole_db < QUIETEST_DB;
        self.silent_seconds = if silent { self.silent_seconds + HOP_SECONDS } else { 0.0 };
        // Hits with nothing between them are music, too.
        if self.silent_seconds > SILENT_SECONDS {
            self.loud_seconds = 0.0;
        } else if !silent {
            self.loud_seconds += HOP_SECONDS;
        }

        let busy = if self.busiest > 0.0 { self.busy / self.busiest } else { 0.0 };
        let drive = if silent {
            0.0
        } else {
            0.5 * self.low.share() + 0.25 * self.high.share() + 0.25 * busy
        };
        self.energy += (drive - self.energy) * (bars / ENERGY_BARS).min(1.0);
    }

    fn next(&mut self, hop: &Hop, beats: f32) -> Section {
        if self.silent_seconds > SILENT_SECONDS {
            return Section::Silence;
        }
        match self.section {
            Section::Silence if self.loud_seconds > LOUD_SECONDS => Section::Steady,
            Section::Silence => Section::Silence,
            Section::Steady | Section::Drop => {
                // Over the kick's own decay: what follows it is counted from there.
                if self.gone_beats > BEATS_PER_BAR && self.busier_beats > BUILD_BEATS {
                    Section::Build
                } else if self.gone_beats > BREAKDOWN_BARS * BEATS_PER_BAR {
                    Section::Breakdown
                } else if self.section == Section::Drop && self.bars > DROP_BARS {
                    Section::Steady
                } else {
                    self.section
                }
            }
            Section::Build | Section::Breakdown => {
                if self.is_back(hop, beats) {
                    Section::Drop
                } else if self.section == Section::Breakdown
                    && self.gone_beats > 0.0
                    && self.busier_beats > BUILD_BEATS
                {
                    Section::Build
                } else if self.section == Section::Build && self.calm_bars > BUILD_ENDS_BARS {
                    Section::Breakdown
                } else {
                    self.section
                }
            }
        }
    }

    /// Kick and bass are back: after a first kick another one, or a bass that stays. (A single blow
    /// with a long tail is neither.)
    fn is_back(&mut self, hop: &Hop, beats: f32) -> bool {
        let loud = self.low.below() < BACK_DB;
        let kick = hop.kick && hop.low_db > self.low_peak_db - 18.0;
        self.returned = match self.returned {
            None if kick => Some(0.0),
            // Nothing came of it.
            Some(since) if since > BEATS_PER_BAR => None,
            Some(since) => {
                let since = since + beats;
                let another = kick && since > 0.4;
                let stays = since > 0.9 && self.low_share > 0.6;
                if loud && (another || stays) {
                    return true;
                }
                Some(since)
            }
            None => None,
        };
        // A bass without a kick.
        loud && self.low_share > 0.85
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hits_with_nothing_between_them_are_music() {
        let mut form = Form::new();
        let mut now = |seconds: f32, loud: fn(u32) -> bool| {
            for n in 0..(seconds / HOP_SECONDS) as u32 {
                let db = if loud(n) { -20.0 } else { -120.0 };
                let hop = Hop { whole_db: db, low_db: db, high_db: db, kick: false, strength: 0.0 };
                form.step(&hop);
            }
            form.section()
        };
        assert_eq!(now(3.0, |_| false), Section::Silence);
        // A twentieth of a second, twice a second.
        assert_eq!(now(6.0, |n| n % 94 < 10), Section::Steady);
        assert_eq!(now(2.0, |_| false), Section::Silence);
    }
}
