//! What a user of the built-in generator would notice.

use super::*;
use crate::base::time::FrameRate;
use crate::generate::Init;
use crate::generate::convert::{frame_to_rgb, rgb_to_frame};

const BRIEF: &str = "deep teal and magenta smoke, liquid light, drifting silk, slow, gold sparks";
const SIZE: (u32, u32) = (512, 288);

fn still(prompt: &str, seed: i64, init: Option<(&RgbImage, f64)>) -> RgbImage {
    make_image(image_request(0, prompt, seed, init))
}

fn image_request(
    cycle: u32,
    prompt: &str,
    seed: i64,
    init: Option<(&RgbImage, f64)>,
) -> ImageRequest {
    ImageRequest {
        cycle: CycleId(cycle),
        prompt: prompt.into(),
        negative_prompt: String::new(),
        seed,
        width: SIZE.0,
        height: SIZE.1,
        steps: 30,
        cfg_scale: 7.0,
        sampler: String::new(),
        init: init.map(|(image, strength)| Init { image: image.clone(), strength }),
    }
}

fn video_request(cycle: u32, prompt: &str, seed: i64, image: &RgbImage) -> VideoRequest {
    VideoRequest {
        cycle: CycleId(cycle),
        first: Some(image.clone()),
        last: None,
        prompt: prompt.into(),
        negative_prompt: String::new(),
        seed,
        width: SIZE.0,
        height: SIZE.1,
        frames: 24,
        fps: FrameRate::whole(8),
        steps: 30,
        cfg_scale: 7.0,
        sampler: "euler_ancestral".into(),
        motion_bucket_id: 127,
        noise_aug_strength: 0.02,
    }
}

fn clip(cycle: u32, prompt: &str, seed: i64, image: &RgbImage) -> Vec<Frame> {
    make_clip(video_request(cycle, prompt, seed, image), &AtomicBool::new(false)).unwrap()
}

/// Luma, averaged over 8x8 pixels.
fn broad(image: &RgbImage) -> Vec<f32> {
    blend::shrink(image, 64, 36)
        .iter()
        .map(|c| 0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2])
        .collect()
}

fn correlation(a: &RgbImage, b: &RgbImage) -> f32 {
    let (a, b) = (broad(a), broad(b));
    let mean = |v: &[f32]| v.iter().sum::<f32>() / v.len() as f32;
    let (ma, mb) = (mean(&a), mean(&b));
    let sum =
        |f: &dyn Fn(f32, f32) -> f32| a.iter().zip(&b).map(|(&a, &b)| f(a - ma, b - mb)).sum();
    let (ab, aa, bb): (f32, f32, f32) =
        (sum(&|a, b| a * b), sum(&|a, _| a * a), sum(&|_, b| b * b));
    ab / (aa * bb).sqrt()
}

/// Mean and deviation of luma, mean colourfulness, mean step between neighbours.
fn richness(frame: &Frame) -> [f32; 4] {
    let n = frame.y.len() as f32;
    let mean = frame.y.iter().map(|&y| f32::from(y)).sum::<f32>() / n;
    let variance = frame.y.iter().map(|&y| (f32::from(y) - mean).powi(2)).sum::<f32>() / n;
    let colour = frame
        .u
        .iter()
        .zip(&frame.v)
        .map(|(&u, &v)| (f32::from(u) - 128.0).hypot(f32::from(v) - 128.0))
        .sum::<f32>()
        / frame.u.len() as f32;
    let edges = frame.y.windows(2).map(|p| f32::from(p[0].abs_diff(p[1]))).sum::<f32>() / n;
    [mean, variance.sqrt(), colour, edges]
}

#[test]
fn equal_requests_give_equal_bytes_and_seeds_change_the_picture() {
    let first = still(BRIEF, 7, None);
    assert_eq!(first.as_raw(), still(BRIEF, 7, None).as_raw());
    assert!(correlation(&first, &still(BRIEF, 8, None)) < 0.7);
    assert!(clip(0, BRIEF, 7, &first) == clip(0, BRIEF, 7, &first));
}

#[test]
fn strength_decides_how_much_of_the_picture_stays() {
    let mut at = [0.0; 3];
    for seed in 0..6 {
        let init = still(BRIEF, 100 + seed, None);
        let grown = |s| still("ember and fire, rising", seed, Some((&init, s)));
        assert_eq!(grown(0.0).as_raw(), init.as_raw());
        let kept = correlation(&init, &grown(0.4));
        assert!(kept > 0.65, "seed {seed}: {kept}");
        for (sum, s) in at.iter_mut().zip([0.2, 0.4, 1.0]) {
            *sum += correlation(&init, &grown(s)) / 6.0;
        }
    }
    assert!(at[0] > 0.85 && at[1] > 0.75 && at[2].abs() < 0.4, "{at:?}");
}

#[test]
fn a_changed_prompt_changes_the_colours_at_once() {
    let redness = |image: &RgbImage| {
        blend::shrink(image, 8, 8).iter().map(|c| c[0] - c[2]).sum::<f32>() / 64.0
    };
    let init = still("deep blue ocean smoke", 3, None);
    let grown =
        still("deep blue ocean smoke, shifting toward warmer amber tones", 4, Some((&init, 0.4)));
    assert!(redness(&grown) > redness(&init) + 15.0, "{} {}", redness(&init), redness(&grown));
}

