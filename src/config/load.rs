//! `config.yaml`: its keys, their defaults and ranges, and what must fit together.
//!
//! Holds: files of Visual FaQtory 0.0.7 load unchanged: what they may have and this program does
//! not know is warned about; only in `live`, which is new, an unknown key is a problem.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::kind::{self, choice, flag, number, pixels, rate, size, text, whole};
use super::output;
use super::problem::{Findings, Problem, Warning};
use super::read::{Env, Item, Key, Reader, Section, required_text};
use super::sound;
use super::yaml::Value;
use super::*;

/// A worqspace's settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    pub config: Config,
    /// The file as it is written, `${ENV}` not expanded: what the archive keeps.
    pub text: String,
    pub warnings: Vec<Warning>,
}

/// Reads and checks `config.yaml` in `worqspace`; the error holds all that is wrong with it.
pub fn load(worqspace: &Path) -> Result<Loaded, Findings> {
    let (config, text, findings) = check(worqspace);
    if findings.problems.is_empty() {
        Ok(Loaded { config, text, warnings: findings.warnings })
    } else {
        Err(findings)
    }
}

/// As [`load`], but always gives settings, with the default for whatever is wrong, so that other
/// files can be checked along with them.
pub fn check(worqspace: &Path) -> (Config, String, Findings) {
    let file = worqspace.join("config.yaml");
    let env = |name: &str| std::env::var(name).ok();
    let text = if worqspace.is_dir() {
        required_text(&file, "make it (an empty file takes every default), or start with -w DIR")
    } else {
        let message = "there is no such folder; name your worqspace with -w DIR";
        Err(Problem::new(worqspace, message))
    };
    let (text, missing) = match text {
        Ok(text) => (text, None),
        Err(problem) => (String::new(), Some(problem)),
    };
    let (config, mut findings, _) = read(&text, &file, worqspace, &env);
    findings.problems.extend(missing);
    (config, text, findings)
}

/// Every key that `config.yaml` may have, in the order of the reference. The keys of `backend`
/// stand for those of `backends.image` and `backends.video` too.
pub fn keys() -> Vec<Key> {
    read("", Path::new("config.yaml"), Path::new(""), &|_| None).2
}

/// Reads the text of a file that stands (or would stand) at `file`.
pub(super) fn read(
    text: &str,
    file: &Path,
    worqspace: &Path,
    env: Env,
) -> (Config, Findings, Vec<Key>) {
    let mut reader = Reader::new(file, Some(env));
    let r = &mut reader;
    let tree = r.parse(text, 0);
    let mut root = r.root(&tree, false);

    let paths = paths(r, &mut root);
    let input = input(r, &mut root);
    let (image_backends, video_backends) = backends(r, &mut root, worqspace);
    let config = Config {
        paths,
        input,
        image_backends,
        video_backends,
        generation: generation(r, &mut root),
        chaining: chaining(r, &mut root),
        looping: looping(r, &mut root),
        finalizer: finalizer(r, &mut root),
        prompt_drift: prompt_drift(r, &mut root),
        cycle: cycle(r, &mut root),
        llm: llm(r, &mut root, worqspace),
        live: live(r, &mut root, worqspace),
        overlays: overlays(r, &mut root, worqspace),
    };
    root.close(r);
    compare(r, &config);
    let (findings, keys) = reader.finish();
    (config, findings, keys)
}

fn paths(r: &mut Reader, root: &mut Section) -> Paths {
    let mut s = root.section(r, "paths");
    let paths = Paths {
        output_dir: s.get(r, "output_dir", "./qodeyard", text().map(PathBuf::from)),
        briqs_dir: s.opt(r, "briqs_dir", text().map(PathBuf::from)),
    };
    s.close(r);
    paths
}

fn input(r: &mut Reader, root: &mut Section) -> Input {
    let mut s = root.section(r, "input");
    let input = Input {
        tasq_file: s.get(r, "tasq_file", "tasq.md", text()),
        negative_prompt_file: s.get(r, "negative_prompt_file", "negative_prompt.md", text()),
        style_hints_file: s.get(r, "style_hints_file", "style_hints.md", text()),
        motion_prompt_file: s.get(r, "motion_prompt_file", "motion_prompt.md", text()),
    };
    s.close(r);
    input
}

