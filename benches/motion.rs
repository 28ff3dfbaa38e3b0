//! Motion between frames and the warp along it, 1024x576. The floor under both: copying what they
//! read and write.
//!
//! `cargo bench --no-default-features --bench motion`
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark may stop")]

use divan::Bencher;
use divan::counter::BytesCount;
use vfaq::media::{Frame, Motion};
use vfaq::render::flow::{Analyser, Quality, is_repeat};
use vfaq::render::warp::{Colour, Warper};

const SIZE: (u32, u32) = (1024, 576);

fn main() {
    divan::main();
}

/// Waves of many lengths, turned and pushed by `step`: smooth motion of every direction.
fn frame(step: f64) -> Frame {
    let mut frame = Frame::black(SIZE.0, SIZE.1);
    let (width, chroma_width) = (SIZE.0 as usize, frame.chroma_width());
    let value = |x: f64, y: f64| {
        let (x, y) = (x - 512.0, y - 288.0);
        let (sin, cos) = (0.02 * step).sin_cos();
        let (x, y) = (x * cos - y * sin + 9.0 * step, x * sin + y * cos);
        let wave = |fx: f64, fy: f64| (x * fx + y * fy + (y * 0.011).sin() * 3.0).sin();
        let sum = 40.0 * wave(0.021, 0.013) + 30.0 * wave(-0.067, 0.093) + 20.0 * wave(0.31, 0.27);
        (125.0 + sum) as u8
    };
    for (i, pixel) in frame.y.iter_mut().enumerate() {
        *pixel = value((i % width) as f64, (i / width) as f64);
    }
    for (i, pixel) in frame.u.iter_mut().enumerate() {
        *pixel = value(2.0 * (i % chroma_width) as f64, 2.0 * (i / chroma_width) as f64);
    }
    frame.v.copy_from_slice(&frame.u);
    frame
}

fn pair() -> (Frame, Frame) {
    (frame(0.0), frame(1.0))
}

fn analyse(bencher: Bencher, quality: Quality) {
    let (a, b) = pair();
    let (mut analyser, mut motion) = (Analyser::new(), Motion::default());
    bencher
        .counter(BytesCount::new(a.y.len() + b.y.len()))
        .bench_local(|| analyser.analyse(a.as_ref().y, b.as_ref().y, quality, &mut motion));
}

#[divan::bench]
fn pair_fast(bencher: Bencher) {
    analyse(bencher, Quality::Fast);
}

#[divan::bench]
fn pair_normal(bencher: Bencher) {
    analyse(bencher, Quality::Normal);
}

#[divan::bench(sample_count = 20)]
fn pair_high(bencher: Bencher) {
    analyse(bencher, Quality::High);
}

/// Of one picture twice, which has to be looked at whole.
#[divan::bench]
fn repeat(bencher: Bencher) {
    let (a, b) = (frame(0.0), frame(0.0));
    bencher
        .counter(BytesCount::new(a.y.len() + b.y.len()))
        .bench_local(|| divan::black_box(is_repeat(a.as_ref().y, b.as_ref().y)));
}

/// Both frames' luma, which finding motion reads once.
#[divan::bench]
fn pair_floor(bencher: Bencher) {
    let (a, b) = pair();
    let mut to = vec![0; a.y.len()];
    bencher.counter(BytesCount::new(a.y.len() + b.y.len())).bench_local(|| {
        to.copy_from_slice(divan::black_box(&a.y));
        to.copy_from_slice(divan::black_box(&b.y));
    });
}

/// At ever other times, as a show goes.
#[divan::bench]
fn warp(bencher: Bencher) {
    let (a, b) = pair();
    let mut motion = Motion::default();
    Analyser::new().analyse(a.as_ref().y, b.as_ref().y, Quality::Normal, &mut motion);
    let (mut warper, mut out, mut t) = (Warper::new(), Frame::black(SIZE.0, SIZE.1), 0.0);
    bencher.counter(BytesCount::new(3 * a.bytes())).bench_local(|| {
        t = if t > 0.9 { 0.0 } else { t + 0.13 };
        warper.warp((a.as_ref(), b.as_ref()), &motion, t, Colour::Warped, &mut out.as_mut());
    });
}

/// Two frames read and one written.
#[divan::bench]
fn warp_floor(bencher: Bencher) {
    let (a, b) = pair();
    let mut out = a.clone();
    bencher.counter(BytesCount::new(3 * a.bytes())).bench_local(|| {
        let (a, b) = (divan::black_box(&a), divan::black_box(&b));
        let planes = [(&mut out.y, &a.y, &b.y), (&mut out.u, &a.u, &b.u), (&mut out.v, &a.v, &b.v)];
        for (out, a, b) in planes {
            for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
                *out = a ^ b;
            }
        }
        divan::black_box(&mut out);
    });
}
