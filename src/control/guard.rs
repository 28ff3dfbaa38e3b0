//! Who may ask. A web page that somebody visits during the show must not be able to steer it: the
//! name in `Host` must be one of this server (against DNS rebinding), and an `Origin`, if there is
//! one, must be this very server. Whoever does not ask from this machine needs the token.
//!
//! Holds: nothing of a request that is refused reaches a route, and its answer repeats none of it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap, HeaderName};
use axum::http::uri::Authority;
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use percent_encoding::percent_decode_str;
use tokio::time::timeout;

use super::Site;
use super::access::{Access, COOKIE};
use super::error::Refusal;
use super::hub::Refused;
use crate::base::telemetry::Counter;

/// How long a request that changes something may take, its body included.
const CHANGE_WITHIN: Duration = Duration::from_secs(30);
/// A browser keeps the cookie so long.
const COOKIE_SECONDS: u32 = 30 * 24 * 3600;

/// Both ends of the connection that a request came by.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    pub remote: SocketAddr,
    pub local: SocketAddr,
}

/// The middleware around every route.
pub(super) async fn guard(State(site): State<Site>, request: Request, next: Next) -> Response {
    let let_in = let_in(&site, &request);
    let mut response = match let_in {
        Ok(None) if request.method() == Method::GET => next.run(request).await,
        Ok(None) => match timeout(CHANGE_WITHIN, next.run(request)).await {
            Ok(response) => response,
            Err(_) => Refusal::new(
                StatusCode::REQUEST_TIMEOUT,
                "timeout",
                format!("the request took over {} seconds", CHANGE_WITHIN.as_secs()),
            )
            .into_response(),
        },
        Ok(Some(response)) => *response,
        Err(no) => no.answer(&site, &request),
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    );
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Whether a name in `Host` is one of this machine alone.
pub fn is_loopback(name: &str) -> bool {
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

/// For a server that stands beside the page: by which names it may be asked, and only by its own
/// pages.
pub fn check_for(headers: &HeaderMap, is_known: impl Fn(&str) -> bool) -> Result<(), &'static str> {
    // Text that is no valid header value equals nothing below.
    let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_ascii_lowercase();
    let host = headers.get(header::HOST).map(text).unwrap_or_default();
    let name = host.parse::<Authority>().ok();
    if !name.is_some_and(|a| is_known(a.host())) {
        return Err("ask for this server as localhost, 127.0.0.1 or [::1]");
    }
    match headers.get(header::ORIGIN).map(text) {
        Some(origin) if origin != format!("http://{host}") => {
            Err("a page of another origin may not ask here")
        }
        _ => Ok(()),
    }
}

/// Why somebody is not let in.
#[derive(Debug, PartialEq)]
enum No {
    Host,
    Origin,
    Missing,
    Wrong,
    Wait(Duration),
}

/// `Some`: what answers the request in place of a route.
fn let_in(site: &Site, request: &Request) -> Result<Option<Box<Response>>, No> {
    let ends = request.extensions().get::<Ends>().copied();
    let headers = request.headers();
    let Some(ends) = ends else { return Err(No::Host) };
    if is_at_home(&site.access, headers, ends)? {
        // Who opens the address with the token on the machine itself finds the page all the same.
        return Ok(token_in(request.method(), request.uri()).map(|_| see_page(None)));
    }
    let (access, now, from) = (&site.access, site.desk.now(), ends.remote.ip());
    if let Some(wait) = access.wait(from, now) {
        return Err(No::Wait(wait));
    }
    let in_address = token_in(request.method(), request.uri());
    let given = in_address.clone().or_else(|| bearer(headers));
    let right = match (&given, cookie(headers)) {
        (Some(token), _) => access.is_token(token),
        // A cookie cannot be guessed: one that is wrong is of an earlier token.
        (None, Some(cookie)) if access.is_cookie(&cookie) => true,
        (None, _) => return Err(No::Missing),
    };
    if !right {
        let tries = access.was_wrong(from, now);
        if tries.is_power_of_two() {
            tracing::warn!("{from} has sent {tries} wrong tokens");
        }
        return Err(No::Wrong);
    }
    access.was_right(from);
    Ok(in_address.map(|_| see_page(access.cookie())))
}

/// Whether somebody asks from this machine itself, and so needs no token; `Err`: by a name that is
/// not this server's, or for a page that is not.
fn is_at_home(access: &Access, headers: &HeaderMap, ends: Ends) -> Result<bool, No> {
    // Text that is no valid header value equals nothing below.
    let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_ascii_lowercase();
    let host = headers.get(header::HOST).map(text).unwrap_or_default();
    let authority = host.parse::<Authority>().map_err(|_| No::Host)?;
    let name = authority.host();
    // What a browser sends by itself for a name like `user@host` is no name.
    if host.contains('@') {
        return Err(No::Host);
    }
    let by_loopback = is_loopback(name);
    let listed = access.is_host(name);
    let asked: Option<IpAddr> = name.trim_matches(['[', ']']).parse().ok();
    let by_address = !ends.local.ip().to_canonical().is_loopback()
        && asked.is_some_and(|ip| ip.to_canonical() == ends.local.ip().to_canonical());
    if !(by_loopback || listed || by_address) {
        return Err(No::Host);
    }
    if let Some(origin) = headers.get(header::ORIGIN).map(text) {
        let own = origin == format!("http://{host}");
        // Behind a proxy of one's own the page may be on https.
        let own = own || listed && origin == format!("https://{host}");
        if !own {
            return Err(No::Origin);
        }
    }
    // What a proxy on this machine hands on comes from elsewhere.
    let handed_on = ["forwarded", "x-forwarded-for", "x-real-ip", "via"]
        .iter()
        .any(|name| headers.contains_key(*name));
    Ok(ends.remote.ip().to_canonical().is_loopback() && by_loopback && !handed_on)
}

/// The token in `/?token=T`.
fn token_in(method: &Method, uri: &Uri) -> Option<String> {
    if method != Method::GET || uri.path() != "/" {
        return None;
    }
    let given = uri.query()?.split('&').find_map(|part| part.strip_prefix("token="))?;
    Some(percent_decode_str(given).decode_utf8_lossy().into_owned())
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    let given = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = given.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

fn cookie(headers: &HeaderMap) -> Option<String> {
    let all = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut each = all.flat_map(|line| line.split(';'));
    each.find_map(|cookie| Some(cookie.trim().strip_prefix(COOKIE)?.strip_prefix('=')?.to_owned()))
}

/// On to the page, with the cookie and without the token in the address.
fn see_page(cookie: Option<&str>) -> Box<Response> {
    let mut response = (StatusCode::SEE_OTHER, [(header::LOCATION, "/")]).into_response();
    let set = cookie.map(|cookie| {
        format!("{COOKIE}={cookie}; Path=/; Max-Age={COOKIE_SECONDS}; HttpOnly; SameSite=Strict")
    });
    if let Some(Ok(value)) = set.map(HeaderValue::try_from) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    Box::new(response)
}

impl No {
    fn counter(self, refused: &Refused) -> &Counter {
        match self {
            No::Host => &refused.host,
            No::Origin => &refused.origin,
            No::Missing => &refused.no_token,
            No::Wrong => &refused.wrong_token,
            No::Wait(_) => &refused.slowed,
        }
    }

    fn answer(self, site: &Site, request: &Request) -> Response {
        let forbidden = |message: &str| Refusal::new(StatusCode::FORBIDDEN, "forbidden", message);
        let wait = match &self {
            No::Wait(wait) => Some(wait.as_secs() + 1),
            _ => None,
        };
        let refusal = match &self {
            No::Host => forbidden(
                "ask for this server as localhost, 127.0.0.1 or [::1], by its own IP address, or \
                 by a name that is in live.hosts",
            ),
            No::Origin => forbidden("a page of another origin may not ask here"),
            No::Missing | No::Wrong => {
                let accepts = request.headers().get(header::ACCEPT).and_then(|a| a.to_str().ok());
                let is_person = request.method() == Method::GET
                    && request.uri().path() == "/"
                    && accepts.is_some_and(|accepts| accepts.contains("text/html"));
                let what = match &self {
                    No::Missing => "a token is needed from other machines",
                    _ => "the token is wrong",
                };
                self.counter(&site.hub.counters.refused).add(1);
                let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
                if is_person {
                    let policy = "default-src 'none'; style-src 'unsafe-inline'; \
                                  form-action 'self'; frame-ancestors 'none'";
                    let headers = [(header::CONTENT_SECURITY_POLICY, policy)];
                    let page = Html(include_str!("token.html").replace("{{what}}", what));
                    return (StatusCode::UNAUTHORIZED, challenge, headers, page).into_response();
                }
                let message =
                    format!("{what}; send Authorization: Bearer TOKEN, or open /?token=TOKEN once");
                let no = Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", message);
                return (challenge, no).into_response();
            }
            No::Wait(_) => Refusal::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many",
                "too many wrong tokens came from this address; try again in a moment",
            ),
        };
        self.counter(&site.hub.counters.refused).add(1);
        match wait {
            Some(wait) => ([(header::RETRY_AFTER, wait.to_string())], refusal).into_response(),
            None => refusal.into_response(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::access::tests::{TOKEN, access};
    use super::*;

    fn ends(remote: &str, local: &str) -> Ends {
        Ends {
            remote: SocketAddr::new(remote.parse().unwrap(), 50_000),
            local: SocketAddr::new(local.parse().unwrap(), 8787),
        }
    }

    fn asked(ends: Ends, headers: &[(&'static str, &str)]) -> Result<bool, No> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        is_at_home(&access(Some(TOKEN), &["stage.example"]), &map, ends)
    }

    #[test]
    fn only_loopback_names_and_the_own_origin_pass() {
        let here = ends("127.0.0.1", "127.0.0.1");
        for host in ["localhost", "LocalHost:8787", "127.0.0.1:8787", "[::1]:8787", "[::1]"] {
            assert_eq!(asked(here, &[("host", host)]), Ok(true), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example:8787",
            "127.0.0.1.nip.io",
            "",
            "::1",
            "127.0.0.2",
            "192.168.1.5:8787",
            "user@evil.example",
            "user@localhost",
        ] {
            assert_eq!(asked(here, &[("host", host)]), Err(No::Host), "{host}");
        }
        assert_eq!(asked(here, &[]), Err(No::Host), "no Host at all");
        let from = |origin| asked(here, &[("host", "localhost:8787"), ("origin", origin)]);
        assert_eq!(from("http://localhost:8787"), Ok(true));
        for origin in ["null", "http://evil.example", "http://localhost:9999", "https://localhost"]
        {
            assert_eq!(from(origin), Err(No::Origin), "{origin}");
        }
    }

    #[test]
    fn from_elsewhere_only_own_addresses_and_listed_names_pass_and_need_the_token() {
        let there = ends("192.168.1.9", "192.168.1.5");
        for host in ["192.168.1.5:8787", "stage.example", "Stage.Example:8787", "localhost"] {
            assert_eq!(asked(there, &[("host", host)]), Ok(false), "{host}");
        }
        for host in ["192.168.1.6:8787", "evil.example", "stage.example.evil.example", "0.0.0.0"] {
            assert_eq!(asked(there, &[("host", host)]), Err(No::Host), "{host}");
        }
        let mapped = ends("::ffff:192.168.1.9", "::ffff:192.168.1.5");
        assert_eq!(asked(mapped, &[("host", "192.168.1.5:8787")]), Ok(false));
        let mapped = ends("::ffff:127.0.0.1", "::ffff:127.0.0.1");
        assert_eq!(asked(mapped, &[("host", "localhost:8787")]), Ok(true));
        let v6 = ends("2001:db8::9", "2001:db8::5");
        assert_eq!(asked(v6, &[("host", "[2001:db8::5]:8787")]), Ok(false));
        // A proxy on this machine does not make its clients be here.
        let here = ends("127.0.0.1", "127.0.0.1");
        assert_eq!(asked(here, &[("host", "stage.example")]), Ok(false));
        let handed_on = [("host", "127.0.0.1:8787"), ("x-forwarded-for", "192.0.2.1")];
        assert_eq!(asked(here, &handed_on), Ok(false));
        let origin = |host, origin| asked(here, &[("host", host), ("origin", origin)]);
        assert_eq!(origin("stage.example", "https://stage.example"), Ok(false));
        assert_eq!(origin("stage.example", "https://evil.example"), Err(No::Origin));
        assert_eq!(origin("localhost", "https://localhost"), Err(No::Origin));
    }
}
