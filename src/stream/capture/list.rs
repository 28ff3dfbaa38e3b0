//! The sound devices of this machine, as they are written into the settings.

use gstreamer as gst;
use gstreamer::prelude::*;

/// A device or a program that gives sound.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// What to write for `live.audio.source`.
    pub source: String,
    /// As people know it.
    pub name: String,
}

/// Looks for devices; those of systems that are not there are not among them.
pub fn devices() -> Vec<Found> {
    let mut found = Vec::new();
    let monitor = gst::DeviceMonitor::new();
    let sound = gst::Caps::new_empty_simple("audio/x-raw");
    if monitor.add_filter(Some("Audio/Source"), Some(&sound)).is_some() && monitor.start().is_ok() {
        for device in monitor.devices() {
            let name = device.display_name().to_string();
            let Ok(element) = device.create_element(None) else { continue };
            let Some(kind) = element.factory().map(|factory| factory.name().to_string()) else {
                continue;
            };
            let kind = match kind.as_str() {
                "pulsesrc" => "pulse",
                "alsasrc" => "alsa",
                _ => continue,
            };
            let Some(device) = element.property::<Option<String>>("device") else { continue };
            found.push(Found { source: format!("{kind}:{device}"), name });
        }
        monitor.stop();
    }
    #[cfg(target_os = "linux")]
    found.extend(super::jack::programs().into_iter().map(|program| Found {
        source: format!("jack:{program}"),
        name: format!("{program} (JACK)"),
    }));
    found.sort();
    found.dedup();
    found
}
