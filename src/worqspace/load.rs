//! Reads the prompt bundle and checks it.

use std::path::{Path, PathBuf};

use super::markdown::{self, Dropped};
use super::{Mode, NegativeSource, PromptBundle};
use crate::config::kind::{backend, choice, text, whole};
use crate::config::problem::read_text;
use crate::config::read::Reader;
use crate::config::yaml::{self, Value};
use crate::config::{self, Config, Findings, Problem, Warning};

const LIMIT_BYTES: u64 = 1 << 20;

/// All that a worqspace says.
#[derive(Clone, Debug, PartialEq)]
pub struct Opened {
    pub config: Config,
    /// `config.yaml` as it is written, `${ENV}` not expanded.
    pub config_text: String,
    pub bundle: PromptBundle,
    pub warnings: Vec<Warning>,
}

/// Reads settings and prompt files; the error holds all that is wrong with any of them.
pub fn open(worqspace: &Path) -> Result<Opened, Findings> {
    let (config, config_text, mut findings) = config::check(worqspace);
    if !worqspace.is_dir() {
        return Err(findings);
    }
    match load(worqspace, &config) {
        Ok((bundle, mut warnings)) if findings.problems.is_empty() => {
            findings.warnings.append(&mut warnings);
            Ok(Opened { config, config_text, bundle, warnings: findings.warnings })
        }
        Ok((_, mut warnings)) => {
            findings.warnings.append(&mut warnings);
            Err(findings)
        }
        Err(more) => {
            findings.append(more);
            Err(findings)
        }
    }
}

/// Reads `tasq.md` and its companions; the error holds all that is wrong with them.
pub fn load(worqspace: &Path, config: &Config) -> Result<(PromptBundle, Vec<Warning>), Findings> {
    let mut findings = Findings::default();
    let bundle = read(worqspace, config, &mut findings);
    match bundle {
        Some(bundle) if findings.problems.is_empty() => Ok((bundle, findings.warnings)),
        _ => Err(findings),
    }
}

/// `None` if there is nothing to read a bundle from; then there is a problem too.
fn read(worqspace: &Path, config: &Config, findings: &mut Findings) -> Option<PromptBundle> {
    let input = &config.input;
    let mut companion = |name: &str, read: fn(&str, usize) -> (String, Vec<Dropped>)| {
        read_companion(&worqspace.join(name), read, findings)
    };
    let negative_file = companion(&input.negative_prompt_file, |text, skipped| {
        let body = markdown::body(text, skipped);
        // Below a title "Negative prompt" stands what the whole file is for.
        (format!("{} {}", body.prompt, body.negative).trim().to_owned(), body.dropped)
    });
    let motion_prompt = companion(&input.motion_prompt_file, |text, skipped| {
        let body = markdown::body(text, skipped);
        (body.prompt, body.dropped)
    });
    let style_hints = companion(&input.style_hints_file, markdown::hints);

    let file = worqspace.join(&input.tasq_file);
    let text = match read_text(&file, LIMIT_BYTES) {
        Ok(Some(text)) => text,
        Ok(None) => {
            let message = "there is no such file; make it, and write into it in a few words what \
                           the picture shows";
            findings.problems.push(Problem::new(&file, message));
            return None;
        }
        Err(problem) => {
            findings.problems.push(problem);
            return None;
        }
    };
    let Ok(split) = markdown::split(&text) else {
        let message = "the settings at the top have no end; close them with a line '---', or \
                       take the first one away";
        findings.problems.push(Problem::new(&file, message).at(Some(1), ""));
        return None;
    };
    let body = markdown::body(split.body, split.skipped_lines);
    warn_dropped(&body.dropped, &file, findings);
    if body.prompt.is_empty() {
        let message = "found no prompt; below the settings, write what the picture shows \
                       (headings, code blocks and the section Negative do not count)";
        findings.problems.push(Problem::new(&file, message));
    }
    let yaml = split.front_matter.unwrap_or_default();
    let front = front_matter(yaml, split.front_skipped, &file, worqspace, findings);

    let sources = [
        (NegativeSource::FrontMatter, front.negative_prompt.unwrap_or_default()),
        (NegativeSource::File, negative_file),
        (NegativeSource::Section, body.negative),
        (NegativeSource::Config, config.prompt_drift.negative_prompt.clone().unwrap_or_default()),
    ];
    let (negative_source, negative_prompt) = sources
        .into_iter()
        .find(|(_, text)| !text.is_empty())
        .unwrap_or((NegativeSource::None, String::new()));
    Some(PromptBundle {
        title: front.title,
        mode: front.mode,
        backend: front.backend,
        base_image: front.base_image,
        base_video: front.base_video,
        seed: front.seed,
        drift_preset: front.drift_preset,
        prompt: body.prompt,
        negative_prompt,
        negative_source,
        style_hints,
        motion_prompt,
    })
}

