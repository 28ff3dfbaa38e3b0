//! The conductor against simulated clocks, with jitter, ramps and dropouts, and against anything that
//! may be said in any order.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

/// A drummer: beats over time with a tempo that goes in straight lines, by integration.
struct Truth {
    /// (seconds, bpm); constant behind the last.
    points: Vec<(f64, f64)>,
}

impl Truth {
    fn steady(bpm: f64) -> Self {
        Truth { points: vec![(0.0, bpm)] }
    }

    /// 120 for ten seconds, then over thirty to `to`, then steady.
    fn ramp(from: f64, to: f64) -> Self {
        Truth { points: vec![(10.0, from), (40.0, to)] }
    }

    fn bpm(&self, at: f64) -> f64 {
        let after = self.points.iter().position(|(t, _)| *t > at);
        match after {
            None => self.points[self.points.len() - 1].1,
            Some(0) => self.points[0].1,
            Some(i) => {
                let ((t0, b0), (t1, b1)) = (self.points[i - 1], self.points[i]);
                b0 + (b1 - b0) * (at - t0) / (t1 - t0)
            }
        }
    }

    /// Times of every `1/per` beat until `end`.
    fn times(&self, per: f64, end: f64) -> Vec<f64> {
        let (mut at, mut beat, mut next, mut times) = (0.0, 0.0, 0.0, Vec::new());
        const STEP: f64 = 0.0002;
        while at < end {
            let rate = self.bpm(at) / 60.0;
            while beat + rate * STEP > next {
                times.push(at + (next - beat) / rate);
                next += 1.0 / per;
            }
            beat += rate * STEP;
            at += STEP;
        }
        times
    }
}

/// A generator of numbers that look random, the same each time.
struct Dice(u64);

impl Dice {
    fn unit(&mut self) -> f64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform, up to 5 ms either way.
    fn uniform_ms(&mut self) -> f64 {
        (self.unit() * 2.0 - 1.0) * 5.0
    }

    /// Gaussian, with a standard deviation of 5 ms.
    fn normal_ms(&mut self) -> f64 {
        5.0 * ((0..12).map(|_| self.unit()).sum::<f64>() - 6.0)
    }
}

/// Plays notes to a conductor that is asked every 10 ms; returns when its beats fell, in seconds.
fn landings(conductor: &mut Conductor, notes: Vec<Note>, end: f64) -> Vec<f64> {
    let mut notes: VecDeque<Note> = notes.into();
    let mut fell = Vec::new();
    let mut last: Option<Tempo> = None;
    let steps = (end * 100.0) as u64;
    for step in 0..steps {
        let now = Duration::from_millis(step * 10);
        while notes.front().is_some_and(|note| note.at <= now) {
            conductor.hear(notes.pop_front().unwrap()).unwrap();
        }
        let tempo = conductor.tempo(now);
        if let Some(last) = last {
            let mut beat = last.beat.floor() + 1.0;
            while beat <= last.beat_at(now.as_secs_f64()) {
                fell.push(last.time_of(beat));
                beat += 1.0;
            }
        }
        last = Some(tempo);
    }
    fell
}

/// In ms, behind which one of a hundred lies.
fn p99_ms(fell: &[f64], beats: &[f64], from: f64) -> f64 {
    let mut errors: Vec<f64> = fell
        .iter()
        .filter(|at| **at > from)
        .map(|at| {
            let near = beats.iter().map(|beat| (beat - at).abs());
            near.fold(f64::INFINITY, f64::min) * 1000.0
        })
        .collect();
    assert!(errors.len() > 50, "{} beats", errors.len());
    errors.sort_by(f64::total_cmp);
    errors[(errors.len() * 99).div_ceil(100) - 1]
}

fn at(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.max(0.0))
}

/// One frame at 60 fps.
const FRAME_MS: f64 = 16.7;
const MINUTES: f64 = 120.0;

