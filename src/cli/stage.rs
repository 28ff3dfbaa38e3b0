//! The show in a few lines of text: the block that a terminal redraws, and the one line for logs.
//!
//! Holds: pure functions of a [`Status`]. No line is wider than asked for, whatever a prompt, a
//! file name or an error contains; nothing in them can steer the terminal.

use crate::base::effort::Effort;
use crate::base::telemetry::{OutputState, OutputStatus, Phase, Status};
use crate::cli::line::{Line, Style, clean, cut, visible_width};

/// Warnings that are shown at a time: the newest.
const MAX_WARNINGS: usize = 3;
/// Less disk than this is worth a colour.
const LITTLE_ROOM_S: f64 = 600.0;
/// Media that waits to be sent is worth a word from here on.
const LONG_QUEUE_MS: u64 = 500;
/// Columns that the name of an output and its reason have at least to themselves.
const WITHOUT_MISHAPS: usize = 50;

/// The block: no line is wider than `width` columns. With `colour` the lines hold SGR sequences
/// (and each ends with all of them reset).
pub fn status_block(status: &Status, width: usize, colour: bool) -> Vec<String> {
    let line = |label| Line::new(label, width, colour);
    let mut block = vec![
        title(status, Line::unlabelled(width, colour)),
        on_air(status, line("on air")),
        making(status, line("making")),
        runway(status, line("runway")),
        picture(status, line("picture")),
        encoder(status, line("encoder")),
        recording(status, line("record")),
    ];
    block.extend(status.outputs.iter().map(|o| output(o, line("output"))));
    let skipped = status.warnings.len().saturating_sub(MAX_WARNINGS);
    block.extend(status.warnings.iter().skip(skipped).map(|warning| {
        let mut line = Line::unlabelled(width, colour);
        line.put(Style::Bad, "! ");
        line.put(Style::Warn, warning);
        line.finish()
    }));
    block
}

/// The essentials in one line, for a log.
pub fn status_line(status: &Status) -> String {
    let mut line = format!("{} {}", phase(status).0, clock(status.show_time_s));
    let mut add = |text: String| {
        line.push_str(", ");
        line.push_str(&text);
    };
    add(match (status.on_air.cycle, status.on_air.replay) {
        (Some(cycle), false) => format!("cycle {cycle}"),
        (Some(cycle), true) => format!("cycle {cycle} again"),
        (None, _) => "no cycle on air".into(),
    });
    add(format!("runway {}", runway_text(status)));
    add(format!("{:.1} fps", status.fps));
    add(format!("render {:.1} ms", status.render_ms.p50));
    add(format!("encode {:.1} ms", status.encode_ms.p50));
    if let Some(cpu) = status.cpu_ms_per_frame {
        add(format!("cpu {cpu:.1} ms/frame"));
    }
    mishaps(status).into_iter().for_each(&mut add);
    if status.encoder_rebuilds > 0 {
        add(format!("{} encoder changes, now {}", status.encoder_rebuilds, status.encoder));
    }
    if let Some(recording) = &status.recording {
        add(format!("recorded {}", size(recording.bytes)));
    }
    for output in &status.outputs {
        let mut text = format!("{} {}", clean(&output_name(output)), state(output.state).0);
        // Why one is not live was a line of its own when that began.
        if let Some(remark) = output.reason.as_ref().filter(|_| output.state == OutputState::Live) {
            text += &format!(" ({})", clean(remark));
        }
        for mishap in output_mishaps(output) {
            text += &format!(" {mishap}");
        }
        add(text);
    }
    if let Some(warning) = status.warnings.last() {
        add(format!("warning: {}", clean(warning)));
    }
    line
}

fn title(status: &Status, mut line: Line) -> String {
    let (name, style) = phase(status);
    line.put(style, name);
    if status.params.get("/fx/blackout").and_then(|v| v.as_f64()).is_some_and(|v| v > 0.0) {
        line.piece(Style::Alarm, "BLACKOUT");
    }
    line.piece(Style::Bold, &clock(status.show_time_s));
    line.put(Style::Plain, "  ");
    line.put(Style::Plain, &status.project);
    line.finish()
}

fn on_air(status: &Status, mut line: Line) -> String {
    match (status.on_air.cycle, status.phase) {
        (Some(cycle), _) => line.put(Style::Plain, &format!("cycle {cycle}")),
        (None, Phase::Standby) => line.put(Style::Dim, "standby picture"),
        (None, _) => line.put(Style::Warn, "built-in stand-in"),
    }
    if status.on_air.replay {
        line.put(Style::Warn, " again");
    }
    let words: Vec<&str> = status.on_air.prompt.split_whitespace().collect();
    if !words.is_empty() {
        line.put(Style::Plain, "  ");
        line.put(Style::Dim, &words.join(" "));
    }
    line.finish()
}

