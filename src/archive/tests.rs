//! Projects as they are found in the field: new, old, moved, damaged, in use.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use proptest::prelude::*;
use serde_json::json;

use super::journal::Event;
use super::*;
use crate::base::clock::{Clock, ManualClock, SystemClock};
use crate::base::error::{Kind, Result};
use crate::cycle::{Briq, BriqStatus};
use crate::media::CycleId;

/// The smallest file that is a whole MP4; `mark` tells one from another.
pub(crate) fn clip_bytes(mark: u8) -> Vec<u8> {
    vec![0, 0, 0, 9, b'm', b'o', b'o', b'v', mark]
}

fn options(folder: &Path) -> Open<'_> {
    Open {
        folder,
        briqs_dir: None,
        fresh: false,
        must_exist: false,
        config_text: "live: {outputs: [\"rtmp://x/${KEY}\"]}\n",
        who: "vfaq live",
        now: SystemTime::UNIX_EPOCH,
    }
}

pub(crate) fn open(folder: &Path) -> Result<Project> {
    Project::open(options(folder))
}

fn put(folder: &Path, name: &str, content: impl AsRef<[u8]>) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn start(folder: &Path) -> (Archive, Handle) {
    let project = Arc::new(open(folder).unwrap());
    let archive = Archive::start(project, Arc::new(ManualClock::default())).unwrap();
    let handle = archive.handle();
    (archive, handle)
}

#[test]
fn a_new_project_has_its_layout_and_the_configuration_as_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = named_folder(folder.path(), "summer").unwrap();
    assert!(path.ends_with("qonstructions/summer"));
    let project = open(&path).unwrap();
    for part in ["briqs", "images", "videos"] {
        assert!(path.join(part).is_dir(), "{part}");
    }
    let snapshot = path.join("config_snapshot.yaml");
    assert!(fs::read_to_string(&snapshot).unwrap().contains("${KEY}"));
    assert!(project.raw_clip(CycleId(7)).ends_with("videos/cycle0007_raw.mp4"));
    drop(project);
    fs::write(&snapshot, "mine").unwrap();
    open(&path).unwrap();
    assert_eq!(fs::read_to_string(&snapshot).unwrap(), "mine", "written once");
}

#[test]
fn names_that_are_no_folder_names_are_refused() {
    for bad in ["", ".", "..", "a/b", "../x", "/etc", "a\\b", "c:x", "a\nb", "x/"] {
        let refused = named_folder(Path::new("w"), bad).unwrap_err();
        assert_eq!(refused.kind, Kind::Usage, "{bad:?}");
    }
    for good in ["set-1", "Köln 2026", "a.b"] {
        assert!(named_folder(Path::new("w"), good).is_ok(), "{good}");
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_an_io_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "file", "");
    let mut bad = vec![folder.path().join("file/project")];
    #[cfg(target_os = "linux")]
    bad.push("/proc/project".into());
    for path in bad {
        let error = open(&path).unwrap_err();
        assert_eq!(error.kind, Kind::Io);
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
    let missing = folder.path().join("none");
    let error = Project::open(Open { must_exist: true, ..options(&missing) }).unwrap_err();
    assert_eq!(error.kind, Kind::Usage);
    assert!(!missing.exists());
}

#[test]
fn a_second_program_is_told_who_holds_the_project() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path()).unwrap();
    let error = open(folder.path()).unwrap_err();
    assert_eq!(error.kind, Kind::Unavailable);
    assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
    drop(first);
    open(folder.path()).unwrap();
}

#[test]
fn a_damaged_state_is_named_and_fresh_keeps_it() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "factory_state.json", "{\"session_id\": ");
    put(folder.path(), "images/cycle0004_raw.mp4", clip_bytes(4));
    let error = open(folder.path()).unwrap_err();
    assert_eq!(error.kind, Kind::Io);
    let text = error.to_string();
    assert!(text.contains("factory_state.json") && text.contains("--fresh"), "{text}");

    for aside in ["factory_state_001.json", "factory_state_002.json"] {
        let project = Project::open(Open { fresh: true, ..options(folder.path()) }).unwrap();
        let kept = fs::read(folder.path().join(aside)).unwrap();
        assert_eq!(kept, b"{\"session_id\": ", "{aside}");
        let resume = project.resume_point().unwrap();
        assert_eq!((resume.next_cycle, resume.last_raw), (CycleId(5), None));
        drop(project);
        put(folder.path(), "factory_state.json", "{\"session_id\": ");
    }
}

#[test]
fn a_fresh_start_that_was_stopped_does_not_grow_from_the_old_cycles() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "videos/cycle0002_raw.mp4", clip_bytes(2));
    let project = Project::open(Open { fresh: true, ..options(folder.path()) }).unwrap();
    let archive = Archive::start(Arc::new(project), Arc::new(ManualClock::default())).unwrap();
    archive.close().unwrap();
    let resume = open(folder.path()).unwrap().resume_point().unwrap();
    assert_eq!((resume.next_cycle, resume.last_raw), (CycleId(3), None));
}