fn shaken(times: &[f64], mut jitter_ms: impl FnMut() -> f64) -> Vec<f64> {
    let mut shaken: Vec<f64> =
        times.iter().map(|at| (at + jitter_ms() / 1000.0).max(0.0)).collect();
    // A cable keeps the order.
    shaken.sort_by(f64::total_cmp);
    shaken
}

fn midi(times: &[f64]) -> Vec<Note> {
    let mut notes = vec![Note::new(Source::Midi, Duration::ZERO, Heard::Start)];
    notes.extend(times.iter().map(|t| Note::new(Source::Midi, at(*t), Heard::Tick)));
    notes
}

fn kinds() -> Vec<(&'static str, Truth)> {
    vec![
        ("steady", Truth::steady(120.0)),
        ("drum and bass", Truth::steady(174.0)),
        ("slow", Truth::steady(72.0)),
        ("up", Truth::ramp(120.0, 128.0)),
        ("down", Truth::ramp(140.0, 120.0)),
        ("far", Truth::ramp(90.0, 150.0)),
    ]
}

#[test]
fn beats_of_a_midi_clock_land_within_a_frame() {
    for (name, truth) in kinds() {
        let beats = truth.times(1.0, MINUTES);
        for normal in [false, true] {
            if normal && name == "far" {
                // Ticks of which every tenth comes behind another, and 2 bpm a second: too much.
                continue;
            }
            let mut dice = Dice(1);
            let jitter = || if normal { dice.normal_ms() } else { dice.uniform_ms() };
            let ticks = shaken(&truth.times(24.0, MINUTES), jitter);
            let fell = landings(&mut Conductor::new(Settings::default()), midi(&ticks), MINUTES);
            let worst = p99_ms(&fell, &beats, 5.0);
            println!("midi {name}, normal {normal}: {worst:.2} ms");
            assert!(worst < FRAME_MS, "{name}: {worst} ms");
        }
    }
}

#[test]
fn ticks_that_are_missing_move_no_beat() {
    // While the tempo changes by 2 bpm a second as well, one tick more or less is hard to tell.
    for (name, truth) in kinds().into_iter().filter(|(name, _)| *name != "far") {
        let gap_s = if truth.points.len() == 1 { 1.0 } else { 0.2 };
        let beats = truth.times(1.0, MINUTES);
        for seed in 0..8 {
            let mut dice = Dice(seed);
            let ticks = shaken(&truth.times(24.0, MINUTES), || dice.uniform_ms());
            // One of a hundred is lost, and three times many at once; all of them behind the start.
            let lost =
                |at: f64| [30.0, 61.0, 90.3].iter().any(|gap| (0.0..gap_s).contains(&(at - gap)));
            let ticks: Vec<f64> = ticks
                .into_iter()
                .filter(|t| *t < 3.0 || !(lost(*t) || dice.unit() < 0.01))
                .collect();
            let mut conductor = Conductor::new(Settings::default());
            let fell = landings(&mut conductor, midi(&ticks), MINUTES);
            let worst = p99_ms(&fell, &beats, 5.0);
            println!("dropouts {name}, {seed}: {worst:.2} ms");
            assert!(worst < FRAME_MS, "{name}: {worst} ms");
            // And no beat was lost or added.
            let expected = beats.iter().filter(|t| (5.0..100.0).contains(*t)).count() as f64;
            let there = fell.iter().filter(|t| (5.0..100.0).contains(*t)).count() as f64;
            assert!((expected - there).abs() <= 1.0, "{name}: {there} of {expected}");
        }
    }
}

