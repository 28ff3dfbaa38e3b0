//! Workflows that ran on real servers, and odd ones.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::graph::Graph;
use super::*;
use crate::config::{Lora, Mapping};

const GRAPHS: [(&str, Role); 14] = [
    ("animatediff_txt2vid", Role::Video),
    ("ltxv_i2v", Role::Video),
    ("no_model_image", Role::Img2img),
    ("no_model_savevideo", Role::Video),
    ("no_model_savewebm", Role::Video),
    ("no_model_vhs", Role::Video),
    ("sd15_img2img", Role::Img2img),
    ("sd15_txt2img", Role::Image),
    ("sdxl_img2img", Role::Img2img),
    ("sdxl_txt2img", Role::Image),
    ("svd_img2vid_all_savers", Role::Video),
    ("svd_img2vid_animated_webp", Role::Video),
    ("wan_first_last_frame", Role::Morph),
    ("wan_i2v", Role::Video),
];

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/comfyui").join(name)
}

fn json_of(name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(data(name)).unwrap()).unwrap()
}

fn info(version: &str) -> ObjectInfo {
    let name = format!("object_info_{version}.json");
    ObjectInfo::from_value(json_of(&name), &name).unwrap()
}

fn recorded(name: &str, role: Role) -> Workflow {
    Workflow::load(&data(&format!("graphs/{name}.json")), role, &[]).unwrap()
}

fn of(value: Value, role: Role, mappings: &[Mapping]) -> crate::base::error::Result<Workflow> {
    Workflow::new(Graph::from_value(value, "w.json")?, "w.json".into(), role, mappings)
}

fn map(input: &str, target: &str) -> Mapping {
    Mapping { workflow: "image".into(), input: input.into(), target: target.into() }
}

fn places(workflow: &Workflow) -> Vec<String> {
    let report = workflow.report();
    report.places.iter().map(|p| format!("{} {}.{}", p.input.key(), p.node, p.field)).collect()
}

fn assert_places(name: &str, role: Role, expected: &[&str]) {
    let workflow = recorded(name, role);
    let found = places(&workflow);
    for place in expected {
        assert!(found.iter().any(|f| f == place), "{name}: no {place}\n{}", workflow.report());
    }
    assert_eq!(found.len(), expected.len(), "{name}: {found:#?}");
}

#[test]
fn places_in_workflows_for_pictures() {
    let both = ["prompt 6.text", "negative_prompt 7.text", "seed 3.seed", "steps 3.steps"];
    let more = ["cfg 3.cfg", "sampler 3.sampler_name", "scheduler 3.scheduler"];
    let all = [&both[..], &more[..], &["filename_prefix 9.filename_prefix"]].concat();
    for name in ["sd15_txt2img", "sdxl_txt2img"] {
        assert_places(
            name,
            Role::Image,
            &[&all[..], &["width 5.width", "height 5.height"]].concat(),
        );
    }
    let from = ["width 11.width", "height 11.height", "denoise 3.denoise", "first_image 10.image"];
    for name in ["sd15_img2img", "sdxl_img2img"] {
        assert_places(name, Role::Img2img, &[&all[..], &from[..]].concat());
    }
    let plain = ["first_image 1.image", "width 2.width", "height 2.height"];
    let plain = [&plain[..], &["filename_prefix 4.filename_prefix"]].concat();
    assert_places("no_model_image", Role::Img2img, &plain);
}

