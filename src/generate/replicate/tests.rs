//! What a user notices of Replicate: pictures, clips, what is said when something is wrong, what is
//! paid for, and where the token goes.

mod fake;

use std::sync::Mutex;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Redirect, Response};
use serde_json::json;

use self::fake::*;
use super::*;
use crate::base::clock::ManualClock;
use crate::base::error::Kind;
use crate::generate::LARGEST_FILE;

#[tokio::test]
async fn a_picture_of_a_quick_model_comes_at_once() {
    let fake = Fake::start(|_| None).await;
    let backend = backend(&fake, &[]).unwrap();
    let made = backend.generate_image(&image_request(Some(picture(10))), &|_| ()).await.unwrap();
    assert_eq!(made, picture(90));
    let start = fake.first(START);
    assert_eq!(start.header("authorization"), format!("Bearer {TOKEN}"));
    assert_eq!(start.header("prefer"), "wait=1");
    assert_eq!(start.header("cancel-after"), "300s");
    let input = &start.json()["input"];
    assert_eq!(input["prompt"], "a lake");
    assert_eq!(input["image"], data(&picture(10)));
    assert_eq!(input["prompt_strength"], 0.4);
    assert_eq!((&input["width"], &input["height"]), (&json!(64), &json!(32)));
    assert_eq!(fake.count(LOOK), 0);
    paint(&backend).await.unwrap();
    assert_eq!(fake.count("GET /models/own/painter"), 1, "a model is asked for its inputs once");
}

#[tokio::test]
async fn a_clip_is_followed_to_its_end() {
    let fake = Fake::start(|asked| match (&*asked.what, asked.before) {
        (START_CLIP, _) => Some(created(&json!({"status": "starting"}))),
        (LOOK, 0) => Some(created(&json!({"status": "starting"}))),
        (LOOK, 1) => {
            Some(created(&json!({"status": "processing", "logs": " 20%|#\r 45%|##  | 9/20"})))
        }
        // For a while the server fails.
        (LOOK, 2..=4) => Some(refusal(500 + asked.before as u16, "upstream")),
        (LOOK, _) => {
            let url = format!("{}/files/clip.mp4", asked.base);
            Some(created(&json!({"status": "succeeded", "output": {"video": url}})))
        }
        ("GET /files/clip.mp4", 0) => Some(StatusCode::BAD_GATEWAY.into_response()),
        ("GET /files/clip.mp4", 1) => Some(StatusCode::NOT_FOUND.into_response()),
        ("GET /files/clip.mp4", _) => Some(b"\0\0\0\x18ftypmp42".to_vec().into_response()),
        _ => None,
    })
    .await;
    let heard = Mutex::new(Vec::new());
    let hear = |progress: Progress| heard.lock().unwrap().push(progress.to_string());
    let backend = backend(&fake, &[]).unwrap();
    let frames = backend.generate_video(&video_request(), &hear).await.unwrap();
    assert_eq!(frames.len(), 8);
    let heard = heard.into_inner().unwrap();
    for part in ["waiting for a machine", "at work, 45 %", "fetching"] {
        assert!(heard.iter().any(|text| text == part), "{part}: {heard:?}");
    }
    let input = fake.first(START_CLIP).json()["input"].clone();
    assert_eq!(input["first_frame_image"], data(&picture(90)));
    assert_eq!(input["num_frames"], 8);
    assert_eq!(
        fake.first("GET /files/clip.mp4").header("authorization"),
        format!("Bearer {TOKEN}")
    );
}