/// A project of the predecessor: older briqs, raws in `images/`, paths of another machine.
#[test]
fn an_old_project_is_played_and_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let state = json!({
        "session_id": "0123456789ab", "started_at": "2025-05-01T22:00:00.000001",
        "current_cycle": 4, "total_cycles_requested": 0,
        "completed_briqs": ["briq_0000_00000000", "briq_0001_11111111", "briq_0002_22222222"],
        "active_briq_id": "briq_0003_33333333", "prompt_history": ["a", "b", "c"],
        "qodeyard_path": "/home/someone/qodeyard",
        "total_generation_time": 30.5, "total_video_duration": 9.375,
    });
    put(path, "factory_state.json", state.to_string());
    for (cycle, raw, status) in [
        (0, "/home/someone/qodeyard/images/cycle0000_raw.mp4", "complete"),
        (1, "C:\\vfaq\\images\\briq_0001_11111111_video.mp4", "complete"),
        (2, "/home/someone/qodeyard/images/cycle0002_raw.mp4", "complete"),
        (3, "", "constructing"),
    ] {
        let id = format!("briq_{cycle:04}_{}", cycle.to_string().repeat(8));
        let briq = json!({
            "briq_id": id, "cycle_index": cycle, "mode": "text", "prompt": format!("prompt {cycle}"),
            "seed": 42 + cycle, "status": status,
            "raw_video_path": (!raw.is_empty()).then_some(raw),
        });
        put(path, &format!("briqs/{id}.json"), briq.to_string());
    }
    put(path, "images/cycle0000_raw.mp4", clip_bytes(0));
    put(path, "images/briq_0001_11111111_video.mp4", clip_bytes(1));
    put(path, "images/briq_0001_11111111_image.png", "png");
    put(path, "images/cycle0002_raw.mp4", &clip_bytes(2)[..5]);
    put(path, "images/cycle0003_video_frame.png", "png");
    put(path, "cycle0002_video.mp4", clip_bytes(22));
    put(path, "images/.vfaq-half.tmp", "x");

    let project = open(path).unwrap();
    let playable = project.playable().unwrap();
    let names: Vec<_> = playable
        .iter()
        .map(|p| (p.cycle.0, p.path.strip_prefix(path).unwrap().to_str().unwrap(), &p.prompt[..]))
        .collect();
    assert_eq!(
        names,
        [
            (0, "images/cycle0000_raw.mp4", "prompt 0"),
            (1, "images/briq_0001_11111111_video.mp4", "prompt 1"),
            (2, "cycle0002_video.mp4", "prompt 2"),
        ]
    );
    assert!(project.find_source_image(CycleId(1)).unwrap().is_some());
    assert_eq!(project.find_raw(CycleId(2)).unwrap(), None, "it is cut off");
    assert!(project.find_cycle_video(CycleId(2)).unwrap().is_some());

    let resume = project.resume_point().unwrap();
    assert_eq!(resume.next_cycle, CycleId(3), "2 has a video that must not be overwritten");
    assert_eq!(resume.last_raw.unwrap().0, CycleId(1));
    assert_eq!(resume.last_briq.unwrap().prompt, "prompt 1");
    assert_eq!(resume.base_seed, Some(42));
}

#[test]
fn a_project_without_cycles_cannot_be_played() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "videos/cycle0000_raw.mp4", "");
    let error = open(folder.path()).unwrap().playable().unwrap_err();
    assert_eq!(error.kind, Kind::Unavailable);
    assert!(error.to_string().contains("no cycle"), "{error}");
}

#[test]
fn recordings_never_overwrite() {
    let folder = tempfile::tempdir().unwrap();
    let project = open(folder.path()).unwrap();
    let mut seen = Vec::new();
    for name in ["final_60fps_1080p", "final_60fps_1080p_002", "final_60fps_1080p_003"] {
        let next = project.next_recording().unwrap();
        assert_eq!(next, folder.path().join(format!("{name}.mp4")));
        // A part alone takes the name too.
        let part = if seen.len() == 1 { recording_part(&next, 3) } else { next.clone() };
        assert!(!part.exists() && !seen.contains(&next));
        fs::write(part, "x").unwrap();
        seen.push(next);
    }
    assert!(recording_part(&seen[0], 2).ends_with("final_60fps_1080p.part002.mp4"));
    assert!(recording_part(&seen[1], 3).ends_with("final_60fps_1080p_002.part003.mp4"));
    assert_eq!(recording_part(&seen[1], 1), seen[1]);
}

#[test]
fn what_was_handed_in_is_on_the_disk_after_close() {
    let folder = tempfile::tempdir().unwrap();
    let (archive, handle) = start(folder.path());
    for generation in 0..500 {
        handle.journal(Event::ParamApplied { frame: generation * 2, generation });
        handle.update_state(|state| state.current_cycle += 1);
    }
    let briq = Briq { briq_id: "briq_0000_aaaaaaaa".into(), ..Default::default() };
    handle.save_briq(&Briq { status: BriqStatus::Failed, ..briq.clone() });
    handle.save_briq(&briq);
    archive.close().unwrap();

    let (entries, torn) = journal::read(&folder.path().join("journal.jsonl")).unwrap();
    assert_eq!((entries.len(), torn, handle.journal_dropped()), (500, None, 0));
    assert_eq!(entries[1].at, "1970-01-01T00:00:00.000Z");
    // A handle holds the project, and so its lock.
    drop(handle);
    let project = open(folder.path()).unwrap();
    assert_eq!(project.state().current_cycle, 500);
    let read: Briq = read_json(&project.briq_file("briq_0000_aaaaaaaa")).unwrap();
    assert_eq!(read, briq);
}

