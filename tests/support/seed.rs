//! Project folders as Visual FaQtory v0.0.7 leaves them: what is where, under which names, and what
//! stands in the JSON, by the rules of that program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::output_of;

/// Frames of a clip as it was generated, and their rate.
pub const CLIP: (u32, u32) = (8, 8);
pub const SIZE: (u32, u32) = (256, 144);
/// Where the project was made: a folder of another machine.
const ELSEWHERE: &str = "/home/dj/vfaq/worqspace/qonstructions/night";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looping {
    Pingpong,
    Crossfade,
    PassThrough,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// Every field of v0.0.7.
    Last,
    /// Without the prompt bundle in the briqs, and without `cycle_video_paths` and `failed_cycles`.
    Older,
}

/// How the project was made.
#[derive(Clone, Copy, Debug)]
pub struct Seed<'a> {
    pub looping: Looping,
    /// `text` or `image`: of the first cycle.
    pub mode: &'a str,
    pub age: Age,
    pub cycles: u32,
    /// These failed for good.
    pub failed: &'a [u32],
}

impl Seed<'_> {
    /// Frames of one cycle's video.
    pub fn video_frames(&self) -> u32 {
        match self.looping {
            Looping::Pingpong => 2 * CLIP.0,
            Looping::Crossfade => CLIP.0 + CLIP.0 - 4,
            Looping::PassThrough => CLIP.0,
        }
    }

    /// Writes the project into `folder`, which is made.
    pub fn write(&self, folder: &Path) {
        for part in ["briqs", "images", "videos"] {
            fs::create_dir_all(folder.join(part)).unwrap();
        }
        let (mut completed, mut failed, mut paths, mut prompts) = (vec![], vec![], vec![], vec![]);
        for cycle in 0..self.cycles {
            let id = format!("briq_{cycle:04}_{:08x}", 0xabc0_0000_u32 + cycle);
            let good = !self.failed.contains(&cycle);
            self.write_briq(folder, cycle, &id, good);
            if !good {
                failed.push(json!({
                    "cycle_index": cycle, "briq_id": id, "failed_at": "2025-06-01T23:10:00.500000",
                    "error": "ComfyUI: out of memory",
                }));
                continue;
            }
            self.write_clips(folder, cycle, &id);
            completed.push(id);
            paths.push(format!("{ELSEWHERE}/videos/cycle{cycle:04}_video.mp4"));
            prompts.push(format!("clouds over the sea, look {cycle}"));
        }
        let mut state = json!({
            "session_id": "0123456789ab",
            "started_at": "2025-06-01T22:00:00.123456",
            "current_cycle": self.cycles,
            "total_cycles_requested": 0,
            "completed_briqs": completed,
            "active_briq_id": null,
            "prompt_history": prompts,
            "qodeyard_path": ELSEWHERE,
            "total_generation_time": 42.5,
            "total_video_duration": f64::from(self.video_frames() / CLIP.1) * paths.len() as f64,
            "cycle_video_paths": paths,
            "failed_cycles": failed,
            "mood_of_the_night": {"deep": [1, 2]},
        });
        if self.age == Age::Older {
            let state = state.as_object_mut().unwrap();
            state.remove("cycle_video_paths");
            state.remove("failed_cycles");
        }
        write_json(&folder.join("factory_state.json"), &state);
        fs::write(folder.join("config_snapshot.yaml"), "backend:\n  type: comfyui\n").unwrap();
    }

    fn write_briq(&self, folder: &Path, cycle: u32, id: &str, good: bool) {
        let at = |name: String| match good {
            true => json!(format!("{ELSEWHERE}/{name}")),
            false => Value::Null,
        };
        let first = cycle == 0;
        let mut briq = json!({
            "briq_id": id,
            "cycle_index": cycle,
            "created_at": format!("2025-06-01T22:{cycle:02}:00.000001"),
            "mode": if first { self.mode } else { "video" },
            "prompt": format!("clouds over the sea, look {cycle}"),
            "negative_prompt": "text",
            "style_tags": ["film"],
            "quality_tags": ["sharp"],
            "style_hints": "",
            "motion_prompt": "",
            "video_prompt": null,
            "motion_hint": null,
            "seed": 4000 + cycle,
            "base_image_path": (first && self.mode == "image").then_some("inputs/base.png"),
            "base_video_path": (!first)
                .then(|| format!("{ELSEWHERE}/images/cycle{:04}_raw.mp4", cycle - 1)),
            "spec": {
                "width": SIZE.0, "height": SIZE.1, "cfg_scale": 7.0, "steps": 30,
                "sampler": "euler_ancestral", "video_frames": CLIP.0, "video_fps": CLIP.1,
                "clip_seconds": 1.0, "motion_bucket_id": 127, "noise_aug_strength": 0.02,
                "denoise_strength": 0.4,
            },
            "status": if good { "complete" } else { "failed" },
            "raw_video_path": at(format!("images/cycle{cycle:04}_raw.mp4")),
            "looped_video_path": at(format!("videos/cycle{cycle:04}_video.mp4")),
            "source_image_path": at(format!("images/{id}_image.png")),
            "generation_time": 21.25,
            "backend_used": "comfyui",
            "error_message": (!good).then_some("ComfyUI: out of memory"),
            "evolution_suggestion": "a little brighter",
            "suggested_prompt_delta": "golden light",
            "a_field_of_tomorrow": cycle,
        });
        if self.age == Age::Older {
            let briq = briq.as_object_mut().unwrap();
            for field in ["style_hints", "motion_prompt", "video_prompt", "motion_hint"] {
                briq.remove(field);
            }
        }
        write_json(&folder.join(format!("briqs/{id}.json")), &briq);
    }

    fn write_clips(&self, folder: &Path, cycle: u32, id: &str) {
        let raw = folder.join(format!("images/cycle{cycle:04}_raw.mp4"));
        make_clip(&raw, cycle);
        // The backend's own file, of which the raw clip is a copy.
        fs::copy(&raw, folder.join(format!("images/{id}_video.mp4"))).unwrap();
        let still = folder.join(format!("images/{id}_image.png"));
        ffmpeg(&raw, &["-frames:v", "1"], &still);
        if cycle > 0 {
            let frame = folder.join(format!("images/cycle{cycle:04}_video_frame.png"));
            fs::copy(&still, frame).unwrap();
        }
        let video = folder.join(format!("videos/cycle{cycle:04}_video.mp4"));
        let encode = ["-an", "-c:v", "libx264", "-crf", "18", "-pix_fmt", "yuv420p"];
        let filter = match self.looping {
            Looping::Pingpong => "[0:v]split[a][b];[b]reverse[r];[a][r]concat=n=2:v=1",
            Looping::Crossfade => {
                "[0:v]split[a][b];[a][b]xfade=transition=fade:duration=0.5:offset=0.5"
            }
            Looping::PassThrough => "[0:v]fps=8",
        };
        let arguments: Vec<&str> = ["-filter_complex", filter].into_iter().chain(encode).collect();
        ffmpeg(&raw, &arguments, &video);
    }
}

/// A clip that is told from the others by its brightness.
fn make_clip(path: &Path, cycle: u32) {
    let (frames, fps) = CLIP;
    let light = 20 + 12 * (cycle % 8);
    let lit = format!("val*0.5+{light}");
    let (width, height) = SIZE;
    let picture =
        format!("testsrc2=s={width}x{height}:r={fps},format=rgb24,lutrgb=r={lit}:g={lit}:b={lit}");
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-y", "-f", "lavfi", "-i", &picture]);
    command.args(["-frames:v", &frames.to_string(), "-c:v", "libx264", "-pix_fmt", "yuv420p"]);
    output_of(command.arg(path));
}

fn ffmpeg(from: &Path, arguments: &[&str], to: &Path) {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-y", "-i"]).arg(from).args(arguments);
    output_of(command.arg(to));
}

fn write_json(path: &PathBuf, value: &Value) {
    fs::write(path, serde_json::to_string_pretty(value).unwrap()).unwrap();
}
