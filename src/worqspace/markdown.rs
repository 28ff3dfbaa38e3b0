//! Takes a prompt out of a Markdown file: front matter, body, the `## Negative` section.
//!
//! Holds: nothing mechanical (`fps: 30`) gets into a prompt. No text makes this fail; what is odd
//! comes back as data for the one who reports it.

/// Settings that belong into `config.yaml`, in the order of the reference.
pub const MECHANICAL: &[&str] = &[
    "fps",
    "duration",
    "resolution",
    "width",
    "height",
    "video_frames",
    "clip_seconds",
    "steps",
    "cfg_scale",
    "sampler",
    "motion_bucket_id",
    "noise_aug_strength",
    "video_fps",
    "output_fps",
    "output_codec",
    "output_quality",
    "denoise_strength",
    "crossfade_frames",
];

/// The mechanical setting that a key means, however it is written: `Video FPS`, `video-fps`.
pub fn mechanical(key: &str) -> Option<&'static str> {
    let key = key.trim_matches(|c: char| c.is_whitespace() || "*_`'\"".contains(c));
    let key = key.to_ascii_lowercase().replace([' ', '-'], "_");
    MECHANICAL.iter().find(|m| **m == key).copied()
}

/// A file cut at its front matter.
#[derive(Debug, PartialEq)]
pub struct Split<'t> {
    pub front_matter: Option<&'t str>,
    /// Lines of the file before `front_matter`.
    pub front_skipped: usize,
    pub body: &'t str,
    /// Lines of the file before `body`.
    pub skipped_lines: usize,
}

/// The front matter is never closed.
#[derive(Debug, PartialEq)]
pub struct Unclosed;

/// Cuts off what stands between `---` lines at the very start; empty lines before are put up with.
pub fn split(text: &str) -> Result<Split<'_>, Unclosed> {
    let fence = |line: &str| line.trim_end() == "---";
    let mut at = 0;
    let mut start = None;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let next = at + line.len();
        match start {
            None if line.trim().is_empty() => {}
            None if fence(line) => start = Some((next, number + 1)),
            None => break,
            Some((start, front_skipped)) if fence(line) => {
                return Ok(Split {
                    front_matter: Some(&text[start..at]),
                    front_skipped,
                    body: &text[next..],
                    skipped_lines: number + 1,
                });
            }
            Some(_) => {}
        }
        at = next;
    }
    match start {
        Some(_) => Err(Unclosed),
        None => Ok(whole(text)),
    }
}

/// A text without front matter.
pub fn whole(text: &str) -> Split<'_> {
    Split { front_matter: None, front_skipped: 0, body: text, skipped_lines: 0 }
}

