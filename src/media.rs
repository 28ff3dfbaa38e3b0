//! What pictures and clips are, for every room.
//!
//! Holds: a [`Frame`] is I420 (planar Y, U, V; chroma at half width and height, rounded up),
//! BT.709, limited range, 8 bits. Pictures of any other kind are converted once, on the way in.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::base::error::Result;
use crate::base::time::FrameRate;

/// The number of a cycle within its project, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CycleId(pub u32);

impl fmt::Display for CycleId {
    /// Four digits, as in file names: `0007`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}", self.0)
    }
}

/// Size and rate of a video. Sizes are in pixels of luma.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VideoFormat {
    pub width: u32,
    pub height: u32,
    pub fps: FrameRate,
}

/// One picture with tight planes: the stride of `y` is `width`, that of `u` and `v` is
/// `width.div_ceil(2)`.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    pub width: u32,
    pub height: u32,
    pub y: Vec<u8>,
    pub u: Vec<u8>,
    pub v: Vec<u8>,
}

impl Frame {
    /// A black picture.
    pub fn black(width: u32, height: u32) -> Self {
        let chroma = (width.div_ceil(2) * height.div_ceil(2)) as usize;
        Frame {
            width,
            height,
            y: vec![16; (width * height) as usize],
            u: vec![128; chroma],
            v: vec![128; chroma],
        }
    }

    pub fn chroma_width(&self) -> usize {
        self.width.div_ceil(2) as usize
    }

    pub fn chroma_height(&self) -> usize {
        self.height.div_ceil(2) as usize
    }

    /// Bytes of all planes.
    pub fn bytes(&self) -> usize {
        self.y.len() + self.u.len() + self.v.len()
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({}x{})", self.width, self.height)
    }
}

/// One plane of a picture that somebody else owns, to be written: `data` holds `height` rows,
/// `stride` bytes apart, of which the first `width` count.
pub struct PlaneMut<'a> {
    pub data: &'a mut [u8],
    pub stride: usize,
    pub width: usize,
    pub height: usize,
}

/// An I420 picture that somebody else owns (a mapped, pooled buffer), to be written.
pub struct FrameMut<'a> {
    pub y: PlaneMut<'a>,
    pub u: PlaneMut<'a>,
    pub v: PlaneMut<'a>,
}

/// One plane of a picture that somebody else owns, to be read; as [`PlaneMut`].
#[derive(Clone, Copy)]
pub struct PlaneRef<'a> {
    pub data: &'a [u8],
    pub stride: usize,
    pub width: usize,
    pub height: usize,
}

/// An I420 picture that somebody else owns, to be read.
#[derive(Clone, Copy)]
pub struct FrameRef<'a> {
    pub y: PlaneRef<'a>,
    pub u: PlaneRef<'a>,
    pub v: PlaneRef<'a>,
}

impl<'a> PlaneRef<'a> {
    /// Its rows, without what lies between them.
    pub fn rows(&self) -> impl Iterator<Item = &'a [u8]> {
        let rows = self.data.chunks(self.stride.max(1)).take(self.height);
        let width = self.width;
        rows.map(move |row| &row[..width])
    }
}

impl Frame {
    pub fn as_ref(&self) -> FrameRef<'_> {
        let (w, h) = (self.width as usize, self.height as usize);
        let (cw, ch) = (self.chroma_width(), self.chroma_height());
        FrameRef {
            y: PlaneRef { data: &self.y, stride: w, width: w, height: h },
            u: PlaneRef { data: &self.u, stride: cw, width: cw, height: ch },
            v: PlaneRef { data: &self.v, stride: cw, width: cw, height: ch },
        }
    }

    pub fn as_mut(&mut self) -> FrameMut<'_> {
        let (w, h) = (self.width as usize, self.height as usize);
        let (cw, ch) = (self.chroma_width(), self.chroma_height());
        FrameMut {
            y: PlaneMut { data: &mut self.y, stride: w, width: w, height: h },
            u: PlaneMut { data: &mut self.u, stride: cw, width: cw, height: ch },
            v: PlaneMut { data: &mut self.v, stride: cw, width: cw, height: ch },
        }
    }
}

/// A finished raw clip in the archive.
#[derive(Clone, Debug, PartialEq)]
pub struct Clip {
    pub cycle: CycleId,
    pub path: PathBuf,
    pub format: VideoFormat,
    /// Number of frames.
    pub frames: u32,
    /// The prompt it was made from, for the status line.
    pub prompt: Arc<str>,
}

impl Clip {
    /// Seconds that it lasts at its own rate.
    pub fn seconds(&self) -> f64 {
        f64::from(self.frames) * self.format.fps.frame_seconds()
    }
}

/// How two neighbouring frames go together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MotionKind {
    #[default]
    Moves,
    /// One picture, shown twice.
    Repeat,
    /// Another scene begins.
    Cut,
}

/// The motion between two neighbouring frames `a` and `b`, as seen half-way between them: on a grid
/// of cells over that in-between picture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Motion {
    pub kind: MotionKind,
    /// Pixels of luma along the edge of a cell: a power of two, at least 4.
    pub cell_px: u32,
    /// Cells, which cover the whole picture.
    pub width: usize,
    pub height: usize,
    /// For each cell, along x and y: from where what passes its centre is in `a` to where it is in
    /// `b`, in pixels times [`Motion::ONE_PX`].
    pub vectors: Vec<[i16; 2]>,
    /// For each cell, 255 being all: how much of it is seen in `a`, and in `b`; how far the warp is
    /// to be trusted, over a blend of both frames as they are; and nothing.
    pub weights: Vec<[u8; 4]>,
}

