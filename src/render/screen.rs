//! From a picture to the pixels of a screen: scaled to fit, black around it, RGB.
//!
//! Holds: a picture of the size of the screen is converted as it is, in one pass. Each chroma
//! value is that of two by two pixels. Nothing is allocated once both sizes have been seen.

use std::sync::Arc;

use super::kernels::Cpu;
use super::{Layer, Look, Picture, Renderer, is_whole, resize};
use crate::config::{Fit, Interpolation};
use crate::media::Frame;

pub struct Screen {
    cpu: Cpu,
    renderer: Renderer,
    scaled: Frame,
}

impl Screen {
    pub fn new() -> Self {
        let (fit, method) = (Fit::Contain, Interpolation::Nearest);
        let renderer = Renderer::new((0, 0), fit, method, Arc::default());
        Screen { cpu: Cpu::detect(), renderer, scaled: Frame::black(0, 0) }
    }

    /// Draws `picture` on a screen of `size`, whose rows of pixels `0x00RRGGBB` are `out`.
    pub fn draw(&mut self, picture: &Frame, size: (u32, u32), out: &mut [u32]) {
        let exact = (picture.width, picture.height) == size && is_whole(picture);
        if !exact {
            resize(&mut self.scaled, size);
            let mut scaled = self.scaled.as_mut();
            let base = Layer::still(picture);
            self.renderer.render(&Picture { base, over: None }, &Look::default(), &mut scaled);
        }
        let frame = if exact { picture } else { &self.scaled };
        let (width, chroma_width) = (size.0.max(1) as usize, frame.chroma_width());
        let rows = frame.y.chunks_exact(width).zip(out.chunks_exact_mut(width));
        for (y, (luma, out)) in rows.enumerate() {
            let chroma = y / 2 * chroma_width..(y / 2 + 1) * chroma_width;
            self.cpu.rgb(luma, &frame.u[chroma.clone()], &frame.v[chroma], out);
        }
    }
}

impl Default for Screen {
    fn default() -> Self {
        Self::new()
    }
}
