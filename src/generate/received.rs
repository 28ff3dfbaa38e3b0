//! Pictures and clips as generators send them: files of any common kind, made into the project's.
//!
//! Holds: what a file is, its content says, never its name. Nothing is taken on trust: sizes are
//! known before memory is taken, and a picture without anything to see is an error that says so. A
//! picture of another size fills the one asked for and is cropped evenly; a clip of another rate
//! keeps its speed.

use std::io::{Cursor, Write};
use std::sync::Arc;

use image::codecs::gif::GifDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::imageops::FilterType;
use image::{AnimationDecoder, DynamicImage, ImageDecoder, ImageReader, Limits, RgbImage};

use super::convert::rgb_to_frame;
use super::{VideoRequest, blocking};
use crate::base::effort::PresentEffort;
use crate::base::error::{Error, Result};
use crate::base::time::FrameRate;
use crate::config::{Fit, Interpolation};
use crate::media::{ClipDecoder, Frame};

use crate::render::{Layer, Look, Picture, Renderer};

/// Bytes of one file that are taken at most.
pub const LARGEST_FILE: usize = 512 << 20;
/// Pixels along a side, at most.
const LARGEST_SIDE: u32 = 8192;
/// Memory that decoding one picture may take.
const PICTURE_MEMORY: u64 = 768 << 20;
/// Decoded bytes of a whole clip, at most, in the size that is kept.
const CLIP_MEMORY: usize = 1 << 30;
/// Frames of a clip, at most.
const MOST_FRAMES: usize = 4000;
/// Luma up to which a pixel counts as black; limited range begins at 16.
const BLACK: u8 = 22;
/// The same for a channel of RGB.
const BLACK_RGB: u8 = 8;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    Png,
    /// Animated.
    Apng,
    Jpeg,
    Gif,
    WebP,
    AnimatedWebP,
    /// MP4, WebM and whatever else GStreamer may know.
    Video,
    Page,
    Unknown,
}

impl FileKind {
    /// By the first bytes of the file.
    pub fn of(file: &[u8]) -> FileKind {
        let at = |from: usize, tag: &[u8]| file.get(from..from + tag.len()) == Some(tag);
        if at(0, b"\x89PNG\r\n\x1a\n") {
            // The chunk that says so comes before the pixels.
            let head = &file[..file.len().min(4096)];
            let pixels = head.windows(4).position(|w| w == b"IDAT").unwrap_or(head.len());
            let animated = head[..pixels].windows(4).any(|w| w == b"acTL");
            if animated { FileKind::Apng } else { FileKind::Png }
        } else if at(0, b"\xff\xd8\xff") {
            FileKind::Jpeg
        } else if at(0, b"GIF8") {
            FileKind::Gif
        } else if at(0, b"RIFF") && at(8, b"WEBP") {
            let animated = at(12, b"VP8X") && file.get(20).is_some_and(|flags| flags & 2 != 0);
            if animated { FileKind::AnimatedWebP } else { FileKind::WebP }
        } else if at(4, b"ftyp") || at(0, b"\x1a\x45\xdf\xa3") || at(0, b"RIFF") || at(0, b"OggS") {
            FileKind::Video
        } else if file.trim_ascii_start().starts_with(b"<") {
            FileKind::Page
        } else {
            FileKind::Unknown
        }
    }

    /// Whether it may have more than one picture.
    pub fn moves(self) -> bool {
        use FileKind::{AnimatedWebP, Apng, Gif, Video};
        matches!(self, Apng | Gif | AnimatedWebP | Video)
    }
}

/// Reads what generators send. `from` names server and file in what goes wrong.
#[derive(Clone)]
pub struct Reader {
    decoder: Arc<dyn ClipDecoder>,
}

/// Frames with the rate that the file itself states.
struct Raw {
    frames: Vec<Frame>,
    fps: Option<FrameRate>,
}

impl Reader {
    pub fn new(decoder: Arc<dyn ClipDecoder>) -> Self {
        Reader { decoder }
    }

    /// The picture in `file`, `width` by `height` pixels; of a moving one the first that it shows.
    pub async fn image(
        &self,
        file: Vec<u8>,
        (width, height): (u32, u32),
        from: &str,
    ) -> Result<RgbImage> {
        let (reader, context) = (self.clone(), from.to_owned());
        blocking(move || reader.read_image(&file, width, height).map_err(|e| e.context(context)))
            .await
    }

