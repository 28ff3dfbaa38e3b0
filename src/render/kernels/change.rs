//! What has changed between two pictures, block by block: how much, and whether it has moved.

use super::Cpu;

/// Pixels along the edge of a block.
pub const BLOCK: usize = 32;

/// Sums over every other row of a block: of the difference `d` (`b` less `a`) and of the gradients
/// of `a` (of two pixels: central differences, not halved).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    pub pixels: i32,
    /// Of the absolute differences.
    pub d: i32,
    pub dd: i32,
    pub d_dx: i32,
    pub d_dy: i32,
    pub dx_dx: i32,
    pub dx_dy: i32,
    pub dy_dy: i32,
}

impl Change {
    pub fn add(&mut self, other: &Change) {
        for (sum, value) in [
            (&mut self.pixels, other.pixels),
            (&mut self.d, other.d),
            (&mut self.dd, other.dd),
            (&mut self.d_dx, other.d_dx),
            (&mut self.d_dy, other.d_dy),
            (&mut self.dx_dx, other.dx_dx),
            (&mut self.dx_dy, other.dx_dy),
            (&mut self.dy_dy, other.dy_dy),
        ] {
            *sum += value;
        }
    }
}

impl Cpu {
    /// Of the block of `width` by `rows` pixels, neither above [`BLOCK`], whose first is `a[1]` of
    /// the second row of `a`: there is a pixel on every side of it. `b` begins with the block.
    pub fn change(
        self,
        (a, a_stride): (&[u8], usize),
        (b, b_stride): (&[u8], usize),
        width: usize,
        rows: usize,
    ) -> Change {
        #[cfg(target_arch = "x86_64")]
        if self.avx2 && width == BLOCK {
            // SAFETY: the processor has AVX2.
            return unsafe { super::avx2_patch::change((a, a_stride), (b, b_stride), rows) };
        }
        change((a, a_stride), (b, b_stride), width, rows)
    }
}

fn change(
    (a, a_stride): (&[u8], usize),
    (b, b_stride): (&[u8], usize),
    width: usize,
    rows: usize,
) -> Change {
    let mut sums = Change::default();
    for y in (0..rows).step_by(2) {
        let row = |down: usize| &a[(y + down) * a_stride..][..width + 2];
        let (above, middle, below) = (row(0), row(1), row(2));
        for (x, &b) in b[y * b_stride..][..width].iter().enumerate() {
            let of = |a: u8, b: u8| i32::from(b) - i32::from(a);
            let d = of(middle[x + 1], b);
            let (dx, dy) = (of(middle[x], middle[x + 2]), of(above[x + 1], below[x + 1]));
            sums.add(&Change {
                pixels: 1,
                d: d.abs(),
                dd: d * d,
                d_dx: d * dx,
                d_dy: d * dy,
                dx_dx: dx * dx,
                dx_dy: dx * dy,
                dy_dy: dy * dy,
            });
        }
    }
    sums
}
