//! Softness: a picture made small, blurred there and made large again. Blur, bloom and the glow of
//! edges are made of it.
//!
//! Holds: nothing is allocated once a size has been seen.

use super::super::geometry::{Geometry, Span};
use super::super::kernels::Cpu;
use super::super::scale::Scaler;
use super::super::{resize, row_mut};
use crate::media::{Frame, FrameMut, PlaneMut};

/// Pixels to each side that count in the widest blur.
const REACH: usize = 30;

pub struct Soft {
    cpu: Cpu,
    scaler: Scaler,
    pub small: Frame,
    other: Frame,
    sum: Vec<u16>,
    row: Vec<u8>,
}

impl Soft {
    pub fn new(cpu: Cpu) -> Self {
        let [small, other] = [Frame::black(0, 0), Frame::black(0, 0)];
        Soft { cpu, scaler: Scaler::new(cpu), small, other, sum: Vec::new(), row: Vec::new() }
    }

    /// For pictures of `size` made `k` times smaller.
    pub fn make_room(&mut self, size: (u32, u32), k: u32) {
        let small = smaller(size, k);
        resize(&mut self.small, small);
        resize(&mut self.other, small);
        let row = small.0 as usize + 2 * REACH;
        self.row.resize(row.max(self.row.len()), 0);
        self.sum.resize(row.max(self.sum.len()), 0);
        let geometry = growing(size, k);
        self.scaler.set(geometry, geometry);
    }

    /// Takes a picture in, every `k` by `k` pixels as one.
    pub fn shrink(&mut self, from: &Frame, k: u32) {
        self.make_room((from.width, from.height), k);
        let k = k as usize;
        let from = from.as_ref();
        let to = self.small.as_mut();
        for (from, mut to) in [(from.y, to.y), (from.u, to.u), (from.v, to.v)] {
            let whole = (from.width / k).min(to.width);
            for y in 0..to.height {
                let row = row_mut(&mut to, y);
                let top = (y * k).min(from.height.saturating_sub(k));
                if whole == 0 || from.height < k {
                    row.fill(from.data[top * from.stride]);
                    continue;
                }
                let (exact, rest) = row.split_at_mut(whole);
                self.cpu.average(&from.data[top * from.stride..], from.stride, k, exact);
                rest.fill(exact[whole - 1]);
            }
        }
    }

    /// Blurs the small picture: `sigma` in its pixels, of a Gaussian.
    pub fn blur(&mut self, sigma: f32) {
        let (weights, reach) = gaussian(sigma);
        if reach == 0 {
            return;
        }
        let (from, to) = (self.small.as_mut(), self.other.as_mut());
        let planes = [(from.y, to.y, 1), (from.u, to.u, 2), (from.v, to.v, 2)];
        for (mut small, mut other, halved) in planes {
            // Chroma is as far as luma in half as many pixels.
            let (weights, reach) = match halved {
                1 => (weights, reach),
                _ => gaussian(sigma / 2.0),
            };
            let width = small.width;
            let sum = &mut self.sum[..width];
            let row = &mut self.row[..width + 2 * reach];
            for y in 0..small.height {
                let from = row_mut(&mut small, y);
                row[..reach].fill(from[0]);
                row[reach..][..width].copy_from_slice(from);
                row[reach + width..].fill(from[width - 1]);
                sum.fill(0);
                self.cpu.weigh(sum, &row[reach..], weights[0]);
                for (k, &weight) in (1..=reach).zip(&weights[1..]) {
                    self.cpu.weigh_two(sum, &row[reach - k..], &row[reach + k..], weight);
                }
                self.cpu.weighed(sum, row_mut(&mut other, y));
            }
            for y in 0..small.height {
                sum.fill(0);
                let line = |y: usize| &other.data[y * other.stride..][..width];
                self.cpu.weigh(sum, line(y), weights[0]);
                for (k, &weight) in (1..=reach).zip(&weights[1..]) {
                    let below = (y + k).min(small.height - 1);
                    self.cpu.weigh_two(sum, line(y.saturating_sub(k)), line(below), weight);
                }
                self.cpu.weighed(sum, row_mut(&mut small, y));
            }
        }
    }

    /// Makes the small picture `k` times as large, into one of the size that was shrunk.
    pub fn grow(&mut self, k: u32, out: &mut FrameMut) {
        let geometry = growing((out.y.width as u32, out.y.height as u32), k);
        self.scaler.set(geometry, geometry);
        self.scaler.scale(self.small.as_ref(), out);
    }

    /// Luma of the small picture, and its chroma.
    pub fn planes(&mut self) -> [PlaneMut<'_>; 3] {
        let small = self.small.as_mut();
        [small.y, small.u, small.v]
    }
}

fn smaller((width, height): (u32, u32), k: u32) -> (u32, u32) {
    ((width / k).max(1), (height / k).max(1))
}

fn growing((width, height): (u32, u32), k: u32) -> Geometry {
    let span = |px: u32| Span {
        source_start: 0.0,
        source_len: f64::from(px) / f64::from(k),
        start: 0,
        size: px as usize,
    };
    let source = smaller((width, height), k);
    Geometry { source, canvas: (width, height), x: span(width), y: span(height) }
}

/// One half of a Gaussian, the middle first; both halves sum to 256. And how far it reaches.
fn gaussian(sigma: f32) -> ([u16; REACH + 1], usize) {
    let mut weights = [0; REACH + 1];
    let weight = |k: usize| (-0.5 * (k as f32 / sigma).powi(2)).exp();
    let reach = if sigma > 0.1 { ((sigma * 2.6).ceil() as usize).min(REACH) } else { 0 };
    let sum: f32 = 1.0 + 2.0 * (1..=reach).map(weight).sum::<f32>();
    // What rounding takes from one goes to the next.
    let (mut exact, mut given) = (0.0, 0);
    for k in (1..=reach).rev() {
        exact += 256.0 * weight(k) / sum;
        weights[k] = exact.round() as u16 - given;
        given += weights[k];
    }
    weights[0] = 256 - 2 * given;
    (weights, reach)
}
