//! What somebody who plays with the effects would notice.

use proptest::prelude::*;

use super::tests::{busy, flat, graded, paint, shoot, still};
use super::*;
use crate::param::{ParamId, REGISTRY, Values};
use Fit::{Contain, Cover, Stretch};
use Interpolation::{Blend, Flow};

fn new(size: (u32, u32)) -> Renderer {
    Renderer::new(size, Cover, Blend, Arc::default())
}

/// Every effect that is a number, strongly on.
fn each() -> Vec<(&'static str, Look)> {
    let plain = Look::default();
    vec![
        ("gamma", Look { gamma: 2.0, ..plain }),
        ("invert", Look { invert: 1.0, ..plain }),
        ("posterise", Look { posterise: 0.9, ..plain }),
        ("tint", Look { tint: 1.0, ..plain }),
        ("rotation", Look { rotation_deg: 33.0, ..plain }),
        ("pan_x", Look { pan_x: 0.3, ..plain }),
        ("pan_y", Look { pan_y: 0.3, ..plain }),
        ("mirror", Look { mirror: Mirror::LeftRight, ..plain }),
        ("kaleidoscope", Look { kaleidoscope: 6, ..plain }),
        ("rgb_split", Look { rgb_split: 1.0, ..plain }),
        ("pixelate", Look { pixelate: 0.8, ..plain }),
        ("scan_lines", Look { scan_lines: 1.0, ..plain }),
        ("glitch", Look { glitch: 1.0, ..plain }),
        ("blur", Look { blur: 0.7, ..plain }),
        ("bloom", Look { bloom: 1.0, ..plain }),
        ("edges", Look { edges: 1.0, ..plain }),
        ("strobe", Look { strobe_hz: 2.0, ..plain }),
        ("flash", Look { flash: true, ..plain }),
        ("blackout", Look { blackout: 0.5, ..plain }),
    ]
}

fn mean(plane: &[u8]) -> f64 {
    plane.iter().map(|&p| f64::from(p)).sum::<f64>() / plane.len() as f64
}

/// The mean difference of two planes.
fn apart(a: &[u8], b: &[u8]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / a.len() as f64
}

#[test]
fn every_effect_is_seen_and_when_it_is_off_again_the_picture_is_as_before() {
    let frame = busy(160, 90);
    let canvas = (240, 136);
    let plain = shoot(&mut new(canvas), &still(&frame), &Look::default(), canvas);
    for (name, look) in each() {
        let mut renderer = new(canvas);
        let with = shoot(&mut renderer, &still(&frame), &look, canvas);
        let changed = apart(&with.y, &plain.y) + apart(&with.u, &plain.u);
        assert!(changed > 1.0, "{name}: {changed}");
        // A flash has gone by then.
        let later = Look { frame: 100, ..Look::default() };
        let without = shoot(&mut renderer, &still(&frame), &later, canvas);
        assert!(without == plain, "{name} leaves something behind");
    }
}

#[test]
fn what_is_fed_back_does_not_lead_the_look_that_changes_nothing_astray() {
    // Also where only what belongs to an effect that is off is set.
    let frame = busy(160, 90);
    let idle = Look {
        tint_hue_deg: 10.0,
        trails_zoom: 1.05,
        trails_rotation_deg: 3.0,
        strobe_depth: 0.3,
        ..Look::default()
    };
    let mut renderer = new((160, 90));
    for _ in 0..3 {
        assert!(shoot(&mut renderer, &still(&frame), &idle, (160, 90)) == frame);
    }
}

#[test]
fn the_negative_of_a_negative_is_the_picture() {
    let frame = busy(99, 51);
    let negative = Look { invert: 1.0, ..Look::default() };
    let once = graded(&frame, negative);
    assert!(once.y.iter().zip(&frame.y).all(|(&a, &b)| u16::from(a) + u16::from(b) == 251));
    assert!(graded(&once, negative) == frame);
    let grey = graded(&frame, Look { invert: 0.5, ..Look::default() });
    assert!(grey.y.iter().all(|p| p.abs_diff(126) <= 1) && grey.u.iter().all(|&p| p == 128));
}

