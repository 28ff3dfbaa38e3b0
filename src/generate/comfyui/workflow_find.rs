//! Where in a workflow things go, found by following its links back from what it saves.

use std::collections::HashSet;

use serde_json::Value;

use super::graph::{Field, Graph, Link};
use super::workflow::Role;
use super::workflow_input::Input;

/// Savers that are known by name, best first: for clips, then for pictures.
const CLIP_SAVERS: [&str; 5] =
    ["VHS_VideoCombine", "SaveVideo", "SaveWEBM", "SaveAnimatedWEBP", "SaveAnimatedPNG"];
const PICTURE_SAVERS: [&str; 3] = ["SaveImage", "SaveImageWebsocket", "PreviewImage"];

const TEXTS: [&str; 14] = [
    "text",
    "text_g",
    "text_l",
    "clip_l",
    "clip_g",
    "t5xxl",
    "llama",
    "bert",
    "mt5xl",
    "prompt",
    "user_prompt",
    "positive_prompt",
    "string",
    "value",
];
/// Where a node that only holds a value has it.
const HELD: [&str; 10] = [
    "value",
    "text",
    "string",
    "string_a",
    "prompt",
    "seed",
    "noise_seed",
    "int",
    "float",
    "number",
];
const FIRST: [&str; 6] =
    ["start_image", "init_image", "first_image", "first_frame", "start_frame", "image_start"];
const LAST: [&str; 5] = ["end_image", "last_image", "last_frame", "end_frame", "image_end"];
const FRAMES: [&str; 5] = ["length", "video_frames", "num_frames", "frames", "frame_count"];
const PICTURES: [&str; 9] = [
    "pixels",
    "image",
    "images",
    "start_image",
    "end_image",
    "init_image",
    "samples",
    "latent",
    "latent_image",
];

#[derive(Debug, Default)]
pub struct Found {
    pub fields: Vec<(Input, Field)>,
    pub outputs: Vec<String>,
    pub notes: Vec<String>,
    /// Outputs of loaders that models come from, and those of their text encoders.
    pub models: Vec<(String, u64)>,
    pub clips: Vec<(String, u64)>,
}

impl Found {
    fn add(&mut self, input: Input, node: &str, field: &str) {
        let field = Field { node: node.to_owned(), field: field.to_owned() };
        if !self.fields.contains(&(input, field.clone())) {
            self.fields.push((input, field));
        }
    }
}

pub fn saves_clips(class: &str) -> bool {
    CLIP_SAVERS.contains(&class)
}

/// Nodes that save or show something, best first.
pub fn outputs(graph: &Graph, role: Role) -> Vec<String> {
    let rank = |class: &str| {
        let clip = CLIP_SAVERS.iter().position(|c| *c == class);
        let picture = PICTURE_SAVERS.iter().position(|c| *c == class);
        match (role.is_clip(), clip, picture) {
            (true, Some(n), _) | (false, _, Some(n)) => Some(n),
            (true, _, Some(n)) | (false, Some(n), _) => Some(10 + n),
            _ => None,
        }
    };
    let mut found: Vec<(usize, &str)> = Vec::new();
    for id in graph.ids() {
        let class = graph.class(id);
        let end = graph.consumers(id).next().is_none();
        let saves = graph.input(id, "filename_prefix").is_some()
            || class.starts_with("Save")
            || class.starts_with("Preview");
        let pictures = ["image", "images", "video"].iter().any(|f| graph.link(id, f).is_some());
        match rank(class) {
            Some(rank) => found.push((rank, id)),
            None if end && pictures && saves => found.push((20, id)),
            None if end && pictures => found.push((30, id)),
            None => {}
        }
    }
    // Nodes that merely end somewhere count only where nothing is saved.
    if found.iter().any(|(rank, _)| *rank < 30) {
        found.retain(|(rank, _)| *rank < 30);
    }
    found.sort_by_key(|(rank, _)| *rank);
    found.into_iter().map(|(_, id)| id.to_owned()).collect()
}

