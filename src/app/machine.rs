//! What the process uses of the machine.

use std::time::Duration;

/// CPU time of the whole process so far; `None` where it cannot be told.
pub fn cpu_time() -> Option<Duration> {
    #[cfg(unix)]
    {
        use nix::sys::resource::{UsageWho, getrusage};
        let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
        let time = |t: nix::sys::time::TimeVal| {
            Duration::from_secs(t.tv_sec().max(0) as u64)
                + Duration::from_micros(t.tv_usec().max(0) as u64)
        };
        Some(time(usage.user_time()) + time(usage.system_time()))
    }
    #[cfg(not(unix))]
    None
}

/// The most memory that the process has had, in millions of bytes; `None` where it cannot be told.
pub fn peak_rss_mb() -> Option<f64> {
    #[cfg(unix)]
    {
        use nix::sys::resource::{UsageWho, getrusage};
        let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
        // Linux counts in KiB, the BSDs and macOS in bytes.
        let unit = if cfg!(target_os = "linux") { 1024.0 } else { 1.0 };
        Some(usage.max_rss() as f64 * unit / 1e6)
    }
    #[cfg(not(unix))]
    None
}

/// Memory that programs may still take without swapping, in millions of bytes; `None` where it
/// cannot be told.
pub fn available_memory_mb() -> Option<f64> {
    #[cfg(target_os = "linux")]
    {
        let table = std::fs::read_to_string("/proc/meminfo").ok()?;
        let row = table.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
        let kib: f64 = row.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib * 1024.0 / 1e6)
    }
    #[cfg(not(target_os = "linux"))]
    None
}