#[test]
fn places_in_workflows_for_clips() {
    let wan = [
        "prompt 6.text",
        "negative_prompt 7.text",
        "seed 3.seed",
        "steps 3.steps",
        "width 50.width",
        "height 50.height",
        "frames 50.length",
        "first_image 52.image",
        "fps 57.fps",
        "fps 59.frame_rate",
        "filename_prefix 58.filename_prefix",
        "filename_prefix 59.filename_prefix",
    ];
    assert_places("wan_i2v", Role::Video, &wan);
    let both = [&wan[..], &["last_image 53.image"]].concat();
    assert_places("wan_first_last_frame", Role::Morph, &both);
    let svd = [
        "seed 3.seed",
        "steps 3.steps",
        "width 12.width",
        "height 12.height",
        "frames 12.video_frames",
        "first_image 23.image",
        "motion_bucket_id 12.motion_bucket_id",
        "noise_aug_strength 12.augmentation_level",
        "fps 12.fps",
        "fps 10.fps",
        "filename_prefix 10.filename_prefix",
    ];
    assert_places("svd_img2vid_animated_webp", Role::Video, &svd);
    let ltxv = [
        "prompt 6.text",
        "negative_prompt 7.text",
        "seed 72.noise_seed",
        "steps 71.steps",
        "width 77.width",
        "height 77.height",
        "frames 77.length",
        "first_image 78.image",
        "fps 69.frame_rate",
        "fps 41.fps",
        "filename_prefix 41.filename_prefix",
    ];
    assert_places("ltxv_i2v", Role::Video, &ltxv);
    let animated = [
        "prompt 6.text",
        "negative_prompt 7.text",
        "seed 3.seed",
        "steps 3.steps",
        "width 5.width",
        "height 5.height",
        "frames 5.batch_size",
        "fps 22.frame_rate",
        "filename_prefix 22.filename_prefix",
    ];
    assert_places("animatediff_txt2vid", Role::Video, &animated);
    assert_eq!(recorded("svd_img2vid_all_savers", Role::Video).outputs()[0], "33");
}

#[test]
fn roles_are_guessed_and_servers_have_what_ran_on_them() {
    for version in ["0.3.64", "0.33.0"] {
        let info = info(version);
        for (name, role) in GRAPHS {
            assert_eq!(guess_role(&data(&format!("graphs/{name}.json"))).unwrap(), role, "{name}");
            recorded(name, role).validate(&info).unwrap();
        }
        let ours = Checkpoints {
            sdxl: "tiny_sdxl_random_fp16.safetensors",
            svd: "tiny_svd_random_fp16.safetensors",
        };
        let sampler = Some("DPM++ 2M Karras".to_owned());
        let values = Values { sampler, ..Values::default() };
        for role in [Role::Image, Role::Img2img, Role::Video] {
            let workflow = Workflow::builtin(role, ours, Some(&info)).unwrap();
            workflow.validate_filled(&info, &values).unwrap();
        }
        let none = Checkpoints { sdxl: "tiny_sdxl.safetensors", svd: "x" };
        let workflow = Workflow::builtin(Role::Image, none, Some(&info)).unwrap();
        let error = workflow.validate(&info).unwrap_err().to_string();
        assert!(error.contains("(comfyui.sdxl_ckpt)"), "{error}");
        assert!(error.contains("there are tiny_sdxl_random_fp16.safetensors"), "{error}");
        let values = Values { sampler: Some("oiler".into()), ..Values::default() };
        let error = recorded("sdxl_txt2img", Role::Image).validate_filled(&info, &values);
        assert!(error.unwrap_err().to_string().contains("(generation.sampler)"));
    }
}

#[test]
fn files_that_are_no_workflow_are_told_apart() {
    let node = |inputs: Value| json!({"class_type": "SaveImage", "inputs": inputs});
    for (value, said) in [
        (json!({"nodes": [], "links": [], "version": 0.4}), "Export (API)"),
        (json!([]), "no nodes"),
        (json!({}), "no nodes"),
        (json!({"1": {"inputs": {}}}), "node 1: has no class_type"),
        (json!({"1": node(json!({"images": ["9", 0]}))}), "linked to node 9"),
        (json!({"1": node(json!({"images": ["1", 0]}))}), "circle"),
        (json!({"1": {"class_type": "EmptyImage", "inputs": {"x": [4, 0]}}}), "no output node"),
        (json!({"1": node(json!({"images": "{{prompd}}"}))}), "unknown placeholder {{prompd}}"),
    ] {
        let error = of(value, Role::Image, &[]).unwrap_err().to_string();
        assert!(error.starts_with("w.json") && error.contains(said), "{said}: {error}");
    }
    assert!(Graph::parse("", "w.json").unwrap_err().to_string().contains("empty"));
    assert!(Graph::parse("PNG", "w.json").unwrap_err().to_string().contains("not a JSON file"));
    let error = of(json_of("graphs/wan_i2v.json"), Role::Morph, &[]).unwrap_err().to_string();
    assert!(error.contains("workflow_map.morph.last_image"), "{error}");
    let error = of(json_of("graphs/sdxl_txt2img.json"), Role::Img2img, &[]).unwrap_err();
    assert!(error.to_string().contains("Load Image"), "{error}");
}

