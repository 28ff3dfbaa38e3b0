//! From a position in a clip to the pictures around it, and how much shows of what is joined in.

use crate::media::{MotionKind, PreparedClip};
use crate::render::Layer;

/// How much shows of a clip that is faded in over `frames`, in the frame `elapsed` of them.
pub fn share(elapsed: u64, frames: u32) -> f32 {
    let mix = (elapsed as f32 + 1.0) / (frames as f32 + 1.0);
    // Smoothstep: a fade that neither starts nor stops with a jolt.
    mix * mix * (3.0 - 2.0 * mix)
}

/// The pictures around a position in a clip. Frames that repeat the one before are passed over;
/// into another scene the picture changes half a frame time before it.
pub fn layer(clip: &PreparedClip, position: f64) -> Layer<'_> {
    // Rounding errors of a position that means a source frame exactly.
    let nearest = position.round();
    let position = if (position - nearest).abs() < 1e-6 { nearest } else { position };
    let frame = position as usize;
    let Some(passage) = clip.passage(frame).filter(|passage| passage.moves) else {
        return Layer::still(&clip.frames[frame.min(clip.frames.len() - 1)]);
    };
    let motion = passage.motion.get();
    let (from, to) = (passage.from as f64, passage.to as f64);
    let phase = match motion {
        Some(motion) if motion.kind == MotionKind::Cut => position - to + 1.0,
        _ => (position - from) / (to - from),
    };
    Layer {
        a: &clip.frames[passage.from],
        b: &clip.frames[passage.to],
        phase: phase.max(0.0) as f32,
        motion,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::testing::clip;
    use crate::media::{Origin, Passage};

    /// The layer of a clip of these passages at a position, as luma of both pictures and phase.
    fn at(passages: &[(usize, usize, bool)], cut: Option<usize>, position: f64) -> (u8, u8, f32) {
        let plain = clip(0, 8);
        let passages = passages.iter().map(|&(from, to, moves)| Passage::new(from, to, moves));
        let passages: Vec<Passage> = passages.collect();
        if let Some(cut) = cut {
            let motion = crate::media::Motion { kind: MotionKind::Cut, ..Default::default() };
            passages[cut].motion.set(motion).unwrap();
        }
        let about = (Origin::Cycle, plain.clip.clone(), false);
        let clip = PreparedClip::new(about, plain.frames.clone(), passages, 0);
        let layer = layer(&clip, position);
        (layer.a.y[0] - 16, layer.b.y[0] - 16, layer.phase)
    }

    #[test]
    fn motion_goes_on_over_frames_that_repeat() {
        // Pictures 0 and 2 stand twice, 4 stands still, 6 to 7 is a cut.
        let passages = [(0, 2, true), (2, 4, true), (4, 5, false), (5, 6, true), (6, 7, true)];
        let at = |position| at(&passages, Some(4), position);
        assert_eq!(at(0.0), (0, 2, 0.0));
        assert_eq!(at(0.5), (0, 2, 0.25));
        assert_eq!(at(1.5), (0, 2, 0.75));
        assert_eq!(at(2.0), (2, 4, 0.0));
        let (a, b, _) = at(4.5);
        assert_eq!((a, b), (4, 4), "it stands still");
        assert_eq!(at(6.25), (6, 7, 0.25));
        assert_eq!(at(7.0), (7, 7, 0.0));
    }

    #[test]
    fn into_another_scene_the_picture_changes_half_a_frame_before_it() {
        // The old scene's last picture stands three times.
        let passages = [(0, 3, true), (3, 4, true), (4, 5, true), (5, 6, true), (6, 7, true)];
        for (position, phase) in [(0.5, 0.0), (2.25, 0.25), (2.75, 0.75)] {
            assert_eq!(at(&passages, Some(0), position), (0, 3, phase));
        }
    }
}
