//! What is known of the devices and their bindings, and what comes of a message. No threads and no
//! ports: it is told who is there, and what was heard.
//!
//! Holds: a device that is gone keeps its bindings, and lets go of what it held down. Of a fader
//! that moves faster than `GAP` the last value wins; presses are all carried out, in order.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::binding::{Binding, Mode};
use super::event::{Control, Event};
use super::feedback::Told;
use super::learn::{Learning, PATIENCE};
use super::map::{self, Map};
use super::system::Out;
use super::takeover::Grip;
use crate::base::error::{Error, Result};
use crate::base::telemetry::Counter;
use crate::param::{Board, Change, From, Kind, Op, Param, Value};

/// Between two changes that one fader makes.
const GAP: Duration = Duration::from_millis(4);
/// Devices that are remembered.
pub const DEVICES: usize = 64;

#[derive(Default)]
pub struct Counters {
    /// Messages that came in.
    pub messages: Counter,
    /// Of those, what nothing is bound to.
    pub ignored: Counter,
    /// Changes that the board refused.
    pub refused: Counter,
    /// Messages that came in faster than they could be taken.
    pub lost: Counter,
    /// Bytes that were part of no message.
    pub stray: Counter,
    /// What devices were shown.
    pub sent: Counter,
}

/// A binding of a device.
pub struct Bound {
    pub id: u32,
    pub map: Arc<str>,
    pub binding: Arc<Binding>,
    /// What it last made of the parameter.
    pub set: Option<f32>,
    /// It is pressed.
    pub down: bool,
    grip: Grip,
    /// Where a scaling or stepping control left the value, on its way.
    t: f32,
    /// What the parameter was before it was pressed.
    before: Option<f32>,
    last: Option<u16>,
    changed: Option<Duration>,
    /// The last value of a fader that moves too fast, and when it came.
    waiting: Option<(f32, Duration)>,
}

/// Where changes go, and who makes them.
struct To<'a> {
    board: &'a Board,
    source: &'a Arc<str>,
    counters: &'a Counters,
}

pub struct Device {
    pub name: Arc<str>,
    pub system: &'static str,
    pub input: bool,
    pub output: bool,
    pub connected: bool,
    pub maps: Vec<Arc<str>>,
    pub bound: Vec<Bound>,
    pub(super) out: Option<Box<dyn Out>>,
    pub(super) told: Told,
    pub(super) told_all: bool,
    /// Some binding is shown.
    pub(super) lamps: bool,
    /// The channel of its last message.
    pub(super) heard_on: u8,
    source: Arc<str>,
    /// Where the binding of each control is.
    index: HashMap<Control, usize>,
}

pub struct Core {
    pub devices: Vec<Device>,
    pub learning: Option<Learning>,
    /// The device that was learned on last.
    pub learned_on: Option<usize>,
    pub last: Option<(Arc<str>, Event)>,
    pub counters: Arc<Counters>,
    pub(super) board: Arc<Board>,
    pub(super) feedback: bool,
    pub(super) shown_up_to: u64,
    pub(super) lamps_moved: bool,
    maps: Vec<Map>,
    /// The maps to use; none: by the names of ports.
    wanted: Vec<String>,
    next_id: u32,
}

impl Core {
    pub fn new(board: Arc<Board>, maps: Vec<Map>, wanted: Vec<String>, feedback: bool) -> Self {
        Core {
            devices: Vec::new(),
            learning: None,
            learned_on: None,
            last: None,
            counters: Arc::default(),
            board,
            feedback,
            shown_up_to: 0,
            lamps_moved: false,
            maps,
            wanted,
            next_id: 1,
        }
    }

    /// A device is there, by its name and the names of its ports; returns its number and what is
    /// odd about its maps. One that was there before has kept its bindings.
    ///
    /// # Errors
    /// There are too many.
    pub fn connect(
        &mut self,
        names: &[&str],
        system: &'static str,
        input: bool,
        out: Option<Box<dyn Out>>,
    ) -> Result<(usize, Vec<String>)> {
        let name = *names.first().ok_or_else(|| Error::internal("a device without a name"))?;
        let known = self.devices.iter().position(|device| &*device.name == name);
        let (at, said) = match known {
            Some(at) => (at, Vec::new()),
            None if self.devices.len() >= DEVICES => {
                return Err(Error::unavailable(format!(
                    "{name}: {DEVICES} MIDI devices are known already; name those that matter in \
                     live.midi.ports"
                )));
            }
            None => {
                let mut device = Device {
                    name: name.into(),
                    system,
                    input: false,
                    output: false,
                    connected: false,
                    maps: Vec::new(),
                    bound: Vec::new(),
                    out: None,
                    told: Told::default(),
                    told_all: false,
                    lamps: false,
                    heard_on: 0,
                    source: format!("midi {name}").into(),
                    index: HashMap::new(),
                };
                let said = self.give_maps(&mut device, names);
                self.devices.push(device);
                (self.devices.len() - 1, said)
            }
        };
        let device = &mut self.devices[at];
        (device.system, device.input) = (system, input);
        device.output = out.is_some();
        device.out = out;
        device.told.forget();
        device.told_all = false;
        Ok((at, said))
    }

