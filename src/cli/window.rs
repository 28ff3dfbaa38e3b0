//! `vfaq window ORDER`: the process behind a window of a show. Not for people.

use std::process::ExitCode;

use clap::Args;

#[derive(Args)]
pub struct WindowArgs {
    order: String,
}

pub fn run(args: &WindowArgs) -> ExitCode {
    crate::window::child::run(&args.order)
}
