//! Pixels: from source pictures to the canvas, on I420 planes.
//!
//! A picture is made in steps: between two source frames whose motion is known it is warped along
//! that ([`warp`]); what is on air at once is blended (`combine` kernel, one pass), graded at source
//! size (`grade`), sent through the effects that are on (`effects`), and scaled to the canvas
//! (`scale`), where light comes and goes. A step that has nothing to do is skipped; a source that is
//! the canvas arrives there unchanged.
//!
//! Holds: nothing is allocated once a source size has been seen, nothing blocks, and no look,
//! phase or mix, however odd, makes it panic. Graded or scaled luma is within 16 to 235,
//! chroma within 16 to 240.

mod between;
mod effects;
mod filter;
pub mod flow;
mod geometry;
mod grade;
mod kernels;
mod look;
pub mod overlay;
mod preview;
pub mod retime;
mod scale;
mod screen;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_effects;
pub mod warp;

pub use filter::Filter;
pub use look::{Look, Mirror};
pub use preview::{jpeg, preview, preview_size, to_rgb};
pub use screen::Screen;

use std::sync::Arc;

use crate::base::effort::{Effort, PresentEffort};
use crate::base::time::FrameRate;
use crate::config::{Fit, Interpolation};
use crate::media::{Frame, FrameMut, Motion, PlaneMut, PlaneRef};
use between::Between;
use effects::limit::Limiter;
use effects::time::Beat;
use effects::{Desk, Effects, Wanted};
use geometry::Geometry;
use grade::Grade;
use kernels::{Cpu, ONE};
use scale::Scaler;

/// Two source frames and the phase between them: 0 is `a`, 1 is `b`.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a> {
    pub a: &'a Frame,
    pub b: &'a Frame,
    pub phase: f32,
    /// Between the two, if it is known; found for frames of their size.
    pub motion: Option<&'a Motion>,
}

impl<'a> Layer<'a> {
    /// One frame as it is.
    pub fn still(frame: &'a Frame) -> Self {
        Layer { a: frame, b: frame, phase: 0.0, motion: None }
    }
}

/// What is on air at one instant.
#[derive(Clone, Copy, Debug)]
pub struct Picture<'a> {
    pub base: Layer<'a>,
    /// A second layer over the base, and how much of it shows: 0 to 1.
    pub over: Option<(Layer<'a>, f32)>,
}

/// How a rendered frame counts in telemetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rendered {
    /// One frame of the source, whatever the look does to it.
    Source,
    /// Warped along motion.
    Interpolated,
    /// A weighted mix of two or more source frames.
    Blended,
}

/// Renders one picture after another. Lives on the render thread.
pub struct Renderer {
    fit: Fit,
    method: Interpolation,
    effort: Arc<PresentEffort>,
    between: Between,
    stage: Stage,
    effects: Effects,
    /// From what the effects have worked on to the canvas.
    to_canvas: Scaler,
    beat: Beat,
    fps: f32,
    limiter: Option<Limiter>,
    /// A second canvas and a row, for a mix of sources of different sizes.
    other: Frame,
    row: Vec<u8>,
}

/// What was shown before that makes no difference any more that is seen: trails keep less than a
/// hundredth of it, and the flash limiter looks back for a second.
pub const MEMORY_SECONDS: f64 = 4.0;

impl Renderer {
    /// `canvas` is the size that is expected; what counts is the size of the picture that
    /// [`Renderer::render`] is given. `effort` is looked at for every picture.
    pub fn new(
        canvas: (u32, u32),
        fit: Fit,
        method: Interpolation,
        effort: Arc<PresentEffort>,
    ) -> Self {
        Renderer::with_cpu(canvas, fit, method, effort, Cpu::detect())
    }

    fn with_cpu(
        canvas: (u32, u32),
        fit: Fit,
        method: Interpolation,
        effort: Arc<PresentEffort>,
        cpu: Cpu,
    ) -> Self {
        Renderer {
            fit,
            method,
            effort,
            between: Between::new(cpu),
            stage: Stage { cpu, scaler: Scaler::new(cpu), prepared: Frame::black(0, 0) },
            effects: Effects::new(cpu),
            to_canvas: Scaler::new(cpu),
            beat: Beat::default(),
            fps: 60.0,
            limiter: None,
            other: Frame::black(canvas.0, canvas.1),
            row: vec![0; canvas.0 as usize],
        }
    }

    /// How fast pictures follow one another, and whether flashes are limited. Without this it is 60
    /// a second, and they are not.
    pub fn set_time(&mut self, fps: FrameRate, limit_flashes: bool) {
        self.fps = fps.as_f64() as f32;
        self.limiter = limit_flashes.then(|| Limiter::new(self.fps));
    }

