//! Which inputs a model has, and how ours go into them.
//!
//! Holds: only inputs that the model says it has are sent, each within the type, the limits and the
//! choices that it states. Of a model that states nothing, the names that nearly all share are used.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// References that are followed for one input.
const MOST_PARTS: usize = 16;
/// Sides are rounded to a multiple of this, where the model does not say otherwise.
const SIDE_STEP: f64 = 8.0;

pub const PROMPT: &[&str] = &["prompt", "text", "text_prompt", "prompt_text"];
pub const NEGATIVE: &[&str] = &["negative_prompt", "neg_prompt", "n_prompt"];
pub const PICTURE: &[&str] = &[
    "image",
    "input_image",
    "init_image",
    "start_image",
    "first_frame_image",
    "first_frame",
    "first_image",
    "image_path",
    "image_input",
    "input_images",
    "images",
    "image_prompt",
];
/// The same for clips, whose first frame has a better name than a mere image.
pub const FIRST: &[&str] = &[
    "first_frame_image",
    "start_image",
    "first_frame",
    "first_image",
    "image",
    "input_image",
    "init_image",
    "image_path",
    "img",
];
/// The last frame of a clip.
pub const LAST: &[&str] =
    &["last_frame_image", "end_image", "last_frame", "last_image", "end_frame", "tail_image"];
const STRENGTH: &[&str] = &["prompt_strength", "strength", "denoising_strength", "denoise"];
const SEED: &[&str] = &["seed", "noise_seed"];
const STEPS: &[&str] =
    &["num_inference_steps", "steps", "sample_steps", "sampling_steps", "num_steps"];
const GUIDANCE: &[&str] = &["guidance_scale", "guidance", "cfg_scale", "cfg", "sample_guide_scale"];
const SAMPLER: &[&str] = &["scheduler", "sampler", "sampler_name"];
const FRAMES: &[&str] =
    &["num_frames", "video_length", "length", "frames", "frame_num", "max_frames"];
const RATE: &[&str] = &["fps", "frames_per_second", "frame_rate", "fps_id"];
const SECONDS: &[&str] = &["duration", "duration_seconds", "seconds"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Whole,
    Number,
    Text,
    List,
    Other,
}

#[derive(Clone, Debug)]
struct Property {
    shape: Shape,
    min: Option<f64>,
    max: Option<f64>,
    step: Option<f64>,
    choices: Vec<Value>,
}

/// The inputs of a model; `None`: it does not state them.
#[derive(Clone, Debug)]
pub struct Inputs(Option<BTreeMap<String, Property>>);

impl Inputs {
    /// From the OpenAPI schema of a version.
    pub fn new(schema: &Value) -> Inputs {
        let schemas = schema.pointer("/components/schemas");
        let input = schemas.and_then(|s| s.pointer("/Input/properties")).and_then(Value::as_object);
        Inputs(input.filter(|input| !input.is_empty()).map(|input| {
            let properties = input.iter();
            properties.map(|(name, value)| (name.clone(), property(value, schemas))).collect()
        }))
    }

    /// Whether it has one of these; `true` where that is not known.
    pub fn has(&self, names: &[&str]) -> bool {
        self.0.as_ref().is_none_or(|known| names.iter().any(|name| known.contains_key(*name)))
    }

    /// All names, for messages.
    pub fn names(&self) -> String {
        let known = self.0.iter().flat_map(BTreeMap::keys).take(40);
        known.map(String::as_str).collect::<Vec<_>>().join(", ")
    }

    fn find<'n>(&self, names: &[&'n str]) -> Option<(&'n str, &Property)> {
        let known = self.0.as_ref()?;
        names.iter().find_map(|name| known.get(*name).map(|property| (*name, property)))
    }
}

