//! `vfaq tempo`: asks a running show where the beat is, and who gives it.

use std::io::Write;
use std::time::Duration;

use clap::Args;
use reqwest::blocking::Client;
use serde_json::Value;

use super::line::clean;
use crate::base::error::{Error, Result};

/// How long a show may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is asked.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// Say where the beat of a running show is, and who gives it
#[derive(Args)]
#[command(after_help = "\
Examples:
  vfaq tempo                          tempo, bar and beat, and every source
  vfaq tempo --follow                 a line that goes with the beat, until Ctrl-C
  vfaq osc send /vfaq/tempo/tap       tap; downbeat, earlier, later, half and double likewise
  vfaq osc send /vfaq/tempo/source midi
docs/music.md says what can give the beat.")]
pub struct TempoArgs {
    /// Where the show listens
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8787")]
    at: String,

    /// Go on until Ctrl-C
    #[arg(short, long)]
    follow: bool,

    /// Print the answer as JSON, for other programs
    #[arg(long)]
    json: bool,
}

pub fn run(args: &TempoArgs) -> Result<()> {
    let place = args.at.trim_start_matches("http://").trim_end_matches('/');
    // A proxy is for other machines.
    crate::web::use_ring();
    let client = Client::builder().no_proxy().timeout(PATIENCE).build().map_err(Error::fault)?;
    let ask = || -> Result<Value> {
        let answer = client.get(format!("http://{place}/api/v1/state")).send().map_err(|e| {
            let text = match e.is_connect() {
                true => format!(
                    "no show listens at {place}; start one with vfaq live, or say with --at ADDR \
                     where it listens"
                ),
                false => format!("the show at {place} does not answer"),
            };
            Error::unavailable(text).with_source(e.without_url())
        })?;
        let state: Value = answer.json().unwrap_or_default();
        match &state["tempo"] {
            tempo @ Value::Object(_) => Ok(tempo.clone()),
            _ => Err(Error::unavailable(format!(
                "what listens at {place} is no show of vfaq, or wants a token; see --at"
            ))),
        }
    };
    let mut out = std::io::stdout();
    loop {
        let tempo = ask()?;
        let text = match (args.json, args.follow) {
            (true, _) => format!("{tempo}\n"),
            (false, true) => format!("\r{}\x1b[K", line(&tempo)),
            (false, false) => page(&tempo),
        };
        // Whoever reads no further has had enough.
        if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() || !args.follow {
            return Ok(());
        }
        std::thread::park_timeout(ASK_EVERY);
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_default()
}

fn text(value: &Value) -> String {
    clean(value.as_str().unwrap_or_default())
}

/// `o . . .` with the beat that it is.
fn dots(tempo: &Value) -> String {
    let beats = tempo["beats_per_bar"].as_u64().unwrap_or(4).clamp(1, 16);
    let now = tempo["beat_of_bar"].as_u64().unwrap_or(1);
    let dot = |beat| if beat == now { "o" } else { "." };
    (1..=beats).map(dot).collect::<Vec<_>>().join(" ")
}

fn who(source: &Value, from: &Value) -> String {
    match from.as_str() {
        Some(from) => format!("{} ({})", text(source), clean(from)),
        None => text(source),
    }
}

fn line(tempo: &Value) -> String {
    let mut line = format!(
        "{:>6.2} bpm  {}  bar {}  {}, {:.0}% sure",
        number(&tempo["bpm"]),
        dots(tempo),
        tempo["bar"].as_u64().unwrap_or_default() + 1,
        who(&tempo["source"], &tempo["from"]),
        number(&tempo["confidence"]) * 100.0
    );
    if tempo["led"] == false {
        line += ", lost: it goes on as it went";
    }
    if tempo["playing"] == false {
        line += ", stopped";
    }
    line
}

fn page(tempo: &Value) -> String {
    let mut page = line(tempo);
    page.push('\n');
    for (what, key, usual) in [("nudged", "nudge_ms", 0.0), ("times", "times", 1.0)] {
        let is = number(&tempo[key]);
        if (is - usual).abs() > 1e-6 {
            page += &format!("{what} {is}\n");
        }
    }
    for source in tempo["sources"].as_array().into_iter().flatten() {
        let bpm = source["bpm"].as_f64().map(|bpm| format!("{bpm:.2} bpm")).unwrap_or_default();
        let state = text(&source["state"]);
        let line = format!("  {state:<10} {bpm:>11}  {}", who(&source["source"], &source["from"]));
        page += line.trim_end();
        page.push('\n');
    }
    page
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_beat_and_every_source_are_shown() {
        let tempo = json!({
            "source": "midi", "from": "pads", "led": true, "bpm": 127.996, "bar": 4,
            "beat_of_bar": 3, "beats_per_bar": 4, "confidence": 0.94, "playing": false,
            "nudge_ms": 10.0, "times": 1.0,
            "sources": [
                {"source": "midi", "state": "live", "from": "pads", "bpm": 127.996},
                {"source": "tap", "state": "silent", "from": null, "bpm": null},
            ],
        });
        let page = page(&tempo);
        let lines: Vec<&str> = page.lines().collect();
        assert_eq!(lines[0], "128.00 bpm  . . o .  bar 5  midi (pads), 94% sure, stopped");
        assert_eq!(lines[1], "nudged 10");
        assert_eq!(lines[2], "  live        128.00 bpm  midi (pads)");
        assert_eq!(lines[3], "  silent                  tap");
    }
}
