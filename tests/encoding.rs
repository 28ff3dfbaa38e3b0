//! Encoders that fail and hang under a running show: stand-ins under the names of encoders that
//! need hardware, with x264 inside.
#![cfg(feature = "gst")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop")]

#[path = "support/encoders.rs"]
mod encoders;
mod support;

use std::sync::{Arc, Once};
use std::time::Duration;

use encoders::{CANVAS, FPS, Numbers, numbers, settings, stand_in};
use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer::subclass::prelude::*;
use vfaq::base::effort::{Effort, PresentEffort};
use vfaq::config::Encoder;
use vfaq::stream::clock_ns;
use vfaq::stream::encoding::{EncodeSettings, Encoding, EncodingInfo, ladder};
use vfaq::stream::fanout::{Unit, UnitKind};
use vfaq::stream::live::{End, LivePipeline, LiveTelemetry};
use vfaq::stream::raw::{RawPicture, RawUnit, Tap, video_info};
use vfaq::stream::sound::SoundOut;
use vfaq::stream::source::SourceSetup;

/// Pictures after which a stand-in goes wrong: more than a trial gives it.
const GOOD_FOR: u64 = 90;

stand_in!(absent, "nvh264enc", false, GOOD_FOR, |_| {});
stand_in!(failing, "nvcudah264enc", true, GOOD_FOR, |element| {
    gst::element_error!(element, gst::StreamError::Encode, ("the GPU has fallen off the bus"));
});
stand_in!(hanging, "vah264enc", true, GOOD_FOR, |_| {
    // For ever.
    let _ = crossbeam_channel::never::<()>().recv();
});

fn set_up() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        vfaq::stream::init().unwrap();
        let rank = gst::Rank::NONE;
        let register = |name, kind| gst::Element::register(None, name, rank, kind).unwrap();
        register("nvh264enc", absent::Wrapper::static_type());
        register("nvcudah264enc", failing::Wrapper::static_type());
        register("vah264enc", hanging::Wrapper::static_type());
    });
}

struct Outcome {
    video: Vec<Unit>,
    info: EncodingInfo,
    why: String,
    /// When a taker of raw pictures got each, in nanoseconds.
    raw_ns: Vec<u64>,
    /// The numbers on the decoded pictures.
    numbers: Vec<u64>,
}

/// A show of so many frames in real time.
fn show(preference: &[Encoder], frames: u64) -> Outcome {
    set_up();
    let (tap, sound_out) = (Tap::new(), SoundOut::new());
    let choice = ladder::choose(preference, &settings()).unwrap();
    let why = choice.why.clone();
    let mut encoding =
        Encoding::start(settings(), choice, &Arc::default(), &tap, &sound_out).unwrap();
    let (units, load) = encoding.fanout().subscribe(256 << 20);
    let (raw, raw_load) = tap.subscribe(30, true, Default::default());
    let taker = std::thread::spawn(move || {
        let pictures = raw.iter().filter(|unit| matches!(unit, RawUnit::Picture(_)));
        pictures.map(|_| clock_ns()).collect::<Vec<_>>()
    });
    let telemetry = Arc::new(LiveTelemetry::default());
    let state = encoding.state().clone();
    let pipeline =
        LivePipeline::build(FPS, None, &tap, &sound_out, &telemetry, |sound| SourceSetup {
            canvas: CANVAS,
            fps: FPS,
            frames: Box::new(Numbers { frames, sound }),
            counters: telemetry.source.clone(),
            encoder_ready: Box::new(move || state.frames_in.get() > 0),
            lateness: telemetry.lateness.clone(),
            render: telemetry.render.clone(),
        })
        .unwrap();
    pipeline.start().unwrap();
    match pipeline.poll_end(Duration::from_secs(60)) {
        Some(End::Finished) => {}
        other => panic!("{other:?}"),
    }
    assert!(encoding.close(Duration::from_secs(20)), "{:?}", encoding.info());
    let raw_ns = taker.join().unwrap();
    assert_eq!(raw_load.pictures_dropped.get(), 0);
    assert_eq!(load.refused.get(), 0);

    let video: Vec<Unit> = units.iter().filter(|u| u.kind != UnitKind::Audio).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stream.h264");
    let bytes: Vec<u8> =
        video.iter().flat_map(|u| u.buffer.map_readable().unwrap().to_vec()).collect();
    std::fs::write(&path, bytes).unwrap();
    let numbers = numbers(&path);
    Outcome { video, info: encoding.info(), why, raw_ns, numbers }
}

