//! Exit codes, and the allocator.

use std::process::ExitCode;

/// Clips of tens of megabytes come and go on several threads for hours. The C library's allocator
/// keeps what they leave behind apart by thread; this one gives it back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    vfaq::cli::main()
}
