//! The element behind `vfaqsrc`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer_base as gst_base;
use gstreamer_base::prelude::*;
use gstreamer_base::subclass::base_src::CreateSuccess;
use gstreamer_base::subclass::prelude::*;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;

use super::SourceSetup;
use crate::base::time::NS;
use crate::media::{FrameMut, PlaneMut};
use crate::render::Rendered;
use crate::render::overlay::View;
use crate::stream::priority::{self, Importance};
use crate::stream::raw::{Others, Tap};
use crate::stream::{lock, raw};

/// Buffers made beforehand: the queue before the encoder, the encoder's own, the held one. When
/// somebody holds more, more are made.
const POOL_BUFFERS: u32 = 10;

/// Frame times that a frame may be overdue and still be drawn: what the queue before the encoder
/// can take in at once. Drawing is many times faster than the picture runs, so that a short delay
/// is made up for without anybody seeing it.
const DRAWN_LATE: u64 = 3;

/// How long an encoder may take to open before the show goes on without it.
const LONGEST_OPENING_NS: u64 = 2 * NS;

/// A gap longer than this is not caught up with.
const LONGEST_CATCH_UP_NS: u64 = NS;

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("vfaqsrc", gst::DebugColorFlags::empty(), Some("live picture source"))
});

#[derive(Default)]
pub struct VfaqSrc {
    /// Touched by the streaming thread while it runs, and before it runs by who sets up.
    run: Mutex<Option<Run>>,
    /// What the streaming thread sleeps on; apart, so that it can be woken.
    waiting: Mutex<Option<gst::SingleShotClockId>>,
    flushing: AtomicBool,
}

/// The state of a run.
struct Run {
    setup: SourceSetup,
    info: gst_video::VideoInfo,
    pool: Option<gst::BufferPool>,
    next: u64,
    /// Clock time at which frame 0 was due, moved on by every gap.
    anchor_ns: Option<u64>,
    last: Option<gst::Buffer>,
    /// Of the last frame, what some views have instead.
    last_others: Others,
    tap: Arc<Tap>,
    /// The next frame follows a gap.
    after_gap: bool,
    ended: bool,
}

impl VfaqSrc {
    pub(super) fn set_up(&self, setup: SourceSetup, tap: Arc<Tap>) {
        let (width, height) = setup.canvas;
        let Ok(info) = raw::video_info(setup.canvas, setup.fps) else {
            gst::error!(CAT, imp = self, "no video format of {width}x{height}");
            return;
        };
        *lock(&self.run) = Some(Run {
            setup,
            info,
            pool: None,
            next: 0,
            anchor_ns: None,
            last: None,
            last_others: Others::default(),
            tap,
            after_gap: false,
            ended: false,
        });
    }

    /// Sleeps until the clock shows `until_ns`.
    fn wait(&self, clock: &gst::Clock, until_ns: u64) -> Result<(), gst::FlowError> {
        let id = clock.new_single_shot_id(gst::ClockTime::from_nseconds(until_ns));
        *lock(&self.waiting) = Some(id.clone());
        // `unlock` sets the flag before it looks for somebody to wake.
        if self.flushing.load(Ordering::SeqCst) {
            return Err(gst::FlowError::Flushing);
        }
        let (result, _) = id.wait();
        *lock(&self.waiting) = None;
        match result {
            Err(gst::ClockError::Unscheduled) => Err(gst::FlowError::Flushing),
            _ => Ok(()),
        }
    }

    fn clock_ns(clock: &gst::Clock) -> u64 {
        clock.time().nseconds()
    }
}

#[glib::object_subclass]
impl ObjectSubclass for VfaqSrc {
    const NAME: &'static str = "VfaqSrc";
    type Type = super::VfaqSrc;
    type ParentType = gst_base::PushSrc;
}

impl ObjectImpl for VfaqSrc {
    fn constructed(&self) {
        self.parent_constructed();
        let element = self.obj();
        element.set_live(true);
        element.set_format(gst::Format::Time);
    }
}

impl GstObjectImpl for VfaqSrc {}

impl ElementImpl for VfaqSrc {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Visual FaQtory live source",
                "Source/Video",
                "Pulls one rendered picture per frame of the show",
                "Visual FaQtory",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let caps =
                gst_video::VideoCapsBuilder::new().format(gst_video::VideoFormat::I420).build();
            let template = gst::PadTemplate::new(
                "src",
                gst::PadDirection::Src,
                gst::PadPresence::Always,
                &caps,
            );
            // A fixed, valid template cannot be refused.
            template.into_iter().collect()
        });
        &TEMPLATES
    }
}