#[test]
fn gamma_lifts_what_is_between_black_and_white() {
    let ramp = paint(220, 8, |x, _| [16.0 + x - 0.5, 128.0, 128.0]);
    let lighter = graded(&ramp, Look { gamma: 2.0, ..Look::default() });
    let darker = graded(&ramp, Look { gamma: 0.5, ..Look::default() });
    assert_eq!([lighter.y[0], lighter.y[219], darker.y[0], darker.y[219]], [16, 235, 16, 235]);
    assert!(lighter.y[110] > ramp.y[110] + 30 && darker.y[110] < ramp.y[110] - 30);
    assert!(lighter.y[..220].is_sorted() && darker.y[..220].is_sorted());
}

#[test]
fn posterising_leaves_few_steps_and_every_hue() {
    let frame = busy(160, 90);
    for (posterise, most) in [(1.0, 2), (0.75, 4), (0.5, 8)] {
        let out = graded(&frame, Look { posterise, ..Look::default() });
        let mut steps = out.y.clone();
        steps.sort_unstable();
        steps.dedup();
        assert!((2..=most).contains(&steps.len()), "{posterise}: {steps:?}");
        assert!(out.u == frame.u && out.v == frame.v);
    }
}

#[test]
fn a_tint_is_of_that_colour_and_keeps_the_light() {
    let frame = busy(160, 90);
    // Cb and Cr of red, green, blue: which side of grey.
    for (hue, cb, cr) in [(0.0, -1, 1), (120.0, -1, -1), (240.0, 1, -1)] {
        let look = Look { tint: 1.0, tint_hue_deg: hue, ..Look::default() };
        let out = graded(&frame, look);
        assert_eq!(out.y, frame.y);
        let side = |plane: &[u8]| (mean(plane) - 128.0).signum() as i32;
        assert_eq!((side(&out.u), side(&out.v)), (cb, cr), "{hue}");
        let bytes = jpeg(&out, 95).unwrap();
        let rgb = image::load_from_memory(&bytes).unwrap().to_rgb8();
        let strongest = rgb.pixels().filter(|p| {
            let [r, g, b] = p.0.map(i32::from);
            let wanted = [r, g, b][(hue / 120.0) as usize];
            wanted + 6 >= r.max(g).max(b)
        });
        assert!(strongest.count() * 100 > 98 * rgb.pixels().len());
    }
}

#[test]
fn a_mirrored_picture_is_symmetric_wherever_it_was_moved() {
    let frame = busy(160, 90);
    for (mirror, across, down) in [
        (Mirror::LeftRight, true, false),
        (Mirror::TopBottom, false, true),
        (Mirror::Quad, true, true),
    ] {
        let moved = Look { mirror, rotation_deg: 21.0, pan_x: 0.1, zoom: 1.3, ..Look::default() };
        for look in [Look { mirror, ..Look::default() }, moved] {
            let out = graded(&frame, look);
            for y in 0..90 {
                for x in 0..160 {
                    let here = out.y[y * 160 + x];
                    assert!(!across || here == out.y[y * 160 + 159 - x], "{mirror:?} {x} {y}");
                    assert!(!down || here == out.y[(89 - y) * 160 + x], "{mirror:?} {x} {y}");
                }
            }
        }
        // The first half is the picture's own.
        let out = graded(&frame, Look { mirror, ..Look::default() });
        for y in 0..45 {
            assert_eq!(out.y[y * 160..][..80], frame.y[y * 160..][..80]);
        }
    }
}

