//! `vfaq man`: the manual pages, made from the same words as `--help`.

use std::path::PathBuf;

use clap::{Args, CommandFactory};

use crate::base::error::{Error, Result};

/// Write the manual pages
#[derive(Args)]
#[command(after_help = "\
Examples:
  vfaq man | man -l -             read the main page
  vfaq man ~/.local/share/man/man1
                                  vfaq.1, vfaq-run.1 and so on: a page for each command")]
pub struct ManArgs {
    /// The folder that the pages are written into; without it the main page is printed
    dir: Option<PathBuf>,
}

pub fn run(args: &ManArgs) -> Result<()> {
    let mut command = super::Cli::command();
    let Some(dir) = &args.dir else {
        command.build();
        return clap_mangen::Man::new(command)
            .render(&mut std::io::stdout())
            .map_err(|e| Error::io("cannot print the manual page", e));
    };
    let failed = |e| Error::io(format!("cannot write the manual pages to {}", dir.display()), e);
    std::fs::create_dir_all(dir).map_err(failed)?;
    clap_mangen::generate_to(command, dir).map_err(failed)
}
