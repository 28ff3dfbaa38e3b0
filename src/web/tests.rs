//! Each way in which a server can be wrong has a message of its own.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode as Code};
use axum::response::{Html, IntoResponse, Redirect};
use axum::routing::get;
use futures_util::stream;

use super::*;

async fn serve(routes: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    address
}

fn web(base: &str) -> Web {
    Web::new(base, "backend.api_url", &Options::default()).unwrap()
}

async fn message(web: &Web, path: &str) -> String {
    let request = web.request(Method::GET, path);
    web.ask_json(request, "asking").await.unwrap_err().to_string()
}

#[tokio::test]
async fn every_fault_is_told_apart() {
    let endless = || async {
        let parts = stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b'x'; 1 << 20]));
        Body::from_stream(parts).into_response()
    };
    let routes = Router::new()
        .route("/page", get(|| async { Html("<html>a router's page</html>") }))
        .route("/text", get(|| async { "hello" }))
        .route("/401", get(|| async { Code::UNAUTHORIZED }))
        .route("/403", get(|| async { (Code::FORBIDDEN, "bad\norigin") }))
        .route("/429", get(|| async { Code::TOO_MANY_REQUESTS }))
        .route("/500", get(|| async { (Code::INTERNAL_SERVER_ERROR, "boom") }))
        .route("/away", get(|| async { Redirect::temporary("http://elsewhere.example/x?key=1") }))
        .route("/endless", get(endless));
    let address = serve(routes).await;
    let web = web(&format!("http://user:pass-word@{address}"));
    assert!(!web.shown().contains("pass-word"));
    for (path, parts) in [
        ("page", &["a web page", "check the port"][..]),
        ("text", &["no JSON", "hello"]),
        ("401", &["401", "set its key"]),
        ("403", &["403", "bad"]),
        ("429", &["429", "too often"]),
        ("500", &["500", "boom"]),
        ("missing", &["404", "is the address right"]),
        ("away", &["sends one on to http://elsewhere.example/x,", "not followed"]),
        ("endless", &["more than the 32 MB"]),
    ] {
        let message = message(&web, path).await;
        let has = |part: &&str| message.contains(*part);
        assert!(parts.iter().all(has), "{path}: {message}");
        let secret = message.contains("pass-word") || message.contains("key=1");
        assert!(!secret && message.contains(&address.to_string()), "{path}: {message}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let web = web(&format!("http://{address}/"));
    let request = web.request(Method::GET, "x");
    let error = web.send(request, "asking").await.unwrap_err();
    assert_eq!(error.kind, crate::base::error::Kind::Unavailable);
    assert!(error.to_string().contains("cannot be reached"), "{error}");
}

#[tokio::test]
async fn an_address_that_breaks_off_is_unavailable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(stream);
        }
    });
    let web = web(&format!("http://{address}/"));
    let request = web.request(Method::GET, "x");
    let error = web.send(request, "asking").await.unwrap_err();
    assert_eq!(error.kind, crate::base::error::Kind::Unavailable, "{error}");
}

#[tokio::test]
async fn headers_and_base_paths_are_kept() {
    let echo = |headers: HeaderMap| async move {
        let text =
            |name: &str| headers.get(name).and_then(|h| h.to_str().ok()).unwrap_or("").to_owned();
        axum::Json(serde_json::json!([text("x-key"), text("authorization"), text("origin")]))
    };
    let address = serve(Router::new().route("/comfy/deep/x", get(echo))).await;
    let options = Options {
        headers: vec![("X-Key".into(), Secret::new("open sesame"))],
        bearer: Some(Secret::new("token-token")),
        ca_file: None,
    };
    let web = Web::new(&format!("http://{address}/comfy/"), "backend.api_url", &options).unwrap();
    for path in ["deep/x", "/deep/x", "/deep/x?a=b"] {
        let found = web.ask_json(web.request(Method::GET, path), "asking").await.unwrap();
        assert_eq!(found, serde_json::json!(["open sesame", "Bearer token-token", ""]));
    }
    assert!(web.is_own(&Url::parse(&format!("http://{address}/other")).unwrap()));
    assert!(!web.is_own(&Url::parse("http://127.0.0.1:1/other").unwrap()));
}

#[test]
fn bad_settings_name_the_key() {
    let message = |base: &str, options: &Options| {
        Web::new(base, "backend.api_url", options).err().unwrap().to_string()
    };
    assert!(message("no address", &Options::default()).starts_with("backend.api_url:"));
    let headers = vec![("bad name".into(), Secret::new("hush-hush"))];
    let found = message("http://a", &Options { headers, ..Options::default() });
    assert!(found.contains("bad name") && !found.contains("hush"), "{found}");
    let ca_file = Some("/nowhere/ca.pem".into());
    assert!(
        message("http://a", &Options { ca_file, ..Options::default() }).contains("/nowhere/ca.pem")
    );
}

/// A server with a certificate of its own: refused with advice, accepted when that is named.
#[tokio::test]
async fn a_certificate_of_its_own_has_to_be_named() {
    use_ring();
    let key = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let (certificate, pem) = (key.cert.der().clone(), key.cert.pem());
    let private =
        rustls::pki_types::PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], private)
        .unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let config = Arc::new(config);
        for stream in listener.incoming().map_while(Result::ok) {
            use std::io::{Read, Write};
            let Ok(connection) = rustls::ServerConnection::new(config.clone()) else { continue };
            let mut stream = rustls::StreamOwned::new(connection, stream);
            let mut head = [0; 4096];
            // A client that does not trust the certificate is gone by now.
            if stream.read(&mut head).is_ok() {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
                let _ = stream.flush();
            }
        }
    });
    let base = format!("https://localhost:{port}");
    let plain = web(&base);
    let message = message(&plain, "x").await;
    assert!(
        message.contains("no secure connection") && message.contains("tls_ca_file"),
        "{message}"
    );
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, pem.as_bytes()).unwrap();
    let options = Options { ca_file: Some(file.path().into()), ..Options::default() };
    let trusting = Web::new(&base, "backend.api_url", &options).unwrap();
    let answer = trusting.ask_json(trusting.request(Method::GET, "x"), "asking").await.unwrap();
    assert_eq!(answer, serde_json::json!({}));
    // Plain HTTP behind an https address.
    let plain = serve(Router::new()).await;
    let secure =
        Web::new(&format!("https://{plain}"), "backend.api_url", &Options::default()).unwrap();
    let message = self::message(&secure, "x").await;
    assert!(message.contains("is it https at all"), "{message}");
}
