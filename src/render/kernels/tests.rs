//! AVX2 against plain Rust, bit for bit.

use proptest::prelude::*;

use super::*;
use crate::render::grade::Over;

fn bytes(len: impl Into<prop::collection::SizeRange>) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), len)
}

/// Four weights that sum to ONE; often some are zero.
fn weights() -> impl Strategy<Value = [i16; 4]> {
    (0..=ONE, 0..=ONE, 0..=ONE, any::<bool>()).prop_map(|(a, b, c, two)| {
        if two {
            return [a, ONE - a, 0, 0];
        }
        let mut cuts = [a, b, c];
        cuts.sort();
        [cuts[0], cuts[1] - cuts[0], cuts[2] - cuts[1], ONE - cuts[2]]
    })
}

/// Coefficients that sum to ONE with lobes like a bicubic's.
fn coefs(taps: usize) -> impl Strategy<Value = Vec<i16>> {
    // However many taps: what is left for the largest fits.
    let lobe = (9_000 / taps as i16).min(1200);
    prop::collection::vec(-lobe..lobe, taps).prop_map(|mut coefs| {
        coefs[1] += ONE - coefs.iter().sum::<i16>();
        coefs
    })
}

proptest! {
    #[test]
    fn over((src, alpha, below) in (0usize..100).prop_flat_map(|n| (bytes(n), bytes(n), bytes(n))),
            opacity in 0u16..=256) {
        let (mut fast, mut plain) = (below.clone(), below.clone());
        Cpu::detect().over(&src, &alpha, opacity, &mut fast);
        Cpu::plain().over(&src, &alpha, opacity, &mut plain);
        prop_assert_eq!(&fast, &plain);
        for i in 0..src.len() {
            let share = (f64::from(alpha[i]) * f64::from(opacity) / 256.0).round() / 255.0;
            let exact = f64::from(below[i]) * (1.0 - share) + f64::from(src[i]) * share;
            prop_assert!((f64::from(fast[i]) - exact).abs() <= 1.0);
            prop_assert!(opacity > 0 || fast[i] == below[i]);
            prop_assert!(opacity < 256 || alpha[i] < 255 || fast[i] == src[i]);
        }
    }

    #[test]
    fn combine(rows in (0usize..200).prop_flat_map(|n| [bytes(n), bytes(n), bytes(n), bytes(n)]),
               weights in weights()) {
        let rows = rows.each_ref().map(Vec::as_slice);
        let (mut fast, mut plain) = (vec![0; rows[0].len()], vec![0; rows[0].len()]);
        Cpu::detect().combine(rows, weights, &mut fast);
        Cpu::plain().combine(rows, weights, &mut plain);
        prop_assert_eq!(fast, plain);
    }

    #[test]
    fn rgb((y, u, v) in (0usize..200).prop_flat_map(|n| {
        (bytes(n), bytes(n.div_ceil(2)), bytes(n.div_ceil(2)))
    })) {
        let (mut fast, mut plain) = (vec![0; y.len()], vec![0; y.len()]);
        Cpu::detect().rgb(&y, &u, &v, &mut fast);
        Cpu::plain().rgb(&y, &u, &v, &mut plain);
        prop_assert_eq!(&fast, &plain);
        // And both say what floating point says, within one.
        for (i, pixel) in fast.iter().enumerate() {
            let luma = (f64::from(y[i]) - 16.0) * (255.0 / 219.0);
            let cb = (f64::from(u[i / 2]) - 128.0) * (255.0 / 224.0);
            let cr = (f64::from(v[i / 2]) - 128.0) * (255.0 / 224.0);
            let exact =
                [luma + 1.5748 * cr, luma - 0.187_324 * cb - 0.468_124 * cr, luma + 1.8556 * cb];
            let [_, found @ ..] = pixel.to_be_bytes();
            for (found, exact) in found.into_iter().zip(exact) {
                prop_assert!((f64::from(found) - exact.clamp(0.0, 255.0)).abs() <= 1.0);
            }
        }
    }

    #[test]
    fn grade_luma(row in bytes(0..200), gain_q13 in 0i16..=16384, offset_q4 in -5512i16..=5512) {
        let grade = LumaGrade { gain_q13, offset_q4 };
        let (mut fast, mut plain) = (row.clone(), row);
        Cpu::detect().grade_luma(&mut fast, grade);
        Cpu::plain().grade_luma(&mut plain, grade);
        prop_assert_eq!(fast, plain);
    }

    #[test]
    fn grade_chroma((u, v) in (0usize..200).prop_flat_map(|n| (bytes(n), bytes(n))),
                    cos_q12 in -16384i16..=16384, sin_q12 in -16384i16..=16384) {
        let grade = ChromaGrade { cos_q12, sin_q12 };
        let (mut fast, mut plain) = ((u.clone(), v.clone()), (u, v));
        Cpu::detect().grade_chroma(&mut fast.0, &mut fast.1, grade);
        Cpu::plain().grade_chroma(&mut plain.0, &mut plain.1, grade);
        prop_assert_eq!(fast, plain);
    }

    #[test]
    fn columns_4(row in bytes(300), start in 0u32..150, steps in prop::collection::vec(0u32..=1, 64),
                 coefs in prop::collection::vec(coefs(4), 64)) {
        let starts: Vec<u32> =
            steps.iter().scan(start, |at, step| { *at += step; Some(*at) }).collect();
        let blocks: Vec<Block> = (0..4)
            .map(|b| Block::new(|i| {
                let i = b * 16 + i;
                (starts[i], [coefs[i][0], coefs[i][1], coefs[i][2], coefs[i][3]])
            }))
            .collect();
        let (mut fast, mut plain) = (vec![0; 64], vec![0; 64]);
        Cpu::detect().columns_4(&row, &blocks, &mut fast);
        Cpu::plain().columns_4(&row, &blocks, &mut plain);
        prop_assert_eq!(fast, plain);
    }

    #[test]
    fn columns(row in bytes(300), starts in prop::collection::vec(0i32..250, 0..40),
               coefs in (1usize..=4).prop_flat_map(|n| prop::collection::vec(coefs(8 * n), 40))) {
        let taps = coefs[0].len();
        let coefs = coefs.concat();
        let (mut fast, mut plain) = (vec![0; 64], vec![0; 64]);
        Cpu::detect().columns(&row, &starts, taps, &coefs, &mut fast);
        Cpu::plain().columns(&row, &starts, taps, &coefs, &mut plain);
        prop_assert_eq!(fast, plain);
    }

    #[test]
    fn rows(ring in prop::collection::vec(-20480i16..=20480, 1000),
            starts in prop_oneof![prop::collection::vec(0usize..700, 4),
                                  prop::collection::vec(0usize..700, 8)],
            coefs in coefs(8), width in 0usize..200) {
        let mut coefs = coefs[..starts.len()].to_vec();
        coefs[0] += ONE - coefs.iter().sum::<i16>();
        for range in [LUMA, CHROMA] {
            let (mut fast, mut plain) = (vec![0; width], vec![0; width]);
            Cpu::detect().rows(&ring, &starts, &coefs, range, &mut fast);
            Cpu::plain().rows(&ring, &starts, &coefs, range, &mut plain);
            prop_assert_eq!(fast, plain);
        }
    }

    #[test]
    fn average(src in bytes(4 * 450), k in 1usize..=4, width in 0usize..100) {
        let (mut fast, mut plain) = (vec![0; width], vec![0; width]);
        Cpu::detect().average(&src, 450, k, &mut fast);
        Cpu::plain().average(&src, 450, k, &mut plain);
        prop_assert_eq!(fast, plain);
    }

    #[test]
    fn fit_and_descend(own in bytes(60 * 60), other in bytes(60 * 60), smooth in any::<bool>(),
                       vector in [-70f32..70.0, -70f32..70.0], steps in 0u32..9) {
        use patch::{Slope, Sought};
        // Nothing but noise ends a descent at once.
        let picture = |bytes: Vec<u8>| -> Vec<u8> {
            let at = |i: usize| u16::from(bytes[i.min(bytes.len() - 1)]);
            let blur = |i: usize| ((0..5).map(|k| at(i + k) + at(i + 60 * k)).sum::<u16>() / 10) as u8;
            if smooth { (0..bytes.len()).map(blur).collect() } else { bytes }
        };
        let (own, other) = (picture(own), picture(other));
        let gradient = |step: usize| -> Vec<i16> {
            let at = |i: usize| i16::from(own[i.min(own.len() - 1)]);
            (0..own.len()).map(|i| at(i + step) - at(i.saturating_sub(step))).collect()
        };
        let (dx, dy) = (gradient(1), gradient(60));
        let from = 60 * 21 + 23;
        let sought = Sought {
            pixels: &own[from..],
            dx: &dx[from..],
            dy: &dy[from..],
            slope: Slope::new([40.0, -90.0, 60_000.0, 9_000.0, 80_000.0]),
            from: [23.0, 21.0],
            other: compare::Padded { data: &other, stride: 60, pad: 16, width: 28, height: 28 },
        };
        let start = Cpu::detect().fit(&sought, vector);
        prop_assert_eq!(start, Cpu::plain().fit(&sought, vector));
        let fast = Cpu::detect().descend(&sought, vector, start, steps);
        prop_assert_eq!(fast, Cpu::plain().descend(&sought, vector, start, steps));
        prop_assert!(fast.1 <= start.error);
        // Where it was taken from it fits.
        let same = Sought { other: compare::Padded { data: &own, ..sought.other }, ..sought };
        prop_assert_eq!(Cpu::detect().fit(&same, [0.0; 2]).error, 0.0);
    }

    #[test]
    fn change(a in bytes(40 * 34), b in bytes(36 * 32), rows in 0usize..=32) {
        let (a, b) = ((&a[..], 40), (&b[..], 36));
        let fast = Cpu::detect().change(a, b, change::BLOCK, rows);
        prop_assert_eq!(fast, Cpu::plain().change(a, b, change::BLOCK, rows));
    }

    #[test]
    fn compare(a in bytes(70 * 20), b in bytes(66 * 20), near in any::<bool>(), shift in 0u32..3,
               vectors in prop::collection::vec((any::<i16>(), any::<i16>()), 1..27)) {
        let near = |v: i16| if near { v / 200 } else { v };
        let vectors: Vec<_> = vectors.into_iter().map(|(dx, dy)| [near(dx), near(dy)]).collect();
        let plane = |data, stride| {
            compare::Padded { data, stride, pad: 4, width: 53, height: 12 }
        };
        let cells =
            compare::CellsAt { first: 1, step: 2, y: 11, vectors: &vectors, shift };
        let run = |cpu: Cpu| {
            let (mut sums, mut squares) = (vec![0; vectors.len()], vec![0; vectors.len()]);
            cpu.compare((plane(&a, 70), plane(&b, 66)), cells, &mut sums, &mut squares);
            (sums, squares)
        };
        prop_assert_eq!(run(Cpu::detect()), run(Cpu::plain()));
    }

    #[test]
    fn warp((width, height, y) in (1usize..70, 1usize..12).prop_flat_map(|(w, h)| (Just(w), Just(h), 0..h)),
            pixels in prop::collection::vec(any::<u8>(), 2 * 70 * 12),
            vectors in prop::collection::vec((-16_000i16..16_000, -16_000i16..16_000), 50),
            near in any::<bool>(), cell in 1u32..5, t in 0f32..=1.0,
            shares in prop::collection::vec((0i16..=i16::MAX, 0i16..=i16::MAX), 50)) {
        let (a, b) = pixels.split_at(70 * 12);
        let plane = |data| crate::media::PlaneRef { data, stride: 70, width, height };
        // Most motion is smooth; then the pixels of a block come from one window.
        let near = |v: i16| if near { v / 400 } else { v };
        let dx: Vec<i16> = vectors.iter().map(|v| near(v.0)).collect();
        let dy: Vec<i16> = vectors.iter().map(|v| near(v.1)).collect();
        let (share, trust): (Vec<_>, Vec<_>) = shares.into_iter().unzip();
        let grid = super::warp::Grid::new(1 << cell);
        let row = super::warp::Row {
            y,
            a: [plane(a)],
            b: [plane(b)],
            cells: super::warp::CellRow { dx: &dx, dy: &dy, share: &share, trust: &trust },
            grid: &grid,
            moment: super::warp::Moment::new(t, 0),
        };
        let run = |cpu: Cpu| {
            let mut rows = [(); super::warp::BAND].map(|()| vec![0; width]);
            rows.iter_mut().skip(height - y).for_each(Vec::clear);
            cpu.warp(&row, [rows.each_mut().map(|row| &mut row[..])]);
            rows
        };
        prop_assert_eq!(run(Cpu::detect()), run(Cpu::plain()));
    }

    #[test]
    fn lerp_rows(cells in prop::collection::vec((-16_000i16..16_000, -16_000i16..16_000), 0..100),
                 weight in 0i16..=i16::MAX) {
        let (above, below): (Vec<_>, Vec<_>) = cells.into_iter().unzip();
        let (mut fast, mut plain) = (vec![0; above.len()], vec![0; above.len()]);
        Cpu::detect().lerp_rows(&above, &below, weight, &mut fast);
        Cpu::plain().lerp_rows(&above, &below, weight, &mut plain);
        prop_assert_eq!(fast, plain);
    }

    #[test]
    fn follow(vectors in prop::collection::vec((any::<i16>(), any::<i16>()), 40 * 5),
              weights in prop::collection::vec(any::<[u8; 4]>(), 40 * 5),
              width in 1usize..=40, near in any::<bool>(), t in 0f32..=1.0) {
        let near = |v: i16| if near { v / 200 } else { v };
        let motion = crate::media::Motion {
            cell_px: 4,
            width,
            height: 5,
            vectors: vectors.into_iter().map(|(dx, dy)| [near(dx), near(dy)]).collect(),
            weights,
            ..Default::default()
        };
        let run = |cpu: Cpu| {
            let mut rows = vec![[0; 40]; 4];
            let [dx, dy, share, trust] = &mut rows[..] else { unreachable!() };
            cpu.follow(&motion, 3, t, super::warp::CellRowMut { dx, dy, share, trust });
            rows
        };
        prop_assert_eq!(run(Cpu::detect()), run(Cpu::plain()));
    }

    /// All the rows of effects, of any length.
    #[test]
    fn effects(
        rows in (0usize..100).prop_flat_map(|n| prop::collection::vec(bytes(n + 2), 8)),
        part in 0i16..=256,
    ) {
        let n = rows[0].len() - 2;
        let half = n.div_ceil(2);
        let row = |i: usize| &rows[i][..n];
        let over = std::array::from_fn(|i| Over {
            gain_q8: i as i16 * 2, cb: i as i16 - 128, cr: 100 - i as i16,
        });
        let table = std::array::from_fn(|i| 16 + (i as u8 ^ 0x55) % 220);
        let run = |cpu: Cpu| {
            let mut all = Vec::new();
            let mut keep = |row: &[u8]| all.push(row.to_vec());
            let mut a = row(0).to_vec();
            cpu.bend(&mut a, &table);
            keep(&a);
            let (mut u, mut v) = (rows[1][..half].to_vec(), rows[2][..half].to_vec());
            cpu.bend_chroma(&mut u, &mut v, [row(3), row(4)], &over);
            keep(&u);
            keep(&v);
            cpu.linger(&mut a, row(1), part * 64);
            keep(&a);
            cpu.screen(&mut a, row(2), part);
            keep(&a);
            cpu.screen_chroma(&mut a, row(3), part);
            keep(&a);
            let mut edge = vec![0; n];
            cpu.steepness([&rows[5], &rows[6], &rows[7]], 14, 26, &mut edge);
            keep(&edge);
            cpu.outline(&mut a, &edge, part);
            keep(&a);
            cpu.outline_chroma(&mut u, &edge, part);
            keep(&u);
            let mut sum = vec![0; n];
            cpu.weigh(&mut sum, row(0), 100);
            cpu.weigh_two(&mut sum, row(1), row(2), 78);
            cpu.weighed(&sum, &mut a);
            keep(&a);
            cpu.shift(&rows[4], part / 4, &mut a);
            keep(&a);
            let mut light = vec![0; half];
            let chroma = [1, 2, 3, 4].map(|i| &rows[i][..half]);
            cpu.split_light([chroma[0], chroma[1]], [chroma[2], chroma[3]], &mut light);
            let mut lights = vec![0; n];
            cpu.twice(&light, &mut lights);
            cpu.split_luma(&mut a, row(6), row(7), &lights);
            keep(&a);
            cpu.split_colour(&mut u, [row(0), row(1)], [row(2), row(3)], 2660);
            keep(&u);
            all
        };
        prop_assert_eq!(run(Cpu::detect()), run(Cpu::plain()));
    }

    /// Places of a row, whatever the way; and what is there, also where nothing is.
    #[test]
    fn places_and_samples(
        matrix in prop::array::uniform6(-700f32..700.0),
        (width, height) in (1usize..60, 1usize..40),
        mirror in any::<[bool; 2]>(),
        fan in prop::option::of(prop::array::uniform4(prop::array::uniform4(-1f32..=1.0))),
        data in bytes(70 * 50),
        astray in prop::collection::vec(any::<i32>(), 32),
    ) {
        use map::{Around, Line, Turn, Way};
        let fan = fan.map(|fan| fan.map(|[a, b, c, d]| Turn { border: [a, b], by: [c, d] }));
        let way = Way { fan, mirror, matrix, size: [width as f32, height as f32], alike: [false; 2] };
        let line = Line {
            first: -20.5, step: 1.0, down: 7.5, scale: [64.0; 2], offset: [32.0; 2],
        };
        let stride = width + map::BEFORE + map::BEHIND;
        let around = Around { data: &data, stride, rows: height + 2 };
        let run = |cpu: Cpu| {
            let (mut xs, mut ys) = (vec![0; 64], vec![0; 64]);
            cpu.places(&way, &line, &mut xs, &mut ys);
            let (mut there, mut anywhere) = (vec![0; 61], vec![0; 32]);
            cpu.sample(around, &xs, &ys, LUMA, &mut there);
            cpu.sample(around, &astray, &astray, CHROMA, &mut anywhere);
            (xs, ys, there, anywhere)
        };
        let (fast, plain) = (run(Cpu::detect()), run(Cpu::plain()));
        prop_assert!(fast.0.iter().all(|&x| (32..=64 * width as i32 + 32).contains(&x)), "{:?}", fast.0);
        prop_assert!(fast.1.iter().all(|&y| (32..=64 * height as i32 + 32).contains(&y)));
        prop_assert_eq!(fast, plain);
    }
}
