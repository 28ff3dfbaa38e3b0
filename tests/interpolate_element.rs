//! The element `vfaqinterpolate` in pipelines of other people's making.
#![cfg(feature = "gst")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop")]

mod support;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;
use support::film::texture;
use vfaq::stream::interpolate::{self, Counts, VfaqInterpolate};

const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(20);

/// A picture that came out.
struct Shown {
    pts_ns: u64,
    duration_ns: u64,
    size: (u32, u32),
    luma: Vec<u8>,
    /// Of one value of each chroma plane after the other.
    chroma: Vec<u8>,
}

/// `appsrc ! vfaqinterpolate ! caps ! appsink`.
struct Bench {
    pipeline: gst::Pipeline,
    source: gst_app::AppSrc,
    element: VfaqInterpolate,
    filter: gst::Element,
    sink: gst_app::AppSink,
}

impl Bench {
    fn new(out: &str, properties: &[(&str, &str)]) -> Self {
        gst::init().unwrap();
        // Known already in the same process.
        let _ = interpolate::register(None);
        let source = gst_app::AppSrc::builder().format(gst::Format::Time).max_bytes(0).build();
        let made = gst::ElementFactory::make("vfaqinterpolate").build().unwrap();
        let element = made.downcast::<VfaqInterpolate>().unwrap();
        for (name, value) in properties {
            element.set_property_from_str(name, value);
        }
        let filter = gst::ElementFactory::make("capsfilter").build().unwrap();
        filter.set_property_from_str("caps", out);
        let sink = gst_app::AppSink::builder().sync(false).build();
        let pipeline = gst::Pipeline::new();
        let chain = [source.upcast_ref(), element.upcast_ref(), &filter, sink.upcast_ref()];
        pipeline.add_many(chain).unwrap();
        gst::Element::link_many(chain).unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        Bench { pipeline, source, element, filter, sink }
    }

    /// Everything that comes out until the end.
    fn rest(&self) -> Vec<Shown> {
        self.source.end_of_stream().unwrap();
        std::iter::from_fn(|| self.next()).collect()
    }

    /// The next picture; `None`: that was all.
    fn next(&self) -> Option<Shown> {
        let Some(sample) = self.sink.try_pull_sample(PATIENCE) else {
            assert!(self.sink.is_eos(), "nothing comes: {:?}", self.error());
            return None;
        };
        let info = gst_video::VideoInfo::from_caps(sample.caps().unwrap()).unwrap();
        let buffer = sample.buffer().unwrap();
        let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &info).unwrap();
        let component = |n: u32| {
            let (width, height) = (frame.comp_width(n), frame.comp_height(n) as usize);
            let (stride, step) = (frame.comp_stride(n) as usize, frame.comp_pstride(n) as usize);
            let data = frame.comp_data(n).unwrap();
            let rows = data.chunks(stride).take(height);
            rows.flat_map(|row| row.iter().step_by(step).take(width as usize).copied()).collect()
        };
        let (u, v): (Vec<u8>, Vec<u8>) = (component(1), component(2));
        Some(Shown {
            pts_ns: buffer.pts().unwrap().nseconds(),
            duration_ns: buffer.duration().unwrap().nseconds(),
            size: (info.width(), info.height()),
            luma: component(0),
            chroma: [u, v].concat(),
        })
    }

    fn error(&self) -> Option<String> {
        let message = self.pipeline.bus()?.pop_filtered(&[gst::MessageType::Error])?;
        let gst::MessageView::Error(error) = message.view() else { return None };
        Some(format!("{} ({:?})", error.error(), error.debug()))
    }

    fn counts(&self) -> Counts {
        let counts = self.element.counts();
        let kinds =
            [counts.passed, counts.interpolated, counts.cut, counts.repeated, counts.degraded];
        assert_eq!(counts.frames_out, kinds.iter().sum::<u64>(), "{counts:?}");
        counts
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.pipeline.set_state(gst::State::Null).unwrap();
    }
}

fn caps(format: &str, (width, height): (u32, u32), fps: &str) -> gst::Caps {
    let text = format!("video/x-raw,format={format},width={width},height={height},framerate={fps}");
    text.parse().unwrap()
}

const MS: u64 = 1_000_000;