fn making(status: &Status, mut line: Line) -> String {
    match &status.generating {
        Some(g) => {
            line.put(Style::Plain, &format!("cycle {} {:<7}", g.cycle, g.stage));
            match g.expected_s {
                Some(expected) => {
                    let text = format!("{:.1} of {expected:.1} s", g.elapsed_s);
                    line.bar(Style::Accent, g.elapsed_s / expected, &text);
                }
                None => line.piece(Style::Plain, &format!("{:.1} s", g.elapsed_s)),
            }
            if g.cycles > 1 {
                line.piece(Style::Plain, &format!("and {} more", g.cycles - 1));
            }
            if let Some(progress) = &g.progress {
                line.piece(Style::Dim, progress);
            }
        }
        None => line.put(Style::Dim, "nothing"),
    }
    if status.cycles.failed > 0 {
        line.piece(Style::Warn, &format!("failed {}", status.cycles.failed));
    }
    line.finish()
}

fn runway(status: &Status, mut line: Line) -> String {
    let share = status.runway_s.now / status.runway_s.target;
    let style = match share {
        _ if share >= 0.5 => Style::Good,
        _ if share >= 0.2 => Style::Warn,
        _ => Style::Bad,
    };
    line.bar(style, share, &runway_text(status));
    line.piece(Style::Dim, &format!("least {:.1} s", status.runway_s.min));
    line.finish()
}

fn runway_text(status: &Status) -> String {
    format!("{:.1} of {:.0} s", status.runway_s.now, status.runway_s.target)
}

fn picture(status: &Status, mut line: Line) -> String {
    if status.first_frame_ms.is_none() {
        line.put(Style::Dim, "no frame yet");
        return line.finish();
    }
    let style = match status.fps / status.target_fps {
        share if share >= 0.99 => Style::Good,
        share if share >= 0.9 => Style::Warn,
        _ => Style::Bad,
    };
    line.put(style, &format!("{:.1} fps", status.fps));
    for mishap in mishaps(status) {
        line.piece(Style::Warn, &mishap);
    }
    if status.effort.now != Effort::Full {
        line.piece(Style::Warn, &status.effort.now.name().replace('_', " "));
    }
    line.piece(Style::Plain, &format!("render {:.1} ms", status.render_ms.p50));
    line.piece(Style::Plain, &format!("encode {:.1} ms", status.encode_ms.p50));
    if let Some(cpu) = status.cpu_ms_per_frame {
        line.piece(Style::Plain, &format!("cpu {cpu:.1} ms/frame"));
    }
    line.finish()
}

/// Every count that should be 0 and is not.
fn mishaps(status: &Status) -> Vec<String> {
    let frames = &status.frames;
    [
        ("dropped", frames.dropped),
        ("held", frames.held),
        ("repeated", frames.repeated),
        ("late", frames.late),
        ("underruns", status.underruns),
    ]
    .into_iter()
    .filter(|(_, count)| *count > 0)
    .map(|(name, count)| format!("{name} {count}"))
    .collect()
}

fn encoder(status: &Status, mut line: Line) -> String {
    line.put(Style::Plain, status.encoder);
    if let Some(change) = status.encoder_changes.last() {
        let mut text = format!("since {}, {} failed", clock(change.at_s), change.from);
        if status.encoder_rebuilds > 1 {
            text += &format!(" ({} changes)", status.encoder_rebuilds);
        }
        line.piece(Style::Warn, &text);
    }
    line.piece(Style::Dim, &status.canvas);
    if let Some(memory) = status.peak_rss_mb {
        line.piece(Style::Dim, &format!("memory {memory:.0} MB"));
    }
    line.finish()
}

fn recording(status: &Status, mut line: Line) -> String {
    let Some(recording) = &status.recording else {
        line.put(Style::Dim, "off");
        return line.finish();
    };
    let (name, style) = state(recording.state);
    if recording.state != OutputState::Live {
        line.put(style, name);
        line.put(Style::Plain, "  ");
    }
    line.put(Style::Plain, recording.path.rsplit(['/', '\\']).next().unwrap_or_default());
    line.piece(Style::Plain, &size(recording.bytes));
    if recording.parts.len() > 1 {
        line.piece(Style::Warn, &format!("{} parts", recording.parts.len()));
    }
    if let Some(error) = &recording.error {
        line.put(Style::Plain, "  ");
        line.put(Style::Bad, error);
    } else {
        if let Some(room) = recording.room_s {
            let style = if room < LITTLE_ROOM_S { Style::Warn } else { Style::Plain };
            line.piece(style, &format!("room {}", long_time(room)));
        }
        line.piece(Style::Dim, &bitrate(recording.bitrate_kbps));
    }
    line.finish()
}

