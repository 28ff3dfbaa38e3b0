//! What is heard in music made by rule, against what was played.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use proptest::prelude::*;

use super::beat::BeatEstimate;
use super::{HOP, Settings};
use crate::audio::synth::{Groove, Part, Recipe, Track};
use crate::audio::{CHANNELS, Listener, SAMPLE_RATE};
use crate::music::{Section, Signal, Signals};

/// All that came out, with when.
#[derive(Default)]
struct Heard {
    signals: Vec<(f64, Signals)>,
    onsets: [Vec<f64>; 3],
    beats: Vec<BeatEstimate>,
    sections: Vec<(f64, Section)>,
}

fn hear_with(settings: Arc<Settings>, samples: &[f32], piece: usize) -> Heard {
    let (mut listener, mut ears) = Listener::new(settings).unwrap();
    let mut heard = Heard::default();
    let (mut last, mut done) = (Signals::default(), 0);
    for piece in samples.chunks(piece * CHANNELS) {
        let seconds = |samples: usize| (samples / CHANNELS) as f64 / f64::from(SAMPLE_RATE);
        listener.hear(piece, Duration::from_secs_f64(seconds(done)));
        done += piece.len();
        let now = seconds(done);
        let signals = *ears.render.signals();
        assert_eq!(signals, *ears.status.signals());
        for (n, onsets) in heard.onsets.iter_mut().enumerate() {
            if signals.onsets[n] != last.onsets[n] {
                onsets.push(now);
            }
        }
        if signals.section != last.section {
            heard.sections.push((now, signals.section));
        }
        heard.beats.extend(ears.beats.try_iter());
        heard.signals.push((now, signals));
        last = signals;
    }
    heard
}

fn hear(samples: &[f32]) -> Heard {
    hear_with(Arc::default(), samples, HOP)
}

/// What is found of what is there: precision and recall. Each counts once.
fn found(heard: &[f64], played: &[f64], least: f64, most: f64) -> (f64, f64) {
    let mut left = heard.to_vec();
    let mut hits = 0;
    for time in played {
        let off = |other: &f64| (least..=most).contains(&(other - time));
        if let Some(n) = left.iter().position(off) {
            left.remove(n);
            hits += 1;
        }
    }
    (f64::from(hits) / heard.len() as f64, f64::from(hits) / played.len() as f64)
}

/// Of beats after the first 8 seconds, by which they are to be known; within 70 ms.
fn f_measure(beats: &[BeatEstimate], track: &Track, from: f64, to: f64) -> f64 {
    let within = |time: &f64| (from..to).contains(time);
    let beats: Vec<f64> = beats.iter().map(|b| b.at.as_secs_f64()).filter(within).collect();
    let played: Vec<f64> = track.beats.iter().copied().filter(within).collect();
    let (precision, recall) = found(&beats, &played, -0.07, 0.07);
    2.0 * precision * recall / (precision + recall).max(1e-9)
}

fn recipe(bpm: f64, groove: Groove, bars: usize, voice: bool) -> Recipe {
    Recipe { voice, ..Recipe::new(bpm, groove, bars) }
}

fn assert_beats(bpm: f64, groove: Groove, voice: bool, least: f64) {
    let bars = (24.0 * bpm / 240.0) as usize;
    let track = Track::render(&recipe(bpm, groove, bars, voice));
    let heard = hear(&track.samples);
    let f = f_measure(&heard.beats, &track, 8.0, f64::MAX);
    assert!(f >= least, "{bpm} {groove:?}, voice {voice}: F {f}");
    let last = heard.beats.last().unwrap();
    assert!((last.bpm / bpm - 1.0).abs() < 0.003, "{bpm} {groove:?}: {} bpm", last.bpm);
    assert!(last.confidence > 0.35, "{bpm} {groove:?}: {}", last.confidence);
}

#[test]
fn the_beat_of_four_on_the_floor_is_found_within_8_s() {
    for (bpm, voice) in [(120.0, false), (128.0, true), (140.0, true)] {
        assert_beats(bpm, Groove::FourOnTheFloor, voice, 0.9);
    }
}

