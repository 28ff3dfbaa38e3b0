//! The timeline as a whole: what is seen when clips come, do not come, and are steered.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use proptest::prelude::*;

use super::*;
use crate::base::time::FrameRate;
use crate::media::testing::{clip, clip_from};
use crate::media::{CycleId, Grown, Origin, PreparedClip};
use crate::param::{ParamId, Values};
use crate::render::{Layer, Picture as Shot};
use crate::ring::{Capacity, Feeder, ring};

struct Rig {
    timeline: Timeline,
    feeder: Feeder,
    events: Receiver<ShotEvent>,
    counters: Arc<PlayoutCounters>,
    stand_in: Arc<PreparedClip>,
    view: triple_buffer::Output<RingView>,
    values: Values,
    fired: Vec<ParamId>,
}

impl Rig {
    fn tick(&mut self, n: u64) -> Shot<'_> {
        let fired = std::mem::take(&mut self.fired);
        self.timeline.tick(n, &self.values, &fired)
    }

    fn ticks(&mut self, frames: std::ops::Range<u64>) {
        for n in frames {
            self.tick(n);
        }
    }

    fn set(&mut self, id: ParamId, value: f32) {
        self.values[id] = value;
    }

    /// Cycles that were joined in since this was asked last.
    fn joined(&self) -> Vec<u32> {
        let joined = self.events.try_iter().filter(|e| e.fade_frames.is_some());
        joined.filter_map(|e| e.cycle).collect()
    }
}

fn rig(join_seconds: f64, history_clips: usize) -> Rig {
    let rig = standby(join_seconds, history_clips);
    rig.feeder.starter().go();
    rig
}

fn standby(join_seconds: f64, history_clips: usize) -> Rig {
    let (feeder, player) = ring(Capacity { seconds: 1000.0, bytes: usize::MAX });
    let (tx, events) = bounded(10_000);
    let counters = Arc::new(PlayoutCounters::default());
    let history_bytes = history_clips * clip(0, 24).bytes();
    let settings =
        TimelineSettings { fps: FrameRate::whole(60), history_bytes, may_begin: |_, _| true };
    let stand_in = clip_from(Origin::StandIn, 0, 24);
    let (view_in, view) = RingView::channel();
    let timeline = Timeline::new(settings, player, stand_in.clone(), tx, counters.clone(), view_in);
    let mut values = Values::default();
    values[ParamId::Crossfade] = join_seconds as f32;
    Rig { timeline, feeder, events, counters, stand_in, view, values, fired: Vec::new() }
}

/// The luma that would be seen, to follow the motion.
fn seen(shot: &Shot) -> f64 {
    let value = |l: &Layer| {
        let (a, b) = (f64::from(l.a.y[0]), f64::from(l.b.y[0]));
        a + (b - a) * f64::from(l.phase)
    };
    let base = value(&shot.base);
    shot.over.as_ref().map_or(base, |(l, mix)| base + (value(l) - base) * f64::from(*mix))
}

#[test]
fn in_standby_nothing_is_taken() {
    let mut rig = standby(0.5, 10);
    rig.feeder.append(clip(0, 24)).unwrap();
    for n in 0..600 {
        rig.tick(n);
    }
    assert_eq!(rig.counters.played.get(), 0);
    assert_eq!(rig.counters.on_air.get(), 0);
    rig.feeder.starter().go();
    for n in 600..700 {
        rig.tick(n);
    }
    assert_eq!(rig.counters.played.get(), 1);
    assert_eq!(rig.counters.on_air.get(), 1);
}

#[test]
fn ready_clips_follow_one_another_without_a_replay() {
    let mut rig = rig(0.5, 10);
    for cycle in 0..10 {
        rig.feeder.append(clip(cycle, 24)).unwrap();
    }
    // Ten clips of 3 s, overlapping by half a second.
    for n in 0..(60 * 24) {
        rig.tick(n);
    }
    assert_eq!(rig.counters.played.get(), 10);
    assert_eq!(rig.counters.replayed.get(), 0);
    assert_eq!(rig.counters.underruns.get(), 0);
    let cycles: Vec<_> =
        rig.events.try_iter().filter(|e| e.fade_frames.is_some()).map(|e| e.cycle).collect();
    assert_eq!(cycles, (0..10).map(Some).collect::<Vec<_>>());
}

