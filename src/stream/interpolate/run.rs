//! What the element does between two changes of caps: source frames in, output frames out, in
//! order, with work for the crew in between.
//!
//! ```text
//! push --> Retimer --> planned (motion is looked for) --> drawing (frames are drawn) --> pull
//! ```
//!
//! Holds: everything here runs on the streaming thread. Both queues are bounded: `pull` asks for
//! more input only while few stretches are planned.

use std::collections::VecDeque;
use std::sync::Arc;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video as gst_video;

use super::crew::{Crew, Outcome, Pair, Subject, Task};
use super::picture::{Picture, Spare};
use super::{Method, Settings};
use crate::base::time::FrameRate;
use crate::media::{Motion, MotionKind};
use crate::render::flow;
use crate::render::retime::{How, Retimer, Shot, Stretch, is_repeat, may_be_cut};

/// Frames that are drawn, or wait to go out, for each thread.
const DRAWN_AHEAD: usize = 2;

/// Why an output frame shows what it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Passed,
    Interpolated,
    Cut,
    Repeated,
    Degraded,
}

/// What `pull` has.
pub enum Pulled {
    Frame(gst::Buffer, Kind),
    /// More input is wanted.
    Nothing,
}

/// Why there is no frame.
pub enum Fault {
    /// In words.
    Text(String),
    /// GStreamer says so.
    Flow(gst::FlowError),
}

fn fault(text: impl Into<String>) -> Fault {
    Fault::Text(text.into())
}

/// What pictures go in and come out.
#[derive(Clone)]
pub struct Formats {
    pub source: gst_video::VideoInfo,
    pub out: Arc<gst_video::VideoInfo>,
    pub out_rate: FrameRate,
}

impl Formats {
    fn source_rate(&self) -> Option<FrameRate> {
        let fps = self.source.fps();
        FrameRate::new(fps.numer().try_into().ok()?, fps.denom().try_into().ok()?)
    }

    fn are_of_one_size(&self) -> bool {
        let size = |info: &gst_video::VideoInfo| (info.width(), info.height());
        size(&self.source) == size(&self.out)
    }
}

pub struct Run {
    formats: Formats,
    settings: Settings,
    /// Frames come as they are made: nothing is put off for the sake of order.
    live: bool,
    retimer: Retimer,
    /// Source frames from this number on; those that nothing will show are let go.
    frames: VecDeque<Option<Arc<Picture>>>,
    first_frame: u64,
    /// Up to this one it was seen which of them that are.
    sorted: u64,
    /// The first frame of the present picture.
    picture: Option<Arc<Picture>>,
    planned: VecDeque<Planned>,
    /// The number of the first of them.
    first_planned: u64,
    drawing: VecDeque<Drawing>,
    /// The number of the first of them.
    first_drawing: u64,
    /// The source frame that the newest of them shows, and nothing else.
    newest_shows: Option<u64>,
    /// What went out last.
    last_out: Option<gst::Buffer>,
    /// Who takes the frames asks how they lie in memory.
    takes_any_layout: bool,
    crew: Option<Crew>,
    threads: usize,
    /// Of stretches that are done, though frames of them may still be drawn.
    motions: Vec<Arc<Motion>>,
    spare: Spare,
}

/// A stretch of which not all frames are being drawn yet.
struct Planned {
    stretch: Stretch,
    frames: VecDeque<Arc<Picture>>,
    motion: Sought,
    /// The next output frame.
    next: u64,
}

enum Sought {
    /// None is needed, or none was looked for.
    Nothing,
    /// As late pictures have no time for it.
    Late,
    Away,
    Found(Arc<Motion>),
    Cut,
}

struct Drawing {
    pts_ns: u64,
    duration_ns: u64,
    kind: Kind,
    image: Drawn,
}

enum Drawn {
    Away,
    Ready(gst::Buffer),
    /// The same as the frame before.
    Same,
}

