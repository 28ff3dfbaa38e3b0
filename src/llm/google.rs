//! Google's `generateContent`.
//!
//! Holds: the key goes in a header, never into an address.

use async_trait::async_trait;
use reqwest::Method;
use serde_json::{Value, json};

use super::ask::{INSTRUCTIONS, google_schema};
use super::key::{Env, key};
use super::{ANSWER_LIMIT, Ask, Suggestion, WHAT, Writer, refused, reported, silence, unusable};
use crate::base::error::{Error, Result};
use crate::config::Llm;
use crate::web::{Options, Web, words};

const API: &str = "https://generativelanguage.googleapis.com/v1beta";
const MODEL: &str = "gemini-flash-latest";

pub struct Google {
    web: Web,
    path: String,
    name: String,
}

impl Google {
    pub fn new(llm: &Llm, env: Env<'_>) -> Result<Self> {
        let key = key(llm, "GEMINI_API_KEY", env)?;
        let headers = key.map(|key| ("x-goog-api-key".to_owned(), key)).into_iter().collect();
        let options = Options { headers, ..Options::default() };
        let base = llm.api_url.as_deref().unwrap_or(API);
        let web = Web::patient(base, "llm.api_url", &options, silence(llm))?;
        let model = llm.model.as_deref().unwrap_or(MODEL);
        let model = model.strip_prefix("models/").unwrap_or(model);
        // It becomes a part of the address.
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if model.is_empty() || !model.chars().all(allowed) || model.starts_with('.') {
            return Err(Error::usage(format!(
                "llm.model: {model:?} is no name of a model such as {MODEL}"
            )));
        }
        let path = format!("models/{model}:generateContent");
        Ok(Google { web, path, name: format!("google {model}") })
    }

    /// What the model wrote, without its thoughts.
    pub(super) fn text(&self, answer: &Value) -> Result<String> {
        if let Some(error) = reported(&self.web, answer) {
            return Err(error);
        }
        let unusable = |found: String| unusable(&self.web, &found);
        if let Some(reason) = answer["promptFeedback"]["blockReason"].as_str() {
            return Err(unusable(format!("a refusal of the brief ({})", words(reason.as_bytes()))));
        }
        let candidate = &answer["candidates"][0];
        let parts = candidate["content"]["parts"].as_array().map_or(&[][..], Vec::as_slice);
        let own = parts.iter().filter(|part| part["thought"] != true);
        let text: String = own.filter_map(|part| part["text"].as_str()).collect();
        match candidate["finishReason"].as_str() {
            None | Some("STOP") if !text.trim().is_empty() => Ok(text),
            None => Err(unusable("no text; is this generateContent?".into())),
            Some("MAX_TOKENS") => {
                Err(unusable("a text that is cut off at its limit of tokens".into()))
            }
            Some(reason) => {
                let reason = words(reason.as_bytes());
                Err(unusable(format!("no text that can be used (finish reason {reason})")))
            }
        }
    }
}

#[async_trait]
impl Writer for Google {
    fn name(&self) -> &str {
        &self.name
    }

    async fn write(&self, ask: &Ask) -> Result<Suggestion> {
        let body = json!({
            "systemInstruction": {"parts": [{"text": INSTRUCTIONS}]},
            "contents": [{"role": "user", "parts": [{"text": ask.message()}]}],
            "generationConfig": {
                "responseMimeType": "application/json",
                "responseSchema": google_schema(),
            },
        });
        let request = self.web.request(Method::POST, &self.path).json(&body);
        let response = self.web.send(request, WHAT).await?;
        let status = response.status();
        if !status.is_success() {
            let said = self.web.bytes(response, ANSWER_LIMIT, WHAT).await.unwrap_or_default();
            return Err(refused(&self.web, status, &said));
        }
        let answer = self.web.json_within(response, ANSWER_LIMIT, WHAT).await?;
        Suggestion::parse(&self.text(&answer)?)
    }
}