fn property(value: &Value, schemas: Option<&Value>) -> Property {
    let mut parts = vec![value];
    let mut at = 0;
    while at < parts.len() && parts.len() < MOST_PARTS {
        let part = parts[at];
        let target = part.get("$ref").and_then(Value::as_str);
        let target = target.and_then(|t| t.strip_prefix("#/components/schemas/"));
        parts.extend(target.and_then(|name| schemas?.get(name)));
        for key in ["allOf", "anyOf", "oneOf"] {
            parts.extend(part.get(key).and_then(Value::as_array).into_iter().flatten().take(4));
        }
        at += 1;
    }
    let number = |key| parts.iter().find_map(|part| part.get(key).and_then(Value::as_f64));
    let kinds = parts.iter().filter_map(|part| part.get("type").and_then(Value::as_str));
    let shape = match kinds.into_iter().find(|kind| *kind != "null") {
        Some("integer") => Shape::Whole,
        Some("number") => Shape::Number,
        Some("string") => Shape::Text,
        Some("array") => Shape::List,
        _ => Shape::Other,
    };
    let choices = parts.iter().find_map(|part| part.get("enum").and_then(Value::as_array));
    Property {
        shape,
        min: number("minimum"),
        max: number("maximum"),
        step: number("multipleOf").filter(|step| *step > 0.0),
        choices: choices.cloned().unwrap_or_default(),
    }
}

/// The first number in a choice: 14 of `14_frames_with_svd`.
fn number_in(choice: &Value) -> Option<f64> {
    if let Some(number) = choice.as_f64() {
        return Some(number);
    }
    let text = choice.as_str()?;
    let text = text.trim_start_matches(|c: char| !c.is_ascii_digit());
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    text[..end].trim_end_matches('.').parse().ok()
}

impl Property {
    fn number(&self, wanted: f64) -> Option<Value> {
        if !self.choices.is_empty() {
            let off = |choice: &&Value| number_in(choice).map(|number| (number - wanted).abs());
            let known = self.choices.iter().filter(|choice| off(choice).is_some());
            return known
                .min_by(|a, b| off(a).unwrap_or(0.0).total_cmp(&off(b).unwrap_or(0.0)))
                .cloned();
        }
        let mut value = wanted;
        if let Some(step) = self.step {
            value = (value / step).round() * step;
        }
        value = value.min(self.max.unwrap_or(f64::MAX)).max(self.min.unwrap_or(f64::MIN));
        match self.shape {
            Shape::Whole => Some(json!(value.round() as i64)),
            Shape::Number => Some(json!(value)),
            Shape::Text => Some(json!(value.to_string())),
            Shape::List | Shape::Other => None,
        }
    }
}

/// What is sent to a model, as it is put together.
pub struct Fill<'i> {
    inputs: &'i Inputs,
    values: Map<String, Value>,
}

impl<'i> Fill<'i> {
    pub fn new(inputs: &'i Inputs) -> Self {
        let mut fill = Fill { inputs, values: Map::new() };
        // One result, without loss, whatever the model's own choice is.
        fill.number(&["num_outputs", "number_of_images"], 1.0);
        fill.choice(&["output_format"], "png");
        fill
    }

    pub fn finish(self) -> Value {
        Value::Object(self.values)
    }

    pub fn text(&mut self, names: &[&str], text: &str) {
        match self.inputs.find(names) {
            Some((name, _)) => self.set(name, json!(text)),
            None if self.inputs.0.is_none() && names == PROMPT => self.set("prompt", json!(text)),
            None => {}
        }
    }

    /// `false`: the model takes none.
    pub fn picture(&mut self, names: &[&str], address: &str) -> bool {
        match self.inputs.find(names) {
            Some((name, property)) if property.shape == Shape::List => {
                self.set(name, json!([address]));
            }
            Some((name, _)) => self.set(name, json!(address)),
            None if self.inputs.0.is_none() && names != LAST => self.set("image", json!(address)),
            None => return false,
        }
        true
    }

    pub fn seed(&mut self, seed: i64) {
        let (name, property) = match self.inputs.find(SEED) {
            Some((name, property)) => (name, Some(property)),
            None if self.inputs.0.is_none() => ("seed", None),
            None => return,
        };
        // Whatever is not stated fits into 31 bits.
        let bound = |limit: Option<f64>, other| limit.map_or(other, |limit| limit as i64);
        let min = bound(property.and_then(|p| p.min), 0).max(0);
        let max = bound(property.and_then(|p| p.max), i64::from(i32::MAX)).max(min);
        let span = max.saturating_sub(min).saturating_add(1);
        self.set(name, json!(min + seed.rem_euclid(span)));
    }

    pub fn strength(&mut self, strength: f64) {
        self.number(STRENGTH, strength);
    }

    pub fn steps(&mut self, steps: u32) {
        self.number(STEPS, f64::from(steps));
    }

    pub fn guidance(&mut self, scale: f64) {
        self.number(GUIDANCE, scale);
    }