impl Run {
    pub fn new(formats: Formats, settings: Settings, live: bool) -> Self {
        let mut retimer = Retimer::new(formats.out_rate);
        retimer.set_source(formats.source_rate(), settings.method != Method::Nearest);
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads = match settings.threads {
            0 => cores(),
            n => n as usize,
        };
        Run {
            formats,
            settings,
            live,
            retimer,
            frames: VecDeque::new(),
            first_frame: 0,
            sorted: 0,
            picture: None,
            planned: VecDeque::new(),
            first_planned: 0,
            drawing: VecDeque::new(),
            first_drawing: 0,
            newest_shows: None,
            last_out: None,
            takes_any_layout: false,
            crew: None,
            threads,
            motions: Vec::new(),
            spare: Spare::default(),
        }
    }

    pub fn formats(&self) -> &Formats {
        &self.formats
    }

    pub fn latency_ns(&self) -> u64 {
        self.retimer.latency_ns()
    }

    /// For what is planned from now on. The number of threads stays.
    pub fn set_settings(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Whether source frames may go out as they lie in memory, wherever that is.
    pub fn set_takes_any_layout(&mut self, takes: bool) {
        self.takes_any_layout = takes;
    }

    /// Other pictures from now on. Everything before was pulled, after [`Run::end`] if it is
    /// the source that changes.
    pub fn set_formats(&mut self, formats: Formats) {
        self.retimer.set_rate(formats.out_rate);
        if self.formats.source != formats.source {
            let spreads = self.settings.method != Method::Nearest;
            self.retimer.set_source(formats.source_rate(), spreads);
            self.forget_frames();
        }
        self.formats = formats;
        self.newest_shows = None;
        self.last_out = None;
    }

    /// Forgets everything that is under way; the grid begins anew.
    pub fn reset(&mut self) {
        if let Some(crew) = &mut self.crew {
            crew.cancel();
        }
        self.retimer.reset();
        self.forget_frames();
        self.planned.clear();
        self.drawing.clear();
        (self.newest_shows, self.last_out) = (None, None);
    }

    fn forget_frames(&mut self) {
        self.frames.clear();
        (self.first_frame, self.sorted) = (0, 0);
        self.picture = None;
    }

    /// See [`Retimer::begin_within`].
    pub fn begin_within(&mut self, film_ns: u64, outputs: std::ops::Range<u64>) {
        self.retimer.begin_within(film_ns, outputs);
    }

    /// Whether everything that is wanted of the source was pulled.
    pub fn is_over(&self) -> bool {
        self.retimer.is_over() && self.planned.is_empty() && self.drawing.is_empty()
    }

    /// Whether anything of the source is still to come out.
    pub fn has_frames(&self) -> bool {
        self.retimer.next_frame() > 0
    }

    /// Takes a source frame; false if it was late. `is_late`: whether what is due at that time is
    /// too late already.
    pub fn push(
        &mut self,
        buffer: gst::Buffer,
        pts_ns: Option<u64>,
        start_ns: u64,
        is_late: &dyn Fn(u64) -> bool,
    ) -> Result<bool, Fault> {
        let time_ns = pts_ns.or_else(|| self.retimer.expected_ns()).unwrap_or(start_ns);
        let duration_ns = buffer.duration().map(gst::ClockTime::nseconds);
        let picture = Picture::new(buffer, &self.formats.source, &self.spare)
            .ok_or_else(|| fault("a picture cannot be read"))?;
        let picture = Arc::new(picture);
        let present = self.picture.clone();
        let repeats = || present.is_some_and(|present| is_repeat(present.view(), picture.view()));
        if !self.retimer.add(time_ns, duration_ns, repeats) {
            return Ok(false);
        }
        if self.retimer.picture() + 1 == self.retimer.next_frame() {
            self.picture = Some(picture.clone());
        }
        self.frames.push_back(Some(picture));
        self.plan(is_late)?;
        self.sort_out();
        Ok(true)
    }

    /// Lets go of frames that no output frame comes near: there are many at a low rate, and its
    /// stretches wait long.
    fn sort_out(&mut self) {
        let decided = self.retimer.decided();
        for number in self.sorted.max(self.first_frame)..decided {
            if !self.retimer.shows(number)
                && let Some(frame) = self.frames.get_mut((number - self.first_frame) as usize)
            {
                *frame = None;
            }
        }
        self.sorted = decided;
    }

    /// The source has ended; everything that is left can be pulled.
    pub fn end(&mut self, stop_ns: Option<u64>) -> Result<(), Fault> {
        self.retimer.end(stop_ns);
        self.plan(&|_| false)?;
        self.forget_frames();
        Ok(())
    }

    fn plan(&mut self, is_late: &dyn Fn(u64) -> bool) -> Result<(), Fault> {
        while let Some(stretch) = self.retimer.ready() {
            let (first, last) = (*stretch.frames().start(), *stretch.frames().end());
            // What is before is in no further stretch.
            while self.first_frame < first {
                self.frames.pop_front();
                self.first_frame += 1;
            }
            let (next, end) = stretch.outputs;
            if next == end {
                continue;
            }
            let count = (last - first) as usize + 1;
            let frames: Option<VecDeque<_>> = self.frames.iter().take(count).cloned().collect();
            let Some(frames) = frames.filter(|frames| frames.len() == count) else {
                return Err(fault("a source frame is missing"));
            };
            let pair = [frames[0].clone(), frames[count - 1].clone()];
            let motion = self.seek(&stretch, pair, is_late)?;
            self.planned.push_back(Planned { stretch, frames, motion, next });
        }
        Ok(())
    }

    /// Has the motion looked for where that is worth it.
    fn seek(
        &mut self,
        stretch: &Stretch,
        pair: Pair,
        is_late: &dyn Fn(u64) -> bool,
    ) -> Result<Sought, Fault> {
        let quality = match self.settings.method {
            Method::Nearest => return Ok(Sought::Nothing),
            Method::Flow => self.settings.quality.into(),
            // Only to find cuts.
            Method::Blend => flow::Quality::Fast,
        };
        if !stretch.needs_motion() {
            return Ok(Sought::Nothing);
        }
        let [a, b] = &pair;
        if self.settings.method == Method::Blend && !may_be_cut(a.view().y, b.view().y) {
            return Ok(Sought::Nothing);
        }
        if is_late(stretch.grid.time_ns(stretch.outputs.1)) {
            return Ok(Sought::Late);
        }
        let unused = self.motions.iter().position(|motion| Arc::strong_count(motion) == 1);
        let motion = unused.and_then(|at| Arc::into_inner(self.motions.swap_remove(at)));
        let motion = motion.unwrap_or_default();
        let number = self.first_planned + self.planned.len() as u64;
        self.crew()?.give(2 * number, Task::Analyse(pair, quality, motion));
        Ok(Sought::Away)
    }

    fn crew(&mut self) -> Result<&mut Crew, Fault> {
        if self.crew.is_none() {
            // What waits at the end of a source comes on top.
            let most = self.most_planned() + self.most_drawing() + 64;
            let crew = Crew::new(self.threads, most, self.settings.scale)
                .map_err(|e| fault(format!("cannot start a thread: {e}")))?;
            self.crew = Some(crew);
        }
        self.crew.as_mut().ok_or_else(|| fault("no thread"))
    }

    /// Stretches that are planned before the first of them has to be drawn.
    fn most_planned(&self) -> usize {
        if self.live || self.threads == 1 { 0 } else { self.threads + 1 }
    }

    fn most_drawing(&self) -> usize {
        if self.threads == 1 { 1 } else { DRAWN_AHEAD * self.threads }
    }

    /// The next output frame. `all`: without waiting for more input.
    pub fn pull(&mut self, pool: &gst::BufferPool, all: bool) -> Result<Pulled, Fault> {
        let all = all || self.retimer.is_over();
        loop {
            while let Some((number, outcome)) = self.crew.as_mut().and_then(|c| c.take(false)) {
                self.settle(number, outcome)?;
            }
            self.draw_ahead(pool)?;
            let first = self.drawing.front();
            if first.is_some_and(|first| !matches!(first.image, Drawn::Away)) {
                return self.pop();
            }
            let idle = self.drawing.is_empty() && self.planned.is_empty();
            if idle || !all && self.planned.len() < self.most_planned() {
                return Ok(Pulled::Nothing);
            }
            let Some((number, outcome)) = self.crew.as_mut().and_then(|c| c.take(true)) else {
                return Err(fault("a frame got lost"));
            };
            self.settle(number, outcome)?;
        }
    }

    fn pop(&mut self) -> Result<Pulled, Fault> {
        let Some(drawing) = self.drawing.pop_front() else { return Ok(Pulled::Nothing) };
        self.first_drawing += 1;
        let mut buffer = match drawing.image {
            Drawn::Ready(buffer) => buffer,
            Drawn::Same | Drawn::Away => {
                self.last_out.clone().ok_or_else(|| fault("nothing to repeat"))?
            }
        };
        let (pts, duration) = (
            gst::ClockTime::from_nseconds(drawing.pts_ns),
            gst::ClockTime::from_nseconds(drawing.duration_ns),
        );
        // A source frame with these very times goes out as it is: a copy shares its memory, and
        // shared memory does not go back into a pool.
        let is_right = buffer.pts() == Some(pts) && buffer.duration() == Some(duration);
        if !is_right || buffer.flags().contains(gst::BufferFlags::DISCONT) {
            let buffer = buffer.make_mut();
            buffer.set_pts(pts);
            buffer.set_dts(gst::ClockTime::NONE);
            buffer.set_duration(duration);
            buffer.unset_flags(gst::BufferFlags::DISCONT);
        }
        let repeated = matches!(self.drawing.front(), Some(Drawing { image: Drawn::Same, .. }));
        self.last_out = (repeated || self.newest_shows.is_some()).then(|| buffer.clone());
        Ok(Pulled::Frame(buffer, drawing.kind))
    }

    fn settle(&mut self, number: u64, outcome: Outcome) -> Result<(), Fault> {
        let (is_drawing, number) = (number % 2 == 1, number / 2);
        match outcome {
            Outcome::Analysed(motion) if !is_drawing => {
                let at = number.wrapping_sub(self.first_planned) as usize;
                if let Some(planned) = self.planned.get_mut(at) {
                    let flows = self.settings.method == Method::Flow;
                    planned.motion = match motion.kind {
                        MotionKind::Cut => Sought::Cut,
                        _ if flows => Sought::Found(Arc::new(motion)),
                        _ => Sought::Nothing,
                    };
                }
            }
            Outcome::Drawn(buffer) if is_drawing => {
                let at = number.wrapping_sub(self.first_drawing) as usize;
                if let Some(drawing) = self.drawing.get_mut(at) {
                    drawing.image = Drawn::Ready(buffer);
                }
            }
            Outcome::Failed(text) => return Err(Fault::Text(text)),
            Outcome::Analysed(_) | Outcome::Drawn(_) | Outcome::Cancelled => {}
        }
        Ok(())
    }

    /// Has frames drawn of the stretches at the front, as far as their motion is known.
    fn draw_ahead(&mut self, pool: &gst::BufferPool) -> Result<(), Fault> {
        while self.drawing.len() < self.most_drawing() {
            let Some(planned) = self.planned.front_mut() else { return Ok(()) };
            if matches!(planned.motion, Sought::Away) {
                return Ok(());
            }
            if planned.next == planned.stretch.outputs.1 {
                let done = self.planned.pop_front();
                self.first_planned += 1;
                if let Some(Sought::Found(motion)) = done.map(|planned| planned.motion) {
                    self.motions.push(motion);
                }
                continue;
            }
            let n = planned.next;
            let (image, kind) = planned.image(n, self.settings.method);
            let grid = planned.stretch.grid;
            let pts_ns = grid.time_ns(n);
            let duration_ns = grid.time_ns(n + 1) - pts_ns;
            let Some(image) = self.drawn(image, pool)? else { return Ok(()) };
            self.drawing.push_back(Drawing { pts_ns, duration_ns, kind, image });
            if let Some(planned) = self.planned.front_mut() {
                planned.next += 1;
            }
        }
        Ok(())
    }

    /// Has an image drawn; `None`: not before other frames have gone out.
    fn drawn(&mut self, image: Wanted, pool: &gst::BufferPool) -> Result<Option<Drawn>, Fault> {
        let shows = match &image {
            Wanted::Source(number, _) => Some(*number),
            Wanted::Made(_) => None,
        };
        if shows.is_some() && shows == self.newest_shows {
            return Ok(Some(Drawn::Same));
        }
        let passes = |picture: &Picture| {
            self.formats.are_of_one_size()
                && (self.takes_any_layout || picture.is_laid_out_as(&self.formats.out))
        };
        let subject = match image {
            Wanted::Source(_, picture) if passes(&picture) => {
                self.newest_shows = shows;
                return Ok(Some(Drawn::Ready(picture.buffer())));
            }
            Wanted::Source(_, picture) => Subject::One(picture),
            Wanted::Made(subject) => subject,
        };
        // A pool of few buffers gives no more until some of ours have gone out.
        let flags = match self.drawing.is_empty() {
            true => gst::BufferPoolAcquireFlags::empty(),
            false => gst::BufferPoolAcquireFlags::DONTWAIT,
        };
        let params = gst::BufferPoolAcquireParams::with_flags(flags);
        let buffer = match pool.acquire_buffer(Some(&params)) {
            Ok(buffer) => buffer,
            Err(_) if !self.drawing.is_empty() => return Ok(None),
            Err(error) => return Err(Fault::Flow(error)),
        };
        let number = self.first_drawing + self.drawing.len() as u64;
        let info = self.formats.out.clone();
        self.crew()?.give(2 * number + 1, Task::Draw(subject, buffer, info));
        self.newest_shows = shows;
        Ok(Some(Drawn::Away))
    }
}

/// What an output frame is to show.
enum Wanted {
    /// A source frame, with its number.
    Source(u64, Arc<Picture>),
    Made(Subject),
}

impl Planned {
    fn image(&self, n: u64, method: Method) -> (Wanted, Kind) {
        let how = match (method, &self.motion) {
            (Method::Nearest, _) => How::Nearest,
            (_, Sought::Cut) => How::Cut,
            _ => How::Between,
        };
        let first = *self.stretch.frames().start();
        let source = |number: u64| {
            let at = ((number - first) as usize).min(self.frames.len() - 1);
            Wanted::Source(number, self.frames[at].clone())
        };
        let pair = || [self.frames[0].clone(), self.frames[self.frames.len() - 1].clone()];
        match self.stretch.shot(n, how) {
            Shot::Source(number) => (source(number), Kind::Passed),
            Shot::Again(number) if how == How::Cut => (source(number), Kind::Cut),
            Shot::Again(number) => (source(number), Kind::Repeated),
            Shot::Between(time) => match &self.motion {
                Sought::Found(motion) => {
                    let subject = Subject::Warped(pair(), motion.clone(), time);
                    (Wanted::Made(subject), Kind::Interpolated)
                }
                Sought::Late => (Wanted::Made(Subject::Blended(pair(), time)), Kind::Degraded),
                _ => (Wanted::Made(Subject::Blended(pair(), time)), Kind::Interpolated),
            },
        }
    }
}
