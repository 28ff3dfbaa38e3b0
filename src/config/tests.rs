//! What a user notices of `config.yaml`: what loads, what is said of what does not, and that the
//! shipped file and the reference name every key.

use std::path::Path;

use proptest::prelude::*;

use super::load::read;
use super::*;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn env(name: &str) -> Option<String> {
    match name {
        "STREAM_KEY" => Some("hunter2".into()),
        "PORT" => Some("8188".into()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

fn parse(text: &str) -> (Config, Findings) {
    let (config, findings, _) = read(text, Path::new("w/config.yaml"), Path::new(ROOT), &env);
    (config, findings)
}

/// The settings of a text without problems.
fn good(text: &str) -> Config {
    let (config, findings) = parse(text);
    assert_eq!(findings.problems, [], "{findings}");
    config
}

fn problems(text: &str) -> Vec<String> {
    parse(text).1.problems.iter().map(ToString::to_string).collect()
}

fn warnings(text: &str) -> Vec<String> {
    parse(text).1.warnings.iter().map(ToString::to_string).collect()
}

/// Asserts that there is exactly one problem, and that it says this.
#[track_caller]
fn refused(text: &str, says: &str) {
    let problems = problems(text);
    assert!(problems.len() == 1 && problems[0].contains(says), "{text}\n{problems:#?}");
}

#[test]
fn an_empty_file_takes_every_default() {
    let (config, findings) = parse("");
    assert_eq!(findings, Findings::default());
    assert_eq!(config.paths.output_dir, Path::new("./qodeyard"));
    assert_eq!(config.input.tasq_file, "tasq.md");
    assert_eq!((config.image_backends[0].kind, config.video_backends[0].kind), {
        (BackendKind::Mock, BackendKind::Mock)
    });
    assert_eq!((config.generation.width, config.generation.height), (1024, 576));
    assert_eq!((config.generation.video_frames, config.generation.clip_seconds), (25, 8.0));
    assert_eq!(config.generation.video_fps, FrameRate::whole(8));
    assert_eq!((config.chaining.denoise_strength, config.chaining.seed_step), (0.4, 1));
    assert_eq!(config.chaining.frame, ChainFrame::Last);
    assert_eq!(config.finalizer.encoder_preference, [Encoder::Nvenc, Encoder::X264]);
    assert_eq!((config.finalizer.crf, config.cycle.max_retries), (16, 3));
    assert_eq!((config.live.canvas, config.live.fps), ((1920, 1080), FrameRate::whole(60)));
    assert_eq!((config.live.buffer_seconds, config.live.min_free_mb), (24.0, 500));
    assert_eq!(config.live.join, Join { kind: JoinKind::Fade, seconds: 0.5 });
    assert_eq!(config.live.audio, AudioSource::Silence);
    assert_eq!(config.live.listen.unwrap().to_string(), "127.0.0.1:8787");
}

#[test]
fn values_as_people_write_them() {
    let config = good(
        "live:\n  canvas: 1080X1920\n  fps: '60000/1001'\n  record: no\n  listen: null\n\
         \x20 encoder_preference: x264enc\n  join: {kind: cut}\n\
         generation: {steps: 12.0, video_fps: 12.5}\n\
         looping: {enabled: yes, output_fps: 29.97, output_quality: ''}\n\
         prompt_drift: {quality_tags: 'masterpiece, sharp focus'}\nllm:\n",
    );
    assert_eq!((config.live.canvas, config.live.record), ((1080, 1920), false));
    assert_eq!(config.live.fps, FrameRate::new(60_000, 1001).unwrap());
    assert_eq!((config.live.listen, config.live.encoder_preference), (None, vec![Encoder::X264]));
    assert_eq!((config.live.join.kind, config.live.join.seconds), (JoinKind::Cut, 0.5));
    assert_eq!((config.generation.steps, config.generation.video_fps.den()), (12, 2));
    assert_eq!(config.looping.output_fps, FrameRate::new(30_000, 1001));
    assert_eq!((config.looping.enabled, config.looping.output_quality), (true, None));
    assert_eq!(config.prompt_drift.quality_tags, ["masterpiece", "sharp focus"]);
}

#[test]
fn osc_is_on_until_it_is_put_off() {
    let osc = |text: &str| good(text).live.osc;
    let usual = osc("");
    assert_eq!(usual.listen.unwrap().to_string(), "127.0.0.1:9000");
    assert!(!usual.listen_is_asked && osc("live: {osc: {listen: '[::1]:0'}}").listen_is_asked);
    assert!(!osc("live: {osc: {listen: '[::1]:0'}}").query_is_asked);
    for off in ["live: {osc: null}", "live:\n  osc:\n", "live: {osc: {listen: off, query: off}}"] {
        assert_eq!((osc(off).listen, osc(off).query), (None, None), "{off}");
    }
    let one = osc("live: {osc: {allow: 10.0.0.7, send: ['10.0.0.7:9000#place']}}");
    assert!(one.allow[0].contains("10.0.0.7".parse().unwrap()) && one.send[0].place);
}

/// Written like the files of 0.0.7: split backends, its own keys, nothing of `live`.
#[test]
fn a_file_of_the_seed_program_loads() {
    let text = "
paths: {output_dir: ./qodeyard, briqs_dir: ./briqs}
backends:
  image: {type: comfyui, api_url: 'http://image-gpu:8188', workflow_image: workflows/i.json}
  video: {type: comfyui, api_url: 'http://video-gpu:8188', timeout: 600}
comfyui: {sdxl_ckpt: mine.safetensors}
generation: {clip_seconds: 3.125, width: 1024, height: 576, video_frames: 25, video_fps: 8}
finalizer:
  enabled: true
  upscale_resolution: 1920x1080
  encoder_preference:
    - h264_nvenc
    - libx264
  quality:
    crf: 18
llm: {provider: google, model: some-model, api_key_env: GOOGLE_API_KEY}
logging: {level: debug}
";
    let config = good(text);
    assert_eq!(config.image_backends[0].api_url.as_deref(), Some("http://image-gpu:8188"));
    assert_eq!(
        config.image_backends[0].workflow_image,
        Some(Path::new(ROOT).join("workflows/i.json"))
    );
    assert_eq!(config.video_backends[0].timeout, Duration::from_secs(600));
    assert_eq!(config.video_backends[0].sdxl_ckpt, "mine.safetensors");
    assert_eq!(config.finalizer.crf, 18);
    let warnings = warnings(text);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("w/config.yaml:17: logging: unknown key, ignored"));
}

#[test]
fn which_backend_section_wins() {
    let both = |text: &str| {
        let config = good(text);
        let name = |b: &BackendConfig| (b.kind, b.svd_ckpt.clone());
        (name(&config.image_backends[0]), name(&config.video_backends[0]))
    };
    use BackendKind::*;
    let svd = || "svd_xt.safetensors".to_owned();
    let own = || "own".to_owned();
    assert_eq!(both("backend: {type: comfyui}"), ((Comfyui, svd()), (Comfyui, svd())));
    assert_eq!(
        both("backend: {type: diffusers}\nbackends: {video: {type: comfyui}}"),
        ((Diffusers, svd()), (Comfyui, svd())),
    );
    assert_eq!(
        both("backend: {type: diffusers}\nbackends: {image: {type: comfyui}}"),
        ((Comfyui, svd()), (Comfyui, svd())),
    );
    assert_eq!(
        both("comfyui: {svd_ckpt: own}\nbackends: {image: {comfyui: {svd_ckpt: i}}, video: {}}"),
        ((Mock, "i".to_owned()), (Mock, own())),
    );
    let text = "backend: {type: mock}\nbackends: {image: {type: mock}, video: {type: mock}}";
    assert!(warnings(text)[0].contains("backend: has no effect"));
}

#[test]
fn all_problems_come_at_once_with_line_key_found_and_allowed() {
    let text = "live:\n  fps: fast\n  canvas: 1921x1080\n  fpss: 60\n  memory_mb: 100\n\
                generation:\n  width: [1]\nbackend:\n  type: midjourney\n  mock_fail_rate: 2\n";
    let problems = problems(text);
    for (problem, says) in problems.iter().zip([
        "w/config.yaml:2: live.fps: found \"fast\", allowed: frames a second above 0",
        "w/config.yaml:3: live.canvas: found \"1921x1080\", allowed: WIDTHxHEIGHT",
        "w/config.yaml:4: live.fpss: unknown key; did you mean live.fps?",
        "w/config.yaml:5: live.memory_mb: found \"100\", allowed: a whole number from 300",
        "w/config.yaml:7: generation.width: found a list, allowed: an even number",
        "w/config.yaml:9: backend.type: found \"midjourney\", allowed: mock, comfyui, diffusers",
        "w/config.yaml:10: backend.mock_fail_rate: found \"2\", allowed: a number from 0 to 1",
    ]) {
        assert!(problem.starts_with(says), "{problem}\n{says}");
    }
    assert_eq!(problems.len(), 7);
}

#[test]
fn each_value_has_its_limits() {
    for (text, says) in [
        ("live: {fps: 0}", "live.fps: found \"0\""),
        ("live: {fps: 60/0}", "live.fps"),
        ("live: {canvas: 62x64}", "live.canvas"),
        ("live: {fit: zoom}", "allowed: cover, contain, stretch"),
        ("live: {join: {kind: wipe}}", "live.join.kind: found \"wipe\", allowed: fade, morph, cut"),
        ("live: {join: fade}", "live.join: found a text, allowed: keys with their values"),
        ("live: {join: {secs: 1}}", "live.join.secs: unknown key; did you mean live.join.seconds?"),
        ("live: {interpolation: optical}", "allowed: flow, blend, nearest"),
        (
            "live: {encoder_preference: [libx264, hevc]}",
            "live.encoder_preference[1]: found \"hevc\"",
        ),
        ("live: {encoder_preference: []}", "allowed: at least one"),
        ("live: {bitrate_kbps: 6M}", "live.bitrate_kbps: found \"6M\""),
        ("live: {listen: 8787}", "allowed: ADDRESS:PORT"),
        (
            "live: {audio: {source: mic}}",
            "live.audio.source: found \"mic\", allowed: silence, tone,",
        ),
        ("live: {audio: {source: 'file:no.wav'}}", "of a sound file that exists"),
        ("live: {buffer_seconds: 3}", "at least min_runway_seconds, which is 4"),
        ("live: {min_runway_seconds: 30}", "at least min_runway_seconds, which is 30"),
        ("live: {outputs: [null:]}", "live.outputs[0]: found keys without to, allowed: a URI in"),
        ("live: {outputs: [copy.mp4]}", "live.outputs[0]: found a text with no scheme, allowed:"),
        ("live: {outputs: [[null:]]}", "live.outputs[0]: found a list, allowed: a URI in quotes"),
        ("chaining: {denoise_strength: 1.5}", "a number from 0 to 1"),
        ("generation: {height: 577}", "an even number of pixels from 64 to 4096"),
        ("generation: {video_frames: 0}", "generation.video_frames"),
        ("looping: {output_codec: divx}", "allowed: h264_nvenc"),
        ("backend: {api_url: gpu:8188}", "an address such as http://"),
        ("llm: {provider: acme}", "allowed: mock, openai, google"),
        ("- a\n- b", "found a list"),
        ("live: [", "this is no readable YAML"),
    ] {
        refused(text, says);
    }
    assert_eq!(good("live: {audio: {source: 'file:Cargo.toml'}}").live.audio, {
        AudioSource::File { path: Path::new(ROOT).join("Cargo.toml"), once: false }
    });
}

#[test]
fn a_key_in_the_wrong_section_is_led_home() {
    refused("live:\n  width: 640", "live.width: unknown key; did you mean generation.width?");
    assert!(warnings("fps: 30")[0].contains("fps: unknown key, ignored; did you mean live.fps?"));
    assert!(warnings("chaining: {denoise: 1}")[0].contains("chaining.denoise_strength?"));
}

#[test]
fn a_key_given_twice_is_warned_about_and_the_last_counts() {
    let text = "chaining:\n  seed_step: 2\n  seed_step: 3\n";
    assert_eq!(good(text).chaining.seed_step, 3);
    assert!(warnings(text)[0].starts_with("w/config.yaml:3: chaining.seed_step: given twice"));
}

#[test]
fn clip_seconds_that_differ_are_warned_about() {
    let said = &warnings("generation: {clip_seconds: 8}")[0];
    assert!(said.contains("video_frames 25 / video_fps 8/1 makes 3.125 seconds"), "{said}");
    assert!(warnings("generation: {clip_seconds: 3, video_frames: 24}").is_empty());
    assert!(
        warnings("live: {buffer_seconds: 5}\ngeneration: {video_frames: 80}")[0]
            .contains("less than one clip of 10.000 seconds")
    );
    assert!(warnings("live: {join: {seconds: 2}}")[0].contains("more than half of each clip"));
}

#[test]
fn variables_are_filled_in() {
    let config = good(
        "backend: {api_url: 'http://gpu:${PORT}'}\n\
         live: {outputs: ['rtmp://a/live/${STREAM_KEY}']}\n",
    );
    assert_eq!(config.image_backends[0].api_url.as_deref(), Some("http://gpu:8188"));
    assert_eq!(config.live.outputs[0], OutputSpec::parse("rtmp://a/live/hunter2").unwrap());
}

#[test]
fn a_variable_that_is_not_set_is_a_problem() {
    refused(
        "live:\n  outputs:\n    - rtmp://a/live/${NO_SUCH_KEY}\n",
        "w/config.yaml:3: live.outputs[0]: the environment variable NO_SUCH_KEY is not set",
    );
    refused("generation: {sampler: '${EMPTY}'}", "EMPTY is not set or empty");
    // The token of a backend that is not in use.
    let text = "backend: {type: mock, api_token: '${REPLICATE_API_TOKEN}'}";
    assert_eq!(good(text).image_backends[0].api_token, None);
    assert!(warnings(text)[0].contains("REPLICATE_API_TOKEN is not set"));
    refused(&text.replace("mock", "replicate"), "REPLICATE_API_TOKEN is not set");
}

#[test]
fn an_output_is_a_uri_or_a_mapping() {
    let config = good(
        "live:
  outputs:
    - null:#name=dry
    - to: rtmp://a.rtmp.youtube.com/live2
      key: ${STREAM_KEY}#1%20
      name: main, the first
      bitrate: 4500
      preset: faster
      adaptive: off
    - {to: 'srt://:9000', passphrase: 'sesame & more', latency: 300, stream_id: a, mode: listener}
    - {to: 'display:', size: 960x540, monitor: 2}
"
        .replace("null:#", "'null:#")
        .replace("dry", "dry'")
        .as_str(),
    );
    let [null, youtube, srt, display] = &config.live.outputs[..] else { panic!() };
    assert_eq!(null.name.as_deref(), Some("dry"));
    assert_eq!(youtube.shown(), "rtmp://a.rtmp.youtube.com/live2/***");
    assert_eq!((youtube.bitrate_kbps, youtube.adaptive), (Some(4500), false));
    assert_eq!(youtube.name.as_deref(), Some("main, the first"));
    let output::Target::Rtmp(rtmp) = &youtube.target else { panic!() };
    // What stands beside the URI is taken as it is.
    assert_eq!((rtmp.key.reveal(), rtmp.profile), ("hunter2#1%20", output::Profile::Youtube));
    let output::Target::Srt(target) = &srt.target else { panic!() };
    assert_eq!(target.latency_ms, 300);
    assert_eq!(target.passphrase.as_ref().unwrap().reveal(), "sesame & more");
    assert_eq!(*display, OutputSpec::parse("display:2#size=960x540").unwrap());
    // One alone is a list of one.
    assert_eq!(good("live: {outputs: {to: 'null:'}}").live.outputs.len(), 1);
    assert_eq!(good("live: {outputs: 'null:'}").live.outputs.len(), 1);
}

#[test]
fn what_is_wrong_with_an_output_has_its_line_and_key() {
    for (output, says) in [
        (
            "'rtmp://h/sk-token'",
            "w/config.yaml:4: live.outputs[1]: found an address without a stream",
        ),
        ("'rtmp://h/app/k#bitrate=9'", "w/config.yaml:4: live.outputs[1]: option bitrate: found"),
        (
            "to: rtmp://h/app\n      key: sk-token\n      bitrate: 100",
            "w/config.yaml:6: live.outputs[1].bitrate: found \"100\", allowed: a whole number from",
        ),
        (
            "to: rtmp://h/app/k\n      bitrat: 1",
            "w/config.yaml:5: live.outputs[1].bitrat: unknown key; \
            did you mean live.outputs[1].bitrate?",
        ),
        (
            "to: ndi:Stage\n      bitrate: 4500",
            "w/config.yaml:5: live.outputs[1].bitrate: this is an",
        ),
        (
            "to: srt://h:1\n      passphrase: sk-token",
            "w/config.yaml:5: live.outputs[1].passphrase: \
            found 8 characters, allowed: 10 to 79",
        ),
        (
            "to: rtmp://h/app\n      key: ${NO_SUCH_KEY}",
            "w/config.yaml:5: live.outputs[1].key: the \
            environment variable NO_SUCH_KEY is not set",
        ),
        (
            "to: rtmp://h/app\n      key: [sk-token]",
            "live.outputs[1].key: found a list, allowed: text",
        ),
        ("name: x", "w/config.yaml:4: live.outputs[1]: found keys without to"),
        (
            "to: 'rtmp://h/app/k#name=a'\n      name: b",
            "w/config.yaml:5: live.outputs[1].name: given",
        ),
        ("to: file:./take.mp4", "w/config.yaml:4: live.outputs[1]: file:./take.mp4 is written by"),
        (
            "to: rmtp://h/sk-token",
            "w/config.yaml:4: live.outputs[1]: found an unknown scheme \"rmtp\"",
        ),
    ] {
        let text = format!("live:\n  outputs:\n    - file:take.mp4\n    - {output}\n");
        refused(&text, says);
        assert!(!problems(&text)[0].contains("sk-token"));
    }
}

#[test]
fn a_floor_above_the_bitrate_is_warned_about() {
    assert!(warnings("live: {bitrate_kbps: 1000}").is_empty());
    let said = &warnings("live: {bitrate_kbps: 1000, min_bitrate_kbps: 2000}")[0];
    assert!(said.contains("live.min_bitrate_kbps: found 2000, which is more than"), "{said}");
}

#[test]
fn no_message_shows_a_secret() {
    let text = "
backend:
  api_token: [sk-token]
  api_url: ftp://user:sk-token@host
  type: ${STREAM_KEY}
llm: {api_key_env: sk-token/1}
live:
  fps: ${STREAM_KEY}
  listen: http://x/?key=sk-token
  outputs: ['sk-token', {rtmp://x/sk-token: 1}, [sk-token], 'rtmp://x/sk-token y']
  audio: sk-token/?
  rtmp://x/sk-token: 1
  outpust: rtmp://x/sk-token
";
    let (config, findings) = parse(text);
    assert!(findings.problems.len() >= 10, "{findings}");
    let said = format!("{findings}\n{findings:?}\n{config:?}");
    assert!(!said.contains("sk-token") && !said.contains("hunter2"), "{said}");
    let config = good("live: {outputs: ['rtmp://a/b/${STREAM_KEY}']}");
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn a_missing_folder_or_file_says_what_to_do() {
    let empty = tempfile::tempdir().unwrap();
    let said = load(empty.path()).unwrap_err().to_string();
    assert!(said.contains("config.yaml: there is no such file; make it"), "{said}");
    let said = load(&empty.path().join("no")).unwrap_err().to_string();
    assert!(said.contains("no such folder; name your worqspace with -w DIR"), "{said}");

    std::fs::write(empty.path().join("config.yaml"), b"live: {}\n# \xff\n").unwrap();
    let said = load(empty.path()).unwrap_err().to_string();
    assert!(said.contains("config.yaml:2: this is no UTF-8 text"), "{said}");
    std::fs::write(empty.path().join("config.yaml"), "\u{feff}live:\r\n  fps: 30\r\n").unwrap();
    assert_eq!(load(empty.path()).unwrap().config.live.fps, FrameRate::whole(30));
    std::fs::write(empty.path().join("config.yaml"), "# ".repeat(1 << 20)).unwrap();
    let said = load(empty.path()).unwrap_err().to_string();
    assert!(said.contains("found 2048 KiB, allowed: at most 1024 KiB"), "{said}");
}

#[test]
fn the_snapshot_keeps_variables_as_written() {
    let folder = tempfile::tempdir().unwrap();
    let text = "# mine\nlive: {outputs: ['file:${PATH}.mp4']}\n";
    std::fs::write(folder.path().join("config.yaml"), text).unwrap();
    let loaded = load(folder.path()).unwrap();
    assert_eq!(loaded.text, text);
    assert!(!loaded.config.live.outputs[0].shown().contains("${PATH}"));
}

#[test]
fn the_shipped_file_is_whole_and_flawless() {
    let worqspace = Path::new(ROOT).join("worqspace");
    let loaded = load(&worqspace).unwrap();
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.config.generation.video_frames, 24);

    let tree = yaml::parse(&loaded.text, 0).unwrap();
    let mut paths = Vec::new();
    fn collect(node: &yaml::Node, path: &str, paths: &mut Vec<(String, usize)>) {
        if let yaml::Value::Map(entries) = &node.value {
            for entry in entries {
                let path = format!("{path}.{}", entry.key);
                collect(&entry.node, &path, paths);
                paths.push((path[1..].to_owned(), entry.line));
            }
        }
    }
    collect(&tree, "", &mut paths);
    let lines: Vec<&str> = loaded.text.lines().collect();
    let known = keys().into_iter().map(|k| k.path);
    for path in known.chain(["backends.image".into(), "backends.video".into()]) {
        assert!(
            paths.iter().any(|(p, _)| *p == path),
            "{path} is missing in worqspace/config.yaml"
        );
    }
    for (path, line) in paths {
        let lone =
            ["input.", "paths.", "finalizer.", "generation.", "looping.", "llm.", "comfyui."];
        let explained = lines[line - 1].contains('#')
            || lone.iter().any(|section| path.starts_with(section))
            || !path.contains('.');
        assert!(explained || path.starts_with("live.join") || path == "live.audio", "{path}");
    }
}

#[test]
fn the_reference_names_every_key_with_default_and_limits() {
    let reference = std::fs::read_to_string(format!("{ROOT}/docs/configuration.md")).unwrap();
    let missing: Vec<String> = keys()
        .iter()
        .map(|key| {
            let default = match key.default.as_str() {
                "" => "not set".to_owned(),
                default => format!("`{default}`"),
            };
            format!("| `{}` | {default} | {} |", key.path, key.allowed)
        })
        .filter(|row| !reference.contains(row.as_str()))
        .collect();
    assert!(missing.is_empty(), "docs/configuration.md lacks:\n{}", missing.join("\n"));
    for option in output::OPTIONS {
        let row = format!("| `{}` |", option.name);
        assert!(reference.contains(&row), "docs/configuration.md lacks the option {row}");
    }
}

/// A value for some keys, right or wrong.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("60".to_owned()),
        Just("1920x1080".to_owned()),
        Just("${STREAM_KEY}".to_owned()),
        Just("${".to_owned()),
        "[ -~äß]{0,12}",
    ]
}

/// Any YAML tree, with keys that often exist, as flow text.
fn any_tree() -> impl Strategy<Value = String> {
    let quoted = any_text().prop_map(|t| format!("'{}'", t.replace('\'', "''")));
    let leaf = prop_oneof![quoted, Just("~".to_owned()), any::<f64>().prop_map(|f| f.to_string())];
    let key = prop_oneof![
        prop::sample::select(vec![
            "live",
            "join",
            "audio",
            "source",
            "outputs",
            "fps",
            "backend",
            "backends",
            "image",
            "comfyui",
            "type",
            "generation",
            "encoder_preference",
            "finalizer",
            "quality",
        ])
        .prop_map(str::to_owned),
        "[a-z_]{1,8}",
    ];
    leaf.prop_recursive(5, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|l| format!("[{}]", l.join(", "))),
            prop::collection::vec((key.clone(), inner), 0..6).prop_map(|m| {
                let entries: Vec<_> = m.iter().map(|(k, v)| format!("{k}: {v}")).collect();
                format!("{{{}}}", entries.join(", "))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn no_tree_panics_and_none_leaks(tree in any_tree()) {
        let (_, findings) = parse(&tree);
        prop_assert!(!findings.to_string().contains("hunter2"));
    }

    #[test]
    fn no_text_panics(text in "(?s).{0,300}") {
        parse(&text);
    }

    #[test]
    fn the_order_of_keys_does_not_matter(
        sections in Just(vec![
            "live: {fps: 30, join: {seconds: 0.2, kind: morph}, buffer_seconds: 12, record: off}",
            "backend: {type: mock, mock_delay: 3}",
            "backends: {video: {type: comfyui, api_url: 'http://a'}}",
            "comfyui: {svd_ckpt: x}",
            "generation: {width: 640, height: 360, clip_seconds: 9}",
            "chaining: {frame: middle}",
            "unknown: 1",
        ]).prop_shuffle(),
    ) {
        let (config, findings) = parse(&sections.join("\n"));
        prop_assert_eq!(findings.problems.len(), 0);
        prop_assert_eq!(findings.warnings.len(), 2);
        prop_assert_eq!(config.generation.width, 640);
        prop_assert_eq!(&config.video_backends[0].svd_ckpt, "x");
        prop_assert_eq!(config.image_backends[0].mock_delay, Duration::from_secs(3));
        prop_assert_eq!(config.live.join, Join { kind: JoinKind::Morph, seconds: 0.2 });
    }
}
