//! What somebody who watches the picture would notice.

use proptest::prelude::*;

use super::*;
use crate::media::MotionKind;

use Fit::{Contain, Cover, Stretch};
use Interpolation::{Blend, Flow, Nearest};

/// A picture from functions of the position of a sample in luma pixels.
pub(super) fn paint(width: u32, height: u32, colour: impl Fn(f64, f64) -> [f64; 3]) -> Frame {
    let mut frame = Frame::black(width, height);
    let value = |x: f64| x.round().clamp(0.0, 255.0) as u8;
    for (i, y) in frame.y.iter_mut().enumerate() {
        let (row, column) = (i / width as usize, i % width as usize);
        *y = value(colour(column as f64 + 0.5, row as f64 + 0.5)[0]);
    }
    let chroma_width = frame.chroma_width();
    for (i, (u, v)) in frame.u.iter_mut().zip(&mut frame.v).enumerate() {
        let (row, column) = (i / chroma_width, i % chroma_width);
        let [_, cb, cr] = colour(2.0 * column as f64 + 0.5, 2.0 * row as f64 + 1.0);
        (*u, *v) = (value(cb), value(cr));
    }
    frame
}

pub(super) fn flat(width: u32, height: u32, colour: [u8; 3]) -> Frame {
    paint(width, height, |_, _| colour.map(f64::from))
}

/// Curves, edges and noise; within the legal ranges.
pub(super) fn busy(width: u32, height: u32) -> Frame {
    paint(width, height, |x, y| {
        let noise = ((x * 12.9898 + y * 78.233).sin() * 43758.5453).fract() * 20.0;
        let wave = (x * 0.13).sin() * (y * 0.07).cos();
        let edge = if (x / 23.0) as i64 % 2 == (y / 17.0) as i64 % 2 { 40.0 } else { -40.0 };
        [
            (125.0 + wave * 60.0 + edge + noise).clamp(16.0, 235.0),
            128.0 + 90.0 * (x * 0.021).sin(),
            128.0 + 90.0 * (y * 0.033).cos(),
        ]
    })
}

pub(super) fn still(frame: &Frame) -> Picture<'_> {
    Picture { base: Layer::still(frame), over: None }
}

/// Renders into a buffer full of rubbish.
pub(super) fn shoot(
    renderer: &mut Renderer,
    picture: &Picture,
    look: &Look,
    canvas: (u32, u32),
) -> Frame {
    let mut out = flat(canvas.0, canvas.1, [99, 88, 77]);
    renderer.render(picture, look, &mut out.as_mut());
    out
}

fn scaled(frame: &Frame, canvas: (u32, u32), fit: Fit, zoom: f32) -> Frame {
    let look = Look { zoom, ..Look::default() };
    shoot(&mut Renderer::new(canvas, fit, Blend, Arc::default()), &still(frame), &look, canvas)
}

pub(super) fn graded(frame: &Frame, look: Look) -> Frame {
    let size = (frame.width, frame.height);
    shoot(&mut Renderer::new(size, Cover, Blend, Arc::default()), &still(frame), &look, size)
}

#[test]
fn a_source_of_the_size_of_the_canvas_arrives_unchanged() {
    // Odd sizes, and values outside the legal range.
    let frame = paint(333, 177, |x, y| [x * 7.0 % 256.0, y * 5.0 % 256.0, (x + y) % 256.0]);
    for fit in [Cover, Contain, Stretch] {
        assert!(scaled(&frame, (333, 177), fit, 1.0) == frame);
    }
}

#[test]
fn a_blend_moves_evenly_from_one_frame_to_the_next() {
    let (a, b) = (flat(70, 50, [20, 100, 30]), flat(70, 50, [200, 140, 230]));
    let mut renderer = Renderer::new((70, 50), Cover, Blend, Arc::default());
    let mut at = |phase| {
        let picture = Picture { base: Layer { a: &a, b: &b, phase, motion: None }, over: None };
        shoot(&mut renderer, &picture, &Look::default(), (70, 50))
    };
    assert!(at(0.0) == a);
    assert!(at(1.0) == b);
    assert!(at(0.5) == flat(70, 50, [110, 120, 130]));
    assert!(at(0.25) == flat(70, 50, [65, 110, 80]));
}

