//! The built-in generator: a procedural painter that needs neither GPU nor network.
//!
//! `style` reads the prompt with the vocabulary of `words`; `paint` makes a still of `flow`,
//! `matter`, `strands` and `light`; `blend` grows one picture out of another; `motion` makes a clip.
//! `docs/painter.md` is for those who write prompts.
//!
//! Holds: equal requests give equal bytes. All painting is done on blocking threads, one for each
//! request, and stops soon after the request is dropped.

mod blend;
mod colour;
mod flow;
mod label;
mod light;
mod matter;
mod motion;
mod noise;
mod paint;
mod strands;
mod style;
mod words;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use image::RgbImage;
use image::imageops::{FilterType, resize};

use self::label::Label;
use self::motion::{Clip, TURNOVER, animate};
use self::noise::hash;
use self::paint::{Guide, paint};
use self::style::Style;
use crate::base::error::{Error, Result};
use crate::generate::{Backend, Capabilities, Health, ImageRequest, OnProgress, VideoRequest};
use crate::media::{CycleId, Frame};

/// How the built-in generator plays being another one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MockOptions {
    /// Seconds that a cycle takes at least; the making of the clip waits for them.
    pub delay: Duration,
    /// The share of requests that fail, 0 to 1.
    pub fail_rate: f64,
    /// Whether cycle number and prompt are drawn into the frames of clips.
    pub label: bool,
}

pub struct Mock {
    options: MockOptions,
    /// How often each request was made, as long as it has not succeeded.
    attempts: Mutex<BTreeMap<(CycleId, Kind), u32>>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Image,
    Video,
}

/// Tells the painting thread that nobody waits any more.
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Mock {
    pub fn new(options: MockOptions) -> Self {
        Mock { options, attempts: Mutex::default() }
    }

    /// Fails as often as it was told to: by seed, cycle, kind and attempt, so that a run can be
    /// repeated and a retry can succeed.
    fn fail_on_purpose(&self, cycle: CycleId, kind: Kind, seed: i64) -> Result<()> {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        let attempt = attempts.entry((cycle, kind)).or_insert(0);
        let draw = hash(hash(fold(seed), cycle.0), hash(kind as u32, *attempt));
        *attempt += 1;
        if f64::from(draw) / f64::from(u32::MAX) < self.options.fail_rate {
            return Err(Error::unavailable(format!(
                "the built-in generator was told to fail this cycle (backend.mock_fail_rate = {})",
                self.options.fail_rate
            )));
        }
        attempts.remove(&(cycle, kind));
        Ok(())
    }
}

/// Runs `work` on a blocking thread, with a flag that is set when the caller gives up.
async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce(&AtomicBool) -> Option<T> + Send + 'static,
) -> Result<T> {
    let cancelled = Arc::new(AtomicBool::new(false));
    let guard = CancelOnDrop(Arc::clone(&cancelled));
    let made = tokio::task::spawn_blocking(move || work(&cancelled)).await;
    drop(guard);
    made.map_err(|e| {
        Error::internal("the built-in generator's painting thread died").with_source(e)
    })?
    .ok_or_else(|| Error::internal("the built-in generator was stopped"))
}

/// The smallest side of a picture, in pixels.
const SMALLEST: u32 = 16;

fn check_size(width: u32, height: u32, frames: u32) -> Result<()> {
    if width < SMALLEST || height < SMALLEST || frames == 0 {
        return Err(Error::usage(format!(
            "generation: {width}x{height} pixels and {frames} frames are asked for; the built-in \
             generator needs at least {SMALLEST}x{SMALLEST} and 1 frame"
        )));
    }
    Ok(())
}

fn fold(seed: i64) -> u32 {
    hash(seed as u32, (seed >> 32) as u32)
}

fn sized(image: RgbImage, width: u32, height: u32) -> RgbImage {
    if image.dimensions() == (width, height) {
        return image;
    }
    resize(&image, width, height, FilterType::Triangle)
}

fn make_image(request: ImageRequest) -> RgbImage {
    let style = Style::read(&request.prompt, &request.negative_prompt);
    let size = (request.width as usize, request.height as usize);
    let (seed, time) = (fold(request.seed), request.cycle.0 as f32);
    let Some(init) = request.init else {
        return paint(&style, seed, time, size, None).rgb;
    };
    let picture = sized(init.image, request.width, request.height);
    let strength = init.strength.clamp(0.0, 1.0) as f32;
    if strength == 0.0 {
        return picture;
    }
    let guide = Guide { picture: &picture, hold: 1.0 - strength };
    let painting = paint(&style, seed, time, size, Some(&guide));
    blend::repaint(&picture, &painting, strength)
}

