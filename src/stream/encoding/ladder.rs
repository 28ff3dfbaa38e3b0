//! The H.264 encoders in the order of preference: how each is set, and which of them works here.
//!
//! All make no B frames: at these speeds they cost more than they bring, and without them decoding
//! order is presentation order. A setting is made only where the element has that property, since
//! GStreamer's releases differ; what stands in [`FAMILIES`] comes from the elements' documentation,
//! which each entry links.

use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;
use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;

use super::EncodeSettings;
use super::instance::{Event, Input, Instance};
use crate::base::error::{Error, Result};
use crate::config::Encoder;
use crate::stream::{clock_ns, make, raw};

/// The preset of x264 unless another is asked for: the best that leaves two cores room.
pub(in crate::stream) const X264_PRESET: &str = "superfast";

/// What x264 leaves out while the machine is too busy: all that `ultrafast` leaves out, but for what
/// stands in the parameter sets, so that the stream goes on with the same ones.
const LEAN_PRESET: &str = "ultrafast";
const LEAN_OPTIONS: &str = "cabac=1:8x8dct=1:weightp=1";

/// An encoder under its name in the configuration, and all that is known of it.
pub struct Family {
    pub encoder: Encoder,
    /// Elements that drive it, the best first.
    pub factories: &'static [&'static str],
    /// The package that has them.
    pub package: &'static str,
    pub documentation: &'static str,
    settings: &'static [(&'static str, Set)],
    bitrate: Bitrate,
}

/// The unit of the property `bitrate`.
#[derive(Clone, Copy)]
enum Bitrate {
    Kbps,
    Bps,
}

/// What a property is set to.
enum Set {
    /// The first of these that this element knows.
    To(&'static [&'static str]),
    /// Frames from one key frame to the next.
    KeyInterval,
    /// x264's speed preset.
    Preset,
}

use Set::{KeyInterval, Preset, To};

/// All encoders.
pub const FAMILIES: &[Family] = &[
    Family {
        encoder: Encoder::Nvenc,
        factories: &["nvh264enc", "nvautogpuh264enc", "nvcudah264enc"],
        package: "gstreamer1.0-plugins-bad (and NVIDIA's driver)",
        documentation: "https://gstreamer.freedesktop.org/documentation/nvcodec/nvh264enc.html",
        settings: &[
            ("preset", To(&["p4", "low-latency-hq"])),
            ("tune", To(&["low-latency"])),
            ("rc-mode", To(&["cbr"])),
            ("zerolatency", To(&["true"])),
            ("bframes", To(&["0"])),
            ("b-frames", To(&["0"])),
            ("gop-size", KeyInterval),
            ("aud", To(&["true"])),
            ("repeat-sequence-header", To(&["true"])),
        ],
        bitrate: Bitrate::Kbps,
    },
    Family {
        encoder: Encoder::Vaapi,
        factories: &["vah264enc", "vah264lpenc", "vaapih264enc"],
        package: "gstreamer1.0-plugins-bad (and the GPU's VA driver)",
        documentation: "https://gstreamer.freedesktop.org/documentation/va/vah264enc.html and \
                        https://gstreamer.freedesktop.org/documentation/vaapi/vaapih264enc.html",
        settings: &[
            ("rate-control", To(&["cbr"])),
            ("b-frames", To(&["0"])),
            ("max-bframes", To(&["0"])),
            ("key-int-max", KeyInterval),
            ("keyframe-period", KeyInterval),
            // 1 is the best picture, 7 the quickest.
            ("target-usage", To(&["4"])),
            ("quality-level", To(&["4"])),
            ("aud", To(&["true"])),
        ],
        bitrate: Bitrate::Kbps,
    },
    Family {
        encoder: Encoder::X264,
        factories: &["x264enc"],
        package: "gstreamer1.0-plugins-ugly",
        documentation: "https://gstreamer.freedesktop.org/documentation/x264/index.html",
        settings: &[
            ("speed-preset", Preset),
            ("bframes", To(&["0"])),
            ("key-int-max", KeyInterval),
            ("vbv-buf-capacity", To(&["1000"])),
            ("aud", To(&["true"])),
        ],
        bitrate: Bitrate::Kbps,
    },
    Family {
        encoder: Encoder::OpenH264,
        factories: &["openh264enc"],
        package: "gstreamer1.0-plugins-bad",
        documentation: "https://gstreamer.freedesktop.org/documentation/openh264/openh264enc.html",
        settings: &[
            ("rate-control", To(&["bitrate"])),
            ("gop-size", KeyInterval),
            ("complexity", To(&["low"])),
            ("usage-type", To(&["camera"])),
        ],
        bitrate: Bitrate::Bps,
    },
];

