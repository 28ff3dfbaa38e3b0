//! The element behind `vfaqinterpolate`: caps, events, properties; the work is in `run`.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer_base::prelude::*;
use gstreamer_base::subclass::BaseTransformMode;
use gstreamer_base::subclass::base_transform::GenerateOutputSuccess;
use gstreamer_base::subclass::prelude::*;
use gstreamer_video as gst_video;
use gstreamer_video::subclass::prelude::*;

use super::run::{Fault, Formats, Kind, Pulled, Run};
use super::{Counts, Method, Quality, Settings};
use crate::base::time::FrameRate;
use crate::stream::lock;

/// Where nobody asks for a rate and the source has none.
const USUAL_RATE: gst::Fraction = gst::Fraction::new_raw(60, 1);
/// As [`FrameRate`] takes them.
const RATES: (gst::Fraction, gst::Fraction) =
    (gst::Fraction::new_raw(1, i32::MAX), gst::Fraction::new_raw(1000, 1));

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    let colour = gst::DebugColorFlags::empty();
    gst::DebugCategory::new("vfaqinterpolate", colour, Some("motion interpolation"))
});

#[derive(Default)]
pub struct VfaqInterpolate {
    settings: Mutex<Settings>,
    /// Touched by the streaming thread only.
    state: Mutex<State>,
    counts: Mutex<Counts>,
    /// Applies to the next picture: when the film begins, and what is wanted of it.
    within: Mutex<Option<(u64, Range<u64>)>>,
    /// The first frame that comes out begins a segment.
    begins_segment: AtomicBool,
    /// Only a part of the film is wanted.
    is_part: AtomicBool,
    /// Running time in nanoseconds up to which pictures come too late, plus one.
    late_until: AtomicU64,
    /// That of the run; 0: there is none.
    latency_ns: AtomicU64,
}

/// What a run has.
#[derive(Default)]
struct State {
    run: Option<Run>,
    segment: gst::FormattedSegment<gst::ClockTime>,
}

impl VfaqInterpolate {
    pub(super) fn set(&self, settings: Settings) {
        *lock(&self.settings) = settings;
    }

    pub(super) fn begin_within(&self, film_ns: u64, outputs: Range<u64>) {
        *lock(&self.within) = Some((film_ns, outputs));
    }

    /// The first frame of a part of a film has running time 0.
    fn begin_part(&self, first: &gst::BufferRef) {
        if self.begins_segment.swap(false, Ordering::Relaxed) {
            let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
            segment.set_start(first.pts());
            self.obj().src_pad().push_event(gst::event::Segment::new(&segment));
        }
    }

    /// Ends the stream where no more of it is wanted.
    fn ends_part(&self) -> bool {
        let ends = self.is_part.load(Ordering::Relaxed)
            && lock(&self.state).run.as_ref().is_some_and(Run::is_over);
        if ends {
            self.obj().src_pad().push_event(gst::event::Eos::new());
        }
        ends
    }

    pub(super) fn counts(&self) -> Counts {
        *lock(&self.counts)
    }

    fn count(&self, kind: Kind) {
        let mut counts = lock(&self.counts);
        counts.frames_out += 1;
        match kind {
            Kind::Passed => counts.passed += 1,
            Kind::Interpolated => counts.interpolated += 1,
            Kind::Cut => counts.cut += 1,
            Kind::Repeated => counts.repeated += 1,
            Kind::Degraded => counts.degraded += 1,
        }
    }

    fn flow_error(&self, fault: Fault) -> gst::FlowError {
        match fault {
            Fault::Flow(error) => error,
            Fault::Text(text) => {
                gst::element_imp_error!(self, gst::StreamError::Failed, ("{text}"));
                gst::FlowError::Error
            }
        }
    }

    /// The next output frame; `all`: without waiting for more input.
    fn pull(&self, all: bool) -> Result<Option<gst::Buffer>, gst::FlowError> {
        let mut state = lock(&self.state);
        let Some(run) = &mut state.run else { return Ok(None) };
        let pool = self.obj().buffer_pool().ok_or(gst::FlowError::NotNegotiated)?;
        // The base class leaves that to whoever uses it first.
        if !pool.is_active() {
            pool.set_active(true).map_err(|_| gst::FlowError::Error)?;
        }
        match run.pull(&pool, all).map_err(|fault| self.flow_error(fault))? {
            Pulled::Nothing => Ok(None),
            Pulled::Frame(buffer, kind) => {
                self.count(kind);
                Ok(Some(buffer))
            }
        }
    }

