//! `vfaq outputs`: asks a running show over HTTP, and prints a table or JSON.
//!
//! Holds: a URI goes to the show and nowhere else; what it answers has no secrets in it.

use std::io::IsTerminal;
use std::time::Duration;

use clap::{Args, Subcommand};
use reqwest::Method;
use reqwest::blocking::Client;
use serde_json::{Value, json};

use super::line::{Line, Style, clean};
use super::stage::{bitrate, state};
use crate::base::error::{Error, Kind, Result};
use crate::base::telemetry::OutputState;

/// How long a show may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Columns of a terminal that does not say.
const WIDTH: usize = 100;

/// List and change the outputs of a running show
#[derive(Args)]
#[command(after_help = "\
Examples:
  vfaq outputs                             the outputs of the show on this machine
  vfaq outputs add 'rtmp://a.rtmp.youtube.com/live2/KEY#name=YouTube'
  vfaq outputs add - < secret-uri.txt      a URI that no list of processes shows
  vfaq outputs retry YouTube               connect now; by name or number
  vfaq outputs stop 2 --at 127.0.0.1:9000  of a show that listens there")]
pub struct OutputsArgs {
    #[command(subcommand)]
    command: Option<Wish>,

    /// Where the show listens
    #[arg(long, global = true, value_name = "ADDR", default_value = "127.0.0.1:8787")]
    at: String,

    /// Print the answer as JSON, for other programs
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand, Debug, PartialEq)]
enum Wish {
    /// Say what is where, in which state
    List,
    /// Add an output and start it: rtmp://, srt://, ndi:, display:, file:; - reads the URI from
    /// standard input
    Add { uri: String },
    /// End an output; it can be started again
    Stop(Key),
    /// Start an output that has ended
    Start(Key),
    /// Connect now, whatever it waits for
    Retry(Key),
    /// End an output for good
    Remove(Key),
}

#[derive(Args, Debug, PartialEq)]
struct Key {
    /// Number or name of the output
    #[arg(value_name = "KEY")]
    key: String,
}

/// What is asked of the show.
#[derive(Debug, PartialEq)]
struct Request {
    method: Method,
    /// Below the outputs, in parts; each is escaped.
    path: Vec<String>,
    body: Option<Value>,
    /// Of what was done, for the terminal.
    done: &'static str,
}

pub fn run(args: &OutputsArgs) -> Result<()> {
    let request = request(args.command.as_ref().unwrap_or(&Wish::List))?;
    let answer = ask(&args.at, &request)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&answer).map_err(Error::fault)?);
    } else if let Value::Array(outputs) = &answer {
        let (width, colour) = terminal();
        for line in table(outputs, width, colour) {
            println!("{line}");
        }
    } else {
        let text = |key: &str| clean(answer[key].as_str().unwrap_or_default());
        println!("output {} ({}) {}", answer["id"], text("uri"), request.done);
    }
    Ok(())
}

fn request(wish: &Wish) -> Result<Request> {
    let on = |key: &Key, action: &str, done| Request {
        method: Method::POST,
        path: vec![key.key.clone(), action.to_owned()],
        body: None,
        done,
    };
    Ok(match wish {
        Wish::List => Request { method: Method::GET, path: vec![], body: None, done: "" },
        Wish::Add { uri } => {
            let uri = if uri == "-" { from_standard_input()? } else { uri.clone() };
            let body = Some(json!({"uri": uri.trim()}));
            Request { method: Method::POST, path: vec![], body, done: "is added" }
        }
        Wish::Stop(key) => on(key, "stop", "stops"),
        Wish::Start(key) => on(key, "start", "starts"),
        Wish::Retry(key) => on(key, "retry", "is tried now"),
        Wish::Remove(key) => Request {
            method: Method::DELETE,
            path: vec![key.key.clone()],
            body: None,
            done: "is removed",
        },
    })
}

