//! The motion as seen half-way between two frames: for every cell of that in-between picture, what
//! passes it, in which of the two frames it can be seen, and how far that is to be trusted.
//!
//! Both directions are projected to the middle (forward splatting, weighted by consistency as in
//! softmax splatting, Niklaus and Liu 2020), so that what is uncovered is known from the frame that
//! shows it. Trust compares what the warp would mix with what a plain blend would: each counts by
//! the inverse of its variance, after a change of light that both share is taken out.

use super::field::{Around, Field, Filling, Vector};
use super::pyramid::Plane;

/// No direction is ever without any weight.
const LEAST: f32 = 0.01;
/// Splatted weight below which a cell counts as a hole.
const HOLE: f32 = 0.02;
/// Levels of noise that every difference has.
const NOISE: f32 = 0.5;
/// A change of light is looked for over so many cells to each side.
const LIGHT_CELLS: usize = 20;

/// A cell of the picture in the middle.
#[derive(Clone, Copy, Debug, Default)]
pub struct Passing {
    /// From its place in `a` to that in `b`, in pixels of the level.
    pub vector: Vector,
    /// How much of it is seen in `a`, and in `b`; the larger one is 1.
    pub seen: [f32; 2],
    /// 0: a plain blend is better; 1: the warp is.
    pub trust: f32,
}

/// What the whole pair looks like, for deciding whether it moves at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Overview {
    /// Share of cells whose two directions agree.
    pub consistent: f32,
    /// Mean difference of the frames as they are, and after the warp, in levels.
    pub still: f32,
    pub warped: f32,
}

#[derive(Default)]
pub struct Midway {
    pub cells: Vec<Passing>,
    known: [Vec<f32>; 2],
    filling: Filling,
    splats: Vec<[f32; 4]>,
    differences: Differences,
    trust: Field,
    inside: Vec<f32>,
}

/// Of two frames, pixel by pixel of the level.
#[derive(Default)]
struct Differences {
    stride: usize,
    warped: Vec<f32>,
    still: Vec<f32>,
    /// Mean of `warped` in each cell, then over the neighbourhood.
    light: Vec<f32>,
    rows: Vec<f32>,
}

impl Midway {
    /// Fills `cells` from the fields of both directions, which lie on the same cells. The fields
    /// are completed: where they are not consistent they take after their surroundings. `scale`:
    /// pixels of the source per pixel of the level.
    pub fn fill(
        &mut self,
        (a, b): (&Plane, &Plane),
        (forward, backward): (&mut Field, &mut Field),
        scale: f32,
    ) -> Overview {
        let size = (a.width as f32, a.height as f32);
        consistency(forward, backward, size, scale, &mut self.known[0]);
        consistency(backward, forward, size, scale, &mut self.known[1]);
        let agreeing = self.known.iter().flatten().filter(|&&known| known > 0.25).count();
        let consistent = agreeing as f32 / (2 * forward.vectors.len()) as f32;
        self.filling.fill(forward, &self.known[0]);
        self.filling.fill(backward, &self.known[1]);
        self.project(forward, backward);
        let (still, warped) = self.weigh((a, b), forward);
        Overview { consistent, still, warped }
    }

    fn project(&mut self, forward: &Field, backward: &Field) {
        self.splats.clear();
        self.splats.resize(forward.vectors.len(), [0.0; 4]);
        for (which, field, sign) in [(0, forward, 1.0), (1, backward, -1.0)] {
            splat(field, &self.known[which], sign, which, &mut self.splats);
        }
        self.cells.clear();
        self.cells.extend(self.splats.iter().enumerate().map(|(cell, &[x, y, a, b])| {
            let sum = a + b;
            if sum < HOLE {
                let (f, g) = (forward.vectors[cell], backward.vectors[cell]);
                let vector = std::array::from_fn(|i| (f[i] - g[i]) / 2.0);
                return Passing { vector, seen: [1.0; 2], trust: 0.0 };
            }
            let most = a.max(b);
            Passing { vector: [x / sum, y / sum], seen: [a / most, b / most], trust: 0.0 }
        }));
    }

