//! AVX2 against plain Rust, bit for bit.

use proptest::prelude::*;

use super::*;

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
    prop::collection::vec(-1200i16..1200, taps).prop_map(|mut coefs| {
        coefs[1] += ONE - coefs.iter().sum::<i16>();
        coefs
    })
}

proptest! {
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
}
