//! Who is let in from where: the token, how it is carried, and what wrong ones cost.
//!
//! Holds: from this machine itself, by a loopback name, nothing is asked for; everybody else needs the
//! token. It is compared in the same time whatever is wrong with it, is never kept in the cookie, and
//! never stands in a log or an answer. The list of addresses that sent wrong ones is bounded; when it
//! is full the one that waits least gives way.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::base::error::{Error, Result};
use crate::base::redact::{Secret, secret_file};
use crate::config::Live;

/// A shorter one could be guessed.
pub const LEAST_TOKEN: usize = 16;
pub const COOKIE: &str = "vfaq";
/// Wrong tokens that an address may send before it has to wait.
const FREE_TRIES: u32 = 5;
const LONGEST_WAIT: Duration = Duration::from_secs(30);
const MOST_ADDRESSES: usize = 1024;

pub struct Access {
    token: Option<Token>,
    /// Names by which this server may be asked for, in lower case.
    hosts: Vec<String>,
    wrong: Mutex<HashMap<IpAddr, Wrong>>,
}

struct Token {
    digest: [u8; 32],
    cookie: String,
    /// The setting that holds it.
    from: &'static str,
}

#[derive(Clone, Copy)]
struct Wrong {
    tries: u32,
    until: Duration,
}

impl Access {
    /// What the settings say.
    ///
    /// # Errors
    /// The token is in two places, cannot be read, or is none.
    pub fn new(live: &Live) -> Result<Self> {
        let token = match (&live.token, &live.token_file) {
            (Some(_), Some(_)) => {
                return Err(Error::usage(
                    "live: token and token_file are both set; the token is in one place, keep that \
                     one",
                ));
            }
            (Some(token), None) => Some(Token::new(token, "live.token")?),
            (None, Some(file)) => {
                let token = secret_file(file).map_err(|e| e.context("live.token_file"))?;
                Some(Token::new(&token, "live.token_file")?)
            }
            (None, None) => None,
        };
        let hosts = live.hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        Ok(Access { token, hosts, wrong: Mutex::default() })
    }

    /// The setting that holds the token, if there is one.
    pub fn token_from(&self) -> Option<&'static str> {
        self.token.as_ref().map(|token| token.from)
    }

    pub(super) fn is_host(&self, name: &str) -> bool {
        self.hosts.iter().any(|host| host == name)
    }

    pub(super) fn is_token(&self, given: &str) -> bool {
        let digest = digest(given);
        self.token.as_ref().is_some_and(|token| is_same(&token.digest, &digest))
    }

    pub(super) fn is_cookie(&self, given: &str) -> bool {
        let digest = digest(given);
        self.token.as_ref().is_some_and(|token| is_same(&self::digest(&token.cookie), &digest))
    }

    /// What the cookie holds: it tells nothing of the token.
    pub(super) fn cookie(&self) -> Option<&str> {
        self.token.as_ref().map(|token| token.cookie.as_str())
    }

    /// How long an address still has to wait before it may try again.
    pub(super) fn wait(&self, from: IpAddr, now: Duration) -> Option<Duration> {
        let wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        let until = wrong.get(&household(from))?.until;
        until.checked_sub(now).filter(|wait| *wait > Duration::ZERO)
    }

    /// An address sent a wrong token. Returns how many it has sent.
    pub(super) fn was_wrong(&self, from: IpAddr, now: Duration) -> u32 {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        let from = household(from);
        if wrong.len() >= MOST_ADDRESSES && !wrong.contains_key(&from) {
            let least = wrong.iter().min_by_key(|(_, wrong)| wrong.until).map(|(from, _)| *from);
            least.map(|from| wrong.remove(&from));
        }
        let entry = wrong.entry(from).or_insert(Wrong { tries: 0, until: now });
        entry.tries += 1;
        if let Some(over) = entry.tries.checked_sub(FREE_TRIES) {
            let wait = Duration::from_secs(1 << over.min(5)).min(LONGEST_WAIT);
            entry.until = now + wait;
        }
        entry.tries
    }

    /// An address sent the right one.
    pub(super) fn was_right(&self, from: IpAddr) {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).remove(&household(from));
    }
}

