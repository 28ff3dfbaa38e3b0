//! A [`Status`] in Prometheus' text exposition format, version 0.0.4.
//!
//! Holds: every name begins with `vfaq_` and ends with its unit, in base units (seconds, bytes);
//! every family has HELP and TYPE, even while it has no sample; a number that is not known yet
//! has no sample.

use std::fmt::Write;

use super::hub::Hub;
use crate::base::effort::Effort;
use crate::base::telemetry::{OutputState, OutputStatus, Percentiles, Phase, Status};

pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Labels of one sample, in order.
type Labels<'a> = &'a [(&'a str, &'a str)];

pub fn exposition(status: &Status, hub: &Hub) -> String {
    let mut page = Page { text: String::with_capacity(8 * 1024), family: "" };
    show(&mut page, status);
    picture(&mut page, status);
    ahead(&mut page, status);
    recording(&mut page, status);
    midi(&mut page, status);
    sound(&mut page, status);
    tempo(&mut page, status);
    outputs(&mut page, status);
    control(&mut page, hub);
    osc(&mut page, status);
    page.text
}

fn show(page: &mut Page, status: &Status) {
    page.family("vfaq_build_info", "gauge", "The version in the label; always 1.");
    page.sample(&[("version", status.version)], 1.0);
    page.family("vfaq_phase", "gauge", "1 for where the show stands, 0 for the others.");
    for (name, phase) in [
        ("standby", Phase::Standby),
        ("live", Phase::Live),
        ("draining", Phase::Draining),
        ("ended", Phase::Ended),
    ] {
        page.sample(&[("phase", name)], flag(status.phase == phase));
    }
    page.gauge("vfaq_show_time_seconds", "Time since go.", status.show_time_s);
    page.family(
        "vfaq_first_frame_seconds",
        "gauge",
        "From process start until the first frame went to the encoder.",
    );
    page.known(&[], status.first_frame_ms.map(seconds));
    page.family(
        "vfaq_cpu_seconds_per_frame",
        "gauge",
        "CPU time of the whole process for each frame on air.",
    );
    page.known(&[], status.cpu_ms_per_frame.map(seconds));
    page.family("vfaq_peak_resident_memory_bytes", "gauge", "Most memory ever resident.");
    page.known(&[], status.peak_rss_mb.map(|mb| (mb * 1e6).round()));
    page.gauge("vfaq_warnings", "Warnings shown at present.", status.warnings.len() as f64);
}

fn tempo(page: &mut Page, status: &Status) {
    let tempo = &status.tempo;
    page.gauge("vfaq_tempo_bpm", "Beats a minute that the show goes by.", tempo.bpm);
    page.gauge("vfaq_tempo_confidence", "How sure that is, 0 to 1.", tempo.confidence.into());
    page.gauge("vfaq_tempo_led", "1 while somebody gives the beat.", flag(tempo.led));
    page.gauge("vfaq_tempo_playing", "1 while the transport runs.", flag(tempo.playing));
    page.family("vfaq_tempo_source", "gauge", "1 for who gives the beat.");
    for source in &tempo.sources {
        page.sample(&[("source", source.source)], flag(source.source == tempo.source));
    }
    page.family("vfaq_tempo_source_bpm", "gauge", "The tempo of each source that is there.");
    for source in tempo.sources.iter().filter(|source| source.state == "live") {
        page.known(&[("source", source.source)], source.bpm);
    }
    page.counter(
        "vfaq_tempo_jumps_total",
        "Times that beats were left out so that bars begin where they should.",
        tempo.jumps,
    );
    page.family("vfaq_tempo_refused_total", "counter", "Notes of sources, by why not taken.");
    for (why, count) in &tempo.refused {
        page.sample(&[("why", why)], *count as f64);
    }
    page.counter("vfaq_tempo_lost_total", "Notes that came too fast to be taken.", tempo.lost);
    let os2l = status.os2l.as_ref();
    page.family("vfaq_os2l_clients", "gauge", "Programs that are connected by OS2L.");
    page.known(&[], os2l.map(|os2l| os2l.clients as f64));
    page.family("vfaq_os2l_beats_total", "counter", "Beats that came by OS2L.");
    page.known(&[], os2l.map(|os2l| os2l.beats as f64));
    page.family("vfaq_os2l_refused_total", "counter", "What came by OS2L and is none.");
    page.known(&[], os2l.map(|os2l| os2l.refused as f64));
}