    /// All of a device is open.
    pub fn is_open(&mut self, at: usize) {
        if let Some(device) = self.devices.get_mut(at) {
            device.connected = true;
        }
    }

    /// Binds what the maps for a device say; the first that binds a control wins.
    fn give_maps(&mut self, device: &mut Device, names: &[&str]) -> Vec<String> {
        let mut said = Vec::new();
        for map in map::chosen(&self.maps, &self.wanted, names) {
            let name: Arc<str> = map.name.as_str().into();
            device.maps.push(name.clone());
            for binding in &map.bindings {
                let fights = |b: &&Bound| map::fight(b.binding.control, binding.control);
                if let Some(first) = device.bound.iter().find(fights) {
                    said.push(format!(
                        "{}:{}: {} of {} is bound by the map {} already, to {}; that one wins",
                        map.file.display(),
                        binding.line,
                        binding.control,
                        device.name,
                        first.map,
                        first.binding.param.address
                    ));
                    continue;
                }
                device.bound.push(Bound::new(self.next_id, name.clone(), binding.clone()));
                self.next_id += 1;
            }
        }
        device.reindex();
        said
    }

    /// A device is gone. What it held down is let go of; what it was shown through is returned, to
    /// be closed where that may take a while.
    pub fn gone(&mut self, at: usize, now: Duration) -> Option<Box<dyn Out>> {
        let device = self.devices.get_mut(at)?;
        device.connected = false;
        let to = To { board: &self.board, source: &device.source, counters: &self.counters };
        for bound in &mut device.bound {
            bound.flush(&to);
            bound.release(now, &to);
            (bound.grip, bound.last, bound.down) = (Grip::default(), None, false);
        }
        device.out.take()
    }

    /// A device was heard: a message, and all that it means.
    pub fn hear(&mut self, at: usize, events: &[Event], received: Duration) {
        let Some(device) = self.devices.get_mut(at) else { return };
        let Some(first) = events.first() else { return };
        device.heard_on = first.control.channel();
        self.last = Some((device.name.clone(), *first));
        if let Some(learning) = &mut self.learning {
            if let Some(binding) = events.iter().find_map(|event| learning.hear(at, event)) {
                self.learning = None;
                self.bind(at, binding);
            }
            return;
        }
        let mut is_bound = false;
        for event in events {
            is_bound |= self.steer(at, event, received);
        }
        let is_ignored = !is_bound && !self.devices[at].takes_part(first.control);
        self.counters.ignored.add(u64::from(is_ignored));
    }

    /// Carries out what a control is bound to; `false`: nothing.
    fn steer(&mut self, at: usize, event: &Event, received: Duration) -> bool {
        let Some(device) = self.devices.get_mut(at) else { return false };
        let control = event.control;
        let place = device.index.get(&control).or_else(|| device.index.get(&control.on(0)));
        let Some(bound) = place.and_then(|place| device.bound.get_mut(*place)) else {
            return false;
        };
        let was_down = bound.down;
        let to = To { board: &self.board, source: &device.source, counters: &self.counters };
        bound.hear(event, received, &to);
        self.lamps_moved |= bound.down != was_down;
        true
    }

    /// Carries out what faders that move too fast have left; ends learning that was forgotten.
    /// Whether something is left still.
    pub fn tick(&mut self, now: Duration) -> bool {
        if self.learning.as_ref().is_some_and(|l| now > l.since + PATIENCE) {
            self.learning = None;
        }
        let mut left = false;
        for device in &mut self.devices {
            let to = To { board: &self.board, source: &device.source, counters: &self.counters };
            for bound in &mut device.bound {
                if bound.waiting.is_some() && bound.may_change(now) {
                    bound.flush(&to);
                    bound.changed = Some(now);
                }
                left |= bound.waiting.is_some();
            }
        }
        left
    }

