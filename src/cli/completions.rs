//! `vfaq completions SHELL`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

#[derive(Args)]
pub struct CompletionsArgs {
    shell: Shell,
}

pub fn run(args: &CompletionsArgs) {
    clap_complete::generate(args.shell, &mut super::Cli::command(), "vfaq", &mut std::io::stdout());
}