    /// Sends all that can be drawn; `end`: the source ends here.
    fn drain(&self, end: bool) -> Result<(), gst::FlowError> {
        {
            let mut state = lock(&self.state);
            let stop_ns = state.segment.stop().map(gst::ClockTime::nseconds);
            let Some(run) = &mut state.run else { return Ok(()) };
            if end && run.has_frames() {
                run.end(stop_ns).map_err(|fault| self.flow_error(fault))?;
            }
        }
        // Nothing is locked while others take it.
        while let Some(buffer) = self.pull(true)? {
            self.begin_part(&buffer);
            self.obj().src_pad().push(buffer)?;
        }
        Ok(())
    }

    fn reset(&self) {
        self.late_until.store(0, Ordering::Relaxed);
        if let Some(run) = &mut lock(&self.state).run {
            run.reset();
        }
    }

    fn is_live(&self) -> bool {
        let mut query = gst::query::Latency::new();
        self.obj().sink_pad().peer_query(&mut query) && query.result().0
    }

    /// A new segment; false: it cannot be played.
    fn begin_segment(&self, segment: &gst::Segment) -> bool {
        let Some(time) = segment.downcast_ref::<gst::ClockTime>() else {
            gst::element_imp_error!(
                self,
                gst::StreamError::Format,
                ("needs a segment in time, not in {:?}", segment.format())
            );
            return false;
        };
        if segment.rate() < 0.0 {
            gst::element_imp_error!(self, gst::StreamError::Format, ("plays forwards only"));
            return false;
        }
        {
            // Demuxers put right what they said before they had seen all streams: the times of
            // pictures go on as they are.
            let mut state = lock(&self.state);
            let old = &state.segment;
            let goes_on = old.base() == time.base() && old.rate() == time.rate();
            if goes_on && state.run.as_ref().is_some_and(Run::has_frames) {
                state.segment = time.clone();
                return true;
            }
        }
        // What an error stops, whoever sent the segment hears of with the next picture.
        let _ = self.drain(true);
        self.reset();
        lock(&self.state).segment = time.clone();
        true
    }

    /// Notes down up to when pictures are late.
    fn note_quality(&self, event: &gst::event::Qos) {
        let (_, _, diff, timestamp) = event.get();
        let Some(timestamp) = timestamp.filter(|_| self.obj().is_qos()) else { return };
        let late_ns = diff.max(0) as u64;
        // What is on its way is late as well by then.
        let until = if late_ns > 0 { timestamp.nseconds() + 2 * late_ns + 1 } else { 0 };
        self.late_until.store(until, Ordering::Relaxed);
    }

    /// With rate and size left to choice.
    fn other_side(&self, direction: gst::PadDirection, caps: &gst::Caps) -> gst::Caps {
        let rates = match direction {
            gst::PadDirection::Sink => RATES,
            _ => (gst::Fraction::new(0, 1), gst::Fraction::new(i32::MAX, 1)),
        };
        let retimed = |structure: &gst::StructureRef| {
            let mut structure = structure.to_owned();
            structure.remove_field("max-framerate");
            structure.set("framerate", gst::FractionRange::new(rates.0, rates.1));
            structure
        };
        let scaled = |structure: &gst::StructureRef| {
            let mut structure = retimed(structure);
            structure.set("width", gst::IntRange::new(1, i32::MAX));
            structure.set("height", gst::IntRange::new(1, i32::MAX));
            structure.remove_field("pixel-aspect-ratio");
            structure
        };
        // The size that is there comes first.
        let mut other = gst::Caps::new_empty();
        {
            let other = other.make_mut();
            for (structure, features) in caps.iter_with_features() {
                other.append_structure_full(retimed(structure), Some(features.to_owned()));
            }
            for (structure, features) in caps.iter_with_features() {
                other.append_structure_full(scaled(structure), Some(features.to_owned()));
            }
        }
        other
    }
}

#[glib::object_subclass]
impl ObjectSubclass for VfaqInterpolate {
    const NAME: &'static str = "VfaqInterpolate";
    type Type = super::VfaqInterpolate;
    type ParentType = gst_video::VideoFilter;
}

