//! The sound's way over the render thread, under an allocator that counts: whatever is captured and
//! however the strip is set, a frame's sound neither allocates nor frees.

#[path = "support/counting.rs"]
mod counting;

use counting::{CALLS, Counting};
use vfaq::audio::ring;
use vfaq::audio::strip::{Controls, Strip};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_frame_of_sound_allocates_nothing() {
    let (mut writer, mut reader) = ring();
    let mut strip = Strip::new();
    let mut out = vec![0.0; 1600];
    let (mut calls, mut heard) = (0, 0);
    for n in 0..20_000u64 {
        let block: Vec<f32> = (0..1600).map(|i| (i as f32 * 0.1).sin() * 2.0).collect();
        if n % 7 != 3 {
            if n % 50 == 0 {
                writer.go_to(n * 800 + n % 300);
            }
            writer.write(&block);
        }
        let controls = Controls {
            gain_db: (n % 80) as f32 - 60.0,
            mute: n % 90 > 80,
            limiter: n % 200 > 20,
            delay_ms: (n / 300 % 8) as f32 * 250.0,
        };
        let before = CALLS.get();
        heard += reader.read(n * 800, &mut out);
        strip.pass(&mut out, &controls);
        std::hint::black_box(strip.levels());
        calls += CALLS.get() - before;
    }
    assert!(heard > 100_000, "{heard}");
    assert_eq!(calls, 0);
}