#[test]
fn beats_told_one_by_one_land_within_a_frame() {
    // Two beats a second do not tell in time that the tempo changes by 2 bpm a second, or no more.
    for (name, truth) in kinds().into_iter().filter(|(name, _)| *name != "far") {
        let beats = truth.times(1.0, MINUTES);
        for (source, tells) in [(Source::Osc, false), (Source::Os2l, true)] {
            for seed in 0..3 {
                let mut dice = Dice(seed);
                let times = shaken(&beats, || dice.uniform_ms());
                let notes = times.iter().enumerate().filter(|(n, _)| *n < 8 || dice.unit() > 0.03);
                let notes = notes
                    .map(|(n, t)| {
                        let bpm = tells.then(|| truth.bpm(*t));
                        let number = tells.then_some(n as f64);
                        Note::new(source, at(*t), Heard::Beat { number, bpm })
                    })
                    .collect();
                let fell = landings(&mut Conductor::new(Settings::default()), notes, MINUTES);
                let worst = p99_ms(&fell, &beats, 12.0);
                println!("{} {name}, {seed}: {worst:.2} ms", source.name());
                assert!(worst < FRAME_MS, "{} {name}: {worst} ms", source.name());
            }
        }
    }
}

/// Notes of ticks from `from` to `to`.
fn clock(bpm: f64, from: f64, to: f64) -> Vec<Note> {
    let step = 60.0 / bpm / 24.0;
    let count = ((to - from) / step) as usize;
    (0..count).map(|n| Note::new(Source::Midi, at(from + n as f64 * step), Heard::Tick)).collect()
}

fn beats(source: Source, bpm: f64, from: f64, to: f64) -> Vec<Note> {
    let step = 60.0 / bpm;
    let count = ((to - from) / step) as usize;
    let heard = |n: usize| Heard::Beat { number: Some(n as f64), bpm: None };
    (0..count).map(|n| Note::new(source, at(from + n as f64 * step), heard(n))).collect()
}

#[test]
fn the_best_source_is_followed_and_the_next_when_it_is_lost() {
    let mut notes = clock(130.0, 0.0, 20.0);
    notes.extend(beats(Source::Osc, 125.0, 3.0, 40.0));
    notes.extend(beats(Source::Tap, 100.0, 30.0, 35.0));
    notes.sort_by_key(|note| note.at);
    let mut conductor = Conductor::new(Settings::default());
    let mut notes: VecDeque<Note> = notes.into();
    let mut seen: Vec<(Source, u64)> = Vec::new();
    for ms in (0..80_000).step_by(10) {
        let now = Duration::from_millis(ms);
        while notes.front().is_some_and(|note| note.at <= now) {
            conductor.hear(notes.pop_front().unwrap()).unwrap();
        }
        let tempo = conductor.tempo(now);
        if seen.last().is_none_or(|last| last.0 != tempo.source) {
            seen.push((tempo.source, ms));
        }
    }
    let order: Vec<Source> = seen.iter().map(|seen| seen.0).collect();
    assert_eq!(order, [Source::Fixed, Source::Midi, Source::Osc, Source::Tap], "{seen:?}");
    // Lost, it goes on as it went; nobody falls back to what was set before.
    assert!(!conductor.is_led());
    assert!((conductor.bpm() - 100.0).abs() < 0.1, "{}", conductor.bpm());
    let now = Duration::from_secs(80);
    assert!(conductor.tempo(now).confidence < 0.3);
    // Until somebody says so.
    conductor.hear(Note::new(Source::Fixed, now, Heard::Bpm(90.0))).unwrap();
    let tempo = conductor.tempo(now + Duration::from_millis(10));
    assert_eq!((tempo.source, conductor.is_led()), (Source::Fixed, true));
    assert!((tempo.bpm - 90.0).abs() < 1e-6);
    // Or one is chosen by hand.
    conductor.set_source(Some(Source::Osc));
    conductor.tempo(now + Duration::from_millis(20));
    assert_eq!(conductor.tempo(now + Duration::from_secs(1)).source, Source::Osc);
    assert!((conductor.bpm() - 125.0).abs() < 0.1);
}