/// What is known of an encoder.
pub fn family(encoder: Encoder) -> &'static Family {
    // Every encoder stands in the table; a test holds it to that.
    FAMILIES.iter().find(|family| family.encoder == encoder).unwrap_or(&FAMILIES[0])
}

/// One element of the ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rung {
    pub encoder: Encoder,
    /// The element's name in GStreamer.
    pub factory: &'static str,
}

impl Rung {
    /// Whether it may want another raw format than I420.
    pub(in crate::stream) fn takes_other_formats(self) -> bool {
        matches!(self.encoder, Encoder::Nvenc | Encoder::Vaapi)
    }
}

/// The elements for an encoder that are installed, the best first.
pub fn installed(encoder: Encoder) -> Vec<Rung> {
    let factories = family(encoder).factories.iter().copied();
    factories
        .filter(|factory| gst::ElementFactory::find(factory).is_some())
        .map(|factory| Rung { encoder, factory })
        .collect()
}

/// The encoders that a show may use.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The first is the one that was tried and works; the others are installed and take over in
    /// this order.
    pub(super) ladder: Vec<Rung>,
    /// What was tried, in words.
    pub why: String,
}

impl Choice {
    /// The element that is used first.
    pub fn factory(&self) -> &'static str {
        self.ladder.first().map_or("", |rung| rung.factory)
    }
}

/// Tries the encoders of `preference` in order, at the real size, and takes the first that works.
///
/// # Errors
/// None of them works; the text says what is wrong with each.
pub fn choose(preference: &[Encoder], settings: &EncodeSettings) -> Result<Choice> {
    let mut tried = Vec::new();
    let mut candidates = Vec::new();
    for &encoder in preference {
        let installed = installed(encoder);
        if installed.is_empty() {
            candidates.push((encoder, None));
        }
        candidates.extend(installed.into_iter().map(|rung| (encoder, Some(rung))));
    }
    for (at, &(encoder, rung)) in candidates.iter().enumerate() {
        let Some(rung) = rung else {
            tried.push(format!("{}: not installed", family(encoder).factories[0]));
            continue;
        };
        match trial(rung, settings, QUICK) {
            Ok(result) => {
                let speed = result.fps.map_or(String::new(), |fps| format!(", trial {fps:.0} fps"));
                tried.push(format!("{}: chosen{speed}", rung.factory));
                let ladder = candidates[at..].iter().filter_map(|(_, rung)| *rung).collect();
                return Ok(Choice { ladder, why: tried.join("; ") });
            }
            Err(error) => tried.push(error.to_string()),
        }
    }
    Err(Error::unavailable(format!(
        "live.encoder_preference: none of these encoders works: {}; install {} (x264enc) and keep \
         libx264 in the list",
        tried.join("; "),
        family(Encoder::X264).package
    )))
}

