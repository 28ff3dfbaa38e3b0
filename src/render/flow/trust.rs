//! How far the warp is to be trusted, cell by cell, over a plain blend of both frames.
//!
//! Both mix two pictures, and each is as good as these are alike: the warp's along the motion, the
//! blend's as they are. So each counts by the inverse of its squared variance (a little of the wrong
//! one is a ghost). What the blend's pictures
//! have in common counts for little where something moves close by: between two places that a thin
//! line takes they are alike, and both wrong. A change of light, which both ways share, is taken out.

use super::field::{Field, Filling};
use super::pyramid::Plane;
use crate::media::Motion;
use crate::render::kernels::Cpu;
use crate::render::kernels::compare::{CellsAt, Differences};

/// Squared levels of noise that every difference has.
const NOISE: f32 = 0.25;
/// A change of light is looked for over so many cells to each side; differences over so many, along
/// the motion and as they are.
const LIGHT_CELLS: usize = 20;
const NEAR_CELLS: usize = 1;
const WIDE_CELLS: usize = 4;

/// Mean differences of the whole frames, as they are and along the motion, in levels.
#[derive(Clone, Copy, Debug, Default)]
pub struct Overview {
    pub still: f32,
    pub warped: f32,
}

#[derive(Default)]
pub struct Trust {
    /// Sums and sums of squares of a row of cells, warped and still.
    row: [Vec<i32>; 4],
    /// Mean differences of each cell, and mean squares.
    sum: [Vec<f32>; 2],
    square: [Vec<f32>; 2],
    light: Vec<f32>,
    scratch: Vec<f32>,
    trust: Field,
    inside: Vec<f32>,
    filling: Filling,
}

impl Trust {
    /// Sets the trust of each cell of `motion`, whose vectors are known; the planes are those of the
    /// level on which the cells have `cell` pixels, `shift` times halved.
    pub fn weigh(
        &mut self,
        cpu: Cpu,
        (a, b): (&Plane, &Plane),
        (cell, shift): (usize, u32),
        motion: &mut Motion,
    ) -> Overview {
        self.compare(cpu, (a, b), (cell, shift), motion);
        self.without_light(motion.width);
        let [warped, still] = &mut self.square;
        let mean = |squares: &[f32]| {
            squares.iter().map(|square| square.sqrt()).sum::<f32>() / squares.len() as f32
        };
        let overview = Overview { still: mean(still), warped: mean(warped) };
        blur(warped, motion.width, NEAR_CELLS, &mut self.scratch);
        blur(still, motion.width, WIDE_CELLS, &mut self.scratch);
        self.trust.cover(motion.width, motion.height, 1);
        for ((trust, warped), still) in self.trust.vectors.iter_mut().zip(warped).zip(still) {
            // Sums that run along rows leave a little behind.
            let (warped, still) = (warped.max(0.0) + NOISE, still.max(0.0) + NOISE);
            let (warped, still) = (warped * warped, still * still);
            *trust = [still / (warped + still), 0.0];
        }
        self.fill_in((a.width, a.height), (cell, shift), motion);
        for (weights, trust) in motion.weights.iter_mut().zip(&self.trust.vectors) {
            weights[2] = (trust[0] * 255.0 + 0.5) as u8;
        }
        overview
    }

    fn compare(
        &mut self,
        cpu: Cpu,
        (a, b): (&Plane, &Plane),
        (cell, shift): (usize, u32),
        motion: &Motion,
    ) {
        for values in self.sum.iter_mut().chain(&mut self.square) {
            values.clear();
        }
        // Of larger cells the middle.
        let first = (cell - 2) / 2;
        for (y, vectors) in motion.vectors.chunks_exact(motion.width).enumerate() {
            let [warped, warped_squares, still, still_squares] = self.row.each_mut().map(|row| {
                row.resize(motion.width, 0);
                &mut row[..]
            });
            let cells = CellsAt { first, step: cell, y: y * cell + first, vectors, shift };
            let (warped, still) = (
                Differences { sum: warped, squares: warped_squares },
                Differences { sum: still, squares: still_squares },
            );
            cpu.compare((a.padded(), b.padded()), cells, warped, still);
            // Of four pixels, in 32nds of a level.
            for (n, values) in self.sum.iter_mut().enumerate() {
                values.extend(self.row[2 * n].iter().map(|&sum| sum as f32 / 128.0));
            }
            for (n, values) in self.square.iter_mut().enumerate() {
                values.extend(self.row[2 * n + 1].iter().map(|&sum| sum as f32 / 4096.0));
            }
        }
    }

