//! Mends what mp4mux leaves out of a file in fragments: the durations of the last samples of a
//! fragment, wherever these follow singly after one of the other track. Such samples have the
//! track's default, which it writes as 0; so it is set to what every sample lasts here. (GStreamer
//! 1.22 to 1.26: `atom_traf_add_samples` gives up the fragment's own default, and marks only the
//! runs that were there before.)
//!
//! Without it two or three pictures at the end of a fragment have one time, until the file is
//! finished.

use std::ops::Range;

use gstreamer as gst;
use gstreamer::prelude::*;

use crate::stream::fanout::StreamCaps;

/// Samples of an AAC access unit.
const AAC_FRAME: u64 = 1024;

/// Has `mux` write defaults: those of the tracks in the order of their pads, picture before sound.
pub fn write_defaults(mux: &gst::Element, caps: &StreamCaps) {
    let Some(pad) = mux.static_pad("src") else { return };
    let seconds = [picture_seconds(&caps.video), sound_seconds(&caps.audio)];
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(buffer) = info.buffer_mut()
            && is_index(buffer)
            && let Ok(mut bytes) = buffer.make_mut().map_writable()
        {
            set_defaults(&mut bytes, seconds);
        }
        gst::PadProbeReturn::Ok
    });
}

/// Numerator and denominator of the seconds that a picture lasts.
fn picture_seconds(caps: &gst::Caps) -> (u64, u64) {
    let rate = caps.structure(0).and_then(|s| s.get::<gst::Fraction>("framerate").ok());
    rate.map_or((0, 1), |rate| (rate.denom().max(0) as u64, rate.numer().max(1) as u64))
}

fn sound_seconds(caps: &gst::Caps) -> (u64, u64) {
    let rate = caps.structure(0).and_then(|s| s.get::<i32>("rate").ok());
    rate.map_or((0, 1), |rate| (AAC_FRAME, rate.max(1) as u64))
}

fn is_index(buffer: &gst::BufferRef) -> bool {
    let mut head = [0; 8];
    buffer.size() >= head.len()
        && buffer.copy_to_slice(0, &mut head).is_ok()
        && head[4..] == *b"moov"
}

/// Sets the default durations in a `moov` with its header; `seconds` are those of tracks 1 and 2.
fn set_defaults(bytes: &mut [u8], seconds: [(u64, u64); 2]) {
    let Some(moov) = boxes(bytes, 0..bytes.len()).next() else { return };
    let inside = |kind: &[u8; 4], within: &(_, Range<usize>)| {
        boxes(bytes, within.1.clone()).filter(|(found, _)| found == kind).collect::<Vec<_>>()
    };
    let timescales: Vec<Option<u64>> = inside(b"trak", &moov)
        .iter()
        .map(|trak| {
            let media = inside(b"mdia", trak).into_iter().next()?;
            let (_, header) = inside(b"mdhd", &media).into_iter().next()?;
            let long = bytes.get(header.start) == Some(&1);
            number(bytes, header.start + if long { 20 } else { 12 }).map(u64::from)
        })
        .collect();
    let extends: Vec<_> =
        inside(b"mvex", &moov).iter().flat_map(|mvex| inside(b"trex", mvex)).collect();
    for (_, trex) in extends {
        let (Some(track), Some(0)) =
            (number(bytes, trex.start + 4), number(bytes, trex.start + 12))
        else {
            continue;
        };
        let place = (track as usize).wrapping_sub(1);
        if let (Some(Some(timescale)), Some((num, den))) =
            (timescales.get(place), seconds.get(place))
        {
            let duration = (timescale * num / den) as u32;
            bytes[trex.start + 12..][..4].copy_from_slice(&duration.to_be_bytes());
        }
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The boxes of ISO 14496-12 in a range: kind, and where the content lies.
fn boxes(bytes: &[u8], within: Range<usize>) -> impl Iterator<Item = ([u8; 4], Range<usize>)> {
    let mut at = within.start;
    std::iter::from_fn(move || {
        let size = number(bytes, at)? as usize;
        let kind = *bytes.get(at + 4..within.end)?.first_chunk()?;
        let end = at.checked_add(size).filter(|end| size >= 8 && *end <= within.end)?;
        let content = at + 8..end;
        at = end;
        Some((kind, content))
    })
}
