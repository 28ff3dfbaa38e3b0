//! The end of the pipeline: an encoder, a muxer and a file, or pictures as they are.

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::{
    Container, Teller, X264Preset, encode, encoded_queue, picture_caps, picture_queue, y4m,
};
use crate::base::error::{Error, Result};
use crate::base::time::FrameRate;
use crate::stream::encoding::ladder::Rung;
use crate::stream::{lock, make};

pub struct Encoded {
    pub path: PathBuf,
    pub container: Container,
    pub encoder: Rung,
    pub crf: u32,
    pub preset: X264Preset,
    pub fps: FrameRate,
}

/// Elements of this end have names that begin so.
const NAME: &str = "output-";

/// Whether an element of that name belongs to this end.
pub fn is_output(name: &str) -> bool {
    name.starts_with(NAME)
}

/// Adds encoder, muxer and file behind `from`; returns the muxer.
pub fn encode(
    pipeline: &gst::Pipeline,
    from: &gst::Element,
    to: Encoded,
) -> Result<(gst::Element, Container)> {
    let encoder = encode::make_encoder(to.encoder, to.crf, to.preset, to.fps)?;
    let mut chain = vec![picture_queue()?];
    if to.encoder.takes_other_formats() {
        chain.push(make("videoconvert")?);
    }
    chain.extend([encoder, make("h264parse")?, encoded_queue()?]);
    let mux = make(match to.container {
        Container::Mp4 => "mp4mux",
        Container::Mkv => "matroskamux",
    })?;
    let sink = make("filesink")?;
    sink.set_property("location", to.path.to_string_lossy().as_ref());
    chain.extend([mux.clone(), sink]);
    for (n, element) in chain.iter().enumerate() {
        // In a pipeline that has none of them yet.
        element.set_property("name", format!("{NAME}{n}"));
    }
    pipeline.add_many(&chain).map_err(Error::fault)?;
    from.link(&chain[0]).map_err(Error::fault)?;
    gst::Element::link_many(&chain).map_err(Error::fault)?;
    Ok((mux, to.container))
}

/// Pictures that are written as they come.
pub struct Raw(Arc<Mutex<BufWriter<Box<dyn Write + Send>>>>);

impl Raw {
    /// Writes what waits.
    pub fn flush(&self) -> Result<()> {
        let mut out = lock(&self.0);
        out.flush().map_err(failed)
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::io("writing failed", error)
}

/// Adds a writer of YUV4MPEG2 behind `from`.
pub fn write_raw(
    pipeline: &gst::Pipeline,
    from: &gst::Element,
    out: Box<dyn Write + Send>,
    teller: &Teller,
) -> Result<Raw> {
    let sink = gst_app::AppSink::builder()
        .caps(&picture_caps())
        .sync(false)
        .enable_last_sample(false)
        .max_buffers(1)
        .build();
    let out = Arc::new(Mutex::new(BufWriter::new(out)));
    let (writer, teller) = (out.clone(), teller.clone());
    let mut info: Option<gst_video::VideoInfo> = None;
    sink.set_callbacks(
        gst_app::AppSinkCallbacks::builder()
            .new_sample(move |sink| {
                let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                let mut out = lock(&writer);
                write_sample(&sample, &mut info, &mut *out).map_err(|error| {
                    teller.unwritten(error);
                    gst::FlowError::Error
                })?;
                Ok(gst::FlowSuccess::Ok)
            })
            .build(),
    );
    pipeline.add(&sink).map_err(Error::fault)?;
    from.link(&sink).map_err(Error::fault)?;
    Ok(Raw(out))
}

fn write_sample(
    sample: &gst::Sample,
    info: &mut Option<gst_video::VideoInfo>,
    out: &mut dyn Write,
) -> Result<()> {
    let buffer = sample.buffer().ok_or_else(|| Error::internal("an empty sample"))?;
    let info = match info {
        Some(info) => info,
        None => {
            let caps = sample.caps().ok_or_else(|| Error::internal("a picture without caps"))?;
            let new = gst_video::VideoInfo::from_caps(caps).map_err(Error::fault)?;
            y4m::write_header(out, &new).map_err(failed)?;
            info.insert(new)
        }
    };
    let frame =
        gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, info).map_err(Error::fault)?;
    y4m::write_picture(out, &frame).map_err(failed)
}
