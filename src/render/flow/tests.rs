//! What somebody who watches the in-between pictures would notice.

use proptest::prelude::*;

use super::*;
use crate::media::Frame;
use crate::render::warp::{Colour, Warper};

/// Luma from a function of the position; chroma follows it.
fn paint(width: u32, height: u32, luma: impl Fn(f64, f64) -> f64) -> Frame {
    let mut frame = Frame::black(width, height);
    let value = |x: usize, y: usize| luma(x as f64, y as f64).round().clamp(16.0, 235.0) as u8;
    for (i, pixel) in frame.y.iter_mut().enumerate() {
        *pixel = value(i % width as usize, i / width as usize);
    }
    let chroma_width = frame.chroma_width();
    for (i, pixel) in frame.u.iter_mut().enumerate() {
        *pixel = value(2 * (i % chroma_width), 2 * (i / chroma_width));
    }
    frame.v.copy_from_slice(&frame.u);
    frame
}

/// Texture of many sizes, without repetition: smooth noise in octaves.
fn texture(x: f64, y: f64) -> f64 {
    let corner = |x: f64, y: f64, octave: f64| {
        ((x * 127.1 + y * 311.7 + octave * 74.7).sin() * 43758.5453).rem_euclid(1.0) - 0.5
    };
    let ease = |t: f64| t * t * (3.0 - 2.0 * t);
    let octave = |size: f64| {
        let (x, y) = (x / size, y / size);
        let (left, top) = (x.floor(), y.floor());
        let (right_share, bottom_share) = (ease(x - left), ease(y - top));
        let across = |row: f64| {
            let (a, b) = (corner(left, row, size), corner(left + 1.0, row, size));
            a + (b - a) * right_share
        };
        across(top) + (across(top + 1.0) - across(top)) * bottom_share
    };
    125.0 + 90.0 * octave(90.0) + 60.0 * octave(37.0) + 40.0 * octave(15.0) + 16.0 * octave(6.0)
}

fn motion(a: &Frame, b: &Frame) -> Motion {
    let mut motion = Motion::default();
    Analyser::new().analyse(a.as_ref().y, b.as_ref().y, Quality::Normal, &mut motion);
    motion
}

fn between(a: &Frame, b: &Frame, motion: &Motion, t: f32) -> Frame {
    let mut out = Frame::black(a.width, a.height);
    Warper::new().warp((a.as_ref(), b.as_ref()), motion, t, Colour::Warped, &mut out.as_mut());
    out
}

fn psnr(a: &[u8], b: &[u8]) -> f64 {
    let sum: f64 = a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum();
    10.0 * (255.0 * 255.0 * a.len() as f64 / sum.max(1.0)).log10()
}

#[test]
fn what_moves_is_shown_where_it_is_at_every_time() {
    // Slow and fast, in every direction; the last over a sixth of the width.
    for (dx, dy) in [(3.3, -1.7), (-12.0, 5.0), (40.0, 22.0), (-85.0, 3.0)] {
        let at = |t: f64| paint(512, 288, |x, y| texture(x - t * dx, y - t * dy));
        let (a, b) = (at(0.0), at(1.0));
        let motion = motion(&a, &b);
        assert_eq!(motion.kind, MotionKind::Moves);
        for t in [0.125f32, 0.5, 0.8] {
            let (shown, truth) = (between(&a, &b, &motion, t), at(t.into()));
            let found = psnr(&shown.y, &truth.y);
            assert!(found > 33.0, "({dx}, {dy}) at {t}: {found:.1} dB");
            assert!(psnr(&shown.u, &truth.u) > 30.0, "chroma of ({dx}, {dy}) at {t}");
        }
    }
}

#[test]
fn what_is_uncovered_comes_from_the_frame_that_shows_it() {
    // A disc that passes before a wall that stands still.
    let at = |t: f64| {
        paint(512, 288, |x, y| {
            let (cx, cy) = (200.0 + 60.0 * t, 140.0 - 20.0 * t);
            let inside = (x - cx).hypot(y - cy) < 60.0;
            if inside {
                235.0 - texture(2.0 * (x - cx), 2.0 * (y - cy)) / 2.0
            } else {
                texture(x, y)
            }
        })
    };
    let (a, b) = (at(0.0), at(1.0));
    let motion = motion(&a, &b);
    let found = psnr(&between(&a, &b, &motion, 0.5).y, &at(0.5).y);
    assert!(found > 30.0, "{found:.1} dB");
}

