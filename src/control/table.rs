//! Every route of the interface, once: the router and the OpenAPI document are both made of this
//! table.
//!
//! Holds: a path stands here or it does not exist, but for the pages.

use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};
use serde_json::{Value, json};

use super::{Site, cycles, midi, openapi, outputs, presets, prompts, recording, routes, socket};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Get,
    Put,
    Post,
    Patch,
    Delete,
}

/// What a route answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Json,
    Text,
    Jpeg,
    Picture,
    Video,
    Html,
    Socket,
}

pub struct Route {
    pub verb: Verb,
    /// As axum and OpenAPI write it; `{*x}` takes all that is left.
    pub path: &'static str,
    pub says: &'static str,
    pub answer: Answer,
    /// Queries, and what each does.
    pub query: &'static [(&'static str, &'static str)],
    /// An example of the body.
    pub body: Option<fn() -> Value>,
    pub handler: MethodRouter<Site>,
}

fn route<H: Handler<T, Site>, T: 'static>(
    verb: Verb,
    path: &'static str,
    says: &'static str,
    handler: H,
) -> Route {
    let filter = match verb {
        Verb::Get => MethodFilter::GET,
        Verb::Put => MethodFilter::PUT,
        Verb::Post => MethodFilter::POST,
        Verb::Patch => MethodFilter::PATCH,
        Verb::Delete => MethodFilter::DELETE,
    };
    let handler = on(filter, handler);
    Route { verb, path, says, answer: Answer::Json, query: &[], body: None, handler }
}

fn get<H: Handler<T, Site>, T: 'static>(path: &'static str, says: &'static str, h: H) -> Route {
    route(Verb::Get, path, says, h)
}

fn post<H: Handler<T, Site>, T: 'static>(path: &'static str, says: &'static str, h: H) -> Route {
    route(Verb::Post, path, says, h)
}

fn put<H: Handler<T, Site>, T: 'static>(path: &'static str, says: &'static str, h: H) -> Route {
    route(Verb::Put, path, says, h)
}

impl Route {
    fn answers(self, answer: Answer) -> Self {
        Route { answer, ..self }
    }

    fn query(self, query: &'static [(&'static str, &'static str)]) -> Self {
        Route { query, ..self }
    }

    fn body(self, body: fn() -> Value) -> Self {
        Route { body: Some(body), ..self }
    }
}

const PARAM: &str = "/api/v1/params/{*address}";

pub fn table() -> Vec<Route> {
    let change = |verb| {
        let says = "Sets, adds to, places, turns, toggles or resets a parameter.";
        route(verb, PARAM, says, routes::change_param)
            .body(|| json!({"op": "add", "value": 0.1, "fade_ms": 500}))
    };
    vec![
        get("/healthz", "Whether the show is well; 503 says why it is not.", routes::healthz)
            .answers(Answer::Text),
        get("/metrics", "Numbers for Prometheus.", routes::prometheus).answers(Answer::Text),
        get("/preview.jpg", "The newest preview picture.", routes::preview).answers(Answer::Jpeg),
        get("/making", "The newest look at a picture in the making.", routes::making)
            .answers(Answer::Picture),
        get("/api", "This interface, to read.", openapi::page).answers(Answer::Html),
        get("/api/v1/openapi.json", "This interface, for programs.", openapi::document),
        get("/api/v1/ws", "Everything live, and steering, over a WebSocket.", socket::open)
            .answers(Answer::Socket),
        get("/api/v1/state", "Everything known of the show.", routes::state),
        post("/api/v1/go", "Starts a show that stands by.", routes::go),
        get("/api/v1/params", "Every parameter, with its present value.", routes::list_params),
        put("/api/v1/params", "Sets many parameters with one frame, or none.", routes::set_params)
            .body(|| json!({"values": {"/fx/zoom": 1.2, "/fx/mirror": "quad"}, "fade_ms": 500})),
        get(PARAM, "One parameter.", routes::one_param),
        put(PARAM, "Sets a parameter.", routes::set_param)
            .body(|| json!({"value": 1.2, "fade_ms": 500})),
        change(Verb::Patch),
        change(Verb::Post),
        get("/api/v1/prompts", "What the next cycles are made from.", prompts::get),
        put("/api/v1/prompts", "Changes that, all of it at once or nothing.", prompts::set)
            .body(|| json!({"prompt": {"append": "in heavy rain"}, "gen": {"denoise": 0.6}})),
        get("/api/v1/presets", "All presets that can be recalled.", presets::list),
        post("/api/v1/presets/{name}", "Saves what is set at present.", presets::save)
            .body(|| json!({"kind": "look", "title": "Ember", "overwrite": true})),
        route(
            Verb::Delete,
            "/api/v1/presets/{name}",
            "Removes one that was saved.",
            presets::remove,
        ),
        get("/api/v1/midi", "MIDI controllers and what they are bound to.", midi::state),
        post(
            "/api/v1/midi/learn",
            "Binds a parameter to the next control that moves.",
            midi::learn,
        )
        .body(|| json!({"address": "/fx/zoom"})),
        route(Verb::Delete, "/api/v1/midi/learn", "Or does not.", midi::cancel),
        route(Verb::Delete, "/api/v1/midi/bindings/{n}", "Takes a binding away.", midi::forget),
        post("/api/v1/midi/maps", "Saves what was learned as a map.", midi::save)
            .body(|| json!({"name": "my-pads"})),
        get("/api/v1/cycles", "The cycles of the project, newest first.", cycles::list).query(&[
            ("before", "Only cycles with a lower number: `next` of the answer before."),
            ("limit", "At most so many, 1 to 200; 50 if not given."),
        ]),
        get("/api/v1/cycles/{cycle}", "One cycle.", cycles::one),
        get("/api/v1/cycles/{cycle}/thumbnail", "A small picture of it.", cycles::thumbnail)
            .answers(Answer::Jpeg),
        get("/api/v1/cycles/{cycle}/video", "Its video; ranges are answered.", cycles::video)
            .answers(Answer::Video),
        get("/api/v1/ring", "What was on air, what is, and what comes.", routes::ring),
        get("/api/v1/recording", "What is recorded, and what was.", recording::get),
        post("/api/v1/recording/start", "Goes on in the next file.", recording::start),
        post("/api/v1/recording/stop", "Ends the file.", recording::stop),
        post("/api/v1/recording/split", "Goes on in a new part.", recording::split),
        post("/api/v1/recording/mark", "A chapter begins here.", recording::mark)
            .body(|| json!({"name": "second act"})),
        get("/api/v1/outputs", "Every output.", outputs::list),
        post("/api/v1/outputs", "Adds an output and starts it.", outputs::add)
            .body(|| json!({"uri": "rtmp://HOST/APPLICATION/KEY", "name": "Stage"})),
        get("/api/v1/outputs/{key}", "One output, by number or name.", outputs::one),
        route(Verb::Delete, "/api/v1/outputs/{key}", "Ends it for good.", outputs::remove),
        post("/api/v1/outputs/{key}/stop", "Ends it.", outputs::stop),
        post("/api/v1/outputs/{key}/start", "Starts it again.", outputs::start),
        post("/api/v1/outputs/{key}/retry", "Has it connect now.", outputs::retry),
    ]
}
