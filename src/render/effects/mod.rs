//! The effects that a picture goes through between its colours and the canvas.
//!
//! They work at the size of the source, where that is smaller than what it fills: [`Desk`] is that
//! picture. One after the other: everything comes from its place ([`place`]), blocks ([`pixels`]),
//! glitch, red and blue apart, outlines, blur, bloom ([`soft`]), trails. What is done to light alone
//! is done on the canvas ([`light`]), by what time it is ([`time`]), and last of all flashes are
//! limited ([`limit`]).
//!
//! Holds: an effect that is off costs nothing, and without any a picture does not come here at all.
//! Nothing is allocated once sizes have been seen. The same pictures, looks and frame numbers give the
//! same pictures again.

pub mod glitch;
pub mod light;
pub mod limit;
pub mod pixels;
pub mod place;
pub mod soft;
pub mod time;
pub mod trails;

use self::pixels::Pixels;
use self::place::{Move, Placer};
use self::soft::Soft;
use self::time::Pulse;
use self::trails::{Linger, Trails, copy};
use super::geometry::{Geometry, Span};
use super::kernels::Cpu;
use super::look::{Look, within};
use super::resize;
use crate::config::Fit;
use crate::media::{Frame, PlaneMut};

/// Smallest picture, in pixels of either side, that is made soft.
const LEAST_SIDE: u32 = 8;

/// What of a look is made here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wanted {
    pub place: Move,
    pixelate: f32,
    glitch: f32,
    slot: u64,
    split: f32,
    edges: f32,
    blur: f32,
    bloom: f32,
    linger: Linger,
    ticks: f32,
}

impl Wanted {
    pub fn new(look: &Look, pulse: &Pulse) -> Self {
        let part = |x: f32| within(x, 0.0, 1.0, 0.0);
        Wanted {
            place: Move::new(look),
            pixelate: part(look.pixelate),
            glitch: pulse.glitch,
            slot: pulse.slot,
            split: part(look.rgb_split),
            edges: part(look.edges),
            blur: part(look.blur),
            bloom: part(look.bloom),
            linger: Linger::new(look),
            ticks: pulse.ticks,
        }
    }

    /// Anything but a zoom, which the scaler does better.
    pub fn any(&self) -> bool {
        let parts = [self.pixelate, self.glitch, self.split, self.edges, self.blur, self.bloom];
        !self.place.only_zooms() || self.linger.amount > 0.0 || parts.iter().any(|x| *x > 0.0)
    }
}

/// How large the pictures are that are worked on, and where they go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Desk {
    pub size: (u32, u32),
    /// How a source is laid on it.
    pub fit: Fit,
    /// From it to the canvas.
    pub to_canvas: Geometry,
}

impl Desk {
    /// For sources of these sizes, of which there is one at least.
    pub fn new(
        fit: Fit,
        sources: impl Iterator<Item = (u32, u32)> + Clone,
        canvas: (u32, u32),
    ) -> Self {
        let place = |source| Geometry::new(fit, source, canvas, 1.0);
        let first = sources.clone().map(place).next().unwrap_or_else(|| place(canvas));
        let shown = |g: &Geometry| ((g.x.start, g.x.size), (g.y.start, g.y.size));
        // Without its bars, unless there are several.
        let alike = sources.clone().all(|source| shown(&place(source)) == shown(&first));
        let whole = ((0, canvas.0 as usize), (0, canvas.1 as usize));
        let (x, y) = if alike { shown(&first) } else { whole };
        let side = |size: usize, step: fn(&Geometry) -> f64| {
            let px = sources.clone().map(|s| step(&place(s)) * size as f64).fold(1.0, f64::max);
            (px.round() as u32).min(size as u32).max(1)
        };
        let size = (side(x.1, |g| g.x.step()), side(y.1, |g| g.y.step()));
        let span = |px: u32, (start, size): (usize, usize)| Span {
            source_start: 0.0,
            source_len: f64::from(px),
            start,
            size,
        };
        let to_canvas = Geometry { source: size, canvas, x: span(size.0, x), y: span(size.1, y) };
        Desk { size, fit: if alike && fit == Fit::Contain { Fit::Stretch } else { fit }, to_canvas }
    }
}

pub struct Effects {
    cpu: Cpu,
    /// The picture that is worked on, and another one.
    pub now: Frame,
    pub spare: Frame,
    placer: Placer,
    pixels: Pixels,
    blur: Soft,
    glow: Soft,
    /// A third small picture.
    bright: Frame,
    trails: Trails,
}

impl Effects {
    pub fn new(cpu: Cpu) -> Self {
        Effects {
            cpu,
            now: Frame::black(0, 0),
            spare: Frame::black(0, 0),
            placer: Placer::new(cpu),
            pixels: Pixels::new(cpu),
            blur: Soft::new(cpu),
            glow: Soft::new(cpu),
            bright: Frame::black(0, 0),
            trails: Trails::new(cpu),
        }
    }

    /// For pictures of this size.
    pub fn make_room(&mut self, size: (u32, u32)) {
        if (self.now.width, self.now.height) == size {
            return;
        }
        resize(&mut self.now, size);
        resize(&mut self.spare, size);
        self.placer.make_room(size);
        self.pixels.make_room(size);
        self.trails.make_room(size);
        for k in [SOFT, COARSE] {
            self.blur.make_room(size, k);
        }
        self.glow.make_room(size, COARSE);
        resize(&mut self.bright, (self.glow.small.width, self.glow.small.height));
    }

