//! How alike two frames are along the motion between them, cell by cell.

use super::pyramid::Plane;
use crate::media::Motion;
use crate::render::kernels::Cpu;
use crate::render::kernels::compare::CellsAt;

/// The level of both pictures on which cells are compared.
#[derive(Clone, Copy)]
pub struct Level<'a> {
    pub cpu: Cpu,
    pub a: &'a Plane,
    pub b: &'a Plane,
    /// Its pixels along the edge of a cell, and how many times it is halved.
    pub cell: usize,
    pub shift: u32,
}

/// Of each cell the mean difference of the first less the second picture, and its mean square.
#[derive(Default)]
pub struct Likeness {
    pub mean: Vec<f32>,
    pub square: Vec<f32>,
    row: [Vec<i32>; 2],
}

impl Likeness {
    /// `vectors`: the motion of each cell half-way, in reading order of a grid `width` cells wide.
    pub fn measure(&mut self, level: Level, width: usize, vectors: &[[i16; 2]]) {
        self.mean.resize(vectors.len(), 0.0);
        self.square.resize(vectors.len(), 0.0);
        for row in 0..vectors.len() / width {
            self.measure_row(level, width, vectors, row);
        }
    }

    /// One row of that; the others stay as they are.
    pub fn measure_row(&mut self, level: Level, width: usize, vectors: &[[i16; 2]], row: usize) {
        let Level { cpu, a, b, cell, shift } = level;
        let [sums, squares] = &mut self.row;
        sums.resize(width, 0);
        squares.resize(width, 0);
        // Of larger cells the middle.
        let first = (cell - 2) / 2;
        let own = row * width..(row + 1) * width;
        let vectors = &vectors[own.clone()];
        let cells = CellsAt { first, step: cell, y: row * cell + first, vectors, shift };
        cpu.compare((a.padded(), b.padded()), cells, sums, squares);
        // Of four pixels, in 32nds of a level.
        let (mean, square) = (&mut self.mean[own.clone()], &mut self.square[own]);
        mean.iter_mut().zip(sums).for_each(|(mean, sum)| *mean = *sum as f32 / 128.0);
        square.iter_mut().zip(squares).for_each(|(square, sum)| *square = *sum as f32 / 4096.0);
    }

    /// Takes out what differences have in common: `light` of each cell.
    pub fn without(&mut self, light: &[f32]) {
        for ((square, mean), light) in self.square.iter_mut().zip(&self.mean).zip(light) {
            *square = (*square + light * (light - 2.0 * mean)).max(0.0);
        }
    }
}

/// Whether a cell comes from inside both frames; `at`: its column and row.
pub fn inside(level: Level, at: (usize, usize), [dx, dy]: [i16; 2]) -> bool {
    // Its middle, half a vector and the edge, in one fraction of a pixel.
    let one = i32::from(Motion::ONE_PX) << level.shift;
    let inside = |at: usize, along: i16, size: usize| {
        let middle = one * (2 * at + 1) as i32 * level.cell as i32;
        let along = i32::from(along).abs();
        middle >= along && middle + along <= 2 * one * size as i32
    };
    inside(at.0, dx, level.a.width) && inside(at.1, dy, level.a.height)
}

/// Averages each value with those up to `reach` away to each side.
pub fn blur(values: &mut [f32], width: usize, reach: usize, scratch: &mut Vec<f32>) {
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
