//! What was on stage, and what is drawn of its journal: the same, pixel for pixel.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

use crossbeam_channel::bounded;
use serde_json::json;

use super::*;
use crate::app::parts;
use crate::archive::beats::Gathered;
use crate::archive::journal::{Entry, Event};
use crate::config::Live;
use crate::finalize::replay::Source;
use crate::media::{Clip, ClipDecoder, CycleId, DecodedClip, Frame, Grown, Origin, VideoFormat};
use crate::music::{Signals, Tempo};
use crate::param::{self, Change, Op, ParamId, REGISTRY, Smoother, Values};
use crate::playout::{PlayoutCounters, RingView, ShotEvent, Timeline, TimelineSettings};
use crate::ring::{self, Capacity};
use crate::stream::beat::{Hearing, OnBeat};
use crate::stream::picture::Receipt;

const CANVAS: (u32, u32) = (96, 64);
const FPS: FrameRate = FrameRate::whole(60);

struct NoDecoder;

impl ClipDecoder for NoDecoder {
    fn decode(&self, path: &Path) -> Result<DecodedClip> {
        panic!("{} is asked for", path.display())
    }
}

fn whole() -> Whole {
    Whole { decoder: Arc::new(NoDecoder), motion: true, low_priority: || {} }
}

/// A texture that moves, at 8 or 12 frames a second; one in five pictures stands twice.
fn clip(random: &mut fastrand::Rng, cycle: u32, before: Option<&PreparedClip>) -> PreparedClip {
    let fps = FrameRate::whole([8, 12][random.usize(0..2)]);
    let format = VideoFormat { width: 64, height: 48, fps };
    let (speed, pitch) = (random.f64() * 4.0 - 2.0, 0.1 + random.f64() * 0.2);
    let length = random.u32(6..24);
    let mut at = 0.0;
    let frames: Vec<Frame> = (0..length)
        .map(|_| {
            at += if random.u8(0..5) == 0 { 0.0 } else { speed };
            let mut frame = Frame::black(format.width, format.height);
            for (i, luma) in frame.y.iter_mut().enumerate() {
                let (x, y) = ((i % 64) as f64 - at, (i / 64) as f64);
                *luma =
                    (110.0 + (x * pitch).sin() * 50.0 + (y * 0.2 + x * 0.05).cos() * 40.0) as u8;
            }
            frame.u.fill(random.u8(90..160));
            frame
        })
        .collect();
    let clip = Clip {
        cycle: CycleId(cycle),
        path: PathBuf::new(),
        format,
        frames: length,
        prompt: "".into(),
    };
    let about = (Origin::Cycle, clip, random.bool());
    let mut prepared = PreparedClip::without_repeats(about, frames, 0);
    prepared.grown_from = before.filter(|_| random.bool()).map(|before| Grown {
        serial: before.serial,
        cycle: before.clip.cycle,
        reversed: before.reversed,
        frames: 3,
        at: None,
    });
    whole().find_motion(&prepared, &AtomicBool::new(false));
    prepared
}

fn source(clip: &PreparedClip) -> Source {
    Source {
        cycle: (clip.origin != Origin::StandIn).then_some(clip.clip.cycle.0),
        reversed: clip.reversed,
        grown: clip.grown_from.map(|grown| journal::Grown {
            cycle: grown.cycle.0,
            reversed: grown.reversed,
            frames: grown.frames,
            at: grown.at,
        }),
    }
}