/// The image and the video backends: `backends` wins over `backend`, video is like image unless it
/// has its own, and the top-level `comfyui` is for those that have none. Each may be a list.
fn backends(
    r: &mut Reader,
    root: &mut Section,
    worqspace: &Path,
) -> (Vec<BackendConfig>, Vec<BackendConfig>) {
    let mut s = root.section(r, "comfyui");
    let checkpoints = (
        s.get(r, "sdxl_ckpt", "sd_xl_base_1.0.safetensors", text()),
        s.get(r, "svd_ckpt", "svd_xt.safetensors", text()),
    );
    s.close(r);

    let mut s = root.section(r, "backend");
    let both = backend(r, &mut s, &checkpoints, worqspace);
    s.close(r);

    let mut s = root.section(r, "backends");
    let mut own = |r: &mut Reader, key: &'static str| {
        let sections = s.repeated_sections(r, key)?;
        let read = |r: &mut Reader, mut section: Section| {
            let config = backend(r, &mut section, &checkpoints, worqspace);
            section.close(r);
            config
        };
        Some(sections.into_iter().map(|section| read(r, section)).collect::<Vec<_>>())
    };
    let image = own(r, "image");
    let video = own(r, "video");
    s.close(r);
    if image.is_some() && video.is_some() && root.has("backend") {
        r.warn(None, "backend", "has no effect: backends.image and backends.video win");
    }
    let image = image.unwrap_or_else(|| vec![both]);
    let video = video.unwrap_or_else(|| image.clone());
    (image, video)
}

fn backend(
    r: &mut Reader,
    s: &mut Section,
    checkpoints: &(String, String),
    worqspace: &Path,
) -> BackendConfig {
    let path = |worqspace: &Path| {
        let worqspace = worqspace.to_path_buf();
        text().map(move |t| worqspace.join(t))
    };
    let kind = s.get(r, "type", "mock", kind::backend());
    let name = s.opt(r, "name", text());
    let jobs = s.get(r, "jobs", "1", whole(1..=64));
    let mock_delay = s.get(r, "mock_delay", "0", seconds(0.0, 3600.0));
    let mock_fail_rate = s.get(r, "mock_fail_rate", "0", number(0.0..=1.0));
    let mock_label = s.get(r, "mock_label", "false", flag());
    let api_url = s.opt(r, "api_url", kind::web_address());
    let headers = headers(r, s);
    let tls_ca_file = s.opt(r, "tls_ca_file", path(worqspace));
    let timeout = s.get(r, "timeout", "300", seconds(1.0, 86_400.0));
    let workflow_image = s.opt(r, "workflow_image", path(worqspace));
    let workflow_img2img = s.opt(r, "workflow_img2img", path(worqspace));
    let workflow_video = s.opt(r, "workflow_video", path(worqspace));
    let workflow_morph = s.opt(r, "workflow_morph", path(worqspace));
    let workflow_map = workflow_map(r, s);
    let loras = s.list(r, "loras", &[], lora());
    let python = s.opt(r, "python", path(worqspace));
    let model_id = s.opt(r, "model_id", text());
    let video_model_id = s.opt(r, "video_model_id", text());
    let device = s.opt(r, "device", text());
    let dtype = s.opt(r, "dtype", text());
    // Rehearsing a Replicate set on the built-in generator needs no token.
    let token = text().map(Secret::new).secret();
    let api_token = match kind {
        BackendKind::Replicate => s.opt(r, "api_token", token),
        _ => s.unneeded(r, "api_token", token),
    };
    let api_token_file = s.opt(r, "api_token_file", path(worqspace));
    let image_model = s.opt(r, "image_model", text());
    let video_model = s.opt(r, "video_model", text());
    let max_predictions = s.opt(r, "max_predictions", whole(0..=1_000_000_000));
    let max_cost = s.opt(r, "max_cost", number(0.0..=1_000_000.0));
    let cost_per_second = s.opt(r, "cost_per_second", number(0.0..=1000.0));
    let mut own = s.repeated_section(r, "comfyui");
    let sdxl_ckpt = own.opt(r, "sdxl_ckpt", text()).unwrap_or_else(|| checkpoints.0.clone());
    let svd_ckpt = own.opt(r, "svd_ckpt", text()).unwrap_or_else(|| checkpoints.1.clone());
    own.close(r);
    BackendConfig {
        kind,
        name,
        jobs,
        mock_delay,
        mock_fail_rate,
        mock_label,
        api_url,
        headers,
        tls_ca_file,
        timeout,
        workflow_image,
        workflow_img2img,
        workflow_video,
        workflow_morph,
        workflow_map,
        loras,
        python,
        model_id,
        video_model_id,
        device,
        dtype,
        api_token,
        api_token_file,
        image_model,
        video_model,
        max_predictions,
        max_cost,
        cost_per_second,
        sdxl_ckpt,
        svd_ckpt,
    }
}

