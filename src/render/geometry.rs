//! Which part of the source goes to which part of the canvas.
//!
//! Holds: positions are in luma pixels, measured from the outer edge of the first one. The part
//! of the canvas begins at even pixels, so that chroma begins there too. A zoom crops the source
//! about its centre; black bars stay where they are.

use crate::config::Fit;

/// One axis: `source_len` luma pixels of the source from `source_start` on fill `size` pixels of
/// the canvas from `start` on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Span {
    pub source_start: f64,
    pub source_len: f64,
    pub start: usize,
    pub size: usize,
}

impl Span {
    /// Source pixels per canvas pixel.
    pub fn step(&self) -> f64 {
        self.source_len / self.size as f64
    }

    /// `visible` pixels (at zoom 1) from the middle of a source of `source`.
    fn new(source: u32, visible: f64, zoom: f64, start: usize, size: usize) -> Self {
        let source_len = visible / zoom;
        Span { source_start: (f64::from(source) - source_len) / 2.0, source_len, start, size }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Geometry {
    pub source: (u32, u32),
    pub canvas: (u32, u32),
    pub x: Span,
    pub y: Span,
}

impl Geometry {
    /// All sizes at least 1; a zoom outside 1 to 4 is brought back into it.
    pub fn new(fit: Fit, source: (u32, u32), canvas: (u32, u32), zoom: f32) -> Self {
        // Not `clamp`: it would let NaN through.
        let zoom = if zoom > 1.0 { f64::from(zoom.min(4.0)) } else { 1.0 };
        let ((sw, sh), (cw, ch)) = (source, canvas);
        let (fsw, fsh, fcw, fch) = (f64::from(sw), f64::from(sh), f64::from(cw), f64::from(ch));
        // Compared as integers: equal shapes are equal, whatever the rounding.
        let source_is_wider = u64::from(sw) * u64::from(ch) > u64::from(cw) * u64::from(sh);
        let source_is_taller = u64::from(sw) * u64::from(ch) < u64::from(cw) * u64::from(sh);
        let (mut visible, mut shown) = ((fsw, fsh), ((0, cw as usize), (0, ch as usize)));
        match fit {
            Fit::Stretch => {}
            Fit::Cover if source_is_wider => visible.0 = fsh * fcw / fch,
            Fit::Cover if source_is_taller => visible.1 = fsw * fch / fcw,
            Fit::Contain if source_is_wider => shown.1 = between_bars(ch, fcw * fsh / fsw),
            Fit::Contain if source_is_taller => shown.0 = between_bars(cw, fch * fsw / fsh),
            Fit::Cover | Fit::Contain => {}
        }
        Geometry {
            source,
            canvas,
            x: Span::new(sw, visible.0, zoom, shown.0.0, shown.0.1),
            y: Span::new(sh, visible.1, zoom, shown.1.0, shown.1.1),
        }
    }

    /// Every canvas pixel is the source pixel at the same place.
    pub fn is_identity(&self) -> bool {
        let same = |span: &Span, source: u32| {
            span.source_len == f64::from(source) && span.size == source as usize
        };
        self.source == self.canvas && same(&self.x, self.source.0) && same(&self.y, self.source.1)
    }
}

/// Start and size, both even, of about `size` pixels in the middle of `canvas`.
fn between_bars(canvas: u32, size: f64) -> (usize, usize) {
    let canvas = canvas as usize;
    let size = ((size / 2.0).round() as usize * 2).max(2).min(canvas);
    ((canvas - size) / 4 * 2, size)
}
