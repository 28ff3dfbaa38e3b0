//! From hue and brightness to pixels: the colour table, the spread of light, the final picture.
//!
//! Holds: sums of light are made on a scale whose square root is sRGB's.

use image::RgbImage;

use super::blend::shrink;
use super::colour::{Lab, to_srgb};
use super::flow::Sheet;
use super::matter::stretch;
use super::noise::{hash, lerp, smoothstep};
use super::paint::Node;
use super::style::Style;

const HUES: usize = 48;
const VALUES: usize = 512;
/// Every so many are computed, the rest interpolated.
const SPARSE: usize = 16;
/// The brightness that the table ends at; above is clipped.
const TOP: f32 = 1.5;

/// A painting that only lacks colour.
pub struct Layers<'a> {
    pub sheet: &'a Sheet,
    pub nodes: &'a [Node],
    /// Brightness of every pixel, about 0 to 1.3.
    pub value: &'a [f32],
    /// Light of the accent's colour at every pixel.
    pub sparks: &'a [f32],
    pub width: usize,
    pub height: usize,
}

pub struct Colours {
    /// `HUES` rows of `VALUES`.
    table: Vec<[f32; 4]>,
    middles: Vec<Lab>,
    accent: [f32; 4],
    glow: f32,
}

/// Red, green, blue, and nothing: four numbers are handled as fast as one.
fn light_of(lab: Lab) -> [f32; 4] {
    let [r, g, b] = lab.shown().map(|c| to_srgb(c).powi(2));
    [r, g, b, 0.0]
}

impl Colours {
    pub fn new(style: &Style) -> Self {
        let palette = &style.palette;
        let mut table = Vec::with_capacity(HUES * VALUES);
        let mut middles = Vec::with_capacity(HUES);
        for hue in 0..HUES {
            let place = hue as f32 / (HUES - 1) as f32 * (palette.len() - 1) as f32;
            let i = (place as usize).min(palette.len() - 2);
            // Each colour holds some ground before it gives way to the next.
            let t = smoothstep(0.15, 0.85, place - i as f32);
            let middle = palette[i].mix(palette[i + 1], t);
            let next = palette[(i + 2) % palette.len()];
            middles.push(middle);
            let entry = |v: usize| {
                light_of(ramp(style, middle, next, v as f32 / (VALUES - 1) as f32 * TOP))
            };
            let mut from = entry(0);
            for v in (0..VALUES).step_by(SPARSE) {
                let to = entry(v + SPARSE);
                for i in 0..SPARSE {
                    let t = i as f32 / SPARSE as f32;
                    table.push([0, 1, 2, 3].map(|k| lerp(from[k], to[k], t)));
                }
                from = to;
            }
        }
        Colours { table, middles, accent: light_of(style.accent), glow: style.glow }
    }

    #[inline]
    fn at(&self, hue: f32, value: f32) -> [f32; 4] {
        let row = (hue * (HUES - 1) as f32 + 0.5) as usize;
        let column = (value * ((VALUES - 1) as f32 / TOP)) as usize;
        self.table[row.min(HUES - 1) * VALUES + column.min(VALUES - 1)]
    }

    /// For every node the place along the palette and the light that come closest to `picture`.
    pub fn hold(&self, picture: &RgbImage, sheet: &Sheet) -> Vec<[f32; 2]> {
        let (columns, rows) = (32, 18);
        let coarse: Vec<[f32; 2]> = shrink(picture, columns, rows)
            .iter()
            .map(|p| {
                let lab = Lab::from_rgb(p.map(|c| c as u8));
                // Weighted by nearness rather than the single nearest: no sudden edges.
                let (mut sum, mut weights) = (0.0, 1e-6);
                for (i, m) in self.middles.iter().enumerate() {
                    let (scale, own) = (m.chroma().max(0.02), lab.chroma().max(0.01));
                    let d =
                        (lab.a / own - m.a / scale).powi(2) + (lab.b / own - m.b / scale).powi(2);
                    let weight = (-14.0 * d).exp();
                    sum += weight * i as f32;
                    weights += weight;
                }
                [sum / weights / (HUES - 1) as f32, (lab.l - 0.2) * 1.15]
            })
            .collect();
        sheet.map(|x, y| {
            let gx = (x / sheet.aspect * columns as f32 - 0.5).clamp(0.0, columns as f32 - 1.001);
            let gy = (y * rows as f32 - 0.5).clamp(0.0, rows as f32 - 1.001);
            let i = gy as usize * columns + gx as usize;
            let (fx, fy) = (gx.fract(), gy.fract());
            let mix = |k: usize| {
                let below = i + columns;
                lerp(
                    lerp(coarse[i][k], coarse[i + 1][k], fx),
                    lerp(coarse[below][k], coarse[below + 1][k], fx),
                    fy,
                )
            };
            [mix(0), mix(1)]
        })
    }