#[test]
fn a_late_clip_is_bridged_and_joined_as_soon_as_it_is_there() {
    let mut rig = rig(0.5, 10);
    rig.feeder.append(clip(0, 24)).unwrap();
    for n in 0..600 {
        rig.tick(n);
    }
    assert_eq!(rig.counters.underruns.get(), 1, "one wait is one underrun");
    assert!(rig.counters.replayed.get() >= 1);
    assert_eq!(rig.counters.replaying.get(), 1);
    rig.feeder.append(clip(1, 24)).unwrap();
    let shot = rig.tick(600);
    assert!(shot.over.is_some(), "the new clip is joined in at once");
    assert_eq!(rig.counters.on_air.get(), 2);
    assert_eq!(rig.counters.replaying.get(), 0);
}

#[test]
fn the_walk_reaches_earlier_cycles_and_comes_back() {
    for join in [0.0, 0.1, 0.5] {
        let mut rig = rig(join, 3);
        for cycle in 0..5 {
            rig.feeder.append(clip(cycle, 24)).unwrap();
        }
        for n in 0..(60 * 60) {
            rig.tick(n);
        }
        let walked: Vec<u32> = rig
            .events
            .try_iter()
            .filter(|e| e.role == Role::Replay && e.fade_frames.is_some())
            .filter_map(|e| e.cycle)
            .collect();
        assert!(walked.starts_with(&[3, 2, 3, 4, 3, 2]), "join {join}: {walked:?}");
        assert!(!walked.contains(&1), "only what fits into memory is held: {walked:?}");
    }
}

#[test]
fn what_goes_out_does_not_claim_to_be_on_air() {
    let mut rig = rig(2.0, 10);
    rig.feeder.append(clip(0, 24)).unwrap();
    // The next one comes during the turn, which ends while the old clip fades out.
    for n in 0..165 {
        rig.tick(n);
    }
    rig.feeder.append(clip(1, 24)).unwrap();
    for n in 165..250 {
        rig.tick(n);
        assert_eq!(rig.counters.on_air.get(), 2, "at {n}");
        assert_eq!(rig.counters.replaying.get(), 0, "at {n}");
    }
}

#[test]
fn clips_come_home_when_they_are_done() {
    let mut rig = rig(0.5, 2);
    let clips: Vec<_> = (0..6).map(|cycle| clip(cycle, 24)).collect();
    for clip in &clips {
        rig.feeder.append(clip.clone()).unwrap();
    }
    for n in 0..(60 * 18) {
        rig.tick(n);
    }
    rig.feeder.collect(Duration::ZERO).unwrap();
    let out: Vec<_> = clips.iter().map(|c| Arc::strong_count(c) > 1).collect();
    assert_eq!(out, [false, false, false, false, true, true]);
    assert_eq!(Arc::strong_count(&rig.stand_in), 1);
}

/// A clip that grows out of a picture of another.
fn grown(cycle: u32, from: &PreparedClip, at: u32) -> Arc<PreparedClip> {
    let mut clip = Arc::into_inner(clip(cycle, 24)).unwrap();
    clip.grown_from = Some(Grown {
        serial: from.serial,
        cycle: from.clip.cycle,
        reversed: false,
        frames: 4,
        at: Some(at),
    });
    Arc::new(clip)
}

