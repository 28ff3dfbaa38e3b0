//! What is done to the pixels of a picture where they are: blocks instead of pixels, colours that
//! drift apart, outlines.
//!
//! Holds: nothing is allocated once a size has been seen.

use super::super::kernels::Cpu;
use super::super::row_mut;
use crate::media::{Frame, PlaneMut};

/// Blocks, at most so much of the height.
const LARGEST_BLOCK: f32 = 1.0 / 8.0;
/// Colours drift at most by so much of the width.
const SPLIT: f32 = 0.022;

/// Rows to work in.
pub struct Pixels {
    cpu: Cpu,
    /// Sums of one row of blocks, and where they end.
    sums: Vec<u32>,
    ends: Vec<usize>,
    /// A row with what lies beyond its ends; or three with one pixel of that.
    long: Vec<u8>,
    /// Rows of two pairs of luma, and of two of chroma, that come from elsewhere.
    rows: [Vec<u8>; 6],
    /// What their chroma adds to luma, and the same for every pixel.
    light: Vec<i16>,
    lights: Vec<i16>,
}

impl Pixels {
    pub fn new(cpu: Cpu) -> Self {
        Pixels {
            cpu,
            sums: Vec::new(),
            ends: Vec::new(),
            long: Vec::new(),
            rows: [const { Vec::new() }; 6],
            light: Vec::new(),
            lights: Vec::new(),
        }
    }

    pub fn make_room(&mut self, (width, _): (u32, u32)) {
        let width = width as usize;
        // No more blocks than pixels.
        self.sums.reserve((width + 1).saturating_sub(self.sums.len()));
        self.ends.reserve((width + 1).saturating_sub(self.ends.len()));
        let long = (width + 2 * beyond(width)).max(3 * (width + 2));
        self.long.resize(long.max(self.long.len()), 0);
        self.light.resize(width.max(self.light.len()), 0);
        self.lights.resize(width.max(self.lights.len()), 0);
        for row in &mut self.rows {
            row.resize(width.max(row.len()), 0);
        }
    }

    /// Every block becomes the mean of its pixels.
    pub fn pixelate(&mut self, amount: f32, frame: &mut Frame) {
        let (width, height) = (frame.width as f32, frame.height as f32);
        // Equal steps of the amount make blocks larger by the same factor.
        let size = (height * LARGEST_BLOCK).max(1.0).powf(amount);
        if size < 1.01 {
            return;
        }
        let frame = frame.as_mut();
        for (mut plane, scale) in [(frame.y, 1.0), (frame.u, 0.5), (frame.v, 0.5)] {
            self.blocks(&mut plane, size * scale, [width * scale, height * scale]);
        }
    }

    fn blocks(&mut self, plane: &mut PlaneMut, size: f32, [width, height]: [f32; 2]) {
        // The middle of the picture is the middle of a block.
        let end = |from: usize, middle: f32, len: usize| {
            let index = ((from as f32 + 0.5 - middle) / size + 0.5).floor();
            let end = ((index + 0.5) * size + middle).round() as usize;
            end.clamp(from + 1, len)
        };
        self.ends.clear();
        let mut at = 0;
        while at < plane.width {
            at = end(at, width / 2.0, plane.width);
            self.ends.push(at);
        }
        let mut top = 0;
        while top < plane.height {
            let bottom = end(top, height / 2.0, plane.height);
            self.sums.clear();
            self.sums.resize(self.ends.len(), 0);
            for y in top..bottom {
                let row = &plane.data[y * plane.stride..][..plane.width];
                let mut from = 0;
                for (sum, &to) in self.sums.iter_mut().zip(&self.ends) {
                    *sum += row[from..to].iter().map(|&p| u32::from(p)).sum::<u32>();
                    from = to;
                }
            }
            let first = row_mut(plane, top);
            let mut from = 0;
            for (&sum, &to) in self.sums.iter().zip(&self.ends) {
                let count = ((to - from) * (bottom - top)) as u32;
                first[from..to].fill(((sum + count / 2) / count) as u8);
                from = to;
            }
            let (start, stride) = (top * plane.stride, plane.stride);
            for y in top + 1..bottom {
                plane.data.copy_within(start..start + plane.width, y * stride);
            }
            top = bottom;
        }
    }

