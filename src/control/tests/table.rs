//! One table makes the routes and the OpenAPI document; `docs/http.md` names every one of them.

use super::super::table::{Answer, table};
use super::*;

#[tokio::test]
async fn every_route_is_there_described_and_documented() {
    let server = Server::start();
    let api: Value = server.get("/api/v1/openapi.json").await.json().await.unwrap();
    assert!(api["openapi"].as_str().unwrap().starts_with("3.1"));
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/http.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    let mut described = 0;
    let mut names = std::collections::HashSet::new();
    for route in table() {
        let path = route.path.replace("{*", "{");
        let operation = &api["paths"][&path][route.verb.name()];
        assert_eq!(operation["summary"], route.says, "{path}");
        assert!(names.insert(operation["operationId"].as_str().unwrap().to_owned()), "{path}");
        described += 1;
        let shown = path
            .replace("{address}", "ADDRESS")
            .replace("{cycle}", "N")
            .replace("{name}", "NAME")
            .replace("{key}", "KEY");
        assert!(docs.contains(&shown), "docs/http.md does not name {shown}");
        for place in path.split('/').filter(|part| part.starts_with('{')) {
            let name = place.trim_matches(['{', '}']);
            let parameters = operation["parameters"].as_array().unwrap();
            assert!(parameters.iter().any(|p| p["name"] == name && p["in"] == "path"), "{path}");
        }

        let asked = path
            .replace("{address}", "fx/zoom")
            .replace("{cycle}", "7")
            .replace("{name}", "mine")
            .replace("{key}", "1");
        let method: Method = route.verb.name().to_uppercase().parse().unwrap();
        let mut request = server.request(method, &asked);
        if let Some(body) = route.body {
            request = request.body(body().to_string());
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        assert_ne!(status, 405, "{path}");
        let text = answer.text().await.unwrap();
        assert!(!text.contains("there is nothing at"), "{path}: {text}");
        if route.body.is_some() {
            assert!(matches!(status, 200 | 201), "the example of {path}: {status} {text}");
        }
        if route.answer == Answer::Json && status == 200 {
            serde_json::from_str::<Value>(&text).expect(&path);
        }
    }
    let paths = api["paths"].as_object().unwrap();
    let all: usize = paths.values().map(|verbs| verbs.as_object().unwrap().len()).sum();
    assert_eq!(all, described, "nothing is described that is not there");
    let values = api["components"]["schemas"]["Values"]["properties"].as_object().unwrap();
    assert_eq!(values.len(), param::REGISTRY.len());
    assert_eq!(values["/fx/zoom"]["maximum"], 4.0);
    assert_eq!(values["/fx/mirror"]["anyOf"][0]["enum"][3], "quad");
}

#[tokio::test]
async fn the_page_of_the_interface_asks_no_other_host() {
    let server = Server::start();
    let answer = server.get("/api").await;
    let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'none'") && policy.contains("connect-src 'self'"));
    let page = answer.text().await.unwrap();
    assert!(page.contains("/api/v1/openapi.json") && !page.contains("://"), "{page}");
}