    /// Binds what was learned; what the control did before is over.
    fn bind(&mut self, at: usize, binding: Binding) {
        let Some(device) = self.devices.get_mut(at) else { return };
        device.bound.retain(|b| !map::fight(b.binding.control, binding.control));
        device.bound.push(Bound::new(self.next_id, "learned".into(), Arc::new(binding)));
        self.next_id += 1;
        device.reindex();
        self.learned_on = Some(at);
    }

    /// Lets go of all that is held down: what is learned or taken away must not stay on.
    fn let_go(&mut self, now: Duration) {
        for device in &mut self.devices {
            let to = To { board: &self.board, source: &device.source, counters: &self.counters };
            for bound in &mut device.bound {
                bound.flush(&to);
                bound.release(now, &to);
                bound.down = false;
            }
        }
    }

    /// Takes a binding away, by its number.
    ///
    /// # Errors
    /// `NotFound`: there is none.
    pub fn forget(&mut self, id: u32) -> Result<()> {
        for device in &mut self.devices {
            let before = device.bound.len();
            device.bound.retain(|bound| bound.id != id);
            if device.bound.len() < before {
                device.reindex();
                return Ok(());
            }
        }
        Err(Error::not_found(format!("there is no MIDI binding {id}")))
    }

    /// Begins to learn a parameter.
    ///
    /// # Errors
    /// No control alone can steer it.
    pub fn learn(&mut self, param: &'static Param, now: Duration) -> Result<()> {
        if let Kind::Text { .. } = param.kind {
            return Err(Error::usage(format!(
                "{} is a text, and no control says which; write it into a map: {{control: note \
                 1.36, to: {}, value: TEXT}}",
                param.address,
                &param.address[1..]
            )));
        }
        self.let_go(now);
        self.learning = Some(Learning::new(param, now));
        Ok(())
    }

    /// The device whose bindings are to be saved: where it was learned last, else the only one.
    pub fn to_save(&self) -> Result<&Device> {
        let at = self.learned_on.or_else(|| {
            let mut there = (0..self.devices.len()).filter(|at| self.devices[*at].connected);
            there.next().filter(|_| there.next().is_none())
        });
        at.and_then(|at| self.devices.get(at)).ok_or_else(|| {
            Error::conflict(
                "it is not clear which device's bindings are meant; learn a control on it first",
            )
        })
    }
}

impl Device {
    /// Whether a controller is a part of what something is bound to: the coarse half that waits for
    /// its fine one, or what chooses a numbered parameter.
    fn takes_part(&self, control: Control) -> bool {
        let is_bound = |control: Control| {
            self.index.contains_key(&control) || self.index.contains_key(&control.on(0))
        };
        let is_numbered =
            |control: &Control| matches!(control, Control::Nrpn(..) | Control::Rpn(..));
        match control {
            Control::Cc(c, n) if n < 32 && is_bound(Control::Cc14(c, n)) => true,
            Control::Cc(_, 6 | 38 | 96..=101) => self.index.keys().any(is_numbered),
            _ => false,
        }
    }

    fn reindex(&mut self) {
        let places = self.bound.iter().enumerate();
        self.index = places.map(|(place, bound)| (bound.binding.control, place)).collect();
        self.lamps = self.bound.iter().any(|bound| bound.binding.feedback.is_some());
        self.told_all = false;
    }
}

impl Bound {
    fn new(id: u32, map: Arc<str>, binding: Arc<Binding>) -> Self {
        Bound {
            id,
            map,
            binding,
            set: None,
            down: false,
            grip: Grip::default(),
            t: 0.0,
            before: None,
            last: None,
            changed: None,
            waiting: None,
        }
    }

    /// The fader has taken hold of the value; `None`: it need not.
    pub fn holds(&self) -> Option<bool> {
        matches!(self.binding.mode, Mode::Pickup).then_some(self.grip.holds())
    }

    fn may_change(&self, now: Duration) -> bool {
        self.changed.is_none_or(|at| now >= at + GAP)
    }

    fn number(&self, board: &Board) -> f32 {
        self.waiting.map_or_else(|| board.number(self.binding.param.id), |(value, _)| value)
    }