fn from_standard_input() -> Result<String> {
    std::io::read_to_string(std::io::stdin())
        .map_err(|e| Error::io("cannot read the URI from standard input", e))
}

/// The answer of the show at `at`.
fn ask(at: &str, request: &Request) -> Result<Value> {
    let place = at.trim_start_matches("http://").trim_end_matches('/');
    let mut url: reqwest::Url = format!("http://{place}/api/v1/outputs")
        .parse()
        .map_err(|_| Error::usage("--at: write an address and a port, such as 127.0.0.1:8787"))?;
    if let Ok(mut path) = url.path_segments_mut() {
        path.extend(&request.path);
    }
    // A proxy is for other machines.
    crate::web::use_ring();
    let client = Client::builder().no_proxy().timeout(PATIENCE).build().map_err(Error::fault)?;
    let mut asked = client.request(request.method.clone(), url);
    if let Some(body) = &request.body {
        asked = asked.json(body);
    }
    let answer = asked.send().map_err(|e| match e.is_connect() {
        true => Error::unavailable(format!(
            "no show listens at {place}; start one with vfaq live, or say with --at ADDR where \
             it listens (it prints \"listening on http://ADDR\")"
        )),
        false => Error::unavailable(format!("the show at {place} does not answer"))
            .with_source(e.without_url()),
    })?;
    let good = answer.status().is_success();
    let body: Value = answer.json().map_err(|_| {
        Error::unavailable(format!("what listens at {place} is no show of vfaq; see --at"))
    })?;
    if good { Ok(body) } else { Err(refusal(&body["error"])) }
}

/// A refusal of the show, as if it were ours.
fn refusal(error: &Value) -> Error {
    let kind = match error["kind"].as_str().unwrap_or_default() {
        "unavailable" => Kind::Unavailable,
        "io" => Kind::Io,
        "internal" => Kind::Internal,
        "conflict" => Kind::Conflict,
        "not_found" => Kind::NotFound,
        _ => Kind::Usage,
    };
    Error::new(kind, clean(error["message"].as_str().unwrap_or("the show refused it")))
}

/// A line for each output, below a head.
fn table(outputs: &[Value], width: usize, colour: bool) -> Vec<String> {
    if outputs.is_empty() {
        return vec!["no outputs; vfaq outputs add URI adds one".to_owned()];
    }
    let mut head = Line::unlabelled(width, colour);
    head.put(Style::Dim, &format!("{:>3}  {:<STATE$}  {}output", "no", "state", numbers(HEADS)));
    std::iter::once(head.finish())
        .chain(outputs.iter().map(|output| table_line(output, width, colour)))
        .collect()
}

/// Columns of the longest word for a state.
const STATE: usize = 12;
const HEADS: [&str; 4] = ["bit rate", "dropped", "reconnects", "queue"];

fn numbers([rate, dropped, reconnects, queue]: [&str; 4]) -> String {
    format!("{rate:>9}  {dropped:>7}  {reconnects:>10}  {queue:>6}  ")
}

fn table_line(output: &Value, width: usize, colour: bool) -> String {
    let number = |key: &str| output[key].as_f64().unwrap_or_default();
    let text = |key: &str| output[key].as_str().filter(|text| !text.is_empty());
    let word = text("state").unwrap_or_default();
    let known = OutputState::ALL.into_iter().find(|known| known.name() == word);
    let style = known.map_or(Style::Plain, |known| state(known).1);
    let mut line = Line::unlabelled(width, colour);
    line.put(Style::Plain, &format!("{:>3}  ", output["id"].to_string()));
    line.put(style, &format!("{word:<STATE$}"));
    let cells = numbers([
        &bitrate(number("bitrate_kbps")),
        &number("dropped_groups").to_string(),
        &number("reconnects").to_string(),
        &format!("{:.1} s", number("queue_ms") / 1000.0),
    ]);
    line.put(Style::Plain, &format!("  {cells}"));
    if let Some(name) = text("name") {
        line.put(Style::Bold, name);
        line.put(Style::Plain, "  ");
    }
    line.put(Style::Plain, text("uri").unwrap_or_default());
    if let Some(reason) = text("reason") {
        line.put(Style::Plain, "  ");
        line.put(style, reason);
    }
    if let Some(seconds) = output["retry_in_s"].as_f64() {
        line.put(Style::Dim, &format!("  retry in {seconds:.0} s"));
    }
    line.finish()
}