#[test]
fn sound_that_is_not_sure_is_not_followed() {
    let mut conductor = Conductor::new(Settings::default());
    let beat = |n: u32, confidence| Note {
        confidence,
        ..Note::new(
            Source::Sound,
            at(f64::from(n) * 0.5),
            Heard::Beat { number: None, bpm: Some(120.0) },
        )
    };
    for n in 0..30 {
        let confidence = match n {
            0..10 => 0.3,
            10..20 => 0.5,
            20..25 => 0.3,
            _ => 0.1,
        };
        conductor.hear(beat(n, confidence)).unwrap();
        let tempo = conductor.tempo(at(f64::from(n) * 0.5));
        let follows = conductor.is_led() && tempo.source == Source::Sound;
        assert_eq!(follows, (10..25).contains(&n), "{n}");
    }
}

#[test]
fn three_taps_are_a_tempo_and_other_taps_are_another() {
    let mut conductor = Conductor::new(Settings::default());
    let mut tap = |t: f64| {
        conductor
            .hear(Note::new(Source::Tap, at(t), Heard::Beat { number: None, bpm: None }))
            .unwrap();
        conductor.tempo(at(t));
        conductor.bpm()
    };
    assert_eq!(tap(1.0), 120.0);
    assert_eq!(tap(1.6), 120.0);
    assert!((tap(2.2) - 100.0).abs() < 1e-6);
    assert!((tap(2.8) - 100.0).abs() < 1e-6);
    // Twice as fast.
    for n in 0..4 {
        tap(4.0 + f64::from(n) * 0.35);
    }
    let bpm = tap(5.4);
    assert!((bpm - 60.0 / 0.35).abs() < 0.5, "{bpm}");
}

#[test]
fn a_tempo_without_beats_is_taken_and_beats_go_on_from_where_they_were() {
    let mut conductor = Conductor::new(Settings::default());
    let before = conductor.tempo(at(3.3));
    conductor.hear(Note::new(Source::Osc, at(3.3), Heard::Bpm(150.0))).unwrap();
    let tempo = conductor.tempo(at(3.4));
    assert_eq!((tempo.source, tempo.beat), (Source::Osc, before.beat_at(3.4)));
    assert!((tempo.bpm - 150.0).abs() < 1e-6);
    conductor.hear(Note::new(Source::Osc, at(4.0), Heard::Bpm(100.0))).unwrap();
    conductor.tempo(at(4.0));
    let tempo = conductor.tempo(at(4.1));
    assert!((tempo.bpm - 100.0).abs() < 1e-6, "{tempo:?}");
    // Told no more, it stays.
    assert!((conductor.tempo(at(60.0)).bpm - 100.0).abs() < 1e-6);
    assert!(!conductor.is_led());
}

#[test]
fn what_is_no_tempo_is_refused_and_counted() {
    let mut conductor = Conductor::new(Settings::default());
    let before = conductor.tempo(at(1.0));
    let note = |heard| Note::new(Source::Osc, at(1.0), heard);
    for bpm in [0.0, 999.0, f64::NAN, f64::INFINITY, -120.0] {
        for heard in [
            Heard::Bpm(bpm),
            Heard::Line { beat: 1.0, bpm },
            Heard::Beat { number: None, bpm: Some(bpm) },
        ] {
            assert_eq!(conductor.hear(note(heard)), Err(Refused::Tempo), "{heard:?}");
        }
    }
    let text = Refused::Tempo.text(&note(Heard::Bpm(999.0)));
    assert!(text.contains("999") && text.contains("20 to 400"), "{text}");
    let nameless = Heard::Beat { number: Some(f64::NAN), bpm: None };
    assert_eq!(conductor.hear(note(nameless)), Err(Refused::Number));
    let counts: Vec<u64> = conductor.refused().map(|(_, count)| count).collect();
    assert_eq!(counts, [15, 1, 0, 0]);
    assert_eq!(conductor.tempo(at(2.0)).source, before.source);
    let beat = Heard::Beat { number: None, bpm: None };
    conductor.hear(note(beat)).unwrap();
    assert_eq!(conductor.hear(note(beat)), Err(Refused::Order));
    assert_eq!(conductor.hear(Note::new(Source::Osc, at(1.05), beat)), Err(Refused::TooSoon));
}

