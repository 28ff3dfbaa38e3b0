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

/// Chroma samples between nodes.
const HALF: usize = STEP / 2;

/// How much of the picture the painting has usually replaced at the end of a clip.
pub const TURNOVER: f32 = 0.62;

/// Frames for which one look at the currents is good.
const KEY: usize = 4;

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
    /// How much of the picture the painting has replaced at the end, 0 to 1.
    pub turnover: f32,
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
        planes.render(&sheet, &sources, &takeover(clip.turnover * t), &mut frame);
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
    fn render(&self, sheet: &Sheet, sources: &[Source], weights: &[i16; 256], frame: &mut Frame) {
        let (width, cw) = (self.width, self.chroma_width);
        let mut line = vec![[0i32; 5]; sheet.columns];
        let mut shown = vec![0i16; cw];
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
            // Pixels of two rows and columns show together, as their chroma does.
            if y % 2 == 0 {
                self.weigh(&line, weights, &mut shown);
                let at = y / 2 * cw;
                let (u, v) = (&mut frame.u[at..at + cw], &mut frame.v[at..at + cw]);
                self.chroma_row(&line, &shown, u, v);
            }
            self.luma_row(&line, &shown, &mut frame.y[y * width..][..width]);
        }
    }

    /// How much of the new picture shows at every chroma sample of a row, in 256ths.
    fn weigh(&self, line: &[[i32; 5]], weights: &[i16; 256], shown: &mut [i16]) {
        for (shown, ends) in shown.chunks_mut(HALF).zip(line.windows(2)) {
            let mut new = Walk::new(ends, HALF);
            let mut delay = ends[0][4];
            let later = (ends[1][4] - delay) / HALF as i32;
            for shown in shown {
                let rank = i32::from(self.rank[new.index(self.width)]);
                *shown = weights[rank.wrapping_add(delay >> 16).clamp(0, 255) as usize];
                new.step();
                delay = delay.wrapping_add(later);
            }
        }
    }

    fn luma_row(&self, line: &[[i32; 5]], shown: &[i16], out: &mut [u8]) {
        let blocks = out.chunks_mut(STEP).zip(shown.chunks(HALF)).zip(line.windows(2));
        for ((out, shown), ends) in blocks {
            let (old, new) = (Walk::old(ends, STEP), Walk::new(ends, STEP));
            // Mostly one of the two is all there is to see.
            match Show::of(shown) {
                Show::Old => read(&self.old, self.width, old, out),
                Show::New => read(&self.new, self.width, new, out),
                Show::Both => {
                    let (mut other, mut weights) = ([0; STEP], [0; STEP]);
                    read(&self.old, self.width, old, out);
                    read(&self.new, self.width, new, &mut other);
                    let next = shown[1..].iter().chain(&shown[shown.len() - 1..]);
                    for ((pair, &weight), &next) in weights.chunks_exact_mut(2).zip(shown).zip(next)
                    {
                        pair[0] = weight;
                        pair[1] = (weight + next) / 2;
                    }
                    mix(out, &other, &weights);
                }
            }
        }
    }

    fn chroma_row(&self, line: &[[i32; 5]], shown: &[i16], u: &mut [u8], v: &mut [u8]) {
        let width = self.chroma_width;
        let blocks = u.chunks_mut(HALF).zip(v.chunks_mut(HALF)).zip(shown.chunks(HALF));
        for (((u, v), shown), ends) in blocks.zip(line.windows(2)) {
            let (old, new) = (Walk::old(ends, HALF).halved(), Walk::new(ends, HALF).halved());
            match Show::of(shown) {
                Show::Old => read_both(&self.old_chroma, width, old, u, v),
                Show::New => read_both(&self.new_chroma, width, new, u, v),
                Show::Both => {
                    let (mut other_u, mut other_v) = ([0; HALF], [0; HALF]);
                    read_both(&self.old_chroma, width, old, u, v);
                    read_both(&self.new_chroma, width, new, &mut other_u, &mut other_v);
                    mix(u, &other_u, shown);
                    mix(v, &other_v, shown);
                }
            }
        }
    }
}

/// What is to be seen of the two pictures in a block.
enum Show {
    Old,
    New,
    Both,
}

