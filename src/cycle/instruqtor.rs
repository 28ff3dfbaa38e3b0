//! The InstruQtor: from the performer's brief and the cycle before to the next briq.
//!
//! Holds: for equal input the briq is equal, but for its id. The prompt is the brief's own words,
//! always whole (or as a language model rewrote them for this cycle), and at most three small
//! changes behind them, so it never grows without bound.

use std::time::SystemTime;

use super::briq::join;
use super::{Briq, Guidance, Previous, Settings, Spec};
use crate::archive::random_hex;
use crate::base::clock::iso8601;
use crate::llm::Suggestion;
use crate::media::CycleId;
use crate::worqspace::{Mode, NegativeSource, PromptBundle};

/// Changes that a prompt bears at once: with the built-in rotation one colour, one mood and one
/// effect, of which each cycle replaces the oldest.
const WINDOW: usize = 3;

/// Characters of one change; suggestions also come from older archives, where they may be long.
const CHANGE_CHARS: usize = 120;

const COLOURS: &[&str] = &[
    "deep indigo and violet light",
    "teal and turquoise glow",
    "molten amber and gold",
    "crimson and magenta haze",
    "emerald green shimmer",
    "silver and midnight blue",
    "rose and coral dawn",
    "electric cyan accents",
    "burnt orange embers",
    "lavender and pearl mist",
    "black and white with one red accent",
];

const MOODS: &[&str] = &[
    "calm and dreamy mood",
    "mysterious and dark mood",
    "euphoric and bright mood",
    "hypnotic and trance-like mood",
    "tender and warm mood",
    "cold and vast mood",
    "wild and energetic mood",
    "solemn and cosmic mood",
];

const EFFECTS: &[&str] = &[
    "slowly flowing liquid forms",
    "swirling smoke",
    "pulsing waves of light",
    "drifting particles and sparks",
    "soft glowing nebula clouds",
    "rippling water reflections",
    "crystal facets turning",
    "fine woven threads of light",
    "spiralling vortex",
    "aurora curtains",
    "fractured mirror geometry",
    "rising bubbles and foam",
    "rolling fog",
];

/// What a briq is written from.
pub struct Instruction<'a> {
    pub cycle: CycleId,
    pub bundle: &'a PromptBundle,
    pub settings: &'a Settings<'a>,
    pub base_seed: i64,
    /// What performers ask of it beside bundle and settings.
    pub asked: Option<&'a Guidance>,
    /// `None`: the cycle begins from the brief.
    pub previous: Option<&'a Previous>,
    /// What a language model wrote for this cycle; without one the prompt evolves by itself.
    pub suggestion: Option<&'a Suggestion>,
    pub now: SystemTime,
}

/// `briq_NNNN_` and 8 hexadecimal digits.
pub(super) fn new_id(cycle: CycleId) -> String {
    format!("briq_{cycle}_{}", random_hex(8))
}

/// Writes the briq of a cycle.
pub fn instruct(instruction: &Instruction<'_>) -> Briq {
    let Instruction { cycle, bundle, settings, base_seed, asked, previous, suggestion, now } =
        *instruction;
    // Else the prompt is made as the performer wrote it; what changed before waits.
    let evolves = asked.is_none_or(|asked| asked.evolves);
    let added = asked.map_or("", |asked| &asked.added);
    let generation = settings.generation;
    // A show begins with the brief as it is.
    let suggestion = suggestion.filter(|_| evolves && previous.is_some());
    let evolution = previous.map_or_else(Vec::new, |previous| match evolves {
        true => evolve(previous, suggestion.map(|suggestion| &*suggestion.prompt_delta), cycle),
        false => previous.briq.as_ref().map_or_else(Vec::new, |briq| briq.evolution.clone()),
    });
    let rewritten = suggestion.and_then(|suggestion| suggestion.prompt.as_deref());
    let words =
        rewritten.unwrap_or(&bundle.prompt).split_whitespace().collect::<Vec<_>>().join(" ");
    let changes = if evolves { &*evolution } else { &[] };
    let lead = [words.as_str(), added];
    let prompt = join(lead.into_iter().chain(changes.iter().map(String::as_str)));
    let (mode, base_image) = match (previous, bundle.mode) {
        (Some(_), _) => ("video", None),
        (None, Mode::Image) => ("image", bundle.base_image.as_ref()),
        // Mode `video` has nothing to go on from in a first cycle.
        (None, Mode::Text | Mode::Video) => ("text", None),
    };
    let mut briq = Briq {
        briq_id: new_id(cycle),
        cycle_index: cycle.0,
        created_at: iso8601(now),
        mode: mode.into(),
        prompt,
        negative_prompt: negative(bundle, suggestion).to_owned(),
        style_tags: phrases(&bundle.style_hints),
        quality_tags: settings.quality_tags.to_vec(),
        style_hints: bundle.style_hints.clone(),
        motion_prompt: bundle.motion_prompt.clone(),
        motion_hint: join(phrases(&bundle.motion_prompt)),
        seed: asked.map_or_else(
            || {
                let steps = i64::from(cycle.0).wrapping_mul(settings.chaining.seed_step);
                base_seed.wrapping_add(steps)
            },
            |asked| asked.seed,
        ),
        steered: asked.and_then(|asked| asked.record.clone()),
        base_image_path: base_image.map(|path| path.display().to_string()),
        spec: Spec {
            width: generation.width,
            height: generation.height,
            cfg_scale: generation.cfg_scale,
            steps: generation.steps,
            sampler: generation.sampler.clone(),
            video_frames: generation.video_frames,
            video_fps: generation.video_fps.as_f64(),
            clip_seconds: generation.clip_seconds,
            motion_bucket_id: generation.motion_bucket_id,
            noise_aug_strength: generation.noise_aug_strength,
            denoise_strength: settings.chaining.denoise_strength,
            ..Default::default()
        },
        evolution,
        evolution_suggestion: suggestion
            .map(|new| new.evolution_suggestion.as_ref().unwrap_or(&new.prompt_delta).clone()),
        ..Default::default()
    };
    briq.video_prompt = suggestion
        .and_then(|suggestion| suggestion.video_prompt.clone())
        .unwrap_or_else(|| join([&briq.full_prompt(), &briq.motion_hint]));
    briq
}