#[tokio::test]
async fn versions_and_models_that_are_not_official_go_by_their_id() {
    let fake = Fake::start(|asked| match &*asked.what {
        "POST /predictions" => {
            Some(created(&json!({"status": "succeeded", "output": [data(&picture(90))]})))
        }
        START => Some(refusal(404, "The requested resource could not be found.")),
        _ => None,
    })
    .await;
    paint(&backend(&fake, &[("image_model", "own/painter:v0")]).unwrap()).await.unwrap();
    assert_eq!(fake.first("POST /predictions").json()["version"], "v0");
    assert_eq!(fake.count(START), 0);
    paint(&backend(&fake, &[]).unwrap()).await.unwrap();
    assert_eq!(fake.all().last().unwrap().json()["version"], "v1");
}

#[tokio::test]
async fn large_pictures_are_uploaded_and_deleted() {
    let noise = RgbImage::from_fn(512, 256, |_, _| image::Rgb([(); 3].map(|()| fastrand::u8(..))));
    let fake = Fake::start(|_| None).await;
    let backend = backend(&fake, &[]).unwrap();
    backend.generate_image(&image_request(Some(noise)), &|_| ()).await.unwrap();
    assert_eq!(fake.first(START).json()["input"]["image"], format!("{}/files/f1", fake.base));
    let upload = fake.first("POST /files");
    assert!(upload.body.windows(14).any(|part| part == b"name=\"content\""));
    fake.wait_for("DELETE /files/f1").await;
}

/// A server where a prediction is refused or fails like this.
async fn refusing(answer: fn(&Asked) -> Response) -> Fake {
    Fake::start(move |asked| (asked.what == START).then(|| answer(asked))).await
}

#[tokio::test]
async fn every_refusal_says_what_to_do() {
    type Answer = fn(&Asked) -> Response;
    let long_ago =
        |_: &Asked| ([("retry-after", "3600")], refusal(429, "throttled")).into_response();
    let answers: [(Answer, Kind, &[&str], usize); 8] = [
        (|_| refusal(401, "Unauthenticated"), Kind::Usage, &["401", "REPLICATE_API_TOKEN"], 1),
        (|_| refusal(402, "Insufficient credit"), Kind::Usage, &["402", "billing"], 1),
        (|_| refusal(422, "- input.width: too big"), Kind::Usage, &["input.width: too big"], 1),
        (|_| refusal(500, "boom"), Kind::Unavailable, &["500", "boom"], 1),
        (|_| refusal(503, "busy"), Kind::Unavailable, &["503", "busy"], 5),
        (|_| refusal(429, "throttled"), Kind::Unavailable, &["429", "too often"], 5),
        (long_ago, Kind::Unavailable, &["429", "3600 s"], 1),
        (|_| Json(json!({"hello": 1})).into_response(), Kind::Unavailable, &["which id"], 1),
    ];
    for (answer, kind, parts, tries) in answers {
        let fake = refusing(answer).await;
        let error = paint(&backend(&fake, &[]).unwrap()).await.unwrap_err();
        let said = error.to_string();
        assert_eq!(error.kind, kind, "{said}");
        assert!(parts.iter().all(|part| said.contains(part)), "{said}");
        assert!(!said.contains(TOKEN), "{said}");
        assert_eq!(fake.count(START), tries, "{said}");
    }
}

#[tokio::test]
async fn patience_that_is_asked_for_is_had() {
    let fake = Fake::start(|asked| {
        let busy = || ([("retry-after", "0.02")], refusal(429, "throttled")).into_response();
        (asked.what == START && asked.before < 2).then(busy)
    })
    .await;
    let spending = Arc::new(Spending::default());
    let backend = backend_in(&fake, &[], spending.clone(), Arc::new(ManualClock::default()));
    paint(&backend.unwrap()).await.unwrap();
    assert_eq!(fake.count(START), 3);
    assert_eq!(spending.so_far().0, 1, "what was refused is not counted");
}