#[test]
fn what_comes_in_from_outside_is_shown() {
    let at = |t: f64| paint(512, 288, |x, y| texture(x - 44.0 * t, y - 20.0 * t));
    let (a, b) = (at(0.0), at(1.0));
    let (shown, truth) = (between(&a, &b, &motion(&a, &b), 0.5), at(0.5));
    let corner = |frame: &Frame| -> Vec<u8> {
        let rows = frame.y.chunks_exact(512).take(40);
        rows.flat_map(|row| &row[..80]).copied().collect()
    };
    let found = psnr(&corner(&shown), &corner(&truth));
    assert!(found > 33.0, "{found:.1} dB");
}

#[test]
fn a_thin_line_is_drawn_once() {
    let at = |t: f64| {
        paint(512, 288, |x, y| {
            let away = (x - 0.2 * y - 150.0 - 18.0 * t).abs();
            90.0 + 0.1 * x + 60.0 * (1.5 - away).clamp(0.0, 1.0)
        })
    };
    let (a, b) = (at(0.0), at(1.0));
    let motion = motion(&a, &b);
    for t in [0.25, 0.5] {
        let found = psnr(&between(&a, &b, &motion, t).y, &at(t.into()).y);
        assert!(found > 36.5, "{found:.1} dB at {t}");
    }
}

#[test]
fn pictures_between_are_as_sharp_as_the_frames() {
    // What neighbouring pixels differ by, which softening takes away first.
    let detail = |frame: &Frame| -> f64 {
        let pairs = frame.y.windows(2).map(|pair| f64::from(pair[0].abs_diff(pair[1])));
        pairs.map(|d| d * d).sum()
    };
    let fine = |x: f64, y: f64| texture(3.0 * x, 3.0 * y);
    let (a, b) = (paint(512, 288, fine), paint(512, 288, |x, y| fine(x - 5.0, y - 3.0)));
    let shown = between(&a, &b, &motion(&a, &b), 0.5);
    let ratio = detail(&shown) / detail(&a);
    assert!(ratio > 0.85, "{ratio:.2}");
}

#[test]
fn both_ends_are_the_frames_themselves() {
    let (a, b) = (paint(320, 180, texture), paint(320, 180, |x, y| texture(x + 9.0, y)));
    let motion = motion(&a, &b);
    assert!(psnr(&between(&a, &b, &motion, 0.0).y, &a.y) > 48.0);
    assert!(psnr(&between(&a, &b, &motion, 1.0).y, &b.y) > 48.0);
}

#[test]
fn cuts_and_repeats_are_told_from_motion() {
    let a = paint(512, 288, texture);
    let moved = paint(512, 288, |x, y| texture(x + 30.0, y - 12.0));
    let other = paint(512, 288, |x, y| 210.0 - texture(1.7 * y + 900.0, 0.6 * x - 500.0));
    let dimmed = paint(512, 288, |x, y| 0.6 * texture(x + 5.0, y));
    assert_eq!(motion(&a, &a).kind, MotionKind::Repeat);
    assert_eq!(motion(&a, &moved).kind, MotionKind::Moves);
    assert_eq!(motion(&a, &dimmed).kind, MotionKind::Moves);
    assert_eq!(motion(&a, &other).kind, MotionKind::Cut);
}

#[test]
fn only_cuts_are_taken_for_cuts() {
    let boiling = |seed: f64| {
        // The layout stays, every texture is new.
        paint(512, 288, |x, y| {
            let fine = texture(3.0 * x + 700.0 * seed, 3.0 * y - 300.0 * seed) - 125.0;
            125.0 + 70.0 * (x * 0.013).sin() * (y * 0.021).cos() + 0.7 * fine
        })
    };
    let lit = |gain: f64, lift: f64| paint(512, 288, |x, y| gain * texture(x, y) + lift);
    let panned = paint(512, 288, |x, y| texture(x + 95.0, y - 30.0));
    let still = lit(1.0, 0.0);
    for (what, a, b) in [
        ("boiling", &boiling(1.0), &boiling(2.0)),
        ("a fade from black", &lit(0.0, 16.0), &lit(0.3, 11.0)),
        ("a flash", &still, &lit(0.35, 150.0)),
        ("after a flash", &lit(0.0, 235.0), &still),
        ("a strobe", &lit(0.3, 10.0), &still),
        ("a fast pan", &still, &panned),
    ] {
        assert_eq!(motion(a, b).kind, MotionKind::Moves, "{what}");
    }
}

