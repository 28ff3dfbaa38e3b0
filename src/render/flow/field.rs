//! Vectors on a grid of square cells, and what is done to whole grids of them.

/// Along x and along y, in pixels of the level that the grid lies on.
pub type Vector = [f32; 2];

/// One vector for each cell. The centre of cell (0, 0) lies at `(cell - 1) / 2`, in pixel centres.
#[derive(Clone, Debug, Default)]
pub struct Field {
    pub width: usize,
    pub height: usize,
    /// Pixels along the edge of a cell.
    pub cell: usize,
    pub vectors: Vec<Vector>,
}

impl Field {
    /// Gives it the cells that cover so many pixels; allocates only to grow.
    pub fn cover(&mut self, width_px: usize, height_px: usize, cell: usize) {
        (self.width, self.height) = (width_px.div_ceil(cell), height_px.div_ceil(cell));
        self.cell = cell;
        self.vectors.resize(self.width * self.height, [0.0; 2]);
    }

    /// The pixel position of a cell's centre.
    pub fn centre(&self, x: usize, y: usize) -> (f32, f32) {
        let (cell, half) = (self.cell as f32, (self.cell as f32 - 1.0) / 2.0);
        (x as f32 * cell + half, y as f32 * cell + half)
    }

    /// Between the four cells around a pixel position.
    pub fn at(&self, x: f32, y: f32) -> Vector {
        let cells = |px: f32| (px + 0.5) / self.cell as f32 - 0.5;
        let around = Around::new(self.width, self.height, cells(x), cells(y));
        let [a, b, c, d] = around.cells.map(|cell| self.vectors[cell]);
        std::array::from_fn(|i| around.mix([a[i], b[i], c[i], d[i]]))
    }
}

/// The four cells around a position, and how far it lies between them.
pub struct Around {
    pub cells: [usize; 4],
    x: f32,
    y: f32,
}

impl Around {
    pub fn new(width: usize, height: usize, x: f32, y: f32) -> Self {
        // Of NaN, `max` takes the other.
        let (x, y) = (x.max(0.0).min((width - 1) as f32), y.max(0.0).min((height - 1) as f32));
        let (left, top) = (x as usize, y as usize);
        let (right, below) = ((left + 1).min(width - 1), (top + 1).min(height - 1));
        let (top_row, bottom_row) = (top * width, below * width);
        let cells = [top_row + left, top_row + right, bottom_row + left, bottom_row + right];
        Around { cells, x: x - left as f32, y: y - top as f32 }
    }

    pub fn mix(&self, [a, b, c, d]: [f32; 4]) -> f32 {
        let (top, bottom) = (a + (b - a) * self.x, c + (d - c) * self.x);
        top + (bottom - top) * self.y
    }
}

/// Fills in values that are little known from those around them, by pull-push (Gortler et al.
/// 1996, section 3.5): weighted averages of ever larger squares, mixed back in as far as the
/// finer value is not known.
#[derive(Default)]
pub struct Filling {
    levels: Vec<Level>,
}

#[derive(Default)]
struct Level {
    values: Field,
    known: Vec<f32>,
}

impl Filling {
    /// `known`: 0 to 1 for each cell.
    pub fn fill(&mut self, field: &mut Field, known: &[f32]) {
        let (mut width, mut height, mut count) = (field.width, field.height, 0);
        while width > 1 || height > 1 {
            (width, height) = (width.div_ceil(2), height.div_ceil(2));
            count += 1;
        }
        if self.levels.len() < count {
            self.levels.resize_with(count, Level::default);
        }
        let levels = &mut self.levels[..count];
        for n in 0..count {
            let (finer, coarser) = levels.split_at_mut(n);
            match finer.last() {
                Some(finer) => coarser[0].pull(&finer.values, &finer.known),
                None => coarser[0].pull(field, known),
            }
        }
        for n in (0..count).rev() {
            let (finer, coarser) = levels.split_at_mut(n);
            match finer.last_mut() {
                Some(finer) => push(&coarser[0].values, &mut finer.values, &finer.known),
                None => push(&coarser[0].values, field, known),
            }
        }
    }
}

impl Level {
    fn pull(&mut self, finer: &Field, finer_known: &[f32]) {
        self.values.cover(finer.width, finer.height, 2);
        self.values.vectors.fill([0.0; 2]);
        self.known.clear();
        self.known.resize(self.values.vectors.len(), 0.0);
        for y in 0..finer.height {
            for x in 0..finer.width {
                let (from, to) = (y * finer.width + x, y / 2 * self.values.width + x / 2);
                let (known, vector) = (finer_known[from], finer.vectors[from]);
                self.values.vectors[to][0] += known * vector[0];
                self.values.vectors[to][1] += known * vector[1];
                self.known[to] += known;
            }
        }
        for (vector, known) in self.values.vectors.iter_mut().zip(&mut self.known) {
            if *known > 1e-6 {
                *vector = vector.map(|part| part / *known);
            }
            *known = known.min(1.0);
        }
    }
}

fn push(coarser: &Field, finer: &mut Field, known: &[f32]) {
    for y in 0..finer.height {
        for x in 0..finer.width {
            let cell = y * finer.width + x;
            let known = known[cell];
            if known < 1.0 {
                let around = coarser.at(x as f32, y as f32);
                let vector = &mut finer.vectors[cell];
                *vector = std::array::from_fn(|i| around[i] + (vector[i] - around[i]) * known);
            }
        }
    }
}