/// A picture moved by so much, due then.
fn picture(format: &str, size: (u32, u32), moved: f64, pts_ns: u64) -> gst::Buffer {
    let format = gst_video::VideoFormat::from_string(format);
    let info = gst_video::VideoInfo::builder(format, size.0, size.1).build().unwrap();
    let mut buffer = gst::Buffer::with_size(info.size()).unwrap();
    {
        let buffer = buffer.get_mut().unwrap();
        buffer.set_pts(gst::ClockTime::from_nseconds(pts_ns));
        let mut frame = gst_video::VideoFrameRef::from_buffer_ref_writable(buffer, &info).unwrap();
        for n in 0..3 {
            let (width, height) = (frame.comp_width(n) as usize, frame.comp_height(n) as usize);
            let (stride, step) = (frame.comp_stride(n) as usize, frame.comp_pstride(n) as usize);
            let scale = if n == 0 { 1.0 } else { 2.0 };
            let data = frame.comp_data_mut(n).unwrap();
            for y in 0..height {
                for x in 0..width {
                    let value = texture(x as f64 * scale - moved, y as f64 * scale);
                    data[y * stride + x * step] = (value + f64::from(n) * 5.0) as u8;
                }
            }
        }
    }
    buffer
}

const SIZE: (u32, u32) = (96, 54);

/// Pushes `frames` pictures at 10 frames a second from `first` on.
fn push(bench: &Bench, format: &str, size: (u32, u32), first: u64, frames: u64) {
    bench.source.set_caps(Some(&caps(format, size, "10/1")));
    for n in first..first + frames {
        bench.source.push_buffer(picture(format, size, 2.0 * n as f64, n * 100 * MS)).unwrap();
    }
}

fn assert_grid(shown: &[Shown], start_ns: u64, fps: u64) {
    for (n, shown) in (0u64..).zip(shown) {
        assert_eq!(shown.pts_ns, start_ns + n * 1_000_000_000 / fps, "frame {n}");
        let next = start_ns + (n + 1) * 1_000_000_000 / fps;
        assert_eq!(shown.pts_ns + shown.duration_ns, next, "frame {n}");
    }
}

#[test]
fn nv12_is_as_good_as_i420() {
    for out in ["framerate=40/1", "framerate=40/1,width=160,height=90"] {
        let [a, b] = ["I420", "NV12"].map(|format| {
            let bench = Bench::new(&format!("video/x-raw,{out}"), &[]);
            push(&bench, format, (97, 55), 0, 6);
            let shown = bench.rest();
            assert_eq!((bench.counts().frames_in, shown.len()), (6, 24), "{format}");
            assert_grid(&shown, 0, 40);
            shown
        });
        for (n, (a, b)) in a.iter().zip(&b).enumerate() {
            assert!(a.luma == b.luma && a.chroma == b.chroma, "{out}: frame {n} differs");
        }
    }
}

#[test]
fn rows_may_be_as_far_apart_as_they_like() {
    let run = |spread: usize| {
        let bench = Bench::new("video/x-raw,framerate=30/1", &[]);
        bench.source.set_caps(Some(&caps("I420", SIZE, "10/1")));
        for n in 0..5 {
            let tight = picture("I420", SIZE, 3.0 * n as f64, n * 100 * MS);
            let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, SIZE.0, SIZE.1)
                .build()
                .unwrap();
            let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(&tight, &info).unwrap();
            let (mut bytes, mut offsets, mut strides) = (Vec::new(), Vec::new(), Vec::new());
            for n in 0..3 {
                let width = frame.comp_width(n) as usize;
                let rows = frame.comp_data(n).unwrap().chunks(frame.comp_stride(n) as usize);
                offsets.push(bytes.len());
                strides.push((width + spread) as i32);
                for row in rows.take(frame.comp_height(n) as usize) {
                    bytes.extend_from_slice(&row[..width]);
                    bytes.extend(vec![77; spread]);
                }
            }
            let mut buffer = gst::Buffer::from_mut_slice(bytes);
            {
                let buffer = buffer.get_mut().unwrap();
                buffer.set_pts(tight.pts());
                let flags = gst_video::VideoFrameFlags::empty();
                let format = gst_video::VideoFormat::I420;
                gst_video::VideoMeta::add_full(
                    buffer, flags, format, SIZE.0, SIZE.1, &offsets, &strides,
                )
                .unwrap();
            }
            bench.source.push_buffer(buffer).unwrap();
        }
        bench.rest()
    };
    let (tight, wide) = (run(0), run(45));
    assert_eq!((tight.len(), wide.len()), (15, 15));
    for (a, b) in tight.iter().zip(&wide) {
        assert!(a.luma == b.luma && a.chroma == b.chroma, "at {}", a.pts_ns);
    }
}

