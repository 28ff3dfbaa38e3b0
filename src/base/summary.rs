//! What a show came to: the file of `--summary`, described by `docs/summary.schema.json`.
//!
//! Holds: every key is always there; what never was is null. Numbers with a point are rounded to
//! three digits behind it.

use std::path::Path;

use serde::Serialize;

use crate::base::error::{Error, Result};
use crate::base::fsio::write_atomic;
use crate::base::telemetry::{
    Cycles, EffortStatus, EncoderChange, Frames, OutputState, OutputStatus, Percentiles,
    PromptArrived, Status, SteeringStatus,
};

#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    pub duration_s: f64,
    pub first_frame_ms: Option<f64>,
    pub frames: Frames,
    pub motion: MotionSummary,
    pub effort: EffortStatus,
    pub cycles: Cycles,
    pub underruns: u64,
    pub runway_s: RunwaySummary,
    pub render_ms: TimingSummary,
    pub encode_ms: TimingSummary,
    pub cpu_ms_per_frame: Option<f64>,
    pub peak_rss_mb: Option<f64>,
    /// At the end of the show, as everything else.
    pub encoder: &'static str,
    pub encoder_why: String,
    pub encoder_bitrate_kbps: u32,
    pub encoder_rebuilds: u64,
    /// The latest ones, newest last.
    pub encoder_changes: Vec<EncoderChange>,
    pub steering: SteeringSummary,
    /// `None` if nothing was recorded.
    pub recording: Option<RecordingSummary>,
    /// The recording is not among them.
    pub outputs: Vec<OutputSummary>,
}

/// As [`SteeringStatus`].
#[derive(Clone, Debug, Serialize)]
pub struct SteeringSummary {
    pub accepted: u64,
    pub refused: u64,
    pub latency_ms: TimingSummary,
    pub prompts: PromptSummary,
}

/// As [`PromptSteering`](crate::base::telemetry::PromptSteering).
#[derive(Clone, Debug, Serialize)]
pub struct PromptSummary {
    pub count: u64,
    pub p50_s: f64,
    pub p95_s: f64,
    pub max_s: f64,
    /// The latest, newest last.
    pub arrived: Vec<PromptArrived>,
}

impl From<&SteeringStatus> for SteeringSummary {
    fn from(status: &SteeringStatus) -> Self {
        let prompts = &status.prompts;
        let arrived = prompts.arrived.iter();
        SteeringSummary {
            accepted: status.accepted,
            refused: status.refused,
            latency_ms: (&status.latency_ms).into(),
            prompts: PromptSummary {
                count: prompts.count,
                p50_s: rounded(prompts.p50_s),
                p95_s: rounded(prompts.p95_s),
                max_s: rounded(prompts.max_s),
                arrived: arrived
                    .map(|a| PromptArrived { seconds: rounded(a.seconds), ..a.clone() })
                    .collect(),
            },
        }
    }
}

