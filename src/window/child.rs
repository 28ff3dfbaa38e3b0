//! The process behind a window: the event loop, on its main thread, and a thread that reads
//! pictures from standard input.
//!
//! Holds: it ends when its standard input does, that is with the show. Two pictures exist: the one
//! that is shown and the one that is being read, so a slow display server holds up the pipe,
//! and the show's end drops.

use std::io::{self, Write};
use std::num::NonZeroU32;
use std::process::ExitCode;
use std::rc::Rc;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use winit::application::ApplicationHandler;
use winit::dpi::PhysicalSize;
use winit::event::{ElementState, KeyEvent, WindowEvent};
use winit::event_loop::{ActiveEventLoop, EventLoop, EventLoopProxy};
use winit::keyboard::{Key, NamedKey};
use winit::monitor::MonitorHandle;
use winit::window::{Fullscreen, WindowId};

use super::wire::{self, Order, Report};
use super::{Closed, Failure, Monitor, MonitorChoice, Request};
use crate::media::Frame;
use crate::render::Screen;

/// Carries out an order (see `wire`); returns when the window is closed.
pub fn run(order: &str) -> ExitCode {
    let order = match serde_json::from_str(order) {
        Ok(order) => order,
        Err(e) => return failed(Failure::Failed(format!("this is no order for a window: {e}"))),
    };
    let event_loop = match EventLoop::<Event>::with_user_event().build() {
        Ok(event_loop) => event_loop,
        Err(e) => return failed(no_display(&e.to_string())),
    };
    let mut app = App {
        order,
        proxy: event_loop.create_proxy(),
        screen: Screen::new(),
        view: None,
        failure: None,
    };
    if let Err(e) = event_loop.run_app(&mut app) {
        report(&Report::Closed(Closed::Lost(e.to_string())));
    }
    match app.failure {
        Some(failure) => failed(failure),
        None => ExitCode::SUCCESS,
    }
}

fn failed(failure: Failure) -> ExitCode {
    report(&Report::Failed(failure));
    ExitCode::FAILURE
}

/// Tells the show. If it is gone, the end of standard input says so.
fn report(report: &Report) {
    if let Ok(line) = serde_json::to_string(report) {
        let mut out = io::stdout().lock();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }
}

fn no_display(why: &str) -> Failure {
    let set = |name: &str| {
        let value = std::env::var(name).ok().filter(|value| !value.is_empty())?;
        Some(format!("{name}={value}"))
    };
    let servers: Vec<_> = ["WAYLAND_DISPLAY", "DISPLAY"].into_iter().filter_map(set).collect();
    Failure::NoDisplay(if servers.is_empty() && cfg!(target_os = "linux") {
        "no display server: neither WAYLAND_DISPLAY nor DISPLAY is set. Start the show from a \
         desktop session, or say which one it is to use (DISPLAY=:0)"
            .into()
    } else {
        format!(
            "no connection to the display server ({}): {why}. Is it running, and does it let this \
             user in?",
            servers.join(", ")
        )
    })
}

enum Event {
    Picture(Frame),
    /// Standard input has ended.
    End,
}

struct App {
    order: Order,
    proxy: EventLoopProxy<Event>,
    screen: Screen,
    view: Option<View>,
    failure: Option<Failure>,
}

/// The window, and what is in it.
struct View {
    window: Rc<winit::window::Window>,
    surface: softbuffer::Surface<Rc<winit::window::Window>, Rc<winit::window::Window>>,
    /// Of a full-screen window.
    monitor: Option<MonitorHandle>,
    size: (u32, u32),
    open: bool,
    picture: Frame,
    /// `picture` has not been drawn yet.
    fresh: bool,
    pictures: u64,
    /// Pictures that may be read into.
    used: Sender<Frame>,
}

/// The monitors are looked at again behind this many pictures.
const MONITOR_CHECK: u64 = 60;

impl App {
    fn start(&mut self, event_loop: &ActiveEventLoop) -> Result<(), Failure> {
        let request = match &self.order {
            Order::List => {
                let monitors = event_loop.available_monitors().zip(1..);
                report(&Report::Monitors(
                    monitors.map(|(m, number)| monitor(&m, number)).collect(),
                ));
                event_loop.exit();
                return Ok(());
            }
            Order::Open(request) => request,
        };
        let view = View::open(event_loop, request, self.proxy.clone())?;
        self.view = Some(view);
        Ok(())
    }