    /// A frame that is not drawn: what goes on by itself goes on.
    pub fn pass(&mut self, look: &Look) {
        self.beat.step(look, self.fps, self.limiter.is_some());
    }

    /// Renders `picture` into `out`, every pixel of it.
    pub fn render(&mut self, picture: &Picture, look: &Look, out: &mut FrameMut) -> Rendered {
        let pulse = self.beat.step(look, self.fps, self.limiter.is_some());
        let method = match self.method {
            Interpolation::Flow if self.effort.get() >= Effort::Blend => Interpolation::Blend,
            method => method,
        };
        let colour = self.effort.get() < Effort::LumaWarp;
        let (mix, rendered) = self.between.mix(picture, method, colour);
        if mix.len == 0 || out.y.width == 0 || out.y.height == 0 {
            fill_black(out);
            return rendered;
        }
        let canvas = (out.y.width as u32, out.y.height as u32);
        let desk = Desk::new(self.fit, mix.frames().iter().map(|f| (f.width, f.height)), canvas);
        // Also when this frame needs none: the next one may, and must not allocate then.
        self.effects.make_room(desk.size);
        self.to_canvas.set(desk.to_canvas, desk.to_canvas);
        let wanted = Wanted::new(look, &pulse);
        let grade = Grade::new(look);
        let mut draw = Draw {
            stage: &mut self.stage,
            other: &mut self.other,
            row: &mut self.row,
            grade: &grade,
        };
        if pulse.light == 0.0 && pulse.white == 0.0 {
            self.effects.forget();
            fill_black(out);
        } else if wanted.any() {
            let mut now = self.effects.now.as_mut();
            draw.all(desk.fit, mix, 1.0, &mut now);
            self.effects.draw(&wanted);
            match desk.to_canvas.is_identity() {
                true => copy(&self.effects.now, out),
                false => self.to_canvas.scale(self.effects.now.as_ref(), out),
            }
        } else {
            self.effects.forget();
            draw.all(self.fit, mix, look.zoom, out);
        }
        let cpu = self.stage.cpu;
        let lines = look::within(look.scan_lines, 0.0, 1.0, 0.0);
        effects::light::shine(cpu, pulse.light, pulse.white, lines, out);
        if let Some(limiter) = &mut self.limiter {
            let light = limiter.light(out, pulse.frames);
            effects::light::shine(cpu, light, 0.0, 0.0, out);
        }
        rendered
    }
}

/// Blends, grades and scales.
struct Draw<'a> {
    stage: &'a mut Stage,
    other: &'a mut Frame,
    row: &'a mut Vec<u8>,
    grade: &'a Grade,
}

impl Draw<'_> {
    /// All of `mix`: one turn, unless the sources differ in size.
    fn all(&mut self, fit: Fit, mix: Mix, zoom: f32, out: &mut FrameMut) {
        let mut shown = 0.0;
        let mut rest = mix;
        while rest.len > 0 {
            let (group, others) = rest.split_by_size();
            let weight: f32 = group.weights().iter().sum();
            if shown == 0.0 {
                self.stage.draw(fit, &group, self.grade, zoom, out);
            } else {
                let size = (out.y.width as u32, out.y.height as u32);
                resize(self.other, size);
                let mut other = self.other.as_mut();
                self.stage.draw(fit, &group, self.grade, zoom, &mut other);
                let weights = quantise(&[shown, weight]);
                self.row.resize(self.row.len().max(out.y.width), 0);
                for (to, from) in [
                    (&mut out.y, &self.other.y),
                    (&mut out.u, &self.other.u),
                    (&mut out.v, &self.other.v),
                ] {
                    blend_into(self.stage.cpu, to, from, weights, self.row);
                }
            }
            shown += weight;
            rest = others;
        }
    }
}

/// Copies a picture to a canvas of the same size.
fn copy(frame: &Frame, out: &mut FrameMut) {
    for (plane, from) in [(&mut out.y, &frame.y), (&mut out.u, &frame.u), (&mut out.v, &frame.v)] {
        for (y, from) in from.chunks_exact(plane.width).enumerate() {
            row_mut(plane, y).copy_from_slice(from);
        }
    }
}

/// Mixes `share` of `other` into `frame`; both are of one size.
fn mix_frames(cpu: Cpu, frame: &mut Frame, other: &Frame, share: f32) {
    let share_q14 = (unit(share) * f32::from(ONE)).round() as i16;
    for (plane, other) in
        [(&mut frame.y, &other.y), (&mut frame.u, &other.u), (&mut frame.v, &other.v)]
    {
        cpu.linger(plane, other, share_q14);
    }
}