#[test]
fn half_a_turn_twice_is_the_picture_and_a_quarter_turns_clockwise() {
    let frame = busy(160, 90);
    let half = Look { rotation_deg: 180.0, ..Look::default() };
    let once = graded(&frame, half);
    assert!(apart(&once.y, &frame.y) > 5.0);
    let twice = graded(&once, half);
    assert!(twice.y.iter().zip(&frame.y).all(|(a, b)| a.abs_diff(*b) <= 1));
    // The light stood up, and lies at the right.
    let up = paint(90, 90, |x, y| {
        [if (x - 45.0).abs() < 8.0 && y < 30.0 { 220.0 } else { 30.0 }, 128.0, 128.0]
    });
    let out = graded(&up, Look { rotation_deg: 90.0, ..Look::default() });
    let light = |x: usize, y: usize| out.y[y * 90 + x] > 200;
    assert!(light(75, 45) && !light(45, 15) && !light(15, 45) && !light(45, 75));
}

#[test]
fn no_corner_is_ever_black() {
    let frame = paint(160, 90, |x, y| [120.0 + x / 4.0 + y / 4.0, 100.0, 150.0]);
    for rotation_deg in [-170.0, -45.0, 10.0, 90.0, 140.0] {
        for (pan_x, pan_y) in [(0.0, 0.0), (1.0, -1.0), (-0.4, 0.7)] {
            let out = graded(&frame, Look { rotation_deg, pan_x, pan_y, ..Look::default() });
            assert!(out.y.iter().all(|&p| p >= 119), "{rotation_deg} {pan_x} {pan_y}");
        }
    }
}

#[test]
fn a_pan_shows_what_lies_beside_on_the_other_side() {
    let frame = busy(160, 90);
    let out = graded(&frame, Look { pan_x: 0.25, pan_y: -0.2, ..Look::default() });
    for y in 0..60 {
        assert_eq!(out.y[y * 160 + 40..][..100], frame.y[(y + 18) * 160..][..100], "row {y}");
    }
}

#[test]
fn zoom_among_other_effects_is_the_same_zoom() {
    let frame = paint(160, 90, |x, y| {
        let r = ((x - 80.0).powi(2) + (y - 45.0).powi(2)).sqrt();
        [if r < 20.0 { 210.0 } else { 40.0 }, 128.0, 128.0]
    });
    let lit = |out: &Frame| out.y.iter().filter(|&&p| p > 125).count() as f64;
    let zoomed = Look { zoom: 2.0, ..Look::default() };
    let (alone, among) =
        (graded(&frame, zoomed), graded(&frame, Look { rotation_deg: 1e-3, ..zoomed }));
    assert!((lit(&alone) / lit(&graded(&frame, Look::default())) - 4.0).abs() < 0.15);
    assert!((lit(&alone) / lit(&among) - 1.0).abs() < 0.02);
}

#[test]
fn every_segment_of_a_kaleidoscope_is_the_same() {
    let frame = busy(200, 200);
    for segments in [2, 3, 5, 8, 16] {
        let out = graded(&frame, Look { kaleidoscope: segments, ..Look::default() });
        // Seen from the middle, what is a whole segment on is the same, within what pixels allow.
        let at = |angle: f64, r: f64| {
            let (x, y) = (100.0 + r * angle.sin() - 0.5, 100.0 - r * angle.cos() - 0.5);
            let (i, j) = (x.floor() as usize, y.floor() as usize);
            let (fx, fy) = (x.fract(), y.fract());
            let p = |i: usize, j: usize| f64::from(out.y[j * 200 + i]);
            (p(i, j) * (1.0 - fx) + p(i + 1, j) * fx) * (1.0 - fy)
                + (p(i, j + 1) * (1.0 - fx) + p(i + 1, j + 1) * fx) * fy
        };
        let whole = std::f64::consts::TAU / f64::from(segments);
        let mut away = (0.0, 0.0);
        for n in 0..400 {
            let (angle, r) = (f64::from(n) * 0.0157, 20.0 + f64::from(n % 70));
            away.0 += (at(angle, r) - at(angle + whole, r)).abs();
            away.1 += (at(angle, r) - at(angle + whole * 0.37, r)).abs();
        }
        assert!(away.0 < 0.4 * away.1, "{segments}: {away:?}");
    }
    assert!(graded(&frame, Look { kaleidoscope: 1, ..Look::default() }) == frame);
}