#[test]
fn a_new_plan_takes_over_at_the_cut() {
    let mut rig = rig(0.5, 10);
    for cycle in 0..4 {
        rig.feeder.append(clip(cycle, 24)).unwrap();
    }
    for n in 0..61 {
        rig.tick(n);
    }
    rig.feeder.replan(1, 1.0).unwrap();
    rig.tick(61);
    let cut = rig.feeder.tail_cut().unwrap();
    // One second at 8 fps is on air, one more stays.
    assert_eq!((cut.revision, cut.clip.clip.cycle.0, cut.frame), (1, 0, 17));
    assert!((cut.due_s - 1.1).abs() < 0.1, "{}", cut.due_s);
    let runway = rig.feeder.runway().seconds();
    assert!(runway > 7.0, "nothing is dropped yet");
    rig.feeder.append_replacing(grown(9, &cut.clip, cut.frame), 1).unwrap();
    rig.feeder.append(clip(10, 24)).unwrap();
    for n in 62..600 {
        rig.tick(n);
        if n == 62 {
            assert!(rig.feeder.runway().seconds() < runway - 2.0, "what was dropped is gone");
        }
    }
    let joined: Vec<_> = rig.events.try_iter().filter(|e| e.fade_frames.is_some()).collect();
    let cycles: Vec<_> = joined[..3].iter().filter_map(|e| e.cycle).collect();
    assert_eq!(cycles, [0, 9, 10]);
    // It grows out of the picture at the cut: the joint is one source frame long.
    assert_eq!(joined[1].fade_frames, Some(7));
    assert!((joined[1].frame as f64 - 17.0 * 7.5).abs() < 2.0, "at {}", joined[1].frame);
    assert_eq!(joined[2].fade_frames, Some(30));
    let unused = rig.feeder.collect(Duration::ZERO).unwrap();
    assert_eq!(unused, [CycleId(3), CycleId(2), CycleId(1)]);
    assert_eq!((rig.counters.replans.get(), rig.counters.dropped.get()), (1, 3));
}

#[test]
fn behind_the_cut_a_new_plan_takes_over_at_once() {
    let mut rig = rig(0.5, 10);
    for cycle in 0..3 {
        rig.feeder.append(clip(cycle, 24)).unwrap();
    }
    rig.feeder.replan(1, 0.5).unwrap();
    for n in 0..100 {
        rig.tick(n);
    }
    let cut = rig.feeder.tail_cut().unwrap();
    assert_eq!(cut.frame, 4);
    rig.feeder.append_replacing(grown(9, &cut.clip, cut.frame), 1).unwrap();
    let shot = rig.tick(100);
    assert!(shot.over.is_some());
    let last = rig.events.try_iter().last().unwrap();
    assert_eq!((last.cycle, last.fade_frames), (Some(9), Some(30)), "crossfaded");
}

#[test]
fn with_too_little_ready_the_cut_is_the_end_of_it() {
    let mut rig = rig(0.5, 10);
    rig.feeder.append(clip(0, 24)).unwrap();
    rig.feeder.append(clip(1, 16)).unwrap();
    rig.feeder.replan(1, 30.0).unwrap();
    rig.tick(0);
    let cut = rig.feeder.tail_cut().unwrap();
    assert_eq!((cut.clip.clip.cycle.0, cut.frame), (1, 15));
    // The show has none: nothing is ready at all.
    let mut rig = self::rig(0.5, 10);
    rig.feeder.replan(1, 30.0).unwrap();
    rig.tick(0);
    assert_eq!(rig.feeder.tail_cut().unwrap().clip.origin, Origin::StandIn);
}

#[test]
fn a_later_replan_supersedes_the_earlier_one() {
    let mut rig = rig(0.5, 10);
    for cycle in 0..3 {
        rig.feeder.append(clip(cycle, 24)).unwrap();
    }
    rig.feeder.replan(1, 0.5).unwrap();
    rig.feeder.replan(2, 0.5).unwrap();
    rig.tick(0);
    rig.feeder.append_replacing(clip(8, 24), 1).unwrap();
    rig.tick(1);
    assert_eq!(rig.feeder.collect(Duration::ZERO).unwrap(), [CycleId(8)], "it is too late");
    rig.feeder.append_replacing(clip(9, 24), 2).unwrap();
    rig.tick(2);
    assert_eq!(rig.feeder.collect(Duration::ZERO).unwrap(), [CycleId(2), CycleId(1)]);
}

#[test]
fn an_earlier_session_airs_until_something_new_is_there() {
    let mut rig = rig(0.5, 10);
    rig.feeder.append(clip_from(Origin::Earlier, 7, 24)).unwrap();
    for n in 0..300 {
        rig.tick(n);
    }
    assert_eq!(rig.counters.on_air.get(), 8);
    assert_eq!((rig.counters.played.get(), rig.counters.underruns.get()), (0, 0));
    rig.feeder.append(clip(8, 24)).unwrap();
    rig.tick(300);
    assert_eq!((rig.counters.played.get(), rig.counters.on_air.get()), (1, 9));
}

