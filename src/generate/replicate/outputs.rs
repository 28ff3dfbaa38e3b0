//! The files that a prediction's output names, fetched.
//!
//! Holds: the token goes to the API's own host only. Everything else is fetched by HTTPS without
//! it; one redirect is followed, never with the token. All files together are bounded.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use reqwest::header::LOCATION;
use reqwest::{Method, Response, Url};
use serde_json::Value;

use super::api::Api;
use crate::base::error::{Error, Kind, Result};
use crate::generate::LARGEST_FILE;
use crate::web::{Web, shown, words};

/// Files of one output, at most.
const MOST_FILES: usize = 4000;
/// Lists in lists that are looked into.
const DEEPEST: u32 = 4;
/// Each file is asked for so often.
const TRIES: u32 = 4;

/// The addresses in an output: a text, a list, or whatever holds some.
pub fn addresses(output: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect(output, DEEPEST, &mut found);
    found
}

fn collect(value: &Value, deep: u32, found: &mut Vec<String>) {
    if found.len() == MOST_FILES {
        return;
    }
    match value {
        Value::String(text)
            if ["https://", "http://", "data:"].iter().any(|s| text.starts_with(s)) =>
        {
            found.push(text.clone());
        }
        Value::Array(values) if deep > 0 => values.iter().for_each(|v| collect(v, deep - 1, found)),
        Value::Object(map) if deep > 0 => map.values().for_each(|v| collect(v, deep - 1, found)),
        _ => {}
    }
}

/// The contents of at most `most` files of an output.
pub async fn fetch_all(
    api: &Api,
    output: &Value,
    most: usize,
    model: &str,
) -> Result<Vec<Vec<u8>>> {
    let addresses = addresses(output);
    if addresses.is_empty() {
        return Err(Error::usage(format!(
            "{model} answers with no picture or clip, but with {}; is it a model for that?",
            words(output.to_string().as_bytes())
        )));
    }
    let mut files = Vec::new();
    let mut left = LARGEST_FILE;
    for address in addresses.iter().take(most) {
        let file = fetch(api, address, left).await.map_err(|e| e.context(model))?;
        left -= file.len().min(left);
        files.push(file);
    }
    Ok(files)
}

async fn fetch(api: &Api, address: &str, limit: usize) -> Result<Vec<u8>> {
    if let Some(data) = address.strip_prefix("data:") {
        return inline(data, limit);
    }
    let url = Url::parse(address)
        .map_err(|e| Error::unavailable("the address of a result cannot be read").with_source(e))?;
    let mut pause = api.pace.retry;
    for _ in 1..TRIES {
        match download(api, &url, limit).await {
            Err(error) if error.kind == Kind::Unavailable => {
                tracing::debug!("a result is asked for again: {error}");
            }
            other => return other,
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    download(api, &url, limit).await
}

async fn download(api: &Api, url: &Url, limit: usize) -> Result<Vec<u8>> {
    let own = api.web.is_own(url);
    let (web, mut response) = send(api, url, own).await?;
    let mut web = web;
    if response.status().is_redirection() {
        let target = response.headers().get(LOCATION).and_then(|l| l.to_str().ok());
        let target = target.and_then(|t| url.join(t).ok()).ok_or_else(|| {
            Error::unavailable(format!("fetching a result: {} sends one nowhere", web.shown()))
        })?;
        (web, response) = send(api, &target, false).await?;
    }
    const WHAT: &str = "fetching a result";
    match response.status() {
        status if status.is_success() => web.bytes(response, limit, WHAT).await,
        status if status.is_redirection() => Err(Error::usage(format!(
            "{WHAT}: {} sends one on a second time, which is not followed",
            web.shown()
        ))),
        // Results are deleted after an hour; a new one may take a moment to be everywhere.
        status if status == 404 || status == 410 => {
            Err(Error::unavailable(format!("{WHAT}: it is gone from {} ({status})", web.shown())))
        }
        _ => Err(web.refusal(response, WHAT).await),
    }
}

/// Asks for `url`, with the token only if `own` says that it is the API's.
async fn send(api: &Api, url: &Url, own: bool) -> Result<(Web, Response)> {
    if !own && url.scheme() != "https" && !api.plain_http {
        return Err(Error::usage(format!(
            "fetching a result: {} is not https, so it is not fetched",
            shown(url)
        )));
    }
    let web = if own { api.web.clone() } else { api.other.elsewhere(url) };
    let response = web
        .request_url(Method::GET, url.clone())
        .send()
        .await
        .map_err(|e| web.failed(e, "fetching a result"))?;
    Ok((web, response))
}

/// The content of a `data:` address.
fn inline(data: &str, limit: usize) -> Result<Vec<u8>> {
    let bad = || Error::unavailable("the result is a data: address that cannot be read");
    let (head, body) = data.split_once(',').ok_or_else(bad)?;
    // Base64 takes four bytes for three.
    if body.len() / 4 * 3 > limit {
        return Err(Error::unavailable(format!(
            "the result is more than the {} MB that are taken",
            LARGEST_FILE >> 20
        )));
    }
    if head.ends_with(";base64") {
        STANDARD.decode(body.trim()).map_err(|e| bad().with_source(e))
    } else {
        Ok(percent_decode_str(body).collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn addresses_are_found_wherever_they_are() {
        let url = "https://replicate.delivery/a.png";
        for output in [
            json!(url),
            json!([url]),
            json!([{"image": url, "seed": 7}]),
            json!({"text": "hello", "files": {"video": [url]}}),
        ] {
            assert_eq!(addresses(&output), [url], "{output}");
        }
        for output in [json!("hello"), json!(null), json!(7), json!([[[[[[url]]]]]])] {
            assert!(addresses(&output).is_empty(), "{output}");
        }
    }

    #[test]
    fn data_is_read_in_both_ways() {
        assert_eq!(inline("text/plain;base64,aGk=", 10).unwrap(), b"hi");
        assert_eq!(inline("text/plain,h%69", 10).unwrap(), b"hi");
        assert!(inline("nothing", 10).is_err());
        assert!(inline(&format!("a;base64,{}", "AAAA".repeat(10)), 10).is_err());
    }
}
