//! The painter of stills.
//!
//! Coordinates are carried along the currents, as dye is in water, and simple patterns are looked
//! up where they end: the stretching makes filaments of them. Patterns of several materials give a
//! relief and a brightness; the relief is lit; strands are drawn along the currents; colour comes
//! from a table of hue and brightness; light spreads from bright places.
//!
//! Holds: smooth things are computed at the nodes of a [`Sheet`], only patterns at every pixel.
//! One thread.

use image::RgbImage;

use super::flow::{Currents, Journey, Sheet, Velocity};
use super::light::{Colours, bloom};
use super::noise::{Lattice, Rng, TILE, Tile, floor, hash, lerp, smoothstep, tiles};
use super::strands;
use super::style::Style;

/// Pixels between nodes.
const STEP: usize = 4;

/// A picture to be kept to.
pub struct Guide<'a> {
    pub picture: &'a RgbImage,
    /// 0: only in the back of the mind, 1: lights and colours where it has them.
    pub hold: f32,
}

pub struct Painting {
    pub rgb: RgbImage,
    /// For every pixel when it should show as the painting replaces another picture: all values
    /// equally often, along the painting's own shapes.
    pub reveal: Vec<u8>,
}

/// What is known at every node.
#[derive(Clone, Copy)]
pub struct Node {
    /// Where the pattern comes from, in heights.
    pub x: f32,
    pub y: f32,
    /// Large shapes, about -1 to 1.
    pub big: f32,
    /// How much light falls there, 0 to 1.
    pub lit: f32,
    /// 1 where the currents leave patterns their size, towards 0 where they press them together.
    pub calm: f32,
    /// Along the palette, 0 to 1.
    pub hue: f32,
}

/// `time` in cycles since the show began.
pub fn paint(
    style: &Style,
    seed: u32,
    time: f32,
    (width, height): (usize, usize),
    guide: Option<&Guide>,
) -> Painting {
    let seed = hash(seed, style.pattern);
    let t0 = std::time::Instant::now();
    let tick = |n: &str| if std::env::var("TICK").is_ok() { eprintln!("{n} {:?}", t0.elapsed()) };
    let sheet = Sheet::new(width, height, STEP);
    let colours = Colours::new(style);
    tick("colours");
    // Every seed paints another moment of the currents.
    let moment = 40.0 * Rng::new(hash(seed, 2)).unit();
    let currents = Currents::new(style, seed);
    let velocity = currents.velocity(width, height, time + moment, 1.3);
    tick("velocity");
    let nodes = nodes(style, seed, &sheet, &velocity, &colours, guide);
    tick("nodes");
    let (mut value, relief, mut reveal) = patterns(style, seed, &sheet, &nodes, width, height);
    tick("patterns");
    light_relief(style, &relief, &mut value, width, height);
    tick("relief");
    let mut shine = vec![0.0; width * height];
    let mut sparks = vec![0.0; width * height];
    strands::draw(style, seed, &sheet, &velocity, &nodes, width, &mut shine);
    strands::sparks(style, seed, &sheet, &velocity, &nodes, width, &mut sparks);
    tick("strands");
    for ((v, s), r) in value.iter_mut().zip(&shine).zip(&mut reveal) {
        *v += s * (0.4 + 0.6 * (1.0 - *v).max(0.0));
        *r += 0.35 * s;
    }
    let halo = bloom(style, &colours, &sheet, &nodes, &value, &sparks, width, height);
    tick("bloom");
    let rgb = colours.compose(&sheet, &nodes, &value, &sparks, &halo, width, height);
    tick("compose");
    let reveal = ranks(&reveal);
    tick("ranks");
    Painting { rgb, reveal }
}