impl ObjectImpl for VfaqInterpolate {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
            let count = |name: &str, blurb: &str| {
                glib::ParamSpecUInt64::builder(name).blurb(blurb).read_only().build()
            };
            vec![
                glib::ParamSpecEnum::builder_with_default("method", Method::default())
                    .nick("Method")
                    .blurb("How the pictures between two source frames are made")
                    .mutable_playing()
                    .build(),
                glib::ParamSpecEnum::builder_with_default("quality", Quality::default())
                    .nick("Quality")
                    .blurb("How much work motion is worth (method=flow)")
                    .mutable_playing()
                    .build(),
                glib::ParamSpecUInt::builder("threads")
                    .nick("Threads")
                    .blurb("Threads that work ahead (0 = as many as there are cores, 1 = none)")
                    .maximum(256)
                    .mutable_ready()
                    .build(),
                count("frames-in", "Source frames taken"),
                count("frames-out", "Output frames sent"),
                count("interpolated", "Output frames made of two source frames"),
                count("passed", "Output frames that are source frames at their own time"),
                count("cut", "Output frames that show the nearer frame, as a scene ends there"),
                count("repeated", "Output frames that show a source frame once more"),
                count("degraded", "Output frames that were only blended, as they were late"),
            ]
        });
        &PROPERTIES
    }

    fn set_property(&self, _: usize, value: &glib::Value, spec: &glib::ParamSpec) {
        let mut settings = lock(&self.settings);
        // GObject has checked name and type.
        match spec.name() {
            "method" => settings.method = value.get().unwrap_or_default(),
            "quality" => settings.quality = value.get().unwrap_or_default(),
            _ => settings.threads = value.get().unwrap_or_default(),
        }
    }

    fn property(&self, _: usize, spec: &glib::ParamSpec) -> glib::Value {
        let (settings, counts) = (*lock(&self.settings), self.counts());
        match spec.name() {
            "method" => settings.method.to_value(),
            "quality" => settings.quality.to_value(),
            "threads" => settings.threads.to_value(),
            "frames-in" => counts.frames_in.to_value(),
            "frames-out" => counts.frames_out.to_value(),
            "interpolated" => counts.interpolated.to_value(),
            "passed" => counts.passed.to_value(),
            "cut" => counts.cut.to_value(),
            "repeated" => counts.repeated.to_value(),
            _ => counts.degraded.to_value(),
        }
    }
}

impl GstObjectImpl for VfaqInterpolate {}

impl ElementImpl for VfaqInterpolate {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Motion interpolation",
                "Filter/Effect/Video/Scaler",
                "Gives video at another frame rate, warped along its motion, and at another size",
                "Visual FaQtory",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let formats = [gst_video::VideoFormat::I420, gst_video::VideoFormat::Nv12];
            let caps = |rates: (gst::Fraction, gst::Fraction)| {
                gst_video::VideoCapsBuilder::new()
                    .format_list(formats)
                    .framerate_range(rates.0..=rates.1)
                    .build()
            };
            let any_rate = (gst::Fraction::new(0, 1), gst::Fraction::new(i32::MAX, 1));
            let always = gst::PadPresence::Always;
            [
                gst::PadTemplate::new("sink", gst::PadDirection::Sink, always, &caps(any_rate)),
                gst::PadTemplate::new("src", gst::PadDirection::Src, always, &caps(RATES)),
            ]
            // Fixed, valid templates cannot be refused.
            .into_iter()
            .flatten()
            .collect()
        });
        &TEMPLATES
    }
}

