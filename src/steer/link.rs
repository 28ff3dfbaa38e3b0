//! Ableton Link: the tempo and the beats that all programs of a local network share.
//!
//! Holds: it only follows. A session is believed as long as somebody else is in it; alone, it says
//! nothing. Link has threads of its own; ours, `link`, asks it twenty times a second.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use rusty_link::{AblLink, SessionState};

use crate::base::clock::Clock;
use crate::base::error::{Error, Result};
use crate::music::{Heard, Note, NoteSender, Source};

const ASK_EVERY: Duration = Duration::from_millis(50);
/// What a session begins with that we are the first in; whoever comes brings their own.
const BPM: f64 = 120.0;

pub struct Link {
    /// Nothing is ever sent; dropped, it ends the thread.
    ending: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Link {
    /// Joins. `per_bar`: the beats of a bar, so that bars begin where they do for the others.
    pub fn start(
        notes: NoteSender,
        clock: Arc<dyn Clock>,
        per_bar: impl Fn() -> f64 + Send + 'static,
    ) -> Result<Self> {
        let (ending, over) = bounded::<()>(0);
        let run = move || {
            let link = AblLink::new(BPM);
            link.enable(true);
            let mut state = SessionState::new();
            let mut peers_before = 0;
            while let Err(RecvTimeoutError::Timeout) = over.recv_timeout(ASK_EVERY) {
                let peers = link.num_peers();
                if peers != peers_before {
                    peers_before = peers;
                    let text = if peers == 1 { "1 peer".into() } else { format!("{peers} peers") };
                    tracing::info!("Ableton Link: {text}");
                    notes.name(Source::Link, &text);
                    if peers == 0 {
                        notes.send(Note::new(Source::Link, clock.now(), Heard::Gone));
                    }
                }
                if peers > 0 {
                    link.capture_app_session_state(&mut state);
                    let (at, time_us) = (clock.now(), link.clock_micros());
                    let beat = state.beat_at_time(time_us, per_bar());
                    let heard = Heard::Line { beat, bpm: state.tempo() };
                    notes.send(Note::new(Source::Link, at, heard));
                }
            }
            link.enable(false);
        };
        let thread = std::thread::Builder::new().name("link".into()).spawn(run);
        let thread =
            thread.map_err(|e| Error::internal("cannot start Ableton Link").with_source(e))?;
        Ok(Link { ending: Some(ending), thread: Some(thread) })
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        drop(self.ending.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
