//! Clips in and out of files: the decoder and the encoder that every other room is handed.

use std::path::Path;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;

use super::priority::{self, Importance};
use super::{fraction, make, posted_error, take_down, wait_for_end};
use crate::base::error::{Error, Kind, Result};
use crate::base::time::FrameRate;
use crate::media::{ClipDecoder, ClipEncoder, DecodedClip, Frame, VideoFormat};

/// Longest wait for one picture of a clip.
const FRAME_PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(10);

/// A clip of more bytes than this, decoded, is refused: it would take the memory of the show.
const LARGEST_CLIP: usize = 1 << 30;

fn i420(width: Option<u32>, height: Option<u32>, fps: Option<FrameRate>) -> gst::Caps {
    let mut caps = gst_video::VideoCapsBuilder::new()
        .format(gst_video::VideoFormat::I420)
        .pixel_aspect_ratio(gst::Fraction::new(1, 1))
        .field("colorimetry", "bt709");
    if let (Some(width), Some(height)) = (width, height) {
        caps = caps.width(width as i32).height(height as i32);
    }
    if let Some(fps) = fps {
        caps = caps.framerate(fraction(fps));
    }
    caps.build()
}

/// Decodes whatever GStreamer can.
pub struct GstClipDecoder;

impl ClipDecoder for GstClipDecoder {
    fn decode(&self, path: &Path) -> Result<DecodedClip> {
        let named = |e: Error| e.context(format!("cannot decode {}", path.display()));
        std::fs::File::open(path)
            .map_err(|e| Error::io(format!("cannot open {}", path.display()), e))?;
        let pipeline = gst::Pipeline::new();
        let result = decode(&pipeline, path).map_err(named);
        take_down(&pipeline);
        result
    }
}

fn decode(pipeline: &gst::Pipeline, path: &Path) -> Result<DecodedClip> {
    priority::set_for(pipeline, Importance::Background);
    let source = make("filesrc")?;
    source.set_property("location", path.to_string_lossy().as_ref());
    let decode = make("decodebin")?;
    let convert = make("videoconvert")?;
    let sink = gst_app::AppSink::builder()
        .caps(&i420(None, None, None))
        .sync(false)
        .max_buffers(4)
        .build();
    pipeline.add_many([&source, &decode, &convert, sink.upcast_ref()]).map_err(Error::fault)?;
    source.link(&decode).map_err(Error::fault)?;
    convert.link(&sink).map_err(Error::fault)?;
    let sink_pad = convert.static_pad("sink").ok_or_else(|| Error::internal("no pad"))?;
    decode.connect_pad_added(move |_, pad| {
        let is_video = pad
            .current_caps()
            .is_some_and(|c| c.structure(0).is_some_and(|s| s.name().starts_with("video/")));
        if is_video && !sink_pad.is_linked() {
            let _ = pad.link(&sink_pad);
        }
    });
    pipeline.set_state(gst::State::Playing).map_err(Error::fault)?;

    let mut frames = Vec::new();
    let mut format = None;
    let mut bytes = 0;
    while let Some(sample) = sink.try_pull_sample(FRAME_PATIENCE) {
        let caps = sample.caps().ok_or_else(|| Error::internal("a picture without caps"))?;
        let info = gst_video::VideoInfo::from_caps(caps).map_err(Error::fault)?;
        let buffer = sample.buffer().ok_or_else(|| Error::internal("an empty sample"))?;
        let mapped = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &info)
            .map_err(Error::fault)?;
        let frame = copy(&mapped)?;
        bytes += frame.bytes();
        if bytes > LARGEST_CLIP {
            return Err(Error::new(
                Kind::Unavailable,
                "it is over 1 GiB of pictures; a cycle must be shorter",
            ));
        }
        format.get_or_insert_with(|| VideoFormat {
            width: info.width(),
            height: info.height(),
            fps: FrameRate::new(info.fps().numer().max(0) as u32, info.fps().denom().max(0) as u32)
                // Stills and streams of unknown rate: the generators' usual rate.
                .unwrap_or(FrameRate::whole(8)),
        });
        frames.push(frame);
    }
    // A damaged clip gives an error behind its last good picture: what is there counts.
    match format {
        Some(format) => {
            frames.retain(|f: &Frame| (f.width, f.height) == (format.width, format.height));
            Ok(DecodedClip { format, frames })
        }
        None => Err(pipeline
            .bus()
            .and_then(|b| b.pop_filtered(&[gst::MessageType::Error]))
            .and_then(|m| posted_error(&m))
            .unwrap_or_else(|| Error::new(Kind::Io, "it holds no picture"))),
    }
}

