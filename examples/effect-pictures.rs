//! Makes the pictures of `docs/effects.md` from the built-in generator, and a sheet of all:
//! `cargo run --no-default-features --example effect-pictures [FOLDER] [--large]`. The folder is
//! `docs/effects` if none is given; with `--large` pictures stay as large as on stage.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a maker of pictures may stop")]

use std::path::Path;
use std::sync::Arc;

use font8x8::UnicodeFonts;
use vfaq::config::{Fit, Interpolation};
use vfaq::generate::mock::stand_in;
use vfaq::media::Frame;
use vfaq::param::{ParamId, Values};
use vfaq::render::{Layer, Look, Picture, Renderer, jpeg, preview};

const CANVAS: (u32, u32) = (1920, 1080);
const SMALL: (u32, u32) = (480, 270);
/// Of the sheet.
const TILE: (u32, u32) = (320, 180);
const COLUMNS: usize = 5;
/// No picture is larger: the repository stays small.
const MOST_BYTES: usize = 20_000;
const PROMPT: &str = "deep teal and magenta smoke, liquid light, drifting silk, gold sparks";

/// A picture's name, what is set, what is sent, and how many frames later it is taken.
type Shot = (&'static str, &'static [(ParamId, f32)], &'static [ParamId], u64);

const SHOTS: &[Shot] = {
    use ParamId as P;
    &[
        ("plain", &[], &[], 0),
        ("brightness", &[(P::Brightness, 0.25)], &[], 0),
        ("contrast", &[(P::Contrast, 1.7)], &[], 0),
        ("saturation", &[(P::Saturation, 0.0)], &[], 0),
        ("hue", &[(P::Hue, 120.0)], &[], 0),
        ("gamma", &[(P::Gamma, 2.2)], &[], 0),
        ("invert", &[(P::Invert, 1.0)], &[], 0),
        ("posterise", &[(P::Posterise, 0.8)], &[], 0),
        ("tint", &[(P::Tint, 1.0)], &[], 0),
        ("zoom", &[(P::Zoom, 2.0)], &[], 0),
        ("rotation", &[(P::Rotation, 30.0)], &[], 0),
        ("pan", &[(P::PanX, 0.3), (P::PanY, 0.2)], &[], 0),
        ("mirror", &[(P::Mirror, 1.0)], &[], 0),
        ("quad", &[(P::Mirror, 3.0)], &[], 0),
        ("kaleidoscope", &[(P::Kaleidoscope, 8.0)], &[], 0),
        ("rgb_split", &[(P::RgbSplit, 0.8)], &[], 0),
        ("pixelate", &[(P::Pixelate, 0.7)], &[], 0),
        ("scan_lines", &[(P::ScanLines, 0.8)], &[], 0),
        ("glitch", &[(P::Glitch, 0.7)], &[], 0),
        ("glitch_hit", &[], &[P::GlitchHit], 4),
        ("blur", &[(P::Blur, 0.5)], &[], 0),
        ("bloom", &[(P::Bloom, 0.7)], &[], 0),
        ("edges", &[(P::Edges, 1.0)], &[], 0),
        ("trails", &[(P::Trails, 0.9)], &[], 90),
        ("trails_zoom", &[(P::Trails, 0.8), (P::TrailsZoom, 1.03)], &[], 90),
        ("trails_rotation", &[(P::Trails, 0.8), (P::TrailsRotation, 1.5)], &[], 90),
        ("strobe", &[(P::Strobe, 2.0), (P::StrobeDepth, 0.8)], &[], 0),
        ("flash", &[], &[P::Flash], 8),
        ("blackout", &[(P::Blackout, 0.6)], &[], 0),
    ]
};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let large = args.iter().any(|arg| arg == "--large");
    let folder = args.iter().find(|arg| !arg.starts_with("--"));
    let folder = Path::new(folder.map_or("docs/effects", String::as_str));
    std::fs::create_dir_all(folder).unwrap();
    let clip = stand_in(PROMPT, 11, 1024, 576, 24);
    let rows = SHOTS.len().div_ceil(COLUMNS) as u32;
    let mut sheet = Frame::black(TILE.0 * COLUMNS as u32, TILE.1 * rows);
    for (n, (name, values, fired, later)) in SHOTS.iter().enumerate() {
        let mut canvas = draw(&clip, values, fired, *later);
        let mut tile = Frame::black(TILE.0, TILE.1);
        preview(&canvas.as_mut(), &mut tile);
        label(&mut tile, &name.replace('_', " "));
        paste(&tile, &mut sheet, (n % COLUMNS, n / COLUMNS));
        let bytes = match large {
            true => jpeg(&canvas, 92).unwrap(),
            false => small(canvas),
        };
        let path = folder.join(format!("{name}.jpg"));
        std::fs::write(&path, &bytes).unwrap();
        println!("{} {} bytes", path.display(), bytes.len());
    }
    std::fs::write(folder.join("sheet.jpg"), jpeg(&sheet, 55).unwrap()).unwrap();
}

/// White letters in the lower left corner, on black.
fn label(tile: &mut Frame, text: &str) {
    let width = tile.width as usize;
    let top = tile.height as usize - 12;
    for y in top..top + 12 {
        tile.y[y * width..][..8 * text.len() + 6].fill(20);
    }
    for (n, letter) in text.chars().enumerate() {
        let rows = font8x8::BASIC_FONTS.get(letter).unwrap_or_default();
        for (y, row) in rows.iter().enumerate() {
            for x in (0..8).filter(|x| row >> x & 1 == 1) {
                tile.y[(top + 2 + y) * width + 3 + 8 * n + x] = 235;
            }
        }
    }
}

fn paste(tile: &Frame, sheet: &mut Frame, (column, row): (usize, usize)) {
    let (from, to) = (tile.as_ref(), sheet.as_mut());
    for (from, to) in [(from.y, to.y), (from.u, to.u), (from.v, to.v)] {
        for (y, line) in from.rows().enumerate() {
            let at = (row * from.height + y) * to.stride + column * from.width;
            to.data[at..][..line.len()].copy_from_slice(line);
        }
    }
}

/// The clip at 12 frames a second, drawn at 60.
fn draw(clip: &[Frame], values: &[(ParamId, f32)], fired: &[ParamId], later: u64) -> Frame {
    let mut all = Values::default();
    for (id, value) in values {
        all[*id] = *value;
    }
    let mut renderer = Renderer::new(CANVAS, Fit::Cover, Interpolation::Blend, Arc::default());
    let mut out = Frame::black(CANVAS.0, CANVAS.1);
    for n in 0..=later {
        // All are taken of the same moment of the clip.
        let at = 8.0 + (n as f32 - later as f32) / 12.0;
        let first = (at.floor() as usize).min(clip.len() - 2);
        let [a, b] = [&clip[first], &clip[first + 1]];
        let base = Layer { a, b, phase: at - first as f32, motion: None };
        let look = Look::new(n + 100, &all, if n == 0 { fired } else { &[] });
        renderer.render(&Picture { base, over: None }, &look, &mut out.as_mut());
    }
    out
}

fn small(mut canvas: Frame) -> Vec<u8> {
    let mut small = Frame::black(SMALL.0, SMALL.1);
    preview(&canvas.as_mut(), &mut small);
    let sizes = (30..=90).rev().step_by(5).map(|quality| jpeg(&small, quality).unwrap());
    sizes.into_iter().find(|bytes| bytes.len() < MOST_BYTES).expect("a picture of that size")
}
