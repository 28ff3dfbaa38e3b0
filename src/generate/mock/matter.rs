//! Matter: the patterns of the materials at every pixel, and the light on them.
//!
//! Holds: places go straight from node to node, so patterns are read with integer steps; the rest
//! are loops over plain rows that the compiler turns into vector code.

use super::flow::Sheet;
use super::noise::{Rng, TILE, Tile, floor, hash, lerp, smoothstep, tiles};
use super::paint::{Node, STEP};
use super::style::Style;

/// What a painting is made of before it has colour; `width` by `height` each.
pub struct Matter {
    /// About 0 to 1.3.
    pub brightness: Vec<f32>,
    relief: Vec<f32>,
    /// Higher shows earlier.
    pub reveal: Vec<f32>,
}

const COUNT: [f32; 8] = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];

/// Fills `row` with values that go straight from node to node, `step` (at most 8) pixels
/// apart.
#[inline]
pub fn stretch(row: &mut [f32], at: &[f32], step: usize) {
    for (out, pair) in row.chunks_mut(step).zip(at.windows(2)) {
        let by = (pair[1] - pair[0]) / step as f32;
        for (o, i) in out.iter_mut().zip(COUNT) {
            *o = pair[0] + by * i;
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
    (0..1024)
        .map(|i| {
            let t = i as f32 / 1024.0;
            let bulge = 0.5 - 0.5 * (std::f32::consts::TAU * t.powf(1.5)).cos();
            let fine = 0.12 * (std::f32::consts::TAU * 3.0 * t).sin() * bulge;
            (bulge + fine).clamp(0.0, 1.0)
        })
        .collect()
}

/// The rows of one line of pixels, as long as the picture is wide.
struct Rows<'a> {
    big: &'a [f32],
    lit: &'a [f32],
    body: &'a [f32],
    billow: &'a [f32],
    fine: &'a [f32],
    cloth: &'a [f32],
    cut: &'a [f32],
    stain: &'a [f32],
}

/// Patterns of every material, mixed as the style asks.
pub fn patterns(
    style: &Style,
    seed: u32,
    sheet: &Sheet,
    nodes: &[Node],
    width: usize,
    height: usize,
) -> Matter {
    let tiles = tiles();
    let mut rng = Rng::new(hash(seed, 31));
    let place = [rng.unit() * TILE as f32, rng.unit() * TILE as f32];
    let (sin, cos) = (rng.unit() * std::f32::consts::TAU).sin_cos();
    let folds = folds();
    let size = width * height;
    let mut matter =
        Matter { brightness: vec![0.0; size], relief: vec![0.0; size], reveal: vec![0.0; size] };
    let scale = TILE as f32 * 1.1;
    let unit = STEP as f32 / sheet.height;
    // Where in the tiles every node lies, in 65536ths of a cell.
    let spots: Vec<[[i32; 2]; 4]> = nodes
        .iter()
        .enumerate()
        .map(|(i, node)| {
            let (u, v) = (node.x * scale + place[0], node.y * scale + place[1]);
            // Crystals bend little.
            let cx = lerp((i % sheet.columns) as f32 * unit, node.x, 0.3) * scale;
            let cy = lerp((i / sheet.columns) as f32 * unit, node.y, 0.3) * scale;
            [
                [u, v],
                [1.9 * (cos * u - sin * v), 1.9 * (sin * u + cos * v)],
                [0.45 * (cos * cx - sin * cy), 0.45 * (sin * cx + cos * cy)],
                [1.3 * cx + place[1], 1.3 * cy + place[0]],
            ]
            .map(|place| place.map(|c| (c * 65_536.0) as i32))
        })
        .collect();
    let fineness = 0.3 + 0.7 * style.detail;
    let fold_count = 1.6 + 1.8 * style.detail + 1.2 * style.silk;
    // Node by node along the row, then pixel by pixel.
    let mut places = [(); 4].map(|()| vec![[0i32; 2]; sheet.columns]);
    let mut ends = [(); 3].map(|()| vec![0.0f32; sheet.columns]);
    let mut rows = [(); 9].map(|()| vec![0.0f32; width]);
    for y in 0..height {
        let (above, t) = (y / STEP, (y % STEP) as f32 / STEP as f32);
        let top = &nodes[above * sheet.columns..][..sheet.columns];
        let bottom = &nodes[(above + 1) * sheet.columns..][..sheet.columns];
        for (i, (a, b)) in top.iter().zip(bottom).enumerate() {
            ends[0][i] = lerp(a.big, b.big, t);
            ends[1][i] = lerp(a.lit, b.lit, t);
            ends[2][i] = lerp(a.calm, b.calm, t);
        }
        let spots =
            spots[above * sheet.columns..].iter().zip(&spots[(above + 1) * sheet.columns..]);
        let down = (y % STEP) as i32;
        for (i, (a, b)) in spots.take(sheet.columns).enumerate() {
            for (place, (a, b)) in places.iter_mut().zip(a.iter().zip(b)) {
                let between = |k: usize| {
                    a[k].wrapping_add((b[k].wrapping_sub(a[k]) / STEP as i32).wrapping_mul(down))
                };
                place[i] = [between(0), between(1)];
            }
        }
        let [big, lit, calm, body, billow, fine, cloth, cut, stain] = &mut rows;
        stretch(big, &ends[0], STEP);
        stretch(lit, &ends[1], STEP);
        stretch(calm, &ends[2], STEP);
        scan(&tiles.billow, &places[0], billow);
        scan(&tiles.ridges, &places[1], fine);
        soften(big, calm, fineness, body, billow, fine);
        if style.crystal > 0.02 {
            scan(&tiles.facets, &places[2], cut);
            scan(&tiles.facets, &places[3], stain);
            for (c, s) in cut.iter_mut().zip(stain.iter()) {
                *c = 0.8 * *c + 0.35 * *s;
            }
        }
        if style.silk > 0.02 {
            for ((c, (&b, &f)), &calm) in cloth.iter_mut().zip(body.iter().zip(&*fine)).zip(&*calm)
            {
                let phase = b * fold_count + 0.05 * f;
                let t = phase - floor(phase) as f32;
                let fold = folds[(t * 1024.0) as usize & 1023];
                *c = 0.45 + (fold - 0.45) * (14.0 * calm).min(1.0);
            }
        }
        for ((s, &b), &f) in stain.iter_mut().zip(&*body).zip(&*fine) {
            *s = smoothstep(-0.08, 0.14, b - 0.3 * (0.5 - style.density) + 0.14 * f);
        }
        let at = y * width..(y + 1) * width;
        mix(
            style,
            &Rows { big, lit, body, billow, fine, cloth, cut, stain },
            &mut matter.brightness[at.clone()],
            &mut matter.relief[at.clone()],
            &mut matter.reveal[at],
        );
    }
    matter
}

/// Fades patterns where the currents press them together to less than a pixel.
fn soften(
    big: &[f32],
    calm: &[f32],
    fineness: f32,
    body: &mut [f32],
    billow: &mut [f32],
    fine: &mut [f32],
) {
    let n = body.len();
    let (big, calm, billow, fine) = (&big[..n], &calm[..n], &mut billow[..n], &mut fine[..n]);
    for x in 0..n {
        billow[x] *= (7.0 * calm[x]).min(1.0);
        fine[x] *= fineness * (3.0 * calm[x]).min(1.0);
        body[x] = big[x] + 0.28 * billow[x];
    }
}

fn mix(style: &Style, rows: &Rows, brightness: &mut [f32], relief: &mut [f32], reveal: &mut [f32]) {
    let n = brightness.len();
    let (relief, reveal) = (&mut relief[..n], &mut reveal[..n]);
    let (big, lit, body, billow, fine) =
        (&rows.big[..n], &rows.lit[..n], &rows.body[..n], &rows.billow[..n], &rows.fine[..n]);
    let (cloth, cut, stain) = (&rows.cloth[..n], &rows.cut[..n], &rows.stain[..n]);
    let Style { smoke, silk, liquid, ink, crystal, density, contrast, .. } = *style;
    let threshold = 0.65 - 0.5 * density;
    let hard = 0.6 + 1.2 * contrast;
    for x in 0..n {
        let (body, fine, cloth, cut, stain) = (body[x], fine[x], cloth[x], cut[x], stain[x]);
        let rim = (1.0 - (body + 0.02 * fine).abs() * 7.0).max(0.0);
        let matter = smoke * (0.5 + 0.52 * body + 0.24 * fine)
            + silk * (0.1 + 0.8 * cloth)
            + liquid * (0.35 + 0.4 * body)
            + ink * (0.12 + 0.6 * stain + 0.35 * rim * rim + 0.12 * fine)
            + crystal * (0.45 + 0.5 * cut + 0.25 * body);
        relief[x] = smoke * (0.25 * body + 0.06 * fine)
            + silk * (0.34 * cloth + 0.02 * fine)
            + liquid * (0.6 * body + 0.35 * billow[x])
            + ink * (0.2 * stain + 0.03 * fine)
            + crystal * 0.25 * cut;
        let m = ((matter - threshold) * hard + 0.4).max(0.0);
        let v = m * (0.1 + 1.05 * lit[x]) + 0.14 * lit[x];
        brightness[x] = v;
        // By large shapes: small ones would leave the old picture in shreds.
        reveal[x] = big[x] + 0.25 * billow[x] + 0.12 * v;
    }
}

impl Matter {
    /// Lights the relief from the upper left: a soft side, a dark side, and highlights.
    pub fn light(&mut self, style: &Style, width: usize, height: usize) {
        let gain = height as f32 / 576.0 * 9.0;
        let soft = 0.30 + 0.25 * style.silk + 0.15 * style.liquid;
        let curve = 0.15 + 0.55 * style.contrast;
        let gloss = 0.08 + 0.7 * style.liquid + 0.35 * style.silk + 0.3 * style.crystal;
        for y in 0..height {
            let above = &self.relief[y.saturating_sub(1) * width..][..width];
            let below = &self.relief[(y + 1).min(height - 1) * width..][..width];
            let here = &self.relief[y * width..][..width];
            let out = &mut self.brightness[y * width..][..width];
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
            out[0] = out[1.min(width - 1)];
            out[width - 1] = out[width.saturating_sub(2)];
        }
    }

    /// For every pixel its rank in `reveal`, 0 (first) to 255, each as frequent as any other.
    pub fn ranks(&self) -> Vec<u8> {
        const BINS: usize = 4096;
        let bin = |v: f32| (((v + 4.0) * (BINS as f32 / 8.0)).max(0.0) as usize).min(BINS - 1);
        let mut counts = vec![0u32; BINS];
        for &v in &self.reveal {
            counts[bin(v)] += 1;
        }
        let (mut below, total) = (0u64, self.reveal.len().max(1) as u64);
        let table: Vec<u8> = counts
            .iter()
            .map(|&n| {
                let rank = (below + u64::from(n) / 2) * 255 / total;
                below += u64::from(n);
                255 - rank as u8
            })
            .collect();
        self.reveal.iter().map(|&v| table[bin(v)]).collect()
    }
}