fn copy(mapped: &gst_video::VideoFrameRef<&gst::BufferRef>) -> Result<Frame> {
    let (width, height) = (mapped.width(), mapped.height());
    let plane = |index: u32, width: usize, height: usize| {
        let stride = mapped.plane_stride()[index as usize] as usize;
        let data = mapped.plane_data(index).map_err(Error::fault)?;
        let mut out = Vec::with_capacity(width * height);
        for row in data.chunks(stride).take(height) {
            out.extend_from_slice(&row[..width]);
        }
        Ok::<_, Error>(out)
    };
    let (w, h) = (width as usize, height as usize);
    let (cw, ch) = (w.div_ceil(2), h.div_ceil(2));
    Ok(Frame { width, height, y: plane(0, w, h)?, u: plane(1, cw, ch)?, v: plane(2, cw, ch)? })
}

/// Encodes with x264 at a quality that leaves room for encoding it again.
pub struct GstClipEncoder;

/// x264's constant quality: hardly visible loss.
const QUALITY: u32 = 17;

impl ClipEncoder for GstClipEncoder {
    fn encode(
        &self,
        frames: &mut dyn Iterator<Item = &Frame>,
        fps: FrameRate,
        path: &Path,
    ) -> Result<()> {
        let failed = |e| Error::io(format!("cannot write {}", path.display()), e);
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let temporary = tempfile::Builder::new()
            .prefix(".vfaq-")
            .suffix(".mp4")
            .tempfile_in(folder)
            .map_err(failed)?
            .into_temp_path();
        let pipeline = gst::Pipeline::new();
        let result = encode(&pipeline, frames, fps, &temporary);
        take_down(&pipeline);
        result.map_err(|e| e.context(format!("cannot encode {}", path.display())))?;
        crate::base::fsio::publish(temporary, path, true)
    }
}

fn encode(
    pipeline: &gst::Pipeline,
    frames: &mut dyn Iterator<Item = &Frame>,
    fps: FrameRate,
    path: &Path,
) -> Result<()> {
    priority::set_for(pipeline, Importance::Background);
    let mut frames = frames.peekable();
    let first = frames.peek().ok_or_else(|| Error::internal("a clip without a picture"))?;
    let (width, height) = (first.width, first.height);
    let source = gst_app::AppSrc::builder()
        .caps(&i420(Some(width), Some(height), Some(fps)))
        .format(gst::Format::Time)
        .block(true)
        .max_bytes(16 << 20)
        .build();
    let encoder = make("x264enc")?;
    encoder.set_property_from_str("pass", "qual");
    encoder.set_property("quantizer", QUALITY);
    // Otherwise it keeps to `bitrate`, 2 Mb/s, whatever the quality.
    encoder.set_property("vbv-buf-capacity", 0u32);
    encoder.set_property_from_str("speed-preset", "superfast");
    encoder.set_property("bframes", 0u32);
    // One core: the other belongs to the picture.
    encoder.set_property("threads", 1u32);
    let parse = make("h264parse")?;
    let mux = make("mp4mux")?;
    let sink = make("filesink")?;
    sink.set_property("location", path.to_string_lossy().as_ref());
    let chain = [source.upcast_ref(), &encoder, &parse, &mux, &sink];
    pipeline.add_many(chain).map_err(Error::fault)?;
    gst::Element::link_many(chain).map_err(Error::fault)?;
    pipeline.set_state(gst::State::Playing).map_err(Error::fault)?;

    let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, width, height)
        .build()
        .map_err(Error::fault)?;
    for (n, frame) in (0u64..).zip(frames) {
        let mut buffer = gst::Buffer::with_size(info.size()).map_err(Error::fault)?;
        {
            let buffer = buffer.make_mut();
            let at = |n| gst::ClockTime::from_nseconds(fps.pts_ns(n));
            buffer.set_pts(at(n));
            buffer.set_duration(at(n + 1) - at(n));
            let mut mapped = gst_video::VideoFrameRef::from_buffer_ref_writable(buffer, &info)
                .map_err(Error::fault)?;
            let strides = [0, 1, 2].map(|i| mapped.plane_stride()[i] as usize);
            let [y, u, v, _] = mapped.planes_data_mut();
            let chroma_width = frame.chroma_width();
            for (to, from, stride, width) in [
                (y, &frame.y, strides[0], frame.width as usize),
                (u, &frame.u, strides[1], chroma_width),
                (v, &frame.v, strides[2], chroma_width),
            ] {
                for (to, from) in to.chunks_mut(stride).zip(from.chunks(width)) {
                    to[..width].copy_from_slice(from);
                }
            }
        }
        source.push_buffer(buffer).map_err(|e| {
            let posted = pipeline
                .bus()
                .and_then(|b| b.pop_filtered(&[gst::MessageType::Error]))
                .and_then(|m| posted_error(&m));
            posted.unwrap_or_else(|| Error::fault(e))
        })?;
    }
    source.end_of_stream().map_err(Error::fault)?;
    wait_for_end(pipeline, Duration::from_secs(60))
}
