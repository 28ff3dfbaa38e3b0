//! The thread that feeds an encoder and watches it.
//!
//! Holds: it never waits for an encoder, so that it always sees when one stands still. At most two
//! pictures wait in front of the encoder; the others wait in the queue of the tap.
//!
//! While the machine is too busy, an encoder that takes fewer pains is put in the place of the present
//! one: opened beside it, fed from a picture on which so becomes a key frame, while what is in the
//! other still comes out first. Where both have the same parameter sets, as x264's have, nobody sees
//! more of that than a key frame.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, TryRecvError, never, select};
use gstreamer as gst;

use super::instance::{Event, Input, Instance};
use super::ladder;
use super::recovery::{Recovery, Trouble};
use super::{EncodeSettings, EncodingState};
use crate::base::effort::{Effort, PresentEffort};
use crate::base::telemetry::EncoderChange;
use crate::base::time::NS;
use crate::stream::clock_ns;
use crate::stream::fanout::Fanout;
use crate::stream::priority::{self, Importance};
use crate::stream::raw::{RawLoad, RawPicture, RawUnit};

/// Without an encoded picture for this long an encoder hangs.
const HUNG_NS: u64 = 2 * NS;
/// At low frame rates so many pictures may be in it: encoders with many threads keep some.
const HUNG_PICTURES: u64 = 48;
/// What opening may take: drivers of GPUs are slow the first time.
const OPENING_NS: u64 = 3 * NS;
/// An encoder that is this far behind the picture does not get the missing places any more:
/// recordings go on in a new part with the newest picture.
const FAR_BEHIND_NS: u64 = 10 * NS;
/// Between forced key frames.
const KEY_EVERY_NS: u64 = NS;
/// Pictures handed over that the encoder has not taken yet.
const AHEAD: usize = 2;
/// Pictures in an encoder, all in all: they hold memory.
const MOST_IN_FLIGHT: usize = 64;
/// How often the watchdog looks.
const TICK: Duration = Duration::from_millis(50);
/// A longer step of the clock is not counted: this process stood still, not the encoder.
const LONGEST_STEP_NS: u64 = NS / 4;
/// For taking down an encoder that has finished.
const DOWN_LIMIT: Duration = Duration::from_millis(500);

/// Encoders that were left and are not down yet, as their driver hangs: each holds a thread and
/// memory. Above that none is built before one of them is down.
const MOST_LEFT: usize = 8;

/// A picture in the encoder.
struct InFlight {
    picture: RawPicture,
    entered_ns: Option<u64>,
}

/// The encoder in use.
struct Present {
    instance: Instance,
    /// `None` until it has opened.
    input: Option<Input>,
    /// Its bitrate.
    kbps: u32,
    /// Pictures that went in, and that came out.
    pushed: u64,
    out: u64,
    /// No more pictures will be pushed.
    ending: bool,
    /// It takes fewer pains.
    lean: bool,
    /// It was put in the place of one that worked.
    handed_over: bool,
}

impl Present {
    fn new(instance: Instance, settings: &EncodeSettings) -> Self {
        Present {
            instance,
            input: None,
            kbps: settings.bitrate_kbps,
            pushed: 0,
            out: 0,
            ending: false,
            lean: settings.lean,
            handed_over: false,
        }
    }
}

pub struct Feeder {
    pictures: Receiver<RawUnit>,
    load: Arc<RawLoad>,
    abandoned: Receiver<Infallible>,
    fanout: Arc<Fanout>,
    state: Arc<EncodingState>,
    settings: EncodeSettings,
    recovery: Recovery,
    effort: Arc<PresentEffort>,
    present: Option<Present>,
    /// What is in it comes out before anything of the present one.
    draining: Option<Present>,
    /// Will be put in the place of the present one once it has opened.
    next: Option<Present>,
    /// Another one of this kind could not be opened beside the present one.
    cannot_change: bool,
    /// Of the last key frame.
    parameter_sets: Vec<u8>,
    /// Encoders before the present one.
    earlier: u64,
    /// Those of them that are not down yet: each closes when it is.
    left: Vec<Receiver<Infallible>>,
    /// When the next encoder is built, while there is none; in `ran_ns`.
    build_at_ns: u64,
    /// In the encoder, in the order in which they went in.
    in_flight: VecDeque<InFlight>,
    /// Of those, the ones that wait in front of it.
    ahead: usize,
    /// Were in an encoder that ended; they go in again first.
    again: VecDeque<RawPicture>,
    /// The next picture of the show.
    waiting: Option<RawPicture>,
    /// The last one that was fed, for filling up, but for those in `again`.
    last: Option<RawPicture>,
    /// No more pictures will come.
    over: bool,
    /// A mark that waits for its key frame.
    mark: bool,
    key_forced_ns: Option<u64>,
    /// A marked picture waits for its key frame.
    key_due: bool,
    /// Time that this thread has seen pass, and the clock when it looked last.
    ran_ns: u64,
    looked_ns: u64,
    /// When the encoder gave something, or got something to do, in `ran_ns`.
    progress_ns: u64,
    no_pictures: Receiver<RawUnit>,
    no_events: Receiver<Event>,
}

