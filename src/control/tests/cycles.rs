//! The cycles: pages of them, small pictures, and videos in ranges.

use super::*;

#[tokio::test]
async fn cycles_come_in_pages_newest_first() {
    let server = Server::start();
    let (mut path, mut seen) = ("/api/v1/cycles?limit=3".to_owned(), Vec::new());
    loop {
        let page: Value = server.get(&path).await.json().await.unwrap();
        assert_eq!(page["total"], 8);
        let cycles = page["cycles"].as_array().unwrap();
        seen.extend(cycles.iter().map(|cycle| cycle["cycle"].as_u64().unwrap()));
        let Some(next) = page["next"].as_u64() else { break };
        path = format!("/api/v1/cycles?limit=3&before={next}");
    }
    assert_eq!(seen, [7, 6, 5, 4, 3, 2, 1, 0]);
    for query in ["limit=x", "before=-1", "page=2"] {
        let answer = refusal(server.get(&format!("/api/v1/cycles?{query}")).await).await;
        assert_eq!(answer.0, 400, "{query}");
    }
    let one: Value = server.get("/api/v1/cycles/7").await.json().await.unwrap();
    assert_eq!((&one["cycle"], &one["status"]), (&json!(7), &json!("complete")));
    for path in ["99", "x", "99/video", "99/thumbnail", "-1/video"] {
        let answer = refusal(server.get(&format!("/api/v1/cycles/{path}")).await).await;
        assert_eq!((answer.0, &*answer.1), (404, "not_found"), "{path}");
    }
}

#[tokio::test]
async fn a_thumbnail_is_kept_by_the_browser() {
    let server = Server::start();
    let first = server.get("/api/v1/cycles/7/thumbnail").await;
    assert_eq!(first.headers()["content-type"], "image/jpeg");
    assert!(first.headers()["cache-control"].to_str().unwrap().contains("max-age"));
    let tag = first.headers()["etag"].clone();
    assert_eq!(&first.bytes().await.unwrap()[..], b"\xff\xd8small");
    let again = server.request(Method::GET, "/api/v1/cycles/7/thumbnail");
    let again = again.header("if-none-match", tag).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    assert!(again.bytes().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_video_is_sent_whole_and_in_parts() {
    let server = Server::start();
    let film: Vec<u8> = (0..1_000_003u32).map(|n| (n % 251) as u8).collect();
    std::fs::write(server.desk.video.path(), &film).unwrap();
    let path = "/api/v1/cycles/7/video";
    let whole = server.get(path).await;
    assert_eq!(whole.status(), StatusCode::OK);
    assert_eq!(whole.headers()["content-type"], "video/mp4");
    assert_eq!(whole.headers()["accept-ranges"], "bytes");
    assert_eq!(whole.headers()["content-length"], "1000003");
    assert!(whole.bytes().await.unwrap() == film);
    for (range, start, end) in [
        ("bytes=0-", 0, film.len()),
        ("bytes=100-199", 100, 200),
        ("bytes=900000-", 900_000, film.len()),
        ("bytes=-3", film.len() - 3, film.len()),
    ] {
        let part = server.request(Method::GET, path).header("range", range).send().await.unwrap();
        assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT, "{range}");
        let said = format!("bytes {start}-{}/1000003", end - 1);
        assert_eq!(part.headers()["content-range"], said.as_str());
        assert!(part.bytes().await.unwrap() == film[start..end], "{range}");
    }
    let outside = server.request(Method::GET, path).header("range", "bytes=2000000-");
    let outside = outside.send().await.unwrap();
    assert_eq!(outside.headers()["content-range"], "bytes */1000003");
    assert_eq!(refusal(outside).await.0, 416);
}