/// `headers: {NAME: VALUE}`; the values are secrets.
fn headers(r: &mut Reader, s: &mut Section) -> Vec<(String, Secret)> {
    let section = s.free_section(r, "headers", "names of HTTP headers with their values");
    let pairs = section.pairs(r, true);
    pairs.into_iter().map(|(name, value)| (name, Secret::new(value))).collect()
}

/// The workflows that a mapping may be for.
const WORKFLOWS: [&str; 4] = ["image", "img2img", "video", "morph"];

fn workflow_map(r: &mut Reader, s: &mut Section) -> Vec<Mapping> {
    let mut maps = s.section(r, "workflow_map");
    let mut found = Vec::new();
    for workflow in WORKFLOWS {
        let section = maps.free_section(
            r,
            workflow,
            "names of inputs with NODE.FIELD, as `vfaq workflow check` shows them",
        );
        for (input, target) in section.pairs(r, false) {
            found.push(Mapping { workflow: workflow.to_owned(), input, target });
        }
    }
    maps.close(r);
    found
}

/// `NAME` or `NAME:STRENGTH`.
fn lora() -> Kind<Lora> {
    let allowed = "NAME.safetensors or NAME.safetensors:STRENGTH, with a strength from -10 to 10";
    Kind::new(allowed, |t| {
        let t = t.trim();
        let strength = |s: &str| s.parse::<f64>().ok().filter(|s| (-10.0..=10.0).contains(s));
        let (name, strength) = match t.rsplit_once(':') {
            Some((name, number)) => (name, strength(number)?),
            None => (t, 1.0),
        };
        (!name.is_empty()).then(|| Lora { name: name.to_owned(), strength })
    })
}

fn generation(r: &mut Reader, root: &mut Section) -> Generation {
    let mut s = root.section(r, "generation");
    let generation = Generation {
        clip_seconds: s.get(r, "clip_seconds", "8", number(0.1..=600.0)),
        width: s.get(r, "width", "1024", pixels()),
        height: s.get(r, "height", "576", pixels()),
        cfg_scale: s.get(r, "cfg_scale", "7", number(0.0..=100.0)),
        steps: s.get(r, "steps", "30", whole(1..=1000)),
        sampler: s.get(r, "sampler", "euler_ancestral", text()),
        video_frames: s.get(r, "video_frames", "25", whole(2..=2000)),
        video_fps: s.get(r, "video_fps", "8", rate(240)),
        motion_bucket_id: s.get(r, "motion_bucket_id", "127", whole(1..=1023)),
        noise_aug_strength: s.get(r, "noise_aug_strength", "0.02", number(0.0..=10.0)),
    };
    s.close(r);
    generation
}

fn chaining(r: &mut Reader, root: &mut Section) -> Chaining {
    let mut s = root.section(r, "chaining");
    let keyframes =
        choice(&[("auto", Keyframes::Auto), ("on", Keyframes::On), ("off", Keyframes::Off)]);
    let frames = choice(&[("last", ChainFrame::Last), ("middle", ChainFrame::Middle)]);
    let chaining = Chaining {
        denoise_strength: s.get(r, "denoise_strength", "0.4", number(0.0..=1.0)),
        seed_step: s.get(r, "seed_step", "1", whole(-1_000_000_000..=1_000_000_000)),
        frame: s.get(r, "frame", "last", frames),
        keyframes: s.get(r, "keyframes", "auto", keyframes),
    };
    s.close(r);
    chaining
}