/// Into 0 to 1; what is no number is 0.
fn unit(x: f32) -> f32 {
    if x > 0.0 { x.min(1.0) } else { 0.0 }
}

/// Two planes of one size, in parts that make up [`ONE`](kernels::ONE).
fn blend_planes(
    cpu: Cpu,
    (a, b): (PlaneRef, PlaneRef),
    [of_a, of_b]: [i16; 2],
    out: &mut PlaneMut,
) {
    let width = out.width;
    let rows = out.data.chunks_mut(out.stride.max(1)).take(out.height);
    for ((a, b), out) in a.rows().zip(b.rows()).zip(rows) {
        cpu.combine([a, b, b, b], [of_a, of_b, 0, 0], &mut out[..width]);
    }
}

/// Up to four different frames and their weights.
#[derive(Clone, Copy)]
struct Mix<'a> {
    frames: [&'a Frame; 4],
    weights: [f32; 4],
    len: usize,
}

impl<'a> Mix<'a> {
    /// None yet; `frame` fills the places.
    fn new(frame: &'a Frame) -> Self {
        Mix { frames: [frame; 4], weights: [0.0; 4], len: 0 }
    }

    /// Whether so much is seen at all.
    fn shows(weight: f32) -> bool {
        weight >= 0.5 / f32::from(ONE)
    }

    /// A weight that would be rounded to nothing is left out, and so is a frame without pixels.
    fn add(&mut self, frame: &'a Frame, weight: f32) {
        if !Mix::shows(weight) || !is_whole(frame) {
            return;
        }
        let known = self.frames[..self.len].iter().position(|f| std::ptr::eq(*f, frame));
        if let Some(i) = known {
            self.weights[i] += weight;
        } else if self.len < 4 {
            // The places behind `len` hold the first frame, with weight 0.
            let first = if self.len == 0 { frame } else { self.frames[0] };
            self.frames[self.len..].fill(first);
            self.frames[self.len] = frame;
            self.weights[self.len] = weight;
            self.len += 1;
        }
    }

    fn frames(&self) -> &[&'a Frame] {
        &self.frames[..self.len]
    }

    fn weights(&self) -> &[f32] {
        &self.weights[..self.len]
    }

    /// The frames of the same size as the first, and the others.
    fn split_by_size(&self) -> (Mix<'a>, Mix<'a>) {
        let (mut same, mut others) = (Mix { len: 0, ..*self }, Mix { len: 0, ..*self });
        let size = |frame: &Frame| (frame.width, frame.height);
        for (frame, &weight) in self.frames().iter().zip(self.weights()) {
            let to = if size(frame) == size(self.frames[0]) { &mut same } else { &mut others };
            to.add(frame, weight);
        }
        (same, others)
    }
}

/// Its planes are as large as it says, and not empty.
fn is_whole(frame: &Frame) -> bool {
    let luma = frame.width as usize * frame.height as usize;
    let chroma = frame.chroma_width() * frame.chroma_height();
    luma > 0 && frame.y.len() == luma && frame.u.len() == chroma && frame.v.len() == chroma
}

/// Weights in fixed point that keep their proportions and sum to exactly [`ONE`].
fn quantise(weights: &[f32]) -> [i16; 4] {
    let sum: f32 = weights.iter().sum();
    let mut fixed = [0; 4];
    for (fixed, weight) in fixed.iter_mut().zip(weights) {
        *fixed = (weight / sum * f32::from(ONE)).round() as i16;
    }
    let rest = ONE - fixed.iter().sum::<i16>();
    if let Some(largest) = fixed.iter_mut().max() {
        *largest += rest;
    }
    fixed
}

/// The steps, and the memory between them.
struct Stage {
    cpu: Cpu,
    scaler: Scaler,
    /// Blended and graded, at source size.
    prepared: Frame,
}

impl Stage {
    /// `mix`: at least one frame, all of one size.
    fn draw(&mut self, fit: Fit, mix: &Mix, grade: &Grade, zoom: f32, out: &mut FrameMut) {
        let first = mix.frames[0];
        let source = (first.width, first.height);
        let canvas = (out.y.width as u32, out.y.height as u32);
        let geometry = Geometry::new(fit, source, canvas, zoom);
        // Also when this frame needs neither: the next one may, and must not allocate then.
        self.scaler.set(geometry, Geometry::new(fit, source, canvas, 1.0));
        resize(&mut self.prepared, source);
        if geometry.is_identity() {
            let rows = (0..first.height as usize, 0..first.chroma_height());
            prepare(self.cpu, mix, grade, rows, out);
            return;
        }
        if mix.len == 1 && grade.is_neutral() {
            self.scaler.scale(first.as_ref(), out);
        } else {
            let rows = self.scaler.source_rows(first);
            prepare(self.cpu, mix, grade, rows, &mut self.prepared.as_mut());
            self.scaler.scale(self.prepared.as_ref(), out);
        }
    }
}

