//! Glitch: blocks of the picture that jump, with their colours gone astray, as from a damaged tape.
//!
//! Holds: what is drawn is a function of the picture, the amount and the number of the frame; a
//! pattern stays for a few frames.

use super::super::row_mut;
use crate::media::{Frame, PlaneMut};

/// Chance, the same on every machine and in every version: splitmix64 (Steele et al. 2014).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to 1.
    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 24) as f32
    }

    fn within(&mut self, min: f32, max: f32) -> f32 {
        min + (max - min) * self.unit()
    }
}

/// A block and where its pixels come from; in pixels of luma.
struct Block {
    x: f32,
    y: f32,
    width: f32,
    height: f32,
    dx: f32,
    dy: f32,
    /// Chroma comes from farther off by this.
    astray: f32,
    /// Cb and Cr change places.
    swapped: bool,
}

/// Draws blocks over `to`, which is a copy of `from`. `amount`: 0 to 1; `slot`: the number of the
/// pattern.
pub fn draw(amount: f32, slot: u64, from: &Frame, to: &mut Frame) {
    let mut chance = Chance(slot.wrapping_mul(0x2545_f491_4f6c_dd1d));
    // With little of it there are quiet moments.
    if chance.unit() > 0.25 + 1.5 * amount {
        return;
    }
    let (width, height) = (from.width as f32, from.height as f32);
    let blocks = 1 + (amount * chance.within(8.0, 28.0)) as usize;
    for _ in 0..blocks {
        // One in four is a torn band across the whole picture.
        let band = chance.unit() < 0.25;
        let size = 0.3 + 0.7 * amount;
        let block_height = height * size * chance.within(0.015, if band { 0.06 } else { 0.16 });
        let block_width = width * if band { 1.0 } else { size * chance.within(0.06, 0.45) };
        let far = width * (0.02 + 0.2 * amount);
        let block = Block {
            x: if band { 0.0 } else { chance.within(0.0, 1.0) * (width - block_width) },
            y: chance.within(0.0, 1.0) * (height - block_height),
            width: block_width,
            height: block_height,
            dx: chance.within(-far, far),
            dy: if band { 0.0 } else { chance.within(-0.3, 0.3) * far },
            astray: chance.within(-0.4, 0.4) * far,
            swapped: chance.unit() < 0.2 * amount,
        };
        let (u, v) = if block.swapped { (&from.v, &from.u) } else { (&from.u, &from.v) };
        let to = to.as_mut();
        for (from, mut to, halves) in [(&from.y, to.y, 0), (u, to.u, 1), (v, to.v, 1)] {
            copy(&block, from, &mut to, halves);
        }
    }
}

/// Copies the block within a plane that has so often been halved.
fn copy(block: &Block, from: &[u8], to: &mut PlaneMut, halves: i32) {
    let scale = if halves == 0 { 1.0 } else { 0.5 };
    // Even in luma, so that chroma comes along.
    let place = |px: f32| (px / 2.0).round() as i64 * if halves == 0 { 2 } else { 1 };
    let (width, height) = (to.width as i64, to.height as i64);
    let (left, top) = (place(block.x).clamp(0, width), place(block.y).clamp(0, height));
    let right = (left + place(block.width).max(2)).min(width);
    let bottom = (top + place(block.height).max(2)).min(height);
    let astray = if halves == 0 { 0 } else { (block.astray * scale) as i64 };
    let dx = (place(block.dx) + astray).clamp(-left, width - right);
    let dy = place(block.dy).clamp(-top, height - bottom);
    for y in top..bottom {
        let row = &mut row_mut(to, y as usize)[left as usize..right as usize];
        let at = (y + dy) * width + left + dx;
        row.copy_from_slice(&from[at as usize..][..row.len()]);
    }
}
