//! The joint between one clip and the next: the next one grows out of the last picture of the one
//! before, over its first frames.
//!
//! A cycle begins with what the one before ended with, as a generator has painted it anew: alike, but
//! not the same. A crossfade of two clips that move shows everything twice; so here the old picture
//! is carried along by the motion of the new clip, and fades while it moves with it. Pictures that have
//! nothing in common are left alone, and crossfaded on air.

use crate::media::{Frame, Motion, MotionKind};
use crate::render::flow::{Analyser, Quality};
use crate::render::mix_into;
use crate::render::warp::Warper;

#[derive(Default)]
pub struct Joiner {
    analyser: Analyser,
    warper: Warper,
}

impl Joiner {
    /// Lets `frames` grow out of `before`, over the first `count` of them. Returns the motion from
    /// each of those to the next; `None`: they have nothing in common, and are as they were.
    pub fn join(
        &mut self,
        before: &Frame,
        frames: &mut [Frame],
        count: usize,
        quality: Quality,
    ) -> Option<Vec<Motion>> {
        let count = count.min(frames.len().checked_sub(1)?);
        let first = frames.first()?;
        if (before.width, before.height) != (first.width, first.height) {
            return None;
        }
        let mut motion = Motion::default();
        let mut find = |a: &Frame, b: &Frame, motion: &mut Motion| {
            self.analyser.analyse(a.as_ref().y, b.as_ref().y, quality, motion);
        };
        find(before, first, &mut motion);
        if motion.kind == MotionKind::Cut {
            return None;
        }
        let mut carried = before.clone();
        let mut next = before.clone();
        let mut motions = Vec::with_capacity(count);
        for n in 0..count {
            if motion.kind == MotionKind::Moves {
                self.warper.carry(carried.as_ref(), &motion, &mut next.as_mut());
                std::mem::swap(&mut carried, &mut next);
            }
            find(&frames[n], &frames[n + 1], &mut motion);
            let left = 1.0 - smooth((n + 1) as f32 / (count + 1) as f32);
            mix_into(&mut frames[n], &carried, left);
            motions.push(motion.clone());
            if motion.kind == MotionKind::Cut {
                // Another scene within the clip: nothing is carried into it.
                break;
            }
        }
        Some(motions)
    }
}

/// From 0 to 1 without a jolt at either end.
fn smooth(t: f32) -> f32 {
    t * t * (3.0 - 2.0 * t)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: (u32, u32) = (320, 192);

    /// A pattern that has moved by `shift` pixels, `light` brighter.
    fn frame(shift: f64, light: f64, pitch: f64) -> Frame {
        let mut frame = Frame::black(SIZE.0, SIZE.1);
        for (i, luma) in frame.y.iter_mut().enumerate() {
            let (x, y) = ((i % SIZE.0 as usize) as f64 - shift, (i / SIZE.0 as usize) as f64);
            let wave = (x * pitch).sin() * 40.0 + (y * 0.13 + x * 0.031).cos() * 40.0;
            *luma = (110.0 + wave + light) as u8;
        }
        frame
    }

    fn mean(frame: &Frame) -> f64 {
        frame.y.iter().map(|&y| f64::from(y)).sum::<f64>() / frame.y.len() as f64
    }

    fn apart(a: &Frame, b: &Frame) -> f64 {
        let sum: u64 = a.y.iter().zip(&b.y).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        sum as f64 / a.y.len() as f64
    }

    #[test]
    fn the_old_picture_moves_with_the_new_clip_while_it_fades() {
        // The new clip is the old one, brighter; it moves by six pixels a frame.
        let before = frame(0.0, 0.0, 0.09);
        let mut frames: Vec<Frame> =
            (0..8).map(|n| frame(6.0 * f64::from(n), 30.0, 0.09)).collect();
        let motions = Joiner::default().join(&before, &mut frames, 4, Quality::Normal).unwrap();
        assert_eq!(motions.len(), 4);
        let mut last = mean(&before);
        for (n, joined) in frames.iter().take(4).enumerate() {
            // Brighter frame by frame, and sharp: the pattern is where the clip has it by now.
            let light = mean(joined) - mean(&before);
            assert!(mean(joined) > last + 2.0, "{n}: {light}");
            last = mean(joined);
            let there = frame(6.0 * n as f64, light, 0.09);
            assert!(apart(joined, &there) < 3.0, "{n}: {} off", apart(joined, &there));
        }
        assert!(frames[4] == frame(24.0, 30.0, 0.09));
    }

    #[test]
    fn pictures_with_nothing_in_common_are_left_alone() {
        let noise = |seed: u64| {
            let mut frame = frame(0.0, 0.0, 0.09);
            let mut random = fastrand::Rng::with_seed(seed);
            for rows in frame.y.chunks_mut(8 * SIZE.0 as usize) {
                let levels: Vec<u8> = (0..40).map(|_| random.u8(20..230)).collect();
                for row in rows.chunks_mut(SIZE.0 as usize) {
                    row.iter_mut().enumerate().for_each(|(x, y)| *y = levels[x / 8]);
                }
            }
            frame
        };
        let mut frames = vec![noise(1), noise(1)];
        assert!(Joiner::default().join(&noise(2), &mut frames, 1, Quality::Normal).is_none());
        assert!(frames[0] == noise(1));
    }
}