/// A mechanical setting that was left out, and its line in the file.
pub type Dropped = (usize, &'static str);

/// What a body says.
#[derive(Debug, Default, PartialEq)]
pub struct Body {
    /// In one line.
    pub prompt: String,
    /// Of the section `Negative`, in one line; empty if there is none.
    pub negative: String,
    pub dropped: Vec<Dropped>,
}

/// Reads a prompt: no headings, no code blocks, no mechanical settings; what stands below
/// `# Negative` or `## Negative`, up to the next heading as large, is apart.
pub fn body(text: &str, skipped_lines: usize) -> Body {
    let mut body = Body::default();
    // The level of the heading Negative while below it.
    let mut negative = None;
    let mut code: Option<&str> = None;
    for (i, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if let Some(fence) = code {
            // A code block ends with a fence at least as long, and nothing else in the line.
            let sign = &fence[..1];
            if trimmed.starts_with(fence) && trimmed.trim_start_matches(sign).is_empty() {
                code = None;
            }
        } else if let Some(fence) = fence(trimmed) {
            code = Some(fence);
        } else if let Some((level, title)) = heading(line) {
            let name = title.trim_end_matches(['#', ':', ' ']).to_ascii_lowercase();
            if level <= 2 && (name == "negative" || name == "negative prompt") {
                negative = Some(level);
            } else if negative.is_some_and(|n| level <= n) {
                negative = None;
            }
        } else if let Some(key) = setting(trimmed) {
            body.dropped.push((skipped_lines + i + 1, key));
        } else if !rule(trimmed) {
            let target = if negative.is_some() { &mut body.negative } else { &mut body.prompt };
            for word in trimmed.split_whitespace() {
                if !target.is_empty() {
                    target.push(' ');
                }
                target.push_str(word);
            }
        }
    }
    body
}

/// Reads hints: the text as it stands, but for mechanical settings.
pub fn hints(text: &str, skipped_lines: usize) -> (String, Vec<Dropped>) {
    let mut kept = Vec::new();
    let mut dropped = Vec::new();
    for (i, line) in text.lines().enumerate() {
        match setting(line.trim()) {
            Some(key) => dropped.push((skipped_lines + i + 1, key)),
            None => kept.push(line.trim_end()),
        }
    }
    (kept.join("\n").trim().to_owned(), dropped)
}

/// Level and title of a heading. `#teal` is none, but for `##Negative`, which is never a prompt.
fn heading(line: &str) -> Option<(usize, &str)> {
    let indented = line.len() - line.trim_start_matches(' ').len() > 3;
    let line = line.trim();
    let level = line.len() - line.trim_start_matches('#').len();
    let title = &line[level..];
    let spaced = title.is_empty() || title.starts_with([' ', '\t']);
    let negative = title.to_ascii_lowercase().starts_with("negative");
    let title = title.trim();
    ((1..=6).contains(&level) && !indented && (spaced || negative)).then_some((level, title))
}

/// The signs that open a code block.
fn fence(line: &str) -> Option<&str> {
    let sign = line.chars().next().filter(|c| "`~".contains(*c))?;
    let length = line.len() - line.trim_start_matches(sign).len();
    let info = &line[length..];
    // ```like this``` is code within a line, not a block.
    (length >= 3 && !(sign == '`' && info.contains('`'))).then(|| &line[..length])
}

/// A line that draws a line, or underlines a heading.
fn rule(line: &str) -> bool {
    let signs: Vec<char> = line.chars().filter(|c| !c.is_whitespace()).collect();
    signs.len() >= 3 && "-*_=".contains(signs[0]) && signs.iter().all(|c| *c == signs[0])
}

/// The mechanical setting that a line makes: `fps: 30`, `- **Steps** = 40`. "Duration: endless
/// falling light" is a sentence, and none.
fn setting(line: &str) -> Option<&'static str> {
    let line = line.trim_start_matches(['-', '*', '+', '>', ' ', '\t']);
    let (key, value) = line.split_once([':', '='])?;
    let key = mechanical(key)?;
    let value = value.trim_start_matches(|c: char| c.is_whitespace() || "*_`'\"-+.".contains(c));
    let number = value.starts_with(|c: char| c.is_ascii_digit());
    (number || value.split_whitespace().count() <= 2).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn front_matter_is_cut_off() {
        let split = split("\n---\r\ntitle: x\r\n---\r\nbody\n---\nmore").unwrap();
        assert_eq!(split.front_matter, Some("title: x\r\n"));
        assert_eq!((split.body, split.skipped_lines), ("body\n---\nmore", 4));
        assert_eq!(split.front_skipped, 2);
    }

    #[test]
    fn front_matter_may_be_missing_but_not_open() {
        for text in ["", "body\n---\nmore\n---\n", "----\n", "# title\n"] {
            assert_eq!(split(text).unwrap().front_matter, None, "{text}");
        }
        assert_eq!(split("---\ntitle: x\n"), Err(Unclosed));
        assert_eq!(split("---\n---").unwrap().front_matter, Some(""));
    }

    #[test]
    fn the_prompt_is_the_text_without_headings_code_and_negative() {
        let text = "# Title\nTeal smoke,\n  slow #drift\n\n```yaml\nfps: 30\n# no\n```\n\
                    ## Negative\ntext,\n### faces\nlogos\n## Mood ##\nDeep\n~~~~\n~~~\nx\n~~~~\nblue\n---\n";
        let body = body(text, 0);
        assert_eq!(body.prompt, "Teal smoke, slow #drift Deep blue");
        assert_eq!(body.negative, "text, logos");
        assert_eq!(body.dropped, []);
    }

    #[test]
    fn the_negative_section_has_level_one_or_two() {
        for title in
            ["# Negative", "## negative", "## Negative prompt:", "##Negative", "## NEGATIVE ##"]
        {
            assert_eq!(body(&format!("a\n{title}\nb\n"), 0).negative, "b", "{title}");
        }
        for title in ["### Negative", "## Negative space", "Negative"] {
            assert_eq!(body(&format!("a\n{title}\nb\n"), 0).negative, "", "{title}");
        }
    }

    #[test]
    fn an_open_code_block_lasts_to_the_end() {
        assert_eq!(body("a\n```\nb\n", 0).prompt, "a");
        assert_eq!(body("a\n```b``` c\n", 0).prompt, "a ```b``` c");
    }

    #[test]
    fn mechanical_lines_are_left_out_and_named() {
        let text = "ink\nfps: 30\n- **Steps** = 40, please\n> Video FPS: `8`\n\
                    Duration: one long falling light\nresolution: 1920x1080\n";
        let body = body(text, 10);
        assert_eq!(body.prompt, "ink Duration: one long falling light");
        let dropped = [(12, "fps"), (13, "steps"), (14, "video_fps"), (16, "resolution")];
        assert_eq!(body.dropped, dropped);
        assert_eq!(hints(text, 10).1, dropped);
    }

    #[test]
    fn hints_keep_their_form() {
        assert_eq!(
            hints("\r\n# Style\r\n\r\n- ink  \r\n- oil\r\n", 0).0,
            "# Style\n\n- ink\n- oil"
        );
    }

    /// Any spelling of a mechanical setting with a number.
    fn mechanical_line() -> impl Strategy<Value = String> {
        let key = prop::sample::select(MECHANICAL);
        let parts =
            ("[-*+> ]{0,3}", "[*_`]{0,2}", any::<bool>(), "[:=] {0,2}", 0.0..1e4, "[ a-z]{0,9}");
        (key, parts).prop_map(|(key, (bullet, mark, upper, sign, number, unit))| {
            let key = if upper { key.to_uppercase().replace('_', " ") } else { key.to_owned() };
            format!("{bullet}{mark}{key}{mark}{sign}{number:.1}{unit}")
        })
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(?s).{0,200}") {
            if let Ok(split) = split(&text) {
                body(split.body, split.skipped_lines);
                hints(split.body, split.skipped_lines);
            }
        }

        #[test]
        fn no_markdown_panics(text in "[#`~\\-*: =a-zN\n\r\t>é]{0,120}") {
            if let Ok(split) = split(&text) {
                body(split.body, split.skipped_lines);
            }
        }

        #[test]
        fn nothing_mechanical_gets_into_a_prompt(
            lines in prop::collection::vec(prop_oneof![
                mechanical_line(),
                "(smoke|silk|## Negative|# Mood|- ink|\\*\\*teal\\*\\*|)",
            ], 0..12),
        ) {
            let text = lines.join("\n");
            let body = body(&text, 0);
            let (hints, _) = hints(&text, 0);
            for said in [&body.prompt, &body.negative, &hints] {
                prop_assert!(!said.contains(|c: char| c.is_ascii_digit()), "{} from {}", said, text);
            }
        }
    }
}