fn nodes(
    style: &Style,
    seed: u32,
    sheet: &Sheet,
    velocity: &Velocity,
    colours: &Colours,
    guide: Option<&Guide>,
) -> Vec<Node> {
    let stretch = 0.19 + 0.15 * style.detail + 0.12 * style.silk + 0.1 * style.ink
        - 0.16 * style.crystal;
    // The way is smooth: found at every other node.
    let rough = sheet.coarser(2);
    let rough = Journey::along(rough, velocity, -stretch, 5);
    let scenery = scenery(style, seed, &rough, colours, guide);
    let offset = sheet.map(|x, y| rough.sheet.sample(&rough.offset, x, y));
    let octaves = [1.35, 2.9, 5.9].map(|f| f * (0.85 + 0.3 * style.density));
    let lattices = [0, 1, 2].map(|i| Lattice::new(4, hash(seed, 20 + i), 0.0));
    let unit = sheet.step as f32 / sheet.height;
    let mut i = 0;
    sheet.map(|px, py| {
        let [dx, dy] = offset[i];
        let (x, y) = (px + dx, py + dy);
        let mut big = 0.0;
        for ((f, lattice), amplitude) in octaves.iter().zip(&lattices).zip([1.25, 0.55, 0.22]) {
            big += amplitude * lattice.at(x * f, y * f);
        }
        let right = offset[if (i + 1) % sheet.columns == 0 { i - 1 } else { i + 1 }];
        let below = offset[if i + sheet.columns < offset.len() { i + sheet.columns } else { i }];
        let along = ((unit + right[0] - dx).powi(2) + (right[1] - dy).powi(2)) / (unit * unit);
        let down = ((below[0] - dx).powi(2) + (unit + below[1] - dy).powi(2)) / (unit * unit);
        let calm = 1.0 / along.max(down).max(1.0);
        let [hue, lit] = scenery.0.sample(&scenery.1, px, py);
        i += 1;
        let hue = (hue + 0.12 * big).clamp(0.0, 1.0);
        Node { x, y, big, lit, calm, hue }
    })
}

/// Where along the palette, and how lit, on a coarser sheet: these are larger than the matter.
fn scenery(
    style: &Style,
    seed: u32,
    journey: &Journey,
    colours: &Colours,
    guide: Option<&Guide>,
) -> (Sheet, Vec<[f32; 2]>) {
    let coarse = journey.sheet.coarser(2);
    let aspect = coarse.aspect;
    let mut rng = Rng::new(hash(seed, 1));
    let focus = [
        aspect * if rng.unit() < 0.5 { 0.36 } else { 0.64 } + 0.08 * rng.signed(),
        0.46 + 0.12 * rng.signed(),
    ];
    let tilt = rng.unit() * std::f32::consts::TAU;
    let lattices = [0, 1].map(|i| Lattice::new(4, hash(seed, 25 + i), 0.0));
    let held = guide.map(|g| (colours.hold(g.picture, &coarse), g.hold));
    let mut i = 0;
    let data = coarse.map(|px, py| {
        let [dx, dy] = journey.sheet.sample(&journey.offset, px, py);
        let (x, y) = (px + 0.6 * dx, py + 0.6 * dy);
        let slope = (px - focus[0]) * tilt.cos() + (py - focus[1]) * tilt.sin();
        let mut hue = 0.5 + 1.05 * lattices[0].at(x * 1.1, y * 1.1) + 0.45 * slope;
        let (fx, fy) = ((x - focus[0]) * 0.95, (y - focus[1]) * 1.25);
        let pool = (-(fx * fx + fy * fy) * 3.2).exp();
        let drifts = lattices[1].at(x * 1.6 + 5.0, y * 1.6);
        let mut lit = 0.16 + 0.62 * pool + 0.62 * drifts + 0.35 * (style.density - 0.5);
        if let Some((held, hold)) = &held {
            hue = lerp(hue, held[i][0], 0.75 * hold);
            lit = lerp(lit, held[i][1], 0.9 * hold);
        }
        i += 1;
        let edge = ((px / aspect - 0.5).powi(2) + (py - 0.5).powi(2)) * 1.1;
        [hue, (smoothstep(-0.25, 1.0, lit) - edge).clamp(0.0, 1.0)]
    });
    (coarse, data)
}

/// Fills `row` with values that go straight from node to node, `step` pixels apart.
#[inline]
pub fn stretch(row: &mut [f32], at: &[f32], step: usize) {
    for (out, pair) in row.chunks_mut(step).zip(at.windows(2)) {
        let by = (pair[1] - pair[0]) / step as f32;
        for (i, o) in out.iter_mut().enumerate() {
            *o = pair[0] + by * i as f32;
        }
    }
}