/// A negative prompt that the performer wrote is not to be replaced.
fn negative<'a>(bundle: &'a PromptBundle, suggestion: Option<&'a Suggestion>) -> &'a str {
    let suggested = suggestion.and_then(|suggestion| suggestion.negative_prompt.as_deref());
    match bundle.negative_source {
        NegativeSource::Config | NegativeSource::None => {
            suggested.unwrap_or(&bundle.negative_prompt)
        }
        NegativeSource::FrontMatter | NegativeSource::File | NegativeSource::Section => {
            &bundle.negative_prompt
        }
    }
}

/// The change that belongs to a cycle: colour, mood and effect in turn, each list in a circle.
/// Their lengths have no common divisor, so the same picture of three comes back only after 1144
/// times three cycles.
pub fn suggestion(cycle: CycleId) -> &'static str {
    let index = cycle.0 as usize;
    let list = [COLOURS, MOODS, EFFECTS][index % 3];
    list[index / 3 % list.len()]
}

/// The changes before, and the one that the language model wrote; without one, the InspeQtor's;
/// without that, the rotation's.
fn evolve(previous: &Previous, written: Option<&str>, cycle: CycleId) -> Vec<String> {
    let briq = previous.briq.as_ref();
    let inspected = briq.and_then(|briq| briq.suggested_prompt_delta.as_deref());
    let suggested = [written, inspected]
        .into_iter()
        .flatten()
        .find(|delta| !delta.trim().is_empty())
        .unwrap_or_else(|| suggestion(cycle));
    let change = suggested.split_whitespace().collect::<Vec<_>>().join(" ");
    let change: String = change.chars().take(CHANGE_CHARS).collect();
    let mut changes = briq.map_or_else(Vec::new, |briq| briq.evolution.clone());
    changes.retain(|old| *old != change);
    changes.push(change);
    changes.drain(..changes.len().saturating_sub(WINDOW));
    changes
}