/// Reads a companion of `tasq.md`; empty if there is none. It has no settings of its own.
fn read_companion(
    file: &Path,
    read: fn(&str, usize) -> (String, Vec<Dropped>),
    findings: &mut Findings,
) -> String {
    let text = read_text(file, LIMIT_BYTES).unwrap_or_else(|problem| {
        findings.problems.push(problem);
        None
    });
    let text = text.unwrap_or_default();
    let mut split = markdown::split(&text).unwrap_or_else(|_| markdown::whole(&text));
    match split.front_matter.map(|yaml| yaml::parse(yaml, split.front_skipped)) {
        Some(Ok(yaml::Node { value: Value::Map(entries), .. })) => {
            for entry in entries {
                let message = match markdown::mechanical(&entry.key) {
                    Some(_) => MECHANICAL_MESSAGE,
                    None => "has no effect: only tasq.md has settings",
                };
                let warning = Problem::new(file, message);
                findings.warnings.push(warning.at(Some(entry.line), entry.key));
            }
        }
        // Text between two rules is no front matter.
        _ => split = markdown::whole(&text),
    }
    let (text, dropped) = read(split.body, split.skipped_lines);
    warn_dropped(&dropped, file, findings);
    text
}

const MECHANICAL_MESSAGE: &str = "has no effect in a prompt file; set it in config.yaml";

fn warn_dropped(dropped: &[Dropped], file: &Path, findings: &mut Findings) {
    for (line, key) in dropped {
        let warning = Problem::new(file, MECHANICAL_MESSAGE);
        findings.warnings.push(warning.at(Some(*line), *key));
    }
}

struct FrontMatter {
    title: Option<String>,
    mode: Mode,
    backend: Option<config::BackendKind>,
    base_image: Option<PathBuf>,
    base_video: Option<PathBuf>,
    seed: Option<i64>,
    drift_preset: Option<String>,
    negative_prompt: Option<String>,
}