#[test]
fn a_change_of_size_holds_the_last_picture_and_goes_on() {
    for (out, sizes) in [
        // What is asked for stays.
        ("video/x-raw,framerate=20/1,width=64,height=36", [(64, 36), (64, 36)]),
        // Nothing is asked for.
        ("video/x-raw,framerate=20/1", [SIZE, (48, 96)]),
    ] {
        let bench = Bench::new(out, &[]);
        push(&bench, "I420", SIZE, 0, 4);
        push(&bench, "I420", (48, 96), 4, 4);
        let shown = bench.rest();
        assert_eq!(shown.len(), 16);
        assert_grid(&shown, 0, 20);
        for (n, shown) in shown.iter().enumerate() {
            assert_eq!(shown.size, sizes[n / 8], "frame {n}");
        }
        assert_eq!(bench.counts().repeated, 2);
    }
}

#[test]
fn another_rate_in_mid_stream_goes_on_where_the_first_was() {
    let bench = Bench::new("video/x-raw,framerate=20/1", &[("threads", "1")]);
    push(&bench, "I420", SIZE, 0, 6);
    let mut shown: Vec<Shown> = (0..6).filter_map(|_| bench.next()).collect();
    assert_grid(&shown, 0, 20);
    bench.filter.set_property_from_str("caps", "video/x-raw,framerate=50/1");
    push(&bench, "I420", SIZE, 6, 6);
    shown.extend(bench.rest());
    let change = (1..shown.len()).find(|n| shown[*n].duration_ns == 20 * MS).unwrap();
    assert_grid(&shown[..change], 0, 20);
    let start = shown[change].pts_ns;
    assert_eq!(start, shown[change - 1].pts_ns + shown[change - 1].duration_ns);
    assert_grid(&shown[change..], start, 50);
    assert_eq!(shown.last().map(|last| last.pts_ns + last.duration_ns), Some(1200 * MS));
}

/// A pipeline of GStreamer's own parts around the element.
fn launched(text: &str) -> (gst::Pipeline, gst_app::AppSink) {
    gst::init().unwrap();
    let _ = interpolate::register(None);
    let pipeline = gst::parse::launch(text).unwrap().downcast::<gst::Pipeline>().unwrap();
    let sink = pipeline.by_name("out").unwrap().downcast::<gst_app::AppSink>().unwrap();
    (pipeline, sink)
}

fn times_ms(sink: &gst_app::AppSink) -> Vec<u64> {
    let sample = || sink.try_pull_sample(PATIENCE);
    std::iter::from_fn(sample).map(|s| s.buffer().unwrap().pts().unwrap().mseconds()).collect()
}

#[test]
fn seeking_lands_where_it_should_in_both_directions() {
    let text = "videotestsrc num-buffers=40 pattern=ball ! video/x-raw,format=I420,width=64,\
                height=36,framerate=10/1 ! vfaqinterpolate ! video/x-raw,framerate=50/1 ! \
                appsink name=out sync=false max-buffers=2";
    let (pipeline, sink) = launched(text);
    pipeline.set_state(gst::State::Paused).unwrap();
    pipeline.state(PATIENCE).0.unwrap();
    let seek = |flags, from_ms, to_ms| {
        let time = gst::ClockTime::from_mseconds;
        pipeline.seek(
            1.0,
            gst::SeekFlags::FLUSH | flags,
            gst::SeekType::Set,
            time(from_ms),
            gst::SeekType::Set,
            time(to_ms),
        )
    };
    // Forwards, to the middle of a frame, with an end.
    seek(gst::SeekFlags::ACCURATE, 1500, 2000).unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let times = times_ms(&sink);
    assert_eq!(times, (0..25).map(|n| 1500 + 20 * n).collect::<Vec<u64>>());
    // And back, from the end.
    seek(gst::SeekFlags::ACCURATE, 300, 500).unwrap();
    assert_eq!(times_ms(&sink), (0..10).map(|n| 300 + 20 * n).collect::<Vec<u64>>());
    // Backwards is refused, and said.
    let back = pipeline.seek(
        -1.0,
        gst::SeekFlags::FLUSH,
        gst::SeekType::Set,
        gst::ClockTime::ZERO,
        gst::SeekType::Set,
        gst::ClockTime::from_seconds(1),
    );
    assert!(back.is_err());
    pipeline.set_state(gst::State::Null).unwrap();
}