#[tokio::test]
async fn what_may_have_run_is_counted_and_what_never_ran_is_free() {
    type Answer = fn(&Asked) -> Response;
    let answers: [(Answer, (u32, f64)); 4] = [
        (|_| refusal(500, "boom"), (1, 0.0)),
        (|_| refusal(422, "invalid"), (0, 0.0)),
        (|_| created(&json!({"status": "failed", "metrics": {"predict_time": 3}})), (1, 6.0)),
        (|_| created(&json!({"status": "aborted", "metrics": {"total_time": 3}})), (1, 0.0)),
    ];
    for (answer, counted) in answers {
        let fake = refusing(answer).await;
        let (spending, clock) = (Arc::new(Spending::default()), Arc::new(ManualClock::default()));
        let settings = [("max_cost", "10"), ("cost_per_second", "2")];
        let backend = backend_in(&fake, &settings, spending.clone(), clock).unwrap();
        paint(&backend).await.unwrap_err();
        assert_eq!(spending.so_far(), counted);
    }
}

#[tokio::test]
async fn a_model_that_fails_says_why() {
    let states: [(Value, &[&str]); 5] = [
        (
            json!({"status": "failed", "error": "CUDA out of memory", "logs": "a\nb\nc\nd"}),
            &["CUDA out of memory", "b / c / d"],
        ),
        (
            json!({"status": "failed", "error": "NSFW content detected. Try another"}),
            &["NSFW", "seed"],
        ),
        (json!({"status": "canceled"}), &["was canceled"]),
        (json!({"status": "succeeded", "output": null}), &["left nothing"]),
        (json!({"status": "succeeded", "output": "a poem"}), &["no picture or clip", "a poem"]),
    ];
    for (state, parts) in states {
        let fake = Fake::start(move |asked| (asked.what == START).then(|| created(&state))).await;
        let said = paint(&backend(&fake, &[]).unwrap()).await.unwrap_err().to_string();
        assert!(parts.iter().all(|part| said.contains(part)), "{said}");
        assert!(said.contains("own/painter") && said.len() < 1000, "{said}");
        assert_eq!(fake.count(CANCEL), 0, "it has ended");
    }
}

#[tokio::test]
async fn nobody_pays_for_what_nobody_waits_for() {
    let fake = Fake::start(|asked| match &*asked.what {
        START | LOOK => Some(created(&json!({"status": "processing"}))),
        _ => None,
    })
    .await;
    let (spending, clock) = (Arc::new(Spending::default()), Arc::new(ManualClock::default()));
    let settings = [("max_cost", "10"), ("cost_per_second", "0.5")];
    let backend = backend_in(&fake, &settings, spending.clone(), clock.clone()).unwrap();
    let four_seconds = async {
        fake.wait_for(LOOK).await;
        clock.advance(Duration::from_secs(4));
    };
    tokio::select! {
        _ = paint(&backend) => panic!("it cannot end"),
        () = four_seconds => {}
    }
    fake.wait_for(CANCEL).await;
    assert_eq!(spending.so_far(), (1, 2.0), "estimated by the time that it ran");
}

#[tokio::test]
async fn a_prediction_is_cancelled_even_before_its_id_is_known() {
    let fake = Fake::start(|asked| {
        let late = || ([(DELAY_MS, "60")], created(&json!({"status": "starting"}))).into_response();
        (asked.what == START).then(late)
    })
    .await;
    let backend = backend(&fake, &[]).unwrap();
    tokio::select! {
        _ = paint(&backend) => panic!("it cannot end"),
        () = fake.wait_for(START) => {}
    }
    fake.wait_for(CANCEL).await;
    assert_eq!(fake.count(LOOK), 0);
}

#[tokio::test]
async fn the_limit_of_predictions_holds_for_the_whole_show() {
    let fake = Fake::start(|_| None).await;
    let (spending, clock) = (Arc::new(Spending::default()), Arc::new(ManualClock::default()));
    let settings = [("max_predictions", "2")];
    let one = backend_in(&fake, &settings, spending.clone(), clock.clone()).unwrap();
    let other = backend_in(&fake, &settings, spending.clone(), clock).unwrap();
    paint(&one).await.unwrap();
    paint(&other).await.unwrap();
    let before = fake.all().len();
    let error = paint(&one).await.unwrap_err();
    assert_eq!(error.kind, Kind::Unavailable);
    assert!(error.to_string().contains("backend.max_predictions is 2"), "{error}");
    assert_eq!(fake.all().len(), before, "nothing is asked for any more");
}

