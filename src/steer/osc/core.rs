//! What every way in shares: from the bytes of a packet to changes on the board and answers.
//!
//! Holds: a packet is read whole before anything of it is done. What is due later waits, at most
//! `WAITING` units of it and none longer than `AHEAD`; a further one is refused.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crossbeam_channel::Sender;
use rosc::{OscMessage, OscType};

use super::message::{self, Asked};
use super::packet::{self, NOW, Tag};
use super::refusal::{Refusal, Refusals, Why, shortened};
use super::subscribers::Subscribers;
use super::value::{self, Style};
use crate::base::clock::Clock;
use crate::base::telemetry::{Counter, OscStatus};
use crate::config::net::Network;
use crate::music::{Note, NoteSender, Source};
use crate::param::{Board, Change, From, Op};

/// How far ahead a time may be.
const AHEAD: Duration = Duration::from_secs(10);
/// Units that may wait for their time.
pub const WAITING: usize = 1024;
/// Of the OSC epoch, 1900, before that of the system.
const TO_1900_S: u64 = 2_208_988_800;

/// Changes that wait for their time.
pub struct Later {
    pub due: Duration,
    pub changes: Vec<Change>,
    pub source: Arc<str>,
    pub sender: SocketAddr,
    /// It came over UDP, and so goes an answer.
    pub answer: bool,
}

/// Who sent a packet.
pub struct Peer {
    pub address: SocketAddr,
    pub source: Arc<str>,
    /// Feedback and answers as OSCQuery types them, over its own connection.
    pub typed: bool,
}

pub struct Core {
    pub board: Arc<Board>,
    pub clock: Arc<dyn Clock>,
    pub subscribers: Mutex<Subscribers>,
    pub refusals: Refusals,
    pub packets: Counter,
    pub messages: Counter,
    pub feedback: Counter,
    /// Clients of OSCQuery that listen.
    pub listeners: AtomicUsize,
    pub waiting: AtomicUsize,
    pub allow: Vec<Network>,
    /// Where beats go.
    pub notes: NoteSender,
    pub later: Sender<Later>,
    pub listen: String,
    pub query: Option<String>,
}

impl Core {
    pub fn hears(&self, address: IpAddr) -> bool {
        self.allow.is_empty() || self.allow.iter().any(|network| network.contains(address))
    }

    pub fn subscribers(&self) -> MutexGuard<'_, Subscribers> {
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what a packet asks for; returns the answers.
    pub fn take(&self, bytes: &[u8], peer: &Peer, received: Duration) -> Vec<OscMessage> {
        self.packets.add(1);
        let mut answers = Vec::new();
        if let Err(refusal) = self.carry_out(bytes, peer, received, &mut answers) {
            answers.extend(self.refuse(&refusal, peer.address, received));
        }
        answers
    }

    /// Counts a refusal; the answer to it, if it is to be answered.
    pub fn refuse(&self, refusal: &Refusal, to: SocketAddr, now: Duration) -> Option<OscMessage> {
        self.refusals.note(refusal, to, now).then(|| OscMessage {
            addr: "/vfaq/error".into(),
            args: vec![
                OscType::String(refusal.address.clone()),
                OscType::String(format!("{}: {}", refusal.why.name(), refusal.message)),
            ],
        })
    }

    fn carry_out(
        &self,
        bytes: &[u8],
        peer: &Peer,
        received: Duration,
        answers: &mut Vec<OscMessage>,
    ) -> Result<(), Refusal> {
        let units = packet::read(bytes)?;
        let explain = self.refusals.would_answer(peer.address, received);
        let mut plan = Vec::with_capacity(units.len());
        for unit in &units {
            let wait = self.wait(unit.due, received)?;
            let mut asked = Vec::with_capacity(unit.messages.len());
            let mut changes = 0;
            for message in &unit.messages {
                let one = message::read(message, explain)?;
                if let Asked::Changes(more) = &one {
                    changes += more.len();
                }
                if changes > WAITING {
                    let text = format!("over {WAITING} changes at once");
                    return Err(Refusal::new(Why::TooMany, &message.addr, text));
                }
                asked.push(one);
            }
            plan.push((wait, asked));
        }
        self.messages.add(units.iter().map(|unit| unit.messages.len() as u64).sum());
        for (wait, asked) in plan {
            let mut changes = Vec::new();
            let mut others = Vec::new();
            for one in asked {
                match one {
                    Asked::Changes(more) => changes.extend(more),
                    // It says when it falls; the conductor can wait.
                    Asked::Tempo(heard) => {
                        self.notes.name(Source::Osc, &peer.address.to_string());
                        self.notes.send(Note::new(Source::Osc, received + wait, heard));
                    }
                    other => others.push(other),
                }
            }
            if wait.is_zero() {
                self.apply(&changes, &peer.source, received)?;
            } else if !changes.is_empty() {
                self.put_off(received + wait, changes, peer)?;
            }
            for other in others {
                self.answer(other, peer, received, answers)?;
            }
        }
        Ok(())
    }

