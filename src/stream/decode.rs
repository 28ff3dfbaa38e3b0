//! The pictures or the sound of a file, decoded one after the other.
//!
//! ```text
//! filesrc ! decodebin ! (what makes them alike) ! appsink
//! ```
//!
//! Holds: only streams of the kind that is wanted are decoded, and of those only the first is
//! taken.

use std::path::{Path, PathBuf};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::priority::{self, Importance};
use super::{make, posted_error, take_down};
use crate::base::error::{Error, Kind, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Pictures,
    Sound,
}

impl What {
    fn caps(self) -> gst::Caps {
        // With whatever features; else no decoder of pictures would do.
        let name = match self {
            What::Pictures => "video/x-raw",
            What::Sound => "audio/x-raw",
        };
        gst::Caps::builder(name).any_features().build()
    }

    fn name(self) -> &'static str {
        match self {
            What::Pictures => "picture",
            What::Sound => "sound",
        }
    }
}

/// How often a wish to stop is heard while nothing comes.
const STEP: gst::ClockTime = gst::ClockTime::from_mseconds(100);
/// After how many steps without anything a file is given up.
const PATIENCE_STEPS: u32 = 600;

pub struct Decoding {
    path: PathBuf,
    what: What,
    pipeline: gst::Pipeline,
    sink: gst_app::AppSink,
    taken: u64,
}

impl Decoding {
    /// Opens a file. `chain` makes a chain of elements in the pipeline that ends in the given
    /// element, which takes what `caps` say, and returns where it begins.
    ///
    /// # Errors
    /// Names the file. What is wrong inside is told later.
    pub fn open(
        path: &Path,
        what: What,
        caps: &gst::Caps,
        chain: impl FnOnce(&gst::Pipeline, &gst::Element) -> Result<gst::Pad>,
    ) -> Result<Self> {
        let unopened = |e| Error::io(format!("cannot open {}", path.display()), e);
        if std::fs::File::open(path).and_then(|file| file.metadata()).map_err(unopened)?.len() == 0
        {
            return Err(Error::new(Kind::Io, format!("{} is empty", path.display())));
        }
        let location = path.to_str().ok_or_else(|| {
            let shown = path.display();
            Error::usage(format!("{shown}: GStreamer takes names in UTF-8 only; rename the file"))
        })?;
        let pipeline = gst::Pipeline::new();
        priority::set_for(&pipeline, Importance::Background);
        let source = make("filesrc")?;
        source.set_property("location", location);
        let decode = make("decodebin")?;
        decode.set_property("expose-all-streams", false);
        decode.set_property("caps", what.caps());
        // What leaves its pictures on a GPU is no help here.
        decode.set_property("force-sw-decoders", true);
        let sink = gst_app::AppSink::builder()
            .caps(caps)
            .sync(false)
            .enable_last_sample(false)
            .max_buffers(4)
            .build();
        pipeline.add_many([&source, &decode, sink.upcast_ref()]).map_err(Error::fault)?;
        source.link(&decode).map_err(Error::fault)?;
        let begin = chain(&pipeline, sink.upcast_ref())?;
        let wanted = what.caps();
        decode.connect_pad_added(move |_, pad| {
            let is_wanted = pad.current_caps().is_some_and(|caps| caps.can_intersect(&wanted));
            if is_wanted && !begin.is_linked() {
                let _ = pad.link(&begin);
            }
        });
        let decoding = Decoding { path: path.to_path_buf(), what, pipeline, sink, taken: 0 };
        let started = decoding.pipeline.set_state(gst::State::Playing);
        started.map_err(|e| decoding.failure().unwrap_or_else(|| Error::fault(e)))?;
        Ok(decoding)
    }

    /// The next picture or samples. `None`: that was all, or `stop` says so.
    ///
    /// # Errors
    /// Names the file: it cannot be decoded, or holds nothing of the kind.
    pub fn next(&mut self, stop: &dyn Fn() -> bool) -> Result<Option<gst::Sample>> {
        for _ in 0..PATIENCE_STEPS {
            if stop() {
                return Ok(None);
            }
            if let Some(sample) = self.sink.try_pull_sample(STEP) {
                self.taken += 1;
                return Ok(Some(sample));
            }
            if let Some(error) = self.failure() {
                return Err(error);
            }
            if self.sink.is_eos() {
                return match self.taken {
                    0 => Err(self.unreadable(self.nothing())),
                    _ => Ok(None),
                };
            }
        }
        Err(self.unreadable(Error::new(Kind::Io, "nothing has come from it for a minute")))
    }

    /// From the start again; to be called at the end.
    ///
    /// # Errors
    /// Names the file: it has to be opened anew.
    pub fn rewind(&mut self) -> Result<()> {
        // Nobody reads what it says at each round.
        if let Some(bus) = self.pipeline.bus() {
            bus.set_flushing(true);
            bus.set_flushing(false);
        }
        let flags = gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE;
        let sought = self.pipeline.seek_simple(flags, gst::ClockTime::ZERO);
        sought.map_err(|e| self.unreadable(Error::fault(e)))
    }

    /// When a sample is to be shown or heard, from the start of the file.
    pub fn time_ns(sample: &gst::Sample) -> Option<u64> {
        let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
        segment.to_running_time(sample.buffer()?.pts()).map(gst::ClockTime::nseconds)
    }

    fn nothing(&self) -> Error {
        let what = self.what.name();
        Error::new(Kind::Io, format!("there is no {what} in it that GStreamer can decode"))
    }

    fn unreadable(&self, error: Error) -> Error {
        error.context(format!("cannot read {}", self.path.display()))
    }

    fn failure(&self) -> Option<Error> {
        let bus = self.pipeline.bus()?;
        let message = bus.pop_filtered(&[gst::MessageType::Error])?;
        let gst::MessageView::Error(error) = message.view() else { return None };
        // Nothing of the kind was found, in whatever words.
        let is_foreign = self.taken == 0
            && (error.error().matches(gst::CoreError::MissingPlugin)
                || error.error().matches(gst::StreamError::WrongType)
                || error.error().matches(gst::StreamError::CodecNotFound));
        let error = posted_error(&message).unwrap_or_else(|| self.nothing());
        Some(self.unreadable(match is_foreign {
            true => self.nothing().with_source(error),
            false => Error::new(Kind::Io, "it is damaged").with_source(error),
        }))
    }
}

impl Drop for Decoding {
    fn drop(&mut self) {
        take_down(&self.pipeline);
    }
}
