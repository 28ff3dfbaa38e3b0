//! `vfaq run --dry-run`: what would be made, in lines for people, without making any of it.

use std::sync::Arc;
use std::time::Duration;

use super::{BatchOptions, Goal, Work, check, check_generators};
use crate::app::{backends, speeds};
use crate::archive::{Survey, disk};
use crate::base::clock::Clock;
use crate::base::error::Result;
use crate::base::time::hms;

/// Checks all that a run needs, generators too, and writes nothing.
///
/// # Errors
/// As those of [`super::run`] before anything was made.
pub fn rehearse(options: &BatchOptions, clock: Arc<dyn Clock>) -> Result<Vec<String>> {
    crate::stream::init()?;
    let checked = check(options, clock.clone())?;
    check_generators(&checked, clock)?;
    let config = &checked.config;
    let survey = match checked.folder.is_dir() {
        true => Some(Survey::of(&checked.folder, config.paths.briqs_dir.as_deref())?),
        false => None,
    };
    let session = survey.as_ref().map_or(&[][..], Survey::session);
    let made = session.iter().filter(|cycle| cycle.was_made()).count();
    let next = session.iter().rev().find(|cycle| cycle.was_made()).map_or(0, |c| c.cycle.0 + 1);
    let mut lines = vec![
        format!("brief      {}", checked.bundle.title.as_deref().unwrap_or("untitled")),
        format!("prompt     {}", checked.bundle.prompt),
        format!("project    {}", checked.folder.display()),
        match (survey.is_some(), options.fresh) {
            (false, _) => "           is new".to_owned(),
            (true, true) => {
                format!("           has {made} cycles, which stay; begins anew behind them")
            }
            (true, false) => format!("           has {made} cycles; goes on with cycle {next}"),
        },
    ];
    if let Some(holder) = survey.as_ref().and_then(|survey| survey.holder.as_ref()) {
        lines.push(format!("           is in use by {holder}: a run would be refused"));
    }
    let open: Vec<_> = survey.iter().flat_map(Survey::failed).collect();
    if !open.is_empty() {
        let numbers: Vec<_> = open.iter().map(|cycle| cycle.cycle.0.to_string()).collect();
        lines.push(format!("failed     cycles {} (--retry-failed makes them)", numbers.join(", ")));
    }
    let generation = &config.generation;
    let clip_s = f64::from(generation.video_frames) * generation.video_fps.frame_seconds();
    let servers = backends::servers(config);
    let names: Vec<_> = servers.iter().map(|server| server.name.clone()).collect();
    lines.push(format!("generator  {}", names.join(", ")));
    lines.push(format!(
        "clips      {}x{}, {} frames at {} fps, {clip_s:.1} s each",
        generation.width, generation.height, generation.video_frames, generation.video_fps
    ));
    let done = if options.fresh { 0 } else { made as u32 };
    let seconds = match (&survey, options.fresh) {
        (Some(survey), false) => {
            survey.state.as_ref().map_or(0.0, |state| state.total_video_duration)
        }
        _ => 0.0,
    };
    match options.work {
        Work::Single { cycle } => {
            lines.push(format!("makes      cycle {}", cycle.map_or(next, |cycle| cycle.0)));
        }
        Work::Run { cycles, hours, .. } => {
            let goal = Goal::of(cycles, hours, &config.cycle)?;
            let left = goal.cycles_left(done, seconds, clip_s);
            lines.push(match left {
                Some(0) => "makes      nothing: there is enough already".to_owned(),
                Some(left) => format!("makes      about {left} cycles"),
                None => "makes      cycles until it is stopped".to_owned(),
            });
            if let Some(took) = expected(&names).zip(left).map(|(each, left)| each * left) {
                lines.push(format!("time       about {}, by how quick they were last", hms(took)));
            }
        }
    }
    let on = checked.folder.ancestors().find(|folder| folder.is_dir());
    if let Some(free) = on.and_then(disk::free_bytes) {
        lines.push(format!("disk       {} MB are free", free >> 20));
    }
    lines.push("all right; nothing was made".to_owned());
    Ok(lines)
}

/// What a cycle took lately, if all who make them are known.
fn expected(names: &[String]) -> Option<Duration> {
    let speeds = speeds::read();
    let known: Option<Vec<_>> = names.iter().map(|name| speeds.get(name)).collect();
    let known = known?;
    let quickest = |times: Vec<f64>| times.into_iter().reduce(f64::min);
    let image = quickest(known.iter().filter_map(|speed| speed.image_s).collect())?;
    let video = quickest(known.iter().filter_map(|speed| speed.video_s).collect())?;
    Duration::try_from_secs_f64(image + video).ok()
}
