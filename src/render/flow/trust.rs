//! How far the warp is to be trusted, cell by cell, over a plain blend of both frames.
//!
//! Both mix two pictures, and each is as good as these are alike: the warp's along the motion, the
//! blend's as they are. So each counts by the inverse of its squared variance (a little of the wrong
//! one is a ghost). What the blend's pictures have in common counts for little where something moves
//! close by: between two places that a thin line takes they are alike, and both wrong. A change of
//! light, which both ways share, is taken out.

use super::field::{Field, Filling};
use super::likeness::{Level, Likeness, blur, inside};
use crate::media::Motion;

/// Squared levels of noise that every difference has.
const NOISE: f32 = 0.25;
/// A change of light is looked for over so many cells to each side; differences over so many, along
/// the motion and as they are.
const LIGHT_CELLS: usize = 20;
const NEAR_CELLS: usize = 1;
const WIDE_CELLS: usize = 4;

/// Shares of consistent vectors: with the first none is to be trusted, from the second on all are. A
/// search always finds what fits better; in pictures that have only their layout in common it is
/// chance, and following it makes textures swim.
const CONSISTENT: [f32; 2] = [0.1, 0.25];

/// Mean differences of the whole frames, as they are and along the motion, in levels.
#[derive(Clone, Copy, Debug, Default)]
pub struct Overview {
    pub still: f32,
    pub warped: f32,
}

#[derive(Default)]
pub struct Trust {
    warped: Likeness,
    still: Likeness,
    no_motion: Vec<[i16; 2]>,
    light: Vec<f32>,
    scratch: Vec<f32>,
    trust: Field,
    inside: Vec<f32>,
    filling: Filling,
}

impl Trust {
    /// Sets the trust of each cell of `motion`, whose vectors are known. `consistent`: the share of
    /// vectors that lead there and back.
    pub fn weigh(&mut self, level: Level, motion: &mut Motion, consistent: f32) -> Overview {
        let width = motion.width;
        self.warped.measure(level, width, &motion.vectors);
        self.no_motion.resize(motion.vectors.len(), [0; 2]);
        self.still.measure(level, width, &self.no_motion);
        self.light.clone_from(&self.warped.mean);
        blur(&mut self.light, width, LIGHT_CELLS, &mut self.scratch);
        self.warped.without(&self.light);
        self.still.without(&self.light);
        let (warped, still) = (&mut self.warped.square, &mut self.still.square);
        let mean = |squares: &[f32]| {
            squares.iter().map(|square| square.sqrt()).sum::<f32>() / squares.len() as f32
        };
        let overview = Overview { still: mean(still), warped: mean(warped) };
        blur(warped, width, NEAR_CELLS, &mut self.scratch);
        blur(still, width, WIDE_CELLS, &mut self.scratch);
        let [none, all] = CONSISTENT;
        let most = ((consistent - none) / (all - none)).clamp(0.0, 1.0);
        self.trust.cover(width, motion.height, 1);
        for ((trust, warped), still) in self.trust.vectors.iter_mut().zip(warped).zip(still) {
            // Sums that run along rows leave a little behind.
            let (warped, still) = (warped.max(0.0) + NOISE, still.max(0.0) + NOISE);
            let (warped, still) = (warped * warped, still * still);
            *trust = [most * still / (warped + still), 0.0];
        }
        // What is beyond the edge of a frame cannot be compared: there it is as next to it.
        self.inside.clear();
        let mut all = true;
        for (y, row) in motion.vectors.chunks_exact(width).enumerate() {
            self.inside.extend(row.iter().enumerate().map(|(x, &vector)| {
                let inside = inside(level, (x, y), vector);
                all &= inside;
                if inside { 1.0 } else { 0.0 }
            }));
        }
        if !all {
            self.filling.fill(&mut self.trust, &self.inside);
        }
        for (weights, trust) in motion.weights.iter_mut().zip(&self.trust.vectors) {
            weights[2] = (trust[0] * 255.0 + 0.5) as u8;
        }
        overview
    }
}
