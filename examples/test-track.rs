//! Writes music made by rule, with known beats, to a WAV file (48 kHz, stereo, 32-bit float), and
//! its beats, kicks and parts, in seconds from its start, to a JSON file beside it:
//! `cargo run --no-default-features --example test-track -- --bpm 174 --groove breakbeat --out FILE`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a maker of files may stop")]

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use vfaq::audio::synth::{Groove, Part, Recipe, Track};
use vfaq::audio::{CHANNELS, SAMPLE_RATE};

#[derive(Parser)]
struct Options {
    #[arg(long, default_value_t = 126.0)]
    bpm: f64,
    /// By itself: breakbeat from 160 bpm on.
    #[arg(long)]
    groove: Option<Beat>,
    /// At least so many seconds, in whole turns of 16 bars with drums and, with --set, a breakdown,
    /// a build and a drop.
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
    /// With breakdowns, builds and drops.
    #[arg(long)]
    set: bool,
    /// With something like a voice.
    #[arg(long)]
    voice: bool,
    #[arg(long)]
    out: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Beat {
    Four,
    Breakbeat,
    Swung,
}

fn main() {
    let options = Options::parse();
    let groove = match options.groove {
        Some(Beat::Four) => Groove::FourOnTheFloor,
        Some(Beat::Breakbeat) => Groove::Breakbeat,
        Some(Beat::Swung) => Groove::Swung,
        None if options.bpm >= 160.0 => Groove::Breakbeat,
        None => Groove::FourOnTheFloor,
    };
    let turn: &[(Part, usize)] = if options.set {
        &[(Part::Full, 16), (Part::Breakdown, 8), (Part::Build, 4), (Part::Full, 4)]
    } else {
        &[(Part::Full, 16)]
    };
    let bars: usize = turn.iter().map(|part| part.1).sum();
    let turns = (options.seconds / (240.0 / options.bpm * bars as f64)).ceil().max(1.0) as usize;
    let parts = (0..turns).flat_map(|_| turn.iter().copied()).collect();
    let recipe = Recipe { bpm: options.bpm, groove, parts, voice: options.voice };
    let track = Track::render(&recipe);

    std::fs::write(&options.out, wav(&track.samples)).expect("the file can be written");
    let parts: Vec<_> =
        track.parts.iter().map(|(at, part)| (at, format!("{part:?}").to_lowercase())).collect();
    let json = serde_json::json!({
        "bpm": options.bpm,
        "beats": track.beats,
        "kicks": track.kicks,
        "snares": track.snares,
        "hats": track.hats,
        "parts": parts,
    });
    std::fs::write(options.out.with_extension("json"), json.to_string()).expect("and beside it");
    let seconds = track.samples.len() / CHANNELS / SAMPLE_RATE as usize;
    println!("{}: {seconds} s at {} bpm", options.out.display(), options.bpm);
}

fn wav(samples: &[f32]) -> Vec<u8> {
    const SAMPLE_BYTES: u32 = 4;
    const IEEE_FLOAT: u16 = 3;
    let bytes = samples.len() as u32 * SAMPLE_BYTES;
    let frame = CHANNELS as u32 * SAMPLE_BYTES;
    let mut wav = Vec::with_capacity(bytes as usize + 44);
    wav.extend(b"RIFF");
    wav.extend((bytes + 36).to_le_bytes());
    wav.extend(b"WAVEfmt ");
    wav.extend(16u32.to_le_bytes());
    wav.extend(IEEE_FLOAT.to_le_bytes());
    wav.extend((CHANNELS as u16).to_le_bytes());
    wav.extend(SAMPLE_RATE.to_le_bytes());
    wav.extend((SAMPLE_RATE * frame).to_le_bytes());
    wav.extend((frame as u16).to_le_bytes());
    wav.extend((8 * SAMPLE_BYTES as u16).to_le_bytes());
    wav.extend(b"data");
    wav.extend(bytes.to_le_bytes());
    samples.iter().for_each(|sample| wav.extend(sample.to_le_bytes()));
    wav
}
