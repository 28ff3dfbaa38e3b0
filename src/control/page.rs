//! The stage page: its files are part of the program.
//!
//! Holds: the page asks no other host, runs no script and no style but its own files, and is not
//! framed. A browser asks each time whether it still has the newest files.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::error::Refusal;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                      img-src 'self' blob:; connect-src 'self'; manifest-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const JS: &str = "text/javascript; charset=utf-8";

/// A file, and what it is.
type File = (&'static str, &'static str, &'static str);

macro_rules! files {
    ($($name:literal: $kind:expr),* $(,)?) => {
        [$(($name, $kind, include_str!(concat!("page/", $name)))),*]
    };
}

const FILES: &[File] = &files! {
    "index.html": "text/html; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "app.webmanifest": "application/manifest+json",
    "main.js": JS,
    "connection.js": JS,
    "controls.js": JS,
    "dom.js": JS,
    "favourites.js": JS,
    "keys.js": JS,
    "layout.js": JS,
    "midi.js": JS,
    "model.js": JS,
    "music.js": JS,
    "presets.js": JS,
    "prompts.js": JS,
    "outputs.js": JS,
    "ring.js": JS,
    "stage.js": JS,
};

pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/", get(index)).route("/page/{name}", get(file))
}

async fn index(headers: HeaderMap) -> Response {
    answer(&FILES[0], &headers)
}

async fn file(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Refusal> {
    let found = FILES.iter().find(|file| file.0 == name);
    let file = found.ok_or_else(|| Refusal::not_found("the page has no such file"))?;
    Ok(answer(file, &headers))
}

fn answer(&(_, kind, text): &File, asked: &HeaderMap) -> Response {
    // Quick enough to do anew each time.
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    let tag = format!("\"{:016x}\"", hasher.finish());
    let known = asked.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let has_it = known.is_some_and(|known| known.split(',').any(|one| one.trim() == tag));
    let mut response = if has_it {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, kind)], text).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_the_page_asks_for_is_there_and_nothing_is_inline() {
        let names: Vec<&str> = FILES.iter().map(|file| file.0).collect();
        for (name, _, text) in FILES.iter() {
            let quoted = text.split(['"', '\'', '(', ')']);
            for asked in quoted.filter_map(|part| {
                part.strip_prefix("/page/")
                    .or_else(|| part.strip_prefix("./").filter(|p| p.ends_with(".js")))
            }) {
                assert!(names.contains(&asked), "{name} asks for {asked}");
            }
            assert!(!text.contains("innerHTML"), "{name}: text becomes markup");
        }
        let index = FILES[0].2;
        assert!(
            !index.contains("<style") && !index.contains(" style=") && !index.contains(" onclick")
        );
        assert_eq!(
            index.matches("<script").count(),
            index.matches("<script type=\"module\" src=").count()
        );
    }

    #[test]
    fn a_browser_that_has_a_file_gets_it_no_second_time() {
        let mut asked = HeaderMap::new();
        let first = answer(&FILES[1], &asked);
        assert_eq!(first.status(), StatusCode::OK);
        asked.insert(header::IF_NONE_MATCH, first.headers()[header::ETAG].clone());
        assert_eq!(answer(&FILES[1], &asked).status(), StatusCode::NOT_MODIFIED);
        assert_eq!(answer(&FILES[0], &asked).status(), StatusCode::OK);
    }
}