impl Outcome {
    /// Every place of the grid came out once, in order, and can be decoded; what is not the
    /// picture that belongs there is the one before, and was counted.
    fn assert_whole(&self, frames: u64) {
        let places: Vec<u64> = self.video.iter().map(|u| u.pts_ns).collect();
        let grid: Vec<u64> = (0..frames).map(|n| FPS.pts_ns(n)).collect();
        assert_eq!(places, grid, "{:?}", self.info);
        assert_eq!(self.numbers.len() as u64, frames);
        assert!(self.numbers.is_sorted(), "{:?}", self.numbers);
        let others = (0..).zip(&self.numbers).filter(|(n, shown)| n != *shown).count();
        assert!(others as u64 <= self.info.repeated, "{others} {:?}", self.info);
        assert_eq!(self.info.frames_out, frames);
    }

    /// The places at which another encoder began; each is a key frame.
    fn new_encoders(&self) -> Vec<usize> {
        let at = |(n, unit): (usize, &Unit)| match unit.kind {
            UnitKind::Video { new_encoder: true, key, .. } => {
                assert!(key, "unit {n}");
                Some(n)
            }
            _ => None,
        };
        self.video.iter().enumerate().filter_map(at).collect()
    }
}

#[test]
fn an_encoder_that_cannot_open_is_passed_over_and_it_is_said_why() {
    set_up();
    let preference = [Encoder::Nvenc, Encoder::Vaapi, Encoder::X264];
    let choice = ladder::choose(&[Encoder::X264], &settings()).unwrap();
    assert_eq!(choice.factory(), "x264enc");
    let choice = ladder::choose(&preference, &settings()).unwrap();
    assert_eq!(choice.factory(), "nvcudah264enc", "{}", choice.why);
    assert!(choice.why.contains("nvh264enc: no such device"), "{}", choice.why);
    assert!(choice.why.contains("nvcudah264enc: chosen"), "{}", choice.why);
    // Nothing to fall back to: the error says what was tried.
    let tiny = EncodeSettings { preset: Some("warp".into()), ..settings() };
    let error = ladder::choose(&[Encoder::X264], &tiny).unwrap_err().to_string();
    assert!(error.contains("warp") && error.contains("live.encoder_preference"), "{error}");
}

#[test]
fn an_encoder_that_fails_is_followed_by_the_next() {
    let frames = 240;
    let outcome = show(&[Encoder::Nvenc, Encoder::X264], frames);
    assert!(outcome.why.contains("nvcudah264enc: chosen"), "{}", outcome.why);
    outcome.assert_whole(frames);
    assert_eq!(outcome.new_encoders().len(), 1);
    let info = &outcome.info;
    assert_eq!((info.encoder, info.rebuilt), ("x264enc", 1));
    let change = &info.changes[0];
    assert_eq!((change.from, change.to), ("nvcudah264enc", "x264enc"));
    assert!(change.reason.contains("fallen off the bus"), "{change:?}");
    assert!((change.at_s - 1.5).abs() < 0.3, "{change:?}");
}