    /// The finished picture.
    pub fn compose(&self, layers: &Layers, halo: &Halo) -> RgbImage {
        let Layers { sheet, nodes, value, sparks, width, height } = *layers;
        let mut picture = RgbImage::new(width as u32, height as u32);
        let rgb: &mut [u8] = &mut picture;
        let step = sheet.step;
        let glow = 0.35 + 1.1 * self.glow;
        let mut hues = vec![0.0f32; sheet.columns];
        let mut ends = [(); 3].map(|()| vec![0.0f32; halo.sheet.columns]);
        let mut hue = vec![0.0f32; width];
        let mut channels = [(); 3].map(|()| vec![0.0f32; width]);
        let mut spread = vec![0.0f32; width];
        let mut levels = [(); 3].map(|()| vec![0u8; width]);
        let dither: Vec<f32> =
            (0..1024 + width).map(|i| (hash(i as u32, 77) >> 16) as f32 / 65_536.0 - 0.5).collect();
        for y in 0..height {
            let t = (y % step) as f32 / step as f32;
            let (top, bottom) = (y / step * sheet.columns, (y / step + 1) * sheet.columns);
            for (i, h) in hues.iter_mut().enumerate() {
                *h = lerp(nodes[top + i].hue, nodes[bottom + i].hue, t);
            }
            stretch(&mut hue, &hues, step);
            let value = &value[y * width..][..width];
            let [red, green, blue] = &mut channels;
            for (x, (&h, &v)) in hue.iter().zip(value).enumerate() {
                let base = self.at(h, v);
                red[x] = base[0];
                green[x] = base[1];
                blue[x] = base[2];
            }
            let sparks = &sparks[y * width..][..width];
            let dither = &dither[hash(y as u32, 5) as usize % 1024..][..width];
            halo.row(y, &mut ends);
            for k in 0..3 {
                stretch(&mut spread, &ends[k], halo.sheet.step);
                let from = channels[k].iter().zip(&spread).zip(sparks).zip(dither);
                for (level, (((&base, &spread), &spark), &noise)) in levels[k].iter_mut().zip(from)
                {
                    let sum = base + spark * self.accent[k];
                    // Screen: light adds up, but never over white.
                    let sum = sum + glow * spread * (1.0 - sum).max(0.08);
                    let shown = (sum.sqrt() * 255.0 + noise).clamp(0.0, 255.0);
                    // Rounding by way of the mantissa, which works on four at once.
                    *level = (shown + 8_388_608.0).to_bits() as u8;
                }
            }
            let [red, green, blue] = &levels;
            let out = rgb[y * 3 * width..][..3 * width].chunks_exact_mut(3);
            for (((p, &r), &g), &b) in out.zip(red).zip(green).zip(blue) {
                p[0] = r;
                p[1] = g;
                p[2] = b;
            }
        }
        picture
    }
}

/// From the tinted dark through the full colour to its light.
fn ramp(style: &Style, middle: Lab, next: Lab, v: f32) -> Lab {
    let deep = Lab { l: 0.05, ..style.shade.mix(next, 0.35) }.with_chroma(0.035);
    let full = Lab { l: middle.l.clamp(0.42, 0.78), ..middle };
    let high = Lab { l: 0.97, ..middle.mix(style.accent, 0.5) };
    let high = high.with_chroma(high.chroma() * 0.45);
    let lift = v + 0.5 * style.light * (1.0 - (v - 0.5).abs()).max(0.0);
    let lift = lift.max(0.0);
    let bottom = deep.mix(Lab { l: full.l * 0.55, ..full }, smoothstep(0.0, 0.3, lift));
    let mid = bottom.mix(full, smoothstep(0.12, 0.68, lift));
    mid.mix(high, smoothstep(0.62, 1.45, lift))
}