/// A rig with so many clips of three seconds, of which the first is on air for a second and a bit.
fn with_clips(join_seconds: f64, clips: u32) -> Rig {
    let rig = rig(join_seconds, 20);
    for cycle in 0..clips {
        rig.feeder.append(clip(cycle, 24)).unwrap();
    }
    rig
}

/// Ticks on until a cycle has been joined in; returns the frame behind that.
fn until(rig: &mut Rig, from: u64, cycle: u32) -> u64 {
    for n in from..from + 6000 {
        rig.tick(n);
        if rig.counters.on_air.get() == u64::from(cycle) + 1 && rig.timeline.fade.is_none() {
            return n + 1;
        }
    }
    panic!("cycle {cycle} does not come")
}

#[test]
fn at_twice_the_speed_all_is_over_in_half_the_time_and_moves_evenly() {
    let mut rig = with_clips(0.5, 6);
    rig.set(ParamId::Speed, 2.0);
    let mut seen_before = None;
    let mut steps = Vec::new();
    for n in 0..600 {
        let shot = rig.tick(n);
        let now = shot.over.is_none().then(|| seen(&shot));
        if let (Some(before), Some(now)) = (seen_before, now) {
            let step: f64 = now - before;
            steps.push(step);
        }
        seen_before = now;
    }
    // 24 frames at 16 a second, half a second of which is a join: one second each.
    assert_eq!(rig.counters.played.get(), 6);
    let even = steps.iter().filter(|s| (**s - 16.0 / 60.0).abs() < 1e-5).count();
    assert!(even > 150, "{even} of {}", steps.len());
}

#[test]
fn frames_that_were_held_do_not_slow_the_show_down() {
    let mut rig = with_clips(0.5, 6);
    rig.set(ParamId::Speed, 2.0);
    let mut plain = with_clips(0.5, 6);
    plain.set(ParamId::Speed, 2.0);
    for n in 0..50 {
        let shot = seen(&plain.tick(n));
        if n % 5 == 0 {
            assert!((seen(&rig.tick(n)) - shot).abs() < 1e-6);
        }
    }
}

#[test]
fn a_runway_is_as_long_as_it_lasts_at_the_present_speed() {
    let mut rig = with_clips(0.0, 4);
    rig.tick(0);
    let plain = rig.feeder.runway().seconds();
    rig.set(ParamId::Speed, 2.0);
    rig.tick(1);
    let fast = rig.feeder.runway().seconds();
    assert!((fast - plain / 2.0).abs() < 0.1, "{plain} s, {fast} s");
}

#[test]
fn a_freeze_stands_still_and_goes_on_from_there() {
    let mut rig = with_clips(0.5, 3);
    rig.ticks(0..90);
    rig.set(ParamId::Freeze, 1.0);
    rig.ticks(90..100);
    let still = seen(&rig.tick(100));
    for n in 101..600 {
        assert_eq!(seen(&rig.tick(n)), still);
    }
    assert_eq!(rig.counters.speed.get(), 0);
    assert_eq!(Mode::ALL[rig.counters.mode.get() as usize], Mode::Freeze);
    rig.set(ParamId::Freeze, 0.0);
    let after = seen(&rig.tick(600));
    assert!(after >= still && after < still + 0.3, "{still}, then {after}");
    rig.ticks(601..700);
    assert_eq!((rig.counters.played.get(), rig.counters.underruns.get()), (2, 0));
}

#[test]
fn reverse_walks_back_and_returns_to_the_newest_before_anything_new() {
    let mut rig = with_clips(0.5, 5);
    let n = until(&mut rig, 0, 2) + 60;
    rig.ticks(n - 60..n);
    rig.joined();
    rig.set(ParamId::Reverse, 1.0);
    let before = seen(&rig.tick(n));
    rig.ticks(n + 1..n + 50);
    assert!(seen(&rig.tick(n + 50)) < before, "backwards by now");
    rig.ticks(n + 51..n + 400);
    assert_eq!(rig.joined()[..2], [1, 0]);
    assert_eq!(rig.counters.played.get(), 3, "nothing new is taken");
    assert_eq!(rig.counters.replaying.get(), 0, "that was wished for");
    rig.set(ParamId::Reverse, 0.0);
    until(&mut rig, n + 400, 4);
    let joined = rig.joined();
    assert!(joined.ends_with(&[1, 2, 3, 4]), "{joined:?}");
    assert_eq!((rig.counters.played.get(), rig.counters.replayed.get()), (5, 0));
}