#[test]
fn the_beat_of_drum_and_bass_is_found_and_not_half_of_it() {
    for (bpm, voice) in [(174.0, false), (174.0, true), (168.0, true)] {
        assert_beats(bpm, Groove::Breakbeat, voice, 0.8);
    }
}

#[test]
fn the_beat_of_what_swings_is_found() {
    for (bpm, voice) in [(100.0, false), (124.0, true)] {
        assert_beats(bpm, Groove::Swung, voice, 0.9);
    }
}

/// A set in small: bars of it, whatever the tempo.
fn set(bpm: f64, groove: Groove, voice: bool) -> Recipe {
    let parts = vec![
        (Part::Full, 12),
        (Part::Breakdown, 8),
        (Part::Build, 4),
        (Part::Full, 12),
        (Part::Silence, 2),
    ];
    Recipe { bpm, groove, parts, voice }
}

static SET: LazyLock<(Track, Heard)> = LazyLock::new(|| {
    let track = Track::render(&set(126.0, Groove::FourOnTheFloor, false));
    let heard = hear(&track.samples);
    (track, heard)
});

#[test]
fn the_beat_goes_on_without_drums_less_and_less_sure() {
    let (track, heard) = &*SET;
    let (breakdown, drop) = (track.parts[1].0, track.parts[3].0);
    let f = f_measure(&heard.beats, track, breakdown, drop);
    assert!(f >= 0.9, "in the breakdown: F {f}");
    let f = f_measure(&heard.beats, track, drop, track.parts[4].0);
    assert!(f >= 0.9, "after it: F {f}");
    let sure = |at: f64| {
        let beat = heard.beats.iter().find(|b| b.at.as_secs_f64() > at).unwrap();
        beat.confidence
    };
    let (before, late, after) =
        (sure(breakdown - 1.0), sure(track.parts[2].0 - 1.0), sure(drop + 8.0));
    assert!(late < 0.5 * before, "{before} to {late}");
    assert!(after > 0.8 * before, "{before}, then {after}");
}

#[test]
fn each_section_is_told_once_and_soon() {
    let (track, heard) = &*SET;
    let bar = 240.0 / 126.0;
    let at = |n: usize| track.parts[n].0;
    // The latest: a breakdown is one when the drums have been gone for over two bars, a drop one when
    // they have been back for a beat, give or take one.
    let expected = [
        (Section::Steady, 0.0, 1.0),
        (Section::Breakdown, at(1) + 2.0 * bar, at(1) + 3.5 * bar),
        (Section::Build, at(2), at(3)),
        (Section::Drop, at(3), at(3) + 0.5 * bar),
        (Section::Steady, at(3) + 8.0 * bar, at(3) + 9.0 * bar),
        (Section::Silence, at(4) + 0.5, at(4) + 2.0),
    ];
    let sections: Vec<Section> = heard.sections.iter().map(|s| s.1).collect();
    assert_eq!(sections, expected.map(|e| e.0), "{:?}", heard.sections);
    for ((time, section), (_, from, to)) in heard.sections.iter().zip(expected) {
        assert!((from..=to).contains(time), "{section:?} at {time}, not in {from}..{to}");
    }
}

#[test]
fn energy_falls_in_a_breakdown_and_comes_back() {
    let (track, heard) = &*SET;
    let energy = |at: f64| {
        let (_, signals) = heard.signals.iter().find(|s| s.0 > at).unwrap();
        signals.get(Signal::Energy)
    };
    let (full, gone) = (energy(track.parts[1].0), energy(track.parts[2].0));
    let again = energy(track.parts[4].0 - 0.1);
    assert!(full > 0.7 && gone < 0.4 && again > 0.7, "{full}, {gone}, {again}");
}

