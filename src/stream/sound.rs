//! Sound into the stream: exactly the samples that belong to each frame, and the encoder's
//! priming taken out.
//!
//! Where the sound comes from: silence, or a file, read by a small pipeline of its own into a
//! sample ring; when the ring runs dry there is silence, never a wait. A file starts over at its
//! end.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::fanout::Fanout;
use super::priority::{self, Importance};
use super::raw::{self, Tap};
use super::{make, posted_error, take_down};
use crate::audio::{self, CHANNELS, SAMPLE_RATE};
use crate::base::error::{Error, Result};
use crate::base::telemetry::Counter;
use crate::base::time::{FrameRate, NS};

/// Samples of an AAC access unit.
pub(super) const AU_SAMPLES: u64 = 1024;

/// The sound, encoded once, to every fan-out of the show.
#[derive(Default)]
pub struct SoundOut {
    fanouts: Mutex<Vec<Weak<Fanout>>>,
    caps: OnceLock<gst::Caps>,
    /// Show time at which the picture ended; sound is cut there.
    end_ns: OnceLock<u64>,
}

impl SoundOut {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The fan-out gets the sound from now on, as long as somebody else has it.
    pub fn add(&self, fanout: &Arc<Fanout>) {
        let mut fanouts = self.lock();
        fanouts.retain(|known| known.strong_count() > 0);
        fanouts.push(Arc::downgrade(fanout));
        if let Some(caps) = self.caps.get() {
            fanout.set_audio_caps(caps.clone());
        }
    }

    fn set_caps(&self, caps: gst::Caps) {
        if self.caps.get().is_some() {
            return;
        }
        let fanouts = self.lock();
        for fanout in fanouts.iter().filter_map(Weak::upgrade) {
            fanout.set_audio_caps(caps.clone());
        }
        let _ = self.caps.set(caps);
    }

    fn set_end(&self, end_ns: u64) {
        let _ = self.end_ns.set(end_ns);
    }