fn entry(event: Event) -> Entry {
    // As it stands in the file.
    let text = serde_json::to_string(&Entry { at: String::new(), event }).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Plays a show of what comes by chance, as the render thread does, and again from its journal:
/// every pixel of every picture that was drawn is the same. Returns how often the music did something.
fn played_again(seed: u64) -> usize {
    let mut random = fastrand::Rng::with_seed(seed);
    let none = tempfile::tempdir().unwrap();
    let (settings, ..) = crate::config::check(none.path());
    let live = Live { canvas: CANVAS, fps: FPS, fit: Fit::Contain, ..settings.live };
    let (feeder, player) = ring::ring(Capacity { seconds: 1000.0, bytes: usize::MAX });
    let (shot_tx, shots) = bounded::<ShotEvent>(10_000);
    let stand_in = parts::stand_in("sea", 7);
    let settings = TimelineSettings { fps: FPS, history_bytes: 1 << 20, may_begin: |_, _| true };
    let counters = Arc::new(PlayoutCounters::default());
    let (view, _) = RingView::channel();
    let mut timeline = Timeline::new(settings, player, stand_in.clone(), shot_tx, counters, view);
    let mut start = Values::default();
    start[ParamId::Zoom] = 1.5;
    start[ParamId::Crossfade] = [0.0, 0.3, 1.0][random.usize(0..3)];
    let (board, mut reader) = param::board(start, &[]);
    let mut smoother = Smoother::new(start);
    let (mut tempo_in, tempo) = triple_buffer::triple_buffer(&Tempo::default());
    let (mut signals_in, signals) = triple_buffer::triple_buffer(&Signals::default());
    let hearing = Hearing { tempo, signals };
    let (mut on_beat, mut music) = (OnBeat::new(hearing, FPS), Gathered::default());
    let mut on_stage = Renderer::new(CANVAS, live.fit, Interpolation::Flow, Arc::default());
    on_stage.set_time(FPS, live.flash_limit);

    let painted_from = journal::StandIn { prompt: "sea".into(), seed: 7 };
    let mut entries =
        vec![entry(parts::session_start("0".into(), &live, painted_from.clone(), &start))];
    let mut clips = vec![stand_in];
    let mut pictures = Vec::new();
    let (mut n, mut seen, mut cycle, mut revision) = (0, 0, 0, 0);
    let mut late: VecDeque<(u64, Arc<PreparedClip>, u64)> = VecDeque::new();
    let go = random.u64(0..90);
    while n < 600 {
        if n >= go {
            feeder.starter().go();
        }
        if random.u8(0..60) == 0 {
            let before = clips.last().filter(|clip| clip.origin == Origin::Cycle);
            let clip = Arc::new(clip(&mut random, cycle, before.map(|clip| &**clip)));
            cycle += 1;
            feeder.append(clip.clone()).unwrap();
            clips.push(clip);
        }
        if random.u8(0..10) == 0 {
            let group = ["fx", "playback", "mod", "quantise"][random.usize(0..4)];
            let steered: Vec<_> = REGISTRY.iter().filter(|p| p.group() == group).collect();
            let param = steered[random.usize(0..steered.len())];
            let op = if param.is_number() { Op::Place(random.f32()) } else { Op::Toggle };
            let fade_ms = [0.0, 400.0][random.usize(0..2)];
            let from = param::From { source: "http".into(), received: Duration::ZERO };
            let accepted = board.apply(&Change { param, op, fade_ms }, &from).unwrap();
            entries.push(entry(parts::journal_change(&accepted)));
        }
        // What is held for long shows little of all the rest.
        if random.u8(0..60) == 0 {
            for id in [ParamId::Freeze, ParamId::Hold, ParamId::Bounce, ParamId::LoopCycles] {
                let from = param::From { source: "http".into(), received: Duration::ZERO };
                let accepted = board.apply(&Change::set(id, 0.0), &from).unwrap();
                entries.push(entry(parts::journal_change(&accepted)));
            }
        }
        if random.u8(0..60) == 0 {
            feeder.starter().go_to(CycleId(random.u32(0..cycle + 1)));
        }
        if random.u8(0..60) == 0 {
            revision += 1;
            feeder.replan(revision, random.f64() * 3.0).unwrap();
        }
        if let Some(cut) = feeder.tail_cut() {
            let mut clip = clip(&mut random, cycle, None);
            cycle += 1;
            clip.grown_from = (cut.clip.origin == Origin::Cycle).then(|| Grown {
                serial: cut.clip.serial,
                cycle: cut.clip.clip.cycle,
                reversed: cut.clip.reversed,
                frames: 2,
                at: Some(cut.frame),
            });
            let clip = Arc::new(clip);
            clips.push(clip.clone());
            late.push_back((n + random.u64(0..120), clip, cut.revision));
        }
        while let Some((_, clip, revision)) = late.pop_front_if(|late| late.0 <= n) {
            feeder.append_replacing(clip, revision).unwrap();
        }
        if random.u8(0..40) == 0 {
            let frames = random.u64(1..9);
            let held = Receipt::Held { frame: n, frames };
            entries.extend(parts::journal_receipt(held, &mut music).map(entry));
            n += frames;
        }
        let snapshot = *reader.latest();
        if snapshot.generation != seen {
            seen = snapshot.generation;
            let at = Duration::ZERO;
            let applied = Receipt::Applied { frame: n, generation: seen, at };
            entries.extend(parts::journal_receipt(applied, &mut music).map(entry));
        }
        let mut fired: Vec<_> = std::iter::from_fn(|| reader.fired(seen)).map(|f| f.id).collect();
        let mut values = *smoother.step(&snapshot, FPS.frame_seconds() as f32 * 1000.0);
        let now = Duration::from_nanos(FPS.pts_ns(n));
        if random.u8(0..100) == 0 {
            let (beat, bpm) = (random.f64() * 100.0, 60.0 + random.f64() * 120.0);
            tempo_in.write(Tempo { at: now, beat, bpm, ..Tempo::default() });
        }
        let heard = std::array::from_fn(|_| random.f32());
        signals_in.write(Signals { values: heard, at: now, ..Signals::default() });
        on_beat.step((n, now), &mut values, &mut fired, &mut timeline, |receipt| {
            entries.extend(parts::journal_receipt(receipt, &mut music).map(entry));
        });
        let look = Look::new(n, &values, &fired);
        let mut frame = Frame::black(CANVAS.0, CANVAS.1);
        on_stage.render(&timeline.tick(n, &values, &fired), &look, &mut frame.as_mut());
        pictures.push((n, frame));
        entries.extend(shots.try_iter().map(|s| entry(Event::Shot(parts::journal_shot(s)))));
        feeder.collect(Duration::ZERO).unwrap();
        n += 1;
    }

    entries.extend(music.take().map(|rest| entry(Event::Music(rest))));
    let by_the_music = |e: &&Entry| matches!(e.event, Event::Music(_) | Event::OnBeat { .. });
    let by_the_music = entries.iter().filter(by_the_music).count();
    let session = replay::sessions(entries).unwrap().pop().unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("factory_state.json"), "{}").unwrap();
    let archived = Recordings::read(folder.path()).unwrap().clips(None).unwrap();
    let stop = AtomicBool::new(false);
    let mut stock = Stock::new(whole(), archived, Some(painted_from), &stop);
    for clip in &clips {
        stock.put(source(clip), clip.clone());
    }
    let mut painter = Painter::new(session.clone(), stock);
    for (n, there) in &pictures {
        let mut frame = Frame::black(CANVAS.0, CANVAS.1);
        assert_eq!(painter.draw(*n, &mut frame.as_mut()), Shown::Drawn, "seed {seed}, frame {n}");
        assert!(frame == *there, "seed {seed}: frame {n} is another");
    }
    // Begun in the middle, as for a recording that was started then: what lingers is there.
    let mut painter = Painter::new(session, painter.stock);
    let middle = random.usize(pictures.len() / 2..pictures.len());
    for (n, there) in &pictures[middle..] {
        let mut frame = Frame::black(CANVAS.0, CANVAS.1);
        assert_eq!(painter.draw(*n, &mut frame.as_mut()), Shown::Drawn, "seed {seed}, frame {n}");
        let apart: u32 = frame.y.iter().zip(&there.y).map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
        let mean = f64::from(apart) / frame.y.len() as f64;
        assert!(mean <= 2.0, "seed {seed}: frame {n}, begun at {middle}, is {mean} away");
    }
    by_the_music
}

