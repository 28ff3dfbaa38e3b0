//! The motion as seen half-way between two frames: for every cell of that in-between picture, what
//! passes it, and in which of the two frames it can be seen.
//!
//! Both directions are projected to the middle (forward splatting, weighted by consistency as in
//! softmax splatting, Niklaus and Liu 2020), so that what is uncovered is known from the frame that
//! shows it.

use super::field::{Field, Filling, Vector};

/// No direction is ever without any weight.
const LEAST: f32 = 0.01;
/// Splatted weight below which a cell counts as a hole.
const HOLE: f32 = 0.02;
/// A cell of the picture in the middle.
#[derive(Clone, Copy, Debug, Default)]
pub struct Passing {
    /// From its place in `a` to that in `b`, in pixels of the level.
    pub vector: Vector,
    /// Whether it is seen in `a`, and in `b`; at least in one.
    pub seen: [bool; 2],
}

#[derive(Default)]
pub struct Midway {
    pub cells: Vec<Passing>,
    known: [Vec<f32>; 2],
    filling: Filling,
    splats: Vec<[f32; 3]>,
}

impl Midway {
    /// Fills `cells` from the fields of both directions, which lie on the same cells. The fields
    /// are completed: where they are not consistent they take after their surroundings. `size` is
    /// that of the level in pixels, `scale` the pixels of the source per pixel of the level. Returns
    /// the share of cells whose directions agree.
    pub fn fill(
        &mut self,
        (forward, backward): (&mut Field, &mut Field),
        size: (usize, usize),
        scale: f32,
    ) -> f32 {
        let size = (size.0 as f32, size.1 as f32);
        consistency(forward, backward, size, scale, &mut self.known[0]);
        consistency(backward, forward, size, scale, &mut self.known[1]);
        let agreeing = self.known.iter().flatten().filter(|&&known| known > 0.25).count();
        self.filling.fill(forward, &self.known[0]);
        self.filling.fill(backward, &self.known[1]);
        self.project(forward, backward, size);
        agreeing as f32 / (2 * forward.vectors.len()) as f32
    }

    fn project(&mut self, forward: &Field, backward: &Field, size: (f32, f32)) {
        self.splats.clear();
        self.splats.resize(forward.vectors.len(), [0.0; 3]);
        splat(forward, &self.known[0], 1.0, &mut self.splats);
        splat(backward, &self.known[1], -1.0, &mut self.splats);
        self.cells.clear();
        for y in 0..forward.height {
            for x in 0..forward.width {
                let cell = y * forward.width + x;
                let [sum_x, sum_y, sum] = self.splats[cell];
                let vector = if sum < HOLE {
                    let (f, g) = (forward.vectors[cell], backward.vectors[cell]);
                    std::array::from_fn(|i| (f[i] - g[i]) / 2.0)
                } else {
                    [sum_x / sum, sum_y / sum]
                };
                let (cx, cy) = forward.centre(x, y);
                let half = vector.map(|part| part / 2.0);
                let inside =
                    [-1.0, 1.0].map(|side| inside(cx + side * half[0], cy + side * half[1], size));
                let seen = if inside == [false; 2] { [true; 2] } else { inside };
                self.cells.push(Passing { vector, seen });
            }
        }
    }
}

/// Whether a position is in the picture.
fn inside(x: f32, y: f32, size: (f32, f32)) -> bool {
    x >= -0.5 && y >= -0.5 && x <= size.0 - 0.5 && y <= size.1 - 0.5
}

/// How far each vector of `field` is led back by that of `other` at its end: 1 within a fraction of
/// a source pixel, going to 0. What leaves the picture is not known.
fn consistency(field: &Field, other: &Field, size: (f32, f32), scale: f32, known: &mut Vec<f32>) {
    known.clear();
    let per_px = 1.0 / field.cell as f32;
    for y in 0..field.height {
        for x in 0..field.width {
            let vector = field.vectors[y * field.width + x];
            let (cx, cy) = field.centre(x, y);
            let (to_x, to_y) = (cx + vector[0], cy + vector[1]);
            if !inside(to_x, to_y, size) {
                known.push(0.0);
                continue;
            }
            // The nearest cell does: between cells vectors differ by less than is tolerated.
            let cell =
                |px: f32, count: usize| ((px + 0.5) * per_px).min((count - 1) as f32) as usize;
            let back =
                other.vectors[cell(to_y, other.height) * other.width + cell(to_x, other.width)];
            let length = |x: f32, y: f32| scale * (x * x + y * y).sqrt();
            let off = length(vector[0] + back[0], vector[1] + back[1]);
            let error = off / (1.0 + 0.05 * length(vector[0], vector[1]));
            let square = error * error;
            // As e^-x², near enough.
            let falling = 1.0 / (1.0 + square / 2.0 + square * square / 4.0);
            known.push(falling * falling);
        }
    }
}

/// Lays every cell of `field` where it is half-way: `sums` of x, of y, and of the weights.
fn splat(field: &Field, known: &[f32], sign: f32, sums: &mut [[f32; 3]]) {
    let (width, height) = (field.width as i32, field.height as i32);
    let half = 0.5 / field.cell as f32;
    for y in 0..field.height {
        for x in 0..field.width {
            let cell = y * field.width + x;
            let vector = field.vectors[cell];
            let (to_x, to_y) = (x as f32 + half * vector[0], y as f32 + half * vector[1]);
            let (left, top) = (floor(to_x), floor(to_y));
            let (right_share, bottom_share) = (to_x - left as f32, to_y - top as f32);
            for (row, share_y) in [(top, 1.0 - bottom_share), (top + 1, bottom_share)] {
                for (column, share_x) in [(left, 1.0 - right_share), (left + 1, right_share)] {
                    if row < 0 || column < 0 || row >= height || column >= width {
                        continue;
                    }
                    let weight = share_x * share_y * known[cell].max(LEAST);
                    let sum = &mut sums[(row * width + column) as usize];
                    sum[0] += weight * vector[0] * sign;
                    sum[1] += weight * vector[1] * sign;
                    sum[2] += weight;
                }
            }
        }
    }
}

/// `f32::floor` is a call on old processors.
fn floor(x: f32) -> i32 {
    let whole = x as i32;
    if whole as f32 > x { whole - 1 } else { whole }
}
