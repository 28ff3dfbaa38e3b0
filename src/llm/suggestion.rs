//! What a language model suggests, read from whatever it wrote.
//!
//! Holds: every text is in one line, within its limit, without HTML and control characters.

use serde_json::{Map, Value};

use crate::base::error::{Error, Result};
use crate::web::words;

/// One step of the prompt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suggestion {
    /// The small change, as a phrase.
    pub prompt_delta: String,
    /// Takes the place of the brief's own words.
    pub prompt: Option<String>,
    /// Takes the place of the video prompt.
    pub video_prompt: Option<String>,
    pub negative_prompt: Option<String>,
    /// Why, for people.
    pub evolution_suggestion: Option<String>,
}

/// A field of an answer.
pub(super) struct Field {
    pub name: &'static str,
    pub required: bool,
    /// The most characters it may have.
    pub limit: usize,
    about: &'static str,
}

impl Field {
    pub(super) fn described(&self) -> String {
        format!("{}; at most {} characters", self.about, self.limit)
    }
}

const DELTA: Field = Field {
    name: "prompt_delta",
    required: true,
    limit: 120,
    about: "one small visible change, as a short phrase",
};
const PROMPT: Field = Field {
    name: "prompt",
    required: false,
    limit: 1500,
    about: "the brief's words rewritten, without the changes, or null",
};
const VIDEO: Field = Field {
    name: "video_prompt",
    required: false,
    limit: 1500,
    about: "the whole prompt for the moving picture, or null",
};
const NEGATIVE: Field = Field {
    name: "negative_prompt",
    required: false,
    limit: 600,
    about: "what must not be seen, or null",
};
const WHY: Field = Field {
    name: "evolution_suggestion",
    required: false,
    limit: 300,
    about: "why, in one short line, or null",
};
pub(super) const FIELDS: &[Field] = &[DELTA, PROMPT, VIDEO, NEGATIVE, WHY];

impl Suggestion {
    /// Reads what a model wrote: JSON, also between code fences, behind its thoughts or in a
    /// sentence. Unknown fields are ignored.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim().trim_start_matches('\u{feff}').trim_start();
        let text = text.split_once("</think>").map_or(text, |(_, behind)| behind.trim_start());
        if text.is_empty() {
            return Err(bad("nothing was written"));
        }
        if text.starts_with('<') {
            return Err(bad("a web page or markup was written in place of JSON"));
        }
        let braces = text.find('{').zip(text.rfind('}')).filter(|(begin, end)| begin < end);
        let Some((begin, end)) = braces else {
            let said = words(text.as_bytes());
            return Err(bad(&format!("words were written in place of JSON ({said})")));
        };
        let object: Map<String, Value> = serde_json::from_str(&text[begin..=end]).map_err(|e| {
            bad(&format!("what was written is no JSON object ({})", words(text.as_bytes())))
                .with_source(e)
        })?;
        let Some(prompt_delta) = read(&object, &DELTA)? else {
            return Err(bad("prompt_delta is missing or empty"));
        };
        Ok(Suggestion {
            prompt_delta,
            prompt: read(&object, &PROMPT)?,
            video_prompt: read(&object, &VIDEO)?,
            negative_prompt: read(&object, &NEGATIVE)?,
            evolution_suggestion: read(&object, &WHY)?,
        })
    }
}

/// `None`: missing, null or empty.
fn read(object: &Map<String, Value>, field: &Field) -> Result<Option<String>> {
    let Field { name, limit, .. } = field;
    let text = match object.get(*name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text,
        Some(other) => {
            let kind = match other {
                Value::Bool(_) => "true or false",
                Value::Number(_) => "a number",
                Value::Array(_) => "a list",
                _ => "an object",
            };
            return Err(bad(&format!("{name} is {kind}, not a text")));
        }
    };
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line: String = line.chars().filter(|c| !c.is_control()).collect();
    let line = line.trim();
    if has_markup(line) {
        return Err(bad(&format!("{name} has HTML in it ({})", words(line.as_bytes()))));
    }
    let found = line.chars().count();
    if found > *limit {
        return Err(bad(&format!("{name} has {found} characters, more than {limit}")));
    }
    Ok((!line.is_empty()).then(|| line.to_owned()))
}