#[test]
fn a_bounce_stays_on_the_cycle() {
    let mut rig = with_clips(0.5, 3);
    rig.ticks(0..60);
    rig.joined();
    rig.set(ParamId::Bounce, 1.0);
    rig.ticks(60..1200);
    assert_eq!(rig.joined(), [0; 0]);
    assert_eq!(rig.counters.underruns.get(), 0);
    rig.set(ParamId::Bounce, 0.0);
    rig.ticks(1200..1700);
    assert_eq!(rig.joined(), [1, 2]);
}

#[test]
fn a_held_cycle_begins_again_when_it_ends() {
    let mut rig = with_clips(0.5, 3);
    rig.ticks(0..60);
    rig.joined();
    rig.set(ParamId::Hold, 1.0);
    // Every two and a half seconds.
    rig.ticks(60..660);
    assert_eq!(rig.joined(), [0, 0, 0, 0]);
    rig.set(ParamId::Hold, 0.0);
    rig.ticks(660..1000);
    assert_eq!(rig.joined(), [1, 2]);
    assert_eq!(rig.counters.underruns.get(), 0);
}

#[test]
fn a_loop_shows_the_last_cycles_in_order() {
    let mut rig = with_clips(0.5, 6);
    let n = until(&mut rig, 0, 3);
    rig.joined();
    rig.set(ParamId::LoopCycles, 2.0);
    rig.ticks(n..n + 900);
    assert_eq!(rig.joined()[..5], [2, 3, 2, 3, 2]);
    rig.set(ParamId::LoopCycles, 0.0);
    rig.ticks(n + 900..n + 1200);
    let joined = rig.joined();
    assert!(joined.ends_with(&[4, 5]), "{joined:?}");
    assert_eq!((rig.counters.underruns.get(), rig.counters.replayed.get()), (0, 0));
}

#[test]
fn next_goes_on_at_once_or_within_a_second_or_not_at_all() {
    let mut rig = with_clips(0.5, 2);
    rig.ticks(0..60);
    rig.joined();
    rig.fired.push(ParamId::Next);
    assert!(rig.tick(60).over.is_some());
    assert_eq!(rig.joined(), [1]);
    // None is ready; one comes half a second later.
    rig.ticks(61..100);
    rig.fired.push(ParamId::Next);
    rig.ticks(100..130);
    rig.feeder.append(clip(2, 24)).unwrap();
    assert!(rig.tick(130).over.is_some());
    assert_eq!((rig.joined(), rig.counters.refused.get()), (vec![2], 0));
    // None comes.
    rig.ticks(131..170);
    rig.fired.push(ParamId::Next);
    rig.ticks(170..235);
    assert_eq!(rig.counters.refused.get(), 1);
    rig.feeder.append(clip(3, 24)).unwrap();
    assert!(rig.tick(236).over.is_none());
}

#[test]
fn without_a_crossfade_a_cut_takes_no_frames_and_waits_for_none() {
    let mut rig = with_clips(0.0, 4);
    let mut n = until(&mut rig, 0, 1);
    while rig.tick(n).over.is_none() {
        n += 1;
    }
    // In the middle of the join that has just begun.
    rig.events.try_iter().for_each(drop);
    rig.fired.push(ParamId::Next);
    let all = rig.tick(n + 1).over.is_some_and(|(_, mix)| mix == 1.0);
    assert!(all, "all of it shows in its first frame");
    assert!(rig.tick(n + 2).over.is_none());
    let joins = rig.events.try_iter().filter_map(|e| Some((e.frame, e.cycle?, e.fade_frames?)));
    assert_eq!(joins.collect::<Vec<_>>(), [(n + 1, 3, 0)]);
}

