//! Who listens to the sound: on the thread that captures it, samples become what is heard and beats.
//!
//! Holds: nothing here waits; what is heard goes to the picture, to who shows it, and as notes to
//! the tempo.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::audio::analysis::Settings;
use crate::audio::{self, Ear};
use crate::base::error::Result;
use crate::music::{Heard, Note, NoteSender, Signals, Source};
use crate::param::{Accepted, ParamId, Value, Values};
use crate::stream::capture;

pub struct Ears {
    pub listener: capture::Listener,
    /// For the render thread.
    pub picture: triple_buffer::Output<Signals>,
    pub shown: Arc<Shown>,
    pub settings: Listening,
}

/// The newest of what is heard, for those who show it.
pub struct Shown(Mutex<Ear>);

impl Shown {
    pub fn signals(&self) -> Signals {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).signals()
    }
}

/// How the sound is listened to, as the board says.
pub struct Listening {
    settings: Arc<Settings>,
    /// Lower and upper end of the custom band, in Hz.
    custom: Mutex<(f32, f32)>,
}

impl Listening {
    /// Takes over a change; never waits for long.
    pub fn changed(&self, accepted: &Accepted) {
        if let Value::Number(number) = accepted.value {
            self.set(accepted.param.id, number);
        }
    }

    fn set(&self, id: ParamId, number: f32) {
        match id {
            ParamId::CustomLow => self.custom().0 = number,
            ParamId::CustomHigh => self.custom().1 = number,
            ParamId::AutoGain => return self.settings.set_auto_gain(number > 0.5),
            _ => return,
        }
        let (low, high) = *self.custom();
        self.settings.set_custom(low, high);
    }

    fn custom(&self) -> MutexGuard<'_, (f32, f32)> {
        self.custom.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ears {
    /// # Errors
    /// A fault of the analysis.
    pub fn open(params: &Values, notes: NoteSender) -> Result<Self> {
        let settings = Arc::new(Settings::default());
        let listening = Listening { settings: settings.clone(), custom: Mutex::default() };
        for id in [ParamId::CustomLow, ParamId::CustomHigh, ParamId::AutoGain] {
            listening.set(id, params[id]);
        }
        let (mut listener, ears) = audio::Listener::new(settings)?;
        let beats = ears.beats;
        let hear = move |samples: &[f32], at| {
            listener.hear(samples, at);
            for beat in beats.try_iter() {
                let heard = Heard::Beat { number: None, bpm: Some(beat.bpm) };
                let note = Note::new(Source::Sound, beat.at, heard);
                notes.send(Note { confidence: beat.confidence, ..note });
            }
        };
        Ok(Ears {
            listener: Box::new(hear),
            picture: ears.render.into_output(),
            shown: Arc::new(Shown(Mutex::new(ears.status))),
            settings: listening,
        })
    }
}
