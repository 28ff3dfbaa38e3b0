//! What the devices are shown: lamps, rings of light, faders with motors.
//!
//! Holds: of each lamp only the last value waits; a device gets at most `AT_ONCE` messages at a
//! time, sixty times a second; what it was told already it is not told again. A fader is not moved
//! under the hand that moves it.

use std::collections::{BTreeMap, HashMap};

use super::binding::{Feedback, Mode};
use super::deck::{Bound, Core};
use super::event::Control;
use crate::param::{Board, Value};

/// A midir output of JACK holds 2048 messages, and is noticed to be gone within a second.
const AT_ONCE: usize = 16;

/// What a device was told, and what it is to be told.
#[derive(Default)]
pub struct Told {
    sent: HashMap<Control, u16>,
    waiting: BTreeMap<Control, u16>,
}

impl Told {
    /// It is new: all of it is to be told.
    pub fn forget(&mut self) {
        *self = Told::default();
    }

    fn want(&mut self, control: Control, value: u16) {
        match self.sent.get(&control) == Some(&value) {
            true => self.waiting.remove(&control),
            false => self.waiting.insert(control, value),
        };
    }

    /// The device shows that already.
    fn shows(&mut self, control: Control, value: u16) {
        self.waiting.remove(&control);
        self.sent.insert(control, value);
    }
}

impl Core {
    /// Whether anybody is shown anything.
    pub fn has_feedback(&self) -> bool {
        self.feedback && self.devices.iter().any(|device| device.out.is_some() && device.lamps)
    }

    /// Tells the devices what has changed.
    pub fn send_feedback(&mut self) {
        if !self.has_feedback() {
            return;
        }
        let generation = self.board.generation();
        let changed = generation != self.shown_up_to || self.lamps_moved;
        (self.shown_up_to, self.lamps_moved) = (generation, false);
        for device in &mut self.devices {
            let Some(out) = &mut device.out else { continue };
            if changed || !device.told_all {
                for bound in &device.bound {
                    match wanted(bound, &self.board) {
                        Some(Want::Send(control, value)) => device.told.want(control, value),
                        Some(Want::Known(control, value)) => device.told.shows(control, value),
                        None => {}
                    }
                }
                device.told_all = true;
            }
            for _ in 0..AT_ONCE {
                let Some((control, value)) = device.told.waiting.pop_first() else { break };
                device.told.sent.insert(control, value);
                let channel = device.heard_on.max(1);
                for bytes in messages(control, value, channel) {
                    // A device that is gone is found out about elsewhere.
                    out.send(&bytes);
                }
                self.counters.sent.add(1);
            }
        }
    }
}

enum Want {
    Send(Control, u16),
    /// It is so already.
    Known(Control, u16),
}

fn wanted(bound: &Bound, board: &Board) -> Option<Want> {
    let binding = &bound.binding;
    let number = board.number(binding.param.id);
    Some(match binding.feedback? {
        Feedback::Follow(control) => {
            let value = (binding.place_of(number) * f32::from(control.max())).round() as u16;
            let own = control == binding.control && bound.set == Some(number);
            match own && binding.mode.follows() {
                true => Want::Known(control, value),
                false => Want::Send(control, value),
            }
        }
        Feedback::Lamp { control, on, off } => {
            let lit = is_lit(bound, number, board);
            Want::Send(control, if lit { on } else { off }.into())
        }
    })
}

fn is_lit(bound: &Bound, number: f32, board: &Board) -> bool {
    let binding = &bound.binding;
    match (&binding.value, binding.mode) {
        (_, Mode::Trigger) => bound.down,
        (Some(Value::Text(text)), _) => *text == board.text(binding.param.id),
        (Some(Value::Number(value)), _) => number == *value,
        _ => match binding.range {
            Some((_, to)) if matches!(binding.mode, Mode::Toggle | Mode::Momentary) => number == to,
            _ => number != binding.ends().0,
        },
    }
}

/// The messages that put a control to a value; any channel is `channel`.
fn messages(control: Control, value: u16, channel: u8) -> Vec<Vec<u8>> {
    let on = match control.channel() {
        0 => channel,
        channel => channel,
    };
    let on = on.saturating_sub(1) & 15;
    let (low, high) = ((value & 127) as u8, (value >> 7 & 127) as u8);
    let cc = |number: u8, value: u8| vec![0xB0 | on, number, value];
    match control {
        Control::Cc(_, n) => vec![cc(n, low)],
        Control::Cc14(_, n) => vec![cc(n, high), cc(n + 32, low)],
        Control::Nrpn(_, n) => {
            let (to_low, to_high) = ((n & 127) as u8, (n >> 7) as u8);
            vec![cc(99, to_high), cc(98, to_low), cc(6, high), cc(38, low)]
        }
        Control::Rpn(_, n) => {
            let (to_low, to_high) = ((n & 127) as u8, (n >> 7) as u8);
            vec![cc(101, to_high), cc(100, to_low), cc(6, high), cc(38, low)]
        }
        Control::Note(_, n) => vec![vec![0x90 | on, n, low]],
        Control::Poly(_, n) => vec![vec![0xA0 | on, n, low]],
        Control::Bend(_) => vec![vec![0xE0 | on, low, high]],
        Control::Program(_) => vec![vec![0xC0 | on, low]],
        Control::ProgramOf(_, n) => vec![vec![0xC0 | on, n]],
        Control::Pressure(_) => vec![vec![0xD0 | on, low]],
    }
}
