//! OS2L: beats from VirtualDJ and its like, as JSON objects over TCP, one after another. Only
//! `{"evt":"beat","pos":16,"bpm":128.0}` is heeded; other events are counted and left.
//!
//! Holds: nothing that is sent can stop the show, or make this room wait, or grow: an object has
//! `LONGEST` bytes at most, there are `CLIENTS` connections at most, and one that sends nothing but
//! junk is closed. The port is taken before the show starts. Threads end when [`Os2l`] is dropped,
//! which joins them.

use std::io::{ErrorKind, Read};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use serde::Deserialize;

use super::osc::announce::{Announced, announce_one};
use crate::base::clock::Clock;
use crate::base::error::{Error, Result};
use crate::base::telemetry::{Counter, Os2lStatus};
use crate::music::{BPM, Heard, Note, NoteSender, Source};

/// Connections at once; a further one is closed, or comes for one that was silent for so long.
const CLIENTS: usize = 4;
const SILENT: Duration = Duration::from_secs(30);
/// The longest object, in bytes.
const LONGEST: usize = 4096;
/// So much junk in a row, and nobody listens any more.
const JUNK: u32 = 100;
/// How often it is looked whether the show has ended, or somebody wants to connect.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The port that is taken.
pub struct Bound {
    listener: TcpListener,
}

/// Takes the port. `None`: it is not wanted, or in use and nobody asked for it.
///
/// # Errors
/// One that was asked for cannot be had.
pub fn bind(listen: Option<SocketAddr>, is_asked: bool) -> Result<Option<Bound>> {
    let Some(address) = listen else { return Ok(None) };
    let bound = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(Bound { listener })
    });
    match bound {
        Ok(bound) => Ok(Some(bound)),
        Err(e) => {
            let problem = match e.kind() {
                ErrorKind::AddrInUse => "is in use by another program",
                _ => "cannot be listened on",
            };
            let error = Error::unavailable(format!(
                "live.tempo.os2l: {address} {problem}; use another port, port 0 for any free one, \
                 or off"
            ))
            .with_source(e);
            if is_asked {
                return Err(error);
            }
            tracing::warn!("no OS2L: {error}");
            Ok(None)
        }
    }
}

#[derive(Default)]
struct Counters {
    beats: Counter,
    ignored: Counter,
    refused: Counter,
    clients: AtomicUsize,
}

struct Core {
    notes: NoteSender,
    clock: Arc<dyn Clock>,
    counters: Counters,
}

/// OS2L of a running show.
pub struct Os2l {
    core: Arc<Core>,
    listen: SocketAddr,
    /// Nothing is ever sent; dropped, it ends the threads.
    ending: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    _announced: Option<Announced>,
}

