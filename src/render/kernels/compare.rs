//! Two pictures compared along the motion between them, cell by cell.

use super::{Cpu, mulhrs};

/// A plane whose edge pixels are repeated `pad` times around it.
#[derive(Clone, Copy)]
pub struct Padded<'a> {
    pub data: &'a [u8],
    pub stride: usize,
    pub pad: usize,
    pub width: usize,
    pub height: usize,
}

/// A row of cells of which two by two pixels are looked at; those of cell `i` begin at
/// `(first + i * step, y)`.
#[derive(Clone, Copy)]
pub struct CellsAt<'a> {
    pub first: usize,
    pub step: usize,
    pub y: usize,
    /// Of each, from the first picture to the second, in pixels times `32 << shift`.
    pub vectors: &'a [[i16; 2]],
    pub shift: u32,
}

impl Cpu {
    /// Compares the first picture, half a vector back, with the second one, half a vector on: for
    /// each cell the sum over its pixels of the difference, in 32nds of a level, and of its square.
    /// All rows are of one length, the planes of one size.
    pub fn compare(
        self,
        (a, b): (Padded, Padded),
        cells: CellsAt,
        sums: &mut [i32],
        squares: &mut [i32],
    ) {
        let count = cells.vectors.len();
        let last = cells.first + count.saturating_sub(1) * cells.step;
        // Four pixels and three rows are read, inside the padding.
        assert!(last + 4 <= a.width + a.pad && cells.y + 3 <= a.height + a.pad);
        assert!((a.width, a.height, a.pad) == (b.width, b.height, b.pad));
        for plane in [a, b] {
            assert!(plane.stride >= plane.width + 2 * plane.pad);
            assert!(plane.data.len() >= plane.stride * (plane.height + 2 * plane.pad));
        }
        assert!(sums.len() == count && squares.len() == count);
        let mut done = 0;
        #[cfg(target_arch = "x86_64")]
        if self.avx2 {
            // SAFETY: the processor has AVX2, and whatever is read lies inside, as seen above.
            done = unsafe { super::avx2_compare::compare((a, b), cells, sums, squares) };
        }
        for i in done..count {
            let [dx, dy] = cells.vectors[i].map(i32::from);
            let (x, y) = (cells.first + i * cells.step, cells.y);
            let sample = |plane: &Padded, [dx, dy]: [i32; 2]| {
                let (column, across) = place(x, dx, cells.shift, plane.pad, plane.width);
                let (row, down) = place(y, dy, cells.shift, plane.pad, plane.height);
                square(&plane.data[row * plane.stride + column..], plane.stride, (across, down))
            };
            let from_a = sample(&a, [dx, dy].map(|part| (part >> 1) - part));
            let from_b = sample(&b, [dx, dy].map(|part| part >> 1));
            let each = from_a.into_iter().zip(from_b).map(|(a, b)| i32::from(a - b));
            sums[i] = each.clone().sum();
            squares[i] = each.map(|d| d * d).sum();
        }
    }
}

/// Pixels from the padding's corner to a position `away` (as vectors are) from pixel `at`, and the
/// fraction in 32nds. Further out it all looks the same.
fn place(at: usize, away: i32, shift: u32, pad: usize, size: usize) -> (usize, i16) {
    let from_corner = ((((at + pad) as i32) << (5 + shift)) + away) >> shift;
    let place = from_corner.clamp(0, farthest(pad, size) << 5);
    ((place >> 5) as usize, (place & 31) as i16)
}

/// The last place that four pixels can be read from.
pub fn farthest(pad: usize, size: usize) -> i32 {
    (size + 2 * pad) as i32 - 4
}

/// Two by two bilinear samples with 5 fractional bits.
fn square(pixels: &[u8], stride: usize, (across, down): (i16, i16)) -> [i16; 4] {
    let row = |y: usize| {
        let row = &pixels[y * stride..][..3];
        let mix = |x: usize| i16::from(row[x]) * (32 - across) + i16::from(row[x + 1]) * across;
        [mix(0), mix(1)]
    };
    let rows = [row(0), row(1), row(2)];
    let mix = |y: usize, x: usize| rows[y][x] + mulhrs(rows[y + 1][x] - rows[y][x], down << 10);
    [mix(0, 0), mix(0, 1), mix(1, 0), mix(1, 1)]
}