#[test]
fn kicks_snares_and_hats_are_told_apart() {
    for (bpm, groove) in [(126.0, Groove::FourOnTheFloor), (174.0, Groove::Breakbeat)] {
        let track = Track::render(&recipe(bpm, groove, 12, false));
        let heard = hear(&track.samples);
        // Some of those that come with a bass that goes on are late.
        let (precision, recall) = found(&heard.onsets[0], &track.kicks, 0.0, 0.03);
        assert!(precision >= 0.85 && recall >= 0.85, "kicks of {groove:?}: {precision} {recall}");
        let (precision, recall) = found(&heard.onsets[1], &track.snares, 0.0, 0.03);
        assert!(precision >= 0.9 && recall >= 0.9, "snares of {groove:?}: {precision} {recall}");
        // A hat within a snare is not heard by anybody.
        let (precision, _) = found(&heard.onsets[2], &track.hats, 0.0, 0.03);
        assert!(precision >= 0.9, "hats of {groove:?}: {precision}");
    }
}

#[test]
fn a_click_is_told_within_20_ms() {
    let mut samples = vec![0.0; SAMPLE_RATE as usize * CHANNELS * 6];
    let mut noise = fastrand::Rng::with_seed(7);
    let clicks: Vec<f64> = (0..10).map(|n| 0.5 + 0.5137 * f64::from(n)).collect();
    for click in &clicks {
        let first = (click * f64::from(SAMPLE_RATE)) as usize * CHANNELS;
        for (n, frame) in samples[first..first + 4800].chunks_exact_mut(CHANNELS).enumerate() {
            let fall = (-(n as f32) / 960.0).exp();
            // A kick and a snare at once.
            let low = (n as f32 / SAMPLE_RATE as f32 * 60.0 * std::f32::consts::TAU).sin();
            frame.fill(fall * (0.5 * low + 0.3 * (2.0 * noise.f32() - 1.0)));
        }
    }
    let heard = hear(&samples);
    for (onsets, what) in heard.onsets.iter().zip(["kick", "snare"]) {
        let (precision, recall) = found(onsets, &clicks, 0.0, 0.020);
        assert!(precision == 1.0 && recall == 1.0, "{what}: {precision} {recall}");
    }
    // It lights up at once, and is down to a tenth after 120 ms.
    let kick = |at: f64| {
        let (_, signals) = heard.signals.iter().rfind(|s| s.0 <= at).unwrap();
        signals.get(Signal::Kick)
    };
    assert!(kick(clicks[4] + 0.03) > 0.6);
    assert!(kick(clicks[4] + 0.16) < 0.11);
    assert!(kick(clicks[4] + 0.5) < 0.001);
}

fn tone(hertz: f64, level: f64, seconds: f64) -> Vec<f32> {
    let samples = (seconds * f64::from(SAMPLE_RATE)) as usize;
    let sample = |n: usize| {
        let phase = n as f64 / f64::from(SAMPLE_RATE) * hertz * std::f64::consts::TAU;
        (level * phase.sin()) as f32
    };
    (0..samples).flat_map(|n| [sample(n); CHANNELS]).collect()
}

fn last(heard: &Heard) -> Signals {
    heard.signals.last().unwrap().1
}

#[test]
fn a_tone_is_in_its_band_and_no_other() {
    let settings = Arc::new(Settings::default());
    settings.set_auto_gain(false);
    let bands = [Signal::Sub, Signal::Bass, Signal::Mid, Signal::High];
    let mut bright = 0.0;
    for (hertz, band) in [40.0, 130.0, 800.0, 6000.0].into_iter().zip(bands) {
        let signals = last(&hear_with(settings.clone(), &tone(hertz, 0.9, 1.0), HOP));
        assert!(signals.get(band) > 0.95, "{hertz} Hz: {signals:?}");
        for other in bands.into_iter().filter(|other| *other != band) {
            // 6 dB at the least, and that only between the lowest two.
            assert!(signals.get(other) < 0.9, "{hertz} Hz in {}: {signals:?}", other.name());
        }
        assert!(signals.get(Signal::Brightness) > bright || hertz < 100.0);
        bright = signals.get(Signal::Brightness);
    }
}

