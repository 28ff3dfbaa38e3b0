//! Whether two neighbouring frames are one picture shown twice, as a generator shows it and a codec
//! hands it on.
//!
//! A codec codes a repeated picture almost for nothing: next to no pixel changes, or all do by a
//! little that goes this way and that. So two frames are a repeat if they differ little on average,
//! nowhere much, and if nowhere the little differences are those of a shift (the gradient step of
//! Lucas and Kanade 1981, over regions so large that noise cancels out).

use crate::media::PlaneRef;
use crate::render::kernels::Cpu;
use crate::render::kernels::change::{BLOCK, Change};

/// Mean absolute difference of all pixels, in levels.
const MOST_ON_AVERAGE: f64 = 2.0;
/// Mean square difference of a block.
const MOST_IN_BLOCK: f32 = 36.0;
/// Blocks along the edge of a region, and the pixels that it may seem to have moved.
const REGION: usize = 4;
const FARTHEST_PX: f32 = 0.25;
/// Added to the mean squares of the gradients (levels a pixel, squared): in a flat region noise moves
/// nothing.
const DAMPING: f32 = 1.0;

/// Whether `b` shows the picture of `a` again. Both are of one size.
pub fn is_repeat(a: PlaneRef, b: PlaneRef) -> bool {
    let cpu = Cpu::detect();
    if a.width < 3 || a.height < 3 {
        return a.rows().eq(b.rows());
    }
    // Of pixels that have others on every side.
    let (width, height) = (a.width - 2, a.height - 2);
    let (mut sum, mut pixels) = (0.0, 0.0);
    for top in (0..height).step_by(REGION * BLOCK) {
        for left in (0..width).step_by(REGION * BLOCK) {
            let mut region = Change::default();
            for block in 0..REGION * REGION {
                let (x, y) = (left + block % REGION * BLOCK, top + block / REGION * BLOCK);
                if x >= width || y >= height {
                    continue;
                }
                let from_a = (&a.data[y * a.stride + x..], a.stride);
                let from_b = (&b.data[(y + 1) * b.stride + x + 1..], b.stride);
                let size = (BLOCK.min(width - x), BLOCK.min(height - y));
                let block = cpu.change(from_a, from_b, size.0, size.1);
                if block.dd as f32 > MOST_IN_BLOCK * block.pixels as f32 {
                    return false;
                }
                region.add(&block);
            }
            if moved_px(&region) > FARTHEST_PX {
                return false;
            }
            sum += f64::from(region.d);
            pixels += f64::from(region.pixels);
        }
    }
    sum <= MOST_ON_AVERAGE * pixels
}

/// How far a region has moved, if that is all that happened.
fn moved_px(region: &Change) -> f32 {
    let &Change { pixels, d_dx, d_dy, dx_dx, dx_dy, dy_dy, .. } = region;
    // The gradients are doubled.
    let mean = |sum: i32, scale: f32| sum as f32 / (scale * pixels as f32);
    let (dx, dy) = (mean(d_dx, 2.0), mean(d_dy, 2.0));
    let (xx, xy, yy) = (mean(dx_dx, 4.0) + DAMPING, mean(dx_dy, 4.0), mean(dy_dy, 4.0) + DAMPING);
    let determinant = xx * yy - xy * xy;
    ((yy * dx - xy * dy) / determinant).hypot((xx * dy - xy * dx) / determinant)
}
