//! The ring between whoever brings the sound and the render thread.
//!
//! Every frame of sound has its place in the show. Samples go through the ring in order; where a
//! stretch begins, a mark says at which place.
//!
//! Holds: the reader gets exactly the frames of the places that it asks for. What is not there is
//! silence, what comes too late is left out, and neither begins nor ends with a click. Neither end
//! waits or allocates.

use super::CHANNELS;

/// Frames of sound that fit: over a second.
const CAPACITY: usize = 1 << 16;
/// Stretches that may be in the ring at the same time. When it is full nothing is taken.
const MARKS: usize = 64;
/// Frames over which sound comes in, behind silence.
const FADE_IN: u32 = 240;
/// What is left of the last sample from frame to frame, where sound breaks off: gone within 4 ms.
const FADE_OUT: f32 = 0.97;

#[derive(Clone, Copy, Debug)]
struct Mark {
    /// Of the first frame of the stretch, counted from the ring's first.
    index: u64,
    place: u64,
}

pub struct Writer {
    samples: rtrb::Producer<f32>,
    marks: rtrb::Producer<Mark>,
    /// Frames written so far.
    index: u64,
    /// Place of the next frame; `None`: a mark has to say.
    place: Option<u64>,
}

pub struct Reader {
    samples: rtrb::Consumer<f32>,
    marks: rtrb::Consumer<Mark>,
    index: u64,
    place: u64,
    /// What was read last, and how far sound has come in.
    last: [f32; CHANNELS],
    faded_in: u32,
}

pub fn ring() -> (Writer, Reader) {
    let (samples_in, samples) = rtrb::RingBuffer::new(CAPACITY * CHANNELS);
    let (marks_in, marks) = rtrb::RingBuffer::new(MARKS);
    let writer = Writer { samples: samples_in, marks: marks_in, index: 0, place: None };
    let last = [0.0; CHANNELS];
    (writer, Reader { samples, marks, index: 0, place: 0, last, faded_in: 0 })
}

impl Writer {
    /// The place of the next frame.
    pub fn place(&self) -> Option<u64> {
        self.place
    }

    /// What comes next stands there.
    pub fn go_to(&mut self, place: u64) {
        if self.place != Some(place) {
            self.place =
                self.marks.push(Mark { index: self.index, place }).is_ok().then_some(place);
        }
    }

    /// Writes whole frames, in the places behind those before; false: not all found room, and the
    /// next ones need a new place.
    pub fn write(&mut self, samples: &[f32]) -> bool {
        let Some(place) = self.place else { return false };
        let room = self.samples.slots() / CHANNELS * CHANNELS;
        let now = &samples[..room.min(samples.len())];
        if self.samples.push_entire_slice(now).is_err() {
            return false;
        }
        let frames = (now.len() / CHANNELS) as u64;
        self.index += frames;
        let all = now.len() == samples.len();
        self.place = all.then_some(place + frames);
        all
    }

    /// Frames that find room.
    pub fn room(&self) -> usize {
        self.samples.slots() / CHANNELS
    }

    pub fn is_abandoned(&self) -> bool {
        self.samples.is_abandoned()
    }
}

impl Reader {
    /// Fills `out` (whole frames) with the frames from `place` on; returns how many were there.
    pub fn read(&mut self, place: u64, out: &mut [f32]) -> usize {
        let frames = out.len() / CHANNELS;
        let (mut filled, mut found) = (0, 0);
        while filled < frames {
            // First what is there, then where it stands: the mark was written before.
            let there = self.samples.slots() / CHANNELS;
            let next_mark = loop {
                match self.marks.peek().copied() {
                    Ok(mark) if mark.index <= self.index => {
                        self.place = mark.place;
                        let _ = self.marks.pop();
                    }
                    Ok(mark) => break Some(mark.index),
                    Err(_) => break None,
                }
            };
            let until = next_mark.map_or(u64::MAX, |mark| mark - self.index);
            let there = there.min(until.min(CAPACITY as u64) as usize);
            if there == 0 {
                break;
            }
            let wanted = place + filled as u64;
            if self.place < wanted {
                let late = (wanted - self.place).min(there as u64) as usize;
                self.skip(late);
            } else if self.place > wanted {
                let gap = ((self.place - wanted) as usize).min(frames - filled);
                self.silence(&mut out[filled * CHANNELS..][..gap * CHANNELS]);
                filled += gap;
                if filled == frames {
                    return found;
                }
            } else {
                let take = there.min(frames - filled);
                let now = &mut out[filled * CHANNELS..][..take * CHANNELS];
                if self.samples.pop_entire_slice(now).is_err() {
                    break;
                }
                self.fade_in(now);
                self.index += take as u64;
                self.place += take as u64;
                filled += take;
                found += take;
            }
        }
        self.silence(&mut out[filled * CHANNELS..]);
        found
    }