#[test]
fn nearest_shows_one_frame_or_the_other() {
    let (a, b) = (busy(64, 36), flat(64, 36, [100, 100, 100]));
    let mut renderer = Renderer::new((64, 36), Cover, Nearest, Arc::default());
    for (phase, expected) in [(0.49, &a), (0.51, &b)] {
        let picture = Picture { base: Layer { a: &a, b: &b, phase, motion: None }, over: None };
        let mut out = Frame::black(64, 36);
        let rendered = renderer.render(&picture, &Look::default(), &mut out.as_mut());
        assert_eq!(rendered, Rendered::Source);
        assert!(out == *expected);
    }
}

#[test]
fn a_crossfade_begins_and_ends_with_one_layer_alone() {
    let frames: Vec<Frame> = [30, 60, 120, 200].map(|y| flat(64, 36, [y, y, y])).into();
    let mut renderer = Renderer::new((64, 36), Cover, Flow, Arc::default());
    let mut at = |amount| {
        let base = Layer { a: &frames[0], b: &frames[1], phase: 0.5, motion: None };
        let over = Layer { a: &frames[2], b: &frames[3], phase: 0.25, motion: None };
        let mut out = Frame::black(64, 36);
        let picture = Picture { base, over: Some((over, amount)) };
        let rendered = renderer.render(&picture, &Look::default(), &mut out.as_mut());
        (out.y[0], rendered)
    };
    assert_eq!(at(0.0), (45, Rendered::Blended));
    assert_eq!(at(0.5), (93, Rendered::Blended));
    assert_eq!(at(1.0), (140, Rendered::Blended));
}

/// Two frames of one motion, and that motion.
fn moving() -> (Frame, Frame, Motion) {
    let at = |x: f64, y: f64| 120.0 + 50.0 * (x * 0.11).sin() + 40.0 * (y * 0.13 + x * 0.05).cos();
    let a = paint(160, 96, |x, y| [at(x, y), at(x, y), 128.0]);
    let b = paint(160, 96, |x, y| [at(x - 8.0, y), at(x - 8.0, y), 128.0]);
    let mut motion = Motion::default();
    let mut analyser = flow::Analyser::new();
    analyser.analyse(a.as_ref().y, b.as_ref().y, flow::Quality::Normal, &mut motion);
    (a, b, motion)
}

#[test]
fn what_moves_is_warped_and_counted_and_blended_under_load() {
    let (a, b, motion) = moving();
    let others =
        [MotionKind::Cut, MotionKind::Repeat].map(|kind| Motion { kind, ..motion.clone() });
    let effort = Arc::new(PresentEffort::default());
    let mut renderer = Renderer::new((160, 96), Cover, Flow, effort.clone());
    let mut at = |phase, motion| {
        let picture = Picture { base: Layer { a: &a, b: &b, phase, motion }, over: None };
        let mut out = Frame::black(160, 96);
        let rendered = renderer.render(&picture, &Look::default(), &mut out.as_mut());
        (out, rendered)
    };
    let (warped, rendered) = at(0.5, Some(&motion));
    assert_eq!(rendered, Rendered::Interpolated);
    let (blended, rendered) = at(0.5, None);
    assert_eq!(rendered, Rendered::Blended, "no motion is known yet");
    assert!(warped != blended);
    assert!(at(0.0, Some(&motion)) == (a.clone(), Rendered::Source));
    assert!(at(1.0, Some(&motion)) == (b.clone(), Rendered::Source));
    for other in &others {
        assert!(at(0.4, Some(other)) == (a.clone(), Rendered::Source));
        assert!(at(0.6, Some(other)) == (b.clone(), Rendered::Source));
    }
    effort.set(Effort::LumaWarp);
    let (cheaper, rendered) = at(0.5, Some(&motion));
    assert_eq!(rendered, Rendered::Interpolated);
    assert!(cheaper.y == warped.y && cheaper.u == blended.u);
    effort.set(Effort::Blend);
    assert!(at(0.5, Some(&motion)) == (blended, Rendered::Blended));
    for other in &others {
        assert!(at(0.4, Some(other)) == (a.clone(), Rendered::Source), "a cut stays one");
    }
}

#[test]
fn only_a_mix_counts_as_blended() {
    let (a, b) = (busy(64, 36), busy(64, 36));
    let mut renderer = Renderer::new((64, 36), Cover, Blend, Arc::default());
    let mut out = Frame::black(64, 36);
    let mut count = |phase, over| {
        let picture = Picture { base: Layer { a: &a, b: &b, phase, motion: None }, over };
        renderer.render(&picture, &Look::default(), &mut out.as_mut())
    };
    let held = Layer { a: &b, b: &b, phase: 0.3, motion: None };
    assert_eq!(count(0.0, None), Rendered::Source);
    assert_eq!(count(1.0, None), Rendered::Source);
    assert_eq!(count(1.0, Some((held, 0.5))), Rendered::Source, "both layers show b");
    assert_eq!(count(0.3, Some((held, 1.0))), Rendered::Source);
    assert_eq!(count(0.3, None), Rendered::Blended);
    assert_eq!(count(0.0, Some((held, 0.5))), Rendered::Blended);
}