#[test]
fn it_can_be_stopped_and_started_at_any_time() {
    let text = "videotestsrc pattern=ball ! video/x-raw,format=NV12,width=320,height=180,\
                framerate=10/1 ! vfaqinterpolate threads=2 ! video/x-raw,framerate=60/1,width=640,\
                height=360 ! appsink name=out sync=false max-buffers=3";
    let (pipeline, sink) = launched(text);
    for frames in [0, 1, 7, 20] {
        pipeline.set_state(gst::State::Playing).unwrap();
        for n in 0..frames {
            let sample = sink.try_pull_sample(PATIENCE).expect("a picture");
            let pts = sample.buffer().unwrap().pts().unwrap();
            assert_eq!(pts.nseconds(), n * 1_000_000_000 / 60);
        }
        pipeline.set_state(gst::State::Null).unwrap();
    }
}

#[test]
fn what_it_adds_to_the_latency_is_said() {
    for (properties, added_ms) in [("", 400), ("method=nearest", 100)] {
        let (pipeline, sink) = launched(&format!(
            "videotestsrc is-live=true ! video/x-raw,format=I420,width=64,height=36,\
             framerate=10/1 ! vfaqinterpolate {properties} ! video/x-raw,framerate=60/1 ! \
             appsink name=out"
        ));
        pipeline.set_state(gst::State::Playing).unwrap();
        assert!(sink.try_pull_sample(PATIENCE).is_some());
        let mut query = gst::query::Latency::new();
        assert!(sink.static_pad("sink").unwrap().peer_query(&mut query));
        let (live, min, _) = query.result();
        // A test source adds nothing of its own but the length of a frame.
        let min_ms = min.mseconds();
        assert!(live && (added_ms..=added_ms + 100).contains(&min_ms), "{properties}: {min}");
        pipeline.set_state(gst::State::Null).unwrap();
    }
}

#[test]
fn what_comes_too_late_is_blended() {
    let bench = Bench::new("video/x-raw,framerate=20/1", &[("threads", "1")]);
    push(&bench, "I420", SIZE, 0, 5);
    assert!(bench.next().is_some());
    // A sink says that pictures come two seconds too late.
    let late = gst::event::Qos::builder(gst::QOSType::Underflow, 2.0, 2_000_000_000)
        .timestamp(gst::ClockTime::ZERO);
    let pad = bench.sink.static_pad("sink").unwrap();
    assert!(pad.push_event(late.build()));
    push(&bench, "I420", SIZE, 5, 5);
    assert_eq!(bench.rest().len(), 19);
    let counts = bench.counts();
    assert!(counts.degraded >= 4, "{counts:?}");
    assert_eq!(counts.frames_out, 20, "{counts:?}");
}

#[test]
fn what_cannot_be_interpolated_is_refused() {
    let bench = Bench::new("video/x-raw,framerate=20/1", &[]);
    let interlaced: gst::Caps = "video/x-raw,format=I420,width=96,height=54,framerate=25/1,\
                                 interlace-mode=interleaved"
        .parse()
        .unwrap();
    bench.source.set_caps(Some(&interlaced));
    bench.source.push_buffer(picture("I420", SIZE, 0.0, 0)).unwrap();
    let bus = bench.pipeline.bus().unwrap();
    let message = bus.timed_pop_filtered(PATIENCE, &[gst::MessageType::Error]);
    assert!(message.is_some(), "it took interlaced pictures");

    let bench = Bench::new("video/x-raw,framerate=20/1", &[]);
    bench.source.set_caps(Some(&caps("I420", SIZE, "10/1")));
    // Not all of a picture.
    let mut short = gst::Buffer::with_size(100).unwrap();
    short.get_mut().unwrap().set_pts(gst::ClockTime::ZERO);
    bench.source.push_buffer(short).unwrap();
    let bus = bench.pipeline.bus().unwrap();
    let message = bus.timed_pop_filtered(PATIENCE, &[gst::MessageType::Error]).expect("an error");
    let gst::MessageView::Error(error) = message.view() else { panic!("{message:?}") };
    assert!(error.error().to_string().contains("a picture cannot be read"), "{error:?}");
}

#[test]
fn pictures_without_times_or_at_wrong_ones_do_no_harm() {
    let bench = Bench::new("video/x-raw,framerate=20/1", &[]);
    bench.source.set_caps(Some(&caps("I420", SIZE, "10/1")));
    let mut moved = 0.0;
    for pts in [Some(0), None, Some(200), Some(200), Some(150), Some(300), None] {
        moved += 2.0;
        let mut buffer = picture("I420", SIZE, moved, 0);
        let pts = pts.map(gst::ClockTime::from_mseconds);
        buffer.get_mut().unwrap().set_pts(pts);
        bench.source.push_buffer(buffer).unwrap();
    }
    let shown = bench.rest();
    assert_eq!(shown.len(), 10);
    assert_grid(&shown, 0, 20);
    assert_eq!(bench.counts().frames_in, 7);
}