fn output(output: &OutputStatus, mut line: Line) -> String {
    let (name, style) = state(output.state);
    line.put(style, name);
    if output.state == OutputState::Live {
        line.piece(Style::Plain, &bitrate(output.bitrate_kbps));
    }
    if let Some(seconds) = output.retry_in_s {
        line.piece(Style::Warn, &format!("retry in {seconds:.0} s"));
    }
    for mishap in output_mishaps(output) {
        // On a narrow terminal, which output it is matters more.
        if line.room() > WITHOUT_MISHAPS {
            line.piece(Style::Warn, &mishap);
        }
    }
    line.put(Style::Plain, "  ");
    let which = clean(&output_name(output));
    match &output.reason {
        // Half of the room for what, or what a short reason leaves.
        Some(reason) => {
            let left = line.room().saturating_sub(visible_width(&clean(reason)) + 2);
            line.put(Style::Plain, &cut(&which, left.max(line.room() / 2)));
            line.put(Style::Plain, "  ");
            let remark = matches!(output.state, OutputState::Live | OutputState::Stopped);
            line.put(if remark { Style::Dim } else { Style::Bad }, reason);
        }
        None => line.put(Style::Plain, &which),
    }
    line.finish()
}

/// The user's name for it before its URI.
fn output_name(output: &OutputStatus) -> String {
    match &output.name {
        Some(name) => format!("{name} {}", output.uri),
        None => output.uri.clone(),
    }
}

/// What did not go well with an output, as far as it did not.
fn output_mishaps(output: &OutputStatus) -> Vec<String> {
    let counts = [("groups dropped", output.dropped_groups), ("reconnects", output.reconnects)];
    let counts = counts.into_iter().filter(|(_, count)| *count > 0);
    let mut mishaps: Vec<String> = counts.map(|(name, count)| format!("{name} {count}")).collect();
    if output.queue_ms >= LONG_QUEUE_MS {
        mishaps.push(format!("{:.1} s wait", output.queue_ms as f64 / 1000.0));
    }
    mishaps
}

fn phase(status: &Status) -> (&'static str, Style) {
    match status.phase {
        Phase::Standby => ("STANDBY", Style::Warn),
        Phase::Live => ("LIVE", Style::Good),
        Phase::Draining => ("STOPPING", Style::Warn),
        Phase::Ended => ("ENDED", Style::Dim),
    }
}

/// The word for a state, and how it looks.
pub fn state(state: OutputState) -> (&'static str, Style) {
    let style = match state {
        OutputState::Starting | OutputState::Reconnecting => Style::Warn,
        OutputState::Live => Style::Good,
        OutputState::Unavailable | OutputState::Failed => Style::Bad,
        OutputState::Stopped => Style::Dim,
    };
    (state.name(), style)
}

/// `01:02:03`.
fn clock(seconds: f64) -> String {
    let s = seconds.max(0.0) as u64;
    format!("{:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
}

fn long_time(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.0} h", s / 3600.0),
    }
}

fn size(bytes: u64) -> String {
    match bytes as f64 {
        b if b < 1e9 => format!("{:.0} MB", b / 1e6),
        b => format!("{:.1} GB", b / 1e9),
    }
}