#[test]
fn layers_of_different_sizes_meet_on_the_canvas() {
    let (small, large) = (flat(64, 36, [50, 60, 70]), flat(96, 96, [150, 160, 170]));
    let mut renderer = Renderer::new((128, 72), Contain, Blend, Arc::default());
    let picture = Picture { base: Layer::still(&small), over: Some((Layer::still(&large), 0.5)) };
    let out = shoot(&mut renderer, &picture, &Look::default(), (128, 72));
    assert_eq!(out.y[36 * 128 + 64], 100);
    assert_eq!((out.u[18 * 64 + 32], out.v[18 * 64 + 32]), (110, 120));
    // At the side, the square layer contributes its black bar.
    assert_eq!((out.y[36 * 128], out.u[18 * 64]), (33, 94));
}

#[test]
fn a_ramp_stays_a_ramp_and_its_middle_in_the_middle() {
    let ramp = paint(256, 144, |x, _| [16.0 + x * 0.8, 128.0, 128.0]);
    for canvas in [(480, 270), (1920, 1080), (100, 56)] {
        let out = scaled(&ramp, canvas, Cover, 1.0);
        let row = &out.y[..canvas.0 as usize];
        assert!(row.is_sorted());
        let middle = row.len() / 2;
        let mean = (f64::from(row[middle - 1]) + f64::from(row[middle])) / 2.0;
        assert!((mean - (16.0 + 128.0 * 0.8)).abs() <= 0.5, "{canvas:?}: {mean}");
    }
}

#[test]
fn a_symmetric_picture_stays_symmetric() {
    let from_centre = |x: f64, y: f64| ((x - 64.0).abs(), (y - 36.0).abs());
    let frame = paint(128, 72, |x, y| {
        let (dx, dy) = from_centre(x, y);
        [if dx < 20.0 && dy < 11.0 { 220.0 } else { 30.0 + dx }, 128.0, 60.0 + 2.0 * dy]
    });
    for (canvas, zoom) in [((192, 108), 1.0), ((192, 108), 1.73), ((80, 46), 1.0), ((80, 46), 1.2)]
    {
        let out = scaled(&frame, canvas, Cover, zoom);
        let near = |a: u8, b: u8| a.abs_diff(b) <= 1;
        let (w, h) = (canvas.0 as usize, canvas.1 as usize);
        for y in 0..h {
            for x in 0..w {
                let here = out.y[y * w + x];
                assert!(near(here, out.y[y * w + w - 1 - x]), "{canvas:?} {zoom}: {x}, {y}");
                assert!(near(here, out.y[(h - 1 - y) * w + x]), "{canvas:?} {zoom}: {x}, {y}");
            }
        }
        let (w, h) = (out.chroma_width(), out.chroma_height());
        for i in 0..w * h {
            assert!(near(out.v[i], out.v[(h - 1 - i / w) * w + i % w]));
        }
    }
}

#[test]
fn contain_puts_black_bars_of_the_right_size_around() {
    let square = flat(100, 100, [200, 90, 160]);
    let out = scaled(&square, (320, 180), Contain, 1.0);
    for y in [0, 90, 179] {
        let row = &out.y[y * 320..][..320];
        assert!(row[..70].iter().all(|&p| p == 16) && row[250..].iter().all(|&p| p == 16));
        assert!(row[70..250].iter().all(|&p| p == 200));
    }
    let row = &out.u[45 * 160..][..160];
    assert!(row[..35].iter().chain(&row[125..]).all(|&p| p == 128));
    assert!(row[35..125].iter().all(|&p| p == 90));

    let out = scaled(&square, (180, 320), Contain, 2.0);
    let column: Vec<u8> = (0..320).map(|y| out.y[y * 180 + 90]).collect();
    assert_eq!(column.iter().filter(|&&p| p == 200).count(), 180);
    assert!(column[..70].iter().chain(&column[250..]).all(|&p| p == 16));
}

