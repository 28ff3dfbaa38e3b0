//! Dense inverse search (Kroeger, Timofte, Dai and Van Gool 2016): where every patch of a picture
//! went, from the coarsest level of a pyramid to the finest.
//!
//! On each level the patches of a grid begin where the coarser level says, take over from their
//! neighbours what fits better (as PatchMatch, Barnes et al. 2009), and descend by inverse
//! compositional Gauss-Newton steps (Baker and Matthews 2004). Patches are compared without their
//! mean, so that light may change. A field on cells is then the average of the patches over each
//! cell, weighted by how well they fit.

use super::field::{Field, Vector};
use super::pyramid::{PAD, Plane, Pyramid};
use crate::render::kernels::Cpu;
use crate::render::kernels::patch::{Gradients, PATCH, Sums, Template};

/// Pixels from one patch to the next.
const STRIDE: usize = 4;
/// A step shorter than this (pixels, squared) ends the descent.
const SMALL_STEP: f32 = 0.0025;
/// Added to the Hessian's diagonal, so that a flat patch stays where it is.
const DAMPING: f32 = 2.0;
/// A fit that is this much worse than the best ends the descent.
const WORSE: f32 = 1.2;
const AREA: f32 = (PATCH * PATCH) as f32;

#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Gauss-Newton steps of a patch at most.
    pub steps: u32,
    /// Rounds of taking over from neighbours, each ending in a descent.
    pub rounds: u32,
}

/// The work on one direction; keeps its memory.
#[derive(Default)]
pub struct Search {
    patches: Patches,
    coarser: Field,
}

/// The patches of a level.
#[derive(Default)]
struct Patches {
    columns: usize,
    rows: usize,
    templates: Vec<Patch>,
    found: Vec<Found>,
}

struct Patch {
    template: Template,
    /// Of its first pixel.
    x: i32,
    y: i32,
    /// Sums of its gradients, and the inverse of its Hessian.
    sum_dx: f32,
    sum_dy: f32,
    inverse: [f32; 3],
}

#[derive(Clone, Copy)]
struct Found {
    vector: Vector,
    /// Mean square of the difference, without its mean.
    error: f32,
}

/// How a patch fits, and the step to where it might fit better.
struct Fit {
    error: f32,
    step: Vector,
}

impl Search {
    /// Fills `field`, on cells of `cell` pixels of the finest level, with where `a` goes in `b`.
    pub fn run(
        &mut self,
        cpu: Cpu,
        (a, b): (&Pyramid, &Pyramid),
        effort: Effort,
        cell: usize,
        field: &mut Field,
    ) {
        let mut begin = true;
        for (level, (a, b)) in a.levels.iter().zip(&b.levels).enumerate().rev() {
            self.patches.place(a);
            let coarser = if begin { None } else { Some(&self.coarser) };
            self.patches.start(coarser);
            begin = false;
            for round in 0..effort.rounds {
                self.patches.round(cpu, b, round, effort.steps);
            }
            let (field, cell) =
                if level == 0 { (&mut *field, cell) } else { (&mut self.coarser, 2) };
            field.cover(a.width, a.height, cell);
            self.patches.spread(field);
        }
    }
}

impl Patch {
    fn new(plane: &Plane, x: i32, y: i32) -> Self {
        let template = Template::new(&plane.data, plane.stride, plane.at(x, y));
        let Gradients { dx, dy, dx_dx, dx_dy, dy_dy } = template.gradients();
        let [sum_dx, sum_dy, xx, xy, yy] = [dx, dy, dx_dx, dx_dy, dy_dy].map(|sum| sum as f32);
        // The gradients are doubled, so their products count four times.
        let xx = (xx - sum_dx * sum_dx / AREA) / 4.0 + DAMPING;
        let xy = (xy - sum_dx * sum_dy / AREA) / 4.0;
        let yy = (yy - sum_dy * sum_dy / AREA) / 4.0 + DAMPING;
        // With the damping it is positive.
        let determinant = xx * yy - xy * xy;
        let inverse = [yy / determinant, -xy / determinant, xx / determinant];
        Patch { template, x, y, sum_dx, sum_dy, inverse }
    }

    /// How it fits in `b`, `vector` away from its own place.
    fn fit(&self, cpu: Cpu, b: &Plane, vector: Vector) -> Fit {
        let place = |at: i32, along: f32, size: usize| {
            let low = 1.0 - PAD as f32;
            // 16 pixels are read from there.
            let high = (size + PAD) as f32 - 18.0;
            // Never below 0, so that cutting off rounds; `round` is a call on old processors.
            let from_pad = (at as f32 + along).clamp(low, high) + PAD as f32;
            let fixed = (from_pad * 64.0 + 0.5) as i32;
            ((fixed >> 6) - PAD as i32, (fixed & 63) as u8)
        };
        let (x, fx) = place(self.x, vector[0], b.width);
        let (y, fy) = place(self.y, vector[1], b.height);
        let Sums { d, dd, d_dx, d_dy } =
            cpu.fit(&self.template, &b.data, b.stride, b.at(x, y), (fx, fy));
        let d = d as f32 / 16.0;
        let gx = (d_dx as f32 / 16.0 - d * self.sum_dx / AREA) / 2.0;
        let gy = (d_dy as f32 / 16.0 - d * self.sum_dy / AREA) / 2.0;
        let [xx, xy, yy] = self.inverse;
        Fit {
            error: ((dd as f32 / 256.0 - d * d / AREA) / AREA).max(0.0),
            step: [-(xx * gx + xy * gy), -(xy * gx + yy * gy)],
        }
    }
}