    pub fn sampler(&mut self, sampler: &str) {
        self.choice(SAMPLER, sampler);
    }

    /// By width and height, or by whatever else the model has for that.
    pub fn size(&mut self, width: u32, height: u32) {
        let (w, h) = (f64::from(width), f64::from(height));
        if let (Some((_, for_w)), Some((_, for_h))) =
            (self.inputs.find(&["width"]), self.inputs.find(&["height"]))
        {
            let share = |most: Option<f64>, side: f64| most.map_or(1.0, |most| most / side);
            let scale = share(for_w.max, w).min(share(for_h.max, h)).min(1.0);
            let rounded = |side: f64, step: Option<f64>| {
                let step = step.unwrap_or(SIDE_STEP);
                ((side * scale / step).round() * step).max(step)
            };
            let (w, h) = (rounded(w, for_w.step), rounded(h, for_h.step));
            self.number(&["width"], w);
            self.number(&["height"], h);
            self.choice(&["aspect_ratio"], "custom");
            return;
        }
        if let Some((name, property)) = self.inputs.find(&["aspect_ratio"]) {
            let off = |choice: &Value| {
                let (across, down) = choice.as_str()?.split_once(':')?;
                let ratio = across.parse::<f64>().ok()? / down.parse::<f64>().ok()?;
                (ratio > 0.0 && ratio.is_finite()).then(|| (ratio.ln() - (w / h).ln()).abs())
            };
            let known = property.choices.iter().filter_map(|c| Some((off(c)?, c)));
            if let Some((_, best)) = known.min_by(|a, b| a.0.total_cmp(&b.0)) {
                let best = best.clone();
                self.set(name, best);
            }
        }
        // `480p`, `720p`
        if let Some((name, property)) = self.inputs.find(&["resolution"])
            && property.choices.iter().all(|c| c.as_str().is_some_and(|c| c.ends_with('p')))
            && let Some(best) = property.number(w.min(h))
        {
            self.set(name, best);
        }
    }

    /// How long a clip is: by frames, or by seconds.
    pub fn length(&mut self, frames: u32, fps: f64) {
        self.number(RATE, fps);
        if !self.number(FRAMES, f64::from(frames)) {
            self.number(SECONDS, f64::from(frames) / fps.max(1e-3));
        }
    }

    pub fn motion(&mut self, bucket: u32, noise: f64) {
        self.number(&["motion_bucket_id"], f64::from(bucket));
        self.number(&["noise_aug_strength", "cond_aug"], noise);
    }

    fn number(&mut self, names: &[&str], wanted: f64) -> bool {
        let value = self.inputs.find(names).and_then(|(name, p)| Some((name, p.number(wanted)?)));
        let Some((name, value)) = value else { return false };
        self.set(name, value);
        true
    }

    /// Chooses what is called so, if there is such a choice.
    fn choice(&mut self, names: &[&str], wanted: &str) {
        let Some((name, property)) = self.inputs.find(names) else { return };
        let wanted = plain(wanted);
        let is_it = |choice: &&Value| choice.as_str().is_some_and(|choice| plain(choice) == wanted);
        if let Some(choice) = property.choices.iter().find(is_it).cloned() {
            self.set(name, choice);
        }
    }

    fn set(&mut self, name: &str, value: Value) {
        self.values.insert(name.to_owned(), value);
    }
}