/// Reads the settings at the top of `tasq.md`, `skipped_lines` below its start.
fn front_matter(
    yaml: &str,
    skipped_lines: usize,
    file: &Path,
    worqspace: &Path,
    findings: &mut Findings,
) -> FrontMatter {
    // `${NAME}` means nothing here: prompts are archived and shown.
    let mut reader = Reader::new(file, None);
    let r = &mut reader;
    let mut tree = r.parse(yaml, skipped_lines);
    if let Value::Map(entries) = &mut tree.value {
        entries.retain(|entry| match markdown::mechanical(&entry.key) {
            Some(key) => {
                r.warn(Some(entry.line), key, MECHANICAL_MESSAGE);
                false
            }
            None => true,
        });
    }
    let mut s = r.root(&tree, false);
    let modes = choice(&[("text", Mode::Text), ("image", Mode::Image), ("video", Mode::Video)]);
    let path = || {
        let worqspace = worqspace.to_path_buf();
        text().map(move |t| worqspace.join(t))
    };
    let one_line = text().map(|t| t.split_whitespace().collect::<Vec<_>>().join(" "));
    let mut front = FrontMatter {
        title: s.opt(r, "title", text()),
        mode: s.get(r, "mode", "text", modes),
        backend: s.opt(r, "backend", backend()),
        base_image: None,
        base_video: s.opt(r, "base_video", path()),
        seed: s.opt(r, "seed", whole(i64::MIN..=i64::MAX)),
        drift_preset: s.opt(r, "drift_preset", text()),
        negative_prompt: s.opt(r, "negative_prompt", one_line),
    };
    let input_image = s.opt(r, "input_image", path());
    let base_image = s.opt(r, "base_image", path());
    s.close(r);

    if input_image.is_some() && base_image.is_some() && input_image != base_image {
        r.warn(r.line("base_image"), "base_image", "has no effect: input_image wins");
    }
    let key = if input_image.is_some() { "input_image" } else { "base_image" };
    match (front.mode, input_image.or(base_image)) {
        (Mode::Text, Some(_)) => {
            let message = "has no effect in mode text; write mode: image to start from it";
            r.warn(r.line(key), key, message);
        }
        (Mode::Image, Some(path)) => match readable_image(&path) {
            Ok(path) => front.base_image = Some(path),
            Err(message) => r.problem(r.line(key), key, message),
        },
        (Mode::Image, None) if r.all_right(&["input_image", "base_image"]) => {
            let message = "found image, but no input_image; name a picture, such as \
                           input_image: inputs/cover.png, or write mode: text";
            r.problem(r.line("mode"), "mode", message);
        }
        (Mode::Video, _) => {
            let message = "found video, allowed: text, image. A show starts from words or from a \
                           picture; every later cycle grows out of the clip before it anyway";
            r.problem(r.line("mode"), "mode", message);
        }
        _ => {}
    }
    if front.base_video.is_some() {
        r.warn(r.line("base_video"), "base_video", "is only kept for the archive");
    }
    findings.append(reader.finish().0);
    front
}

