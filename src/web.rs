//! The HTTP client of everything that asks a server: addresses, limits, and what went wrong.
//!
//! Holds: no answer is read past its limit. A redirect is never followed, for it would carry headers
//! elsewhere; it is told. No error shows a credential: addresses are shown without user, password
//! and query.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};
use std::time::Duration;

use futures_util::StreamExt;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Certificate, Client, Method, RequestBuilder, Response, StatusCode, Url, redirect};
use serde_json::Value;

use crate::base::error::{Error, Result};
use crate::base::redact::Secret;

/// Longest wait for a connection.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// Longest silence in the middle of an answer.
const READ_PATIENCE: Duration = Duration::from_secs(60);
/// Of an error's own words, as many as are shown.
const SHOWN_CHARS: usize = 300;
/// Bytes of JSON that are read at most.
pub const JSON_LIMIT: usize = 32 << 20;

/// How a server is to be asked.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Sent with every request.
    pub headers: Vec<(String, Secret)>,
    /// Sent as `Authorization: Bearer`.
    pub bearer: Option<Secret>,
    /// PEM certificates that count beside those of the system.
    pub ca_file: Option<PathBuf>,
}

/// A server, or a part of one: everything below its base address.
#[derive(Clone)]
pub struct Web {
    client: Client,
    base: Url,
    shown: Arc<str>,
}

impl Web {
    /// `base` may have a path, which stands before every other. `key` names the setting that it
    /// comes from.
    pub fn new(base: &str, key: &str, options: &Options) -> Result<Web> {
        Web::patient(base, key, options, READ_PATIENCE)
    }

