//! Any file with sound becomes an MP4 of AAC of exactly a given length: cut, or played again and
//! again.
//!
//! Holds: sample 0 of the file is heard at time 0 (an edit list hides the encoder's priming), and
//! where it begins again no sample is missing or added. Nothing is under the name before it is
//! whole.

use std::path::Path;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::decode::{Decoding, What};
use super::priority::{self, Importance};
use super::sound::{AU_SAMPLES, encoder};
use super::{make, posted_error, raw, take_down};
use crate::audio::{CHANNELS, SAMPLE_RATE};
use crate::base::error::{Error, Kind, Result};
use crate::base::fsio;
use crate::base::time::NS;
use crate::mp4::SoundWriter;

/// Bytes of a sample of all channels.
const SAMPLE: usize = CHANNELS * size_of::<f32>();
/// Sound up to this long is kept while it is read, three minutes of it; a longer file is read
/// again.
const KEPT: usize = 64 << 20;
/// Sound that may wait for the encoder, in bytes.
const INSIDE: u64 = 1 << 20;
/// Samples that are encoded at once, out of those that are kept.
const STEP_SAMPLES: usize = 8192;
/// How long the encoder may take for its rest.
const END_PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(60);

/// Writes the sound of `path` to `out`, in the place of what is there, so long as `length_ns`.
/// `on_progress` is told nanoseconds, done and of how many. Returns false if `stop` said so; then
/// nothing has changed.
///
/// # Errors
/// Names the file: it cannot be read, or there is no sound in it; or `out`.
pub fn write_aac(
    path: &Path,
    length_ns: u64,
    out: &Path,
    on_progress: &mut dyn FnMut(u64, u64),
    stop: &dyn Fn() -> bool,
) -> Result<bool> {
    let rate = u64::from(SAMPLE_RATE);
    let wanted =
        ((u128::from(length_ns) * u128::from(rate) + u128::from(NS / 2)) / u128::from(NS)) as u64;
    if wanted == 0 {
        return Err(Error::internal("sound of no length"));
    }
    let failed = |e| Error::io(format!("cannot write {}", out.display()), e);
    let folder = out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = tempfile::Builder::new()
        .prefix(".vfaq-")
        .suffix(".mp4")
        .tempfile_in(folder)
        .map_err(failed)?;
    let (file, temporary) = temporary.into_parts();
    let mut encoder = Encoder::start(SoundWriter::new(file).map_err(failed)?)?;
    let mut source = Source { path, pass: None, kept: Some(Vec::new()), is_whole: false, at: 0 };
    while encoder.samples < wanted {
        let left = usize::try_from(wanted - encoder.samples).unwrap_or(usize::MAX / SAMPLE);
        let Some(bytes) = source.next(left, stop)? else { return Ok(false) };
        encoder.push(bytes).map_err(|e| e.context(format!("cannot write {}", out.display())))?;
        on_progress(length_ns * encoder.samples / wanted, length_ns);
    }
    encoder.finish().map_err(|e| e.context(format!("cannot write {}", out.display())))?;
    fsio::publish(temporary, out, true)?;
    Ok(true)
}

/// Samples of a file, over and over.
struct Source<'a> {
    path: &'a Path,
    pass: Option<Decoding>,
    /// All that has been decoded so far. `None`: it is too much.
    kept: Option<Vec<u8>>,
    /// What is kept is the whole file.
    is_whole: bool,
    /// In what is kept.
    at: usize,
}

impl Source<'_> {
    /// The next samples, `most` at most. `None`: `stop` said so.
    fn next(&mut self, most: usize, stop: &dyn Fn() -> bool) -> Result<Option<gst::Buffer>> {
        loop {
            if stop() {
                return Ok(None);
            }
            if let Some(kept) = self.kept.as_ref().filter(|_| self.is_whole) {
                let end = kept.len().min(self.at + most.min(STEP_SAMPLES) * SAMPLE);
                let bytes = kept[self.at..end].to_vec();
                self.at = if end == kept.len() { 0 } else { end };
                return Ok(Some(gst::Buffer::from_mut_slice(bytes)));
            }
            let first = self.pass.is_none();
            let pass = match &mut self.pass {
                Some(pass) => pass,
                None => self.pass.insert(open(self.path)?),
            };
            let Some(sample) = pass.next(stop)? else {
                if stop() {
                    return Ok(None);
                }
                self.pass = None;
                self.is_whole = self.kept.is_some();
                if self.kept.as_ref().is_some_and(Vec::is_empty) {
                    let shown = self.path.display();
                    return Err(Error::new(Kind::Io, format!("{shown} holds no sound")));
                }
                continue;
            };
            let buffer = sample.buffer().ok_or_else(|| Error::internal("an empty sample"))?;
            let map = buffer.map_readable().map_err(Error::fault)?;
            let mut bytes = Vec::new();
            // Sound that begins later than its file does so here.
            let late_ns = Decoding::time_ns(&sample).filter(|ns| first && *ns >= NS / 1000);
            if let Some(late_ns) = late_ns {
                let late = u128::from(late_ns) * u128::from(SAMPLE_RATE) / u128::from(NS);
                bytes.resize(late as usize * SAMPLE, 0);
            }
            bytes.extend_from_slice(&map);
            if let Some(kept) = &mut self.kept {
                kept.extend_from_slice(&bytes);
                if kept.len() > KEPT {
                    self.kept = None;
                }
            }
            bytes.truncate(most * SAMPLE);
            return Ok(Some(gst::Buffer::from_mut_slice(bytes)));
        }
    }
}