#[test]
fn mappings_win_and_wrong_ones_are_explained() {
    let graph = json_of("graphs/sdxl_txt2img.json");
    let workflow = of(graph.clone(), Role::Image, &[map("prompt", "7.text")]).unwrap();
    let filled = workflow.fill(&Values { prompt: Some("p".into()), ..Values::default() });
    assert_eq!(filled["7"]["inputs"]["text"], "p");
    assert_eq!(filled["6"]["inputs"]["text"], "a lighthouse at dusk, oil painting");
    for (mapping, said) in [
        (map("prompt", "6.txet"), "no field of node 6 (CLIPTextEncode) \"txet\"; there are text"),
        (map("prompt", "66.text"), "no node \"66\"; there are 6"),
        (map("output", "90"), "no node \"90\"; there are 9"),
        (map("promt", "6.text"), "no input \"promt\"; there are prompt"),
    ] {
        let error = of(graph.clone(), Role::Image, std::slice::from_ref(&mapping)).unwrap_err();
        let error = error.to_string();
        let key = format!("workflow_map.image.{}", mapping.input);
        assert!(error.starts_with(&key) && error.contains(said), "{error}");
    }
}

#[test]
fn placeholders_become_values_and_texts_stay_texts() {
    let mut graph = json_of("graphs/sdxl_txt2img.json");
    graph["6"]["inputs"]["text"] = "oil, {{ prompt }}, {{width}} wide, {{a|b}}".into();
    graph["3"]["inputs"]["seed"] = "{{seed}}".into();
    let workflow = of(graph, Role::Image, &[]).unwrap();
    let prompt = "say \"{{seed}}\"\n{red|blue} (a:1.2)";
    let values = Values {
        prompt: Some(prompt.into()),
        seed: Some(-1),
        width: Some(640),
        ..Values::default()
    };
    let filled = workflow.fill(&values);
    let text = format!("oil, {prompt}, 640 wide, {{{{a|b}}}}");
    assert_eq!(filled["6"]["inputs"]["text"], text);
    assert_eq!(filled["3"]["inputs"]["seed"], u64::MAX);
}

#[test]
fn loras_go_between_loader_and_all_that_it_feeds() {
    let lora = |name: &str| Lora { name: name.into(), strength: 0.8 };
    let values = Values { loras: vec![lora("a"), lora("b")], ..Values::default() };
    let sdxl = recorded("sdxl_txt2img", Role::Image).fill(&values);
    assert_eq!(sdxl["10"]["class_type"], "LoraLoader");
    assert_eq!(sdxl["10"]["inputs"]["model"], json!(["4", 0]));
    assert_eq!(sdxl["11"]["inputs"]["clip"], json!(["10", 1]));
    assert_eq!(sdxl["3"]["inputs"]["model"], json!(["11", 0]));
    assert_eq!(sdxl["7"]["inputs"]["clip"], json!(["11", 1]));
    assert_eq!(sdxl["8"]["inputs"]["vae"], json!(["4", 2]));
    let svd = recorded("svd_img2vid_animated_webp", Role::Video).fill(&values);
    assert_eq!(svd["24"]["class_type"], "LoraLoaderModelOnly");
    assert_eq!(svd["14"]["inputs"]["model"], json!(["25", 0]));
    assert_eq!(svd["12"]["inputs"]["clip_vision"], json!(["15", 1]));
    let wan = recorded("wan_i2v", Role::Video).fill(&values);
    assert_eq!(wan["54"]["inputs"]["model"], json!(["61", 0]));
    assert_eq!(wan["6"]["inputs"]["clip"], json!(["38", 0]));
}

