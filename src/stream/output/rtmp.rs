//! RTMP and RTMPS: one connection is one small pipeline.
//!
//! ```text
//! Life -> GopQueue -> appsrc ! h264parse ! flvmux ! rtmp2sink
//!                     appsrc !
//! ```
//!
//! Holds: this thread never waits for the network: a unit is pushed only when the one before it
//! has gone on, and what waits, waits in the [`GopQueue`], which has the policy when it is too
//! much. A connection begins with the newest key frame at time 0; no picture that was shown before
//! it was made is ever sent.

use std::sync::Mutex;
use std::time::Duration;

use crossbeam_channel::{Receiver, never};

use super::congestion::Congestion;
use super::gop_queue::{GopQueue, Limit};
use super::kind::{Ending, Kind, Life, Next};
use super::progress::Progress;
use super::rtmp_connection::{Connection, Trouble};
use crate::base::error;
use crate::config::output::RtmpTarget;
use crate::stream::check;
use crate::stream::fanout::{Unit, UnitKind};

/// Units that may wait for this thread, in bytes. It takes them at once.
const FEED_BYTES: u64 = 16 << 20;
/// For a unit, or for news of a connection.
const PATIENCE: Duration = Duration::from_millis(50);
/// Between two looks at what a connection has carried, which cost a millisecond each.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Until a server has accepted the stream. The sink's own limit is for each step of it.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Outputs connect one after the other, each until its socket is known, or they would take one
/// another's. Who has waited this long does not wait any longer.
static CONNECTING: Mutex<()> = Mutex::new(());
const LONGEST_TURN: Duration = Duration::from_secs(1);
/// Some servers accept a stream and close the connection at once: so long it is not called live.
const SETTLED: Duration = Duration::from_millis(500);
/// A server that takes nothing for this long is lost. At a few hundred kb/s its receive buffer hides
/// that for two seconds before.
const STALL_LIMIT: Duration = Duration::from_secs(2);
/// For sending what is left when the show ends.
const FINISH_LIMIT: Duration = Duration::from_secs(2);
/// A server that closes without a word in this many connections one after the other does not want
/// the stream.
const SILENT_REFUSALS: u32 = 3;
/// A server that took the stream for this long wants it. (On a busy machine one that does not may
/// take a second to say so.)
const WANTED: Duration = Duration::from_secs(10);

pub struct Rtmp {
    target: RtmpTarget,
    /// Connections in a row that the server closed without a word, soon after they began.
    silent_refusals: u32,
    /// The server took the stream before.
    wanted: bool,
}

impl Rtmp {
    pub fn new(target: RtmpTarget) -> Self {
        Rtmp { target, silent_refusals: 0, wanted: false }
    }

    /// What a trouble means at this stage.
    fn ending(&mut self, trouble: Trouble, life: &Life<'_>, live: bool) -> Ending {
        let silent = matches!(trouble, Trouble::ClosedSilently) && !self.wanted;
        self.silent_refusals = if silent { self.silent_refusals + 1 } else { 0 };
        let server = format!("{}:{}", self.target.host, self.target.port);
        match trouble {
            Trouble::ClosedSilently if live && self.silent_refusals < SILENT_REFUSALS => {
                Ending::Lost("the server has closed the connection".into())
            }
            Trouble::ClosedSilently => {
                let text = format!(
                    "{server} closes the connection when the stream begins; check the \
                     application '{}' and the stream key",
                    self.target.application
                );
                // One that took the stream before may be down for a while.
                if self.silent_refusals < SILENT_REFUSALS {
                    Ending::Lost(text)
                } else {
                    self.silent_refusals = 0;
                    Ending::Refused(text)
                }
            }
            // It may still hold the connection that was lost.
            Trouble::Refused(said) if life.was_live => {
                Ending::Lost(format!("{server} refuses the stream: {said}"))
            }
            Trouble::Refused(said) => Ending::Refused(format!(
                "{server} refuses the stream: {said}; check the stream key, and that nothing \
                 else is sending with it"
            )),
            Trouble::Distrusted(said) => Ending::Refused(format!(
                "{server} has no certificate that this machine trusts ({said}); check the host \
                 name"
            )),
            Trouble::NoTls => Ending::Unavailable(format!(
                "rtmps needs TLS, which GLib has not here; install {}",
                check::TLS_PACKAGE
            )),
            Trouble::Lost(text) => Ending::Lost(format!("{server}: {text}")),
        }
    }
}

impl Kind for Rtmp {
    fn live(&mut self, life: &mut Life<'_>) -> Ending {
        let mut feed =
            Feed { units: life.encoded(FEED_BYTES), queue: GopQueue::new(Limit::default()) };
        let connection = match self.connect(&mut feed, life) {
            Ok(Some(connection)) => connection,
            Ok(None) => return Ending::Finished,
            Err(ending) => return ending,
        };
        let mut run = Run::new(connection, feed, life);
        match run.carry(life) {
            Ok(()) => {
                self.silent_refusals = 0;
                Ending::Finished
            }
            Err(trouble) => {
                let live_for = run.live_since.map(|since| life.clock.now().saturating_sub(since));
                self.wanted |= live_for >= Some(WANTED);
                self.ending(trouble, life, live_for.is_some())
            }
        }
    }
}

