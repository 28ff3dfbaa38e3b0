//! Movement: the velocity of everything in the picture, and where it carries things over time.
//!
//! Holds: the currents are the curl of a stream function, so nothing bunches up or thins out but
//! for the camera's zoom. Lengths are in heights of the picture, velocities in heights a second.

use super::noise::{Lattice, floor, hash, lerp, smoothstep};
use super::style::Style;

/// A sheet of nodes over the picture, `step` pixels apart, that covers it with one to spare.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sheet {
    pub step: usize,
    pub columns: usize,
    pub rows: usize,
    /// Height of the picture in pixels.
    pub height: f32,
    /// Width of the picture in heights.
    pub aspect: f32,
}

impl Sheet {
    pub fn new(width: usize, height: usize, step: usize) -> Self {
        Sheet {
            step,
            columns: width.div_ceil(step) + 1,
            rows: height.div_ceil(step) + 1,
            height: height as f32,
            aspect: width as f32 / height as f32,
        }
    }

    /// The same picture with nodes `times` as far apart.
    pub fn coarser(&self, times: usize) -> Self {
        Sheet {
            step: self.step * times,
            columns: (self.columns - 1).div_ceil(times) + 1,
            rows: (self.rows - 1).div_ceil(times) + 1,
            ..*self
        }
    }

    pub fn len(&self) -> usize {
        self.columns * self.rows
    }

    /// Calls `f` with every node's place, in heights, row by row.
    pub fn map<T>(&self, mut f: impl FnMut(f32, f32) -> T) -> Vec<T> {
        let unit = self.step as f32 / self.height;
        let mut out = Vec::with_capacity(self.len());
        for row in 0..self.rows {
            for column in 0..self.columns {
                out.push(f(column as f32 * unit, row as f32 * unit));
            }
        }
        out
    }

    /// Reads `data` between nodes, bilinearly; beyond the sheet its edge continues.
    #[inline]
    pub fn sample(&self, data: &[[f32; 2]], x: f32, y: f32) -> [f32; 2] {
        let scale = self.height / self.step as f32;
        let gx = (x * scale).clamp(0.0, (self.columns - 1) as f32 - 0.001);
        let gy = (y * scale).clamp(0.0, (self.rows - 1) as f32 - 0.001);
        let (column, row) = (floor(gx), floor(gy));
        let (fx, fy) = (gx - column as f32, gy - row as f32);
        let i = row as usize * self.columns + column as usize;
        let below = i + self.columns;
        let mix = |a: [f32; 2], b: [f32; 2], t: f32| [lerp(a[0], b[0], t), lerp(a[1], b[1], t)];
        mix(mix(data[i], data[i + 1], fx), mix(data[below], data[below + 1], fx), fy)
    }
}

/// The currents that all cycles of all shows share, and those of one seed.
///
/// The shared ones turn slowly with show time, so that movement goes on over the joint between two
/// cycles; the seed's own swell and fade within its cycle.
pub struct Currents<'a> {
    style: &'a Style,
    seed: u32,
}

/// Pixels between the nodes of the currents, which are smooth.
const CURRENT_STEP: usize = 16;

impl<'a> Currents<'a> {
    pub fn new(style: &'a Style, seed: u32) -> Self {
        Currents { style, seed }
    }

