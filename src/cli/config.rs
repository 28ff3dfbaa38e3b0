//! `vfaq config`.

use clap::Subcommand;

use super::Folders;
use crate::base::error::{Error, Result};
use crate::worqspace;

#[derive(Subcommand)]
pub enum ConfigCommand {
    /// Check config.yaml and the prompt files; all problems at once
    Check,
}

pub fn run(folders: &Folders, command: &ConfigCommand) -> Result<()> {
    match command {
        ConfigCommand::Check => check(folders),
    }
}

fn check(folders: &Folders) -> Result<()> {
    match worqspace::open(&folders.worqspace) {
        Ok(opened) => {
            for warning in &opened.warnings {
                println!("warning: {warning}");
            }
            let title = opened.bundle.title.unwrap_or_else(|| "untitled".into());
            println!("{}: all right ({title})", folders.worqspace.display());
            Ok(())
        }
        Err(findings) => {
            for warning in &findings.warnings {
                println!("warning: {warning}");
            }
            let count = findings.problems.len();
            let what = if count == 1 { "problem" } else { "problems" };
            let error: Error = findings.into();
            Err(error.context(format!("{count} {what}\n")))
        }
    }
}
