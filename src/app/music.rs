//! The thread `tempo`: hears whoever gives the beat, leads it, and tells where it is.
//!
//! Holds: the render thread gets the tempo without waiting, a hundred times a second; everybody else
//! a copy, ten times a second. Nobody who sends waits either: notes and changes by hand come in two
//! bounded queues, and what does not fit is lost and counted. Dropping [`Music`] ends the thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, Sender, bounded};

use crate::archive;
use crate::archive::journal::Event as JournalEvent;
use crate::base::clock::Clock;
use crate::base::error::{Error, Result};
use crate::base::telemetry::{TempoSource, TempoStatus};
use crate::config;
use crate::music::{
    Conductor, Heard, Note, NoteSender, Presence, Refused, Settings, Source, Tempo, TempoCell,
    notes,
};
use crate::param::{Accepted, Board, Change, From, ParamId, Value, Values};

/// How often the beat is looked after.
const EVERY: Duration = Duration::from_millis(10);
/// How often everybody else is told.
const TELL_EVERY: Duration = Duration::from_millis(100);
/// Changes by hand that may wait. A further one is lost, and counted: nobody taps that fast.
const HANDS: usize = 256;
/// Journal and log hear of another source, or tempo, this often at most.
const JOURNAL_EVERY: Duration = Duration::from_secs(5);
/// Another tempo, for them.
const NOTICEABLE: f64 = 0.01;
/// How often it is said what is refused.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);
/// By how much a nudge moves beats.
const NUDGE_S: f64 = 0.01;
/// How the board knows what a tap sets.
const TAP: &str = "tap";

/// What somebody did on the board.
enum Hand {
    Source(f32),
    PerBar(f32),
    Bpm(f32),
    Tap,
    Downbeat,
    Nudge(f64),
    Times(f64),
}

/// Forwards what is changed on the board; never waits.
#[derive(Clone)]
pub struct Hands {
    hands: Sender<(Hand, Duration)>,
    lost: Arc<AtomicU64>,
}

impl Hands {
    pub fn changed(&self, accepted: &Accepted) {
        let number = match accepted.value {
            Value::Number(number) => number,
            _ => 0.0,
        };
        let hand = match accepted.param.id {
            ParamId::TempoSource => Hand::Source(number),
            ParamId::BeatsPerBar => Hand::PerBar(number),
            ParamId::TempoBpm => Hand::Bpm(number),
            ParamId::TempoTap => Hand::Tap,
            ParamId::TempoDownbeat => Hand::Downbeat,
            ParamId::TempoEarlier => Hand::Nudge(-NUDGE_S),
            ParamId::TempoLater => Hand::Nudge(NUDGE_S),
            ParamId::TempoHalf => Hand::Times(0.5),
            ParamId::TempoDouble => Hand::Times(2.0),
            _ => return,
        };
        if self.hands.try_send((hand, accepted.from.received)).is_err() {
            self.lost.fetch_add(1, Ordering::AcqRel);
        }
    }
}

pub struct Music {
    notes: NoteSender,
    cell: Arc<TempoCell>,
    hands: Hands,
    status: Arc<ArcSwap<TempoStatus>>,
    /// Nothing is ever sent; dropped, it ends the thread.
    ending: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    #[cfg(feature = "link")]
    link: Option<crate::steer::link::Link>,
}

