//! Presets: listed, saved and removed.

use super::*;

#[tokio::test]
async fn presets_are_listed_saved_and_removed() {
    let server = Server::start();
    let list: Value = server.get("/api/v1/presets").await.json().await.unwrap();
    assert_eq!((&list[0]["name"], &list[0]["kind"]), (&json!("noir"), &json!("look")));
    let path = "/api/v1/presets/mine%20own";
    let saved = server.post(path, r#"{"kind": "scene", "overwrite": true}"#).await;
    assert_eq!(saved.status(), 201);
    let saved: Value = saved.json().await.unwrap();
    assert_eq!((&saved["name"], &saved["kind"]), (&json!("mine own"), &json!("scene")));
    for body in ["", "{}", r#"{"kind": "mood"}"#, r#"{"kind": "look", "colour": 1}"#] {
        let (status, _, message) = refusal(server.post(path, body).await).await;
        assert_eq!(status, 400);
        assert!(message.contains("look, style or scene"), "{message}");
    }
    let gone = server.request(Method::DELETE, "/api/v1/presets/gone").send().await.unwrap();
    assert_eq!(refusal(gone).await.0, 404);
}
