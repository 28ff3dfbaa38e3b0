//! Parameters as JSON: the list, one entry, and what somebody asks for, over HTTP or the WebSocket.
//!
//! Holds: what may be asked for is what `param` admits; an error names the address.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::base::error::{Error, Result};
use crate::param::{self, Accepted, Applies, Board, Change, Curve, Kind, Op, Param, REGISTRY};

/// Every entry, with its present value.
pub fn list(board: &Board) -> Value {
    REGISTRY.iter().map(|param| describe(param, &board.value(param))).collect()
}

/// A value as JSON has it. A number is as short as it can be: 1.2, not 1.2000000476837158.
pub fn json_value(value: &param::Value) -> Value {
    match value {
        param::Value::Number(number) => json!(shortest(*number)),
        param::Value::Text(text) => json!(**text),
        param::Value::Nothing => Value::Null,
    }
}

pub fn shortest(number: f32) -> f64 {
    number.to_string().parse().unwrap_or(f64::from(number))
}

pub fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Float { .. } => "float",
        Kind::Int { .. } => "int",
        Kind::Bool => "bool",
        Kind::Enum(_) => "enum",
        Kind::Text { .. } => "text",
        Kind::Trigger => "trigger",
    }
}

pub fn describe(param: &Param, value: &param::Value) -> Value {
    let applies = match param.applies {
        Applies::Now => "now",
        Applies::Cycle => "cycle",
        Applies::Show => "show",
    };
    let curve = match param.curve {
        Curve::Linear => "linear",
        Curve::Log => "log",
    };
    let mut entry = json!({
        "address": param.address, "label": param.label, "help": param.help,
        "kind": kind_name(param.kind), "unit": param.unit, "applies": applies,
        "value": json_value(value),
    });
    if let Some((min, max)) = param.range() {
        entry["min"] = json!(shortest(min));
        entry["max"] = json!(shortest(max));
        entry["default"] = json!(shortest(param.default));
        entry["curve"] = json!(curve);
        entry["wraps"] = json!(param.wraps);
        entry["smoothing_ms"] = json!(shortest(param.smoothing_ms));
    }
    match param.kind {
        Kind::Enum(choices) => entry["choices"] = json!(choices),
        Kind::Text { most } => entry["most"] = json!(most),
        _ => {}
    }
    entry
}

/// The first receipt.
pub fn receipt(accepted: &Accepted) -> Value {
    json!({
        "address": accepted.param.address, "value": json_value(&accepted.value),
        "generation": accepted.generation,
    })
}

/// What to do with a parameter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    #[default]
    Set,
    Add,
    Place,
    Turn,
    Toggle,
    Reset,
}

/// The change that is asked for.
///
/// # Errors
/// `Usage`: there is no such parameter, or the value is of no kind that any has.
pub fn change(address: &str, verb: Verb, value: &Value, fade_ms: Option<f64>) -> Result<Change> {
    let param = param::find(address)?;
    let number = || match value {
        Value::Number(number) => Ok(number.as_f64().unwrap_or_default() as f32),
        _ => Err(Error::usage(format!("{address}: send a number as value"))),
    };
    let op = match verb {
        Verb::Set => Op::Set(match value {
            Value::Number(number) => {
                param::Value::Number(number.as_f64().unwrap_or_default() as f32)
            }
            Value::String(text) => param::Value::Text(text.as_str().into()),
            Value::Bool(on) => param::Value::Number(f32::from(u8::from(*on))),
            Value::Null => param::Value::Nothing,
            Value::Array(_) | Value::Object(_) => {
                return Err(Error::usage(format!(
                    "{address}: the value is a list or an object; send a number or text"
                )));
            }
        }),
        Verb::Add => Op::Add(number()?),
        Verb::Place => Op::Place(number()?),
        Verb::Turn => Op::Turn(number()?),
        Verb::Toggle => Op::Toggle,
        Verb::Reset => Op::Reset,
    };
    let fade_ms = fade_ms.unwrap_or_default();
    if !(0.0..=60_000.0).contains(&fade_ms) {
        return Err(Error::usage(format!(
            "{address}: fade_ms is {fade_ms}; send 0 to 60000 milliseconds"
        )));
    }
    Ok(Change { param, op, fade_ms: fade_ms as f32 })
}
