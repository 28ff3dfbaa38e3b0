//! How loud something is, from 0 to 1, whatever the music's own level is.

/// From nothing to everything, with automatic gain, in decibels.
const RANGE_DB: f32 = 36.0;
/// Without: this and more is nothing, full scale is everything.
const FIXED_RANGE_DB: f32 = 60.0;
/// The loudest of late is forgotten by so much a second: about 10 s until half of the range is.
const FORGET_DB: f32 = 1.8;
/// What is quieter is made no louder.
pub(super) const QUIETEST_DB: f32 = -57.0;
/// Nor what is so much quieter than the whole, as a bass line of which only the hum is left.
pub(super) const BELOW_WHOLE_DB: f32 = 24.0;

pub(super) fn decibels(power: f32) -> f32 {
    10.0 * power.max(1e-12).log10()
}

/// Follows the loudest of late.
pub(super) struct Gain {
    loudest_db: f32,
    /// So much louder than what is measured counts as full scale, as a band never has all of it.
    fixed_db: f32,
}

impl Gain {
    pub(super) fn new(fixed_db: f32) -> Self {
        Gain { loudest_db: QUIETEST_DB, fixed_db }
    }

    /// The loudest of late, in decibels.
    pub(super) fn loudest_db(&self) -> f32 {
        self.loudest_db
    }

    /// `seconds` since the last; the loudest is never taken to be below `least_db`.
    pub(super) fn step(&mut self, db: f32, seconds: f32, automatic: bool, least_db: f32) -> f32 {
        self.loudest_db = (self.loudest_db - FORGET_DB * seconds).max(db).max(QUIETEST_DB);
        let value = if automatic {
            1.0 + (db - self.loudest_db.max(least_db)) / RANGE_DB
        } else {
            1.0 + (db + self.fixed_db) / FIXED_RANGE_DB
        };
        value.clamp(0.0, 1.0)
    }
}
