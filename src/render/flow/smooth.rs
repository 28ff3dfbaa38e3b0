//! Makes the vectors of neighbouring patches go together where their pictures leave it open.
//!
//! A patch's error around its best vector is a paraboloid: its Hessian over the noise that is left
//! there says how sure it is, and in which direction: a patch on an edge knows nothing along it, one
//! on boiling texture little at all. Each vector becomes the best between its own and its neighbours',
//! as in the combination of Lucas-Kanade and Horn-Schunck (Bruhn, Weickert and Schnörr 2005); a
//! neighbour that goes elsewhere counts for less (Black and Anandan 1996), so that what moves apart
//! stays apart.

use super::field::Vector;

/// How much a neighbour counts: the inverse of the variance, in pixels, by which it differs.
const BOND: f32 = 100.0;
/// Added to the mean square error: noise that is there in the best of fits.
const NOISE: f32 = 0.5;
const ROUNDS: usize = 3;

/// Planes of a grid of patches; in those of vectors there is a ring of copies around it.
#[derive(Default)]
pub struct Smoothing {
    /// Certainty: along x twice, x and y, y twice; and that times the own vector.
    certain: [Vec<f32>; 3],
    own: [Vec<f32>; 2],
    vectors: [Vec<f32>; 2],
    next: [Vec<f32>; 2],
    stride: usize,
}

impl Smoothing {
    /// A grid of so many patches in each row; what they say follows, in reading order.
    pub fn begin(&mut self, columns: usize) {
        self.stride = columns + 2;
        for plane in self.certain.iter_mut().chain(&mut self.own).chain(&mut self.vectors) {
            plane.clear();
        }
        for plane in &mut self.vectors {
            plane.resize(self.stride, 0.0);
        }
    }

    /// The next patch: its vector, mean square error and Hessian.
    pub fn push(&mut self, vector: Vector, error: f32, hessian: [f32; 3]) {
        let columns = self.stride - 2;
        let column = self.own[0].len() % columns;
        let [xx, xy, yy] = hessian.map(|part| part / (error + NOISE));
        for (plane, value) in self.certain.iter_mut().zip([xx, xy, yy]) {
            plane.push(value);
        }
        let [x, y] = vector;
        for (plane, value) in self.own.iter_mut().zip([xx * x + xy * y, xy * x + yy * y]) {
            plane.push(value);
        }
        for (plane, value) in self.vectors.iter_mut().zip(vector) {
            if column == 0 {
                plane.push(value);
            }
            plane.push(value);
            if column + 1 == columns {
                plane.push(value);
            }
        }
    }

    /// Hands out the vectors as they are then, in reading order.
    pub fn end(&mut self, mut put: impl FnMut(usize, Vector)) {
        let (stride, columns) = (self.stride, self.stride - 2);
        let rows = self.own[0].len() / columns;
        for plane in &mut self.vectors {
            plane.resize(stride * (rows + 2), 0.0);
        }
        for round in 0..=ROUNDS {
            for plane in &mut self.vectors {
                plane.copy_within(stride..2 * stride, 0);
                plane.copy_within(rows * stride..(rows + 1) * stride, (rows + 1) * stride);
            }
            if round == ROUNDS {
                break;
            }
            for (next, plane) in self.next.iter_mut().zip(&self.vectors) {
                next.clone_from(plane);
            }
            for row in 0..rows {
                self.round(row);
            }
            std::mem::swap(&mut self.vectors, &mut self.next);
            for plane in &mut self.vectors {
                for row in plane.chunks_exact_mut(stride) {
                    (row[0], row[stride - 1]) = (row[1], row[stride - 2]);
                }
            }
        }
        for i in 0..rows * columns {
            let at = (i / columns + 1) * stride + i % columns + 1;
            put(i, [self.vectors[0][at], self.vectors[1][at]]);
        }
    }

    fn round(&mut self, row: usize) {
        let columns = self.stride - 2;
        let at = (row + 1) * self.stride + 1;
        let own = row * columns..(row + 1) * columns;
        let [xx, xy, yy] = self.certain.each_ref().map(|plane| &plane[own.clone()]);
        let [own_x, own_y] = self.own.each_ref().map(|plane| &plane[own.clone()]);
        let around = [at, at - 1, at + 1, at - self.stride, at + self.stride];
        let x = around.map(|from| &self.vectors[0][from..from + columns]);
        let y = around.map(|from| &self.vectors[1][from..from + columns]);
        let [to_x, to_y] = self.next.each_mut().map(|plane| &mut plane[at..at + columns]);
        for i in 0..columns {
            let (mut weights, mut sum_x, mut sum_y) = (0.0, 0.0, 0.0);
            for n in 1..5 {
                let (dx, dy) = (x[n][i] - x[0][i], y[n][i] - y[0][i]);
                let far = 1.0 + dx * dx + dy * dy;
                let weight = BOND / (far * far);
                weights += weight;
                sum_x += weight * x[n][i];
                sum_y += weight * y[n][i];
            }
            // Certainty and bonds are positive: so is the determinant.
            let (a, b, c) = (xx[i] + weights, xy[i], yy[i] + weights);
            let (sum_x, sum_y) = (sum_x + own_x[i], sum_y + own_y[i]);
            let share = 1.0 / (a * c - b * b);
            to_x[i] = (c * sum_x - b * sum_y) * share;
            to_y[i] = (a * sum_y - b * sum_x) * share;
        }
    }
}
