//! Chat completions as OpenAI defined them, which Ollama, vLLM, llama.cpp and many more speak.
//!
//! Holds: the form of the answer is asked for as strictly as the server lets one: by schema, as any
//! JSON object, or by words alone. What it accepted is asked for at once the next time.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use reqwest::Method;
use serde_json::{Value, json};

use super::ask::{INSTRUCTIONS, schema};
use super::key::{Env, key};
use super::{ANSWER_LIMIT, Ask, Suggestion, WHAT, Writer, refused, reported, silence, unusable};
use crate::base::error::Result;
use crate::config::Llm;
use crate::web::{Options, Web};

const API: &str = "https://api.openai.com/v1";
const MODEL: &str = "gpt-4o-mini";

/// Ways to ask for the form of an answer, the strictest first.
const FORMS: usize = 3;

pub struct OpenAi {
    web: Web,
    model: String,
    name: String,
    /// The form to begin with.
    form: AtomicUsize,
}

impl OpenAi {
    pub fn new(llm: &Llm, env: Env<'_>) -> Result<Self> {
        let bearer = key(llm, "OPENAI_API_KEY", env)?;
        let options = Options { bearer, ..Options::default() };
        let base = llm.api_url.as_deref().unwrap_or(API);
        let web = Web::patient(base, "llm.api_url", &options, silence(llm))?;
        let model = llm.model.clone().unwrap_or_else(|| MODEL.into());
        let name = format!("openai {model}");
        Ok(OpenAi { web, model, name, form: AtomicUsize::new(0) })
    }

    fn body(&self, message: &str, form: usize) -> Value {
        let mut body = json!({
            "model": self.model,
            "messages": [
                {"role": "system", "content": INSTRUCTIONS},
                {"role": "user", "content": message},
            ],
            "stream": false,
        });
        match form {
            0 => {
                body["response_format"] = json!({
                    "type": "json_schema",
                    "json_schema": {"name": "suggestion", "strict": true, "schema": schema()},
                });
            }
            1 => body["response_format"] = json!({"type": "json_object"}),
            _ => {}
        }
        body
    }

    /// What the model wrote.
    pub(super) fn text(&self, answer: &Value) -> Result<String> {
        if let Some(error) = reported(&self.web, answer) {
            return Err(error);
        }
        let unusable = |found: &str| unusable(&self.web, found);
        let choice = &answer["choices"][0];
        let message = &choice["message"];
        if let Some(refusal) = message["refusal"].as_str() {
            let said = crate::web::words(refusal.as_bytes());
            return Err(unusable(&format!("a refusal: {said}")));
        }
        let text = match &message["content"] {
            Value::String(text) => text.clone(),
            Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
            _ => String::new(),
        };
        match choice["finish_reason"].as_str() {
            Some("content_filter") => Err(unusable("a refusal of its content filter")),
            Some("length") => Err(unusable("a text that is cut off at its limit of tokens")),
            _ if text.trim().is_empty() => Err(unusable("no text; is this chat completions?")),
            _ => Ok(text),
        }
    }
}

#[async_trait]
impl Writer for OpenAi {
    fn name(&self) -> &str {
        &self.name
    }

    async fn write(&self, ask: &Ask) -> Result<Suggestion> {
        let message = ask.message();
        let mut form = self.form.load(Ordering::Relaxed);
        loop {
            let request = self.web.request(Method::POST, "chat/completions");
            let response = self.web.send(request.json(&self.body(&message, form)), WHAT).await?;
            let status = response.status();
            if status.is_success() {
                let answer = self.web.json_within(response, ANSWER_LIMIT, WHAT).await?;
                self.form.store(form, Ordering::Relaxed);
                return Suggestion::parse(&self.text(&answer)?);
            }
            // Servers that do not know a form say so with one of these.
            if matches!(status.as_u16(), 400 | 422) && form + 1 < FORMS {
                form += 1;
                continue;
            }
            let said = self.web.bytes(response, ANSWER_LIMIT, WHAT).await.unwrap_or_default();
            return Err(refused(&self.web, status, &said));
        }
    }
}