/// What woke the feeder.
enum Woken {
    Unit(RawUnit),
    Over,
    Event(Event),
    Gone,
    /// From the encoder that is to be the next; `None`: it is gone.
    Next(Option<Event>),
    Abandoned,
    Tick,
}

impl Feeder {
    pub fn new(
        (pictures, load): (Receiver<RawUnit>, Arc<RawLoad>),
        abandoned: Receiver<Infallible>,
        (fanout, state): (Arc<Fanout>, Arc<EncodingState>),
        settings: EncodeSettings,
        recovery: Recovery,
        effort: Arc<PresentEffort>,
    ) -> Self {
        Feeder {
            pictures,
            load,
            abandoned,
            fanout,
            state,
            settings,
            recovery,
            effort,
            present: None,
            draining: None,
            next: None,
            cannot_change: false,
            parameter_sets: Vec::new(),
            earlier: 0,
            left: Vec::new(),
            build_at_ns: 0,
            in_flight: VecDeque::with_capacity(MOST_IN_FLIGHT),
            ahead: 0,
            again: VecDeque::new(),
            waiting: None,
            last: None,
            over: false,
            mark: false,
            key_forced_ns: None,
            key_due: false,
            ran_ns: 0,
            looked_ns: clock_ns(),
            progress_ns: 0,
            no_pictures: never(),
            no_events: never(),
        }
    }

    /// Runs until the tap has ended and everything came out, or until it is abandoned.
    pub fn run(mut self) {
        priority::set_current_thread(Importance::Picture);
        loop {
            self.pass_time();
            self.watch();
            self.change();
            self.feed();
            let waiting = self.pictures.len() + self.ahead + usize::from(self.waiting.is_some());
            self.state.waiting.raise(waiting as u64);
            if self.is_done() {
                if let Some(present) = self.present.take() {
                    present.instance.close(DOWN_LIMIT);
                }
                return;
            }
            match self.wait() {
                Woken::Unit(RawUnit::Picture(picture)) => self.waiting = Some(picture),
                Woken::Unit(RawUnit::Sound { .. }) | Woken::Tick => {}
                Woken::Over => self.over = true,
                Woken::Event(event) => self.event(event),
                Woken::Next(event) => self.event_of_next(event),
                Woken::Gone => {
                    self.trouble(Trouble::Failed, "its thread ended".into());
                }
                Woken::Abandoned => return,
            }
        }
    }

    fn wait(&self) -> Woken {
        let ready = self.waiting.is_none() && !self.over && self.has_room();
        let pictures = if ready { &self.pictures } else { &self.no_pictures };
        let events = self.draining.as_ref().or(self.present.as_ref());
        let [events, next] = [events, self.next.as_ref()]
            .map(|present| present.map_or(&self.no_events, |p| &p.instance.events));
        select! {
            recv(next) -> event => Woken::Next(event.ok()),
            recv(events) -> event => event.map_or(Woken::Gone, Woken::Event),
            recv(pictures) -> unit => unit.map_or(Woken::Over, Woken::Unit),
            recv(self.abandoned) -> _ => Woken::Abandoned,
            default(TICK) => Woken::Tick,
        }
    }

