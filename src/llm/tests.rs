//! Writers against local servers that answer well, badly, slowly and not at all.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{Html, IntoResponse, Response};
use serde_json::{Value, json};

use super::*;
use crate::media::CycleId;

const KEY: &str = "sk-do-not-show-this";

pub(super) fn settings(provider: &str, api_url: Option<String>) -> Llm {
    Llm {
        provider: Some(provider.into()),
        model: None,
        api_url,
        api_key_env: None,
        api_key_file: None,
        timeout: Duration::from_secs(20),
    }
}

/// What a server was sent: path with query, headers, body.
type Seen = Arc<Mutex<Vec<(String, HeaderMap, Value)>>>;

/// A server that answers every request by `answer`, given the body. Its address ends in `/base`.
async fn serve(
    answer: impl Fn(&Value) -> Response + Clone + Send + Sync + 'static,
) -> (String, Seen) {
    let seen = Seen::default();
    let shared = seen.clone();
    let routes = Router::new().fallback(move |uri: Uri, headers: HeaderMap, body: Bytes| {
        let body = serde_json::from_slice(&body).unwrap_or_default();
        let response = answer(&body);
        shared.lock().unwrap().push((uri.to_string(), headers, body));
        async move { response }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (format!("http://{address}/base"), seen)
}

/// The provider with a key, at this address.
fn provider(provider: &str, url: &str) -> Arc<dyn Writer> {
    let mut llm = settings(provider, Some(url.into()));
    llm.api_key_env = Some("KEY".into());
    let env = |_: &str| Some(KEY.to_owned());
    match provider {
        "openai" => Arc::new(openai::OpenAi::new(&llm, &env).unwrap()),
        _ => Arc::new(google::Google::new(&llm, &env).unwrap()),
    }
}

fn openai_answer(text: &str) -> Value {
    json!({"choices": [{"finish_reason": "stop", "message": {"content": text}}]})
}

fn google_answer(text: &str) -> Value {
    json!({"candidates": [{"finishReason": "STOP", "content": {"parts": [
        {"text": "I think", "thought": true}, {"text": text},
    ]}}]})
}

fn answer_of(provider: &str, text: &str) -> Response {
    let answer = if provider == "openai" { openai_answer(text) } else { google_answer(text) };
    axum::Json(answer).into_response()
}

fn ask() -> Ask {
    Ask { cycle: CycleId(3), prompt: "a glass forest".into(), ..Ask::default() }
}

const GOOD: &str = r#"{"prompt_delta": "thin rain", "video_prompt": "rain falls"}"#;

#[tokio::test]
async fn each_provider_is_asked_by_schema_with_the_key_in_a_header_alone() {
    for (name, path, header, value) in [
        ("openai", "/base/chat/completions", "authorization", format!("Bearer {KEY}")),
        (
            "google",
            "/base/models/gemini-flash-latest:generateContent",
            "x-goog-api-key",
            KEY.to_owned(),
        ),
    ] {
        let (url, seen) = serve(move |_| answer_of(name, &format!("```json\n{GOOD}\n```"))).await;
        let read = provider(name, &url).write(&ask()).await.unwrap();
        assert_eq!(read.prompt_delta, "thin rain");
        assert_eq!(read.video_prompt.as_deref(), Some("rain falls"));
        let (uri, headers, body) = seen.lock().unwrap()[0].clone();
        assert_eq!(uri, path);
        assert_eq!(headers[header], value);
        let text = body.to_string();
        assert!(text.contains("a glass forest") && !text.contains(KEY), "{text}");
        let schema = if name == "openai" {
            assert_eq!(body["model"], "gpt-4o-mini");
            assert_eq!(body["response_format"]["json_schema"]["strict"], true);
            &body["response_format"]["json_schema"]["schema"]
        } else {
            assert_eq!(body["generationConfig"]["responseMimeType"], "application/json");
            &body["generationConfig"]["responseSchema"]
        };
        assert_eq!(schema["required"][0], "prompt_delta", "{schema}");
        assert!(schema["properties"]["video_prompt"].is_object(), "{schema}");
    }
}

#[tokio::test]
async fn a_server_that_knows_no_schema_is_asked_more_simply_and_that_is_remembered() {
    for (allowed, requests) in [("json_object", 2), ("none", 3)] {
        let (url, seen) =
            serve(move |body| match body["response_format"]["type"].as_str().unwrap_or("none") {
                form if form == allowed => answer_of("openai", GOOD),
                _ => (StatusCode::BAD_REQUEST, "response_format: unknown").into_response(),
            })
            .await;
        let writer = provider("openai", &url);
        writer.write(&ask()).await.unwrap();
        assert_eq!(seen.lock().unwrap().len(), requests);
        writer.write(&ask()).await.unwrap();
        assert_eq!(seen.lock().unwrap().len(), requests + 1, "{allowed}");
    }
    let (url, seen) = serve(|_| (StatusCode::BAD_REQUEST, "no such model").into_response()).await;
    let error = provider("openai", &url).write(&ask()).await.unwrap_err().to_string();
    assert!(error.contains("llm.model") && error.contains("no such model"), "{error}");
    assert_eq!(seen.lock().unwrap().len(), 3, "it is tried in each form once");
}

#[tokio::test]
async fn every_bad_answer_is_told_apart_and_shows_no_key() {
    let huge = || Body::from(vec![b' '; ANSWER_LIMIT + 1]).into_response();
    let status = |code: u16| {
        let code = StatusCode::from_u16(code).unwrap();
        move || (code, format!("no, {KEY}!")).into_response()
    };
    let json = |value: Value| move || axum::Json(value.clone()).into_response();
    type Make = Box<dyn Fn() -> Response + Send + Sync>;
    let bad: Vec<(&str, Make, &str)> = vec![
        ("*", Box::new(status(401)), "llm.api_key_env"),
        ("*", Box::new(status(403)), "llm.api_key_env"),
        ("*", Box::new(status(404)), "llm.model"),
        ("*", Box::new(status(429)), "too often"),
        ("*", Box::new(status(500)), "failed (500"),
        ("*", Box::new(|| Html("<html>hello</html>").into_response()), "a web page"),
        (
            "*",
            Box::new(|| (StatusCode::BAD_GATEWAY, Html("<html>x</html>")).into_response()),
            "a web page",
        ),
        ("*", Box::new(|| "gar{bage".into_response()), "no JSON"),
        ("*", Box::new(huge), "more than the 1 MB"),
        ("*", Box::new(json(json!([]))), "no text"),
        ("*", Box::new(json(json!({"choices": 3, "candidates": "x"}))), "no text"),
        ("*", Box::new(json(json!({"error": {"message": "out of tea"}}))), "out of tea"),
        (
            "openai",
            Box::new(json(json!({"choices": [{"message": {"refusal": "I will not"}}]}))),
            "a refusal: I will not",
        ),
        (
            "openai",
            Box::new(json(json!({"choices": [
                {"finish_reason": "length", "message": {"content": "{\"prompt_del"}},
            ]}))),
            "cut off",
        ),
        ("openai", Box::new(json(openai_answer("I am sorry."))), "I am sorry"),
        ("google", Box::new(json(json!({"promptFeedback": {"blockReason": "SAFETY"}}))), "SAFETY"),
        (
            "google",
            Box::new(json(json!({"candidates": [{"finishReason": "RECITATION"}]}))),
            "RECITATION",
        ),
        ("google", Box::new(json(google_answer("{}"))), "prompt_delta is missing"),
    ];
    for (whose, make, part) in bad {
        let make = Arc::new(make);
        for name in ["openai", "google"].into_iter().filter(|name| whose == "*" || whose == *name) {
            let make = make.clone();
            let (url, _) = serve(move |_| make()).await;
            let error = provider(name, &url).write(&ask()).await.unwrap_err();
            let message = error.to_string();
            assert!(message.contains(part), "{name}: {part}: {message}");
            assert!(!message.contains(KEY), "{message}");
        }
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_keeps_nobody_waiting() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    for name in ["openai", "google"] {
        let ahead = Ahead::new(provider(name, &url), Duration::from_millis(100));
        ahead.begin(ask());
        assert_eq!(ahead.take(CycleId(3)), None);
        ahead.begin(ask());
        tokio::time::timeout(Duration::from_secs(4), async {
            while ahead.counters().failed == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .unwrap();
        assert_eq!(ahead.take(CycleId(3)), None);
        let error = ahead.counters().last_error.unwrap();
        assert!(error.contains("within 0.1 s") && error.contains(name), "{error}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(128))]

    #[test]
    fn any_json_from_a_server_is_a_text_or_an_error(value in suggestion::tests::any_json()) {
        let llm = settings("openai", Some("http://127.0.0.1:1".into()));
        let env = |_: &str| None;
        static OPENAI: std::sync::OnceLock<openai::OpenAi> = std::sync::OnceLock::new();
        static GOOGLE: std::sync::OnceLock<google::Google> = std::sync::OnceLock::new();
        let openai = OPENAI.get_or_init(|| openai::OpenAi::new(&llm, &env).unwrap());
        let google = GOOGLE.get_or_init(|| google::Google::new(&llm, &env).unwrap());
        for value in [
            json!({"choices": [value]}),
            json!({"choices": [{"message": value}]}),
            json!({"candidates": [value]}),
            json!({"candidates": [{"content": {"parts": value}}]}),
            value,
        ] {
            for read in [openai.text(&value), google.text(&value)] {
                proptest::prop_assert!(read.is_err() || !read.unwrap().trim().is_empty());
            }
        }
    }
}

#[test]
fn only_a_provider_makes_a_writer() {
    let mut llm = settings("mock", None);
    assert_eq!(writer(&llm).unwrap().unwrap().name(), "mock");
    llm.provider = Some("google".into());
    llm.api_url = Some("http://127.0.0.1:1".into());
    assert_eq!(writer(&llm).unwrap().unwrap().name(), "google gemini-flash-latest");
    for model in ["a/../b", "a?key=b", "..", "models/"] {
        llm.model = Some(model.into());
        assert!(writer(&llm).err().unwrap().to_string().contains("llm.model"), "{model}");
    }
    llm.provider = None;
    assert!(writer(&llm).unwrap().is_none());
}