#[test]
fn blocks_are_flat_and_keep_the_light() {
    let frame = busy(160, 96);
    let out = graded(&frame, Look { pixelate: 1.0, ..Look::default() });
    // An eighth of the height: blocks of 12 by 12, one of them in the middle.
    for y in 42..54 {
        for x in 74..86 {
            assert_eq!(out.y[y * 160 + x], out.y[48 * 160 + 80], "{x} {y}");
        }
    }
    assert!((mean(&out.y) - mean(&frame.y)).abs() < 1.0);
    let mut before = 0.0;
    for pixelate in [0.2, 0.4, 0.6, 0.8, 1.0] {
        let away = apart(&graded(&frame, Look { pixelate, ..Look::default() }).y, &frame.y);
        assert!(away > before, "{pixelate}");
        before = away;
    }
}

#[test]
fn split_colours_meet_again_in_grey_and_part_at_edges() {
    let grey = flat(160, 90, [120, 128, 128]);
    assert!(graded(&grey, Look { rgb_split: 1.0, ..Look::default() }) == grey);
    // A white bar: red beyond its right edge, blue beyond its left.
    let bar = paint(320, 90, |x, _| {
        [if (140.0..180.0).contains(&x) { 220.0 } else { 20.0 }, 128.0, 128.0]
    });
    let out = graded(&bar, Look { rgb_split: 1.0, ..Look::default() });
    let row = 20 * 160;
    assert!(out.v[row + 92] > 160 && out.u[row + 92] < 128, "red at the right");
    assert!(out.u[row + 67] > 160, "blue at the left");
    assert_eq!((out.u[row + 80], out.v[row + 80]), (128, 128), "white in the middle");
}

#[test]
fn scan_lines_are_dark_lines_across() {
    let white = flat(320, 240, [235, 128, 128]);
    let out = graded(&white, Look { scan_lines: 1.0, ..Look::default() });
    let column: Vec<u8> = (0..240).map(|y| out.y[y * 320 + 7]).collect();
    let lines = column.windows(2).filter(|w| w[0] >= 120 && w[1] < 120).count();
    assert_eq!(lines, 60, "one in four rows");
    assert!(out.y.chunks(320).all(|row| row.iter().all(|&p| p == row[0])));
}

#[test]
fn blur_spreads_and_keeps_the_light() {
    let frame = busy(256, 144);
    let rough = |f: &Frame| -> f64 {
        f.y.chunks(256).map(|row| apart(&row[1..], &row[..255])).sum::<f64>()
    };
    let mut before = rough(&frame);
    for blur in [0.05, 0.2, 0.5, 1.0] {
        let out = graded(&frame, Look { blur, ..Look::default() });
        assert!(rough(&out) < before, "{blur}");
        assert!((mean(&out.y) - mean(&frame.y)).abs() < 1.5);
        before = rough(&out);
    }
    let flat = flat(256, 144, [90, 100, 170]);
    assert!(graded(&flat, Look { blur: 1.0, ..Look::default() }) == flat);
}

#[test]
fn bloom_makes_light_shine_around_and_leaves_the_dark() {
    let frame = paint(256, 144, |x, y| {
        let r = ((x - 128.0).powi(2) + (y - 72.0).powi(2)).sqrt();
        [if r < 14.0 { 230.0 } else { 30.0 }, 128.0, 128.0]
    });
    let out = graded(&frame, Look { bloom: 1.0, ..Look::default() });
    let at = |x: usize| out.y[72 * 256 + x];
    assert!(at(128 + 20) > 45, "beside it: {}", at(148));
    assert!(at(128 + 20) > at(128 + 40), "it falls off");
    assert!(out.y[3 * 256 + 3] <= 32, "far off: {}", out.y[3 * 256 + 3]);
    assert!(out.y.iter().zip(&frame.y).all(|(a, b)| a >= b));
}