    /// After a stop of the whole process the encoder gets the time that it did not have.
    fn pass_time(&mut self) {
        let now_ns = clock_ns();
        self.ran_ns += now_ns.saturating_sub(self.looked_ns).min(LONGEST_STEP_NS);
        self.looked_ns = now_ns;
    }

    /// Builds an encoder if there is none, and leaves one that stands still.
    fn watch(&mut self) {
        let Some(present) = &self.present else {
            if self.ran_ns >= self.build_at_ns && self.may_build() {
                self.build();
            }
            return;
        };
        let patience_ns = match present.input {
            None => OPENING_NS,
            Some(_) if self.in_flight.is_empty() => return,
            Some(_) => HUNG_NS.max(self.settings.fps.pts_ns(HUNG_PICTURES)),
        };
        if self.ran_ns > self.progress_ns + patience_ns {
            let seconds = patience_ns as f64 / 1e9;
            self.trouble(Trouble::Hung, format!("it gave no picture for {seconds:.1} s"));
        }
    }

    fn may_build(&mut self) -> bool {
        self.left.retain(|down| down.try_recv() == Err(TryRecvError::Empty));
        let may = self.left.len() < MOST_LEFT;
        if may == self.state.is_stuck() {
            self.state.set_stuck(!may);
            if !may {
                tracing::error!(
                    "{MOST_LEFT} encoders hang in their drivers; waiting for one of them"
                );
            }
        }
        may
    }

    fn build(&mut self) {
        self.settings.bitrate_kbps = self.state.bitrate_kbps();
        self.settings.lean = self.wants_lean();
        self.progress_ns = self.ran_ns;
        match Instance::start(self.recovery.rung(), &self.settings) {
            Ok(instance) => self.present = Some(Present::new(instance, &self.settings)),
            Err(error) => self.trouble(Trouble::Opening, error.to_string()),
        }
    }

    /// Whether the encoder is to take fewer pains.
    fn wants_lean(&self) -> bool {
        let can = ladder::can_be_lean(self.recovery.rung(), &self.settings);
        can && self.effort.get() >= Effort::LeanEncoder
    }

    /// Sees to another encoder when the pains that it is to take have changed, and puts it in the
    /// place of the present one.
    fn change(&mut self) {
        let Some(present) = &self.present else { return };
        let works = present.out > 0 && !present.ending && self.draining.is_none();
        if !works || !self.again.is_empty() {
            return;
        }
        let lean = self.wants_lean();
        match &self.next {
            None if lean != present.lean && !self.cannot_change => {
                self.settings.bitrate_kbps = self.state.bitrate_kbps();
                self.settings.lean = lean;
                let instance = Instance::start(self.recovery.rung(), &self.settings);
                self.next = instance.ok().map(|instance| Present::new(instance, &self.settings));
            }
            Some(next) if next.input.is_some() => {
                if let Some(input) = &present.input {
                    input.end();
                }
                self.draining = self.present.take();
                self.present = self.next.take();
                if let Some(present) = &mut self.present {
                    present.handed_over = true;
                }
                self.progress_ns = self.ran_ns;
                tracing::info!("encoding with {} pains", if lean { "fewer" } else { "the usual" });
            }
            _ => {}
        }
    }

    fn event_of_next(&mut self, event: Option<Event>) {
        match (event, &mut self.next) {
            (Some(Event::Opened(input)), Some(next)) => next.input = Some(input),
            _ => {
                tracing::info!("a second encoder cannot be opened; the present one goes on");
                self.cannot_change = true;
                self.next = None;
            }
        }
    }

    fn has_room(&self) -> bool {
        self.present.as_ref().is_some_and(|p| p.input.is_some())
            && self.ahead < AHEAD
            && self.in_flight.len() < MOST_IN_FLIGHT
    }

    fn feed(&mut self) {
        while self.has_room() {
            match self.next_picture() {
                Some(picture) => self.push(picture),
                None => break,
            }
        }
        if !self.is_fed() {
            return;
        }
        if let Some(present) = self.present.as_mut().filter(|p| !p.ending)
            && let Some(input) = &present.input
        {
            present.ending = true;
            input.end();
        }
    }

