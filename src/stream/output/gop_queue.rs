//! What waits for a network that is slower than the stream.
//!
//! Holds: units leave by time, pictures and sound mixed, from a key frame on. Policy when more
//! than its limit waits: the oldest group of pictures (or what is left of it) is dropped up to the
//! next key frame, never a single picture out of a group, and counted. Sound is never dropped.

use std::collections::VecDeque;
use std::time::Duration;

use crate::stream::fanout::{Unit, UnitKind};

/// Sound that may wait for the first key frame.
const EARLY_SOUND: usize = 1024;

/// When even the sound waits this long, leaving out pictures does not help.
const SOUND_LIMIT: Duration = Duration::from_secs(10);

pub struct GopQueue {
    video: VecDeque<Unit>,
    sound: VecDeque<Unit>,
    /// Pictures are of no use up to the next key frame.
    until_key: bool,
    /// Show time of the first key frame; the stream begins there.
    start_ns: Option<u64>,
    /// Show time of the last picture that left.
    left_ns: u64,
    /// Show time of the newest picture that came, whether it is still here or not.
    came_ns: u64,
    bytes: u64,
    most: Limit,
}

/// What may wait.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    pub media: Duration,
    pub bytes: u64,
}

impl Default for Limit {
    fn default() -> Self {
        Limit { media: Duration::from_secs(3), bytes: 16 << 20 }
    }
}

/// What did not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    pub groups: u64,
    pub pictures: u64,
}

impl GopQueue {
    /// Begins at the next key frame.
    pub fn new(most: Limit) -> Self {
        GopQueue {
            video: VecDeque::new(),
            sound: VecDeque::new(),
            until_key: true,
            start_ns: None,
            left_ns: 0,
            came_ns: 0,
            bytes: 0,
            most,
        }
    }

    /// Show time of the first picture, once it is there.
    pub fn start_ns(&self) -> Option<u64> {
        self.start_ns
    }

    /// Adds a unit, and makes room for it.
    #[must_use]
    pub fn push(&mut self, unit: Unit) -> Dropped {
        let mut dropped = Dropped::default();
        match unit.kind {
            UnitKind::Audio => self.push_sound(unit),
            UnitKind::Video { key, .. } => {
                self.came_ns = unit.pts_ns;
                if key {
                    self.until_key = false;
                    self.begin(unit.pts_ns);
                }
                if !self.until_key {
                    self.bytes += unit.buffer.size() as u64;
                    self.video.push_back(unit);
                } else if self.start_ns.is_some() {
                    // The rest of a group that was dropped.
                    dropped.pictures += 1;
                }
            }
        }
        while !self.video.is_empty()
            && (self.waiting() > self.most.media || self.bytes > self.most.bytes)
        {
            dropped.groups += 1;
            dropped.pictures += self.drop_group();
        }
        dropped
    }

    fn push_sound(&mut self, unit: Unit) {
        match self.start_ns {
            // Sound is encoded sooner than the picture that it belongs to.
            None if self.sound.len() == EARLY_SOUND => {
                if let Some(old) = self.sound.pop_front() {
                    self.bytes -= old.buffer.size() as u64;
                }
            }
            Some(start_ns) if unit.pts_ns < start_ns => return,
            _ => {}
        }
        self.bytes += unit.buffer.size() as u64;
        self.sound.push_back(unit);
    }

    fn begin(&mut self, pts_ns: u64) {
        if self.start_ns.is_some() {
            return;
        }
        self.start_ns = Some(pts_ns);
        while let Some(early) = self.sound.pop_front_if(|unit| unit.pts_ns < pts_ns) {
            self.bytes -= early.buffer.size() as u64;
        }
    }

    /// Drops pictures up to the next key frame; returns how many.
    fn drop_group(&mut self) -> u64 {
        let mut pictures = 0;
        while let Some(unit) = self.video.pop_front_if(|unit| pictures == 0 || !unit.is_key()) {
            self.bytes -= unit.buffer.size() as u64;
            pictures += 1;
        }
        self.until_key = self.video.is_empty();
        pictures
    }

    /// The next unit by time, if it can go. Sound goes when the picture behind it is there, so
    /// that it never runs ahead.
    pub fn pop(&mut self) -> Option<Unit> {
        let picture_ns = self.video.front().map(|unit| unit.pts_ns);
        let up_to_ns = picture_ns.or(self.start_ns.and(Some(self.left_ns)))?;
        let unit = match self.sound.pop_front_if(|unit| unit.pts_ns < up_to_ns) {
            Some(sound) => sound,
            None => {
                let picture = self.video.pop_front()?;
                self.left_ns = picture.pts_ns;
                picture
            }
        };
        self.bytes -= unit.buffer.size() as u64;
        Some(unit)
    }

    /// The next unit that [`Self::pop`] would give waits.
    pub fn has_next(&self) -> bool {
        !self.video.is_empty()
    }

    /// Pictures that wait, by their time.
    pub fn waiting(&self) -> Duration {
        span(&self.video)
    }

    /// Even the sound of the stream has no room: the connection is of no use. Sound whose pictures
    /// have not come yet waits for them, however far an encoder is behind.
    pub fn sound_is_stuck(&self) -> bool {
        let limit_ns = SOUND_LIMIT.as_nanos() as u64;
        self.start_ns.is_some()
            && self.sound.front().is_some_and(|first| first.pts_ns + limit_ns <= self.came_ns)
    }
}

