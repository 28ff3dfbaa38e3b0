//! What lies over the finished picture: a logo, texts, a QR code, and the screens to wait by.
//!
//! They are drawn elsewhere, beforehand, into [`Sprite`]s ([`logo`], [`text`], [`qr`]); the render
//! thread only blends them. They come over all effects; a blackout covers them too.
//!
//! Holds: nothing on the render thread waits, allocates or frees: sprites come and go through two
//! bounded channels, and what is replaced is freed by who draws them. What is not shown costs nothing.
//! What is drawn is a function of the parameters, the sprites and the frames that were stepped.

mod backdrop;
pub mod logo;
pub mod qr;
mod sprite;
#[cfg(test)]
mod tests;
pub mod text;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::kernels::Cpu;
use crate::media::FrameMut;
use crate::param::{ParamId, Values};
use backdrop::Backdrop;
pub use sprite::{Bitmap, Sprite};

/// Something that can lie over the picture, in the order in which they are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Item {
    /// The words of the screens.
    StartingSoon,
    BeRightBack,
    Text,
    NowPlaying,
    Logo,
    Qr,
}

impl Item {
    pub const ALL: [Item; 6] =
        [Item::StartingSoon, Item::BeRightBack, Item::Text, Item::NowPlaying, Item::Logo, Item::Qr];

    fn is_screen(self) -> bool {
        matches!(self, Item::StartingSoon | Item::BeRightBack)
    }

    /// The parameter that says on which pictures it is.
    pub fn place(self) -> ParamId {
        match self {
            Item::StartingSoon | Item::BeRightBack => ParamId::ScreenWhere,
            Item::Text => ParamId::TextWhere,
            Item::NowPlaying => ParamId::NowPlayingWhere,
            Item::Logo => ParamId::LogoWhere,
            Item::Qr => ParamId::QrWhere,
        }
    }

    /// Whether it is to be seen, by the targets of the parameters.
    pub fn is_on(self, values: &Values) -> bool {
        match self {
            Item::StartingSoon => values[ParamId::Screen] == 1.0,
            Item::BeRightBack => values[ParamId::Screen] == 2.0,
            Item::Text => values[ParamId::TextOn] > 0.0,
            Item::NowPlaying => values[ParamId::NowPlayingOn] > 0.0,
            Item::Logo => values[ParamId::LogoOn] > 0.0,
            Item::Qr => values[ParamId::QrOn] > 0.0,
        }
    }

    fn params(self) -> Option<[ParamId; 4]> {
        use ParamId::*;
        match self {
            Item::StartingSoon | Item::BeRightBack => None,
            Item::Text => Some([TextOn, TextOpacity, TextX, TextY]),
            Item::NowPlaying => Some([NowPlayingOn, NowPlayingOpacity, NowPlayingX, NowPlayingY]),
            Item::Logo => Some([LogoOn, LogoOpacity, LogoX, LogoY]),
            Item::Qr => Some([QrOn, QrOpacity, QrX, QrY]),
        }
    }
}

const ITEMS: usize = Item::ALL.len();

/// Text keeps this part of the picture's height from its edges.
const MARGIN: usize = 40;

/// Bits of [`places`].
pub const STREAM: u8 = 1;
pub const DISPLAY: u8 = 2;
pub const RECORDING: u8 = 4;

/// The pictures that a `where` parameter names, as bits.
pub fn places(value: f32) -> u8 {
    // In the order of its choices in the registry.
    let masks = [
        STREAM | DISPLAY | RECORDING,
        STREAM,
        DISPLAY,
        RECORDING,
        STREAM | DISPLAY,
        STREAM | RECORDING,
        DISPLAY | RECORDING,
    ];
    masks.get(value as usize).copied().unwrap_or(masks[0])
}

/// Whom a picture is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// Stream and recording, which are one encode: what is to be on either is on both.
    #[default]
    Shared,
    Stream,
    Display,
    Recording,
}

impl View {
    pub const ALL: [View; 4] = [View::Shared, View::Stream, View::Display, View::Recording];

    /// The places whose overlays it has.
    fn places(self) -> u8 {
        match self {
            View::Shared => STREAM | RECORDING,
            View::Stream => STREAM,
            View::Display => DISPLAY,
            View::Recording => RECORDING,
        }
    }
}

/// An overlay in the present frame.
#[derive(Clone, Copy, Debug, Default)]
struct Placed {
    /// 0 to 256; 0: it does not show.
    opacity: u16,
    /// Of its middle, in parts of the picture.
    at: (f32, f32),
    places: u8,
}

/// A new sprite on its way to the render thread; `None` takes the old one away.
struct Arrival {
    item: Item,
    sprite: Option<Box<Sprite>>,
}

/// Sprites that may be on their way.
const ON_THEIR_WAY: usize = 8;

