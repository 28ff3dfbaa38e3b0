//! What can be asked of Replicate, one request each, and what its refusals mean.
//!
//! Holds: the token goes to the API's own host and to no other. What only reads is tried again when
//! the server fails; what starts something only where it is sure that nothing has been started.

use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::multipart::{Form, Part};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use super::model::Model;
use crate::base::error::{Error, Kind, Result};
use crate::web::{Web, words};

/// How often something is asked for, at most.
const TRIES: u32 = 5;
/// Longest that the start of a prediction, with the wait for a quick one, may take.
const START_PATIENCE: Duration = Duration::from_secs(120);
/// An error's body is for people.
const REFUSAL_LIMIT: usize = 64 << 10;

/// Times of everything that waits.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Seconds that the API may hold back its answer, for predictions that are soon done.
    pub wait_s: u32,
    /// Between two looks at a prediction.
    pub poll: Duration,
    /// Before the second try; doubled before each later one.
    pub retry: Duration,
    /// Longest wait that the API may ask for.
    pub longest_retry_after: Duration,
}

impl Pace {
    pub const NORMAL: Pace = Pace {
        wait_s: 5,
        poll: Duration::from_millis(700),
        retry: Duration::from_millis(500),
        longest_retry_after: Duration::from_secs(60),
    };
}

#[derive(Clone)]
pub struct Api {
    /// The API itself; its requests carry the token.
    pub web: Web,
    /// Anything else; its requests carry nothing.
    pub other: Web,
    pub pace: Pace,
    /// A prediction that takes longer is ended by Replicate itself, if nobody else can.
    pub cancel_after: Duration,
    /// Whether results may come by plain HTTP; never but in tests.
    pub plain_http: bool,
}

/// Why a request got no success.
pub struct Refusal {
    pub error: Error,
    pub cause: Cause,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cause {
    /// Nothing was sent.
    NotReached,
    /// An answer of this status, with the wait that it asks for.
    Status(u16, Option<Duration>),
    /// It was sent, and no whole answer came.
    Broken,
    /// Nobody waits for it any more.
    GivenUp,
}

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Reads,
    Starts,
}

impl Cause {
    /// Whether it is sure that nothing was started.
    pub fn is_sure(self) -> bool {
        match self {
            Cause::NotReached | Cause::GivenUp => true,
            Cause::Status(code, _) => code < 500 || code == 503,
            Cause::Broken => false,
        }
    }

    fn may_try_again(self, act: Act) -> bool {
        match self {
            Cause::NotReached | Cause::Status(429 | 503, _) => true,
            Cause::Status(500.., _) | Cause::Broken => act == Act::Reads,
            Cause::Status(..) | Cause::GivenUp => false,
        }
    }
}

impl Api {
    /// Sends what `make` makes until it succeeds or has to be given up.
    pub async fn ask(
        &self,
        act: Act,
        what: &str,
        make: impl Fn() -> Result<RequestBuilder>,
        given_up: impl Fn() -> bool,
    ) -> Result<Response, Refusal> {
        let mut pause = self.pace.retry;
        let mut tries = 1;
        loop {
            if given_up() {
                let error = Error::unavailable(format!("{what}: nobody waits for it any more"));
                return Err(Refusal { error, cause: Cause::GivenUp });
            }
            let request = make().map_err(|error| Refusal { error, cause: Cause::NotReached })?;
            let refusal = match self.once(request, what).await {
                Ok(response) => return Ok(response),
                Err(refusal) => refusal,
            };
            let asked_for = match refusal.cause {
                Cause::Status(_, after) => after,
                _ => None,
            };
            if tries == TRIES
                || refusal.error.kind != Kind::Unavailable
                || !refusal.cause.may_try_again(act)
                || asked_for.is_some_and(|wait| wait > self.pace.longest_retry_after)
            {
                return Err(refusal);
            }
            tokio::time::sleep(asked_for.unwrap_or(pause)).await;
            pause *= 2;
            tries += 1;
        }
    }