fn looping(r: &mut Reader, root: &mut Section) -> Looping {
    let mut s = root.section(r, "looping");
    let methods =
        choice(&[("pingpong", LoopMethod::Pingpong), ("crossfade", LoopMethod::Crossfade)]);
    let encoder = kind::encoder();
    let codec = Kind::new(encoder.allowed.clone(), move |t| {
        encoder.read(t).map(|_| t.trim().to_ascii_lowercase())
    });
    let looping = Looping {
        enabled: s.get(r, "enabled", "false", flag()),
        method: s.get(r, "method", "pingpong", methods),
        crossfade_frames: s.get(r, "crossfade_frames", "8", whole(1..=1000)),
        output_fps: s.opt(r, "output_fps", rate(240)),
        output_codec: s.get(r, "output_codec", "h264_nvenc", codec),
        output_quality: s.opt(r, "output_quality", whole(0..=51)),
    };
    s.close(r);
    looping
}

fn finalizer(r: &mut Reader, root: &mut Section) -> Finalizer {
    // The names that the seed handed to ffmpeg's scaler.
    let scalers = kind::name_of(&[
        "fast_bilinear",
        "bilinear",
        "bicubic",
        "experimental",
        "neighbor",
        "area",
        "bicublin",
        "gauss",
        "sinc",
        "lanczos",
        "spline",
    ]);
    let mut s = root.section(r, "finalizer");
    let enabled = s.get(r, "enabled", "true", flag());
    let interpolate_fps = s.get(r, "interpolate_fps", "60", rate(240));
    let upscale_resolution = s.get(r, "upscale_resolution", "1920x1080", size());
    let scale_algo = s.get(r, "scale_algo", "bicubic", scalers);
    let encoder_preference =
        s.list(r, "encoder_preference", &["h264_nvenc", "libx264"], kind::encoder());
    let mut quality = s.section(r, "quality");
    let crf = quality.get(r, "crf", "16", whole(0..=51));
    quality.close(r);
    s.close(r);
    Finalizer { enabled, interpolate_fps, upscale_resolution, scale_algo, encoder_preference, crf }
}

fn prompt_drift(r: &mut Reader, root: &mut Section) -> PromptDrift {
    let mut s = root.section(r, "prompt_drift");
    // "masterpiece, sharp" in one text means two tags.
    let tags = text().map(|t| t.split(',').map(|tag| tag.trim().to_owned()).collect::<Vec<_>>());
    let drift = PromptDrift {
        quality_tags: s
            .list(r, "quality_tags", &[], tags)
            .into_iter()
            .flatten()
            .filter(|tag| !tag.is_empty())
            .collect(),
        negative_prompt: s.opt(r, "negative_prompt", text()),
    };
    s.close(r);
    drift
}

fn cycle(r: &mut Reader, root: &mut Section) -> CycleConfig {
    let mut s = root.section(r, "cycle");
    let cycle = CycleConfig {
        max_cycles: s.get(r, "max_cycles", "0", whole(0..=1_000_000)),
        target_duration_hours: s.get(r, "target_duration_hours", "2", number(0.0..=1000.0)),
        delay: s.get(r, "delay_seconds", "0", seconds(0.0, 3600.0)),
        auto_save_interval: s.get(r, "auto_save_interval", "1", whole(0..=1000)),
        max_retries: s.get(r, "max_retries", "3", whole(0..=100)),
        continue_on_error: s.get(r, "continue_on_error", "true", flag()),
    };
    s.close(r);
    cycle
}

fn llm(r: &mut Reader, root: &mut Section, worqspace: &Path) -> Llm {
    let worqspace = worqspace.to_path_buf();
    let path = text().map(move |t| worqspace.join(t));
    let mut s = root.section(r, "llm");
    let llm = Llm {
        provider: s.opt(r, "provider", kind::name_of(&["mock", "openai", "google"])),
        model: s.opt(r, "model", text()),
        api_url: s.opt(r, "api_url", kind::web_address()),
        api_key_env: s.opt(r, "api_key_env", kind::variable_name()),
        api_key_file: s.opt(r, "api_key_file", path),
        timeout: s.get(r, "timeout", "20", seconds(0.1, 600.0)),
    };
    s.close(r);
    llm
}