/// The end of who draws sprites.
pub struct Feed {
    /// Full: [`Feed::send`] says so, and the sprite is offered again later.
    to: Sender<Arrival>,
    /// Never full: each arrival sends back one at most, and they are fetched before each is sent.
    back: Receiver<Box<Sprite>>,
}

impl Feed {
    /// Puts a sprite in the place of the one before; false: not now.
    #[must_use]
    pub fn send(&self, item: Item, sprite: Option<Sprite>) -> bool {
        self.free();
        self.to.try_send(Arrival { item, sprite: sprite.map(Box::new) }).is_ok()
    }

    /// Frees what was replaced.
    pub fn free(&self) {
        while self.back.try_recv().is_ok() {}
    }
}

/// What lies over the picture. Lives on the render thread.
pub struct Overlays {
    cpu: Cpu,
    arrivals: Receiver<Arrival>,
    back: Sender<Box<Sprite>>,
    sprites: [Option<Box<Sprite>>; ITEMS],
    placed: [Placed; ITEMS],
    /// How much of each screen shows, before a blackout.
    screens: [f32; 2],
    /// What a blackout leaves of the light.
    light: f32,
    frame: u64,
    backdrop: Backdrop,
}

/// Overlays for pictures of a size, without any sprite yet, and the way to hand them some.
pub fn overlays(canvas: (u32, u32)) -> (Overlays, Feed) {
    let (to, arrivals) = bounded(ON_THEIR_WAY);
    // The second half is for those that arrive while one is sent.
    let (back, freed) = bounded(2 * ON_THEIR_WAY);
    let cpu = Cpu::detect();
    let overlays = Overlays {
        cpu,
        arrivals,
        back,
        sprites: Default::default(),
        placed: Default::default(),
        screens: [0.0; 2],
        light: 1.0,
        frame: 0,
        backdrop: Backdrop::new(canvas, cpu),
    };
    (overlays, Feed { to, back: freed })
}

impl Overlays {
    /// Goes on to frame `n`, with the parameters as they are in it.
    pub fn step(&mut self, n: u64, values: &Values, frame_ms: f32) {
        while let Ok(Arrival { item, sprite }) = self.arrivals.try_recv() {
            if let Some(old) = std::mem::replace(&mut self.sprites[item as usize], sprite) {
                let _ = self.back.try_send(old);
            }
        }
        self.frame = n;
        self.light = 1.0 - values[ParamId::Blackout].clamp(0.0, 1.0);
        let step = frame_ms / (values[ParamId::OverlayFade] * 1000.0);
        for (share, number) in self.screens.iter_mut().zip([1.0, 2.0]) {
            let goal = f32::from(u8::from(values[ParamId::Screen] == number));
            let far = !step.is_finite() || (goal - *share).abs() <= step;
            *share = if far { goal } else { *share + step.copysign(goal - *share) };
        }
        for item in Item::ALL {
            let (share, at) = match item.params() {
                Some([on, opacity, x, y]) => (values[on] * values[opacity], (values[x], values[y])),
                None => (self.screens[item as usize], (0.5, 0.5)),
            };
            // The backdrop of a screen is there without words as well.
            let there = item.is_screen() || self.sprites[item as usize].is_some();
            let light = if item.is_screen() { 1.0 } else { self.light };
            let opacity = if there { share * light } else { 0.0 };
            self.placed[item as usize] = Placed {
                opacity: (opacity.clamp(0.0, 1.0) * 256.0).round() as u16,
                at,
                places: places(values[item.place()]),
            };
        }
    }

    /// What shows in a view, one bit each. Views with the same bits are the same picture.
    pub fn showing(&self, view: View) -> u16 {
        let shows = |item: &Item| {
            let placed = &self.placed[*item as usize];
            placed.opacity > 0 && placed.places & view.places() != 0
        };
        Item::ALL.iter().filter(|item| shows(item)).map(|item| 1 << *item as usize).sum()
    }

    /// Draws all that shows in a view over the picture.
    pub fn draw(&mut self, view: View, out: &mut FrameMut) {
        let showing = self.showing(view);
        let shows = |item: Item| showing & (1 << item as usize) != 0;
        let screens = [Item::StartingSoon, Item::BeRightBack];
        let share: f32 =
            screens.iter().filter(|s| shows(**s)).map(|s| self.screens[*s as usize]).sum();
        if share > 0.0 {
            self.backdrop.draw(self.frame, share.min(1.0), self.light, out);
        }
        for item in Item::ALL.into_iter().filter(|item| shows(*item)) {
            let Placed { mut opacity, at, .. } = self.placed[item as usize];
            if item.is_screen() {
                opacity = (f32::from(opacity) * self.light).round() as u16;
            }
            let is_text = matches!(item, Item::Text | Item::NowPlaying);
            let margin = if is_text { out.y.height / MARGIN } else { 0 };
            if let Some(sprite) = &self.sprites[item as usize] {
                sprite.blend(self.cpu, at, margin, opacity, out);
            }
        }
    }
}