impl BaseSrcImpl for VfaqSrc {
    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let mut run = lock(&self.run);
        let run = run.as_mut().ok_or_else(|| {
            gst::error_msg!(gst::LibraryError::Settings, ["vfaqsrc was not set up"])
        })?;
        let no_pool =
            || gst::error_msg!(gst::ResourceError::NoSpaceLeft, ["no memory for pictures"]);
        let caps = run.info.to_caps().map_err(|_| no_pool())?;
        let pool = gst_video::VideoBufferPool::new();
        let mut config = pool.config();
        config.set_params(Some(&caps), run.info.size() as u32, POOL_BUFFERS, 0);
        config.add_option(gst_video::BUFFER_POOL_OPTION_VIDEO_META);
        pool.set_config(config).map_err(|_| no_pool())?;
        pool.set_active(true).map_err(|_| no_pool())?;
        run.pool = Some(pool.upcast());
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        if let Some(run) = lock(&self.run).as_mut() {
            run.last = None;
            run.last_others = Others::default();
            if let Some(pool) = run.pool.take() {
                let _ = pool.set_active(false);
            }
        }
        Ok(())
    }

    fn is_seekable(&self) -> bool {
        false
    }

    fn caps(&self, filter: Option<&gst::Caps>) -> Option<gst::Caps> {
        let caps = match lock(&self.run).as_ref() {
            Some(run) => run.info.to_caps().ok()?,
            None => self.obj().pad_template("src")?.caps().clone(),
        };
        match filter {
            Some(filter) => Some(filter.intersect_with_mode(&caps, gst::CapsIntersectMode::First)),
            None => Some(caps),
        }
    }

    fn times(&self, _: &gst::BufferRef) -> (Option<gst::ClockTime>, Option<gst::ClockTime>) {
        // The element has waited already.
        (None, None)
    }

    fn unlock(&self) -> Result<(), gst::ErrorMessage> {
        self.flushing.store(true, Ordering::SeqCst);
        if let Some(id) = lock(&self.waiting).take() {
            id.unschedule();
        }
        Ok(())
    }

    fn unlock_stop(&self) -> Result<(), gst::ErrorMessage> {
        self.flushing.store(false, Ordering::SeqCst);
        Ok(())
    }
}

impl PushSrcImpl for VfaqSrc {
    fn create(&self, _: Option<&mut gst::BufferRef>) -> Result<CreateSuccess, gst::FlowError> {
        let clock = self.obj().clock().ok_or(gst::FlowError::Error)?;
        let mut guard = lock(&self.run);
        let run = guard.as_mut().ok_or(gst::FlowError::NotNegotiated)?;
        let n = run.next;
        if run.setup.frames.is_over(n) {
            if !run.ended {
                run.ended = true;
                run.setup.frames.ended(n);
            }
            return Err(gst::FlowError::Eos);
        }

        if n == 1 {
            let begin_ns = Self::clock_ns(&clock);
            let mut now_ns = begin_ns;
            while !(run.setup.encoder_ready)() && now_ns < begin_ns + LONGEST_OPENING_NS {
                self.wait(&clock, now_ns + NS / 1000)?;
                now_ns = Self::clock_ns(&clock);
            }
            run.anchor_ns = Some(now_ns);
        }
        let anchor_ns = *run.anchor_ns.get_or_insert_with(|| {
            priority::set_current_thread(Importance::Picture);
            Self::clock_ns(&clock)
        });
        let pts_ns = run.setup.fps.pts_ns(n);
        let due_ns = anchor_ns + pts_ns;
        self.wait(&clock, due_ns)?;
        let begin_ns = Self::clock_ns(&clock);
        let overdue_ns = begin_ns.saturating_sub(due_ns);
        let frame_ns = run.setup.fps.pts_ns(n + 1) - pts_ns;
        if overdue_ns > LONGEST_CATCH_UP_NS {
            run.anchor_ns = Some(anchor_ns + overdue_ns);
            run.after_gap = true;
            run.setup.counters.breaks.add(1);
        }

        let hold = overdue_ns > DRAWN_LATE * frame_ns && !run.after_gap;
        let stamp = |buffer: &mut gst::Buffer| {
            let buffer = buffer.make_mut();
            buffer.set_pts(gst::ClockTime::from_nseconds(pts_ns));
            buffer.set_duration(gst::ClockTime::from_nseconds(frame_ns));
            buffer.set_offset(n);
            buffer.set_offset_end(n + 1);
        };
        let (mut buffer, mark) = match run.last.as_ref().filter(|_| hold) {
            Some(last) => {
                run.setup.counters.held.add(1);
                run.last_others.iter_mut().flatten().for_each(stamp);
                (last.copy(), false)
            }
            None => run.draw(n, stamp)?,
        };
        stamp(&mut buffer);
        run.tap.set_others(&run.last_others);
        // A reference, not a copy: shared memory would make the pool throw the buffer away.
        run.last = Some(buffer.clone());
        let mark = mark || std::mem::take(&mut run.after_gap);
        if mark {
            run.setup.counters.set_mark();
        }
        run.setup.frames.sent(n);
        run.next = n + 1;

        let end_ns = Self::clock_ns(&clock);
        let anchor_ns = run.anchor_ns.unwrap_or(anchor_ns);
        let lateness_ns = end_ns.saturating_sub(anchor_ns + pts_ns);
        if lateness_ns > frame_ns {
            run.setup.counters.late.add(1);
        }
        run.setup.lateness.record(Duration::from_nanos(lateness_ns));
        if n == 0 {
            run.setup.counters.first_sent.set(end_ns + 1);
        }
        run.setup.counters.sent.add(1);
        Ok(CreateSuccess::NewBuffer(buffer))
    }
}

