//! Reproducible randomness: hashes, a generator of numbers, gradient noise and tiles baked of it.
//!
//! Holds: integers decide everything that is random, so equal seeds give equal pictures.

use std::sync::OnceLock;

/// Mixes two words into one that looks random.
pub fn hash(a: u32, b: u32) -> u32 {
    let mut x = a ^ b.wrapping_mul(0x9E37_79B9).rotate_left(15);
    x = (x ^ (x >> 16)).wrapping_mul(0x7FEB_352D);
    x = (x ^ (x >> 15)).wrapping_mul(0x846C_A68B);
    x ^ (x >> 16)
}

/// FNV-1a: stable over versions and machines, unlike the standard hasher.
pub fn hash_text(text: &str) -> u32 {
    text.bytes().fold(0x811C_9DC5, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193))
}

/// A sequence of random numbers.
pub struct Rng(u32);

impl Rng {
    pub fn new(seed: u32) -> Self {
        Rng(hash(seed, 0x51ED_270B))
    }

    /// From 0 up to, not including, 1.
    pub fn unit(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9);
        (hash(self.0, 0x2545_F491) >> 8) as f32 / 16_777_216.0
    }

    /// From -1 to 1.
    pub fn signed(&mut self) -> f32 {
        2.0 * self.unit() - 1.0
    }
}

/// Rounds down. `f32::floor` is a library call on processors before SSE4.1.
#[inline]
pub fn floor(x: f32) -> i32 {
    let i = x as i32;
    i.wrapping_sub(i32::from((i as f32) > x))
}

