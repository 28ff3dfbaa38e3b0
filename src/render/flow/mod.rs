//! Optical flow: the motion between two neighbouring frames, found ahead of time.
//!
//! Luma is made small (`pyramid`); dense inverse search finds where its patches went, in both
//! directions (`search`); both are brought together half-way between the frames (`midway`), and
//! weighed against a plain blend (`trust`). The result is a [`Motion`], small enough to wait beside
//! its clip, from which `warp` makes the picture at any time between the two.
//!
//! Holds: nothing is allocated while the size of pictures stays. Pictures of at least one pixel and
//! of any content give a motion; where it cannot be known its trust is low.

mod borrow;
mod field;
mod likeness;
mod midway;
mod pyramid;
mod repeat;
mod search;
mod smooth;
#[cfg(test)]
mod tests;
mod trust;

use crate::media::{Motion, MotionKind, PlaneRef};
use crate::render::kernels::Cpu;
use borrow::Borrowing;
use field::Field;
use likeness::Level;
use midway::Midway;
use pyramid::Pyramid;
pub use repeat::is_repeat;
use search::{Effort, Search};
use trust::{Overview, Trust};

/// As far as a vector goes, as [`Motion`] has it: 500 pixels. The difference of two still fits into
/// 16 bits, as the warp's kernels need.
const FARTHEST: f32 = 16_000.0;

/// How much work a pair of frames is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quality {
    /// A quarter of the normal cost.
    Fast,
    Normal,
    /// Several times the normal cost; for work that is not live.
    High,
}

impl Quality {
    /// The longest side, in pixels, on which motion is looked for.
    fn longest_side(self) -> usize {
        match self {
            Quality::Fast => 320,
            Quality::Normal => 640,
            Quality::High => 1280,
        }
    }

    fn effort(self) -> Effort {
        match self {
            Quality::Fast => Effort { steps: 6, rounds: 1 },
            Quality::Normal => Effort { steps: 6, rounds: 2 },
            Quality::High => Effort { steps: 16, rounds: 4 },
        }
    }
}

/// What the motion between two pictures of a size takes, at normal quality.
pub fn motion_bytes(width: u32, height: u32) -> usize {
    let shift = shift(width.max(height) as usize, Quality::Normal);
    let cell = (cell_px(shift) << shift) as u32;
    let cells = width.div_ceil(cell) as usize * height.div_ceil(cell) as usize;
    cells * (size_of::<[i16; 2]>() + size_of::<[u8; 4]>())
}

/// How often a picture is halved before motion is looked for in it.
fn shift(longest_side: usize, quality: Quality) -> u32 {
    let mut shift = 0;
    while longest_side >> shift > quality.longest_side() {
        shift += 1;
    }
    shift
}

/// Pixels along a cell, of the picture in which motion is looked for.
fn cell_px(shift: u32) -> usize {
    if shift == 0 { 4 } else { 2 }
}

/// Finds motion, pair after pair. Keeps its memory.
pub struct Analyser {
    cpu: Cpu,
    pyramids: [Pyramid; 2],
    searches: [Search; 2],
    fields: [Field; 2],
    midway: Midway,
    borrowing: Borrowing,
    trust: Trust,
}

impl Default for Analyser {
    fn default() -> Self {
        Analyser::new()
    }
}

impl Analyser {
    pub fn new() -> Self {
        Analyser {
            cpu: Cpu::detect(),
            pyramids: Default::default(),
            searches: Default::default(),
            fields: Default::default(),
            midway: Midway::default(),
            borrowing: Borrowing::default(),
            trust: Trust::default(),
        }
    }

    /// Fills `motion` with that between the luma of two frames of one size.
    pub fn analyse(&mut self, a: PlaneRef, b: PlaneRef, quality: Quality, motion: &mut Motion) {
        let shift = shift(a.width.max(a.height).max(1), quality);
        let [pyramid_a, pyramid_b] = &mut self.pyramids;
        pyramid_a.fill(self.cpu, a, shift);
        pyramid_b.fill(self.cpu, b, shift);
        let cell = cell_px(shift);
        let [forward, backward] = &mut self.fields;
        let effort = quality.effort();
        self.searches[0].run(self.cpu, (pyramid_a, pyramid_b), effort, cell, forward);
        self.searches[1].run(self.cpu, (pyramid_b, pyramid_a), effort, cell, backward);
        let scale = (1 << shift) as f32;
        let (finest_a, finest_b) = (&pyramid_a.levels[0], &pyramid_b.levels[0]);
        let level = Level { cpu: self.cpu, a: finest_a, b: finest_b, cell, shift };
        let size = (finest_a.width, finest_a.height);
        let consistent = self.midway.fill((forward, backward), size, scale);
        motion.cell_px = (cell << shift) as u32;
        (motion.width, motion.height) = (forward.width, forward.height);
        motion.vectors.clear();
        motion.vectors.extend(self.midway.cells.iter().map(|cell| {
            cell.vector.map(|part| {
                let fixed = (part * scale * f32::from(Motion::ONE_PX)).clamp(-FARTHEST, FARTHEST);
                (fixed + if fixed < 0.0 { -0.5 } else { 0.5 }) as i16
            })
        }));
        motion.weights.clear();
        motion.weights.extend(self.midway.cells.iter().map(|cell| {
            let [in_a, in_b] = cell.seen.map(|seen| if seen { 255 } else { 0 });
            [in_a, in_b, 0, 0]
        }));
        if quality == Quality::High {
            self.borrowing.run(level, motion);
        }
        let overview = self.trust.weigh(level, motion, consistent);
        motion.kind = if is_repeat(a, b) {
            MotionKind::Repeat
        } else if is_cut(consistent, &overview, pyramid_a.resemblance(pyramid_b)) {
            MotionKind::Cut
        } else {
            MotionKind::Moves
        };
    }
}

/// Nothing of one picture is found in the other, and they are unlike: also as a whole, which boiling
/// texture, however new it is in every frame, is not.
fn is_cut(consistent: f32, overview: &Overview, resemblance: f32) -> bool {
    consistent < 0.2 && overview.warped > 8.0 && overview.still > 12.0 && resemblance < 0.7
}
