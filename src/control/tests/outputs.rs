//! Outputs: added, listed and changed, and what is refused.

use super::*;

#[tokio::test]
async fn outputs_are_added_listed_and_changed() {
    let server = Server::start();
    let list: Value = server.get("/api/v1/outputs").await.json().await.unwrap();
    assert_eq!(list, json!([]));
    let added = server.post("/api/v1/outputs", r#"{"uri": "null:#name=Count"}"#).await;
    assert_eq!(added.status(), StatusCode::CREATED);
    let added: Value = added.json().await.unwrap();
    assert_eq!((&added["id"], &added["kind"]), (&json!(1), &json!("null")));
    // Options may stand beside the URI, as in config.yaml.
    let body = json!({
        "uri": "rtmp://live.example/app", "key": "outputs-secret/#1", "name": "Main stage",
        "bitrate": 4500, "adaptive": false, "profile": null,
    });
    let added = server.post("/api/v1/outputs", body.to_string()).await;
    assert_eq!(added.status(), StatusCode::CREATED);
    let text = added.text().await.unwrap();
    assert!(text.contains("rtmp://live.example/app/***"), "{text}");
    assert!(!text.contains("outputs-secret"), "{text}");

    let list: Value = server.get("/api/v1/outputs").await.json().await.unwrap();
    let uris: Vec<_> = list.as_array().unwrap().iter().map(|o| o["uri"].clone()).collect();
    assert_eq!(uris, [json!("null:"), json!("rtmp://live.example/app/***")]);
    for key in ["2", "Main%20stage"] {
        let one = server.get(&format!("/api/v1/outputs/{key}")).await;
        let one: Value = one.json().await.unwrap();
        assert_eq!((&one["id"], &one["state"]), (&json!(2), &json!("starting")));
    }
    for path in ["Count/stop", "1/start", "Main%20stage/retry"] {
        let answer = server.post(&format!("/api/v1/outputs/{path}"), "").await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        assert!(answer.json::<Value>().await.unwrap()["id"].is_u64(), "{path}");
    }
    let removed = server.request(Method::DELETE, "/api/v1/outputs/2").send().await.unwrap();
    assert_eq!(removed.status(), StatusCode::OK);
    let changes = [
        (OutputChange::Stop, 1),
        (OutputChange::Start, 1),
        (OutputChange::Retry, 2),
        (OutputChange::Remove, 2),
    ];
    assert_eq!(*server.desk.changes.lock().unwrap(), changes);
}

#[tokio::test]
async fn bad_outputs_are_refused_without_a_word_of_what_may_be_a_key() {
    let server = Server::start();
    for body in [
        "",
        "{",
        "\"sk-s3cr3t\"",
        "{\"uri\": 7}",
        "{\"uri\": \"sk-s3cr3t\"}",
        "{\"uri\": \"sk-s3cr3t://host/app\"}",
        "{\"uri\": \"rtmp://host\", \"sk-s3cr3t\": 1}",
        "{\"uri\": \"rtmp://host/app/sk-s3cr3t\", \"key\": [\"sk-s3cr3t\"]}",
        "{\"uri\": \"rtmp://host/app/sk-s3cr3t#nam=x\"}",
        "{\"uri\": \"srt://host:1\", \"passphrase\": \"sk-s3cr3t\", \"latency\": -1}",
        "{\"sk-s3cr3t\": \"null:\"}",
    ] {
        let (status, kind, message) = refusal(server.post("/api/v1/outputs", body).await).await;
        assert_eq!((status, kind.as_str()), (400, "usage"), "{body}: {message}");
        assert!(!message.contains("s3cr3t"), "{body}: {message}");
        assert!(message.len() > 10, "{body}: {message}");
    }
    let huge = format!("{{\"uri\": \"null:{}\"}}", "x".repeat(70_000));
    assert_eq!(refusal(server.post("/api/v1/outputs", huge).await).await.0, 413);
    assert!(server.desk.outputs().is_empty());
}

#[tokio::test]
async fn changes_of_outputs_that_cannot_be_say_why() {
    let server = Server::start();
    let null = r#"{"uri": "null:"}"#;
    assert_eq!(server.post("/api/v1/outputs", null).await.status(), StatusCode::CREATED);
    let (status, kind, message) = refusal(server.post("/api/v1/outputs", null).await).await;
    assert_eq!((status, kind.as_str()), (409, "conflict"));
    assert!(message.contains("null: is there already"), "{message}");

    for (method, path) in [
        (Method::GET, "9"),
        (Method::DELETE, "9"),
        (Method::POST, "9/stop"),
        (Method::POST, "9/start"),
        (Method::POST, "9/retry"),
    ] {
        let request = server.request(method, &format!("/api/v1/outputs/{path}"));
        let (status, kind, message) = refusal(request.send().await.unwrap()).await;
        assert_eq!((status, kind.as_str()), (404, "not_found"), "{path}");
        assert!(message.contains("'9'; there are: 1"), "{message}");
    }
    assert_eq!(refusal(server.post("/api/v1/outputs/1/pause", "").await).await.0, 404);
    assert_eq!(refusal(server.get("/api/v1/outputs/1/stop").await).await.0, 405);
    assert_eq!(refusal(server.put("/api/v1/outputs", null).await).await.0, 405);

    // This desk is ending when it is live.
    *server.desk.live.lock().unwrap() = true;
    for (path, body) in [("", r#"{"uri": "null:#name=b"}"#), ("/1/retry", "")] {
        let answer = server.post(&format!("/api/v1/outputs{path}"), body).await;
        let (status, kind, message) = refusal(answer).await;
        assert_eq!((status, kind.as_str()), (503, "unavailable"), "{path}");
        assert!(message.contains("ending"), "{message}");
    }
    assert!(server.desk.changes.lock().unwrap().is_empty());
    assert_eq!(server.desk.outputs()[0].state, OutputState::Starting);
}