fn live(r: &mut Reader, root: &mut Section, worqspace: &Path) -> Live {
    let mut s = root.strict_section(r, "live");
    let fits =
        choice(&[("cover", Fit::Cover), ("contain", Fit::Contain), ("stretch", Fit::Stretch)]);
    let kinds =
        choice(&[("fade", JoinKind::Fade), ("morph", JoinKind::Morph), ("cut", JoinKind::Cut)]);
    let between = choice(&[
        ("flow", Interpolation::Flow),
        ("blend", Interpolation::Blend),
        ("nearest", Interpolation::Nearest),
    ]);
    let canvas = s.get(r, "canvas", "1920x1080", size());
    let fps = s.get(r, "fps", "60", rate(240));
    let fit = s.get(r, "fit", "cover", fits);
    let buffer_seconds = s.get(r, "buffer_seconds", "24", number(1.0..=3600.0));
    let min_runway_seconds = s.get(r, "min_runway_seconds", "4", number(0.5..=600.0));
    let memory_mb = s.get(r, "memory_mb", "700", whole(300..=1_000_000));
    let mut join = s.section(r, "join");
    let join_kind = join.get(r, "kind", "fade", kinds);
    let join_seconds = join.get(r, "seconds", "0.5", number(0.0..=10.0));
    join.close(r);
    let interpolation = s.get(r, "interpolation", "flow", between);
    let flash_limit = s.get(r, "flash_limit", "true", flag());
    let outputs = outputs(r, &mut s);
    let record = s.get(r, "record", "true", flag());
    let min_free_mb = s.get(r, "min_free_mb", "500", whole(50..=1_000_000));
    let encoder_preference = s.list(
        r,
        "encoder_preference",
        &["h264_nvenc", "h264_vaapi", "libx264", "openh264"],
        kind::encoder(),
    );
    let bitrate_kbps = s.get(r, "bitrate_kbps", "6000", whole(100..=100_000));
    let adaptive_bitrate = s.get(r, "adaptive_bitrate", "true", flag());
    let min_bitrate_kbps = s.get(r, "min_bitrate_kbps", "1500", whole(100..=100_000));
    let keyframe_seconds = s.get(r, "keyframe_seconds", "2", number(0.1..=20.0));
    let mut audio = s.section(r, "audio");
    let source = audio.get(r, "source", "silence", audio_source(worqspace));
    audio.close(r);
    let listen = s.get(r, "listen", "127.0.0.1:8787", kind::listen());
    let token = s.opt(r, "token", text().map(Secret::new).secret());
    let in_worqspace = worqspace.to_path_buf();
    let token_file = s.opt(r, "token_file", text().map(move |t| in_worqspace.join(t)));
    let hosts = s.list(r, "hosts", &[], kind::host_name());
    let osc = osc(r, &mut s);
    let mut m = s.section(r, "midi");
    let midi = Midi {
        enabled: m.get(r, "enabled", "auto", kind::midi()),
        ports: m.list(r, "ports", &[], text()),
        maps: m.list(r, "maps", &[], text()),
        feedback: m.get(r, "feedback", "true", flag()),
    };
    m.close(r);
    let tempo = tempo(r, &mut s);
    let stand_in = s.get(r, "stand_in", "true", flag());
    let keep_awake = s.get(r, "keep_awake", "true", flag());
    s.close(r);
    Live {
        canvas,
        fps,
        fit,
        buffer_seconds,
        min_runway_seconds,
        memory_mb,
        join: Join { kind: join_kind, seconds: join_seconds },
        interpolation,
        flash_limit,
        outputs,
        record,
        min_free_mb,
        encoder_preference,
        bitrate_kbps,
        adaptive_bitrate,
        min_bitrate_kbps,
        keyframe_seconds,
        audio: source,
        listen,
        token,
        token_file,
        hosts,
        osc,
        midi,
        tempo,
        stand_in,
        keep_awake,
    }
}

fn tempo(r: &mut Reader, live: &mut Section) -> Tempo {
    let mut s = live.section(r, "tempo");
    let os2l = s.get(r, "os2l", "127.0.0.1:9996", kind::osc_listen());
    let tempo = Tempo {
        source: s.get(r, "source", "auto", kind::tempo_source()),
        bpm: s.get(r, "bpm", "120", number(30.0..=300.0)),
        beats_per_bar: s.get(r, "beats_per_bar", "4", whole(1..=16)),
        os2l,
        os2l_is_asked: s.has("os2l")
            && os2l != Some(std::net::SocketAddr::from(([127, 0, 0, 1], 9996))),
        link: s.get(r, "link", "true", flag()),
    };
    s.close(r);
    tempo
}