fn make_clip(request: VideoRequest, cancelled: &AtomicBool) -> Option<Vec<Frame>> {
    let style = Style::read(&request.prompt, &request.negative_prompt);
    let (width, height) = (request.width, request.height);
    let seed = fold(request.seed);
    let image = match request.first {
        Some(first) => sized(first, width, height),
        None => {
            paint(&style, seed, request.cycle.0 as f32, (width as usize, height as usize), None).rgb
        }
    };
    let mut clip = Clip {
        style: &style,
        seed: fold(request.seed),
        cycle: request.cycle.0 as f32,
        frames: request.frames as usize,
        frame_seconds: request.fps.frame_seconds() as f32,
        pace: (request.motion_bucket_id as f32 / 127.0).clamp(0.1, 2.0),
        turnover: TURNOVER,
    };
    clip.seed = hash(clip.seed, 0xC11);
    match request.last {
        Some(last) => between(&mut clip, &image, sized(last, width, height), cancelled),
        None => moving(&clip, &image, cancelled),
    }
}

/// The clip that begins with `image` and ends with `last`, which takes over shape by shape.
fn between(
    clip: &mut Clip,
    image: &RgbImage,
    last: RgbImage,
    cancelled: &AtomicBool,
) -> Option<Vec<Frame>> {
    clip.turnover = 1.0;
    let guide = Guide { picture: &last, hold: 1.0 };
    let size = (last.width() as usize, last.height() as usize);
    let mut painting = paint(clip.style, clip.seed, clip.cycle + 1.0, size, Some(&guide));
    painting.rgb = last;
    animate(clip, image, &painting, cancelled)
}

/// Paints what takes over in the course of the clip, and the clip.
fn moving(clip: &Clip, image: &RgbImage, cancelled: &AtomicBool) -> Option<Vec<Frame>> {
    /// The clip keeps the lights and colours of its first frame, mostly.
    const HOLD: f32 = 0.7;
    let guide = Guide { picture: image, hold: HOLD };
    let size = (image.width() as usize, image.height() as usize);
    let fresh = paint(clip.style, clip.seed, clip.cycle + 1.0, size, Some(&guide));
    animate(clip, image, &fresh, cancelled)
}

/// A calm clip for the first instant of a show, before any cycle is there: `frames` (at least 1)
/// of `width` by `height` (at least 16 by 16) pixels, meant for 8 frames a second.
pub fn stand_in(prompt: &str, seed: i64, width: u32, height: u32, frames: u32) -> Vec<Frame> {
    let style = Style::read(prompt, "");
    let (width, height) = (width.max(SMALLEST), height.max(SMALLEST));
    let image = paint(&style, fold(seed), 0.0, (width as usize, height as usize), None).rgb;
    let clip = Clip {
        style: &style,
        seed: hash(fold(seed), 0x57A),
        cycle: 0.0,
        frames: frames.max(1) as usize,
        frame_seconds: 0.125,
        pace: 0.5,
        turnover: TURNOVER,
    };
    // Never cancelled, so never nothing.
    moving(&clip, &image, &AtomicBool::new(false)).unwrap_or_default()
}

#[async_trait]
impl Backend for Mock {
    fn name(&self) -> &'static str {
        "mock"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            text_to_image: true,
            image_to_image: true,
            image_to_video: true,
            text_to_video: true,
            first_last_frame: true,
            text_conditioned_video: true,
            ..Capabilities::NONE
        }
    }

    async fn check(&self) -> Result<Health> {
        Ok(Health { version: Some(env!("CARGO_PKG_VERSION").into()), ..Health::default() })
    }

    async fn generate_image(&self, request: &ImageRequest, _: OnProgress<'_>) -> Result<RgbImage> {
        check_size(request.width, request.height, 1)?;
        self.fail_on_purpose(request.cycle, Kind::Image, request.seed)?;
        let request = request.clone();
        on_a_thread(move |_| Some(make_image(request))).await
    }

    async fn generate_video(
        &self,
        request: &VideoRequest,
        _: OnProgress<'_>,
    ) -> Result<Vec<Frame>> {
        check_size(request.width, request.height, request.frames)?;
        let label =
            self.options.label.then(|| Label::new(request.cycle, &request.prompt, request.width));
        let request = request.clone();
        let (cycle, seed) = (request.cycle, request.seed);
        let work = async {
            self.fail_on_purpose(cycle, Kind::Video, seed)?;
            on_a_thread(move |cancelled| {
                let mut frames = make_clip(request, cancelled)?;
                if let Some(label) = label {
                    frames.iter_mut().for_each(|frame| label.draw(frame));
                }
                Some(frames)
            })
            .await
        };
        // The work's own time counts towards the delay.
        let (made, ()) = tokio::join!(work, tokio::time::sleep(self.options.delay));
        made
    }
}

#[cfg(test)]
mod tests;
