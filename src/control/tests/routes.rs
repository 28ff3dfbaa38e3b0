//! The plain routes.

use super::*;

#[tokio::test]
async fn health_follows_the_show() {
    let server = Server::start();
    let response = server.get("/healthz").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.text().await.unwrap(), "ok");
    *server.desk.trouble.lock().unwrap() = Some("no frame for 2 s".into());
    let response = server.get("/healthz").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.text().await.unwrap(), "no frame for 2 s");
}

#[tokio::test]
async fn state_metrics_and_page_are_served() {
    let server = Server::start();
    let state: Value = server.get("/api/v1/state").await.json().await.unwrap();
    assert_eq!(state["project"], "neon");
    assert_eq!(state["phase"], "standby");
    assert_eq!(state["warnings"][0], "a \"warning\"");
    let metrics = server.get("/metrics").await;
    assert!(metrics.headers()["content-type"].to_str().unwrap().contains("version=0.0.4"));
    assert!(metrics.text().await.unwrap().contains("\nvfaq_show_time_seconds 12.5\n"));
    let page = server.get("/").await.text().await.unwrap();
    assert!(page.contains("<title>Visual FaQtory Live</title>"));
    assert!(!page.contains("://"), "the page asks no other host");
}

#[tokio::test]
async fn go_starts_the_show_once() {
    let server = Server::start();
    for started in [true, false] {
        let response = server.request(Method::POST, "/api/v1/go").send().await.unwrap();
        assert_eq!(response.json::<Value>().await.unwrap(), json!({"started": started}));
    }
    let state: Value = server.get("/api/v1/state").await.json().await.unwrap();
    assert_eq!(state["phase"], "live");
}

#[tokio::test]
async fn the_preview_is_the_newest_picture_and_never_cached() {
    let server = Server::start();
    let (status, kind, _) = refusal(server.get("/preview.jpg").await).await;
    assert_eq!((status, kind.as_str()), (503, "unavailable"));
    *server.desk.preview.lock().unwrap() = Some(Arc::from(&b"\xff\xd8picture"[..]));
    let response = server.get("/preview.jpg?123").await;
    assert_eq!(response.headers()["content-type"], "image/jpeg");
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(&response.bytes().await.unwrap()[..], b"\xff\xd8picture");
}

#[tokio::test]
async fn unknown_paths_and_wrong_methods_are_named() {
    let server = Server::start();
    let (status, kind, message) = refusal(server.get("/api/v2/state").await).await;
    assert_eq!((status, kind.as_str()), (404, "not_found"));
    assert!(message.contains("/api/v2/state"), "{message}");
    let (status, kind, message) = refusal(server.get("/api/v1/go").await).await;
    assert_eq!((status, kind.as_str()), (405, "method_not_allowed"));
    assert!(message.contains("/api/v1/go does not answer to GET"), "{message}");
}