    /// Sets the trust; returns the mean differences as they are and warped.
    fn weigh(&mut self, (a, b): (&Plane, &Plane), grid: &Field) -> (f32, f32) {
        let (width, height, cell) = (grid.width, grid.height, grid.cell);
        self.differences.fill((a, b), &self.cells, grid);
        self.differences.find_light(width, height, cell);
        self.trust.cover(a.width, a.height, cell);
        self.inside.clear();
        let (mut still_sum, mut warped_sum) = (0.0, 0.0);
        for y in 0..height {
            for x in 0..width {
                let i = y * width + x;
                let (still, warped) = self.differences.around(x, y, (width, height), cell);
                still_sum += still;
                warped_sum += warped;
                let ratio = (warped + NOISE) / (still + NOISE);
                self.trust.vectors[i] = [1.0 / (1.0 + ratio * ratio), 0.0];
                let (cx, cy) = grid.centre(x, y);
                let half = self.cells[i].vector.map(|part| part / 2.0);
                let outside = |x: f32, y: f32| {
                    x < -0.5 || y < -0.5 || x > a.width as f32 - 0.5 || y > a.height as f32 - 0.5
                };
                let leaves =
                    outside(cx - half[0], cy - half[1]) || outside(cx + half[0], cy + half[1]);
                self.inside.push(if leaves { 0.0 } else { 1.0 });
            }
        }
        // What is beyond the edge of a frame cannot be compared.
        self.filling.fill(&mut self.trust, &self.inside);
        for (cell, trust) in self.cells.iter_mut().zip(&self.trust.vectors) {
            cell.trust = trust[0];
        }
        let count = (width * height) as f32;
        (still_sum / count, warped_sum / count)
    }
}

/// How far each vector of `field` is led back by that of `other` at its end: 1 within a fraction of
/// a source pixel, going to 0. What leaves the picture is not known.
fn consistency(field: &Field, other: &Field, size: (f32, f32), scale: f32, known: &mut Vec<f32>) {
    known.clear();
    for y in 0..field.height {
        for x in 0..field.width {
            let vector = field.vectors[y * field.width + x];
            let (cx, cy) = field.centre(x, y);
            let (to_x, to_y) = (cx + vector[0], cy + vector[1]);
            let inside =
                to_x >= -0.5 && to_y >= -0.5 && to_x <= size.0 - 0.5 && to_y <= size.1 - 0.5;
            if !inside {
                known.push(0.0);
                continue;
            }
            let back = other.at(to_x, to_y);
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

/// Lays every cell of `field` where it is half-way: `sums` of x and y, and of the weights of
/// direction `which`.
fn splat(field: &Field, known: &[f32], sign: f32, which: usize, sums: &mut [[f32; 4]]) {
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
                    sum[2 + which] += weight;
                }
            }
        }
    }
}

impl Differences {
    /// `a` less `b` at every pixel: each half-way along its cell's vector, and both as they are.
    fn fill(&mut self, (a, b): (&Plane, &Plane), cells: &[Passing], grid: &Field) {
        self.stride = grid.width * grid.cell;
        let size = self.stride * grid.height * grid.cell;
        self.warped.resize(size, 0.0);
        self.still.resize(size, 0.0);
        for y in 0..grid.height {
            for x in 0..grid.width {
                let half = cells[y * grid.width + x].vector.map(|part| part / 2.0);
                let (first_x, first_y) = (x * grid.cell, y * grid.cell);
                let from_a = Sample::new(a, first_x as f32 - half[0], first_y as f32 - half[1]);
                let from_b = Sample::new(b, first_x as f32 + half[0], first_y as f32 + half[1]);
                for row in 0..grid.cell {
                    let to = (first_y + row) * self.stride + first_x;
                    let at = a.at(first_x as i32, (first_y + row) as i32);
                    for column in 0..grid.cell {
                        let warped = from_a.pixel(column, row) - from_b.pixel(column, row);
                        self.warped[to + column] = warped;
                        let (a, b) = (a.data[at + column], b.data[at + column]);
                        self.still[to + column] = f32::from(a) - f32::from(b);
                    }
                }
            }
        }
    }