impl Run {
    /// Draws frame `n` into a buffer of the pool, and what some views have instead into others, which
    /// are stamped before they are shared.
    fn draw(
        &mut self,
        n: u64,
        stamp: impl Fn(&mut gst::Buffer),
    ) -> Result<(gst::Buffer, bool), gst::FlowError> {
        let pool = self.pool.as_ref().ok_or(gst::FlowError::Flushing)?;
        let mut buffer = pool.acquire_buffer(None)?;
        let clock = gst::SystemClock::obtain();
        let begin = clock.time();
        self.last_others = Others::default();
        let frames = &mut self.setup.frames;
        let drawn = with_frame(&mut buffer, &self.info, |frame| frames.draw(n, frame))?;
        // Each view that has something else over it is a copy, made before anything lies over this.
        let mut wanted = View::ALL.into_iter().filter(|view| self.tap.wants(*view));
        let main = wanted.next().unwrap_or_default();
        let over_main = frames.lying_over(main);
        for view in wanted {
            let over = frames.lying_over(view);
            if over == over_main {
                continue;
            }
            let same = View::ALL.into_iter().find(|other| {
                self.last_others[*other as usize].is_some() && frames.lying_over(*other) == over
            });
            let other = match same {
                Some(same) => self.last_others[same as usize].clone(),
                None => {
                    let mut other = pool.acquire_buffer(None)?;
                    copy_picture(&buffer, &mut other, &self.info)?;
                    with_frame(&mut other, &self.info, |frame| frames.lay_over(view, frame))?;
                    stamp(&mut other);
                    Some(other)
                }
            };
            self.last_others[view as usize] = other;
        }
        with_frame(&mut buffer, &self.info, |frame| {
            if over_main != 0 {
                frames.lay_over(main, frame);
            }
            frames.complete(n, frame);
        })?;
        let took = clock.time().saturating_sub(begin);
        self.setup.render.record(Duration::from_nanos(took.nseconds()));
        let counters = &self.setup.counters;
        match drawn.rendered {
            Rendered::Source => counters.source.add(1),
            Rendered::Interpolated => counters.interpolated.add(1),
            Rendered::Blended => counters.blended.add(1),
        }
        Ok((buffer, drawn.mark))
    }
}

/// Maps a buffer of the pool for writing.
fn with_frame<T>(
    buffer: &mut gst::Buffer,
    info: &gst_video::VideoInfo,
    act: impl FnOnce(&mut FrameMut<'_>) -> T,
) -> Result<T, gst::FlowError> {
    let mut frame = gst_video::VideoFrameRef::from_buffer_ref_writable(buffer.make_mut(), info)
        .map_err(|_| gst::FlowError::Error)?;
    let strides = [0, 1, 2].map(|i| frame.plane_stride()[i] as usize);
    let (w, h) = (info.width() as usize, info.height() as usize);
    let (cw, ch) = (w.div_ceil(2), h.div_ceil(2));
    let [y, u, v, _] = frame.planes_data_mut();
    Ok(act(&mut FrameMut {
        y: PlaneMut { data: y, stride: strides[0], width: w, height: h },
        u: PlaneMut { data: u, stride: strides[1], width: cw, height: ch },
        v: PlaneMut { data: v, stride: strides[2], width: cw, height: ch },
    }))
}

/// Both are of one pool, so their rows lie alike.
fn copy_picture(
    from: &gst::Buffer,
    to: &mut gst::Buffer,
    info: &gst_video::VideoInfo,
) -> Result<(), gst::FlowError> {
    let failed = |_| gst::FlowError::Error;
    let from = gst_video::VideoFrameRef::from_buffer_ref_readable(from, info).map_err(failed)?;
    let to = to.make_mut();
    let mut to = gst_video::VideoFrameRef::from_buffer_ref_writable(to, info).map_err(failed)?;
    from.copy(&mut to).map_err(failed)
}