fn terminal() -> (usize, bool) {
    let terminal = std::io::stdout().is_terminal();
    let width = crossterm::terminal::size().map_or(WIDTH, |(columns, _)| columns.into());
    let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    (if terminal { width } else { usize::MAX }, colour)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: OutputsArgs,
    }

    fn asked(line: &str) -> (String, String, Option<Value>) {
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        let request = request(cli.args.command.as_ref().unwrap_or(&Wish::List)).unwrap();
        (request.method.to_string(), request.path.join("/"), request.body)
    }

    #[test]
    fn each_wish_becomes_its_request() {
        let plain = |method: &str, path: &str| (method.to_owned(), path.to_owned(), None);
        assert_eq!(asked("outputs"), plain("GET", ""));
        assert_eq!(asked("outputs list --json"), plain("GET", ""));
        assert_eq!(asked("outputs stop 2"), plain("POST", "2/stop"));
        assert_eq!(asked("outputs --at 127.0.0.1:9 start 2"), plain("POST", "2/start"));
        assert_eq!(asked("outputs retry YouTube --at [::1]:9"), plain("POST", "YouTube/retry"));
        assert_eq!(asked("outputs remove 2"), plain("DELETE", "2"));
        let (method, path, body) = asked("outputs add file:a.mp4#name=A");
        assert_eq!((&*method, &*path), ("POST", ""));
        assert_eq!(body, Some(json!({"uri": "file:a.mp4#name=A"})));
        for bad in ["outputs stop", "outputs add", "outputs pause 2", "outputs remove 1 2"] {
            assert!(Cli::try_parse_from(bad.split(' ')).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_table_says_what_is_where_and_how_it_does() {
        let outputs = json!([
            {
                "id": 1, "name": "Twitch", "uri": "rtmp://live.twitch.tv/app/***", "state": "live",
                "bitrate_kbps": 6012.3, "dropped_groups": 0, "reconnects": 1, "queue_ms": 40,
                "reason": null, "retry_in_s": null,
            },
            {
                "id": 12, "name": null, "uri": "srt://venue.example:9000", "state": "reconnecting",
                "bitrate_kbps": 0.0, "dropped_groups": 7, "reconnects": 12, "queue_ms": 0,
                "reason": "connection refused", "retry_in_s": 7.6,
            },
        ]);
        let lines = table(outputs.as_array().unwrap(), 200, false);
        assert_eq!(
            lines,
            [
                " no  state          bit rate  dropped  reconnects   queue  output",
                "  1  live           6.0 Mb/s        0           1   0.0 s  Twitch  \
                 rtmp://live.twitch.tv/app/***",
                " 12  reconnecting   0.0 Mb/s        7          12   0.0 s  \
                 srt://venue.example:9000  connection refused  retry in 8 s",
            ]
        );
        assert!(table(&[], 80, false)[0].contains("vfaq outputs add"));
    }

    #[test]
    fn where_no_show_listens_the_message_says_what_to_do() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = taken.local_addr().unwrap().to_string();
        drop(taken);
        let list = request(&Wish::List).unwrap();
        let error = ask(&format!("http://{at}/"), &list).unwrap_err();
        assert_eq!(error.kind, Kind::Unavailable);
        for part in [&*at, "vfaq live", "--at"] {
            assert!(error.to_string().contains(part), "{error}");
        }
        assert_eq!(ask("not an address", &list).unwrap_err().kind, Kind::Usage);
    }
}
