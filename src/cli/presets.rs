//! `vfaq presets`: what there is to recall, and whether a file is right.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Folders;
use crate::base::error::Result;
use crate::config::preset::{self, Preset, PresetKind};
use crate::param;

/// List presets, show what one sets, check a file
#[derive(Args)]
#[command(after_help = "\
Examples:
  vfaq presets                       the presets of ./worqspace and those built in
  vfaq presets show neon             what it sets
  vfaq presets check ember.yaml      all that is wrong with a file
  vfaq live --preset neon            start with one
  vfaq osc send /vfaq/preset/recall neon  recall one in a running show")]
pub struct PresetsArgs {
    #[command(subcommand)]
    command: Option<Wish>,

    /// Print JSON, for other programs
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Wish {
    /// List them
    List,
    /// Say what one sets
    Show {
        /// Its name, as `vfaq presets` lists it
        name: String,
    },
    /// Say all that is wrong with a file
    Check {
        /// A file of presets/, or one that is to go there
        file: PathBuf,
    },
}

pub fn run(folders: &Folders, args: &PresetsArgs) -> Result<()> {
    let own = [folders.worqspace.join("presets")];
    match &args.command {
        None | Some(Wish::List) => list(&own, args.json),
        Some(Wish::Show { name }) => {
            let preset = preset::load(name, &own)?;
            show(&preset, args.json);
            Ok(())
        }
        Some(Wish::Check { file }) => {
            let preset = preset::load_file(file)?;
            match args.json {
                true => show(&preset, true),
                false => println!("{}: all right ({})", file.display(), kind(preset.kind)),
            }
            Ok(())
        }
    }
}

fn kind(kind: PresetKind) -> &'static str {
    match kind {
        PresetKind::Look => "look",
        PresetKind::Style => "style",
        PresetKind::Scene => "scene",
    }
}

fn list(own: &[PathBuf], as_json: bool) -> Result<()> {
    let mut presets = Vec::new();
    for name in preset::names(own) {
        match preset::load(&name, own) {
            Ok(preset) => presets.push(preset),
            // The others can be used all the same.
            Err(error) => super::progress::tell(&error.to_string()),
        }
    }
    if as_json {
        let list: Vec<Value> = presets.iter().map(about).collect();
        println!("{}", Value::from(list));
        return Ok(());
    }
    let width = presets.iter().map(|p| p.name.chars().count()).max().unwrap_or(0);
    for preset in presets {
        println!(
            "{:width$}  {:5}  {}",
            preset.name,
            kind(preset.kind),
            first_line(&preset.description)
        );
    }
    Ok(())
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn about(preset: &Preset) -> Value {
    json!({
        "name": preset.name, "title": preset.title, "kind": kind(preset.kind),
        "description": preset.description,
    })
}

fn show(preset: &Preset, as_json: bool) {
    let value = |value: &param::Value| match value {
        param::Value::Number(number) => json!(number),
        param::Value::Text(text) => json!(**text),
        param::Value::Nothing => Value::Null,
    };
    if as_json {
        let mut entry = about(preset);
        entry["rest"] = json!(if preset.whole { "default" } else { "keep" });
        let values = preset.values.iter();
        entry["values"] = values.map(|(p, v)| (p.address.to_owned(), value(v))).collect();
        println!("{entry}");
        return;
    }
    println!("{} ({}): {}", preset.title, kind(preset.kind), preset.description);
    for (param, value) in &preset.values {
        println!("  {:28} {value}", param.address);
    }
    if preset.whole {
        println!("  all other effects go to their defaults");
    }
}
