//! Between which frames of a source something moves.
//!
//! Generators often emit every frame twice, and whoever only looks at neighbours sees motion that
//! stops and jumps. So frames are put together to passages: from a picture to the next *other*
//! picture, over up to [`MAX_REPEATS`] repeats of the first. A picture that stays longer than that
//! is meant to stand still; then only the last frame time before the next picture moves.
//!
//! Holds: passages follow each other without a gap, from the first frame to the last; one that moves
//! begins with a picture and ends with the next other one; nothing is decided later than
//! [`MAX_REPEATS`] + 1 frames after its beginning.

use crate::media::{Frame, FrameRef, PlaneRef};
use crate::render::flow;

/// Repeats of a frame over which motion is spread.
pub const MAX_REPEATS: u64 = 3;

/// What happens from one frame to another. Frames are counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passage {
    pub from: u64,
    /// Greater than `from`.
    pub to: u64,
    /// The picture of `from` goes over into that of `to`; frames between them repeat `from`.
    /// Otherwise all of these frames show one picture.
    pub moves: bool,
}

/// Puts frames together to passages, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Passages {
    /// Frames so far.
    count: u64,
    /// Where the next passage begins.
    from: u64,
    /// The first frame that shows the present picture.
    picture: u64,
    /// The present picture has stood for so long that it stands still.
    still: bool,
}

impl Passages {
    /// The first frame that shows the present picture: with this the next one is compared.
    pub fn picture(&self) -> u64 {
        self.picture
    }

    /// Adds a frame. `repeats`: it shows the same as frame [`Passages::picture`]; not looked at for
    /// the first one. Returns the passage that ends with this frame, if one does.
    pub fn add(&mut self, repeats: bool) -> Option<Passage> {
        let index = self.count;
        self.count += 1;
        if index == 0 {
            return None;
        }
        if repeats {
            let repeats = index - self.from;
            if !self.still && repeats <= MAX_REPEATS {
                return None;
            }
            self.still = true;
        } else {
            self.still = false;
            self.picture = index;
        }
        let passage = Passage { from: self.from, to: index, moves: !self.still };
        self.from = index;
        Some(passage)
    }

    /// No more frames: the passage that is left, which stands still.
    pub fn end(&mut self) -> Option<Passage> {
        let last = self.count.checked_sub(1)?;
        let passage = Passage { from: self.from, to: last, moves: false };
        self.from = last;
        (passage.to > passage.from).then_some(passage)
    }
}

/// The passages of a whole clip.
pub fn passages(frames: &[Frame]) -> Vec<Passage> {
    let mut passages = Passages::default();
    let mut list = Vec::new();
    for frame in frames {
        let picture = &frames[passages.picture() as usize];
        list.extend(passages.add(is_repeat(picture.as_ref(), frame.as_ref())));
    }
    list.extend(passages.end());
    list
}

/// Whether two frames show one picture, but for what an encoder does to it. Of frames that differ
/// hardly more is read than up to where they do.
pub fn is_repeat(a: FrameRef, b: FrameRef) -> bool {
    let planes = [(a.y, b.y), (a.u, b.u), (a.v, b.v)];
    planes
        .into_iter()
        .all(|(a, b)| (a.width, a.height) == (b.width, b.height) && flow::is_repeat(a, b))
}

/// Whether two pictures differ so much that another scene may begin: worth a closer look.
pub fn may_be_cut(a: PlaneRef, b: PlaneRef) -> bool {
    /// Of so many rows one is looked at.
    const ROWS: usize = 4;
    /// Mean difference, in levels. It takes 12 for [`crate::media::MotionKind::Cut`].
    const LEAST: u64 = 10;
    let rows = a.rows().zip(b.rows()).step_by(ROWS);
    let (total, count) = rows.fold((0, 0), |(total, count), (a, b)| {
        let sum: u32 = a.iter().zip(b).map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
        (total + u64::from(sum), count + a.len() as u64)
    });
    total > LEAST * count
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The passages of a film of which each letter is a picture.
    fn of(film: &str) -> Vec<(u64, u64, bool)> {
        let film = film.as_bytes();
        let mut passages = Passages::default();
        let mut list = Vec::new();
        for frame in film {
            list.extend(passages.add(*frame == film[passages.picture() as usize]));
        }
        list.extend(passages.end());
        list.iter().map(|p| (p.from, p.to, p.moves)).collect()
    }

    #[test]
    fn motion_is_spread_over_repeats() {
        assert_eq!(of("abc"), [(0, 1, true), (1, 2, true)]);
        assert_eq!(of("aabbcc"), [(0, 2, true), (2, 4, true), (4, 5, false)]);
        assert_eq!(of("aaaabc"), [(0, 4, true), (4, 5, true)]);
    }

    #[test]
    fn a_long_standstill_stands_still_until_its_last_frame_time() {
        assert_eq!(of("aaaaab"), [(0, 4, false), (4, 5, true)]);
        assert_eq!(
            of("aaaaaaabb"),
            [(0, 4, false), (4, 5, false), (5, 6, false), (6, 7, true), (7, 8, false)]
        );
    }

    #[test]
    fn one_frame_is_no_passage_and_two_alike_stand_still() {
        assert_eq!(of(""), []);
        assert_eq!(of("a"), []);
        assert_eq!(of("aa"), [(0, 1, false)]);
    }

    proptest! {
        #[test]
        fn passages_tell_what_the_film_shows(film in "[ab]{0,40}") {
            let list = of(&film);
            let film = film.as_bytes();
            let mut at = 0;
            for (from, to, moves) in list {
                prop_assert_eq!(from, at);
                prop_assert!(to > from && to - from <= MAX_REPEATS + 1);
                let shown = &film[from as usize..to as usize];
                prop_assert!(shown.iter().all(|frame| *frame == shown[0]));
                prop_assert_eq!(film[to as usize] != shown[0], moves);
                at = to;
            }
            prop_assert_eq!(at, (film.len() as u64).saturating_sub(1));
        }
    }

    fn noise(seed: u64, frame: &Frame, levels: u8) -> Frame {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut noisy = frame.clone();
        for plane in [&mut noisy.y, &mut noisy.u, &mut noisy.v] {
            for pixel in plane {
                *pixel = pixel.saturating_add(rng.u8(0..=levels)).saturating_sub(levels / 2);
            }
        }
        noisy
    }

    #[test]
    fn what_an_encoder_leaves_is_no_motion_but_a_small_thing_that_moves_is() {
        // Odd, so that there are parts of blocks.
        let mut frame = Frame::black(333, 217);
        for (i, pixel) in frame.y.iter_mut().enumerate() {
            *pixel = (i / 3 % 200) as u8 + 20;
        }
        assert!(is_repeat(frame.as_ref(), frame.as_ref()));
        assert!(is_repeat(frame.as_ref(), noise(1, &frame, 1).as_ref()));
        assert!(!is_repeat(frame.as_ref(), noise(2, &frame, 12).as_ref()));

        // A few pixels in the last corner.
        let mut moved = frame.clone();
        for (x, y) in (328..333).flat_map(|x| (212..217).map(move |y| (x, y))) {
            moved.y[y * 333 + x] = 235;
        }
        assert!(!is_repeat(frame.as_ref(), moved.as_ref()));
        let mut turned = frame.clone();
        turned.v.fill(131);
        assert!(!is_repeat(frame.as_ref(), turned.as_ref()));
        assert!(!is_repeat(frame.as_ref(), Frame::black(333, 216).as_ref()));
    }
}