/// As [`MotionStatus`](crate::base::telemetry::MotionStatus).
#[derive(Clone, Copy, Debug, Serialize)]
pub struct MotionSummary {
    pub found: u64,
    pub fast: u64,
    pub late: u64,
    pub cuts: u64,
    pub repeats: u64,
    pub pair_ms: TimingSummary,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct RunwaySummary {
    pub min: f64,
    pub mean: f64,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct TimingSummary {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
}

#[derive(Clone, Debug, Serialize)]
pub struct RecordingSummary {
    pub path: String,
    pub frames: u64,
    /// Files that belong to it, in order.
    pub parts: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct OutputSummary {
    pub id: u32,
    pub name: Option<String>,
    pub kind: &'static str,
    /// With secrets hidden.
    pub uri: String,
    pub state: OutputState,
    /// Why it ended so; `None` if as was asked for.
    pub reason: Option<String>,
    /// Seconds that it has been in that state.
    pub since_s: f64,
    pub frames: u64,
    pub bytes: u64,
    /// Over all that was sent.
    pub bitrate_kbps: f64,
    /// Milliseconds of media that were not sent.
    pub queue_ms: u64,
    pub dropped_groups: u64,
    pub dropped_frames: u64,
    pub reconnects: u64,
    /// Files written, in order.
    pub parts: Vec<String>,
}

impl From<&Status> for Summary {
    /// Of the last status of a show.
    fn from(status: &Status) -> Self {
        Summary {
            duration_s: rounded(status.show_time_s),
            first_frame_ms: status.first_frame_ms.map(rounded),
            frames: status.frames,
            motion: MotionSummary {
                found: status.motion.found,
                fast: status.motion.fast,
                late: status.motion.late,
                cuts: status.motion.cuts,
                repeats: status.motion.repeats,
                pair_ms: (&status.motion.pair_ms).into(),
            },
            steering: (&status.steering).into(),
            effort: status.effort,
            cycles: status.cycles,
            underruns: status.underruns,
            runway_s: RunwaySummary {
                min: rounded(status.runway_s.min),
                mean: rounded(status.runway_s.mean),
            },
            render_ms: (&status.render_ms).into(),
            encode_ms: (&status.encode_ms).into(),
            cpu_ms_per_frame: status.cpu_ms_per_frame.map(rounded),
            peak_rss_mb: status.peak_rss_mb.map(rounded),
            encoder: status.encoder,
            encoder_why: status.encoder_why.clone(),
            encoder_bitrate_kbps: status.encoder_bitrate_kbps,
            encoder_rebuilds: status.encoder_rebuilds,
            encoder_changes: status
                .encoder_changes
                .iter()
                .map(|change| EncoderChange { at_s: rounded(change.at_s), ..change.clone() })
                .collect(),
            recording: status.recording.as_ref().map(|recording| RecordingSummary {
                path: recording.path.clone(),
                frames: recording.frames,
                parts: recording.parts.clone(),
            }),
            outputs: status
                .outputs
                .iter()
                .map(|output| OutputSummary {
                    id: output.id,
                    name: output.name.clone(),
                    kind: output.kind,
                    uri: output.uri.clone(),
                    state: output.state,
                    reason: output.reason.clone(),
                    since_s: rounded(output.since_s),
                    frames: output.frames,
                    bytes: output.bytes,
                    bitrate_kbps: rounded(mean_kbps(output, status.target_fps)),
                    queue_ms: output.queue_ms,
                    dropped_groups: output.dropped_groups,
                    dropped_frames: output.dropped_frames,
                    reconnects: output.reconnects,
                    parts: output.parts.clone(),
                })
                .collect(),
        }
    }
}

impl From<&Percentiles> for TimingSummary {
    fn from(ms: &Percentiles) -> Self {
        TimingSummary { p50: rounded(ms.p50), p95: rounded(ms.p95), p99: rounded(ms.p99) }
    }
}

impl Summary {
    /// Writes it to `path` as JSON: a file whole or not at all; what is no plain file (a link, a
    /// pipe, `/dev/stdout`) is written straight.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut json = serde_json::to_vec_pretty(self)
            .map_err(|e| Error::internal("cannot write the summary as JSON").with_source(e))?;
        json.push(b'\n');
        // Renaming would put a file in the place of the link or device.
        match std::fs::symlink_metadata(path) {
            Ok(found) if !found.is_file() => std::fs::write(path, &json)
                .map_err(|e| Error::io(format!("cannot write {}", path.display()), e)),
            _ => write_atomic(path, &json),
        }
        .map_err(|e| e.context("--summary"))
    }
}

/// Of what was sent.
fn mean_kbps(output: &OutputStatus, fps: f64) -> f64 {
    let seconds = output.frames as f64 / fps.max(1.0);
    output.bytes as f64 * 8.0 / 1000.0 / seconds.max(f64::MIN_POSITIVE)
}

/// To three digits behind the point.
fn rounded(value: f64) -> f64 {
    if value.is_finite() { (value * 1000.0).round() / 1000.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::telemetry::{RecordingStatus, Runway};
    use serde_json::{Value, json};

    fn show() -> Status {
        Status {
            show_time_s: 60.000_04,
            first_frame_ms: Some(812.3456),
            frames: Frames { rendered: 3600, source: 480, blended: 3120, ..Default::default() },
            runway_s: Runway { now: 18.0, min: 9.5, mean: 17.25, target: 24.0 },
            encoder: "x264enc",
            encoder_why: "nvh264enc: chosen".into(),
            encoder_bitrate_kbps: 6000,
            encoder_rebuilds: 1,
            encoder_changes: vec![EncoderChange {
                at_s: 12.000_04,
                from: "nvh264enc",
                to: "x264enc",
                reason: "it gave no picture for 2.0 s".into(),
            }],
            recording: Some(RecordingStatus {
                path: "show/final_60fps_1080p.mp4".into(),
                frames: 3600,
                parts: vec!["show/final_60fps_1080p.mp4".into()],
                ..Default::default()
            }),
            outputs: vec![OutputStatus {
                id: 2,
                name: Some("Copy".into()),
                kind: "file",
                uri: "file:copy.mp4".into(),
                state: OutputState::Unavailable,
                reason: Some("the folder is gone".into()),
                frames: 3600,
                dropped_groups: 1,
                dropped_frames: 120,
                parts: vec!["copy.mp4".into(), "copy_002.mp4".into()],
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    fn schema() -> Value {
        serde_json::from_str(include_str!("../../docs/summary.schema.json")).unwrap()
    }

    /// Checks `value` against the few keywords that the schema uses; `path` is for the message.
    fn check(root: &Value, schema: &Value, value: &Value, path: &str) -> Result<(), String> {
        for keyword in schema.as_object().unwrap().keys() {
            let known = [
                "$schema",
                "$defs",
                "$ref",
                "title",
                "description",
                "type",
                "required",
                "minimum",
                "additionalProperties",
                "properties",
                "items",
                "enum",
            ];
            assert!(known.contains(&keyword.as_str()), "{keyword} is not checked here");
        }
        assert!(schema["description"].is_string(), "{path} is not described");
        if let Some(target) = schema["$ref"].as_str() {
            check(root, root.pointer(&target[1..]).unwrap(), value, path)?;
        }
        let fits = |name: &Value| match name.as_str().unwrap() {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "number" => value.is_number(),
            "integer" => value.is_u64(),
            "null" => value.is_null(),
            other => panic!("type {other} is not checked here"),
        };
        let typed = match &schema["type"] {
            Value::Array(names) => names.iter().any(fits),
            Value::Null => true,
            name => fits(name),
        };
        let below = value.as_f64().zip(schema["minimum"].as_f64()).is_some_and(|(v, min)| v < min);
        let listed = schema["enum"].as_array().is_none_or(|all| all.contains(value));
        if !typed || below || !listed {
            return Err(format!("{path} is {value}"));
        }
        for item in value.as_array().into_iter().flatten() {
            check(root, &schema["items"], item, &format!("{path}[]"))?;
        }
        if let (Some(fields), None) = (value.as_object(), schema.get("$ref")) {
            assert_eq!(schema["additionalProperties"], json!(false), "{path}");
            let all: Vec<_> = schema["properties"].as_object().unwrap().keys().collect();
            assert_eq!(json!(all), schema["required"], "{path}: every key is always there");
            for name in all {
                let field = fields.get(name).ok_or(format!("{path}.{name} is missing"))?;
                check(root, &schema["properties"][name], field, &format!("{path}.{name}"))?;
            }
            if let Some(extra) = fields.keys().find(|k| schema["properties"].get(k).is_none()) {
                return Err(format!("{path}.{extra} is not in the schema"));
            }
        }
        Ok(())
    }

    #[test]
    fn every_summary_fits_the_schema_and_nothing_else_does() {
        let schema = schema();
        let good = serde_json::to_value(Summary::from(&show())).unwrap();
        check(&schema, &schema, &good, "summary").unwrap();
        let empty = serde_json::to_value(Summary::from(&Status::default())).unwrap();
        check(&schema, &schema, &empty, "summary").unwrap();
        for (pointer, bad) in [
            ("/underruns", json!(-1)),
            ("/recording/frames", json!("3600")),
            ("/outputs/0/state", json!("asleep")),
            ("/outputs/0/kind", json!("telex")),
            ("/outputs/0/parts", json!([2])),
            ("/encoder_changes/0/to", json!(null)),
            ("/render_ms", json!({"p50": 1.0, "p95": 2.0})),
            ("/cycles", json!(null)),
        ] {
            let mut summary = good.clone();
            *summary.pointer_mut(pointer).unwrap() = bad;
            assert!(check(&schema, &schema, &summary, "summary").is_err(), "{pointer}");
        }
    }

    #[test]
    fn the_file_is_the_json_and_a_second_show_replaces_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("summary.json");
        Summary::from(&Status::default()).write(&path).unwrap();
        Summary::from(&show()).write(&path).unwrap();
        let read: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(read["duration_s"], json!(60.0));
        assert_eq!(read["first_frame_ms"], json!(812.346));
        assert_eq!(read["frames"]["rendered"], json!(3600));
        assert_eq!(
            read["encoder_changes"],
            json!([{
                "at_s": 12.0, "from": "nvh264enc", "to": "x264enc",
                "reason": "it gave no picture for 2.0 s",
            }])
        );
        assert_eq!(read["recording"]["parts"], json!(["show/final_60fps_1080p.mp4"]));
        assert_eq!(
            read["outputs"][0],
            json!({
                "id": 2, "name": "Copy", "kind": "file", "uri": "file:copy.mp4",
                "state": "unavailable", "reason": "the folder is gone", "since_s": 0.0,
                "frames": 3600, "bytes": 0, "bitrate_kbps": 0.0, "queue_ms": 0, "dropped_groups": 1, "dropped_frames": 120, "reconnects": 0,
                "parts": ["copy.mp4", "copy_002.mp4"],
            })
        );
        let error = Summary::from(&show()).write(&folder.path().join("no/where.json")).unwrap_err();
        assert!(error.to_string().contains("no/where.json"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn links_and_devices_stay_what_they_are() {
        Summary::from(&show()).write(Path::new("/dev/null")).unwrap();
        assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        std::fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        Summary::from(&show()).write(&link).unwrap();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(std::fs::read_to_string(&file).unwrap().contains("duration_s"));
    }
}
