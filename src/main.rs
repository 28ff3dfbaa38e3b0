//! Exit codes, and the allocator.
//!
//! Clips of tens of megabytes come and go on several threads for hours, in Rust and in GStreamer.
//! The C library's allocator keeps what they leave behind apart by thread, and grows; this one,
//! for both languages, gives it back.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc 3: after how many milliseconds freed memory goes back to
/// the system. Its default of a second costs 150 MB while the ring is being filled.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

fn main() -> ExitCode {
    // SAFETY: sets a number in a table of the allocator; any value is valid at any time.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, 20) };
    vfaq::cli::main()
}
