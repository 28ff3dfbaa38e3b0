//! Cells at the border of two motions take over what fits better from their neighbours.
//!
//! Patches are larger than cells: around a thing that moves before another they carry its motion too
//! far, or that of the other one into it. So each cell tries the vectors of cells a little away, and
//! takes one if both frames are clearly more alike along it (as candidates are tried in overlapped
//! block motion compensation and in PatchMatch, Barnes et al. 2009).

use super::likeness::{Level, Likeness, blur};
use crate::media::Motion;

/// Cells to the one that is asked.
const AWAY: usize = 2;
/// What differs by less than this (along x and y together) is the same motion: half a pixel.
const OTHER: i32 = Motion::ONE_PX as i32 / 2;
/// Mean square differences are looked at over so many cells to each side.
const REACH: usize = 1;
/// The other vector must leave less than this share of a cell's mean square difference, and less by
/// so many levels, squared.
const SHARE: f32 = 0.7;
const LEAST: f32 = 2.0;

#[derive(Default)]
pub struct Borrowing {
    own: Likeness,
    other: Likeness,
    best: Vec<f32>,
    tried: Vec<[i16; 2]>,
    /// Rows in which a cell is offered another motion than its own.
    rows: Vec<bool>,
    scratch: Vec<f32>,
}

impl Borrowing {
    pub fn run(&mut self, level: Level, motion: &mut Motion) {
        let (width, height) = (motion.width, motion.height);
        self.own.measure(level, width, &motion.vectors);
        self.best.clone_from(&self.own.square);
        blur(&mut self.best, width, REACH, &mut self.scratch);
        self.other.mean.resize(width * height, 0.0);
        for (dx, dy) in [(-1, 0), (1, 0), (0, -1), (0, 1)] {
            self.offer(motion, (dx, dy));
            self.other.square.clone_from(&self.own.square);
            for y in 0..height {
                let near = y.saturating_sub(REACH)..(y + REACH + 1).min(height);
                if self.rows[near].contains(&true) {
                    self.other.measure_row(level, width, &self.tried, y);
                }
            }
            let square = &mut self.other.square;
            blur(square, width, REACH, &mut self.scratch);
            let own = motion.vectors.iter_mut().zip(&mut self.best);
            for ((vector, best), (tried, square)) in own.zip(self.tried.iter().zip(square)) {
                if *square < *best * SHARE - LEAST && is_other(*vector, *tried) {
                    (*vector, *best) = (*tried, *square);
                }
            }
        }
    }

    /// To every cell the vector of another one, in that direction.
    fn offer(&mut self, motion: &Motion, (dx, dy): (isize, isize)) {
        let (width, height) = (motion.width, motion.height);
        let away = |at: usize, step: isize, count: usize| {
            at.saturating_add_signed(step * AWAY as isize).min(count - 1)
        };
        self.tried.clear();
        self.rows.clear();
        for y in 0..height {
            let own = &motion.vectors[y * width..][..width];
            let from = &motion.vectors[away(y, dy, height) * width..][..width];
            let before = self.tried.len();
            match dx {
                0 => self.tried.extend_from_slice(from),
                _ => self.tried.extend((0..width).map(|x| from[away(x, dx, width)])),
            }
            let pairs = own.iter().zip(&self.tried[before..]);
            self.rows.push(pairs.fold(false, |any, (own, tried)| any | is_other(*own, *tried)));
        }
    }
}

fn is_other(a: [i16; 2], b: [i16; 2]) -> bool {
    let apart = |i: usize| (i32::from(a[i]) - i32::from(b[i])).abs();
    apart(0) + apart(1) > OTHER
}
