//! When it flashes and when it beeps in a file, by the timestamps that a player goes by.

use std::path::Path;

use gstreamer::prelude::*;

use super::decode::{Decoding, What};
use super::{capture, make};
use crate::audio::{CHANNELS, SAMPLE_RATE};
use crate::base::error::{Error, Result};

/// Size of the pictures that are looked at.
const SIZE: (i32, i32) = (16, 16);
/// Mean luma above which a picture is a flash.
const BRIGHT: u32 = 128;
/// Level above which it beeps, and for how long it was silent before.
const LOUD: f32 = 0.15;
const SILENT_S: f64 = 0.1;

/// Seconds at which pictures turn bright.
///
/// # Errors
/// Names the file.
pub fn flashes(path: &Path) -> Result<Vec<f64>> {
    let (width, height) = SIZE;
    let caps = gstreamer::Caps::builder("video/x-raw")
        .field("format", "GRAY8")
        .field("width", width)
        .field("height", height)
        .build();
    let mut decoding = Decoding::open(path, What::Pictures, &caps, |pipeline, sink| {
        let convert = make("videoconvert")?;
        let scale = make("videoscale")?;
        pipeline.add_many([&convert, &scale]).map_err(Error::fault)?;
        gstreamer::Element::link_many([&convert, &scale, sink]).map_err(Error::fault)?;
        convert.static_pad("sink").ok_or_else(|| Error::internal("no pad"))
    })?;
    let (mut found, mut was_bright) = (Vec::new(), false);
    while let Some(sample) = decoding.next(&|| false)? {
        let Some(map) = sample.buffer().and_then(|buffer| buffer.map_readable().ok()) else {
            continue;
        };
        let sum: u32 = map.iter().map(|luma| u32::from(*luma)).sum();
        let is_bright = sum / map.len().max(1) as u32 > BRIGHT;
        if is_bright
            && !was_bright
            && let Some(at_ns) = Decoding::time_ns(&sample)
        {
            found.push(at_ns as f64 / 1e9);
        }
        was_bright = is_bright;
    }
    Ok(found)
}

/// Seconds at which beeps begin.
///
/// # Errors
/// Names the file.
pub fn beeps(path: &Path) -> Result<Vec<f64>> {
    let mut decoding = capture::open_file(path)?;
    let mut found = Vec::new();
    let (mut samples, mut loud_at) = (Vec::new(), f64::NEG_INFINITY);
    while let Some(sample) = decoding.next(&|| false)? {
        // What is cut off by an edit list is not heard.
        let Some(begin_ns) = Decoding::time_ns(&sample) else { continue };
        samples.clear();
        capture::append(&sample, &mut samples);
        for (i, frame) in samples.chunks_exact(CHANNELS).enumerate() {
            if frame[0].abs() > LOUD {
                let at = begin_ns as f64 / 1e9 + i as f64 / f64::from(SAMPLE_RATE);
                if at - loud_at > SILENT_S {
                    found.push(at);
                }
                loud_at = at;
            }
        }
    }
    Ok(found)
}