#[tokio::test]
async fn the_limit_of_cost_counts_what_predictions_took() {
    let fake = Fake::start(|asked| {
        let state = json!({"status": "succeeded", "output": data(&picture(90)),
            "metrics": {"predict_time": 4.0}});
        (asked.what == START).then(|| created(&state))
    })
    .await;
    let backend = backend(&fake, &[("max_cost", "5"), ("cost_per_second", "0.5")]).unwrap();
    paint(&backend).await.unwrap();
    paint(&backend).await.unwrap();
    let before = fake.all().len();
    let error = paint(&backend).await.unwrap_err().to_string();
    assert!(
        error.contains("has cost 4.0000") && error.contains("backend.max_cost is 5"),
        "{error}"
    );
    assert_eq!(fake.all().len(), before, "nothing is asked for any more");
}

#[tokio::test]
async fn the_token_never_reaches_another_host() {
    let elsewhere = Fake::start(|asked| match &*asked.what {
        "GET /picture" => Some(png(&picture(90)).into_response()),
        "GET /hop" => Some(Redirect::temporary("/picture").into_response()),
        "GET /endless" => Some(Redirect::temporary("/hop").into_response()),
        _ => None,
    })
    .await;
    let other = elsewhere.base.clone();
    let fake = Fake::start(move |asked| match &*asked.what {
        START => {
            let to = ["/picture", "/hop", "/endless"].get(asked.before);
            let output =
                to.map_or_else(|| format!("{}/files/x", asked.base), |to| format!("{other}{to}"));
            Some(created(&json!({"status": "succeeded", "output": [output]})))
        }
        "GET /files/x" => Some(Redirect::temporary(&format!("{other}/picture")).into_response()),
        _ => None,
    })
    .await;
    let mut backend = backend(&fake, &[("headers", "{X-Proxy: proxy-secret}")]).unwrap();
    paint(&backend).await.unwrap();
    paint(&backend).await.unwrap();
    let said = paint(&backend).await.unwrap_err().to_string();
    assert!(said.contains("a second time"), "{said}");
    paint(&backend).await.unwrap();
    assert_eq!(elsewhere.count("GET /picture"), 3);
    for asked in elsewhere.all() {
        assert_eq!(asked.header("authorization"), "", "{}", asked.what);
        assert_eq!(asked.header("x-proxy"), "", "{}", asked.what);
    }
    backend.api.plain_http = false;
    let said = paint(&backend).await.unwrap_err().to_string();
    assert!(said.contains("is not https"), "{said}");
}

#[tokio::test]
async fn results_of_every_kind_are_read_and_too_much_is_not() {
    let fake = Fake::start(|asked| match (&*asked.what, asked.before) {
        (START_CLIP, before) => {
            let (a, b) = (data(&picture(60)), data(&picture(90)));
            let output = match before {
                0 => json!([a, b, a, b]),
                1 => json!({"frames": [a, b], "seed": 3}),
                _ => json!(format!("{}/files/huge", asked.base)),
            };
            Some(created(&json!({"status": "succeeded", "output": output})))
        }
        ("GET /files/huge", _) => {
            let length = (LARGEST_FILE + 1).to_string();
            let parts = futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>();
            Some(([("content-length", length)], Body::from_stream(parts)).into_response())
        }
        _ => None,
    })
    .await;
    let backend = backend(&fake, &[]).unwrap();
    let request = video_request();
    assert_eq!(backend.generate_video(&request, &|_| ()).await.unwrap().len(), 4);
    assert_eq!(backend.generate_video(&request, &|_| ()).await.unwrap().len(), 2);
    let said = backend.generate_video(&request, &|_| ()).await.unwrap_err().to_string();
    assert!(said.contains("more than the 512 MB"), "{said}");
}

