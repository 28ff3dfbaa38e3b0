//! The command line.

/// Runs `vfaq`.
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
