//! The pipeline of each kind of live source.
//!
//! ```text
//! source (! decodebin) ! audioconvert ! audioresample ! appsink
//! ```
//!
//! Holds: what comes out is as [`raw::audio_caps`] says, whatever goes in.

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use crate::base::error::{Error, Result};
use crate::config::AudioSource;
use crate::stream::priority::{self, Importance};
use crate::stream::{make, posted_error, raw, take_down};

/// Blocks that may wait to be taken; a card's are 10 ms long.
const BLOCKS: u32 = 200;
/// What a device is asked for.
const PERIOD_US: i64 = 10_000;
/// How long a device may take to open, where that is only tried.
const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(3);

/// An open source.
pub struct Open {
    pub pipeline: gst::Pipeline,
    pub sink: gst_app::AppSink,
    /// What it gives is heard so much later: what comes over a network comes unevenly.
    pub cushion_s: f64,
}

impl Drop for Open {
    fn drop(&mut self) {
        take_down(&self.pipeline);
    }
}

impl Open {
    /// What has gone wrong since the last call.
    pub fn failure(&self) -> Option<String> {
        let bus = self.pipeline.bus()?;
        while let Some(message) = bus.pop() {
            if let gst::MessageView::Warning(warning) = message.view() {
                tracing::debug!("sound: {} ({:?})", warning.error(), warning.debug());
            }
            if let Some(error) = posted_error(&message) {
                return Some(error.to_string());
            }
        }
        None
    }
}

/// Adds what makes any sound ours before `sink`; returns where it begins.
pub fn converting(pipeline: &gst::Pipeline, sink: &gst::Element) -> Result<gst::Pad> {
    let layout = make("capsfilter")?;
    let convert = make("audioconvert")?;
    let resample = make("audioresample")?;
    pipeline.add_many([&layout, &convert, &resample]).map_err(Error::fault)?;
    gst::Element::link_many([&layout, &convert, &resample, sink]).map_err(Error::fault)?;
    let begin = layout.static_pad("sink").ok_or_else(|| Error::internal("no pad"))?;
    let mixing = convert;
    // Channels that say nothing of where they stand cannot be mixed down: the first two are taken.
    begin.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        if let Some(event) = info.event()
            && let gst::EventView::Caps(caps) = event.view()
        {
            take_first_two(&mixing, caps.caps());
        }
        gst::PadProbeReturn::Ok
    });
    Ok(begin)
}

/// Sets a mixing of the first two of several channels without places.
fn take_first_two(convert: &gst::Element, caps: &gst::CapsRef) {
    let Some(format) = caps.structure(0) else { return };
    let channels = format.get::<i32>("channels").unwrap_or(2);
    let has_places = format.get::<gst::Bitmask>("channel-mask").is_ok_and(|mask| mask.0 != 0);
    if channels <= 2 || has_places {
        return;
    }
    let row = |one: i32| {
        gst::Array::new((0..channels).map(|channel| if channel == one { 1f32 } else { 0f32 }))
    };
    convert.set_property("mix-matrix", gst::Array::new([row(0), row(1)]));
}