    /// The change of light around every cell: what warped differences have in common there.
    fn find_light(&mut self, width: usize, height: usize, cell: usize) {
        self.light.resize(width * height, 0.0);
        self.rows.resize(width * height, 0.0);
        let area = (cell * cell) as f32;
        for y in 0..height {
            for x in 0..width {
                let first = y * cell * self.stride + x * cell;
                let rows =
                    (0..cell).flat_map(|row| &self.warped[first + row * self.stride..][..cell]);
                self.light[y * width + x] = rows.sum::<f32>() / area;
            }
        }
        for (from, to) in self.light.chunks_exact(width).zip(self.rows.chunks_exact_mut(width)) {
            running_mean(from.len(), |i| from[i], |i, mean| to[i] = mean);
        }
        for x in 0..width {
            let (rows, light) = (&self.rows, &mut self.light);
            running_mean(height, |i| rows[i * width + x], |i, mean| light[i * width + x] = mean);
        }
    }

    /// Root mean square differences of the pixels of a cell and next to it, without the change of
    /// light: as they are, and warped.
    fn around(
        &self,
        x: usize,
        y: usize,
        (width, height): (usize, usize),
        cell: usize,
    ) -> (f32, f32) {
        let light = self.light[y * width + x];
        let rows = (y * cell).saturating_sub(1)..((y + 1) * cell + 1).min(height * cell);
        let columns = (x * cell).saturating_sub(1)..((x + 1) * cell + 1).min(width * cell);
        let count = (rows.len() * columns.len()) as f32;
        let (mut still, mut warped) = (0.0, 0.0);
        for row in rows {
            let row = row * self.stride;
            for column in columns.clone() {
                let difference = self.still[row + column] - light;
                still += difference * difference;
                let difference = self.warped[row + column] - light;
                warped += difference * difference;
            }
        }
        ((still / count).sqrt(), (warped / count).sqrt())
    }
}

/// `f32::floor` is a call on old processors.
fn floor(x: f32) -> i32 {
    let whole = x as i32;
    if whole as f32 > x { whole - 1 } else { whole }
}

/// Means over [`LIGHT_CELLS`] to each side, as far as there are any.
fn running_mean(count: usize, value: impl Fn(usize) -> f32, mut put: impl FnMut(usize, f32)) {
    let mut sum: f32 = (0..LIGHT_CELLS.min(count)).map(&value).sum();
    for i in 0..count {
        if i + LIGHT_CELLS < count {
            sum += value(i + LIGHT_CELLS);
        }
        if i > LIGHT_CELLS {
            sum -= value(i - LIGHT_CELLS - 1);
        }
        let (first, end) = (i.saturating_sub(LIGHT_CELLS), (i + LIGHT_CELLS + 1).min(count));
        put(i, sum / (end - first) as f32);
    }
}

/// Bilinear samples from a position on, one pixel apart.
struct Sample<'a> {
    plane: &'a Plane,
    at: usize,
    around: Around,
}

impl<'a> Sample<'a> {
    fn new(plane: &'a Plane, x: f32, y: f32) -> Self {
        let pad = super::pyramid::PAD as f32;
        let place = |at: f32, size: usize| at.max(-pad).min(size as f32 + pad - 6.0);
        let (x, y) = (place(x, plane.width), place(y, plane.height));
        let (left, top) = (floor(x), floor(y));
        let around = Around::new(2, 2, x - left as f32, y - top as f32);
        Sample { plane, at: plane.at(left, top), around }
    }

    fn pixel(&self, column: usize, row: usize) -> f32 {
        let at = self.at + row * self.plane.stride + column;
        let (top, bottom) = (&self.plane.data[at..], &self.plane.data[at + self.plane.stride..]);
        self.around.mix([top[0], top[1], bottom[0], bottom[1]].map(f32::from))
    }
}
