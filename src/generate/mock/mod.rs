//! TEMPORARY
use super::*;
use crate::base::error::Result;
use crate::media::Frame;
use async_trait::async_trait;
use image::RgbImage;
use std::time::Duration;
pub struct MockOptions {
    pub delay: Duration,
    pub fail_rate: f64,
    pub label: bool,
}
pub struct Mock(MockOptions);
impl Mock {
    pub fn new(o: MockOptions) -> Self {
        Mock(o)
    }
}
pub fn stand_in(_p: &str, seed: i64, w: u32, h: u32, n: u32) -> Vec<Frame> {
    (0..n).map(|i| paint(seed, i, w, h)).map(|im| super::convert::rgb_to_frame(&im)).collect()
}
fn paint(seed: i64, i: u32, w: u32, h: u32) -> RgbImage {
    RgbImage::from_fn(w, h, |x, y| {
        let t = i as f32 * 0.2 + seed as f32;
        let a = ((x as f32 / 60.0 + t).sin() + (y as f32 / 40.0 - t * 0.7).cos()) * 60.0 + 128.0;
        image::Rgb([
            a as u8,
            (x * 255 / w) as u8,
            (128.0 + 80.0 * (t + y as f32 / 100.0).sin()) as u8,
        ])
    })
}
#[async_trait]
impl Backend for Mock {
    fn name(&self) -> &'static str {
        "mock"
    }
    async fn check(&self) -> Result<()> {
        Ok(())
    }
    async fn generate_image(&self, r: &ImageRequest) -> Result<RgbImage> {
        Ok(paint(r.seed, 0, r.width, r.height))
    }
    async fn generate_video(&self, r: &VideoRequest) -> Result<Vec<Frame>> {
        let r = r.clone();
        let f =
            tokio::task::spawn_blocking(move || stand_in("", r.seed, r.width, r.height, r.frames))
                .await
                .unwrap();
        tokio::time::sleep(self.0.delay).await;
        Ok(f)
    }
}