    /// What goes into the encoder next: first what another encoder did not finish, then every
    /// place of the grid.
    fn next_picture(&mut self) -> Option<RawPicture> {
        if let Some(picture) = self.again.pop_front() {
            return Some(picture);
        }
        let Some(last) = &self.last else {
            let picture = self.waiting.take()?;
            return Some(self.remember(picture));
        };
        let next = last.index + 1;
        let fps = self.settings.fps;
        match self.waiting.take() {
            Some(picture) if picture.index <= next => return Some(self.remember(picture)),
            Some(mut picture)
                if fps.pts_ns(self.load.newest.get().saturating_sub(next)) > FAR_BEHIND_NS =>
            {
                for unit in self.pictures.try_iter() {
                    if let RawUnit::Picture(newer) = unit {
                        picture = newer;
                    }
                }
                picture.mark = true;
                let missing = picture.index - next;
                tracing::warn!(
                    "{missing} pictures were not encoded: the encoder is too far behind"
                );
                return Some(self.remember(picture));
            }
            Some(later) => self.waiting = Some(later),
            None if self.misses_the_last() => {}
            None => return None,
        }
        let pts_ns = fps.pts_ns(next);
        let mut repeat = RawPicture {
            index: next,
            pts_ns,
            duration_ns: fps.pts_ns(next + 1) - pts_ns,
            mark: false,
            buffer: last.buffer.copy(),
        };
        {
            let buffer = repeat.buffer.make_mut();
            buffer.set_pts(gst::ClockTime::from_nseconds(pts_ns));
            buffer.set_duration(gst::ClockTime::from_nseconds(repeat.duration_ns));
        }
        self.state.repeated.add(1);
        Some(self.remember(repeat))
    }

    fn remember(&mut self, picture: RawPicture) -> RawPicture {
        self.last = Some(picture.clone());
        picture
    }