#[test]
fn edges_are_light_on_dark() {
    let frame = paint(256, 144, |x, _| [if x < 128.0 { 60.0 } else { 180.0 }, 100.0, 160.0]);
    let out = graded(&frame, Look { edges: 1.0, ..Look::default() });
    let row = &out.y[72 * 256..][..256];
    assert!(row[127] > 180 && row[128] > 180);
    assert!(row[20] < 24 && row[236] < 24);
    assert!(out.u[36 * 128 + 10].abs_diff(128) <= 2, "no colour where it is dark");
}

#[test]
fn glitch_is_another_one_after_a_while_and_the_same_when_drawn_again() {
    let frame = busy(320, 180);
    let at = |n: u64| graded(&frame, Look { frame: n, glitch: 1.0, ..Look::default() });
    assert!(at(40) == at(40));
    assert!(at(40) == at(41), "it stays for a few frames");
    let patterns: Vec<Frame> = (0..6).map(|n| at(100 + 4 * n)).collect();
    assert!(patterns.windows(2).all(|two| two[0] != two[1]));
    assert!(patterns.iter().all(|p| apart(&p.y, &frame.y) > 1.0));
}

#[test]
fn a_glitch_hit_lasts_a_quarter_of_a_second() {
    let frame = busy(320, 180);
    let mut renderer = new((320, 180));
    let mut glitched = Vec::new();
    for n in 0..40 {
        let look = Look { frame: n, glitch_hit: n == 5, ..Look::default() };
        if shoot(&mut renderer, &still(&frame), &look, (320, 180)) != frame {
            glitched.push(n);
        }
    }
    assert_eq!((glitched[0], glitched[glitched.len() - 1]), (5, 19));
}

/// Plays looks on a picture and returns the mean luma of every frame.
fn played(renderer: &mut Renderer, frames: u64, look: impl Fn(u64) -> Look) -> Vec<f64> {
    let picture = flat(64, 36, [200, 120, 140]);
    let size = (64, 36);
    let shoot = |n| shoot(renderer, &still(&picture), &Look { frame: n, ..look(n) }, size);
    (0..frames).map(shoot).map(|out| mean(&out.y)).collect()
}

/// Flashes, as a meter that knows nothing of how they were made counts them: brightenings by a tenth
/// from below 0.8, after a darkening as large. The frames where they end.
fn flashes(luma: &[f64]) -> Vec<usize> {
    let light = |y: f64| ((y - 16.0) / 219.0).max(0.0).powf(2.2);
    let (mut found, mut extreme, mut bright) = (Vec::new(), light(luma[0]), false);
    for (n, y) in luma.iter().enumerate() {
        let now = light(*y);
        if bright {
            extreme = f64::max(extreme, now);
            if extreme - now >= 0.1 && now < 0.8 {
                (bright, extreme) = (false, now);
            }
        } else {
            extreme = extreme.min(now);
            if now - extreme >= 0.1 && extreme < 0.8 {
                found.push(n);
                (bright, extreme) = (true, now);
            }
        }
    }
    found
}

fn most_in_a_second(found: &[usize]) -> usize {
    (0..found.len())
        .map(|i| found[i..].iter().take_while(|n| **n < found[i] + 60).count())
        .max()
        .unwrap_or(0)
}

#[test]
fn a_strobe_flashes_as_often_as_it_says() {
    for hz in [1.0, 3.0, 7.5, 12.0, 25.0] {
        let luma = played(&mut new((64, 36)), 241, |_| Look { strobe_hz: hz, ..Look::default() });
        let wanted = f64::from(hz) * 4.0;
        let found = flashes(&luma).len() as f64;
        assert!((found - wanted).abs() <= 1.0, "{hz}: {found}");
        assert_eq!(luma.iter().copied().fold(999.0, f64::min), 16.0);
    }
    let shallow = played(&mut new((64, 36)), 60, |_| Look {
        strobe_hz: 5.0,
        strobe_depth: 0.25,
        ..Look::default()
    });
    let least = shallow.iter().copied().fold(999.0, f64::min);
    assert!((least - (16.0 + 184.0 * 0.75)).abs() <= 1.0, "{least}");
}