impl Show {
    fn of(weights: &[i16]) -> Self {
        let (least, most) =
            weights.iter().fold((256, 0), |(least, most), &w| (w.min(least), w.max(most)));
        match (least, most) {
            (_, 0) => Show::Old,
            (256, _) => Show::New,
            _ => Show::Both,
        }
    }
}

/// A straight way through a picture, in 65536ths of a pixel.
#[derive(Clone, Copy)]
struct Walk {
    at: [i32; 2],
    by: [i32; 2],
}

impl Walk {
    #[inline]
    fn between(from: [i32; 2], to: [i32; 2], steps: usize) -> Self {
        let steps = steps as i32;
        let by = [to[0].wrapping_sub(from[0]) / steps, to[1].wrapping_sub(from[1]) / steps];
        Walk { at: from, by }
    }

    /// Through the old picture, between two neighbouring nodes' fields.
    #[inline]
    fn old(ends: &[[i32; 5]], steps: usize) -> Self {
        Walk::between([ends[0][0], ends[0][1]], [ends[1][0], ends[1][1]], steps)
    }

    #[inline]
    fn new(ends: &[[i32; 5]], steps: usize) -> Self {
        Walk::between([ends[0][2], ends[0][3]], [ends[1][2], ends[1][3]], steps)
    }

    /// The same way through the chroma.
    #[inline]
    fn halved(self) -> Self {
        let Walk { at, by } = self;
        Walk { at: [at[0] >> 1, at[1] >> 1], by: [by[0] >> 1, by[1] >> 1] }
    }

    #[inline]
    fn step(&mut self) {
        self.at[0] = self.at[0].wrapping_add(self.by[0]);
        self.at[1] = self.at[1].wrapping_add(self.by[1]);
    }

    #[inline]
    fn index(&self, width: usize) -> usize {
        let [x, y] = self.at;
        ((y >> 16) as usize).wrapping_mul(width).wrapping_add((x >> 16) as usize)
    }

    /// How far it is beyond a whole pixel, in 256ths.
    #[inline]
    fn fraction(&self) -> (u32, u32) {
        ((self.at[0] >> 8 & 255) as u32, (self.at[1] >> 8 & 255) as u32)
    }
}

/// Reads bilinearly along a way.
#[inline]
fn read(plane: &[u32], width: usize, mut walk: Walk, out: &mut [u8]) {
    for o in out {
        let quad = plane[walk.index(width)];
        let (fx, fy) = walk.fraction();
        let across = (quad & 0x00FF_00FF)
            .wrapping_mul(256u32.wrapping_sub(fx))
            .wrapping_add((quad >> 8 & 0x00FF_00FF).wrapping_mul(fx));
        let top = (across & 0xFFFF).wrapping_mul(256u32.wrapping_sub(fy));
        let sum = top.wrapping_add((across >> 16).wrapping_mul(fy)).wrapping_add(0x8000);
        *o = (sum >> 16) as u8;
        walk.step();
    }
}

/// The same from two planes at once.
#[inline]
fn read_both(plane: &[u64], width: usize, mut walk: Walk, first: &mut [u8], second: &mut [u8]) {
    const EVEN: u64 = 0x00FF_00FF_00FF_00FF;
    for (first, second) in first.iter_mut().zip(second) {
        let quad = plane[walk.index(width)];
        let (fx, fy) = walk.fraction();
        let across = (quad & EVEN)
            .wrapping_mul(u64::from(256u32.wrapping_sub(fx)))
            .wrapping_add((quad >> 8 & EVEN).wrapping_mul(u64::from(fx)))
            .wrapping_add(0x0080_0080_0080_0080);
        let across = across >> 8 & EVEN;
        let both = (across as u32)
            .wrapping_mul(256u32.wrapping_sub(fy))
            .wrapping_add(((across >> 32) as u32).wrapping_mul(fy))
            .wrapping_add(0x0080_0080);
        *first = (both >> 8) as u8;
        *second = (both >> 24) as u8;
        walk.step();
    }
}

/// Mixes `other` in, by weights in 256ths.
fn mix(out: &mut [u8], other: &[u8], weights: &[i16]) {
    for ((o, &n), &weight) in out.iter_mut().zip(other).zip(weights) {
        let way = i32::from(n).wrapping_sub(i32::from(*o)).wrapping_mul(i32::from(weight));
        *o = (i32::from(*o).wrapping_add(way.wrapping_add(128) >> 8)) as u8;
    }
}