    /// Velocity at every node of a sheet of its own, for a speed of 1; `time` in cycles since the
    /// show began, `own` the share of the seed's own currents, 0 to 1.
    pub fn velocity(&self, width: usize, height: usize, time: f32, own: f32) -> Velocity {
        let style = self.style;
        let sheet = Sheet::new(width, height, CURRENT_STEP);
        let terms = [
            (1.15, 1.0, Lattice::new(3, 0x5EA, time * 0.55)),
            (2.3, 0.42, Lattice::new(3, 0xF10, time * 0.8)),
            (4.7, 0.15 * (0.4 + style.detail), Lattice::new(3, 0xCA1, time * 1.1)),
            (1.5, 0.8 * own, Lattice::new(3, hash(self.seed, 11), time * 0.5)),
            (3.4, 0.3 * own, Lattice::new(3, hash(self.seed, 12), time * 0.9)),
        ];
        let centre = [sheet.aspect * 0.5, 0.5];
        // The stream function, with a ring of nodes around the sheet for its slopes.
        let unit = CURRENT_STEP as f32 / sheet.height;
        let columns = sheet.columns + 2;
        let mut stream = Vec::with_capacity(columns * (sheet.rows + 2));
        for row in 0..sheet.rows + 2 {
            for column in 0..columns {
                let (x, y) = ((column as f32 - 1.0) * unit, (row as f32 - 1.0) * unit);
                let sum: f32 = terms
                    .iter()
                    .map(|(f, a, n)| a / f * n.at(x * f + 0.37 * f, y * f + 1.7 * f))
                    .sum();
                let (dx, dy) = (x - centre[0], y - centre[1]);
                let whirl = 0.3 / (1.0 + 6.0 * (dx * dx + dy * dy));
                // Currents run along the edge of the picture, not through it.
                let edge = x.min(sheet.aspect - x).min(y).min(1.0 - y);
                let s = sum * style.turbulence + whirl * style.swirl;
                stream.push(s * smoothstep(-0.12, 0.16, edge));
            }
        }
        let sway = 0.1 * (time * std::f32::consts::TAU * 0.23).sin();
        let mut i = 0;
        let data = sheet.map(|x, y| {
            let at = (i / sheet.columns + 1) * columns + i % sheet.columns + 1;
            i += 1;
            let vx = (stream[at + columns] - stream[at - columns]) / (2.0 * unit);
            let vy = (stream[at - 1] - stream[at + 1]) / (2.0 * unit);
            let (dx, dy) = (x - centre[0], y - centre[1]);
            let wave = style.wave * (7.0 * y + 2.5 * x + time * 4.0).sin();
            [
                vx + style.pan[0] + sway + style.zoom * dx + 0.3 * wave,
                vy + style.pan[1] + style.zoom * dy + 0.5 * wave,
            ]
        });
        Velocity { sheet, data }
    }
}

/// Velocities on a sheet.
pub struct Velocity {
    sheet: Sheet,
    data: Vec<[f32; 2]>,
}

impl Velocity {
    #[inline]
    pub fn at(&self, x: f32, y: f32) -> [f32; 2] {
        self.sheet.sample(&self.data, x, y)
    }
}

/// Where things come from: at every node the way from there to its origin.
pub struct Journey {
    pub sheet: Sheet,
    pub offset: Vec<[f32; 2]>,
}

impl Journey {
    pub fn none(sheet: Sheet) -> Self {
        Journey { sheet, offset: vec![[0.0; 2]; sheet.len()] }
    }

    /// Goes `velocity * seconds` first, then what was there before (semi-Lagrangian; Stam, "Stable
    /// Fluids", 1999). The largest step is held under `limit`.
    pub fn prepend(&self, velocity: &Velocity, seconds: f32, limit: f32) -> Self {
        let offset = self.sheet.map(|x, y| {
            let [mut dx, mut dy] = velocity.at(x, y).map(|v| v * seconds);
            let length = (dx * dx + dy * dy).sqrt();
            if length > limit {
                dx *= limit / length;
                dy *= limit / length;
            }
            let before = self.sheet.sample(&self.offset, x + dx, y + dy);
            [dx + before[0], dy + before[1]]
        });
        Journey { sheet: self.sheet, offset }
    }

    /// Follows a steady `velocity` for `seconds`, in `2^doublings` steps.
    pub fn along(sheet: Sheet, velocity: &Velocity, seconds: f32, doublings: u32) -> Self {
        let step = seconds / (1u32 << doublings) as f32;
        let offset = sheet.map(|x, y| velocity.at(x, y).map(|v| v * step));
        let mut journey = Journey { sheet, offset };
        for _ in 0..doublings {
            let mut i = 0;
            let doubled = sheet.map(|x, y| {
                let [dx, dy] = journey.offset[i];
                i += 1;
                let on = sheet.sample(&journey.offset, x + dx, y + dy);
                [dx + on[0], dy + on[1]]
            });
            journey.offset = doubled;
        }
        journey
    }
}
