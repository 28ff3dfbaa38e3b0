//! Parameters over HTTP.

use super::*;

#[tokio::test]
async fn a_parameter_is_set_and_listed_with_its_present_value() {
    let server = Server::start();
    let receipt: Value =
        server.put("/api/v1/params/fx/zoom", r#"{"value": 1.5}"#).await.json().await.unwrap();
    assert_eq!(receipt, json!({"address": "/fx/zoom", "value": 1.5, "generation": 1}));
    assert_eq!(&*server.desk.board.changed_since(0).1[0].source, "http");
    let list: Value = server.get("/api/v1/params").await.json().await.unwrap();
    assert_eq!(list.as_array().unwrap().len(), param::REGISTRY.len());
    let entry = |address| list.as_array().unwrap().iter().find(|p| p["address"] == address);
    let zoom = entry("/fx/zoom").unwrap();
    assert_eq!((&zoom["value"], &zoom["max"]), (&json!(1.5), &json!(4.0)));
    assert_eq!((&zoom["kind"], &zoom["applies"]), (&json!("float"), &json!("now")));
    let hue = entry("/fx/hue").unwrap();
    assert_eq!(hue["value"], 0.0);
}

#[tokio::test]
async fn bad_changes_are_refused_and_change_nothing() {
    let server = Server::start();
    let zoom = "/api/v1/params/fx/zoom";
    for body in [
        "",
        "{",
        "1.5",
        "{\"value\": NaN}",
        "{\"value\": 1e999}",
        "{\"value\": 1e300}",
        "{\"value\": 9}",
        "{\"value\": \"wide\"}",
        "{\"value\": [1.5]}",
        "{\"value\": null}",
        "{\"value\": 1.5, \"ramp\": 3}",
        "\u{0}\u{feff}",
    ] {
        let (status, kind, message) = refusal(server.put(zoom, body).await).await;
        assert_eq!((status, kind.as_str()), (400, "usage"), "{body}: {message}");
        assert!(message.contains("/fx/zoom"), "{message}");
    }
    let (status, kind, message) =
        refusal(server.put("/api/v1/params/fx/zom", "{\"value\": 2}").await).await;
    assert_eq!((status, kind.as_str()), (404, "not_found"));
    assert!(message.contains("did you mean /fx/zoom"), "{message}");
    let deep = format!("{{\"value\": {}", "[".repeat(60_000));
    assert_eq!(refusal(server.put(zoom, deep).await).await.0, 400);
    assert_eq!(server.desk.board.values(), param::Values::default());
}
