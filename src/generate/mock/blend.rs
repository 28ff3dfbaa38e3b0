//! One picture grown out of another: how a painting takes over from what was there.
//!
//! Holds: a painting replaces shape by shape, not all at once: mixing two pictures evenly would
//! grey both.

use image::RgbImage;

use super::flow::Sheet;
use super::noise::{lerp, smoothstep};
use super::paint::Painting;

/// For every rank in [`Painting::reveal`] how much of the painting shows, 0 to 256, when it has
/// replaced the share `coverage` of the other picture.
pub fn takeover(coverage: f32) -> [i16; 256] {
    const SOFT: f32 = 0.3;
    let front = coverage.clamp(0.0, 1.0) * (1.0 + SOFT);
    std::array::from_fn(|rank| {
        let ahead = (front - rank as f32 / 255.0) / SOFT;
        (256.0 * smoothstep(0.0, 1.0, ahead)).round() as i16
    })
}

/// Repaints `init`: at `strength` 0 it stays, at 1 only the painting is left. What stays of it
/// leans towards the colours of the painting, but keeps its lights.
pub fn repaint(init: &RgbImage, painting: &Painting, strength: f32) -> RgbImage {
    let (width, height) = init.dimensions();
    let weights = takeover(strength.powf(1.15));
    let tint = tint(init, &painting.rgb);
    let sheet = Sheet::new(width as usize, height as usize, 16);
    let mut picture = init.clone();
    let row_bytes = 3 * width as usize;
    let new = painting.rgb.chunks_exact(row_bytes);
    let reveal = painting.reveal.chunks_exact(width as usize);
    let mut line = vec![[0.0f32; 3]; sheet.columns];
    for (y, ((row, new), reveal)) in
        picture.chunks_exact_mut(row_bytes).zip(new).zip(reveal).enumerate()
    {
        let gy = y as f32 / height as f32 * (GRID.1 - 1) as f32;
        for (i, l) in line.iter_mut().enumerate() {
            let gx = (i * sheet.step) as f32 / width as f32 * (GRID.0 - 1) as f32;
            *l = between(&tint, gx, gy).map(|t| t * strength);
        }
        let pixels = row.chunks_exact_mut(3).zip(new.chunks_exact(3)).zip(reveal);
        for (x, ((p, n), &rank)) in pixels.enumerate() {
            let (a, b) = (&line[x / 16], &line[x / 16 + 1]);
            let t = (x % 16) as f32 / 16.0;
            // Dark places have little colour to change.
            let light = (i32::from(p[0]) + 2 * i32::from(p[1]) + i32::from(p[2])) as f32 / 400.0;
            let weight = i32::from(weights[rank as usize]);
            for k in 0..3 {
                let old = f32::from(p[k]) + lerp(a[k], b[k], t) * light.min(1.3);
                let old = old.clamp(0.0, 255.0) as i32;
                p[k] = (old + (((i32::from(n[k]) - old) * weight + 128) >> 8)) as u8;
            }
        }
    }
    picture
}

/// Columns and rows of the tint.
const GRID: (u32, u32) = (24, 14);

/// The broad difference in colour, lightness left out.
fn tint(from: &RgbImage, to: &RgbImage) -> Vec<[f32; 3]> {
    let small = |p| shrink(p, GRID.0 as usize, GRID.1 as usize);
    small(from)
        .iter()
        .zip(small(to))
        .map(|(a, b)| {
            let d = [0, 1, 2].map(|k| b[k] - a[k]);
            let luma = 0.2126 * d[0] + 0.7152 * d[1] + 0.0722 * d[2];
            d.map(|d| d - luma)
        })
        .collect()
}

fn between(grid: &[[f32; 3]], x: f32, y: f32) -> [f32; 3] {
    let (columns, rows) = (GRID.0 as usize, GRID.1 as usize);
    let (xi, yi) = ((x as usize).min(columns - 2), (y as usize).min(rows - 2));
    let (fx, fy) = ((x - xi as f32).min(1.0), (y - yi as f32).min(1.0));
    let at = |dx: usize, dy: usize| grid[(yi + dy) * columns + xi + dx];
    std::array::from_fn(|k| {
        lerp(lerp(at(0, 0)[k], at(1, 0)[k], fx), lerp(at(0, 1)[k], at(1, 1)[k], fx), fy)
    })
}

/// The mean colours of `columns` by `rows` fields of a picture, 0 to 255. Every second pixel counts.
pub fn shrink(picture: &RgbImage, columns: usize, rows: usize) -> Vec<[f32; 3]> {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let mut out = Vec::with_capacity(columns * rows);
    for row in 0..rows {
        let top = row * height / rows;
        let bottom = ((row + 1) * height / rows).max(top + 1);
        for column in 0..columns {
            let left = column * width / columns;
            let right = ((column + 1) * width / columns).max(left + 1);
            let (mut sum, mut count) = ([0u32; 3], 0);
            for y in (top..bottom).step_by(2) {
                let line = &picture.as_raw()[(y * width + left) * 3..(y * width + right) * 3];
                for p in line.chunks_exact(3).step_by(2) {
                    for k in 0..3 {
                        sum[k] += u32::from(p[k]);
                    }
                    count += 1;
                }
            }
            out.push(sum.map(|s| s as f32 / count as f32));
        }
    }
    out
}
