//! Listening, under an allocator that counts: once it is made it neither allocates nor frees.

#[path = "support/counting.rs"]
mod counting;

use std::sync::Arc;
use std::time::Duration;

use counting::{CALLS, Counting};
use vfaq::audio::synth::{Groove, Part, Recipe, Track};
use vfaq::audio::{Listener, SAMPLE_RATE};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
fn listening_allocates_nothing_whatever_is_played() {
    let mut recipe = Recipe::new(150.0, Groove::FourOnTheFloor, 8);
    recipe.parts = vec![(Part::Full, 5), (Part::Breakdown, 3), (Part::Full, 2)];
    let first = Track::render(&recipe);
    // Another tempo, after a hole, and after one too long.
    let second = Track::render(&Recipe::new(110.0, Groove::Swung, 5));
    let (mut listener, ears) = Listener::new(Arc::default()).unwrap();
    let (mut beats, mut calls) = (0, 0);
    let mut at = Duration::from_secs(1);
    for track in [&first, &second, &first] {
        for (n, piece) in track.samples.chunks(2 * 441).enumerate() {
            let before = CALLS.get();
            listener.hear(piece, at);
            calls += CALLS.get() - before;
            beats += ears.beats.try_iter().count();
            at += Duration::from_secs(1) * 441 / SAMPLE_RATE;
            if n == 900 {
                at += Duration::from_secs(3);
            }
        }
        at += Duration::from_secs(15);
    }
    assert!(beats > 40, "{beats} beats");
    assert_eq!(calls, 0);
}