/// Turns the clock from `from` to `to`; the beat at the end.
fn run(conductor: &mut Conductor, notes: &[Note], from: f64, to: f64) -> Tempo {
    let mut notes = notes.iter().filter(|note| from == 0.0 || note.at > at(from)).peekable();
    let mut tempo = conductor.tempo(at(from));
    let mut now = from;
    while now < to {
        now += 0.01;
        while notes.peek().is_some_and(|note| note.at <= at(now)) {
            conductor.hear(*notes.next().unwrap()).unwrap();
        }
        tempo = conductor.tempo(at(now));
    }
    tempo
}

/// How far a beat is from a whole one, in beats.
fn off(beat: f64) -> f64 {
    (beat - beat.round()).abs()
}

#[test]
fn a_song_that_is_started_begins_with_a_downbeat() {
    let mut conductor = Conductor::new(Settings::default());
    let mut notes = clock(125.0, 0.0, 30.0);
    let press = |at: f64, heard| Note::new(Source::Midi, Duration::from_secs_f64(at), heard);
    // The tick behind each.
    let tick = |after: f64| {
        let all = clock(125.0, 0.0, 30.0);
        all.iter().map(|note| note.at.as_secs_f64()).find(|at| *at > after).unwrap()
    };
    notes.extend([
        press(5.111, Heard::Start),
        press(12.345, Heard::Stop),
        press(14.0, Heard::Position(6.0)),
        press(15.432, Heard::Continue),
        press(25.0, Heard::Stop),
    ]);
    notes.sort_by_key(|note| note.at);
    let tempo = run(&mut conductor, &notes, 0.0, 8.0);
    let first = tempo.beat_at(tick(5.111));
    assert!(off(first / 4.0) < 0.01, "{first}");
    assert!(tempo.playing);
    assert!(!run(&mut conductor, &notes, 8.0, 13.0).playing);
    let tempo = run(&mut conductor, &notes, 13.0, 18.0);
    // The seventh beat: the third of its bar.
    let sixth = tempo.beat_at(tick(15.432));
    assert!(tempo.playing && off((sixth - 6.0) / 4.0) < 0.01, "{sixth}");
    assert!(!run(&mut conductor, &notes, 18.0, 26.0).playing);
}

#[test]
fn a_link_session_that_jumps_is_met_without_a_jump_within_the_beat() {
    let mut conductor = Conductor::new(Settings::default());
    let link = |t: f64, shift: f64| {
        Note::new(Source::Link, at(t), Heard::Line { beat: t * 2.0 + shift, bpm: 120.0 })
    };
    let mut last = conductor.tempo(Duration::ZERO);
    let mut parts = Vec::new();
    for step in 0..4000u32 {
        let now = f64::from(step) * 0.01;
        let shift = if now < 20.0 { 0.0 } else { 17.3 };
        if step % 5 == 0 {
            conductor.hear(link(now, shift)).unwrap();
        }
        let tempo = conductor.tempo(at(now));
        let moved = tempo.beat - last.beat_at(now);
        if moved.abs() > 1e-9 {
            parts.push((now, moved));
        }
        assert!(
            tempo.bpm >= 120.0 * (1.0 - SLEW) - 1e-6 && tempo.bpm <= 120.0 * (1.0 + SLEW) + 1e-6
        );
        last = tempo;
    }
    // Whole beats at once, so that bars are where they are for the others; the rest slowly.
    assert!(parts.iter().all(|(_, moved)| off(*moved) < 1e-6 && *moved > 0.0), "{parts:?}");
    let amiss = (last.beat - (39.99 * 2.0 + 17.3)).rem_euclid(4.0);
    assert!(amiss.min(4.0 - amiss) < 0.001, "{amiss}");
    assert!(conductor.jumps() <= 2);
}

