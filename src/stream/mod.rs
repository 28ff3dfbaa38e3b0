//! The only user of GStreamer: the live source and its pipeline, encoding, the fan-out to outputs
//! and the recording, and clips in and out of files.
//!
//! Holds: state changes of a pipeline come from the thread that owns it, never from a streaming
//! thread, and have a time limit. Encoded access units leave [`fanout`] in decoding order with
//! timestamps in show time.

pub mod adapt;
pub mod beat;
pub mod capture;
pub mod check;
pub mod clip;
pub mod convert;
mod decode;
pub mod encoding;
pub mod encodings;
pub mod fanout;
pub mod flashes;
pub mod interpolate;
pub mod join;
pub mod live;
mod log;
pub mod output;
pub mod picture;
pub mod plugin;
mod priority;
pub mod raw;
pub mod sound;
pub mod sound_file;
pub mod source;
pub mod stitch;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;

use crate::base::error::{Error, Result};
use crate::base::time::FrameRate;

/// Starts GStreamer. Again is harmless.
pub fn init() -> Result<()> {
    gst::init().map_err(|e| Error::unavailable("GStreamer does not start").with_source(e))?;
    log::hide_secrets();
    Ok(())
}

/// The time of the clock that pipelines run by, in nanoseconds.
pub fn clock_ns() -> u64 {
    gst::SystemClock::obtain().time().nseconds()
}

/// Makes the calling thread, and threads that it starts, yield to the picture.
pub fn background_thread() {
    priority::set_current_thread(priority::Importance::Background);
}

fn fraction(fps: FrameRate) -> gst::Fraction {
    gst::Fraction::new(fps.num() as i32, fps.den() as i32)
}

/// Locks; what a thread that panicked left behind is still in order in all that is locked so.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes an element, or says what to install.
fn make(factory: &str) -> Result<gst::Element> {
    gst::ElementFactory::make(factory).build().map_err(|_| missing(factory))
}

fn missing(factory: &str) -> Error {
    Error::unavailable(format!(
        "the GStreamer element {factory} is missing; install {} (vfaq doctor lists all that a \
         show needs)",
        check::package(factory)
    ))
}

/// Takes a pipeline down; for drop handlers and error paths, where nothing can be reported.
fn take_down(pipeline: &gst::Pipeline) {
    let _ = pipeline.set_state(gst::State::Null);
}

/// Waits until the pipeline has ended.
///
/// # Errors
/// What an element posted, or that it took longer than `limit`.
fn wait_for_end(pipeline: &gst::Pipeline, limit: Duration) -> Result<()> {
    let Some(bus) = pipeline.bus() else {
        return Err(Error::internal("a pipeline has no bus"));
    };
    let limit_ns = gst::ClockTime::from_nseconds(limit.as_nanos() as u64);
    let wanted = [gst::MessageType::Eos, gst::MessageType::Error];
    match bus.timed_pop_filtered(limit_ns, &wanted) {
        Some(message) => match posted_error(&message) {
            Some(error) => Err(error),
            None => Ok(()),
        },
        None => Err(Error::internal(format!("no end within {} s", limit.as_secs()))),
    }
}

/// The error in a bus message, if it is one.
fn posted_error(message: &gst::Message) -> Option<Error> {
    let gst::MessageView::Error(error) = message.view() else { return None };
    let element = error.src().map(|s| s.name().to_string()).unwrap_or_default();
    tracing::debug!(element, debug = ?error.debug(), "GStreamer reported an error");
    let text = error.error().to_string();
    let kind = if error.error().is::<gst::ResourceError>() {
        crate::base::error::Kind::Io
    } else {
        crate::base::error::Kind::Internal
    };
    Some(Error::new(kind, format!("{text} ({element})")))
}