#[test]
fn a_disk_that_fails_is_reported_and_caught_up_with() {
    let folder = tempfile::tempdir().unwrap();
    let (archive, handle) = start(folder.path());
    fs::remove_dir(folder.path().join("briqs")).unwrap();
    let briq = |n: u32| Briq { briq_id: format!("briq_{n:04}_0"), ..Default::default() };
    handle.save_briq(&briq(1));
    let clock = SystemClock::new();
    while handle.last_error().is_none() {
        assert!(clock.now().as_secs() < 20);
        std::thread::yield_now();
    }
    let error = handle.last_error().unwrap();
    assert!(error.contains("briq_0001_0.json"), "{error}");
    assert!(handle.write_failures() > 0);
    // There is room again.
    fs::create_dir(folder.path().join("briqs")).unwrap();
    handle.save_briq(&briq(2));
    archive.close().unwrap();
    for n in [1, 2] {
        assert!(folder.path().join(format!("briqs/briq_{n:04}_0.json")).exists(), "{n}");
    }
    assert_eq!(handle.last_error(), None);
}

#[test]
fn a_closed_archive_loses_nothing_silently() {
    let folder = tempfile::tempdir().unwrap();
    let (archive, handle) = start(folder.path());
    archive.close().unwrap();
    handle.journal(Event::ParamApplied { frame: 1, generation: 1 });
    handle.update_state(|_| ());
    assert_eq!(handle.journal_dropped(), 1);
    assert!(handle.last_error().is_some());
}

/// Killed after the temporary file, before the rename: the old content stands.
#[test]
fn a_crash_between_write_and_rename_leaves_the_old_state() {
    let folder = tempfile::tempdir().unwrap();
    let (archive, handle) = start(folder.path());
    handle.update_state(|state| state.current_cycle = 3);
    archive.close().unwrap();
    drop(handle);
    put(folder.path(), ".vfaq-a1b2c3.tmp", "{\"session_id\": \"half");
    put(folder.path(), "briqs/.vfaq-a1b2c3.tmp", "{");
    let project = open(folder.path()).unwrap();
    assert_eq!(project.state().current_cycle, 3);
    assert_eq!(project.resume_point().unwrap().next_cycle, CycleId(0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever survived of five cycles: nothing finished is made again, nothing is grown from
    /// that is not there, and no finished file is ever written to again.
    #[test]
    fn resume_for_any_subset_of_files(
        cycles in prop::collection::vec((any::<bool>(), any::<bool>(), any::<bool>(), 0..4u8), 5),
        with_state in any::<bool>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let mut expect_next = 0;
        let mut expect_last = None;
        for (n, (raw, in_images, video, briq)) in cycles.into_iter().enumerate() {
            let place = if in_images { "images" } else { "videos" };
            if raw {
                put(path, &format!("{place}/cycle{n:04}_raw.mp4"), clip_bytes(n as u8));
            }
            if video {
                put(path, &format!("videos/cycle{n:04}_video.mp4"), clip_bytes(n as u8));
            }
            let status = match briq {
                0 => None,
                1 => Some("pending"),
                2 => Some("constructing"),
                _ => Some("complete"),
            };
            if let Some(status) = status {
                let json = json!({"briq_id": format!("briq_{n:04}_0"), "cycle_index": n, "status": status});
                put(path, &format!("briqs/briq_{n:04}_0.json"), json.to_string());
            }
            // A kill may have come before the briq says so.
            if raw || video {
                expect_next = n as u32 + 1;
            }
            if raw {
                expect_last = Some(CycleId(n as u32));
            }
        }
        if with_state {
            put(path, "factory_state.json", "{\"current_cycle\": 99}");
        }
        let project = open(path).unwrap();
        let resume = project.resume_point().unwrap();
        prop_assert_eq!(resume.next_cycle, CycleId(expect_next));
        prop_assert_eq!(resume.last_raw.as_ref().map(|(cycle, _)| *cycle), expect_last);
        prop_assert!(resume.last_raw.is_none_or(|(_, path)| path.is_file()));

        drop(project);
        let fresh = Project::open(Open { fresh: true, ..options(path) }).unwrap();
        let next = fresh.resume_point().unwrap().next_cycle;
        prop_assert_eq!(fresh.find_raw(next).unwrap(), None);
        prop_assert_eq!(fresh.find_cycle_video(next).unwrap(), None);
        let briq = path.join(format!("briqs/briq_{next}_0.json"));
        prop_assert!(!briq.exists());
    }
}