    /// Makes changes together.
    pub fn apply(
        &self,
        changes: &[Change],
        source: &Arc<str>,
        received: Duration,
    ) -> Result<(), Refusal> {
        if changes.is_empty() {
            return Ok(());
        }
        // Before the change: feedback looks at both together.
        let is_step =
            |c: &&Change| matches!(c.op, Op::Add(_) | Op::Turn(_) | Op::Toggle | Op::Reset);
        let steps: Vec<usize> =
            changes.iter().filter(is_step).map(|change| change.param.id as usize).collect();
        if !steps.is_empty() {
            self.subscribers().unknown_to(source, &steps);
        }
        let from = From { source: source.clone(), received };
        self.board.apply_all(changes, &from).map(drop).map_err(|error| {
            let address = changes[0].param.address;
            Refusal::new(Why::Unavailable, address, shortened(&error.to_string()))
        })
    }

    /// How long something waits; nothing for what is due already.
    fn wait(&self, due: Tag, received: Duration) -> Result<Duration, Refusal> {
        if due <= NOW {
            return Ok(Duration::ZERO);
        }
        let wall = self.clock.wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        // What has passed since is a part of the wait.
        let wall = wall.saturating_sub(self.clock.now().saturating_sub(received));
        let fraction_ns = ((due & 0xffff_ffff) * 1_000_000_000) >> 32;
        let due = Duration::new(due >> 32, fraction_ns as u32);
        let due = due.saturating_sub(Duration::from_secs(TO_1900_S));
        let wait = due.saturating_sub(wall);
        if wait > AHEAD {
            let text = format!(
                "it is due in {} s; send it at most {} s ahead (do both clocks agree?)",
                wait.as_secs(),
                AHEAD.as_secs()
            );
            return Err(Refusal::new(Why::TooFarAhead, "#bundle", text));
        }
        Ok(wait)
    }

    fn put_off(&self, due: Duration, changes: Vec<Change>, peer: &Peer) -> Result<(), Refusal> {
        let address = changes[0].param.address;
        let full = || {
            let text = format!("{WAITING} bundles wait for their time already");
            Refusal::new(Why::TooMany, address, text)
        };
        if self.waiting.fetch_add(1, Ordering::AcqRel) >= WAITING {
            self.waiting.fetch_sub(1, Ordering::AcqRel);
            return Err(full());
        }
        let (sender, answer) = (peer.address, !peer.typed);
        let later = Later { due, changes, source: peer.source.clone(), sender, answer };
        self.later.try_send(later).map_err(|_| {
            self.waiting.fetch_sub(1, Ordering::AcqRel);
            full()
        })
    }

    fn answer(
        &self,
        asked: Asked,
        peer: &Peer,
        now: Duration,
        answers: &mut Vec<OscMessage>,
    ) -> Result<(), Refusal> {
        let no_feedback = |text: &str| Err(Refusal::new(Why::Unavailable, "/vfaq/subscribe", text));
        match asked {
            Asked::Changes(_) | Asked::Tempo(_) | Asked::Nothing => {}
            Asked::Values(params) => {
                let style = if peer.typed { Style::Typed } else { Style::Plain };
                let values = params.iter().map(|p| value::message(p, &self.board.value(p), style));
                answers.extend(values.take(WAITING.saturating_sub(answers.len())));
            }
            Asked::Subscribe { .. } | Asked::Unsubscribe if peer.typed => {
                return no_feedback("over this connection, ask with LISTEN");
            }
            Asked::Subscribe { port, place } => {
                let mut to = peer.address;
                to.set_port(port.unwrap_or(to.port()));
                if !self.subscribers().add(to, place, &peer.source, now) {
                    return no_feedback("there are 16 subscribers already");
                }
            }
            Asked::Unsubscribe => self.subscribers().remove(&peer.source),
        }
        Ok(())
    }

