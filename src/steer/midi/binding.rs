//! A binding: one control, the parameter that it steers, and how.
//!
//! Holds: a binding that was read can be carried out: its values are in range, and its mode goes
//! with its parameter and control.

use std::fmt::Write;

use super::event::Control;
use super::takeover::{Curve, Encoding};
use crate::param::{Kind, Param, Value};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The value is where the control is.
    Absolute,
    /// The same, once the control has met the value.
    Pickup,
    /// The value goes along, and both arrive at the ends together.
    Scale,
    /// An encoder without ends.
    Relative,
    /// Each press: on and off in turn, or the next choice.
    Toggle,
    /// As long as it is held.
    Momentary,
    /// Each press makes it happen.
    Trigger,
    /// Each press sets it to the value.
    Set,
}

impl Mode {
    pub const NAMES: &'static [(&'static str, Mode)] = &[
        ("absolute", Mode::Absolute),
        ("pickup", Mode::Pickup),
        ("scale", Mode::Scale),
        ("relative", Mode::Relative),
        ("toggle", Mode::Toggle),
        ("momentary", Mode::Momentary),
        ("trigger", Mode::Trigger),
        ("set", Mode::Set),
    ];

    pub fn name(self) -> &'static str {
        Mode::NAMES.iter().find(|(_, mode)| *mode == self).map_or("", |(name, _)| name)
    }

    /// Where the control stands is the news, not that it was pressed.
    pub fn follows(self) -> bool {
        matches!(self, Mode::Absolute | Mode::Pickup | Mode::Scale | Mode::Relative)
    }

    /// What goes without saying.
    pub fn usual(control: Control, param: &Param, has_value: bool) -> Mode {
        match param.kind {
            Kind::Trigger => Mode::Trigger,
            Kind::Text { .. } => Mode::Set,
            _ if has_value => Mode::Set,
            Kind::Bool => Mode::Toggle,
            Kind::Enum(_) if control.is_button() => Mode::Toggle,
            _ if control.is_button() => Mode::Momentary,
            _ => Mode::Absolute,
        }
    }
}

/// What is sent back to the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feedback {
    /// Where the value is, for rings of light and faders with motors.
    Follow(Control),
    /// One of two values, for a lamp: lit while the parameter is not at its start of the range, or
    /// is what the binding sets.
    Lamp { control: Control, on: u8, off: u8 },
}

impl Feedback {
    pub fn control(self) -> Control {
        match self {
            Feedback::Follow(control) | Feedback::Lamp { control, .. } => control,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Binding {
    pub control: Control,
    pub param: &'static Param,
    pub mode: Mode,
    /// The values at the ends of the control's way, in the parameter's unit; `None`: all of it.
    pub range: Option<(f32, f32)>,
    pub curve: Curve,
    pub encoding: Encoding,
    pub value: Option<Value>,
    pub fade_ms: f32,
    pub feedback: Option<Feedback>,
    /// In its file; 0: it was learned.
    pub line: usize,
}

impl Binding {
    pub fn new(control: Control, param: &'static Param, mode: Mode) -> Self {
        Binding {
            control,
            param,
            mode,
            range: None,
            curve: Curve::default(),
            encoding: Encoding::default(),
            value: None,
            fade_ms: 0.0,
            feedback: None,
            line: 0,
        }
    }

    /// The values at the ends of the control's way.
    pub fn ends(&self) -> (f32, f32) {
        self.range.or(self.param.range()).unwrap_or((0.0, 1.0))
    }

    /// The value for a control that stands at `t`.
    pub fn value_at(&self, t: f32) -> f32 {
        let (from, to) = self.ends();
        let share = self.curve.apply(t);
        // The ends are what was written, not nearly that.
        if share <= 0.0 {
            return from;
        }
        if share >= 1.0 {
            return to;
        }
        let (from, to) = (self.param.place(from), self.param.place(to));
        self.param.at(from + (to - from) * share)
    }

    /// Where the control would stand for a value; at an end for one beyond it.
    pub fn place_of(&self, value: f32) -> f32 {
        let (from, to) = self.ends();
        let (from, to) = (self.param.place(from), self.param.place(to));
        if from == to {
            return 0.0;
        }
        self.curve.inverse((self.param.place(value) - from) / (to - from))
    }

    /// What is wrong with it as a whole.
    pub fn fault(&self) -> Option<String> {
        let (address, mode) = (self.param.address, self.mode.name());
        let is_number = self.param.is_number();
        let is_trigger = self.param.kind == Kind::Trigger;
        match self.mode {
            Mode::Trigger if !is_trigger => {
                Some(format!("{address} is no trigger; use toggle, momentary, or set with a value"))
            }
            Mode::Set if self.value.is_none() && !is_trigger => {
                Some(format!("{address}: say with value: what a press sets"))
            }
            Mode::Trigger | Mode::Set => None,
            _ if is_trigger => Some(format!("{address} is a trigger; its mode is trigger")),
            _ if !is_number => Some(format!("{address} is a text; use mode: set and a value")),
            Mode::Pickup | Mode::Scale | Mode::Relative if self.control.is_button() => {
                Some(format!("mode {mode} is for faders and knobs, {} is a button", self.control))
            }
            _ => None,
        }
    }

    /// As a line of a map.
    pub fn yaml(&self) -> String {
        let mut line = format!(
            "{{control: {}, to: {}, mode: {}",
            self.control,
            &self.param.address[1..],
            self.mode.name()
        );
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        // A star would be an alias.
        if self.control.channel() == 0 {
            let control = self.control.to_string();
            line = line.replacen(&control, &quoted(&control), 1);
        }
        let name = |names: &[(&'static str, Curve)]| {
            names.iter().find(|(_, curve)| *curve == self.curve).map_or("", |(name, _)| *name)
        };
        let mut put = |key: &str, value: String| {
            // Writing to a text cannot fail.
            let _ = write!(line, ", {key}: {value}");
        };
        if let Some((from, to)) = self.range {
            put("range", format!("[{from}, {to}]"));
        }
        if self.curve != Curve::default() {
            put("curve", name(Curve::NAMES).to_owned());
        }
        if self.mode == Mode::Relative {
            let named = Encoding::NAMES.iter().find(|(_, encoding)| *encoding == self.encoding);
            put("encoding", named.map_or("", |(name, _)| name).to_owned());
        }
        match &self.value {
            Some(Value::Text(text)) => put("value", quoted(text)),
            Some(Value::Number(number)) => put("value", number.to_string()),
            _ => {}
        }
        if self.fade_ms > 0.0 {
            put("fade", (self.fade_ms / 1000.0).to_string());
        }
        match self.feedback {
            Some(Feedback::Follow(control)) if control == self.control => {
                put("feedback", "{follow: true}".into());
            }
            Some(Feedback::Follow(control)) => {
                put("feedback", format!("{{follow: true, control: {control}}}"));
            }
            Some(Feedback::Lamp { control, on, off }) if control == self.control => {
                put("feedback", format!("{{on: {on}, off: {off}}}"));
            }
            Some(Feedback::Lamp { control, on, off }) => {
                put("feedback", format!("{{on: {on}, off: {off}, control: {control}}}"));
            }
            None => {}
        }
        line.push('}');
        line
    }
}