impl Music {
    /// Starts the thread; the tempo comes out at the other end.
    pub fn start(
        params: &Values,
        settings: &config::Tempo,
        board: Arc<Board>,
        clock: Arc<dyn Clock>,
        archive: archive::Handle,
    ) -> Result<(Music, triple_buffer::Output<Tempo>)> {
        let (sender, heard) = notes();
        let (hands_tx, hands) = bounded(HANDS);
        let hands_tx = Hands { hands: hands_tx, lost: Arc::default() };
        let (ending, over) = bounded(0);
        let source = source(params[ParamId::TempoSource]);
        let mut conductor = Conductor::new(Settings {
            source,
            bpm: params[ParamId::TempoBpm].into(),
            beats_per_bar: params[ParamId::BeatsPerBar] as u32,
        });
        let first = conductor.tempo(clock.now());
        let (output, out) = triple_buffer::triple_buffer(&first);
        let status = Arc::new(ArcSwap::default());
        let cell = Arc::new(TempoCell::default());
        cell.set(first);
        #[cfg(feature = "link")]
        let link = match settings.link {
            true => {
                let board = board.clone();
                let per_bar = move || f64::from(board.number(ParamId::BeatsPerBar));
                Some(crate::steer::link::Link::start(sender.clone(), clock.clone(), per_bar)?)
            }
            false => None,
        };
        #[cfg(not(feature = "link"))]
        if source == Some(Source::Link) && settings.link {
            tracing::warn!(
                "live.tempo.source: this program is built without Ableton Link (feature link); \
                 the beat goes by live.tempo.bpm"
            );
        }
        let work = Work {
            conductor,
            output,
            cell: cell.clone(),
            status: status.clone(),
            notes: sender.clone(),
            lost: hands_tx.lost.clone(),
            board,
            clock,
            archive,
            shown: None,
            // With this the session begins, as its parameters say.
            journaled: (Duration::ZERO, first.source, first.bpm, true),
            complained: None,
        };
        let run = move || work.run(&heard, &hands, &over);
        let thread = std::thread::Builder::new().name("tempo".into()).spawn(run);
        let thread = thread
            .map_err(|e| Error::internal("cannot start the thread of the tempo").with_source(e))?;
        let music = Music {
            notes: sender,
            cell,
            hands: hands_tx,
            status,
            ending: Some(ending),
            thread: Some(thread),
            #[cfg(feature = "link")]
            link,
        };
        Ok((music, out))
    }

    /// The tempo, for those who are not in a hurry.
    pub fn cell(&self) -> Arc<TempoCell> {
        self.cell.clone()
    }

    /// For those who hear a beat somewhere.
    pub fn note_sender(&self) -> NoteSender {
        self.notes.clone()
    }

    /// For what is changed on the board.
    pub fn hands(&self) -> Hands {
        self.hands.clone()
    }

    pub fn status(&self) -> TempoStatus {
        TempoStatus::clone(&self.status.load())
    }
}

