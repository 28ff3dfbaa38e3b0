//! What the built-in generator costs, at generation size, on one core.
//!
//! `cargo bench --bench painter`; times of clips are for all 24 frames, and throughput says frames a
//! second.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark may stop")]

use std::hint::black_box;
use std::time::Duration;

use divan::Bencher;
use divan::counter::ItemsCount;
use image::RgbImage;
use tokio::runtime::{Builder, Runtime};
use vfaq::base::time::FrameRate;
use vfaq::generate::convert::{frame_to_rgb, rgb_to_frame};
use vfaq::generate::mock::{Mock, MockOptions, stand_in};
use vfaq::generate::{Backend, ImageRequest, Init, VideoRequest};
use vfaq::media::CycleId;

const PROMPTS: [&str; 3] = [
    "deep teal and magenta smoke, liquid light, drifting silk, slow, gold sparks",
    "ice crystals, frost, pale blue",
    "cosmic nebula, stardust, fast, falling",
];

fn main() {
    divan::main();
}

fn mock() -> Mock {
    Mock::new(MockOptions { delay: Duration::ZERO, fail_rate: 0.0, label: false })
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().expect("a runtime can be started")
}

fn image_request(prompt: &str, init: Option<Init>) -> ImageRequest {
    ImageRequest {
        cycle: CycleId(1),
        prompt: prompt.into(),
        negative_prompt: String::new(),
        seed: 7,
        width: 1024,
        height: 576,
        steps: 30,
        cfg_scale: 7.0,
        sampler: String::new(),
        init,
    }
}

fn picture(runtime: &Runtime, prompt: &str) -> RgbImage {
    runtime
        .block_on(mock().generate_image(&image_request(prompt, None), &|_| ()))
        .expect("it paints")
}

#[divan::bench(args = PROMPTS, sample_count = 20)]
fn image(bencher: Bencher, prompt: &str) {
    let (runtime, mock, request) = (runtime(), mock(), image_request(prompt, None));
    bencher.bench_local(|| runtime.block_on(mock.generate_image(black_box(&request), &|_| ())));
}

#[divan::bench(args = PROMPTS, sample_count = 20)]
fn image_from_image(bencher: Bencher, prompt: &str) {
    let (runtime, mock) = (runtime(), mock());
    let init = Init { image: picture(&runtime, "ember fire"), strength: 0.4 };
    let request = image_request(prompt, Some(init));
    bencher.bench_local(|| runtime.block_on(mock.generate_image(black_box(&request), &|_| ())));
}

#[divan::bench(args = PROMPTS, sample_count = 20)]
fn video_24_frames(bencher: Bencher, prompt: &str) {
    let (runtime, mock) = (runtime(), mock());
    let request = VideoRequest {
        cycle: CycleId(1),
        first: Some(picture(&runtime, prompt)),
        last: None,
        prompt: prompt.into(),
        negative_prompt: String::new(),
        seed: 7,
        width: 1024,
        height: 576,
        frames: 24,
        fps: FrameRate::whole(8),
        steps: 30,
        cfg_scale: 7.0,
        sampler: "euler_ancestral".into(),
        motion_bucket_id: 127,
        noise_aug_strength: 0.02,
    };
    bencher
        .counter(ItemsCount::new(24u32))
        .bench_local(|| runtime.block_on(mock.generate_video(black_box(&request), &|_| ())));
}

#[divan::bench(sample_count = 20)]
fn stand_in_320x180_24_frames(bencher: Bencher) {
    bencher.bench_local(|| stand_in(black_box(PROMPTS[0]), 7, 320, 180, 24));
}

#[divan::bench(sample_count = 20)]
fn to_frame(bencher: Bencher) {
    let image = picture(&runtime(), PROMPTS[0]);
    bencher.bench_local(|| rgb_to_frame(black_box(&image)));
}

#[divan::bench(sample_count = 20)]
fn from_frame(bencher: Bencher) {
    let frame = rgb_to_frame(&picture(&runtime(), PROMPTS[0]));
    bencher.bench_local(|| frame_to_rgb(black_box(&frame)));
}