#[test]
fn cover_fills_the_canvas_and_cuts_evenly() {
    // Left third dark, middle bright, right dark: a portrait canvas sees the middle only.
    let frame = paint(300, 100, |x, _| {
        [if (100.0..200.0).contains(&x) { 200.0 } else { 30.0 }, 128.0, 128.0]
    });
    let out = scaled(&frame, (160, 200), Cover, 1.0);
    assert!(out.y.iter().all(|&p| p == 200));
    let out = scaled(&frame, (400, 200), Cover, 1.0);
    let dark = |row: &[u8]| row.iter().take_while(|&&p| p < 115).count();
    let row = &out.y[..400];
    let from_right: Vec<u8> = row.iter().rev().copied().collect();
    assert_eq!((dark(row), dark(&from_right)), (100, 100));
}

#[test]
fn stretch_shows_all_of_the_source() {
    let frame = paint(100, 100, |x, _| [if x < 50.0 { 30.0 } else { 200.0 }, 128.0, 128.0]);
    let out = scaled(&frame, (400, 50), Stretch, 1.0);
    assert_eq!(out.y[..400].iter().filter(|&&p| p < 115).count(), 200);
}

#[test]
fn zoom_2_shows_the_central_half() {
    let frame = paint(256, 144, |x, y| {
        let inside = (64.0..192.0).contains(&x) && (36.0..108.0).contains(&y);
        [if inside { 200.0 } else { 30.0 }, 128.0, 128.0]
    });
    let out = scaled(&frame, (256, 144), Cover, 2.0);
    let middle = |x: usize, y: usize| out.y[y * 256 + x];
    for (x, y) in [(3, 3), (252, 3), (128, 72), (3, 140), (252, 140)] {
        assert_eq!(middle(x, y), 200);
    }
    // The edge lies exactly on the border of the canvas: one bit less zoom shows it.
    let out = scaled(&frame, (256, 144), Cover, 1.9);
    assert!(out.y[0] < 115 && out.y[144 * 256 - 1] < 115);
}

#[test]
fn a_slow_zoom_moves_smoothly() {
    let frame = paint(256, 144, |x, _| [30.0 + x * 0.7, 128.0, 128.0]);
    let at = |zoom| f64::from(scaled(&frame, (512, 288), Cover, zoom).y[20]);
    let mut before = at(1.0);
    for step in 1..200 {
        let now = at(1.0 + step as f32 * 0.01);
        assert!((0.0..=2.0).contains(&(now - before)), "step {step}: {before} to {now}");
        before = now;
    }
}

#[test]
fn scaling_down_does_not_alias() {
    // Stripes a pixel wide are finer than the small canvas can show: they become grey.
    let frame =
        paint(1024, 576, |x, _| [if x as i64 % 2 == 0 { 16.0 } else { 235.0 }, 128.0, 128.0]);
    let out = scaled(&frame, (400, 225), Cover, 1.0);
    assert!(out.y.chunks(400).all(|row| row[8..392].iter().all(|p| p.abs_diff(125) <= 4)));
}

#[test]
fn neutral_looks_change_nothing() {
    let frame = paint(99, 51, |x, y| [x * 2.5, y * 5.0, (x + y) * 1.5]);
    assert!(graded(&frame, Look::default()) == frame);
    assert!(graded(&frame, Look { hue_deg: 360.0, ..Look::default() }) == frame);
}

#[test]
fn a_hue_of_180_mirrors_the_colours_and_leaves_the_light() {
    let frame = busy(99, 51);
    let out = graded(&frame, Look { hue_deg: 180.0, ..Look::default() });
    assert_eq!(out.y, frame.y);
    assert!(out.u.iter().zip(&frame.u).all(|(&a, &b)| u16::from(a) + u16::from(b) == 256));
    assert!(out.v.iter().zip(&frame.v).all(|(&a, &b)| u16::from(a) + u16::from(b) == 256));
    let out = graded(&frame, Look { hue_deg: 90.0, ..Look::default() });
    assert_eq!(out.v, frame.u, "a quarter turn brings Cb to Cr");
}

#[test]
fn without_saturation_or_contrast_there_is_grey() {
    let frame = busy(99, 51);
    let out = graded(&frame, Look { saturation: 0.0, ..Look::default() });
    assert_eq!(out.y, frame.y);
    assert!(out.u.iter().chain(&out.v).all(|&p| p == 128));
    let out = graded(&frame, Look { contrast: 0.0, ..Look::default() });
    assert!(out.y.iter().all(|&p| p == 126));
    assert!(out.u.iter().chain(&out.v).all(|&p| p == 128));
}