fn open(path: &Path) -> Result<Decoding> {
    Decoding::open(path, What::Sound, &raw::audio_caps(), |pipeline, sink| {
        let (convert, resample) = (make("audioconvert")?, make("audioresample")?);
        pipeline.add_many([&convert, &resample]).map_err(Error::fault)?;
        gst::Element::link_many([&convert, &resample, sink]).map_err(Error::fault)?;
        convert.static_pad("sink").ok_or_else(|| Error::internal("no pad"))
    })
}

/// `appsrc ! audioconvert ! encoder ! appsink`, and the file behind it.
struct Encoder {
    pipeline: gst::Pipeline,
    source: gst_app::AppSrc,
    sink: gst_app::AppSink,
    writer: Option<SoundWriter>,
    priming: u64,
    /// That went in.
    samples: u64,
    /// The AudioSpecificConfig.
    config: Option<Vec<u8>>,
}

impl Encoder {
    fn start(writer: SoundWriter) -> Result<Self> {
        let pipeline = gst::Pipeline::new();
        priority::set_for(&pipeline, Importance::Background);
        let source = gst_app::AppSrc::builder()
            .caps(&raw::audio_caps())
            .format(gst::Format::Time)
            .block(true)
            .max_bytes(INSIDE)
            .build();
        let convert = make("audioconvert")?;
        let (encoder, priming) = encoder()?;
        let caps = gst::Caps::builder("audio/mpeg")
            .field("mpegversion", 4)
            .field("stream-format", "raw")
            .build();
        let sink = gst_app::AppSink::builder().caps(&caps).sync(false).async_(false).build();
        let chain = [source.upcast_ref(), &convert, &encoder, sink.upcast_ref::<gst::Element>()];
        pipeline.add_many(chain).map_err(Error::fault)?;
        gst::Element::link_many(chain).map_err(Error::fault)?;
        let writer = Some(writer);
        let encoder = Encoder { pipeline, source, sink, writer, priming, samples: 0, config: None };
        let started = encoder.pipeline.set_state(gst::State::Playing);
        started.map_err(|e| encoder.failure().unwrap_or_else(|| Error::fault(e)))?;
        Ok(encoder)
    }

    fn push(&mut self, mut buffer: gst::Buffer) -> Result<()> {
        let at = |sample: u64| gst::ClockTime::from_nseconds(sample * NS / u64::from(SAMPLE_RATE));
        let samples = (buffer.size() / SAMPLE) as u64;
        {
            let buffer = buffer.make_mut();
            buffer.set_pts(at(self.samples));
            buffer.set_duration(at(self.samples + samples) - at(self.samples));
        }
        self.samples += samples;
        self.source
            .push_buffer(buffer)
            .map_err(|e| self.failure().unwrap_or_else(|| Error::fault(e)))?;
        while self.take(gst::ClockTime::ZERO)? {}
        Ok(())
    }

    /// Writes an access unit that has come out, if there is one.
    fn take(&mut self, patience: gst::ClockTime) -> Result<bool> {
        let Some(sample) = self.sink.try_pull_sample(patience) else { return Ok(false) };
        if self.config.is_none() {
            let caps = sample.caps().and_then(|caps| caps.structure(0));
            let data = caps.and_then(|caps| caps.get::<gst::Buffer>("codec_data").ok());
            let data = data.ok_or_else(|| Error::internal("the AAC encoder says no codec_data"))?;
            self.config = Some(data.map_readable().map_err(Error::fault)?.to_vec());
        }
        let buffer = sample.buffer().ok_or_else(|| Error::internal("an empty sample"))?;
        let map = buffer.map_readable().map_err(Error::fault)?;
        if let Some(writer) = &mut self.writer {
            writer.push(&map).map_err(|e| Error::io("writing failed", e))?;
        }
        Ok(true)
    }

    fn finish(&mut self) -> Result<()> {
        self.source.end_of_stream().map_err(Error::fault)?;
        while self.take(END_PATIENCE)? {}
        let (Some(writer), Some(config)) = (self.writer.take(), &self.config) else {
            return Err(self.failure().unwrap_or_else(|| Error::internal("no AAC came out")));
        };
        let units = writer.units();
        if units * AU_SAMPLES < self.priming + self.samples {
            let lost = || Error::internal(format!("only {units} units of AAC came out"));
            return Err(self.failure().unwrap_or_else(lost));
        }
        writer
            .finish(config, (SAMPLE_RATE, CHANNELS as u16), self.priming, self.samples)
            .map_err(|e| Error::io("writing failed", e))
    }

    fn failure(&self) -> Option<Error> {
        let message = self.pipeline.bus()?.pop_filtered(&[gst::MessageType::Error])?;
        posted_error(&message)
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        take_down(&self.pipeline);
    }
}