    pub fn status(&self) -> OscStatus {
        OscStatus {
            listen: self.listen.clone(),
            query: self.query.clone(),
            packets: self.packets.get(),
            messages: self.messages.get(),
            refused: self.refusals.counts().into_iter().collect(),
            last_refused: self.refusals.last(),
            waiting: self.waiting.load(Ordering::Acquire),
            subscribers: self.subscribers().len(),
            listeners: self.listeners.load(Ordering::Acquire),
            feedback: self.feedback.get(),
        }
    }
}

#[cfg(test)]
pub mod tests {
    use crossbeam_channel::{Receiver, bounded};
    use rosc::{OscBundle, OscPacket, OscTime, encoder};

    use super::*;
    use crate::base::clock::ManualClock;
    use crate::param::{self, ParamId, Reader, Values};

    pub struct Bench {
        pub core: Arc<Core>,
        pub clock: Arc<ManualClock>,
        pub later: Receiver<Later>,
        pub reader: Reader,
        pub heard: Receiver<Note>,
    }

    pub fn bench() -> Bench {
        let (board, reader) = param::board(Values::default(), &[]);
        let clock = Arc::new(ManualClock::default());
        clock.advance(Duration::from_secs(100));
        let (sender, later) = bounded(WAITING);
        let (notes, heard) = crate::music::notes();
        let core = Core {
            board,
            clock: clock.clone(),
            subscribers: Mutex::default(),
            refusals: Refusals::default(),
            packets: Counter::default(),
            messages: Counter::default(),
            feedback: Counter::default(),
            listeners: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            allow: Vec::new(),
            notes,
            later: sender,
            listen: "127.0.0.1:9000".into(),
            query: None,
        };
        Bench { core: Arc::new(core), clock, later, reader, heard }
    }

    pub fn peer(port: u16) -> Peer {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Peer { address, source: super::super::subscribers::source(address).into(), typed: false }
    }

    pub fn packet(address: &str, args: Vec<OscType>) -> OscPacket {
        OscPacket::Message(OscMessage { addr: address.into(), args })
    }

    /// Due so long after the bench began.
    fn bundle(ahead_ms: u64, content: Vec<OscPacket>) -> OscPacket {
        let at = Duration::from_secs(100 + TO_1900_S) + Duration::from_millis(ahead_ms);
        let fractional = ((u64::from(at.subsec_nanos()) << 32) / 1_000_000_000) as u32;
        let timetag = OscTime { seconds: at.as_secs() as u32, fractional };
        OscPacket::Bundle(OscBundle { timetag, content })
    }

    impl Bench {
        pub fn send(&self, packet: &OscPacket) -> Vec<OscMessage> {
            let bytes = encoder::encode(packet).unwrap();
            self.core.take(&bytes, &peer(5000), self.clock.now())
        }
    }

    #[test]
    fn a_bundle_is_one_frame_or_nothing() {
        let mut bench = bench();
        let zoom = |x: f32| packet("/vfaq/fx/zoom", vec![x.into()]);
        let hue = |x: f32| packet("/vfaq/fx/hue", vec![x.into()]);
        let flash = packet("/vfaq/fx/flash", vec![]);
        assert!(bench.send(&bundle(0, vec![zoom(2.0), hue(9.0), flash.clone()])).is_empty());
        let seen = *bench.reader.latest();
        assert_eq!((seen.values[ParamId::Zoom], seen.values[ParamId::Hue]), (2.0, 9.0));
        assert_eq!(bench.reader.fired(seen.generation).unwrap().id, ParamId::Flash);

        let answers = bench.send(&bundle(0, vec![zoom(3.0), flash, hue(999.0)]));
        assert_eq!(answers[0].addr, "/vfaq/error");
        assert_eq!(answers[0].args[0], OscType::String("/vfaq/fx/hue".into()));
        assert_eq!(bench.core.board.number(ParamId::Zoom), 2.0);
        assert!(bench.reader.fired(u64::MAX).is_none());
        assert_eq!(bench.core.status().refused["out_of_range"], 1);
    }