#[tokio::test]
async fn the_check_names_account_models_and_what_is_missing() {
    let fake = Fake::start(|_| None).await;
    let health = backend(&fake, &[]).unwrap().check().await.unwrap();
    assert_eq!(health.models, ["own/painter", "own/mover"]);
    assert_eq!(health.notes[0], "account ada");
    assert!(health.notes[1].contains("max_predictions"), "{:?}", health.notes);
    assert_eq!(fake.all().iter().filter(|asked| asked.what.starts_with("POST")).count(), 0);

    let backend_with = |settings: &[(&str, &str)]| backend(&fake, settings).unwrap();
    let missing = backend_with(&[("image_model", "own/none")]).check().await.unwrap_err();
    assert_eq!(missing.kind, Kind::Usage);
    assert!(missing.to_string().contains("own/none (backend.image_model)"), "{missing}");

    let only_clips = backend_with(&[("image_model", "")]);
    assert!(!only_clips.capabilities().text_to_image && only_clips.capabilities().image_to_video);
    let said = paint(&only_clips).await.unwrap_err().to_string();
    assert!(said.contains("backend.image_model is not set"), "{said}");
    let only_pictures = backend_with(&[("video_model", "")]);
    let said = only_pictures.generate_video(&video_request(), &|_| ()).await.unwrap_err();
    assert!(said.to_string().contains("backend.video_model is not set"), "{said}");

    let refused = Fake::start(|asked| {
        (asked.what == "GET /account").then(|| refusal(401, "Unauthenticated"))
    })
    .await;
    let said = backend(&refused, &[]).unwrap().check().await.unwrap_err().to_string();
    assert!(said.contains("does not accept the token"), "{said}");
}

#[tokio::test]
async fn a_model_without_a_picture_as_input_is_found_out() {
    let fake = Fake::start(|asked| {
        let schema = json!({"components": {"schemas": {"Input": {"properties": {"prompt": {"type": "string"}}}}}});
        let model = json!({"latest_version": {"openapi_schema": schema}});
        asked.what.starts_with("GET /models").then(|| Json(model).into_response())
    })
    .await;
    let backend = backend(&fake, &[]).unwrap();
    assert!(backend.capabilities().image_to_image);
    let said = backend.generate_image(&image_request(Some(picture(9))), &|_| ()).await.unwrap_err();
    assert!(said.to_string().contains("own/painter takes no picture"), "{said}");
    assert_eq!(fake.count(START), 0);
    assert!(!backend.capabilities().image_to_image, "from then on it is known");
    let said = backend.check().await.unwrap_err().to_string();
    assert!(said.contains("backend.video_model: own/mover takes no picture"), "{said}");
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused() {
    let fake = Fake::start(|_| None).await;
    for (settings, said) in [
        (&[("image_model", "painter")][..], "backend.image_model: \"painter\" names no model"),
        (&[("video_model", "'own/mover:'")], "backend.video_model"),
        (&[("image_model", "own/../x")], "backend.image_model"),
        (&[("max_cost", "3")], "backend.cost_per_second"),
        (&[("api_token", ""), ("api_token_file", "/no/such/token")], "backend.api_token_file"),
    ] {
        let error = backend(&fake, settings).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.yaml"), "").unwrap();
    let config = crate::config::check(folder.path()).0.image_backends[0].clone();
    assert_eq!(
        token(&config, Some(" r8_of-the-environment\n".into())).unwrap().reveal(),
        "r8_of-the-environment"
    );
    let error = token(&config, None).unwrap_err().to_string();
    assert!(error.contains("REPLICATE_API_TOKEN") && error.contains("api_token_file"), "{error}");
}