impl Motion {
    /// One pixel, as vectors have it.
    pub const ONE_PX: i16 = 32;

    pub fn bytes(&self) -> usize {
        4 * (self.vectors.len() + self.weights.len())
    }
}

/// Where a prepared clip comes from; decides how its time on air is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Generated (or archived) material, aired as planned.
    Cycle,
    /// Made in an earlier session: airs only until something new is ready.
    Earlier,
    /// The built-in picture that airs before the first cycle is there.
    StandIn,
}

/// The way from one picture of a clip to the next.
#[derive(Debug)]
pub struct Passage {
    /// Places in [`PreparedClip::frames`]; what stands between them repeats `from`.
    pub from: usize,
    pub to: usize,
    /// Another picture comes. Otherwise all of it shows one.
    pub moves: bool,
    /// The motion between the two pictures, once it is known.
    pub motion: OnceLock<Motion>,
}

impl Passage {
    pub fn new(from: usize, to: usize, moves: bool) -> Self {
        Passage { from, to, moves, motion: OnceLock::new() }
    }

    /// Its motion is not known yet, and is of use.
    pub fn is_open(&self) -> bool {
        self.moves && self.motion.get().is_none()
    }
}

/// The clip out of one of whose pictures the first `frames` frames of another grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grown {
    pub serial: u64,
    pub cycle: CycleId,
    pub reversed: bool,
    pub frames: u32,
    /// Place of that picture in [`PreparedClip::frames`]; `None`: the last one.
    pub at: Option<u32>,
}

/// A clip that is ready for the picture: decoded. The motion in it is found while it waits.
#[derive(Debug)]
pub struct PreparedClip {
    pub origin: Origin,
    pub clip: Clip,
    /// The frames stand in reverse order (a prepared set that is played back and forth).
    pub reversed: bool,
    /// At least one; all of the size in `clip.format`.
    pub frames: Vec<Frame>,
    /// Each begins where the one before ends, from the first frame to the last.
    pub passages: Vec<Passage>,
    /// Tells it from every other.
    pub serial: u64,
    /// The clip out of which its first frames grow.
    pub grown_from: Option<Grown>,
    /// For each frame the passage that leads on from there.
    place: Vec<u32>,
    /// Of all frames, and of the motion that will be there.
    bytes: usize,
}

impl PreparedClip {
    /// `passages` as in [`PreparedClip::passages`]; `motion_bytes` is what each will take.
    pub fn new(
        (origin, clip, reversed): (Origin, Clip, bool),
        frames: Vec<Frame>,
        passages: Vec<Passage>,
        motion_bytes: usize,
    ) -> Self {
        let bytes = frames.iter().map(Frame::bytes).sum::<usize>() + passages.len() * motion_bytes;
        let of_frame = |frame| passages.partition_point(|p: &Passage| p.to <= frame) as u32;
        let place = (0..frames.len()).map(of_frame).collect();
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let grown_from = None;
        PreparedClip { origin, clip, reversed, frames, passages, serial, grown_from, place, bytes }
    }

    /// A clip whose pictures all differ.
    pub fn without_repeats(
        about: (Origin, Clip, bool),
        frames: Vec<Frame>,
        motion_bytes: usize,
    ) -> Self {
        let passages = (1..frames.len()).map(|to| Passage::new(to - 1, to, true)).collect();
        PreparedClip::new(about, frames, passages, motion_bytes)
    }

    /// The passage that leads on from `frame`. `None`: it is the last.
    pub fn passage(&self, frame: usize) -> Option<&Passage> {
        self.passages.get(*self.place.get(frame)? as usize)
    }

    /// Bytes that it holds, or will.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// What a decoder found in a file.
#[derive(Debug)]
pub struct DecodedClip {
    pub format: VideoFormat,
    pub frames: Vec<Frame>,
}

/// Reads a clip whole. Implemented in `stream`, handed out by `app`.
pub trait ClipDecoder: Send + Sync {
    /// Decodes every frame of the video at `path`. An error names the file; a file without a
    /// single decodable frame is one.
    fn decode(&self, path: &Path) -> Result<DecodedClip>;
}

/// Writes a clip whole. Implemented in `stream`, handed out by `app`.
pub trait ClipEncoder: Send + Sync {
    /// Encodes `frames` (all of one size) at `fps` as H.264 in MP4 at `path`: written to a
    /// temporary name in the same folder, flushed, then renamed.
    fn encode(
        &self,
        frames: &mut dyn Iterator<Item = &Frame>,
        fps: FrameRate,
        path: &Path,
    ) -> Result<()>;
}

/// Small clips for the tests of every room.
#[cfg(test)]
pub mod testing {
    use super::*;

    /// A clip of 32x16 at 8 fps whose frame `i` has luma `16 + i` everywhere.
    pub fn clip(cycle: u32, frames: u32) -> Arc<PreparedClip> {
        clip_from(Origin::Cycle, cycle, frames)
    }

    pub fn clip_from(origin: Origin, cycle: u32, frames: u32) -> Arc<PreparedClip> {
        let format = VideoFormat { width: 32, height: 16, fps: FrameRate::whole(8) };
        let pictures = (0..frames).map(|i| {
            let mut frame = Frame::black(format.width, format.height);
            frame.y.fill((16 + i).min(235) as u8);
            frame
        });
        let clip = Clip {
            cycle: CycleId(cycle),
            path: PathBuf::from("test.mp4"),
            format,
            frames,
            prompt: "test".into(),
        };
        Arc::new(PreparedClip::without_repeats((origin, clip, false), pictures.collect(), 0))
    }
}
