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
use super::smooth::Smoothing;
use crate::render::kernels::Cpu;
use crate::render::kernels::patch::{Fit, PATCH, Slope, Sought};

/// Pixels from one patch to the next; half a patch.
const STRIDE: usize = 4;
/// What a neighbour says is tried if it is further away than this, in pixels along x and y together:
/// what is nearer the descent finds by itself.
const OTHER: f32 = 0.5;

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
    smoothing: Smoothing,
    coarser: Field,
}

/// The patches of a level. Those at the far edges reach out into the padding.
#[derive(Default)]
struct Patches {
    columns: usize,
    rows: usize,
    /// Gradients of the picture, which lie as its pixels do.
    dx: Vec<i16>,
    dy: Vec<i16>,
    slopes: Vec<Slope>,
    found: Vec<Found>,
    /// Sums of gradients over squares of [`STRIDE`] pixels, of which a patch has two by two: of
    /// columns of a row of them, and the last two rows.
    along: Products<Vec<i32>>,
    squares: [Vec<Products<f32>>; 2],
    /// For `spread`: sums over a row of patches, and where the cells lie between these.
    sums: Vec<[f32; 3]>,
    between: Vec<Between>,
}

/// Of the gradients of a patch: dx, dy, dx², dx dy, dy².
type Products<T> = [T; 5];

#[derive(Clone, Copy)]
struct Found {
    vector: Vector,
    /// Mean square of the difference, without its mean.
    error: f32,
}

/// Cells that lie in two patches of a row or column: the first one's number, and their shares.
#[derive(Clone, Copy)]
struct Between {
    patches: [usize; 2],
    shares: [f32; 2],
}

/// The pictures of a search, and how they are compared.
#[derive(Clone, Copy)]
struct Pair<'a> {
    cpu: Cpu,
    a: &'a Plane,
    b: &'a Plane,
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
                self.patches.round(Pair { cpu, a, b }, round, effort.steps);
            }
            self.patches.smooth(&mut self.smoothing);
            let (field, cell) =
                if level == 0 { (&mut *field, cell) } else { (&mut self.coarser, 2) };
            field.cover(a.width, a.height, cell);
            self.patches.spread(field);
        }
    }
}

impl Patches {
    /// Lays the patches over a picture, and finds its gradients.
    fn place(&mut self, plane: &Plane) {
        let count = |size: usize| size.saturating_sub(PATCH).div_ceil(STRIDE) + 1;
        (self.columns, self.rows) = (count(plane.width), count(plane.height));
        let width = (self.columns + 1) * STRIDE;
        self.dx.resize(plane.data.len(), 0);
        self.dy.resize(plane.data.len(), 0);
        for along in &mut self.along {
            along.resize(width, 0);
        }
        self.slopes.clear();
        for row in 0..=self.rows {
            self.along.iter_mut().for_each(|along| along.fill(0));
            for y in row * STRIDE..(row + 1) * STRIDE {
                self.gradients(plane, y as i32, width);
            }
            self.squares.swap(0, 1);
            let [above, below] = &mut self.squares;
            below.clear();
            below.extend((0..=self.columns).map(|column| {
                self.along
                    .each_ref()
                    .map(|along| along[column * STRIDE..][..STRIDE].iter().sum::<i32>() as f32)
            }));
            if row > 0 {
                self.slopes.extend(above.windows(2).zip(below.windows(2)).map(|(above, below)| {
                    Slope::new(std::array::from_fn(|i| {
                        above[0][i] + above[1][i] + below[0][i] + below[1][i]
                    }))
                }));
            }
        }
    }

    /// Those of a row, and adds them to the sums.
    fn gradients(&mut self, plane: &Plane, y: i32, width: usize) {
        let at = plane.at(0, y);
        let row = |from: usize| &plane.data[from..from + width];
        let sides = row(at - 1).iter().zip(row(at + 1));
        let ends = row(at - plane.stride).iter().zip(row(at + plane.stride));
        let of = |(&before, &behind): (&u8, &u8)| i16::from(behind) - i16::from(before);
        let (dx, dy) = (&mut self.dx[at..at + width], &mut self.dy[at..at + width]);
        dx.iter_mut().zip(sides).for_each(|(dx, pair)| *dx = of(pair));
        dy.iter_mut().zip(ends).for_each(|(dy, pair)| *dy = of(pair));
        let [x, y, xx, xy, yy] = self.along.each_mut().map(|along| &mut along[..width]);
        for i in 0..width {
            let (dx, dy) = (i32::from(dx[i]), i32::from(dy[i]));
            x[i] += dx;
            y[i] += dy;
            xx[i] += dx * dx;
            xy[i] += dx * dy;
            yy[i] += dy * dy;
        }
    }

