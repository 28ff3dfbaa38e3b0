//! An encoder that fails while every sort of output is on air: what arrives goes on.
#![cfg(feature = "gst")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop")]

#[path = "support/encoders.rs"]
mod encoders;
mod support;

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use encoders::{CANVAS, FPS, Numbers, numbers, settings, stand_in};
use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer::subclass::prelude::*;
use support::nginx::Nginx;
use vfaq::base::clock::SystemClock;
use vfaq::base::telemetry::OutputState;
use vfaq::config::Encoder;
use vfaq::config::output::OutputSpec;
use vfaq::stream::encoding::{Encoding, ladder};
use vfaq::stream::live::{End, LivePipeline, LiveTelemetry};
use vfaq::stream::output::{Encode, Feeds, Output, Wish};
use vfaq::stream::raw::Tap;
use vfaq::stream::sound::SoundOut;
use vfaq::stream::source::SourceSetup;

/// Pictures after which the encoder fails: every output is on air by then.
const GOOD_FOR: u64 = 300;
const FRAMES: u64 = 540;

stand_in!(failing, "nvh264enc", true, GOOD_FOR, |element| {
    gst::element_error!(element, gst::StreamError::Encode, ("the GPU has fallen off the bus"));
});

/// ffmpeg, which waits for a call and writes what it gets into a file. Killed when it is dropped.
struct Receiver(Child);

impl Receiver {
    fn start(port: u16, file: &Path) -> Receiver {
        let child = Command::new("ffmpeg")
            .args(["-v", "error", "-analyzeduration", "500000", "-i"])
            .arg(format!("srt://127.0.0.1:{port}?mode=listener"))
            .args(["-map", "0", "-c", "copy", "-f", "mpegts", "-y"])
            .arg(file)
            .stdin(Stdio::null())
            .spawn()
            .expect("ffmpeg");
        Receiver(child)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn every_output_goes_on_when_another_encoder_takes_over() {
    vfaq::stream::init().unwrap();
    let kind = failing::Wrapper::static_type();
    gst::Element::register(None, "nvh264enc", gst::Rank::NONE, kind).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut nginx = Nginx::start();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let srt_port = socket.local_addr().unwrap().port();
    drop(socket);
    let mut receiver = Receiver::start(srt_port, &path("srt.ts"));

    let (tap, sound_out) = (Tap::new(), SoundOut::new());
    let choice = ladder::choose(&[Encoder::Nvenc, Encoder::X264], &settings()).unwrap();
    let mut encoding =
        Encoding::start(settings(), choice, &Arc::default(), &tap, &sound_out).unwrap();
    let feeds = Feeds {
        encode: Encode::This(encoding.fanout().clone()),
        tap: tap.clone(),
        picture: (CANVAS, FPS),
        clock: Arc::new(SystemClock::new()),
    };
    let file = |name| format!("file:{}", path(name).display());
    let uris = [
        nginx.url("live", "one"),
        format!("srt://127.0.0.1:{srt_port}"),
        file("copy.mp4"),
        file("copy.mkv"),
        file("copy.ts"),
    ];
    let outputs: Vec<Output> = (1..)
        .zip(&uris)
        .map(|(id, uri)| Output::start(id, OutputSpec::parse(uri).unwrap(), &feeds).unwrap())
        .collect();

    let telemetry = Arc::new(LiveTelemetry::default());
    let state = encoding.state().clone();
    let pipeline =
        LivePipeline::build(FPS, None, &tap, &sound_out, &telemetry, |sound| SourceSetup {
            canvas: CANVAS,
            fps: FPS,
            frames: Box::new(Numbers { frames: FRAMES, sound }),
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
    for output in &outputs {
        let now = output.info.now();
        assert_eq!(now.state, OutputState::Live, "{}: {:?}", output.spec.shown(), now.reason);
    }
    assert!(encoding.close(Duration::from_secs(20)), "{:?}", encoding.info());
    for output in &outputs {
        output.wish(Wish::End);
        assert!(output.join(Duration::from_secs(20)), "{}", output.spec.shown());
    }
    let info = encoding.info();
    assert_eq!((info.encoder, info.rebuilt), ("x264enc", 1), "{info:?}");
    // It notices the end of the call by itself.
    let _ = receiver.0.wait();
    nginx.stop();

    // From the first picture that came, every one is there, but for those that the show repeated,
    // and at most so many at the end.
    let assert_whole = |what: &str, shown: &[u64], lost_at_end: u64| {
        let (first, end) = (shown[0], shown[0] + shown.len() as u64);
        println!("{what}: pictures {first} to {end}");
        assert!(first < GOOD_FOR - 30 && end + lost_at_end >= FRAMES, "{what}: {first} to {end}");
        assert!(shown.is_sorted(), "{what}: {shown:?}");
        let others = (first..).zip(shown).filter(|(n, shown)| n != *shown).count();
        assert!(others as u64 <= info.repeated, "{what}: {others} of {info:?}: {shown:?}");
    };
    let recorded = nginx.recorded("one");
    assert_eq!(recorded.len(), 1, "it was connected anew");
    assert_whole("rtmp", &numbers(&recorded[0]), 0);
    // One picture asks whether the call is wanted; the stream begins behind it. What is still on
    // its way when a call ends may be lost.
    let shown = numbers(&path("srt.ts"));
    let begin = shown.windows(2).position(|two| two[1] > two[0] + 1).map_or(0, |knock| knock + 1);
    assert!(begin <= 1, "{shown:?}");
    assert_whole("srt", &shown[begin..], 12);
    for (n, what) in [(2, "mp4"), (3, "mkv"), (4, "ts")] {
        let parts: Vec<PathBuf> = outputs[n].info.parts();
        assert_eq!(parts.len(), 2, "{what}");
        let shown: Vec<u64> = parts.iter().flat_map(|part| numbers(part)).collect();
        assert_whole(what, &shown, 0);
    }
}
