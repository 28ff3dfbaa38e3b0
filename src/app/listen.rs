//! A source of sound heard without a show: how loud it is.

use std::sync::{Arc, Mutex, PoisonError};

use crate::audio::strip::Meter;
use crate::audio::{CHANNELS, Levels, Shared};
use crate::base::clock::Clock;
use crate::base::error::Result;
use crate::config::AudioSource;
use crate::stream::capture::{Capture, Now, Setup};

pub use crate::stream::capture::list::{Found, devices};

pub struct Listening {
    capture: Capture,
    meter: Arc<Mutex<Meter>>,
}

impl Listening {
    pub fn start(source: AudioSource, clock: Arc<dyn Clock>) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        // The clock is the show.
        shared.set_line_ns(0);
        shared.set_playing(Some(0));
        let meter = Arc::new(Mutex::new(Meter::new()));
        let heard = meter.clone();
        let listener = Box::new(move |samples: &[f32], _| {
            let mut meter = heard.lock().unwrap_or_else(PoisonError::into_inner);
            for frame in samples.chunks_exact(CHANNELS) {
                meter.hear([frame[0], frame[1]]);
            }
        });
        let capture = Capture::start(Setup {
            wanted: source.into(),
            clock,
            shared,
            writer: None,
            listener: Some(listener),
        })?;
        Ok(Listening { capture, meter })
    }

    pub fn levels(&self) -> Levels {
        self.meter.lock().unwrap_or_else(PoisonError::into_inner).levels()
    }

    pub fn now(&self) -> Now {
        self.capture.now()
    }
}