    fn send(&self, buffer: &gst::Buffer, pts_ns: u64, duration_ns: u64) {
        let left_ns = self.end_ns.get().map_or(u64::MAX, |end_ns| end_ns.saturating_sub(pts_ns));
        if left_ns == 0 {
            return;
        }
        for fanout in self.lock().iter().filter_map(Weak::upgrade) {
            fanout.send_audio(buffer.clone(), pts_ns, duration_ns.min(left_ns));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Fanout>>> {
        self.fanouts.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// An AAC encoder, and how many samples of silence it puts before the sound (its priming).
/// The settings are from the documentation of avenc_aac and voaacenc.
pub(super) fn encoder() -> Result<(gst::Element, u64)> {
    if let Ok(element) = make("avenc_aac") {
        element.set_property("bitrate", 160_000i32);
        return Ok((element, 1024));
    }
    let element = make("voaacenc").map_err(|_| {
        Error::unavailable(
            "no AAC encoder is installed; install gstreamer1.0-libav or gstreamer1.0-plugins-bad",
        )
    })?;
    element.set_property("bitrate", 160_000i32);
    Ok((element, 1600))
}

/// Whether a recording that begins at frame `n` gets its first sound within 5 ms: access units
/// stand on a grid of their own, on which few frames fall. At 60 fps one of any five does.
pub fn begins_together(fps: FrameRate, n: u64) -> bool {
    let rate = u64::from(SAMPLE_RATE);
    let first = fps.samples_before(n, SAMPLE_RATE);
    let late = (AU_SAMPLES - first % AU_SAMPLES) % AU_SAMPLES;
    late * 1000 <= 5 * rate
}

/// Pushes the sound of each frame into the encoder and the tap. Lives on the render thread.
pub struct SoundFeed {
    source: gst_app::AppSrc,
    tap: Arc<Tap>,
    out: Arc<SoundOut>,
    pool: gst::BufferPool,
    reader: Option<audio::Reader>,
    fps: FrameRate,
    /// Frames whose sound was not there in time.
    silent: Arc<Counter>,
}

impl SoundFeed {
    /// Sends the samples of frame `n`; `playing`: those of the sound's source, else silence.
    pub fn send(&mut self, n: u64, playing: bool) {
        let first = self.fps.samples_before(n, SAMPLE_RATE);
        let samples = (self.fps.samples_before(n + 1, SAMPLE_RATE) - first) as usize;
        let bytes = samples * CHANNELS * size_of::<f32>();
        // Errors here mean that the pipeline is going down.
        let Ok(mut buffer) = self.pool.acquire_buffer(None) else { return };
        let at = |sample: u64| sample * NS / u64::from(SAMPLE_RATE);
        let (pts_ns, duration_ns) = (at(first), at(first + samples as u64) - at(first));
        {
            let buffer = buffer.make_mut();
            buffer.set_size(bytes);
            buffer.set_pts(gst::ClockTime::from_nseconds(pts_ns));
            buffer.set_duration(gst::ClockTime::from_nseconds(duration_ns));
            let Ok(mut map) = buffer.map_writable() else { return };
            match self.reader.as_mut().filter(|_| playing) {
                Some(reader) => {
                    if !reader.read(map.as_mut_slice()) {
                        self.silent.add(1);
                    }
                }
                None => map.fill(0),
            }
        }
        self.tap.send_sound(pts_ns, duration_ns, &buffer);
        let _ = self.source.push_buffer(buffer);
    }

    /// The picture has ended behind so many frames, and the sound with it.
    pub fn end(&mut self, frames: u64) {
        self.out.set_end(self.fps.pts_ns(frames));
        let _ = self.source.end_of_stream();
    }
}

/// Builds the sound branch into `pipeline` and returns the end that feeds it.
///
/// # Errors
/// A missing encoder.
pub fn build(
    pipeline: &gst::Pipeline,
    tap: &Arc<Tap>,
    out: &Arc<SoundOut>,
    reader: Option<audio::Reader>,
    fps: FrameRate,
    silent: Arc<Counter>,
) -> Result<SoundFeed> {
    let source = gst_app::AppSrc::builder()
        .name("sound")
        .caps(&raw::audio_caps())
        .format(gst::Format::Time)
        .is_live(true)
        .build();
    let convert = make("audioconvert")?;
    let (encoder, priming) = encoder()?;
    let sink = gst_app::AppSink::builder().name("sound-out").sync(false).async_(false).build();
    let chain = [source.upcast_ref(), &convert, &encoder, sink.upcast_ref::<gst::Element>()];
    pipeline.add_many(chain).map_err(Error::fault)?;
    gst::Element::link_many(chain).map_err(Error::fault)?;

    let to = out.clone();
    let mut unit = 0u64;
    sink.set_callbacks(
        gst_app::AppSinkCallbacks::builder()
            .new_sample(move |sink| {
                let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                if let Some(caps) = sample.caps_owned() {
                    to.set_caps(caps);
                }
                let buffer = sample.buffer_owned().ok_or(gst::FlowError::Error)?;
                // The encoder puts `priming` samples before the sound, so unit k holds the
                // samples from k * 1024 - priming on. What lies before 0 is left out.
                let at = |sample: u64| sample * NS / u64::from(SAMPLE_RATE);
                if let Some(first) = (unit * AU_SAMPLES).checked_sub(priming) {
                    to.send(&buffer, at(first), at(first + AU_SAMPLES) - at(first));
                }
                unit += 1;
                Ok(gst::FlowSuccess::Ok)
            })
            .build(),
    );

    let most = fps.samples_before(1, SAMPLE_RATE) as u32 + 1;
    let pool = gst::BufferPool::new();
    let mut config = pool.config();
    let size = most * (CHANNELS * size_of::<f32>()) as u32;
    config.set_params(Some(&raw::audio_caps()), size, 8, 0);
    pool.set_config(config).map_err(Error::fault)?;
    pool.set_active(true).map_err(Error::fault)?;
    Ok(SoundFeed { source, tap: tap.clone(), out: out.clone(), pool, reader, fps, silent })
}

/// Reads a sound file into a sample ring, over and over.
pub struct FileSound {
    pipeline: gst::Pipeline,
    thread: Option<JoinHandle<()>>,
}

impl FileSound {
    /// Opens the file and fills the ring.
    ///
    /// # Errors
    /// A file that cannot be read or holds no sound; named.
    pub fn start(path: &Path) -> Result<(Self, audio::Reader)> {
        let failed = |e: Error| e.context(format!("live.audio.source: file {}", path.display()));
        let (writer, reader) = audio::ring();
        let pipeline = gst::Pipeline::new();
        priority::set_for(&pipeline, Importance::Background);
        let source = make("filesrc")?;
        source.set_property("location", path.to_string_lossy().as_ref());
        let decode = make("decodebin")?;
        let convert = make("audioconvert")?;
        let resample = make("audioresample")?;
        let sink = gst_app::AppSink::builder()
            .caps(&raw::audio_caps())
            .sync(false)
            .max_buffers(16)
            .build();
        pipeline
            .add_many([&source, &decode, &convert, &resample, sink.upcast_ref()])
            .map_err(Error::fault)?;
        source.link(&decode).map_err(Error::fault)?;
        gst::Element::link_many([&convert, &resample, sink.upcast_ref()]).map_err(Error::fault)?;
        let sink_pad = convert.static_pad("sink").ok_or_else(|| Error::internal("no pad"))?;
        decode.connect_pad_added(move |_, pad| {
            let is_audio = pad.current_caps().is_some_and(|caps| {
                caps.structure(0).is_some_and(|s| s.name().starts_with("audio/"))
            });
            if is_audio && !sink_pad.is_linked() {
                let _ = pad.link(&sink_pad);
            }
        });
        let mut sound = FileSound { pipeline, thread: None };
        sound.pipeline.set_state(gst::State::Playing).map_err(|e| failed(Error::fault(e)))?;
        // The first samples prove that the file holds sound.
        let first = sink.try_pull_sample(gst::ClockTime::from_seconds(5)).ok_or_else(|| {
            let posted = sound
                .pipeline
                .bus()
                .and_then(|b| b.pop_filtered(&[gst::MessageType::Error]))
                .and_then(|m| posted_error(&m));
            failed(posted.unwrap_or_else(|| Error::usage("it holds no sound")))
        })?;
        let pump = Pump { pipeline: sound.pipeline.clone(), sink, writer };
        let thread = std::thread::Builder::new()
            .name("sound-file".into())
            .spawn(move || pump.run(first))
            .map_err(|e| Error::internal("cannot start reading sound").with_source(e))?;
        sound.thread = Some(thread);
        Ok((sound, reader))
    }
}

impl Drop for FileSound {
    /// The pump ends when the reader is gone or the pipeline is down.
    fn drop(&mut self) {
        take_down(&self.pipeline);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Pump {
    pipeline: gst::Pipeline,
    sink: gst_app::AppSink,
    writer: audio::Writer,
}

impl Pump {
    fn run(mut self, first: gst::Sample) {
        let mut sample = Some(first);
        loop {
            match sample.take() {
                Some(sample) => {
                    let Some(map) = sample.buffer().and_then(|b| b.map_readable().ok()) else {
                        return;
                    };
                    if self.writer.write(map.as_slice()).is_err() {
                        return;
                    }
                }
                None if self.sink.is_eos() && self.sink.current_state() == gst::State::Playing => {
                    let flags = gst::SeekFlags::FLUSH | gst::SeekFlags::KEY_UNIT;
                    // Nobody else reads what it says at each round.
                    if let Some(bus) = self.pipeline.bus() {
                        bus.set_flushing(true);
                        bus.set_flushing(false);
                    }
                    if self.pipeline.seek_simple(flags, gst::ClockTime::ZERO).is_err() {
                        tracing::warn!("the sound file cannot start over; silence from here on");
                        return;
                    }
                }
                None => {
                    let failed = self.pipeline.bus().and_then(|bus| {
                        bus.pop_filtered(&[gst::MessageType::Error]).as_ref().and_then(posted_error)
                    });
                    if let Some(error) = failed {
                        tracing::warn!("the sound file has failed, silence from here on: {error}");
                        return;
                    }
                    // A disk that stands still, or a show that is over.
                    if self.sink.current_state() != gst::State::Playing {
                        return;
                    }
                }
            }
            sample = self.sink.try_pull_sample(gst::ClockTime::from_nseconds(
                Duration::from_secs(10).as_nanos() as u64,
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_can_begin_with_the_picture_soon() {
        for fps in ["60", "60000/1001", "50", "30", "25", "24"] {
            let fps: FrameRate = fps.parse().unwrap();
            let together: Vec<u64> = (0..1000).filter(|n| begins_together(fps, *n)).collect();
            assert_eq!(together[0], 0);
            let longest = together.windows(2).map(|w| w[1] - w[0]).max().unwrap();
            assert!(longest as f64 * fps.frame_seconds() < 0.75, "{fps}: {longest} frames");
        }
        let fps = FrameRate::whole(60);
        assert!((0..1000).all(|n| (n..n + 5).any(|n| begins_together(fps, n))));
    }
}
