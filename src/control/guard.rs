//! Who may ask. A web page that somebody visits during the show must not be able to steer it:
//! the name in `Host` must be a loopback one (against DNS rebinding), and an `Origin`, if there
//! is one, must be this very server.

use axum::extract::Request;
use axum::http::header::{self, HeaderMap, HeaderName};
use axum::http::uri::Authority;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::Refusal;

/// The middleware around every route.
pub async fn guard(request: Request, next: Next) -> Response {
    let mut response = match check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(message) => Refusal::new(StatusCode::FORBIDDEN, "forbidden", message).into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    );
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn check(headers: &HeaderMap) -> Result<(), &'static str> {
    check_for(headers, is_loopback)
}

/// Whether a name in `Host` is one of this machine alone.
pub fn is_loopback(name: &str) -> bool {
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

/// The same for a server that goes by other names too.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(host: &str, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        check(&headers).is_ok()
    }

    #[test]
    fn only_loopback_names_and_the_own_origin_pass() {
        for host in ["localhost", "LocalHost:8787", "127.0.0.1:8787", "[::1]:8787", "[::1]"] {
            assert!(asked(host, None), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example:8787", "127.0.0.1.nip.io", "", "::1"] {
            assert!(!asked(host, None), "{host}");
        }
        assert!(!asked("user@evil.example", None));
        assert!(check(&HeaderMap::new()).is_err(), "no Host at all");
        assert!(asked("localhost:8787", Some("http://localhost:8787")));
        for origin in ["null", "http://evil.example", "http://localhost:9999", "https://localhost"]
        {
            assert!(!asked("localhost:8787", Some(origin)), "{origin}");
        }
    }
}
