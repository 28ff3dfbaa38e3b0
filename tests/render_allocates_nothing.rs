//! The render thread's steady state, under an allocator that counts: once a source size has been
//! seen, nothing is allocated or freed, whatever the parameters do.

#[path = "support/counting.rs"]
mod counting;

use std::sync::Arc;

use counting::{CALLS, Counting};
use vfaq::base::time::FrameRate;
use vfaq::config::{Fit, Interpolation};
use vfaq::media::{Frame, Motion, MotionKind};
use vfaq::param::{ParamId, Values};
use vfaq::render::flow::{Analyser, Quality};
use vfaq::render::overlay::{self, Bitmap, Item, Sprite, View};
use vfaq::render::{Layer, Look, Mirror, Picture, Renderer, preview};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Renders frames of a crossfade from one size to another, every parameter moving, and
/// returns how often the allocator was called after the first.
fn calls(sizes: [(u32, u32); 2], canvas: (u32, u32), fit: Fit, frames: u64) -> u64 {
    let [a, b, c, d] = [sizes[0], sizes[0], sizes[1], sizes[1]].map(|(w, h)| Frame::black(w, h));
    let (mut out, mut small) = (Frame::black(canvas.0, canvas.1), Frame::black(80, 45));
    let mut renderer = Renderer::new(canvas, fit, Interpolation::Flow, Arc::default());
    // As under load: of what is over it motion was looked for in smaller pictures.
    let pairs = [(&a, &b, Quality::Normal), (&c, &d, Quality::Fast)];
    let [of_base, of_over] = pairs.map(|(a, b, quality)| {
        let mut motion = Motion::default();
        Analyser::new().analyse(a.as_ref().y, b.as_ref().y, quality, &mut motion);
        // Black on black; what they show does not matter here.
        motion.kind = MotionKind::Moves;
        motion
    });
    renderer.set_time(FrameRate::whole(60), true);
    let mut before = 0;
    for n in 0..frames {
        if n == 1 {
            before = CALLS.get();
        }
        let wave = |period: f32| (n as f32 / period).sin();
        // Every second ten frames or so without an effect: each begins and ends more than once.
        let some = |period: f32| (2.0 * wave(period)).clamp(0.0, 1.0);
        let look = Look {
            frame: n,
            brightness: wave(7.0),
            contrast: 1.0 + wave(9.0),
            saturation: 1.0 + wave(11.0),
            hue_deg: 180.0 * wave(13.0),
            gamma: 1.0 + some(5.5),
            invert: some(6.5),
            posterise: some(7.5),
            tint: some(8.5),
            tint_hue_deg: 0.0,
            // The first frame is not the one with the largest tables.
            zoom: 2.5 + 1.5 * wave(5.0),
            rotation_deg: 90.0 * some(4.5),
            pan_x: some(4.0),
            pan_y: some(3.5),
            mirror: [Mirror::Off, Mirror::Quad][n as usize / 9 % 2],
            kaleidoscope: n as u32 % 17,
            rgb_split: some(9.5),
            pixelate: some(3.0),
            scan_lines: some(10.5),
            glitch: some(2.5),
            glitch_hit: n % 31 == 30,
            blur: some(6.0),
            bloom: some(7.0),
            edges: some(8.0),
            trails: some(9.0),
            trails_zoom: 1.02,
            trails_rotation_deg: 1.0,
            strobe_hz: 5.0 * some(12.0),
            strobe_depth: 0.9,
            flash: n % 29 == 28,
            blackout: if n % 40 == 39 { 1.0 } else { 0.0 },
        };
        let phase = n as f32 / frames as f32;
        let base = Layer { a: &a, b: &b, phase, motion: Some(&of_base) };
        let over = Layer { a: &c, b: &d, phase: 1.0 - phase, motion: Some(&of_over) };
        let picture = Picture { base, over: Some((over, 0.1 + 0.8 * phase)) };
        let mut target = out.as_mut();
        renderer.render(&picture, &look, &mut target);
        preview(&target, &mut small);
    }
    CALLS.get() - before
}

#[test]
fn rendering_allocates_nothing() {
    let wide = (192, 108);
    for canvas in [(320, 180), (160, 90)] {
        for fit in [Fit::Cover, Fit::Contain, Fit::Stretch] {
            assert_eq!(calls([wide, wide], canvas, fit, 50), 0, "one size, {canvas:?}, {fit:?}");
            assert_eq!(calls([wide, (108, 108)], canvas, fit, 50), 0, "two, {canvas:?}, {fit:?}");
        }
    }
    // So large that both qualities have cells of their own sizes.
    assert_eq!(calls([(1024, 576), (1024, 576)], (480, 270), Fit::Cover, 30), 0);
}

#[test]
fn laying_something_over_allocates_nothing_and_frees_nothing() {
    let canvas = (480, 270);
    let (mut overlays, feed) = overlay::overlays(canvas);
    let mut frame = Frame::black(canvas.0, canvas.1);
    let mut values = Values::default();
    for id in [ParamId::LogoOn, ParamId::TextOn, ParamId::QrOn, ParamId::NowPlayingOn] {
        values[id] = 1.0;
    }
    let bitmap = Bitmap { width: 60, height: 30, pixels: vec![[0.5; 4]; 1800] };
    let mut calls = 0;
    for n in 0..120 {
        // Every sprite is replaced, by whoever draws them.
        for item in Item::ALL {
            assert!(feed.send(item, Some(Sprite::new(&bitmap))));
        }
        values[ParamId::Screen] = (n / 40) as f32;
        let before = CALLS.get();
        overlays.step(n, &values, 16.7);
        for view in View::ALL {
            overlays.draw(view, &mut frame.as_mut());
        }
        calls += CALLS.get() - before;
    }
    assert_eq!(calls, 0);
}
