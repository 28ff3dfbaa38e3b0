//! One prediction, from asking for it to its output.
//!
//! Holds: a prediction whose future is dropped is cancelled, even if it was dropped before the API
//! has said under which id it runs. Each is settled in the book of the show exactly once. Nothing
//! waits without an end but on the model itself: whoever asked sets that deadline.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::api::{Api, Cause, is_id};
use super::model::Model;
use super::spend::Ticket;
use crate::base::clock::Clock;
use crate::base::error::{Error, Result};
use crate::generate::{OnProgress, Progress};
use crate::web::words;

/// Longest wait for a prediction to be cancelled.
const CANCEL_PATIENCE: Duration = Duration::from_secs(10);
/// Lines of a failed prediction's log that are told.
const LOG_LINES: usize = 3;
/// Bytes at the end of a log that are looked at.
const LOG_TAIL: usize = 2000;

/// A prediction that runs; cancelled when dropped before it has ended.
struct Job {
    api: Api,
    id: String,
    ended: bool,
    ticket: Ticket,
    clock: Arc<dyn Clock>,
    began: Duration,
}

impl Job {
    /// It has ended, by itself or not; `state` may say what it took.
    fn end(&mut self, state: &Value) {
        self.ended = true;
        let told = state.pointer("/metrics/predict_time").and_then(Value::as_f64);
        let told = told.filter(|seconds| seconds.is_finite());
        self.ticket.settle(told.unwrap_or_else(|| self.elapsed_s()));
    }

    fn elapsed_s(&self) -> f64 {
        self.clock.now().saturating_sub(self.began).as_secs_f64()
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let elapsed_s = self.elapsed_s();
        self.ticket.settle(elapsed_s);
        let (api, id) = (self.api.clone(), std::mem::take(&mut self.id));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let cancelled = tokio::time::timeout(CANCEL_PATIENCE, api.cancel(&id)).await;
                if let Ok(Err(error)) = cancelled {
                    tracing::debug!("a prediction could not be cancelled: {error}");
                }
            });
        }
    }
}

/// Has the model work on `input`; returns its output.
pub async fn predict(
    api: &Api,
    model: &Model,
    latest: Option<&str>,
    input: Value,
    ticket: Ticket,
    clock: Arc<dyn Clock>,
    on_progress: OnProgress<'_>,
) -> Result<Value> {
    on_progress(Progress::Working { what: "starting".into(), done: None });
    let (mut job, mut state) = start(api, model, latest, input, ticket, clock).await?;
    loop {
        match state.get("status").and_then(Value::as_str).unwrap_or_default() {
            "succeeded" | "successful" => {
                job.end(&state);
                return match state.get_mut("output").map(Value::take) {
                    None | Some(Value::Null) => Err(Error::unavailable(format!(
                        "{model} has succeeded and left nothing; its output may be deleted already"
                    ))),
                    Some(output) => Ok(output),
                };
            }
            "failed" => {
                job.end(&state);
                return Err(failure(model, &state));
            }
            status @ ("canceled" | "aborted") => {
                if status == "aborted" {
                    // It never ran, and is not charged for.
                    job.ticket.settle(0.0);
                }
                job.end(&state);
                return Err(Error::unavailable(format!(
                    "{model}: the prediction was {status}, by somebody else or because it took too \
                     long"
                )));
            }
            "processing" => {
                let done = state.get("logs").and_then(Value::as_str).and_then(percent);
                on_progress(Progress::Working { what: "at work".into(), done });
            }
            // It waits for a machine, which may have to load the model first.
            _ => {
                on_progress(Progress::Working { what: "waiting for a machine".into(), done: None })
            }
        }
        tokio::time::sleep(api.pace.poll).await;
        state = api.prediction(&job.id).await?;
    }
}

/// Asks for it in a task of its own: were that dropped in the middle, nobody would know the id to
/// cancel.
async fn start(
    api: &Api,
    model: &Model,
    latest: Option<&str>,
    input: Value,
    mut ticket: Ticket,
    clock: Arc<dyn Clock>,
) -> Result<(Job, Value)> {
    let waiting = Arc::new(());
    let waits = Arc::downgrade(&waiting);
    let (api, model, latest) = (api.clone(), model.clone(), latest.map(str::to_owned));
    let task = tokio::spawn(async move {
        let began = clock.now();
        let elapsed_s = || clock.now().saturating_sub(began).as_secs_f64();
        let given_up = || waits.strong_count() == 0;
        let mut state = api.start(&model, model.version.as_deref(), &input, given_up).await;
        if let (Err(refusal), None, Some(latest)) = (&state, &model.version, &latest)
            && matches!(refusal.cause, Cause::Status(404, _))
        {
            // Only official models go by their name alone.
            state = api.start(&model, Some(latest), &input, given_up).await;
        }
        let state = match state {
            Ok(state) => state,
            Err(refusal) => {
                if !refusal.cause.is_sure() {
                    ticket.settle(elapsed_s());
                }
                return Err(refusal.error);
            }
        };
        let Some(id) = state.get("id").and_then(Value::as_str).filter(|id| is_id(id)) else {
            ticket.settle(elapsed_s());
            return Err(Error::unavailable(format!(
                "{} does not say under which id {model} works; is that Replicate?",
                api.web.shown()
            )));
        };
        let job = Job { id: id.to_owned(), api, ended: false, ticket, clock, began };
        Ok((job, state))
    });
    let started = task.await.map_err(Error::fault)?;
    drop(waiting);
    started
}

/// The share of the last progress bar in a log: `45%|####`.
fn percent(log: &str) -> Option<f32> {
    let bar = log.rfind("%|")?;
    let digits = log[..bar].bytes().rev().take_while(u8::is_ascii_digit).take(3).count();
    let percent: f32 = log[bar - digits..bar].parse().ok()?;
    Some((percent / 100.0).clamp(0.0, 1.0))
}

fn failure(model: &Model, state: &Value) -> Error {
    let error = match state.get("error") {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => "without saying why".to_owned(),
        Some(other) => other.to_string(),
    };
    let log = state.get("logs").and_then(Value::as_str).unwrap_or_default();
    let mut from = log.len().saturating_sub(LOG_TAIL);
    while !log.is_char_boundary(from) {
        from += 1;
    }
    let lines: Vec<&str> = log[from..].lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines[lines.len().saturating_sub(LOG_LINES)..].join(" / ");
    let text = format!("{error} {last}").to_lowercase();
    let filtered =
        ["nsfw", "safety checker", "safety filter", "flagged as sensitive", "moderation"];
    if filtered.iter().any(|word| text.contains(word)) {
        return Error::unavailable(format!(
            "{model}: a safety filter (NSFW) has refused what was made ({}); another seed may pass, \
             else change the prompt",
            words(error.as_bytes())
        ));
    }
    let error = words(error.as_bytes());
    let last = words(last.as_bytes());
    let log = if last.is_empty() { String::new() } else { format!("; its log ends: {last}") };
    Error::unavailable(format!("{model} has failed: {error}{log}"))
}

#[cfg(test)]
mod tests {
    use super::percent;

    #[test]
    fn the_last_bar_counts() {
        assert_eq!(percent("  0%|  | 0/4\r 45%|####5  | 9/20"), Some(0.45));
        assert_eq!(percent("100%|####|"), Some(1.0));
        assert_eq!(percent("loading\nää%|"), None);
        assert_eq!(percent("%|"), None);
        assert_eq!(percent(""), None);
    }
}