fn osc(r: &mut Reader, live: &mut Section) -> Osc {
    let usual = |port: u16| Some(std::net::SocketAddr::from(([127, 0, 0, 1], port)));
    // `osc:` with nothing behind it is a wish too.
    let is_off = live.entries().iter().any(|e| e.key == "osc" && e.node.value == Value::Null);
    let mut s = live.section(r, "osc");
    let listen = s.get(r, "listen", "127.0.0.1:9000", kind::osc_listen());
    let query = s.get(r, "query", "127.0.0.1:9001", kind::osc_listen());
    let osc = Osc {
        listen: listen.filter(|_| !is_off),
        query: query.filter(|_| !is_off),
        allow: s.list(r, "allow", &[], net::network()),
        send: s.list(r, "send", &[], net::feedback_to()),
        announce: s.opt(r, "announce", flag()),
        // What stands there anyway is nobody's wish: a show does not fail for it.
        listen_is_asked: s.has("listen") && listen != usual(9000),
        query_is_asked: s.has("query") && query != usual(9001),
    };
    s.close(r);
    osc
}

fn overlays(r: &mut Reader, root: &mut Section, worqspace: &Path) -> Overlays {
    let mut s = root.strict_section(r, "overlays");
    let switches = choice(&[
        ("logo", ParamId::LogoOn),
        ("text", ParamId::TextOn),
        ("now_playing", ParamId::NowPlayingOn),
        ("qr", ParamId::QrOn),
    ]);
    let folder = worqspace.join(OVERLAYS_FOLDER);
    let logo = Kind::new("the name of a PNG that is in the folder overlays of the worqspace", {
        move |t| {
            let name = t.trim();
            (is_file_name(name) && folder.join(name).is_file()).then(|| name.to_owned())
        }
    });
    let file = {
        let worqspace = worqspace.to_path_buf();
        text().map(move |t| worqspace.join(t))
    };
    let overlays = Overlays {
        show: s.list(r, "show", &[], switches),
        logo: s.opt(r, "logo", logo),
        text: s.opt(r, "text", shown(ParamId::TextValue)),
        now_playing_file: s.opt(r, "now_playing_file", file),
        qr_url: s.opt(r, "qr_url", shown(ParamId::QrValue)),
        fade: s.get(r, "fade", "0.5", seconds(0.0, 10.0)).as_secs_f64(),
        clean_recording: s.get(r, "clean_recording", "false", flag()),
    };
    s.close(r);
    overlays
}

/// What a text of the registry may be.
fn shown(id: ParamId) -> Kind<String> {
    let param = crate::param::of(id);
    let most = match param.kind {
        crate::param::Kind::Text { most } => most,
        _ => 0,
    };
    Kind::new(format!("a text of at most {most} characters"), move |t| {
        match param.admit(&crate::param::Value::from(t)) {
            Ok(crate::param::Value::Text(text)) => Some(text.to_string()),
            _ => None,
        }
    })
}

/// Leads to no other folder.
fn is_file_name(name: &str) -> bool {
    Path::new(name).file_name().is_some_and(|file| file == name)
}

fn outputs(r: &mut Reader, s: &mut Section) -> Vec<OutputSpec> {
    let mut outputs: Vec<OutputSpec> = Vec::new();
    for item in s.items(r, "outputs", &output::allowed()) {
        let Some(output) = output(r, &item) else { continue };
        if outputs.iter().any(|other| other.same_file(&output)) {
            let message =
                format!("{} is written by another output too; delete one", output.shown());
            r.problem(Some(item.line), &item.path, message);
        }
        outputs.push(output);
    }
    outputs
}