#[inline]
pub fn smoothstep(from: f32, to: f32, x: f32) -> f32 {
    let t = ((x - from) / (to - from)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

#[inline]
pub fn lerp(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

/// Perlin's gradient noise on a square lattice that repeats after `size` cells. The gradients turn
/// with `turn`, which moves the noise on without a third dimension (Perlin and Neyret, "Flow
/// Noise", 2001).
pub struct Lattice {
    mask: i32,
    bits: u32,
    gradients: Vec<[f32; 2]>,
}

impl Lattice {
    /// `bits`: the size is `2^bits` cells. `turn` in radians.
    pub fn new(bits: u32, seed: u32, turn: f32) -> Self {
        let size = 1u32 << bits;
        let gradients = (0..size * size)
            .map(|i| {
                let h = hash(i, seed);
                let start = (h & 0xFFFF) as f32 / 65_536.0 * std::f32::consts::TAU;
                let speed = 0.6 + 0.8 * ((h >> 16) & 0xFF) as f32 / 255.0;
                let angle = start + turn * if h >> 31 == 0 { speed } else { -speed };
                [angle.cos(), angle.sin()]
            })
            .collect();
        Lattice { mask: size as i32 - 1, bits, gradients }
    }

    /// About -0.8 to 0.8, 0 on average; coordinates in cells.
    #[inline]
    pub fn at(&self, x: f32, y: f32) -> f32 {
        let (xi, yi) = (floor(x), floor(y));
        let (fx, fy) = (x - xi as f32, y - yi as f32);
        let fade = |t: f32| t * t * t * (t * (t * 6.0 - 15.0) + 10.0);
        let corner = |dx: i32, dy: i32| {
            let column = (xi.wrapping_add(dx) & self.mask) as usize;
            let row = (yi.wrapping_add(dy) & self.mask) as usize;
            let g = self.gradients[(row << self.bits) | column];
            g[0] * (fx - dx as f32) + g[1] * (fy - dy as f32)
        };
        let (u, v) = (fade(fx), fade(fy));
        let top = lerp(corner(0, 0), corner(1, 0), u);
        let bottom = lerp(corner(0, 1), corner(1, 1), u);
        lerp(top, bottom, v)
    }
}

/// Cells across a [`Tile`]; a tile repeats after that many.
pub const TILE: usize = 256;

/// A square of detail that repeats seamlessly, baked once and read many times. Every cell holds
/// itself and its right, lower and lower right neighbours, 16 bits each, so that a reading takes
/// one load.
pub struct Tile(Box<[u64; TILE * TILE]>);

/// Values between -4 and 4 are kept as 0 to 65535.
const TILE_RANGE: f32 = 4.0;

/// The tiles that all pictures share; each reads them from a place of its own.
pub struct Tiles {
    pub billow: Tile,
    pub ridges: Tile,
    pub facets: Tile,
}

pub fn tiles() -> &'static Tiles {
    static TILES: OnceLock<Tiles> = OnceLock::new();
    TILES.get_or_init(|| Tiles {
        billow: Tile::fractal(31, 2, 5, 0.52, false),
        ridges: Tile::fractal(32, 2, 4, 0.5, true),
        facets: Tile::facets(33, 4),
    })
}

impl Tile {
    /// Fractal noise, mostly within -1 to 1. `ridge` folds it into creases; `first` is the number
    /// of waves across the tile (a power of two as exponent).
    pub fn fractal(seed: u32, first: u32, octaves: u32, gain: f32, ridge: bool) -> Self {
        let mut data = vec![0.0; TILE * TILE];
        let mut amplitude = 1.0;
        for octave in 0..octaves {
            let bits = first + octave;
            let lattice = Lattice::new(bits, hash(seed, octave), 0.0);
            let scale = (1u32 << bits) as f32 / TILE as f32;
            for (i, out) in data.iter_mut().enumerate() {
                let (x, y) = ((i % TILE) as f32 * scale, (i / TILE) as f32 * scale);
                let n = lattice.at(x, y) * 1.5;
                *out += amplitude * if ridge { 0.55 - 1.9 * n.abs() } else { n };
            }
            amplitude *= gain;
        }
        Tile::pack(&data)
    }

    /// Facets: each of `4^bits` cells is a slanted plane of its own height (after Worley, 1996).
    pub fn facets(seed: u32, bits: u32) -> Self {
        let cells = 1i32 << bits;
        let side = TILE as f32 / cells as f32;
        let point = |cx: i32, cy: i32| {
            let id = ((cy & (cells - 1)) << bits) | (cx & (cells - 1));
            let mut rng = Rng::new(hash(id as u32, seed));
            let x = (cx as f32 + rng.unit()) * side;
            let y = (cy as f32 + rng.unit()) * side;
            [x, y, rng.signed(), rng.signed(), rng.signed()]
        };
        let mut data = vec![0.0; TILE * TILE];
        for row in 0..cells {
            for column in 0..cells {
                let near: Vec<[f32; 5]> = (-1..=1)
                    .flat_map(|dy| (-1..=1).map(move |dx| (dx, dy)))
                    .map(|(dx, dy)| point(column + dx, row + dy))
                    .collect();
                for y in (row as f32 * side) as usize..((row + 1) as f32 * side) as usize {
                    for x in (column as f32 * side) as usize..((column + 1) as f32 * side) as usize
                    {
                        let (px, py) = (x as f32, y as f32);
                        let (mut best, mut second, mut plane) = (f32::MAX, f32::MAX, 0.0);
                        for p in &near {
                            let (dx, dy) = (px - p[0], py - p[1]);
                            let d = dx * dx + dy * dy;
                            if d < best {
                                second = best;
                                best = d;
                                plane = p[2] * 0.7 + (p[3] * dx + p[4] * dy) * 0.9 / side;
                            } else if d < second {
                                second = d;
                            }
                        }
                        // A bright edge where two facets meet.
                        let edge = (second.sqrt() - best.sqrt()) / side;
                        let rim = (1.0 - edge * 6.0).max(0.0);
                        data[y * TILE + x] = plane + rim * rim * 0.9;
                    }
                }
            }
        }
        Tile::pack(&data)
    }

    fn pack(data: &[f32]) -> Self {
        let level = |x: usize, y: usize| {
            let v = data[(y % TILE) * TILE + x % TILE];
            ((v / TILE_RANGE * 32_768.0 + 32_768.0) as u16) as u64
        };
        let mut cells = Box::new([0; TILE * TILE]);
        for (i, cell) in cells.iter_mut().enumerate() {
            let (x, y) = (i % TILE, i / TILE);
            *cell = level(x, y)
                | level(x + 1, y) << 16
                | level(x, y + 1) << 32
                | level(x + 1, y + 1) << 48;
        }
        Tile(cells)
    }

    /// Bilinear; coordinates in 65536ths of a cell, any value.
    #[inline]
    pub fn at(&self, x: i32, y: i32) -> f32 {
        const MASK: usize = TILE - 1;
        const PAIR: u64 = 0x0000_FFFF_0000_FFFF;
        let (column, row) = ((x >> 16) as usize & MASK, (y >> 16) as usize & MASK);
        let (fx, fy) = ((x >> 8) as u64 & 255, (y >> 8) as u32 & 255);
        let cell = self.0[row << 8 | column];
        // None of these can overflow; unchecked, the development build is fast too.
        let across = (cell & PAIR)
            .wrapping_mul(256u64.wrapping_sub(fx))
            .wrapping_add((cell >> 16 & PAIR).wrapping_mul(fx));
        let (top, bottom) = ((across as u32) >> 1, (across >> 33) as u32);
        let level = top.wrapping_mul(256u32.wrapping_sub(fy)).wrapping_add(bottom.wrapping_mul(fy));
        let level = level as i32;
        level as f32 * (TILE_RANGE / (1u32 << 30) as f32) - TILE_RANGE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_repeat_without_a_seam_and_are_neither_flat_nor_wild() {
        for tile in [
            Tile::fractal(1, 2, 5, 0.5, false),
            Tile::fractal(2, 2, 5, 0.5, true),
            Tile::facets(3, 3),
        ] {
            let all: Vec<f32> =
                (0..65_536).map(|i| tile.at((i % 256) << 16, (i / 256) << 16)).collect();
            let mean = all.iter().sum::<f32>() / 65_536.0;
            let spread = (all.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / 65_536.0).sqrt();
            assert!(mean.abs() < 0.5 && (0.2..1.0).contains(&spread), "{mean} {spread}");
            let cells = |x: f32, y: f32| tile.at((x * 65_536.0) as i32, (y * 65_536.0) as i32);
            assert!((cells(-3.5, 7.25) - cells(252.5, 263.25)).abs() < 1e-5);
            assert!((cells(10.5, 4.0) * 2.0 - cells(10.0, 4.0) - cells(11.0, 4.0)).abs() < 1e-3);
        }
    }

    #[test]
    fn floor_rounds_down_on_both_sides_of_zero() {
        for (x, expected) in [(1.5, 1), (-1.5, -2), (-2.0, -2), (0.0, 0), (-0.25, -1)] {
            assert_eq!(floor(x), expected);
        }
    }
}
