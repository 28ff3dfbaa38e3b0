//! The show's sound: what it starts with, how it is changed, and what is told of it.
//!
//! Holds: a source that cannot be meant is refused before anything changes; one that is away is a
//! warning, and silence.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::audio::{self, Shared};
use crate::base::clock::Clock;
use crate::base::error::{Error, Result};
use crate::base::telemetry::SoundStatus;
use crate::config::{AudioSource, sound};
use crate::stream::capture::{self, Capture, Listener};
use crate::stream::sound::SoundIn;

pub struct Sound {
    capture: Capture,
    shared: Arc<Shared>,
    reading: Reading,
}

/// How a source is read that somebody writes.
#[derive(Clone)]
pub struct Reading {
    /// As in the settings; it alone may hold a secret.
    configured: AudioSource,
    worqspace: PathBuf,
}

impl Reading {
    pub fn new(configured: &AudioSource, worqspace: &Path) -> Self {
        Reading { configured: configured.clone(), worqspace: worqspace.to_path_buf() }
    }

    /// # Errors
    /// What is wrong with it, and what may be written.
    pub fn read(&self, text: &str) -> Result<AudioSource> {
        let text = text.trim();
        if text.is_empty() || text == self.configured.shown() {
            return Ok(self.configured.clone());
        }
        let Some(source) = AudioSource::parse(text, &self.worqspace) else {
            return Err(Error::usage(format!(
                "/sound/source: found {text:?}, allowed: {}",
                sound::ALLOWED
            )));
        };
        if source.has_secret() {
            return Err(Error::usage(
                "/sound/source: an address with a password, a query or a stream key would be seen \
                 by everybody; write it into config.yaml as live.audio.source, and send an empty \
                 text here",
            ));
        }
        // Whether it holds sound only its decoding tells, which takes too long for whoever asks here.
        if let AudioSource::File { path, .. } = &source
            && !path.is_file()
        {
            return Err(Error::usage(format!(
                "/sound/source: there is no file {}; name a sound file that exists",
                path.display()
            )));
        }
        Ok(source)
    }
}

impl Sound {
    /// Starts the capture; the second value is the render thread's end.
    pub fn start(
        source: &AudioSource,
        worqspace: &Path,
        clock: Arc<dyn Clock>,
        listener: Option<Listener>,
    ) -> Result<(Self, SoundIn)> {
        let (writer, reader) = audio::ring();
        let shared = Arc::new(Shared::default());
        let capture = Capture::start(capture::Setup {
            wanted: source.clone().into(),
            clock,
            shared: shared.clone(),
            writer: Some(writer),
            listener,
        })?;
        let reading = Reading::new(source, worqspace);
        let sound = Sound { capture, shared: shared.clone(), reading };
        Ok((sound, SoundIn { reader, shared }))
    }

    /// Takes another source.
    pub fn switch(&self, text: &str) -> Result<()> {
        self.capture.switch(self.reading.read(text)?.into())
    }

    pub fn trouble(&self) -> Option<String> {
        self.capture.trouble()
    }

    /// As it goes out.
    pub fn levels(&self) -> audio::Levels {
        self.shared.levels()
    }

    pub fn status(&self) -> SoundStatus {
        let (now, levels) = (self.capture.now(), self.shared.levels());
        SoundStatus {
            source: now.source,
            state: now.state.name(),
            reason: now.reason,
            returns: now.returns,
            peak_db: levels.peak,
            rms_db: levels.rms,
            limited_db: levels.reduction,
            drift_ppm: now.drift_ppm,
            error_ms: now.error_ms,
            restarts: now.restarts,
            fill_ms: audio::seconds_of(self.shared.fill() as f64) * 1000.0,
            underruns: self.shared.underruns.get(),
            missing_ms: audio::seconds_of(self.shared.missing.get() as f64) * 1000.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_steered_cannot_show_a_secret_and_leads_back_to_the_settings() {
        crate::stream::init().unwrap();
        let url = AudioSource::Url("srt://host:9000?passphrase=0123456789".into());
        let reading = Reading::new(&url, Path::new("/w"));
        assert_eq!(reading.read("").unwrap(), url);
        assert_eq!(reading.read(&url.shown()).unwrap(), url);
        assert!(reading.read("srt://host:9000?passphrase=0123456789").is_err());
        assert_eq!(reading.read("tone").unwrap(), AudioSource::Tone);
        let refused = reading.read("mic").unwrap_err().to_string();
        assert!(refused.contains("\"mic\"") && refused.contains("silence, tone"), "{refused}");
        let refused = reading.read("file:none.wav").unwrap_err().to_string();
        assert!(refused.contains("/w/none.wav"), "{refused}");
    }
}