    fn close(&mut self, event_loop: &ActiveEventLoop, why: Closed) {
        report(&Report::Closed(why));
        event_loop.exit();
    }
}

fn monitor(handle: &MonitorHandle, number: u32) -> Monitor {
    Monitor {
        number,
        name: handle.name().unwrap_or_default(),
        size: handle.size().into(),
        refresh_hz: handle.refresh_rate_millihertz().map(|rate| f64::from(rate) / 1000.0),
        position: handle.position().into(),
    }
}

fn choose(event_loop: &ActiveEventLoop, choice: &MonitorChoice) -> Result<MonitorHandle, Failure> {
    let handles: Vec<MonitorHandle> = event_loop.available_monitors().collect();
    let monitors: Vec<Monitor> = handles.iter().zip(1..).map(|(m, n)| monitor(m, n)).collect();
    let found = match choice {
        MonitorChoice::Default => event_loop.primary_monitor().or(handles.first().cloned()),
        MonitorChoice::Number(number) => {
            let at = monitors.iter().position(|monitor| monitor.number == *number);
            at.map(|at| handles[at].clone())
        }
        MonitorChoice::Name(name) => {
            let at = monitors.iter().position(|monitor| monitor.name.eq_ignore_ascii_case(name));
            at.map(|at| handles[at].clone())
        }
    };
    found.ok_or_else(|| {
        let wanted = match choice {
            MonitorChoice::Default => "no monitor is connected".to_owned(),
            MonitorChoice::Number(number) => format!("there is no monitor {number}"),
            MonitorChoice::Name(name) => format!("there is no monitor {name:?}"),
        };
        let line = |m: &Monitor| format!("{} ({:?}, {}x{})", m.number, m.name, m.size.0, m.size.1);
        let known: Vec<_> = monitors.iter().map(line).collect();
        Failure::NoSuchMonitor(match known.is_empty() {
            true => wanted,
            false => format!("{wanted}; there is {}", known.join(" and ")),
        })
    })
}

impl View {
    fn open(
        event_loop: &ActiveEventLoop,
        request: &Request,
        proxy: EventLoopProxy<Event>,
    ) -> Result<View, Failure> {
        let failed = |e: &dyn std::fmt::Display| {
            Failure::Failed(format!("the display server did not give a window: {e}"))
        };
        let monitor = choose(event_loop, &request.monitor)?;
        let mut wanted = winit::window::Window::default_attributes().with_title(&request.title);
        // Size and place also of a full-screen window: where no window manager runs they are all
        // that counts.
        wanted = match request.size {
            Some((width, height)) => wanted.with_inner_size(PhysicalSize::new(width, height)),
            None => wanted
                .with_inner_size(monitor.size())
                .with_position(monitor.position())
                .with_decorations(false)
                .with_fullscreen(Some(Fullscreen::Borderless(Some(monitor.clone())))),
        };
        let window = Rc::new(event_loop.create_window(wanted).map_err(|e| failed(&e))?);
        window.set_cursor_visible(request.size.is_some());
        let context = softbuffer::Context::new(window.clone()).map_err(|e| failed(&e))?;
        let surface = softbuffer::Surface::new(&context, window.clone()).map_err(|e| failed(&e))?;
        let (used, free) = bounded(2);
        // There is room for both.
        let _ = used.send(Frame::black(0, 0));
        // Ends with the process.
        thread::Builder::new()
            .name("window-reader".into())
            .spawn(move || read(&free, &proxy))
            .map_err(|e| failed(&e))?;
        window.request_redraw();
        Ok(View {
            surface,
            monitor: request.size.is_none().then_some(monitor),
            size: window.inner_size().into(),
            open: false,
            picture: Frame::black(2, 2),
            fresh: false,
            pictures: 0,
            used,
            window,
        })
    }

