//! What is laid over a picture, where, for whom, and how it comes and goes.

use proptest::prelude::*;

use super::text::{Pen, Setting};
use super::*;
use crate::media::Frame;
use crate::param::Values;

const CANVAS: (u32, u32) = (320, 180);

fn grey() -> Frame {
    let mut frame = Frame::black(CANVAS.0, CANVAS.1);
    frame.y.fill(100);
    frame.u.fill(90);
    frame.v.fill(160);
    frame
}

fn solid(width: usize, height: usize, pixel: [f32; 4]) -> Sprite {
    Sprite::new(&Bitmap { width, height, pixels: vec![pixel; width * height] })
}

fn values(set: &[(ParamId, f32)]) -> Values {
    let mut values = Values::default();
    for (id, value) in set {
        values[*id] = *value;
    }
    values
}

const FRAME_MS: f32 = 1000.0 / 60.0;

#[test]
fn what_is_off_leaves_the_picture_alone_and_what_is_on_is_where_it_should_be() {
    let (mut overlays, feed) = overlays(CANVAS);
    assert!(feed.send(Item::Logo, Some(solid(20, 10, [1.0, 0.0, 0.0, 1.0]))));
    let off = values(&[(ParamId::LogoX, 0.5), (ParamId::LogoY, 0.5)]);
    overlays.step(0, &off, FRAME_MS);
    assert_eq!(overlays.showing(View::Shared), 0);
    let mut on = off;
    on[ParamId::LogoOn] = 1.0;
    overlays.step(1, &on, FRAME_MS);
    let mut frame = grey();
    overlays.draw(View::Shared, &mut frame.as_mut());
    let clean = grey();
    let changed: Vec<(usize, usize)> = (0..frame.y.len())
        .filter(|at| frame.y[*at] != clean.y[*at])
        .map(|at| (at % 320, at / 320))
        .collect();
    assert_eq!(changed.len(), 200);
    assert_eq!((changed[0], changed[199]), ((150, 84), (169, 93)));
    // BT.709 red, limited range.
    assert_eq!(frame.y[90 * 320 + 160], 63);
    assert_eq!((frame.u[45 * 160 + 80], frame.v[45 * 160 + 80]), (102, 240));
}

#[test]
fn opacity_and_a_blackout_take_away_from_it() {
    let (mut overlays, feed) = overlays(CANVAS);
    assert!(feed.send(Item::Text, Some(solid(20, 10, [1.0, 1.0, 1.0, 1.0]))));
    let on = |more: &[(ParamId, f32)]| {
        let mut on = values(&[(ParamId::TextOn, 1.0), (ParamId::TextY, 0.5)]);
        for (id, value) in more {
            on[*id] = *value;
        }
        on
    };
    let mut luma = |values: &Values| {
        overlays.step(0, values, FRAME_MS);
        let mut frame = grey();
        overlays.draw(View::Shared, &mut frame.as_mut());
        frame.y[90 * 320 + 160]
    };
    assert_eq!(luma(&on(&[])), 235);
    assert_eq!(luma(&on(&[(ParamId::TextOpacity, 0.5)])), 168);
    assert_eq!(luma(&on(&[(ParamId::TextOpacity, 0.0)])), 100);
    assert_eq!(luma(&on(&[(ParamId::Blackout, 0.5)])), 168);
    assert_eq!(luma(&on(&[(ParamId::Blackout, 1.0)])), 100);
}

#[test]
fn each_view_has_what_is_meant_for_it() {
    let (mut overlays, feed) = overlays(CANVAS);
    for item in [Item::Text, Item::Logo] {
        assert!(feed.send(item, Some(solid(4, 4, [1.0; 4]))));
    }
    let mut on = values(&[(ParamId::TextOn, 1.0), (ParamId::LogoOn, 1.0)]);
    on[ParamId::LogoWhere] = 1.0;
    overlays.step(0, &on, FRAME_MS);
    let showing = |overlays: &Overlays| View::ALL.map(|view| overlays.showing(view).count_ones());
    assert_eq!(showing(&overlays), [2, 2, 1, 1], "the logo is for the stream");
    on[ParamId::LogoWhere] = 6.0;
    overlays.step(1, &on, FRAME_MS);
    assert_eq!(showing(&overlays), [2, 1, 2, 2], "the logo is for display and recording");
    for (place, choice) in places_in_words() {
        assert_eq!(places(place), choice, "{place}");
    }
}

/// The choices of a `where`, read from their names.
fn places_in_words() -> Vec<(f32, u8)> {
    let crate::param::Kind::Enum(choices) = crate::param::of(ParamId::LogoWhere).kind else {
        panic!("it is a choice");
    };
    let bits = |name: &str| match name {
        "everywhere" => STREAM | DISPLAY | RECORDING,
        name => name
            .split('_')
            .map(|part| match part {
                "stream" => STREAM,
                "display" => DISPLAY,
                "recording" => RECORDING,
                other => panic!("{other}"),
            })
            .sum(),
    };
    choices.iter().enumerate().map(|(i, name)| (i as f32, bits(name))).collect()
}

