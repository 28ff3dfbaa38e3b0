//! A clip out of a picture.
//!
//! The picture is carried along the currents while a fresh painting, which the currents bring to
//! its place by the last frame, takes over shape by shape. So nothing is ever resampled more than
//! once within a clip, however long it is, and there is always new detail.
//!
//! Holds: frame 0 is the picture itself. Movement stays under [`LIMIT`] a frame. One thread.

use std::sync::atomic::{AtomicBool, Ordering};

use image::RgbImage;

use super::blend::takeover;
use super::flow::{Currents, Journey, Sheet, Velocity};
use super::paint::Painting;
use super::style::Style;
use crate::generate::convert::rgb_to_frame;
use crate::media::Frame;

/// Heights of the picture that anything moves at most from one frame to the next: 12 pixels of 576.
pub const LIMIT: f32 = 12.0 / 576.0;

/// Pixels between nodes.
const STEP: usize = 16;

/// How much of the picture the painting has replaced at the end of a clip.
const TURNOVER: f32 = 0.62;

/// Frames for which one look at the currents is good.
const KEY: usize = 3;

/// What moves how.
pub struct Clip<'a> {
    pub style: &'a Style,
    pub seed: u32,
    /// Cycles since the show began.
    pub cycle: f32,
    pub frames: usize,
    pub frame_seconds: f32,
    /// 1: at the speed that the style asks for.
    pub pace: f32,
}

/// A plane prepared for reading between pixels: each place holds its own byte, the one to the
/// right, the one below, and the one right below.
fn quads(plane: &[u8], width: usize) -> Vec<u32> {
    let height = plane.len() / width;
    let mut out = Vec::with_capacity(plane.len());
    for y in 0..height {
        let top = &plane[y * width..][..width];
        let bottom = &plane[(y + 1).min(height - 1) * width..][..width];
        let word = |a: u8, b: u8, c: u8, d: u8| u32::from_le_bytes([a, b, c, d]);
        let pairs = top.windows(2).zip(bottom.windows(2));
        out.extend(pairs.map(|(t, b)| word(t[0], t[1], b[0], b[1])));
        let (t, b) = (top[width - 1], bottom[width - 1]);
        out.push(word(t, t, b, b));
    }
    out
}

/// Two planes in one, for reading both at once.
fn double_quads(first: &[u8], second: &[u8], width: usize) -> Vec<u64> {
    let spread = |q: u32| {
        let [a, b, c, d] = q.to_le_bytes();
        u64::from_le_bytes([a, b, 0, 0, c, d, 0, 0])
    };
    let (first, second) = (quads(first, width), quads(second, width));
    first.into_iter().zip(second).map(|(f, s)| spread(f) | spread(s) << 16).collect()
}

/// Bilinear, at the fraction of a place in 65536ths of a pixel.
#[inline]
fn read(quad: u32, x: i32, y: i32) -> i32 {
    let (fx, fy) = ((x >> 8 & 255) as u32, (y >> 8 & 255) as u32);
    let across = (quad & 0x00FF_00FF)
        .wrapping_mul(256u32.wrapping_sub(fx))
        .wrapping_add((quad >> 8 & 0x00FF_00FF).wrapping_mul(fx));
    let top = (across & 0xFFFF).wrapping_mul(256u32.wrapping_sub(fy));
    (top.wrapping_add((across >> 16).wrapping_mul(fy)).wrapping_add(0x8000) >> 16) as i32
}

/// The same from two planes at once.
#[inline]
fn read_both(quad: u64, x: i32, y: i32) -> (i32, i32) {
    const EVEN: u64 = 0x00FF_00FF_00FF_00FF;
    let (fx, fy) = ((x >> 8 & 255) as u64, (y >> 8 & 255) as u32);
    let across = (quad & EVEN)
        .wrapping_mul(256u64.wrapping_sub(fx))
        .wrapping_add((quad >> 8 & EVEN).wrapping_mul(fx))
        .wrapping_add(0x0080_0080_0080_0080);
    let across = across >> 8 & EVEN;
    let (top, bottom) = (across as u32, (across >> 32) as u32);
    let both = top
        .wrapping_mul(256u32.wrapping_sub(fy))
        .wrapping_add(bottom.wrapping_mul(fy))
        .wrapping_add(0x0080_0080);
    ((both >> 8 & 0xFF) as i32, (both >> 24) as i32)
}

/// Where a node's pixel comes from in the old and in the new picture, in 65536ths of a pixel, and
/// how much sooner or later than its rank the new one shows there.
#[derive(Clone, Copy, Default)]
struct Source {
    old: [i32; 2],
    new: [i32; 2],
    delay: i32,
}