/// The phrases of a Markdown text: what stands between commas and line ends, without headings,
/// code blocks and bullets; each once.
fn phrases(text: &str) -> Vec<String> {
    let mut phrases: Vec<String> = Vec::new();
    let mut in_code = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with("```") {
            in_code = !in_code;
            continue;
        }
        if in_code || line.starts_with('#') || line.starts_with("<!--") {
            continue;
        }
        let line = line.trim_start_matches(['-', '*', '+', '>', ' ']);
        for phrase in line.split(',') {
            let phrase = phrase.trim().trim_end_matches(['.', ';']).trim_end();
            if !phrase.is_empty() && !phrases.iter().any(|p| p.eq_ignore_ascii_case(phrase)) {
                phrases.push(phrase.to_owned());
            }
        }
    }
    phrases
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cycle::tests::{bundle, previous, with_settings};

    fn chain(cycles: u32, tweak: impl Fn(&mut Briq)) -> Vec<Briq> {
        let mut briqs: Vec<Briq> = Vec::new();
        with_settings(|settings| {
            for n in 0..cycles {
                let before = briqs.last().cloned().map(previous);
                let mut briq = instruct(&Instruction {
                    cycle: CycleId(n),
                    bundle: &bundle(),
                    settings,
                    base_seed: 1000,
                    asked: None,
                    previous: before.as_ref(),
                    suggestion: None,
                    now: SystemTime::UNIX_EPOCH,
                });
                tweak(&mut briq);
                briqs.push(briq);
            }
        });
        briqs
    }

    #[test]
    fn cycle_zero_is_the_brief_alone() {
        let briq = &chain(1, |_| {})[0];
        assert!(briq.briq_id.starts_with("briq_0000_") && briq.briq_id.len() == 18);
        assert_eq!((briq.mode.as_str(), briq.seed), ("text", 1000));
        assert_eq!(briq.full_prompt(), "masterpiece, a glass forest, grainy film, soft light");
        assert_eq!(
            briq.video_prompt,
            "masterpiece, a glass forest, grainy film, soft light, slow dolly forward"
        );
        assert_eq!(briq.negative_prompt, "text, watermark");
    }

    #[test]
    fn each_cycle_makes_one_small_change_and_the_prompt_stays_short() {
        let briqs = chain(200, |_| {});
        for pair in briqs.windows(2) {
            let [a, b] = pair else { unreachable!() };
            assert!(b.prompt.starts_with("a glass forest, "));
            let new: Vec<_> = b.evolution.iter().filter(|e| !a.evolution.contains(e)).collect();
            assert_eq!(new.len(), 1, "{:?} -> {:?}", a.evolution, b.evolution);
            assert!(b.evolution.len() <= WINDOW && b.prompt.len() < 160);
            assert_eq!(b.seed - a.seed, 2);
            assert_eq!(b.mode, "video");
        }
        assert_eq!(chain(200, |_| {}).last().unwrap().prompt, briqs.last().unwrap().prompt);
    }

    fn with_suggestion(source: NegativeSource, before: Option<&Previous>) -> Briq {
        let suggestion = Suggestion {
            prompt_delta: "thin rain".into(),
            prompt: Some("a glass desert".into()),
            video_prompt: Some("dunes of glass, drifting".into()),
            negative_prompt: Some("people".into()),
            evolution_suggestion: Some("to dry out".into()),
        };
        let bundle = PromptBundle { negative_source: source, ..bundle() };
        let mut briq = None;
        with_settings(|settings| {
            briq = Some(instruct(&Instruction {
                cycle: CycleId(1),
                bundle: &bundle,
                settings,
                base_seed: 1000,
                asked: None,
                previous: before,
                suggestion: Some(&suggestion),
                now: SystemTime::UNIX_EPOCH,
            }));
        });
        briq.unwrap()
    }

    #[test]
    fn what_a_language_model_wrote_wins_but_for_the_performers_negative_prompt() {
        let mut first = chain(1, |_| {}).remove(0);
        first.suggested_prompt_delta = Some("smoke".into());
        let before = previous(first);
        let briq = with_suggestion(NegativeSource::Config, Some(&before));
        assert_eq!(briq.prompt, "a glass desert, thin rain");
        assert_eq!(briq.evolution, ["thin rain"]);
        assert_eq!(briq.video_prompt, "dunes of glass, drifting");
        assert_eq!(briq.evolution_suggestion.as_deref(), Some("to dry out"));
        // The next cycle is not to make the same change again.
        assert_eq!(briq.suggested_prompt_delta, None);
        for (source, negative) in [
            (NegativeSource::Config, "people"),
            (NegativeSource::None, "people"),
            (NegativeSource::FrontMatter, "text, watermark"),
            (NegativeSource::File, "text, watermark"),
            (NegativeSource::Section, "text, watermark"),
        ] {
            assert_eq!(with_suggestion(source, Some(&before)).negative_prompt, negative);
        }
        let begin = with_suggestion(NegativeSource::None, None);
        assert_eq!(
            (&*begin.prompt, &*begin.negative_prompt),
            ("a glass forest", "text, watermark")
        );
    }

    #[test]
    fn hints_become_phrases() {
        let text = "# Style\n\n- grainy film, Soft light\n* soft light\n\n```\ncode\n```\nslow.\n";
        assert_eq!(phrases(text), ["grainy film", "Soft light", "slow"]);
        assert!(phrases("").is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Whatever an archive or a language model suggests.
        #[test]
        fn evolution_is_bounded(suggested in ".{0,400}", cycles in 1..30u32) {
            let briqs = chain(cycles, |briq| {
                briq.suggested_prompt_delta = Some(format!("{} {suggested}", briq.cycle_index));
            });
            for briq in briqs {
                prop_assert!(briq.evolution.len() <= WINDOW);
                prop_assert!(briq.prompt.chars().count() <= 14 + WINDOW * (CHANGE_CHARS + 2));
            }
        }
    }
}
