//! What is not taken, and why: counted by reason, the last one kept to be shown, and answered to
//! whoever sent it, as often as that is of use.
//!
//! Holds: what is kept and answered is short, whatever was sent. Nobody is answered more than
//! `ANSWERS` times a second, nor all together more than `ANSWERS_ALL`, so that junk makes little
//! work, and a forged sender gets little mail.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::base::telemetry::{Counter, OscRefused};

/// Refusals that one sender is told of in a second.
const ANSWERS: u32 = 10;
/// That all are told of.
const ANSWERS_ALL: u32 = 200;
/// Senders that are counted; with more in one second, a further one is not answered.
const SENDERS: usize = 256;
/// As much of an address as is repeated.
const SHOWN: usize = 80;

/// Why something is refused. Names are those of the metrics and of `docs/osc.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// No OSC, or cut off.
    Malformed,
    /// Nobody who is heard.
    Sender,
    UnknownAddress,
    /// An argument of a type that does not go here.
    WrongType,
    /// Too many arguments, or too few.
    Arguments,
    OutOfRange,
    /// Bundles in bundles in bundles.
    TooDeep,
    /// More than one packet may do, or than may wait.
    TooMany,
    /// A time too far ahead.
    TooFarAhead,
    /// It would do at another moment.
    Unavailable,
}

impl Why {
    pub const ALL: [Why; 10] = [
        Why::Malformed,
        Why::Sender,
        Why::UnknownAddress,
        Why::WrongType,
        Why::Arguments,
        Why::OutOfRange,
        Why::TooDeep,
        Why::TooMany,
        Why::TooFarAhead,
        Why::Unavailable,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Why::Malformed => "malformed",
            Why::Sender => "sender",
            Why::UnknownAddress => "unknown_address",
            Why::WrongType => "wrong_type",
            Why::Arguments => "arguments",
            Why::OutOfRange => "out_of_range",
            Why::TooDeep => "too_deep",
            Why::TooMany => "too_many",
            Why::TooFarAhead => "too_far_ahead",
            Why::Unavailable => "unavailable",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    pub why: Why,
    /// As it was sent, or part of it; empty where there is none.
    pub address: String,
    /// In words, what was found and what to send.
    pub message: String,
}

impl Refusal {
    pub fn new(why: Why, address: &str, message: impl Into<String>) -> Self {
        Refusal { why, address: shortened(address), message: message.into() }
    }
}

/// As much of a text as is repeated, without what a terminal might obey.
pub fn shortened(text: &str) -> String {
    let mut short: String =
        text.chars().take(SHOWN).map(|c| if c.is_control() { '?' } else { c }).collect();
    if text.chars().nth(SHOWN).is_some() {
        short.push_str("...");
    }
    short
}

#[derive(Default)]
pub struct Refusals {
    counts: [Counter; Why::ALL.len()],
    last: Mutex<Option<OscRefused>>,
    answered: Mutex<Answered>,
}

#[derive(Default)]
struct Answered {
    second: u64,
    all: u32,
    each: HashMap<SocketAddr, u32>,
}

impl Answered {
    fn turn(&mut self, now: Duration) {
        if now.as_secs() != self.second {
            self.second = now.as_secs();
            self.all = 0;
            self.each.clear();
        }
    }

    fn of(&self, sender: SocketAddr) -> u32 {
        match self.each.get(&sender) {
            Some(count) => *count,
            None if self.each.len() < SENDERS => 0,
            None => ANSWERS,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Refusals {
    /// Whether a refusal would be answered, so that it is worth finding good words.
    pub fn would_answer(&self, sender: SocketAddr, now: Duration) -> bool {
        let mut answered = lock(&self.answered);
        answered.turn(now);
        answered.all < ANSWERS_ALL && answered.of(sender) < ANSWERS
    }

    /// Counts a refusal; returns whether to answer it.
    pub fn note(&self, refusal: &Refusal, sender: SocketAddr, now: Duration) -> bool {
        self.counts[refusal.why as usize].add(1);
        *lock(&self.last) = Some(OscRefused {
            address: refusal.address.clone(),
            reason: refusal.why.name(),
            message: refusal.message.clone(),
            from: sender.to_string(),
        });
        if refusal.why == Why::Sender {
            return false;
        }
        let answers = self.would_answer(sender, now);
        if answers {
            let mut answered = lock(&self.answered);
            answered.all += 1;
            *answered.each.entry(sender).or_default() += 1;
        }
        answers
    }

    pub fn last(&self) -> Option<OscRefused> {
        lock(&self.last).clone()
    }

    /// How many so far, by reason; those that never were are left out.
    pub fn counts(&self) -> Vec<(&'static str, u64)> {
        let counts = Why::ALL.iter().map(|why| (why.name(), self.counts[*why as usize].get()));
        counts.filter(|(_, count)| *count > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_is_answered_ten_times_a_second_and_all_are_counted() {
        let refusals = Refusals::default();
        let refusal = Refusal::new(Why::OutOfRange, "/vfaq/fx/zoom", "9 is out of range");
        let now = Duration::from_secs(7);
        let one: SocketAddr = "10.0.0.1:1".parse().unwrap();
        let answered = (0..100).filter(|_| refusals.note(&refusal, one, now)).count();
        assert_eq!(answered, 10);
        assert!(refusals.note(&refusal, "10.0.0.1:2".parse().unwrap(), now), "another sender");
        assert!(refusals.note(&refusal, one, now + Duration::from_secs(1)), "another second");
        assert_eq!(refusals.counts(), [("out_of_range", 102)]);
        assert_eq!(refusals.last().unwrap().address, "/vfaq/fx/zoom");
        // Thousands of forged senders get little.
        let mut sender = one;
        let answered = (0..2000u16).filter(|n| {
            sender.set_port(1000 + n);
            refusals.note(&refusal, sender, Duration::from_secs(9))
        });
        assert!(answered.count() <= 200);
    }

    #[test]
    fn what_is_repeated_is_short_and_harmless() {
        assert_eq!(shortened("/a\x1b[31m"), "/a?[31m");
        assert!(shortened(&"ä".repeat(1000)).chars().count() < 90);
    }
}