fn midi(page: &mut Page, status: &Status) {
    let midi = &status.midi;
    page.family("vfaq_midi_ports", "gauge", "MIDI devices, by whether they are there.");
    for (state, count) in [("connected", midi.connected), ("away", midi.away)] {
        page.sample(&[("state", state)], count as f64);
    }
    page.counter("vfaq_midi_messages_total", "MIDI messages that came in.", midi.messages);
    page.family(
        "vfaq_midi_dropped_total",
        "counter",
        "MIDI messages that changed nothing, by why.",
    );
    for (why, count) in [("ignored", midi.ignored), ("refused", midi.refused), ("lost", midi.lost)]
    {
        page.sample(&[("why", why)], count as f64);
    }
    page.counter("vfaq_midi_sent_total", "What MIDI controllers were shown.", midi.sent);
}

fn sound(page: &mut Page, status: &Status) {
    let sound = &status.sound;
    page.family("vfaq_sound_state", "gauge", "1 for the state of the source of the sound.");
    for state in ["opening", "live", "lost", "ended"] {
        page.sample(&[("state", state)], flag(sound.state == state));
    }
    page.counter("vfaq_sound_returns_total", "Times that a source came back.", sound.returns);
    for (name, help, levels) in [
        ("vfaq_sound_peak_dbfs", "Peak of the sound as it is sent.", sound.peak_db),
        ("vfaq_sound_rms_dbfs", "Loudness (RMS) of the sound as it is sent.", sound.rms_db),
    ] {
        page.family(name, "gauge", help);
        for (channel, level) in ["left", "right"].into_iter().zip(levels) {
            page.sample(&[("channel", channel)], f64::from(level));
        }
    }
    page.gauge(
        "vfaq_sound_limited_decibels",
        "What the limiter takes away at present.",
        f64::from(sound.limited_db),
    );
    page.gauge(
        "vfaq_sound_drift_ratio",
        "How much faster the clock of the source is than the show's; it is corrected by as much.",
        sound.drift_ppm / 1e6,
    );
    page.gauge(
        "vfaq_sound_error_seconds",
        "How much later the sound stands than it should.",
        seconds(sound.error_ms),
    );
    page.counter(
        "vfaq_sound_restarts_total",
        "Times that so much was missing that the sound began anew at its place.",
        sound.restarts,
    );
    page.gauge("vfaq_sound_fill_seconds", "Sound that lies ready.", seconds(sound.fill_ms));
    page.counter(
        "vfaq_sound_underruns_total",
        "Times that sound was not there in time.",
        sound.underruns,
    );
    page.family("vfaq_sound_missing_seconds_total", "counter", "Sound that was not there in time.");
    page.sample(&[], seconds(sound.missing_ms));
}

