//! Fine lines of light along the currents, and sparks.
//!
//! Holds: everything is added to a plane of light with soft edges, nothing is aliased.

use super::flow::{Sheet, Velocity};
use super::noise::{Lattice, Rng, hash, smoothstep};
use super::paint::Node;
use super::style::Style;

/// A plane of light to draw on.
struct Plane<'a> {
    data: &'a mut [f32],
    width: usize,
}

impl Plane<'_> {
    /// Adds a dot of one pixel, spread over the four that it touches. Coordinates in pixels.
    #[inline]
    fn dot(&mut self, x: f32, y: f32, light: f32) {
        if x < 0.0 || y < 0.0 {
            return;
        }
        let (xi, yi) = (x as usize, y as usize);
        let i = yi * self.width + xi;
        if xi + 1 >= self.width || i + self.width + 1 >= self.data.len() {
            return;
        }
        let (fx, fy) = (x - xi as f32, y - yi as f32);
        let (top, bottom) = (light * (1.0 - fy), light * fy);
        self.data[i] += top * (1.0 - fx);
        self.data[i + 1] += top * fx;
        self.data[i + self.width] += bottom * (1.0 - fx);
        self.data[i + self.width + 1] += bottom * fx;
    }
}

fn lit(sheet: &Sheet, nodes: &[Node], x: f32, y: f32) -> f32 {
    let scale = sheet.height / sheet.step as f32;
    let column = ((x * scale).max(0.0) as usize).min(sheet.columns - 1);
    let row = ((y * scale).max(0.0) as usize).min(sheet.rows - 1);
    nodes[row * sheet.columns + column].lit
}

/// Draws ribbons of strands: each strand starts a little beside the one before it and follows the
/// currents, so that a ribbon folds and gathers like a veil.
pub fn draw(
    style: &Style,
    seed: u32,
    sheet: &Sheet,
    velocity: &Velocity,
    nodes: &[Node],
    width: usize,
    plane: &mut [f32],
) {
    let mut rng = Rng::new(hash(seed, 41));
    let wisp = Lattice::new(4, hash(seed, 42), 0.0);
    let mut plane = Plane { data: plane, width };
    let ribbons = 3 + (9.0 * style.threads + 3.0 * style.silk) as u32;
    // Dots, closer than they are wide, over four pixels of a picture 576 high.
    const DOTS: u32 = 3;
    let stride = 4.0 / 576.0 / DOTS as f32;
    for _ in 0..ribbons {
        let strands = 36 + (rng.unit() * 50.0) as u32;
        // Ribbons start where there is light.
        let mut start = [0.0, 0.0];
        for _ in 0..6 {
            start = [rng.unit() * sheet.aspect, 0.08 + 0.84 * rng.unit()];
            if lit(sheet, nodes, start[0], start[1]) > 0.35 {
                break;
            }
        }
        let across = rng.unit() * std::f32::consts::TAU;
        let spacing = (0.0016 + 0.0042 * rng.unit()) * (1.25 - 0.5 * style.detail);
        let bend = 0.4 * rng.signed();
        let strength = (0.05 + 0.11 * style.threads) * (0.5 + 0.8 * rng.unit());
        let twist = 0.3 + 0.7 * rng.unit();
        let steps = 65 + (rng.unit() * 75.0) as u32;
        for strand in 0..strands {
            let s = strand as f32 / strands as f32;
            let angle = across + bend * s * 4.0;
            let offset = (s - 0.5) * strands as f32 * spacing;
            let mut x = start[0] + angle.cos() * offset;
            let mut y = start[1] + angle.sin() * offset;
            // Some strands of a ribbon shine, most only tint.
            let fibre = 0.35 + 0.65 * wisp.at(strand as f32 * 0.37, start[0] * 7.0).abs() * 2.2;
            let rim = smoothstep(0.0, 0.2, s) * smoothstep(1.0, 0.7, s) + 0.25;
            for step in 0..steps {
                let t = step as f32 / steps as f32;
                let [vx, vy] = velocity.at(x, y);
                let lift = twist * wisp.at(x * 2.1 + s * 0.9, y * 2.1 + t * 0.7);
                let (dx, dy) = (vx - lift * vy, vy + lift * vx);
                let length = (dx * dx + dy * dy).sqrt().max(0.05);
                // In the eye of a whirl all strands would meet.
                let fade = smoothstep(0.1, 0.45, length);
                let fade = fade * smoothstep(0.0, 0.25, t) * smoothstep(1.0, 0.55, t);
                let light = strength * fibre * rim * fade * 2.0 / DOTS as f32;
                let (dx, dy) = (dx / length * stride, dy / length * stride);
                for _ in 0..DOTS {
                    x += dx;
                    y += dy;
                    plane.dot(x * sheet.height, y * sheet.height, light);
                }
            }
        }
    }
}

/// Strews sparks with short tails along the currents, and stars.
pub fn sparks(
    style: &Style,
    seed: u32,
    sheet: &Sheet,
    velocity: &Velocity,
    nodes: &[Node],
    width: usize,
    plane: &mut [f32],
) {
    let mut rng = Rng::new(hash(seed, 51));
    let mut plane = Plane { data: plane, width };
    let unit = sheet.height / 576.0;
    let amount = sheet.aspect / 1.78;
    for _ in 0..(style.sparks * 260.0 * amount) as u32 {
        let (x, y) = (rng.unit() * sheet.aspect, rng.unit());
        let size = 0.5 + 2.2 * rng.unit().powi(5);
        let light = (0.35 + 1.6 * rng.unit().powi(3)) * size;
        // In swarms: more of them where the picture is lit.
        if rng.unit() > 0.2 + lit(sheet, nodes, x, y) {
            continue;
        }
        let [vx, vy] = velocity.at(x, y);
        let length = (vx * vx + vy * vy).sqrt().max(0.05);
        let tail = (6.0 + 22.0 * rng.unit().powi(2)) * size * unit;
        let dots = 3 + (tail * 1.5) as u32;
        for i in 0..dots {
            let t = i as f32 / dots as f32;
            let along = tail * t;
            let px = x * sheet.height - vx / length * along;
            let py = y * sheet.height - vy / length * along;
            plane.dot(px, py, light * (1.0 - t) * (1.0 - t) * 0.55);
        }
        disc(&mut plane, x * sheet.height, y * sheet.height, size * 0.8 * unit, light);
    }
    for _ in 0..(style.stars * 700.0 * amount) as u32 {
        let (x, y) = (rng.unit() * sheet.aspect, rng.unit());
        let size = 0.25 + 0.9 * rng.unit().powi(9);
        let light = 0.15 + 1.1 * rng.unit().powi(4);
        disc(&mut plane, x * sheet.height, y * sheet.height, size * unit, light);
    }
}

/// A soft round dot; `radius` in pixels.
fn disc(plane: &mut Plane, x: f32, y: f32, radius: f32, light: f32) {
    let reach = (radius * 2.0).ceil() as i32;
    let falloff = 1.0 / (radius * radius).max(0.2);
    for dy in -reach..=reach {
        for dx in -reach..=reach {
            let d = (dx * dx + dy * dy) as f32 * falloff;
            if d < 4.0 {
                plane.dot(x + dx as f32, y + dy as f32, light * (1.0 - d / 4.0).powi(3));
            }
        }
    }
}