    /// The clip in `files`: the first of them that moves, or else all of them, each a frame.
    /// `last`, if given, is the frame that it ends with; see [`VideoRequest`].
    pub async fn video(
        &self,
        files: Vec<Vec<u8>>,
        request: &VideoRequest,
        from: &str,
    ) -> Result<Vec<Frame>> {
        let (reader, context) = (self.clone(), from.to_owned());
        let (size, fps) = ((request.width, request.height), request.fps);
        blocking(move || reader.read_video(&files, size, fps).map_err(|e| e.context(context))).await
    }

    fn read_image(&self, file: &[u8], width: u32, height: u32) -> Result<RgbImage> {
        let image = match FileKind::of(file) {
            FileKind::Video => {
                let raw = self.decode(file)?;
                let frame = raw.frames.first().ok_or_else(no_frames)?;
                DynamicImage::ImageRgb8(super::convert::frame_to_rgb(frame))
            }
            kind => still(file, kind)?,
        };
        let image = fit(image, width, height);
        if image.as_raw().iter().all(|&value| value <= BLACK_RGB) {
            return Err(all_black("the picture"));
        }
        Ok(image)
    }

    fn read_video(
        &self,
        files: &[Vec<u8>],
        size: (u32, u32),
        fps: FrameRate,
    ) -> Result<Vec<Frame>> {
        if files.iter().all(Vec::is_empty) {
            return Err(no_frames());
        }
        let moving = files.iter().find(|file| FileKind::of(file).moves());
        let raw = match moving {
            Some(file) => match FileKind::of(file) {
                FileKind::Video => self.decode(file)?,
                kind => animation(file, kind, size)?,
            },
            None => stills(files, size)?,
        };
        let frames = fitted(at_rate(raw, fps), size);
        match frames.len() {
            0 => return Err(no_frames()),
            1 => {
                return Err(Error::usage(
                    "the clip has a single frame; is that a workflow or model for pictures?",
                ));
            }
            _ => {}
        }
        if frames.iter().all(|frame| frame.y.iter().all(|&y| y <= BLACK)) {
            return Err(all_black("the clip"));
        }
        Ok(frames)
    }

    /// By way of a file: that is what GStreamer reads best.
    fn decode(&self, file: &[u8]) -> Result<Raw> {
        let unwritten = |e| Error::io("cannot write a temporary file", e);
        let mut temporary =
            tempfile::Builder::new().prefix("vfaq-received-").tempfile().map_err(unwritten)?;
        temporary.write_all(file).map_err(unwritten)?;
        let decoded = self
            .decoder
            .decode(temporary.path())
            .map_err(|e| Error::unavailable("the file cannot be decoded").with_source(e))?;
        Ok(Raw { frames: decoded.frames, fps: Some(decoded.format.fps) })
    }
}

fn no_frames() -> Error {
    Error::unavailable("the clip holds no frame; what made it has failed without saying so")
}

fn all_black(what: &str) -> Error {
    Error::unavailable(format!(
        "{what} is all black: a safety filter has struck, or the VAE fails in half precision (try \
         another VAE, or float32)"
    ))
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_image_width = Some(LARGEST_SIDE);
    limits.max_image_height = Some(LARGEST_SIDE);
    limits.max_alloc = Some(PICTURE_MEMORY);
    limits
}

fn unreadable(e: image::ImageError) -> Error {
    match e {
        image::ImageError::Limits(_) => Error::unavailable(format!(
            "a picture of more than {LARGEST_SIDE} pixels a side, or one that takes over {} MB, is \
             not taken",
            PICTURE_MEMORY >> 20
        )),
        e => Error::unavailable("the picture cannot be decoded").with_source(e),
    }
}

fn still(file: &[u8], kind: FileKind) -> Result<DynamicImage> {
    match kind {
        _ if file.is_empty() => return Err(Error::unavailable("the file is empty")),
        FileKind::Page => {
            return Err(Error::unavailable("this is a web page, not a picture"));
        }
        FileKind::Unknown => {
            return Err(Error::unavailable(
                "this is no picture that is known here (PNG, JPEG, WebP, GIF) and no video",
            ));
        }
        _ => {}
    }
    let mut reader = ImageReader::new(Cursor::new(file));
    reader.limits(limits());
    let reader = reader.with_guessed_format().map_err(|e| unreadable(e.into()))?;
    reader.decode().map_err(unreadable)
}

