//! The recording, steered over HTTP: what is asked for is on the board, what makes no sense is said.

use super::*;
use crate::param::ParamId;

#[tokio::test]
async fn what_is_asked_of_the_recording_reaches_the_board() {
    let server = Server::start();
    let on = |state| {
        let recording = RecordingStatus { state, path: "a.mp4".into(), ..Default::default() };
        *server.desk.recording.lock().unwrap() = Some(recording);
    };
    let told: Value = server.get("/api/v1/recording").await.json().await.unwrap();
    assert_eq!(told["now"], Value::Null);
    assert_eq!(told["recordings"][0]["file"], "final_60fps_1080p.mp4");
    for path in ["stop", "split"] {
        let answer = server.post(&format!("/api/v1/recording/{path}"), "").await;
        let (status, kind, message) = refusal(answer).await;
        assert_eq!((status, &*kind), (409, "conflict"), "{path}: {message}");
    }
    let started: Value = server.post("/api/v1/recording/start", "").await.json().await.unwrap();
    assert_eq!(started["address"], "/record/start");
    on(OutputState::Live);
    assert_eq!(refusal(server.post("/api/v1/recording/start", "").await).await.0, 409);
    for path in ["split", "stop"] {
        let answer = server.post(&format!("/api/v1/recording/{path}"), "").await;
        assert_eq!(answer.json::<Value>().await.unwrap()["address"], format!("/record/{path}"));
    }
    let mark = server.post("/api/v1/recording/mark", r#"{"name": "second act"}"#).await;
    assert_eq!(mark.status(), StatusCode::OK);
    assert_eq!(&*server.desk.board.text(ParamId::RecordMark), "second act");
    for body in ["", "{}", r#"{"name": 7}"#] {
        let answer = server.post("/api/v1/recording/mark", body).await;
        assert_eq!(refusal(answer).await.0, 400, "{body}");
    }
    on(OutputState::Stopped);
    assert_eq!(refusal(server.post("/api/v1/recording/stop", "").await).await.0, 409);
}