impl BaseTransformImpl for VfaqInterpolate {
    const MODE: BaseTransformMode = BaseTransformMode::NeverInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = false;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        *lock(&self.counts) = Counts::default();
        self.is_part.store(false, Ordering::Relaxed);
        self.begins_segment.store(false, Ordering::Relaxed);
        self.late_until.store(0, Ordering::Relaxed);
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        let run = std::mem::take(&mut *lock(&self.state)).run;
        self.latency_ns.store(0, Ordering::Relaxed);
        // Waits for threads, with nothing locked.
        drop(run);
        Ok(())
    }

    fn transform_caps(
        &self,
        direction: gst::PadDirection,
        caps: &gst::Caps,
        filter: Option<&gst::Caps>,
    ) -> Option<gst::Caps> {
        let other = self.other_side(direction, caps);
        Some(match filter {
            Some(filter) => filter.intersect_with_mode(&other, gst::CapsIntersectMode::First),
            None => other,
        })
    }

    fn fixate_caps(
        &self,
        direction: gst::PadDirection,
        caps: &gst::Caps,
        othercaps: gst::Caps,
    ) -> gst::Caps {
        let mut other = othercaps;
        other.truncate();
        let Some(given) = caps.structure(0).filter(|_| direction == gst::PadDirection::Sink) else {
            return self.parent_fixate_caps(direction, caps, other);
        };
        let number = |field: &str| given.get::<i32>(field).unwrap_or(1);
        let rate = given.get::<gst::Fraction>("framerate").ok();
        let rate = rate.filter(|rate| rate.numer() > 0).unwrap_or(USUAL_RATE);
        let square = gst::Fraction::new(1, 1);
        let aspect = given.get::<gst::Fraction>("pixel-aspect-ratio").unwrap_or(square);
        if let Some(structure) = other.make_mut().structure_mut(0) {
            structure.fixate_field_nearest_int("width", number("width"));
            structure.fixate_field_nearest_int("height", number("height"));
            structure.fixate_field_nearest_fraction("framerate", rate);
            if !structure.has_field("pixel-aspect-ratio") {
                structure.set(
                    "pixel-aspect-ratio",
                    gst::FractionRange::new(
                        gst::Fraction::new(1, i32::MAX),
                        gst::Fraction::new(i32::MAX, 1),
                    ),
                );
            }
            // The picture keeps its shape, unless somebody wants other pixels.
            let wanted = |field: &str| i64::from(structure.get::<i32>(field).unwrap_or(1));
            let up = i64::from(aspect.numer()) * i64::from(number("width")) * wanted("height");
            let down = i64::from(aspect.denom()) * i64::from(number("height")) * wanted("width");
            structure.fixate_field_nearest_fraction("pixel-aspect-ratio", reduced(up, down));
        }
        other.fixate();
        other
    }

    fn decide_allocation(
        &self,
        query: &mut gst::query::Allocation,
    ) -> Result<(), gst::LoggableError> {
        let takes = query.find_allocation_meta::<gst_video::VideoMeta>().is_some();
        if let Some(run) = &mut lock(&self.state).run {
            run.set_takes_any_layout(takes);
        }
        self.parent_decide_allocation(query)
    }

    fn query(&self, direction: gst::PadDirection, query: &mut gst::QueryRef) -> bool {
        if direction == gst::PadDirection::Src
            && let gst::QueryViewMut::Latency(latency) = query.view_mut()
        {
            let mut upstream = gst::query::Latency::new();
            if !self.obj().sink_pad().peer_query(&mut upstream) {
                return false;
            }
            let (live, min, max) = upstream.result();
            // Without the lock: whoever holds it may be waiting for what the query is about.
            let own_ns = self.latency_ns.load(Ordering::Relaxed);
            let own = gst::ClockTime::from_nseconds(own_ns);
            latency.set(live, min + own, max.map(|max| max + own));
            return true;
        }
        BaseTransformImplExt::parent_query(self, direction, query)
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        match event.view() {
            gst::EventView::Segment(segment) if !self.begin_segment(segment.segment()) => {
                return false;
            }
            gst::EventView::Eos(_) => {
                // An error was posted; downstream ends all the same.
                let _ = self.drain(true);
            }
            // Whatever is missing is filled in.
            gst::EventView::Gap(_) => return true,
            gst::EventView::FlushStop(_) => {
                self.reset();
                lock(&self.state).segment = Default::default();
            }
            _ => {}
        }
        self.parent_sink_event(event)
    }

    fn src_event(&self, event: gst::Event) -> bool {
        match event.view() {
            // The base class would leave source frames out.
            gst::EventView::Qos(qos) => {
                self.note_quality(qos);
                self.obj().sink_pad().push_event(event)
            }
            gst::EventView::Seek(seek) if seek.get().0 < 0.0 => false,
            _ => self.parent_src_event(event),
        }
    }

    fn submit_input_buffer(
        &self,
        is_discont: bool,
        inbuf: gst::Buffer,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        self.parent_submit_input_buffer(is_discont, inbuf)?;
        let Some(buffer) = self.take_queued_buffer() else { return Ok(gst::FlowSuccess::Ok) };
        lock(&self.counts).frames_in += 1;
        let settings = *lock(&self.settings);
        let mut guard = lock(&self.state);
        let State { run, segment } = &mut *guard;
        let run = run.as_mut().ok_or(gst::FlowError::NotNegotiated)?;
        run.set_settings(settings);
        if let Some((film_ns, outputs)) = lock(&self.within).take() {
            run.begin_within(film_ns, outputs);
            self.begins_segment.store(true, Ordering::Relaxed);
            self.is_part.store(true, Ordering::Relaxed);
        }
        let start_ns = segment.start().map_or(0, gst::ClockTime::nseconds);
        let mut pts_ns = buffer.pts().map(gst::ClockTime::nseconds);
        if let Some(pts) = buffer.pts() {
            let end = pts + buffer.duration().unwrap_or(gst::ClockTime::from_nseconds(1));
            let Some((Some(clipped), _)) = segment.clip(pts, end) else {
                gst::debug!(CAT, imp = self, "{pts} is outside of the segment");
                return Ok(gst::FlowSuccess::Ok);
            };
            pts_ns = Some(clipped.nseconds());
        }
        let late_until = self.late_until.load(Ordering::Relaxed);
        let is_late = |pts_ns: u64| {
            let running = segment.to_running_time(gst::ClockTime::from_nseconds(pts_ns));
            running.is_some_and(|running| running.nseconds() < late_until)
        };
        let taken = run.push(buffer, pts_ns, start_ns, &is_late);
        if !taken.map_err(|fault| self.flow_error(fault))? {
            gst::warning!(CAT, imp = self, "left out: {pts_ns:?} ns is not after what came before");
        }
        Ok(gst::FlowSuccess::Ok)
    }

    fn generate_output(&self) -> Result<GenerateOutputSuccess, gst::FlowError> {
        Ok(match self.pull(false)? {
            Some(buffer) => {
                self.begin_part(&buffer);
                GenerateOutputSuccess::Buffer(buffer)
            }
            None if self.ends_part() => return Err(gst::FlowError::Eos),
            None => GenerateOutputSuccess::NoOutput,
        })
    }
}

