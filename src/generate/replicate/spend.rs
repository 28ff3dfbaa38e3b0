//! What a show has had made on Replicate, and what that costs.
//!
//! Holds: a prediction is counted, and what it is likely to cost is set aside, before it is asked
//! for, so that jobs that run at the same time cannot pass a limit together. What the first
//! predictions of a model will cost is not known; the limit is checked against all that is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::base::error::{Error, Result};
use crate::config::BackendConfig;

/// How far a backend may go.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    max_predictions: Option<u32>,
    max_cost: Option<f64>,
    cost_per_second: f64,
}

impl Limits {
    pub fn new(config: &BackendConfig) -> Result<Limits> {
        if config.max_cost.is_some() && config.cost_per_second.is_none() {
            return Err(Error::usage(
                "backend.max_cost is set, but not what a second costs; set \
                 backend.cost_per_second to the price of the model's hardware, which its page on \
                 replicate.com shows",
            ));
        }
        Ok(Limits {
            max_predictions: config.max_predictions,
            max_cost: config.max_cost,
            cost_per_second: config.cost_per_second.unwrap_or(0.0),
        })
    }

    pub fn any(&self) -> bool {
        self.max_predictions.is_some() || self.max_cost.is_some()
    }
}

/// The account book of a show; all its Replicate backends share one.
#[derive(Debug, Default)]
pub struct Spending {
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    started: u32,
    spent: f64,
    /// Set aside for what runs.
    reserved: f64,
    /// For each model: how many have ended, and what they cost together.
    models: BTreeMap<String, (u32, f64)>,
}

impl Spending {
    /// Predictions started so far, and what the ended ones cost.
    pub fn so_far(&self) -> (u32, f64) {
        let book = self.book();
        (book.started, book.spent)
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more prediction, if the limits allow it.
    pub fn reserve(self: &Arc<Self>, limits: Limits, model: &str) -> Result<Ticket> {
        let mut book = self.book();
        if let Some(most) = limits.max_predictions
            && book.started >= most
        {
            return Err(Error::unavailable(format!(
                "Replicate: this show has started {} predictions, and backend.max_predictions is \
                 {most}; no more are asked for until it is raised and the show begins anew",
                book.started
            )));
        }
        let mean = match book.models.get(model) {
            Some(&(count, cost)) if count > 0 => cost / f64::from(count),
            _ => 0.0,
        };
        if let Some(most) = limits.max_cost {
            let bound = book.spent + book.reserved;
            if bound >= most || bound + mean > most {
                return Err(Error::unavailable(format!(
                    "Replicate: this show has cost {:.4}, what runs and the next prediction are \
                     likely to cost {:.4} more, and backend.max_cost is {most}; no more are asked \
                     for until it is raised and the show begins anew",
                    book.spent,
                    book.reserved + mean
                )));
            }
        }
        book.started += 1;
        book.reserved += mean;
        drop(book);
        Ok(Ticket {
            spending: self.clone(),
            model: model.to_owned(),
            reserved: mean,
            cost_per_second: limits.cost_per_second,
            settled: false,
        })
    }
}

/// One prediction in the book. Dropped before it is settled it never happened.
#[derive(Debug)]
pub struct Ticket {
    spending: Arc<Spending>,
    model: String,
    reserved: f64,
    cost_per_second: f64,
    settled: bool,
}

impl Ticket {
    /// The prediction has ended after so many seconds of work. Only the first call counts.
    pub fn settle(&mut self, seconds: f64) {
        if std::mem::replace(&mut self.settled, true) {
            return;
        }
        let cost = seconds.max(0.0) * self.cost_per_second;
        let mut book = self.spending.book();
        book.reserved -= self.reserved;
        book.spent += cost;
        let of_model = book.models.entry(std::mem::take(&mut self.model)).or_default();
        of_model.0 = of_model.0.saturating_add(1);
        of_model.1 += cost;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.settled {
            let mut book = self.spending.book();
            book.started -= 1;
            book.reserved -= self.reserved;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(max_predictions: Option<u32>, max_cost: Option<f64>) -> Limits {
        Limits { max_predictions, max_cost, cost_per_second: 0.5 }
    }

    #[test]
    fn what_runs_counts_and_what_never_began_does_not() {
        let spending = Arc::new(Spending::default());
        let limits = limits(Some(2), None);
        let first = spending.reserve(limits, "a/b").unwrap();
        let _second = spending.reserve(limits, "a/b").unwrap();
        let error = spending.reserve(limits, "a/b").unwrap_err().to_string();
        assert!(error.contains("backend.max_predictions is 2"), "{error}");
        drop(first);
        assert_eq!(spending.so_far().0, 1);
        spending.reserve(limits, "a/b").unwrap();
    }

    #[test]
    fn the_mean_of_a_model_is_set_aside() {
        let spending = Arc::new(Spending::default());
        let limits = limits(None, Some(4.0));
        // 1.0 for each.
        spending.reserve(limits, "a/b").unwrap().settle(2.0);
        let second = spending.reserve(limits, "a/b").unwrap();
        let third = spending.reserve(limits, "a/b").unwrap();
        let fourth = spending.reserve(limits, "a/b").unwrap();
        let error = spending.reserve(limits, "a/b").unwrap_err();
        assert_eq!(error.kind, crate::base::error::Kind::Unavailable);
        assert!(error.to_string().contains("backend.max_cost is 4"), "{error}");
        drop((second, third, fourth));
        assert_eq!(spending.so_far(), (1, 1.0));
        assert!(spending.reserve(limits, "other/model").is_ok());
    }

    #[test]
    fn nothing_is_started_for_nothing() {
        let spending = Arc::new(Spending::default());
        assert!(spending.reserve(limits(None, Some(0.0)), "a/b").is_err());
        assert!(spending.reserve(limits(Some(0), None), "a/b").is_err());
    }
}