#[test]
fn hands_move_beats_and_bars() {
    let mut conductor = Conductor::new(Settings::default());
    let notes = beats(Source::Osc, 120.0, 0.0, 60.0);
    let tempo = run(&mut conductor, &notes, 0.0, 10.0);
    assert!(off(tempo.beat_at(10.0)) < 0.01);
    // The nearest beat is a downbeat.
    conductor.downbeat(at(10.04));
    let tempo = run(&mut conductor, &notes, 10.0, 11.0);
    assert!(off(tempo.beat_at(10.0) / 4.0) < 0.01, "{}", tempo.beat_at(10.0));
    // Ten times ten milliseconds earlier.
    for _ in 0..10 {
        conductor.nudge(-0.01);
    }
    let tempo = run(&mut conductor, &notes, 11.0, 16.0);
    assert!((tempo.beat_at(16.0) - tempo.beat_at(16.0).round() - 0.2).abs() < 0.01);
    for _ in 0..10 {
        conductor.nudge(0.01);
    }
    // Twice as many: every beat is still one.
    run(&mut conductor, &notes, 16.0, 20.0);
    assert!(conductor.multiply(2.0));
    let tempo = run(&mut conductor, &notes, 20.0, 25.0);
    assert!((tempo.bpm - 240.0).abs() < 2.0 && off(tempo.beat_at(25.0)) < 0.02, "{tempo:?}");
    assert!(!conductor.multiply(2.0), "480 bpm");
    assert!(conductor.multiply(0.25));
    let tempo = run(&mut conductor, &notes, 25.0, 35.0);
    assert!((tempo.bpm - 60.0).abs() < 1.0, "{tempo:?}");
    let (one, other) = (off(tempo.beat_at(35.0)), off(tempo.beat_at(35.5)));
    assert!(one.min(other) < 0.02, "{one} {other}");
}

#[test]
fn the_first_who_knows_bars_puts_them_right() {
    let mut conductor = Conductor::new(Settings { bpm: 90.0, ..Settings::default() });
    let notes = beats(Source::Os2l, 128.0, 3.3, 60.0);
    let tempo = run(&mut conductor, &notes, 0.0, 30.0);
    // The first of them was the first of a bar.
    let beat = tempo.beat_at(3.3 + 16.0 * 60.0 / 128.0);
    assert!(off(beat / 4.0) < 0.01, "{beat}");
}

/// What came long ago says nothing of what comes now.
#[test]
fn a_stray_tap_brings_no_old_tempo_back() {
    let mut conductor = Conductor::new(Settings { source: None, bpm: 128.0, beats_per_bar: 4 });
    run(&mut conductor, &beats(Source::Tap, 100.0, 0.0, 5.0), 0.0, 60.0);
    conductor.hear(Note::new(Source::Fixed, at(60.0), Heard::Bpm(128.0))).unwrap();
    let stray = Note::new(Source::Tap, at(70.0), Heard::Beat { number: None, bpm: None });
    let tempo = run(&mut conductor, &[stray], 60.0, 72.0);
    assert_eq!(tempo.source, Source::Fixed);
    assert!((tempo.bpm - 128.0).abs() < 0.1, "{tempo:?}");
}

#[test]
fn half_of_one_source_is_no_half_of_another() {
    let mut conductor = Conductor::new(Settings { source: None, bpm: 120.0, beats_per_bar: 4 });
    let mut sound = beats(Source::Sound, 170.0, 0.0, 30.0);
    sound.iter_mut().for_each(|note| note.confidence = 0.9);
    run(&mut conductor, &sound[..30], 0.0, 10.0);
    assert!(conductor.multiply(0.5));
    let tempo = run(&mut conductor, &sound[30..], 10.0, 20.0);
    assert!((tempo.bpm - 85.0).abs() < 1.0, "{tempo:?}");
    let tempo = run(&mut conductor, &beats(Source::Tap, 85.0, 20.0, 28.0), 20.0, 28.0);
    assert_eq!(tempo.source, Source::Tap);
    assert!((tempo.bpm - 85.0).abs() < 1.0, "{tempo:?}");
}

