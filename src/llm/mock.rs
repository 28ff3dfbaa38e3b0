//! A writer without a model: the same small change for the same ask, at once.
//!
//! Holds: no network, no clock, no chance.

use async_trait::async_trait;

use super::{Ask, Suggestion, Writer};
use crate::base::error::Result;

const CHANGES: &[&str] = &[
    "a thin veil of drifting mist",
    "warmer light from the left",
    "fine grain of brushed metal",
    "cooler shadows at the edges",
    "a slow ripple running outwards",
    "small sparks rising",
    "softer, paler colours",
    "deeper contrast, darker ground",
    "a faint halo around bright shapes",
    "long shadows leaning to the right",
    "glints of wet glass",
];

/// The seed program's `mock`, for rehearsals.
pub struct Mock;

#[async_trait]
impl Writer for Mock {
    fn name(&self) -> &str {
        "mock"
    }

    async fn write(&self, ask: &Ask) -> Result<Suggestion> {
        let start = (ask.seed.rem_euclid(CHANGES.len() as i64) as usize) + ask.cycle.0 as usize;
        let in_turn = (0..CHANGES.len()).map(|step| CHANGES[(start + step) % CHANGES.len()]);
        let change = in_turn.clone().find(|change| !ask.history.iter().any(|old| old == change));
        // With every change in use the oldest may come again.
        let change = change.or_else(|| in_turn.clone().next()).unwrap_or_default();
        Ok(Suggestion {
            prompt_delta: change.into(),
            evolution_suggestion: Some(format!("mock: {change}")),
            ..Suggestion::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::CycleId;

    #[tokio::test]
    async fn equal_asks_get_equal_answers_and_no_change_twice() {
        let mut history: Vec<String> = Vec::new();
        for cycle in 0..40 {
            let ask = Ask { cycle: CycleId(cycle), seed: -7, history, ..Ask::default() };
            let answer = Mock.write(&ask).await.unwrap();
            assert_eq!(answer, Mock.write(&ask).await.unwrap());
            assert!(!ask.history.contains(&answer.prompt_delta));
            history = ask.history;
            history.push(answer.prompt_delta);
            history.drain(..history.len().saturating_sub(3));
        }
    }
}