    /// Takes out what warped differences have in common around every cell.
    fn without_light(&mut self, width: usize) {
        self.light.clone_from(&self.sum[0]);
        blur(&mut self.light, width, LIGHT_CELLS, &mut self.scratch);
        for (squares, sums) in self.square.iter_mut().zip(&self.sum) {
            for ((square, sum), light) in squares.iter_mut().zip(sums).zip(&self.light) {
                *square = (*square + light * (light - 2.0 * sum)).max(0.0);
            }
        }
    }

    /// What is beyond the edge of a frame cannot be compared: there it is as next to it.
    fn fill_in(
        &mut self,
        (width, height): (usize, usize),
        (cell, shift): (usize, u32),
        motion: &Motion,
    ) {
        self.inside.clear();
        // Where a cell's middle may be, and half a vector, in the same fractions of a pixel.
        let one = i32::from(Motion::ONE_PX) << shift;
        let last = (2 * one * width as i32, 2 * one * height as i32);
        let mut all = true;
        for (y, row) in motion.vectors.chunks_exact(motion.width).enumerate() {
            let middle_y = one * (2 * y + 1) as i32 * cell as i32;
            for (x, &[dx, dy]) in row.iter().enumerate() {
                let middle_x = one * (2 * x + 1) as i32 * cell as i32;
                let (dx, dy) = (i32::from(dx).abs(), i32::from(dy).abs());
                let inside = middle_x >= dx
                    && middle_y >= dy
                    && middle_x + dx <= last.0
                    && middle_y + dy <= last.1;
                all &= inside;
                self.inside.push(if inside { 1.0 } else { 0.0 });
            }
        }
        if !all {
            self.filling.fill(&mut self.trust, &self.inside);
        }
    }
}

/// Averages each value with those up to `reach` away to each side.
fn blur(values: &mut [f32], width: usize, reach: usize, scratch: &mut Vec<f32>) {
    scratch.clear();
    scratch.resize(values.len() + width, 0.0);
    let (rows, sums) = scratch.split_at_mut(values.len());
    for (from, to) in values.chunks_exact(width).zip(rows.chunks_exact_mut(width)) {
        let mut sum: f32 = from[..reach.min(width)].iter().sum();
        for (x, to) in to.iter_mut().enumerate() {
            sum += from.get(x + reach).unwrap_or(&0.0);
            if x > reach {
                sum -= from[x - reach - 1];
            }
            let (first, end) = (x.saturating_sub(reach), (x + reach + 1).min(width));
            *to = sum / (end - first) as f32;
        }
    }
    let height = values.len() / width;
    let add = |sums: &mut [f32], y: usize, sign: f32| {
        for (sum, value) in sums.iter_mut().zip(&rows[y * width..]) {
            *sum += sign * value;
        }
    };
    for y in 0..reach.min(height) {
        add(sums, y, 1.0);
    }
    for (y, to) in values.chunks_exact_mut(width).enumerate() {
        if y + reach < height {
            add(sums, y + reach, 1.0);
        }
        if y > reach {
            add(sums, y - reach - 1, -1.0);
        }
        let (first, end) = (y.saturating_sub(reach), (y + reach + 1).min(height));
        let share = 1.0 / (end - first) as f32;
        for (to, sum) in to.iter_mut().zip(&*sums) {
            *to = sum * share;
        }
    }
}
