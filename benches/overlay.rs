//! What lies over the picture, per frame at 1080p: a logo, a text of one line and a QR code; a
//! screen with its words; and nothing at all.
//!
//! `cargo bench --no-default-features --bench overlay`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark may stop")]

use divan::Bencher;
use vfaq::media::Frame;
use vfaq::param::{ParamId, Values};
use vfaq::render::overlay::text::{Pen, Setting};
use vfaq::render::overlay::{self, Item, Sprite, View};

const CANVAS: (u32, u32) = (1920, 1080);

fn main() {
    divan::main();
}

fn run(bencher: Bencher, on: &[(ParamId, f32)]) {
    let (mut overlays, feed) = overlay::overlays(CANVAS);
    let pen = Pen::new().unwrap();
    let setting = Setting { line_px: 65.0, most_width: 1800, most_lines: 3, title: false };
    let text = pen.draw("Tonight until four: the whole crew, all night", setting).unwrap();
    let code = overlay::qr::draw("https://example.org/tonight", 238).unwrap();
    let logo = image::RgbaImage::from_pixel(600, 300, image::Rgba([90, 20, 60, 200]));
    let logo = overlay::logo::draw(&logo, 130, 1920);
    let words = pen.screen("Be right back", "Doors at eight", (1920, 1080));
    let sprites =
        [(Item::Text, text), (Item::Qr, code), (Item::Logo, logo), (Item::BeRightBack, words)];
    for (item, bitmap) in &sprites {
        assert!(feed.send(*item, Some(Sprite::new(bitmap))));
    }
    let mut values = Values::default();
    for (id, value) in on {
        values[*id] = *value;
    }
    let mut frame = Frame::black(CANVAS.0, CANVAS.1);
    let mut n = 0;
    // Through the fade.
    while n < 60 {
        overlays.step(n, &values, 16.7);
        n += 1;
    }
    bencher.bench_local(|| {
        n += 1;
        overlays.step(n, &values, 16.7);
        if overlays.showing(View::Shared) != 0 {
            overlays.draw(View::Shared, &mut frame.as_mut());
        }
    });
}

#[divan::bench]
fn nothing(bencher: Bencher) {
    run(bencher, &[]);
}

#[divan::bench]
fn logo_text_qr(bencher: Bencher) {
    run(bencher, &[(ParamId::LogoOn, 1.0), (ParamId::TextOn, 1.0), (ParamId::QrOn, 1.0)]);
}

#[divan::bench]
fn screen(bencher: Bencher) {
    run(bencher, &[(ParamId::Screen, 2.0)]);
}

#[divan::bench]
fn screen_half_faded(bencher: Bencher) {
    // Frozen on its way: a fade so long that it hardly moves while it is measured.
    run(bencher, &[(ParamId::Screen, 2.0), (ParamId::OverlayFade, 10_000.0)]);
}