/// Scales the picture until it fills the size, and crops what hangs over, evenly.
pub fn fit(image: DynamicImage, width: u32, height: u32) -> RgbImage {
    if (image.width(), image.height()) == (width, height) {
        return image.into_rgb8();
    }
    image.resize_to_fill(width, height, FilterType::CatmullRom).into_rgb8()
}

/// What may be kept of a clip of this size.
fn most_frames((width, height): (u32, u32)) -> usize {
    let bytes = (width as usize * height as usize * 3 / 2).max(1);
    (CLIP_MEMORY / bytes).clamp(1, MOST_FRAMES)
}

fn too_long(most: usize) -> Error {
    Error::unavailable(format!("the clip has more than {most} frames, which is not taken"))
}

fn stills(files: &[Vec<u8>], size: (u32, u32)) -> Result<Raw> {
    let most = most_frames(size);
    if files.len() > most {
        return Err(too_long(most));
    }
    let mut frames = Vec::with_capacity(files.len());
    for file in files {
        let image = still(file, FileKind::of(file))?;
        frames.push(rgb_to_frame(&fit(image, size.0, size.1)));
    }
    Ok(Raw { frames, fps: None })
}

fn animation(file: &[u8], kind: FileKind, size: (u32, u32)) -> Result<Raw> {
    let most = most_frames(size);
    let data = Cursor::new(file);
    // Each decoder checks the size against its limits before it takes memory.
    let pictures = match kind {
        FileKind::Gif => {
            let mut decoder = GifDecoder::new(data).map_err(unreadable)?;
            decoder.set_limits(limits()).map_err(unreadable)?;
            decoder.into_frames()
        }
        FileKind::AnimatedWebP => {
            let mut decoder = WebPDecoder::new(data).map_err(unreadable)?;
            decoder.set_limits(limits()).map_err(unreadable)?;
            decoder.into_frames()
        }
        _ => {
            let decoder = PngDecoder::with_limits(data, limits()).map_err(unreadable)?;
            decoder.apng().map_err(unreadable)?.into_frames()
        }
    };
    let mut frames = Vec::new();
    let mut delay_ms = 0.0;
    for picture in pictures {
        let picture = picture.map_err(unreadable)?;
        if frames.len() == most {
            return Err(too_long(most));
        }
        let (numerator, denominator) = picture.delay().numer_denom_ms();
        delay_ms += f64::from(numerator) / f64::from(denominator.max(1));
        let image = DynamicImage::ImageRgba8(picture.into_buffer());
        frames.push(rgb_to_frame(&fit(image, size.0, size.1)));
    }
    let fps = (frames.len() > 1 && delay_ms > 0.0)
        .then(|| 1000.0 * frames.len() as f64 / delay_ms)
        .and_then(|fps| FrameRate::new((fps * 1000.0).round() as u32, 1000));
    Ok(Raw { frames, fps })
}

/// The clip at `fps`, as long as it was: each frame is the one that is shown at its time.
fn at_rate(raw: Raw, fps: FrameRate) -> Vec<Frame> {
    let Raw { frames, fps: own } = raw;
    let Some(own) = own else { return frames };
    let ratio = own.as_f64() / fps.as_f64();
    // Delays in milliseconds do not say 8.333 fps exactly.
    if (ratio - 1.0).abs() < 0.05 || frames.len() < 2 {
        return frames;
    }
    let count = ((frames.len() as f64 / ratio).round() as usize).clamp(2, MOST_FRAMES);
    let last = frames.len() - 1;
    let place = |i: usize| ((i as f64 * ratio).floor() as usize).min(last);
    (0..count).map(|i| frames[place(i)].clone()).collect()
}

/// The frames at the size asked for.
fn fitted(frames: Vec<Frame>, (width, height): (u32, u32)) -> Vec<Frame> {
    let effort = Arc::new(PresentEffort::default());
    let mut renderer = Renderer::new((width, height), Fit::Cover, Interpolation::Nearest, effort);
    let scale = |frame: Frame| {
        if (frame.width, frame.height) == (width, height) {
            return frame;
        }
        let mut scaled = Frame::black(width, height);
        let picture = Picture { base: Layer::still(&frame), over: None };
        renderer.render(&picture, &Look::default(), &mut scaled.as_mut());
        scaled
    };
    frames.into_iter().map(scale).collect()
}

#[cfg(test)]
mod tests;