impl Os2l {
    /// Starts to listen. `name` is the show's.
    pub fn start(
        bound: Bound,
        notes: NoteSender,
        clock: Arc<dyn Clock>,
        name: &str,
    ) -> Result<Self> {
        let fault = |e| Error::internal("cannot start OS2L").with_source(e);
        let Bound { listener } = bound;
        let listen = listener.local_addr().map_err(fault)?;
        let core = Arc::new(Core { notes, clock, counters: Counters::default() });
        let (ending, over) = bounded(0);
        let run = {
            let core = core.clone();
            move || accept(&core, &listener, &over)
        };
        let thread = std::thread::Builder::new().name("os2l".into()).spawn(run).map_err(fault)?;
        Ok(Os2l {
            core,
            listen,
            ending: Some(ending),
            thread: Some(thread),
            _announced: announce_one("_os2l._tcp.local.", listen, name),
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.listen
    }

    pub fn status(&self) -> Os2lStatus {
        let counters = &self.core.counters;
        Os2lStatus {
            listen: self.listen.to_string(),
            clients: counters.clients.load(Ordering::Acquire),
            beats: counters.beats.get(),
            ignored: counters.ignored.get(),
            refused: counters.refused.get(),
        }
    }
}

impl Drop for Os2l {
    fn drop(&mut self) {
        drop(self.ending.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The thread `os2l`: takes connections, and gives each a thread.
fn accept(core: &Arc<Core>, listener: &TcpListener, over: &Receiver<()>) {
    let mut clients: Vec<Client> = Vec::new();
    while over.try_recv() != Err(TryRecvError::Disconnected) {
        clients.retain(|client| !client.thread.is_finished());
        match listener.accept() {
            Ok((stream, peer)) if has_place(&clients, core.clock.now()) => {
                let heard_ms = Arc::new(AtomicU64::new(core.clock.now().as_millis() as u64));
                let Ok(line) = stream.try_clone() else { continue };
                let run = {
                    let (core, over, heard_ms) = (core.clone(), over.clone(), heard_ms.clone());
                    move || hear(&core, stream, peer, &heard_ms, &over)
                };
                match std::thread::Builder::new().name("os2l client".into()).spawn(run) {
                    Ok(thread) => clients.push(Client { thread, line, heard_ms }),
                    Err(e) => tracing::warn!("OS2L: no thread for {peer}: {e}"),
                }
            }
            Ok((_, peer)) => {
                core.counters.refused.add(1);
                tracing::debug!("OS2L: {CLIENTS} are connected; {peer} is one too many");
            }
            Err(_) => {
                let _ = over.recv_timeout(LOOK_EVERY);
            }
        }
    }
    for client in clients {
        let _ = client.thread.join();
    }
}

/// A program that is connected.
struct Client {
    thread: JoinHandle<()>,
    line: TcpStream,
    /// When something came from it last, by the show's clock.
    heard_ms: Arc<AtomicU64>,
}

/// Whether one more may be connected. A laptop that fell asleep says no goodbye: whoever was silent
/// longest has to go for it.
fn has_place(clients: &[Client], now: Duration) -> bool {
    if clients.len() < CLIENTS {
        return true;
    }
    let heard = |client: &&Client| client.heard_ms.load(Ordering::Relaxed);
    let Some(oldest) = clients.iter().min_by_key(heard) else { return true };
    let silent = now.saturating_sub(Duration::from_millis(heard(&oldest)));
    // Its thread ends with it.
    silent > SILENT && oldest.line.shutdown(Shutdown::Both).is_ok() && clients.len() <= CLIENTS
}

/// The thread `os2l client`.
fn hear(
    core: &Core,
    mut stream: TcpStream,
    peer: SocketAddr,
    heard_ms: &AtomicU64,
    over: &Receiver<()>,
) {
    let can_read =
        stream.set_nonblocking(false).is_ok() && stream.set_read_timeout(Some(LOOK_EVERY)).is_ok();
    if !can_read {
        return;
    }
    tracing::info!("OS2L: {peer} is connected");
    core.counters.clients.fetch_add(1, Ordering::AcqRel);
    let mut reader = Reader::default();
    let mut bytes = [0; LONGEST];
    while over.try_recv() != Err(TryRecvError::Disconnected) {
        let count = match stream.read(&mut bytes) {
            Ok(0) => break,
            Ok(count) => count,
            Err(e) => match e.kind() {
                ErrorKind::Interrupted | ErrorKind::TimedOut | ErrorKind::WouldBlock => continue,
                _ => break,
            },
        };
        let at = core.clock.now();
        heard_ms.store(at.as_millis() as u64, Ordering::Relaxed);
        reader.feed(&bytes[..count], |said| match said {
            Said::Beat(heard) => {
                core.counters.beats.add(1);
                core.notes.name(Source::Os2l, &peer.to_string());
                core.notes.send(Note::new(Source::Os2l, at, heard));
            }
            Said::Other => core.counters.ignored.add(1),
            Said::Junk => core.counters.refused.add(1),
        });
        if reader.junk >= JUNK {
            tracing::warn!("OS2L: {peer} sends nothing that is OS2L; it is not listened to");
            break;
        }
    }
    if core.counters.clients.fetch_sub(1, Ordering::AcqRel) == 1 {
        core.notes.send(Note::new(Source::Os2l, core.clock.now(), Heard::Gone));
    }
    tracing::info!("OS2L: {peer} is gone");
}

#[derive(Debug, PartialEq)]
enum Said {
    Beat(Heard),
    /// OS2L, but not about beats.
    Other,
    Junk,
}

#[derive(Deserialize)]
struct Event {
    evt: String,
    #[serde(default)]
    pos: Option<f64>,
    #[serde(default)]
    bpm: Option<f64>,
}

/// Objects out of a stream of bytes, with or without anything between them.
#[derive(Default)]
struct Reader {
    waiting: Vec<u8>,
    /// In a row.
    junk: u32,
}

impl Reader {
    fn feed(&mut self, bytes: &[u8], mut said: impl FnMut(Said)) {
        self.waiting.extend_from_slice(bytes);
        let mut done = 0;
        loop {
            let rest = &self.waiting[done..];
            let blank = rest.iter().take_while(|b| b.is_ascii_whitespace() || **b == 0).count();
            done += blank;
            let rest = &rest[blank..];
            if rest.is_empty() {
                break;
            }
            let mut objects = serde_json::Deserializer::from_slice(rest).into_iter::<Event>();
            let what = match objects.next() {
                Some(Ok(event)) => {
                    done += objects.byte_offset();
                    event.heard()
                }
                // Half an object; the rest is to come.
                Some(Err(e)) if e.is_eof() && rest.len() < LONGEST => break,
                _ => {
                    // To where another one may begin.
                    let next = rest.iter().skip(1).position(|b| matches!(b, b'{' | b'\n'));
                    done += next.map_or(rest.len(), |next| next + 1);
                    Said::Junk
                }
            };
            self.junk = if what == Said::Junk { self.junk + 1 } else { 0 };
            said(what);
            if self.junk >= JUNK {
                done = self.waiting.len();
                break;
            }
        }
        self.waiting.drain(..done);
    }
}

impl Event {
    fn heard(self) -> Said {
        if self.evt != "beat" {
            return Said::Other;
        }
        if self.pos.is_some_and(|pos| pos.abs() >= 1e9) {
            return Said::Junk;
        }
        // A track that was not analysed has the tempo 0; its beats are beats.
        let bpm = self.bpm.filter(|bpm| BPM.contains(bpm));
        Said::Beat(Heard::Beat { number: self.pos, bpm })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BEAT: &str = r#"{"evt":"beat","change":false,"pos":16,"bpm":128.5,"strength":80}"#;

    fn read(pieces: &[&[u8]]) -> Vec<Said> {
        let (mut reader, mut all) = (Reader::default(), Vec::new());
        for piece in pieces {
            reader.feed(piece, |said| all.push(said));
            assert!(reader.waiting.len() <= LONGEST);
        }
        all
    }

    fn beat() -> Said {
        Said::Beat(Heard::Beat { number: Some(16.0), bpm: Some(128.5) })
    }

    #[test]
    fn beats_are_read_however_they_are_cut_and_joined() {
        let two = format!("{BEAT}{BEAT}\r\n\0{BEAT}");
        assert_eq!(read(&[two.as_bytes()]), [beat(), beat(), beat()]);
        for cut in 1..BEAT.len() {
            let (a, b) = BEAT.split_at(cut);
            assert_eq!(read(&[a.as_bytes(), b.as_bytes()]), [beat()], "{cut}");
        }
        let button = br#"{"evt":"btn","name":"Drop","state":"on"}"#;
        assert_eq!(read(&[button]), [Said::Other]);
        let bare = || Said::Beat(Heard::Beat { number: None, bpm: None });
        assert_eq!(read(&[br#"{"evt":"beat"}"#]), [bare()]);
        assert_eq!(read(&[br#"{"evt":"beat","bpm":0}{"evt":"beat","bpm":999}"#]), [bare(), bare()]);
    }

    #[test]
    fn what_is_no_beat_is_refused_and_the_next_is_heard() {
        for junk in [
            r#"{"evt":"beat","bpm":"fast"}"#,
            r#"{"evt":"beat","pos":1e300}"#,
            r#"{"no":1}"#,
            "[1,2]",
            "GET / HTTP/1.1",
        ] {
            let said = read(&[junk.as_bytes(), b"\n", BEAT.as_bytes()]);
            assert!(said.contains(&Said::Junk) && said.last() == Some(&beat()), "{junk}: {said:?}");
        }
        // An object without an end is given up.
        let long = vec![b'['; 3 * LONGEST];
        assert!(read(&[&long]).contains(&Said::Junk));
    }

    proptest! {
        #[test]
        fn any_bytes_are_borne(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20)) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            read(&pieces);
        }
    }
}