    /// Nothing lingers of what was.
    pub fn forget(&mut self) {
        self.trails.forget();
    }

    /// Does to `now` what is wanted.
    pub fn draw(&mut self, wanted: &Wanted) {
        let size = (self.now.width, self.now.height);
        if !self.still(&wanted.place) {
            let way = wanted.place.way(size);
            self.placer.draw(&self.now, &way, &mut self.spare.as_mut());
            std::mem::swap(&mut self.now, &mut self.spare);
        }
        if wanted.pixelate > 0.0 {
            self.pixels.pixelate(wanted.pixelate, &mut self.now);
        }
        if wanted.glitch > 0.0 {
            copy(&self.now, &mut self.spare);
            glitch::draw(wanted.glitch, wanted.slot, &self.now, &mut self.spare);
            std::mem::swap(&mut self.now, &mut self.spare);
        }
        if wanted.split > 0.0 {
            self.pixels.split(wanted.split, &mut self.now);
        }
        if wanted.edges > 0.0 {
            self.pixels.outline(wanted.edges, &self.now, &mut self.spare);
            std::mem::swap(&mut self.now, &mut self.spare);
        }
        if size.0.min(size.1) >= LEAST_SIDE {
            if wanted.blur > 0.0 {
                self.blur(wanted.blur);
            }
            // Outlines glow by themselves.
            let glow = wanted.bloom.max(0.5 * wanted.edges);
            if glow > 0.0 {
                self.bloom(glow, wanted.edges);
            }
        }
        match wanted.linger.amount > 0.0 {
            true => {
                self.trails.draw(wanted.linger, wanted.ticks, &mut self.placer, &mut self.now);
            }
            false => self.trails.forget(),
        }
    }

    fn still(&self, place: &Move) -> bool {
        place.only_zooms() && place.zoom == 1.0
    }

    fn blur(&mut self, amount: f32) {
        // In parts of the height, so that it looks the same at every size.
        let sigma = self.now.height as f32 * (0.002 + 0.04 * amount * amount);
        let (k, own) = if sigma < 6.0 { (SOFT, 0.25) } else { (COARSE, 1.25) };
        // Averages of k by k pixels are a blur already.
        let sigma = (sigma * sigma - own).max(0.0).sqrt() / k as f32;
        self.blur.shrink(&self.now, k);
        self.blur.blur(sigma);
        self.blur.grow(k, &mut self.spare.as_mut());
        let share = amount * 12.0;
        match share < 1.0 {
            true => super::mix_frames(self.cpu, &mut self.now, &self.spare, share),
            false => std::mem::swap(&mut self.now, &mut self.spare),
        }
    }

    fn bloom(&mut self, amount: f32, edges: f32) {
        self.glow.shrink(&self.now, COARSE);
        let [y, u, v] = self.glow.planes();
        // Outlines shine all over.
        bright(y, u, v, (0.55 - 0.3 * amount) * (1.0 - edges));
        let unit = self.now.height as f32 / COARSE as f32 / 144.0;
        self.glow.blur(2.0 * unit);
        copy(&self.glow.small, &mut self.bright);
        self.glow.blur(8.0 * unit);
        super::mix_frames(self.cpu, &mut self.glow.small, &self.bright, 0.5);
        self.glow.grow(COARSE, &mut self.spare.as_mut());
        let share = (amount * 2.4 * 256.0) as i16;
        let planes = [
            (&mut self.now.y, &self.spare.y, true),
            (&mut self.now.u, &self.spare.u, false),
            (&mut self.now.v, &self.spare.v, false),
        ];
        for (now, light, luma) in planes {
            match luma {
                true => self.cpu.screen(now, light, share),
                false => self.cpu.screen_chroma(now, light, share),
            }
        }
    }
}

/// How much smaller soft pictures are.
const SOFT: u32 = 2;
const COARSE: u32 = 4;

/// Leaves of a small picture what is lighter than `least`, 0 to 1.
fn bright(y: PlaneMut, u: PlaneMut, v: PlaneMut, least: f32) {
    let least = (219.0 * least) as i32;
    // By luma: how much of it is left, with 8 fractional bits.
    let shares: [i32; 256] =
        std::array::from_fn(|y| ((y as i32 - 16 - least) * 256 / (220 - least)).clamp(0, 256));
    for n in 0..u.height {
        let luma = &y.data[(2 * n).min(y.height - 1) * y.stride..];
        for (i, c) in u.data[n * u.stride..][..u.width].iter_mut().enumerate() {
            let at = n * v.stride + i;
            let share = shares[usize::from(luma[(2 * i).min(y.width - 1)])];
            let part = |c: u8| (128 + (((i32::from(c) - 128) * share) >> 8)) as u8;
            (*c, v.data[at]) = (part(*c), part(v.data[at]));
        }
    }
    for n in 0..y.height {
        for p in &mut y.data[n * y.stride..][..y.width] {
            let lit = (i32::from(*p) - 16).max(0) * shares[usize::from(*p)];
            *p = (16 + (lit >> 8)).min(235) as u8;
        }
    }
}
