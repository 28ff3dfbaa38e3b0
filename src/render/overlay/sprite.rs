//! A small picture with alpha, in the form in which it is blended fastest.
//!
//! Holds: both sides are even, and it is laid on even pixels, so that a value of chroma covers the
//! same two by two pixels on both sides. Colours are not multiplied by alpha: what is solid arrives
//! exactly, what is clear leaves the picture exactly as it was, at any opacity.

use super::super::kernels::Cpu;
use crate::media::{FrameMut, PlaneMut};

/// A picture as it is drawn: red, green, blue (sRGB, multiplied by alpha) and alpha, each 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Bitmap {
    pub width: usize,
    pub height: usize,
    pub pixels: Vec<[f32; 4]>,
}

impl Bitmap {
    pub fn clear(width: usize, height: usize) -> Self {
        Bitmap { width, height, pixels: vec![[0.0; 4]; width * height] }
    }

    /// Lays `other` over this one with its upper left corner at `x`, `y`; what hangs over is cut.
    pub fn lay(&mut self, other: &Bitmap, x: usize, y: usize) {
        let rows = other.pixels.chunks_exact(other.width.max(1)).enumerate();
        for (row, pixels) in rows.take_while(|(row, _)| y + row < self.height) {
            let to = &mut self.pixels[(y + row) * self.width..][..self.width];
            for (to, over) in to.iter_mut().skip(x).zip(pixels) {
                *to = std::array::from_fn(|i| over[i] + to[i] * (1.0 - over[3]));
            }
        }
    }
}

/// A picture with alpha, ready to be blended.
#[derive(Clone, Debug, PartialEq)]
pub struct Sprite {
    width: usize,
    height: usize,
    luma: Vec<u8>,
    chroma: [Vec<u8>; 2],
    alpha: Vec<u8>,
    /// At the size of chroma.
    chroma_alpha: Vec<u8>,
    /// Of each pair of rows the first column with anything, and the one behind the last; even.
    spans: Vec<(usize, usize)>,
}

impl Sprite {
    /// From sRGB to BT.709, limited range.
    pub fn new(bitmap: &Bitmap) -> Self {
        let (width, height) = (bitmap.width.next_multiple_of(2), bitmap.height.next_multiple_of(2));
        let (half, halves) = (width / 2, height / 2);
        let mut sprite = Sprite {
            width,
            height,
            luma: vec![16; width * height],
            chroma: std::array::from_fn(|_| vec![128; half * halves]),
            alpha: vec![0; width * height],
            chroma_alpha: vec![0; half * halves],
            spans: vec![(width, 0); halves],
        };
        let byte = |x: f32| (x.clamp(0.0, 1.0) * 255.0).round() as u8;
        let straight = |[r, g, b, a]: [f32; 4]| {
            [r, g, b].map(|x| if a > 0.0 { (x / a).clamp(0.0, 1.0) } else { 0.0 })
        };
        let mut squares = vec![[0.0f32; 4]; half * halves];
        for (place, pixel) in bitmap.pixels.iter().enumerate() {
            let (x, y) = (place % bitmap.width, place / bitmap.width);
            let [r, g, b] = straight(*pixel);
            let at = y * width + x;
            sprite.luma[at] = (16.0 + 219.0 * luma(r, g, b)).round() as u8;
            sprite.alpha[at] = byte(pixel[3]);
            if sprite.alpha[at] > 0 {
                let span = &mut sprite.spans[y / 2];
                *span = (span.0.min(x / 2 * 2), span.1.max(x / 2 * 2 + 2));
            }
            let square = &mut squares[y / 2 * half + x / 2];
            *square = std::array::from_fn(|i| square[i] + pixel[i] / 4.0);
        }
        for (at, square) in squares.into_iter().enumerate() {
            let [r, g, b] = straight(square);
            let luma = luma(r, g, b);
            let value = |x: f32| (128.0 + 224.0 * x).round().clamp(16.0, 240.0) as u8;
            sprite.chroma[0][at] = value((b - luma) / 1.8556);
            sprite.chroma[1][at] = value((r - luma) / 1.5748);
            sprite.chroma_alpha[at] = byte(square[3]);
        }
        sprite
    }

    pub fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// Blends it into the picture with its middle at `at` (parts of the picture), but moved in so
    /// far that it is seen whole, and `margin` away from the edges, if it fits. Only what it covers is
    /// touched.
    pub(super) fn blend(
        &self,
        cpu: Cpu,
        at: (f32, f32),
        margin: usize,
        opacity: u16,
        out: &mut FrameMut,
    ) {
        let (left, skip_x) = place(at.0, self.width, out.y.width, margin);
        let (top, skip_y) = place(at.1, self.height, out.y.height, margin);
        for (pair, &(first, last)) in self.spans.iter().enumerate().skip(skip_y / 2) {
            let y = top + 2 * pair - skip_y;
            let first = first.max(skip_x);
            let last = last.min(skip_x + out.y.width.saturating_sub(left));
            if y >= out.y.height {
                break;
            }
            if first >= last {
                continue;
            }
            let x = left + first - skip_x;
            for row in 0..2.min(out.y.height - y) {
                let from = (2 * pair + row) * self.width;
                let (from, to) = (from + first, from + last);
                let (values, alpha) = (&self.luma[from..to], &self.alpha[from..to]);
                cpu.over(values, alpha, opacity, part(&mut out.y, y + row, x, last - first));
            }
            let from = pair * (self.width / 2);
            let (from, to) = (from + first / 2, from + last / 2);
            let alpha = &self.chroma_alpha[from..to];
            for (values, plane) in self.chroma.iter().zip([&mut out.u, &mut out.v]) {
                let to_row = part(plane, y / 2, x / 2, (last - first) / 2);
                cpu.over(&values[from..to], alpha, opacity, to_row);
            }
        }
    }
}

/// ITU-R BT.709.
fn luma(r: f32, g: f32, b: f32) -> f32 {
    0.2126 * r + 0.7152 * g + 0.0722 * b
}

fn part<'a>(plane: &'a mut PlaneMut, y: usize, x: usize, width: usize) -> &'a mut [u8] {
    &mut plane.data[y * plane.stride + x..][..width.min(plane.width.saturating_sub(x))]
}

/// Along one axis: where on the canvas something of this size begins, and how much of it is cut
/// off before that; both even.
fn place(middle: f32, size: usize, canvas: usize, margin: usize) -> (usize, usize) {
    let start = (middle * canvas as f32 - size as f32 / 2.0) as i64;
    let most = canvas as i64 - size as i64;
    let even = |x: i64| usize::try_from(x).unwrap_or(0) / 2 * 2;
    match most {
        0.. => {
            let margin = (margin as i64).min(most / 2);
            (even(start.clamp(margin, most - margin)), 0)
        }
        // Larger than the canvas: its middle shows.
        _ => (0, even(-most / 2)),
    }
}
