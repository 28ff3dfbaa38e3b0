//! The InspeQtor: shapes a cycle's archived video, and suggests the next small change.
//!
//! Holds: the raw clip is never touched. A loop plays at the clip's speed whatever its rate.

use std::sync::Arc;

use super::construqtor::Built;
use super::{Briq, instruqtor};
use crate::archive::Project;
use crate::base::error::Result;
use crate::base::fsio::link_or_copy;
use crate::base::time::FrameRate;
use crate::config::{LoopMethod, Looping};
use crate::generate::blocking;
use crate::media::{ClipEncoder, CycleId, Frame};

/// Writes `cycleNNNN_video.mp4`: looped as configured, or the raw clip itself under a second name.
/// Notes it in the briq, with a suggestion for the next cycle. Returns its length in seconds.
pub async fn inspect(
    briq: &mut Briq,
    built: &Arc<Built>,
    looping: &Looping,
    encoder: Arc<dyn ClipEncoder>,
    project: &Project,
) -> Result<f64> {
    let path = project.cycle_video(built.clip.cycle);
    let (shared, target, looping) = (built.clone(), path.clone(), looping.clone());
    let seconds = blocking(move || {
        let (clip, frames) = (&shared.clip, &shared.frames[..]);
        if !looping.enabled {
            return link_or_copy(&clip.path, &target).map(|()| clip.seconds());
        }
        let looped = match looping.method {
            LoopMethod::Pingpong => pingpong(frames),
            LoopMethod::Crossfade => crossfade(frames, looping.crossfade_frames as usize),
        };
        let (from, to) = (clip.format.fps, looping.output_fps.unwrap_or(clip.format.fps));
        let count = retimed_len(looped.len(), from, to);
        let mut frames = (0..count).map(|i| looped[source_index(i, looped.len(), from, to)].get());
        encoder.encode(&mut frames, to, &target)?;
        Ok(count as f64 * to.frame_seconds())
    })
    .await?;
    briq.looped_video_path = Some(project.recorded_path(&path));
    let next = instruqtor::suggestion(CycleId(briq.cycle_index + 1));
    // A language model's reason stays.
    briq.evolution_suggestion.get_or_insert_with(|| next.into());
    briq.suggested_prompt_delta = Some(next.into());
    Ok(seconds)
}

/// A frame of a loop: one of the clip's, or a blend made for the loop.
enum LoopFrame<'a> {
    Same(&'a Frame),
    Blend(Frame),
}

impl LoopFrame<'_> {
    fn get(&self) -> &Frame {
        match self {
            LoopFrame::Same(frame) => frame,
            LoopFrame::Blend(frame) => frame,
        }
    }
}

/// Forwards, then backwards; neither end is shown twice, also not where the loop closes.
fn pingpong(frames: &[Frame]) -> Vec<LoopFrame<'_>> {
    let inner = frames.get(1..frames.len() - 1).unwrap_or_default();
    frames.iter().chain(inner.iter().rev()).map(LoopFrame::Same).collect()
}

/// The last `overlap` frames (at most half of all) are faded into the first ones and left out at
/// the end, so the loop closes without a jump.
fn crossfade(frames: &[Frame], overlap: usize) -> Vec<LoopFrame<'_>> {
    let overlap = overlap.min(frames.len() / 2);
    let (body, tail) = frames.split_at(frames.len() - overlap);
    let blends = tail.iter().zip(body).enumerate().map(|(i, (end, start))| {
        LoopFrame::Blend(blend(end, start, i as u32 + 1, overlap as u32 + 1))
    });
    blends.chain(body[overlap..].iter().map(LoopFrame::Same)).collect()
}

/// `part` of `whole` of `b` over `a`, which is of the same size.
fn blend(a: &Frame, b: &Frame, part: u32, whole: u32) -> Frame {
    let mix = |a: &[u8], b: &[u8]| {
        let mixed = |(a, b): (&u8, &u8)| {
            ((u32::from(*a) * (whole - part) + u32::from(*b) * part + whole / 2) / whole) as u8
        };
        a.iter().zip(b).map(mixed).collect()
    };
    Frame {
        width: a.width,
        height: a.height,
        y: mix(&a.y, &b.y),
        u: mix(&a.u, &b.u),
        v: mix(&a.v, &b.v),
    }
}

/// How many frames at `to` last as long as `frames` at `from`, at least one.
fn retimed_len(frames: usize, from: FrameRate, to: FrameRate) -> usize {
    let seconds = frames as f64 * from.frame_seconds();
    ((seconds * to.as_f64()).round() as usize).max(1)
}

/// The frame at `from` that is on at the start of frame `index` at `to`.
fn source_index(index: usize, frames: usize, from: FrameRate, to: FrameRate) -> usize {
    let exact = |a: FrameRate, b: FrameRate| u64::from(a.num()) * u64::from(b.den());
    let source = index as u128 * u128::from(exact(from, to)) / u128::from(exact(to, from));
    (source as usize).min(frames - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn numbered(count: u8) -> Vec<Frame> {
        let frame = |i| {
            let mut frame = Frame::black(2, 2);
            frame.y.fill(i);
            frame
        };
        (0..count).map(frame).collect()
    }

    fn lumas(frames: &[LoopFrame<'_>]) -> Vec<u8> {
        frames.iter().map(|frame| frame.get().y[0]).collect()
    }

    #[test]
    fn pingpong_shows_no_end_twice() {
        assert_eq!(lumas(&pingpong(&numbered(4))), [0, 1, 2, 3, 2, 1]);
        assert_eq!(lumas(&pingpong(&numbered(2))), [0, 1]);
        assert_eq!(lumas(&pingpong(&numbered(1))), [0]);
    }

    #[test]
    fn crossfade_leads_the_end_into_the_start() {
        let frames: Vec<Frame> = numbered(101).into_iter().step_by(20).collect();
        assert_eq!(lumas(&frames.iter().map(LoopFrame::Same).collect::<Vec<_>>()).len(), 6);
        // 0 20 40 60 | 80 100: two thirds of 80 over 0, one third of 100 over 20, then on.
        assert_eq!(lumas(&crossfade(&frames, 2)), [53, 47, 40, 60]);
        assert_eq!(crossfade(&frames, 0).len(), 6);
        assert_eq!(crossfade(&frames, 99).len(), 3);
        assert_eq!(crossfade(&numbered(1), 8).len(), 1);
    }

    proptest! {
        #[test]
        fn another_rate_keeps_the_length(frames in 1usize..200, from in 1u32..61, to in 1u32..61) {
            let (from, to) = (FrameRate::whole(from), FrameRate::whole(to));
            let count = retimed_len(frames, from, to);
            let error = count as f64 * to.frame_seconds() - frames as f64 * from.frame_seconds();
            prop_assert!(count == 1 || error.abs() <= to.frame_seconds() / 2.0 + 1e-9);
            let shown: Vec<_> = (0..count).map(|i| source_index(i, frames, from, to)).collect();
            prop_assert!(shown.is_sorted());
            if from == to {
                prop_assert!(shown.into_iter().eq(0..frames));
            }
        }
    }
}
