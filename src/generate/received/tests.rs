//! Files of every kind, and of none.

use image::{Delay, Rgb, Rgba, RgbaImage};
use proptest::prelude::*;

use super::*;
use crate::base::error::Kind;
use crate::media::{CycleId, DecodedClip, VideoFormat};

/// Stands for GStreamer: "decodes" frames of luma 100 to 107 at 16 fps out of anything.
struct Fake;

impl ClipDecoder for Fake {
    fn decode(&self, path: &std::path::Path) -> Result<DecodedClip> {
        let file = std::fs::read(path).unwrap();
        if file.ends_with(b"broken") {
            return Err(Error::new(Kind::Io, "it holds no picture"));
        }
        let format = VideoFormat { width: 32, height: 32, fps: FrameRate::whole(16) };
        let frame = |i: u8| {
            let mut frame = Frame::black(32, 32);
            frame.y.fill(100 + i);
            frame
        };
        Ok(DecodedClip { format, frames: (0..8).map(frame).collect() })
    }
}

fn reader() -> Reader {
    Reader::new(Arc::new(Fake))
}

fn request(width: u32, height: u32) -> VideoRequest {
    VideoRequest {
        cycle: CycleId(0),
        first: None,
        last: None,
        prompt: String::new(),
        negative_prompt: String::new(),
        seed: 0,
        width,
        height,
        frames: 8,
        fps: FrameRate::whole(8),
        steps: 1,
        cfg_scale: 1.0,
        sampler: String::new(),
        motion_bucket_id: 127,
        noise_aug_strength: 0.02,
    }
}

fn picture(shade: u8) -> RgbImage {
    RgbImage::from_fn(64, 32, |x, _| Rgb([shade, (x * 3) as u8, 200]))
}

fn encoded(format: image::ImageFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(picture(90)).write_to(&mut file, format).unwrap();
    file.into_inner()
}

/// `count` frames of `delay_ms` each.
fn gif(count: u32, delay_ms: u32) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = image::codecs::gif::GifEncoder::new(&mut file);
    for i in 0..count {
        let frame = RgbaImage::from_pixel(64, 32, Rgba([(40 + 10 * i) as u8, 90, 90, 255]));
        let delay = Delay::from_numer_denom_ms(delay_ms, 1);
        encoder.encode_frame(image::Frame::from_parts(frame, 0, 0, delay)).unwrap();
    }
    drop(encoder);
    file
}

#[tokio::test]
async fn pictures_of_every_kind_fill_the_size() {
    use image::ImageFormat::{Jpeg, Png, WebP};
    for (format, kind) in [(Png, FileKind::Png), (Jpeg, FileKind::Jpeg), (WebP, FileKind::WebP)] {
        let file = encoded(format);
        assert_eq!(FileKind::of(&file), kind);
        let image = reader().image(file, (32, 32), "test").await.unwrap();
        assert_eq!(image.dimensions(), (32, 32));
        assert!(image.get_pixel(16, 16).0[0].abs_diff(90) < 6, "{kind:?}");
    }
    let mp4 = b"\0\0\0\x20ftypisom".to_vec();
    assert_eq!(reader().image(mp4, (32, 32), "test").await.unwrap().dimensions(), (32, 32));
}

#[tokio::test]
async fn clips_of_every_kind_keep_their_speed() {
    // 16 frames at 16 fps are 8 at 8 fps; 8 at 8 fps stay.
    let frames = reader().video(vec![gif(16, 60)], &request(32, 16), "test").await.unwrap();
    assert_eq!((frames.len(), frames[0].width, frames[0].height), (8, 32, 16));
    let frames = reader().video(vec![gif(8, 120)], &request(64, 32), "test").await.unwrap();
    assert_eq!(frames.len(), 8);
    // Slower ones show each frame twice: the same time, the same speed.
    let frames = reader().video(vec![gif(4, 250)], &request(64, 32), "test").await.unwrap();
    assert_eq!(frames.len(), 8);
    assert!(frames[0] == frames[1] && frames[1] != frames[2]);
    // A video beside a picture of it counts alone; every second of its frames is kept.
    let files = vec![encoded(image::ImageFormat::Png), b"\x1a\x45\xdf\xa3webm".to_vec()];
    let frames = reader().video(files, &request(32, 32), "test").await.unwrap();
    let shades: Vec<u8> = frames.iter().map(|frame| frame.y[0]).collect();
    assert_eq!(shades, [100, 102, 104, 106]);
    // Pictures alone are the frames.
    let files = vec![encoded(image::ImageFormat::Png); 5];
    assert_eq!(reader().video(files, &request(32, 32), "test").await.unwrap().len(), 5);
}

#[tokio::test]
async fn what_is_no_picture_says_what_it_is() {
    let black = |width, height| {
        let mut file = Cursor::new(Vec::new());
        let image = DynamicImage::ImageRgb8(RgbImage::new(width, height));
        image.write_to(&mut file, image::ImageFormat::Png).unwrap();
        file.into_inner()
    };
    for (file, part) in [
        (Vec::new(), "empty"),
        (b"  <html><body>Not found".to_vec(), "a web page"),
        (b"hello".to_vec(), "no picture that is known"),
        (black(16, 16), "all black"),
        (encoded(image::ImageFormat::Png)[..60].to_vec(), "cannot be decoded"),
        (black(9000, 1), "more than 8192 pixels"),
    ] {
        let error = reader().image(file, (32, 32), "server x").await.unwrap_err().to_string();
        assert!(error.contains(part) && error.starts_with("server x: "), "{error}");
    }
    for (files, part) in [
        (vec![], "no frame"),
        (vec![Vec::new()], "no frame"),
        (vec![encoded(image::ImageFormat::Png)], "a single frame"),
        (vec![black(16, 16); 3], "all black"),
        (vec![b"\0\0\0\x20ftypisom broken".to_vec()], "it holds no picture"),
    ] {
        let error = reader().video(files, &request(32, 32), "server x").await.unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[tokio::test]
async fn an_absurd_size_takes_no_memory() {
    // The header of a PNG of 100000x100000 pixels.
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
    png.extend(100_000u32.to_be_bytes());
    png.extend(100_000u32.to_be_bytes());
    png.extend([8, 2, 0, 0, 0, 0, 0, 0, 0]);
    assert!(reader().image(png, (32, 32), "test").await.is_err());
    // More frames than can be kept.
    assert_eq!(most_frames((4096, 4096)), 42);
    let stills = vec![encoded(image::ImageFormat::Png); 43];
    let error = reader().video(stills, &request(4096, 4096), "test").await.unwrap_err();
    assert!(error.to_string().contains("more than 42 frames"), "{error}");
}

proptest! {
    /// Whatever a server sends: no panic.
    #[test]
    fn any_file_is_read_or_refused(
        tail in prop::collection::vec(any::<u8>(), 0..300), start in 0usize..8, cut in 0usize..2000,
    ) {
        let starts: [&[u8]; 8] = [
            b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"RIFF\x10\0\0\0WEBP", b"RIFF\x40\0\0\0WEBPVP8X\x0a\0\0\0\x02",
            b"\x89PNG\r\n\x1a\n\0\0\0\x08acTL\0\0\0\x02\0\0\0\0", b"<",
        ];
        let file = [starts[start], &tail].concat();
        let _ = reader().read_image(&file, 16, 16);
        let _ = reader().read_video(&[file], (16, 16), FrameRate::whole(8));
        let mut whole = gif(3, 100);
        whole.truncate(cut);
        let _ = reader().read_video(&[whole], (16, 16), FrameRate::whole(8));
    }
}
