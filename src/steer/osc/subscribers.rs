//! Who hears of changes, and of which.
//!
//! Holds: at most `MOST` of them; one that asked for it and does not ask again within `RENEW` is
//! forgotten. Nobody is sent what it sent itself, but what became of a step or a toggle of its own,
//! which it cannot know.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rosc::OscMessage;

use super::value::{self, Style};
use crate::param::{Board, Kind, REGISTRY, Seen};

pub const MOST: usize = 16;
pub const RENEW: Duration = Duration::from_secs(30);

/// How a sender of packets is named where changes are written down.
pub fn source(address: SocketAddr) -> String {
    format!("osc {address}")
}

struct Subscriber {
    to: SocketAddr,
    style: Style,
    /// `None`: for the whole show.
    until: Option<Duration>,
    /// Where it sends from; of one that never asked, anything from that machine is its own.
    sends_from: Option<Arc<str>>,
    /// Up to this change it has heard everything; `None`: it has heard nothing.
    heard: Option<u64>,
    /// What its own steps and toggles changed, by place in the registry.
    unknown: BTreeSet<usize>,
}

impl Subscriber {
    fn sent(&self, source: &str) -> bool {
        match &self.sends_from {
            Some(own) => **own == *source || source == self::source(self.to),
            None => {
                let from = source.strip_prefix("osc ").and_then(|a| a.parse::<SocketAddr>().ok());
                from.is_some_and(|from| from.ip().to_canonical() == self.to.ip().to_canonical())
            }
        }
    }
}

#[derive(Default)]
pub struct Subscribers {
    all: Vec<Subscriber>,
}

impl Subscribers {
    pub fn new(fixed: impl Iterator<Item = (SocketAddr, bool)>) -> Self {
        let fixed = fixed.take(MOST).map(|(to, place)| Subscriber {
            to,
            style: style(place),
            until: None,
            sends_from: None,
            heard: None,
            unknown: BTreeSet::new(),
        });
        Subscribers { all: fixed.collect() }
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Adds one, or goes on with it; `false`: there are too many.
    pub fn add(&mut self, to: SocketAddr, place: bool, source: &Arc<str>, now: Duration) -> bool {
        self.forget(now);
        let style = style(place);
        if let Some(known) = self.all.iter_mut().find(|known| known.to == to) {
            if known.style != style {
                known.heard = None;
            }
            known.style = style;
            known.until = known.until.map(|_| now + RENEW);
            known.sends_from = Some(source.clone());
            return true;
        }
        if self.all.len() >= MOST {
            return false;
        }
        self.all.push(Subscriber {
            to,
            style,
            until: Some(now + RENEW),
            sends_from: Some(source.clone()),
            heard: None,
            unknown: BTreeSet::new(),
        });
        true
    }

    /// Ends what a sender asked for.
    pub fn remove(&mut self, source: &str) {
        self.all
            .retain(|known| known.until.is_none() || known.sends_from.as_deref() != Some(source));
    }

    /// A sender changed these without knowing what they become.
    pub fn unknown_to(&mut self, source: &str, params: &[usize]) {
        for known in self.all.iter_mut().filter(|known| known.sent(source)) {
            known.unknown.extend(params);
        }
    }

    fn forget(&mut self, now: Duration) {
        self.all.retain(|known| known.until.is_none_or(|until| until > now));
    }

    /// What each is to be sent now.
    pub fn due(&mut self, board: &Board, now: Duration) -> Vec<(SocketAddr, Vec<OscMessage>)> {
        self.forget(now);
        let newest = board.generation();
        let mut due = Vec::new();
        // Most have heard as much as the others.
        let mut latest: Option<(u64, u64, Vec<Seen>)> = None;
        for known in &mut self.all {
            let messages: Vec<OscMessage> = match known.heard {
                Some(heard) if heard == newest => continue,
                Some(heard) => {
                    if latest.as_ref().is_none_or(|(since, ..)| *since != heard) {
                        let (up_to, seen) = board.changed_since(heard);
                        latest = Some((heard, up_to, seen));
                    }
                    let Some((_, up_to, seen)) = &latest else { continue };
                    known.heard = Some(*up_to);
                    let unknown = std::mem::take(&mut known.unknown);
                    let tells = |seen: &&Seen| {
                        let told = unknown.contains(&(seen.param.id as usize));
                        seen.param.kind != Kind::Trigger && (told || !known.sent(&seen.source))
                    };
                    let seen = seen.iter().filter(tells);
                    seen.map(|seen| value::message(seen.param, &seen.value, known.style)).collect()
                }
                None => {
                    known.heard = Some(newest);
                    let params = REGISTRY.iter().filter(|param| param.kind != Kind::Trigger);
                    params.map(|p| value::message(p, &board.value(p), known.style)).collect()
                }
            };
            if !messages.is_empty() {
                due.push((known.to, messages));
            }
        }
        due
    }
}

fn style(place: bool) -> Style {
    if place { Style::Place } else { Style::Plain }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::param::{self, Change, From, ParamId, Values};

    fn set(board: &Board, id: ParamId, value: f32, source: &str) {
        let from = From { source: source.into(), received: Duration::ZERO };
        board.apply(&Change::set(id, value), &from).unwrap();
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn all_is_told_at_first_then_changes_and_never_the_own() {
        let (board, _reader) = param::board(Values::default(), &[]);
        let mut all = Subscribers::default();
        let now = Duration::from_secs(1);
        let source: Arc<str> = "osc 10.0.0.1:5000".into();
        assert!(all.add(address("10.0.0.1:9002"), false, &source, now));
        let first = all.due(&board, now);
        assert_eq!(first.len(), 1);
        assert!(first[0].1.len() > 50);
        assert!(all.due(&board, now).is_empty());

        for n in 0..100 {
            set(&board, ParamId::Zoom, 1.0 + n as f32 / 100.0, "http");
        }
        set(&board, ParamId::Hue, 7.0, &source);
        let due = all.due(&board, now);
        let told: Vec<_> = due[0].1.iter().map(|m| (m.addr.as_str(), m.args.clone())).collect();
        assert_eq!(told, [("/vfaq/fx/zoom", vec![1.99f32.into()])]);

        // A step of its own is told.
        set(&board, ParamId::Hue, 8.0, &source);
        all.unknown_to(&source, &[ParamId::Hue as usize]);
        assert_eq!(all.due(&board, now)[0].1[0].addr, "/vfaq/fx/hue");

        assert!(all.due(&board, now + RENEW + RENEW).is_empty());
        assert_eq!(all.len(), 0);
    }

    #[test]
    fn sixteen_and_no_more() {
        let mut all = Subscribers::new([(address("10.0.0.9:1"), true)].into_iter());
        let now = Duration::ZERO;
        let added = (1..=20u16).filter(|port| {
            let source = format!("osc 10.0.0.1:{port}").into();
            all.add(SocketAddr::from(([10, 0, 0, 1], *port)), false, &source, now)
        });
        assert_eq!(added.count(), 15);
        all.remove("osc 10.0.0.1:3");
        assert_eq!(all.len(), 15);
        // One that never asked does not end.
        let later = now + RENEW * 10;
        let (board, _reader) = param::board(Values::default(), &[]);
        assert_eq!(all.due(&board, later).len(), 1);
        set(&board, ParamId::Zoom, 2.0, "osc 10.0.0.9:4711");
        assert!(all.due(&board, later).is_empty(), "its own machine");
        set(&board, ParamId::Zoom, 3.0, "osc 10.0.0.8:4711");
        let due = all.due(&board, later);
        assert_eq!(due[0].1[0].addr, "/vfaq/fx/zoom/place");
    }
}
