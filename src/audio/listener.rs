//! Who listens: takes the captured samples, publishes what is heard, and tells the beats.
//!
//! Holds: it never waits. Who reads signals gets the newest; beats that nobody takes are left out,
//! as old beats are of no use.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::analysis::beat::{BeatEstimate, BeatTracker};
use super::analysis::{Analyser, Settings};
use crate::base::error::Result;
use crate::music::Signals;

/// Ten seconds of the fastest beat. When it is full the new ones are left out.
const BEATS: usize = 32;

/// The newest of what is heard.
pub struct Ear(triple_buffer::Output<Signals>);

impl Ear {
    /// The way itself, for the render thread.
    pub fn into_output(self) -> triple_buffer::Output<Signals> {
        self.0
    }

    pub fn signals(&mut self) -> &Signals {
        self.0.read()
    }
}

/// What comes out.
pub struct Ears {
    /// For the render thread.
    pub render: Ear,
    /// For the status, and who else tells people.
    pub status: Ear,
    pub beats: Receiver<BeatEstimate>,
}

pub struct Listener {
    analyser: Analyser,
    tracker: BeatTracker,
    render: triple_buffer::Input<Signals>,
    status: triple_buffer::Input<Signals>,
    beats: Sender<BeatEstimate>,
}

impl Listener {
    pub fn new(settings: Arc<Settings>) -> Result<(Self, Ears)> {
        let (render, render_out) = triple_buffer::triple_buffer(&Signals::default());
        let (status, status_out) = triple_buffer::triple_buffer(&Signals::default());
        let (beats, beats_out) = bounded(BEATS);
        let (analyser, tracker) = (Analyser::new(settings)?, BeatTracker::new());
        let listener = Listener { analyser, tracker, render, status, beats };
        let ears = Ears { render: Ear(render_out), status: Ear(status_out), beats: beats_out };
        Ok((listener, ears))
    }

    /// Hears samples (48 kHz, two channels interleaved), the first of them at `at` of the show's
    /// clock.
    pub fn hear(&mut self, samples: &[f32], at: Duration) {
        let Listener { analyser, tracker, render, status, beats } = self;
        analyser.hear(samples, at, &mut |heard| {
            render.write(heard.signals);
            status.write(heard.signals);
            tracker.hear(heard.strength, heard.began, &mut |beat| {
                // Full: nobody listens.
                let _ = beats.try_send(beat);
            });
        });
        if let Some(bpm) = self.tracker.bpm() {
            self.analyser.follow(bpm);
        }
    }
}