/// Light that has spread, red, green and blue, at the nodes of a coarser sheet.
pub struct Halo {
    sheet: Sheet,
    light: Vec<[f32; 4]>,
}

impl Halo {
    /// The nodes' light on pixel row `y`, channel by channel.
    fn row(&self, y: usize, ends: &mut [Vec<f32>; 3]) {
        let (step, columns) = (self.sheet.step, self.sheet.columns);
        let t = (y % step) as f32 / step as f32;
        let top = &self.light[y / step * columns..][..columns];
        let bottom = &self.light[(y / step + 1) * columns..][..columns];
        for (i, (a, b)) in top.iter().zip(bottom).enumerate() {
            for (k, end) in ends.iter_mut().enumerate() {
                end[i] = lerp(a[k], b[k], t);
            }
        }
    }
}

/// Lets light spread from bright places and sparks.
pub fn bloom(style: &Style, colours: &Colours, layers: &Layers) -> Halo {
    let Layers { sheet, nodes, value, sparks, width, height } = *layers;
    let coarse = sheet.coarser(2);
    let step = coarse.step;
    let mut light = vec![[0.0f32; 4]; coarse.len()];
    for row in 0..height.div_ceil(step) {
        let rows = row * step..((row + 1) * step).min(height);
        for column in 0..width.div_ceil(step) {
            let columns = column * step..((column + 1) * step).min(width);
            let each = 1.0 / (rows.len() * columns.len()) as f32;
            let (mut bright, mut spark) = (0.0, 0.0);
            for y in rows.clone() {
                let at = y * width + columns.start..y * width + columns.end;
                bright += value[at.clone()].iter().sum::<f32>();
                spark += sparks[at].iter().sum::<f32>();
            }
            let (bright, spark) = (bright * each, spark * each);
            let amount = smoothstep(0.35, 1.1, bright) * 0.7;
            let hue = nodes[row * 2 * sheet.columns + column * 2].hue;
            let c = colours.at(hue, bright.min(0.75));
            for k in 0..3 {
                light[row * coarse.columns + column][k] =
                    amount * c[k] + 3.0 * spark * colours.accent[k];
            }
        }
    }
    let radius = (sheet.height / 576.0 * (1.0 + style.glow)).round().max(1.0) as usize;
    blur(&mut light, coarse.columns, radius);
    let mut far = light.clone();
    blur(&mut far, coarse.columns, radius * 5);
    for (near, far) in light.iter_mut().zip(&far) {
        for k in 0..3 {
            // Running sums leave a trace below 0.
            near[k] = (0.55 * near[k] + 0.9 * far[k]).max(0.0);
        }
    }
    Halo { sheet: coarse, light }
}

/// Two box blurs both ways, which is nearly a Gaussian.
fn blur(data: &mut [[f32; 4]], columns: usize, radius: usize) {
    let rows = data.len() / columns;
    let mut line = Vec::new();
    let mut along = |data: &mut [[f32; 4]], start: usize, stride: usize, count: usize| {
        for _ in 0..2 {
            line.clear();
            line.extend((0..count).map(|i| data[start + i * stride]));
            let at = |i: isize| line[i.clamp(0, count as isize - 1) as usize];
            let r = radius as isize;
            let mut sum = [0.0f32; 4];
            for i in -r..=r {
                sum = add(sum, at(i), 1.0);
            }
            let scale = 1.0 / (2 * r + 1) as f32;
            for i in 0..count as isize {
                data[start + i as usize * stride] = sum.map(|s| s * scale);
                sum = add(add(sum, at(i + r + 1), 1.0), at(i - r), -1.0);
            }
        }
    };
    for row in 0..rows {
        along(data, row * columns, 1, columns);
    }
    for column in 0..columns {
        along(data, column, columns, rows);
    }
}

fn add(a: [f32; 4], b: [f32; 4], scale: f32) -> [f32; 4] {
    [a[0] + scale * b[0], a[1] + scale * b[1], a[2] + scale * b[2], a[3] + scale * b[3]]
}
