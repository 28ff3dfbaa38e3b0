//! What is done to the light of the finished picture, at the size of the canvas: scan lines, strobe,
//! flash and blackout, as a line over luma and a factor of chroma for every row.

use std::f32::consts::PI;

use super::super::grade::{ChromaGrade, LumaGrade};
use super::super::kernels::Cpu;
use super::super::row_mut;
use crate::media::FrameMut;

/// Lines from the top to the bottom of the picture.
const LINES: f32 = 240.0;

/// `light`: how much is left, `white`: how much white is over that, `lines`: how dark it is between
/// scan lines; all 0 to 1.
pub fn shine(cpu: Cpu, light: f32, white: f32, lines: f32, out: &mut FrameMut) {
    if light == 1.0 && white == 0.0 && lines == 0.0 {
        return;
    }
    // At least four rows a line: fewer would make moire.
    let period = (out.y.height as f32 / LINES).round().max(4.0);
    let gain = |y: f32| {
        let between = 0.5 - 0.5 * ((y + 0.5) / period * 2.0 * PI).cos();
        light * (1.0 - white) * (1.0 - lines * (0.15 + 0.7 * between))
    };
    for y in 0..out.y.height {
        let gain = gain(y as f32);
        let grade = LumaGrade {
            gain_q13: (gain * 8192.0).round() as i16,
            offset_q4: ((16.0 * (1.0 - gain) + 219.0 * white) * 16.0).round() as i16,
        };
        cpu.grade_luma(row_mut(&mut out.y, y), grade);
    }
    for y in 0..out.u.height {
        let cos_q12 = ((gain(2.0 * y as f32) + gain(2.0 * y as f32 + 1.0)) * 2048.0).round() as i16;
        let grade = ChromaGrade { cos_q12, sin_q12: 0 };
        cpu.grade_chroma(row_mut(&mut out.u, y), row_mut(&mut out.v, y), grade);
    }
}