    fn hear(&mut self, event: &Event, received: Duration, to: &To) {
        let binding = self.binding.clone();
        if !binding.mode.follows() {
            self.press(event, received, to);
            return;
        }
        if event.control.is_button() {
            self.down = event.value > 0;
            if !self.down {
                return;
            }
        }
        let now = self.number(to.board);
        let left_it = self.set == Some(now);
        let value = match binding.mode {
            Mode::Pickup => {
                if self.set.is_some() && !left_it {
                    self.grip.let_go();
                }
                let near = if event.control.max() > 127 { 1.0 / 1023.0 } else { 1.0 / 127.0 };
                self.grip
                    .pickup(event.place(), binding.place_of(now), near)
                    .map(|t| binding.value_at(t))
            }
            Mode::Scale => {
                let t = if left_it { self.t } else { binding.place_of(now) };
                self.grip.scale(event.place(), t).map(|t| {
                    self.t = t;
                    binding.value_at(t)
                })
            }
            Mode::Relative => {
                let steps = match event.step {
                    0 if event.control.max() > 127 => binding.encoding.steps(event.value >> 7),
                    0 => binding.encoding.steps(event.value),
                    step => step.into(),
                };
                self.turn(steps as f32 / 128.0, now, left_it, received, to);
                return;
            }
            _ => Some(binding.value_at(event.place())),
        };
        let Some(value) = value else { return };
        self.waiting = Some((value, received));
        if self.may_change(received) {
            self.flush(to);
            self.changed = Some(received);
        }
    }

    /// An encoder was turned by so much of the whole way.
    fn turn(&mut self, by: f32, now: f32, left_it: bool, received: Duration, to: &To) {
        if by == 0.0 {
            return;
        }
        let (param, range) = (self.binding.param, self.binding.range);
        let whole_way = param.range().unwrap_or((0.0, 1.0));
        let op = match range {
            None if param.wraps => Op::Add(by * (whole_way.1 - whole_way.0)),
            None => Op::Turn(by),
            Some((from, end)) if !matches!(param.kind, Kind::Float { .. }) => {
                let step = (by * (end - from)).round();
                let step = if step == 0.0 { (by * (end - from)).signum() } else { step };
                Op::Set(Value::Number((now + step).clamp(from.min(end), from.max(end))))
            }
            Some(_) => {
                let t = if left_it { self.t } else { self.binding.place_of(now) };
                self.t = (t + by).clamp(0.0, 1.0);
                Op::Set(Value::Number(self.binding.value_at(self.t)))
            }
        };
        self.apply(op, received, to);
    }

    fn press(&mut self, event: &Event, received: Duration, to: &To) {
        let button = event.control.is_button();
        let down = if button { event.value > 0 } else { event.value > event.control.max() / 2 };
        // A button that only ever says that it was pressed says the same again.
        let again = self.last.replace(event.value) == Some(event.value) || button;
        let pressed = down && (!self.down || again);
        let was_down = self.down;
        self.down = down && !matches!(event.control, Control::ProgramOf(..));
        let binding = self.binding.clone();
        let now = to.board.number(binding.param.id);
        let op = match binding.mode {
            Mode::Momentary if down && !was_down => {
                self.before = Some(now);
                Some(Op::Set(binding.value.clone().unwrap_or(Value::Number(binding.ends().1))))
            }
            Mode::Momentary => {
                if !down {
                    self.release(received, to);
                }
                None
            }
            _ if !pressed => None,
            Mode::Toggle => Some(match binding.range {
                Some((from, end)) => Op::Set(Value::Number(if now == end { from } else { end })),
                None => Op::Toggle,
            }),
            _ => Some(Op::Set(binding.value.clone().unwrap_or(Value::Nothing))),
        };
        if let Some(op) = op {
            self.apply(op, received, to);
        }
    }

    /// What was pressed is let go of.
    fn release(&mut self, received: Duration, to: &To) {
        if let Some(before) = self.before.take() {
            let value = self.binding.range.map_or(before, |(from, _)| from);
            self.apply(Op::Set(Value::Number(value)), received, to);
        }
    }

    fn flush(&mut self, to: &To) {
        if let Some((value, received)) = self.waiting.take() {
            self.apply(Op::Set(Value::Number(value)), received, to);
        }
    }

    fn apply(&mut self, op: Op, received: Duration, to: &To) {
        let mut change = Change::new(self.binding.param, op);
        change.fade_ms = self.binding.fade_ms;
        match to.board.apply(&change, &From { source: to.source.clone(), received }) {
            Ok(accepted) => {
                if let Value::Number(number) = accepted.value {
                    self.set = Some(number);
                }
            }
            Err(error) => {
                to.counters.refused.add(1);
                tracing::debug!("{}: {error}", to.source);
            }
        }
    }
}

#[cfg(test)]
#[path = "deck_tests.rs"]
mod tests;