impl Rtmp {
    /// Until the server accepts the stream. `None`: this life is to end.
    fn connect(
        &mut self,
        feed: &mut Feed,
        life: &mut Life<'_>,
    ) -> Result<Option<Connection>, Ending> {
        let caps = loop {
            match life.fanout.caps() {
                Some(caps) => break caps,
                None if !feed.pass(life) => return Ok(None),
                None => {}
            }
        };
        let asked = life.clock.now();
        let mut turn = CONNECTING.try_lock().ok();
        while turn.is_none() && life.clock.now() < asked + LONGEST_TURN {
            if !feed.pass(life) {
                return Ok(None);
            }
            turn = CONNECTING.try_lock().ok();
        }
        let mut connection = Connection::open(&self.target, &caps).map_err(|e| match e.kind {
            error::Kind::Unavailable => Ending::Unavailable(e.to_string()),
            _ => Ending::Failed(e.to_string()),
        })?;
        let began = life.clock.now();
        let mut next_look = began;
        loop {
            let now = life.clock.now();
            if now >= next_look {
                next_look = now + PATIENCE;
                if let Some(trouble) = connection.trouble() {
                    return Err(self.ending(trouble, life, false));
                }
                if connection.is_accepted() {
                    return Ok(Some(connection));
                }
                if connection.has_socket() || now > began + LONGEST_TURN {
                    drop(turn.take());
                }
                if now > began + CONNECT_LIMIT {
                    let seconds = CONNECT_LIMIT.as_secs();
                    let trouble = Trouble::Lost(format!("it has not answered within {seconds} s"));
                    return Err(self.ending(trouble, life, false));
                }
            }
            if !feed.pass(life) {
                return Ok(None);
            }
        }
    }
}

/// What comes, and what of it waits.
struct Feed {
    units: Receiver<Unit>,
    queue: GopQueue,
}

impl Feed {
    /// Lets a picture pass by, as there is no connection yet. Sound is kept: it is encoded sooner
    /// than the picture that the stream will begin with. False: this life is to end.
    fn pass(&mut self, life: &mut Life<'_>) -> bool {
        match life.next(&self.units, PATIENCE) {
            Next::Got(unit) if unit.kind == UnitKind::Audio => {
                // Nothing is dropped before there are pictures.
                let _ = self.queue.push(unit);
                true
            }
            Next::Got(_) | Next::Nothing => true,
            Next::End => false,
        }
    }
}

/// A connection that a server has accepted.
struct Run {
    connection: Connection,
    feed: Feed,
    progress: Progress,
    congestion: Congestion,
    accepted: Duration,
    next_look: Duration,
    live_since: Option<Duration>,
}

impl Run {
    fn new(connection: Connection, feed: Feed, life: &Life<'_>) -> Self {
        let now = life.clock.now();
        Run {
            connection,
            feed,
            progress: Progress::default(),
            congestion: Congestion::new(now),
            accepted: now,
            next_look: now,
            live_since: None,
        }
    }

    /// Sends what comes until there is no more.
    fn carry(&mut self, life: &mut Life<'_>) -> Result<(), Trouble> {
        life.request_key_frame();
        loop {
            match life.next(&self.feed.units, PATIENCE) {
                Next::Got(unit) => {
                    self.congestion.queue(unit, &mut self.feed.queue, life);
                }
                Next::Nothing => {}
                Next::End => return self.finish(life),
            }
            self.step(life)?;
        }
    }

    fn step(&mut self, life: &mut Life<'_>) -> Result<(), Trouble> {
        if let Some(trouble) = self.connection.trouble() {
            return Err(trouble);
        }
        let now = life.clock.now();
        if now >= self.next_look {
            self.next_look = now + LOOK_EVERY;
            self.look(life, now)?;
        }
        self.send(life);
        Ok(())
    }

    fn look(&mut self, life: &mut Life<'_>, now: Duration) -> Result<(), Trouble> {
        if life.was_cut_off() {
            return Err(Trouble::Lost("this machine was too busy to send".into()));
        }
        let (taken, inside) = self.connection.look();
        let waits = inside || self.feed.queue.has_next();
        let stalled = self.progress.stalled(taken, waits, now);
        if stalled >= STALL_LIMIT {
            return Err(Trouble::Lost("the server has stopped taking data".into()));
        }
        if self.feed.queue.sound_is_stuck() {
            return Err(Trouble::Lost("the way there is too narrow for the sound alone".into()));
        }
        let settled = now > self.accepted + SETTLED;
        if self.live_since.is_none() && settled && taken > 0 && self.connection.has_begun() {
            self.live_since = Some(now);
            life.is_live(None);
        }
        let waiting = self.feed.queue.waiting();
        life.set_waiting(waiting);
        life.set_congested(self.congestion.is_so(waiting, now));
        Ok(())
    }

    fn send(&mut self, life: &Life<'_>) {
        while self.connection.has_room() {
            let (Some(unit), Some(start_ns)) = (self.feed.queue.pop(), self.feed.queue.start_ns())
            else {
                return;
            };
            // A pipeline that goes down tells so on its bus.
            if self.connection.push(&unit, start_ns) {
                life.info.sent(&unit);
            }
        }
    }

    /// Sends what is left, and says goodbye.
    fn finish(&mut self, life: &mut Life<'_>) -> Result<(), Trouble> {
        let until = life.clock.now() + FINISH_LIMIT;
        let nothing = never::<Unit>();
        while self.feed.queue.has_next() && life.clock.now() < until {
            self.step(life)?;
            life.next(&nothing, PATIENCE);
        }
        self.connection.finish(until.saturating_sub(life.clock.now()));
        Ok(())
    }
}