fn output(r: &mut Reader, item: &Item) -> Option<OutputSpec> {
    let problems = r.problem_count();
    let mut given = output::Given::default();
    let read = match &item.node.value {
        Value::Map(_) => {
            let mut s = r.mapping(item);
            let uri = s.opt(r, "to", text().secret());
            let found: Vec<_> = output::OPTIONS
                .iter()
                .flat_map(|rule| [Some(rule.name), rule.alias].map(|key| (rule.name, key)))
                .filter_map(|(name, key)| Some((name, s.opt(r, key?, text().secret())?)))
                .collect();
            if r.problem_count() > problems {
                return None;
            }
            let Some(uri) = uri else {
                let message = format!(
                    "found keys without to, allowed: {}; a text with a colon needs quotes",
                    output::allowed()
                );
                r.problem(Some(item.line), &item.path, message);
                return None;
            };
            s.close(r);
            found
                .into_iter()
                .try_for_each(|(name, value)| given.add(name, value))
                .and_then(|()| output::read(&uri, given))
        }
        _ => output::read(&r.text(item, &output::allowed())?, given),
    };
    read.map_err(|fault| {
        // An option may stand in the URI too, and has no line of its own then.
        let path = fault.option.map(|option| format!("{}.{option}", item.path));
        match path.and_then(|path| Some((r.line(&path)?, path))) {
            Some((line, path)) => r.problem(Some(line), &path, fault.message),
            None => r.problem(Some(item.line), &item.path, fault.to_string()),
        }
    })
    .ok()
}

fn seconds(least: f64, most: f64) -> Kind<Duration> {
    let mut kind = number(least..=most).map(Duration::from_secs_f64);
    kind.allowed.push_str(" (seconds)");
    kind
}

/// A file must be there; its path is relative to the worqspace.
fn audio_source(worqspace: &Path) -> Kind<AudioSource> {
    let worqspace = worqspace.to_path_buf();
    Kind::new(sound::ALLOWED, move |t| {
        AudioSource::parse(t, &worqspace).filter(|source| match source {
            AudioSource::File { path, .. } => path.is_file(),
            _ => true,
        })
    })
}

/// What each value alone cannot tell.
fn compare(r: &mut Reader, config: &Config) {
    let generation = &config.generation;
    let clip_seconds = f64::from(generation.video_frames) * generation.video_fps.frame_seconds();
    let clip_keys = ["generation.clip_seconds", "generation.video_frames", "generation.video_fps"];
    let clip_is_right = r.all_right(&clip_keys);
    let line = r.line("generation.clip_seconds");
    let half_frame = generation.video_fps.frame_seconds() / 2.0;
    if line.is_some()
        && clip_is_right
        && (generation.clip_seconds - clip_seconds).abs() > half_frame
    {
        let message = format!(
            "found {}, but video_frames {} / video_fps {} makes {clip_seconds:.3} seconds, and \
             those two win; write clip_seconds: {}",
            generation.clip_seconds,
            generation.video_frames,
            generation.video_fps,
            (clip_seconds * 1000.0).round() / 1000.0,
        );
        r.warn(line, "generation.clip_seconds", message);
    }

    let live = &config.live;
    if r.all_right(&["live.buffer_seconds", "live.min_runway_seconds"])
        && live.buffer_seconds < live.min_runway_seconds
    {
        let line = r.line("live.buffer_seconds").or(r.line("live.min_runway_seconds"));
        let message = format!(
            "found {}, allowed: at least min_runway_seconds, which is {}; make the buffer longer \
             or the runway shorter",
            live.buffer_seconds, live.min_runway_seconds
        );
        r.problem(line, "live.buffer_seconds", message);
    }
    if clip_is_right && live.buffer_seconds < clip_seconds {
        let message = format!(
            "{} seconds hold less than one clip of {clip_seconds:.3} seconds",
            live.buffer_seconds
        );
        r.warn(r.line("live.buffer_seconds"), "live.buffer_seconds", message);
    }
    if clip_is_right && live.join.kind != JoinKind::Cut && live.join.seconds > clip_seconds / 2.0 {
        let message = format!(
            "joins of {} seconds take more than half of each clip ({clip_seconds:.3} seconds)",
            live.join.seconds
        );
        r.warn(r.line("live.join.seconds"), "live.join.seconds", message);
    }
    let line = r.line("live.min_bitrate_kbps");
    if line.is_some()
        && r.all_right(&["live.bitrate_kbps", "live.min_bitrate_kbps"])
        && live.min_bitrate_kbps > live.bitrate_kbps
    {
        let message = format!(
            "found {}, which is more than bitrate_kbps {}: the bitrate is never lowered",
            live.min_bitrate_kbps, live.bitrate_kbps
        );
        r.warn(line, "live.min_bitrate_kbps", message);
    }
    if r.all_right(&["live.encoder_preference"]) && live.encoder_preference.is_empty() {
        let line = r.line("live.encoder_preference");
        r.problem(line, "live.encoder_preference", "found an empty list, allowed: at least one");
    }
}