/// `first_output`: the node whose result is wanted, if the user said it.
pub fn find(graph: &Graph, role: Role, first_output: Option<&str>) -> Found {
    let mut found = Found { outputs: outputs(graph, role), ..Found::default() };
    if let Some(id) = first_output {
        found.outputs.retain(|other| other != id);
        found.outputs.insert(0, id.to_owned());
    }
    let Some(output) = found.outputs.first().cloned() else { return found };
    let needed = graph.ancestors(&output);
    let samplers: Vec<&str> = needed.iter().copied().filter(|id| is_sampler(graph, id)).collect();
    for id in &samplers {
        sampler(graph, role, id, &mut found);
    }
    // A text that means both is not to be given both.
    let positive: HashSet<Field> = found
        .fields
        .iter()
        .filter(|(input, _)| *input == Input::Prompt)
        .map(|(_, field)| field.clone())
        .collect();
    found.fields.retain(|(i, field)| *i != Input::NegativePrompt || !positive.contains(field));
    if samplers.is_empty() {
        size(graph, role, &output, &mut HashSet::new(), &mut found);
    }
    images(graph, role, &needed, &mut found);
    for id in needed {
        if graph.literal(id, "motion_bucket_id").is_some() {
            found.add(Input::MotionBucketId, id, "motion_bucket_id");
            for field in ["augmentation_level", "fps"] {
                if graph.literal(id, field).is_some() {
                    let input = if field == "fps" { Input::Fps } else { Input::NoiseAugStrength };
                    found.add(input, id, field);
                }
            }
        }
        if graph.class(id) == "LTXVConditioning" && graph.literal(id, "frame_rate").is_some() {
            found.add(Input::Fps, id, "frame_rate");
        }
    }
    for id in graph.ids() {
        if graph.literal(id, "filename_prefix").is_some() {
            found.add(Input::FilenamePrefix, id, "filename_prefix");
        }
        let saver = found.outputs.iter().any(|o| o == id) || graph.class(id) == "CreateVideo";
        for field in ["frame_rate", "fps"] {
            if saver && role.is_clip() {
                value(graph, Input::Fps, id, field, &mut found);
            }
        }
    }
    found.fields.sort_by_key(|(input, _)| *input);
    found
}

fn is_sampler(graph: &Graph, id: &str) -> bool {
    let has = |field| graph.input(id, field).is_some();
    let guided = ["positive", "guider", "text_embeds"].iter().any(|f| graph.link(id, f).is_some());
    guided && (has("latent_image") || has("seed") || has("noise_seed") || has("steps"))
}

/// The field, or the node that only holds its value.
fn value(graph: &Graph, input: Input, id: &str, field: &str, found: &mut Found) -> bool {
    let (mut id, mut field) = (id, field);
    for _ in 0..16 {
        match graph.link(id, field) {
            None if graph.literal(id, field).is_some() => {
                found.add(input, id, field);
                return true;
            }
            None => return false,
            Some(link) => {
                id = link.node;
                let holds = |f: &&&str| graph.input(id, f).is_some();
                let Some(next) = HELD.iter().find(holds) else { return false };
                field = next;
            }
        }
    }
    false
}