#[test]
fn odd_workflows() {
    // Two samplers that share the steps, ids of a subgraph, guidance by a guider.
    let advanced = |start: u32, end: u32, latent: &str| {
        json!({"class_type": "KSamplerAdvanced", "inputs": {
            "noise_seed": 1, "steps": 25, "cfg": 8, "sampler_name": "euler",
            "scheduler": "normal", "start_at_step": start, "end_at_step": end,
            "positive": ["12:6", 0], "negative": ["z", 0], "latent_image": [latent, 0]}})
    };
    let graph = json!({
        "9": {"class_type": "SaveImage", "inputs": {"images": ["12:3", 0], "filename_prefix": "x"}},
        "12:3": advanced(20, 10000, "2"),
        "2": advanced(0, 20, "5"),
        "z": {"class_type": "ConditioningZeroOut", "inputs": {"conditioning": ["12:6", 0]}},
        "12:6": {"class_type": "CLIPTextEncodeSDXL", "inputs": {"text_g": ["t", 0], "text_l": "b"}},
        "t": {"class_type": "PrimitiveStringMultiline", "inputs": {"value": "c"}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 8, "height": 8}},
    });
    let workflow = of(graph, Role::Image, &[map("width", "5.width")]).unwrap();
    let found = places(&workflow);
    for place in
        ["prompt t.value", "prompt 12:6.text_l", "seed 12:3.noise_seed", "seed 2.noise_seed"]
    {
        assert!(found.iter().any(|f| f == place), "{found:?}");
    }
    assert!(
        !found.iter().any(|f| f.starts_with("steps") || f.starts_with("negative")),
        "{found:?}"
    );
    assert!(workflow.report().to_string().contains("samplers share them"));

    let flux = json!({
        "9": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
        "1": {"class_type": "SamplerCustomAdvanced", "inputs": {"noise": ["n", 0],
            "guider": ["g", 0], "sampler": ["s", 0], "sigmas": ["b", 0], "latent_image": ["e", 0]}},
        "n": {"class_type": "RandomNoise", "inputs": {"noise_seed": 1}},
        "g": {"class_type": "BasicGuider", "inputs": {"model": ["u", 0], "conditioning": ["f", 0]}},
        "f": {"class_type": "FluxGuidance", "inputs": {"guidance": 3.5, "conditioning": ["c", 0]}},
        "c": {"class_type": "CLIPTextEncode", "inputs": {"text": "x", "clip": ["u", 1]}},
        "s": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler"}},
        "b": {"class_type": "BasicScheduler", "inputs": {"scheduler": "simple", "steps": 20}},
        "e": {"class_type": "EmptySD3LatentImage", "inputs": {"width": 64, "height": 64}},
        "u": {"class_type": "UNETLoader", "inputs": {"unet_name": "x"}},
    });
    let found = places(&of(flux, Role::Image, &[]).unwrap());
    assert_eq!(
        found,
        [
            "prompt c.text",
            "seed n.noise_seed",
            "width e.width",
            "height e.height",
            "steps b.steps",
            "sampler s.sampler_name",
            "scheduler b.scheduler",
            "filename_prefix 9.filename_prefix"
        ]
    );
}

#[test]
fn a_distilled_model_keeps_its_settings() {
    let mut graph = json_of("graphs/sdxl_txt2img.json");
    graph["3"]["inputs"]["cfg"] = json!(1.0);
    let found = places(&of(graph, Role::Image, &[]).unwrap());
    let kept = ["cfg", "steps", "sampler", "scheduler"];
    assert!(!found.iter().any(|f| kept.iter().any(|k| f.starts_with(k))), "{found:?}");
}

#[test]
fn sizes_and_lengths_are_made_to_fit() {
    let workflow = recorded("wan_i2v", Role::Video);
    let (width, frames) = (Some(1000), Some(24));
    let values = Values { width, frames, ..Values::default() };
    let filled = workflow.fill(&values);
    assert_eq!(filled["50"]["inputs"]["width"], 1008);
    assert_eq!(filled["50"]["inputs"]["length"], 25);
    assert_eq!(workflow.changes(&values).len(), 2);
}

