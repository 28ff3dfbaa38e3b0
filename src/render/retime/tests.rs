//! Times and pictures of retimed films.

use proptest::prelude::*;

use super::*;
use crate::base::time::{FrameRate, NS};
use crate::media::{Frame, FrameRef, Motion};
use crate::render::flow::{Analyser, Quality};

/// All output frames of a source: due time and shot.
fn retimed(
    rate: FrameRate,
    source: Option<FrameRate>,
    times_ns: &[u64],
    duration_ns: Option<u64>,
    how: How,
) -> Vec<(u64, Shot)> {
    let mut retimer = Retimer::new(rate);
    retimer.set_source(source, true);
    let mut list = Vec::new();
    let mut take = |stretch: Stretch| {
        assert_eq!(stretch.outputs.0, list.len() as u64, "no gap, nothing twice");
        list.extend((stretch.outputs.0..stretch.outputs.1).map(|n| {
            let shot = stretch.shot(n, how);
            assert!(!matches!(shot, Shot::Between(_)) || stretch.needs_motion());
            (stretch.grid.time_ns(n), shot)
        }));
    };
    for time in times_ns {
        assert!(retimer.add(*time, duration_ns, || false));
        while let Some(stretch) = retimer.ready() {
            take(stretch);
        }
    }
    retimer.end(None);
    while let Some(stretch) = retimer.ready() {
        take(stretch);
    }
    list
}

fn constant(rate: FrameRate, frames: u64, offset_ns: u64) -> Vec<u64> {
    (0..frames).map(|i| offset_ns + rate.pts_ns(i)).collect()
}

fn any_rate() -> impl Strategy<Value = FrameRate> {
    let usual = prop::sample::select(vec![
        (8, 1),
        (25, 3),
        (24, 1),
        (24_000, 1001),
        (25, 1),
        (30_000, 1001),
        (30, 1),
        (50, 1),
        (60_000, 1001),
        (60, 1),
        (120, 1),
    ]);
    prop_oneof![usual, (1u32..2000, 1u32..40)]
        .prop_filter_map("a rate", |(num, den)| FrameRate::new(num, den))
}

proptest! {
    /// From any rate to any other: the right count, every frame at its place, exact ones unchanged.
    #[test]
    fn every_rate_becomes_every_other(
        from in any_rate(),
        to in any_rate(),
        frames in 1u64..40,
        offset_ns in 0..7 * NS,
    ) {
        let times = constant(from, frames, offset_ns);
        let list = retimed(to, Some(from), &times, Some(from.pts_ns(1)), How::Between);
        // round(frames / from * to), halves up.
        let up = u64::from(from.den()) * u64::from(to.num()) * frames;
        let down = u64::from(from.num()) * u64::from(to.den());
        prop_assert_eq!(list.len() as u64, ((2 * up + down) / (2 * down)).max(1));
        for (n, (time, shot)) in (0u64..).zip(list) {
            prop_assert_eq!(time, offset_ns + to.pts_ns(n));
            let place = n as f64 * to.frame_seconds() / from.frame_seconds();
            // A place that is all but a frame's counts as that; behind the last one there is no other
            // that could be meant.
            let near: f64 = 1.001 / 16.0;
            let last = 0.00106 / from.frame_seconds();
            match shot {
                Shot::Source(i) => {
                    let near = if i == frames - 1 { near.max(last) } else { near };
                    prop_assert!((place - i as f64).abs() <= near, "{n}: {place}");
                }
                Shot::Again(i) => {
                    prop_assert!(i == frames - 1 && place > i as f64 - near, "{n}: {place}");
                }
                Shot::Between(phase) => {
                    let is_exact = n * u64::from(to.den()) * u64::from(from.num())
                        % (u64::from(to.num()) * u64::from(from.den())) == 0;
                    prop_assert!(!is_exact, "{n} is a source frame");
                    let off = (place - place.floor() - f64::from(phase)).abs();
                    prop_assert!(!(1e-3..=0.999).contains(&off), "{n}: {place}, {phase}");
                }
            }
        }
    }

    /// What is let go is never wanted again, and however low the rate is, few frames are kept.
    #[test]
    fn frames_that_nothing_shows_are_known_early(
        from in any_rate(),
        to in any_rate(),
        frames in 1u64..200,
    ) {
        let mut retimer = Retimer::new(to);
        retimer.set_source(Some(from), true);
        let mut gone = std::collections::HashSet::new();
        let check = |retimer: &mut Retimer, gone: &std::collections::HashSet<u64>| {
            while let Some(stretch) = retimer.ready() {
                let is_shown = stretch.outputs.0 < stretch.outputs.1;
                assert!(!is_shown || stretch.frames().all(|frame| !gone.contains(&frame)));
            }
        };
        for n in 0..frames {
            assert!(retimer.add(from.pts_ns(n), None, || false));
            check(&mut retimer, &gone);
            gone.extend((0..retimer.decided()).filter(|frame| !retimer.shows(*frame)));
        }
        let kept = frames - gone.len() as u64;
        prop_assert!(kept <= 8, "{kept}");
        retimer.end(None);
        check(&mut retimer, &gone);
    }

    /// Whatever times a source has: every frame of the grid is there, none goes back.
    #[test]
    fn irregular_sources_never_go_back(
        steps in prop::collection::vec(1u64..2 * NS, 1..30),
        from in prop::option::of(any_rate()),
        to in any_rate(),
        how in prop::sample::select(vec![How::Between, How::Nearest, How::Cut]),
    ) {
        let times: Vec<u64> =
            steps.iter().scan(0, |at, step| { *at += step; Some(*at) }).collect();
        let list = retimed(to, from, &times, None, how);
        let at = |n: u64| times[0] + to.pts_ns(n);
        let mut before = 0;
        for (n, (time, shot)) in (0u64..).zip(&list) {
            prop_assert_eq!(*time, at(n));
            if let Shot::Source(i) | Shot::Again(i) = shot {
                prop_assert!(*i >= before, "{n} shows {i} after {before}");
                before = *i;
                if how != How::Nearest && !matches!(shot, Shot::Source(_)) && how != How::Cut {
                    prop_assert!(times[*i as usize] <= *time + 1_050_000);
                }
            }
        }
        // Nothing of the last picture is missing, but for what rounds to nothing.
        prop_assert!(at(list.len() as u64) + to.pts_ns(1) / 2 >= times[times.len() - 1]);
    }
}