    fn push(&mut self, picture: RawPicture) {
        let Some(present) = &mut self.present else { return };
        let Some(input) = &present.input else { return };
        let kbps = self.state.bitrate_kbps();
        if kbps != present.kbps {
            present.kbps = kbps;
            if input.set_bitrate(self.recovery.rung(), kbps) {
                tracing::info!("encoding with {kbps} kb/s from here on");
            } else {
                tracing::info!("the encoder cannot change its bitrate while it runs");
            }
        }
        self.key_due |= picture.mark;
        let may_force = self.key_forced_ns.is_none_or(|at| self.ran_ns >= at + KEY_EVERY_NS);
        if present.pushed == 0 {
            // A key frame by nature.
            self.key_due = false;
            self.fanout.take_key_request();
        } else if present.out > 0
            && (self.key_due || may_force)
            && (self.fanout.take_key_request() || self.key_due)
        {
            // Not before something came out: until then GStreamer's encoders count from another
            // time (x264enc from 1000 hours on), and would take no later wish.
            self.key_due = false;
            self.key_forced_ns = Some(self.ran_ns);
            input.force_key(picture.pts_ns);
        }
        present.pushed += 1;
        if self.in_flight.is_empty() {
            self.progress_ns = self.ran_ns;
        }
        input.push(picture.buffer.clone());
        self.in_flight.push_back(InFlight { picture, entered_ns: None });
        self.ahead += 1;
        self.state.in_flight.set(self.in_flight.len() as u64);
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Opened(input) => {
                if let Some(present) = &mut self.present {
                    present.input = Some(input);
                    self.progress_ns = self.ran_ns;
                }
            }
            Event::Took { at_ns } => {
                self.ahead = self.ahead.saturating_sub(1);
                self.state.frames_in.add(1);
                let entered = self.in_flight.iter_mut().find(|i| i.entered_ns.is_none());
                if let Some(entered) = entered {
                    entered.entered_ns = Some(at_ns);
                }
            }
            Event::Out { buffer, pts_ns, at_ns } => self.encoded(buffer, pts_ns, at_ns),
            Event::Ended if self.draining.is_some() => {
                let drained = self.draining.take();
                self.left.extend(drained.map(|drained| drained.instance.retire()));
                self.progress_ns = self.ran_ns;
            }
            Event::Failed(error) => self.trouble(Trouble::Failed, error.to_string()),
            Event::Ended if self.is_ending() => self.in_flight.clear(),
            Event::Ended => self.trouble(Trouble::Failed, "it ended by itself".into()),
        }
    }

    fn encoded(&mut self, buffer: gst::Buffer, pts_ns: u64, at_ns: u64) {
        // Without B frames pictures leave in the order in which they came; an encoder may leave
        // one out, but never gives one that is not there.
        let Some(at) = self.in_flight.iter().position(|i| i.picture.pts_ns == pts_ns) else {
            return;
        };
        let mut left = self.in_flight.drain(..=at);
        let Some(InFlight { picture, entered_ns }) = left.next_back() else { return };
        self.mark |= picture.mark || left.any(|i| i.picture.mark);
        drop(left);
        self.progress_ns = self.ran_ns;
        self.state.in_flight.set(self.in_flight.len() as u64);
        self.state.frames_out.add(1);
        if let Some(entered_ns) = entered_ns {
            let took_ns = at_ns.saturating_sub(entered_ns);
            self.state.encode.record(Duration::from_nanos(took_ns));
        }
        let key = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        let sets = if key { parameter_sets(&buffer) } else { Vec::new() };
        let of_present = self.draining.is_none();
        let Some(present) = self.draining.as_mut().or(self.present.as_mut()) else { return };
        present.out += 1;
        let is_first = present.out == 1 && of_present;
        let new_encoder = match present.handed_over {
            true => is_first && sets != self.parameter_sets,
            false => is_first && self.earlier > 0,
        };
        if key {
            self.parameter_sets = sets;
        }
        let mark = key && std::mem::take(&mut self.mark);
        self.fanout.send_video(buffer, pts_ns, picture.duration_ns, mark, new_encoder);
    }

    /// Leaves the present encoder and sees to the next.
    fn trouble(&mut self, trouble: Trouble, reason: String) {
        let worked = self.present.take().is_some_and(|present| {
            self.left.push(present.instance.retire());
            present.out > 0
        });
        let trouble = if worked { trouble } else { Trouble::Opening };
        for other in [self.draining.take(), self.next.take()].into_iter().flatten() {
            self.left.push(other.instance.retire());
        }
        self.cannot_change = false;
        for unfinished in self.in_flight.drain(..).rev() {
            self.again.push_front(unfinished.picture);
        }
        self.ahead = 0;
        self.state.in_flight.set(0);
        self.earlier += 1;
        let from = self.recovery.rung().factory;
        self.build_at_ns = self.ran_ns + self.recovery.after(trouble, self.ran_ns);
        let to = self.recovery.rung().factory;
        tracing::info!("the encoder {from} has failed: {reason}; {to} takes over");
        let at_ns = self.again.front().or(self.last.as_ref()).map_or(0, |p| p.pts_ns);
        self.state.changed(EncoderChange { at_s: at_ns as f64 / 1e9, from, to, reason });
        self.watch();
    }

    fn is_ending(&self) -> bool {
        self.present.as_ref().is_some_and(|present| present.ending)
    }

    /// The show is over, and its last pictures did not fit into the queue: no later one tells.
    fn misses_the_last(&self) -> bool {
        let newest = self.load.newest.get();
        self.over && self.last.as_ref().is_some_and(|last| last.index < newest)
    }

    /// Every picture went into the encoder.
    fn is_fed(&self) -> bool {
        let none_waits = self.waiting.is_none() && self.again.is_empty();
        self.over && none_waits && !self.misses_the_last()
    }

    fn is_done(&self) -> bool {
        self.is_fed() && self.in_flight.is_empty()
    }
}

/// The parameter sets before the first slice of an access unit in byte-stream format (ISO 14496-10,
/// Annex B): what every picture from here on is decoded with.
fn parameter_sets(buffer: &gst::BufferRef) -> Vec<u8> {
    let mut sets = Vec::new();
    let Ok(bytes) = buffer.map_readable() else { return sets };
    let starts = bytes.windows(3).enumerate().filter(|(_, w)| **w == [0, 0, 1]).map(|(at, _)| at);
    let mut set_from = None;
    for start in starts {
        if let Some(from) = set_from.take() {
            sets.extend_from_slice(&bytes[from..start]);
        }
        // Type 7: sequence; 8: picture; 1 to 5: slices.
        match bytes.get(start + 3).map_or(0, |header| header & 31) {
            7 | 8 => set_from = Some(start),
            1..=5 => break,
            _ => {}
        }
    }
    sets
}
