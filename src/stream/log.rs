//! What GStreamer and GLib log themselves, without the secrets in it.
//!
//! Holds: addresses with stream keys go through elements that know nothing of secrets and log all
//! that they are given, so their own way out is closed and this one opened. Dumps of memory are left
//! out, as a secret in them has no spelling. What else `GST_DEBUG` and `GST_DEBUG_FILE` ask for stays
//! as it is, without colours.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::{Mutex, Once, PoisonError};

use gstreamer as gst;
use gstreamer::glib;

use crate::base::redact::hide;

/// To be called after GStreamer was started. Again is harmless.
pub fn hide_secrets() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Nobody else writes what GLib has to say; GStreamer's parts use it for their own faults.
        glib::log_set_default_handler(|domain, level, message| {
            let domain = domain.unwrap_or("GLib");
            match level {
                glib::LogLevel::Error | glib::LogLevel::Critical => {
                    tracing::error!("{domain}: {message}");
                }
                glib::LogLevel::Warning => tracing::warn!("{domain}: {message}"),
                _ => tracing::debug!("{domain}: {message}"),
            }
        });
        gst::log::remove_default_log_function();
        let out = Mutex::new(debug_output());
        gst::log::add_log_function(
            move |category, level, file, function, line, object, message| {
                // Bytes in columns: what is in them nobody can hide.
                if level == gst::DebugLevel::Memdump {
                    return;
                }
                let text = category.get_line(level, file, function, line, object, message);
                let Some(text) = text else { return };
                let mut out = out.lock().unwrap_or_else(PoisonError::into_inner);
                // There is nobody to tell that a log cannot be written.
                let _ = writeln!(out, "{}", hide(text.trim_end()));
            },
        );
    });
}

/// Where `GST_DEBUG_FILE` says. GStreamer has made and emptied that file already.
fn debug_output() -> Box<dyn Write + Send> {
    match std::env::var("GST_DEBUG_FILE").as_deref() {
        Ok("-") => Box::new(io::stdout()),
        Ok(name) => opened(name).map_or_else(|_| Box::new(io::stderr()) as _, |f| Box::new(f) as _),
        Err(_) => Box::new(io::stderr()),
    }
}

/// GStreamer fills in the process's number, and a number by chance that only it knows.
fn opened(name: &str) -> io::Result<File> {
    let name = name.replace("%p", &std::process::id().to_string());
    OpenOptions::new().create(true).append(true).open(name)
}
