//! What a window costs, CPU ms per picture of 1080p at 60 fps: in the show's process (copy, pipe)
//! and in the window's own (pipe, RGB, display server's memory).
//!
//! `xvfb-run -s "-screen 0 1920x1080x24" cargo bench --bench window`
#![cfg_attr(not(unix), allow(unused))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark may stop")]

#[cfg(not(unix))]
fn main() {}

#[cfg(unix)]
fn main() {
    use std::path::Path;
    use std::time::Duration;

    use nix::sys::resource::{UsageWho, getrusage};
    use vfaq::base::clock::{Clock, SystemClock};
    use vfaq::media::Frame;
    use vfaq::window::{MonitorChoice, Request, open_by};

    const PICTURES: u32 = 600;
    let cpu_ms = |who| {
        let usage = getrusage(who).unwrap();
        [usage.user_time(), usage.system_time()]
            .map(|time| time.tv_sec() as f64 * 1e3 + time.tv_usec() as f64 / 1e3)
            .iter()
            .sum::<f64>()
    };
    let request = Request { title: "bench".into(), monitor: MonitorChoice::Default, size: None };
    let window = open_by(Path::new(env!("CARGO_BIN_EXE_vfaq")), request).unwrap();
    let (mut frame, clock) = (Frame::black(1920, 1080), SystemClock::new());
    let (_never, wait) = crossbeam_channel::bounded::<()>(0);
    let (before, mut calls) = (cpu_ms(UsageWho::RUSAGE_SELF), Vec::new());
    for i in 0..PICTURES {
        frame.y.fill(16 + (i % 220) as u8);
        let start = clock.now();
        window.show(&frame.as_ref());
        calls.push((clock.now() - start).as_secs_f64() * 1e3);
        let due = Duration::from_secs(1) * (i + 1) / 60;
        let _ = wait.recv_timeout(due.saturating_sub(clock.now()));
    }
    let show = cpu_ms(UsageWho::RUSAGE_SELF) - before;
    let (size, shown, dropped) = (window.size(), window.shown(), window.dropped());
    drop(window);
    calls.sort_by(f64::total_cmp);
    println!("window of {size:?}: {shown} shown, {dropped} dropped");
    println!("show() {:.2} ms in the middle, {:.2} ms at most", calls[300], calls[599]);
    println!("CPU per picture: show's process {:.2} ms", show / f64::from(PICTURES));
    let window = cpu_ms(UsageWho::RUSAGE_CHILDREN) / f64::from(PICTURES);
    println!("CPU per picture: window's process {window:.2} ms");
}
