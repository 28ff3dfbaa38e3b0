//! `docs/parameters.md`, made from the registry.

use std::fmt::Write;

use super::registry::{Applies, Curve, Kind, Param, REGISTRY};

/// What a group is about, in the order in which they are listed.
const GROUPS: &[(&str, &str, &str)] = &[
    ("fx", "Effects", "What is done to the picture."),
    ("playback", "Playback", "What is on air, and how it moves."),
    ("prompt", "Prompts", "What the generator is to make."),
    ("gen", "Generation", "How it makes it. At the start these are as config.yaml says."),
    ("overlay", "Overlays", "What is laid over the picture."),
    ("sound", "Sound", "The sound of the show."),
    ("tempo", "Tempo", "Where the beat is."),
    ("quantise", "On the beat", "What waits for the beat."),
    ("listen", "Listening", "What is heard in the sound."),
    ("mod", "Modulators", "What moves a parameter by itself. There are eight of them, all alike."),
    ("preset", "Presets", "Many parameters at once."),
    ("show", "Show", "The show itself."),
    ("record", "Recording", "The recording."),
];

/// The page, whole.
pub fn markdown() -> String {
    let mut page = String::from(
        "# Parameters\n\n\
         Everything that can be steered. One table in the program (`src/param/registry.rs`) is where\n\
         OSC, MIDI, HTTP, the page, presets and this reference come from, so they all agree.\n\n\
         An address is used as it stands in HTTP (`PUT /api/v1/params/fx/zoom`), in presets and in\n\
         controller maps, and with `/vfaq` before it in OSC (`/vfaq/fx/zoom`). *Applies* says when a\n\
         change is seen: **now**, in the next rendered frame; **cycle**, in the next generated cycle;\n\
         **show**, at once, beside the picture. A value out of range is refused, never clipped.\n",
    );
    for (group, title, about) in GROUPS {
        let _ = write!(
            page,
            "\n## {title}\n\n{about}\n\n| address | what | range | default | applies | |\n\
             |---|---|---|---|---|---|\n"
        );
        for param in REGISTRY.iter().filter(|p| p.group() == *group) {
            page.push_str(&row(param));
        }
    }
    page
}

fn row(param: &Param) -> String {
    let unit = match param.unit {
        "" => String::new(),
        unit => format!(" {unit}"),
    };
    let log = if param.curve == Curve::Log { ", log" } else { "" };
    let (range, default) = match param.kind {
        Kind::Float { min, max } => {
            (format!("{min} to {max}{unit}{log}"), param.default.to_string())
        }
        Kind::Int { min, max } => {
            (format!("{min} to {max}{unit}, whole"), param.default.to_string())
        }
        Kind::Bool => ("off, on".into(), if param.default > 0.5 { "on" } else { "off" }.into()),
        Kind::Enum(choices) => {
            let names: Vec<_> = choices.iter().map(|choice| format!("`{choice}`")).collect();
            (names.join(", "), format!("`{}`", choices[param.default as usize]))
        }
        Kind::Text { most } => (format!("text, {most} characters"), String::new()),
        Kind::Trigger => ("trigger".into(), String::new()),
    };
    let applies = match param.applies {
        Applies::Now => "now",
        Applies::Cycle => "cycle",
        Applies::Show => "show",
    };
    let follows = match param.fades_over {
        Some(seconds) => format!("moves within `{}`", super::of(seconds).address),
        None if param.smoothing_ms > 0.0 => format!("smoothed, {} ms", param.smoothing_ms),
        None => String::new(),
    };
    let (address, label, help) = (param.address, param.label, param.help);
    format!("| `{address}` | **{label}.** {help} | {range} | {default} | {applies} | {follows} |\n")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// `VFAQ_UPDATE_DOCS=1` writes the page anew.
    #[test]
    fn the_page_in_the_docs_is_this_one() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/parameters.md");
        if std::env::var_os("VFAQ_UPDATE_DOCS").is_some() {
            std::fs::write(&file, markdown()).unwrap();
        }
        let there = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            there == markdown(),
            "docs/parameters.md is another; run this test with VFAQ_UPDATE_DOCS=1"
        );
    }

    #[test]
    fn every_parameter_is_in_a_group() {
        for param in REGISTRY {
            let known = GROUPS.iter().any(|(group, ..)| *group == param.group());
            assert!(known, "{}", param.address);
        }
    }
}