/// Reads a row of pattern whose place goes straight from node to node.
fn scan(tile: &Tile, at: &[[i32; 2]], row: &mut [f32]) {
    for (out, pair) in row.chunks_mut(STEP).zip(at.windows(2)) {
        let [mut x, mut y] = pair[0];
        let dx = pair[1][0].wrapping_sub(x) / STEP as i32;
        let dy = pair[1][1].wrapping_sub(y) / STEP as i32;
        for o in out {
            *o = tile.at(x, y);
            x = x.wrapping_add(dx);
            y = y.wrapping_add(dy);
        }
    }
}

/// One period of a fold of cloth: a soft bulge, a crest, and a steep way down.
fn folds() -> Vec<f32> {
    (0..=1024)
        .map(|i| {
            let t = i as f32 / 1024.0;
            let bulge = 0.5 - 0.5 * (std::f32::consts::TAU * t.powf(1.5)).cos();
            let fine = 0.12 * (std::f32::consts::TAU * 3.0 * t).sin() * bulge;
            (bulge + fine).clamp(0.0, 1.0)
        })
        .collect()
}

/// Brightness (0 to 1), relief, and how early each pixel should show.
fn patterns(
    style: &Style,
    seed: u32,
    sheet: &Sheet,
    nodes: &[Node],
    width: usize,
    height: usize,
) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let tiles = tiles();
    let mut rng = Rng::new(hash(seed, 31));
    let place = [rng.unit() * TILE as f32, rng.unit() * TILE as f32];
    let (sin, cos) = (rng.unit() * std::f32::consts::TAU).sin_cos();
    let folds = folds();
    let mut value = vec![0.0; width * height];
    let mut relief = vec![0.0; width * height];
    let mut reveal = vec![0.0; width * height];
    let scale = TILE as f32 * 1.1;
    let fineness = 0.3 + 0.7 * style.detail;
    let fold_count = 1.6 + 1.8 * style.detail + 1.2 * style.silk;
    let threshold = 0.25 - 0.5 * style.density;
    let hard = 0.6 + 1.2 * style.contrast;
    let (silken, inky) = (style.silk > 0.02, style.ink > 0.02);
    // Node by node along the row, then pixel by pixel.
    let mut places = [(); 4].map(|()| vec![[0i32; 2]; sheet.columns]);
    let mut ends = [(); 3].map(|()| vec![0.0f32; sheet.columns]);
    let mut rows = [(); 9].map(|()| vec![0.0f32; width]);
    for y in 0..height {
        let (above, t) = (y / STEP, (y % STEP) as f32 / STEP as f32);
        for i in 0..sheet.columns {
            let a = &nodes[above * sheet.columns + i];
            let b = &nodes[(above + 1) * sheet.columns + i];
            let u = lerp(a.x, b.x, t) * scale + place[0];
            let v = lerp(a.y, b.y, t) * scale + place[1];
            let fix = |u: f32, v: f32| [(u * 65_536.0) as i32, (v * 65_536.0) as i32];
            places[0][i] = fix(u, v);
            places[1][i] = fix(1.9 * (cos * u - sin * v), 1.9 * (sin * u + cos * v));
            places[2][i] = fix(0.34 * u, 0.34 * v);
            places[3][i] = fix(0.9 * (sin * u + cos * v), 0.9 * (cos * u - sin * v));
            ends[0][i] = lerp(a.big, b.big, t);
            ends[1][i] = lerp(a.lit, b.lit, t);
            ends[2][i] = lerp(a.calm, b.calm, t);
        }
        let [big, lit, calm, body, fine, cloth, cut, shards, ink] = &mut rows;
        stretch(big, &ends[0], STEP);
        stretch(lit, &ends[1], STEP);
        stretch(calm, &ends[2], STEP);
        scan(&tiles.billow, &places[0], body);
        scan(&tiles.ridges, &places[1], fine);
        if style.crystal > 0.02 {
            scan(&tiles.facets, &places[2], cut);
            scan(&tiles.facets, &places[3], shards);
            for (c, s) in cut.iter_mut().zip(shards) {
                *c = 0.75 * *c + 0.4 * *s;
            }
        }
        let at = y * width..(y + 1) * width;
        let reveal = &mut reveal[at.clone()];
        for x in 0..width {
            let a = body[x] * (7.0 * calm[x]).min(1.0);
            reveal[x] = a;
            body[x] = big[x] + 0.28 * a;
            fine[x] *= fineness * (3.0 * calm[x]).min(1.0);
        }
        if silken {
            for x in 0..width {
                let phase = body[x] * fold_count + 0.05 * fine[x];
                let t = phase - floor(phase) as f32;
                let fold = folds[((t * 1024.0) as usize).min(1023)];
                cloth[x] = 0.45 + (fold - 0.45) * (14.0 * calm[x]).min(1.0);
            }
        }
        if inky {
            for x in 0..width {
                let d = body[x] - 0.3 * (0.5 - style.density) + 0.14 * fine[x];
                ink[x] = smoothstep(-0.08, 0.14, d);
            }
        }
        let out = value[at.clone()].iter_mut().zip(&mut relief[at]);
        for (x, (value, relief)) in out.enumerate() {
            let (body, fine, cloth, cut, stain) = (body[x], fine[x], cloth[x], cut[x], ink[x]);
            let rim = (1.0 - (body + 0.02 * fine).abs() * 7.0).max(0.0);
            let matter = style.smoke * (0.5 + 0.52 * body + 0.2 * fine)
                + style.silk * (0.1 + 0.8 * cloth)
                + style.liquid * (0.35 + 0.4 * body)
                + style.ink * (0.12 + 0.6 * stain + 0.35 * rim * rim + 0.12 * fine)
                + style.crystal * (0.42 + 0.38 * cut + 0.3 * body);
            *relief = style.smoke * (0.25 * body + 0.06 * fine)
                + style.silk * (0.34 * cloth + 0.02 * fine)
                + style.liquid * (0.6 * body + 0.35 * reveal[x])
                + style.ink * (0.2 * stain + 0.03 * fine)
                + style.crystal * 0.5 * cut;
            let m = ((matter - threshold - 0.4) * hard + 0.4).max(0.0);
            *value = m * (0.1 + 1.1 * lit[x]) + 0.14 * lit[x];
            reveal[x] = 0.7 * body + 0.25 * reveal[x] + 0.3 * *value;
        }
    }
    (value, relief, reveal)
}