/// The absolute path of an image whose header can be read, or what is wrong with it.
fn readable_image(path: &Path) -> Result<PathBuf, String> {
    const ALLOWED: &str = "allowed: a PNG, JPEG or WebP file, named from the worqspace";
    let shown = path.display();
    if !path.is_file() {
        return Err(format!("found {shown}, but there is no such file; {ALLOWED}"));
    }
    let cannot_read = |e: &dyn std::fmt::Display| {
        format!("found {shown}, which is no readable image ({e}); {ALLOWED}")
    };
    image::ImageReader::open(path)
        .and_then(image::ImageReader::with_guessed_format)
        .map_err(|e| cannot_read(&e))?
        .into_dimensions()
        .map_err(|e| cannot_read(&e))?;
    std::path::absolute(path).map_err(|e| cannot_read(&e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tempfile::TempDir;

    /// A worqspace with these files.
    fn worqspace(files: &[(&str, &str)]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    fn load_all(files: &[(&str, &str)]) -> Result<(PromptBundle, Vec<String>), String> {
        let folder = worqspace(files);
        let (config, _, findings) = config::check(folder.path());
        assert!(findings.problems.len() <= 1, "at most config.yaml is missing: {findings}");
        load(folder.path(), &config)
            .map(|(bundle, warnings)| (bundle, warnings.iter().map(|w| w.to_string()).collect()))
            .map_err(|findings| findings.to_string())
    }

    fn tasq(text: &str) -> Result<(PromptBundle, Vec<String>), String> {
        load_all(&[("tasq.md", text)])
    }

    #[test]
    fn a_brief_with_everything() {
        let (bundle, warnings) = load_all(&[
            (
                "tasq.md",
                "\u{feff}---\r\ntitle: Tide\r\nmode: text\r\nbackend: comfyui\r\nseed: -7\r\n\
                 drift_preset: slow\r\nnegative_prompt: 'no\r\n\r\n faces'\r\n---\r\n# Tide\r\n\
                 Teal smoke,\r\nslow\r\n\r\n## Negative\r\ntext\r\n",
            ),
            ("style_hints.md", "# Ink\n- macro\n"),
            ("motion_prompt.md", "# Motion\nslow drift\n"),
        ])
        .unwrap();
        assert_eq!(warnings, [""; 0]);
        assert_eq!(
            bundle,
            PromptBundle {
                title: Some("Tide".into()),
                mode: Mode::Text,
                backend: Some(config::BackendKind::Comfyui),
                base_image: None,
                base_video: None,
                seed: Some(-7),
                drift_preset: Some("slow".into()),
                prompt: "Teal smoke, slow".into(),
                negative_prompt: "no faces".into(),
                negative_source: NegativeSource::FrontMatter,
                style_hints: "# Ink\n- macro".into(),
                motion_prompt: "slow drift".into(),
            }
        );
    }

    #[test]
    fn the_first_negative_prompt_wins() {
        let front = "---\nnegative_prompt: a\n---\n";
        let config = ("config.yaml", "prompt_drift: {negative_prompt: d}");
        let file = ("negative_prompt.md", "# Negative prompt\nb\n");
        let with = "x\n## Negative\nc\n";
        for (files, text, source) in [
            (vec![("tasq.md", format!("{front}{with}")), (file.0, file.1.into())], "a", {
                NegativeSource::FrontMatter
            }),
            (vec![("tasq.md", with.into()), (file.0, file.1.into())], "b", NegativeSource::File),
            (vec![("tasq.md", with.into()), (file.0, "\n".into())], "c", NegativeSource::Section),
            (vec![("tasq.md", "x".into())], "d", NegativeSource::Config),
        ] {
            let mut files: Vec<(&str, &str)> =
                files.iter().map(|(name, text): &(&str, String)| (*name, text.as_str())).collect();
            files.push(config);
            let (bundle, _) = load_all(&files).unwrap();
            assert_eq!((bundle.negative_prompt.as_str(), bundle.negative_source), (text, source));
        }
        assert_eq!(tasq("x").unwrap().0.negative_source, NegativeSource::None);
    }

    #[test]
    fn a_missing_or_empty_brief_says_what_to_do() {
        let said = load_all(&[]).unwrap_err();
        assert!(said.contains("tasq.md: there is no such file; make it, and write"), "{said}");
        for text in ["", "# Only a title\n", "---\ntitle: x\n---\n\n## Negative\nfaces\n"] {
            assert!(tasq(text).unwrap_err().contains("tasq.md: found no prompt"), "{text}");
        }
        let said = tasq("---\ntitle: x\nTeal smoke\n").unwrap_err();
        assert!(said.contains("tasq.md:1: the settings at the top have no end"), "{said}");
        let said = tasq(&"teal ".repeat(1 << 18)).unwrap_err();
        assert!(said.contains("allowed: at most 1024 KiB"), "{said}");
    }

    #[test]
    fn a_show_cannot_start_from_video() {
        let said = tasq("---\ntitle: x\nmode: video\n---\nx").unwrap_err();
        assert!(said.contains("tasq.md:3: mode: found video, allowed: text, image"), "{said}");
    }

    #[test]
    fn a_base_image_must_be_an_image() {
        let said = tasq("---\nmode: image\n---\nx").unwrap_err();
        assert!(said.contains("tasq.md:2: mode: found image, but no input_image"), "{said}");
        let text = "---\nmode: image\nbase_image: a.png\n---\nx";
        let said = tasq(text).unwrap_err();
        assert!(said.contains("tasq.md:3: base_image: found"), "{said}");
        assert!(said.contains("a.png, but there is no such file"), "{said}");
        let said = load_all(&[("tasq.md", text), ("a.png", "not a picture")]).unwrap_err();
        assert!(said.contains("which is no readable image"), "{said}");

        let folder = worqspace(&[("tasq.md", text), ("config.yaml", "")]);
        image::RgbImage::new(4, 2).save(folder.path().join("a.png")).unwrap();
        let bundle = open(folder.path()).unwrap().bundle;
        assert_eq!(bundle.mode, Mode::Image);
        let path = bundle.base_image.unwrap();
        assert!(path.is_absolute() && path.ends_with("a.png"), "{path:?}");
    }

    #[test]
    fn mechanical_keys_are_ignored_and_named() {
        let (bundle, warnings) = load_all(&[
            ("tasq.md", "---\nFPS: 30\nmode: text\n---\nink\nsteps: 40\n"),
            ("style_hints.md", "---\nwidth: 640\n---\nmacro\ncfg_scale = 7\n"),
        ])
        .unwrap();
        assert_eq!((bundle.prompt.as_str(), bundle.style_hints.as_str()), ("ink", "macro"));
        for (warning, says) in warnings.iter().zip([
            "style_hints.md:2: width: has no effect in a prompt file; set it in config.yaml",
            "style_hints.md:5: cfg_scale: has no effect",
            "tasq.md:6: steps: has no effect",
            "tasq.md:2: fps: has no effect",
        ]) {
            assert!(warning.contains(says), "{warning}");
        }
        assert_eq!(warnings.len(), 4);
    }

    #[test]
    fn the_reference_names_every_mechanical_setting() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
        let reference = std::fs::read_to_string(file).unwrap();
        for key in markdown::MECHANICAL {
            assert!(reference.contains(&format!("`{key}`")), "{key}");
        }
    }

    #[test]
    fn odd_settings_are_warned_about_and_wrong_ones_refused() {
        let (_, warnings) = tasq("---\ntitel: x\ninput_image: a.png\n---\nx").unwrap();
        assert!(
            warnings[0].contains("tasq.md:2: titel: unknown key, ignored; did you mean title?")
        );
        assert!(warnings[1].contains("tasq.md:3: input_image: has no effect in mode text"));
        let said = tasq("---\nmode: txt\nseed: x\nbackend: acme\n---\nx").unwrap_err();
        for says in [
            "tasq.md:2: mode: found \"txt\", allowed: text, image, video",
            "tasq.md:3: seed: found \"x\", allowed: a whole number",
            "tasq.md:4: backend: found \"acme\", allowed: mock, comfyui",
        ] {
            assert!(said.contains(says), "{said}");
        }
        let said = tasq("---\ntitle: [x\n---\nx").unwrap_err();
        assert!(said.contains("this is no readable YAML"), "{said}");
    }

    #[test]
    fn variables_mean_nothing_in_a_prompt_file() {
        let (bundle, _) = tasq("---\ntitle: ${HOME}\n---\n${HOME}").unwrap();
        assert_eq!((bundle.title.as_deref(), &*bundle.prompt), (Some("${HOME}"), "${HOME}"));
    }

    #[test]
    fn settings_and_prompts_are_checked_together() {
        let folder = worqspace(&[("config.yaml", "live: {fps: 0}"), ("tasq.md", "# x")]);
        let said = open(folder.path()).unwrap_err().to_string();
        assert!(said.contains("live.fps") && said.contains("found no prompt"), "{said}");
        let said = open(&folder.path().join("no")).unwrap_err().to_string();
        assert_eq!(said.lines().count(), 1, "{said}");
    }

    #[test]
    fn the_shipped_brief_is_flawless() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("worqspace");
        let opened = open(&folder).unwrap();
        assert_eq!(opened.warnings, []);
        let bundle = opened.bundle;
        assert_eq!((bundle.mode, bundle.negative_source), (Mode::Text, NegativeSource::File));
        assert!(bundle.prompt.starts_with("Slow swirling smoke"));
        assert!(!bundle.style_hints.is_empty() && !bundle.motion_prompt.is_empty());
    }

    proptest! {
        #[test]
        fn no_brief_panics(text in "(---\n)?[a-z:#`~\\-{}\\[\\]\n N]{0,80}(---\n)?(?s).{0,40}") {
            let _ = tasq(&text);
        }
    }
}