    async fn once(&self, request: RequestBuilder, what: &str) -> Result<Response, Refusal> {
        let response = request.send().await.map_err(|e| {
            let cause = if e.is_connect() { Cause::NotReached } else { Cause::Broken };
            Refusal { error: self.web.failed(e, what), cause }
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let cause = Cause::Status(status.as_u16(), retry_after(response.headers()));
        let error = self.refusal(response, what).await;
        Err(Refusal { error, cause })
    }

    /// What an answer without success means. Reads its body.
    async fn refusal(&self, response: Response, what: &str) -> Error {
        let status = response.status();
        let after = retry_after(response.headers());
        let body = self.web.bytes(response, REFUSAL_LIMIT, what).await.unwrap_or_default();
        let said = said(&body);
        let told = if said.is_empty() { String::new() } else { format!(": {said}") };
        match status.as_u16() {
            300..=399 => Error::usage(format!(
                "{what}: {} sends one elsewhere ({status}), which is not followed; check \
                 backend.api_url",
                self.web.shown()
            )),
            401 => Error::usage(format!(
                "{what}: Replicate does not accept the token (401{told}); put one from \
                 replicate.com/account/api-tokens into REPLICATE_API_TOKEN, backend.api_token or \
                 the file of backend.api_token_file"
            )),
            402 => Error::usage(format!(
                "{what}: the account has no credit, or a spend limit is reached (402{told}); see \
                 replicate.com/account/billing"
            )),
            404 => Error::usage(format!(
                "{what}: Replicate has no such thing (404{told}); is the name OWNER/NAME or \
                 OWNER/NAME:VERSION right, and may this account use it?"
            )),
            422 => Error::usage(format!("{what}: the input is not valid (422{told})")),
            429 => {
                let wait = after.map_or_else(String::new, |wait| {
                    format!("; it wants {:.0} s of patience", wait.as_secs_f64().ceil())
                });
                Error::unavailable(format!(
                    "{what}: Replicate is asked too often (429{told}){wait}; a lower backend.jobs \
                     helps, and so does credit on the account"
                ))
            }
            _ => self.web.status_error(status, &said, what),
        }
    }

    pub async fn json(&self, path: &str, what: &str) -> Result<Value> {
        let make = || Ok(self.web.request(Method::GET, path));
        let response =
            self.ask(Act::Reads, what, make, || false).await.map_err(|refusal| refusal.error)?;
        self.web.json(response, what).await
    }

    /// Asks for a prediction, by this version or by the model's name alone; returns it as the API
    /// describes it.
    pub async fn start(
        &self,
        model: &Model,
        version: Option<&str>,
        input: &Value,
        given_up: impl Fn() -> bool,
    ) -> Result<Value, Refusal> {
        let what = format!("starting {model} ({})", model.key);
        let (path, body) = match version {
            Some(version) => {
                ("predictions".to_owned(), json!({"version": version, "input": input}))
            }
            None => (format!("models/{}/predictions", model.path()), json!({"input": input})),
        };
        let make = || {
            Ok(self
                .web
                .request(Method::POST, &path)
                .header("Prefer", format!("wait={}", self.pace.wait_s.clamp(1, 60)))
                .header("Cancel-After", format!("{}s", self.cancel_after.as_secs().max(5)))
                .timeout(START_PATIENCE)
                .json(&body))
        };
        let response = self.ask(Act::Starts, &what, make, given_up).await?;
        let broken = |error| Refusal { error, cause: Cause::Broken };
        self.web.json(response, &what).await.map_err(broken)
    }

    pub async fn prediction(&self, id: &str) -> Result<Value> {
        self.json(&format!("predictions/{id}"), "asking for a prediction").await
    }

    pub async fn cancel(&self, id: &str) -> Result<()> {
        let make = || Ok(self.web.request(Method::POST, &format!("predictions/{id}/cancel")));
        // Cancelling twice is as good as once.
        let asked = self.ask(Act::Reads, "cancelling a prediction", make, || false).await;
        asked.map(|_| ()).map_err(|refusal| refusal.error)
    }

    /// Uploads a picture (PNG); returns its id and the address to be given to a model.
    pub async fn upload(&self, png: &[u8]) -> Result<(String, String)> {
        const WHAT: &str = "uploading a picture";
        let make = || {
            let part = Part::bytes(png.to_vec()).file_name("picture.png");
            let part = part.mime_str("image/png").map_err(Error::fault)?;
            Ok(self.web.request(Method::POST, "files").multipart(Form::new().part("content", part)))
        };
        let response =
            self.ask(Act::Starts, WHAT, make, || false).await.map_err(|refusal| refusal.error)?;
        let answer = self.web.json(response, WHAT).await?;
        let text = |at: &str| answer.pointer(at).and_then(Value::as_str).map(str::to_owned);
        match (text("/id").filter(|id| is_id(id)), text("/urls/get")) {
            (Some(id), Some(url)) => Ok((id, url)),
            _ => Err(Error::unavailable(format!(
                "{WHAT}: {} does not say where it keeps it",
                self.web.shown()
            ))),
        }
    }

    pub async fn delete(&self, file: &str) -> Result<()> {
        let request = self.web.request(Method::DELETE, &format!("files/{file}"));
        let deleted = self.once(request, "deleting an uploaded picture").await;
        deleted.map(|_| ()).map_err(|refusal| refusal.error)
    }
}

/// Whether this may stand in a path.
pub fn is_id(id: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    (1..=64).contains(&id.len()) && id.chars().all(fine)
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: f64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// What the API says itself of its refusal.
fn said(body: &[u8]) -> String {
    let Ok(answer) = serde_json::from_slice::<Value>(body) else {
        return if body.trim_ascii_start().starts_with(b"<") {
            "a web page".to_owned()
        } else {
            words(body)
        };
    };
    let detail = answer.get("detail").or_else(|| answer.get("title"));
    let text = match detail {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => answer.to_string(),
    };
    words(text.as_bytes())
}
