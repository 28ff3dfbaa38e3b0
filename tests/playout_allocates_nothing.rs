//! The timeline's steady state, under an allocator that counts: whatever is steered, and however
//! plans change, a tick neither allocates nor frees; nor does what puts it on the beat.

#[path = "support/counting.rs"]
mod counting;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use counting::{CALLS, Counting};
use vfaq::base::time::FrameRate;
use vfaq::media::{Clip, CycleId, Frame, Origin, PreparedClip, VideoFormat};
use vfaq::music::{Bender, Modulators, Moment, Part, Quantiser, Stepped, Tempo, Ticks, param_of};
use vfaq::param::{MOD_SOURCES, MOD_TARGETS, MODULATORS, ParamId, QUANTA, Values};
use vfaq::playout::{PlayoutCounters, RingView, Timeline, TimelineSettings};
use vfaq::ring::{Capacity, ring};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn clip(origin: Origin, cycle: u32) -> Arc<PreparedClip> {
    let format = VideoFormat { width: 32, height: 16, fps: FrameRate::whole(8) };
    let frames: Vec<Frame> = (0..16).map(|_| Frame::black(32, 16)).collect();
    let (cycle, path, prompt) = (CycleId(cycle), PathBuf::new(), "".into());
    let clip = Clip { cycle, path, format, frames: 16, prompt };
    Arc::new(PreparedClip::without_repeats((origin, clip, false), frames, 0))
}

#[test]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
fn a_tick_allocates_nothing_whatever_is_steered() {
    let stand_in = clip(Origin::StandIn, 0);
    let history_bytes = 4 * stand_in.bytes();
    let settings =
        TimelineSettings { fps: FrameRate::whole(60), history_bytes, may_begin: |_, _| true };
    let (feeder, player) = ring(Capacity { seconds: 1000.0, bytes: usize::MAX });
    let (shots, shots_out) = crossbeam_channel::bounded(1000);
    let (view, _view_out) = RingView::channel();
    let counters = Arc::new(PlayoutCounters::default());
    let mut timeline = Timeline::new(settings, player, stand_in, shots, counters.clone(), view);
    let starter = feeder.starter();
    starter.go();
    let modes =
        [ParamId::Freeze, ParamId::Reverse, ParamId::Bounce, ParamId::Hold, ParamId::LoopCycles];
    let (mut values, mut revision, mut calls) = (Values::default(), 0, 0);
    let tempo = Tempo::default();
    let (mut modulators, mut bender, mut quantiser) =
        (Modulators::default(), Bender::default(), Quantiser::default());
    let mut on_beat = 0;
    for n in 0..20_000u64 {
        let mut fired = Vec::with_capacity(8);
        if n % 97 == 0 {
            feeder.append(clip(Origin::Cycle, n as u32)).unwrap();
        }
        if n % 311 == 0 {
            revision += 1;
            feeder.replan(revision, 1.0).unwrap();
        }
        if n % 311 == 100 {
            feeder.append_replacing(clip(Origin::Cycle, n as u32), revision).unwrap();
        }
        if n % 173 == 0 {
            let id = modes[(n / 173) as usize % modes.len()];
            values[id] = 1.0 - values[id];
        }
        // Most of the time little is held, so that the show goes on.
        if n % 1000 == 0 {
            modes.iter().for_each(|id| values[*id] = 0.0);
        }
        match n % 251 {
            0 => fired.push(ParamId::Next),
            80 => fired.push(ParamId::Back),
            160 => starter.go_to(CycleId((n / 97 * 97).saturating_sub(291) as u32)),
            _ => {}
        }
        values[ParamId::Speed] = 1.0 + (n as f32 / 500.0).sin() * 0.9;
        // All modulators, from another source to another target all the time.
        for slot in 0..MODULATORS {
            let turn = n as usize / 60 + slot;
            values[param_of(slot, Part::Source)] = (turn % MOD_SOURCES.len()) as f32;
            values[param_of(slot, Part::Target)] = (turn * 7 % MOD_TARGETS.len()) as f32;
        }
        values[ParamId::CycleBars] = (n / 4000 % 3) as f32;
        for id in [ParamId::QuantiseCut, ParamId::QuantiseHold] {
            values[id] = (n / 700) as f32 % (QUANTA.len() as f32 - 3.0);
        }
        let mut moved = values;
        let heard = Stepped([(n % 256) as u8; 11]);
        let before = CALLS.get();
        let beat = Ticks::of(n as f64 / 30.0).beat();
        modulators.step(&mut moved, beat, &heard, 16.7);
        let now = (&tempo, beat, 1.0 / 30.0);
        bender.step(&moved, now, timeline.ahead(), 16.7).apply(&mut moved);
        let moment = Moment { tempo: &tempo, beat, frame_beats: 1.0 / 30.0 };
        let cut = |id| timeline.cut(n, id);
        quantiser.step(&moment, &mut moved, &mut fired, cut, |_| on_beat += 1);
        timeline.set_coming(quantiser.begins_in());
        std::hint::black_box(timeline.tick(n, &moved, &fired));
        calls += CALLS.get() - before;
        shots_out.try_iter().for_each(drop);
        while feeder.tail_cut().is_some() {}
        feeder.collect(Duration::ZERO).unwrap();
    }
    let (played, dropped) = (counters.played.get(), counters.dropped.get());
    assert!(played > 40 && dropped > 10, "{played} played, {dropped} dropped");
    assert!(on_beat > 40, "{on_beat}");
    assert_eq!(calls, 0);
}