#[test]
fn a_clock_that_comes_back_in_mid_bar_moves_no_beat() {
    let mut conductor = Conductor::new(Settings { source: None, bpm: 120.0, beats_per_bar: 4 });
    let start = Note::new(Source::Midi, at(0.0), Heard::Start);
    let before: Vec<Note> = std::iter::once(start).chain(clock(120.0, 0.0, 10.0)).collect();
    run(&mut conductor, &before, 0.0, 10.0);
    // Back after 5.27 s, at whatever tick.
    let tempo = run(&mut conductor, &clock(120.0, 15.27, 25.0), 10.0, 25.0);
    assert!((tempo.beat_at(25.0) - 50.0).abs() < 0.05, "{tempo:?}");
    assert_eq!(conductor.jumps(), 0);
}

#[test]
fn a_roll_on_one_beat_moves_no_bar() {
    let mut conductor = Conductor::new(Settings { source: None, bpm: 120.0, beats_per_bar: 4 });
    let deck = |n: u32, number: u32| {
        let heard = Heard::Beat { number: Some(number.into()), bpm: Some(120.0) };
        Note::new(Source::Os2l, at(f64::from(n) * 0.5), heard)
    };
    let song: Vec<Note> = (0..32).map(|n| deck(n, n)).collect();
    run(&mut conductor, &song, 0.0, 16.0);
    let jumps = conductor.jumps();
    let roll: Vec<Note> = (32..44).map(|n| deck(n, 32)).collect();
    run(&mut conductor, &roll, 16.0, 22.0);
    assert_eq!(conductor.jumps(), jumps);
    // Another place of the song is believed with its second beat.
    let song: Vec<Note> = (44..52).map(|n| deck(n, n + 57)).collect();
    let tempo = run(&mut conductor, &song, 22.0, 26.0);
    assert_eq!(tempo.beat_at(25.75).floor().rem_euclid(4.0), f64::from((51 + 57) % 4));
}

fn any_heard() -> impl Strategy<Value = Heard> {
    let bpm = || prop_oneof![25.0f64..380.0, Just(0.0), Just(999.0), Just(f64::NAN)];
    let number = prop::option::of(prop_oneof![(0i32..64).prop_map(f64::from), -1e3f64..1e3]);
    prop_oneof![
        6 => Just(Heard::Tick),
        1 => Just(Heard::Start),
        1 => Just(Heard::Stop),
        1 => Just(Heard::Continue),
        1 => (0.0f64..100.0).prop_map(Heard::Position),
        6 => (number, prop::option::of(bpm())).prop_map(|(number, bpm)| Heard::Beat { number, bpm }),
        2 => bpm().prop_map(Heard::Bpm),
        3 => (-1e4f64..1e4, bpm()).prop_map(|(beat, bpm)| Heard::Line { beat, bpm }),
        1 => Just(Heard::Gone),
    ]
}

#[derive(Clone, Debug)]
enum Hand {
    Says(usize, Heard, f32),
    Downbeat,
    Nudge(f64),
    Times(f64),
    Source(Option<usize>),
    PerBar(u32),
    /// Ticks at this tempo for half a second.
    Clock(f64),
}