#[test]
fn an_encoder_that_hangs_is_left_while_the_picture_goes_on() {
    let frames = 480;
    let outcome = show(&[Encoder::Vaapi, Encoder::X264], frames);
    outcome.assert_whole(frames);
    // The same once more, which hangs again; then the next.
    assert_eq!(outcome.new_encoders().len(), 2, "{:?}", outcome.info);
    let order: Vec<_> = outcome.info.changes.iter().map(|c| (c.from, c.to)).collect();
    assert_eq!(order, [("vah264enc", "vah264enc"), ("vah264enc", "x264enc")]);
    assert!(outcome.info.repeated > 60, "{:?}", outcome.info);
    // Whoever takes raw pictures noticed nothing.
    assert_eq!(outcome.raw_ns.len() as u64, frames);
    let longest = outcome.raw_ns.windows(2).map(|w| w[1] - w[0]).max().unwrap();
    assert!(longest < 500_000_000, "{longest} ns without a picture");
}

#[test]
fn a_show_that_ends_while_an_encoder_hangs_has_its_last_pictures() {
    let frames = 180;
    let outcome = show(&[Encoder::Vaapi, Encoder::X264], frames);
    outcome.assert_whole(frames);
}

/// An encoding that is fed as fast as it can go.
struct Bench {
    tap: Arc<Tap>,
    effort: Arc<PresentEffort>,
    encoding: Encoding,
    units: crossbeam_channel::Receiver<Unit>,
    /// The same picture again and again: nothing that looks like a change of scene.
    still: bool,
    sent: u64,
    got: Vec<Unit>,
}

impl Bench {
    fn new(encoder: Encoder, settings: EncodeSettings) -> Self {
        set_up();
        let (tap, sound_out) = (Tap::new(), SoundOut::new());
        let choice = ladder::choose(&[encoder], &settings).unwrap();
        let effort = Arc::new(PresentEffort::default());
        let encoding = Encoding::start(settings, choice, &effort, &tap, &sound_out).unwrap();
        let (units, _) = encoding.fanout().subscribe(256 << 20);
        Bench { tap, effort, encoding, units, still: false, sent: 0, got: Vec::new() }
    }

    /// Feeds so many pictures of faint noise; few are on their way at a time.
    fn feed(&mut self, pictures: u64) {
        let size = video_info(CANVAS, FPS).unwrap().size();
        let luma = (CANVAS.0 * CANVAS.1) as usize;
        for _ in 0..pictures {
            let mut state = if self.still { 1 } else { self.sent as u32 | 1 };
            let mut noise = vec![128u8; size];
            for luma in &mut noise[..luma] {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *luma = (state >> 24) as u8 / 8 + 100;
            }
            let mut buffer = gst::Buffer::from_slice(noise);
            let (pts_ns, duration_ns) = (FPS.pts_ns(self.sent), FPS.pts_ns(1));
            buffer.make_mut().set_pts(gst::ClockTime::from_nseconds(pts_ns));
            let mark = false;
            self.tap.send_picture(&RawPicture {
                index: self.sent,
                pts_ns,
                duration_ns,
                mark,
                buffer,
            });
            self.sent += 1;
            while self.sent - self.got.len() as u64 > 6 {
                self.got.push(self.units.recv_timeout(Duration::from_secs(10)).unwrap());
            }
        }
    }

    /// The places of key frames.
    fn keys(&self) -> Vec<usize> {
        let key = |(_, u): &(usize, &Unit)| matches!(u.kind, UnitKind::Video { key: true, .. });
        self.got.iter().enumerate().filter(key).map(|(n, _)| n).collect()
    }

    /// kb/s over a range of pictures.
    fn rate(&self, from: usize, to: usize) -> f64 {
        let bytes: usize = self.got[from..to].iter().map(|u| u.buffer.size()).sum();
        bytes as f64 * 8.0 / 1000.0 / ((to - from) as f64 * FPS.frame_seconds())
    }
}