/// Blends and grades the given rows of luma and of chroma. A row is graded while it is still in
/// the first-level cache.
fn prepare(
    cpu: Cpu,
    mix: &Mix,
    grade: &Grade,
    (luma_rows, chroma_rows): (std::ops::Range<usize>, std::ops::Range<usize>),
    out: &mut FrameMut,
) {
    let weights = quantise(mix.weights());
    let blend = |plane: fn(&Frame) -> &[u8], at: usize, row: &mut [u8]| {
        if mix.len == 1 {
            row.copy_from_slice(&plane(mix.frames[0])[at..][..row.len()]);
        } else {
            cpu.combine(mix.frames.map(|frame| &plane(frame)[at..]), weights, row);
        }
    };
    let tone = grade.tone.as_ref();
    // Chroma that goes with the luma over it wants all of that, as it was.
    let over = tone.and_then(|tone| tone.chroma.as_ref());
    let luma_rows = if over.is_some() { 0..out.y.height } else { luma_rows };
    for y in luma_rows.clone() {
        let row = row_mut(&mut out.y, y);
        blend(|frame| &frame.y, y * row.len(), row);
        match (tone, grade.luma) {
            (Some(tone), _) if over.is_none() => cpu.bend(row, &tone.luma),
            (None, Some(grade)) => cpu.grade_luma(row, grade),
            _ => {}
        }
    }
    for y in chroma_rows {
        let (u, v) = (row_mut(&mut out.u, y), row_mut(&mut out.v, y));
        blend(|frame| &frame.u, y * u.len(), u);
        blend(|frame| &frame.v, y * v.len(), v);
        if let Some(grade) = grade.chroma {
            cpu.grade_chroma(u, v, grade);
        }
        if let Some(over) = over {
            let last = out.y.height - 1;
            let line = |y: usize| &out.y.data[y.min(last) * out.y.stride..][..out.y.width];
            cpu.bend_chroma(u, v, [line(2 * y), line(2 * y + 1)], over);
        }
    }
    if let (Some(tone), true) = (tone, over.is_some()) {
        for y in luma_rows {
            cpu.bend(row_mut(&mut out.y, y), &tone.luma);
        }
    }
}

fn row_mut<'a>(plane: &'a mut PlaneMut, y: usize) -> &'a mut [u8] {
    &mut plane.data[y * plane.stride..][..plane.width]
}

/// Mixes `share` of `other` into `frame`; both are of one size.
pub fn mix_into(frame: &mut Frame, other: &Frame, share: f32) {
    let cpu = Cpu::detect();
    let weights = quantise(&[1.0 - unit(share), unit(share)]);
    let mut row = vec![0; frame.width as usize];
    let frame = frame.as_mut();
    for (mut plane, other) in [(frame.y, &other.y), (frame.u, &other.u), (frame.v, &other.v)] {
        blend_into(cpu, &mut plane, other, weights, &mut row);
    }
}

/// Mixes the tight plane `other` into `plane`.
fn blend_into(cpu: Cpu, plane: &mut PlaneMut, other: &[u8], weights: [i16; 4], room: &mut [u8]) {
    let width = plane.width;
    for (y, other) in other.chunks_exact(width).take(plane.height).enumerate() {
        let room = &mut room[..width];
        room.copy_from_slice(row_mut(plane, y));
        cpu.combine([room, other, other, other], weights, row_mut(plane, y));
    }
}

/// Gives `frame` a size; what it shows is undefined afterwards. Allocates only to grow.
fn resize(frame: &mut Frame, (width, height): (u32, u32)) {
    if (frame.width, frame.height) != (width, height) {
        (frame.width, frame.height) = (width, height);
        let chroma = frame.chroma_width() * frame.chroma_height();
        frame.y.resize(width as usize * height as usize, 0);
        frame.u.resize(chroma, 0);
        frame.v.resize(chroma, 0);
    }
}

fn fill_black(out: &mut FrameMut) {
    for (plane, value) in [(&mut out.y, 16), (&mut out.u, 128), (&mut out.v, 128)] {
        for y in 0..plane.height {
            row_mut(plane, y).fill(value);
        }
    }
}