/// Makes and sets an encoder.
pub(super) fn make_encoder(rung: Rung, settings: &EncodeSettings) -> Result<gst::Element> {
    let element = make(rung.factory)?;
    for (property, to) in family(rung.encoder).settings {
        match to {
            To(values) => {
                let known = values.iter().any(|value| set(&element, property, value));
                if !known && element.has_property(property) {
                    tracing::debug!("{}: {property} takes none of {values:?}", rung.factory);
                }
            }
            KeyInterval => {
                set(&element, property, &settings.key_interval().to_string());
            }
            Preset if settings.lean => {
                set(&element, property, LEAN_PRESET);
                set(&element, "option-string", LEAN_OPTIONS);
            }
            Preset => {
                let preset = settings.preset.as_deref().unwrap_or(X264_PRESET);
                if !set(&element, property, preset) {
                    return Err(Error::usage(format!(
                        "{} has no preset '{preset}'; it has ultrafast, superfast, veryfast, \
                         faster, fast, medium and slower ones",
                        rung.factory
                    )));
                }
            }
        }
    }
    set(&element, "bitrate", &bitrate(rung, settings.bitrate_kbps));
    Ok(element)
}

/// What holds the encoder to the profile that the show wants of it, if it can make that one: High,
/// but for two that lack the tools for it.
pub(super) fn profile_caps(
    element: &gst::Element,
    rung: Rung,
    settings: &EncodeSettings,
) -> Option<gst::Caps> {
    let profile = match rung.encoder {
        Encoder::OpenH264 => "constrained-baseline",
        // It leaves out what makes High.
        Encoder::X264 if settings.preset.as_deref() == Some("ultrafast") => return None,
        Encoder::X264 | Encoder::Nvenc | Encoder::Vaapi => "high",
    };
    let caps = gst::Caps::builder("video/x-h264").field("profile", profile).build();
    let can = element.static_pad("src")?.query_caps(None).can_intersect(&caps);
    can.then_some(caps)
}

/// Whether it knows how to take fewer pains: one that runs on the processor, with the preset that the
/// show chose for it.
pub(super) fn can_be_lean(rung: Rung, settings: &EncodeSettings) -> bool {
    rung.encoder == Encoder::X264 && settings.preset.is_none()
}

fn bitrate(rung: Rung, kbps: u32) -> String {
    match family(rung.encoder).bitrate {
        Bitrate::Kbps => kbps.to_string(),
        Bitrate::Bps => (u64::from(kbps) * 1000).to_string(),
    }
}

/// Changes the bitrate of an encoder that runs; false: this one cannot.
pub(super) fn set_bitrate(element: &gst::Element, rung: Rung, kbps: u32) -> bool {
    let live = element
        .find_property("bitrate")
        .is_some_and(|property| property.flags().contains(gst::PARAM_FLAG_MUTABLE_PLAYING));
    live && set(element, "bitrate", &bitrate(rung, kbps))
}

/// Sets a property from text if the element has it and knows the value.
pub(in crate::stream) fn set(element: &gst::Element, property: &str, value: &str) -> bool {
    let Some(spec) = element.find_property(property) else { return false };
    let Ok(value) = glib::Value::deserialize_with_pspec(value, &spec) else { return false };
    element.set_property_from_value(property, &value);
    true
}

/// How long a trial may go on, and when it has seen enough.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Until the first pictures are out.
    pub open: Duration,
    /// From the first picture on.
    pub measure: Duration,
    pub pictures: u32,
}

/// At the start of a show: whether it works at all, with a glance at its speed.
const QUICK: Patience =
    Patience { open: Duration::from_secs(3), measure: Duration::from_millis(150), pictures: 16 };

/// Pictures that show that an encoder works.
const WORKS: u32 = 3;
/// Pictures from which on a speed can be told: frame threads give the first ones at once.
const TELLS_SPEED: u32 = 10;
/// Pictures that are made for a trial and shown in turn.
const TRIAL_PICTURES: u64 = 6;

/// What a trial encode measured.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    /// Pictures a second, if enough of them were seen.
    pub fps: Option<f64>,
}

/// Encodes moving pictures at the real size.
///
/// # Errors
/// What the encoder said, or that too few pictures came out of it in time.
pub fn trial(rung: Rung, settings: &EncodeSettings, patience: Patience) -> Result<Trial> {
    let instance = Instance::start(rung, settings)?;
    let result = run_trial(&instance, settings, patience);
    // An encoder that hangs is left to its thread.
    instance.close(Duration::from_millis(500));
    result.map_err(|e| e.context(rung.factory))
}