fn sampler(graph: &Graph, role: Role, id: &str, found: &mut Found) {
    for field in ["seed", "noise_seed"] {
        value(graph, Input::Seed, id, field, found);
    }
    let holder = |field| graph.link(id, field).map(|link| link.node);
    if let Some(noise) = holder("noise") {
        value(graph, Input::Seed, noise, "noise_seed", found);
    }
    let parts: Vec<&str> = [Some(id), holder("sampler"), holder("sigmas"), holder("guider")]
        .into_iter()
        .flatten()
        .collect();
    let part = |field: &str| graph.literal(id, field).and_then(Value::as_f64);
    let shares = part("start_at_step").is_some_and(|s| s > 0.0)
        || part("steps").zip(part("end_at_step")).is_some_and(|(all, end)| end < all);
    let without_guidance = parts
        .iter()
        .any(|id| graph.literal(id, "cfg").and_then(Value::as_f64).is_some_and(|cfg| cfg <= 1.0));
    for part in parts {
        let named = graph.describe(part);
        // Distilled models are made for a few steps; more cost time and picture.
        let few = graph.literal(part, "steps").and_then(Value::as_f64).is_some_and(|n| n <= 12.0);
        if few && without_guidance {
            found.notes.push(format!(
                "node {named}: steps stay as they are, because the model is made for few"
            ));
        } else if shares {
            if graph.input(part, "steps").is_some() {
                found.notes.push(format!(
                    "node {named}: steps stay as they are, because samplers share them"
                ));
            }
        } else {
            value(graph, Input::Steps, part, "steps", found);
        }
        let own = role.is_clip() || without_guidance;
        if !own {
            value(graph, Input::Cfg, part, "cfg", found);
            value(graph, Input::Sampler, part, "sampler_name", found);
            value(graph, Input::Scheduler, part, "scheduler", found);
        } else if graph.literal(part, "cfg").is_some() {
            let why = if role.is_clip() {
                "models for clips need their own"
            } else {
                "the model works without guidance"
            };
            found.notes.push(format!(
                "node {named}: cfg, sampler and scheduler stay as they are, because {why}; use \
                 workflow_map.{} to set them all the same",
                role.key()
            ));
        }
        if role == Role::Img2img && from_picture(graph, id) {
            value(graph, Input::Denoise, part, "denoise", found);
        }
    }
    for (side, input) in [("positive", Input::Prompt), ("negative", Input::NegativePrompt)] {
        let conditioning = graph.link(id, side).or_else(|| {
            let guider = holder("guider")?;
            graph
                .link(guider, side)
                .or_else(|| graph.link(guider, "conditioning").filter(|_| input == Input::Prompt))
        });
        if let Some(link) = conditioning {
            text(graph, input, link, &mut HashSet::new(), found);
        }
    }
    if let Some(texts) = holder("text_embeds") {
        value(graph, Input::Prompt, texts, "positive_prompt", found);
        value(graph, Input::NegativePrompt, texts, "negative_prompt", found);
    }
    for start in ["latent_image", "latent", "samples", "image_embeds"] {
        if let Some(node) = holder(start) {
            size(graph, role, node, &mut HashSet::new(), found);
        }
    }
    let model = graph.link(id, "model").or_else(|| graph.link(holder("guider")?, "model"));
    if let Some(root) = root(graph, model, "model")
        && !found.models.contains(&root)
    {
        found.models.push(root);
    }
}

/// The loader's output at the end of links of the same name.
fn root(graph: &Graph, link: Option<Link<'_>>, field: &str) -> Option<(String, u64)> {
    let mut link = link?;
    while let Some(next) = graph.link(link.node, field) {
        link = next;
    }
    Some((link.node.to_owned(), link.slot))
}

/// Whether the sampler begins with a picture and not with noise or another sampler's result.
fn from_picture(graph: &Graph, id: &str) -> bool {
    let mut next = graph.link(id, "latent_image");
    while let Some(link) = next {
        if is_sampler(graph, link.node) {
            return false;
        }
        if graph.link(link.node, "pixels").is_some() {
            return true;
        }
        next = ["samples", "latent", "latent_image"].iter().find_map(|f| graph.link(link.node, f));
    }
    false
}

/// The texts behind a conditioning.
fn text<'a>(
    graph: &'a Graph,
    input: Input,
    link: Link<'a>,
    seen: &mut HashSet<Link<'a>>,
    found: &mut Found,
) {
    // "Zero out" is an empty text made of another one.
    if !seen.insert(link) || graph.class(link.node) == "ConditioningZeroOut" {
        return;
    }
    let id = link.node;
    let mut texts = false;
    for field in TEXTS {
        if graph.literal(id, field).is_none_or(Value::is_string) {
            texts |= value(graph, input, id, field, found);
        }
    }
    if texts {
        if let Some(root) = root(graph, graph.link(id, "clip"), "clip")
            && !found.clips.contains(&root)
        {
            found.clips.push(root);
        }
        return;
    }
    let sides = (graph.link(id, "positive"), graph.link(id, "negative"));
    match (sides, link.slot) {
        ((Some(positive), _), 0) => text(graph, input, positive, seen, found),
        ((Some(_), Some(negative)), 1) => text(graph, input, negative, seen, found),
        ((Some(_), _), _) => {}
        _ => {
            for (field, link) in graph.links(id) {
                let other =
                    ["clip", "model", "vae", "image", "pixels", "mask", "latent", "control"]
                        .iter()
                        .any(|o| field.contains(o));
                if field.starts_with("cond") || !other {
                    text(graph, input, link, seen, found);
                }
            }
        }
    }
}