/// Builds the pipeline of a live source, and starts it. `jack_name` is what JACK calls it.
///
/// # Errors
/// A missing element, or what the source says.
pub fn open(source: &AudioSource, jack_name: &str) -> Result<Open> {
    let pipeline = gst::Pipeline::new();
    priority::set_for(&pipeline, Importance::Picture);
    // Its clock must not be the card's: what is measured is how that drifts.
    pipeline.use_clock(Some(&gst::SystemClock::obtain()));
    let sink = gst_app::AppSink::builder()
        .caps(&raw::audio_caps())
        .sync(false)
        .enable_last_sample(false)
        .max_buffers(BLOCKS)
        .drop(true)
        .build();
    pipeline.add(&sink).map_err(Error::fault)?;
    let begin = converting(&pipeline, sink.upcast_ref())?;
    let mut cushion_s = 0.0;
    match source {
        AudioSource::Pulse(device) => {
            let element = card("pulsesrc", &pipeline, &begin)?;
            element.set_property("client-name", "Visual FaQtory");
            if let Some(device) = device {
                element.set_property("device", device);
            }
        }
        AudioSource::Alsa(device) => {
            let element = card("alsasrc", &pipeline, &begin)?;
            if let Some(device) = device {
                element.set_property("device", device);
            }
        }
        AudioSource::Jack(_) => {
            let element = card("jackaudiosrc", &pipeline, &begin)?;
            element.set_property("client-name", jack_name);
            // Who is connected is looked after apart from it.
            element.set_property_from_str("connect", "none");
        }
        AudioSource::Url(url) => {
            cushion_s = 0.3;
            let element = match url.starts_with("srt") {
                true => {
                    let element = make("srtsrc")?;
                    element.set_property("uri", url);
                    element
                }
                false => {
                    let element = make("rtmp2src")?;
                    element.set_property("location", url);
                    element
                }
            };
            decoded(&pipeline, &element, begin)?;
        }
        AudioSource::Ndi(name) => {
            cushion_s = 0.1;
            gstndi::plugin_register_static().map_err(Error::fault)?;
            let element = make("ndisrc")?;
            element.set_property("ndi-name", name);
            let demux = make("ndisrcdemux")?;
            pipeline.add_many([&element, &demux]).map_err(Error::fault)?;
            element.link(&demux).map_err(Error::fault)?;
            take_sound_of(&demux, &pipeline, begin);
        }
        AudioSource::Silence | AudioSource::Tone | AudioSource::File { .. } => {
            return Err(Error::internal("no live source"));
        }
    }
    let open = Open { pipeline, sink, cushion_s };
    match open.pipeline.set_state(gst::State::Playing) {
        Ok(_) => Ok(open),
        Err(e) => Err(match open.failure() {
            Some(said) => Error::unavailable(said),
            None => Error::unavailable("it does not open").with_source(e),
        }),
    }
}

/// A sound card's source, linked.
fn card(factory: &str, pipeline: &gst::Pipeline, begin: &gst::Pad) -> Result<gst::Element> {
    let element = make(factory)?;
    // The same each time, so that the same trouble reads the same.
    element.set_property("name", factory);
    element.set_property("provide-clock", false);
    element.set_property_from_str("slave-method", "none");
    element.set_property("latency-time", PERIOD_US);
    pipeline.add(&element).map_err(Error::fault)?;
    let end = element.static_pad("src").ok_or_else(|| Error::internal("no pad"))?;
    end.link(begin).map_err(Error::fault)?;
    Ok(element)
}

/// A source whose bytes are decoded.
fn decoded(pipeline: &gst::Pipeline, source: &gst::Element, begin: gst::Pad) -> Result<()> {
    let decode = make("decodebin")?;
    pipeline.add_many([source, &decode]).map_err(Error::fault)?;
    source.link(&decode).map_err(Error::fault)?;
    decode.connect("autoplug-continue", false, |values| {
        let caps = values.get(2)?.get::<gst::Caps>().ok()?;
        // Pictures are thrown away as they are.
        let is_picture = caps.structure(0).is_some_and(|s| s.name().starts_with("video/x-h26"));
        Some((!is_picture).to_value())
    });
    take_sound_of(&decode, pipeline, begin);
    Ok(())
}

/// Links the first sound that an element turns out to have; all else is thrown away.
fn take_sound_of(element: &gst::Element, pipeline: &gst::Pipeline, begin: gst::Pad) {
    let pipeline = pipeline.downgrade();
    element.connect_pad_added(move |_, pad| {
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let is_sound = caps.structure(0).is_some_and(|s| s.name().starts_with("audio/"));
        if is_sound && !begin.is_linked() {
            let _ = pad.link(&begin);
            return;
        }
        let Some(pipeline) = pipeline.upgrade() else { return };
        let Ok(waste) = make("fakesink") else { return };
        waste.set_property("sync", false);
        waste.set_property("async", false);
        if pipeline.add(&waste).is_ok()
            && waste.sync_state_with_parent().is_ok()
            && let Some(sink) = waste.static_pad("sink")
        {
            let _ = pad.link(&sink);
        }
    });
}

/// Whether a source can be opened at this moment.
///
/// # Errors
/// What it says.
pub fn check(source: &AudioSource) -> Result<()> {
    #[cfg(target_os = "linux")]
    if let AudioSource::Jack(pattern) = source {
        super::jack::check(pattern.as_deref())?;
    }
    let open = open(source, &format!("vfaq-check-{}", std::process::id()))?;
    if open.sink.try_pull_sample(PATIENCE).is_some() {
        return Ok(());
    }
    Err(Error::unavailable(
        open.failure()
            .unwrap_or_else(|| format!("no sound has come from it for {} s", PATIENCE.seconds())),
    ))
}
