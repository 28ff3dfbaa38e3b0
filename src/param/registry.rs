//! The table itself. Adding an effect is one entry here and one kernel in `render`.

use std::ops::{Index, IndexMut};

use crate::base::error::{Error, Result};

/// What a parameter's value may be. All values travel as `f32`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Float {
        min: f32,
        max: f32,
    },
    /// 0 or 1.
    Bool,
}

/// When a change takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applies {
    /// With the next rendered frame.
    Now,
    /// With the next generated cycle.
    Cycle,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum ParamId {
    Brightness,
    Contrast,
    Saturation,
    Hue,
    Zoom,
    Blackout,
}

/// One steerable thing.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    pub id: ParamId,
    /// Below `/vfaq`: the OSC address, and the path of the HTTP route.
    pub address: &'static str,
    pub label: &'static str,
    pub kind: Kind,
    pub default: f32,
    pub unit: &'static str,
    /// Time constant with which the picture follows a change.
    pub smoothing_ms: f32,
    pub applies: Applies,
}

const fn float(
    id: ParamId,
    address: &'static str,
    label: &'static str,
    (min, max, default): (f32, f32, f32),
    unit: &'static str,
) -> Param {
    let kind = Kind::Float { min, max };
    Param { id, address, label, kind, default, unit, smoothing_ms: 60.0, applies: Applies::Now }
}

/// Every parameter, in the order of [`ParamId`].
pub static REGISTRY: &[Param] = &[
    float(ParamId::Brightness, "/fx/brightness", "Brightness", (-1.0, 1.0, 0.0), ""),
    float(ParamId::Contrast, "/fx/contrast", "Contrast", (0.0, 2.0, 1.0), "x"),
    float(ParamId::Saturation, "/fx/saturation", "Saturation", (0.0, 2.0, 1.0), "x"),
    float(ParamId::Hue, "/fx/hue", "Hue", (-180.0, 180.0, 0.0), "deg"),
    float(ParamId::Zoom, "/fx/zoom", "Zoom", (1.0, 4.0, 1.0), "x"),
    Param {
        id: ParamId::Blackout,
        address: "/fx/blackout",
        label: "Blackout",
        kind: Kind::Bool,
        default: 0.0,
        unit: "",
        // A blackout is for emergencies: it answers at once.
        smoothing_ms: 0.0,
        applies: Applies::Now,
    },
];

impl Param {
    /// Checks a value that somebody sends; the error says what is allowed.
    pub fn check(&self, value: f32) -> Result<f32> {
        match self.kind {
            Kind::Float { min, max } if (min..=max).contains(&value) => Ok(value),
            Kind::Float { min, max } => Err(Error::usage(format!(
                "{}: {value} is out of range; send {min} to {max} {}",
                self.address, self.unit
            ))),
            Kind::Bool if value == 0.0 || value == 1.0 => Ok(value),
            Kind::Bool => Err(Error::usage(format!(
                "{}: {value} is neither on nor off; send 0 or 1",
                self.address
            ))),
        }
    }
}

/// The parameter at an address (with or without a leading `/vfaq`); an unknown one is answered
/// with the nearest that exists.
pub fn find(address: &str) -> Result<&'static Param> {
    let short = address.strip_prefix("/vfaq").unwrap_or(address);
    REGISTRY.iter().find(|p| p.address == short).ok_or_else(|| {
        let nearest = REGISTRY
            .iter()
            .max_by(|a, b| {
                let near = |p: &Param| strsim::jaro_winkler(p.address, short);
                near(a).total_cmp(&near(b))
            })
            .map_or("", |p| p.address);
        Error::usage(format!("no parameter {address}; did you mean {nearest}?"))
    })
}

/// A value for every parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Values([f32; REGISTRY.len()]);

impl Default for Values {
    fn default() -> Self {
        let mut values = [0.0; REGISTRY.len()];
        for (value, param) in values.iter_mut().zip(REGISTRY) {
            *value = param.default;
        }
        Values(values)
    }
}

impl Index<ParamId> for Values {
    type Output = f32;

    fn index(&self, id: ParamId) -> &f32 {
        &self.0[id as usize]
    }
}

impl IndexMut<ParamId> for Values {
    fn index_mut(&mut self, id: ParamId) -> &mut f32 {
        &mut self.0[id as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_ids() {
        for (i, param) in REGISTRY.iter().enumerate() {
            assert_eq!(param.id as usize, i);
            assert!(param.check(param.default).is_ok());
        }
    }

    #[test]
    fn an_unknown_address_names_the_nearest() {
        assert_eq!(find("/vfaq/fx/zoom").unwrap().id, ParamId::Zoom);
        let error = find("/fx/zom").unwrap_err().to_string();
        assert!(error.contains("/fx/zoom"), "{error}");
    }

    #[test]
    fn values_out_of_range_are_refused() {
        for bad in [f32::NAN, f32::INFINITY, 0.99, 4.01] {
            assert!(find("/fx/zoom").unwrap().check(bad).is_err());
        }
        assert!(find("/fx/blackout").unwrap().check(0.5).is_err());
    }
}