#[test]
fn there_is_no_drift_in_a_day() {
    let (from, to) = (FrameRate::new(24_000, 1001).unwrap(), FrameRate::new(60_000, 1001).unwrap());
    let mut retimer = Retimer::new(to);
    retimer.set_source(Some(from), true);
    let frames = from.frames_in(86_400 * NS);
    let (mut outputs, mut exact) = (0, 0);
    for i in 0..frames {
        assert!(retimer.add(from.pts_ns(i), None, || false));
        if let Some(stretch) = retimer.ready() {
            assert_eq!(stretch.outputs.0, outputs);
            outputs = stretch.outputs.1;
            let first = stretch.shot(stretch.outputs.0, How::Between);
            exact += u64::from(first == Shot::Source(i - 1));
        }
    }
    // Every second source frame is an output frame, to the last.
    assert_eq!(exact, frames / 2);
    assert_eq!(outputs, ((frames - 1) * 5).div_ceil(2));
}

#[test]
fn milliseconds_count_as_the_rate_that_they_round() {
    let (from, to) = (FrameRate::new(24_000, 1001).unwrap(), FrameRate::whole(60));
    let exact = constant(from, 240, 0);
    let rounded: Vec<u64> = exact.iter().map(|ns| (ns + 500_000) / 1_000_000 * 1_000_000).collect();
    let duration = Some(42_000_000);
    assert_eq!(
        retimed(to, Some(from), &rounded, duration, How::Between),
        retimed(to, Some(from), &exact, duration, How::Between)
    );
}

#[test]
fn a_cut_falls_between_the_last_two_frames() {
    let (from, to) = (FrameRate::whole(10), FrameRate::whole(60));
    // a a b: the cut is between the second and the third.
    let mut retimer = Retimer::new(to);
    retimer.set_source(Some(from), true);
    for (i, repeats) in [false, true, false].into_iter().enumerate() {
        assert!(retimer.add(from.pts_ns(i as u64), None, || repeats));
    }
    let stretch = retimer.ready().unwrap();
    assert_eq!(stretch.outputs, (0, 12));
    let shown: Vec<Shot> = (0..12).map(|n| stretch.shot(n, How::Cut)).collect();
    assert_eq!(shown[0], Shot::Source(0));
    assert!(shown[1..6].iter().all(|shot| *shot == Shot::Again(0)), "{shown:?}");
    assert_eq!(shown[6], Shot::Source(1));
    assert!(shown[7..9].iter().all(|shot| *shot == Shot::Again(1)), "{shown:?}");
    assert!(shown[9..].iter().all(|shot| *shot == Shot::Again(2)), "{shown:?}");
    // Without a cut the motion goes over both frame times.
    assert_eq!(stretch.shot(6, How::Between), Shot::Between(0.5));
}

#[test]
fn lost_frames_are_bridged_and_long_gaps_stand_still() {
    let (from, to) = (FrameRate::whole(10), FrameRate::whole(20));
    let ms = |ms: u64| ms * 1_000_000;
    let list = retimed(to, Some(from), &[0, ms(300), ms(400)], None, How::Between);
    assert_eq!(list[3].1, Shot::Between(0.5));
    let list = retimed(to, Some(from), &[0, ms(2000), ms(2100)], None, How::Between);
    assert!(list[1..=38].iter().all(|(_, shot)| *shot == Shot::Again(0)), "{list:?}");
    assert_eq!(list[39].1, Shot::Between(0.5));
    assert_eq!(list[40].1, Shot::Source(1));
}

#[test]
fn late_frames_are_left_out() {
    let mut retimer = Retimer::new(FrameRate::whole(60));
    retimer.set_source(None, true);
    assert!(retimer.add(NS, None, || false));
    assert!(!retimer.add(NS, None, || false));
    assert!(!retimer.add(NS / 2, None, || false));
    assert_eq!(retimer.next_frame(), 1);
}

