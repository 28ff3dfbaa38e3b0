//! What every effect costs, CPU ms per output frame over the plain chain: 1024x576 to 1920x1080, two
//! pictures blended. The dearest four together, and as a peer the `image` crate's fastest blur of the
//! same three planes.
//!
//! `cargo bench --no-default-features --bench effects`
#![cfg_attr(not(unix), allow(unused))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark may stop")]

#[cfg(not(unix))]
fn main() {}

#[cfg(unix)]
fn main() {
    use std::sync::Arc;

    use image::imageops::fast_blur;
    use image::{GrayImage, ImageBuffer};
    use nix::sys::resource::{UsageWho, getrusage};
    use vfaq::base::time::FrameRate;
    use vfaq::config::{Fit, Interpolation};
    use vfaq::generate::mock::stand_in;
    use vfaq::media::Frame;
    use vfaq::param::{ParamId as P, Values};
    use vfaq::render::{Layer, Look, Picture, Renderer};

    /// Milliseconds of an effect, its name and settings.
    type Cost<'a> = (f64, &'a str, &'a [(P, f32)]);

    const CANVAS: (u32, u32) = (1920, 1080);
    const ROUNDS: usize = 7;
    const FRAMES: u64 = 40;

    let effects: &[(&str, &[(P, f32)])] = &[
        ("brightness, hue", &[(P::Brightness, 0.1), (P::Hue, 30.0)]),
        ("gamma", &[(P::Gamma, 1.5)]),
        ("posterise", &[(P::Posterise, 0.7)]),
        ("tint", &[(P::Tint, 0.8)]),
        ("rotation", &[(P::Rotation, 30.0)]),
        ("mirror", &[(P::Mirror, 3.0)]),
        ("kaleidoscope", &[(P::Kaleidoscope, 16.0)]),
        ("rgb split", &[(P::RgbSplit, 0.7)]),
        ("pixelate", &[(P::Pixelate, 0.4)]),
        ("scan lines", &[(P::ScanLines, 0.7)]),
        ("glitch", &[(P::Glitch, 1.0)]),
        ("blur, little", &[(P::Blur, 0.15)]),
        ("blur, much", &[(P::Blur, 1.0)]),
        ("bloom", &[(P::Bloom, 0.7)]),
        ("edges", &[(P::Edges, 1.0)]),
        ("trails", &[(P::Trails, 0.7)]),
        ("trails, turning", &[(P::Trails, 0.7), (P::TrailsZoom, 1.02), (P::TrailsRotation, 1.0)]),
        ("strobe", &[(P::Strobe, 2.0), (P::StrobeDepth, 0.7)]),
        ("blackout, half", &[(P::Blackout, 0.5)]),
    ];
    let clip = stand_in("teal and magenta smoke, gold sparks", 11, 1024, 576, 4);
    let mut out = Frame::black(CANVAS.0, CANVAS.1);
    let cpu_ms = || {
        let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
        let ms = |t: nix::sys::time::TimeVal| t.tv_sec() as f64 * 1e3 + t.tv_usec() as f64 / 1e3;
        ms(usage.user_time()) + ms(usage.system_time())
    };
    // The best of a few rounds: what else the machine does only adds.
    let best = |mut work: Box<dyn FnMut() + '_>, times: u64| {
        let mut round = || {
            let before = cpu_ms();
            (0..times).for_each(|_| work());
            (cpu_ms() - before) / times as f64
        };
        round();
        (0..ROUNDS).map(|_| round()).fold(f64::MAX, f64::min)
    };
    let mut cost = |sets: &[(P, f32)], limited: bool| {
        let mut renderer = Renderer::new(CANVAS, Fit::Cover, Interpolation::Blend, Arc::default());
        renderer.set_time(FrameRate::whole(60), limited);
        let mut values = Values::default();
        for (id, value) in sets {
            values[*id] = *value;
        }
        let base = Layer { a: &clip[0], b: &clip[1], phase: 0.4, motion: None };
        let mut n = 0;
        let work = || {
            n += 1;
            let look = Look::new(n, &values, &[]);
            renderer.render(&Picture { base, over: None }, &look, &mut out.as_mut());
        };
        best(Box::new(work), FRAMES)
    };
    let plain = cost(&[], false);
    println!("plain chain           {plain:5.2} ms");
    println!("flash limiter         {:+5.2} ms", cost(&[], true) - plain);
    let mut costs = Vec::new();
    for (name, sets) in effects {
        let more = cost(sets, false) - plain;
        println!("{name:20}  {more:+5.2} ms");
        costs.push((more, *name, *sets));
    }
    costs.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut taken: Vec<Cost> = Vec::new();
    for (more, name, sets) in costs {
        // One of each pass: what moves the picture is one.
        let pass = |id: P| match id {
            P::Rotation | P::Mirror => P::Kaleidoscope,
            P::Tint => P::Gamma,
            id => id,
        };
        let known =
            |id: P| taken.iter().any(|(_, _, sets)| sets.iter().any(|set| pass(set.0) == pass(id)));
        if taken.len() < 4 && !sets.iter().any(|set| known(set.0)) {
            taken.push((more, name, sets));
        }
    }
    let names: Vec<_> = taken.iter().map(|(_, name, _)| *name).collect();
    let sets: Vec<_> = taken.iter().flat_map(|(_, _, sets)| sets.iter().copied()).collect();
    let four = cost(&sets, true);
    println!(
        "the dearest four      {:+5.2} ms: {}; {:.1} times the plain chain",
        four - plain,
        names.join(", "),
        four / plain
    );
    let plane = |data: &[u8], w, h| -> GrayImage {
        ImageBuffer::from_raw(w, h, data.to_vec()).expect("as many bytes as pixels")
    };
    let planes = [
        (plane(&clip[0].y, 1024, 576), 24.0),
        (plane(&clip[0].u, 512, 288), 12.0),
        (plane(&clip[0].v, 512, 288), 12.0),
    ];
    let peer = best(
        Box::new(|| {
            std::hint::black_box(planes.each_ref().map(|(plane, sigma)| fast_blur(plane, *sigma)));
        }),
        4,
    );
    let blur = cost(&[(P::Blur, 1.0)], false) - plain;
    println!(
        "the image crate's fast_blur of the same {peer:.2} ms: blur takes {:.2} of it",
        blur / peer
    );
}