fn picture(page: &mut Page, status: &Status) {
    let frames = &status.frames;
    page.family("vfaq_frames_total", "counter", "Frames rendered, by how they were made.");
    for (kind, count) in [
        ("source", frames.source),
        ("interpolated", frames.interpolated),
        ("blended", frames.blended),
        ("held", frames.held),
    ] {
        page.sample(&[("kind", kind)], count as f64);
    }
    page.counter(
        "vfaq_frames_repeated_total",
        "Frames that the encoder was too busy to take; the one before went in their place.",
        frames.repeated,
    );
    page.counter(
        "vfaq_frames_dropped_total",
        "Places of the frame grid that were never encoded.",
        frames.dropped,
    );
    page.counter(
        "vfaq_frames_late_total",
        "Frames handed over more than one frame time after they were due.",
        frames.late,
    );
    let motion = &status.motion;
    page.family("vfaq_motion_pairs_total", "counter", "Pairs of source frames, by their motion.");
    for (kind, count) in [
        ("found", motion.found),
        ("fast", motion.fast),
        ("late", motion.late),
        ("cut", motion.cuts),
        ("repeat", motion.repeats),
    ] {
        page.sample(&[("kind", kind)], count as f64);
    }
    page.quantiles(
        "vfaq_motion_pair_seconds",
        "Wall time to find the motion of a pair.",
        &motion.pair_ms,
    );
    page.family("vfaq_effort", "gauge", "1 for what the show does at present, 0 for the others.");
    for effort in Effort::ALL {
        page.sample(&[("effort", effort.name())], flag(status.effort.now == effort));
    }
    page.family("vfaq_effort_steps_total", "counter", "Steps on the quality ladder.");
    for (way, count) in [("down", status.effort.steps_down), ("up", status.effort.steps_up)] {
        page.sample(&[("way", way)], count as f64);
    }
    page.gauge(
        "vfaq_frames_per_second",
        "Frames handed to the encoder over the last few seconds.",
        status.fps,
    );
    page.gauge("vfaq_frames_per_second_target", "The frame rate asked for.", status.target_fps);
    page.quantiles("vfaq_render_seconds", "Wall time to render a frame.", &status.render_ms);
    page.quantiles("vfaq_encode_seconds", "Wall time to encode a frame.", &status.encode_ms);
    page.family("vfaq_encoder_info", "gauge", "The encoder in use in the label; always 1.");
    page.sample(&[("encoder", status.encoder)], 1.0);
    page.counter(
        "vfaq_encoder_rebuilds_total",
        "Times that an encoder failed and the same or another one took its place.",
        status.encoder_rebuilds,
    );
    page.gauge(
        "vfaq_encoder_bits_per_second",
        "Bit rate that the encoder is asked for.",
        f64::from(status.encoder_bitrate_kbps) * 1000.0,
    );
    page.quantiles(
        "vfaq_lateness_seconds",
        "Time from when a frame was due until it was handed over.",
        &status.lateness_ms,
    );
}

fn ahead(page: &mut Page, status: &Status) {
    let cycles = &status.cycles;
    page.family("vfaq_cycles_total", "counter", "Cycles, by what became of them.");
    for (kind, count) in [
        ("generated", cycles.generated),
        ("played", cycles.played),
        ("replayed", cycles.replayed),
        ("stand_in", cycles.stand_in),
        ("failed", cycles.failed),
    ] {
        page.sample(&[("kind", kind)], count as f64);
    }
    page.counter(
        "vfaq_underruns_total",
        "Times that no prepared clip was due on air.",
        status.underruns,
    );
    let steering = &status.steering;
    page.family("vfaq_steering_changes_total", "counter", "Changes that somebody asked for.");
    for (result, count) in [("accepted", steering.accepted), ("refused", steering.refused)] {
        page.sample(&[("result", result)], count as f64);
    }
    page.quantiles(
        "vfaq_steering_latency_seconds",
        "From a change to the first frame with it at the encoder.",
        &steering.latency_ms,
    );
    let prompts = &steering.prompts;
    page.counter(
        "vfaq_prompts_steered_total",
        "Changes of prompts and generation that have come to be seen.",
        prompts.count,
    );
    let name = "vfaq_prompt_to_picture_seconds";
    page.family(name, "summary", "From a change of prompts to the first picture made with it.");
    for (quantile, value) in [("0.5", prompts.p50_s), ("0.95", prompts.p95_s), ("1", prompts.max_s)]
    {
        page.sample(&[("quantile", quantile)], value);
    }
    let losses = &status.losses;
    page.counter(
        "vfaq_journal_entries_lost_total",
        "Changes of shot and receipts that the journal missed.",
        losses.journal_entries,
    );
    page.counter(
        "vfaq_archive_write_failures_total",
        "Attempts to write a file of the archive that failed.",
        losses.archive_writes,
    );
    page.counter(
        "vfaq_clock_breaks_total",
        "Times that the picture stood still for over a second.",
        losses.clock_breaks,
    );
    page.counter(
        "vfaq_silent_frames_total",
        "Frames whose sound was not there in time and became silence.",
        losses.silent_frames,
    );
    page.counter(
        "vfaq_output_sounds_lost_total",
        "Frames whose sound an output of raw pictures was too busy to take.",
        losses.output_sounds,
    );
    let runway = &status.runway_s;
    page.gauge("vfaq_runway_seconds", "Timeline ready ahead of the picture.", runway.now);
    page.gauge("vfaq_runway_min_seconds", "Shortest runway of the show.", runway.min);
    page.gauge("vfaq_runway_mean_seconds", "Mean runway of the show.", runway.mean);
    page.gauge("vfaq_runway_target_seconds", "The runway aimed at.", runway.target);
    page.family("vfaq_on_air_cycle", "gauge", "Number of the cycle on air.");
    page.known(&[], status.on_air.cycle.map(f64::from));
    page.gauge(
        "vfaq_on_air_replay",
        "1 while the cycle on air is one played before.",
        flag(status.on_air.replay),
    );
    let generating = status.generating.as_ref();
    page.family(
        "vfaq_generation_elapsed_seconds",
        "gauge",
        "Time spent on the cycle in the making.",
    );
    page.known(&[], generating.map(|g| g.elapsed_s));
    page.family("vfaq_generation_expected_seconds", "gauge", "Time a cycle took lately.");
    page.known(&[], generating.and_then(|g| g.expected_s));
    page.family("vfaq_generator_usable", "gauge", "1 while a generator is given jobs.");
    for generator in &status.generators {
        page.known(&[("generator", &generator.name)], Some(flag(generator.usable)));
    }
}