#[test]
fn screens_come_and_go_in_the_time_that_is_set() {
    let (mut overlays, feed) = overlays(CANVAS);
    assert!(feed.send(Item::BeRightBack, Some(solid(100, 20, [1.0; 4]))));
    let mut show = values(&[(ParamId::Screen, 2.0), (ParamId::OverlayFade, 0.5)]);
    let middle = |overlays: &mut Overlays, n: u64, show: &Values| {
        overlays.step(n, show, FRAME_MS);
        let mut frame = grey();
        overlays.draw(View::Shared, &mut frame.as_mut());
        (frame.y[90 * 320 + 160], frame.y[10 * 320 + 10])
    };
    let seen: Vec<(u8, u8)> = (0..40).map(|n| middle(&mut overlays, n, &show)).collect();
    assert!(seen.windows(2).all(|two| two[0].0 <= two[1].0), "{seen:?}");
    assert!((140..200).contains(&seen[14].0), "{seen:?}");
    assert_eq!(seen[31].0, 235);
    assert!(seen[31].1 < 90, "the show is darkened: {seen:?}");
    // A blackout covers words and backdrop.
    show[ParamId::Blackout] = 1.0;
    overlays.step(40, &show, FRAME_MS);
    let mut black = Frame::black(CANVAS.0, CANVAS.1);
    overlays.draw(View::Shared, &mut black.as_mut());
    assert!(black.y.iter().all(|y| *y <= 17), "{:?}", black.y.iter().max());
    show[ParamId::Blackout] = 0.0;
    show[ParamId::Screen] = 0.0;
    for n in 41..71 {
        overlays.step(n, &show, FRAME_MS);
    }
    assert_eq!(overlays.showing(View::Shared), 0);
}

#[test]
fn a_qr_code_is_sharp_has_its_quiet_zone_and_is_read_back() {
    let address = "https://example.org/tonight?from=stage";
    let bitmap = qr::draw(address, 120).unwrap();
    let light = |x: usize, y: usize| bitmap.pixels[y * bitmap.width + x][0];
    assert!(bitmap.pixels.iter().all(|p| p[0] == 0.0 || p[0] == 1.0));
    assert!((0..bitmap.width).all(|i| light(i, 5) == 1.0 && light(5, i) == 1.0));
    assert_eq!(read_qr(bitmap.width, bitmap.height, |x, y| (light(x, y) * 255.0) as u8), address);
    let small = qr::draw(address, 40).unwrap_err().to_string();
    assert!(small.contains("/overlay/qr/size"), "{small}");
}

fn read_qr(width: usize, height: usize, light: impl FnMut(usize, usize) -> u8) -> String {
    let mut picture = rqrr::PreparedImage::prepare_from_greyscale(width, height, light);
    let grids = picture.detect_grids();
    assert_eq!(grids.len(), 1);
    grids[0].decode().unwrap().1
}

fn setting(line_px: f32, most_width: usize, most_lines: usize) -> Setting {
    Setting { line_px, most_width, most_lines, title: false }
}

#[test]
fn text_is_white_on_dark_and_every_alphabet_that_is_promised_is_there() {
    let pen = Pen::new().unwrap();
    let drawn = |text: &str| pen.draw(text, setting(40.0, 600, 1)).unwrap();
    let missing = drawn("\u{10fffd}");
    for letter in "AzÄéñßøőžђЖяЩΩλώ♪€…–“".chars() {
        let letter_drawn = drawn(&letter.to_string());
        assert_ne!(letter_drawn, missing, "{letter}");
        let white = letter_drawn.pixels.iter().filter(|p| p[0] > 0.9).count();
        let dark = letter_drawn.pixels.iter().filter(|p| p[0] < 0.1 && p[3] > 0.5).count();
        assert!(white > 5 && dark > 20, "{letter}: {white} {dark}");
    }
    assert!(missing.pixels.iter().any(|p| p[0] > 0.9), "what is missing is seen");
    assert!(pen.draw(" \u{200d}\u{fe0f} ", setting(40.0, 600, 1)).is_none());
}

#[test]
fn long_texts_are_wrapped_and_shortened() {
    let pen = Pen::new().unwrap();
    let long = "Sedimentary layers of sound, ".repeat(7);
    let one = pen.draw(&long, setting(20.0, 300, 1)).unwrap();
    let three = pen.draw(&long, setting(20.0, 300, 3)).unwrap();
    assert!(one.width <= 300 && one.width > 200, "{}", one.width);
    assert!(three.width <= 300 && three.height >= one.height + 38, "{}", three.height);
    let word = "x".repeat(200);
    let broken = pen.draw(&word, setting(20.0, 300, 3)).unwrap();
    assert!(broken.width <= 300 && broken.height == three.height);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the text and wherever it lies, it is drawn, within its width, and nothing panics.
    #[test]
    fn any_text_fits(text in ".{0,60}", line in 4.0f32..80.0, width in 1usize..400, lines in 1usize..4,
                     x in 0.0f32..=1.0, y in 0.0f32..=1.0) {
        let pen = Pen::new().unwrap();
        if let Some(bitmap) = pen.draw(&text, setting(line, width, lines)) {
            // One letter is drawn whole, however little room there is.
            prop_assert!(bitmap.width <= width.max(line as usize * 4 + 40), "{}", bitmap.width);
            let mut frame = grey();
            Sprite::new(&bitmap).blend(Cpu::detect(), (x, y), 4, 256, &mut frame.as_mut());
            // Text has no colour.
            prop_assert!(frame.u.iter().all(|u| (90..=128).contains(u)));
        }
    }
}

#[test]
fn what_was_replaced_comes_back_to_be_freed() {
    let (mut overlays, feed) = overlays(CANVAS);
    let values = Values::default();
    for n in 0..100 {
        assert!(feed.send(Item::Qr, Some(solid(2, 2, [1.0; 4]))));
        overlays.step(n, &values, FRAME_MS);
        assert!(feed.back.len() <= 1);
    }
    for _ in 0..ON_THEIR_WAY {
        assert!(feed.send(Item::Qr, None));
    }
    assert!(!feed.send(Item::Qr, None), "it does not wait");
}