#[test]
fn a_flash_is_white_and_fades() {
    let luma = played(&mut new((64, 36)), 60, |n| Look { flash: n == 10, ..Look::default() });
    assert_eq!((luma[9], luma[10]), (200.0, 235.0));
    assert!(luma[10..].is_sorted_by(|a, b| a >= b));
    assert!(luma[14] > 203.0 && luma[40] == 200.0);
}

#[test]
fn a_blackout_fades_to_black() {
    let luma =
        played(&mut new((64, 36)), 11, |n| Look { blackout: n as f32 / 10.0, ..Look::default() });
    assert!(luma.is_sorted_by(|a, b| a > b));
    assert_eq!((luma[0], luma[10]), (200.0, 16.0));
    assert!((luma[5] - 108.0).abs() <= 1.0);
}

fn limited() -> Renderer {
    let mut renderer = new((64, 36));
    renderer.set_time(FrameRate::whole(60), true);
    renderer
}

#[test]
fn no_second_has_more_than_three_flashes_whatever_makes_them() {
    let plain = Look::default();
    type Player = Box<dyn Fn(u64) -> Look>;
    let players: [(&str, Player); 6] = [
        ("strobe", Box::new(move |_| Look { strobe_hz: 25.0, ..plain })),
        ("flash", Box::new(move |n| Look { flash: n % 8 == 0, brightness: -0.5, ..plain })),
        ("blackout", Box::new(move |n| Look { blackout: (n / 5 % 2) as f32, ..plain })),
        ("invert", Box::new(move |n| Look { invert: (n / 3 % 2) as f32, ..plain })),
        ("brightness", Box::new(move |n| Look { brightness: -0.5 * (n % 2) as f32, ..plain })),
        (
            "faster and faster",
            Box::new(move |n| Look {
                strobe_hz: 1.0 + n as f32 / 30.0,
                blackout: f32::from(n % 11 < 4),
                ..plain
            }),
        ),
    ];
    for (name, look) in players {
        let free = flashes(&played(&mut new((64, 36)), 600, &look));
        let found = flashes(&played(&mut limited(), 600, &look));
        assert!(most_in_a_second(&free) > 3, "{name} without it: {}", most_in_a_second(&free));
        assert!(most_in_a_second(&found) <= 3, "{name}: {found:?}");
        assert!(found.len() >= 10, "{name} still flashes: {found:?}");
    }
}

#[test]
fn half_of_the_picture_that_flashes_is_limited_too() {
    // The halves take turns: the whole is as light as ever.
    let halves = [0, 1].map(|n| {
        paint(64, 36, |x, _| [if (x < 32.0) == (n == 0) { 220.0 } else { 20.0 }, 128.0, 128.0])
    });
    let mut renderer = limited();
    let mut left = Vec::new();
    for n in 0..300u64 {
        let look = Look { frame: n, ..Look::default() };
        let out = shoot(&mut renderer, &still(&halves[n as usize / 4 % 2]), &look, (64, 36));
        left.push(out.y.chunks(64).map(|row| mean(&row[..32])).sum::<f64>() / 36.0);
    }
    assert!(most_in_a_second(&flashes(&left)) <= 3);
}

#[test]
fn the_limiter_leaves_a_calm_show_alone_and_a_blackout_is_black_at_once() {
    let frames: Vec<Frame> = (0..8).map(|n| flat(64, 36, [100 + 10 * n, 120, 140])).collect();
    let mut renderer = limited();
    for n in 0..600u64 {
        // Up and down once in two seconds.
        let at = (n as f64 / 19.0).sin() * 3.5 + 3.5;
        let frame = &frames[at.round() as usize];
        let look = Look { frame: n, ..Look::default() };
        assert!(shoot(&mut renderer, &still(frame), &look, (64, 36)) == *frame, "frame {n}");
    }
    // In the midst of a storm.
    for n in 600..640 {
        let look = Look { frame: n, invert: (n / 3 % 2) as f32, ..Look::default() };
        shoot(&mut renderer, &still(&frames[7]), &look, (64, 36));
    }
    let look = Look { frame: 640, blackout: 1.0, ..Look::default() };
    let out = shoot(&mut renderer, &still(&frames[7]), &look, (64, 36));
    assert!(out == Frame::black(64, 36));
}

