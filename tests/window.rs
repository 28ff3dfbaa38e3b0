//! The full-screen window, on a real X server without a screen (Xvfb), with screenshots.
#![cfg(all(feature = "gst", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop")]

mod support;

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use image::RgbImage;
use support::output_of;
use vfaq::base::clock::{Clock, SystemClock};
use vfaq::media::Frame;
use vfaq::window::{self, Closed, Failure, MonitorChoice, Request, Window};

/// An X server, and a `vfaq` that knows of no other.
struct Xvfb {
    server: Child,
    display: String,
    folder: tempfile::TempDir,
}

impl Xvfb {
    /// None, said why, where the tools are missing.
    fn start(size: &str) -> Option<Xvfb> {
        for tool in ["Xvfb", "import", "xdotool"] {
            let there = Command::new("which").arg(tool).output().is_ok_and(|o| o.status.success());
            if !there {
                println!("skipped: {tool} is not installed (scripts/test installs it)");
                return None;
            }
        }
        let (server, display) = serve(&[], size);
        Some(Xvfb { server, display, folder: tempfile::tempdir().unwrap() })
    }

    fn kill(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }

    /// Another server in place of the killed one.
    fn start_again(&mut self, size: &str) {
        let (server, display) = serve(&[&self.display], size);
        (self.server, self.display) = (server, display);
    }

    fn program(&self) -> PathBuf {
        program(&self.folder, &format!("DISPLAY={}", self.display))
    }

    fn open(&self, monitor: MonitorChoice, size: Option<(u32, u32)>) -> Result<Window, Failure> {
        window::open_by(&self.program(), request(monitor, size))
    }

    fn tool(&self, name: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(name);
        command.args(arguments).env("DISPLAY", &self.display);
        String::from_utf8_lossy(&output_of(&mut command)).trim().to_owned()
    }

    fn screenshot(&self, name: &str) -> RgbImage {
        let path = self.folder.path().join(name);
        self.tool("import", &["-window", "root", path.to_str().unwrap()]);
        if let Ok(keep) = std::env::var("VFAQ_TEST_SCREENSHOTS") {
            std::fs::copy(&path, PathBuf::from(keep).join(name)).unwrap();
        }
        image::open(path).unwrap().to_rgb8()
    }
}