impl Source {
    fn fields(self) -> [i32; 5] {
        [self.old[0], self.old[1], self.new[0], self.new[1], self.delay]
    }
}

/// The clip, `frames` long, or `None` if `cancelled`. `image` and `fresh` have the same size.
pub fn animate(
    clip: &Clip,
    image: &RgbImage,
    fresh: &Painting,
    cancelled: &AtomicBool,
) -> Option<Vec<Frame>> {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let first = rgb_to_frame(image);
    let target = rgb_to_frame(&fresh.rgb);
    let cw = first.chroma_width();
    let planes = Planes {
        old: quads(&crisp(&first.y, width), width),
        new: quads(&target.y, width),
        rank: &fresh.reveal,
        old_chroma: double_quads(&first.u, &first.v, cw),
        new_chroma: double_quads(&target.u, &target.v, cw),
        width,
        chroma_width: cw,
    };
    let currents = currents(clip, width, height);
    let sheet = Sheet::new(width, height, STEP);
    let seconds = clip.frame_seconds * clip.style.speed * clip.pace;
    // The way from each frame's place to that in the last frame.
    let mut ahead = vec![Journey::none(sheet)];
    for velocity in (1..clip.frames).rev().map(|i| &currents[i / KEY]) {
        let next = ahead[ahead.len() - 1].prepend(velocity, seconds, LIMIT);
        ahead.push(next);
    }
    let mut back = Journey::none(sheet);
    let mut frames = vec![first];
    for i in 1..clip.frames {
        if cancelled.load(Ordering::Relaxed) {
            return None;
        }
        back = back.prepend(&currents[i / KEY], -seconds, LIMIT);
        let t = i as f32 / (clip.frames - 1) as f32;
        let sources = sources(&back, &ahead[clip.frames - 1 - i], width);
        let mut frame = Frame::black(width as u32, height as u32);
        planes.render(&sheet, &sources, &takeover(TURNOVER * t), &mut frame);
        frames.push(frame);
    }
    frames.truncate(clip.frames);
    Some(frames)
}

/// The currents for every [`KEY`] frames. The seed's own swell in the middle of the clip, so that
/// one clip goes over into the next without a jerk.
fn currents(clip: &Clip, width: usize, height: usize) -> Vec<Velocity> {
    let source = Currents::new(clip.style, clip.seed);
    (0..clip.frames.div_ceil(KEY))
        .map(|i| {
            let t = ((i * KEY) as f32 + 0.5 * KEY as f32) / clip.frames as f32;
            let own = (std::f32::consts::PI * t.min(1.0)).sin().powi(2);
            source.velocity(width, height, clip.cycle + t, own)
        })
        .collect()
}

fn sources(back: &Journey, ahead: &Journey, width: usize) -> Vec<Source> {
    let sheet = back.sheet;
    let limits = [width as f32 - 1.0, sheet.height - 1.0];
    let mut i = 0;
    sheet.map(|x, y| {
        let place = [x, y];
        let mut lost = [0.0f32; 2];
        let mut from = |which: usize, offset: [f32; 2]| {
            [0, 1].map(|k| {
                let p = (place[k] + offset[k]) * sheet.height;
                // The last nodes lie beyond the picture.
                let inside = p.clamp(0.0, limits[k]);
                let beyond = place[k] * sheet.height - limits[k];
                lost[which] += ((p - inside).abs() - beyond.max(0.0)).max(0.0);
                ((inside * 256.0) as i32) << 8
            })
        };
        let old = from(0, back.offset[i]);
        let new = from(1, ahead.offset[i]);
        i += 1;
        // What comes in over the edge is new; what goes out there stays old.
        let delay = ((lost[1] - lost[0]) * 8.0).clamp(-255.0, 255.0) as i32;
        Source { old, new, delay: delay << 16 }
    })
}

/// Sharpens as much as reading between pixels will blur.
fn crisp(plane: &[u8], width: usize) -> Vec<u8> {
    let mut out = plane.to_vec();
    let height = plane.len() / width;
    for y in 1..height.saturating_sub(1) {
        let above = &plane[(y - 1) * width..][..width];
        let here = &plane[y * width..][..width];
        let below = &plane[(y + 1) * width..][..width];
        for x in 1..width - 1 {
            let around = i16::from(above[x])
                + i16::from(below[x])
                + i16::from(here[x - 1])
                + i16::from(here[x + 1]);
            let centre = i16::from(here[x]);
            let sharp = centre + (4 * centre - around) / 14;
            out[y * width + x] = sharp.clamp(16, 235) as u8;
        }
    }
    out
}

struct Planes<'a> {
    old: Vec<u32>,
    new: Vec<u32>,
    rank: &'a [u8],
    old_chroma: Vec<u64>,
    new_chroma: Vec<u64>,
    width: usize,
    chroma_width: usize,
}

