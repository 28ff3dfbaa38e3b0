//! Whatever a disk does, and wherever a run is killed: what lies there is understood by the next run,
//! and nothing that was finished is lost.

use std::path::Path;
use std::sync::Arc;

use image::RgbImage;
use proptest::prelude::*;

use super::tests::{Studio, looping};
use super::*;
use crate::archive::Survey;
use crate::base::fsio::fault::{self, Fault};
use crate::base::time::FrameRate;
use crate::config::LoopMethod;
use crate::generate::convert::rgb_to_frame;
use crate::media::{Clip, CycleId, VideoFormat};

/// A first run makes so many cycles, if nothing happens.
const CYCLES: u32 = 3;

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![Just(Fault::Short), Just(Fault::BeforeRename), (1u32..6).prop_map(Fault::Full),]
}

fn previous(raw: &Path, briq: Option<Briq>) -> Previous {
    Previous { briq, raw: raw.to_owned(), frame: RgbImage::new(16, 8) }
}

/// Makes cycles until one fails; returns those whose making was said to have gone well.
async fn make_some(studio: &Studio) -> Vec<u32> {
    let mut last: Option<Previous> = None;
    let mut made = Vec::new();
    for cycle in 0..CYCLES {
        let Ok(done) = studio.run(cycle, last.as_ref()).await.0 else { continue };
        last = Some(previous(&done.built.clip.path, Some(done.briq)));
        made.push(cycle);
    }
    made
}

/// What a run does first: clips without a video get one.
async fn complete(studio: &Studio, survey: &Survey) {
    for (cycle, raw) in survey.unfinished() {
        let frame = rgb_to_frame(&RgbImage::new(16, 8));
        let format = VideoFormat { width: 16, height: 8, fps: FrameRate::whole(8) };
        let clip =
            Clip { cycle: cycle.cycle, path: raw.to_owned(), format, frames: 6, prompt: "".into() };
        let made = resume_made(&studio.workshop, cycle.briq.clone(), clip, vec![frame; 6]);
        finish(&studio.workshop, made, &looping(studio.loop_method)).await.unwrap();
    }
}

async fn outlives(after: u32, fault: Fault, method: Option<LoopMethod>) {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let mut studio = Studio::open(folder.clone(), 0);
    studio.loop_method = method;
    fault::plan(folder.path(), after, fault);
    let made = make_some(&studio).await;
    let Studio { archive, workshop, .. } = studio;
    drop(workshop);
    // A disk that is still full by then is as bad as a kill.
    let _ = archive.close();
    fault::end();

    // The next run.
    let mut studio = Studio::open(folder.clone(), 0);
    studio.loop_method = method;
    let resume = studio.workshop.project.resume_point().unwrap();
    let survey = Survey::of(folder.path(), None).unwrap();
    assert_eq!(survey.faults, Vec::<String>::new(), "every file is whole, old or new");
    for cycle in made {
        assert!(resume.next_cycle > CycleId(cycle), "{cycle} is not made twice");
        let known = survey.cycles.iter().find(|known| known.cycle == CycleId(cycle));
        let known = known.expect("a cycle that was made is there");
        assert!(known.raw.whole().is_some() && known.video.whole().is_some(), "{known:?}");
    }
    complete(&studio, &survey).await;
    let mut last = resume.last_raw.map(|(_, raw)| previous(&raw, resume.last_briq));
    let end = resume.next_cycle.0 + 2;
    for cycle in resume.next_cycle.0..end {
        let done = studio.run(cycle, last.as_ref()).await.0.unwrap();
        last = Some(previous(&done.built.clip.path, Some(done.briq)));
    }
    let Studio { archive, workshop, .. } = studio;
    drop(workshop);
    archive.close().unwrap();

    // All is as if nothing had been, but for cycles that the full disk did not take.
    let survey = Survey::of(folder.path(), None).unwrap();
    let state = survey.state.as_ref().unwrap();
    assert_eq!(state.current_cycle, end);
    assert_eq!(state.active_briq_id, None);
    let failed: Vec<u32> = state.failed_cycles.iter().filter_map(|f| f.cycle()).collect();
    for cycle in &survey.cycles {
        let number = cycle.cycle.0;
        if failed.contains(&number) {
            assert!(cycle.failure.is_some(), "{cycle:?}");
            continue;
        }
        assert!(cycle.raw.whole().is_some() && cycle.video.whole().is_some(), "{cycle:?}");
        match &cycle.briq {
            Some(briq) => assert_eq!(briq.status, BriqStatus::Complete, "{cycle:?}"),
            // The disk was full to the very end, and took the state in the last moment.
            None => assert!(matches!(fault, Fault::Full(_)), "{cycle:?}"),
        }
        let listed = format!("videos/cycle{}_video.mp4", cycle.cycle);
        assert!(state.cycle_video_paths.contains(&listed), "{listed}");
    }
    let numbers: Vec<u32> = survey.cycles.iter().map(|cycle| cycle.cycle.0).collect();
    assert_eq!(numbers, (0..end).collect::<Vec<_>>());
    for part in ["", "briqs", "images", "videos"] {
        for entry in std::fs::read_dir(folder.path().join(part)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(!name.starts_with(".vfaq-"), "{part}/{name} is left over");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn a_run_outlives_any_fault_at_any_write(
        after in 0u32..60,
        fault in fault(),
        method in prop::option::of(Just(LoopMethod::Pingpong)),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(outlives(after, fault, method));
    }
}
