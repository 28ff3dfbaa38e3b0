//! Each step of rendering, per frame: 1024x576 to 1920x1080 unless it says otherwise. The peer is
//! the `image` crate's resize with the same filter, on the same three planes; for RGB the `yuv`
//! crate.
//!
//! `cargo bench --no-default-features --bench render`; with `--profile dev` for what a debug
//! build does.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark may stop")]

use std::sync::Arc;

use divan::Bencher;
use divan::counter::BytesCount;
use image::imageops::{FilterType, resize};
use image::{GrayImage, ImageBuffer};
use vfaq::config::{Fit, Interpolation};
use vfaq::media::Frame;
use vfaq::render::{self, Layer, Look, Picture, Renderer, Screen};
use yuv::{YuvPlanarImage, YuvRange, YuvStandardMatrix, yuv420_to_bgra};

const SOURCE: (u32, u32) = (1024, 576);
const CANVAS: (u32, u32) = (1920, 1080);

fn main() {
    divan::main();
}

fn noise((width, height): (u32, u32), seed: u32) -> Frame {
    let mut frame = Frame::black(width, height);
    let mut state = seed;
    for byte in frame.y.iter_mut().chain(&mut frame.u).chain(&mut frame.v) {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = 16 + (state >> 24) as u8 % 220;
    }
    frame
}

fn colour() -> Look {
    Look { brightness: 0.1, contrast: 1.2, saturation: 1.3, hue_deg: 30.0, ..Look::default() }
}

/// Renders `layers` layers of two frames (0: one frame as it is), zooming if told to.
fn run(bencher: Bencher, sizes: [(u32, u32); 2], layers: usize, look: Look, zooming: bool) {
    let [source, canvas] = sizes;
    let frames: Vec<Frame> = (0..4).map(|seed| noise(source, seed)).collect();
    let mut out = Frame::black(canvas.0, canvas.1);
    let mut renderer = Renderer::new(canvas, Fit::Cover, Interpolation::Blend, Arc::default());
    let phase = if layers == 0 { 0.0 } else { 0.4 };
    let base = Layer { a: &frames[0], b: &frames[1], phase, motion: None };
    let over = Layer { a: &frames[2], b: &frames[3], phase, motion: None };
    let picture = Picture { base, over: (layers == 2).then_some((over, 0.3)) };
    let bytes = frames[0].bytes() * (2 * layers).max(1) + out.bytes();
    let mut zoom = 1.0;
    bencher.counter(BytesCount::new(bytes)).bench_local(|| {
        if zooming {
            zoom = if zoom > 1.2 { 1.0 } else { zoom + 0.0001 };
        }
        renderer.render(&picture, &Look { zoom, ..look }, &mut out.as_mut())
    });
}

#[divan::bench]
fn copy_1080p(bencher: Bencher) {
    run(bencher, [CANVAS, CANVAS], 0, Look::default(), false);
}

#[divan::bench]
fn blend_2_at_576p(bencher: Bencher) {
    run(bencher, [SOURCE, SOURCE], 1, Look::default(), false);
}

#[divan::bench]
fn blend_4_at_576p(bencher: Bencher) {
    run(bencher, [SOURCE, SOURCE], 2, Look::default(), false);
}

#[divan::bench]
fn colour_at_576p(bencher: Bencher) {
    run(bencher, [SOURCE, SOURCE], 0, colour(), false);
}

#[divan::bench]
fn colour_at_1080p(bencher: Bencher) {
    run(bencher, [CANVAS, CANVAS], 0, colour(), false);
}

#[divan::bench]
fn scale(bencher: Bencher) {
    run(bencher, [SOURCE, CANVAS], 0, Look::default(), false);
}

#[divan::bench]
fn scale_zooming(bencher: Bencher) {
    run(bencher, [SOURCE, CANVAS], 0, Look::default(), true);
}

#[divan::bench]
fn scale_down_to_360p(bencher: Bencher) {
    run(bencher, [SOURCE, (640, 360)], 0, Look::default(), false);
}

#[divan::bench]
fn scale_2160p_down(bencher: Bencher) {
    run(bencher, [(3840, 2160), CANVAS], 0, Look::default(), false);
}

#[divan::bench]
fn whole_chain(bencher: Bencher) {
    run(bencher, [SOURCE, CANVAS], 2, colour(), true);
}

#[divan::bench]
fn preview(bencher: Bencher) {
    let mut canvas = noise(CANVAS, 1);
    let mut small = Frame::black(480, 270);
    let bytes = canvas.bytes();
    let canvas = canvas.as_mut();
    bencher.counter(BytesCount::new(bytes)).bench_local(|| render::preview(&canvas, &mut small));
}

#[divan::bench]
fn screen_1080p(bencher: Bencher) {
    let (frame, mut pixels) = (noise(CANVAS, 1), vec![0; (CANVAS.0 * CANVAS.1) as usize]);
    let mut screen = Screen::new();
    let bytes = frame.bytes() + 4 * pixels.len();
    bencher
        .counter(BytesCount::new(bytes))
        .bench_local(|| screen.draw(&frame, CANVAS, &mut pixels));
}

#[divan::bench]
fn peer_yuv_crate_screen_1080p(bencher: Bencher) {
    let (frame, mut pixels) = (noise(CANVAS, 1), vec![0; 4 * (CANVAS.0 * CANVAS.1) as usize]);
    let bytes = frame.bytes() + pixels.len();
    let picture = YuvPlanarImage {
        y_plane: &frame.y,
        y_stride: CANVAS.0,
        u_plane: &frame.u,
        u_stride: CANVAS.0 / 2,
        v_plane: &frame.v,
        v_stride: CANVAS.0 / 2,
        width: CANVAS.0,
        height: CANVAS.1,
    };
    bencher.counter(BytesCount::new(bytes)).bench_local(|| {
        let (range, matrix) = (YuvRange::Limited, YuvStandardMatrix::Bt709);
        yuv420_to_bgra(&picture, &mut pixels, 4 * CANVAS.0, range, matrix).unwrap();
    });
}

#[divan::bench]
fn jpeg_480x270(bencher: Bencher) {
    // Noise would be its worst case by far: a gradient with a little of it.
    let mut small = noise((480, 270), 1);
    for (i, y) in small.y.iter_mut().enumerate() {
        *y = 30 + (i % 480 / 4) as u8 + *y / 16;
    }
    small.u.fill(100);
    bencher.bench_local(|| render::jpeg(&small, 80));
}

#[divan::bench(sample_count = 10)]
fn peer_image_crate_scale(bencher: Bencher) {
    let frame = noise(SOURCE, 1);
    let plane = |data: &[u8], (w, h): (u32, u32)| -> GrayImage {
        ImageBuffer::from_raw(w, h, data.to_vec()).expect("as many bytes as pixels")
    };
    let half = |(w, h): (u32, u32)| (w / 2, h / 2);
    let planes = [
        (plane(&frame.y, SOURCE), CANVAS),
        (plane(&frame.u, half(SOURCE)), half(CANVAS)),
        (plane(&frame.v, half(SOURCE)), half(CANVAS)),
    ];
    let bytes = frame.bytes() + (CANVAS.0 * CANVAS.1 * 3 / 2) as usize;
    bencher.counter(BytesCount::new(bytes)).bench_local(|| {
        planes.each_ref().map(|(plane, (w, h))| resize(plane, *w, *h, FilterType::CatmullRom))
    });
}