impl Planes<'_> {
    fn render(&self, sheet: &Sheet, sources: &[Source], weights: &[i32; 256], frame: &mut Frame) {
        let (width, cw) = (self.width, self.chroma_width);
        let mut line = vec![[0i32; 5]; sheet.columns];
        let mut shown = vec![0u16; width];
        for y in 0..frame.height as usize {
            let down = (y % STEP) as i32;
            let top = &sources[y / STEP * sheet.columns..][..sheet.columns];
            let bottom = &sources[(y / STEP + 1) * sheet.columns..][..sheet.columns];
            for (l, (a, b)) in line.iter_mut().zip(top.iter().zip(bottom)) {
                let (a, b) = (a.fields(), b.fields());
                for k in 0..5 {
                    l[k] = a[k]
                        .wrapping_add((b[k].wrapping_sub(a[k]) / STEP as i32).wrapping_mul(down));
                }
            }
            let out = &mut frame.y[y * width..][..width];
            self.luma_row(&line, weights, out, &mut shown);
            if y % 2 == 0 {
                let at = y / 2 * cw;
                self.chroma_row(
                    &line,
                    &shown,
                    &mut frame.u[at..at + cw],
                    &mut frame.v[at..at + cw],
                );
            }
        }
    }

    fn luma_row(&self, line: &[[i32; 5]], weights: &[i32; 256], out: &mut [u8], shown: &mut [u16]) {
        let width = self.width;
        let blocks = out.chunks_mut(STEP).zip(shown.chunks_mut(STEP)).zip(line.windows(2));
        for ((out, shown), ends) in blocks {
            let mut at = ends[0];
            let by: [i32; 5] =
                std::array::from_fn(|k| ends[1][k].wrapping_sub(at[k]) / STEP as i32);
            for (o, shown) in out.iter_mut().zip(shown) {
                let [ox, oy, nx, ny, delay] = at;
                let rank =
                    self.rank[place(nx.wrapping_add(0x8000), ny.wrapping_add(0x8000), width)];
                let rank = i32::from(rank).wrapping_add(delay >> 16).clamp(0, 255);
                let weight = weights[rank as usize];
                let old = || read(self.old[place(ox, oy, width)], ox, oy);
                let new = || read(self.new[place(nx, ny, width)], nx, ny);
                // Mostly one of the two is all there is to see.
                *o = match weight {
                    0 => old() as u8,
                    256 => new() as u8,
                    _ => mix(old(), new(), weight),
                };
                *shown = weight as u16;
                for k in 0..5 {
                    at[k] = at[k].wrapping_add(by[k]);
                }
            }
        }
    }

    fn chroma_row(&self, line: &[[i32; 5]], shown: &[u16], u: &mut [u8], v: &mut [u8]) {
        let width = self.chroma_width;
        let blocks = u.chunks_mut(STEP / 2).zip(v.chunks_mut(STEP / 2));
        for (((u, v), shown), ends) in blocks.zip(shown.chunks(STEP)).zip(line.windows(2)) {
            let mut at = ends[0];
            let by: [i32; 4] =
                std::array::from_fn(|k| ends[1][k].wrapping_sub(at[k]) / (STEP / 2) as i32);
            for ((u, v), weight) in u.iter_mut().zip(v).zip(shown.iter().step_by(2)) {
                // Places in luma, halved.
                let [ox, oy, nx, ny] = [at[0] >> 1, at[1] >> 1, at[2] >> 1, at[3] >> 1];
                let old = || read_both(self.old_chroma[place(ox, oy, width)], ox, oy);
                let new = || read_both(self.new_chroma[place(nx, ny, width)], nx, ny);
                let (new_u, new_v) = match weight {
                    0 => old(),
                    256 => new(),
                    weight => {
                        let ((ou, ov), (nu, nv), weight) = (old(), new(), i32::from(*weight));
                        (mix(ou, nu, weight).into(), mix(ov, nv, weight).into())
                    }
                };
                *u = new_u as u8;
                *v = new_v as u8;
                for k in 0..4 {
                    at[k] = at[k].wrapping_add(by[k]);
                }
            }
        }
    }
}

/// The index of a place in 65536ths of a pixel.
#[inline]
fn place(x: i32, y: i32, width: usize) -> usize {
    ((y >> 16) as usize).wrapping_mul(width).wrapping_add((x >> 16) as usize)
}

/// `weight` in 256ths.
#[inline]
fn mix(old: i32, new: i32, weight: i32) -> u8 {
    let part = new.wrapping_sub(old).wrapping_mul(weight).wrapping_add(128) >> 8;
    old.wrapping_add(part) as u8
}