fn recording(page: &mut Page, status: &Status) {
    let recording = status.recording.as_ref();
    page.family("vfaq_recording_state", "gauge", "1 for the state of the recording.");
    for state in OutputState::ALL {
        page.known(&[("state", state.name())], recording.map(|r| flag(r.state == state)));
    }
    page.family("vfaq_recording_frames_total", "counter", "Frames written.");
    page.known(&[], recording.map(|r| r.frames as f64));
    page.family("vfaq_recording_bytes_total", "counter", "Bytes written.");
    page.known(&[], recording.map(|r| r.bytes as f64));
    page.family("vfaq_recording_bits_per_second", "gauge", "Bit rate of the last seconds.");
    page.known(&[], recording.map(|r| r.bitrate_kbps * 1000.0));
    page.family("vfaq_recording_parts", "gauge", "Files that belong to the recording.");
    page.known(&[], recording.map(|r| r.parts.len() as f64));
    page.family(
        "vfaq_recording_room_seconds",
        "gauge",
        "Time that the disk has room for at the present bit rate.",
    );
    page.known(&[], recording.and_then(|r| r.room_s));
}

fn osc(page: &mut Page, status: &Status) {
    let osc = status.osc.as_ref();
    page.family("vfaq_osc_packets_total", "counter", "Packets that came in.");
    page.known(&[], osc.map(|o| o.packets as f64));
    page.family("vfaq_osc_messages_total", "counter", "Messages in them that were taken.");
    page.known(&[], osc.map(|o| o.messages as f64));
    page.family("vfaq_osc_refused_total", "counter", "Packets that were refused, by reason.");
    for (reason, count) in osc.iter().flat_map(|o| &o.refused) {
        page.sample(&[("reason", reason)], *count as f64);
    }
    page.family("vfaq_osc_waiting", "gauge", "Bundles that wait for their time.");
    page.known(&[], osc.map(|o| o.waiting as f64));
    page.family("vfaq_osc_subscribers", "gauge", "Who is sent changes over UDP.");
    page.known(&[], osc.map(|o| o.subscribers as f64));
    page.family("vfaq_osc_listeners", "gauge", "Clients of OSCQuery that are connected.");
    page.known(&[], osc.map(|o| o.listeners as f64));
    page.family("vfaq_osc_feedback_total", "counter", "Packets with changes that were sent.");
    page.known(&[], osc.map(|o| o.feedback as f64));
}