#[test]
fn a_dissolve_between_unlike_pictures_is_no_worse_than_a_blend() {
    let other = |x: f64, y: f64| 210.0 - texture(1.7 * y + 900.0, 0.6 * x - 500.0);
    let at = |t: f64| {
        paint(512, 288, |x, y| {
            (1.0 - t) * texture(x - 20.0 * t, y) + t * other(x + 14.0 * t, y - 9.0 * t)
        })
    };
    for first in [0.25, 0.5] {
        let (a, b, truth) = (at(first), at(first + 0.15), at(first + 0.075));
        let mut blend = a.clone();
        for (out, b) in blend.y.iter_mut().zip(&b.y) {
            *out = out.midpoint(*b);
        }
        let motion = motion(&a, &b);
        assert_eq!(motion.kind, MotionKind::Moves);
        let shown = psnr(&between(&a, &b, &motion, 0.5).y, &truth.y);
        let blended = psnr(&blend.y, &truth.y);
        assert!(shown > blended - 0.1, "{shown:.1} dB, blended {blended:.1}");
    }
}

#[test]
fn repeats_are_told_from_what_hardly_moves() {
    // What a codec and what a camera does to a picture: a little here and there, and grain.
    let noisy = |picture: &Frame, seed: u64, share: f64, levels: f64| {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut noisy = picture.clone();
        for pixel in &mut noisy.y {
            if random.f64() < share {
                let sum: f64 = (0..4).map(|_| random.f64() - 0.5).sum();
                *pixel = (f64::from(*pixel) + (1.7 * levels * sum).round()).clamp(0.0, 255.0) as u8;
            }
        }
        noisy
    };
    let shifted = |dx: f64| paint(512, 288, |x, y| texture(x - dx, y));
    let disc = |at: f64| {
        paint(512, 288, |x, y| if (x - at).hypot(y - 99.0) < 9.0 { 200.0 } else { texture(x, y) })
    };
    let still = shifted(0.0);
    let is_repeat = |a: &Frame, b: &Frame| is_repeat(a.as_ref().y, b.as_ref().y);
    assert!(is_repeat(&still, &still));
    assert!(is_repeat(&still, &noisy(&still, 1, 0.1, 2.0)), "coded again");
    assert!(is_repeat(&noisy(&still, 1, 0.5, 1.0), &noisy(&still, 2, 0.5, 1.0)), "coded worse");
    assert!(!is_repeat(&still, &shifted(0.5)), "slow");
    assert!(!is_repeat(&noisy(&still, 1, 1.0, 1.0), &noisy(&shifted(0.4), 2, 1.0, 1.0)), "grainy");
    assert!(!is_repeat(&noisy(&still, 1, 1.0, 4.0), &noisy(&still, 2, 1.0, 4.0)), "boiling");
    assert!(!is_repeat(&disc(100.0), &disc(101.0)), "a small thing moves");
}

#[test]
fn a_change_of_light_does_not_tear() {
    let (a, b) =
        (paint(512, 288, texture), paint(512, 288, |x, y| 0.7 * texture(x - 16.0, y) + 40.0));
    let truth = paint(512, 288, |x, y| 0.85 * texture(x - 8.0, y) + 20.0);
    let found = psnr(&between(&a, &b, &motion(&a, &b), 0.5).y, &truth.y);
    assert!(found > 33.0, "{found:.1} dB");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Any size, any content, any time: a picture, and no panic.
    #[test]
    fn odd_pictures_make_pictures(
        width in 1u32..140, height in 1u32..140, seed in any::<u64>(), t in -0.5f32..1.5
    ) {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut noise = || {
            let mut frame = Frame::black(width, height);
            random.fill(&mut frame.y);
            frame
        };
        let (a, b) = (noise(), noise());
        let motion = motion(&a, &b);
        prop_assert_eq!(motion.vectors.len(), motion.width * motion.height);
        between(&a, &b, &motion, t);
    }
}