    /// Red drifts to the right, blue to the left, in light: what was white shows both at its edges.
    pub fn split(&mut self, amount: f32, frame: &mut Frame) {
        let px = amount * SPLIT * frame.width as f32;
        let (cpu, frame) = (self.cpu, frame.as_mut());
        let (mut luma, mut u, mut v) = (frame.y, frame.u, frame.v);
        let (width, half) = (luma.width, u.width);
        let [reds_a, reds_b, blues_a, blues_b, cb, cr] = &mut self.rows;
        let (long, light) = (&mut self.long, &mut self.light[..half]);
        let lights = &mut self.lights[..width];
        let mut moved = |row: &[u8], px: f32, out: &mut [u8]| {
            // A row that is mirrored at its ends, from `beyond` before it.
            let (n, beyond) = (row.len(), beyond(row.len()));
            let long = &mut long[..n + 2 * beyond];
            long[beyond..][..n].copy_from_slice(row);
            for k in 0..beyond {
                long[beyond - 1 - k] = row[k.min(n - 1)];
                long[beyond + n + k] = row[n - 1 - k.min(n - 1)];
            }
            let at = beyond as f32 - px;
            let from = (at.floor().max(0.0) as usize).min(2 * beyond - 1);
            let part = ((at - from as f32) * 64.0).round().clamp(0.0, 64.0) as i16;
            cpu.shift(&long[from..], part, &mut out[..n]);
        };
        for y in 0..u.height {
            let (above, below) = (2 * y, (2 * y + 1).min(luma.height - 1));
            moved(row_mut(&mut luma, above), px, reds_a);
            moved(row_mut(&mut luma, below), px, reds_b);
            moved(row_mut(&mut luma, above), -px, blues_a);
            moved(row_mut(&mut luma, below), -px, blues_b);
            let (u, v) = (row_mut(&mut u, y), row_mut(&mut v, y));
            moved(u, -px / 2.0, cb);
            moved(v, px / 2.0, cr);
            let (cb, cr) = (&mut cb[..half], &mut cr[..half]);
            cpu.split_light([u, cb], [v, cr], light);
            cpu.twice(light, lights);
            cpu.split_luma(row_mut(&mut luma, above), reds_a, blues_a, lights);
            if below != above {
                cpu.split_luma(row_mut(&mut luma, below), reds_b, blues_b, lights);
            }
            let line = |y: usize| &luma.data[y * luma.stride..][..width];
            let here = [line(above), line(below)];
            // 1 / 1.8556 and 1 / 1.5748, times 224/219.
            cpu.split_colour(cb, [&blues_a[..width], &blues_b[..width]], here, 2258);
            cpu.split_colour(cr, [&reds_a[..width], &reds_b[..width]], here, 2660);
            u.copy_from_slice(cb);
            v.copy_from_slice(cr);
        }
    }

    /// Draws the outlines of `from` into `to`: with 1 on black, with less over the picture.
    pub fn outline(&mut self, amount: f32, from: &Frame, to: &mut Frame) {
        let share_q8 = (amount * 256.0).round() as i16;
        let cpu = self.cpu;
        let (width, height) = (from.width as usize, from.height as usize);
        let mut to = to.as_mut();
        let padded = &mut self.long[..3 * (width + 2)];
        let edges = &mut self.rows[0][..width];
        let pad = |y: usize, row: &mut [u8]| {
            let line = &from.y[y * width..][..width];
            row[0] = line[0];
            row[1..=width].copy_from_slice(line);
            row[width + 1] = line[width - 1];
        };
        for y in 0..height {
            for (n, row) in padded.chunks_exact_mut(width + 2).enumerate() {
                pad((y + n).saturating_sub(1).min(height - 1), row);
            }
            let (first, rest) = padded.split_at(width + 2);
            let (second, third) = rest.split_at(width + 2);
            cpu.steepness([first, second, third], 14, 26, edges);
            let line = row_mut(&mut to.y, y);
            line.copy_from_slice(&from.y[y * width..][..width]);
            cpu.outline(line, edges, share_q8);
            if y % 2 == 0 {
                let half = width.div_ceil(2);
                for (from, to) in [(&from.u, &mut to.u), (&from.v, &mut to.v)] {
                    let line = row_mut(to, y / 2);
                    line.copy_from_slice(&from[y / 2 * half..][..half]);
                    cpu.outline_chroma(line, edges, share_q8);
                }
            }
        }
    }
}

/// Pixels beyond the ends of a row of `width` that may be needed.
fn beyond(width: usize) -> usize {
    (width as f32 * SPLIT) as usize + 2
}