/// Two outputs may have one URI, so the number tells them apart.
fn outputs(page: &mut Page, status: &Status) {
    page.family("vfaq_output_state", "gauge", "1 for the state of the output.");
    for output in &status.outputs {
        let number = output.id.to_string();
        for state in OutputState::ALL {
            let [output_label, name, uri] = output_labels(output, &number);
            let labels = [output_label, name, uri, ("state", state.name())];
            page.sample(&labels, flag(output.state == state));
        }
    }
    let mut family = |name, kind, help, value: fn(&OutputStatus) -> f64| {
        page.family(name, kind, help);
        for output in &status.outputs {
            page.sample(&output_labels(output, &output.id.to_string()), value(output));
        }
    };
    let help = "Time that it has been in its state.";
    family("vfaq_output_state_seconds", "gauge", help, |o| o.since_s);
    family("vfaq_output_frames_total", "counter", "Frames sent.", |o| o.frames as f64);
    family("vfaq_output_bytes_total", "counter", "Bytes sent.", |o| o.bytes as f64);
    let help = "Bit rate of the last seconds.";
    family("vfaq_output_bits_per_second", "gauge", help, |o| o.bitrate_kbps * 1000.0);
    let help = "Groups of pictures that did not fit through.";
    family("vfaq_output_dropped_groups_total", "counter", help, |o| o.dropped_groups as f64);
    let help = "Pictures that were left out.";
    family("vfaq_output_dropped_frames_total", "counter", help, |o| o.dropped_frames as f64);
    let help = "Times it was connected again.";
    family("vfaq_output_reconnects_total", "counter", help, |o| o.reconnects as f64);
    let help = "Media that waits to be sent.";
    family("vfaq_output_queue_seconds", "gauge", help, |o| seconds(o.queue_ms as f64));
}

fn control(page: &mut Page, hub: &Hub) {
    let counters = &hub.counters;
    page.gauge("vfaq_websocket_clients", "WebSocket clients at present.", hub.clients() as f64);
    page.family("vfaq_websocket_messages_total", "counter", "WebSocket messages, by their way.");
    page.sample(&[("way", "in")], counters.messages_in.get() as f64);
    page.sample(&[("way", "out")], counters.messages_out.get() as f64);
    page.counter(
        "vfaq_websocket_slow_readers_total",
        "WebSocket clients that were dropped because they did not read.",
        counters.slow_readers.get(),
    );
    let refused = &counters.refused;
    page.family("vfaq_http_refused_total", "counter", "Requests that were refused, by why.");
    for (reason, count) in [
        ("full", &refused.full),
        ("rate", &refused.rate),
        ("host", &refused.host),
        ("origin", &refused.origin),
        ("no_token", &refused.no_token),
        ("wrong_token", &refused.wrong_token),
        ("slowed", &refused.slowed),
    ] {
        page.sample(&[("reason", reason)], count.get() as f64);
    }
}

fn output_labels<'a>(output: &'a OutputStatus, number: &'a str) -> [(&'a str, &'a str); 3] {
    [("output", number), ("name", output.name.as_deref().unwrap_or("")), ("uri", &output.uri)]
}

fn flag(on: bool) -> f64 {
    f64::from(u8::from(on))
}

fn seconds(ms: f64) -> f64 {
    ms / 1000.0
}

/// The text so far, and the family that samples belong to.
struct Page {
    text: String,
    family: &'static str,
}