#[test]
fn brightness_and_contrast_stay_within_black_and_white() {
    let frame = busy(99, 51);
    assert!(
        graded(&frame, Look { brightness: 1.0, ..Look::default() }).y.iter().all(|&p| p == 235)
    );
    assert!(
        graded(&frame, Look { brightness: -1.0, ..Look::default() }).y.iter().all(|&p| p == 16)
    );
    let out = graded(&frame, Look { contrast: 2.0, ..Look::default() });
    for (&before, &after) in frame.y.iter().zip(&out.y) {
        let expected = ((f64::from(before) - 125.5) * 2.0 + 125.5).clamp(16.0, 235.0);
        assert!((f64::from(after) - expected).abs() <= 0.5);
    }
}

#[test]
fn blackout_is_black() {
    let out = graded(&busy(99, 51), Look { blackout: 1.0, brightness: 1.0, ..Look::default() });
    assert!(out == Frame::black(99, 51));
}

/// The definition in double precision: Catmull-Rom, edges repeated.
fn reference(
    source: &[u8],
    (sw, sh): (usize, usize),
    (dw, dh): (usize, usize),
    map: Map,
) -> Vec<f64> {
    let kernel = |x: f64| match x.abs() {
        x if x < 1.0 => 1.5 * x.powi(3) - 2.5 * x.powi(2) + 1.0,
        x if x < 2.0 => -0.5 * x.powi(3) + 2.5 * x.powi(2) - 4.0 * x + 2.0,
        _ => 0.0,
    };
    let axis = |at: f64, step: f64, len: usize| -> Vec<(usize, f64)> {
        let wide = step.max(1.0);
        let (first, last) = ((at - 2.0 * wide).ceil() as i64, (at + 2.0 * wide).floor() as i64);
        let weights = (first..=last).map(|i| (i, kernel((i as f64 - at) / wide)));
        let sum: f64 = weights.clone().map(|(_, w)| w).sum();
        weights.map(|(i, w)| (i.clamp(0, len as i64 - 1) as usize, w / sum)).collect()
    };
    let mut out = Vec::new();
    for y in 0..dh {
        let rows = axis(map.y0 + y as f64 * map.step, map.step, sh);
        for x in 0..dw {
            let columns = axis(map.x0 + x as f64 * map.step, map.step, sw);
            let row = |y: usize| -> f64 {
                columns.iter().map(|&(x, w)| w * f64::from(source[y * sw + x])).sum()
            };
            out.push(rows.iter().map(|&(y, w)| w * row(y)).sum());
        }
    }
    out
}

/// Source position of output pixel (0, 0), and the distance to the next.
struct Map {
    x0: f64,
    y0: f64,
    step: f64,
}

fn psnr(out: &[u8], reference: &[f64]) -> f64 {
    let square = |(&a, &b): (&u8, &f64)| (f64::from(a) - b.clamp(16.0, 235.0).round()).powi(2);
    let mean = out.iter().zip(reference).map(square).sum::<f64>() / out.len() as f64;
    10.0 * (255.0 * 255.0 / mean.max(1e-9)).log10()
}

#[test]
fn scaling_is_as_exact_as_in_double_precision() {
    let frame = busy(256, 144);
    for (canvas, zoom) in [((480, 270), 1.0), ((480, 270), 1.37), ((160, 90), 1.0)] {
        let out = scaled(&frame, canvas, Cover, zoom);
        let step = 256.0 / f64::from(zoom) / f64::from(canvas.0);
        let origin = |len: f64| (len - len / f64::from(zoom)) / 2.0;
        let size = (canvas.0 as usize, canvas.1 as usize);
        let luma = Map {
            x0: origin(256.0) + 0.5 * step - 0.5,
            y0: origin(144.0) + 0.5 * step - 0.5,
            step,
        };
        let db = psnr(&out.y, &reference(&frame.y, (256, 144), size, luma));
        assert!(db >= 55.0, "luma {canvas:?} at zoom {zoom}: {db} dB");
        // Chroma sample j lies on luma column 2 j.
        let chroma = Map {
            x0: (origin(256.0) + 0.5 * step - 0.5) / 2.0,
            y0: origin(144.0) / 2.0 + 0.5 * step - 0.5,
            step,
        };
        let size = (size.0 / 2, size.1 / 2);
        let db = psnr(&out.u, &reference(&frame.u, (128, 72), size, chroma));
        assert!(db >= 55.0, "chroma {canvas:?} at zoom {zoom}: {db} dB");
    }
}