impl Token {
    fn new(token: &Secret, from: &'static str) -> Result<Self> {
        let text = token.reveal();
        if text.len() < LEAST_TOKEN || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Error::usage(format!(
                "{from}: the token has to be {LEAST_TOKEN} characters or more, without spaces and \
                 accents; make one with: openssl rand -hex 16"
            )));
        }
        let cookie: String =
            digest(&format!("vfaq cookie {text}")).iter().map(|b| format!("{b:02x}")).collect();
        Ok(Token { digest: digest(text), cookie, from })
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// Takes as long whatever differs.
fn is_same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    std::hint::black_box(a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b))) == 0
}

/// Who has one IPv6 address has a whole network of them.
fn household(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub const TOKEN: &str = "stage-left-4711-door";

    pub fn access(token: Option<&str>, hosts: &[&str]) -> Access {
        let token = token.map(|token| Token::new(&Secret::new(token), "live.token").unwrap());
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        Access { token, hosts, wrong: Mutex::default() }
    }

    #[test]
    fn a_token_that_can_be_guessed_or_not_sent_is_refused_without_being_shown() {
        for token in ["", "hunter2", "fifteen-letters", "sixteen letters!", "sixteen-lettérs-"] {
            let error = Token::new(&Secret::new(token), "live.token").err().unwrap().to_string();
            assert!(error.contains("live.token") && error.contains("openssl"), "{error}");
            assert!(token.is_empty() || !error.contains(token), "{error}");
        }
    }

    #[test]
    fn the_cookie_is_not_the_token() {
        let access = access(Some(TOKEN), &[]);
        let cookie = access.cookie().unwrap().to_owned();
        assert!(access.is_cookie(&cookie) && !access.is_token(&cookie));
        assert!(access.is_token(TOKEN) && !access.is_cookie(TOKEN));
    }

    #[test]
    fn wrong_tokens_cost_more_and_more_time_and_others_nothing() {
        let access = access(Some(TOKEN), &[]);
        let from: IpAddr = "192.0.2.7".parse().unwrap();
        let mut now = Duration::ZERO;
        let mut waits = Vec::new();
        for _ in 0..12 {
            access.was_wrong(from, now);
            let wait = access.wait(from, now).unwrap_or_default();
            waits.push(wait.as_secs());
            now += wait;
        }
        assert_eq!(waits, [0, 0, 0, 0, 1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(access.wait("192.0.2.8".parse().unwrap(), now), None);
        access.was_right(from);
        access.was_wrong(from, now);
        assert_eq!(access.wait(from, now), None);
        // One household has one count, and a mapped address is the same one.
        (0..5).for_each(|n| {
            access.was_wrong(format!("2001:db8::{n}").parse().unwrap(), now);
            access.was_wrong("::ffff:192.0.2.9".parse().unwrap(), now);
        });
        assert!(access.wait("2001:db8::77".parse().unwrap(), now).is_some());
        assert!(access.wait("192.0.2.9".parse().unwrap(), now).is_some());
        (0..5000u32).for_each(|n| {
            access.was_wrong(IpAddr::V4((0x0a00_0000 + n).into()), now);
        });
        assert_eq!(access.wrong.lock().unwrap().len(), MOST_ADDRESSES);
    }

    proptest! {
        #[test]
        fn nothing_but_the_token_is_the_token(given in ".{0,40}") {
            prop_assume!(given != TOKEN);
            let access = access(Some(TOKEN), &[]);
            prop_assert!(!access.is_token(&given) && !access.is_cookie(&given));
            prop_assert!(!self::access(None, &[]).is_token(&given));
        }
    }
}
