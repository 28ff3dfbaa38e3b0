//! The WebSocket: clients see one another's changes, get their receipts, and harm nobody.

use futures_util::{SinkExt, StreamExt};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::*;
use crate::param::{Change, From, ParamId};

struct Page {
    socket: WebSocketStream<tokio::net::TcpStream>,
    snapshot: Value,
}

async fn open(server: &Server) -> Page {
    let (mut socket, snapshot) = try_open(server, &[]).await.unwrap();
    let snapshot = match snapshot {
        Some(snapshot) => snapshot,
        None => next(&mut socket).await,
    };
    assert_eq!(snapshot["type"], "snapshot");
    Page { socket, snapshot }
}

type Opened = (WebSocketStream<tokio::net::TcpStream>, Option<Value>);

/// Err: the status of the answer.
async fn try_open(server: &Server, headers: &[(&'static str, &str)]) -> Result<Opened, u16> {
    let mut request = format!("ws://{}/api/v1/ws", server.addr).into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let stream = tokio::net::TcpStream::connect(server.addr).await.unwrap();
    match tokio_tungstenite::client_async(request, stream).await {
        Ok((socket, _)) => Ok((socket, None)),
        Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => Err(answer.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

async fn next(socket: &mut WebSocketStream<tokio::net::TcpStream>) -> Value {
    loop {
        match timeout(Duration::from_secs(5), socket.next()).await.unwrap().unwrap().unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

impl Page {
    async fn send(&mut self, message: &Value) {
        self.socket.send(Message::text(message.to_string())).await.unwrap();
    }

    /// The next message of that type.
    async fn next(&mut self, kind: &str) -> Value {
        loop {
            let message = next(&mut self.socket).await;
            if message["type"] == kind {
                return message;
            }
        }
    }

    /// The next change that the other page made.
    async fn change_by(&mut self, other: &Page) -> Value {
        loop {
            let seen = self.next("params").await;
            let mut changes = seen["changes"].as_array().unwrap().iter();
            if let Some(change) = changes.find(|c| c["source"] == other.snapshot["source"]) {
                return change.clone();
            }
        }
    }

    /// The next binary message.
    async fn picture(&mut self) -> Vec<u8> {
        loop {
            let message = timeout(Duration::from_secs(5), self.socket.next()).await.unwrap();
            if let Message::Binary(bytes) = message.unwrap().unwrap() {
                return bytes.to_vec();
            }
        }
    }

    /// How the connection ended: the code of the close, if there was one.
    async fn ended(&mut self) -> Option<u16> {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            match timeout_at(end, self.socket.next()).await.expect("it is closed") {
                Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code.into()),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }
}

#[tokio::test]
async fn the_first_message_says_all_that_there_is() {
    let server = Server::start();
    let page = open(&server).await;
    let params: Value = server.get("/api/v1/params").await.json().await.unwrap();
    assert_eq!(page.snapshot["params"], params);
    assert_eq!(page.snapshot["state"]["project"], "neon");
    assert_eq!(page.snapshot["version"], 0);
}

#[tokio::test]
async fn two_clients_see_one_anothers_changes_at_once() {
    let server = Server::start();
    let (mut ada, mut ben) = (open(&server).await, open(&server).await);
    for (number, zoom) in [(1u64, 1.2), (2, 2.5)] {
        let began = Instant::now();
        ada.send(&json!({"type": "set", "id": number, "address": "/fx/zoom", "value": zoom})).await;
        let seen = ben.next("params").await;
        assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
        let change = &seen["changes"][0];
        assert_eq!((&change["address"], &change["value"]), (&json!("/fx/zoom"), &json!(zoom)));
        assert_eq!(change["source"], ada.snapshot["source"]);
        assert_eq!((&seen["version"], &change["version"]), (&json!(number), &json!(number)));
        let accepted = ada.next("accepted").await;
        let expected = json!({
            "type": "accepted", "id": number, "address": "/fx/zoom", "value": zoom,
            "generation": number,
        });
        assert_eq!(accepted, expected);
    }
    // Texts, triggers, and the other ways to say it.
    for (kind, address, value, becomes) in [
        ("set", "/prompt/text", json!("a lighthouse"), json!("a lighthouse")),
        ("set", "/fx/flash", Value::Null, Value::Null),
        ("set", "/fx/blackout", json!(true), json!(1.0)),
        ("toggle", "/fx/blackout", Value::Null, json!(0.0)),
        ("add", "/fx/zoom", json!(0.5), json!(3.0)),
        ("place", "/fx/hue", json!(1.0), json!(180.0)),
        ("reset", "/fx/zoom", Value::Null, json!(1.0)),
    ] {
        ben.send(&json!({"type": kind, "id": 3, "address": address, "value": value})).await;
        let change = ada.change_by(&ben).await;
        assert_eq!((&change["address"], &change["value"]), (&json!(address), &becomes), "{kind}");
    }
}

#[tokio::test]
async fn what_others_steer_is_told_once_and_last() {
    let server = Server::start();
    let mut page = open(&server).await;
    let from = From { source: "midi nano".into(), received: Duration::ZERO };
    for step in 0..=1000u16 {
        let change = Change::set(ParamId::Glitch, f32::from(step) / 1000.0);
        server.desk.board.apply(&change, &from).unwrap();
    }
    let mut told = 0;
    loop {
        let seen = page.next("params").await;
        told += 1;
        assert_eq!(seen["changes"].as_array().unwrap().len(), 1);
        if seen["version"] == 1001 {
            assert_eq!(seen["changes"][0]["value"], 1.0);
            assert_eq!(seen["changes"][0]["source"], "midi nano");
            break;
        }
    }
    assert!(told <= 10, "{told}");
}

#[tokio::test]
async fn a_change_that_is_on_air_has_its_second_receipt() {
    let server = Server::start();
    let mut page = open(&server).await;
    page.send(&json!({"type": "set", "id": 9, "address": "/fx/zoom", "value": 2})).await;
    let generation = page.next("accepted").await["generation"].as_u64().unwrap();
    server.desk.board.applied(generation, 4711, server.desk.now());
    let applied = page.next("applied").await;
    assert_eq!((&applied["id"], &applied["frame"]), (&json!(9), &json!(4711)));
    assert_eq!(applied["generation"], generation);
    assert!((0.0..1000.0).contains(&applied["took_ms"].as_f64().unwrap()), "{applied}");
}

#[tokio::test]
async fn the_state_comes_four_times_a_second() {
    let server = Server::start();
    let mut page = open(&server).await;
    page.next("state").await;
    let began = Instant::now();
    for _ in 0..4 {
        let state = page.next("state").await;
        assert_eq!(state["state"]["warnings"][0], "a \"warning\"");
    }
    let took = began.elapsed().as_secs_f64();
    assert!((0.8..1.6).contains(&took), "{took}");
}

#[tokio::test]
async fn previews_come_while_they_are_asked_for_and_once_each() {
    let server = Server::start();
    let mut page = open(&server).await;
    let show = |byte: u8| {
        *server.desk.preview.lock().unwrap() = Some(Arc::from(&[0xff, 0xd8, byte][..]));
    };
    show(1);
    page.send(&json!({"type": "preview", "fps": 15})).await;
    assert_eq!(page.picture().await, [1, 0xff, 0xd8, 1]);
    let began = Instant::now();
    show(2);
    assert_eq!(page.picture().await, [1, 0xff, 0xd8, 2]);
    assert!(began.elapsed() < Duration::from_millis(200), "{:?}", began.elapsed());
    page.send(&json!({"type": "preview", "fps": 0})).await;
    // What was on its way may still come.
    page.send(&json!({"type": "preview", "id": 5, "fps": -1})).await;
    assert_eq!(page.next("refused").await["id"], 5);
    show(3);
    let picture = timeout(Duration::from_millis(500), page.picture()).await;
    assert!(picture.is_err(), "{picture:?}");
}

#[tokio::test]
async fn what_is_wrong_is_refused_with_its_number_and_changes_nothing() {
    let server = Server::start();
    let mut page = open(&server).await;
    for (message, id, says) in [
        (r#"{"type":"set","id":7,"address":"/fx/zoom","value":9}"#, json!(7), "send 1 to 4 x"),
        (r#"{"type":"set","id":8,"address":"/fx/zom","value":2}"#, json!(8), "/fx/zoom"),
        (r#"{"type":"set","id":8,"address":"/fx/zoom","value":[2]}"#, json!(8), "list"),
        (r#"{"type":"set","id":8,"address":"/fx/zoom"}"#, json!(8), "send a number"),
        (r#"{"type":"add","id":8,"address":"/fx/zoom","value":"x"}"#, json!(8), "send a number"),
        (r#"{"type":"set","id":8,"value":2}"#, json!(8), "address is missing"),
        (r#"{"type":"set","id":8,"address":"/fx/zoom","value":2,"fade_ms":-1}"#, json!(8), "fade"),
        (r#"{"type":"explode","id":9}"#, json!(9), "explode"),
        (r#"{"type":"set","id":9,"address":"/fx/zoom","valu":2}"#, json!(9), "valu"),
        ("[[[[", Value::Null, "like"),
        ("\u{0}", Value::Null, "like"),
        ("", Value::Null, "like"),
        ("17", Value::Null, "like"),
    ] {
        page.socket.send(Message::text(message)).await.unwrap();
        let refused = page.next("refused").await;
        let text = refused["message"].as_str().unwrap();
        assert_eq!(refused["id"], id, "{message}: {text}");
        assert!(text.contains(says), "{message}: {text}");
    }
    page.socket.send(Message::binary(vec![0, 159, 146, 150])).await.unwrap();
    assert!(page.next("refused").await["message"].as_str().unwrap().contains("binary"));
    assert_eq!(server.desk.board.values(), param::Values::default());
    // And it is still served.
    page.send(&json!({"type": "set", "id": 10, "address": "/fx/zoom", "value": 2})).await;
    page.next("accepted").await;
}

#[tokio::test]
async fn a_huge_message_ends_its_client_and_no_other() {
    let server = Server::start();
    let (mut page, mut other) = (open(&server).await, open(&server).await);
    // The server may be gone before it is all sent.
    let _ = page.socket.send(Message::text("x".repeat(1 << 20))).await;
    page.ended().await;
    other.send(&json!({"type": "set", "id": 1, "address": "/fx/zoom", "value": 2})).await;
    other.next("accepted").await;
}

#[tokio::test]
async fn a_flood_is_answered_up_to_its_limit_and_then_ended() {
    let server = Server::start();
    let mut page = open(&server).await;
    let message = json!({"type": "set", "address": "/fx/zoom", "value": 2}).to_string();
    for _ in 0..4000 {
        if page.socket.feed(Message::text(message.as_str())).await.is_err() {
            break;
        }
    }
    let _ = page.socket.flush().await;
    page.ended().await;
    assert!(server.desk.board.accepted.get() < 4000);
    let metrics = server.get("/metrics").await.text().await.unwrap();
    assert!(metrics.contains("vfaq_http_refused_total{reason=\"rate\"} 1"), "{metrics}");
}

#[tokio::test]
async fn a_client_that_never_reads_is_dropped_and_no_other_notices() {
    let server = Server::start();
    let mut other = open(&server).await;
    let mut deaf = open(&server).await;
    deaf.send(&json!({"type": "preview", "fps": 15})).await;
    let dropped = async {
        loop {
            let metrics = server.get("/metrics").await.text().await.unwrap();
            if metrics.contains("vfaq_websocket_slow_readers_total 1") {
                assert!(metrics.contains("vfaq_websocket_clients 1"), "{metrics}");
                break;
            }
            *server.desk.preview.lock().unwrap() = Some(vec![0; 1 << 20].into());
            let began = Instant::now();
            other.send(&json!({"type": "toggle", "id": 1, "address": "/fx/blackout"})).await;
            other.next("params").await;
            assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
        }
    };
    timeout(Duration::from_secs(20), dropped).await.unwrap();
}

#[tokio::test]
async fn there_are_places_for_so_many_and_they_are_given_again() {
    let server = Server::start();
    let mut pages = Vec::new();
    for _ in 0..hub::MAX_CLIENTS {
        pages.push(open(&server).await);
    }
    assert_eq!(try_open(&server, &[]).await.err(), Some(503));
    pages.pop();
    let again = async {
        while try_open(&server, &[]).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(5), again).await.unwrap();
}

#[tokio::test]
async fn the_end_of_the_show_is_told_and_waited_for() {
    let mut server = Server::start();
    let mut page = open(&server).await;
    server.stop.take();
    assert_eq!(page.ended().await, Some(1001));
    timeout(Duration::from_secs(5), server.task).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_page_of_another_origin_cannot_listen() {
    let server = Server::start();
    for (name, value) in
        [("origin", "http://evil.example"), ("origin", "null"), ("host", "evil.example")]
    {
        assert_eq!(try_open(&server, &[(name, value)]).await.err(), Some(403), "{name} {value}");
    }
    let own = format!("http://{}", server.addr);
    assert!(try_open(&server, &[("origin", &own)]).await.is_ok());
    let plain = server.get("/api/v1/ws").await;
    assert_eq!(refusal(plain).await.0, 400);
}

#[tokio::test]
async fn a_change_of_cycles_has_its_second_receipt_when_one_with_it_is_on_air() {
    let server = Server::start();
    let mut page = open(&server).await;
    page.send(&json!({"type": "set", "id": 3, "address": "/prompt/text", "value": "fog"})).await;
    let generation = page.next("accepted").await["generation"].as_u64().unwrap();
    let (board, desk) = (&server.desk.board, &server.desk);
    // That a frame has it means nothing yet.
    board.applied(generation, 1, desk.now());
    board.plans.planned(8, generation - 1);
    board.plans.aired(8, desk.now());
    board.plans.planned(9, generation);
    assert!(timeout(Duration::from_millis(200), page.next("applied")).await.is_err());
    board.plans.aired(9, desk.now());
    let applied = page.next("applied").await;
    assert_eq!((&applied["id"], &applied["cycle"]), (&json!(3), &json!(9)));
    assert!(applied["took_ms"].as_f64().unwrap() > 0.0 && applied.get("frame").is_none());
}