#[test]
fn a_clip_begins_with_its_picture_and_moves_smoothly() {
    let image = still(BRIEF, 7, None);
    let frames = clip(0, "swirling fast teal and magenta silk", 7, &image);
    assert_eq!(frames.len(), 24);
    assert!(frames[0] == rgb_to_frame(&image));
    let change = |a: &Frame, b: &Frame| {
        a.y.iter().zip(&b.y).map(|(&a, &b)| f32::from(a.abs_diff(b))).sum::<f32>()
            / a.y.len() as f32
    };
    let steps: Vec<f32> = frames.windows(2).map(|p| change(&p[0], &p[1])).collect();
    let mean = steps.iter().sum::<f32>() / steps.len() as f32;
    assert!(mean > 0.3, "nothing moves: {mean}");
    for (i, step) in steps.iter().enumerate() {
        assert!(*step > 0.2 * mean && *step < 2.5 * mean, "frame {i}: {step}, mean {mean}");
    }
    let light: Vec<f32> = frames.iter().map(|f| richness(f)[0]).collect();
    for pair in light.windows(2) {
        assert!((pair[0] - pair[1]).abs() < 2.5, "flickers: {light:?}");
    }
}

#[test]
fn ten_cycles_later_the_picture_is_still_rich() {
    let mut image = still(BRIEF, 7, None);
    // Measured by what fresh paintings of the same words are like on average.
    let mut fresh = [0.0; 4];
    for seed in 0..8 {
        let one = richness(&rgb_to_frame(&still(BRIEF, 50 + seed, None)));
        fresh.iter_mut().zip(one).for_each(|(sum, v)| *sum += v / 8.0);
    }
    for cycle in 1..=10 {
        let seed = 7 + i64::from(cycle);
        let frames = clip(cycle - 1, BRIEF, seed - 1, &image);
        let last = frame_to_rgb(&frames[23]);
        image = make_image(image_request(cycle, BRIEF, seed, Some((&last, 0.4))));
        let now = richness(&rgb_to_frame(&image));
        for (what, (now, fresh)) in
            ["light", "contrast", "colour", "edges"].iter().zip(now.iter().zip(fresh))
        {
            assert!(
                *now > 0.6 * fresh && *now < 1.7 * fresh,
                "cycle {cycle}: {what} is {now}, of fresh paintings {fresh}"
            );
        }
    }
}

#[test]
fn odd_and_small_sizes_work() {
    for (width, height) in [(16, 16), (321, 181), (64, 640)] {
        let frames = stand_in("ice and fire", 1, width, height, 3);
        assert_eq!(frames.len(), 3);
        assert!(frames.iter().all(|f| (f.width, f.height) == (width, height)));
    }
    assert_eq!(stand_in("x", 1, 64, 36, 1).len(), 1);
}

fn options() -> MockOptions {
    MockOptions { delay: Duration::ZERO, fail_rate: 0.0, label: false }
}

#[tokio::test]
async fn another_size_is_scaled_and_an_impossible_one_refused() {
    let mock = Mock::new(options());
    let mut request = video_request(0, BRIEF, 1, &RgbImage::new(64, 64));
    request.frames = 2;
    let frames = mock.generate_video(&request, &|_| ()).await.unwrap();
    assert_eq!((frames[1].width, frames[1].height), SIZE);
    request.frames = 0;
    let error = mock.generate_video(&request, &|_| ()).await.unwrap_err().to_string();
    assert!(error.contains("0 frames"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_cycle_takes_as_long_as_it_was_told() {
    let mock = Mock::new(MockOptions { delay: Duration::from_secs(12), ..options() });
    let image = RgbImage::new(SIZE.0, SIZE.1);
    let request = video_request(0, BRIEF, 1, &image);
    let mut video = mock.generate_video(&request, &|_| ());
    let within = tokio::time::timeout(Duration::from_millis(11_500), &mut video).await;
    assert!(within.is_err(), "too early");
    let within = tokio::time::timeout(Duration::from_secs(1), &mut video).await;
    within.expect("in time").unwrap();
}

#[tokio::test]
async fn failures_are_as_frequent_as_asked_for_and_retries_succeed() {
    let run = || async {
        let mock = Mock::new(MockOptions { fail_rate: 0.3, ..options() });
        let mut failed = Vec::new();
        for cycle in 0..200 {
            let mut request = image_request(cycle, "x", i64::from(cycle), None);
            (request.width, request.height) = (16, 16);
            let mut tries = 0;
            while let Err(error) = mock.generate_image(&request, &|_| ()).await {
                assert!(error.to_string().contains("backend.mock_fail_rate = 0.3"), "{error}");
                tries += 1;
            }
            failed.push(tries);
        }
        failed
    };
    let failed = run().await;
    let cycles = failed.iter().filter(|&&tries| tries > 0).count();
    assert!((40..80).contains(&cycles), "{cycles} of 200 cycles failed at first");
    assert_eq!(failed, run().await);
}

#[tokio::test]
async fn the_label_covers_the_bottom_only() {
    let image = still(BRIEF, 7, None);
    let mut request = video_request(4, BRIEF, 7, &image);
    request.frames = 2;
    let plain = Mock::new(options()).generate_video(&request, &|_| ()).await.unwrap();
    let labelled = Mock::new(MockOptions { label: true, ..options() })
        .generate_video(&request, &|_| ())
        .await
        .unwrap();
    let above = (SIZE.0 * (SIZE.1 - 24)) as usize;
    assert!(plain[1].y[..above] == labelled[1].y[..above]);
    assert!(plain[1].y[above..] != labelled[1].y[above..]);
}

#[test]
fn a_cancelled_clip_stops() {
    let image = RgbImage::new(SIZE.0, SIZE.1);
    assert!(make_clip(video_request(0, BRIEF, 1, &image), &AtomicBool::new(true)).is_none());
}