pub fn bitrate(kbps: f64) -> String {
    format!("{:.1} Mb/s", kbps / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::telemetry::{
        Cycles, EncoderChange, Frames, Generating, OnAir, Percentiles, RecordingStatus, Runway,
    };

    fn live() -> Status {
        Status {
            project: "neon-garden".into(),
            phase: Phase::Live,
            show_time_s: 754.3,
            first_frame_ms: Some(812.0),
            canvas: "1920x1080".into(),
            fps: 60.0,
            target_fps: 60.0,
            encoder: "x264enc",
            on_air: OnAir {
                cycle: Some(12),
                prompt: "a slow river of molten glass\n under violet neon, macro, deep focus"
                    .into(),
                replay: false,
                ..OnAir::default()
            },
            generating: Some(Generating {
                cycle: 14,
                stage: "video",
                elapsed_s: 3.1,
                expected_s: Some(6.2),
                progress: None,
                done: None,
                cycles: 1,
            }),
            runway_s: Runway { now: 18.4, min: 9.0, mean: 17.0, target: 24.0 },
            render_ms: Percentiles { p50: 2.13, ..Default::default() },
            encode_ms: Percentiles { p50: 9.8, ..Default::default() },
            cpu_ms_per_frame: Some(18.24),
            peak_rss_mb: Some(412.3),
            recording: Some(RecordingStatus {
                path: "/shows/neon-garden/final_60fps_1080p.mp4".into(),
                state: OutputState::Live,
                bytes: 566_000_000,
                bitrate_kbps: 6012.0,
                parts: vec!["final_60fps_1080p.mp4".into()],
                room_s: Some(40_000.0),
                ..Default::default()
            }),
            outputs: vec![OutputStatus {
                uri: "rtmp://live.example/app/***".into(),
                state: OutputState::Live,
                bitrate_kbps: 6204.0,
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    fn slow() -> Status {
        let mut status = live();
        status.on_air.replay = true;
        status.generating = Some(Generating {
            cycle: 14,
            stage: "retry",
            elapsed_s: 21.0,
            expected_s: Some(18.0),
            ..Default::default()
        });
        status.runway_s = Runway { now: 2.1, min: 0.4, mean: 5.0, target: 24.0 };
        status.cycles = Cycles { generated: 14, replayed: 6, failed: 2, ..Default::default() };
        status.frames = Frames { held: 3, late: 7, ..Default::default() };
        status.fps = 58.2;
        status.warnings = (1..=4).map(|n| format!("warning {n}")).collect();
        status
    }

    fn failed_output() -> Status {
        let mut status = live();
        status.outputs.push(OutputStatus {
            uri: "rtmp://other.example/app/***".into(),
            state: OutputState::Failed,
            reconnects: 4,
            reason: Some("connection refused".into()),
            ..Default::default()
        });
        status.params.insert("/fx/blackout".into(), 1.0.into());
        status
    }

    fn standby() -> Status {
        Status {
            project: "neon-garden".into(),
            canvas: "1920x1080".into(),
            target_fps: 60.0,
            encoder: "x264enc",
            runway_s: Runway { target: 24.0, ..Default::default() },
            ..Default::default()
        }
    }

    #[track_caller]
    fn assert_block(status: &Status, width: usize, expected: &str) {
        let block = status_block(status, width, false).join("\n");
        assert!(block == expected.trim_matches('\n'), "\n{block}\n");
    }

    #[test]
    fn standing_by() {
        let expected = r#"
STANDBY  00:00:00  neon-garden
on air   standby picture
making   nothing
runway   ░░░░░░░░░░░░░░░░░░░░░░░░  0.0 of 24 s  least 0.0 s
picture  no frame yet
encoder  x264enc  1920x1080
record   off
"#;
        assert_block(&standby(), 80, expected);
    }

    #[test]
    fn live_and_well() {
        let expected = r#"
LIVE  00:12:34  neon-garden
on air   cycle 12  a slow river of molten glass under violet neon, macro, deep …
making   cycle 14 video  ████████████░░░░░░░░░░░░  3.1 of 6.2 s
runway   ██████████████████░░░░░░  18.4 of 24 s  least 9.0 s
picture  60.0 fps  render 2.1 ms  encode 9.8 ms  cpu 18.2 ms/frame
encoder  x264enc  1920x1080  memory 412 MB
record   final_60fps_1080p.mp4  566 MB  room 11 h  6.0 Mb/s
output   live  6.2 Mb/s  rtmp://live.example/app/***
"#;
        assert_block(&live(), 80, expected);
    }

    #[test]
    fn live_on_a_narrow_terminal() {
        let expected = r#"
LIVE  00:12:34  neon-garden
on air   cycle 12  a slow river of molt…
making   cycle 14 video  3.1 of 6.2 s
runway   █████████████░░░░  18.4 of 24 s
picture  60.0 fps  render 2.1 ms
encoder  x264enc  1920x1080
record   final_60fps_1080p.mp4  566 MB
output   live  6.2 Mb/s  rtmp://live.ex…
"#;
        assert_block(&live(), 40, expected);
    }

    #[test]
    fn a_slow_generator_shows_replays_and_the_newest_warnings() {
        let expected = r#"
LIVE  00:12:34  neon-garden
on air   cycle 12 again  a slow river of molten glass under violet neon, macro,…
making   cycle 14 retry  ████████████████████████  21.0 of 18.0 s  failed 2
runway   ██░░░░░░░░░░░░░░░░░░░░░░  2.1 of 24 s  least 0.4 s
picture  58.2 fps  held 3  late 7  render 2.1 ms  encode 9.8 ms
encoder  x264enc  1920x1080  memory 412 MB
record   final_60fps_1080p.mp4  566 MB  room 11 h  6.0 Mb/s
output   live  6.2 Mb/s  rtmp://live.example/app/***
! warning 2
! warning 3
! warning 4
"#;
        assert_block(&slow(), 80, expected);
    }

    #[test]
    fn a_failed_output_says_why_beside_the_healthy_one() {
        let block = status_block(&failed_output(), 80, false);
        assert_eq!(block[0], "LIVE  BLACKOUT  00:12:34  neon-garden");
        assert_eq!(block[7], "output   live  6.2 Mb/s  rtmp://live.example/app/***");
        assert_eq!(
            block[8],
            "output   failed  reconnects 4  rtmp://other.example/app/***  connection refused"
        );
    }

    #[test]
    fn an_output_that_waits_says_for_how_long_and_what_it_has_lost() {
        let mut status = failed_output();
        let output = &mut status.outputs[1];
        output.state = OutputState::Reconnecting;
        output.name = Some("Twitch".into());
        output.retry_in_s = Some(7.6);
        output.dropped_groups = 3;
        output.queue_ms = 1250;
        assert_eq!(
            status_block(&status, 130, false)[8],
            "output   reconnecting  retry in 8 s  groups dropped 3  reconnects 4  1.2 s wait  \
             Twitch rtmp://other.example/…  connection refused"
        );
        assert_eq!(
            status_block(&status, 60, false)[8],
            "output   reconnecting  retry in 8 s  Twitch rtm…  connectio…"
        );
        let line = status_line(&status);
        let told = "Twitch rtmp://other.example/app/*** reconnecting \
                    groups dropped 3 reconnects 4 1.2 s wait";
        assert!(line.contains(told), "{line}");
        status.outputs[1].state = OutputState::Live;
        status.outputs[1].reason = Some("2 receivers".into());
        let remark = status_block(&status, 130, true).remove(8);
        assert!(remark.contains("\x1b[2m2 receivers"), "a remark is no alarm: {remark}");
    }

    #[test]
    fn the_encoder_that_took_over_says_since_when_and_from_which() {
        let mut status = live();
        status.encoder_rebuilds = 2;
        status.encoder_changes = vec![EncoderChange {
            at_s: 61.0,
            from: "nvh264enc",
            to: "x264enc",
            reason: "it gave no picture for 2.0 s".into(),
        }];
        assert_eq!(
            status_block(&status, 80, false)[5],
            "encoder  x264enc  since 00:01:01, nvh264enc failed (2 changes)  1920x1080"
        );
        let line = status_line(&status);
        assert!(line.contains(", 2 encoder changes, now x264enc, "), "{line}");
    }

    #[test]
    fn colour_marks_what_needs_a_look() {
        let mut status = live();
        assert!(status_block(&status, 80, true)[3].contains("\x1b[32m█"), "a green runway");
        status.runway_s.now = 1.0;
        assert!(status_block(&status, 80, true)[3].contains("\x1b[31m█"), "a red one");
    }

    #[test]
    fn the_log_line_has_the_essentials() {
        assert_eq!(
            status_line(&slow()),
            "LIVE 00:12:34, cycle 12 again, runway 2.1 of 24 s, 58.2 fps, render 2.1 ms, encode \
             9.8 ms, cpu 18.2 ms/frame, held 3, late 7, recorded 566 MB, \
             rtmp://live.example/app/*** live, warning: warning 4"
        );
    }

    #[test]
    fn no_line_is_wider_than_asked_and_nothing_steers_the_terminal() {
        let mut nasty = failed_output();
        let text =
            "\x1b[2J\r\n\u{202e}熔岩 ❤\u{fe0f} 👩\u{200d}🎤 e\u{301}\u{9b}31m 流れる川".repeat(9);
        nasty.project = text.clone();
        nasty.on_air.prompt = text.clone();
        nasty.outputs[0].uri = text.clone();
        nasty.outputs[1].reason = Some(text.clone());
        nasty.recording.as_mut().unwrap().path = text.clone();
        nasty.warnings = vec![text];
        for status in [standby(), live(), slow(), failed_output(), nasty, Status::default()] {
            for width in 0..=160 {
                let plain = status_block(&status, width, false);
                let coloured = status_block(&status, width, true);
                for (plain, coloured) in plain.iter().zip(&coloured) {
                    assert!(visible_width(coloured) <= width, "{width}: {coloured:?}");
                    assert!(!plain.contains(|c: char| c.is_control()), "{plain:?}");
                    assert_eq!(visible_width(coloured), visible_width(plain));
                    let starts = coloured.matches("\x1b[").count();
                    assert_eq!(starts, 2 * coloured.matches("\x1b[0m").count());
                }
            }
        }
    }
}
