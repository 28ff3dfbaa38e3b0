//! `vfaq backends`: what each generator that is set can do, and whether it can be used.

use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::Folders;
use crate::app::backends::{self, Report};
use crate::base::clock::SystemClock;
use crate::base::error::{Error, Result};
use crate::generate::Capabilities;
use crate::worqspace;

#[derive(Args)]
#[command(after_help = "\
Examples:
  vfaq backends                  ask every generator in config.yaml
  vfaq backends --measure        and have each make a picture and a clip, to know how quick it is
  vfaq backends --json           for scripts

Exit code 69 if a generator cannot be used. docs/backends.md leads from nothing to a running show.")]
pub struct BackendsArgs {
    /// Have each make a picture and a clip (this costs money where generators do)
    #[arg(long)]
    measure: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(folders: &Folders, args: &BackendsArgs, clock: SystemClock) -> Result<()> {
    let mut opened = worqspace::open(&folders.worqspace)?;
    if let Some(kind) = opened.bundle.backend {
        opened.config.use_backend(kind);
    }
    let reports = backends::report(&opened.config, &opened.bundle, args.measure, Arc::new(clock))?;
    if args.json {
        let all: Vec<_> = reports.iter().map(as_json).collect();
        println!("{}", serde_json::to_string_pretty(&all).map_err(Error::fault)?);
    } else {
        reports.iter().for_each(print);
    }
    let broken = reports.iter().filter(|report| report.health.is_err()).count();
    if broken == 0 {
        return Ok(());
    }
    Err(Error::unavailable(format!(
        "{broken} of {} generators cannot be used; what does not answer is stood in for by the built-in one, what \
         is set wrongly stops the start",
        reports.len()
    )))
}

fn used_for(report: &Report) -> &'static str {
    match (report.images, report.videos) {
        (true, true) => "pictures and clips",
        (true, false) => "pictures",
        (false, _) => "clips",
    }
}

fn print(report: &Report) {
    println!("{}  ({})", report.name, used_for(report));
    let line = |name: &str, text: &str| println!("  {name:<10} {text}");
    match &report.health {
        Ok(health) => {
            let version = health.version.as_deref().unwrap_or("it answers");
            line("reachable", &format!("{version}, within {} ms", health.took.as_millis()));
            if !health.models.is_empty() {
                line("models", &health.models.join(", "));
            }
            health.notes.iter().for_each(|note| line("note", note));
        }
        Err(error) => line("missing", &error.to_string()),
    }
    line("makes", &abilities(report.capabilities));
    let time = |s: Option<f64>| s.map_or_else(|| "unknown".to_owned(), |s| format!("{s:.1} s"));
    match &report.speed {
        Some(speed) => line(
            "speed",
            &format!(
                "a picture {}, a clip {} (measured {})",
                time(speed.image_s),
                time(speed.video_s),
                speed.at
            ),
        ),
        None => line("speed", "not measured yet; a show or --measure does"),
    }
}

/// What it makes, in words.
fn abilities(can: Capabilities) -> String {
    let abilities = [
        (can.text_to_image, "text to picture"),
        (can.image_to_image, "picture to picture"),
        (can.image_to_video, "picture to clip"),
        (can.text_to_video, "text to clip"),
        (can.first_last_frame, "clip between two pictures"),
        (can.text_conditioned_video, "clips follow the prompt"),
    ];
    let words: Vec<&str> =
        abilities.iter().filter(|(can, _)| *can).map(|(_, word)| *word).collect();
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}

fn as_json(report: &Report) -> serde_json::Value {
    let can = report.capabilities;
    let health = report.health.as_ref();
    json!({
        "name": report.name,
        "type": report.kind,
        "images": report.images,
        "videos": report.videos,
        "reachable": health.is_ok(),
        "error": health.err().map(ToString::to_string),
        "version": health.ok().and_then(|h| h.version.clone()),
        "models": health.map(|h| h.models.clone()).unwrap_or_default(),
        "notes": health.map(|h| h.notes.clone()).unwrap_or_default(),
        "took_ms": health.ok().map(|h| h.took.as_millis() as u64),
        "capabilities": {
            "text_to_image": can.text_to_image,
            "image_to_image": can.image_to_image,
            "image_to_video": can.image_to_video,
            "text_to_video": can.text_to_video,
            "first_last_frame": can.first_last_frame,
            "text_conditioned_video": can.text_conditioned_video,
            "size_step": can.size_step,
            "sides": [can.sides.0, can.sides.1],
            "frames": [can.frames.0, can.frames.1],
            "frame_step": can.frame_step,
        },
        "speed": report.speed,
    })
}