#[test]
fn no_join_of_its_own_is_on_when_a_cut_that_waits_begins() {
    // By itself it would begin after 119 frames, and take 30.
    for begins in [100, 118, 119, 120, 130, 148, 149, 160, 185, 260] {
        let mut rig = with_clips(0.5, 5);
        let start = until(&mut rig, 0, 0);
        rig.joined();
        for n in start..start + begins {
            rig.timeline.set_coming(Some((start + begins - n) as f64));
            rig.tick(n);
        }
        rig.timeline.set_coming(None);
        let before = rig.joined().len();
        rig.fired.push(ParamId::Next);
        assert!(rig.timeline.cut(start + begins, ParamId::Next).after == 0, "{begins}");
        assert!(rig.tick(start + begins).over.is_some());
        assert_eq!((rig.joined().len(), before), (1, usize::from(begins > 148)), "{begins}");
        assert_eq!(rig.counters.underruns.get(), 0);
    }
}

#[test]
fn back_shows_the_cycle_before_and_comes_forwards_again() {
    let mut rig = with_clips(0.5, 5);
    let n = until(&mut rig, 0, 2);
    rig.joined();
    rig.fired.push(ParamId::Back);
    assert!(rig.tick(n).over.is_some());
    rig.ticks(n + 1..n + 520);
    assert_eq!(rig.joined(), [1, 2, 3, 4]);
    // Twice before anything could happen is two back.
    rig.fired.extend([ParamId::Back, ParamId::Back]);
    rig.tick(n + 520);
    assert_eq!(rig.joined(), [2]);
}

#[test]
fn a_cycle_that_is_at_hand_can_be_gone_to() {
    let mut rig = with_clips(0.5, 5);
    let starter = rig.feeder.starter();
    let n = until(&mut rig, 0, 2);
    rig.joined();
    starter.go_to(CycleId(0));
    rig.tick(n);
    assert_eq!(rig.joined(), [0]);
    assert_eq!(starter.not_at_hand(), None);
    // One that waits: what is passed over can be gone back to.
    rig.ticks(n + 1..n + 60);
    starter.go_to(CycleId(4));
    rig.tick(n + 60);
    assert_eq!(rig.joined(), [4]);
    rig.ticks(n + 61..n + 120);
    rig.fired.push(ParamId::Back);
    rig.tick(n + 120);
    assert_eq!(rig.joined(), [3]);
    starter.go_to(CycleId(77));
    rig.ticks(n + 121..n + 180);
    assert_eq!(starter.not_at_hand(), Some(CycleId(77)));
    assert_eq!(starter.not_at_hand(), None, "told once");
    assert_eq!(rig.counters.refused.get(), 1);
}

#[test]
fn what_the_ring_holds_can_be_seen() {
    let mut rig = with_clips(0.5, 5);
    let n = until(&mut rig, 0, 2);
    rig.ticks(n..n + 15);
    let view = *rig.view.read();
    let places: Vec<_> = view.clips().iter().map(|c| (c.cycle, c.place)).collect();
    let (played, ready) = (Place::Played, Place::Ready);
    let here = [played, played, Place::OnAir, ready, ready];
    let there: Vec<_> = (0..5).map(Some).zip(here).collect();
    assert_eq!(places, there);
    assert_eq!(view.clips()[4].seconds, 3.0);
}

/// Something that happens to a show.
#[derive(Clone, Debug)]
enum Act {
    Append(u32),
    Replan(f64),
    /// For the latest replan, or one before.
    Replace {
        frames: u32,
        late: u64,
        grows: bool,
    },
    Set(ParamId, f32),
    Fire(ParamId),
    GoTo(u32),
    /// Frames that were held.
    Held(u64),
}

fn act() -> impl Strategy<Value = Act> {
    let on = || prop_oneof![Just(0.0f32), Just(1.0)];
    prop_oneof![
        6 => (12u32..40).prop_map(Act::Append),
        2 => (0.0f64..8.0).prop_map(Act::Replan),
        2 => (12u32..40, 0u64..2, any::<bool>())
            .prop_map(|(frames, late, grows)| Act::Replace { frames, late, grows }),
        2 => (0.1f32..4.0).prop_map(|speed| Act::Set(ParamId::Speed, speed)),
        1 => Just(Act::Set(ParamId::Speed, 1.0)),
        1 => on().prop_map(|on| Act::Set(ParamId::Freeze, on)),
        2 => on().prop_map(|on| Act::Set(ParamId::Reverse, on)),
        2 => on().prop_map(|on| Act::Set(ParamId::Bounce, on)),
        2 => on().prop_map(|on| Act::Set(ParamId::Hold, on)),
        2 => (0u32..4).prop_map(|n| Act::Set(ParamId::LoopCycles, n as f32)),
        1 => prop_oneof![Just(0.3f32), Just(0.5), Just(2.0)]
            .prop_map(|s| Act::Set(ParamId::Crossfade, s)),
        2 => Just(Act::Fire(ParamId::Next)),
        2 => Just(Act::Fire(ParamId::Back)),
        1 => (0u32..20).prop_map(Act::GoTo),
        1 => (1u64..30).prop_map(Act::Held),
    ]
}