fn any_hand() -> impl Strategy<Value = Hand> {
    prop_oneof![
        12 => (0usize..7, any_heard(), 0.0f32..1.0).prop_map(|(s, h, c)| Hand::Says(s, h, c)),
        1 => Just(Hand::Downbeat),
        1 => (-0.05f64..0.05).prop_map(Hand::Nudge),
        1 => prop_oneof![Just(0.5), Just(2.0)].prop_map(Hand::Times),
        1 => prop::option::of(0usize..7).prop_map(Hand::Source),
        1 => (0u32..20).prop_map(Hand::PerBar),
        4 => (25.0f64..300.0).prop_map(Hand::Clock),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever is said by whom, the beat that goes out goes on, at a tempo that is one. It leaves
    /// beats out only where bars are put right, and that is counted.
    #[test]
    fn the_beat_goes_on(hands in prop::collection::vec((any_hand(), 0u64..2500), 1..120)) {
        let mut conductor = Conductor::new(Settings::default());
        let (mut now_ms, mut seen_jumps) = (0, 0);
        let mut last = conductor.tempo(Duration::ZERO);
        for (hand, wait_ms) in hands {
            let now = Duration::from_millis(now_ms);
            let mut clocks = None;
            match hand {
                Hand::Says(source, heard, confidence) => {
                    let source = Source::ALL[source];
                    let _ = conductor.hear(Note { source, at: now, heard, confidence });
                }
                Hand::Downbeat => conductor.downbeat(now),
                Hand::Nudge(by) => conductor.nudge(by),
                Hand::Times(by) => { conductor.multiply(by); }
                Hand::Source(source) => conductor.set_source(source.map(|i| Source::ALL[i])),
                Hand::PerBar(beats) => conductor.set_beats_per_bar(beats),
                Hand::Clock(bpm) => clocks = Some(bpm),
            }
            let mut next_tick = 0.0;
            for step in 0..wait_ms.div_ceil(10) {
                let now = Duration::from_millis(now_ms + step * 10);
                if let Some(bpm) = clocks {
                    while next_tick <= step as f64 * 10.0 {
                        let at = Duration::from_secs_f64((now_ms as f64 + next_tick) / 1000.0);
                        let _ = conductor.hear(Note::new(Source::Midi, at, Heard::Tick));
                        next_tick += 2500.0 / bpm;
                    }
                }
                let tempo = conductor.tempo(now);
                prop_assert!(tempo.beat.is_finite() && tempo.bpm.is_finite());
                let moved = tempo.beat - last.beat_at(now.as_secs_f64());
                prop_assert!(tempo.beat >= last.beat, "{last:?} {tempo:?}");
                if conductor.jumps() == seen_jumps {
                    prop_assert!(moved.abs() < 1e-6, "{moved} {last:?} {tempo:?}");
                } else {
                    // At most a bar for each.
                    let most = 17.0 * (conductor.jumps() - seen_jumps) as f64;
                    prop_assert!(moved > 0.0 && moved <= most, "{moved}");
                }
                seen_jumps = conductor.jumps();
                // Any tempo, half or double, and what is made up for.
                prop_assert!((8.0..=900.0).contains(&tempo.bpm), "{tempo:?}");
                prop_assert!((0.0..=1.0).contains(&tempo.confidence));
                let bpm = conductor.bpm();
                let slewed = (tempo.bpm / bpm - 1.0).abs();
                prop_assert!(slewed <= SLEW + 1e-9, "{slewed}");
                last = tempo;
            }
            now_ms += wait_ms.div_ceil(10) * 10;
        }
    }
}

#[test]
fn a_busy_machine_that_hands_ticks_over_in_bursts_is_no_other_tempo() {
    for seed in 0..8 {
        let mut dice = Dice(seed);
        let ticks = Truth::steady(128.0).times(24.0, MINUTES);
        // Periods of 21 ms, of which many are late, up to 150 ms.
        let (mut handed, mut busy) = (Vec::new(), 0.0f64);
        for tick in ticks {
            let period = (tick / 0.0213).ceil() * 0.0213;
            if period > busy && dice.unit() < 0.2 {
                busy = period + dice.unit().powi(2) * 0.15;
            }
            handed.push(period.max(busy));
        }
        let mut conductor = Conductor::new(Settings::default());
        let mut notes: VecDeque<Note> = midi(&handed).into();
        let mut worst = 0.0f64;
        for ms in (0..(MINUTES * 1000.0) as u64).step_by(10) {
            let now = Duration::from_millis(ms);
            while notes.front().is_some_and(|note| note.at <= now) {
                conductor.hear(notes.pop_front().unwrap()).unwrap();
            }
            conductor.tempo(now);
            if ms > 10_000 {
                worst = worst.max((conductor.bpm() / 128.0 - 1.0).abs());
            }
        }
        println!("bursts, {seed}: {:.2}% off", worst * 100.0);
        assert!(worst < 0.02, "{seed}: {worst}");
    }
}