fn span(units: &VecDeque<Unit>) -> Duration {
    match (units.front(), units.back()) {
        (Some(first), Some(last)) => {
            let end_ns = last.pts_ns + last.duration_ns;
            Duration::from_nanos(end_ns.saturating_sub(first.pts_ns))
        }
        _ => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FRAME_NS: u64 = 1_000_000_000 / 60;
    const GROUP: u64 = 60;

    fn picture(n: u64) -> Unit {
        let key = n.is_multiple_of(GROUP);
        let kind = UnitKind::Video { key, mark: false, new_encoder: false };
        unit(kind, n * FRAME_NS, FRAME_NS)
    }

    fn sound(n: u64) -> Unit {
        unit(UnitKind::Audio, n * 21_333_333, 21_333_333)
    }

    fn unit(kind: UnitKind, pts_ns: u64, duration_ns: u64) -> Unit {
        crate::stream::init().unwrap();
        let buffer = gstreamer::Buffer::with_size(100).unwrap();
        Unit { kind, pts_ns, duration_ns, buffer }
    }

    fn is_sound(unit: &Unit) -> bool {
        unit.kind == UnitKind::Audio
    }

    #[test]
    fn it_begins_at_a_key_frame_with_the_sound_from_there_on() {
        let mut queue = GopQueue::new(Limit::default());
        for n in 0..100 {
            assert_eq!(queue.push(sound(n)), Dropped::default());
        }
        for n in 10..=60 {
            assert_eq!(queue.push(picture(n)), Dropped::default());
            assert_eq!(queue.start_ns().is_some(), n == 60);
        }
        let first = queue.pop().unwrap();
        assert_eq!((first.pts_ns, is_sound(&first)), (60 * FRAME_NS, false));
        // The sound behind it waits for the next picture.
        assert!(queue.pop().is_none());
        assert_eq!(queue.push(picture(61)), Dropped::default());
        let next = queue.pop().unwrap();
        assert!(is_sound(&next) && next.pts_ns >= 60 * FRAME_NS && next.pts_ns < 61 * FRAME_NS);
    }

    #[test]
    fn when_full_the_rest_of_the_oldest_group_goes() {
        let mut queue = GopQueue::new(Limit::default());
        assert_eq!(queue.push(picture(0)), Dropped::default());
        assert!(queue.pop().is_some());
        for n in 1..=180 {
            assert_eq!(queue.push(picture(n)), Dropped::default(), "{n}");
        }
        assert_eq!(queue.push(picture(181)), Dropped { groups: 1, pictures: 59 });
        assert_eq!(queue.pop().unwrap().pts_ns, 60 * FRAME_NS);
    }

    #[test]
    fn a_group_longer_than_the_limit_goes_whole_and_counts_once() {
        let limit = Limit { media: Duration::from_millis(500), ..Limit::default() };
        let mut queue = GopQueue::new(limit);
        let mut all = Dropped::default();
        for n in 0..GROUP {
            let dropped = queue.push(picture(n));
            all.groups += dropped.groups;
            all.pictures += dropped.pictures;
        }
        assert_eq!(all, Dropped { groups: 1, pictures: GROUP });
        assert!(!queue.has_next());
        assert_eq!(queue.push(picture(GROUP)), Dropped::default());
        assert!(queue.pop().unwrap().is_key());
    }

    #[test]
    fn sound_that_waits_for_a_late_encoder_is_not_stuck() {
        let mut queue = GopQueue::new(Limit::default());
        assert_eq!(queue.push(picture(0)), Dropped::default());
        assert!(queue.pop().is_some());
        for n in 0..940 {
            assert_eq!(queue.push(sound(n)), Dropped::default());
            assert!(!queue.sound_is_stuck());
        }
        // Pictures of twenty seconds came and went, and all that time the sound found no room.
        for n in 1..=1200 {
            let _ = queue.push(picture(n));
            assert_eq!(queue.sound_is_stuck(), n > 600, "{n}");
        }
    }

    proptest! {
        #[test]
        fn what_leaves_is_decodable_in_order_and_accounted_for(
            steps in prop::collection::vec(0..3u32, 1..600), media_ms in 100..4000u64
        ) {
            let media = Duration::from_millis(media_ms);
            let mut queue = GopQueue::new(Limit { media, ..Limit::default() });
            let (mut n, mut heard, mut dropped) = (0, 0, 0);
            let (mut pictures, mut sounds, mut last_ns) = (Vec::new(), 0, 0);
            for step in steps {
                if step < 2 {
                    while heard * 21_333_333 <= n * FRAME_NS {
                        dropped += queue.push(sound(heard)).pictures;
                        heard += 1;
                    }
                    dropped += queue.push(picture(n)).pictures;
                    n += 1;
                    prop_assert!(queue.waiting() <= media);
                } else if let Some(unit) = queue.pop() {
                    prop_assert!(unit.pts_ns >= last_ns);
                    last_ns = unit.pts_ns;
                    if is_sound(&unit) { sounds += 1 } else { pictures.push(unit.pts_ns / FRAME_NS) }
                }
            }
            let waiting = queue.video.len() as u64;
            prop_assert_eq!(n, pictures.len() as u64 + dropped + waiting);
            prop_assert_eq!(heard, sounds + queue.sound.len() as u64);
            // A gap ends at a key frame.
            for pair in pictures.windows(2) {
                let next = pair[1];
                prop_assert!(next == pair[0] + 1 || next.is_multiple_of(GROUP), "{:?}", pair);
            }
        }
    }
}
