//! Who is let in, and what a client that means ill can do.

use super::*;

#[tokio::test]
async fn a_huge_body_is_refused_before_it_is_read() {
    let server = Server::start();
    let mut stream = server.send_raw(
        b"PUT /api/v1/params/fx/zoom HTTP/1.1\r\nHost: localhost\r\n\
          Content-Length: 9000000000000\r\n\r\n",
    );
    let _ = stream.write_all(&vec![b' '; 66_000]);
    let answer = tokio::task::spawn_blocking(move || {
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        String::from_utf8_lossy(&head).into_owned()
    });
    assert_eq!(answer.await.unwrap(), "HTTP/1.1 413");
    assert_eq!(server.get("/healthz").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn pages_of_other_origins_and_rebound_names_can_do_nothing() {
    let server = Server::start();
    let attempts = [
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("origin", "http://localhost:1"),
        ("host", "evil.example"),
    ];
    for (header, value) in attempts {
        for (method, path) in [
            (Method::POST, "/api/v1/go"),
            (Method::DELETE, "/api/v1/outputs/1"),
            (Method::GET, "/nowhere"),
        ] {
            let request = server.request(method, path).header(header, value);
            let (status, kind, _) = refusal(request.send().await.unwrap()).await;
            assert_eq!((status, kind.as_str()), (403, "forbidden"), "{header}: {value}");
        }
    }
    assert!(!*server.desk.live.lock().unwrap());
    let own = format!("http://{}", server.addr);
    let request = server.request(Method::POST, "/api/v1/go").header("origin", own);
    assert_eq!(request.send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn clients_that_never_read_hold_up_neither_the_others_nor_the_end() {
    let mut server = Server::start();
    *server.desk.preview.lock().unwrap() = Some(vec![0; 32 << 20].into());
    let stuck: Vec<_> = (0..20)
        .map(|_| server.send_raw(b"GET /preview.jpg HTTP/1.1\r\nHost: localhost\r\n\r\n"))
        .collect();
    let half_asked = server.send_raw(b"GET / HTTP/1.1\r\nHo");
    assert_eq!(server.get("/healthz").await.status(), StatusCode::OK);
    server.stop.take();
    tokio::time::timeout(Duration::from_secs(5), server.task).await.unwrap().unwrap().unwrap();
    assert!(std::net::TcpStream::connect(server.addr).is_err(), "the port is free again");
    drop((stuck, half_asked));
}

#[tokio::test]
async fn too_many_connections_cost_the_newest() {
    let server = Server::start();
    let open: Vec<_> = (0..MAX_CONNECTIONS).map(|_| server.send_raw(b"GET")).collect();
    let mut extra = server.send_raw(b"");
    let closed =
        tokio::task::spawn_blocking(move || matches!(extra.read(&mut [0]), Ok(0) | Err(_)));
    assert!(closed.await.unwrap());
    drop(open);
}

#[test]
fn an_address_that_cannot_be_had_says_what_to_do() {
    let open = super::super::access::tests::access(None, &[]);
    let taken = bind("127.0.0.1:0".parse().unwrap(), &open).unwrap();
    let addr = taken.local_addr().unwrap();
    let error = bind(addr, &open).unwrap_err();
    assert_eq!(error.kind, crate::base::error::Kind::Unavailable);
    let message = error.to_string();
    for part in [&*addr.to_string(), "live.listen", "--listen 127.0.0.1:0", "in use"] {
        assert!(message.contains(part), "{message}");
    }
    let error = bind("0.0.0.0:8787".parse().unwrap(), &open).unwrap_err();
    assert_eq!(error.kind, crate::base::error::Kind::Usage);
    for part in ["live.token", "openssl rand", "ssh -L"] {
        assert!(error.to_string().contains(part), "{error}");
    }
}
