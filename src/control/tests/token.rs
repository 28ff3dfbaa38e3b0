//! From other machines: nothing without the token, and wrong ones cost time.
//!
//! The other machine is a loopback address that the server takes for none: it hands on what came from
//! elsewhere, as a proxy on this machine does.

use super::super::access::tests::{TOKEN, access};
use super::*;

/// As a proxy on this machine sends what it got from elsewhere.
const ELSEWHERE: (&str, &str) = ("x-forwarded-for", "192.0.2.9");

fn server() -> Server {
    Server::at("127.0.0.1:0", access(Some(TOKEN), &["stage.example"]))
}

fn from_elsewhere(server: &Server, method: Method, path: &str) -> reqwest::RequestBuilder {
    server.request(method, path).header(ELSEWHERE.0, ELSEWHERE.1)
}

#[tokio::test]
async fn from_this_machine_no_token_is_needed_and_from_elsewhere_it_is() {
    let server = server();
    assert_eq!(server.get("/api/v1/state").await.status(), StatusCode::OK);
    for (method, path) in [
        (Method::GET, "/"),
        (Method::GET, "/healthz"),
        (Method::GET, "/metrics"),
        (Method::GET, "/api/v1/state"),
        (Method::GET, "/api/v1/ws"),
        (Method::GET, "/nowhere"),
        (Method::POST, "/api/v1/go"),
    ] {
        let answer = from_elsewhere(&server, method.clone(), path).send().await.unwrap();
        assert_eq!(answer.headers()["www-authenticate"], "Bearer");
        let (status, kind, message) = refusal(answer).await;
        assert_eq!((status, &*kind), (401, "unauthorized"), "{path}");
        assert!(message.contains("Bearer"), "{message}");
        let let_in = from_elsewhere(&server, method, path).bearer_auth(TOKEN).send().await.unwrap();
        assert_ne!(let_in.status(), StatusCode::UNAUTHORIZED, "{path}");
    }
    // By another name than a loopback one it is elsewhere, too.
    let named = server.request(Method::GET, "/api/v1/state").header("host", "stage.example");
    assert_eq!(named.send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let metrics = server.get("/metrics").await.text().await.unwrap();
    assert!(metrics.contains("vfaq_http_refused_total{reason=\"no_token\"} 8"), "{metrics}");
}

#[tokio::test]
async fn the_address_with_the_token_gives_a_cookie_once_and_leads_to_the_page() {
    let server = server();
    let client =
        Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let get = |path: &str| {
        let url = format!("http://{}{path}", server.addr);
        client.get(url).header(ELSEWHERE.0, ELSEWHERE.1).header("accept", "text/html")
    };
    let asked = get("/").send().await.unwrap();
    assert_eq!(asked.status(), StatusCode::UNAUTHORIZED);
    assert!(asked.text().await.unwrap().contains("name=\"token\""), "a person is asked for it");
    let answer = get(&format!("/?token={TOKEN}")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    assert_eq!(answer.headers()["location"], "/");
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains(TOKEN), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();
    let page = get("/").header("cookie", format!("a=b; {cookie}")).send().await.unwrap();
    assert_eq!(page.status(), StatusCode::OK);
    let wrong = get("/").header("cookie", "vfaq=0000").send().await.unwrap();
    assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED);
    // Only the page takes it from its address.
    let state = get(&format!("/api/v1/state?token={TOKEN}")).send().await.unwrap();
    assert_eq!(state.status(), StatusCode::UNAUTHORIZED);
    // On the machine itself it leads to the page as well.
    let here = client.get(format!("http://{}/?token=x", server.addr)).send().await.unwrap();
    assert_eq!(here.status(), StatusCode::SEE_OTHER);
    assert!(!here.headers().contains_key("set-cookie"));
}

#[tokio::test]
async fn wrong_tokens_are_counted_and_slowed_down_and_shown_to_nobody() {
    let server = server();
    let mut answers = Vec::new();
    for n in 0..8 {
        let guess = format!("guess-number-{n}-of-many");
        let answer = from_elsewhere(&server, Method::GET, "/api/v1/state").bearer_auth(&guess);
        let answer = answer.send().await.unwrap();
        let status = answer.status().as_u16();
        if status == 429 {
            let wait: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
            assert!((1..=31).contains(&wait));
        }
        let text = answer.text().await.unwrap();
        assert!(!text.contains(&guess) && !text.contains(TOKEN), "{text}");
        answers.push(status);
    }
    assert_eq!(answers, [401, 401, 401, 401, 401, 429, 429, 429]);
    // Whoever is here goes on.
    assert_eq!(server.get("/api/v1/state").await.status(), StatusCode::OK);
    let metrics = server.get("/metrics").await.text().await.unwrap();
    for line in ["{reason=\"wrong_token\"} 5", "{reason=\"slowed\"} 3"] {
        assert!(metrics.contains(&format!("vfaq_http_refused_total{line}")), "{metrics}");
    }
    assert!(!metrics.contains(TOKEN));
}

#[tokio::test]
async fn all_addresses_are_served_once_there_is_a_token() {
    let server = Server::at("0.0.0.0:0", access(Some(TOKEN), &[]));
    let port = server.addr.port();
    let here = server.client.get(format!("http://127.0.0.1:{port}/api/v1/state"));
    assert_eq!(here.send().await.unwrap().status(), StatusCode::OK);
    let reachable = reachable(server.addr);
    if !reachable.ip().is_unspecified() && !reachable.ip().is_loopback() {
        // From the machine itself, but not by a loopback name: as from elsewhere.
        let get = || server.client.get(format!("http://{reachable}/api/v1/state"));
        assert_eq!(get().send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
        let let_in = get().bearer_auth(TOKEN).send().await.unwrap();
        assert_eq!(let_in.status(), StatusCode::OK);
        let rebound = get().bearer_auth(TOKEN).header("host", format!("evil.example:{port}"));
        assert_eq!(rebound.send().await.unwrap().status(), StatusCode::FORBIDDEN);
        let foreign = get().bearer_auth(TOKEN).header("origin", "http://evil.example");
        assert_eq!(foreign.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    }
}
