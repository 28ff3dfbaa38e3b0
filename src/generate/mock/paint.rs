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
use super::light::{Colours, Layers, bloom};
use super::matter;
use super::noise::{Lattice, Rng, hash, lerp, smoothstep};
use super::strands;
use super::style::Style;

/// Pixels between nodes.
pub const STEP: usize = 4;

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
    let sheet = Sheet::new(width, height, STEP);
    let colours = Colours::new(style);
    // Every seed paints another moment of the currents.
    let moment = 40.0 * Rng::new(hash(seed, 2)).unit();
    let currents = Currents::new(style, seed);
    let velocity = currents.velocity(width, height, time + moment, 1.3);
    let nodes = nodes(style, seed, &sheet, &velocity, &colours, guide);
    let mut matter = matter::patterns(style, seed, &sheet, &nodes, width, height);
    matter.light(style, width, height);
    let mut shine = vec![0.0; width * height];
    let mut sparks = vec![0.0; width * height];
    strands::draw(style, seed, &sheet, &velocity, &nodes, width, &mut shine);
    strands::sparks(style, seed, &sheet, &velocity, &nodes, width, &mut sparks);
    for ((v, s), r) in matter.brightness.iter_mut().zip(&shine).zip(&mut matter.reveal) {
        *v += s * (0.4 + 0.6 * (1.0 - *v).max(0.0));
        *r += 0.1 * s;
    }
    let layers = Layers {
        sheet: &sheet,
        nodes: &nodes,
        value: &matter.brightness,
        sparks: &sparks,
        width,
        height,
    };
    let halo = bloom(style, &colours, &layers);
    let rgb = colours.compose(&layers, &halo);
    Painting { rgb, reveal: matter.ranks() }
}

fn nodes(
    style: &Style,
    seed: u32,
    sheet: &Sheet,
    velocity: &Velocity,
    colours: &Colours,
    guide: Option<&Guide>,
) -> Vec<Node> {
    let stretch =
        0.19 + 0.15 * style.detail + 0.12 * style.silk + 0.1 * style.ink - 0.16 * style.crystal;
    let journey = Journey::along(*sheet, velocity, -stretch, 5);
    let scenery = scenery(style, seed, &journey, colours, guide);
    let offset = &journey.offset;
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
    let coarse = journey.sheet.coarser(4);
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
            hue = lerp(hue, held[i][0], 0.55 * hold);
            lit = lerp(lit, held[i][1], 0.7 * hold);
        }
        i += 1;
        // What is held to is dark at its edges already.
        let fresh = 1.0 - guide.map_or(0.0, |g| 0.9 * g.hold);
        let edge = ((px / aspect - 0.5).powi(2) + (py - 0.5).powi(2)) * 1.1 * fresh;
        [hue, (smoothstep(-0.25, 1.0, lit) - edge).clamp(0.0, 1.0)]
    });
    (coarse, data)
}
