//! The command line.

pub mod keyboard;
mod line;
pub mod status;
pub mod terminal;

/// Runs `vfaq`.
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