impl Drop for Music {
    fn drop(&mut self) {
        #[cfg(feature = "link")]
        drop(self.link.take());
        drop(self.ending.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The source of a value of `/tempo/source`; `None`: the best that is there.
fn source(value: f32) -> Option<Source> {
    let place = (value.max(0.0).round() as usize).checked_sub(1)?;
    Source::ALL.get(place).copied()
}

/// What is shown ten times a second of a tempo: its mean over a second, unless it is another.
fn steady(shown: Option<f64>, bpm: f64) -> f64 {
    const SHARE: f64 = 0.1;
    match shown {
        Some(shown) if (shown / bpm - 1.0).abs() < 0.02 => shown + (bpm - shown) * SHARE,
        _ => bpm,
    }
}

struct Work {
    conductor: Conductor,
    output: triple_buffer::Input<Tempo>,
    cell: Arc<TempoCell>,
    status: Arc<ArcSwap<TempoStatus>>,
    notes: NoteSender,
    /// Changes by hand that were lost.
    lost: Arc<AtomicU64>,
    board: Arc<Board>,
    clock: Arc<dyn Clock>,
    archive: archive::Handle,
    /// The tempo as it is shown, without its trembling.
    shown: Option<f64>,
    /// What the journal has: when, who, how fast, and whether somebody gave it.
    journaled: (Duration, Source, f64, bool),
    complained: Option<Duration>,
}

impl Work {
    fn run(
        mut self,
        heard: &Receiver<Note>,
        hands: &Receiver<(Hand, Duration)>,
        over: &Receiver<()>,
    ) {
        let mut tell_at = Duration::ZERO;
        loop {
            crossbeam_channel::select! {
                recv(over) -> _ => return,
                recv(hands) -> hand => if let Ok((hand, at)) = hand {
                    self.hand(hand, at);
                },
                recv(heard) -> note => if let Ok(note) = note {
                    self.hear(note);
                },
                default(EVERY) => {}
            }
            // All that waits: once for many ticks that come together.
            while let Ok((hand, at)) = hands.try_recv() {
                self.hand(hand, at);
            }
            for note in heard.try_iter().take(heard.capacity().unwrap_or(1)) {
                self.hear(note);
            }
            let now = self.clock.now();
            let tempo = self.conductor.tempo(now);
            self.output.write(tempo);
            self.cell.set(tempo);
            if now >= tell_at {
                tell_at = now + TELL_EVERY;
                self.shown = Some(steady(self.shown, self.conductor.bpm()));
                self.status.store(Arc::new(self.tell(&tempo, now)));
                self.journal(&tempo, now);
            }
        }
    }

    fn hear(&mut self, note: Note) {
        let Err(why) = self.conductor.hear(note) else { return };
        // What comes out of its order, or twice, is the way of networks.
        let matters = matches!(why, Refused::Tempo | Refused::Number);
        let now = self.clock.now();
        if matters && self.complained.is_none_or(|at| now >= at + COMPLAIN_EVERY) {
            self.complained = Some(now);
            tracing::warn!("{}", why.text(&note));
        }
    }

    fn hand(&mut self, hand: Hand, at: Duration) {
        match hand {
            Hand::Source(value) => self.conductor.set_source(source(value)),
            Hand::PerBar(beats) => self.conductor.set_beats_per_bar(beats as u32),
            Hand::Bpm(bpm) => self.hear(Note::new(Source::Fixed, at, Heard::Bpm(bpm.into()))),
            Hand::Tap => {
                let beat = Heard::Beat { number: None, bpm: None };
                self.hear(Note::new(Source::Tap, at, beat));
                self.set_tapped(at);
            }
            Hand::Downbeat => self.conductor.downbeat(at),
            Hand::Nudge(seconds) => self.conductor.nudge(seconds),
            Hand::Times(by) => {
                if !self.conductor.multiply(by) {
                    tracing::warn!(
                        "{:.0} bpm times {by} is no tempo any more",
                        self.conductor.bpm()
                    );
                }
            }
        }
    }

    /// What was tapped is shown where a tempo is set.
    fn set_tapped(&self, received: Duration) {
        let sources = self.conductor.sources(received);
        let tapped = sources[Source::Tap as usize];
        let param = crate::param::of(ParamId::TempoBpm);
        let Some(bpm) = tapped.bpm.map(|bpm| ((bpm * 100.0).round() / 100.0) as f32) else {
            return;
        };
        if tapped.state == Presence::Live && param.check(bpm).is_ok() {
            let from = From { source: TAP.into(), received };
            // Its range was looked at, so it is taken.
            let _ = self.board.apply(&Change::set(ParamId::TempoBpm, bpm), &from);
        }
    }

    fn tell(&self, tempo: &Tempo, now: Duration) -> TempoStatus {
        let names = self.notes.names();
        let name = |source: Source| names[source as usize].as_ref().map(ToString::to_string);
        let per_bar = f64::from(tempo.beats_per_bar);
        let beat = tempo.beat_at(now.as_secs_f64());
        let refused = self.conductor.refused().filter(|(_, count)| *count > 0);
        let source = |state: crate::music::SourceState| TempoSource {
            source: state.source.name(),
            state: state.state.name(),
            from: name(state.source),
            bpm: state.bpm,
            confidence: state.confidence,
        };
        TempoStatus {
            source: tempo.source.name(),
            from: name(tempo.source),
            led: self.conductor.is_led(),
            bpm: self.shown.unwrap_or(tempo.bpm),
            beat,
            bar: (beat / per_bar).max(0.0) as u64,
            beat_of_bar: beat.rem_euclid(per_bar) as u32 + 1,
            beats_per_bar: tempo.beats_per_bar,
            confidence: tempo.confidence,
            playing: tempo.playing,
            nudge_ms: self.conductor.nudged() * 1000.0,
            times: self.conductor.times(),
            sources: self.conductor.sources(now).into_iter().map(source).collect(),
            jumps: self.conductor.jumps(),
            refused: refused.map(|(why, count)| (why.name(), count)).collect(),
            lost: self.notes.lost() + self.lost.load(Ordering::Acquire),
        }
    }

    fn journal(&mut self, tempo: &Tempo, now: Duration) {
        let led = self.conductor.is_led();
        let bpm = self.shown.unwrap_or(tempo.bpm);
        let (at, source, before, was_led) = self.journaled;
        let same =
            source == tempo.source && led == was_led && (bpm / before - 1.0).abs() < NOTICEABLE;
        if same || now < at + JOURNAL_EVERY {
            return;
        }
        let name = self.notes.names()[tempo.source as usize].clone();
        let name = name.map(|name| format!(" ({name})")).unwrap_or_default();
        let who = tempo.source.name();
        match led {
            true => tracing::info!("tempo: {who}{name}, {bpm:.1} bpm"),
            false => {
                tracing::warn!("tempo: {who}{name} is lost; it goes on at {bpm:.1} bpm");
            }
        }
        self.journaled = (now, tempo.source, bpm, led);
        let bpm = (bpm * 100.0).round() / 100.0;
        let source = tempo.source.name().to_owned();
        self.archive.journal(JournalEvent::Tempo { source, bpm, led });
    }
}