/// `K_EULER_ANCESTRAL` and `euler_a` are the same.
fn plain(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    let name = name.strip_prefix("k_").unwrap_or(&name);
    let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    match name.as_str() {
        "eulera" => "eulerancestral".to_owned(),
        "dpmpp2m" => "dpmsolvermultistep".to_owned(),
        "heun" => "heundiscrete".to_owned(),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(properties: Value) -> Inputs {
        Inputs::new(&json!({"components": {"schemas": {
            "Input": {"properties": properties},
            "aspect_ratio": {"type": "string", "enum": ["1:1", "16:9", "9:16", "4:3"]},
            "scheduler": {"type": "string", "enum": ["DDIM", "K_EULER", "K_EULER_ANCESTRAL"]},
            "video_length": {"enum": ["14_frames_with_svd", "25_frames_with_svd_xt"]},
            "loop": {"$ref": "#/components/schemas/loop"},
        }}}))
    }

    #[test]
    fn each_name_type_and_limit_is_respected() {
        let inputs = inputs(json!({
            "prompt": {"type": "string"},
            "input_image": {"type": "string", "format": "uri"},
            "prompt_strength": {"type": "number", "minimum": 0, "maximum": 0.9},
            "seed": {"anyOf": [{"type": "null"}, {"type": "integer"}]},
            "width": {"type": "integer", "maximum": 960},
            "height": {"type": "integer", "maximum": 960},
            "num_inference_steps": {"type": "integer", "minimum": 1, "maximum": 8},
            "guidance": {"type": "number"},
            "scheduler": {"allOf": [{"$ref": "#/components/schemas/scheduler"}]},
            "loop": {"allOf": [{"$ref": "#/components/schemas/loop"}]},
            "num_outputs": {"type": "integer"},
        }));
        let mut fill = Fill::new(&inputs);
        fill.text(PROMPT, "a lake");
        fill.text(NEGATIVE, "not sent");
        assert!(fill.picture(PICTURE, "data:x"));
        fill.strength(1.0);
        fill.seed(-1);
        fill.size(1920, 1080);
        fill.steps(30);
        fill.guidance(7.5);
        fill.sampler("euler_a");
        let expected = json!({
            "num_outputs": 1, "prompt": "a lake", "input_image": "data:x", "prompt_strength": 0.9,
            "seed": i32::MAX, "width": 960, "height": 544, "num_inference_steps": 8,
            "guidance": 7.5, "scheduler": "K_EULER_ANCESTRAL",
        });
        assert_eq!(fill.finish(), expected);
    }

    #[test]
    fn clips_are_measured_in_whatever_the_model_has() {
        let filled = |properties: Value| {
            let inputs = inputs(properties);
            let mut fill = Fill::new(&inputs);
            fill.size(1024, 576);
            fill.length(24, 8.0);
            fill.finish()
        };
        let svd = json!({"video_length": {"allOf": [{"$ref": "#/components/schemas/video_length"}]},
            "frames_per_second": {"type": "integer", "minimum": 5, "maximum": 30}});
        let expected = json!({"frames_per_second": 8, "video_length": "25_frames_with_svd_xt"});
        assert_eq!(filled(svd), expected);
        let seconds = json!({"duration": {"type": "integer", "enum": [5, 10]},
            "aspect_ratio": {"$ref": "#/components/schemas/aspect_ratio"},
            "resolution": {"type": "string", "enum": ["480p", "720p"]}});
        let expected = json!({"aspect_ratio": "16:9", "resolution": "480p", "duration": 5});
        assert_eq!(filled(seconds), expected);
    }

    proptest::proptest! {
        #[test]
        fn a_schema_may_say_anything(a in "[a-z]{0,8}", b in proptest::num::f64::ANY, seed: i64) {
            for odd in [json!(a), json!(b), json!([a]), json!({"enum": [a, b, null]}),
                json!({"type": "integer", "minimum": b, "maximum": -b, "multipleOf": b}),
                json!({"allOf": [{"$ref": a}, b], "type": [a]})] {
                let properties = ["seed", "width", "height", "num_frames", "resolution", "image"];
                let all: Map<String, Value> =
                    properties.iter().map(|name| ((*name).to_owned(), odd.clone())).collect();
                let inputs = inputs(Value::Object(all));
                let mut fill = Fill::new(&inputs);
                fill.seed(seed);
                fill.size(1024, 576);
                fill.length(25, b);
                fill.picture(PICTURE, "data:x");
                fill.finish();
            }
        }
    }

    #[test]
    fn a_model_that_states_nothing_gets_the_usual_names() {
        let inputs = Inputs::new(&Value::Null);
        let mut fill = Fill::new(&inputs);
        fill.text(PROMPT, "a lake");
        fill.text(NEGATIVE, "rain");
        assert!(fill.picture(PICTURE, "data:x"));
        fill.seed(7);
        fill.size(64, 64);
        assert_eq!(fill.finish(), json!({"prompt": "a lake", "image": "data:x", "seed": 7}));
        let text_only = self::inputs(json!({"prompt": {"type": "string"}}));
        assert!(!Fill::new(&text_only).picture(PICTURE, "data:x"));
        let list = self::inputs(json!({"images": {"type": "array"}}));
        let mut fill = Fill::new(&list);
        assert!(fill.picture(PICTURE, "data:x"));
        assert_eq!(fill.finish(), json!({"images": ["data:x"]}));
    }
}