impl Page {
    /// Begins a family; the samples that follow are its.
    fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.family = name;
        self.put(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn sample(&mut self, labels: Labels, value: f64) {
        self.text.push_str(self.family);
        for (i, (name, text)) in labels.iter().enumerate() {
            let before = if i == 0 { '{' } else { ',' };
            self.put(format_args!("{before}{name}=\"{}\"", escaped(text)));
        }
        let after = if labels.is_empty() { "" } else { "}" };
        self.put(format_args!("{after} {value}\n"));
    }

    fn known(&mut self, labels: Labels, value: Option<f64>) {
        if let Some(value) = value {
            self.sample(labels, value);
        }
    }

    fn gauge(&mut self, name: &'static str, help: &str, value: f64) {
        self.family(name, "gauge", help);
        self.sample(&[], value);
    }

    fn counter(&mut self, name: &'static str, help: &str, value: u64) {
        self.family(name, "counter", help);
        self.sample(&[], value as f64);
    }

    /// Of the whole show; quantile 1 is the longest.
    fn quantiles(&mut self, name: &'static str, help: &str, ms: &Percentiles) {
        self.family(name, "summary", help);
        for (quantile, value) in
            [("0.5", ms.p50), ("0.95", ms.p95), ("0.99", ms.p99), ("0.999", ms.p999), ("1", ms.max)]
        {
            self.sample(&[("quantile", quantile)], seconds(value));
        }
    }

    fn put(&mut self, text: std::fmt::Arguments) {
        // Writing to a String cannot fail.
        let _ = self.text.write_fmt(text);
    }
}

/// A label value as the format wants it.
fn escaped(text: &str) -> String {
    text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::telemetry::Runway;

    fn hub() -> Hub {
        Hub::new(tokio::sync::watch::channel(()).1)
    }

    #[test]
    fn values_are_in_base_units_and_labels_are_escaped() {
        let status = Status {
            version: "0.1.0",
            phase: Phase::Live,
            render_ms: Percentiles { p50: 2.5, ..Default::default() },
            runway_s: Runway { now: 18.5, ..Default::default() },
            encoder: "x264enc",
            encoder_bitrate_kbps: 4500,
            encoder_rebuilds: 2,
            cpu_ms_per_frame: Some(18.0),
            peak_rss_mb: Some(412.5),
            outputs: vec![
                OutputStatus { id: 1, uri: "file:a\"b\\c\nd".into(), ..Default::default() },
                OutputStatus {
                    id: 4,
                    name: Some("Stage".into()),
                    state: OutputState::Unavailable,
                    bitrate_kbps: 6000.0,
                    dropped_groups: 3,
                    dropped_frames: 360,
                    reconnects: 2,
                    queue_ms: 1500,
                    ..Default::default()
                },
            ],
            ..Default::default()
        };
        let text = exposition(&status, &hub());
        for line in [
            "vfaq_build_info{version=\"0.1.0\"} 1",
            "vfaq_phase{phase=\"live\"} 1",
            "vfaq_phase{phase=\"standby\"} 0",
            "vfaq_render_seconds{quantile=\"0.5\"} 0.0025",
            "vfaq_encoder_info{encoder=\"x264enc\"} 1",
            "vfaq_encoder_bits_per_second 4500000",
            "vfaq_encoder_rebuilds_total 2",
            "vfaq_runway_seconds 18.5",
            "vfaq_cpu_seconds_per_frame 0.018",
            "vfaq_peak_resident_memory_bytes 412500000",
            r#"vfaq_output_frames_total{output="1",name="",uri="file:a\"b\\c\nd"} 0"#,
            r#"vfaq_output_bits_per_second{output="4",name="Stage",uri=""} 6000000"#,
            r#"vfaq_output_state{output="4",name="Stage",uri="",state="unavailable"} 1"#,
            r#"vfaq_output_state{output="4",name="Stage",uri="",state="live"} 0"#,
            r#"vfaq_output_dropped_groups_total{output="4",name="Stage",uri=""} 3"#,
            r#"vfaq_output_dropped_frames_total{output="4",name="Stage",uri=""} 360"#,
            r#"vfaq_output_reconnects_total{output="4",name="Stage",uri=""} 2"#,
            r#"vfaq_output_queue_seconds{output="4",name="Stage",uri=""} 1.5"#,
        ] {
            assert!(text.lines().any(|l| l == line), "{line} not in\n{text}");
        }
        assert!(!text.contains("\nvfaq_first_frame_seconds "), "not known yet");
        assert!(!text.contains("\nvfaq_recording_bytes_total "), "nothing is recorded");
    }

    #[test]
    fn every_sample_stands_below_its_help_and_type_and_is_there_once() {
        let output = |id| OutputStatus { id, uri: "null:".into(), ..Default::default() };
        let outputs = vec![output(1), output(2)];
        let text = exposition(&Status { outputs, ..Default::default() }, &hub());
        let mut families = std::collections::HashSet::new();
        let mut series = std::collections::HashSet::new();
        let mut family = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                family = rest.split(' ').next().unwrap().to_owned();
                assert!(family.starts_with("vfaq_") && families.insert(family.clone()), "{line}");
            } else if !line.starts_with("# TYPE ") {
                let (name, value) = line.rsplit_once(' ').unwrap();
                assert_eq!(name.split('{').next().unwrap(), family);
                assert!(value.parse::<f64>().is_ok() && series.insert(name.to_owned()), "{line}");
            }
        }
        assert!(text.ends_with('\n'));
    }
}