/// Sizes and lengths on the way back from a latent or a picture.
fn size<'a>(
    graph: &'a Graph,
    role: Role,
    id: &'a str,
    seen: &mut HashSet<&'a str>,
    found: &mut Found,
) {
    if !seen.insert(id) || is_sampler(graph, id) {
        return;
    }
    let class = graph.class(id);
    let sized = ["width", "height"]
        .iter()
        .all(|f| graph.input(id, f).is_some_and(|v| v.as_f64() != Some(0.0)));
    if sized && class.contains("LatentUpscale") {
        found.notes.push(format!("node {}: keeps its size", graph.describe(id)));
    } else if sized && !class.contains("Crop") {
        value(graph, Input::Width, id, "width", found);
        value(graph, Input::Height, id, "height", found);
    }
    if role.is_clip() {
        let known = FRAMES.iter().any(|f| value(graph, Input::Frames, id, f, found));
        let clip = found.outputs.first().is_some_and(|id| saves_clips(graph.class(id)));
        if !known && clip && class == "EmptyLatentImage" {
            value(graph, Input::Frames, id, "batch_size", found);
        }
    }
    for (field, link) in graph.links(id) {
        if PICTURES.contains(&field) || FIRST.contains(&field) || LAST.contains(&field) {
            size(graph, role, link.node, seen, found);
        }
    }
}

/// Loaders of pictures: the first of a clip (or the one to start from) and the last.
fn images(graph: &Graph, role: Role, needed: &[&str], found: &mut Found) {
    if role == Role::Image {
        return;
    }
    let (mut first, mut last, mut open, mut other) = (vec![], vec![], vec![], vec![]);
    for id in graph.ids().filter(|id| needed.contains(id)) {
        let class = graph.class(id);
        if !class.starts_with("LoadImage") || class.contains("Mask") {
            continue;
        }
        if graph.literal(id, "image").is_none_or(|v| !v.is_string()) {
            continue;
        }
        let uses = uses(graph, id);
        let title = graph.title(id).unwrap_or_default().to_lowercase();
        let titled = |words: &[&str]| words.iter().any(|w| title.contains(w));
        match (uses.first, uses.last, uses.other) {
            (true, true, _) => {
                first.push(id);
                last.push(id);
            }
            (true, ..) => first.push(id),
            (_, true, _) => last.push(id),
            _ if titled(&["last", "end"]) => last.push(id),
            _ if titled(&["first", "start", "init"]) => first.push(id),
            (_, _, true) => other.push(id),
            _ => open.push(id),
        }
    }
    let mut open = open.into_iter().chain(other);
    if first.is_empty()
        && let Some(id) = open.next()
    {
        let picture = graph.describe(id);
        found
            .notes
            .push(format!("node {picture}: taken for the first picture, for want of another"));
        first.push(id);
    }
    if role == Role::Morph
        && last.is_empty()
        && let Some(id) = open.next()
    {
        let picture = graph.describe(id);
        found
            .notes
            .push(format!("node {picture}: taken for the last picture, for want of another"));
        last.push(id);
    }
    for id in first {
        found.add(Input::FirstImage, id, "image");
    }
    for id in last {
        if role.is_clip() {
            found.add(Input::LastImage, id, "image");
        }
    }
}

#[derive(Default)]
struct Uses {
    first: bool,
    last: bool,
    other: bool,
}

/// What a picture is used for, on all its ways.
fn uses(graph: &Graph, loader: &str) -> Uses {
    let mut uses = Uses::default();
    let mut seen: HashSet<&str> = HashSet::new();
    let mut next = vec![loader];
    while let Some(of) = next.pop() {
        for (id, field, _) in graph.consumers(of) {
            let clip_vision = field.contains("clip_vision");
            let class = graph.class(id);
            if clip_vision {
                continue;
            }
            let makes = graph.input(id, "width").is_some()
                && FRAMES.iter().any(|f| graph.input(id, f).is_some());
            if LAST.contains(&field) {
                uses.last = true;
            } else if FIRST.contains(&field) || field == "pixels" || (field == "image" && makes) {
                uses.first = true;
            } else if class.contains("Control")
                || class.contains("IPAdapter")
                || field.contains("ref")
            {
                uses.other = true;
            } else if !is_sampler(graph, id) && seen.insert(id) {
                next.push(id);
            }
        }
    }
    uses
}
