//! The flash limiter: no more than three flashes in any second, whatever makes them.
//!
//! A general flash, as WCAG 2 defines it, is a pair of opposing changes of the relative luminance by
//! a tenth of its greatest value or more, the darker of them below 0.8. Of any such pairs one half is
//! a brightening, so at most three brightenings a second are let through; the next one is dimmed until
//! it is none. Darkening is always let through: a blackout is black at once.
//!
//! Light is measured in the fields of a grid over the finished picture, and counts as a flash where a
//! quarter of them or more brighten within a few frames of one another.
//!
//! Holds: it sees the picture after all effects, and before overlays are laid over it; nothing is
//! allocated.

use crate::media::FrameMut;

const COLUMNS: usize = 8;
const ROWS: usize = 6;
const FIELDS: usize = COLUMNS * ROWS;
/// Brightenings that are let through in any second.
const MOST: usize = 3;
/// Part of the fields that makes a flash.
const MANY: usize = FIELDS / 4;
/// A little less than the tenth of the definition.
const STEP: f32 = 0.09;
const DARK: f32 = 0.8;
/// Frames within which fields that brighten do so together.
const TOGETHER: u8 = 3;
/// One row in so many is measured.
const EVERY: usize = 7;
/// Steps of dimming.
const STEPS: u32 = 64;

#[derive(Clone, Copy, Debug)]
struct Field {
    /// The luma that was measured.
    luma: f32,
    /// The least luminance since it darkened, or the greatest since it brightened.
    extreme: f32,
    bright: bool,
    /// Frames for which it still counts as having brightened.
    counts: u8,
}

pub struct Limiter {
    fields: [Field; FIELDS],
    /// The first picture is where the light begins.
    begun: bool,
    now: u64,
    /// When it brightened last; 0 is never.
    when: [u64; MOST],
    second: u64,
}

impl Limiter {
    pub fn new(fps: f32) -> Self {
        let dark = Field { luma: 16.0, extreme: 0.0, bright: false, counts: 0 };
        let second = fps.ceil() as u64;
        Limiter { fields: [dark; FIELDS], begun: false, now: second, when: [0; MOST], second }
    }

    /// How much of a picture's light may be shown, `frames` after the one before: 1 is all.
    pub fn light(&mut self, picture: &FrameMut, frames: u64) -> f32 {
        self.now += frames;
        self.measure(picture);
        if !self.begun {
            self.begun = true;
            for field in &mut self.fields {
                field.extreme = luminance(field.luma);
            }
        }
        let gone = frames.min(u64::from(TOGETHER)) as u8;
        for field in &mut self.fields {
            field.counts = field.counts.saturating_sub(gone);
        }
        let free = self.when.iter().any(|&when| when == 0 || self.now - when >= self.second);
        let mut steps = STEPS;
        if !free && self.brightened(steps) >= MANY {
            // The more light, the more fields brighten.
            let (mut none, mut too_many) = (0, STEPS);
            while too_many - none > 1 {
                let middle = none.midpoint(too_many);
                match self.brightened(middle) >= MANY {
                    true => too_many = middle,
                    false => none = middle,
                }
            }
            steps = none;
        }
        self.take(steps);
        steps as f32 / STEPS as f32
    }

    /// Fields that count as brightened, if it is dimmed to so many steps.
    fn brightened(&self, steps: u32) -> usize {
        self.fields.iter().filter(|f| f.counts > 0 || f.brightens(dimmed(f.luma, steps))).count()
    }

    /// What is shown is taken over.
    fn take(&mut self, steps: u32) {
        for field in &mut self.fields {
            let light = dimmed(field.luma, steps);
            if field.brightens(light) {
                (field.bright, field.extreme, field.counts) = (true, light, TOGETHER);
            } else if field.bright && field.extreme - light >= STEP && light < DARK {
                (field.bright, field.extreme) = (false, light);
            } else if field.bright {
                field.extreme = field.extreme.max(light);
            } else {
                field.extreme = field.extreme.min(light);
            }
        }
        if self.fields.iter().filter(|field| field.counts > 0).count() >= MANY {
            for field in &mut self.fields {
                field.counts = 0;
            }
            if let Some(oldest) = self.when.iter_mut().min() {
                *oldest = self.now;
            }
        }
    }

    /// The mean luma of every field.
    fn measure(&mut self, picture: &FrameMut) {
        let plane = &picture.y;
        for (row, fields) in self.fields.chunks_exact_mut(COLUMNS).enumerate() {
            let edge = |row: usize| row * plane.height / ROWS;
            let rows = (edge(row), edge(row + 1).max(edge(row) + 1).min(plane.height));
            for (column, field) in fields.iter_mut().enumerate() {
                let edge = |column: usize| column * plane.width / COLUMNS;
                let to = edge(column + 1).max(edge(column) + 1).min(plane.width);
                let (mut sum, mut count) = (0u64, 0u64);
                for y in (rows.0..rows.1).step_by(EVERY) {
                    let row = &plane.data[y * plane.stride..][edge(column)..to];
                    sum += row.iter().map(|&p| u32::from(p)).sum::<u32>() as u64;
                    count += row.len() as u64;
                }
                field.luma = sum as f32 / count.max(1) as f32;
            }
        }
    }
}

impl Field {
    /// Whether that light would be a brightening.
    fn brightens(&self, light: f32) -> bool {
        !self.bright && light - self.extreme >= STEP && self.extreme < DARK
    }
}

fn dimmed(luma: f32, steps: u32) -> f32 {
    luminance(16.0 + (luma - 16.0) * steps as f32 / STEPS as f32)
}

/// Relative luminance of a value of luma (ITU-R BT.1886, rounded to an exponent of sRGB's slope).
fn luminance(luma: f32) -> f32 {
    ((luma - 16.0) / 219.0).clamp(0.0, 1.0).powf(2.2)
}
