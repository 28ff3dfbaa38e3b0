//! The pictures between source frames: warped along the motion where it is known, else mixed.

use super::kernels::Cpu;
use super::warp::{Colour, Warper};
use super::{Layer, Mix, Picture, Rendered, is_whole, resize, unit};
use crate::config::Interpolation;
use crate::media::{Frame, MotionKind};

pub struct Between {
    warper: Warper,
    /// The warped pictures of the base, and of the layer over it.
    warped: [Frame; 2],
}

/// What becomes of a layer.
enum Way {
    /// One of its frames as it is.
    One,
    /// Phase of `b`.
    Blend(f32),
    Warp,
}

impl Between {
    pub fn new(cpu: Cpu) -> Self {
        let warped = [Frame::black(0, 0), Frame::black(0, 0)];
        Between { warper: Warper::with_cpu(cpu), warped }
    }

    /// The frames that show, and how much of each.
    pub fn mix<'a>(
        &'a mut self,
        picture: &Picture<'a>,
        method: Interpolation,
        colour: bool,
    ) -> (Mix<'a>, Rendered) {
        let (base_share, over) = match &picture.over {
            Some((over, amount)) => (1.0 - unit(*amount), Some((over, unit(*amount)))),
            None => (1.0, None),
        };
        let layers = [Some((&picture.base, base_share)), over];
        let colour = if colour { Colour::Warped } else { Colour::Blended };
        let (mut warps, mut blends) = (0, 0);
        let mut ways = [const { Way::One }; 2];
        for (layer, _) in layers.iter().flatten() {
            if let Some(motion) = layer.motion {
                // Both, and even if none is warped now: what comes next allocates nothing.
                let size = (layer.a.width, layer.a.height);
                self.warped.iter_mut().for_each(|warped| resize(warped, size));
                self.warper.make_room(motion);
            }
        }
        for ((way, layer), warped) in ways.iter_mut().zip(layers).zip(&mut self.warped) {
            let Some((layer, _)) = layer.filter(|(_, share)| Mix::shows(*share)) else { continue };
            *way = way_of(layer, method);
            match way {
                Way::Warp => {
                    warps += 1;
                    resize(warped, (layer.a.width, layer.a.height));
                    let Some(motion) = layer.motion else { continue };
                    let frames = (layer.a.as_ref(), layer.b.as_ref());
                    self.warper.warp(frames, motion, layer.phase, colour, &mut warped.as_mut());
                }
                Way::Blend(_) => blends += 1,
                Way::One => {}
            }
        }
        let mut mix = Mix::new(picture.base.a);
        for ((way, layer), warped) in ways.iter().zip(layers).zip(&self.warped) {
            let Some((layer, share)) = layer else { continue };
            match way {
                Way::Warp => mix.add(warped, share),
                Way::Blend(phase) => {
                    mix.add(layer.a, share * (1.0 - phase));
                    mix.add(layer.b, share * phase);
                }
                Way::One => {
                    let nearer = if unit(layer.phase) < 0.5 { layer.a } else { layer.b };
                    mix.add(nearer, share);
                }
            }
        }
        let rendered = match (warps, blends) {
            (1.., 0) => Rendered::Interpolated,
            _ if mix.len > 1 => Rendered::Blended,
            _ => Rendered::Source,
        };
        (mix, rendered)
    }
}

fn way_of(layer: &Layer<'_>, method: Interpolation) -> Way {
    let phase = unit(layer.phase);
    let is_frame = phase == 0.0 || phase == 1.0 || std::ptr::eq(layer.a, layer.b);
    match method {
        _ if is_frame => Way::One,
        Interpolation::Nearest => Way::One,
        // Under load what is known of cuts still holds.
        Interpolation::Blend => match layer.motion.map(|motion| motion.kind) {
            Some(MotionKind::Cut | MotionKind::Repeat) => Way::One,
            Some(MotionKind::Moves) | None => Way::Blend(phase),
        },
        Interpolation::Flow => match layer.motion {
            None => Way::Blend(phase),
            Some(motion) => match motion.kind {
                MotionKind::Cut | MotionKind::Repeat => Way::One,
                MotionKind::Moves if can_warp(layer) => Way::Warp,
                MotionKind::Moves => Way::Blend(phase),
            },
        },
    }
}

/// Both frames are whole, and of one size, and the motion is for that.
fn can_warp(layer: &Layer<'_>) -> bool {
    let size = |frame: &Frame| (frame.width, frame.height);
    let covers = layer.motion.is_some_and(|motion| {
        let cells = |px: u32| px.div_ceil(motion.cell_px.max(1)) as usize;
        (motion.width, motion.height) == (cells(layer.a.width), cells(layer.a.height))
    });
    size(layer.a) == size(layer.b) && is_whole(layer.a) && is_whole(layer.b) && covers
}
