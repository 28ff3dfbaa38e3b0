//! The language model that writes the next prompt: what it is asked, who answers, what is made of it.
//!
//! Holds: it is only ever asked ahead ([`Ahead`]) and never waited for; without an answer the prompt
//! evolves by itself. No text that it sends gets further unchecked. A key is sent in a header alone.

mod ahead;
mod ask;
mod google;
mod key;
mod mock;
mod openai;
mod suggestion;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::StatusCode;
use serde_json::Value;

pub use ahead::{Ahead, Counters};
pub use ask::Ask;
pub use mock::Mock;
pub use suggestion::Suggestion;

use crate::base::error::{Error, Result};
use crate::config::Llm;
use crate::web::{self, Web};

/// Bytes of an answer that are read at most.
const ANSWER_LIMIT: usize = 1 << 20;

/// What is being done, in errors.
const WHAT: &str = "asking the language model";

/// Who writes prompts.
#[async_trait]
pub trait Writer: Send + Sync {
    /// Its provider and model, for people.
    fn name(&self) -> &str;

    async fn write(&self, ask: &Ask) -> Result<Suggestion>;
}

/// The writer that is configured; `None`: no one, the prompt evolves by itself.
pub fn writer(llm: &Llm) -> Result<Option<Arc<dyn Writer>>> {
    let env = |name: &str| std::env::var(name).ok();
    Ok(Some(match llm.provider.as_deref() {
        None => return Ok(None),
        Some("mock") => Arc::new(Mock),
        Some("openai") => Arc::new(openai::OpenAi::new(llm, &env)?),
        Some("google") => Arc::new(google::Google::new(llm, &env)?),
        Some(other) => {
            return Err(Error::usage(format!(
                "llm.provider: {other:?} is unknown; allowed: mock, openai, google"
            )));
        }
    }))
}

/// How long a server may be silent. An answer comes as a whole, so that is its deadline; a little
/// more, so that whoever keeps the deadline says so.
fn silence(llm: &Llm) -> Duration {
    llm.timeout + Duration::from_secs(5)
}

/// What an answer with an error's status means, with the setting that helps. `said` is its body.
fn refused(web: &Web, status: StatusCode, said: &[u8]) -> Error {
    let said = if said.trim_ascii_start().starts_with(b"<") {
        "a web page".to_owned()
    } else {
        web::words(said)
    };
    let error = web.status_error(status, &said, WHAT);
    match status.as_u16() {
        401 | 403 => error.context("llm.api_key_env or llm.api_key_file"),
        400 | 404 => error.context("llm.model or llm.api_url"),
        _ => error,
    }
}

/// The answer had an answer's form, but `found` in place of what it should hold.
fn unusable(web: &Web, found: &str) -> Error {
    Error::unavailable(format!("{WHAT}: {} answers with {found}", web.shown()))
}

/// What a server says has gone wrong, in an answer whose status says that nothing has.
fn reported(web: &Web, answer: &Value) -> Option<Error> {
    let error = answer.get("error").filter(|error| !error.is_null())?;
    let said = error.get("message").and_then(Value::as_str).map(str::to_owned);
    let said = web::words(said.unwrap_or_else(|| error.to_string()).as_bytes());
    Some(unusable(web, &format!("an error: {said}")))
}