#[test]
fn trails_linger_and_leave_nothing_behind() {
    let light = paint(160, 90, |x, _| [if x < 80.0 { 220.0 } else { 16.0 }, 90.0, 160.0]);
    let dark = flat(160, 90, [16, 128, 128]);
    for (trails, soon) in [(0.3, 30), (0.6, 70), (1.0, 219)] {
        let mut renderer = new((160, 90));
        let look = |frame| Look { frame, trails, ..Look::default() };
        shoot(&mut renderer, &still(&light), &look(0), (160, 90));
        let next = shoot(&mut renderer, &still(&dark), &look(1), (160, 90));
        assert!(next.y[10] > 100, "{trails}");
        let mut gone = None;
        for n in 2..400 {
            let out = shoot(&mut renderer, &still(&dark), &look(n), (160, 90));
            if out == dark && gone.is_none() {
                gone = Some(n);
            }
            assert!(gone.is_none() || out == dark);
        }
        assert!(gone.is_some_and(|n| n <= soon), "{trails}: {gone:?}");
    }
}

#[test]
fn trails_move_outwards_and_turn() {
    let ring = |r0: f64| {
        paint(200, 200, move |x, y| {
            let r = ((x - 100.0).powi(2) + (y - 100.0).powi(2)).sqrt();
            [if (r - r0).abs() < 6.0 { 220.0 } else { 16.0 }, 128.0, 128.0]
        })
    };
    let (start, dark) = (ring(30.0), flat(200, 200, [16, 128, 128]));
    let mut renderer = new((200, 200));
    let look = |frame| Look { frame, trails: 1.0, trails_zoom: 1.05, ..Look::default() };
    shoot(&mut renderer, &still(&start), &look(0), (200, 200));
    for n in 1..=10 {
        let out = shoot(&mut renderer, &still(&dark), &look(n), (200, 200));
        let row = &out.y[100 * 200 + 100..][..100];
        let brightest = (0..100).max_by_key(|x| row[*x]).unwrap() as f64;
        let wanted = 30.0 * 1.05f64.powi(n as i32);
        assert!((brightest - wanted).abs() < 6.5, "frame {n}: at {brightest}, not {wanted}");
    }
}

#[test]
fn trails_are_forgotten_in_a_blackout() {
    let (light, dark) = (flat(64, 36, [220, 128, 128]), flat(64, 36, [16, 128, 128]));
    let mut renderer = new((64, 36));
    let look = |frame, blackout| Look { frame, trails: 1.0, blackout, ..Look::default() };
    shoot(&mut renderer, &still(&light), &look(0, 0.0), (64, 36));
    shoot(&mut renderer, &still(&light), &look(1, 1.0), (64, 36));
    assert!(shoot(&mut renderer, &still(&dark), &look(2, 0.0), (64, 36)) == dark);
}

#[test]
fn bars_stay_where_they_are_under_effects() {
    let square = flat(100, 100, [200, 90, 160]);
    for (name, look) in each() {
        if ["flash", "invert"].contains(&name) {
            continue;
        }
        let mut renderer = Renderer::new((320, 180), Contain, Blend, Arc::default());
        let out = shoot(&mut renderer, &still(&square), &look, (320, 180));
        for y in [0, 90, 179] {
            let row = &out.y[y * 320..][..320];
            assert!(row[..70].iter().chain(&row[250..]).all(|&p| p == 16), "{name}");
        }
    }
}