    /// Frames that lie ready.
    pub fn fill(&self) -> usize {
        self.samples.slots() / CHANNELS
    }

    fn skip(&mut self, frames: usize) {
        if let Ok(chunk) = self.samples.read_chunk(frames * CHANNELS) {
            chunk.commit_all();
            self.index += frames as u64;
            self.place += frames as u64;
            self.faded_in = 0;
        }
    }

    /// The last sample dies away.
    fn silence(&mut self, out: &mut [f32]) {
        for frame in out.chunks_exact_mut(CHANNELS) {
            for (sample, last) in frame.iter_mut().zip(&mut self.last) {
                *last *= FADE_OUT;
                if !last.is_finite() || last.abs() < 1e-6 {
                    *last = 0.0;
                }
                *sample = *last;
            }
            self.faded_in = 0;
        }
    }

    fn fade_in(&mut self, sound: &mut [f32]) {
        for frame in sound.chunks_exact_mut(CHANNELS) {
            if self.faded_in == FADE_IN {
                break;
            }
            self.faded_in += 1;
            let gain = self.faded_in as f32 / FADE_IN as f32;
            for (sample, last) in frame.iter_mut().zip(&mut self.last) {
                *last *= FADE_OUT;
                *sample = *sample * gain + *last * (1.0 - gain);
            }
        }
        if let Some(frame) = sound.last_chunk::<CHANNELS>() {
            self.last = *frame;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Frames whose samples say their number, far from the fades.
    fn numbers(from: u64, count: u64) -> Vec<f32> {
        (from..from + count).flat_map(|n| [n as f32, -(n as f32)]).collect()
    }

    #[test]
    fn frames_come_out_at_their_places() {
        let (mut writer, mut reader) = ring();
        writer.go_to(1000);
        assert!(writer.write(&numbers(1000, 2000)));
        let mut out = vec![9.0; 1600];
        assert_eq!(reader.read(0, &mut out), 0);
        assert!(out.iter().all(|s| *s == 0.0));
        assert_eq!(reader.read(800, &mut out), 600);
        assert!(out[..400].iter().all(|s| *s == 0.0));
        assert_eq!(out[1598], 1599.0);
        // What is late is left out.
        assert_eq!(reader.read(2000, &mut out), 800);
        assert_eq!(out[1598], 2799.0);
        assert_eq!(reader.read(2800, &mut out), 200);
        assert!(out[1599].abs() < 0.001);
    }

    #[test]
    fn sound_breaks_off_and_comes_back_without_a_click() {
        let (mut writer, mut reader) = ring();
        writer.go_to(0);
        let loud = vec![0.8; 2 * 2000];
        writer.write(&loud);
        let mut out = vec![0.0; 2 * 6000];
        reader.read(0, &mut out[..2 * 3000]);
        writer.go_to(4000);
        writer.write(&loud);
        reader.read(3000, &mut out[2 * 3000..]);
        let step = out.windows(3).map(|w| (w[2] - w[0]).abs()).fold(0.0, f32::max);
        assert!(step < 0.03, "a step of {step}");
        assert_eq!(out[2 * 1999], 0.8);
        assert_eq!(out[2 * 3900], 0.0);
        assert_eq!(out[2 * 5000], 0.8);
    }

    proptest! {
        #[test]
        fn a_frame_is_heard_in_its_place_or_not_at_all(
            writes in prop::collection::vec((0u64..3000, 1u64..900), 1..40),
        ) {
            let (mut writer, mut reader) = ring();
            let (mut at, mut out) = (0u64, vec![0.0; 2 * 512]);
            for (jump, count) in writes {
                if jump < 2000 {
                    writer.go_to(at + jump);
                }
                if let Some(place) = writer.place() {
                    writer.write(&numbers(place, count));
                }
                reader.read(at, &mut out);
                for (i, frame) in out.chunks_exact(2).enumerate() {
                    // Fades only make it softer.
                    prop_assert!(frame[0] >= 0.0 && frame[0] <= (at + i as u64) as f32 + 0.5);
                    prop_assert_eq!(frame[0], -frame[1]);
                }
                at += 512;
            }
        }
    }
}