fn ended(retimer: &mut Retimer, stop_ns: Option<u64>) -> Stretch {
    retimer.end(stop_ns);
    std::iter::from_fn(|| retimer.ready()).last().unwrap()
}

#[test]
fn the_grid_goes_on_under_another_source_and_at_another_rate() {
    let mut retimer = Retimer::new(FrameRate::whole(20));
    let source = FrameRate::whole(10);
    retimer.set_source(Some(source), true);
    assert!(retimer.add(NS, None, || false));
    let held = ended(&mut retimer, None);
    assert_eq!((held.outputs, held.grid.time_ns(0)), ((0, 2), NS));

    retimer.set_source(Some(source), true);
    retimer.set_rate(FrameRate::whole(40));
    assert!(retimer.add(source.pts_ns(11), None, || false));
    let held = ended(&mut retimer, None);
    assert_eq!((held.outputs, held.grid.time_ns(0)), ((0, 4), NS + NS / 10));
}

#[test]
fn a_film_ends_where_it_is_told_to() {
    let mut retimer = Retimer::new(FrameRate::whole(60));
    retimer.set_source(Some(FrameRate::whole(10)), true);
    assert!(retimer.add(0, None, || false));
    assert_eq!(ended(&mut retimer, Some(NS / 20)).outputs, (0, 3));
    retimer.end(None);
    assert_eq!(retimer.ready(), None);
}

/// A picture of waves, moved to the right.
fn waves(size: (u32, u32), moved: f64) -> Frame {
    let mut frame = Frame::black(size.0, size.1);
    let (width, chroma_width) = (size.0 as usize, frame.chroma_width());
    let value = |x: f64, y: f64| (128.0 + 50.0 * (x * 0.19).sin() + 40.0 * (y * 0.23).cos()) as u8;
    for (i, pixel) in frame.y.iter_mut().enumerate() {
        *pixel = value((i % width) as f64 - moved, (i / width) as f64);
    }
    for (i, pixel) in frame.u.iter_mut().enumerate() {
        *pixel = value(2.0 * (i % chroma_width) as f64 - moved, (i / chroma_width) as f64);
    }
    frame
}

/// The frame as rows that are further apart.
fn spaced(frame: &Frame) -> (Vec<Vec<u8>>, [usize; 3]) {
    let planes = [
        (&frame.y, frame.width as usize),
        (&frame.u, frame.chroma_width()),
        (&frame.v, frame.chroma_width()),
    ];
    let strides = planes.map(|(_, width)| width + 13);
    let rows = |(plane, width): (&Vec<u8>, usize)| {
        plane.chunks(width).flat_map(|row| row.iter().copied().chain([99; 13])).collect()
    };
    (planes.into_iter().map(rows).collect(), strides)
}

#[test]
fn strides_do_not_matter() {
    let size = (97, 61);
    let (a, b) = (waves(size, 0.0), waves(size, 4.0));
    let mut motion = Motion::default();
    Analyser::new().analyse(a.as_ref().y, b.as_ref().y, Quality::Fast, &mut motion);
    let ((data_a, strides), (data_b, _)) = (spaced(&a), spaced(&b));
    let view = |frame: &Frame, data: &'static [Vec<u8>]| {
        let mut view = FrameRef { ..leaked(frame) };
        for (i, plane) in [&mut view.y, &mut view.u, &mut view.v].into_iter().enumerate() {
            (plane.data, plane.stride) = (&data[i], strides[i]);
        }
        view
    };
    let (wide_a, wide_b) = (view(&a, data_a.leak()), view(&b, data_b.leak()));
    let mut drawer = Drawer::new();
    for out in [size, (160, 90), (40, 30)] {
        for (tight, wide) in [
            (Image::One(a.as_ref()), Image::One(wide_a)),
            (Image::Blended(a.as_ref(), b.as_ref(), 0.3), Image::Blended(wide_a, wide_b, 0.3)),
            (
                Image::Warped(a.as_ref(), b.as_ref(), &motion, 0.4),
                Image::Warped(wide_a, wide_b, &motion, 0.4),
            ),
        ] {
            let [mut one, mut two] = [Frame::black(out.0, out.1), Frame::black(out.0, out.1)];
            drawer.draw(tight, false, &mut one.as_mut());
            drawer.draw(wide, false, &mut two.as_mut());
            assert!(one == two, "{out:?}");
        }
    }
}

fn leaked(frame: &Frame) -> FrameRef<'static> {
    Box::leak(Box::new(frame.clone())).as_ref()
}

#[test]
fn full_range_stays_full_range() {
    let mut white = Frame::black(64, 48);
    white.y.fill(255);
    let mut out = Frame::black(128, 96);
    let mut drawer = Drawer::new();
    drawer.draw(Image::One(white.as_ref()), true, &mut out.as_mut());
    assert!(out.y.iter().all(|y| *y == 255));
    drawer.draw(Image::One(white.as_ref()), false, &mut out.as_mut());
    assert!(out.y.iter().all(|y| *y == 235));
}