#[test]
fn a_set_played_again_is_the_same_to_the_pixel() {
    let by_the_music: usize = (0..6).map(played_again).sum();
    assert!(by_the_music > 20, "{by_the_music} entries of the music");
}

#[test]
fn pictures_that_are_taken_over_are_told_in_stretches() {
    let mut stretches = Vec::new();
    let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
    for (frame, why) in [(3, &a), (4, &a), (5, &b), (9, &b)] {
        note(&mut stretches, frame, why);
    }
    let told: Vec<_> = stretches.iter().map(|s| (s.first, s.frames, &*s.why)).collect();
    assert_eq!(told, [(3, 2, "a"), (5, 1, "b"), (9, 1, "b")]);
}

/// A project of these recordings and this journal.
fn project(recordings: serde_json::Value, journal: &[serde_json::Value]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let state = json!({"session_id": "0", "recordings": recordings});
    std::fs::write(folder.path().join("factory_state.json"), state.to_string()).unwrap();
    let lines: String = journal.iter().map(|entry| format!("{entry}\n")).collect();
    std::fs::write(folder.path().join("journal.jsonl"), lines).unwrap();
    folder
}

fn started(at: &str) -> serde_json::Value {
    json!({"at": at, "event": "session_start", "session": "0", "version": "1",
        "canvas": "640x360", "fps": "60/1"})
}

#[test]
fn a_recording_is_found_in_its_session() {
    let of = |file: &str, kind: &str| {
        json!({"file": file, "kind": kind, "started_at": "2026-11-22T20:15:01.000Z",
            "frames": 200, "parts": [file], "complete": true})
    };
    let folder = project(
        json!([of("a.mp4", "live"), of("b.mp4", "live"), of("c.mp4", "assembled")]),
        &[
            started("2026-11-22T20:15:00.000Z"),
            json!({"at": "", "event": "session_end", "session": "0", "frames": 260}),
            started("2026-11-22T20:16:00.000Z"),
            json!({"at": "", "event": "recording", "file": "b.mp4", "frame": 12}),
        ],
    );
    let recordings = Recordings::read(folder.path()).unwrap();
    let last = chosen(&recordings, None).unwrap();
    assert_eq!(last.file, "b.mp4");
    let (session, firsts) = session_of(&last, folder.path()).unwrap();
    assert_eq!((session.at.as_str(), firsts), ("2026-11-22T20:16:00.000Z", vec![12]));

    // An older version did not say: it ended with its session.
    let first = chosen(&recordings, Some(Path::new("somewhere/a.mp4"))).unwrap();
    let (session, firsts) = session_of(&first, folder.path()).unwrap();
    assert_eq!((session.at.as_str(), firsts), ("2026-11-22T20:15:00.000Z", vec![60]));
    let killed = Recording { complete: false, ..first };
    let error = session_of(&killed, folder.path()).unwrap_err().to_string();
    assert!(error.contains("a.mp4") && error.contains("older"), "{error}");

    let error = chosen(&recordings, Some(Path::new("c.mp4"))).unwrap_err().to_string();
    assert!(error.contains("a.mp4, b.mp4"), "{error}");
}