    #[test]
    fn times_are_kept_and_what_is_too_far_ahead_is_refused() {
        let bench = bench();
        let zoom = packet("/vfaq/fx/zoom", vec![2.0f32.into()]);
        assert!(bench.send(&bundle(1500, vec![zoom.clone()])).is_empty());
        let later = bench.later.try_recv().unwrap();
        let due_ms = later.due.as_secs_f64() * 1000.0;
        assert!((due_ms - 101_500.0).abs() < 0.01, "{due_ms}");
        assert_eq!(bench.core.board.number(ParamId::Zoom), 1.0);
        let answers = bench.send(&bundle(11_000, vec![zoom.clone()]));
        assert!(answers[0].args[1].clone().string().unwrap().starts_with("too_far_ahead"));
        // What is late is due now.
        bench.clock.advance(Duration::from_secs(1));
        bench.send(&bundle(0, vec![zoom]));
        assert_eq!(bench.core.board.number(ParamId::Zoom), 2.0);
    }

    #[test]
    fn no_more_wait_than_there_is_room_for() {
        let bench = bench();
        let zoom = packet("/vfaq/fx/zoom", vec![2.0f32.into()]);
        for _ in 0..WAITING {
            assert!(bench.send(&bundle(5000, vec![zoom.clone()])).is_empty());
        }
        let answers = bench.send(&bundle(5000, vec![zoom]));
        assert!(answers[0].args[1].clone().string().unwrap().starts_with("too_many"));
    }

    #[test]
    fn beats_and_tempi_are_heard_when_they_fall() {
        use crate::music::Heard;
        let bench = bench();
        for (address, args, heard) in [
            ("/beat", vec![], Heard::Beat { number: None, bpm: None }),
            ("/vfaq/beat", vec![3.into()], Heard::Beat { number: Some(2.0), bpm: None }),
            (
                "/beat",
                vec![1.0f32.into(), 128.0f32.into()],
                Heard::Beat { number: Some(0.0), bpm: Some(128.0) },
            ),
            ("/vfaq/bpm", vec![174.into()], Heard::Bpm(174.0)),
            ("/tempo", vec![OscType::Double(91.5)], Heard::Bpm(91.5)),
        ] {
            assert!(bench.send(&packet(address, args)).is_empty());
            let note = bench.heard.try_recv().unwrap();
            assert_eq!((note.heard, note.at), (heard, Duration::from_secs(100)), "{address}");
        }
        bench.send(&bundle(250, vec![packet("/beat", vec![])]));
        let at = bench.heard.try_recv().unwrap().at.as_secs_f64();
        assert!((at - 100.25).abs() < 1e-6, "{at}");
        for (address, args, why) in [
            ("/vfaq/bpm", vec![0.0f32.into()], "out_of_range: 0 is no tempo; send 20 to 400"),
            ("/vfaq/bpm", vec![999.into()], "out_of_range"),
            ("/vfaq/bpm", vec![f32::NAN.into()], "out_of_range"),
            ("/vfaq/bpm", vec![], "arguments"),
            ("/beat", vec!["one".into()], "wrong_type"),
            ("/beat", vec![1.into(), 2.into(), 3.into()], "arguments"),
        ] {
            let answers = bench.send(&packet(address, args));
            let text = answers[0].args[1].clone().string().unwrap();
            assert!(text.starts_with(why), "{text}");
        }
        assert!(bench.heard.is_empty());
    }

    #[test]
    fn a_question_is_answered_with_what_is_now() {
        let bench = bench();
        let answers = bench.send(&packet("/vfaq/fx/zoom/?", vec![]));
        assert_eq!(
            answers,
            [OscMessage { addr: "/vfaq/fx/zoom".into(), args: vec![1.0f32.into()] }]
        );
        assert!(bench.send(&packet("/vfaq/error", vec!["x".into()])).is_empty());
        assert_eq!(bench.core.status().last_refused, None);
    }
}
