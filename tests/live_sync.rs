//! Flash and beep: what the source draws and plays at one instant stands at one instant in the
//! file, at the start and at the end.
#![cfg(feature = "gst")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use vfaq::base::clock::SystemClock;
use vfaq::base::time::FrameRate;
use vfaq::config::Encoder;
use vfaq::media::FrameMut;
use vfaq::render::Rendered;
use vfaq::stream::encoding::{EncodeSettings, Encoding, ladder};
use vfaq::stream::live::{End, LivePipeline, LiveTelemetry};
use vfaq::stream::output::{Chapters, Encode, Feeds, Output};
use vfaq::stream::raw::Tap;
use vfaq::stream::sound::{SoundFeed, SoundIn, SoundOut};
use vfaq::stream::source::{Drawn, FrameSource, SourceSetup};

const FRAMES: u64 = 360;
const FLASHES: [u64; 2] = [12, 345];

/// White at the flashes, else dark.
struct Flash {
    sound: SoundFeed,
}

impl FrameSource for Flash {
    fn is_over(&mut self, n: u64) -> bool {
        n >= FRAMES
    }

    fn draw(&mut self, n: u64, out: &mut FrameMut<'_>) -> Drawn {
        out.y.data.fill(if FLASHES.contains(&n) { 235 } else { 16 });
        out.u.data.fill(128);
        out.v.data.fill(128);
        Drawn { rendered: Rendered::Source, mark: n == 0 }
    }

    fn sent(&mut self, n: u64) {
        self.sound.send(n, true);
    }

    fn ended(&mut self, frames: u64) {
        self.sound.end(frames);
    }
}

fn record(fps: FrameRate, path: &std::path::Path) {
    vfaq::stream::init().unwrap();
    let settings = EncodeSettings {
        canvas: (320, 180),
        fps,
        bitrate_kbps: 2000,
        keyframe_seconds: 2.0,
        preset: None,
        lean: false,
        view: Default::default(),
    };
    let (mut writer, reader) = vfaq::audio::ring();
    // A beep of 10 ms at each flash.
    let mut samples = vec![0f32; fps.samples_before(FRAMES, 48_000) as usize * 2];
    for flash in FLASHES {
        let at = fps.samples_before(flash, 48_000) as usize * 2;
        for (i, sample) in samples[at..at + 960].iter_mut().enumerate() {
            *sample = if i / 48 % 2 == 0 { 0.8 } else { -0.8 };
        }
    }
    // Half a second lies ready when the show starts.
    let (first, rest) = samples.split_at(48_000);
    writer.go_to(0);
    assert!(writer.write(first));
    let rest = rest.to_vec();
    let pump = std::thread::spawn(move || {
        for block in rest.chunks(960) {
            while writer.room() < 480 && !writer.is_abandoned() {
                std::thread::park_timeout(Duration::from_millis(10));
            }
            writer.write(block);
        }
    });

    let sound = SoundIn { reader, shared: Arc::default() };
    let (tap, sound_out) = (Tap::new(), SoundOut::new());
    let telemetry = Arc::new(LiveTelemetry::default());
    let choice = ladder::choose(&[Encoder::X264], &settings).unwrap();
    let canvas = settings.canvas;
    let mut encoding =
        Encoding::start(settings, choice, &Arc::default(), &tap, &sound_out).unwrap();
    let fanout = encoding.fanout().clone();
    let state = encoding.state().clone();
    let pipeline =
        LivePipeline::build(fps, Some(sound), &tap, &sound_out, &telemetry, |feed| SourceSetup {
            canvas,
            fps,
            frames: Box::new(Flash { sound: feed }),
            counters: telemetry.source.clone(),
            encoder_ready: Box::new(move || state.frames_in.get() > 0),
            lateness: telemetry.lateness.clone(),
            render: telemetry.render.clone(),
        })
        .unwrap();
    let path = path.to_path_buf();
    let first = path.clone();
    let no_parts = Box::new(move |part| {
        assert_eq!(part, 1, "no gap, no further part");
        first.clone()
    });
    let clock = Arc::new(SystemClock::new());
    let encode = Encode::This(fanout);
    let feeds = Feeds { encode, tap: tap.clone(), picture: (canvas, fps), clock };
    let output = Output::record(path, no_parts, true, Chapters::default(), &feeds).unwrap();
    pipeline.start().unwrap();
    match pipeline.poll_end(Duration::from_secs(30)) {
        Some(End::Finished) => {}
        other => panic!("{other:?}"),
    }
    assert!(encoding.close(Duration::from_secs(5)));
    assert!(output.join(Duration::from_secs(10)));
    assert_eq!(output.info.error(), None);
    assert_eq!(output.info.frames.get(), FRAMES);
    drop(pipeline);
    pump.join().unwrap();
}

#[test]
fn flash_and_beep_stand_together() {
    for fps in ["60", "60000/1001"] {
        let fps: FrameRate = fps.parse().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sync.mp4");
        record(fps, &path);

        let probe = support::probe(&path);
        assert_eq!(probe.video_pts.len() as u64, FRAMES);
        assert_eq!(probe.video["r_frame_rate"], fps.to_string());
        let steps: Vec<i64> = probe.video_pts.windows(2).map(|w| w[1] - w[0]).collect();
        assert!(steps.iter().all(|s| *s == steps[0]), "PTS leave the grid: {steps:?}");
        assert_eq!(probe.video["color_space"], "bt709");
        assert_eq!(probe.video["color_range"], "tv");

        let frames = support::decode_grey(&path, 16, 9);
        let bright: Vec<u64> =
            (0..).zip(&frames).filter(|(_, f)| f[72] > 128).map(|(n, _)| n).collect();
        assert_eq!(bright, FLASHES);
        let sound = support::decode_sound(&path);
        let beeps: Vec<usize> = (1..sound.len())
            .filter(|&i| {
                sound[i].abs() > 0.3
                    && sound[i.saturating_sub(2000)..i].iter().all(|s| s.abs() <= 0.3)
            })
            .collect();
        assert_eq!(beeps.len(), FLASHES.len(), "{beeps:?}");
        for (flash, beep) in FLASHES.iter().zip(&beeps) {
            let apart_ms = (*beep as f64 / 48.0) - fps.pts_ns(*flash) as f64 / 1e6;
            assert!(apart_ms.abs() < 5.0, "{fps}: beep {apart_ms:.2} ms after flash {flash}");
        }
        let (video_start, video_length) = probe.video_span;
        let (audio_start, audio_length) = probe.audio_span.expect("a sound track");
        assert!((video_start - audio_start).abs() < 0.005, "{video_start} {audio_start}");
        let ends_apart = video_start + video_length - audio_start - audio_length;
        assert!(ends_apart.abs() < 0.005, "ends {ends_apart} s apart");
    }
}