#[test]
fn the_custom_band_is_where_it_is_set_while_it_runs() {
    let settings = Arc::new(Settings::default());
    let (mut listener, mut ears) = Listener::new(settings.clone()).unwrap();
    let sound = tone(2500.0, 0.5, 0.5);
    let mut custom = |low, high| {
        settings.set_custom(low, high);
        listener.hear(&sound, Duration::ZERO);
        ears.render.signals().get(Signal::Custom)
    };
    assert!(custom(3000.0, 2000.0) > 0.9);
    assert!(custom(200.0, 400.0) < 0.3);
    assert!(custom(2400.0, 2600.0) > 0.9);
    // Nothing lies between.
    assert!(custom(9000.0, 9000.0) < 0.3);
}

#[test]
fn soft_music_is_made_as_loud_as_loud_music_only_with_automatic_gain() {
    let track = Track::render(&recipe(126.0, Groove::FourOnTheFloor, 4, false));
    let soft: Vec<f32> = track.samples.iter().map(|s| s * 0.05).collect();
    let highest = |settings: &Arc<Settings>, samples: &[f32], signal: Signal| {
        let heard = hear_with(settings.clone(), samples, 800);
        heard.signals.iter().fold(0.0, |most: f32, s| most.max(s.1.get(signal)))
    };
    let settings = Arc::new(Settings::default());
    for signal in [Signal::Loudness, Signal::Sub, Signal::Mid, Signal::High] {
        settings.set_auto_gain(true);
        assert!(highest(&settings, &soft, signal) > 0.95, "{}", signal.name());
        settings.set_auto_gain(false);
        let (soft, loud) =
            (highest(&settings, &soft, signal), highest(&settings, &track.samples, signal));
        // 26 dB of 60.
        assert!((0.38..0.48).contains(&(loud - soft)), "{}: {soft} {loud}", signal.name());
    }
}

#[test]
fn what_is_out_of_phase_is_heard_too() {
    let mut sound = tone(800.0, 0.5, 0.5);
    sound.chunks_exact_mut(CHANNELS).for_each(|frame| frame[1] = -frame[0]);
    assert!(last(&hear(&sound)).get(Signal::Mid) > 0.9);
}

#[test]
fn silence_is_nothing_at_all() {
    let heard = hear(&vec![0.0; SAMPLE_RATE as usize * CHANNELS * 5]);
    let signals = last(&heard);
    assert_eq!(signals.values.map(|v| v.max(0.0)), signals.values);
    assert!(signals.values.iter().all(|v| *v < 0.01), "{signals:?}");
    assert_eq!((signals.onsets, signals.section), ([0; 3], Section::Silence));
    assert!(heard.beats.is_empty());
}

#[test]
fn what_is_no_sound_does_no_harm_to_what_follows() {
    let track = Track::render(&recipe(126.0, Groove::FourOnTheFloor, 8, false));
    let second = SAMPLE_RATE as usize * CHANNELS;
    type Bad = fn(usize) -> f32;
    let bad: [(&str, Bad); 5] = [
        ("NaN", |_| f32::NAN),
        ("infinity", |n| if n % 3 == 0 { f32::INFINITY } else { f32::NEG_INFINITY }),
        ("huge", |n| if n % 2 == 0 { f32::MAX } else { f32::MIN }),
        ("DC", |_| 0.9),
        ("tiny", |_| f32::MIN_POSITIVE / 8.0),
    ];
    for (name, sample) in bad {
        let mut samples: Vec<f32> = (0..second).map(sample).collect();
        samples.extend(&track.samples);
        let heard = hear(&samples);
        for (time, signals) in &heard.signals {
            let good = signals.values.iter().all(|v| (0.0..=1.0).contains(v));
            assert!(good, "{name} at {time}: {signals:?}");
        }
        let kicks: Vec<f64> = track.kicks.iter().map(|k| k + 1.0).filter(|k| *k > 10.0).collect();
        let onsets: Vec<f64> = heard.onsets[0].iter().copied().filter(|k| *k > 10.0).collect();
        let (precision, recall) = found(&onsets, &kicks, 0.0, 0.03);
        assert!(precision > 0.9 && recall > 0.9, "{name}: {precision} {recall}");
    }
}