#[test]
fn a_preview_is_the_average_and_a_jpeg_shows_the_colours() {
    assert_eq!(preview_size((1920, 1080)), (480, 270));
    assert_eq!(preview_size((1280, 720)), (426, 240));
    assert_eq!(preview_size((640, 360)), (640, 360));
    // A saturated red of BT.709, limited range.
    let mut canvas = paint(1920, 1080, |x, _| [if x < 960.0 { 63.0 } else { 16.0 }, 102.0, 240.0]);
    let mut small = Frame::black(480, 270);
    preview(&canvas.as_mut(), &mut small);
    assert!(small.y[..240].iter().all(|&p| p == 63) && small.y[240..480].iter().all(|&p| p == 16));
    let bytes = jpeg(&small, 90).unwrap();
    let image = image::load_from_memory(&bytes).unwrap().to_rgb8();
    assert_eq!(image.dimensions(), (480, 270));
    let [r, g, b] = image.get_pixel(100, 100).0;
    assert!(r >= 250 && g <= 5 && b <= 5, "{r} {g} {b}");
}

#[test]
fn a_broken_frame_is_black_not_a_panic() {
    let broken = Frame { width: 64, height: 36, y: vec![], u: vec![], v: vec![] };
    assert!(scaled(&broken, (64, 36), Cover, 1.0) == Frame::black(64, 36));
}

fn any_frame() -> impl Strategy<Value = Frame> {
    (1u32..90, 1u32..90).prop_map(|(w, h)| busy(w, h))
}

fn any_number() -> impl Strategy<Value = f32> {
    prop_oneof![5 => -0.5f32..4.5, 1 => any::<f32>(), 1 => Just(f32::NAN)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any sizes, any strides, any look: every pixel is written, none beside the picture, both
    /// instruction sets agree, and nothing panics.
    #[test]
    fn anything_goes(
        frames in [any_frame(), any_frame()],
        (w, h) in (1usize..200, 1usize..200),
        (pad_y, pad_uv) in (0usize..40, 0usize..40),
        numbers in prop::array::uniform8(any_number()),
        fit in prop_oneof![Just(Cover), Just(Contain), Just(Stretch)],
    ) {
        let [a, b] = &frames;
        let [phase, over, amount, brightness, contrast, saturation, hue, zoom] = numbers;
        let base = Layer { a, b: if over > 1.0 { a } else { b }, phase, motion: None };
        let picture = Picture { base, over: Some((Layer { a: b, b: a, phase: over, motion: None }, amount)) };
        let look = Look {
            brightness, contrast, saturation, hue_deg: hue * 90.0, zoom, ..Look::default()
        };
        let (cw, ch) = (w.div_ceil(2), h.div_ceil(2));
        let (stride, chroma_stride) = (w + pad_y, cw + pad_uv);
        let shoot = |cpu: Cpu, rubbish: u8| {
            let mut planes = [
                vec![rubbish; stride * h],
                vec![rubbish; chroma_stride * ch],
                vec![rubbish; chroma_stride * ch],
            ];
            let [y, u, v] = &mut planes;
            let mut out = FrameMut {
                y: PlaneMut { data: y, stride, width: w, height: h },
                u: PlaneMut { data: u, stride: chroma_stride, width: cw, height: ch },
                v: PlaneMut { data: v, stride: chroma_stride, width: cw, height: ch },
            };
            let mut renderer = Renderer::with_cpu((w as u32, h as u32), fit, Flow, Arc::default(), cpu);
            renderer.render(&picture, &look, &mut out);
            planes
        };
        let inside = |planes: &[Vec<u8>; 3]| -> Vec<u8> {
            let strides = [(stride, w), (chroma_stride, cw), (chroma_stride, cw)];
            planes.iter().zip(strides).flat_map(|(plane, (stride, width))| {
                plane.chunks(stride).flat_map(move |row| row[..width].iter().copied())
            }).collect()
        };
        let outside = |planes: &[Vec<u8>; 3], rubbish: u8| {
            let strides = [(stride, w), (chroma_stride, cw), (chroma_stride, cw)];
            planes.iter().zip(strides).all(|(plane, (stride, width))| {
                plane.chunks(stride).all(|row| row[width..].iter().all(|&p| p == rubbish))
            })
        };
        let (fast, plain) = (shoot(Cpu::detect(), 1), shoot(Cpu::plain(), 2));
        prop_assert!(inside(&fast) == inside(&plain));
        prop_assert!(outside(&fast, 1) && outside(&plain, 2));
    }
}
