//! Sound into the stream: exactly the samples that belong to each frame, and the encoder's
//! priming taken out.
//!
//! What is captured comes a moment after it was heard, and belongs to the picture of the moment in
//! which it was. So the sound of a frame goes to the encoder a few frames behind its picture, with
//! the timestamps of that picture: [`lag_frames`].
//!
//! Holds: where samples are missing there is silence, never a wait; every place has its sound, up to
//! the last frame.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::fanout::Fanout;
use super::make;
use super::raw::{self, Tap};
use crate::audio::strip::{self, Controls, Strip};
use crate::audio::{self, CHANNELS, SAMPLE_RATE, Shared};
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

/// So much later than it was heard sound may come from a card, the length of its blocks included.
const LATE_S: f64 = 0.05;
/// A clock that stands further back than this was anchored anew.
const NEW_LINE_NS: i64 = 500_000_000;

/// How many frames behind its picture sound goes to the encoder.
pub fn lag_frames(fps: FrameRate) -> u64 {
    1 + (LATE_S * fps.as_f64()).ceil() as u64
}

/// What is captured, as the render thread takes it.
pub struct SoundIn {
    pub reader: audio::Reader,
    pub shared: Arc<Shared>,
}

/// Pushes the sound of each frame into the encoder and the tap. Lives on the render thread.
pub struct SoundFeed {
    source: gst_app::AppSrc,
    tap: Arc<Tap>,
    out: Arc<SoundOut>,
    pool: gst::BufferPool,
    input: Option<SoundIn>,
    fps: FrameRate,
    lag: u64,
    strip: Strip,
    controls: Controls,
    samples: Vec<f32>,
    /// Whether each of the last frames was playing; the lowest bit is the newest.
    playing: u64,
    /// Frames whose sound was not there in time.
    silent: Arc<Counter>,
    is_missing: bool,
}

impl SoundFeed {
    /// Frame `n` is due, or a little overdue, at this moment of the show's clock.
    pub fn due(&mut self, n: u64, now: Duration) {
        let Some(SoundIn { shared, .. }) = &self.input else { return };
        // The first frame waits for the encoder to open, and says nothing of where the show stands.
        if n == 0 {
            return;
        }
        let line_ns = self.fps.pts_ns(n) as i64 - now.as_nanos() as i64;
        // The frame that was least late is nearest to the truth.
        let known = shared.line_ns().filter(|_| n > 1);
        if known.is_none_or(|known| line_ns > known || line_ns < known - NEW_LINE_NS) {
            shared.set_line_ns(line_ns);
        }
    }

    /// How the strip is set from now on.
    pub fn set(&mut self, controls: Controls) {
        self.controls = controls;
    }

    /// Frame `n` went out; `playing`: with what is captured, else with silence.
    pub fn send(&mut self, n: u64, playing: bool) {
        let was_playing = self.playing & 1 == 1;
        self.playing = self.playing << 1 | u64::from(playing);
        if let Some(SoundIn { shared, .. }) = &self.input
            && playing != was_playing
        {
            shared.set_playing(playing.then(|| self.fps.samples_before(n, SAMPLE_RATE)));
        }
        if let Some(n) = n.checked_sub(self.lag) {
            self.push(n, self.playing >> self.lag & 1 == 1);
        }
    }

    fn push(&mut self, n: u64, playing: bool) {
        let first = self.fps.samples_before(n, SAMPLE_RATE);
        let samples = (self.fps.samples_before(n + 1, SAMPLE_RATE) - first) as usize;
        // No more than there is room for, so nothing is allocated.
        self.samples.resize(samples * CHANNELS, 0.0);
        self.read(first + strip::LATENCY as u64, playing);
        self.strip.pass(&mut self.samples, &self.controls);
        if let Some(SoundIn { shared, .. }) = &self.input {
            shared.set_levels(&self.strip.levels());
        }
        // Errors here mean that the pipeline is going down.
        let Ok(mut buffer) = self.pool.acquire_buffer(None) else { return };
        let at = |sample: u64| sample * NS / u64::from(SAMPLE_RATE);
        let (pts_ns, duration_ns) = (at(first), at(first + samples as u64) - at(first));
        {
            let buffer = buffer.make_mut();
            buffer.set_size(samples * CHANNELS * size_of::<f32>());
            buffer.set_pts(gst::ClockTime::from_nseconds(pts_ns));
            buffer.set_duration(gst::ClockTime::from_nseconds(duration_ns));
            let Ok(mut map) = buffer.map_writable() else { return };
            for (bytes, sample) in map.as_mut_slice().chunks_exact_mut(4).zip(&self.samples) {
                bytes.copy_from_slice(&sample.to_le_bytes());
            }
        }
        self.tap.send_sound(pts_ns, duration_ns, &buffer);
        let _ = self.source.push_buffer(buffer);
    }

    /// Takes what stands in these places, also where it is not to be heard.
    fn read(&mut self, place: u64, playing: bool) {
        let Some(SoundIn { reader, shared }) = &mut self.input else {
            self.samples.fill(0.0);
            return;
        };
        let found = reader.read(place, &mut self.samples);
        shared.set_fill(reader.fill() as u64);
        if !playing {
            self.samples.fill(0.0);
            return;
        }
        let missing = self.samples.len() / CHANNELS - found;
        let is_missing = missing > 0 && shared.is_flowing();
        if is_missing {
            self.silent.add(1);
            shared.missing.add(missing as u64);
            shared.underruns.add(u64::from(!self.is_missing));
        }
        self.is_missing = is_missing;
    }

    /// The picture has ended behind so many frames, and the sound with it.
    pub fn end(&mut self, frames: u64) {
        for n in frames.saturating_sub(self.lag)..frames {
            let ago = frames - 1 - n;
            self.push(n, self.playing >> ago & 1 == 1);
        }
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
    input: Option<SoundIn>,
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
    Ok(SoundFeed {
        source,
        tap: tap.clone(),
        out: out.clone(),
        pool,
        input,
        fps,
        lag: lag_frames(fps).min(63),
        strip: Strip::new(),
        controls: Controls::default(),
        samples: vec![0.0; most as usize * CHANNELS],
        playing: 0,
        silent,
        is_missing: false,
    })
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