/// Whether there is a tag or a comment in it.
fn has_markup(text: &str) -> bool {
    text.split('<').skip(1).any(|behind| {
        behind.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '!' | '?'))
            && behind.contains('>')
    })
}

fn bad(what: &str) -> Error {
    Error::unavailable(format!("the language model's answer cannot be used: {what}"))
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn delta(text: &str) -> String {
        Suggestion::parse(text).unwrap().prompt_delta
    }

    fn fault(text: &str) -> String {
        Suggestion::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn an_answer_is_read_whatever_stands_around_it() {
        let json =
            r#"{"prompt_delta": " thin\n  rain. ", "prompt": "", "video_prompt": null, "x": [1]}"#;
        for text in [
            json.to_owned(),
            format!("```json\n{json}\n```"),
            format!("```\n{json}```\n"),
            format!("\u{feff}<think>{{hm}} <b></think>\n\n{json}"),
            format!("Here it is:\n\n{json}\nEnjoy!"),
        ] {
            let read = Suggestion::parse(&text).unwrap();
            let expected = Suggestion { prompt_delta: "thin rain.".into(), ..Default::default() };
            assert_eq!(read, expected, "{text}");
        }
        let whole = r#"{"prompt_delta":"a < b","prompt":"p","video_prompt":"v",
            "negative_prompt":"n","evolution_suggestion":"why"}"#;
        let read = Suggestion::parse(whole).unwrap();
        let texts = [&read.prompt, &read.video_prompt, &read.negative_prompt];
        assert_eq!(texts.map(|t| t.as_deref().unwrap()), ["p", "v", "n"]);
        assert_eq!(read.evolution_suggestion.as_deref(), Some("why"));
        assert_eq!(delta(&format!(r#"{{"prompt_delta":"{}"}}"#, "é".repeat(120))).len(), 240);
    }

    #[test]
    fn what_cannot_be_used_is_told() {
        let long = format!(r#"{{"prompt_delta":"{}"}}"#, "x".repeat(121));
        for (text, part) in [
            ("  ", "nothing was written"),
            ("<html><body>502</body></html>", "a web page"),
            ("I am sorry, I cannot help with that.", "I am sorry"),
            ("{oh}", "no JSON object"),
            ("[1, 2]", "words were written"),
            ("{}", "prompt_delta is missing"),
            (r#"{"prompt_delta": "  "}"#, "prompt_delta is missing or empty"),
            (r#"{"prompt_delta": 7}"#, "prompt_delta is a number"),
            (r#"{"prompt_delta": ["a"]}"#, "prompt_delta is a list"),
            (r#"{"prompt_delta": "a", "prompt": {}}"#, "prompt is an object"),
            (r#"{"prompt_delta": "<b>fog</b>"}"#, "prompt_delta has HTML"),
            (&long, "121 characters, more than 120"),
        ] {
            let message = fault(text);
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    /// What answers of the providers are wrapped in.
    const ENVELOPE: &[&str] = &[
        "choices",
        "message",
        "content",
        "refusal",
        "finish_reason",
        "candidates",
        "parts",
        "text",
        "thought",
        "finishReason",
        "promptFeedback",
        "error",
    ];

    pub fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,200}".prop_map(Value::from),
        ];
        let key = prop_oneof![
            prop::sample::select(FIELDS.iter().map(|f| f.name.to_owned()).collect::<Vec<_>>()),
            prop::sample::select(ENVELOPE).prop_map(str::to_owned),
            ".{0,8}",
        ];
        leaf.prop_recursive(3, 24, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((key.clone(), inner), 0..6)
                    .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn any_json_is_a_sound_suggestion_or_an_error(value in any_json()) {
            if let Ok(read) = Suggestion::parse(&value.to_string()) {
                let delta = &read.prompt_delta;
                prop_assert!(!delta.is_empty() && delta.chars().count() <= DELTA.limit);
                prop_assert!(!delta.chars().any(char::is_control));
                prop_assert!(read.prompt.is_none_or(|p| p.chars().count() <= PROMPT.limit));
            }
        }

        #[test]
        fn any_text_too(text in ".{0,300}") {
            let _ = Suggestion::parse(&text);
        }
    }
}
