//! The filters with which pictures are scaled, under the names that `config.yaml` has for them.
//!
//! The names are those of ffmpeg's scaler, which the finalizer of the batch program handed its
//! setting to. Where two of its names say the same here, or a filter would be endless, the nearest
//! one that rings least is taken: [`Filter::named`] says which.

use std::f64::consts::PI;

/// How a picture of another size is made of the pixels around a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Filter {
    /// The nearest pixel.
    Nearest,
    Bilinear,
    /// Catmull-Rom (Keys 1981, a = -0.5).
    #[default]
    Bicubic,
    /// Bicubic for luma, bilinear for chroma.
    Bicublin,
    /// The mean of what a pixel covers; bilinear where that is less than a pixel.
    Area,
    Gauss,
    /// Three lobes of a windowed sinc (Duchon 1979).
    Lanczos,
    /// Four lobes of it.
    Sinc,
    /// A cubic spline over six pixels ("Spline36").
    Spline,
}

impl Filter {
    /// The filter of a name in the settings (`finalizer.scale_algo`).
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "neighbor" => Filter::Nearest,
            "fast_bilinear" | "bilinear" => Filter::Bilinear,
            "bicubic" | "experimental" => Filter::Bicubic,
            "bicublin" => Filter::Bicublin,
            "area" => Filter::Area,
            "gauss" => Filter::Gauss,
            "lanczos" => Filter::Lanczos,
            "sinc" => Filter::Sinc,
            "spline" => Filter::Spline,
            _ => return None,
        })
    }

    /// Those of luma and of chroma.
    pub(super) fn of_planes(self) -> [Filter; 2] {
        match self {
            Filter::Bicublin => [Filter::Bicubic, Filter::Bilinear],
            filter => [filter; 2],
        }
    }

    /// How far it reaches: source pixels where it scales up, canvas pixels where it scales down.
    /// `step`: source pixels per canvas pixel.
    pub(super) fn radius(self, step: f64) -> f64 {
        match self {
            Filter::Nearest => 0.5,
            Filter::Area if step > 1.0 => 0.5,
            Filter::Bilinear | Filter::Area => 1.0,
            Filter::Bicubic | Filter::Bicublin | Filter::Gauss => 2.0,
            Filter::Lanczos | Filter::Spline => 3.0,
            Filter::Sinc => 4.0,
        }
    }

    /// The weight of a pixel at that distance, before all of them are made to sum to 1.
    pub(super) fn weight(self, distance: f64, step: f64) -> f64 {
        let (x, radius) = (distance.abs(), self.radius(step));
        if x > radius {
            return 0.0;
        }
        match self {
            Filter::Nearest => 1.0,
            Filter::Area if step > 1.0 => 1.0,
            Filter::Bilinear | Filter::Area => 1.0 - x,
            Filter::Bicubic | Filter::Bicublin if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
            Filter::Bicubic | Filter::Bicublin => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
            Filter::Gauss => (-3.0 * x * x).exp2(),
            Filter::Lanczos | Filter::Sinc => sinc(x) * sinc(x / radius),
            Filter::Spline => spline36(x),
        }
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (PI * x).sin() / (PI * x) }
}

/// The natural cubic spline through a unit impulse and two zeros on each side.
fn spline36(x: f64) -> f64 {
    let cubic = |t: f64, a: f64, b: f64, c: f64, d: f64| ((a * t + b) * t + c) * t + d;
    if x < 1.0 {
        cubic(x, 13.0 / 11.0, -453.0 / 209.0, -3.0 / 209.0, 1.0)
    } else if x < 2.0 {
        cubic(x - 1.0, -6.0 / 11.0, 270.0 / 209.0, -156.0 / 209.0, 0.0)
    } else {
        cubic(x - 2.0, 1.0 / 11.0, -45.0 / 209.0, 26.0 / 209.0, 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Frame;
    use crate::render::retime::{Drawer, Image};

    const ALL: [Filter; 9] = [
        Filter::Nearest,
        Filter::Bilinear,
        Filter::Bicubic,
        Filter::Bicublin,
        Filter::Area,
        Filter::Gauss,
        Filter::Lanczos,
        Filter::Sinc,
        Filter::Spline,
    ];

    fn scaled(filter: Filter, from: &Frame, (width, height): (u32, u32)) -> Frame {
        let mut out = Frame::black(width, height);
        Drawer::with(filter).draw(Image::One(from.as_ref()), false, &mut out.as_mut());
        out
    }

    /// Sines, fine enough that filters differ and coarse enough that all can draw them.
    fn waves(width: u32, height: u32) -> Frame {
        let mut frame = Frame::black(width, height);
        for (i, y) in frame.y.iter_mut().enumerate() {
            let at = |i: usize, side: u32| (i as f64 + 0.5) / f64::from(side);
            let (x, down) = (i % width as usize, i / width as usize);
            let wave =
                (at(x, width) * 2.0 * PI * 14.0).sin() * (at(down, height) * 2.0 * PI * 7.0).cos();
            *y = (125.0 + 90.0 * wave).round() as u8;
        }
        frame
    }

    #[test]
    fn every_filter_keeps_what_is_flat_up_and_down() {
        let mut flat = Frame::black(64, 36);
        for (plane, value) in [(&mut flat.y, 181), (&mut flat.u, 90), (&mut flat.v, 170)] {
            plane.fill(value);
        }
        for (filter, size) in ALL.iter().flat_map(|f| [(f, (120, 68)), (f, (22, 14))]) {
            let out = scaled(*filter, &flat, size);
            for (plane, value) in [(&out.y, 181), (&out.u, 90), (&out.v, 170)] {
                assert!(plane.iter().all(|p: &u8| p.abs_diff(value) <= 1), "{filter:?} {size:?}");
            }
        }
    }

    #[test]
    fn the_better_a_filter_the_nearer_it_comes_to_the_true_picture() {
        let (small, truth) = (waves(64, 36), waves(120, 68));
        let error = |filter: Filter| {
            let out = scaled(filter, &small, (120, 68));
            let squares =
                out.y.iter().zip(&truth.y).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2));
            (squares.sum::<f64>() / out.y.len() as f64).sqrt()
        };
        let errors =
            [Filter::Nearest, Filter::Bilinear, Filter::Bicubic, Filter::Lanczos].map(error);
        assert!(errors.is_sorted_by(|a, b| *a > 1.2 * b), "{errors:?}");
        assert!(error(Filter::Spline) < errors[2] && error(Filter::Sinc) < errors[2]);
        assert_eq!(error(Filter::Area), errors[1]);
    }
}
