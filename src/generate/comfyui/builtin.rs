//! Workflows of our own: SDXL for pictures, Stable Video Diffusion for clips.

use serde_json::{Value, json};

use super::graph::{Field, Graph};
use super::object_info::ObjectInfo;
use super::workflow::{Role, Workflow};
use crate::base::error::{Error, Result};

/// The checkpoints of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Checkpoints<'a> {
    pub sdxl: &'a str,
    pub svd: &'a str,
}

impl Workflow {
    /// `info`: what the server has, if it is known; clips are saved with the best of that. Errors
    /// for `Role::Morph`: there is no model for it that everybody has.
    pub fn builtin(
        role: Role,
        checkpoints: Checkpoints<'_>,
        info: Option<&ObjectInfo>,
    ) -> Result<Self> {
        let graph = match role {
            Role::Image | Role::Img2img => picture(role, checkpoints.sdxl),
            Role::Video => clip(checkpoints.svd, info),
            Role::Morph => {
                return Err(Error::usage(
                    "workflow_morph: not set, and there is no built-in one; export a workflow \
                     with a first and a last frame (Wan, for example) and name its file",
                ));
            }
        };
        let source = format!("the built-in {} workflow", role.key());
        let graph = Graph::from_value(graph, &source)?;
        let mut workflow = Workflow::new(graph, source, role, &[])?;
        let key = if role.is_clip() { "comfyui.svd_ckpt" } else { "comfyui.sdxl_ckpt" };
        let field = Field { node: "1".to_owned(), field: "ckpt_name".to_owned() };
        workflow.keys.push((field, key));
        Ok(workflow)
    }
}

fn node(class: &str, title: &str, inputs: Value) -> Value {
    json!({"class_type": class, "inputs": inputs, "_meta": {"title": title}})
}

fn picture(role: Role, checkpoint: &str) -> Value {
    let mut graph = json!({
        "1": node("CheckpointLoaderSimple", "SDXL", json!({"ckpt_name": checkpoint})),
        "2": node("CLIPTextEncode", "prompt", json!({"text": "", "clip": ["1", 1]})),
        "3": node("CLIPTextEncode", "negative prompt", json!({"text": "", "clip": ["1", 1]})),
        "5": node("KSampler", "sampler", json!({
            "seed": 0, "steps": 30, "cfg": 7.0, "sampler_name": "euler_ancestral",
            "scheduler": "normal", "denoise": 1.0, "model": ["1", 0], "positive": ["2", 0],
            "negative": ["3", 0], "latent_image": ["4", 0],
        })),
        "6": node("VAEDecode", "decode", json!({"samples": ["5", 0], "vae": ["1", 2]})),
        "7": node("SaveImage", "save", json!({"filename_prefix": "vfaq", "images": ["6", 0]})),
    });
    if role == Role::Image {
        let inputs = json!({"width": 1024, "height": 576, "batch_size": 1});
        graph["4"] = node("EmptyLatentImage", "size", inputs);
    } else {
        graph["8"] = node("LoadImage", "first image", json!({"image": "first.png"}));
        graph["9"] = node(
            "ImageScale",
            "size",
            json!({
                "image": ["8", 0], "upscale_method": "lanczos", "width": 1024, "height": 576,
                "crop": "center",
            }),
        );
        graph["4"] = node("VAEEncode", "encode", json!({"pixels": ["9", 0], "vae": ["1", 2]}));
    }
    graph
}

fn clip(checkpoint: &str, info: Option<&ObjectInfo>) -> Value {
    let mut graph = json!({
        "1": node("ImageOnlyCheckpointLoader", "SVD", json!({"ckpt_name": checkpoint})),
        "2": node("LoadImage", "first image", json!({"image": "first.png"})),
        "3": node("SVD_img2vid_Conditioning", "motion", json!({
            "width": 1024, "height": 576, "video_frames": 25, "motion_bucket_id": 127, "fps": 8,
            "augmentation_level": 0.02, "clip_vision": ["1", 1], "init_image": ["2", 0],
            "vae": ["1", 2],
        })),
        "4": node("VideoLinearCFGGuidance", "guidance", json!({"min_cfg": 1.0, "model": ["1", 0]})),
        "5": node("KSampler", "sampler", json!({
            "seed": 0, "steps": 20, "cfg": 2.5, "sampler_name": "euler", "scheduler": "karras",
            "denoise": 1.0, "model": ["4", 0], "positive": ["3", 0], "negative": ["3", 1],
            "latent_image": ["3", 2],
        })),
        "6": node("VAEDecode", "decode", json!({"samples": ["5", 0], "vae": ["1", 2]})),
    });
    let has = |class| info.is_some_and(|info| info.has(class));
    let images = json!(["6", 0]);
    if has("VHS_VideoCombine") && offers(info, "VHS_VideoCombine", "format", "video/h264-mp4") {
        graph["7"] = node(
            "VHS_VideoCombine",
            "save",
            json!({
                "images": images, "frame_rate": 8.0, "loop_count": 0, "filename_prefix": "vfaq",
                "format": "video/h264-mp4", "pingpong": false, "save_output": true,
                "pix_fmt": "yuv420p", "crf": 12, "save_metadata": false, "trim_to_audio": false,
            }),
        );
    } else if has("CreateVideo") && has("SaveVideo") {
        graph["7"] = node("CreateVideo", "clip", json!({"images": images, "fps": 8.0}));
        graph["8"] = node(
            "SaveVideo",
            "save",
            json!({
                "video": ["7", 0], "filename_prefix": "vfaq", "format": "auto", "codec": "auto",
            }),
        );
    } else if info.is_none() || has("SaveAnimatedWEBP") {
        graph["7"] = node(
            "SaveAnimatedWEBP",
            "save",
            json!({
                "images": images, "filename_prefix": "vfaq", "fps": 8.0, "lossless": true,
                "quality": 90, "method": "fastest",
            }),
        );
    } else {
        let inputs = json!({"images": images, "filename_prefix": "vfaq"});
        graph["7"] = node("SaveImage", "save", inputs);
    }
    graph
}

fn offers(info: Option<&ObjectInfo>, class: &str, input: &str, choice: &str) -> bool {
    let choices = info.and_then(|info| info.choices(class, input));
    choices.is_some_and(|choices| choices.iter().any(|c| c == choice))
}