/// What was seen in each frame that was drawn, and how many underruns there were.
struct Ran {
    lumas: Vec<f64>,
    underruns: u64,
}

/// Runs a show in which these things happen, so many frames apart.
fn run(acts: &[(u64, Act)], history: usize, replans: bool, replaces: bool) -> Ran {
    let mut rig = rig(0.5, history);
    let starter = rig.feeder.starter();
    let mut clips: Vec<Arc<PreparedClip>> = Vec::new();
    let (mut n, mut revision, mut cut, mut unused) = (0, 0, None, 0);
    let (mut lumas, mut still, mut quiet) = (Vec::new(), 0, false);
    let long = [(600, Act::Held(1))];
    for (gap, act) in acts.iter().chain(&long) {
        for _ in 0..*gap {
            let (underruns, ready) = (rig.counters.underruns.get(), rig.timeline.plan.queue.len());
            let keeps = rig.timeline.steering.keeps();
            let held = lumas.is_empty() || quiet;
            let (now, two) = {
                let shot = rig.tick(n);
                (seen(&shot), shot.over.is_some())
            };
            if rig.counters.underruns.get() > underruns {
                assert!(ready == 0 && !keeps, "at {n}: {ready} clips were ready");
            }
            if let Some(before) = lumas.last() {
                let step: f64 = now - before;
                // Clips that grow are 39 levels apart here, within a source frame's time.
                assert!(held || step.abs() < 25.0, "jump of {step} at {n}");
                still = if step.abs() < 1e-4 { still + 1 } else { 0 };
                if rig.values[ParamId::Freeze] > 0.0 {
                    still = 0;
                }
                assert!(still < 90, "stands still at {n}, two on air: {two}");
            }
            lumas.push(now);
            quiet = false;
            n += 1;
        }
        match act {
            Act::Append(frames) => {
                let clip = clip(clips.len() as u32, *frames);
                clips.push(clip.clone());
                rig.feeder.append(clip).unwrap();
            }
            Act::Replan(keep_s) if replans => {
                revision += 1;
                rig.feeder.replan(revision, *keep_s).unwrap();
            }
            Act::Replace { frames, late, grows } if replaces && revision > 0 => {
                while let Some(newer) = rig.feeder.tail_cut() {
                    cut = Some((newer.clip.serial, newer.clip.clip.cycle, newer.frame));
                }
                let mut clip = Arc::into_inner(clip(clips.len() as u32, *frames)).unwrap();
                clip.grown_from = cut.filter(|_| *grows).map(|(serial, cycle, frame)| Grown {
                    serial,
                    cycle,
                    reversed: false,
                    frames: 4,
                    at: Some(frame),
                });
                let clip = Arc::new(clip);
                clips.push(clip.clone());
                rig.feeder.append_replacing(clip, revision - late.min(&(revision - 1))).unwrap();
            }
            Act::Replan(_) | Act::Replace { .. } => {}
            Act::Set(id, value) => rig.set(*id, *value),
            Act::Fire(id) => rig.fired.push(*id),
            Act::GoTo(cycle) => starter.go_to(CycleId(*cycle)),
            Act::Held(frames) => {
                n += frames;
                quiet = true;
            }
        }
        unused += rig.feeder.collect(Duration::ZERO).unwrap().len() as u64;
    }
    while rig.feeder.tail_cut().is_some() {}
    // A wish that is left over must not keep a clip.
    rig.tick(n);
    unused += rig.feeder.collect(Duration::ZERO).unwrap().len() as u64;
    // Each clip is here, or has come home once.
    let here = clips.iter().filter(|clip| Arc::strong_count(clip) > 1);
    assert_eq!(rig.feeder.bytes_out(), here.map(|clip| clip.bytes()).sum::<usize>());
    assert_eq!(unused, rig.counters.dropped.get());
    assert_eq!(rig.counters.events_lost.get(), 0);
    Ran { lumas, underruns: rig.counters.underruns.get() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever is steered, in any combination, and however plans change: there is a picture, it
    /// moves, nothing jumps, an underrun is one, and every clip comes home once.
    #[test]
    fn the_show_goes_on_whatever_is_steered(
        acts in proptest::collection::vec((0u64..240, act()), 0..40),
        history in 1usize..6,
    ) {
        run(&acts, history, true, true);
    }

    /// A replan that nothing has come for changes nothing: no picture, no underrun.
    #[test]
    fn a_replan_alone_changes_nothing(
        acts in proptest::collection::vec((0u64..240, act()), 0..40),
        history in 1usize..6,
    ) {
        let (plain, replanned) = (run(&acts, history, false, false), run(&acts, history, true, false));
        prop_assert_eq!(plain.lumas, replanned.lumas);
        prop_assert_eq!(plain.underruns, replanned.underruns);
    }
}

proptest! {
    /// However clips arrive, and whatever their length: there is always a picture, nothing
    /// jumps more than a join may, the picture never stands still for long, every new clip
    /// airs exactly once as new, and in order.
    #[test]
    fn the_show_never_stops(
        join in prop_oneof![Just(0.0), Just(0.5), Just(2.0)],
        arrivals in proptest::collection::vec((0u64..900, 2u32..40), 0..30),
        history in 1usize..6,
    ) {
        let mut rig = rig(join, history);
        let mut pending: VecDeque<(u64, u32)> = VecDeque::new();
        let mut at = 0;
        for (gap, frames) in arrivals {
            at += gap;
            pending.push_back((at, frames));
        }
        let total = at + 3000;
        let clips = pending.len() as u64;
        let mut cycle = 0;
        let mut last = None;
        let mut still = 0;
        for n in 0..total {
            while pending.front().is_some_and(|(due, _)| *due <= n) {
                let (_, frames) = pending.pop_front().unwrap();
                rig.feeder.append(clip(cycle, frames)).unwrap();
                cycle += 1;
            }
            let shot = rig.tick(n);
            let now = seen(&shot);
            if let Some(before) = last {
                // 8 grey levels a second of motion, and joins of up to 39 levels over at
                // least a source frame's time.
                let step: f64 = now - before;
                prop_assert!(step.abs() < 40.0 / 3.0, "jump of {step} at {n}");
                still = if step.abs() < 1e-4 { still + 1 } else { 0 };
                prop_assert!(still < 60, "stands still at {n}");
            }
            last = Some(now);
            if n % 50 == 0 {
                rig.feeder.collect(Duration::ZERO).unwrap();
            }
        }
        let aired: Vec<u32> = rig.events.try_iter()
            .filter(|e| e.role == Role::Fresh && e.fade_frames.is_some())
            .filter_map(|e| e.cycle)
            .collect();
        // What arrived close to the end may still wait.
        prop_assert!(aired.iter().copied().eq(0..aired.len() as u32), "{aired:?}");
        prop_assert_eq!(rig.counters.played.get(), aired.len() as u64);
        prop_assert!(aired.len() as u64 <= clips);
        prop_assert_eq!(rig.counters.events_lost.get(), 0);
    }

    /// The same commands at the same frames give the same shots.
    #[test]
    fn ticks_are_deterministic(gaps in proptest::collection::vec(0u64..400, 1..10)) {
        let run = || {
            let mut rig = rig(0.5, 3);
            let mut lumas = Vec::new();
            let (mut due, mut cycle) = (0, 0);
            for gap in &gaps {
                for n in due..due + gap {
                    lumas.push(seen(&rig.tick(n)));
                }
                due += gap;
                rig.feeder.append(clip(cycle, 24)).unwrap();
                cycle += 1;
            }
            lumas
        };
        prop_assert_eq!(run(), run());
    }
}