    /// As [`Self::new`], for a server that may be silent for as long as `patience`.
    pub fn patient(base: &str, key: &str, options: &Options, patience: Duration) -> Result<Web> {
        let mut base = Url::parse(base.trim()).map_err(|e| {
            Error::usage(format!("{key}: this is no address such as http://127.0.0.1:8188"))
                .with_source(e)
        })?;
        if !base.path().ends_with('/') {
            let path = format!("{}/", base.path());
            base.set_path(&path);
        }
        base.set_query(None);
        base.set_fragment(None);
        let mut headers = HeaderMap::new();
        for (name, value) in &options.headers {
            let bad = || Error::usage(format!("{key}: {name:?} and its value make no HTTP header"));
            let name: HeaderName = name.parse().map_err(|_| bad())?;
            headers.insert(name, header(value.reveal()).ok_or_else(bad)?);
        }
        if let Some(token) = &options.bearer {
            let value = header(&format!("Bearer {}", token.reveal())).ok_or_else(|| {
                Error::usage(format!("{key}: the token has characters that no header can have"))
            })?;
            headers.insert(AUTHORIZATION, value);
        }
        use_ring();
        let mut client = Client::builder()
            .default_headers(headers)
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_PATIENCE)
            .read_timeout(patience)
            .tcp_nodelay(true)
            .user_agent(concat!("visual-faqtory/", env!("CARGO_PKG_VERSION")));
        if let Some(file) = &options.ca_file {
            client = client.tls_certs_merge(certificates(file)?);
        }
        let client = client.build().map_err(|e| {
            Error::unavailable(format!("{key}: the HTTP client cannot start")).with_source(e)
        })?;
        let shown = shown(&base).trim_end_matches('/').into();
        Ok(Web { client, base, shown })
    }

    /// The base address, as messages show it.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// The address of `path`, which is relative to the base and needs no leading slash.
    pub fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        let (path, query) = match path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path, None),
        };
        let joined = format!("{}{}", self.base.path(), path.trim_start_matches('/'));
        url.set_path(&joined);
        url.set_query(query);
        url
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path))
    }

    /// A request to any address, with the headers of this server: only for one on its own host.
    pub fn request_url(&self, method: Method, url: Url) -> RequestBuilder {
        self.client.request(method, url)
    }

    /// The same client, with the same headers, for the server of `url`.
    pub fn elsewhere(&self, url: &Url) -> Web {
        let mut base = url.clone();
        base.set_path("/");
        base.set_query(None);
        base.set_fragment(None);
        let shown = shown(&base).trim_end_matches('/').into();
        Web { client: self.client.clone(), base, shown }
    }

    /// Whether `url` is on this server (scheme, host and port).
    pub fn is_own(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    /// Sends the request. An answer of any status but a redirect is handed on; `what` says what
    /// was being asked for.
    pub async fn send(&self, request: RequestBuilder, what: &str) -> Result<Response> {
        let response = request.send().await.map_err(|e| self.failed(e, what))?;
        if response.status().is_redirection() {
            let target = response.headers().get(LOCATION).and_then(|l| l.to_str().ok());
            let target = target.and_then(|t| response.url().join(t).ok());
            let target = target.map_or_else(|| "elsewhere".to_owned(), |url| shown(&url));
            return Err(Error::usage(format!(
                "{what}: {} sends one on to {target}, which is not followed; if that is the \
                 server, write its address instead",
                self.shown
            )));
        }
        Ok(response)
    }

    /// As [`Self::send`], for an answer that must be a success.
    pub async fn ask(&self, request: RequestBuilder, what: &str) -> Result<Response> {
        let response = self.send(request, what).await?;
        if response.status().is_success() {
            Ok(response)
        } else {
            Err(self.refusal(response, what).await)
        }
    }

    /// A success, as JSON.
    pub async fn ask_json(&self, request: RequestBuilder, what: &str) -> Result<Value> {
        let response = self.ask(request, what).await?;
        self.json(response, what).await
    }

    /// The answer as JSON, whatever its status.
    pub async fn json(&self, response: Response, what: &str) -> Result<Value> {
        self.json_within(response, JSON_LIMIT, what).await
    }

    /// As [`Self::json`], of at most `limit` bytes.
    pub async fn json_within(&self, response: Response, limit: usize, what: &str) -> Result<Value> {
        let is_page = is_page(response.headers());
        let bytes = self.bytes(response, limit, what).await?;
        serde_json::from_slice(&bytes).map_err(|e| {
            if is_page || bytes.trim_ascii_start().starts_with(b"<") {
                return self.is_a_page(what);
            }
            Error::unavailable(format!(
                "{what}: {} answers with something that is no JSON ({})",
                self.shown,
                words(&bytes)
            ))
            .with_source(e)
        })
    }

    /// The answer's body, of at most `limit` bytes.
    pub async fn bytes(&self, response: Response, limit: usize, what: &str) -> Result<Vec<u8>> {
        let too_much = |found: u64| {
            Error::unavailable(format!(
                "{what}: {} sends {} MB, which is more than the {} MB that are taken",
                self.shown,
                found >> 20,
                limit >> 20
            ))
        };
        let announced = response.content_length().unwrap_or(0);
        if announced > limit as u64 {
            return Err(too_much(announced));
        }
        let mut bytes = Vec::with_capacity((announced as usize).min(16 << 20));
        let mut stream = response.bytes_stream();
        while let Some(part) = stream.next().await {
            let part = part.map_err(|e| self.failed(e, what))?;
            if bytes.len() + part.len() > limit {
                return Err(too_much((bytes.len() + part.len()) as u64));
            }
            bytes.extend_from_slice(&part);
        }
        Ok(bytes)
    }

    /// What an answer without success means. Reads its body.
    pub async fn refusal(&self, response: Response, what: &str) -> Error {
        /// An error's body is for people.
        const LIMIT: usize = 64 << 10;
        let status = response.status();
        let page = is_page(response.headers());
        let body = self.bytes(response, LIMIT, what).await.unwrap_or_default();
        let said = if page { "a web page".to_owned() } else { words(&body) };
        self.status_error(status, &said, what)
    }

    /// What an answer of this status means; `said` is what the server says itself.
    pub fn status_error(&self, status: StatusCode, said: &str, what: &str) -> Error {
        let server = &self.shown;
        let code = status.as_u16();
        let said = if said.is_empty() { String::new() } else { format!(": {said}") };
        match code {
            401 => Error::usage(format!(
                "{what}: {server} wants to know who asks (401{said}); set its key or header"
            )),
            403 => Error::usage(format!(
                "{what}: {server} refuses (403{said}); the key or header is wrong, or a proxy \
                 does not let this program through"
            )),
            404 => Error::usage(format!(
                "{what}: {server} has no such thing (404{said}); is the address right, with its \
                 port and path?"
            )),
            413 => Error::usage(format!("{what}: too large for {server} (413{said})")),
            429 => Error::unavailable(format!("{what}: {server} is asked too often (429{said})")),
            500.. => Error::unavailable(format!("{what}: {server} failed ({code}{said})")),
            _ => Error::usage(format!("{what}: {server} does not accept that ({code}{said})")),
        }
    }

    fn is_a_page(&self, what: &str) -> Error {
        Error::usage(format!(
            "{what}: {} answers with a web page, so something else listens there; check the port \
             and the path of the address",
            self.shown
        ))
    }

    /// What a request without an answer means.
    pub fn failed(&self, error: reqwest::Error, what: &str) -> Error {
        let server = &self.shown;
        // The library's own texts name the address with all that is in it.
        let error = error.without_url();
        let mut causes = Vec::new();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            causes.push(cause.to_string());
            source = cause.source();
        }
        let causes_text = causes.join(": ");
        // Not every word of TLS: a connection that was cut off has one, too.
        let tls = ["certificate", "InvalidContentType", "HandshakeFailure", "ProtocolVersion"];
        if tls.iter().any(|word| causes_text.contains(word)) {
            let why = causes.last().cloned().unwrap_or_default();
            return Error::usage(format!(
                "{what}: no secure connection to {server}: {why}; is it https at all, and if its \
                 certificate is its own, name that in tls_ca_file"
            ));
        }
        if error.is_timeout() {
            return Error::unavailable(format!("{what}: {server} does not answer in time"));
        }
        if error.is_connect() {
            let why = causes.last().cloned().unwrap_or_default();
            return Error::unavailable(format!(
                "{what}: {server} cannot be reached: {why}; is it running, and is the address right?"
            ));
        }
        Error::unavailable(format!("{what}: the connection to {server} broke off: {causes_text}"))
    }
}

/// Every connection of the program uses this one implementation of the ciphers; to be called before
/// any HTTP client is built.
pub fn use_ring() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Somebody else may have chosen already: that is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

fn header(value: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn certificates(file: &Path) -> Result<Vec<Certificate>> {
    let pem = std::fs::read(file)
        .map_err(|e| Error::io(format!("cannot read tls_ca_file {}", file.display()), e))?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(Error::usage(format!(
            "tls_ca_file {} holds no certificate in PEM form",
            file.display()
        ))),
    }
}

fn is_page(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).and_then(|t| t.to_str().ok()).is_some_and(|t| t.contains("html"))
}

/// An address without user, password, query and fragment.
pub fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Addresses that can have none of these have none to show.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

/// The beginning of a text that a server sent, on one line.
pub fn words(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * SHOWN_CHARS)]);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line: String = line.chars().filter(|c| !c.is_control()).take(SHOWN_CHARS).collect();
    crate::base::redact::hide(&line).into_owned()
}

#[cfg(test)]
mod tests;