fn run_trial(instance: &Instance, settings: &EncodeSettings, patience: Patience) -> Result<Trial> {
    let pictures = trial_pictures(settings)?;
    let mut input: Option<Input> = None;
    let (mut pushed, mut took, mut out) = (0u64, 0u64, 0u32);
    let (mut first_ns, mut last_ns) = (0, 0);
    let began_ns = clock_ns();
    let mut until_ns = began_ns + patience.open.as_nanos() as u64;
    while out < WORKS || (out < patience.pictures && clock_ns() < until_ns) {
        if let Some(input) = &input {
            // One in hand, so that it never waits for us.
            while pushed < took + 2 {
                let mut picture = pictures[(pushed % TRIAL_PICTURES) as usize].copy();
                let pts = gst::ClockTime::from_nseconds(settings.fps.pts_ns(pushed));
                picture.make_mut().set_pts(pts);
                input.push(picture);
                pushed += 1;
            }
        }
        let left = Duration::from_nanos(until_ns.saturating_sub(clock_ns()));
        match instance.events.recv_timeout(left) {
            Ok(Event::Opened(opened)) => input = Some(opened),
            Ok(Event::Took { .. }) => took += 1,
            Ok(Event::Out { at_ns, .. }) => {
                if out == 0 {
                    first_ns = at_ns;
                    let measure_ns = at_ns + patience.measure.as_nanos() as u64;
                    until_ns = until_ns.max(measure_ns);
                }
                out += 1;
                last_ns = at_ns;
                if out == WORKS {
                    until_ns = first_ns + patience.measure.as_nanos() as u64;
                }
            }
            Ok(Event::Failed(error)) => return Err(error),
            Ok(Event::Ended) => return Err(Error::unavailable("it ended by itself")),
            Err(RecvTimeoutError::Timeout) if out >= WORKS => break,
            Err(RecvTimeoutError::Timeout) => {
                let seconds = (clock_ns() - began_ns) as f64 / 1e9;
                let text = format!("it gave {out} pictures in {seconds:.1} s");
                return Err(Error::unavailable(text));
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error::unavailable("it ended by itself"));
            }
        }
    }
    let seconds = last_ns.saturating_sub(first_ns) as f64 / 1e9;
    let fps = (out >= TELLS_SPEED && seconds > 0.0).then(|| f64::from(out - 1) / seconds);
    Ok(Trial { fps })
}

/// Bars that wander, and a field of fine detail.
fn trial_pictures(settings: &EncodeSettings) -> Result<Vec<gst::Buffer>> {
    let (width, height) = (settings.canvas.0 as usize, settings.canvas.1 as usize);
    let size = raw::video_info(settings.canvas, settings.fps)?.size();
    (0..TRIAL_PICTURES as usize)
        .map(|n| {
            let mut bytes = vec![128u8; size];
            let bar = (width / 7).max(1);
            for (y, row) in bytes.chunks_mut(width).take(height).enumerate() {
                for (x, luma) in row.iter_mut().enumerate() {
                    let fine = y > height * 3 / 4 && x > width / 2;
                    let x = x + n * 4;
                    *luma = if fine {
                        ((x * 7) ^ (y * 13)) as u8 / 2 + 64
                    } else {
                        (16 + (x / bar % 7) * 30) as u8
                    };
                }
            }
            let mut buffer = gst::Buffer::from_slice(bytes);
            if let Some(buffer) = buffer.get_mut() {
                buffer.set_duration(gst::ClockTime::from_nseconds(settings.fps.pts_ns(1)));
            }
            Ok(buffer)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoder_stands_in_the_table() {
        for encoder in [Encoder::Nvenc, Encoder::Vaapi, Encoder::X264, Encoder::OpenH264] {
            let family = family(encoder);
            assert_eq!(family.encoder, encoder);
            assert!(family.documentation.starts_with("https://"));
        }
    }
}