    fn start(&mut self, coarser: Option<&Field>) {
        let centre = |first: usize| (first as f32 + (PATCH as f32 - 1.0) / 2.0 - 0.5) / 2.0;
        self.found.clear();
        for row in 0..self.rows {
            self.found.extend((0..self.columns).map(|column| {
                let vector = coarser.map_or([0.0; 2], |field| {
                    let (x, y) = (centre(column * STRIDE), centre(row * STRIDE));
                    field.at(x, y).map(|part| part * 2.0)
                });
                Found { vector, error: f32::MAX }
            }));
        }
    }

    fn sought<'a>(&'a self, pair: Pair<'a>, i: usize, (column, row): (usize, usize)) -> Sought<'a> {
        let (x, y) = (column * STRIDE + PAD, row * STRIDE + PAD);
        let at = y * pair.a.stride + x;
        Sought {
            pixels: &pair.a.data[at..],
            dx: &self.dx[at..],
            dy: &self.dy[at..],
            slope: self.slopes[i],
            from: [x as f32, y as f32],
            other: pair.b.padded(),
        }
    }

    /// Takes over from the neighbours that were seen before in this round, and descends. Rounds
    /// go forwards and backwards in turn.
    fn round(&mut self, pair: Pair, round: u32, steps: u32) {
        let count = self.found.len();
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
            let sought = self.sought(pair, i, (column, row));
            let known = self.found[i];
            let first = round == 0;
            let mut fit = first.then(|| pair.cpu.fit(&sought, known.vector));
            let mut best: Found = fit.map_or(known, |fit: Fit| Found { error: fit.error, ..known });
            for neighbour in neighbours.into_iter().flatten() {
                let vector = self.found[neighbour].vector;
                let away = (vector[0] - best.vector[0]).abs() + (vector[1] - best.vector[1]).abs();
                if away > OTHER {
                    let other = pair.cpu.fit(&sought, vector);
                    if other.error < best.error {
                        best = Found { vector, error: other.error };
                        fit = Some(other);
                    }
                }
            }
            if let Some(fit) = fit {
                let (vector, error) = pair.cpu.descend(&sought, best.vector, fit, steps);
                best = Found { vector, error };
            }
            self.found[i] = best;
        }
    }

    fn smooth(&mut self, smoothing: &mut Smoothing) {
        smoothing.begin(self.columns);
        for (found, slope) in self.found.iter().zip(&self.slopes) {
            smoothing.push(found.vector, found.error, slope.hessian());
        }
        smoothing.end(|i, vector| self.found[i].vector = vector);
    }

    /// The vectors of the cells: of the patches over each cell's centre, the nearer and the
    /// better fitting ones count more.
    fn spread(&mut self, field: &mut Field) {
        let between = |cell: usize, cell_px: usize, count: usize| {
            let centre = cell as f32 * cell_px as f32 + (cell_px as f32 - 1.0) / 2.0;
            let second = ((centre / STRIDE as f32) as usize).min(count - 1);
            let patches = [second.saturating_sub(1), second];
            let shares = patches.map(|patch| {
                let middle = (patch * STRIDE) as f32 + (PATCH as f32 - 1.0) / 2.0;
                (PATCH as f32 / 2.0 - (centre - middle).abs()).max(0.1)
            });
            Between { patches, shares }
        };
        self.between.clear();
        self.between.extend((0..field.width).map(|x| between(x, field.cell, self.columns)));
        for (y, cells) in field.vectors.chunks_exact_mut(field.width).enumerate() {
            let Between { patches, shares } = between(y, field.cell, self.rows);
            let row = |n: usize| &self.found[patches[n] * self.columns..][..self.columns];
            self.sums.clear();
            self.sums.extend(row(0).iter().zip(row(1)).map(|(above, below)| {
                let weight = |n: usize, found: &Found| shares[n] / found.error.max(0.25);
                let (upper, lower) = (weight(0, above), weight(1, below));
                [
                    upper * above.vector[0] + lower * below.vector[0],
                    upper * above.vector[1] + lower * below.vector[1],
                    upper + lower,
                ]
            }));
            for (cell, Between { patches, shares }) in cells.iter_mut().zip(&self.between) {
                let (one, other) = (&self.sums[patches[0]], &self.sums[patches[1]]);
                let [x, y, weights] =
                    std::array::from_fn(|i| shares[0] * one[i] + shares[1] * other[i]);
                *cell = [x / weights, y / weights];
            }
        }
    }
}