#[test]
fn the_bitrate_changes_while_it_runs() {
    for encoder in [Encoder::X264, Encoder::OpenH264] {
        let mut bench = Bench::new(encoder, EncodeSettings { bitrate_kbps: 3000, ..settings() });
        bench.feed(300);
        bench.encoding.set_bitrate(1500);
        bench.feed(300);
        let (before, after) = (bench.rate(120, 290), bench.rate(420, 590));
        println!("{encoder:?}: {before:.0} kb/s, then {after:.0} kb/s");
        assert!((2000.0..4000.0).contains(&before), "{encoder:?}: {before} kb/s");
        assert!((1000.0..2000.0).contains(&after), "{encoder:?}: {after} kb/s");
        assert_eq!(bench.encoding.bitrate_kbps(), 1500);
        assert!(
            bench.got.iter().all(|u| !matches!(u.kind, UnitKind::Video { new_encoder: true, .. }))
        );
    }
}

#[test]
fn a_key_frame_comes_soon_when_asked_for() {
    for encoder in [Encoder::X264, Encoder::OpenH264] {
        let mut bench =
            Bench::new(encoder, EncodeSettings { keyframe_seconds: 20.0, ..settings() });
        bench.still = true;
        bench.feed(100);
        bench.encoding.fanout().request_key_frame();
        bench.encoding.fanout().request_key_frame();
        bench.feed(60);
        let asked: Vec<usize> = bench.keys().into_iter().filter(|n| *n >= 90).collect();
        assert_eq!(asked.len(), 1, "{encoder:?}: {asked:?}");
        assert!((92..112).contains(&asked[0]), "{encoder:?}: {asked:?}");
    }
}

#[test]
fn fewer_pains_and_the_usual_ones_again_are_one_stream() {
    let settings = EncodeSettings { keyframe_seconds: 20.0, ..settings() };
    let mut bench = Bench::new(Encoder::X264, settings);
    bench.still = true;
    bench.feed(120);
    bench.effort.set(Effort::LeanEncoder);
    bench.feed(240);
    bench.effort.set(Effort::Blend);
    bench.feed(240);
    assert!(bench.encoding.close(Duration::from_secs(20)), "{:?}", bench.encoding.info());
    bench.got.extend(bench.units.try_iter());

    let places: Vec<u64> = bench.got.iter().map(|u| u.pts_ns).collect();
    assert_eq!(places, (0..600).map(|n| FPS.pts_ns(n)).collect::<Vec<u64>>());
    let (info, keys) = (bench.encoding.info(), bench.keys());
    assert_eq!((info.rebuilt, info.repeated), (0, 0), "{info:?}");
    // One at each change, and nothing that a file would begin a new part at.
    assert_eq!(keys.len(), 3, "{keys:?}");
    assert!((120..300).contains(&keys[1]) && (360..540).contains(&keys[2]), "{keys:?}");
    let changed = |u: &&Unit| matches!(u.kind, UnitKind::Video { new_encoder: true, .. });
    assert_eq!(bench.got.iter().find(changed).map(|u| u.pts_ns), None);
    let stream = |units: &[Unit]| -> Vec<u8> {
        units.iter().flat_map(|u| u.buffer.map_readable().unwrap().to_vec()).collect()
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stream.h264");
    std::fs::write(&path, stream(&bench.got)).unwrap();
    assert_eq!(support::complaints(&path), "");
    assert_eq!(support::decode_grey(&path, 16, 9).len(), 600);
}

#[test]
fn encoders_make_the_profile_that_is_promised() {
    for (encoder, preset, profile) in [
        (Encoder::X264, None, 100),
        (Encoder::X264, Some("ultrafast"), 66),
        (Encoder::OpenH264, None, 66),
    ] {
        let preset = preset.map(str::to_owned);
        let mut bench = Bench::new(encoder, EncodeSettings { preset, ..settings() });
        bench.feed(20);
        let first = bench.got[0].buffer.map_readable().unwrap().to_vec();
        // The byte behind the head of a sequence parameter set says which profile.
        let set = first.windows(4).position(|b| b[..3] == [0, 0, 1] && b[3] & 31 == 7).unwrap();
        assert_eq!(first[set + 4], profile, "{encoder:?}");
    }
}