impl Patches {
    fn place(&mut self, plane: &Plane) {
        let last = |size: usize| size.saturating_sub(PATCH);
        self.columns = last(plane.width).div_ceil(STRIDE) + 1;
        self.rows = last(plane.height).div_ceil(STRIDE) + 1;
        self.templates.clear();
        for row in 0..self.rows {
            let y = (row * STRIDE).min(last(plane.height)) as i32;
            self.templates.extend((0..self.columns).map(|column| {
                Patch::new(plane, (column * STRIDE).min(last(plane.width)) as i32, y)
            }));
        }
    }

    fn start(&mut self, coarser: Option<&Field>) {
        let centre = |first: i32| (first as f32 + (PATCH as f32 - 1.0) / 2.0 - 0.5) / 2.0;
        self.found.clear();
        self.found.extend(self.templates.iter().map(|patch| {
            let vector = coarser.map_or([0.0; 2], |field| {
                field.at(centre(patch.x), centre(patch.y)).map(|part| part * 2.0)
            });
            Found { vector, error: f32::MAX }
        }));
    }

    /// Takes over from the neighbours that were seen before in this round, and descends. Rounds
    /// go forwards and backwards in turn.
    fn round(&mut self, cpu: Cpu, b: &Plane, round: u32, steps: u32) {
        let count = self.templates.len();
        let forwards = round.is_multiple_of(2);
        for n in 0..count {
            let i = if forwards { n } else { count - 1 - n };
            let (column, row) = (i % self.columns, i / self.columns);
            let (left, right) = (column > 0, column + 1 < self.columns);
            let (above, below) = (row > 0, row + 1 < self.rows);
            let neighbours = if forwards {
                [
                    left.then(|| i - 1),
                    above.then(|| i - self.columns),
                    (above && right).then(|| i + 1 - self.columns),
                ]
            } else {
                [
                    right.then(|| i + 1),
                    below.then(|| i + self.columns),
                    (below && left).then(|| i + self.columns - 1),
                ]
            };
            let patch = &self.templates[i];
            let known = self.found[i];
            let first = round == 0;
            let mut fit = first.then(|| patch.fit(cpu, b, known.vector));
            let mut best = fit.as_ref().map_or(known, |fit| Found { error: fit.error, ..known });
            for neighbour in neighbours.into_iter().flatten() {
                let vector = self.found[neighbour].vector;
                let away = (vector[0] - best.vector[0]).abs() + (vector[1] - best.vector[1]).abs();
                if away > 0.1 {
                    let other = patch.fit(cpu, b, vector);
                    if other.error < best.error {
                        best = Found { vector, error: other.error };
                        fit = Some(other);
                    }
                }
            }
            if let Some(fit) = fit {
                best = descend(cpu, patch, b, best, fit.step, steps);
            }
            self.found[i] = best;
        }
    }

    /// The vectors of the cells: of the patches over each cell's centre, the nearer and the
    /// better fitting ones count more.
    fn spread(&self, field: &mut Field) {
        let half = (PATCH as f32 - 1.0) / 2.0;
        let reach = PATCH as f32 / 2.0;
        let span = |centre: f32, count: usize| {
            let first = ((centre - (PATCH - 1) as f32) / STRIDE as f32).ceil().max(0.0) as usize;
            let last = (centre / STRIDE as f32).max(0.0) as usize;
            let last = last.min(count - 1);
            first.min(last)..=last
        };
        for cell_y in 0..field.height {
            let (_, y) = field.centre(0, cell_y);
            for cell_x in 0..field.width {
                let (x, _) = field.centre(cell_x, 0);
                let (mut weights, mut sum) = (0.0, [0.0; 2]);
                for row in span(y, self.rows) {
                    for column in span(x, self.columns) {
                        let i = row * self.columns + column;
                        let (patch, found) = (&self.templates[i], &self.found[i]);
                        let near_x = (reach - (x - patch.x as f32 - half).abs()).max(0.1);
                        let near_y = (reach - (y - patch.y as f32 - half).abs()).max(0.1);
                        let weight = near_x * near_y / found.error.max(0.25);
                        weights += weight;
                        sum[0] += weight * found.vector[0];
                        sum[1] += weight * found.vector[1];
                    }
                }
                field.vectors[cell_y * field.width + cell_x] = sum.map(|part| part / weights);
            }
        }
    }
}

/// Follows the gradient from `best`, whose step is `step`.
fn descend(
    cpu: Cpu,
    patch: &Patch,
    b: &Plane,
    start: Found,
    mut step: Vector,
    steps: u32,
) -> Found {
    let mut best = start;
    let mut vector = start.vector;
    for _ in 0..steps {
        vector = [vector[0] + step[0], vector[1] + step[1]];
        let fit = patch.fit(cpu, b, vector);
        if fit.error < best.error {
            best = Found { vector, error: fit.error };
        } else if fit.error > best.error * WORSE + 0.25 {
            break;
        }
        let small = step[0] * step[0] + step[1] * step[1] < SMALL_STEP;
        step = fit.step;
        if small {
            break;
        }
    }
    let (dx, dy) = (best.vector[0] - start.vector[0], best.vector[1] - start.vector[1]);
    if dx * dx + dy * dy > (PATCH * PATCH) as f32 { start } else { best }
}