impl VideoFilterImpl for VfaqInterpolate {
    fn set_info(
        &self,
        _: &gst::Caps,
        source: &gst_video::VideoInfo,
        _: &gst::Caps,
        out: &gst_video::VideoInfo,
    ) -> Result<(), gst::LoggableError> {
        if source.is_interlaced() {
            return Err(gst::loggable_error!(CAT, "interlaced video; put deinterlace before it"));
        }
        let part = |part: i32| u32::try_from(part).unwrap_or_default();
        let out_rate = FrameRate::new(part(out.fps().numer()), part(out.fps().denom()))
            .ok_or_else(|| gst::loggable_error!(CAT, "{} frames a second", out.fps()))?;
        let formats = Formats { source: source.clone(), out: Arc::new(out.clone()), out_rate };

        let before = lock(&self.state).run.as_ref().map(|run| {
            let formats = run.formats();
            (formats.source == *source, *formats.out == *out)
        });
        if before == Some((true, true)) {
            return Ok(());
        }
        if let Some((same_source, _)) = before {
            self.drain(!same_source)
                .map_err(|error| gst::loggable_error!(CAT, "cannot send what is left: {error}"))?;
        }
        let settings = *lock(&self.settings);
        let live = before.is_none() && self.is_live();
        let latency_ns = {
            let mut state = lock(&self.state);
            let run = match &mut state.run {
                Some(run) => {
                    run.set_formats(formats);
                    run
                }
                run => run.insert(Run::new(formats, settings, live)),
            };
            run.latency_ns()
        };
        let old_ns = self.latency_ns.swap(latency_ns, Ordering::Relaxed);
        if before.is_none() || old_ns != latency_ns {
            let element = self.obj();
            let _ = element.post_message(gst::message::Latency::builder().src(&*element).build());
        }
        Ok(())
    }
}

/// The fraction in numbers that GStreamer has room for.
fn reduced(up: i64, down: i64) -> gst::Fraction {
    let (mut a, mut b) = (up, down);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    let gcd = a.max(1);
    let (mut up, mut down) = ((up / gcd).max(1), (down / gcd).max(1));
    while up > i64::from(i32::MAX) || down > i64::from(i32::MAX) {
        (up, down) = ((up / 2).max(1), (down / 2).max(1));
    }
    gst::Fraction::new(up as i32, down as i32)
}
