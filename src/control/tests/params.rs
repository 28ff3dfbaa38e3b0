//! Parameters over HTTP.

use super::*;
use crate::param::From;

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

#[tokio::test]
async fn many_are_set_with_one_frame_or_none() {
    let server = Server::start();
    let body = r#"{"values": {"/fx/zoom": 1.2, "/fx/mirror": "quad", "/fx/blackout": true}}"#;
    let receipts: Value = server.put("/api/v1/params", body).await.json().await.unwrap();
    let expected = json!([
        {"address": "/fx/zoom", "value": 1.2, "generation": 1},
        {"address": "/fx/mirror", "value": 3.0, "generation": 2},
        {"address": "/fx/blackout", "value": 1.0, "generation": 3},
    ]);
    assert_eq!(receipts, expected);
    let half = r#"{"values": {"/fx/zoom": 2, "/fx/hue": 999}}"#;
    let (status, _, message) = refusal(server.put("/api/v1/params", half).await).await;
    assert!(status == 400 && message.contains("/fx/hue"), "{message}");
    assert_eq!(server.desk.board.number(param::ParamId::Zoom), 1.2);
    for body in ["", "[]", "{}", r#"{"values": 1}"#, r#"{"values": {}, "fade": 1}"#] {
        assert_eq!(refusal(server.put("/api/v1/params", body).await).await.0, 400, "{body}");
    }
}

#[tokio::test]
async fn a_parameter_is_added_to_placed_turned_toggled_and_reset() {
    let server = Server::start();
    for (path, body, becomes) in [
        ("fx/zoom", r#"{"op": "add", "value": 0.5}"#, 1.5),
        ("fx/zoom", r#"{"op": "place", "value": 1}"#, 4.0),
        ("fx/kaleidoscope", r#"{"op": "turn", "value": 0.001}"#, 1.0),
        ("vfaq/fx/blackout", r#"{"op": "toggle"}"#, 1.0),
        ("fx/zoom", r#"{"op": "reset", "fade_ms": 250}"#, 1.0),
        ("fx/zoom", r#"{"value": 2}"#, 2.0),
    ] {
        let path = format!("/api/v1/params/{path}");
        for method in [Method::PATCH, Method::POST] {
            let from = |param| server.desk.board.value(param);
            let before: Vec<_> = param::REGISTRY.iter().map(from).collect();
            let answer = server.request(method.clone(), &path).body(body).send().await.unwrap();
            let receipt: Value = answer.json().await.unwrap();
            assert_eq!(receipt["value"], becomes, "{path} {body}");
            if method == Method::PATCH {
                // As it was, for the other way.
                for (param, value) in param::REGISTRY.iter().zip(before) {
                    let from = From { source: "test".into(), received: Duration::ZERO };
                    let change = param::Change::new(param, param::Op::Set(value));
                    if param.is_number() {
                        server.desk.board.apply(&change, &from).unwrap();
                    }
                }
            }
        }
    }
    let one: Value = server.get("/api/v1/params/fx/zoom").await.json().await.unwrap();
    assert_eq!((&one["value"], &one["label"]), (&json!(2.0), &json!("Zoom")));
    for body in [r#"{"op": "explode"}"#, r#"{"op": "add"}"#, r#"{"op": "add", "value": "x"}"#] {
        let answer = server.request(Method::PATCH, "/api/v1/params/fx/zoom").body(body);
        assert_eq!(refusal(answer.send().await.unwrap()).await.0, 400, "{body}");
    }
}

#[tokio::test]
async fn prompts_are_one_object() {
    let server = Server::start();
    let body = r#"{"prompt": {"append": "in heavy rain", "slots": true}, "gen": {"steps": 20}}"#;
    let now: Value = server.put("/api/v1/prompts", body).await.json().await.unwrap();
    assert_eq!(now["prompt"]["append"], "in heavy rain");
    assert_eq!((&now["prompt"]["slots"], &now["gen"]["steps"]), (&json!(1.0), &json!(20.0)));
    assert!(now["prompt"].get("brief").is_none(), "a trigger is no value");
    assert_eq!(server.get("/api/v1/prompts").await.json::<Value>().await.unwrap(), now);
    for body in [
        "[]",
        r#"{"fx": {"zoom": 2}}"#,
        r#"{"prompt": "x"}"#,
        r#"{"prompt": {"txt": "x"}}"#,
        r#"{"prompt": {"text": "new"}, "gen": {"steps": 0}}"#,
    ] {
        assert_eq!(refusal(server.put("/api/v1/prompts", body).await).await.0, 400, "{body}");
    }
    assert_eq!(server.get("/api/v1/prompts").await.json::<Value>().await.unwrap(), now);
}