#[test]
fn layers_of_different_sizes_go_through_effects_together() {
    let (small, large) = (flat(64, 36, [50, 60, 70]), flat(128, 72, [150, 160, 170]));
    let mut renderer = new((256, 144));
    let picture = Picture { base: Layer::still(&small), over: Some((Layer::still(&large), 0.5)) };
    let look = Look { rotation_deg: 20.0, ..Look::default() };
    let out = shoot(&mut renderer, &picture, &look, (256, 144));
    assert!(out.y.iter().all(|&p| p == 100) && out.u.iter().all(|&p| p == 110));
}

fn any_values() -> impl Strategy<Value = Values> {
    let places = prop::collection::vec(
        prop_oneof![2 => Just(None), 1 => (0f32..=1.0).prop_map(Some)],
        REGISTRY.len(),
    );
    places.prop_map(|places| {
        let mut values = Values::default();
        for (param, place) in REGISTRY.iter().zip(places) {
            if let (Some(place), true, "fx") = (place, param.is_number(), param.group()) {
                values[param.id] = param.at(place);
            }
        }
        values
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Any values within their ranges, any sizes, a few frames of them: nothing panics, all is within
    /// limited range, and both instruction sets agree.
    #[test]
    fn any_effects_go_together(
        shows in prop::collection::vec((any_values(), any::<[bool; 2]>()), 1..4),
        (sw, sh) in (1u32..150, 1u32..100),
        (ow, oh) in (1u32..60, 1u32..60),
        (w, h) in (1u32..160, 1u32..120),
        start in any::<u32>(),
        fit in prop_oneof![Just(Cover), Just(Contain), Just(Stretch)],
    ) {
        let (frame, other) = (busy(sw, sh), busy(ow, oh));
        let play = |cpu: Cpu| {
            let mut renderer = Renderer::with_cpu((w, h), fit, Flow, Arc::default(), cpu);
            renderer.set_time(FrameRate::whole(50), true);
            let mut pictures = Vec::new();
            for (n, (values, fired)) in shows.iter().enumerate() {
                let triggers = [ParamId::Flash, ParamId::GlitchHit];
                let fired: Vec<_> = triggers.into_iter().zip(fired).filter(|(_, f)| **f).map(|(id, _)| id).collect();
                let look = Look::new(u64::from(start) + n as u64, values, &fired);
                let over = (n % 2 == 1).then_some((Layer::still(&other), 0.4));
                let picture = Picture { base: Layer::still(&frame), over };
                pictures.push(shoot(&mut renderer, &picture, &look, (w, h)));
            }
            pictures
        };
        let (fast, plain) = (play(Cpu::detect()), play(Cpu::plain()));
        for picture in &fast {
            prop_assert!(picture.y.iter().all(|p| (16..=235).contains(p)));
            prop_assert!(picture.u.iter().chain(&picture.v).all(|p| (16..=240).contains(p)));
        }
        prop_assert!(fast == plain);
    }

    /// No look, however odd, makes it panic.
    #[test]
    fn a_look_may_say_anything(
        numbers in prop::array::uniform24(prop_oneof![-2f32..6.0, any::<f32>(), Just(f32::NAN)]),
        segments in any::<u32>(), frame in any::<u64>(),
    ) {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x] = numbers;
        let look = Look {
            frame, brightness: a, contrast: b, saturation: c, hue_deg: d, gamma: e, invert: f,
            posterise: g, tint: h, tint_hue_deg: i, zoom: j, rotation_deg: k, pan_x: l, pan_y: m,
            mirror: Mirror::Quad, kaleidoscope: segments, rgb_split: n, pixelate: o, scan_lines: p,
            glitch: q, glitch_hit: true, blur: r, bloom: s, edges: t, trails: u, trails_zoom: v,
            trails_rotation_deg: w, strobe_hz: x, strobe_depth: a, flash: true, blackout: b,
        };
        let mut renderer = limited();
        let frame = busy(33, 21);
        for look in [look, Look { frame: look.frame.wrapping_add(1), ..look }] {
            shoot(&mut renderer, &still(&frame), &look, (64, 36));
        }
    }
}
