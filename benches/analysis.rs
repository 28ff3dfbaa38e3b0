//! Listening, per frame of the picture at 60 fps (800 samples of two channels): all of it, and beside
//! it what the two libraries in it need alone for the same hops: a spectrum of each channel by realfft
//! and the loudness by ebur128. All of it may cost 0.5 ms.
//!
//! `cargo bench --no-default-features --bench analysis`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark may stop")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use vfaq::audio::analysis::{HOP, HOPS_PER_SECOND};
use vfaq::audio::synth::{Groove, Recipe, Track};
use vfaq::audio::{CHANNELS, Listener, SAMPLE_RATE};
use vfaq::base::clock::{Clock, SystemClock};

const FRAME: usize = 800 * CHANNELS;
const LIMIT: Duration = Duration::from_micros(500);

fn main() {
    let track = Track::render(&Recipe::new(174.0, Groove::Breakbeat, 22));
    let (samples, _) = track.samples.as_chunks::<FRAME>();
    let clock = SystemClock::new();
    // In turns, so that both meet the same machine.
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let (mut listener, _ears) = Listener::new(Arc::default()).unwrap();
    let mut peer = Peer::new();
    let mut at = Duration::ZERO;
    for frame in samples {
        let begun = clock.now();
        listener.hear(black_box(frame), at);
        let between = clock.now();
        peer.hear(black_box(frame));
        theirs.push(clock.now() - between);
        ours.push(between - begun);
        at += Duration::from_secs(800) / SAMPLE_RATE;
    }
    let (ours, theirs) = (Spread::of(ours), Spread::of(theirs));
    println!("{} frames, {HOPS_PER_SECOND} hops a second", samples.len());
    println!("listening     median {:?}, p99 {:?}", ours.median, ours.p99);
    println!("its libraries median {:?}, p99 {:?}", theirs.median, theirs.p99);
    let ratio = |a: Duration, b: Duration| a.as_secs_f64() / b.as_secs_f64();
    println!("listening / its libraries: {:.2}", ratio(ours.median, theirs.median));
    println!("listening / the limit of {LIMIT:?}: {:.2}", ratio(ours.mean, LIMIT));
    assert!(ours.mean < LIMIT, "listening costs {:?} a frame", ours.mean);
}

struct Spread {
    mean: Duration,
    median: Duration,
    p99: Duration,
}

impl Spread {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort();
        Spread {
            mean: times.iter().sum::<Duration>() / times.len() as u32,
            median: times[times.len() / 2],
            p99: times[times.len() * 99 / 100],
        }
    }
}

/// What the libraries need.
struct Peer {
    fft: Arc<dyn realfft::RealToComplex<f32>>,
    input: Vec<f32>,
    output: Vec<realfft::num_complex::Complex<f32>>,
    scratch: Vec<realfft::num_complex::Complex<f32>>,
    loudness: ebur128::EbuR128,
    hop: Vec<f32>,
    hops: u32,
}

impl Peer {
    fn new() -> Self {
        let fft = realfft::RealFftPlanner::new().plan_fft_forward(2048);
        Peer {
            input: fft.make_input_vec(),
            output: fft.make_output_vec(),
            scratch: fft.make_scratch_vec(),
            fft,
            loudness: ebur128::EbuR128::new(2, SAMPLE_RATE, ebur128::Mode::M).unwrap(),
            hop: Vec::with_capacity(HOP * CHANNELS),
            hops: 0,
        }
    }

    fn hear(&mut self, samples: &[f32]) {
        for sample in samples {
            self.hop.push(*sample);
            if self.hop.len() == HOP * CHANNELS {
                for _ in 0..CHANNELS {
                    self.input[..HOP].copy_from_slice(&self.hop[..HOP]);
                    let (input, output) = (&mut self.input, &mut self.output);
                    self.fft.process_with_scratch(input, output, &mut self.scratch).unwrap();
                    black_box(&output);
                }
                self.loudness.add_frames_f32(&self.hop).unwrap();
                self.hops += 1;
                if self.hops.is_multiple_of(4) {
                    black_box(self.loudness.loudness_momentary().unwrap());
                }
                self.hop.clear();
            }
        }
    }
}
