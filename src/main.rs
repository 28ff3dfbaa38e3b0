//! Exit codes only.

use std::process::ExitCode;

fn main() -> ExitCode {
    vfaq::cli::main()
}
