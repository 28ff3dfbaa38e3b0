//! A picture's luma, smaller and smaller.
//!
//! Holds: a pixel of a level covers two by two of the finer one, so position `x` there is
//! `(x - 0.5) / 2` here. Every plane repeats its edge pixels [`PAD`] times around it, so that
//! whoever clamps a position to that needs no further check.

use crate::media::PlaneRef;
use crate::render::kernels::Cpu;
use crate::render::kernels::compare::Padded;

/// Pixels around a plane.
pub const PAD: usize = 32;

/// Levels whose smaller side is below this have no smaller one.
const SMALLEST: usize = 24;

#[derive(Clone, Debug, Default)]
pub struct Plane {
    pub width: usize,
    pub height: usize,
    pub stride: usize,
    pub data: Vec<u8>,
}

impl Plane {
    /// Where a pixel lies in `data`; up to [`PAD`] outside.
    pub fn at(&self, x: i32, y: i32) -> usize {
        let pad = PAD as i32;
        (y + pad) as usize * self.stride + (x + pad) as usize
    }

    pub fn padded(&self) -> Padded<'_> {
        let Plane { width, height, stride, ref data } = *self;
        Padded { data, stride, pad: PAD, width, height }
    }

    /// Gives it a size; what it shows is undefined then. Allocates only to grow.
    fn resize(&mut self, width: usize, height: usize) {
        (self.width, self.height) = (width, height);
        self.stride = width + 2 * PAD;
        self.data.resize(self.stride * (height + 2 * PAD), 0);
    }

    fn row_mut(&mut self, y: usize) -> &mut [u8] {
        let at = self.at(0, y as i32);
        &mut self.data[at..][..self.width]
    }

    /// Repeats the edge pixels.
    fn pad(&mut self) {
        let (stride, width) = (self.stride, self.width);
        for row in self.data.chunks_exact_mut(stride).skip(PAD).take(self.height) {
            let (first, last) = (row[PAD], row[PAD + width - 1]);
            row[..PAD].fill(first);
            row[PAD + width..].fill(last);
        }
        let (first, last) = (PAD * stride, (PAD + self.height - 1) * stride);
        for y in 0..PAD {
            self.data.copy_within(first..first + stride, y * stride);
            self.data.copy_within(last..last + stride, (PAD + self.height + y) * stride);
        }
    }

    /// The averages of `k` by `k` pixels of `source`, of fewer at its far edges.
    fn fill(&mut self, cpu: Cpu, source: PlaneRef, k: usize) {
        self.resize(source.width.div_ceil(k), source.height.div_ceil(k));
        let whole = source.width / k;
        for y in 0..self.height {
            let from = &source.data[y * k * source.stride..];
            let rows = k.min(source.height - y * k);
            let row = self.row_mut(y);
            if k == 1 {
                row.copy_from_slice(&from[..source.width]);
                continue;
            }
            let done = if rows == k { whole } else { 0 };
            if done > 0 {
                cpu.average(from, source.stride, k, &mut row[..done]);
            }
            for (x, to) in row.iter_mut().enumerate().skip(done) {
                let columns = k.min(source.width - x * k);
                let pixels = (0..rows).flat_map(|j| &from[j * source.stride + x * k..][..columns]);
                let sum: usize = pixels.map(|&p| usize::from(p)).sum();
                let area = rows * columns;
                *to = ((sum + area / 2) / area) as u8;
            }
        }
        self.pad();
    }

    fn halve(&mut self, cpu: Cpu, finer: &Plane) {
        // The finer one's padding makes its size even.
        let source = PlaneRef {
            data: &finer.data[finer.at(0, 0)..],
            stride: finer.stride,
            width: finer.width.next_multiple_of(2),
            height: finer.height.next_multiple_of(2),
        };
        self.fill(cpu, source, 2);
    }
}

#[derive(Clone, Debug, Default)]
pub struct Pyramid {
    /// The finest first; at least one.
    pub levels: Vec<Plane>,
}

impl Pyramid {
    /// Fills it from a plane of luma; the finest level is `1 << shift` times smaller.
    pub fn fill(&mut self, cpu: Cpu, luma: PlaneRef, shift: u32) {
        let mut count = 1;
        let mut smaller = (luma.width.min(luma.height) >> shift).max(1);
        while smaller >= SMALLEST {
            smaller = smaller.div_ceil(2);
            count += 1;
        }
        self.levels.resize_with(count, Plane::default);
        self.levels[0].fill(cpu, luma, 1 << shift);
        for level in 1..count {
            let (finer, coarser) = self.levels.split_at_mut(level);
            coarser[0].halve(cpu, &finer[level - 1]);
        }
    }

    /// How far the layout is the same, whatever the light: the correlation of the coarsest levels,
    /// from -1 to 1; near 0 if either has nothing to show.
    pub fn resemblance(&self, other: &Pyramid) -> f32 {
        let (Some(a), Some(b)) = (self.levels.last(), other.levels.last()) else { return 0.0 };
        let rows =
            |plane: &'_ Plane, y: usize| plane.at(0, y as i32)..plane.at(a.width as i32, y as i32);
        let pixels = (0..a.height).flat_map(|y| a.data[rows(a, y)].iter().zip(&b.data[rows(b, y)]));
        let (mut count, mut sums, mut squares, mut product) = (0.0, [0.0; 2], [0.0; 2], 0.0);
        for (&a, &b) in pixels {
            let pair = [f32::from(a), f32::from(b)];
            count += 1.0;
            for i in 0..2 {
                sums[i] += pair[i];
                squares[i] += pair[i] * pair[i];
            }
            product += pair[0] * pair[1];
        }
        let variance = |i: usize| (squares[i] - sums[i] * sums[i] / count).max(0.0);
        (product - sums[0] * sums[1] / count) / ((variance(0) * variance(1)).sqrt() + 1.0)
    }
}