impl Drop for Xvfb {
    fn drop(&mut self) {
        // Fails only if the test has killed it.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Starts a server on the display that is named, or on one that is free.
fn serve(display: &[&str], size: &str) -> (Child, String) {
    let mut command = Command::new("Xvfb");
    command.args(display).args(["-displayfd", "1", "-nolisten", "tcp"]);
    command.args(["-screen", "0", &format!("{size}x24")]);
    let mut server = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut number = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut number).unwrap();
    (server, format!(":{}", number.trim()))
}

/// A `vfaq` that runs with nothing of this session's display but `setting`.
fn program(folder: &tempfile::TempDir, setting: &str) -> PathBuf {
    let path = folder.path().join("vfaq");
    // Written by a shell: a file that is still open for writing anywhere in this process, and any
    // other test may just be forking, cannot be executed.
    let script = format!(
        "#!/bin/sh\nexec env -u WAYLAND_DISPLAY -u WAYLAND_SOCKET -u DISPLAY {setting} {} \"$@\"\n",
        env!("CARGO_BIN_EXE_vfaq")
    );
    let write = "printf %s \"$1\" >\"$2\" && chmod +x \"$2\"";
    output_of(Command::new("sh").args(["-c", write, "sh", &script]).arg(&path));
    path
}

fn request(monitor: MonitorChoice, size: Option<(u32, u32)>) -> Request {
    Request { title: "Visual FaQtory Live".into(), monitor, size }
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let (clock, (_never, wait)) = (SystemClock::new(), crossbeam_channel::bounded::<()>(0));
    while !is_so() {
        assert!(clock.now() < Duration::from_secs(20), "{what}: not within 20 s");
        let _ = wait.recv_timeout(Duration::from_millis(5));
    }
}

/// Shows one picture and waits until it is on the screen.
fn show(window: &Window, picture: &Frame) {
    let before = window.shown();
    window.show(&picture.as_ref());
    until("a picture on the screen", || window.shown() > before);
}

const COLOURS: [[u8; 3]; 8] = [
    [255, 0, 0],
    [0, 255, 0],
    [0, 0, 255],
    [255, 255, 255],
    [0, 0, 0],
    [128, 128, 128],
    [250, 180, 40],
    [30, 60, 120],
];

/// Four columns and two rows of colours, as BT.709 says them in limited range.
fn patches(width: u32, height: u32) -> Frame {
    let mut frame = Frame::black(width, height);
    let (w, h) = (width as usize, height as usize);
    let yuv = |x: usize, y: usize| {
        let [r, g, b] = COLOURS[y * 2 / h * 4 + x * 4 / w].map(|c| f64::from(c) / 255.0);
        let luma = 0.2126 * r + 0.7152 * g + 0.0722 * b;
        let (cb, cr) = ((b - luma) / 1.8556, (r - luma) / 1.5748);
        [16.0 + 219.0 * luma, 128.0 + 224.0 * cb, 128.0 + 224.0 * cr].map(|v| v.round() as u8)
    };
    for (y, x) in (0..h).flat_map(|y| (0..w).map(move |x| (y, x))) {
        let [luma, cb, cr] = yuv(x, y);
        frame.y[y * w + x] = luma;
        frame.u[y / 2 * (w / 2) + x / 2] = cb;
        frame.v[y / 2 * (w / 2) + x / 2] = cr;
    }
    frame
}

/// Every patch within the rectangle (left, top, width, height) has its colour in its middle.
fn assert_patches(shot: &RgbImage, (left, top, width, height): (u32, u32, u32, u32)) {
    for (i, colour) in (0u32..).zip(COLOURS) {
        let x = left + width * (2 * (i % 4) + 1) / 8;
        let y = top + height * (2 * (i / 4) + 1) / 4;
        let found = shot.get_pixel(x, y).0;
        let near = found.iter().zip(colour).all(|(f, c)| f.abs_diff(c) <= 3);
        assert!(near, "patch {i} at {x},{y}: {found:?}, not {colour:?}");
    }
}

#[test]
fn a_picture_fills_the_screen_in_its_colours() {
    let Some(x) = Xvfb::start("1280x720") else { return };
    let window = x.open(MonitorChoice::Default, None).unwrap();
    assert_eq!(window.size(), (1280, 720));
    assert!(x.screenshot("black.png").pixels().all(|p| p.0 == [0, 0, 0]), "black at first");
    for (name, size) in [("exact.png", (1280, 720)), ("scaled.png", (640, 360))] {
        show(&window, &patches(size.0, size.1));
        let shot = x.screenshot(name);
        assert_eq!(shot.dimensions(), (1280, 720));
        assert_patches(&shot, (0, 0, 1280, 720));
    }
    assert_eq!((window.closed(), window.shown(), window.dropped()), (None, 2, 0));
    drop(window);
    let shot = x.screenshot("closed.png");
    assert_eq!(shot.get_pixel(160, 180).0, [0, 0, 0], "the red patch is gone");
}

#[test]
fn another_shape_gets_black_bars() {
    let Some(x) = Xvfb::start("800x600") else { return };
    let window = x.open(MonitorChoice::Number(1), None).unwrap();
    show(&window, &patches(1920, 1080));
    let shot = x.screenshot("bars.png");
    assert_patches(&shot, (0, 75, 800, 450));
    let bar = |rows: std::ops::Range<u32>| {
        rows.flat_map(|y| (0..800).map(move |x| (x, y)))
            .all(|(x, y)| shot.get_pixel(x, y).0 == [0, 0, 0])
    };
    assert!(bar(0..74) && bar(526..600));
}

#[test]
fn a_key_closes_its_window_only() {
    let Some(x) = Xvfb::start("1280x720") else { return };
    let open = |title: &str, size| {
        let request =
            Request { title: title.into(), ..request(MonitorChoice::Default, Some(size)) };
        window::open_by(&x.program(), request).unwrap()
    };
    let (other, escape) = (open("other", (320, 180)), open("escape", (640, 360)));
    assert_eq!((other.size(), escape.size()), ((320, 180), (640, 360)));
    show(&other, &patches(320, 180));
    show(&escape, &patches(640, 360));
    let shot = x.screenshot("two.png");
    // Both begin in the corner, the later one on top.
    assert_patches(&shot, (0, 0, 640, 360));
    // No window manager runs here that would give a window the keyboard.
    let press = |title: &str, key: &str| {
        let id = x.tool("xdotool", &["search", "--name", title]);
        x.tool("xdotool", &["windowfocus", &id]);
        x.tool("xdotool", &["key", key]);
    };
    press("escape", "a");
    press("escape", "Escape");
    until("closed by Esc", || escape.closed().is_some());
    assert_eq!(escape.closed(), Some(Closed::Key));
    assert_eq!(other.closed(), None);
    // Showing into a closed window is no fault.
    escape.show(&patches(64, 36).as_ref());
    drop(escape);
    show(&other, &patches(320, 180));
    assert_patches(&x.screenshot("one.png"), (0, 0, 320, 180));
    press("other", "q");
    until("closed by q", || other.closed().is_some());
    assert_eq!(other.closed(), Some(Closed::Key));
}

#[test]
fn a_monitor_that_is_not_there_lists_those_that_are() {
    let Some(x) = Xvfb::start("1280x720") else { return };
    let monitors = window::monitors_by(&x.program()).unwrap();
    assert_eq!(monitors.len(), 1);
    assert_eq!((monitors[0].number, monitors[0].size), (1, (1280, 720)));
    let name = monitors[0].name.clone();
    for (choice, called) in [
        (MonitorChoice::Number(7), "7".to_owned()),
        (MonitorChoice::Name("beamer".into()), "\"beamer\"".to_owned()),
    ] {
        let failure = x.open(choice, None).map(drop).unwrap_err();
        let says = format!("there is no monitor {called}; there is 1 ({name:?}, 1280x720)");
        assert_eq!(failure, Failure::NoSuchMonitor(says));
    }
    drop(x.open(MonitorChoice::Name(name.to_uppercase()), None).unwrap());
}

#[test]
fn without_a_display_server_it_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    for (setting, says) in [
        ("UNUSED=1", "neither WAYLAND_DISPLAY nor DISPLAY is set"),
        ("DISPLAY=:9999", "no connection to the display server (DISPLAY=:9999)"),
    ] {
        let program = program(&folder, setting);
        match window::open_by(&program, request(MonitorChoice::Default, None)).map(drop) {
            Err(Failure::NoDisplay(why)) => assert!(why.contains(says), "{why}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_display_server_that_dies_takes_the_window_only() {
    let Some(mut x) = Xvfb::start("640x480") else { return };
    let window = x.open(MonitorChoice::Default, None).unwrap();
    show(&window, &patches(640, 360));
    x.kill();
    until("closed", || window.closed().is_some());
    let closed = window.closed().unwrap();
    println!("{closed}");
    assert!(matches!(closed, Closed::Lost(_)), "{closed:?}");
    window.show(&patches(640, 360).as_ref());

    x.start_again("640x480");
    let window = x.open(MonitorChoice::Default, None).unwrap();
    show(&window, &patches(640, 480));
    assert_patches(&x.screenshot("again.png"), (0, 0, 640, 480));
}

#[test]
fn a_display_server_that_stands_still_drops_pictures_and_holds_up_nobody() {
    let Some(x) = Xvfb::start("640x480") else { return };
    let window = x.open(MonitorChoice::Default, None).unwrap();
    let server = nix::unistd::Pid::from_raw(x.server.id() as i32);
    nix::sys::signal::kill(server, nix::sys::signal::Signal::SIGSTOP).unwrap();
    let (clock, picture) = (SystemClock::new(), patches(640, 360));
    let mut longest = Duration::ZERO;
    for _ in 0..200 {
        let before = clock.now();
        window.show(&picture.as_ref());
        longest = longest.max(clock.now() - before);
    }
    assert!(longest < Duration::from_millis(100), "{longest:?}");
    assert!(window.dropped() > 150, "{}", window.dropped());
    nix::sys::signal::kill(server, nix::sys::signal::Signal::SIGCONT).unwrap();
    until("every picture shown or dropped", || window.shown() + window.dropped() == 200);
    assert_eq!(window.closed(), None);
}