    /// Takes a picture for the next redraw.
    fn take(&mut self, picture: Frame) {
        let old = std::mem::replace(&mut self.picture, picture);
        // Two frames, room for two: never full.
        let _ = self.used.try_send(old);
        if self.fresh {
            report(&Report::Skipped);
        }
        self.fresh = true;
        self.pictures += 1;
        self.window.request_redraw();
    }

    fn draw(&mut self, screen: &mut Screen) -> Result<(), softbuffer::SoftBufferError> {
        let size: (u32, u32) = self.window.inner_size().into();
        let (Some(width), Some(height)) = (NonZeroU32::new(size.0), NonZeroU32::new(size.1)) else {
            return Ok(());
        };
        self.surface.resize(width, height)?;
        let mut pixels = self.surface.buffer_mut()?;
        screen.draw(&self.picture, size, &mut pixels);
        self.window.pre_present_notify();
        pixels.present()?;
        if !self.open {
            report(&Report::Open(size));
        } else if size != self.size {
            report(&Report::Size(size));
        }
        if self.fresh {
            report(&Report::Shown);
        }
        (self.open, self.size, self.fresh) = (true, size, false);
        Ok(())
    }

    fn monitor_is_gone(&self, event_loop: &ActiveEventLoop) -> bool {
        let known =
            |monitor: &MonitorHandle| event_loop.available_monitors().any(|m| m == *monitor);
        self.monitor.as_ref().is_some_and(|monitor| !known(monitor))
    }

    /// Between full-screen and an ordinary window; not of one that began full-screen.
    fn toggle_full_screen(&self) {
        if self.monitor.is_none() {
            let full = self.window.fullscreen().is_none();
            self.window.set_fullscreen(full.then_some(Fullscreen::Borderless(None)));
            self.window.set_cursor_visible(!full);
        }
    }
}

/// Reads pictures until there are no more.
fn read(free: &Receiver<Frame>, proxy: &EventLoopProxy<Event>) {
    let mut input = io::stdin().lock();
    for mut frame in free {
        if wire::read(&mut input, &mut frame).is_err() {
            break;
        }
        if proxy.send_event(Event::Picture(frame)).is_err() {
            return;
        }
    }
    // Fails only if the event loop has ended, and with it this process.
    let _ = proxy.send_event(Event::End);
}

impl ApplicationHandler<Event> for App {
    fn resumed(&mut self, event_loop: &ActiveEventLoop) {
        if self.view.is_none()
            && let Err(failure) = self.start(event_loop)
        {
            self.failure = Some(failure);
            event_loop.exit();
        }
    }

    fn user_event(&mut self, event_loop: &ActiveEventLoop, event: Event) {
        let Some(view) = &mut self.view else { return };
        match event {
            Event::Picture(picture) => view.take(picture),
            Event::End => return event_loop.exit(),
        }
        if view.pictures % MONITOR_CHECK == 0 && view.monitor_is_gone(event_loop) {
            self.close(event_loop, Closed::MonitorGone);
        }
    }

    fn window_event(&mut self, event_loop: &ActiveEventLoop, _: WindowId, event: WindowEvent) {
        let Some(view) = &mut self.view else { return };
        match event {
            WindowEvent::RedrawRequested => {
                if let Err(e) = view.draw(&mut self.screen) {
                    self.close(event_loop, Closed::Lost(e.to_string()));
                }
            }
            WindowEvent::Resized(_) => view.window.request_redraw(),
            WindowEvent::CloseRequested | WindowEvent::Destroyed => {
                self.close(event_loop, Closed::WindowManager);
            }
            WindowEvent::KeyboardInput { event, .. } => match pressed(&event) {
                Some(Press::Close) => self.close(event_loop, Closed::Key),
                Some(Press::FullScreen) => view.toggle_full_screen(),
                None => {}
            },
            _ => {}
        }
    }
}

enum Press {
    Close,
    FullScreen,
}

fn pressed(event: &KeyEvent) -> Option<Press> {
    if event.state != ElementState::Pressed || event.repeat {
        return None;
    }
    match &event.logical_key {
        Key::Named(NamedKey::Escape) => Some(Press::Close),
        Key::Character(key) if key.eq_ignore_ascii_case("q") => Some(Press::Close),
        Key::Character(key) if key.eq_ignore_ascii_case("f") => Some(Press::FullScreen),
        _ => None,
    }
}