/// Lights the relief from the upper left: a soft side, a dark side, and highlights.
fn light_relief(style: &Style, relief: &[f32], value: &mut [f32], width: usize, height: usize) {
    let gain = height as f32 / 576.0 * 9.0;
    let soft = 0.30 + 0.25 * style.silk + 0.15 * style.liquid;
    let curve = 0.15 + 0.55 * style.contrast;
    let gloss = 0.08 + 0.7 * style.liquid + 0.35 * style.silk + 0.3 * style.crystal;
    for y in 0..height {
        let above = &relief[y.saturating_sub(1) * width..][..width];
        let below = &relief[(y + 1).min(height - 1) * width..][..width];
        let here = &relief[y * width..][..width];
        let out = &mut value[y * width..][..width];
        for x in 1..width - 1 {
            let gx = (here[x + 1] - here[x - 1]) * gain;
            let gy = (below[x] - above[x]) * gain;
            let facing = (0.6 * gx + 0.8 * gy) / (1.0 + gx * gx + gy * gy).sqrt();
            let (hx, hy) = (gx - 0.55, gy - 0.75);
            let peak = (1.0 - 0.9 * (hx * hx + hy * hy)).max(0.0);
            let v = out[x];
            let v = v * (1.0 + 1.6 * soft * facing) + gloss * peak * peak * peak * (0.12 + v);
            let v = 1.35 * v / (1.0 + 0.5 * v);
            out[x] = (v * (1.0 - curve) + 1.25 * curve * v * v).max(0.0);
        }
    }
}

/// Turns values into their ranks among all, 0 to 255.
fn ranks(values: &[f32]) -> Vec<u8> {
    const BINS: usize = 4096;
    let bin = |v: f32| ((v + 4.0) * (BINS as f32 / 8.0)).clamp(0.0, BINS as f32 - 1.0) as usize;
    let mut counts = vec![0u32; BINS];
    for &v in values {
        counts[bin(v)] += 1;
    }
    let (mut below, total) = (0u64, values.len().max(1) as u64);
    let table: Vec<u8> = counts
        .iter()
        .map(|&n| {
            let rank = (below + u64::from(n) / 2) * 255 / total;
            below += u64::from(n);
            // The brightest come first.
            255 - rank as u8
        })
        .collect();
    values.iter().map(|&v| table[bin(v)]).collect()
}