#[test]
fn clipped_music_has_the_same_beat() {
    let track = Track::render(&recipe(126.0, Groove::FourOnTheFloor, 12, false));
    let clipped: Vec<f32> = track.samples.iter().map(|s| (8.0 * s).clamp(-1.0, 1.0)).collect();
    let f = f_measure(&hear(&clipped).beats, &track, 8.0, f64::MAX);
    assert!(f >= 0.9, "F {f}");
}

#[test]
fn jitter_of_the_time_stamps_is_not_in_the_beats() {
    let track = Track::render(&recipe(126.0, Groove::FourOnTheFloor, 10, false));
    let (mut listener, ears) = Listener::new(Arc::default()).unwrap();
    let mut random = fastrand::Rng::with_seed(3);
    let mut beats = Vec::new();
    for (n, piece) in track.samples.chunks(480 * CHANNELS).enumerate() {
        // Up to 8 ms late.
        let at = n as f64 * 0.01 + 0.008 * random.f64();
        listener.hear(piece, Duration::from_secs_f64(at));
        beats.extend(ears.beats.try_iter());
    }
    let times: Vec<f64> = beats.iter().map(|b| b.at.as_secs_f64()).filter(|t| *t > 8.0).collect();
    for pair in times.windows(2) {
        assert!((pair[1] - pair[0] - 60.0 / 126.0).abs() < 0.003, "{}", pair[1] - pair[0]);
    }
    assert!(times.len() > 15);
}

#[test]
fn the_beat_is_the_same_after_a_hole_in_the_sound() {
    let track = Track::render(&recipe(126.0, Groove::FourOnTheFloor, 16, false));
    let (mut listener, ears) = Listener::new(Arc::default()).unwrap();
    let mut beats = Vec::new();
    for (n, piece) in track.samples.chunks(480 * CHANNELS).enumerate() {
        // Three seconds and a bit are not there.
        if !(1200..1530).contains(&n) {
            listener.hear(piece, Duration::from_secs_f64(n as f64 * 0.01));
            beats.extend(ears.beats.try_iter());
        }
    }
    let f = f_measure(&beats, &track, 8.0, f64::MAX);
    assert!(f >= 0.9, "F {f}");
}

#[test]
fn nobody_who_takes_the_beats_does_no_harm() {
    let track = Track::render(&recipe(174.0, Groove::Breakbeat, 16, false));
    let (mut listener, ears) = Listener::new(Arc::default()).unwrap();
    listener.hear(&track.samples, Duration::ZERO);
    let beats: Vec<BeatEstimate> = ears.beats.try_iter().collect();
    assert_eq!(beats.len(), 32);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// However the samples are cut into pieces, the same is heard.
    #[test]
    fn pieces_of_any_length_are_heard_alike(pieces in prop::collection::vec(1usize..3000, 1..40)) {
        static TRACK: LazyLock<Track> =
            LazyLock::new(|| Track::render(&recipe(126.0, Groove::FourOnTheFloor, 1, false)));
        let (mut whole, mut whole_ears) = Listener::new(Arc::default()).unwrap();
        let (mut cut, mut cut_ears) = Listener::new(Arc::default()).unwrap();
        let mut done = 0;
        for piece in pieces {
            let end = (done + piece * CHANNELS).min(TRACK.samples.len());
            let at = Duration::from_secs(1) * (done / CHANNELS) as u32 / SAMPLE_RATE;
            cut.hear(&TRACK.samples[done..end], at);
            done = end;
        }
        whole.hear(&TRACK.samples[..done], Duration::ZERO);
        let mut signals = [*whole_ears.render.signals(), *cut_ears.render.signals()];
        // To the rounding of nanoseconds.
        prop_assert!(signals[0].at.abs_diff(signals[1].at) < Duration::from_nanos(10));
        signals.iter_mut().for_each(|s| s.at = Duration::ZERO);
        prop_assert_eq!(signals[0], signals[1]);
    }
}