fn any_values() -> impl Strategy<Value = Values> {
    let numbers = (any::<i64>(), 1..5000u32, 1..5000u32, 1..200u32, 0.0..20.0f64, 0.0..1.0f64);
    (".*", ".*", numbers).prop_map(|(prompt, negative, (seed, width, height, n, cfg, part))| {
        Values {
            prompt: Some(prompt),
            negative_prompt: Some(negative),
            seed: Some(seed),
            width: Some(width),
            height: Some(height),
            steps: Some(n),
            cfg: Some(cfg),
            sampler: Some("euler a".into()),
            denoise: Some(part),
            first_image: Some("a/b.png".into()),
            last_image: Some("a/c.png".into()),
            frames: Some(n),
            fps: Some(cfg + 1.0),
            motion_bucket_id: Some(n),
            noise_aug_strength: Some(part),
            filename_prefix: Some("vfaq/x".into()),
            loras: Vec::new(),
        }
    })
}

fn any_json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        ".{0,8}",
        "[a-c]",
        Just("KSampler".to_owned()),
        Just("SaveImage".to_owned()),
        Just("{{seed}}".to_owned())
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text.prop_map(Value::from),
        ("[a-c]", 0..3u64).prop_map(|(node, slot)| json!([node, slot])),
    ];
    let key = prop::sample::select(vec![
        "a",
        "b",
        "c",
        "class_type",
        "inputs",
        "positive",
        "latent_image",
        "seed",
        "images",
        "model",
        "pixels",
        "text",
        "value",
        "nodes",
        "prompt",
    ]);
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner.clone()), 0..6).prop_map(|pairs| {
                Value::Object(pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
            }),
            prop::collection::vec((key.clone(), inner), 0..6).prop_map(|pairs| {
                let inputs: serde_json::Map<_, _> =
                    pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
                json!({"class_type": "KSampler", "inputs": inputs})
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn only_what_the_report_names_is_changed(values in any_values()) {
        for (name, role) in GRAPHS {
            let workflow = recorded(name, role);
            let before = json_of(&format!("graphs/{name}.json"));
            let after = workflow.fill(&values);
            let named = places(&workflow);
            for (id, node) in after.as_object().unwrap() {
                prop_assert_eq!(&node["class_type"], &before[id]["class_type"]);
                for (field, value) in node["inputs"].as_object().unwrap() {
                    let place = format!(" {id}.{field}");
                    if !named.iter().any(|n| n.ends_with(&place)) {
                        prop_assert_eq!(value, &before[id]["inputs"][field]);
                    }
                }
            }
            prop_assert_eq!(before.as_object().unwrap().len(), after.as_object().unwrap().len());
            let again = of(after.clone(), role, &[]);
            // A prompt may hold what would be a placeholder in a file.
            if let Ok(again) = again {
                prop_assert_eq!(again.fill(&values), after);
            }
        }
    }

    #[test]
    fn nothing_that_a_file_may_hold_is_a_crash(value in any_json(), values in any_values()) {
        let info = ObjectInfo::from_value(value.clone(), "info");
        for role in Role::ALL {
            if let Ok(workflow) = of(value.clone(), role, &[]) {
                let values = Values {
                    loras: vec![Lora { name: "l".into(), strength: 1.0 }], ..values.clone()
                };
                workflow.fill(&values);
                let _ = workflow.report().to_string();
                if let Ok(info) = &info {
                    let _ = workflow.validate_filled(info, &values);
                }
            }
        }
    }

    #[test]
    fn nor_is_a_workflow_with_something_odd_in_it(
        values in any_values(), odd in any_json(), which in any::<prop::sample::Index>(),
    ) {
        for (name, role) in GRAPHS {
            let mut graph = json_of(&format!("graphs/{name}.json"));
            let mut fields = Vec::new();
            for (id, node) in graph.as_object().unwrap() {
                let inputs = node["inputs"].as_object().unwrap();
                fields.extend(inputs.keys().map(|field| (id.clone(), field.clone())));
            }
            let (id, field) = which.get(&fields);
            graph[id]["inputs"][field] = odd.clone();
            if let Ok(workflow) = of(graph, role, &[]) {
                let loras = vec![Lora { name: "l".into(), strength: 1.0 }];
                workflow.fill(&Values { loras, ..values.clone() });
                let _ = workflow.report().to_string();
                let _ = workflow.validate(&info("0.33.0"));
            }
        }
    }
}
